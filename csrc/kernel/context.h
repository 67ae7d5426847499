/* context.h - which run and which task this thread is in.
 *
 * The thread's two slots are the one truth; GLOBAL_RUN_CONTEXT (context.c)
 * reads and writes them. They are thread-local C variables, never cached
 * across a call that can run Python: another greenlet may have changed them.
 *
 * A thread can be in a run of each copy of the module that the process has
 * loaded, one inside the other: an interpreter may import it anew, and one
 * thread may run several interpreters. The slots hold the innermost; each run
 * keeps what they held before (`outer`). What belongs to another copy is only
 * passed on, never touched: its interpreter's GIL need not be ours.
 */
#ifndef TC_KERNEL_CONTEXT_H
#define TC_KERNEL_CONTEXT_H

#include "../glue/state.h"
#include "../base/hints.h"

typedef struct TaskObject TaskObject;
typedef struct RunnerObject RunnerObject;

typedef struct tc_slots {
    RunnerObject *runner;    /* owned or NULL */
    TaskObject *task;        /* owned or NULL */
} tc_slots;

#if defined(__GLIBC__)
/* Two pointers fit into the room that the C library keeps for libraries that
   are loaded late, so that no look-up needs a call. */
extern TC_THREAD_LOCAL tc_slots tc_thread_slots
    __attribute__((tls_model("initial-exec")));
#else
extern TC_THREAD_LOCAL tc_slots tc_thread_slots;
#endif

/* Borrowed, or NULL without exception. */
RunnerObject *tc_context_runner(tc_state *st);
TaskObject *tc_context_task(tc_state *st);
/* The same, or NULL with RuntimeError "must be called from async context". */
RunnerObject *tc_context_need_runner(tc_state *st);
TaskObject *tc_context_need_task(tc_state *st);

/* Publish or unpublish (NULL). Take their own reference; dropping the old
   one can run Python. */
void tc_context_set_runner(RunnerObject *runner);
void tc_context_set_task(TaskObject *task);

/* The same for somebody who has the address of the thread's slots, which
   stays what it is. */
static inline void
tc_context_put_task(tc_slots *slots, TaskObject *task)
{
    TaskObject *old = slots->task;
    if (old != task) {
        slots->task = (TaskObject *)Py_XNewRef((PyObject *)task);
        Py_XDECREF((PyObject *)old);
    }
}

int tc_context_register(tc_state *st);

#endif
