/* socket.c - the native base of sockets: the object, closing it, and the
 * machinery that its operations share.
 *
 * Invariants
 * - The handle is forgotten (its registration dropped) before the standard
 *   socket is closed, detached, replaced or let go, wherever that happens.
 * - The descriptor number is never remembered here.
 * - handle.owned is set only for sockets that nobody else has had in hands;
 *   who asks for `_sock` from outside gets it in his, so from then on a short
 *   read means nothing (he may set options that end reads early).
 */
#include "socket.h"

#include "../glue/args.h"
#include "../glue/errors.h"
#include "../kernel/runner.h"
#include "../kernel/trap.h"

/* --- the descriptor ------------------------------------------------- */

static int
socket_check_init(SocketObject *self)
{
    if (self->sock == NULL) {
        PyErr_SetString(PyExc_AttributeError, "_sock");
        return -1;
    }
    return 0;
}

int
tc_socket_fd(SocketObject *self, int *fd)
{
    if (socket_check_init(self) < 0) {
        return -1;
    }
    PyObject *number;
    if (self->exact && self->st->stdlib_fileno != NULL) {
        number = self->st->stdlib_fileno(self->sock, NULL);
    }
    else {
        PyObject *sock = Py_NewRef(self->sock);
        number = PyObject_VectorcallMethod(self->st->str_fileno, &sock, 1,
                                           NULL);
        Py_DECREF(sock);
    }
    if (number == NULL) {
        return -1;
    }
    long value = PyLong_AsLong(number);
    Py_DECREF(number);
    if (value == -1 && PyErr_Occurred()) {
        return -1;
    }
    *fd = (int)value;
    return 0;
}

int
tc_socket_check_fd(SocketObject *self, PyObject *exporter, int fd)
{
    int now;
    if (PyBytes_CheckExact(exporter) || PyByteArray_CheckExact(exporter)
        || PyMemoryView_Check(exporter)) {
        return 0;                /* no Python there */
    }
    if (tc_socket_fd(self, &now) < 0) {
        return -1;
    }
    if (now != fd) {
        errno = EBADF;
        PyErr_SetFromErrno(PyExc_OSError);
        return -1;
    }
    return 0;
}

/* --- try, wait, try again ------------------------------------------- */

tc_step
tc_socket_wait(AwaitableObject *self, SocketObject *sock, TaskObject *task,
               int fd, int write, int level)
{
    tc_io *io = task->runner->io;
    int r = level ? tc_io_link(io, fd, write, self)
                  : tc_io_handle_link(io, &sock->handle, fd, write, self);
    if (r < 0) {
        return TC_ERROR;
    }
    self->phase = TC_PHASE_WAITING;
    return tc_trap_wait(self, task);
}

tc_step
tc_socket_finish_later(AwaitableObject *self, TaskObject *task,
                       PyObject *result)
{
    self->phase = TC_PHASE_DONE;
    if (result == NULL) {
        self->phase = TC_PHASE_FAILED;
        result = PyErr_GetRaisedException();
    }
    Py_XSETREF(self->value, result);
    return tc_trap_checkpoint(self, task);
}

/* One attempt and what follows from it; `first`: upstream's way of looking as
   if it had blocked is due. */
static tc_step
socket_attempt(AwaitableObject *self, TaskObject *task, PyObject **result,
               tc_attempt attempt, int write, int first)
{
    SocketObject *sock = (SocketObject *)self->owner;
    int fd = -1;
    PyObject *got = NULL;
    tc_try tried = TC_TRY_ERROR;
    if (tc_socket_fd(sock, &fd) == 0) {
        tried = attempt(self, sock, task->runner->io, fd, &got);
    }
    if (tried == TC_TRY_BLOCKED || tried == TC_TRY_BLOCKED_LEVEL) {
        return tc_socket_wait(self, sock, task, fd, write,
                              tried == TC_TRY_BLOCKED_LEVEL);
    }
    if (first) {
        return tc_socket_finish_later(self, task, got);
    }
    *result = got;
    return tried == TC_TRY_DONE ? TC_DONE : TC_ERROR;
}

tc_step
tc_socket_step(AwaitableObject *self, PyObject **result, tc_attempt attempt,
               int write)
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
            /* Arguments may be anything, and in a greenlet that switches
               away in the middle of their code. */
            Py_INCREF(task);
            step = socket_attempt(self, task, result, attempt, write, 1);
            Py_DECREF(task);
        }
        return step;
    }
    if (tc_trap_resume(self, NULL) < 0) {
        return TC_ERROR;
    }
    if (self->phase == TC_PHASE_WAITING) {
        SocketObject *sock = (SocketObject *)self->owner;
        *(write ? &sock->handle.writable : &sock->handle.readable) = 1;
        return socket_attempt(self, self->task, result, attempt, write, 0);
    }
    PyObject *value = self->value;
    self->value = NULL;
    if (self->phase == TC_PHASE_FAILED) {
        tc_error_reraise(value);
        return TC_ERROR;
    }
    *result = value;
    return TC_DONE;
}

/* --- the object ----------------------------------------------------- */

static PyObject *
socket_new(PyTypeObject *type, PyObject *Py_UNUSED(args),
           PyObject *Py_UNUSED(kwargs))
{
    tc_state *st = tc_state_from_type(type);
    if (st == NULL) {
        return NULL;
    }
    SocketObject *self = (SocketObject *)type->tp_alloc(type, 0);
    if (self != NULL) {
        self->st = st;
        tc_io_handle_init(&self->handle, 0);
        TC_LIVE_ADD(st, SocketType);
    }
    return (PyObject *)self;
}

/* An int attribute of the native part of a standard socket; the class in
   Python hides it behind enums. */
static int
socket_get_int(SocketObject *self, const char *name, int *out)
{
    PyTypeObject *native = Py_TYPE(self->sock)->tp_base;
    PyObject *descr = PyObject_GetAttrString((PyObject *)native, name);
    if (descr == NULL) {
        return -1;
    }
    PyObject *value = NULL;
    if (Py_TYPE(descr)->tp_descr_get != NULL) {
        value = Py_TYPE(descr)->tp_descr_get(descr, self->sock,
                                             (PyObject *)native);
    }
    Py_DECREF(descr);
    long number = value == NULL ? -1 : PyLong_AsLong(value);
    Py_XDECREF(value);
    if (number == -1 && PyErr_Occurred()) {
        return -1;
    }
    *out = (int)number;
    return 0;
}

/* `sock` (borrowed) is what we work on from now on. */
static int
socket_adopt(SocketObject *self, PyObject *sock)
{
    tc_io_handle_forget(&self->handle);
    tc_io_handle_init(&self->handle, 0);
    self->exact = 0;
    Py_CLEAR(self->peer.address);
    Py_XSETREF(self->sock, Py_NewRef(sock));
    if ((PyObject *)Py_TYPE(sock) != self->st->stdlib_socket) {
        self->handle.tcp = TC_IO_TCP_NO;
        return 0;
    }
    if (socket_get_int(self, "family", &self->family) < 0
        || socket_get_int(self, "type", &self->type) < 0
        || socket_get_int(self, "proto", &self->proto) < 0) {
        return -1;
    }
    self->exact = 1;
    if (self->type != SOCK_STREAM
        || (self->family != AF_INET && self->family != AF_INET6)) {
        self->handle.tcp = TC_IO_TCP_NO;
    }
    return 0;
}

static int
socket_init(PyObject *op, PyObject *args, PyObject *kwargs)
{
    SocketObject *self = (SocketObject *)op;
    static const tc_params params = {
        .fname = "__init__",
        .names = {"sock"},
        .n_positional = 1,
        .n_required = 1,
    };
    PyObject *sock;
    if (tc_args_parse_tuple(&params, args, kwargs, &sock) < 0) {
        return -1;
    }
    if ((PyObject *)Py_TYPE(sock) != self->st->stdlib_socket) {
        /* A subclass such as SSLSocket does more than its descriptor. */
        PyObject *name = PyObject_GetAttr((PyObject *)Py_TYPE(sock),
                                          self->st->str_dunder_name);
        if (name != NULL) {
            PyErr_Format(PyExc_TypeError, "expected object of type "
                                          "'socket.socket', not '%S'",
                         name);
            Py_DECREF(name);
        }
        return -1;
    }
    if (socket_adopt(self, sock) < 0) {
        return -1;
    }
    PyObject *r = PyObject_CallMethod(sock, "setblocking", "O", Py_False);
    Py_XDECREF(r);
    return r == NULL ? -1 : 0;
}

static int
socket_traverse(PyObject *op, visitproc visit, void *arg)
{
    Py_VISIT(Py_TYPE(op));
    Py_VISIT(((SocketObject *)op)->sock);
    Py_VISIT(((SocketObject *)op)->peer.address);
    return 0;
}

static int
socket_clear(PyObject *op)
{
    SocketObject *self = (SocketObject *)op;
    tc_io_handle_forget(&self->handle);
    Py_CLEAR(self->peer.address);
    Py_CLEAR(self->sock);
    return 0;
}

static void
socket_dealloc(PyObject *op)
{
    PyTypeObject *type = Py_TYPE(op);
    PyObject_GC_UnTrack(op);
    socket_clear(op);
    TC_LIVE_SUB(((SocketObject *)op)->st, SocketType);
    type->tp_free(op);
    Py_DECREF(type);
}

/* --- closing -------------------------------------------------------- */

static PyObject *
socket_fileno_impl(FunctionObject *Py_UNUSED(func), PyObject *op,
                   PyObject *const *Py_UNUSED(args), Py_ssize_t nargs,
                   PyObject *kwnames)
{
    int fd;
    if (tc_args_none("fileno", nargs, kwnames) < 0
        || tc_socket_fd((SocketObject *)op, &fd) < 0) {
        return NULL;
    }
    return PyLong_FromLong(fd);
}

static PyObject *
socket_close_impl(FunctionObject *func, PyObject *op,
                  PyObject *const *Py_UNUSED(args), Py_ssize_t nargs,
                  PyObject *kwnames)
{
    SocketObject *self = (SocketObject *)op;
    int fd;
    if (tc_args_none("close", nargs, kwnames) < 0
        || tc_socket_fd(self, &fd) < 0) {
        return NULL;
    }
    if (fd < 0) {
        Py_RETURN_NONE;
    }
    RunnerObject *runner = tc_context_need_runner(func->st);
    if (runner == NULL || tc_io_notify_closing(runner->io, fd) < 0) {
        return NULL;
    }
    /* It may have been registered with another run. */
    tc_io_handle_forget(&self->handle);
    return PyObject_CallMethodNoArgs(self->sock, func->st->str_close);
}

static const tc_function_def socket_functions[] = {
    {"_SocketType.fileno", "trio_c._socket", socket_fileno_impl, 1},
    {"_SocketType.close", "trio_c._socket", socket_close_impl},
    {NULL, NULL, NULL},
};

/* --- for trio_c._socket --------------------------------------------- */

/* The descriptor is about to be closed or given away. */
static PyObject *
socket_forget(PyObject *op, PyObject *Py_UNUSED(ignored))
{
    if (tc_home_check(op) < 0) {
        return NULL;
    }
    tc_io_handle_forget(&((SocketObject *)op)->handle);
    Py_RETURN_NONE;
}

/* listen() has been called. */
static PyObject *
socket_reset(PyObject *op, PyObject *Py_UNUSED(ignored))
{
    if (tc_home_check(op) < 0) {
        return NULL;
    }
    tc_io_handle_reset(&((SocketObject *)op)->handle);
    Py_RETURN_NONE;
}

/* From now on a short read says nothing. */
static PyObject *
socket_doubt(PyObject *op, PyObject *Py_UNUSED(ignored))
{
    if (tc_home_check(op) < 0) {
        return NULL;
    }
    ((SocketObject *)op)->handle.doubt |= TC_IO_DOUBT_OPTION;
    Py_RETURN_NONE;
}

static PyMethodDef socket_methods[] = {
    {"_forget", socket_forget, METH_NOARGS, NULL},
    {"_reset", socket_reset, METH_NOARGS, NULL},
    {"_doubt", socket_doubt, METH_NOARGS, NULL},
    {NULL, NULL, 0, NULL},
};

static PyMemberDef socket_members[] = {
    {"_did_shutdown_SHUT_WR", T_BOOL,
     offsetof(SocketObject, did_shutdown_wr), 0, NULL},
    {"_owned", T_BOOL, offsetof(SocketObject, handle.owned), 0, NULL},
    {NULL, 0, 0, 0, NULL},
};

/* For us: without consequences. */
static PyObject *
socket_get_stdlib(PyObject *op, void *Py_UNUSED(closure))
{
    SocketObject *self = (SocketObject *)op;
    return socket_check_init(self) < 0 ? NULL : Py_NewRef(self->sock);
}

static PyObject *
socket_get_sock(PyObject *op, void *closure)
{
    ((SocketObject *)op)->handle.doubt |= TC_IO_DOUBT_OPTION;
    return socket_get_stdlib(op, closure);
}

static int
socket_set_sock(PyObject *op, PyObject *value, void *Py_UNUSED(closure))
{
    if (value == NULL) {
        PyErr_SetString(PyExc_AttributeError,
                        "cannot delete attribute '_sock'");
        return -1;
    }
    return socket_adopt((SocketObject *)op, value);
}

/* What is remembered of the socket, for tests: (registered for, readable,
   writable, a short read is believed). The first are bits: 1 reading, 2
   writing. */
static PyObject *
socket_get_memory(PyObject *op, void *Py_UNUSED(closure))
{
    const tc_io_handle *h = &((SocketObject *)op)->handle;
    return Py_BuildValue("iNNN", h->interest, PyBool_FromLong(h->readable),
                         PyBool_FromLong(h->writable),
                         PyBool_FromLong(h->tcp == TC_IO_TCP_YES
                                         && h->doubt == 0));
}

static PyGetSetDef socket_getset[] = {
    {"_sock", socket_get_sock, socket_set_sock, NULL, NULL},
    {"_stdlib", socket_get_stdlib, NULL, NULL, NULL},
    {"_memory", socket_get_memory, NULL, NULL, NULL},
    {NULL, NULL, NULL, NULL, NULL},
};

/* The C function behind fileno() of a standard socket, which is asked before
   each system call; NULL if it is none that can be called like this. */
static int
socket_find_fileno(PyObject *stdlib, PyCFunction *found)
{
    PyObject *method = PyObject_GetAttrString(stdlib, "fileno");
    *found = NULL;
    if (method == NULL) {
        return -1;
    }
    if (Py_IS_TYPE(method, &PyMethodDescr_Type)) {
        const PyMethodDef *def = ((PyMethodDescrObject *)method)->d_method;
        *found = def->ml_flags == METH_NOARGS ? def->ml_meth : NULL;
    }
    Py_DECREF(method);
    return 0;
}

/* set_socket_class(_SocketType, socket.socket) */
static PyObject *
socket_set_class(PyObject *module, PyObject *args)
{
    tc_state *st = (tc_state *)PyModule_GetState(module);
    PyObject *cls, *stdlib;
    if (!PyArg_ParseTuple(args, "O!O!:set_socket_class", &PyType_Type, &cls,
                          &PyType_Type, &stdlib)) {
        return NULL;
    }
    if (!PyType_IsSubtype((PyTypeObject *)cls, st->SocketType)) {
        PyErr_SetString(PyExc_TypeError, "not a class of sockets");
        return NULL;
    }
    PyCFunction find_fd;
    PyObject *resolve = PyObject_GetAttrString(cls, "_resolve_address_nocp");
    if (resolve == NULL || socket_find_fileno(stdlib, &find_fd) < 0) {
        Py_XDECREF(resolve);
        return NULL;
    }
    Py_XSETREF(st->socket_resolve, resolve);
    Py_XSETREF(st->socket_class, Py_NewRef(cls));
    Py_XSETREF(st->stdlib_socket, Py_NewRef(stdlib));
    st->stdlib_fileno = find_fd;
    Py_RETURN_NONE;
}

static PyMethodDef socket_module_methods[] = {
    {"set_socket_class", socket_set_class, METH_VARARGS, NULL},
    {NULL, NULL, 0, NULL},
};

static PyType_Slot socket_slots[] = {
    {Py_tp_new, socket_new},
    {Py_tp_init, socket_init},
    {Py_tp_dealloc, socket_dealloc},
    {Py_tp_traverse, socket_traverse},
    {Py_tp_clear, socket_clear},
    {Py_tp_methods, socket_methods},
    {Py_tp_members, socket_members},
    {Py_tp_getset, socket_getset},
    {0, NULL},
};

static PyType_Spec tc_socket_spec = {
    .name = "trio_c._native.SocketBase",
    .basicsize = sizeof(SocketObject),
    .flags = Py_TPFLAGS_DEFAULT | Py_TPFLAGS_BASETYPE | Py_TPFLAGS_HAVE_GC,
    .slots = socket_slots,
};

int
tc_socket_register(tc_state *st)
{
    static const tc_function_def *const functions[] = {
        socket_functions,
        tc_socket_plain_functions,
        tc_socket_receive_functions,
        tc_socket_send_functions,
        tc_socket_connect_functions,
    };
    if (tc_state_add_type(st, &st->SocketType, &tc_socket_spec, NULL,
                          "SocketBase")
        < 0) {
        return -1;
    }
    for (size_t i = 0; i < Py_ARRAY_LENGTH(functions); i++) {
        if (tc_function_add_to_type(st, st->SocketType, functions[i]) < 0) {
            return -1;
        }
    }
    return PyModule_AddFunctions(st->module, socket_module_methods);
}
