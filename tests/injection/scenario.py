"""What the scenarios have in common: the table that they are in.

A scenario is a function without arguments. It leaves nothing behind, or only
what goes with its objects, and says so with assertions if its results are
wrong. One that is async goes through `trio.run()`.
"""

from __future__ import annotations

import functools
import inspect

import trio
import trio.testing

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

SCENARIOS: dict[str, Callable[[], object]] = {}


def scenario(function: Callable[[], object]) -> Callable[[], object]:
    call = function
    if inspect.iscoroutinefunction(function):
        call = functools.partial(trio.run, function)
    SCENARIOS[function.__name__] = call
    return function


def jumping(function: Callable[[], object]) -> Callable[[], object]:
    """A scenario on a clock that jumps to the next deadline."""

    def call() -> object:
        clock = trio.testing.MockClock(autojump_threshold=0)
        return trio.run(function, clock=clock)

    SCENARIOS[function.__name__] = call
    return function
