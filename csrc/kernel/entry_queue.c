/* entry_queue.c - the task that runs what other threads and signal handlers
 * have queued, and the descriptor pair that wakes a sleeping loop for it.
 *
 * Invariants
 * - jobs.c is what other threads see; everything else here belongs to the
 *   loop's thread.
 * - waiter is set exactly while the queue's task is linked as the reader of
 *   read_fd, or was woken from there and has not run yet.
 * - The flag is what a byte in the socket is to Trio: set by each new job,
 *   cleared only when the task goes on after it has rested, before it looks
 *   at the queue. So a flagged queue's task runs in the coming batch; if its
 *   jobs ran before it came to rest, in vain.
 * - A forked child has descriptors of its own before it reads any, or sleeps:
 *   what it read from those that it has from its parent would be missed there
 *   (tc_entry_queue_forked).
 * - Bytes on the descriptors mean nothing by themselves; the socket may hold
 *   none although jobs wait, and some although none do.
 */
#include "entry_queue.h"
#include "../base/fork.h"
#include "../base/sock.h"
#include "../glue/args.h"
#include "../glue/awaitable.h"
#include "../glue/errors.h"
#include "../glue/function.h"
#include "io.h"
#include "io_table.h"
#include "jobs.h"
#include "ki.h"
#include "nursery.h"
#include "runner.h"
#include "task.h"
#include "trap.h"

struct EntryQueueObject {
    PyObject_HEAD
    tc_state *st;            /* borrowed */
    tc_jobs *jobs;           /* owned; NULL only if there was no memory */
    int read_fd;             /* owned; -1 when closed */
    int write_fd;            /* owned; -1 when closed */
    unsigned forks;          /* tc_fork_count() when they were opened */
    /* Owned while signals write to our socket, else NULL: set_wakeup_fd() and
       its arguments to have it as before. To end needs no memory. */
    PyObject *set_wakeup_fd;
    PyObject *wakeup_before;
    AwaitableObject *waiter; /* borrowed from the task */
    int woken_by_flag;       /* nothing was polled when the task was woken */
    int failed;              /* the task could not go on */
    tc_link guests;          /* of tc_queue_guests, borrowed */
    PyObject *weakrefs;
};

/* --- the descriptor pair ----------------------------------------------- */

static int
entry_queue_open_pair(EntryQueueObject *self)
{
    int fds[2];
    int err = tc_sock_pair(fds);
    if (err < 0) {
        tc_error_set_sock(-err);
        return -1;
    }
    self->read_fd = fds[0];
    self->write_fd = fds[1];
    self->forks = tc_fork_count();
    self->jobs->wake_fd = fds[1];
    return 0;
}

static void
entry_queue_close_pair(EntryQueueObject *self)
{
    tc_jobs_forget_wake_fd(self->jobs);
    if (self->read_fd >= 0) {
        tc_sock_close(self->read_fd);
        self->read_fd = -1;
    }
    if (self->write_fd >= 0) {
        tc_sock_close(self->write_fd);
        self->write_fd = -1;
    }
}

static void
entry_queue_drain_pair(EntryQueueObject *self)
{
    char bytes[256];
    ptrdiff_t n;
    do {
        n = tc_sock_recvfrom(self->read_fd, bytes, sizeof(bytes), 0, NULL,
                             NULL);
    } while (n == (ptrdiff_t)sizeof(bytes)
             || (n < 0 && tc_sock_interrupted(tc_sock_error())));
}

int
tc_entry_queue_wakeup_on_signals(EntryQueueObject *self)
{
    PyObject *signal = PyImport_ImportModule("_signal");
    if (signal == NULL) {
        return -1;
    }
    PyObject *handler = tc_ki_probe_main_thread(signal);
    if (handler == NULL) {
        Py_DECREF(signal);
        return PyErr_Occurred() ? -1 : 0;
    }
    Py_DECREF(handler);
    PyObject *function, *before = NULL, *args = NULL, *kwargs = NULL;
    PyObject *old = NULL;
    if ((function = PyObject_GetAttrString(signal, "set_wakeup_fd")) != NULL
        && (before = PyTuple_New(1)) != NULL
        && (args = Py_BuildValue("(i)", self->write_fd)) != NULL
        && (kwargs = Py_BuildValue("{sO}", "warn_on_full_buffer", Py_False))
               != NULL) {
        old = PyObject_Call(function, args, kwargs);
    }
    Py_DECREF(signal);
    Py_XDECREF(args);
    Py_XDECREF(kwargs);
    if (old == NULL) {
        Py_XDECREF(function);
        Py_XDECREF(before);
        return -1;
    }
    PyTuple_SET_ITEM(before, 0, old);
    self->set_wakeup_fd = function;
    self->wakeup_before = before;
    long old_fd = PyLong_AsLong(old);
    if (old_fd == -1) {
        return PyErr_Occurred() ? -1 : 0;
    }
    return PyErr_WarnEx(
        PyExc_RuntimeWarning,
        "It looks like Trio's signal handling code might have collided with "
        "another library you're using. If you're running Trio in guest mode, "
        "then this might mean you should set "
        "host_uses_signal_set_wakeup_fd=True. Otherwise, file a bug on Trio "
        "and we'll help you figure out what's going on.",
        1);
}

/* set_wakeup_fd() from write_fd of before to that of now, if it still is
   that. 0 or -1. */
static int
entry_queue_move_wakeup(int before, int now)
{
    int r = -1;
    PyObject *signal = PyImport_ImportModule("_signal");
    PyObject *function
        = signal == NULL ? NULL
                         : PyObject_GetAttrString(signal, "set_wakeup_fd");
    PyObject *kwargs
        = Py_BuildValue("{sO}", "warn_on_full_buffer", Py_False);
    PyObject *args = Py_BuildValue("(i)", now);
    PyObject *old = NULL, *again = NULL;
    if (function == NULL || kwargs == NULL || args == NULL) {
        goto done;
    }
    old = PyObject_Call(function, args, kwargs);
    if (old == NULL) {
        goto done;
    }
    int fd = (int)PyLong_AsLong(old);
    if (fd == before) {
        r = 0;
        goto done;
    }
    again = fd == -1 && PyErr_Occurred()
                ? NULL
                : PyObject_CallOneArg(function, old);
    r = again == NULL ? -1 : 0;
done:
    Py_XDECREF(again);
    Py_XDECREF(old);
    Py_XDECREF(args);
    Py_XDECREF(kwargs);
    Py_XDECREF(function);
    Py_XDECREF(signal);
    return r;
}

int
tc_entry_queue_forked(EntryQueueObject *self)
{
    AwaitableObject *waiter = self->waiter;
    int old_read = self->read_fd, old_write = self->write_fd;
    int fds[2];
    if (self->forks == tc_fork_count() || old_read < 0) {
        return 0;
    }
    int err = tc_sock_pair(fds);
    if (err < 0) {
        tc_error_set_sock(-err);
        return -1;
    }
    self->forks = tc_fork_count();
    int is_linked = waiter != NULL && tc_link_is_linked(&waiter->link);
    if (is_linked) {
        tc_io_unlink(waiter);
    }
    self->read_fd = fds[0];
    self->write_fd = fds[1];
    tc_jobs_replace_wake_fd(self->jobs, fds[1]);
    int r = 0;
    if (self->set_wakeup_fd != NULL) {
        r = entry_queue_move_wakeup(old_write, fds[1]);
    }
    tc_sock_close(old_read);
    tc_sock_close(old_write);
    if (is_linked
        && tc_io_link(waiter->task->runner->io, fds[0], 0, waiter) < 0) {
        r = -1;
    }
    return r;
}

/* --- queueing ---------------------------------------------------------- */

/* What tc_jobs_push*() returned, as 0 or -1 with exception. */
static int
entry_queue_result(EntryQueueObject *self, int r)
{
    if (r > 0) {
        PyErr_SetString(self->st->exc_RunFinishedError, "run() has exited");
        return -1;
    }
    return r;
}

int
tc_entry_queue_push(EntryQueueObject *self, PyObject *fn, PyObject *args,
                    int idempotent)
{
    int r;
    if (idempotent) {
        r = tc_jobs_push_once(self->jobs, fn, args);
    }
    else {
        tc_job job = {NULL, Py_NewRef(fn), Py_NewRef(args)};
        r = tc_jobs_push(self->jobs, job, 0);
        if (r != 0) {
            Py_DECREF(fn);
            Py_DECREF(args);
        }
    }
    return entry_queue_result(self, r);
}

int
tc_entry_queue_push_native(EntryQueueObject *self,
                           const tc_native_job *native, PyObject *obj,
                           unsigned how, tc_jobs **bell)
{
    tc_job job = {native, Py_NewRef(obj), NULL};
    int r = tc_jobs_push(self->jobs, job,
                         how | (bell != NULL ? TC_JOBS_SILENTLY : 0u));
    if (r != 0) {
        Py_DECREF(obj);
    }
    else if (bell != NULL) {
        *bell = self->jobs;
    }
    return entry_queue_result(self, r);
}

int
tc_entry_queue_reserve(EntryQueueObject *self)
{
    return tc_jobs_reserve(self->jobs);
}

void
tc_entry_queue_unreserve(EntryQueueObject *self)
{
    tc_jobs_unreserve(self->jobs);
}

PyObject *
tc_entry_queue_run_sync_soon(EntryQueueObject *self, const char *fname,
                             PyObject *const *args, Py_ssize_t nargs,
                             PyObject *kwnames)
{
    const tc_params params = {
        .fname = fname,
        .names = {"sync_fn", "idempotent"},
        .n_positional = 1,
        .n_required = 1,
        .n_posonly = 0,
    };
    PyObject *a[2];
    PyObject *const *rest;
    Py_ssize_t n_rest;
    if (tc_args_parse_star(&params, args, nargs, kwnames, a, &rest, &n_rest)
        < 0) {
        return NULL;
    }
    int idempotent = a[1] != NULL ? PyObject_IsTrue(a[1]) : 0;
    if (idempotent < 0) {
        return NULL;
    }
    PyObject *tuple = PyTuple_New(n_rest);
    if (tuple == NULL) {
        return NULL;
    }
    for (Py_ssize_t i = 0; i < n_rest; i++) {
        PyTuple_SET_ITEM(tuple, i, Py_NewRef(rest[i]));
    }
    int r = tc_entry_queue_push(self, a[0], tuple, idempotent);
    Py_DECREF(tuple);
    if (r < 0) {
        return NULL;
    }
    Py_RETURN_NONE;
}

void
tc_entry_queue_add_guest(EntryQueueObject *self, tc_queue_guest *guest)
{
    tc_list_append(&self->guests, &guest->link);
}

/* --- what the run loop asks -------------------------------------------- */

void
tc_entry_queue_set_sleeping(EntryQueueObject *self, int sleeping)
{
    atomic_store(&self->jobs->sleeping, sleeping);
}

int
tc_entry_queue_is_flagged(EntryQueueObject *self)
{
    return atomic_load(&self->jobs->flagged);
}

int
tc_entry_queue_wake_task(EntryQueueObject *self)
{
    AwaitableObject *waiter = self->waiter;
    if (!tc_entry_queue_is_flagged(self) || waiter == NULL
        || waiter->task->scheduled) {
        return 0;
    }
    self->waiter = NULL;
    self->woken_by_flag = 1;
    tc_io_unlink_for_now(waiter);
    return tc_task_wake(waiter->task);
}

int
tc_entry_queue_has_failed(EntryQueueObject *self)
{
    return self->failed;
}

Py_ssize_t
tc_entry_queue_size(EntryQueueObject *self)
{
    return (Py_ssize_t)tc_jobs_size(self->jobs);
}

/* --- the task ---------------------------------------------------------- */

enum {
    ENTRY_START = 0,
    ENTRY_RESTING,           /* waits for read_fd */
    ENTRY_YIELDING,          /* more came while jobs ran: a checkpoint() */
    ENTRY_LEAVING,           /* that checkpoint is cancelled */
};

/* A job raised: the run must know. A system task raises it again, or, after
   those are gone, a sibling of the queue's own task. */
static int
entry_queue_job_failed(EntryQueueObject *self, TaskObject *task)
{
    PyObject *exc = PyErr_GetRaisedException();
    /* It is being handled, which instruments may see. */
    PyObject *handled = PyErr_GetHandledException();
    PyErr_SetHandledException(exc);
    PyObject *module = PyImport_ImportModule("trio_c._core._entry_queue");
    PyObject *raiser = NULL;
    TaskObject *spawned = NULL;
    if (module != NULL) {
        raiser = PyObject_GetAttrString(module, "kill_everything");
        Py_DECREF(module);
    }
    if (raiser != NULL) {
        spawned = tc_runner_spawn_system(task->runner, raiser, &exc, 1, NULL,
                                         NULL);
        if (spawned == NULL && PyErr_ExceptionMatches(PyExc_RuntimeError)) {
            PyErr_Clear();
            spawned = tc_runner_spawn(task->runner, raiser, &exc, 1, NULL,
                                      task->parent_nursery, NULL, 0, NULL);
        }
        Py_DECREF(raiser);
    }
    PyErr_SetHandledException(handled);
    Py_XDECREF(handled);
    Py_DECREF(exc);
    return spawned == NULL ? -1 : 0;
}

/* Steals the references in job. */
static int
entry_queue_run_job(EntryQueueObject *self, TaskObject *task, tc_job job)
{
    int r;
    if (job.native != NULL) {
        r = job.native->run(job.obj);
    }
    else {
        PyObject *result = PyObject_Call(job.obj, job.args, NULL);
        r = result == NULL ? -1 : 0;
        Py_XDECREF(result);
    }
    if (r < 0) {
        r = entry_queue_job_failed(self, task);
    }
    if (r < 0) {
        /* The run is lost; keep the reason while references go. */
        PyObject *exc = PyErr_GetRaisedException();
        Py_DECREF(job.obj);
        Py_XDECREF(job.args);
        PyErr_SetRaisedException(exc);
        return -1;
    }
    Py_DECREF(job.obj);
    Py_XDECREF(job.args);
    return 0;
}

/* What is queued now, and no more: jobs that queue jobs starve nobody. */
static int
entry_queue_run_bounded(EntryQueueObject *self, TaskObject *task)
{
    tc_job job;
    for (size_t n = tc_jobs_size_fifo(self->jobs);
         n > 0 && tc_jobs_pop(self->jobs, &job); n--) {
        if (entry_queue_run_job(self, task, job) < 0) {
            return -1;
        }
    }
    uint64_t before = tc_jobs_serial(self->jobs);
    PyObject *once;
    while ((once = tc_jobs_pop_once(self->jobs, before)) != NULL) {
        job.native = NULL;
        job.obj = Py_NewRef(PyTuple_GET_ITEM(once, 0));
        job.args = Py_NewRef(PyTuple_GET_ITEM(once, 1));
        Py_DECREF(once);
        if (entry_queue_run_job(self, task, job) < 0) {
            return -1;
        }
    }
    return 0;
}

/* The run is over for it: run what was accepted, accept nothing more. */
static tc_step
entry_queue_finish(EntryQueueObject *self, TaskObject *task)
{
    tc_jobs_close(self->jobs);
    atomic_store(&self->jobs->flagged, 0);
    return entry_queue_run_bounded(self, task) < 0 ? TC_ERROR : TC_DONE;
}

/* Back from a wait. 1: go on; 0: cancelled; -1 with exception. */
static int
entry_queue_resume(EntryQueueObject *self, AwaitableObject *aw)
{
    int rested = aw->phase == ENTRY_RESTING;
    int by_flag = self->woken_by_flag;
    self->waiter = NULL;
    self->woken_by_flag = 0;
    if (tc_trap_resume(aw, NULL) < 0) {
        if (!PyErr_ExceptionMatches((PyObject *)self->st->CancelledType)) {
            return -1;
        }
        PyErr_Clear();
        return 0;
    }
    if (rested) {
        atomic_store(&self->jobs->flagged, 0);
        /* Woken by the flag alone, the socket is empty unless somebody says
           that he wrote. */
        if (tc_io_usable(aw->task->runner->io) < 0) {
            return -1;
        }
        if (!by_flag || atomic_load(&self->jobs->written)) {
            entry_queue_drain_pair(self);
            atomic_store(&self->jobs->written, 0);
        }
    }
    return 1;
}

static tc_step
entry_queue_go_on(EntryQueueObject *self, AwaitableObject *aw)
{
    TaskObject *task = tc_trap_task(aw);
    if (task == NULL) {
        return TC_ERROR;
    }
    if (aw->phase != ENTRY_START) {
        int r = entry_queue_resume(self, aw);
        if (r <= 0) {
            return r < 0 ? TC_ERROR : entry_queue_finish(self, task);
        }
        if (aw->phase == ENTRY_YIELDING) {
            task->cancel_points++;
            if (tc_trap_is_cancelled(task)) {
                aw->phase = ENTRY_LEAVING;
                return tc_trap_wait(aw, task);
            }
        }
    }
    if (entry_queue_run_bounded(self, task) < 0) {
        return TC_ERROR;
    }
    if (tc_jobs_size(self->jobs) > 0) {
        aw->phase = ENTRY_YIELDING;
        return tc_trap_checkpoint(aw, task);
    }
    if (tc_io_link(task->runner->io, self->read_fd, 0, aw) < 0) {
        return TC_ERROR;
    }
    self->waiter = aw;
    aw->phase = ENTRY_RESTING;
    return tc_trap_wait(aw, task);
}

static tc_step
entry_queue_step(AwaitableObject *aw, PyObject *Py_UNUSED(sent),
                 PyObject **Py_UNUSED(result))
{
    EntryQueueObject *self = (EntryQueueObject *)aw->owner;
    tc_step step = entry_queue_go_on(self, aw);
    if (step == TC_ERROR) {
        self->failed = 1;
    }
    return step;
}

static void
entry_queue_abandon(AwaitableObject *aw)
{
    EntryQueueObject *self = (EntryQueueObject *)aw->owner;
    if (aw->phase == ENTRY_RESTING) {
        tc_io_unlink(aw);
    }
    if (self != NULL && self->waiter == aw) {
        self->waiter = NULL;
    }
}

static const tc_op entry_queue_op = {
    .name = "task",
    .qualname = "EntryQueue.task",
    .step = entry_queue_step,
    .abandon = entry_queue_abandon,
};

PyObject *
tc_entry_queue_task(EntryQueueObject *self)
{
    return (PyObject *)tc_awaitable_new(self->st, &entry_queue_op,
                                        (PyObject *)self);
}

/* --- the object -------------------------------------------------------- */

EntryQueueObject *
tc_entry_queue_new(tc_state *st)
{
    EntryQueueObject *self
        = PyObject_GC_New(EntryQueueObject, st->EntryQueueType);
    if (self == NULL) {
        return NULL;
    }
    self->st = st;
    self->read_fd = -1;
    self->write_fd = -1;
    self->set_wakeup_fd = NULL;
    self->wakeup_before = NULL;
    self->waiter = NULL;
    self->woken_by_flag = 0;
    self->failed = 0;
    tc_list_init(&self->guests);
    self->weakrefs = NULL;
    self->jobs = tc_jobs_new();
    TC_LIVE_ADD(st, EntryQueueType);
    PyObject_GC_Track(self);
    if (self->jobs == NULL || entry_queue_open_pair(self) < 0) {
        Py_DECREF(self);
        return NULL;
    }
    return self;
}

int
tc_entry_queue_close(EntryQueueObject *self)
{
    int r = 0;
    tc_jobs_close(self->jobs);
    if (self->set_wakeup_fd != NULL) {
        PyObject *done
            = PyObject_Call(self->set_wakeup_fd, self->wakeup_before, NULL);
        if (done == NULL && PyErr_ExceptionMatches(PyExc_MemoryError)) {
            /* It is done; there is no room for the number that it returns. */
            PyErr_Clear();
        }
        else if (done == NULL) {
            r = -1;
        }
        Py_XDECREF(done);
        Py_CLEAR(self->set_wakeup_fd);
        Py_CLEAR(self->wakeup_before);
    }
    entry_queue_close_pair(self);
    /* Only a run that broke down leaves jobs and guests behind. */
    PyObject *exc = PyErr_GetRaisedException();
    tc_jobs_discard(self->jobs);
    tc_link *link;
    while ((link = tc_list_first(&self->guests)) != NULL) {
        tc_queue_guest *guest = TC_CONTAINER_OF(link, tc_queue_guest, link);
        tc_list_remove(link);
        guest->run_over(guest);
    }
    if (exc != NULL) {
        PyErr_SetRaisedException(exc);
    }
    return r;
}

static PyObject *
entry_queue_run_sync_soon(FunctionObject *Py_UNUSED(func), PyObject *op,
                          PyObject *const *args, Py_ssize_t nargs,
                          PyObject *kwnames)
{
    return tc_entry_queue_run_sync_soon((EntryQueueObject *)op,
                                        "EntryQueue.run_sync_soon", args,
                                        nargs, kwnames);
}

static PyObject *
entry_queue_size_method(FunctionObject *Py_UNUSED(func), PyObject *op,
                        PyObject *const *Py_UNUSED(args), Py_ssize_t nargs,
                        PyObject *kwnames)
{
    if (tc_args_none("EntryQueue.size", nargs, kwnames) < 0) {
        return NULL;
    }
    return PyLong_FromSsize_t(tc_entry_queue_size((EntryQueueObject *)op));
}

static int
entry_queue_traverse(PyObject *op, visitproc visit, void *arg)
{
    EntryQueueObject *self = (EntryQueueObject *)op;
    Py_VISIT(Py_TYPE(op));
    Py_VISIT(self->set_wakeup_fd);
    Py_VISIT(self->wakeup_before);
    return tc_jobs_traverse(self->jobs, visit, arg);
}

static int
entry_queue_clear(PyObject *op)
{
    EntryQueueObject *self = (EntryQueueObject *)op;
    tc_jobs_close(self->jobs);
    tc_jobs_discard(self->jobs);
    Py_CLEAR(self->set_wakeup_fd);
    Py_CLEAR(self->wakeup_before);
    return 0;
}

static void
entry_queue_dealloc(PyObject *op)
{
    EntryQueueObject *self = (EntryQueueObject *)op;
    PyTypeObject *type = Py_TYPE(op);
    PyObject_GC_UnTrack(op);
    if (self->weakrefs != NULL) {
        PyObject_ClearWeakRefs(op);
    }
    /* Guests hold the queue. */
    assert(tc_list_is_empty(&self->guests));
    Py_CLEAR(self->set_wakeup_fd);
    Py_CLEAR(self->wakeup_before);
    if (self->jobs != NULL) {
        entry_queue_close_pair(self);
        tc_jobs_free(self->jobs);
    }
    TC_LIVE_SUB(self->st, EntryQueueType);
    PyObject_GC_Del(op);
    Py_DECREF(type);
}

static PyMemberDef entry_queue_members[] = {
    {"__weaklistoffset__", T_PYSSIZET, offsetof(EntryQueueObject, weakrefs),
     READONLY, NULL},
    {NULL, 0, 0, 0, NULL},
};

static PyType_Slot entry_queue_slots[] = {
    {Py_tp_dealloc, entry_queue_dealloc},
    {Py_tp_traverse, entry_queue_traverse},
    {Py_tp_clear, entry_queue_clear},
    {Py_tp_members, entry_queue_members},
    {0, NULL},
};

static PyType_Spec tc_entry_queue_spec = {
    .name = "trio_c._core._entry_queue.EntryQueue",
    .basicsize = sizeof(EntryQueueObject),
    .flags = Py_TPFLAGS_DEFAULT | Py_TPFLAGS_HAVE_GC
             | Py_TPFLAGS_DISALLOW_INSTANTIATION,
    .slots = entry_queue_slots,
};

static const tc_function_def entry_queue_functions[] = {
    {"EntryQueue.run_sync_soon", "trio_c._core._entry_queue",
     entry_queue_run_sync_soon},
    {"EntryQueue.size", "trio_c._core._entry_queue",
     entry_queue_size_method},
    {NULL, NULL, NULL},
};

int
tc_entry_queue_register(tc_state *st)
{
    if (tc_state_add_type(st, &st->EntryQueueType, &tc_entry_queue_spec,
                          NULL, "EntryQueue")
        < 0) {
        return -1;
    }
    return tc_function_add_to_type(st, st->EntryQueueType,
                                   entry_queue_functions);
}
