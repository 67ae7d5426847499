"""What works on any stream or resource: forceful closing, and stapling."""

from __future__ import annotations

import trio_c as trio

from ._abc import AsyncResource, HalfCloseableStream, ReceiveStream, SendStream
from ._util import final

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Generic, TypeVar

    SendStreamT = TypeVar("SendStreamT", bound=SendStream)
    ReceiveStreamT = TypeVar("ReceiveStreamT", bound=ReceiveStream)
else:
    from ._abc import _Subscriptable

    # Read by type checkers only; see _abc.
    SendStreamT = ReceiveStreamT = None
    Generic = {(None, None): _Subscriptable}


async def aclose_forcefully(resource: AsyncResource) -> None:
    """Close `resource` at once, with no attempt at a good-bye.

    For when a connection is of no more use, or has failed already. It calls
    :meth:`~trio_c.abc.AsyncResource.aclose` inside a cancelled scope, which
    every resource takes as the order to free what it holds and not to wait. The
    cancellation does not reach the caller.
    """
    with trio.CancelScope() as scope:
        scope.cancel(reason="cancelled during aclose_forcefully")
        await resource.aclose()


@final
class StapledStream(HalfCloseableStream, Generic[SendStreamT, ReceiveStreamT]):
    """Makes one two-way stream out of a stream for each direction.

    Args:
      send_stream (trio_c.abc.SendStream): where to send.
      receive_stream (trio_c.abc.ReceiveStream): where to receive.

    Example: the standard input and output of a process as one stream. Both
    arguments are also attributes, which may be assigned to.
    """

    __match_args__ = ("send_stream", "receive_stream")

    send_stream: SendStreamT
    receive_stream: ReceiveStreamT

    def __init__(
        self, send_stream: SendStreamT, receive_stream: ReceiveStreamT
    ) -> None:
        self.send_stream = send_stream
        self.receive_stream = receive_stream

    def __repr__(self) -> str:
        return (
            f"{type(self).__qualname__}(send_stream={self.send_stream!r},"
            f" receive_stream={self.receive_stream!r})"
        )

    async def send_all(self, data: bytes | bytearray | memoryview) -> None:
        """Calls ``send_stream.send_all``."""
        return await self.send_stream.send_all(data)

    async def wait_send_all_might_not_block(self) -> None:
        """Calls ``send_stream.wait_send_all_might_not_block``."""
        return await self.send_stream.wait_send_all_might_not_block()

    async def send_eof(self) -> None:
        """End the sending half.

        Calls ``send_stream.send_eof`` if there is such a method, and
        ``send_stream.aclose`` if not.
        """
        send_stream = self.send_stream
        if hasattr(send_stream, "send_eof"):
            await send_stream.send_eof()
        else:
            await send_stream.aclose()

    async def receive_some(self, max_bytes: int | None = None) -> bytes | bytearray:
        """Calls ``receive_stream.receive_some``."""
        return await self.receive_stream.receive_some(max_bytes)

    async def aclose(self) -> None:
        """Close both streams: the second one also if the first one fails."""
        try:
            await self.send_stream.aclose()
        finally:
            await self.receive_stream.aclose()
