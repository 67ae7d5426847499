/* tls_engine.c - calls on the SSL object and its buffers.
 *
 * Reading in vain costs as much as reading, because the SSL object says so
 * with an exception. It is not asked when the answer is known: the last read
 * left room in its result, so there was no more in that record, and the buffer
 * of what was received was empty. OpenSSL takes from the buffer no more than
 * the record that it works on (that is what its "read ahead" would change,
 * which nothing in the ssl module turns on).
 *
 * A read returns as many records as have been received and are wanted. An
 * error in a later one than the first is kept for the next read.
 */
#include "tls.h"

#include "../glue/errors.h"

/* The most that one record can carry... */
#define RECORD_SIZE 16384
/* ...and what it may add to that. */
#define RECORD_OVERHEAD 256

/* The engine has raised something. */
static tc_tls_outcome
engine_failed(TlsObject *self)
{
    tc_state *st = self->st;
    if (PyErr_ExceptionMatches(st->ssl_WantReadError)) {
        PyErr_Clear();
        return TC_TLS_WANT_READ;
    }
    if (PyErr_ExceptionMatches(st->ssl_Error)) {
        self->state = TC_TLS_STATE_BROKEN;
        PyObject *cause = PyErr_GetRaisedException();
        PyObject *exc = PyObject_CallNoArgs(st->exc_BrokenResourceError);
        if (exc == NULL) {
            Py_DECREF(cause);
            return TC_TLS_ERROR;
        }
        PyException_SetContext(exc, Py_NewRef(cause));
        PyException_SetCause(exc, cause);
        tc_error_reraise(exc);
    }
    else if (self->native && PyErr_ExceptionMatches(PyExc_MemoryError)) {
        /* It may have come before that, or may have cost what was read. */
        self->state = TC_TLS_STATE_BROKEN;
    }
    return TC_TLS_ERROR;
}

/* A reference to a field for as long as a call lasts, in which it may be
   replaced; NULL with AttributeError if there is none. */
static PyObject *
engine_hold(PyObject *field)
{
    if (field == NULL) {
        PyErr_SetString(PyExc_AttributeError, "_ssl_object");
    }
    return Py_XNewRef(field);
}

static PyObject *
engine_call(TlsObject *self, PyObject *name, PyObject *arg)
{
    PyObject *engine = engine_hold(self->engine);
    if (engine == NULL) {
        return NULL;
    }
    PyObject *result = PyObject_CallMethodOneArg(engine, name, arg);
    Py_DECREF(engine);
    return result;
}

/* --- the buffers ---------------------------------------------------- */

Py_ssize_t
tc_tls_pending(TlsObject *self, PyObject *bio)
{
    if (bio == NULL) {
        PyErr_SetString(PyExc_AttributeError, "_ssl_object");
        return -1;
    }
    PyObject *pending = PyObject_GetAttr(bio, self->st->str_pending);
    Py_ssize_t n = pending == NULL ? -1 : PyLong_AsSsize_t(pending);
    Py_XDECREF(pending);
    return n;
}

/* What was received does not get to the engine. If it is for want of memory
   there is a gap now; else it was nothing that a transport may return. */
static int
feed_failed(TlsObject *self)
{
    if (PyErr_ExceptionMatches(PyExc_MemoryError)) {
        self->state = TC_TLS_STATE_BROKEN;
    }
    return -1;
}

int
tc_tls_feed(TlsObject *self, PyObject *data)
{
    tc_state *st = self->st;
    PyObject *incoming = engine_hold(self->incoming);
    PyObject *done = NULL;
    int any = incoming == NULL ? -1 : PyObject_IsTrue(data);
    Py_ssize_t size = any <= 0 ? any : PyObject_Size(data);
    if (any == 0) {
        self->drained = 0;
        done = PyObject_CallMethodNoArgs(incoming, st->str_write_eof);
    }
    else if (size >= 0) {
        self->drained = 0;
        self->estimate = Py_MAX(self->estimate, size);
        done = PyObject_CallMethodOneArg(incoming, st->str_write, data);
    }
    Py_XDECREF(incoming);
    Py_XDECREF(done);
    return done == NULL ? feed_failed(self) : 0;
}

int
tc_tls_feed_memory(TlsObject *self, char *data, Py_ssize_t size)
{
    PyObject *view = PyMemoryView_FromMemory(data, size, PyBUF_READ);
    if (view == NULL) {
        return feed_failed(self);
    }
    int r = tc_tls_feed(self, view);
    Py_DECREF(view);
    return r;
}

PyObject *
tc_tls_take(TlsObject *self)
{
    PyObject *outgoing = engine_hold(self->outgoing);
    if (outgoing == NULL) {
        return NULL;
    }
    PyObject *data = PyObject_CallMethodNoArgs(outgoing, self->st->str_read);
    Py_DECREF(outgoing);
    if (data == NULL) {
        return NULL;
    }
    self->backlog = 0;
    if (self->delayed == NULL || PyBytes_GET_SIZE(data) == 0) {
        return data;
    }
    PyObject *first = self->delayed;
    self->delayed = NULL;
    PyBytes_ConcatAndDel(&first, data);
    return first;
}

/* --- reading -------------------------------------------------------- */

/* engine.read(size) */
static tc_tls_outcome
read_simply(TlsObject *self, Py_ssize_t size, PyObject **result)
{
    PyObject *arg = PyLong_FromSsize_t(size);
    if (arg == NULL) {
        return TC_TLS_ERROR;
    }
    *result = engine_call(self, self->st->str_read, arg);
    Py_DECREF(arg);
    if (*result != NULL) {
        return TC_TLS_DONE;
    }
    tc_tls_outcome outcome = engine_failed(self);
    if (outcome == TC_TLS_WANT_READ) {
        self->drained = self->native;
    }
    return outcome;
}

/* engine.read(size, where): bytes, or -1 with its exception. */
static Py_ssize_t
read_into(TlsObject *self, char *where, Py_ssize_t size)
{
    PyObject *view = PyMemoryView_FromMemory(where, size, PyBUF_WRITE);
    PyObject *arg = PyLong_FromSsize_t(size);
    PyObject *engine = engine_hold(self->engine);
    PyObject *got = NULL;
    if (view != NULL && arg != NULL && engine != NULL) {
        PyObject *args[] = {engine, arg, view};
        got = PyObject_VectorcallMethod(self->st->str_read, args, 3, NULL);
    }
    Py_XDECREF(engine);
    Py_XDECREF(arg);
    if (view != NULL && Py_REFCNT(view) > 1) {
        /* Somebody has found it; it must not outlive the memory. */
        PyObject *raised = PyErr_GetRaisedException();
        PyObject *done = PyObject_CallMethod(view, "release", NULL);
        if (done == NULL) {
            PyErr_WriteUnraisable(view);
        }
        Py_XDECREF(done);
        if (raised != NULL) {
            PyErr_SetRaisedException(raised);
        }
    }
    Py_XDECREF(view);
    Py_ssize_t n = got == NULL ? -1 : PyLong_AsSsize_t(got);
    Py_XDECREF(got);
    return n;
}

/* Reads into buffer, which has *have of `size` bytes already, until it is full
   or what was received is used up. 0; or -1 with an exception, and *have is
   right all the same. */
static int
read_records(TlsObject *self, char *buffer, Py_ssize_t *have, Py_ssize_t size)
{
    while (*have < size) {
        Py_ssize_t room = size - *have;
        Py_ssize_t n = read_into(self, buffer + *have, room);
        if (n < 0) {
            int want_read
                = PyErr_ExceptionMatches(self->st->ssl_WantReadError);
            self->drained = (char)want_read;
            if (*have == 0 || !PyErr_ExceptionMatches(self->st->ssl_Error)) {
                return -1;
            }
            PyObject *raised = PyErr_GetRaisedException();
            Py_XSETREF(self->failure, want_read ? NULL : raised);
            if (want_read) {
                Py_DECREF(raised);
            }
            return 0;
        }
        if (n == 0) {
            break;  /* the end, which the next read will see too */
        }
        *have += n;
        Py_ssize_t left = tc_tls_pending(self, self->incoming);
        if (left < 0) {
            return -1;
        }
        if (left == 0) {
            self->drained = n < room;
            break;
        }
    }
    return 0;
}

/* Up to `size` bytes, at least as many records as `received` bytes of them
   hold. `first` (stolen; NULL: none) has been read already. */
static tc_tls_outcome
read_together(TlsObject *self, PyObject *first, Py_ssize_t received,
              Py_ssize_t size, PyObject **result)
{
    Py_ssize_t have = first == NULL ? 0 : PyBytes_GET_SIZE(first);
    size = Py_MIN(size, have + received);
    PyObject *data = PyBytes_FromStringAndSize(NULL, size);
    if (data == NULL) {
        if (first != NULL) {
            tc_tls_put_back(self, first);
        }
        return TC_TLS_ERROR;
    }
    char *buffer = PyBytes_AS_STRING(data);
    if (first != NULL) {
        memcpy(buffer, PyBytes_AS_STRING(first), (size_t)have);
        Py_DECREF(first);
    }
    int r = read_records(self, buffer, &have, size);
    if (r < 0 && have == 0) {
        Py_DECREF(data);
        return engine_failed(self);
    }
    PyObject *raised = PyErr_GetRaisedException();
    if (have < size && _PyBytes_Resize(&data, have) < 0) {
        Py_XDECREF(raised);
        return engine_failed(self);
    }
    if (r < 0) {
        /* Nothing that TLS has to do with: what came before it is good. */
        tc_tls_put_back(self, data);
        PyErr_SetRaisedException(raised);
        return engine_failed(self);
    }
    *result = data;
    return TC_TLS_DONE;
}

void
tc_tls_put_back(TlsObject *self, PyObject *data)
{
    if (PyBytes_CheckExact(data) && PyBytes_GET_SIZE(data) > 0) {
        Py_XSETREF(self->unread, data);
    }
    else {
        Py_DECREF(data);
    }
}

/* What was put back. */
static tc_tls_outcome
read_unread(TlsObject *self, Py_ssize_t max, PyObject **result)
{
    PyObject *data = self->unread;
    Py_ssize_t size = PyBytes_GET_SIZE(data);
    PyObject *rest = NULL;
    if (max > 0 && max < size) {
        const char *where = PyBytes_AS_STRING(data);
        rest = PyBytes_FromStringAndSize(where + max, size - max);
        *result = PyBytes_FromStringAndSize(where, max);
        if (rest == NULL || *result == NULL) {
            Py_XDECREF(rest);
            Py_CLEAR(*result);
            return TC_TLS_ERROR;
        }
        Py_DECREF(data);
    }
    else {
        *result = data;
    }
    self->unread = rest;
    return TC_TLS_DONE;
}

tc_tls_outcome
tc_tls_read(TlsObject *self, Py_ssize_t max, PyObject **result)
{
    *result = NULL;
    if (self->unread != NULL) {
        return read_unread(self, max, result);
    }
    if (self->failure != NULL) {
        PyObject *failure = self->failure;
        self->failure = NULL;
        tc_error_reraise(failure);
        return engine_failed(self);
    }
    if (self->drained) {
        return TC_TLS_DRAINED;
    }
    Py_ssize_t received = tc_tls_pending(self, self->incoming);
    if (received < 0) {
        return TC_TLS_ERROR;
    }
    Py_ssize_t size = max > 0 ? max : Py_MAX(self->estimate, received);
    if (self->native && received > RECORD_SIZE + RECORD_OVERHEAD
        && size > RECORD_SIZE) {
        return read_together(self, NULL, received, size, result);
    }
    /* One more than there can be: a read that fills its result might have
       left something. */
    Py_ssize_t most = self->native ? Py_MIN(size, RECORD_SIZE + 1) : size;
    tc_tls_outcome outcome = read_simply(self, most, result);
    if (outcome != TC_TLS_DONE || !self->native
        || !PyBytes_CheckExact(*result)) {
        return outcome;
    }
    Py_ssize_t n = PyBytes_GET_SIZE(*result);
    if (n == 0 || n >= size) {
        return outcome;
    }
    received = tc_tls_pending(self, self->incoming);
    if (received > 0) {
        PyObject *first = *result;
        *result = NULL;
        return read_together(self, first, received, size, result);
    }
    if (received < 0) {
        tc_tls_put_back(self, *result);
        *result = NULL;
        return TC_TLS_ERROR;
    }
    self->drained = 1;
    return outcome;
}

/* --- everything else ------------------------------------------------ */

tc_tls_outcome
tc_tls_write(TlsObject *self, PyObject *data)
{
    PyObject *written = engine_call(self, self->st->str_write, data);
    if (written == NULL) {
        return engine_failed(self);
    }
    Py_DECREF(written);
    return TC_TLS_DONE;
}

tc_tls_outcome
tc_tls_call(TlsObject *self, PyObject *fn, PyObject **result)
{
    *result = PyObject_CallNoArgs(fn);
    return *result == NULL ? engine_failed(self) : TC_TLS_DONE;
}
