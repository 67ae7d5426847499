"""Hypothesis by itself: scheduling that can be repeated, through an entry point.

trio's scheduler shuffles the tasks that are ready. Hypothesis can only shrink
and replay an example if the same example is shuffled in the same way each
time. The entry point ``hypothesis`` of trio_c's distribution, which Hypothesis
loads when it is imported, is what sees to that.
"""

from __future__ import annotations

import which_trio

which_trio.check()

import pytest  # noqa: E402
import trio  # noqa: E402
import trio._core._run  # noqa: E402
from hypothesis import (  # noqa: E402
    Phase,
    given,
    seed,
    settings,
    strategies as st,  # noqa: E402
)

QUIET = settings(max_examples=100, deadline=None, database=None)


async def scheduling_order(tasks: int) -> tuple[int, ...]:
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


def the_order_is_always_the_same() -> None:
    orders = set()

    @QUIET
    @given(st.integers())
    def property_(number: int) -> None:
        # Hypothesis seeds the scheduler's random numbers before each example.
        orders.add(trio.run(scheduling_order, 20))

    property_()
    assert len(orders) == 1, f"{len(orders)} different orders"


def a_race_is_found_and_replayed() -> None:
    """An error that depends on the order is reported, and not called flaky."""
    failed: list[int] = []

    @seed(1234)
    @settings(QUIET, phases=[Phase.generate, Phase.shrink])
    @given(st.integers(0, 100))
    def property_(tasks: int) -> None:
        order = trio.run(scheduling_order, tasks)
        if order[:tasks] != tuple(range(tasks)):
            failed.append(tasks)
            raise LookupError("a race")

    with pytest.raises(LookupError, match="a race"):
        property_()
    # The smallest example is replayed last, and failed once more.
    assert failed.count(failed[-1]) > 1
    assert failed[-1] == min(failed)


def the_seed_alone_decides() -> None:
    random = trio._core._run._r
    seen = []
    for number in [*range(20), *range(20)]:
        random.seed(number)
        seen.append(trio.run(scheduling_order, 20))
    assert seen[:20] == seen[20:]
    assert len(set(seen)) > 10


assert trio._core._run._ALLOW_DETERMINISTIC_SCHEDULING
the_order_is_always_the_same()
a_race_is_found_and_replayed()
the_seed_alone_decides()
