/* Helpers of the poller tests. */
#include "tests/poll_support.h"

#include <stdio.h>
#include <string.h>

static const char *const support_backends[] = {"epoll", "kqueue", "poll",
                                               "iocp"};

#define SUPPORT_MAX_TESTS 128

/* Without EVFILT_USER, kqueue tells a moment late of a pipe without reader. */
#if defined(TC_KQUEUE_USER) && !TC_KQUEUE_USER
#  define SUPPORT_LATE_WRITE true
#else
#  define SUPPORT_LATE_WRITE false
#endif

/* What one test process needs; lives as long as the program. */
typedef struct support_job {
    const tc_poll_ops *ops;
    void (*run)(tc_poll *poll);
    char name[80];
} support_job;

static void
support_run(const void *arg)
{
    const support_job *job = arg;
    tc_poll *poll = NULL;

    CHECK_EQ(job->ops->open(&poll), 0);
    CHECK(poll->ops == job->ops);
    job->run(poll);
    poll->ops->close(poll);
}

int
tc_poll_cases_on(const char *backend, int argc, char **argv,
                 const tc_poll_case *cases, size_t count)
{
    static support_job jobs[SUPPORT_MAX_TESTS];
    static tc_test tests[SUPPORT_MAX_TESTS];
    size_t n = 0;

    for (size_t b = 0; b < ARRAY_LENGTH(support_backends); b++) {
        const tc_poll_ops *ops = tc_poll_ops_by_name(support_backends[b]);

        if (backend != NULL && strcmp(support_backends[b], backend) != 0) {
            continue;
        }
        for (size_t i = 0; ops != NULL && i < count; i++) {
            if ((cases[i].caps & ~ops->caps) != 0) {
                continue;
            }
            CHECK(n < SUPPORT_MAX_TESTS);
            jobs[n].ops = ops;
            jobs[n].run = cases[i].run;
            snprintf(jobs[n].name, sizeof(jobs[n].name), "%s/%s", ops->name,
                     cases[i].name);
            tests[n] = (tc_test){jobs[n].name, support_run, &jobs[n]};
            n++;
        }
    }
    return tc_test_main(argc, argv, tests, n);
}

int
tc_poll_cases_main(int argc, char **argv, const tc_poll_case *cases,
                   size_t count)
{
    return tc_poll_cases_on(NULL, argc, argv, cases, count);
}

void
poll_arm(tc_poll *poll, int fd, uint32_t interest, uint64_t token)
{
    CHECK_EQ(poll->ops->arm(poll, fd, interest, token), 0);
}

void
poll_arm_edge(tc_poll *poll, int fd, uint32_t interest, uint64_t token,
              bool modify)
{
    CHECK_EQ(poll->ops->arm_edge(poll, fd, interest, token, modify), 0);
}

void
poll_forget(tc_poll *poll, int fd)
{
    CHECK_EQ(poll->ops->forget(poll, fd), 0);
}

int
poll_wait(tc_poll *poll, tc_poll_event *events, int cap, int64_t timeout_ns)
{
    return poll->ops->wait(poll, events, cap, timeout_ns);
}

void
poll_wake(tc_poll *poll)
{
    poll->ops->wake(poll);
}

static bool
support_is_kqueue(tc_poll *poll)
{
    return strcmp(poll->ops->name, "kqueue") == 0;
}

uint32_t
poll_comparable(tc_poll *poll, uint32_t interest, uint32_t ready)
{
    return support_is_kqueue(poll) ? tc_poll_directions(ready) & interest
                                   : ready;
}

bool
poll_may_split(tc_poll *poll)
{
    return support_is_kqueue(poll);
}

bool
poll_takes_files(tc_poll *poll)
{
    return support_is_kqueue(poll);
}

void
expect_one(tc_poll *poll, uint64_t token, uint32_t ready)
{
    tc_poll_event events[4];

    CHECK_EQ(poll_wait(poll, events, 4, TC_POLL_FOREVER), 1);
    CHECK_EQ(events[0].token, token);
    if (token != TC_POLL_WAKE) {
        CHECK_EQ(events[0].ready, ready);
    }
}

void
expect_end(tc_poll *poll, uint64_t token, uint32_t interest, uint32_t bit)
{
    tc_poll_event events[4];

    CHECK_EQ(poll_wait(poll, events, 4, TC_POLL_FOREVER), 1);
    CHECK_EQ(events[0].token, token);
    if (!SUPPORT_LATE_WRITE || interest != BOTH) {
        CHECK_EQ(tc_poll_directions(events[0].ready) & interest, interest);
    }
    if (!support_is_kqueue(poll)) {
        CHECK(events[0].ready & bit);
    }
}

void
expect_none(tc_poll *poll)
{
    tc_poll_event event;

    CHECK_EQ(poll_wait(poll, &event, 1, 0), 0);
}
