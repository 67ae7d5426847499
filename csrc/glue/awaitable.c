/* awaitable.c - the coroutine protocol on top of an operation table.
 *
 * Invariants
 * - state goes CREATED -> RUNNING <-> SUSPENDED -> CLOSED and never back.
 * - Only a SUSPENDED awaitable can be linked anywhere; leaving that state
 *   other than through step() or thrown() calls op->abandon first.
 * - am_send and tp_iternext are two faces of awaitable_step(): 3.12 and later
 *   await through tp_iternext, 3.11 and Cython through am_send.
 * - "NULL without exception" from tp_iternext means done with None.
 * - What lies in the freelist is a live object, closed and empty: tracked, one
 *   reference held by the freelist, which the module's traverse visits. So
 *   coming and going costs neither the collector nor the type anything.
 *   Without a GIL the freelist stays empty (freelist.h).
 */
#include "awaitable.h"
#include "../base/hints.h"
#include "errors.h"
#include "function.h"
#include "returned.h"

#define MAX_FREE 256

/* --- creation ---------------------------------------------------------- */

/* New and tracked, without a call. */
TC_COLD static AwaitableObject *
awaitable_alloc(tc_state *st)
{
    AwaitableObject *self
        = PyObject_GC_New(AwaitableObject, st->AwaitableType);
    if (self == NULL) {
        return NULL;
    }
    self->st = st;
    self->owner = NULL;
    self->value = NULL;
    self->extra = NULL;
    self->task = NULL;
    tc_list_init(&self->link);
    self->origin = NULL;
    self->weakrefs = NULL;
    self->state = TC_AW_CLOSED;
    self->finalized = 0;
    self->is_free = 0;
    TC_HOME_NOBODYS(self);
    PyObject_GC_Track(self);
    return self;
}

/* From the freelist: all its references NULL, tracked. NULL if it is empty. */
static inline AwaitableObject *
awaitable_pop(tc_state *st)
{
    AwaitableObject *self = st->awaitables;
    if (TC_FREE_THREADED || self == NULL) {
        return NULL;
    }
    st->awaitables = self->u.next_free;
    st->n_awaitables--;
    if (Py_REFCNT(self) > 1) {
        /* Somebody found it with gc.get_objects(). */
        Py_DECREF(self);
        return NULL;
    }
    self->is_free = 0;
    tc_renew((PyObject *)self);
    return self;
}

TC_COLD static void
awaitable_note_origin(AwaitableObject *self, int depth)
{
    PyObject *helpers = tc_state_helpers(self->st);
    self->origin = helpers == NULL
                       ? NULL
                       : PyObject_CallMethod(helpers, "coroutine_origin", "i",
                                             depth);
    if (self->origin == NULL) {
        PyErr_WriteUnraisable((PyObject *)self);
    }
}

AwaitableObject *
tc_awaitable_new(tc_state *st, const tc_op *op, PyObject *owner)
{
    AwaitableObject *self = awaitable_pop(st);
    if (self == NULL) {
        self = awaitable_alloc(st);
        if (self == NULL) {
            return NULL;
        }
    }
    self->op = op;
    self->owner = Py_XNewRef(owner);
    self->u.i64 = 0;
    self->state = TC_AW_CREATED;
    self->trap = TC_TRAP_NONE;
    self->phase = 0;
    self->flags = 0;
#if TC_FREE_THREADED
    self->has_homed_owner = 0;
#endif
    TC_LIVE_ADD(st, AwaitableType);

    int depth = TC_ORIGIN_DEPTH(PyThreadState_Get());
    if (depth > 0) {
        awaitable_note_origin(self, depth);
    }
    return self;
}

/* The raised exception leaves an awaitable. A StopIteration would be taken for
   a result (PEP 479). */
static tc_step
awaitable_failed(void)
{
    if (PyErr_ExceptionMatches(PyExc_StopIteration)) {
        tc_error_chain(PyExc_RuntimeError, "coroutine raised StopIteration");
    }
    return TC_ERROR;
}

/* Take self out of whatever it waits in; it will not run again. */
static void
awaitable_close(AwaitableObject *self)
{
    if (self->state == TC_AW_SUSPENDED && self->op->abandon != NULL) {
        self->op->abandon(self);
    }
    self->state = TC_AW_CLOSED;
}

/* The same, and give up what it holds, while the references that this takes
   are still there. */
static void
awaitable_release(AwaitableObject *self)
{
    awaitable_close(self);
    if (self->op->release != NULL && !self->is_free) {
        self->op->release(self);
    }
}

static tc_step
awaitable_finish_step(AwaitableObject *self, tc_step step, PyObject **result)
{
    if (step == TC_YIELD) {
        self->state = TC_AW_SUSPENDED;
        if (*result == NULL) {
            *result = Py_NewRef((PyObject *)self);
        }
        return TC_YIELD;
    }
    assert(!tc_link_is_linked(&self->link));
    self->state = TC_AW_CLOSED;
    assert((step == TC_ERROR) == (PyErr_Occurred() != NULL));
    Py_CLEAR(self->task);
    return step == TC_ERROR ? awaitable_failed() : step;
}

#if TC_FREE_THREADED
/* May this thread drive it, and use its owner? Both are at home here from now
   on, if the thread has a run. 0 or -1. */
static inline int
awaitable_check_home(AwaitableObject *self)
{
    if (tc_home_check((PyObject *)self) < 0) {
        return -1;
    }
    return self->has_homed_owner && self->owner != NULL
               ? tc_home_check(self->owner)
               : 0;
}
#endif

/* One step. *result: new reference, or NULL for None when TC_DONE. */
static inline tc_step
awaitable_step(AwaitableObject *self, PyObject *sent, PyObject **result)
{
    *result = NULL;
#if TC_FREE_THREADED
    if (awaitable_check_home(self) < 0) {
        return TC_ERROR;
    }
#endif
    if (self->state == TC_AW_CREATED) {
        if (sent != Py_None) {
            PyErr_SetString(PyExc_TypeError, "can't send non-None value to "
                                             "a just-started coroutine");
            return TC_ERROR;
        }
    }
    else if (self->state == TC_AW_CLOSED) {
        PyErr_SetString(PyExc_RuntimeError,
                        "cannot reuse already awaited coroutine");
        return TC_ERROR;
    }
    else if (self->state == TC_AW_RUNNING) {
        PyErr_SetString(PyExc_ValueError, "coroutine already executing");
        return TC_ERROR;
    }
    else if (tc_link_is_linked(&self->link)) {
        /* Resumed by somebody who is not what it waits for. */
        self->op->abandon(self);
    }
    self->state = TC_AW_RUNNING;
    self->trap = TC_TRAP_NONE;
    return awaitable_finish_step(self, self->op->step(self, sent, result),
                                 result);
}

PySendResult
tc_awaitable_send(PyObject *op, PyObject *sent, PyObject **result)
{
    switch (awaitable_step((AwaitableObject *)op, sent, result)) {
    case TC_YIELD:
        return PYGEN_NEXT;
    case TC_DONE:
        if (*result == NULL) {
            *result = Py_NewRef(Py_None);
        }
        return PYGEN_RETURN;
    default:
        return PYGEN_ERROR;
    }
}

/* Raise StopIteration(value) without chaining; value is stolen. Built by
   hand: PyErr_SetObject would unpack a tuple. */
static void
awaitable_return(PyObject *value)
{
    PyTypeObject *type = (PyTypeObject *)PyExc_StopIteration;
    PyStopIterationObject *exc
        = (PyStopIterationObject *)type->tp_alloc(type, 0);
    if (exc == NULL) {
        Py_DECREF(value);
        return;
    }
    exc->args = PyTuple_Pack(1, value);
    exc->value = value;
    if (exc->args == NULL) {
        Py_DECREF(exc);
        return;
    }
    PyErr_SetRaisedException((PyObject *)exc);
}

static PyObject *
awaitable_iternext(PyObject *op)
{
    PyObject *result;
    switch (awaitable_step((AwaitableObject *)op, Py_None, &result)) {
    case TC_YIELD:
        return result;
    case TC_DONE:
        if (result != NULL) {
            if (result == Py_None) {
                Py_DECREF(result);
            }
            else {
                tc_returned_raise(((AwaitableObject *)op)->st, result);
            }
        }
        return NULL;
    default:
        return NULL;
    }
}

/* send(): the value-returning end must be a real StopIteration here. */
static PyObject *
awaitable_result(tc_step step, PyObject *result)
{
    if (step == TC_YIELD) {
        return result;
    }
    if (step == TC_DONE) {
        if (result == NULL) {
            PyErr_SetNone(PyExc_StopIteration);
        }
        else {
            awaitable_return(result);
        }
    }
    return NULL;
}

static PyObject *
awaitable_send(PyObject *op, PyObject *sent)
{
    PyObject *result;
    tc_step step = awaitable_step((AwaitableObject *)op, sent, &result);
    return awaitable_result(step, result);
}

/* exc borrowed. */
static tc_step
awaitable_throw_exc(AwaitableObject *self, PyObject *exc, PyObject **result)
{
    *result = NULL;
#if TC_FREE_THREADED
    if (awaitable_check_home(self) < 0) {
        return TC_ERROR;
    }
#endif
    switch (self->state) {
    case TC_AW_CLOSED:
        PyErr_SetString(PyExc_RuntimeError,
                        "cannot reuse already awaited coroutine");
        return TC_ERROR;
    case TC_AW_RUNNING:
        PyErr_SetString(PyExc_ValueError, "coroutine already executing");
        return TC_ERROR;
    case TC_AW_SUSPENDED:
        if (self->op->thrown != NULL) {
            self->state = TC_AW_RUNNING;
            self->trap = TC_TRAP_NONE;
            return awaitable_finish_step(
                self, self->op->thrown(self, exc, result), result);
        }
        break;
    default:
        break;
    }
    awaitable_close(self);
    Py_CLEAR(self->task);
    PyErr_SetRaisedException(Py_NewRef(exc));
    return awaitable_failed();
}

/* The exception instance that throw(type, value, tb) means; new reference. */
static PyObject *
awaitable_exc_from_args(PyObject *const *args, Py_ssize_t nargs)
{
    if (nargs < 1 || nargs > 3) {
        PyErr_Format(PyExc_TypeError,
                     "throw expected %s, got %zd",
                     nargs < 1 ? "at least 1 argument"
                               : "at most 3 arguments",
                     nargs);
        return NULL;
    }
    PyObject *type = args[0];
    PyObject *value = nargs > 1 && args[1] != Py_None ? args[1] : NULL;
    PyObject *tb = nargs > 2 && args[2] != Py_None ? args[2] : NULL;
    if (tb != NULL && !PyTraceBack_Check(tb)) {
        PyErr_SetString(PyExc_TypeError,
                        "throw() third argument must be a traceback object");
        return NULL;
    }
    PyObject *exc;
    if (PyExceptionInstance_Check(type)) {
        if (value != NULL) {
            PyErr_SetString(PyExc_TypeError, "instance exception may not "
                                             "have a separate value");
            return NULL;
        }
        exc = Py_NewRef(type);
    }
    else if (PyExceptionClass_Check(type)) {
        if (value != NULL && PyObject_TypeCheck(value, (PyTypeObject *)type)) {
            exc = Py_NewRef(value);
        }
        else if (value == NULL) {
            exc = PyObject_CallNoArgs(type);
        }
        else if (PyTuple_Check(value)) {
            exc = PyObject_Call(type, value, NULL);
        }
        else {
            exc = PyObject_CallOneArg(type, value);
        }
        if (exc != NULL && !PyExceptionInstance_Check(exc)) {
            PyErr_Format(PyExc_TypeError,
                         "calling %R should have returned an instance of "
                         "BaseException, not %R",
                         type, (PyObject *)Py_TYPE(exc));
            Py_CLEAR(exc);
        }
    }
    else {
        PyErr_Format(PyExc_TypeError,
                     "exceptions must be classes or instances deriving from "
                     "BaseException, not %s",
                     Py_TYPE(type)->tp_name);
        return NULL;
    }
    if (exc != NULL && tb != NULL
        && PyException_SetTraceback(exc, tb) < 0) {
        Py_CLEAR(exc);
    }
    return exc;
}

static PyObject *
awaitable_throw(PyObject *op, PyObject *const *args, Py_ssize_t nargs)
{
    PyObject *exc = awaitable_exc_from_args(args, nargs);
    if (exc == NULL) {
        return NULL;
    }
    PyObject *result;
    tc_step step = awaitable_throw_exc((AwaitableObject *)op, exc, &result);
    Py_DECREF(exc);
    return awaitable_result(step, result);
}

static PyObject *
awaitable_close_method(PyObject *op, PyObject *Py_UNUSED(ignored))
{
    AwaitableObject *self = (AwaitableObject *)op;
    if (self->state == TC_AW_CREATED || self->state == TC_AW_CLOSED) {
        self->state = TC_AW_CLOSED;
        Py_RETURN_NONE;
    }
    PyObject *exc = PyObject_CallNoArgs(PyExc_GeneratorExit);
    if (exc == NULL) {
        return NULL;
    }
    PyObject *result;
    tc_step step = awaitable_throw_exc(self, exc, &result);
    Py_DECREF(exc);
    if (step == TC_YIELD) {
        Py_DECREF(result);
        PyErr_SetString(PyExc_RuntimeError,
                        "coroutine ignored GeneratorExit");
        return NULL;
    }
    if (step == TC_ERROR) {
        if (!PyErr_ExceptionMatches(PyExc_GeneratorExit)) {
            return NULL;
        }
        PyErr_Clear();
    }
    else {
        Py_XDECREF(result);
    }
    Py_RETURN_NONE;
}

static PyObject *
awaitable_await(PyObject *op)
{
    if (((AwaitableObject *)op)->state == TC_AW_SUSPENDED) {
        PyErr_SetString(PyExc_RuntimeError,
                        "coroutine is being awaited already");
        return NULL;
    }
    return Py_NewRef(op);
}

static PyObject *
awaitable_await_method(PyObject *op, PyObject *Py_UNUSED(ignored))
{
    return awaitable_await(op);
}

/* --- introspection ----------------------------------------------------- */

static PyObject *
awaitable_get_code(PyObject *op, void *Py_UNUSED(closure))
{
    AwaitableObject *self = (AwaitableObject *)op;
    PyObject *twin = tc_function_twin(self->st, self->op->qualname);
    if (twin == NULL) {
        return NULL;
    }
    PyObject *code = PyObject_GetAttrString(twin, "__code__");
    Py_DECREF(twin);
    return code;
}

/* A frame that was never run, standing for the native one: inspect tells a
   closed coroutine by cr_frame being None. */
static PyObject *
awaitable_get_frame(PyObject *op, void *Py_UNUSED(closure))
{
    AwaitableObject *self = (AwaitableObject *)op;
    if (self->state == TC_AW_CLOSED) {
        Py_RETURN_NONE;
    }
    PyObject *twin = tc_function_twin(self->st, self->op->qualname);
    if (twin == NULL) {
        return NULL;
    }
    PyObject *frame = NULL;
    PyObject *code = PyObject_GetAttrString(twin, "__code__");
    PyObject *globals = PyObject_GetAttrString(twin, "__globals__");
    if (code != NULL && globals != NULL && PyCode_Check(code)
        && PyDict_Check(globals)) {
        frame = (PyObject *)tc_frame_new(PyThreadState_Get(),
                                         (PyCodeObject *)code, globals);
    }
    else if (!PyErr_Occurred()) {
        PyErr_SetString(PyExc_TypeError, "signature twin is no function");
    }
    Py_XDECREF(globals);
    Py_XDECREF(code);
    Py_DECREF(twin);
    return frame;
}

static PyObject *
awaitable_get_await(PyObject *op, void *Py_UNUSED(closure))
{
    AwaitableObject *self = (AwaitableObject *)op;
    PyObject *inner = NULL;
    if (self->state == TC_AW_SUSPENDED && self->op->awaiting != NULL) {
        inner = self->op->awaiting(self);
    }
    return inner != NULL ? inner : Py_NewRef(Py_None);
}

static PyObject *
awaitable_get_running(PyObject *op, void *Py_UNUSED(closure))
{
    return PyBool_FromLong(((AwaitableObject *)op)->state == TC_AW_RUNNING);
}

static PyObject *
awaitable_get_suspended(PyObject *op, void *Py_UNUSED(closure))
{
    return PyBool_FromLong(((AwaitableObject *)op)->state
                           == TC_AW_SUSPENDED);
}

static PyObject *
awaitable_get_origin(PyObject *op, void *Py_UNUSED(closure))
{
    PyObject *origin = ((AwaitableObject *)op)->origin;
    return Py_NewRef(origin != NULL ? origin : Py_None);
}

static PyObject *
awaitable_get_name(PyObject *op, void *Py_UNUSED(closure))
{
    return PyUnicode_FromString(((AwaitableObject *)op)->op->name);
}

static PyObject *
awaitable_get_qualname(PyObject *op, void *Py_UNUSED(closure))
{
    return PyUnicode_FromString(((AwaitableObject *)op)->op->qualname);
}

/* isinstance(aw, types.CoroutineType) believes this, and so do
   inspect.iscoroutine() and those who await only what passes it. */
static PyObject *
awaitable_get_class(PyObject *Py_UNUSED(op), void *Py_UNUSED(closure))
{
    return Py_NewRef((PyObject *)&PyCoro_Type);
}

static PyObject *
awaitable_repr(PyObject *op)
{
    return PyUnicode_FromFormat("<coroutine object %s at %p>",
                                ((AwaitableObject *)op)->op->qualname,
                                (void *)op);
}

/* --- lifetime ---------------------------------------------------------- */

/* Does it wait in the run of another thread, though nothing there refers to
   it? A coroutine that somebody has driven by hand and dropped. */
static inline int
awaitable_is_elsewhere(AwaitableObject *self)
{
    return TC_FREE_THREADED && tc_link_is_linked(&self->link)
           && tc_home_is_elsewhere((PyObject *)self);
}

static void
awaitable_finalize(PyObject *op)
{
    AwaitableObject *self = (AwaitableObject *)op;
    self->finalized = 1;
    if (awaitable_is_elsewhere(self)) {
        /* In a list of a run of another thread, which is walking through it
           perhaps: it stays there. */
        Py_INCREF(op);
        return;
    }
    if (self->state != TC_AW_CREATED) {
        return;
    }
    PyObject *saved = PyErr_GetRaisedException();
    /* The interpreter's own text, with origin and source line. */
    PyObject *warnings = PyImport_ImportModule("warnings");
    PyObject *warn = NULL;
    if (warnings != NULL) {
        warn = PyObject_GetAttrString(warnings, "_warn_unawaited_coroutine");
        Py_DECREF(warnings);
    }
    if (warn != NULL && warn != Py_None) {
        PyObject *r = PyObject_CallOneArg(warn, op);
        if (r == NULL) {
            PyErr_WriteUnraisable(op);
        }
        Py_XDECREF(r);
    }
    else {
        PyErr_Clear();
        if (PyErr_WarnFormat(PyExc_RuntimeWarning, 1,
                             "coroutine '%s' was never awaited",
                             self->op->qualname) < 0) {
            PyErr_WriteUnraisable(op);
        }
    }
    Py_XDECREF(warn);
    if (saved != NULL) {
        PyErr_SetRaisedException(saved);
    }
}

static int
awaitable_traverse(PyObject *op, visitproc visit, void *arg)
{
    AwaitableObject *self = (AwaitableObject *)op;
    Py_VISIT(Py_TYPE(op));
    Py_VISIT(self->owner);
    Py_VISIT(self->value);
    Py_VISIT(self->extra);
    Py_VISIT((PyObject *)self->task);
    Py_VISIT(self->origin);
    return 0;
}

static int
awaitable_clear(PyObject *op)
{
    AwaitableObject *self = (AwaitableObject *)op;
    awaitable_release(self);
    Py_CLEAR(self->owner);
    Py_CLEAR(self->value);
    Py_CLEAR(self->extra);
    Py_CLEAR(self->task);
    Py_CLEAR(self->origin);
    return 0;
}

void
tc_awaitable_empty(AwaitableObject *self)
{
    if (self->state == TC_AW_CLOSED) {
        Py_INCREF(self);
        (void)awaitable_clear((PyObject *)self);
        Py_DECREF(self);
    }
}

/* Has it ended, holding nothing but its owner? Most have, when the await is
   over. */
static inline int
awaitable_is_spent(AwaitableObject *self)
{
    return self->state == TC_AW_CLOSED && self->op->release == NULL
           && self->value == NULL && self->extra == NULL
           && self->task == NULL && self->origin == NULL
           && self->weakrefs == NULL && !self->finalized && !self->is_free;
}

/* The freelist, which has room, takes over the caller's reference. */
static inline void
awaitable_push(tc_state *st, AwaitableObject *self)
{
    self->is_free = 1;
    self->u.next_free = st->awaitables;
    st->awaitables = self;
    st->n_awaitables++;
}

static inline int
awaitable_has_room(tc_state *st)
{
    return !TC_FREE_THREADED && st->n_awaitables < MAX_FREE
           && st->n_awaitables >= 0;
}

static void
awaitable_dealloc(PyObject *op)
{
    AwaitableObject *self = (AwaitableObject *)op;
    PyTypeObject *type = Py_TYPE(op);
    tc_state *st = self->st;
    if (awaitable_is_spent(self) && awaitable_has_room(st)) {
        PyObject *owner = self->owner;
        self->owner = NULL;
        Py_INCREF(op);
        awaitable_push(st, self);
        TC_LIVE_SUB(st, AwaitableType);
        Py_XDECREF(owner);
        return;
    }
    if ((self->state == TC_AW_CREATED || awaitable_is_elsewhere(self))
        && PyObject_CallFinalizerFromDealloc(op) < 0) {
        return;
    }
    /* A block whose finalised bit is set would never warn again; and weak
       references can only be cleared of what is about to die. */
    int keep = awaitable_has_room(st) && !self->finalized
               && self->weakrefs == NULL;
    if (keep) {
        Py_INCREF(op);       /* the freelist's; what follows can run Python */
    }
    else {
        PyObject_GC_UnTrack(op);
    }
    if (self->weakrefs != NULL) {
        PyObject_ClearWeakRefs(op);
    }
    if (!self->is_free) {
        (void)awaitable_clear(op);
        TC_LIVE_SUB(st, AwaitableType);
    }
    if (keep) {
        if (awaitable_has_room(st)) {
            awaitable_push(st, self);
        }
        else {
            self->is_free = 1;
            Py_DECREF(op);
        }
        return;
    }
    PyObject_GC_Del(op);
    Py_DECREF(type);
}

void
tc_awaitable_clear_freelist(tc_state *st)
{
    AwaitableObject *self = st->awaitables;
    st->awaitables = NULL;
    st->n_awaitables = -1;  /* keeps later deallocations from refilling it */
    while (self != NULL) {
        AwaitableObject *next = self->u.next_free;
        Py_DECREF(self);
        self = next;
    }
}

int
tc_awaitable_visit_freelist(tc_state *st, visitproc visit, void *arg)
{
    for (AwaitableObject *self = st->awaitables; self != NULL;
         self = self->u.next_free) {
        Py_VISIT((PyObject *)self);
    }
    return 0;
}

static PyGetSetDef awaitable_getset[] = {
    {"cr_frame", awaitable_get_frame, NULL, NULL, NULL},
    {"cr_code", awaitable_get_code, NULL, NULL, NULL},
    {"cr_await", awaitable_get_await, NULL, NULL, NULL},
    {"cr_running", awaitable_get_running, NULL, NULL, NULL},
    {"cr_suspended", awaitable_get_suspended, NULL, NULL, NULL},
    {"cr_origin", awaitable_get_origin, NULL, NULL, NULL},
    {"__class__", awaitable_get_class, NULL, NULL, NULL},
    {"__name__", awaitable_get_name, NULL, NULL, NULL},
    {"__qualname__", awaitable_get_qualname, NULL, NULL, NULL},
    {NULL, NULL, NULL, NULL, NULL},
};

static PyMethodDef awaitable_methods[] = {
    {"send", awaitable_send, METH_O, NULL},
    {"throw", (PyCFunction)(void (*)(void))awaitable_throw, METH_FASTCALL,
     NULL},
    {"close", awaitable_close_method, METH_NOARGS, NULL},
    {"__await__", awaitable_await_method, METH_NOARGS, NULL},
    {NULL, NULL, 0, NULL},
};

static PyMemberDef awaitable_members[] = {
    {"__weaklistoffset__", T_PYSSIZET, offsetof(AwaitableObject, weakrefs),
     READONLY, NULL},
    {NULL, 0, 0, 0, NULL},
};

static PyType_Slot awaitable_slots[] = {
    {Py_tp_dealloc, awaitable_dealloc},
    {Py_tp_finalize, awaitable_finalize},
    {Py_tp_traverse, awaitable_traverse},
    {Py_tp_clear, awaitable_clear},
    {Py_tp_repr, awaitable_repr},
    {Py_tp_iter, PyObject_SelfIter},
    {Py_tp_iternext, awaitable_iternext},
    {Py_am_await, awaitable_await},
    {Py_am_send, tc_awaitable_send},
    {Py_tp_getset, awaitable_getset},
    {Py_tp_methods, awaitable_methods},
    {Py_tp_members, awaitable_members},
    {0, NULL},
};

static PyType_Spec tc_awaitable_spec = {
    .name = "trio_c._native.awaitable",
    .basicsize = sizeof(AwaitableObject),
    .flags = Py_TPFLAGS_DEFAULT | Py_TPFLAGS_HAVE_GC
             | Py_TPFLAGS_IMMUTABLETYPE
             | Py_TPFLAGS_DISALLOW_INSTANTIATION,
    .slots = awaitable_slots,
};

int
tc_awaitable_register(tc_state *st)
{
    return tc_state_add_type(st, &st->AwaitableType, &tc_awaitable_spec,
                             NULL, "awaitable");
}
