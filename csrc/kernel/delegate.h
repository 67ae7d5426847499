/* delegate.h - native operations that await something foreign. */
#ifndef TC_KERNEL_DELEGATE_H
#define TC_KERNEL_DELEGATE_H

#include "../glue/awaitable.h"

/* What `await obj` would iterate over; new reference or NULL. */
PyObject *tc_delegate_iter(PyObject *obj);

/* In place of is_protected: whatever the Python code is that called us. */
#define TC_DELEGATE_AS_CALLER (-1)

/* `self` awaits self->value (such an iterator). One step of it, Python code
   in it being protected from Ctrl-C or not. TC_YIELD: return that, *result as
   it is. Otherwise it is over and self->value is NULL: TC_DONE with its value
   (new reference) in *result, or TC_ERROR. */
tc_step tc_delegate_send(AwaitableObject *self, PyObject *sent,
                         int is_protected, PyObject **result);
/* The same, throwing exc (borrowed) into it. */
tc_step tc_delegate_throw(AwaitableObject *self, PyObject *exc,
                          int is_protected, PyObject **result);
/* For tc_op.awaiting. */
PyObject *tc_delegate_awaiting(AwaitableObject *self);

#endif
