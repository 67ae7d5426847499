/* types.h - small things that many type specs share. */
#ifndef TC_GLUE_TYPES_H
#define TC_GLUE_TYPES_H

#include "state.h"

/* __init_subclass__ of final classes: TypeError naming the new class. Put
   TC_FINAL_METHOD into the PyMethodDef table; tc_type_mark_final() sets
   __final__, and __signature__, which comes from the class's twin. */
PyObject *tc_type_refuse_subclass(PyObject *cls, PyObject *args,
                                  PyObject *kwargs);
#define TC_FINAL_METHOD                                                     \
    {"__init_subclass__",                                                   \
     (PyCFunction)(void (*)(void))tc_type_refuse_subclass,                  \
     METH_VARARGS | METH_KEYWORDS | METH_CLASS, NULL}
/* cls[...] returns cls, for classes that are generic in type hints only. */
#define TC_GENERIC_METHOD                                                   \
    {"__class_getitem__", Py_GenericAlias, METH_O | METH_CLASS, NULL}
int tc_type_mark_final(tc_state *st, PyTypeObject *type);
/* __reduce__, for what can be copied and pickled while nobody uses it: see
   trio_c/_core/_copying.py. */
PyObject *tc_type_reduce(PyObject *self, PyObject *ignored);
#define TC_COPY_METHOD {"__reduce__", tc_type_reduce, METH_NOARGS, NULL}

/* tp_new of classes without public constructor: TypeError
   "<module>.<name> has no public constructor". */
PyObject *tc_type_no_constructor(PyTypeObject *type, PyObject *args,
                                 PyObject *kwargs);

/* id(op) as hex() writes it, which %p does not on Windows. To be used up in
   the expression that asks for it: tc_hex_id(op).text */
typedef struct tc_hex {
    char text[2 + 2 * sizeof(void *) + 1];
} tc_hex;
tc_hex tc_hex_id(const void *op);

/* Statistics value objects: immutable, equal and hashable by value, with an
   attrs-like repr and attrs' own introspection. `fields` is a NULL-terminated
   list of at most TC_STATISTICS_MAX static names. Creates the class; new
   reference. */
#define TC_STATISTICS_MAX 8
PyTypeObject *tc_statistics_new_type(tc_state *st, const char *name,
                                     const char *module, const char *doc,
                                     const char *const *fields);
/* The same, stored in *slot and added to the module under `name`. 0 or -1. */
int tc_statistics_add_type(tc_state *st, PyTypeObject **slot,
                           const char *name, const char *module,
                           const char *doc, const char *const *fields);
/* One instance; `values` has one item per field. Steals each of the values
   (any NULL: error is set). */
PyObject *tc_statistics_new(PyTypeObject *type, PyObject **values);

/* Before the first of the above. */
int tc_types_register(tc_state *st);

#endif
