/* entry_queue.h - how other threads and signal handlers get into a run. */
#ifndef TC_KERNEL_ENTRY_QUEUE_H
#define TC_KERNEL_ENTRY_QUEUE_H

#include "../glue/state.h"
#include "context.h"
#include "jobs.h"

typedef struct EntryQueueObject EntryQueueObject;

/* New queue with its wake-up descriptor pair. NULL with exception. */
EntryQueueObject *tc_entry_queue_new(tc_state *st);
/* Queue fn(*args). Any thread, signal handlers, re-entrantly. args: borrowed
   tuple. 0 or -1 (RunFinishedError, TypeError for unhashable jobs). */
int tc_entry_queue_push(EntryQueueObject *q, PyObject *fn, PyObject *args,
                        int idempotent);
/* run_sync_soon(sync_fn, *args, idempotent=False), whatever object offers it
   as `fname`. New reference (None) or NULL. */
PyObject *tc_entry_queue_run_sync_soon(EntryQueueObject *q,
                                       const char *fname,
                                       PyObject *const *args,
                                       Py_ssize_t nargs, PyObject *kwnames);
/* Queue native->run(obj); takes a reference to obj. `how`: 0, or
   TC_JOBS_RESERVED if the caller has reserved room for it. 0 or -1, with room
   only because the run is over. With a `bell`, to wake the loop is left to the
   caller, if 0: tc_jobs_ring(*bell). */
int tc_entry_queue_push_native(EntryQueueObject *q,
                               const tc_native_job *native, PyObject *obj,
                               unsigned how, tc_jobs **bell);
/* Keep room for one native job: 0 or -1. Give it up again. */
int tc_entry_queue_reserve(EntryQueueObject *q);
void tc_entry_queue_unreserve(EntryQueueObject *q);
/* Somebody who must know when the run ends without having come back to him.
   Embedded; loop thread only. */
typedef struct tc_queue_guest {
    tc_link link;
    /* The run has ended. Unlinked already; may run Python, raises nothing. */
    void (*run_over)(struct tc_queue_guest *self);
} tc_queue_guest;

/* Link the guest; he unlinks himself with tc_list_remove(). */
void tc_entry_queue_add_guest(EntryQueueObject *q, tc_queue_guest *guest);
/* The loop is about to block (1), or is back (0): only in between does a new
   job write to the wake-up descriptor. Set 1 first, then ask is_flagged, and
   do not block if so. */
void tc_entry_queue_set_sleeping(EntryQueueObject *q, int sleeping);
/* Has anything been queued that the queue's task has not been woken for?
   One atomic load; the run loop asks every pass. */
int tc_entry_queue_is_flagged(EntryQueueObject *q);
/* Wake the queue's task if it sleeps, as if the wake-up descriptor had been
   polled. Loop thread. 0 or -1. */
int tc_entry_queue_wake_task(EntryQueueObject *q);
/* The poller has found itself in a forked child: the parent's descriptors are
   left alone from here on. 0 or -1. */
int tc_entry_queue_forked(EntryQueueObject *q);
Py_ssize_t tc_entry_queue_size(EntryQueueObject *q);
/* Has the task ended with an error? Nobody runs jobs any more then. */
int tc_entry_queue_has_failed(EntryQueueObject *q);
/* The root awaitable of the run's "<TrioToken.run_sync_soon task>". */
PyObject *tc_entry_queue_task(EntryQueueObject *q);
/* Main thread only: signals write to the wake-up descriptor. 0 or -1. */
int tc_entry_queue_wakeup_on_signals(EntryQueueObject *q);
/* End of the run. 0 or -1. */
int tc_entry_queue_close(EntryQueueObject *q);

int tc_entry_queue_register(tc_state *st);

#endif
