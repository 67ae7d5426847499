/* spawn.c - from an async function to a scheduled task.
 *
 * The common case, a Python coroutine function or one of ours, is decided by
 * two exact type checks; whatever else comes is looked at in Python
 * (trio_c/_core/_spawn.py), which also words the complaints.
 */
#include "../glue/errors.h"
#include "instruments.h"
#include "nursery.h"
#include "runner.h"
#include "sniffio.h"
#include "task.h"

static PyObject *
spawn_helper(tc_state *st)
{
    PyObject *known = tc_state_peek(&st->spawn_helpers);
    if (known == NULL) {
        PyObject *mod = PyImport_ImportModule("trio_c._core._spawn");
        known = mod == NULL ? NULL
                            : tc_state_publish(&st->spawn_helpers, mod);
    }
    return known;
}

/* The call raised a TypeError: raise a kinder one if async_fn is a coroutine
   or a foreign future, else leave it. */
static void
spawn_explain(tc_state *st, PyObject *async_fn)
{
    PyObject *original = PyErr_GetRaisedException();
    PyObject *helpers = spawn_helper(st);
    PyObject *better = NULL;
    if (helpers != NULL) {
        better = PyObject_CallMethod(helpers, "explain_type_error", "O",
                                     async_fn);
    }
    if (better == NULL) {
        Py_XDECREF(original);
        return;
    }
    if (better == Py_None) {
        PyErr_SetRaisedException(original);
    }
    else {
        Py_XDECREF(original);
        PyErr_SetRaisedException(Py_NewRef(better));
    }
    Py_DECREF(better);
}

/* async_fn(*args) -> something to step. New reference or NULL. Runs in the
   context that is current. */
static PyObject *
spawn_call(tc_state *st, PyObject *async_fn, PyObject *const *args,
           Py_ssize_t nargs, PyObject *kwnames, int wrap)
{
    PyObject *coro = PyObject_Vectorcall(async_fn, args, nargs, kwnames);
    if (coro == NULL) {
        if (PyErr_ExceptionMatches(PyExc_TypeError)) {
            spawn_explain(st, async_fn);
        }
        return NULL;
    }
    if (PyCoro_CheckExact(coro) || Awaitable_CheckExact(st, coro)) {
        return coro;
    }
    PyObject *helpers = spawn_helper(st);
    PyObject *checked = NULL;
    if (helpers != NULL) {
        checked = PyObject_CallMethod(helpers, wrap ? "as_root" : "check",
                                      "OO", coro, async_fn);
    }
    Py_DECREF(coro);
    return checked;
}

PyObject *
tc_spawn_coroutine(tc_state *st, PyObject *async_fn, PyObject *const *args,
                   Py_ssize_t nargs, PyObject *kwnames, int wrap)
{
    PyObject *previous;
    if (tc_sniffio_enter(st, &previous) < 0) {
        return NULL;
    }
    PyObject *coro = spawn_call(st, async_fn, args, nargs, kwnames, wrap);
    if (tc_sniffio_leave(st, previous) < 0) {
        Py_CLEAR(coro);
    }
    return coro;
}

/* What Task.name is made from: functions stay functions until somebody asks
   (tc_task_name). New reference. */
static PyObject *
spawn_name(tc_state *st, PyObject *name, PyObject *async_fn)
{
    if (name == NULL || name == Py_None) {
        name = async_fn;
    }
    if (PyMethod_Check(name)) {
        name = PyMethod_GET_FUNCTION(name);
    }
    if (PyUnicode_Check(name) || PyFunction_Check(name)
        || Py_IS_TYPE(name, st->FunctionType)) {
        return Py_NewRef(name);
    }
    PyObject *helpers = spawn_helper(st);
    if (helpers == NULL) {
        return NULL;
    }
    return PyObject_CallMethod(helpers, "task_name", "O", name);
}

/* Room for one more task, so that waking one can never fail. */
static int
spawn_reserve(RunnerObject *runner)
{
    if (runner->n_tasks < runner->capacity) {
        return 0;
    }
    Py_ssize_t capacity = runner->capacity * 2 + 16;
    TaskObject **ready = runner->ready, **batch = runner->batch;
    PyMem_Resize(ready, TaskObject *, capacity);
    if (ready != NULL) {
        runner->ready = ready;
        PyMem_Resize(batch, TaskObject *, capacity);
    }
    if (ready == NULL || batch == NULL) {
        PyErr_NoMemory();
        return -1;
    }
    runner->batch = batch;
    runner->capacity = capacity;
    return 0;
}

TaskObject *
tc_spawn_task(RunnerObject *runner, PyObject *coro, PyObject *name,
              PyObject *context, NurseryObject *nursery, int system_task)
{
    /* The call may have closed the run, or the nursery. */
    if (runner->closed) {
        PyErr_SetString(runner->st->exc_RunFinishedError,
                        "run() has exited");
        return NULL;
    }
    if (spawn_reserve(runner) < 0) {
        return NULL;
    }
    TaskObject *task
        = tc_task_new(runner, coro, name, context, nursery, system_task);
    if (task == NULL) {
        return NULL;
    }
    tc_list_append(&runner->tasks, &task->all_link);  /* owns it now */
    runner->n_tasks++;
    int r = 0;
    if (nursery != NULL) {
        tc_list_append(&nursery->children, &task->sibling_link);
        nursery->n_children++;
        r = tc_task_set_scope(task, nursery->scope);
    }
    if (r == 0) {
        r = TC_HOOK(runner, TC_HOOK_TASK_SPAWNED, (PyObject *)task);
    }
    /* It is in the tree: whatever fails, it must run, or its nursery would
       wait for ever. */
    PyObject *failure = PyErr_GetRaisedException();
    if (!task->scheduled && tc_task_wake(task) < 0) {
        r = -1;
    }
    if (failure != NULL) {
        PyErr_SetRaisedException(failure);
    }
    return r < 0 ? NULL : task;
}

/* Is it a Python coroutine function, or a method that is one? Calling it runs
   nothing that could look at the context or ask sniffio. */
static int
spawn_only_binds(PyObject *async_fn)
{
    if (PyMethod_Check(async_fn)) {
        async_fn = PyMethod_GET_FUNCTION(async_fn);
    }
    return PyFunction_Check(async_fn)
           && (((PyCodeObject *)PyFunction_GET_CODE(async_fn))->co_flags
               & CO_COROUTINE);
}

/* Does sniffio say "trio" already? It does all through a run, unless a guest's
   host is calling or somebody has changed it. */
static int
spawn_says_trio(RunnerObject *runner)
{
    PyObject *dict = runner->sniffio_dict;
    return dict != NULL
           && PyDict_GetItemWithError(dict, runner->st->str_name)
                  == runner->st->str_trio;
}

/* The coroutine of a new task, called in its context. */
static PyObject *
spawn_call_inside(RunnerObject *runner, PyObject *context,
                  PyObject *async_fn, PyObject *const *args,
                  Py_ssize_t nargs, PyObject *kwnames)
{
    tc_state *st = runner->st;
    if (PyContext_Enter(context) < 0) {
        return NULL;
    }
    PyObject *coro
        = spawn_says_trio(runner)
              ? spawn_call(st, async_fn, args, nargs, kwnames, 1)
              : tc_spawn_coroutine(st, async_fn, args, nargs, kwnames, 1);
    if (PyContext_Exit(context) < 0) {
        Py_CLEAR(coro);
    }
    return coro;
}

TaskObject *
tc_runner_spawn(RunnerObject *runner, PyObject *async_fn,
                PyObject *const *args, Py_ssize_t nargs, PyObject *kwnames,
                NurseryObject *nursery, PyObject *name, int system_task,
                PyObject *context)
{
    tc_state *st = runner->st;
    if (nursery != NULL && nursery->closed) {
        PyErr_SetString(PyExc_RuntimeError,
                        "Nursery is closed to new arrivals");
        return NULL;
    }
    PyObject *ctx = NULL, *coro = NULL, *label = NULL;
    TaskObject *task = NULL;
    Py_XINCREF((PyObject *)nursery);
    if (context != NULL && context != Py_None) {
        if (!PyContext_CheckExact(context)) {
            PyErr_Format(PyExc_TypeError,
                         "context must be a contextvars.Context, not %s",
                         Py_TYPE(context)->tp_name);
            goto done;
        }
        ctx = Py_NewRef(context);
    }
    else if (system_task) {
        ctx = PyContext_Copy(runner->system_context);
    }
    else {
        ctx = PyContext_CopyCurrent();
    }
    if (ctx == NULL) {
        goto done;
    }
    /* Somebody else's context may be entered already, which is an error. */
    coro = ctx != context && spawn_only_binds(async_fn)
               ? spawn_call(st, async_fn, args, nargs, kwnames, 1)
               : spawn_call_inside(runner, ctx, async_fn, args, nargs,
                                   kwnames);
    if (coro == NULL) {
        goto done;
    }
    label = spawn_name(st, name, async_fn);
    if (label != NULL) {
        task = tc_spawn_task(runner, coro, label, ctx, nursery, system_task);
    }
done:
    Py_XDECREF(label);
    Py_XDECREF(coro);
    Py_XDECREF(ctx);
    Py_XDECREF((PyObject *)nursery);
    return task;
}

TaskObject *
tc_runner_spawn_system(RunnerObject *runner, PyObject *async_fn,
                       PyObject *const *args, Py_ssize_t nargs,
                       PyObject *name, PyObject *context)
{
    if (runner->system_nursery == NULL) {
        PyErr_SetString(PyExc_RuntimeError,
                        "Nursery is closed to new arrivals");
        return NULL;
    }
    return tc_runner_spawn(runner, async_fn, args, nargs, NULL,
                           runner->system_nursery, name, 1, context);
}
