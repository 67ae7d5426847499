/* task.c - the Task type and waking it up.
 *
 * Invariants
 * - `waiting` is set exactly while the task sleeps in a wait that may still
 *   be aborted; it is cleared before the task is put on the ready queue.
 * - `scheduled` <=> one (owned) entry in the runner's ready queue or batch.
 * - At most one of wake_value and wake_error is set, and only from wake-up
 *   until the next step.
 * - Finalisation needs no live run: it may happen in any thread.
 */
#include "task.h"

#include "../glue/args.h"
#include "../glue/errors.h"
#include "../glue/function.h"
#include "../glue/types.h"
#include "instruments.h"
#include "nursery.h"
#include "parking_lot.h"
#include "runner.h"
#include "trap.h"

TaskObject *
tc_task_new(RunnerObject *runner, PyObject *coro, PyObject *name,
            PyObject *context, NurseryObject *parent_nursery,
            int ki_protected)
{
    tc_state *st = runner->st;
    TaskObject *self
        = (TaskObject *)tc_freelist_new(&st->free_tasks, st->TaskType);
    if (self == NULL) {
        return NULL;
    }
    memset((char *)self + sizeof(PyObject), 0,
           sizeof(*self) - sizeof(PyObject));
    self->runner = (RunnerObject *)Py_NewRef((PyObject *)runner);
    self->coro = Py_NewRef(coro);
    self->name = Py_NewRef(name);
    self->context = Py_NewRef(context);
    self->parent_nursery
        = (NurseryObject *)Py_XNewRef((PyObject *)parent_nursery);
    tc_list_init(&self->scope_link);
    tc_list_init(&self->sibling_link);
    tc_list_init(&self->all_link);
    tc_list_init(&self->breakers);
    TC_HOME_HERE(self);
    self->counter = st->next_task_counter++;
    self->ki_protected = ki_protected;
    TC_LIVE_ADD(st, TaskType);
    PyObject_GC_Track(self);
    return self;
}

/* "module.qualname" of a function, Python's or ours. New reference. */
static PyObject *
task_name_from(PyObject *function)
{
    PyObject *module, *qualname, *text = NULL;
    if (PyFunction_Check(function)) {
        module = Py_XNewRef(PyFunction_GetModule(function));
        qualname = Py_NewRef(((PyFunctionObject *)function)->func_qualname);
        if (module == NULL && !PyErr_Occurred()) {
            module = Py_NewRef(Py_None);  /* as its __module__ shows it */
        }
    }
    else {
        module = PyObject_GetAttrString(function, "__module__");
        qualname = PyObject_GetAttrString(function, "__qualname__");
    }
    if (module != NULL && qualname != NULL) {
        text = PyUnicode_FromFormat("%S.%S", module, qualname);
    }
    Py_XDECREF(module);
    Py_XDECREF(qualname);
    return text;
}

PyObject *
tc_task_name(TaskObject *self)
{
    PyObject *name = self->name;
    if (!PyFunction_Check(name)
        && !Py_IS_TYPE(name, self->runner->st->FunctionType)) {
        return name;
    }
    PyObject *text = task_name_from(name);
    if (text != NULL) {
        Py_XSETREF(self->name, text);
    }
    return text;
}

PyObject *
tc_task_format(PyObject *name, void *address)
{
    name = PyFunction_Check(name) ? task_name_from(name) : Py_NewRef(name);
    if (name == NULL) {
        return NULL;
    }
    PyObject *text = PyUnicode_FromFormat("<Task %R at %s>", name,
                                          tc_hex_id(address).text);
    Py_DECREF(name);
    return text;
}

PyObject *
tc_task_repr(TaskObject *self)
{
    PyObject *name = Py_XNewRef(tc_task_name(self));
    if (name == NULL) {
        return NULL;
    }
    PyObject *text = tc_task_format(name, self);
    Py_DECREF(name);
    return text;
}

static PyObject *
task_repr(PyObject *op)
{
    if (tc_home_check(op) < 0) {
        return tc_home_repr(op);
    }
    return tc_task_repr((TaskObject *)op);
}

/* --- waking ------------------------------------------------------------- */

int
tc_task_wake(TaskObject *self)
{
    RunnerObject *runner = self->runner;
    if (self->scheduled) {
        PyErr_SetString(PyExc_AssertionError,
                        "task is scheduled to run already");
        return -1;
    }
    if (self->exited || runner->closed) {
        PyErr_SetString(PyExc_AssertionError,
                        "cannot reschedule a task that has exited");
        return -1;
    }
    assert(runner->n_ready < runner->capacity);
    self->scheduled = 1;
    int was_idle = runner->n_ready == 0;
    runner->ready[runner->n_ready++]
        = (TaskObject *)Py_NewRef((PyObject *)self);
    AwaitableObject *waiting = self->waiting;
    PyObject *sleep_data = self->sleep_data;
    self->waiting = NULL;
    self->sleep_data = NULL;
    int r = 0;
    if (was_idle && runner->is_guest) {
        r = tc_runner_force_tick(runner);
    }
    if (r == 0) {
        r = TC_HOOK(runner, TC_HOOK_TASK_SCHEDULED, (PyObject *)self);
    }
    Py_XDECREF(sleep_data);
    Py_XDECREF(waiting);
    return r;
}

int
tc_task_wake_value(TaskObject *self, PyObject *value)
{
    if (!self->scheduled) {
        assert(self->wake_value == NULL && self->wake_error == NULL);
        Py_XSETREF(self->wake_value, value);
    }
    else {
        Py_XDECREF(value);
    }
    return tc_task_wake(self);
}

int
tc_task_wake_error(TaskObject *self, PyObject *exc)
{
    if (!self->scheduled) {
        assert(self->wake_value == NULL && self->wake_error == NULL);
        Py_XSETREF(self->wake_error, exc);
    }
    else {
        Py_XDECREF(exc);
    }
    return tc_task_wake(self);
}

int
tc_task_reschedule_checked(RunnerObject *runner, TaskObject *task,
                           PyObject *value, PyObject *exc)
{
    if (task->runner != runner || task->scheduled || task->exited) {
        Py_XDECREF(value);
        Py_XDECREF(exc);
        PyErr_SetString(PyExc_AssertionError,
                        task->runner != runner
                            ? "task belongs to another run"
                            : "task is not waiting to be rescheduled");
        return -1;
    }
    AwaitableObject *waiting = task->waiting;
    if (waiting != NULL && waiting->op->abandon != NULL) {
        /* Somebody wakes it behind the back of what it waits in. */
        waiting->op->abandon(waiting);
    }
    return exc != NULL ? tc_task_wake_error(task, exc)
                       : tc_task_wake_value(task, value);
}

/* --- aborting a wait ----------------------------------------------------- */

static int
task_abort(TaskObject *self, tc_abort *why)
{
    AwaitableObject *waiting
        = (AwaitableObject *)Py_NewRef((PyObject *)self->waiting);
    tc_abort_result result;
    if (waiting->op->abort != NULL) {
        result = waiting->op->abort(waiting, why);
    }
    else {
        if (waiting->op->abandon != NULL) {
            waiting->op->abandon(waiting);
        }
        result = TC_ABORT_SUCCEEDED;
    }
    /* One attempt per wait, whether it worked or not. */
    if (result != TC_ABORT_ERROR && self->waiting == waiting) {
        self->waiting = NULL;
        Py_DECREF(waiting);
    }
    Py_DECREF(waiting);
    if (result == TC_ABORT_ERROR) {
        return -1;
    }
    if (result == TC_ABORT_FAILED) {
        return 0;
    }
    PyObject *exc = tc_abort_exception(why);
    if (exc == NULL) {
        /* The wait is over; it ends with what there was no memory for. */
        exc = PyErr_GetRaisedException();
    }
    return tc_task_wake_error(self, exc);
}

int
tc_task_deliver_cancel(TaskObject *self)
{
    if (self->waiting == NULL || self->scope == NULL
        || !self->scope->effectively_cancelled) {
        return 0;
    }
    PyObject *reason = Py_XNewRef(self->scope->reason);
    tc_abort why = {
        .kind = TC_ABORT_CANCEL,
        .st = self->runner->st,
        .runner = self->runner,
        .reason = reason,
    };
    Py_INCREF(self);
    int r = task_abort(self, &why);
    Py_DECREF(self);
    Py_XDECREF(reason);
    return r;
}

int
tc_task_deliver_ki(TaskObject *self)
{
    if (self->waiting == NULL) {
        return 0;
    }
    tc_abort why = {
        .kind = TC_ABORT_KI,
        .st = self->runner->st,
        .runner = self->runner,
    };
    Py_INCREF(self);
    int r = task_abort(self, &why);
    Py_DECREF(self);
    return r;
}

/* --- attributes ---------------------------------------------------------- */

static PyObject *
task_get_name(PyObject *op, void *Py_UNUSED(closure))
{
    return Py_XNewRef(tc_task_name((TaskObject *)op));
}

static int
task_set_name(PyObject *op, PyObject *value, void *Py_UNUSED(closure))
{
    Py_XSETREF(((TaskObject *)op)->name,
               Py_NewRef(value != NULL ? value : Py_None));
    return 0;
}

/* Assignable, not deletable: the run loop relies on there being one. */
static int
task_set_part(PyObject **slot, PyObject *value, const char *name)
{
    if (value == NULL) {
        PyErr_Format(PyExc_AttributeError, "cannot delete attribute '%s'",
                     name);
        return -1;
    }
    Py_XSETREF(*slot, Py_NewRef(value));
    return 0;
}

static PyObject *
task_get_coro(PyObject *op, void *Py_UNUSED(closure))
{
    PyObject *coro = ((TaskObject *)op)->coro;
    return Py_NewRef(coro != NULL ? coro : Py_None);
}

static int
task_set_coro(PyObject *op, PyObject *value, void *Py_UNUSED(closure))
{
    return task_set_part(&((TaskObject *)op)->coro, value, "coro");
}

static PyObject *
task_get_context(PyObject *op, void *Py_UNUSED(closure))
{
    PyObject *context = ((TaskObject *)op)->context;
    return Py_NewRef(context != NULL ? context : Py_None);
}

static int
task_set_context(PyObject *op, PyObject *value, void *Py_UNUSED(closure))
{
    return task_set_part(&((TaskObject *)op)->context, value, "context");
}

static PyObject *
task_get_parent_nursery(PyObject *op, void *Py_UNUSED(closure))
{
    PyObject *nursery = (PyObject *)((TaskObject *)op)->parent_nursery;
    return Py_NewRef(nursery != NULL ? nursery : Py_None);
}

static PyObject *
task_get_eventual(PyObject *op, void *Py_UNUSED(closure))
{
    PyObject *nursery
        = (PyObject *)((TaskObject *)op)->eventual_parent_nursery;
    return Py_NewRef(nursery != NULL ? nursery : Py_None);
}

static PyObject *
task_get_child_nurseries(PyObject *op, void *Py_UNUSED(closure))
{
    PyObject *list = PyList_New(0);
    if (list == NULL) {
        return NULL;
    }
    for (NurseryObject *n = ((TaskObject *)op)->nursery; n != NULL;
         n = n->outer) {
        if (PyList_Append(list, (PyObject *)n) < 0) {
            Py_DECREF(list);
            return NULL;
        }
    }
    if (PyList_Reverse(list) < 0) {  /* outermost first */
        Py_DECREF(list);
        return NULL;
    }
    return list;
}

static PyObject *
task_get_sleep_data(PyObject *op, void *Py_UNUSED(closure))
{
    TaskObject *self = (TaskObject *)op;
    PyObject *data = self->sleep_data;
    if (data == NULL && self->waiting != NULL
        && self->waiting->op->sleep_data != NULL) {
        data = self->waiting->op->sleep_data(self->waiting);
    }
    return Py_NewRef(data != NULL ? data : Py_None);
}

static int
task_set_sleep_data(PyObject *op, PyObject *value, void *Py_UNUSED(closure))
{
    Py_XSETREF(((TaskObject *)op)->sleep_data, Py_XNewRef(value));
    return 0;
}

static PyObject *
task_get_cancel_status(PyObject *op, void *Py_UNUSED(closure))
{
    TaskObject *self = (TaskObject *)op;
    if (self->scope == NULL) {
        Py_RETURN_NONE;
    }
    return tc_cancel_status_new(self->runner->st, self->scope);
}

static PyObject *
task_get_schedule_points(PyObject *op, void *Py_UNUSED(closure))
{
    TaskObject *self = (TaskObject *)op;
    if (self->schedule_points_object != NULL) {
        return Py_NewRef(self->schedule_points_object);
    }
    return PyLong_FromLongLong(self->schedule_points);
}

/* Any object may be assigned; the run loop then adds to it as Python would,
   and fails as Python would. */
static int
task_set_schedule_points(PyObject *op, PyObject *value,
                         void *Py_UNUSED(closure))
{
    TaskObject *self = (TaskObject *)op;
    if (value != NULL && PyLong_CheckExact(value)) {
        int overflow;
        long long n = PyLong_AsLongLongAndOverflow(value, &overflow);
        if (!overflow) {
            self->schedule_points = n;
            Py_CLEAR(self->schedule_points_object);
            return 0;
        }
    }
    return task_set_part(&self->schedule_points_object, value,
                         "_schedule_points");
}

static PyObject *
task_get_abort_func(PyObject *op, void *Py_UNUSED(closure))
{
    PyObject *waiting = (PyObject *)((TaskObject *)op)->waiting;
    return Py_NewRef(waiting != NULL ? waiting : Py_None);
}

static PyObject *
task_iter_await_frames(FunctionObject *Py_UNUSED(func), PyObject *op,
                       PyObject *const *Py_UNUSED(args), Py_ssize_t nargs,
                       PyObject *kwnames)
{
    TaskObject *self = (TaskObject *)op;
    if (tc_args_none("Task.iter_await_frames", nargs, kwnames) < 0) {
        return NULL;
    }
    PyObject *helpers = tc_state_helpers(self->runner->st);
    if (helpers == NULL) {
        return NULL;
    }
    return PyObject_CallMethod(helpers, "iter_await_frames", "O",
                               self->coro);
}

/* --- lifetime ------------------------------------------------------------ */

static int
task_traverse(PyObject *op, visitproc visit, void *arg)
{
    TaskObject *self = (TaskObject *)op;
    Py_VISIT(Py_TYPE(op));
    Py_VISIT((PyObject *)self->runner);
    Py_VISIT(self->coro);
    Py_VISIT(self->name);
    Py_VISIT(self->context);
    Py_VISIT(self->sleep_data);
    Py_VISIT((PyObject *)self->scope);
    Py_VISIT((PyObject *)self->parent_nursery);
    Py_VISIT((PyObject *)self->eventual_parent_nursery);
    Py_VISIT((PyObject *)self->nursery);
    Py_VISIT((PyObject *)self->waiting);
    Py_VISIT(self->wake_value);
    Py_VISIT(self->wake_error);
    Py_VISIT(self->schedule_points_object);
    return tc_task_traverse_breakers(self, visit, arg);
}

/* Out of the lists that do not own it. */
static void
task_unlink(TaskObject *self)
{
    tc_list_remove(&self->scope_link);
    if (tc_link_is_linked(&self->sibling_link)) {
        tc_list_remove(&self->sibling_link);
        self->parent_nursery->n_children--;
    }
}

static int
task_clear(PyObject *op)
{
    TaskObject *self = (TaskObject *)op;
    task_unlink(self);
    /* The runner and the name stay: a half-dead task still has a repr. */
    Py_CLEAR(self->waiting);
    Py_CLEAR(self->coro);
    Py_CLEAR(self->context);
    Py_CLEAR(self->sleep_data);
    Py_CLEAR(self->scope);
    Py_CLEAR(self->parent_nursery);
    Py_CLEAR(self->eventual_parent_nursery);
    Py_CLEAR(self->nursery);
    Py_CLEAR(self->wake_value);
    Py_CLEAR(self->wake_error);
    Py_CLEAR(self->schedule_points_object);
    return 0;
}

static void
task_dealloc(PyObject *op)
{
    TaskObject *self = (TaskObject *)op;
    PyTypeObject *type = Py_TYPE(op);
    PyObject_GC_UnTrack(op);
    Py_TRASHCAN_BEGIN(self, task_dealloc)
    if (self->weakrefs != NULL) {
        PyObject_ClearWeakRefs(op);
    }
    assert(!tc_link_is_linked(&self->all_link));
    tc_task_forget_breakers(self);
    tc_state *st = self->runner->st;
    TC_LIVE_SUB(st, TaskType);
    task_clear(op);
    Py_CLEAR(self->name);
    Py_CLEAR(self->runner);
    tc_freelist_delete(&st->free_tasks, op);
    Py_DECREF(type);
    Py_TRASHCAN_END
}

static PyGetSetDef task_getset[] = {
    {"coro", task_get_coro, task_set_coro,
     PyDoc_STR("The coroutine that the run loop resumes; assignable."), NULL},
    {"context", task_get_context, task_set_context,
     PyDoc_STR("The contextvars.Context its steps run in; assignable, from\n"
               "the next step on."),
     NULL},
    {"name", task_get_name, task_set_name,
     PyDoc_STR("The task's name, for people; assignable."), NULL},
    {"parent_nursery", task_get_parent_nursery, NULL,
     PyDoc_STR("The nursery this task is in; None for the root task."),
     NULL},
    {"eventual_parent_nursery", task_get_eventual, NULL,
     PyDoc_STR("The nursery this task moves to once it has called started();\n"
               "None unless it is being started."),
     NULL},
    {"child_nurseries", task_get_child_nurseries, NULL,
     PyDoc_STR("A list of the nurseries this task has open, outermost first."),
     NULL},
    {"custom_sleep_data", task_get_sleep_data, task_set_sleep_data,
     PyDoc_STR("Whatever the code that put the task to sleep left here; None\n"
               "again when the task is rescheduled."),
     NULL},
    {"_cancel_status", task_get_cancel_status, NULL, NULL, NULL},
    {"_schedule_points", task_get_schedule_points, task_set_schedule_points,
     NULL, NULL},
    {"_abort_func", task_get_abort_func, NULL, NULL, NULL},
    {"_child_nurseries", task_get_child_nurseries, NULL, NULL, NULL},
    {"_parent_nursery", task_get_parent_nursery, NULL, NULL, NULL},
    {NULL, NULL, NULL, NULL, NULL},
};

static PyMemberDef task_members[] = {
    {"_runner", T_OBJECT, offsetof(TaskObject, runner), READONLY, NULL},
    {"_counter", T_ULONGLONG, offsetof(TaskObject, counter), READONLY, NULL},
    {"_cancel_points", T_LONGLONG, offsetof(TaskObject, cancel_points), 0,
     NULL},
    {"_ki_protected", T_BOOL, offsetof(TaskObject, ki_protected), 0, NULL},
    {"__weaklistoffset__", T_PYSSIZET, offsetof(TaskObject, weakrefs),
     READONLY, NULL},
    {NULL, 0, 0, 0, NULL},
};

static const tc_function_def task_functions[] = {
    {"Task.iter_await_frames", "trio_c.lowlevel", task_iter_await_frames},
    {NULL, NULL, NULL},
};

static PyMethodDef task_methods[] = {
    TC_FINAL_METHOD,
    {NULL, NULL, 0, NULL},
};

PyDoc_STRVAR(task_doc,
             "One thread of work, scheduled by the run loop. Made by\n"
             "nurseries, never by hand.");

static PyType_Slot task_slots[] = {
    {Py_tp_doc, (char *)task_doc},
    {Py_tp_new, tc_type_no_constructor},
    {Py_tp_dealloc, task_dealloc},
    {Py_tp_traverse, task_traverse},
    {Py_tp_clear, task_clear},
    {Py_tp_repr, task_repr},
    {Py_tp_getset, task_getset},
    {Py_tp_members, task_members},
    {Py_tp_methods, task_methods},
    {0, NULL},
};

static PyType_Spec tc_task_spec = {
    .name = "trio_c.lowlevel.Task",
    .basicsize = sizeof(TaskObject),
    .flags = Py_TPFLAGS_DEFAULT | Py_TPFLAGS_HAVE_GC | Py_TPFLAGS_BASETYPE,
    .slots = task_slots,
};

int
tc_task_register(tc_state *st)
{
    if (tc_state_add_type(st, &st->TaskType, &tc_task_spec, NULL, "Task")
            < 0
        || tc_function_add_to_type(st, st->TaskType, task_functions) < 0) {
        return -1;
    }
    return tc_type_mark_final(st, st->TaskType);
}
