/* ki.c - Ctrl-C: protection marks, the frame walk, the SIGINT handler.
 *
 * Invariants
 * - st->ki_codes maps the address of a code object to (weak reference to it,
 *   bool). An entry whose reference is dead, or belongs to a former tenant of
 *   the address, says nothing; such entries go when the table grows. So no
 *   callback runs when a code object dies.
 * - ki_marks is this thread's list of marked frames. Each entry's frame is
 *   kept alive by the tc_ki_mark of a native function that is still on the
 *   C stack (of this thread or of one of its greenlets). Entries of one frame
 *   are nested, entries of different frames may leave in any order.
 * - Asking for protection touches no f_locals and leaves no reference.
 */
#include "ki.h"
#include "../glue/args.h"
#include "../glue/awaitable.h"
#include "../glue/function.h"
#include "entry_queue.h"
#include "runner.h"
#include "task.h"

#include <signal.h>

/* --- marks on frames ---------------------------------------------------- */

#define KI_INLINE_MARKS 8

typedef struct ki_entry {
    PyFrameObject *frame;    /* borrowed from the mark; NULL: outermost */
    int is_protected;
} ki_entry;

static _Thread_local struct {
    ki_entry *more;          /* owned or NULL: replaces few when it is full */
    Py_ssize_t n;
    Py_ssize_t capacity;     /* of more */
    ki_entry few[KI_INLINE_MARKS];
} ki_marks;

static ki_entry *
ki_entries(void)
{
    return ki_marks.more != NULL ? ki_marks.more : ki_marks.few;
}

static int
ki_marks_grow(void)
{
    Py_ssize_t capacity = ki_marks.n * 2;
    ki_entry *more = PyMem_RawRealloc(
        ki_marks.more, (size_t)capacity * sizeof(ki_entry));
    if (more == NULL) {
        PyErr_NoMemory();
        return -1;
    }
    if (ki_marks.more == NULL) {
        memcpy(more, ki_marks.few, sizeof(ki_marks.few));
    }
    ki_marks.more = more;
    ki_marks.capacity = capacity;
    return 0;
}

int
tc_ki_enter(tc_ki_mark *mark, int is_protected)
{
    Py_ssize_t room
        = ki_marks.more != NULL ? ki_marks.capacity : KI_INLINE_MARKS;
    if (ki_marks.n == room && ki_marks_grow() < 0) {
        return -1;
    }
    mark->frame = (PyFrameObject *)Py_XNewRef(
        (PyObject *)PyEval_GetFrame());
    ki_entry *entry = &ki_entries()[ki_marks.n++];
    entry->frame = mark->frame;
    entry->is_protected = is_protected;
    return 0;
}

void
tc_ki_leave(tc_ki_mark *mark)
{
    ki_entry *entries = ki_entries();
    Py_ssize_t i = ki_marks.n - 1;
    while (i >= 0 && entries[i].frame != mark->frame) {
        i--;
    }
    assert(i >= 0);
    ki_marks.n--;
    memmove(&entries[i], &entries[i + 1],
            (size_t)(ki_marks.n - i) * sizeof(ki_entry));
    if (ki_marks.n == 0 && ki_marks.more != NULL) {
        PyMem_RawFree(ki_marks.more);
        ki_marks.more = NULL;
    }
    /* Somebody else holds it: a running frame, or its coroutine. */
    Py_CLEAR(mark->frame);
}

/* The innermost mark of the frame: 1, 0, or -1 for none. */
static int
ki_frame_mark(PyFrameObject *frame)
{
    ki_entry *entries = ki_entries();
    for (Py_ssize_t i = ki_marks.n - 1; i >= 0; i--) {
        if (entries[i].frame == frame) {
            return entries[i].is_protected;
        }
    }
    return -1;
}

/* --- marks on code objects ---------------------------------------------- */

/* Is `entry` (borrowed) about this very code object? code NULL: about any
   that is alive. 1, 0, or -1 with exception. */
static int
ki_entry_is_live(PyObject *entry, PyObject *code)
{
    PyObject *target = PyObject_CallNoArgs(PyTuple_GET_ITEM(entry, 0));
    if (target == NULL) {
        return -1;
    }
    int live = code != NULL ? target == code : target != Py_None;
    Py_DECREF(target);
    return live;
}

/* 0, also if another thread was faster, or -1. */
static int
ki_codes_remove(tc_state *st, PyObject *key)
{
    if (PyDict_DelItem(st->ki_codes, key) == 0) {
        return 0;
    }
    if (!PyErr_ExceptionMatches(PyExc_KeyError)) {
        return -1;
    }
    PyErr_Clear();
    return 0;
}

static int
ki_codes_prune(tc_state *st)
{
    PyObject *keys = PyDict_Keys(st->ki_codes);
    if (keys == NULL) {
        return -1;
    }
    int r = 0;
    for (Py_ssize_t i = 0; r == 0 && i < PyList_GET_SIZE(keys); i++) {
        PyObject *key = PyList_GET_ITEM(keys, i);
        PyObject *entry;
        r = PyDict_GetItemRef(st->ki_codes, key, &entry);
        if (r <= 0) {
            continue;
        }
        r = 0;
        int live = ki_entry_is_live(entry, NULL);
        if (live < 0 || (live == 0 && ki_codes_remove(st, key) < 0)) {
            r = -1;
        }
        Py_DECREF(entry);
    }
    Py_DECREF(keys);
    return r;
}

/* 1, 0, -1 for unmarked, -2 with exception. */
static int
ki_code_mark(tc_state *st, PyObject *code)
{
    PyObject *key = PyLong_FromVoidPtr(code);
    if (key == NULL) {
        return -2;
    }
    PyObject *entry;
    int found = PyDict_GetItemRef(st->ki_codes, key, &entry);
    Py_DECREF(key);
    if (found <= 0) {
        return found < 0 ? -2 : -1;
    }
    int mark = ki_entry_is_live(entry, code);
    if (mark < 0) {
        mark = -2;
    }
    else if (mark == 0) {
        mark = -1;
    }
    else {
        mark = PyTuple_GET_ITEM(entry, 1) == Py_True;
    }
    Py_DECREF(entry);
    return mark;
}

static int
ki_code_set_mark(tc_state *st, PyObject *code, int is_protected)
{
    int r = -1;
    PyObject *entry = NULL;
    PyObject *key = PyLong_FromVoidPtr(code);
    PyObject *ref = PyWeakref_NewRef(code, NULL);
    if (key == NULL || ref == NULL) {
        goto done;
    }
    entry = PyTuple_Pack(2, ref, is_protected ? Py_True : Py_False);
    if (entry == NULL) {
        goto done;
    }
    /* Each time the size reaches a power of two. */
    Py_ssize_t size = PyDict_GET_SIZE(st->ki_codes);
    if (size >= 256 && (size & (size - 1)) == 0 && ki_codes_prune(st) < 0) {
        goto done;
    }
    r = PyDict_SetItem(st->ki_codes, key, entry);
done:
    Py_XDECREF(entry);
    Py_XDECREF(ref);
    Py_XDECREF(key);
    return r;
}

/* The function behind the legacy async_generator package's wrapper, or f
   itself. New reference. */
static PyObject *
ki_unwrap_legacy(PyObject *f)
{
    PyObject *tag = PyObject_GetAttrString(f, "_async_gen_function");
    if (tag == NULL) {
        if (!PyErr_ExceptionMatches(PyExc_AttributeError)) {
            return NULL;
        }
        PyErr_Clear();
        return Py_NewRef(f);
    }
    PyObject *id = PyLong_FromVoidPtr(f);
    int same = id == NULL ? -1 : PyObject_RichCompareBool(tag, id, Py_EQ);
    Py_XDECREF(id);
    Py_DECREF(tag);
    if (same < 0) {
        return NULL;
    }
    return same ? PyObject_GetAttrString(f, "__wrapped__") : Py_NewRef(f);
}

static PyObject *
ki_decorate(tc_state *st, const char *fname, PyObject *const *args,
            Py_ssize_t nargs, PyObject *kwnames, int is_protected)
{
    const tc_params params = {
        .fname = fname,
        .names = {"f"},
        .n_positional = 1,
        .n_required = 1,
        .n_posonly = 1,
    };
    PyObject *f;
    if (tc_args_parse(&params, args, nargs, kwnames, &f) < 0) {
        return NULL;
    }
    PyObject *function = ki_unwrap_legacy(f);
    if (function == NULL) {
        return NULL;
    }
    PyObject *code = PyObject_GetAttrString(function, "__code__");
    Py_DECREF(function);
    if (code == NULL) {
        return NULL;
    }
    int r = ki_code_set_mark(st, code, is_protected);
    Py_DECREF(code);
    return r < 0 ? NULL : Py_NewRef(f);
}

static PyObject *
ki_enable(FunctionObject *func, PyObject *Py_UNUSED(self),
          PyObject *const *args, Py_ssize_t nargs, PyObject *kwnames)
{
    return ki_decorate(func->st, "enable_ki_protection", args, nargs,
                       kwnames, 1);
}

static PyObject *
ki_disable(FunctionObject *func, PyObject *Py_UNUSED(self),
           PyObject *const *args, Py_ssize_t nargs, PyObject *kwnames)
{
    return ki_decorate(func->st, "disable_ki_protection", args, nargs,
                       kwnames, 0);
}

/* --- the walk ----------------------------------------------------------- */

/* The frame of the running task's coroutine; new reference, or NULL without
   exception if it has none. */
static PyObject *
ki_task_frame(tc_state *st, TaskObject *task)
{
    /* A native root has no frame that could be found. */
    if (Awaitable_CheckExact(st, task->coro)) {
        return NULL;
    }
    PyObject *frame = PyObject_GetAttr(task->coro, st->str_cr_frame);
    if (frame == NULL) {
        PyErr_Clear();
    }
    else if (frame == Py_None) {
        Py_CLEAR(frame);
    }
    return frame;
}

/* What this one frame says: 1, 0, -1 for nothing, -2 with exception. */
static int
ki_frame_verdict(tc_state *st, PyFrameObject *frame)
{
    int verdict = ki_frame_mark(frame);
    if (verdict >= 0) {
        return verdict;
    }
    PyCodeObject *code = PyFrame_GetCode(frame);
    verdict = ki_code_mark(st, (PyObject *)code);
    if (verdict == -1
        && PyUnicode_CompareWithASCIIString(code->co_name, "__del__") == 0) {
        verdict = 1;
    }
    Py_DECREF(code);
    return verdict;
}

int
tc_ki_frame_is_protected(tc_state *st, PyFrameObject *frame)
{
    TaskObject *task = (TaskObject *)Py_XNewRef(
        (PyObject *)tc_context_task(st));
    PyObject *task_frame = task == NULL ? NULL : ki_task_frame(st, task);
    int verdict = -1;

    Py_XINCREF(frame);
    while (frame != NULL) {
        verdict = ki_frame_verdict(st, frame);
        if (verdict == -1 && (PyObject *)frame == task_frame) {
            verdict = task->ki_protected;
        }
        if (verdict != -1) {
            break;
        }
        Py_SETREF(frame, PyFrame_GetBack(frame));
    }
    if (verdict == -1 && PyErr_Occurred()) {
        verdict = -2;            /* there was no memory for the next frame */
    }
    if (verdict == -1) {
        /* Nobody claimed it: host code, the loop, other threads. */
        verdict = ki_frame_mark(NULL);
    }
    Py_XDECREF(frame);
    Py_XDECREF(task_frame);
    Py_XDECREF(task);
    return verdict == -2 ? -1 : verdict != 0;
}

static PyObject *
ki_currently_protected(FunctionObject *func, PyObject *Py_UNUSED(self),
                       PyObject *const *Py_UNUSED(args), Py_ssize_t nargs,
                       PyObject *kwnames)
{
    if (tc_args_none("currently_ki_protected", nargs, kwnames) < 0) {
        return NULL;
    }
    int r = tc_ki_frame_is_protected(func->st, PyEval_GetFrame());
    return r < 0 ? NULL : PyBool_FromLong(r);
}

static PyObject *
ki_protection_enabled(FunctionObject *func, PyObject *Py_UNUSED(self),
                      PyObject *const *args, Py_ssize_t nargs,
                      PyObject *kwnames)
{
    static const tc_params params = {
        .fname = "ki_protection_enabled",
        .names = {"frame"},
        .n_positional = 1,
        .n_required = 1,
    };
    PyObject *frame;
    if (tc_args_parse(&params, args, nargs, kwnames, &frame) < 0) {
        return NULL;
    }
    if (frame != Py_None && !PyFrame_Check(frame)) {
        PyErr_SetString(PyExc_TypeError, "frame must be a frame or None");
        return NULL;
    }
    int r = tc_ki_frame_is_protected(
        func->st, frame == Py_None ? NULL : (PyFrameObject *)frame);
    return r < 0 ? NULL : PyBool_FromLong(r);
}

/* --- delivery ----------------------------------------------------------- */

/* Runs in the entry queue's task. */
static int
ki_delivery(PyObject *op)
{
    RunnerObject *runner = (RunnerObject *)op;
    if (!runner->ki_pending || runner->main_done
        || runner->main_task == NULL) {
        /* Seen already, or left to the end of the run. */
        return 0;
    }
    return tc_task_deliver_ki(runner->main_task);
}

static const tc_native_job ki_delivery_job = {ki_delivery, NULL};

int
tc_ki_deliver(RunnerObject *runner)
{
    runner->ki_pending = 1;
    if (runner->entry_queue == NULL) {
        return 0;
    }
    if (tc_entry_queue_push_native(runner->entry_queue, &ki_delivery_job,
                                   (PyObject *)runner, 0, NULL) < 0) {
        /* Too late for a task to get it: run() itself will raise. */
        if (!PyErr_ExceptionMatches(runner->st->exc_RunFinishedError)) {
            return -1;
        }
        PyErr_Clear();
    }
    return 0;
}

/* --- the SIGINT handler ------------------------------------------------- */

typedef struct {
    PyObject_HEAD
    tc_state *st;            /* borrowed */
    RunnerObject *runner;    /* owned while installed, else NULL */
    PyObject *handler;       /* owned while installed, else NULL */
    /* Owned while installed, else NULL: getsignal(), signal(), and the handler
       that was there. To take ours away has to need no memory. */
    PyObject *get;
    PyObject *set;
    PyObject *standard;
    int restrict_to_checkpoints;
} KIManagerObject;

static PyObject *
ki_manager_handle(PyObject *op, PyObject *const *args, Py_ssize_t nargs)
{
    KIManagerObject *self = (KIManagerObject *)op;
    if (nargs != 2) {
        PyErr_Format(PyExc_TypeError, "handler expected 2 arguments, got %zd",
                     nargs);
        return NULL;
    }
    RunnerObject *runner = self->runner;
    if (runner != NULL) {
        PyFrameObject *frame
            = PyFrame_Check(args[1]) ? (PyFrameObject *)args[1] : NULL;
        int queue = self->restrict_to_checkpoints
                        ? 1
                        : tc_ki_frame_is_protected(self->st, frame);
        if (queue < 0) {
            return NULL;
        }
        if (queue) {
            Py_INCREF(runner);
            int r = tc_ki_deliver(runner);
            Py_DECREF(runner);
            if (r < 0) {
                return NULL;
            }
            Py_RETURN_NONE;
        }
    }
    PyErr_SetNone(PyExc_KeyboardInterrupt);
    return NULL;
}

static PyMethodDef ki_manager_handler_def = {
    "handler", (PyCFunction)(void (*)(void))ki_manager_handle, METH_FASTCALL,
    NULL};

PyObject *
tc_ki_manager_new(tc_state *st)
{
    KIManagerObject *self
        = PyObject_GC_New(KIManagerObject, st->KIManagerType);
    if (self == NULL) {
        return NULL;
    }
    self->st = st;
    self->runner = NULL;
    self->handler = NULL;
    self->get = NULL;
    self->set = NULL;
    self->standard = NULL;
    self->restrict_to_checkpoints = 0;
    TC_LIVE_ADD(st, KIManagerType);
    PyObject_GC_Track(self);
    return (PyObject *)self;
}

/* Only the interpreter knows (threading can be mistaken after a fork): the
   thread may if SIGINT's own handler can be set again. */
PyObject *
tc_ki_probe_main_thread(PyObject *signal)
{
    PyObject *current = PyObject_CallMethod(signal, "getsignal", "i", SIGINT);
    if (current == NULL) {
        return NULL;
    }
    PyObject *old
        = PyObject_CallMethod(signal, "signal", "iO", SIGINT, current);
    if (old != NULL) {
        Py_DECREF(old);
        return current;
    }
    Py_DECREF(current);
    if (PyErr_ExceptionMatches(PyExc_TypeError)
        || PyErr_ExceptionMatches(PyExc_ValueError)) {
        PyErr_Clear();
    }
    return NULL;
}

/* signal.signal(SIGINT, handler). Needs no memory: small numbers exist. */
static int
ki_set_handler(PyObject *set, PyObject *handler)
{
    PyObject *number = PyLong_FromLong(SIGINT);
    PyObject *args[] = {number, handler};
    PyObject *old
        = number == NULL ? NULL : PyObject_Vectorcall(set, args, 2, NULL);
    Py_XDECREF(number);
    Py_XDECREF(old);
    return old == NULL ? -1 : 0;
}

static void
ki_manager_forget(KIManagerObject *self)
{
    Py_CLEAR(self->handler);
    Py_CLEAR(self->get);
    Py_CLEAR(self->set);
    Py_CLEAR(self->standard);
    Py_CLEAR(self->runner);
}

int
tc_ki_manager_install(PyObject *manager, RunnerObject *runner,
                      int restrict_to_checkpoints)
{
    KIManagerObject *self = (KIManagerObject *)manager;
    int r = -1;
    PyObject *current = NULL;
    PyObject *signal = PyImport_ImportModule("_signal");
    if (signal == NULL) {
        return -1;
    }
    assert(self->handler == NULL);
    current = tc_ki_probe_main_thread(signal);
    if (current == NULL) {
        r = PyErr_Occurred() ? -1 : 0;
        goto done;
    }
    self->standard = PyObject_GetAttrString(signal, "default_int_handler");
    if (self->standard == NULL) {
        goto done;
    }
    int taken = PyObject_RichCompareBool(current, self->standard, Py_NE);
    if (taken != 0) {
        r = taken < 0 ? -1 : 0;
        goto done;
    }
    if ((self->get = PyObject_GetAttrString(signal, "getsignal")) == NULL
        || (self->set = PyObject_GetAttrString(signal, "signal")) == NULL) {
        goto done;
    }
    self->restrict_to_checkpoints = restrict_to_checkpoints;
    self->runner = (RunnerObject *)Py_NewRef((PyObject *)runner);
    self->handler = PyCFunction_New(&ki_manager_handler_def, manager);
    if (self->handler != NULL) {
        r = ki_set_handler(self->set, self->handler);
    }
done:
    if (r < 0 || self->handler == NULL) {
        ki_manager_forget(self);
    }
    Py_XDECREF(current);
    Py_DECREF(signal);
    return r;
}

int
tc_ki_manager_close(PyObject *manager)
{
    KIManagerObject *self = (KIManagerObject *)manager;
    if (self->handler == NULL) {
        return 0;
    }
    int r = -1;
    PyObject *number = PyLong_FromLong(SIGINT);
    PyObject *current
        = number == NULL ? NULL : PyObject_CallOneArg(self->get, number);
    if (current != NULL) {
        r = current == self->handler
                ? ki_set_handler(self->set, self->standard)
                : 0;
    }
    Py_XDECREF(number);
    Py_XDECREF(current);
    ki_manager_forget(self);
    return r;
}

static int
ki_manager_traverse(PyObject *op, visitproc visit, void *arg)
{
    KIManagerObject *self = (KIManagerObject *)op;
    Py_VISIT(Py_TYPE(op));
    Py_VISIT((PyObject *)self->runner);
    Py_VISIT(self->handler);
    Py_VISIT(self->get);
    Py_VISIT(self->set);
    Py_VISIT(self->standard);
    return 0;
}

static int
ki_manager_clear(PyObject *op)
{
    ki_manager_forget((KIManagerObject *)op);
    return 0;
}

static void
ki_manager_dealloc(PyObject *op)
{
    PyTypeObject *type = Py_TYPE(op);
    PyObject_GC_UnTrack(op);
    TC_LIVE_SUB(((KIManagerObject *)op)->st, KIManagerType);
    ki_manager_clear(op);
    PyObject_GC_Del(op);
    Py_DECREF(type);
}

static PyMemberDef ki_manager_members[] = {
    {"handler", T_OBJECT, offsetof(KIManagerObject, handler), READONLY, NULL},
    {NULL, 0, 0, 0, NULL},
};

static PyType_Slot ki_manager_slots[] = {
    {Py_tp_dealloc, ki_manager_dealloc},
    {Py_tp_traverse, ki_manager_traverse},
    {Py_tp_clear, ki_manager_clear},
    {Py_tp_members, ki_manager_members},
    {0, NULL},
};

static PyType_Spec tc_ki_manager_spec = {
    .name = "trio_c._core._ki.KIManager",
    .basicsize = sizeof(KIManagerObject),
    .flags = Py_TPFLAGS_DEFAULT | Py_TPFLAGS_HAVE_GC
             | Py_TPFLAGS_IMMUTABLETYPE
             | Py_TPFLAGS_DISALLOW_INSTANTIATION,
    .slots = ki_manager_slots,
};

static const tc_function_def ki_functions[] = {
    {"enable_ki_protection", "trio_c.lowlevel", ki_enable},
    {"disable_ki_protection", "trio_c.lowlevel", ki_disable},
    {"currently_ki_protected", "trio_c.lowlevel", ki_currently_protected},
    {"ki_protection_enabled", "trio_c._core._ki", ki_protection_enabled},
    {NULL, NULL, NULL},
};

int
tc_ki_register(tc_state *st)
{
    st->ki_codes = PyDict_New();
    if (st->ki_codes == NULL) {
        return -1;
    }
    if (tc_state_add_type(st, &st->KIManagerType, &tc_ki_manager_spec, NULL,
                          "KIManager")
        < 0) {
        return -1;
    }
    return tc_function_add_to_module(st, ki_functions);
}
