/* channel_state.c - what happens between the ends of a memory channel.
 *
 * Invariants
 * - Receivers wait only while the buffer is empty and no sender waits;
 *   senders wait only while the buffer is full. So nobody overtakes.
 * - Waiting awaitables are in one list per direction, over all handles; each
 *   holds a reference to its handle (owner), and that one to the state.
 *   handle->n_waiting counts those of one handle.
 * - The last receiver's closing empties the buffer for good; after the last
 *   sender's closing nothing is added any more.
 * Items are users' objects: dropping one runs any code, which may come back
 * here, so it is always the last thing done. The same goes for waking.
 */
#include "channel.h"

#include "../glue/args.h"
#include "../glue/function.h"
#include "../glue/types.h"

#define RING_MIN 4
/* A ring larger than this is given back when it runs empty. */
#define RING_KEEP 64

/* --- the buffer ---------------------------------------------------------- */

static PyObject **
ring_slot(ChannelStateObject *self, Py_ssize_t i)
{
    return &self->items[(self->head + i) & (self->capacity - 1)];
}

static int
ring_grow(ChannelStateObject *self)
{
    Py_ssize_t capacity
        = self->capacity == 0 ? RING_MIN : self->capacity * 2;
    PyObject **items = PyMem_New(PyObject *, capacity);
    if (items == NULL) {
        PyErr_NoMemory();
        return -1;
    }
    for (Py_ssize_t i = 0; i < self->n_items; i++) {
        items[i] = *ring_slot(self, i);
    }
    PyMem_Free(self->items);
    self->items = items;
    self->capacity = capacity;
    self->head = 0;
    return 0;
}

/* Add a new reference to value at the end. */
static int
ring_push(ChannelStateObject *self, PyObject *value)
{
    if (self->n_items == self->capacity && ring_grow(self) < 0) {
        return -1;
    }
    *ring_slot(self, self->n_items) = Py_NewRef(value);
    self->n_items++;
    self->peak = Py_MAX(self->peak, self->n_items);
    return 0;
}

/* Take the first item; there is one. The reference goes to the caller. */
static PyObject *
ring_pop(ChannelStateObject *self)
{
    PyObject *value = *ring_slot(self, 0);
    self->head = (self->head + 1) & (self->capacity - 1);
    self->n_items--;
    if (self->n_items == 0 && self->capacity > RING_KEEP) {
        PyMem_Free(self->items);
        self->items = NULL;
        self->capacity = 0;
        self->head = 0;
    }
    return value;
}

/* Take the first item, if there is none that would be value, and add value
   (stolen) at the end. Allocates nothing, and the peak is not touched. */
static PyObject *
ring_pass(ChannelStateObject *self, PyObject *value)
{
    if (self->n_items == 0) {
        return value;
    }
    PyObject *first = *ring_slot(self, 0);
    self->head = (self->head + 1) & (self->capacity - 1);
    *ring_slot(self, self->n_items - 1) = value;
    return first;
}

/* Drop all items. Runs Python. */
static void
ring_clear(ChannelStateObject *self)
{
    PyObject **items = self->items;
    Py_ssize_t head = self->head, n = self->n_items;
    Py_ssize_t mask = self->capacity - 1;
    self->items = NULL;
    self->capacity = self->head = self->n_items = 0;
    for (Py_ssize_t i = 0; i < n; i++) {
        Py_DECREF(items[(head + i) & mask]);
    }
    PyMem_Free(items);
}

/* --- waiting ------------------------------------------------------------- */

void
tc_channel_wait(ChannelObject *handle, AwaitableObject *aw)
{
    ChannelStateObject *state = handle->state;
    if (handle->is_sender) {
        tc_list_append(&state->senders, &aw->link);
        state->n_senders++;
    }
    else {
        tc_list_append(&state->receivers, &aw->link);
        state->n_receivers++;
    }
    handle->n_waiting++;
}

void
tc_channel_abandon(AwaitableObject *aw)
{
    if (!tc_link_is_linked(&aw->link)) {
        return;
    }
    ChannelObject *handle = (ChannelObject *)aw->owner;
    tc_list_remove(&aw->link);
    handle->n_waiting--;
    if (handle->is_sender) {
        handle->state->n_senders--;
    }
    else {
        handle->state->n_receivers--;
    }
}

/* First in the list (borrowed), or NULL. */
static AwaitableObject *
channel_first(tc_link *list)
{
    tc_link *link = tc_list_first(list);
    return link == NULL ? NULL
                        : TC_CONTAINER_OF(link, AwaitableObject, link);
}

int
tc_channel_send_now(ChannelObject *handle, PyObject *value)
{
    ChannelStateObject *state = handle->state;
    if (handle->closed) {
        PyErr_SetNone(handle->st->exc_ClosedResourceError);
        return -1;
    }
    if (state->open_receivers == 0) {
        PyErr_SetNone(handle->st->exc_BrokenResourceError);
        return -1;
    }
    AwaitableObject *aw = channel_first(&state->receivers);
    if (aw == NULL) {
        return state->n_items < state->limit ? ring_push(state, value) : 1;
    }
    if (tc_waiter_check(aw) < 0) {
        return -1;
    }
    Py_INCREF(aw);
    tc_channel_abandon(aw);
    int r = tc_task_wake_value(aw->task, Py_NewRef(value));
    Py_DECREF(aw);
    return r;
}

int
tc_channel_receive_now(ChannelObject *handle, PyObject **value)
{
    ChannelStateObject *state = handle->state;
    if (handle->closed) {
        PyErr_SetNone(handle->st->exc_ClosedResourceError);
        return -1;
    }
    AwaitableObject *aw = channel_first(&state->senders);
    if (aw != NULL) {
        if (tc_waiter_check(aw) < 0) {
            return -1;
        }
        Py_INCREF(aw);
        tc_channel_abandon(aw);
        PyObject *sent = aw->value;
        aw->value = NULL;
        *value = ring_pass(state, sent);
        int r = tc_task_wake(aw->task);
        if (r < 0) {
            Py_CLEAR(*value);
        }
        Py_DECREF(aw);
        return r;
    }
    if (state->n_items > 0) {
        *value = ring_pop(state);
        return 0;
    }
    if (state->open_senders == 0) {
        PyErr_SetNone(handle->st->exc_EndOfChannel);
        return -1;
    }
    return 1;
}

/* --- closing ------------------------------------------------------------- */

/* Bring those who wait on handle to the front of the list, in order. */
static void
channel_gather(tc_link *list, ChannelObject *handle)
{
    Py_ssize_t left = handle->n_waiting;
    for (tc_link *link = list->prev; left > 0;) {
        tc_link *previous = link->prev;
        AwaitableObject *aw = TC_CONTAINER_OF(link, AwaitableObject, link);
        if (aw->owner == (PyObject *)handle) {
            tc_list_remove(link);
            tc_list_prepend(list, link);
            left--;
        }
        link = previous;
    }
}

/* Who waits in the list on handle (NULL: on any), woken with exceptions of
   that type. */
static void
channel_fail_all(tc_link *list, ChannelObject *handle, PyObject *type,
                 PyObject **first_error)
{
    if (handle != NULL) {
        channel_gather(list, handle);
    }
    while (handle == NULL ? !tc_list_is_empty(list)
                          : handle->n_waiting > 0) {
        /* One of handle's is the first, unless waking the last one ran code
           that closed another handle; then it is not far. */
        AwaitableObject *aw = channel_first(list);
        while (handle != NULL && aw->owner != (PyObject *)handle) {
            aw = TC_CONTAINER_OF(aw->link.next, AwaitableObject, link);
        }
        Py_INCREF(aw);
        tc_channel_abandon(aw);
        if (tc_waiter_fail(aw, type) < 0) {
            tc_error_collect(first_error);
        }
        Py_DECREF(aw);
    }
}

int
tc_channel_close(ChannelObject *handle)
{
    ChannelStateObject *state = handle->state;
    tc_state *st = handle->st;
    if (handle->closed) {
        return 0;
    }
    tc_link *own = handle->is_sender ? &state->senders : &state->receivers;
    tc_link *other = handle->is_sender ? &state->receivers : &state->senders;
    Py_ssize_t *n_open = handle->is_sender ? &state->open_senders
                                           : &state->open_receivers;
    int is_last = *n_open == 1;
    AwaitableObject *aw = handle->n_waiting > 0 ? channel_first(own) : NULL;
    if (aw != NULL && tc_waiter_check(aw) < 0) {
        return -1;
    }
    aw = is_last ? channel_first(other) : NULL;
    if (aw != NULL && tc_waiter_check(aw) < 0) {
        return -1;
    }

    PyObject *first_error = NULL;
    handle->closed = 1;
    --*n_open;
    Py_INCREF(handle);
    channel_fail_all(own, handle, st->exc_ClosedResourceError, &first_error);
    if (is_last) {
        channel_fail_all(other, NULL,
                         handle->is_sender ? st->exc_EndOfChannel
                                           : st->exc_BrokenResourceError,
                         &first_error);
        if (!handle->is_sender) {
            ring_clear(state);
        }
    }
    Py_DECREF(handle);
    return tc_error_raise_first(first_error);
}

/* --- MemoryChannelState -------------------------------------------------- */

/* The limit that a max_buffer_size means, or -1 with exception. */
static Py_ssize_t
channel_parse_limit(PyObject *size)
{
    if (PyLong_Check(size)) {
        Py_ssize_t limit = PyNumber_AsSsize_t(size, NULL);
        if (limit < 0) {
            PyErr_SetString(PyExc_ValueError, "max_buffer_size must be >= 0");
            return -1;
        }
        return limit;
    }
    PyObject *inf = PyFloat_FromDouble(Py_HUGE_VAL);
    int differs
        = inf == NULL ? -1 : PyObject_RichCompareBool(size, inf, Py_NE);
    Py_XDECREF(inf);
    if (differs == 0) {
        return PY_SSIZE_T_MAX;
    }
    if (differs > 0) {
        PyErr_SetString(PyExc_TypeError,
                        "max_buffer_size must be an integer or math.inf");
    }
    return -1;
}

ChannelStateObject *
tc_channel_state_new(tc_state *st, PyObject *max_buffer_size)
{
    Py_ssize_t limit = channel_parse_limit(max_buffer_size);
    if (limit < 0) {
        return NULL;
    }
    PyTypeObject *type = st->ChannelStateType;
    ChannelStateObject *self
        = (ChannelStateObject *)type->tp_alloc(type, 0);
    if (self != NULL) {
        self->st = st;
        self->max_buffer_size = Py_NewRef(max_buffer_size);
        self->limit = limit;
        tc_list_init(&self->senders);
        tc_list_init(&self->receivers);
        TC_LIVE_ADD(st, ChannelStateType);
    }
    return self;
}

PyObject *
tc_channel_state_statistics(ChannelStateObject *self)
{
    PyObject *values[] = {
        PyLong_FromSsize_t(self->n_items),
        Py_NewRef(self->max_buffer_size),
        PyLong_FromSsize_t(self->open_senders),
        PyLong_FromSsize_t(self->open_receivers),
        PyLong_FromSsize_t(self->n_senders),
        PyLong_FromSsize_t(self->n_receivers),
        PyLong_FromSsize_t(self->peak),
    };
    return tc_statistics_new(self->st->MemoryChannelStatisticsType, values);
}

static PyObject *
channel_state_statistics(FunctionObject *func, PyObject *op,
                         PyObject *const *Py_UNUSED(args), Py_ssize_t nargs,
                         PyObject *kwnames)
{
    if (tc_args_none(func->def->qualname, nargs, kwnames) < 0) {
        return NULL;
    }
    return tc_channel_state_statistics((ChannelStateObject *)op);
}

/* The buffered items: new tuple. */
static PyObject *
channel_state_get_data(PyObject *op, void *Py_UNUSED(closure))
{
    ChannelStateObject *self = (ChannelStateObject *)op;
    PyObject *data = NULL;
    Py_ssize_t n;
    do {
        /* Again if the allocation ran a finalizer that used the channel. */
        Py_XDECREF(data);
        n = self->n_items;
        data = PyTuple_New(n);
        if (data == NULL) {
            return NULL;
        }
    } while (self->n_items != n);
    for (Py_ssize_t i = 0; i < n; i++) {
        PyTuple_SET_ITEM(data, i, Py_NewRef(*ring_slot(self, i)));
    }
    return data;
}

/* Who waits, with what they send: read-only dict task -> value or None. */
static PyObject *
channel_state_waiting(tc_link *list)
{
    PyObject *tasks = PyDict_New();
    if (tasks == NULL) {
        return NULL;
    }
    for (tc_link *link = list->next; link != list; link = link->next) {
        AwaitableObject *aw = TC_CONTAINER_OF(link, AwaitableObject, link);
        PyObject *value = aw->value == NULL ? Py_None : aw->value;
        if (PyDict_SetItem(tasks, (PyObject *)aw->task, value) < 0) {
            Py_DECREF(tasks);
            return NULL;
        }
    }
    PyObject *proxy = PyDictProxy_New(tasks);
    Py_DECREF(tasks);
    return proxy;
}

static PyObject *
channel_state_get_send_tasks(PyObject *op, void *Py_UNUSED(closure))
{
    return channel_state_waiting(&((ChannelStateObject *)op)->senders);
}

static PyObject *
channel_state_get_receive_tasks(PyObject *op, void *Py_UNUSED(closure))
{
    return channel_state_waiting(&((ChannelStateObject *)op)->receivers);
}

static int
channel_state_traverse(PyObject *op, visitproc visit, void *arg)
{
    ChannelStateObject *self = (ChannelStateObject *)op;
    Py_VISIT(Py_TYPE(op));
    for (Py_ssize_t i = 0; i < self->n_items; i++) {
        Py_VISIT(*ring_slot(self, i));
    }
    return 0;
}

static int
channel_state_clear(PyObject *op)
{
    ring_clear((ChannelStateObject *)op);
    return 0;
}

static void
channel_state_dealloc(PyObject *op)
{
    ChannelStateObject *self = (ChannelStateObject *)op;
    PyTypeObject *type = Py_TYPE(op);
    assert(tc_list_is_empty(&self->senders));
    assert(tc_list_is_empty(&self->receivers));
    PyObject_GC_UnTrack(op);
    if (self->weakrefs != NULL) {
        PyObject_ClearWeakRefs(op);
    }
    ring_clear(self);
    Py_CLEAR(self->max_buffer_size);
    TC_LIVE_SUB(self->st, ChannelStateType);
    type->tp_free(op);
    Py_DECREF(type);
}

static const tc_function_def channel_state_method_defs[] = {
    {"MemoryChannelState.statistics", "trio_c._channel",
     channel_state_statistics},
    {NULL, NULL, NULL},
};

static PyMethodDef channel_state_methods[] = {
    TC_GENERIC_METHOD,
    {NULL, NULL, 0, NULL},
};

static PyGetSetDef channel_state_getset[] = {
    {"data", channel_state_get_data, NULL,
     PyDoc_STR("The items in the buffer, first to leave first."), NULL},
    {"send_tasks", channel_state_get_send_tasks, NULL,
     PyDoc_STR("The tasks that wait to send, with what they send."), NULL},
    {"receive_tasks", channel_state_get_receive_tasks, NULL,
     PyDoc_STR("The tasks that wait to receive."), NULL},
    {NULL, NULL, NULL, NULL, NULL},
};

static PyMemberDef channel_state_members[] = {
    {"max_buffer_size", T_OBJECT,
     offsetof(ChannelStateObject, max_buffer_size), READONLY, NULL},
    {"open_send_channels", T_PYSSIZET,
     offsetof(ChannelStateObject, open_senders), READONLY, NULL},
    {"open_receive_channels", T_PYSSIZET,
     offsetof(ChannelStateObject, open_receivers), READONLY, NULL},
    {"peak_buffer_used", T_PYSSIZET, offsetof(ChannelStateObject, peak),
     READONLY, NULL},
    {"__weaklistoffset__", T_PYSSIZET,
     offsetof(ChannelStateObject, weakrefs), READONLY, NULL},
    {NULL, 0, 0, 0, NULL},
};

PyDoc_STRVAR(channel_state_doc,
             "What the handles of one memory channel share, to look at.");

static PyType_Slot channel_state_slots[] = {
    {Py_tp_doc, (char *)channel_state_doc},
    {Py_tp_new, tc_type_no_constructor},
    {Py_tp_dealloc, channel_state_dealloc},
    {Py_tp_traverse, channel_state_traverse},
    {Py_tp_clear, channel_state_clear},
    {Py_tp_methods, channel_state_methods},
    {Py_tp_getset, channel_state_getset},
    {Py_tp_members, channel_state_members},
    {0, NULL},
};

static PyType_Spec tc_channel_state_spec = {
    .name = "trio_c._channel.MemoryChannelState",
    .basicsize = sizeof(ChannelStateObject),
    .flags = Py_TPFLAGS_DEFAULT | Py_TPFLAGS_HAVE_GC,
    .slots = channel_state_slots,
};

int
tc_channel_state_register(tc_state *st)
{
    static const char *const fields[]
        = {"current_buffer_used", "max_buffer_size", "open_send_channels",
           "open_receive_channels", "tasks_waiting_send",
           "tasks_waiting_receive", "peak_buffer_used", NULL};
    if (tc_statistics_add_type(st, &st->MemoryChannelStatisticsType,
                               "MemoryChannelStatistics", "trio_c",
                               "The state of a memory channel: items in its\n"
                               "buffer, now, at most and the most there were\n"
                               "ever; open handles; and waiting tasks.",
                               fields)
            < 0
        || tc_state_add_type(st, &st->ChannelStateType,
                             &tc_channel_state_spec, NULL,
                             "MemoryChannelState") < 0) {
        return -1;
    }
    return tc_function_add_to_type(st, st->ChannelStateType,
                                   channel_state_method_defs);
}
