/* cancel_scope.c - CancelScope as Python sees it.
 *
 * The logic is in cancel.c; here are construction, attributes, `with`, repr.
 */
#include "../glue/args.h"
#include "../glue/errors.h"
#include "../glue/function.h"
#include "../glue/types.h"
#include "cancel.h"
#include "entry_queue.h"
#include "runner.h"
#include "task.h"

#include <math.h>

/* Set all that is not zero. */
static void
scope_init(CancelScopeObject *self, tc_state *st)
{
    self->st = st;
    tc_list_init(&self->sibling_link);
    tc_list_init(&self->children);
    tc_list_init(&self->tasks);
    tc_list_init(&self->fresh_link);
    tc_heap_init_node(&self->heap_node);
    self->deadline = Py_HUGE_VAL;
    self->relative_deadline = Py_HUGE_VAL;
    self->registered_deadline = Py_HUGE_VAL;
    self->cancelled_caught = Py_NewRef(Py_False);
    TC_LIVE_ADD(st, CancelScopeType);
}

CancelScopeObject *
tc_scope_new(tc_state *st)
{
    CancelScopeObject *self = (CancelScopeObject *)tc_freelist_new(
        &st->free_scopes, st->CancelScopeType);
    if (self == NULL) {
        return NULL;
    }
    memset((char *)self + sizeof(PyObject), 0,
           sizeof(*self) - sizeof(PyObject));
    scope_init(self, st);
    PyObject_GC_Track(self);
    return self;
}

static CancelScopeObject *
scope_alloc(tc_state *st, PyTypeObject *type)
{
    if (type == st->CancelScopeType) {
        return tc_scope_new(st);
    }
    CancelScopeObject *self = (CancelScopeObject *)type->tp_alloc(type, 0);
    if (self != NULL) {
        scope_init(self, st);
    }
    return self;
}

void
tc_scope_keep_given(CancelScopeObject *self, int which, PyObject *obj)
{
    if (obj == NULL) {
        return;
    }
    if (which == TC_GIVEN_SHIELD ? !PyBool_Check(obj)
                                 : !PyFloat_CheckExact(obj)) {
        Py_XSETREF(self->given[which], Py_NewRef(obj));
    }
}

/* --- construction -------------------------------------------------------- */

/* *value from obj (borrowed, NULL: keep). */
static int
scope_number(PyObject *obj, double *value)
{
    if (obj == NULL) {
        return 0;
    }
    double number = tc_args_double(obj);
    if (number == -1.0 && PyErr_Occurred()) {
        return -1;
    }
    *value = number;
    return 0;
}

static PyObject *
scope_construct(tc_state *st, PyTypeObject *type, PyObject *relative,
                PyObject *deadline, PyObject *shield)
{
    double when = Py_HUGE_VAL, timeout = Py_HUGE_VAL;
    if (scope_number(deadline, &when) < 0) {
        return NULL;
    }
    if (isnan(when)) {
        PyErr_SetString(PyExc_ValueError, "deadline must not be NaN");
        return NULL;
    }
    if (scope_number(relative, &timeout) < 0) {
        return NULL;
    }
    const char *wrong = isnan(timeout) ? "relative deadline must not be NaN"
                        : timeout < 0  ? "timeout must be non-negative"
                        : timeout != Py_HUGE_VAL && when != Py_HUGE_VAL
                            ? "Cannot specify both a deadline and a "
                              "relative deadline"
                            : NULL;
    if (wrong != NULL) {
        PyErr_SetString(PyExc_ValueError, wrong);
        return NULL;
    }
    int shielded = 0;
    if (shield != NULL) {
        shielded = PyObject_IsTrue(shield);
        if (shielded < 0) {
            return NULL;
        }
    }
    CancelScopeObject *self = scope_alloc(st, type);
    if (self == NULL) {
        return NULL;
    }
    self->deadline = when;
    self->relative_deadline = timeout;
    self->shield = shielded;
    tc_scope_keep_given(self, TC_GIVEN_DEADLINE, deadline);
    tc_scope_keep_given(self, TC_GIVEN_RELATIVE, relative);
    tc_scope_keep_given(self, TC_GIVEN_SHIELD, shield);
    return (PyObject *)self;
}

static const tc_params scope_params = {
    .fname = "CancelScope",
    .names = {"relative_deadline", "deadline", "shield"},
};

static PyObject *
scope_tp_new(PyTypeObject *type, PyObject *args, PyObject *kwargs)
{
    tc_state *st = tc_state_from_type(type);
    PyObject *a[3];
    if (st == NULL
        || tc_args_parse_tuple(&scope_params, args, kwargs, a) < 0) {
        return NULL;
    }
    return scope_construct(st, type, a[0], a[1], a[2]);
}

static PyObject *
scope_vectorcall(PyObject *type, PyObject *const *args, size_t nargsf,
                 PyObject *kwnames)
{
    tc_state *st = tc_state_from_type((PyTypeObject *)type);
    PyObject *a[3];
    if (st == NULL
        || tc_args_parse(&scope_params, args, PyVectorcall_NARGS(nargsf),
                         kwnames, a)
               < 0) {
        return NULL;
    }
    return scope_construct(st, (PyTypeObject *)type, a[0], a[1], a[2]);
}

/* --- methods ------------------------------------------------------------- */

static PyObject *
scope_enter_impl(FunctionObject *func, PyObject *op, PyObject *const *args,
                 Py_ssize_t nargs, PyObject *kwnames)
{
    if (tc_args_none("CancelScope.__enter__", nargs, kwnames) < 0) {
        return NULL;
    }
    TaskObject *task = tc_context_need_task(func->st);
    if (task == NULL || tc_scope_enter((CancelScopeObject *)op, task) < 0) {
        return NULL;
    }
    return Py_NewRef(op);
}

static PyObject *
scope_exit_impl(FunctionObject *Py_UNUSED(func), PyObject *op,
                PyObject *const *args, Py_ssize_t nargs, PyObject *kwnames)
{
    static const tc_params params = {
        .fname = "CancelScope.__exit__",
        .names = {"etype", "exc", "tb"},
        .n_positional = 3,
        .n_required = 3,
    };
    PyObject *a[3];
    if (tc_args_parse(&params, args, nargs, kwnames, a) < 0) {
        return NULL;
    }
    PyObject *exc = a[1] == Py_None ? NULL : a[1];
    PyObject *remaining;
    if (tc_scope_close((CancelScopeObject *)op, exc, &remaining) < 0) {
        return NULL;
    }
    return tc_scope_exit_result(exc, remaining);
}

static PyObject *
scope_cancel_impl(FunctionObject *func, PyObject *op, PyObject *const *args,
                  Py_ssize_t nargs, PyObject *kwnames)
{
    static const tc_params params = {
        .fname = "CancelScope.cancel",
        .names = {"reason"},
        .n_positional = 1,
    };
    CancelScopeObject *self = (CancelScopeObject *)op;
    PyObject *a[1];
    if (tc_args_parse(&params, args, nargs, kwnames, a) < 0) {
        return NULL;
    }
    if (!self->cancel_called) {
        TaskObject *task = tc_context_task(func->st);
        if (tc_scope_cancel_with(self, "explicit", task, a[0]) < 0) {
            return NULL;
        }
    }
    Py_RETURN_NONE;
}

static const tc_function_def scope_functions[] = {
    {"CancelScope.__enter__", "trio_c", scope_enter_impl},
    {"CancelScope.__exit__", "trio_c", scope_exit_impl},
    {"CancelScope.cancel", "trio_c", scope_cancel_impl},
    {NULL, NULL, NULL},
};

/* --- attributes ---------------------------------------------------------- */

static int
scope_no_delete(PyObject *value, const char *name)
{
    if (value == NULL) {
        PyErr_Format(PyExc_AttributeError, "cannot delete attribute '%s'",
                     name);
        return -1;
    }
    return 0;
}

static double
scope_current_time(CancelScopeObject *self)
{
    RunnerObject *runner = tc_context_need_runner(self->st);
    if (runner == NULL) {
        return -1.0;
    }
    double now = tc_runner_time(runner);
    if (now == -1.0 && PyErr_Occurred()) {
        tc_error_attribute_to_no_context();
    }
    return now;
}

static int
scope_check_absolute(CancelScopeObject *self)
{
    if (self->relative_deadline != Py_HUGE_VAL) {
        PyErr_SetString(PyExc_RuntimeError,
                        "Unentered relative cancel scope does not have an "
                        "absolute deadline.");
        return -1;
    }
    return 0;
}

static PyObject *
scope_get_deadline(PyObject *op, void *Py_UNUSED(closure))
{
    CancelScopeObject *self = (CancelScopeObject *)op;
    if (scope_check_absolute(self) < 0) {
        return NULL;
    }
    PyObject *given = self->given[TC_GIVEN_DEADLINE];
    if (given != NULL) {
        return Py_NewRef(given);
    }
    return PyFloat_FromDouble(self->deadline);
}

static int
scope_set_deadline(PyObject *op, PyObject *value, void *Py_UNUSED(closure))
{
    CancelScopeObject *self = (CancelScopeObject *)op;
    if (scope_no_delete(value, "deadline") < 0) {
        return -1;
    }
    double deadline = tc_args_double(value);
    if (deadline == -1.0 && PyErr_Occurred()) {
        return -1;
    }
    if (isnan(deadline)) {
        PyErr_SetString(PyExc_ValueError, "deadline must not be NaN");
        return -1;
    }
    if (scope_check_absolute(self) < 0) {
        return -1;
    }
    Py_CLEAR(self->given[TC_GIVEN_DEADLINE]);
    return tc_scope_set_deadline(self, deadline);
}

static int
scope_check_relative(CancelScopeObject *self)
{
    if (self->deadline != Py_HUGE_VAL) {
        PyErr_SetString(PyExc_RuntimeError,
                        "Unentered non-relative cancel scope does not have "
                        "a relative deadline");
        return -1;
    }
    return 0;
}

static PyObject *
scope_get_relative(PyObject *op, void *Py_UNUSED(closure))
{
    CancelScopeObject *self = (CancelScopeObject *)op;
    if (self->entered) {
        double now = scope_current_time(self);
        if (now == -1.0 && PyErr_Occurred()) {
            return NULL;
        }
        return PyFloat_FromDouble(self->deadline - now);
    }
    if (scope_check_relative(self) < 0) {
        return NULL;
    }
    PyObject *given = self->given[TC_GIVEN_RELATIVE];
    if (given != NULL) {
        return Py_NewRef(given);
    }
    return PyFloat_FromDouble(self->relative_deadline);
}

static int
scope_set_relative(PyObject *op, PyObject *value, void *Py_UNUSED(closure))
{
    CancelScopeObject *self = (CancelScopeObject *)op;
    if (scope_no_delete(value, "relative_deadline") < 0) {
        return -1;
    }
    double timeout = tc_args_double(value);
    if (timeout == -1.0 && PyErr_Occurred()) {
        return -1;
    }
    if (isnan(timeout) || timeout < 0) {
        PyErr_SetString(PyExc_ValueError,
                        isnan(timeout)
                            ? "relative deadline must not be NaN"
                            : "relative deadline must be non-negative");
        return -1;
    }
    if (self->entered) {
        double now = scope_current_time(self);
        if (now == -1.0 && PyErr_Occurred()) {
            return -1;
        }
        Py_CLEAR(self->given[TC_GIVEN_DEADLINE]);
        return tc_scope_set_deadline(self, now + timeout);
    }
    if (scope_check_relative(self) < 0) {
        return -1;
    }
    self->relative_deadline = timeout;
    Py_CLEAR(self->given[TC_GIVEN_RELATIVE]);
    tc_scope_keep_given(self, TC_GIVEN_RELATIVE, value);
    return 0;
}

static PyObject *
scope_get_is_relative(PyObject *op, void *Py_UNUSED(closure))
{
    CancelScopeObject *self = (CancelScopeObject *)op;
    if (self->entered) {
        Py_RETURN_NONE;
    }
    return PyBool_FromLong(self->relative_deadline != Py_HUGE_VAL);
}

static PyObject *
scope_get_shield(PyObject *op, void *Py_UNUSED(closure))
{
    CancelScopeObject *self = (CancelScopeObject *)op;
    PyObject *given = self->given[TC_GIVEN_SHIELD];
    if (given != NULL) {
        return Py_NewRef(given);
    }
    return PyBool_FromLong(self->shield);
}

static int
scope_set_shield(PyObject *op, PyObject *value, void *Py_UNUSED(closure))
{
    CancelScopeObject *self = (CancelScopeObject *)op;
    if (scope_no_delete(value, "shield") < 0) {
        return -1;
    }
    if (!PyBool_Check(value)) {
        PyErr_SetString(PyExc_TypeError, "shield must be a bool");
        return -1;
    }
    Py_CLEAR(self->given[TC_GIVEN_SHIELD]);
    return tc_scope_set_shield(self, value == Py_True);
}

/* Looks at the clock first: a deadline that has passed counts even if the
   loop has not noticed yet. */
static PyObject *
scope_get_cancel_called(PyObject *op, void *Py_UNUSED(closure))
{
    CancelScopeObject *self = (CancelScopeObject *)op;
    if ((self->active || !self->entered) && !self->cancel_called) {
        double now = scope_current_time(self);
        if (now == -1.0 && PyErr_Occurred()) {
            return NULL;
        }
        if (now >= self->deadline
            && tc_scope_cancel_with(self, "deadline", NULL, NULL) < 0) {
            return NULL;
        }
    }
    return PyBool_FromLong(self->cancel_called);
}

static PyObject *
scope_get_status(PyObject *op, void *Py_UNUSED(closure))
{
    CancelScopeObject *self = (CancelScopeObject *)op;
    if (!self->active) {
        Py_RETURN_NONE;
    }
    return tc_cancel_status_new(self->st, self);
}

static PyObject *
scope_get_reason(PyObject *op, void *Py_UNUSED(closure))
{
    PyObject *reason = ((CancelScopeObject *)op)->reason;
    return Py_NewRef(reason != NULL ? reason : Py_None);
}

static int
scope_set_reason(PyObject *op, PyObject *value, void *Py_UNUSED(closure))
{
    CancelScopeObject *self = (CancelScopeObject *)op;
    if (value == NULL || value == Py_None) {
        Py_CLEAR(self->reason);
        return 0;
    }
    if (!Py_IS_TYPE(value, self->st->CancelReasonType)) {
        PyErr_Format(PyExc_TypeError, "expected a CancelReason, got %s",
                     Py_TYPE(value)->tp_name);
        return -1;
    }
    Py_XSETREF(self->reason, Py_NewRef(value));
    return 0;
}

/* --- copying and pickling ----------------------------------------------- */

/* All but its place in a tree: the copy of an active scope has been used. */
static PyObject *
scope_getstate(PyObject *op, PyObject *Py_UNUSED(ignored))
{
    if (tc_home_check(op) < 0) {
        return NULL;
    }
    CancelScopeObject *self = (CancelScopeObject *)op;
    PyObject *given[3];
    for (int i = 0; i < 3; i++) {
        given[i] = self->given[i] != NULL ? self->given[i] : Py_None;
    }
    PyObject *caught = self->cancelled_caught;
    return Py_BuildValue("ddiiiO(OOO)O", self->deadline,
                         self->relative_deadline, self->shield,
                         self->entered, self->cancel_called,
                         self->reason != NULL ? self->reason : Py_None,
                         given[0], given[1], given[2],
                         caught != NULL ? caught : Py_False);
}

static PyObject *
scope_setstate(PyObject *op, PyObject *state)
{
    if (tc_home_check(op) < 0) {
        return NULL;
    }
    CancelScopeObject *self = (CancelScopeObject *)op;
    double deadline, relative;
    int shield, entered, cancel_called;
    PyObject *reason, *given, *caught;
    if (!PyTuple_Check(state)) {
        PyErr_SetString(PyExc_TypeError, "state must be a tuple");
        return NULL;
    }
    if (!PyArg_ParseTuple(state, "ddpppOO!O:__setstate__", &deadline,
                          &relative, &shield, &entered, &cancel_called,
                          &reason, &PyTuple_Type, &given, &caught)) {
        return NULL;
    }
    if (isnan(deadline) || isnan(relative) || self->entered
        || PyTuple_GET_SIZE(given) != 3) {
        PyErr_SetString(PyExc_ValueError, "not the state of a new scope");
        return NULL;
    }
    if (scope_set_reason(op, reason, NULL) < 0) {
        return NULL;
    }
    self->deadline = deadline;
    self->relative_deadline = relative;
    self->shield = shield;
    self->entered = entered;
    self->cancel_called = cancel_called;
    for (int i = 0; i < 3; i++) {
        PyObject *obj = PyTuple_GET_ITEM(given, i);
        Py_XSETREF(self->given[i],
                   obj == Py_None ? NULL : Py_NewRef(obj));
    }
    Py_XSETREF(self->cancelled_caught, Py_NewRef(caught));
    Py_RETURN_NONE;
}

static PyObject *
scope_repr(PyObject *op)
{
    if (tc_home_check(op) < 0) {
        return tc_home_repr(op);
    }
    CancelScopeObject *self = (CancelScopeObject *)op;
    const char *binding = self->active    ? "active"
                          : self->entered ? "exited"
                                          : "unbound";
    char state[400] = "";  /* fits the largest double in full */
    if (self->cancel_called) {
        strcpy(state, ", cancelled");
    }
    else if (self->deadline != Py_HUGE_VAL) {
        double now = scope_current_time(self);
        if (now == -1.0 && PyErr_Occurred()) {
            if (!PyErr_ExceptionMatches(PyExc_RuntimeError)) {
                return NULL;
            }
            PyErr_Clear();
        }
        else {
            PyOS_snprintf(state, sizeof(state),
                          ", deadline is %.2f seconds %s",
                          fabs(self->deadline - now),
                          self->deadline >= now ? "from now" : "ago");
        }
    }
    return PyUnicode_FromFormat("<trio.CancelScope at %s, %s%s>",
                                tc_hex_id(op).text, binding, state);
}

/* --- lifetime ------------------------------------------------------------ */

static int
scope_traverse(PyObject *op, visitproc visit, void *arg)
{
    CancelScopeObject *self = (CancelScopeObject *)op;
    Py_VISIT(Py_TYPE(op));
    Py_VISIT((PyObject *)self->runner);
    Py_VISIT((PyObject *)self->parent);
    Py_VISIT(self->reason);
    for (int i = 0; i < 3; i++) {
        Py_VISIT(self->given[i]);
    }
    Py_VISIT(self->cancelled_caught);
    return 0;
}

/* Out of every list; the owning references go with the links. */
static void
scope_unlink(CancelScopeObject *self)
{
    if (self->registered_deadline != Py_HUGE_VAL && self->runner != NULL) {
        tc_deadlines_remove(&self->runner->deadlines, self);
        self->registered_deadline = Py_HUGE_VAL;
    }
    tc_list_remove(&self->sibling_link);
    self->active = 0;
}

static int
scope_clear(PyObject *op)
{
    CancelScopeObject *self = (CancelScopeObject *)op;
    scope_unlink(self);
    Py_CLEAR(self->parent);
    Py_CLEAR(self->runner);
    Py_CLEAR(self->reason);
    for (int i = 0; i < 3; i++) {
        Py_CLEAR(self->given[i]);
    }
    Py_CLEAR(self->cancelled_caught);
    return 0;
}

/* The end of an untracked scope. */
static void
scope_free(CancelScopeObject *self)
{
    PyTypeObject *type = Py_TYPE(self);
    tc_state *st = self->st;
    if (self->weakrefs != NULL) {
        PyObject_ClearWeakRefs((PyObject *)self);
    }
    /* No task and no child can be left: they would own us. */
    assert(tc_list_is_empty(&self->tasks));
    assert(tc_list_is_empty(&self->children));
    scope_clear((PyObject *)self);
    TC_LIVE_SUB(st, CancelScopeType);
    if (type == st->CancelScopeType) {
        tc_freelist_delete(&st->free_scopes, (PyObject *)self);
    }
    else {
        type->tp_free(self);
    }
    Py_DECREF(type);
}

#if TC_FREE_THREADED

/* In the run that the scope is part of. */
static int
scope_leave_run(PyObject *op)
{
    CancelScopeObject *self = (CancelScopeObject *)op;
    if (tc_list_is_empty(&self->tasks) && tc_list_is_empty(&self->children)) {
        scope_unlink(self);
    }
    return 0;
}

static const tc_native_job scope_leave_run_job = {scope_leave_run, NULL};

/* An abandoned scope is still in the tree of its run, and among the deadlines.
   If the last to know it, or the collector, is another thread, the run's own
   takes it out there, and drops it. */
static void
scope_finalize(PyObject *op)
{
    CancelScopeObject *self = (CancelScopeObject *)op;
    if (self->runner == NULL || !tc_home_is_elsewhere(op)) {
        return;
    }
    PyObject *saved = PyErr_GetRaisedException();
    if (tc_entry_queue_push_native(self->runner->entry_queue,
                                   &scope_leave_run_job, op, 0, NULL) < 0) {
        if (!PyErr_ExceptionMatches(self->st->exc_RunFinishedError)) {
            PyErr_WriteUnraisable(op);
        }
        PyErr_Clear();
    }
    if (saved != NULL) {
        PyErr_SetRaisedException(saved);
    }
}

#endif

static void
scope_dealloc(PyObject *op)
{
    CancelScopeObject *self = (CancelScopeObject *)op;
#if TC_FREE_THREADED
    if (self->runner != NULL && PyObject_CallFinalizerFromDealloc(op) < 0) {
        return;
    }
#endif
    PyObject_GC_UnTrack(op);
    if (self->parent == NULL) {
        scope_free(self);
        return;
    }
    /* An abandoned stack of scopes dies from the inside out, one owning the
       next: as deep as users nest. */
    Py_TRASHCAN_BEGIN(self, scope_dealloc)
    scope_free(self);
    Py_TRASHCAN_END
}

static PyGetSetDef scope_getset[] = {
    {"deadline", scope_get_deadline, scope_set_deadline,
     PyDoc_STR("Absolute time on the run's clock, in seconds, at which the\n"
               "scope becomes cancelled; inf for never. Assignable."),
     NULL},
    {"relative_deadline", scope_get_relative, scope_set_relative,
     PyDoc_STR("Seconds until the deadline, counted from now, or from entry\n"
               "while the scope has not been entered. Assignable."),
     NULL},
    {"is_relative", scope_get_is_relative, NULL,
     PyDoc_STR("None once entered; before, whether a relative deadline is\n"
               "set."),
     NULL},
    {"shield", scope_get_shield, scope_set_shield,
     PyDoc_STR("While true, cancellations from outside do not reach code\n"
               "inside. Assignable, bool."),
     NULL},
    {"cancel_called", scope_get_cancel_called, NULL,
     PyDoc_STR("Has the scope been cancelled, or its deadline passed?"),
     NULL},
    {"_cancel_status", scope_get_status, NULL, NULL, NULL},
    {"_cancel_reason", scope_get_reason, scope_set_reason, NULL, NULL},
    {NULL, NULL, NULL, NULL, NULL},
};

static PyMemberDef scope_members[] = {
    {"cancelled_caught", T_OBJECT,
     offsetof(CancelScopeObject, cancelled_caught), 0,
     PyDoc_STR("Did this scope swallow a Cancelled?")},
    {"_registered_deadline", T_DOUBLE,
     offsetof(CancelScopeObject, registered_deadline), READONLY, NULL},
    {"_has_been_entered", T_BOOL, offsetof(CancelScopeObject, entered),
     READONLY, NULL},
    {"_cancel_called", T_BOOL, offsetof(CancelScopeObject, cancel_called),
     READONLY, NULL},
    {"__weaklistoffset__", T_PYSSIZET, offsetof(CancelScopeObject, weakrefs),
     READONLY, NULL},
    {NULL, 0, 0, 0, NULL},
};

static PyMethodDef scope_methods[] = {
    {"__getstate__", scope_getstate, METH_NOARGS, NULL},
    {"__setstate__", scope_setstate, METH_O, NULL},
    TC_FINAL_METHOD,
    {NULL, NULL, 0, NULL},
};

PyDoc_STRVAR(scope_doc,
             "CancelScope(*, relative_deadline=inf, deadline=inf, "
             "shield=False)\n--\n\n"
             "A block of code that can be cancelled as a whole.\n"
             "\n"
             "Use it once, in a `with` statement inside a task. Cancelled,\n"
             "or past its deadline, it makes every checkpoint inside raise\n"
             "Cancelled and swallows that exception at its end.\n"
             "\n"
             "deadline: absolute time on the run's clock, seconds.\n"
             "relative_deadline: seconds after entry; not both.\n"
             "shield: keep cancellations from outside away.\n"
             "ValueError for NaN, a negative relative deadline, or both.");

static PyType_Slot scope_slots[] = {
    {Py_tp_doc, (char *)scope_doc},
    {Py_tp_new, scope_tp_new},
    {Py_tp_dealloc, scope_dealloc},
#if TC_FREE_THREADED
    {Py_tp_finalize, scope_finalize},
#endif
    {Py_tp_traverse, scope_traverse},
    {Py_tp_clear, scope_clear},
    {Py_tp_repr, scope_repr},
    {Py_tp_getset, scope_getset},
    {Py_tp_members, scope_members},
    {Py_tp_methods, scope_methods},
    {0, NULL},
};

static PyType_Spec tc_scope_spec = {
    .name = "trio_c.CancelScope",
    .basicsize = sizeof(CancelScopeObject),
    .flags = Py_TPFLAGS_DEFAULT | Py_TPFLAGS_HAVE_GC | Py_TPFLAGS_BASETYPE,
    .slots = scope_slots,
};

int
tc_cancel_register(tc_state *st)
{
    if (tc_state_add_type(st, &st->CancelScopeType, &tc_scope_spec, NULL,
                          "CancelScope")
            < 0
        || tc_function_add_to_type(st, st->CancelScopeType, scope_functions)
               < 0
        || tc_type_mark_final(st, st->CancelScopeType) < 0
        || tc_cancel_status_register(st) < 0) {
        return -1;
    }
    st->CancelScopeType->tp_vectorcall = scope_vectorcall;
    return 0;
}
