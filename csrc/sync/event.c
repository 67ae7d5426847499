/* event.c - Event: a flag to wait for.
 *
 * Invariants: n_waiting is the number of awaitables in `waiting`; each holds
 * a reference to the event. Once the flag is set it stays set, and nobody
 * joins the list any more. An event refers to no object, so it is no
 * container for the garbage collector.
 */
#include "../glue/args.h"
#include "../glue/function.h"
#include "../glue/types.h"
#include "../kernel/parking_lot.h"
#include "../kernel/trap.h"
#include "sync.h"

typedef struct {
    TC_HOME_HEAD
    tc_state *st;            /* borrowed */
    tc_link waiting;         /* of awaitables, through link */
    Py_ssize_t n_waiting;
    PyObject *weakrefs;
    TC_SHARED(uint8_t) flag;
} EventObject;

static void
event_abandon(AwaitableObject *aw)
{
    if (tc_link_is_linked(&aw->link)) {
        tc_list_remove(&aw->link);
        ((EventObject *)aw->owner)->n_waiting--;
    }
}

/* 0 to 2 are those of tc_checkpoint_step(). */
enum { EVENT_WAIT_START = 0, EVENT_WAIT_LINKED = 3 };

static tc_step
event_wait_step(AwaitableObject *self, PyObject *sent, PyObject **result)
{
    EventObject *event = (EventObject *)self->owner;
    if (self->phase == EVENT_WAIT_LINKED) {
        return tc_trap_resume(self, NULL) < 0 ? TC_ERROR : TC_DONE;
    }
    if (self->phase != EVENT_WAIT_START || event->flag) {
        return tc_checkpoint_step(self, sent, result);
    }
    TaskObject *task = tc_trap_task(self);
    if (task == NULL) {
        return TC_ERROR;
    }
    tc_list_append(&event->waiting, &self->link);
    event->n_waiting++;
    self->phase = EVENT_WAIT_LINKED;
    return tc_trap_wait(self, task);
}

static const tc_op event_wait_op = {
    .name = "wait",
    .qualname = "Event.wait",
    .step = event_wait_step,
    .abandon = event_abandon,
};

static PyObject *
event_wait(FunctionObject *func, PyObject *op, PyObject *const *args,
           Py_ssize_t nargs, PyObject *kwnames)
{
    if (tc_args_none("Event.wait", nargs, kwnames) < 0) {
        return NULL;
    }
    return (PyObject *)tc_awaitable_new(func->st, &event_wait_op, op);
}

static PyObject *
event_is_set(FunctionObject *Py_UNUSED(func), PyObject *op,
             PyObject *const *args, Py_ssize_t nargs, PyObject *kwnames)
{
    if (tc_args_none("Event.is_set", nargs, kwnames) < 0) {
        return NULL;
    }
    return PyBool_FromLong(((EventObject *)op)->flag);
}

static PyObject *
event_set(FunctionObject *Py_UNUSED(func), PyObject *op,
          PyObject *const *args, Py_ssize_t nargs, PyObject *kwnames)
{
    EventObject *self = (EventObject *)op;
    PyObject *first_error = NULL;
    tc_link *link;
    if (tc_args_none("Event.set", nargs, kwnames) < 0) {
        return NULL;
    }
    link = tc_list_first(&self->waiting);
    if (link != NULL
        && tc_waiter_check(TC_CONTAINER_OF(link, AwaitableObject, link))
               < 0) {
        return NULL;
    }
    self->flag = 1;
    while ((link = tc_list_first(&self->waiting)) != NULL) {
        AwaitableObject *aw = TC_CONTAINER_OF(link, AwaitableObject, link);
        Py_INCREF(aw);
        event_abandon(aw);
        if (tc_task_wake(aw->task) < 0) {
            tc_error_collect(&first_error);
        }
        Py_DECREF(aw);
    }
    if (tc_error_raise_first(first_error) < 0) {
        return NULL;
    }
    Py_RETURN_NONE;
}

static PyObject *
event_statistics(FunctionObject *func, PyObject *op, PyObject *const *args,
                 Py_ssize_t nargs, PyObject *kwnames)
{
    if (tc_args_none("Event.statistics", nargs, kwnames) < 0) {
        return NULL;
    }
    PyObject *value = PyLong_FromSsize_t(((EventObject *)op)->n_waiting);
    return tc_statistics_new(func->st->EventStatisticsType, &value);
}

static int
event_bool(PyObject *Py_UNUSED(op))
{
    PyErr_SetString(PyExc_NotImplementedError,
                    "Trio events cannot be treated as bools; consider using "
                    "`event.is_set()` instead.");
    return -1;
}

/* Event is final: type is always the same one. */
static PyObject *
event_new(PyTypeObject *type)
{
    tc_state *st = PyType_GetModuleState(type);
    if (st == NULL) {
        return NULL;
    }
    EventObject *self
        = (EventObject *)tc_freelist_new(&st->free_events, type);
    if (self != NULL) {
        self->st = st;
        tc_list_init(&self->waiting);
        self->n_waiting = 0;
        self->weakrefs = NULL;
        self->flag = 0;
        TC_LIVE_ADD(st, EventType);
    }
    return (PyObject *)self;
}

static PyObject *
event_vectorcall(PyObject *type, PyObject *const *Py_UNUSED(args),
                 size_t nargsf, PyObject *kwnames)
{
    if (tc_args_none("Event", PyVectorcall_NARGS(nargsf), kwnames) < 0) {
        return NULL;
    }
    return event_new((PyTypeObject *)type);
}

static PyObject *
event_tp_new(PyTypeObject *type, PyObject *args, PyObject *kwargs)
{
    static const tc_params params = {.fname = "Event"};
    if (tc_args_parse_tuple(&params, args, kwargs, NULL) < 0) {
        return NULL;
    }
    return event_new(type);
}

static void
event_dealloc(PyObject *op)
{
    EventObject *self = (EventObject *)op;
    PyTypeObject *type = Py_TYPE(op);
    assert(tc_list_is_empty(&self->waiting));
    if (self->weakrefs != NULL) {
        PyObject_ClearWeakRefs(op);
    }
    TC_LIVE_SUB(self->st, EventType);
    tc_freelist_delete(&self->st->free_events, op);
    Py_DECREF(type);
}

static const tc_function_def event_method_defs[] = {
    {"Event.is_set", "trio_c", event_is_set, 1},
    {"Event.set", "trio_c", event_set},
    {"Event.wait", "trio_c", event_wait},
    {"Event.statistics", "trio_c", event_statistics},
    {NULL, NULL, NULL},
};

static PyMethodDef event_methods[] = {
    TC_FINAL_METHOD,
    TC_COPY_METHOD,
    {NULL, NULL, 0, NULL},
};

static PyMemberDef event_members[] = {
    {"__weaklistoffset__", T_PYSSIZET, offsetof(EventObject, weakrefs),
     READONLY, NULL},
    {NULL, 0, 0, 0, NULL},
};

PyDoc_STRVAR(event_doc,
             "Event()\n--\n\n"
             "A flag that starts out unset, can be set once, and can be\n"
             "waited for by any number of tasks.");

static PyType_Slot event_slots[] = {
    {Py_tp_doc, (char *)event_doc},
    {Py_tp_new, event_tp_new},
    {Py_tp_dealloc, event_dealloc},
    {Py_nb_bool, event_bool},
    {Py_tp_methods, event_methods},
    {Py_tp_members, event_members},
    {0, NULL},
};

static PyType_Spec tc_event_spec = {
    .name = "trio_c.Event",
    .basicsize = sizeof(EventObject),
    .flags = Py_TPFLAGS_DEFAULT | Py_TPFLAGS_BASETYPE,
    .slots = event_slots,
};

int
tc_event_register(tc_state *st)
{
    static const char *const fields[] = {"tasks_waiting", NULL};
    if (tc_statistics_add_type(st, &st->EventStatisticsType,
                               "EventStatistics", "trio_c",
                               "How many tasks wait for an Event.", fields) < 0
        || tc_state_add_type(st, &st->EventType, &tc_event_spec, NULL,
                             "Event") < 0
        || tc_function_add_to_type(st, st->EventType, event_method_defs) < 0
        || tc_type_mark_final(st, st->EventType) < 0) {
        return -1;
    }
    st->EventType->tp_vectorcall = event_vectorcall;
    return 0;
}
