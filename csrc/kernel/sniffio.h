/* sniffio.h - telling sniffio.current_async_library() that this is Trio. */
#ifndef TC_KERNEL_SNIFFIO_H
#define TC_KERNEL_SNIFFIO_H

#include "../glue/state.h"

/* Set this thread's name to "trio"; *previous (new reference) is for
   tc_sniffio_leave(), which steals it and keeps a raised exception. */
int tc_sniffio_enter(tc_state *st, PyObject **previous);
int tc_sniffio_leave(tc_state *st, PyObject *previous);

/* This thread's attributes of sniffio's thread_local, to look at instead of
   asking it. New reference. */
PyObject *tc_sniffio_dict(tc_state *st);

#endif
