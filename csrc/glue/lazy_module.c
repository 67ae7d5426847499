/* lazy_module.c - the class of packages that load their names on demand.
 *
 * The interpreter does not speed up attributes of a module that defines
 * __getattr__, as trio_c/_lazy.py makes it do: every `trio.sleep` would first
 * be looked for in the module's class. A module of this class, which
 * trio_c/_lazy.py assigns, looks into its own globals first. Apart from that
 * it is a plain module; the class has the name of one, and no instances of
 * its own making.
 */
#include "lazy_module.h"

/* Names with an underscore go the long way: some of them are attributes of
   the class, which come before globals. */
static PyObject *
lazy_module_getattro(PyObject *self, PyObject *name)
{
    if (PyUnicode_Check(name) && PyUnicode_GET_LENGTH(name) > 0
        && PyUnicode_READ_CHAR(name, 0) != '_') {
        PyObject *globals
            = *(PyObject **)((char *)self + Py_TYPE(self)->tp_dictoffset);
        PyObject *value;
        if (PyDict_GetItemRef(globals, name, &value) != 0) {
            return value;
        }
    }
    return PyModule_Type.tp_getattro(self, name);
}

/* Pickled by name. Those who can pickle modules recognise only plain ones. */
static PyObject *
lazy_module_reduce(PyObject *self, PyObject *Py_UNUSED(ignored))
{
    PyObject *importlib = PyImport_ImportModule("importlib");
    if (importlib == NULL) {
        return NULL;
    }
    PyObject *import = PyObject_GetAttrString(importlib, "import_module");
    Py_DECREF(importlib);
    /* For a module that was never initialized, PyModule_GetNameObject() has a
       SystemError. */
    PyObject *name = PyObject_GetAttrString(self, "__name__");
    PyObject *result = NULL;
    if (import != NULL && name != NULL) {
        result = Py_BuildValue("O(O)", import, name);
    }
    Py_XDECREF(name);
    Py_XDECREF(import);
    return result;
}

static int
lazy_module_traverse(PyObject *self, visitproc visit, void *arg)
{
    Py_VISIT(Py_TYPE(self));
    return PyModule_Type.tp_traverse(self, visit, arg);
}

static PyMethodDef lazy_module_methods[] = {
    {"__reduce__", lazy_module_reduce, METH_NOARGS, NULL},
    {NULL, NULL, 0, NULL},
};

int
tc_lazy_module_register(tc_state *st)
{
    /* A module can change its class only for one that clears it alike. */
    PyType_Slot slots[] = {
        {Py_tp_getattro, lazy_module_getattro},
        {Py_tp_methods, lazy_module_methods},
        {Py_tp_traverse, lazy_module_traverse},
        {Py_tp_clear, (void *)PyModule_Type.tp_clear},
        {0, NULL},
    };
    PyType_Spec spec = {
        .name = "trio_c._native.module",
        .basicsize = (int)PyModule_Type.tp_basicsize,
        .flags = Py_TPFLAGS_DEFAULT | Py_TPFLAGS_HAVE_GC
                 | Py_TPFLAGS_IMMUTABLETYPE,
        .slots = slots,
    };
    return tc_state_add_type(st, &st->LazyModuleType, &spec,
                             (PyObject *)&PyModule_Type, "_LazyModule");
}
