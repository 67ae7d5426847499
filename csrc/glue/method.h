/* method.h - what `with` and `async with` get when they look up a native
 * function on an object.
 *
 * Up to 3.13 the interpreter binds __enter__ and the like to the object in
 * order to call them once. This is a method object to anybody who looks, but
 * comes from a freelist and hands its arguments on as they are.
 */
#ifndef TC_GLUE_METHOD_H
#define TC_GLUE_METHOD_H

#include "function.h"

/* New reference, or NULL. self must be an instance of func's owner. */
PyObject *tc_method_new(FunctionObject *func, PyObject *self);

/* Module teardown. */
void tc_method_close_freelist(tc_state *st);

int tc_method_register(tc_state *st);

#endif
