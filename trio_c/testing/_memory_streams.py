"""Streams in memory, for testing protocols without a network.

Two kinds. The *memory* streams never make the sender wait: each end has an
unlimited buffer, hooks say when bytes move from one to the other, and a test
can play the peer by hand. The *lockstep* streams have no buffer at all: a send
ends when the last byte has been received.
"""

from __future__ import annotations

import operator

from .. import _core
from .._abc import ReceiveStream, SendStream
from .._highlevel_generic import StapledStream
from .._util import ConflictDetector, final

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable
    from typing import TypeAlias, TypeVar

    Data: TypeAlias = bytes | bytearray | memoryview
    AsyncHook: TypeAlias = Callable[[], Awaitable[object]]
    SyncHook: TypeAlias = Callable[[], object]
    SendStreamT = TypeVar("SendStreamT", bound=SendStream)
    ReceiveStreamT = TypeVar("ReceiveStreamT", bound=ReceiveStream)


def _check_max_bytes(max_bytes: int | None) -> None:
    if max_bytes is not None and operator.index(max_bytes) < 1:
        raise ValueError("max_bytes must be >= 1")


def _take(buffer: bytearray, max_bytes: int | None) -> bytearray:
    """Remove up to `max_bytes` from the front of `buffer` and return them."""
    chunk = buffer[:max_bytes]
    del buffer[:max_bytes]
    return chunk


class _UnboundedByteQueue:
    """Bytes on their way from any number of putters to one getter."""

    def __init__(self) -> None:
        self._data = bytearray()
        self._closed = False
        self._arrival = _core.ParkingLot()
        self._one_getter = ConflictDetector("another task is already fetching data")

    def put(self, data: Data) -> None:
        if self._closed:
            raise _core.ClosedResourceError("virtual connection closed")
        self._data += data
        self._arrival.unpark_all()

    def close(self) -> None:
        """No more puts; gets return what is left, and then b"" forever."""
        self._closed = True
        self._arrival.unpark_all()

    def close_and_wipe(self) -> None:
        self._data.clear()
        self.close()

    def get_nowait(self, max_bytes: int | None = None) -> bytearray:
        with self._one_getter:
            _check_max_bytes(max_bytes)
            if not self._data and not self._closed:
                raise _core.WouldBlock
            return _take(self._data, max_bytes)

    async def get(self, max_bytes: int | None = None) -> bytearray:
        with self._one_getter:
            _check_max_bytes(max_bytes)
            if self._data or self._closed:
                await _core.checkpoint()
            while not (self._data or self._closed):
                await self._arrival.park()
            return _take(self._data, max_bytes)


@final
class MemorySendStream(SendStream):
    """A :class:`~trio_c.abc.SendStream` that keeps what is sent, for a test to see.

    Args:
      send_all_hook: async function or None. Called by :meth:`send_all` when
          the data can be seen with :meth:`get_data_nowait`; it may wait, which
          is how to simulate a slow peer.
      wait_send_all_might_not_block_hook: async function or None. Called by
          that method, likewise.
      close_hook: synchronous function or None. Called by :meth:`close` and
          :meth:`aclose`.

    The hooks are also attributes of these names, which may be assigned to.
    """

    def __init__(
        self,
        send_all_hook: AsyncHook | None = None,
        wait_send_all_might_not_block_hook: AsyncHook | None = None,
        close_hook: SyncHook | None = None,
    ) -> None:
        self._outgoing = _UnboundedByteQueue()
        self._one_sender = ConflictDetector("another task is using this stream")
        self.send_all_hook: AsyncHook | None = send_all_hook
        self.wait_send_all_might_not_block_hook: AsyncHook | None = (
            wait_send_all_might_not_block_hook
        )
        self.close_hook: SyncHook | None = close_hook

    async def _put(self, data: Data) -> None:
        # Two, to be inside for long enough that another task which uses the
        # stream at the same time runs into this one even if it is late.
        await _core.checkpoint()
        await _core.checkpoint()
        self._outgoing.put(data)

    async def send_all(self, data: Data) -> None:
        """Put `data` into the buffer and call the hook, if there is one.

        A checkpoint before anything else happens; without a hook it does not
        wait.
        """
        with self._one_sender:
            await self._put(data)
            if self.send_all_hook is not None:
                await self.send_all_hook()

    async def wait_send_all_might_not_block(self) -> None:
        """Call the hook, if there is one. A checkpoint; does not wait itself."""
        with self._one_sender:
            await self._put(b"")
            if self.wait_send_all_might_not_block_hook is not None:
                await self.wait_send_all_might_not_block_hook()

    def close(self) -> None:
        """Close the stream and call the hook, if there is one."""
        self._outgoing.close()
        if self.close_hook is not None:
            self.close_hook()

    async def aclose(self) -> None:
        """:meth:`close`, then a checkpoint."""
        self.close()
        await _core.checkpoint()

    async def get_data(self, max_bytes: int | None = None) -> bytearray:
        """Take sent data out of the buffer, waiting until there is some.

        Args:
          max_bytes (int or None): how much at most; None is all there is.

        Returns:
          bytearray: the data; empty if the stream is closed and nothing is
          left.
        """
        return await self._outgoing.get(max_bytes)

    def get_data_nowait(self, max_bytes: int | None = None) -> bytearray:
        """Take sent data out of the buffer, if there is some.

        As :meth:`get_data`, but raises :exc:`trio_c.WouldBlock` instead of
        waiting.
        """
        return self._outgoing.get_nowait(max_bytes)


@final
class MemoryReceiveStream(ReceiveStream):
    """A :class:`~trio_c.abc.ReceiveStream` that a test fills by hand.

    Args:
      receive_some_hook: async function or None. Called by
          :meth:`receive_some` before it looks at the buffer, so it can put
          data there.
      close_hook: synchronous function or None. Called by :meth:`close` and
          :meth:`aclose`.

    The hooks are also attributes of these names, which may be assigned to.
    """

    def __init__(
        self,
        receive_some_hook: AsyncHook | None = None,
        close_hook: SyncHook | None = None,
    ) -> None:
        self._incoming = _UnboundedByteQueue()
        self._one_receiver = ConflictDetector("another task is using this stream")
        self._closed = False
        self.receive_some_hook: AsyncHook | None = receive_some_hook
        self.close_hook: SyncHook | None = close_hook

    def _check_open(self) -> None:
        if self._closed:
            raise _core.ClosedResourceError

    async def receive_some(self, max_bytes: int | None = None) -> bytearray:
        """Call the hook, if there is one, and take data out of the buffer.

        Waits until there is data, or :meth:`put_eof` was called. A
        checkpoint before anything else happens.
        """
        with self._one_receiver:
            # Two, as in MemorySendStream.
            await _core.checkpoint()
            await _core.checkpoint()
            self._check_open()
            if self.receive_some_hook is not None:
                await self.receive_some_hook()
            data = await self._incoming.get(max_bytes)
            # Closed meanwhile: the end of data was not the peer's doing.
            self._check_open()
            return data

    def close(self) -> None:
        """Close the stream, drop its data, and call the hook, if there is one."""
        self._closed = True
        self._incoming.close_and_wipe()
        if self.close_hook is not None:
            self.close_hook()

    async def aclose(self) -> None:
        """:meth:`close`, then a checkpoint."""
        self.close()
        await _core.checkpoint()

    def put_data(self, data: Data) -> None:
        """Append `data` to what can be received.

        Raises:
          trio_c.ClosedResourceError: the stream was closed, or
              :meth:`put_eof` was called.
        """
        self._incoming.put(data)

    def put_eof(self) -> None:
        """End the stream: once the buffer is empty, ``b""`` is received."""
        self._incoming.close()


def memory_stream_pump(
    memory_send_stream: MemorySendStream,
    memory_receive_stream: MemoryReceiveStream,
    *,
    max_bytes: int | None = None,
) -> bool:
    """Move data, or the end of data, from one memory stream to another.

    Args:
      memory_send_stream (MemorySendStream): where something was sent.
      memory_receive_stream (MemoryReceiveStream): where it shall arrive.
      max_bytes (int or None): how much to move at most; None is everything.

    Returns:
      bool: whether there was anything to move.

    Raises:
      trio_c.BrokenResourceError: the receiving stream is closed.
    """
    try:
        data = memory_send_stream.get_data_nowait(max_bytes)
    except _core.WouldBlock:
        return False
    try:
        if data:
            memory_receive_stream.put_data(data)
        else:
            memory_receive_stream.put_eof()
    except _core.ClosedResourceError:
        raise _core.BrokenResourceError("MemoryReceiveStream was closed") from None
    return True


def memory_stream_one_way_pair() -> tuple[MemorySendStream, MemoryReceiveStream]:
    """Connect a memory send stream to a memory receive stream.

    What is sent can be received at once: the sending end's `send_all_hook` and
    `close_hook` call :func:`memory_stream_pump`. Replace them to make the
    connection misbehave.

    Returns:
      A tuple (:class:`MemorySendStream`, :class:`MemoryReceiveStream`).
    """
    send_stream = MemorySendStream()
    receive_stream = MemoryReceiveStream()

    def pump() -> None:
        memory_stream_pump(send_stream, receive_stream)

    async def async_pump() -> None:
        pump()

    send_stream.send_all_hook = async_pump
    send_stream.close_hook = pump
    return send_stream, receive_stream


def _two_way(
    make_one_way: Callable[[], tuple[SendStreamT, ReceiveStreamT]],
) -> tuple[
    StapledStream[SendStreamT, ReceiveStreamT],
    StapledStream[SendStreamT, ReceiveStreamT],
]:
    left_send, right_receive = make_one_way()
    right_send, left_receive = make_one_way()
    return (
        StapledStream(left_send, left_receive),
        StapledStream(right_send, right_receive),
    )


def memory_stream_pair() -> tuple[
    StapledStream[MemorySendStream, MemoryReceiveStream],
    StapledStream[MemorySendStream, MemoryReceiveStream],
]:
    """Two ends of a two-way connection in memory that never blocks senders.

    Each direction is a :func:`memory_stream_one_way_pair`; the parts are
    ``stream.send_stream`` and ``stream.receive_stream``, for tests that act
    on one direction.

    Returns:
      A tuple of two :class:`~trio_c.StapledStream` objects.

    Example: a server that sees data in the smallest possible pieces::

        client, server = trio.testing.memory_stream_pair()

        async def trickle():
            while trio.testing.memory_stream_pump(
                client.send_stream, server.receive_stream, max_bytes=1
            ):
                await trio.lowlevel.checkpoint()

        client.send_stream.send_all_hook = trickle
    """
    return _two_way(memory_stream_one_way_pair)


class _Lockstep:
    """One direction of a connection whose two ends wait for each other.

    At most one task is inside on each side. Whenever anything changes, both
    look again at what they wait for.
    """

    def __init__(self) -> None:
        self._data = bytearray()
        self._receiving = False
        self._send_closed = False
        self._receive_closed = False
        self._one_sender = ConflictDetector("another task is already sending")
        self._one_receiver = ConflictDetector("another task is already receiving")
        self._change = _core.ParkingLot()

    async def _wait_until(self, condition: Callable[[], bool]) -> None:
        """Wait for `condition`, or for one end to be closed. A checkpoint."""
        while not (condition() or self._send_closed or self._receive_closed):
            await self._change.park()
        await _core.checkpoint()

    def _check_send_open(self) -> None:
        if self._send_closed:
            raise _core.ClosedResourceError

    def _check_receive_open(self) -> None:
        if self._receive_closed:
            raise _core.ClosedResourceError

    async def send_all(self, data: Data) -> None:
        with self._one_sender:
            self._check_send_open()
            if self._receive_closed:
                raise _core.BrokenResourceError
            # Left over only if an earlier send was cancelled, after which
            # the stream must not be used.
            assert not self._data
            self._data += data
            self._change.unpark_all()
            await self._wait_until(lambda: not self._data)
            self._check_send_open()
            if self._data:
                # It was the other end that was closed.
                raise _core.BrokenResourceError

    async def wait_send_all_might_not_block(self) -> None:
        with self._one_sender:
            self._check_send_open()
            await self._wait_until(lambda: self._receiving)
            self._check_send_open()

    async def receive_some(self, max_bytes: int | None) -> bytes | bytearray:
        with self._one_receiver:
            _check_max_bytes(max_bytes)
            self._check_receive_open()
            self._receiving = True
            self._change.unpark_all()
            try:
                await self._wait_until(lambda: bool(self._data))
            finally:
                self._receiving = False
            self._check_receive_open()
            if not self._data:
                # It was the other end that was closed.
                return b""
            chunk = _take(self._data, max_bytes)
            self._change.unpark_all()
            return chunk

    def close_send(self) -> None:
        self._send_closed = True
        self._change.unpark_all()

    def close_receive(self) -> None:
        self._receive_closed = True
        self._change.unpark_all()


class _LockstepSendStream(SendStream):
    def __init__(self, link: _Lockstep) -> None:
        self._link = link

    async def send_all(self, data: Data) -> None:
        await self._link.send_all(data)

    async def wait_send_all_might_not_block(self) -> None:
        await self._link.wait_send_all_might_not_block()

    def close(self) -> None:
        self._link.close_send()

    async def aclose(self) -> None:
        self.close()
        await _core.checkpoint()


class _LockstepReceiveStream(ReceiveStream):
    def __init__(self, link: _Lockstep) -> None:
        self._link = link

    async def receive_some(self, max_bytes: int | None = None) -> bytes | bytearray:
        return await self._link.receive_some(max_bytes)

    def close(self) -> None:
        self._link.close_receive()

    async def aclose(self) -> None:
        self.close()
        await _core.checkpoint()


def lockstep_stream_one_way_pair() -> tuple[SendStream, ReceiveStream]:
    """A one-way connection in memory that buffers nothing.

    `send_all` returns when all its data has been received, and
    `wait_send_all_might_not_block` when somebody is receiving. Finds code
    that works only as long as the network takes what it is given: two peers
    that both send before they receive deadlock here every time.

    Both ends also have a synchronous ``close``.

    Returns:
      A tuple (:class:`~trio_c.abc.SendStream`,
      :class:`~trio_c.abc.ReceiveStream`).
    """
    link = _Lockstep()
    return _LockstepSendStream(link), _LockstepReceiveStream(link)


def lockstep_stream_pair() -> tuple[
    StapledStream[SendStream, ReceiveStream],
    StapledStream[SendStream, ReceiveStream],
]:
    """Two ends of a two-way connection in memory that buffers nothing.

    Each direction is a :func:`lockstep_stream_one_way_pair`.

    Returns:
      A tuple of two :class:`~trio_c.StapledStream` objects.
    """
    return _two_way(lockstep_stream_one_way_pair)
