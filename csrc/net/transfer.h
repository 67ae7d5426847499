/* transfer.h - what sending and receiving share; private to net/socket_*.c.
 *
 * Each method has a fast form for the arguments that programs use, which does
 * the system call itself. Everything else, wrong arguments and flags that
 * change what a receive does included, takes the plain form: the standard
 * library's method, tried, waited for and tried again.
 */
#ifndef TC_NET_TRANSFER_H
#define TC_NET_TRANSFER_H

#include "socket.h"

/* --- the plain form ------------------------------------------------- */

extern const tc_op tc_plain_recv_op;
extern const tc_op tc_plain_recv_into_op;
extern const tc_op tc_plain_recvfrom_op;
extern const tc_op tc_plain_send_op;

/* The call of op's method with these arguments. New reference. */
PyObject *tc_plain_new(tc_state *st, const tc_op *op, PyObject *sock,
                       PyObject *const *args, Py_ssize_t nargs,
                       PyObject *kwnames);

/* --- arguments of the fast forms, in the awaitable ------------------ */

/* An int in [0, INT32_MAX]: 1, else 0 without exception. */
int tc_transfer_number(PyObject *obj, int32_t *out);

/* Size in the low half, flags in the high half. */
static inline void
tc_transfer_pack(AwaitableObject *self, int32_t size, int32_t flags)
{
    self->u.i64 = (int64_t)((uint64_t)(uint32_t)flags << 32
                            | (uint32_t)size);
}

static inline int32_t
tc_transfer_size(const AwaitableObject *self)
{
    return (int32_t)(uint32_t)self->u.i64;
}

static inline int32_t
tc_transfer_flags(const AwaitableObject *self)
{
    return (int32_t)(self->u.i64 >> 32);
}

#endif
