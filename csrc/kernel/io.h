/* io.h - waiting for descriptors; the run's poller.
 *
 * Descriptors of strangers: one-shot, level at arm time, a table by number.
 * Sockets the library owns: a tc_io_handle (io_handle.h), edge-triggered
 * where the poller can.
 *
 * Everything but tc_io_wake() and the two waits belongs to the loop's thread,
 * or to whoever acts for it with the GIL held.
 */
#ifndef TC_KERNEL_IO_H
#define TC_KERNEL_IO_H

#include "../glue/awaitable.h"
#include "../poll/poll.h"
#include "context.h"

typedef struct tc_io tc_io;

/* Opens the poller. NULL with exception. The runner outlives it. */
tc_io *tc_io_new(RunnerObject *runner);
/* Closes it and wakes nobody. Idempotent. */
void tc_io_close(tc_io *io);
void tc_io_free(tc_io *io);

/* Poll up to `timeout` seconds (0: just look, holding the GIL; else without
   it). Then Python's signal handlers run. Returns the number of events, kept
   inside io until tc_io_process(); a forced wake-up counts as an event. -1
   with exception (also what a signal handler raised).

   Needs the GIL at entry. One thread at a time, but it may be another than
   the loop's: guest mode calls it in a worker thread while the loop's thread
   goes on arming and forgetting. */
int tc_io_wait(tc_io *io, double timeout);
/* When the last wait with a timeout began. */
double tc_io_wait_began(const tc_io *io);
/* Wake the tasks for the events of the last wait. 0 or -1. */
int tc_io_process(tc_io *io);

/* Make a running or the next wait return at once. Any thread, signal
   handlers. */
void tc_io_wake(tc_io *io);

/* current_statistics().io_statistics. New reference. */
PyObject *tc_io_statistics(tc_io *io);
/* The Python view of it: runner.io_manager. New reference. */
PyObject *tc_io_manager(RunnerObject *runner);
/* What the garbage collector has to know of. */
int tc_io_traverse(tc_io *io, visitproc visit, void *arg);
void tc_io_clear(tc_io *io);

/* Wait parts for native operations: link self as the reader (write=0) or
   writer of fd. 0; -1 with BusyResourceError, ValueError or OSError. Then
   return tc_trap_wait(). Op tables: .abort = tc_io_abort (also tells other
   waiters of a descriptor that went bad), .abandon = tc_io_unlink. */
int tc_io_link(tc_io *io, int fd, int write, AwaitableObject *self);
void tc_io_unlink(AwaitableObject *self);
/* For a waiter that will soon be back: the registration stays as it is and
   may report once more, to nobody; linking again then costs no system call. */
void tc_io_unlink_for_now(AwaitableObject *self);
tc_abort_result tc_io_abort(AwaitableObject *self, struct tc_abort *why);
/* Waiters of fd get ClosedResourceError, its registration goes. 0 or -1. */
int tc_io_notify_closing(tc_io *io, int fd);
/* The number of an int or object with fileno(). 0 or -1. */
int tc_io_fileno(tc_state *st, PyObject *obj, int *fd);

/* At least `size` bytes that live until the next call: where to receive what
   is copied at once. Loop thread. NULL with MemoryError. */
char *tc_io_scratch(tc_io *io, size_t size);

int tc_io_register(tc_state *st);

#endif
