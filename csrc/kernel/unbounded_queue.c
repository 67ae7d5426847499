/* unbounded_queue.c - a queue that is emptied in one go.
 *
 * Invariants
 * - can_get: there are items and nobody has been promised them. While a woken
 *   getter is on its way, items is not empty and can_get is 0.
 * - Only when items was empty does a put promise or wake.
 */
#include "unbounded_queue.h"

#include "../glue/args.h"
#include "../glue/function.h"
#include "../glue/types.h"
#include "trap.h"

typedef struct {
    TC_HOME_HEAD
    tc_state *st;            /* borrowed */
    PyObject *items;         /* owned list */
    ParkingLotObject *lot;   /* owned or NULL: getters that wait */
    PyObject *dict;          /* owned or NULL */
    PyObject *weakrefs;
    uint8_t can_get;
} UnboundedQueueObject;

/* All items, which leave the queue: new reference, or NULL. */
static PyObject *
uqueue_take(UnboundedQueueObject *self)
{
    PyObject *fresh = PyList_New(0);
    if (fresh == NULL) {
        return NULL;
    }
    PyObject *batch = self->items;
    self->items = fresh;
    self->can_get = 0;
    return batch;
}

enum { GET_START, GET_TAKEN, GET_PARKED };

static tc_step
get_batch_start(AwaitableObject *self)
{
    UnboundedQueueObject *queue = (UnboundedQueueObject *)self->owner;
    TaskObject *task = tc_trap_task(self);
    if (task == NULL) {
        return TC_ERROR;
    }
    tc_step step = tc_trap_cancel_point(self, task);
    if (step != TC_DONE) {
        return step;
    }
    if (queue->can_get) {
        self->value = uqueue_take(queue);
        if (self->value == NULL) {
            return TC_ERROR;
        }
        self->phase = GET_TAKEN;
        return tc_trap_checkpoint(self, task);
    }
    ParkingLotObject *lot = tc_lot_need(queue->st, &queue->lot);
    if (lot == NULL || tc_lot_park(lot, self, task) < 0) {
        return TC_ERROR;
    }
    self->phase = GET_PARKED;
    return tc_trap_wait(self, task);
}

static tc_step
get_batch_step(AwaitableObject *self, PyObject *Py_UNUSED(sent),
               PyObject **result)
{
    switch (self->phase) {
    case GET_START:
        return get_batch_start(self);
    case GET_TAKEN:
        if (tc_trap_resume(self, NULL) < 0) {
            return TC_ERROR;
        }
        *result = self->value;
        self->value = NULL;
        return TC_DONE;
    case GET_PARKED:
        if (tc_trap_resume(self, NULL) < 0) {
            return TC_ERROR;
        }
        *result = uqueue_take((UnboundedQueueObject *)self->owner);
        return *result == NULL ? TC_ERROR : TC_DONE;
    default:
        return tc_trap_cancelled_step(self);
    }
}

static const tc_op get_batch_op = {
    .name = "get_batch",
    .qualname = "UnboundedQueue.get_batch",
    .step = get_batch_step,
    .abandon = tc_lot_unpark_self,
    .sleep_data = tc_lot_of,
};

static const tc_op uqueue_anext_op = {
    .name = "__anext__",
    .qualname = "UnboundedQueue.__anext__",
    .step = get_batch_step,
    .abandon = tc_lot_unpark_self,
    .sleep_data = tc_lot_of,
};

static PyObject *
uqueue_get_batch(FunctionObject *func, PyObject *op, PyObject *const *args,
                Py_ssize_t nargs, PyObject *kwnames)
{
    if (tc_args_none("UnboundedQueue.get_batch", nargs, kwnames) < 0) {
        return NULL;
    }
    return (PyObject *)tc_awaitable_new(func->st, &get_batch_op, op);
}

static PyObject *
uqueue_anext(FunctionObject *func, PyObject *op, PyObject *const *args,
            Py_ssize_t nargs, PyObject *kwnames)
{
    if (tc_args_none("UnboundedQueue.__anext__", nargs, kwnames) < 0) {
        return NULL;
    }
    return (PyObject *)tc_awaitable_new(func->st, &uqueue_anext_op, op);
}

static PyObject *
uqueue_aiter(FunctionObject *Py_UNUSED(func), PyObject *op,
            PyObject *const *args, Py_ssize_t nargs, PyObject *kwnames)
{
    if (tc_args_none("UnboundedQueue.__aiter__", nargs, kwnames) < 0) {
        return NULL;
    }
    return Py_NewRef(op);
}

static PyObject *
uqueue_get_batch_nowait(FunctionObject *func, PyObject *op,
                       PyObject *const *args, Py_ssize_t nargs,
                       PyObject *kwnames)
{
    UnboundedQueueObject *self = (UnboundedQueueObject *)op;
    if (tc_args_none("UnboundedQueue.get_batch_nowait", nargs, kwnames) < 0) {
        return NULL;
    }
    if (!self->can_get) {
        PyErr_SetNone(func->st->exc_WouldBlock);
        return NULL;
    }
    return uqueue_take(self);
}

static const tc_params put_params = {
    .fname = "UnboundedQueue.put_nowait",
    .names = {"obj"},
    .n_positional = 1,
    .n_required = 1,
};

static PyObject *
uqueue_put_nowait(FunctionObject *Py_UNUSED(func), PyObject *op,
                 PyObject *const *args, Py_ssize_t nargs, PyObject *kwnames)
{
    UnboundedQueueObject *self = (UnboundedQueueObject *)op;
    PyObject *item;
    if (tc_args_parse(&put_params, args, nargs, kwnames, &item) < 0) {
        return NULL;
    }
    int was_empty = PyList_GET_SIZE(self->items) == 0;
    int must_wake = was_empty && !tc_lot_is_empty(self->lot);
    if (must_wake && tc_lot_check(self->lot) < 0) {
        return NULL;
    }
    if (PyList_Append(self->items, item) < 0) {
        return NULL;
    }
    if (!must_wake) {
        self->can_get |= was_empty;
        Py_RETURN_NONE;
    }
    if (tc_lot_wake_first(self->lot) < 0) {
        return NULL;
    }
    Py_RETURN_NONE;
}

static PyObject *
uqueue_qsize(FunctionObject *Py_UNUSED(func), PyObject *op,
            PyObject *const *args, Py_ssize_t nargs, PyObject *kwnames)
{
    if (tc_args_none("UnboundedQueue.qsize", nargs, kwnames) < 0) {
        return NULL;
    }
    return PyLong_FromSsize_t(
        PyList_GET_SIZE(((UnboundedQueueObject *)op)->items));
}

static PyObject *
uqueue_empty(FunctionObject *Py_UNUSED(func), PyObject *op,
            PyObject *const *args, Py_ssize_t nargs, PyObject *kwnames)
{
    if (tc_args_none("UnboundedQueue.empty", nargs, kwnames) < 0) {
        return NULL;
    }
    return PyBool_FromLong(
        PyList_GET_SIZE(((UnboundedQueueObject *)op)->items) == 0);
}

static PyObject *
uqueue_statistics(FunctionObject *func, PyObject *op, PyObject *const *args,
                 Py_ssize_t nargs, PyObject *kwnames)
{
    UnboundedQueueObject *self = (UnboundedQueueObject *)op;
    if (tc_args_none("UnboundedQueue.statistics", nargs, kwnames) < 0) {
        return NULL;
    }
    PyObject *values[] = {
        PyLong_FromSsize_t(PyList_GET_SIZE(self->items)),
        PyLong_FromSsize_t(self->lot == NULL ? 0 : self->lot->n_parked),
    };
    return tc_statistics_new(func->st->UnboundedQueueStatisticsType, values);
}

static PyObject *
uqueue_repr(PyObject *op)
{
    if (tc_home_check(op) < 0) {
        return tc_home_repr(op);
    }
    return PyUnicode_FromFormat(
        "<UnboundedQueue holding %zd items>",
        PyList_GET_SIZE(((UnboundedQueueObject *)op)->items));
}

/* UnboundedQueue is deprecated: blame the line that makes one. */
static int
uqueue_warn(void)
{
    int r = -1;
    PyObject *args = NULL, *kwargs = NULL, *warn = NULL, *done = NULL;
    PyObject *module = PyImport_ImportModule("trio_c._deprecate");
    if (module == NULL) {
        return -1;
    }
    warn = PyObject_GetAttrString(module, "warn_deprecated");
    args = Py_BuildValue("(ss)", "trio.lowlevel.UnboundedQueue", "0.9.0");
    kwargs = Py_BuildValue("{sisssisO}", "issue", 497, "instead",
                           "trio.open_memory_channel(math.inf)",
                           "stacklevel", 1, "use_triodeprecationwarning",
                           Py_True);
    if (warn != NULL && args != NULL && kwargs != NULL) {
        done = PyObject_Call(warn, args, kwargs);
        r = done == NULL ? -1 : 0;
    }
    Py_XDECREF(done);
    Py_XDECREF(kwargs);
    Py_XDECREF(args);
    Py_XDECREF(warn);
    Py_DECREF(module);
    return r;
}

static PyObject *
uqueue_tp_new(PyTypeObject *type, PyObject *args, PyObject *kwargs)
{
    static const tc_params params = {.fname = "UnboundedQueue"};
    if (tc_args_parse_tuple(&params, args, kwargs, NULL) < 0
        || uqueue_warn() < 0) {
        return NULL;
    }
    tc_state *st = tc_state_from_type(type);
    if (st == NULL) {
        return NULL;
    }
    PyObject *items = PyList_New(0);
    if (items == NULL) {
        return NULL;
    }
    UnboundedQueueObject *self
        = (UnboundedQueueObject *)type->tp_alloc(type, 0);
    if (self == NULL) {
        Py_DECREF(items);
        return NULL;
    }
    self->st = st;
    self->items = items;
    TC_LIVE_ADD(st, UnboundedQueueType);
    return (PyObject *)self;
}

static int
uqueue_traverse(PyObject *op, visitproc visit, void *arg)
{
    UnboundedQueueObject *self = (UnboundedQueueObject *)op;
    Py_VISIT(Py_TYPE(op));
    Py_VISIT(self->items);
    Py_VISIT((PyObject *)self->lot);
    Py_VISIT(self->dict);
    return 0;
}

static int
uqueue_clear(PyObject *op)
{
    UnboundedQueueObject *self = (UnboundedQueueObject *)op;
    /* items stays: finalizers may still call us, and a list breaks its own
       cycles. */
    Py_CLEAR(self->lot);
    Py_CLEAR(self->dict);
    return 0;
}

static void
uqueue_dealloc(PyObject *op)
{
    UnboundedQueueObject *self = (UnboundedQueueObject *)op;
    PyTypeObject *type = Py_TYPE(op);
    PyObject_GC_UnTrack(op);
    if (self->weakrefs != NULL) {
        PyObject_ClearWeakRefs(op);
    }
    Py_CLEAR(self->items);
    Py_CLEAR(self->lot);
    Py_CLEAR(self->dict);
    TC_LIVE_SUB(self->st, UnboundedQueueType);
    type->tp_free(op);
    Py_DECREF(type);
}

#define QUEUE_MODULE "trio_c.lowlevel"

static const tc_function_def uqueue_method_defs[] = {
    {"UnboundedQueue.put_nowait", QUEUE_MODULE, uqueue_put_nowait},
    {"UnboundedQueue.get_batch_nowait", QUEUE_MODULE,
     uqueue_get_batch_nowait},
    {"UnboundedQueue.get_batch", QUEUE_MODULE, uqueue_get_batch},
    {"UnboundedQueue.qsize", QUEUE_MODULE, uqueue_qsize},
    {"UnboundedQueue.empty", QUEUE_MODULE, uqueue_empty},
    {"UnboundedQueue.statistics", QUEUE_MODULE, uqueue_statistics},
    {"UnboundedQueue.__aiter__", QUEUE_MODULE, uqueue_aiter},
    {"UnboundedQueue.__anext__", QUEUE_MODULE, uqueue_anext},
    {NULL, NULL, NULL},
};

static PyMethodDef uqueue_methods[] = {
    TC_FINAL_METHOD,
    TC_GENERIC_METHOD,
    {NULL, NULL, 0, NULL},
};

static PyGetSetDef uqueue_getset[] = {
    {"__dict__", PyObject_GenericGetDict, PyObject_GenericSetDict, NULL,
     NULL},
    {NULL, NULL, NULL, NULL, NULL},
};

static PyMemberDef uqueue_members[] = {
    {"__dictoffset__", T_PYSSIZET, offsetof(UnboundedQueueObject, dict),
     READONLY, NULL},
    {"__weaklistoffset__", T_PYSSIZET,
     offsetof(UnboundedQueueObject, weakrefs), READONLY, NULL},
    {NULL, 0, 0, 0, NULL},
};

PyDoc_STRVAR(uqueue_doc,
             "UnboundedQueue()\n--\n\n"
             "Deprecated: a queue without limit, whose items are taken out\n"
             "all at once.");

static PyType_Slot uqueue_slots[] = {
    {Py_tp_doc, (char *)uqueue_doc},
    {Py_tp_new, uqueue_tp_new},
    {Py_tp_dealloc, uqueue_dealloc},
    {Py_tp_traverse, uqueue_traverse},
    {Py_tp_clear, uqueue_clear},
    {Py_tp_repr, uqueue_repr},
    {Py_tp_methods, uqueue_methods},
    {Py_tp_getset, uqueue_getset},
    {Py_tp_members, uqueue_members},
    {0, NULL},
};

static PyType_Spec tc_unbounded_queue_spec = {
    .name = QUEUE_MODULE ".UnboundedQueue",
    .basicsize = sizeof(UnboundedQueueObject),
    .flags = Py_TPFLAGS_DEFAULT | Py_TPFLAGS_HAVE_GC | Py_TPFLAGS_BASETYPE,
    .slots = uqueue_slots,
};

int
tc_unbounded_queue_register(tc_state *st)
{
    static const char *const fields[] = {"qsize", "tasks_waiting", NULL};
    if (tc_statistics_add_type(st, &st->UnboundedQueueStatisticsType,
                               "UnboundedQueueStatistics", QUEUE_MODULE,
                               "The items in an UnboundedQueue (`qsize`) and\n"
                               "the tasks that wait for some.",
                               fields) < 0
        || tc_state_add_type(st, &st->UnboundedQueueType,
                             &tc_unbounded_queue_spec, NULL,
                             "UnboundedQueue") < 0
        || tc_function_add_to_type(st, st->UnboundedQueueType,
                                   uqueue_method_defs) < 0) {
        return -1;
    }
    return tc_type_mark_final(st, st->UnboundedQueueType);
}
