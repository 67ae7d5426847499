/* loop.h - the run loop, unrolled: it stops wherever it would wait for I/O
 * and is resumed with what came, by run() at once and by a guest run's host
 * whenever it gets round to it.
 */
#ifndef TC_KERNEL_LOOP_H
#define TC_KERNEL_LOOP_H

#include "runner.h"

typedef struct LoopObject LoopObject;

/* A Python object only so that a guest run that its host has dropped is
   noticed. The runner must not refer to it, not even indirectly. */
struct LoopObject {
    TC_HOME_HEAD
    RunnerObject *runner;    /* owned */
    PyObject *async_fn;      /* owned; NULL once started */
    PyObject *args;          /* owned tuple; NULL once started */
    double timeout;          /* of the wait it stopped at, seconds */
    double cushion;          /* what it is primed with, if IDLE */
    uint8_t state;           /* fresh, waiting, running, finished */
    uint8_t primed;          /* no, IDLE, JUMP */
    uint8_t clocked;         /* runner->last_look is of this pass */
    uint8_t host_owns_wakeup_fd;
};

LoopObject *tc_loop_new(RunnerObject *runner, PyObject *async_fn,
                        PyObject *args, int host_owns_wakeup_fd);

/* Run until the next wait, but for looks at the kernel that may be left out.
   n_events: what the wait brought (0 the first time). 1: waiting, see timeout;
   0: the run is over and torn down, its outcome is in the runner; -1: it
   crashed and is torn down, TrioInternalError is raised (or ValueError, with
   nothing changed, if it is running). */
int tc_loop_resume(LoopObject *loop, Py_ssize_t n_events);

/* End a run whose I/O wait raised: the exception stays raised, torn down
   with a warning as if the run had been dropped. */
void tc_loop_abandon(LoopObject *loop);

/* End a run from outside with the raised exception, which becomes (the cause
   of) a TrioInternalError. */
void tc_loop_crash(LoopObject *loop);

int tc_loop_register(tc_state *st);

#endif
