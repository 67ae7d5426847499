/* cancel_status.c - a scope's node in the cancel tree, for those who look.
 *
 * Views, made on demand, equal when they show the same node. Libraries read
 * `effectively_cancelled` and walk `_parent`, `_children`, `_tasks`.
 */
#include "cancel.h"
#include "task.h"

typedef struct {
    TC_HOME_HEAD
    CancelScopeObject *scope;    /* owned */
} CancelStatusObject;

PyObject *
tc_cancel_status_new(tc_state *st, CancelScopeObject *scope)
{
    CancelStatusObject *self
        = PyObject_GC_New(CancelStatusObject, st->CancelStatusType);
    if (self == NULL) {
        return NULL;
    }
    self->scope = (CancelScopeObject *)Py_NewRef((PyObject *)scope);
    TC_HOME_HERE(self);
    PyObject_GC_Track(self);
    return (PyObject *)self;
}

static CancelScopeObject *
cancel_status_scope(PyObject *op)
{
    return ((CancelStatusObject *)op)->scope;
}

static PyObject *
cancel_status_get_scope(PyObject *op, void *Py_UNUSED(closure))
{
    return Py_NewRef((PyObject *)cancel_status_scope(op));
}

static PyObject *
cancel_status_get_parent(PyObject *op, void *Py_UNUSED(closure))
{
    CancelScopeObject *scope = cancel_status_scope(op);
    if (scope->parent == NULL) {
        Py_RETURN_NONE;
    }
    return tc_cancel_status_new(scope->st, scope->parent);
}

static PyObject *
cancel_status_get_children(PyObject *op, void *Py_UNUSED(closure))
{
    CancelScopeObject *scope = cancel_status_scope(op);
    PyObject *children = PySet_New(NULL);
    PyObject *scopes = PyList_New(0);
    int r = children == NULL || scopes == NULL ? -1 : 0;
    /* First the scopes: making a view can set off the garbage collector, and
       whatever that runs can change the tree. */
    for (tc_link *l = scope->children.next; r == 0 && l != &scope->children;
         l = l->next) {
        r = PyList_Append(scopes,
                          (PyObject *)TC_CONTAINER_OF(l, CancelScopeObject,
                                                      sibling_link));
    }
    for (Py_ssize_t i = 0; r == 0 && i < PyList_GET_SIZE(scopes); i++) {
        PyObject *child = tc_cancel_status_new(
            scope->st, (CancelScopeObject *)PyList_GET_ITEM(scopes, i));
        r = child == NULL ? -1 : PySet_Add(children, child);
        Py_XDECREF(child);
    }
    Py_XDECREF(scopes);
    if (r < 0) {
        Py_CLEAR(children);
    }
    return children;
}

static PyObject *
cancel_status_get_tasks(PyObject *op, void *Py_UNUSED(closure))
{
    CancelScopeObject *scope = cancel_status_scope(op);
    PyObject *tasks = PySet_New(NULL);
    if (tasks == NULL) {
        return NULL;
    }
    for (tc_link *l = scope->tasks.next; l != &scope->tasks; l = l->next) {
        PyObject *task
            = (PyObject *)TC_CONTAINER_OF(l, TaskObject, scope_link);
        if (PySet_Add(tasks, task) < 0) {
            Py_DECREF(tasks);
            return NULL;
        }
    }
    return tasks;
}

static PyObject *
cancel_status_get_cancelled(PyObject *op, void *Py_UNUSED(closure))
{
    return PyBool_FromLong(cancel_status_scope(op)->effectively_cancelled);
}

static PyObject *
cancel_status_get_abandoned(PyObject *op, void *Py_UNUSED(closure))
{
    return PyBool_FromLong(cancel_status_scope(op)->abandoned);
}

static PyObject *
cancel_status_encloses(PyObject *op, PyObject *other)
{
    if (other == Py_None) {
        Py_RETURN_FALSE;
    }
    if (!Py_IS_TYPE(other, Py_TYPE(op))) {
        PyErr_Format(PyExc_TypeError, "expected a CancelStatus, got %s",
                     Py_TYPE(other)->tp_name);
        return NULL;
    }
    return PyBool_FromLong(tc_scope_encloses(cancel_status_scope(op),
                                             cancel_status_scope(other)));
}

static PyObject *
cancel_status_effective_deadline(PyObject *op, PyObject *Py_UNUSED(ignored))
{
    return PyFloat_FromDouble(
        tc_scope_effective_deadline(cancel_status_scope(op)));
}

static PyObject *
cancel_status_richcompare(PyObject *a, PyObject *b, int op)
{
    if ((op != Py_EQ && op != Py_NE) || !Py_IS_TYPE(b, Py_TYPE(a))) {
        Py_RETURN_NOTIMPLEMENTED;
    }
    int same = cancel_status_scope(a) == cancel_status_scope(b);
    return PyBool_FromLong(op == Py_EQ ? same : !same);
}

static Py_hash_t
cancel_status_hash(PyObject *op)
{
    Py_hash_t h = (Py_hash_t)((uintptr_t)cancel_status_scope(op) >> 4);
    return h == -1 ? -2 : h;
}

static PyObject *
cancel_status_repr(PyObject *op)
{
    if (tc_home_check(op) < 0) {
        return tc_home_repr(op);
    }
    CancelScopeObject *scope = cancel_status_scope(op);
    return PyUnicode_FromFormat(
        "CancelStatus(_scope=%R, effectively_cancelled=%s)", scope,
        scope->effectively_cancelled ? "True" : "False");
}

static int
cancel_status_traverse(PyObject *op, visitproc visit, void *arg)
{
    Py_VISIT(Py_TYPE(op));
    Py_VISIT((PyObject *)cancel_status_scope(op));
    return 0;
}

static int
cancel_status_clear(PyObject *op)
{
    /* The scope stays until dealloc: every method relies on it, and a cycle
       through it is broken on its side. */
    (void)op;
    return 0;
}

static void
cancel_status_dealloc(PyObject *op)
{
    PyTypeObject *type = Py_TYPE(op);
    PyObject_GC_UnTrack(op);
    CancelScopeObject *scope = cancel_status_scope(op);
    type->tp_free(op);
    Py_DECREF(scope);
    Py_DECREF(type);
}

static PyGetSetDef cancel_status_getset[] = {
    {"_scope", cancel_status_get_scope, NULL, NULL, NULL},
    {"_parent", cancel_status_get_parent, NULL, NULL, NULL},
    {"parent", cancel_status_get_parent, NULL, NULL, NULL},
    {"_children", cancel_status_get_children, NULL, NULL, NULL},
    {"children", cancel_status_get_children, NULL, NULL, NULL},
    {"_tasks", cancel_status_get_tasks, NULL, NULL, NULL},
    {"tasks", cancel_status_get_tasks, NULL, NULL, NULL},
    {"effectively_cancelled", cancel_status_get_cancelled, NULL, NULL, NULL},
    {"abandoned_by_misnesting", cancel_status_get_abandoned, NULL, NULL,
     NULL},
    {NULL, NULL, NULL, NULL, NULL},
};

static PyMethodDef cancel_status_methods[] = {
    {"encloses", cancel_status_encloses, METH_O, NULL},
    {"effective_deadline", cancel_status_effective_deadline, METH_NOARGS,
     NULL},
    {NULL, NULL, 0, NULL},
};

static PyType_Slot cancel_status_slots[] = {
    {Py_tp_dealloc, cancel_status_dealloc},
    {Py_tp_traverse, cancel_status_traverse},
    {Py_tp_clear, cancel_status_clear},
    {Py_tp_richcompare, cancel_status_richcompare},
    {Py_tp_hash, cancel_status_hash},
    {Py_tp_repr, cancel_status_repr},
    {Py_tp_getset, cancel_status_getset},
    {Py_tp_methods, cancel_status_methods},
    {0, NULL},
};

static PyType_Spec tc_cancel_status_spec = {
    .name = "trio_c._core._run.CancelStatus",
    .basicsize = sizeof(CancelStatusObject),
    .flags = Py_TPFLAGS_DEFAULT | Py_TPFLAGS_HAVE_GC
             | Py_TPFLAGS_DISALLOW_INSTANTIATION,
    .slots = cancel_status_slots,
};

int
tc_cancel_status_register(tc_state *st)
{
    return tc_state_add_type(st, &st->CancelStatusType,
                             &tc_cancel_status_spec, NULL, "CancelStatus");
}
