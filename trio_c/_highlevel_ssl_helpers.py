"""TLS connections by host name, and TLS servers: TCP with an SSLStream on top."""

from __future__ import annotations

import ssl

import trio_c as trio

from ._core import TASK_STATUS_IGNORED
from ._highlevel_open_tcp_stream import DEFAULT_DELAY

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable
    from typing import NoReturn

    from ._highlevel_socket import SocketStream


async def open_ssl_over_tcp_stream(
    host: str | bytes,
    port: int,
    *,
    https_compatible: bool = False,
    ssl_context: ssl.SSLContext | None = None,
    happy_eyeballs_delay: float | None = DEFAULT_DELAY,
) -> trio.SSLStream[SocketStream]:
    """Connect to a host by TCP, for TLS.

    A checkpoint. The TLS handshake has not been done when it returns: see
    :meth:`SSLStream.do_handshake`. It is then that a wrong certificate shows.

    Args:
      host (str or bytes): the host's name, which its certificate must be for,
          or address.
      port (int): the port number.
      https_compatible (bool): as in :class:`SSLStream`; True for HTTPS.
      ssl_context (ssl.SSLContext or None): by default one from
          :func:`ssl.create_default_context`, which trusts the certificate
          authorities that the system trusts.
      happy_eyeballs_delay (float or None): in seconds; as in
          :func:`open_tcp_stream`.

    Raises:
      OSError: no connection could be made.
    """
    tcp_stream = await trio.open_tcp_stream(
        host, port, happy_eyeballs_delay=happy_eyeballs_delay
    )
    try:
        if ssl_context is None:
            ssl_context = ssl.create_default_context()
            # Whether a missing good-bye matters is for https_compatible to say.
            if hasattr(ssl, "OP_IGNORE_UNEXPECTED_EOF"):
                ssl_context.options &= ~ssl.OP_IGNORE_UNEXPECTED_EOF
        return trio.SSLStream(
            tcp_stream,
            ssl_context,
            server_hostname=host,
            https_compatible=https_compatible,
        )
    except BaseException:
        # A host name that cannot stand in a certificate, for one.
        await trio.aclose_forcefully(tcp_stream)
        raise


async def open_ssl_over_tcp_listeners(
    port: int,
    ssl_context: ssl.SSLContext,
    *,
    host: str | bytes | None = None,
    https_compatible: bool = False,
    backlog: int | None = None,
) -> list[trio.SSLListener[SocketStream]]:
    """Create listeners for TLS connections over TCP.

    A checkpoint. This is :func:`open_tcp_listeners` with an
    :class:`SSLListener` on each.

    Args:
      port, host, backlog: as in :func:`open_tcp_listeners`.
      ssl_context (ssl.SSLContext): has the server's certificate.
      https_compatible (bool): as in :class:`SSLStream`.

    Returns:
      list of :class:`SSLListener`

    Raises:
      TypeError, OSError: as :func:`open_tcp_listeners`.
    """
    tcp_listeners = await trio.open_tcp_listeners(port, host=host, backlog=backlog)
    return [
        trio.SSLListener(tcp_listener, ssl_context, https_compatible=https_compatible)
        for tcp_listener in tcp_listeners
    ]


async def serve_ssl_over_tcp(
    handler: Callable[[trio.SSLStream[SocketStream]], Awaitable[object]],
    port: int,
    ssl_context: ssl.SSLContext,
    *,
    host: str | bytes | None = None,
    https_compatible: bool = False,
    backlog: int | None = None,
    handler_nursery: trio.Nursery | None = None,
    task_status: trio.TaskStatus[
        list[trio.SSLListener[SocketStream]]
    ] = TASK_STATUS_IGNORED,
) -> NoReturn:
    """Listen for TLS connections and run `handler` on each, until cancelled.

    This is :func:`open_ssl_over_tcp_listeners` followed by
    :func:`serve_listeners`; see there for the arguments. Start it with
    ``nursery.start``, which returns the list of listeners once clients can
    connect.

    Args:
      handler: async function that is called with an :class:`SSLStream`, whose
          handshake has not been done.
      port, ssl_context, host, https_compatible, backlog: as in
          :func:`open_ssl_over_tcp_listeners`.
      handler_nursery, task_status: as in :func:`serve_listeners`.
    """
    listeners = await trio.open_ssl_over_tcp_listeners(
        port,
        ssl_context,
        host=host,
        https_compatible=https_compatible,
        backlog=backlog,
    )
    await trio.serve_listeners(
        handler, listeners, handler_nursery=handler_nursery, task_status=task_status
    )
