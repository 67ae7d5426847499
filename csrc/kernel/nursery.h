/* nursery.h - nurseries: the task tree's inner nodes. */
#ifndef TC_KERNEL_NURSERY_H
#define TC_KERNEL_NURSERY_H

#include "cancel.h"
#include "task.h"
#include "trap.h"

typedef struct NurseryObject NurseryObject;

struct NurseryObject {
    TC_HOME_HEAD
    tc_state *st;                /* borrowed */
    TaskObject *parent_task;     /* owned */
    CancelScopeObject *scope;    /* owned: the surrounding cancel scope */
    tc_link children;            /* of tasks, through sibling_link; the
                                    runner owns them */
    Py_ssize_t n_children;
    PyObject *pending_excs;      /* owned list or NULL (none so far) */
    NurseryObject *outer;        /* owned or NULL: next open one outwards */
    Py_ssize_t pending_starts;
    PyObject *dict;
    PyObject *weakrefs;
    uint8_t strict;
    uint8_t body_running;        /* the `async with` block itself */
    uint8_t parent_waiting;      /* in __aexit__ */
    uint8_t closed;
    uint8_t result_taken;        /* outcomes of later children are lost */
};

/* Opens a nursery in the current task: enters `scope` is the caller's job. */
NurseryObject *tc_nursery_new(TaskObject *parent, CancelScopeObject *scope,
                              int strict);
/* Enters a new scope and opens a nursery in it: all of __aenter__. */
NurseryObject *tc_nursery_open(TaskObject *task, int strict);

/* __aexit__ in parts, for the operations that close a nursery. begin: tell
   it that the block ended with exc (borrowed or NULL) and return TC_YIELD,
   or TC_ERROR. abort: op->abort for the wait that follows. end: after the
   task has been resumed (or `thrown`, borrowed, was thrown into it): leave
   the nursery; *combined: its exceptions as one, new reference or NULL. The
   scope is still to be closed with *combined. */
tc_step tc_nursery_begin_exit(NurseryObject *nursery, AwaitableObject *aw,
                              TaskObject *task, PyObject *exc);
tc_abort_result tc_nursery_abort_exit(NurseryObject *nursery, tc_abort *why);
int tc_nursery_end(NurseryObject *nursery, AwaitableObject *aw,
                   PyObject *thrown, PyObject **combined);

/* A child ended; exc borrowed or NULL. 0 or -1. */
int tc_nursery_child_finished(NurseryObject *nursery, TaskObject *task,
                              PyObject *exc);
/* Wake the parent if everything has ended. 0 or -1. */
int tc_nursery_check_closed(NurseryObject *nursery);

/* TrioDeprecationWarning about `thing`, attributed to the Python caller. */
int tc_warn_loose_groups(tc_state *st, const char *thing);

int tc_nursery_register(tc_state *st);
int tc_nursery_manager_register(tc_state *st);

#endif
