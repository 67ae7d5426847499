/* A small test runner: a named list of tests, each run in a process of its
 * own, so that a crash, a hang or a leak costs one test.
 */
#ifndef TC_TESTS_HARNESS_H
#define TC_TESTS_HARNESS_H

#include <stddef.h>

typedef struct tc_test {
    const char *name;           /* borrowed */
    void (*run)(const void *arg);
    const void *arg;            /* borrowed; handed to run */
} tc_test;

/* Runs the tests whose name contains one of the arguments (all, without
 * arguments), prints "N passed, N failed", returns the exit status.  "-n"
 * before the arguments runs them in this process, for a debugger. */
int tc_test_main(int argc, char **argv, const tc_test *tests, size_t count);

/* End this test process as failed; from any thread. */
_Noreturn void tc_test_fail(const char *file, int line, const char *what,
                            long long left, long long right);

/* The seed of the randomised tests: TC_TEST_SEED or a fixed number, printed
 * if the test fails. */
unsigned long long tc_test_seed(void);

#define CHECK(condition) \
    ((condition) ? (void)0 \
                 : tc_test_fail(__FILE__, __LINE__, #condition, 0, 0))

/* Integers only; both are printed. */
#define CHECK_EQ(left, right) \
    tc_test_check_eq((long long)(left), (long long)(right), __FILE__, \
                     __LINE__, #left " == " #right)

static inline void
tc_test_check_eq(long long left, long long right, const char *file, int line,
                 const char *what)
{
    if (left != right) {
        tc_test_fail(file, line, what, left, right);
    }
}

#endif /* TC_TESTS_HARNESS_H */
