/* The small things: base/clock.h, base/fork.h, base/lookout.h, base/random.h
 * and the inline functions of poll/poll.h. */
#define _GNU_SOURCE

#include "base/clock.h"
#include "base/fork.h"
#include "base/lookout.h"
#include "base/random.h"
#include "poll/poll.h"
#include "tests/harness.h"

#include <math.h>
#include <string.h>
#ifndef _WIN32
#  include <sys/wait.h>
#  include <unistd.h>
#endif

static void
test_clock(const void *arg)
{
    double first = tc_clock_monotonic();
    double last = first;

    (void)arg;
    /* Stepping through at least 2 ms in more than two steps. */
    for (int steps = 0; last < first + 0.002 || steps < 3;) {
        double now = tc_clock_monotonic();

        CHECK(now >= last);
        steps += now > last;
        last = now;
    }
}

#ifndef _WIN32
/* In a child of this process, and in a child of that one, the count is one
 * more each; in this process it stays. */
static void
test_fork_count(const void *arg)
{
    unsigned first;

    (void)arg;
    CHECK_EQ(tc_fork_watch(), 0);
    first = tc_fork_count();
    CHECK_EQ(tc_fork_watch(), 0);       /* not counted twice from here on */
    for (int i = 0; i < 2; i++) {
        int status;
        pid_t child = fork();

        CHECK(child >= 0);
        if (child == 0) {
            pid_t grandchild;

            CHECK_EQ(tc_fork_count(), first + 1);
            grandchild = fork();
            CHECK(grandchild >= 0);
            if (grandchild == 0) {
                CHECK_EQ(tc_fork_count(), first + 2);
                _exit(0);
            }
            CHECK_EQ(waitpid(grandchild, &status, 0), grandchild);
            _exit(status != 0);
        }
        CHECK_EQ(waitpid(child, &status, 0), child);
        CHECK_EQ(status, 0);
        CHECK_EQ(tc_fork_count(), first);
    }
}
#else
/* There is no fork(). */
static void
test_fork_count(const void *arg)
{
    (void)arg;
    CHECK_EQ(tc_fork_watch(), 0);
    CHECK_EQ(tc_fork_count(), 0);
}
#endif

/* Looks in vain, for the whole time.  Whether it looked at all. */
static int
look_in_vain(tc_lookout *lookout)
{
    double began = tc_clock_monotonic();
    int looks;

    tc_lookout_begin(lookout);
    /* Not how often: a busy machine may leave no time for a single look. */
    looks = lookout->until != 0.0;
    while (tc_lookout_goes_on(lookout)) {
    }
    CHECK(!looks || tc_clock_monotonic() - began >= TC_LOOKOUT_DURATION);
    CHECK(!tc_lookout_goes_on(lookout));
    return looks;
}

/* After the n-th failure in a row it is left out 2^n - 1 times, but no more
 * than the limit. */
static void
test_lookout_backs_off(const void *arg)
{
    tc_lookout lookout = {0};
    int expected = 0;

    (void)arg;
    for (int failures = 0; failures < 10; failures++) {
        int omitted = 0;

        while (look_in_vain(&lookout) == 0) {
            omitted++;
        }
        CHECK_EQ(omitted, expected);
        expected = expected * 2 + 1;
        if (expected > TC_LOOKOUT_MAX_OMITTED) {
            expected = TC_LOOKOUT_MAX_OMITTED;
        }
    }
}

/* A success makes it forget. */
static void
test_lookout_recovers(const void *arg)
{
    tc_lookout lookout = {0};

    (void)arg;
    for (int failures = 0; failures < 3;) {
        failures += look_in_vain(&lookout) > 0;
    }
    /* On a busy machine it takes some more. */
    do {
        tc_lookout_begin(&lookout);
        if (tc_lookout_goes_on(&lookout)) {
            tc_lookout_succeed(&lookout);
        }
    } while (lookout.omitted > 0);
    CHECK(!tc_lookout_goes_on(&lookout));
    CHECK(look_in_vain(&lookout) > 0);
    CHECK_EQ(look_in_vain(&lookout), 0);
    CHECK(look_in_vain(&lookout) > 0);
}

/* A success that came too late is none. */
static void
test_lookout_late(const void *arg)
{
    tc_lookout lookout = {0};
    double began = tc_clock_monotonic();

    (void)arg;
    tc_lookout_begin(&lookout);
    CHECK(lookout.until != 0.0);
    while (tc_clock_monotonic() - began < 2 * TC_LOOKOUT_DURATION) {
    }
    tc_lookout_succeed(&lookout);
    CHECK_EQ(look_in_vain(&lookout), 0);
    CHECK(look_in_vain(&lookout) > 0);
}

static void
test_random_repeats(const void *arg)
{
    tc_random a;
    tc_random b;

    (void)arg;
    tc_random_seed(&a, 7);
    tc_random_seed(&b, 7);
    for (int i = 0; i < 1000; i++) {
        CHECK(tc_random_next(&a) == tc_random_next(&b));
    }
    tc_random_seed(&b, 8);
    CHECK(tc_random_next(&a) != tc_random_next(&b));
}

/* The seed that mixes to 0 must not stop the generator. */
static void
test_random_zero(const void *arg)
{
    static const uint64_t seeds[] = {0, 1, UINT64_MAX,
                                     -UINT64_C(0x9e3779b97f4a7c15)};

    (void)arg;
    for (size_t i = 0; i < sizeof(seeds) / sizeof(seeds[0]); i++) {
        tc_random random;

        tc_random_seed(&random, seeds[i]);
        CHECK(random.s != 0);
        CHECK(tc_random_next(&random) != tc_random_next(&random));
    }
}

/* Every bit is a fair coin: 100,000 flips, six standard deviations. */
static void
test_random_fair(const void *arg)
{
    enum { FLIPS = 100000 };
    int ones[64] = {0};
    tc_random random;

    (void)arg;
    tc_random_seed(&random, 1);
    for (int i = 0; i < FLIPS; i++) {
        uint64_t bits = tc_random_next(&random);

        for (int bit = 0; bit < 64; bit++) {
            ones[bit] += (int)(bits >> bit & 1);
        }
    }
    for (int bit = 0; bit < 64; bit++) {
        CHECK(fabs(ones[bit] - FLIPS / 2.0) < 6.0 * sqrt(FLIPS / 4.0));
    }
}

static void
test_timeouts(const void *arg)
{
    (void)arg;
    CHECK_EQ(tc_poll_timeout_ns(0.0), 0);
    CHECK_EQ(tc_poll_timeout_ns(-0.0), 0);
    CHECK_EQ(tc_poll_timeout_ns(-1.0), 0);
    CHECK_EQ(tc_poll_timeout_ns(-INFINITY), 0);
    CHECK_EQ(tc_poll_timeout_ns(NAN), 0);
    CHECK_EQ(tc_poll_timeout_ns(5e-324), 1);
    CHECK_EQ(tc_poll_timeout_ns(1e-300), 1);
    CHECK_EQ(tc_poll_timeout_ns(1e-10), 1);
    CHECK_EQ(tc_poll_timeout_ns(1e-9), 1);
    CHECK_EQ(tc_poll_timeout_ns(1.5e-9), 2);
    CHECK_EQ(tc_poll_timeout_ns(0.5), 500000000);
    CHECK_EQ(tc_poll_timeout_ns(86399.0), INT64_C(86399000000000));
    CHECK_EQ(tc_poll_timeout_ns(86400.0), TC_POLL_TIMEOUT_MAX);
    CHECK_EQ(tc_poll_timeout_ns(1e300), TC_POLL_TIMEOUT_MAX);
    CHECK_EQ(tc_poll_timeout_ns(INFINITY), TC_POLL_TIMEOUT_MAX);
}

static void
test_directions(const void *arg)
{
    const uint32_t both = TC_POLL_READ | TC_POLL_WRITE;

    (void)arg;
    CHECK_EQ(tc_poll_directions(0), 0);
    CHECK_EQ(tc_poll_directions(TC_POLL_READ), TC_POLL_READ);
    CHECK_EQ(tc_poll_directions(TC_POLL_WRITE), TC_POLL_WRITE);
    CHECK_EQ(tc_poll_directions(TC_POLL_PRI), TC_POLL_READ);
    CHECK_EQ(tc_poll_directions(TC_POLL_RDHUP), TC_POLL_READ);
    CHECK_EQ(tc_poll_directions(TC_POLL_HUP), both);
    CHECK_EQ(tc_poll_directions(TC_POLL_ERR), both);
    CHECK_EQ(tc_poll_directions(TC_POLL_READ | TC_POLL_RDHUP), TC_POLL_READ);
    CHECK_EQ(tc_poll_directions(both), both);
}

static void
test_backend_names(const void *arg)
{
    const tc_poll_ops *best = tc_poll_default_ops();

    (void)arg;
    CHECK(best != NULL);
    CHECK(tc_poll_ops_by_name(best->name) == best);
    CHECK(tc_poll_ops_by_name("") == NULL);
    CHECK(tc_poll_ops_by_name("epol") == NULL);
#if TC_POLL_HAVE_EPOLL
    CHECK(best == &tc_poll_ops_epoll);
    CHECK(tc_poll_ops_by_name("epoll") == &tc_poll_ops_epoll);
    CHECK(strcmp(tc_poll_ops_epoll.name, "epoll") == 0);
#endif
#if TC_POLL_HAVE_KQUEUE
    CHECK(TC_POLL_HAVE_EPOLL || best == &tc_poll_ops_kqueue);
    CHECK(tc_poll_ops_by_name("kqueue") == &tc_poll_ops_kqueue);
    CHECK(strcmp(tc_poll_ops_kqueue.name, "kqueue") == 0);
#endif
#if TC_POLL_HAVE_POLL
    CHECK(tc_poll_ops_by_name("poll") == &tc_poll_ops_poll);
    CHECK(strcmp(tc_poll_ops_poll.name, "poll") == 0);
#endif
#if TC_POLL_HAVE_IOCP
    CHECK(best == &tc_poll_ops_iocp);
    CHECK(strcmp(tc_poll_ops_iocp.name, "iocp") == 0);
#endif
}

int
main(int argc, char **argv)
{
    static const tc_test tests[] = {
        {"clock", test_clock, NULL},
        {"fork_count", test_fork_count, NULL},
        {"lookout/backs_off", test_lookout_backs_off, NULL},
        {"lookout/recovers", test_lookout_recovers, NULL},
        {"lookout/late", test_lookout_late, NULL},
        {"random/repeats", test_random_repeats, NULL},
        {"random/zero", test_random_zero, NULL},
        {"random/fair", test_random_fair, NULL},
        {"poll/timeouts", test_timeouts, NULL},
        {"poll/directions", test_directions, NULL},
        {"poll/backend_names", test_backend_names, NULL},
    };

    return tc_test_main(argc, argv, tests, sizeof(tests) / sizeof(tests[0]));
}
