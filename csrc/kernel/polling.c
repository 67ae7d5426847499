/* polling.c - when a busy run asks the kernel for I/O. */
#include "polling.h"
#include "../base/clock.h"

/* How long a busy loop may go without looking for I/O. */
#define POLL_INTERVAL 50e-6
/* After passes that took less than QUICK_PASS each, only every
   CLOCK_STRIDEth reads the clock. */
#define QUICK_PASS 1e-6
#define CLOCK_STRIDE 8
/* Before the next deadline, the time for which the coarse clock will do: more
   than it is ever late. */
#define EARLY 1.0

int
tc_polling_is_early(RunnerObject *runner)
{
    double bound = tc_deadlines_bound(&runner->deadlines);
    return bound - runner->clock_offset > tc_clock_coarse() + EARLY;
}

tc_poll_when
tc_polling_look(RunnerObject *runner)
{
    double now = tc_clock_monotonic();
    int n_passes = runner->clock_stride - runner->unclocked;
    int late = now - runner->last_poll >= POLL_INTERVAL;
    int quick = now - runner->last_look < n_passes * QUICK_PASS;
    /* Whoever asks again before the kernel has been asked is told the same. */
    runner->clock_stride = quick && !late ? CLOCK_STRIDE : 1;
    runner->unclocked = runner->clock_stride - 1;
    runner->last_look = now;
    return late ? TC_POLL_NOW : TC_POLL_LATER_CLOCKED;
}

void
tc_polling_done(RunnerObject *runner)
{
    runner->last_poll = runner->last_look = tc_clock_monotonic();
}
