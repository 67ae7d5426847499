/* stream.h - what SocketStream and SocketListener share. */
#ifndef TC_NET_STREAM_H
#define TC_NET_STREAM_H

#include "socket.h"

/* Is the errno of this OSError (borrowed) one of the set `errnos`? 1, 0, or -1
   with exception. */
int tc_stream_errno_is_in(PyObject *exc, PyObject *errnos);

/* The raised exception, if it is an OSError, becomes what streams raise: a
   closed socket ClosedResourceError with that message (NULL: none), others
   BrokenResourceError. Always returns TC_ERROR. */
tc_step tc_stream_translate(tc_state *st, const char *closed_message);

/* If op is the native receive_some() of a SocketStream, not yet begun, it
   becomes an operation `kind` on the same socket (its owner), with `extra`
   (borrowed). 1, else 0; no exception. */
int tc_stream_take_over(tc_state *st, PyObject *op, const tc_op *kind,
                        PyObject *extra);

#endif
