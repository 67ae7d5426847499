"""Events, locks and semaphores."""

from __future__ import annotations

import gc
import sys
import threading
import types
import weakref

import pytest
from _points import Points

import trio_c
from trio_c import lowlevel
from trio_c._core._parking_lot import GLOBAL_PARKING_LOT_BREAKER
from trio_c.testing import trio_test, wait_all_tasks_blocked

FACTORIES = {
    "Lock": trio_c.Lock,
    "StrictFIFOLock": trio_c.StrictFIFOLock,
    "Condition": trio_c.Condition,
    "Semaphore": lambda: trio_c.Semaphore(1),
    "CapacityLimiter": lambda: trio_c.CapacityLimiter(1),
}
every_lock = pytest.mark.parametrize(
    "factory", FACTORIES.values(), ids=FACTORIES.keys()
)


def lot_of(lock):
    return lock._lock._lot if isinstance(lock, trio_c.Condition) else lock._lot


# --- classes


@pytest.mark.parametrize(
    "cls",
    [
        trio_c.Event,
        trio_c.Lock,
        trio_c.StrictFIFOLock,
        trio_c.Semaphore,
        trio_c.CapacityLimiter,
        trio_c.Condition,
    ],
)
def test_class(cls):
    args = (1,) if cls in (trio_c.Semaphore, trio_c.CapacityLimiter) else ()
    obj = cls(*args)
    assert type(obj) is cls
    assert weakref.ref(obj)() is obj
    assert obj in {obj}
    assert obj != cls(*args)
    assert cls.__final__ is True
    assert cls.__module__ == "trio_c"
    with pytest.raises(TypeError, match=r"^\S*Sub does not support subclassing$"):
        types.new_class("Sub", (cls,))
    with pytest.raises(TypeError):
        cls(*args, nonsense=1)
    with pytest.raises(TypeError):
        cls(1, 2, 3)
    # Not through the vectorcall.
    assert type(cls.__new__(cls, *args)) is cls
    with pytest.raises(TypeError):
        cls.__new__(cls, 1, 2, 3)
    if cls is trio_c.Event:
        with pytest.raises(AttributeError):
            obj.attribute = 1
    else:
        obj.attribute = obj
        assert vars(obj) == {"attribute": obj}
        gone = weakref.ref(obj)
        del obj
        gc.collect()
        assert gone() is None


def test_lock_impl_can_be_subclassed():
    from trio_c._sync import _LockImpl

    class Named(_LockImpl):
        def __init__(self, name, *, color):
            self.name = name

    lock = Named("a", color="b")
    assert lock.name == "a"
    assert repr(lock).startswith("<unlocked Named object at 0x")
    assert isinstance(trio_c.Lock(), _LockImpl)
    with pytest.raises(TypeError):
        type("Other", (_LockImpl,), {})(1)


def test_names_are_upstreams():
    names = {
        trio_c.Event.wait: ("trio_c", "Event.wait"),
        trio_c.Lock.acquire: ("trio_c._sync", "_LockImpl.acquire"),
        trio_c.Condition.acquire: ("trio_c", "Condition.acquire"),
        trio_c.Semaphore.__aenter__: (
            "trio_c._sync",
            "AsyncContextManagerMixin.__aenter__",
        ),
    }
    for function, (module, qualname) in names.items():
        assert (function.__module__, function.__qualname__) == (module, qualname)


# --- Event


@trio_test
async def test_event():
    event = trio_c.Event()
    results = []

    async def waiter():
        with Points() as points:
            results.append(await event.wait())
        results.append(points.counted)

    async with trio_c.open_nursery() as nursery:
        nursery.start_soon(waiter)
        nursery.start_soon(waiter)
        await wait_all_tasks_blocked()
        assert event.statistics() == trio_c.EventStatistics(tasks_waiting=2)
        assert {t.custom_sleep_data for t in nursery.child_tasks} == {None}
        assert event.set() is None
        assert event.is_set()
        assert event.statistics().tasks_waiting == 0
        event.set()
    assert results == [None, (1, 1)] * 2
    with Points() as points:
        assert await event.wait() is None
    assert points.counted == (1, 1)
    with Points() as points, trio_c.CancelScope() as scope:
        scope.cancel()
        await event.wait()
    assert points.counted == (2, 2)
    with pytest.raises(
        NotImplementedError, match=r"^Trio events cannot be treated as bools; consider"
    ):
        bool(event)


@trio_test
async def test_event_set_beats_later_cancel():
    event = trio_c.Event()
    log = []

    async def waiter(scope):
        with scope:
            await event.wait()
            log.append("woken")

    scope = trio_c.CancelScope()
    async with trio_c.open_nursery() as nursery:
        nursery.start_soon(waiter, scope)
        await wait_all_tasks_blocked()
        event.set()
        scope.cancel()
    assert log == ["woken"]


@trio_test
async def test_event_waiter_that_goes_away():
    event = trio_c.Event()
    wait = event.wait()
    wait.send(None)
    assert event.statistics().tasks_waiting == 1
    wait.close()
    assert event.statistics().tasks_waiting == 0
    wait = event.wait()
    wait.send(None)
    del wait
    assert event.statistics().tasks_waiting == 0
    with trio_c.CancelScope() as scope:
        scope.cancel()
        await event.wait()
    assert event.statistics().tasks_waiting == 0
    event.set()


def test_event_outside_a_run():
    event = trio_c.Event()
    event.set()
    assert event.is_set()
    with pytest.raises(RuntimeError, match=r"^must be called from async context$"):
        trio_c.Event().wait().send(None)

    event = trio_c.Event()
    errors = []

    def set_it():
        try:
            event.set()
        except RuntimeError as exc:
            errors.append(str(exc))

    async def main():
        async with trio_c.open_nursery() as nursery:
            nursery.start_soon(event.wait)
            await wait_all_tasks_blocked()
            thread = threading.Thread(target=set_it)
            thread.start()
            thread.join()
            assert not event.is_set()
            assert event.statistics().tasks_waiting == 1
            event.set()

    trio_c.run(main)
    [error] = errors
    assert error.startswith("must be called from async context")


@trio_test
async def test_event_with_hundred_thousand_waiters():
    event = trio_c.Event()
    count = 100_000
    with trio_c.CancelScope() as scope:
        async with trio_c.open_nursery() as nursery:
            for _ in range(count):
                nursery.start_soon(event.wait)
            await wait_all_tasks_blocked()
            assert event.statistics().tasks_waiting == count
            scope.cancel()
            assert event.statistics().tasks_waiting == 0
    async with trio_c.open_nursery() as nursery:
        for _ in range(count):
            nursery.start_soon(event.wait)
        await wait_all_tasks_blocked()
        event.set()


def test_waiting_code_may_use_what_wakes_it():
    """Instruments run in the middle of waking."""
    event = trio_c.Event()
    lot = lowlevel.ParkingLot()

    class Meddler(trio_c.abc.Instrument):
        calls = 0

        def task_scheduled(self, task):
            if event.is_set():
                self.calls += 1
                event.set()
                assert event.statistics().tasks_waiting < 4
                lot.unpark_all()

    async def main():
        async with trio_c.open_nursery() as nursery:
            for _ in range(4):
                nursery.start_soon(event.wait)
                nursery.start_soon(lot.park)
            await wait_all_tasks_blocked()
            event.set()

    meddler = Meddler()
    trio_c.run(main, instruments=[meddler])
    assert meddler.calls >= 8


# --- what all locks have in common


@every_lock
@trio_test
async def test_lock_points(factory):
    lock = factory()
    with Points() as points:
        assert await lock.acquire() is None
    assert points.counted == (1, 1)
    with Points() as points:
        assert lock.release() is None
        assert lock.acquire_nowait() is None
    assert points.counted == (0, 0)
    counted = []

    async def contender():
        with Points() as points:
            async with lock as result:
                assert result is None
        counted.append(points.counted)

    async with trio_c.open_nursery() as nursery:
        nursery.start_soon(contender)
        await wait_all_tasks_blocked()
        assert lot_of(lock).statistics().tasks_waiting == 1
        (task,) = nursery.child_tasks
        assert task.custom_sleep_data is lot_of(lock)
        with Points() as points:
            await lock.__aexit__(None, None, None)
        assert points.counted == (0, 0)
    assert counted == [(2, 1)]
    with Points() as points, trio_c.CancelScope() as scope:
        scope.cancel()
        await lock.acquire()
    assert points.counted == (2, 2)
    lock.acquire_nowait()  # it was not acquired


@every_lock
@trio_test
async def test_lock_cancelled_waiter_leaves(factory):
    lock = factory()
    await lock.acquire()
    log = []

    async def contender(name):
        async with lock:
            log.append(name)

    async with trio_c.open_nursery() as nursery:
        nursery.start_soon(contender, "a")
        await wait_all_tasks_blocked()
        async with trio_c.open_nursery() as inner:
            inner.start_soon(contender, "b")
            await wait_all_tasks_blocked()
            nursery.start_soon(contender, "c")
            await wait_all_tasks_blocked()
            inner.cancel_scope.cancel()
        assert len(lot_of(lock)) == 2
        lock.release()
    assert log == ["a", "c"]


@every_lock
@trio_test
async def test_lock_cancelled_after_handover_has_it(factory):
    lock = factory()
    await lock.acquire()
    log = []

    async def contender():
        async with lock:
            log.append("has it")
            await lowlevel.checkpoint()
            log.append("never")

    async with trio_c.open_nursery() as nursery:
        nursery.start_soon(contender)
        await wait_all_tasks_blocked()
        lock.release()
        nursery.cancel_scope.cancel()
    assert log == ["has it"]
    lock.acquire_nowait()


@every_lock
@trio_test
async def test_lock_no_overtaking(factory):
    lock = factory()
    await lock.acquire()
    async with trio_c.open_nursery() as nursery:
        nursery.start_soon(lock.acquire)
        await wait_all_tasks_blocked()
        (task,) = nursery.child_tasks
        lock.release()
        # It is the other's already, though that one has not run yet.
        with pytest.raises(trio_c.WouldBlock):
            lock.acquire_nowait()
        if isinstance(lock, trio_c.CapacityLimiter):
            assert lock.statistics().borrowers == [task]
        await wait_all_tasks_blocked()


@every_lock
@trio_test
async def test_lock_suspended_wait_dropped(factory):
    lock = factory()
    await lock.acquire()

    async def other_task():
        wait = lock.acquire()
        wait.send(None)
        assert len(lot_of(lock)) == 1
        wait.close()
        assert len(lot_of(lock)) == 0
        wait = lock.__aenter__()
        wait.send(None)
        assert len(lot_of(lock)) == 1
        del wait
        assert len(lot_of(lock)) == 0

    async with trio_c.open_nursery() as nursery:
        nursery.start_soon(other_task)
    lock.release()
    lock.acquire_nowait()
    lock.release()


@every_lock
@trio_test
async def test_lock_many_waiters_in_order(factory):
    lock = factory()
    await lock.acquire()
    order, expected = [], []

    async def contender(i):
        expected.append(i)
        async with lock:
            order.append(i)

    async with trio_c.open_nursery() as nursery:
        for i in range(2000):
            nursery.start_soon(contender, i)
        await wait_all_tasks_blocked()
        assert len(lot_of(lock)) == 2000
        lock.release()
    assert order == expected
    assert sorted(order) == list(range(2000))


@every_lock
def test_lock_never_awaited(factory):
    lock = factory()
    with pytest.warns(RuntimeWarning, match="acquire' was never awaited"):
        lock.acquire()
        gc.collect()


@pytest.mark.parametrize("name", ["Lock", "StrictFIFOLock", "Condition"])
def test_lock_outside_a_run(name):
    lock = FACTORIES[name]()
    message = r"^must be called from async context$"
    for call in (lock.acquire_nowait, lock.release):
        with pytest.raises(RuntimeError, match=message):
            call()
    for call in (lock.acquire, lock.__aenter__):
        with pytest.raises(RuntimeError, match=message):
            call().send(None)
    with pytest.raises(RuntimeError, match=message):
        lock.__aexit__(None, None, None).send(None)
    assert not lock.locked()


# --- Lock


@trio_test
async def test_lock_errors():
    lock = trio_c.Lock()
    with pytest.raises(RuntimeError, match=r"^can't release a Lock you don't own$"):
        lock.release()
    held = r"^attempt to re-acquire an already held Lock$"
    async with lock:
        with pytest.raises(RuntimeError, match=held):
            lock.acquire_nowait()
        with Points() as points, pytest.raises(RuntimeError, match=held):
            await lock.acquire()
        assert points.counted == (1, 0)
        assert repr(lock).startswith("<locked Lock object at 0x")
        assert repr(lock).endswith(" with 0 waiters>")
        with pytest.raises(TypeError):
            lock.__aexit__(None)
    assert repr(lock).startswith("<unlocked Lock object at 0x")
    assert not lock.locked()


@trio_test
async def test_lock_aexit_releases_when_awaited():
    lock = trio_c.Lock()
    await lock.acquire()
    leaving = lock.__aexit__(None, None, None)
    assert lock.locked()
    await leaving
    assert not lock.locked()
    with pytest.raises(RuntimeError, match="don't own"):
        await lock.__aexit__(None, None, None)


@trio_test
async def test_lock_parked_by_hand_gets_the_lock():
    lock = trio_c.Lock()
    lock.acquire_nowait()
    log = []

    async def by_hand():
        await lock._lot.park()
        assert lock.statistics().owner is lowlevel.current_task()
        assert lowlevel.current_task() in GLOBAL_PARKING_LOT_BREAKER
        log.append("by hand")
        lock.release()

    async def ordinary():
        async with lock:
            log.append("ordinary")

    async with trio_c.open_nursery() as nursery:
        nursery.start_soon(by_hand)
        await wait_all_tasks_blocked()
        nursery.start_soon(ordinary)
        await wait_all_tasks_blocked()
        assert lock.statistics().tasks_waiting == 2
        lock.release()
    assert log == ["by hand", "ordinary"]
    assert not lock.locked()
    assert not GLOBAL_PARKING_LOT_BREAKER


@trio_test
async def test_lock_whose_owner_exits():
    lock = trio_c.Lock()
    errors = []

    async def owner(release):
        await lock.acquire()
        await release.wait()

    async def contender():
        try:
            await lock.acquire()
        except trio_c.BrokenResourceError as exc:
            errors.append(exc)

    release = trio_c.Event()
    async with trio_c.open_nursery() as nursery:
        nursery.start_soon(owner, release)
        await wait_all_tasks_blocked()
        task = lock.statistics().owner
        nursery.start_soon(contender)
        nursery.start_soon(contender)
        await wait_all_tasks_blocked()
        release.set()
    message = f"Owner of this lock exited without releasing: {task}"
    assert [str(exc) for exc in errors] == [message] * 2
    assert all(exc.__suppress_context__ and exc.__cause__ is None for exc in errors)
    assert lock.locked()
    assert lock._lot.broken_by == [task]
    with Points() as points, pytest.raises(trio_c.BrokenResourceError) as info:
        await lock.acquire()
    assert str(info.value) == message
    assert points.counted == (1, 0)
    with pytest.raises(trio_c.WouldBlock):
        lock.acquire_nowait()
    assert not GLOBAL_PARKING_LOT_BREAKER


@trio_test
async def test_lock_dropped_while_held():
    gone = []

    async def careless():
        lock = trio_c.Lock()
        await lock.acquire()
        gone.append(weakref.ref(lock))
        del lock
        gc.collect()
        assert gone[0]() is None
        assert not GLOBAL_PARKING_LOT_BREAKER
        lock = trio_c.Lock()  # part of a cycle with its owner
        lock.me = lock
        await lock.acquire()
        gone.append(weakref.ref(lock))

    async with trio_c.open_nursery() as nursery:
        nursery.start_soon(careless)
    gc.collect()
    assert gone[1]() is None


@trio_test
async def test_lock_breaker_taken_away():
    lock, me = trio_c.Lock(), lowlevel.current_task()
    lock.acquire_nowait()
    lowlevel.remove_parking_lot_breaker(me, lock._lot)
    with pytest.raises(RuntimeError, match="not registered for"):
        lock.release()
    assert lock.locked()


@trio_test
async def test_lock_waiter_rescheduled_by_hand():
    lock = trio_c.Lock()
    lock.acquire_nowait()
    async with trio_c.open_nursery() as nursery:
        nursery.start_soon(lock.acquire)
        await wait_all_tasks_blocked()
        lowlevel.reschedule(*nursery.child_tasks)
        assert len(lock._lot) == 0
    lock.release()
    assert not lock.locked()


# --- Semaphore


@trio_test
async def test_semaphore():
    semaphore = trio_c.Semaphore(2, max_value=3)
    assert (semaphore.value, semaphore.max_value) == (2, 3)
    assert repr(semaphore) == f"<trio.Semaphore(2, max_value=3) at {id(semaphore):#x}>"
    semaphore.release()
    with pytest.raises(ValueError, match=r"^semaphore released too many times$"):
        semaphore.release()
    async with semaphore:
        assert semaphore.value == 2
    assert semaphore.statistics() == lowlevel.ParkingLotStatistics(0)
    semaphore = trio_c.Semaphore(0)
    assert repr(semaphore) == f"<trio.Semaphore(0) at {id(semaphore):#x}>"
    assert semaphore.max_value is None
    with pytest.raises(trio_c.WouldBlock):
        semaphore.acquire_nowait()
    for name in ("value", "max_value"):
        with pytest.raises(AttributeError):
            setattr(semaphore, name, 1)


def test_semaphore_arguments():
    for args, kwargs, error, message in [
        ((1.0,), {}, TypeError, "initial_value must be an int"),
        ((-1,), {}, ValueError, "initial value must be >= 0"),
        ((-(10**30),), {}, ValueError, "initial value must be >= 0"),
        ((1,), {"max_value": 1.0}, TypeError, "max_value must be None or an int"),
        ((2,), {"max_value": 1}, ValueError, "max_values must be >= initial_value"),
        (
            (0,),
            {"max_value": -(10**30)},
            ValueError,
            "max_values must be >= initial_value",
        ),
    ]:
        with pytest.raises(error, match=f"^{message}$"):
            trio_c.Semaphore(*args, **kwargs)
    with pytest.raises(TypeError):
        trio_c.Semaphore(1, 2)
    with pytest.raises(TypeError):
        trio_c.Semaphore()
    assert trio_c.Semaphore(initial_value=5, max_value=10**30).max_value == 10**30
    # More than can ever be counted down.
    with pytest.raises(OverflowError):
        trio_c.Semaphore(10**30)
    semaphore = trio_c.Semaphore(sys.maxsize)
    with pytest.raises(ValueError, match="released too many times"):
        semaphore.release()
    semaphore.acquire_nowait()
    assert semaphore.value == sys.maxsize - 1


def test_semaphore_works_outside_a_run():
    semaphore = trio_c.Semaphore(1)
    semaphore.acquire_nowait()
    semaphore.release()
    assert semaphore.value == 1


# --- events


def test_an_event_begins_anew_in_the_memory_of_another():
    """More than are kept for reuse; set, and with weak references."""

    async def main():
        for _ in range(2):
            events = [trio_c.Event() for _ in range(2500)]
            gone = []
            for event in events:
                assert not event.is_set()
                assert event.statistics().tasks_waiting == 0
                assert weakref.getweakrefcount(event) == 0
                gone.append(weakref.ref(event))
                event.set()
            del event, events
            assert not any(ref() for ref in gone)

    trio_c.run(main)
