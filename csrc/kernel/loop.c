/* loop.c - passes of the run loop.
 *
 * One pass: find how long to wait; (wait for I/O, outside of here); wake what
 * I/O and deadlines wake; run the batch of tasks that are ready then.
 *
 * Invariants
 * - Nothing on the C stack is linked into the run: any step may switch to
 *   another greenlet and come back later, or never.
 * - Every reference to a task, message or exception is dropped when its step
 *   is over.
 * - A pass that skips the poll (polling.h) still sees every deadline and every
 *   entry-queue job.
 */
#include "loop.h"
#include "../base/hints.h"
#include "../base/clock.h"
#include "../glue/errors.h"
#include "clock.h"
#include "entry_queue.h"
#include "gil.h"
#include "instruments.h"
#include "io.h"
#include "polling.h"
#include "runner_close.h"
#include "step.h"
#include "trap.h"

#define MAX_TIMEOUT 86400.0

enum { FRESH, WAITING, RUNNING, FINISHED };
enum { NOT_PRIMED, PRIMED_IDLE, PRIMED_JUMP };

LoopObject *
tc_loop_new(RunnerObject *runner, PyObject *async_fn, PyObject *args,
            int host_owns_wakeup_fd)
{
    LoopObject *self = PyObject_GC_New(LoopObject, runner->st->LoopType);
    if (self == NULL) {
        return NULL;
    }
    self->runner = (RunnerObject *)Py_NewRef((PyObject *)runner);
    self->async_fn = Py_NewRef(async_fn);
    self->args = Py_NewRef(args);
    self->timeout = 0.0;
    self->cushion = 0.0;
    self->state = FRESH;
    self->primed = NOT_PRIMED;
    self->clocked = 0;
    self->host_owns_wakeup_fd = host_owns_wakeup_fd;
    TC_HOME_HERE(self);
    PyObject_GC_Track(self);
    return self;
}

/* --- idle waiters: wait_all_tasks_blocked ------------------------------ */

static AwaitableObject *
loop_first_idle(RunnerObject *runner)
{
    tc_link *link = tc_list_first(&runner->idle_waiters);
    return link == NULL ? NULL
                        : TC_CONTAINER_OF(link, AwaitableObject, link);
}

static int
loop_wake_idle(RunnerObject *runner, double cushion)
{
    for (;;) {
        AwaitableObject *aw = loop_first_idle(runner);
        if (aw == NULL || aw->u.num != cushion) {
            return 0;
        }
        tc_list_remove(&aw->link);
        if (tc_task_wake(aw->task) < 0) {
            return -1;
        }
    }
}

/* --- before the wait --------------------------------------------------- */

static int
loop_find_timeout(LoopObject *self)
{
    RunnerObject *runner = self->runner;
    double timeout = 0.0;
    if (runner->n_ready == 0) {
        double deadline;
        if (tc_deadlines_next(&runner->deadlines, &deadline) < 0) {
            return -1;
        }
        if (runner->native_clock && deadline == Py_HUGE_VAL) {
            timeout = MAX_TIMEOUT;
        }
        else {
            timeout = tc_runner_sleep_time(runner, deadline);
            if (timeout == -1.0 && PyErr_Occurred()) {
                return -1;
            }
        }
        /* also turns NaN into 0 */
        timeout = timeout > 0.0 ? timeout : 0.0;
        timeout = timeout < MAX_TIMEOUT ? timeout : MAX_TIMEOUT;
    }
    self->primed = NOT_PRIMED;
    AwaitableObject *idle = loop_first_idle(runner);
    if (idle != NULL) {
        if (idle->u.num < timeout) {
            timeout = self->cushion = idle->u.num;
            self->primed = PRIMED_IDLE;
        }
    }
    else if (runner->autojump_threshold < timeout) {
        timeout = runner->autojump_threshold;
        self->primed = PRIMED_JUMP;
    }
    self->timeout = timeout;
    return 0;
}

static int
loop_io_hook(RunnerObject *runner, tc_hook hook, double timeout)
{
    if (!tc_instruments_have(runner->instruments, hook)) {
        return 0;
    }
    PyObject *arg = timeout == 0.0 ? PyLong_FromLong(0)
                                   : PyFloat_FromDouble(timeout);
    if (arg == NULL) {
        return -1;
    }
    int r = tc_instruments_call(runner->instruments, hook, arg);
    Py_DECREF(arg);
    return r;
}

/* The wait that the loop stopped at, if it is only a look at the kernel: may
   it be left out? */
static int
loop_may_skip_poll(LoopObject *self)
{
    if (self->runner->n_ready == 0) {
        return 0;
    }
    tc_poll_when when = tc_polling_when(self->runner);
    self->clocked = when == TC_POLL_LATER_CLOCKED;
    return when != TC_POLL_NOW;
}

/* --- after the wait ---------------------------------------------------- */

static int
loop_expire(LoopObject *self)
{
    RunnerObject *runner = self->runner;
    tc_deadlines *d = &runner->deadlines;
    /* A foreign clock is asked every time, as its author may expect. */
    if (runner->native_clock && tc_deadlines_is_empty(d)) {
        return 0;
    }
    double now = self->clocked ? runner->last_look + runner->clock_offset
                               : tc_runner_time(runner);
    if (now == -1.0 && PyErr_Occurred()) {
        return -1;
    }
    int fired = tc_deadlines_expire(d, now);
    if (fired > 0) {
        self->primed = NOT_PRIMED;
    }
    return fired < 0 ? -1 : 0;
}

static int
loop_autojump(RunnerObject *runner)
{
    PyObject *r = PyObject_CallMethod(runner->clock, "_autojump", NULL);
    Py_XDECREF(r);
    return r == NULL ? -1 : 0;
}

static int
loop_wake_phase(LoopObject *self, Py_ssize_t n_events)
{
    RunnerObject *runner = self->runner;
    if (n_events > 0 && tc_io_process(runner->io) < 0) {
        return -1;
    }
    if (tc_entry_queue_is_flagged(runner->entry_queue)
        && tc_entry_queue_wake_task(runner->entry_queue) < 0) {
        return -1;
    }
    if (loop_io_hook(runner, TC_HOOK_AFTER_IO_WAIT, self->timeout) < 0
        || loop_expire(self) < 0) {
        return -1;
    }
    if (self->primed != NOT_PRIMED && runner->n_ready == 0
        && n_events == 0) {
        return self->primed == PRIMED_IDLE
                   ? loop_wake_idle(runner, self->cushion)
                   : loop_autojump(runner);
    }
    return 0;
}

/* Order by age, then by the shared random.Random: the same seed gives the
   same order. */
static int
loop_order_batch(RunnerObject *runner)
{
    PyObject *list = PyList_New(runner->n_batch);
    if (list == NULL) {
        return -1;
    }
    for (Py_ssize_t i = 0; i < runner->n_batch; i++) {
        PyList_SET_ITEM(list, i, Py_NewRef((PyObject *)runner->batch[i]));
    }
    PyObject *helpers = tc_state_helpers(runner->st);
    PyObject *r = helpers == NULL ? NULL
                                  : PyObject_CallMethod(
                                      helpers, "order_batch", "O", list);
    int result = r == NULL ? -1 : 0;
    Py_XDECREF(r);
    if (result == 0 && PyList_GET_SIZE(list) != runner->n_batch) {
        PyErr_SetString(PyExc_RuntimeError, "batch changed while ordered");
        result = -1;
    }
    for (Py_ssize_t i = 0; result == 0 && i < runner->n_batch; i++) {
        PyObject *task = Py_NewRef(PyList_GET_ITEM(list, i));
        if (!Task_CheckExact(runner->st, task)) {
            PyErr_SetString(PyExc_TypeError, "batch must hold tasks");
            Py_DECREF(task);
            result = -1;
            break;
        }
        Py_SETREF(runner->batch[i], (TaskObject *)task);
    }
    Py_DECREF(list);
    return result;
}

/* With many tasks each step begins with memory that is far away: ask for what
   the next ones need while this one runs. */
static inline void
loop_look_ahead(RunnerObject *runner, Py_ssize_t at, int forward)
{
    Py_ssize_t step = forward ? 1 : -1;
    Py_ssize_t next = at + step, after_next = next + step;
    if (after_next >= 0 && after_next < runner->n_batch) {
        char *task = (char *)runner->batch[after_next];
        TC_PREFETCH(task);
        TC_PREFETCH(task + 64);
        TC_PREFETCH(runner->batch[next]->coro);
        TC_PREFETCH(runner->batch[next]->context);
    }
}

static int
loop_run_batch(RunnerObject *runner, tc_slots *slots)
{
    Py_ssize_t n = runner->n_ready;
    /* What becomes ready from here on waits for the next pass. */
    TaskObject **batch = runner->ready;
    runner->ready = runner->batch;
    runner->batch = batch;
    runner->n_batch = n;
    runner->n_ready = 0;
    int forward = 0;
    if (runner->st->deterministic) {
        if (loop_order_batch(runner) < 0) {
            return -1;
        }
    }
    else if (n > 1) {
        /* No program may rely on an order; chance sees to that. Mostly it
           goes to and fro: who ran last is still in the caches. */
        forward = tc_random_next(&runner->random) < UINT64_MAX / 8;
    }
    for (Py_ssize_t i = 0; i < n; i++) {
        Py_ssize_t at = forward ? i : n - 1 - i;
        /* The array moves when tasks are spawned: look again each time. */
        TaskObject *task = runner->batch[at];
        runner->batch[at] = NULL;
        loop_look_ahead(runner, at, forward);
        int r = tc_step_task(runner, task, slots);
        Py_DECREF(task);
        if (r < 0) {
            return -1;
        }
    }
    runner->n_batch = 0;
    return 0;
}

/* A batch, and those of the passes that come to nothing else. */
static int
loop_run_batches(RunnerObject *runner)
{
    if (runner->n_ready == 0) {
        return 0;
    }
    /* Cleared after the last step only: what runs between two steps is no
       Python. */
    tc_slots *slots = &tc_thread_slots;
    do {
        if (loop_run_batch(runner, slots) < 0) {
            return -1;
        }
    } while (runner->n_ready > 0 && tc_polling_only_tasks(runner));
    tc_context_put_task(slots, NULL);
    return 0;
}

/* Before a wait that keeps the GIL: let threads at it. The others give it up
   anyway, without waiting until somebody has it; if that was in vain, see
   run_wait(). */
static void
loop_share_gil(LoopObject *self)
{
    RunnerObject *runner = self->runner;
    tc_state *st = runner->st;
    int keeps = self->timeout == 0.0 || runner->is_guest
                || tc_entry_queue_is_flagged(runner->entry_queue);
    if (keeps && tc_gil_is_wanted(st)) {
        tc_gil_yield(st);
    }
}

/* --- the whole --------------------------------------------------------- */

static int
loop_prologue(LoopObject *self)
{
    RunnerObject *runner = self->runner;
    if (!self->host_owns_wakeup_fd
        && tc_entry_queue_wakeup_on_signals(runner->entry_queue) < 0) {
        return -1;
    }
    if (tc_instruments_have(runner->instruments, TC_HOOK_BEFORE_RUN)
        && tc_instruments_call(runner->instruments, TC_HOOK_BEFORE_RUN, NULL)
               < 0) {
        return -1;
    }
    if (!runner->native_clock) {
        PyObject *r
            = PyObject_CallMethod(runner->clock, "start_clock", NULL);
        if (r == NULL) {
            return -1;
        }
        Py_DECREF(r);
    }
    PyObject *helpers = tc_state_helpers(runner->st);
    if (helpers == NULL) {
        return -1;
    }
    PyObject *init = PyObject_GetAttrString(helpers, "init");
    PyObject *name = PyUnicode_FromString("<init>");
    PyObject *async_fn = self->async_fn, *args = self->args;
    self->async_fn = self->args = NULL;
    PyObject *argv[] = {(PyObject *)runner, async_fn, args};
    TaskObject *task = NULL;
    if (init != NULL && name != NULL) {
        task = tc_runner_spawn(runner, init, argv, 3, NULL, NULL, name, 1,
                               NULL);
    }
    runner->init_task = (TaskObject *)Py_XNewRef((PyObject *)task);
    Py_DECREF(async_fn);
    Py_DECREF(args);
    Py_XDECREF(name);
    Py_XDECREF(init);
    return task == NULL ? -1 : 0;
}

static int
loop_advance(LoopObject *self, Py_ssize_t n_events)
{
    RunnerObject *runner = self->runner;
    int is_fresh = self->state == FRESH;
    self->state = RUNNING;
    if (is_fresh) {
        if (loop_prologue(self) < 0) {
            return -1;
        }
    }
    else if (loop_wake_phase(self, n_events) < 0
             || loop_run_batches(runner) < 0) {
        return -1;
    }
    if (runner->n_tasks == 0) {
        return 0;
    }
    if (runner->wrecked) {
        PyErr_SetString(PyExc_TypeError, "the run queue was replaced");
        return -1;
    }
    if (loop_find_timeout(self) < 0
        || loop_io_hook(runner, TC_HOOK_BEFORE_IO_WAIT, self->timeout) < 0) {
        return -1;
    }
    loop_share_gil(self);
    self->state = WAITING;
    return 1;
}

void
tc_loop_crash(LoopObject *self)
{
    RunnerObject *runner = self->runner;
    PyObject *internal = runner->st->exc_TrioInternalError;
    if (!PyErr_ExceptionMatches(internal)) {
        tc_error_chain(internal,
                       "internal error in Trio - please file a bug!");
    }
    self->state = FINISHED;
    runner->crashed = 1;
    tc_runner_close(runner);
}

/* A guest's host may call us back at any time, even from inside a task. */
static int
loop_check_idle(LoopObject *self)
{
    if (self->state == RUNNING) {
        PyErr_SetString(PyExc_ValueError, "the run loop is running already");
        return -1;
    }
    return 0;
}

int
tc_loop_resume(LoopObject *self, Py_ssize_t n_events)
{
    if (loop_check_idle(self) < 0) {
        return -1;
    }
    Py_INCREF(self);
    self->clocked = 0;
    int r = loop_advance(self, n_events);
    while (r > 0 && loop_may_skip_poll(self)) {
        r = loop_advance(self, 0);
    }
    if (r < 0) {
        tc_loop_crash(self);
    }
    else if (r == 0) {
        self->state = FINISHED;
        if (tc_runner_close(self->runner) < 0) {
            r = -1;
        }
    }
    Py_DECREF(self);
    return r;
}

static void
loop_warn_abandoned(LoopObject *self)
{
    PyObject *saved = PyErr_GetRaisedException();
    if (PyErr_WarnEx(PyExc_RuntimeWarning,
                     "Trio guest run got abandoned without properly "
                     "finishing... weird stuff might happen",
                     1)
        < 0) {
        PyErr_WriteUnraisable((PyObject *)self);
    }
    if (saved != NULL) {
        PyErr_SetRaisedException(saved);
    }
}

void
tc_loop_abandon(LoopObject *self)
{
    if (self->state != WAITING && self->state != FRESH) {
        return;
    }
    /* One that never began was made in vain; its run is to be taken down like
       another, or its thread would be in it for ever. */
    int has_begun = self->state == WAITING;
    self->state = FINISHED;
    if (has_begun) {
        loop_warn_abandoned(self);
    }
    self->runner->crashed = 1;
    tc_runner_close(self->runner);
}

/* --- the Python face, for guest runs ----------------------------------- */

/* resume(n_events) -> the timeout of the next wait, or None when over. */
static PyObject *
loop_resume_method(PyObject *op, PyObject *arg)
{
    LoopObject *self = (LoopObject *)op;
    Py_ssize_t n_events = PyNumber_AsSsize_t(arg, PyExc_OverflowError);
    if (n_events == -1 && PyErr_Occurred()) {
        return NULL;
    }
    if (self->state == FINISHED) {
        PyErr_SetString(PyExc_RuntimeError, "this run is over");
        return NULL;
    }
    int r = tc_loop_resume(self, n_events);
    if (r < 0) {
        return NULL;
    }
    if (r == 0) {
        Py_RETURN_NONE;
    }
    return PyFloat_FromDouble(self->timeout);
}

/* crash(exc): end the run with exc, raising TrioInternalError from it. */
static PyObject *
loop_crash_method(PyObject *op, PyObject *exc)
{
    LoopObject *self = (LoopObject *)op;
    if (!PyExceptionInstance_Check(exc)) {
        PyErr_SetString(PyExc_TypeError, "crash() takes an exception");
        return NULL;
    }
    if (loop_check_idle(self) < 0) {
        return NULL;
    }
    PyErr_SetRaisedException(Py_NewRef(exc));
    if (self->state != FINISHED) {
        tc_loop_crash(self);
    }
    return NULL;
}

static int
loop_traverse(PyObject *op, visitproc visit, void *arg)
{
    LoopObject *self = (LoopObject *)op;
    Py_VISIT(Py_TYPE(op));
    Py_VISIT((PyObject *)self->runner);
    Py_VISIT(self->async_fn);
    Py_VISIT(self->args);
    return 0;
}

static int
loop_clear(PyObject *op)
{
    LoopObject *self = (LoopObject *)op;
    Py_CLEAR(self->async_fn);
    Py_CLEAR(self->args);
    return 0;
}

static void
loop_finalize(PyObject *op)
{
    PyObject *saved = PyErr_GetRaisedException();
    tc_loop_abandon((LoopObject *)op);
    if (PyErr_Occurred()) {
        PyErr_WriteUnraisable(op);
    }
    if (saved != NULL) {
        PyErr_SetRaisedException(saved);
    }
}

static void
loop_dealloc(PyObject *op)
{
    LoopObject *self = (LoopObject *)op;
    PyTypeObject *type = Py_TYPE(op);
    if (PyObject_CallFinalizerFromDealloc(op) < 0) {
        return;
    }
    PyObject_GC_UnTrack(op);
    loop_clear(op);
    Py_CLEAR(self->runner);
    type->tp_free(op);
    Py_DECREF(type);
}

static PyMethodDef loop_methods[] = {
    {"resume", loop_resume_method, METH_O, NULL},
    {"crash", loop_crash_method, METH_O, NULL},
    {NULL, NULL, 0, NULL},
};

static PyMemberDef loop_members[] = {
    {"runner", T_OBJECT, offsetof(LoopObject, runner), READONLY, NULL},
    {NULL, 0, 0, 0, NULL},
};

static PyType_Slot loop_slots[] = {
    {Py_tp_finalize, loop_finalize}, {Py_tp_dealloc, loop_dealloc},
    {Py_tp_traverse, loop_traverse}, {Py_tp_clear, loop_clear},
    {Py_tp_methods, loop_methods},   {Py_tp_members, loop_members},
    {0, NULL},
};

static PyType_Spec tc_loop_spec = {
    .name = "trio_c._native.loop",
    .basicsize = sizeof(LoopObject),
    .flags = Py_TPFLAGS_DEFAULT | Py_TPFLAGS_HAVE_GC
             | Py_TPFLAGS_IMMUTABLETYPE
             | Py_TPFLAGS_DISALLOW_INSTANTIATION,
    .slots = loop_slots,
};

int
tc_loop_register(tc_state *st)
{
    return tc_state_add_type(st, &st->LoopType, &tc_loop_spec, NULL, NULL);
}
