/* overlapped.h - overlapped operations in flight, and who owns their memory.
 *
 * An operation is found by the address of its OVERLAPPED, which is what comes
 * back with its completion. That is in the operation itself where the core
 * began it; then the buffer is pinned, too, and both stay until the system is
 * done with them, whatever has become of the task. Where the caller began it,
 * the OVERLAPPED is the caller's, and the operation here only waits for it.
 *
 * Invariants
 * - `in_flight`: the system may still write to it. It is in the table then,
 *   or the run has ended without the system having let go of it.
 * - `held`: an awaitable has it as its u.ptr.
 * - An operation lives as long as one of the two is set.
 */
#ifndef TC_KERNEL_OVERLAPPED_H
#define TC_KERNEL_OVERLAPPED_H

#include "../glue/awaitable.h"
#include "../poll/poll.h"

#if TC_POLL_HAVE_IOCP

#  include <windows.h>

#  include "../base/list.h"

typedef struct tc_overlapped {
    OVERLAPPED own;          /* of operations that the core began */
    OVERLAPPED *ov;          /* &own, or the caller's: borrowed */
    HANDLE handle;           /* borrowed */
    PyObject *of_caller;     /* owned: what the caller gave for its OVERLAPPED;
                                NULL where it is ours */
    Py_buffer buffer;        /* pinned while buffer.obj is not NULL */
    struct tc_overlapped *next;  /* in its chain of the table: borrowed */
    tc_link waiter;          /* of AwaitableObject, through link; 0 or 1 */
    uint32_t n_bytes;        /* as the completion said */
    uint32_t cancel_mark;    /* of a cancellation that came too late, or 0 */
    uint8_t in_flight;
    uint8_t held;
} tc_overlapped;

typedef struct tc_overlapped_table {
    tc_overlapped **chains;  /* owned; length is 0 or a power of two */
    size_t n_chains;
    size_t n;                /* operations in it */
} tc_overlapped_table;

/* NULL with MemoryError. Held; the rest is zero. */
tc_overlapped *tc_overlapped_new(void);
/* The awaitable lets go of it. Can run Python: unpins the buffer. */
void tc_overlapped_release(tc_overlapped *op);

/* Sets in_flight. 0, or -1 with MemoryError. */
int tc_overlapped_insert(tc_overlapped_table *table, tc_overlapped *op);
/* NULL without exception. */
tc_overlapped *tc_overlapped_find(const tc_overlapped_table *table,
                                  const OVERLAPPED *ov);
/* The system is done with it: out of the table. If nobody holds it, it is
   gone then. Can run Python. */
void tc_overlapped_done(tc_overlapped_table *table, tc_overlapped *op);
/* The run ends: cancel everything that the core began. */
void tc_overlapped_cancel_all(const tc_overlapped_table *table);
/* Has the system let go of all that? Where the handle is registered with a
   port it may do so only when the completion is taken from there. */
int tc_overlapped_are_over(const tc_overlapped_table *table);
/* Empty the table. What the system has not let go of stays in memory for
   good. Can run Python, which finds the table empty. */
void tc_overlapped_close(tc_overlapped_table *table);

#endif

#endif
