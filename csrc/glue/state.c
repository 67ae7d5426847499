/* state.c - module state: lazily imported objects and type registration. */
#include "state.h"

/* Import `module` and get `name` from it into *slot, once. Borrowed. */
static PyObject *
state_lazy_attr(PyObject **slot, const char *module, const char *name)
{
    if (*slot != NULL) {
        return *slot;
    }
    PyObject *mod = PyImport_ImportModule(module);
    if (mod == NULL) {
        return NULL;
    }
    PyObject *obj;
    if (name == NULL) {
        obj = mod;
    }
    else {
        obj = PyObject_GetAttrString(mod, name);
        Py_DECREF(mod);
    }
    if (obj == NULL) {
        return NULL;
    }
    /* The import may have come here re-entrantly. */
    if (*slot == NULL) {
        *slot = obj;
    }
    else {
        Py_DECREF(obj);
    }
    return *slot;
}

PyObject *
tc_state_outcome_value(tc_state *st)
{
    return state_lazy_attr(&st->outcome_Value, "outcome", "Value");
}

PyObject *
tc_state_outcome_error(tc_state *st)
{
    return state_lazy_attr(&st->outcome_Error, "outcome", "Error");
}

PyObject *
tc_state_helpers(tc_state *st)
{
    return state_lazy_attr(&st->helpers, "trio_c._core._init", NULL);
}

PyObject *
tc_state_asyncgens(tc_state *st)
{
    return state_lazy_attr(&st->asyncgens, "trio_c._core._asyncgens", NULL);
}

int
tc_state_add_type(tc_state *st, PyTypeObject **slot, PyType_Spec *spec,
                  PyObject *bases, const char *name)
{
    PyObject *type = PyType_FromModuleAndSpec(st->module, spec, bases);
    if (type == NULL) {
        return -1;
    }
    *slot = (PyTypeObject *)type;
    if (name == NULL) {
        return 0;
    }
    return PyModule_AddObjectRef(st->module, name, type);
}
