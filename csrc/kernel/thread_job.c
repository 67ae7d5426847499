/* thread_job.c - one call of to_thread.run_sync, as its thread sees it.
 *
 * Invariants
 * - While in_thread is set the thread may use what the job holds, so it stays.
 * - The limiter's token is released exactly once for each time it was got: by
 *   the job's report to the run, or at once if no thread could be started. A
 *   run that has ended gets no report.
 * - A job is run once and delivered once, whoever calls it: everybody who can
 *   see a limiter's borrowers can.
 */
#include "thread_job.h"
#include "../glue/awaitable.h"
#include "../glue/errors.h"
#include "entry_queue.h"
#include "task.h"

enum { JOB_RUN = 1, JOB_DELIVERY = 2 };  /* `claimed` */

static _Thread_local ThreadJobObject *job_current;  /* borrowed */

ThreadJobObject *
tc_thread_current_job(void)
{
    return job_current;
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

/* 0: it is the caller's to do; -1 with exception. */
static int
job_claim(ThreadJobObject *self, uint8_t what)
{
    if (!self->in_thread || self->context == NULL || self->claimed & what) {
        PyErr_SetString(PyExc_RuntimeError,
                        "a thread's job is called by its thread, once");
        return -1;
    }
    self->claimed |= what;
    return 0;
}

/* fn(*args) in the job's context. Who delivers meanwhile, instead of the
   thread, may make the job forget them. */
static PyObject *
job_call(ThreadJobObject *self)
{
    PyObject *context = Py_NewRef(self->context);
    PyObject *fn = Py_NewRef(self->fn);
    PyObject *args = Py_NewRef(self->args);
    PyObject *value = NULL;
    if (PyContext_Enter(context) == 0) {
        value = PyObject_Call(fn, args, NULL);
        if (PyContext_Exit(context) < 0) {
            Py_CLEAR(value);
        }
    }
    if (value != NULL && tc_threads_is_coroutine(self->st, value)) {
        value = tc_threads_refuse_coroutine(
            value, fn,
            "Trio expected a sync function, but %R appears to be "
            "asynchronous");
    }
    Py_DECREF(context);
    Py_DECREF(fn);
    Py_DECREF(args);
    return value;
}

/* What fn gives, in this thread, if it is still to be called. */
static PyObject *
job_run(ThreadJobObject *self)
{
    if (job_claim(self, JOB_RUN) < 0) {
        return NULL;
    }
    ThreadJobObject *outer = job_current;
    job_current = self;
    atomic_store(&self->thread, PyThread_get_thread_ident());
    PyObject *value = job_call(self);
    atomic_store(&self->thread, 0);
    job_current = outer;
    return value;
}

/* Steals both; one is NULL. Delivered, the outcome is the run's. */
static void
job_keep(ThreadJobObject *self, PyObject *value, PyObject *error)
{
    if (self->claimed & JOB_DELIVERY) {
        Py_XDECREF(value);
        Py_XDECREF(error);
        return;
    }
    PyObject *old_value = self->value, *old_error = self->error;
    self->value = value;
    self->error = error;
    Py_XDECREF(old_value);
    Py_XDECREF(old_error);
}

void
tc_thread_job_run(ThreadJobObject *self)
{
    PyObject *value = job_run(self);
    job_keep(self, value,
             value == NULL ? PyErr_GetRaisedException() : NULL);
}

int
tc_thread_job_enter_thread(ThreadJobObject *self)
{
    if (tc_entry_queue_reserve(self->token->queue) < 0) {
        return -1;
    }
    self->in_thread = 1;
    return 0;
}

void
tc_thread_job_leave_thread(ThreadJobObject *self)
{
    self->in_thread = 0;
    if (!(self->claimed & JOB_DELIVERY)) {
        tc_entry_queue_unreserve(self->token->queue);
    }
}

static const tc_native_job job_report_job;

int
tc_thread_job_deliver(ThreadJobObject *self, tc_jobs **bell)
{
    if (job_claim(self, JOB_DELIVERY) < 0) {
        return -1;
    }
    if (tc_entry_queue_push_native(self->token->queue, &job_report_job,
                                   (PyObject *)self, TC_JOBS_RESERVED,
                                   bell) < 0) {
        /* The run is over; nobody wants to know. A limiter that outlives it
           still has the job as a borrower, so let go of what the job has. */
        if (!PyErr_ExceptionMatches(self->st->exc_RunFinishedError)) {
            return -1;
        }
        PyErr_Clear();
        tc_thread_job_forget(self);
        Py_CLEAR(self->value);
        Py_CLEAR(self->error);
        Py_CLEAR(self->token);
        atomic_store(&self->cancel, NULL);
        Py_CLEAR(self->cancels);
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
        return job_run(self);
    }
    PyObject *value
        = PyObject_CallMethodNoArgs(outcome, self->st->str_unwrap);
    job_keep(self, value,
             value == NULL ? PyErr_GetRaisedException() : NULL);
    if (tc_thread_job_deliver(self, NULL) < 0) {
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

/* As a finally block would. */
int
tc_thread_job_release_token(ThreadJobObject *self, PyObject *cause)
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

void
tc_thread_job_forget(ThreadJobObject *self)
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
    if (!self->in_thread) {
        return 0;  /* delivered twice, by a thread cache of somebody's own */
    }
    self->in_thread = 0;
    if (tc_thread_job_release_token(self, self->error) < 0) {
        Py_CLEAR(self->value);
        Py_XSETREF(self->error, PyErr_GetRaisedException());
    }
    TaskObject *task = self->task;
    if (task == NULL) {
        tc_thread_job_forget(self);
        return 0;
    }
    return tc_task_reschedule_checked(task->runner, task, Py_NewRef(op),
                                      NULL);
}

static const tc_native_job job_report_job = {job_report, NULL};

/* --- the type of jobs, which limiters get to see as the borrower ------- */

ThreadJobObject *
tc_thread_job_new(tc_state *st, PyObject *fn, PyObject *const *args,
                  Py_ssize_t nargs)
{
    ThreadJobObject *self
        = (ThreadJobObject *)st->ThreadJobType->tp_alloc(st->ThreadJobType,
                                                         0);
    if (self == NULL) {
        return NULL;
    }
    self->st = st;
    TC_LIVE_ADD(st, ThreadJobType);
    atomic_init(&self->cancel, NULL);
    atomic_init(&self->thread, 0);
    self->fn = Py_NewRef(fn);
    self->args = tc_threads_pack(args, nargs);
    if (self->args == NULL) {
        Py_CLEAR(self);
    }
    return self;
}

static PyObject *
job_get_name(PyObject *op, void *Py_UNUSED(closure))
{
    return PyUnicode_FromFormat(
        "trio.to_thread.run_sync-%llu",
        (unsigned long long)((ThreadJobObject *)op)->number);
}

/* Who calls the function right now: threading.get_ident() there, or None. */
static PyObject *
job_get_thread(PyObject *op, void *Py_UNUSED(closure))
{
    unsigned long thread = atomic_load(&((ThreadJobObject *)op)->thread);
    if (thread == 0) {
        Py_RETURN_NONE;
    }
    return PyLong_FromUnsignedLong(thread);
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
    tc_thread_job_forget(self);
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
    {"_thread", job_get_thread, NULL, NULL, NULL},
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

int
tc_thread_job_register(tc_state *st)
{
    st->str_acquire_on_behalf_of
        = PyUnicode_InternFromString("acquire_on_behalf_of");
    st->str_release_on_behalf_of
        = PyUnicode_InternFromString("release_on_behalf_of");
    if (st->str_acquire_on_behalf_of == NULL
        || st->str_release_on_behalf_of == NULL) {
        return -1;
    }
    return tc_state_add_type(st, &st->ThreadJobType, &tc_thread_job_spec,
                             NULL, "ThreadPlaceholder");
}
