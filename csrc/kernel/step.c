/* step.c - resuming one task, and what becomes of it.
 *
 * A step sends None into the task's coroutine inside the task's context. The
 * result or exception that the task was woken with lies in the task; the
 * awaitable at the far end of the chain picks it up (tc_trap_resume). What
 * comes back is a request (an awaitable of ours), something foreign, or the
 * end of the task.
 */
#include "step.h"
#include "../glue/errors.h"
#include "entry_queue.h"
#include "gil.h"
#include "instruments.h"
#include "nursery.h"
#include "parking_lot.h"
#include "polling.h"
#include "trap.h"

/* --- the end of a task ------------------------------------------------- */

/* Nurseries that the task leaves open behind it, outermost first. */
static int
step_abandon_nurseries(TaskObject *task)
{
    if (task->nursery == NULL) {
        return 0;
    }
    PyObject *open = PyObject_GetAttrString((PyObject *)task,
                                            "child_nurseries");
    PyObject *text
        = open == NULL
              ? NULL
              : PyUnicode_FromString("Parent Task exited prematurely, "
                                     "abandoning this nursery without "
                                     "exiting it properly.");
    int r = text == NULL ? -1 : 0;
    for (Py_ssize_t i = 0; r == 0 && i < PyList_GET_SIZE(open); i++) {
        NurseryObject *nursery = (NurseryObject *)PyList_GET_ITEM(open, i);
        r = tc_scope_cancel_with(nursery->scope, "nursery", task, text);
        nursery->closed = 1;
    }
    Py_XDECREF(text);
    Py_XDECREF(open);
    return r;
}

/* The error that replaces the outcome (exc, borrowed or NULL) of a task whose
   surroundings were closed before it. New reference or NULL. */
static PyObject *
step_misnested(TaskObject *task, PyObject *exc)
{
    const char *what = task->nursery != NULL ? "Nursery" : "Cancel scope";
    PyObject *name = tc_task_repr(task);
    if (name == NULL) {
        return NULL;
    }
    PyObject *text = PyUnicode_FromFormat(
        "%s stack corrupted: %s surrounding %U was closed before the task "
        "exited\n%U",
        what, what, name, task->runner->st->misnesting_advice);
    Py_DECREF(name);
    if (text == NULL) {
        return NULL;
    }
    PyObject *error = PyObject_CallOneArg(PyExc_RuntimeError, text);
    Py_DECREF(text);
    if (error != NULL && exc != NULL) {
        PyException_SetContext(error, Py_NewRef(exc));
    }
    return error;
}

static int
step_report_end(RunnerObject *runner, TaskObject *task, PyObject *value,
                PyObject *exc)
{
    if (task == runner->init_task) {
        /* The root does not fail: whatever it raised crashes the run. */
        if (exc != NULL) {
            PyErr_SetRaisedException(Py_NewRef(exc));
            return -1;
        }
        if (runner->n_tasks > 0) {
            PyErr_SetString(runner->st->exc_TrioInternalError,
                            "the root task ended before the others");
            return -1;
        }
        return 0;
    }
    if (task == runner->main_task) {
        runner->main_done = 1;
        Py_XSETREF(runner->main_value, Py_XNewRef(value));
        Py_XSETREF(runner->main_error, Py_XNewRef(exc));
        exc = NULL;
    }
    NurseryObject *nursery = task->parent_nursery;
    Py_INCREF(nursery);
    int r = tc_nursery_child_finished(nursery, task, exc);
    Py_DECREF(nursery);
    if (r == 0 && exc != NULL
        && tc_entry_queue_has_failed(runner->entry_queue)) {
        /* This was the queue's own task. Whoever waits for a job to be run
           would wait for ever, and the root task is one of them. */
        PyErr_SetRaisedException(Py_NewRef(exc));
        r = -1;
    }
    return r;
}

int
tc_runner_task_exited(RunnerObject *runner, TaskObject *task, PyObject *value,
                      PyObject *exc)
{
    PyObject *error = NULL;      /* owned; replaces exc */
    int r = -1;
    if (!task->scheduled
        && (step_abandon_nurseries(task) < 0
            || tc_task_break_lots(task) < 0)) {
        return -1;
    }
    /* Abort functions and instruments have run: they may have scheduled it,
       too. The ready queue has no room for tasks that have ended. */
    if (task->exited || task->scheduled) {
        PyErr_SetString(runner->st->exc_TrioInternalError,
                        "a task ended that was also scheduled to run");
        return -1;
    }
    if (task->nursery != NULL
        || (task->scope != NULL && task->scope->abandoned
            && task->scope->parent == NULL)) {
        error = step_misnested(task, exc);
        if (error == NULL) {
            return -1;
        }
        exc = error;
        value = NULL;
    }
    if (tc_task_set_scope(task, NULL) < 0) {
        goto done;
    }
    task->exited = 1;
    tc_list_remove(&task->all_link);
    runner->n_tasks--;
    r = step_report_end(runner, task, value, exc);
    if (r == 0) {
        r = TC_HOOK(runner, TC_HOOK_TASK_EXITED, (PyObject *)task);
    }
    if (r == 0 && Awaitable_CheckExact(runner->st, task->coro)) {
        /* A coroutine that has ended holds nothing. */
        tc_awaitable_empty((AwaitableObject *)task->coro);
    }
    Py_DECREF(task);             /* the runner's own; our caller has one */
done:
    Py_XDECREF(error);
    return r;
}

/* --- requests ---------------------------------------------------------- */

/* task._schedule_points += 1, whatever it is. */
static int
step_count(TaskObject *task)
{
    if (task->schedule_points_object == NULL) {
        task->schedule_points++;
        return 0;
    }
    PyObject *one = PyLong_FromLong(1);
    if (one == NULL) {
        return -1;
    }
    PyObject *sum
        = PyNumber_InPlaceAdd(task->schedule_points_object, one);
    Py_DECREF(one);
    if (sum == NULL) {
        return -1;
    }
    Py_XSETREF(task->schedule_points_object, sum);
    return 0;
}

/* permanently_detach_coroutine_object(final_outcome). */
static int
step_detach(RunnerObject *runner, TaskObject *task, PyObject *outcome)
{
    tc_state *st = runner->st;
    PyObject *error_type = tc_state_outcome_error(st);
    if (error_type == NULL) {
        return -1;
    }
    int is_error = PyObject_IsInstance(outcome, error_type);
    if (is_error < 0) {
        return -1;
    }
    PyObject *payload
        = PyObject_GetAttrString(outcome, is_error ? "error" : "value");
    if (payload == NULL) {
        return -1;
    }
    if (is_error && !PyExceptionInstance_Check(payload)) {
        Py_DECREF(payload);
        PyErr_SetString(PyExc_TypeError,
                        "final_outcome must hold an exception");
        return -1;
    }
    int r = tc_runner_task_exited(runner, task, is_error ? NULL : payload,
                                  is_error ? payload : NULL);
    Py_DECREF(payload);
    return r;
}

/* Something that is not ours: TypeError at the bad await, thrown in since a
   foreign library will not look for what we leave in the task. */
static int
step_foreign(TaskObject *task, PyObject *message)
{
    PyObject *text = PyUnicode_FromFormat(
        "trio.run received unrecognized yield message %R. Are you trying to "
        "use a library written for some other framework like asyncio? That "
        "won't work without some kind of compatibility shim.",
        message);
    if (text == NULL) {
        return -1;
    }
    PyObject *exc = PyObject_CallOneArg(PyExc_TypeError, text);
    Py_DECREF(text);
    if (exc == NULL) {
        return -1;
    }
    task->throw_wake = 1;
    return tc_task_wake_error(task, exc);
}

/* message is stolen. */
static int
step_request(RunnerObject *runner, TaskObject *task, PyObject *message)
{
    int r;
    if (step_count(task) < 0) {
        Py_DECREF(message);
        return -1;
    }
    AwaitableObject *aw = (AwaitableObject *)message;
    if (!Awaitable_CheckExact(runner->st, message) || aw->task != task
        || aw->state != TC_AW_SUSPENDED) {
        r = step_foreign(task, message);
        Py_DECREF(message);
        return r;
    }
    switch (aw->trap) {
    case TC_TRAP_CHECKPOINT:
        r = tc_task_wake(task);
        break;
    case TC_TRAP_WAIT:
        task->cancel_points++;
        if (task->scheduled) {
            /* it has been rescheduled while it ran */
            r = 0;
            break;
        }
        task->waiting = aw;
        message = NULL;
        r = 0;
        /* Ctrl-C is outside all scopes, so it comes first. */
        if (runner->ki_pending && task == runner->main_task) {
            r = tc_task_deliver_ki(task);
        }
        if (r == 0) {
            r = tc_task_deliver_cancel(task);
        }
        break;
    case TC_TRAP_DETACH: {
        PyObject *outcome = Py_NewRef(aw->value);
        r = step_detach(runner, task, outcome);
        Py_DECREF(outcome);
        break;
    }
    default:
        r = step_foreign(task, message);
        break;
    }
    Py_XDECREF(message);
    return r;
}

/* --- the step ---------------------------------------------------------- */

/* coro.throw(exc): only for tasks that yielded something foreign. */
static PySendResult
step_throw(tc_state *st, PyObject *coro, PyObject *exc, PyObject **result)
{
    *result = PyObject_CallMethodOneArg(coro, st->str_throw, exc);
    if (*result != NULL) {
        return PYGEN_NEXT;
    }
    if (!PyErr_ExceptionMatches(PyExc_StopIteration)) {
        return PYGEN_ERROR;
    }
    PyObject *stop = PyErr_GetRaisedException();
    *result = PyObject_GetAttrString(stop, "value");
    Py_DECREF(stop);
    return *result == NULL ? PYGEN_ERROR : PYGEN_RETURN;
}

/* May the task go on at once? Yes, if it only let others run and a whole pass
   of the loop would come to nothing but resuming it. */
static inline int
step_goes_on(RunnerObject *runner, TaskObject *task, PyObject *message,
             tc_slots *slots)
{
    AwaitableObject *aw = (AwaitableObject *)message;
    return runner->n_ready == 0 && runner->n_batch == 1
           && Awaitable_CheckExact(runner->st, message)
           && aw->trap == TC_TRAP_CHECKPOINT && aw->task == task
           && aw->state == TC_AW_SUSPENDED && slots->task == task
           && task->schedule_points_object == NULL
           && task->sleep_data == NULL && !task->scheduled && !task->exited
           && tc_polling_only_tasks(runner);
}

static PySendResult
step_resume(RunnerObject *runner, TaskObject *task, PyObject **result,
            tc_slots *slots)
{
    tc_state *st = runner->st;
    PyObject *coro = Py_NewRef(task->coro);
    PyObject *context = Py_NewRef(task->context);
    PySendResult r = PYGEN_ERROR;
    if (PyContext_Enter(context) == 0) {
        task->running = 1;
        if (task->throw_wake) {
            PyObject *exc = task->wake_error;
            task->wake_error = NULL;
            task->throw_wake = 0;
            r = step_throw(st, coro, exc, result);
            Py_DECREF(exc);
        }
        else {
            r = PyIter_Send(coro, Py_None, result);
            while (r == PYGEN_NEXT && task->coro == coro
                   && task->context == context
                   && step_goes_on(runner, task, *result, slots)) {
                task->schedule_points++;
                Py_DECREF(*result);
                r = PyIter_Send(coro, Py_None, result);
            }
        }
        task->running = 0;
        if (PyContext_Exit(context) < 0 && r != PYGEN_ERROR) {
            Py_CLEAR(*result);
            r = PYGEN_ERROR;
        }
    }
    Py_DECREF(context);
    Py_DECREF(coro);
    return r;
}

int
tc_step_task(RunnerObject *runner, TaskObject *task, tc_slots *slots)
{
    task->scheduled = 0;
    if (task->exited) {
        PyErr_SetString(runner->st->exc_TrioInternalError,
                        "a task was rescheduled after it had ended");
        return -1;
    }
    if (task->waiting != NULL) {
        /* woken behind the back of what it waits in */
        AwaitableObject *waiting = task->waiting;
        task->waiting = NULL;
        if (waiting->op->abandon != NULL) {
            waiting->op->abandon(waiting);
        }
        Py_DECREF(waiting);
    }
    tc_context_put_task(slots, task);
    int r = TC_HOOK(runner, TC_HOOK_BEFORE_TASK_STEP, (PyObject *)task);
    if (r < 0) {
        return -1;
    }
    PyObject *result = NULL;
    PySendResult outcome = step_resume(runner, task, &result, slots);
    if (!task->scheduled) {
        /* left behind by a wait that was not resumed in the usual way */
        Py_CLEAR(task->wake_value);
        Py_CLEAR(task->wake_error);
    }
    switch (outcome) {
    case PYGEN_NEXT:
        r = step_request(runner, task, result);
        break;
    case PYGEN_RETURN:
        r = tc_runner_task_exited(runner, task, result, NULL);
        Py_DECREF(result);
        break;
    case PYGEN_ERROR: {
        PyObject *exc = PyErr_GetRaisedException();
        r = tc_runner_task_exited(runner, task, NULL, exc);
        Py_DECREF(exc);
        break;
    }
    }
    if (r == 0) {
        r = TC_HOOK(runner, TC_HOOK_AFTER_TASK_STEP, (PyObject *)task);
    }
    if (r == 0 && task->exited) {
        tc_context_put_task(slots, NULL);
    }
    return r;
}
