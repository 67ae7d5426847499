/* socket_connect.c - accepting and connecting.
 *
 * A cancelled connect leaves a socket in no defined state: it is closed.
 * Accepting makes the new socket non-blocking in the same system call, and
 * tells the standard library so, which then makes none of its own for it.
 */
#include "socket.h"

#include <string.h>

#include "../glue/args.h"
#include "../kernel/runner.h"
#include "../kernel/trap.h"

/* --- accept --------------------------------------------------------- */

/* A standard socket for an accepted descriptor, which it takes over. */
static PyObject *
accept_wrap_fd(SocketObject *listener, int fd)
{
    PyObject *args[] = {
        PyLong_FromLong(listener->family),
        PyLong_FromLong(listener->type | TC_SOCK_TYPE_NONBLOCK),
        PyLong_FromLong(listener->proto),
        PyLong_FromLong(fd),
    };
    PyObject *sock = NULL;
    if (args[0] != NULL && args[1] != NULL && args[2] != NULL
        && args[3] != NULL) {
        sock = PyObject_Vectorcall(listener->st->stdlib_socket, args, 4,
                                   NULL);
    }
    for (int i = 0; i < 4; i++) {
        Py_XDECREF(args[i]);
    }
    if (sock == NULL) {
        tc_sock_close(fd);
        return NULL;
    }
    if (!TC_SOCK_HAVE_ACCEPT4) {
        PyObject *r = PyObject_CallMethod(sock, "setblocking", "O", Py_False);
        if (r == NULL) {
            Py_DECREF(sock);
            return NULL;
        }
        Py_DECREF(r);
    }
    return sock;
}

/* A socket of ours for an accepted descriptor, which it takes over. */
static SocketObject *
accept_new_socket(SocketObject *listener, int fd)
{
    tc_state *st = listener->st;
    PyObject *sock = accept_wrap_fd(listener, fd);
    if (sock == NULL) {
        return NULL;
    }
    PyTypeObject *type = (PyTypeObject *)st->socket_class;
    SocketObject *self = (SocketObject *)type->tp_alloc(type, 0);
    if (self == NULL) {
        Py_DECREF(sock);
        return NULL;
    }
    TC_LIVE_ADD(st, SocketType);
    self->st = st;
    tc_io_handle_init(&self->handle, 1);
    /* It inherits protocol and options. */
    self->handle.tcp = listener->handle.tcp;
    self->handle.doubt = listener->handle.doubt & TC_IO_DOUBT_OPTION;
    self->sock = sock;
    self->family = listener->family;
    self->type = listener->type;
    self->proto = listener->proto;
    self->exact = 1;
    return self;
}

static tc_try
accept_attempt(AwaitableObject *self, SocketObject *sock,
               tc_io *Py_UNUSED(io), int fd, PyObject **result)
{
    if (tc_io_handle_would_block(&sock->handle, 0, fd)) {
        return TC_TRY_BLOCKED;
    }
    tc_sockaddr addr;
    int new_fd;
    do {
        addr.size = sizeof(addr.u);
        new_fd = tc_sock_accept(fd, &addr.u.any, &addr.size);
    } while (new_fd < 0 && tc_sock_interrupted(tc_sock_error()));
    if (new_fd < 0) {
        if (tc_net_would_block()) {
            sock->handle.readable = 0;
            return TC_TRY_BLOCKED;
        }
        tc_net_set_error();
        return TC_TRY_ERROR;
    }
    SocketObject *accepted = accept_new_socket(sock, new_fd);
    if (accepted == NULL) {
        return TC_TRY_ERROR;
    }
    if (self->flags & TC_ACCEPT_STREAM) {
        *result = tc_stream_new(self->st, accepted);
        Py_DECREF((PyObject *)accepted);
    }
    else {
        *result = tc_sockaddr_pair((PyObject *)accepted,
                                   tc_sockaddr_make(&addr));
    }
    return *result == NULL ? TC_TRY_ERROR : TC_TRY_DONE;
}

tc_step
tc_socket_accept_step(AwaitableObject *self, PyObject *Py_UNUSED(sent),
                      PyObject **result)
{
    return tc_socket_step(self, result, accept_attempt, 0);
}

static const tc_op accept_op = {
    .name = "accept",
    .qualname = "_SocketType.accept",
    .step = tc_socket_accept_step,
    .abort = tc_io_abort,
    .abandon = tc_io_unlink,
};

static PyObject *
socket_accept_impl(FunctionObject *func, PyObject *op,
                   PyObject *const *Py_UNUSED(args), Py_ssize_t nargs,
                   PyObject *kwnames)
{
    SocketObject *sock = (SocketObject *)op;
    if (tc_args_none("accept", nargs, kwnames) < 0) {
        return NULL;
    }
    if (sock->exact && tc_sockaddr_is_known(sock->family)) {
        return (PyObject *)tc_awaitable_new(func->st, &accept_op, op);
    }
    /* Addresses that only the standard library knows. */
    PyObject *method = PyObject_GetAttrString(op, "_accept");
    PyObject *coro = method == NULL ? NULL : PyObject_CallNoArgs(method);
    Py_XDECREF(method);
    return coro;
}

/* --- connect -------------------------------------------------------- */

/* The raised exception leaves connect(). */
static tc_step
connect_failed(AwaitableObject *self)
{
    SocketObject *sock = (SocketObject *)self->owner;
    /* No socket: its __init__ has never been called. */
    if (!PyErr_ExceptionMatches((PyObject *)self->st->CancelledType)
        || sock->sock == NULL) {
        return TC_ERROR;
    }
    PyObject *exc = PyErr_GetRaisedException();
    tc_io_handle_forget(&sock->handle);
    PyObject *stdlib = Py_NewRef(sock->sock);
    PyObject *r = PyObject_CallMethodNoArgs(stdlib, self->st->str_close);
    Py_DECREF(stdlib);
    if (r == NULL) {
        PyObject *other = PyErr_GetRaisedException();
        PyException_SetContext(other, exc);
        PyErr_SetRaisedException(other);
        return TC_ERROR;
    }
    Py_DECREF(r);
    PyErr_SetRaisedException(exc);
    return TC_ERROR;
}

/* self->value: the address, resolved. */
static tc_step
connect_begin(AwaitableObject *self, TaskObject *task)
{
    SocketObject *sock = (SocketObject *)self->owner;
    int fd;
    if (tc_socket_fd(sock, &fd) < 0) {
        return TC_ERROR;
    }
    PyObject *stdlib = Py_NewRef(sock->sock);
    PyObject *r = PyObject_CallMethod(stdlib, "connect", "(O)", self->value);
    Py_DECREF(stdlib);
    tc_io_handle_reset(&sock->handle);
    if (r == NULL && PyErr_ExceptionMatches(PyExc_BlockingIOError)) {
        /* Under way. connect() may have been anybody's: look again. */
        PyErr_Clear();
        return tc_socket_fd(sock, &fd) < 0
                   ? TC_ERROR
                   : tc_socket_wait(self, sock, task, fd, 1, 0);
    }
    return tc_socket_finish_later(self, task, r);
}

/* The socket has become writable: did it work? */
static tc_step
connect_end(AwaitableObject *self)
{
    SocketObject *sock = (SocketObject *)self->owner;
    int fd, err = 0;
    tc_io_handle_reset(&sock->handle);
    if (tc_socket_fd(sock, &fd) < 0) {
        return TC_ERROR;
    }
    if (tc_sock_get_int(fd, SOL_SOCKET, SO_ERROR, &err) < 0) {
        tc_net_set_error();
        return TC_ERROR;
    }
    if (err == 0) {
        return TC_DONE;
    }
    PyObject *message = PyUnicode_FromFormat(
        "Error connecting to %R: %s", self->value, strerror(err));
    PyObject *exc = message == NULL
                        ? NULL
                        : PyObject_CallFunction(PyExc_OSError, "iO", err,
                                                message);
    Py_XDECREF(message);
    if (exc != NULL) {
        PyErr_SetObject((PyObject *)Py_TYPE(exc), exc);
        Py_DECREF(exc);
    }
    return TC_ERROR;
}

static tc_step
connect_run(AwaitableObject *self)
{
    if (self->phase >= TC_PHASE_CANCELLED) {
        return tc_trap_cancelled_step(self);
    }
    if (self->phase == TC_PHASE_START) {
        TaskObject *task = tc_trap_task(self);
        if (task == NULL) {
            return TC_ERROR;
        }
        tc_step step = tc_trap_cancel_point(self, task);
        if (step == TC_DONE) {
            Py_INCREF(task);
            step = connect_begin(self, task);
            Py_DECREF(task);
        }
        return step;
    }
    if (tc_trap_resume(self, NULL) < 0) {
        return TC_ERROR;
    }
    if (self->phase == TC_PHASE_WAITING) {
        return connect_end(self);
    }
    if (self->phase == TC_PHASE_FAILED) {
        PyObject *exc = self->value;
        self->value = NULL;
        PyErr_SetRaisedException(exc);
        return TC_ERROR;
    }
    return TC_DONE;
}

static tc_step
connect_step(AwaitableObject *self, PyObject *Py_UNUSED(sent),
             PyObject **Py_UNUSED(result))
{
    tc_step step = connect_run(self);
    return step == TC_ERROR ? connect_failed(self) : step;
}

static tc_step
connect_thrown(AwaitableObject *self, PyObject *exc,
               PyObject **Py_UNUSED(result))
{
    tc_io_unlink(self);
    PyErr_SetRaisedException(Py_NewRef(exc));
    return connect_failed(self);
}

static const tc_op connect_op = {
    .name = "connect",
    .qualname = "_SocketType.connect",
    .step = connect_step,
    .abort = tc_io_abort,
    .abandon = tc_io_unlink,
    .thrown = connect_thrown,
};

static PyObject *
connect_new(tc_state *st, PyObject *op, PyObject *address)
{
    AwaitableObject *aw = tc_awaitable_new(st, &connect_op, op);
    if (aw != NULL) {
        aw->value = Py_NewRef(address);
    }
    return (PyObject *)aw;
}

/* Does the socket's _resolve_address_nocp still do nothing with numeric
   addresses? 1 or 0, or -1 with exception. */
static int
connect_resolves_as_usual(SocketObject *sock)
{
    PyObject *method = PyObject_GetAttrString((PyObject *)sock,
                                              "_resolve_address_nocp");
    if (method == NULL) {
        return -1;
    }
    int usual = PyMethod_Check(method)
                && PyMethod_GET_FUNCTION(method) == sock->st->socket_resolve;
    Py_DECREF(method);
    return usual;
}

static int
connect_parse(const char *fname, PyObject *const *args, Py_ssize_t nargs,
              PyObject *kwnames, PyObject **address)
{
    tc_params params = {
        .fname = fname,
        .names = {"address"},
        .n_positional = 1,
        .n_required = 1,
    };
    return tc_args_parse(&params, args, nargs, kwnames, address);
}

static PyObject *
socket_connect_impl(FunctionObject *func, PyObject *op,
                    PyObject *const *args, Py_ssize_t nargs,
                    PyObject *kwnames)
{
    SocketObject *sock = (SocketObject *)op;
    PyObject *address;
    tc_sockaddr unused;
    if (connect_parse("connect", args, nargs, kwnames, &address) < 0) {
        return NULL;
    }
    if (sock->exact && tc_sockaddr_parse(sock->family, address, &unused)) {
        int usual = connect_resolves_as_usual(sock);
        if (usual < 0) {
            return NULL;
        }
        if (usual) {
            return connect_new(func->st, op, address);
        }
    }
    return PyObject_CallMethod(op, "_connect", "(O)", address);
}

/* For _connect(): the address has been resolved. */
static PyObject *
socket_connect_resolved_impl(FunctionObject *func, PyObject *op,
                             PyObject *const *args, Py_ssize_t nargs,
                             PyObject *kwnames)
{
    PyObject *address;
    if (connect_parse("connect", args, nargs, kwnames, &address) < 0) {
        return NULL;
    }
    return connect_new(func->st, op, address);
}

const tc_function_def tc_socket_connect_functions[] = {
    {"_SocketType.accept", "trio_c._socket", socket_accept_impl},
    {"_SocketType.connect", "trio_c._socket", socket_connect_impl},
    {"_SocketType._connect_resolved", "trio_c._socket",
     socket_connect_resolved_impl},
    {NULL, NULL, NULL},
};
