/* method.c - a native function bound to an object, to be called and dropped.
 *
 * Everything but the call goes through a method object of Python's own, made
 * for the occasion. self was checked when it was bound.
 *
 * What lies in the freelist is a live object, tracked and bound to nothing:
 * coming and going costs neither the collector nor the type anything. Anybody
 * may find it with gc.get_objects().
 */
#include "method.h"

#define MAX_FREE 256

typedef struct MethodObject {
    PyObject_HEAD
    vectorcallfunc vectorcall;
    FunctionObject *func;            /* owned; NULL in the freelist */
    PyObject *self;                  /* owned; NULL in the freelist */
    struct MethodObject *next_free;  /* owned or NULL */
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

static PyObject *
method_call_free(PyObject *Py_UNUSED(op), PyObject *const *Py_UNUSED(args),
                 size_t Py_UNUSED(nargsf), PyObject *Py_UNUSED(kwnames))
{
    PyErr_SetString(PyExc_TypeError, "a method that is bound to nothing");
    return NULL;
}

/* New reference, tracked, bound to nothing; or NULL. */
static MethodObject *
method_alloc(tc_state *st)
{
    MethodObject *m = PyObject_GC_New(MethodObject, st->MethodType);
    if (m != NULL) {
        m->func = NULL;
        m->self = NULL;
        m->next_free = NULL;
        m->weakrefs = NULL;
        m->vectorcall = method_call_free;
        PyObject_GC_Track(m);
    }
    return m;
}

/* The same, from the freelist; NULL also if that has none. */
static MethodObject *
method_pop(tc_state *st)
{
    MethodObject *m = st->methods;
    if (m == NULL) {
        return NULL;
    }
    st->methods = m->next_free;
    st->n_methods--;
    m->next_free = NULL;
    if (Py_REFCNT(m) > 1) {
        Py_DECREF(m);        /* somebody has found it */
        return NULL;
    }
    return m;
}

PyObject *
tc_method_new(FunctionObject *func, PyObject *self)
{
    tc_state *st = func->st;
    MethodObject *m = method_pop(st);
    if (m == NULL) {
        if (st->MethodType == NULL) {
            return PyMethod_New((PyObject *)func, self);  /* at shutdown */
        }
        m = method_alloc(st);
        if (m == NULL) {
            return NULL;
        }
    }
    m->vectorcall = method_call;
    m->func = (FunctionObject *)Py_NewRef((PyObject *)func);
    m->self = Py_NewRef(self);
    return (PyObject *)m;
}

void
tc_method_close_freelist(tc_state *st)
{
    MethodObject *m;
    while ((m = st->methods) != NULL) {
        st->methods = m->next_free;
        m->next_free = NULL;
        Py_DECREF(m);
    }
    st->n_methods = MAX_FREE;  /* keeps nothing more */
}

/* --- for those who look -------------------------------------------------- */

/* New reference, or NULL. */
static PyObject *
method_plain(PyObject *op)
{
    MethodObject *m = (MethodObject *)op;
    return m->func == NULL ? PyMethod_New(Py_None, Py_None)
                           : PyMethod_New((PyObject *)m->func, m->self);
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
    Py_VISIT((PyObject *)m->next_free);
    return 0;
}

static void
method_dealloc(PyObject *op)
{
    MethodObject *m = (MethodObject *)op;
    PyTypeObject *type = Py_TYPE(op);
    FunctionObject *func = m->func;
    PyObject *self = m->self;
    tc_state *st = func == NULL ? NULL : func->st;
    /* Weak references can only be cleared of what is about to die. */
    int keep = st != NULL && st->n_methods < MAX_FREE && m->weakrefs == NULL;
    if (keep) {
        Py_INCREF(op);       /* the freelist's; what follows can run Python */
    }
    else {
        PyObject_GC_UnTrack(op);
    }
    if (m->weakrefs != NULL) {
        PyObject_ClearWeakRefs(op);
    }
    m->func = NULL;
    m->self = NULL;
    m->vectorcall = method_call_free;
    Py_XDECREF(self);
    Py_XDECREF(func);
    if (!keep) {
        PyObject_GC_Del(op);
        Py_DECREF(type);
    }
    else if (st->n_methods < MAX_FREE) {
        m->next_free = st->methods;
        st->methods = m;
        st->n_methods++;
    }
    else {
        Py_DECREF(op);
    }
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
