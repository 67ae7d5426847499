"""Abstract base classes: what a program may implement or check for."""

from ._abc import (
    AsyncResource,
    Channel,
    Clock,
    HalfCloseableStream,
    HostnameResolver,
    Instrument,
    Listener,
    ReceiveChannel,
    ReceiveStream,
    SendChannel,
    SendStream,
    SocketFactory,
    Stream,
)
from ._util import fixup_module_metadata

__all__ = [
    "AsyncResource",
    "Channel",
    "Clock",
    "HalfCloseableStream",
    "HostnameResolver",
    "Instrument",
    "Listener",
    "ReceiveChannel",
    "ReceiveStream",
    "SendChannel",
    "SendStream",
    "SocketFactory",
    "Stream",
]

fixup_module_metadata(__name__, globals())
del fixup_module_metadata
