/* The completion port backend (Windows).
 *
 * A registration is an AFD poll in flight (afd.h), whose completion comes to
 * the port; sockets are not tied to the port by it.  There is no
 * edge-triggered mode.
 *
 * Facts about completion ports this file relies on:
 *   - Packets come out in the order they went in, and any thread may put some
 *     in.
 *   - Cancelling is a request: the completion comes in any case, with the
 *     outcome if that was quicker.
 *   - Operations through a handle that is tied to a port outlive the thread
 *     that began them.  (Where they do not, they complete as cancelled by
 *     nobody here, and are begun again.)
 *   - Timeouts are whole milliseconds and may end early by a tick of the
 *     system's clock.
 *
 * Invariants, under `lock`:
 *   - An operation that is `armed` is in the table, under its descriptor, and
 *     in flight; there is one at most for a descriptor.
 *   - All other operations in flight were replaced or forgotten.  They have
 *     been cancelled, and nothing but their completion is awaited, to free
 *     them.  A successor does not wait for that: it is submitted at once, so
 *     that `arm` reports its errors, and two polls of one socket do not
 *     disturb each other.
 * What is kept for tc_iocp_take() belongs to the waiting thread during a wait,
 * to the owner between.
 */
#include "poll/iocp.h"

#if TC_POLL_HAVE_IOCP

#include "poll/afd.h"
#include "poll/time_left.h"

#include <errno.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <winternl.h>

/* Packets taken from the port at once. */
#define IOCP_BATCH 128

#define IOCP_KEY_AFD UINTPTR_MAX
#define IOCP_KEY_WAKE (UINTPTR_MAX - 1)

typedef struct iocp_op {
    tc_afd_op afd;              /* first: see there */
    struct iocp_op *next;       /* in its bucket */
    uint64_t token;
    int fd;
    uint32_t interest;
    bool armed;
} iocp_op;

typedef struct iocp_poll {
    tc_poll base;
    HANDLE port;                /* owned */
    /* 1 from the moment a waker decides to post until a wait has seen the
     * packet: meanwhile other wakers need not. */
    atomic_int wake_pending;
    SRWLOCK lock;
    /* Under the lock. */
    tc_afd afd;
    iocp_op **buckets;          /* owned: the table of armed operations */
    size_t bucket_count;        /* a power of two */
    size_t armed_count;
    /* See above. */
    tc_iocp_completion kept[IOCP_BATCH];
    int kept_count;
} iocp_poll;

/* ---- the table ---- */

/* Where the pointer to fd's operation is, or would be. */
static iocp_op **
iocp_slot(const iocp_poll *self, int fd)
{
    /* Handles are multiples of four. */
    uint32_t hash = ((uint32_t)fd >> 2) * UINT32_C(0x9e3779b1);
    iocp_op **slot = &self->buckets[(hash >> 8) & (self->bucket_count - 1)];

    while (*slot != NULL && (*slot)->fd != fd) {
        slot = &(*slot)->next;
    }
    return slot;
}

/* As many buckets as operations, if there is memory for it; with fewer it
 * works as well. */
static void
iocp_table_grow(iocp_poll *self)
{
    size_t old_count = self->bucket_count;
    iocp_op **old = self->buckets;
    iocp_op **buckets = calloc(old_count * 2, sizeof(iocp_op *));

    if (buckets == NULL) {
        return;
    }
    self->buckets = buckets;
    self->bucket_count = old_count * 2;
    for (size_t i = 0; i < old_count; i++) {
        while (old[i] != NULL) {
            iocp_op *op = old[i];

            old[i] = op->next;
            op->next = NULL;
            *iocp_slot(self, op->fd) = op;
        }
    }
    free(old);
}

static void
iocp_table_insert(iocp_poll *self, iocp_op *op)
{
    if (self->armed_count >= self->bucket_count) {
        iocp_table_grow(self);
    }
    op->next = NULL;
    op->armed = true;
    *iocp_slot(self, op->fd) = op;
    self->armed_count++;
}

/* fd's operation, taken out of the table; or NULL. */
static iocp_op *
iocp_table_remove(iocp_poll *self, int fd)
{
    iocp_op **slot = iocp_slot(self, fd);
    iocp_op *op = *slot;

    if (op != NULL) {
        *slot = op->next;
        op->armed = false;
        self->armed_count--;
    }
    return op;
}

/* ---- opening and closing ---- */

static int
iocp_open(tc_poll **out)
{
    WSADATA unused;
    iocp_poll *self = calloc(1, sizeof(*self));
    int err;

    if (self == NULL) {
        return -ENOMEM;
    }
    self->base.ops = &tc_poll_ops_iocp;
    atomic_init(&self->wake_pending, 0);
    InitializeSRWLock(&self->lock);
    self->bucket_count = 64;
    self->buckets = calloc(self->bucket_count, sizeof(iocp_op *));
    if (self->buckets == NULL) {
        err = -ENOMEM;
        goto error_free;
    }
    err = tc_afd_error((DWORD)WSAStartup(MAKEWORD(2, 2), &unused));
    if (err < 0) {
        goto error_buckets;
    }
    self->port = CreateIoCompletionPort(INVALID_HANDLE_VALUE, NULL, 0, 0);
    if (self->port == NULL) {
        err = tc_afd_error(GetLastError());
        goto error_winsock;
    }
    err = tc_afd_open(&self->afd, self->port, IOCP_KEY_AFD);
    if (err < 0) {
        goto error_port;
    }
    *out = &self->base;
    return 0;

error_port:
    (void)CloseHandle(self->port);
error_winsock:
    (void)WSACleanup();
error_buckets:
    free(self->buckets);
error_free:
    free(self);
    return err;
}

static void
iocp_close(tc_poll *base)
{
    iocp_poll *self = (iocp_poll *)base;
    OVERLAPPED_ENTRY entries[IOCP_BATCH];
    ULONG count;

    if (self == NULL) {
        return;
    }
    tc_afd_cancel_all(&self->afd);
    while (self->afd.in_flight > 0
           && GetQueuedCompletionStatusEx(self->port, entries, IOCP_BATCH,
                                          &count, INFINITE, FALSE)) {
        for (ULONG i = 0; i < count; i++) {
            if (entries[i].lpCompletionKey == IOCP_KEY_AFD) {
                iocp_op *op = (iocp_op *)(void *)entries[i].lpOverlapped;

                (void)tc_afd_finish(&self->afd, &op->afd);
                free(op);
            }
        }
    }
    tc_afd_close(&self->afd);
    (void)CloseHandle(self->port);
    (void)WSACleanup();
    free(self->buckets);
    free(self);
}

/* ---- registrations ---- */

/* Lock held.  Drop fd's registration, if any. */
static void
iocp_drop(iocp_poll *self, int fd)
{
    iocp_op *op = iocp_table_remove(self, fd);

    if (op != NULL) {
        tc_afd_cancel(&op->afd);
    }
}

static int
iocp_forget(tc_poll *base, int fd)
{
    iocp_poll *self = (iocp_poll *)base;

    AcquireSRWLockExclusive(&self->lock);
    iocp_drop(self, fd);
    ReleaseSRWLockExclusive(&self->lock);
    return 0;
}

static int
iocp_arm(tc_poll *base, int fd, uint32_t interest, uint64_t token)
{
    iocp_poll *self = (iocp_poll *)base;
    iocp_op *op = NULL;
    int err = 0;

    if ((interest & ~(TC_POLL_READ | TC_POLL_WRITE)) != 0
        || token >= TC_POLL_RAW) {
        return -EINVAL;
    }
    AcquireSRWLockExclusive(&self->lock);
    iocp_drop(self, fd);
    if (interest == 0) {
        goto done;
    }
    op = malloc(sizeof(*op));
    if (op == NULL) {
        err = -ENOMEM;
        goto done;
    }
    op->token = token;
    op->fd = fd;
    op->interest = interest;
    err = tc_afd_submit(&self->afd, &op->afd, fd, interest);
    if (err < 0) {
        free(op);
        goto done;
    }
    iocp_table_insert(self, op);
done:
    ReleaseSRWLockExclusive(&self->lock);
    return err;
}

/* ---- waiting ---- */

/* Lock held.  An operation of ours is over.  What is to be reported: 0 for
 * nothing; otherwise *token is what the report bears. */
static uint32_t
iocp_finish(iocp_poll *self, iocp_op *op, uint64_t *token)
{
    uint32_t ready = tc_afd_finish(&self->afd, &op->afd);

    if (!op->armed) {
        free(op);
        return 0;
    }
    if (ready == 0) {
        /* Cancelled, but not by us. */
        if (tc_afd_submit(&self->afd, &op->afd, op->fd, op->interest) == 0) {
            return 0;
        }
        ready = TC_POLL_ERR;
    }
    *token = op->token;
    (void)iocp_table_remove(self, op->fd);
    free(op);
    return ready;
}

/* Turn packets into reports, one at most for each; how many. */
static int
iocp_collect(iocp_poll *self, const OVERLAPPED_ENTRY *entries, int count,
             tc_poll_event *events)
{
    bool woken = false;
    int kept_before = self->kept_count;
    int filled = 0;

    AcquireSRWLockExclusive(&self->lock);
    for (int i = 0; i < count; i++) {
        const OVERLAPPED_ENTRY *entry = &entries[i];
        tc_poll_event *event = &events[filled];

        if (entry->lpCompletionKey == IOCP_KEY_AFD) {
            iocp_op *op = (iocp_op *)(void *)entry->lpOverlapped;

            event->ready = iocp_finish(self, op, &event->token);
            filled += event->ready != 0;
        }
        else if (entry->lpCompletionKey == IOCP_KEY_WAKE) {
            woken = true;
        }
        else {
            self->kept[self->kept_count++] = (tc_iocp_completion){
                .key = entry->lpCompletionKey,
                .overlapped = entry->lpOverlapped,
                .bytes = entry->dwNumberOfBytesTransferred,
            };
        }
    }
    ReleaseSRWLockExclusive(&self->lock);
    if (woken) {
        /* The packet has left the port, so from here on wakers post anew;
         * what they wrote before they found 1 is visible after this. */
        (void)atomic_exchange_explicit(&self->wake_pending, 0,
                                       memory_order_acq_rel);
        events[filled++] = (tc_poll_event){TC_POLL_WAKE, TC_POLL_READ};
    }
    if (kept_before == 0 && self->kept_count > 0) {
        events[filled++] = (tc_poll_event){TC_POLL_RAW, 0};
    }
    return filled;
}

static DWORD
iocp_timeout_ms(int64_t timeout_ns)
{
    return timeout_ns < 0 ? INFINITE
                          : (DWORD)((timeout_ns + 999999) / 1000000);
}

/* How many packets may be taken from the port: each may become a report, or
 * something to keep. */
static int
iocp_room(const iocp_poll *self, int left)
{
    int room = IOCP_BATCH - self->kept_count;

    return room < left ? room : left;
}

/* How many packets of our own are in the port at most. */
static size_t
iocp_in_flight(iocp_poll *self)
{
    size_t in_flight;

    AcquireSRWLockExclusive(&self->lock);
    in_flight = self->afd.in_flight;
    ReleaseSRWLockExclusive(&self->lock);
    return in_flight;
}

static int
iocp_wait(tc_poll *base, tc_poll_event *events, int cap, int64_t timeout_ns)
{
    iocp_poll *self = (iocp_poll *)base;
    tc_time_left left;
    size_t ahead = 0;           /* packets to look at; 0: not counted yet */
    int filled = 0;
    int room;

    if (cap < 1) {
        return -EINVAL;
    }
    if (self->kept_count > 0) {
        events[filled++] = (tc_poll_event){TC_POLL_RAW, 0};
        timeout_ns = 0;
    }
    tc_time_left_start(&left, timeout_ns);
    while ((room = iocp_room(self, cap - filled)) > 0) {
        OVERLAPPED_ENTRY entries[IOCP_BATCH];
        ULONG count = 0;

        if (!GetQueuedCompletionStatusEx(self->port, entries, (ULONG)room,
                                         &count, iocp_timeout_ms(left.ns),
                                         FALSE)) {
            DWORD code = GetLastError();

            if (code != WAIT_TIMEOUT) {
                return filled > 0 ? filled : tc_afd_error(code);
            }
            count = 0;
        }
        filled += iocp_collect(self, entries, (int)count, events + filled);
        if (filled > 0) {
            left.ns = 0;
        }
        if (left.ns > 0) {
            /* Too early, or for packets that meant nothing. */
            tc_time_left_update(&left);
        }
        else if (left.ns == 0) {
            if ((int)count < room) {
                break;          /* the port is empty */
            }
            /* Packets that meant nothing may hide others behind them.  But
             * the owner can make more of those as fast as we take them: what
             * comes behind all that is on its way now is left. */
            if (ahead == 0) {
                ahead = iocp_in_flight(self) + 1;
            }
            else if (ahead > count) {
                ahead -= count;
            }
            else {
                break;
            }
        }
    }
    return filled;
}

static void
iocp_wake(tc_poll *base)
{
    iocp_poll *self = (iocp_poll *)base;
    DWORD code;

    if (atomic_exchange_explicit(&self->wake_pending, 1, memory_order_acq_rel)
        != 0) {
        return;
    }
    code = GetLastError();
    /* It can fail for want of memory only, which others will return. */
    while (!PostQueuedCompletionStatus(self->port, 0, IOCP_KEY_WAKE, NULL)) {
        Sleep(1);
    }
    SetLastError(code);
}

/* ---- the port, for others ---- */

void *
tc_iocp_port(const tc_poll *poll)
{
    return ((const iocp_poll *)poll)->port;
}

uint32_t
tc_iocp_register(tc_poll *poll, void *handle, uintptr_t key)
{
    iocp_poll *self = (iocp_poll *)poll;

    if (CreateIoCompletionPort(handle, self->port, key, 0) == NULL
        || !SetFileCompletionNotificationModes(
            handle, FILE_SKIP_SET_EVENT_ON_HANDLE)) {
        return GetLastError();
    }
    return 0;
}

uint32_t
tc_iocp_post(tc_poll *poll, uintptr_t key, OVERLAPPED *overlapped,
             uint32_t bytes)
{
    iocp_poll *self = (iocp_poll *)poll;

    return PostQueuedCompletionStatus(self->port, bytes, key, overlapped)
               ? 0
               : GetLastError();
}

int
tc_iocp_take(tc_poll *poll, tc_iocp_completion *out, int cap)
{
    iocp_poll *self = (iocp_poll *)poll;
    int count = self->kept_count < cap ? self->kept_count : cap;

    memcpy(out, self->kept, (size_t)count * sizeof(*out));
    self->kept_count -= count;
    memmove(self->kept, self->kept + count,
            (size_t)self->kept_count * sizeof(*out));
    return count;
}

uint32_t
tc_iocp_error(const OVERLAPPED *overlapped)
{
    return RtlNtStatusToDosError((NTSTATUS)overlapped->Internal);
}

const tc_poll_ops tc_poll_ops_iocp = {
    .name = "iocp",
    .caps = 0,
    .open = iocp_open,
    .close = iocp_close,
    .arm = iocp_arm,
    .arm_edge = NULL,
    .forget = iocp_forget,
    .wait = iocp_wait,
    .wake = iocp_wake,
};

#endif
