"""The synchronisation primitives, under the private path Trio has them at."""

from __future__ import annotations

import trio_c as trio  # noqa: F401 (users of this path expect it here)

from ._native import CapacityLimiter as CapacityLimiter
from ._native import CapacityLimiterStatistics as CapacityLimiterStatistics
from ._native import Condition as Condition
from ._native import ConditionStatistics as ConditionStatistics
from ._native import Event as Event
from ._native import EventStatistics as EventStatistics
from ._native import Lock as Lock
from ._native import LockStatistics as LockStatistics
from ._native import ParkingLot as ParkingLot
from ._native import Semaphore as Semaphore
from ._native import StrictFIFOLock as StrictFIFOLock
from ._native import _LockImpl as _LockImpl
from ._native import add_parking_lot_breaker as add_parking_lot_breaker
from ._native import enable_ki_protection
from ._native import remove_parking_lot_breaker as remove_parking_lot_breaker


class AsyncContextManagerMixin:
    """``async with`` for classes that have ``acquire()`` and ``release()``.

    The native classes have methods of their own that do the same.
    """

    @enable_ki_protection
    async def __aenter__(self) -> None:
        await self.acquire()

    @enable_ki_protection
    async def __aexit__(self, *exc_info: object) -> None:
        self.release()
