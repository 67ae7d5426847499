/* The kqueue, and changing what is registered in it.
 *
 * Facts about kqueue this file relies on; where the systems differ, it does
 * what is right on all of them:
 *   - A change without room for events returns at once, keeps its hands off
 *     what is pending, takes effect in a running wait, and reports its error
 *     through errno.  One change a call, then, and no EV_RECEIPT, which not
 *     all have.
 *   - EVFILT_WRITE on a pipe without a reader cannot be added: EPIPE, or
 *     EBADF on NetBSD.
 *   - The kqueue is not inherited over fork(): in a child, its number may be
 *     anybody's.  So it cannot reach a program by fork() and exec() before
 *     FD_CLOEXEC is set, and kqueue1(), which not all have, is not needed.
 */
#include "poll/kqueue_kernel.h"

#if TC_POLL_HAVE_KQUEUE

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <string.h>
#include <sys/time.h>
#include <unistd.h>

/* Types that differ between the systems. */
typedef __typeof__(((struct kevent *)0)->filter) kq_filter;
typedef __typeof__(((struct kevent *)0)->flags) kq_flags;
typedef __typeof__(((struct kevent *)0)->udata) kq_udata;

#if TC_KQUEUE_USER
#  define KQ_BROKEN_FILTER EVFILT_USER
#else
#  define KQ_BROKEN_FILTER EVFILT_TIMER
#endif

/* ---- changes ---- */

static int
kq_change(const tc_kq *self, uintptr_t ident, kq_filter filter,
          unsigned flags, unsigned fflags, int data, uintptr_t udata)
{
    struct kevent change;
    int r;

    memset(&change, 0, sizeof(change));
    change.ident = ident;
    change.filter = filter;
    change.flags = (kq_flags)flags;
    change.fflags = fflags;
    change.data = data;
    change.udata = (kq_udata)udata;
    do {
        /* Interrupted or not, the change has been made: again is harmless. */
        r = kevent(self->fd, &change, 1, NULL, 0, NULL);
    } while (r < 0 && errno == EINTR);
    return r < 0 ? -errno : 0;
}

/* Where the kernel has one of the parts of fd's registration. */
static uintptr_t
kq_ident(const tc_kq *self, int fd, uint32_t part)
{
    return part == TC_KQ_BROKEN ? (uintptr_t)self + 1 + (uintptr_t)fd
                                : (uintptr_t)fd;
}

static kq_filter
kq_filter_of(uint32_t part)
{
    return part == TC_POLL_READ    ? EVFILT_READ
           : part == TC_POLL_WRITE ? EVFILT_WRITE
                                   : KQ_BROKEN_FILTER;
}

void
tc_kq_delete(const tc_kq *self, int fd, uint32_t parts)
{
    for (uint32_t part = 1; part <= parts; part <<= 1) {
        if (parts & part) {
            /* It may be gone already, and nothing else can go wrong. */
            (void)kq_change(self, kq_ident(self, fd, part),
                            kq_filter_of(part), EV_DELETE, 0, 0, 0);
        }
    }
}

static int
kq_add_broken(const tc_kq *self, int fd, uintptr_t udata)
{
    uintptr_t ident = kq_ident(self, fd, TC_KQ_BROKEN);
    int err = kq_change(self, ident, KQ_BROKEN_FILTER, EV_ADD | EV_ONESHOT, 0,
                        1, udata);

#if TC_KQUEUE_USER
    /* Apart, for a trigger that comes along with an addition may be lost. */
    if (err == 0) {
        err = kq_change(self, ident, KQ_BROKEN_FILTER, 0, NOTE_TRIGGER, 1,
                        udata);
        if (err < 0) {
            tc_kq_delete(self, fd, TC_KQ_BROKEN);
        }
    }
#endif
    return err < 0 ? err : (int)TC_KQ_BROKEN;
}

int
tc_kq_add(const tc_kq *self, int fd, uint32_t direction, bool edge,
          uintptr_t udata)
{
    unsigned mode = edge ? EV_CLEAR : EV_ONESHOT;
    int err = kq_change(self, (uintptr_t)fd, kq_filter_of(direction),
                        EV_ADD | mode, 0, 0, udata);

    if (err == 0) {
        return (int)direction;
    }
    if (direction == TC_POLL_WRITE
        && (err == -EPIPE || (err == -EBADF && fcntl(fd, F_GETFD) >= 0))) {
        return kq_add_broken(self, fd, udata);
    }
    return err;
}

int
tc_kq_event_fd(const tc_kq *self, const struct kevent *event,
               uint32_t *part)
{
    uintptr_t fd = (uintptr_t)event->ident;

    *part = 0;
    if (((uintptr_t)event->udata & ~TC_KQ_SERIAL_MASK) != TC_KQ_MARK) {
        return -1;
    }
    if (event->filter == EVFILT_READ) {
        *part = TC_POLL_READ;
    }
    else if (event->filter == EVFILT_WRITE) {
        *part = TC_POLL_WRITE;
    }
    else if (event->filter == KQ_BROKEN_FILTER) {
        *part = TC_KQ_BROKEN;
        fd -= (uintptr_t)self + 1;
    }
    else {
        return -1;
    }
    return fd <= INT_MAX ? (int)fd : -1;
}

/* ---- waking ---- */

#if TC_KQUEUE_USER

/* As tc_wake (wake.c) with a pipe, so here with an event: `wake_pending` is 1
 * from the moment a waker decides to trigger the event until the waiting
 * thread has fetched it. */

static int
kq_wake_open(tc_kq *self)
{
    atomic_init(&self->wake_pending, 0);
    return kq_change(self, (uintptr_t)self, EVFILT_USER, EV_ADD | EV_CLEAR, 0,
                     0, 0);
}

static void
kq_wake_close(tc_kq *self)
{
    (void)self;
}

bool
tc_kq_is_wake(const tc_kq *self, const struct kevent *event)
{
    return event->filter == EVFILT_USER && event->ident == (uintptr_t)self;
}

bool
tc_kq_wake_drain(tc_kq *self)
{
    return atomic_exchange_explicit(&self->wake_pending, 0,
                                    memory_order_acq_rel) != 0;
}

void
tc_kq_wake(tc_kq *self)
{
    int saved = errno;

    if (atomic_exchange_explicit(&self->wake_pending, 1,
                                 memory_order_acq_rel) == 0) {
        (void)kq_change(self, (uintptr_t)self, EVFILT_USER, 0, NOTE_TRIGGER,
                        0, 0);
    }
    errno = saved;
}

#else

static int
kq_wake_open(tc_kq *self)
{
    int err = tc_wake_open(&self->wake);

    if (err == 0) {
        err = kq_change(self, (uintptr_t)self->wake.read_fd, EVFILT_READ,
                        EV_ADD, 0, 0, 0);
        if (err < 0) {
            tc_wake_close(&self->wake);
        }
    }
    return err;
}

static void
kq_wake_close(tc_kq *self)
{
    tc_wake_close(&self->wake);
}

bool
tc_kq_is_wake(const tc_kq *self, const struct kevent *event)
{
    return event->filter == EVFILT_READ
           && event->ident == (uintptr_t)self->wake.read_fd;
}

bool
tc_kq_wake_drain(tc_kq *self)
{
    return tc_wake_drain(&self->wake);
}

void
tc_kq_wake(tc_kq *self)
{
    tc_wake_signal(&self->wake);
}

#endif

/* ---- opening and closing ---- */

int
tc_kq_open(tc_kq *self)
{
    int err;

    self->given = false;
    self->pid = getpid();
    self->fd = kqueue();
    if (self->fd < 0) {
        return -errno;
    }
    err = fcntl(self->fd, F_SETFD, FD_CLOEXEC) < 0 ? -errno : 0;
    if (err == 0) {
        err = kq_wake_open(self);
    }
    if (err < 0) {
        close(self->fd);
    }
    return err;
}

void
tc_kq_close(tc_kq *self)
{
    if (!self->given && self->pid == getpid()) {
        close(self->fd);
    }
    kq_wake_close(self);
}

#endif
