"""Signatures of native I/O: descriptors, sockets, socket streams.

Never called: native callables take their names, annotations and docstrings
from the functions of the same name here.
"""

from __future__ import annotations

__all__ = [
    "SSLStream",
    "SocketListener",
    "SocketStream",
    "_SocketType",
    "notify_closing",
    "wait_readable",
    "wait_writable",
]

TYPE_CHECKING = False
if TYPE_CHECKING:
    from ._names import (
        AddressFormat,
        Buffer,
        Callable,
        Iterable,
        SocketType,
        T,
        _HasFileNo,
    )


async def wait_readable(fd: int | _HasFileNo) -> None:
    """Wait until the kernel says that `fd` can be read from.

    `fd` is a descriptor number or an object with a ``fileno()`` method. What
    "can be read from" means for what kind of descriptor is the kernel's
    business; end of file and errors count. It may be said once too often.
    A checkpoint, where it waits.

    Raises:
      trio_c.BusyResourceError: another task is waiting to read from it.
      trio_c.ClosedResourceError: another task called :func:`notify_closing`
          during the wait.
      OSError: the kernel cannot wait for this descriptor, or there is none.
      ValueError: the number is negative; so is that of a closed socket.
    """


async def wait_writable(fd: int | _HasFileNo) -> None:
    """Wait until the kernel says that `fd` can be written to.

    Otherwise like :func:`wait_readable`.

    Raises:
      trio_c.BusyResourceError: another task is waiting to write to it.
      trio_c.ClosedResourceError: another task called :func:`notify_closing`
          during the wait.
      OSError: the kernel cannot wait for this descriptor, or there is none.
      ValueError: the number is negative; so is that of a closed socket.
    """


def notify_closing(fd: int | _HasFileNo) -> None:
    """Say that `fd` is about to be closed.

    Tasks that wait for it in :func:`wait_readable` or :func:`wait_writable`
    get :exc:`trio_c.ClosedResourceError`. Nothing is closed here: do that
    afterwards, without a checkpoint in between, or nobody knows which
    descriptor a task waits for that comes late.
    """


class _SocketType:
    def fileno(self) -> int:
        """The descriptor, or -1 once closed."""

    def close(self) -> None:
        """Close the socket. Tasks that wait in it get
        :exc:`trio_c.ClosedResourceError`. Doing it twice is fine.
        """

    async def accept(self) -> tuple[SocketType, AddressFormat]:
        """Wait for a connection; returns its socket and the peer's address.

        Like :meth:`socket.socket.accept`. Always a checkpoint.
        """

    async def connect(self, address: AddressFormat) -> None:
        """Connect to `address`, whose names are looked up.

        Like :meth:`socket.socket.connect`. Always a checkpoint. If this is
        cancelled the socket is closed, for nobody can know how far the attempt
        had got.
        """

    async def _connect_resolved(self, address: AddressFormat) -> None:
        """:meth:`connect`, without looking anything up."""

    async def recv(self, buflen: int, flags: int = 0, /) -> bytes:
        """Wait for data and return at most `buflen` bytes of it.

        Like :meth:`socket.socket.recv`. Always a checkpoint.
        """

    async def recv_into(self, buffer: Buffer, nbytes: int = 0, flags: int = 0) -> int:
        """Wait for data and put it into `buffer`; returns how many bytes.

        Like :meth:`socket.socket.recv_into`. Always a checkpoint.
        """

    async def recvfrom(
        self, bufsize: int, flags: int = 0, /
    ) -> tuple[bytes, AddressFormat]:
        """Wait for data; returns it and the sender's address.

        Like :meth:`socket.socket.recvfrom`. Always a checkpoint.
        """

    async def recvfrom_into(
        self, buffer: Buffer, nbytes: int = 0, flags: int = 0
    ) -> tuple[int, AddressFormat]:
        """Wait for data and put it into `buffer`; returns how many bytes, and
        the sender's address.

        Like :meth:`socket.socket.recvfrom_into`. Always a checkpoint.
        """

    async def recvmsg(
        self, bufsize: int, ancbufsize: int = 0, flags: int = 0, /
    ) -> tuple[bytes, list[tuple[int, int, bytes]], int, object]:
        """Wait for data; returns it, what came beside it, flags and the
        sender's address.

        Like :meth:`socket.socket.recvmsg`, and only there where that is.
        Always a checkpoint.
        """

    async def recvmsg_into(
        self, buffers: Iterable[Buffer], ancbufsize: int = 0, flags: int = 0, /
    ) -> tuple[int, list[tuple[int, int, bytes]], int, object]:
        """Wait for data and put it into `buffers`; otherwise like
        :meth:`recvmsg`.
        """

    async def sendmsg(
        self,
        buffers: Iterable[Buffer],
        ancdata: Iterable[tuple[int, int, Buffer]] = (),
        flags: int = 0,
        address: AddressFormat | None = None,
        /,
    ) -> int:
        """Send some of the data in `buffers`, and `ancdata` beside it; returns
        how many bytes of the data.

        Like :meth:`socket.socket.sendmsg`, and only there where that is; a
        host name in `address` is resolved. Always a checkpoint.
        """

    async def send(self, bytes: Buffer, flags: int = 0, /) -> int:
        """Send some of the data, at least one byte if there is any; returns
        how many.

        Like :meth:`socket.socket.send`. Always a checkpoint.
        """

    async def sendto(self, *args: object) -> int:
        """``sendto(data[, flags], address)``: send to `address`, whose names
        are looked up.

        Like :meth:`socket.socket.sendto`. Always a checkpoint.
        """


class SocketStream:
    async def send_all(self, data: bytes | bytearray | memoryview) -> None:
        """See :meth:`trio_c.abc.SendStream.send_all`."""

    async def receive_some(self, max_bytes: int | None = None) -> bytes:
        """See :meth:`trio_c.abc.ReceiveStream.receive_some`."""


class SocketListener:
    async def accept(self) -> SocketStream:
        """Wait for a connection and return it as a :class:`SocketStream`.

        Connections that went wrong before anybody accepted them are passed
        over. A lack of descriptors or memory is not: it is for the caller to
        decide what to do about it.

        Raises:
          trio_c.ClosedResourceError: the listener is closed, or was closed
              during the wait.
          OSError: anything else that :meth:`socket.socket.accept` raises.
        """


class SSLStream:
    async def receive_some(self, max_bytes: int | None = None) -> bytes | bytearray:
        """Receive some data, waiting for it if there is none. A checkpoint.

        Does the handshake first if nobody has.

        Args:
          max_bytes (int or None): the most to return, in bytes, at least 1.
              By default what seems good.

        Returns:
          At least one byte; or ``b""`` if the peer has ended its half of the
          connection.

        Raises:
          trio_c.BusyResourceError: another task is receiving.
          trio_c.BrokenResourceError: the connection, or the TLS protocol on
              it, has failed. Unless the stream is ``https_compatible``, this
              includes an end without a good-bye.
          trio_c.ClosedResourceError: the stream is closed.
          ValueError: `max_bytes` is less than 1.
          TypeError: `max_bytes` is not an integer.
        """

    async def send_all(self, data: bytes | bytearray | memoryview) -> None:
        """Encrypt `data` and send all of it. A checkpoint.

        Does the handshake first if nobody has. If this fails or is cancelled,
        an unknown part of `data` has been sent. Once it has begun to send, the
        stream is broken then.

        Raises:
          trio_c.BusyResourceError: another task is sending, or waiting in
              :meth:`wait_send_all_might_not_block`.
          trio_c.BrokenResourceError: the connection, or the TLS protocol on
              it, has failed.
          trio_c.ClosedResourceError: the stream is closed.
        """

    async def wait_send_all_might_not_block(self) -> None:
        """See :meth:`trio_c.abc.SendStream.wait_send_all_might_not_block`."""

    async def _retry(self, fn: Callable[[], T]) -> T:
        """Call `fn`, which uses the SSL object, and do what it takes for it to
        succeed: send what it has written, receive what it wants to read. A
        checkpoint.

        Raises:
          trio_c.BrokenResourceError: from an :exc:`ssl.SSLError` that `fn`
              raised, or from the transport; the stream is broken.
        """
