"""Parking lots, what breaks them, UnboundedQueue."""

from __future__ import annotations

import gc
import math
import weakref

import pytest

import trio_c
from trio_c import lowlevel
from trio_c._core._parking_lot import GLOBAL_PARKING_LOT_BREAKER
from trio_c.lowlevel import ParkingLot
from trio_c.testing import trio_test, wait_all_tasks_blocked


async def park(lot, log=None, name=None):
    try:
        await lot.park()
    except BaseException as exc:
        if log is None:
            raise
        log.append((name, type(exc).__name__))
        if isinstance(exc, trio_c.Cancelled):
            raise
    else:
        if log is not None:
            log.append((name, "woken"))


async def parked(nursery, lot, count, log=None):
    """`count` tasks named 0, 1, ..., parked in that order."""
    for i in range(count):
        nursery.start_soon(park, lot, log, i)
        await wait_all_tasks_blocked()
        assert len(lot) == i + 1


# --- parking


def test_parking_lot_object():
    lot = ParkingLot()
    assert not lot
    assert len(lot) == 0
    assert lot.broken_by == []
    assert lot.broken_by is lot.broken_by
    assert ParkingLot.__new__(ParkingLot) is not lot
    assert weakref.ref(lot)() is lot
    assert not hasattr(lot, "__dict__")
    assert lot != ParkingLot()
    assert lot in {lot}
    assert repr(lot) == "ParkingLot(_parked=OrderedDict(), broken_by=[])"
    assert ParkingLot.__final__
    for bad in ((1,), {"count": 1}):
        with pytest.raises(TypeError):
            ParkingLot(*bad) if isinstance(bad, tuple) else ParkingLot(**bad)
    with pytest.raises(TypeError, match="does not support subclassing"):
        type("Sub", (ParkingLot,), {})


@pytest.mark.parametrize(
    ("count", "woken"),
    [
        (0, 0),
        (1, 1),
        (3, 3),
        (4, 4),
        (10**30, 4),
        (-1, 0),
        (-(10**30), 0),
        (True, 1),
        (math.inf, 4),
    ],
)
@trio_test
async def test_unpark_count(count, woken):
    lot = ParkingLot()
    async with trio_c.open_nursery() as nursery:
        await parked(nursery, lot, 4)
        waiting = list(nursery.child_tasks)
        tasks = lot.unpark(count=count)
        assert len(tasks) == woken
        assert set(tasks) <= set(waiting)
        assert len(lot) == lot.statistics().tasks_waiting == 4 - woken
        lot.unpark_all()
        assert not lot


@pytest.mark.parametrize("count", [1.5, 1.0, math.nan])
def test_unpark_wrong_float(count):
    message = r"^Cannot pop a non-integer number of tasks\.$"
    with pytest.raises(ValueError, match=message):
        ParkingLot().unpark(count=count)
    with pytest.raises(ValueError, match=message):
        ParkingLot().repark(ParkingLot(), count=count)


def test_unpark_wrong_type():
    with pytest.raises(TypeError):
        ParkingLot().unpark(count="many")
    with pytest.raises(TypeError, match="positional"):
        ParkingLot().unpark(1)


@trio_test
async def test_unpark_returns_tasks_in_order_of_parking():
    lot = ParkingLot()
    order = []

    async def parker():
        order.append(lowlevel.current_task())
        await lot.park()

    async with trio_c.open_nursery() as nursery:
        for _ in range(5):
            nursery.start_soon(parker)
        await wait_all_tasks_blocked()
        assert lot.unpark(count=2) == order[:2]
        assert lot.unpark_all() == order[2:]
        assert lot.unpark() == []


@trio_test
async def test_park_counts_as_one_wait_and_returns_none():
    lot = ParkingLot()
    task = lowlevel.current_task()
    result = []

    async def parker():
        me = lowlevel.current_task()
        before = me._cancel_points, me._schedule_points
        result.append(await lot.park())
        result.append((me._cancel_points - before[0], me._schedule_points - before[1]))

    async with trio_c.open_nursery() as nursery:
        nursery.start_soon(parker)
        await wait_all_tasks_blocked()
        (parker_task,) = nursery.child_tasks
        assert parker_task.custom_sleep_data is lot
        lot.unpark()
        assert parker_task.custom_sleep_data is None
    assert result == [None, (1, 1)]
    assert task.custom_sleep_data is None


@trio_test
async def test_repark():
    one, two = ParkingLot(), ParkingLot()
    log = []
    async with trio_c.open_nursery() as nursery:
        await parked(nursery, one, 4, log)
        one.repark(two)
        assert (len(one), len(two)) == (3, 1)
        one.repark(two, count=2)
        assert (len(one), len(two)) == (1, 3)
        two.repark_all(one)  # behind number 3
        assert (len(one), len(two)) == (4, 0)
        one.repark(one, count=math.inf)  # once around
        for _ in range(4):
            one.unpark()
            await wait_all_tasks_blocked()
    assert log == [(3, "woken"), (0, "woken"), (1, "woken"), (2, "woken")]
    for bad in (None, [], object()):
        with pytest.raises(TypeError, match=r"^new_lot must be a ParkingLot$"):
            one.repark(bad)
        with pytest.raises(TypeError, match=r"^new_lot must be a ParkingLot$"):
            one.repark_all(bad)


@trio_test
async def test_reparked_task_belongs_to_the_new_lot():
    one, two = ParkingLot(), ParkingLot()
    async with trio_c.open_nursery() as nursery:
        await parked(nursery, one, 1)
        (task,) = nursery.child_tasks
        one.repark(two)
        assert task.custom_sleep_data is two
        one.unpark_all()
        assert len(two) == 1
        nursery.cancel_scope.cancel()
        await wait_all_tasks_blocked()
        assert len(two) == 0


@trio_test
async def test_cancelled_task_leaves_the_middle():
    lot = ParkingLot()
    log = []
    async with trio_c.open_nursery() as nursery:
        await parked(nursery, lot, 1, log)
        with trio_c.CancelScope() as scope:
            async with trio_c.open_nursery() as inner:
                inner.start_soon(park, lot, log, "inner")
                await wait_all_tasks_blocked()
                nursery.start_soon(park, lot, log, "last")
                await wait_all_tasks_blocked()
                scope.cancel()
        assert len(lot) == 2
        lot.unpark_all()
    assert log[0] == ("inner", "Cancelled")
    assert sorted(log[1:], key=str) == [("last", "woken"), (0, "woken")]


@trio_test
async def test_woken_and_cancelled_at_once_is_woken():
    lot = ParkingLot()
    log = []
    async with trio_c.open_nursery() as nursery:
        await parked(nursery, lot, 2, log)
        lot.unpark()
        nursery.cancel_scope.cancel()
    assert sorted(log) == [(0, "woken"), (1, "Cancelled")]


# --- who does not come back, and who has no business here


@trio_test
async def test_closed_or_dropped_wait_leaves_the_lot():
    lot = ParkingLot()
    for end in ("close", "throw", "drop"):
        wait = lot.park()
        wait.send(None)
        assert len(lot) == 1
        if end == "close":
            wait.close()
        elif end == "throw":
            with pytest.raises(ZeroDivisionError):
                wait.throw(ZeroDivisionError())
        del wait
        gc.collect()
        assert len(lot) == 0


@trio_test
async def test_resumed_by_hand_leaves_the_lot():
    lot = ParkingLot()
    wait = lot.park()
    wait.send(None)
    with pytest.raises(StopIteration):
        wait.send(None)
    assert len(lot) == 0
    assert lot.unpark() == []


@trio_test
async def test_rescheduled_by_hand_leaves_the_lot():
    lot = ParkingLot()
    async with trio_c.open_nursery() as nursery:
        await parked(nursery, lot, 1)
        lowlevel.reschedule(*nursery.child_tasks)
        assert len(lot) == 0


@trio_test
async def test_parked_coroutine_in_a_cycle_is_collected():
    lot = ParkingLot()
    gone = []

    class Note:
        def __del__(self):
            gone.append(True)

    async def park_for_ever(self, note):
        await lot.park()

    note = Note()
    holder = []
    holder.append(park_for_ever(holder, note))
    holder[0].send(None)
    assert len(lot) == 1
    del holder, note
    gc.collect()
    assert gone == [True]
    assert len(lot) == 0


def test_waking_from_outside_fails_and_changes_nothing():
    lot = ParkingLot()
    errors = []

    def from_outside():
        for wake in (lot.unpark, lot.unpark_all, lambda: lot.break_lot(None)):
            try:
                wake()
            except RuntimeError as exc:
                errors.append(str(exc))

    async def main():
        import threading

        async with trio_c.open_nursery() as nursery:
            await parked(nursery, lot, 2)
            thread = threading.Thread(target=from_outside)
            thread.start()
            thread.join()
            assert len(lot) == 2
            assert lot.broken_by == []
            lot.unpark_all()

    trio_c.run(main)
    assert len(errors) == 3
    assert all(e.startswith("must be called from async context") for e in errors)
    assert lot.unpark() == []


def test_waking_from_another_run_fails():
    lot = ParkingLot()
    errors = []

    async def other():
        # Without a GIL it is not looked at, let alone used.
        with pytest.raises((AssertionError, RuntimeError), match="another"):
            lot.unpark()
        errors.append(True)

    async def main():
        import threading

        async with trio_c.open_nursery() as nursery:
            await parked(nursery, lot, 1)
            thread = threading.Thread(target=trio_c.run, args=(other,))
            thread.start()
            thread.join()
            lot.unpark()

    trio_c.run(main)
    assert errors == [True]


@trio_test
async def test_hundred_thousand_parked():
    lot = ParkingLot()
    count = 100_000
    async with trio_c.open_nursery() as nursery:
        for _ in range(count):
            nursery.start_soon(lot.park)
        await wait_all_tasks_blocked()
        assert len(lot) == count
        assert len(lot.unpark(count=count // 2)) == count // 2
        nursery.cancel_scope.cancel()
        assert len(lot) == 0


def test_park_outside_a_run():
    with pytest.raises(RuntimeError, match=r"^must be called from async context$"):
        ParkingLot().park().send(None)


# --- broken lots


@trio_test
async def test_break_lot():
    lot = ParkingLot()
    me = lowlevel.current_task()
    errors = []

    async def parker():
        try:
            await lot.park()
        except trio_c.BrokenResourceError as exc:
            errors.append(exc)

    async with trio_c.open_nursery() as nursery:
        nursery.start_soon(parker)
        nursery.start_soon(parker)
        await wait_all_tasks_blocked()
        lot.break_lot()
        assert not lot
    assert [str(exc) for exc in errors] == [f"Parking lot broken by {me}"] * 2
    assert errors[0] is not errors[1]
    assert lot.broken_by == [me]
    with pytest.raises(trio_c.BrokenResourceError) as info:
        await lot.park()
    assert str(info.value) == f"Attempted to park in parking lot broken by [{me}]"
    lot.break_lot(task=me)
    assert lot.broken_by == [me, me]


@trio_test
async def test_breaker_whose_repr_parks_and_breaks():
    lot = ParkingLot()

    class Breaker:
        def __str__(self):
            if not lot.broken_by:
                lot.break_lot()
            return "B"

    async with trio_c.open_nursery() as nursery:
        log = []
        await parked(nursery, lot, 2, log)
        breaker = Breaker()
        lot.break_lot(breaker)
    assert sorted(log) == [
        (0, "BrokenResourceError"),
        (1, "BrokenResourceError"),
    ]
    assert lot.broken_by == [lowlevel.current_task(), breaker]


async def sleep_and_tell(*, task_status):
    task_status.started(lowlevel.current_task())
    await trio_c.sleep_forever()


@trio_test
async def test_breakers_are_counted():
    lot = ParkingLot()
    async with trio_c.open_nursery() as nursery:
        task = await nursery.start(sleep_and_tell)
        for _ in range(3):
            lowlevel.add_parking_lot_breaker(task, lot)
        assert {task: [lot, lot, lot]} == GLOBAL_PARKING_LOT_BREAKER
        lowlevel.remove_parking_lot_breaker(task, lot)
        assert GLOBAL_PARKING_LOT_BREAKER[task] == [lot, lot]
        nursery.cancel_scope.cancel()
    assert lot.broken_by == [task, task]
    assert not GLOBAL_PARKING_LOT_BREAKER
    with pytest.raises(
        trio_c.BrokenResourceError,
        match=r"^Attempted to add already exited task as lot breaker\.$",
    ):
        lowlevel.add_parking_lot_breaker(task, lot)


@trio_test
async def test_breaker_arguments():
    lot, task = ParkingLot(), lowlevel.current_task()
    not_registered = (
        "^Attempted to remove task as breaker for a lot it is not registered for$"
    )
    with pytest.raises(RuntimeError, match=not_registered):
        lowlevel.remove_parking_lot_breaker(task, lot)
    lowlevel.add_parking_lot_breaker(task=task, lot=lot)
    with pytest.raises(RuntimeError, match=not_registered):
        lowlevel.remove_parking_lot_breaker(task, ParkingLot())
    lowlevel.remove_parking_lot_breaker(task, lot)
    for call in (lowlevel.add_parking_lot_breaker, lowlevel.remove_parking_lot_breaker):
        with pytest.raises(TypeError):
            call(task, None)
        with pytest.raises(TypeError):
            call(None, lot)
        with pytest.raises(TypeError):
            call(task)
    assert not GLOBAL_PARKING_LOT_BREAKER


def test_breaker_table_outside_a_run():
    assert len(GLOBAL_PARKING_LOT_BREAKER) == 0
    assert {} == GLOBAL_PARKING_LOT_BREAKER
    assert None not in GLOBAL_PARKING_LOT_BREAKER
    assert repr(GLOBAL_PARKING_LOT_BREAKER) == "{}"


@trio_test
async def test_breaker_table_shows_locks():
    lock, other = trio_c.Lock(), trio_c.StrictFIFOLock()
    me = lowlevel.current_task()
    async with lock, other:
        lowlevel.add_parking_lot_breaker(me, lock._lot)
        assert dict(GLOBAL_PARKING_LOT_BREAKER) == {
            me: [lock._lot, other._lot, lock._lot]
        }
        lowlevel.remove_parking_lot_breaker(me, lock._lot)
        assert me in GLOBAL_PARKING_LOT_BREAKER
        assert list(GLOBAL_PARKING_LOT_BREAKER) == [me]
        assert GLOBAL_PARKING_LOT_BREAKER[me] == [lock._lot, other._lot]
    assert not GLOBAL_PARKING_LOT_BREAKER


@trio_test
async def test_lot_that_breaks_keeps_its_breaker_but_no_cycle():
    lot = ParkingLot()

    async def breaker(lot):
        lowlevel.add_parking_lot_breaker(lowlevel.current_task(), lot)

    async with trio_c.open_nursery() as nursery:
        nursery.start_soon(breaker, lot)
    (task,) = lot.broken_by
    gone = weakref.ref(lot)
    del lot
    assert gone() is None
    assert repr(task)


# --- UnboundedQueue


def new_queue():
    with pytest.warns(trio_c.TrioDeprecationWarning, match="UnboundedQueue"):
        return lowlevel.UnboundedQueue()


def test_unbounded_queue_blames_its_maker():
    with pytest.warns(trio_c.TrioDeprecationWarning) as caught:
        lowlevel.UnboundedQueue[int]()
    assert [w.filename for w in caught] == [__file__]
    assert str(caught[0].message) == (
        "trio.lowlevel.UnboundedQueue is deprecated since Trio 0.9.0; use "
        "trio.open_memory_channel(math.inf) instead "
        "(https://github.com/python-trio/trio/issues/497)"
    )


@pytest.mark.filterwarnings("error::FutureWarning")
def test_unbounded_queue_warning_as_error():
    with pytest.raises(trio_c.TrioDeprecationWarning):
        lowlevel.UnboundedQueue()


@trio_test
async def test_unbounded_queue():
    queue = new_queue()
    queue.attribute = 1
    assert repr(queue) == "<UnboundedQueue holding 0 items>"
    assert queue.empty()
    with pytest.raises(trio_c.WouldBlock):
        queue.get_batch_nowait()
    for i in range(3):
        queue.put_nowait(obj=i)
    assert queue.statistics() == lowlevel.UnboundedQueueStatistics(3, 0)
    me = lowlevel.current_task()
    before = me._cancel_points, me._schedule_points
    assert await queue.get_batch() == [0, 1, 2]
    assert (me._cancel_points - before[0], me._schedule_points - before[1]) == (1, 1)

    batches = []

    async def reader():
        async for batch in queue:
            batches.append(batch)

    async with trio_c.open_nursery() as nursery:
        nursery.start_soon(reader)
        await wait_all_tasks_blocked()
        assert queue.statistics().tasks_waiting == 1
        queue.put_nowait("a")
        queue.put_nowait("b")
        with pytest.raises(trio_c.WouldBlock):  # promised to the reader
            queue.get_batch_nowait()
        await wait_all_tasks_blocked()
        assert batches == [["a", "b"]]
        nursery.cancel_scope.cancel()
    assert queue.statistics().tasks_waiting == 0
    queue.put_nowait("c")
    with trio_c.CancelScope() as scope:
        scope.cancel()
        await queue.get_batch()
    assert queue.get_batch_nowait() == ["c"]


@trio_test
async def test_unbounded_queue_in_a_cycle_is_collected():
    queue = new_queue()
    queue.put_nowait(queue)
    gone = weakref.ref(queue)
    del queue
    gc.collect()
    assert gone() is None
