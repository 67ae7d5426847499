/* Naming threads, per system.  Holds no state. */
#ifndef _GNU_SOURCE
#  define _GNU_SOURCE           /* pthread_setname_np */
#endif

#include "base/thread_name.h"

#if defined(__linux__) || defined(__APPLE__)
#  include <pthread.h>
#endif

void
tc_thread_name_set(unsigned long ident, const char name[TC_THREAD_NAME_SIZE])
{
#if defined(__linux__)
    (void)pthread_setname_np((pthread_t)ident, name);
#elif defined(__APPLE__)
    (void)ident;
    (void)pthread_setname_np(name);
#else
    (void)ident;
    (void)name;
#endif
}
