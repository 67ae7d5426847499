/* What the "iocp" backend can do beyond poll.h: its completion port, for
 * overlapped operations and for packets that anybody posts.
 *
 * Everything that arrives at the port passes through the backend's `wait`.
 * What is not the backend's own is kept, as it came, until the owner takes
 * it; as long as something is kept, `wait` returns at once, with one report
 * of TC_POLL_RAW for all of it (`ready` is 0).
 *
 * The memory of an operation (the OVERLAPPED, the buffer) belongs to whoever
 * began it, and must stay until its completion was taken: that holds after a
 * cancellation, too.  `close` drops what was not taken and waits for nothing
 * but the backend's own operations, so who has operations in flight cancels
 * them and goes on with `wait` until they are back, before `close`.
 *
 * A HANDLE is a void *, as Windows has it; this header does without
 * windows.h.  All `poll`s are of this backend.
 */
#ifndef TC_POLL_IOCP_H
#define TC_POLL_IOCP_H

#include "poll/poll.h"

#if TC_POLL_HAVE_IOCP

struct _OVERLAPPED;

/* Completion keys are the caller's, but for the two highest numbers: a packet
 * that somebody else posts with one of them is undefined behaviour. */
#define TC_IOCP_KEY_MAX (UINTPTR_MAX - 2)

typedef struct tc_iocp_completion {
    uintptr_t key;
    struct _OVERLAPPED *overlapped;     /* or whatever was posted; borrowed */
    uint32_t bytes;
} tc_iocp_completion;

/* The port.  Borrowed; closed by `close`. */
void *tc_iocp_port(const tc_poll *poll);

/* Owner.  From now on, operations on `handle` (borrowed; opened for
 * overlapped I/O) complete at the port, with this key; those that succeed at
 * once, too.  There is no way back.  0 or a Windows error code. */
uint32_t tc_iocp_register(tc_poll *poll, void *handle, uintptr_t key);

/* Any thread.  A packet for the port, to be taken like a completion; the
 * backend looks at nothing but the key.  0 or a Windows error code. */
uint32_t tc_iocp_post(tc_poll *poll, uintptr_t key,
                      struct _OVERLAPPED *overlapped, uint32_t bytes);

/* Owner, nobody being in `wait`.  Moves up to cap of what has come, in the
 * order it came, to `out`; how many. */
int tc_iocp_take(tc_poll *poll, tc_iocp_completion *out, int cap);

/* How a completed operation ended: 0 or a Windows error code. */
uint32_t tc_iocp_error(const struct _OVERLAPPED *overlapped);

#endif

#endif /* TC_POLL_IOCP_H */
