/* awaitable.h - what a native async call returns: a coroutine-like object
 * driven by a static operation table.
 *
 * One awaitable is one call. It is created by a native function (function.h),
 * advanced by `await` through am_send or tp_iternext (both sit on one state
 * machine), and dies with the call. It comes from a per-module freelist.
 *
 * The step function is called for the first time with sent == Py_None and
 * phase == 0, and again each time the driver resumes it after TC_YIELD.
 *
 * When a step returns TC_YIELD with *result left NULL, the awaitable itself
 * is yielded: the run loop recognises it and reads `trap` to learn what the
 * task wants (kernel/trap.h). With *result set (new reference) that object is
 * yielded instead.
 */
#ifndef TC_GLUE_AWAITABLE_H
#define TC_GLUE_AWAITABLE_H

#include "state.h"
#include "../base/heap.h"
#include "../base/list.h"

typedef struct AwaitableObject AwaitableObject;
struct TaskObject;       /* kernel/task.h; this room only carries it */
struct tc_abort;         /* kernel/trap.h */

typedef enum {
    TC_ERROR = -1,       /* exception set */
    TC_DONE = 0,         /* *result: new reference, or NULL for None */
    TC_YIELD = 1,
} tc_step;

typedef enum {
    TC_ABORT_ERROR = -1,
    TC_ABORT_FAILED = 0,     /* stays asleep; will not be asked again */
    TC_ABORT_SUCCEEDED = 1,  /* caller reschedules with the cancellation */
} tc_abort_result;

typedef struct tc_op {
    const char *name;        /* __name__ of the awaitable, e.g. "wait" */
    const char *qualname;    /* e.g. "Event.wait"; names the twin too */
    tc_step (*step)(AwaitableObject *self, PyObject *sent,
                    PyObject **result);
    /* Someone cancels the wait. Called at most once per wait, by the run
       loop's thread, task attached. NULL: always succeeds, after abandon. */
    tc_abort_result (*abort)(AwaitableObject *self, struct tc_abort *why);
    /* Take the suspended awaitable out of whatever list or table it waits
       in. Idempotent, runs no Python. NULL: it is in none. */
    void (*abandon)(AwaitableObject *self);
    /* An exception (borrowed) is thrown in while suspended. NULL: abandon,
       then raise it. Results as of step. */
    tc_step (*thrown)(AwaitableObject *self, PyObject *exc,
                      PyObject **result);
    /* cr_await: what this awaits, new reference, or NULL for none (no
       exception). NULL function: none. */
    PyObject *(*awaiting)(AwaitableObject *self);
    /* What Task.custom_sleep_data shows during the wait unless somebody
       assigned another (borrowed). NULL function: None. */
    PyObject *(*sleep_data)(AwaitableObject *self);
    /* Frees u.ptr or the like when the awaitable dies. Idempotent: the
       garbage collector comes first, and its references are gone the second
       time. Runs no Python but what dropping its own references runs. */
    void (*release)(AwaitableObject *self);
} tc_op;

typedef enum {
    TC_AW_CREATED = 0,
    TC_AW_RUNNING,
    TC_AW_SUSPENDED,
    TC_AW_CLOSED,
} tc_aw_state;

/* What a yielded awaitable asks of the run loop. */
typedef enum {
    TC_TRAP_NONE = 0,
    TC_TRAP_CHECKPOINT,      /* run me again in the next batch */
    TC_TRAP_WAIT,            /* until rescheduled; cancellable by op->abort */
    TC_TRAP_DETACH,          /* permanently; final outcome is in `value` */
} tc_trap;

struct AwaitableObject {
    TC_HOME_HEAD
    tc_state *st;            /* borrowed */
    const tc_op *op;         /* static */
    PyObject *owner;         /* owned or NULL: the object it works on */
    PyObject *value;         /* owned or NULL: argument, later the result */
    PyObject *extra;         /* owned or NULL: whatever op needs more */
    struct TaskObject *task; /* owned or NULL: set while it waits */
    tc_link link;            /* in the waiters list of something */
    union {
        double num;
        Py_ssize_t size;
        void *ptr;
        int64_t i64;
        tc_heap_node timer;  /* sleep: in runner->deadlines.timers */
        AwaitableObject *next_free;  /* in the freelist: borrowed or NULL */
    } u;                     /* for op */
    PyObject *origin;        /* owned or NULL: cr_origin */
    PyObject *weakrefs;
    uint8_t state;           /* tc_aw_state */
    uint8_t trap;            /* tc_trap */
    uint8_t phase;           /* op's own */
    uint8_t flags;           /* op's own */
    uint8_t finalized;       /* tp_finalize has been called */
    uint8_t is_free;         /* in the freelist */
    uint8_t has_homed_owner; /* see home.h; set by function.c */
};

/* New awaitable; takes its own reference to owner (may be NULL). */
AwaitableObject *tc_awaitable_new(tc_state *st, const tc_op *op,
                                  PyObject *owner);

static inline int
Awaitable_CheckExact(tc_state *st, PyObject *op)
{
    return Py_IS_TYPE(op, st->AwaitableType);
}

/* Drives self one step as `send(sent)` does; for awaitables that delegate to
   another one and for the run loop. */
PySendResult tc_awaitable_send(PyObject *self, PyObject *sent,
                               PyObject **result);

/* If self has ended, let go of all that it still holds; awaited ones die at
   once, but a task keeps what it ran. May run Python. */
void tc_awaitable_empty(AwaitableObject *self);

/* The module's traverse, and its teardown. */
int tc_awaitable_visit_freelist(tc_state *st, visitproc visit, void *arg);
void tc_awaitable_clear_freelist(tc_state *st);

int tc_awaitable_register(tc_state *st);

#endif
