"""Forcing tasks to take turns in a given order."""

from __future__ import annotations

from collections import defaultdict
from contextlib import asynccontextmanager

from .. import Event, _core
from .._util import final

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import AsyncIterator


@final
class Sequencer:
    """Makes blocks in different tasks run in the order of their numbers.

    Each block is ``async with seq(n)``, with a number of its own from 0 up.
    Entering waits until the block numbered one less has been left::

        seq = trio.testing.Sequencer()

        async def one():
            async with seq(0):
                print("first")
            async with seq(2):
                print("third")

        async def other():
            async with seq(1):
                print("second")

    Entering is a checkpoint, except for block 0. If a task is cancelled while
    it waits, the order cannot be kept any more: this and every other block,
    waiting or yet to come, raises :exc:`RuntimeError`, as does using a number
    twice.
    """

    def __init__(self) -> None:
        # Position -> set when the block there may run.
        self._sequence_points: defaultdict[int, Event] = defaultdict(Event)
        self._claimed: set[int] = set()
        self._broken = False

    def __repr__(self) -> str:
        return (
            f"Sequencer(_sequence_points={self._sequence_points!r},"
            f" _claimed={self._claimed!r}, _broken={self._broken!r})"
        )

    def _check_order(self) -> None:
        if self._broken:
            raise RuntimeError("sequence broken!")

    @asynccontextmanager
    async def __call__(self, position: int) -> AsyncIterator[None]:
        if position in self._claimed:
            raise RuntimeError(f"Attempted to reuse sequence point {position}")
        self._check_order()
        self._claimed.add(position)
        if position != 0:
            try:
                await self._sequence_points[position].wait()
            except _core.Cancelled:
                self._broken = True
                for turn in self._sequence_points.values():
                    turn.set()
                raise RuntimeError(
                    "Sequencer wait cancelled -- sequence broken"
                ) from None
            self._check_order()
        try:
            yield
        finally:
            self._sequence_points[position + 1].set()
