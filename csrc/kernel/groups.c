/* groups.c - exception groups as scopes and nurseries need them.
 *
 * Users may subclass groups: split() and derive() run their code.
 */
#include "groups.h"
#include "../glue/args.h"
#include "../glue/function.h"

PyObject *
tc_group_new(tc_state *st, PyObject *excs, int strict)
{
    PyObject *group = PyObject_CallFunction(
        PyExc_BaseExceptionGroup, "sO", "Exceptions from Trio nursery", excs);
    if (group == NULL || strict) {
        return group;
    }
    PyObject *r = PyObject_CallMethod(group, "add_note", "O",
                                      st->loose_note);
    if (r == NULL) {
        Py_DECREF(group);
        return NULL;
    }
    Py_DECREF(r);
    return group;
}

/* Traceback `head` followed by `tail` (either may be NULL); new reference,
   or NULL, with an exception only if *failed is set. Iterative: tracebacks
   can be very long. */
static PyObject *
group_concat_tb(PyObject *head, PyObject *tail, int *failed)
{
    *failed = 0;
    PyObject *entries = PyList_New(0);
    if (entries == NULL) {
        *failed = 1;
        return NULL;
    }
    PyObject *result = Py_XNewRef(tail);
    for (PyTracebackObject *tb = (PyTracebackObject *)head; tb != NULL;
         tb = tb->tb_next) {
        if (PyList_Append(entries, (PyObject *)tb) < 0) {
            goto error;
        }
    }
    for (Py_ssize_t i = PyList_GET_SIZE(entries) - 1; i >= 0; i--) {
        PyTracebackObject *tb
            = (PyTracebackObject *)PyList_GET_ITEM(entries, i);
        PyObject *lineno
            = PyObject_GetAttrString((PyObject *)tb, "tb_lineno");
        if (lineno == NULL) {
            goto error;
        }
        PyObject *next = PyObject_CallFunction(
            (PyObject *)&PyTraceBack_Type, "OOiN",
            result != NULL ? result : Py_None, (PyObject *)tb->tb_frame,
            tb->tb_lasti, lineno);
        if (next == NULL) {
            goto error;
        }
        Py_XSETREF(result, next);
    }
    Py_DECREF(entries);
    return result;

error:
    *failed = 1;
    Py_DECREF(entries);
    Py_XDECREF(result);
    return NULL;
}

static int
group_is_loose(tc_state *st, PyObject *group)
{
    PyObject *notes = PyObject_GetAttrString(group, "__notes__");
    if (notes == NULL) {
        if (!PyErr_ExceptionMatches(PyExc_AttributeError)) {
            return -1;
        }
        PyErr_Clear();
        return 0;
    }
    int r = PySequence_Contains(notes, st->loose_note);
    Py_DECREF(notes);
    return r;
}

static int
group_is_group(PyObject *exc)
{
    return PyObject_TypeCheck(exc, (PyTypeObject *)PyExc_BaseExceptionGroup);
}

/* The only member, with the group's traceback entries before its own. */
static PyObject *
group_unwrap(PyObject *group, PyObject *only)
{
    PyObject *head = PyException_GetTraceback(group);
    PyObject *tail = PyException_GetTraceback(only);
    int failed;
    PyObject *tb = group_concat_tb(head, tail, &failed);
    Py_XDECREF(head);
    Py_XDECREF(tail);
    if (failed) {
        return NULL;
    }
    int r = PyException_SetTraceback(only, tb != NULL ? tb : Py_None);
    Py_XDECREF(tb);
    return r < 0 ? NULL : Py_NewRef(only);
}

/* New reference: group itself, what it collapses to, or a derived group. */
static PyObject *
group_collapse(tc_state *st, PyObject *group)
{
    if (Py_EnterRecursiveCall(" while collapsing an exception group")) {
        return NULL;
    }
    PyObject *result = NULL;
    PyObject *members = NULL;
    PyObject *tuple = PyObject_GetAttrString(group, "exceptions");
    if (tuple != NULL) {
        members = PySequence_List(tuple);
        Py_DECREF(tuple);
    }
    if (members == NULL) {
        goto done;
    }
    int modified = 0;
    for (Py_ssize_t i = 0; i < PyList_GET_SIZE(members); i++) {
        PyObject *exc = PyList_GET_ITEM(members, i);
        if (!group_is_group(exc)) {
            continue;
        }
        PyObject *collapsed = group_collapse(st, exc);
        if (collapsed == NULL) {
            goto done;
        }
        modified |= collapsed != exc;
        if (PyList_SetItem(members, i, collapsed) < 0) {
            goto done;
        }
    }
    if (PyList_GET_SIZE(members) == 1) {
        int loose = group_is_loose(st, group);
        if (loose < 0) {
            goto done;
        }
        if (loose) {
            result = group_unwrap(group, PyList_GET_ITEM(members, 0));
            goto done;
        }
    }
    result = modified ? PyObject_CallMethod(group, "derive", "O", members)
                      : Py_NewRef(group);
done:
    Py_XDECREF(members);
    Py_LeaveRecursiveCall();
    return result;
}

int
tc_group_strip_cancelled(tc_state *st, PyObject *group, int *matched,
                         PyObject **rest)
{
    *matched = 0;
    *rest = NULL;
    PyObject *pair = PyObject_CallMethod(group, "split", "O",
                                         (PyObject *)st->CancelledType);
    if (pair == NULL) {
        return -1;
    }
    if (!PyTuple_Check(pair) || PyTuple_GET_SIZE(pair) != 2) {
        PyErr_Format(PyExc_TypeError,
                     "%s.split() must return a pair, got %R",
                     Py_TYPE(group)->tp_name, pair);
        Py_DECREF(pair);
        return -1;
    }
    *matched = PyTuple_GET_ITEM(pair, 0) != Py_None;
    PyObject *remaining = PyTuple_GET_ITEM(pair, 1);
    int r = 0;
    if (remaining != Py_None) {
        *rest = group_is_group(remaining) ? group_collapse(st, remaining)
                                          : Py_NewRef(remaining);
        r = *rest == NULL ? -1 : 0;
    }
    Py_DECREF(pair);
    return r;
}

/* --- concat_tb(head, tail), for Python ---------------------------------- */

static PyObject *
concat_tb_impl(FunctionObject *Py_UNUSED(func), PyObject *Py_UNUSED(self),
               PyObject *const *args, Py_ssize_t nargs, PyObject *kwnames)
{
    static const tc_params params = {
        .fname = "concat_tb",
        .names = {"head", "tail"},
        .n_positional = 2,
        .n_required = 2,
    };
    PyObject *a[2];
    if (tc_args_parse(&params, args, nargs, kwnames, a) < 0) {
        return NULL;
    }
    for (int i = 0; i < 2; i++) {
        if (a[i] == Py_None) {
            a[i] = NULL;
        }
        else if (!PyTraceBack_Check(a[i])) {
            PyErr_Format(PyExc_TypeError, "expected a traceback, got %s",
                         Py_TYPE(a[i])->tp_name);
            return NULL;
        }
    }
    int failed;
    PyObject *tb = group_concat_tb(a[0], a[1], &failed);
    return failed ? NULL : tb != NULL ? tb : Py_NewRef(Py_None);
}

static const tc_function_def group_functions[] = {
    {"concat_tb", "trio_c._core._concat_tb", concat_tb_impl},
    {NULL, NULL, NULL},
};

int
tc_groups_register(tc_state *st)
{
    return tc_function_add_to_module(st, group_functions);
}
