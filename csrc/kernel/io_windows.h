/* io_windows.h - what a run's I/O is besides readiness where the poller is a
 * completion port: overlapped operations, and packets for keys that somebody
 * monitors. Private to io_windows.c and io_overlapped.c.
 */
#ifndef TC_KERNEL_IO_WINDOWS_H
#define TC_KERNEL_IO_WINDOWS_H

#include "io_extra.h"

#if TC_POLL_HAVE_IOCP

#  include "../poll/iocp.h"
#  include "overlapped.h"

/* Of the port's keys, those from the last one on are for monitors. */
enum {
    TC_IO_KEY_OVERLAPPED = 1,
    TC_IO_KEY_LATE_CANCEL,
    TC_IO_KEY_FIRST_MONITOR,
};

/* A run's io->extra. */
typedef struct tc_io_windows {
    tc_overlapped_table operations;
    Py_ssize_t n_waiting;    /* tasks that sleep in one of them */
    uint32_t last_mark;      /* given to a cancellation that came too late */
    PyObject *monitors;      /* owned dict: key -> UnboundedQueue */
    uintptr_t next_key;      /* for the next monitor */
} tc_io_windows;

/* It, made if need be. NULL with exception, also once the run is over. */
tc_io_windows *tc_io_windows_need(tc_io *io);
/* The pointer or handle that an int or a pointer of cffi is. 0, or -1 with
   TypeError. Can run Python. */
int tc_io_windows_pointer(PyObject *obj, void **pointer);
/* OSError for a Windows error code. Always returns NULL. */
PyObject *tc_io_windows_error(uint32_t code);
/* What becomes of a packet, for Python. `overlapped` is stolen; NULL: error
   is set. New reference or NULL. */
PyObject *tc_io_windows_info(tc_state *st, PyObject *overlapped,
                             uint32_t n_bytes);

/* In io_overlapped.c: the packet of an operation, or that of a cancellation
   that came too late. 0 or -1. */
int tc_io_overlapped_completed(tc_io *io, const tc_iocp_completion *packet);
int tc_io_overlapped_late_cancel(tc_io *io, const tc_iocp_completion *packet);
int tc_io_overlapped_register(tc_state *st);

#endif

#endif
