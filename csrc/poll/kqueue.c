/* The kqueue backend (macOS, FreeBSD, NetBSD, OpenBSD).
 *
 * Facts about kqueue this file relies on; where the systems differ, it does
 * what is right on all of them:
 *   - A registration is keyed by (kqueue, ident, filter), so a descriptor has
 *     one for each direction.  It belongs to the number and dies when that is
 *     closed, even if a dup keeps the file open.  Deleting what is not there
 *     fails with ENOENT or EBADF.
 *   - EV_ADD of a new registration looks at what is ready now.  Of an old one
 *     it changes some parts and leaves others (EV_CLEAR, EV_ONESHOT), and not
 *     every system looks again.  So what is there is deleted first.
 *   - A change without room for events returns at once, keeps its hands off
 *     what is pending, takes effect in a running wait, and reports its error
 *     through errno.  One change a call, then, and no EV_RECEIPT, which not
 *     all have.
 *   - EV_ONESHOT deletes the registration as it is reported, EV_CLEAR makes it
 *     silent until the next arrival.
 *   - End of file is EV_EOF on the filter that sees it: the reading one says
 *     it after the peer's shutdown, the writing one when nobody will read any
 *     more.  With it comes the socket's error in fflags.  So whoever waits
 *     for a direction is woken by the filter of that direction, and there is
 *     no HUP.
 *   - EVFILT_WRITE on a pipe without a reader cannot be added: EPIPE, or
 *     EBADF on NetBSD.
 *   - Urgent data is not told from other data (only macOS can).
 *   - The kqueue is not inherited over fork(): in a child, its number may be
 *     anybody's.  So it cannot reach a program by fork() and exec() before
 *     FD_CLOEXEC is set, and kqueue1(), which not all have, is not needed.
 *
 * The registrations are a table of ours, because one report has to use up both
 * directions, and because what one thread has fetched from the kernel may have
 * been replaced by another thread meanwhile.
 *
 * Invariants, under `lock`, which nobody holds while he blocks:
 *   - entries[fd].registered is what the kernel has for fd in this kqueue, or
 *     more, if fd was closed without notice;
 *   - all of it carries entries[fd].udata, and what was there before it
 *     carried something else.
 * `kept` belongs to the waiting thread, and to the owner while nobody waits.
 */
#include "poll/kqueue.h"

#include "poll/poll.h"

#if TC_POLL_HAVE_KQUEUE

#include "base/clock.h"
#include "poll/wake.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <sys/types.h>
#include <sys/event.h>
#include <sys/time.h>
#include <unistd.h>

/* Waking by an event instead of a pipe: not on NetBSD before 10, nor on all
 * of OpenBSD.  The build may choose. */
#ifndef TC_KQUEUE_USER
#  ifdef EVFILT_USER
#    define TC_KQUEUE_USER 1
#  else
#    define TC_KQUEUE_USER 0
#  endif
#endif

/* Types that differ between the systems. */
typedef __typeof__(((struct kevent *)0)->filter) kqueue_filter;
typedef __typeof__(((struct kevent *)0)->flags) kqueue_flags;
typedef __typeof__(((struct kevent *)0)->udata) kqueue_udata;

/* How many events are fetched at once. */
#define KQUEUE_BATCH 64

/* What may be registered of a descriptor: READ, WRITE, and in the place of
 * WRITE, where there is nobody to write to, something that reports at once
 * (without EVFILT_USER, after a millisecond). */
#define KQUEUE_BROKEN 0x80u
#if TC_KQUEUE_USER
#  define KQUEUE_BROKEN_FILTER EVFILT_USER
#else
#  define KQUEUE_BROKEN_FILTER EVFILT_TIMER
#endif

/* Our udata: a mark, so that events of others are known, and a serial number.
 * No pointer looks so where there is room for more than pointers. */
#define KQUEUE_SERIAL_BITS (sizeof(uintptr_t) > 4 ? 48 : 24)
#define KQUEUE_SERIAL_MASK (((uintptr_t)1 << KQUEUE_SERIAL_BITS) - 1)
#define KQUEUE_MARK (~KQUEUE_SERIAL_MASK & (UINTPTR_MAX / 0xff * 0x7c))

typedef struct kqueue_entry {
    uint64_t token;
    uintptr_t udata;
    int report;                 /* where in the caller's array, or -1 */
    uint8_t registered;
    bool edge;
} kqueue_entry;

typedef struct kqueue_poll {
    tc_poll base;
    int fd;                     /* owned, unless `given` */
    bool given;
    pid_t pid;                  /* of the process that fd belongs to */
#if TC_KQUEUE_USER
    atomic_int wake_pending;    /* as in tc_wake */
#else
    tc_wake wake;
#endif
    pthread_mutex_t lock;
    /* Under the lock. */
    kqueue_entry *entries;      /* owned; by descriptor */
    int entry_count;
    uintptr_t next_serial;
    /* Events for others. */
    struct kevent *kept;        /* owned */
    int kept_count;
    int kept_capacity;
} kqueue_poll;

/* ---- changes ---- */

static int
kqueue_change(const kqueue_poll *self, uintptr_t ident, kqueue_filter filter,
              unsigned flags, unsigned fflags, int data, uintptr_t udata)
{
    struct kevent change;
    int r;

    memset(&change, 0, sizeof(change));
    change.ident = ident;
    change.filter = filter;
    change.flags = (kqueue_flags)flags;
    change.fflags = fflags;
    change.data = data;
    change.udata = (kqueue_udata)udata;
    do {
        /* Interrupted or not, the change has been made: again is harmless. */
        r = kevent(self->fd, &change, 1, NULL, 0, NULL);
    } while (r < 0 && errno == EINTR);
    return r < 0 ? -errno : 0;
}

/* Where the kernel has one of the parts of fd's registration. */
static uintptr_t
kqueue_ident(const kqueue_poll *self, int fd, uint32_t part)
{
    return part == KQUEUE_BROKEN ? (uintptr_t)self + 1 + (uintptr_t)fd
                                 : (uintptr_t)fd;
}

static kqueue_filter
kqueue_filter_of(uint32_t part)
{
    return part == TC_POLL_READ    ? EVFILT_READ
           : part == TC_POLL_WRITE ? EVFILT_WRITE
                                   : KQUEUE_BROKEN_FILTER;
}

static void
kqueue_delete(const kqueue_poll *self, int fd, uint32_t parts)
{
    for (uint32_t part = 1; part <= parts; part <<= 1) {
        if (parts & part) {
            /* It may be gone already, and nothing else can go wrong. */
            (void)kqueue_change(self, kqueue_ident(self, fd, part),
                                kqueue_filter_of(part), EV_DELETE, 0, 0, 0);
        }
    }
}

static int
kqueue_add_broken(const kqueue_poll *self, int fd, uintptr_t udata)
{
    uintptr_t ident = kqueue_ident(self, fd, KQUEUE_BROKEN);
    int err = kqueue_change(self, ident, KQUEUE_BROKEN_FILTER,
                            EV_ADD | EV_ONESHOT, 0, 1, udata);

#if TC_KQUEUE_USER
    /* Apart, for a trigger that comes along with an addition may be lost. */
    if (err == 0) {
        err = kqueue_change(self, ident, KQUEUE_BROKEN_FILTER, 0,
                            NOTE_TRIGGER, 1, udata);
        if (err < 0) {
            kqueue_delete(self, fd, KQUEUE_BROKEN);
        }
    }
#endif
    return err < 0 ? err : (int)KQUEUE_BROKEN;
}

/* Register one direction of fd.  What the kernel now has, or -errno. */
static int
kqueue_add(const kqueue_poll *self, int fd, uint32_t direction,
           unsigned flags, uintptr_t udata)
{
    int err = kqueue_change(self, (uintptr_t)fd, kqueue_filter_of(direction),
                            EV_ADD | flags, 0, 0, udata);

    if (err == 0) {
        return (int)direction;
    }
    if (direction == TC_POLL_WRITE
        && (err == -EPIPE || (err == -EBADF && fcntl(fd, F_GETFD) >= 0))) {
        return kqueue_add_broken(self, fd, udata);
    }
    return err;
}

/* ---- the table ---- */

/* Lock held.  Make sure that fd has an entry. */
static int
kqueue_reserve(kqueue_poll *self, int fd)
{
    int count = self->entry_count > INT_MAX / 2 ? INT_MAX
                                                : self->entry_count * 2;
    kqueue_entry *entries;

    if (fd < self->entry_count) {
        return 0;
    }
    if (count < 64) {
        count = 64;
    }
    if (count <= fd) {
        count = fd < INT_MAX ? fd + 1 : INT_MAX;
    }
    entries = realloc(self->entries, (size_t)count * sizeof(*entries));
    if (entries == NULL) {
        return -ENOMEM;
    }
    for (int i = self->entry_count; i < count; i++) {
        entries[i] = (kqueue_entry){.report = -1};
    }
    self->entries = entries;
    self->entry_count = count;
    return 0;
}

/* Lock held.  Drop any registration of fd. */
static void
kqueue_drop(kqueue_poll *self, int fd)
{
    if (fd >= 0 && fd < self->entry_count) {
        kqueue_delete(self, fd, self->entries[fd].registered);
        self->entries[fd].registered = 0;
    }
}

/* Lock held.  Register what is wanted of fd, and nothing else. */
static int
kqueue_set(kqueue_poll *self, int fd, uint32_t interest, bool edge,
           uint64_t token)
{
    uintptr_t udata = KQUEUE_MARK | (self->next_serial & KQUEUE_SERIAL_MASK);
    uint32_t registered = 0;
    int err;

    kqueue_drop(self, fd);
    if (fd < 0) {
        return -EBADF;
    }
    for (uint32_t direction = TC_POLL_READ; direction <= TC_POLL_WRITE;
         direction <<= 1) {
        if ((interest & direction) == 0) {
            continue;
        }
        err = kqueue_add(self, fd, direction, edge ? EV_CLEAR : EV_ONESHOT,
                         udata);
        if (err < 0) {
            goto error;
        }
        registered |= (uint32_t)err;
    }
    /* Not before: the kernel has now said that there is such a number. */
    err = kqueue_reserve(self, fd);
    if (err < 0) {
        goto error;
    }
    self->next_serial++;
    self->entries[fd] = (kqueue_entry){
        .token = token,
        .udata = udata,
        .report = -1,
        .registered = (uint8_t)registered,
        .edge = edge,
    };
    return 0;

error:
    kqueue_delete(self, fd, registered);
    return err;
}

static bool
kqueue_arguments_ok(uint32_t interest, uint64_t token)
{
    return (interest & ~(TC_POLL_READ | TC_POLL_WRITE)) == 0
           && token != TC_POLL_WAKE && token != TC_POLL_RAW;
}

static int
kqueue_backend_forget(tc_poll *base, int fd)
{
    kqueue_poll *self = (kqueue_poll *)base;

    (void)pthread_mutex_lock(&self->lock);
    kqueue_drop(self, fd);
    (void)pthread_mutex_unlock(&self->lock);
    return 0;
}

static int
kqueue_backend_arm(tc_poll *base, int fd, uint32_t interest, uint64_t token)
{
    kqueue_poll *self = (kqueue_poll *)base;
    int err;

    if (!kqueue_arguments_ok(interest, token)) {
        return -EINVAL;
    }
    if (interest == 0) {
        return kqueue_backend_forget(base, fd);
    }
    (void)pthread_mutex_lock(&self->lock);
    err = kqueue_set(self, fd, interest, false, token);
    (void)pthread_mutex_unlock(&self->lock);
    return err;
}

static int
kqueue_backend_arm_edge(tc_poll *base, int fd, uint32_t interest,
                        uint64_t token, bool modify)
{
    kqueue_poll *self = (kqueue_poll *)base;
    int err;

    (void)modify;               /* the table knows */
    if (!kqueue_arguments_ok(interest, token) || interest == 0) {
        return -EINVAL;
    }
    (void)pthread_mutex_lock(&self->lock);
    err = kqueue_set(self, fd, interest, true, token);
    (void)pthread_mutex_unlock(&self->lock);
    return err;
}

/* ---- waking ---- */

#if TC_KQUEUE_USER

/* As tc_wake (wake.c) with a pipe, so here with an event: `wake_pending` is 1
 * from the moment a waker decides to trigger the event until the waiting
 * thread has fetched it. */

static int
kqueue_wake_open(kqueue_poll *self)
{
    atomic_init(&self->wake_pending, 0);
    return kqueue_change(self, (uintptr_t)self, EVFILT_USER,
                         EV_ADD | EV_CLEAR, 0, 0, 0);
}

static void
kqueue_wake_close(kqueue_poll *self)
{
    (void)self;
}

static bool
kqueue_is_wake(const kqueue_poll *self, const struct kevent *event)
{
    return event->filter == EVFILT_USER && event->ident == (uintptr_t)self;
}

static bool
kqueue_wake_drain(kqueue_poll *self)
{
    return atomic_exchange_explicit(&self->wake_pending, 0,
                                    memory_order_acq_rel) != 0;
}

static void
kqueue_backend_wake(tc_poll *base)
{
    kqueue_poll *self = (kqueue_poll *)base;
    int saved = errno;

    if (atomic_exchange_explicit(&self->wake_pending, 1,
                                 memory_order_acq_rel) == 0) {
        (void)kqueue_change(self, (uintptr_t)self, EVFILT_USER, 0,
                            NOTE_TRIGGER, 0, 0);
    }
    errno = saved;
}

#else

static int
kqueue_wake_open(kqueue_poll *self)
{
    int err = tc_wake_open(&self->wake);

    if (err == 0) {
        err = kqueue_change(self, (uintptr_t)self->wake.read_fd, EVFILT_READ,
                            EV_ADD, 0, 0, 0);
        if (err < 0) {
            tc_wake_close(&self->wake);
        }
    }
    return err;
}

static void
kqueue_wake_close(kqueue_poll *self)
{
    tc_wake_close(&self->wake);
}

static bool
kqueue_is_wake(const kqueue_poll *self, const struct kevent *event)
{
    return event->filter == EVFILT_READ
           && event->ident == (uintptr_t)self->wake.read_fd;
}

static bool
kqueue_wake_drain(kqueue_poll *self)
{
    return tc_wake_drain(&self->wake);
}

static void
kqueue_backend_wake(tc_poll *base)
{
    tc_wake_signal(&((kqueue_poll *)base)->wake);
}

#endif

/* ---- opening and closing ---- */

static int
kqueue_backend_open(tc_poll **out)
{
    kqueue_poll *self = calloc(1, sizeof(*self));
    int err;

    if (self == NULL) {
        return -ENOMEM;
    }
    self->base.ops = &tc_poll_ops_kqueue;
    self->pid = getpid();
    err = -pthread_mutex_init(&self->lock, NULL);
    if (err < 0) {
        goto error_free;
    }
    self->fd = kqueue();
    if (self->fd < 0) {
        err = -errno;
        goto error_lock;
    }
    if (fcntl(self->fd, F_SETFD, FD_CLOEXEC) < 0) {
        err = -errno;
        goto error_kqueue;
    }
    err = kqueue_wake_open(self);
    if (err < 0) {
        goto error_kqueue;
    }
    *out = &self->base;
    return 0;

error_kqueue:
    close(self->fd);
error_lock:
    (void)pthread_mutex_destroy(&self->lock);
error_free:
    free(self);
    return err;
}

static void
kqueue_backend_close(tc_poll *base)
{
    kqueue_poll *self = (kqueue_poll *)base;

    if (self == NULL) {
        return;
    }
    if (!self->given && self->pid == getpid()) {
        close(self->fd);
    }
    kqueue_wake_close(self);
    (void)pthread_mutex_destroy(&self->lock);
    free(self->entries);
    free(self->kept);
    free(self);
}

/* ---- waiting ---- */

/* Make room, so that no event for others gets lost for want of memory. */
static int
kqueue_reserve_kept(kqueue_poll *self, int more)
{
    int wanted = self->kept_count + more;
    struct kevent *kept;

    if (wanted <= self->kept_capacity) {
        return 0;
    }
    if (wanted < KQUEUE_BATCH) {
        wanted = KQUEUE_BATCH;
    }
    kept = realloc(self->kept, (size_t)wanted * sizeof(*kept));
    if (kept == NULL) {
        return -ENOMEM;
    }
    self->kept = kept;
    self->kept_capacity = wanted;
    return 0;
}

/* Which part of whose registration an event is about: the descriptor, or -1
 * if it is none of ours. */
static int
kqueue_event_fd(const kqueue_poll *self, const struct kevent *event,
                uint32_t *part)
{
    uintptr_t fd = (uintptr_t)event->ident;

    if (((uintptr_t)event->udata & ~KQUEUE_SERIAL_MASK) != KQUEUE_MARK) {
        return -1;
    }
    if (event->filter == EVFILT_READ) {
        *part = TC_POLL_READ;
    }
    else if (event->filter == EVFILT_WRITE) {
        *part = TC_POLL_WRITE;
    }
    else if (event->filter == KQUEUE_BROKEN_FILTER) {
        *part = KQUEUE_BROKEN;
        fd -= (uintptr_t)self + 1;
    }
    else {
        return -1;
    }
    return fd <= INT_MAX ? (int)fd : -1;
}

/* Lock held.  The entry an event of ours belongs to; NULL if what it was found
 * for has been replaced or dropped meanwhile. */
static kqueue_entry *
kqueue_current(const kqueue_poll *self, const struct kevent *event, int fd)
{
    kqueue_entry *entry;

    if (fd >= self->entry_count) {
        return NULL;
    }
    entry = &self->entries[fd];
    return entry->udata == (uintptr_t)event->udata ? entry : NULL;
}

static uint32_t
kqueue_ready_bits(const struct kevent *event, uint32_t part, bool edge)
{
    uint32_t ready = part;
    bool eof = (event->flags & EV_EOF) != 0;

    if (part == KQUEUE_BROKEN) {
        return TC_POLL_WRITE | TC_POLL_ERR;
    }
    if (edge && eof && part == TC_POLL_READ) {
        ready |= TC_POLL_RDHUP;
    }
    if ((event->flags & EV_ERROR) != 0 || (eof && event->fflags != 0)) {
        ready |= TC_POLL_ERR;
    }
    return ready;
}

/* Lock held.  Turn n events into reports behind the `filled` that are there,
 * for which there is room.  How many there are then. */
static int
kqueue_collect(kqueue_poll *self, const struct kevent *found, int n,
               tc_poll_event *events, int filled)
{
    uint32_t part;

    for (int i = 0; i < n; i++) {
        const struct kevent *event = &found[i];
        int fd = kqueue_event_fd(self, event, &part);
        kqueue_entry *entry;

        if (kqueue_is_wake(self, event)) {
            if (kqueue_wake_drain(self)) {
                events[filled++] = (tc_poll_event){TC_POLL_WAKE,
                                                   TC_POLL_READ};
            }
            continue;
        }
        if (fd < 0) {
            if (self->kept_count == 0) {
                events[filled++] = (tc_poll_event){TC_POLL_RAW, 0};
            }
            self->kept[self->kept_count++] = *event;
            continue;
        }
        entry = kqueue_current(self, event, fd);
        if (entry == NULL || (entry->registered & part) == 0) {
            continue;
        }
        if (entry->report < 0) {
            entry->report = filled;
            events[filled++] = (tc_poll_event){entry->token, 0};
        }
        events[entry->report].ready |= kqueue_ready_bits(event, part,
                                                         entry->edge);
        if (!entry->edge || part == KQUEUE_BROKEN) {
            entry->registered &= (uint8_t)~part;
        }
    }
    /* What one report has used up: the other direction, if that did not come
     * along. */
    for (int i = 0; i < n; i++) {
        int fd = kqueue_event_fd(self, &found[i], &part);
        kqueue_entry *entry = fd < 0 ? NULL
                                     : kqueue_current(self, &found[i], fd);

        if (entry != NULL && entry->report >= 0) {
            entry->report = -1;
            if (!entry->edge) {
                kqueue_drop(self, fd);
            }
        }
    }
    return filled;
}

/* One look, in batches; blocks in the first.  0 may also mean that what was
 * found is out of date. */
static int
kqueue_look(kqueue_poll *self, tc_poll_event *events, int cap,
            int64_t timeout_ns)
{
    struct kevent found[KQUEUE_BATCH];
    int filled = 0;
    int asked;
    int n;

    if (self->kept_count > 0) {
        events[filled++] = (tc_poll_event){TC_POLL_RAW, 0};
        timeout_ns = 0;
        if (filled == cap) {
            return filled;
        }
    }
    do {
        struct timespec timeout = {.tv_sec = timeout_ns / 1000000000,
                                   .tv_nsec = timeout_ns % 1000000000};
        int err;

        asked = cap - filled < KQUEUE_BATCH ? cap - filled : KQUEUE_BATCH;
        err = kqueue_reserve_kept(self, asked);
        if (err < 0) {
            return filled > 0 ? filled : err;
        }
        n = kevent(self->fd, NULL, 0, found, asked,
                   timeout_ns < 0 ? NULL : &timeout);
        if (n < 0) {
            return filled > 0 ? filled : -errno;
        }
        (void)pthread_mutex_lock(&self->lock);
        filled = kqueue_collect(self, found, n, events, filled);
        (void)pthread_mutex_unlock(&self->lock);
        timeout_ns = 0;
        /* What others have registered may be there again and again. */
    } while (n == asked && filled < cap && self->kept_count == 0);
    return filled;
}

static int
kqueue_backend_wait(tc_poll *base, tc_poll_event *events, int cap,
                    int64_t timeout_ns)
{
    kqueue_poll *self = (kqueue_poll *)base;
    int64_t left_ns = timeout_ns;
    double deadline = 0.0;

    if (cap < 1) {
        return -EINVAL;
    }
    if (timeout_ns > 0) {
        if (timeout_ns > TC_POLL_TIMEOUT_MAX) {
            left_ns = TC_POLL_TIMEOUT_MAX;
        }
        deadline = tc_clock_monotonic() + (double)left_ns * 1e-9;
    }
    for (;;) {
        int n = kqueue_look(self, events, cap, left_ns);

        if (n != 0 || timeout_ns == 0) {
            return n;
        }
        if (timeout_ns > 0) {
            left_ns = tc_poll_timeout_ns(deadline - tc_clock_monotonic());
            if (left_ns == 0) {
                return 0;
            }
        }
    }
}

/* ---- for others ---- */

int
tc_kqueue_fd(const tc_poll *poll)
{
    return ((const kqueue_poll *)poll)->fd;
}

int
tc_kqueue_give_fd(tc_poll *poll)
{
    kqueue_poll *self = (kqueue_poll *)poll;

    self->given = true;
    return self->fd;
}

int
tc_kqueue_take(tc_poll *poll, const struct kevent **events)
{
    kqueue_poll *self = (kqueue_poll *)poll;
    int count = self->kept_count;

    *events = self->kept;
    self->kept_count = 0;
    return count;
}

const tc_poll_ops tc_poll_ops_kqueue = {
    .name = "kqueue",
    .caps = TC_POLL_CAP_EDGE,
    .open = kqueue_backend_open,
    .close = kqueue_backend_close,
    .arm = kqueue_backend_arm,
    .arm_edge = kqueue_backend_arm_edge,
    .forget = kqueue_backend_forget,
    .wait = kqueue_backend_wait,
    .wake = kqueue_backend_wake,
};

#endif
