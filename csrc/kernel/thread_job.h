/* thread_job.h - one call of to_thread.run_sync: what the task that waits and
 * the thread that works have in common.
 */
#ifndef TC_KERNEL_THREAD_JOB_H
#define TC_KERNEL_THREAD_JOB_H

#include "../glue/state.h"
#include "context.h"
#include "token.h"

#include <stdatomic.h>

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
    uint8_t claimed;         /* what has begun: JOB_RUN, JOB_DELIVERY */
    PyObject *cancels;       /* owned list or NULL: what `cancel` was */
    int cancel_kind;         /* of `cancel`, as tc_abort has it */
    PyObject *cancel_reason; /* borrowed from it; to be compared only */
    /* Set by the loop thread, read by the worker; `cancels` keeps it. */
    _Atomic(PyObject *) cancel;  /* raise_cancel, or NULL */
    /* Set by the worker while it calls fn: its thread. For tools. */
    _Atomic(unsigned long) thread;  /* or 0 */
    /* Set by the worker before it delivers, read by the loop thread. */
    PyObject *value;         /* owned or NULL */
    PyObject *error;         /* owned or NULL: exception */
    PyObject *weakrefs;
} ThreadJobObject;

/* Of a call fn(*args), all borrowed; the caller sets the rest. New reference
   or NULL. */
ThreadJobObject *tc_thread_job_new(tc_state *st, PyObject *fn,
                                   PyObject *const *args, Py_ssize_t nargs);
/* Loop thread: give the limiter's token back while handling `cause` (borrowed
   exception or NULL). 0 or -1. */
int tc_thread_job_release_token(ThreadJobObject *job, PyObject *cause);
/* Loop thread: nobody needs the function and its surroundings any more. */
void tc_thread_job_forget(ThreadJobObject *job);

/* Loop thread: the job is about to be given to a thread, with the room that it
   needs to come back, or has not been taken by one. 0 or -1. */
int tc_thread_job_enter_thread(ThreadJobObject *job);
void tc_thread_job_leave_thread(ThreadJobObject *job);
/* In the worker: call fn, keeping what comes in the job. */
void tc_thread_job_run(ThreadJobObject *job);
/* In the worker: send the job back to its run. 0 or -1. `bell` is that of
   tc_entry_queue_push_native(); NULL in it if there is nobody to wake. */
int tc_thread_job_deliver(ThreadJobObject *job, tc_jobs **bell);

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

int tc_thread_job_register(tc_state *st);

#endif
