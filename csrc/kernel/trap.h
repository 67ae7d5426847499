/* trap.h - how a native operation sleeps and wakes.
 *
 * A step function that wants to sleep links its awaitable (self->link) into
 * whatever will wake it, then returns tc_trap_wait(self, task). Whoever
 * wakes it unlinks the awaitable and calls tc_task_wake*(aw->task). When the
 * task runs again the step function is called and must first call
 * tc_trap_resume(), which hands out the value, or raises the exception, that
 * the waker left in the task.
 *
 * Cancellation calls op->abort (NULL: op->abandon, then success).
 */
#ifndef TC_KERNEL_TRAP_H
#define TC_KERNEL_TRAP_H

#include "../glue/awaitable.h"
#include "cancel.h"
#include "context.h"
#include "ki.h"
#include "runner.h"
#include "task.h"

/* What aborts a wait. */
typedef struct tc_abort {
    enum { TC_ABORT_CANCEL, TC_ABORT_KI } kind;
    tc_state *st;            /* borrowed */
    RunnerObject *runner;    /* borrowed */
    PyObject *reason;        /* borrowed CancelReason or NULL */
} tc_abort;

/* The exception the aborted task should see: a new Cancelled, or a
   KeyboardInterrupt (then the run's pending flag is cleared). New reference
   or NULL with exception. */
PyObject *tc_abort_exception(const tc_abort *why);
/* The callable `raise_cancel` for abort functions written in Python. */
PyObject *tc_abort_callable(const tc_abort *why);

/* The task running now, or NULL with RuntimeError. Borrowed; it stays alive
   at least until this step ends. */
static inline TaskObject *
tc_trap_task(AwaitableObject *self)
{
    TaskObject *task = tc_thread_slots.task;
    return task != NULL && task->runner->st == self->st
               ? task
               : tc_context_need_task(self->st);
}

/* Return these from a step function. */
static inline tc_step
tc_trap_yield(AwaitableObject *self, TaskObject *task, tc_trap trap)
{
    self->trap = trap;
    if (self->task == NULL) {
        self->task = (TaskObject *)Py_NewRef((PyObject *)task);
    }
    return TC_YIELD;
}

/* Sleep until rescheduled; a cancellable wait (1 cancel, 1 schedule point). */
static inline tc_step
tc_trap_wait(AwaitableObject *self, TaskObject *task)
{
    return tc_trap_yield(self, task, TC_TRAP_WAIT);
}

/* Let others run; not cancellable (1 schedule point). */
static inline tc_step
tc_trap_checkpoint(AwaitableObject *self, TaskObject *task)
{
    return tc_trap_yield(self, task, TC_TRAP_CHECKPOINT);
}

/* First thing after a TC_YIELD. 0 and *value (new reference or NULL for
   None; value may be NULL to drop it), or -1 with the exception raised. */
int tc_trap_resume(AwaitableObject *self, PyObject **value);

/* Has `task` a Ctrl-C to see? */
static inline int
tc_trap_has_ki(TaskObject *task)
{
    return task->runner->ki_pending && task == task->runner->main_task;
}

/* Has `task` a cancellation or Ctrl-C to see? One that is just ending, or is
   being moved, is under no scope. */
static inline int
tc_trap_is_cancelled(TaskObject *task)
{
    return task->scope != NULL
           && (task->scope->effectively_cancelled || tc_trap_has_ki(task));
}

/* checkpoint_if_cancelled as a part of other operations. In phase 0:

       switch (tc_trap_cancel_point(self, task)) ...

   TC_DONE: not cancelled, one cancel point counted, go on. TC_YIELD: a
   cancellation is on its way: return TC_YIELD and keep calling
   tc_trap_cancelled_step() for the following steps until it raises. Uses
   self->phase values TC_PHASE_CANCELLED and above. */
#define TC_PHASE_CANCELLED 250
tc_step tc_trap_cancel_point(AwaitableObject *self, TaskObject *task);
tc_step tc_trap_cancelled_step(AwaitableObject *self);

/* In self->flags, beside the operation's own: a cancellation was on its way,
   and the scope around the task had been lost even before. */
#define TC_STRAYED 0x80

/* checkpoint() as a step function, for operations that are one. Uses phases
   0 to 2. */
tc_step tc_checkpoint_step(AwaitableObject *self, PyObject *sent,
                           PyObject **result);

/* The enum Abort; also fills st->abort_succeeded and st->abort_failed.
   Borrowed, NULL with exception. */
PyObject *tc_traps_abort_enum(tc_state *st);

int tc_traps_register(tc_state *st);

#endif
