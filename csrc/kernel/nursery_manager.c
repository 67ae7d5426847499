/* nursery_manager.c - open_nursery() and the manager it returns. */
#include "../glue/args.h"
#include "../glue/errors.h"
#include "../glue/function.h"
#include "nursery.h"
#include "runner.h"
#include "trap.h"

typedef struct {
    TC_HOME_HEAD
    tc_state *st;                /* borrowed */
    NurseryObject *nursery;      /* owned or NULL: since __aenter__ */
    PyObject *dict;              /* owned or NULL */
    PyObject *weakrefs;
    uint8_t strict;
} NurseryManagerObject;

/* --- __aenter__ -------------------------------------------------------- */

static tc_step
manager_enter_step(AwaitableObject *aw, PyObject *Py_UNUSED(sent),
                   PyObject **result)
{
    NurseryManagerObject *self = (NurseryManagerObject *)aw->owner;
    TaskObject *task = tc_trap_task(aw);
    if (task == NULL) {
        return TC_ERROR;
    }
    NurseryObject *nursery = tc_nursery_open(task, self->strict);
    if (nursery == NULL) {
        return TC_ERROR;
    }
    *result = Py_NewRef((PyObject *)nursery);
    Py_XSETREF(self->nursery, nursery);
    return TC_DONE;
}

static const tc_op manager_enter_op = {
    .name = "__aenter__",
    .qualname = "NurseryManager.__aenter__",
    .step = manager_enter_step,
};

static PyObject *
manager_enter_impl(FunctionObject *func, PyObject *op,
                   PyObject *const *Py_UNUSED(args), Py_ssize_t nargs,
                   PyObject *kwnames)
{
    if (tc_args_none("NurseryManager.__aenter__", nargs, kwnames) < 0) {
        return NULL;
    }
    return (PyObject *)tc_awaitable_new(func->st, &manager_enter_op, op);
}

/* --- __aexit__ --------------------------------------------------------- */

/* value: the exception of the block, or NULL. flags: nothing to wait for. */
static tc_step
manager_exit_end(AwaitableObject *aw, PyObject *thrown, PyObject **result)
{
    NurseryManagerObject *self = (NurseryManagerObject *)aw->owner;
    NurseryObject *nursery
        = (NurseryObject *)Py_NewRef((PyObject *)self->nursery);
    PyObject *exc = aw->value;
    aw->value = NULL;
    PyObject *combined, *remaining;
    tc_step step = TC_ERROR;
    if (tc_nursery_end(nursery, aw, thrown, &combined) == 0) {
        if (tc_scope_close(nursery->scope, combined, &remaining) == 0) {
            /* Drop ours first: the exception must leave no trace here. */
            Py_XDECREF(combined);
            *result = tc_scope_exit_result(exc, remaining);
            step = *result == NULL ? TC_ERROR : TC_DONE;
        }
        else {
            Py_XDECREF(combined);
        }
    }
    Py_XDECREF(exc);
    Py_DECREF(nursery);
    return step;
}

static tc_step
manager_exit_step(AwaitableObject *aw, PyObject *Py_UNUSED(sent),
                  PyObject **result)
{
    NurseryManagerObject *self = (NurseryManagerObject *)aw->owner;
    if (self->nursery == NULL) {
        PyErr_SetString(PyExc_AttributeError,
                        "'NurseryManager' object has no attribute "
                        "'_nursery'");
        return TC_ERROR;
    }
    if (aw->phase == 1) {
        return manager_exit_end(aw, NULL, result);
    }
    TaskObject *task = tc_trap_task(aw);
    if (task == NULL) {
        return TC_ERROR;
    }
    aw->phase = 1;
    tc_step step
        = tc_nursery_begin_exit(self->nursery, aw, task, aw->value);
    aw->flags = aw->trap == TC_TRAP_CHECKPOINT;
    return step;
}

/* Into the final checkpoint: one more failure of the block. Into the wait
   for children: straight through, the nursery stays open. */
static tc_step
manager_exit_thrown(AwaitableObject *aw, PyObject *exc, PyObject **result)
{
    if (aw->flags) {
        return manager_exit_end(aw, exc, result);
    }
    PyErr_SetRaisedException(Py_NewRef(exc));
    return TC_ERROR;
}

static tc_abort_result
manager_exit_abort(AwaitableObject *aw, tc_abort *why)
{
    return tc_nursery_abort_exit(
        ((NurseryManagerObject *)aw->owner)->nursery, why);
}

static const tc_op manager_exit_op = {
    .name = "__aexit__",
    .qualname = "NurseryManager.__aexit__",
    .step = manager_exit_step,
    .abort = manager_exit_abort,
    .thrown = manager_exit_thrown,
};

static PyObject *
manager_exit_impl(FunctionObject *func, PyObject *op, PyObject *const *args,
                  Py_ssize_t nargs, PyObject *kwnames)
{
    static const tc_params params = {
        .fname = "NurseryManager.__aexit__",
        .names = {"etype", "exc", "tb"},
        .n_positional = 3,
        .n_required = 3,
    };
    PyObject *a[3];
    if (tc_args_parse(&params, args, nargs, kwnames, a) < 0) {
        return NULL;
    }
    AwaitableObject *aw = tc_awaitable_new(func->st, &manager_exit_op, op);
    if (aw != NULL && a[1] != Py_None) {
        aw->value = Py_NewRef(a[1]);
    }
    return (PyObject *)aw;
}

/* --- the wrong kind of `with` ------------------------------------------ */

static PyObject *
manager_plain_enter_impl(FunctionObject *Py_UNUSED(func),
                         PyObject *Py_UNUSED(op),
                         PyObject *const *Py_UNUSED(args),
                         Py_ssize_t Py_UNUSED(nargs),
                         PyObject *Py_UNUSED(kwnames))
{
    PyErr_SetString(PyExc_RuntimeError,
                    "use 'async with open_nursery(...)', not 'with "
                    "open_nursery(...)'");
    return NULL;
}

static PyObject *
manager_plain_exit_impl(FunctionObject *Py_UNUSED(func),
                        PyObject *Py_UNUSED(op),
                        PyObject *const *Py_UNUSED(args),
                        Py_ssize_t Py_UNUSED(nargs),
                        PyObject *Py_UNUSED(kwnames))
{
    PyErr_SetString(PyExc_AssertionError,
                    "Never called, but should be defined");
    return NULL;
}

static const tc_function_def manager_functions[] = {
    {"NurseryManager.__aenter__", "trio_c._core._run", manager_enter_impl},
    {"NurseryManager.__aexit__", "trio_c._core._run", manager_exit_impl},
    {"NurseryManager.__enter__", "trio_c._core._run",
     manager_plain_enter_impl},
    {"NurseryManager.__exit__", "trio_c._core._run",
     manager_plain_exit_impl},
    {NULL, NULL, NULL},
};

/* --- construction and attributes --------------------------------------- */

static PyObject *
manager_new(tc_state *st, int strict)
{
    NurseryManagerObject *self
        = (NurseryManagerObject *)tc_freelist_new(
            &st->free_nursery_managers, st->NurseryManagerType);
    if (self == NULL) {
        return NULL;
    }
    self->st = st;
    self->nursery = NULL;
    self->dict = NULL;
    self->weakrefs = NULL;
    self->strict = strict;
    PyObject_GC_Track(self);
    return (PyObject *)self;
}

static const tc_params manager_params = {
    .fname = "NurseryManager",
    .names = {"strict_exception_groups"},
    .n_positional = 1,
};

static PyObject *
manager_tp_new(PyTypeObject *type, PyObject *args, PyObject *kwargs)
{
    tc_state *st = tc_state_from_type(type);
    PyObject *a[1];
    if (st == NULL
        || tc_args_parse_tuple(&manager_params, args, kwargs, a) < 0) {
        return NULL;
    }
    int strict = a[0] == NULL ? 1 : PyObject_IsTrue(a[0]);
    return strict < 0 ? NULL : manager_new(st, strict);
}

/* Warn, on behalf of the caller, that loose groups are going away. */
int
tc_warn_loose_groups(tc_state *st, const char *thing)
{
    PyObject *helpers = tc_state_helpers(st);
    if (helpers == NULL) {
        return -1;
    }
    PyObject *r = PyObject_CallMethod(helpers, "warn_loose_groups", "s",
                                      thing);
    Py_XDECREF(r);
    return r == NULL ? -1 : 0;
}

static PyObject *
open_nursery_impl(FunctionObject *func, PyObject *Py_UNUSED(self),
                  PyObject *const *args, Py_ssize_t nargs, PyObject *kwnames)
{
    static const tc_params params = {
        .fname = "open_nursery",
        .names = {"strict_exception_groups"},
        .n_positional = 1,
    };
    PyObject *a[1];
    if (tc_args_parse(&params, args, nargs, kwnames, a) < 0) {
        return NULL;
    }
    int strict;
    if (a[0] != NULL && a[0] != Py_None) {
        strict = PyObject_IsTrue(a[0]);
        if (strict < 0
            || (!strict
                && tc_warn_loose_groups(
                       func->st, "open_nursery(strict_exception_groups="
                                 "False)")
                       < 0)) {
            return NULL;
        }
    }
    else {
        RunnerObject *runner = tc_context_runner(func->st);
        if (runner == NULL) {
            PyErr_SetString(PyExc_AttributeError,
                            "'RunContext' object has no attribute 'runner'");
            return NULL;
        }
        strict = runner->strict_exception_groups;
    }
    return manager_new(func->st, strict);
}

static const tc_function_def open_nursery_functions[] = {
    {"open_nursery", "trio_c", open_nursery_impl},
    {NULL, NULL, NULL},
};

static PyObject *
manager_get_nursery(PyObject *op, void *closure)
{
    NurseryManagerObject *self = (NurseryManagerObject *)op;
    if (self->nursery == NULL) {
        PyErr_Format(PyExc_AttributeError,
                     "'NurseryManager' object has no attribute '%s'",
                     closure != NULL ? "_scope" : "_nursery");
        return NULL;
    }
    return Py_NewRef(closure != NULL ? (PyObject *)self->nursery->scope
                                     : (PyObject *)self->nursery);
}

static PyObject *
manager_repr(PyObject *op)
{
    if (tc_home_check(op) < 0) {
        return tc_home_repr(op);
    }
    return PyUnicode_FromFormat(
        "NurseryManager(strict_exception_groups=%s)",
        ((NurseryManagerObject *)op)->strict ? "True" : "False");
}

static PyObject *
manager_richcompare(PyObject *a, PyObject *b, int op)
{
    if ((op != Py_EQ && op != Py_NE) || !Py_IS_TYPE(b, Py_TYPE(a))) {
        Py_RETURN_NOTIMPLEMENTED;
    }
    int same = ((NurseryManagerObject *)a)->strict
               == ((NurseryManagerObject *)b)->strict;
    return PyBool_FromLong(op == Py_EQ ? same : !same);
}

static int
manager_traverse(PyObject *op, visitproc visit, void *arg)
{
    NurseryManagerObject *self = (NurseryManagerObject *)op;
    Py_VISIT(Py_TYPE(op));
    Py_VISIT((PyObject *)self->nursery);
    Py_VISIT(self->dict);
    return 0;
}

static int
manager_clear(PyObject *op)
{
    NurseryManagerObject *self = (NurseryManagerObject *)op;
    Py_CLEAR(self->nursery);
    Py_CLEAR(self->dict);
    return 0;
}

static void
manager_dealloc(PyObject *op)
{
    NurseryManagerObject *self = (NurseryManagerObject *)op;
    PyTypeObject *type = Py_TYPE(op);
    PyObject_GC_UnTrack(op);
    if (self->weakrefs != NULL) {
        PyObject_ClearWeakRefs(op);
    }
    tc_state *st = self->st;
    manager_clear(op);
    tc_freelist_delete(&st->free_nursery_managers, op);
    Py_DECREF(type);
}

static char closure_scope;

static PyGetSetDef manager_getset[] = {
    {"_nursery", manager_get_nursery, NULL, NULL, NULL},
    {"_scope", manager_get_nursery, NULL, NULL, &closure_scope},
    {"__dict__", PyObject_GenericGetDict, PyObject_GenericSetDict, NULL,
     NULL},
    {NULL, NULL, NULL, NULL, NULL},
};

static PyMemberDef manager_members[] = {
    {"strict_exception_groups", T_BOOL,
     offsetof(NurseryManagerObject, strict), 0, NULL},
    {"__dictoffset__", T_PYSSIZET, offsetof(NurseryManagerObject, dict),
     READONLY, NULL},
    {"__weaklistoffset__", T_PYSSIZET,
     offsetof(NurseryManagerObject, weakrefs), READONLY, NULL},
    {NULL, 0, 0, 0, NULL},
};

static PyType_Slot manager_slots[] = {
    {Py_tp_new, manager_tp_new},
    {Py_tp_dealloc, manager_dealloc},
    {Py_tp_traverse, manager_traverse},
    {Py_tp_clear, manager_clear},
    {Py_tp_repr, manager_repr},
    {Py_tp_richcompare, manager_richcompare},
    {Py_tp_hash, PyObject_HashNotImplemented},
    {Py_tp_getset, manager_getset},
    {Py_tp_members, manager_members},
    {0, NULL},
};

static PyType_Spec tc_nursery_manager_spec = {
    .name = "trio_c._core._run.NurseryManager",
    .basicsize = sizeof(NurseryManagerObject),
    .flags = Py_TPFLAGS_DEFAULT | Py_TPFLAGS_HAVE_GC | Py_TPFLAGS_BASETYPE,
    .slots = manager_slots,
};

int
tc_nursery_manager_register(tc_state *st)
{
    if (tc_state_add_type(st, &st->NurseryManagerType,
                          &tc_nursery_manager_spec, NULL, "NurseryManager")
            < 0
        || tc_function_add_to_type(st, st->NurseryManagerType,
                                   manager_functions)
               < 0) {
        return -1;
    }
    return tc_function_add_to_module(st, open_nursery_functions);
}
