/* nursery_start.h - Nursery.start() and task statuses. */
#ifndef TC_KERNEL_NURSERY_START_H
#define TC_KERNEL_NURSERY_START_H

#include "../glue/function.h"
#include "nursery.h"

/* The implementation behind Nursery.start. */
PyObject *tc_nursery_start_impl(FunctionObject *func, PyObject *op,
                                PyObject *const *args, Py_ssize_t nargs,
                                PyObject *kwnames);

int tc_nursery_start_register(tc_state *st);

#endif
