/* state.h - what one loaded module (one interpreter) owns.
 *
 * Every long-lived native object keeps a borrowed `tc_state *st`. So a module
 * that has been loaded stays until its interpreter ends (module.c): what lies
 * in one garbage cycle with it would be deallocated after it. Deallocators
 * must not read types from here all the same.
 */
#ifndef TC_GLUE_STATE_H
#define TC_GLUE_STATE_H

#include "compat.h"
#include "freelist.h"
#include "home.h"

struct AwaitableObject;
struct MethodObject;

/* Heap types, owned. */
#define TC_STATE_TYPES(X)                                                   \
    X(LazyModuleType)                                                       \
    X(FunctionType)                                                         \
    X(MethodType)                                                           \
    X(AwaitableType)                                                        \
    X(ReturnedType)        /* see returned.h */                             \
    X(StatisticsType)      /* base of the *Statistics value classes */      \
    X(ParkingLotStatisticsType)                                             \
    X(UnboundedQueueStatisticsType)                                         \
    X(EventStatisticsType)                                                  \
    X(LockStatisticsType)                                                   \
    X(CapacityLimiterStatisticsType)                                        \
    X(ConditionStatisticsType)                                              \
    X(MemoryChannelStatisticsType)                                          \
    X(IOStatisticsType)                                                     \
    X(CompletionInfoType)  /* with a completion port only */                \
    X(TaskType)                                                             \
    X(RunStatisticsType)                                                    \
    X(RunnerType)                                                           \
    X(NurseryType)                                                          \
    X(NurseryManagerType)                                                   \
    X(TaskStatusType)                                                       \
    X(CancelScopeType)                                                      \
    X(CancelStatusType)                                                     \
    X(CancelReasonType)                                                     \
    X(CancelledType)                                                        \
    X(FailScopeType)                                                        \
    X(RaiseCancelType)                                                      \
    X(RunContextType)                                                       \
    X(SystemClockType)                                                      \
    X(ParkingLotType)                                                       \
    X(UnboundedQueueType)                                                   \
    X(RunVarType)                                                           \
    X(RunVarTokenType)                                                      \
    X(TrioTokenType)                                                        \
    X(EntryQueueType)                                                       \
    X(InstrumentsType)                                                      \
    X(LoopType)                                                             \
    X(ThreadJobType)       /* one to_thread.run_sync call */                \
    X(ThreadRequestType)   /* one from_thread call */                       \
    X(ThreadCacheType)                                                      \
    X(ThreadWorkerType)    /* what a cached thread runs */                  \
    X(KIManagerType)                                                        \
    X(EventType)                                                            \
    X(LockImplType)                                                         \
    X(LockType)                                                             \
    X(StrictFIFOLockType)                                                   \
    X(SemaphoreType)                                                        \
    X(CapacityLimiterType)                                                  \
    X(ConditionType)                                                        \
    X(ChannelStateType)                                                     \
    X(SendChannelType)                                                      \
    X(ReceiveChannelType)                                                   \
    X(OpenMemoryChannelType)                                                \
    X(SocketType)                                                           \
    X(SocketStreamType)                                                     \
    X(SocketListenerType)                                                   \
    X(SSLStreamType)

/* Of these, those whose structs begin with TC_HOME_HEAD. */
#define TC_STATE_HOMED(X)                                                   \
    X(AwaitableType)                                                        \
    X(TaskType)                                                             \
    X(RunnerType)                                                           \
    X(NurseryType)                                                          \
    X(NurseryManagerType)                                                   \
    X(TaskStatusType)                                                       \
    X(CancelScopeType)                                                      \
    X(CancelStatusType)                                                     \
    X(FailScopeType)                                                        \
    X(ParkingLotType)                                                       \
    X(UnboundedQueueType)                                                   \
    X(InstrumentsType)                                                      \
    X(LoopType)                                                             \
    X(EventType)                                                            \
    X(LockImplType)                                                         \
    X(SemaphoreType)                                                        \
    X(CapacityLimiterType)                                                  \
    X(ConditionType)                                                        \
    X(ChannelStateType)                                                     \
    X(SendChannelType)                                                      \
    X(ReceiveChannelType)                                                   \
    X(SocketType)                                                           \
    X(SocketStreamType)                                                     \
    X(SocketListenerType)                                                   \
    X(SSLStreamType)

/* Other objects, owned. Exceptions are made in module exec; the rest is
   looked up on first need (NULL until then) through a named accessor. */
#define TC_STATE_OBJECTS(X)                                                 \
    X(exc_TrioInternalError)                                                \
    X(exc_RunFinishedError)                                                 \
    X(exc_WouldBlock)                                                       \
    X(exc_BusyResourceError)                                                \
    X(exc_ClosedResourceError)                                              \
    X(exc_BrokenResourceError)                                              \
    X(exc_EndOfChannel)                                                     \
    X(exc_TooSlowError)                                                     \
    X(returned)            /* a spare ReturnedType, or NULL */              \
    X(abort_enum)          /* Abort, and its two members */                 \
    X(abort_succeeded)                                                      \
    X(abort_failed)                                                         \
    X(run_context)         /* GLOBAL_RUN_CONTEXT */                         \
    X(outcome_Value)                                                        \
    X(outcome_Error)                                                        \
    X(signatures)          /* trio_c._signatures, the twins */              \
    X(class_signature)     /* the descriptor __signature__ of classes */    \
    X(sniffio_local)                                                        \
    X(spawn_helpers)       /* trio_c._core._spawn */                         \
    X(str_unwrap)                                                           \
    X(str_throw)                                                            \
    X(str_close)                                                            \
    X(str_add_exc)                                                          \
    X(str_task_status)                                                      \
    X(str_current_time)                                                     \
    X(str_deadline_to_sleep_time)                                           \
    X(str_cr_frame)                                                         \
    X(str_name)                                                             \
    X(str_dunder_name)                                                      \
    X(str_fileno)                                                           \
    X(str_trio)                                                             \
    X(helpers)             /* trio_c._core._init: cold helpers */           \
    X(asyncgens)           /* trio_c._core._asyncgens */                    \
    X(loose_note)                                                           \
    X(misnesting_advice)                                                    \
    X(ki_codes)            /* code object -> protected? see kernel/ki.c */  \
    X(thread_cache)        /* _core._thread_cache once imported */          \
    X(limiter_var)         /* RunVar of the default thread limiter */       \
    X(threads_idle_var)    /* RunVar of an Event: no thread is active */    \
    X(sniffio_cvar)        /* sniffio.current_async_library_cvar */         \
    X(str_start_thread_soon)                                                \
    X(str_thread_cache)                                                     \
    X(str_idle_timeout)                                                     \
    X(str_acquire_on_behalf_of)                                             \
    X(str_release_on_behalf_of)                                             \
    X(io_overrides)       /* replaced methods of the manager, or NULL */    \
    X(socket_class)       /* _socket._SocketType once imported */           \
    X(socket_resolve)     /* its _resolve_address_nocp, as it was */        \
    X(stdlib_socket)      /* socket.socket */                               \
    X(stream_class)       /* SocketStream once imported */                  \
    X(closed_errnos)      /* what a closed socket fails with */             \
    X(accept_errnos)      /* failed accepts that do not matter */           \
    X(ssl_Error)          /* ssl.SSLError once _ssl is imported */          \
    X(ssl_WantReadError)                                                    \
    X(tls_is_end)         /* _ssl._is_end */                                \
    X(str_pending)                                                          \
    X(str_read)                                                             \
    X(str_write)                                                            \
    X(str_write_eof)                                                        \
    X(str_send_all)                                                         \
    X(str_receive_some)

/* Freelists, each of one type. */
#define TC_STATE_FREELISTS(X)                                               \
    X(free_events)                                                          \
    X(free_tasks)                                                           \
    X(free_scopes)                                                          \
    X(free_fail_scopes)                                                     \
    X(free_nurseries)                                                       \
    X(free_nursery_managers)

#ifdef TRIO_C_DEBUG
/* Live objects by type, for the leak checks of debug builds. */
enum {
#define TC_FIELD(name) TC_LIVE_##name,
    TC_STATE_TYPES(TC_FIELD)
#undef TC_FIELD
    TC_N_LIVE,
};
#define TC_LIVE_ADD(st, name) ((st)->live[TC_LIVE_##name]++)
#define TC_LIVE_SUB(st, name) ((st)->live[TC_LIVE_##name]--)
#else
#define TC_LIVE_ADD(st, name) ((void)0)
#define TC_LIVE_SUB(st, name) ((void)0)
#endif

typedef struct tc_state {
    PyObject *module;      /* borrowed: the state lives inside it */
#define TC_FIELD(name) PyTypeObject *name;
    TC_STATE_TYPES(TC_FIELD)
#undef TC_FIELD
#define TC_FIELD(name) PyObject *name;
    TC_STATE_OBJECTS(TC_FIELD)
#undef TC_FIELD
#ifdef TRIO_C_DEBUG
    TC_SHARED(Py_ssize_t) live[TC_N_LIVE];
#endif
    /* Freelist of bound methods: owned or NULL. */
    struct MethodObject *methods;
    int n_methods;
#define TC_FIELD(name) tc_freelist name;
    TC_STATE_FREELISTS(TC_FIELD)
#undef TC_FIELD
    /* Freelist of awaitables (owned), linked through u.next_free. */
    struct AwaitableObject *awaitables;
    int n_awaitables;
    TC_SHARED(uint64_t) next_task_counter;
    TC_SHARED(uint64_t) next_thread_number;
    int deterministic;     /* _ALLOW_DETERMINISTIC_SCHEDULING */
    int relabelled;        /* public names say "trio" instead of "trio_c" */
    struct tc_gil *gil;    /* owned; see kernel/gil.h */
    PyCFunction stdlib_fileno; /* fileno() of socket.socket, or NULL */
} tc_state;

extern struct PyModuleDef tc_module_def;

/* For tp_new only; elsewhere objects carry their state. Borrowed; NULL with
   TypeError if type is no (subclass of a) type of this module. */
static inline tc_state *
tc_state_from_type(PyTypeObject *type)
{
    PyObject *module = PyType_GetModuleByDef(type, &tc_module_def);
    return module == NULL ? NULL : (tc_state *)PyModule_GetState(module);
}

/* A slot above that is filled on first need, perhaps by several threads at a
   time: what is in it, borrowed, or NULL; and filling it with obj (stolen)
   unless somebody was faster. Returns what is in it then, borrowed. */
static inline PyObject *
tc_state_peek(PyObject **slot)
{
#if TC_FREE_THREADED
    return __atomic_load_n(slot, __ATOMIC_ACQUIRE);
#else
    return *slot;
#endif
}
PyObject *tc_state_publish(PyObject **slot, PyObject *obj);

/* Do objects of that type, which st owns, have a home (home.h)? */
int tc_state_is_homed(tc_state *st, PyTypeObject *type);

/* Outcome classes, imported on first need. Borrowed; NULL with exception. */
PyObject *tc_state_outcome_value(tc_state *st);
PyObject *tc_state_outcome_error(tc_state *st);
/* trio_c._core._init, imported on first need. Borrowed; NULL with exc. */
PyObject *tc_state_helpers(tc_state *st);
/* trio_c._core._asyncgens, which every run needs: that of this copy, although
   somebody may have imported another since. Borrowed; NULL with exception. */
PyObject *tc_state_asyncgens(tc_state *st);

/* Creates a heap type from spec (bases NULL, a type, or a tuple), stores a
   new reference in *slot and adds it to the module under `name` unless that
   is NULL. 0, or -1 with exception. */
int tc_state_add_type(tc_state *st, PyTypeObject **slot, PyType_Spec *spec,
                      PyObject *bases, const char *name);

#endif
