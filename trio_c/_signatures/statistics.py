"""Twins of the statistics classes' constructors."""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from ._names import Task, _LockStatistics

__all__ = [
    "CapacityLimiterStatistics",
    "ConditionStatistics",
    "EventStatistics",
    "LockStatistics",
    "MemoryChannelStatistics",
    "ParkingLotStatistics",
    "RunStatistics",
    "CompletionKeyEventInfo",
    "UnboundedQueueStatistics",
    "_EpollStatistics",
    "_KqueueStatistics",
    "_WindowsStatistics",
]


class EventStatistics:
    def __init__(self, tasks_waiting: int) -> None: ...


class LockStatistics:
    def __init__(
        self, locked: bool, owner: Task | None, tasks_waiting: int
    ) -> None: ...


class CapacityLimiterStatistics:
    def __init__(
        self,
        borrowed_tokens: int,
        total_tokens: int | float,
        borrowers: list[Task | object],
        tasks_waiting: int,
    ) -> None: ...


class ConditionStatistics:
    def __init__(
        self, tasks_waiting: int, lock_statistics: _LockStatistics
    ) -> None: ...


class MemoryChannelStatistics:
    def __init__(
        self,
        current_buffer_used: int,
        max_buffer_size: int | float,
        open_send_channels: int,
        open_receive_channels: int,
        tasks_waiting_send: int,
        tasks_waiting_receive: int,
        peak_buffer_used: int,
    ) -> None: ...


class ParkingLotStatistics:
    def __init__(self, tasks_waiting: int) -> None: ...


class UnboundedQueueStatistics:
    def __init__(self, qsize: int, tasks_waiting: int) -> None: ...


class RunStatistics:
    def __init__(
        self,
        tasks_living: int,
        tasks_runnable: int,
        seconds_to_next_deadline: float,
        io_statistics: object,
        run_sync_soon_queue_size: int,
    ) -> None: ...


class _EpollStatistics:
    def __init__(
        self, tasks_waiting_read: int, tasks_waiting_write: int, backend: str = "epoll"
    ) -> None: ...


class _KqueueStatistics:
    def __init__(
        self, tasks_waiting: int, monitors: int, backend: str = "kqueue"
    ) -> None: ...


class _WindowsStatistics:
    def __init__(
        self,
        tasks_waiting_read: int,
        tasks_waiting_write: int,
        tasks_waiting_overlapped: int,
        completion_key_monitors: int,
        backend: str = "windows",
    ) -> None: ...


class CompletionKeyEventInfo:
    def __init__(
        self, lpOverlapped: object, dwNumberOfBytesTransferred: int
    ) -> None: ...
