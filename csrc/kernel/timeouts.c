/* timeouts.c - sleeping, and scopes with a time limit.
 *
 * sleep(), sleep_until(): the awaitable is a node of runner->deadlines.timers
 * from its first step until it is woken or aborted. All is as if it had slept
 * in a scope of its own with that deadline. So if the surrounding scope was
 * cancelled while the wake-up was on its way, the sleeper gets a Cancelled,
 * and that still speaks of the deadline.
 */
#include "timeouts.h"

#include <math.h>

#include "../glue/args.h"
#include "../glue/errors.h"
#include "../glue/function.h"
#include "../glue/types.h"
#include "trap.h"

/* --- sleeping ---------------------------------------------------------- */

/* flags */
enum {
    SLEEP_NOT = 1,       /* sleep(0), a plain checkpoint */
    SLEEP_STRAYED = 2,   /* the scope around it had been lost before */
};

static void
sleep_abandon(AwaitableObject *self)
{
    if (!(self->flags & SLEEP_NOT) && tc_heap_contains(&self->u.timer)) {
        tc_heap_remove(&self->task->runner->deadlines.timers,
                       &self->u.timer);
    }
}

/* The deadline stays until the task has seen that it was cancelled, as that of
   a scope does until it is left. If it had passed before, that comes first, as
   for a scope. */
static tc_abort_result
sleep_abort(AwaitableObject *self, tc_abort *why)
{
    if (why->kind != TC_ABORT_CANCEL || self->phase == TC_PHASE_RANG
        || !tc_heap_contains(&self->u.timer)) {
        return TC_ABORT_SUCCEEDED;
    }
    double now = tc_runner_time(why->runner);
    if (now == -1.0 && PyErr_Occurred()) {
        return TC_ABORT_ERROR;
    }
    /* The clock may be Python. */
    if (!tc_heap_contains(&self->u.timer) || now < self->u.timer.key) {
        return TC_ABORT_SUCCEEDED;
    }
    sleep_abandon(self);
    self->phase = TC_PHASE_RANG;
    return tc_task_wake(self->task) < 0 ? TC_ABORT_ERROR : TC_ABORT_FAILED;
}

/* phase 1: asleep. */
static tc_step
sleep_begin(AwaitableObject *self, TaskObject *task, double deadline,
            double now)
{
    RunnerObject *runner = task->runner;
    tc_heap_init_node(&self->u.timer);
    if (isnan(deadline)) {
        PyErr_SetString(PyExc_ValueError, "deadline must not be NaN");
        return TC_ERROR;
    }
    if (task->scope != NULL && task->scope->abandoned) {
        self->flags = SLEEP_STRAYED;
    }
    if (now >= deadline && !tc_trap_has_ki(task)) {
        /* A wait that its own deadline ends at once. */
        task->cancel_points++;
        self->phase = TC_PHASE_RANG;
        return tc_trap_checkpoint(self, task);
    }
    if (deadline != Py_HUGE_VAL) {
        double before = 0.0;
        tc_deadlines *d = &runner->deadlines;
        if (runner->is_guest && tc_deadlines_next(d, &before) < 0) {
            return TC_ERROR;
        }
        self->u.timer.key = deadline;
        if (tc_heap_push(&d->timers, &self->u.timer) < 0) {
            PyErr_NoMemory();
            return TC_ERROR;
        }
        if (runner->is_guest && deadline < before
            && tc_runner_force_tick(runner) < 0) {
            tc_heap_remove(&d->timers, &self->u.timer);
            return TC_ERROR;
        }
    }
    self->phase = 1;
    return tc_trap_wait(self, task);
}

static tc_step
sleep_resume(AwaitableObject *self)
{
    if (self->flags & SLEEP_NOT) {
        return tc_checkpoint_step(self, NULL, NULL);
    }
    /* A no-op unless resumed by somebody who is not the timer. */
    sleep_abandon(self);
    int r = tc_trap_resume(self, NULL);
    CancelScopeObject *scope = self->task != NULL ? self->task->scope : NULL;
    /* A scope of its own would have been lost together with the one around it,
       and what is lost swallows its Cancelled. */
    int lost = scope != NULL && scope->abandoned
               && !(self->flags & SLEEP_STRAYED);
    if (r < 0) {
        if (!lost
            || !PyErr_ExceptionMatches((PyObject *)self->st->CancelledType)) {
            return TC_ERROR;
        }
        PyErr_Clear();
        return TC_DONE;
    }
    if (self->phase != TC_PHASE_RANG) {
        PyErr_SetString(PyExc_RuntimeError,
                        "Should never have been rescheduled!");
        return TC_ERROR;
    }
    if (scope != NULL && scope->effectively_cancelled && !lost) {
        PyObject *reason = tc_reason_new(self->st, "deadline", NULL, NULL);
        PyObject *exc
            = reason == NULL ? NULL : tc_cancelled_new(self->st, reason);
        if (exc != NULL) {
            tc_error_raise(exc);
            Py_DECREF(exc);
        }
        Py_XDECREF(reason);
        return TC_ERROR;
    }
    return TC_DONE;
}

static inline int
sleep_now(TaskObject *task, double *now)
{
    *now = tc_runner_time(task->runner);
    return *now == -1.0 && PyErr_Occurred() ? -1 : 0;
}

/* value: the time, as given. */
static tc_step
sleep_until_step(AwaitableObject *self, PyObject *Py_UNUSED(sent),
                 PyObject **Py_UNUSED(result))
{
    if (self->phase != 0) {
        return sleep_resume(self);
    }
    double deadline = tc_args_double(self->value);
    if (deadline == -1.0 && PyErr_Occurred()) {
        return TC_ERROR;
    }
    TaskObject *task = tc_trap_task(self);
    if (task == NULL) {
        return TC_ERROR;
    }
    double now;
    Py_INCREF(task);  /* a greenlet's clock may switch away until it ends */
    tc_step step = sleep_now(task, &now) < 0
                       ? TC_ERROR
                       : sleep_begin(self, task, deadline, now);
    Py_DECREF(task);
    return step;
}

static tc_step
sleep_step(AwaitableObject *self, PyObject *Py_UNUSED(sent),
           PyObject **Py_UNUSED(result))
{
    if (self->phase != 0) {
        return sleep_resume(self);
    }
    double seconds = tc_args_double(self->value);
    if (seconds == -1.0 && PyErr_Occurred()) {
        return TC_ERROR;
    }
    if (seconds < 0) {
        PyErr_SetString(PyExc_ValueError, "`seconds` must be non-negative");
        return TC_ERROR;
    }
    if (seconds == 0) {
        self->flags = SLEEP_NOT;
        return tc_checkpoint_step(self, NULL, NULL);
    }
    TaskObject *task = tc_trap_task(self);
    if (task == NULL) {
        return TC_ERROR;
    }
    double now;
    Py_INCREF(task);  /* a greenlet's clock may switch away until it ends */
    tc_step step = sleep_now(task, &now) < 0
                       ? TC_ERROR
                       : sleep_begin(self, task, now + seconds, now);
    Py_DECREF(task);
    return step;
}

static const tc_op sleep_op = {
    .name = "sleep",
    .qualname = "sleep",
    .step = sleep_step,
    .abort = sleep_abort,
    .abandon = sleep_abandon,
};

static const tc_op sleep_until_op = {
    .name = "sleep_until",
    .qualname = "sleep_until",
    .step = sleep_until_step,
    .abort = sleep_abort,
    .abandon = sleep_abandon,
};

static tc_step
sleep_forever_step(AwaitableObject *self, PyObject *Py_UNUSED(sent),
                   PyObject **Py_UNUSED(result))
{
    if (self->phase == 0) {
        TaskObject *task = tc_trap_task(self);
        self->phase = 1;
        return task == NULL ? TC_ERROR : tc_trap_wait(self, task);
    }
    if (tc_trap_resume(self, NULL) == 0) {
        PyErr_SetString(PyExc_RuntimeError,
                        "Should never have been rescheduled!");
    }
    return TC_ERROR;
}

static const tc_op sleep_forever_op = {
    .name = "sleep_forever",
    .qualname = "sleep_forever",
    .step = sleep_forever_step,
};

static PyObject *
sleep_impl(FunctionObject *func, PyObject *Py_UNUSED(self),
           PyObject *const *args, Py_ssize_t nargs, PyObject *kwnames)
{
    static const tc_params params = {
        .fname = "sleep",
        .names = {"seconds"},
        .n_positional = 1,
        .n_required = 1,
    };
    PyObject *a[1];
    if (tc_args_parse(&params, args, nargs, kwnames, a) < 0) {
        return NULL;
    }
    AwaitableObject *aw = tc_awaitable_new(func->st, &sleep_op, NULL);
    if (aw != NULL) {
        aw->value = Py_NewRef(a[0]);
    }
    return (PyObject *)aw;
}

static PyObject *
sleep_until_impl(FunctionObject *func, PyObject *Py_UNUSED(self),
                 PyObject *const *args, Py_ssize_t nargs, PyObject *kwnames)
{
    static const tc_params params = {
        .fname = "sleep_until",
        .names = {"deadline"},
        .n_positional = 1,
        .n_required = 1,
    };
    PyObject *a[1];
    if (tc_args_parse(&params, args, nargs, kwnames, a) < 0) {
        return NULL;
    }
    AwaitableObject *aw = tc_awaitable_new(func->st, &sleep_until_op, NULL);
    if (aw != NULL) {
        aw->value = Py_NewRef(a[0]);
    }
    return (PyObject *)aw;
}

static PyObject *
sleep_forever_impl(FunctionObject *func, PyObject *Py_UNUSED(self),
                   PyObject *const *Py_UNUSED(args), Py_ssize_t nargs,
                   PyObject *kwnames)
{
    if (tc_args_none("sleep_forever", nargs, kwnames) < 0) {
        return NULL;
    }
    return (PyObject *)tc_awaitable_new(func->st, &sleep_forever_op, NULL);
}

/* --- scopes with a time limit ------------------------------------------ */

/* New scope, or NULL. relative: `number` is in seconds from entry. */
static CancelScopeObject *
timeout_scope(tc_state *st, PyObject *number, int relative, PyObject *shield)
{
    double value = tc_args_double(number);
    if (value == -1.0 && PyErr_Occurred()) {
        return NULL;
    }
    const char *wrong
        = relative && value < 0    ? "`seconds` must be non-negative"
          : relative && isnan(value) ? "`seconds` must not be NaN"
          : isnan(value)             ? "deadline must not be NaN"
                                     : NULL;
    if (wrong != NULL) {
        PyErr_SetString(PyExc_ValueError, wrong);
        return NULL;
    }
    int shielded = shield == NULL ? 0 : PyObject_IsTrue(shield);
    if (shielded < 0) {
        return NULL;
    }
    CancelScopeObject *scope = tc_scope_new(st);
    if (scope == NULL) {
        return NULL;
    }
    if (relative) {
        scope->relative_deadline = value;
    }
    else {
        scope->deadline = value;
    }
    scope->shield = shielded;
    tc_scope_keep_given(
        scope, relative ? TC_GIVEN_RELATIVE : TC_GIVEN_DEADLINE, number);
    tc_scope_keep_given(scope, TC_GIVEN_SHIELD, shield);
    return scope;
}

static const tc_params move_on_at_params = {
    .fname = "move_on_at",
    .names = {"deadline", "shield"},
    .n_positional = 1,
    .n_required = 1,
};
static const tc_params move_on_after_params = {
    .fname = "move_on_after",
    .names = {"seconds", "shield"},
    .n_positional = 1,
    .n_required = 1,
};
static const tc_params fail_at_params = {
    .fname = "fail_at",
    .names = {"deadline", "shield"},
    .n_positional = 1,
    .n_required = 1,
};
static const tc_params fail_after_params = {
    .fname = "fail_after",
    .names = {"seconds", "shield"},
    .n_positional = 1,
    .n_required = 1,
};

static PyObject *
move_on_at_impl(FunctionObject *func, PyObject *Py_UNUSED(self),
                PyObject *const *args, Py_ssize_t nargs, PyObject *kwnames)
{
    PyObject *a[2];
    if (tc_args_parse(&move_on_at_params, args, nargs, kwnames, a) < 0) {
        return NULL;
    }
    return (PyObject *)timeout_scope(func->st, a[0], 0, a[1]);
}

static PyObject *
move_on_after_impl(FunctionObject *func, PyObject *Py_UNUSED(self),
                   PyObject *const *args, Py_ssize_t nargs,
                   PyObject *kwnames)
{
    PyObject *a[2];
    if (tc_args_parse(&move_on_after_params, args, nargs, kwnames, a) < 0) {
        return NULL;
    }
    return (PyObject *)timeout_scope(func->st, a[0], 1, a[1]);
}

/* What fail_at() and fail_after() return: looks at its arguments only when
   entered, as a generator-based manager does, and can be entered once. */
typedef struct {
    TC_HOME_HEAD
    tc_state *st;                /* borrowed */
    CancelScopeObject *scope;    /* owned; NULL until entered */
    PyObject *number;            /* owned; NULL once entered */
    PyObject *shield;            /* owned or NULL */
    int relative;
} FailScopeObject;

static PyObject *
fail_new(tc_state *st, PyObject *number, int relative, PyObject *shield)
{
    FailScopeObject *self = (FailScopeObject *)tc_freelist_new(
        &st->free_fail_scopes, st->FailScopeType);
    if (self == NULL) {
        return NULL;
    }
    self->st = st;
    self->scope = NULL;
    self->number = Py_NewRef(number);
    self->shield = Py_XNewRef(shield);
    self->relative = relative;
    PyObject_GC_Track(self);
    return (PyObject *)self;
}

static PyObject *
fail_at_impl(FunctionObject *func, PyObject *Py_UNUSED(self),
             PyObject *const *args, Py_ssize_t nargs, PyObject *kwnames)
{
    PyObject *a[2];
    if (tc_args_parse(&fail_at_params, args, nargs, kwnames, a) < 0) {
        return NULL;
    }
    return fail_new(func->st, a[0], 0, a[1]);
}

static PyObject *
fail_after_impl(FunctionObject *func, PyObject *Py_UNUSED(self),
                PyObject *const *args, Py_ssize_t nargs, PyObject *kwnames)
{
    PyObject *a[2];
    if (tc_args_parse(&fail_after_params, args, nargs, kwnames, a) < 0) {
        return NULL;
    }
    return fail_new(func->st, a[0], 1, a[1]);
}

static PyObject *
fail_enter_impl(FunctionObject *func, PyObject *op, PyObject *const *args,
                Py_ssize_t nargs, PyObject *kwnames)
{
    FailScopeObject *self = (FailScopeObject *)op;
    if (tc_args_none("__enter__", nargs, kwnames) < 0) {
        return NULL;
    }
    if (self->number == NULL) {
        PyErr_SetString(PyExc_RuntimeError,
                        "this timeout may only be used for a single 'with' "
                        "block");
        return NULL;
    }
    PyObject *number = self->number;
    PyObject *shield = self->shield;
    self->number = NULL;
    self->shield = NULL;
    CancelScopeObject *scope
        = timeout_scope(self->st, number, self->relative, shield);
    Py_DECREF(number);
    Py_XDECREF(shield);
    if (scope == NULL) {
        return NULL;
    }
    TaskObject *task = tc_context_need_task(func->st);
    if (task == NULL || tc_scope_enter(scope, task) < 0) {
        Py_DECREF(scope);
        return NULL;
    }
    Py_XSETREF(self->scope, scope);
    return Py_NewRef((PyObject *)scope);
}

static PyObject *
fail_exit_impl(FunctionObject *func, PyObject *op, PyObject *const *args,
               Py_ssize_t nargs, PyObject *kwnames)
{
    static const tc_params params = {
        .fname = "__exit__",
        .names = {"typ", "value", "traceback"},
        .n_positional = 3,
        .n_required = 3,
    };
    FailScopeObject *self = (FailScopeObject *)op;
    PyObject *a[3];
    if (tc_args_parse(&params, args, nargs, kwnames, a) < 0) {
        return NULL;
    }
    if (self->scope == NULL) {
        PyErr_SetString(PyExc_RuntimeError, "timeout was not entered");
        return NULL;
    }
    PyObject *exc = a[1] == Py_None ? NULL : a[1];
    CancelScopeObject *scope = self->scope;
    self->scope = NULL;
    PyObject *result = NULL, *remaining;
    if (tc_scope_close(scope, exc, &remaining) < 0) {
        goto done;
    }
    result = tc_scope_exit_result(exc, remaining);
    if (result != Py_True) {
        goto done;
    }
    int caught = scope->cancelled_caught == NULL
                     ? 0
                     : PyObject_IsTrue(scope->cancelled_caught);
    if (caught) {
        Py_CLEAR(result);
        if (caught > 0) {
            PyErr_SetNone(func->st->exc_TooSlowError);
        }
    }
    else if (exc == NULL) {
        Py_SETREF(result, Py_NewRef(Py_False));
    }
done:
    Py_DECREF(scope);
    return result;
}

static int
fail_traverse(PyObject *op, visitproc visit, void *arg)
{
    FailScopeObject *self = (FailScopeObject *)op;
    Py_VISIT(Py_TYPE(op));
    Py_VISIT((PyObject *)self->scope);
    Py_VISIT(self->number);
    Py_VISIT(self->shield);
    return 0;
}

static int
fail_clear(PyObject *op)
{
    FailScopeObject *self = (FailScopeObject *)op;
    Py_CLEAR(self->scope);
    Py_CLEAR(self->number);
    Py_CLEAR(self->shield);
    return 0;
}

static void
fail_dealloc(PyObject *op)
{
    PyTypeObject *type = Py_TYPE(op);
    tc_state *st = ((FailScopeObject *)op)->st;
    PyObject_GC_UnTrack(op);
    fail_clear(op);
    tc_freelist_delete(&st->free_fail_scopes, op);
    Py_DECREF(type);
}

static PyType_Slot fail_slots[] = {
    {Py_tp_dealloc, fail_dealloc},
    {Py_tp_traverse, fail_traverse},
    {Py_tp_clear, fail_clear},
    {0, NULL},
};

static PyType_Spec tc_fail_spec = {
    .name = "trio_c._timeouts.FailScope",
    .basicsize = sizeof(FailScopeObject),
    .flags = Py_TPFLAGS_DEFAULT | Py_TPFLAGS_HAVE_GC
             | Py_TPFLAGS_DISALLOW_INSTANTIATION,
    .slots = fail_slots,
};

static const tc_function_def fail_functions[] = {
    {"FailScope.__enter__", "trio_c._timeouts", fail_enter_impl},
    {"FailScope.__exit__", "trio_c._timeouts", fail_exit_impl},
    {NULL, NULL, NULL},
};

static const tc_function_def timeout_functions[] = {
    {"sleep", "trio_c", sleep_impl},
    {"sleep_until", "trio_c", sleep_until_impl},
    {"sleep_forever", "trio_c", sleep_forever_impl},
    {"move_on_at", "trio_c", move_on_at_impl},
    {"move_on_after", "trio_c", move_on_after_impl},
    {"fail_at", "trio_c", fail_at_impl},
    {"fail_after", "trio_c", fail_after_impl},
    {NULL, NULL, NULL},
};

int
tc_timeouts_register(tc_state *st)
{
    if (tc_state_add_type(st, &st->FailScopeType, &tc_fail_spec, NULL, NULL)
            < 0
        || tc_function_add_to_type(st, st->FailScopeType, fail_functions)
               < 0) {
        return -1;
    }
    return tc_function_add_to_module(st, timeout_functions);
}
