/* The epoll backend (Linux).
 *
 * Facts about epoll this file relies on:
 *   - A registration is keyed by (descriptor number, open file) and dies with
 *     the open file, not with the number.  If a dup keeps the file open after
 *     close(fd), the registration lives on and cannot be reached any more;
 *     and when the number is given to another file, that one can be
 *     registered beside it.  So what is one-shot fires once more at most, and
 *     nothing here ever concludes from a number that it is registered.
 *   - For the same reason there is no table here: the kernel's own is asked.
 *     Changing first and adding on ENOENT costs one call for a descriptor
 *     that has been waited for before, which is the usual case.
 *   - EPOLLONESHOT disables both directions but keeps the registration.
 *     Setting an empty interest would still report HUP and ERR, so disarming
 *     means deleting, which also takes back a report that nobody has fetched
 *     yet.
 *   - EPOLL_CTL_MOD reports what is ready at that moment, in edge-triggered
 *     registrations too, even if the mask does not change.
 *   - epoll_ctl() is atomic against a running epoll_wait() and takes effect
 *     in it, hence no lock here.
 *   - Timeouts are whole milliseconds and never end early.
 */
#include "poll/poll.h"

#if TC_POLL_HAVE_EPOLL

#include "poll/wake.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <unistd.h>

typedef struct epoll_poll {
    tc_poll base;
    int epoll_fd;               /* owned */
    tc_wake wake;
} epoll_poll;

/* epoll_wait() fills the caller's array in place. */
_Static_assert(sizeof(tc_poll_event) >= sizeof(struct epoll_event)
                   && _Alignof(tc_poll_event)
                          >= _Alignof(struct epoll_event),
               "an epoll_event must fit where a tc_poll_event lies");

static int
epoll_backend_open(tc_poll **out)
{
    struct epoll_event event;
    epoll_poll *self = malloc(sizeof(*self));
    int err;

    if (self == NULL) {
        return -ENOMEM;
    }
    self->base.ops = &tc_poll_ops_epoll;
    self->epoll_fd = epoll_create1(EPOLL_CLOEXEC);
    if (self->epoll_fd < 0) {
        err = -errno;
        goto error_free;
    }
    err = tc_wake_open(&self->wake);
    if (err < 0) {
        goto error_epoll;
    }
    memset(&event, 0, sizeof(event));
    event.events = EPOLLIN;
    event.data.u64 = TC_POLL_WAKE;
    if (epoll_ctl(self->epoll_fd, EPOLL_CTL_ADD, self->wake.read_fd,
                  &event) < 0) {
        err = -errno;
        goto error_wake;
    }
    *out = &self->base;
    return 0;

error_wake:
    tc_wake_close(&self->wake);
error_epoll:
    close(self->epoll_fd);
error_free:
    free(self);
    return err;
}

static void
epoll_backend_close(tc_poll *poll)
{
    epoll_poll *self = (epoll_poll *)poll;

    if (self == NULL) {
        return;
    }
    close(self->epoll_fd);
    tc_wake_close(&self->wake);
    free(self);
}

/* Set the registration of fd, whether there is one already or not. */
static int
epoll_register(epoll_poll *self, int fd, uint32_t mask, uint64_t token,
               bool modify)
{
    int op = modify ? EPOLL_CTL_MOD : EPOLL_CTL_ADD;
    struct epoll_event event;

    memset(&event, 0, sizeof(event));
    event.events = mask;
    event.data.u64 = token;
    if (epoll_ctl(self->epoll_fd, op, fd, &event) == 0) {
        return 0;
    }
    if (op == EPOLL_CTL_MOD && errno == ENOENT) {
        op = EPOLL_CTL_ADD;
    }
    else if (op == EPOLL_CTL_ADD && errno == EEXIST) {
        op = EPOLL_CTL_MOD;
    }
    else {
        return -errno;
    }
    return epoll_ctl(self->epoll_fd, op, fd, &event) == 0 ? 0 : -errno;
}

static bool
epoll_arguments_ok(uint32_t interest, uint64_t token)
{
    return (interest & ~(TC_POLL_READ | TC_POLL_WRITE)) == 0
           && token != TC_POLL_WAKE;
}

/* ENOENT: not registered.  EBADF: closed.  EPERM: never could be. */
static int
epoll_backend_forget(tc_poll *poll, int fd)
{
    epoll_poll *self = (epoll_poll *)poll;
    struct epoll_event unused;

    if (epoll_ctl(self->epoll_fd, EPOLL_CTL_DEL, fd, &unused) < 0
        && errno != ENOENT && errno != EBADF && errno != EPERM) {
        return -errno;
    }
    return 0;
}

static int
epoll_backend_arm(tc_poll *poll, int fd, uint32_t interest, uint64_t token)
{
    uint32_t mask = EPOLLONESHOT;

    if (!epoll_arguments_ok(interest, token)) {
        return -EINVAL;
    }
    if (interest == 0) {
        return epoll_backend_forget(poll, fd);
    }
    if (interest & TC_POLL_READ) {
        mask |= EPOLLIN;
    }
    if (interest & TC_POLL_WRITE) {
        mask |= EPOLLOUT;
    }
    return epoll_register((epoll_poll *)poll, fd, mask, token, true);
}

static int
epoll_backend_arm_edge(tc_poll *poll, int fd, uint32_t interest,
                       uint64_t token, bool modify)
{
    uint32_t mask = EPOLLET;

    if (!epoll_arguments_ok(interest, token) || interest == 0) {
        return -EINVAL;
    }
    if (interest & TC_POLL_READ) {
        mask |= EPOLLIN | EPOLLRDHUP | EPOLLPRI;
    }
    if (interest & TC_POLL_WRITE) {
        mask |= EPOLLOUT;
    }
    return epoll_register((epoll_poll *)poll, fd, mask, token, modify);
}

static uint32_t
epoll_ready_bits(uint32_t events)
{
    uint32_t ready = 0;

    if (events & EPOLLIN) {
        ready |= TC_POLL_READ;
    }
    if (events & EPOLLOUT) {
        ready |= TC_POLL_WRITE;
    }
    if (events & EPOLLPRI) {
        ready |= TC_POLL_PRI;
    }
    if (events & EPOLLRDHUP) {
        ready |= TC_POLL_RDHUP;
    }
    if (events & EPOLLHUP) {
        ready |= TC_POLL_HUP;
    }
    if (events & EPOLLERR) {
        ready |= TC_POLL_ERR;
    }
    return ready;
}

static int
epoll_timeout_ms(int64_t timeout_ns)
{
    if (timeout_ns < 0) {
        return -1;
    }
    if (timeout_ns > TC_POLL_TIMEOUT_MAX) {
        timeout_ns = TC_POLL_TIMEOUT_MAX;
    }
    return (int)((timeout_ns + 999999) / 1000000);
}

static int
epoll_backend_wait(tc_poll *poll, tc_poll_event *events, int cap,
                   int64_t timeout_ns)
{
    epoll_poll *self = (epoll_poll *)poll;
    const char *raw = (const char *)events;
    int n;

    if (cap < 1) {
        return -EINVAL;
    }
    n = epoll_wait(self->epoll_fd, (struct epoll_event *)(void *)events, cap,
                   epoll_timeout_ms(timeout_ns));
    if (n < 0) {
        return -errno;
    }
    /* An epoll_event may be smaller than an event of ours (it is packed on
     * x86-64), so going backwards overwrites only what has been converted. */
    for (int i = n - 1; i >= 0; i--) {
        struct epoll_event event;

        memcpy(&event, raw + (size_t)i * sizeof(event), sizeof(event));
        if (event.data.u64 == TC_POLL_WAKE) {
            (void)tc_wake_drain(&self->wake);
        }
        events[i].token = event.data.u64;
        events[i].ready = epoll_ready_bits(event.events);
    }
    return n;
}

static void
epoll_backend_wake(tc_poll *poll)
{
    tc_wake_signal(&((epoll_poll *)poll)->wake);
}

const tc_poll_ops tc_poll_ops_epoll = {
    .name = "epoll",
    .caps = TC_POLL_CAP_EDGE | TC_POLL_CAP_PRI,
    .open = epoll_backend_open,
    .close = epoll_backend_close,
    .arm = epoll_backend_arm,
    .arm_edge = epoll_backend_arm_edge,
    .forget = epoll_backend_forget,
    .wait = epoll_backend_wait,
    .wake = epoll_backend_wake,
};

#endif
