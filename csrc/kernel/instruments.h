/* instruments.h - hooks on what the run loop does. */
#ifndef TC_KERNEL_INSTRUMENTS_H
#define TC_KERNEL_INSTRUMENTS_H

#include "../glue/state.h"

typedef enum {
    TC_HOOK_BEFORE_RUN,
    TC_HOOK_AFTER_RUN,
    TC_HOOK_TASK_SPAWNED,
    TC_HOOK_TASK_SCHEDULED,
    TC_HOOK_BEFORE_TASK_STEP,
    TC_HOOK_AFTER_TASK_STEP,
    TC_HOOK_TASK_EXITED,
    TC_HOOK_BEFORE_IO_WAIT,
    TC_HOOK_AFTER_IO_WAIT,
    TC_N_HOOKS,
} tc_hook;

typedef struct InstrumentsObject InstrumentsObject;
struct InstrumentsObject {
    TC_HOME_HEAD
    tc_state *st;                /* borrowed */
    PyObject *all;               /* owned dict: instrument -> None */
    PyObject *hooks[TC_N_HOOKS]; /* owned dict or NULL (nobody listens) */
};

static inline int
tc_instruments_have(InstrumentsObject *instruments, tc_hook hook)
{
    return instruments->hooks[hook] != NULL;
}

/* From an iterable of instruments (borrowed; NULL: none). NULL with
   exception. */
InstrumentsObject *tc_instruments_new(tc_state *st, PyObject *incoming);
/* arg borrowed or NULL (hook without argument). Failing hooks are disabled
   and logged; -1 only if that itself fails. Runs Python. */
int tc_instruments_call(InstrumentsObject *instruments, tc_hook hook,
                        PyObject *arg);
/* Is any instrument registered at all? */
static inline int
tc_instruments_any(InstrumentsObject *instruments)
{
    return PyDict_GET_SIZE(instruments->all) > 0;
}

int tc_instruments_register(tc_state *st);

#endif
