/* module.c - the extension module: what it is made of, in order.
 *
 * The only file that names every room. Multi-phase initialisation; all state
 * in tc_state, so that several interpreters can each load the module.
 */
#include "chan/channel.h"
#include "glue/awaitable.h"
#include "glue/errors.h"
#include "glue/function.h"
#include "glue/lazy_module.h"
#include "glue/method.h"
#include "glue/returned.h"
#include "glue/types.h"
#include "kernel/cancel.h"
#include "kernel/clock.h"
#include "kernel/context.h"
#include "kernel/entry_queue.h"
#include "kernel/gil.h"
#include "kernel/groups.h"
#include "kernel/instruments.h"
#include "kernel/io.h"
#include "kernel/ki.h"
#include "kernel/loop.h"
#include "kernel/nursery.h"
#include "kernel/nursery_start.h"
#include "kernel/parking_lot.h"
#include "kernel/request.h"
#include "kernel/run.h"
#include "kernel/runner_view.h"
#include "kernel/runvar.h"
#include "kernel/task.h"
#include "kernel/thread_cache.h"
#include "kernel/thread_job.h"
#include "kernel/threads.h"
#include "kernel/timeouts.h"
#include "kernel/token.h"
#include "kernel/trap.h"
#include "kernel/unbounded_queue.h"
#include "net/socket.h"
#include "net/tls.h"
#include "sync/sync.h"

#include <math.h>

/* --- strings and exceptions -------------------------------------------- */

static int
module_add_strings(tc_state *st)
{
    static const struct {
        size_t offset;
        const char *text;
    } strings[] = {
#define TC_STRING(field, text) {offsetof(tc_state, str_##field), text}
        TC_STRING(unwrap, "unwrap"),
        TC_STRING(throw, "throw"),
        TC_STRING(close, "close"),
        TC_STRING(add_exc, "_add_exc"),
        TC_STRING(task_status, "task_status"),
        TC_STRING(current_time, "current_time"),
        TC_STRING(deadline_to_sleep_time, "deadline_to_sleep_time"),
        TC_STRING(cr_frame, "cr_frame"),
        TC_STRING(name, "name"),
        TC_STRING(dunder_name, "__name__"),
        TC_STRING(fileno, "fileno"),
        TC_STRING(trio, "trio"),
        TC_STRING(pending, "pending"),
        TC_STRING(read, "read"),
        TC_STRING(write, "write"),
        TC_STRING(write_eof, "write_eof"),
        TC_STRING(send_all, "send_all"),
        TC_STRING(receive_some, "receive_some"),
#undef TC_STRING
    };
    for (size_t i = 0; i < Py_ARRAY_LENGTH(strings); i++) {
        PyObject *s = PyUnicode_InternFromString(strings[i].text);
        if (s == NULL) {
            return -1;
        }
        *(PyObject **)((char *)st + strings[i].offset) = s;
    }
    return 0;
}

static int
module_add_exceptions(tc_state *st)
{
    const struct {
        PyObject **slot;
        const char *name;
        PyObject *base;
        const char *doc;
    } exceptions[] = {
        {&st->exc_TrioInternalError, "trio_c.TrioInternalError",
         PyExc_Exception,
         "The library itself has failed, or was misused in a way that its\n"
         "state did not survive. Everything was cancelled as well as could\n"
         "be; please report it."},
        {&st->exc_RunFinishedError, "trio_c.RunFinishedError",
         PyExc_RuntimeError,
         "Raised where a run was to be entered that is over already."},
        {&st->exc_WouldBlock, "trio_c.WouldBlock", PyExc_Exception,
         "Raised by the ..._nowait methods where the others would wait."},
        {&st->exc_BusyResourceError, "trio_c.BusyResourceError",
         PyExc_Exception,
         "Two tasks tried to do the same thing with one resource at a time."},
        {&st->exc_ClosedResourceError, "trio_c.ClosedResourceError",
         PyExc_Exception,
         "The resource has been closed on this side, before or during the\n"
         "call."},
        {&st->exc_BrokenResourceError, "trio_c.BrokenResourceError",
         PyExc_Exception,
         "The resource has been broken by something outside this program's\n"
         "control, such as a peer that went away."},
        {&st->exc_EndOfChannel, "trio_c.EndOfChannel", PyExc_Exception,
         "There is nothing left to receive and nobody left to send."},
        {&st->exc_TooSlowError, "trio_c.TooSlowError", PyExc_Exception,
         "Raised by fail_after() and fail_at() when the time is up."},
    };
    for (size_t i = 0; i < Py_ARRAY_LENGTH(exceptions); i++) {
        PyObject *exc = PyErr_NewExceptionWithDoc(
            exceptions[i].name, exceptions[i].doc, exceptions[i].base, NULL);
        if (exc == NULL) {
            return -1;
        }
        *exceptions[i].slot = exc;
        if (PyModule_AddObjectRef(st->module,
                                  strrchr(exceptions[i].name, '.') + 1, exc)
            < 0) {
            return -1;
        }
    }
    return 0;
}

static const char loose_note[]
    = "This is a \"loose\" ExceptionGroup, and may be collapsed by Trio if it "
      "only contains one exception - typically after `Cancelled` has been "
      "stripped from it. Note this has consequences for exception handling, "
      "and strict_exception_groups=True is recommended.";

/* Appended to the errors about scopes and nurseries that are not properly
   nested. */
static const char misnesting_advice[]
    = "\n"
      "The scopes of this program are no longer properly nested. The run goes "
      "on as well\nas it can, but what is cancelled when is anyone's guess "
      "from here on.\n\n"
      "Usual causes:\n"
      "  - a generator or async generator yields inside a cancel scope or "
      "nursery that it\n    opened, without being a @contextmanager or "
      "@asynccontextmanager\n"
      "  - __enter__/__exit__ of a CancelScope, or __aenter__/__aexit__ of a "
      "nursery, are\n    called by hand in the wrong order or in different "
      "tasks; use @contextmanager,\n    @asynccontextmanager or an "
      "[Async]ExitStack instead\n"
      "  - an [Async]ExitStack closes scopes or nurseries in an order that "
      "no nesting of\n    with blocks could have\n"
      "  - a coroutine is driven by hand, partly inside a scope and partly "
      "outside\n"
      "If none of these applies, please report it as a bug.\n";

static int
module_add_constants(tc_state *st)
{
    st->loose_note = PyUnicode_FromString(loose_note);
    st->misnesting_advice = PyUnicode_FromString(misnesting_advice);
    if (st->loose_note == NULL || st->misnesting_advice == NULL
        || PyModule_AddObjectRef(st->module, "NONSTRICT_EXCEPTIONGROUP_NOTE",
                                 st->loose_note)
               < 0
        || PyModule_AddObjectRef(st->module, "MISNESTING_ADVICE",
                                 st->misnesting_advice)
               < 0) {
        return -1;
    }
    /* Defaults in text signatures say `inf`. */
    PyObject *inf = PyFloat_FromDouble(Py_HUGE_VAL);
    int r = PyModule_AddObjectRef(st->module, "inf", inf);
    Py_XDECREF(inf);
    return r;
}

/* --- functions of the module itself ------------------------------------ */

static tc_state *
module_state(PyObject *module)
{
    return (tc_state *)PyModule_GetState(module);
}

/* _set_deterministic(flag): order batches by age and the shared
   random.Random. */
static PyObject *
module_set_deterministic(PyObject *module, PyObject *flag)
{
    int value = PyObject_IsTrue(flag);
    if (value < 0) {
        return NULL;
    }
    module_state(module)->deterministic = value;
    Py_RETURN_NONE;
}

static PyObject *
module_get_deterministic(PyObject *module, PyObject *Py_UNUSED(ignored))
{
    return PyBool_FromLong(module_state(module)->deterministic);
}

/* _set_relabelled(flag): public names say "trio" instead of "trio_c". */
static PyObject *
module_set_relabelled(PyObject *module, PyObject *flag)
{
    int value = PyObject_IsTrue(flag);
    if (value < 0) {
        return NULL;
    }
    module_state(module)->relabelled = value;
    Py_RETURN_NONE;
}

#ifdef TRIO_C_DEBUG
/* live_objects() -> {type name: count}. */
static PyObject *
module_live_objects(PyObject *module, PyObject *Py_UNUSED(ignored))
{
    static const char *const names[] = {
#define TC_FIELD(name) #name,
        TC_STATE_TYPES(TC_FIELD)
#undef TC_FIELD
    };
    tc_state *st = module_state(module);
    PyObject *counts = PyDict_New();
    for (int i = 0; counts != NULL && i < TC_N_LIVE; i++) {
        if (st->live[i] == 0) {
            continue;
        }
        PyObject *n = PyLong_FromSsize_t(st->live[i]);
        if (n == NULL || PyDict_SetItemString(counts, names[i], n) < 0) {
            Py_CLEAR(counts);
        }
        Py_XDECREF(n);
    }
    return counts;
}
#endif

static PyMethodDef module_methods[] = {
    {"_set_deterministic", module_set_deterministic, METH_O, NULL},
    {"_get_deterministic", module_get_deterministic, METH_NOARGS, NULL},
    {"_set_relabelled", module_set_relabelled, METH_O, NULL},
#ifdef TRIO_C_DEBUG
    {"live_objects", module_live_objects, METH_NOARGS, NULL},
#endif
    {NULL, NULL, 0, NULL},
};

/* --- exec, traverse, clear --------------------------------------------- */

static int
module_exec(PyObject *module)
{
    tc_state *st = module_state(module);
    st->module = module;
    if (module_add_strings(st) < 0 || module_add_exceptions(st) < 0
        || module_add_constants(st) < 0) {
        return -1;
    }
    static int (*const rooms[])(tc_state *) = {
        /* glue */
        tc_function_register,
        tc_method_register,
        tc_awaitable_register,
        tc_returned_register,
        tc_types_register,
        tc_lazy_module_register,
        /* kernel */
        tc_gil_register,
        tc_context_register,
        tc_groups_register,
        tc_cancelled_register,
        tc_cancel_register,
        tc_task_register,
        tc_nursery_register,
        tc_nursery_manager_register,
        tc_nursery_start_register,
        tc_traps_register,
        tc_timeouts_register,
        tc_clock_register,
        tc_instruments_register,
        tc_io_register,
        tc_entry_queue_register,
        tc_token_register,
        tc_runvar_register,
        tc_thread_cache_register,
        tc_thread_job_register,
        tc_threads_register,
        tc_request_register,
        tc_ki_register,
        tc_runner_register,
        tc_runner_view_register,
        tc_loop_register,
        tc_run_register,
        tc_parking_lot_register,
        tc_unbounded_queue_register,
        /* sync, chan, net */
        tc_event_register,
        tc_lock_register,
        tc_semaphore_register,
        tc_capacity_limiter_register,
        tc_condition_register,
        tc_channel_state_register,
        tc_channel_register,
        tc_socket_register,
        tc_stream_register,
        tc_listener_register,
        tc_tls_register,
    };
    for (size_t i = 0; i < Py_ARRAY_LENGTH(rooms); i++) {
        if (rooms[i](st) < 0) {
            return -1;
        }
    }
    Py_INCREF(module);  /* for good: see state.h */
    return 0;
}

static int
module_traverse(PyObject *module, visitproc visit, void *arg)
{
    tc_state *st = module_state(module);
    Py_VISIT((PyObject *)st->methods);
#define TC_FIELD(name) Py_VISIT(st->name);
    TC_STATE_TYPES(TC_FIELD)
    TC_STATE_OBJECTS(TC_FIELD)
#undef TC_FIELD
    return tc_awaitable_visit_freelist(st, visit, arg);
}

static int
module_clear(PyObject *module)
{
    tc_state *st = module_state(module);
    /* while the types are there: the blocks are of them */
    tc_awaitable_clear_freelist(st);
    tc_method_close_freelist(st);
#define TC_FIELD(name) tc_freelist_close(&st->name);
    TC_STATE_FREELISTS(TC_FIELD)
#undef TC_FIELD
#define TC_FIELD(name) Py_CLEAR(st->name);
    TC_STATE_TYPES(TC_FIELD)
    TC_STATE_OBJECTS(TC_FIELD)
#undef TC_FIELD
    return 0;
}

static void
module_free(void *module)
{
    tc_state *st = module_state(module);
    module_clear(module);
    tc_gil_free(st);
}

static PyModuleDef_Slot module_slots[] = {
    {Py_mod_exec, module_exec},
    TC_SLOT_INTERPRETERS
    TC_SLOT_GIL
    {0, NULL},
};

struct PyModuleDef tc_module_def = {
    PyModuleDef_HEAD_INIT,
    .m_name = "trio_c._native",
    .m_doc = PyDoc_STR("The native core of trio_c."),
    .m_size = sizeof(tc_state),
    .m_methods = module_methods,
    .m_slots = module_slots,
    .m_traverse = module_traverse,
    .m_clear = module_clear,
    .m_free = module_free,
};

PyMODINIT_FUNC
PyInit__native(void)
{
    return PyModuleDef_Init(&tc_module_def);
}
