"""Clients for listening sockets under test."""

from __future__ import annotations

import trio_c as trio


async def open_stream_to_socket_listener(
    socket_listener: trio.SocketListener,
) -> trio.SocketStream:
    """Connect to a listener in this process, wherever it listens.

    Handles every kind of address, also the wildcard ones, which can be
    listened on but not connected to everywhere.

    Args:
      socket_listener (SocketListener): what to connect to.

    Returns:
      SocketStream: the client's end.
    """
    from .. import socket as tsocket

    family = socket_listener.socket.family
    sockaddr = socket_listener.socket.getsockname()
    loopback = {"0.0.0.0": "127.0.0.1", "::": "::1"}
    if family in (tsocket.AF_INET, tsocket.AF_INET6):
        host, *rest = sockaddr
        sockaddr = (loopback.get(host, host), *rest)

    sock = tsocket.socket(family=family)
    try:
        await sock.connect(sockaddr)
    except BaseException:
        sock.close()
        raise
    return trio.SocketStream(sock)
