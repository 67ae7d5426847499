"""What can be copied and pickled: by itself, in the same state, unless tasks
use it. And what is shown of it."""

from __future__ import annotations

import copy
import inspect
import math
import pickle
from collections import OrderedDict

import pytest

import trio_c as trio
from trio_c import lowlevel
from trio_c.testing import trio_test, wait_all_tasks_blocked

WAYS = [
    copy.copy,
    copy.deepcopy,
    *(
        lambda obj, protocol=protocol: pickle.loads(pickle.dumps(obj, protocol))
        for protocol in range(2, pickle.HIGHEST_PROTOCOL + 1)
    ),
]


@pytest.fixture(params=WAYS)
def other(request: pytest.FixtureRequest):
    """One way to make another one."""
    return request.param


def test_event(other) -> None:
    event = trio.Event()
    fresh = other(event)
    event.set()
    assert other(event).is_set()
    assert not fresh.is_set()


@pytest.mark.parametrize("make", [trio.Lock, trio.StrictFIFOLock])
def test_lock(other, make) -> None:
    lock = make()
    lock.note = "on the instance"
    double = other(lock)
    assert type(double) is make
    assert double is not lock
    assert vars(double) == {"note": "on the instance"}

    async def main() -> None:
        # They are two locks.
        async with lock, double:
            with pytest.raises(TypeError, match=f"^cannot pickle '{make.__name__}'"):
                other(lock)
        other(lock)

    trio.run(main)


def test_semaphore(other) -> None:
    double = other(trio.Semaphore(3, max_value=4))
    assert (double.value, double.max_value) == (3, 4)
    assert other(trio.Semaphore(0)).max_value is None


def test_limiter(other) -> None:
    limiter = trio.CapacityLimiter(2)
    limiter.acquire_on_behalf_of_nowait("a")
    limiter.acquire_on_behalf_of_nowait("b")
    limiter.total_tokens = 1
    double = other(limiter)
    limiter.release_on_behalf_of("a")
    assert (double.total_tokens, double.borrowed_tokens) == (1, 2)
    assert double.available_tokens == -1
    double.release_on_behalf_of("b")
    assert double.statistics().borrowers == ["a"]
    assert other(trio.CapacityLimiter(math.inf)).total_tokens == math.inf


def test_condition() -> None:
    lock = trio.Lock()
    one, two = copy.deepcopy((trio.Condition(lock), trio.Condition(lock)))
    assert one._lock is two._lock is not lock
    assert copy.copy(trio.Condition(lock))._lock is lock


def test_run_var(other) -> None:
    assert repr(other(lowlevel.RunVar("name"))) == "<RunVar name='name'>"

    async def main() -> None:
        with pytest.raises(LookupError):
            other(lowlevel.RunVar("name")).get()
        var = lowlevel.RunVar("name", [1])
        var.set(2)
        # The copy is another variable.
        assert other(var).get() == [1]

    trio.run(main)


@trio_test
async def test_nothing_is_torn_from_under_tasks() -> None:
    lot, event = lowlevel.ParkingLot(), trio.Event()
    semaphore, limiter = trio.Semaphore(0), trio.CapacityLimiter(0)
    condition = trio.Condition()

    async def wait_for_news() -> None:
        async with condition:
            await condition.wait()

    waits = {
        lot: lot.park,
        event: event.wait,
        semaphore: semaphore.acquire,
        limiter: limiter.acquire,
        condition: wait_for_news,
    }
    for thing in waits:
        copy.deepcopy(thing)
    async with trio.open_nursery() as nursery:
        for wait in waits.values():
            nursery.start_soon(wait)
        await wait_all_tasks_blocked()
        for thing in waits:
            with pytest.raises(TypeError, match="object while tasks use it$"):
                copy.copy(thing)
        nursery.cancel_scope.cancel()
    for thing in waits:
        copy.deepcopy(thing)
    lot.break_lot()
    with pytest.raises(TypeError, match="object while tasks use it$"):
        pickle.dumps(lot)


@trio_test
async def test_a_lot_shows_who_is_parked() -> None:
    lot = lowlevel.ParkingLot()
    tasks = []

    async def park() -> None:
        tasks.append(lowlevel.current_task())
        await lot.park()

    async with trio.open_nursery() as nursery:
        for _ in range(3):
            nursery.start_soon(park)
            await wait_all_tasks_blocked()
        parked = OrderedDict.fromkeys(tasks)
        assert lot._parked == parked
        assert repr(lot) == f"ParkingLot(_parked={parked!r}, broken_by=[])"
        lot.unpark()
        assert list(lot._parked) == tasks[1:]
        lot.unpark_all()
    lot.break_lot()
    (me,) = lot.broken_by
    assert repr(lot) == f"ParkingLot(_parked=OrderedDict(), broken_by=[{me!r}])"


@trio_test
async def test_a_token_shows_its_variable() -> None:
    var: lowlevel.RunVar[int] = lowlevel.RunVar("v")
    first, second = var.set(1), var.set(2)
    text = "RunVarToken(_var=<RunVar name='v'>, previous_value={}, redeemed={})"
    assert repr(second) == text.format(1, False)
    var.reset(second)
    assert repr(second) == text.format(1, True)
    assert "_NoValue" in repr(first)


def test_how_classes_are_called() -> None:
    def shown(cls: type) -> str:
        return str(inspect.signature(cls))

    assert shown(trio.Lock) == shown(trio.Event) == "() -> 'None'"
    assert shown(trio.Condition) == "(lock: 'Lock | None' = None) -> 'None'"
    # Nobody can.
    assert shown(trio.Nursery) == "(*args: object, **kwargs: object) -> 'NoReturn'"

    # Subclasses say themselves how they are called, whatever their names.

    class Event(trio.LockStatistics):
        pass

    class Other(trio.LockStatistics):
        def __init__(self, *, only: int) -> None: ...

    class Made(trio.LockStatistics):
        def __new__(cls, *, only: int) -> Made:
            return super().__new__(cls, False, None, only)

    assert inspect.signature(Event) == inspect.signature(trio.LockStatistics)
    assert shown(Other) == "(*, only: 'int') -> 'None'"
    assert shown(Made) == "(*, only: 'int') -> 'Made'"
    assert Made(only=1).tasks_waiting == 1
