"""Nothing stays behind of an operation, however it ends.

Of every hot path (_counts.py), of every way to be cancelled and of every error
(_endings.py): no cyclic garbage, no memory, and no object's reference count
changes. In a debug build of CPython, the number of all references neither; in a
debug build of trio_c, that of living native objects.
"""

from __future__ import annotations

import collections
import contextlib
import gc
import sys
import types
import weakref
from typing import NamedTuple

import pytest
from _counts import OPERATIONS, Operation, perform
from _endings import ENDINGS

import trio_c

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

EVERYTHING = {**OPERATIONS, **ENDINGS}

WARM_UP = 30
ROUNDS = 100

# Whatever the number of rounds: what was at different points before and after.
SLACK = 40

# Those that the collector does not know of. (From CPython 3.12 on they are
# immortal, and their counts stand still.)
SINGLETONS = [None, True, False, ..., NotImplemented, (), "", b"", 0, 1, 64]

LASTING = (type, types.ModuleType, types.FunctionType, types.BuiltinFunctionType)

_no_count: Callable[[], int] = lambda: 0  # noqa: E731
_total_references = getattr(sys, "gettotalrefcount", _no_count)
_live_objects = getattr(trio_c._native, "live_objects", dict)


@pytest.fixture(scope="module", autouse=True)
def lasting() -> Iterator[list[object]]:
    """What has been there from the beginning and is not to be looked through by
    the collector again and again."""
    for name in trio_c.__all__:
        getattr(trio_c, name)
    gc.collect()
    # The collector does not tell of what is frozen.
    found = [obj for obj in gc.get_objects() if isinstance(obj, LASTING)]
    gc.freeze()
    yield [*SINGLETONS, *found]
    gc.unfreeze()


class Count(NamedTuple):
    """How much there is of everything."""

    references: dict[int, int]  # by the object's address
    blocks: int
    total_references: int
    live_objects: dict[str, int]


class Change(NamedTuple):
    """What became more, or less, in all rounds together."""

    garbage: collections.Counter[str]
    kept: dict[str, int]
    references: dict[str, int]


def measure(operation: Operation, lasting: list[object]) -> Change:
    garbage: collections.Counter[str] = collections.Counter()
    counts: list[Count] = []

    def references() -> dict[int, int]:
        everything = gc.get_objects()  # which leaves itself out
        everything += lasting
        return {id(obj): sys.getrefcount(obj) for obj in everything}

    def numbers() -> tuple[int, int, dict[str, int]]:
        return sys.getallocatedblocks(), _total_references(), _live_objects()

    # Numbers are taken last at the beginning and first at the end, so that what
    # is only made for comparing is in both or in none.

    def begin() -> None:
        gc.collect()
        gc.disable()
        gc.set_debug(gc.DEBUG_SAVEALL)
        of_objects = references()
        counts.append(Count(of_objects, *numbers()))

    def end() -> None:
        gc.collect()
        garbage.update(type(obj).__name__ for obj in gc.garbage)
        gc.garbage.clear()
        after = numbers()
        counts[-1] = difference(counts[-1], Count(references(), *after))

    try:
        # Again, since free lists of the interpreter fill up at first. What is
        # kept is kept every time.
        for _ in range(5):
            perform(operation, begin, end, WARM_UP, ROUNDS)
            gc.set_debug(0)
            change = Change(garbage, kept(counts), changed(counts, lasting))
            if len(counts) > 1 and change == NOTHING:
                break
    finally:
        gc.set_debug(0)
        gc.garbage.clear()
        gc.enable()
    return change


def difference(before: Count, after: Count) -> Count:
    live = collections.Counter(after.live_objects)
    live.subtract(before.live_objects)
    references = {
        address: after.references[address] - count
        for address, count in before.references.items()
        if abs(after.references.get(address, count) - count) >= ROUNDS // 2
    }
    return Count(
        references,
        after.blocks - before.blocks,
        after.total_references - before.total_references,
        dict(live),
    )


def kept(counts: list[Count]) -> dict[str, int]:
    least = {
        "blocks": min(each.blocks for each in counts),
        "references": min(each.total_references for each in counts),
    }
    for name in counts[0].live_objects:
        least[name] = min(each.live_objects.get(name, 0) for each in counts)
    return {what: more for what, more in least.items() if more >= SLACK}


def changed(counts: list[Count], lasting: list[object]) -> dict[str, int]:
    every_time = set.intersection(*(set(each.references) for each in counts))
    objects = gc.get_objects()
    objects += lasting
    return {
        repr(obj): counts[-1].references[id(obj)]
        for obj in objects
        if id(obj) in every_time
    }


NOTHING = Change(collections.Counter(), {}, {})


@pytest.mark.parametrize("name", EVERYTHING)
def test_nothing_stays_behind(name: str, lasting: list[object]) -> None:
    assert measure(EVERYTHING[name], lasting) == NOTHING


def test_no_name_is_taken_twice() -> None:
    assert len(EVERYTHING) == len(OPERATIONS) + len(ENDINGS)


def test_garbage_is_counted(lasting: list[object]) -> None:
    cycle = Operation("", "cycle = []; cycle.append(cycle)")
    # The last one still has a name; the warm-up's last one had.
    assert measure(cycle, lasting).garbage == {"list": 5 * ROUNDS}


@pytest.mark.skipif(
    sys.getallocatedblocks() == 0,
    reason="with PYTHONMALLOC=malloc, as under sanitizers, no blocks are counted",
)
def test_blocks_are_counted(lasting: list[object]) -> None:
    keeps = Operation("", "kept.append(object())", "kept = []")
    assert measure(keeps, lasting).kept["blocks"] >= ROUNDS


def test_references_are_counted(lasting: list[object]) -> None:
    keeps = Operation("", "kept.append(trio.Event)", "kept = []")
    change = measure(keeps, lasting)
    assert change.references == {repr(trio_c.Event): ROUNDS}
    assert _total_references is _no_count or change.kept["references"] >= ROUNDS


@pytest.mark.skipif(sys.version_info >= (3, 12), reason="None is immortal")
def test_references_to_none_are_counted(lasting: list[object]) -> None:
    keeps = Operation("", "kept.append(None)", "kept = []")
    assert measure(keeps, lasting).references == {"None": ROUNDS}


# --- whole runs ------------------------------------------------------------


async def returns() -> None:
    await trio_c.lowlevel.checkpoint()


async def raises() -> None:
    raise KeyError


async def a_child_raises() -> None:
    async with trio_c.open_nursery() as nursery:
        nursery.start_soon(trio_c.sleep_forever)
        nursery.start_soon(raises)


async def is_cancelled() -> None:
    with trio_c.CancelScope() as scope:
        scope.cancel()
        await trio_c.sleep_forever()


async def has_system_tasks() -> None:
    trio_c.lowlevel.spawn_system_task(trio_c.sleep_forever)
    trio_c.lowlevel.current_trio_token().run_sync_soon(int)


async def leaves_a_generator() -> None:
    async def numbers() -> Iterator[int]:
        while True:
            yield 1

    generator = numbers()
    await generator.asend(None)
    left_behind.append(generator)


left_behind: list[object] = []


@pytest.mark.filterwarnings("ignore::ResourceWarning")
@pytest.mark.parametrize(
    "main",
    [
        returns,
        raises,
        a_child_raises,
        is_cancelled,
        has_system_tasks,
        leaves_a_generator,
    ],
)
def test_no_garbage_of_a_run(main: Callable[[], object]) -> None:
    def run() -> None:
        with contextlib.suppress(KeyError, ExceptionGroup):
            trio_c.run(main)
        left_behind.clear()

    run()
    gc.collect()
    gc.disable()
    gc.set_debug(gc.DEBUG_SAVEALL)
    try:
        for _ in range(20):
            run()
        gc.collect()
        assert not collections.Counter(type(obj).__name__ for obj in gc.garbage)
    finally:
        gc.set_debug(0)
        gc.garbage.clear()
        gc.enable()


def test_what_a_task_ran_holds_nothing_when_it_has_ended() -> None:
    """A lock knows its dead owner, who knows the acquire() that it ran."""
    died = []

    async def main() -> None:
        lock = trio_c.Lock()
        died.append(weakref.ref(lock))
        async with trio_c.open_nursery() as nursery:
            nursery.start_soon(lock.acquire)
        assert lock.statistics().owner is not None

    gc.disable()
    try:
        trio_c.run(main)
        assert died[0]() is None
    finally:
        gc.enable()
