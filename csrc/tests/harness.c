/* The test runner.  A test passes if its process exits with 0: leak checkers
 * and sanitizers change that status when they have found something. */
#include "tests/harness.h"

#include "tests/system.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define HARNESS_SEED 20240601ULL

_Noreturn void
tc_test_fail(const char *file, int line, const char *what, long long left,
             long long right)
{
    fprintf(stderr, "%s:%d: not so: %s (%lld, %lld; seed %llu)\n", file, line,
            what, left, right, tc_test_seed());
    fflush(NULL);
    _exit(1);
}

unsigned long long
tc_test_seed(void)
{
    const char *text = getenv("TC_TEST_SEED");

    return text != NULL ? strtoull(text, NULL, 10) : HARNESS_SEED;
}

static bool
harness_selected(const tc_test *test, int argc, char **argv)
{
    for (int i = 0; i < argc; i++) {
        if (strstr(test->name, argv[i]) != NULL) {
            return true;
        }
    }
    return argc == 0;
}

/* `-i INDEX`: what system_run_apart() asks for. */
static int
harness_run_one(const char *index, const tc_test *tests, size_t count)
{
    size_t i = strtoul(index, NULL, 10);

    CHECK(i < count);
    tests[i].run(tests[i].arg);
    return 0;
}

int
tc_test_main(int argc, char **argv, const tc_test *tests, size_t count)
{
    bool inline_run = argc > 1 && strcmp(argv[1], "-n") == 0;
    int skip = inline_run ? 2 : 1;
    int passed = 0;
    int failed = 0;

    system_start();
    if (argc == 3 && strcmp(argv[1], "-i") == 0) {
        return harness_run_one(argv[2], tests, count);
    }
    for (size_t i = 0; i < count; i++) {
        if (!harness_selected(&tests[i], argc - skip, argv + skip)) {
            continue;
        }
        if (inline_run) {
            tests[i].run(tests[i].arg);
            passed++;
        }
        else if (system_run_apart(argv[0], &tests[i], i)) {
            passed++;
        }
        else {
            printf("FAILED %s\n", tests[i].name);
            failed++;
        }
    }
    printf("%s: %d passed, %d failed\n", argv[0], passed, failed);
    return failed == 0 ? 0 : 1;
}
