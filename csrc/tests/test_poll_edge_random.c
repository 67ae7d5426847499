/* Edge-triggered registrations under random operations: nobody who remembers
 * what was reported, and forgets it only when a system call would block, may
 * ever sleep on something that is ready.
 */
#ifndef _GNU_SOURCE
#  define _GNU_SOURCE
#endif

#include "base/random.h"
#include "tests/poll_support.h"

#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#define PAIRS 8
#define ENDS (2 * PAIRS)
#define STEPS 12000

typedef struct end {
    int fd;
    uint32_t interest;          /* registered for; 0: not */
    uint32_t memory;            /* what is believed to be ready */
    uint64_t token;
} end;

typedef struct model {
    tc_poll *poll;
    tc_random random;
    end ends[ENDS];             /* 2i and 2i + 1 are connected */
    uint64_t next_token;
    long reports;
} model;

static int
pick(model *m, int count)
{
    return (int)((tc_random_next(&m->random) >> 33) % (uint64_t)count);
}

static void
model_register(model *m, end *e)
{
    bool modify = e->interest != 0 ? pick(m, 8) != 0 : pick(m, 8) == 0;

    e->interest = TC_POLL_READ | (pick(m, 2) ? TC_POLL_WRITE : 0);
    e->memory = BOTH;           /* like a socket nobody has tried yet */
    e->token = m->next_token++;
    poll_arm_edge(m->poll, e->fd, e->interest, e->token, modify);
}

static void
model_open(model *m, int pair)
{
    int fds[2];

    if (pair % 2) {
        make_tcp_pair(fds);
    }
    else {
        make_socketpair(fds);
    }
    for (int i = 0; i < 2; i++) {
        m->ends[2 * pair + i] = (end){.fd = fds[i]};
        model_register(m, &m->ends[2 * pair + i]);
    }
}

static void
model_close(model *m, int pair)
{
    for (int i = 0; i < 2; i++) {
        end *e = &m->ends[2 * pair + i];

        poll_forget(m->poll, e->fd);
        close(e->fd);
        e->interest = 0;
    }
}

static void
model_note(model *m, int64_t timeout_ns)
{
    tc_poll_event events[2 * ENDS];
    int n = poll_wait(m->poll, events, 2 * ENDS, timeout_ns);

    CHECK(n >= 0);
    for (int k = 0; k < n; k++) {
        int i = 0;

        while (i < ENDS && m->ends[i].token != events[k].token) {
            i++;
        }
        CHECK(i < ENDS);
        CHECK(events[k].ready != 0);
        m->ends[i].memory |= tc_poll_directions(events[k].ready);
        m->reports++;
    }
}

/* Is it ready in a way that is not remembered? */
static bool
model_is_missing(const end *e, short ready)
{
    if ((ready & (POLLIN | POLLHUP | POLLERR))
        && (e->memory & TC_POLL_READ) == 0) {
        return true;
    }
    return (ready & POLLOUT) && (e->interest & TC_POLL_WRITE)
           && (e->memory & TC_POLL_WRITE) == 0;
}

/* Look.  What was ready before must then be known; or soon, for poll(2) may
 * see it before those are told who wait.  If not, this hangs. */
static void
model_wait(model *m)
{
    short before[ENDS];

    for (int i = 0; i < ENDS; i++) {
        struct pollfd line = {.fd = m->ends[i].fd,
                              .events = POLLIN | POLLOUT};

        CHECK(poll(&line, 1, 0) >= 0);
        before[i] = line.revents;
    }
    model_note(m, 0);
    for (int i = 0; i < ENDS; i++) {
        while (model_is_missing(&m->ends[i], before[i])) {
            model_note(m, TC_POLL_FOREVER);
        }
    }
}

static void
model_transfer(model *m, end *e)
{
    char bytes[3000];
    ssize_t n = 1;
    bool all = pick(m, 2) != 0;

    memset(bytes, 'x', sizeof(bytes));
    if (pick(m, 2)) {
        do {
            n = read(e->fd, bytes, all ? sizeof(bytes) : 1);
        } while (all && n > 0);
        if (n < 0 && errno == EAGAIN) {
            e->memory &= ~TC_POLL_READ;
        }
        return;
    }
    do {
        n = write(e->fd, bytes, all ? sizeof(bytes) : 1);
    } while (all && n > 0);
    if (n < 0 && errno == EAGAIN) {
        e->memory &= ~TC_POLL_WRITE;
        if ((e->interest & TC_POLL_WRITE) == 0) {
            model_register(m, e);
        }
    }
}

static void
case_edge_random(tc_poll *poll)
{
    static model m;

    m.poll = poll;
    tc_random_seed(&m.random, tc_test_seed());
    for (int i = 0; i < PAIRS; i++) {
        model_open(&m, i);
    }
    for (int step = 0; step < STEPS; step++) {
        end *e = &m.ends[pick(&m, ENDS)];
        int what = pick(&m, 40);

        if (what < 20) {
            model_transfer(&m, e);
        }
        else if (what < 22) {
            model_register(&m, e);
        }
        else if (what == 22) {
            (void)shutdown(e->fd, pick(&m, 2) ? SHUT_WR : SHUT_RD);
        }
        else if (what == 23) {
            int pair = (int)(e - m.ends) / 2;

            model_close(&m, pair);
            model_open(&m, pair);
        }
        else {
            model_wait(&m);
        }
    }
    CHECK(m.reports > STEPS / 20);
    for (int i = 0; i < PAIRS; i++) {
        model_close(&m, i);
    }
    expect_none(poll);
}

int
main(int argc, char **argv)
{
    static const tc_poll_case cases[] = {
        {"edge_random", case_edge_random, TC_POLL_CAP_EDGE},
    };

    signal(SIGPIPE, SIG_IGN);
    return tc_poll_cases_main(argc, argv, cases, ARRAY_LENGTH(cases));
}
