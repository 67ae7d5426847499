/* Pollers and fork(): whatever a child does that it may do, its parent's
 * poller goes on as if nothing had happened.
 */
#include "tests/poll_support.h"

#include <sys/wait.h>
#include <unistd.h>

/* `in_child` runs in a child while something is armed, and something is
 * waiting to be reported; afterwards, both are reported here. */
static void
fork_beside(tc_poll *poll, void (*in_child)(tc_poll *poll))
{
    tc_poll_event events[4];
    int fds[2];
    int ready[2];
    int status;
    pid_t child;

    make_socketpair(fds);
    make_socketpair(ready);
    poll_arm(poll, fds[0], TC_POLL_READ, 1);
    poll_arm(poll, ready[0], TC_POLL_WRITE, 2);
    child = fork();
    CHECK(child >= 0);
    if (child == 0) {
        in_child(poll);
        _exit(0);
    }
    CHECK_EQ(waitpid(child, &status, 0), child);
    CHECK_EQ(status, 0);
    put(fds[1], 1);
    CHECK_EQ(poll_wait(poll, events, 4, TC_POLL_FOREVER), 2);
    CHECK_EQ(events[0].token + events[1].token, 3);
    expect_none(poll);
    poll_wake(poll);
    expect_one(poll, TC_POLL_WAKE, 0);
    close(fds[0]);
    close(fds[1]);
    close(ready[0]);
    close(ready[1]);
}

static void
child_leaves(tc_poll *poll)
{
    (void)poll;
}

static void
child_closes(tc_poll *poll)
{
    poll->ops->close(poll);
}

/* It has its own instead, under the same numbers. */
static void
child_reopens(tc_poll *poll)
{
    const tc_poll_ops *ops = poll->ops;
    tc_poll *own;
    int fds[2];

    ops->close(poll);
    CHECK_EQ(ops->open(&own), 0);
    expect_none(own);
    make_socketpair(fds);
    poll_arm(own, fds[0], BOTH, 9);
    expect_one(own, 9, TC_POLL_WRITE);
    poll_wake(own);
    expect_one(own, TC_POLL_WAKE, 0);
    expect_none(own);
    ops->close(own);
}

static void
case_child_leaves(tc_poll *poll)
{
    fork_beside(poll, child_leaves);
}

static void
case_child_closes(tc_poll *poll)
{
    fork_beside(poll, child_closes);
}

static void
case_child_reopens(tc_poll *poll)
{
    fork_beside(poll, child_reopens);
}

int
main(int argc, char **argv)
{
    static const tc_poll_case cases[] = {
        {"child_leaves", case_child_leaves, 0},
        {"child_closes", case_child_closes, 0},
        {"child_reopens", case_child_reopens, 0},
    };

    return tc_poll_cases_main(argc, argv, cases, ARRAY_LENGTH(cases));
}
