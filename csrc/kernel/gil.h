/* gil.h - letting other threads have the interpreter.
 *
 * A busy run loop makes no blocking call, so nothing would hand the GIL to
 * the threads that work for it before the interpreter forces a switch, every
 * 5 ms. Instead, a thread of the library that needs the GIL raises a count
 * first; the loop looks at it between batches (one atomic load) and steps
 * aside until that thread has the GIL.
 *
 * In free-threaded builds attaching needs nobody to step aside: the count
 * stays 0.
 */
#ifndef TC_KERNEL_GIL_H
#define TC_KERNEL_GIL_H

#include "../glue/state.h"
#include "../base/list.h"

#include <stdatomic.h>

typedef struct tc_gil {
    atomic_int wanted;       /* threads on their way to take the GIL */
    atomic_int n_waiting;    /* loops that step aside; written under lock */
    PyThread_type_lock lock; /* owned; guards the list */
    tc_link waiting;         /* of those loops */
} tc_gil;

/* PyEval_RestoreThread(), announced to the loops. Any thread. */
void tc_gil_acquire(tc_state *st, PyThreadState *tstate);

static inline int
tc_gil_is_wanted(tc_state *st)
{
    return atomic_load_explicit(&st->gil->wanted, memory_order_relaxed) > 0;
}

/* Give up the GIL until a thread that wants it has got it, or for a
   millisecond; returns with the GIL. Keeps a raised exception. */
void tc_gil_yield(tc_state *st);

/* Give up the GIL if another thread seems to wait for it, or in any case if
   `surely`: for threads that do not announce themselves. How many seconds
   they have had it; 0 if it was not given up. */
double tc_gil_offer(int surely);

/* In a forked child, where there is no other thread. 0 or -1. */
int tc_gil_after_fork(tc_state *st);

int tc_gil_register(tc_state *st);
void tc_gil_free(tc_state *st);

#endif
