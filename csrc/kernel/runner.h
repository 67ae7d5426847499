/* runner.h - one run: the ready queue, the tree's root, clock, deadlines,
 * I/O, entry queue.
 *
 * Everything but the entry queue belongs to the thread that runs it.
 */
#ifndef TC_KERNEL_RUNNER_H
#define TC_KERNEL_RUNNER_H

#include "cancel.h"
#include "../base/list.h"
#include "../base/random.h"
#include "context.h"
#include "instruments.h"
#include "task.h"

struct NurseryObject;
struct tc_io;                        /* io.h */
struct EntryQueueObject;             /* entry_queue.h */
struct InstrumentsObject;            /* instruments.h */

struct RunnerObject {
    TC_HOME_HEAD
    tc_state *st;                    /* borrowed */
#if TC_FREE_THREADED
    tc_home_run home_run;
#endif
    PyObject *clock;                 /* owned */
    double clock_offset;             /* of the native clock */
    uint8_t native_clock;            /* clock is exactly SystemClock */
    uint8_t is_guest;
    uint8_t guest_tick_scheduled;
    uint8_t strict_exception_groups; /* see strict_object */
    TC_SHARED(uint8_t) ki_pending; /* written in signal handlers too */
    uint8_t closed;
    uint8_t crashed;
    uint8_t wrecked;                 /* somebody replaced a part of it */
    struct tc_io *io;                /* owned */
    struct InstrumentsObject *instruments;  /* owned */
    struct EntryQueueObject *entry_queue;   /* owned */
    PyObject *locals;                /* owned dict of RunVars */
    PyObject *trio_token;            /* owned or NULL */
    PyObject *asyncgens;             /* owned: _core._asyncgens view object */
    /* Owned while the hooks for async generators are ours, else NULL:
       sys.set_asyncgen_hooks() and its arguments to have them as before. To
       end needs no memory. */
    PyObject *set_hooks;
    PyObject *hooks_before;
    PyObject *ki_manager;            /* owned or NULL */
    PyObject *system_context;        /* owned */
    PyObject *sniffio_dict;          /* owned or NULL: see sniffio.h */

    TaskObject **ready;              /* owned references; room for all tasks */
    Py_ssize_t n_ready;
    TaskObject **batch;              /* the batch being run, same size */
    Py_ssize_t n_batch;
    Py_ssize_t capacity;             /* of both */
    tc_link tasks;                   /* living ones, owned, via all_link */
    Py_ssize_t n_tasks;

    tc_deadlines deadlines;
    tc_link idle_waiters;            /* wait_all_tasks_blocked, sorted */
    double autojump_threshold;
    double last_poll;                /* for polling.c: monotonic seconds */
    double last_look;                /* at the clock */
    uint8_t clock_stride;            /* passes from that look to the next */
    uint8_t unclocked;               /* of these, still to come without one */
    /* For a busy loop, monotonic seconds: */
    double last_pause;               /* when it was last without the GIL */
    double keeps_gil_until;          /* it need not be offered before */

    TaskObject *init_task;           /* owned or NULL */
    TaskObject *main_task;           /* owned or NULL */
    struct NurseryObject *system_nursery;   /* owned or NULL */
    PyObject *main_value;            /* owned or NULL */
    PyObject *main_error;            /* owned or NULL */
    uint8_t main_done;               /* one of the two is the outcome */
    Py_ssize_t active_threads;       /* to_thread calls that wait for one */
    tc_random random;
    /* What the thread was in when this run took its slots, if that was a run
       of another copy of the module: see context.h. */
    tc_slots outer;
    PyObject *dict;                  /* owned or NULL: tools' attributes */
    PyObject *weakrefs;
};

/* The run's clock. -1.0 with exception on error; check PyErr_Occurred(). */
double tc_runner_time(RunnerObject *runner);

/* Call async_fn(*args) in a new task. nursery NULL only for init. context
   borrowed or NULL. name borrowed or NULL. kwnames as in vectorcall, args
   then hold their values behind the nargs positional ones. Returns borrowed
   reference (the runner owns the task) or NULL. */
TaskObject *tc_runner_spawn(RunnerObject *runner, PyObject *async_fn,
                            PyObject *const *args, Py_ssize_t nargs,
                            PyObject *kwnames, struct NurseryObject *nursery,
                            PyObject *name, int system_task,
                            PyObject *context);
TaskObject *tc_runner_spawn_system(RunnerObject *runner, PyObject *async_fn,
                                   PyObject *const *args, Py_ssize_t nargs,
                                   PyObject *name, PyObject *context);

/* The checks that run() and friends make: call async_fn, complain kindly if
   what comes is no coroutine. wrap: make it fit to be a task's root. New
   reference or NULL. */
PyObject *tc_spawn_coroutine(tc_state *st, PyObject *async_fn,
                             PyObject *const *args, Py_ssize_t nargs,
                             PyObject *kwnames, int wrap);
/* A task around a coroutine (all borrowed), scheduled. Borrowed or NULL. */
TaskObject *tc_spawn_task(RunnerObject *runner, PyObject *coro,
                          PyObject *name, PyObject *context,
                          struct NurseryObject *nursery, int system_task);

/* Something that a sleeping guest-mode wait must notice changed. */
int tc_runner_force_tick(RunnerObject *runner);

/* Owned task list helper for the run loop: ends `task`. Exactly one of value
   and exc is non-NULL; both borrowed. */
int tc_runner_task_exited(RunnerObject *runner, TaskObject *task,
                          PyObject *value, PyObject *exc);

/* Instrument hooks: one test when nobody listens. */
#define TC_HOOK(runner, HOOK, ...)                                          \
    (tc_instruments_have((runner)->instruments, HOOK)                       \
         ? tc_instruments_call((runner)->instruments, HOOK, __VA_ARGS__)    \
         : 0)

int tc_runner_register(tc_state *st);

#endif
