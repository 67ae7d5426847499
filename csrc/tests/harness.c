/* The test runner.  A test passes if its process exits with 0: leak checkers
 * and sanitizers change that status when they have found something. */
#define _GNU_SOURCE

#include "tests/harness.h"

#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

/* A hang is a failure.  Far above what any test takes under a sanitizer. */
#define HARNESS_TIMEOUT_S 120

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

static bool
harness_run(const tc_test *test)
{
    int status;
    pid_t child;

    fflush(NULL);
    child = fork();
    if (child < 0) {
        perror("fork");
        return false;
    }
    if (child == 0) {
        alarm(HARNESS_TIMEOUT_S);
        test->run(test->arg);
        exit(0);
    }
    if (waitpid(child, &status, 0) != child) {
        perror("waitpid");
        return false;
    }
    if (WIFSIGNALED(status)) {
        fprintf(stderr, "killed by signal %d%s\n", WTERMSIG(status),
                WTERMSIG(status) == SIGALRM ? " (it hangs)" : "");
        return false;
    }
    return WEXITSTATUS(status) == 0;
}

int
tc_test_main(int argc, char **argv, const tc_test *tests, size_t count)
{
    bool inline_run = argc > 1 && strcmp(argv[1], "-n") == 0;
    int skip = inline_run ? 2 : 1;
    int passed = 0;
    int failed = 0;

    for (size_t i = 0; i < count; i++) {
        if (!harness_selected(&tests[i], argc - skip, argv + skip)) {
            continue;
        }
        if (inline_run) {
            tests[i].run(tests[i].arg);
            passed++;
        }
        else if (harness_run(&tests[i])) {
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
