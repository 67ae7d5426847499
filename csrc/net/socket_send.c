/* socket_send.c - send, sendto. */
#include "transfer.h"

Py_ssize_t
tc_net_send(int fd, const void *data, Py_ssize_t size, int flags,
            const tc_sockaddr *addr)
{
    const struct sockaddr *where = addr != NULL ? &addr->u.any : NULL;
    socklen_t where_size = addr != NULL ? addr->size : 0;
    Py_ssize_t n;
    int interrupted;
    do {
        if (size >= TC_NET_LARGE) {
            int err;
            Py_BEGIN_ALLOW_THREADS
            n = tc_sock_sendto(fd, data, (size_t)size, flags, where,
                               where_size);
            err = tc_sock_error();
            Py_END_ALLOW_THREADS
            tc_sock_set_error(err);
        }
        else {
            n = tc_sock_sendto(fd, data, (size_t)size, flags, where,
                               where_size);
        }
        interrupted = n < 0 && tc_sock_interrupted(tc_sock_error());
        if (interrupted && PyErr_CheckSignals() < 0) {
            return -2;
        }
    } while (interrupted);
    return n;
}

static tc_try
send_buffer(AwaitableObject *self, SocketObject *sock, int fd,
            const tc_sockaddr *addr, PyObject **result)
{
    Py_buffer view;
    if (tc_net_get_data(self->value, &view) < 0) {
        return TC_TRY_ERROR;
    }
    if (tc_socket_check_fd(sock, self->value, fd) < 0) {
        PyBuffer_Release(&view);
        return TC_TRY_ERROR;
    }
    if (tc_io_handle_would_block(&sock->handle, 1, fd)) {
        PyBuffer_Release(&view);
        return TC_TRY_BLOCKED;
    }
    Py_ssize_t n = tc_net_send(fd, view.buf, view.len, tc_transfer_flags(self),
                               addr);
    int err = tc_sock_error();
    int partly = n < view.len;
    PyBuffer_Release(&view);
    if (n >= 0) {
        tc_io_handle_sent(&sock->handle, partly);
        *result = PyLong_FromSsize_t(n);
        return *result == NULL ? TC_TRY_ERROR : TC_TRY_DONE;
    }
    if (n == -1) {
        if (tc_sock_would_block(err)) {
            sock->handle.writable = 0;
            return TC_TRY_BLOCKED;
        }
        tc_error_set_sock(err);
    }
    return TC_TRY_ERROR;
}

static tc_try
send_attempt(AwaitableObject *self, SocketObject *sock, tc_io *Py_UNUSED(io),
             int fd, PyObject **result)
{
    return send_buffer(self, sock, fd, NULL, result);
}

static tc_step
send_step(AwaitableObject *self, PyObject *Py_UNUSED(sent),
          PyObject **result)
{
    return tc_socket_step(self, result, send_attempt, 1);
}

static const tc_op send_op = {
    .name = "send",
    .qualname = "_SocketType.send",
    .step = send_step,
    .abort = tc_io_abort,
    .abandon = tc_io_unlink,
};

static PyObject *
socket_send_impl(FunctionObject *func, PyObject *op, PyObject *const *args,
                 Py_ssize_t nargs, PyObject *kwnames)
{
    int32_t flags = 0;
    if (kwnames == NULL && (nargs == 1 || nargs == 2)
        && (nargs < 2 || tc_transfer_number(args[1], &flags))) {
        AwaitableObject *aw = tc_awaitable_new(func->st, &send_op, op);
        if (aw != NULL) {
            tc_transfer_pack(aw, 0, flags);
            aw->value = Py_NewRef(args[0]);
        }
        return (PyObject *)aw;
    }
    return tc_plain_new(func->st, &tc_plain_send_op, op, args, nargs, kwnames);
}

/* value: the data; extra: the address, which was understood once and is most
   likely still remembered. */
static tc_try
sendto_attempt(AwaitableObject *self, SocketObject *sock,
               tc_io *Py_UNUSED(io), int fd, PyObject **result)
{
    tc_sockaddr addr;
    if (!tc_sockaddr_parse_memo(&sock->peer, sock->family, self->extra,
                                &addr)) {
        PyErr_SetString(PyExc_OSError, "the socket has been replaced");
        return TC_TRY_ERROR;
    }
    if (PySys_Audit("socket.sendto", "OO", sock->sock, self->extra) < 0) {
        return TC_TRY_ERROR;
    }
    return send_buffer(self, sock, fd, &addr, result);
}

static tc_step
sendto_step(AwaitableObject *self, PyObject *Py_UNUSED(sent),
            PyObject **result)
{
    return tc_socket_step(self, result, sendto_attempt, 1);
}

static const tc_op sendto_op = {
    .name = "sendto",
    .qualname = "_SocketType.sendto",
    .step = sendto_step,
    .abort = tc_io_abort,
    .abandon = tc_io_unlink,
};

/* sendto(data[, flags], address). Names are looked up in Python. */
static PyObject *
socket_sendto_impl(FunctionObject *func, PyObject *op, PyObject *const *args,
                   Py_ssize_t nargs, PyObject *kwnames)
{
    SocketObject *sock = (SocketObject *)op;
    int32_t flags = 0;
    tc_sockaddr addr;
    if (sock->exact && kwnames == NULL && (nargs == 2 || nargs == 3)
        && (nargs < 3 || tc_transfer_number(args[1], &flags))
        && tc_sockaddr_parse_memo(&sock->peer, sock->family, args[nargs - 1],
                                  &addr)) {
        AwaitableObject *aw = tc_awaitable_new(func->st, &sendto_op, op);
        if (aw != NULL) {
            tc_transfer_pack(aw, 0, flags);
            aw->value = Py_NewRef(args[0]);
            aw->extra = Py_NewRef(args[nargs - 1]);
        }
        return (PyObject *)aw;
    }
    PyObject *method = PyObject_GetAttrString(op, "_sendto");
    if (method == NULL) {
        return NULL;
    }
    PyObject *coro = PyObject_Vectorcall(method, args, (size_t)nargs,
                                         kwnames);
    Py_DECREF(method);
    return coro;
}

const tc_function_def tc_socket_send_functions[] = {
    {"_SocketType.send", "trio_c._socket", socket_send_impl},
    {"_SocketType.sendto", "trio_c._socket", socket_sendto_impl},
    {NULL, NULL, NULL},
};
