/* Edge-triggered registrations, on the backends that have them. */
#define _GNU_SOURCE

#include "tests/poll_support.h"

#include <errno.h>
#include <poll.h>
#include <sys/socket.h>
#include <unistd.h>

static void
case_edge(tc_poll *poll)
{
    int fds[2];

    make_socketpair(fds);
    put(fds[1], 1);
    poll_arm_edge(poll, fds[0], TC_POLL_READ, 1, false);
    expect_one(poll, 1, TC_POLL_READ);          /* level when added */
    expect_none(poll);
    put(fds[1], 1);
    expect_one(poll, 1, TC_POLL_READ);          /* each arrival, once */
    expect_none(poll);
    take(fds[0], 1);
    expect_none(poll);
    take(fds[0], 1);
    put(fds[1], 1);
    expect_one(poll, 1, TC_POLL_READ);
    poll_forget(poll, fds[0]);
    put(fds[1], 1);
    expect_none(poll);
    close_fd(fds[0]);
    close_fd(fds[1]);
}

/* An unchanged registration, set again, tells what is ready now. */
static void
case_edge_repeat(tc_poll *poll)
{
    int fds[2];

    make_socketpair(fds);
    put(fds[1], 1);
    poll_arm_edge(poll, fds[0], TC_POLL_READ, 1, false);
    expect_one(poll, 1, TC_POLL_READ);
    poll_arm_edge(poll, fds[0], TC_POLL_READ, 2, true);
    expect_one(poll, 2, TC_POLL_READ);
    expect_none(poll);
    take(fds[0], 1);
    poll_arm_edge(poll, fds[0], TC_POLL_READ, 3, true);
    expect_none(poll);
    poll_arm_edge(poll, fds[0], BOTH, 4, true);
    expect_one(poll, 4, TC_POLL_WRITE);
    fill(fds[0]);
    expect_none(poll);
    drain(fds[1]);
    expect_one(poll, 4, TC_POLL_WRITE);
    poll_arm_edge(poll, fds[0], TC_POLL_READ, 5, true);
    expect_none(poll);
    close_fd(fds[0]);
    close_fd(fds[1]);
}

/* A wrong guess at `modify` changes nothing. */
static void
case_edge_wrong_guess(tc_poll *poll)
{
    int fds[2];

    make_socketpair(fds);
    poll_arm_edge(poll, fds[0], BOTH, 1, true);
    expect_one(poll, 1, TC_POLL_WRITE);
    poll_arm_edge(poll, fds[0], BOTH, 2, false);
    expect_one(poll, 2, TC_POLL_WRITE);
    expect_none(poll);
    CHECK_EQ(poll->ops->arm_edge(poll, -1, BOTH, 1, true), -EBADF);
    CHECK_EQ(poll->ops->arm_edge(poll, -1, BOTH, 1, false), -EBADF);
    CHECK_EQ(poll->ops->arm_edge(poll, fds[0], 0, 1, true), -EINVAL);
    CHECK_EQ(poll->ops->arm_edge(poll, fds[0], TC_POLL_PRI, 1, true),
             -EINVAL);
    CHECK_EQ(poll->ops->arm_edge(poll, fds[0], BOTH, TC_POLL_WAKE, true),
             -EINVAL);
    close_fd(fds[0]);
    close_fd(fds[1]);
}

static void
until_peer_shut(int fd)
{
    struct pollfd line = {.fd = fd, .events = POLLRDHUP};

    CHECK_EQ(poll(&line, 1, -1), 1);
}

static void
case_edge_peer_closing(tc_poll *poll)
{
    int fds[2];

    make_tcp_pair(fds);
    poll_arm_edge(poll, fds[0], TC_POLL_READ, 1, false);
    expect_none(poll);
    put(fds[1], 1);
    CHECK_EQ(shutdown(fds[1], SHUT_WR), 0);
    until_peer_shut(fds[0]);
    expect_one(poll, 1, TC_POLL_READ | TC_POLL_RDHUP);
    expect_none(poll);
    close_fd(fds[0]);
    close_fd(fds[1]);
}

static void
case_edge_urgent(tc_poll *poll)
{
    int fds[2];

    make_tcp_pair(fds);
    poll_arm_edge(poll, fds[0], TC_POLL_READ, 1, false);
    expect_none(poll);
    CHECK_EQ(send(fds[1], "!", 1, MSG_OOB), 1);
    {
        tc_poll_event event;

        CHECK_EQ(poll_wait(poll, &event, 1, TC_POLL_FOREVER), 1);
        CHECK_EQ(event.token, 1);
        CHECK(event.ready & TC_POLL_PRI);
        CHECK_EQ(tc_poll_directions(event.ready), TC_POLL_READ);
    }
    close_fd(fds[0]);
    close_fd(fds[1]);
}

/* One-shot and edge registrations of a descriptor replace one another. */
static void
case_edge_and_level(tc_poll *poll)
{
    int fds[2];

    make_socketpair(fds);
    put(fds[1], 1);
    poll_arm(poll, fds[0], TC_POLL_READ, 1);
    poll_arm_edge(poll, fds[0], TC_POLL_READ, 2, false);
    expect_one(poll, 2, TC_POLL_READ);
    poll_arm(poll, fds[0], TC_POLL_READ, 3);
    expect_one(poll, 3, TC_POLL_READ);
    put(fds[1], 1);
    expect_none(poll);
    close_fd(fds[0]);
    close_fd(fds[1]);
}

int
main(int argc, char **argv)
{
    static const tc_poll_case cases[] = {
        {"edge", case_edge, TC_POLL_CAP_EDGE},
        {"edge_repeat", case_edge_repeat, TC_POLL_CAP_EDGE},
        {"edge_wrong_guess", case_edge_wrong_guess, TC_POLL_CAP_EDGE},
        {"edge_peer_closing", case_edge_peer_closing, TC_POLL_CAP_EDGE},
        {"edge_urgent", case_edge_urgent,
         TC_POLL_CAP_EDGE | TC_POLL_CAP_PRI},
        {"edge_and_level", case_edge_and_level, TC_POLL_CAP_EDGE},
    };

    return tc_poll_cases_main(argc, argv, cases, ARRAY_LENGTH(cases));
}
