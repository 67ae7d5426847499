"""The standard library's :mod:`socket`, with everything that could block
made asynchronous.

Constants and what only computes are the same objects as there.
"""

from __future__ import annotations

import socket as _stdlib_socket
import sys as _sys

from . import _socket
from ._socket import (  # noqa: F401
    SocketType,
    from_stdlib_socket,
    fromfd,
    getaddrinfo,
    getnameinfo,
    getprotobyname,
    set_custom_hostname_resolver,
    set_custom_socket_factory,
    socket,
    socketpair,
)

TYPE_CHECKING = False
if TYPE_CHECKING:
    from socket import *  # noqa: F403

    if _sys.platform == "win32":
        from ._socket import fromshare
    IP_BIND_ADDRESS_NO_PORT: int

# On Windows it lets others take over the address; Linux means another thing.
_bad_symbols = {"SO_REUSEADDR"} if _sys.platform == "win32" else set()

_functions = """
    gaierror gethostname herror htonl htons if_indextoname if_nameindex
    if_nametoindex inet_aton inet_ntoa inet_ntop inet_pton ntohs sethostname
    """

globals().update(
    {
        name: getattr(_stdlib_socket, name)
        for name in _stdlib_socket.__all__
        if name.isupper() and name not in _bad_symbols
    }
)
globals().update(
    {
        name: getattr(_stdlib_socket, name)
        for name in _functions.split()
        if hasattr(_stdlib_socket, name)
    }
)
if hasattr(_socket, "fromshare"):
    fromshare = _socket.fromshare
if _sys.platform == "linux" and "IP_BIND_ADDRESS_NO_PORT" not in globals():
    IP_BIND_ADDRESS_NO_PORT = 24

from ._util import fixup_module_metadata  # noqa: E402

fixup_module_metadata(__name__, globals())
del fixup_module_metadata, TYPE_CHECKING
