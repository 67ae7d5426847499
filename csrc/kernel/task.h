/* task.h - one task: a coroutine, the scope it runs under, its place in the
 * tree, and what it wakes up with.
 *
 * Owned by the runner's list of living tasks from spawn to exit. Everything
 * here belongs to the loop's thread.
 */
#ifndef TC_KERNEL_TASK_H
#define TC_KERNEL_TASK_H

#include "../glue/awaitable.h"
#include "../base/list.h"
#include "context.h"

struct NurseryObject;
struct CancelScopeObject;

struct TaskObject {
    TC_HOME_HEAD
    /* What every step looks at comes first, in as few cache lines. */
    RunnerObject *runner;            /* owned */
    PyObject *coro;                  /* owned; replaceable by users */
    PyObject *context;               /* owned; replaceable by users */
    PyObject *sleep_data;            /* owned or NULL: assigned by users */
    struct CancelScopeObject *scope; /* owned; NULL for the init task */
    AwaitableObject *waiting;        /* owned or NULL: abortable wait */
    PyObject *wake_value;            /* owned or NULL (None) */
    PyObject *wake_error;            /* owned or NULL: exception to raise */
    int64_t cancel_points;
    int64_t schedule_points;
    PyObject *schedule_points_object; /* owned or NULL: a non-int value that
                                         somebody assigned */
    uint8_t scheduled;               /* in the ready queue */
    uint8_t running;                 /* in a step */
    uint8_t ki_protected;
    uint8_t exited;
    uint8_t throw_wake;              /* deliver wake_error by coro.throw() */

    PyObject *name;                  /* owned; maybe still a function */
    tc_link scope_link;              /* in scope->tasks */
    struct NurseryObject *parent_nursery;          /* owned or NULL */
    struct NurseryObject *eventual_parent_nursery; /* owned or NULL */
    tc_link sibling_link;            /* in parent_nursery->children */
    struct NurseryObject *nursery;   /* owned or NULL: innermost open one */
    tc_link all_link;                /* in runner->tasks */
    tc_link breakers;                /* parking lots that this task breaks */
    uint64_t counter;                /* spawn order */
    PyObject *weakrefs;
};

static inline int
Task_CheckExact(tc_state *st, PyObject *op)
{
    return Py_IS_TYPE(op, st->TaskType);
}

/* Put a sleeping task back on the ready queue. The value/exception is stolen
   (also on error; value NULL means None). The task must not be scheduled
   already. 0, or -1 with exception (AssertionError if it is; instruments).
   The caller has unlinked the awaitable. May run Python (instruments,
   dropping the last reference to the wait). */
int tc_task_wake(TaskObject *task);
int tc_task_wake_value(TaskObject *task, PyObject *value);
int tc_task_wake_error(TaskObject *task, PyObject *exc);

/* The public reschedule(): also takes the task out of a native wait. */
int tc_task_reschedule_checked(RunnerObject *runner, TaskObject *task,
                               PyObject *value, PyObject *exc);

/* If the task sleeps in an abortable wait and its scope is effectively
   cancelled, abort it. 0, or -1 with what the abort function raised. */
int tc_task_deliver_cancel(TaskObject *task);
/* The same for a pending Ctrl-C. */
int tc_task_deliver_ki(TaskObject *task);

/* Dealloc of a task: frees breaker entries without breaking anything. */
void tc_task_forget_breakers(TaskObject *task);

/* Task.name, made from a function the first time. Borrowed; NULL with
   exception. */
PyObject *tc_task_name(TaskObject *task);
/* repr(task), new reference. */
PyObject *tc_task_repr(TaskObject *task);
/* The same of a task that is or was at an address; its name can still be a
   Python function. */
PyObject *tc_task_format(PyObject *name, void *address);

/* New task, in no list yet. Borrowed arguments. */
TaskObject *tc_task_new(RunnerObject *runner, PyObject *coro, PyObject *name,
                        PyObject *context,
                        struct NurseryObject *parent_nursery,
                        int ki_protected);

int tc_task_register(tc_state *st);

#endif
