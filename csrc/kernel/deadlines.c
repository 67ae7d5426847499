/* deadlines.c - when scopes are to be cancelled.
 *
 * A deadline set a moment ago waits on the `fresh` list; only what is still
 * there when the run loop asks for the next deadline, that is after the task
 * has yielded, enters the heap. A timeout set and left without blocking costs
 * two list operations. A plain sleep has no scope: its awaitable sits in the
 * heap of timers and is simply woken.
 */
#include "../glue/awaitable.h"
#include "cancel.h"
#include "task.h"

#include <math.h>

static CancelScopeObject *
deadlines_scope(tc_heap_node *node)
{
    return TC_CONTAINER_OF(node, CancelScopeObject, heap_node);
}

void
tc_deadlines_init(tc_deadlines *d)
{
    tc_heap_init(&d->heap);
    tc_heap_init(&d->timers);
    tc_list_init(&d->fresh);
    d->fresh_bound = Py_HUGE_VAL;
}

void
tc_deadlines_fini(tc_deadlines *d)
{
    /* Whatever is still registered outlives the run unregistered. */
    tc_link *link;
    while ((link = tc_list_first(&d->fresh)) != NULL) {
        tc_list_remove(link);
    }
    tc_heap_fini(&d->heap);
    tc_heap_fini(&d->timers);
}

void
tc_deadlines_add(tc_deadlines *d, CancelScopeObject *scope)
{
    scope->heap_node.key = scope->registered_deadline;
    tc_list_append(&d->fresh, &scope->fresh_link);
    if (scope->registered_deadline < d->fresh_bound) {
        d->fresh_bound = scope->registered_deadline;
    }
}

void
tc_deadlines_remove(tc_deadlines *d, CancelScopeObject *scope)
{
    if (tc_heap_contains(&scope->heap_node)) {
        tc_heap_remove(&d->heap, &scope->heap_node);
    }
    else {
        tc_list_remove(&scope->fresh_link);
    }
}

static int
deadlines_flush(tc_deadlines *d)
{
    tc_link *link;
    while ((link = tc_list_first(&d->fresh)) != NULL) {
        CancelScopeObject *scope
            = TC_CONTAINER_OF(link, CancelScopeObject, fresh_link);
        if (tc_heap_push(&d->heap, &scope->heap_node) < 0) {
            PyErr_NoMemory();
            return -1;
        }
        tc_list_remove(link);
    }
    d->fresh_bound = Py_HUGE_VAL;
    return 0;
}

double
tc_deadlines_bound(const tc_deadlines *d)
{
    double bound = d->fresh_bound;
    tc_heap_node *scope = tc_heap_top(&d->heap);
    tc_heap_node *timer = tc_heap_top(&d->timers);
    if (scope != NULL && scope->key < bound) {
        bound = scope->key;
    }
    if (timer != NULL && timer->key < bound) {
        bound = timer->key;
    }
    return bound;
}

int
tc_deadlines_next(tc_deadlines *d, double *when)
{
    if (deadlines_flush(d) < 0) {
        return -1;
    }
    tc_heap_node *scope = tc_heap_top(&d->heap);
    tc_heap_node *timer = tc_heap_top(&d->timers);
    *when = Py_HUGE_VAL;
    if (scope != NULL) {
        *when = scope->key;
    }
    if (timer != NULL && timer->key < *when) {
        *when = timer->key;
    }
    return 0;
}

/* Abort functions and instruments run in here: both heaps may change with
   every call. */
static int
deadlines_expire_scopes(tc_deadlines *d, double now)
{
    int fired = 0;
    for (;;) {
        tc_heap_node *top = tc_heap_top(&d->heap);
        if (top == NULL || top->key > now) {
            return fired;
        }
        CancelScopeObject *scope = deadlines_scope(top);
        tc_heap_remove(&d->heap, top);
        scope->registered_deadline = Py_HUGE_VAL;
        fired = 1;
        Py_INCREF(scope);
        int r = tc_scope_cancel_with(scope, "deadline", NULL, NULL);
        Py_DECREF(scope);
        if (r < 0) {
            return -1;
        }
    }
}

static int
deadlines_expire_timers(tc_deadlines *d, double now)
{
    int fired = 0;
    for (;;) {
        tc_heap_node *top = tc_heap_top(&d->timers);
        if (top == NULL || top->key > now) {
            return fired;
        }
        AwaitableObject *aw = TC_CONTAINER_OF(top, AwaitableObject, u.timer);
        tc_heap_remove(&d->timers, top);
        fired = 1;
        if (aw->task->scheduled) {
            continue;  /* cancelled before */
        }
        aw->phase = TC_PHASE_RANG;
        if (tc_task_wake(aw->task) < 0) {
            return -1;
        }
    }
}

int
tc_deadlines_expire(tc_deadlines *d, double now)
{
    if (deadlines_flush(d) < 0) {
        return -1;
    }
    int scopes = deadlines_expire_scopes(d, now);
    int timers = scopes < 0 ? -1 : deadlines_expire_timers(d, now);
    return timers < 0 ? -1 : scopes || timers;
}
