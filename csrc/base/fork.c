/* Counting fork()s, so that a child can tell what it shares with its parent
 * from what it has opened itself.
 *
 * The count belongs to the process, not to an interpreter or a run: it is the
 * one piece of state that has to be static, because a fork handler gets no
 * argument and cannot be taken back.  It only ever grows.
 *
 * Where there is no fork() the count stays 0.
 */
#ifndef _GNU_SOURCE
#  define _GNU_SOURCE           /* pthread_atfork */
#endif

#include "fork.h"

#ifdef _WIN32

int
tc_fork_watch(void)
{
    return 0;
}

unsigned
tc_fork_count(void)
{
    return 0;
}

#else

#include <pthread.h>
#include <stdatomic.h>

static atomic_uint fork_count;
static pthread_once_t fork_once = PTHREAD_ONCE_INIT;
static int fork_result;         /* written once, under fork_once */

static void
fork_in_child(void)
{
    atomic_fetch_add_explicit(&fork_count, 1, memory_order_relaxed);
}

static void
fork_install(void)
{
    fork_result = -pthread_atfork(NULL, NULL, fork_in_child);
}

int
tc_fork_watch(void)
{
    int err = -pthread_once(&fork_once, fork_install);

    return err < 0 ? err : fork_result;
}

unsigned
tc_fork_count(void)
{
    return atomic_load_explicit(&fork_count, memory_order_relaxed);
}

#endif
