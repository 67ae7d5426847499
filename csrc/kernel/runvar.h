/* runvar.h - variables with one value per run. */
#ifndef TC_KERNEL_RUNVAR_H
#define TC_KERNEL_RUNVAR_H

#include "../glue/state.h"
#include "context.h"

typedef struct RunVarObject RunVarObject;

/* A variable without default, named `name`. New reference. */
PyObject *tc_runvar_new(tc_state *st, const char *name);
/* Its value in that run: borrowed, NULL without exception if it has none. */
PyObject *tc_runvar_get(PyObject *var, RunnerObject *runner);
/* Steals nothing. 0 or -1. */
int tc_runvar_set(PyObject *var, RunnerObject *runner, PyObject *value);

int tc_runvar_register(tc_state *st);

#endif
