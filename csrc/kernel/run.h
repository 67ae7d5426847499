/* run.h - run() and the functions that look at the current run. */
#ifndef TC_KERNEL_RUN_H
#define TC_KERNEL_RUN_H

#include "runner_new.h"

/* The checks that all kinds of run begin with; `what` for the deprecation
   warning. Options are borrowed or NULL. 0 or -1. */
int tc_run_parse_options(tc_state *st, const char *what, PyObject *clock,
                         PyObject *instruments, PyObject *restrict_ki,
                         PyObject *strict, tc_run_options *options);

int tc_run_register(tc_state *st);

#endif
