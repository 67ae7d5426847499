"""TCP servers: listening sockets, and the loop that serves them."""

from __future__ import annotations

import errno
import sys

import trio_c as trio

from ._core import TASK_STATUS_IGNORED

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable
    from typing import Any

# The kernel cuts the backlog down to its own limit (net.core.somaxconn and
# the like), which the administrator has chosen; a short queue only makes
# connections fail under load. Some systems keep the number in 16 bits.
_MAX_BACKLOG = 0xFFFF


def _compute_backlog(backlog: int | None) -> int:
    if backlog is None:
        return _MAX_BACKLOG
    if not isinstance(backlog, int):
        raise TypeError(f"backlog must be an int or None, not {backlog!r}")
    return min(backlog, _MAX_BACKLOG)


async def _listen_on(
    sock: trio.socket.SocketType, family: int, sockaddr: Any, backlog: int
) -> trio.SocketListener:
    """Turn a new socket into a listener, or close it."""
    from . import socket as tsocket

    try:
        # Elsewhere it lets a restarted server use its port again at once; on
        # Windows it lets any process take the port over.
        if sys.platform != "win32":
            sock.setsockopt(tsocket.SOL_SOCKET, tsocket.SO_REUSEADDR, 1)
        # Otherwise "::" would claim the port for IPv4 too, and collide with
        # the IPv4 listener.
        if family == tsocket.AF_INET6:
            sock.setsockopt(tsocket.IPPROTO_IPV6, tsocket.IPV6_V6ONLY, 1)
        await sock.bind(sockaddr)
        sock.listen(backlog)
        return trio.SocketListener(sock)
    except BaseException:
        sock.close()
        raise


async def open_tcp_listeners(
    port: int, *, host: str | bytes | None = None, backlog: int | None = None
) -> list[trio.SocketListener]:
    """Create listeners for TCP connections, one per address of `host`.

    A checkpoint; waits if `host` is a name that has to be looked up. Either
    all listeners come back or none stays open.

    Args:
      port (int): the port number. 0 lets the system choose, a different port
          for each listener; ``listener.socket.getsockname()`` tells.
      host (str, bytes or None): the local address to listen on. None means
          all of this machine's, which takes one listener for IPv4 and one
          for IPv6; a name can stand for any number.
      backlog (int or None): how many connections the system may hold until
          they are accepted. None is the most that the system allows.

    Returns:
      list of :class:`SocketListener`

    Raises:
      TypeError: `port` or `backlog` is of a wrong type.
      OSError: an address could not be listened on. Address families that this
          machine does not support are left out, unless no other is left.
    """
    # getaddrinfo takes service names, which nobody should rely on.
    if not isinstance(port, int):
        raise TypeError(f"port must be an int not {port!r}")
    backlog = _compute_backlog(backlog)

    from . import socket as tsocket

    addresses = await tsocket.getaddrinfo(
        host, port, type=tsocket.SOCK_STREAM, flags=tsocket.AI_PASSIVE
    )
    listeners: list[trio.SocketListener] = []
    unsupported: list[OSError] = []
    try:
        for family, type_, proto, _, sockaddr in addresses:
            try:
                sock = tsocket.socket(family, type_, proto)
            except OSError as exc:
                # The resolver may return IPv6 addresses on a machine whose
                # kernel has no IPv6.
                if exc.errno != errno.EAFNOSUPPORT:
                    raise
                unsupported.append(exc)
            else:
                listeners.append(await _listen_on(sock, family, sockaddr, backlog))
    except BaseException:
        for listener in listeners:
            listener.socket.close()
        raise
    if unsupported and not listeners:
        msg = (
            "This system doesn't support any of the kinds of "
            "socket that that address could use"
        )
        raise OSError(errno.EAFNOSUPPORT, msg) from ExceptionGroup(msg, unsupported)
    return listeners


async def serve_tcp(
    handler: Callable[[trio.SocketStream], Awaitable[object]],
    port: int,
    *,
    host: str | bytes | None = None,
    backlog: int | None = None,
    handler_nursery: trio.Nursery | None = None,
    task_status: trio.TaskStatus[list[trio.SocketListener]] = TASK_STATUS_IGNORED,
) -> None:
    """Listen for TCP connections and run `handler` on each, until cancelled.

    This is :func:`open_tcp_listeners` followed by :func:`serve_listeners`;
    see there for the arguments. Start it with ``nursery.start``, which returns
    the list of listeners once clients can connect::

        listeners = await nursery.start(trio.serve_tcp, handler, 0)
        port = listeners[0].socket.getsockname()[1]

    Args:
      handler: async function that is called with a :class:`SocketStream`.
      port, host, backlog: as in :func:`open_tcp_listeners`.
      handler_nursery, task_status: as in :func:`serve_listeners`.
    """
    listeners = await trio.open_tcp_listeners(port, host=host, backlog=backlog)
    await trio.serve_listeners(
        handler, listeners, handler_nursery=handler_nursery, task_status=task_status
    )
