/* home.h - which run an object belongs to, where no GIL keeps threads apart.
 *
 * Tasks, scopes, events, locks, channels, streams and the like are for one run
 * at a time: what is inside them is touched by that run's thread alone, and
 * so needs no lock. With a GIL a program that breaks this rule gets muddled at
 * worst; without one it would get corrupt memory. So free-threaded builds
 * note in each such object the run that it is at home in, and every way in
 * from Python compares it with the run of the calling thread:
 *
 *   - an object that is nobody's becomes at home in the run that uses it;
 *   - in a run that is over nothing is at home any more;
 *   - a thread without a run may use what is nobody's, and has it to itself
 *     for as long as the call takes;
 *   - everybody else gets RuntimeError.
 *
 * With a GIL all of this is nothing.
 */
#ifndef TC_GLUE_HOME_H
#define TC_GLUE_HOME_H

#include "compat.h"
#include "../base/hints.h"
#include "../base/list.h"

/* Begins the struct of an object that has a home. */
#if TC_FREE_THREADED
#define TC_HOME_HEAD                                                        \
    PyObject_HEAD                                                           \
    _Atomic(uintptr_t) home;   /* a run's id, a visitor (odd), or 0 */      \
    PyObject *housemate;       /* borrowed; lives where that does; or NULL */
#else
#define TC_HOME_HEAD PyObject_HEAD
#endif

#if TC_FREE_THREADED

#include <stdatomic.h>

typedef struct tc_homed {
    TC_HOME_HEAD
} tc_homed;

/* A run; embedded in the runner. */
typedef struct tc_home_run {
    tc_link link;            /* in the list of the living */
    uintptr_t id;            /* even, never used again; 0: not begun */
    const void *thread;      /* the thread that runs it, see home.c */
} tc_home_run;

/* The run that this thread is in: its id, or 0. */
extern TC_THREAD_LOCAL uintptr_t tc_home_here;

/* Parts of the following. */
int tc_home_negotiate(PyObject *op, int *is_visit);
void tc_home_end_visit(PyObject *op);

/* Objects that share what is inside them are at home in the same run: that of
   the one that all the others know. */
static inline PyObject *
tc_home_owner(PyObject *op)
{
    PyObject *housemate = ((tc_homed *)op)->housemate;
    return housemate != NULL ? housemate : op;
}

/* This thread is about to use op, until tc_home_leave(). 0, or -1 with
   RuntimeError: it may not. */
static inline int
tc_home_enter(PyObject *op, int *is_visit)
{
    op = tc_home_owner(op);
    uintptr_t home = atomic_load_explicit(&((tc_homed *)op)->home,
                                          memory_order_relaxed);
    *is_visit = 0;
    return home != 0 && home == tc_home_here
               ? 0
               : tc_home_negotiate(op, is_visit);
}

static inline void
tc_home_leave(PyObject *op, int is_visit)
{
    if (is_visit) {
        tc_home_end_visit(tc_home_owner(op));
    }
}

/* Is op at home in a living run of another thread? */
int tc_home_is_elsewhere(PyObject *op);

/* A new object, at home in no run, or in the one whose thread this is. */
static inline void
tc_home_init(PyObject *op, uintptr_t home)
{
    atomic_init(&((tc_homed *)op)->home, home);
    ((tc_homed *)op)->housemate = NULL;
}
#define TC_HOME_NOBODYS(op) tc_home_init((PyObject *)(op), 0)
#define TC_HOME_HERE(op) tc_home_init((PyObject *)(op), tc_home_here)
#define TC_HOME_WITH(op, mate)                                              \
    (((tc_homed *)(op))->housemate = (PyObject *)(mate))

/* A run begins, in this thread; ends; is what this thread is in (NULL:
   none). */
void tc_home_begin_run(tc_home_run *run);
void tc_home_end_run(tc_home_run *run);
static inline void
tc_home_set_here(const tc_home_run *run)
{
    tc_home_here = run == NULL ? 0 : run->id;
}
/* In a forked child, where there is no other thread. */
void tc_home_after_fork(void);

/* The same type, but that getting and setting its attributes goes through
   tc_home_enter(). New slots for spec, to be freed with PyMem_Free(); what
   they point to stays. NULL with exception. */
PyType_Slot *tc_home_guard_slots(const PyType_Spec *spec);

#else

static inline int
tc_home_enter(PyObject *Py_UNUSED(op), int *Py_UNUSED(is_visit))
{
    return 0;
}

static inline void
tc_home_leave(PyObject *Py_UNUSED(op), int Py_UNUSED(is_visit))
{
}

static inline int
tc_home_is_elsewhere(PyObject *Py_UNUSED(op))
{
    return 0;
}

static inline void
tc_home_after_fork(void)
{
}

#define TC_HOME_NOBODYS(op) ((void)0)
#define TC_HOME_HERE(op) ((void)0)
#define TC_HOME_WITH(op, mate) ((void)0)

#endif

/* For short functions that run no Python: may this thread use op now? 0, or
   -1 with RuntimeError. */
static inline int
tc_home_check(PyObject *op)
{
    int is_visit = 0;
    if (tc_home_enter(op, &is_visit) < 0) {
        return -1;
    }
    tc_home_leave(op, is_visit);
    return 0;
}

/* What repr(op) is instead when tc_home_check() has said no. New reference or
   NULL. */
PyObject *tc_home_repr(PyObject *op);

#endif
