/* Naming threads, per system.  Holds no state. */
#ifndef _GNU_SOURCE
#  define _GNU_SOURCE           /* pthread_setname_np */
#endif

#include "base/thread_name.h"

#include <string.h>

#ifndef _WIN32
#  include <pthread.h>
#endif
#ifdef __OpenBSD__
#  include <pthread_np.h>
#endif

void
tc_thread_name_set(unsigned long ident, const char name[TC_THREAD_NAME_SIZE])
{
#if defined(__linux__) || defined(__FreeBSD__)
    (void)pthread_setname_np((pthread_t)ident, name);
#elif defined(__NetBSD__)
    char text[TC_THREAD_NAME_SIZE];

    /* A printf() format and its argument, which it may write to. */
    memcpy(text, name, sizeof(text));
    (void)pthread_setname_np((pthread_t)ident, "%s", text);
#elif defined(__OpenBSD__)
    pthread_set_name_np((pthread_t)ident, name);
#elif defined(__APPLE__)
    (void)ident;
    (void)pthread_setname_np(name);
#else
    (void)ident;
    (void)name;
#endif
}
