/* lock.c - Lock and StrictFIFOLock, both nothing but a _LockImpl.
 *
 * Invariants
 * - While a living task owns the lock, the embedded breaker is in that task's
 *   list, unless a program has taken it out. When the owner exits, the lot
 *   is broken and owner stays: the lock is locked for good.
 * - A release hands over to the first in the lot, whoever parked there: the
 *   next owner is set before it wakes.
 * - The lot is made when first somebody has to wait, or asks for it.
 */
#include "lock.h"

#include <string.h>

#include "../glue/errors.h"
#include "../glue/function.h"
#include "../glue/types.h"
#include "sync.h"

static void
lock_set_owner(LockObject *self, TaskObject *task)
{
    Py_INCREF(task);
    TaskObject *old = self->owner;
    self->owner = task;
    tc_list_remove(&self->breaker.link);
    tc_list_append(&task->breakers, &self->breaker.link);
    /* The old owner, if any, is the running task and outlives this. */
    Py_XDECREF(old);
}

int
tc_lock_try(LockObject *self, TaskObject *task)
{
    if (self->owner == task) {
        PyErr_SetString(PyExc_RuntimeError,
                        "attempt to re-acquire an already held Lock");
        return -1;
    }
    if (self->owner != NULL || !tc_lot_is_empty(self->breaker.lot)) {
        return 0;
    }
    lock_set_owner(self, task);
    return 1;
}

int
tc_lock_release(LockObject *self, TaskObject *task)
{
    ParkingLotObject *lot = self->breaker.lot;
    if (self->owner != task) {
        PyErr_SetString(PyExc_RuntimeError,
                        "can't release a Lock you don't own");
        return -1;
    }
    if (!tc_link_is_linked(&self->breaker.link)) {
        PyErr_SetString(PyExc_RuntimeError,
                        "Attempted to remove task as breaker for a lot it is "
                        "not registered for");
        return -1;
    }
    if (tc_lot_is_empty(lot)) {
        tc_list_remove(&self->breaker.link);
        Py_CLEAR(self->owner);
        return 0;
    }
    if (tc_lot_check(lot) < 0) {
        return -1;
    }
    AwaitableObject *aw = tc_lot_pop(lot);
    lock_set_owner(self, aw->task);
    int r = tc_task_wake(aw->task);
    Py_DECREF(aw);
    return r;
}

void
tc_lock_explain_broken(LockObject *self)
{
    PyObject *type = self->st->exc_BrokenResourceError;
    if (!PyErr_ExceptionMatches(type)) {
        return;
    }
    PyErr_Clear();
    PyErr_Format(type, "Owner of this lock exited without releasing: %S",
                 self->owner == NULL ? Py_None : (PyObject *)self->owner);
    tc_error_from_none();
}

PyObject *
tc_lock_statistics(LockObject *self)
{
    ParkingLotObject *lot = self->breaker.lot;
    PyObject *owner = self->owner == NULL ? Py_None : (PyObject *)self->owner;
    PyObject *values[] = {
        PyBool_FromLong(self->owner != NULL),
        Py_NewRef(owner),
        PyLong_FromSsize_t(lot == NULL ? 0 : lot->n_parked),
    };
    return tc_statistics_new(self->st->LockStatisticsType, values);
}

/* --- awaitables ---------------------------------------------------------- */

static int
lock_try(AwaitableObject *aw, TaskObject *task)
{
    return tc_lock_try((LockObject *)aw->owner, task);
}

tc_step
tc_lock_acquire_step(AwaitableObject *self, PyObject *Py_UNUSED(sent),
                     PyObject **Py_UNUSED(result))
{
    LockObject *lock = (LockObject *)self->owner;
    tc_step step = tc_acquire_step(self, lock_try, &lock->breaker.lot);
    if (step == TC_ERROR && self->phase < TC_PHASE_CANCELLED) {
        tc_lock_explain_broken(lock);
    }
    return step;
}

static const tc_op lock_acquire_op = {
    .name = "acquire",
    .qualname = "_LockImpl.acquire",
    .step = tc_lock_acquire_step,
    .abandon = tc_lot_unpark_self,
    .sleep_data = tc_lot_of,
};

static const tc_op lock_aenter_op = {
    .name = "__aenter__",
    .qualname = TC_AENTER_NAME,
    .step = tc_lock_acquire_step,
    .abandon = tc_lot_unpark_self,
    .sleep_data = tc_lot_of,
};

static tc_step
lock_aexit_step(AwaitableObject *self, PyObject *Py_UNUSED(sent),
                PyObject **Py_UNUSED(result))
{
    TaskObject *task = tc_trap_task(self);
    if (task == NULL
        || tc_lock_release((LockObject *)self->owner, task) < 0) {
        return TC_ERROR;
    }
    return TC_DONE;
}

static const tc_op lock_aexit_op = {
    .name = "__aexit__",
    .qualname = TC_AEXIT_NAME,
    .step = lock_aexit_step,
};

/* --- methods ------------------------------------------------------------- */

static PyObject *
lock_acquire(FunctionObject *func, PyObject *op, PyObject *const *args,
             Py_ssize_t nargs, PyObject *kwnames)
{
    if (tc_args_none("_LockImpl.acquire", nargs, kwnames) < 0) {
        return NULL;
    }
    return (PyObject *)tc_awaitable_new(func->st, &lock_acquire_op, op);
}

static PyObject *
lock_aenter(FunctionObject *func, PyObject *op, PyObject *const *args,
            Py_ssize_t nargs, PyObject *kwnames)
{
    if (tc_args_none(TC_AENTER_NAME, nargs, kwnames) < 0) {
        return NULL;
    }
    return (PyObject *)tc_awaitable_new(func->st, &lock_aenter_op, op);
}

static PyObject *
lock_aexit(FunctionObject *func, PyObject *op, PyObject *const *args,
           Py_ssize_t nargs, PyObject *kwnames)
{
    if (tc_aexit_check(args, nargs, kwnames) < 0) {
        return NULL;
    }
    return (PyObject *)tc_awaitable_new(func->st, &lock_aexit_op, op);
}

static PyObject *
lock_acquire_nowait(FunctionObject *func, PyObject *op,
                    PyObject *const *args, Py_ssize_t nargs,
                    PyObject *kwnames)
{
    if (tc_args_none("_LockImpl.acquire_nowait", nargs, kwnames) < 0) {
        return NULL;
    }
    TaskObject *task = tc_context_need_task(func->st);
    if (task == NULL) {
        return NULL;
    }
    int got = tc_lock_try((LockObject *)op, task);
    if (got == 0) {
        PyErr_SetNone(func->st->exc_WouldBlock);
    }
    return got == 1 ? Py_NewRef(Py_None) : NULL;
}

static PyObject *
lock_release(FunctionObject *func, PyObject *op, PyObject *const *args,
             Py_ssize_t nargs, PyObject *kwnames)
{
    if (tc_args_none("_LockImpl.release", nargs, kwnames) < 0) {
        return NULL;
    }
    TaskObject *task = tc_context_need_task(func->st);
    if (task == NULL || tc_lock_release((LockObject *)op, task) < 0) {
        return NULL;
    }
    Py_RETURN_NONE;
}

static PyObject *
lock_locked(FunctionObject *Py_UNUSED(func), PyObject *op,
            PyObject *const *args, Py_ssize_t nargs, PyObject *kwnames)
{
    if (tc_args_none("_LockImpl.locked", nargs, kwnames) < 0) {
        return NULL;
    }
    return PyBool_FromLong(((LockObject *)op)->owner != NULL);
}

static PyObject *
lock_statistics(FunctionObject *Py_UNUSED(func), PyObject *op,
                PyObject *const *args, Py_ssize_t nargs, PyObject *kwnames)
{
    if (tc_args_none("_LockImpl.statistics", nargs, kwnames) < 0) {
        return NULL;
    }
    return tc_lock_statistics((LockObject *)op);
}

static PyObject *
lock_repr(PyObject *op)
{
    if (tc_home_check(op) < 0) {
        return tc_home_repr(op);
    }
    LockObject *self = (LockObject *)op;
    const char *name = Py_TYPE(op)->tp_name;
    const char *dot = strrchr(name, '.');
    name = dot == NULL ? name : dot + 1;
    if (self->owner == NULL) {
        return PyUnicode_FromFormat("<unlocked %s object at %s>", name,
                                    tc_hex_id(op).text);
    }
    ParkingLotObject *lot = self->breaker.lot;
    return PyUnicode_FromFormat("<locked %s object at %s with %zd waiters>",
                                name, tc_hex_id(op).text,
                                lot == NULL ? 0 : lot->n_parked);
}

static PyObject *
lock_get_lot(PyObject *op, void *Py_UNUSED(closure))
{
    LockObject *self = (LockObject *)op;
    return Py_XNewRef(
        (PyObject *)tc_lot_need(self->st, &self->breaker.lot));
}

/* --- lifetime ------------------------------------------------------------ */

PyObject *
tc_lock_new(PyTypeObject *type)
{
    tc_state *st = tc_state_from_type(type);
    if (st == NULL) {
        return NULL;
    }
    LockObject *self = (LockObject *)type->tp_alloc(type, 0);
    if (self != NULL) {
        self->st = st;
        tc_list_init(&self->breaker.link);
        TC_LIVE_ADD(st, LockImplType);
    }
    return (PyObject *)self;
}

static PyObject *
lock_vectorcall(PyObject *type, PyObject *const *Py_UNUSED(args),
                size_t nargsf, PyObject *kwnames)
{
    if (tc_args_none("Lock", PyVectorcall_NARGS(nargsf), kwnames) < 0) {
        return NULL;
    }
    return tc_lock_new((PyTypeObject *)type);
}

static PyObject *
lock_tp_new(PyTypeObject *type, PyObject *args, PyObject *kwargs)
{
    static const tc_params params = {.fname = "Lock"};
    /* A subclass of _LockImpl may have an __init__ with arguments. */
    if (type->tp_init == PyBaseObject_Type.tp_init
        && tc_args_parse_tuple(&params, args, kwargs, NULL) < 0) {
        return NULL;
    }
    return tc_lock_new(type);
}

static int
lock_traverse(PyObject *op, visitproc visit, void *arg)
{
    LockObject *self = (LockObject *)op;
    Py_VISIT(Py_TYPE(op));
    Py_VISIT((PyObject *)self->owner);
    Py_VISIT((PyObject *)self->breaker.lot);
    Py_VISIT(self->dict);
    return 0;
}

static int
lock_clear(PyObject *op)
{
    LockObject *self = (LockObject *)op;
    tc_list_remove(&self->breaker.link);
    Py_CLEAR(self->owner);
    Py_CLEAR(self->breaker.lot);
    Py_CLEAR(self->dict);
    return 0;
}

static void
lock_dealloc(PyObject *op)
{
    LockObject *self = (LockObject *)op;
    PyTypeObject *type = Py_TYPE(op);
    PyObject_GC_UnTrack(op);
    if (self->weakrefs != NULL) {
        PyObject_ClearWeakRefs(op);
    }
    (void)lock_clear(op);
    TC_LIVE_SUB(self->st, LockImplType);
    type->tp_free(op);
    Py_DECREF(type);
}

/* --- registration -------------------------------------------------------- */

static const tc_function_def lock_method_defs[] = {
    {"_LockImpl.locked", TC_MIXIN_MODULE, lock_locked},
    {"_LockImpl.acquire_nowait", TC_MIXIN_MODULE, lock_acquire_nowait},
    {"_LockImpl.acquire", TC_MIXIN_MODULE, lock_acquire},
    {"_LockImpl.release", TC_MIXIN_MODULE, lock_release},
    {"_LockImpl.statistics", TC_MIXIN_MODULE, lock_statistics},
    {TC_AENTER_NAME, TC_MIXIN_MODULE, lock_aenter},
    {TC_AEXIT_NAME, TC_MIXIN_MODULE, lock_aexit},
    {NULL, NULL, NULL},
};

static PyMethodDef lock_final_methods[] = {
    TC_FINAL_METHOD,
    TC_COPY_METHOD,
    {NULL, NULL, 0, NULL},
};

static PyGetSetDef lock_getset[] = {
    {"_lot", lock_get_lot, NULL, NULL, NULL},
    {"__dict__", PyObject_GenericGetDict, PyObject_GenericSetDict, NULL,
     NULL},
    {NULL, NULL, NULL, NULL, NULL},
};

static PyMemberDef lock_members[] = {
    {"_owner", T_OBJECT, offsetof(LockObject, owner), READONLY, NULL},
    {"__dictoffset__", T_PYSSIZET, offsetof(LockObject, dict), READONLY,
     NULL},
    {"__weaklistoffset__", T_PYSSIZET, offsetof(LockObject, weakrefs),
     READONLY, NULL},
    {NULL, 0, 0, 0, NULL},
};

static PyType_Slot lock_impl_slots[] = {
    {Py_tp_new, lock_tp_new},
    {Py_tp_dealloc, lock_dealloc},
    {Py_tp_traverse, lock_traverse},
    {Py_tp_clear, lock_clear},
    {Py_tp_repr, lock_repr},
    {Py_tp_getset, lock_getset},
    {Py_tp_members, lock_members},
    {0, NULL},
};

static PyType_Spec tc_lock_impl_spec = {
    .name = TC_MIXIN_MODULE "._LockImpl",
    .basicsize = sizeof(LockObject),
    .flags = Py_TPFLAGS_DEFAULT | Py_TPFLAGS_HAVE_GC | Py_TPFLAGS_BASETYPE,
    .slots = lock_impl_slots,
};

PyDoc_STRVAR(lock_doc,
             "Lock()\n--\n\n"
             "Mutual exclusion between tasks: one task owns it at a time,\n"
             "and only the owner may release it. Whoever waits gets it in\n"
             "the order of asking. Not re-entrant. Use it with\n"
             "``async with``.");

static PyType_Slot lock_slots[] = {
    {Py_tp_doc, (char *)lock_doc},
    {Py_tp_dealloc, lock_dealloc},
    {Py_tp_traverse, lock_traverse},
    {Py_tp_clear, lock_clear},
    {Py_tp_methods, lock_final_methods},
    {0, NULL},
};

static PyType_Spec tc_lock_spec = {
    .name = "trio_c.Lock",
    .basicsize = sizeof(LockObject),
    .flags = Py_TPFLAGS_DEFAULT | Py_TPFLAGS_HAVE_GC | Py_TPFLAGS_BASETYPE,
    .slots = lock_slots,
};

PyDoc_STRVAR(strict_fifo_lock_doc,
             "StrictFIFOLock()\n--\n\n"
             "A :class:`Lock` that promises that tasks get it in the order\n"
             "in which they asked, for programs whose correctness rests on\n"
             "that.");

static PyType_Slot strict_fifo_lock_slots[] = {
    {Py_tp_doc, (char *)strict_fifo_lock_doc},
    {Py_tp_dealloc, lock_dealloc},
    {Py_tp_traverse, lock_traverse},
    {Py_tp_clear, lock_clear},
    {Py_tp_methods, lock_final_methods},
    {0, NULL},
};

static PyType_Spec tc_strict_fifo_lock_spec = {
    .name = "trio_c.StrictFIFOLock",
    .basicsize = sizeof(LockObject),
    .flags = Py_TPFLAGS_DEFAULT | Py_TPFLAGS_HAVE_GC | Py_TPFLAGS_BASETYPE,
    .slots = strict_fifo_lock_slots,
};

int
tc_lock_register(tc_state *st)
{
    static const char *const fields[]
        = {"locked", "owner", "tasks_waiting", NULL};
    if (tc_statistics_add_type(st, &st->LockStatisticsType, "LockStatistics",
                               "trio_c",
                               "A lock's state: whether it is held, by which\n"
                               "task (or None), and how many wait for it.",
                               fields) < 0
        || tc_state_add_type(st, &st->LockImplType, &tc_lock_impl_spec, NULL,
                             "_LockImpl") < 0
        || tc_function_add_to_type(st, st->LockImplType, lock_method_defs)
               < 0) {
        return -1;
    }
    PyObject *base = (PyObject *)st->LockImplType;
    if (tc_state_add_type(st, &st->LockType, &tc_lock_spec, base, "Lock") < 0
        || tc_state_add_type(st, &st->StrictFIFOLockType,
                             &tc_strict_fifo_lock_spec, base,
                             "StrictFIFOLock") < 0
        || tc_type_mark_final(st, st->LockType) < 0
        || tc_type_mark_final(st, st->StrictFIFOLockType) < 0) {
        return -1;
    }
    st->LockType->tp_vectorcall = lock_vectorcall;
    st->StrictFIFOLockType->tp_vectorcall = lock_vectorcall;
    return 0;
}
