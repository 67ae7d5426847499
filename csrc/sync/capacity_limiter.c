/* capacity_limiter.c - CapacityLimiter: a number of tokens to borrow.
 *
 * Invariants
 * - A waiting awaitable of ours keeps its borrower in `value`; whoever wakes
 *   it has added the borrower to the set.
 * - `limit` is total_tokens as far as it matters: infinity, or more than can
 *   ever be counted, is PY_SSIZE_T_MAX. Lowering it takes no token back.
 * Borrowers are any hashable objects: looking one up runs its Python code,
 * and the limiter may be another one afterwards.
 */
#include "../glue/function.h"
#include "../glue/types.h"
#include "acquire.h"
#include "sync.h"

typedef struct {
    TC_HOME_HEAD
    tc_state *st;            /* borrowed */
    Py_ssize_t limit;
    PyObject *total_tokens;  /* owned, as given */
    PyObject *borrowers;     /* owned set */
    ParkingLotObject *lot;   /* owned or NULL: made when needed */
    PyObject *dict;          /* owned or NULL */
    PyObject *weakrefs;
} CapacityLimiterObject;

/* Lend a token to borrower without waiting: 1, 0, or -1. */
static int
limiter_take(CapacityLimiterObject *self, PyObject *borrower)
{
    int has = PySet_Contains(self->borrowers, borrower);
    if (has < 0) {
        return -1;
    }
    if (has) {
        PyErr_SetString(PyExc_RuntimeError,
                        "this borrower is already holding one of this "
                        "CapacityLimiter's tokens");
        return -1;
    }
    if (PySet_GET_SIZE(self->borrowers) >= self->limit
        || !tc_lot_is_empty(self->lot)) {
        return 0;
    }
    return PySet_Add(self->borrowers, borrower) < 0 ? -1 : 1;
}

/* Hand a token to the woken aw: 0 or -1. */
static int
limiter_lend(CapacityLimiterObject *self, AwaitableObject *aw)
{
    if (aw->owner != (PyObject *)self || aw->value == NULL) {
        /* Parked in our lot by other means. */
        PyErr_SetObject(PyExc_KeyError, (PyObject *)aw->task);
        return -1;
    }
    return PySet_Add(self->borrowers, aw->value);
}

/* Give free tokens to who waits. 0 or -1; runs Python. */
static int
limiter_wake(CapacityLimiterObject *self)
{
    ParkingLotObject *lot = self->lot;
    if (tc_lot_is_empty(lot)) {
        return 0;
    }
    PyObject *first_error = NULL;
    Py_ssize_t free_tokens = self->limit - PySet_GET_SIZE(self->borrowers);
    Py_INCREF(lot);
    for (; free_tokens > 0; free_tokens--) {
        AwaitableObject *aw = tc_lot_pop(lot);
        if (aw == NULL) {
            break;
        }
        if (limiter_lend(self, aw) < 0) {
            tc_error_collect(&first_error);
        }
        if (tc_task_wake(aw->task) < 0) {
            tc_error_collect(&first_error);
        }
        Py_DECREF(aw);
    }
    Py_DECREF(lot);
    return tc_error_raise_first(first_error);
}

static int
limiter_return(CapacityLimiterObject *self, PyObject *borrower)
{
    if (self->lot != NULL && tc_lot_check(self->lot) < 0) {
        return -1;
    }
    int had = PySet_Discard(self->borrowers, borrower);
    if (had < 0) {
        return -1;
    }
    if (!had) {
        PyErr_SetString(PyExc_RuntimeError,
                        "this borrower isn't holding any of this "
                        "CapacityLimiter's tokens");
        return -1;
    }
    return limiter_wake(self);
}

/* The number that total_tokens stands for, or -1 with exception. */
static Py_ssize_t
limiter_parse_total(PyObject *total)
{
    if (PyLong_Check(total)) {
        Py_ssize_t limit = PyNumber_AsSsize_t(total, NULL);
        if (limit < 0) {
            PyErr_SetString(PyExc_ValueError, "total_tokens must be >= 0");
            return -1;
        }
        return limit;
    }
    PyObject *inf = PyFloat_FromDouble(Py_HUGE_VAL);
    int differs
        = inf == NULL ? -1 : PyObject_RichCompareBool(total, inf, Py_NE);
    Py_XDECREF(inf);
    if (differs == 0) {
        return PY_SSIZE_T_MAX;
    }
    if (differs > 0) {
        PyErr_SetString(PyExc_TypeError,
                        "total_tokens must be an int or math.inf");
    }
    return -1;
}

/* --- awaitables ---------------------------------------------------------- */

static int
limiter_try(AwaitableObject *aw, TaskObject *Py_UNUSED(task))
{
    return limiter_take((CapacityLimiterObject *)aw->owner, aw->value);
}

static tc_step
limiter_acquire_step(AwaitableObject *self, PyObject *Py_UNUSED(sent),
                     PyObject **Py_UNUSED(result))
{
    if (self->value == NULL) {
        /* Nobody named: on behalf of the task that awaits. */
        TaskObject *task = tc_trap_task(self);
        if (task == NULL) {
            return TC_ERROR;
        }
        self->value = Py_NewRef((PyObject *)task);
    }
    /* Borrowers are hashed and compared, which a greenlet may leave. */
    PyObject *task = Py_XNewRef((PyObject *)tc_context_task(self->st));
    tc_step step
        = tc_acquire_step(self, limiter_try,
                          &((CapacityLimiterObject *)self->owner)->lot);
    Py_XDECREF(task);
    return step;
}

static const tc_op limiter_acquire_op = {
    .name = "acquire",
    .qualname = "CapacityLimiter.acquire",
    .step = limiter_acquire_step,
    .abandon = tc_lot_unpark_self,
    .sleep_data = tc_lot_of,
};

static const tc_op limiter_acquire_on_behalf_of_op = {
    .name = "acquire_on_behalf_of",
    .qualname = "CapacityLimiter.acquire_on_behalf_of",
    .step = limiter_acquire_step,
    .abandon = tc_lot_unpark_self,
    .sleep_data = tc_lot_of,
};

static const tc_op limiter_aenter_op = {
    .name = "__aenter__",
    .qualname = TC_AENTER_NAME,
    .step = limiter_acquire_step,
    .abandon = tc_lot_unpark_self,
    .sleep_data = tc_lot_of,
};

static tc_step
limiter_aexit_step(AwaitableObject *self, PyObject *Py_UNUSED(sent),
                   PyObject **Py_UNUSED(result))
{
    TaskObject *task = tc_trap_task(self);
    if (task == NULL) {
        return TC_ERROR;
    }
    Py_INCREF(task);
    int r = limiter_return((CapacityLimiterObject *)self->owner,
                           (PyObject *)task);
    Py_DECREF(task);
    return r < 0 ? TC_ERROR : TC_DONE;
}

static const tc_op limiter_aexit_op = {
    .name = "__aexit__",
    .qualname = TC_AEXIT_NAME,
    .step = limiter_aexit_step,
};

/* --- methods ------------------------------------------------------------- */

static PyObject *
limiter_acquire(FunctionObject *func, PyObject *op, PyObject *const *args,
                Py_ssize_t nargs, PyObject *kwnames)
{
    if (tc_args_none("CapacityLimiter.acquire", nargs, kwnames) < 0) {
        return NULL;
    }
    return (PyObject *)tc_awaitable_new(func->st, &limiter_acquire_op, op);
}

static PyObject *
limiter_aenter(FunctionObject *func, PyObject *op, PyObject *const *args,
               Py_ssize_t nargs, PyObject *kwnames)
{
    if (tc_args_none(TC_AENTER_NAME, nargs, kwnames) < 0) {
        return NULL;
    }
    return (PyObject *)tc_awaitable_new(func->st, &limiter_aenter_op, op);
}

static PyObject *
limiter_aexit(FunctionObject *func, PyObject *op, PyObject *const *args,
              Py_ssize_t nargs, PyObject *kwnames)
{
    if (tc_aexit_check(args, nargs, kwnames) < 0) {
        return NULL;
    }
    return (PyObject *)tc_awaitable_new(func->st, &limiter_aexit_op, op);
}

/* The parameters of the three ..._on_behalf_of methods. */
#define BORROWER_PARAMS(method)                                             \
    {                                                                       \
        .fname = "CapacityLimiter." method, .names = {"borrower"},          \
        .n_positional = 1, .n_required = 1,                                 \
    }

static PyObject *
limiter_acquire_on_behalf_of(FunctionObject *func, PyObject *op,
                             PyObject *const *args, Py_ssize_t nargs,
                             PyObject *kwnames)
{
    static const tc_params params = BORROWER_PARAMS("acquire_on_behalf_of");
    PyObject *borrower;
    if (tc_args_parse(&params, args, nargs, kwnames, &borrower) < 0) {
        return NULL;
    }
    AwaitableObject *aw
        = tc_awaitable_new(func->st, &limiter_acquire_on_behalf_of_op, op);
    if (aw != NULL) {
        aw->value = Py_NewRef(borrower);
    }
    return (PyObject *)aw;
}

static PyObject *
limiter_take_result(tc_state *st, PyObject *op, PyObject *borrower)
{
    int got = limiter_take((CapacityLimiterObject *)op, borrower);
    if (got == 0) {
        PyErr_SetNone(st->exc_WouldBlock);
    }
    return got == 1 ? Py_NewRef(Py_None) : NULL;
}

static PyObject *
limiter_acquire_nowait(FunctionObject *func, PyObject *op,
                       PyObject *const *args, Py_ssize_t nargs,
                       PyObject *kwnames)
{
    if (tc_args_none("CapacityLimiter.acquire_nowait", nargs, kwnames) < 0) {
        return NULL;
    }
    PyObject *task = (PyObject *)tc_context_need_task(func->st);
    if (task == NULL) {
        return NULL;
    }
    Py_INCREF(task);
    PyObject *result = limiter_take_result(func->st, op, task);
    Py_DECREF(task);
    return result;
}

static PyObject *
limiter_acquire_on_behalf_of_nowait(FunctionObject *func, PyObject *op,
                                    PyObject *const *args, Py_ssize_t nargs,
                                    PyObject *kwnames)
{
    static const tc_params params
        = BORROWER_PARAMS("acquire_on_behalf_of_nowait");
    PyObject *borrower;
    if (tc_args_parse(&params, args, nargs, kwnames, &borrower) < 0) {
        return NULL;
    }
    return limiter_take_result(func->st, op, borrower);
}

static PyObject *
limiter_return_result(PyObject *op, PyObject *borrower)
{
    if (limiter_return((CapacityLimiterObject *)op, borrower) < 0) {
        return NULL;
    }
    Py_RETURN_NONE;
}

static PyObject *
limiter_release(FunctionObject *func, PyObject *op, PyObject *const *args,
                Py_ssize_t nargs, PyObject *kwnames)
{
    if (tc_args_none("CapacityLimiter.release", nargs, kwnames) < 0) {
        return NULL;
    }
    PyObject *task = (PyObject *)tc_context_need_task(func->st);
    if (task == NULL) {
        return NULL;
    }
    Py_INCREF(task);
    PyObject *result = limiter_return_result(op, task);
    Py_DECREF(task);
    return result;
}

static PyObject *
limiter_release_on_behalf_of(FunctionObject *Py_UNUSED(func), PyObject *op,
                             PyObject *const *args, Py_ssize_t nargs,
                             PyObject *kwnames)
{
    static const tc_params params = BORROWER_PARAMS("release_on_behalf_of");
    PyObject *borrower;
    if (tc_args_parse(&params, args, nargs, kwnames, &borrower) < 0) {
        return NULL;
    }
    return limiter_return_result(op, borrower);
}

static PyObject *
limiter_statistics(FunctionObject *func, PyObject *op, PyObject *const *args,
                   Py_ssize_t nargs, PyObject *kwnames)
{
    CapacityLimiterObject *self = (CapacityLimiterObject *)op;
    if (tc_args_none("CapacityLimiter.statistics", nargs, kwnames) < 0) {
        return NULL;
    }
    PyObject *values[] = {
        PyLong_FromSsize_t(PySet_GET_SIZE(self->borrowers)),
        Py_NewRef(self->total_tokens),
        PySequence_List(self->borrowers),
        PyLong_FromSsize_t(self->lot == NULL ? 0 : self->lot->n_parked),
    };
    return tc_statistics_new(func->st->CapacityLimiterStatisticsType,
                             values);
}

/* --- attributes ---------------------------------------------------------- */

static PyObject *
limiter_repr(PyObject *op)
{
    if (tc_home_check(op) < 0) {
        return tc_home_repr(op);
    }
    CapacityLimiterObject *self = (CapacityLimiterObject *)op;
    return PyUnicode_FromFormat(
        "<trio.CapacityLimiter at %s, %zd/%S with %zd waiting>",
        tc_hex_id(op).text, PySet_GET_SIZE(self->borrowers),
        self->total_tokens,
        self->lot == NULL ? 0 : self->lot->n_parked);
}

static PyObject *
limiter_get_total(PyObject *op, void *Py_UNUSED(closure))
{
    return Py_NewRef(((CapacityLimiterObject *)op)->total_tokens);
}

static int
limiter_set_total(PyObject *op, PyObject *total, void *Py_UNUSED(closure))
{
    CapacityLimiterObject *self = (CapacityLimiterObject *)op;
    if (total == NULL) {
        PyErr_SetString(PyExc_AttributeError,
                        "cannot delete attribute 'total_tokens'");
        return -1;
    }
    Py_ssize_t limit = limiter_parse_total(total);
    if (limit < 0 || (self->lot != NULL && tc_lot_check(self->lot) < 0)) {
        return -1;
    }
    self->limit = limit;
    Py_INCREF(total);
    Py_SETREF(self->total_tokens, total);
    return limiter_wake(self);
}

static PyObject *
limiter_get_borrowed(PyObject *op, void *Py_UNUSED(closure))
{
    return PyLong_FromSsize_t(
        PySet_GET_SIZE(((CapacityLimiterObject *)op)->borrowers));
}

static PyObject *
limiter_get_available(PyObject *op, void *closure)
{
    PyObject *borrowed = limiter_get_borrowed(op, closure);
    if (borrowed == NULL) {
        return NULL;
    }
    PyObject *total = limiter_get_total(op, closure);
    PyObject *available = PyNumber_Subtract(total, borrowed);
    Py_DECREF(total);
    Py_DECREF(borrowed);
    return available;
}

static PyObject *
limiter_get_lot(PyObject *op, void *Py_UNUSED(closure))
{
    CapacityLimiterObject *self = (CapacityLimiterObject *)op;
    return Py_XNewRef((PyObject *)tc_lot_need(self->st, &self->lot));
}

/* Who waits on whose behalf: new dict task -> borrower. */
static PyObject *
limiter_get_pending(PyObject *op, void *Py_UNUSED(closure))
{
    CapacityLimiterObject *self = (CapacityLimiterObject *)op;
    PyObject *pending = PyDict_New();
    if (pending == NULL || self->lot == NULL) {
        return pending;
    }
    /* Tasks hash by identity: no Python runs in this loop. */
    for (tc_link *link = self->lot->parked.next; link != &self->lot->parked;
         link = link->next) {
        AwaitableObject *aw = TC_CONTAINER_OF(link, AwaitableObject, link);
        if (aw->owner == op
            && PyDict_SetItem(pending, (PyObject *)aw->task, aw->value)
                   < 0) {
            Py_DECREF(pending);
            return NULL;
        }
    }
    return pending;
}

/* --- lifetime ------------------------------------------------------------ */

static PyObject *
limiter_tp_new(PyTypeObject *type, PyObject *args, PyObject *kwargs)
{
    static const tc_params params = {
        .fname = "CapacityLimiter",
        .names = {"total_tokens"},
        .n_positional = 1,
        .n_required = 1,
    };
    PyObject *total;
    if (tc_args_parse_tuple(&params, args, kwargs, &total) < 0) {
        return NULL;
    }
    Py_ssize_t limit = limiter_parse_total(total);
    tc_state *st = limit < 0 ? NULL : tc_state_from_type(type);
    if (st == NULL) {
        return NULL;
    }
    PyObject *borrowers = PySet_New(NULL);
    if (borrowers == NULL) {
        return NULL;
    }
    CapacityLimiterObject *self
        = (CapacityLimiterObject *)type->tp_alloc(type, 0);
    if (self == NULL) {
        Py_DECREF(borrowers);
        return NULL;
    }
    self->st = st;
    self->limit = limit;
    self->total_tokens = Py_NewRef(total);
    self->borrowers = borrowers;
    TC_LIVE_ADD(st, CapacityLimiterType);
    return (PyObject *)self;
}

static int
limiter_traverse(PyObject *op, visitproc visit, void *arg)
{
    CapacityLimiterObject *self = (CapacityLimiterObject *)op;
    Py_VISIT(Py_TYPE(op));
    Py_VISIT(self->total_tokens);
    Py_VISIT(self->borrowers);
    Py_VISIT((PyObject *)self->lot);
    Py_VISIT(self->dict);
    return 0;
}

static int
limiter_clear(PyObject *op)
{
    CapacityLimiterObject *self = (CapacityLimiterObject *)op;
    /* total_tokens and borrowers stay: finalizers may still call us, and a
       set breaks its own cycles. */
    Py_CLEAR(self->lot);
    Py_CLEAR(self->dict);
    return 0;
}

static void
limiter_dealloc(PyObject *op)
{
    CapacityLimiterObject *self = (CapacityLimiterObject *)op;
    PyTypeObject *type = Py_TYPE(op);
    PyObject_GC_UnTrack(op);
    if (self->weakrefs != NULL) {
        PyObject_ClearWeakRefs(op);
    }
    (void)limiter_clear(op);
    Py_CLEAR(self->borrowers);
    Py_CLEAR(self->total_tokens);
    TC_LIVE_SUB(self->st, CapacityLimiterType);
    type->tp_free(op);
    Py_DECREF(type);
}

/* --- registration -------------------------------------------------------- */

static const tc_function_def limiter_method_defs[] = {
    {"CapacityLimiter.acquire_nowait", "trio_c", limiter_acquire_nowait},
    {"CapacityLimiter.acquire_on_behalf_of_nowait", "trio_c",
     limiter_acquire_on_behalf_of_nowait},
    {"CapacityLimiter.acquire", "trio_c", limiter_acquire},
    {"CapacityLimiter.acquire_on_behalf_of", "trio_c",
     limiter_acquire_on_behalf_of},
    {"CapacityLimiter.release", "trio_c", limiter_release},
    {"CapacityLimiter.release_on_behalf_of", "trio_c",
     limiter_release_on_behalf_of},
    {"CapacityLimiter.statistics", "trio_c", limiter_statistics},
    {TC_AENTER_NAME, TC_MIXIN_MODULE, limiter_aenter},
    {TC_AEXIT_NAME, TC_MIXIN_MODULE, limiter_aexit},
    {NULL, NULL, NULL},
};

static PyMethodDef limiter_methods[] = {
    TC_FINAL_METHOD,
    TC_COPY_METHOD,
    {NULL, NULL, 0, NULL},
};

static PyGetSetDef limiter_getset[] = {
    {"total_tokens", limiter_get_total, limiter_set_total,
     PyDoc_STR("How many tokens there are: an int or math.inf; assignable.\n"
               "Raising it wakes who waits; lowering it takes none back."),
     NULL},
    {"borrowed_tokens", limiter_get_borrowed, NULL,
     PyDoc_STR("How many tokens are borrowed now."), NULL},
    {"available_tokens", limiter_get_available, NULL,
     PyDoc_STR("How many tokens are left; negative after total_tokens was\n"
               "lowered below what is borrowed."),
     NULL},
    {"_lot", limiter_get_lot, NULL, NULL, NULL},
    {"_pending_borrowers", limiter_get_pending, NULL, NULL, NULL},
    {"__dict__", PyObject_GenericGetDict, PyObject_GenericSetDict, NULL,
     NULL},
    {NULL, NULL, NULL, NULL, NULL},
};

static PyMemberDef limiter_members[] = {
    {"__dictoffset__", T_PYSSIZET, offsetof(CapacityLimiterObject, dict),
     READONLY, NULL},
    {"__weaklistoffset__", T_PYSSIZET,
     offsetof(CapacityLimiterObject, weakrefs), READONLY, NULL},
    {NULL, 0, 0, 0, NULL},
};

PyDoc_STRVAR(limiter_doc,
             "CapacityLimiter(total_tokens)\n--\n\n"
             "Tokens to borrow, one per borrower; while there is none left,\n"
             "acquiring waits. A borrower is the current task, or, for the\n"
             "methods that take one, any hashable object.");

static PyType_Slot limiter_slots[] = {
    {Py_tp_doc, (char *)limiter_doc},
    {Py_tp_new, limiter_tp_new},
    {Py_tp_dealloc, limiter_dealloc},
    {Py_tp_traverse, limiter_traverse},
    {Py_tp_clear, limiter_clear},
    {Py_tp_repr, limiter_repr},
    {Py_tp_methods, limiter_methods},
    {Py_tp_getset, limiter_getset},
    {Py_tp_members, limiter_members},
    {0, NULL},
};

static PyType_Spec tc_capacity_limiter_spec = {
    .name = "trio_c.CapacityLimiter",
    .basicsize = sizeof(CapacityLimiterObject),
    .flags = Py_TPFLAGS_DEFAULT | Py_TPFLAGS_HAVE_GC | Py_TPFLAGS_BASETYPE,
    .slots = limiter_slots,
};

int
tc_capacity_limiter_register(tc_state *st)
{
    static const char *const fields[]
        = {"borrowed_tokens", "total_tokens", "borrowers", "tasks_waiting",
           NULL};
    if (tc_statistics_add_type(st, &st->CapacityLimiterStatisticsType,
                               "CapacityLimiterStatistics", "trio_c",
                               "The tokens of a CapacityLimiter: how many\n"
                               "are out, of how many; the borrowers, a list\n"
                               "in no order; how many tasks wait for one.",
                               fields)
            < 0
        || tc_state_add_type(st, &st->CapacityLimiterType,
                             &tc_capacity_limiter_spec, NULL,
                             "CapacityLimiter") < 0
        || tc_function_add_to_type(st, st->CapacityLimiterType,
                                   limiter_method_defs) < 0) {
        return -1;
    }
    return tc_type_mark_final(st, st->CapacityLimiterType);
}
