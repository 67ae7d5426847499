/* cancel.c - the cancel tree: entering, leaving, pushing cancellation down.
 *
 * Invariants
 * - active <=> linked under parent (unless parent is NULL) and runner set.
 * - A task under scope S is in S->tasks and owns S; a child owns its parent.
 *   Links downwards are borrowed and undone before either side dies.
 * - effectively_cancelled == cancel_called or (parent effectively cancelled
 *   and not shield), but for what was left while there was something in it:
 *   the root of what is abandoned has no parent, and stays cancelled.
 * - Delivery calls abort functions, which are foreign code: the tree may be
 *   different after each. So tasks and children are snapshotted with
 *   references, and every decision is made anew after each call.
 * - Nothing here recurses with the depth of the tree.
 */
#include "cancel.h"

#include <math.h>

#include "../glue/errors.h"
#include "groups.h"
#include "runner.h"
#include "task.h"

/* A growable stack of owned references. */
typedef struct {
    PyObject **items;
    Py_ssize_t n, capacity;
    PyObject *small[16];
} scope_stack;

static void
scope_stack_init(scope_stack *s)
{
    s->items = s->small;
    s->n = 0;
    s->capacity = Py_ARRAY_LENGTH(s->small);
}

static int
scope_stack_push(scope_stack *s, PyObject *obj)
{
    if (s->n == s->capacity) {
        Py_ssize_t capacity = s->capacity * 2;
        PyObject **items = PyMem_New(PyObject *, capacity);
        if (items == NULL) {
            PyErr_NoMemory();
            return -1;
        }
        memcpy(items, s->items, s->n * sizeof(*items));
        if (s->items != s->small) {
            PyMem_Free(s->items);
        }
        s->items = items;
        s->capacity = capacity;
    }
    s->items[s->n++] = Py_NewRef(obj);
    return 0;
}

static void
scope_stack_fini(scope_stack *s)
{
    while (s->n > 0) {
        Py_DECREF(s->items[--s->n]);
    }
    if (s->items != s->small) {
        PyMem_Free(s->items);
    }
}

static CancelScopeObject *
scope_from_sibling(tc_link *link)
{
    return TC_CONTAINER_OF(link, CancelScopeObject, sibling_link);
}

static TaskObject *
scope_task(tc_link *link)
{
    return TC_CONTAINER_OF(link, TaskObject, scope_link);
}

/* --- cancellation state ------------------------------------------------- */

static int
scope_sees_parent(CancelScopeObject *self)
{
    return self->parent != NULL && !self->shield
           && self->parent->effectively_cancelled;
}

/* Abort the waits of the tasks directly under self. Without memory for all of
   them, some at a time: a task whose wait has been tried is not waiting any
   more. A cancellation that is delivered to some only would leave the others
   waiting for ever. */
static int
scope_deliver(CancelScopeObject *self)
{
    int r = 0;
    int more;
    do {
        scope_stack tasks;
        scope_stack_init(&tasks);
        more = 0;
        for (tc_link *l = self->tasks.next; !more && l != &self->tasks;
             l = l->next) {
            if (scope_task(l)->waiting != NULL
                && scope_stack_push(&tasks, (PyObject *)scope_task(l)) < 0) {
                PyErr_Clear();
                more = 1;
            }
        }
        for (Py_ssize_t i = 0; r == 0 && i < tasks.n; i++) {
            TaskObject *task = (TaskObject *)tasks.items[i];
            if (task->scope == self) {
                r = tc_task_deliver_cancel(task);
            }
        }
        scope_stack_fini(&tasks);
    } while (more && r == 0 && self->effectively_cancelled);
    return r;
}

/* --- deadlines ----------------------------------------------------------- */

/* NaN, which differs from everything, if there is no memory to find out: the
   run loop will find that out for itself. */
static double
scope_next_deadline(RunnerObject *runner)
{
    double when;
    if (tc_deadlines_next(&runner->deadlines, &when) < 0) {
        PyErr_Clear();
        return Py_NAN;
    }
    return when;
}

/* Cannot fail, so that no scope can die while it is registered. */
static void
scope_update_deadline(CancelScopeObject *self)
{
    double deadline
        = self->active && !self->cancel_called ? self->deadline : Py_HUGE_VAL;
    if (deadline == self->registered_deadline) {
        return;
    }
    /* Set while active, and only an active scope is registered. */
    RunnerObject *runner = self->runner;
    int is_watched = runner->is_guest && !runner->closed;
    double before = is_watched ? scope_next_deadline(runner) : 0.0;
    if (self->registered_deadline != Py_HUGE_VAL) {
        tc_deadlines_remove(&runner->deadlines, self);
        self->registered_deadline = Py_HUGE_VAL;
    }
    if (deadline != Py_HUGE_VAL && !runner->closed) {
        self->registered_deadline = deadline;
        tc_deadlines_add(&runner->deadlines, self);
    }
    if (is_watched && before != scope_next_deadline(runner)) {
        tc_runner_force_tick(runner);
    }
}

/* Whoever looks at whether a scope was cancelled also looks at the clock. The
   rest of what tc_scope_cancel() does is up to the caller. Clocks may be
   Python. 0 or -1. */
static int
scope_notice_deadline(CancelScopeObject *self)
{
    if (self->registered_deadline == Py_HUGE_VAL) {
        return 0;
    }
    double now = tc_runner_time(self->runner);
    if (now == -1.0 && PyErr_Occurred()) {
        return -1;
    }
    if (!self->active || self->cancel_called || now < self->deadline) {
        return 0;
    }
    if (self->reason == NULL) {
        self->reason = tc_reason_new(self->st, "deadline", NULL, NULL);
        if (self->reason == NULL) {
            /* Cancelled with no reason is better than not cancelled. */
            PyErr_Clear();
        }
    }
    self->cancel_called = 1;
    scope_update_deadline(self);
    return 0;
}

/* --- cancelling ---------------------------------------------------------- */

static int scope_recalculate(CancelScopeObject *self);

/* Have the children looked at: all of them, with or without memory. */
static int
scope_push_children(scope_stack *todo, CancelScopeObject *scope)
{
    int r = 0;
    tc_link *l = scope->children.next;
    while (r == 0 && l != &scope->children) {
        CancelScopeObject *child = scope_from_sibling(l);
        Py_INCREF(child);
        if (scope_stack_push(todo, (PyObject *)child) < 0) {
            PyErr_Clear();
            r = scope_recalculate(child);
        }
        /* Anybody's abort function may have run. */
        l = child->parent == scope ? child->sibling_link.next
                                   : &scope->children;
        Py_DECREF(child);
    }
    return r;
}

/* Bring self and everything below up to date. */
static int
scope_recalculate(CancelScopeObject *self)
{
    if (scope_notice_deadline(self) < 0) {
        return -1;
    }
    if (self->effectively_cancelled
        == (self->cancel_called || scope_sees_parent(self))) {
        return 0;
    }
    scope_stack todo;
    scope_stack_init(&todo);
    int r = scope_stack_push(&todo, (PyObject *)self);
    while (r == 0 && todo.n > 0) {
        CancelScopeObject *scope = (CancelScopeObject *)todo.items[--todo.n];
        r = scope_notice_deadline(scope);
        int sees_parent = scope_sees_parent(scope);
        int cancelled = scope->cancel_called || sees_parent;
        int is_lost = scope->abandoned && scope->parent == NULL;
        if (r == 0 && cancelled != scope->effectively_cancelled && !is_lost) {
            if (scope->reason == NULL && sees_parent) {
                scope->reason = Py_XNewRef(scope->parent->reason);
            }
            scope->effectively_cancelled = cancelled;
            if (cancelled) {
                r = scope_deliver(scope);
            }
            if (r == 0) {
                r = scope_push_children(&todo, scope);
            }
        }
        Py_DECREF(scope);
    }
    scope_stack_fini(&todo);
    return r;
}

int
tc_scope_cancel(CancelScopeObject *self, PyObject *reason)
{
    if (self->cancel_called) {
        return 0;
    }
    if (self->reason == NULL) {
        self->reason = Py_XNewRef(reason);
    }
    self->cancel_called = 1;
    scope_update_deadline(self);
    return self->active ? scope_recalculate(self) : 0;
}

int
tc_scope_cancel_with(CancelScopeObject *self, const char *source,
                     TaskObject *source_task, PyObject *text)
{
    if (self->cancel_called) {
        return 0;
    }
    PyObject *reason = tc_reason_new(self->st, source, source_task, text);
    if (reason == NULL) {
        return -1;
    }
    int r = tc_scope_cancel(self, reason);
    Py_DECREF(reason);
    return r;
}

int
tc_scope_set_deadline(CancelScopeObject *self, double deadline)
{
    self->deadline = deadline;
    scope_update_deadline(self);
    return 0;
}

int
tc_scope_set_shield(CancelScopeObject *self, int shield)
{
    self->shield = shield;
    return self->active ? scope_recalculate(self) : 0;
}

double
tc_scope_effective_deadline(CancelScopeObject *self)
{
    if (self->effectively_cancelled) {
        return -Py_HUGE_VAL;
    }
    double deadline = self->deadline;
    while (!self->shield && self->parent != NULL) {
        self = self->parent;
        if (self->deadline < deadline) {
            deadline = self->deadline;
        }
    }
    return deadline;
}

/* --- the tree ------------------------------------------------------------ */

int
tc_scope_encloses(CancelScopeObject *outer, CancelScopeObject *inner)
{
    for (; inner != NULL; inner = inner->parent) {
        if (inner == outer) {
            return 1;
        }
    }
    return 0;
}

int
tc_scope_set_parent(CancelScopeObject *self, CancelScopeObject *parent)
{
    CancelScopeObject *old = self->parent;
    tc_list_remove(&self->sibling_link);
    self->parent = (CancelScopeObject *)Py_XNewRef((PyObject *)parent);
    if (parent != NULL) {
        tc_list_append(&parent->children, &self->sibling_link);
    }
    int r = parent != NULL ? scope_recalculate(self) : 0;
    Py_XDECREF(old);
    return r;
}

int
tc_task_set_scope(TaskObject *task, CancelScopeObject *scope)
{
    CancelScopeObject *old = task->scope;
    tc_list_remove(&task->scope_link);
    task->scope = (CancelScopeObject *)Py_XNewRef((PyObject *)scope);
    int r = 0;
    if (scope != NULL) {
        tc_list_append(&scope->tasks, &task->scope_link);
        if (scope->effectively_cancelled) {
            r = tc_task_deliver_cancel(task);
        }
    }
    Py_XDECREF(old);
    return r;
}

int
tc_scope_enter(CancelScopeObject *self, TaskObject *task)
{
    if (self->entered) {
        PyErr_SetString(PyExc_RuntimeError, "Each CancelScope may only be "
                                            "used for a single 'with' block");
        return -1;
    }
    if (tc_home_check((PyObject *)self) < 0) {
        return -1;
    }
    self->entered = 1;
    if (self->relative_deadline != Py_HUGE_VAL
        || self->deadline != Py_HUGE_VAL) {
        double now = tc_runner_time(task->runner);
        if (now == -1.0 && PyErr_Occurred()) {
            tc_error_attribute_to_no_context();
            return -1;
        }
        if (self->relative_deadline != Py_HUGE_VAL) {
            self->deadline = now + self->relative_deadline;
            self->relative_deadline = Py_HUGE_VAL;
            Py_CLEAR(self->given[TC_GIVEN_DEADLINE]);
            Py_CLEAR(self->given[TC_GIVEN_RELATIVE]);
        }
        if (now >= self->deadline
            && tc_scope_cancel_with(self, "deadline", NULL, NULL) < 0) {
            return -1;
        }
    }
    /* The task's reference to its scope becomes ours to our parent. */
    CancelScopeObject *parent = task->scope;
    self->parent = parent;
    self->runner = (RunnerObject *)Py_NewRef((PyObject *)task->runner);
    self->active = 1;
    if (parent != NULL) {
        tc_list_append(&parent->children, &self->sibling_link);
        tc_list_remove(&task->scope_link);
    }
    task->scope = (CancelScopeObject *)Py_NewRef((PyObject *)self);
    tc_list_append(&self->tasks, &task->scope_link);
    /* Nothing below but the running task, so nothing to deliver. */
    if (scope_sees_parent(self)) {
        self->effectively_cancelled = 1;
        if (self->reason == NULL) {
            self->reason = Py_XNewRef(parent->reason);
        }
    }
    else {
        self->effectively_cancelled = self->cancel_called;
    }
    if (self->deadline != Py_HUGE_VAL) {
        scope_update_deadline(self);
    }
    return 0;
}

static int
scope_mark_abandoned(CancelScopeObject *self)
{
    scope_stack todo;
    scope_stack_init(&todo);
    int r = scope_stack_push(&todo, (PyObject *)self);
    while (r == 0 && todo.n > 0) {
        CancelScopeObject *scope = (CancelScopeObject *)todo.items[--todo.n];
        scope->abandoned = 1;
        for (tc_link *l = scope->children.next;
             r == 0 && l != &scope->children; l = l->next) {
            r = scope_stack_push(&todo, (PyObject *)scope_from_sibling(l));
        }
        Py_DECREF(scope);
    }
    scope_stack_fini(&todo);
    return r;
}

/* Everything still inside a scope that has been left: cancelled for good. */
static int
scope_abandon(CancelScopeObject *self)
{
    scope_stack todo;
    scope_stack_init(&todo);
    int r = scope_stack_push(&todo, (PyObject *)self);
    while (r == 0 && todo.n > 0) {
        CancelScopeObject *scope = (CancelScopeObject *)todo.items[--todo.n];
        int changed = !scope->effectively_cancelled || scope == self;
        /* A shield inside still holds, as it does for any cancellation. */
        if (scope != self) {
            int sees_parent = scope_sees_parent(scope);
            changed = sees_parent && !scope->effectively_cancelled;
            if (changed && scope->reason == NULL) {
                scope->reason = Py_XNewRef(scope->parent->reason);
            }
        }
        if (changed) {
            scope->effectively_cancelled = 1;
            r = scope_deliver(scope);
            if (r == 0) {
                r = scope_push_children(&todo, scope);
            }
        }
        Py_DECREF(scope);
    }
    scope_stack_fini(&todo);
    return r;
}

/* Take self out of the tree. */
static int
scope_leave_tree(CancelScopeObject *self)
{
    CancelScopeObject *parent = self->parent;
    tc_list_remove(&self->sibling_link);
    self->parent = NULL;
    int r = 0;
    if (!tc_list_is_empty(&self->tasks)
        || !tc_list_is_empty(&self->children)) {
        r = scope_mark_abandoned(self);
        if (r == 0) {
            r = scope_abandon(self);
        }
    }
    self->active = 0;
    if (self->registered_deadline != Py_HUGE_VAL) {
        scope_update_deadline(self);
    }
    RunnerObject *runner = self->runner;
    self->runner = NULL;
    Py_XDECREF(parent);
    Py_XDECREF(runner);
    return r;
}

/* RuntimeError("Cancel scope stack corrupted: ...") with exc (borrowed or
   NULL) as its context. Who calls __exit__ by hand may give it anything. New
   reference or NULL. */
static PyObject *
scope_corruption(CancelScopeObject *self, PyObject *exc, const char *format,
                 PyObject *a, PyObject *b)
{
    if (exc != NULL && !PyExceptionInstance_Check(exc)) {
        PyErr_SetString(PyExc_TypeError,
                        "exception context must be None or derive from "
                        "BaseException");
        return NULL;
    }
    PyObject *what = b != NULL ? PyUnicode_FromFormat(format, self, a, b)
                     : a != NULL ? PyUnicode_FromFormat(format, self, a)
                                 : PyUnicode_FromFormat(format, self);
    if (what == NULL) {
        return NULL;
    }
    /* Exiting twice is plain enough; the others come with advice. */
    PyObject *text = PyUnicode_FromFormat(
        a != NULL ? "Cancel scope stack corrupted: attempted to exit %U\n%U"
                  : "Cancel scope stack corrupted: attempted to exit %U",
        what, self->st->misnesting_advice);
    Py_DECREF(what);
    if (text == NULL) {
        return NULL;
    }
    PyObject *error = PyObject_CallOneArg(PyExc_RuntimeError, text);
    Py_DECREF(text);
    if (error != NULL && exc != NULL) {
        PyException_SetContext(error, Py_NewRef(exc));
    }
    return error;
}

/* What is left of exc (owned by *exc, replaced in place; NULL: nothing). */
static int
scope_filter(CancelScopeObject *self, PyObject **exc)
{
    if (*exc == NULL) {
        return 0;
    }
    tc_state *st = self->st;
    if (PyObject_TypeCheck(*exc, st->CancelledType)) {
        Py_XSETREF(self->cancelled_caught, Py_NewRef(Py_True));
        Py_CLEAR(*exc);
        return 0;
    }
    if (!PyObject_TypeCheck(*exc, (PyTypeObject *)PyExc_BaseExceptionGroup)) {
        return 0;
    }
    int matched;
    PyObject *rest;
    if (tc_group_strip_cancelled(st, *exc, &matched, &rest) < 0) {
        return -1;
    }
    if (matched) {
        Py_XSETREF(self->cancelled_caught, Py_NewRef(Py_True));
    }
    Py_XSETREF(*exc, rest);
    return 0;
}

/* Is task under self and nothing else below self? */
static int
scope_holds_only(CancelScopeObject *self, TaskObject *task)
{
    return task->scope == self && self->tasks.next == &task->scope_link
           && self->tasks.prev == &task->scope_link
           && tc_list_is_empty(&self->children);
}

/* Undo tc_scope_enter() for a scope that holds the running task only. */
static void
scope_step_out(CancelScopeObject *self, TaskObject *task)
{
    CancelScopeObject *parent = self->parent;
    tc_list_remove(&self->sibling_link);
    tc_list_remove(&task->scope_link);
    /* Our reference to our parent becomes the task's to its scope. */
    self->parent = NULL;
    task->scope = parent;
    if (parent != NULL) {
        tc_list_append(&parent->tasks, &task->scope_link);
    }
    self->active = 0;
    if (self->registered_deadline != Py_HUGE_VAL) {
        scope_update_deadline(self);
    }
    RunnerObject *runner = self->runner;
    self->runner = NULL;
    Py_DECREF(runner);
    Py_DECREF(self);             /* the task's; our caller has one */
}

int
tc_scope_close(CancelScopeObject *self, PyObject *exc, PyObject **remaining)
{
    *remaining = NULL;
    if (!self->active) {
        *remaining = scope_corruption(
            self, exc, "%R which had already been exited", NULL, NULL);
        return *remaining == NULL ? -1 : 0;
    }
    TaskObject *task = tc_context_need_task(self->st);
    if (task == NULL) {
        return -1;
    }
    if (exc == NULL && scope_holds_only(self, task)) {
        scope_step_out(self, task);
        return 0;
    }
    Py_INCREF(self);
    Py_INCREF(task);
    PyObject *left = Py_XNewRef(exc);
    int r = 0;
    if (task->scope == self) {
        r = tc_task_set_scope(task, self->parent);
    }
    else if (!self->abandoned) {
        if (!tc_scope_encloses(self, task->scope)) {
            *remaining = scope_corruption(self, exc, "%R from unrelated %R",
                                          (PyObject *)task, NULL);
            r = *remaining == NULL ? -1 : 0;
            goto done;
        }
        PyObject *error = scope_corruption(
            self, exc, "%R in %R that's still within its child %R",
            (PyObject *)task, (PyObject *)task->scope);
        if (error == NULL) {
            r = -1;
            goto done;
        }
        Py_XSETREF(left, error);
        r = tc_task_set_scope(task, self->parent);
    }
    if (r < 0) {
        goto done;
    }
    if ((self->effectively_cancelled && !scope_sees_parent(self))
        || (task->scope != self && self->abandoned)) {
        r = scope_filter(self, &left);
        /* split() and derive() are users' code: closed in the meantime? */
        if (!self->active) {
            goto done;
        }
    }
    /* Abort functions may run in there: keep an error of ours out of it. */
    PyObject *failure = r < 0 ? PyErr_GetRaisedException() : NULL;
    if (scope_leave_tree(self) < 0) {
        r = -1;
    }
    if (failure != NULL) {
        PyErr_SetRaisedException(failure);
    }
done:
    if (r == 0 && *remaining == NULL) {
        *remaining = left;
        left = NULL;
    }
    Py_XDECREF(left);
    Py_DECREF(task);
    Py_DECREF(self);
    return r;
}

PyObject *
tc_scope_exit_result(PyObject *exc, PyObject *remaining)
{
    if (remaining == NULL) {
        Py_RETURN_TRUE;
    }
    if (remaining == exc) {
        Py_DECREF(remaining);
        Py_RETURN_FALSE;
    }
    PyErr_SetRaisedException(remaining);
    return NULL;
}

