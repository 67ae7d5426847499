/* tls_pump.c - receive_some() and send_all() of SSLStream, and what they and
 * the handshake have in common: an attempt with the engine, then whatever
 * sending or receiving it takes before it succeeds.
 *
 * All waiting is in awaitables of others: the transport's, or park() of a lot
 * while another task uses the transport. self->value is the one that is
 * waited for; self->extra the operation's argument, later its result.
 *
 * Invariants
 * - The CLAIM flags of an awaitable say which of the stream's four "somebody
 *   uses" fields it has set; however it ends, it clears them, and wakes who
 *   waits for that.
 * - What the engine wrote stays in its buffer until somebody has the right to
 *   send. A reader waits for that right only if its own read has written
 *   something: otherwise it would wait for a writer, who may wait for a peer
 *   that waits for us to read. What nobody sends any more (the reader that
 *   waited with it was cancelled) the next one sends.
 * - Whoever takes what the engine wrote takes everybody's. If it is not sent,
 *   `lost` tells the others, who wait for their turn.
 */
#include "tls.h"

#include "../glue/errors.h"
#include "../kernel/delegate.h"
#include "../kernel/trap.h"
#include "stream.h"

/* What one receive from a socket of ours may bring, in bytes. */
#define FILL_SIZE (256 * 1024)

/* In the awaitable's flags. */
#define CLAIM_USER_SEND 0x01u
#define CLAIM_USER_RECEIVE 0x02u
#define CLAIM_SEND 0x04u
#define CLAIM_RECEIVE 0x08u
#define HAS_YIELDED 0x10u
#define HAS_SUCCEEDED 0x20u      /* only sending is left to do */

enum {
    PUMP_START = 0,
    PUMP_HANDSHAKE,     /* somebody does it */
    PUMP_SENDING,       /* the transport does */
    PUMP_RECEIVING,
    PUMP_FILLING,       /* a socket of ours receives into our buffer */
    PUMP_WRITABLE,      /* wait_send_all_might_not_block() of the transport */
    PUMP_SEND_TURN,     /* another task is sending */
    PUMP_RECEIVE_TURN,
    PUMP_ATTEMPT,       /* nothing to wait for yet */
    PUMP_CHECKPOINT,    /* all is done but that */
    PUMP_LAST,          /* at the schedule point of one that did not wait */
};

/* What to do next: a tc_step, or one of these. */
enum {
    NEXT_ATTEMPT = 10,
    NEXT_AWAIT,         /* self->value has not been started */
};

/* --- claims --------------------------------------------------------- */

int
tc_tls_claim_send(TlsObject *self)
{
    if (self->user_sending) {
        PyErr_SetString(self->st->exc_BusyResourceError,
                        "another task is currently sending data on this "
                        "SSLStream");
        return -1;
    }
    self->user_sending = 1;
    return 0;
}

int
tc_tls_claim_receive(TlsObject *self)
{
    if (self->user_receiving) {
        PyErr_SetString(self->st->exc_BusyResourceError,
                        "another task is currently receiving data on this "
                        "SSLStream");
        return -1;
    }
    self->user_receiving = 1;
    return 0;
}

static void
pump_wake_all(ParkingLotObject *lot)
{
    if (tc_lot_is_empty(lot)) {
        return;
    }
    PyObject *raised = PyErr_GetRaisedException();
    Py_INCREF(lot);
    while (!tc_lot_is_empty(lot)) {
        if (tc_lot_wake_first(lot) < 0) {
            PyErr_WriteUnraisable((PyObject *)lot);
            break;
        }
    }
    Py_DECREF(lot);
    if (raised != NULL) {
        PyErr_SetRaisedException(raised);
    }
}

/* Give up these claims, as far as there are. */
static void
pump_release(AwaitableObject *self, unsigned claims)
{
    TlsObject *stream = (TlsObject *)self->owner;
    claims &= self->flags;
    if (claims == 0 || stream == NULL) {
        return;
    }
    self->flags &= (uint8_t)~claims;
    if (claims & CLAIM_USER_SEND) {
        stream->user_sending = 0;
    }
    if (claims & CLAIM_USER_RECEIVE) {
        stream->user_receiving = 0;
    }
    if (claims & CLAIM_SEND) {
        stream->sending = 0;
        pump_wake_all(stream->send_lot);
    }
    if (claims & CLAIM_RECEIVE) {
        stream->receiving = 0;
        pump_wake_all(stream->receive_lot);
    }
}

static void
pump_release_all(AwaitableObject *self)
{
    pump_release(self, CLAIM_USER_SEND | CLAIM_USER_RECEIVE | CLAIM_SEND
                           | CLAIM_RECEIVE);
}

static int
pump_check_state(TlsObject *stream)
{
    switch (stream->state) {
    case TC_TLS_STATE_OK:
        return 0;
    case TC_TLS_STATE_BROKEN:
        PyErr_SetNone(stream->st->exc_BrokenResourceError);
        return -1;
    default:
        PyErr_SetNone(stream->st->exc_ClosedResourceError);
        return -1;
    }
}

/* What was taken to be sent was not, or not all of it, and TLS has no way to
   repeat. */
static void
pump_lost(TlsObject *stream)
{
    stream->state = TC_TLS_STATE_BROKEN;
    stream->lost = 1;
}

/* The operation ends without its result: it was cancelled as it waited for its
   turn to send, for example. What it has read is for the next one. */
static void
pump_put_back(AwaitableObject *self)
{
    if (self->op == &tc_tls_receive_op && self->flags & HAS_SUCCEEDED
        && self->extra != NULL) {
        PyObject *data = self->extra;
        self->extra = NULL;
        tc_tls_put_back((TlsObject *)self->owner, data);
    }
}

/* --- waiting for others --------------------------------------------- */

/* Wait for `awaitable` (stolen; NULL: exception set), which is that phase. */
static int
pump_await(AwaitableObject *self, PyObject *awaitable, uint8_t phase)
{
    if (awaitable == NULL) {
        return TC_ERROR;
    }
    if (!Awaitable_CheckExact(self->st, awaitable)) {
        PyObject *iter = tc_delegate_iter(awaitable);
        Py_DECREF(awaitable);
        if (iter == NULL) {
            return TC_ERROR;
        }
        awaitable = iter;
    }
    assert(self->value == NULL);
    self->value = awaitable;
    self->phase = phase;
    return NEXT_AWAIT;
}

static int
pump_await_turn(AwaitableObject *self, ParkingLotObject **slot, uint8_t phase)
{
    PyObject *lot = (PyObject *)tc_lot_need(self->st, slot);
    if (lot == NULL) {
        return TC_ERROR;
    }
    Py_INCREF(lot);
    PyObject *parked = PyObject_CallMethod(lot, "park", NULL);
    Py_DECREF(lot);
    return pump_await(self, parked, phase);
}

/* A new reference: unwrap() may take it away during the call. */
static PyObject *
pump_transport(TlsObject *stream)
{
    return Py_NewRef(stream->transport != NULL ? stream->transport : Py_None);
}

/* --- receiving from a socket of ours -------------------------------- */

static tc_try
fill_attempt(AwaitableObject *self, SocketObject *sock, tc_io *io, int fd,
             PyObject **result)
{
    char *data;
    Py_ssize_t size = FILL_SIZE;
    tc_try tried = tc_socket_receive(sock, io, fd, &data, &size);
    if (tried != TC_TRY_DONE) {
        return tried;
    }
    if (tc_tls_feed_memory((TlsObject *)self->extra, data, size) < 0) {
        return TC_TRY_ERROR;
    }
    *result = Py_NewRef(Py_None);
    return TC_TRY_DONE;
}

static tc_step
fill_step(AwaitableObject *self, PyObject *Py_UNUSED(sent), PyObject **result)
{
    tc_step step = tc_socket_step(self, result, fill_attempt, 0);
    if (step == TC_ERROR) {
        return tc_stream_translate(self->st,
                                   "this socket was already closed");
    }
    return step;
}

/* What SocketStream.receive_some() becomes: what is received goes into our
   buffer at once, and is no object of its own. */
static const tc_op fill_op = {
    .name = "receive_some",
    .qualname = "SocketStream.receive_some",
    .step = fill_step,
    .abort = tc_io_abort,
    .abandon = tc_io_unlink,
};

/* --- one thing after another ---------------------------------------- */

/* The operation has succeeded, with self->extra as its result. */
static int
pump_finish(AwaitableObject *self, PyObject **result)
{
    if (self->flags & HAS_YIELDED) {
        *result = self->extra;
        self->extra = NULL;
        return TC_DONE;
    }
    TaskObject *task = tc_trap_task(self);
    if (task == NULL) {
        return TC_ERROR;
    }
    self->phase = PUMP_LAST;
    return tc_trap_checkpoint(self, task);
}

/* Nothing to do but a checkpoint, with `value` (stolen) as the result. */
static int
pump_checkpoint(AwaitableObject *self, PyObject *value)
{
    Py_XSETREF(self->extra, value);
    return pump_await(self,
                      PyObject_CallMethod(self->st->module, "checkpoint",
                                          NULL),
                      PUMP_CHECKPOINT);
}

/* The operation has failed, the exception is raised. An end that is to be
   taken for a good-bye is no failure. */
static int
pump_fail(AwaitableObject *self)
{
    tc_state *st = self->st;
    if (self->op != &tc_tls_receive_op
        || !((TlsObject *)self->owner)->https_compatible
        || !PyErr_ExceptionMatches(st->exc_BrokenResourceError)) {
        return TC_ERROR;
    }
    PyObject *exc = PyErr_GetRaisedException();
    PyObject *answer = PyObject_CallFunction(
        st->tls_is_end, "Oi", exc, self->phase == PUMP_HANDSHAKE);
    int is_end = answer == NULL ? -1 : PyObject_IsTrue(answer);
    Py_XDECREF(answer);
    if (is_end == 0) {
        PyErr_SetRaisedException(exc);
        return TC_ERROR;
    }
    Py_DECREF(exc);
    return is_end < 0 ? TC_ERROR
                      : pump_checkpoint(self, PyBytes_FromString(""));
}

/* What the engine had written has been sent. */
static int
pump_flushed(AwaitableObject *self, PyObject **result)
{
    return self->flags & HAS_SUCCEEDED ? pump_finish(self, result)
                                       : NEXT_ATTEMPT;
}

/* Send what the engine has written. */
static int
pump_flush(AwaitableObject *self, PyObject **result)
{
    TlsObject *stream = (TlsObject *)self->owner;
    if (stream->sending) {
        stream->backlog = 1;
        return pump_await_turn(self, &stream->send_lot, PUMP_SEND_TURN);
    }
    PyObject *data = tc_tls_take(stream);
    if (data == NULL) {
        pump_lost(stream);
        return TC_ERROR;
    }
    if (PyBytes_GET_SIZE(data) == 0) {
        /* Another task has sent ours with its own. */
        Py_DECREF(data);
        return pump_flushed(self, result);
    }
    self->flags |= CLAIM_SEND;
    stream->sending = 1;
    PyObject *transport = pump_transport(stream);
    PyObject *sending = PyObject_CallMethodOneArg(
        transport, self->st->str_send_all, data);
    Py_DECREF(transport);
    Py_DECREF(data);
    int next = pump_await(self, sending, PUMP_SENDING);
    if (next == TC_ERROR) {
        pump_lost(stream);
    }
    return next;
}

/* Get something to read for the engine. */
static int
pump_refill(AwaitableObject *self)
{
    TlsObject *stream = (TlsObject *)self->owner;
    if (stream->receiving) {
        return pump_await_turn(self, &stream->receive_lot,
                               PUMP_RECEIVE_TURN);
    }
    self->flags |= CLAIM_RECEIVE;
    stream->receiving = 1;
    PyObject *transport = pump_transport(stream);
    PyObject *receiving = PyObject_CallMethodNoArgs(
        transport, self->st->str_receive_some);
    Py_DECREF(transport);
    int filling = receiving != NULL
                  && tc_stream_take_over(self->st, receiving, &fill_op,
                                         (PyObject *)stream);
    return pump_await(self, receiving,
                      filling ? PUMP_FILLING : PUMP_RECEIVING);
}

static int
pump_writable(AwaitableObject *self)
{
    TlsObject *stream = (TlsObject *)self->owner;
    if (stream->sending) {
        return pump_await_turn(self, &stream->send_lot, PUMP_SEND_TURN);
    }
    self->flags |= CLAIM_SEND;
    stream->sending = 1;
    PyObject *transport = pump_transport(stream);
    PyObject *waiting = PyObject_CallMethod(
        transport, "wait_send_all_might_not_block", NULL);
    Py_DECREF(transport);
    return pump_await(self, waiting, PUMP_WRITABLE);
}

/* The task that was sending is not any more; another may be. */
static int
pump_take_turn(AwaitableObject *self, PyObject **result)
{
    TlsObject *stream = (TlsObject *)self->owner;
    if (self->op == &tc_tls_wait_op) {
        return pump_writable(self);
    }
    int is_read = self->op == &tc_tls_receive_op;
    if (stream->lost) {
        if (is_read && self->flags & HAS_SUCCEEDED) {
            return pump_finish(self, result);
        }
        PyErr_SetNone(self->st->exc_BrokenResourceError);
        return TC_ERROR;
    }
    if (is_read) {
        Py_ssize_t left = tc_tls_pending(stream, stream->outgoing);
        if (left <= 0) {
            /* Whoever is sending now has ours too, which is enough for a
               reader; see the invariants. */
            return left < 0 ? TC_ERROR : pump_flushed(self, result);
        }
    }
    return pump_flush(self, result);
}

static int
pump_attempt(AwaitableObject *self, PyObject **result)
{
    TlsObject *stream = (TlsObject *)self->owner;
    if (self->op == &tc_tls_wait_op) {
        return pump_writable(self);
    }
    Py_ssize_t before = 0, after = 0;
    if (stream->backlog && stream->sending) {
        before = tc_tls_pending(stream, stream->outgoing);
        if (before < 0) {
            return TC_ERROR;
        }
    }
    PyObject *value = NULL;
    tc_tls_outcome outcome;
    if (self->op == &tc_tls_receive_op) {
        outcome = tc_tls_read(stream, (Py_ssize_t)self->u.i64, &value);
    }
    else if (self->op == &tc_tls_send_op) {
        outcome = tc_tls_write(stream, self->extra);
    }
    else {
        outcome = tc_tls_call(stream, self->extra, &value);
    }
    if (outcome == TC_TLS_ERROR) {
        return pump_fail(self);
    }
    if (outcome == TC_TLS_DONE) {
        self->flags |= HAS_SUCCEEDED;
        Py_XSETREF(self->extra, value);
        if (self->op == &tc_tls_send_op) {
            return pump_flush(self, result);
        }
    }
    if (outcome != TC_TLS_DRAINED || stream->backlog) {
        after = tc_tls_pending(stream, stream->outgoing);
        if (after < 0) {
            return TC_ERROR;
        }
    }
    if (after > before) {
        return pump_flush(self, result);
    }
    return outcome == TC_TLS_DONE ? pump_finish(self, result)
                                  : pump_refill(self);
}

/* receive_some()'s max_bytes, from extra to u.i64. */
static int
pump_take_max_bytes(AwaitableObject *self)
{
    PyObject *max = self->extra;
    self->extra = NULL;
    if (max == NULL || max == Py_None) {
        Py_XDECREF(max);
        return 0;
    }
    PyObject *index = PyNumber_Index(max);
    Py_DECREF(max);
    if (index == NULL) {
        return -1;
    }
    Py_ssize_t size = PyNumber_AsSsize_t(index, NULL);
    Py_DECREF(index);
    if (size < 1) {
        PyErr_SetString(PyExc_ValueError, "max_bytes must be >= 1");
        return -1;
    }
    if (size > INT_MAX) {
        PyErr_SetString(PyExc_OverflowError,
                        "Python int too large to convert to C int");
        return -1;
    }
    self->u.i64 = size;
    return 0;
}

/* The handshake is done, or not needed. */
static int
pump_begin(AwaitableObject *self)
{
    if (self->op == &tc_tls_receive_op) {
        if (pump_take_max_bytes(self) < 0) {
            return TC_ERROR;
        }
    }
    else if (self->op == &tc_tls_send_op) {
        int any = PyObject_IsTrue(self->extra);
        if (any < 0) {
            return TC_ERROR;
        }
        if (!any) {
            /* OpenSSL does not say what it would do with it. */
            return pump_checkpoint(self, NULL);
        }
    }
    TaskObject *task = tc_trap_task(self);
    if (task == NULL) {
        return TC_ERROR;
    }
    self->phase = PUMP_ATTEMPT;
    tc_step step = tc_trap_cancel_point(self, task);
    return step == TC_DONE ? NEXT_ATTEMPT : step;
}

static int
pump_start(AwaitableObject *self)
{
    TlsObject *stream = (TlsObject *)self->owner;
    if (self->op == &tc_tls_call_op) {
        return pump_begin(self);
    }
    if (self->op == &tc_tls_receive_op) {
        if (tc_tls_claim_receive(stream) < 0) {
            return TC_ERROR;
        }
        self->flags |= CLAIM_USER_RECEIVE;
    }
    else {
        if (tc_tls_claim_send(stream) < 0) {
            return TC_ERROR;
        }
        self->flags |= CLAIM_USER_SEND;
    }
    if (pump_check_state(stream) < 0) {
        return TC_ERROR;
    }
    if (stream->handshaken || self->op == &tc_tls_wait_op) {
        return pump_begin(self);
    }
    return pump_await(
        self, PyObject_CallMethod(self->owner, "_ensure_handshake", NULL),
        PUMP_HANDSHAKE);
}

/* The transport has taken all, or failed. */
static int
pump_sent(AwaitableObject *self, int failed, PyObject **result)
{
    if (failed) {
        pump_lost((TlsObject *)self->owner);
    }
    pump_release(self, CLAIM_SEND);
    return failed ? pump_fail(self) : pump_flushed(self, result);
}

/* The transport has `data` (stolen) for us, or failed: NULL. */
static int
pump_received(AwaitableObject *self, PyObject *data)
{
    int failed = data == NULL;
    if (data != NULL && self->phase == PUMP_RECEIVING) {
        failed = tc_tls_feed((TlsObject *)self->owner, data) < 0;
    }
    Py_XDECREF(data);
    pump_release(self, CLAIM_RECEIVE);
    return failed ? pump_fail(self) : NEXT_ATTEMPT;
}

/* After a step of what we wait for. */
static int
pump_continue(AwaitableObject *self, tc_step step, PyObject **result)
{
    if (step == TC_YIELD) {
        self->flags |= HAS_YIELDED;
        return step;
    }
    PyObject *value = *result;
    *result = NULL;
    if (self->phase == PUMP_RECEIVING || self->phase == PUMP_FILLING) {
        return pump_received(self, value);
    }
    Py_XDECREF(value);
    switch (self->phase) {
    case PUMP_HANDSHAKE:
        return step == TC_ERROR ? pump_fail(self) : pump_begin(self);
    case PUMP_SENDING:
        return pump_sent(self, step == TC_ERROR, result);
    case PUMP_WRITABLE:
        pump_release(self, CLAIM_SEND);
        return step == TC_ERROR ? step : pump_finish(self, result);
    case PUMP_SEND_TURN:
        if (step == TC_ERROR) {
            return step;
        }
        return pump_take_turn(self, result);
    case PUMP_RECEIVE_TURN:
        return step == TC_ERROR ? step : NEXT_ATTEMPT;
    default:  /* PUMP_CHECKPOINT */
        self->flags |= HAS_YIELDED;
        return step == TC_ERROR ? step : pump_finish(self, result);
    }
}

/* --- the operations ------------------------------------------------- */

/* Go on until it has to wait, or is over. */
static tc_step
pump_run(AwaitableObject *self, int next, PyObject **result)
{
    while (next >= NEXT_ATTEMPT) {
        if (next == NEXT_ATTEMPT) {
            next = pump_attempt(self, result);
        }
        else {
            tc_step step = tc_delegate_send(self, Py_None,
                                            TC_DELEGATE_AS_CALLER, result);
            next = pump_continue(self, step, result);
        }
    }
    if (next == TC_ERROR) {
        pump_put_back(self);
    }
    if (next != TC_YIELD) {
        pump_release_all(self);
    }
    return (tc_step)next;
}

static tc_step
pump_step(AwaitableObject *self, PyObject *sent, PyObject **result)
{
    int next;
    if (self->phase == PUMP_START) {
        next = pump_start(self);
    }
    else if (self->phase >= TC_PHASE_CANCELLED) {
        next = tc_trap_cancelled_step(self);
    }
    else if (self->phase == PUMP_LAST) {
        self->flags |= HAS_YIELDED;
        next = tc_trap_resume(self, NULL) < 0 ? TC_ERROR
                                              : pump_finish(self, result);
    }
    else {
        next = pump_continue(self,
                             tc_delegate_send(self, sent,
                                              TC_DELEGATE_AS_CALLER, result),
                             result);
    }
    return pump_run(self, next, result);
}

static tc_step
pump_thrown(AwaitableObject *self, PyObject *exc, PyObject **result)
{
    int next = TC_ERROR;
    if (self->value == NULL) {
        PyErr_SetRaisedException(Py_NewRef(exc));
    }
    else {
        next = pump_continue(self,
                             tc_delegate_throw(self, exc,
                                               TC_DELEGATE_AS_CALLER, result),
                             result);
    }
    return pump_run(self, next, result);
}

/* Dropped in the middle. */
static void
pump_drop(AwaitableObject *self)
{
    if (self->owner == NULL) {
        return;
    }
    if (self->flags & CLAIM_SEND && self->phase == PUMP_SENDING) {
        pump_lost((TlsObject *)self->owner);
    }
    pump_put_back(self);
    pump_release_all(self);
}

const tc_op tc_tls_receive_op = {
    .name = "receive_some",
    .qualname = "SSLStream.receive_some",
    .step = pump_step,
    .thrown = pump_thrown,
    .awaiting = tc_delegate_awaiting,
    .release = pump_drop,
};

const tc_op tc_tls_send_op = {
    .name = "send_all",
    .qualname = "SSLStream.send_all",
    .step = pump_step,
    .thrown = pump_thrown,
    .awaiting = tc_delegate_awaiting,
    .release = pump_drop,
};

const tc_op tc_tls_call_op = {
    .name = "_retry",
    .qualname = "SSLStream._retry",
    .step = pump_step,
    .thrown = pump_thrown,
    .awaiting = tc_delegate_awaiting,
    .release = pump_drop,
};

const tc_op tc_tls_wait_op = {
    .name = "wait_send_all_might_not_block",
    .qualname = "SSLStream.wait_send_all_might_not_block",
    .step = pump_step,
    .thrown = pump_thrown,
    .awaiting = tc_delegate_awaiting,
    .release = pump_drop,
};
