/* nursery.c - nurseries: children, the end of the block, exception groups.
 *
 * Invariants
 * - A task is in `children` from spawn (or reparenting) until it exits; the
 *   runner owns it.
 * - The parent task's stack of open nurseries is task->nursery -> outer ->
 *   ...; entered and left here only.
 * - Overridden methods on an instance (start_soon, _add_exc) are honoured
 *   wherever Python code could see the difference.
 */
#include "nursery.h"
#include "../glue/args.h"
#include "../glue/errors.h"
#include "../glue/function.h"
#include "../glue/types.h"
#include "groups.h"
#include "nursery_start.h"
#include "runner.h"
#include "trap.h"

NurseryObject *
tc_nursery_new(TaskObject *parent, CancelScopeObject *scope, int strict)
{
    tc_state *st = parent->runner->st;
    NurseryObject *self = (NurseryObject *)tc_freelist_new(
        &st->free_nurseries, st->NurseryType);
    if (self == NULL) {
        return NULL;
    }
    memset((char *)self + sizeof(PyObject), 0,
           sizeof(*self) - sizeof(PyObject));
    self->st = st;
    self->parent_task = (TaskObject *)Py_NewRef((PyObject *)parent);
    self->scope = (CancelScopeObject *)Py_NewRef((PyObject *)scope);
    tc_list_init(&self->children);
    self->strict = strict;
    self->body_running = 1;
    /* Push: the task's reference to the next outer one becomes ours. */
    self->outer = parent->nursery;
    parent->nursery = (NurseryObject *)Py_NewRef((PyObject *)self);
    TC_LIVE_ADD(st, NurseryType);
    TC_HOME_HERE(self);
    PyObject_GC_Track(self);
    return self;
}

NurseryObject *
tc_nursery_open(TaskObject *task, int strict)
{
    CancelScopeObject *scope = tc_scope_new(task->runner->st);
    if (scope == NULL) {
        return NULL;
    }
    NurseryObject *nursery = NULL;
    if (tc_scope_enter(scope, task) == 0) {
        nursery = tc_nursery_new(task, scope, strict);
        if (nursery == NULL) {
            PyObject *saved = PyErr_GetRaisedException(), *remaining;
            if (tc_scope_close(scope, NULL, &remaining) == 0) {
                Py_XDECREF(remaining);
            }
            PyErr_SetRaisedException(saved);
        }
    }
    Py_DECREF(scope);
    return nursery;
}

int
tc_nursery_check_closed(NurseryObject *self)
{
    if (self->body_running || self->n_children > 0
        || self->pending_starts > 0) {
        return 0;
    }
    self->closed = 1;
    if (self->parent_waiting) {
        self->parent_waiting = 0;
        return tc_task_wake(self->parent_task);
    }
    return 0;
}

/* --- failures ---------------------------------------------------------- */

/* The built-in _add_exc: remember exc, cancel the rest. reason borrowed or
   NULL. */
static int
nursery_add_exc_native(NurseryObject *self, PyObject *exc, PyObject *reason)
{
    if (self->pending_excs == NULL) {
        self->pending_excs = PyList_New(0);
        if (self->pending_excs == NULL) {
            return -1;
        }
    }
    if (PyList_Append(self->pending_excs, exc) < 0) {
        return -1;
    }
    return tc_scope_cancel(self->scope, reason);
}

/* `nursery._add_exc(exc, reason)`, replaced on the instance or not. */
static int
nursery_add_exc(NurseryObject *self, PyObject *exc, PyObject *reason)
{
    PyObject *replaced = NULL;
    if (self->dict != NULL) {
        replaced = PyDict_GetItemWithError(self->dict,
                                           self->st->str_add_exc);
        if (replaced == NULL && PyErr_Occurred()) {
            return -1;
        }
    }
    if (replaced == NULL) {
        return nursery_add_exc_native(self, exc, reason);
    }
    Py_INCREF(replaced);
    PyObject *r = PyObject_CallFunctionObjArgs(
        replaced, exc, reason != NULL ? reason : Py_None, NULL);
    Py_DECREF(replaced);
    if (r == NULL) {
        return -1;
    }
    Py_DECREF(r);
    return 0;
}

/* CancelReason("nursery", ...) whose text ends in repr(exc). */
static PyObject *
nursery_reason(NurseryObject *self, TaskObject *task, const char *format,
               PyObject *exc)
{
    PyObject *text = PyUnicode_FromFormat(format, exc);
    if (text == NULL) {
        return NULL;
    }
    PyObject *reason = tc_reason_new(self->st, "nursery", task, text);
    Py_DECREF(text);
    return reason;
}

/* A scope keeps the reason of its first cancellation only, so that there is
   none to be made for the many that one cancellation ends. Other exceptions
   are asked for their repr in any case: that is their authors' code. */
static int
nursery_wants_reason(NurseryObject *self, PyObject *exc)
{
    return !self->scope->cancel_called || self->dict != NULL
           || !Py_IS_TYPE(exc, self->st->CancelledType);
}

int
tc_nursery_child_finished(NurseryObject *self, TaskObject *task,
                          PyObject *exc)
{
    if (tc_link_is_linked(&task->sibling_link)) {
        tc_list_remove(&task->sibling_link);
        self->n_children--;
    }
    if (self->closed && self->result_taken) {
        return 0;  /* abandoned: nobody is left to tell */
    }
    if (exc != NULL) {
        PyObject *reason = NULL;
        if (nursery_wants_reason(self, exc)) {
            reason = nursery_reason(self, task,
                                    "child task raised exception %R", exc);
            if (reason == NULL) {
                return -1;
            }
        }
        int r = nursery_add_exc(self, exc, reason);
        Py_XDECREF(reason);
        if (r < 0) {
            return -1;
        }
    }
    return tc_nursery_check_closed(self);
}

/* --- the end of the block ---------------------------------------------- */

tc_step
tc_nursery_begin_exit(NurseryObject *self, AwaitableObject *aw,
                      TaskObject *task, PyObject *exc)
{
    if (exc != NULL) {
        PyObject *reason = NULL;
        if (nursery_wants_reason(self, exc)) {
            reason = nursery_reason(self, self->parent_task,
                                    "Code block inside nursery "
                                    "contextmanager raised exception %R",
                                    exc);
            if (reason == NULL) {
                return TC_ERROR;
            }
        }
        int r = nursery_add_exc(self, exc, reason);
        Py_XDECREF(reason);
        if (r < 0) {
            return TC_ERROR;
        }
    }
    self->body_running = 0;
    if (tc_nursery_check_closed(self) < 0) {
        return TC_ERROR;
    }
    if (self->closed) {
        return tc_trap_checkpoint(aw, task);
    }
    self->parent_waiting = 1;
    return tc_trap_wait(aw, task);
}

/* Only Ctrl-C gets through to a parent that waits for its children, and then
   as one more failure. */
tc_abort_result
tc_nursery_abort_exit(NurseryObject *self, tc_abort *why)
{
    if (why->kind == TC_ABORT_CANCEL) {
        return TC_ABORT_FAILED;
    }
    PyObject *exc = tc_abort_exception(why);
    if (exc == NULL) {
        return TC_ABORT_ERROR;
    }
    PyObject *reason = tc_reason_new(self->st, "KeyboardInterrupt",
                                     self->parent_task, NULL);
    int r = reason == NULL ? -1 : nursery_add_exc(self, exc, reason);
    Py_XDECREF(reason);
    Py_DECREF(exc);
    return r < 0 ? TC_ABORT_ERROR : TC_ABORT_FAILED;
}

int
tc_nursery_end(NurseryObject *self, AwaitableObject *aw, PyObject *thrown,
               PyObject **combined)
{
    *combined = NULL;
    PyObject *exc = Py_XNewRef(thrown);
    if (exc == NULL && tc_trap_resume(aw, NULL) < 0) {
        exc = PyErr_GetRaisedException();
    }
    if (exc != NULL) {
        int r = nursery_add_exc(self, exc, NULL);
        Py_DECREF(exc);
        if (r < 0) {
            return -1;
        }
    }
    TaskObject *parent = self->parent_task;
    NurseryObject *popped = parent->nursery;
    if (popped != NULL) {
        parent->nursery = popped->outer;
        popped->outer = NULL;
        Py_DECREF(popped);
    }
    if (popped != self) {
        PyErr_SetString(PyExc_AssertionError,
                        "Nursery misnesting detected!");
        return -1;
    }
    PyObject *excs = self->pending_excs;
    if (excs == NULL) {
        return 0;
    }
    self->pending_excs = NULL;
    self->result_taken = 1;
    if (!self->strict && PyList_GET_SIZE(excs) == 1) {
        *combined = Py_NewRef(PyList_GET_ITEM(excs, 0));
    }
    else {
        *combined = tc_group_new(self->st, excs, self->strict);
    }
    Py_DECREF(excs);
    return *combined == NULL ? -1 : 0;
}

/* --- methods ----------------------------------------------------------- */

static PyObject *
nursery_start_soon_impl(FunctionObject *func, PyObject *op,
                        PyObject *const *args, Py_ssize_t nargs,
                        PyObject *kwnames)
{
    static const tc_params params = {
        .fname = "Nursery.start_soon",
        .names = {"async_fn", "name"},
        .n_positional = 1,
        .n_required = 1,
    };
    PyObject *a[2];
    PyObject *const *rest;
    Py_ssize_t n_rest;
    if (tc_args_parse_star(&params, args, nargs, kwnames, a, &rest, &n_rest)
        < 0) {
        return NULL;
    }
    RunnerObject *runner = tc_context_runner(func->st);
    if (runner == NULL) {
        PyErr_SetString(PyExc_AttributeError,
                        "'RunContext' object has no attribute 'runner'");
        return NULL;
    }
    if (tc_runner_spawn(runner, a[0], rest, n_rest, NULL,
                        (NurseryObject *)op, a[1], 0, NULL)
        == NULL) {
        return NULL;
    }
    Py_RETURN_NONE;
}

static PyObject *
nursery_add_exc_impl(FunctionObject *Py_UNUSED(func), PyObject *op,
                     PyObject *const *args, Py_ssize_t nargs,
                     PyObject *kwnames)
{
    static const tc_params params = {
        .fname = "Nursery._add_exc",
        .names = {"exc", "reason"},
        .n_positional = 2,
        .n_required = 1,
    };
    NurseryObject *self = (NurseryObject *)op;
    PyObject *a[2];
    if (tc_args_parse(&params, args, nargs, kwnames, a) < 0) {
        return NULL;
    }
    if (!PyExceptionInstance_Check(a[0])) {
        PyErr_SetString(PyExc_TypeError, "exc must be an exception");
        return NULL;
    }
    PyObject *reason = a[1];
    if (reason != NULL && !Py_IS_TYPE(reason, self->st->CancelReasonType)) {
        reason = NULL;
    }
    if (nursery_add_exc_native(self, a[0], reason) < 0) {
        return NULL;
    }
    Py_RETURN_NONE;
}

static const tc_function_def nursery_functions[] = {
    {"Nursery.start_soon", "trio_c", nursery_start_soon_impl},
    {"Nursery.start", "trio_c", tc_nursery_start_impl},
    {"Nursery._add_exc", "trio_c", nursery_add_exc_impl},
    {NULL, NULL, NULL},
};

static PyObject *
nursery_get_child_tasks(PyObject *op, void *Py_UNUSED(closure))
{
    NurseryObject *self = (NurseryObject *)op;
    PyObject *list = PyList_New(0);
    if (list == NULL) {
        return NULL;
    }
    for (tc_link *l = self->children.next; l != &self->children;
         l = l->next) {
        if (PyList_Append(list, (PyObject *)TC_CONTAINER_OF(l, TaskObject,
                                                            sibling_link))
            < 0) {
            Py_DECREF(list);
            return NULL;
        }
    }
    PyObject *tasks = PyFrozenSet_New(list);
    Py_DECREF(list);
    return tasks;
}

static PyObject *
nursery_get_cancel_status(PyObject *op, void *Py_UNUSED(closure))
{
    NurseryObject *self = (NurseryObject *)op;
    return tc_cancel_status_new(self->st, self->scope);
}

static int
nursery_traverse(PyObject *op, visitproc visit, void *arg)
{
    NurseryObject *self = (NurseryObject *)op;
    Py_VISIT(Py_TYPE(op));
    Py_VISIT((PyObject *)self->parent_task);
    Py_VISIT((PyObject *)self->scope);
    Py_VISIT(self->pending_excs);
    Py_VISIT((PyObject *)self->outer);
    Py_VISIT(self->dict);
    return 0;
}

static int
nursery_clear(PyObject *op)
{
    NurseryObject *self = (NurseryObject *)op;
    /* parent_task and scope stay until dealloc: methods rely on them. The
       cycle through the parent is broken on its side. */
    Py_CLEAR(self->pending_excs);
    Py_CLEAR(self->outer);
    Py_CLEAR(self->dict);
    return 0;
}

static void
nursery_finalize(PyObject *op)
{
    NurseryObject *self = (NurseryObject *)op;
    if (self->n_children > 0) {
        PyObject *saved = PyErr_GetRaisedException();
        PyErr_SetString(PyExc_AssertionError,
                        "nursery was dropped with tasks still in it");
        PyErr_WriteUnraisable(op);
        if (saved != NULL) {
            PyErr_SetRaisedException(saved);
        }
    }
}

static void
nursery_dealloc(PyObject *op)
{
    NurseryObject *self = (NurseryObject *)op;
    PyTypeObject *type = Py_TYPE(op);
    if (self->n_children > 0 && PyObject_CallFinalizerFromDealloc(op) < 0) {
        return;
    }
    PyObject_GC_UnTrack(op);
    Py_TRASHCAN_BEGIN(self, nursery_dealloc)
    if (self->weakrefs != NULL) {
        PyObject_ClearWeakRefs(op);
    }
    /* Children own us, so the list is empty unless they are dying too. */
    tc_link *link;
    while ((link = tc_list_first(&self->children)) != NULL) {
        tc_list_remove(link);
    }
    tc_state *st = self->st;
    TC_LIVE_SUB(st, NurseryType);
    nursery_clear(op);
    Py_CLEAR(self->scope);
    Py_CLEAR(self->parent_task);
    if (PyObject_GC_IsFinalized(op)) {
        PyObject_GC_Del(op);
    }
    else {
        tc_freelist_delete(&st->free_nurseries, op);
    }
    Py_DECREF(type);
    Py_TRASHCAN_END
}

static PyGetSetDef nursery_getset[] = {
    {"child_tasks", nursery_get_child_tasks, NULL,
     PyDoc_STR("A frozenset of the child tasks that are still running."),
     NULL},
    {"_children", nursery_get_child_tasks, NULL, NULL, NULL},
    {"_cancel_status", nursery_get_cancel_status, NULL, NULL, NULL},
    {"__dict__", PyObject_GenericGetDict, PyObject_GenericSetDict, NULL,
     NULL},
    {NULL, NULL, NULL, NULL, NULL},
};

static PyMemberDef nursery_members[] = {
    {"parent_task", T_OBJECT, offsetof(NurseryObject, parent_task), READONLY,
     PyDoc_STR("The task that opened this nursery.")},
    {"_parent_task", T_OBJECT, offsetof(NurseryObject, parent_task),
     READONLY, NULL},
    {"cancel_scope", T_OBJECT, offsetof(NurseryObject, scope), READONLY,
     PyDoc_STR("The scope around all children and the block itself.")},
    {"_closed", T_BOOL, offsetof(NurseryObject, closed), 0, NULL},
    {"_nested_child_running", T_BOOL, offsetof(NurseryObject, body_running),
     READONLY, NULL},
    {"_pending_starts", T_PYSSIZET, offsetof(NurseryObject, pending_starts),
     READONLY, NULL},
    {"_pending_excs", T_OBJECT, offsetof(NurseryObject, pending_excs),
     READONLY, NULL},
    {"_strict_exception_groups", T_BOOL, offsetof(NurseryObject, strict),
     READONLY, NULL},
    {"__dictoffset__", T_PYSSIZET, offsetof(NurseryObject, dict), READONLY,
     NULL},
    {"__weaklistoffset__", T_PYSSIZET, offsetof(NurseryObject, weakrefs),
     READONLY, NULL},
    {NULL, 0, 0, 0, NULL},
};

static PyMethodDef nursery_methods[] = {
    TC_FINAL_METHOD,
    {NULL, NULL, 0, NULL},
};

PyDoc_STRVAR(nursery_doc,
             "A place for child tasks: opened with `async with\n"
             "open_nursery()`, it stays until all of them have ended.");

static PyType_Slot nursery_slots[] = {
    {Py_tp_doc, (char *)nursery_doc},
    {Py_tp_new, tc_type_no_constructor},
    {Py_tp_finalize, nursery_finalize},
    {Py_tp_dealloc, nursery_dealloc},
    {Py_tp_traverse, nursery_traverse},
    {Py_tp_clear, nursery_clear},
    {Py_tp_getset, nursery_getset},
    {Py_tp_members, nursery_members},
    {Py_tp_methods, nursery_methods},
    {0, NULL},
};

static PyType_Spec tc_nursery_spec = {
    .name = "trio_c.Nursery",
    .basicsize = sizeof(NurseryObject),
    .flags = Py_TPFLAGS_DEFAULT | Py_TPFLAGS_HAVE_GC | Py_TPFLAGS_BASETYPE,
    .slots = nursery_slots,
};

int
tc_nursery_register(tc_state *st)
{
    if (tc_state_add_type(st, &st->NurseryType, &tc_nursery_spec, NULL,
                          "Nursery")
            < 0
        || tc_function_add_to_type(st, st->NurseryType, nursery_functions)
               < 0
        || tc_type_mark_final(st, st->NurseryType) < 0) {
        return -1;
    }
    return 0;
}
