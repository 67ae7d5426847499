/* thread_cache.h - threads that are kept for the next job.
 *
 * A worker is an ordinary threading.Thread, so that jobs see what they expect
 * of threading.current_thread(); its loop, and the hand-over of jobs, are
 * native.
 */
#ifndef TC_KERNEL_THREAD_CACHE_H
#define TC_KERNEL_THREAD_CACHE_H

#include "../glue/state.h"

/* start_thread_soon(fn, deliver, name) of the process's cache: in some thread,
   call deliver(outcome of fn()). A job of threads.h passes itself as both and
   is run without an outcome. Borrowed; name may be None. 0 or -1. */
int tc_thread_cache_start(tc_state *st, PyObject *fn, PyObject *deliver,
                          PyObject *name);

/* Import what Python there is to it, which also notices forks: for whoever
   lets threads wait without the GIL. 0 or -1. */
int tc_thread_cache_load(tc_state *st);

int tc_thread_cache_register(tc_state *st);

#endif
