/* io.c - a run's poller: opening, waiting, handing out what was reported.
 *
 * Invariants
 * - poll is NULL exactly when closed. Closing empties the table of waiters
 *   and handles, so that what is finalised later finds nothing to undo.
 * - n_waiting[] counts the linked awaitables, n_used the entries that have
 *   some or a handle.
 * - A waiter leaves its slot before its task is woken.
 * - Entries stay where they are until tc_io_free(), but waking a task can run
 *   Python (instruments), and so change or close anything: look again after.
 * - A forked child never touches the poller it shares with its parent: the
 *   first use gives it one of its own (tc_io_usable).
 *
 * Entries: io_table.c. Edge-triggered sockets: io_handle.c. The public
 * functions: io_api.c. What one backend has and the others have not:
 * io_extra.h.
 */
#include "io.h"

#include <errno.h>
#include <limits.h>
#include <stdlib.h>

#include "../base/clock.h"
#include "../base/fork.h"
#include "../glue/errors.h"
#include "entry_queue.h"
#include "io_extra.h"
#include "io_table.h"
#include "runner.h"
#include "trap.h"

/* --- opening and closing -------------------------------------------- */

static int
io_open(tc_io *io)
{
    int err = tc_fork_watch();
    if (err == 0) {
        err = io->ops->open(&io->poll);
    }
    if (err < 0) {
        io->poll = NULL;
        tc_error_set_errno(err);
        return -1;
    }
    io->forks = tc_fork_count();
    return 0;
}

tc_io *
tc_io_new(RunnerObject *runner)
{
    const tc_poll_ops *ops = tc_poll_default_ops();
    const char *name = getenv("TRIO_C_POLL");
    if (name != NULL && *name != '\0') {
        ops = tc_poll_ops_by_name(name);
        if (ops == NULL) {
            PyErr_Format(PyExc_ValueError,
                         "TRIO_C_POLL: no such way of polling: '%s'", name);
            return NULL;
        }
    }
    tc_io *io = PyMem_Calloc(1, sizeof(*io));
    if (io == NULL) {
        PyErr_NoMemory();
        return NULL;
    }
    io->runner = runner;
    io->st = runner->st;
    io->ops = ops;
    atomic_init(&io->n_used, 0);
    if (io_open(io) < 0) {
        PyMem_Free(io);
        return NULL;
    }
    return io;
}

/* Every entry that exists. NULL-terminated walk: start with -1. */
static tc_io_entry *
io_next_entry(tc_io *io, int *fd)
{
    for (;;) {
        (*fd)++;
        Py_ssize_t page = *fd / TC_IO_PAGE;
        if (page >= io->n_pages) {
            return NULL;
        }
        if (io->pages[page] != NULL) {
            return &io->pages[page][*fd % TC_IO_PAGE];
        }
        *fd = (int)(page * TC_IO_PAGE + TC_IO_PAGE - 1);
    }
}

void
tc_io_close(tc_io *io)
{
    if (io == NULL || io->poll == NULL) {
        return;
    }
    if (TC_IO_HAVE_EXTRA && tc_io_extra.ending != NULL) {
        tc_io_extra.ending(io);
    }
    io->ops->close(io->poll);
    io->poll = NULL;
    io->n_events = 0;
    tc_io_entry *entry;
    for (int fd = -1; (entry = io_next_entry(io, &fd)) != NULL;) {
        for (int write = 0; write < 2; write++) {
            tc_link *waiter = tc_list_first(&entry->slots[write].waiter);
            if (waiter != NULL) {
                tc_list_remove(waiter);
                io->n_waiting[write]--;
            }
        }
        tc_io_entry_orphan(entry);
        entry->armed = entry->known = 0;
        tc_io_entry_count(io, entry);
    }
    if (TC_IO_HAVE_EXTRA) {
        tc_io_extra.close(io);
    }
}

void
tc_io_free(tc_io *io)
{
    if (io == NULL) {
        return;
    }
    tc_io_close(io);
    for (Py_ssize_t i = 0; i < io->n_pages; i++) {
        PyMem_Free(io->pages[i]);
    }
    if (TC_IO_HAVE_EXTRA) {
        tc_io_extra.free(io);
    }
    PyMem_Free(io->pages);
    PyMem_Free(io->scratch);
    free(io->events);
    PyMem_Free(io);
}

int
tc_io_traverse(tc_io *io, visitproc visit, void *arg)
{
    return TC_IO_HAVE_EXTRA && io != NULL
               ? tc_io_extra.traverse(io, visit, arg)
               : 0;
}

void
tc_io_clear(tc_io *io)
{
    if (TC_IO_HAVE_EXTRA && io != NULL) {
        tc_io_extra.clear(io);
    }
}

/* We are a forked child: the kernel's side of the poller is the parent's. */
static int
io_reopen(tc_io *io)
{
    io->ops->close(io->poll);
    io->n_events = 0;
    if (TC_IO_HAVE_EXTRA) {
        tc_io_extra.forked(io);
    }
    if (io_open(io) < 0) {
        return -1;
    }
    tc_io_entry *entry;
    for (int fd = -1; (entry = io_next_entry(io, &fd)) != NULL;) {
        tc_io_entry_orphan(entry);
        entry->armed = entry->known = 0;
        entry->generation++;
        tc_io_entry_count(io, entry);
        if (tc_io_wanted(entry) != 0) {
            int err = tc_io_entry_arm(io, entry);
            if (err < 0 && tc_io_entry_fail(io, entry, err, NULL) < 0) {
                return -1;
            }
        }
    }
    return io->runner->entry_queue == NULL
               ? 0
               : tc_entry_queue_forked(io->runner->entry_queue);
}

int
tc_io_usable(tc_io *io)
{
    if (io->poll == NULL) {
        PyErr_SetString(PyExc_RuntimeError, "this run's I/O is closed");
        return -1;
    }
    return io->forks == tc_fork_count() ? 0 : io_reopen(io);
}

/* --- waiting -------------------------------------------------------- */

/* One call of the poller. No GIL needed. The count or -errno. */
static int
io_poll(tc_io *io, int64_t timeout_ns)
{
    int wanted = atomic_load_explicit(&io->n_used, memory_order_relaxed);
    if (wanted < 1) {
        wanted = 1;
    }
    if (io->capacity < wanted) {
        int capacity = wanted > INT_MAX / 2 ? wanted : wanted * 2;
        tc_poll_event *events
            = realloc(io->events, (size_t)capacity * sizeof(*events));
        if (events != NULL) {
            io->events = events;
            io->capacity = capacity;
        }
        else if (io->capacity == 0) {
            return -ENOMEM;
        }
        else {
            wanted = io->capacity;
        }
    }
    int n = io->ops->wait(io->poll, io->events, wanted, timeout_ns);
    io->n_events = n > 0 ? n : 0;
    return n;
}

/* A thread works for the run: its answer may come at any moment. */
static int
io_look_out(tc_io *io)
{
    int n = 0;
    tc_lookout_begin(&io->lookout);
    while (n == 0 && tc_lookout_goes_on(&io->lookout)) {
        n = io_poll(io, 0);
    }
    if (n > 0) {
        tc_lookout_succeed(&io->lookout);
    }
    return n;
}

/* What is left of a timeout; 0 once it is over. */
static double
io_time_left(double deadline)
{
    double left = deadline - tc_clock_monotonic();
    return left > 0.0 ? left : 0.0;
}

/* Has somebody replaced the manager's get_events? */
static int
io_is_overridden(tc_state *st)
{
    return st->io_overrides != NULL
           && PyDict_GetItemString(st->io_overrides, "get_events") != NULL;
}

/* Somebody patched get_events: ask that. What it hands on from the real one
   is in io->events already. */
static int
io_wait_overridden(tc_io *io, double timeout)
{
    PyObject *events = NULL;
    PyObject *override = Py_NewRef(
        PyDict_GetItemString(io->st->io_overrides, "get_events"));
    PyObject *manager = tc_io_manager(io->runner);
    io->n_events = 0;
    if (manager != NULL) {
        events = PyObject_CallFunction(override, "Od", manager, timeout);
        Py_DECREF(manager);
    }
    Py_DECREF(override);
    if (events == NULL) {
        return -1;
    }
    int any = PyObject_IsTrue(events);
    Py_DECREF(events);
    return any > 0 && io->n_events > 0 ? io->n_events : any;
}

int
tc_io_wait_here(tc_io *io, double timeout)
{
    if (tc_io_usable(io) < 0) {
        return -1;
    }
    if (TC_IO_HAVE_EXTRA) {
        tc_io_extra.waiting(io);
    }
    double deadline = 0.0;
    if (timeout > 0.0) {
        io->began = tc_clock_monotonic();
        deadline = io->began + timeout;
    }
    for (;;) {
        int n;
        int64_t timeout_ns = tc_poll_timeout_ns(timeout);
        if (timeout_ns == 0) {
            n = io_poll(io, 0);
        }
        else {
            int threads = io->runner->active_threads > 0;
            Py_BEGIN_ALLOW_THREADS
            n = threads ? io_look_out(io) : 0;
            if (n == 0) {
                n = io_poll(io, timeout_ns);
            }
            Py_END_ALLOW_THREADS
        }
        if (PyErr_CheckSignals() < 0) {
            return -1;
        }
        if (n >= 0) {
            return n;
        }
        if (n != -EINTR) {
            tc_error_set_errno(n);
            return -1;
        }
        if (timeout > 0.0) {
            timeout = io_time_left(deadline);
        }
    }
}

int
tc_io_wait(tc_io *io, double timeout)
{
    return io_is_overridden(io->st) ? io_wait_overridden(io, timeout)
                                       : tc_io_wait_here(io, timeout);
}

double
tc_io_wait_began(const tc_io *io)
{
    return io->began;
}

void
tc_io_wake(tc_io *io)
{
    /* A child's wake-up would wake the parent. */
    if (io->poll != NULL && io->forks == tc_fork_count()) {
        io->ops->wake(io->poll);
    }
}

/* --- handing out ---------------------------------------------------- */

/* Wake whoever sleeps in the slot; exc (stolen) or NULL. 0 or -1. */
static int
io_wake_slot(tc_io *io, tc_io_slot *slot, PyObject *exc)
{
    tc_link *waiter = tc_list_first(&slot->waiter);
    assert(waiter != NULL);
    AwaitableObject *aw = TC_CONTAINER_OF(waiter, AwaitableObject, link);
    TaskObject *task = (TaskObject *)Py_NewRef((PyObject *)aw->task);
    tc_list_remove(waiter);
    io->n_waiting[slot == &slot->entry->slots[1]]--;
    tc_io_entry_count(io, slot->entry);
    int r = exc != NULL ? tc_task_wake_error(task, exc) : tc_task_wake(task);
    Py_DECREF((PyObject *)task);
    return r;
}

/* Wake everybody who sleeps at the entry with an exception of their own, made
   by `make` from `arg`. 0 or -1. */
static int
io_wake_all(tc_io *io, tc_io_entry *entry,
            PyObject *(*make)(tc_state *, int), int arg)
{
    for (int write = 0; write < 2; write++) {
        if (!tc_io_slot_is_waited(&entry->slots[write])) {
            continue;
        }
        PyObject *exc = make(io->st, arg);
        if (exc == NULL) {
            /* They must wake all the same: with what went wrong here. */
            exc = PyErr_GetRaisedException();
        }
        if (io_wake_slot(io, &entry->slots[write], exc) < 0) {
            return -1;
        }
    }
    return 0;
}

static PyObject *
io_make_oserror(tc_state *Py_UNUSED(st), int err)
{
    return tc_error_make_errno(err);
}

static PyObject *
io_make_closed(tc_state *st, int Py_UNUSED(err))
{
    return PyObject_CallFunction(st->exc_ClosedResourceError, "s",
                                 "another task closed this fd");
}

int
tc_io_entry_fail(tc_io *io, tc_io_entry *entry, int err,
                 AwaitableObject *self)
{
    if (self != NULL && tc_link_is_linked(&self->link)) {
        io->n_waiting[self->link.next == &entry->slots[1].waiter]--;
        tc_list_remove(&self->link);
    }
    if (io_wake_all(io, entry, io_make_oserror, err) < 0) {
        return -1;
    }
    tc_io_entry_count(io, entry);
    if (self == NULL) {
        return 0;
    }
    tc_error_set_errno(err);
    return -1;
}

int
tc_io_notify_closing(tc_io *io, int fd)
{
    if (TC_IO_HAVE_EXTRA && tc_io_extra.closing(io, fd) < 0) {
        return -1;
    }
    tc_io_entry *entry = tc_io_entry_find(io, fd);
    if (entry == NULL) {
        return 0;
    }
    if (tc_io_usable(io) < 0) {
        return -1;
    }
    if (entry->known) {
        /* Nothing to be done about errors: it is going away. */
        (void)io->ops->forget(io->poll, fd);
    }
    tc_io_entry_orphan(entry);
    entry->known = entry->armed = 0;
    entry->generation++;
    int r = io_wake_all(io, entry, io_make_closed, 0);
    tc_io_entry_count(io, entry);
    return r;
}

static void
io_note_event(tc_io_handle *handle, uint32_t ready)
{
    uint32_t directions = tc_poll_directions(ready);
    if (directions & TC_POLL_READ) {
        handle->readable = 1;
    }
    if (directions & TC_POLL_WRITE) {
        handle->writable = 1;
    }
    if (ready & ~(TC_POLL_READ | TC_POLL_WRITE)) {
        handle->doubt |= TC_IO_DOUBT_REPORT;
    }
}

static int
io_process_event(tc_io *io, const tc_poll_event *event)
{
    if (event->token == TC_POLL_WAKE) {
        return 0;
    }
    tc_io_entry *entry = tc_io_entry_find(io, (int)(uint32_t)event->token);
    if (entry == NULL
        || entry->generation != (uint32_t)(event->token >> 32)) {
        return 0;
    }
    /* Urgent data alone is nothing to read, and whoever waits for what is
       ready now would be told of it again and again. */
    uint32_t directions
        = tc_poll_directions(event->ready & ~TC_POLL_PRI);
    if (entry->handle != NULL) {
        io_note_event(entry->handle, event->ready);
    }
    else {
        entry->armed = 0;
    }
    for (int write = 1; write >= 0; write--) {
        if ((directions & (write ? TC_POLL_WRITE : TC_POLL_READ)) != 0
            && tc_io_slot_is_waited(&entry->slots[write])
            && io_wake_slot(io, &entry->slots[write], NULL) < 0) {
            return -1;
        }
    }
    if (io->poll != NULL && entry->handle == NULL
        && tc_io_wanted(entry) != 0) {
        /* One report used both directions up. */
        int err = tc_io_entry_arm(io, entry);
        if (err < 0) {
            return tc_io_entry_fail(io, entry, err, NULL);
        }
    }
    return 0;
}

int
tc_io_process(tc_io *io)
{
    int r = TC_IO_HAVE_EXTRA ? tc_io_extra.process(io) : 0;
    for (int i = 0; r == 0 && i < io->n_events; i++) {
        tc_poll_event event = io->events[i];
        r = io_process_event(io, &event);
    }
    io->n_events = 0;
    return r;
}
