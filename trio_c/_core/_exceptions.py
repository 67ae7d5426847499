"""The exceptions, at the place where upstream has them."""

from .._native import (
    BrokenResourceError,
    BusyResourceError,
    Cancelled,
    ClosedResourceError,
    EndOfChannel,
    RunFinishedError,
    TrioInternalError,
    WouldBlock,
)

__all__ = [
    "BrokenResourceError",
    "BusyResourceError",
    "Cancelled",
    "ClosedResourceError",
    "EndOfChannel",
    "RunFinishedError",
    "TrioInternalError",
    "WouldBlock",
]
