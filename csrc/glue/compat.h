/* compat.h - the only file that looks at PY_VERSION_HEX.
 *
 * Everything newer than the oldest supported CPython (3.11) is given here
 * under its modern name, so that the rest of the tree reads as if written
 * for the newest one.
 */
#ifndef TC_GLUE_COMPAT_H
#define TC_GLUE_COMPAT_H

#define PY_SSIZE_T_CLEAN
#include <Python.h>
#include <structmember.h>
#include <frameobject.h>

#if PY_VERSION_HEX < 0x030B0000
#error "trio_c needs CPython 3.11 or later"
#endif

/* No GIL: several threads run Python at a time. */
#ifdef Py_GIL_DISABLED
#define TC_FREE_THREADED 1
#else
#define TC_FREE_THREADED 0
#endif

/* A variable that several threads change; with a GIL they take turns. */
#if TC_FREE_THREADED
#define TC_SHARED(type) _Atomic(type)
#else
#define TC_SHARED(type) type
#endif

#if PY_VERSION_HEX < 0x030C0000

/* New reference to the raised exception, normalised, its traceback set; the
   error indicator is clear afterwards. NULL if none was raised. */
static inline PyObject *
PyErr_GetRaisedException(void)
{
    PyObject *type, *value, *tb;
    PyErr_Fetch(&type, &value, &tb);
    if (type == NULL) {
        return NULL;
    }
    PyErr_NormalizeException(&type, &value, &tb);
    if (tb != NULL) {
        PyException_SetTraceback(value, tb);
    }
    Py_XDECREF(tb);
    Py_DECREF(type);
    return value;
}

/* Steals exc (NULL: none is raised); does not touch its context. */
static inline void
PyErr_SetRaisedException(PyObject *exc)
{
    if (exc == NULL) {
        PyErr_Clear();
        return;
    }
    PyErr_Restore(Py_NewRef((PyObject *)Py_TYPE(exc)), exc,
                  PyException_GetTraceback(exc));
}

#endif

#if PY_VERSION_HEX < 0x030D0000

/* 1 and a new reference, 0 and NULL, or -1 with exception. */
static inline int
PyDict_GetItemRef(PyObject *dict, PyObject *key, PyObject **value)
{
    *value = Py_XNewRef(PyDict_GetItemWithError(dict, key));
    return *value != NULL ? 1 : PyErr_Occurred() ? -1 : 0;
}

static inline int
PyDict_GetItemStringRef(PyObject *dict, const char *key, PyObject **value)
{
    *value = Py_XNewRef(PyDict_GetItemString(dict, key));
    return *value != NULL;
}

#endif

/* Functions grew a lazily evaluated __annotate__. */
#define TC_HAVE_ANNOTATE (PY_VERSION_HEX >= 0x030E0000)

/* Functions can be generic: def f[T](). */
#define TC_HAVE_TYPE_PARAMS (PY_VERSION_HEX >= 0x030C0000)

/* `with` and `async with` bind the methods that they are about to call, and it
   is worth keeping the bound ones (glue/method.h). */
#define TC_WITH_BINDS (PY_VERSION_HEX < 0x030E0000 && !TC_FREE_THREADED)

/* copy.replace(). */
#define TC_HAVE_REPLACE (PY_VERSION_HEX >= 0x030D0000)

/* Module slots, where the version has them. Each interpreter may have a GIL of
   its own. Free-threaded builds do without any (home.h) when they are told to,
   with PYTHON_GIL=0; it is not declared until more has been tested. */
#if PY_VERSION_HEX >= 0x030C0000
#define TC_SLOT_INTERPRETERS                                                \
    {Py_mod_multiple_interpreters, Py_MOD_PER_INTERPRETER_GIL_SUPPORTED},
#else
#define TC_SLOT_INTERPRETERS
#endif
#if PY_VERSION_HEX >= 0x030D0000
#define TC_SLOT_GIL {Py_mod_gil, Py_MOD_GIL_USED},
#else
#define TC_SLOT_GIL
#endif

/* The interpreter's own coroutine bookkeeping (warnings._warn_unawaited...)
   reads this per-thread depth; public struct member on all versions. */
#define TC_ORIGIN_DEPTH(tstate) ((tstate)->coroutine_origin_tracking_depth)

/* A kept object, its count 1, begins anew. Who notes down where objects are
   made, as tracemalloc does for the warning of coroutines that were never
   awaited, hears of it. In a debug build of CPython, the sum of all counts has
   that 1 in it. */
static inline void
tc_renew(PyObject *op)
{
#ifndef Py_REF_DEBUG
    _Py_NewReference(op);
#elif PY_VERSION_HEX >= 0x030C0000
    _Py_NewReferenceNoTotal(op);
#else
    _Py_RefTotal--;
    _Py_NewReference(op);
#endif
}

/* A frame for introspection only; it is never run. New reference. */
static inline PyFrameObject *
tc_frame_new(PyThreadState *tstate, PyCodeObject *code, PyObject *globals)
{
    return PyFrame_New(tstate, code, globals, NULL);
}

#endif
