"""What the names in the twins' annotations mean.

This is the ``__globals__`` of native functions, where
`typing.get_type_hints()` looks. Loaded only then: most programs never do.
What begins with an underscore is for the rooms, in which a twin has the name.
"""

from __future__ import annotations

import contextvars as contextvars
import sys
from collections.abc import (
    Awaitable as Awaitable,
    Callable as Callable,
    Coroutine as Coroutine,
    Iterable as Iterable,
    Iterator as Iterator,
)
from contextlib import (
    AbstractAsyncContextManager as AbstractAsyncContextManager,
    AbstractContextManager as AbstractContextManager,
)
from types import FrameType as FrameType, TracebackType as TracebackType
from typing import (
    Any as Any,
    NoReturn as NoReturn,
    Protocol,
    Self as Self,
    TypeAlias,
    TypeVar,
)

import outcome as outcome

from .. import (
    CancelScope as CancelScope,
    CapacityLimiter as CapacityLimiter,
    CapacityLimiterStatistics as CapacityLimiterStatistics,
    ConditionStatistics as ConditionStatistics,
    EventStatistics as EventStatistics,
    Lock as Lock,
    LockStatistics as LockStatistics,
    MemoryChannelStatistics as MemoryChannelStatistics,
    MemoryReceiveChannel as MemoryReceiveChannel,
    MemorySendChannel as MemorySendChannel,
    Nursery as Nursery,
    SocketStream as SocketStream,
)
from ..abc import Clock as Clock, Instrument as Instrument
from ..lowlevel import (
    Abort as Abort,
    ParkingLot as ParkingLot,
    ParkingLotStatistics as ParkingLotStatistics,
    RaiseCancelT as RaiseCancelT,
    RunStatistics as RunStatistics,
    RunVarToken as RunVarToken,
    Task as Task,
    TrioToken as TrioToken,
    UnboundedQueueStatistics as UnboundedQueueStatistics,
)
from ..socket import SocketType as SocketType

if sys.version_info >= (3, 12):
    from collections.abc import Buffer as Buffer
else:
    Buffer: TypeAlias = bytes | bytearray | memoryview

AddressFormat: TypeAlias = Any
CData: TypeAlias = Any  # a pointer of cffi
T = TypeVar("T")
CallT = TypeVar("CallT", bound=Callable[..., Any])
ReceiveType = TypeVar("ReceiveType")
SendType = TypeVar("SendType")


_CancelScope: TypeAlias = CancelScope
_LockStatistics: TypeAlias = LockStatistics
_Nursery: TypeAlias = Nursery
_Task: TypeAlias = Task
_TrioToken: TypeAlias = TrioToken


class _HasFileNo(Protocol):
    def fileno(self) -> int: ...


class _HasAcquireRelease(Protocol):
    async def acquire(self) -> object: ...

    def release(self) -> object: ...


class _Limiter(Protocol):
    async def acquire_on_behalf_of(self, borrower: object, /) -> object: ...

    def release_on_behalf_of(self, borrower: object, /) -> object: ...
