/* args.h - arguments of native callables, worded as Python words errors.
 *
 * One static spec per callable. Parsing a call without keywords that lacks
 * nothing is a bounds check and a copy.
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

/* What both of the following do with calls that are not simple: keywords
   come with their values, nargs are the positional arguments to look at. */
int tc_args_parse_any(const tc_params *params, PyObject *const *args,
                      Py_ssize_t nargs, PyObject *const *kwvalues,
                      PyObject *kwnames, PyObject **out);

static inline int
tc_args_parse_first(const tc_params *params, PyObject *const *args,
                    Py_ssize_t nargs, PyObject *const *kwvalues,
                    PyObject *kwnames, PyObject **out)
{
    if (kwnames != NULL || nargs < params->n_required
        || nargs > params->n_positional || params->required_kwonly != 0) {
        return tc_args_parse_any(params, args, nargs, kwvalues, kwnames,
                                 out);
    }
    for (Py_ssize_t i = 0; params->names[i] != NULL; i++) {
        out[i] = i < nargs ? args[i] : NULL;
    }
    return 0;
}

/* Fills out[i] (borrowed, NULL when absent). 0, or -1 with TypeError. */
static inline int
tc_args_parse(const tc_params *params, PyObject *const *args,
              Py_ssize_t nargs, PyObject *kwnames, PyObject **out)
{
    return tc_args_parse_first(params, args, nargs, args + nargs, kwnames,
                               out);
}

/* The same for callables that take (fn, *args, key=...): the first
   n_positional names are positional-only leading parameters, everything
   after them is the rest. *rest and *n_rest are borrowed. */
static inline int
tc_args_parse_star(const tc_params *params, PyObject *const *args,
                   Py_ssize_t nargs, PyObject *kwnames, PyObject **out,
                   PyObject *const **rest, Py_ssize_t *n_rest)
{
    Py_ssize_t taken
        = nargs < params->n_positional ? nargs : params->n_positional;
    *rest = args + taken;
    *n_rest = nargs - taken;
    return tc_args_parse_first(params, args, taken, args + nargs, kwnames,
                               out);
}

/* For tp_new/tp_init: the same through args tuple and kwargs dict. */
int tc_args_parse_tuple(const tc_params *params, PyObject *args,
                        PyObject *kwargs, PyObject **out);

/* 0 if no argument at all was given, else -1 with TypeError. */
int tc_args_check_none(const char *fname, Py_ssize_t nargs, PyObject *kwnames);

static inline int
tc_args_none(const char *fname, Py_ssize_t nargs, PyObject *kwnames)
{
    return nargs == 0 && kwnames == NULL
               ? 0
               : tc_args_check_none(fname, nargs, kwnames);
}

/* float(obj) as a C double: int, float, __float__, __index__. -1.0 with
   exception; check PyErr_Occurred(). */
double tc_args_double(PyObject *obj);

#endif
