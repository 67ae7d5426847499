/* function.h - the native callable behind every public function and method.
 *
 * It behaves like a Python function to anyone who looks: names, __code__,
 * __defaults__, __annotations__, __doc__ come from its twin, the function of
 * the same qualified name in trio_c/_signatures.py, loaded when first asked
 * for. Calls never touch the twin.
 */
#ifndef TC_GLUE_FUNCTION_H
#define TC_GLUE_FUNCTION_H

#include "state.h"

typedef struct FunctionObject FunctionObject;

/* self is NULL for module functions, else already type-checked; args are
   without self. Borrowed all. New reference or NULL with exception. */
typedef PyObject *(*tc_impl)(FunctionObject *func, PyObject *self,
                             PyObject *const *args, Py_ssize_t nargs,
                             PyObject *kwnames);

typedef struct tc_function_def {
    const char *qualname;    /* "sleep", "Event.wait" */
    const char *module;      /* "trio_c", "trio_c.lowlevel", ... */
    tc_impl impl;
    int is_anywhere;         /* any thread may call it, whatever self's home */
} tc_function_def;

struct FunctionObject {
    PyObject_HEAD
    vectorcallfunc vectorcall;
    tc_state *st;                /* borrowed */
    const tc_function_def *def;  /* static */
    PyTypeObject *owner;         /* owned; NULL for module functions */
    PyObject *overrides;         /* owned or NULL: assigned dunder values */
    PyObject *dict;              /* owned or NULL */
    PyObject *weakrefs;
    uint8_t is_special;          /* looked up in order to be called, as by
                                    `with` */
    uint8_t is_homed;            /* self has a home (home.h) to be asked for */
};

/* Adds the functions (table ends with qualname NULL) to the module... */
int tc_function_add_to_module(tc_state *st, const tc_function_def *defs);
/* ...or to type, as methods, under the last part of each qualname. Must be
   called before the type is used. */
int tc_function_add_to_type(tc_state *st, PyTypeObject *type,
                            const tc_function_def *defs);

/* The Python function of that qualified name in trio_c._signatures. New
   reference or NULL with exception. */
PyObject *tc_function_twin(tc_state *st, const char *qualname);

int tc_function_register(tc_state *st);

#endif
