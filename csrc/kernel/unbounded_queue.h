/* unbounded_queue.h - a queue that is emptied in one go. */
#ifndef TC_KERNEL_UNBOUNDED_QUEUE_H
#define TC_KERNEL_UNBOUNDED_QUEUE_H

#include "parking_lot.h"

int tc_unbounded_queue_register(tc_state *st);

#endif
