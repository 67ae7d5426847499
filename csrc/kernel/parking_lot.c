/* parking_lot.c - parking lots. What breaks them is in lot_breakers.c.
 *
 * Invariants
 * - n_parked is the number of awaitables in `parked`; each of them has its
 *   task set and owns a reference to the lot in `extra`, so a lot dies
 *   empty.
 * - A waker takes the awaitable out of the list before it wakes the task:
 *   what is parked is asleep.
 * - A broken lot takes nobody in; breaking it wakes everybody.
 */
#include "parking_lot.h"

#include "../glue/args.h"
#include "../glue/errors.h"
#include "../glue/function.h"
#include "../glue/types.h"
#include "trap.h"

void
tc_error_collect(PyObject **first)
{
    PyObject *exc = PyErr_GetRaisedException();
    if (*first == NULL) {
        *first = exc;
    }
    else {
        Py_XDECREF(exc);
    }
}

int
tc_error_raise_first(PyObject *first)
{
    if (first == NULL) {
        return 0;
    }
    PyErr_SetRaisedException(first);
    return -1;
}

int
tc_waiter_refuse(AwaitableObject *aw)
{
    if (tc_context_need_runner(aw->st) != NULL) {
        PyErr_SetString(PyExc_AssertionError,
                        "the waiting task belongs to another run");
    }
    return -1;
}

int
tc_waiter_fail(AwaitableObject *aw, PyObject *type)
{
    PyObject *exc = PyObject_CallNoArgs(type);
    if (exc == NULL) {
        /* It must wake all the same: with what went wrong here. */
        exc = PyErr_GetRaisedException();
    }
    return tc_task_wake_error(aw->task, exc);
}

/* --- the lot ------------------------------------------------------------- */

ParkingLotObject *
tc_lot_new(tc_state *st)
{
    PyTypeObject *type = st->ParkingLotType;
    ParkingLotObject *self = (ParkingLotObject *)type->tp_alloc(type, 0);
    if (self != NULL) {
        self->st = st;
        tc_list_init(&self->parked);
        TC_LIVE_ADD(st, ParkingLotType);
    }
    return self;
}

ParkingLotObject *
tc_lot_need(tc_state *st, ParkingLotObject **slot)
{
    if (*slot == NULL) {
        ParkingLotObject *lot = tc_lot_new(st);
        /* Allocating may have run a finalizer that came here, too. */
        if (*slot == NULL) {
            *slot = lot;
        }
        else {
            Py_XDECREF(lot);
        }
    }
    return *slot;
}

int
tc_lot_park(ParkingLotObject *lot, AwaitableObject *self, TaskObject *task)
{
    if (tc_home_check((PyObject *)lot) < 0) {
        return -1;
    }
    if (lot->broken_by != NULL && PyList_GET_SIZE(lot->broken_by) > 0) {
        PyErr_Format(lot->st->exc_BrokenResourceError,
                     "Attempted to park in parking lot broken by %S",
                     lot->broken_by);
        return -1;
    }
    Py_XSETREF(self->extra, Py_NewRef((PyObject *)lot));
    if (self->task != task) {
        Py_INCREF(task);
        Py_XSETREF(self->task, task);
    }
    tc_list_append(&lot->parked, &self->link);
    lot->n_parked++;
    return 0;
}

void
tc_lot_unpark_self(AwaitableObject *self)
{
    if (tc_link_is_linked(&self->link)) {
        tc_list_remove(&self->link);
        ((ParkingLotObject *)self->extra)->n_parked--;
    }
}

PyObject *
tc_lot_of(AwaitableObject *self)
{
    return self->extra;
}

AwaitableObject *
tc_lot_pop(ParkingLotObject *lot)
{
    tc_link *link = tc_list_first(&lot->parked);
    if (link == NULL) {
        return NULL;
    }
    AwaitableObject *aw = TC_CONTAINER_OF(link, AwaitableObject, link);
    Py_INCREF(aw);
    tc_lot_unpark_self(aw);
    return aw;
}

int
tc_lot_check(ParkingLotObject *lot)
{
    tc_link *link = tc_list_first(&lot->parked);
    if (link == NULL) {
        return 0;
    }
    return tc_waiter_check(TC_CONTAINER_OF(link, AwaitableObject, link));
}

int
tc_lot_wake_first(ParkingLotObject *lot)
{
    if (tc_lot_check(lot) < 0) {
        return -1;
    }
    AwaitableObject *aw = tc_lot_pop(lot);
    if (aw == NULL) {
        return 0;
    }
    int r = tc_task_wake(aw->task);
    Py_DECREF(aw);
    return r;
}

void
tc_lot_repark(ParkingLotObject *lot, ParkingLotObject *to, Py_ssize_t count)
{
    /* Once around is enough, also when lot and to are the same. */
    for (count = Py_MIN(count, lot->n_parked); count > 0; count--) {
        AwaitableObject *aw = TC_CONTAINER_OF(tc_list_first(&lot->parked),
                                              AwaitableObject, link);
        tc_lot_unpark_self(aw);
        tc_list_append(&to->parked, &aw->link);
        to->n_parked++;
        /* The caller keeps both lots alive. */
        Py_INCREF(to);
        Py_SETREF(aw->extra, (PyObject *)to);
    }
}

int
tc_lot_count(ParkingLotObject *lot, PyObject *count, Py_ssize_t *result)
{
    Py_ssize_t n_parked = lot == NULL ? 0 : lot->n_parked;
    if (PyFloat_Check(count)) {
        if (!Py_IS_INFINITY(PyFloat_AS_DOUBLE(count))) {
            PyErr_SetString(PyExc_ValueError,
                            "Cannot pop a non-integer number of tasks.");
            return -1;
        }
        *result = n_parked;
        return 0;
    }
    Py_ssize_t n = PyNumber_AsSsize_t(count, NULL);
    if (n == -1 && PyErr_Occurred()) {
        return -1;
    }
    *result = Py_MAX(0, Py_MIN(n, n_parked));
    return 0;
}

/* The list `broken_by`; borrowed, or NULL. */
static PyObject *
lot_broken_by(ParkingLotObject *self)
{
    if (self->broken_by == NULL) {
        PyObject *list = PyList_New(0);
        /* Allocating may have run a finalizer that came here, too. */
        if (self->broken_by == NULL) {
            self->broken_by = list;
        }
        else {
            Py_XDECREF(list);
        }
    }
    return self->broken_by;
}

int
tc_lot_break(ParkingLotObject *lot, PyObject *breaker)
{
    PyObject *broken_by = lot_broken_by(lot);
    PyObject *message = NULL, *first_error = NULL;
    if (broken_by == NULL || tc_home_check((PyObject *)lot) < 0
        || tc_lot_check(lot) < 0) {
        return -1;
    }
    if (lot->n_parked > 0) {
        message = PyUnicode_FromFormat("Parking lot broken by %S", breaker);
        if (message == NULL) {
            return -1;
        }
    }
    if (PyList_Append(broken_by, breaker) < 0) {
        Py_XDECREF(message);
        return -1;
    }
    PyObject *type = lot->st->exc_BrokenResourceError;
    AwaitableObject *aw;
    Py_INCREF(lot);
    while (message != NULL && (aw = tc_lot_pop(lot)) != NULL) {
        PyObject *exc = PyObject_CallOneArg(type, message);
        if (exc == NULL) {
            exc = PyErr_GetRaisedException();
        }
        if (tc_task_wake_error(aw->task, exc) < 0) {
            tc_error_collect(&first_error);
        }
        Py_DECREF(aw);
    }
    Py_DECREF(lot);
    Py_XDECREF(message);
    return tc_error_raise_first(first_error);
}

/* --- ParkingLot's Python face -------------------------------------------- */

static tc_step
park_step(AwaitableObject *self, PyObject *Py_UNUSED(sent),
          PyObject **Py_UNUSED(result))
{
    if (self->phase != 0) {
        return tc_trap_resume(self, NULL) < 0 ? TC_ERROR : TC_DONE;
    }
    self->phase = 1;
    TaskObject *task = tc_trap_task(self);
    if (task == NULL
        || tc_lot_park((ParkingLotObject *)self->owner, self, task) < 0) {
        return TC_ERROR;
    }
    return tc_trap_wait(self, task);
}

static const tc_op park_op = {
    .name = "park",
    .qualname = "ParkingLot.park",
    .step = park_step,
    .abandon = tc_lot_unpark_self,
    .sleep_data = tc_lot_of,
};

static PyObject *
lot_park(FunctionObject *func, PyObject *self, PyObject *const *args,
         Py_ssize_t nargs, PyObject *kwnames)
{
    if (tc_args_none("ParkingLot.park", nargs, kwnames) < 0) {
        return NULL;
    }
    return (PyObject *)tc_awaitable_new(func->st, &park_op, self);
}

/* The first `count` tasks, out of the lot but not woken yet; NULL on error,
   with all of them where they were. */
static PyObject *
lot_pop_tasks(ParkingLotObject *self, Py_ssize_t count)
{
    if (tc_lot_check(self) < 0) {
        return NULL;
    }
    PyObject *tasks = PyList_New(count);
    if (tasks == NULL) {
        return NULL;
    }
    for (Py_ssize_t i = 0; i < count; i++) {
        /* Not even the allocation above let anybody leave: nothing that
           runs Python has happened since the caller counted, except a
           finalizer perhaps. */
        AwaitableObject *aw = tc_lot_pop(self);
        if (aw == NULL) {
            if (PyList_SetSlice(tasks, i, count, NULL) < 0) {
                Py_DECREF(tasks);
                return NULL;
            }
            break;
        }
        PyList_SET_ITEM(tasks, i, Py_NewRef((PyObject *)aw->task));
        Py_DECREF(aw);
    }
    return tasks;
}

static PyObject *
lot_wake_several(ParkingLotObject *self, Py_ssize_t count)
{
    PyObject *first_error = NULL;
    PyObject *tasks = lot_pop_tasks(self, count);
    if (tasks == NULL) {
        return NULL;
    }
    for (Py_ssize_t i = 0; i < PyList_GET_SIZE(tasks); i++) {
        if (tc_task_wake((TaskObject *)PyList_GET_ITEM(tasks, i)) < 0) {
            tc_error_collect(&first_error);
        }
    }
    if (tc_error_raise_first(first_error) < 0) {
        Py_CLEAR(tasks);
    }
    return tasks;
}

static const tc_params unpark_params = {
    .fname = "ParkingLot.unpark",
    .names = {"count"},
};

static PyObject *
lot_unpark(FunctionObject *Py_UNUSED(func), PyObject *op,
           PyObject *const *args, Py_ssize_t nargs, PyObject *kwnames)
{
    ParkingLotObject *self = (ParkingLotObject *)op;
    PyObject *given[1];
    if (tc_args_parse(&unpark_params, args, nargs, kwnames, given) < 0) {
        return NULL;
    }
    Py_ssize_t count = Py_MIN(1, self->n_parked);
    if (given[0] != NULL && tc_lot_count(self, given[0], &count) < 0) {
        return NULL;
    }
    return lot_wake_several(self, count);
}

static PyObject *
lot_unpark_all(FunctionObject *Py_UNUSED(func), PyObject *op,
               PyObject *const *args, Py_ssize_t nargs, PyObject *kwnames)
{
    ParkingLotObject *self = (ParkingLotObject *)op;
    if (tc_args_none("ParkingLot.unpark_all", nargs, kwnames) < 0) {
        return NULL;
    }
    return lot_wake_several(self, self->n_parked);
}

static PyObject *
lot_move(ParkingLotObject *self, PyObject *new_lot, PyObject *count)
{
    if (!ParkingLot_CheckExact(self->st, new_lot)) {
        PyErr_SetString(PyExc_TypeError, "new_lot must be a ParkingLot");
        return NULL;
    }
    if (tc_home_check(new_lot) < 0) {
        return NULL;
    }
    Py_ssize_t n = 1;
    if (count != NULL && tc_lot_count(self, count, &n) < 0) {
        return NULL;
    }
    tc_lot_repark(self, (ParkingLotObject *)new_lot, n);
    Py_RETURN_NONE;
}

static const tc_params repark_params = {
    .fname = "ParkingLot.repark",
    .names = {"new_lot", "count"},
    .n_positional = 1,
    .n_required = 1,
};

static PyObject *
lot_repark(FunctionObject *Py_UNUSED(func), PyObject *op,
           PyObject *const *args, Py_ssize_t nargs, PyObject *kwnames)
{
    PyObject *given[2];
    if (tc_args_parse(&repark_params, args, nargs, kwnames, given) < 0) {
        return NULL;
    }
    return lot_move((ParkingLotObject *)op, given[0], given[1]);
}

static const tc_params repark_all_params = {
    .fname = "ParkingLot.repark_all",
    .names = {"new_lot"},
    .n_positional = 1,
    .n_required = 1,
};

static PyObject *
lot_repark_all(FunctionObject *Py_UNUSED(func), PyObject *op,
               PyObject *const *args, Py_ssize_t nargs, PyObject *kwnames)
{
    PyObject *given[1];
    if (tc_args_parse(&repark_all_params, args, nargs, kwnames, given) < 0) {
        return NULL;
    }
    PyObject *count
        = PyLong_FromSsize_t(((ParkingLotObject *)op)->n_parked);
    if (count == NULL) {
        return NULL;
    }
    PyObject *result = lot_move((ParkingLotObject *)op, given[0], count);
    Py_DECREF(count);
    return result;
}

static const tc_params break_lot_params = {
    .fname = "ParkingLot.break_lot",
    .names = {"task"},
    .n_positional = 1,
};

static PyObject *
lot_break_lot(FunctionObject *func, PyObject *op, PyObject *const *args,
              Py_ssize_t nargs, PyObject *kwnames)
{
    PyObject *breaker;
    if (tc_args_parse(&break_lot_params, args, nargs, kwnames, &breaker)
        < 0) {
        return NULL;
    }
    if (breaker == NULL || breaker == Py_None) {
        breaker = (PyObject *)tc_context_need_task(func->st);
        if (breaker == NULL) {
            return NULL;
        }
    }
    Py_INCREF(breaker);
    int r = tc_lot_break((ParkingLotObject *)op, breaker);
    Py_DECREF(breaker);
    if (r < 0) {
        return NULL;
    }
    Py_RETURN_NONE;
}

static PyObject *
lot_statistics(FunctionObject *func, PyObject *op, PyObject *const *args,
               Py_ssize_t nargs, PyObject *kwnames)
{
    if (tc_args_none("ParkingLot.statistics", nargs, kwnames) < 0) {
        return NULL;
    }
    PyObject *value
        = PyLong_FromSsize_t(((ParkingLotObject *)op)->n_parked);
    return tc_statistics_new(func->st->ParkingLotStatisticsType, &value);
}

static PyObject *
lot_get_broken_by(PyObject *op, void *Py_UNUSED(closure))
{
    return Py_XNewRef(lot_broken_by((ParkingLotObject *)op));
}

static Py_ssize_t
lot_length(PyObject *op)
{
    return tc_home_check(op) < 0 ? -1 : ((ParkingLotObject *)op)->n_parked;
}

static int
lot_bool(PyObject *op)
{
    return tc_home_check(op) < 0 ? -1
                                 : ((ParkingLotObject *)op)->n_parked > 0;
}

/* The parked tasks, first to leave first: a new OrderedDict whose keys they
   are, or NULL. */
static PyObject *
lot_get_parked(PyObject *op, void *Py_UNUSED(closure))
{
    ParkingLotObject *self = (ParkingLotObject *)op;
    PyObject *module = PyImport_ImportModule("collections");
    if (module == NULL) {
        return NULL;
    }
    PyObject *tasks = PyObject_CallMethod(module, "OrderedDict", NULL);
    Py_DECREF(module);
    /* Nobody leaves or comes: hashing a task runs no Python. */
    for (tc_link *link = self->parked.next;
         tasks != NULL && link != &self->parked; link = link->next) {
        AwaitableObject *aw = TC_CONTAINER_OF(link, AwaitableObject, link);
        if (PyObject_SetItem(tasks, (PyObject *)aw->task, Py_None) < 0) {
            Py_CLEAR(tasks);
        }
    }
    return tasks;
}

static PyObject *
lot_repr(PyObject *op)
{
    if (tc_home_check(op) < 0) {
        return tc_home_repr(op);
    }
    PyObject *broken_by = lot_broken_by((ParkingLotObject *)op);
    PyObject *parked = broken_by == NULL ? NULL : lot_get_parked(op, NULL);
    if (parked == NULL) {
        return NULL;
    }
    PyObject *text = PyUnicode_FromFormat(
        "ParkingLot(_parked=%R, broken_by=%R)", parked, broken_by);
    Py_DECREF(parked);
    return text;
}

static PyObject *
lot_vectorcall(PyObject *type, PyObject *const *Py_UNUSED(args),
               size_t nargsf, PyObject *kwnames)
{
    if (tc_args_none("ParkingLot", PyVectorcall_NARGS(nargsf), kwnames) < 0) {
        return NULL;
    }
    tc_state *st = tc_state_from_type((PyTypeObject *)type);
    return st == NULL ? NULL : (PyObject *)tc_lot_new(st);
}

/* The class is final: type is always ParkingLot itself. */
static PyObject *
lot_tp_new(PyTypeObject *type, PyObject *args, PyObject *kwargs)
{
    static const tc_params params = {.fname = "ParkingLot"};
    if (tc_args_parse_tuple(&params, args, kwargs, NULL) < 0) {
        return NULL;
    }
    tc_state *st = tc_state_from_type(type);
    return st == NULL ? NULL : (PyObject *)tc_lot_new(st);
}

static int
lot_traverse(PyObject *op, visitproc visit, void *arg)
{
    Py_VISIT(Py_TYPE(op));
    Py_VISIT(((ParkingLotObject *)op)->broken_by);
    return 0;
}

static int
lot_clear(PyObject *op)
{
    Py_CLEAR(((ParkingLotObject *)op)->broken_by);
    return 0;
}

static void
lot_dealloc(PyObject *op)
{
    ParkingLotObject *self = (ParkingLotObject *)op;
    PyTypeObject *type = Py_TYPE(op);
    assert(tc_list_is_empty(&self->parked));
    PyObject_GC_UnTrack(op);
    if (self->weakrefs != NULL) {
        PyObject_ClearWeakRefs(op);
    }
    (void)lot_clear(op);
    TC_LIVE_SUB(self->st, ParkingLotType);
    type->tp_free(op);
    Py_DECREF(type);
}

/* --- registration -------------------------------------------------------- */

#define LOT_MODULE "trio_c.lowlevel"

/* Everything has been done; tp_vectorcall does not even call it. It is there
   to be looked at. */
static PyObject *
lot_init(FunctionObject *Py_UNUSED(func), PyObject *Py_UNUSED(op),
         PyObject *const *Py_UNUSED(args), Py_ssize_t nargs,
         PyObject *kwnames)
{
    if (tc_args_none("ParkingLot.__init__", nargs, kwnames) < 0) {
        return NULL;
    }
    Py_RETURN_NONE;
}

static const tc_function_def lot_method_defs[] = {
    {"ParkingLot.__init__", LOT_MODULE, lot_init},
    {"ParkingLot.park", LOT_MODULE, lot_park},
    {"ParkingLot.unpark", LOT_MODULE, lot_unpark},
    {"ParkingLot.unpark_all", LOT_MODULE, lot_unpark_all},
    {"ParkingLot.repark", LOT_MODULE, lot_repark},
    {"ParkingLot.repark_all", LOT_MODULE, lot_repark_all},
    {"ParkingLot.break_lot", LOT_MODULE, lot_break_lot},
    {"ParkingLot.statistics", LOT_MODULE, lot_statistics},
    {NULL, NULL, NULL},
};

static PyGetSetDef lot_getset[] = {
    {"broken_by", lot_get_broken_by, NULL,
     PyDoc_STR("The tasks that have broken this lot, in order; a list."),
     NULL},
    {"_parked", lot_get_parked, NULL, NULL, NULL},
    {NULL, NULL, NULL, NULL, NULL},
};

static PyMemberDef lot_members[] = {
    {"__weaklistoffset__", T_PYSSIZET, offsetof(ParkingLotObject, weakrefs),
     READONLY, NULL},
    {NULL, 0, 0, 0, NULL},
};

static PyMethodDef lot_methods[] = {
    TC_FINAL_METHOD,
    TC_COPY_METHOD,
    {NULL, NULL, 0, NULL},
};

PyDoc_STRVAR(lot_doc,
             "ParkingLot()\n--\n\n"
             "A queue of sleeping tasks, woken first come, first served.\n\n"
             "Synchronisation primitives are built on it. ``len()`` tells\n"
             "how many tasks are parked, and the lot is true if any are.");

static PyType_Slot lot_slots[] = {
    {Py_tp_doc, (char *)lot_doc},
    {Py_tp_new, lot_tp_new},
    {Py_tp_dealloc, lot_dealloc},
    {Py_tp_traverse, lot_traverse},
    {Py_tp_clear, lot_clear},
    {Py_tp_repr, lot_repr},
    {Py_sq_length, lot_length},
    {Py_nb_bool, lot_bool},
    {Py_tp_getset, lot_getset},
    {Py_tp_members, lot_members},
    {Py_tp_methods, lot_methods},
    {0, NULL},
};

static PyType_Spec tc_parking_lot_spec = {
    .name = LOT_MODULE ".ParkingLot",
    .basicsize = sizeof(ParkingLotObject),
    .flags = Py_TPFLAGS_DEFAULT | Py_TPFLAGS_HAVE_GC | Py_TPFLAGS_BASETYPE,
    .slots = lot_slots,
};

int
tc_parking_lot_register(tc_state *st)
{
    static const char *const fields[] = {"tasks_waiting", NULL};
    if (tc_statistics_add_type(st, &st->ParkingLotStatisticsType,
                               "ParkingLotStatistics", LOT_MODULE,
                               "How many tasks are parked in a lot.", fields)
            < 0
        || tc_state_add_type(st, &st->ParkingLotType, &tc_parking_lot_spec,
                             NULL, "ParkingLot") < 0
        || tc_function_add_to_type(st, st->ParkingLotType, lot_method_defs)
               < 0
        || tc_lot_breakers_register(st) < 0
        || tc_type_mark_final(st, st->ParkingLotType) < 0) {
        return -1;
    }
    st->ParkingLotType->tp_vectorcall = lot_vectorcall;
    return 0;
}
