/* A kqueue for Linux, for tests: so that the kqueue backend can be run where
 * there is no BSD.  Put the folder on the include path, and kqueue.c into the
 * program.  README.md says what it does and how that differs from the systems.
 *
 * Thread safe.  Constants have the values of FreeBSD.
 */
#ifndef TC_TESTS_KQUEUE_SYS_EVENT_H
#define TC_TESTS_KQUEUE_SYS_EVENT_H

#include <stdint.h>
#include <time.h>

struct kevent {
    uintptr_t ident;
    short filter;
    unsigned short flags;
    unsigned int fflags;
    int64_t data;
    void *udata;
};

#define EV_SET(event, ident_, filter_, flags_, fflags_, data_, udata_) \
    (*(event) = (struct kevent){(uintptr_t)(ident_), (short)(filter_), \
                                (unsigned short)(flags_), \
                                (unsigned int)(fflags_), (int64_t)(data_), \
                                (udata_)})

#define EVFILT_READ (-1)
#define EVFILT_WRITE (-2)
#define EVFILT_AIO (-3)         /* not here */
#define EVFILT_VNODE (-4)       /* not here */
#define EVFILT_PROC (-5)        /* NOTE_EXIT only */
#define EVFILT_SIGNAL (-6)      /* not here */
#define EVFILT_TIMER (-7)
#define EVFILT_USER (-11)

#define EV_ADD 0x0001
#define EV_DELETE 0x0002
#define EV_ENABLE 0x0004
#define EV_DISABLE 0x0008
#define EV_ONESHOT 0x0010
#define EV_CLEAR 0x0020
#define EV_RECEIPT 0x0040
#define EV_DISPATCH 0x0080
#define EV_ERROR 0x4000
#define EV_EOF 0x8000

/* EVFILT_USER */
#define NOTE_TRIGGER 0x01000000u
/* EVFILT_PROC */
#define NOTE_EXIT 0x80000000u
#define NOTE_FORK 0x40000000u   /* not here */
#define NOTE_EXEC 0x20000000u   /* not here */
/* EVFILT_TIMER; milliseconds if none is given */
#define NOTE_SECONDS 0x00000001u
#define NOTE_MSECONDS 0x00000002u
#define NOTE_USECONDS 0x00000004u
#define NOTE_NSECONDS 0x00000008u

/* Python's tests call them from outside. */
#pragma GCC visibility push(default)
int kqueue(void);
int kqueue1(int flags);         /* O_CLOEXEC or 0 */
int kevent(int kq, const struct kevent *changes, int nchanges,
           struct kevent *events, int nevents,
           const struct timespec *timeout);
#pragma GCC visibility pop

/* The errno of changing what a closed descriptor had, in kqueues made from
 * now on: EBADF (the default) or ENOENT; both are found in the wild.  With the
 * latter, a pipe that nobody reads is refused with EBADF instead of EPIPE.
 * Also TC_KQUEUE_CLOSED=ENOENT in the environment. */
void tc_kqueue_closed_errno(int number);

#endif /* TC_TESTS_KQUEUE_SYS_EVENT_H */
