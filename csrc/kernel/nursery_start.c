/* nursery_start.c - Nursery.start() and the task status it hands out.
 *
 * Until the child calls started() it lives in a private nursery inside the
 * call to start(), under its cancel scope. started() then moves every task
 * and scope of the private nursery to the target, which ends start().
 */
#include "nursery_start.h"
#include "../glue/args.h"
#include "../glue/errors.h"
#include "../glue/types.h"
#include "runner.h"
#include "trap.h"

typedef struct {
    TC_HOME_HEAD
    tc_state *st;                /* borrowed */
    NurseryObject *old_nursery;  /* owned: the private one */
    NurseryObject *new_nursery;  /* owned: the target */
    PyObject *value;             /* owned; NULL until started() */
    PyObject *dict;              /* owned or NULL */
    PyObject *weakrefs;
} TaskStatusObject;

/* --- moving house ------------------------------------------------------ */

static void
status_move_tasks(NurseryObject *from, NurseryObject *to)
{
    tc_link *link;
    while ((link = tc_list_first(&from->children)) != NULL) {
        TaskObject *task = TC_CONTAINER_OF(link, TaskObject, sibling_link);
        tc_list_remove(link);
        from->n_children--;
        tc_list_append(&to->children, link);
        to->n_children++;
        NurseryObject *old = task->parent_nursery;
        NurseryObject *eventual = task->eventual_parent_nursery;
        task->parent_nursery
            = (NurseryObject *)Py_NewRef((PyObject *)to);
        task->eventual_parent_nursery = NULL;
        /* both are referred to by our caller: never the last reference */
        Py_XDECREF(old);
        Py_XDECREF(eventual);
    }
}

/* Lists of everything directly under `scope` but the task `except`. */
static int
status_collect(CancelScopeObject *scope, TaskObject *except,
               PyObject **scopes, PyObject **tasks)
{
    *scopes = PyList_New(0);
    *tasks = PyList_New(0);
    if (*scopes == NULL || *tasks == NULL) {
        return -1;
    }
    for (tc_link *l = scope->children.next; l != &scope->children;
         l = l->next) {
        PyObject *child = (PyObject *)TC_CONTAINER_OF(
            l, CancelScopeObject, sibling_link);
        if (PyList_Append(*scopes, child) < 0) {
            return -1;
        }
    }
    for (tc_link *l = scope->tasks.next; l != &scope->tasks; l = l->next) {
        TaskObject *task = TC_CONTAINER_OF(l, TaskObject, scope_link);
        if (task != except && PyList_Append(*tasks, (PyObject *)task) < 0) {
            return -1;
        }
    }
    return 0;
}

/* All are detached before any is attached: attaching can run abort
   functions. One that fails leaves none of the others behind. */
static int
status_move_scopes(PyObject *scopes, PyObject *tasks, NurseryObject *to)
{
    PyObject *failure = NULL;
    for (int pass = 0; pass < 2; pass++) {
        CancelScopeObject *scope = pass == 0 ? NULL : to->scope;
        Py_ssize_t n_scopes = PyList_GET_SIZE(scopes);
        for (Py_ssize_t i = 0; i < n_scopes + PyList_GET_SIZE(tasks); i++) {
            int r = i < n_scopes
                        ? tc_scope_set_parent(
                            (CancelScopeObject *)PyList_GET_ITEM(scopes, i),
                            scope)
                        : tc_task_set_scope(
                            (TaskObject *)PyList_GET_ITEM(tasks,
                                                          i - n_scopes),
                            scope);
            if (r < 0) {
                Py_XSETREF(failure, PyErr_GetRaisedException());
            }
        }
    }
    if (failure != NULL) {
        PyErr_SetRaisedException(failure);
        return -1;
    }
    return 0;
}

static PyObject *
status_started_impl(FunctionObject *Py_UNUSED(func), PyObject *op,
                    PyObject *const *args, Py_ssize_t nargs,
                    PyObject *kwnames)
{
    static const tc_params params = {
        .fname = "_TaskStatus.started",
        .names = {"value"},
        .n_positional = 1,
    };
    TaskStatusObject *self = (TaskStatusObject *)op;
    PyObject *a[1];
    if (tc_args_parse(&params, args, nargs, kwnames, a) < 0) {
        return NULL;
    }
    if (self->value != NULL) {
        PyErr_SetString(PyExc_RuntimeError,
                        "called 'started' twice on the same task status");
        return NULL;
    }
    NurseryObject *from = self->old_nursery, *to = self->new_nursery;
    PyObject *value = a[0] != NULL ? a[0] : Py_None;
    if (from->scope->effectively_cancelled) {
        /* Being cancelled wins: the child stays, and its end is start()'s. */
        self->value = Py_NewRef(value);
        Py_RETURN_NONE;
    }
    if (to->closed) {
        self->value = Py_NewRef(value);
        PyErr_SetString(PyExc_AssertionError,
                        "the nursery to move to is closed");
        return NULL;
    }
    /* What can run out of memory comes before anything changes. */
    PyObject *scopes, *tasks;
    int r = status_collect(from->scope, from->parent_task, &scopes, &tasks);
    if (r == 0) {
        Py_XSETREF(self->value, Py_NewRef(value));
        status_move_tasks(from, to);
        r = status_move_scopes(scopes, tasks, to);
        PyObject *failure = PyErr_GetRaisedException();
        if (tc_nursery_check_closed(from) < 0) {
            r = -1;
        }
        if (failure != NULL) {
            PyErr_SetRaisedException(failure);
        }
    }
    Py_XDECREF(scopes);
    Py_XDECREF(tasks);
    if (r < 0) {
        return NULL;
    }
    Py_RETURN_NONE;
}

static const tc_function_def status_functions[] = {
    {"_TaskStatus.started", "trio_c._core._run", status_started_impl},
    {NULL, NULL, NULL},
};

static TaskStatusObject *
status_new(tc_state *st, NurseryObject *to)
{
    TaskStatusObject *self
        = PyObject_GC_New(TaskStatusObject, st->TaskStatusType);
    if (self == NULL) {
        return NULL;
    }
    self->st = st;
    self->old_nursery = NULL;
    self->new_nursery = (NurseryObject *)Py_NewRef((PyObject *)to);
    self->value = NULL;
    self->dict = NULL;
    self->weakrefs = NULL;
    TC_HOME_HERE(self);
    PyObject_GC_Track(self);
    return self;
}

static PyObject *
status_repr(PyObject *op)
{
    if (tc_home_check(op) < 0) {
        return tc_home_repr(op);
    }
    return PyUnicode_FromFormat("<Task status object at %s>",
                                tc_hex_id(op).text);
}

static int
status_traverse(PyObject *op, visitproc visit, void *arg)
{
    TaskStatusObject *self = (TaskStatusObject *)op;
    Py_VISIT(Py_TYPE(op));
    Py_VISIT((PyObject *)self->old_nursery);
    Py_VISIT((PyObject *)self->new_nursery);
    Py_VISIT(self->value);
    Py_VISIT(self->dict);
    return 0;
}

static int
status_clear(PyObject *op)
{
    TaskStatusObject *self = (TaskStatusObject *)op;
    /* the nurseries stay: started() relies on them */
    Py_CLEAR(self->value);
    Py_CLEAR(self->dict);
    return 0;
}

static void
status_dealloc(PyObject *op)
{
    TaskStatusObject *self = (TaskStatusObject *)op;
    PyTypeObject *type = Py_TYPE(op);
    PyObject_GC_UnTrack(op);
    if (self->weakrefs != NULL) {
        PyObject_ClearWeakRefs(op);
    }
    status_clear(op);
    Py_CLEAR(self->old_nursery);
    Py_CLEAR(self->new_nursery);
    type->tp_free(op);
    Py_DECREF(type);
}

static PyGetSetDef status_getset[] = {
    {"__dict__", PyObject_GenericGetDict, PyObject_GenericSetDict, NULL,
     NULL},
    {NULL, NULL, NULL, NULL, NULL},
};

static PyMemberDef status_members[] = {
    {"_old_nursery", T_OBJECT, offsetof(TaskStatusObject, old_nursery),
     READONLY, NULL},
    {"_new_nursery", T_OBJECT, offsetof(TaskStatusObject, new_nursery),
     READONLY, NULL},
    {"_value", T_OBJECT_EX, offsetof(TaskStatusObject, value), READONLY,
     NULL},
    {"__dictoffset__", T_PYSSIZET, offsetof(TaskStatusObject, dict),
     READONLY, NULL},
    {"__weaklistoffset__", T_PYSSIZET, offsetof(TaskStatusObject, weakrefs),
     READONLY, NULL},
    {NULL, 0, 0, 0, NULL},
};

static PyMethodDef status_methods[] = {
    {"__class_getitem__", Py_GenericAlias, METH_O | METH_CLASS, NULL},
    {NULL, NULL, 0, NULL},
};

static PyType_Slot status_slots[] = {
    {Py_tp_dealloc, status_dealloc},
    {Py_tp_traverse, status_traverse},
    {Py_tp_clear, status_clear},
    {Py_tp_repr, status_repr},
    {Py_tp_getset, status_getset},
    {Py_tp_members, status_members},
    {Py_tp_methods, status_methods},
    {0, NULL},
};

static PyType_Spec tc_task_status_spec = {
    .name = "trio_c._core._run._TaskStatus",
    .basicsize = sizeof(TaskStatusObject),
    .flags = Py_TPFLAGS_DEFAULT | Py_TPFLAGS_HAVE_GC
             | Py_TPFLAGS_DISALLOW_INSTANTIATION,
    .slots = status_slots,
};

/* --- TASK_STATUS_IGNORED ----------------------------------------------- */

static PyObject *
ignored_started(PyObject *Py_UNUSED(op), PyObject *const *args,
                Py_ssize_t nargs, PyObject *kwnames)
{
    static const tc_params params = {
        .fname = "started",
        .names = {"value"},
        .n_positional = 1,
    };
    PyObject *a[1];
    if (tc_args_parse(&params, args, nargs, kwnames, a) < 0) {
        return NULL;
    }
    Py_RETURN_NONE;
}

static PyObject *
ignored_repr(PyObject *Py_UNUSED(op))
{
    return PyUnicode_FromString("TASK_STATUS_IGNORED");
}

static void
ignored_dealloc(PyObject *op)
{
    PyTypeObject *type = Py_TYPE(op);
    type->tp_free(op);
    Py_DECREF(type);
}

/* Pickled and copied as the one object that it is. */
static PyObject *
ignored_reduce(PyObject *Py_UNUSED(op), PyObject *Py_UNUSED(ignored))
{
    return PyUnicode_FromString("TASK_STATUS_IGNORED");
}

static PyMethodDef ignored_methods[] = {
    {"started", (PyCFunction)(void (*)(void))ignored_started,
     METH_FASTCALL | METH_KEYWORDS,
     PyDoc_STR("started($self, /, value=None)\n--\n\nDoes nothing.")},
    {"__reduce__", ignored_reduce, METH_NOARGS, NULL},
    {NULL, NULL, 0, NULL},
};

static PyType_Slot ignored_slots[] = {
    {Py_tp_dealloc, ignored_dealloc},
    {Py_tp_repr, ignored_repr},
    {Py_tp_methods, ignored_methods},
    {0, NULL},
};

static PyType_Spec ignored_spec = {
    .name = "trio_c._core._run._TaskStatusIgnored",
    .basicsize = sizeof(PyObject),
    .flags = Py_TPFLAGS_DEFAULT | Py_TPFLAGS_DISALLOW_INSTANTIATION,
    .slots = ignored_slots,
};

static int
ignored_register(tc_state *st)
{
    PyObject *type
        = PyType_FromModuleAndSpec(st->module, &ignored_spec, NULL);
    if (type == NULL) {
        return -1;
    }
    PyObject *ignored = (PyObject *)PyObject_New(PyObject,
                                                 (PyTypeObject *)type);
    Py_DECREF(type);
    if (ignored == NULL) {
        return -1;
    }
    int r = PyModule_AddObjectRef(st->module, "TASK_STATUS_IGNORED",
                                  ignored);
    Py_DECREF(ignored);
    return r;
}

/* --- start() ----------------------------------------------------------- */

/* owner: target nursery; value: the tuple (async_fn, *args); extra: name or
   NULL, later the task status. flags: 1 while start() counts as pending in
   the target, 2: nothing to wait for. */
enum { START_PENDING = 1, START_CHECKPOINT = 2 };

static int
start_leave_target(AwaitableObject *aw)
{
    if (!(aw->flags & START_PENDING)) {
        return 0;
    }
    aw->flags &= ~START_PENDING;
    NurseryObject *target = (NurseryObject *)aw->owner;
    target->pending_starts--;
    PyObject *saved = PyErr_GetRaisedException();
    int r = tc_nursery_check_closed(target);
    if (r == 0) {
        if (saved != NULL) {
            PyErr_SetRaisedException(saved);
        }
    }
    else {
        Py_XDECREF(saved);
    }
    return r;
}

/* The private nursery failed with exc (stolen): what start() raises. */
static void
start_raise(AwaitableObject *aw, PyObject *exc)
{
    if (!PyObject_TypeCheck(exc,
                            (PyTypeObject *)PyExc_BaseExceptionGroup)) {
        PyErr_SetRaisedException(exc);
        return;
    }
    PyObject *members = PyObject_GetAttrString(exc, "exceptions");
    if (members == NULL) {
        Py_DECREF(exc);
        return;
    }
    if (PyTuple_Check(members) && PyTuple_GET_SIZE(members) == 1) {
        PyObject *only = Py_NewRef(PyTuple_GET_ITEM(members, 0));
        Py_DECREF(members);
        Py_DECREF(exc);
        PyErr_SetRaisedException(only);
        return;
    }
    Py_DECREF(members);
    PyErr_SetRaisedException(exc);
    tc_error_chain(aw->st->exc_TrioInternalError,
                   "Internal nursery should not have multiple tasks. This "
                   "can be caused by the user managing to access the "
                   "\"old\" nursery in `task_status` and spawning tasks in "
                   "it.");
}

static tc_step
start_end(AwaitableObject *aw, PyObject *thrown, PyObject **result)
{
    TaskStatusObject *status = (TaskStatusObject *)aw->extra;
    NurseryObject *nursery = status->old_nursery;
    PyObject *combined, *remaining = NULL;
    tc_step step = TC_ERROR;
    if (tc_nursery_end(nursery, aw, thrown, &combined) < 0) {
        goto done;
    }
    int r = tc_scope_close(nursery->scope, combined, &remaining);
    Py_XDECREF(combined);
    if (r < 0) {
        goto done;
    }
    if (remaining != NULL) {
        start_raise(aw, remaining);
        goto done;
    }
    if (status->value == NULL) {
        PyErr_SetString(PyExc_RuntimeError,
                        "child exited without calling "
                        "task_status.started()");
        goto done;
    }
    *result = Py_NewRef(status->value);
    step = TC_DONE;
done:
    if (start_leave_target(aw) < 0) {
        Py_CLEAR(*result);
        step = TC_ERROR;
    }
    return step;
}

/* Spawn the child in `nursery`; borrowed task or NULL. */
static TaskObject *
start_spawn(AwaitableObject *aw, RunnerObject *runner, NurseryObject *nursery,
            PyObject *name, PyObject *status)
{
    PyObject *call = aw->value;
    Py_ssize_t n = PyTuple_GET_SIZE(call);
    PyObject *kwnames = PyTuple_Pack(1, aw->st->str_task_status);
    PyObject **argv = PyMem_New(PyObject *, n + 1);
    TaskObject *task = NULL;
    if (kwnames == NULL || argv == NULL) {
        PyErr_NoMemory();
    }
    else {
        for (Py_ssize_t i = 1; i < n; i++) {
            argv[i - 1] = PyTuple_GET_ITEM(call, i);
        }
        argv[n - 1] = status;
        task = tc_runner_spawn(runner, PyTuple_GET_ITEM(call, 0), argv, n - 1,
                               kwnames, nursery, name, 0, NULL);
    }
    PyMem_Free(argv);
    Py_XDECREF(kwnames);
    return task;
}

static tc_step
start_begin(AwaitableObject *aw)
{
    NurseryObject *target = (NurseryObject *)aw->owner;
    TaskObject *task = tc_trap_task(aw);
    if (task == NULL) {
        return TC_ERROR;
    }
    if (target->closed) {
        PyErr_SetString(PyExc_RuntimeError,
                        "Nursery is closed to new arrivals");
        return TC_ERROR;
    }
    /* Before the nursery is there: what opens one has to leave it again. */
    TaskStatusObject *status = status_new(aw->st, target);
    if (status == NULL) {
        return TC_ERROR;
    }
    NurseryObject *nursery = tc_nursery_open(task, 1);
    if (nursery == NULL) {
        Py_DECREF(status);
        return TC_ERROR;
    }
    status->old_nursery = (NurseryObject *)Py_NewRef((PyObject *)nursery);
    target->pending_starts++;
    aw->flags |= START_PENDING;
    PyObject *name = aw->extra;
    aw->extra = (PyObject *)status;

    PyObject *exc = NULL;
    TaskObject *child
        = start_spawn(aw, task->runner, nursery, name, aw->extra);
    if (child != NULL) {
        child->eventual_parent_nursery
            = (NurseryObject *)Py_NewRef((PyObject *)target);
    }
    else {
        exc = PyErr_GetRaisedException();
    }
    Py_XDECREF(name);

    aw->phase = 1;
    tc_step step = tc_nursery_begin_exit(nursery, aw, task, exc);
    if (aw->trap == TC_TRAP_CHECKPOINT) {
        aw->flags |= START_CHECKPOINT;
    }
    if (step == TC_ERROR) {
        start_leave_target(aw);
    }
    Py_XDECREF(exc);
    Py_DECREF(nursery);
    return step;
}

static tc_step
start_step(AwaitableObject *aw, PyObject *Py_UNUSED(sent), PyObject **result)
{
    return aw->phase == 0 ? start_begin(aw) : start_end(aw, NULL, result);
}

static tc_step
start_thrown(AwaitableObject *aw, PyObject *exc, PyObject **result)
{
    if (aw->flags & START_CHECKPOINT) {
        return start_end(aw, exc, result);
    }
    PyErr_SetRaisedException(Py_NewRef(exc));
    start_leave_target(aw);
    return TC_ERROR;
}

static tc_abort_result
start_abort(AwaitableObject *aw, tc_abort *why)
{
    return tc_nursery_abort_exit(
        ((TaskStatusObject *)aw->extra)->old_nursery, why);
}

static const tc_op start_op = {
    .name = "start",
    .qualname = "Nursery.start",
    .step = start_step,
    .abort = start_abort,
    .thrown = start_thrown,
};

PyObject *
tc_nursery_start_impl(FunctionObject *func, PyObject *op,
                      PyObject *const *args, Py_ssize_t nargs,
                      PyObject *kwnames)
{
    static const tc_params params = {
        .fname = "Nursery.start",
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
    PyObject *call = PyTuple_New(n_rest + 1);
    if (call == NULL) {
        return NULL;
    }
    PyTuple_SET_ITEM(call, 0, Py_NewRef(a[0]));
    for (Py_ssize_t i = 0; i < n_rest; i++) {
        PyTuple_SET_ITEM(call, i + 1, Py_NewRef(rest[i]));
    }
    AwaitableObject *aw = tc_awaitable_new(func->st, &start_op, op);
    if (aw == NULL) {
        Py_DECREF(call);
        return NULL;
    }
    aw->value = call;
    aw->extra = Py_XNewRef(a[1]);
    return (PyObject *)aw;
}

int
tc_nursery_start_register(tc_state *st)
{
    if (tc_state_add_type(st, &st->TaskStatusType, &tc_task_status_spec,
                          NULL, "_TaskStatus")
            < 0
        || ignored_register(st) < 0) {
        return -1;
    }
    return tc_function_add_to_type(st, st->TaskStatusType, status_functions);
}
