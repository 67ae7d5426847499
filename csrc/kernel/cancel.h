/* cancel.h - cancel scopes: the API object and its node in the cancel tree.
 *
 * A scope is used once, so the node lives inside it. While entered it is a
 * child of the scope around it (owned upwards, linked downwards) and lists
 * the tasks that run directly under it. `effectively_cancelled` is pushed
 * down whenever something changes, so that asking is one load.
 */
#ifndef TC_KERNEL_CANCEL_H
#define TC_KERNEL_CANCEL_H

#include "context.h"
#include "../base/heap.h"
#include "../base/list.h"

typedef struct CancelScopeObject CancelScopeObject;

struct CancelScopeObject {
    TC_HOME_HEAD
    tc_state *st;                /* borrowed */
    RunnerObject *runner;        /* owned while entered, else NULL */
    CancelScopeObject *parent;   /* owned or NULL */
    tc_link sibling_link;        /* in parent->children */
    tc_link children;            /* of scopes, through sibling_link */
    tc_link tasks;               /* of tasks, through scope_link */
    double deadline;
    double relative_deadline;
    double registered_deadline;  /* +inf: not registered */
    tc_heap_node heap_node;      /* in runner->deadlines.heap */
    tc_link fresh_link;          /* in runner->deadlines.fresh */
    PyObject *reason;            /* owned CancelReason or NULL */
    PyObject *given[3];          /* owned or NULL: deadline, relative_deadline
                                    and shield as they were given, where the
                                    numbers here would not show it */
    PyObject *cancelled_caught;  /* owned */
    PyObject *weakrefs;
    uint8_t entered;             /* ever */
    uint8_t active;              /* entered and not exited */
    uint8_t cancel_called;
    uint8_t shield;
    uint8_t effectively_cancelled;
    uint8_t abandoned;           /* by misnesting */
};

#define TC_PHASE_RANG 2

typedef struct tc_deadlines {
    tc_heap heap;                /* of scopes, through heap_node */
    tc_heap timers;              /* of sleeping awaitables, u.timer; gets
                                    them to phase TC_PHASE_RANG */
    tc_link fresh;               /* of scopes whose task has not yielded
                                    since the deadline was set */
    double fresh_bound;          /* none of these is earlier than that */
} tc_deadlines;

void tc_deadlines_init(tc_deadlines *d);
void tc_deadlines_fini(tc_deadlines *d);
/* Register scope under scope->registered_deadline; take it out again. */
void tc_deadlines_add(tc_deadlines *d, CancelScopeObject *scope);
void tc_deadlines_remove(tc_deadlines *d, CancelScopeObject *scope);
static inline int
tc_deadlines_is_empty(const tc_deadlines *d)
{
    return tc_list_is_empty(&d->fresh) && tc_heap_size(&d->heap) == 0
           && tc_heap_size(&d->timers) == 0;
}

/* Not later than the earliest deadline; +inf if there is none. Needs no
   memory. */
double tc_deadlines_bound(const tc_deadlines *d);
/* Earliest deadline or +inf. -1 with MemoryError. */
int tc_deadlines_next(tc_deadlines *d, double *when);
/* Cancels what is due at `now`: 1 if any was, 0 if none, -1 on error. */
int tc_deadlines_expire(tc_deadlines *d, double now);

/* Why a scope was cancelled. source is one of upstream's literal words;
   source_task and reason may be NULL (None); borrowed, and the task is not
   kept. New reference. */
PyObject *tc_reason_new(tc_state *st, const char *source,
                        TaskObject *source_task, PyObject *reason);
/* A new Cancelled for a CancelReason (NULL: misnesting). */
PyObject *tc_cancelled_new(tc_state *st, PyObject *reason);

/* Indices of CancelScopeObject.given. */
enum { TC_GIVEN_DEADLINE, TC_GIVEN_RELATIVE, TC_GIVEN_SHIELD };

/* New, unentered scope. */
CancelScopeObject *tc_scope_new(tc_state *st);
/* Keep what attribute `which` was given as (borrowed or NULL), unless it is
   the plain float, or bool, that the attribute would show anyway. */
void tc_scope_keep_given(CancelScopeObject *scope, int which, PyObject *obj);
/* With block entry and exit of the current task. Exit takes the exception
   (borrowed or NULL) and yields in *remaining: NULL (nothing left), the same
   object, or another one (new reference). The caller holds a reference to
   scope of its own. -1: an error of our own making (never an ordinary
   outcome). */
int tc_scope_enter(CancelScopeObject *scope, TaskObject *task);
int tc_scope_close(CancelScopeObject *scope, PyObject *exc,
                   PyObject **remaining);
/* Result of an __exit__/__aexit__ for `exc` and what remains of it (stolen):
   new reference True/False, or NULL with remaining raised, context kept. */
PyObject *tc_scope_exit_result(PyObject *exc, PyObject *remaining);

/* Cancel with a CancelReason (borrowed; NULL: none). 0 or -1. */
int tc_scope_cancel(CancelScopeObject *scope, PyObject *reason);
/* Cancel with a reason made only if there is none, as tc_reason_new. */
int tc_scope_cancel_with(CancelScopeObject *scope, const char *source,
                         TaskObject *source_task, PyObject *reason);
int tc_scope_set_deadline(CancelScopeObject *scope, double deadline);
int tc_scope_set_shield(CancelScopeObject *scope, int shield);
double tc_scope_effective_deadline(CancelScopeObject *scope);

/* Move a task under another scope (NULL: none), delivering a cancellation
   that waits there. 0 or -1. */
int tc_task_set_scope(TaskObject *task, CancelScopeObject *scope);
/* Give an entered scope another parent (NULL: none), recomputing. */
int tc_scope_set_parent(CancelScopeObject *scope, CancelScopeObject *parent);
/* Does `outer` enclose `inner` (or equal it)? inner may be NULL. */
int tc_scope_encloses(CancelScopeObject *outer, CancelScopeObject *inner);

/* The introspection view of an entered scope. New reference. */
PyObject *tc_cancel_status_new(tc_state *st, CancelScopeObject *scope);
int tc_cancel_status_register(tc_state *st);

int tc_cancel_register(tc_state *st);
int tc_cancelled_register(tc_state *st);

#endif
