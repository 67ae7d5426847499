/* request.c - from_thread.run(), run_sync() and check_cancelled().
 *
 * Invariants
 * - A request is answered exactly once, also when its run ends or breaks
 *   down: nobody waits for ever.
 * - What was asked for runs in the asking thread's context, unprotected from
 *   Ctrl-C: an interrupt ends up in the asking thread.
 * - Queued, a request belongs to the queue (which discards it if it must);
 *   from then on it is the queue's guest until it is answered.
 * - A waiter that is interrupted leaves; the request is served all the same.
 */
#include "request.h"
#include "../base/lookout.h"
#include "../glue/args.h"
#include "../glue/errors.h"
#include "../glue/function.h"
#include "delegate.h"
#include "entry_queue.h"
#include "gil.h"
#include "ki.h"
#include "runner.h"
#include "thread_cache.h"
#include "token.h"
#include "trap.h"

static const char request_too_late[] = "run() has exited";

/* --- answers ----------------------------------------------------------- */

/* Only the first answer counts. There are more when somebody closes the task's
   coroutine by hand. */
static void
request_set_answered(ThreadRequestObject *self)
{
    self->is_answered = 1;
    tc_list_remove(&self->guest.link);
    PyThread_release_lock(self->answered);
}

void
tc_request_answer(ThreadRequestObject *self, PyObject *value)
{
    if (self->is_answered) {
        Py_XDECREF(value);
        return;
    }
    self->value = value != NULL ? value : Py_NewRef(Py_None);
    request_set_answered(self);
}

void
tc_request_answer_error(ThreadRequestObject *self)
{
    if (self->is_answered) {
        PyErr_Clear();
        return;
    }
    self->error = PyErr_GetRaisedException();
    request_set_answered(self);
}

void
tc_request_give_up(ThreadRequestObject *self, const char *why)
{
    if (self->is_answered) {
        return;
    }
    PyObject *exc = PyErr_GetRaisedException();
    /* What there was to be answered will not be. */
    Py_CLEAR(self->value);
    Py_CLEAR(self->error);
    PyErr_SetString(self->st->exc_RunFinishedError, why);
    tc_request_answer_error(self);
    if (exc != NULL) {
        PyErr_SetRaisedException(exc);
    }
}

/* --- serving ----------------------------------------------------------- */

void
tc_request_run_sync(ThreadRequestObject *self)
{
    PyObject *value = NULL;
    tc_ki_mark mark;
    if (PyContext_Enter(self->context) == 0) {
        if (tc_ki_enter(&mark, 0) == 0) {
            value = PyObject_Call(self->fn, self->args, NULL);
            tc_ki_leave(&mark);
        }
        if (PyContext_Exit(self->context) < 0) {
            Py_CLEAR(value);
        }
    }
    if (value != NULL && tc_threads_is_coroutine(self->st, value)) {
        value = tc_threads_refuse_coroutine(
            value, self->fn,
            "Trio expected a synchronous function, but %R appears to be "
            "asynchronous");
    }
    if (value != NULL) {
        tc_request_answer(self, value);
    }
    else {
        tc_request_answer_error(self);
    }
}

PyObject *
tc_request_start(ThreadRequestObject *self)
{
    tc_ki_mark mark;
    PyObject *coro = NULL;
    PyObject *iter = NULL;
    if (tc_ki_enter(&mark, 0) == 0) {
        coro = tc_spawn_coroutine(self->st, self->fn,
                                  &PyTuple_GET_ITEM(self->args, 0),
                                  PyTuple_GET_SIZE(self->args), NULL, 0);
        tc_ki_leave(&mark);
    }
    if (coro != NULL) {
        iter = tc_delegate_iter(coro);
        Py_DECREF(coro);
    }
    return iter;
}

/* --- in a system task -------------------------------------------------- */

static tc_step
request_task_result(AwaitableObject *aw, tc_step step, PyObject **result)
{
    ThreadRequestObject *self = (ThreadRequestObject *)aw->owner;
    if (step == TC_YIELD) {
        return TC_YIELD;
    }
    if (self->is_answered) {
        /* The run is over, and somebody has kept the coroutine. */
        PyErr_Clear();
        Py_CLEAR(*result);
    }
    else if (step == TC_ERROR) {
        tc_request_answer_error(self);
    }
    else {
        tc_request_answer(self, *result);
        *result = NULL;
    }
    return TC_DONE;
}

static tc_step
request_task_step(AwaitableObject *aw, PyObject *sent, PyObject **result)
{
    ThreadRequestObject *self = (ThreadRequestObject *)aw->owner;
    if (aw->phase == 0) {
        aw->phase = 1;
        aw->value = tc_request_start(self);
        if (aw->value == NULL) {
            return request_task_result(aw, TC_ERROR, result);
        }
    }
    return request_task_result(aw, tc_delegate_send(aw, sent, 0, result),
                               result);
}

static tc_step
request_task_thrown(AwaitableObject *aw, PyObject *exc, PyObject **result)
{
    return request_task_result(aw, tc_delegate_throw(aw, exc, 0, result),
                               result);
}

/* It will not go on: when it dies, and when the collector takes it apart. */
static void
request_task_release(AwaitableObject *aw)
{
    if (aw->owner != NULL) {
        tc_request_give_up((ThreadRequestObject *)aw->owner,
                           request_too_late);
    }
}

static const tc_op request_task_op = {
    .name = "run_system",
    .qualname = "from_thread_run",
    .step = request_task_step,
    .thrown = request_task_thrown,
    .awaiting = tc_delegate_awaiting,
    .abandon = request_task_release,
    .release = request_task_release,
};

/* As the "async function" of a system task, and nobody else's: it would be
   answered twice, or its host would wait for it in vain. */
static PyObject *
request_call(PyObject *op, PyObject *Py_UNUSED(args),
             PyObject *Py_UNUSED(kwargs))
{
    ThreadRequestObject *self = (ThreadRequestObject *)op;
    if (!self->is_spawning) {
        PyErr_SetString(PyExc_RuntimeError,
                        "only the run that it asks can serve this request");
        return NULL;
    }
    self->is_spawning = 0;
    return (PyObject *)tc_awaitable_new(self->st, &request_task_op, op);
}

/* --- in the entry queue's task ----------------------------------------- */

static void
request_discard(PyObject *op)
{
    tc_request_give_up((ThreadRequestObject *)op, request_too_late);
}

static void
request_run_over(tc_queue_guest *guest)
{
    ThreadRequestObject *self
        = TC_CONTAINER_OF(guest, ThreadRequestObject, guest);
    Py_INCREF(self);
    tc_request_give_up(self, request_too_late);
    Py_DECREF(self);
}

static int
request_run_queued(PyObject *op)
{
    tc_request_run_sync((ThreadRequestObject *)op);
    return 0;
}

static const tc_native_job request_sync_job
    = {request_run_queued, request_discard};

static int
request_spawn(PyObject *op)
{
    ThreadRequestObject *self = (ThreadRequestObject *)op;
    RunnerObject *runner = tc_context_need_runner(self->st);
    if (runner == NULL) {
        return -1;
    }
    tc_entry_queue_add_guest(self->queue, &self->guest);
    self->is_spawning = 1;
    TaskObject *task = tc_runner_spawn_system(runner, op, NULL, 0, self->fn,
                                              self->context);
    self->is_spawning = 0;
    if (task == NULL) {
        int closed = PyErr_ExceptionMatches(PyExc_RuntimeError);
        if (closed) {
            PyErr_Clear();
        }
        tc_request_give_up(self, "system nursery is closed");
        return closed ? 0 : -1;
    }
    return 0;
}

static const tc_native_job request_async_job
    = {request_spawn, request_discard};

/* Wake the task whose job asks: it will serve the request. */
static int
request_to_host(PyObject *op)
{
    ThreadRequestObject *self = (ThreadRequestObject *)op;
    TaskObject *task = self->job->task;
    if (task == NULL) {
        /* It was made to leave by other means than cancelling. */
        tc_request_give_up(self, "the task that waited for this thread has "
                                 "stopped waiting");
        return 0;
    }
    tc_entry_queue_add_guest(self->queue, &self->guest);
    return tc_task_reschedule_checked(task->runner, task, Py_NewRef(op),
                                      NULL);
}

static const tc_native_job request_host_job
    = {request_to_host, request_discard};

/* --- asking ------------------------------------------------------------ */

static ThreadRequestObject *
request_new(tc_state *st, EntryQueueObject *queue, ThreadJobObject *job,
            PyObject *fn, PyObject *const *args, Py_ssize_t nargs,
            int is_async)
{
    ThreadRequestObject *self
        = PyObject_GC_New(ThreadRequestObject, st->ThreadRequestType);
    if (self == NULL) {
        return NULL;
    }
    self->st = st;
    self->job = (ThreadJobObject *)Py_XNewRef((PyObject *)job);
    self->queue = (EntryQueueObject *)Py_NewRef((PyObject *)queue);
    tc_list_init(&self->guest.link);
    self->guest.run_over = request_run_over;
    self->fn = Py_NewRef(fn);
    self->saved_context = self->value = self->error = NULL;
    self->is_async = (uint8_t)is_async;
    self->is_answered = 0;
    self->is_spawning = 0;
    self->context = NULL;
    self->answered = PyThread_allocate_lock();
    self->args = tc_threads_pack(args, nargs);
    TC_LIVE_ADD(st, ThreadRequestType);
    PyObject_GC_Track(self);
    if (self->answered == NULL) {
        PyErr_NoMemory();
        Py_DECREF(self);
        return NULL;
    }
    PyThread_acquire_lock(self->answered, WAIT_LOCK);
    if (self->args == NULL
        || (self->context = PyContext_CopyCurrent()) == NULL) {
        Py_DECREF(self);
        return NULL;
    }
    return self;
}

/* Of the threads that ask, each for itself. */
static _Thread_local tc_lookout request_lookout;

/* Is the answer there soon? Without the GIL. */
static int
request_look_out(ThreadRequestObject *self)
{
    tc_lookout_begin(&request_lookout);
    while (tc_lookout_goes_on(&request_lookout)) {
        if (PyThread_acquire_lock(self->answered, NOWAIT_LOCK)) {
            tc_lookout_succeed(&request_lookout);
            return 1;
        }
    }
    return 0;
}

/* Wait for the answer, without the GIL. 0, or -1 with exception if a signal
   handler raised. */
static int
request_wait(ThreadRequestObject *self, tc_jobs *bell)
{
    for (;;) {
        PyThreadState *tstate = PyEval_SaveThread();
        if (bell != NULL) {
            tc_jobs_ring(bell);
            bell = NULL;
        }
        PyLockStatus status = PY_LOCK_ACQUIRED;
        if (!request_look_out(self)) {
            status = PyThread_acquire_lock_timed(self->answered, -1, 1);
        }
        tc_gil_acquire(self->st, tstate);
        if (status == PY_LOCK_ACQUIRED) {
            return 0;
        }
        if (PyErr_CheckSignals() < 0) {
            return -1;
        }
    }
}

/* Queue it, wait, hand out the answer. */
static PyObject *
request_ask(ThreadRequestObject *self)
{
    const tc_native_job *how = self->job != NULL ? &request_host_job
                               : self->is_async  ? &request_async_job
                                                 : &request_sync_job;
    tc_jobs *bell;
    if (tc_thread_cache_load(self->st) < 0
        || tc_entry_queue_push_native(self->queue, how, (PyObject *)self, 0,
                                      &bell) < 0
        || request_wait(self, bell) < 0) {
        return NULL;
    }
    PyObject *error = self->error;
    self->error = NULL;
    if (error != NULL) {
        tc_error_raise(error);
        Py_DECREF(error);
        return NULL;
    }
    PyObject *value = self->value;
    self->value = NULL;
    return value;
}

/* from_thread_run*(fn, *args, trio_token=None) */
static PyObject *
request_from_thread(tc_state *st, const char *fname, const char *fn_name,
                    PyObject *const *args, Py_ssize_t nargs,
                    PyObject *kwnames, int is_async)
{
    const tc_params params = {
        .fname = fname,
        .names = {fn_name, "trio_token"},
        .n_positional = 1,
        .n_required = 1,
    };
    PyObject *a[2];
    PyObject *const *rest;
    Py_ssize_t n_rest;
    if (tc_args_parse_star(&params, args, nargs, kwnames, a, &rest, &n_rest)
        < 0) {
        return NULL;
    }
    ThreadJobObject *job = NULL;
    TokenObject *token = (TokenObject *)a[1];
    if (token == NULL || (PyObject *)token == Py_None) {
        job = tc_thread_current_job();
        if (job == NULL || job->st != st) {
            PyErr_SetString(PyExc_RuntimeError,
                            "this thread wasn't created by Trio, pass kwarg "
                            "trio_token=...");
            return NULL;
        }
        token = job->token;
    }
    else if (!Token_CheckExact(st, (PyObject *)token)) {
        PyErr_SetString(PyExc_RuntimeError,
                        "Passed kwarg trio_token is not of type TrioToken");
        return NULL;
    }
    if (tc_context_task(st) != NULL) {
        PyErr_SetString(PyExc_RuntimeError,
                        "this is a blocking function; call it from a "
                        "thread");
        return NULL;
    }
    if (job != NULL && job->abandon) {
        job = NULL;
    }
    ThreadRequestObject *self
        = request_new(st, token->queue, job, a[0], rest, n_rest, is_async);
    if (self == NULL) {
        return NULL;
    }
    PyObject *result = request_ask(self);
    Py_DECREF(self);
    return result;
}

static PyObject *
from_thread_run(FunctionObject *func, PyObject *Py_UNUSED(self),
                PyObject *const *args, Py_ssize_t nargs, PyObject *kwnames)
{
    return request_from_thread(func->st, "from_thread_run", "afn", args,
                               nargs, kwnames, 1);
}

static PyObject *
from_thread_run_sync(FunctionObject *func, PyObject *Py_UNUSED(self),
                     PyObject *const *args, Py_ssize_t nargs,
                     PyObject *kwnames)
{
    return request_from_thread(func->st, "from_thread_run_sync", "fn", args,
                               nargs, kwnames, 0);
}

static PyObject *
from_thread_check_cancelled(FunctionObject *func, PyObject *Py_UNUSED(self),
                            PyObject *const *Py_UNUSED(args),
                            Py_ssize_t nargs, PyObject *kwnames)
{
    if (tc_args_none("from_thread_check_cancelled", nargs, kwnames) < 0) {
        return NULL;
    }
    ThreadJobObject *job = tc_thread_current_job();
    if (job == NULL || job->st != func->st) {
        PyErr_SetString(PyExc_RuntimeError,
                        "this thread wasn't created by Trio, can't check "
                        "for cancellation");
        return NULL;
    }
    PyObject *cancel = atomic_load(&job->cancel);
    if (cancel == NULL) {
        Py_RETURN_NONE;
    }
    Py_INCREF(cancel);
    PyObject *result = PyObject_CallNoArgs(cancel);
    Py_DECREF(cancel);
    return result;
}

/* --- the type ---------------------------------------------------------- */

static int
request_traverse(PyObject *op, visitproc visit, void *arg)
{
    ThreadRequestObject *self = (ThreadRequestObject *)op;
    Py_VISIT(Py_TYPE(op));
    Py_VISIT((PyObject *)self->job);
    Py_VISIT((PyObject *)self->queue);
    Py_VISIT(self->fn);
    Py_VISIT(self->args);
    Py_VISIT(self->context);
    Py_VISIT(self->saved_context);
    Py_VISIT(self->value);
    Py_VISIT(self->error);
    return 0;
}

/* Only the answer: the rest is needed as long as anybody has a reference. */
static int
request_clear(PyObject *op)
{
    ThreadRequestObject *self = (ThreadRequestObject *)op;
    Py_CLEAR(self->value);
    Py_CLEAR(self->error);
    return 0;
}

static void
request_dealloc(PyObject *op)
{
    ThreadRequestObject *self = (ThreadRequestObject *)op;
    PyTypeObject *type = Py_TYPE(op);
    PyObject_GC_UnTrack(op);
    TC_LIVE_SUB(self->st, ThreadRequestType);
    tc_list_remove(&self->guest.link);
    request_clear(op);
    Py_CLEAR(self->job);
    Py_CLEAR(self->queue);
    Py_CLEAR(self->fn);
    Py_CLEAR(self->args);
    Py_CLEAR(self->context);
    Py_CLEAR(self->saved_context);
    if (self->answered != NULL) {
        PyThread_free_lock(self->answered);
    }
    PyObject_GC_Del(op);
    Py_DECREF(type);
}

static PyType_Slot request_slots[] = {
    {Py_tp_dealloc, request_dealloc},
    {Py_tp_traverse, request_traverse},
    {Py_tp_clear, request_clear},
    {Py_tp_call, request_call},
    {0, NULL},
};

static PyType_Spec tc_request_spec = {
    .name = "trio_c._threads.Run",
    .basicsize = sizeof(ThreadRequestObject),
    .flags = Py_TPFLAGS_DEFAULT | Py_TPFLAGS_HAVE_GC
             | Py_TPFLAGS_IMMUTABLETYPE
             | Py_TPFLAGS_DISALLOW_INSTANTIATION,
    .slots = request_slots,
};

static const tc_function_def request_functions[] = {
    {"from_thread_run", "trio_c._threads", from_thread_run},
    {"from_thread_run_sync", "trio_c._threads", from_thread_run_sync},
    {"from_thread_check_cancelled", "trio_c._threads",
     from_thread_check_cancelled},
    {NULL, NULL, NULL},
};

int
tc_request_register(tc_state *st)
{
    if (tc_state_add_type(st, &st->ThreadRequestType, &tc_request_spec, NULL,
                          NULL) < 0) {
        return -1;
    }
    return tc_function_add_to_module(st, request_functions);
}
