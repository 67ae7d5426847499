/* runner_new.h - setting a run up. */
#ifndef TC_KERNEL_RUNNER_NEW_H
#define TC_KERNEL_RUNNER_NEW_H

#include "runner.h"

typedef struct tc_run_options {
    PyObject *clock;         /* borrowed; NULL or None: the default one */
    PyObject *instruments;   /* borrowed iterable or NULL */
    int restrict_ki;
    int strict;
} tc_run_options;

/* Everything up to publishing the run in this thread's slots; on failure
   nothing is left behind. */
RunnerObject *tc_runner_new(tc_state *st, const tc_run_options *options);

#endif
