/* Competitive spinning (Karlin, Manasse, McGeoch, Owicki 1990: looking for as
 * long as sleeping costs never takes more than twice the best there is), with
 * exponential back-off.
 */
#include "base/lookout.h"

#include "base/clock.h"

#ifdef _WIN32
#  include <windows.h>
#else
#  include <sched.h>
#endif

static void
lookout_let_others_run(void)
{
#ifdef _WIN32
    SwitchToThread();
#else
    (void)sched_yield();
#endif
}

void
tc_lookout_begin(tc_lookout *self)
{
    if (self->left > 0) {
        self->left--;
        self->until = 0.0;
    }
    else {
        self->until = tc_clock_monotonic() + TC_LOOKOUT_DURATION;
    }
}

static void
lookout_fail(tc_lookout *self)
{
    self->until = 0.0;
    self->omitted = self->omitted >= TC_LOOKOUT_MAX_OMITTED
                        ? TC_LOOKOUT_MAX_OMITTED
                        : (unsigned char)(self->omitted * 2 + 1);
    self->left = self->omitted;
}

bool
tc_lookout_goes_on(tc_lookout *self)
{
    if (self->until == 0.0) {
        return false;
    }
    if (tc_clock_monotonic() >= self->until) {
        lookout_fail(self);
        return false;
    }
    lookout_let_others_run();
    return true;
}

void
tc_lookout_succeed(tc_lookout *self)
{
    if (tc_clock_monotonic() >= self->until) {
        /* Somebody else had this core for so long, or the answer came just
           after the end.  A sleeper would have been given a core. */
        lookout_fail(self);
        return;
    }
    self->until = 0.0;
    self->omitted = 0;
}
