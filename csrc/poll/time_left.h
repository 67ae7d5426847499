/* What is left of a timeout, for a wait that may have to begin anew: because
 * it ended early, or for something that meant nothing. */
#ifndef TC_POLL_TIME_LEFT_H
#define TC_POLL_TIME_LEFT_H

#include "base/clock.h"
#include "poll/poll.h"

typedef struct tc_time_left {
    int64_t ns;                 /* as poll.h's timeouts: negative has no end */
    double end;                 /* by the monotonic clock, if ns is above 0 */
} tc_time_left;

static inline void
tc_time_left_start(tc_time_left *self, int64_t timeout_ns)
{
    self->ns = timeout_ns < TC_POLL_TIMEOUT_MAX ? timeout_ns
                                                : TC_POLL_TIMEOUT_MAX;
    self->end = self->ns > 0 ? tc_clock_monotonic() + (double)self->ns * 1e-9
                             : 0.0;
}

/* Once it is 0, it stays so. */
static inline void
tc_time_left_update(tc_time_left *self)
{
    if (self->ns > 0) {
        self->ns = tc_poll_timeout_ns(self->end - tc_clock_monotonic());
    }
}

#endif /* TC_POLL_TIME_LEFT_H */
