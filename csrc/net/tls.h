/* tls.h - the native part of SSLStream.
 *
 * The TLS protocol is in the standard library's SSL object, the "engine", and
 * its two memory buffers. Here is what carries bytes between them and the
 * transport. Handshake, good-byes and closing are Python's, in trio_c/_ssl.py,
 * which has the reasons for what is done in which order.
 */
#ifndef TC_NET_TLS_H
#define TC_NET_TLS_H

#include "../glue/awaitable.h"
#include "../kernel/parking_lot.h"

enum {
    TC_TLS_STATE_OK = 0,
    TC_TLS_STATE_BROKEN,
    TC_TLS_STATE_CLOSED,
};

typedef struct TlsObject {
    TC_HOME_HEAD
    tc_state *st;               /* borrowed */
    PyObject *transport;        /* owned or NULL: any stream, or None */
    PyObject *engine;           /* owned; NULL before __init__ */
    PyObject *incoming;         /* owned; NULL likewise: ssl.MemoryBIO */
    PyObject *outgoing;         /* owned; NULL likewise: ssl.MemoryBIO */
    PyObject *delayed;          /* owned or NULL: bytes, to be sent first */
    PyObject *unread;           /* owned or NULL: bytes that the engine gave to
                                   somebody who did not take them */
    PyObject *failure;          /* owned or NULL: an exception that the next
                                   read will raise */
    ParkingLotObject *send_lot; /* owned or NULL: made when needed */
    ParkingLotObject *receive_lot; /* the same */
    Py_ssize_t estimate;        /* bytes to read if nobody says how many */
    uint8_t state;              /* TC_TLS_STATE_... */
    char https_compatible;
    char handshaken;
    char native;                /* engine is the _ssl module's own object */
    char drained;               /* the engine has nothing to read */
    char backlog;               /* outgoing has what somebody waits to send */
    char lost;                  /* what was taken out of it was not sent */
    char user_sending;          /* somebody uses us to send, to receive */
    char user_receiving;
    char sending;               /* somebody uses the transport to */
    char receiving;
} TlsObject;

/* --- calls on the engine: tls_engine.c ------------------------------ */

typedef enum {
    TC_TLS_ERROR = -1,          /* exception set; state as it has to be */
    TC_TLS_DONE = 0,            /* *result: new reference */
    TC_TLS_WANT_READ,           /* nothing for now */
    TC_TLS_DRAINED,             /* the same, and it was not even asked */
} tc_tls_outcome;

/* max 0: as much as is good. */
tc_tls_outcome tc_tls_read(TlsObject *self, Py_ssize_t max, PyObject **result);
/* What was read (stolen) is for whoever reads next. */
void tc_tls_put_back(TlsObject *self, PyObject *data);
tc_tls_outcome tc_tls_write(TlsObject *self, PyObject *data);
/* A callable that uses the engine. */
tc_tls_outcome tc_tls_call(TlsObject *self, PyObject *fn, PyObject **result);

/* What waits in a buffer (borrowed), in bytes; -1 with exception. */
Py_ssize_t tc_tls_pending(TlsObject *self, PyObject *bio);
/* What was received goes to the engine; nothing means the end. 0 or -1. */
int tc_tls_feed(TlsObject *self, PyObject *data);
int tc_tls_feed_memory(TlsObject *self, char *data, Py_ssize_t size);
/* All that waits to be sent. New reference to bytes, or NULL. */
PyObject *tc_tls_take(TlsObject *self);

/* --- operations: tls_pump.c ----------------------------------------- */

/* Their awaitables have the TlsObject as owner. `extra` is max_bytes, the
   data, and for the third a callable that uses the engine. */
extern const tc_op tc_tls_receive_op;
extern const tc_op tc_tls_send_op;
extern const tc_op tc_tls_call_op;
extern const tc_op tc_tls_wait_op;

/* Somebody uses us to send, to receive: 0, or -1 with BusyResourceError. */
int tc_tls_claim_send(TlsObject *self);
int tc_tls_claim_receive(TlsObject *self);

/* --- the object: tls.c ---------------------------------------------- */

int tc_tls_register(tc_state *st);

#endif
