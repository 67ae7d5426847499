/* jobs.h - the part of the entry queue that any thread may touch: the jobs,
 * and what tells the run loop about them.
 *
 * Attached thread state required but where said, loop thread only where said.
 */
#ifndef TC_KERNEL_JOBS_H
#define TC_KERNEL_JOBS_H

#include "../glue/state.h"
#include "../base/list.h"

#include <stdatomic.h>

/* A job written in C. */
typedef struct tc_native_job {
    /* 0, or -1 with exception, which counts as the job's failure. Runs in
       the queue's task. */
    int (*run)(PyObject *obj);
    /* The run ended without running it. Runs Python, raises nothing. NULL:
       nothing to do but dropping the reference. */
    void (*discard)(PyObject *obj);
} tc_native_job;

/* One queued job, by value. */
typedef struct tc_job {
    const tc_native_job *native;  /* static; NULL: call obj(*args) */
    PyObject *obj;                /* owned */
    PyObject *args;               /* owned tuple; NULL for native ones */
} tc_job;

struct jobs_once;

typedef struct tc_jobs {
    PyThread_type_lock lock;      /* owned; guards all up to `flagged` */
    tc_job *ring;                 /* owned; FIFO, n from first, wrapping */
    size_t first;
    size_t n;
    size_t capacity;              /* 0 or a power of two */
    size_t reserved;              /* of the capacity: n + reserved fit in */
    tc_link once;                 /* of idempotent jobs, in order */
    struct jobs_once **buckets;   /* owned; the same ones by hash */
    size_t n_buckets;             /* 0 or a power of two */
    size_t n_once;
    uint64_t next_serial;         /* of idempotent jobs */
    int wake_fd;                  /* borrowed; non-blocking socket, or -1 */
    int closed;                   /* refuses new jobs */
    atomic_int flagged;           /* something came that nobody has seen */
    atomic_int sleeping;          /* a new job must write to wake_fd */
    atomic_int written;           /* somebody did, or is just doing it */
    atomic_int refs;              /* the queue, and who is yet to ring */
    unsigned forks;               /* tc_fork_count() when the lock was made */
} tc_jobs;

/* NULL with exception. free drops what is left. */
tc_jobs *tc_jobs_new(void);
void tc_jobs_free(tc_jobs *jobs);
int tc_jobs_traverse(tc_jobs *jobs, visitproc visit, void *arg);

/* Add a job, unless the queue is closed: 0, 1 if it is closed, or -1 with
   exception. Signal handlers and finalizers included. job's references are
   stolen if 0. Silently: a sleeping loop is woken by tc_jobs_ring() only,
   which the caller then owes, soon and once. Reserved: into the room that is
   kept for it, so that there is no exception; closed or not, it is used up. */
enum { TC_JOBS_SILENTLY = 1, TC_JOBS_RESERVED = 2 };
int tc_jobs_push(tc_jobs *jobs, tc_job job, unsigned how);
/* Keep room for one job more: 0, or -1 with exception. Give it up again. */
int tc_jobs_reserve(tc_jobs *jobs);
void tc_jobs_unreserve(tc_jobs *jobs);
/* Without the GIL, which the loop is going to take. jobs may be gone then. */
void tc_jobs_ring(tc_jobs *jobs);
/* Add fn(*args) unless an equal job is queued. Results as above. Borrowed. */
int tc_jobs_push_once(tc_jobs *jobs, PyObject *fn, PyObject *args);

/* Loop thread. Take the oldest job: 1, or 0 if there is none. The caller owns
   what is in *job. */
int tc_jobs_pop(tc_jobs *jobs, tc_job *job);
/* The oldest idempotent job that was there when tc_jobs_serial() returned
   `before`: a new reference to its (fn, args), or NULL without exception. */
PyObject *tc_jobs_pop_once(tc_jobs *jobs, uint64_t before);
uint64_t tc_jobs_serial(tc_jobs *jobs);

size_t tc_jobs_size(tc_jobs *jobs);
size_t tc_jobs_size_fifo(tc_jobs *jobs);
/* No job is accepted any more. */
void tc_jobs_close(tc_jobs *jobs);
/* Nobody writes to wake_fd any more; it may be closed. */
void tc_jobs_forget_wake_fd(tc_jobs *jobs);
/* In a forked child, which has a new one: what came before wakes it, too. */
void tc_jobs_replace_wake_fd(tc_jobs *jobs, int fd);
/* Drop all jobs, discarding the native ones. */
void tc_jobs_discard(tc_jobs *jobs);

#endif
