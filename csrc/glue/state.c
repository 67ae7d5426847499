/* state.c - module state: lazily imported objects and type registration. */
#include "state.h"

PyObject *
tc_state_publish(PyObject **slot, PyObject *obj)
{
    /* Making it may have come here re-entrantly, too. */
#if TC_FREE_THREADED
    PyObject *nothing = NULL;
    if (__atomic_compare_exchange_n(slot, &nothing, obj, 0, __ATOMIC_ACQ_REL,
                                    __ATOMIC_ACQUIRE)) {
        return obj;
    }
    Py_DECREF(obj);
    return nothing;
#else
    if (*slot == NULL) {
        *slot = obj;
    }
    else {
        Py_DECREF(obj);
    }
    return *slot;
#endif
}

int
tc_state_is_homed(tc_state *st, PyTypeObject *type)
{
#define TC_FIELD(name) st->name,
    PyTypeObject *const homed[] = {TC_STATE_HOMED(TC_FIELD)};
#undef TC_FIELD
    for (size_t i = 0; i < Py_ARRAY_LENGTH(homed); i++) {
        if (homed[i] != NULL && PyType_IsSubtype(type, homed[i])) {
            return 1;
        }
    }
    return 0;
}

#if TC_FREE_THREADED

/* Are its attributes to be looked at through home.h, too? Those of sockets are
   descriptors and flags, which do no harm. */
static int
state_is_guarded(tc_state *st, PyTypeObject **slot)
{
#define TC_FIELD(name) &st->name,
    PyTypeObject **const homed[] = {TC_STATE_HOMED(TC_FIELD)};
#undef TC_FIELD
    for (size_t i = 0; i < Py_ARRAY_LENGTH(homed); i++) {
        if (slot == homed[i]) {
            return slot != &st->SocketType;
        }
    }
    return 0;
}

#endif

/* Import `module` and get `name` from it into *slot, once. Borrowed. */
static PyObject *
state_lazy_attr(PyObject **slot, const char *module, const char *name)
{
    PyObject *known = tc_state_peek(slot);
    if (known != NULL) {
        return known;
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
    return tc_state_publish(slot, obj);
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
#if TC_FREE_THREADED
    PyType_Spec guarded = *spec;
    if (state_is_guarded(st, slot)) {
        guarded.slots = tc_home_guard_slots(spec);
        if (guarded.slots == NULL) {
            return -1;
        }
    }
    PyObject *type = PyType_FromModuleAndSpec(st->module, &guarded, bases);
    if (guarded.slots != spec->slots) {
        PyMem_Free(guarded.slots);
    }
#else
    PyObject *type = PyType_FromModuleAndSpec(st->module, spec, bases);
#endif
    if (type == NULL) {
        return -1;
    }
    *slot = (PyTypeObject *)type;
    if (name == NULL) {
        return 0;
    }
    return PyModule_AddObjectRef(st->module, name, type);
}
