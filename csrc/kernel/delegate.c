/* delegate.c - native operations that await something foreign.
 *
 * What the foreign coroutine yields goes to the run loop as it is; the loop
 * recognises the awaitables of ours among it. self->value is held across each
 * call, which may close self.
 */
#include "delegate.h"
#include "ki.h"

PyObject *
tc_delegate_iter(PyObject *obj)
{
    if (PyCoro_CheckExact(obj)) {
        return Py_NewRef(obj);
    }
    if (PyGen_CheckExact(obj)) {
        /* One that types.coroutine() has marked. */
        PyObject *op = PyObject_GetAttrString(obj, "gi_code");
        int flags = op != NULL ? ((PyCodeObject *)op)->co_flags : 0;
        Py_XDECREF(op);
        if (op == NULL) {
            return NULL;
        }
        if (flags & CO_ITERABLE_COROUTINE) {
            return Py_NewRef(obj);
        }
    }
    PyAsyncMethods *async = Py_TYPE(obj)->tp_as_async;
    if (async == NULL || async->am_await == NULL) {
        PyErr_Format(PyExc_TypeError,
                     "object %.100s can't be used in 'await' expression",
                     Py_TYPE(obj)->tp_name);
        return NULL;
    }
    PyObject *iter = async->am_await(obj);
    if (iter != NULL && !PyIter_Check(iter)) {
        PyErr_Format(PyExc_TypeError,
                     "__await__() returned non-iterator of type '%.100s'",
                     Py_TYPE(iter)->tp_name);
        Py_CLEAR(iter);
    }
    return iter;
}

/* After a step of `inner` (stolen). */
static tc_step
delegate_result(AwaitableObject *self, PyObject *inner, PySendResult sent)
{
    if (sent != PYGEN_NEXT && self->value == inner) {
        PyObject *exc = PyErr_GetRaisedException();
        Py_CLEAR(self->value);
        if (exc != NULL) {
            PyErr_SetRaisedException(exc);
        }
    }
    Py_DECREF(inner);
    switch (sent) {
    case PYGEN_NEXT:
        return TC_YIELD;
    case PYGEN_RETURN:
        return TC_DONE;
    default:
        return TC_ERROR;
    }
}

tc_step
tc_delegate_send(AwaitableObject *self, PyObject *sent, int is_protected,
                 PyObject **result)
{
    tc_ki_mark mark;
    PyObject *inner = Py_NewRef(self->value);
    PySendResult got = PYGEN_ERROR;
    *result = NULL;
    if (is_protected == TC_DELEGATE_AS_CALLER) {
        got = PyIter_Send(inner, sent, result);
    }
    else if (tc_ki_enter(&mark, is_protected) == 0) {
        got = PyIter_Send(inner, sent, result);
        tc_ki_leave(&mark);
    }
    return delegate_result(self, inner, got);
}

/* inner.throw(exc) */
static PySendResult
delegate_throw(tc_state *st, PyObject *inner, PyObject *exc,
               PyObject **result)
{
    *result = PyObject_CallMethodOneArg(inner, st->str_throw, exc);
    if (*result != NULL) {
        return PYGEN_NEXT;
    }
    if (!PyErr_ExceptionMatches(PyExc_StopIteration)) {
        return PYGEN_ERROR;
    }
    PyObject *stop = PyErr_GetRaisedException();
    *result = PyObject_GetAttrString(stop, "value");
    Py_DECREF(stop);
    return *result == NULL ? PYGEN_ERROR : PYGEN_RETURN;
}

tc_step
tc_delegate_throw(AwaitableObject *self, PyObject *exc, int is_protected,
                  PyObject **result)
{
    tc_ki_mark mark;
    PyObject *inner = Py_NewRef(self->value);
    PySendResult got = PYGEN_ERROR;
    *result = NULL;
    if (is_protected == TC_DELEGATE_AS_CALLER) {
        got = delegate_throw(self->st, inner, exc, result);
    }
    else if (tc_ki_enter(&mark, is_protected) == 0) {
        got = delegate_throw(self->st, inner, exc, result);
        tc_ki_leave(&mark);
    }
    return delegate_result(self, inner, got);
}

PyObject *
tc_delegate_awaiting(AwaitableObject *self)
{
    return Py_XNewRef(self->value);
}
