"""Streams and listeners on sockets.

Sending, receiving and accepting on a socket of ours is native, in the bases
of the two classes. For other implementations of ``SocketType``, such as a
fake network's, they call the coroutine methods with an underscore below.
"""

from __future__ import annotations

import errno
from contextlib import contextmanager, suppress

import trio_c as trio

from . import _native, socket as tsocket
from ._abc import HalfCloseableStream, Listener
from ._util import final, overload

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Generator

    from typing_extensions import Buffer

    from ._socket_type import SocketType


DEFAULT_RECEIVE_SIZE = 65536

# How using a closed socket fails.
_closed_stream_errnos = {
    errno.EBADF,
    errno.ENOTSOCK,  # on Windows
}

# How accept() fails when it is only this one connection that is bad. Linux
# reports here what happened to a connection before anybody accepted it, and
# its firewall's refusals.
_ignorable_accept_errnos = {
    getattr(errno, name)
    for name in (
        "EPERM",
        "ECONNABORTED",
        "EPROTO",
        "ENETDOWN",
        "ENOPROTOOPT",
        "EHOSTDOWN",
        "ENONET",
        "EHOSTUNREACH",
        "EOPNOTSUPP",
        "ENETUNREACH",
        "ENOSR",
        "ESOCKTNOSUPPORT",
        "EPROTONOSUPPORT",
        "ETIMEDOUT",
        "ECONNRESET",
    )
    if hasattr(errno, name)
}


@contextmanager
def _translate_socket_errors_to_stream_errors() -> Generator[None, None, None]:
    try:
        yield
    except OSError as exc:
        if exc.errno in _closed_stream_errnos:
            raise trio.ClosedResourceError("this socket was already closed") from None
        raise trio.BrokenResourceError(f"socket connection broken: {exc}") from exc


@final
class SocketStream(_native.SocketStreamBase, HalfCloseableStream):
    """A stream of bytes on a connected socket.

    `socket` must be one of :mod:`trio_c.socket`'s, of type ``SOCK_STREAM``. On
    TCP, small writes go out at once (``TCP_NODELAY``) and not more than 16 KiB
    wait unsent in the kernel (``TCP_NOTSENT_LOWAT``); :meth:`setsockopt`
    changes that.

    Beside the methods of :class:`trio_c.abc.HalfCloseableStream` there are
    :meth:`setsockopt`, :meth:`getsockopt` and the attribute ``socket``.
    """

    socket: SocketType

    def __init__(self, socket: SocketType) -> None:
        if not isinstance(socket, tsocket.SocketType):
            raise TypeError("SocketStream requires a Trio socket object")
        if socket.type != tsocket.SOCK_STREAM:
            raise ValueError("SocketStream requires a SOCK_STREAM socket")
        self.socket = socket
        # Only TCP knows these.
        with suppress(OSError):
            self.setsockopt(tsocket.IPPROTO_TCP, tsocket.TCP_NODELAY, True)
        if hasattr(tsocket, "TCP_NOTSENT_LOWAT"):
            with suppress(OSError):
                self.setsockopt(tsocket.IPPROTO_TCP, tsocket.TCP_NOTSENT_LOWAT, 2**14)

    @contextmanager
    def _sending(self) -> Generator[None, None, None]:
        self._begin_send()
        try:
            yield
        finally:
            self._end_send()

    async def _send_all(self, data: bytes | bytearray | memoryview) -> None:
        if self.socket.did_shutdown_SHUT_WR:
            raise trio.ClosedResourceError("can't send data after sending EOF")
        with (
            self._sending(),
            _translate_socket_errors_to_stream_errors(),
            memoryview(data) as view,
        ):
            if not view:
                if self.socket.fileno() == -1:
                    raise trio.ClosedResourceError("socket was already closed")
                await trio.lowlevel.checkpoint()
                return
            total_sent = 0
            while total_sent < len(view):
                with view[total_sent:] as remaining:
                    total_sent += await self.socket.send(remaining)

    async def _receive_some(self, max_bytes: int | None) -> bytes:
        if max_bytes is None:
            max_bytes = DEFAULT_RECEIVE_SIZE
        if max_bytes < 1:
            raise ValueError("max_bytes must be >= 1")
        with _translate_socket_errors_to_stream_errors():
            return await self.socket.recv(max_bytes)

    for _function in _send_all, _receive_some:
        _function.__name__ = _function.__name__[1:]
        _function.__qualname__ = f"SocketStream.{_function.__name__}"
    del _function

    async def wait_send_all_might_not_block(self) -> None:
        """See :meth:`trio_c.abc.SendStream.wait_send_all_might_not_block`."""
        with self._sending():
            if self.socket.fileno() == -1:
                raise trio.ClosedResourceError
            with _translate_socket_errors_to_stream_errors():
                await self.socket.wait_writable()

    async def send_eof(self) -> None:
        """See :meth:`trio_c.abc.HalfCloseableStream.send_eof`."""
        with self._sending():
            await trio.lowlevel.checkpoint()
            # Some systems let a socket be shut down only once.
            if self.socket.did_shutdown_SHUT_WR:
                return
            with _translate_socket_errors_to_stream_errors():
                self.socket.shutdown(tsocket.SHUT_WR)

    async def aclose(self) -> None:
        """Close the socket, abruptly; then a checkpoint."""
        self.socket.close()
        await trio.lowlevel.checkpoint()

    @overload
    def setsockopt(self, level: int, option: int, value: int | Buffer) -> None: ...

    @overload
    def setsockopt(self, level: int, option: int, value: None, length: int) -> None: ...

    def setsockopt(
        self,
        level: int,
        option: int,
        value: int | Buffer | None,
        length: int | None = None,
    ) -> None:
        """Set an option of the socket, like :meth:`socket.socket.setsockopt`."""
        if length is None:
            if value is None:
                raise TypeError(
                    "invalid value for argument 'value', must not be None when "
                    "specifying length"
                )
            return self.socket.setsockopt(level, option, value)
        if value is not None:
            raise TypeError(
                f"invalid value for argument 'value': {value!r}, must be None when "
                "specifying optlen"
            )
        return self.socket.setsockopt(level, option, value, length)

    @overload
    def getsockopt(self, level: int, option: int) -> int: ...

    @overload
    def getsockopt(self, level: int, option: int, buffersize: int) -> bytes: ...

    def getsockopt(self, level: int, option: int, buffersize: int = 0) -> int | bytes:
        """Read an option of the socket, like :meth:`socket.socket.getsockopt`."""
        if buffersize == 0:
            return self.socket.getsockopt(level, option)
        return self.socket.getsockopt(level, option, buffersize)


@final
class SocketListener(_native.SocketListenerBase, Listener[SocketStream]):
    """Accepts connections on a listening socket, as :class:`SocketStream` s.

    `socket` must be one of :mod:`trio_c.socket`'s, of type ``SOCK_STREAM``,
    and listening. It belongs to the listener from now on and is closed with
    it. It is the attribute ``socket``.
    """

    socket: SocketType

    def __init__(self, socket: SocketType) -> None:
        if not isinstance(socket, tsocket.SocketType):
            raise TypeError("SocketListener requires a Trio socket object")
        if socket.type != tsocket.SOCK_STREAM:
            raise ValueError("SocketListener requires a SOCK_STREAM socket")
        try:
            listening = socket.getsockopt(tsocket.SOL_SOCKET, tsocket.SO_ACCEPTCONN)
        except OSError:
            pass  # macOS does not tell
        else:
            if not listening:
                raise ValueError("SocketListener requires a listening socket")
        self.socket = socket

    async def _accept(self) -> SocketStream:
        while True:
            try:
                sock, _ = await self.socket.accept()
            except OSError as exc:
                if exc.errno in _closed_stream_errnos:
                    raise trio.ClosedResourceError from None
                if exc.errno not in _ignorable_accept_errnos:
                    raise
            else:
                return SocketStream(sock)

    _accept.__name__ = "accept"
    _accept.__qualname__ = "SocketListener.accept"

    async def aclose(self) -> None:
        """Close the socket; then a checkpoint."""
        self.socket.close()
        await trio.lowlevel.checkpoint()


_native.set_stream_class(SocketStream, _closed_stream_errnos, _ignorable_accept_errnos)
