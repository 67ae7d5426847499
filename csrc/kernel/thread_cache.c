/* thread_cache.c - ThreadCache, and what its threads run.
 *
 * Invariants
 * - A worker is on the idle list from when it has finished a job (before it
 *   delivers the result) until somebody gives it the next one or it gives up
 *   waiting. Whoever takes it off the list owns its fate: the cache then
 *   assigns a job and releases `wake` once, the worker itself then ends.
 * - A worker that is woken without a job ends: its start has failed, after the
 *   thread was there.
 * - fn, deliver and name are written by whoever assigns the job, before he
 *   releases `wake`, and read by the worker after it has acquired `wake`.
 * - The list lock guards the list alone, and is held for a few instructions,
 *   by threads with and without the GIL.
 * - The list borrows the workers: a worker's thread holds it while it can be
 *   on the list. The cache outlives its workers: each holds it.
 * - A closed cache has no idle workers: its interpreter ends, and waits for
 *   all threads. That of the process does not wait: there they are daemons.
 * - After a fork the child has none of these threads: the list is emptied and
 *   its lock replaced.
 */
#include "thread_cache.h"
#include "../base/list.h"
#include "../base/lookout.h"
#include "../base/thread_name.h"
#include "../glue/args.h"
#include "../glue/function.h"
#include "gil.h"
#include "thread_job.h"

typedef struct {
    PyObject_HEAD
    tc_state *st;                /* borrowed */
    PyThread_type_lock lock;     /* owned; guards idle */
    tc_link idle;                /* of workers, the last to finish first */
    int closed;                  /* nobody rests any more; under the lock */
    PyObject *weakrefs;
} ThreadCacheObject;

typedef struct {
    PyObject_HEAD
    tc_state *st;                /* borrowed */
    ThreadCacheObject *cache;    /* owned */
    tc_link link;                /* in cache->idle */
    PyThread_type_lock wake;     /* owned; held until there is a job */
    tc_lookout lookout;          /* for the next job */
    PyObject *fn;                /* owned or NULL: the job */
    PyObject *deliver;           /* owned or NULL */
    PyObject *name;              /* owned or NULL: None, or the thread's name
                                    during the job */
    PyObject *thread;            /* owned or NULL: its threading.Thread */
    PyObject *default_name;      /* owned or NULL: that thread's own name */
} ThreadWorkerObject;

/* The module trio_c._core._thread_cache. Borrowed; NULL with exception. */
static PyObject *
thread_cache_module(tc_state *st)
{
    PyObject *known = tc_state_peek(&st->thread_cache);
    if (known == NULL) {
        PyObject *module
            = PyImport_ImportModule("trio_c._core._thread_cache");
        if (module == NULL) {
            return NULL;
        }
        known = tc_state_publish(&st->thread_cache, module);
    }
    return known;
}

int
tc_thread_cache_load(tc_state *st)
{
    return thread_cache_module(st) == NULL ? -1 : 0;
}

/* --- names of threads -------------------------------------------------- */

/* What the system shows for a thread: ASCII. */
static void
thread_cache_set_os_name(unsigned long ident, PyObject *name)
{
    char text[TC_THREAD_NAME_SIZE];
    Py_ssize_t n = PyUnicode_GET_LENGTH(name);
    n = n < (Py_ssize_t)sizeof(text) ? n : (Py_ssize_t)sizeof(text) - 1;
    for (Py_ssize_t i = 0; i < n; i++) {
        Py_UCS4 c = PyUnicode_READ_CHAR(name, i);
        text[i] = (char)(c < 128 ? c : '?');
    }
    text[n] = '\0';
    tc_thread_name_set(ident, text);
}

/* set_os_thread_name(ident, name) */
static PyObject *
thread_cache_set_os_name_impl(FunctionObject *Py_UNUSED(func),
                              PyObject *Py_UNUSED(self),
                              PyObject *const *args, Py_ssize_t nargs,
                              PyObject *kwnames)
{
    static const tc_params params = {
        .fname = "set_os_thread_name",
        .names = {"ident", "name"},
        .n_positional = 2,
        .n_required = 2,
    };
    PyObject *a[2];
    if (tc_args_parse(&params, args, nargs, kwnames, a) < 0) {
        return NULL;
    }
    if (a[0] == Py_None) {
        Py_RETURN_NONE;              /* not started yet */
    }
    unsigned long ident = PyLong_AsUnsignedLong(a[0]);
    if (ident == (unsigned long)-1 && PyErr_Occurred()) {
        return NULL;
    }
    if (!PyUnicode_Check(a[1])) {
        PyErr_Format(PyExc_TypeError, "name must be a str, not %s",
                     Py_TYPE(a[1])->tp_name);
        return NULL;
    }
    thread_cache_set_os_name(ident, a[1]);
    Py_RETURN_NONE;
}

/* Rename this worker's thread. What goes wrong is reported, no more: the job
   matters. */
static void
thread_worker_rename(ThreadWorkerObject *self, PyObject *name)
{
    if (self->thread == NULL || name == NULL) {
        return;
    }
    PyObject *text = PyObject_Str(name);
    if (text == NULL
        || PyObject_SetAttr(self->thread, self->st->str_name, text) < 0) {
        PyErr_WriteUnraisable(self->thread);
    }
    else {
        thread_cache_set_os_name(PyThread_get_thread_ident(), text);
    }
    Py_XDECREF(text);
}

/* Learn which thread this is. */
static void
thread_worker_identify(ThreadWorkerObject *self)
{
    PyObject *threading = PyImport_ImportModule("threading");
    if (threading != NULL) {
        self->thread
            = PyObject_CallMethod(threading, "current_thread", NULL);
        Py_DECREF(threading);
    }
    if (self->thread != NULL) {
        self->default_name
            = PyObject_GetAttr(self->thread, self->st->str_name);
    }
    if (self->default_name == NULL) {
        PyErr_WriteUnraisable((PyObject *)self);
    }
}

/* --- a worker's life --------------------------------------------------- */

/* fn()'s outcome as an object of the outcome package. */
static PyObject *
thread_worker_capture(tc_state *st, PyObject *fn)
{
    PyObject *value = PyObject_CallNoArgs(fn);
    PyObject *type;
    if (value == NULL) {
        value = PyErr_GetRaisedException();
        type = tc_state_outcome_error(st);
    }
    else {
        type = tc_state_outcome_value(st);
    }
    PyObject *outcome
        = type == NULL ? NULL : PyObject_CallOneArg(type, value);
    Py_DECREF(value);
    return outcome;
}

static void
thread_worker_report_failure(ThreadWorkerObject *self)
{
    PyObject *exc = PyErr_GetRaisedException();
    PyObject *module = thread_cache_module(self->st);
    PyObject *done
        = module == NULL ? NULL
                         : PyObject_CallMethod(
                             module, "report_failed_delivery", "O", exc);
    if (done == NULL) {
        PyErr_WriteUnraisable((PyObject *)self);
    }
    Py_XDECREF(done);
    Py_DECREF(exc);
}

/* 1, or 0 if it is to end instead. */
static int
thread_worker_set_idle(ThreadWorkerObject *self)
{
    ThreadCacheObject *cache = self->cache;
    PyThread_acquire_lock(cache->lock, WAIT_LOCK);
    int open = !cache->closed;
    if (open) {
        tc_list_prepend(&cache->idle, &self->link);
    }
    PyThread_release_lock(cache->lock);
    return open;
}

/* *bell: whom to wake when the GIL is free, or NULL: he would only wait for
   it. 1 if there may be more jobs. */
static int
thread_worker_run_job(ThreadWorkerObject *self, tc_jobs **bell)
{
    tc_state *st = self->st;
    PyObject *fn = self->fn, *deliver = self->deliver, *name = self->name;
    self->fn = self->deliver = self->name = NULL;
    int native = Py_IS_TYPE(fn, st->ThreadJobType) && fn == deliver;
    PyObject *outcome = NULL;

    *bell = NULL;
    if (name != Py_None) {
        thread_worker_rename(self, name);
    }
    if (native) {
        tc_thread_job_run((ThreadJobObject *)fn);
    }
    else {
        outcome = thread_worker_capture(st, fn);
        if (outcome == NULL) {
            PyErr_WriteUnraisable(fn);
        }
    }
    if (name != Py_None) {
        thread_worker_rename(self, self->default_name);
    }
    Py_DECREF(name);
    Py_DECREF(fn);
    /* First this: whoever sees the result may want the next thread. */
    int goes_on = thread_worker_set_idle(self);
    if (native) {
        if (tc_thread_job_deliver((ThreadJobObject *)deliver, bell) < 0) {
            thread_worker_report_failure(self);
        }
    }
    else if (outcome != NULL) {
        PyObject *done = PyObject_CallOneArg(deliver, outcome);
        if (done == NULL) {
            thread_worker_report_failure(self);
        }
        Py_XDECREF(done);
    }
    Py_XDECREF(outcome);
    Py_DECREF(deliver);
    return goes_on;
}

/* _thread_cache.IDLE_TIMEOUT in microseconds; it may be patched any time. */
static PY_TIMEOUT_T
thread_worker_patience(tc_state *st)
{
    double seconds = -1.0;
    PyObject *module = thread_cache_module(st);
    PyObject *value
        = module == NULL ? NULL
                         : PyObject_GetAttr(module, st->str_idle_timeout);
    if (value != NULL) {
        seconds = PyFloat_AsDouble(value);
        Py_DECREF(value);
    }
    if (seconds == -1.0 && PyErr_Occurred()) {
        PyErr_WriteUnraisable(module);
    }
    if (!(seconds > 0.0)) {
        return 0;
    }
    return seconds < 1e6 ? (PY_TIMEOUT_T)(seconds * 1e6)
                         : (PY_TIMEOUT_T)1000000 * 1000000;
}

/* Without the GIL. 1 when there is a job, or none because the cache has been
   closed; 0 when nobody came. */
static int
thread_worker_wait(ThreadWorkerObject *self, PY_TIMEOUT_T patience)
{
    ThreadCacheObject *cache = self->cache;
    tc_lookout_begin(&self->lookout);
    while (tc_lookout_goes_on(&self->lookout)) {
        if (PyThread_acquire_lock(self->wake, NOWAIT_LOCK)) {
            tc_lookout_succeed(&self->lookout);
            return 1;
        }
    }
    PyLockStatus status
        = PyThread_acquire_lock_timed(self->wake, patience, 0);
    if (status == PY_LOCK_ACQUIRED) {
        return 1;
    }
    PyThread_acquire_lock(cache->lock, WAIT_LOCK);
    int idle = tc_link_is_linked(&self->link);
    tc_list_remove(&self->link);
    PyThread_release_lock(cache->lock);
    if (idle) {
        return 0;
    }
    /* Somebody is just about to release it. */
    PyThread_acquire_lock(self->wake, WAIT_LOCK);
    return 1;
}

/* The thread's target. */
static PyObject *
thread_worker_call(PyObject *op, PyObject *Py_UNUSED(args),
                   PyObject *Py_UNUSED(kwargs))
{
    ThreadWorkerObject *self = (ThreadWorkerObject *)op;
    tc_state *st = self->st;
    tc_jobs *bell = NULL;
    int goes_on;
    Py_INCREF(self);
    thread_worker_identify(self);
    do {
        PY_TIMEOUT_T patience = thread_worker_patience(st);
        PyThreadState *tstate = PyEval_SaveThread();
        if (bell != NULL) {
            tc_jobs_ring(bell);
            bell = NULL;
        }
        goes_on = thread_worker_wait(self, patience);
        tc_gil_acquire(st, tstate);
        if (goes_on) {
            goes_on = self->fn != NULL && thread_worker_run_job(self, &bell);
        }
    } while (goes_on);
    if (bell != NULL) {
        tc_jobs_ring(bell);
    }
    /* thread -> target -> worker -> thread */
    Py_CLEAR(self->thread);
    Py_DECREF(self);
    Py_RETURN_NONE;
}

/* A worker that waits for its first job, with its thread. New reference. */
static ThreadWorkerObject *
thread_worker_start(ThreadCacheObject *cache)
{
    tc_state *st = cache->st;
    ThreadWorkerObject *self
        = PyObject_GC_New(ThreadWorkerObject, st->ThreadWorkerType);
    if (self == NULL) {
        return NULL;
    }
    self->st = st;
    self->cache = (ThreadCacheObject *)Py_NewRef((PyObject *)cache);
    tc_list_init(&self->link);
    self->fn = self->deliver = self->name = NULL;
    self->thread = self->default_name = NULL;
    self->lookout = (tc_lookout){0};
    self->wake = PyThread_allocate_lock();
    TC_LIVE_ADD(st, ThreadWorkerType);
    PyObject_GC_Track(self);
    if (self->wake == NULL) {
        PyErr_NoMemory();
        Py_DECREF(self);
        return NULL;
    }
    PyThread_acquire_lock(self->wake, WAIT_LOCK);
    PyObject *module = thread_cache_module(st);
    PyObject *done
        = module == NULL ? NULL
                         : PyObject_CallMethod(
                             module, "start_worker", "Oi", (PyObject *)self,
                             PyInterpreterState_Get()
                                 == PyInterpreterState_Main());
    if (done == NULL) {
        PyThread_release_lock(self->wake);
        Py_DECREF(self);
        return NULL;
    }
    Py_DECREF(done);
    return self;
}

static int
thread_worker_traverse(PyObject *op, visitproc visit, void *arg)
{
    ThreadWorkerObject *self = (ThreadWorkerObject *)op;
    Py_VISIT(Py_TYPE(op));
    Py_VISIT((PyObject *)self->cache);
    Py_VISIT(self->fn);
    Py_VISIT(self->deliver);
    Py_VISIT(self->name);
    Py_VISIT(self->thread);
    Py_VISIT(self->default_name);
    return 0;
}

static int
thread_worker_clear(PyObject *op)
{
    ThreadWorkerObject *self = (ThreadWorkerObject *)op;
    Py_CLEAR(self->fn);
    Py_CLEAR(self->deliver);
    Py_CLEAR(self->name);
    Py_CLEAR(self->thread);
    Py_CLEAR(self->default_name);
    return 0;
}

static void
thread_worker_dealloc(PyObject *op)
{
    ThreadWorkerObject *self = (ThreadWorkerObject *)op;
    PyTypeObject *type = Py_TYPE(op);
    PyObject_GC_UnTrack(op);
    thread_worker_clear(op);
    TC_LIVE_SUB(self->st, ThreadWorkerType);
    if (self->wake != NULL) {
        PyThread_free_lock(self->wake);
    }
    Py_CLEAR(self->cache);
    PyObject_GC_Del(op);
    Py_DECREF(type);
}

static PyType_Slot thread_worker_slots[] = {
    {Py_tp_dealloc, thread_worker_dealloc},
    {Py_tp_traverse, thread_worker_traverse},
    {Py_tp_clear, thread_worker_clear},
    {Py_tp_call, thread_worker_call},
    {0, NULL},
};

static PyType_Spec tc_thread_worker_spec = {
    .name = "trio_c._core._thread_cache.WorkerThread",
    .basicsize = sizeof(ThreadWorkerObject),
    .flags = Py_TPFLAGS_DEFAULT | Py_TPFLAGS_HAVE_GC
             | Py_TPFLAGS_IMMUTABLETYPE
             | Py_TPFLAGS_DISALLOW_INSTANTIATION,
    .slots = thread_worker_slots,
};

/* --- the cache --------------------------------------------------------- */

static int
thread_cache_run(ThreadCacheObject *self, PyObject *fn, PyObject *deliver,
                 PyObject *name)
{
    ThreadWorkerObject *worker = NULL;
    PyThread_acquire_lock(self->lock, WAIT_LOCK);
    tc_link *link = tc_list_first(&self->idle);
    if (link != NULL) {
        tc_list_remove(link);
        worker = TC_CONTAINER_OF(link, ThreadWorkerObject, link);
        Py_INCREF(worker);
    }
    PyThread_release_lock(self->lock);
    if (worker == NULL) {
        worker = thread_worker_start(self);
        if (worker == NULL) {
            return -1;
        }
    }
    worker->fn = Py_NewRef(fn);
    worker->deliver = Py_NewRef(deliver);
    worker->name = Py_NewRef(name);
    PyThread_release_lock(worker->wake);
    Py_DECREF(worker);
    return 0;
}

static int
thread_cache_parse(const char *fname, PyObject *const *args,
                   Py_ssize_t nargs, PyObject *kwnames, PyObject **a)
{
    const tc_params params = {
        .fname = fname,
        .names = {"fn", "deliver", "name"},
        .n_positional = 3,
        .n_required = 2,
    };
    if (tc_args_parse(&params, args, nargs, kwnames, a) < 0) {
        return -1;
    }
    if (a[2] == NULL) {
        a[2] = Py_None;
    }
    return 0;
}

static PyObject *
thread_cache_method(FunctionObject *Py_UNUSED(func), PyObject *op,
                    PyObject *const *args, Py_ssize_t nargs,
                    PyObject *kwnames)
{
    PyObject *a[3];
    if (thread_cache_parse("ThreadCache.start_thread_soon", args, nargs,
                           kwnames, a) < 0
        || thread_cache_run((ThreadCacheObject *)op, a[0], a[1], a[2]) < 0) {
        return NULL;
    }
    Py_RETURN_NONE;
}

int
tc_thread_cache_start(tc_state *st, PyObject *fn, PyObject *deliver,
                      PyObject *name)
{
    PyObject *module = thread_cache_module(st);
    if (module == NULL) {
        return -1;
    }
    PyObject *cache = PyObject_GetAttr(module, st->str_thread_cache);
    if (cache == NULL) {
        return -1;
    }
    /* By name: programs and tests replace the method. */
    PyObject *args[] = {cache, fn, deliver, name};
    PyObject *done = PyObject_VectorcallMethod(
        st->str_start_thread_soon, args,
        4 | PY_VECTORCALL_ARGUMENTS_OFFSET, NULL);
    Py_DECREF(cache);
    Py_XDECREF(done);
    return done == NULL ? -1 : 0;
}

static PyObject *
thread_cache_start_impl(FunctionObject *func, PyObject *Py_UNUSED(self),
                        PyObject *const *args, Py_ssize_t nargs,
                        PyObject *kwnames)
{
    PyObject *a[3];
    if (thread_cache_parse("start_thread_soon", args, nargs, kwnames, a) < 0
        || tc_thread_cache_start(func->st, a[0], a[1], a[2]) < 0) {
        return NULL;
    }
    Py_RETURN_NONE;
}

/* _close(): the idle workers end, the others when they have finished. */
static PyObject *
thread_cache_close(PyObject *op, PyObject *Py_UNUSED(ignored))
{
    ThreadCacheObject *self = (ThreadCacheObject *)op;
    tc_link *link;
    PyThread_acquire_lock(self->lock, WAIT_LOCK);
    self->closed = 1;
    while ((link = tc_list_first(&self->idle)) != NULL) {
        tc_list_remove(link);
        /* no job: fn is NULL */
        PyThread_release_lock(
            TC_CONTAINER_OF(link, ThreadWorkerObject, link)->wake);
    }
    PyThread_release_lock(self->lock);
    Py_RETURN_NONE;
}

/* _forget_workers(): in a forked child. */
static PyObject *
thread_cache_forget(PyObject *op, PyObject *Py_UNUSED(ignored))
{
    ThreadCacheObject *self = (ThreadCacheObject *)op;
    PyThread_type_lock lock = PyThread_allocate_lock();
    if (lock == NULL) {
        return PyErr_NoMemory();
    }
    if (tc_gil_after_fork(self->st) < 0) {
        PyThread_free_lock(lock);
        return NULL;
    }
    tc_home_after_fork();
    /* The old one may be held by a thread that is not here. */
    self->lock = lock;
    tc_list_init(&self->idle);
    Py_RETURN_NONE;
}

static PyObject *
thread_cache_tp_new(PyTypeObject *type, PyObject *args, PyObject *kwargs)
{
    static const tc_params params = {.fname = "ThreadCache"};
    PyObject *unused[1];
    tc_state *st = tc_state_from_type(type);
    if (st == NULL
        || tc_args_parse_tuple(&params, args, kwargs, unused) < 0) {
        return NULL;
    }
    ThreadCacheObject *self = (ThreadCacheObject *)type->tp_alloc(type, 0);
    if (self == NULL) {
        return NULL;
    }
    self->st = st;
    tc_list_init(&self->idle);
    TC_LIVE_ADD(st, ThreadCacheType);
    self->lock = PyThread_allocate_lock();
    if (self->lock == NULL) {
        Py_DECREF(self);
        return PyErr_NoMemory();
    }
    return (PyObject *)self;
}

static int
thread_cache_traverse(PyObject *op, visitproc visit, void *arg)
{
    Py_VISIT(Py_TYPE(op));
    return 0;
}

static void
thread_cache_dealloc(PyObject *op)
{
    ThreadCacheObject *self = (ThreadCacheObject *)op;
    PyTypeObject *type = Py_TYPE(op);
    PyObject_GC_UnTrack(op);
    if (self->weakrefs != NULL) {
        PyObject_ClearWeakRefs(op);
    }
    assert(tc_list_is_empty(&self->idle));
    TC_LIVE_SUB(self->st, ThreadCacheType);
    if (self->lock != NULL) {
        PyThread_free_lock(self->lock);
    }
    type->tp_free(op);
    Py_DECREF(type);
}

static PyMethodDef thread_cache_methods[] = {
    {"_close", thread_cache_close, METH_NOARGS, NULL},
    {"_forget_workers", thread_cache_forget, METH_NOARGS, NULL},
    {NULL, NULL, 0, NULL},
};

static PyMemberDef thread_cache_members[] = {
    {"__weaklistoffset__", T_PYSSIZET, offsetof(ThreadCacheObject, weakrefs),
     READONLY, NULL},
    {NULL, 0, 0, 0, NULL},
};

static PyType_Slot thread_cache_slots[] = {
    {Py_tp_new, thread_cache_tp_new},
    {Py_tp_dealloc, thread_cache_dealloc},
    {Py_tp_traverse, thread_cache_traverse},
    {Py_tp_methods, thread_cache_methods},
    {Py_tp_members, thread_cache_members},
    {0, NULL},
};

static PyType_Spec tc_thread_cache_spec = {
    .name = "trio_c._core._thread_cache.ThreadCache",
    .basicsize = sizeof(ThreadCacheObject),
    .flags = Py_TPFLAGS_DEFAULT | Py_TPFLAGS_HAVE_GC | Py_TPFLAGS_BASETYPE,
    .slots = thread_cache_slots,
};

static const tc_function_def thread_cache_type_functions[] = {
    {"ThreadCache.start_thread_soon", "trio_c._core._thread_cache",
     thread_cache_method},
    {NULL, NULL, NULL},
};

static const tc_function_def thread_cache_functions[] = {
    {"start_thread_soon", "trio_c.lowlevel", thread_cache_start_impl},
    {"set_os_thread_name", "trio_c._core._thread_cache",
     thread_cache_set_os_name_impl},
    {NULL, NULL, NULL},
};

int
tc_thread_cache_register(tc_state *st)
{
    st->str_start_thread_soon
        = PyUnicode_InternFromString("start_thread_soon");
    st->str_thread_cache = PyUnicode_InternFromString("THREAD_CACHE");
    st->str_idle_timeout = PyUnicode_InternFromString("IDLE_TIMEOUT");
    if (st->str_start_thread_soon == NULL || st->str_thread_cache == NULL
        || st->str_idle_timeout == NULL
        || tc_state_add_type(st, &st->ThreadWorkerType,
                             &tc_thread_worker_spec, NULL, NULL) < 0
        || tc_state_add_type(st, &st->ThreadCacheType, &tc_thread_cache_spec,
                             NULL, "ThreadCache") < 0
        || tc_function_add_to_type(st, st->ThreadCacheType,
                                   thread_cache_type_functions) < 0) {
        return -1;
    }
    return tc_function_add_to_module(st, thread_cache_functions);
}
