/* threads.c - to_thread.run_sync().
 *
 * The awaitable of a call owns its job. In its life it
 *   1. waits for the limiter (a foreign awaitable, in `value`),
 *   2. starts the thread and waits to be woken, by the job's end or by a
 *      request of the thread (then in `extra`), which it serves itself:
 *      a synchronous one on the spot, an asynchronous one by awaiting its
 *      coroutine (in `value`) in the context that came with it.
 *
 * Invariants
 * - job->task is set exactly while that awaitable can be woken for the job;
 *   only then will anybody wake it.
 * - While in_thread is set the thread may use what the job holds, so it stays.
 * - The limiter's token is released exactly once for each time it was got: by
 *   the job's report to the run, or at once if no thread could be started. A
 *   run that has ended gets no report.
 * - A request in `extra` is answered before it is dropped.
 * - COUNTED is set in `flags` as long as the call counts as an active thread.
 */
#include "threads.h"
#include "../glue/args.h"
#include "../glue/errors.h"
#include "../glue/function.h"
#include "../glue/types.h"
#include "delegate.h"
#include "entry_queue.h"
#include "ki.h"
#include "request.h"
#include "runner.h"
#include "runvar.h"
#include "thread_cache.h"
#include "token.h"
#include "trap.h"

#define DEFAULT_LIMIT 40

enum {                       /* phases of a call */
    CALL_FRESH = 0,
    CALL_ACQUIRING,          /* `value` is what the limiter gave */
    CALL_WAITING,            /* for the thread */
    CALL_ENTERING,           /* yields once in the request's context */
    CALL_SERVING,            /* `value` is the request's coroutine */
    CALL_LEAVING,            /* yields once in its own context again */
};

enum { COUNTED = 1 };        /* flags of a call */

static _Thread_local ThreadJobObject *threads_current_job;  /* borrowed */

ThreadJobObject *
tc_thread_current_job(void)
{
    return threads_current_job;
}

/* --- helpers shared with requests -------------------------------------- */

int
tc_threads_is_coroutine(tc_state *st, PyObject *obj)
{
    return PyCoro_CheckExact(obj) || Awaitable_CheckExact(st, obj);
}

PyObject *
tc_threads_refuse_coroutine(PyObject *coro, PyObject *fn, const char *format)
{
    /* Nothing of it has run, so this runs nothing; and it will not complain
       that it was never awaited. */
    PyObject *closed = PyObject_CallMethod(coro, "close", NULL);
    Py_DECREF(coro);
    if (closed == NULL) {
        return NULL;
    }
    Py_DECREF(closed);
    PyObject *name = PyObject_GetAttrString(fn, "__qualname__");
    if (name == NULL) {
        if (!PyErr_ExceptionMatches(PyExc_AttributeError)) {
            return NULL;
        }
        PyErr_Clear();
        name = Py_NewRef(fn);
    }
    PyErr_Format(PyExc_TypeError, format, name);
    Py_DECREF(name);
    return NULL;
}

PyObject *
tc_threads_pack(PyObject *const *args, Py_ssize_t nargs)
{
    PyObject *tuple = PyTuple_New(nargs);
    for (Py_ssize_t i = 0; tuple != NULL && i < nargs; i++) {
        PyTuple_SET_ITEM(tuple, i, Py_NewRef(args[i]));
    }
    return tuple;
}

/* --- a job, in its thread ---------------------------------------------- */

/* fn(*args) in the job's context. */
static PyObject *
job_call(ThreadJobObject *self)
{
    PyObject *value = NULL;
    if (PyContext_Enter(self->context) < 0) {
        return NULL;
    }
    value = PyObject_Call(self->fn, self->args, NULL);
    if (PyContext_Exit(self->context) < 0) {
        Py_CLEAR(value);
    }
    if (value != NULL && tc_threads_is_coroutine(self->st, value)) {
        value = tc_threads_refuse_coroutine(
            value, self->fn,
            "Trio expected a sync function, but %R appears to be "
            "asynchronous");
    }
    return value;
}

void
tc_thread_job_run(ThreadJobObject *self)
{
    ThreadJobObject *outer = threads_current_job;
    threads_current_job = self;
    self->value = job_call(self);
    threads_current_job = outer;
    if (self->value == NULL) {
        self->error = PyErr_GetRaisedException();
    }
}

static const tc_native_job threads_report_job;

int
tc_thread_job_deliver(ThreadJobObject *self)
{
    if (tc_entry_queue_push_native(self->token->queue, &threads_report_job,
                                   (PyObject *)self) < 0) {
        /* The run is over; nobody wants to know. */
        if (!PyErr_ExceptionMatches(self->st->exc_RunFinishedError)) {
            return -1;
        }
        PyErr_Clear();
    }
    return 0;
}

/* For a thread cache that somebody has replaced: job() is the function,
   job(outcome) delivers what it gave. */
static PyObject *
job_tp_call(PyObject *op, PyObject *args, PyObject *kwargs)
{
    ThreadJobObject *self = (ThreadJobObject *)op;
    PyObject *outcome = NULL;
    if ((kwargs != NULL && PyDict_GET_SIZE(kwargs) > 0)
        || !PyArg_UnpackTuple(args, "job", 0, 1, &outcome)) {
        if (!PyErr_Occurred()) {
            PyErr_SetString(PyExc_TypeError, "job takes no keywords");
        }
        return NULL;
    }
    if (outcome == NULL) {
        tc_thread_job_run(self);
        PyObject *value = self->value, *error = self->error;
        self->value = self->error = NULL;
        if (error != NULL) {
            tc_error_reraise(error);
        }
        return value;
    }
    self->value = PyObject_CallMethodNoArgs(outcome, self->st->str_unwrap);
    if (self->value == NULL) {
        self->error = PyErr_GetRaisedException();
    }
    if (tc_thread_job_deliver(self) < 0) {
        return NULL;
    }
    Py_RETURN_NONE;
}

/* --- a job, in its run ------------------------------------------------- */

static int
job_release_token(ThreadJobObject *self)
{
    PyObject *done = PyObject_CallMethodOneArg(
        self->limiter, self->st->str_release_on_behalf_of,
        (PyObject *)self);
    Py_XDECREF(done);
    return done == NULL ? -1 : 0;
}

/* Release the token while handling the exception `cause` (borrowed or NULL),
   as a finally block would. */
static int
job_release_token_after(ThreadJobObject *self, PyObject *cause)
{
    if (cause == NULL) {
        return job_release_token(self);
    }
    PyObject *handled = PyErr_GetHandledException();
    PyErr_SetHandledException(cause);
    int r = job_release_token(self);
    PyErr_SetHandledException(handled);
    Py_XDECREF(handled);
    return r;
}

/* Nobody needs the function and its surroundings any more. */
static void
job_forget(ThreadJobObject *self)
{
    Py_CLEAR(self->task);
    Py_CLEAR(self->fn);
    Py_CLEAR(self->args);
    Py_CLEAR(self->context);
    Py_CLEAR(self->limiter);
    Py_CLEAR(self->name);
    Py_CLEAR(self->abandon_arg);
}

/* In the entry queue's task: the thread has finished. */
static int
job_report(PyObject *op)
{
    ThreadJobObject *self = (ThreadJobObject *)op;
    self->in_thread = 0;
    if (job_release_token_after(self, self->error) < 0) {
        Py_CLEAR(self->value);
        Py_XSETREF(self->error, PyErr_GetRaisedException());
    }
    TaskObject *task = self->task;
    if (task == NULL) {
        job_forget(self);
        return 0;
    }
    return tc_task_reschedule_checked(task->runner, task, Py_NewRef(op),
                                      NULL);
}

static const tc_native_job threads_report_job = {job_report, NULL};

/* --- counting active threads ------------------------------------------- */

static void
call_count(AwaitableObject *aw, RunnerObject *runner)
{
    aw->flags |= COUNTED;
    runner->active_threads++;
}

/* Whoever waits for the last one to go has left an Event in the run. */
static int
call_uncount(AwaitableObject *aw)
{
    RunnerObject *runner = tc_context_runner(aw->st);
    if (!(aw->flags & COUNTED)) {
        return 0;
    }
    aw->flags &= (uint8_t)~COUNTED;
    if (runner == NULL || --runner->active_threads > 0) {
        return 0;
    }
    PyObject *var = aw->st->threads_idle_var;
    PyObject *event = Py_XNewRef(tc_runvar_get(var, runner));
    if (event == NULL) {
        return PyErr_Occurred() ? -1 : 0;
    }
    PyObject *done = NULL;
    if (PyDict_DelItem(runner->locals, var) == 0) {
        done = PyObject_CallMethod(event, "set", NULL);
    }
    Py_DECREF(event);
    Py_XDECREF(done);
    return done == NULL ? -1 : 0;
}

/* --- the call: before the thread --------------------------------------- */

/* The run's default limiter; new reference or NULL. */
static PyObject *
call_default_limiter(tc_state *st)
{
    RunnerObject *runner = tc_context_runner(st);
    if (runner == NULL) {
        PyErr_SetString(PyExc_RuntimeError,
                        "Cannot be used outside of a run context");
        return NULL;
    }
    PyObject *limiter = tc_runvar_get(st->limiter_var, runner);
    if (limiter != NULL) {
        return Py_NewRef(limiter);
    }
    if (PyErr_Occurred()) {
        return NULL;
    }
    limiter = PyObject_CallFunction((PyObject *)st->CapacityLimiterType, "i",
                                    DEFAULT_LIMIT);
    if (limiter != NULL
        && tc_runvar_set(st->limiter_var, runner, limiter) < 0) {
        Py_CLEAR(limiter);
    }
    return limiter;
}

/* "function from task" */
static PyObject *
call_default_name(tc_state *st, PyObject *fn, TaskObject *task)
{
    PyObject *name = NULL;
    PyObject *task_name = NULL;
    PyObject *text = NULL;
    name = PyObject_GetAttr(fn, st->str_dunder_name);
    if (name == NULL) {
        if (!PyErr_ExceptionMatches(PyExc_AttributeError)) {
            return NULL;
        }
        PyErr_Clear();
        name = Py_NewRef(Py_None);
    }
    task_name = PyObject_GetAttr((PyObject *)task, st->str_name);
    if (task_name != NULL) {
        text = PyUnicode_FromFormat("%S from %S", name, task_name);
        Py_DECREF(task_name);
    }
    Py_DECREF(name);
    return text;
}

/* A copy of the current context in which sniffio knows no library. */
static PyObject *
call_context(tc_state *st)
{
    if (st->sniffio_cvar == NULL) {
        PyObject *module = PyImport_ImportModule("sniffio");
        if (module == NULL) {
            return NULL;
        }
        PyObject *cvar
            = PyObject_GetAttrString(module, "current_async_library_cvar");
        Py_DECREF(module);
        if (cvar == NULL) {
            return NULL;
        }
        Py_XSETREF(st->sniffio_cvar, cvar);
    }
    PyObject *context = PyContext_CopyCurrent();
    if (context == NULL || PyContext_Enter(context) < 0) {
        Py_XDECREF(context);
        return NULL;
    }
    PyObject *token = PyContextVar_Set(st->sniffio_cvar, Py_None);
    if (PyContext_Exit(context) < 0 || token == NULL) {
        Py_CLEAR(context);
    }
    Py_XDECREF(token);
    return context;
}

/* What to await for the limiter's leave to start; new reference. */
static PyObject *
call_acquire(ThreadJobObject *job)
{
    PyObject *coro = PyObject_CallMethodOneArg(
        job->limiter, job->st->str_acquire_on_behalf_of, (PyObject *)job);
    if (coro == NULL) {
        return NULL;
    }
    PyObject *iter = tc_delegate_iter(coro);
    Py_DECREF(coro);
    return iter;
}

/* Set everything up to where the limiter is asked. */
static int
call_prepare(AwaitableObject *aw, ThreadJobObject *job, TaskObject *task)
{
    tc_state *st = aw->st;
    if (job->abandon_arg != NULL) {
        job->abandon = PyObject_IsTrue(job->abandon_arg);
        if (job->abandon < 0) {
            return -1;
        }
    }
    if (job->limiter == NULL || job->limiter == Py_None) {
        PyObject *limiter = call_default_limiter(st);
        if (limiter == NULL) {
            return -1;
        }
        Py_XSETREF(job->limiter, limiter);
    }
    job->number = st->next_thread_number++;
    job->token = (TokenObject *)Py_XNewRef(
        (PyObject *)tc_token_of_runner(task->runner));
    if (job->token == NULL) {
        return -1;
    }
    if (job->name == NULL || job->name == Py_None) {
        PyObject *name = call_default_name(st, job->fn, task);
        if (name == NULL) {
            return -1;
        }
        Py_XSETREF(job->name, name);
    }
    job->context = call_context(st);
    if (job->context == NULL) {
        return -1;
    }
    aw->value = call_acquire(job);
    return aw->value == NULL ? -1 : 0;
}

/* The limiter has agreed. */
static int
call_start_thread(AwaitableObject *aw, ThreadJobObject *job,
                  TaskObject *task)
{
    PyObject *name = Py_NewRef(job->name);
    job->task = (TaskObject *)Py_NewRef((PyObject *)task);
    job->in_thread = 1;
    call_count(aw, task->runner);
    int r = tc_thread_cache_start(aw->st, (PyObject *)job, (PyObject *)job,
                                  name);
    Py_DECREF(name);
    if (r < 0) {
        job->in_thread = 0;
        Py_CLEAR(job->task);
        PyObject *exc = PyErr_GetRaisedException();
        if (job_release_token_after(job, exc) < 0) {
            Py_DECREF(exc);
        }
        else {
            PyErr_SetRaisedException(exc);
        }
    }
    return r;
}

/* --- the call: with the thread ----------------------------------------- */

/* Somebody cancels the wait. */
static tc_abort_result
call_abort(AwaitableObject *aw, tc_abort *why)
{
    ThreadJobObject *job = (ThreadJobObject *)aw->owner;
    if (aw->phase != CALL_WAITING) {
        return TC_ABORT_SUCCEEDED;   /* before there is a thread */
    }
    int known = atomic_load(&job->cancel) != NULL
                && job->cancel_kind == (int)why->kind
                && job->cancel_reason == why->reason;
    if (!known) {
        PyObject *cancel = tc_abort_callable(why);
        if (cancel == NULL) {
            return TC_ABORT_ERROR;
        }
        if (job->cancels == NULL) {
            job->cancels = PyList_New(0);
        }
        /* The thread may be about to use the last one: keep them all. */
        if (job->cancels == NULL
            || PyList_Append(job->cancels, cancel) < 0) {
            Py_DECREF(cancel);
            return TC_ABORT_ERROR;
        }
        job->cancel_kind = (int)why->kind;
        job->cancel_reason = why->reason;
        atomic_store(&job->cancel, cancel);
        Py_DECREF(cancel);
    }
    if (!job->abandon) {
        return TC_ABORT_FAILED;
    }
    Py_CLEAR(job->task);
    return TC_ABORT_SUCCEEDED;
}

/* The thread is done. */
static tc_step
call_take_result(ThreadJobObject *job, PyObject **result)
{
    PyObject *error = job->error;
    *result = job->value;
    job->value = job->error = NULL;
    if (error != NULL) {
        tc_error_raise(error);
        Py_DECREF(error);
        return TC_ERROR;
    }
    return TC_DONE;
}

/* The thread asks for something. 1: served; 0: not yet; -1 on error. */
static int
call_take_request(AwaitableObject *aw, TaskObject *task,
                  ThreadRequestObject *request)
{
    if (!request->is_async) {
        tc_request_run_sync(request);
        return 1;
    }
    PyObject *context = PyContext_Copy(request->context);
    if (context == NULL) {
        return -1;
    }
    aw->extra = Py_NewRef((PyObject *)request);
    request->saved_context = Py_NewRef(task->context);
    /* Its task will run there from the next step on. */
    Py_SETREF(task->context, context);
    return 0;
}

/* Woken while waiting for the thread. TC_YIELD: aw->phase says for what. */
static tc_step
call_woken(AwaitableObject *aw, ThreadJobObject *job, TaskObject *task,
           PyObject **result)
{
    PyObject *message;
    if (tc_trap_resume(aw, &message) < 0) {
        return TC_ERROR;
    }
    if (message == (PyObject *)job) {
        Py_DECREF(message);
        return call_take_result(job, result);
    }
    int served = -1;
    if (message != NULL && ThreadRequest_CheckExact(aw->st, message)) {
        ThreadRequestObject *request = (ThreadRequestObject *)message;
        served = call_take_request(aw, task, request);
        if (served < 0) {
            tc_request_give_up(request, "the request could not be served");
        }
    }
    else {
        PyErr_Format(PyExc_TypeError,
                     "trio.to_thread.run_sync received unrecognized thread "
                     "message %R.",
                     message != NULL ? message : Py_None);
    }
    Py_XDECREF(message);
    if (served < 0) {
        return TC_ERROR;
    }
    aw->phase = served ? CALL_WAITING : CALL_ENTERING;
    return TC_YIELD;
}

/* The request's coroutine has made a step. */
static tc_step
call_served(AwaitableObject *aw, TaskObject *task, tc_step step,
            PyObject **result)
{
    ThreadRequestObject *request = (ThreadRequestObject *)aw->extra;
    if (step == TC_YIELD) {
        return TC_YIELD;
    }
    if (step == TC_ERROR) {
        request->error = PyErr_GetRaisedException();
    }
    else {
        request->value = *result;
        *result = NULL;
    }
    PyObject *context = request->saved_context;
    request->saved_context = NULL;
    Py_SETREF(task->context, context);
    aw->phase = CALL_LEAVING;
    return tc_trap_checkpoint(aw, task);
}

/* Back in the task's own context: now the thread may know. */
static void
call_answer(AwaitableObject *aw)
{
    ThreadRequestObject *request = (ThreadRequestObject *)aw->extra;
    aw->extra = NULL;
    if (request->error != NULL) {
        PyErr_SetRaisedException(request->error);
        request->error = NULL;
        tc_request_answer_error(request);
    }
    else {
        PyObject *value = request->value;
        request->value = NULL;
        tc_request_answer(request, value);
    }
    Py_DECREF(request);
}

/* --- the call: the whole ----------------------------------------------- */

static tc_step
call_advance(AwaitableObject *aw, TaskObject *task, PyObject *sent,
             PyObject **result)
{
    ThreadJobObject *job = (ThreadJobObject *)aw->owner;
    tc_step step;
    switch (aw->phase) {
    case CALL_FRESH:
        step = tc_trap_cancel_point(aw, task);
        if (step != TC_DONE) {
            return step;
        }
        if (call_prepare(aw, job, task) < 0) {
            return TC_ERROR;
        }
        aw->phase = CALL_ACQUIRING;
        sent = Py_None;
        /* fall through */
    case CALL_ACQUIRING:
        step = tc_delegate_send(aw, sent, 1, result);
        if (step != TC_DONE) {
            return step;
        }
        Py_CLEAR(*result);
        if (call_start_thread(aw, job, task) < 0) {
            return TC_ERROR;
        }
        aw->phase = CALL_WAITING;
        return tc_trap_wait(aw, task);
    case CALL_WAITING:
        step = call_woken(aw, job, task, result);
        if (step != TC_YIELD) {
            return step;
        }
        return aw->phase == CALL_WAITING ? tc_trap_wait(aw, task)
                                         : tc_trap_checkpoint(aw, task);
    case CALL_ENTERING:
        if (tc_trap_resume(aw, NULL) < 0) {
            return TC_ERROR;
        }
        aw->phase = CALL_SERVING;
        aw->value = tc_request_start((ThreadRequestObject *)aw->extra);
        step = aw->value == NULL
                   ? TC_ERROR
                   : tc_delegate_send(aw, Py_None, 0, result);
        return call_served(aw, task, step, result);
    case CALL_SERVING:
        step = tc_delegate_send(aw, sent, 0, result);
        return call_served(aw, task, step, result);
    case CALL_LEAVING:
        if (tc_trap_resume(aw, NULL) < 0) {
            return TC_ERROR;
        }
        call_answer(aw);
        aw->phase = CALL_WAITING;
        return tc_trap_wait(aw, task);
    default:
        return tc_trap_cancelled_step(aw);
    }
}

/* The call leaves a request behind that was being served. */
static void
call_drop_request(AwaitableObject *aw, TaskObject *task)
{
    ThreadRequestObject *request = (ThreadRequestObject *)aw->extra;
    aw->extra = NULL;
    if (request == NULL) {
        return;
    }
    if (request->saved_context != NULL && task != NULL) {
        PyObject *context = request->saved_context;
        request->saved_context = NULL;
        Py_SETREF(task->context, context);
    }
    /* LEAVING has an answer that was not sent. */
    PyObject *exc = PyErr_GetRaisedException();
    Py_CLEAR(request->value);
    Py_CLEAR(request->error);
    tc_request_give_up(request, "the task that waited for this thread has "
                                "stopped waiting");
    Py_DECREF(request);
    if (exc != NULL) {
        PyErr_SetRaisedException(exc);
    }
}

/* The call is over, one way or the other. */
static tc_step
call_finish(AwaitableObject *aw, TaskObject *task, tc_step step,
            PyObject **result)
{
    ThreadJobObject *job = (ThreadJobObject *)aw->owner;
    PyObject *exc = PyErr_GetRaisedException();
    call_drop_request(aw, task);
    Py_CLEAR(job->task);
    if (!job->in_thread) {
        job_forget(job);
    }
    if (call_uncount(aw) < 0) {
        Py_CLEAR(*result);
        if (exc != NULL) {
            Py_DECREF(exc);
        }
        return TC_ERROR;
    }
    if (exc != NULL) {
        PyErr_SetRaisedException(exc);
    }
    return step;
}

static tc_step
call_step(AwaitableObject *aw, PyObject *sent, PyObject **result)
{
    TaskObject *task = tc_trap_task(aw);
    if (task == NULL) {
        return TC_ERROR;
    }
    tc_step step = call_advance(aw, task, sent, result);
    return step == TC_YIELD ? step : call_finish(aw, task, step, result);
}

/* Something is thrown in at the await. */
static tc_step
call_thrown(AwaitableObject *aw, PyObject *exc, PyObject **result)
{
    TaskObject *task = tc_context_task(aw->st);
    tc_step step;
    int leaving = PyErr_GivenExceptionMatches(exc, PyExc_GeneratorExit);
    if (aw->value == NULL) {
        PyErr_SetRaisedException(Py_NewRef(exc));
        return call_finish(aw, task, TC_ERROR, result);
    }
    step = tc_delegate_throw(aw, exc, aw->phase == CALL_ACQUIRING, result);
    if (step == TC_YIELD) {
        return step;
    }
    if (aw->phase == CALL_SERVING && task != NULL && !leaving) {
        return call_served(aw, task, step, result);
    }
    if (step == TC_DONE) {
        /* The limiter has swallowed it, or the request a GeneratorExit. */
        Py_CLEAR(*result);
        if (aw->phase == CALL_ACQUIRING && task != NULL && !leaving
            && call_start_thread(aw, (ThreadJobObject *)aw->owner, task)
                   == 0) {
            aw->phase = CALL_WAITING;
            return tc_trap_wait(aw, task);
        }
        if (!PyErr_Occurred()) {
            PyErr_SetRaisedException(Py_NewRef(exc));
        }
    }
    return call_finish(aw, task, TC_ERROR, result);
}

static void
call_release(AwaitableObject *aw)
{
    ThreadJobObject *job = (ThreadJobObject *)aw->owner;
    call_drop_request(aw, NULL);
    if (job != NULL) {
        Py_CLEAR(job->task);
    }
    if (aw->flags & COUNTED) {
        PyObject *exc = PyErr_GetRaisedException();
        if (call_uncount(aw) < 0) {
            PyErr_WriteUnraisable((PyObject *)aw);
        }
        if (exc != NULL) {
            PyErr_SetRaisedException(exc);
        }
    }
}

static const tc_op call_op = {
    .name = "to_thread_run_sync",
    .qualname = "to_thread_run_sync",
    .step = call_step,
    .abort = call_abort,
    .thrown = call_thrown,
    .awaiting = tc_delegate_awaiting,
    .release = call_release,
};

/* to_thread_run_sync(sync_fn, *args, thread_name=None,
   abandon_on_cancel=False, limiter=None) */
static PyObject *
threads_run_sync(FunctionObject *func, PyObject *Py_UNUSED(self),
                 PyObject *const *args, Py_ssize_t nargs, PyObject *kwnames)
{
    static const tc_params params = {
        .fname = "to_thread_run_sync",
        .names = {"sync_fn", "thread_name", "abandon_on_cancel", "limiter"},
        .n_positional = 1,
        .n_required = 1,
    };
    tc_state *st = func->st;
    PyObject *a[4];
    PyObject *const *rest;
    Py_ssize_t n_rest;
    if (tc_args_parse_star(&params, args, nargs, kwnames, a, &rest, &n_rest)
        < 0) {
        return NULL;
    }
    ThreadJobObject *job
        = (ThreadJobObject *)st->ThreadJobType->tp_alloc(st->ThreadJobType,
                                                         0);
    if (job == NULL) {
        return NULL;
    }
    job->st = st;
    TC_LIVE_ADD(st, ThreadJobType);
    atomic_init(&job->cancel, NULL);
    job->fn = Py_NewRef(a[0]);
    job->name = Py_XNewRef(a[1]);
    job->abandon_arg = Py_XNewRef(a[2]);
    job->limiter = Py_XNewRef(a[3]);
    job->args = tc_threads_pack(rest, n_rest);
    AwaitableObject *aw = NULL;
    if (job->args != NULL) {
        aw = tc_awaitable_new(st, &call_op, (PyObject *)job);
    }
    Py_DECREF(job);
    return (PyObject *)aw;
}

static PyObject *
threads_default_limiter(FunctionObject *func, PyObject *Py_UNUSED(self),
                        PyObject *const *Py_UNUSED(args), Py_ssize_t nargs,
                        PyObject *kwnames)
{
    if (tc_args_none("current_default_thread_limiter", nargs, kwnames) < 0) {
        return NULL;
    }
    return call_default_limiter(func->st);
}

static PyObject *
threads_active_count(FunctionObject *func, PyObject *Py_UNUSED(self),
                     PyObject *const *Py_UNUSED(args), Py_ssize_t nargs,
                     PyObject *kwnames)
{
    if (tc_args_none("active_thread_count", nargs, kwnames) < 0) {
        return NULL;
    }
    RunnerObject *runner = tc_context_runner(func->st);
    if (runner == NULL) {
        PyErr_SetString(PyExc_RuntimeError,
                        "Cannot be used outside of a run context");
        return NULL;
    }
    return PyLong_FromSsize_t(runner->active_threads);
}

/* --- the type of jobs, which limiters get to see as the borrower ------- */

static PyObject *
job_get_name(PyObject *op, void *Py_UNUSED(closure))
{
    return PyUnicode_FromFormat(
        "trio.to_thread.run_sync-%llu",
        (unsigned long long)((ThreadJobObject *)op)->number);
}

static PyObject *
job_repr(PyObject *op)
{
    PyObject *name = job_get_name(op, NULL);
    if (name == NULL) {
        return NULL;
    }
    PyObject *repr
        = PyUnicode_FromFormat("ThreadPlaceholder(name=%R)", name);
    Py_DECREF(name);
    return repr;
}

static int
job_traverse(PyObject *op, visitproc visit, void *arg)
{
    ThreadJobObject *self = (ThreadJobObject *)op;
    Py_VISIT(Py_TYPE(op));
    Py_VISIT((PyObject *)self->token);
    Py_VISIT(self->fn);
    Py_VISIT(self->args);
    Py_VISIT(self->context);
    Py_VISIT(self->name);
    Py_VISIT(self->abandon_arg);
    Py_VISIT(self->limiter);
    Py_VISIT((PyObject *)self->task);
    Py_VISIT(self->cancels);
    Py_VISIT(self->value);
    Py_VISIT(self->error);
    return 0;
}

static int
job_clear(PyObject *op)
{
    ThreadJobObject *self = (ThreadJobObject *)op;
    job_forget(self);
    Py_CLEAR(self->value);
    Py_CLEAR(self->error);
    return 0;
}

static void
job_dealloc(PyObject *op)
{
    ThreadJobObject *self = (ThreadJobObject *)op;
    PyTypeObject *type = Py_TYPE(op);
    PyObject_GC_UnTrack(op);
    if (self->weakrefs != NULL) {
        PyObject_ClearWeakRefs(op);
    }
    TC_LIVE_SUB(self->st, ThreadJobType);
    job_clear(op);
    Py_CLEAR(self->cancels);
    Py_CLEAR(self->token);
    type->tp_free(op);
    Py_DECREF(type);
}

static PyGetSetDef job_getset[] = {
    {"name", job_get_name, NULL, NULL, NULL},
    {NULL, NULL, NULL, NULL, NULL},
};

static PyMemberDef job_members[] = {
    {"__weaklistoffset__", T_PYSSIZET, offsetof(ThreadJobObject, weakrefs),
     READONLY, NULL},
    {NULL, 0, 0, 0, NULL},
};

static PyType_Slot job_slots[] = {
    {Py_tp_dealloc, job_dealloc},
    {Py_tp_traverse, job_traverse},
    {Py_tp_clear, job_clear},
    {Py_tp_call, job_tp_call},
    {Py_tp_repr, job_repr},
    {Py_tp_getset, job_getset},
    {Py_tp_members, job_members},
    {0, NULL},
};

static PyType_Spec tc_thread_job_spec = {
    .name = "trio_c._threads.ThreadPlaceholder",
    .basicsize = sizeof(ThreadJobObject),
    .flags = Py_TPFLAGS_DEFAULT | Py_TPFLAGS_HAVE_GC
             | Py_TPFLAGS_DISALLOW_INSTANTIATION,
    .slots = job_slots,
};

static const tc_function_def threads_functions[] = {
    {"to_thread_run_sync", "trio_c._threads", threads_run_sync},
    {"current_default_thread_limiter", "trio_c._threads",
     threads_default_limiter},
    {"active_thread_count", "trio_c._threads", threads_active_count},
    {NULL, NULL, NULL},
};

int
tc_threads_register(tc_state *st)
{
    st->str_acquire_on_behalf_of
        = PyUnicode_InternFromString("acquire_on_behalf_of");
    st->str_release_on_behalf_of
        = PyUnicode_InternFromString("release_on_behalf_of");
    st->limiter_var = tc_runvar_new(st, "limiter");
    st->threads_idle_var = tc_runvar_new(st, "threads_idle");
    if (st->str_acquire_on_behalf_of == NULL
        || st->str_release_on_behalf_of == NULL || st->limiter_var == NULL
        || st->threads_idle_var == NULL
        || PyModule_AddObjectRef(st->module, "_limiter_local",
                                 st->limiter_var) < 0
        || PyModule_AddObjectRef(st->module, "_threads_idle",
                                 st->threads_idle_var) < 0
        || tc_state_add_type(st, &st->ThreadJobType, &tc_thread_job_spec,
                             NULL, "ThreadPlaceholder") < 0) {
        return -1;
    }
    return tc_function_add_to_module(st, threads_functions);
}
