/* io_handle.h - a socket that the library owns, as the poller sees it.
 *
 * Where the poller has an edge-triggered mode, an owned socket is registered
 * once, at its first wait, and stays so. What the kernel has reported is
 * remembered here, so that neither asking for an event nor trying in vain
 * costs a system call each time. The rules (when does a short read mean
 * "empty", when is that not to be believed) are:
 *
 *   - `readable` is cleared when an ordinary receive would block, and by a
 *     short read that may be believed; set by any report that concerns
 *     reading. It may be 1 when nothing is there, never 0 while data waits
 *     that was not or will not be reported.
 *   - A short read is believed for TCP only, with no flag that changes what a
 *     receive does, and only until something was reported that ends a read
 *     early without emptying the socket (end of file, urgent data, errors) or
 *     an option was set that does. So never where the poller keeps quiet about
 *     urgent data (no TC_POLL_CAP_PRI).
 *   - `writable` is cleared by "would block" and by a partial send.
 *   - Registering looks at what is ready, so what came before is not lost;
 *     the memory is valid whether registered or not.
 *
 * That the kernels keep their side of it: docs/platforms.md for kqueue, the
 * facts in poll/epoll.c for Linux.
 *
 * The registration belongs to one run's poller, one number and one
 * generation of it; every other run registers anew. It must be dropped before
 * the descriptor is closed or given away.
 *
 * Sockets that strangers handed us, and pollers without that mode, use the
 * one-shot path of io.h; `readable` and `writable` are not looked at for the
 * former.
 */
#ifndef TC_KERNEL_IO_HANDLE_H
#define TC_KERNEL_IO_HANDLE_H

#include "io.h"

typedef enum {
    TC_IO_TCP_UNKNOWN = 0,   /* an INET or INET6 stream; to be looked at */
    TC_IO_TCP_YES,
    TC_IO_TCP_NO,
} tc_io_tcp;

/* Why a short read is not believed. */
#define TC_IO_DOUBT_REPORT 0x01u /* something reported; until reconnected */
#define TC_IO_DOUBT_OPTION 0x02u /* an option, or somebody else's hand */

typedef struct tc_io_handle {
    tc_io *io;               /* borrowed; NULL: not registered */
    int fd;                  /* registered under this number */
    uint8_t interest;        /* TC_POLL_READ, TC_POLL_WRITE */
    uint8_t owned;           /* 0: one-shot path only */
    uint8_t tcp;             /* tc_io_tcp */
    uint8_t readable;
    uint8_t writable;
    uint8_t doubt;           /* TC_IO_DOUBT_... */
} tc_io_handle;

void tc_io_handle_init(tc_io_handle *handle, int owned);

/* Like tc_io_link(), for the descriptor of this handle. */
int tc_io_handle_link(tc_io *io, tc_io_handle *handle, int fd, int write,
                      AwaitableObject *self);

/* Before close, detach and the end of the owner. Who waits for the number
   goes on waiting for it. Runs no Python. */
void tc_io_handle_forget(tc_io_handle *handle);

/* connect() and listen() make another thing of the socket. */
static inline void
tc_io_handle_reset(tc_io_handle *handle)
{
    handle->readable = 1;
    handle->writable = 1;
    handle->doubt &= (uint8_t)~TC_IO_DOUBT_REPORT;
}

/* A send went through whole: drops the interest in writing where it would
   cause a report with every send. */
void tc_io_handle_drop_write(tc_io_handle *handle);

static inline void
tc_io_handle_sent(tc_io_handle *handle, int partly)
{
    if (partly) {
        handle->writable = 0;
    }
    else if ((handle->interest & TC_POLL_WRITE) != 0
             && handle->tcp != TC_IO_TCP_YES) {
        tc_io_handle_drop_write(handle);
    }
}

/* A receive without flags that matter got n of at most `want` bytes. */
static inline void
tc_io_handle_received(tc_io_handle *handle, Py_ssize_t n, Py_ssize_t want)
{
    if (n == want) {
        return;
    }
    if (n == 0) {
        handle->doubt |= TC_IO_DOUBT_REPORT;
    }
    else if (handle->tcp == TC_IO_TCP_YES && handle->doubt == 0) {
        handle->readable = 0;
    }
}

/* May the system call be left out because it would block? */
static inline int
tc_io_handle_would_block(const tc_io_handle *handle, int write, int fd)
{
    return handle->owned && fd >= 0
           && !(write ? handle->writable : handle->readable);
}

#endif
