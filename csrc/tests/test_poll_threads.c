/* Pollers and threads, pollers and signals: waking, and changing what is
 * armed while another thread waits.
 *
 * Nothing here depends on time: a lost wake-up or report is a hang, which the
 * harness ends.
 */
#define _GNU_SOURCE

#include "base/clock.h"
#include "base/random.h"
#include "tests/poll_support.h"

#include <errno.h>
#include <pthread.h>
#include <sched.h>
#include <stdatomic.h>
#include <unistd.h>
#if SYSTEM_IS_POSIX
#  include <signal.h>
#  include <string.h>
#  include <time.h>
#endif

/* ---- waking, one thread ---- */

static void
case_wake(tc_poll *poll)
{
    poll_wake(poll);
    expect_one(poll, TC_POLL_WAKE, 0);
    expect_none(poll);
    poll_wake(poll);
    expect_one(poll, TC_POLL_WAKE, 0);
    expect_none(poll);
}

static void
case_wakes_coalesce(tc_poll *poll)
{
    /* More than a pipe would hold. */
    for (int i = 0; i < 200000; i++) {
        poll_wake(poll);
    }
    expect_one(poll, TC_POLL_WAKE, 0);
    expect_none(poll);
}

static void
case_wake_beside_report(tc_poll *poll)
{
    tc_poll_event events[4];
    int fds[2];

    make_socketpair(fds);
    poll_arm(poll, fds[0], TC_POLL_WRITE, 1);
    poll_wake(poll);
    CHECK_EQ(poll_wait(poll, events, 4, TC_POLL_FOREVER), 2);
    CHECK((events[0].token == 1 && events[1].token == TC_POLL_WAKE)
          || (events[1].token == 1 && events[0].token == TC_POLL_WAKE));
    expect_none(poll);
    close_fd(fds[0]);
    close_fd(fds[1]);
}

static void
case_wake_keeps_errno(tc_poll *poll)
{
    errno = ENOTTY;
    poll_wake(poll);
    CHECK_EQ(errno, ENOTTY);
    poll_wake(poll);
    CHECK_EQ(errno, ENOTTY);
    expect_one(poll, TC_POLL_WAKE, 0);
}

/* ---- waking from threads ---- */

#define WAKERS 3

typedef struct waker {
    tc_poll *poll;
    int rounds;
    atomic_int posted;          /* work put there before waking ... */
    atomic_int done;            /* ... and how much of it has been seen */
} waker;

/* Posts and waits for each post to be seen, so that the waiter sleeps again
 * and again; sometimes several at once. */
static void *
waker_main(void *arg)
{
    waker *self = arg;

    for (int i = 1; i <= self->rounds; i++) {
        atomic_store_explicit(&self->posted, i, memory_order_relaxed);
        poll_wake(self->poll);
        if (i % 7 == 0) {
            poll_wake(self->poll);
        }
        if (i % 3 != 0) {
            while (atomic_load_explicit(&self->done, memory_order_relaxed)
                   < i) {
                sched_yield();
            }
        }
    }
    return NULL;
}

/* The posts are relaxed stores: only the wake orders them. */
static void
case_wake_from_threads(tc_poll *poll)
{
    waker wakers[WAKERS];
    pthread_t threads[WAKERS];
    int finished = 0;

    for (int i = 0; i < WAKERS; i++) {
        wakers[i].poll = poll;
        wakers[i].rounds = SYSTEM_ROUNDS(5000);
        atomic_init(&wakers[i].posted, 0);
        atomic_init(&wakers[i].done, 0);
        CHECK_EQ(pthread_create(&threads[i], NULL, waker_main, &wakers[i]),
                 0);
    }
    while (finished < WAKERS) {
        expect_one(poll, TC_POLL_WAKE, 0);
        finished = 0;
        for (int i = 0; i < WAKERS; i++) {
            int posted = atomic_load_explicit(&wakers[i].posted,
                                              memory_order_relaxed);

            atomic_store_explicit(&wakers[i].done, posted,
                                  memory_order_relaxed);
            finished += posted == wakers[i].rounds;
        }
    }
    for (int i = 0; i < WAKERS; i++) {
        CHECK_EQ(pthread_join(threads[i], NULL), 0);
    }
}

/* ---- signals ---- */

#if SYSTEM_IS_POSIX

static tc_poll *_Atomic signal_poll;    /* whom the handler wakes, if any */
static atomic_int signal_count;

static void
signal_handler(int number)
{
    tc_poll *poll = atomic_load(&signal_poll);

    (void)number;
    atomic_fetch_add(&signal_count, 1);
    if (poll != NULL) {
        poll->ops->wake(poll);
    }
}

/* A signal every half millisecond, on this process's only thread. */
static timer_t
signal_storm(tc_poll *poll)
{
    struct itimerspec when = {.it_value = {.tv_nsec = 500000},
                              .it_interval = {.tv_nsec = 500000}};
    struct sigevent how;
    struct sigaction action;
    timer_t timer;

    memset(&action, 0, sizeof(action));
    action.sa_handler = signal_handler;
    action.sa_flags = SA_RESTART;       /* which waits do not heed */
    atomic_store(&signal_poll, poll);
    CHECK_EQ(sigaction(SIGUSR1, &action, NULL), 0);
    memset(&how, 0, sizeof(how));
    how.sigev_notify = SIGEV_SIGNAL;
    how.sigev_signo = SIGUSR1;
    CHECK_EQ(timer_create(CLOCK_MONOTONIC, &how, &timer), 0);
    CHECK_EQ(timer_settime(timer, 0, &when, NULL), 0);
    return timer;
}

static void
case_signal_interrupts(tc_poll *poll)
{
    static const int64_t timeouts_ns[] = {TC_POLL_FOREVER,
                                          TC_POLL_TIMEOUT_MAX};
    timer_t timer = signal_storm(NULL);
    tc_poll_event event;

    for (size_t i = 0; i < 20; i++) {
        CHECK_EQ(poll_wait(poll, &event, 1, timeouts_ns[i % 2]), -EINTR);
        CHECK(atomic_load(&signal_count) > (int)i);
    }
    CHECK_EQ(timer_delete(timer), 0);
    expect_none(poll);
}

/* A handler that wakes: whatever it interrupts, the wake arrives, and what is
 * armed comes through between the interruptions. */
static void
case_signal_wakes(tc_poll *poll)
{
    timer_t timer;
    int fds[2];
    int wakes = 0;
    int reports = 0;

    make_pipe(fds);
    timer = signal_storm(poll);
    while (wakes < 200) {
        bool woken = false;

        poll_arm(poll, fds[1], TC_POLL_WRITE, 1);
        while (!woken) {
            tc_poll_event events[2];
            int n = poll_wait(poll, events, 2, TC_POLL_FOREVER);

            CHECK(n > 0 || n == -EINTR);
            for (int i = 0; i < n; i++) {
                woken |= events[i].token == TC_POLL_WAKE;
                reports += events[i].token == 1;
            }
        }
        wakes++;
        CHECK(atomic_load(&signal_count) >= wakes);
    }
    CHECK_EQ(reports, wakes);
    CHECK_EQ(timer_delete(timer), 0);
    close_fd(fds[0]);
    close_fd(fds[1]);
}

#endif

/* ---- changes while another thread waits ---- */

typedef struct waiter {
    tc_poll *poll;
    pthread_t thread;
    int64_t timeout_ns;
    tc_poll_event events[8];
    int result;
    atomic_bool returned;
} waiter;

static void *
waiter_main(void *arg)
{
    waiter *self = arg;

    self->result = poll_wait(self->poll, self->events, 8, self->timeout_ns);
    atomic_store(&self->returned, true);
    return NULL;
}

static void
waiter_start(waiter *self, tc_poll *poll, int64_t timeout_ns)
{
    self->poll = poll;
    self->timeout_ns = timeout_ns;
    atomic_init(&self->returned, false);
    CHECK_EQ(pthread_create(&self->thread, NULL, waiter_main, self), 0);
    /* Very likely it waits by then; if not, the test still holds. */
    usleep(2000);
}

/* Its wait reports just this. */
static void
waiter_expect(waiter *self, uint64_t token)
{
    CHECK_EQ(pthread_join(self->thread, NULL), 0);
    CHECK_EQ(self->result, 1);
    CHECK_EQ(self->events[0].token, token);
}

static void
case_arm_while_waiting(tc_poll *poll)
{
    static const int64_t timeouts_ns[] = {TC_POLL_FOREVER,
                                          TC_POLL_TIMEOUT_MAX};

    for (int i = 0; i < 20; i++) {
        waiter other;
        int fds[2];

        make_socketpair(fds);
        waiter_start(&other, poll, timeouts_ns[i % 2]);
        if (i % 4 < 2) {
            poll_arm(poll, fds[0], TC_POLL_WRITE, 1);   /* ready now */
        }
        else {
            poll_arm(poll, fds[0], TC_POLL_READ, 1);    /* ready later */
            usleep(1000);
            put(fds[1], 1);
        }
        waiter_expect(&other, 1);
        expect_none(poll);
        poll_forget(poll, fds[0]);
        close_fd(fds[0]);
        close_fd(fds[1]);
    }
}

static void
case_replace_while_waiting(tc_poll *poll)
{
    waiter other;
    int fds[2];

    make_socketpair(fds);
    poll_arm(poll, fds[0], TC_POLL_READ, 1);
    waiter_start(&other, poll, TC_POLL_FOREVER);
    poll_arm(poll, fds[0], BOTH, 2);
    waiter_expect(&other, 2);
    expect_none(poll);
    close_fd(fds[0]);
    close_fd(fds[1]);
}

static void
case_forget_while_waiting(tc_poll *poll)
{
    for (int i = 0; i < 20; i++) {
        waiter other;
        int fds[2];

        make_socketpair(fds);
        poll_arm(poll, fds[0], TC_POLL_READ, 1);
        waiter_start(&other, poll, TC_POLL_FOREVER);
        poll_forget(poll, fds[0]);
        put(fds[1], 1);
        usleep(500);
        poll_wake(poll);
        waiter_expect(&other, TC_POLL_WAKE);
        expect_none(poll);
        close_fd(fds[0]);
        close_fd(fds[1]);
    }
}

/* The waiting thread does not keep a closed file open: its peer notices. */
static void
case_close_while_waiting(tc_poll *poll)
{
    char byte;

    for (int i = 0; i < 20; i++) {
        waiter other;
        int fds[2];

        make_socketpair(fds);
        poll_arm(poll, fds[0], TC_POLL_READ, 1);
        waiter_start(&other, poll, TC_POLL_FOREVER);
        poll_forget(poll, fds[0]);
        close_fd(fds[0]);
        until_ready(fds[1], TC_POLL_READ);
        CHECK_EQ(read_fd(fds[1], &byte, 1), 0);
        poll_wake(poll);
        waiter_expect(&other, TC_POLL_WAKE);
        close_fd(fds[1]);
    }
}

/* Changes neither cut a wait short nor begin it anew: they go on until it
 * ends. */
static void
case_timeout_despite_changes(tc_poll *poll)
{
    const int64_t timeout_ns = 30000000;
    double start = tc_clock_monotonic();
    waiter other;
    int fds[2];

    make_pipe(fds);
    waiter_start(&other, poll, timeout_ns);
    while (!atomic_load(&other.returned)) {
        poll_arm(poll, fds[0], TC_POLL_READ, 1);
    }
    CHECK_EQ(pthread_join(other.thread, NULL), 0);
    CHECK_EQ(other.result, 0);
    CHECK(tc_clock_monotonic() - start >= (double)timeout_ns * 1e-9);
    poll_forget(poll, fds[0]);
    close_fd(fds[0]);
    close_fd(fds[1]);
}

/* ---- storm ---- */

#define STORM_FDS 24
#define STORM_STEPS SYSTEM_ROUNDS(30000)

/* Tokens are serial numbers; a report is noted under its token, from which
 * the owner must never see two. */
typedef struct storm {
    tc_poll *poll;
    atomic_bool stop;
    atomic_int wakes;
    atomic_uchar reported[STORM_STEPS];
} storm;

static void *
storm_main(void *arg)
{
    storm *self = arg;

    while (!atomic_load(&self->stop)) {
        tc_poll_event events[5];
        int n = poll_wait(self->poll, events, 5, TC_POLL_FOREVER);

        CHECK(n > 0);
        for (int i = 0; i < n; i++) {
            if (events[i].token == TC_POLL_WAKE) {
                atomic_fetch_add(&self->wakes, 1);
                continue;
            }
            CHECK(events[i].token < STORM_STEPS);
            CHECK(events[i].ready != 0);
            CHECK_EQ(atomic_exchange(&self->reported[events[i].token], 1),
                     0);
        }
    }
    return NULL;
}

/* One thread waits while this one arms, forgets, closes, reopens, writes and
 * wakes at random.  At the end, everything that is armed is made ready, and
 * each must be reported. */
static void
case_storm(tc_poll *poll)
{
    static storm shared;
    pthread_t thread;
    tc_random random;
    int fds[STORM_FDS][2];
    int armed[STORM_FDS];       /* the token, or -1 */

    shared.poll = poll;
    tc_random_seed(&random, tc_test_seed());
    for (int i = 0; i < STORM_FDS; i++) {
        make_socketpair(fds[i]);
        armed[i] = -1;
    }
    CHECK_EQ(pthread_create(&thread, NULL, storm_main, &shared), 0);
    for (int step = 0; step < STORM_STEPS; step++) {
        uint64_t bits = tc_random_next(&random) >> 8;
        int i = (int)(bits % STORM_FDS);

        switch (bits >> 20 & 7) {
        case 0:
        case 1:
        case 2:
            poll_arm(poll, fds[i][0], TC_POLL_READ, (uint64_t)step);
            armed[i] = step;
            break;
        case 3:
            poll_arm(poll, fds[i][0], BOTH, (uint64_t)step);
            armed[i] = step;
            break;
        case 4:
            poll_forget(poll, fds[i][0]);
            armed[i] = -1;
            break;
        case 5:
            if (bits >> 30 & 1) {
                (void)write_fd(fds[i][1], "x", 1);
            }
            else {
                drain(fds[i][0]);
            }
            break;
        case 6:
            poll_wake(poll);
            break;
        default:
            poll_forget(poll, fds[i][0]);
            close_fd(fds[i][0]);
            close_fd(fds[i][1]);
            make_socketpair(fds[i]);
            armed[i] = -1;
            break;
        }
    }
    for (int i = 0; i < STORM_FDS; i++) {
        close_fd(fds[i][1]);
        while (armed[i] >= 0 && !atomic_load(&shared.reported[armed[i]])) {
            sched_yield();
        }
    }
    atomic_store(&shared.stop, true);
    poll_wake(poll);
    CHECK_EQ(pthread_join(thread, NULL), 0);
    CHECK(atomic_load(&shared.wakes) > 0);
    expect_none(poll);
    for (int i = 0; i < STORM_FDS; i++) {
        close_fd(fds[i][0]);
    }
}

/* ---- old readiness ---- */

typedef struct stale_watch {
    tc_poll *poll;
    atomic_bool stop;
    atomic_int reports;
} stale_watch;

static void *
stale_main(void *arg)
{
    stale_watch *self = arg;

    while (!atomic_load(&self->stop)) {
        tc_poll_event event;

        CHECK_EQ(poll_wait(self->poll, &event, 1, TC_POLL_FOREVER), 1);
        if (event.token != TC_POLL_WAKE) {
            CHECK_EQ(event.token % 2, 0);
            CHECK_EQ(event.ready, TC_POLL_READ);
            atomic_fetch_add(&self->reports, 1);
        }
    }
    return NULL;
}

/* What was found for one registration is not reported for its successor: a
 * descriptor that can be read but not written is armed for the one (even
 * tokens), then quickly for the other. */
static void
case_old_readiness(tc_poll *poll)
{
    static stale_watch shared;
    pthread_t thread;
    tc_random random;
    int fds[2];

    make_socketpair(fds);
    put(fds[1], 1);
    fill(fds[0]);
    tc_random_seed(&random, tc_test_seed());
    shared.poll = poll;
    CHECK_EQ(pthread_create(&thread, NULL, stale_main, &shared), 0);
    for (uint64_t i = 0; i < SYSTEM_ROUNDS(50000)
                         || atomic_load(&shared.reports) < SYSTEM_ROUNDS(100);
         i++) {
        atomic_int spins;

        poll_arm(poll, fds[0], TC_POLL_READ, 2 * i);
        /* For about as long as the other needs to notice. */
        atomic_init(&spins, (int)(tc_random_next(&random)
                                  >> (SYSTEM_IS_POSIX ? 53 : 46)));
        while (atomic_fetch_sub(&spins, 1) > 0) {
        }
        poll_arm(poll, fds[0], TC_POLL_WRITE, 2 * i + 1);
    }
    atomic_store(&shared.stop, true);
    poll_wake(poll);
    CHECK_EQ(pthread_join(thread, NULL), 0);
    close_fd(fds[0]);
    close_fd(fds[1]);
}

int
main(int argc, char **argv)
{
    static const tc_poll_case cases[] = {
        {"wake", case_wake, 0},
        {"wakes_coalesce", case_wakes_coalesce, 0},
        {"wake_beside_report", case_wake_beside_report, 0},
        {"wake_keeps_errno", case_wake_keeps_errno, 0},
        {"wake_from_threads", case_wake_from_threads, 0},
#if SYSTEM_IS_POSIX
        {"signal_interrupts", case_signal_interrupts, 0},
        {"signal_wakes", case_signal_wakes, 0},
#endif
        {"arm_while_waiting", case_arm_while_waiting, 0},
        {"replace_while_waiting", case_replace_while_waiting, 0},
        {"forget_while_waiting", case_forget_while_waiting, 0},
        {"close_while_waiting", case_close_while_waiting, 0},
        {"timeout_despite_changes", case_timeout_despite_changes, 0},
        {"storm", case_storm, 0},
        {"old_readiness", case_old_readiness, 0},
    };

    return tc_poll_cases_main(argc, argv, cases, ARRAY_LENGTH(cases));
}
