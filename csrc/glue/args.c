/* args.c - arguments of native callables, worded as Python words errors. */
#include "args.h"

static int
args_count(const tc_params *p)
{
    int n = 0;
    while (p->names[n] != NULL) {
        n++;
    }
    return n;
}

static int
args_too_many(const tc_params *p, Py_ssize_t nargs)
{
    PyErr_Format(PyExc_TypeError,
                 "%s() takes %s%d positional argument%s but %zd %s given",
                 p->fname, p->n_required < p->n_positional ? "at most " : "",
                 p->n_positional, p->n_positional == 1 ? "" : "s", nargs,
                 nargs == 1 ? "was" : "were");
    return -1;
}

/* Index of keyword `key`, or -1 without exception if unknown, or -2. */
static int
args_find(const tc_params *p, PyObject *key)
{
    for (int i = p->n_posonly; p->names[i] != NULL; i++) {
        int cmp = PyUnicode_CompareWithASCIIString(key, p->names[i]);
        if (cmp == 0) {
            return i;
        }
    }
    return -1;
}

static int
args_keyword(const tc_params *p, PyObject *key, PyObject *value,
             PyObject **out)
{
    int i = args_find(p, key);
    if (i < 0) {
        PyErr_Format(PyExc_TypeError,
                     "%s() got an unexpected keyword argument '%U'",
                     p->fname, key);
        return -1;
    }
    if (out[i] != NULL) {
        PyErr_Format(PyExc_TypeError,
                     "%s() got multiple values for argument '%s'", p->fname,
                     p->names[i]);
        return -1;
    }
    out[i] = value;
    return 0;
}

static int
args_check_missing(const tc_params *p, PyObject **out)
{
    for (int i = 0; p->names[i] != NULL; i++) {
        if (out[i] != NULL) {
            continue;
        }
        if (i < p->n_required) {
            PyErr_Format(PyExc_TypeError,
                         "%s() missing 1 required positional argument: '%s'",
                         p->fname, p->names[i]);
            return -1;
        }
        if (p->required_kwonly & (1u << i)) {
            PyErr_Format(
                PyExc_TypeError,
                "%s() missing 1 required keyword-only argument: '%s'",
                p->fname, p->names[i]);
            return -1;
        }
    }
    return 0;
}

int
tc_args_parse_any(const tc_params *p, PyObject *const *args,
                  Py_ssize_t nargs, PyObject *const *kwvalues,
                  PyObject *kwnames, PyObject **out)
{
    if (nargs > p->n_positional) {
        return args_too_many(p, nargs);
    }
    int n = args_count(p);
    for (int i = 0; i < n; i++) {
        out[i] = i < nargs ? args[i] : NULL;
    }
    if (kwnames != NULL) {
        for (Py_ssize_t k = 0; k < PyTuple_GET_SIZE(kwnames); k++) {
            if (args_keyword(p, PyTuple_GET_ITEM(kwnames, k), kwvalues[k],
                             out)
                < 0) {
                return -1;
            }
        }
    }
    return args_check_missing(p, out);
}

int
tc_args_parse_tuple(const tc_params *p, PyObject *args, PyObject *kwargs,
                    PyObject **out)
{
    Py_ssize_t nargs = PyTuple_GET_SIZE(args);
    if (nargs > p->n_positional) {
        return args_too_many(p, nargs);
    }
    int n = args_count(p);
    for (int i = 0; i < n; i++) {
        out[i] = i < nargs ? PyTuple_GET_ITEM(args, i) : NULL;
    }
    if (kwargs != NULL) {
        PyObject *key, *value;
        Py_ssize_t pos = 0;
        while (PyDict_Next(kwargs, &pos, &key, &value)) {
            if (!PyUnicode_Check(key)) {
                PyErr_SetString(PyExc_TypeError, "keywords must be strings");
                return -1;
            }
            if (args_keyword(p, key, value, out) < 0) {
                return -1;
            }
        }
    }
    return args_check_missing(p, out);
}

int
tc_args_check_none(const char *fname, Py_ssize_t nargs, PyObject *kwnames)
{
    if (nargs != 0) {
        PyErr_Format(PyExc_TypeError,
                     "%s() takes no arguments but %zd %s given", fname,
                     nargs, nargs == 1 ? "was" : "were");
        return -1;
    }
    if (kwnames != NULL && PyTuple_GET_SIZE(kwnames) != 0) {
        PyErr_Format(PyExc_TypeError,
                     "%s() got an unexpected keyword argument '%U'", fname,
                     PyTuple_GET_ITEM(kwnames, 0));
        return -1;
    }
    return 0;
}

double
tc_args_double(PyObject *obj)
{
    if (PyFloat_CheckExact(obj)) {
        return PyFloat_AS_DOUBLE(obj);
    }
    if (PyLong_CheckExact(obj)) {
        return PyLong_AsDouble(obj);
    }
    return PyFloat_AsDouble(obj);
}
