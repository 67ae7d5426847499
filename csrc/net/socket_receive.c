/* socket_receive.c - recv, recv_into, recvfrom.
 *
 * Received data goes through the run's scratch buffer while it is small, so
 * that the result is allocated at its size; once a socket brings a lot, the
 * result is received into directly, which saves the copy.
 */
#include "transfer.h"

/* Receive into the scratch buffer up to this much... */
#define SCRATCH_MAX (1024 * 1024)
/* ...as long as the last receive brought no more than this. */
#define SCRATCH_WORTH 16384

/* Flags that leave a receive an ordinary one. */
#define PLAIN_FLAGS (TC_SOCK_DONTWAIT | TC_SOCK_NOSIGNAL | MSG_PEEK)

/* recvfrom(); addr may be NULL. Bytes, -1 with tc_sock_error(), -2 with
   exception. */
static Py_ssize_t
net_receive(int fd, void *data, Py_ssize_t size, int flags, int detach,
            tc_sockaddr *addr)
{
    struct sockaddr *where = addr != NULL ? &addr->u.any : NULL;
    Py_ssize_t n;
    int interrupted;
    do {
        socklen_t room = sizeof(addr->u);
        if (detach) {
            int err;
            Py_BEGIN_ALLOW_THREADS
            n = tc_sock_recvfrom(fd, data, (size_t)size, flags, where,
                                 addr != NULL ? &room : NULL);
            err = tc_sock_error();
            Py_END_ALLOW_THREADS
            tc_sock_set_error(err);
        }
        else {
            n = tc_sock_recvfrom(fd, data, (size_t)size, flags, where,
                                 addr != NULL ? &room : NULL);
        }
        if (addr != NULL) {
            addr->size = n < 0 ? 0 : room;
        }
        interrupted = n < 0 && tc_sock_interrupted(tc_sock_error());
        if (interrupted && PyErr_CheckSignals() < 0) {
            return -2;
        }
    } while (interrupted);
    return n;
}

/* Optional flags at args[i] that leave a receive an ordinary one. */
static int
transfer_receive_flags(PyObject *const *args, Py_ssize_t nargs, Py_ssize_t i,
                       int32_t *flags)
{
    *flags = 0;
    return nargs <= i
           || (tc_transfer_number(args[i], flags)
               && (*flags & ~PLAIN_FLAGS) == 0);
}

/* What a failed system call (n < 0) means for a receive. */
static tc_try
receive_failed(SocketObject *sock, Py_ssize_t n, int flags)
{
    if (n == -1) {
        if (tc_net_would_block()) {
            if (flags & MSG_PEEK) {
                /* Past SO_PEEK_OFF there is nothing, but before it... */
                return TC_TRY_BLOCKED_LEVEL;
            }
            sock->handle.readable = 0;
            return TC_TRY_BLOCKED;
        }
        tc_net_set_error();
    }
    return TC_TRY_ERROR;
}

static void
receive_note(SocketObject *sock, Py_ssize_t n, Py_ssize_t size, int flags)
{
    if (n > 0) {
        sock->last_received = n;
    }
    if ((flags & MSG_PEEK) == 0) {
        tc_io_handle_received(&sock->handle, n, size);
    }
}

/* glibc gives the end of the heap back to the system as soon as 128 KiB of it
   are free, which large results make it all the time; each page of the next
   one is then faulted in and zeroed again, for more than the receive costs.
   From a mapping that is freed it learns that such blocks come and go, and
   keeps twice that much. What somebody has told it (mallopt(3)) stays. */
#define HEAP_KEPT (8 * 1024 * 1024)

static void
receive_keep_heap(void)
{
#ifdef __GLIBC__
    static TC_SHARED(int) is_kept;
    if (!is_kept) {
        is_kept = 1;
        PyMem_RawFree(PyMem_RawMalloc(HEAP_KEPT / 2));
    }
#endif
}

/* Receive up to `size` bytes as a bytes object into *data (new reference). */
static tc_try
receive_bytes(SocketObject *sock, tc_io *io, int fd, Py_ssize_t size,
              int flags, tc_sockaddr *addr, PyObject **data)
{
    char *scratch = NULL;
    char *where;
    *data = NULL;
    if (size <= SCRATCH_MAX && sock->last_received <= SCRATCH_WORTH) {
        where = scratch = tc_io_scratch(io, (size_t)size);
        if (scratch == NULL) {
            return TC_TRY_ERROR;
        }
    }
    else {
        receive_keep_heap();
        *data = PyBytes_FromStringAndSize(NULL, size);
        if (*data == NULL) {
            return TC_TRY_ERROR;
        }
        where = PyBytes_AS_STRING(*data);
    }
    Py_ssize_t n = net_receive(fd, where, size, flags,
                               sock->last_received >= TC_NET_LARGE, addr);
    if (n < 0) {
        tc_try failed = receive_failed(sock, n, flags);
        Py_CLEAR(*data);
        return failed;
    }
    receive_note(sock, n, size, flags);
    if (scratch != NULL) {
        *data = PyBytes_FromStringAndSize(scratch, n);
    }
    else if (n < size) {
        (void)_PyBytes_Resize(data, n);
    }
    return *data == NULL ? TC_TRY_ERROR : TC_TRY_DONE;
}

tc_try
tc_socket_receive(SocketObject *sock, tc_io *io, int fd, char **data,
                  Py_ssize_t *size)
{
    if (tc_io_handle_would_block(&sock->handle, 0, fd)) {
        return TC_TRY_BLOCKED;
    }
    *data = tc_io_scratch(io, (size_t)*size);
    if (*data == NULL) {
        return TC_TRY_ERROR;
    }
    if (sock->last_received > SCRATCH_WORTH) {
        receive_keep_heap();
    }
    Py_ssize_t n = net_receive(fd, *data, *size, 0,
                               sock->last_received >= TC_NET_LARGE, NULL);
    if (n < 0) {
        return receive_failed(sock, n, 0);
    }
    receive_note(sock, n, *size, 0);
    *size = n;
    return TC_TRY_DONE;
}

static tc_try
recv_attempt(AwaitableObject *self, SocketObject *sock, tc_io *io, int fd,
             PyObject **result)
{
    Py_ssize_t size = tc_transfer_size(self);
    if (size == 0) {
        /* Like the standard library: nothing asked, nothing done. */
        *result = PyBytes_FromStringAndSize(NULL, 0);
        return *result == NULL ? TC_TRY_ERROR : TC_TRY_DONE;
    }
    if (tc_io_handle_would_block(&sock->handle, 0, fd)) {
        return TC_TRY_BLOCKED;
    }
    return receive_bytes(sock, io, fd, size, tc_transfer_flags(self), NULL,
                         result);
}

tc_step
tc_socket_recv_step(AwaitableObject *self, PyObject *Py_UNUSED(sent),
                    PyObject **result)
{
    return tc_socket_step(self, result, recv_attempt, 0);
}

static const tc_op recv_op = {
    .name = "recv",
    .qualname = "_SocketType.recv",
    .step = tc_socket_recv_step,
    .abort = tc_io_abort,
    .abandon = tc_io_unlink,
};

AwaitableObject *
tc_socket_new_recv(tc_state *st, const tc_op *op, SocketObject *sock,
                   Py_ssize_t size, int flags)
{
    AwaitableObject *aw = tc_awaitable_new(st, op, (PyObject *)sock);
    if (aw != NULL) {
        tc_transfer_pack(aw, (int32_t)size, flags);
    }
    return aw;
}

static PyObject *
socket_recv_impl(FunctionObject *func, PyObject *op, PyObject *const *args,
                 Py_ssize_t nargs, PyObject *kwnames)
{
    int32_t size, flags;
    if (kwnames == NULL && (nargs == 1 || nargs == 2)
        && tc_transfer_number(args[0], &size)
        && transfer_receive_flags(args, nargs, 1, &flags)) {
        return (PyObject *)tc_socket_new_recv(func->st, &recv_op,
                                              (SocketObject *)op, size,
                                              flags);
    }
    return tc_plain_new(func->st, &tc_plain_recv_op, op, args, nargs, kwnames);
}

/* value: the buffer; the size is what was asked for, 0: all of it. */
static tc_try
recv_into_attempt(AwaitableObject *self, SocketObject *sock,
                  tc_io *Py_UNUSED(io), int fd, PyObject **result)
{
    Py_buffer view;
    if (PyObject_GetBuffer(self->value, &view, PyBUF_WRITABLE) < 0) {
        return TC_TRY_ERROR;
    }
    tc_try tried = TC_TRY_ERROR;
    Py_ssize_t size = tc_transfer_size(self);
    if (tc_socket_check_fd(sock, self->value, fd) < 0) {
        goto done;
    }
    if (size > view.len) {
        PyErr_SetString(PyExc_ValueError,
                        "buffer too small for requested bytes");
    }
    else if (view.len == 0) {
        *result = PyLong_FromLong(0);
        tried = TC_TRY_DONE;
    }
    else if (tc_io_handle_would_block(&sock->handle, 0, fd)) {
        tried = TC_TRY_BLOCKED;
    }
    else {
        if (size == 0) {
            size = view.len;
        }
        Py_ssize_t n = net_receive(fd, view.buf, size, tc_transfer_flags(self),
                                   sock->last_received >= TC_NET_LARGE,
                                   NULL);
        if (n < 0) {
            tried = receive_failed(sock, n, tc_transfer_flags(self));
        }
        else {
            receive_note(sock, n, size, tc_transfer_flags(self));
            *result = PyLong_FromSsize_t(n);
            tried = *result == NULL ? TC_TRY_ERROR : TC_TRY_DONE;
        }
    }
done:
    PyBuffer_Release(&view);
    return tried;
}

static tc_step
recv_into_step(AwaitableObject *self, PyObject *Py_UNUSED(sent),
               PyObject **result)
{
    return tc_socket_step(self, result, recv_into_attempt, 0);
}

static const tc_op recv_into_op = {
    .name = "recv_into",
    .qualname = "_SocketType.recv_into",
    .step = recv_into_step,
    .abort = tc_io_abort,
    .abandon = tc_io_unlink,
};

/* Is `obj` something to receive into? Without exception. */
static int
transfer_is_writable(PyObject *obj)
{
    Py_buffer view;
    if (PyObject_GetBuffer(obj, &view, PyBUF_WRITABLE) < 0) {
        PyErr_Clear();
        return 0;
    }
    PyBuffer_Release(&view);
    return 1;
}

static PyObject *
socket_recv_into_impl(FunctionObject *func, PyObject *op,
                      PyObject *const *args, Py_ssize_t nargs,
                      PyObject *kwnames)
{
    int32_t size = 0, flags;
    if (kwnames == NULL && nargs >= 1 && nargs <= 3
        && (nargs < 2 || tc_transfer_number(args[1], &size))
        && transfer_receive_flags(args, nargs, 2, &flags)
        && transfer_is_writable(args[0])) {
        AwaitableObject *aw = tc_awaitable_new(func->st, &recv_into_op, op);
        if (aw != NULL) {
            tc_transfer_pack(aw, size, flags);
            aw->value = Py_NewRef(args[0]);
        }
        return (PyObject *)aw;
    }
    return tc_plain_new(func->st, &tc_plain_recv_into_op, op, args, nargs,
                        kwnames);
}

static tc_try
recvfrom_attempt(AwaitableObject *self, SocketObject *sock, tc_io *io,
                 int fd, PyObject **result)
{
    if (tc_io_handle_would_block(&sock->handle, 0, fd)) {
        return TC_TRY_BLOCKED;
    }
    tc_sockaddr addr;
    PyObject *data;
    tc_try tried = receive_bytes(sock, io, fd, tc_transfer_size(self),
                                 tc_transfer_flags(self), &addr, &data);
    if (tried == TC_TRY_DONE) {
        *result = tc_sockaddr_pair(
            data, tc_sockaddr_make_memo(&sock->peer, &addr));
        tried = *result == NULL ? TC_TRY_ERROR : TC_TRY_DONE;
    }
    return tried;
}

static tc_step
recvfrom_step(AwaitableObject *self, PyObject *Py_UNUSED(sent),
              PyObject **result)
{
    return tc_socket_step(self, result, recvfrom_attempt, 0);
}

static const tc_op recvfrom_op = {
    .name = "recvfrom",
    .qualname = "_SocketType.recvfrom",
    .step = recvfrom_step,
    .abort = tc_io_abort,
    .abandon = tc_io_unlink,
};

static PyObject *
socket_recvfrom_impl(FunctionObject *func, PyObject *op,
                     PyObject *const *args, Py_ssize_t nargs,
                     PyObject *kwnames)
{
    SocketObject *sock = (SocketObject *)op;
    int32_t size, flags;
    if (sock->exact && tc_sockaddr_is_known(sock->family) && kwnames == NULL
        && (TC_SOCK_STREAM_HAS_SENDER || sock->type == SOCK_DGRAM)
        && (nargs == 1 || nargs == 2) && tc_transfer_number(args[0], &size)
        && transfer_receive_flags(args, nargs, 1, &flags)) {
        return (PyObject *)tc_socket_new_recv(func->st, &recvfrom_op, sock,
                                              size, flags);
    }
    return tc_plain_new(func->st, &tc_plain_recvfrom_op, op, args, nargs,
                        kwnames);
}

const tc_function_def tc_socket_receive_functions[] = {
    {"_SocketType.recv", "trio_c._socket", socket_recv_impl},
    {"_SocketType.recv_into", "trio_c._socket", socket_recv_into_impl},
    {"_SocketType.recvfrom", "trio_c._socket", socket_recvfrom_impl},
    {NULL, NULL, NULL},
};
