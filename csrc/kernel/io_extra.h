/* io_extra.h - what a run's I/O is besides readiness of descriptors, which
 * each backend has in a shape of its own; private to kernel/io*.c.
 *
 * A build has one tc_io_extra, that of its best backend: io_kqueue.c,
 * io_windows.c, or io_epoll.c for epoll and poll, which have nothing besides.
 * It stays in charge when a run is told to use another backend (TRIO_C_POLL);
 * then nothing of what it offers works, and it says so.
 */
#ifndef TC_KERNEL_IO_EXTRA_H
#define TC_KERNEL_IO_EXTRA_H

#include "io_table.h"

/* Constant, so that builds without extras pay nothing for asking. */
#define TC_IO_HAVE_EXTRA (TC_POLL_HAVE_KQUEUE || TC_POLL_HAVE_IOCP)

typedef struct tc_io_extra_def {
    /* The Python view of a run's I/O, and the class of its statistics, in the
       same module: fields as tc_statistics_add_type wants them. */
    const char *module;
    const char *manager;
    const char *statistics;
    const char *const *fields;
    /* One value for each field: new references, or NULL with exception. */
    void (*count)(tc_io *io, PyObject **values);
    /* Of the BusyResourceError for a second waiter. */
    const char *busy_text;

    /* The rest exists with TC_IO_HAVE_EXTRA only. */

    /* For the module: what Python's half is made from; and what there is
       besides, which may be NULL. 0, or -1 with exception. */
    PyMethodDef *functions;
    int (*add)(tc_state *st);
    /* Does somebody wait for this direction of fd in another way? -1 with
       exception. */
    int (*is_taken)(tc_io *io, int fd, int write);
    /* Somebody is going to close fd. 0, or -1 with exception. */
    int (*closing)(tc_io *io, int fd);
    /* A wait begins. */
    void (*waiting)(tc_io *io);
    /* Hand out what the last wait has brought. 0, or -1 with exception. */
    int (*process)(tc_io *io);
    /* The poller is going to be closed. Keeps the exception. May be NULL. */
    void (*ending)(tc_io *io);
    /* The poller has been closed. Keeps the exception. */
    void (*close)(tc_io *io);
    /* It was the parent's; this is a child, and has another now. */
    void (*forked)(tc_io *io);
    int (*traverse)(tc_io *io, visitproc visit, void *arg);
    void (*clear)(tc_io *io);
    /* The last of all. */
    void (*free)(tc_io *io);
} tc_io_extra_def;

extern const tc_io_extra_def tc_io_extra;

/* The open io of a Runner given as argument; NULL with exception. */
tc_io *tc_io_from_argument(tc_state *st, PyObject *arg);

#endif
