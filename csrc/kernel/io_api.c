/* io_api.c - wait_readable, wait_writable, notify_closing; what Python sees
 * of a run's I/O.
 *
 * The run's manager (trio_c._core._io_epoll.EpollIOManager, or that of another
 * backend) is a view on the functions here. When somebody replaces a method
 * of its class, the metaclass tells us (io_override), and the replacement is
 * asked instead: st->io_overrides maps names to callables and is NULL while it
 * would be empty, so that nobody pays for it otherwise.
 */
#include "io.h"

#include "../glue/args.h"
#include "../glue/errors.h"
#include "../glue/function.h"
#include "../glue/types.h"
#include "io_extra.h"
#include "io_table.h"
#include "runner.h"
#include "trap.h"

/* --- descriptors ---------------------------------------------------- */

/* obj.fileno(); new reference. Written in C: just called. In Python: runs
   protected from Ctrl-C, like all of the waiting. */
static PyObject *
io_call_fileno(tc_state *st, PyObject *obj)
{
    PyObject *method = PyObject_GetAttr(obj, st->str_fileno);
    if (method == NULL || PyCFunction_Check(method)) {
        PyObject *number
            = method == NULL ? NULL : PyObject_CallNoArgs(method);
        Py_XDECREF(method);
        return number;
    }
    tc_ki_mark mark;
    PyObject *number = NULL;
    if (tc_ki_enter(&mark, 1) == 0) {
        number = PyObject_CallNoArgs(method);
        tc_ki_leave(&mark);
    }
    Py_DECREF(method);
    return number;
}

int
tc_io_fileno(tc_state *st, PyObject *obj, int *fd)
{
    PyObject *number;
    if (PyLong_Check(obj)) {
        number = Py_NewRef(obj);
    }
    else {
        number = io_call_fileno(st, obj);
        if (number == NULL) {
            return -1;
        }
    }
    *fd = PyObject_AsFileDescriptor(number);
    Py_DECREF(number);
    return *fd < 0 ? -1 : 0;
}

/* --- waiting -------------------------------------------------------- */

/* What the argument is called, which is Trio's choice. */
#if TC_POLL_HAVE_IOCP
#define WAITED_NAME "sock"
#define CLOSING_NAME "handle"
#else
#define WAITED_NAME "fd"
#define CLOSING_NAME "fd"
#endif

static tc_step
io_wait_for(AwaitableObject *self, int write)
{
    if (self->phase != 0) {
        return tc_trap_resume(self, NULL) < 0 ? TC_ERROR : TC_DONE;
    }
    TaskObject *task = tc_trap_task(self);
    if (task == NULL) {
        return TC_ERROR;
    }
    int fd;
    tc_step step = TC_ERROR;
    Py_INCREF(task);  /* a greenlet's fileno() may switch away until it ends */
    if (tc_io_fileno(self->st, self->value, &fd) < 0
        || tc_io_link(task->runner->io, fd, write, self) < 0) {
        tc_error_attribute_to_no_context();
    }
    else {
        self->phase = 1;
        step = tc_trap_wait(self, task);
    }
    Py_DECREF(task);
    return step;
}

static tc_step
wait_readable_step(AwaitableObject *self, PyObject *Py_UNUSED(sent),
                   PyObject **Py_UNUSED(result))
{
    return io_wait_for(self, 0);
}

static tc_step
wait_writable_step(AwaitableObject *self, PyObject *Py_UNUSED(sent),
                   PyObject **Py_UNUSED(result))
{
    return io_wait_for(self, 1);
}

static const tc_op wait_readable_op = {
    .name = "wait_readable",
    .qualname = "wait_readable",
    .step = wait_readable_step,
    .abort = tc_io_abort,
    .abandon = tc_io_unlink,
};

static const tc_op wait_writable_op = {
    .name = "wait_writable",
    .qualname = "wait_writable",
    .step = wait_writable_step,
    .abort = tc_io_abort,
    .abandon = tc_io_unlink,
};

static PyObject *
io_new_wait(tc_state *st, const tc_op *op, PyObject *fd)
{
    AwaitableObject *aw = tc_awaitable_new(st, op, NULL);
    if (aw != NULL) {
        aw->value = Py_NewRef(fd);
    }
    return (PyObject *)aw;
}

PyObject *
tc_io_manager(RunnerObject *runner)
{
    PyObject *module = PyImport_ImportModule(tc_io_extra.module);
    if (module == NULL) {
        return NULL;
    }
    PyObject *manager = PyObject_CallMethod(module, tc_io_extra.manager, "O",
                                            (PyObject *)runner);
    Py_DECREF(module);
    return manager;
}

/* What somebody put in place of a method of the manager; borrowed, NULL
   without exception if nobody did. */
static PyObject *
io_override_of(tc_state *st, const char *name)
{
    return st->io_overrides == NULL
               ? NULL
               : PyDict_GetItemString(st->io_overrides, name);
}

/* Call it: manager.<name>(fd). */
static PyObject *
io_call_override(tc_state *st, PyObject *override, PyObject *fd)
{
    RunnerObject *runner = tc_context_need_runner(st);
    if (runner == NULL) {
        return NULL;
    }
    PyObject *manager = tc_io_manager(runner);
    if (manager == NULL) {
        return NULL;
    }
    Py_INCREF(override);
    PyObject *result = PyObject_CallFunctionObjArgs(override, manager, fd,
                                                    NULL);
    Py_DECREF(override);
    Py_DECREF(manager);
    return result;
}

static int
io_parse_fd(const char *fname, const char *name, PyObject *const *args,
            Py_ssize_t nargs, PyObject *kwnames, PyObject **fd)
{
    tc_params params = {
        .fname = fname,
        .names = {name},
        .n_positional = 1,
        .n_required = 1,
    };
    return tc_args_parse(&params, args, nargs, kwnames, fd);
}

static PyObject *
io_wait_function(tc_state *st, const tc_op *op, PyObject *const *args,
                 Py_ssize_t nargs, PyObject *kwnames)
{
    PyObject *fd;
    if (io_parse_fd(op->name, WAITED_NAME, args, nargs, kwnames, &fd) < 0) {
        return NULL;
    }
    PyObject *override = io_override_of(st, op->name);
    return override != NULL ? io_call_override(st, override, fd)
                            : io_new_wait(st, op, fd);
}

static PyObject *
wait_readable_impl(FunctionObject *func, PyObject *Py_UNUSED(self),
                   PyObject *const *args, Py_ssize_t nargs,
                   PyObject *kwnames)
{
    return io_wait_function(func->st, &wait_readable_op, args, nargs,
                            kwnames);
}

static PyObject *
wait_writable_impl(FunctionObject *func, PyObject *Py_UNUSED(self),
                   PyObject *const *args, Py_ssize_t nargs,
                   PyObject *kwnames)
{
    return io_wait_function(func->st, &wait_writable_op, args, nargs,
                            kwnames);
}

/* The real thing, for the manager's own method too. */
static PyObject *
io_notify_closing(tc_state *st, PyObject *obj)
{
    RunnerObject *runner = tc_context_need_runner(st);
    if (runner == NULL) {
        return NULL;
    }
    int fd;
    if (tc_io_fileno(st, obj, &fd) < 0) {
        if (!PyErr_ExceptionMatches(PyExc_ValueError)) {
            return tc_error_attribute_to_no_context();
        }
        PyErr_Clear();  /* a closed file: nobody can wait for that */
        Py_RETURN_NONE;
    }
    if (tc_io_notify_closing(runner->io, fd) < 0) {
        return tc_error_attribute_to_no_context();
    }
    Py_RETURN_NONE;
}

static PyObject *
notify_closing_impl(FunctionObject *func, PyObject *Py_UNUSED(self),
                    PyObject *const *args, Py_ssize_t nargs,
                    PyObject *kwnames)
{
    PyObject *fd;
    if (io_parse_fd("notify_closing", CLOSING_NAME, args, nargs, kwnames, &fd)
        < 0) {
        return NULL;
    }
    PyObject *override = io_override_of(func->st, "notify_closing");
    return override != NULL ? io_call_override(func->st, override, fd)
                            : io_notify_closing(func->st, fd);
}

static const tc_function_def io_functions[] = {
    {"wait_readable", "trio_c.lowlevel", wait_readable_impl},
    {"wait_writable", "trio_c.lowlevel", wait_writable_impl},
    {"notify_closing", "trio_c.lowlevel", notify_closing_impl},
    {NULL, NULL, NULL},
};

/* --- behind the manager's methods ----------------------------------- */

static tc_state *
io_module_state(PyObject *module)
{
    return (tc_state *)PyModule_GetState(module);
}

tc_io *
tc_io_from_argument(tc_state *st, PyObject *arg)
{
    if (!Py_IS_TYPE(arg, st->RunnerType)) {
        PyErr_SetString(PyExc_TypeError, "expected a Runner");
        return NULL;
    }
    tc_io *io = ((RunnerObject *)arg)->io;
    if (io == NULL || tc_io_usable(io) < 0) {
        if (!PyErr_Occurred()) {
            PyErr_SetString(PyExc_RuntimeError, "this run's I/O is closed");
        }
        return NULL;
    }
    return io;
}

/* io_get_events(runner, timeout) -> [(fd, ready), ...] */
static PyObject *
io_get_events(PyObject *module, PyObject *args)
{
    PyObject *runner;
    double timeout;
    if (!PyArg_ParseTuple(args, "Od:get_events", &runner, &timeout)) {
        return NULL;
    }
    tc_io *io = tc_io_from_argument(io_module_state(module), runner);
    if (io == NULL || tc_io_wait_here(io, timeout) < 0) {
        return NULL;
    }
    PyObject *list = PyList_New(io->n_events);
    for (int i = 0; list != NULL && i < io->n_events; i++) {
        uint64_t token = io->events[i].token;
        int fd = token == TC_POLL_WAKE ? -1 : (int)(uint32_t)token;
        PyObject *pair = Py_BuildValue("iI", fd, io->events[i].ready);
        if (pair == NULL) {
            Py_CLEAR(list);
            break;
        }
        PyList_SET_ITEM(list, i, pair);
    }
    return list;
}

/* io_process_events(runner) */
static PyObject *
io_process_events(PyObject *module, PyObject *arg)
{
    tc_io *io = tc_io_from_argument(io_module_state(module), arg);
    if (io == NULL || tc_io_process(io) < 0) {
        return NULL;
    }
    Py_RETURN_NONE;
}

/* io_wake(runner) */
static PyObject *
io_force_wakeup(PyObject *module, PyObject *arg)
{
    tc_io *io = tc_io_from_argument(io_module_state(module), arg);
    if (io == NULL) {
        return NULL;
    }
    tc_io_wake(io);
    Py_RETURN_NONE;
}

/* io_statistics(runner) */
static PyObject *
io_get_statistics(PyObject *module, PyObject *arg)
{
    tc_io *io = tc_io_from_argument(io_module_state(module), arg);
    return io == NULL ? NULL : tc_io_statistics(io);
}

static PyObject *
io_manager_wait_readable(PyObject *module, PyObject *fd)
{
    return io_new_wait(io_module_state(module), &wait_readable_op, fd);
}

static PyObject *
io_manager_wait_writable(PyObject *module, PyObject *fd)
{
    return io_new_wait(io_module_state(module), &wait_writable_op, fd);
}

static PyObject *
io_manager_notify_closing(PyObject *module, PyObject *fd)
{
    return io_notify_closing(io_module_state(module), fd);
}

/* io_override(name[, replacement]); without: the method is as it was */
static PyObject *
io_override(PyObject *module, PyObject *args)
{
    tc_state *st = io_module_state(module);
    PyObject *name, *replacement = NULL;
    if (!PyArg_ParseTuple(args, "U|O:io_override", &name, &replacement)) {
        return NULL;
    }
    PyObject *overrides = st->io_overrides == NULL
                              ? PyDict_New()
                              : PyDict_Copy(st->io_overrides);
    if (overrides == NULL) {
        return NULL;
    }
    int r = 0;
    if (replacement != NULL) {
        r = PyDict_SetItem(overrides, name, replacement);
    }
    else if (PyDict_Contains(overrides, name) > 0) {
        r = PyDict_DelItem(overrides, name);
    }
    if (r < 0) {
        Py_DECREF(overrides);
        return NULL;
    }
    if (PyDict_GET_SIZE(overrides) == 0) {
        Py_CLEAR(overrides);
    }
    Py_XSETREF(st->io_overrides, overrides);
    Py_RETURN_NONE;
}

static PyMethodDef io_methods[] = {
    {"io_get_events", io_get_events, METH_VARARGS, NULL},
    {"io_process_events", io_process_events, METH_O, NULL},
    {"io_force_wakeup", io_force_wakeup, METH_O, NULL},
    {"io_statistics", io_get_statistics, METH_O, NULL},
    {"io_wait_readable", io_manager_wait_readable, METH_O, NULL},
    {"io_wait_writable", io_manager_wait_writable, METH_O, NULL},
    {"io_notify_closing", io_manager_notify_closing, METH_O, NULL},
    {"io_override", io_override, METH_VARARGS, NULL},
    {NULL, NULL, 0, NULL},
};

/* --- statistics ----------------------------------------------------- */

PyObject *
tc_io_statistics(tc_io *io)
{
    PyObject *values[TC_STATISTICS_MAX] = {NULL};
    tc_io_extra.count(io, values);
    return tc_statistics_new(io->st->IOStatisticsType, values);
}

/* Two snapshots are never the same, unlike other statistics. */
static int
io_statistics_by_identity(PyTypeObject *type)
{
    static const char *const names[] = {"__eq__", "__ne__", "__hash__"};
    for (size_t i = 0; i < sizeof(names) / sizeof(*names); i++) {
        PyObject *inherited = PyObject_GetAttrString(
            (PyObject *)&PyBaseObject_Type, names[i]);
        if (inherited == NULL
            || PyObject_SetAttrString((PyObject *)type, names[i], inherited)
                   < 0) {
            Py_XDECREF(inherited);
            return -1;
        }
        Py_DECREF(inherited);
    }
    return 0;
}

int
tc_io_register(tc_state *st)
{
    if (tc_statistics_add_type(st, &st->IOStatisticsType,
                               tc_io_extra.statistics, tc_io_extra.module,
                               "How many tasks wait for what, and the name\n"
                               "of the poller.",
                               tc_io_extra.fields)
            < 0
        || io_statistics_by_identity(st->IOStatisticsType) < 0) {
        return -1;
    }
    if (PyModule_AddFunctions(st->module, io_methods) < 0
        || (TC_IO_HAVE_EXTRA
            && (PyModule_AddFunctions(st->module, tc_io_extra.functions) < 0
                || (tc_io_extra.add != NULL && tc_io_extra.add(st) < 0)))
        || PyModule_AddStringConstant(st->module, "BACKEND",
                                      tc_poll_default_ops()->name)
               < 0) {
        return -1;
    }
    return tc_function_add_to_module(st, io_functions);
}
