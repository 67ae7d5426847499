/* io_windows.c - a run's completion port, as programs may use it: handles
 * registered with it, packets for keys that somebody monitors.
 *
 * Tasks that wait for operations: io_overlapped.c.
 */
#include "io_windows.h"

#if TC_POLL_HAVE_IOCP

#  include "../base/clock.h"
#  include "../glue/args.h"
#  include "../glue/errors.h"
#  include "../glue/function.h"
#  include "../glue/types.h"
#  include "runner.h"

/* How long the end of a run waits for operations that it has cancelled, in
   seconds, and how many packets it takes at once. */
#  define ENDING_PATIENCE 1.0
#  define ENDING_BATCH 64

/* --- the state ---------------------------------------------------------- */

tc_io_windows *
tc_io_windows_need(tc_io *io)
{
    if (tc_io_usable(io) < 0) {
        return NULL;
    }
    if (io->extra != NULL) {
        return io->extra;
    }
    tc_io_windows *windows = PyMem_Calloc(1, sizeof(*windows));
    if (windows == NULL) {
        PyErr_NoMemory();
        return NULL;
    }
    windows->monitors = PyDict_New();
    if (windows->monitors == NULL) {
        PyMem_Free(windows);
        return NULL;
    }
    windows->next_key = TC_IO_KEY_FIRST_MONITOR;
    io->extra = windows;
    return windows;
}

/* The port goes, but not with operations in flight whose memory is ours: they
   are cancelled, and awaited. That takes looking at the port, since Windows
   writes how an operation ended when its packet is taken; and at the
   operations, since those of a handle that is not registered with the port
   send none. */
static void
windows_ending(tc_io *io)
{
    tc_io_windows *windows = io->extra;
    if (windows == NULL || tc_overlapped_are_over(&windows->operations)) {
        return;
    }
    PyObject *raised = PyErr_GetRaisedException();
    double deadline = tc_clock_monotonic() + ENDING_PATIENCE;
    int n = 0;
    tc_overlapped_cancel_all(&windows->operations);
    while (n >= 0 && !tc_overlapped_are_over(&windows->operations)
           && tc_clock_monotonic() < deadline) {
        tc_poll_event events[ENDING_BATCH];
        tc_iocp_completion packet;
        Py_BEGIN_ALLOW_THREADS
        n = io->ops->wait(io->poll, events, ENDING_BATCH, 1000000);
        Py_END_ALLOW_THREADS
        while (tc_iocp_take(io->poll, &packet, 1) == 1) {
            /* Nobody is left to hear of it. */
        }
    }
    PyErr_SetRaisedException(raised);
}

/* The port is gone, and with it what was still on its way through it. */
static void
windows_close(tc_io *io)
{
    tc_io_windows *windows = io->extra;
    if (windows == NULL) {
        return;
    }
    io->extra = NULL;
    PyObject *raised = PyErr_GetRaisedException();
    tc_overlapped_close(&windows->operations);
    Py_DECREF(windows->monitors);
    PyMem_Free(windows);
    PyErr_SetRaisedException(raised);
}

static int
windows_traverse(tc_io *io, visitproc visit, void *arg)
{
    tc_io_windows *windows = io->extra;
    if (windows != NULL) {
        Py_VISIT(windows->monitors);
    }
    return 0;
}

static void
windows_clear(tc_io *io)
{
    tc_io_windows *windows = io->extra;
    if (windows != NULL) {
        PyDict_Clear(windows->monitors);
    }
}

/* --- arguments and errors ----------------------------------------------- */

int
tc_io_windows_pointer(PyObject *obj, void **pointer)
{
    PyObject *address;
    if (PyLong_Check(obj)) {
        address = Py_NewRef(obj);
    }
    else {
        /* Perhaps one of cffi's, which is no dependency of ours. */
        PyObject *module
            = PyImport_ImportModule("trio_c._core._cffi_address");
        address = module == NULL
                      ? NULL
                      : PyObject_CallMethod(module, "address", "O", obj);
        Py_XDECREF(module);
        if (address == NULL) {
            return -1;
        }
    }
    /* -1 is a handle, too. */
    *pointer = (void *)(uintptr_t)PyLong_AsUnsignedLongLongMask(address);
    Py_DECREF(address);
    return PyErr_Occurred() ? -1 : 0;
}

PyObject *
tc_io_windows_error(uint32_t code)
{
    return PyErr_SetExcFromWindowsErr(PyExc_OSError, (int)code);
}

PyObject *
tc_io_windows_info(tc_state *st, PyObject *overlapped, uint32_t n_bytes)
{
    PyObject *values[] = {
        overlapped,
        PyLong_FromUnsignedLong(n_bytes),
    };
    return tc_statistics_new(st->CompletionInfoType, values);
}

/* --- what comes out of the port ----------------------------------------- */

/* A packet for a monitor. */
static int
windows_notify(tc_io *io, const tc_iocp_completion *packet)
{
    int r = -1;
    PyObject *queue = NULL, *done = NULL, *info = NULL;
    tc_io_windows *windows = io->extra;
    PyObject *key = PyLong_FromSize_t(packet->key);
    if (key == NULL) {
        return -1;
    }
    queue = Py_XNewRef(PyDict_GetItemWithError(windows->monitors, key));
    if (queue == NULL) {
        if (PyErr_Occurred()) {
            goto done;
        }
        if (packet->key < windows->next_key) {
            r = 0;  /* whoever monitored it does so no more */
            goto done;
        }
        PyErr_SetObject(PyExc_KeyError, key);
        goto done;
    }
    info = tc_io_windows_info(
        io->st, PyLong_FromVoidPtr(packet->overlapped), packet->bytes);
    if (info == NULL) {
        goto done;
    }
    done = PyObject_CallMethod(queue, "put_nowait", "O", info);
    r = done == NULL ? -1 : 0;
done:
    Py_XDECREF(done);
    Py_XDECREF(info);
    Py_XDECREF(queue);
    Py_DECREF(key);
    return r;
}

static int
windows_process(tc_io *io)
{
    int r = 0;
    tc_iocp_completion packet;
    /* Dealing with one can run Python; what is not taken stays. */
    while (r == 0 && io->poll != NULL
           && tc_iocp_take(io->poll, &packet, 1) == 1) {
        if (tc_io_windows_need(io) == NULL) {
            return -1;
        }
        switch (packet.key) {
        case TC_IO_KEY_OVERLAPPED:
            r = tc_io_overlapped_completed(io, &packet);
            break;
        case TC_IO_KEY_LATE_CANCEL:
            r = tc_io_overlapped_late_cancel(io, &packet);
            break;
        default:
            r = windows_notify(io, &packet);
            break;
        }
    }
    return r;
}

/* --- the functions ------------------------------------------------------ */

static PyObject *
current_iocp_impl(FunctionObject *func, PyObject *Py_UNUSED(self),
                  PyObject *const *Py_UNUSED(args), Py_ssize_t nargs,
                  PyObject *kwnames)
{
    if (tc_args_none("current_iocp", nargs, kwnames) < 0) {
        return NULL;
    }
    RunnerObject *runner = tc_context_need_runner(func->st);
    if (runner == NULL || tc_io_usable(runner->io) < 0) {
        return NULL;
    }
    return PyLong_FromVoidPtr(tc_iocp_port(runner->io->poll));
}

static const tc_params register_params = {
    .fname = "register_with_iocp",
    .names = {"handle"},
    .n_positional = 1,
    .n_required = 1,
};

static PyObject *
register_with_iocp_impl(FunctionObject *func, PyObject *Py_UNUSED(self),
                        PyObject *const *args, Py_ssize_t nargs,
                        PyObject *kwnames)
{
    PyObject *obj;
    void *handle;
    if (tc_args_parse(&register_params, args, nargs, kwnames, &obj) < 0) {
        return NULL;
    }
    RunnerObject *runner = tc_context_need_runner(func->st);
    if (runner == NULL || tc_io_windows_pointer(obj, &handle) < 0
        || tc_io_usable(runner->io) < 0) {
        return NULL;
    }
    uint32_t code
        = tc_iocp_register(runner->io->poll, handle, TC_IO_KEY_OVERLAPPED);
    if (code != 0) {
        return tc_io_windows_error(code);
    }
    Py_RETURN_NONE;
}

static const tc_function_def windows_functions[] = {
    {"current_iocp", "trio_c.lowlevel", current_iocp_impl},
    {"register_with_iocp", "trio_c.lowlevel", register_with_iocp_impl},
    {NULL, NULL, NULL},
};

/* --- behind monitor_completion_key -------------------------------------- */

/* io_monitor_key(runner, queue) -> key */
static PyObject *
io_monitor_key(PyObject *module, PyObject *args)
{
    PyObject *runner, *queue;
    if (!PyArg_ParseTuple(args, "OO:io_monitor_key", &runner, &queue)) {
        return NULL;
    }
    tc_io *io = tc_io_from_argument(PyModule_GetState(module), runner);
    tc_io_windows *windows = io == NULL ? NULL : tc_io_windows_need(io);
    if (windows == NULL) {
        return NULL;
    }
    PyObject *key = PyLong_FromSize_t(windows->next_key);
    if (key == NULL || PyDict_SetItem(windows->monitors, key, queue) < 0) {
        Py_XDECREF(key);
        return NULL;
    }
    windows->next_key++;
    return key;
}

/* io_unmonitor_key(runner, key); nothing to do once the run is over. */
static PyObject *
io_unmonitor_key(PyObject *module, PyObject *args)
{
    PyObject *runner, *key;
    tc_state *st = (tc_state *)PyModule_GetState(module);
    if (!PyArg_ParseTuple(args, "O!O:io_unmonitor_key", st->RunnerType,
                          &runner, &key)) {
        return NULL;
    }
    tc_io_windows *windows = ((RunnerObject *)runner)->io->extra;
    if (windows != NULL && PyDict_DelItem(windows->monitors, key) < 0) {
        return NULL;
    }
    Py_RETURN_NONE;
}

static PyMethodDef windows_methods[] = {
    {"io_monitor_key", io_monitor_key, METH_VARARGS, NULL},
    {"io_unmonitor_key", io_unmonitor_key, METH_VARARGS, NULL},
    {NULL, NULL, 0, NULL},
};

/* --- what the rest of a run's I/O sees ---------------------------------- */

static void
windows_count(tc_io *io, PyObject **values)
{
    const tc_io_windows *windows = io->extra;
    values[0] = PyLong_FromSsize_t(io->n_waiting[0]);
    values[1] = PyLong_FromSsize_t(io->n_waiting[1]);
    values[2] = PyLong_FromSsize_t(windows == NULL ? 0 : windows->n_waiting);
    values[3] = PyLong_FromSsize_t(
        windows == NULL ? 0 : PyDict_GET_SIZE(windows->monitors));
    values[4] = PyUnicode_FromString("windows");
}

static int
windows_is_taken(tc_io *Py_UNUSED(io), int Py_UNUSED(fd),
                 int Py_UNUSED(write))
{
    return 0;
}

static int
windows_closing(tc_io *Py_UNUSED(io), int Py_UNUSED(fd))
{
    return 0;
}

static void
windows_ignore(tc_io *Py_UNUSED(io))
{
}

static int
windows_add(tc_state *st)
{
    static const char *const fields[] = {
        "lpOverlapped", "dwNumberOfBytesTransferred", NULL,
    };
    if (tc_statistics_add_type(st, &st->CompletionInfoType,
                               "CompletionKeyEventInfo",
                               "trio_c._core._io_windows",
                               "A packet that came out of the completion "
                               "port.",
                               fields)
            < 0
        || tc_function_add_to_module(st, windows_functions) < 0) {
        return -1;
    }
    return tc_io_overlapped_register(st);
}

static const char *const windows_fields[] = {
    "tasks_waiting_read",
    "tasks_waiting_write",
    "tasks_waiting_overlapped",
    "completion_key_monitors",
    "backend",
    NULL,
};

const tc_io_extra_def tc_io_extra = {
    .module = "trio_c._core._io_windows",
    .manager = "WindowsIOManager",
    .statistics = "_WindowsStatistics",
    .fields = windows_fields,
    .count = windows_count,
    .busy_text = "another task is already reading / writing this socket",
    .functions = windows_methods,
    .add = windows_add,
    .is_taken = windows_is_taken,
    .closing = windows_closing,
    .waiting = windows_ignore,
    .process = windows_process,
    .ending = windows_ending,
    .close = windows_close,
    .forked = windows_ignore,
    .traverse = windows_traverse,
    .clear = windows_clear,
    .free = windows_ignore,
};

#endif
