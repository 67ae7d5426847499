/* listener.c - the hot part of SocketListener: accept() on sockets of ours.
 *
 * Otherwise as in stream.c.
 */
#include "stream.h"

#include "../glue/args.h"
#include "../glue/errors.h"

typedef struct {
    TC_HOME_HEAD
    tc_state *st;            /* borrowed */
    PyObject *socket;        /* owned or NULL */
} ListenerObject;

static tc_step
listener_accept_step(AwaitableObject *self, PyObject *sent,
                     PyObject **result)
{
    for (;;) {
        tc_step step = tc_socket_accept_step(self, sent, result);
        if (step != TC_ERROR || !PyErr_ExceptionMatches(PyExc_OSError)) {
            return step;
        }
        PyObject *exc = PyErr_GetRaisedException();
        int closed = tc_stream_errno_is_in(exc, self->st->closed_errnos);
        int harmless
            = closed != 0
                  ? 0
                  : tc_stream_errno_is_in(exc, self->st->accept_errnos);
        if (closed < 0 || harmless < 0) {
            Py_DECREF(exc);
            return TC_ERROR;
        }
        if (harmless) {
            /* That connection was nothing; on to the next. */
            Py_DECREF(exc);
            self->phase = TC_PHASE_START;
            continue;
        }
        PyErr_SetRaisedException(exc);
        return closed ? tc_stream_translate(self->st, NULL) : TC_ERROR;
    }
}

static const tc_op listener_accept_op = {
    .name = "accept",
    .qualname = "SocketListener.accept",
    .step = listener_accept_step,
    .abort = tc_io_abort,
    .abandon = tc_io_unlink,
};

static PyObject *
listener_accept_impl(FunctionObject *func, PyObject *op,
                     PyObject *const *Py_UNUSED(args), Py_ssize_t nargs,
                     PyObject *kwnames)
{
    tc_state *st = func->st;
    PyObject *socket = ((ListenerObject *)op)->socket;
    if (tc_args_none("accept", nargs, kwnames) < 0) {
        return NULL;
    }
    if (socket == NULL || !Socket_CheckExact(st, socket)
        || !((SocketObject *)socket)->exact
        || !tc_sockaddr_is_known(((SocketObject *)socket)->family)) {
        return PyObject_CallMethod(op, "_accept", NULL);
    }
    AwaitableObject *aw = tc_awaitable_new(st, &listener_accept_op, socket);
    if (aw != NULL) {
        aw->flags = TC_ACCEPT_STREAM;
    }
    return (PyObject *)aw;
}

static PyObject *
listener_alloc(PyTypeObject *type, PyObject *Py_UNUSED(args),
               PyObject *Py_UNUSED(kwargs))
{
    tc_state *st = tc_state_from_type(type);
    if (st == NULL) {
        return NULL;
    }
    ListenerObject *self = (ListenerObject *)type->tp_alloc(type, 0);
    if (self != NULL) {
        self->st = st;
        TC_LIVE_ADD(st, SocketListenerType);
    }
    return (PyObject *)self;
}

static int
listener_traverse(PyObject *op, visitproc visit, void *arg)
{
    Py_VISIT(Py_TYPE(op));
    Py_VISIT(((ListenerObject *)op)->socket);
    return 0;
}

static int
listener_clear(PyObject *op)
{
    Py_CLEAR(((ListenerObject *)op)->socket);
    return 0;
}

static void
listener_dealloc(PyObject *op)
{
    PyTypeObject *type = Py_TYPE(op);
    PyObject_GC_UnTrack(op);
    listener_clear(op);
    TC_LIVE_SUB(((ListenerObject *)op)->st, SocketListenerType);
    type->tp_free(op);
    Py_DECREF(type);
}

static PyMemberDef listener_members[] = {
    {"socket", T_OBJECT_EX, offsetof(ListenerObject, socket), 0, NULL},
    {NULL, 0, 0, 0, NULL},
};

static PyType_Slot listener_slots[] = {
    {Py_tp_new, listener_alloc},
    {Py_tp_dealloc, listener_dealloc},
    {Py_tp_traverse, listener_traverse},
    {Py_tp_clear, listener_clear},
    {Py_tp_members, listener_members},
    {0, NULL},
};

static PyType_Spec tc_listener_spec = {
    .name = "trio_c._native.SocketListenerBase",
    .basicsize = sizeof(ListenerObject),
    .flags = Py_TPFLAGS_DEFAULT | Py_TPFLAGS_BASETYPE | Py_TPFLAGS_HAVE_GC,
    .slots = listener_slots,
};

static const tc_function_def listener_functions[] = {
    {"SocketListener.accept", "trio_c", listener_accept_impl},
    {NULL, NULL, NULL},
};

int
tc_listener_register(tc_state *st)
{
    if (tc_state_add_type(st, &st->SocketListenerType, &tc_listener_spec,
                          NULL, "SocketListenerBase")
        < 0) {
        return -1;
    }
    return tc_function_add_to_type(st, st->SocketListenerType,
                                   listener_functions);
}
