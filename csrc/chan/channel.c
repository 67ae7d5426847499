/* channel.c - the two ends of a memory channel, and open_memory_channel.
 *
 * Both ends are the same struct. A handle that is dropped without having been
 * closed stays counted as open, as upstream's does.
 */
#include "channel.h"

#include "../glue/args.h"
#include "../glue/errors.h"
#include "../glue/function.h"
#include "../glue/types.h"
#include "../kernel/trap.h"

/* New reference to an open handle of state. */
static PyObject *
channel_new(PyTypeObject *type, ChannelStateObject *state)
{
    ChannelObject *self = (ChannelObject *)type->tp_alloc(type, 0);
    if (self == NULL) {
        return NULL;
    }
    tc_state *st = state->st;
    self->st = st;
    self->state = (ChannelStateObject *)Py_NewRef((PyObject *)state);
    TC_HOME_WITH(self, state);
    self->is_sender = type == st->SendChannelType;
    if (self->is_sender) {
        state->open_senders++;
        TC_LIVE_ADD(st, SendChannelType);
    }
    else {
        state->open_receivers++;
        TC_LIVE_ADD(st, ReceiveChannelType);
    }
    return (PyObject *)self;
}

/* --- send and receive ---------------------------------------------------- */

enum {
    CHANNEL_START,
    CHANNEL_DONE,        /* at the schedule point after having succeeded */
    CHANNEL_WAITING,
};

static tc_step
channel_send_start(AwaitableObject *self)
{
    ChannelObject *handle = (ChannelObject *)self->owner;
    TaskObject *task = tc_trap_task(self);
    if (task == NULL) {
        return TC_ERROR;
    }
    tc_step step = tc_trap_cancel_point(self, task);
    if (step != TC_DONE) {
        return step;
    }
    int r = tc_channel_send_now(handle, self->value);
    if (r < 0) {
        return TC_ERROR;
    }
    if (r == 0) {
        self->phase = CHANNEL_DONE;
        return tc_trap_checkpoint(self, task);
    }
    tc_channel_wait(handle, self);
    self->phase = CHANNEL_WAITING;
    return tc_trap_wait(self, task);
}

static tc_step
channel_send_step(AwaitableObject *self, PyObject *Py_UNUSED(sent),
                  PyObject **Py_UNUSED(result))
{
    switch (self->phase) {
    case CHANNEL_START:
        return channel_send_start(self);
    case CHANNEL_DONE:
    case CHANNEL_WAITING:
        return tc_trap_resume(self, NULL) < 0 ? TC_ERROR : TC_DONE;
    default:
        return tc_trap_cancelled_step(self);
    }
}

static tc_step
channel_receive_start(AwaitableObject *self)
{
    ChannelObject *handle = (ChannelObject *)self->owner;
    TaskObject *task = tc_trap_task(self);
    if (task == NULL) {
        return TC_ERROR;
    }
    tc_step step = tc_trap_cancel_point(self, task);
    if (step != TC_DONE) {
        return step;
    }
    int r = tc_channel_receive_now(handle, &self->value);
    if (r < 0) {
        return TC_ERROR;
    }
    if (r == 0) {
        self->phase = CHANNEL_DONE;
        return tc_trap_checkpoint(self, task);
    }
    tc_channel_wait(handle, self);
    self->phase = CHANNEL_WAITING;
    return tc_trap_wait(self, task);
}

static tc_step
channel_receive_step(AwaitableObject *self, PyObject *Py_UNUSED(sent),
                     PyObject **result)
{
    switch (self->phase) {
    case CHANNEL_START:
        return channel_receive_start(self);
    case CHANNEL_DONE:
        if (tc_trap_resume(self, NULL) < 0) {
            return TC_ERROR;
        }
        *result = self->value;
        self->value = NULL;
        return TC_DONE;
    case CHANNEL_WAITING:
        return tc_trap_resume(self, result) < 0 ? TC_ERROR : TC_DONE;
    default:
        return tc_trap_cancelled_step(self);
    }
}

/* receive() for `async for`. */
static tc_step
channel_anext_step(AwaitableObject *self, PyObject *sent, PyObject **result)
{
    tc_step step = channel_receive_step(self, sent, result);
    if (step == TC_ERROR
        && PyErr_ExceptionMatches(self->st->exc_EndOfChannel)) {
        PyErr_Clear();
        PyErr_SetNone(PyExc_StopAsyncIteration);
        tc_error_from_none();
    }
    return step;
}

/* What custom_sleep_data shows: the handle. */
static PyObject *
channel_sleep_data(AwaitableObject *self)
{
    return self->owner;
}

static const tc_op channel_send_op = {
    .name = "send",
    .qualname = "MemorySendChannel.send",
    .step = channel_send_step,
    .abandon = tc_channel_abandon,
    .sleep_data = channel_sleep_data,
};

static const tc_op channel_receive_op = {
    .name = "receive",
    .qualname = "MemoryReceiveChannel.receive",
    .step = channel_receive_step,
    .abandon = tc_channel_abandon,
    .sleep_data = channel_sleep_data,
};

static const tc_op channel_anext_op = {
    .name = "__anext__",
    .qualname = "ReceiveChannel.__anext__",
    .step = channel_anext_step,
    .abandon = tc_channel_abandon,
    .sleep_data = channel_sleep_data,
};

static const tc_params send_params = {
    .fname = "MemorySendChannel.send",
    .names = {"value"},
    .n_positional = 1,
    .n_required = 1,
};

static const tc_params send_nowait_params = {
    .fname = "MemorySendChannel.send_nowait",
    .names = {"value"},
    .n_positional = 1,
    .n_required = 1,
};

static PyObject *
channel_send(FunctionObject *func, PyObject *op, PyObject *const *args,
             Py_ssize_t nargs, PyObject *kwnames)
{
    PyObject *value;
    if (tc_args_parse(&send_params, args, nargs, kwnames, &value) < 0) {
        return NULL;
    }
    AwaitableObject *aw = tc_awaitable_new(func->st, &channel_send_op, op);
    if (aw != NULL) {
        aw->value = Py_NewRef(value);
    }
    return (PyObject *)aw;
}

static PyObject *
channel_send_nowait(FunctionObject *func, PyObject *op,
                    PyObject *const *args, Py_ssize_t nargs,
                    PyObject *kwnames)
{
    PyObject *value;
    if (tc_args_parse(&send_nowait_params, args, nargs, kwnames, &value)
        < 0) {
        return NULL;
    }
    int r = tc_channel_send_now((ChannelObject *)op, value);
    if (r > 0) {
        PyErr_SetNone(func->st->exc_WouldBlock);
    }
    return r == 0 ? Py_NewRef(Py_None) : NULL;
}

static PyObject *
channel_receive(FunctionObject *func, PyObject *op, PyObject *const *args,
                Py_ssize_t nargs, PyObject *kwnames)
{
    if (tc_args_none(func->def->qualname, nargs, kwnames) < 0) {
        return NULL;
    }
    return (PyObject *)tc_awaitable_new(func->st, &channel_receive_op, op);
}

static PyObject *
channel_receive_nowait(FunctionObject *func, PyObject *op,
                       PyObject *const *args, Py_ssize_t nargs,
                       PyObject *kwnames)
{
    if (tc_args_none(func->def->qualname, nargs, kwnames) < 0) {
        return NULL;
    }
    PyObject *value = NULL;
    int r = tc_channel_receive_now((ChannelObject *)op, &value);
    if (r > 0) {
        PyErr_SetNone(func->st->exc_WouldBlock);
    }
    return value;
}

static PyObject *
channel_aiter(FunctionObject *func, PyObject *op, PyObject *const *args,
              Py_ssize_t nargs, PyObject *kwnames)
{
    if (tc_args_none(func->def->qualname, nargs, kwnames) < 0) {
        return NULL;
    }
    return Py_NewRef(op);
}

static PyObject *
channel_anext(FunctionObject *func, PyObject *op, PyObject *const *args,
              Py_ssize_t nargs, PyObject *kwnames)
{
    if (tc_args_none(func->def->qualname, nargs, kwnames) < 0) {
        return NULL;
    }
    return (PyObject *)tc_awaitable_new(func->st, &channel_anext_op, op);
}

/* The type's am_anext: what `async for` calls. */
static PyObject *
channel_slot_anext(PyObject *op)
{
    return (PyObject *)tc_awaitable_new(((ChannelObject *)op)->st,
                                        &channel_anext_op, op);
}

/* --- clone, close -------------------------------------------------------- */

static PyObject *
channel_clone(FunctionObject *func, PyObject *op, PyObject *const *args,
              Py_ssize_t nargs, PyObject *kwnames)
{
    ChannelObject *self = (ChannelObject *)op;
    if (tc_args_none(func->def->qualname, nargs, kwnames) < 0) {
        return NULL;
    }
    if (self->closed) {
        PyErr_SetNone(func->st->exc_ClosedResourceError);
        return NULL;
    }
    return channel_new(Py_TYPE(op), self->state);
}

static PyObject *
channel_close(FunctionObject *func, PyObject *op, PyObject *const *args,
              Py_ssize_t nargs, PyObject *kwnames)
{
    if (tc_args_none(func->def->qualname, nargs, kwnames) < 0
        || tc_channel_close((ChannelObject *)op) < 0) {
        return NULL;
    }
    Py_RETURN_NONE;
}

/* aclose(): close, then a checkpoint. */
static tc_step
channel_aclose_step(AwaitableObject *self, PyObject *sent, PyObject **result)
{
    if (self->phase == 0
        && tc_channel_close((ChannelObject *)self->owner) < 0) {
        return TC_ERROR;
    }
    return tc_checkpoint_step(self, sent, result);
}

static const tc_op channel_send_aclose_op = {
    .name = "aclose",
    .qualname = "MemorySendChannel.aclose",
    .step = channel_aclose_step,
};

static const tc_op channel_receive_aclose_op = {
    .name = "aclose",
    .qualname = "MemoryReceiveChannel.aclose",
    .step = channel_aclose_step,
};

static PyObject *
channel_aclose(FunctionObject *func, PyObject *op, PyObject *const *args,
               Py_ssize_t nargs, PyObject *kwnames)
{
    if (tc_args_none(func->def->qualname, nargs, kwnames) < 0) {
        return NULL;
    }
    return (PyObject *)tc_awaitable_new(func->st,
                                        ((ChannelObject *)op)->is_sender
                                            ? &channel_send_aclose_op
                                            : &channel_receive_aclose_op,
                                        op);
}

/* --- context managers ---------------------------------------------------- */

#define AENTER_NAME "AsyncResource.__aenter__"
#define AEXIT_NAME "AsyncResource.__aexit__"

static tc_step
channel_aenter_step(AwaitableObject *self, PyObject *Py_UNUSED(sent),
                    PyObject **result)
{
    *result = Py_NewRef(self->owner);
    return TC_DONE;
}

static const tc_op channel_aenter_op = {
    .name = "__aenter__",
    .qualname = AENTER_NAME,
    .step = channel_aenter_step,
};

static const tc_op channel_aexit_op = {
    .name = "__aexit__",
    .qualname = AEXIT_NAME,
    .step = channel_aclose_step,
};

static const tc_params channel_exit_params = {
    .fname = "__exit__",
    .names = {"exc_type", "exc_value", "traceback"},
    .n_positional = 3,
    .n_required = 3,
};

static const tc_params channel_aexit_params = {
    .fname = AEXIT_NAME,
    .names = {"exc_type", "exc_value", "traceback"},
    .n_positional = 3,
    .n_required = 3,
};

static PyObject *
channel_enter(FunctionObject *func, PyObject *op, PyObject *const *args,
              Py_ssize_t nargs, PyObject *kwnames)
{
    if (tc_args_none(func->def->qualname, nargs, kwnames) < 0) {
        return NULL;
    }
    return Py_NewRef(op);
}

static PyObject *
channel_exit(FunctionObject *Py_UNUSED(func), PyObject *op,
             PyObject *const *args, Py_ssize_t nargs, PyObject *kwnames)
{
    PyObject *given[3];
    if (tc_args_parse(&channel_exit_params, args, nargs, kwnames, given) < 0
        || tc_channel_close((ChannelObject *)op) < 0) {
        return NULL;
    }
    Py_RETURN_NONE;
}

static PyObject *
channel_aenter(FunctionObject *func, PyObject *op, PyObject *const *args,
               Py_ssize_t nargs, PyObject *kwnames)
{
    if (tc_args_none(func->def->qualname, nargs, kwnames) < 0) {
        return NULL;
    }
    return (PyObject *)tc_awaitable_new(func->st, &channel_aenter_op, op);
}

static PyObject *
channel_aexit(FunctionObject *func, PyObject *op, PyObject *const *args,
              Py_ssize_t nargs, PyObject *kwnames)
{
    PyObject *given[3];
    if (tc_args_parse(&channel_aexit_params, args, nargs, kwnames, given)
        < 0) {
        return NULL;
    }
    return (PyObject *)tc_awaitable_new(func->st, &channel_aexit_op, op);
}

/* --- attributes, lifetime ------------------------------------------------ */

static PyObject *
channel_statistics(FunctionObject *func, PyObject *op, PyObject *const *args,
                   Py_ssize_t nargs, PyObject *kwnames)
{
    if (tc_args_none(func->def->qualname, nargs, kwnames) < 0) {
        return NULL;
    }
    return tc_channel_state_statistics(((ChannelObject *)op)->state);
}

static PyObject *
channel_repr(PyObject *op)
{
    if (tc_home_check(op) < 0) {
        return tc_home_repr(op);
    }
    ChannelObject *self = (ChannelObject *)op;
    return PyUnicode_FromFormat("<%s channel at %s, using buffer at %s>",
                                self->is_sender ? "send" : "receive",
                                tc_hex_id(op).text,
                                tc_hex_id(self->state).text);
}

/* _create(state): upstream's way around the missing constructor. */
static PyObject *
channel_create(PyObject *type, PyObject *state)
{
    tc_state *st = tc_state_from_type((PyTypeObject *)type);
    if (st == NULL) {
        return NULL;
    }
    if (!Py_IS_TYPE(state, st->ChannelStateType)) {
        PyErr_Format(PyExc_TypeError,
                     "state must be a MemoryChannelState, not %s",
                     Py_TYPE(state)->tp_name);
        return NULL;
    }
    return channel_new((PyTypeObject *)type, (ChannelStateObject *)state);
}

static int
channel_traverse(PyObject *op, visitproc visit, void *arg)
{
    ChannelObject *self = (ChannelObject *)op;
    Py_VISIT(Py_TYPE(op));
    Py_VISIT((PyObject *)self->state);
    Py_VISIT(self->dict);
    return 0;
}

static int
channel_clear(PyObject *op)
{
    /* state stays: finalizers may still call us, and it breaks its own
       cycles. */
    Py_CLEAR(((ChannelObject *)op)->dict);
    return 0;
}

static void
channel_dealloc(PyObject *op)
{
    ChannelObject *self = (ChannelObject *)op;
    PyTypeObject *type = Py_TYPE(op);
    assert(self->n_waiting == 0);
    PyObject_GC_UnTrack(op);
    if (self->weakrefs != NULL) {
        PyObject_ClearWeakRefs(op);
    }
    (void)channel_clear(op);
    if (self->is_sender) {
        TC_LIVE_SUB(self->st, SendChannelType);
    }
    else {
        TC_LIVE_SUB(self->st, ReceiveChannelType);
    }
    Py_CLEAR(self->state);
    type->tp_free(op);
    Py_DECREF(type);
}

/* --- types --------------------------------------------------------------- */

static const tc_function_def channel_send_method_defs[] = {
    {"MemorySendChannel.send_nowait", "trio_c", channel_send_nowait},
    {"MemorySendChannel.send", "trio_c", channel_send},
    {"MemorySendChannel.clone", "trio_c", channel_clone},
    {"MemorySendChannel.close", "trio_c", channel_close},
    {"MemorySendChannel.aclose", "trio_c", channel_aclose},
    {"MemorySendChannel.statistics", "trio_c", channel_statistics},
    {"MemorySendChannel.__enter__", "trio_c", channel_enter},
    {"MemorySendChannel.__exit__", "trio_c", channel_exit},
    {AENTER_NAME, "trio_c.abc", channel_aenter},
    {AEXIT_NAME, "trio_c.abc", channel_aexit},
    {NULL, NULL, NULL},
};

static const tc_function_def channel_receive_method_defs[] = {
    {"MemoryReceiveChannel.receive_nowait", "trio_c",
     channel_receive_nowait},
    {"MemoryReceiveChannel.receive", "trio_c", channel_receive},
    {"MemoryReceiveChannel.clone", "trio_c", channel_clone},
    {"MemoryReceiveChannel.close", "trio_c", channel_close},
    {"MemoryReceiveChannel.aclose", "trio_c", channel_aclose},
    {"MemoryReceiveChannel.statistics", "trio_c", channel_statistics},
    {"MemoryReceiveChannel.__enter__", "trio_c", channel_enter},
    {"MemoryReceiveChannel.__exit__", "trio_c", channel_exit},
    {"ReceiveChannel.__aiter__", "trio_c.abc", channel_aiter},
    {"ReceiveChannel.__anext__", "trio_c.abc", channel_anext},
    {AENTER_NAME, "trio_c.abc", channel_aenter},
    {AEXIT_NAME, "trio_c.abc", channel_aexit},
    {NULL, NULL, NULL},
};

static PyMethodDef channel_methods[] = {
    {"_create", channel_create, METH_O | METH_CLASS, NULL},
    TC_FINAL_METHOD,
    TC_GENERIC_METHOD,
    {NULL, NULL, 0, NULL},
};

static PyGetSetDef channel_getset[] = {
    {"__dict__", PyObject_GenericGetDict, PyObject_GenericSetDict, NULL,
     NULL},
    {NULL, NULL, NULL, NULL, NULL},
};

static PyMemberDef channel_members[] = {
    {"_state", T_OBJECT, offsetof(ChannelObject, state), READONLY, NULL},
    {"_closed", T_BOOL, offsetof(ChannelObject, closed), READONLY, NULL},
    {"__dictoffset__", T_PYSSIZET, offsetof(ChannelObject, dict), READONLY,
     NULL},
    {"__weaklistoffset__", T_PYSSIZET, offsetof(ChannelObject, weakrefs),
     READONLY, NULL},
    {NULL, 0, 0, 0, NULL},
};

PyDoc_STRVAR(channel_send_doc,
             "The sending end of a memory channel.\n\n"
             "Made by :func:`open_memory_channel` and by :meth:`clone`.\n"
             "Close it with ``with``, ``async with`` or :meth:`close`; the\n"
             "channel ends when all sending handles are closed.");

static PyType_Slot channel_send_slots[] = {
    {Py_tp_doc, (char *)channel_send_doc},
    {Py_tp_new, tc_type_no_constructor},
    {Py_tp_dealloc, channel_dealloc},
    {Py_tp_traverse, channel_traverse},
    {Py_tp_clear, channel_clear},
    {Py_tp_repr, channel_repr},
    {Py_tp_methods, channel_methods},
    {Py_tp_getset, channel_getset},
    {Py_tp_members, channel_members},
    {0, NULL},
};

static PyType_Spec tc_send_channel_spec = {
    .name = "trio_c.MemorySendChannel",
    .basicsize = sizeof(ChannelObject),
    .flags = Py_TPFLAGS_DEFAULT | Py_TPFLAGS_HAVE_GC | Py_TPFLAGS_BASETYPE,
    .slots = channel_send_slots,
};

PyDoc_STRVAR(channel_receive_doc,
             "The receiving end of a memory channel.\n\n"
             "Made by :func:`open_memory_channel` and by :meth:`clone`.\n"
             "Receive with :meth:`receive` or ``async for``. When the last\n"
             "receiving handle is closed, what is in the buffer is lost.");

static PyType_Slot channel_receive_slots[] = {
    {Py_tp_doc, (char *)channel_receive_doc},
    {Py_tp_new, tc_type_no_constructor},
    {Py_tp_dealloc, channel_dealloc},
    {Py_tp_traverse, channel_traverse},
    {Py_tp_clear, channel_clear},
    {Py_tp_repr, channel_repr},
    {Py_tp_methods, channel_methods},
    {Py_tp_getset, channel_getset},
    {Py_tp_members, channel_members},
    {0, NULL},
};

static PyType_Spec tc_receive_channel_spec = {
    .name = "trio_c.MemoryReceiveChannel",
    .basicsize = sizeof(ChannelObject),
    .flags = Py_TPFLAGS_DEFAULT | Py_TPFLAGS_HAVE_GC | Py_TPFLAGS_BASETYPE,
    .slots = channel_receive_slots,
};

/* --- open_memory_channel ------------------------------------------------- */

static const tc_params open_params = {
    .fname = "open_memory_channel",
    .names = {"max_buffer_size"},
    .n_positional = 1,
    .n_required = 1,
};

/* The pair (send, receive): new tuple. */
static PyObject *
channel_open(tc_state *st, PyObject *max_buffer_size)
{
    PyObject *send = NULL, *receive = NULL, *pair = NULL;
    ChannelStateObject *state = tc_channel_state_new(st, max_buffer_size);
    if (state == NULL) {
        return NULL;
    }
    send = channel_new(st->SendChannelType, state);
    receive = channel_new(st->ReceiveChannelType, state);
    if (send != NULL && receive != NULL) {
        pair = PyTuple_Pack(2, send, receive);
    }
    Py_XDECREF(send);
    Py_XDECREF(receive);
    Py_DECREF(state);
    return pair;
}

static PyObject *
channel_open_vectorcall(PyObject *type, PyObject *const *args, size_t nargsf,
                        PyObject *kwnames)
{
    PyObject *size;
    if (tc_args_parse(&open_params, args, PyVectorcall_NARGS(nargsf),
                      kwnames, &size) < 0) {
        return NULL;
    }
    tc_state *st = tc_state_from_type((PyTypeObject *)type);
    return st == NULL ? NULL : channel_open(st, size);
}

static PyObject *
channel_open_tp_new(PyTypeObject *type, PyObject *args, PyObject *kwargs)
{
    PyObject *size;
    if (tc_args_parse_tuple(&open_params, args, kwargs, &size) < 0) {
        return NULL;
    }
    tc_state *st = tc_state_from_type(type);
    return st == NULL ? NULL : channel_open(st, size);
}

static PyMethodDef channel_open_methods[] = {
    TC_FINAL_METHOD,
    TC_GENERIC_METHOD,
    {NULL, NULL, 0, NULL},
};

PyDoc_STRVAR(channel_open_doc,
             "open_memory_channel(max_buffer_size)\n--\n\n"
             "Open a channel between tasks of one run; returns the pair\n"
             "(:class:`MemorySendChannel`, :class:`MemoryReceiveChannel`).\n\n"
             "max_buffer_size is how many items may be under way before\n"
             "senders have to wait: 0 makes each of them meet a receiver,\n"
             "``math.inf`` never lets them wait.\n\n"
             "Raises TypeError unless it is an int or ``math.inf``,\n"
             "ValueError if it is negative.");

static PyType_Slot channel_open_slots[] = {
    {Py_tp_doc, (char *)channel_open_doc},
    {Py_tp_new, channel_open_tp_new},
    {Py_tp_methods, channel_open_methods},
    {0, NULL},
};

/* A class, so that open_memory_channel[int] works; a subclass of tuple, as
   upstream's is. What it returns is a plain tuple. */
static PyType_Spec tc_open_memory_channel_spec = {
    .name = "trio_c.open_memory_channel",
    .flags = Py_TPFLAGS_DEFAULT | Py_TPFLAGS_BASETYPE,
    .slots = channel_open_slots,
};

int
tc_channel_register(tc_state *st)
{
    if (tc_state_add_type(st, &st->SendChannelType, &tc_send_channel_spec,
                          NULL, "MemorySendChannel") < 0
        || tc_function_add_to_type(st, st->SendChannelType,
                                   channel_send_method_defs) < 0
        || tc_type_mark_final(st, st->SendChannelType) < 0
        || tc_state_add_type(st, &st->ReceiveChannelType,
                             &tc_receive_channel_spec, NULL,
                             "MemoryReceiveChannel") < 0
        || tc_function_add_to_type(st, st->ReceiveChannelType,
                                   channel_receive_method_defs) < 0
        || tc_type_mark_final(st, st->ReceiveChannelType) < 0
        || tc_state_add_type(st, &st->OpenMemoryChannelType,
                             &tc_open_memory_channel_spec,
                             (PyObject *)&PyTuple_Type,
                             "open_memory_channel") < 0
        || tc_type_mark_final(st, st->OpenMemoryChannelType) < 0) {
        return -1;
    }
    st->OpenMemoryChannelType->tp_vectorcall = channel_open_vectorcall;
    /* Adding the methods has filled these slots with look-ups of them;
       `async for` need not go that way. Assigning __anext__ puts the look-up
       back. */
    st->ReceiveChannelType->tp_as_async->am_aiter = PyObject_SelfIter;
    st->ReceiveChannelType->tp_as_async->am_anext = channel_slot_anext;
    return 0;
}
