"""Connecting to a UNIX domain socket."""

from __future__ import annotations

import os
from contextlib import contextmanager

import trio_c as trio

from . import socket as tsocket

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Generator
    from typing import Protocol, TypeVar

    class Closable(Protocol):
        def close(self) -> None: ...

    CloseT = TypeVar("CloseT", bound=Closable)

has_unix = hasattr(tsocket, "AF_UNIX")


@contextmanager
def close_on_error(obj: CloseT) -> Generator[CloseT, None, None]:
    """Call ``obj.close()`` if the block raises anything; hands out `obj`."""
    try:
        yield obj
    except:
        obj.close()
        raise


async def open_unix_socket(
    filename: str | bytes | os.PathLike[str] | os.PathLike[bytes],
) -> trio.SocketStream:
    """Connect to a UNIX domain socket, of type ``SOCK_STREAM``. A checkpoint.

    `filename` is the path of the socket; on Linux it may also be an abstract
    address, which begins with a NUL (:manpage:`unix(7)`).

    Raises:
      OSError: connecting failed; :exc:`FileNotFoundError` if there is no such
        socket, :exc:`ConnectionRefusedError` if nobody listens on it.
      RuntimeError: the system has no UNIX domain sockets.
      TypeError: `filename` is not a path.
    """
    if not has_unix:
        raise RuntimeError("Unix sockets are not supported on this platform")
    sock = tsocket.socket(tsocket.AF_UNIX, tsocket.SOCK_STREAM)
    with close_on_error(sock):
        await sock.connect(os.fspath(filename))
        return trio.SocketStream(sock)
