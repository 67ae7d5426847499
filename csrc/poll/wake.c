/* The wake-up pipe (POSIX).
 *
 * A byte WAKE_REPORT stands for tc_wake_signal(), WAKE_NUDGE for the other.
 * There are never more than a few in the pipe, so it cannot be full.
 *
 * Invariant: while `pending` is 1, a WAKE_REPORT is in the pipe, or its writer
 * is on the way to write it, or a drain that has read it has yet to clear the
 * flag.  So a waker that finds 1 may leave: the report is coming.
 * The drain reads first and clears afterwards.  The other order could swallow
 * the byte of a waker that came in between and leave the flag set over an
 * empty pipe, which no wake would ever get past.  Both sides touch the flag
 * with acquire-release exchanges, so what a waker wrote before is visible to
 * the thread that reports, also if the waker left without writing a byte.
 */
#ifndef _GNU_SOURCE
#  define _GNU_SOURCE           /* pipe2 */
#endif

#include "poll/wake.h"

#include "poll/poll.h"

#if TC_POLL_HAVE_EPOLL || TC_POLL_HAVE_POLL || TC_POLL_HAVE_KQUEUE

#include <errno.h>
#include <fcntl.h>
#include <stddef.h>
#include <unistd.h>

#define WAKE_NUDGE 0
#define WAKE_REPORT 1

#ifdef __APPLE__
/* No pipe2: a fork in another thread can inherit the pair. */
static int
wake_pipe(int fds[2])
{
    if (pipe(fds) < 0) {
        return -errno;
    }
    for (int i = 0; i < 2; i++) {
        if (fcntl(fds[i], F_SETFD, FD_CLOEXEC) < 0
            || fcntl(fds[i], F_SETFL, O_NONBLOCK) < 0) {
            int err = errno;

            close(fds[0]);
            close(fds[1]);
            return -err;
        }
    }
    return 0;
}
#else
static int
wake_pipe(int fds[2])
{
    return pipe2(fds, O_CLOEXEC | O_NONBLOCK) < 0 ? -errno : 0;
}
#endif

int
tc_wake_open(tc_wake *wake)
{
    int fds[2];
    int err = wake_pipe(fds);

    if (err < 0) {
        return err;
    }
    wake->read_fd = fds[0];
    wake->write_fd = fds[1];
    atomic_init(&wake->pending, 0);
    return 0;
}

void
tc_wake_close(tc_wake *wake)
{
    close(wake->read_fd);
    close(wake->write_fd);
}

static void
wake_write(tc_wake *wake, char byte)
{
    int saved = errno;
    ssize_t n;

    do {
        n = write(wake->write_fd, &byte, 1);
    } while (n < 0 && errno == EINTR);
    errno = saved;
}

void
tc_wake_signal(tc_wake *wake)
{
    if (atomic_exchange_explicit(&wake->pending, 1,
                                 memory_order_acq_rel) == 0) {
        wake_write(wake, WAKE_REPORT);
    }
}

void
tc_wake_nudge(tc_wake *wake)
{
    wake_write(wake, WAKE_NUDGE);
}

bool
tc_wake_drain(tc_wake *wake)
{
    char bytes[16];             /* what one read leaves, the next will find */
    bool asked = false;
    ssize_t n;

    do {
        n = read(wake->read_fd, bytes, sizeof(bytes));
    } while (n < 0 && errno == EINTR);
    for (ssize_t i = 0; i < n; i++) {
        asked |= bytes[i] == WAKE_REPORT;
    }
    if (asked) {
        (void)atomic_exchange_explicit(&wake->pending, 0,
                                       memory_order_acq_rel);
    }
    return asked;
}

#endif
