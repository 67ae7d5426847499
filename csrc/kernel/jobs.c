/* jobs.c - a queue that any thread, signal handler or finalizer can add to.
 *
 * Invariants
 * - The lock is held for a bounded time and no Python runs under it: no
 *   reference is dropped, no object allocated, nothing hashed or compared.
 *   So a signal handler or a finalizer can never find it held by its own
 *   thread, and a thread that waits for it needs nothing from the holder but
 *   time: holding the GIL meanwhile is no deadlock.
 * - A job that was accepted before the queue was closed is in it: the closed
 *   flag, the queue and the wake-up are looked at under one hold of the lock.
 * - Idempotent jobs have ascending serials. Whoever adds one compares it, with
 *   the lock released, to those with the same hash, serial by serial; only a
 *   job that differs from every queued one is added, and equality counts only
 *   if the equal one is still queued afterwards.
 * - wake_fd is written only under the lock, so after
 *   tc_jobs_forget_wake_fd() its number may be reused.
 * - Who has queued a job silently has a reference, and rings later, without
 *   the GIL. All but the lock and the wake-up is gone by then if the queue is.
 *   So a fork can find the lock held, by somebody who is not in the child and
 *   who changed nothing but `written`: there the lock is made anew, by the
 *   first who takes it. He has the GIL: ringing comes after queueing.
 * - flagged is set before sleeping is read; the loop sets sleeping before it
 *   reads flagged. Both are sequentially consistent, so one of the two sees
 *   the other.
 * - written is set by whoever is about to write and cleared by the reader
 *   after he has read, before he looks at the queue: while it is set, a byte
 *   is in the socket or on its way there, or the reader is yet to come.
 */
#include "jobs.h"

#include "../base/clock.h"
#include "../base/fork.h"
#include "../base/sock.h"

#define JOBS_MIN_CAPACITY 16
#define JOBS_MIN_BUCKETS 16

typedef struct jobs_once {
    tc_link order;           /* in tc_jobs.once */
    struct jobs_once *next;  /* borrowed: older one in the same bucket */
    PyObject *job;           /* owned tuple (fn, args) */
    Py_hash_t hash;
    uint64_t serial;
} jobs_once;

tc_jobs *
tc_jobs_new(void)
{
    tc_jobs *jobs = PyMem_RawCalloc(1, sizeof(*jobs));
    if (jobs == NULL || tc_fork_watch() < 0) {
        PyMem_RawFree(jobs);
        PyErr_NoMemory();
        return NULL;
    }
    jobs->forks = tc_fork_count();
    tc_list_init(&jobs->once);
    jobs->wake_fd = -1;
    atomic_init(&jobs->flagged, 0);
    atomic_init(&jobs->sleeping, 0);
    atomic_init(&jobs->written, 0);
    atomic_init(&jobs->refs, 1);
    jobs->lock = PyThread_allocate_lock();
    if (jobs->lock == NULL) {
        PyMem_RawFree(jobs);
        PyErr_NoMemory();
        return NULL;
    }
    return jobs;
}

/* No GIL needed. */
static void
jobs_unref(tc_jobs *jobs)
{
    if (atomic_fetch_sub(&jobs->refs, 1) == 1) {
        PyThread_free_lock(jobs->lock);
        PyMem_RawFree(jobs);
    }
}

void
tc_jobs_free(tc_jobs *jobs)
{
    tc_jobs_discard(jobs);
    PyMem_RawFree(jobs->ring);
    PyMem_RawFree(jobs->buckets);
    jobs->ring = NULL;
    jobs->buckets = NULL;
    jobs_unref(jobs);
}

/* Without the lock: the collector runs in no thread that holds it, and while
   the others cannot touch the queue. */
int
tc_jobs_traverse(tc_jobs *jobs, visitproc visit, void *arg)
{
    for (size_t i = 0; i < jobs->n; i++) {
        tc_job *job = &jobs->ring[(jobs->first + i) & (jobs->capacity - 1)];
        Py_VISIT(job->obj);
        Py_VISIT(job->args);
    }
    for (tc_link *link = jobs->once.next; link != &jobs->once;
         link = link->next) {
        Py_VISIT(TC_CONTAINER_OF(link, jobs_once, order)->job);
    }
    return 0;
}

/* Without memory the old lock stays, which is hardly ever held. */
static void
jobs_forked(tc_jobs *jobs)
{
    PyThread_type_lock lock = PyThread_allocate_lock();
    if (lock != NULL) {
        jobs->lock = lock;
    }
    atomic_store(&jobs->written, 0);
    jobs->forks = tc_fork_count();
}

static void
jobs_lock(tc_jobs *jobs)
{
    if (jobs->forks != tc_fork_count()) {
        jobs_forked(jobs);
    }
    PyThread_acquire_lock(jobs->lock, WAIT_LOCK);
}

static void
jobs_unlock(tc_jobs *jobs)
{
    PyThread_release_lock(jobs->lock);
}

/* So often a byte is tried to be sent when the system says that it has no
   memory for one, with the shortest of sleeps between: about 0.1 s. */
#define MAX_RINGS 1000

/* Lock held. A full socket is as good as a byte more, since it is readable.
   A byte that is not sent for another reason may be one that a run sleeps
   for. */
static void
jobs_ring(tc_jobs *jobs)
{
    if (atomic_load(&jobs->sleeping) && jobs->wake_fd >= 0
        && !atomic_exchange(&jobs->written, 1)) {
        int saved = tc_sock_error();
        int err = 0;
        for (int i = 0; i < MAX_RINGS; i++) {
            err = tc_sock_sendto(jobs->wake_fd, "", 1, TC_SOCK_NOSIGNAL, NULL,
                                 0)
                          < 0
                      ? tc_sock_error()
                      : 0;
            if (err == 0 || tc_sock_would_block(err)) {
                break;
            }
            if (!tc_sock_interrupted(err)) {
                tc_clock_nap();
            }
        }
        if (err != 0 && !tc_sock_would_block(err)) {
            atomic_store(&jobs->written, 0);  /* for the next job to try */
        }
        tc_sock_set_error(saved);
    }
}

/* Lock held. */
static void
jobs_wake(tc_jobs *jobs)
{
    atomic_store(&jobs->flagged, 1);
    jobs_ring(jobs);
}

void
tc_jobs_ring(tc_jobs *jobs)
{
    /* Else the loop has been there already. */
    if (atomic_load(&jobs->flagged)) {
        jobs_lock(jobs);
        jobs_ring(jobs);
        jobs_unlock(jobs);
    }
    jobs_unref(jobs);
}

/* --- FIFO ---------------------------------------------------------------- */

/* Lock held. 0, or -1 without exception. */
static int
jobs_grow(tc_jobs *jobs)
{
    size_t capacity
        = jobs->capacity == 0 ? JOBS_MIN_CAPACITY : jobs->capacity * 2;
    if (capacity > PY_SSIZE_T_MAX / sizeof(tc_job)) {
        return -1;
    }
    tc_job *ring = PyMem_RawMalloc(capacity * sizeof(tc_job));
    if (ring == NULL) {
        return -1;
    }
    for (size_t i = 0; i < jobs->n; i++) {
        ring[i] = jobs->ring[(jobs->first + i) & (jobs->capacity - 1)];
    }
    PyMem_RawFree(jobs->ring);
    jobs->ring = ring;
    jobs->first = 0;
    jobs->capacity = capacity;
    return 0;
}

/* Lock held. Room for one job beside those that it is kept for; 0, or -1
   without exception. */
static int
jobs_make_room(tc_jobs *jobs)
{
    return jobs->n + jobs->reserved < jobs->capacity ? 0 : jobs_grow(jobs);
}

/* Lock held. 0; 1 if closed; -1 without exception. */
static int
jobs_append(tc_jobs *jobs, tc_job job, unsigned how)
{
    if (how & TC_JOBS_RESERVED) {
        jobs->reserved--;
    }
    if (jobs->closed) {
        return 1;
    }
    if (jobs_make_room(jobs) < 0) {
        return -1;
    }
    size_t end = (jobs->first + jobs->n) & (jobs->capacity - 1);
    jobs->ring[end] = job;
    jobs->n++;
    return 0;
}

int
tc_jobs_push(tc_jobs *jobs, tc_job job, unsigned how)
{
    jobs_lock(jobs);
    int r = jobs_append(jobs, job, how);
    if (r == 0 && how & TC_JOBS_SILENTLY) {
        atomic_store(&jobs->flagged, 1);
        atomic_fetch_add(&jobs->refs, 1);
    }
    else if (r == 0) {
        jobs_wake(jobs);
    }
    jobs_unlock(jobs);
    if (r < 0) {
        PyErr_NoMemory();
    }
    return r;
}

int
tc_jobs_reserve(tc_jobs *jobs)
{
    jobs_lock(jobs);
    int r = jobs_make_room(jobs);
    if (r == 0) {
        jobs->reserved++;
    }
    jobs_unlock(jobs);
    if (r < 0) {
        PyErr_NoMemory();
    }
    return r;
}

void
tc_jobs_unreserve(tc_jobs *jobs)
{
    jobs_lock(jobs);
    jobs->reserved--;
    jobs_unlock(jobs);
}

int
tc_jobs_pop(tc_jobs *jobs, tc_job *job)
{
    jobs_lock(jobs);
    int found = jobs->n > 0;
    if (found) {
        *job = jobs->ring[jobs->first];
        jobs->first = (jobs->first + 1) & (jobs->capacity - 1);
        jobs->n--;
    }
    jobs_unlock(jobs);
    return found;
}

/* --- idempotent jobs ----------------------------------------------------- */

/* Lock held, table not empty. */
static jobs_once **
jobs_bucket(tc_jobs *jobs, Py_hash_t hash)
{
    return &jobs->buckets[(size_t)hash & (jobs->n_buckets - 1)];
}

/* Lock held. Room for one more; 0, or -1 without exception. */
static int
jobs_grow_table(tc_jobs *jobs)
{
    if (jobs->n_once < jobs->n_buckets) {
        return 0;
    }
    size_t n = jobs->n_buckets == 0 ? JOBS_MIN_BUCKETS : jobs->n_buckets * 2;
    jobs_once **buckets = PyMem_RawCalloc(n, sizeof(*buckets));
    if (buckets == NULL) {
        return -1;
    }
    PyMem_RawFree(jobs->buckets);
    jobs->buckets = buckets;
    jobs->n_buckets = n;
    for (tc_link *link = jobs->once.next; link != &jobs->once;
         link = link->next) {
        jobs_once *once = TC_CONTAINER_OF(link, jobs_once, order);
        jobs_once **bucket = jobs_bucket(jobs, once->hash);
        once->next = *bucket;
        *bucket = once;
    }
    return 0;
}

/* Lock held. The queued job with this hash that has the lowest serial of at
   least `from`; borrowed, or NULL. */
static jobs_once *
jobs_find(tc_jobs *jobs, Py_hash_t hash, uint64_t from)
{
    jobs_once *found = NULL;
    if (jobs->n_buckets == 0) {
        return NULL;
    }
    /* Youngest first. */
    for (jobs_once *once = *jobs_bucket(jobs, hash);
         once != NULL && once->serial >= from; once = once->next) {
        if (once->hash == hash) {
            found = once;
        }
    }
    return found;
}

/* Lock held. Queues `once`; steals it if 0. -1 without exception. */
static int
jobs_add_once(tc_jobs *jobs, jobs_once *once)
{
    if (jobs_grow_table(jobs) < 0) {
        return -1;
    }
    jobs_once **bucket = jobs_bucket(jobs, once->hash);
    once->serial = jobs->next_serial++;
    once->next = *bucket;
    *bucket = once;
    tc_list_append(&jobs->once, &once->order);
    jobs->n_once++;
    return 0;
}

/* Lock held. */
static void
jobs_unlink_once(tc_jobs *jobs, jobs_once *once)
{
    jobs_once **at = jobs_bucket(jobs, once->hash);
    while (*at != once) {
        at = &(*at)->next;
    }
    *at = once->next;
    tc_list_remove(&once->order);
    jobs->n_once--;
}

/* Compare `job` (borrowed) with the queued job `serial`, which is `other`
   (stolen). 1 if it is equal and still queued, 0 if not, -1 with exception.
   Asking for a job once more wakes its task once more. */
static int
jobs_is_same(tc_jobs *jobs, PyObject *job, PyObject *other, Py_hash_t hash,
             uint64_t serial)
{
    int equal = PyObject_RichCompareBool(other, job, Py_EQ);
    Py_DECREF(other);
    if (equal <= 0) {
        return equal;
    }
    jobs_lock(jobs);
    jobs_once *once = jobs_find(jobs, hash, serial);
    int queued = once != NULL && once->serial == serial;
    if (queued) {
        jobs_wake(jobs);
    }
    jobs_unlock(jobs);
    return queued;
}

/* Steals `once` if 0 and *added. */
static int
jobs_try_push_once(tc_jobs *jobs, jobs_once *once, int *added)
{
    uint64_t from = 0;
    *added = 0;
    for (;;) {
        PyObject *other = NULL;
        uint64_t serial = 0;
        int r = 0;
        jobs_lock(jobs);
        jobs_once *rival = jobs_find(jobs, once->hash, from);
        if (jobs->closed) {
            r = 1;
        }
        else if (rival != NULL) {
            other = Py_NewRef(rival->job);
            serial = rival->serial;
        }
        else if (jobs_add_once(jobs, once) < 0) {
            r = -1;
        }
        else {
            *added = 1;
            jobs_wake(jobs);
        }
        jobs_unlock(jobs);
        if (other == NULL) {
            if (r < 0) {
                PyErr_NoMemory();
            }
            return r;
        }
        int same = jobs_is_same(jobs, once->job, other, once->hash, serial);
        if (same != 0) {
            return same < 0 ? -1 : 0;
        }
        from = serial + 1;
    }
}

int
tc_jobs_push_once(tc_jobs *jobs, PyObject *fn, PyObject *args)
{
    int r = -1;
    int added = 0;
    PyObject *job = PyTuple_Pack(2, fn, args);
    if (job == NULL) {
        return -1;
    }
    Py_hash_t hash = PyObject_Hash(job);
    if (hash == -1) {
        goto done;
    }
    jobs_once *once = PyMem_RawMalloc(sizeof(*once));
    if (once == NULL) {
        PyErr_NoMemory();
        goto done;
    }
    tc_list_init(&once->order);
    once->job = Py_NewRef(job);
    once->hash = hash;
    r = jobs_try_push_once(jobs, once, &added);
    if (!added) {
        Py_DECREF(once->job);
        PyMem_RawFree(once);
    }
done:
    Py_DECREF(job);
    return r;
}

uint64_t
tc_jobs_serial(tc_jobs *jobs)
{
    jobs_lock(jobs);
    uint64_t serial = jobs->next_serial;
    jobs_unlock(jobs);
    return serial;
}

PyObject *
tc_jobs_pop_once(tc_jobs *jobs, uint64_t before)
{
    jobs_once *once = NULL;
    jobs_lock(jobs);
    tc_link *link = tc_list_first(&jobs->once);
    if (link != NULL) {
        once = TC_CONTAINER_OF(link, jobs_once, order);
        if (once->serial < before) {
            jobs_unlink_once(jobs, once);
        }
        else {
            once = NULL;
        }
    }
    jobs_unlock(jobs);
    if (once == NULL) {
        return NULL;
    }
    PyObject *job = once->job;
    PyMem_RawFree(once);
    return job;
}

/* --- both -------------------------------------------------------------- */

size_t
tc_jobs_size(tc_jobs *jobs)
{
    jobs_lock(jobs);
    size_t n = jobs->n + jobs->n_once;
    jobs_unlock(jobs);
    return n;
}

size_t
tc_jobs_size_fifo(tc_jobs *jobs)
{
    jobs_lock(jobs);
    size_t n = jobs->n;
    jobs_unlock(jobs);
    return n;
}

void
tc_jobs_close(tc_jobs *jobs)
{
    jobs_lock(jobs);
    jobs->closed = 1;
    jobs_unlock(jobs);
}

void
tc_jobs_forget_wake_fd(tc_jobs *jobs)
{
    jobs_lock(jobs);
    jobs->wake_fd = -1;
    jobs_unlock(jobs);
}

void
tc_jobs_replace_wake_fd(tc_jobs *jobs, int fd)
{
    jobs_lock(jobs);
    jobs->wake_fd = fd;
    atomic_store(&jobs->written, 0);
    if (atomic_load(&jobs->flagged)) {
        jobs_ring(jobs);
    }
    jobs_unlock(jobs);
}

void
tc_jobs_discard(tc_jobs *jobs)
{
    tc_job job;
    PyObject *once;
    while (tc_jobs_pop(jobs, &job)) {
        if (job.native != NULL && job.native->discard != NULL) {
            job.native->discard(job.obj);
        }
        Py_DECREF(job.obj);
        Py_XDECREF(job.args);
    }
    while ((once = tc_jobs_pop_once(jobs, UINT64_MAX)) != NULL) {
        Py_DECREF(once);
    }
}
