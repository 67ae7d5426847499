/* returned.c - the StopIteration that carries an awaitable's result.
 *
 * The interpreter takes the result of `await` out of a StopIteration, which is
 * gone before the next line runs. So there is a subclass of it of which one
 * instance is kept for the next result. It looks like its base to those who
 * drive an awaitable by hand with next(), but fills in `args` only when asked.
 *
 * Invariants
 * - st->returned is a live object, tracked, with no value, no args, and
 *   nothing that raising can leave in an exception. One that has been given
 *   any of these is not kept. Without a GIL none is (freelist.h).
 */
#include "returned.h"

static PyTypeObject *
returned_base(void)
{
    return (PyTypeObject *)PyExc_StopIteration;
}

static PyObject *
returned_new(tc_state *st)
{
    PyTypeObject *type = st->ReturnedType;
    PyStopIterationObject *self
        = (PyStopIterationObject *)type->tp_alloc(type, 0);
    if (self != NULL && (self->args = PyTuple_New(0)) == NULL) {
        Py_CLEAR(self);
    }
    return (PyObject *)self;
}

void
tc_returned_raise(tc_state *st, PyObject *value)
{
    PyObject *self = NULL;
    if (!TC_FREE_THREADED) {
        self = st->returned;
        st->returned = NULL;
    }
    if (self == NULL || Py_REFCNT(self) > 1) {
        /* In use, or somebody found it with gc.get_objects(). */
        Py_XDECREF(self);
        self = returned_new(st);
        if (self == NULL) {
            Py_DECREF(value);
            return;
        }
    }
    Py_XSETREF(((PyStopIterationObject *)self)->value, value);
    PyErr_SetRaisedException(self);
}

static int
returned_is_clean(PyStopIterationObject *self)
{
    return self->traceback == NULL && self->context == NULL
           && self->cause == NULL && self->notes == NULL
           && self->dict == NULL && !self->suppress_context
           && PyTuple_GET_SIZE(self->args) == 0;
}

static void
returned_dealloc(PyObject *op)
{
    PyStopIterationObject *self = (PyStopIterationObject *)op;
    PyTypeObject *type = Py_TYPE(op);
    tc_state *st = PyType_GetModuleState(type);
    /* n_awaitables < 0: the module is going */
    if (!TC_FREE_THREADED && st->returned == NULL
        && st->n_awaitables >= 0 && self->args != NULL
        && returned_is_clean(self)) {
        Py_INCREF(op);
        Py_CLEAR(self->value);   /* can run Python, and come back here */
        if (st->returned == NULL && st->n_awaitables >= 0
            && Py_REFCNT(op) == 1 && returned_is_clean(self)) {
            st->returned = op;
        }
        else {
            Py_DECREF(op);
        }
        return;
    }
    returned_base()->tp_dealloc(op);
    Py_DECREF(type);
}

static int
returned_traverse(PyObject *op, visitproc visit, void *arg)
{
    Py_VISIT(Py_TYPE(op));
    return returned_base()->tp_traverse(op, visit, arg);
}

static int
returned_clear(PyObject *op)
{
    return returned_base()->tp_clear(op);
}

/* --- as its base would be ---------------------------------------------- */

/* (value,). 0 or -1. */
static int
returned_fill(PyStopIterationObject *self)
{
    if (self->value != NULL && PyTuple_GET_SIZE(self->args) == 0) {
        PyObject *args = PyTuple_Pack(1, self->value);
        if (args == NULL) {
            return -1;
        }
        Py_SETREF(self->args, args);
    }
    return 0;
}

static PyObject *
returned_get_args(PyObject *op, void *Py_UNUSED(closure))
{
    PyStopIterationObject *self = (PyStopIterationObject *)op;
    return returned_fill(self) < 0 ? NULL : Py_NewRef(self->args);
}

static int
returned_set_args(PyObject *op, PyObject *value, void *Py_UNUSED(closure))
{
    if (value == NULL) {
        PyErr_SetString(PyExc_TypeError, "args may not be deleted");
        return -1;
    }
    PyObject *args = PySequence_Tuple(value);
    if (args == NULL) {
        return -1;
    }
    Py_SETREF(((PyStopIterationObject *)op)->args, args);
    return 0;
}

static PyObject *
returned_str(PyObject *op)
{
    return returned_fill((PyStopIterationObject *)op) < 0
               ? NULL
               : returned_base()->tp_str(op);
}

static PyObject *
returned_repr(PyObject *op)
{
    return returned_fill((PyStopIterationObject *)op) < 0
               ? NULL
               : returned_base()->tp_repr(op);
}

/* Copied or pickled it becomes an ordinary one. */
static PyObject *
returned_reduce(PyObject *op, PyObject *Py_UNUSED(ignored))
{
    PyStopIterationObject *self = (PyStopIterationObject *)op;
    if (returned_fill(self) < 0) {
        return NULL;
    }
    return self->dict == NULL
               ? PyTuple_Pack(2, PyExc_StopIteration, self->args)
               : PyTuple_Pack(3, PyExc_StopIteration, self->args,
                              self->dict);
}

static PyGetSetDef returned_getset[] = {
    {"args", returned_get_args, returned_set_args, NULL, NULL},
    {NULL, NULL, NULL, NULL, NULL},
};

static PyMethodDef returned_methods[] = {
    {"__reduce__", returned_reduce, METH_NOARGS, NULL},
    {NULL, NULL, 0, NULL},
};

static PyType_Slot returned_slots[] = {
    {Py_tp_dealloc, returned_dealloc},
    {Py_tp_traverse, returned_traverse},
    {Py_tp_clear, returned_clear},
    {Py_tp_str, returned_str},
    {Py_tp_repr, returned_repr},
    {Py_tp_getset, returned_getset},
    {Py_tp_methods, returned_methods},
    {0, NULL},
};

static PyType_Spec tc_returned_spec = {
    .name = "builtins.StopIteration",
    .basicsize = sizeof(PyStopIterationObject),
    .flags = Py_TPFLAGS_DEFAULT | Py_TPFLAGS_HAVE_GC,
    .slots = returned_slots,
};

int
tc_returned_register(tc_state *st)
{
    return tc_state_add_type(st, &st->ReturnedType, &tc_returned_spec,
                             PyExc_StopIteration, NULL);
}
