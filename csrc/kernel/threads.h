/* threads.h - to_thread.run_sync() and from_thread.run(): jobs and requests.
 *
 * A job is one call of to_thread.run_sync. A request is one call back from
 * some thread into a run.
 */
#ifndef TC_KERNEL_THREADS_H
#define TC_KERNEL_THREADS_H

#include <stdatomic.h>

#include "../glue/awaitable.h"
#include "../glue/state.h"
#include "context.h"
#include "token.h"

typedef struct ThreadJobObject {
    PyObject_HEAD
    tc_state *st;            /* borrowed */
    uint64_t number;         /* what its name is made from */
    /* Set up before the thread starts, read by both sides from then on. */
    TokenObject *token;      /* owned or NULL (before): of the task's run */
    PyObject *fn;            /* owned or NULL */
    PyObject *args;          /* owned tuple or NULL */
    PyObject *context;       /* owned or NULL: fn runs in it */
    int abandon;             /* abandon_on_cancel, as a truth value */
    /* Loop thread only. */
    PyObject *name;          /* owned or NULL: thread_name */
    PyObject *abandon_arg;   /* owned or NULL: abandon_on_cancel as given */
    PyObject *limiter;       /* owned or NULL */
    TaskObject *task;        /* owned; NULL when nobody waits (any more) */
    uint8_t in_thread;       /* a thread has it, or its report is queued */
    PyObject *cancels;       /* owned list or NULL: what `cancel` was */
    int cancel_kind;         /* of `cancel`, as tc_abort has it */
    PyObject *cancel_reason; /* borrowed from it; to be compared only */
    /* Set by the loop thread, read by the worker; `cancels` keeps it. */
    _Atomic(PyObject *) cancel;  /* raise_cancel, or NULL */
    /* Set by the worker before it delivers, read by the loop thread. */
    PyObject *value;         /* owned or NULL */
    PyObject *error;         /* owned or NULL: exception */
    PyObject *weakrefs;
} ThreadJobObject;

/* In the worker: call fn, keeping what comes in the job. */
void tc_thread_job_run(ThreadJobObject *job);
/* In the worker: send the job back to its run. 0 or -1. */
int tc_thread_job_deliver(ThreadJobObject *job);

/* The job that this thread is working for. Borrowed, or NULL. */
ThreadJobObject *tc_thread_current_job(void);

/* Is it what calling an async function gives? */
int tc_threads_is_coroutine(tc_state *st, PyObject *obj);
/* A synchronous function was wanted, but calling fn gave this coroutine
   (stolen): close it, raise TypeError. format has one %R, for fn's name.
   Returns NULL. */
PyObject *tc_threads_refuse_coroutine(PyObject *coro, PyObject *fn,
                                      const char *format);
/* A tuple of borrowed objects. New reference or NULL. */
PyObject *tc_threads_pack(PyObject *const *args, Py_ssize_t nargs);

int tc_threads_register(tc_state *st);

#endif
