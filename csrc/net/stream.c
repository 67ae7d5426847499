/* stream.c - the hot parts of SocketStream.
 *
 * SocketStream is a Python class on this native base. On a socket of ours an
 * operation works on the socket directly, with the socket's own step
 * functions; on other implementations of SocketType (fake networks) it is the
 * coroutine method of the same name with an underscore, in Python.
 *
 * Invariant: `sending` is set from the start of a send_all() until it has
 * ended, however it ends: by its last step, by an exception thrown in, or by
 * being dropped (HOLDS in the awaitable's flags says who has to clear it).
 */
#include "stream.h"

#include "../glue/args.h"
#include "../glue/errors.h"
#include "../kernel/runner.h"
#include "../kernel/trap.h"

#define DEFAULT_RECEIVE_SIZE 65536
#define NOTSENT_LOWAT 16384

typedef struct {
    TC_HOME_HEAD
    tc_state *st;            /* borrowed */
    PyObject *socket;        /* owned or NULL */
    char sending;
} StreamObject;

/* --- errors --------------------------------------------------------- */

int
tc_stream_errno_is_in(PyObject *exc, PyObject *errnos)
{
    PyObject *code = ((PyOSErrorObject *)exc)->myerrno;
    return code == NULL ? 0 : PySet_Contains(errnos, code);
}

tc_step
tc_stream_translate(tc_state *st, const char *closed_message)
{
    if (!PyErr_ExceptionMatches(PyExc_OSError)) {
        return TC_ERROR;
    }
    PyObject *exc = PyErr_GetRaisedException();
    PyObject *translated = NULL;
    int closed = tc_stream_errno_is_in(exc, st->closed_errnos);
    if (closed > 0) {
        translated = closed_message != NULL
                         ? PyObject_CallFunction(st->exc_ClosedResourceError,
                                                 "s", closed_message)
                         : PyObject_CallNoArgs(st->exc_ClosedResourceError);
    }
    else if (closed == 0) {
        PyObject *message
            = PyUnicode_FromFormat("socket connection broken: %S", exc);
        if (message != NULL) {
            translated = PyObject_CallOneArg(st->exc_BrokenResourceError,
                                             message);
            Py_DECREF(message);
        }
    }
    if (translated == NULL) {
        Py_DECREF(exc);
        return TC_ERROR;
    }
    /* raise translated from exc, or from None */
    PyException_SetCause(translated, closed > 0 ? NULL : Py_NewRef(exc));
    PyException_SetContext(translated, exc);
    PyErr_SetRaisedException(translated);
    return TC_ERROR;
}

/* --- receive_some --------------------------------------------------- */

static tc_step
receive_some_step(AwaitableObject *self, PyObject *sent, PyObject **result)
{
    tc_step step = tc_socket_recv_step(self, sent, result);
    if (step == TC_ERROR) {
        return tc_stream_translate(self->st,
                                   "this socket was already closed");
    }
    return step;
}

static const tc_op receive_some_op = {
    .name = "receive_some",
    .qualname = "SocketStream.receive_some",
    .step = receive_some_step,
    .abort = tc_io_abort,
    .abandon = tc_io_unlink,
};

int
tc_stream_take_over(tc_state *st, PyObject *op, const tc_op *kind,
                    PyObject *extra)
{
    AwaitableObject *aw = (AwaitableObject *)op;
    if (!Awaitable_CheckExact(st, op) || aw->op != &receive_some_op
        || aw->state != TC_AW_CREATED) {
        return 0;
    }
    aw->op = kind;
    Py_XSETREF(aw->extra, Py_NewRef(extra));
    return 1;
}

static PyObject *
stream_receive_some_impl(FunctionObject *func, PyObject *op,
                         PyObject *const *args, Py_ssize_t nargs,
                         PyObject *kwnames)
{
    StreamObject *self = (StreamObject *)op;
    static const tc_params params = {
        .fname = "receive_some",
        .names = {"max_bytes"},
        .n_positional = 1,
    };
    PyObject *max_bytes;
    if (tc_args_parse(&params, args, nargs, kwnames, &max_bytes) < 0) {
        return NULL;
    }
    long size = DEFAULT_RECEIVE_SIZE;
    if (max_bytes != NULL && max_bytes != Py_None) {
        int overflow = 0;
        size = PyLong_CheckExact(max_bytes)
                   ? PyLong_AsLongAndOverflow(max_bytes, &overflow)
                   : 0;
    }
    if (size >= 1 && size <= INT32_MAX && self->socket != NULL
        && Socket_CheckExact(func->st, self->socket)) {
        return (PyObject *)tc_socket_new_recv(func->st, &receive_some_op,
                                              (SocketObject *)self->socket,
                                              size, 0);
    }
    return PyObject_CallMethod(op, "_receive_some", "(O)",
                               max_bytes == NULL ? Py_None : max_bytes);
}

/* --- send_all ------------------------------------------------------- */

/* Awaitable: owner is the socket, extra the stream, value the data or, once
   there was something to wait for, a memoryview of it; u.size is how much of
   it has been sent. */
#define HOLDS 0x01u              /* stream->sending is ours */
#define HAS_VIEW 0x02u           /* value is our memoryview */

enum {
    PHASE_SENT = TC_PHASE_OTHER,  /* schedule point after a send */
};

static const tc_op send_nothing_op;

static void
send_all_finish(AwaitableObject *self)
{
    if (self->flags & HOLDS) {
        ((StreamObject *)self->extra)->sending = 0;
        self->flags &= (uint8_t)~HOLDS;
    }
    if (self->flags & HAS_VIEW) {
        self->flags &= (uint8_t)~HAS_VIEW;
        Py_CLEAR(self->value);
    }
}

/* Keep the data as it is while we sleep. */
static int
send_all_hold_view(AwaitableObject *self)
{
    if (self->flags & HAS_VIEW) {
        return 0;
    }
    PyObject *view = PyMemoryView_FromObject(self->value);
    if (view == NULL) {
        return -1;
    }
    Py_SETREF(self->value, view);
    self->flags |= HAS_VIEW;
    return 0;
}

/* One send(). *sent_all: nothing is left. */
static tc_try
send_all_attempt(AwaitableObject *self, SocketObject *sock, int fd,
                 int *sent_all)
{
    Py_buffer view;
    *sent_all = 0;
    if (tc_net_get_data(self->value, &view) < 0) {
        return TC_TRY_ERROR;
    }
    tc_try tried = TC_TRY_ERROR;
    if (tc_socket_check_fd(sock, self->value, fd) < 0) {
        goto done;
    }
    if (tc_io_handle_would_block(&sock->handle, 1, fd)) {
        tried = TC_TRY_BLOCKED;
    }
    else {
        /* Exported once more, it may have become shorter. */
        Py_ssize_t left
            = view.len > self->u.size ? view.len - self->u.size : 0;
        Py_ssize_t n = tc_net_send(fd, (const char *)view.buf + self->u.size,
                                   left, 0, NULL);
        if (n >= 0) {
            tc_io_handle_sent(&sock->handle, n < left);
            self->u.size += n;
            *sent_all = n >= left;
            tried = TC_TRY_DONE;
        }
        else if (n == -1 && tc_net_would_block()) {
            sock->handle.writable = 0;
            tried = TC_TRY_BLOCKED;
        }
        else if (n == -1) {
            tc_net_set_error();
        }
    }
done:
    PyBuffer_Release(&view);
    return tried;
}

/* The next send(), with everything that upstream's send() does around it;
   `first`: it has not waited yet. */
static tc_step
send_all_continue(AwaitableObject *self, TaskObject *task, int first)
{
    SocketObject *sock = (SocketObject *)self->owner;
    for (;;) {
        int fd = -1, sent_all = 0;
        tc_try tried = TC_TRY_ERROR;
        if (first) {
            tc_step step = tc_trap_cancel_point(self, task);
            if (step != TC_DONE) {
                return step;
            }
        }
        if (tc_socket_fd(sock, &fd) == 0) {
            tried = send_all_attempt(self, sock, fd, &sent_all);
        }
        if (tried == TC_TRY_ERROR) {
            if (!first) {
                return TC_ERROR;
            }
            /* The view goes with the value; it was not sent anyway. */
            self->flags &= (uint8_t)~HAS_VIEW;
            return tc_socket_finish_later(self, task, NULL);
        }
        if (!sent_all && send_all_hold_view(self) < 0) {
            return TC_ERROR;
        }
        if (tried == TC_TRY_BLOCKED) {
            return tc_socket_wait(self, sock, task, fd, 1, 0);
        }
        if (first) {
            self->phase = sent_all ? TC_PHASE_DONE : PHASE_SENT;
            return tc_trap_checkpoint(self, task);
        }
        if (sent_all) {
            return TC_DONE;
        }
        first = 1;
    }
}

/* The data (borrowed) is no buffer, or none that can be sent; an exception is
   raised. What is no buffer at all gets memoryview()'s words. */
static tc_step
send_all_refuse(PyObject *data)
{
    PyObject *exc = PyErr_GetRaisedException();
    PyObject *view = PyMemoryView_FromObject(data);
    if (view == NULL) {
        Py_DECREF(exc);
        return TC_ERROR;
    }
    Py_DECREF(view);
    PyErr_SetRaisedException(exc);
    return TC_ERROR;
}

/* Everything is checked here, at the first step. */
static tc_step
send_all_begin(AwaitableObject *self)
{
    tc_state *st = self->st;
    StreamObject *stream = (StreamObject *)self->extra;
    SocketObject *sock = (SocketObject *)self->owner;
    if (sock->did_shutdown_wr) {
        PyErr_SetString(st->exc_ClosedResourceError,
                        "can't send data after sending EOF");
        return TC_ERROR;
    }
    if (stream->sending) {
        PyErr_SetString(st->exc_BusyResourceError,
                        "another task is currently sending data on this "
                        "SocketStream");
        return TC_ERROR;
    }
    Py_buffer view;
    if (tc_net_get_data(self->value, &view) < 0) {
        return send_all_refuse(self->value);
    }
    Py_ssize_t size = view.len;
    PyBuffer_Release(&view);
    stream->sending = 1;
    self->flags |= HOLDS;
    TaskObject *task;
    if (size == 0) {
        int fd;
        if (tc_socket_fd(sock, &fd) < 0) {
            return TC_ERROR;
        }
        if (fd < 0) {
            PyErr_SetString(st->exc_ClosedResourceError,
                            "socket was already closed");
            return TC_ERROR;
        }
        self->op = &send_nothing_op;
        return tc_checkpoint_step(self, NULL, NULL);
    }
    task = tc_trap_task(self);
    return task == NULL ? TC_ERROR : send_all_continue(self, task, 1);
}

static tc_step
send_all_run(AwaitableObject *self)
{
    if (self->phase == TC_PHASE_START) {
        return send_all_begin(self);
    }
    if (self->phase >= TC_PHASE_CANCELLED) {
        return tc_trap_cancelled_step(self);
    }
    if (tc_trap_resume(self, NULL) < 0) {
        return TC_ERROR;
    }
    switch (self->phase) {
    case PHASE_SENT:
        return send_all_continue(self, self->task, 1);
    case TC_PHASE_WAITING:
        ((SocketObject *)self->owner)->handle.writable = 1;
        return send_all_continue(self, self->task, 0);
    case TC_PHASE_FAILED: {
        PyObject *exc = self->value;
        self->value = NULL;
        tc_error_reraise(exc);
        return TC_ERROR;
    }
    default:
        return TC_DONE;
    }
}

static tc_step
send_all_end(AwaitableObject *self, tc_step step)
{
    if (step == TC_YIELD) {
        return step;
    }
    if (step == TC_ERROR) {
        PyObject *exc = PyErr_GetRaisedException();
        send_all_finish(self);
        PyErr_SetRaisedException(exc);
        return tc_stream_translate(self->st, "this socket was already closed");
    }
    send_all_finish(self);
    return step;
}

static tc_step
send_all_step(AwaitableObject *self, PyObject *Py_UNUSED(sent),
              PyObject **Py_UNUSED(result))
{
    return send_all_end(self, send_all_run(self));
}

static tc_step
send_all_thrown(AwaitableObject *self, PyObject *exc,
                PyObject **Py_UNUSED(result))
{
    tc_io_unlink(self);
    PyErr_SetRaisedException(Py_NewRef(exc));
    return send_all_end(self, TC_ERROR);
}

static const tc_op send_all_op = {
    .name = "send_all",
    .qualname = "SocketStream.send_all",
    .step = send_all_step,
    .abort = tc_io_abort,
    .abandon = tc_io_unlink,
    .thrown = send_all_thrown,
    .release = send_all_finish,
};

/* No data: what is left is a checkpoint. */
static tc_step
send_nothing_step(AwaitableObject *self, PyObject *Py_UNUSED(sent),
                  PyObject **Py_UNUSED(result))
{
    return send_all_end(self, tc_checkpoint_step(self, NULL, NULL));
}

static tc_step
send_nothing_thrown(AwaitableObject *self, PyObject *exc,
                    PyObject **Py_UNUSED(result))
{
    PyErr_SetRaisedException(Py_NewRef(exc));
    return send_all_end(self, TC_ERROR);
}

static const tc_op send_nothing_op = {
    .name = "send_all",
    .qualname = "SocketStream.send_all",
    .step = send_nothing_step,
    .thrown = send_nothing_thrown,
    .release = send_all_finish,
};

static PyObject *
stream_send_all_impl(FunctionObject *func, PyObject *op,
                     PyObject *const *args, Py_ssize_t nargs,
                     PyObject *kwnames)
{
    StreamObject *self = (StreamObject *)op;
    static const tc_params params = {
        .fname = "send_all",
        .names = {"data"},
        .n_positional = 1,
        .n_required = 1,
    };
    PyObject *data;
    if (tc_args_parse(&params, args, nargs, kwnames, &data) < 0) {
        return NULL;
    }
    if (self->socket == NULL || !Socket_CheckExact(func->st, self->socket)) {
        return PyObject_CallMethod(op, "_send_all", "(O)", data);
    }
    AwaitableObject *aw = tc_awaitable_new(func->st, &send_all_op,
                                           self->socket);
    if (aw != NULL) {
        aw->value = Py_NewRef(data);
        aw->extra = Py_NewRef(op);
    }
    return (PyObject *)aw;
}

/* For the sending methods written in Python: raise if somebody is sending,
   else keep others from it until _end_send(). */
static PyObject *
stream_begin_send(PyObject *op, PyObject *Py_UNUSED(ignored))
{
    if (tc_home_check(op) < 0) {
        return NULL;
    }
    StreamObject *self = (StreamObject *)op;
    if (self->sending) {
        PyErr_SetString(self->st->exc_BusyResourceError,
                        "another task is currently sending data on this "
                        "SocketStream");
        return NULL;
    }
    self->sending = 1;
    Py_RETURN_NONE;
}

static PyObject *
stream_end_send(PyObject *op, PyObject *Py_UNUSED(ignored))
{
    if (tc_home_check(op) < 0) {
        return NULL;
    }
    ((StreamObject *)op)->sending = 0;
    Py_RETURN_NONE;
}

/* --- the stream object ---------------------------------------------- */

static PyObject *
stream_alloc(PyTypeObject *type, PyObject *Py_UNUSED(args),
             PyObject *Py_UNUSED(kwargs))
{
    tc_state *st = tc_state_from_type(type);
    if (st == NULL) {
        return NULL;
    }
    StreamObject *self = (StreamObject *)type->tp_alloc(type, 0);
    if (self != NULL) {
        self->st = st;
        TC_LIVE_ADD(st, SocketStreamType);
    }
    return (PyObject *)self;
}

PyObject *
tc_stream_new(tc_state *st, SocketObject *sock)
{
    PyTypeObject *type = (PyTypeObject *)st->stream_class;
    StreamObject *self = (StreamObject *)type->tp_alloc(type, 0);
    if (self == NULL) {
        return NULL;
    }
    self->st = st;
    TC_LIVE_ADD(st, SocketStreamType);
    self->socket = Py_NewRef((PyObject *)sock);
    int fd;
    if (sock->family == AF_INET || sock->family == AF_INET6) {
        if (tc_socket_fd(sock, &fd) < 0) {
            Py_DECREF(self);
            return NULL;
        }
        /* As in SocketStream.__init__(): best effort. */
        (void)tc_sock_set_int(fd, IPPROTO_TCP, TCP_NODELAY, 1);
#ifdef TCP_NOTSENT_LOWAT
        (void)tc_sock_set_int(fd, IPPROTO_TCP, TCP_NOTSENT_LOWAT,
                              NOTSENT_LOWAT);
#endif
    }
    return (PyObject *)self;
}

static int
stream_traverse(PyObject *op, visitproc visit, void *arg)
{
    Py_VISIT(Py_TYPE(op));
    Py_VISIT(((StreamObject *)op)->socket);
    return 0;
}

static int
stream_clear(PyObject *op)
{
    Py_CLEAR(((StreamObject *)op)->socket);
    return 0;
}

static void
stream_dealloc(PyObject *op)
{
    PyTypeObject *type = Py_TYPE(op);
    PyObject_GC_UnTrack(op);
    stream_clear(op);
    TC_LIVE_SUB(((StreamObject *)op)->st, SocketStreamType);
    type->tp_free(op);
    Py_DECREF(type);
}

static PyMethodDef stream_methods[] = {
    {"_begin_send", stream_begin_send, METH_NOARGS, NULL},
    {"_end_send", stream_end_send, METH_NOARGS, NULL},
    {NULL, NULL, 0, NULL},
};

static PyMemberDef stream_members[] = {
    {"socket", T_OBJECT_EX, offsetof(StreamObject, socket), 0, NULL},
    {NULL, 0, 0, 0, NULL},
};

static PyType_Slot stream_slots[] = {
    {Py_tp_new, stream_alloc},
    {Py_tp_dealloc, stream_dealloc},
    {Py_tp_traverse, stream_traverse},
    {Py_tp_clear, stream_clear},
    {Py_tp_methods, stream_methods},
    {Py_tp_members, stream_members},
    {0, NULL},
};

static PyType_Spec tc_stream_spec = {
    .name = "trio_c._native.SocketStreamBase",
    .basicsize = sizeof(StreamObject),
    .flags = Py_TPFLAGS_DEFAULT | Py_TPFLAGS_BASETYPE | Py_TPFLAGS_HAVE_GC,
    .slots = stream_slots,
};

static const tc_function_def stream_functions[] = {
    {"SocketStream.send_all", "trio_c", stream_send_all_impl},
    {"SocketStream.receive_some", "trio_c", stream_receive_some_impl},
    {NULL, NULL, NULL},
};

/* --- registration --------------------------------------------------- */

/* set_stream_class(SocketStream, errnos of closed sockets, errnos of failed
   accepts that do not matter) */
static PyObject *
stream_set_class(PyObject *module, PyObject *args)
{
    tc_state *st = (tc_state *)PyModule_GetState(module);
    PyObject *cls, *closed, *harmless;
    if (!PyArg_ParseTuple(args, "O!O!O!:set_stream_class", &PyType_Type, &cls,
                          &PySet_Type, &closed, &PySet_Type, &harmless)) {
        return NULL;
    }
    if (!PyType_IsSubtype((PyTypeObject *)cls, st->SocketStreamType)) {
        PyErr_SetString(PyExc_TypeError, "not a class of socket streams");
        return NULL;
    }
    Py_XSETREF(st->stream_class, Py_NewRef(cls));
    Py_XSETREF(st->closed_errnos, Py_NewRef(closed));
    Py_XSETREF(st->accept_errnos, Py_NewRef(harmless));
    Py_RETURN_NONE;
}

static PyMethodDef stream_module_methods[] = {
    {"set_stream_class", stream_set_class, METH_VARARGS, NULL},
    {NULL, NULL, 0, NULL},
};

int
tc_stream_register(tc_state *st)
{
    if (tc_state_add_type(st, &st->SocketStreamType, &tc_stream_spec, NULL,
                          "SocketStreamBase")
            < 0
        || tc_function_add_to_type(st, st->SocketStreamType,
                                   stream_functions)
               < 0) {
        return -1;
    }
    return PyModule_AddFunctions(st->module, stream_module_methods);
}
