/* Random operations against a naive model: a table of what is armed, and
 * another system call as the oracle of what is ready.
 *
 * The oracle is asked before and after each wait, since TCP may still be busy
 * in between; mostly both agree.  The wait must report every armed descriptor
 * that was ready before, with at least those bits, and none that is not ready
 * afterwards, with no more than those bits.  Only tokens whose descriptor was
 * closed without notice may show up beyond that, once.
 *
 * Where readiness comes to the poller on a way of its own (tests/system.h), a
 * report may be late, and say what was true at some time since arming: there,
 * all that is ready must be reported sooner or later, and nothing that is not
 * armed.
 */
#include "base/random.h"
#include "tests/poll_support.h"

#include <string.h>

#define PAIRS 12
#define ENDS (2 * PAIRS)
#define STEPS SYSTEM_ROUNDS(40000)

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
    close_fd(e->fd);
    e->fd = -1;
    e->interest = 0;
}

/* Is that the right report for e, which was ready in this way before? */
static void
model_compare(model *m, const end *e, uint32_t before, uint32_t reported,
              bool small)
{
    uint32_t all = poll_comparable(m->poll, e->interest, reported);
    uint32_t after = look_at(e->fd, e->interest);

    before = poll_comparable(m->poll, e->interest, before);
    if (small && poll_may_split(m->poll)) {
        CHECK(before == 0 || (before & all) != 0);
    }
    else {
        CHECK_EQ(before & ~all, 0);
    }
    CHECK_EQ(all & ~poll_comparable(m->poll, e->interest, after), 0);
}

/* What one wait has reported: how many ends that were ready before it. */
static int
model_reported(model *m, const tc_poll_event *events, int n,
               const uint32_t *before, bool small)
{
    int expected = 0;

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
        if (SYSTEM_IS_POSIX) {
            model_compare(m, &m->ends[i], before[i], events[k].ready, small);
        }
        else {
            CHECK_EQ(events[k].ready & BOTH & ~m->ends[i].interest, 0);
        }
        m->ends[i].interest = 0;
        m->reports++;
        expected += before[i] != 0;
    }
    return expected;
}

static void
model_wait(model *m)
{
    tc_poll_event events[2 * ENDS + 8];
    uint32_t before[ENDS];
    int cap = pick(m, 2) ? 2 * ENDS + 8 : 1 + pick(m, 4);
    bool small = cap < 2 * ENDS;
    int missing = 0;
    int n;

    for (int i = 0; i < ENDS; i++) {
        const end *e = &m->ends[i];

        before[i] = e->interest ? look_at(e->fd, e->interest) : 0;
        missing += before[i] != 0;
    }
    n = poll_wait(m->poll, events, cap, 0);
    CHECK(n >= 0 && n <= cap);
    missing -= model_reported(m, events, n, before, small);
    while (!SYSTEM_IS_POSIX && missing > 0 && n < cap) {
        n = poll_wait(m->poll, events, cap, TC_POLL_FOREVER);
        CHECK(n > 0 && n <= cap);
        missing -= model_reported(m, events, n, before, small);
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
        (void)write_fd(e->fd, bytes, 1);
        break;
    case 1:
        while (write_fd(e->fd, bytes, sizeof(bytes)) > 0) {
        }
        break;
    case 2:
        (void)read_fd(e->fd, bytes, sizeof(bytes));
        break;
    case 3:
        while (read_fd(e->fd, bytes, sizeof(bytes)) > 0) {
        }
        break;
    default:
        if (pick(m, 8) == 0) {
            shut_fd(e->fd, pick(m, 2) == 0);
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
            close_fd(m->copies[pair]);
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
            m->copies[pair] = dup_fd(e->fd);
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
            close_fd(m.ends[i].fd);
        }
    }
    for (int i = 0; i < PAIRS; i++) {
        if (m.copies[i] >= 0) {
            close_fd(m.copies[i]);
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

    return tc_poll_cases_main(argc, argv, cases, ARRAY_LENGTH(cases));
}
