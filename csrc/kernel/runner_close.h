/* runner_close.h - taking a run down. */
#ifndef TC_KERNEL_RUNNER_CLOSE_H
#define TC_KERNEL_RUNNER_CLOSE_H

#include "runner.h"

/* Idempotent; keeps a raised exception, else -1 if something raised. */
int tc_runner_close(RunnerObject *runner);

#endif
