/* returned.h - the StopIteration that carries an awaitable's result. */
#ifndef TC_GLUE_RETURNED_H
#define TC_GLUE_RETURNED_H

#include "state.h"

/* Raise StopIteration(value) from tp_iternext, without chaining; value is
   stolen. Whoever awaits takes the value out and drops it at once. */
void tc_returned_raise(tc_state *st, PyObject *value);

int tc_returned_register(tc_state *st);

#endif
