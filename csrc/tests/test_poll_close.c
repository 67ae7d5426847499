/* Ends: peers that go away, and descriptors that are closed, with notice and
 * without.  Reports are compared exactly wherever notice was given.
 */
#include "tests/poll_support.h"

/* ---- end of file and errors ---- */

/* Whatever direction was armed, both learn that the peer is gone. */
static void
case_hup_both(tc_poll *poll)
{
    static const uint32_t interests[] = {TC_POLL_READ, TC_POLL_WRITE, BOTH};

    for (size_t i = 0; i < ARRAY_LENGTH(interests); i++) {
        int fds[2];

        make_socketpair(fds);
        fill(fds[0]);
        poll_arm(poll, fds[0], interests[i], 9);
        expect_none(poll);
        close_fd(fds[1]);
        expect_end(poll, 9, interests[i], TC_POLL_HUP);
        expect_none(poll);
        close_fd(fds[0]);
    }
}

#if SYSTEM_IS_POSIX
static void
case_pipe_ends(tc_poll *poll)
{
    int fds[2];

    make_pipe(fds);
    poll_arm(poll, fds[0], TC_POLL_READ, 1);
    close_fd(fds[1]);
    expect_end(poll, 1, TC_POLL_READ, TC_POLL_HUP);
    expect_none(poll);
    close_fd(fds[0]);

    make_pipe(fds);
    fill(fds[1]);
    poll_arm(poll, fds[1], TC_POLL_WRITE, 2);
    expect_none(poll);
    close_fd(fds[0]);
    expect_end(poll, 2, TC_POLL_WRITE, TC_POLL_ERR);
    expect_none(poll);

    /* Now that it is known before. */
    for (uint32_t interest = TC_POLL_WRITE; interest <= BOTH; interest++) {
        poll_arm(poll, fds[1], interest, 3);
        expect_end(poll, 3, interest, TC_POLL_ERR);
        expect_none(poll);
        poll_arm(poll, fds[1], interest, 4);
        poll_forget(poll, fds[1]);
        expect_none(poll);
        poll_arm(poll, fds[1], interest, 5);
        poll_arm(poll, fds[1], TC_POLL_WRITE, 6);
        expect_end(poll, 6, TC_POLL_WRITE, TC_POLL_ERR);
        expect_none(poll);
    }
    close_fd(fds[1]);
}
#endif

static void
case_half_close(tc_poll *poll)
{
    int fds[2];

    make_tcp_pair(fds);
    poll_arm(poll, fds[0], TC_POLL_READ, 1);
    expect_none(poll);
    shut_fd(fds[1], false);
    expect_one(poll, 1, TC_POLL_READ);
    poll_arm(poll, fds[0], BOTH, 2);
    expect_one(poll, 2, BOTH);
    close_fd(fds[0]);
    close_fd(fds[1]);
}

static void
case_tcp_reset(tc_poll *poll)
{
    tc_poll_event event;
    int fds[2];

    make_tcp_pair(fds);
    poll_arm(poll, fds[0], TC_POLL_READ, 1);
    reset_fd(fds[1]);
    CHECK_EQ(poll_wait(poll, &event, 1, TC_POLL_FOREVER), 1);
    CHECK_EQ(event.token, 1);
    CHECK_EQ(tc_poll_directions(event.ready), BOTH);
    CHECK(event.ready & TC_POLL_ERR);
    close_fd(fds[0]);
}

static void
case_connect_accept(tc_poll *poll)
{
    int listener = make_tcp_listener();
    int client;
    int server;

    poll_arm(poll, listener, TC_POLL_READ, 1);
    expect_none(poll);
    client = make_tcp_client(listener);
    expect_one(poll, 1, TC_POLL_READ);
    poll_arm(poll, client, TC_POLL_WRITE, 2);
    expect_one(poll, 2, TC_POLL_WRITE);
    server = accept_from(listener);
    poll_arm(poll, listener, TC_POLL_READ, 3);
    expect_none(poll);
    close_fd(server);
    close_fd(client);
    close_fd(listener);
}

static void
case_connect_refused(tc_poll *poll)
{
    int client = make_refused_client();
    tc_poll_event event;

    poll_arm(poll, client, TC_POLL_WRITE, 1);
    CHECK_EQ(poll_wait(poll, &event, 1, TC_POLL_FOREVER), 1);
    CHECK_EQ(event.token, 1);
    CHECK_EQ(tc_poll_directions(event.ready), BOTH);
    close_fd(client);
}

/* ---- closing ---- */

static void
case_forget_then_close(tc_poll *poll)
{
    int fds[2];
    int others[2];

    make_socketpair(fds);
    poll_arm(poll, fds[0], TC_POLL_READ, 1);
    put(fds[1], 1);
    poll_forget(poll, fds[0]);
    close_fd(fds[0]);
    expect_none(poll);
    /* The number's next owner hears nothing of it. */
    make_socketpair(others);
    CHECK_EQ(others[0], fds[0]);
    put(others[1], 1);
    expect_none(poll);
    poll_arm(poll, others[0], TC_POLL_READ, 2);
    expect_one(poll, 2, TC_POLL_READ);
    expect_none(poll);
    close_fd(fds[1]);
    close_fd(others[0]);
    close_fd(others[1]);
}

/* All reports within a hundred looks: how many bear the token? */
static int
count_reports(tc_poll *poll, uint64_t token)
{
    int count = 0;

    for (int i = 0; i < 100; i++) {
        tc_poll_event event;

        if (poll_wait(poll, &event, 1, 0) == 1) {
            CHECK_EQ(event.token, token);
            CHECK(event.ready != 0);
            count++;
        }
    }
    return count;
}

static void
case_close_unforgotten(tc_poll *poll)
{
    int fds[2];
    int others[2];

    make_socketpair(fds);
    poll_arm(poll, fds[0], TC_POLL_READ, 1);
    close_fd(fds[0]);
    CHECK(count_reports(poll, 1) <= 1);
    close_fd(fds[1]);
    CHECK_EQ(poll->ops->forget(poll, fds[0]), 0);

    make_socketpair(others);
    CHECK_EQ(others[0], fds[0]);
    poll_arm(poll, others[0], TC_POLL_READ, 2);
    expect_none(poll);
    put(others[1], 1);
    expect_one(poll, 2, TC_POLL_READ);
    close_fd(others[0]);
    close_fd(others[1]);
}

/* A dup keeps the file, and in epoll the registration, alive. */
static void
case_close_unforgotten_dup(tc_poll *poll)
{
    int fds[2];
    int others[2];
    int copy;

    make_socketpair(fds);
    copy = dup_fd(fds[0]);
    poll_arm(poll, fds[0], TC_POLL_READ, 1);
    close_fd(fds[0]);
    put(fds[1], 1);
    CHECK(count_reports(poll, 1) <= 1);
    put(fds[1], 1);
    CHECK_EQ(count_reports(poll, 1), 0);
    CHECK_EQ(poll->ops->forget(poll, fds[0]), 0);

    /* The dup can be waited for. */
    poll_arm(poll, copy, TC_POLL_READ, 2);
    expect_one(poll, 2, TC_POLL_READ);
    expect_none(poll);

    /* And so can the number, under which the kernel may now have two. */
    make_socketpair(others);
    CHECK_EQ(others[0], fds[0]);
    poll_arm(poll, others[0], TC_POLL_READ, 3);
    put(fds[1], 1);
    expect_none(poll);
    put(others[1], 1);
    expect_one(poll, 3, TC_POLL_READ);
    poll_forget(poll, others[0]);
    expect_none(poll);
    close_fd(copy);
    close_fd(fds[1]);
    close_fd(others[0]);
    close_fd(others[1]);
}

/* The same, the number taken by another file before anything has fired. */
static void
case_close_unforgotten_reuse(tc_poll *poll)
{
    tc_poll_event event;
    int fds[2];
    int others[2];
    int copy;
    int stale = 0;
    int fresh = 0;

    make_socketpair(fds);
    make_socketpair(others);
    copy = dup_fd(fds[0]);
    poll_arm(poll, fds[0], TC_POLL_READ, 1);
    replace_fd(fds[0], others[0]);
    poll_arm(poll, fds[0], TC_POLL_READ, 2);
    put(fds[1], 1);
    put(others[1], 1);
    for (int i = 0; i < 100; i++) {
        if (poll_wait(poll, &event, 1, 0) == 1) {
            stale += event.token == 1;
            fresh += event.token == 2;
        }
    }
    CHECK(stale <= 1);
    CHECK_EQ(fresh, 1);
    close_fd(copy);
    close_fd(fds[0]);
    close_fd(fds[1]);
    close_fd(others[0]);
    close_fd(others[1]);
}

int
main(int argc, char **argv)
{
    static const tc_poll_case cases[] = {
        {"hup_both", case_hup_both, 0},
#if SYSTEM_IS_POSIX
        {"pipe_ends", case_pipe_ends, 0},
#endif
        {"half_close", case_half_close, 0},
        {"tcp_reset", case_tcp_reset, 0},
        {"connect_accept", case_connect_accept, 0},
        {"connect_refused", case_connect_refused, 0},
        {"forget_then_close", case_forget_then_close, 0},
        {"close_unforgotten", case_close_unforgotten, 0},
        {"close_unforgotten_dup", case_close_unforgotten_dup, 0},
        {"close_unforgotten_reuse", case_close_unforgotten_reuse, 0},
    };

    return tc_poll_cases_main(argc, argv, cases, ARRAY_LENGTH(cases));
}
