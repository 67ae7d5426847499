/* sniffio.c - telling sniffio.current_async_library() that this is Trio. */
#include "sniffio.h"

static PyObject *
sniffio_local(tc_state *st)
{
    PyObject *known = tc_state_peek(&st->sniffio_local);
    if (known == NULL) {
        PyObject *mod = PyImport_ImportModule("sniffio");
        if (mod == NULL) {
            return NULL;
        }
        PyObject *local = PyObject_GetAttrString(mod, "thread_local");
        Py_DECREF(mod);
        known = local == NULL ? NULL
                              : tc_state_publish(&st->sniffio_local, local);
    }
    return known;
}

int
tc_sniffio_enter(tc_state *st, PyObject **previous)
{
    PyObject *local = sniffio_local(st);
    if (local == NULL) {
        return -1;
    }
    *previous = PyObject_GetAttr(local, st->str_name);
    if (*previous == NULL) {
        return -1;
    }
    if (PyObject_SetAttr(local, st->str_name, st->str_trio) < 0) {
        Py_CLEAR(*previous);
        return -1;
    }
    return 0;
}

int
tc_sniffio_leave(tc_state *st, PyObject *previous)
{
    PyObject *saved = PyErr_GetRaisedException();
    int r = PyObject_SetAttr(st->sniffio_local, st->str_name, previous);
    Py_DECREF(previous);
    if (saved != NULL) {
        PyErr_Clear();
        PyErr_SetRaisedException(saved);
    }
    return r;
}

PyObject *
tc_sniffio_dict(tc_state *st)
{
    PyObject *local = sniffio_local(st);
    PyObject *dict
        = local == NULL ? NULL : PyObject_GetAttrString(local, "__dict__");
    if (dict != NULL && !PyDict_Check(dict)) {
        Py_DECREF(dict);
        PyErr_SetString(PyExc_TypeError,
                        "sniffio.thread_local has no dict of its own");
        return NULL;
    }
    return dict;
}
