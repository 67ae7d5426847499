/* errors.c - small helpers around raised exceptions. */
#include "errors.h"

#include <errno.h>
#include <string.h>

#include "../base/sock.h"

#ifdef MS_WINDOWS

void
tc_error_set_sock(int code)
{
    PyErr_SetExcFromWindowsErr(PyExc_OSError, code);
}

void
tc_error_set_errno(int err)
{
    if (err == -EBADF) {
        tc_error_set_sock(WSAENOTSOCK);
        return;
    }
    /* Not by way of errno: the interpreter may have another C library, with
       an errno of its own. */
    PyObject *exc = PyObject_CallFunction(PyExc_OSError, "is", -err,
                                          strerror(-err));
    if (exc != NULL) {
        tc_error_raise(exc);
        Py_DECREF(exc);
    }
}

#else

void
tc_error_set_sock(int code)
{
    errno = code;
    PyErr_SetFromErrno(PyExc_OSError);
}

void
tc_error_set_errno(int err)
{
    tc_error_set_sock(-err);
}

#endif

PyObject *
tc_error_make_errno(int err)
{
    tc_error_set_errno(err);
    return PyErr_GetRaisedException();
}

int
tc_error_chain(PyObject *type, const char *message)
{
    PyObject *cause = PyErr_GetRaisedException();
    PyErr_SetString(type, message);
    if (cause == NULL) {
        return -1;
    }
    PyObject *exc = PyErr_GetRaisedException();
    if (exc == NULL) {
        Py_DECREF(cause);
        return -1;
    }
    PyException_SetContext(exc, Py_NewRef(cause));
    PyException_SetCause(exc, cause);
    PyErr_SetRaisedException(exc);
    return -1;
}

void
tc_error_from_none(void)
{
    PyObject *exc = PyErr_GetRaisedException();
    if (exc != NULL) {
        PyException_SetCause(exc, NULL);
        ((PyBaseExceptionObject *)exc)->suppress_context = 1;
        PyErr_SetRaisedException(exc);
    }
}

PyObject *
tc_error_no_context(void)
{
    PyErr_SetString(PyExc_RuntimeError, "must be called from async context");
    tc_error_from_none();
    return NULL;
}

PyObject *
tc_error_attribute_to_no_context(void)
{
    if (!PyErr_ExceptionMatches(PyExc_AttributeError)) {
        return NULL;
    }
    PyObject *cause = PyErr_GetRaisedException();
    tc_error_no_context();
    PyObject *exc = PyErr_GetRaisedException();
    PyException_SetContext(exc, cause);
    PyErr_SetRaisedException(exc);
    return NULL;
}
