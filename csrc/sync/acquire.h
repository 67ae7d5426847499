/* acquire.h - what acquire() does, whatever is acquired. */
#ifndef TC_SYNC_ACQUIRE_H
#define TC_SYNC_ACQUIRE_H

#include "../glue/args.h"
#include "../kernel/parking_lot.h"
#include "../kernel/trap.h"

/* Phases of an acquiring awaitable; higher ones are trap.h's. */
enum {
    TC_ACQUIRE_START,
    TC_ACQUIRE_GOT,      /* at the schedule point after having got it */
    TC_ACQUIRE_PARKED,   /* until a release hands it over */
};

/* Take it if that is possible without waiting: 1, 0, or -1. */
typedef int (*tc_acquire_try)(AwaitableObject *self, TaskObject *task);

/* The step function, given that of the primitive and where it keeps its lot.
   abandon is tc_lot_unpark_self. */
tc_step tc_acquire_step(AwaitableObject *self, tc_acquire_try try_now,
                        ParkingLotObject **lot);

/* What every class that can be acquired says of its __aenter__ and
   __aexit__: they are upstream's AsyncContextManagerMixin's. */
#define TC_AENTER_NAME "AsyncContextManagerMixin.__aenter__"
#define TC_AEXIT_NAME "AsyncContextManagerMixin.__aexit__"
#define TC_MIXIN_MODULE "trio_c._sync"

extern const tc_params tc_aexit_params;

/* Are these __aexit__'s arguments, which nobody looks at? 0 or -1. */
static inline int
tc_aexit_check(PyObject *const *args, Py_ssize_t nargs, PyObject *kwnames)
{
    PyObject *given[3];
    if (nargs == 3 && kwnames == NULL) {
        return 0;
    }
    return tc_args_parse(&tc_aexit_params, args, nargs, kwnames, given);
}

#endif
