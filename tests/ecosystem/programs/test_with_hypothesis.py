"""Hypothesis with pytest-trio: asynchronous properties.

Scheduling can be repeated, which here pytest-trio sees to as well;
hypothesis_alone.py is without it.
"""

from __future__ import annotations

import random

import trio
import trio.testing
import which_trio
from hypothesis import HealthCheck, given, settings, strategies as st

which_trio.check()

QUIET = settings(
    max_examples=50,
    deadline=None,
    database=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)


async def scheduling_order(tasks: int = 20) -> tuple[int, ...]:
    """In which order tasks that are all ready get their turns, in three rounds."""
    order = []

    async def take_turns(number: int) -> None:
        for _ in range(3):
            order.append(number)
            await trio.lowlevel.checkpoint()

    async with trio.open_nursery() as nursery:
        for number in range(tasks):
            nursery.start_soon(take_turns, number)
    return tuple(order)


orders: set[tuple[int, ...]] = set()


@QUIET
@given(st.integers())
async def test_scheduling_can_be_repeated(number: int) -> None:
    # Hypothesis seeds the scheduler's random numbers before each example.
    orders.add(await scheduling_order())
    assert len(orders) == 1


def test_it_is_not_always_the_same_order() -> None:
    import trio._core._run as run

    assert run._ALLOW_DETERMINISTIC_SCHEDULING
    seen = set()
    for seed in range(20):
        run._r.seed(seed)
        seen.add(trio.run(scheduling_order))
    assert len(seen) > 10
    # Nothing but the seed decides.
    run._r.seed(7)
    first = trio.run(scheduling_order)
    run._r.seed(7)
    assert trio.run(scheduling_order) == first
    run._r.seed(random.random())


@QUIET
@given(
    size=st.integers(0, 5),
    batches=st.lists(st.lists(st.integers(), max_size=6), max_size=5),
    consumers=st.integers(1, 4),
)
async def test_channels_lose_nothing(
    size: int, batches: list[list[int]], consumers: int
) -> None:
    send, receive = trio.open_memory_channel[int](size)
    got: list[int] = []

    async def produce(mine: trio.MemorySendChannel[int], batch: list[int]) -> None:
        async with mine:
            for number in batch:
                await mine.send(number)

    async def consume(mine: trio.MemoryReceiveChannel[int]) -> None:
        async with mine:
            async for number in mine:
                got.append(number)

    async with trio.open_nursery() as nursery, send, receive:
        for batch in batches:
            nursery.start_soon(produce, send.clone(), batch)
        for _ in range(consumers):
            nursery.start_soon(consume, receive.clone())
    assert sorted(got) == sorted(number for batch in batches for number in batch)


@QUIET
@given(st.lists(st.floats(0, 1000), min_size=1, max_size=10), st.floats(1, 1000))
async def test_timeouts(
    autojump_clock: trio.testing.MockClock, delays: list[float], limit: float
) -> None:
    woken = []

    async def sleep(delay: float) -> None:
        await trio.sleep(delay)
        woken.append(delay)

    with trio.move_on_after(limit) as scope:
        async with trio.open_nursery() as nursery:
            for delay in delays:
                nursery.start_soon(sleep, delay)
    if not any(delay == limit for delay in delays):
        assert sorted(woken) == sorted(delay for delay in delays if delay < limit)
        assert scope.cancelled_caught == (max(delays) > limit)


@st.composite
def words(draw: st.DrawFn) -> str:
    # Loads Hypothesis' strategy for functions, which asks sniffio.
    function = draw(st.functions(like=lambda: None, returns=st.just("word")))
    return function()


@QUIET
@given(st.data())
async def test_drawing_inside_a_run(data: st.DataObject) -> None:
    await trio.lowlevel.checkpoint()
    assert data.draw(words()) == "word"
