/* runvar.c - RunVar and RunVarToken.
 *
 * The values live in the run (runner->locals, keyed by the variable). A
 * RunVar hashes and compares by identity, so looking one up runs no Python;
 * dropping a replaced value does.
 */
#include "runvar.h"
#include "../glue/args.h"
#include "../glue/errors.h"
#include "../glue/function.h"
#include "../glue/types.h"
#include "runner.h"

struct RunVarObject {
    PyObject_HEAD
    tc_state *st;            /* borrowed */
    PyObject *name;          /* owned: any object, usually str */
    PyObject *default_value; /* owned or NULL: none */
    PyObject *weakrefs;
};

typedef struct {
    PyObject_HEAD
    RunVarObject *var;       /* owned */
    PyObject *previous;      /* owned or NULL: there was none */
    PyObject *weakrefs;
    char redeemed;
} RunVarTokenObject;

/* --- native face --------------------------------------------------------- */

static PyObject *
runvar_create(PyTypeObject *type, tc_state *st, PyObject *name,
              PyObject *default_value)
{
    RunVarObject *self = (RunVarObject *)type->tp_alloc(type, 0);
    if (self != NULL) {
        self->st = st;
        self->name = Py_NewRef(name);
        self->default_value = Py_XNewRef(default_value);
        TC_LIVE_ADD(st, RunVarType);
    }
    return (PyObject *)self;
}

PyObject *
tc_runvar_new(tc_state *st, const char *name)
{
    PyObject *str = PyUnicode_FromString(name);
    if (str == NULL) {
        return NULL;
    }
    PyObject *var = runvar_create(st->RunVarType, st, str, NULL);
    Py_DECREF(str);
    return var;
}

PyObject *
tc_runvar_get(PyObject *var, RunnerObject *runner)
{
    return PyDict_GetItemWithError(runner->locals, var);
}

int
tc_runvar_set(PyObject *var, RunnerObject *runner, PyObject *value)
{
    return PyDict_SetItem(runner->locals, var, value);
}

/* --- RunVar -------------------------------------------------------------- */

/* Borrowed, or NULL with exception. */
static RunnerObject *
runvar_need_runner(RunVarObject *self)
{
    RunnerObject *runner = tc_context_runner(self->st);
    if (runner == NULL) {
        PyErr_SetString(PyExc_RuntimeError,
                        "Cannot be used outside of a run context");
        tc_error_from_none();
    }
    return runner;
}

/* New reference, or NULL with exception; LookupError if there is neither a
   value nor a default. */
static PyObject *
runvar_lookup(RunVarObject *self, PyObject *default_value)
{
    RunnerObject *runner = runvar_need_runner(self);
    if (runner == NULL) {
        return NULL;
    }
    PyObject *value = tc_runvar_get((PyObject *)self, runner);
    if (value == NULL) {
        if (PyErr_Occurred()) {
            return NULL;
        }
        value = default_value != NULL ? default_value : self->default_value;
    }
    if (value == NULL) {
        PyErr_SetObject(PyExc_LookupError, (PyObject *)self);
        tc_error_from_none();
        return NULL;
    }
    return Py_NewRef(value);
}

static PyObject *
runvar_get(FunctionObject *Py_UNUSED(func), PyObject *self,
           PyObject *const *args, Py_ssize_t nargs, PyObject *kwnames)
{
    static const tc_params params = {
        .fname = "RunVar.get",
        .names = {"default"},
        .n_positional = 1,
    };
    PyObject *default_value;
    if (tc_args_parse(&params, args, nargs, kwnames, &default_value) < 0) {
        return NULL;
    }
    return runvar_lookup((RunVarObject *)self, default_value);
}

static PyObject *
runvar_set(FunctionObject *func, PyObject *op, PyObject *const *args,
           Py_ssize_t nargs, PyObject *kwnames)
{
    static const tc_params params = {
        .fname = "RunVar.set",
        .names = {"value"},
        .n_positional = 1,
        .n_required = 1,
    };
    RunVarObject *self = (RunVarObject *)op;
    PyObject *value;
    if (tc_args_parse(&params, args, nargs, kwnames, &value) < 0) {
        return NULL;
    }
    PyObject *previous = runvar_lookup(self, NULL);
    if (previous == NULL) {
        if (!PyErr_ExceptionMatches(PyExc_LookupError)) {
            return NULL;
        }
        PyErr_Clear();
    }
    RunVarTokenObject *token = (RunVarTokenObject *)
        func->st->RunVarTokenType->tp_alloc(func->st->RunVarTokenType, 0);
    if (token == NULL) {
        Py_XDECREF(previous);
        return NULL;
    }
    token->var = (RunVarObject *)Py_NewRef(op);
    token->previous = previous;
    RunnerObject *runner = runvar_need_runner(self);
    if (runner == NULL || tc_runvar_set(op, runner, value) < 0) {
        Py_DECREF(token);
        return NULL;
    }
    return (PyObject *)token;
}

static PyObject *
runvar_reset(FunctionObject *func, PyObject *op, PyObject *const *args,
             Py_ssize_t nargs, PyObject *kwnames)
{
    static const tc_params params = {
        .fname = "RunVar.reset",
        .names = {"token"},
        .n_positional = 1,
        .n_required = 1,
    };
    PyObject *arg;
    if (tc_args_parse(&params, args, nargs, kwnames, &arg) < 0) {
        return NULL;
    }
    if (arg == Py_None) {
        PyErr_SetString(PyExc_TypeError, "token must not be none");
        return NULL;
    }
    if (!Py_IS_TYPE(arg, func->st->RunVarTokenType)) {
        PyErr_Format(PyExc_AttributeError,
                     "'%s' object has no attribute 'redeemed'",
                     Py_TYPE(arg)->tp_name);
        return NULL;
    }
    RunVarTokenObject *token = (RunVarTokenObject *)arg;
    if (token->redeemed) {
        PyErr_SetString(PyExc_ValueError, "token has already been used");
        return NULL;
    }
    if ((PyObject *)token->var != op) {
        PyErr_SetString(PyExc_ValueError, "token is not for us");
        return NULL;
    }
    RunnerObject *runner = runvar_need_runner((RunVarObject *)op);
    if (runner == NULL) {
        return NULL;
    }
    /* Used up before a dropped value can run code that uses it again. */
    token->redeemed = 1;
    int r = token->previous == NULL
                ? PyDict_DelItem(runner->locals, op)
                : tc_runvar_set(op, runner, token->previous);
    if (r < 0) {
        token->redeemed = 0;
        return NULL;
    }
    Py_RETURN_NONE;
}

static PyObject *
runvar_repr(PyObject *op)
{
    return PyUnicode_FromFormat("<RunVar name=%R>",
                                ((RunVarObject *)op)->name);
}

/* `value`, or the marker if that is NULL; new reference or NULL. */
static PyObject *
runvar_value_or_marker(PyObject *value)
{
    if (value != NULL) {
        return Py_NewRef(value);
    }
    PyObject *module = PyImport_ImportModule("trio_c._core._local");
    if (module == NULL) {
        return NULL;
    }
    PyObject *nothing = PyObject_GetAttrString(module, "_NoValue");
    Py_DECREF(module);
    return nothing;
}

static PyObject *
runvar_get_default(PyObject *op, void *Py_UNUSED(closure))
{
    return runvar_value_or_marker(((RunVarObject *)op)->default_value);
}

static PyObject *
runvar_tp_new(PyTypeObject *type, PyObject *args, PyObject *kwargs)
{
    static const tc_params params = {
        .fname = "RunVar",
        .names = {"name", "default"},
        .n_positional = 2,
        .n_required = 1,
    };
    PyObject *a[2];
    tc_state *st = tc_state_from_type(type);
    if (st == NULL || tc_args_parse_tuple(&params, args, kwargs, a) < 0) {
        return NULL;
    }
    return runvar_create(type, st, a[0], a[1]);
}

static int
runvar_traverse(PyObject *op, visitproc visit, void *arg)
{
    RunVarObject *self = (RunVarObject *)op;
    Py_VISIT(Py_TYPE(op));
    Py_VISIT(self->name);
    Py_VISIT(self->default_value);
    return 0;
}

static int
runvar_clear(PyObject *op)
{
    RunVarObject *self = (RunVarObject *)op;
    Py_CLEAR(self->name);
    Py_CLEAR(self->default_value);
    return 0;
}

static void
runvar_dealloc(PyObject *op)
{
    RunVarObject *self = (RunVarObject *)op;
    PyTypeObject *type = Py_TYPE(op);
    PyObject_GC_UnTrack(op);
    if (self->weakrefs != NULL) {
        PyObject_ClearWeakRefs(op);
    }
    TC_LIVE_SUB(self->st, RunVarType);
    runvar_clear(op);
    type->tp_free(op);
    Py_DECREF(type);
}

static PyMethodDef runvar_methods[] = {
    TC_FINAL_METHOD,
    TC_GENERIC_METHOD,
    TC_COPY_METHOD,
    {NULL, NULL, 0, NULL},
};

static PyGetSetDef runvar_getset[] = {
    {"_default", runvar_get_default, NULL, NULL, NULL},
    {NULL, NULL, NULL, NULL, NULL},
};

static PyMemberDef runvar_members[] = {
    {"_name", T_OBJECT, offsetof(RunVarObject, name), READONLY, NULL},
    {"__weaklistoffset__", T_PYSSIZET, offsetof(RunVarObject, weakrefs),
     READONLY, NULL},
    {NULL, 0, 0, 0, NULL},
};

static PyType_Slot runvar_slots[] = {
    {Py_tp_doc,
     "RunVar(name, default=NO_DEFAULT)\n--\n\n"
     "A variable whose value belongs to the current run.\n\n"
     "All tasks of the run share it; another run, at the same time or later,\n"
     "starts without a value.\n"},
    {Py_tp_new, runvar_tp_new},
    {Py_tp_dealloc, runvar_dealloc},
    {Py_tp_traverse, runvar_traverse},
    {Py_tp_clear, runvar_clear},
    {Py_tp_repr, runvar_repr},
    {Py_tp_getset, runvar_getset},
    {Py_tp_methods, runvar_methods},
    {Py_tp_members, runvar_members},
    {0, NULL},
};

static PyType_Spec tc_runvar_spec = {
    .name = "trio_c.lowlevel.RunVar",
    .basicsize = sizeof(RunVarObject),
    .flags = Py_TPFLAGS_DEFAULT | Py_TPFLAGS_HAVE_GC | Py_TPFLAGS_BASETYPE,
    .slots = runvar_slots,
};

static const tc_function_def runvar_functions[] = {
    {"RunVar.get", "trio_c.lowlevel", runvar_get},
    {"RunVar.set", "trio_c.lowlevel", runvar_set},
    {"RunVar.reset", "trio_c.lowlevel", runvar_reset},
    {NULL, NULL, NULL},
};

/* --- RunVarToken --------------------------------------------------------- */

static PyObject *
runvar_token_get_previous(PyObject *op, void *Py_UNUSED(closure))
{
    return runvar_value_or_marker(((RunVarTokenObject *)op)->previous);
}

static int
runvar_token_traverse(PyObject *op, visitproc visit, void *arg)
{
    RunVarTokenObject *self = (RunVarTokenObject *)op;
    Py_VISIT(Py_TYPE(op));
    Py_VISIT((PyObject *)self->var);
    Py_VISIT(self->previous);
    return 0;
}

static int
runvar_token_clear(PyObject *op)
{
    RunVarTokenObject *self = (RunVarTokenObject *)op;
    Py_CLEAR(self->var);
    Py_CLEAR(self->previous);
    return 0;
}

static void
runvar_token_dealloc(PyObject *op)
{
    RunVarTokenObject *self = (RunVarTokenObject *)op;
    PyTypeObject *type = Py_TYPE(op);
    PyObject_GC_UnTrack(op);
    if (self->weakrefs != NULL) {
        PyObject_ClearWeakRefs(op);
    }
    runvar_token_clear(op);
    type->tp_free(op);
    Py_DECREF(type);
}

static PyObject *
runvar_token_repr(PyObject *op)
{
    RunVarTokenObject *self = (RunVarTokenObject *)op;
    PyObject *previous = runvar_token_get_previous(op, NULL);
    if (previous == NULL) {
        return NULL;
    }
    PyObject *text = PyUnicode_FromFormat(
        "RunVarToken(_var=%R, previous_value=%R, redeemed=%s)",
        (PyObject *)self->var, previous, self->redeemed ? "True" : "False");
    Py_DECREF(previous);
    return text;
}

static PyMethodDef runvar_token_methods[] = {
    TC_FINAL_METHOD,
    TC_GENERIC_METHOD,
    {NULL, NULL, 0, NULL},
};

static PyGetSetDef runvar_token_getset[] = {
    {"previous_value", runvar_token_get_previous, NULL,
     PyDoc_STR("What the variable was before; `_NoValue` if it had none."),
     NULL},
    {NULL, NULL, NULL, NULL, NULL},
};

static PyMemberDef runvar_token_members[] = {
    {"_var", T_OBJECT, offsetof(RunVarTokenObject, var), READONLY, NULL},
    {"redeemed", T_BOOL, offsetof(RunVarTokenObject, redeemed), READONLY,
     NULL},
    {"__weaklistoffset__", T_PYSSIZET, offsetof(RunVarTokenObject, weakrefs),
     READONLY, NULL},
    {NULL, 0, 0, 0, NULL},
};

static PyType_Slot runvar_token_slots[] = {
    {Py_tp_doc, "What :meth:`RunVar.set` returns; good for one reset.\n"},
    {Py_tp_new, tc_type_no_constructor},
    {Py_tp_dealloc, runvar_token_dealloc},
    {Py_tp_traverse, runvar_token_traverse},
    {Py_tp_clear, runvar_token_clear},
    {Py_tp_repr, runvar_token_repr},
    {Py_tp_methods, runvar_token_methods},
    {Py_tp_getset, runvar_token_getset},
    {Py_tp_members, runvar_token_members},
    {0, NULL},
};

static PyType_Spec tc_runvar_token_spec = {
    .name = "trio_c.lowlevel.RunVarToken",
    .basicsize = sizeof(RunVarTokenObject),
    .flags = Py_TPFLAGS_DEFAULT | Py_TPFLAGS_HAVE_GC | Py_TPFLAGS_BASETYPE,
    .slots = runvar_token_slots,
};

int
tc_runvar_register(tc_state *st)
{
    if (tc_state_add_type(st, &st->RunVarType, &tc_runvar_spec, NULL,
                          "RunVar") < 0
        || tc_function_add_to_type(st, st->RunVarType, runvar_functions) < 0
        || tc_type_mark_final(st, st->RunVarType) < 0
        || tc_state_add_type(st, &st->RunVarTokenType, &tc_runvar_token_spec,
                             NULL, "RunVarToken") < 0) {
        return -1;
    }
    return tc_type_mark_final(st, st->RunVarTokenType);
}
