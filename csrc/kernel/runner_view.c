/* runner_view.c - attributes and methods of Runner for introspection and for
 * the cold Python parts (init, guest mode, mock clock).
 */
#include "runner_view.h"
#include "../glue/args.h"
#include "../glue/errors.h"
#include "../glue/types.h"
#include "entry_queue.h"
#include "io.h"
#include "ki.h"
#include "nursery.h"
#include "task.h"
#include "token.h"

/* --- statistics -------------------------------------------------------- */

PyObject *
tc_runner_statistics(RunnerObject *self)
{
    double deadline;
    if (tc_deadlines_next(&self->deadlines, &deadline) < 0) {
        return NULL;
    }
    double now = tc_runner_time(self);
    if (now == -1.0 && PyErr_Occurred()) {
        return NULL;
    }
    PyObject *values[] = {
        PyLong_FromSsize_t(self->n_tasks),
        PyLong_FromSsize_t(self->n_ready),
        PyFloat_FromDouble(deadline - now),
        tc_io_statistics(self->io),
        PyLong_FromSsize_t(tc_entry_queue_size(self->entry_queue)),
    };
    return tc_statistics_new(self->st->RunStatisticsType, values);
}

/* --- lists of tasks ---------------------------------------------------- */

static PyObject *
runner_get_tasks(PyObject *op, void *Py_UNUSED(closure))
{
    RunnerObject *self = (RunnerObject *)op;
    PyObject *tasks = PySet_New(NULL);
    if (tasks == NULL) {
        return NULL;
    }
    for (tc_link *l = self->tasks.next; l != &self->tasks; l = l->next) {
        if (PySet_Add(tasks, (PyObject *)TC_CONTAINER_OF(l, TaskObject,
                                                         all_link))
            < 0) {
            Py_DECREF(tasks);
            return NULL;
        }
    }
    return tasks;
}

static PyObject *
runner_get_runq(PyObject *op, void *Py_UNUSED(closure))
{
    RunnerObject *self = (RunnerObject *)op;
    PyObject *list = PyList_New(self->n_ready);
    if (list == NULL) {
        return NULL;
    }
    for (Py_ssize_t i = 0; i < self->n_ready; i++) {
        PyList_SET_ITEM(list, i, Py_NewRef((PyObject *)self->ready[i]));
    }
    return list;
}

/* The queue is native and cannot be another. A run whose queue somebody has
   replaced by force ends like any run that is broken inside. */
static int
runner_set_runq(PyObject *op, PyObject *Py_UNUSED(value),
                void *Py_UNUSED(closure))
{
    ((RunnerObject *)op)->wrecked = 1;
    return 0;
}

static PyObject *
runner_get_io_manager(PyObject *op, void *Py_UNUSED(closure))
{
    return tc_io_manager((RunnerObject *)op);
}

static PyObject *
runner_get_token(PyObject *op, void *Py_UNUSED(closure))
{
    return Py_XNewRef((PyObject *)tc_token_of_runner((RunnerObject *)op));
}

static PyObject *
runner_get_strict(PyObject *op, void *Py_UNUSED(closure))
{
    return PyBool_FromLong(((RunnerObject *)op)->strict_exception_groups);
}

/* The outcome of the main task, as outcome.Value or outcome.Error; None
   before. */
static PyObject *
runner_get_main_outcome(PyObject *op, void *Py_UNUSED(closure))
{
    RunnerObject *self = (RunnerObject *)op;
    if (!self->main_done) {
        Py_RETURN_NONE;
    }
    PyObject *error = self->main_error;
    PyObject *type = error != NULL ? tc_state_outcome_error(self->st)
                                   : tc_state_outcome_value(self->st);
    if (type == NULL) {
        return NULL;
    }
    return PyObject_CallOneArg(type, error != NULL            ? error
                                     : self->main_value != NULL
                                         ? self->main_value
                                         : Py_None);
}

PyGetSetDef tc_runner_getset[] = {
    {"tasks", runner_get_tasks, NULL, NULL, NULL},
    {"runq", runner_get_runq, runner_set_runq, NULL, NULL},
    {"io_manager", runner_get_io_manager, NULL, NULL, NULL},
    {"trio_token", runner_get_token, NULL, NULL, NULL},
    {"strict_exception_groups", runner_get_strict, NULL, NULL, NULL},
    {"main_task_outcome", runner_get_main_outcome, NULL, NULL, NULL},
    {"__dict__", PyObject_GenericGetDict, PyObject_GenericSetDict, NULL,
     NULL},
    {NULL, NULL, NULL, NULL, NULL},
};

/* --- what init needs --------------------------------------------------- */

static NurseryObject *
runner_nursery_arg(RunnerObject *self, PyObject *arg)
{
    if (!Py_IS_TYPE(arg, self->st->NurseryType)) {
        PyErr_Format(PyExc_TypeError, "expected a Nursery, got %s",
                     Py_TYPE(arg)->tp_name);
        return NULL;
    }
    return (NurseryObject *)arg;
}

/* _start_main(nursery, async_fn, args) -> bool: False if calling async_fn
   failed; then that is the run's outcome. */
static PyObject *
runner_start_main(PyObject *op, PyObject *args)
{
    if (tc_home_check(op) < 0) {
        return NULL;
    }
    RunnerObject *self = (RunnerObject *)op;
    PyObject *nursery_arg, *async_fn, *call_args;
    if (!PyArg_ParseTuple(args, "OOO!:_start_main", &nursery_arg, &async_fn,
                          &PyTuple_Type, &call_args)) {
        return NULL;
    }
    NurseryObject *nursery = runner_nursery_arg(self, nursery_arg);
    if (nursery == NULL) {
        return NULL;
    }
    TaskObject *task = tc_runner_spawn(
        self, async_fn, &PyTuple_GET_ITEM(call_args, 0),
        PyTuple_GET_SIZE(call_args), NULL, nursery, NULL, 0, NULL);
    if (task == NULL) {
        self->main_done = 1;
        Py_XSETREF(self->main_error, PyErr_GetRaisedException());
        Py_RETURN_FALSE;
    }
    Py_XSETREF(self->main_task,
               (TaskObject *)Py_NewRef((PyObject *)task));
    Py_RETURN_TRUE;
}

/* _start_entry_queue(nursery): the task that runs queued callbacks. */
static PyObject *
runner_start_entry_queue(PyObject *op, PyObject *arg)
{
    if (tc_home_check(op) < 0) {
        return NULL;
    }
    RunnerObject *self = (RunnerObject *)op;
    NurseryObject *nursery = runner_nursery_arg(self, arg);
    if (nursery == NULL) {
        return NULL;
    }
    PyObject *coro = tc_entry_queue_task(self->entry_queue);
    PyObject *context = PyContext_Copy(self->system_context);
    PyObject *name = PyUnicode_FromString("<TrioToken.run_sync_soon task>");
    TaskObject *task = NULL;
    if (coro != NULL && context != NULL && name != NULL) {
        task = tc_spawn_task(self, coro, name, context, nursery, 1);
    }
    Py_XDECREF(coro);
    Py_XDECREF(context);
    Py_XDECREF(name);
    return task == NULL ? NULL : Py_NewRef(Py_None);
}

static PyObject *
runner_set_system_nursery(PyObject *op, PyObject *arg)
{
    if (tc_home_check(op) < 0) {
        return NULL;
    }
    RunnerObject *self = (RunnerObject *)op;
    NurseryObject *nursery = runner_nursery_arg(self, arg);
    if (nursery == NULL) {
        return NULL;
    }
    Py_XSETREF(self->system_nursery,
               (NurseryObject *)Py_NewRef((PyObject *)nursery));
    Py_RETURN_NONE;
}

/* _shut_down(nursery, text): cancel it on behalf of the root task. */
static PyObject *
runner_shut_down(PyObject *op, PyObject *args)
{
    if (tc_home_check(op) < 0) {
        return NULL;
    }
    RunnerObject *self = (RunnerObject *)op;
    PyObject *nursery_arg, *text;
    if (!PyArg_ParseTuple(args, "OU:_shut_down", &nursery_arg, &text)) {
        return NULL;
    }
    NurseryObject *nursery = runner_nursery_arg(self, nursery_arg);
    if (nursery == NULL) {
        return NULL;
    }
    int r = tc_scope_cancel_with(nursery->scope, "shutdown", self->init_task,
                                 text);
    return r < 0 ? NULL : Py_NewRef(Py_None);
}

/* --- upstream's methods ------------------------------------------------ */

static PyObject *
runner_current_time(PyObject *op, PyObject *Py_UNUSED(ignored))
{
    double now = tc_runner_time((RunnerObject *)op);
    if (now == -1.0 && PyErr_Occurred()) {
        return NULL;
    }
    return PyFloat_FromDouble(now);
}

static PyObject *
runner_current_statistics(PyObject *op, PyObject *Py_UNUSED(ignored))
{
    if (tc_home_check(op) < 0) {
        return NULL;
    }
    return tc_runner_statistics((RunnerObject *)op);
}

static PyObject *
runner_force_guest_tick(PyObject *op, PyObject *Py_UNUSED(ignored))
{
    if (tc_home_check(op) < 0) {
        return NULL;
    }
    if (tc_runner_force_tick((RunnerObject *)op) < 0) {
        return NULL;
    }
    Py_RETURN_NONE;
}

static PyObject *
runner_spawn_system_task(PyObject *op, PyObject *args, PyObject *kwargs)
{
    if (tc_home_check(op) < 0) {
        return NULL;
    }
    static const tc_params params = {
        .fname = "spawn_system_task",
        .names = {"name", "context"},
    };
    RunnerObject *self = (RunnerObject *)op;
    PyObject *a[2];
    PyObject *none = PyTuple_New(0);
    if (none == NULL) {
        return NULL;
    }
    int r = tc_args_parse_tuple(&params, none, kwargs, a);
    Py_DECREF(none);
    if (r < 0) {
        return NULL;
    }
    Py_ssize_t n = PyTuple_GET_SIZE(args);
    if (n < 1) {
        PyErr_SetString(PyExc_TypeError,
                        "spawn_system_task() missing 1 required positional "
                        "argument: 'async_fn'");
        return NULL;
    }
    TaskObject *task = tc_runner_spawn_system(
        self, PyTuple_GET_ITEM(args, 0), &PyTuple_GET_ITEM(args, 0) + 1,
        n - 1, a[0], a[1]);
    return Py_XNewRef((PyObject *)task);
}

static PyObject *
runner_reschedule(PyObject *op, PyObject *args)
{
    if (tc_home_check(op) < 0) {
        return NULL;
    }
    RunnerObject *self = (RunnerObject *)op;
    PyObject *task;
    if (!PyArg_ParseTuple(args, "O!:reschedule", self->st->TaskType,
                          &task)) {
        return NULL;
    }
    if (tc_task_reschedule_checked(self, (TaskObject *)task, NULL, NULL)
        < 0) {
        return NULL;
    }
    Py_RETURN_NONE;
}

PyMethodDef tc_runner_methods[] = {
    {"_start_main", runner_start_main, METH_VARARGS, NULL},
    {"_start_entry_queue", runner_start_entry_queue, METH_O, NULL},
    {"_set_system_nursery", runner_set_system_nursery, METH_O, NULL},
    {"_shut_down", runner_shut_down, METH_VARARGS, NULL},
    {"current_time", runner_current_time, METH_NOARGS, NULL},
    {"current_statistics", runner_current_statistics, METH_NOARGS, NULL},
    {"force_guest_tick_asap", runner_force_guest_tick, METH_NOARGS, NULL},
    {"spawn_system_task",
     (PyCFunction)(void (*)(void))runner_spawn_system_task,
     METH_VARARGS | METH_KEYWORDS, NULL},
    {"reschedule", runner_reschedule, METH_VARARGS, NULL},
    {NULL, NULL, 0, NULL},
};

int
tc_runner_view_register(tc_state *st)
{
    static const char *const fields[] = {
        "tasks_living",
        "tasks_runnable",
        "seconds_to_next_deadline",
        "io_statistics",
        "run_sync_soon_queue_size",
        NULL,
    };
    st->RunStatisticsType = tc_statistics_new_type(
        st, "RunStatistics", "trio_c.lowlevel",
        "What a run is doing: how many tasks exist and how many of them are\n"
        "ready to go on, the seconds until the next deadline (inf: there is\n"
        "none; negative: it has passed), what the poller says of itself, and\n"
        "how many callbacks wait in the entry queue.",
        fields);
    if (st->RunStatisticsType == NULL) {
        return -1;
    }
    return PyModule_AddObjectRef(st->module, "RunStatistics",
                                 (PyObject *)st->RunStatisticsType);
}
