/* polling.h - when a busy run asks the kernel for I/O.
 *
 * A pass that leaves tasks ready need not ask if the last answer is recent
 * (docs/polling.md). Reading the clock to know that costs as much as a short
 * pass; so after quick passes only every few of them read it, if no deadline
 * is near.
 */
#ifndef TC_KERNEL_POLLING_H
#define TC_KERNEL_POLLING_H

#include "entry_queue.h"
#include "gil.h"
#include "runner.h"

typedef enum {
    TC_POLL_NOW,             /* ask the kernel in this pass */
    TC_POLL_LATER,           /* no need, and no deadline is due */
    TC_POLL_LATER_CLOCKED,   /* no need, and runner->last_look is now */
} tc_poll_when;

/* Is the next deadline so far away that a coarse clock can tell? */
int tc_polling_is_early(RunnerObject *runner);
/* When, by the clock alone. */
tc_poll_when tc_polling_look(RunnerObject *runner);
/* The kernel has just been asked. */
void tc_polling_done(RunnerObject *runner);

/* For a pass with tasks ready. */
static inline tc_poll_when
tc_polling_when(RunnerObject *runner)
{
    if (!runner->native_clock || runner->is_guest
        || runner->st->deterministic
        || tc_instruments_any(runner->instruments)
        || !tc_list_is_empty(&runner->idle_waiters)
        || tc_entry_queue_is_flagged(runner->entry_queue)) {
        return TC_POLL_NOW;
    }
    if (runner->unclocked > 0
        && (tc_deadlines_is_empty(&runner->deadlines)
            || tc_polling_is_early(runner))) {
        runner->unclocked--;
        return TC_POLL_LATER;
    }
    return tc_polling_look(runner);
}

/* With tasks ready: would a whole pass come to nothing but running them? */
static inline int
tc_polling_only_tasks(RunnerObject *runner)
{
    if (runner->wrecked || tc_gil_is_wanted(runner->st)) {
        return 0;
    }
    tc_poll_when when = tc_polling_when(runner);
    return when == TC_POLL_LATER
           || (when == TC_POLL_LATER_CLOCKED
               && tc_deadlines_is_empty(&runner->deadlines));
}

#endif
