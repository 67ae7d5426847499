/* Random operations against a naive model: a table of what is armed, and
 * poll(2) as the oracle of what is ready.
 *
 * The oracle is asked before and after each wait, since TCP may still be busy
 * in between; mostly both agree.  The wait must report every armed descriptor
 * that was ready before, with at least those bits, and none that is not ready
 * afterwards, with no more than those bits.  Only tokens whose descriptor was
 * closed without notice may show up beyond that, once.
 */
#define _GNU_SOURCE

#include "base/random.h"
#include "tests/poll_support.h"

#include <poll.h>
#include <signal.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#define PAIRS 12
#define ENDS (2 * PAIRS)
#define STEPS 40000

typedef struct end {
    int fd;                     /* -1: closed */
    uint32_t interest;          /* 0: not armed */
    uint64_t token;
} end;

typedef struct model {
    tc_poll *poll;
    tc_random random;
    end ends[ENDS];             /* 2i and 2i + 1 are connected */
    int copies[PAIRS];          /* dups that keep closed files open, or -1 */
    uint64_t next_token;
    /* By token: 1 once its descriptor was closed without notice, 2 once it
     * was reported afterwards. */
    unsigned char stale[STEPS + 1];
    long reports;
    long spurious;
} model;

static int
pick(model *m, int count)
{
    return (int)((tc_random_next(&m->random) >> 33) % (uint64_t)count);
}

static void
model_open(model *m, int pair)
{
    int fds[2];

    switch (pair % 3) {
    case 0:
        make_socketpair(fds);
        break;
    case 1:
        make_tcp_pair(fds);
        break;
    default:
        make_pipe(fds);
        break;
    }
    for (int i = 0; i < 2; i++) {
        m->ends[2 * pair + i] = (end){.fd = fds[i]};
    }
}

static void
model_close(model *m, end *e, bool notice)
{
    if (notice) {
        poll_forget(m->poll, e->fd);
    }
    else if (e->interest != 0) {
        m->stale[e->token] = 1;
    }
    close(e->fd);
    e->fd = -1;
    e->interest = 0;
}

/* What the oracle says of an armed end. */
static uint32_t
model_ready(const end *e)
{
    struct pollfd line = {.fd = e->fd};
    uint32_t ready = 0;

    line.events = (short)((e->interest & TC_POLL_READ ? POLLIN : 0)
                          | (e->interest & TC_POLL_WRITE ? POLLOUT : 0));
    CHECK(poll(&line, 1, 0) >= 0);
    CHECK_EQ(line.revents & POLLNVAL, 0);
    ready |= line.revents & POLLIN ? TC_POLL_READ : 0;
    ready |= line.revents & POLLOUT ? TC_POLL_WRITE : 0;
    ready |= line.revents & POLLHUP ? TC_POLL_HUP : 0;
    ready |= line.revents & POLLERR ? TC_POLL_ERR : 0;
    return ready;
}

/* Is that the right report for e, which was ready in this way before? */
static void
model_compare(model *m, const end *e, uint32_t before, uint32_t reported,
              bool small)
{
    uint32_t all = poll_comparable(m->poll, e->interest, reported);

    before = poll_comparable(m->poll, e->interest, before);
    if (small && poll_may_split(m->poll)) {
        CHECK(before == 0 || (before & all) != 0);
    }
    else {
        CHECK_EQ(before & ~all, 0);
    }
    CHECK_EQ(all & ~poll_comparable(m->poll, e->interest, model_ready(e)),
             0);
}

static void
model_wait(model *m)
{
    tc_poll_event events[2 * ENDS + 8];
    uint32_t before[ENDS];
    int cap = pick(m, 2) ? 2 * ENDS + 8 : 1 + pick(m, 4);
    int missing = 0;
    int n;

    for (int i = 0; i < ENDS; i++) {
        before[i] = m->ends[i].interest ? model_ready(&m->ends[i]) : 0;
        missing += before[i] != 0;
    }
    n = poll_wait(m->poll, events, cap, 0);
    CHECK(n >= 0 && n <= cap);
    for (int k = 0; k < n; k++) {
        int i = 0;

        CHECK(events[k].token <= STEPS);
        if (m->stale[events[k].token] != 0) {
            CHECK_EQ(m->stale[events[k].token], 1);
            m->stale[events[k].token] = 2;
            m->spurious++;
            continue;
        }
        while (i < ENDS && !(m->ends[i].interest != 0
                             && m->ends[i].token == events[k].token)) {
            i++;
        }
        CHECK(i < ENDS);
        CHECK(events[k].ready != 0);
        model_compare(m, &m->ends[i], before[i], events[k].ready,
                      cap < 2 * ENDS);
        m->ends[i].interest = 0;
        m->reports++;
        missing -= before[i] != 0;
    }
    CHECK(missing == 0 || n == cap);
}

static void
model_transfer(model *m, end *e)
{
    char bytes[3000];

    memset(bytes, 'x', sizeof(bytes));
    switch (pick(m, 5)) {
    case 0:
        (void)!write(e->fd, bytes, 1);
        break;
    case 1:
        while (write(e->fd, bytes, sizeof(bytes)) > 0) {
        }
        break;
    case 2:
        (void)!read(e->fd, bytes, sizeof(bytes));
        break;
    case 3:
        while (read(e->fd, bytes, sizeof(bytes)) > 0) {
        }
        break;
    default:
        if (pick(m, 8) == 0) {
            (void)shutdown(e->fd, pick(m, 2) ? SHUT_WR : SHUT_RD);
        }
        break;
    }
}

static void
model_step(model *m, bool rude)
{
    int pair = pick(m, PAIRS);
    end *e = &m->ends[2 * pair + pick(m, 2)];
    int what = pick(m, 20);

    if (e->fd < 0) {
        /* Reopen: closes what is left of the pair first. */
        for (int i = 0; i < 2; i++) {
            if (m->ends[2 * pair + i].fd >= 0) {
                model_close(m, &m->ends[2 * pair + i], !rude || pick(m, 2));
            }
        }
        if (m->copies[pair] >= 0 && pick(m, 2)) {
            close(m->copies[pair]);
            m->copies[pair] = -1;
        }
        model_open(m, pair);
    }
    else if (what < 7) {
        e->interest = 1 + (uint32_t)pick(m, 3);
        e->token = m->next_token++;
        poll_arm(m->poll, e->fd, e->interest, e->token);
    }
    else if (what < 8) {
        poll_forget(m->poll, e->fd);
        e->interest = 0;
    }
    else if (what < 9) {
        if (rude && m->copies[pair] < 0 && pick(m, 2)) {
            m->copies[pair] = dup(e->fd);
            CHECK(m->copies[pair] >= 0);
        }
        model_close(m, e, !rude || pick(m, 2));
    }
    else if (what < 14) {
        model_transfer(m, e);
    }
    else {
        model_wait(m);
    }
}

static void
model_run(tc_poll *poll, bool rude)
{
    static model m;

    m.poll = poll;
    tc_random_seed(&m.random, tc_test_seed());
    for (int i = 0; i < PAIRS; i++) {
        model_open(&m, i);
        m.copies[i] = -1;
    }
    for (int step = 0; step < STEPS; step++) {
        model_step(&m, rude);
    }
    /* It was about something. */
    CHECK(m.reports > STEPS / 20);
    CHECK(rude || m.spurious == 0);
    for (int i = 0; i < ENDS; i++) {
        if (m.ends[i].fd >= 0) {
            close(m.ends[i].fd);
        }
    }
    for (int i = 0; i < PAIRS; i++) {
        if (m.copies[i] >= 0) {
            close(m.copies[i]);
        }
    }
}

static void
case_random_polite(tc_poll *poll)
{
    model_run(poll, false);
}

/* The same with descriptors closed without notice, some kept open by dups. */
static void
case_random_rude(tc_poll *poll)
{
    model_run(poll, true);
}

int
main(int argc, char **argv)
{
    static const tc_poll_case cases[] = {
        {"random_polite", case_random_polite, 0},
        {"random_rude", case_random_rude, 0},
    };

    /* Writing to what the peer has closed is part of it. */
    signal(SIGPIPE, SIG_IGN);
    return tc_poll_cases_main(argc, argv, cases, ARRAY_LENGTH(cases));
}
