/* runner_view.h - attributes and methods of Runner for introspection and for
 * the cold Python parts (init, guest mode, mock clock). */
#ifndef TC_KERNEL_RUNNER_VIEW_H
#define TC_KERNEL_RUNNER_VIEW_H

#include "runner.h"

extern PyGetSetDef tc_runner_getset[];
extern PyMethodDef tc_runner_methods[];

/* RunStatistics of the run. New reference or NULL. */
PyObject *tc_runner_statistics(RunnerObject *runner);
int tc_runner_view_register(tc_state *st);

#endif
