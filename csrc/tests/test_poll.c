/* What every backend must do (the contract in poll/poll.h): arming, room for
 * reports, time.  One thread; every report is compared exactly.
 */
#define _GNU_SOURCE

#include "base/clock.h"
#include "tests/poll_support.h"

#include <errno.h>
#if SYSTEM_IS_POSIX
#  include <fcntl.h>
#  include <stdio.h>
#endif

/* ---- arming ---- */

static void
case_nothing(tc_poll *poll)
{
    expect_none(poll);
}

static void
case_read(tc_poll *poll)
{
    int fds[2];

    make_socketpair(fds);
    poll_arm(poll, fds[0], TC_POLL_READ, 7);
    expect_none(poll);
    put(fds[1], 1);
    expect_one(poll, 7, TC_POLL_READ);
    close_fd(fds[0]);
    close_fd(fds[1]);
}

static void
case_write(tc_poll *poll)
{
    int fds[2];

    make_socketpair(fds);
    poll_arm(poll, fds[0], TC_POLL_WRITE, 7);
    expect_one(poll, 7, TC_POLL_WRITE);
    fill(fds[0]);
    poll_arm(poll, fds[0], TC_POLL_WRITE, 8);
    expect_none(poll);
    drain(fds[1]);
    expect_one(poll, 8, TC_POLL_WRITE);
    close_fd(fds[0]);
    close_fd(fds[1]);
}

/* Tokens are 64 bits wide, and 0 is one. */
static void
case_tokens(tc_poll *poll)
{
    static const uint64_t tokens[] = {0, 1, UINT64_C(0x8123456789abcdef),
                                      UINT64_MAX - 2};
    int fds[2];

    make_socketpair(fds);
    for (size_t i = 0; i < ARRAY_LENGTH(tokens); i++) {
        poll_arm(poll, fds[0], TC_POLL_WRITE, tokens[i]);
        expect_one(poll, tokens[i], TC_POLL_WRITE);
    }
    close_fd(fds[0]);
    close_fd(fds[1]);
}

static void
case_level_when_armed(tc_poll *poll)
{
    int fds[2];

    make_pipe(fds);
    put(fds[1], 2);
    for (int i = 1; i < 4; i++) {
        poll_arm(poll, fds[0], TC_POLL_READ, (uint64_t)i);
        expect_one(poll, (uint64_t)i, TC_POLL_READ);
    }
    take(fds[0], 1);
    poll_arm(poll, fds[0], TC_POLL_READ, 5);
    expect_one(poll, 5, TC_POLL_READ);
    close_fd(fds[0]);
    close_fd(fds[1]);
}

static void
case_one_shot(tc_poll *poll)
{
    int fds[2];

    make_socketpair(fds);
    poll_arm(poll, fds[0], TC_POLL_READ, 1);
    put(fds[1], 1);
    expect_one(poll, 1, TC_POLL_READ);
    expect_none(poll);
    put(fds[1], 1);
    expect_none(poll);
    close_fd(fds[1]);
    expect_none(poll);
    close_fd(fds[0]);
}

/* One report uses up both directions. */
static void
case_both_directions(tc_poll *poll)
{
    int fds[2];

    make_socketpair(fds);
    poll_arm(poll, fds[0], BOTH, 1);
    expect_one(poll, 1, TC_POLL_WRITE);
    put(fds[1], 1);
    expect_none(poll);
    poll_arm(poll, fds[0], TC_POLL_READ, 2);
    expect_one(poll, 2, TC_POLL_READ);
    poll_arm(poll, fds[0], BOTH, 3);
    expect_one(poll, 3, BOTH);
    expect_none(poll);
    close_fd(fds[0]);
    close_fd(fds[1]);
}

static void
case_rearm_replaces(tc_poll *poll)
{
    int fds[2];

    make_socketpair(fds);
    put(fds[1], 1);
    poll_arm(poll, fds[0], TC_POLL_READ, 1);
    poll_arm(poll, fds[0], TC_POLL_WRITE, 2);
    expect_one(poll, 2, TC_POLL_WRITE);
    expect_none(poll);
    take(fds[0], 1);
    poll_arm(poll, fds[0], TC_POLL_WRITE, 3);
    poll_arm(poll, fds[0], TC_POLL_READ, 4);
    expect_none(poll);
    put(fds[1], 1);
    expect_one(poll, 4, TC_POLL_READ);
    close_fd(fds[0]);
    close_fd(fds[1]);
}

static void
case_disarm(tc_poll *poll)
{
    int fds[2];

    make_socketpair(fds);
    for (int round = 0; round < 2; round++) {
        poll_arm(poll, fds[0], BOTH, 1);
        if (round == 0) {
            poll_arm(poll, fds[0], 0, 2);
        }
        else {
            poll_forget(poll, fds[0]);
        }
        put(fds[1], 1);
        expect_none(poll);
        take(fds[0], 1);
        /* Disarmed once more, and armed again. */
        poll_arm(poll, fds[0], 0, 2);
        poll_forget(poll, fds[0]);
        poll_arm(poll, fds[0], TC_POLL_WRITE, 3);
        expect_one(poll, 3, TC_POLL_WRITE);
    }
    /* HUP is silent as well. */
    poll_arm(poll, fds[0], TC_POLL_READ, 4);
    poll_arm(poll, fds[0], 0, 4);
    close_fd(fds[1]);
    expect_none(poll);
    close_fd(fds[0]);
}

/* A second number for the same open file is a registration of its own. */
static void
case_dup(tc_poll *poll)
{
    tc_poll_event events[4];
    int fds[2];
    int copy;

    make_socketpair(fds);
    copy = dup_fd(fds[0]);
    poll_arm(poll, fds[0], TC_POLL_READ, 1);
    poll_arm(poll, copy, TC_POLL_WRITE, 2);
    expect_one(poll, 2, TC_POLL_WRITE);
    poll_arm(poll, copy, TC_POLL_READ, 3);
    put(fds[1], 1);
    CHECK_EQ(poll_wait(poll, events, 4, TC_POLL_FOREVER), 2);
    CHECK_EQ(events[0].token + events[1].token, 4);
    CHECK(events[0].token != events[1].token);
    poll_arm(poll, fds[0], TC_POLL_READ, 4);
    poll_arm(poll, copy, TC_POLL_READ, 5);
    poll_forget(poll, fds[0]);
    close_fd(fds[0]);
    expect_one(poll, 5, TC_POLL_READ);
    expect_none(poll);
    close_fd(copy);
    close_fd(fds[1]);
}

static void
case_bad_arguments(tc_poll *poll)
{
    tc_poll_event event;
    int fds[2];

    make_pipe(fds);
    put(fds[1], 1);
    CHECK_EQ(poll->ops->arm(poll, fds[0], TC_POLL_READ, TC_POLL_WAKE),
             -EINVAL);
    CHECK_EQ(poll->ops->arm(poll, fds[0], TC_POLL_READ | TC_POLL_HUP, 1),
             -EINVAL);
    CHECK_EQ(poll_wait(poll, &event, 0, 0), -EINVAL);
    CHECK_EQ(poll_wait(poll, &event, -1, 0), -EINVAL);
    expect_none(poll);
    poll_arm(poll, fds[0], TC_POLL_READ, 1);
    expect_one(poll, 1, TC_POLL_READ);
    close_fd(fds[0]);
    close_fd(fds[1]);
}

static void
case_bad_descriptors(tc_poll *poll)
{
    int closed = lowest_free_fd();

    CHECK_EQ(poll->ops->arm(poll, closed, TC_POLL_READ, 1), -EBADF);
    CHECK_EQ(poll->ops->arm(poll, -1, TC_POLL_READ, 1), -EBADF);
    CHECK_EQ(poll->ops->arm(poll, INT32_MAX, TC_POLL_READ, 1), -EBADF);
    CHECK_EQ(poll->ops->arm(poll, INT32_MIN, TC_POLL_READ, 1), -EBADF);
    CHECK_EQ(poll->ops->forget(poll, closed), 0);
    CHECK_EQ(poll->ops->forget(poll, -1), 0);
    CHECK_EQ(poll->ops->forget(poll, INT32_MAX), 0);
    CHECK_EQ(poll->ops->forget(poll, INT32_MIN), 0);
    CHECK_EQ(poll->ops->arm(poll, closed, 0, 1), 0);
    expect_none(poll);
}

#if SYSTEM_IS_POSIX
static void
case_files(tc_poll *poll)
{
    FILE *stream = tmpfile();
    int file;
    int directory = open("/", O_RDONLY | O_DIRECTORY);

    CHECK(stream != NULL && directory >= 0);
    file = fileno(stream);
    if (poll_takes_files(poll)) {
        poll_arm(poll, file, BOTH, 1);
        expect_one(poll, 1, TC_POLL_WRITE);     /* at its end */
        CHECK(poll->ops->arm(poll, directory, TC_POLL_READ, 1) < 0);
    }
    else {
        CHECK_EQ(poll->ops->arm(poll, file, BOTH, 1), -EPERM);
        CHECK_EQ(poll->ops->arm(poll, directory, TC_POLL_READ, 1), -EPERM);
    }
    CHECK_EQ(poll->ops->forget(poll, file), 0);
    expect_none(poll);
    close_fd(directory);
    fclose(stream);
}
#endif

/* A failed arm leaves nothing armed, and the backend usable. */
static void
case_failed_rearm(tc_poll *poll)
{
    int fds[2];
    int others[2];

    make_socketpair(fds);
    make_socketpair(others);
    poll_arm(poll, fds[0], TC_POLL_READ, 1);
    close_fd(fds[0]);
    CHECK_EQ(poll->ops->arm(poll, fds[0], TC_POLL_READ, 2), -EBADF);
    expect_none(poll);
    poll_arm(poll, others[0], TC_POLL_WRITE, 3);
    expect_one(poll, 3, TC_POLL_WRITE);
    close_fd(fds[1]);
    close_fd(others[0]);
    close_fd(others[1]);
}

/* ---- room for reports ---- */

#define MANY 40

static void
case_small_array(tc_poll *poll)
{
    tc_poll_event events[7];
    int fds[MANY][2];
    bool seen[MANY] = {false};
    int count = 0;
    bool woken = false;

    for (int i = 0; i < MANY; i++) {
        make_pipe(fds[i]);
        put(fds[i][1], 1);
        until_ready(fds[i][0], TC_POLL_READ);
        poll_arm(poll, fds[i][0], TC_POLL_READ, (uint64_t)i);
    }
    poll_wake(poll);
    while (count < MANY + 1) {
        int n = poll_wait(poll, events, 7, 0);

        CHECK_EQ(n, MANY + 1 - count < 7 ? MANY + 1 - count : 7);
        for (int k = 0; k < n; k++) {
            if (events[k].token == TC_POLL_WAKE) {
                CHECK(!woken);
                woken = true;
                continue;
            }
            CHECK(events[k].token < MANY);
            CHECK_EQ(events[k].ready, TC_POLL_READ);
            CHECK(!seen[events[k].token]);
            seen[events[k].token] = true;
        }
        count += n;
    }
    CHECK(woken);
    expect_none(poll);
    for (int i = 0; i < MANY; i++) {
        close_fd(fds[i][0]);
        close_fd(fds[i][1]);
    }
}

/* With room for one, everybody has his turn though all are always ready. */
static void
case_fairness(tc_poll *poll)
{
    tc_poll_event event;
    int fds[MANY][2];
    int turns[MANY] = {0};

    for (int i = 0; i < MANY; i++) {
        make_pipe(fds[i]);
        poll_arm(poll, fds[i][1], TC_POLL_WRITE, (uint64_t)i);
    }
    for (int i = 0; i < MANY * 20; i++) {
        int k;

        CHECK_EQ(poll_wait(poll, &event, 1, 0), 1);
        k = (int)event.token;
        turns[k]++;
        poll_arm(poll, fds[k][1], TC_POLL_WRITE, event.token);
    }
    for (int i = 0; i < MANY; i++) {
        CHECK(turns[i] > 0);
        close_fd(fds[i][0]);
        close_fd(fds[i][1]);
    }
}

/* Large arrays are filled in place: nothing is lost or mixed up. */
static void
case_many(tc_poll *poll)
{
    enum { COUNT = 400 };
    static tc_poll_event events[COUNT + 8];
    static int fds[COUNT];
    static bool seen[COUNT];
    int ends[2];

    make_pipe(ends);
    put(ends[1], 1);
    for (int i = 0; i < COUNT; i++) {
        fds[i] = dup_fd(ends[i % 2]);
        poll_arm(poll, fds[i], i % 2 ? TC_POLL_WRITE : TC_POLL_READ,
                 (uint64_t)i << 40);
    }
    CHECK_EQ(poll_wait(poll, events, COUNT + 8, 0), COUNT);
    for (int k = 0; k < COUNT; k++) {
        int i = (int)(events[k].token >> 40);

        CHECK_EQ(events[k].token, (uint64_t)i << 40);
        CHECK(i < COUNT && !seen[i]);
        seen[i] = true;
        CHECK_EQ(events[k].ready, i % 2 ? TC_POLL_WRITE : TC_POLL_READ);
    }
    expect_none(poll);
    for (int i = 0; i < COUNT; i++) {
        poll_forget(poll, fds[i]);
        close_fd(fds[i]);
    }
    close_fd(ends[0]);
    close_fd(ends[1]);
}

/* ---- time ---- */

static void
case_timeouts(tc_poll *poll)
{
    static const int64_t timeouts_ns[] = {1, 999, 300000, 999999, 1000000,
                                          1000001, 1500000, 20000000};
    tc_poll_event event;
    int fds[2];

    make_pipe(fds);
    poll_arm(poll, fds[0], TC_POLL_READ, 1);
    for (size_t i = 0; i < ARRAY_LENGTH(timeouts_ns); i++) {
        double start = tc_clock_monotonic();

        CHECK_EQ(poll_wait(poll, &event, 1, timeouts_ns[i]), 0);
        CHECK(tc_clock_monotonic() - start >= (double)timeouts_ns[i] * 1e-9);
    }
    /* Long ones do not overflow into short ones or errors. */
    put(fds[1], 1);
    CHECK_EQ(poll_wait(poll, &event, 1, INT64_MAX), 1);
    poll_arm(poll, fds[0], TC_POLL_READ, 1);
    CHECK_EQ(poll_wait(poll, &event, 1, TC_POLL_TIMEOUT_MAX), 1);
    poll_arm(poll, fds[0], TC_POLL_READ, 1);
    CHECK_EQ(poll_wait(poll, &event, 1, INT64_MIN), 1);
    close_fd(fds[0]);
    close_fd(fds[1]);
}

int
main(int argc, char **argv)
{
    static const tc_poll_case cases[] = {
        {"nothing", case_nothing, 0},
        {"read", case_read, 0},
        {"write", case_write, 0},
        {"tokens", case_tokens, 0},
        {"level_when_armed", case_level_when_armed, 0},
        {"one_shot", case_one_shot, 0},
        {"both_directions", case_both_directions, 0},
        {"rearm_replaces", case_rearm_replaces, 0},
        {"disarm", case_disarm, 0},
        {"dup", case_dup, 0},
        {"bad_arguments", case_bad_arguments, 0},
        {"bad_descriptors", case_bad_descriptors, 0},
#if SYSTEM_IS_POSIX
        {"files", case_files, 0},
#endif
        {"failed_rearm", case_failed_rearm, 0},
        {"small_array", case_small_array, 0},
        {"fairness", case_fairness, 0},
        {"many", case_many, 0},
        {"timeouts", case_timeouts, 0},
    };

    return tc_poll_cases_main(argc, argv, cases, ARRAY_LENGTH(cases));
}
