/* traps.c - checkpoints, wait_task_rescheduled, detaching coroutines.
 *
 * These are the only operations that talk to the run loop; everything else
 * that sleeps does so through trap.h with the same three requests.
 */
#include "../glue/args.h"
#include "../glue/errors.h"
#include "../glue/function.h"
#include "nursery.h"
#include "trap.h"

/* --- delivering what a waker left --------------------------------------- */

int
tc_trap_resume(AwaitableObject *self, PyObject **value)
{
    if (value != NULL) {
        *value = NULL;
    }
    TaskObject *task = self->task;
    if (task == NULL || !task->running) {
        /* Driven by hand; else the running task is the one that slept. */
        task = tc_context_need_task(self->st);
        if (task == NULL) {
            return -1;
        }
        if (task != self->task) {
            Py_XSETREF(self->task,
                       (TaskObject *)Py_NewRef((PyObject *)task));
        }
    }
    PyObject *error = task->wake_error;
    if (error != NULL) {
        task->wake_error = NULL;
        tc_error_raise(error);
        Py_DECREF(error);
        return -1;
    }
    PyObject *got = task->wake_value;
    task->wake_value = NULL;
    if (value != NULL) {
        *value = got;
    }
    else {
        Py_XDECREF(got);
    }
    return 0;
}

tc_step
tc_trap_cancel_point(AwaitableObject *self, TaskObject *task)
{
    if (!tc_trap_is_cancelled(task)) {
        task->cancel_points++;
        return TC_DONE;
    }
    self->phase = TC_PHASE_CANCELLED;
    return tc_trap_checkpoint(self, task);
}

/* Whoever sees the pending Ctrl-C at a checkpoint is told so. */
static int
trap_note_ki(TaskObject *task)
{
    CancelScopeObject *scope = task->scope;
    if (scope->reason == NULL && task == task->runner->main_task
        && task->runner->ki_pending) {
        scope->reason = tc_reason_new(task->runner->st, "KeyboardInterrupt",
                                      NULL, NULL);
        return scope->reason == NULL ? -1 : 0;
    }
    return 0;
}

/* The cancel check after a schedule point: TC_DONE if there is nothing to
   see, else a wait that the run loop aborts at once. */
static tc_step
trap_check(AwaitableObject *self, uint8_t next_phase)
{
    TaskObject *task = self->task;
    task->cancel_points++;
    if (!tc_trap_is_cancelled(task)) {
        return TC_DONE;
    }
    if (trap_note_ki(task) < 0) {
        return TC_ERROR;
    }
    self->phase = next_phase;
    if (task->scope->abandoned) {
        self->flags |= TC_STRAYED;
    }
    return tc_trap_wait(self, task);
}

/* That wait has raised. If the cancellation was withdrawn in the meantime, by
   a shield, the Cancelled goes no further: as if the wait had a scope of its
   own that is cancelled too. That scope would also have been lost together
   with the one around it, and what is lost swallows its Cancelled. */
static int
trap_is_withdrawn(AwaitableObject *self)
{
    CancelScopeObject *scope = self->task != NULL ? self->task->scope : NULL;
    if (scope == NULL
        || (scope->effectively_cancelled
            && (!scope->abandoned || (self->flags & TC_STRAYED)))
        || !PyErr_ExceptionMatches((PyObject *)self->st->CancelledType)) {
        return 0;
    }
    PyErr_Clear();
    return 1;
}

tc_step
tc_trap_cancelled_step(AwaitableObject *self)
{
    if (tc_trap_resume(self, NULL) < 0
        && (self->phase == TC_PHASE_CANCELLED || !trap_is_withdrawn(self))) {
        return TC_ERROR;
    }
    if (self->phase == TC_PHASE_CANCELLED) {
        tc_step step = trap_check(self, TC_PHASE_CANCELLED + 1);
        if (step != TC_DONE) {
            return step;
        }
    }
    PyErr_SetString(PyExc_AssertionError,
                    "the cancellation was withdrawn while it was delivered");
    return TC_ERROR;
}

/* --- aborts ------------------------------------------------------------ */

PyObject *
tc_abort_exception(const tc_abort *why)
{
    if (why->kind == TC_ABORT_CANCEL) {
        return tc_cancelled_new(why->st, why->reason);
    }
    PyObject *exc = PyObject_CallNoArgs(PyExc_KeyboardInterrupt);
    if (exc != NULL) {
        why->runner->ki_pending = 0;
    }
    return exc;
}

/* raise_cancel: may be kept, called late, often, from other threads. */
typedef struct {
    PyObject_HEAD
    tc_state *st;            /* borrowed */
    int kind;                /* of tc_abort */
    RunnerObject *runner;    /* owned */
    PyObject *reason;        /* owned or NULL */
} RaiseCancelObject;

PyObject *
tc_abort_callable(const tc_abort *why)
{
    RaiseCancelObject *self
        = PyObject_GC_New(RaiseCancelObject, why->st->RaiseCancelType);
    if (self == NULL) {
        return NULL;
    }
    self->st = why->st;
    self->kind = why->kind;
    self->runner = (RunnerObject *)Py_NewRef((PyObject *)why->runner);
    self->reason = Py_XNewRef(why->reason);
    PyObject_GC_Track(self);
    return (PyObject *)self;
}

static PyObject *
raise_cancel_call(PyObject *op, PyObject *args, PyObject *kwargs)
{
    RaiseCancelObject *self = (RaiseCancelObject *)op;
    if (PyTuple_GET_SIZE(args) != 0
        || (kwargs != NULL && PyDict_GET_SIZE(kwargs) != 0)) {
        PyErr_SetString(PyExc_TypeError,
                        "raise_cancel() takes no arguments");
        return NULL;
    }
    tc_abort why = {
        .kind = self->kind,
        .st = self->st,
        .runner = self->runner,
        .reason = self->reason,
    };
    PyObject *exc = tc_abort_exception(&why);
    if (exc != NULL) {
        tc_error_raise(exc);
        Py_DECREF(exc);
    }
    return NULL;
}

static int
raise_cancel_traverse(PyObject *op, visitproc visit, void *arg)
{
    RaiseCancelObject *self = (RaiseCancelObject *)op;
    Py_VISIT(Py_TYPE(op));
    Py_VISIT((PyObject *)self->runner);
    Py_VISIT(self->reason);
    return 0;
}

static int
raise_cancel_clear(PyObject *op)
{
    /* runner stays for late calls; it never refers back to us */
    Py_CLEAR(((RaiseCancelObject *)op)->reason);
    return 0;
}

static void
raise_cancel_dealloc(PyObject *op)
{
    RaiseCancelObject *self = (RaiseCancelObject *)op;
    PyTypeObject *type = Py_TYPE(op);
    PyObject_GC_UnTrack(op);
    raise_cancel_clear(op);
    Py_CLEAR(self->runner);
    type->tp_free(op);
    Py_DECREF(type);
}

static PyType_Slot raise_cancel_slots[] = {
    {Py_tp_dealloc, raise_cancel_dealloc},
    {Py_tp_traverse, raise_cancel_traverse},
    {Py_tp_clear, raise_cancel_clear},
    {Py_tp_call, raise_cancel_call},
    {0, NULL},
};

static PyType_Spec tc_raise_cancel_spec = {
    .name = "trio_c._native.raise_cancel",
    .basicsize = sizeof(RaiseCancelObject),
    .flags = Py_TPFLAGS_DEFAULT | Py_TPFLAGS_HAVE_GC
             | Py_TPFLAGS_IMMUTABLETYPE
             | Py_TPFLAGS_DISALLOW_INSTANTIATION,
    .slots = raise_cancel_slots,
};

/* --- checkpoints ------------------------------------------------------- */

/* checkpoint(): the schedule point first, so that deadlines are fresh when
   cancellation is looked at. */
tc_step
tc_checkpoint_step(AwaitableObject *self, PyObject *Py_UNUSED(sent),
                   PyObject **Py_UNUSED(result))
{
    if (self->phase == 0) {
        /* Upstream yields before it looks for a task; driven by hand outside
           a run, the first step must yield too. */
        TaskObject *task = tc_context_task(self->st);
        self->phase = 1;
        return task == NULL ? TC_YIELD : tc_trap_checkpoint(self, task);
    }
    if (tc_trap_resume(self, NULL) < 0
        && (self->phase == 1 || !trap_is_withdrawn(self))) {
        return TC_ERROR;
    }
    return self->phase == 1 ? trap_check(self, 2) : TC_DONE;
}

static const tc_op checkpoint_op = {
    .name = "checkpoint",
    .qualname = "checkpoint",
    .step = tc_checkpoint_step,
};

static tc_step
checkpoint_if_cancelled_step(AwaitableObject *self, PyObject *Py_UNUSED(sent),
                             PyObject **Py_UNUSED(result))
{
    if (self->phase >= TC_PHASE_CANCELLED) {
        return tc_trap_cancelled_step(self);
    }
    TaskObject *task = tc_trap_task(self);
    return task == NULL ? TC_ERROR : tc_trap_cancel_point(self, task);
}

static const tc_op checkpoint_if_cancelled_op = {
    .name = "checkpoint_if_cancelled",
    .qualname = "checkpoint_if_cancelled",
    .step = checkpoint_if_cancelled_step,
};

static tc_step
shielded_checkpoint_step(AwaitableObject *self, PyObject *Py_UNUSED(sent),
                         PyObject **Py_UNUSED(result))
{
    if (self->phase == 0) {
        TaskObject *task = tc_context_task(self->st);
        self->phase = 1;
        return task == NULL ? TC_YIELD : tc_trap_checkpoint(self, task);
    }
    return tc_trap_resume(self, NULL) < 0 ? TC_ERROR : TC_DONE;
}

static const tc_op shielded_checkpoint_op = {
    .name = "cancel_shielded_checkpoint",
    .qualname = "cancel_shielded_checkpoint",
    .step = shielded_checkpoint_step,
};

/* --- waits with a Python abort function -------------------------------- */

static tc_abort_result
wait_abort(AwaitableObject *self, tc_abort *why)
{
    tc_state *st = self->st;
    if (self->value == Py_None) {
        return TC_ABORT_FAILED;  /* a wait that nothing aborts */
    }
    PyObject *abort_enum = tc_traps_abort_enum(st);
    if (abort_enum == NULL) {
        return TC_ABORT_ERROR;
    }
    PyObject *raise_cancel = tc_abort_callable(why);
    if (raise_cancel == NULL) {
        return TC_ABORT_ERROR;
    }
    PyObject *abort_fn = Py_NewRef(self->value);
    tc_ki_mark mark;
    PyObject *answer = NULL;
    if (tc_ki_enter(&mark, 1) == 0) {
        answer = PyObject_CallOneArg(abort_fn, raise_cancel);
        tc_ki_leave(&mark);
    }
    Py_DECREF(abort_fn);
    Py_DECREF(raise_cancel);
    if (answer == NULL) {
        return TC_ABORT_ERROR;
    }
    tc_abort_result result = TC_ABORT_ERROR;
    if (answer == st->abort_succeeded) {
        result = TC_ABORT_SUCCEEDED;
    }
    else if (answer == st->abort_failed) {
        result = TC_ABORT_FAILED;
    }
    else {
        PyErr_SetString(st->exc_TrioInternalError,
                        "abort function must return Abort enum");
    }
    Py_DECREF(answer);
    return result;
}

static tc_step
wait_step(AwaitableObject *self, PyObject *Py_UNUSED(sent),
          PyObject **result)
{
    if (self->phase == 0) {
        TaskObject *task = tc_context_task(self->st);
        self->phase = 1;
        return task == NULL ? TC_YIELD : tc_trap_wait(self, task);
    }
    return tc_trap_resume(self, result) < 0 ? TC_ERROR : TC_DONE;
}

static const tc_op wait_op = {
    .name = "wait_task_rescheduled",
    .qualname = "wait_task_rescheduled",
    .step = wait_step,
    .abort = wait_abort,
};

/* Resumed by a foreign driver: what it sends is the result. But if the run
   loop resumes it after all (an abort, reattaching), what was left in the
   task is. */
static tc_step
temporarily_detach_step(AwaitableObject *self, PyObject *sent,
                        PyObject **result)
{
    if (self->phase == 0) {
        TaskObject *task = tc_trap_task(self);
        if (task == NULL) {
            return TC_ERROR;
        }
        self->phase = 1;
        return tc_trap_wait(self, task);
    }
    TaskObject *task = tc_context_task(self->st);
    if (task != NULL && task == self->task
        && (task->wake_error != NULL || task->wake_value != NULL)) {
        return tc_trap_resume(self, result) < 0 ? TC_ERROR : TC_DONE;
    }
    *result = Py_NewRef(sent);
    return TC_DONE;
}

static const tc_op temporarily_detach_op = {
    .name = "temporarily_detach_coroutine_object",
    .qualname = "temporarily_detach_coroutine_object",
    .step = temporarily_detach_step,
    .abort = wait_abort,
};

static tc_step
permanently_detach_step(AwaitableObject *self, PyObject *sent,
                        PyObject **result)
{
    if (self->phase == 0) {
        TaskObject *task = tc_trap_task(self);
        if (task == NULL) {
            return TC_ERROR;
        }
        if (task->nursery != NULL) {
            PyErr_SetString(PyExc_RuntimeError,
                            "can't permanently detach a coroutine object "
                            "with open nurseries");
            return TC_ERROR;
        }
        self->phase = 1;
        return tc_trap_yield(self, task, TC_TRAP_DETACH);
    }
    *result = Py_NewRef(sent);
    return TC_DONE;
}

static const tc_op permanently_detach_op = {
    .name = "permanently_detach_coroutine_object",
    .qualname = "permanently_detach_coroutine_object",
    .step = permanently_detach_step,
};

/* owner: the task; value: what to yield to the foreign driver. */
static tc_step
reattach_step(AwaitableObject *self, PyObject *Py_UNUSED(sent),
              PyObject **result)
{
    TaskObject *task = (TaskObject *)self->owner;
    if (self->phase == 1) {
        return tc_trap_resume(self, NULL) < 0 ? TC_ERROR : TC_DONE;
    }
    PyObject *running = PyObject_GetAttrString(task->coro, "cr_running");
    if (running == NULL) {
        return TC_ERROR;
    }
    int is_running = PyObject_IsTrue(running);
    Py_DECREF(running);
    if (is_running < 0) {
        return TC_ERROR;
    }
    if (!is_running) {
        PyErr_SetString(PyExc_RuntimeError,
                        "given task does not match calling coroutine");
        return TC_ERROR;
    }
    RunnerObject *runner = tc_context_need_runner(self->st);
    if (runner == NULL
        || tc_task_reschedule_checked(runner, task, NULL, NULL) < 0) {
        return TC_ERROR;
    }
    self->phase = 1;
    *result = Py_NewRef(self->value);
    return TC_YIELD;
}

static const tc_op reattach_op = {
    .name = "reattach_detached_coroutine_object",
    .qualname = "reattach_detached_coroutine_object",
    .step = reattach_step,
};

/* --- the functions ----------------------------------------------------- */

static PyObject *
checkpoint_impl(FunctionObject *func, PyObject *Py_UNUSED(self),
                PyObject *const *Py_UNUSED(args), Py_ssize_t nargs,
                PyObject *kwnames)
{
    if (tc_args_none("checkpoint", nargs, kwnames) < 0) {
        return NULL;
    }
    return (PyObject *)tc_awaitable_new(func->st, &checkpoint_op, NULL);
}

static PyObject *
checkpoint_if_cancelled_impl(FunctionObject *func, PyObject *Py_UNUSED(self),
                             PyObject *const *Py_UNUSED(args),
                             Py_ssize_t nargs, PyObject *kwnames)
{
    if (tc_args_none("checkpoint_if_cancelled", nargs, kwnames) < 0) {
        return NULL;
    }
    return (PyObject *)tc_awaitable_new(func->st,
                                        &checkpoint_if_cancelled_op, NULL);
}

static PyObject *
shielded_checkpoint_impl(FunctionObject *func, PyObject *Py_UNUSED(self),
                         PyObject *const *Py_UNUSED(args), Py_ssize_t nargs,
                         PyObject *kwnames)
{
    if (tc_args_none("cancel_shielded_checkpoint", nargs, kwnames) < 0) {
        return NULL;
    }
    return (PyObject *)tc_awaitable_new(func->st, &shielded_checkpoint_op,
                                        NULL);
}

/* The functions that take one argument, kept in `value`. */
static PyObject *
trap_one_argument(FunctionObject *func, const tc_op *op, const char *name,
                  PyObject *const *args, Py_ssize_t nargs, PyObject *kwnames)
{
    tc_params params = {
        .fname = op->name,
        .names = {name},
        .n_positional = 1,
        .n_required = 1,
    };
    PyObject *a[1];
    if (tc_args_parse(&params, args, nargs, kwnames, a) < 0) {
        return NULL;
    }
    AwaitableObject *aw = tc_awaitable_new(func->st, op, NULL);
    if (aw != NULL) {
        aw->value = Py_NewRef(a[0]);
    }
    return (PyObject *)aw;
}

static PyObject *
wait_impl(FunctionObject *func, PyObject *Py_UNUSED(self),
          PyObject *const *args, Py_ssize_t nargs, PyObject *kwnames)
{
    return trap_one_argument(func, &wait_op, "abort_func", args, nargs,
                             kwnames);
}

static PyObject *
temporarily_detach_impl(FunctionObject *func, PyObject *Py_UNUSED(self),
                        PyObject *const *args, Py_ssize_t nargs,
                        PyObject *kwnames)
{
    return trap_one_argument(func, &temporarily_detach_op, "abort_func", args,
                             nargs, kwnames);
}

static PyObject *
permanently_detach_impl(FunctionObject *func, PyObject *Py_UNUSED(self),
                        PyObject *const *args, Py_ssize_t nargs,
                        PyObject *kwnames)
{
    return trap_one_argument(func, &permanently_detach_op, "final_outcome",
                             args, nargs, kwnames);
}

static PyObject *
reattach_impl(FunctionObject *func, PyObject *Py_UNUSED(self),
              PyObject *const *args, Py_ssize_t nargs, PyObject *kwnames)
{
    static const tc_params params = {
        .fname = "reattach_detached_coroutine_object",
        .names = {"task", "yield_value"},
        .n_positional = 2,
        .n_required = 2,
    };
    PyObject *a[2];
    if (tc_args_parse(&params, args, nargs, kwnames, a) < 0) {
        return NULL;
    }
    if (!Task_CheckExact(func->st, a[0])) {
        PyErr_Format(PyExc_TypeError, "task must be a Task, not %s",
                     Py_TYPE(a[0])->tp_name);
        return NULL;
    }
    AwaitableObject *aw = tc_awaitable_new(func->st, &reattach_op, a[0]);
    if (aw != NULL) {
        aw->value = Py_NewRef(a[1]);
    }
    return (PyObject *)aw;
}

static const tc_function_def trap_functions[] = {
    {"checkpoint", "trio_c.lowlevel", checkpoint_impl},
    {"checkpoint_if_cancelled", "trio_c.lowlevel",
     checkpoint_if_cancelled_impl},
    {"cancel_shielded_checkpoint", "trio_c.lowlevel",
     shielded_checkpoint_impl},
    {"wait_task_rescheduled", "trio_c.lowlevel", wait_impl},
    {"temporarily_detach_coroutine_object", "trio_c.lowlevel",
     temporarily_detach_impl},
    {"permanently_detach_coroutine_object", "trio_c.lowlevel",
     permanently_detach_impl},
    {"reattach_detached_coroutine_object", "trio_c.lowlevel",
     reattach_impl},
    {NULL, NULL, NULL},
};

/* Abort is an enum.Enum, made when first needed: enum is slow to import.
   Borrowed. */
PyObject *
tc_traps_abort_enum(tc_state *st)
{
    PyObject *known = tc_state_peek(&st->abort_enum);
    if (known != NULL) {
        return known;
    }
    PyObject *mod = PyImport_ImportModule("trio_c._core._abort");
    if (mod == NULL) {
        return NULL;
    }
    PyObject *cls = PyObject_GetAttrString(mod, "Abort");
    Py_DECREF(mod);
    if (cls == NULL) {
        return NULL;
    }
    PyObject *succeeded = PyObject_GetAttrString(cls, "SUCCEEDED");
    PyObject *failed = PyObject_GetAttrString(cls, "FAILED");
    if (succeeded == NULL || failed == NULL) {
        Py_XDECREF(succeeded);
        Py_XDECREF(failed);
        Py_DECREF(cls);
        return NULL;
    }
    /* The class last: who sees it sees its members. */
    (void)tc_state_publish(&st->abort_succeeded, succeeded);
    (void)tc_state_publish(&st->abort_failed, failed);
    return tc_state_publish(&st->abort_enum, cls);
}

int
tc_traps_register(tc_state *st)
{
    if (tc_state_add_type(st, &st->RaiseCancelType, &tc_raise_cancel_spec,
                          NULL, NULL)
        < 0) {
        return -1;
    }
    return tc_function_add_to_module(st, trap_functions);
}
