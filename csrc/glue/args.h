/* args.h - arguments of native callables, worded as Python words errors.
 *
 * One static spec per callable. Parsing a call without keywords and with
 * all positional parameters given is a bounds check and a copy.
 */
#ifndef TC_GLUE_ARGS_H
#define TC_GLUE_ARGS_H

#include "compat.h"

#define TC_MAX_PARAMS 8

typedef struct tc_params {
    const char *fname;       /* as in error messages: "sleep()" says "sleep" */
    const char *names[TC_MAX_PARAMS + 1];  /* NULL-terminated */
    int n_positional;        /* the rest is keyword-only */
    int n_required;          /* of the positional ones */
    int n_posonly;           /* of those, without a usable name */
    unsigned required_kwonly; /* bit i set: names[i] must be given */
} tc_params;

/* Fills out[i] (borrowed, NULL when absent). 0, or -1 with TypeError. */
int tc_args_parse(const tc_params *params, PyObject *const *args,
                  Py_ssize_t nargs, PyObject *kwnames, PyObject **out);

/* The same for callables that take (fn, *args, key=...): the first
   n_positional names are positional-only leading parameters, everything
   after them is the rest. *rest and *n_rest are borrowed. */
int tc_args_parse_star(const tc_params *params, PyObject *const *args,
                       Py_ssize_t nargs, PyObject *kwnames, PyObject **out,
                       PyObject *const **rest, Py_ssize_t *n_rest);

/* For tp_new/tp_init: the same through args tuple and kwargs dict. */
int tc_args_parse_tuple(const tc_params *params, PyObject *args,
                        PyObject *kwargs, PyObject **out);

/* 0 if no argument at all was given, else -1 with TypeError. */
int tc_args_none(const char *fname, Py_ssize_t nargs, PyObject *kwnames);

/* float(obj) as a C double: int, float, __float__, __index__. -1.0 with
   exception; check PyErr_Occurred(). */
double tc_args_double(PyObject *obj);

#endif
