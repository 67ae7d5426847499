/* step.h - resuming one task, and what becomes of it. */
#ifndef TC_KERNEL_STEP_H
#define TC_KERNEL_STEP_H

#include "runner.h"

/* Run `task` (borrowed, taken off the queue) to its next trap or its end. 0,
   or -1 with an exception that crashes the run. slots: this thread's; the
   task stays in them unless it has ended. */
int tc_step_task(RunnerObject *runner, TaskObject *task, tc_slots *slots);

#endif
