/* What only the kqueue backend has (poll/kqueue.h): events for others; and
 * what can go wrong there only.
 *
 * The program is linked with --wrap, so kevent() and realloc() come here on
 * their way.
 */
#ifndef _GNU_SOURCE
#  define _GNU_SOURCE
#endif

#include "base/clock.h"
#include "poll/kqueue.h"
#include "tests/poll_support.h"

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdio.h>
#include <string.h>
#include <sys/types.h>
#include <sys/event.h>
#include <sys/wait.h>
#include <unistd.h>

/* What another thread does after a wait has fetched events and before it has
 * looked at them; once. */
static void (*meanwhile)(tc_poll *poll);
static tc_poll *meanwhile_poll;
static int meanwhile_fd;

/* How many changes are interrupted. */
static int interruptions;

/* How many waits end at once, as if their time were over. */
static int early_ends;

/* The so-manyth change from now fails; 0: none does. */
static int failing_change;

/* What a wait has fetched right before that, and not looked at yet. */
static bool fetches_before_failing;
static struct kevent fetched;
static int fetched_count;

static bool realloc_fails;

/* In seconds; of any wait so far that had a timeout. */
static long long longest_timeout;

void *__real_realloc(void *pointer, size_t size);
void *__wrap_realloc(void *pointer, size_t size);

void *
__wrap_realloc(void *pointer, size_t size)
{
    return realloc_fails ? NULL : __real_realloc(pointer, size);
}

int __real_kevent(int kq, const struct kevent *changes, int nchanges,
                  struct kevent *events, int nevents,
                  const struct timespec *timeout);
int __wrap_kevent(int kq, const struct kevent *changes, int nchanges,
                  struct kevent *events, int nevents,
                  const struct timespec *timeout);

int
__wrap_kevent(int kq, const struct kevent *changes, int nchanges,
              struct kevent *events, int nevents,
              const struct timespec *timeout)
{
    int n;

    if (nchanges > 0 && failing_change > 0 && --failing_change == 0) {
        if (fetches_before_failing) {
            struct timespec now = {0, 0};

            fetches_before_failing = false;
            fetched_count = __real_kevent(kq, NULL, 0, &fetched, 1, &now);
        }
        errno = ENOMEM;
        return -1;
    }
    if (timeout != NULL && timeout->tv_sec > longest_timeout) {
        longest_timeout = timeout->tv_sec;
    }
    if (nevents > 0 && fetched_count > 0) {
        fetched_count = 0;
        events[0] = fetched;
        return 1;
    }
    if (nevents > 0 && early_ends > 0) {
        early_ends--;
        return 0;
    }
    n = __real_kevent(kq, changes, nchanges, events, nevents, timeout);
    if (n == 0 && nchanges > 0 && interruptions > 0) {
        interruptions--;
        errno = EINTR;
        return -1;
    }
    if (n > 0 && meanwhile != NULL) {
        void (*call)(tc_poll *) = meanwhile;

        meanwhile = NULL;
        call(meanwhile_poll);
    }
    return n;
}

/* Change something in the poller's kqueue, past the poller. */
static int
raw_try(tc_poll *poll, uintptr_t ident, int filter, unsigned flags,
        unsigned fflags, uintptr_t udata)
{
    struct kevent change;

    memset(&change, 0, sizeof(change));
    change.ident = ident;
    change.filter = (short)filter;
    change.flags = (unsigned short)flags;
    change.fflags = fflags;
    change.udata = (void *)udata;
    return kevent(tc_kqueue_fd(poll), &change, 1, NULL, 0, NULL);
}

static void
raw_change(tc_poll *poll, uintptr_t ident, int filter, unsigned flags,
           unsigned fflags, uintptr_t udata)
{
    CHECK_EQ(raw_try(poll, ident, filter, flags, fflags, udata), 0);
}

/* An event that has happened. */
static void
raw_trigger(tc_poll *poll, uintptr_t ident, unsigned flags, uintptr_t udata)
{
    raw_change(poll, ident, EVFILT_USER, EV_ADD | flags, 0, udata);
    raw_change(poll, ident, EVFILT_USER, 0, NOTE_TRIGGER, udata);
}

static void
case_raw(tc_poll *poll)
{
    const struct kevent *events;

    CHECK_EQ(tc_kqueue_take(poll, &events), 0);
    raw_trigger(poll, 42, EV_ONESHOT, 0x1234);
    /* Until it is taken, and not longer. */
    for (int i = 0; i < 3; i++) {
        expect_one(poll, TC_POLL_RAW, 0);
    }
    CHECK_EQ(tc_kqueue_take(poll, &events), 1);
    CHECK_EQ(events[0].ident, 42);
    CHECK_EQ(events[0].filter, EVFILT_USER);
    CHECK((uintptr_t)events[0].udata == 0x1234);
    CHECK_EQ(tc_kqueue_take(poll, &events), 0);
    expect_none(poll);
}

/* Of readiness, too, and whatever the udata; beside reports of ours. */
static void
case_raw_readiness(tc_poll *poll)
{
    static const uintptr_t udatas[] = {0, 1, UINTPTR_MAX, (uintptr_t)1 << 30};
    const struct kevent *events;
    tc_poll_event reports[4];
    int fds[2];

    make_socketpair(fds);
    for (size_t i = 0; i < ARRAY_LENGTH(udatas); i++) {
        raw_change(poll, (uintptr_t)fds[0], EVFILT_READ, EV_ADD | EV_ONESHOT,
                   0, udatas[i]);
        poll_arm(poll, fds[0], TC_POLL_WRITE, 5);
        put(fds[1], 1);
        CHECK_EQ(poll_wait(poll, reports, 4, TC_POLL_FOREVER), 2);
        CHECK((reports[0].token == 5 && reports[1].token == TC_POLL_RAW)
              || (reports[1].token == 5 && reports[0].token == TC_POLL_RAW));
        CHECK_EQ(tc_kqueue_take(poll, &events), 1);
        CHECK_EQ(events[0].ident, fds[0]);
        CHECK_EQ(events[0].filter, EVFILT_READ);
        CHECK((uintptr_t)events[0].udata == udatas[i]);
        take(fds[0], 1);
        expect_none(poll);
    }
    /* Forgetting what is ours leaves theirs alone. */
    raw_change(poll, (uintptr_t)fds[0], EVFILT_READ, EV_ADD, 0, 7);
    poll_arm(poll, fds[0], TC_POLL_WRITE, 6);
    poll_forget(poll, fds[0]);
    put(fds[1], 1);
    expect_one(poll, TC_POLL_RAW, 0);
    CHECK_EQ(tc_kqueue_take(poll, &events), 1);
    raw_change(poll, (uintptr_t)fds[0], EVFILT_READ, EV_DELETE, 0, 0);
    expect_none(poll);
    close(fds[0]);
    close(fds[1]);
}

static void
case_raw_process(tc_poll *poll)
{
    const struct kevent *events;
    pid_t child = fork();
    int status;

    CHECK(child >= 0);
    if (child == 0) {
        usleep(2000);
        _exit(3);
    }
    int r = raw_try(poll, (uintptr_t)child, EVFILT_PROC, EV_ADD | EV_ONESHOT,
                    NOTE_EXIT, 9);
    if (r < 0 && errno == ENOSYS) {
        printf("no pidfd_open() here, as in older valgrinds\n");
        CHECK_EQ(waitpid(child, &status, 0), child);
        return;
    }
    CHECK_EQ(r, 0);
    expect_one(poll, TC_POLL_RAW, 0);
    CHECK_EQ(tc_kqueue_take(poll, &events), 1);
    CHECK_EQ(events[0].ident, child);
    CHECK_EQ(events[0].filter, EVFILT_PROC);
    CHECK_EQ(events[0].fflags & NOTE_EXIT, NOTE_EXIT);
    CHECK_EQ(waitpid(child, &status, 0), child);
    expect_none(poll);
}

/* More than is fetched at once, with little room, taken seldom: none is lost,
 * and the order stays. */
static void
case_raw_many(tc_poll *poll)
{
    enum { COUNT = 1000 };
    const struct kevent *events;
    tc_poll_event reports[150];
    uintptr_t next = 0;

    for (uintptr_t i = 0; i < COUNT; i++) {
        raw_trigger(poll, 5000 + i, EV_ONESHOT, i);
    }
    for (int round = 0; next < COUNT; round++) {
        int n = poll_wait(poll, reports, round % 3 ? 150 : 2, 0);

        CHECK_EQ(n, 1);
        CHECK_EQ(reports[0].token, TC_POLL_RAW);
        if (round % 2) {
            n = tc_kqueue_take(poll, &events);
            CHECK(n > 0);
            for (int i = 0; i < n; i++) {
                CHECK_EQ((uintptr_t)events[i].udata, next++);
            }
        }
    }
    expect_none(poll);
}

/* What is always there does not keep a wait from returning, and does not keep
 * ours from being seen. */
static void
case_raw_level(tc_poll *poll)
{
    enum { COUNT = 100 };
    const struct kevent *events;
    bool seen = false;
    int fds[2];

    make_pipe(fds);
    for (uintptr_t i = 0; i < COUNT; i++) {
        raw_trigger(poll, 5000 + i, 0, 0);
    }
    poll_arm(poll, fds[1], TC_POLL_WRITE, 1);
    for (int i = 0; i < 20; i++) {
        tc_poll_event reports[8];
        int n = poll_wait(poll, reports, 8, TC_POLL_FOREVER);

        CHECK(n > 0);
        for (int k = 0; k < n; k++) {
            seen |= reports[k].token == 1;
        }
        CHECK(tc_kqueue_take(poll, &events) > 0);
    }
    CHECK(seen);
    close(fds[0]);
    close(fds[1]);
}

static void *
raw_thread(void *arg)
{
    usleep(2000);
    raw_trigger(arg, 77, EV_ONESHOT, 0);
    return NULL;
}

static void
case_raw_while_waiting(tc_poll *poll)
{
    const struct kevent *events;
    pthread_t thread;

    for (int i = 0; i < 10; i++) {
        CHECK_EQ(pthread_create(&thread, NULL, raw_thread, poll), 0);
        expect_one(poll, TC_POLL_RAW, 0);
        CHECK_EQ(tc_kqueue_take(poll, &events), 1);
        CHECK_EQ(pthread_join(thread, NULL), 0);
    }
}

/* With room for one, what is kept comes first, and the rest is not lost. */
static void
case_raw_small_array(tc_poll *poll)
{
    const struct kevent *events;
    tc_poll_event report;
    int fds[2];

    make_pipe(fds);
    raw_trigger(poll, 1, EV_ONESHOT, 0);
    poll_arm(poll, fds[1], TC_POLL_WRITE, 1);
    poll_wake(poll);
    for (int found = 0; found != 7;) {
        CHECK_EQ(poll_wait(poll, &report, 1, TC_POLL_FOREVER), 1);
        if (report.token == TC_POLL_RAW) {
            found |= 1;
            CHECK_EQ(tc_kqueue_take(poll, &events), 1);
        }
        else {
            found |= report.token == 1 ? 2 : 4;
        }
    }
    expect_none(poll);
    close(fds[0]);
    close(fds[1]);
}

static void
case_give(tc_poll *unused)
{
    struct kevent event;
    struct timespec now = {0, 0};
    tc_poll *poll;
    int fd;

    (void)unused;
    CHECK_EQ(tc_poll_ops_kqueue.open(&poll), 0);
    raw_trigger(poll, 3, 0, 0);
    fd = tc_kqueue_give_fd(poll);
    CHECK_EQ(fd, tc_kqueue_fd(poll));
    expect_one(poll, TC_POLL_RAW, 0);
    poll->ops->close(poll);
    CHECK_EQ(kevent(fd, NULL, 0, &event, 1, &now), 1);
    CHECK_EQ(event.ident, 3);
    close(fd);

    /* In the other order. */
    CHECK_EQ(tc_poll_ops_kqueue.open(&poll), 0);
    fd = tc_kqueue_give_fd(poll);
    close(fd);
    CHECK_EQ(lowest_free_fd(), fd);
    CHECK_EQ(open("/dev/null", O_RDONLY | O_CLOEXEC), fd);
    poll->ops->close(poll);
    CHECK(fcntl(fd, F_GETFD) >= 0);
    close(fd);
}

/* In a forked child, the number is anybody's: closing the poller must not
 * close what the child has opened since. */
static void
case_fork_number(tc_poll *poll)
{
    int fds[2];
    int status;
    pid_t child;

    make_socketpair(fds);
    poll_arm(poll, fds[0], TC_POLL_READ, 1);
    child = fork();
    CHECK(child >= 0);
    if (child == 0) {
        int fd = dup2(fds[1], tc_kqueue_fd(poll));

        CHECK_EQ(fd, tc_kqueue_fd(poll));
        poll->ops->close(poll);
        CHECK(fcntl(fd, F_GETFD) >= 0);
        _exit(0);
    }
    CHECK_EQ(waitpid(child, &status, 0), child);
    CHECK_EQ(status, 0);
    put(fds[1], 1);
    expect_one(poll, 1, TC_POLL_READ);
    close(fds[0]);
    close(fds[1]);
}

/* A pipe that nobody reads, as an edge registration. */
static void
case_broken_edge(tc_poll *poll)
{
    int fds[2];

    make_pipe(fds);
    close(fds[0]);
    for (int i = 0; i < 3; i++) {
        poll_arm_edge(poll, fds[1], TC_POLL_WRITE, 1, i > 0);
        expect_one(poll, 1, TC_POLL_WRITE | TC_POLL_ERR);
        expect_none(poll);
    }
    poll_forget(poll, fds[1]);
    expect_none(poll);
    poll_arm_edge(poll, fds[1], TC_POLL_WRITE, 1, false);
    poll_forget(poll, fds[1]);
    usleep(3000);
    expect_none(poll);
    close(fds[1]);
}

/* ---- what is fetched, and then out of date ---- */

static void
meanwhile_do(tc_poll *poll, int fd, void (*what)(tc_poll *poll))
{
    meanwhile_poll = poll;
    meanwhile_fd = fd;
    meanwhile = what;
}

static void
meanwhile_forget(tc_poll *poll)
{
    poll_forget(poll, meanwhile_fd);
}

static void
meanwhile_forget_and_wake(tc_poll *poll)
{
    poll_forget(poll, meanwhile_fd);
    poll_wake(poll);
}

static void
meanwhile_arm_read(tc_poll *poll)
{
    poll_arm(poll, meanwhile_fd, TC_POLL_READ, 2);
}

static void
meanwhile_arm_both(tc_poll *poll)
{
    poll_arm(poll, meanwhile_fd, BOTH, 2);
}

static void
meanwhile_edge_both(tc_poll *poll)
{
    poll_arm_edge(poll, meanwhile_fd, BOTH, 2, true);
}

static void
case_fetched_then_forgotten(tc_poll *poll)
{
    tc_poll_event event;
    int fds[2];

    make_socketpair(fds);
    put(fds[1], 1);
    for (int edge = 0; edge < 2; edge++) {
        if (edge) {
            poll_arm_edge(poll, fds[0], BOTH, 1, false);
        }
        else {
            poll_arm(poll, fds[0], BOTH, 1);
        }
        meanwhile_do(poll, fds[0], meanwhile_forget);
        expect_none(poll);
        CHECK(meanwhile == NULL);
        expect_none(poll);

        poll_arm(poll, fds[0], TC_POLL_READ, 1);
        meanwhile_do(poll, fds[0], meanwhile_forget_and_wake);
        /* A wait that has found nothing but this goes on. */
        CHECK_EQ(poll_wait(poll, &event, 1, TC_POLL_FOREVER), 1);
        CHECK_EQ(event.token, TC_POLL_WAKE);
        expect_none(poll);
    }
    close(fds[0]);
    close(fds[1]);
}

static void
case_fetched_then_armed(tc_poll *poll)
{
    int fds[2];

    make_socketpair(fds);
    /* For what is not ready: silence, until it is. */
    poll_arm(poll, fds[0], TC_POLL_WRITE, 1);
    meanwhile_do(poll, fds[0], meanwhile_arm_read);
    expect_none(poll);
    CHECK(meanwhile == NULL);
    put(fds[1], 1);
    expect_one(poll, 2, TC_POLL_READ);
    expect_none(poll);

    /* For the same again, and for more: reported once, and for the new. */
    for (int edge = 0; edge < 2; edge++) {
        poll_arm(poll, fds[0], TC_POLL_READ, 1);
        meanwhile_do(poll, fds[0],
                     edge ? meanwhile_edge_both : meanwhile_arm_both);
        expect_one(poll, 2, BOTH);
        expect_none(poll);
        poll_arm(poll, fds[0], BOTH, 1);
        meanwhile_do(poll, fds[0],
                     edge ? meanwhile_edge_both : meanwhile_arm_both);
        expect_one(poll, 2, BOTH);
        expect_none(poll);
    }
    close(fds[0]);
    close(fds[1]);
}

/* Whatever ends a kevent(), the time is kept. */
static void
case_early_ends(tc_poll *poll)
{
    const int64_t timeout_ns = 20000000;
    tc_poll_event event;
    double start;
    int fds[2];

    make_pipe(fds);
    for (int i = 0; i < 2; i++) {
        if (i) {
            early_ends = 3;
        }
        else {
            poll_arm(poll, fds[1], TC_POLL_WRITE, 1);
            meanwhile_do(poll, fds[1], meanwhile_forget);
        }
        start = tc_clock_monotonic();
        CHECK_EQ(poll_wait(poll, &event, 1, timeout_ns), 0);
        CHECK(tc_clock_monotonic() - start >= (double)timeout_ns * 1e-9);
        CHECK(early_ends == 0 && meanwhile == NULL);
    }
    close(fds[0]);
    close(fds[1]);
}

/* Systems refuse what is too long. */
static void
case_long_timeouts(tc_poll *poll)
{
    static const int64_t timeouts_ns[] = {TC_POLL_TIMEOUT_MAX,
                                          TC_POLL_TIMEOUT_MAX + 1, INT64_MAX};
    tc_poll_event event;

    for (size_t i = 0; i < ARRAY_LENGTH(timeouts_ns); i++) {
        poll_wake(poll);
        CHECK_EQ(poll_wait(poll, &event, 1, timeouts_ns[i]), 1);
        CHECK_EQ(longest_timeout, TC_POLL_TIMEOUT_MAX / 1000000000);
    }
}

/* Two events that are one report leave room, but there is nothing more to
 * wait for. */
static void
case_full_batch(tc_poll *poll)
{
    tc_poll_event events[2];
    int fds[2];

    make_socketpair(fds);
    put(fds[1], 1);
    poll_arm(poll, fds[0], BOTH, 1);
    CHECK_EQ(poll_wait(poll, events, 2, TC_POLL_FOREVER), 1);
    CHECK_EQ(events[0].token, 1);
    CHECK_EQ(events[0].ready, BOTH);
    expect_none(poll);
    close(fds[0]);
    close(fds[1]);
}

/* Is nothing of fd registered? */
static void
expect_nothing_registered(tc_poll *poll, int fd)
{
    for (int i = 0; i < 2; i++) {
        struct kevent change;

        memset(&change, 0, sizeof(change));
        change.ident = (uintptr_t)fd;
        change.filter = i ? EVFILT_WRITE : EVFILT_READ;
        change.flags = EV_DELETE;
        CHECK_EQ(kevent(tc_kqueue_fd(poll), &change, 1, NULL, 0, NULL), -1);
        CHECK_EQ(errno, ENOENT);
    }
}

/* When arming fails half way, or has no memory, nothing stays. */
static void
case_failed_arm(tc_poll *poll)
{
    int fds[2];

    make_socketpair(fds);
    realloc_fails = true;
    CHECK_EQ(poll->ops->arm(poll, fds[0], BOTH, 1), -ENOMEM);
    realloc_fails = false;
    expect_nothing_registered(poll, fds[0]);
    for (int edge = 0; edge < 2; edge++) {
        for (int change = 1; change <= 2; change++) {
            failing_change = change;
            CHECK_EQ(edge ? poll->ops->arm_edge(poll, fds[0], BOTH, 1, false)
                          : poll->ops->arm(poll, fds[0], BOTH, 1),
                     -ENOMEM);
            CHECK_EQ(failing_change, 0);
            expect_nothing_registered(poll, fds[0]);
        }
    }
    /* Nor does what was there before, which takes two changes to drop. */
    poll_arm(poll, fds[0], BOTH, 1);
    failing_change = 4;
    CHECK_EQ(poll->ops->arm(poll, fds[0], BOTH, 1), -ENOMEM);
    CHECK_EQ(failing_change, 0);
    expect_nothing_registered(poll, fds[0]);
    expect_none(poll);
    close(fds[0]);
    close(fds[1]);
}

/* What a report has used up, and what was forgotten, is not there. */
static void
case_nothing_stays(tc_poll *poll)
{
    int fds[2];

    make_socketpair(fds);
    poll_arm(poll, fds[0], BOTH, 1);
    expect_one(poll, 1, TC_POLL_WRITE);
    expect_nothing_registered(poll, fds[0]);
    for (int edge = 0; edge < 2; edge++) {
        if (edge) {
            poll_arm_edge(poll, fds[0], BOTH, 1, false);
        }
        else {
            poll_arm(poll, fds[0], BOTH, 1);
        }
        poll_forget(poll, fds[0]);
        expect_nothing_registered(poll, fds[0]);
    }
    close(fds[0]);
    close(fds[1]);
}

/* A change that was interrupted has been made. */
static void
case_interrupted_changes(tc_poll *poll)
{
    int fds[2];

    make_socketpair(fds);
    put(fds[1], 1);
    for (int count = 1; count <= 3; count++) {
        interruptions = count;
        poll_arm(poll, fds[0], BOTH, 1);
        CHECK_EQ(interruptions, 0);
        expect_one(poll, 1, BOTH);
        poll_arm(poll, fds[0], BOTH, 2);
        interruptions = count;
        poll_forget(poll, fds[0]);
        interruptions = 0;
        expect_none(poll);
    }
    close(fds[0]);
    close(fds[1]);
}

/* What belongs to half a registration that failed is not taken for an event
 * of the next one. */
static void
case_fetched_then_failed(tc_poll *poll)
{
    int fds[2];

    make_socketpair(fds);
    put(fds[1], 1);
    fetches_before_failing = true;
    failing_change = 2;
    CHECK_EQ(poll->ops->arm(poll, fds[0], BOTH, 1), -ENOMEM);
    CHECK_EQ(failing_change, 0);
    CHECK_EQ(fetched_count, 1);
    take(fds[0], 1);
    poll_arm(poll, fds[0], TC_POLL_READ, 2);
    expect_none(poll);
    CHECK_EQ(fetched_count, 0);
    put(fds[1], 1);
    expect_one(poll, 2, TC_POLL_READ);
    close(fds[0]);
    close(fds[1]);
}

/* The tokens of reports that are nobody's. */
static void
case_reserved_tokens(tc_poll *poll)
{
    int fds[2];

    make_pipe(fds);
    CHECK_EQ(poll->ops->arm(poll, fds[1], TC_POLL_WRITE, TC_POLL_RAW),
             -EINVAL);
    CHECK_EQ(poll->ops->arm_edge(poll, fds[1], TC_POLL_WRITE, TC_POLL_RAW,
                                 false),
             -EINVAL);
    expect_none(poll);
    close(fds[0]);
    close(fds[1]);
}

int
main(int argc, char **argv)
{
    static const tc_poll_case cases[] = {
        {"raw", case_raw, 0},
        {"raw_readiness", case_raw_readiness, 0},
        {"raw_process", case_raw_process, 0},
        {"raw_many", case_raw_many, 0},
        {"raw_level", case_raw_level, 0},
        {"raw_while_waiting", case_raw_while_waiting, 0},
        {"raw_small_array", case_raw_small_array, 0},
        {"give", case_give, 0},
        {"fork_number", case_fork_number, 0},
        {"broken_edge", case_broken_edge, 0},
        {"fetched_then_forgotten", case_fetched_then_forgotten, 0},
        {"fetched_then_armed", case_fetched_then_armed, 0},
        {"fetched_then_failed", case_fetched_then_failed, 0},
        {"early_ends", case_early_ends, 0},
        {"long_timeouts", case_long_timeouts, 0},
        {"full_batch", case_full_batch, 0},
        {"failed_arm", case_failed_arm, 0},
        {"nothing_stays", case_nothing_stays, 0},
        {"interrupted_changes", case_interrupted_changes, 0},
        {"reserved_tokens", case_reserved_tokens, 0},
    };

    return tc_poll_cases_on("kqueue", argc, argv, cases,
                            ARRAY_LENGTH(cases));
}
