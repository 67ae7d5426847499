"""What every stream has to do, as tests that run on any implementation.

Each check opens a fresh pair of connected ends and looks at one thing. All
operations go through `_send`, `_receive` and `_close`, which also see to it
that they are checkpoints.
"""

from __future__ import annotations

import random
from contextlib import asynccontextmanager, contextmanager, suppress

from .. import _core
from .._abc import HalfCloseableStream, ReceiveStream, SendStream, Stream
from .._highlevel_generic import aclose_forcefully
from ._checkpoints import assert_checkpoints

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
    from typing import Any, TypeAlias, TypeVar

    from .._abc import AsyncResource

    FirstT = TypeVar("FirstT", bound=AsyncResource)
    SecondT = TypeVar("SecondT", bound=AsyncResource)
    StreamMaker: TypeAlias = Callable[[], Awaitable[tuple[FirstT, SecondT]]]


@asynccontextmanager
async def _connected(
    maker: StreamMaker[FirstT, SecondT],
) -> AsyncIterator[tuple[FirstT, SecondT]]:
    """A pair from `maker`, closed forcefully at the end of the block."""
    first, second = await maker()
    try:
        yield first, second
    finally:
        try:
            await aclose_forcefully(first)
        finally:
            await aclose_forcefully(second)


@contextmanager
def _assert_raises(
    expected_exc: type[BaseException], wrapped: bool = False
) -> Iterator[None]:
    """The block raises `expected_exc`, inside a group of one if `wrapped`."""
    __tracebackhide__ = True
    try:
        yield
    except BaseExceptionGroup as group:
        assert wrapped, "caught exceptiongroup, but expected an unwrapped exception"
        (exc,) = group.exceptions
        assert isinstance(exc, expected_exc)
    except expected_exc:
        assert not wrapped, "caught exception, but expected an exceptiongroup"
    else:
        raise AssertionError(f"expected exception: {expected_exc}")


async def _together(*calls: tuple[Any, ...]) -> None:
    """Make calls, given as (async function, arguments...), at the same time."""
    async with _core.open_nursery() as nursery:
        for function, *args in calls:
            nursery.start_soon(function, *args)


async def _later(function: Callable[..., Awaitable[object]], *args: object) -> None:
    """Call the function once every other task is blocked."""
    await _core.wait_all_tasks_blocked()
    await function(*args)


async def _send(stream: SendStream, data: bytes | bytearray | memoryview) -> None:
    with assert_checkpoints():
        assert await stream.send_all(data) is None  # type: ignore[func-returns-value]


async def _send_forever(stream: SendStream) -> None:
    """Send until it fails: what is sent first may still fit into a buffer."""
    while True:
        await _send(stream, b"x" * 100)


async def _wait_send(stream: SendStream) -> None:
    with assert_checkpoints():
        await stream.wait_send_all_might_not_block()


async def _receive(stream: ReceiveStream, *max_bytes: int | None) -> bytes | bytearray:
    with assert_checkpoints():
        return await stream.receive_some(*max_bytes)


async def _expect(stream: ReceiveStream, data: bytes, *max_bytes: int | None) -> None:
    assert await _receive(stream, *max_bytes) == data


async def _close(resource: AsyncResource) -> None:
    with assert_checkpoints():
        await resource.aclose()


async def _fails(
    expected_exc: type[BaseException],
    function: Callable[..., Awaitable[object]],
    *args: object,
) -> None:
    with _assert_raises(expected_exc):
        await function(*args)


async def _fails_for_one(*calls: tuple[Any, ...]) -> None:
    """Of calls that exclude one another, one is refused."""
    with _assert_raises(_core.BusyResourceError, wrapped=True):
        await _together(*calls)


async def check_one_way_stream(
    stream_maker: StreamMaker[SendStream, ReceiveStream],
    clogged_stream_maker: StreamMaker[SendStream, ReceiveStream] | None,
) -> None:
    """Test an implementation of a one-way stream in every respect there is.

    Args:
      stream_maker: async function without arguments that returns a connected
          pair (:class:`~trio_c.abc.SendStream`,
          :class:`~trio_c.abc.ReceiveStream`), a new one each time.
      clogged_stream_maker: the same, but with the connection so full that
          `send_all` and `wait_send_all_might_not_block` block at first. None
          leaves out the tests that need it.

    Raises:
      AssertionError: something is wrong with the streams.
    """
    await _check_life(stream_maker)
    await _check_receiver_sees_end(stream_maker)
    await _check_forceful_close(stream_maker)
    await _check_cancellation(stream_maker)
    await _check_close_wakes_receiver(stream_maker)
    if clogged_stream_maker is not None:
        await _check_wait_send(clogged_stream_maker)
        await _check_busy_sender(clogged_stream_maker)
        await _check_clogged_peer_closes(clogged_stream_maker)
        await _check_close_wakes_sender(clogged_stream_maker)


async def _check_life(maker: StreamMaker[SendStream, ReceiveStream]) -> None:
    """One connection from the first byte to closing everything twice."""
    async with _connected(maker) as (s, r):
        assert isinstance(s, SendStream)
        assert isinstance(r, ReceiveStream)

        await _together((_send, s, b"x"), (_expect, r, b"x", 1))

        # Nothing at all can be sent, and does not arrive.
        async def send_empty_then_y() -> None:
            await _send(s, b"")
            await _send(s, b"y")

        await _together((send_empty_then_y,), (_expect, r, b"y", 1))

        # Other kinds of bytes.
        await _together((_send, s, bytearray(b"1")), (_expect, r, b"1", 1))
        await _together((_send, s, memoryview(b"2")), (_expect, r, b"2", 1))

        bad: Any
        for bad, error in [(-1, ValueError), (0, ValueError), (1.5, TypeError)]:
            with _assert_raises(error):
                await r.receive_some(bad)

        # The size is optional.
        await _together((_send, s, b"x"), (_expect, r, b"x"))
        await _together((_send, s, b"x"), (_expect, r, b"x", None))

        await _fails_for_one((_receive, r, 1), (_receive, r, 1))

        # It may wait until somebody receives, so somebody has to.
        async with _core.open_nursery() as nursery:
            nursery.start_soon(_receive, r, 1)
            await _wait_send(s)
            nursery.cancel_scope.cancel()

        # The receiving end goes away, while there is a sender and before.
        await _together(
            (_fails, _core.BrokenResourceError, _send_forever, s), (_close, r)
        )
        await _fails(_core.BrokenResourceError, _send, s, b"x" * 100)

        # Closed ends say so, and can be closed again.
        await _fails(_core.ClosedResourceError, _receive, r, 4096)
        await _close(r)
        await _close(r)
        await _close(s)
        await _fails(_core.ClosedResourceError, _send, s, b"x" * 100)
        await _fails(_core.ClosedResourceError, _send, s, b"")
        await _fails(_core.ClosedResourceError, _wait_send, s)
        await _close(s)
        await _close(s)


async def _check_receiver_sees_end(
    maker: StreamMaker[SendStream, ReceiveStream],
) -> None:
    """Closing the sending end loses nothing, and ends the stream."""
    async with _connected(maker) as (s, r):

        async def send_then_close() -> None:
            await _send(s, b"y")
            await _close(s)

        async def receive_then_close() -> None:
            # Only now, so that the end is there before the data is taken.
            await _core.wait_all_tasks_blocked()
            await _expect(r, b"y", 1)
            await _expect(r, b"", 1)
            await _close(r)

        await _together((send_then_close,), (receive_then_close,))


async def _check_forceful_close(maker: StreamMaker[SendStream, ReceiveStream]) -> None:
    """Ends closed with no time to do it properly are closed all the same."""
    async with _connected(maker) as (s, r):
        await aclose_forcefully(r)
        await _fails(_core.BrokenResourceError, _send_forever, s)
        await _fails(_core.ClosedResourceError, _receive, r, 4096)

    async with _connected(maker) as (s, r):
        await aclose_forcefully(s)
        await _fails(_core.ClosedResourceError, _send, s, b"123")
        # To the peer it is either the end or a failure, depending on how much
        # the protocol has to say at the end.
        with suppress(_core.BrokenResourceError):
            await _expect(r, b"", 1)

    # An end that is closed while the caller is cancelled, too.
    async with _connected(maker) as (s, r):
        for end in (r, s):
            with _core.CancelScope() as scope:
                scope.cancel()
                await end.aclose()
        await _fails(_core.ClosedResourceError, _send, s, b"123")
        await _fails(_core.ClosedResourceError, _receive, r, 4096)


async def _check_cancellation(maker: StreamMaker[SendStream, ReceiveStream]) -> None:
    """Cancelled operations do not happen, also those that would not block."""
    async with _connected(maker) as (s, r):
        with _core.CancelScope() as scope:
            scope.cancel()
            await _together(
                (_fails, _core.Cancelled, _send, s, b"x"),
                (_fails, _core.Cancelled, _receive, r, 1),
            )
        await _together((_close, s), (_close, r))


async def _check_close_wakes_receiver(
    maker: StreamMaker[SendStream, ReceiveStream],
) -> None:
    async with _connected(maker) as (_, r):
        await _together(
            (_fails, _core.ClosedResourceError, r.receive_some, 10),
            (_later, aclose_forcefully, r),
        )


async def _check_wait_send(maker: StreamMaker[SendStream, ReceiveStream]) -> None:
    """wait_send_all_might_not_block waits, and for long enough."""
    async with _connected(maker) as (s, r):
        record: list[str] = []

        async with _core.open_nursery() as nursery:

            async def waiter() -> None:
                record.append("waiter sleeping")
                await _wait_send(s)
                record.append("waiter wokeup")
                nursery.cancel_scope.cancel()

            async def receiver() -> None:
                record.append("receiver starting")
                while True:
                    await r.receive_some(2**14)

            nursery.start_soon(waiter)
            await _core.wait_all_tasks_blocked()
            nursery.start_soon(_later, receiver)

        assert record == ["waiter sleeping", "receiver starting", "waiter wokeup"]


async def _check_busy_sender(maker: StreamMaker[SendStream, ReceiveStream]) -> None:
    """While a task waits in one of the sending methods, it is the only one."""
    async with _connected(maker) as (s, _):
        wait = s.wait_send_all_might_not_block
        await _fails_for_one((wait,), (wait,))
        await _fails_for_one((wait,), (s.send_all, b"123"))

    # With a new pair, since the send that is cancelled leaves a broken one.
    async with _connected(maker) as (s, _):
        await _fails_for_one((s.send_all, b"123"), (s.send_all, b"123"))


async def _check_clogged_peer_closes(
    maker: StreamMaker[SendStream, ReceiveStream],
) -> None:
    """wait_send_all_might_not_block ends when the other end is closed.

    Whether with an error or without is up to the stream.
    """

    async def wait_send(s: SendStream) -> None:
        with suppress(_core.BrokenResourceError):
            await _wait_send(s)

    # Meanwhile.
    async with _connected(maker) as (s, r):
        await _together((wait_send, s), (_later, aclose_forcefully, r))

    # Earlier.
    async with _connected(maker) as (s, r):
        await aclose_forcefully(r)
        await wait_send(s)


async def _check_close_wakes_sender(
    maker: StreamMaker[SendStream, ReceiveStream],
) -> None:
    async with _connected(maker) as (s, _):
        await _together(
            (_fails, _core.ClosedResourceError, s.send_all, b"xyzzy"),
            (_later, aclose_forcefully, s),
        )

    async with _connected(maker) as (s, _):
        await _together(
            (_fails, _core.ClosedResourceError, s.wait_send_all_might_not_block),
            (_later, aclose_forcefully, s),
        )


def _flipped(maker: StreamMaker[Stream, Stream]) -> StreamMaker[Stream, Stream]:
    async def flipped_maker() -> tuple[Stream, Stream]:
        first, second = await maker()
        return second, first

    return flipped_maker


async def check_two_way_stream(
    stream_maker: StreamMaker[Stream, Stream],
    clogged_stream_maker: StreamMaker[Stream, Stream] | None,
) -> None:
    """Test an implementation of a two-way stream in every respect there is.

    Includes :func:`check_one_way_stream` for either direction; the arguments
    are as there, except that the pairs consist of :class:`~trio_c.abc.Stream`
    objects. A clogged pair needs to be clogged in both directions.

    Raises:
      AssertionError: something is wrong with the streams.
    """
    await check_one_way_stream(stream_maker, clogged_stream_maker)
    await check_one_way_stream(
        _flipped(stream_maker),
        None if clogged_stream_maker is None else _flipped(clogged_stream_maker),
    )
    await _check_duplex(stream_maker)


async def _check_duplex(maker: StreamMaker[Stream, Stream]) -> None:
    """A lot of data in odd pieces, both ways at once; then one end closes."""
    largest_piece = 2**14
    forth = random.Random(0).randbytes(2**20)
    back = forth[::-1]

    async def sender(stream: Stream, data: bytes, seed: int) -> None:
        sizes = random.Random(seed)
        rest = memoryview(data)
        while rest:
            size = sizes.randint(1, largest_piece)
            await stream.send_all(rest[:size])
            rest = rest[size:]

    async def receiver(stream: Stream, data: bytes, seed: int) -> None:
        sizes = random.Random(seed)
        got = bytearray()
        while len(got) < len(data):
            piece = await stream.receive_some(sizes.randint(1, largest_piece))
            assert piece
            got += piece
        assert got == data

    async with _connected(maker) as (s1, s2):
        assert isinstance(s1, Stream)
        assert isinstance(s2, Stream)

        await _together(
            (sender, s1, forth, 0),
            (sender, s2, back, 1),
            (receiver, s1, back, 2),
            (receiver, s2, forth, 3),
        )

        async def receive_end_then_close() -> None:
            assert await s2.receive_some(10) == b""
            # Closing s1 may wait for the answer to its good-bye.
            await s2.aclose()

        await _together((receive_end_then_close,), (s1.aclose,))


async def check_half_closeable_stream(
    stream_maker: StreamMaker[HalfCloseableStream, HalfCloseableStream],
    clogged_stream_maker: StreamMaker[HalfCloseableStream, HalfCloseableStream] | None,
) -> None:
    """Test an implementation of a half-closeable stream in every respect there is.

    Includes :func:`check_two_way_stream`; the arguments are as there, except
    that the pairs consist of :class:`~trio_c.abc.HalfCloseableStream` objects.

    Raises:
      AssertionError: something is wrong with the streams.
    """
    await check_two_way_stream(stream_maker, clogged_stream_maker)
    await _check_send_eof(stream_maker)
    if clogged_stream_maker is not None:
        await _check_busy_send_eof(clogged_stream_maker)


async def _check_send_eof(
    maker: StreamMaker[HalfCloseableStream, HalfCloseableStream],
) -> None:
    async def send_eof(stream: HalfCloseableStream) -> None:
        with assert_checkpoints():
            await stream.send_eof()

    async def send_x_then_eof(stream: HalfCloseableStream) -> None:
        await stream.send_all(b"x")
        await send_eof(stream)

    async def expect_x_then_eof(stream: HalfCloseableStream) -> None:
        await _core.wait_all_tasks_blocked()
        assert await stream.receive_some(10) == b"x"
        assert await stream.receive_some(10) == b""

    async with _connected(maker) as (s1, s2):
        assert isinstance(s1, HalfCloseableStream)
        assert isinstance(s2, HalfCloseableStream)

        await _together((send_x_then_eof, s1), (expect_x_then_eof, s2))

        # That half is closed, and can be closed again.
        with _assert_raises(_core.ClosedResourceError):
            await s1.send_all(b"y")
        await send_eof(s1)

        # The other one works on.
        await _together((send_x_then_eof, s2), (expect_x_then_eof, s1))


async def _check_busy_send_eof(
    maker: StreamMaker[HalfCloseableStream, HalfCloseableStream],
) -> None:
    """send_eof is a sending method, so it does not go with others."""
    async with _connected(maker) as (s1, _):
        await _fails_for_one((s1.send_all, b"x"), (_later, s1.send_eof))

    async with _connected(maker) as (s1, _):
        await _fails_for_one((s1.wait_send_all_might_not_block,), (_later, s1.send_eof))
