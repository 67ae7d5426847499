/* instruments.c - hooks on what the run loop does.
 *
 * Invariants
 * - hooks[h] is NULL or a non-empty dict of instruments, in order of
 *   registration: so "is anybody listening" is one comparison.
 * - Every instrument in a hooks[] dict is in `all` too.
 * - Hooks, __hash__, __eq__ and __getattr__ of instruments are foreign code:
 *   they may add and remove instruments. Calls go over a snapshot, and nothing
 *   borrowed from a dict is kept across them.
 */
#include "instruments.h"
#include "../glue/args.h"
#include "../glue/errors.h"
#include "../glue/function.h"
#include "context.h"
#include "ki.h"
#include "runner.h"

static const char *const instruments_names[TC_N_HOOKS] = {
    [TC_HOOK_BEFORE_RUN] = "before_run",
    [TC_HOOK_AFTER_RUN] = "after_run",
    [TC_HOOK_TASK_SPAWNED] = "task_spawned",
    [TC_HOOK_TASK_SCHEDULED] = "task_scheduled",
    [TC_HOOK_BEFORE_TASK_STEP] = "before_task_step",
    [TC_HOOK_AFTER_TASK_STEP] = "after_task_step",
    [TC_HOOK_TASK_EXITED] = "task_exited",
    [TC_HOOK_BEFORE_IO_WAIT] = "before_io_wait",
    [TC_HOOK_AFTER_IO_WAIT] = "after_io_wait",
};

/* The hook of that name, or TC_N_HOOKS. */
static int
instruments_hook_index(PyObject *name)
{
    int hook = 0;
    while (hook < TC_N_HOOKS
           && (!PyUnicode_Check(name)
               || PyUnicode_CompareWithASCIIString(
                      name, instruments_names[hook]) != 0)) {
        hook++;
    }
    return hook;
}

/* --- registration ------------------------------------------------------ */

/* Forget the instrument. KeyError if it is not registered. */
static int
instruments_remove(InstrumentsObject *self, PyObject *instrument)
{
    if (PyDict_DelItem(self->all, instrument) < 0) {
        return -1;
    }
    for (int hook = 0; hook < TC_N_HOOKS; hook++) {
        PyObject *listeners = Py_XNewRef(self->hooks[hook]);
        if (listeners == NULL) {
            continue;
        }
        int r = PyDict_Contains(listeners, instrument);
        if (r > 0) {
            r = PyDict_DelItem(listeners, instrument);
        }
        if (PyDict_GET_SIZE(listeners) == 0
            && self->hooks[hook] == listeners) {
            self->hooks[hook] = NULL;
            Py_DECREF(listeners);
        }
        Py_DECREF(listeners);
        if (r < 0) {
            return -1;
        }
    }
    return 0;
}

static int
instruments_listen(InstrumentsObject *self, int hook, PyObject *instrument)
{
    if (self->hooks[hook] == NULL) {
        self->hooks[hook] = PyDict_New();
        if (self->hooks[hook] == NULL) {
            return -1;
        }
    }
    PyObject *listeners = Py_NewRef(self->hooks[hook]);
    int r = PyDict_SetItem(listeners, instrument, Py_None);
    if (PyDict_GET_SIZE(listeners) == 0 && self->hooks[hook] == listeners) {
        Py_CLEAR(self->hooks[hook]);
    }
    Py_DECREF(listeners);
    return r;
}

/* Is impl just what the base class has? 1, 0, or -1 with exception. */
static int
instruments_is_inherited(PyObject *impl, PyObject *prototype)
{
    return PyMethod_Check(impl) && PyMethod_GET_FUNCTION(impl) == prototype;
}

/* If `name` is a hook that the instrument implements, register it. */
static int
instruments_add_name(InstrumentsObject *self, PyObject *base,
                     PyObject *instrument, PyObject *name)
{
    if (!PyUnicode_Check(name)
        || (PyUnicode_GET_LENGTH(name) > 0
            && PyUnicode_READ_CHAR(name, 0) == '_')) {
        return 0;
    }
    PyObject *prototype = PyObject_GetAttr(base, name);
    if (prototype == NULL) {
        if (!PyErr_ExceptionMatches(PyExc_AttributeError)) {
            return -1;
        }
        PyErr_Clear();
        return 0;
    }
    int r = -1;
    PyObject *impl = PyObject_GetAttr(instrument, name);
    if (impl != NULL) {
        int hook = instruments_hook_index(name);
        r = 0;
        if (hook < TC_N_HOOKS && !instruments_is_inherited(impl, prototype)) {
            r = instruments_listen(self, hook, instrument);
        }
        Py_DECREF(impl);
    }
    Py_DECREF(prototype);
    return r;
}

static int
instruments_add_names(InstrumentsObject *self, PyObject *instrument)
{
    int r = -1;
    PyObject *base = NULL;
    PyObject *names = NULL;
    PyObject *module = PyImport_ImportModule("trio_c._abc");
    if (module == NULL) {
        return -1;
    }
    base = PyObject_GetAttrString(module, "Instrument");
    Py_DECREF(module);
    if (base == NULL) {
        goto done;
    }
    names = PyObject_Dir(instrument);
    if (names == NULL) {
        goto done;
    }
    r = 0;
    for (Py_ssize_t i = 0; r == 0 && i < PyList_GET_SIZE(names); i++) {
        r = instruments_add_name(self, base, instrument,
                                 PyList_GET_ITEM(names, i));
    }
done:
    Py_XDECREF(names);
    Py_XDECREF(base);
    return r;
}

/* Adding twice changes nothing. */
static int
instruments_add(InstrumentsObject *self, PyObject *instrument)
{
    int r = PyDict_Contains(self->all, instrument);
    if (r != 0) {
        return r < 0 ? -1 : 0;
    }
    if (PyDict_SetItem(self->all, instrument, Py_None) < 0) {
        return -1;
    }
    if (instruments_add_names(self, instrument) < 0) {
        PyObject *exc = PyErr_GetRaisedException();
        if (instruments_remove(self, instrument) < 0) {
            PyObject *second = PyErr_GetRaisedException();
            PyException_SetContext(second, exc);
            exc = second;
        }
        PyErr_SetRaisedException(exc);
        return -1;
    }
    return 0;
}

InstrumentsObject *
tc_instruments_new(tc_state *st, PyObject *incoming)
{
    InstrumentsObject *self
        = PyObject_GC_New(InstrumentsObject, st->InstrumentsType);
    if (self == NULL) {
        return NULL;
    }
    self->st = st;
    for (int hook = 0; hook < TC_N_HOOKS; hook++) {
        self->hooks[hook] = NULL;
    }
    self->all = PyDict_New();
    TC_LIVE_ADD(st, InstrumentsType);
    TC_HOME_NOBODYS(self);
    PyObject_GC_Track(self);
    if (self->all != NULL && incoming == NULL) {
        return self;
    }
    PyObject *iterator
        = self->all == NULL ? NULL : PyObject_GetIter(incoming);
    if (iterator == NULL) {
        Py_DECREF(self);
        return NULL;
    }
    PyObject *instrument;
    int r = 0;
    while (r == 0 && (instrument = PyIter_Next(iterator)) != NULL) {
        r = instruments_add(self, instrument);
        Py_DECREF(instrument);
    }
    Py_DECREF(iterator);
    if (PyErr_Occurred()) {
        Py_CLEAR(self);
    }
    return self;
}

/* --- calling ----------------------------------------------------------- */

/* The hook has raised: out with the instrument, and tell the log. */
static int
instruments_disable(InstrumentsObject *self, const char *hook_name,
                    PyObject *instrument)
{
    PyObject *exc = PyErr_GetRaisedException();
    /* What fails from here on has happened while handling that. */
    PyObject *handled = PyErr_GetHandledException();
    PyErr_SetHandledException(exc);
    int r = instruments_remove(self, instrument);
    if (r == 0) {
        PyObject *module
            = PyImport_ImportModule("trio_c._core._instrumentation");
        PyObject *done = NULL;
        if (module != NULL) {
            done = PyObject_CallMethod(module, "log_failure", "sOO",
                                       hook_name, instrument, exc);
            Py_DECREF(module);
        }
        r = done == NULL ? -1 : 0;
        Py_XDECREF(done);
    }
    PyErr_SetHandledException(handled);
    Py_XDECREF(handled);
    Py_DECREF(exc);
    return r;
}

static int
instruments_call_one(InstrumentsObject *self, tc_hook hook,
                     PyObject *instrument, PyObject *arg)
{
    const char *name = instruments_names[hook];
    PyObject *result = NULL;
    PyObject *method = PyObject_GetAttrString(instrument, name);
    if (method != NULL) {
        result = arg == NULL ? PyObject_CallNoArgs(method)
                             : PyObject_CallOneArg(method, arg);
        Py_DECREF(method);
    }
    if (result == NULL) {
        return instruments_disable(self, name, instrument);
    }
    Py_DECREF(result);
    return 0;
}

int
tc_instruments_call(InstrumentsObject *self, tc_hook hook, PyObject *arg)
{
    tc_ki_mark mark;
    if (self->hooks[hook] == NULL) {
        return 0;
    }
    PyObject *snapshot = PyDict_Keys(self->hooks[hook]);
    if (snapshot == NULL) {
        return -1;
    }
    Py_INCREF(self);
    Py_XINCREF(arg);
    int r = tc_ki_enter(&mark, 1);
    if (r == 0) {
        for (Py_ssize_t i = 0; r == 0 && i < PyList_GET_SIZE(snapshot);
             i++) {
            r = instruments_call_one(self, hook,
                                     PyList_GET_ITEM(snapshot, i), arg);
        }
        tc_ki_leave(&mark);
    }
    Py_XDECREF(arg);
    Py_DECREF(snapshot);
    Py_DECREF(self);
    return r;
}

/* --- Python face ------------------------------------------------------- */

/* Parse the one argument and call `change` on it, Ctrl-C held off. */
static PyObject *
instruments_change(const char *fname, InstrumentsObject *self,
                   PyObject *const *args, Py_ssize_t nargs,
                   PyObject *kwnames,
                   int (*change)(InstrumentsObject *, PyObject *))
{
    const tc_params params = {
        .fname = fname,
        .names = {"instrument"},
        .n_positional = 1,
        .n_required = 1,
    };
    PyObject *instrument;
    tc_ki_mark mark;
    if (tc_args_parse(&params, args, nargs, kwnames, &instrument) < 0
        || tc_ki_enter(&mark, 1) < 0) {
        return NULL;
    }
    Py_INCREF(self);
    int r = change(self, instrument);
    Py_DECREF(self);
    tc_ki_leave(&mark);
    if (r < 0) {
        return NULL;
    }
    Py_RETURN_NONE;
}

static PyObject *
instruments_public_change(FunctionObject *func, PyObject *const *args,
                          Py_ssize_t nargs, PyObject *kwnames,
                          int (*change)(InstrumentsObject *, PyObject *))
{
    RunnerObject *runner = tc_context_need_runner(func->st);
    if (runner == NULL) {
        return NULL;
    }
    PyObject *result
        = instruments_change(func->def->qualname, runner->instruments, args,
                             nargs, kwnames, change);
    /* A function that looks for the run like this one takes any
       AttributeError for the lack of one. */
    return result == NULL ? tc_error_attribute_to_no_context() : result;
}

static PyObject *
instruments_public_add(FunctionObject *func, PyObject *Py_UNUSED(self),
                       PyObject *const *args, Py_ssize_t nargs,
                       PyObject *kwnames)
{
    return instruments_public_change(func, args, nargs, kwnames,
                                     instruments_add);
}

static PyObject *
instruments_public_remove(FunctionObject *func, PyObject *Py_UNUSED(self),
                          PyObject *const *args, Py_ssize_t nargs,
                          PyObject *kwnames)
{
    return instruments_public_change(func, args, nargs, kwnames,
                                     instruments_remove);
}

static PyObject *
instruments_method_add(FunctionObject *Py_UNUSED(func), PyObject *op,
                       PyObject *const *args, Py_ssize_t nargs,
                       PyObject *kwnames)
{
    return instruments_change("Instruments.add_instrument",
                              (InstrumentsObject *)op, args, nargs, kwnames,
                              instruments_add);
}

static PyObject *
instruments_method_remove(FunctionObject *Py_UNUSED(func), PyObject *op,
                          PyObject *const *args, Py_ssize_t nargs,
                          PyObject *kwnames)
{
    return instruments_change("Instruments.remove_instrument",
                              (InstrumentsObject *)op, args, nargs, kwnames,
                              instruments_remove);
}

/* "after_run" in runner.instruments: does anybody listen? */
static int
instruments_contains(PyObject *op, PyObject *name)
{
    int hook = instruments_hook_index(name);
    return hook < TC_N_HOOKS && ((InstrumentsObject *)op)->hooks[hook] != NULL;
}

static int
instruments_traverse(PyObject *op, visitproc visit, void *arg)
{
    InstrumentsObject *self = (InstrumentsObject *)op;
    Py_VISIT(Py_TYPE(op));
    Py_VISIT(self->all);
    for (int hook = 0; hook < TC_N_HOOKS; hook++) {
        Py_VISIT(self->hooks[hook]);
    }
    return 0;
}

/* `all` is emptied, not dropped: a hook called by the collector may ask. */
static int
instruments_clear(PyObject *op)
{
    InstrumentsObject *self = (InstrumentsObject *)op;
    for (int hook = 0; hook < TC_N_HOOKS; hook++) {
        Py_CLEAR(self->hooks[hook]);
    }
    if (self->all != NULL) {
        PyDict_Clear(self->all);
    }
    return 0;
}

static void
instruments_dealloc(PyObject *op)
{
    PyTypeObject *type = Py_TYPE(op);
    PyObject_GC_UnTrack(op);
    TC_LIVE_SUB(((InstrumentsObject *)op)->st, InstrumentsType);
    instruments_clear(op);
    Py_CLEAR(((InstrumentsObject *)op)->all);
    PyObject_GC_Del(op);
    Py_DECREF(type);
}

static PyType_Slot instruments_slots[] = {
    {Py_tp_dealloc, instruments_dealloc},
    {Py_tp_traverse, instruments_traverse},
    {Py_tp_clear, instruments_clear},
    {Py_sq_contains, instruments_contains},
    {0, NULL},
};

static PyType_Spec tc_instruments_spec = {
    .name = "trio_c._core._instrumentation.Instruments",
    .basicsize = sizeof(InstrumentsObject),
    .flags = Py_TPFLAGS_DEFAULT | Py_TPFLAGS_HAVE_GC
             | Py_TPFLAGS_DISALLOW_INSTANTIATION,
    .slots = instruments_slots,
};

static const tc_function_def instruments_functions[] = {
    {"add_instrument", "trio_c.lowlevel", instruments_public_add},
    {"remove_instrument", "trio_c.lowlevel", instruments_public_remove},
    {NULL, NULL, NULL},
};

static const tc_function_def instruments_type_functions[] = {
    {"Instruments.add_instrument", "trio_c._core._instrumentation",
     instruments_method_add},
    {"Instruments.remove_instrument", "trio_c._core._instrumentation",
     instruments_method_remove},
    {NULL, NULL, NULL},
};

int
tc_instruments_register(tc_state *st)
{
    if (tc_state_add_type(st, &st->InstrumentsType, &tc_instruments_spec,
                          NULL, "Instruments") < 0
        || tc_function_add_to_type(st, st->InstrumentsType,
                                   instruments_type_functions) < 0) {
        return -1;
    }
    return tc_function_add_to_module(st, instruments_functions);
}
