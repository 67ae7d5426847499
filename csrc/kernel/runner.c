/* runner.c - the Runner type: set-up, take-down, and the view of it that
 * libraries reach through `task._runner` and GLOBAL_RUN_CONTEXT.runner.
 */
#include "runner.h"
#include "../base/clock.h"
#include "../glue/args.h"
#include "../glue/errors.h"
#include "clock.h"
#include "entry_queue.h"
#include "instruments.h"
#include "io.h"
#include "ki.h"
#include "nursery.h"
#include "runner_close.h"
#include "runner_new.h"
#include "runner_view.h"
#include "sniffio.h"
#include "task.h"

/* --- set-up ------------------------------------------------------------ */

/* What the interpreter does with async generators in this thread, to be put
   back by runner_restore_hooks(). */
static int
runner_save_hooks(RunnerObject *self)
{
    PyObject *sys = PyImport_ImportModule("sys");
    if (sys == NULL) {
        return -1;
    }
    PyObject *set = PyObject_GetAttrString(sys, "set_asyncgen_hooks");
    PyObject *before
        = set == NULL ? NULL
                      : PyObject_CallMethod(sys, "get_asyncgen_hooks", NULL);
    Py_DECREF(sys);
    if (before == NULL || !PyTuple_Check(before)) {
        if (before != NULL) {
            PyErr_SetString(PyExc_TypeError, "hooks must be a tuple");
        }
        Py_XDECREF(set);
        Py_XDECREF(before);
        return -1;
    }
    self->set_hooks = set;
    self->hooks_before = before;
    return 0;
}

static int
runner_restore_hooks(RunnerObject *self)
{
    if (self->set_hooks == NULL) {
        return 0;
    }
    PyObject *r = PyObject_Call(self->set_hooks, self->hooks_before, NULL);
    Py_XDECREF(r);
    Py_CLEAR(self->set_hooks);
    Py_CLEAR(self->hooks_before);
    return r == NULL ? -1 : 0;
}

static int
runner_add_asyncgens(RunnerObject *self)
{
    PyObject *mod = tc_state_asyncgens(self->st);
    if (mod == NULL) {
        return -1;
    }
    self->asyncgens = PyObject_CallMethod(mod, "AsyncGenerators", NULL);
    if (self->asyncgens == NULL || runner_save_hooks(self) < 0) {
        return -1;
    }
    PyObject *r = PyObject_CallMethod(self->asyncgens, "install_hooks", "OO",
                                      self, self->hooks_before);
    Py_XDECREF(r);
    return r == NULL ? -1 : 0;
}

RunnerObject *
tc_runner_new(tc_state *st, const tc_run_options *options)
{
    RunnerObject *self = PyObject_GC_New(RunnerObject, st->RunnerType);
    if (self == NULL) {
        return NULL;
    }
    memset((char *)self + sizeof(PyObject), 0,
           sizeof(*self) - sizeof(PyObject));
    self->st = st;
#if TC_FREE_THREADED
    tc_home_begin_run(&self->home_run);
    tc_home_init((PyObject *)self, self->home_run.id);
#endif
    tc_list_init(&self->tasks);
    tc_list_init(&self->idle_waiters);
    tc_deadlines_init(&self->deadlines);
    self->autojump_threshold = Py_HUGE_VAL;
    self->strict_exception_groups = options->strict;
    tc_random_seed(&self->random, (uint64_t)(uintptr_t)self
                                      ^ (uint64_t)(tc_clock_monotonic()
                                                   * 1e9));
    TC_LIVE_ADD(st, RunnerType);
    PyObject_GC_Track(self);

    self->clock = options->clock != NULL && options->clock != Py_None
                      ? Py_NewRef(options->clock)
                      : tc_clock_new(st);
    if (self->clock == NULL) {
        goto error;
    }
    if (Py_IS_TYPE(self->clock, st->SystemClockType)) {
        self->native_clock = 1;
        self->clock_offset = tc_clock_offset(self->clock);
    }
    if ((self->instruments = tc_instruments_new(st, options->instruments))
            == NULL
        || (self->io = tc_io_new(self)) == NULL
        || (self->system_context = PyContext_CopyCurrent()) == NULL
        || (self->ki_manager = tc_ki_manager_new(st)) == NULL
        || (self->locals = PyDict_New()) == NULL
        || (self->sniffio_dict = tc_sniffio_dict(st)) == NULL
        || (self->entry_queue = tc_entry_queue_new(st)) == NULL
        || runner_add_asyncgens(self) < 0) {
        goto error;
    }
    if (tc_ki_manager_install(self->ki_manager, self,
                              options->restrict_ki)
        < 0) {
        goto error;
    }
    tc_context_set_runner(self);
    return self;

error:
    tc_runner_close(self);
    Py_DECREF(self);
    return NULL;
}

/* --- take-down --------------------------------------------------------- */

/* Remember the first failure, report the others. */
static void
runner_note_failure(PyObject **first)
{
    PyObject *exc = PyErr_GetRaisedException();
    if (exc == NULL) {
        return;
    }
    if (*first == NULL) {
        *first = exc;
    }
    else {
        PyErr_SetRaisedException(exc);
        PyErr_WriteUnraisable(NULL);
    }
}

/* What a crash leaves behind: drop it all. Coroutines that clean up find no
   run any more. */
static void
runner_drop_tasks(RunnerObject *self)
{
    for (Py_ssize_t i = 0; i < self->capacity; i++) {
        if (i < self->n_ready) {
            Py_CLEAR(self->ready[i]);
        }
        if (i < self->n_batch) {
            Py_CLEAR(self->batch[i]);
        }
    }
    self->n_ready = 0;
    self->n_batch = 0;
    tc_link *link;
    while ((link = tc_list_first(&self->tasks)) != NULL) {
        TaskObject *task = TC_CONTAINER_OF(link, TaskObject, all_link);
        tc_list_remove(link);
        self->n_tasks--;
        task->exited = 1;
        AwaitableObject *waiting = task->waiting;
        task->waiting = NULL;
        if (waiting != NULL && waiting->op->abandon != NULL) {
            waiting->op->abandon(waiting);
        }
        Py_XDECREF(waiting);
        Py_DECREF(task);
    }
}

int
tc_runner_close(RunnerObject *self)
{
    if (self->closed) {
        return PyErr_Occurred() ? -1 : 0;
    }
    Py_INCREF(self);
    PyObject *failure = PyErr_GetRaisedException();
    if (self->io != NULL) {
        tc_io_close(self->io);
    }
    if (self->entry_queue != NULL
        && tc_entry_queue_close(self->entry_queue) < 0) {
        runner_note_failure(&failure);
    }
    if (runner_restore_hooks(self) < 0) {
        runner_note_failure(&failure);
    }
    if (self->instruments != NULL
        && tc_instruments_have(self->instruments, TC_HOOK_AFTER_RUN)) {
        /* What they raise has as its context what the run ends with. */
        PyObject *handled = PyErr_GetHandledException();
        if (failure != NULL) {
            PyErr_SetHandledException(failure);
        }
        if (tc_instruments_call(self->instruments, TC_HOOK_AFTER_RUN, NULL)
            < 0) {
            runner_note_failure(&failure);
        }
        PyErr_SetHandledException(handled);
        Py_XDECREF(handled);
    }
    if (self->ki_manager != NULL
        && tc_ki_manager_close(self->ki_manager) < 0) {
        runner_note_failure(&failure);
    }
    self->closed = 1;
    if (tc_thread_slots.task != NULL
        && tc_thread_slots.task->runner == self) {
        tc_context_set_task(NULL);
    }
    if (tc_thread_slots.runner == self) {
        tc_context_set_runner(NULL);
    }
    /* Only now: with protection gone, no Ctrl-C can become pending any
       more. */
    if (self->ki_pending) {
        self->ki_pending = 0;
        PyObject *ki = PyObject_CallNoArgs(PyExc_KeyboardInterrupt);
        if (ki == NULL) {
            runner_note_failure(&failure);
        }
        else {
            if (self->main_error != NULL) {
                PyException_SetContext(ki, Py_NewRef(self->main_error));
            }
            self->main_done = 1;
            Py_CLEAR(self->main_value);
            Py_XSETREF(self->main_error, ki);
        }
    }
    runner_drop_tasks(self);
    Py_CLEAR(self->system_nursery);
    Py_CLEAR(self->init_task);
    Py_CLEAR(self->main_task);
    Py_CLEAR(self->sniffio_dict);
    if (PyErr_Occurred()) {
        PyErr_WriteUnraisable((PyObject *)self);
    }
#if TC_FREE_THREADED
    /* What was at home here may be used by others now. */
    tc_home_end_run(&self->home_run);
#endif
    Py_DECREF(self);
    if (failure == NULL) {
        return 0;
    }
    PyErr_SetRaisedException(failure);
    return -1;
}

int
tc_runner_force_tick(RunnerObject *self)
{
    if (self->is_guest && !self->guest_tick_scheduled) {
        self->guest_tick_scheduled = 1;
        tc_io_wake(self->io);
    }
    return 0;
}

/* --- lifetime ---------------------------------------------------------- */

static int
runner_traverse(PyObject *op, visitproc visit, void *arg)
{
    RunnerObject *self = (RunnerObject *)op;
    Py_VISIT(Py_TYPE(op));
    Py_VISIT(self->clock);
    Py_VISIT((PyObject *)self->instruments);
    Py_VISIT((PyObject *)self->entry_queue);
    Py_VISIT(self->locals);
    Py_VISIT(self->trio_token);
    Py_VISIT(self->asyncgens);
    Py_VISIT(self->set_hooks);
    Py_VISIT(self->hooks_before);
    Py_VISIT(self->ki_manager);
    Py_VISIT(self->system_context);
    Py_VISIT(self->sniffio_dict);
    for (Py_ssize_t i = 0; i < self->n_ready; i++) {
        Py_VISIT((PyObject *)self->ready[i]);
    }
    for (Py_ssize_t i = 0; i < self->n_batch; i++) {
        Py_VISIT((PyObject *)self->batch[i]);
    }
    for (tc_link *l = self->tasks.next; l != &self->tasks; l = l->next) {
        Py_VISIT((PyObject *)TC_CONTAINER_OF(l, TaskObject, all_link));
    }
    Py_VISIT((PyObject *)self->init_task);
    Py_VISIT((PyObject *)self->main_task);
    Py_VISIT((PyObject *)self->system_nursery);
    Py_VISIT(self->main_value);
    Py_VISIT(self->main_error);
    Py_VISIT(self->dict);
    return tc_io_traverse(self->io, visit, arg);
}

static int
runner_clear(PyObject *op)
{
    RunnerObject *self = (RunnerObject *)op;
    runner_drop_tasks(self);
    Py_CLEAR(self->clock);
    Py_CLEAR(self->locals);
    Py_CLEAR(self->trio_token);
    Py_CLEAR(self->asyncgens);
    Py_CLEAR(self->set_hooks);
    Py_CLEAR(self->hooks_before);
    Py_CLEAR(self->ki_manager);
    Py_CLEAR(self->system_context);
    Py_CLEAR(self->sniffio_dict);
    Py_CLEAR(self->init_task);
    Py_CLEAR(self->main_task);
    Py_CLEAR(self->system_nursery);
    Py_CLEAR(self->main_value);
    Py_CLEAR(self->main_error);
    Py_CLEAR(self->dict);
    tc_io_clear(self->io);
    return 0;
}

static void
runner_dealloc(PyObject *op)
{
    RunnerObject *self = (RunnerObject *)op;
    PyTypeObject *type = Py_TYPE(op);
    PyObject_GC_UnTrack(op);
    if (self->weakrefs != NULL) {
        PyObject_ClearWeakRefs(op);
    }
    runner_clear(op);
#if TC_FREE_THREADED
    tc_home_end_run(&self->home_run);
#endif
    Py_CLEAR(self->instruments);
    Py_CLEAR(self->entry_queue);
    if (self->io != NULL) {
        tc_io_close(self->io);
        tc_io_free(self->io);
    }
    tc_deadlines_fini(&self->deadlines);
    PyMem_Free(self->ready);
    PyMem_Free(self->batch);
    TC_LIVE_SUB(self->st, RunnerType);
    PyObject_GC_Del(op);
    Py_DECREF(type);
}

static PyMemberDef runner_members[] = {
    {"clock", T_OBJECT, offsetof(RunnerObject, clock), READONLY, NULL},
    {"instruments", T_OBJECT, offsetof(RunnerObject, instruments), READONLY,
     NULL},
    {"entry_queue", T_OBJECT, offsetof(RunnerObject, entry_queue), READONLY,
     NULL},
    {"_locals", T_OBJECT, offsetof(RunnerObject, locals), READONLY, NULL},
    {"asyncgens", T_OBJECT, offsetof(RunnerObject, asyncgens), READONLY,
     NULL},
    {"ki_manager", T_OBJECT, offsetof(RunnerObject, ki_manager), READONLY,
     NULL},
    {"system_context", T_OBJECT, offsetof(RunnerObject, system_context),
     READONLY, NULL},
    {"init_task", T_OBJECT, offsetof(RunnerObject, init_task), READONLY,
     NULL},
    {"main_task", T_OBJECT, offsetof(RunnerObject, main_task), READONLY,
     NULL},
    {"system_nursery", T_OBJECT, offsetof(RunnerObject, system_nursery),
     READONLY, NULL},
    {"is_guest", T_BOOL, offsetof(RunnerObject, is_guest), 0, NULL},
    {"guest_tick_scheduled", T_BOOL,
     offsetof(RunnerObject, guest_tick_scheduled), 0, NULL},
    {"ki_pending", T_BOOL, offsetof(RunnerObject, ki_pending), 0, NULL},
    {"clock_autojump_threshold", T_DOUBLE,
     offsetof(RunnerObject, autojump_threshold), 0, NULL},
    {"__dictoffset__", T_PYSSIZET, offsetof(RunnerObject, dict), READONLY,
     NULL},
    {"__weaklistoffset__", T_PYSSIZET, offsetof(RunnerObject, weakrefs),
     READONLY, NULL},
    {NULL, 0, 0, 0, NULL},
};

static PyType_Slot runner_slots[] = {
    {Py_tp_dealloc, runner_dealloc},
    {Py_tp_traverse, runner_traverse},
    {Py_tp_clear, runner_clear},
    {Py_tp_getset, tc_runner_getset},
    {Py_tp_methods, tc_runner_methods},
    {Py_tp_members, runner_members},
    {0, NULL},
};

static PyType_Spec tc_runner_spec = {
    .name = "trio_c._core._run.Runner",
    .basicsize = sizeof(RunnerObject),
    .flags = Py_TPFLAGS_DEFAULT | Py_TPFLAGS_HAVE_GC
             | Py_TPFLAGS_DISALLOW_INSTANTIATION,
    .slots = runner_slots,
};

int
tc_runner_register(tc_state *st)
{
    return tc_state_add_type(st, &st->RunnerType, &tc_runner_spec, NULL,
                             "Runner");
}
