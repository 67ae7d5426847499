/* AFD polls: asking Windows' socket driver for readiness.  Private to
 * iocp.c, whose lock guards all of it.
 *
 * An operation is in flight from a successful submit until its completion
 * has come out of the port, cancelled or not; so long its memory stays.
 */
#ifndef TC_POLL_AFD_H
#define TC_POLL_AFD_H

#include "poll/poll.h"

#if TC_POLL_HAVE_IOCP

#ifndef WIN32_LEAN_AND_MEAN
#  define WIN32_LEAN_AND_MEAN
#endif
#include <winsock2.h>
#include <windows.h>

/* One opened handle of the driver, through which operations go. */
typedef struct tc_afd_device {
    struct tc_afd_device *next; /* owned */
    HANDLE handle;              /* owned */
    int in_flight;
} tc_afd_device;

typedef struct tc_afd {
    HANDLE port;                /* borrowed */
    ULONG_PTR key;              /* of the completions */
    tc_afd_device *devices;     /* owned; the one used last comes first */
    size_t in_flight;
} tc_afd;

/* The driver's argument, which it overwrites with the outcome. */
typedef struct tc_afd_request {
    LARGE_INTEGER timeout;      /* in 100 ns; INT64_MAX: none */
    ULONG count;                /* of sockets; of those ready */
    ULONG exclusive;
    HANDLE socket;
    ULONG events;               /* wanted; found */
    LONG status;
} tc_afd_request;

typedef struct tc_afd_op {
    OVERLAPPED overlapped;      /* first: it is how completions name it */
    tc_afd_request request;
    tc_afd_device *device;      /* borrowed; it stays while in flight */
} tc_afd_op;

/* Opens a first device, so that a system without them is noticed here.  0 or
 * -errno. */
int tc_afd_open(tc_afd *afd, HANDLE port, ULONG_PTR key);

/* When nothing is in flight any more. */
void tc_afd_close(tc_afd *afd);

/* Cancel what is in flight. */
void tc_afd_cancel_all(tc_afd *afd);

/* Poll the socket for an interest (READ, WRITE), HUP and ERR.  0: it is in
 * flight.  -errno: it is not; -EBADF for what is not a socket. */
int tc_afd_submit(tc_afd *afd, tc_afd_op *op, int fd, uint32_t interest);

/* Make it complete soon, with an outcome or without. */
void tc_afd_cancel(tc_afd_op *op);

/* Its completion has come.  The readiness found; ERR if the poll failed; 0
 * if it was cancelled before there was any. */
uint32_t tc_afd_finish(tc_afd *afd, tc_afd_op *op);

/* A Windows or Winsock error code as -errno; 0 as 0. */
int tc_afd_error(DWORD code);

#endif

#endif /* TC_POLL_AFD_H */
