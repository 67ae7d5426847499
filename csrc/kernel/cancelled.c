/* cancelled.c - the exception Cancelled and the reason it carries. */
#include "../glue/args.h"
#include "../glue/types.h"
#include "cancel.h"
#include "task.h"

/* --- the task behind a cancellation ------------------------------------ */

/* repr() of a task, for which hardly anybody asks: what it is made from. */
typedef struct {
    PyObject *text;          /* owned: str, None or what was assigned; NULL:
                                to be made from the others */
    PyObject *name;          /* owned or NULL: the task's, or its function */
    void *address;           /* of the task, which need not exist any more */
} tc_source_task;

/* Of a task, or NULL for None. */
static int
source_task_init(tc_source_task *self, TaskObject *task)
{
    self->text = self->name = NULL;
    self->address = task;
    if (task == NULL) {
        return 0;
    }
    if (PyFunction_Check(task->name) || PyUnicode_CheckExact(task->name)) {
        self->name = Py_NewRef(task->name);
        return 0;
    }
    self->text = tc_task_repr(task);
    return self->text == NULL ? -1 : 0;
}

/* New reference; NULL with exception. */
static PyObject *
source_task_text(tc_source_task *self)
{
    if (self->text == NULL && self->name != NULL) {
        PyObject *name = Py_NewRef(self->name);
        PyObject *text = tc_task_format(name, self->address);
        Py_DECREF(name);
        if (text == NULL) {
            return NULL;
        }
        Py_XSETREF(self->text, text);
        Py_CLEAR(self->name);
    }
    return Py_NewRef(self->text != NULL ? self->text : Py_None);
}

static void
source_task_copy(tc_source_task *self, const tc_source_task *other)
{
    self->text = Py_XNewRef(other->text);
    self->name = Py_XNewRef(other->name);
    self->address = other->address;
}

static void
source_task_clear(tc_source_task *self)
{
    Py_CLEAR(self->text);
    Py_CLEAR(self->name);
}

/* The attribute source_task; the closure is where it lies in the object. */
static PyObject *
source_task_get(PyObject *op, void *closure)
{
    return source_task_text((tc_source_task *)((char *)op + (size_t)closure));
}

static int
source_task_set(PyObject *op, PyObject *value, void *closure)
{
    tc_source_task *self = (tc_source_task *)((char *)op + (size_t)closure);
    Py_XSETREF(self->text, Py_NewRef(value != NULL ? value : Py_None));
    Py_CLEAR(self->name);
    return 0;
}

/* What an attribute that may have been deleted says: borrowed. */
static inline PyObject *
or_none(PyObject *value)
{
    return value != NULL ? value : Py_None;
}

/* "name(source=..., source_task=..., reason=...)"; what is in it may assign
   to the attributes that it comes from. */
static PyObject *
source_repr(const char *name, PyObject *source, tc_source_task *source_task,
            PyObject *reason)
{
    PyObject *task = source_task_text(source_task);
    if (task == NULL) {
        return NULL;
    }
    source = Py_NewRef(or_none(source));
    reason = Py_NewRef(or_none(reason));
    PyObject *text
        = PyUnicode_FromFormat("%s(source=%R, source_task=%R, reason=%R)",
                               name, source, task, reason);
    Py_DECREF(source);
    Py_DECREF(reason);
    Py_DECREF(task);
    return text;
}

/* --- CancelReason: what a scope remembers ------------------------------ */

typedef struct {
    PyObject_HEAD
    PyObject *source;        /* owned str */
    tc_source_task source_task;
    PyObject *reason;        /* owned: any object, usually str or None */
} CancelReasonObject;

PyObject *
tc_reason_new(tc_state *st, const char *source, TaskObject *task,
              PyObject *reason)
{
    tc_source_task source_task;
    if (source_task_init(&source_task, task) < 0) {
        return NULL;
    }
    CancelReasonObject *self
        = PyObject_GC_New(CancelReasonObject, st->CancelReasonType);
    if (self == NULL) {
        source_task_clear(&source_task);
        return NULL;
    }
    self->source = PyUnicode_InternFromString(source);
    self->source_task = source_task;
    self->reason = Py_NewRef(reason != NULL ? reason : Py_None);
    PyObject_GC_Track(self);
    if (self->source == NULL) {
        Py_DECREF(self);
        return NULL;
    }
    return (PyObject *)self;
}

static int
cancel_reason_traverse(PyObject *op, visitproc visit, void *arg)
{
    CancelReasonObject *self = (CancelReasonObject *)op;
    Py_VISIT(Py_TYPE(op));
    Py_VISIT(self->source);
    Py_VISIT(self->source_task.text);
    Py_VISIT(self->source_task.name);
    Py_VISIT(self->reason);
    return 0;
}

static int
cancel_reason_clear(PyObject *op)
{
    CancelReasonObject *self = (CancelReasonObject *)op;
    Py_CLEAR(self->source);
    source_task_clear(&self->source_task);
    Py_CLEAR(self->reason);
    return 0;
}

static void
cancel_reason_dealloc(PyObject *op)
{
    PyTypeObject *type = Py_TYPE(op);
    PyObject_GC_UnTrack(op);
    cancel_reason_clear(op);
    type->tp_free(op);
    Py_DECREF(type);
}

static PyObject *
cancel_reason_repr(PyObject *op)
{
    CancelReasonObject *self = (CancelReasonObject *)op;
    return source_repr("CancelReason", self->source, &self->source_task,
                       self->reason);
}

static PyMemberDef cancel_reason_members[] = {
    {"source", T_OBJECT, offsetof(CancelReasonObject, source), 0, NULL},
    {"reason", T_OBJECT, offsetof(CancelReasonObject, reason), 0, NULL},
    {NULL, 0, 0, 0, NULL},
};

static PyGetSetDef cancel_reason_getset[] = {
    {"source_task", source_task_get, source_task_set, NULL,
     (void *)offsetof(CancelReasonObject, source_task)},
    {NULL, NULL, NULL, NULL, NULL},
};

static PyObject *
cancel_reason_tp_new(PyTypeObject *type, PyObject *args, PyObject *kwargs)
{
    static const tc_params params = {
        .fname = "CancelReason",
        .names = {"source", "source_task", "reason"},
        .n_positional = 3,
        .n_required = 1,
    };
    PyObject *a[3];
    if (tc_args_parse_tuple(&params, args, kwargs, a) < 0) {
        return NULL;
    }
    CancelReasonObject *self = (CancelReasonObject *)type->tp_alloc(type, 0);
    if (self != NULL) {
        self->source = Py_NewRef(a[0]);
        self->source_task.text = Py_NewRef(a[1] != NULL ? a[1] : Py_None);
        self->reason = Py_NewRef(a[2] != NULL ? a[2] : Py_None);
    }
    return (PyObject *)self;
}

static PyObject *
cancel_reason_reduce(PyObject *op, PyObject *Py_UNUSED(ignored))
{
    CancelReasonObject *self = (CancelReasonObject *)op;
    PyObject *task = source_task_text(&self->source_task);
    if (task == NULL) {
        return NULL;
    }
    return Py_BuildValue("O(ONO)", Py_TYPE(op), or_none(self->source),
                         task, or_none(self->reason));
}

static PyMethodDef cancel_reason_methods[] = {
    {"__reduce__", cancel_reason_reduce, METH_NOARGS, NULL},
    {NULL, NULL, 0, NULL},
};

static PyType_Slot cancel_reason_slots[] = {
    {Py_tp_methods, cancel_reason_methods},
    {Py_tp_new, cancel_reason_tp_new},
    {Py_tp_dealloc, cancel_reason_dealloc},
    {Py_tp_traverse, cancel_reason_traverse},
    {Py_tp_clear, cancel_reason_clear},
    {Py_tp_repr, cancel_reason_repr},
    {Py_tp_members, cancel_reason_members},
    {Py_tp_getset, cancel_reason_getset},
    {0, NULL},
};

static PyType_Spec tc_cancel_reason_spec = {
    .name = "trio_c._core._run.CancelReason",
    .basicsize = sizeof(CancelReasonObject),
    .flags = Py_TPFLAGS_DEFAULT | Py_TPFLAGS_HAVE_GC,
    .slots = cancel_reason_slots,
};

/* --- Cancelled ---------------------------------------------------------- */

typedef struct {
    PyBaseExceptionObject base;
    PyObject *source;        /* owned, as in CancelReason */
    tc_source_task source_task;
    PyObject *reason;        /* owned */
    PyObject *weakrefs;
} CancelledObject;

/* The three are borrowed; NULL: the default. */
static PyObject *
cancelled_create(PyTypeObject *type, PyObject *source,
                 const tc_source_task *source_task, PyObject *reason)
{
    PyObject *args = PyTuple_New(0);
    if (args == NULL) {
        return NULL;
    }
    PyTypeObject *base = (PyTypeObject *)PyExc_BaseException;
    PyObject *op = base->tp_new(type, args, NULL);
    Py_DECREF(args);
    if (op == NULL) {
        return NULL;
    }
    CancelledObject *self = (CancelledObject *)op;
    self->source = source != NULL ? Py_NewRef(source)
                                  : PyUnicode_InternFromString("unknown");
    if (source_task != NULL) {
        source_task_copy(&self->source_task, source_task);
    }
    self->reason = Py_NewRef(reason != NULL ? reason : Py_None);
    if (self->source == NULL) {
        Py_DECREF(op);
        return NULL;
    }
    return op;
}

PyObject *
tc_cancelled_new(tc_state *st, PyObject *reason)
{
    if (reason == NULL) {
        PyObject *text = PyUnicode_InternFromString("misnesting");
        if (text == NULL) {
            return NULL;
        }
        PyObject *exc = cancelled_create(st->CancelledType, NULL, NULL, text);
        Py_DECREF(text);
        return exc;
    }
    CancelReasonObject *r = (CancelReasonObject *)reason;
    return cancelled_create(st->CancelledType, or_none(r->source),
                            &r->source_task, r->reason);
}

static PyObject *
cancelled_create_method(PyObject *cls, PyObject *args, PyObject *kwargs)
{
    static const tc_params params = {
        .fname = "_create",
        .names = {"source", "source_task", "reason"},
    };
    PyObject *a[3];
    if (tc_args_parse_tuple(&params, args, kwargs, a) < 0) {
        return NULL;
    }
    tc_source_task source_task = {.text = a[1]};
    return cancelled_create((PyTypeObject *)cls, a[0], &source_task, a[2]);
}

static PyObject *
cancelled_str(PyObject *op)
{
    CancelledObject *self = (CancelledObject *)op;
    PyObject *text = PyUnicode_FromFormat("cancelled due to %S",
                                          or_none(self->source));
    PyObject *reason = Py_NewRef(or_none(self->reason));
    if (text != NULL && reason != Py_None) {
        Py_SETREF(text,
                  PyUnicode_FromFormat("%U with reason %R", text, reason));
    }
    Py_DECREF(reason);
    PyObject *task
        = text == NULL ? NULL : source_task_text(&self->source_task);
    if (task == NULL) {
        Py_CLEAR(text);
    }
    if (text != NULL && task != Py_None) {
        Py_SETREF(text, PyUnicode_FromFormat("%U from task %S", text, task));
    }
    Py_XDECREF(task);
    return text;
}

static PyObject *
cancelled_repr(PyObject *op)
{
    CancelledObject *self = (CancelledObject *)op;
    return source_repr("Cancelled", self->source, &self->source_task,
                       self->reason);
}

/* Rebuilt through _create, since the class has no public constructor. */
static PyObject *
cancelled_reduce(PyObject *op, PyObject *Py_UNUSED(ignored))
{
    CancelledObject *self = (CancelledObject *)op;
    PyObject *task = source_task_text(&self->source_task);
    PyObject *functools
        = task == NULL ? NULL : PyImport_ImportModule("functools");
    if (functools == NULL) {
        Py_XDECREF(task);
        return NULL;
    }
    PyObject *result = NULL, *args = NULL, *kwargs = NULL;
    PyObject *partial = PyObject_GetAttrString(functools, "partial");
    PyObject *create
        = PyObject_GetAttrString((PyObject *)Py_TYPE(op), "_create");
    if (partial == NULL || create == NULL) {
        goto done;
    }
    args = PyTuple_Pack(1, create);
    kwargs = Py_BuildValue("{sOsOsO}", "source", or_none(self->source),
                           "source_task", task, "reason",
                           or_none(self->reason));
    if (args != NULL && kwargs != NULL) {
        PyObject *rebuild = PyObject_Call(partial, args, kwargs);
        if (rebuild != NULL) {
            result = Py_BuildValue("(N())", rebuild);
        }
    }
done:
    Py_XDECREF(args);
    Py_XDECREF(kwargs);
    Py_XDECREF(create);
    Py_XDECREF(partial);
    Py_DECREF(functools);
    Py_DECREF(task);
    return result;
}

static int
cancelled_traverse(PyObject *op, visitproc visit, void *arg)
{
    CancelledObject *self = (CancelledObject *)op;
    Py_VISIT(Py_TYPE(op));
    Py_VISIT(self->source);
    Py_VISIT(self->source_task.text);
    Py_VISIT(self->source_task.name);
    Py_VISIT(self->reason);
    return ((PyTypeObject *)PyExc_BaseException)
        ->tp_traverse(op, visit, arg);
}

static int
cancelled_clear(PyObject *op)
{
    CancelledObject *self = (CancelledObject *)op;
    Py_CLEAR(self->source);
    source_task_clear(&self->source_task);
    Py_CLEAR(self->reason);
    return ((PyTypeObject *)PyExc_BaseException)->tp_clear(op);
}

static void
cancelled_dealloc(PyObject *op)
{
    PyTypeObject *type = Py_TYPE(op);
    PyObject_GC_UnTrack(op);
    if (((CancelledObject *)op)->weakrefs != NULL) {
        PyObject_ClearWeakRefs(op);
    }
    cancelled_clear(op);
    type->tp_free(op);
    Py_DECREF(type);
}

static int
cancelled_init(PyObject *Py_UNUSED(op), PyObject *Py_UNUSED(args),
               PyObject *Py_UNUSED(kwargs))
{
    return 0;
}

static PyMemberDef cancelled_members[] = {
    {"source", T_OBJECT, offsetof(CancelledObject, source), 0, NULL},
    {"reason", T_OBJECT, offsetof(CancelledObject, reason), 0, NULL},
    {"__weaklistoffset__", T_PYSSIZET, offsetof(CancelledObject, weakrefs),
     READONLY, NULL},
    {NULL, 0, 0, 0, NULL},
};

static PyGetSetDef cancelled_getset[] = {
    {"source_task", source_task_get, source_task_set, NULL,
     (void *)offsetof(CancelledObject, source_task)},
    {NULL, NULL, NULL, NULL, NULL},
};

static PyMethodDef cancelled_methods[] = {
    {"_create", (PyCFunction)(void (*)(void))cancelled_create_method,
     METH_VARARGS | METH_KEYWORDS | METH_CLASS, NULL},
    {"__reduce__", cancelled_reduce, METH_NOARGS, NULL},
    TC_FINAL_METHOD,
    {NULL, NULL, 0, NULL},
};

PyDoc_STRVAR(cancelled_doc,
             "Raised by a checkpoint inside a scope that has been cancelled.\n"
             "\n"
             "It ends the work up to that scope, which swallows it. Code\n"
             "that catches it must let it go on. `source` names the kind of\n"
             "cause, `source_task` the task behind it and `reason` what that\n"
             "task said; any of the last two can be None.");

static PyType_Slot cancelled_slots[] = {
    {Py_tp_doc, (char *)cancelled_doc},
    {Py_tp_new, tc_type_no_constructor},
    {Py_tp_init, cancelled_init},
    {Py_tp_dealloc, cancelled_dealloc},
    {Py_tp_traverse, cancelled_traverse},
    {Py_tp_clear, cancelled_clear},
    {Py_tp_str, cancelled_str},
    {Py_tp_repr, cancelled_repr},
    {Py_tp_members, cancelled_members},
    {Py_tp_getset, cancelled_getset},
    {Py_tp_methods, cancelled_methods},
    {0, NULL},
};

static PyType_Spec tc_cancelled_spec = {
    .name = "trio_c.Cancelled",
    .basicsize = sizeof(CancelledObject),
    .flags = Py_TPFLAGS_DEFAULT | Py_TPFLAGS_HAVE_GC | Py_TPFLAGS_BASETYPE,
    .slots = cancelled_slots,
};

int
tc_cancelled_register(tc_state *st)
{
    if (tc_state_add_type(st, &st->CancelReasonType, &tc_cancel_reason_spec,
                          NULL, "CancelReason")
            < 0
        || tc_state_add_type(st, &st->CancelledType, &tc_cancelled_spec,
                             PyExc_BaseException, "Cancelled")
               < 0) {
        return -1;
    }
    return tc_type_mark_final(st, st->CancelledType);
}
