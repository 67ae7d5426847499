/* lot_breakers.c - tasks that break parking lots when they exit.
 *
 * Invariant: a breaker that is embedded in a lock is in the list of the
 * lock's owner, to whom the lock holds a reference. An allocated one belongs
 * to the task whose list it is in.
 */
#include "../glue/args.h"
#include "../glue/errors.h"
#include "../glue/function.h"
#include "parking_lot.h"

#define LOT_MODULE "trio_c.lowlevel"

int
tc_task_break_lots(TaskObject *task)
{
    PyObject *first_error = NULL;
    tc_link *link;
    while ((link = tc_list_first(&task->breakers)) != NULL) {
        tc_breaker *breaker = TC_CONTAINER_OF(link, tc_breaker, link);
        tc_list_remove(link);
        ParkingLotObject *lot = tc_lot_need(task->runner->st, &breaker->lot);
        if (lot == NULL) {
            tc_error_collect(&first_error);
            continue;
        }
        if (breaker->allocated) {
            PyMem_Free(breaker);  /* its reference is now in `lot` */
        }
        else {
            Py_INCREF(lot);
        }
        if (tc_lot_break(lot, (PyObject *)task) < 0) {
            tc_error_collect(&first_error);
        }
        Py_DECREF(lot);
    }
    return tc_error_raise_first(first_error);
}

void
tc_task_forget_breakers(TaskObject *task)
{
    tc_link *link;
    while ((link = tc_list_first(&task->breakers)) != NULL) {
        tc_breaker *breaker = TC_CONTAINER_OF(link, tc_breaker, link);
        tc_list_remove(link);
        if (breaker->allocated) {
            ParkingLotObject *lot = breaker->lot;
            PyMem_Free(breaker);
            Py_DECREF(lot);
        }
    }
}

int
tc_task_traverse_breakers(TaskObject *task, visitproc visit, void *arg)
{
    for (tc_link *link = task->breakers.next; link != &task->breakers;
         link = link->next) {
        tc_breaker *breaker = TC_CONTAINER_OF(link, tc_breaker, link);
        if (breaker->allocated) {
            Py_VISIT((PyObject *)breaker->lot);
        }
    }
    return 0;
}

static const tc_params add_breaker_params = {
    .fname = "add_parking_lot_breaker",
    .names = {"task", "lot"},
    .n_positional = 2,
    .n_required = 2,
};

static const tc_params remove_breaker_params = {
    .fname = "remove_parking_lot_breaker",
    .names = {"task", "lot"},
    .n_positional = 2,
    .n_required = 2,
};

/* Parses (task, lot) and checks their types. 0 or -1. */
static int
breaker_args(tc_state *st, const tc_params *params, PyObject *const *args,
             Py_ssize_t nargs, PyObject *kwnames, PyObject **given)
{
    if (tc_args_parse(params, args, nargs, kwnames, given) < 0) {
        return -1;
    }
    if (!Task_CheckExact(st, given[0])) {
        PyErr_Format(PyExc_TypeError, "task must be a Task, not %s",
                     Py_TYPE(given[0])->tp_name);
        return -1;
    }
    if (!ParkingLot_CheckExact(st, given[1])) {
        PyErr_Format(PyExc_TypeError, "lot must be a ParkingLot, not %s",
                     Py_TYPE(given[1])->tp_name);
        return -1;
    }
    return tc_home_check(given[0]) < 0 || tc_home_check(given[1]) < 0 ? -1
                                                                      : 0;
}

static PyObject *
breaker_add(FunctionObject *func, PyObject *Py_UNUSED(self),
            PyObject *const *args, Py_ssize_t nargs, PyObject *kwnames)
{
    tc_state *st = func->st;
    PyObject *given[2];
    if (breaker_args(st, &add_breaker_params, args, nargs, kwnames, given)
        < 0) {
        return NULL;
    }
    TaskObject *task = (TaskObject *)given[0];
    if (task->exited) {
        PyErr_SetString(st->exc_BrokenResourceError,
                        "Attempted to add already exited task as lot "
                        "breaker.");
        return NULL;
    }
    tc_breaker *breaker = PyMem_Malloc(sizeof(*breaker));
    if (breaker == NULL) {
        return PyErr_NoMemory();
    }
    breaker->lot = (ParkingLotObject *)Py_NewRef(given[1]);
    breaker->allocated = 1;
    tc_list_init(&breaker->link);
    tc_list_append(&task->breakers, &breaker->link);
    Py_RETURN_NONE;
}

/* The entry of task for that lot, one of add_parking_lot_breaker()'s if there
   is one; NULL without exception if there is none at all. */
static tc_breaker *
breaker_find(TaskObject *task, ParkingLotObject *lot)
{
    tc_breaker *found = NULL;
    for (tc_link *link = task->breakers.next; link != &task->breakers;
         link = link->next) {
        tc_breaker *breaker = TC_CONTAINER_OF(link, tc_breaker, link);
        if (breaker->lot == lot && (found == NULL || breaker->allocated)) {
            found = breaker;
            if (breaker->allocated) {
                break;
            }
        }
    }
    return found;
}

static PyObject *
breaker_remove(FunctionObject *func, PyObject *Py_UNUSED(self),
               PyObject *const *args, Py_ssize_t nargs, PyObject *kwnames)
{
    PyObject *given[2];
    if (breaker_args(func->st, &remove_breaker_params, args, nargs, kwnames,
                     given) < 0) {
        return NULL;
    }
    tc_breaker *breaker = breaker_find((TaskObject *)given[0],
                                       (ParkingLotObject *)given[1]);
    if (breaker == NULL) {
        PyErr_SetString(PyExc_RuntimeError,
                        "Attempted to remove task as breaker for a lot it is "
                        "not registered for");
        tc_error_from_none();
        return NULL;
    }
    tc_list_remove(&breaker->link);
    if (breaker->allocated) {
        PyMem_Free(breaker);
        Py_DECREF(given[1]);  /* the caller still holds one */
    }
    Py_RETURN_NONE;
}

/* The lots that task breaks: new list, or NULL. */
static PyObject *
breaker_list_lots(TaskObject *task)
{
    PyObject *lots = PyList_New(0);
    if (lots == NULL) {
        return NULL;
    }
    for (tc_link *link = task->breakers.next; link != &task->breakers;
         link = link->next) {
        tc_breaker *breaker = TC_CONTAINER_OF(link, tc_breaker, link);
        ParkingLotObject *lot = tc_lot_need(task->runner->st, &breaker->lot);
        if (lot == NULL || PyList_Append(lots, (PyObject *)lot) < 0) {
            Py_DECREF(lots);
            return NULL;
        }
    }
    return lots;
}

/* Enters the tasks of runner that break lots, with these. 0 or -1. */
static int
breaker_fill_table(PyObject *table, RunnerObject *runner)
{
    for (tc_link *link = runner->tasks.next; link != &runner->tasks;
         link = link->next) {
        TaskObject *task = TC_CONTAINER_OF(link, TaskObject, all_link);
        if (tc_list_is_empty(&task->breakers)) {
            continue;
        }
        PyObject *lots = breaker_list_lots(task);
        int r = lots == NULL
                    ? -1
                    : PyDict_SetItem(table, (PyObject *)task, lots);
        Py_XDECREF(lots);
        if (r < 0) {
            return -1;
        }
    }
    return 0;
}

/* parking_lot_breakers(): what trio_c._core._parking_lot shows as a global
   table: a new dict, task -> list of lots, of this thread's run. */
static PyObject *
breaker_table(FunctionObject *func, PyObject *Py_UNUSED(self),
              PyObject *const *Py_UNUSED(args), Py_ssize_t nargs,
              PyObject *kwnames)
{
    if (tc_args_none("parking_lot_breakers", nargs, kwnames) < 0) {
        return NULL;
    }
    PyObject *table = PyDict_New();
    RunnerObject *runner = tc_context_runner(func->st);
    if (table == NULL || runner == NULL) {
        return table;
    }
    /* In 3.11 allocating lists runs finalizers, which could change what is
       walked through. */
    int collects = PyGC_Disable();
    if (breaker_fill_table(table, runner) < 0) {
        Py_CLEAR(table);
    }
    if (collects) {
        (void)PyGC_Enable();
    }
    return table;
}

static const tc_function_def breaker_functions[] = {
    {"add_parking_lot_breaker", LOT_MODULE, breaker_add},
    {"remove_parking_lot_breaker", LOT_MODULE, breaker_remove},
    {"parking_lot_breakers", "trio_c._native", breaker_table},
    {NULL, NULL, NULL},
};

int
tc_lot_breakers_register(tc_state *st)
{
    return tc_function_add_to_module(st, breaker_functions);
}
