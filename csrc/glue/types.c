/* types.c - final classes, classes without constructor, statistics objects.
 *
 * A statistics object holds its values in the order of its class's
 * __match_args__, from values[0] on and without gaps; every class has room
 * for TC_STATISTICS_MAX of them, so that a member's offset is right in
 * whatever a subclass makes of itself. The values never change after
 * creation.
 */
#include "types.h"

#include <string.h>

/* TypeError "<module>.<qualified name of cls> <message>". Our own classes go
   by the names that users know them by, as in reprs. Returns NULL. */
static PyObject *
type_error(PyObject *cls, const char *message)
{
    PyObject *module = PyObject_GetAttrString(cls, "__module__");
    PyObject *qualname = NULL;
    if (module != NULL) {
        qualname = PyObject_GetAttrString(cls, "__qualname__");
    }
    if (qualname != NULL) {
        const char *name
            = PyUnicode_Check(module) ? PyUnicode_AsUTF8(module) : NULL;
        size_t ours = strlen("trio_c");
        if (name != NULL && strncmp(name, "trio_c", ours) == 0
            && (name[ours] == '\0' || name[ours] == '.')) {
            PyErr_Format(PyExc_TypeError, "trio%s.%S %s", name + ours,
                         qualname, message);
        }
        else if (!PyErr_Occurred()) {
            PyErr_Format(PyExc_TypeError, "%S.%S %s", module, qualname,
                         message);
        }
    }
    Py_XDECREF(qualname);
    Py_XDECREF(module);
    return NULL;
}

PyObject *
tc_type_refuse_subclass(PyObject *cls, PyObject *Py_UNUSED(args),
                        PyObject *Py_UNUSED(kwargs))
{
    return type_error(cls, "does not support subclassing");
}

int
tc_type_mark_final(tc_state *st, PyTypeObject *type)
{
    if (PyObject_SetAttrString((PyObject *)type, "__final__", Py_True) < 0) {
        return -1;
    }
    return PyObject_SetAttrString((PyObject *)type, "__signature__",
                                  st->class_signature);
}

PyObject *
tc_type_reduce(PyObject *self, PyObject *Py_UNUSED(ignored))
{
    PyObject *module = PyImport_ImportModule("trio_c._core._copying");
    if (module == NULL) {
        return NULL;
    }
    PyObject *result = PyObject_CallMethod(module, "reduce", "O", self);
    Py_DECREF(module);
    return result;
}

tc_hex
tc_hex_id(const void *op)
{
    tc_hex hex;
    PyOS_snprintf(hex.text, sizeof(hex.text), "0x%llx",
                  (unsigned long long)(uintptr_t)op);
    return hex;
}

PyObject *
tc_type_no_constructor(PyTypeObject *type, PyObject *Py_UNUSED(args),
                       PyObject *Py_UNUSED(kwargs))
{
    return type_error((PyObject *)type, "has no public constructor");
}

/* --- statistics ---------------------------------------------------------- */

typedef struct {
    PyObject_HEAD
    PyObject *weakrefs;
    PyObject *values[TC_STATISTICS_MAX];  /* owned; NULL behind the last */
} StatisticsObject;

static Py_ssize_t
statistics_length(StatisticsObject *self)
{
    Py_ssize_t n = 0;
    while (n < TC_STATISTICS_MAX && self->values[n] != NULL) {
        n++;
    }
    return n;
}

/* The field names: new reference to a tuple of str, or NULL. */
static PyObject *
statistics_names(PyObject *type)
{
    PyObject *names = PyObject_GetAttrString(type, "__match_args__");
    if (names == NULL) {
        return NULL;
    }
    int ok = PyTuple_Check(names)
             && PyTuple_GET_SIZE(names) <= TC_STATISTICS_MAX;
    for (Py_ssize_t i = 0; ok && i < PyTuple_GET_SIZE(names); i++) {
        ok = PyUnicode_Check(PyTuple_GET_ITEM(names, i));
    }
    if (!ok) {
        PyErr_SetString(PyExc_TypeError,
                        "__match_args__ of a statistics class must be the "
                        "tuple of its field names");
        Py_DECREF(names);
        return NULL;
    }
    return names;
}

static PyObject *
statistics_as_tuple(StatisticsObject *self)
{
    Py_ssize_t n = statistics_length(self);
    PyObject *tuple = PyTuple_New(n);
    for (Py_ssize_t i = 0; tuple != NULL && i < n; i++) {
        PyTuple_SET_ITEM(tuple, i, Py_NewRef(self->values[i]));
    }
    return tuple;
}

/* Fill what positional arguments left open. 0, or -1 with exception. */
static int
statistics_fill_keywords(StatisticsObject *self, PyObject *names,
                         Py_ssize_t n_given, PyObject *kwargs)
{
    Py_ssize_t used = 0;
    for (Py_ssize_t i = 0; i < PyTuple_GET_SIZE(names); i++) {
        PyObject *name = PyTuple_GET_ITEM(names, i);
        PyObject *value
            = kwargs == NULL ? NULL : PyDict_GetItemWithError(kwargs, name);
        if (value == NULL && PyErr_Occurred()) {
            return -1;
        }
        if (i < n_given) {
            if (value != NULL) {
                PyErr_Format(PyExc_TypeError,
                             "%s() got multiple values for argument '%U'",
                             Py_TYPE(self)->tp_name, name);
                return -1;
            }
            continue;
        }
        if (value == NULL) {
            PyErr_Format(PyExc_TypeError,
                         "%s() missing 1 required positional argument: '%U'",
                         Py_TYPE(self)->tp_name, name);
            return -1;
        }
        self->values[i] = Py_NewRef(value);
        used++;
    }
    if (kwargs != NULL && used < PyDict_GET_SIZE(kwargs)) {
        PyErr_Format(PyExc_TypeError,
                     "%s() got an unexpected keyword argument",
                     Py_TYPE(self)->tp_name);
        return -1;
    }
    return 0;
}

static PyObject *
statistics_tp_new(PyTypeObject *type, PyObject *args, PyObject *kwargs)
{
    StatisticsObject *self = NULL;
    PyObject *names = statistics_names((PyObject *)type);
    if (names == NULL) {
        return NULL;
    }
    Py_ssize_t n = PyTuple_GET_SIZE(names);
    Py_ssize_t n_given = PyTuple_GET_SIZE(args);
    if (n_given > n) {
        PyErr_Format(PyExc_TypeError,
                     "%s() takes %zd positional arguments but %zd were given",
                     type->tp_name, n, n_given);
        goto error;
    }
    self = (StatisticsObject *)type->tp_alloc(type, 0);
    if (self == NULL) {
        goto error;
    }
    for (Py_ssize_t i = 0; i < n_given; i++) {
        self->values[i] = Py_NewRef(PyTuple_GET_ITEM(args, i));
    }
    if (statistics_fill_keywords(self, names, n_given, kwargs) < 0) {
        goto error;
    }
    Py_DECREF(names);
    return (PyObject *)self;

error:
    Py_XDECREF(self);
    Py_DECREF(names);
    return NULL;
}

PyObject *
tc_statistics_new(PyTypeObject *type, PyObject **values)
{
    /* A class that we made has one member per field. Nothing here touches an
       exception that is raised already. */
    Py_ssize_t n = 0;
    int complete = 1;
    while (type->tp_members[n].name != NULL) {
        complete = complete && values[n] != NULL;
        n++;
    }
    StatisticsObject *self = NULL;
    if (complete) {
        self = (StatisticsObject *)type->tp_alloc(type, 0);
    }
    for (Py_ssize_t i = 0; i < n; i++) {
        if (self != NULL) {
            self->values[i] = values[i];
        }
        else {
            Py_XDECREF(values[i]);
        }
    }
    return (PyObject *)self;
}

static PyObject *
statistics_repr(PyObject *op)
{
    StatisticsObject *self = (StatisticsObject *)op;
    PyObject *names = statistics_names((PyObject *)Py_TYPE(op));
    PyObject *parts = NULL, *joined = NULL, *sep = NULL, *result = NULL;
    if (names == NULL) {
        return NULL;
    }
    parts = PyList_New(0);
    if (parts == NULL) {
        goto done;
    }
    Py_ssize_t n = Py_MIN(PyTuple_GET_SIZE(names), statistics_length(self));
    for (Py_ssize_t i = 0; i < n; i++) {
        PyObject *part = PyUnicode_FromFormat(
            "%U=%R", PyTuple_GET_ITEM(names, i), self->values[i]);
        int r = part == NULL ? -1 : PyList_Append(parts, part);
        Py_XDECREF(part);
        if (r < 0) {
            goto done;
        }
    }
    sep = PyUnicode_FromString(", ");
    if (sep == NULL) {
        goto done;
    }
    joined = PyUnicode_Join(sep, parts);
    if (joined != NULL) {
        const char *dot = strrchr(Py_TYPE(op)->tp_name, '.');
        result = PyUnicode_FromFormat(
            "%s(%U)", dot == NULL ? Py_TYPE(op)->tp_name : dot + 1, joined);
    }
done:
    Py_XDECREF(joined);
    Py_XDECREF(sep);
    Py_XDECREF(parts);
    Py_DECREF(names);
    return result;
}

static PyObject *
statistics_richcompare(PyObject *a, PyObject *b, int op)
{
    if (Py_TYPE(a) != Py_TYPE(b) || (op != Py_EQ && op != Py_NE)) {
        Py_RETURN_NOTIMPLEMENTED;
    }
    StatisticsObject *left = (StatisticsObject *)a;
    StatisticsObject *right = (StatisticsObject *)b;
    Py_ssize_t n = statistics_length(left);
    int equal = n == statistics_length(right);
    for (Py_ssize_t i = 0; equal && i < n; i++) {
        equal = PyObject_RichCompareBool(left->values[i], right->values[i],
                                         Py_EQ);
        if (equal < 0) {
            return NULL;
        }
    }
    return PyBool_FromLong(equal == (op == Py_EQ));
}

static Py_hash_t
statistics_hash(PyObject *op)
{
    PyObject *tuple = statistics_as_tuple((StatisticsObject *)op);
    if (tuple == NULL) {
        return -1;
    }
    Py_hash_t hash = PyObject_Hash(tuple);
    Py_DECREF(tuple);
    return hash;
}

static int
statistics_setattro(PyObject *Py_UNUSED(op), PyObject *Py_UNUSED(name),
                    PyObject *Py_UNUSED(value))
{
    PyObject *module = PyImport_ImportModule("attr.exceptions");
    if (module != NULL) {
        PyObject *exc
            = PyObject_GetAttrString(module, "FrozenInstanceError");
        Py_DECREF(module);
        if (exc != NULL) {
            PyErr_SetNone(exc);
            Py_DECREF(exc);
        }
    }
    return -1;
}

static PyObject *
statistics_reduce(PyObject *op, PyObject *Py_UNUSED(ignored))
{
    PyObject *values = statistics_as_tuple((StatisticsObject *)op);
    if (values == NULL) {
        return NULL;
    }
    return Py_BuildValue("(ON)", (PyObject *)Py_TYPE(op), values);
}

static int
statistics_traverse(PyObject *op, visitproc visit, void *arg)
{
    StatisticsObject *self = (StatisticsObject *)op;
    Py_VISIT(Py_TYPE(op));
    for (Py_ssize_t i = 0; i < TC_STATISTICS_MAX; i++) {
        Py_VISIT(self->values[i]);
    }
    return 0;
}

static int
statistics_clear(PyObject *op)
{
    StatisticsObject *self = (StatisticsObject *)op;
    for (Py_ssize_t i = 0; i < TC_STATISTICS_MAX; i++) {
        Py_CLEAR(self->values[i]);
    }
    return 0;
}

static void
statistics_dealloc(PyObject *op)
{
    StatisticsObject *self = (StatisticsObject *)op;
    PyTypeObject *type = Py_TYPE(op);
    PyObject_GC_UnTrack(op);
    if (self->weakrefs != NULL) {
        PyObject_ClearWeakRefs(op);
    }
    (void)statistics_clear(op);
    type->tp_free(op);
    Py_DECREF(type);
}

static PyMethodDef statistics_methods[] = {
    {"__reduce__", statistics_reduce, METH_NOARGS, NULL},
    {NULL, NULL, 0, NULL},
};

static PyMemberDef statistics_members[] = {
    {"__weaklistoffset__", T_PYSSIZET, offsetof(StatisticsObject, weakrefs),
     READONLY, NULL},
    {NULL, 0, 0, 0, NULL},
};

static PyType_Slot statistics_slots[] = {
    {Py_tp_new, statistics_tp_new},
    {Py_tp_dealloc, statistics_dealloc},
    {Py_tp_traverse, statistics_traverse},
    {Py_tp_clear, statistics_clear},
    {Py_tp_repr, statistics_repr},
    {Py_tp_richcompare, statistics_richcompare},
    {Py_tp_hash, statistics_hash},
    {Py_tp_setattro, statistics_setattro},
    {Py_tp_methods, statistics_methods},
    {Py_tp_members, statistics_members},
    {0, NULL},
};

static PyType_Spec tc_statistics_spec = {
    .name = "trio_c._native.Statistics",
    .basicsize = sizeof(StatisticsObject),
    .flags = Py_TPFLAGS_DEFAULT | Py_TPFLAGS_HAVE_GC | Py_TPFLAGS_BASETYPE,
    .slots = statistics_slots,
};

PyTypeObject *
tc_statistics_new_type(tc_state *st, const char *name, const char *module,
                       const char *doc, const char *const *fields)
{
    PyMemberDef members[TC_STATISTICS_MAX + 1];
    memset(members, 0, sizeof(members));
    PyObject *names = NULL, *full_name = NULL, *type = NULL;
    Py_ssize_t n = 0;
    while (fields[n] != NULL) {
        assert(n < TC_STATISTICS_MAX);
        members[n].name = fields[n];
        members[n].type = T_OBJECT_EX;
        members[n].offset = offsetof(StatisticsObject, values)
                            + n * (Py_ssize_t)sizeof(PyObject *);
        members[n].flags = READONLY;
        n++;
    }
    names = PyTuple_New(n);
    if (names == NULL) {
        goto done;
    }
    for (Py_ssize_t i = 0; i < n; i++) {
        PyObject *field = PyUnicode_InternFromString(fields[i]);
        if (field == NULL) {
            goto done;
        }
        PyTuple_SET_ITEM(names, i, field);
    }
    full_name = PyUnicode_FromFormat("%s.%s", module, name);
    if (full_name == NULL) {
        goto done;
    }
    /* The type copies name, doc and members. */
    PyType_Slot slots[] = {
        {Py_tp_dealloc, statistics_dealloc},
        {Py_tp_traverse, statistics_traverse},
        {Py_tp_clear, statistics_clear},
        {Py_tp_members, members},
        {Py_tp_doc, (void *)doc},
        {0, NULL},
    };
    PyType_Spec spec = {
        .name = PyUnicode_AsUTF8(full_name),
        .basicsize = sizeof(StatisticsObject),
        .flags = Py_TPFLAGS_DEFAULT | Py_TPFLAGS_HAVE_GC
                 | Py_TPFLAGS_BASETYPE,
        .slots = slots,
    };
    if (spec.name == NULL) {
        goto done;
    }
    type = PyType_FromModuleAndSpec(st->module, &spec,
                                    (PyObject *)st->StatisticsType);
    if (type != NULL
        && PyObject_SetAttrString(type, "__match_args__", names) < 0) {
        Py_CLEAR(type);
    }
done:
    Py_XDECREF(full_name);
    Py_XDECREF(names);
    return (PyTypeObject *)type;
}

int
tc_statistics_add_type(tc_state *st, PyTypeObject **slot, const char *name,
                       const char *module, const char *doc,
                       const char *const *fields)
{
    *slot = tc_statistics_new_type(st, name, module, doc, fields);
    if (*slot == NULL) {
        return -1;
    }
    return PyModule_AddObjectRef(st->module, name, (PyObject *)*slot);
}

/* --- what is made when somebody asks for it ------------------------------ */

/* attrs recognises its classes by __attrs_attrs__, and keeps __attrs_props__
   in them. In the base class, this has attrs itself make what it would have
   stored as `name` when that is first asked for, so that nobody pays for
   importing attrs who does not use it. */
static PyObject *
attrs_part_get(PyObject *type, const char *name)
{
    PyObject *module = NULL, *make = NULL, *args = NULL, *options = NULL;
    PyObject *model = NULL, *part = NULL;
    PyObject *names = statistics_names(type);
    if (names == NULL || (module = PyImport_ImportModule("attr")) == NULL) {
        goto done;
    }
    make = PyObject_GetAttrString(module, "make_class");
    args = Py_BuildValue("(sO)", ((PyTypeObject *)type)->tp_name, names);
    /* as attrs.frozen has it */
    options = Py_BuildValue("{s:O,s:O,s:O,s:O}", "slots", Py_True, "frozen",
                            Py_True, "order", Py_False, "collect_by_mro",
                            Py_True);
    if (make == NULL || args == NULL || options == NULL
        || (model = PyObject_Call(make, args, options)) == NULL) {
        goto done;
    }
    part = PyObject_GetAttrString(model, name);
    if (part != NULL && PyObject_SetAttrString(type, name, part) < 0) {
        Py_CLEAR(part);
    }
done:
    Py_XDECREF(model);
    Py_XDECREF(options);
    Py_XDECREF(args);
    Py_XDECREF(make);
    Py_XDECREF(module);
    Py_XDECREF(names);
    return part;
}

static PyObject *
attrs_fields_get(PyObject *Py_UNUSED(self), PyObject *Py_UNUSED(obj),
                 PyObject *type)
{
    return attrs_part_get(type, "__attrs_attrs__");
}

static PyObject *
attrs_props_get(PyObject *Py_UNUSED(self), PyObject *Py_UNUSED(obj),
                PyObject *type)
{
    return attrs_part_get(type, "__attrs_props__");
}

/* copy.replace() calls __replace__. */
static PyObject *
replace_get(PyObject *Py_UNUSED(self), PyObject *obj,
            PyObject *Py_UNUSED(type))
{
    PyObject *module = PyImport_ImportModule("trio_c._frozen");
    if (module == NULL) {
        return NULL;
    }
    PyObject *function = PyObject_GetAttrString(module, "_replace");
    Py_DECREF(module);
    if (function != NULL && obj != NULL) {
        Py_SETREF(function, PyMethod_New(function, obj));
    }
    return function;
}

/* inspect.signature() of a class looks for __signature__. */
static PyObject *
class_signature_get(PyObject *Py_UNUSED(self), PyObject *Py_UNUSED(obj),
                    PyObject *type)
{
    PyObject *module = PyImport_ImportModule("trio_c._signatures");
    if (module == NULL) {
        return NULL;
    }
    PyObject *result
        = PyObject_CallMethod(module, "class_signature", "O", type);
    Py_DECREF(module);
    return result;
}

/* A descriptor; its type is in the module under the last part of the name,
   where the drop-in finds it. New reference or NULL. */
static PyObject *
lazy_attribute_new(tc_state *st, const char *name, descrgetfunc get)
{
    PyType_Slot slots[] = {
        {Py_tp_descr_get, (void *)(uintptr_t)get},
        {0, NULL},
    };
    PyType_Spec spec = {
        .name = name,
        .basicsize = sizeof(PyObject),
        .flags = Py_TPFLAGS_DEFAULT,
        .slots = slots,
    };
    PyObject *type = PyType_FromModuleAndSpec(st->module, &spec, NULL);
    PyObject *descriptor = type == NULL ? NULL : PyObject_CallNoArgs(type);
    if (descriptor != NULL
        && PyModule_AddObjectRef(st->module, strrchr(name, '.') + 1, type)
               < 0) {
        Py_CLEAR(descriptor);
    }
    Py_XDECREF(type);
    return descriptor;
}

/* Whether it could be put into the base class of statistics. */
static int
statistics_add_lazy(tc_state *st, const char *attribute, const char *name,
                    descrgetfunc get)
{
    PyObject *descriptor = lazy_attribute_new(st, name, get);
    int r = descriptor == NULL
                ? -1
                : PyObject_SetAttrString((PyObject *)st->StatisticsType,
                                         attribute, descriptor);
    Py_XDECREF(descriptor);
    return r;
}

int
tc_types_register(tc_state *st)
{
    st->class_signature = lazy_attribute_new(
        st, "trio_c._native._class_signature", class_signature_get);
    if (st->class_signature == NULL
        || tc_state_add_type(st, &st->StatisticsType, &tc_statistics_spec,
                             NULL, NULL) < 0
        || PyObject_SetAttrString((PyObject *)st->StatisticsType,
                                  "__signature__", st->class_signature) < 0
        || statistics_add_lazy(st, "__attrs_attrs__",
                               "trio_c._native._attrs_fields",
                               attrs_fields_get)
               < 0
        || statistics_add_lazy(st, "__attrs_props__",
                               "trio_c._native._attrs_props", attrs_props_get)
               < 0) {
        return -1;
    }
    if (TC_HAVE_REPLACE) {
        return statistics_add_lazy(st, "__replace__",
                                   "trio_c._native._replace", replace_get);
    }
    return 0;
}
