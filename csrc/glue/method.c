/* method.c - a native function bound to an object, to be called and dropped.
 *
 * Everything but the call goes through a method object of Python's own, made
 * for the occasion. self was checked when it was bound.
 */
#include "method.h"
#include "freelist.h"

typedef struct {
    PyObject_HEAD
    vectorcallfunc vectorcall;
    FunctionObject *func;    /* owned */
    PyObject *self;          /* owned */
    PyObject *weakrefs;
} MethodObject;

static PyObject *
method_call(PyObject *op, PyObject *const *args, size_t nargsf,
            PyObject *kwnames)
{
    FunctionObject *func = ((MethodObject *)op)->func;
    return func->def->impl(func, ((MethodObject *)op)->self, args,
                           PyVectorcall_NARGS(nargsf), kwnames);
}

PyObject *
tc_method_new(FunctionObject *func, PyObject *self)
{
    tc_state *st = func->st;
    if (st->MethodType == NULL) {
        return PyMethod_New((PyObject *)func, self);  /* the end is near */
    }
    MethodObject *m
        = (MethodObject *)tc_freelist_new(&st->free_methods, st->MethodType);
    if (m == NULL) {
        return NULL;
    }
    m->vectorcall = method_call;
    m->func = (FunctionObject *)Py_NewRef((PyObject *)func);
    m->self = Py_NewRef(self);
    m->weakrefs = NULL;
    PyObject_GC_Track(m);
    return (PyObject *)m;
}

/* --- for those who look -------------------------------------------------- */

/* New reference, or NULL. */
static PyObject *
method_plain(PyObject *op)
{
    MethodObject *m = (MethodObject *)op;
    return PyMethod_New((PyObject *)m->func, m->self);
}

static PyObject *
method_getattro(PyObject *op, PyObject *name)
{
    PyObject *plain = method_plain(op);
    PyObject *value = plain == NULL ? NULL : PyObject_GetAttr(plain, name);
    Py_XDECREF(plain);
    return value;
}

static int
method_setattro(PyObject *op, PyObject *name, PyObject *value)
{
    PyObject *plain = method_plain(op);
    int r = plain == NULL ? -1 : PyObject_SetAttr(plain, name, value);
    Py_XDECREF(plain);
    return r;
}

static PyObject *
method_repr(PyObject *op)
{
    PyObject *plain = method_plain(op);
    PyObject *text = plain == NULL ? NULL : PyObject_Repr(plain);
    Py_XDECREF(plain);
    return text;
}

static Py_hash_t
method_hash(PyObject *op)
{
    PyObject *plain = method_plain(op);
    Py_hash_t hash = plain == NULL ? -1 : PyObject_Hash(plain);
    Py_XDECREF(plain);
    return hash;
}

static PyObject *
method_richcompare(PyObject *op, PyObject *other, int how)
{
    PyObject *plain = method_plain(op), *result = NULL;
    if (plain == NULL) {
        return NULL;
    }
    other = Py_IS_TYPE(other, Py_TYPE(op)) ? method_plain(other)
                                           : Py_NewRef(other);
    if (other != NULL) {
        result = PyMethod_Type.tp_richcompare(plain, other, how);
        Py_DECREF(other);
    }
    Py_DECREF(plain);
    return result;
}

/* type(method)(function, object), as weakref.WeakMethod has it. */
static PyObject *
method_tp_new(PyTypeObject *Py_UNUSED(type), PyObject *args,
              PyObject *kwargs)
{
    return PyObject_Call((PyObject *)&PyMethod_Type, args, kwargs);
}

/* Bound already. */
static PyObject *
method_descr_get(PyObject *op, PyObject *Py_UNUSED(obj),
                 PyObject *Py_UNUSED(type))
{
    return Py_NewRef(op);
}

/* --- lifetime ------------------------------------------------------------ */

/* As with Python's own there is no tp_clear: a cycle is broken elsewhere. */
static int
method_traverse(PyObject *op, visitproc visit, void *arg)
{
    MethodObject *m = (MethodObject *)op;
    Py_VISIT(Py_TYPE(op));
    Py_VISIT((PyObject *)m->func);
    Py_VISIT(m->self);
    return 0;
}

static void
method_dealloc(PyObject *op)
{
    MethodObject *m = (MethodObject *)op;
    PyTypeObject *type = Py_TYPE(op);
    PyObject_GC_UnTrack(op);
    if (m->weakrefs != NULL) {
        PyObject_ClearWeakRefs(op);
    }
    tc_state *st = m->func->st;
    Py_DECREF(m->self);
    Py_DECREF(m->func);
    tc_freelist_delete(&st->free_methods, op);
    Py_DECREF(type);
}

static PyMemberDef method_members[] = {
    {"__vectorcalloffset__", T_PYSSIZET, offsetof(MethodObject, vectorcall),
     READONLY, NULL},
    {"__weaklistoffset__", T_PYSSIZET, offsetof(MethodObject, weakrefs),
     READONLY, NULL},
    {NULL, 0, 0, 0, NULL},
};

static PyType_Slot method_slots[] = {
    {Py_tp_new, method_tp_new},
    {Py_tp_dealloc, method_dealloc},
    {Py_tp_traverse, method_traverse},
    {Py_tp_call, PyVectorcall_Call},
    {Py_tp_descr_get, method_descr_get},
    {Py_tp_getattro, method_getattro},
    {Py_tp_setattro, method_setattro},
    {Py_tp_repr, method_repr},
    {Py_tp_hash, method_hash},
    {Py_tp_richcompare, method_richcompare},
    {Py_tp_members, method_members},
    {0, NULL},
};

static PyType_Spec tc_method_spec = {
    .name = "trio_c._native.method",
    .basicsize = sizeof(MethodObject),
    .flags = Py_TPFLAGS_DEFAULT | Py_TPFLAGS_HAVE_GC
             | Py_TPFLAGS_HAVE_VECTORCALL | Py_TPFLAGS_IMMUTABLETYPE,
    .slots = method_slots,
};

int
tc_method_register(tc_state *st)
{
    return tc_state_add_type(st, &st->MethodType, &tc_method_spec, NULL,
                             NULL);
}
