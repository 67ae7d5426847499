/* freelist.h - blocks of small objects that come and go, kept for the next
 * one of their type. Without a GIL nothing is kept: the lists would have to be
 * one per thread, which is what the interpreter's allocator has already.
 *
 * One type per list, of fixed size, with GC or without, whose objects have a
 * home (home.h). A block whose object
 * has been finalised (PyObject_GC_IsFinalized) must not be put back: the next
 * one in it would never be. Guarded by the GIL. A closed list keeps nothing
 * more.
 */
#ifndef TC_GLUE_FREELIST_H
#define TC_GLUE_FREELIST_H

#include "compat.h"
#include "home.h"

/* Of the largest, tasks, this is 240 KB. */
#define TC_FREELIST_MAX 1000

typedef struct tc_freelist {
    PyObject *first;     /* owned blocks, linked by their first field */
    int n;               /* -1: closed */
    freefunc release;    /* what frees a block; NULL while there is none */
} tc_freelist;

static inline PyObject **
tc_freelist_link(PyObject *op)
{
    return (PyObject **)(op + 1);
}

/* A new object, untracked; all behind its header is yet to be set. */
static inline PyObject *
tc_freelist_new(tc_freelist *list, PyTypeObject *type)
{
    PyObject *op = list->first;
    if (TC_FREE_THREADED || op == NULL) {
        op = PyType_IS_GC(type)
                 ? (PyObject *)PyObject_GC_New(PyObject, type)
                 : PyObject_New(PyObject, type);
        if (op != NULL) {
            TC_HOME_NOBODYS(op);
        }
        return op;
    }
    list->first = *tc_freelist_link(op);
    list->n--;
    return PyObject_Init(op, type);
}

/* End of a tp_dealloc: op is untracked and refers to nothing but its type,
   which is the caller's to give up. */
static inline void
tc_freelist_delete(tc_freelist *list, PyObject *op)
{
    if (TC_FREE_THREADED || list->n < 0 || list->n >= TC_FREELIST_MAX) {
        Py_TYPE(op)->tp_free(op);
        return;
    }
    list->release = Py_TYPE(op)->tp_free;
    *tc_freelist_link(op) = list->first;
    list->first = op;
    list->n++;
}

static inline void
tc_freelist_close(tc_freelist *list)
{
    PyObject *op = list->first;
    list->first = NULL;
    list->n = -1;
    while (op != NULL) {
        PyObject *next = *tc_freelist_link(op);
        list->release(op);
        op = next;
    }
}

#endif
