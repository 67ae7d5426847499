/* ki.h - Ctrl-C: who is protected from KeyboardInterrupt, and its delivery.
 *
 * Whether the code that a SIGINT interrupts is protected is found by walking
 * the Python frames outwards. C frames are invisible to that walk, so native
 * code that calls into Python says so with a mark on the Python frame that
 * called it: whoever walks outwards and comes to a marked frame has come
 * through the native call, and gets the mark's answer. A mark belongs to the
 * calling thread and to that frame, not to a position on a stack, so
 * greenlets may switch away in between.
 */
#ifndef TC_KERNEL_KI_H
#define TC_KERNEL_KI_H

#include "../glue/state.h"
#include "context.h"

/* Local variable of a native function that calls back into Python. */
typedef struct tc_ki_mark {
    PyFrameObject *frame;    /* owned; NULL: no Python frame below */
} tc_ki_mark;

/* From here to tc_ki_leave(), Python code that this native function calls is
   protected (1) or unprotected (0) whatever its caller is. 0, or -1 with
   MemoryError (then do not leave). */
int tc_ki_enter(tc_ki_mark *mark, int is_protected);
/* Keeps a raised exception. */
void tc_ki_leave(tc_ki_mark *mark);

/* Is `frame` (borrowed; NULL: no frame at all) protected? 1 or 0, or -1 with
   exception. */
int tc_ki_frame_is_protected(tc_state *st, PyFrameObject *frame);

/* A Ctrl-C that must wait: sets runner->ki_pending and queues its delivery.
   0 or -1. */
int tc_ki_deliver(RunnerObject *runner);

/* The run's SIGINT handler. install: does nothing unless this is the main
   thread and SIGINT is handled by default_int_handler. close: gives SIGINT
   back if it is still ours; idempotent. New reference / 0 or -1. */
PyObject *tc_ki_manager_new(tc_state *st);
int tc_ki_manager_install(PyObject *manager, RunnerObject *runner,
                          int restrict_to_checkpoints);
int tc_ki_manager_close(PyObject *manager);

/* May this thread set signal handlers? `signal` is the module _signal. If so
   SIGINT's handler (new reference); if not NULL without exception; or NULL
   with one. */
PyObject *tc_ki_probe_main_thread(PyObject *signal);

int tc_ki_register(tc_state *st);

#endif
