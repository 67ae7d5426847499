/* threads.h - to_thread.run_sync(). */
#ifndef TC_KERNEL_THREADS_H
#define TC_KERNEL_THREADS_H

#include "../glue/state.h"

int tc_threads_register(tc_state *st);

#endif
