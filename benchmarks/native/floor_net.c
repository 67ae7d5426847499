/* floor_net.c - TCP and UDP sockets. (See floor.h.)
 *
 * Edge-triggered: a socket is registered once, and remembers whether it may
 * have something to read. A read that fills less than the buffer has emptied
 * it. What succeeds at once yields afterwards, as Trio's operations do.
 */
#include "floor.h"

#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

#define METHOD(function) ((PyCFunction)(void (*)(void))(function))

typedef struct {
    PyObject_HEAD
    int fd;                /* -1: closed */
    int shared;            /* others have a descriptor of the same socket */
    int readable;          /* maybe */
    Py_ssize_t last_size;  /* of what was received last */
    Task *reader, *writer; /* borrowed or NULL */
    PyObject *handler;     /* owned; NULL: does not listen */
} Connection;

static PyTypeObject ConnectionType;

static char scratch[1 << 18];

/* A new reference. The descriptor is taken, even by an error. */
static Connection *
connection_new(int fd, PyObject *handler)
{
    Connection *self = PyObject_New(Connection, &ConnectionType);
    if (self == NULL) {
        close(fd);
        return NULL;
    }
    self->fd = fd;
    self->shared = 0;
    self->readable = 1;
    self->last_size = 0;
    self->reader = self->writer = NULL;
    self->handler = Py_XNewRef(handler);
    loop.sources++;
    struct epoll_event event = {
        .events = EPOLLIN | EPOLLOUT | EPOLLRDHUP | EPOLLET,
        .data.ptr = self,
    };
    if (floor_epoll() < 0) {
        Py_DECREF(self);
        return NULL;
    }
    if (epoll_ctl(loop.epoll, EPOLL_CTL_ADD, fd, &event) < 0) {
        PyErr_SetFromErrno(PyExc_OSError);
        Py_DECREF(self);
        return NULL;
    }
    return self;
}

static void
connection_shut(Connection *self)
{
    if (self->fd < 0) {
        return;
    }
    if (self->shared) {
        epoll_ctl(loop.epoll, EPOLL_CTL_DEL, self->fd, NULL);
    }
    close(self->fd);
    self->fd = -1;
    loop.sources--;
}

static void
connection_dealloc(Connection *self)
{
    connection_shut(self);
    Py_XDECREF(self->handler);
    PyObject_Free(self);
}

static PyObject *
connection_close(Connection *self, PyObject *Py_UNUSED(ignored))
{
    connection_shut(self);
    Py_RETURN_NONE;
}

/* --- what a system call leads to ----------------------------------------- */

/* The end of a step whose system call has succeeded. Takes the result (NULL:
   None). */
static PyObject *
succeeded(Op *op, PyObject *result)
{
    if (op->phase != 0) {
        return op_return(result);      /* has waited before */
    }
    Py_XSETREF(op->value, result);
    task_ready(loop.current);
    return op_yield(op, 2);
}

/* The end of a step whose system call has failed: waits in *place. */
static PyObject *
failed(Op *op, Task **place)
{
    if (errno != EAGAIN && errno != EWOULDBLOCK) {
        return PyErr_SetFromErrno(PyExc_OSError);
    }
    *place = loop.current;
    return op_yield(op, 1);
}

static PyObject *
finished(Op *op)
{
    PyObject *value = op->value;
    op->value = NULL;
    return op_return(value);
}

static PyObject *
wait_readable(Op *op, Connection *connection)
{
    connection->reader = loop.current;
    return op_yield(op, 1);
}

/* --- streams ------------------------------------------------------------- */

#define SMALL 16384

/* Bytes, or NULL with an error or with errno EAGAIN. */
static PyObject *
receive_bytes(Connection *self, Py_ssize_t size)
{
    PyObject *data = NULL;
    ssize_t n;
    if (size > (Py_ssize_t)sizeof(scratch)) {
        size = sizeof(scratch);
    }
    if (self->last_size > SMALL) {     /* worth saving the copy */
        data = PyBytes_FromStringAndSize(NULL, size);
        if (data == NULL) {
            return NULL;
        }
        n = recv(self->fd, PyBytes_AS_STRING(data), size, MSG_DONTWAIT);
    }
    else {
        n = recv(self->fd, scratch, size, MSG_DONTWAIT);
    }
    if (n < 0) {
        Py_XDECREF(data);
        self->readable = 0;
        return NULL;
    }
    self->last_size = n;
    if (n > 0 && n < size) {
        self->readable = 0;
    }
    if (data == NULL) {
        return PyBytes_FromStringAndSize(scratch, n);
    }
    if (n != size) {
        _PyBytes_Resize(&data, n);
    }
    return data;
}

static PyObject *
recv_step(Op *op)
{
    Connection *connection = (Connection *)op->owner;
    if (op->phase == 2) {
        return finished(op);
    }
    if (op->phase == 0 && !connection->readable) {
        return wait_readable(op, connection);
    }
    PyObject *data = receive_bytes(connection, op->size);
    if (data != NULL) {
        return succeeded(op, data);
    }
    return PyErr_Occurred() ? NULL : failed(op, &connection->reader);
}

static PyObject *
connection_recv(PyObject *self, PyObject *arg)
{
    Py_ssize_t size = PyLong_AsSsize_t(arg);
    if (size == -1 && PyErr_Occurred()) {
        return NULL;
    }
    Op *op = (Op *)op_new(recv_step, self, NULL);
    if (op != NULL) {
        op->size = size;
    }
    return (PyObject *)op;
}

static PyObject *
send_step(Op *op)
{
    Connection *connection = (Connection *)op->owner;
    if (op->phase == 2) {
        return finished(op);
    }
    while (op->size < op->buffer.len) {
        ssize_t n = send(connection->fd, (char *)op->buffer.buf + op->size,
                         op->buffer.len - op->size,
                         MSG_NOSIGNAL | MSG_DONTWAIT);
        if (n < 0) {
            return failed(op, &connection->writer);
        }
        op->size += n;
    }
    return succeeded(op, NULL);
}

static PyObject *
connection_send(PyObject *self, PyObject *data)
{
    Op *op = (Op *)op_new(send_step, self, NULL);
    if (op == NULL) {
        return NULL;
    }
    op->size = 0;
    if (PyObject_GetBuffer(data, &op->buffer, PyBUF_SIMPLE) < 0) {
        op->buffer.obj = NULL;
        Py_DECREF(op);
        return NULL;
    }
    return (PyObject *)op;
}

/* --- datagrams ----------------------------------------------------------- */

static PyObject *
recvfrom_step(Op *op)
{
    Connection *connection = (Connection *)op->owner;
    if (op->phase == 2) {
        return finished(op);
    }
    if (op->phase == 0 && !connection->readable) {
        return wait_readable(op, connection);
    }
    struct sockaddr_in from = {0};
    socklen_t length = sizeof(from);
    ssize_t n = recvfrom(connection->fd, scratch, sizeof(scratch),
                         MSG_DONTWAIT, (struct sockaddr *)&from, &length);
    if (n < 0) {
        connection->readable = 0;
        return failed(op, &connection->reader);
    }
    char host[INET_ADDRSTRLEN] = "";
    inet_ntop(AF_INET, &from.sin_addr, host, sizeof(host));
    PyObject *result = Py_BuildValue("(y#(si))", scratch, (Py_ssize_t)n, host,
                                     (int)ntohs(from.sin_port));
    return result == NULL ? NULL : succeeded(op, result);
}

static PyObject *
connection_recvfrom(PyObject *self, PyObject *Py_UNUSED(size))
{
    return op_new(recvfrom_step, self, NULL);
}

/* value is the address. */
static PyObject *
sendto_step(Op *op)
{
    Connection *connection = (Connection *)op->owner;
    const char *host;
    int port;
    if (op->phase == 2) {
        return finished(op);
    }
    if (!PyArg_ParseTuple(op->value, "si", &host, &port)) {
        return NULL;
    }
    struct sockaddr_in to = {.sin_family = AF_INET, .sin_port = htons(port)};
    inet_pton(AF_INET, host, &to.sin_addr);
    if (sendto(connection->fd, op->buffer.buf, op->buffer.len, MSG_DONTWAIT,
               (struct sockaddr *)&to, sizeof(to)) < 0)
    {
        return failed(op, &connection->writer);
    }
    return succeeded(op, NULL);
}

static PyObject *
connection_sendto(PyObject *self, PyObject *const *args, Py_ssize_t nargs)
{
    if (nargs != 2 || !PyTuple_Check(args[1])) {
        PyErr_SetString(PyExc_TypeError, "sendto() takes data and an address");
        return NULL;
    }
    Op *op = (Op *)op_new(sendto_step, self, args[1]);
    if (op == NULL) {
        return NULL;
    }
    if (PyObject_GetBuffer(args[0], &op->buffer, PyBUF_SIMPLE) < 0) {
        op->buffer.obj = NULL;
        Py_DECREF(op);
        return NULL;
    }
    return (PyObject *)op;
}

static PyMethodDef connection_methods[] = {
    {"recv", connection_recv, METH_O, NULL},
    {"send", connection_send, METH_O, NULL},
    {"recvfrom", connection_recvfrom, METH_O, NULL},
    {"sendto", METHOD(connection_sendto), METH_FASTCALL, NULL},
    {"close", (PyCFunction)connection_close, METH_NOARGS, NULL},
    {NULL, NULL, 0, NULL},
};

static PyTypeObject ConnectionType = {
    PyVarObject_HEAD_INIT(NULL, 0)
    .tp_name = "floor_ext.Connection",
    .tp_basicsize = sizeof(Connection),
    .tp_flags = Py_TPFLAGS_DEFAULT,
    .tp_dealloc = (destructor)connection_dealloc,
    .tp_methods = connection_methods,
};

/* --- events, listeners --------------------------------------------------- */

static void
accept_all(Connection *listener)
{
    int fd;
    while ((fd = accept4(listener->fd, NULL, NULL, SOCK_CLOEXEC)) >= 0) {
        int on = 1;
        setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on));
        PyObject *connection = (PyObject *)connection_new(fd, NULL);
        PyObject *coroutine = NULL;
        if (connection != NULL) {
            coroutine = PyObject_CallOneArg(listener->handler, connection);
            Py_DECREF(connection);
        }
        if (coroutine == NULL || task_start(coroutine, NULL) < 0) {
            PyErr_Print();
        }
    }
}

static void
wake(Task **place)
{
    Task *task = *place;
    if (task != NULL) {
        *place = NULL;
        task_ready(task);
    }
}

void
net_event(void *source, unsigned events)
{
    Connection *connection = source;
    unsigned over = EPOLLHUP | EPOLLERR;
    if (connection->handler != NULL) {
        accept_all(connection);
        return;
    }
    if (events & (EPOLLIN | EPOLLRDHUP | over)) {
        connection->readable = 1;
        wake(&connection->reader);
    }
    if (events & (EPOLLOUT | over)) {
        wake(&connection->writer);
    }
}

/* listen(handler): a port, whose connections get a task handler(connection)
   each. */
static PyObject *
floor_listen(PyObject *Py_UNUSED(module), PyObject *handler)
{
    struct sockaddr_in address = {
        .sin_family = AF_INET,
        .sin_addr.s_addr = htonl(INADDR_LOOPBACK),
    };
    socklen_t length = sizeof(address);
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (fd < 0) {
        return PyErr_SetFromErrno(PyExc_OSError);
    }
    if (bind(fd, (struct sockaddr *)&address, sizeof(address)) < 0
        || listen(fd, 4096) < 0
        || getsockname(fd, (struct sockaddr *)&address, &length) < 0)
    {
        PyErr_SetFromErrno(PyExc_OSError);
        close(fd);
        return NULL;
    }
    /* The loop keeps it for good. */
    if (connection_new(fd, handler) == NULL) {
        return NULL;
    }
    return PyLong_FromLong(ntohs(address.sin_port));
}

/* wrap(fd): a connection with a descriptor of its own for that socket. */
static PyObject *
floor_wrap(PyObject *Py_UNUSED(module), PyObject *arg)
{
    int fd = PyLong_AsLong(arg);
    if (fd == -1 && PyErr_Occurred()) {
        return NULL;
    }
    fd = dup(fd);
    if (fd < 0) {
        return PyErr_SetFromErrno(PyExc_OSError);
    }
    Connection *connection = connection_new(fd, NULL);
    if (connection != NULL) {
        connection->shared = 1;
    }
    return (PyObject *)connection;
}

static PyMethodDef net_functions[] = {
    {"listen", floor_listen, METH_O, NULL},
    {"wrap", floor_wrap, METH_O, NULL},
    {NULL, NULL, 0, NULL},
};

int
floor_add_net(PyObject *module)
{
    if (floor_add_type(module, &ConnectionType) < 0) {
        return -1;
    }
    return PyModule_AddFunctions(module, net_functions);
}
