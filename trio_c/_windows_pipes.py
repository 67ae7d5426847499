"""Streams on pipes of Windows that were opened for overlapped I/O."""

from __future__ import annotations

import _winapi
import sys

import trio_c as trio

from ._abc import ReceiveStream, SendStream
from ._util import ConflictDetector, final

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Final

# Elsewhere, type checkers know none of this.
assert not TYPE_CHECKING or sys.platform == "win32"

DEFAULT_RECEIVE_SIZE: Final = 65536


class _HandleHolder:
    """Owns a handle, which it registers with the run's completion port.

    `handle` is -1 as long as it owns none.
    """

    handle = -1

    def __init__(self, handle: int) -> None:
        if not isinstance(handle, int):
            raise TypeError("handle must be an int")
        trio.lowlevel.register_with_iocp(handle)
        # Ours only now, when nothing can fail any more.
        self.handle = handle

    @property
    def closed(self) -> bool:
        return self.handle == -1

    def close(self) -> None:
        """Close the handle, if there is one; that wakes who waits for it."""
        handle, self.handle = self.handle, -1
        if handle != -1:
            _winapi.CloseHandle(handle)

    __del__ = close


@final
class PipeSendStream(SendStream):
    """The end of a pipe that is written to, as a stream.

    `handle` belongs to the stream from now on.
    """

    def __init__(self, handle: int) -> None:
        self._handle_holder = _HandleHolder(handle)
        self._conflict_detector = ConflictDetector(
            "another task is currently using this pipe"
        )

    async def send_all(self, data: bytes | bytearray | memoryview) -> None:
        """See :meth:`trio_c.abc.SendStream.send_all`."""
        holder = self._handle_holder
        with self._conflict_detector:
            if holder.closed:
                raise trio.ClosedResourceError("this pipe is already closed")
            if not data:
                await trio.lowlevel.checkpoint()
                return
            try:
                # A pipe that blocks takes all of it before this is over.
                await trio.lowlevel.write_overlapped(holder.handle, data)
            except BrokenPipeError as exc:
                if holder.closed:
                    raise trio.ClosedResourceError(
                        "another task closed this pipe"
                    ) from None
                raise trio.BrokenResourceError from exc

    async def wait_send_all_might_not_block(self) -> None:
        """Merely a checkpoint: Windows cannot tell."""
        with self._conflict_detector:
            if self._handle_holder.closed:
                raise trio.ClosedResourceError("This pipe is already closed")
            await trio.lowlevel.checkpoint()

    def close(self) -> None:
        """Close it, without a checkpoint."""
        self._handle_holder.close()

    async def aclose(self) -> None:
        """See :meth:`trio_c.abc.AsyncResource.aclose`."""
        self.close()
        await trio.lowlevel.checkpoint()


@final
class PipeReceiveStream(ReceiveStream):
    """The end of a pipe that is read from, as a stream.

    `handle` belongs to the stream from now on.
    """

    def __init__(self, handle: int) -> None:
        self._handle_holder = _HandleHolder(handle)
        self._conflict_detector = ConflictDetector(
            "another task is currently using this pipe"
        )

    async def receive_some(self, max_bytes: int | None = None) -> bytes | bytearray:
        """See :meth:`trio_c.abc.ReceiveStream.receive_some`.

        Without `max_bytes`, at most 64 KiB come at once.
        """
        holder = self._handle_holder
        with self._conflict_detector:
            if holder.closed:
                raise trio.ClosedResourceError("this pipe is already closed")
            if max_bytes is None:
                max_bytes = DEFAULT_RECEIVE_SIZE
            elif not isinstance(max_bytes, int):
                raise TypeError("max_bytes must be integer >= 1")
            elif max_bytes < 1:
                raise ValueError("max_bytes must be integer >= 1")
            buffer = bytearray(max_bytes)
            try:
                size = await trio.lowlevel.readinto_overlapped(holder.handle, buffer)
            except BrokenPipeError:
                if holder.closed:
                    raise trio.ClosedResourceError(
                        "another task closed this pipe"
                    ) from None
                # Nobody is left to write to it: that is the end.
                await trio.lowlevel.checkpoint()
                return b""
            del buffer[size:]
            return buffer

    def close(self) -> None:
        """Close it, without a checkpoint."""
        self._handle_holder.close()

    async def aclose(self) -> None:
        """See :meth:`trio_c.abc.AsyncResource.aclose`."""
        self.close()
        await trio.lowlevel.checkpoint()
