/* The poll(2) backend: every POSIX system has it.
 *
 * The registrations are a table of ours, and each wait shows all of it to the
 * kernel: linear in the number of registrations, as poll(2) itself is.  There
 * is no edge-triggered mode.
 *
 * Facts about poll(2) this file relies on:
 *   - It knows numbers, not open files: a number that was closed and reused
 *     behind our back polls as the new file (a spurious report); one that is
 *     closed polls as POLLNVAL, which is reported once, as ERR.
 *   - Regular files, directories and block devices are always ready.  epoll
 *     refuses them with EPERM, so `arm` does.
 *   - Registrations that come while it runs are not seen, and the files it
 *     was given stay open until it returns, closed or not.  Hence any change
 *     made while another thread waits nudges that thread to look again.
 *   - Timeouts are whole milliseconds and never end early.
 *
 * Invariants, under `lock`:
 *   - entries[0 .. count) are the armed registrations, in no order, each with
 *     an interest that is not 0;
 *   - slots[fd] is the position of fd's entry, or -1;
 *   - no two entries, present or past, have the same serial.
 * poll() itself runs on a copy, without the lock, and `serials` says which
 * registration each line of the copy stood for.  Copy and serials belong to
 * the waiting thread.
 */
#ifndef _GNU_SOURCE
#  define _GNU_SOURCE           /* clock_gettime, poll */
#endif

#include "poll/poll.h"

#if TC_POLL_HAVE_POLL

#include "poll/time_left.h"
#include "poll/wake.h"

#include <errno.h>
#include <limits.h>
#include <poll.h>
#include <pthread.h>
#include <stdlib.h>
#include <sys/stat.h>

typedef struct fallback_entry {
    uint64_t token;
    uint64_t serial;
    int fd;
    uint32_t interest;
} fallback_entry;

typedef struct fallback_poll {
    tc_poll base;
    tc_wake wake;
    pthread_mutex_t lock;
    /* Under the lock. */
    fallback_entry *entries;    /* owned */
    int count;
    int capacity;
    int *slots;                 /* owned */
    int slot_count;
    uint64_t next_serial;
    bool waiting;               /* some thread is in poll() */
    bool nudged;                /* and has been told to look again */
    /* The waiting thread's. */
    struct pollfd *polled;      /* owned; [0] is the wake-up pipe */
    uint64_t *serials;          /* owned; parallel to `polled` */
    int polled_capacity;
    int next_start;             /* where to begin handing out reports */
} fallback_poll;

static int
fallback_open(tc_poll **out)
{
    fallback_poll *self = calloc(1, sizeof(*self));
    int err;

    if (self == NULL) {
        return -ENOMEM;
    }
    self->base.ops = &tc_poll_ops_poll;
    err = tc_wake_open(&self->wake);
    if (err < 0) {
        goto error_free;
    }
    err = -pthread_mutex_init(&self->lock, NULL);
    if (err < 0) {
        goto error_wake;
    }
    *out = &self->base;
    return 0;

error_wake:
    tc_wake_close(&self->wake);
error_free:
    free(self);
    return err;
}

static void
fallback_close(tc_poll *base)
{
    fallback_poll *self = (fallback_poll *)base;

    if (self == NULL) {
        return;
    }
    tc_wake_close(&self->wake);
    (void)pthread_mutex_destroy(&self->lock);
    free(self->entries);
    free(self->slots);
    free(self->polled);
    free(self->serials);
    free(self);
}

/* The next capacity of an array that must hold `wanted` elements. */
static int
fallback_grown(int capacity, int wanted)
{
    int doubled = capacity > INT_MAX / 2 ? INT_MAX : capacity * 2;

    if (doubled < 16) {
        doubled = 16;
    }
    return doubled > wanted ? doubled : wanted;
}

/* Lock held.  Make sure that fd has a slot and that there is room for one
 * more entry. */
static int
fallback_reserve(fallback_poll *self, int fd)
{
    if (fd >= self->slot_count) {
        int slot_count = fallback_grown(self->slot_count, fd + 1);
        int *slots = realloc(self->slots,
                             (size_t)slot_count * sizeof(*slots));

        if (slots == NULL) {
            return -ENOMEM;
        }
        for (int i = self->slot_count; i < slot_count; i++) {
            slots[i] = -1;
        }
        self->slots = slots;
        self->slot_count = slot_count;
    }
    if (self->count == self->capacity) {
        int capacity = fallback_grown(self->capacity, self->count + 1);
        fallback_entry *entries;

        entries = realloc(self->entries, (size_t)capacity * sizeof(*entries));

        if (entries == NULL) {
            return -ENOMEM;
        }
        self->entries = entries;
        self->capacity = capacity;
    }
    return 0;
}

/* Lock held.  Drop fd's entry, if any; true if there was one. */
static bool
fallback_drop(fallback_poll *self, int fd)
{
    fallback_entry *last;
    int slot;

    if (fd < 0 || fd >= self->slot_count || self->slots[fd] < 0) {
        return false;
    }
    slot = self->slots[fd];
    last = &self->entries[--self->count];
    self->slots[last->fd] = slot;
    self->entries[slot] = *last;
    self->slots[fd] = -1;
    return true;
}

/* Lock held.  The registrations have changed: let a running wait see it. */
static void
fallback_nudge(fallback_poll *self)
{
    if (self->waiting && !self->nudged) {
        self->nudged = true;
        tc_wake_nudge(&self->wake);
    }
}

static int
fallback_forget(tc_poll *base, int fd)
{
    fallback_poll *self = (fallback_poll *)base;

    (void)pthread_mutex_lock(&self->lock);
    if (fallback_drop(self, fd)) {
        fallback_nudge(self);
    }
    (void)pthread_mutex_unlock(&self->lock);
    return 0;
}

/* Can fd be waited for? */
static int
fallback_check(int fd)
{
    struct stat status;

    if (fstat(fd, &status) < 0) {
        return -errno;
    }
    if (S_ISREG(status.st_mode) || S_ISDIR(status.st_mode)
        || S_ISBLK(status.st_mode)) {
        return -EPERM;
    }
    return 0;
}

static int
fallback_arm(tc_poll *base, int fd, uint32_t interest, uint64_t token)
{
    fallback_poll *self = (fallback_poll *)base;
    int err;

    if ((interest & ~(TC_POLL_READ | TC_POLL_WRITE)) != 0
        || token == TC_POLL_WAKE) {
        return -EINVAL;
    }
    if (interest == 0) {
        return fallback_forget(base, fd);
    }
    err = fallback_check(fd);
    (void)pthread_mutex_lock(&self->lock);
    (void)fallback_drop(self, fd);
    if (err == 0) {
        err = fallback_reserve(self, fd);
    }
    if (err == 0) {
        self->slots[fd] = self->count;
        self->entries[self->count++] = (fallback_entry){
            .token = token,
            .serial = self->next_serial++,
            .fd = fd,
            .interest = interest,
        };
    }
    fallback_nudge(self);
    (void)pthread_mutex_unlock(&self->lock);
    return err;
}

static uint32_t
fallback_ready_bits(short revents)
{
    uint32_t ready = 0;

    if (revents & POLLIN) {
        ready |= TC_POLL_READ;
    }
    if (revents & POLLOUT) {
        ready |= TC_POLL_WRITE;
    }
    if (revents & POLLHUP) {
        ready |= TC_POLL_HUP;
    }
    if (revents & (POLLERR | POLLNVAL)) {
        ready |= TC_POLL_ERR;
    }
    return ready;
}

/* Lock held.  Write the registrations down for poll().  The number of lines,
 * or -ENOMEM. */
static int
fallback_copy(fallback_poll *self)
{
    int n = self->count + 1;

    if (n > self->polled_capacity) {
        int capacity = fallback_grown(self->polled_capacity, n);
        struct pollfd *polled;
        uint64_t *serials;

        polled = realloc(self->polled, (size_t)capacity * sizeof(*polled));
        if (polled == NULL) {
            return -ENOMEM;
        }
        self->polled = polled;
        serials = realloc(self->serials,
                          (size_t)capacity * sizeof(*serials));
        if (serials == NULL) {
            return -ENOMEM;
        }
        self->serials = serials;
        self->polled_capacity = capacity;
    }
    self->polled[0] = (struct pollfd){.fd = self->wake.read_fd,
                                      .events = POLLIN};
    for (int i = 1; i < n; i++) {
        const fallback_entry *entry = &self->entries[i - 1];
        short events = 0;

        if (entry->interest & TC_POLL_READ) {
            events |= POLLIN;
        }
        if (entry->interest & TC_POLL_WRITE) {
            events |= POLLOUT;
        }
        self->polled[i] = (struct pollfd){.fd = entry->fd, .events = events};
        self->serials[i] = entry->serial;
    }
    return n;
}

/* Lock held.  Turn what poll() found on the n lines into reports, as many as
 * fit, beginning behind the line where the last wait ran out of room. */
static int
fallback_collect(fallback_poll *self, int n, tc_poll_event *events, int cap)
{
    int start = self->next_start < n ? self->next_start : 0;
    int filled = 0;

    for (int k = 0; k < n; k++) {
        int i = start + k < n ? start + k : start + k - n;
        const struct pollfd *line = &self->polled[i];
        const fallback_entry *entry;
        int slot;

        if (line->revents == 0) {
            continue;
        }
        if (filled == cap) {
            self->next_start = i;
            break;
        }
        if (i == 0) {
            if (tc_wake_drain(&self->wake)) {
                events[filled].token = TC_POLL_WAKE;
                events[filled++].ready = TC_POLL_READ;
            }
            continue;
        }
        slot = self->slots[line->fd];
        entry = slot < 0 ? NULL : &self->entries[slot];
        if (entry == NULL || entry->serial != self->serials[i]) {
            continue;           /* changed in the meantime */
        }
        events[filled].token = entry->token;
        events[filled++].ready = fallback_ready_bits(line->revents);
        (void)fallback_drop(self, line->fd);
    }
    return filled;
}

static int
fallback_timeout_ms(int64_t timeout_ns)
{
    return timeout_ns < 0 ? -1 : (int)((timeout_ns + 999999) / 1000000);
}

static int
fallback_wait(tc_poll *base, tc_poll_event *events, int cap,
              int64_t timeout_ns)
{
    fallback_poll *self = (fallback_poll *)base;
    tc_time_left left;

    if (cap < 1) {
        return -EINVAL;
    }
    tc_time_left_start(&left, timeout_ns);
    for (;;) {
        int n;
        int ready;
        int result;

        (void)pthread_mutex_lock(&self->lock);
        n = fallback_copy(self);
        self->waiting = n > 0;
        (void)pthread_mutex_unlock(&self->lock);
        if (n < 0) {
            return n;
        }

        ready = poll(self->polled, (nfds_t)n, fallback_timeout_ms(left.ns));
        result = ready < 0 ? -errno : 0;

        (void)pthread_mutex_lock(&self->lock);
        self->waiting = false;
        self->nudged = false;
        if (ready > 0) {
            result = fallback_collect(self, n, events, cap);
        }
        (void)pthread_mutex_unlock(&self->lock);

        /* Nobody but a nudge can have ended poll() early and left us with
         * nothing to report; perhaps one that came late last time. */
        if (result != 0 || ready == 0 || left.ns == 0) {
            return result;
        }
        tc_time_left_update(&left);
    }
}

static void
fallback_wake(tc_poll *base)
{
    tc_wake_signal(&((fallback_poll *)base)->wake);
}

const tc_poll_ops tc_poll_ops_poll = {
    .name = "poll",
    .caps = 0,
    .open = fallback_open,
    .close = fallback_close,
    .arm = fallback_arm,
    .arm_edge = NULL,
    .forget = fallback_forget,
    .wait = fallback_wait,
    .wake = fallback_wake,
};

#endif
