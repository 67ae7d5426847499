"""The synchronisation primitives, under the private path Trio has them at."""

from __future__ import annotations

import trio_c as trio  # noqa: F401 (users of this path expect it here)

from ._native import (
    CapacityLimiter as CapacityLimiter,
    CapacityLimiterStatistics as CapacityLimiterStatistics,
    Condition as Condition,
    ConditionStatistics as ConditionStatistics,
    Event as Event,
    EventStatistics as EventStatistics,
    Lock as Lock,
    LockStatistics as LockStatistics,
    ParkingLot as ParkingLot,
    Semaphore as Semaphore,
    StrictFIFOLock as StrictFIFOLock,
    _LockImpl as _LockImpl,
    add_parking_lot_breaker as add_parking_lot_breaker,
    enable_ki_protection,
    remove_parking_lot_breaker as remove_parking_lot_breaker,
)

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Protocol

    class _HasAcquireRelease(Protocol):
        async def acquire(self) -> object: ...

        def release(self) -> object: ...


class AsyncContextManagerMixin:
    """``async with`` for classes that have ``acquire()`` and ``release()``.

    The native classes have methods of their own that do the same.
    """

    @enable_ki_protection
    async def __aenter__(self: _HasAcquireRelease) -> None:
        await self.acquire()

    @enable_ki_protection
    async def __aexit__(self: _HasAcquireRelease, *exc_info: object) -> None:
        self.release()
