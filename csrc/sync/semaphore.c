/* semaphore.c - Semaphore: a number that cannot go below zero.
 *
 * Invariant: while anybody is parked in the lot, a release hands over to the
 * first and leaves the value alone, so it stays 0.
 */
#include "../glue/function.h"
#include "../glue/types.h"
#include "acquire.h"
#include "sync.h"

typedef struct {
    TC_HOME_HEAD
    tc_state *st;            /* borrowed */
    Py_ssize_t value;
    Py_ssize_t max;          /* PY_SSIZE_T_MAX: none that matters */
    PyObject *max_value;     /* owned, as given: int or None */
    ParkingLotObject *lot;   /* owned or NULL: made when needed */
    PyObject *dict;          /* owned or NULL */
    PyObject *weakrefs;
} SemaphoreObject;

static int
semaphore_take(SemaphoreObject *self)
{
    if (self->value == 0) {
        return 0;
    }
    self->value--;
    return 1;
}

static int
semaphore_give(SemaphoreObject *self)
{
    if (!tc_lot_is_empty(self->lot)) {
        return tc_lot_wake_first(self->lot);
    }
    if (self->value == self->max) {
        PyErr_SetString(PyExc_ValueError,
                        "semaphore released too many times");
        return -1;
    }
    self->value++;
    return 0;
}

/* --- awaitables ---------------------------------------------------------- */

static int
semaphore_try(AwaitableObject *aw, TaskObject *Py_UNUSED(task))
{
    return semaphore_take((SemaphoreObject *)aw->owner);
}

static tc_step
semaphore_acquire_step(AwaitableObject *self, PyObject *Py_UNUSED(sent),
                       PyObject **Py_UNUSED(result))
{
    return tc_acquire_step(self, semaphore_try,
                           &((SemaphoreObject *)self->owner)->lot);
}

static const tc_op semaphore_acquire_op = {
    .name = "acquire",
    .qualname = "Semaphore.acquire",
    .step = semaphore_acquire_step,
    .abandon = tc_lot_unpark_self,
    .sleep_data = tc_lot_of,
};

static const tc_op semaphore_aenter_op = {
    .name = "__aenter__",
    .qualname = TC_AENTER_NAME,
    .step = semaphore_acquire_step,
    .abandon = tc_lot_unpark_self,
    .sleep_data = tc_lot_of,
};

static tc_step
semaphore_aexit_step(AwaitableObject *self, PyObject *Py_UNUSED(sent),
                     PyObject **Py_UNUSED(result))
{
    return semaphore_give((SemaphoreObject *)self->owner) < 0 ? TC_ERROR
                                                              : TC_DONE;
}

static const tc_op semaphore_aexit_op = {
    .name = "__aexit__",
    .qualname = TC_AEXIT_NAME,
    .step = semaphore_aexit_step,
};

/* --- methods ------------------------------------------------------------- */

static PyObject *
semaphore_acquire(FunctionObject *func, PyObject *op, PyObject *const *args,
                  Py_ssize_t nargs, PyObject *kwnames)
{
    if (tc_args_none("Semaphore.acquire", nargs, kwnames) < 0) {
        return NULL;
    }
    return (PyObject *)tc_awaitable_new(func->st, &semaphore_acquire_op, op);
}

static PyObject *
semaphore_aenter(FunctionObject *func, PyObject *op, PyObject *const *args,
                 Py_ssize_t nargs, PyObject *kwnames)
{
    if (tc_args_none(TC_AENTER_NAME, nargs, kwnames) < 0) {
        return NULL;
    }
    return (PyObject *)tc_awaitable_new(func->st, &semaphore_aenter_op, op);
}

static PyObject *
semaphore_aexit(FunctionObject *func, PyObject *op, PyObject *const *args,
                Py_ssize_t nargs, PyObject *kwnames)
{
    if (tc_aexit_check(args, nargs, kwnames) < 0) {
        return NULL;
    }
    return (PyObject *)tc_awaitable_new(func->st, &semaphore_aexit_op, op);
}

static PyObject *
semaphore_acquire_nowait(FunctionObject *func, PyObject *op,
                         PyObject *const *args, Py_ssize_t nargs,
                         PyObject *kwnames)
{
    if (tc_args_none("Semaphore.acquire_nowait", nargs, kwnames) < 0) {
        return NULL;
    }
    if (!semaphore_take((SemaphoreObject *)op)) {
        PyErr_SetNone(func->st->exc_WouldBlock);
        return NULL;
    }
    Py_RETURN_NONE;
}

static PyObject *
semaphore_release(FunctionObject *Py_UNUSED(func), PyObject *op,
                  PyObject *const *args, Py_ssize_t nargs,
                  PyObject *kwnames)
{
    if (tc_args_none("Semaphore.release", nargs, kwnames) < 0
        || semaphore_give((SemaphoreObject *)op) < 0) {
        return NULL;
    }
    Py_RETURN_NONE;
}

static PyObject *
semaphore_statistics(FunctionObject *func, PyObject *op,
                     PyObject *const *args, Py_ssize_t nargs,
                     PyObject *kwnames)
{
    SemaphoreObject *self = (SemaphoreObject *)op;
    if (tc_args_none("Semaphore.statistics", nargs, kwnames) < 0) {
        return NULL;
    }
    PyObject *value
        = PyLong_FromSsize_t(self->lot == NULL ? 0 : self->lot->n_parked);
    return tc_statistics_new(func->st->ParkingLotStatisticsType, &value);
}

static PyObject *
semaphore_repr(PyObject *op)
{
    if (tc_home_check(op) < 0) {
        return tc_home_repr(op);
    }
    SemaphoreObject *self = (SemaphoreObject *)op;
    if (self->max_value == Py_None) {
        return PyUnicode_FromFormat("<trio.Semaphore(%zd) at %s>",
                                    self->value, tc_hex_id(op).text);
    }
    return PyUnicode_FromFormat("<trio.Semaphore(%zd, max_value=%S) at %s>",
                                self->value, self->max_value,
                                tc_hex_id(op).text);
}

static PyObject *
semaphore_get_lot(PyObject *op, void *Py_UNUSED(closure))
{
    SemaphoreObject *self = (SemaphoreObject *)op;
    return Py_XNewRef((PyObject *)tc_lot_need(self->st, &self->lot));
}

/* --- lifetime ------------------------------------------------------------ */

/* Checks the constructor's arguments. *max is PY_SSIZE_T_MAX if max_value is
   None or out of reach. 0 or -1. */
static int
semaphore_check_args(PyObject *initial_value, PyObject *max_value,
                     Py_ssize_t *value, Py_ssize_t *max)
{
    if (!PyLong_Check(initial_value)) {
        PyErr_SetString(PyExc_TypeError, "initial_value must be an int");
        return -1;
    }
    int overflow;
    (void)PyLong_AsLongAndOverflow(initial_value, &overflow);
    *value = overflow < 0 ? -1 : PyLong_AsSsize_t(initial_value);
    if (PyErr_Occurred()) {
        return -1;
    }
    if (*value < 0) {
        PyErr_SetString(PyExc_ValueError, "initial value must be >= 0");
        return -1;
    }
    *max = PY_SSIZE_T_MAX;
    if (max_value == Py_None) {
        return 0;
    }
    if (!PyLong_Check(max_value)) {
        PyErr_SetString(PyExc_TypeError, "max_value must be None or an int");
        return -1;
    }
    *max = PyNumber_AsSsize_t(max_value, NULL);
    if (*max < *value) {
        PyErr_SetString(PyExc_ValueError,
                        "max_values must be >= initial_value");
        return -1;
    }
    return 0;
}

static PyObject *
semaphore_tp_new(PyTypeObject *type, PyObject *args, PyObject *kwargs)
{
    static const tc_params params = {
        .fname = "Semaphore",
        .names = {"initial_value", "max_value"},
        .n_positional = 1,
        .n_required = 1,
    };
    PyObject *given[2];
    Py_ssize_t value, max;
    if (tc_args_parse_tuple(&params, args, kwargs, given) < 0) {
        return NULL;
    }
    PyObject *max_value = given[1] == NULL ? Py_None : given[1];
    if (semaphore_check_args(given[0], max_value, &value, &max) < 0) {
        return NULL;
    }
    tc_state *st = tc_state_from_type(type);
    if (st == NULL) {
        return NULL;
    }
    SemaphoreObject *self = (SemaphoreObject *)type->tp_alloc(type, 0);
    if (self != NULL) {
        self->st = st;
        self->value = value;
        self->max = max;
        self->max_value = Py_NewRef(max_value);
        TC_LIVE_ADD(st, SemaphoreType);
    }
    return (PyObject *)self;
}

static int
semaphore_traverse(PyObject *op, visitproc visit, void *arg)
{
    SemaphoreObject *self = (SemaphoreObject *)op;
    Py_VISIT(Py_TYPE(op));
    Py_VISIT((PyObject *)self->lot);
    Py_VISIT(self->dict);
    return 0;
}

static int
semaphore_clear(PyObject *op)
{
    SemaphoreObject *self = (SemaphoreObject *)op;
    Py_CLEAR(self->lot);
    Py_CLEAR(self->dict);
    return 0;
}

static void
semaphore_dealloc(PyObject *op)
{
    SemaphoreObject *self = (SemaphoreObject *)op;
    PyTypeObject *type = Py_TYPE(op);
    PyObject_GC_UnTrack(op);
    if (self->weakrefs != NULL) {
        PyObject_ClearWeakRefs(op);
    }
    (void)semaphore_clear(op);
    Py_CLEAR(self->max_value);
    TC_LIVE_SUB(self->st, SemaphoreType);
    type->tp_free(op);
    Py_DECREF(type);
}

/* --- registration -------------------------------------------------------- */

static const tc_function_def semaphore_method_defs[] = {
    {"Semaphore.acquire_nowait", "trio_c", semaphore_acquire_nowait},
    {"Semaphore.acquire", "trio_c", semaphore_acquire},
    {"Semaphore.release", "trio_c", semaphore_release},
    {"Semaphore.statistics", "trio_c", semaphore_statistics},
    {TC_AENTER_NAME, TC_MIXIN_MODULE, semaphore_aenter},
    {TC_AEXIT_NAME, TC_MIXIN_MODULE, semaphore_aexit},
    {NULL, NULL, NULL},
};

static PyMethodDef semaphore_methods[] = {
    TC_FINAL_METHOD,
    TC_COPY_METHOD,
    {NULL, NULL, 0, NULL},
};

static PyGetSetDef semaphore_getset[] = {
    {"_lot", semaphore_get_lot, NULL, NULL, NULL},
    {"__dict__", PyObject_GenericGetDict, PyObject_GenericSetDict, NULL,
     NULL},
    {NULL, NULL, NULL, NULL, NULL},
};

static PyMemberDef semaphore_members[] = {
    {"value", T_PYSSIZET, offsetof(SemaphoreObject, value), READONLY,
     PyDoc_STR("How many times it can be acquired without waiting.")},
    {"max_value", T_OBJECT, offsetof(SemaphoreObject, max_value), READONLY,
     PyDoc_STR("The value that release() may not exceed, or None.")},
    {"__dictoffset__", T_PYSSIZET, offsetof(SemaphoreObject, dict), READONLY,
     NULL},
    {"__weaklistoffset__", T_PYSSIZET, offsetof(SemaphoreObject, weakrefs),
     READONLY, NULL},
    {NULL, 0, 0, 0, NULL},
};

PyDoc_STRVAR(semaphore_doc,
             "Semaphore(initial_value, *, max_value=None)\n--\n\n"
             "A number that acquiring decreases and releasing increases;\n"
             "while it is 0, acquiring waits. Any task may release. With\n"
             "max_value, releasing beyond it is a ValueError.");

static PyType_Slot semaphore_slots[] = {
    {Py_tp_doc, (char *)semaphore_doc},
    {Py_tp_new, semaphore_tp_new},
    {Py_tp_dealloc, semaphore_dealloc},
    {Py_tp_traverse, semaphore_traverse},
    {Py_tp_clear, semaphore_clear},
    {Py_tp_repr, semaphore_repr},
    {Py_tp_methods, semaphore_methods},
    {Py_tp_getset, semaphore_getset},
    {Py_tp_members, semaphore_members},
    {0, NULL},
};

static PyType_Spec tc_semaphore_spec = {
    .name = "trio_c.Semaphore",
    .basicsize = sizeof(SemaphoreObject),
    .flags = Py_TPFLAGS_DEFAULT | Py_TPFLAGS_HAVE_GC | Py_TPFLAGS_BASETYPE,
    .slots = semaphore_slots,
};

int
tc_semaphore_register(tc_state *st)
{
    if (tc_state_add_type(st, &st->SemaphoreType, &tc_semaphore_spec, NULL,
                          "Semaphore") < 0
        || tc_function_add_to_type(st, st->SemaphoreType,
                                   semaphore_method_defs) < 0) {
        return -1;
    }
    return tc_type_mark_final(st, st->SemaphoreType);
}
