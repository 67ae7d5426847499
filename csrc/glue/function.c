/* function.c - the native callable behind every public function and method.
 *
 * Invariants: def and owner never change after creation. A method's owner is
 * checked on every call, so impl always gets a self of the right type.
 * Everything an inspector may ask for comes from the twin (function.h), or
 * from `overrides` once somebody has assigned it.
 */
#include "function.h"
#include "awaitable.h"
#include "method.h"

static const char *
function_short_name(const tc_function_def *def)
{
    const char *dot = strrchr(def->qualname, '.');
    return dot == NULL ? def->qualname : dot + 1;
}

static FunctionObject *
function_new(tc_state *st, const tc_function_def *def, PyTypeObject *owner,
             vectorcallfunc vectorcall)
{
    FunctionObject *f = PyObject_GC_New(FunctionObject, st->FunctionType);
    if (f == NULL) {
        return NULL;
    }
    f->vectorcall = vectorcall;
    f->st = st;
    f->def = def;
    f->owner = (PyTypeObject *)Py_XNewRef((PyObject *)owner);
    f->overrides = NULL;
    f->dict = NULL;
    f->weakrefs = NULL;
    f->is_homed = TC_FREE_THREADED && owner != NULL && !def->is_anywhere
                  && tc_state_is_homed(st, owner);
    f->is_special = strncmp(function_short_name(def), "__", 2) == 0;
    PyObject_GC_Track(f);
    return f;
}

/* vectorcall of module functions. */
static PyObject *
function_call(PyObject *callable, PyObject *const *args, size_t nargsf,
              PyObject *kwnames)
{
    FunctionObject *f = (FunctionObject *)callable;
    return f->def->impl(f, NULL, args, PyVectorcall_NARGS(nargsf), kwnames);
}

#if TC_FREE_THREADED
/* The call of a method whose object has a home. */
TC_COLD static PyObject *
function_call_at_home(FunctionObject *f, PyObject *self,
                      PyObject *const *args, Py_ssize_t nargs,
                      PyObject *kwnames)
{
    int is_visit;
    if (tc_home_enter(self, &is_visit) < 0) {
        return NULL;
    }
    PyObject *result = f->def->impl(f, self, args, nargs, kwnames);
    tc_home_leave(self, is_visit);
    if (result != NULL && Py_IS_TYPE(result, f->st->AwaitableType)) {
        AwaitableObject *aw = (AwaitableObject *)result;
        aw->has_homed_owner = aw->owner == self;
    }
    return result;
}
#endif

/* vectorcall of methods: args[0] is self. */
static PyObject *
function_call_method(PyObject *callable, PyObject *const *args,
                     size_t nargsf, PyObject *kwnames)
{
    FunctionObject *f = (FunctionObject *)callable;
    Py_ssize_t nargs = PyVectorcall_NARGS(nargsf);
    if (nargs < 1) {
        PyErr_Format(PyExc_TypeError,
                     "%s() missing 1 required positional argument: 'self'",
                     function_short_name(f->def));
        return NULL;
    }
    PyObject *self = args[0];
    if (!PyObject_TypeCheck(self, f->owner)) {
        PyErr_Format(PyExc_TypeError,
                     "descriptor '%s' for '%s' objects doesn't apply to a "
                     "'%s' object",
                     function_short_name(f->def), f->owner->tp_name,
                     Py_TYPE(self)->tp_name);
        return NULL;
    }
#if TC_FREE_THREADED
    if (f->is_homed) {
        return function_call_at_home(f, self, args + 1, nargs - 1, kwnames);
    }
#endif
    return f->def->impl(f, self, args + 1, nargs - 1, kwnames);
}

int
tc_function_add_to_module(tc_state *st, const tc_function_def *defs)
{
    for (; defs->qualname != NULL; defs++) {
        FunctionObject *f = function_new(st, defs, NULL, function_call);
        if (f == NULL) {
            return -1;
        }
        int r = PyModule_AddObjectRef(st->module, defs->qualname,
                                      (PyObject *)f);
        Py_DECREF(f);
        if (r < 0) {
            return -1;
        }
    }
    return 0;
}

int
tc_function_add_to_type(tc_state *st, PyTypeObject *type,
                        const tc_function_def *defs)
{
    for (; defs->qualname != NULL; defs++) {
        FunctionObject *f = function_new(st, defs, type,
                                         function_call_method);
        if (f == NULL) {
            return -1;
        }
        int r = PyObject_SetAttrString((PyObject *)type,
                                       function_short_name(defs),
                                       (PyObject *)f);
        Py_DECREF(f);
        if (r < 0) {
            return -1;
        }
    }
    return 0;
}

static PyObject *
function_descr_get(PyObject *self, PyObject *obj, PyObject *type)
{
    FunctionObject *f = (FunctionObject *)self;
    if (obj == NULL) {
        return Py_NewRef(self);
    }
    if (TC_WITH_BINDS && f->is_special && f->owner != NULL
        && PyObject_TypeCheck(obj, f->owner)) {
        return tc_method_new(f, obj);
    }
    return PyMethod_New(self, obj);
}

PyObject *
tc_function_twin(tc_state *st, const char *qualname)
{
    PyObject *signatures = tc_state_peek(&st->signatures);
    if (signatures == NULL) {
        PyObject *mod = PyImport_ImportModule("trio_c._signatures");
        if (mod == NULL) {
            return NULL;
        }
        signatures = tc_state_publish(&st->signatures, mod);
    }
    PyObject *found = Py_NewRef(signatures);
    const char *part = qualname;
    while (found != NULL) {
        const char *dot = strchr(part, '.');
        PyObject *name = dot == NULL
                             ? PyUnicode_FromString(part)
                             : PyUnicode_FromStringAndSize(part, dot - part);
        PyObject *next = NULL;
        if (name != NULL) {
            next = PyObject_GetAttr(found, name);
            Py_DECREF(name);
        }
        Py_SETREF(found, next);
        if (dot == NULL) {
            break;
        }
        part = dot + 1;
    }
    return found;
}

/* Attributes: closure is the attribute's name. */
static PyObject *
function_get_attr(PyObject *self, void *closure)
{
    FunctionObject *f = (FunctionObject *)self;
    PyObject *overrides = tc_state_peek(&f->overrides);
    if (overrides != NULL) {
        PyObject *value;
        if (PyDict_GetItemStringRef(overrides, closure, &value) != 0) {
            return value;
        }
    }
    PyObject *twin = tc_function_twin(f->st, f->def->qualname);
    if (twin == NULL) {
        return NULL;
    }
    PyObject *value = PyObject_GetAttrString(twin, closure);
    Py_DECREF(twin);
    return value;
}

static int
function_set_attr(PyObject *self, PyObject *value, void *closure)
{
    FunctionObject *f = (FunctionObject *)self;
    PyObject *overrides = tc_state_peek(&f->overrides);
    if (overrides == NULL) {
        overrides = PyDict_New();
        if (overrides == NULL) {
            return -1;
        }
        overrides = tc_state_publish(&f->overrides, overrides);
    }
    return PyDict_SetItemString(overrides, closure,
                                value == NULL ? Py_None : value);
}

static PyObject *
function_get_name(PyObject *self, void *closure)
{
    FunctionObject *f = (FunctionObject *)self;
    const char *key = closure;
    PyObject *overrides = tc_state_peek(&f->overrides);
    if (overrides != NULL) {
        PyObject *value;
        if (PyDict_GetItemStringRef(overrides, key, &value) != 0) {
            return value;
        }
    }
    if (strcmp(key, "__name__") == 0) {
        return PyUnicode_FromString(function_short_name(f->def));
    }
    if (strcmp(key, "__qualname__") == 0) {
        return PyUnicode_FromString(f->def->qualname);
    }
    if (f->st->relabelled) {
        /* "trio_c.lowlevel" -> "trio.lowlevel" */
        return PyUnicode_FromFormat("trio%s", f->def->module + 6);
    }
    return PyUnicode_FromString(f->def->module);
}

/* A string, as of a Python function. */
static int
function_set_name(PyObject *self, PyObject *value, void *closure)
{
    if (value == NULL || !PyUnicode_Check(value)) {
        PyErr_Format(PyExc_TypeError, "%s must be set to a string object",
                     (const char *)closure);
        return -1;
    }
    return function_set_attr(self, value, closure);
}

/* Where the names in the annotations are looked up. The twin's own are not
   it: those are for type checkers, and classes there are twins. */
static PyObject *
function_get_globals(PyObject *Py_UNUSED(self), void *Py_UNUSED(closure))
{
    PyObject *module = PyImport_ImportModule("trio_c._signatures._names");
    if (module == NULL) {
        return NULL;
    }
    PyObject *globals = Py_XNewRef(PyModule_GetDict(module));
    Py_DECREF(module);
    return globals;
}

/* isinstance(f, types.FunctionType) believes this; so do the tools that only
   then look at __code__ and the like. */
static PyObject *
function_get_class(PyObject *Py_UNUSED(self), void *Py_UNUSED(closure))
{
    return Py_NewRef((PyObject *)&PyFunction_Type);
}

/* A Python function has these, too. */
static PyObject *
function_get_none(PyObject *Py_UNUSED(self), void *Py_UNUSED(closure))
{
    Py_RETURN_NONE;
}

static PyObject *
function_repr(PyObject *self)
{
    PyObject *qualname = function_get_name(self, "__qualname__");
    if (qualname == NULL) {
        return NULL;
    }
    PyObject *text = PyUnicode_FromFormat("<function %U at %p>", qualname,
                                          (void *)self);
    Py_DECREF(qualname);
    return text;
}

/* Pickled and copied by name, as Python functions are. */
static PyObject *
function_reduce(PyObject *self, PyObject *Py_UNUSED(ignored))
{
    FunctionObject *f = (FunctionObject *)self;
    if (f->owner == NULL) {
        return function_get_name(self, "__qualname__");
    }
    PyObject *builtins = PyImport_ImportModule("builtins");
    if (builtins == NULL) {
        return NULL;
    }
    PyObject *result = Py_BuildValue(
        "N(Os)", PyObject_GetAttrString(builtins, "getattr"), f->owner,
        function_short_name(f->def));
    Py_DECREF(builtins);
    return result;
}

static int
function_traverse(PyObject *self, visitproc visit, void *arg)
{
    FunctionObject *f = (FunctionObject *)self;
    Py_VISIT(Py_TYPE(self));
    Py_VISIT(f->owner);
    Py_VISIT(f->overrides);
    Py_VISIT(f->dict);
    return 0;
}

static int
function_clear(PyObject *self)
{
    FunctionObject *f = (FunctionObject *)self;
    /* owner stays: a call through a half-cleared cycle still checks it */
    Py_CLEAR(f->overrides);
    Py_CLEAR(f->dict);
    return 0;
}

static void
function_dealloc(PyObject *self)
{
    FunctionObject *f = (FunctionObject *)self;
    PyTypeObject *type = Py_TYPE(self);
    PyObject_GC_UnTrack(self);
    if (f->weakrefs != NULL) {
        PyObject_ClearWeakRefs(self);
    }
    function_clear(self);
    Py_CLEAR(f->owner);
    PyObject_GC_Del(self);
    Py_DECREF(type);
}

static PyGetSetDef function_getset[] = {
    {"__name__", function_get_name, function_set_name, NULL, "__name__"},
    {"__qualname__", function_get_name, function_set_name, NULL,
     "__qualname__"},
    {"__module__", function_get_name, function_set_attr, NULL, "__module__"},
    {"__doc__", function_get_attr, function_set_attr, NULL, "__doc__"},
    {"__code__", function_get_attr, function_set_attr, NULL, "__code__"},
    {"__defaults__", function_get_attr, function_set_attr, NULL,
     "__defaults__"},
    {"__kwdefaults__", function_get_attr, function_set_attr, NULL,
     "__kwdefaults__"},
    {"__annotations__", function_get_attr, function_set_attr, NULL,
     "__annotations__"},
#if TC_HAVE_ANNOTATE
    {"__annotate__", function_get_attr, function_set_attr, NULL,
     "__annotate__"},
#endif
    {"__class__", function_get_class, NULL, NULL, NULL},
    {"__closure__", function_get_none, NULL, NULL, NULL},
    {"__globals__", function_get_globals, NULL, NULL, NULL},
    {"__builtins__", function_get_attr, NULL, NULL, "__builtins__"},
#if TC_HAVE_TYPE_PARAMS
    {"__type_params__", function_get_attr, function_set_attr, NULL,
     "__type_params__"},
#endif
    {"__dict__", PyObject_GenericGetDict, PyObject_GenericSetDict, NULL,
     NULL},
    {NULL, NULL, NULL, NULL, NULL},
};

static PyMethodDef function_methods[] = {
    {"__reduce__", function_reduce, METH_NOARGS, NULL},
    {NULL, NULL, 0, NULL},
};

static PyMemberDef function_members[] = {
    {"__vectorcalloffset__", T_PYSSIZET,
     offsetof(FunctionObject, vectorcall), READONLY, NULL},
    {"__dictoffset__", T_PYSSIZET, offsetof(FunctionObject, dict), READONLY,
     NULL},
    {"__weaklistoffset__", T_PYSSIZET, offsetof(FunctionObject, weakrefs),
     READONLY, NULL},
    {NULL, 0, 0, 0, NULL},
};

static PyType_Slot function_slots[] = {
    {Py_tp_dealloc, function_dealloc},
    {Py_tp_traverse, function_traverse},
    {Py_tp_clear, function_clear},
    {Py_tp_call, PyVectorcall_Call},
    {Py_tp_descr_get, function_descr_get},
    {Py_tp_repr, function_repr},
    {Py_tp_getset, function_getset},
    {Py_tp_methods, function_methods},
    {Py_tp_members, function_members},
    {0, NULL},
};

/* IMMUTABLETYPE on the descriptor's own type is what lets the interpreter
   specialise method look-ups through it. */
static PyType_Spec tc_function_spec = {
    .name = "trio_c._native.function",
    .basicsize = sizeof(FunctionObject),
    .flags = Py_TPFLAGS_DEFAULT | Py_TPFLAGS_HAVE_GC
             | Py_TPFLAGS_HAVE_VECTORCALL | Py_TPFLAGS_METHOD_DESCRIPTOR
             | Py_TPFLAGS_IMMUTABLETYPE
             | Py_TPFLAGS_DISALLOW_INSTANTIATION,
    .slots = function_slots,
};

int
tc_function_register(tc_state *st)
{
    return tc_state_add_type(st, &st->FunctionType, &tc_function_spec, NULL,
                             "function");
}
