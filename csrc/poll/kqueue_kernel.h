/* What the kqueue backend asks of the kernel: private to kqueue.c.
 *
 * The queue itself and waking; and the parts of a descriptor's registration,
 * each of which is one registration of the kernel's.
 */
#ifndef TC_POLL_KQUEUE_KERNEL_H
#define TC_POLL_KQUEUE_KERNEL_H

#include "poll/poll.h"

#if TC_POLL_HAVE_KQUEUE

#include "poll/wake.h"

#include <stdatomic.h>
#include <sys/types.h>
#include <sys/event.h>

/* Waking by an event instead of a pipe: not on NetBSD before 10, nor on all
 * of OpenBSD.  The build may choose. */
#ifndef TC_KQUEUE_USER
#  ifdef EVFILT_USER
#    define TC_KQUEUE_USER 1
#  else
#    define TC_KQUEUE_USER 0
#  endif
#endif

typedef struct tc_kq {
    int fd;                     /* owned, unless `given` */
    bool given;
    pid_t pid;                  /* of the process that fd belongs to */
#if TC_KQUEUE_USER
    atomic_int wake_pending;    /* as in tc_wake */
#else
    tc_wake wake;
#endif
} tc_kq;

/* Parts of a registration: TC_POLL_READ, TC_POLL_WRITE, and in the place of
 * WRITE, where there is nobody to write to, something that reports at once
 * (without EVFILT_USER, after a millisecond). */
#define TC_KQ_BROKEN 0x80u

/* Our udata: a mark, so that events of others are known, and a serial number.
 * No pointer looks so where there is room for more than pointers. */
#define TC_KQ_SERIAL_BITS (sizeof(uintptr_t) > 4 ? 48 : 24)
#define TC_KQ_SERIAL_MASK (((uintptr_t)1 << TC_KQ_SERIAL_BITS) - 1)
#define TC_KQ_MARK (~TC_KQ_SERIAL_MASK & (UINTPTR_MAX / 0xff * 0x7c))

/* Its address must stay. */
int tc_kq_open(tc_kq *self);
void tc_kq_close(tc_kq *self);

/* Register one direction of fd, which has none of its parts.  The part that
 * the kernel now has, or -errno. */
int tc_kq_add(const tc_kq *self, int fd, uint32_t direction, bool edge,
              uintptr_t udata);

/* Drop these parts; they may be gone already. */
void tc_kq_delete(const tc_kq *self, int fd, uint32_t parts);

/* Which part of whose registration an event is about: the descriptor, or -1
 * if it is none of ours. */
int tc_kq_event_fd(const tc_kq *self, const struct kevent *event,
                   uint32_t *part);

/* As in wake.h. */
void tc_kq_wake(tc_kq *self);
bool tc_kq_is_wake(const tc_kq *self, const struct kevent *event);
bool tc_kq_wake_drain(tc_kq *self);

#endif

#endif /* TC_POLL_KQUEUE_KERNEL_H */
