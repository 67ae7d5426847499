/* The kqueue backend (macOS, FreeBSD, NetBSD, OpenBSD).
 *
 * Facts about kqueue this file relies on; where the systems differ, it does
 * what is right on all of them:
 *   - A registration is keyed by (kqueue, ident, filter), so a descriptor has
 *     one for each direction.  It belongs to the number and dies when that is
 *     closed, even if a dup keeps the file open.  Deleting what is not there
 *     fails with ENOENT or EBADF.
 *   - EV_ADD of a new registration looks at what is ready now.  Of an old one
 *     it changes some parts and leaves others (EV_CLEAR, EV_ONESHOT), and no
 *     manual promises that it looks again.  So what is there is deleted first.
 *   - EV_ONESHOT deletes the registration as it is reported, EV_CLEAR makes it
 *     silent until the next arrival.
 *   - End of file is EV_EOF on the filter that sees it: the reading one says
 *     it after the peer's shutdown, the writing one when nobody will read any
 *     more.  With it comes the socket's error in fflags.  So whoever waits
 *     for a direction is woken by the filter of that direction, and there is
 *     no HUP.
 *   - Urgent data is not told from other data (only macOS can).
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

#include "poll/kqueue_kernel.h"
#include "poll/time_left.h"

#include <errno.h>
#include <limits.h>
#include <pthread.h>
#include <stdlib.h>
#include <time.h>

/* How many events are fetched at once. */
#define KQUEUE_BATCH 64

typedef struct kqueue_entry {
    uint64_t token;
    uintptr_t udata;
    int report;                 /* where in the caller's array, or -1 */
    uint8_t registered;
    bool edge;
} kqueue_entry;

typedef struct kqueue_poll {
    tc_poll base;
    tc_kq kq;
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
        tc_kq_delete(&self->kq, fd, self->entries[fd].registered);
        self->entries[fd].registered = 0;
    }
}

/* Lock held.  Register what is wanted of fd, and nothing else. */
static int
kqueue_set(kqueue_poll *self, int fd, uint32_t interest, bool edge,
           uint64_t token)
{
    /* Used up even if this fails: somebody may have fetched an event by then,
     * which must not pass for one of the next registration. */
    uintptr_t udata = TC_KQ_MARK | (self->next_serial++ & TC_KQ_SERIAL_MASK);
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
        err = tc_kq_add(&self->kq, fd, direction, edge, udata);
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
    self->entries[fd] = (kqueue_entry){
        .token = token,
        .udata = udata,
        .report = -1,
        .registered = (uint8_t)registered,
        .edge = edge,
    };
    return 0;

error:
    tc_kq_delete(&self->kq, fd, registered);
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

static void
kqueue_backend_wake(tc_poll *base)
{
    tc_kq_wake(&((kqueue_poll *)base)->kq);
}

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
    err = -pthread_mutex_init(&self->lock, NULL);
    if (err < 0) {
        goto error_free;
    }
    err = tc_kq_open(&self->kq);
    if (err < 0) {
        goto error_lock;
    }
    *out = &self->base;
    return 0;

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
    tc_kq_close(&self->kq);
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

    if (part == TC_KQ_BROKEN) {
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
        int fd = tc_kq_event_fd(&self->kq, event, &part);
        kqueue_entry *entry;

        if (tc_kq_is_wake(&self->kq, event)) {
            if (tc_kq_wake_drain(&self->kq)) {
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
        if (!entry->edge || part == TC_KQ_BROKEN) {
            entry->registered &= (uint8_t)~part;
        }
    }
    /* What one report has used up: the other direction, if that did not come
     * along. */
    for (int i = 0; i < n; i++) {
        int fd = tc_kq_event_fd(&self->kq, &found[i], &part);
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
        n = kevent(self->kq.fd, NULL, 0, found, asked,
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
    tc_time_left left;

    if (cap < 1) {
        return -EINVAL;
    }
    tc_time_left_start(&left, timeout_ns);
    for (;;) {
        int n = kqueue_look(self, events, cap, left.ns);

        if (n == 0) {
            tc_time_left_update(&left);
        }
        if (n != 0 || left.ns == 0) {
            return n;
        }
    }
}

/* ---- for others ---- */

int
tc_kqueue_fd(const tc_poll *poll)
{
    return ((const kqueue_poll *)poll)->kq.fd;
}

int
tc_kqueue_give_fd(tc_poll *poll)
{
    kqueue_poll *self = (kqueue_poll *)poll;

    self->kq.given = true;
    return self->kq.fd;
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
