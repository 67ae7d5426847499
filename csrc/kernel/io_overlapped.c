/* io_overlapped.c - tasks that wait for overlapped operations.
 *
 * wait_overlapped waits for one that the caller began; readinto_overlapped and
 * write_overlapped begin it themselves (overlapped.h: who owns what).
 *
 * Invariants
 * - A waiter is linked to its operation exactly while it sleeps in it.
 * - Cancelling never ends the wait: it asks the system to end the operation,
 *   and the completion tells which of the two came first. A completion that
 *   never comes, because the handle is not registered with the port, is
 *   noticed by a packet that we send to ourselves behind the end of the
 *   operation.
 * - Once begun, an awaitable's `value` is what raises the cancellation that
 *   was asked for, or NULL.
 */
#include "io_windows.h"

#if TC_POLL_HAVE_IOCP

#  include "../glue/args.h"
#  include "../glue/errors.h"
#  include "../glue/function.h"
#  include "runner.h"
#  include "trap.h"

enum { OVERLAPPED_START, OVERLAPPED_WAITING };  /* phase */
enum { OVERLAPPED_LEFT = 1 };                   /* flags */

typedef enum { KIND_WAIT, KIND_READ, KIND_WRITE } overlapped_kind;

/* --- the table ---------------------------------------------------------- */

/* Counted as something that the next wait may report. 0 or -1. */
static int
overlapped_insert(tc_io *io, tc_overlapped *op)
{
    tc_io_windows *windows = tc_io_windows_need(io);
    if (windows == NULL
        || tc_overlapped_insert(&windows->operations, op) < 0) {
        return -1;
    }
    atomic_fetch_add_explicit(&io->n_used, 1, memory_order_relaxed);
    return 0;
}

/* Can run Python. */
static void
overlapped_done(tc_io *io, tc_overlapped *op)
{
    tc_io_windows *windows = io->extra;
    atomic_fetch_sub_explicit(&io->n_used, 1, memory_order_relaxed);
    tc_overlapped_done(&windows->operations, op);
}

/* --- leaving ------------------------------------------------------------ */

/* Nobody waits for the operation any more. Runs no Python. */
static void
overlapped_unlink(AwaitableObject *self)
{
    if (tc_link_is_linked(&self->link)) {
        tc_list_remove(&self->link);
        /* NULL once the run's I/O is closed. */
        tc_io_windows *windows = self->task->runner->io->extra;
        if (windows != NULL) {
            windows->n_waiting--;
        }
    }
}

/* The same; an operation that the core began is of no use to anybody else. */
static void
overlapped_abandon(AwaitableObject *self)
{
    tc_overlapped *op = self->u.ptr;
    overlapped_unlink(self);
    self->flags = OVERLAPPED_LEFT;
    if (op != NULL && op->in_flight && op->of_caller == NULL) {
        /* Whether or not this does anything, its completion will come. */
        (void)CancelIoEx(op->handle, op->ov);
    }
}

static void
overlapped_release(AwaitableObject *self)
{
    tc_overlapped *op = self->u.ptr;
    if (op != NULL) {
        self->u.ptr = NULL;
        tc_overlapped_release(op);
    }
}

/* --- cancelling --------------------------------------------------------- */

/* The operation cannot be cancelled: it is over, or nearly so. Have the port
   say whether its completion was sent there. */
static int
overlapped_mark_late(tc_io *io, tc_overlapped *op)
{
    tc_io_windows *windows = io->extra;
    if (++windows->last_mark == 0) {
        windows->last_mark = 1;
    }
    op->cancel_mark = windows->last_mark;
    uint32_t code = tc_iocp_post(io->poll, TC_IO_KEY_LATE_CANCEL, op->ov,
                                 op->cancel_mark);
    if (code != 0) {
        tc_io_windows_error(code);
        return -1;
    }
    return 0;
}

static tc_abort_result
overlapped_abort(AwaitableObject *self, struct tc_abort *why)
{
    tc_overlapped *op = self->u.ptr;
    if (self->phase != OVERLAPPED_WAITING) {
        return TC_ABORT_SUCCEEDED;  /* cancelled before it could begin */
    }
    PyObject *raise_cancel = tc_abort_callable(why);
    if (raise_cancel == NULL) {
        return TC_ABORT_ERROR;
    }
    assert(self->value == NULL);
    self->value = raise_cancel;
    if (CancelIoEx(op->handle, op->ov)) {
        return TC_ABORT_FAILED;
    }
    switch (GetLastError()) {
    case ERROR_NOT_FOUND:
    case ERROR_INVALID_HANDLE:  /* closed, which ends the operation */
        return overlapped_mark_late(self->task->runner->io, op) < 0
                   ? TC_ABORT_ERROR
                   : TC_ABORT_FAILED;
    default:
        tc_io_windows_error(GetLastError());
        tc_error_chain(self->st->exc_TrioInternalError,
                       "CancelIoEx failed with unexpected error");
        return TC_ABORT_ERROR;
    }
}

int
tc_io_overlapped_late_cancel(tc_io *io, const tc_iocp_completion *packet)
{
    tc_io_windows *windows = io->extra;
    tc_overlapped *op
        = tc_overlapped_find(&windows->operations, packet->overlapped);
    if (op == NULL || op->cancel_mark != packet->bytes) {
        return 0;  /* its completion came first, as it should */
    }
    if (!HasOverlappedIoCompleted(op->ov)) {
        /* Not over yet, but not to be cancelled: its handle was closed, say,
           and its device takes its time. */
        return 0;
    }
    tc_link *waiter = tc_list_first(&op->waiter);
    if (waiter == NULL) {
        return 0;
    }
    AwaitableObject *aw = TC_CONTAINER_OF(waiter, AwaitableObject, link);
    PyObject *name = tc_task_name(aw->task);
    if (name != NULL) {
        PyErr_Format(io->st->exc_TrioInternalError,
                     "Failed to cancel overlapped I/O in %S and didn't "
                     "receive the completion either. Did you forget to call "
                     "register_with_iocp()?",
                     name);
    }
    return -1;
}

/* --- completing --------------------------------------------------------- */

int
tc_io_overlapped_completed(tc_io *io, const tc_iocp_completion *packet)
{
    tc_io_windows *windows = io->extra;
    tc_overlapped *op
        = tc_overlapped_find(&windows->operations, packet->overlapped);
    if (op == NULL) {
        /* Nobody can ever wait for it: the run must not go on. */
        PyObject *address = PyLong_FromVoidPtr(packet->overlapped);
        if (address != NULL) {
            PyErr_SetObject(PyExc_KeyError, address);
            Py_DECREF(address);
        }
        return -1;
    }
    op->n_bytes = packet->bytes;
    tc_link *waiter = tc_list_first(&op->waiter);
    if (waiter == NULL) {
        overlapped_done(io, op);
        return 0;
    }
    AwaitableObject *aw = TC_CONTAINER_OF(waiter, AwaitableObject, link);
    TaskObject *task = (TaskObject *)Py_NewRef((PyObject *)aw->task);
    overlapped_unlink(aw);
    overlapped_done(io, op);  /* the awaitable has it */
    int r = tc_task_wake(task);
    Py_DECREF((PyObject *)task);
    return r;
}

/* --- waiting ------------------------------------------------------------ */

static tc_step
overlapped_sleep(AwaitableObject *self, TaskObject *task, tc_overlapped *op)
{
    tc_list_append(&op->waiter, &self->link);
    ((tc_io_windows *)task->runner->io->extra)->n_waiting++;
    Py_CLEAR(self->value);
    self->phase = OVERLAPPED_WAITING;
    return tc_trap_wait(self, task);
}

/* The task runs again: 0 if the operation has succeeded. */
static int
overlapped_resume(AwaitableObject *self)
{
    tc_overlapped *op = self->u.ptr;
    if (tc_trap_resume(self, NULL) < 0) {
        return -1;
    }
    /* Whoever wakes the task behind our back comes too early. */
    uint32_t code = self->flags == OVERLAPPED_LEFT ? ERROR_IO_PENDING
                                                   : tc_iocp_error(op->ov);
    if (code == 0) {
        return 0;
    }
    if (code != ERROR_OPERATION_ABORTED) {
        tc_io_windows_error(code);
    }
    else if (self->value == NULL) {
        PyErr_SetString(self->st->exc_ClosedResourceError,
                        "another task closed this resource");
    }
    else {
        PyObject *nothing = PyObject_CallNoArgs(self->value);
        Py_XDECREF(nothing);
        assert(nothing == NULL);
    }
    return -1;
}

static tc_step
wait_start(AwaitableObject *self)
{
    void *handle, *ov;
    TaskObject *task = tc_trap_task(self);
    if (task == NULL) {
        return TC_ERROR;
    }
    if (tc_io_windows_pointer(self->value, &handle) < 0
        || tc_io_windows_pointer(self->extra, &ov) < 0) {
        return TC_ERROR;
    }
    if (ov == NULL) {
        PyErr_SetString(PyExc_ValueError, "lpOverlapped must not be NULL");
        return TC_ERROR;
    }
    tc_io_windows *windows = tc_io_windows_need(task->runner->io);
    if (windows == NULL) {
        return TC_ERROR;
    }
    if (tc_overlapped_find(&windows->operations, ov) != NULL) {
        PyErr_SetString(self->st->exc_BusyResourceError,
                        "another task is already waiting on that "
                        "lpOverlapped");
        return TC_ERROR;
    }
    tc_overlapped *op = tc_overlapped_new();
    if (op == NULL) {
        return TC_ERROR;
    }
    self->u.ptr = op;
    op->handle = handle;
    op->ov = ov;
    op->of_caller = Py_NewRef(self->extra);
    if (overlapped_insert(task->runner->io, op) < 0) {
        return TC_ERROR;
    }
    return overlapped_sleep(self, task, op);
}

static tc_step
wait_overlapped_step(AwaitableObject *self, PyObject *Py_UNUSED(sent),
                     PyObject **result)
{
    tc_step step;
    if (self->phase == OVERLAPPED_START) {
        step = wait_start(self);
    }
    else if (overlapped_resume(self) < 0) {
        step = TC_ERROR;
    }
    else {
        tc_overlapped *op = self->u.ptr;
        *result = tc_io_windows_info(
            self->st, Py_NewRef(op->of_caller), op->n_bytes);
        step = *result == NULL ? TC_ERROR : TC_DONE;
    }
    if (step != TC_YIELD) {
        overlapped_release(self);
    }
    return step;
}

static const tc_op wait_overlapped_op = {
    .name = "wait_overlapped",
    .qualname = "wait_overlapped",
    .step = wait_overlapped_step,
    .abort = overlapped_abort,
    .abandon = overlapped_abandon,
    .release = overlapped_release,
};

/* --- reading and writing ------------------------------------------------ */

/* Where in the file; `owner` is the argument or NULL. 0 or -1. */
static int
transfer_offset(AwaitableObject *self, OVERLAPPED *ov)
{
    if (self->owner == NULL) {
        return 0;
    }
    PyObject *number = PyNumber_Index(self->owner);
    if (number == NULL) {
        return -1;
    }
    unsigned long long offset = PyLong_AsUnsignedLongLong(number);
    Py_DECREF(number);
    if (offset == (unsigned long long)-1 && PyErr_Occurred()) {
        return -1;
    }
    ov->Offset = (DWORD)offset;
    ov->OffsetHigh = (DWORD)(offset >> 32);
    return 0;
}

/* Begin the operation: in the table and in flight, or -1. */
static int
transfer_submit(AwaitableObject *self, TaskObject *task, overlapped_kind kind)
{
    tc_overlapped *op = self->u.ptr;
    if (transfer_offset(self, op->ov) < 0
        || tc_io_windows_pointer(self->value, &op->handle) < 0) {
        return -1;
    }
    if ((size_t)op->buffer.len > UINT32_MAX) {
        PyErr_Format(PyExc_OverflowError,
                     "%zd bytes are more than one operation can transfer",
                     op->buffer.len);
        return -1;
    }
    if (overlapped_insert(task->runner->io, op) < 0) {
        return -1;
    }
    DWORD len = (DWORD)op->buffer.len;
    DWORD code;
    /* Files on disks are often read and written at once, whatever was asked
       for, and that takes as long as it takes. */
    Py_BEGIN_ALLOW_THREADS
    BOOL ok = kind == KIND_READ
                  ? ReadFile(op->handle, op->buffer.buf, len, NULL, op->ov)
                  : WriteFile(op->handle, op->buffer.buf, len, NULL, op->ov);
    code = ok ? 0 : GetLastError();
    Py_END_ALLOW_THREADS
    /* What succeeds at once completes at the port all the same, and so does
       the first part of a message. */
    if (code == 0 || code == ERROR_IO_PENDING || code == ERROR_MORE_DATA) {
        return 0;
    }
    overlapped_done(task->runner->io, op);
    tc_io_windows_error(code);
    return -1;
}

static tc_step
transfer_start(AwaitableObject *self, overlapped_kind kind)
{
    TaskObject *task = tc_trap_task(self);
    if (task == NULL) {
        return TC_ERROR;
    }
    tc_overlapped *op = tc_overlapped_new();
    if (op == NULL) {
        return TC_ERROR;
    }
    self->u.ptr = op;
    if (PyObject_GetBuffer(self->extra, &op->buffer,
                           kind == KIND_READ ? PyBUF_WRITABLE : PyBUF_SIMPLE)
        < 0) {
        return TC_ERROR;
    }
    tc_step step = tc_trap_cancel_point(self, task);
    if (step != TC_DONE) {
        return step;
    }
    if (transfer_submit(self, task, kind) < 0) {
        return TC_ERROR;
    }
    return overlapped_sleep(self, task, op);
}

static tc_step
transfer_step(AwaitableObject *self, PyObject **result, overlapped_kind kind)
{
    tc_step step;
    if (self->phase == OVERLAPPED_START) {
        step = transfer_start(self, kind);
    }
    else if (self->phase != OVERLAPPED_WAITING) {
        step = tc_trap_cancelled_step(self);
    }
    else if (overlapped_resume(self) < 0) {
        step = TC_ERROR;
    }
    else {
        tc_overlapped *op = self->u.ptr;
        *result = PyLong_FromSize_t(op->ov->InternalHigh);
        step = *result == NULL ? TC_ERROR : TC_DONE;
    }
    if (step != TC_YIELD) {
        overlapped_release(self);  /* the buffer is the caller's again */
    }
    return step;
}

static tc_step
readinto_overlapped_step(AwaitableObject *self, PyObject *Py_UNUSED(sent),
                         PyObject **result)
{
    return transfer_step(self, result, KIND_READ);
}

static tc_step
write_overlapped_step(AwaitableObject *self, PyObject *Py_UNUSED(sent),
                      PyObject **result)
{
    return transfer_step(self, result, KIND_WRITE);
}

static const tc_op readinto_overlapped_op = {
    .name = "readinto_overlapped",
    .qualname = "readinto_overlapped",
    .step = readinto_overlapped_step,
    .abort = overlapped_abort,
    .abandon = overlapped_abandon,
    .release = overlapped_release,
};

static const tc_op write_overlapped_op = {
    .name = "write_overlapped",
    .qualname = "write_overlapped",
    .step = write_overlapped_step,
    .abort = overlapped_abort,
    .abandon = overlapped_abandon,
    .release = overlapped_release,
};

/* --- the functions ------------------------------------------------------ */

/* values: handle, buffer or OVERLAPPED, offset or NULL; borrowed. */
static PyObject *
overlapped_new_wait(tc_state *st, const tc_op *op, PyObject *const *values)
{
    AwaitableObject *aw = tc_awaitable_new(st, op, values[2]);
    if (aw != NULL) {
        aw->value = Py_NewRef(values[0]);
        aw->extra = Py_NewRef(values[1]);
    }
    return (PyObject *)aw;
}

static const tc_params wait_params = {
    .fname = "wait_overlapped",
    .names = {"handle_", "lpOverlapped"},
    .n_positional = 2,
    .n_required = 2,
};

static PyObject *
wait_overlapped_impl(FunctionObject *func, PyObject *Py_UNUSED(self),
                     PyObject *const *args, Py_ssize_t nargs,
                     PyObject *kwnames)
{
    PyObject *values[3] = {NULL};
    if (tc_args_parse(&wait_params, args, nargs, kwnames, values) < 0) {
        return NULL;
    }
    return overlapped_new_wait(func->st, &wait_overlapped_op, values);
}

static const tc_params readinto_params = {
    .fname = "readinto_overlapped",
    .names = {"handle", "buffer", "file_offset"},
    .n_positional = 3,
    .n_required = 2,
};

static PyObject *
readinto_overlapped_impl(FunctionObject *func, PyObject *Py_UNUSED(self),
                         PyObject *const *args, Py_ssize_t nargs,
                         PyObject *kwnames)
{
    PyObject *values[3];
    if (tc_args_parse(&readinto_params, args, nargs, kwnames, values) < 0) {
        return NULL;
    }
    return overlapped_new_wait(func->st, &readinto_overlapped_op, values);
}

static const tc_params write_params = {
    .fname = "write_overlapped",
    .names = {"handle", "data", "file_offset"},
    .n_positional = 3,
    .n_required = 2,
};

static PyObject *
write_overlapped_impl(FunctionObject *func, PyObject *Py_UNUSED(self),
                      PyObject *const *args, Py_ssize_t nargs,
                      PyObject *kwnames)
{
    PyObject *values[3];
    if (tc_args_parse(&write_params, args, nargs, kwnames, values) < 0) {
        return NULL;
    }
    return overlapped_new_wait(func->st, &write_overlapped_op, values);
}

static const tc_function_def overlapped_functions[] = {
    {"wait_overlapped", "trio_c.lowlevel", wait_overlapped_impl},
    {"readinto_overlapped", "trio_c.lowlevel", readinto_overlapped_impl},
    {"write_overlapped", "trio_c.lowlevel", write_overlapped_impl},
    {NULL, NULL, NULL},
};

int
tc_io_overlapped_register(tc_state *st)
{
    return tc_function_add_to_module(st, overlapped_functions);
}

#endif
