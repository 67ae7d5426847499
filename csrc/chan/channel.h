/* channel.h - memory channels: the state that both ends share, the ends. */
#ifndef TC_CHAN_CHANNEL_H
#define TC_CHAN_CHANNEL_H

#include "../kernel/parking_lot.h"

typedef struct {
    TC_HOME_HEAD
    tc_state *st;                /* borrowed */
    PyObject *max_buffer_size;   /* owned, as given */
    Py_ssize_t limit;            /* the same; PY_SSIZE_T_MAX: no limit */
    PyObject **items;            /* owned ring of owned items, or NULL */
    Py_ssize_t capacity;         /* of it: a power of two, or 0 */
    Py_ssize_t head;             /* index of the first item */
    Py_ssize_t n_items;
    Py_ssize_t peak;             /* largest n_items so far */
    tc_link senders;             /* of awaitables, through link */
    tc_link receivers;
    Py_ssize_t n_senders;        /* in the list above */
    Py_ssize_t n_receivers;
    Py_ssize_t open_senders;     /* handles that were not closed */
    Py_ssize_t open_receivers;
    PyObject *weakrefs;
} ChannelStateObject;

/* MemorySendChannel and MemoryReceiveChannel. */
typedef struct {
    TC_HOME_HEAD
    tc_state *st;                /* borrowed */
    ChannelStateObject *state;   /* owned */
    Py_ssize_t n_waiting;        /* tasks that wait on this handle */
    PyObject *dict;              /* owned or NULL */
    PyObject *weakrefs;
    uint8_t is_sender;
    uint8_t closed;
} ChannelObject;

/* Open channel for max_buffer_size (borrowed, checked here). New reference,
   or NULL with TypeError or ValueError. */
ChannelStateObject *tc_channel_state_new(tc_state *st,
                                         PyObject *max_buffer_size);
/* New MemoryChannelStatistics. */
PyObject *tc_channel_state_statistics(ChannelStateObject *state);

/* Without waiting: 0 done, 1 would have to wait, -1 with exception. Both run
   Python when they wake somebody. value: borrowed / new reference. */
int tc_channel_send_now(ChannelObject *handle, PyObject *value);
int tc_channel_receive_now(ChannelObject *handle, PyObject **value);

/* Queue aw, whose owner is handle; a sender's aw->value is what it sends.
   Then return tc_trap_wait(). A waiting receiver is woken with the value. */
void tc_channel_wait(ChannelObject *handle, AwaitableObject *aw);
/* op->abandon of such awaitables. */
void tc_channel_abandon(AwaitableObject *aw);

/* Close the handle; 0, or -1 with exception. Runs Python. */
int tc_channel_close(ChannelObject *handle);

int tc_channel_state_register(tc_state *st);
int tc_channel_register(tc_state *st);   /* after the state */

#endif
