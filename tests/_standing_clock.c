/* Loaded before libc: time that passes in a call of epoll_wait() only.
 *
 * How often a busy run loop looks for I/O depends on the clock, and so does the
 * number of instructions that it takes. Here the clock stands still while
 * anything is computed, and moves on by the whole timeout when nothing happens
 * in it.
 */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <stdatomic.h>
#include <sys/epoll.h>
#include <time.h>

static atomic_llong now = 1000000000000; /* nanoseconds */

int
clock_gettime(clockid_t clock, struct timespec *result)
{
    long long at = atomic_load(&now);
    (void)clock;
    result->tv_sec = at / 1000000000;
    result->tv_nsec = at % 1000000000;
    return 0;
}

int
epoll_wait(int fd, struct epoll_event *events, int most, int timeout)
{
    static int (*real)(int, struct epoll_event *, int, int);
    if (real == NULL) {
        *(void **)&real = dlsym(RTLD_NEXT, "epoll_wait");
    }
    int n = real(fd, events, most, timeout);
    if (n == 0 && timeout > 0) {
        atomic_fetch_add(&now, timeout * 1000000LL);
    }
    return n;
}
