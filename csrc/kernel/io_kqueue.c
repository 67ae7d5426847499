/* io_kqueue.c - events of a run's kqueue that are not about readiness, or not
 * ours: who waits for them, and the select.kqueue to ask for them with.
 *
 * Programs register what they like in the run's kqueue by themselves. Here is
 * only who gets the events: the receiver of (ident, filter), which is a task
 * that sleeps, or an UnboundedQueue. Sleeping and `with` blocks are Python's
 * (trio_c/_core/_io_kqueue.py), for nothing of this is hot.
 *
 * Invariants
 * - A key is a tuple of exact ints, so looking it up runs no Python.
 * - A pair of a descriptor and one of the two filters of readiness has either
 *   a receiver here, or a waiter or handle in the table (io_table.h).
 * - queue is the owner of the descriptor once it exists: the backend has given
 *   it away, and closing the run closes queue.
 */
#include "io_extra.h"

#if TC_POLL_HAVE_KQUEUE

#include <limits.h>
#include <string.h>
#include <sys/types.h>
#include <sys/event.h>
#include <sys/time.h>

#include "../base/fork.h"
#include "../poll/kqueue.h"
#include "runner.h"
#include "task.h"

static const char busy_text[]
    = "attempt to register multiple listeners for same ident/filter pair";

typedef struct io_kqueue {
    PyObject *queue;         /* owned or NULL: select.kqueue */
    PyObject *receivers;     /* owned: {(ident, filter): receiver} */
    int left;                /* has one left since the last wait began? */
} io_kqueue;

/* Made when it is first needed. NULL with exception. */
static io_kqueue *
kq_need(tc_io *io)
{
    io_kqueue *self = io->extra;
    if (self != NULL) {
        return self;
    }
    if (io->ops != &tc_poll_ops_kqueue) {
        PyErr_Format(PyExc_RuntimeError,
                     "this run has no kqueue: TRIO_C_POLL is '%s'",
                     io->ops->name);
        return NULL;
    }
    self = PyMem_Calloc(1, sizeof(*self));
    if (self == NULL) {
        PyErr_NoMemory();
        return NULL;
    }
    self->receivers = PyDict_New();
    if (self->receivers == NULL) {
        PyMem_Free(self);
        return NULL;
    }
    io->extra = self;
    return self;
}

/* --- receivers ------------------------------------------------------ */

static PyObject *
kq_key(unsigned long long ident, long filter)
{
    return Py_BuildValue("Kl", ident, filter);
}

/* The key that a caller means, and the same in C. */
static PyObject *
kq_key_from(PyObject *ident, PyObject *filter,
                unsigned long long *ident_number, long *filter_number)
{
    PyObject *number = PyNumber_Index(ident);
    if (number == NULL) {
        return NULL;
    }
    *ident_number = PyLong_AsUnsignedLongLong(number);
    Py_DECREF(number);
    if (*ident_number == (unsigned long long)-1 && PyErr_Occurred()) {
        return NULL;
    }
    *filter_number = PyLong_AsLong(filter);
    if (*filter_number == -1 && PyErr_Occurred()) {
        return NULL;
    }
    return kq_key(*ident_number, *filter_number);
}

/* 1 and *receiver (borrowed), 0 if there is none, -1 with exception. */
static int
kq_find(tc_io *io, PyObject *key, PyObject **receiver)
{
    io_kqueue *self = io->extra;
    *receiver = self == NULL
                    ? NULL
                    : PyDict_GetItemWithError(self->receivers, key);
    return *receiver != NULL ? 1 : PyErr_Occurred() ? -1 : 0;
}

/* The same without a key. A receiver may be gone when it is looked at, so
   this one is a new reference. */
static int
kq_find_pair(tc_io *io, unsigned long long ident, long filter,
                 PyObject **receiver)
{
    io_kqueue *self = io->extra;
    *receiver = NULL;
    if (self == NULL || PyDict_GET_SIZE(self->receivers) == 0) {
        return 0;
    }
    PyObject *key = kq_key(ident, filter);
    if (key == NULL) {
        return -1;
    }
    int r = kq_find(io, key, receiver);
    Py_XINCREF(*receiver);
    Py_DECREF(key);
    return r;
}

/* It gets no more events of that key; none if it has not got any. 0 or -1. */
static int
kq_remove(tc_io *io, PyObject *key, PyObject *receiver)
{
    io_kqueue *self = io->extra;
    PyObject *found;
    int r = kq_find(io, key, &found);
    if (r <= 0 || found != receiver) {
        return r < 0 ? -1 : 0;
    }
    self->left = 1;
    return PyDict_DelItem(self->receivers, key);
}

/* Does somebody wait for the pair through the table? A socket of ours that
   stays registered does, whether a task sleeps or not: registering the pair
   once more would change that registration. */
static int
kq_is_waited(tc_io *io, unsigned long long ident, long filter)
{
    if ((filter != EVFILT_READ && filter != EVFILT_WRITE)
        || ident > INT_MAX) {
        return 0;
    }
    tc_io_entry *entry = tc_io_entry_find(io, (int)ident);
    return entry != NULL
           && (entry->handle != NULL
               || tc_io_slot_is_waited(
                   &entry->slots[filter == EVFILT_WRITE]));
}

/* The other way round. */
static int
kq_is_taken(tc_io *io, int fd, int write)
{
    PyObject *receiver;
    int r = kq_find_pair(io, (unsigned long long)fd,
                             write ? EVFILT_WRITE : EVFILT_READ, &receiver);
    Py_XDECREF(receiver);
    return r;
}

static PyObject *
kq_closed_error(tc_state *st)
{
    return PyObject_CallFunction(st->exc_ClosedResourceError, "s",
                                 "another task closed this fd");
}

/* Wake a task that waits for an event of a descriptor that goes away. */
static int
kq_close_receiver(tc_io *io, int fd, int filter, PyObject *receiver)
{
    struct kevent event;
    EV_SET(&event, (uintptr_t)fd, filter, EV_DELETE, 0, 0, 0);
    /* Nothing to be done about errors: it is going away. */
    (void)kevent(tc_kqueue_fd(io->poll), &event, 1, NULL, 0, NULL);
    PyObject *key = kq_key((unsigned long long)fd, filter);
    if (key == NULL) {
        return -1;
    }
    int r = kq_remove(io, key, receiver);
    Py_DECREF(key);
    PyObject *error = r < 0 ? NULL : kq_closed_error(io->st);
    if (error == NULL) {
        return -1;
    }
    return tc_task_reschedule_checked(io->runner, (TaskObject *)receiver,
                                      NULL, error);
}

static int
kq_closing(tc_io *io, int fd)
{
    static const int filters[] = {EVFILT_READ, EVFILT_WRITE};
    PyObject *receivers[2] = {NULL, NULL};
    int result = -1;
    for (int i = 0; i < 2; i++) {
        int r = kq_find_pair(io, (unsigned long long)fd, filters[i],
                                 &receivers[i]);
        if (r < 0) {
            goto done;
        }
        if (r > 0 && !Task_CheckExact(io->st, receivers[i])) {
            PyErr_SetString(PyExc_NotImplementedError,
                            "can't close an fd that monitor_kevent is using");
            goto done;
        }
    }
    for (int i = 0; i < 2; i++) {
        if (receivers[i] != NULL
            && (tc_io_usable(io) < 0
                || kq_close_receiver(io, fd, filters[i], receivers[i])
                       < 0)) {
            goto done;
        }
    }
    result = 0;

done:
    Py_XDECREF(receivers[0]);
    Py_XDECREF(receivers[1]);
    return result;
}

/* --- events --------------------------------------------------------- */

/* As Python has it. New reference or NULL. */
static PyObject *
kq_event(const struct kevent *event)
{
    PyObject *module = PyImport_ImportModule("select");
    if (module == NULL) {
        return NULL;
    }
    PyObject *result = PyObject_CallMethod(
        module, "kevent", "KiIILK", (unsigned long long)event->ident,
        (int)event->filter, (unsigned int)event->flags,
        (unsigned int)event->fflags, (long long)event->data,
        (unsigned long long)(uintptr_t)event->udata);
    Py_DECREF(module);
    return result;
}

/* value is stolen. */
static int
kq_give(tc_io *io, PyObject *receiver, PyObject *value)
{
    if (Task_CheckExact(io->st, receiver)) {
        return tc_task_reschedule_checked(io->runner, (TaskObject *)receiver,
                                          value, NULL);
    }
    PyObject *r = PyObject_CallMethod(receiver, "put_nowait", "O", value);
    Py_DECREF(value);
    Py_XDECREF(r);
    return r == NULL ? -1 : 0;
}

/* Somebody has registered a pair that others wait for through the table, and
   so has taken its place. Ours comes back, and looks at what is ready. */
static int
kq_restore(tc_io *io, int fd)
{
    tc_io_entry *entry = tc_io_entry_find(io, fd);
    entry->armed = 0;
    int err = tc_io_entry_arm(io, entry);
    return err < 0 ? tc_io_entry_fail(io, entry, err, NULL) : 0;
}

static int
kq_deliver(tc_io *io, const struct kevent *event)
{
    io_kqueue *self = io->extra;
    PyObject *key = kq_key((unsigned long long)event->ident,
                               event->filter);
    if (key == NULL) {
        return -1;
    }
    PyObject *receiver;
    int r = kq_find(io, key, &receiver);
    if (r == 0 && kq_is_waited(io, event->ident, event->filter)) {
        r = kq_restore(io, (int)event->ident);
    }
    else if (r == 0 && (self == NULL || !self->left)) {
        /* It would come again and again, and the loop never sleep. */
        PyObject *error = PyObject_CallOneArg(PyExc_KeyError, key);
        if (error != NULL) {
            PyErr_SetRaisedException(error);
        }
        r = -1;
    }
    if (receiver != NULL) {
        Py_INCREF(receiver);
        /* A task that asked for more than one event has to look after the
           registration by itself. */
        if ((event->flags & EV_ONESHOT) != 0
            && Task_CheckExact(io->st, receiver)) {
            r = kq_remove(io, key, receiver);
        }
        PyObject *value = r < 0 ? NULL : kq_event(event);
        r = value == NULL ? -1 : kq_give(io, receiver, value);
        Py_DECREF(receiver);
    }
    Py_DECREF(key);
    return r;
}

static void
kq_waiting(tc_io *io)
{
    io_kqueue *self = io->extra;
    if (self != NULL) {
        self->left = 0;
    }
}

static int
kq_process(tc_io *io)
{
    if (io->ops != &tc_poll_ops_kqueue || io->poll == NULL) {
        return 0;
    }
    const struct kevent *taken;
    int n = tc_kqueue_take(io->poll, &taken);
    if (n == 0) {
        return 0;
    }
    /* Whoever is told may wait, or fork and so have the poller replaced. */
    size_t size = (size_t)n * sizeof(*taken);
    struct kevent *events = PyMem_Malloc(size);
    if (events == NULL) {
        PyErr_NoMemory();
        return -1;
    }
    memcpy(events, taken, size);
    int r = 0;
    for (int i = 0; r == 0 && i < n && io->poll != NULL; i++) {
        r = kq_deliver(io, &events[i]);
    }
    PyMem_Free(events);
    return r;
}

/* --- the life of it ------------------------------------------------- */

static void
kq_forked(tc_io *io)
{
    io_kqueue *self = io->extra;
    if (self != NULL) {
        /* It must neither be used nor end: its number is not a kqueue here,
           and perhaps something else. */
        self->queue = NULL;
    }
}

static void
kq_close(tc_io *io)
{
    io_kqueue *self = io->extra;
    if (self == NULL) {
        return;
    }
    if (io->forks != tc_fork_count()) {
        kq_forked(io);
    }
    PyObject *error = PyErr_GetRaisedException();
    PyObject *queue = self->queue;
    self->queue = NULL;
    PyObject *r = NULL;
    if (queue != NULL) {
        r = PyObject_CallMethod(queue, "close", NULL);
        if (r == NULL) {
            PyErr_WriteUnraisable(queue);
        }
    }
    Py_XDECREF(r);
    Py_XDECREF(queue);
    PyDict_Clear(self->receivers);
    PyErr_SetRaisedException(error);
}

static int
kq_traverse(tc_io *io, visitproc visit, void *arg)
{
    io_kqueue *self = io->extra;
    if (self != NULL) {
        Py_VISIT(self->queue);
        Py_VISIT(self->receivers);
    }
    return 0;
}

static void
kq_clear(tc_io *io)
{
    io_kqueue *self = io->extra;
    if (self != NULL) {
        PyDict_Clear(self->receivers);
    }
}

static void
kq_free(tc_io *io)
{
    io_kqueue *self = io->extra;
    if (self != NULL) {
        io->extra = NULL;
        Py_CLEAR(self->queue);
        Py_CLEAR(self->receivers);
        PyMem_Free(self);
    }
}

/* --- for Python ----------------------------------------------------- */

static tc_state *
kq_module_state(PyObject *module)
{
    return (tc_state *)PyModule_GetState(module);
}

/* io_current_kqueue(runner) -> select.kqueue, always the same */
static PyObject *
kq_current(PyObject *module, PyObject *runner)
{
    tc_io *io = tc_io_from_argument(kq_module_state(module), runner);
    io_kqueue *self = io == NULL ? NULL : kq_need(io);
    if (self == NULL) {
        return NULL;
    }
    if (self->queue == NULL) {
        PyObject *select = PyImport_ImportModule("select");
        PyObject *type = select == NULL
                             ? NULL
                             : PyObject_GetAttrString(select, "kqueue");
        Py_XDECREF(select);
        self->queue = type == NULL
                          ? NULL
                          : PyObject_CallMethod(type, "fromfd", "i",
                                                tc_kqueue_fd(io->poll));
        Py_XDECREF(type);
        if (self->queue == NULL) {
            return NULL;
        }
        (void)tc_kqueue_give_fd(io->poll);
    }
    return Py_NewRef(self->queue);
}

/* io_add_receiver(runner, ident, filter, receiver) */
static PyObject *
kq_add_receiver(PyObject *module, PyObject *args)
{
    tc_state *st = kq_module_state(module);
    PyObject *runner, *ident, *filter, *receiver, *found;
    if (!PyArg_ParseTuple(args, "OOOO:io_add_receiver", &runner, &ident,
                          &filter, &receiver)) {
        return NULL;
    }
    tc_io *io = tc_io_from_argument(st, runner);
    io_kqueue *self = io == NULL ? NULL : kq_need(io);
    if (self == NULL) {
        return NULL;
    }
    unsigned long long ident_number;
    long filter_number;
    PyObject *key
        = kq_key_from(ident, filter, &ident_number, &filter_number);
    if (key == NULL) {
        return NULL;
    }
    int r = kq_find(io, key, &found);
    if (r > 0 || (r == 0 && kq_is_waited(io, ident_number,
                                             filter_number))) {
        PyErr_SetString(st->exc_BusyResourceError, busy_text);
        r = -1;
    }
    if (r == 0) {
        r = PyDict_SetItem(self->receivers, key, receiver);
    }
    Py_DECREF(key);
    return r < 0 ? NULL : Py_NewRef(Py_None);
}

/* io_remove_receiver(runner, ident, filter, receiver): no error if it is none
   any more, or the run has ended. */
static PyObject *
kq_remove_receiver(PyObject *module, PyObject *args)
{
    tc_state *st = kq_module_state(module);
    PyObject *runner, *ident, *filter, *receiver;
    if (!PyArg_ParseTuple(args, "O!OOO:io_remove_receiver", st->RunnerType,
                          &runner, &ident, &filter, &receiver)) {
        return NULL;
    }
    tc_io *io = ((RunnerObject *)runner)->io;
    if (io == NULL) {
        Py_RETURN_NONE;
    }
    unsigned long long ident_number;
    long filter_number;
    PyObject *key
        = kq_key_from(ident, filter, &ident_number, &filter_number);
    int r = key == NULL ? -1 : kq_remove(io, key, receiver);
    Py_XDECREF(key);
    return r < 0 ? NULL : Py_NewRef(Py_None);
}

static PyMethodDef kq_functions[] = {
    {"io_current_kqueue", kq_current, METH_O, NULL},
    {"io_add_receiver", kq_add_receiver, METH_VARARGS, NULL},
    {"io_remove_receiver", kq_remove_receiver, METH_VARARGS, NULL},
    {NULL, NULL, 0, NULL},
};

static void
kq_count(tc_io *io, PyObject **values)
{
    io_kqueue *self = io->extra;
    Py_ssize_t n_tasks = 0, n_all = 0, at = 0;
    PyObject *receiver;
    while (self != NULL
           && PyDict_Next(self->receivers, &at, NULL, &receiver)) {
        n_all++;
        n_tasks += Task_CheckExact(io->st, receiver);
    }
    values[0] = PyLong_FromSsize_t(io->n_waiting[0] + io->n_waiting[1]
                                   + n_tasks);
    values[1] = PyLong_FromSsize_t(n_all - n_tasks);
    values[2] = PyUnicode_FromString(io->ops->name);
}

static const char *const kq_fields[] = {
    "tasks_waiting", "monitors", "backend", NULL,
};

const tc_io_extra_def tc_io_extra = {
    .module = "trio_c._core._io_kqueue",
    .manager = "KqueueIOManager",
    .statistics = "_KqueueStatistics",
    .fields = kq_fields,
    .count = kq_count,
    .busy_text = busy_text,
    .functions = kq_functions,
    .is_taken = kq_is_taken,
    .closing = kq_closing,
    .waiting = kq_waiting,
    .process = kq_process,
    .close = kq_close,
    .forked = kq_forked,
    .traverse = kq_traverse,
    .clear = kq_clear,
    .free = kq_free,
};

#endif
