/* errors.h - small helpers around raised exceptions. */
#ifndef TC_GLUE_ERRORS_H
#define TC_GLUE_ERRORS_H

#include "state.h"

/* Raises OSError for a code of tc_sock_error(), as the standard library's
   sockets do: on Windows with a winerror. */
void tc_error_set_sock(int code);

/* Raises OSError for -errno, which is what base/ and poll/ return. On Windows
   a descriptor that is none is a socket that is none. */
void tc_error_set_errno(int err);

/* The same, not raised. New reference; NULL with exception. */
PyObject *tc_error_make_errno(int err);

/* Raises the instance exc (borrowed) the way `raise exc` does: its implicit
   __context__ becomes what the caller is handling. */
static inline void
tc_error_raise(PyObject *exc)
{
    PyErr_SetObject((PyObject *)Py_TYPE(exc), exc);
}

/* Raises exc (stolen) without touching its __context__. */
static inline void
tc_error_reraise(PyObject *exc)
{
    PyErr_SetRaisedException(exc);
}

/* The raised exception becomes the __cause__ (and context) of a new one of
   type `type` with message `message`. Always returns -1. */
int tc_error_chain(PyObject *type, const char *message);

/* Makes the raised exception look like one of `raise ... from None`. */
void tc_error_from_none(void);

/* RuntimeError("must be called from async context") with no context shown.
   Always returns NULL. */
PyObject *tc_error_no_context(void);

/* If the raised exception is an AttributeError, replaces it by the above
   (SEMANTICS.md TRP-9); otherwise leaves it. Always returns NULL. */
PyObject *tc_error_attribute_to_no_context(void);

#endif
