/* acquire.c - what acquire() does, whatever is acquired.
 *
 * A cancellation comes first; then it either succeeds at once, and lets
 * others run without being cancellable any more, or it queues up, and then
 * whoever releases hands over to whom it wakes.
 */
#include "acquire.h"

const tc_params tc_aexit_params = {
    .fname = TC_AEXIT_NAME,
    .names = {"exc_type", "exc_value", "traceback"},
    .n_positional = 3,
    .n_required = 3,
};

static tc_step
acquire_start(AwaitableObject *self, tc_acquire_try try_now,
              ParkingLotObject **slot)
{
    TaskObject *task = tc_trap_task(self);
    if (task == NULL) {
        return TC_ERROR;
    }
    tc_step step = tc_trap_cancel_point(self, task);
    if (step != TC_DONE) {
        return step;
    }
    int got = try_now(self, task);
    if (got < 0) {
        return TC_ERROR;
    }
    if (got) {
        self->phase = TC_ACQUIRE_GOT;
        return tc_trap_checkpoint(self, task);
    }
    ParkingLotObject *lot = tc_lot_need(self->st, slot);
    if (lot == NULL || tc_lot_park(lot, self, task) < 0) {
        return TC_ERROR;
    }
    self->phase = TC_ACQUIRE_PARKED;
    return tc_trap_wait(self, task);
}

tc_step
tc_acquire_step(AwaitableObject *self, tc_acquire_try try_now,
                ParkingLotObject **lot)
{
    switch (self->phase) {
    case TC_ACQUIRE_START:
        return acquire_start(self, try_now, lot);
    case TC_ACQUIRE_GOT:
    case TC_ACQUIRE_PARKED:
        return tc_trap_resume(self, NULL) < 0 ? TC_ERROR : TC_DONE;
    default:
        return tc_trap_cancelled_step(self);
    }
}
