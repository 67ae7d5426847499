/* lock.h - Lock and StrictFIFOLock, as far as Condition knows them. */
#ifndef TC_SYNC_LOCK_H
#define TC_SYNC_LOCK_H

#include "acquire.h"

typedef struct {
    TC_HOME_HEAD
    tc_state *st;            /* borrowed */
    TaskObject *owner;       /* owned or NULL: unlocked */
    tc_breaker breaker;      /* in the owner's list; its lot is the lock's */
    PyObject *dict;          /* owned or NULL */
    PyObject *weakrefs;
} LockObject;

/* New unlocked instance of type. */
PyObject *tc_lock_new(PyTypeObject *type);
/* Lock it for task without waiting: 1; 0 if somebody else has it or waits for
   it; -1 with RuntimeError if task has it. */
int tc_lock_try(LockObject *lock, TaskObject *task);
/* Unlock, or hand over to the first in the queue. 0, or -1 with RuntimeError
   if task does not own it; runs Python. */
int tc_lock_release(LockObject *lock, TaskObject *task);
/* acquire() as step function of an awaitable whose owner is the lock. */
tc_step tc_lock_acquire_step(AwaitableObject *self, PyObject *sent,
                             PyObject **result);
/* A raised BrokenResourceError becomes the one that says whose fault it is;
   other exceptions stay. */
void tc_lock_explain_broken(LockObject *lock);
/* New LockStatistics. */
PyObject *tc_lock_statistics(LockObject *lock);

#endif
