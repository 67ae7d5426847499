/* socket.h - the native base of trio_c.socket's sockets.
 *
 * The standard library's socket object keeps owning the descriptor, the
 * options and everything that is not hot. What is hot is done here on its
 * descriptor, which is asked for anew each time: somebody may have closed the
 * object behind our back, and the number may be another's by now.
 */
#ifndef TC_NET_SOCKET_H
#define TC_NET_SOCKET_H

#include "../glue/awaitable.h"
#include "../glue/errors.h"
#include "../glue/function.h"
#include "../kernel/io_handle.h"
#include "sockaddr.h"

typedef struct SocketObject {
    TC_HOME_HEAD
    tc_state *st;            /* borrowed */
    PyObject *sock;          /* owned: standard socket; NULL before __init__ */
    tc_io_handle handle;
    tc_sockaddr_memo peer;
    Py_ssize_t last_received; /* bytes, the last time that there were any */
    int family;
    int type;
    int proto;
    char exact;              /* sock is a socket.socket itself, no subclass;
                                family, type and proto are right */
    char did_shutdown_wr;
} SocketObject;

/* From here on a transfer takes longer than to wake another thread, which is
   then let run. Before, it would wake, find the GIL taken again, and start to
   wait for its turn anew. */
#define TC_NET_LARGE (256 * 1024)

/* --- operations that try, wait and try again ------------------------ */

typedef enum {
    TC_TRY_ERROR = -1,       /* exception set */
    TC_TRY_DONE = 0,         /* *result: new reference */
    TC_TRY_BLOCKED,          /* wait, and the handle knows when */
    TC_TRY_BLOCKED_LEVEL,    /* wait for what is ready now */
} tc_try;

typedef tc_try (*tc_attempt)(AwaitableObject *self, SocketObject *sock,
                             tc_io *io, int fd, PyObject **result);

enum {
    TC_PHASE_START = 0,
    TC_PHASE_WAITING,
    TC_PHASE_DONE,           /* self->value is the result */
    TC_PHASE_FAILED,         /* self->value is the exception */
    TC_PHASE_OTHER,          /* first one that is free for the operation */
};

/* The step function of such an operation, self->owner being the socket: a
   cancel point, one attempt and, if that did not block, a schedule point;
   else waits and attempts until one does not block. */
tc_step tc_socket_step(AwaitableObject *self, PyObject **result,
                       tc_attempt attempt, int write);
/* Sleep until an attempt is worth while. */
tc_step tc_socket_wait(AwaitableObject *self, SocketObject *sock,
                       TaskObject *task, int fd, int write, int level);

/* The result, or the raised exception if result is NULL, is handed out after
   a schedule point. result is stolen. */
tc_step tc_socket_finish_later(AwaitableObject *self, TaskObject *task,
                               PyObject *result);

/* --- system calls --------------------------------------------------- */

/* Send without ever blocking. Bytes, -1 with tc_sock_error(), or -2 with the
   exception of a signal handler. addr may be NULL. */
Py_ssize_t tc_net_send(int fd, const void *data, Py_ssize_t size, int flags,
                       const tc_sockaddr *addr);

/* After a -1: was that "would block"? */
static inline int
tc_net_would_block(void)
{
    return tc_sock_would_block(tc_sock_error());
}

/* After a -1 that is an error: raises it. */
static inline void
tc_net_set_error(void)
{
    tc_error_set_sock(tc_sock_error());
}

/* What is to be sent, to be released as any buffer. Bytes, which it nearly
   always is, are not asked for theirs. 0, or -1 with exception. */
static inline int
tc_net_get_data(PyObject *data, Py_buffer *view)
{
    if (!PyBytes_CheckExact(data)) {
        return PyObject_GetBuffer(data, view, PyBUF_SIMPLE);
    }
    view->obj = Py_NewRef(data);
    view->buf = PyBytes_AS_STRING(data);
    view->len = PyBytes_GET_SIZE(data);
    return 0;
}

/* The descriptor, -1 if closed. 0 or -1. */
int tc_socket_fd(SocketObject *sock, int *fd);
/* A buffer has been got from `exporter` since fd was asked for. That may have
   run Python, which may have closed the socket, and the number be another's by
   now. 0, or -1 with OSError. */
int tc_socket_check_fd(SocketObject *sock, PyObject *exporter, int fd);

/* --- what the streams use ------------------------------------------- */

/* recv(size), accept() as a stream. size <= INT32_MAX. */
AwaitableObject *tc_socket_new_recv(tc_state *st, const tc_op *op,
                                    SocketObject *sock, Py_ssize_t size,
                                    int flags);
tc_step tc_socket_recv_step(AwaitableObject *self, PyObject *sent,
                            PyObject **result);
/* One attempt to receive up to *size bytes: what there is, and in *size how
   much, stays in the run's scratch buffer until somebody else uses it. */
tc_try tc_socket_receive(SocketObject *sock, tc_io *io, int fd, char **data,
                         Py_ssize_t *size);
/* Flag of an accepting awaitable: the result is a SocketStream, no pair. */
#define TC_ACCEPT_STREAM 0x01u
tc_step tc_socket_accept_step(AwaitableObject *self, PyObject *sent,
                              PyObject **result);

/* A SocketStream on a socket of ours, options set. New reference. */
PyObject *tc_stream_new(tc_state *st, SocketObject *sock);

/* Exactly the class that trio_c._socket makes of ours? */
static inline int
Socket_CheckExact(tc_state *st, PyObject *op)
{
    return (PyObject *)Py_TYPE(op) == st->socket_class;
}

extern const tc_function_def tc_socket_plain_functions[];
extern const tc_function_def tc_socket_receive_functions[];
extern const tc_function_def tc_socket_send_functions[];
extern const tc_function_def tc_socket_connect_functions[];

int tc_socket_register(tc_state *st);
int tc_stream_register(tc_state *st);
int tc_listener_register(tc_state *st);

#endif
