"""The class that all sockets are instances of, fake ones included."""

from __future__ import annotations

import socket as _stdlib_socket
import sys

from ._util import overload

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Awaitable, Iterable
    from socket import AddressFamily, SocketKind
    from types import TracebackType
    from typing import Self

    from typing_extensions import Buffer

    from ._socket import AddressFormat

# Can this system send and receive messages with something beside the data?
HAS_MSG = hasattr(_stdlib_socket.socket, "recvmsg")


class SocketType:
    """What every socket here is an instance of.

    Abstract: :func:`socket` and its relatives make sockets. Subclass it to
    write a fake one, see :func:`set_custom_socket_factory`.
    """

    def __init__(self) -> None:
        super().__init__()
        if type(self) is SocketType:
            raise TypeError(
                "SocketType is an abstract class; use trio.socket.socket if you "
                "want to construct a socket object"
            )

    def detach(self) -> int:
        """Give the descriptor up without closing it, and return it."""
        raise NotImplementedError

    def fileno(self) -> int:
        """The descriptor, or -1 once closed."""
        raise NotImplementedError

    def getpeername(self) -> AddressFormat:
        """The address of the other end."""
        raise NotImplementedError

    def getsockname(self) -> AddressFormat:
        """The address of this end."""
        raise NotImplementedError

    @overload
    def getsockopt(self, level: int, optname: int) -> int: ...

    @overload
    def getsockopt(self, level: int, optname: int, buflen: int) -> bytes: ...

    def getsockopt(
        self, level: int, optname: int, buflen: int | None = None
    ) -> int | bytes:
        """Read an option; an int, or up to `buflen` bytes."""
        raise NotImplementedError

    @overload
    def setsockopt(self, level: int, optname: int, value: int | Buffer) -> None: ...

    @overload
    def setsockopt(
        self, level: int, optname: int, value: None, optlen: int
    ) -> None: ...

    def setsockopt(
        self,
        level: int,
        optname: int,
        value: int | Buffer | None,
        optlen: int | None = None,
    ) -> None:
        """Set an option; None as value takes its length in `optlen`."""
        raise NotImplementedError

    def listen(self, backlog: int = min(_stdlib_socket.SOMAXCONN, 128)) -> None:
        """Let others connect; `backlog` of them may wait to be accepted."""
        raise NotImplementedError

    def get_inheritable(self) -> bool:
        """Do programs that this one starts get the descriptor?"""
        raise NotImplementedError

    def set_inheritable(self, inheritable: bool) -> None:
        """Say whether programs that this one starts get the descriptor."""
        raise NotImplementedError

    if sys.platform == "win32" or (
        not TYPE_CHECKING and hasattr(_stdlib_socket.socket, "share")
    ):

        def share(self, process_id: int) -> bytes:
            """Something from which another process can make the socket."""
            raise NotImplementedError

    def __enter__(self) -> Self:
        raise NotImplementedError

    def __exit__(
        self,
        exc_type: type[BaseException] | None,
        exc_value: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        raise NotImplementedError

    @property
    def family(self) -> AddressFamily:
        """The address family."""
        raise NotImplementedError

    @property
    def type(self) -> SocketKind:
        """The kind of socket, such as ``SOCK_STREAM``."""
        raise NotImplementedError

    @property
    def proto(self) -> int:
        """The protocol number that the socket was made with."""
        raise NotImplementedError

    @property
    def did_shutdown_SHUT_WR(self) -> bool:
        """Has :meth:`shutdown` ended sending?"""
        raise NotImplementedError

    def __repr__(self) -> str:
        raise NotImplementedError

    def dup(self) -> SocketType:
        """Another socket object on a duplicate of the descriptor."""
        raise NotImplementedError

    def close(self) -> None:
        """Close the socket. Tasks that wait in it get
        :exc:`trio_c.ClosedResourceError`.
        """
        raise NotImplementedError

    async def bind(self, address: AddressFormat) -> None:
        """Give this end an address."""
        raise NotImplementedError

    def shutdown(self, flag: int) -> None:
        """End one direction or both."""
        raise NotImplementedError

    def is_readable(self) -> bool:
        """Would a receive come back at once?"""
        raise NotImplementedError

    async def wait_writable(self) -> None:
        """Wait until a send may come back at once; like
        :func:`trio_c.lowlevel.wait_writable`.
        """
        raise NotImplementedError

    async def accept(self) -> tuple[SocketType, AddressFormat]:
        """Wait for a connection; returns its socket and the peer's address."""
        raise NotImplementedError

    async def connect(self, address: AddressFormat) -> None:
        """Connect to `address`, whose names are looked up.

        If this is cancelled the socket is closed, for nobody can know how far
        the attempt had got.
        """
        raise NotImplementedError

    def recv(self, buflen: int, flags: int = 0, /) -> Awaitable[bytes]:
        """Wait for data and return at most `buflen` bytes of it."""
        raise NotImplementedError

    def recv_into(
        self, buffer: Buffer, nbytes: int = 0, flags: int = 0
    ) -> Awaitable[int]:
        """Wait for data and put it into `buffer`; returns how many bytes."""
        raise NotImplementedError

    def recvfrom(
        self, bufsize: int, flags: int = 0, /
    ) -> Awaitable[tuple[bytes, AddressFormat]]:
        """Wait for data; returns it and the sender's address."""
        raise NotImplementedError

    def recvfrom_into(
        self, buffer: Buffer, nbytes: int = 0, flags: int = 0
    ) -> Awaitable[tuple[int, AddressFormat]]:
        """Wait for data and put it into `buffer`; returns how many bytes, and
        the sender's address.
        """
        raise NotImplementedError

    if HAS_MSG or TYPE_CHECKING:

        def recvmsg(
            self, bufsize: int, ancbufsize: int = 0, flags: int = 0, /
        ) -> Awaitable[tuple[bytes, list[tuple[int, int, bytes]], int, object]]:
            """Wait for data; returns it, what came beside it, flags and the
            sender's address.
            """
            raise NotImplementedError

        def recvmsg_into(
            self,
            buffers: Iterable[Buffer],
            ancbufsize: int = 0,
            flags: int = 0,
            /,
        ) -> Awaitable[tuple[int, list[tuple[int, int, bytes]], int, object]]:
            """Wait for data and put it into `buffers`; otherwise like
            :meth:`recvmsg`.
            """
            raise NotImplementedError

    def send(self, bytes: Buffer, flags: int = 0, /) -> Awaitable[int]:
        """Send some of the data, at least one byte if there is any; returns
        how many.
        """
        raise NotImplementedError

    @overload
    async def sendto(
        self, data: Buffer, address: tuple[object, ...] | str | Buffer, /
    ) -> int: ...

    @overload
    async def sendto(
        self,
        data: Buffer,
        flags: int,
        address: tuple[object, ...] | str | Buffer,
        /,
    ) -> int: ...

    async def sendto(self, *args: object) -> int:
        """``sendto(data[, flags], address)``: send to `address`, whose names
        are looked up.
        """
        raise NotImplementedError

    if HAS_MSG or TYPE_CHECKING:

        async def sendmsg(
            self,
            buffers: Iterable[Buffer],
            ancdata: Iterable[tuple[int, int, Buffer]] = (),
            flags: int = 0,
            address: AddressFormat | None = None,
            /,
        ) -> int:
            """Send several pieces of data, and something beside them; returns
            how many bytes of data.
            """
            raise NotImplementedError
