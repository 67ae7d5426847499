/* tls.c - the object under SSLStream: its attributes, its awaited methods.
 *
 * SSLStream is a Python class on this native base. What the two share are the
 * attributes below; those without a setter belong to the pump.
 */
#include "tls.h"

#include "../glue/args.h"
#include "../glue/function.h"

/* --- awaited methods ------------------------------------------------ */

static PyObject *
tls_operation(FunctionObject *func, PyObject *op, const tc_op *kind,
              PyObject *argument)
{
    AwaitableObject *aw = tc_awaitable_new(func->st, kind, op);
    if (aw != NULL) {
        aw->extra = Py_XNewRef(argument);
    }
    return (PyObject *)aw;
}

static PyObject *
tls_receive_some(FunctionObject *func, PyObject *op, PyObject *const *args,
                 Py_ssize_t nargs, PyObject *kwnames)
{
    static const tc_params params = {
        .fname = "SSLStream.receive_some",
        .names = {"max_bytes"},
        .n_positional = 1,
    };
    PyObject *max_bytes;
    if (tc_args_parse(&params, args, nargs, kwnames, &max_bytes) < 0) {
        return NULL;
    }
    return tls_operation(func, op, &tc_tls_receive_op, max_bytes);
}

static PyObject *
tls_send_all(FunctionObject *func, PyObject *op, PyObject *const *args,
             Py_ssize_t nargs, PyObject *kwnames)
{
    static const tc_params params = {
        .fname = "SSLStream.send_all",
        .names = {"data"},
        .n_positional = 1,
        .n_required = 1,
    };
    PyObject *data;
    if (tc_args_parse(&params, args, nargs, kwnames, &data) < 0) {
        return NULL;
    }
    return tls_operation(func, op, &tc_tls_send_op, data);
}

static PyObject *
tls_wait_writable(FunctionObject *func, PyObject *op, PyObject *const *args,
                  Py_ssize_t nargs, PyObject *kwnames)
{
    if (tc_args_none("SSLStream.wait_send_all_might_not_block", nargs,
                     kwnames)
        < 0) {
        return NULL;
    }
    return tls_operation(func, op, &tc_tls_wait_op, NULL);
}

static PyObject *
tls_retry(FunctionObject *func, PyObject *op, PyObject *const *args,
          Py_ssize_t nargs, PyObject *kwnames)
{
    static const tc_params params = {
        .fname = "SSLStream._retry",
        .names = {"fn"},
        .n_positional = 1,
        .n_required = 1,
    };
    PyObject *fn;
    if (tc_args_parse(&params, args, nargs, kwnames, &fn) < 0) {
        return NULL;
    }
    return tls_operation(func, op, &tc_tls_call_op, fn);
}

static const tc_function_def tls_functions[] = {
    {"SSLStream.receive_some", "trio_c", tls_receive_some},
    {"SSLStream.send_all", "trio_c", tls_send_all},
    {"SSLStream.wait_send_all_might_not_block", "trio_c", tls_wait_writable},
    {"SSLStream._retry", "trio_c", tls_retry},
    {NULL, NULL, NULL},
};

/* --- for the methods written in Python ------------------------------ */

/* _set_engine(engine, incoming, outgoing, native) */
static PyObject *
tls_set_engine(PyObject *op, PyObject *args)
{
    if (tc_home_check(op) < 0) {
        return NULL;
    }
    TlsObject *self = (TlsObject *)op;
    PyObject *engine, *incoming, *outgoing;
    int native;
    if (!PyArg_ParseTuple(args, "OOOp:_set_engine", &engine, &incoming,
                          &outgoing, &native)) {
        return NULL;
    }
    Py_XSETREF(self->engine, Py_NewRef(engine));
    Py_XSETREF(self->incoming, Py_NewRef(incoming));
    Py_XSETREF(self->outgoing, Py_NewRef(outgoing));
    self->native = (char)native;
    self->drained = 0;
    Py_RETURN_NONE;
}

/* _claim(): keep others from sending and receiving, or raise. */
static PyObject *
tls_claim(PyObject *op, PyObject *Py_UNUSED(ignored))
{
    if (tc_home_check(op) < 0) {
        return NULL;
    }
    TlsObject *self = (TlsObject *)op;
    if (tc_tls_claim_receive(self) < 0) {
        return NULL;
    }
    if (tc_tls_claim_send(self) < 0) {
        self->user_receiving = 0;
        return NULL;
    }
    Py_RETURN_NONE;
}

static PyObject *
tls_unclaim(PyObject *op, PyObject *Py_UNUSED(ignored))
{
    if (tc_home_check(op) < 0) {
        return NULL;
    }
    TlsObject *self = (TlsObject *)op;
    self->user_sending = 0;
    self->user_receiving = 0;
    Py_RETURN_NONE;
}

static PyMethodDef tls_methods[] = {
    {"_set_engine", tls_set_engine, METH_VARARGS, NULL},
    {"_claim", tls_claim, METH_NOARGS, NULL},
    {"_unclaim", tls_unclaim, METH_NOARGS, NULL},
    {NULL, NULL, 0, NULL},
};

/* _delayed_outgoing: bytes or None */
static PyObject *
tls_get_delayed(PyObject *op, void *Py_UNUSED(closure))
{
    PyObject *delayed = ((TlsObject *)op)->delayed;
    return Py_NewRef(delayed == NULL ? Py_None : delayed);
}

static int
tls_set_delayed(PyObject *op, PyObject *value, void *Py_UNUSED(closure))
{
    TlsObject *self = (TlsObject *)op;
    if (value == NULL || value == Py_None) {
        Py_CLEAR(self->delayed);
        return 0;
    }
    if (!PyBytes_CheckExact(value)) {
        PyErr_SetString(PyExc_TypeError, "_delayed_outgoing must be bytes");
        return -1;
    }
    Py_XSETREF(self->delayed, Py_NewRef(value));
    return 0;
}

static PyGetSetDef tls_getset[] = {
    {"_delayed_outgoing", tls_get_delayed, tls_set_delayed, NULL, NULL},
    {NULL, NULL, NULL, NULL, NULL},
};

static PyMemberDef tls_members[] = {
    {"transport_stream", T_OBJECT_EX, offsetof(TlsObject, transport), 0,
     NULL},
    {"_incoming", T_OBJECT_EX, offsetof(TlsObject, incoming), READONLY, NULL},
    {"_outgoing", T_OBJECT_EX, offsetof(TlsObject, outgoing), READONLY, NULL},
    {"_estimated_receive_size", T_PYSSIZET, offsetof(TlsObject, estimate), 0,
     NULL},
    {"_state", T_UBYTE, offsetof(TlsObject, state), 0, NULL},
    {"_https_compatible", T_BOOL, offsetof(TlsObject, https_compatible), 0,
     NULL},
    {"_handshaken", T_BOOL, offsetof(TlsObject, handshaken), 0, NULL},
    {"_drained", T_BOOL, offsetof(TlsObject, drained), 0, NULL},
    {NULL, 0, 0, 0, NULL},
};

/* --- lifetime ------------------------------------------------------- */

static PyObject *
tls_alloc(PyTypeObject *type, PyObject *Py_UNUSED(args),
          PyObject *Py_UNUSED(kwargs))
{
    tc_state *st = tc_state_from_type(type);
    if (st == NULL) {
        return NULL;
    }
    TlsObject *self = (TlsObject *)type->tp_alloc(type, 0);
    if (self != NULL) {
        self->st = st;
        TC_LIVE_ADD(st, SSLStreamType);
    }
    return (PyObject *)self;
}

static int
tls_traverse(PyObject *op, visitproc visit, void *arg)
{
    TlsObject *self = (TlsObject *)op;
    Py_VISIT(Py_TYPE(op));
    Py_VISIT(self->transport);
    Py_VISIT(self->engine);
    Py_VISIT(self->incoming);
    Py_VISIT(self->outgoing);
    Py_VISIT(self->delayed);
    Py_VISIT(self->unread);
    Py_VISIT(self->failure);
    Py_VISIT((PyObject *)self->send_lot);
    Py_VISIT((PyObject *)self->receive_lot);
    return 0;
}

static int
tls_clear(PyObject *op)
{
    TlsObject *self = (TlsObject *)op;
    Py_CLEAR(self->transport);
    Py_CLEAR(self->engine);
    Py_CLEAR(self->incoming);
    Py_CLEAR(self->outgoing);
    Py_CLEAR(self->delayed);
    Py_CLEAR(self->unread);
    Py_CLEAR(self->failure);
    Py_CLEAR(self->send_lot);
    Py_CLEAR(self->receive_lot);
    return 0;
}

static void
tls_dealloc(PyObject *op)
{
    PyTypeObject *type = Py_TYPE(op);
    PyObject_GC_UnTrack(op);
    tls_clear(op);
    TC_LIVE_SUB(((TlsObject *)op)->st, SSLStreamType);
    type->tp_free(op);
    Py_DECREF(type);
}

static PyType_Slot tls_slots[] = {
    {Py_tp_new, tls_alloc},
    {Py_tp_dealloc, tls_dealloc},
    {Py_tp_traverse, tls_traverse},
    {Py_tp_clear, tls_clear},
    {Py_tp_methods, tls_methods},
    {Py_tp_getset, tls_getset},
    {Py_tp_members, tls_members},
    {0, NULL},
};

static PyType_Spec tc_tls_spec = {
    .name = "trio_c._native.SSLStreamBase",
    .basicsize = sizeof(TlsObject),
    .flags = Py_TPFLAGS_DEFAULT | Py_TPFLAGS_BASETYPE | Py_TPFLAGS_HAVE_GC,
    .slots = tls_slots,
};

/* --- registration --------------------------------------------------- */

/* set_ssl(SSLError, SSLWantReadError, is_end(exception, in handshake?)) */
static PyObject *
tls_set_ssl(PyObject *module, PyObject *args)
{
    tc_state *st = (tc_state *)PyModule_GetState(module);
    PyObject *error, *want_read, *is_end;
    if (!PyArg_ParseTuple(args, "O!O!O:set_ssl", &PyType_Type, &error,
                          &PyType_Type, &want_read, &is_end)) {
        return NULL;
    }
    Py_XSETREF(st->ssl_Error, Py_NewRef(error));
    Py_XSETREF(st->ssl_WantReadError, Py_NewRef(want_read));
    Py_XSETREF(st->tls_is_end, Py_NewRef(is_end));
    Py_RETURN_NONE;
}

static PyMethodDef tls_module_methods[] = {
    {"set_ssl", tls_set_ssl, METH_VARARGS, NULL},
    {NULL, NULL, 0, NULL},
};

int
tc_tls_register(tc_state *st)
{
    if (tc_state_add_type(st, &st->SSLStreamType, &tc_tls_spec, NULL,
                          "SSLStreamBase")
            < 0
        || tc_function_add_to_type(st, st->SSLStreamType, tls_functions)
               < 0) {
        return -1;
    }
    return PyModule_AddFunctions(st->module, tls_module_methods);
}
