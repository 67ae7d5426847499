/* run.c - trio.run(), the set-up of guest runs, and the functions that look
 * at the current run.
 */
#include "run.h"

#include "../base/clock.h"
#include "../glue/args.h"
#include "../glue/errors.h"
#include "../glue/function.h"
#include "entry_queue.h"
#include "gil.h"
#include "io.h"
#include "loop.h"
#include "nursery.h"
#include "polling.h"
#include "runner_close.h"
#include "runner_new.h"
#include "runner_view.h"
#include "sniffio.h"
#include "token.h"
#include "trap.h"

/* --- run() ------------------------------------------------------------- */

static int
run_has_other_threads(void)
{
    PyThreadState *first
        = PyInterpreterState_ThreadHead(PyInterpreterState_Get());
    return first != NULL && PyThreadState_Next(first) != NULL;
}

/* So long must a wait be for another thread to get hold of the GIL: in a
   shorter one it wakes up, and finds it taken again. */
#define REAL_WAIT 50e-6

/* A busy loop gives it up at least so often, whether somebody seems to wait
   or not: as often as the interpreter would make it. */
#define MAX_HOLD 5e-3
/* When another thread has had it for some time, the loop has it for this part
   of that before it is offered again. */
#define LOOP_SHARE 0.05

/* After a wait. With a timeout it gave up the GIL, if only for a moment: what
   was waited for may have been there. */
static void
run_share_gil(RunnerObject *runner, double timeout)
{
    double now = runner->last_poll;
    if (TC_FREE_THREADED) {
        return;
    }
    if (timeout > 0.0 && tc_gil_is_wanted(runner->st)) {
        tc_gil_yield(runner->st);
    }
    else if (timeout > 0.0
             && now - tc_io_wait_began(runner->io) >= REAL_WAIT) {
        runner->last_pause = now;
    }
    else if (now >= runner->keeps_gil_until && run_has_other_threads()) {
        /* A busy loop: nobody else would get the GIL for 5 ms. */
        double away = tc_gil_offer(now - runner->last_pause >= MAX_HOLD);
        if (away > 0.0) {
            runner->last_pause = tc_clock_monotonic();
            runner->keeps_gil_until = runner->last_pause + away * LOOP_SHARE;
        }
    }
}

/* One wait of a plain run. The number of events, or -1. */
static int
run_wait(LoopObject *loop)
{
    RunnerObject *runner = loop->runner;
    double timeout = loop->timeout;
    if (timeout > 0.0) {
        /* From here on a new job writes to the wake-up descriptor; what came
           just before is seen by the flag. */
        tc_entry_queue_set_sleeping(runner->entry_queue, 1);
        if (tc_entry_queue_is_flagged(runner->entry_queue)) {
            timeout = 0.0;
        }
    }
    int n = tc_io_wait(runner->io, timeout);
    if (loop->timeout > 0.0) {
        tc_entry_queue_set_sleeping(runner->entry_queue, 0);
    }
    tc_polling_done(runner);
    run_share_gil(runner, timeout);
    return n;
}

static PyObject *
run_outcome(RunnerObject *runner)
{
    if (runner->main_error != NULL) {
        PyObject *exc = runner->main_error;
        runner->main_error = NULL;
        tc_error_raise(exc);
        Py_DECREF(exc);
        return NULL;
    }
    PyObject *value = runner->main_value;
    runner->main_value = NULL;
    return value != NULL ? value : Py_NewRef(Py_None);
}

static PyObject *
run_to_the_end(RunnerObject *runner, PyObject *async_fn, PyObject *args)
{
    LoopObject *loop = tc_loop_new(runner, async_fn, args, 0);
    if (loop == NULL) {
        return NULL;
    }
    /* Nobody's but ours: gc.get_objects() does not show it to those who might
       resume or finalize it in the middle of a wait. */
    PyObject_GC_UnTrack(loop);
    int r = tc_loop_resume(loop, 0);
    while (r > 0) {
        int n_events = run_wait(loop);
        if (n_events < 0) {
            /* raised by a signal handler: goes to run()'s caller as it is */
            tc_loop_abandon(loop);
            r = -1;
            break;
        }
        r = tc_loop_resume(loop, n_events);
    }
    Py_DECREF(loop);
    return r < 0 ? NULL : run_outcome(runner);
}

static PyObject *
run_guarded(RunnerObject *runner, PyObject *async_fn, PyObject *args)
{
    PyObject *previous, *result = NULL;
    tc_ki_mark mark;
    if (tc_sniffio_enter(runner->st, &previous) == 0) {
        /* The loop itself is protected from Ctrl-C, whatever run()'s caller
           is; tasks are what they are by themselves. */
        if (tc_ki_enter(&mark, 1) == 0) {
            result = run_to_the_end(runner, async_fn, args);
            tc_ki_leave(&mark);
        }
        if (tc_sniffio_leave(runner->st, previous) < 0) {
            Py_CLEAR(result);
        }
    }
    return result;
}

int
tc_run_parse_options(tc_state *st, const char *what, PyObject *clock,
                     PyObject *instruments, PyObject *restrict_ki,
                     PyObject *strict, tc_run_options *options)
{
    options->clock = clock;
    options->instruments = instruments;
    options->restrict_ki
        = restrict_ki == NULL ? 0 : PyObject_IsTrue(restrict_ki);
    options->strict = strict == NULL ? 1 : PyObject_IsTrue(strict);
    if (options->restrict_ki < 0 || options->strict < 0) {
        return -1;
    }
    if (strict != NULL && strict != Py_None && !options->strict
        && tc_warn_loose_groups(st, what) < 0) {
        return -1;
    }
    if (tc_context_runner(st) != NULL) {
        PyErr_SetString(PyExc_RuntimeError,
                        "Attempted to call run() from inside a run()");
        return -1;
    }
    return 0;
}

static PyObject *
run_impl(FunctionObject *func, PyObject *Py_UNUSED(self),
         PyObject *const *args, Py_ssize_t nargs, PyObject *kwnames)
{
    static const tc_params params = {
        .fname = "run",
        .names = {"async_fn", "clock", "instruments",
                  "restrict_keyboard_interrupt_to_checkpoints",
                  "strict_exception_groups"},
        .n_positional = 1,
        .n_required = 1,
    };
    tc_state *st = func->st;
    PyObject *a[5];
    PyObject *const *rest;
    Py_ssize_t n_rest;
    tc_run_options options;
    if (tc_args_parse_star(&params, args, nargs, kwnames, a, &rest, &n_rest)
            < 0
        || tc_run_parse_options(st,
                                "trio.run(..., strict_exception_groups="
                                "False)",
                                a[1], a[2], a[3], a[4], &options)
               < 0) {
        return NULL;
    }
    PyObject *call_args = PyTuple_New(n_rest);
    if (call_args == NULL) {
        return NULL;
    }
    for (Py_ssize_t i = 0; i < n_rest; i++) {
        PyTuple_SET_ITEM(call_args, i, Py_NewRef(rest[i]));
    }
    RunnerObject *runner = tc_runner_new(st, &options);
    PyObject *result = NULL;
    if (runner != NULL) {
        result = run_guarded(runner, a[0], call_args);
        if (!runner->closed) {
            tc_runner_close(runner);  /* it could not even start */
        }
        Py_DECREF(runner);
    }
    Py_DECREF(call_args);
    return result;
}

/* _start_guest_loop(async_fn, args, clock, instruments, restrict, strict,
   host_owns_wakeup_fd) -> loop, for trio_c/_core/_guest.py. */
static PyObject *
start_guest_loop_impl(FunctionObject *func, PyObject *Py_UNUSED(self),
                      PyObject *const *args, Py_ssize_t nargs,
                      PyObject *kwnames)
{
    static const tc_params params = {
        .fname = "_start_guest_loop",
        .names = {"async_fn", "args", "clock", "instruments", "restrict_ki",
                  "strict", "host_owns_wakeup_fd"},
        .n_positional = 7,
        .n_required = 7,
    };
    PyObject *a[7];
    tc_run_options options;
    if (tc_args_parse(&params, args, nargs, kwnames, a) < 0
        || tc_run_parse_options(func->st,
                                "trio.start_guest_run(..., "
                                "strict_exception_groups=False)",
                                a[2], a[3], a[4], a[5], &options)
               < 0) {
        return NULL;
    }
    int host_owns = PyObject_IsTrue(a[6]);
    if (host_owns < 0) {
        return NULL;
    }
    RunnerObject *runner = tc_runner_new(func->st, &options);
    if (runner == NULL) {
        return NULL;
    }
    runner->is_guest = 1;
    runner->guest_tick_scheduled = 1;
    /* While a guest run lasts its loop is never known to be awake. */
    tc_entry_queue_set_sleeping(runner->entry_queue, 1);
    LoopObject *loop = tc_loop_new(runner, a[0], a[1], host_owns);
    if (loop == NULL) {
        tc_runner_close(runner);
    }
    Py_DECREF(runner);
    return (PyObject *)loop;
}

/* --- what run is this? ------------------------------------------------- */

static PyObject *
current_task_impl(FunctionObject *func, PyObject *Py_UNUSED(self),
                  PyObject *const *Py_UNUSED(args), Py_ssize_t nargs,
                  PyObject *kwnames)
{
    if (tc_args_none("current_task", nargs, kwnames) < 0) {
        return NULL;
    }
    return Py_XNewRef((PyObject *)tc_context_need_task(func->st));
}

static PyObject *
in_trio_run_impl(FunctionObject *func, PyObject *Py_UNUSED(self),
                 PyObject *const *Py_UNUSED(args), Py_ssize_t nargs,
                 PyObject *kwnames)
{
    if (tc_args_none("in_trio_run", nargs, kwnames) < 0) {
        return NULL;
    }
    return PyBool_FromLong(tc_context_runner(func->st) != NULL);
}

static PyObject *
in_trio_task_impl(FunctionObject *func, PyObject *Py_UNUSED(self),
                  PyObject *const *Py_UNUSED(args), Py_ssize_t nargs,
                  PyObject *kwnames)
{
    if (tc_args_none("in_trio_task", nargs, kwnames) < 0) {
        return NULL;
    }
    return PyBool_FromLong(tc_context_task(func->st) != NULL);
}

static PyObject *
current_time_impl(FunctionObject *func, PyObject *Py_UNUSED(self),
                  PyObject *const *Py_UNUSED(args), Py_ssize_t nargs,
                  PyObject *kwnames)
{
    if (tc_args_none("current_time", nargs, kwnames) < 0) {
        return NULL;
    }
    RunnerObject *runner = tc_context_need_runner(func->st);
    if (runner == NULL) {
        return NULL;
    }
    double now = tc_runner_time(runner);
    if (now == -1.0 && PyErr_Occurred()) {
        return tc_error_attribute_to_no_context();
    }
    return PyFloat_FromDouble(now);
}

static PyObject *
current_clock_impl(FunctionObject *func, PyObject *Py_UNUSED(self),
                   PyObject *const *Py_UNUSED(args), Py_ssize_t nargs,
                   PyObject *kwnames)
{
    if (tc_args_none("current_clock", nargs, kwnames) < 0) {
        return NULL;
    }
    RunnerObject *runner = tc_context_need_runner(func->st);
    return runner == NULL ? NULL : Py_NewRef(runner->clock);
}

static PyObject *
current_root_task_impl(FunctionObject *func, PyObject *Py_UNUSED(self),
                       PyObject *const *Py_UNUSED(args), Py_ssize_t nargs,
                       PyObject *kwnames)
{
    if (tc_args_none("current_root_task", nargs, kwnames) < 0) {
        return NULL;
    }
    RunnerObject *runner = tc_context_need_runner(func->st);
    if (runner == NULL) {
        return NULL;
    }
    PyObject *task = (PyObject *)runner->init_task;
    return Py_NewRef(task != NULL ? task : Py_None);
}

static PyObject *
current_statistics_impl(FunctionObject *func, PyObject *Py_UNUSED(self),
                        PyObject *const *Py_UNUSED(args), Py_ssize_t nargs,
                        PyObject *kwnames)
{
    if (tc_args_none("current_statistics", nargs, kwnames) < 0) {
        return NULL;
    }
    RunnerObject *runner = tc_context_need_runner(func->st);
    if (runner == NULL) {
        return NULL;
    }
    PyObject *statistics = tc_runner_statistics(runner);
    return statistics != NULL ? statistics
                              : tc_error_attribute_to_no_context();
}

static PyObject *
effective_deadline_impl(FunctionObject *func, PyObject *Py_UNUSED(self),
                        PyObject *const *Py_UNUSED(args), Py_ssize_t nargs,
                        PyObject *kwnames)
{
    if (tc_args_none("current_effective_deadline", nargs, kwnames) < 0) {
        return NULL;
    }
    TaskObject *task = tc_context_need_task(func->st);
    if (task == NULL) {
        return NULL;
    }
    return PyFloat_FromDouble(
        task->scope == NULL ? Py_HUGE_VAL
                            : tc_scope_effective_deadline(task->scope));
}

/* --- scheduling from outside ------------------------------------------- */

/* An outcome.Outcome's content: exactly one of *value, *exc (new
   references). */
static int
run_unwrap(tc_state *st, PyObject *outcome, PyObject **value, PyObject **exc)
{
    *value = *exc = NULL;
    PyObject *error_type = tc_state_outcome_error(st);
    PyObject *value_type = tc_state_outcome_value(st);
    if (error_type == NULL || value_type == NULL) {
        return -1;
    }
    if (Py_IS_TYPE(outcome, (PyTypeObject *)value_type)) {
        *value = PyObject_GetAttrString(outcome, "value");
        return *value == NULL ? -1 : 0;
    }
    if (Py_IS_TYPE(outcome, (PyTypeObject *)error_type)) {
        *exc = PyObject_GetAttrString(outcome, "error");
        return *exc == NULL ? -1 : 0;
    }
    /* Anything that unwraps like one. */
    *value = PyObject_CallMethod(outcome, "unwrap", NULL);
    if (*value == NULL) {
        *exc = PyErr_GetRaisedException();
        if (PyObject_TypeCheck(*exc, (PyTypeObject *)PyExc_AttributeError)) {
            PyErr_SetRaisedException(*exc);
            *exc = NULL;
            return -1;
        }
    }
    return 0;
}

static PyObject *
reschedule_impl(FunctionObject *func, PyObject *Py_UNUSED(self),
                PyObject *const *args, Py_ssize_t nargs, PyObject *kwnames)
{
    static const tc_params params = {
        .fname = "reschedule",
        .names = {"task", "next_send"},
        .n_positional = 2,
        .n_required = 1,
    };
    PyObject *a[2];
    if (tc_args_parse(&params, args, nargs, kwnames, a) < 0) {
        return NULL;
    }
    RunnerObject *runner = tc_context_need_runner(func->st);
    if (runner == NULL) {
        return NULL;
    }
    if (!Task_CheckExact(func->st, a[0])) {
        PyErr_Format(PyExc_TypeError, "task must be a Task, not %s",
                     Py_TYPE(a[0])->tp_name);
        return NULL;
    }
    if (tc_home_check(a[0]) < 0) {
        return NULL;
    }
    PyObject *value = NULL, *exc = NULL;
    if (a[1] != NULL && run_unwrap(func->st, a[1], &value, &exc) < 0) {
        return NULL;
    }
    if (tc_task_reschedule_checked(runner, (TaskObject *)a[0], value, exc)
        < 0) {
        return tc_error_attribute_to_no_context();
    }
    Py_RETURN_NONE;
}

static PyObject *
spawn_system_task_impl(FunctionObject *func, PyObject *Py_UNUSED(self),
                       PyObject *const *args, Py_ssize_t nargs,
                       PyObject *kwnames)
{
    static const tc_params params = {
        .fname = "spawn_system_task",
        .names = {"async_fn", "name", "context"},
        .n_positional = 1,
        .n_required = 1,
    };
    PyObject *a[3];
    PyObject *const *rest;
    Py_ssize_t n_rest;
    if (tc_args_parse_star(&params, args, nargs, kwnames, a, &rest, &n_rest)
        < 0) {
        return NULL;
    }
    RunnerObject *runner = tc_context_need_runner(func->st);
    if (runner == NULL) {
        return NULL;
    }
    tc_ki_mark mark;
    if (tc_ki_enter(&mark, 1) < 0) {
        return NULL;
    }
    TaskObject *task = tc_runner_spawn_system(runner, a[0], rest, n_rest,
                                              a[1], a[2]);
    tc_ki_leave(&mark);
    if (task == NULL) {
        return tc_error_attribute_to_no_context();
    }
    return Py_NewRef((PyObject *)task);
}

/* --- wait_all_tasks_blocked -------------------------------------------- */

static void
idle_abandon(AwaitableObject *self)
{
    tc_list_remove(&self->link);
}

static tc_step
idle_step(AwaitableObject *self, PyObject *Py_UNUSED(sent),
          PyObject **Py_UNUSED(result))
{
    if (self->phase == 1) {
        return tc_trap_resume(self, NULL) < 0 ? TC_ERROR : TC_DONE;
    }
    double cushion = self->value == NULL ? 0.0 : tc_args_double(self->value);
    if (cushion == -1.0 && PyErr_Occurred()) {
        return TC_ERROR;
    }
    TaskObject *task = tc_trap_task(self);
    if (task == NULL) {
        return TC_ERROR;
    }
    self->u.num = cushion;
    self->phase = 1;
    /* shortest cushion first; there are never many */
    tc_link *head = &task->runner->idle_waiters, *at = head->next;
    while (at != head
           && TC_CONTAINER_OF(at, AwaitableObject, link)->u.num <= cushion) {
        at = at->next;
    }
    tc_list_append(at, &self->link);
    return tc_trap_wait(self, task);
}

static const tc_op idle_op = {
    .name = "wait_all_tasks_blocked",
    .qualname = "wait_all_tasks_blocked",
    .step = idle_step,
    .abandon = idle_abandon,
};

static PyObject *
wait_all_tasks_blocked_impl(FunctionObject *func, PyObject *Py_UNUSED(self),
                            PyObject *const *args, Py_ssize_t nargs,
                            PyObject *kwnames)
{
    static const tc_params params = {
        .fname = "wait_all_tasks_blocked",
        .names = {"cushion"},
        .n_positional = 1,
    };
    PyObject *a[1];
    if (tc_args_parse(&params, args, nargs, kwnames, a) < 0) {
        return NULL;
    }
    AwaitableObject *aw = tc_awaitable_new(func->st, &idle_op, NULL);
    if (aw != NULL) {
        aw->value = Py_XNewRef(a[0]);
    }
    return (PyObject *)aw;
}

/* --- coroutine_or_error ------------------------------------------------ */

static PyObject *
coroutine_or_error_impl(FunctionObject *func, PyObject *Py_UNUSED(self),
                        PyObject *const *args, Py_ssize_t nargs,
                        PyObject *kwnames)
{
    if (nargs < 1 || kwnames != NULL) {
        PyErr_SetString(PyExc_TypeError,
                        "coroutine_or_error() takes an async function and "
                        "its positional arguments");
        return NULL;
    }
    return tc_spawn_coroutine(func->st, args[0], args + 1, nargs - 1, NULL,
                              0);
}

static const tc_function_def run_functions[] = {
    {"run", "trio_c", run_impl},
    {"_start_guest_loop", "trio_c._core._guest", start_guest_loop_impl},
    {"current_task", "trio_c.lowlevel", current_task_impl},
    {"in_trio_run", "trio_c.lowlevel", in_trio_run_impl},
    {"in_trio_task", "trio_c.lowlevel", in_trio_task_impl},
    {"current_time", "trio_c", current_time_impl},
    {"current_clock", "trio_c.lowlevel", current_clock_impl},
    {"current_root_task", "trio_c.lowlevel", current_root_task_impl},
    {"current_statistics", "trio_c.lowlevel", current_statistics_impl},
    {"current_effective_deadline", "trio_c", effective_deadline_impl},
    {"reschedule", "trio_c.lowlevel", reschedule_impl},
    {"spawn_system_task", "trio_c.lowlevel", spawn_system_task_impl},
    {"wait_all_tasks_blocked", "trio_c.testing",
     wait_all_tasks_blocked_impl},
    {"coroutine_or_error", "trio_c._util", coroutine_or_error_impl},
    {NULL, NULL, NULL},
};

int
tc_run_register(tc_state *st)
{
    return tc_function_add_to_module(st, run_functions);
}
