/* context.c - the thread's slots and GLOBAL_RUN_CONTEXT, their Python face.
 *
 * GLOBAL_RUN_CONTEXT looks like a threading.local with the attributes
 * `runner` and `task`; its __dict__ is a live mapping over the same slots
 * (trio_c/_core/_run_context.py), which greenlet-switching libraries copy,
 * clear and refill.
 */
#include "context.h"
#include "../base/hints.h"
#include "../glue/errors.h"
#include "runner.h"
#include "task.h"

TC_THREAD_LOCAL tc_slots tc_thread_slots;

/* The run of this copy of the module that is around another copy's. */
TC_COLD static RunnerObject *
context_outer_runner(tc_state *st)
{
    RunnerObject *runner = tc_thread_slots.runner;
    while (runner != NULL && runner->st != st) {
        runner = runner->outer.runner;
    }
    return runner;
}

TC_COLD static TaskObject *
context_outer_task(tc_state *st)
{
    TaskObject *task = tc_thread_slots.task;
    RunnerObject *runner = tc_thread_slots.runner;
    while (runner != NULL && runner->st != st) {
        task = runner->outer.task;
        runner = runner->outer.runner;
    }
    return runner != NULL && task != NULL && task->runner == runner ? task
                                                                    : NULL;
}

RunnerObject *
tc_context_runner(tc_state *st)
{
    RunnerObject *runner = tc_thread_slots.runner;
    return runner == NULL || runner->st == st ? runner
                                              : context_outer_runner(st);
}

TaskObject *
tc_context_task(tc_state *st)
{
    TaskObject *task = tc_thread_slots.task;
    return task != NULL && task->runner->st == st ? task
                                                  : context_outer_task(st);
}

static void
context_missing(const char *what)
{
    PyErr_Format(PyExc_AttributeError,
                 "'RunContext' object has no attribute '%s'", what);
    tc_error_attribute_to_no_context();
}

RunnerObject *
tc_context_need_runner(tc_state *st)
{
    RunnerObject *runner = tc_context_runner(st);
    if (runner == NULL) {
        context_missing("runner");
    }
    return runner;
}

TaskObject *
tc_context_need_task(tc_state *st)
{
    TaskObject *task = tc_context_task(st);
    if (task == NULL) {
        context_missing("task");
    }
    return task;
}

typedef struct {
    PyObject_HEAD
    tc_state *st;            /* borrowed */
    PyObject *runs;          /* owned dict: thread -> {"runner": its runner} */
} RunContextObject;

/* The key in `runs` of this thread, borrowed; NULL without exception if there
   is none. To find it needs no memory: a run that ends is to be forgotten in
   any case. */
static PyObject *
context_shown_as(PyObject *runs)
{
    PyObject *key, *value;
    for (Py_ssize_t pos = 0; PyDict_Next(runs, &pos, &key, &value);) {
        if (PyLong_AsUnsignedLong(key) == PyThread_get_thread_ident()) {
            return key;
        }
    }
    return NULL;
}

/* Tools find the runs of all threads by way of gc.get_referents(). They only
   look: what cannot be shown is left out. */
static void
context_show(tc_state *st, RunnerObject *runner)
{
    RunContextObject *context = (RunContextObject *)st->run_context;
    PyObject *exc = PyErr_GetRaisedException();
    PyObject *thread = NULL, *slots = NULL;
    if (context == NULL || context->runs == NULL) {
        goto done;  /* the module is going */
    }
    if (runner == NULL) {
        thread = Py_XNewRef(context_shown_as(context->runs));
        if (thread != NULL) {
            (void)PyDict_DelItem(context->runs, thread);
        }
        goto done;
    }
    thread = PyLong_FromUnsignedLong(PyThread_get_thread_ident());
    if (thread == NULL) {
        goto done;
    }
    slots = Py_BuildValue("{sO}", "runner", runner);
    if (slots != NULL) {
        (void)PyDict_SetItem(context->runs, thread, slots);
    }
done:
    PyErr_Clear();
    Py_XDECREF(slots);
    Py_XDECREF(thread);
    if (exc != NULL) {
        PyErr_SetRaisedException(exc);
    }
}

void
tc_context_set_runner(RunnerObject *runner)
{
    tc_slots *slots = &tc_thread_slots;
    RunnerObject *old = slots->runner;
    if (runner != NULL && old != NULL && old->st != runner->st
        && runner->outer.runner == NULL) {
        runner->outer = *slots;
        slots->task = NULL;
        old = NULL;
    }
    slots->runner = (RunnerObject *)Py_XNewRef((PyObject *)runner);
    if (runner == NULL && old != NULL) {
        slots->runner = old->outer.runner;
        if (slots->task == NULL) {
            slots->task = old->outer.task;
            old->outer.task = NULL;
        }
        old->outer.runner = NULL;
    }
#if TC_FREE_THREADED
    tc_home_set_here(slots->runner == NULL ? NULL : &slots->runner->home_run);
#endif
    if (old != NULL) {
        context_show(old->st, NULL);
    }
    if (runner != NULL) {
        context_show(runner->st, runner);
    }
    Py_XDECREF(old);
}

void
tc_context_set_task(TaskObject *task)
{
    tc_context_put_task(&tc_thread_slots, task);
}

static PyObject *
run_context_get(PyObject *self, void *closure)
{
    tc_state *st = ((RunContextObject *)self)->st;
    PyObject *value = closure != NULL ? (PyObject *)tc_context_task(st)
                                      : (PyObject *)tc_context_runner(st);
    if (value == NULL) {
        PyErr_Format(PyExc_AttributeError,
                     "'RunContext' object has no attribute '%s'",
                     closure != NULL ? "task" : "runner");
        return NULL;
    }
    return Py_NewRef(value);
}

static int
run_context_set(PyObject *self, PyObject *value, void *closure)
{
    tc_state *st = ((RunContextObject *)self)->st;
    PyTypeObject *type = closure != NULL ? st->TaskType : st->RunnerType;
    if (value == NULL) {
        PyObject *old = run_context_get(self, closure);
        if (old == NULL) {
            return -1;
        }
        Py_DECREF(old);
    }
    else if (!PyObject_TypeCheck(value, type)) {
        PyErr_Format(PyExc_TypeError, "expected %s, got %s", type->tp_name,
                     Py_TYPE(value)->tp_name);
        return -1;
    }
    else if (tc_home_check(value) < 0) {
        return -1;
    }
    if (closure != NULL) {
        tc_context_set_task((TaskObject *)value);
    }
    else {
        tc_context_set_runner((RunnerObject *)value);
    }
    return 0;
}

static PyObject *
run_context_get_dict(PyObject *self, void *Py_UNUSED(closure))
{
    PyObject *mod = PyImport_ImportModule("trio_c._core._run_context");
    if (mod == NULL) {
        return NULL;
    }
    PyObject *dict = PyObject_CallMethod(mod, "SlotsDict", "O", self);
    Py_DECREF(mod);
    return dict;
}

static int
run_context_traverse(PyObject *self, visitproc visit, void *arg)
{
    Py_VISIT(Py_TYPE(self));
    Py_VISIT(((RunContextObject *)self)->runs);
    return 0;
}

static int
run_context_clear(PyObject *self)
{
    Py_CLEAR(((RunContextObject *)self)->runs);
    return 0;
}

static void
run_context_dealloc(PyObject *self)
{
    PyTypeObject *type = Py_TYPE(self);
    PyObject_GC_UnTrack(self);
    (void)run_context_clear(self);
    type->tp_free(self);
    Py_DECREF(type);
}

static char closure_task;

static PyGetSetDef run_context_getset[] = {
    {"runner", run_context_get, run_context_set, NULL, NULL},
    {"task", run_context_get, run_context_set, NULL, &closure_task},
    {"__dict__", run_context_get_dict, NULL, NULL, NULL},
    {NULL, NULL, NULL, NULL, NULL},
};

static PyType_Slot run_context_slots[] = {
    {Py_tp_dealloc, run_context_dealloc},
    {Py_tp_traverse, run_context_traverse},
    {Py_tp_clear, run_context_clear},
    {Py_tp_getset, run_context_getset},
    {0, NULL},
};

static PyType_Spec tc_run_context_spec = {
    .name = "trio_c._native.RunContext",
    .basicsize = sizeof(RunContextObject),
    .flags = Py_TPFLAGS_DEFAULT | Py_TPFLAGS_HAVE_GC
             | Py_TPFLAGS_DISALLOW_INSTANTIATION,
    .slots = run_context_slots,
};

int
tc_context_register(tc_state *st)
{
    if (tc_state_add_type(st, &st->RunContextType, &tc_run_context_spec,
                          NULL, NULL)
        < 0) {
        return -1;
    }
    RunContextObject *context
        = PyObject_GC_New(RunContextObject, st->RunContextType);
    if (context == NULL) {
        return -1;
    }
    context->st = st;
    context->runs = PyDict_New();
    PyObject_GC_Track(context);
    st->run_context = (PyObject *)context;
    if (context->runs == NULL) {
        return -1;
    }
    return PyModule_AddObjectRef(st->module, "GLOBAL_RUN_CONTEXT",
                                 st->run_context);
}
