/* condition.c - Condition: waiting for news about what a lock guards.
 *
 * Invariants
 * - wait() parks in the condition's lot; notify() moves it on into the lock's
 *   lot, from where a release hands it the lock like to anybody else who
 *   asked for it.
 * - However wait() ends after having released the lock, the task owns the
 *   lock again, unless the lock is broken or Ctrl-C struck. What happens when
 *   it is not woken by the lock: the exception is kept, together with a
 *   shielded cancel scope under which the lock is acquired, in the
 *   awaitable's value, and raised afterwards.
 */
#include "../glue/errors.h"
#include "../glue/function.h"
#include "../glue/types.h"
#include "../kernel/cancel.h"
#include "lock.h"
#include "sync.h"

typedef struct {
    TC_HOME_HEAD
    tc_state *st;            /* borrowed */
    LockObject *lock;        /* owned; exactly a Lock */
    ParkingLotObject *lot;   /* owned or NULL: made when needed */
    PyObject *dict;          /* owned or NULL */
    PyObject *weakrefs;
} ConditionObject;

/* --- wait() -------------------------------------------------------------- */

enum {
    COND_START,
    COND_PARKED,     /* in the condition's lot or, notified, in the lock's */
    COND_RELOCKED,   /* at the schedule point after having got the lock back */
    COND_RELOCKING,  /* in the lock's lot, to get it back */
    /* and trap.h's: Ctrl-C instead of getting it back */
};

/* The attempt to get the lock back is over: it succeeded, or failed with the
   raised exception. */
static tc_step
condition_finish(AwaitableObject *self, int failed)
{
    PyObject *original = PyTuple_GET_ITEM(self->value, 0);
    CancelScopeObject *shield
        = (CancelScopeObject *)PyTuple_GET_ITEM(self->value, 1);
    PyObject *error = NULL, *remaining = NULL;
    if (failed) {
        error = PyErr_GetRaisedException();
        if (error != original) {
            PyObject *context = PyException_GetContext(error);
            if (context == NULL) {
                PyException_SetContext(error, Py_NewRef(original));
            }
            Py_XDECREF(context);
        }
    }
    int r = tc_scope_close(shield, error, &remaining);
    if (r == 0) {
        tc_error_reraise(remaining != NULL ? remaining
                                           : Py_NewRef(original));
    }
    Py_XDECREF(error);
    Py_CLEAR(self->value);
    return TC_ERROR;
}

/* An exception is raised that ends wait() without the lock: get the lock
   back first. */
static tc_step
condition_relock(AwaitableObject *self)
{
    LockObject *lock = ((ConditionObject *)self->owner)->lock;
    CancelScopeObject *shield = NULL;
    PyObject *original = PyErr_GetRaisedException();
    TaskObject *task = tc_trap_task(self);
    if (task == NULL) {
        goto error;
    }
    Py_INCREF(task);
    Py_XSETREF(self->task, task);
    shield = tc_scope_new(self->st);
    if (shield == NULL || tc_scope_set_shield(shield, 1) < 0
        || tc_scope_enter(shield, task) < 0) {
        goto error;
    }
    self->value = PyTuple_Pack(2, original, (PyObject *)shield);
    if (self->value == NULL) {
        PyObject *remaining = NULL;
        PyErr_Clear();
        if (tc_scope_close(shield, NULL, &remaining) == 0) {
            Py_XDECREF(remaining);
            PyErr_NoMemory();
        }
        goto error;
    }
    Py_DECREF(original);
    Py_DECREF(shield);

    tc_step step = tc_trap_cancel_point(self, task);
    if (step != TC_DONE) {
        return step == TC_YIELD ? TC_YIELD : condition_finish(self, 1);
    }
    int got = tc_lock_try(lock, task);
    if (got > 0) {
        self->phase = COND_RELOCKED;
        return tc_trap_checkpoint(self, task);
    }
    ParkingLotObject *lot
        = got < 0 ? NULL : tc_lot_need(self->st, &lock->breaker.lot);
    if (lot == NULL || tc_lot_park(lot, self, task) < 0) {
        tc_lock_explain_broken(lock);
        return condition_finish(self, 1);
    }
    self->phase = COND_RELOCKING;
    return tc_trap_wait(self, task);

error:
    if (PyErr_Occurred()) {
        PyObject *exc = PyErr_GetRaisedException();
        PyException_SetContext(exc, original);
        PyErr_SetRaisedException(exc);
    }
    else {
        Py_DECREF(original);
    }
    Py_XDECREF(shield);
    return TC_ERROR;
}

static tc_step
condition_wait_start(AwaitableObject *self)
{
    ConditionObject *cond = (ConditionObject *)self->owner;
    TaskObject *task = tc_trap_task(self);
    if (task == NULL) {
        return TC_ERROR;
    }
    if (cond->lock->owner != task) {
        PyErr_SetString(PyExc_RuntimeError, "must hold the lock to wait");
        return TC_ERROR;
    }
    if (tc_lock_release(cond->lock, task) < 0) {
        return TC_ERROR;
    }
    ParkingLotObject *lot = tc_lot_need(self->st, &cond->lot);
    if (lot == NULL || tc_lot_park(lot, self, task) < 0) {
        return condition_relock(self);
    }
    self->phase = COND_PARKED;
    return tc_trap_wait(self, task);
}

static tc_step
condition_wait_step(AwaitableObject *self, PyObject *Py_UNUSED(sent),
                    PyObject **Py_UNUSED(result))
{
    tc_step step;
    switch (self->phase) {
    case COND_START:
        return condition_wait_start(self);
    case COND_PARKED:
        if (tc_trap_resume(self, NULL) < 0) {
            return condition_relock(self);
        }
        return TC_DONE;
    case COND_RELOCKED:
        return condition_finish(self, tc_trap_resume(self, NULL) < 0);
    case COND_RELOCKING:
        if (tc_trap_resume(self, NULL) < 0) {
            tc_lock_explain_broken(((ConditionObject *)self->owner)->lock);
            return condition_finish(self, 1);
        }
        return condition_finish(self, 0);
    default:
        step = tc_trap_cancelled_step(self);
        return step == TC_YIELD ? TC_YIELD : condition_finish(self, 1);
    }
}

static tc_step
condition_wait_thrown(AwaitableObject *self, PyObject *exc,
                      PyObject **Py_UNUSED(result))
{
    tc_lot_unpark_self(self);
    tc_error_reraise(Py_NewRef(exc));
    return self->phase == COND_PARKED ? condition_relock(self)
                                      : condition_finish(self, 1);
}

/* Dropped while it gets the lock back: do not leave the task under the
   shield. */
static void
condition_wait_release(AwaitableObject *self)
{
    if (self->value == NULL) {
        return;
    }
    CancelScopeObject *shield
        = (CancelScopeObject *)PyTuple_GET_ITEM(self->value, 1);
    TaskObject *task = tc_context_task(self->st);
    if (task == NULL || task->scope != shield) {
        return;
    }
    PyObject *raised = PyErr_GetRaisedException();
    PyObject *remaining = NULL;
    if (tc_scope_close(shield, NULL, &remaining) < 0) {
        PyErr_WriteUnraisable(NULL);
    }
    Py_XDECREF(remaining);
    if (raised != NULL) {
        PyErr_SetRaisedException(raised);
    }
}

static const tc_op condition_wait_op = {
    .name = "wait",
    .qualname = "Condition.wait",
    .step = condition_wait_step,
    .abandon = tc_lot_unpark_self,
    .thrown = condition_wait_thrown,
    .sleep_data = tc_lot_of,
    .release = condition_wait_release,
};

/* --- the lock's operations ----------------------------------------------- */

static const tc_op condition_acquire_op = {
    .name = "acquire",
    .qualname = "Condition.acquire",
    .step = tc_lock_acquire_step,
    .abandon = tc_lot_unpark_self,
    .sleep_data = tc_lot_of,
};

static const tc_op condition_aenter_op = {
    .name = "__aenter__",
    .qualname = TC_AENTER_NAME,
    .step = tc_lock_acquire_step,
    .abandon = tc_lot_unpark_self,
    .sleep_data = tc_lot_of,
};

static tc_step
condition_aexit_step(AwaitableObject *self, PyObject *Py_UNUSED(sent),
                     PyObject **Py_UNUSED(result))
{
    TaskObject *task = tc_trap_task(self);
    if (task == NULL
        || tc_lock_release((LockObject *)self->owner, task) < 0) {
        return TC_ERROR;
    }
    return TC_DONE;
}

static const tc_op condition_aexit_op = {
    .name = "__aexit__",
    .qualname = TC_AEXIT_NAME,
    .step = condition_aexit_step,
};

static PyObject *
condition_acquire(FunctionObject *func, PyObject *op, PyObject *const *args,
                  Py_ssize_t nargs, PyObject *kwnames)
{
    if (tc_args_none("Condition.acquire", nargs, kwnames) < 0) {
        return NULL;
    }
    return (PyObject *)tc_awaitable_new(
        func->st, &condition_acquire_op,
        (PyObject *)((ConditionObject *)op)->lock);
}

static PyObject *
condition_aenter(FunctionObject *func, PyObject *op, PyObject *const *args,
                 Py_ssize_t nargs, PyObject *kwnames)
{
    if (tc_args_none(TC_AENTER_NAME, nargs, kwnames) < 0) {
        return NULL;
    }
    return (PyObject *)tc_awaitable_new(
        func->st, &condition_aenter_op,
        (PyObject *)((ConditionObject *)op)->lock);
}

static PyObject *
condition_aexit(FunctionObject *func, PyObject *op, PyObject *const *args,
                Py_ssize_t nargs, PyObject *kwnames)
{
    if (tc_aexit_check(args, nargs, kwnames) < 0) {
        return NULL;
    }
    return (PyObject *)tc_awaitable_new(
        func->st, &condition_aexit_op,
        (PyObject *)((ConditionObject *)op)->lock);
}

static PyObject *
condition_acquire_nowait(FunctionObject *func, PyObject *op,
                         PyObject *const *args, Py_ssize_t nargs,
                         PyObject *kwnames)
{
    if (tc_args_none("Condition.acquire_nowait", nargs, kwnames) < 0) {
        return NULL;
    }
    TaskObject *task = tc_context_need_task(func->st);
    if (task == NULL) {
        return NULL;
    }
    int got = tc_lock_try(((ConditionObject *)op)->lock, task);
    if (got == 0) {
        PyErr_SetNone(func->st->exc_WouldBlock);
    }
    return got == 1 ? Py_NewRef(Py_None) : NULL;
}

static PyObject *
condition_release(FunctionObject *func, PyObject *op, PyObject *const *args,
                  Py_ssize_t nargs, PyObject *kwnames)
{
    if (tc_args_none("Condition.release", nargs, kwnames) < 0) {
        return NULL;
    }
    TaskObject *task = tc_context_need_task(func->st);
    if (task == NULL
        || tc_lock_release(((ConditionObject *)op)->lock, task) < 0) {
        return NULL;
    }
    Py_RETURN_NONE;
}

static PyObject *
condition_locked(FunctionObject *Py_UNUSED(func), PyObject *op,
                 PyObject *const *args, Py_ssize_t nargs, PyObject *kwnames)
{
    if (tc_args_none("Condition.locked", nargs, kwnames) < 0) {
        return NULL;
    }
    return PyBool_FromLong(((ConditionObject *)op)->lock->owner != NULL);
}

/* --- the condition's own ------------------------------------------------- */

static PyObject *
condition_wait(FunctionObject *func, PyObject *op, PyObject *const *args,
               Py_ssize_t nargs, PyObject *kwnames)
{
    if (tc_args_none("Condition.wait", nargs, kwnames) < 0) {
        return NULL;
    }
    return (PyObject *)tc_awaitable_new(func->st, &condition_wait_op, op);
}

/* Let those who wait queue for the lock: all of them, or `count` (borrowed;
   NULL: one). */
static PyObject *
condition_wake(ConditionObject *self, PyObject *count, int all)
{
    TaskObject *task = tc_context_need_task(self->st);
    if (task == NULL) {
        return NULL;
    }
    if (self->lock->owner != task) {
        PyErr_SetString(PyExc_RuntimeError, "must hold the lock to notify");
        return NULL;
    }
    Py_ssize_t n = 1;
    if (count != NULL && tc_lot_count(self->lot, count, &n) < 0) {
        return NULL;
    }
    if (!tc_lot_is_empty(self->lot)) {
        ParkingLotObject *to
            = tc_lot_need(self->st, &self->lock->breaker.lot);
        if (to == NULL) {
            return NULL;
        }
        tc_lot_repark(self->lot, to, all ? self->lot->n_parked : n);
    }
    Py_RETURN_NONE;
}

static PyObject *
condition_notify(FunctionObject *Py_UNUSED(func), PyObject *op,
                 PyObject *const *args, Py_ssize_t nargs, PyObject *kwnames)
{
    static const tc_params params = {
        .fname = "Condition.notify",
        .names = {"n"},
        .n_positional = 1,
    };
    PyObject *count;
    if (tc_args_parse(&params, args, nargs, kwnames, &count) < 0) {
        return NULL;
    }
    return condition_wake((ConditionObject *)op, count, 0);
}

static PyObject *
condition_notify_all(FunctionObject *Py_UNUSED(func), PyObject *op,
                     PyObject *const *args, Py_ssize_t nargs,
                     PyObject *kwnames)
{
    if (tc_args_none("Condition.notify_all", nargs, kwnames) < 0) {
        return NULL;
    }
    return condition_wake((ConditionObject *)op, NULL, 1);
}

static PyObject *
condition_statistics(FunctionObject *func, PyObject *op,
                     PyObject *const *args, Py_ssize_t nargs,
                     PyObject *kwnames)
{
    ConditionObject *self = (ConditionObject *)op;
    if (tc_args_none("Condition.statistics", nargs, kwnames) < 0) {
        return NULL;
    }
    PyObject *values[2];
    values[0]
        = PyLong_FromSsize_t(self->lot == NULL ? 0 : self->lot->n_parked);
    values[1] = values[0] == NULL ? NULL : tc_lock_statistics(self->lock);
    return tc_statistics_new(func->st->ConditionStatisticsType, values);
}

static PyObject *
condition_get_lot(PyObject *op, void *Py_UNUSED(closure))
{
    ConditionObject *self = (ConditionObject *)op;
    return Py_XNewRef((PyObject *)tc_lot_need(self->st, &self->lot));
}

/* --- lifetime ------------------------------------------------------------ */

static PyObject *
condition_tp_new(PyTypeObject *type, PyObject *args, PyObject *kwargs)
{
    static const tc_params params = {
        .fname = "Condition",
        .names = {"lock"},
        .n_positional = 1,
    };
    PyObject *lock;
    tc_state *st = tc_state_from_type(type);
    if (st == NULL
        || tc_args_parse_tuple(&params, args, kwargs, &lock) < 0) {
        return NULL;
    }
    if (lock == NULL || lock == Py_None) {
        lock = tc_lock_new(st->LockType);
        if (lock == NULL) {
            return NULL;
        }
    }
    else if (!Py_IS_TYPE(lock, st->LockType)) {
        PyErr_SetString(PyExc_TypeError, "lock must be a trio.Lock");
        return NULL;
    }
    else {
        Py_INCREF(lock);
    }
    ConditionObject *self = (ConditionObject *)type->tp_alloc(type, 0);
    if (self == NULL) {
        Py_DECREF(lock);
        return NULL;
    }
    self->st = st;
    self->lock = (LockObject *)lock;
    TC_HOME_WITH(self, lock);
    TC_LIVE_ADD(st, ConditionType);
    return (PyObject *)self;
}

static int
condition_traverse(PyObject *op, visitproc visit, void *arg)
{
    ConditionObject *self = (ConditionObject *)op;
    Py_VISIT(Py_TYPE(op));
    Py_VISIT((PyObject *)self->lock);
    Py_VISIT((PyObject *)self->lot);
    Py_VISIT(self->dict);
    return 0;
}

static int
condition_clear(PyObject *op)
{
    ConditionObject *self = (ConditionObject *)op;
    /* lock stays: finalizers may still call us, and a lock breaks its own
       cycles. */
    Py_CLEAR(self->lot);
    Py_CLEAR(self->dict);
    return 0;
}

static void
condition_dealloc(PyObject *op)
{
    ConditionObject *self = (ConditionObject *)op;
    PyTypeObject *type = Py_TYPE(op);
    PyObject_GC_UnTrack(op);
    if (self->weakrefs != NULL) {
        PyObject_ClearWeakRefs(op);
    }
    (void)condition_clear(op);
    Py_CLEAR(self->lock);
    TC_LIVE_SUB(self->st, ConditionType);
    type->tp_free(op);
    Py_DECREF(type);
}

/* --- registration -------------------------------------------------------- */

static const tc_function_def condition_method_defs[] = {
    {"Condition.locked", "trio_c", condition_locked},
    {"Condition.acquire_nowait", "trio_c", condition_acquire_nowait},
    {"Condition.acquire", "trio_c", condition_acquire},
    {"Condition.release", "trio_c", condition_release},
    {"Condition.wait", "trio_c", condition_wait},
    {"Condition.notify", "trio_c", condition_notify},
    {"Condition.notify_all", "trio_c", condition_notify_all},
    {"Condition.statistics", "trio_c", condition_statistics},
    {TC_AENTER_NAME, TC_MIXIN_MODULE, condition_aenter},
    {TC_AEXIT_NAME, TC_MIXIN_MODULE, condition_aexit},
    {NULL, NULL, NULL},
};

static PyMethodDef condition_methods[] = {
    TC_FINAL_METHOD,
    TC_COPY_METHOD,
    {NULL, NULL, 0, NULL},
};

static PyGetSetDef condition_getset[] = {
    {"_lot", condition_get_lot, NULL, NULL, NULL},
    {"__dict__", PyObject_GenericGetDict, PyObject_GenericSetDict, NULL,
     NULL},
    {NULL, NULL, NULL, NULL, NULL},
};

static PyMemberDef condition_members[] = {
    {"_lock", T_OBJECT, offsetof(ConditionObject, lock), READONLY, NULL},
    {"__dictoffset__", T_PYSSIZET, offsetof(ConditionObject, dict), READONLY,
     NULL},
    {"__weaklistoffset__", T_PYSSIZET, offsetof(ConditionObject, weakrefs),
     READONLY, NULL},
    {NULL, 0, 0, 0, NULL},
};

PyDoc_STRVAR(condition_doc,
             "Condition(lock=None)\n--\n\n"
             "A lock, its own or a given :class:`Lock`, and a queue for\n"
             "tasks that want to be told when what it guards has changed.\n"
             "Use it with ``async with``, like the lock.");

static PyType_Slot condition_slots[] = {
    {Py_tp_doc, (char *)condition_doc},
    {Py_tp_new, condition_tp_new},
    {Py_tp_dealloc, condition_dealloc},
    {Py_tp_traverse, condition_traverse},
    {Py_tp_clear, condition_clear},
    {Py_tp_methods, condition_methods},
    {Py_tp_getset, condition_getset},
    {Py_tp_members, condition_members},
    {0, NULL},
};

static PyType_Spec tc_condition_spec = {
    .name = "trio_c.Condition",
    .basicsize = sizeof(ConditionObject),
    .flags = Py_TPFLAGS_DEFAULT | Py_TPFLAGS_HAVE_GC | Py_TPFLAGS_BASETYPE,
    .slots = condition_slots,
};

int
tc_condition_register(tc_state *st)
{
    static const char *const fields[]
        = {"tasks_waiting", "lock_statistics", NULL};
    if (tc_statistics_add_type(st, &st->ConditionStatisticsType,
                               "ConditionStatistics", "trio_c",
                               "How many tasks wait to be notified, and the\n"
                               "LockStatistics of the lock below.",
                               fields) < 0
        || tc_state_add_type(st, &st->ConditionType, &tc_condition_spec,
                             NULL, "Condition") < 0
        || tc_function_add_to_type(st, st->ConditionType,
                                   condition_method_defs) < 0) {
        return -1;
    }
    return tc_type_mark_final(st, st->ConditionType);
}
