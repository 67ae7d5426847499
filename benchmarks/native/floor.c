/* floor.c - the loop, tasks, nurseries, sleep, scopes. (See floor.h.) */
#include "floor.h"

#include <errno.h>
#include <sys/epoll.h>
#include <time.h>

Loop loop = {.epoll = -1, .polls = 1};

static double
clock_now(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (double)now.tv_sec + (double)now.tv_nsec * 1e-9;
}

/* --- deadlines: a binary heap -------------------------------------------- */

static Timer **heap;           /* the timers are borrowed */
static Py_ssize_t heap_length, heap_capacity;

static void
heap_put(Py_ssize_t index, Timer *timer)
{
    heap[index] = timer;
    timer->index = index;
}

static void
heap_up(Py_ssize_t index)
{
    Timer *timer = heap[index];
    while (index > 0) {
        Py_ssize_t parent = (index - 1) / 2;
        if (heap[parent]->deadline <= timer->deadline) {
            break;
        }
        heap_put(index, heap[parent]);
        index = parent;
    }
    heap_put(index, timer);
}

static void
heap_down(Py_ssize_t index)
{
    Timer *timer = heap[index];
    for (;;) {
        Py_ssize_t child = 2 * index + 1;
        if (child >= heap_length) {
            break;
        }
        if (child + 1 < heap_length
            && heap[child + 1]->deadline < heap[child]->deadline)
        {
            child++;
        }
        if (timer->deadline <= heap[child]->deadline) {
            break;
        }
        heap_put(index, heap[child]);
        index = child;
    }
    heap_put(index, timer);
}

static int
timer_start(Timer *timer, double seconds)
{
    if (heap_length == heap_capacity) {
        Py_ssize_t capacity = heap_capacity ? heap_capacity * 2 : 64;
        Timer **bigger = PyMem_Resize(heap, Timer *, capacity);
        if (bigger == NULL) {
            PyErr_NoMemory();
            return -1;
        }
        heap = bigger;
        heap_capacity = capacity;
    }
    timer->deadline = clock_now() + seconds;
    heap_put(heap_length, timer);
    heap_up(heap_length++);
    return 0;
}

static void
timer_stop(Timer *timer)
{
    Py_ssize_t index = timer->index;
    if (index < 0) {
        return;
    }
    timer->index = -1;
    if (index != --heap_length) {
        heap_put(index, heap[heap_length]);
        heap_up(index);
        heap_down(heap[index]->index);
    }
}

static void
timers_expire(void)
{
    double now = clock_now();
    while (heap_length > 0 && heap[0]->deadline <= now) {
        Timer *timer = heap[0];
        timer_stop(timer);
        if (timer->task != NULL) {
            task_ready(timer->task);
        }
    }
}

/* --- awaitables ---------------------------------------------------------- */

#define MOST_FREE_OPS 1024

static PyTypeObject OpType;
static Op *free_ops;
static int n_free_ops;

PyObject *
op_new(PyObject *(*step)(Op *), PyObject *owner, PyObject *value)
{
    Op *op = free_ops;
    if (op != NULL) {
        free_ops = op->next;
        n_free_ops--;
        PyObject_Init((PyObject *)op, &OpType);
    }
    else {
        op = PyObject_New(Op, &OpType);
        if (op == NULL) {
            return NULL;
        }
    }
    op->step = step;
    op->owner = Py_XNewRef(owner);
    op->value = Py_XNewRef(value);
    op->task = NULL;
    op->next = NULL;
    op->buffer.obj = NULL;
    op->phase = 0;
    return (PyObject *)op;
}

static void
op_dealloc(Op *op)
{
    Py_XDECREF(op->owner);
    Py_XDECREF(op->value);
    if (op->buffer.obj != NULL) {
        PyBuffer_Release(&op->buffer);
    }
    if (n_free_ops < MOST_FREE_OPS) {
        op->next = free_ops;
        free_ops = op;
        n_free_ops++;
    }
    else {
        PyObject_Free(op);
    }
}

PyObject *
op_return(PyObject *value)
{
    if (value == Py_None) {
        Py_DECREF(value);
    }
    else if (value != NULL) {
        PyObject *error = value;
        /* These would be taken for arguments, or for the error itself. */
        if (PyTuple_Check(value) || PyExceptionInstance_Check(value)) {
            error = PyObject_CallOneArg(PyExc_StopIteration, value);
            Py_DECREF(value);
            if (error == NULL) {
                return NULL;
            }
        }
        PyErr_SetObject(PyExc_StopIteration, error);
        Py_DECREF(error);
    }
    return NULL;
}

static PyObject *
op_iternext(Op *op)
{
    return op->step(op);
}

static PyObject *
await_self(PyObject *self)
{
    return Py_NewRef(self);
}

static PyAsyncMethods awaits_itself = {.am_await = await_self};

static PyTypeObject OpType = {
    PyVarObject_HEAD_INIT(NULL, 0)
    .tp_name = "floor_ext.Op",
    .tp_basicsize = sizeof(Op),
    .tp_flags = Py_TPFLAGS_DEFAULT,
    .tp_dealloc = (destructor)op_dealloc,
    .tp_iter = PyObject_SelfIter,
    .tp_iternext = (iternextfunc)op_iternext,
    .tp_as_async = &awaits_itself,
};

/* Two that need no state of their own, so there is one of each: a checkpoint
   yields once, and the other one not at all. */

static PyObject *
checkpoint_iternext(PyObject *Py_UNUSED(self))
{
    Task *task = loop.current;
    if (task->yielded) {
        task->yielded = 0;
        return NULL;
    }
    task->yielded = 1;
    task_ready(task);
    return Py_NewRef(Py_None);
}

static PyObject *
no_checkpoint_iternext(PyObject *Py_UNUSED(self))
{
    return NULL;
}

static PyTypeObject CheckpointType = {
    PyVarObject_HEAD_INIT(NULL, 0)
    .tp_name = "floor_ext.Checkpoint",
    .tp_basicsize = sizeof(PyObject),
    .tp_flags = Py_TPFLAGS_DEFAULT,
    .tp_iter = PyObject_SelfIter,
    .tp_iternext = checkpoint_iternext,
    .tp_as_async = &awaits_itself,
};

static PyTypeObject NoCheckpointType = {
    PyVarObject_HEAD_INIT(NULL, 0)
    .tp_name = "floor_ext.NoCheckpoint",
    .tp_basicsize = sizeof(PyObject),
    .tp_flags = Py_TPFLAGS_DEFAULT,
    .tp_iter = PyObject_SelfIter,
    .tp_iternext = no_checkpoint_iternext,
    .tp_as_async = &awaits_itself,
};

static PyObject *the_checkpoint, *the_no_checkpoint;    /* owned */

PyObject *
no_checkpoint(void)
{
    return Py_NewRef(the_no_checkpoint);
}

/* --- tasks --------------------------------------------------------------- */

static PyTypeObject TaskType;

/* Steals the coroutine. The loop owns the task until it ends. */
int
task_start(PyObject *coroutine, Nursery *nursery)
{
    Task *task = PyObject_GC_New(Task, &TaskType);
    if (task == NULL) {
        Py_DECREF(coroutine);
        return -1;
    }
    task->coroutine = coroutine;
    task->nursery = (Nursery *)Py_XNewRef((PyObject *)nursery);
    task->yielded = 0;
    task->timer.index = -1;
    task->timer.task = task;
    task->context = PyContext_CopyCurrent();
    if (task->context == NULL) {
        Py_DECREF(task);
        return -1;
    }
    PyObject_GC_Track(task);
    if (nursery != NULL) {
        nursery->children++;
    }
    loop.live++;
    task_ready(task);
    return 0;
}

static void
task_end(Task *task)
{
    Nursery *nursery = task->nursery;
    loop.live--;
    if (nursery != NULL && --nursery->children == 0
        && nursery->waiting != NULL)
    {
        task_ready(nursery->waiting);
        nursery->waiting = NULL;
    }
    Py_DECREF(task);
}

static void
task_step(Task *task)
{
    PyObject *result = NULL;
    loop.current = task;
    if (PyContext_Enter(task->context) < 0) {
        PyErr_Print();
    }
    PySendResult how = PyIter_Send(task->coroutine, Py_None, &result);
    if (how == PYGEN_ERROR) {
        PyErr_Print();
    }
    if (PyContext_Exit(task->context) < 0) {
        PyErr_Print();
    }
    Py_XDECREF(result);
    if (how != PYGEN_NEXT) {
        task_end(task);
    }
}

static void
task_dealloc(Task *task)
{
    PyObject_GC_UnTrack(task);
    Py_DECREF(task->coroutine);
    Py_XDECREF(task->context);
    Py_XDECREF(task->nursery);
    PyObject_GC_Del(task);
}

static int
task_traverse(Task *task, visitproc visit, void *arg)
{
    Py_VISIT(task->coroutine);
    Py_VISIT(task->context);
    Py_VISIT(task->nursery);
    return 0;
}

static PyTypeObject TaskType = {
    PyVarObject_HEAD_INIT(NULL, 0)
    .tp_name = "floor_ext.Task",
    .tp_basicsize = sizeof(Task),
    .tp_flags = Py_TPFLAGS_DEFAULT | Py_TPFLAGS_HAVE_GC,
    .tp_dealloc = (destructor)task_dealloc,
    .tp_traverse = (traverseproc)task_traverse,
};

/* --- nurseries ----------------------------------------------------------- */

static PyTypeObject NurseryType;

static PyObject *
nursery_new(PyObject *Py_UNUSED(type), PyObject *const *Py_UNUSED(args),
            size_t Py_UNUSED(nargsf), PyObject *Py_UNUSED(names))
{
    Nursery *self = PyObject_New(Nursery, &NurseryType);
    if (self != NULL) {
        self->children = 0;
        self->waiting = NULL;
    }
    return (PyObject *)self;
}

static PyObject *
nursery_start_soon(PyObject *self, PyObject *const *args, Py_ssize_t nargs)
{
    if (nargs == 0) {
        PyErr_SetString(PyExc_TypeError, "start_soon() takes a function");
        return NULL;
    }
    PyObject *coroutine = PyObject_Vectorcall(
        args[0], args + 1, (nargs - 1) | PY_VECTORCALL_ARGUMENTS_OFFSET, NULL);
    if (coroutine == NULL || task_start(coroutine, (Nursery *)self) < 0) {
        return NULL;
    }
    Py_RETURN_NONE;
}

static PyObject *
enter_step(Op *op)
{
    return op_return(Py_NewRef(op->owner));
}

static PyObject *
exit_step(Op *op)
{
    Nursery *nursery = (Nursery *)op->owner;
    if (op->phase == 1) {
        return op_none();
    }
    if (nursery->children == 0) {
        task_ready(loop.current);
    }
    else {
        nursery->waiting = loop.current;
    }
    return op_yield(op, 1);
}

static PyObject *
nursery_aenter(PyObject *self, PyObject *Py_UNUSED(ignored))
{
    return op_new(enter_step, self, NULL);
}

static PyObject *
nursery_aexit(PyObject *self, PyObject *const *Py_UNUSED(args),
              Py_ssize_t Py_UNUSED(nargs))
{
    return op_new(exit_step, self, NULL);
}

static PyMethodDef nursery_methods[] = {
    {"start_soon", (PyCFunction)(void (*)(void))nursery_start_soon,
     METH_FASTCALL, NULL},
    {"__aenter__", nursery_aenter, METH_NOARGS, NULL},
    {"__aexit__", (PyCFunction)(void (*)(void))nursery_aexit, METH_FASTCALL,
     NULL},
    {NULL, NULL, 0, NULL},
};

static PyTypeObject NurseryType = {
    PyVarObject_HEAD_INIT(NULL, 0)
    .tp_name = "floor_ext.Nursery",
    .tp_basicsize = sizeof(Nursery),
    .tp_flags = Py_TPFLAGS_DEFAULT,
    .tp_dealloc = (destructor)PyObject_Free,
    .tp_methods = nursery_methods,
    .tp_vectorcall = nursery_new,
};

/* --- scopes: a deadline that comes to nothing ---------------------------- */

typedef struct {
    PyObject_HEAD
    double seconds;        /* negative: no deadline */
    Timer timer;
} Scope;

static PyTypeObject ScopeType;

static PyObject *
scope_new(PyObject *Py_UNUSED(type), PyObject *const *args, size_t nargsf,
          PyObject *Py_UNUSED(names))
{
    double seconds = -1.0;
    if (PyVectorcall_NARGS(nargsf) > 0) {
        seconds = PyFloat_AsDouble(args[0]);
        if (seconds == -1.0 && PyErr_Occurred()) {
            return NULL;
        }
    }
    Scope *self = PyObject_New(Scope, &ScopeType);
    if (self != NULL) {
        self->seconds = seconds;
        self->timer.index = -1;
        self->timer.task = NULL;
    }
    return (PyObject *)self;
}

static void
scope_dealloc(Scope *self)
{
    timer_stop(&self->timer);
    PyObject_Free(self);
}

static PyObject *
scope_enter(Scope *self, PyObject *Py_UNUSED(ignored))
{
    if (self->seconds >= 0 && timer_start(&self->timer, self->seconds) < 0) {
        return NULL;
    }
    return Py_NewRef((PyObject *)self);
}

static PyObject *
scope_exit(Scope *self, PyObject *const *Py_UNUSED(args),
           Py_ssize_t Py_UNUSED(nargs))
{
    timer_stop(&self->timer);
    Py_RETURN_FALSE;
}

static PyMethodDef scope_methods[] = {
    {"__enter__", (PyCFunction)scope_enter, METH_NOARGS, NULL},
    {"__exit__", (PyCFunction)(void (*)(void))scope_exit, METH_FASTCALL, NULL},
    {NULL, NULL, 0, NULL},
};

static PyTypeObject ScopeType = {
    PyVarObject_HEAD_INIT(NULL, 0)
    .tp_name = "floor_ext.Scope",
    .tp_basicsize = sizeof(Scope),
    .tp_flags = Py_TPFLAGS_DEFAULT,
    .tp_dealloc = (destructor)scope_dealloc,
    .tp_methods = scope_methods,
    .tp_vectorcall = scope_new,
};

/* --- the loop ------------------------------------------------------------ */

int
floor_epoll(void)
{
    if (loop.epoll < 0) {
        loop.epoll = epoll_create1(EPOLL_CLOEXEC);
        if (loop.epoll < 0) {
            PyErr_SetFromErrno(PyExc_OSError);
            return -1;
        }
    }
    return 0;
}

/* Milliseconds that the kernel may wait; -1: for ever. */
static int
loop_timeout(void)
{
    if (loop.ready.head != NULL) {
        return 0;
    }
    if (heap_length == 0) {
        return -1;
    }
    double seconds = heap[0]->deadline - clock_now();
    return seconds <= 0 ? 0 : seconds > 1e6 ? 1000000000
                                            : (int)(seconds * 1e3) + 1;
}

static int
loop_poll(int timeout)
{
    struct epoll_event events[1024];
    int n;
    if (timeout == 0) {
        n = epoll_wait(loop.epoll, events, Py_ARRAY_LENGTH(events), 0);
    }
    else {
        Py_BEGIN_ALLOW_THREADS
        n = epoll_wait(loop.epoll, events, Py_ARRAY_LENGTH(events), timeout);
        Py_END_ALLOW_THREADS
    }
    if (n < 0 && errno != EINTR) {
        PyErr_SetFromErrno(PyExc_OSError);
        return -1;
    }
    if (n < 0 && PyErr_CheckSignals() < 0) {
        return -1;
    }
    for (int i = 0; i < n; i++) {
        net_event(events[i].data.ptr, events[i].events);
    }
    return 0;
}

static int
loop_run(void)
{
    if (floor_epoll() < 0) {
        return -1;
    }
    loop.stopped = 0;
    while (!loop.stopped && (loop.live > 0 || loop.sources > 0)) {
        /* A pass is a batch: who gets ready meanwhile waits for the next. */
        Task *task = loop.ready.head;
        loop.ready.head = loop.ready.tail = NULL;
        while (task != NULL) {
            Task *next = task->next;
            task_step(task);
            task = next;
        }
        if (loop.stopped || (loop.live == 0 && loop.sources == 0)) {
            break;
        }
        int timeout = loop_timeout();
        if ((timeout != 0 || loop.polls) && loop_poll(timeout) < 0) {
            return -1;
        }
        if (heap_length > 0) {
            timers_expire();
        }
    }
    return 0;
}

static PyObject *
floor_run(PyObject *Py_UNUSED(module), PyObject *coroutines)
{
    if (!PyList_Check(coroutines)) {
        PyErr_SetString(PyExc_TypeError, "run() takes a list of coroutines");
        return NULL;
    }
    for (Py_ssize_t i = 0; i < PyList_GET_SIZE(coroutines); i++) {
        PyObject *coroutine = Py_NewRef(PyList_GET_ITEM(coroutines, i));
        if (task_start(coroutine, NULL) < 0) {
            return NULL;
        }
    }
    if (loop_run() < 0) {
        return NULL;
    }
    Py_RETURN_NONE;
}

static PyObject *
floor_stop(PyObject *Py_UNUSED(module), PyObject *Py_UNUSED(ignored))
{
    loop.stopped = 1;
    Py_RETURN_NONE;
}

static PyObject *
floor_opts(PyObject *Py_UNUSED(module), PyObject *args, PyObject *kwargs)
{
    static char *names[] = {"poll", NULL};
    if (!PyArg_ParseTupleAndKeywords(args, kwargs, "|p", names, &loop.polls)) {
        return NULL;
    }
    Py_RETURN_NONE;
}

static PyObject *
floor_checkpoint(PyObject *Py_UNUSED(module), PyObject *Py_UNUSED(ignored))
{
    return Py_NewRef(the_checkpoint);
}

static PyObject *
floor_no_checkpoint(PyObject *Py_UNUSED(module), PyObject *Py_UNUSED(ignored))
{
    return no_checkpoint();
}

static PyObject *
sleep_step(Op *op)
{
    if (op->phase == 1) {
        return op_none();
    }
    if (op->seconds <= 0) {
        task_ready(loop.current);
    }
    else if (timer_start(&loop.current->timer, op->seconds) < 0) {
        return NULL;
    }
    return op_yield(op, 1);
}

static PyObject *
floor_sleep(PyObject *Py_UNUSED(module), PyObject *arg)
{
    double seconds = PyFloat_AsDouble(arg);
    if (seconds == -1.0 && PyErr_Occurred()) {
        return NULL;
    }
    Op *op = (Op *)op_new(sleep_step, NULL, NULL);
    if (op != NULL) {
        op->seconds = seconds;
    }
    return (PyObject *)op;
}

/* --- the module ---------------------------------------------------------- */

int
floor_add_type(PyObject *module, PyTypeObject *type)
{
    return PyModule_AddType(module, type);
}

static PyMethodDef floor_functions[] = {
    {"run", floor_run, METH_O, NULL},
    {"stop", floor_stop, METH_NOARGS, NULL},
    {"opts", (PyCFunction)(void (*)(void))floor_opts,
     METH_VARARGS | METH_KEYWORDS, NULL},
    {"checkpoint", floor_checkpoint, METH_NOARGS, NULL},
    {"no_checkpoint", floor_no_checkpoint, METH_NOARGS, NULL},
    {"sleep", floor_sleep, METH_O, NULL},
    {NULL, NULL, 0, NULL},
};

static struct PyModuleDef floor_module = {
    PyModuleDef_HEAD_INIT,
    .m_name = "floor_ext",
    .m_doc = "What a run loop for coroutines costs at least.",
    .m_size = -1,
    .m_methods = floor_functions,
};

PyMODINIT_FUNC
PyInit_floor_ext(void)
{
    PyObject *module = PyModule_Create(&floor_module);
    if (module == NULL) {
        return NULL;
    }
    if (PyType_Ready(&OpType) < 0 || PyType_Ready(&CheckpointType) < 0
        || PyType_Ready(&NoCheckpointType) < 0 || PyType_Ready(&TaskType) < 0
        || floor_add_type(module, &NurseryType) < 0
        || floor_add_type(module, &ScopeType) < 0
        || floor_add_sync(module) < 0 || floor_add_net(module) < 0)
    {
        goto error;
    }
    the_checkpoint = (PyObject *)PyObject_New(PyObject, &CheckpointType);
    the_no_checkpoint = (PyObject *)PyObject_New(PyObject, &NoCheckpointType);
    if (the_checkpoint == NULL || the_no_checkpoint == NULL) {
        goto error;
    }
    return module;

error:
    Py_DECREF(module);
    return NULL;
}
