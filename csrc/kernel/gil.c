/* gil.c - stepping aside for threads that need the GIL.
 *
 * Invariants
 * - wanted counts the threads between announcing themselves and having the
 *   GIL.
 * - A waiting loop's entry is on the list exactly as long as nobody has
 *   released its semaphore: whoever takes it off releases it once, and a
 *   loop that finds itself taken off has a release to consume. So no release
 *   is lost or left behind.
 * - The list lock is held for a few instructions and never across anything
 *   that can block, with or without the GIL.
 */
#include "gil.h"
#include "../base/clock.h"

/* As long as it takes the scheduler to run a thread that was just woken,
   with a wide margin; missing it costs one more round, no more. */
#define YIELD_MICROSECONDS 1000

/* Releasing the GIL takes some 40 ns when nobody waits for it, and a system
   call, 1 us and more, when somebody is to be woken. Nothing else tells. */
#define SIGNAL_SECONDS 300e-9

typedef struct gil_waiter {
    tc_link link;                    /* in tc_gil.waiting */
    PyThread_type_lock semaphore;    /* owned */
} gil_waiter;

#ifndef Py_GIL_DISABLED

static void
gil_release_waiters(tc_gil *gil)
{
    PyThread_acquire_lock(gil->lock, WAIT_LOCK);
    tc_link *link;
    while ((link = tc_list_first(&gil->waiting)) != NULL) {
        gil_waiter *waiter = TC_CONTAINER_OF(link, gil_waiter, link);
        tc_list_remove(link);
        PyThread_release_lock(waiter->semaphore);
    }
    atomic_store(&gil->n_waiting, 0);
    PyThread_release_lock(gil->lock);
}

#endif

void
tc_gil_acquire(tc_state *st, PyThreadState *tstate)
{
#ifdef Py_GIL_DISABLED
    PyEval_RestoreThread(tstate);
#else
    tc_gil *gil = st->gil;
    atomic_fetch_add(&gil->wanted, 1);
    PyEval_RestoreThread(tstate);
    atomic_fetch_sub(&gil->wanted, 1);
    if (atomic_load(&gil->n_waiting) > 0) {
        gil_release_waiters(gil);
    }
#endif
}

void
tc_gil_yield(tc_state *st)
{
    tc_gil *gil = st->gil;
    gil_waiter self;
    self.semaphore = PyThread_allocate_lock();
    if (self.semaphore == NULL) {
        (void)tc_gil_offer(1);
        return;
    }
    PyThread_acquire_lock(self.semaphore, WAIT_LOCK);

    /* On the list before the GIL goes: who takes it then will see us. The
       entry lives on this C stack, which stays as it is until this function
       returns: no Python runs here. */
    PyThread_acquire_lock(gil->lock, WAIT_LOCK);
    tc_list_append(&gil->waiting, &self.link);
    atomic_fetch_add(&gil->n_waiting, 1);
    PyThread_release_lock(gil->lock);

    PyThreadState *tstate = PyEval_SaveThread();
    PyLockStatus status = PyThread_acquire_lock_timed(
        self.semaphore, YIELD_MICROSECONDS, 0);
    /* Also after a release: whoever released still holds the list lock, and
       only when he has dropped it the semaphore may go. */
    PyThread_acquire_lock(gil->lock, WAIT_LOCK);
    int listed = tc_link_is_linked(&self.link);
    if (listed) {
        tc_list_remove(&self.link);
        atomic_fetch_sub(&gil->n_waiting, 1);
    }
    PyThread_release_lock(gil->lock);
    if (status != PY_LOCK_ACQUIRED && !listed) {
        PyThread_acquire_lock(self.semaphore, WAIT_LOCK);
    }
    PyEval_RestoreThread(tstate);
    PyThread_release_lock(self.semaphore);
    PyThread_free_lock(self.semaphore);
}

double
tc_gil_offer(int surely)
{
    double before = tc_clock_monotonic();
    PyThreadState *tstate = PyEval_SaveThread();
    double released = tc_clock_monotonic();
    if (!surely && released - before < SIGNAL_SECONDS) {
        PyEval_RestoreThread(tstate);
        return 0.0;
    }
    tc_clock_nap();
    PyEval_RestoreThread(tstate);
    return tc_clock_monotonic() - released;
}

int
tc_gil_after_fork(tc_state *st)
{
    tc_gil *gil = st->gil;
    PyThread_type_lock lock = PyThread_allocate_lock();
    if (lock == NULL) {
        PyErr_NoMemory();
        return -1;
    }
    /* The old lock may be held, and the old list be on the stacks, of threads
       that are not here. */
    gil->lock = lock;
    tc_list_init(&gil->waiting);
    atomic_store(&gil->wanted, 0);
    atomic_store(&gil->n_waiting, 0);
    return 0;
}

int
tc_gil_register(tc_state *st)
{
    tc_gil *gil = PyMem_RawCalloc(1, sizeof(tc_gil));
    if (gil == NULL) {
        PyErr_NoMemory();
        return -1;
    }
    gil->lock = PyThread_allocate_lock();
    if (gil->lock == NULL) {
        PyMem_RawFree(gil);
        PyErr_NoMemory();
        return -1;
    }
    atomic_init(&gil->wanted, 0);
    atomic_init(&gil->n_waiting, 0);
    tc_list_init(&gil->waiting);
    st->gil = gil;
    return 0;
}

void
tc_gil_free(tc_state *st)
{
    tc_gil *gil = st->gil;
    st->gil = NULL;
    if (gil != NULL) {
        PyThread_free_lock(gil->lock);
        PyMem_RawFree(gil);
    }
}
