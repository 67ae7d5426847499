/* socket_plain.c - the plain form of sending and receiving: the standard
 * library's own method on its own object, tried until it does not block.
 *
 * It can leave any kind of doubt about the socket behind (urgent data, flags
 * that read less than there is), so a short read means nothing afterwards;
 * and it waits for what is ready now, not for what was reported.
 */
#include "transfer.h"

#include "../glue/args.h"
#include "../kernel/trap.h"

int
tc_transfer_number(PyObject *obj, int32_t *out)
{
    if (!PyLong_Check(obj)) {
        return 0;
    }
    int overflow;
    long value = PyLong_AsLongAndOverflow(obj, &overflow);
    if (overflow != 0 || value < 0 || value > INT32_MAX) {
        return 0;
    }
    *out = (int32_t)value;
    return 1;
}

/* value: positional arguments and then keyword values, a tuple; extra: the
   names of the latter or NULL; op->name: the method. */
static tc_try
plain_attempt(AwaitableObject *self, SocketObject *sock,
              tc_io *Py_UNUSED(io), int Py_UNUSED(fd), PyObject **result)
{
    sock->handle.doubt |= TC_IO_DOUBT_OPTION;
    PyObject *method = PyObject_GetAttrString(self->st->stdlib_socket,
                                              self->op->name);
    if (method == NULL) {
        return TC_TRY_ERROR;
    }
    Py_ssize_t n = PyTuple_GET_SIZE(self->value);
    Py_ssize_t n_keywords
        = self->extra == NULL ? 0 : PyTuple_GET_SIZE(self->extra);
    PyObject *args[TC_MAX_PARAMS + 1];
    PyObject **all = args;
    if (n > TC_MAX_PARAMS) {
        all = PyMem_Malloc((size_t)(n + 1) * sizeof(*all));
        if (all == NULL) {
            Py_DECREF(method);
            PyErr_NoMemory();
            return TC_TRY_ERROR;
        }
    }
    all[0] = Py_NewRef(sock->sock);
    for (Py_ssize_t i = 0; i < n; i++) {
        all[i + 1] = PyTuple_GET_ITEM(self->value, i);
    }
    *result = PyObject_Vectorcall(method, all, (size_t)(n - n_keywords + 1),
                                  self->extra);
    Py_DECREF(all[0]);
    if (all != args) {
        PyMem_Free(all);
    }
    Py_DECREF(method);
    if (*result != NULL) {
        return TC_TRY_DONE;
    }
    if (PyErr_ExceptionMatches(PyExc_BlockingIOError)) {
        PyErr_Clear();
        return TC_TRY_BLOCKED_LEVEL;
    }
    return TC_TRY_ERROR;
}

static tc_step
plain_receive_step(AwaitableObject *self, PyObject *Py_UNUSED(sent),
                   PyObject **result)
{
    return tc_socket_step(self, result, plain_attempt, 0);
}

static tc_step
plain_send_step(AwaitableObject *self, PyObject *Py_UNUSED(sent),
                PyObject **result)
{
    return tc_socket_step(self, result, plain_attempt, 1);
}

#define PLAIN_OP(NAME, STEP)                                                \
    {                                                                       \
        .name = NAME,                                                       \
        .qualname = "_SocketType." NAME,                                    \
        .step = STEP,                                                       \
        .abort = tc_io_abort,                                               \
        .abandon = tc_io_unlink,                                            \
    }

const tc_op tc_plain_recv_op = PLAIN_OP("recv", plain_receive_step);
const tc_op tc_plain_recv_into_op
    = PLAIN_OP("recv_into", plain_receive_step);
const tc_op tc_plain_recvfrom_op = PLAIN_OP("recvfrom", plain_receive_step);
const tc_op tc_plain_send_op = PLAIN_OP("send", plain_send_step);
static const tc_op plain_recvfrom_into_op
    = PLAIN_OP("recvfrom_into", plain_receive_step);

PyObject *
tc_plain_new(tc_state *st, const tc_op *op, PyObject *sock,
          PyObject *const *args, Py_ssize_t nargs, PyObject *kwnames)
{
    AwaitableObject *aw = tc_awaitable_new(st, op, sock);
    if (aw == NULL) {
        return NULL;
    }
    Py_ssize_t n = nargs;
    if (kwnames != NULL) {
        n += PyTuple_GET_SIZE(kwnames);
        aw->extra = Py_NewRef(kwnames);
    }
    aw->value = PyTuple_New(n);
    if (aw->value == NULL) {
        aw->state = TC_AW_CLOSED;
        Py_DECREF(aw);
        return NULL;
    }
    for (Py_ssize_t i = 0; i < n; i++) {
        PyTuple_SET_ITEM(aw->value, i, Py_NewRef(args[i]));
    }
    return (PyObject *)aw;
}

/* --- methods that have no other form -------------------------------- */

static PyObject *
socket_recvfrom_into_impl(FunctionObject *func, PyObject *op,
                          PyObject *const *args, Py_ssize_t nargs,
                          PyObject *kwnames)
{
    return tc_plain_new(func->st, &plain_recvfrom_into_op, op, args, nargs,
                        kwnames);
}

#if TC_SOCK_HAVE_MSG

static const tc_op plain_recvmsg_op
    = PLAIN_OP("recvmsg", plain_receive_step);
static const tc_op plain_recvmsg_into_op
    = PLAIN_OP("recvmsg_into", plain_receive_step);
static const tc_op plain_sendmsg_op = PLAIN_OP("sendmsg", plain_send_step);

static PyObject *
socket_recvmsg_impl(FunctionObject *func, PyObject *op,
                    PyObject *const *args, Py_ssize_t nargs,
                    PyObject *kwnames)
{
    return tc_plain_new(func->st, &plain_recvmsg_op, op, args, nargs,
                        kwnames);
}

static PyObject *
socket_recvmsg_into_impl(FunctionObject *func, PyObject *op,
                         PyObject *const *args, Py_ssize_t nargs,
                         PyObject *kwnames)
{
    return tc_plain_new(func->st, &plain_recvmsg_into_op, op, args, nargs,
                        kwnames);
}

/* An address may have to be resolved first, which is for Python. */
static PyObject *
socket_sendmsg_impl(FunctionObject *func, PyObject *op,
                    PyObject *const *args, Py_ssize_t nargs,
                    PyObject *kwnames)
{
    if (nargs == 4 && args[3] != Py_None && kwnames == NULL) {
        PyObject *resolving = PyObject_GetAttrString(op, "_sendmsg");
        if (resolving == NULL) {
            return NULL;
        }
        PyObject *coro = PyObject_Vectorcall(resolving, args, 4, NULL);
        Py_DECREF(resolving);
        return coro;
    }
    return tc_plain_new(func->st, &plain_sendmsg_op, op, args, nargs,
                        kwnames);
}

#endif

const tc_function_def tc_socket_plain_functions[] = {
    {"_SocketType.recvfrom_into", "trio_c._socket",
     socket_recvfrom_into_impl},
#if TC_SOCK_HAVE_MSG
    {"_SocketType.recvmsg", "trio_c._socket", socket_recvmsg_impl},
    {"_SocketType.recvmsg_into", "trio_c._socket", socket_recvmsg_into_impl},
    {"_SocketType.sendmsg", "trio_c._socket", socket_sendmsg_impl},
#endif
    {NULL, NULL, NULL},
};
