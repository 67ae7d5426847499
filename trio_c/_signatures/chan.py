"""Twins of the memory channels' methods."""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from ._names import (
        MemoryChannelStatistics,
        ReceiveType,
        Self,
        SendType,
        TracebackType,
    )

__all__ = [
    "AsyncResource",
    "MemoryChannelState",
    "MemoryReceiveChannel",
    "MemorySendChannel",
    "ReceiveChannel",
    "open_memory_channel",
]


class AsyncResource:
    async def __aenter__(self) -> Self:
        """The object itself. Not a checkpoint."""

    async def __aexit__(
        self,
        exc_type: type[BaseException] | None,
        exc_value: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        """Close it, as ``aclose()`` does."""


class ReceiveChannel:
    def __aiter__(self) -> Self:
        """Iterate over what is received, until the channel ends."""

    async def __anext__(self) -> ReceiveType:
        """Receive the next value, as ``receive()`` does."""


class MemoryChannelState:
    def statistics(self) -> MemoryChannelStatistics:
        """The same as a handle's ``statistics()``."""


class open_memory_channel:
    def __init__(self, max_buffer_size: int | float) -> None: ...


class MemorySendChannel:
    def send_nowait(self, value: SendType) -> None:
        """Send a value, without waiting until there is room for it.

        Raises:
          trio_c.WouldBlock: nobody waits for it and the buffer is full.
          trio_c.BrokenResourceError: all receiving handles are closed.
          trio_c.ClosedResourceError: this handle is closed.
        """

    async def send(self, value: SendType) -> None:
        """Send a value, waiting until a receiver or the buffer takes it.

        A checkpoint in any case. If it is cancelled, the value was not sent.

        Raises:
          trio_c.BrokenResourceError: all receiving handles are closed,
              or the last one is while this waits.
          trio_c.ClosedResourceError: this handle is closed, or another task
              closes it while this waits.
        """

    def clone(self) -> MemorySendChannel[SendType]:
        """Another handle of the same end, to be closed by itself.

        Raises:
          trio_c.ClosedResourceError: this handle is closed.
        """

    def close(self) -> None:
        """Close this handle. Closing it again does nothing. Not a checkpoint.

        Tasks that wait in its :meth:`send` get a ClosedResourceError. When
        the last sending handle is closed, receivers get what is left in the
        buffer and then an EndOfChannel.
        """

    async def aclose(self) -> None:
        """:meth:`close`, followed by a checkpoint."""

    def statistics(self) -> MemoryChannelStatistics:
        """The state of the channel, the same for all its handles.

        ``current_buffer_used``, ``max_buffer_size``, ``open_send_channels``,
        ``open_receive_channels``, ``tasks_waiting_send``,
        ``tasks_waiting_receive``; and ``peak_buffer_used``, the largest
        number of items that were in the buffer at any time.
        """

    def __enter__(self) -> Self:
        """The handle itself."""

    def __exit__(
        self,
        exc_type: type[BaseException] | None,
        exc_value: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        """:meth:`close` the handle."""


class MemoryReceiveChannel:
    def receive_nowait(self) -> ReceiveType:
        """Receive a value, without waiting for one.

        Raises:
          trio_c.WouldBlock: there is none.
          trio_c.EndOfChannel: there is none and there will be none: all
              sending handles are closed.
          trio_c.ClosedResourceError: this handle is closed.
        """

    async def receive(self) -> ReceiveType:
        """Wait for a value and return it.

        A checkpoint in any case. If it is cancelled, nothing was received.
        Of several tasks that wait, the first gets the first value.

        Raises:
          trio_c.EndOfChannel: there is no value left and all sending handles
              are closed.
          trio_c.ClosedResourceError: this handle is closed, or another task
              closes it while this waits.
        """

    def clone(self) -> MemoryReceiveChannel[ReceiveType]:
        """Another handle of the same end, to be closed by itself.

        Each value is received through one of the handles only.

        Raises:
          trio_c.ClosedResourceError: this handle is closed.
        """

    def close(self) -> None:
        """Close this handle. Closing it again does nothing. Not a checkpoint.

        Tasks that wait in its :meth:`receive` get a ClosedResourceError. When
        the last receiving handle is closed, senders get a
        BrokenResourceError, and what is in the buffer is lost.
        """

    async def aclose(self) -> None:
        """:meth:`close`, followed by a checkpoint."""

    def statistics(self) -> MemoryChannelStatistics:
        """The state of the channel: see :meth:`MemorySendChannel.statistics`."""

    def __enter__(self) -> Self:
        """The handle itself."""

    def __exit__(
        self,
        exc_type: type[BaseException] | None,
        exc_value: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        """:meth:`close` the handle."""
