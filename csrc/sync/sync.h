/* sync.h - registration of the synchronisation primitives. */
#ifndef TC_SYNC_SYNC_H
#define TC_SYNC_SYNC_H

#include "../glue/state.h"

int tc_event_register(tc_state *st);
int tc_lock_register(tc_state *st);
int tc_semaphore_register(tc_state *st);
int tc_capacity_limiter_register(tc_state *st);
int tc_condition_register(tc_state *st);   /* after lock */

#endif
