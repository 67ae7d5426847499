"""Async generators as channels; the memory channels' private path.

Memory channels themselves are native.
"""

from __future__ import annotations

import trio_c as trio

from ._abc import ReceiveChannel
from ._native import (
    MemoryChannelState as MemoryChannelState,
    MemoryChannelStatistics as MemoryChannelStatistics,
    MemoryReceiveChannel as MemoryReceiveChannel,
    MemorySendChannel as MemorySendChannel,
    open_memory_channel as open_memory_channel,
)
from ._util import MultipleExceptionError, raise_single_exception_from_group

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Callable
    from contextlib import AbstractAsyncContextManager
    from types import TracebackType
    from typing import ParamSpec, Self, TypeVar

    P = ParamSpec("P")
    T = TypeVar("T")


def as_safe_channel(
    fn: Callable[P, AsyncGenerator[T, None]],
) -> Callable[P, AbstractAsyncContextManager[ReceiveChannel[T]]]:
    """Decorator that turns an async generator function into one that opens a
    channel::

        @as_safe_channel
        async def countdown(n):
            for i in range(n, 0, -1):
                yield i
                await trio.sleep(1)


        async with countdown(3) as channel:
            async for i in channel:
                print(i)

    The generator runs in a task of its own, so it may hold nurseries and
    cancel scopes open across a ``yield``, and it is closed when the ``async
    with`` block ends, whatever the reason. It is advanced only when somebody
    receives, one value per call of ``receive()``.

    What the generator raises comes out of the ``async with`` block. If the
    block raises too, both come in an exception group, otherwise the exception
    comes alone.
    """
    from contextlib import asynccontextmanager
    from functools import wraps

    @asynccontextmanager
    @wraps(fn)
    async def open_channel(
        *args: P.args, **kwargs: P.kwargs
    ) -> AsyncGenerator[ReceiveChannel[T], None]:
        with _Ungroup():
            async with trio.open_nursery(strict_exception_groups=True) as nursery:
                channel = RecvChanWrapper(fn(*args, **kwargs))
                # Once it has started, it closes the generator.
                await nursery.start(channel._produce)
                with channel:
                    yield channel
                nursery.cancel_scope.cancel(
                    "exited trio.as_safe_channel context manager"
                )

    return open_channel


class _Ungroup:
    """Around a nursery: raise its only exception as it is, without a group.

    Of several, Cancelled does not count; a group that remains gets a note.
    """

    __slots__ = ()

    def __enter__(self) -> None:
        pass

    def __exit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        if not isinstance(exc, BaseExceptionGroup):
            return
        try:
            raise_single_exception_from_group(exc)
        except MultipleExceptionError:
            exc.add_note(
                "Encountered exception during cleanup of generator object, as "
                "well as exception in the contextmanager body - unable to unwrap."
            )
            exc.__cause__ = None


class RecvChanWrapper(ReceiveChannel["T"]):
    """The receiving end of what an async generator yields.

    Each ``receive()`` asks for one value before it waits for one, which the
    producing task, and so the generator, sleeps for.
    """

    _sender: MemorySendChannel[T]
    _receiver: MemoryReceiveChannel[T]

    def __init__(self, agen: AsyncGenerator[T, None]) -> None:
        self._agen = agen
        self._asked = trio.Semaphore(0)
        self._sender, self._receiver = trio.open_memory_channel(0)

    async def receive(self) -> T:
        self._asked.release()
        return await self._receiver.receive()

    async def aclose(self) -> None:
        await self._receiver.aclose()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc_info: object) -> None:
        self._receiver.close()

    async def _produce(self, *, task_status: trio.TaskStatus[None]) -> None:
        with self._sender:
            try:
                task_status.started()
                while True:
                    await self._asked.acquire()
                    if self._receiver._closed:
                        return
                    try:
                        value = await self._agen.__anext__()
                    except StopAsyncIteration:
                        return
                    try:
                        await self._sender.send(value)
                    except trio.BrokenResourceError:
                        return
            finally:
                await _close_generator(self._agen)


async def _close_generator(agen: AsyncGenerator[object, None]) -> None:
    """``agen.aclose()``, also if a nursery has put the GeneratorExit, which
    must come out of the generator again, in a group with other exceptions.
    """
    try:
        await agen.aclose()
    except BaseExceptionGroup as group:
        exits, rest = group.split(GeneratorExit)
        if _count_leaves(exits) > 1:
            surplus = AssertionError("More than one GeneratorExit found.")
            if rest is None:
                rest = group.derive([surplus])
            else:
                rest = rest.derive([*rest.exceptions, surplus])
        if rest is not None:
            raise rest from None


def _count_leaves(exc: BaseException | None) -> int:
    if isinstance(exc, BaseExceptionGroup):
        return sum(map(_count_leaves, exc.exceptions))
    return int(exc is not None)
