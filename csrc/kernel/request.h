/* request.h - one call of from_thread.run() or run_sync(). */
#ifndef TC_KERNEL_REQUEST_H
#define TC_KERNEL_REQUEST_H

#include "../glue/awaitable.h"
#include "context.h"
#include "entry_queue.h"
#include "thread_job.h"

/* Made by the asking thread, which waits for `answered`. From when it is
   queued until then it belongs to the thread of the run. */
typedef struct ThreadRequestObject {
    PyObject_HEAD
    tc_state *st;            /* borrowed */
    ThreadJobObject *job;    /* owned or NULL: the job of the asking thread,
                                if the job's task is to serve it */
    PyObject *fn;            /* owned */
    PyObject *args;          /* owned tuple */
    PyObject *context;       /* owned: of the asking thread */
    PyObject *saved_context; /* owned or NULL: the serving task's own */
    PyThread_type_lock answered;  /* owned; held until there is an answer */
    PyObject *value;         /* owned or NULL: the answer, or */
    PyObject *error;         /* owned or NULL: its exception */
    EntryQueueObject *queue; /* owned: of the run that is asked */
    tc_queue_guest guest;    /* in queue, from when somebody begins to serve
                                it until there is an answer */
    uint8_t is_async;
    uint8_t is_answered;
    uint8_t is_spawning;     /* being called as a system task */
} ThreadRequestObject;

static inline int
ThreadRequest_CheckExact(tc_state *st, PyObject *op)
{
    return Py_IS_TYPE(op, st->ThreadRequestType);
}

/* Call its function, which is a synchronous one, and answer. */
void tc_request_run_sync(ThreadRequestObject *request);
/* Call its function, which is to give a coroutine: an iterator of that. New
   reference or NULL with exception. */
PyObject *tc_request_start(ThreadRequestObject *request);
/* Answer with a value (stolen; NULL for None)... */
void tc_request_answer(ThreadRequestObject *request, PyObject *value);
/* ...or with the raised exception. */
void tc_request_answer_error(ThreadRequestObject *request);
/* Nobody will serve it: answer with RunFinishedError unless it has an answer.
   Keeps a raised exception. */
void tc_request_give_up(ThreadRequestObject *request, const char *why);

int tc_request_register(tc_state *st);

#endif
