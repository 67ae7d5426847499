/* _slow_wakeup.c - for LD_PRELOAD: a wake-up, which is one byte, takes half a
   second to send. */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <sys/socket.h>
#include <unistd.h>

ssize_t
send(int fd, const void *buffer, size_t n, int flags)
{
    ssize_t (*real)(int, const void *, size_t, int)
        = (ssize_t (*)(int, const void *, size_t, int))dlsym(RTLD_NEXT,
                                                             "send");
    if (n == 1) {
        usleep(500000);
    }
    return real(fd, buffer, n, flags);
}
