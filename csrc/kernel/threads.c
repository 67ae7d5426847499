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
 * - A request in `extra` is answered before it is dropped.
 * - COUNTED is set in `flags` as long as the call counts as an active thread.
 */
#include "threads.h"
#include "../glue/args.h"
#include "../glue/errors.h"
#include "../glue/function.h"
#include "delegate.h"
#include "request.h"
#include "runner.h"
#include "runvar.h"
#include "thread_cache.h"
#include "thread_job.h"
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

/* --- counting active threads ------------------------------------------- */

static void
call_count(AwaitableObject *aw, RunnerObject *runner)
{
    aw->flags |= COUNTED;
    runner->active_threads++;
}

/* Whoever waits for the last one to go has left an Event in the run. A call
   that has outlived its run counts nowhere. */
static int
call_uncount(AwaitableObject *aw)
{
    ThreadJobObject *job = (ThreadJobObject *)aw->owner;
    RunnerObject *runner = tc_context_runner(aw->st);
    if (!(aw->flags & COUNTED)) {
        return 0;
    }
    aw->flags &= (uint8_t)~COUNTED;
    if (runner == NULL || job == NULL || job->token == NULL
        || runner->trio_token != (PyObject *)job->token
        || --runner->active_threads > 0) {
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
        tc_error_from_none();
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
    PyObject *cvar = tc_state_peek(&st->sniffio_cvar);
    if (cvar == NULL) {
        PyObject *module = PyImport_ImportModule("sniffio");
        if (module == NULL) {
            return NULL;
        }
        cvar = PyObject_GetAttrString(module, "current_async_library_cvar");
        Py_DECREF(module);
        if (cvar == NULL) {
            return NULL;
        }
        cvar = tc_state_publish(&st->sniffio_cvar, cvar);
    }
    PyObject *context = PyContext_CopyCurrent();
    if (context == NULL || PyContext_Enter(context) < 0) {
        Py_XDECREF(context);
        return NULL;
    }
    PyObject *token = PyContextVar_Set(cvar, Py_None);
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
    int r = tc_thread_job_enter_thread(job);
    if (r == 0) {
        PyObject *name = Py_NewRef(job->name);
        job->task = (TaskObject *)Py_NewRef((PyObject *)task);
        call_count(aw, task->runner);
        r = tc_thread_cache_start(aw->st, (PyObject *)job, (PyObject *)job,
                                  name);
        Py_DECREF(name);
        if (r < 0) {
            tc_thread_job_leave_thread(job);
        }
    }
    if (r < 0) {
        Py_CLEAR(job->task);
        PyObject *exc = PyErr_GetRaisedException();
        if (tc_thread_job_release_token(job, exc) < 0) {
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
    PyObject *error = PyErr_GetRaisedException();
    if (request->is_answered) {
        /* The run has given it up; the answer is nobody's any more. */
        Py_XDECREF(error);
        Py_CLEAR(*result);
    }
    else {
        request->error = error;
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
    if (request->is_answered) {
        /* The run has given it up. */
    }
    else if (request->error != NULL) {
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
    PyObject *exc = PyErr_GetRaisedException();
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
        tc_thread_job_forget(job);
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
    Py_INCREF(task);  /* limiters are foreign code, maybe a greenlet's */
    tc_step step = call_advance(aw, task, sent, result);
    if (step != TC_YIELD) {
        step = call_finish(aw, task, step, result);
    }
    Py_DECREF(task);
    return step;
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

/* cancellable=, as abandon_on_cancel= was called once: warn. 0 or -1. */
static int
threads_old_keyword(tc_state *st, PyObject *const *given)
{
    if (given[2] != NULL) {
        PyErr_SetString(PyExc_TypeError,
                        "to_thread_run_sync() got both 'abandon_on_cancel' "
                        "and 'cancellable', which is its old name");
        return -1;
    }
    PyObject *helpers = tc_state_helpers(st);
    if (helpers == NULL) {
        return -1;
    }
    PyObject *r = PyObject_CallMethod(helpers, "warn_cancellable", NULL);
    Py_XDECREF(r);
    return r == NULL ? -1 : 0;
}

/* to_thread_run_sync(sync_fn, *args, thread_name=None,
   abandon_on_cancel=False, limiter=None) */
static PyObject *
threads_run_sync(FunctionObject *func, PyObject *Py_UNUSED(self),
                 PyObject *const *args, Py_ssize_t nargs, PyObject *kwnames)
{
    static const tc_params params = {
        .fname = "to_thread_run_sync",
        .names = {"sync_fn", "thread_name", "abandon_on_cancel", "limiter",
                  "cancellable"},
        .n_positional = 1,
        .n_required = 1,
    };
    tc_state *st = func->st;
    PyObject *a[5];
    PyObject *const *rest;
    Py_ssize_t n_rest;
    if (tc_args_parse_star(&params, args, nargs, kwnames, a, &rest, &n_rest)
        < 0) {
        return NULL;
    }
    if (a[4] != NULL) {
        if (threads_old_keyword(st, a) < 0) {
            return NULL;
        }
        a[2] = a[4];
    }
    ThreadJobObject *job = tc_thread_job_new(st, a[0], rest, n_rest);
    if (job == NULL) {
        return NULL;
    }
    job->name = Py_XNewRef(a[1]);
    job->abandon_arg = Py_XNewRef(a[2]);
    job->limiter = Py_XNewRef(a[3]);
    AwaitableObject *aw = tc_awaitable_new(st, &call_op, (PyObject *)job);
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
        tc_error_from_none();
        return NULL;
    }
    return PyLong_FromSsize_t(runner->active_threads);
}

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
    st->limiter_var = tc_runvar_new(st, "limiter");
    st->threads_idle_var = tc_runvar_new(st, "threads_idle");
    if (st->limiter_var == NULL || st->threads_idle_var == NULL
        || PyModule_AddObjectRef(st->module, "_limiter_local",
                                 st->limiter_var) < 0
        || PyModule_AddObjectRef(st->module, "_threads_idle",
                                 st->threads_idle_var) < 0) {
        return -1;
    }
    return tc_function_add_to_module(st, threads_functions);
}
