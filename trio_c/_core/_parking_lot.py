"""Parking lots, under the private path that Trio has them at."""

from __future__ import annotations

from collections.abc import Mapping

from .._native import (
    ParkingLot as ParkingLot,
    ParkingLotStatistics as ParkingLotStatistics,
    add_parking_lot_breaker as add_parking_lot_breaker,
    parking_lot_breakers,
    remove_parking_lot_breaker as remove_parking_lot_breaker,
)

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator

    from .._native import Task


class _Breakers(Mapping["Task", "list[ParkingLot]"]):
    """Which tasks of this thread's run break which lots: a live view.

    Every task knows its own lots; this collects them whenever it is looked at.
    Outside a run it is empty.
    """

    __slots__ = ()

    def __getitem__(self, task: Task) -> list[ParkingLot]:
        return parking_lot_breakers()[task]

    def __iter__(self) -> Iterator[Task]:
        return iter(parking_lot_breakers())

    def __len__(self) -> int:
        return len(parking_lot_breakers())

    def __repr__(self) -> str:
        return repr(parking_lot_breakers())


GLOBAL_PARKING_LOT_BREAKER = _Breakers()
