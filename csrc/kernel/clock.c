/* clock.c - the default clock, and asking whatever clock a run has.
 *
 * The run loop reads a plain SystemClock without calling it; its Python face
 * is for users who call current_clock().
 */
#include "clock.h"

#include "../base/clock.h"
#include "../glue/args.h"
#include "runner.h"

typedef struct {
    PyObject_HEAD
    double offset;           /* so that nobody mistakes it for another clock */
} SystemClockObject;

PyObject *
tc_clock_new(tc_state *st)
{
    SystemClockObject *self
        = PyObject_New(SystemClockObject, st->SystemClockType);
    if (self == NULL) {
        return NULL;
    }
    tc_random random;
    tc_random_seed(&random, (uint64_t)(uintptr_t)self
                                ^ (uint64_t)(tc_clock_monotonic() * 1e9));
    self->offset = 10000.0 + (double)(tc_random_next(&random) % 190000000)
                                 / 1000.0;
    return (PyObject *)self;
}

double
tc_clock_offset(PyObject *clock)
{
    return ((SystemClockObject *)clock)->offset;
}

double
tc_runner_time(RunnerObject *runner)
{
    if (runner->native_clock) {
        return runner->clock_offset + tc_clock_monotonic();
    }
    PyObject *now = PyObject_CallMethodNoArgs(runner->clock,
                                              runner->st->str_current_time);
    if (now == NULL) {
        return -1.0;
    }
    double value = tc_args_double(now);
    Py_DECREF(now);
    return value;
}

double
tc_runner_sleep_time(RunnerObject *runner, double deadline)
{
    if (runner->native_clock) {
        return deadline - runner->clock_offset - tc_clock_monotonic();
    }
    PyObject *when = PyFloat_FromDouble(deadline);
    if (when == NULL) {
        return -1.0;
    }
    PyObject *timeout = PyObject_CallMethodOneArg(
        runner->clock, runner->st->str_deadline_to_sleep_time, when);
    Py_DECREF(when);
    if (timeout == NULL) {
        return -1.0;
    }
    double value = tc_args_double(timeout);
    Py_DECREF(timeout);
    return value;
}

static PyObject *
system_clock_tp_new(PyTypeObject *type, PyObject *args, PyObject *kwargs)
{
    static const tc_params params = {
        .fname = "SystemClock",
        .names = {"offset"},
        .n_positional = 1,
    };
    tc_state *st = tc_state_from_type(type);
    PyObject *a[1];
    if (st == NULL || tc_args_parse_tuple(&params, args, kwargs, a) < 0) {
        return NULL;
    }
    PyObject *self = tc_clock_new(st);
    if (self != NULL && a[0] != NULL) {
        double offset = tc_args_double(a[0]);
        if (offset == -1.0 && PyErr_Occurred()) {
            Py_DECREF(self);
            return NULL;
        }
        ((SystemClockObject *)self)->offset = offset;
    }
    return self;
}

static PyObject *
system_clock_start(PyObject *Py_UNUSED(self), PyObject *Py_UNUSED(ignored))
{
    Py_RETURN_NONE;
}

static PyObject *
system_clock_current_time(PyObject *self, PyObject *Py_UNUSED(ignored))
{
    return PyFloat_FromDouble(tc_clock_offset(self) + tc_clock_monotonic());
}

static PyObject *
system_clock_sleep_time(PyObject *self, PyObject *deadline)
{
    double when = tc_args_double(deadline);
    if (when == -1.0 && PyErr_Occurred()) {
        return NULL;
    }
    return PyFloat_FromDouble(when - tc_clock_offset(self)
                              - tc_clock_monotonic());
}

static void
system_clock_dealloc(PyObject *self)
{
    PyTypeObject *type = Py_TYPE(self);
    type->tp_free(self);
    Py_DECREF(type);
}

static PyMethodDef system_clock_methods[] = {
    {"start_clock", system_clock_start, METH_NOARGS, NULL},
    {"current_time", system_clock_current_time, METH_NOARGS, NULL},
    {"deadline_to_sleep_time", system_clock_sleep_time, METH_O, NULL},
    {NULL, NULL, 0, NULL},
};

static PyMemberDef system_clock_members[] = {
    {"offset", T_DOUBLE, offsetof(SystemClockObject, offset), READONLY,
     NULL},
    {NULL, 0, 0, 0, NULL},
};

static PyType_Slot system_clock_slots[] = {
    {Py_tp_new, system_clock_tp_new},
    {Py_tp_dealloc, system_clock_dealloc},
    {Py_tp_methods, system_clock_methods},
    {Py_tp_members, system_clock_members},
    {0, NULL},
};

static PyType_Spec tc_system_clock_spec = {
    .name = "trio_c._core._run.SystemClock",
    .basicsize = sizeof(SystemClockObject),
    .flags = Py_TPFLAGS_DEFAULT | Py_TPFLAGS_IMMUTABLETYPE,
    .slots = system_clock_slots,
};

int
tc_clock_register(tc_state *st)
{
    return tc_state_add_type(st, &st->SystemClockType, &tc_system_clock_spec,
                             NULL, "SystemClock");
}
