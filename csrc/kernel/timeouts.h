/* timeouts.h - sleeping, and scopes with a time limit. */
#ifndef TC_KERNEL_TIMEOUTS_H
#define TC_KERNEL_TIMEOUTS_H

#include "../glue/state.h"

int tc_timeouts_register(tc_state *st);

#endif
