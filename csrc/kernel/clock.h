/* clock.h - the default clock. */
#ifndef TC_KERNEL_CLOCK_H
#define TC_KERNEL_CLOCK_H

#include "context.h"

/* A new SystemClock, and its distance from the monotonic clock. */
PyObject *tc_clock_new(tc_state *st);
double tc_clock_offset(PyObject *clock);

/* clock.deadline_to_sleep_time(deadline) of the run's clock. -1.0 with
   exception on error; check PyErr_Occurred(). */
double tc_runner_sleep_time(RunnerObject *runner, double deadline);

int tc_clock_register(tc_state *st);

#endif
