/* parking_lot.h - FIFO of parked awaitables; what locks are made of. */
#ifndef TC_KERNEL_PARKING_LOT_H
#define TC_KERNEL_PARKING_LOT_H

#include "../glue/awaitable.h"
#include "context.h"
#include "runner.h"
#include "task.h"

typedef struct ParkingLotObject ParkingLotObject;
struct ParkingLotObject {
    TC_HOME_HEAD
    tc_state *st;            /* borrowed */
    tc_link parked;          /* of awaitables, through link */
    Py_ssize_t n_parked;
    PyObject *broken_by;     /* owned list; NULL until broken or asked for */
    PyObject *weakrefs;
};

/* One entry of a task's list of lots to break when it exits. Embedded in
   locks; allocated, and then the task's, for add_parking_lot_breaker(). */
typedef struct tc_breaker {
    tc_link link;            /* in task->breakers */
    ParkingLotObject *lot;   /* owned; NULL: made when first needed */
    uint8_t allocated;
} tc_breaker;

static inline int
ParkingLot_CheckExact(tc_state *st, PyObject *op)
{
    return Py_IS_TYPE(op, st->ParkingLotType);
}

ParkingLotObject *tc_lot_new(tc_state *st);
/* The lot in *slot, made if there is none yet. Borrowed, or NULL. */
ParkingLotObject *tc_lot_need(tc_state *st, ParkingLotObject **slot);

static inline int
tc_lot_is_empty(ParkingLotObject *lot)
{
    return lot == NULL || lot->n_parked == 0;
}

/* Park self, which `task` is running; self->extra becomes a strong reference
   to the lot. 0, or -1 with BrokenResourceError. Then return
   tc_trap_wait(). */
int tc_lot_park(ParkingLotObject *lot, AwaitableObject *self,
                TaskObject *task);
/* Take self out of its lot if it is in one: op->abandon of whatever parks. */
void tc_lot_unpark_self(AwaitableObject *self);
/* The lot self is or was parked in: op->sleep_data of whatever parks. */
PyObject *tc_lot_of(AwaitableObject *self);
/* First parked awaitable, out of the lot; new reference; NULL if empty. */
AwaitableObject *tc_lot_pop(ParkingLotObject *lot);
/* May this thread wake who is parked here (tc_waiter_check)? 0 or -1. */
int tc_lot_check(ParkingLotObject *lot);
/* Wake the first parked task, if there is one. 0 or -1; runs Python. */
int tc_lot_wake_first(ParkingLotObject *lot);
/* Move up to `count` to another lot. Runs no Python. */
void tc_lot_repark(ParkingLotObject *lot, ParkingLotObject *to,
                   Py_ssize_t count);
/* The `count` of unpark() and the like as a number (inf: all of lot; lot may
   be NULL). 0 or -1. */
int tc_lot_count(ParkingLotObject *lot, PyObject *count, Py_ssize_t *result);
/* break_lot(breaker); whoever is parked gets BrokenResourceError. 0 or -1;
   runs Python. */
int tc_lot_break(ParkingLotObject *lot, PyObject *breaker);

/* -1 with the error of: */
int tc_waiter_refuse(AwaitableObject *aw);
/* May this thread wake what waits in `aw`? Only from inside its run. 0, or
   -1 with RuntimeError or AssertionError. Ask before changing anything. */
static inline int
tc_waiter_check(AwaitableObject *aw)
{
    return tc_thread_slots.runner == aw->task->runner ? 0
                                                      : tc_waiter_refuse(aw);
}
/* Wake the waiting aw, which is out of its list, with a new exception of
   type `type`. 0 or -1; runs Python. */
int tc_waiter_fail(AwaitableObject *aw, PyObject *type);

/* For loops that go on after an error and report the first: keep the raised
   exception in *first, or drop it if there is one already. */
void tc_error_collect(PyObject **first);
/* Raise *first (stolen; NULL: nothing). 0 or -1. */
int tc_error_raise_first(PyObject *first);

/* The task exits: break everything it is registered for. 0 or -1. */
int tc_task_break_lots(TaskObject *task);
/* Part of the task's tp_traverse. */
int tc_task_traverse_breakers(TaskObject *task, visitproc visit, void *arg);

int tc_parking_lot_register(tc_state *st);
int tc_lot_breakers_register(tc_state *st);  /* part of the former */

#endif
