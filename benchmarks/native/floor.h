/* floor.h - the floor: what a native run loop for coroutines costs at least.
 *
 * An extension module that does what no such loop can avoid, and nothing else:
 * no cancellation, no Ctrl-C, no instruments, no errors but tracebacks on the
 * standard error. It is there to be measured beside loops that have all of
 * that, and no good for anything else: one loop for the process, one thread.
 *
 * floor.c: the loop, tasks, nurseries, sleep, scopes. floor_sync.c: events,
 * locks, channels. floor_net.c: sockets.
 */
#ifndef FLOOR_H
#define FLOOR_H

#define PY_SSIZE_T_CLEAN
#include <Python.h>

typedef struct Task Task;

/* A place in the heap of deadlines. */
typedef struct {
    double deadline;       /* of CLOCK_MONOTONIC, in seconds */
    Py_ssize_t index;      /* in the heap; -1: not there */
    Task *task;            /* borrowed: to wake; NULL: nobody */
} Timer;

typedef struct {
    PyObject_HEAD
    Py_ssize_t children;
    Task *waiting;         /* borrowed: the parent in __aexit__, or NULL */
} Nursery;

struct Task {
    PyObject_HEAD
    PyObject *coroutine;   /* owned */
    PyObject *context;     /* owned */
    Nursery *nursery;      /* owned or NULL */
    Task *next;            /* borrowed: in the queue of whatever it waits for */
    int yielded;           /* a checkpoint is halfway */
    Timer timer;
    void *spare[8];        /* what a real task has to remember as well */
};

/* First come, first served. The links are Task.next. */
typedef struct {
    Task *head, *tail;
} Queue;

typedef struct {
    Queue ready;
    Task *current;         /* whose step this is */
    Py_ssize_t live;       /* tasks that have not ended */
    Py_ssize_t sources;    /* what the kernel is asked about */
    int epoll;             /* -1: none yet */
    int polls;             /* ask the kernel on every pass? */
    int stopped;
} Loop;

extern Loop loop;

static inline void
queue_push(Queue *queue, Task *task)
{
    task->next = NULL;
    if (queue->tail != NULL) {
        queue->tail->next = task;
    }
    else {
        queue->head = task;
    }
    queue->tail = task;
}

static inline void
task_ready(Task *task)
{
    queue_push(&loop.ready, task);
}

/* --- awaitables ---------------------------------------------------------- */

/* What an operation returns, to be awaited: `step` is called until it does
   not yield any more, at first with phase 0. */
typedef struct Op Op;

struct Op {
    PyObject_HEAD
    PyObject *(*step)(Op *);
    PyObject *owner;       /* owned or NULL: what it is done to */
    PyObject *value;       /* owned or NULL: to hand over, or to return */
    Task *task;            /* borrowed: who waits, if next is in use */
    Op *next;              /* borrowed: in a queue, or among the free ones */
    double seconds;
    Py_ssize_t size;       /* how much to receive, or was sent */
    Py_buffer buffer;      /* has obj NULL if there is none */
    int phase;
};

/* New reference. Takes references of owner and value (borrowed, or NULL). */
PyObject *op_new(PyObject *(*step)(Op *), PyObject *owner, PyObject *value);

/* The ends of a step: yield until somebody wakes the task; return None;
   return a value, whose reference is taken. */
static inline PyObject *
op_yield(Op *op, int phase)
{
    op->phase = phase;
    return Py_NewRef(Py_None);
}

static inline PyObject *
op_none(void)
{
    return NULL;
}

PyObject *op_return(PyObject *value);

/* Awaiting it takes no step at all. New reference. */
PyObject *no_checkpoint(void);

/* --- rooms --------------------------------------------------------------- */

int floor_epoll(void);     /* makes sure that there is one; -1: error */
int task_start(PyObject *coroutine, Nursery *nursery);
void net_event(void *source, unsigned events);

int floor_add_type(PyObject *module, PyTypeObject *type);
int floor_add_sync(PyObject *module);
int floor_add_net(PyObject *module);

#endif
