"""Twins of the synchronisation primitives' functions and methods."""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from ._names import (
        CapacityLimiterStatistics,
        ConditionStatistics,
        EventStatistics,
        Lock,
        LockStatistics,
        ParkingLotStatistics,
        Self,
        T,
        Task,
        TracebackType,
        UnboundedQueueStatistics,
        _HasAcquireRelease,
    )


__all__ = [
    "AsyncContextManagerMixin",
    "CapacityLimiter",
    "Condition",
    "Event",
    "ParkingLot",
    "Semaphore",
    "UnboundedQueue",
    "_LockImpl",
    "add_parking_lot_breaker",
    "parking_lot_breakers",
    "remove_parking_lot_breaker",
]


class Event:
    def __init__(self) -> None: ...

    def is_set(self) -> bool:
        """Has :meth:`set` been called?"""

    def set(self) -> None:
        """Set the flag, and wake all tasks that wait for it.

        Setting it again does nothing. Not a checkpoint.
        """

    async def wait(self) -> None:
        """Wait until the flag is set. A checkpoint also if it is set already."""

    def statistics(self) -> EventStatistics:
        """How many tasks wait: ``tasks_waiting``."""


class AsyncContextManagerMixin:
    async def __aenter__(self: _HasAcquireRelease) -> None:
        """Acquire it, as ``acquire()`` does."""

    async def __aexit__(
        self: _HasAcquireRelease,
        exc_type: type[BaseException] | None,
        exc_value: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        """Release it, as ``release()`` does. Not a checkpoint."""


class _LockImpl:
    def __init__(self) -> None: ...

    def locked(self) -> bool:
        """Does any task own the lock?"""

    def acquire_nowait(self) -> None:
        """Acquire the lock, without waiting for it.

        Raises:
          trio_c.WouldBlock: somebody else has it, or is about to get it.
          RuntimeError: this task has it already.
        """

    async def acquire(self) -> None:
        """Acquire the lock, waiting until it is this task's turn.

        A checkpoint in any case. If it is cancelled, the lock was not
        acquired.

        Raises:
          RuntimeError: this task has it already.
          trio_c.BrokenResourceError: the task that had it has exited without
              releasing it, so nobody will ever get it.
        """

    def release(self) -> None:
        """Release the lock; the task that has waited longest gets it at once.

        Not a checkpoint.

        Raises:
          RuntimeError: this task does not have it.
        """

    def statistics(self) -> LockStatistics:
        """``locked``, ``owner`` (a task or None) and ``tasks_waiting``."""


class Semaphore:
    def __init__(self, initial_value: int, *, max_value: int | None = None) -> None: ...

    def acquire_nowait(self) -> None:
        """Decrease the value, without waiting until that is possible.

        Raises:
          trio_c.WouldBlock: it is 0.
        """

    async def acquire(self) -> None:
        """Decrease the value, waiting while it is 0.

        A checkpoint in any case. If it is cancelled, the value has not been
        touched.
        """

    def release(self) -> None:
        """Increase the value, or let the task that has waited longest go on.

        Not a checkpoint.

        Raises:
          ValueError: the value is ``max_value`` already.
        """

    def statistics(self) -> ParkingLotStatistics:
        """How many tasks wait: ``tasks_waiting``."""


class CapacityLimiter:
    def __init__(self, total_tokens: int | float) -> None: ...

    def acquire_nowait(self) -> None:
        """Borrow a token for this task, without waiting for one.

        Raises:
          trio_c.WouldBlock: there is none left.
          RuntimeError: this task has one already.
        """

    def acquire_on_behalf_of_nowait(self, borrower: Task | object) -> None:
        """Borrow a token for `borrower`, without waiting for one.

        Raises:
          trio_c.WouldBlock: there is none left.
          RuntimeError: `borrower` has one already.
        """

    async def acquire(self) -> None:
        """Borrow a token for this task, waiting until there is one.

        A checkpoint in any case. If it is cancelled, nothing was borrowed.

        Raises:
          RuntimeError: this task has one already.
        """

    async def acquire_on_behalf_of(self, borrower: Task | object) -> None:
        """Borrow a token for `borrower`, waiting until there is one.

        A checkpoint in any case. If it is cancelled, nothing was borrowed.

        Raises:
          RuntimeError: `borrower` has one already.
        """

    def release(self) -> None:
        """Give this task's token back. Not a checkpoint.

        Raises:
          RuntimeError: it has none.
        """

    def release_on_behalf_of(self, borrower: Task | object) -> None:
        """Give back the token of `borrower`. Not a checkpoint.

        Raises:
          RuntimeError: it has none.
        """

    def statistics(self) -> CapacityLimiterStatistics:
        """``borrowed_tokens``, ``total_tokens``, ``borrowers`` (a list) and
        ``tasks_waiting``."""


class Condition:
    def __init__(self, lock: Lock | None = None) -> None: ...

    def locked(self) -> bool:
        """Does any task own the lock?"""

    def acquire_nowait(self) -> None:
        """Acquire the lock, without waiting for it.

        Raises:
          trio_c.WouldBlock: somebody else has it, or is about to get it.
          RuntimeError: this task has it already.
        """

    async def acquire(self) -> None:
        """Acquire the lock, waiting until it is this task's turn.

        A checkpoint in any case.

        Raises:
          RuntimeError: this task has it already.
          trio_c.BrokenResourceError: the task that had it has exited without
              releasing it.
        """

    def release(self) -> None:
        """Release the lock. Not a checkpoint.

        Raises:
          RuntimeError: this task does not have it.
        """

    async def wait(self) -> None:
        """Release the lock, wait to be notified, and get the lock back.

        The lock is got back before this ends in any way, also if it is
        cancelled: then it goes on waiting, without heeding the cancellation,
        until it has the lock. There may be no news after all: look again.

        Raises:
          RuntimeError: this task does not have the lock.
        """

    def notify(self, n: int = 1) -> None:
        """Wake `n` of the tasks that wait, those who came first.

        They go on when the lock has been released. Not a checkpoint.

        Raises:
          RuntimeError: this task does not have the lock.
        """

    def notify_all(self) -> None:
        """Wake all tasks that wait.

        They go on, one by one, when the lock has been released. Not a
        checkpoint.

        Raises:
          RuntimeError: this task does not have the lock.
        """

    def statistics(self) -> ConditionStatistics:
        """``tasks_waiting``, for notification, and ``lock_statistics``."""


class ParkingLot:
    def __init__(self) -> None: ...

    async def park(self) -> None:
        """Sleep until another task calls :meth:`unpark`. A checkpoint.

        Raises:
          trio_c.BrokenResourceError: the lot is broken, or gets broken.
        """

    def unpark(self, *, count: int | float = 1) -> list[Task]:
        """Wake up to `count` tasks, those who came first, and return them.

        ``math.inf`` wakes all. Not a checkpoint.

        Raises:
          ValueError: `count` is another float.
        """

    def unpark_all(self) -> list[Task]:
        """Wake all parked tasks and return them. Not a checkpoint."""

    def repark(self, new_lot: ParkingLot, *, count: int | float = 1) -> None:
        """Move up to `count` tasks to the end of another lot, without waking
        them.

        Whoever is moved can be cancelled as before.

        Raises:
          TypeError: `new_lot` is not a ParkingLot.
        """

    def repark_all(self, new_lot: ParkingLot) -> None:
        """Move all tasks to the end of another lot, without waking them.

        Raises:
          TypeError: `new_lot` is not a ParkingLot.
        """

    def break_lot(self, task: Task | None = None) -> None:
        """Make the lot useless: whoever is parked or tries to park gets a
        :exc:`trio_c.BrokenResourceError`.

        `task`, by default the current one, is recorded in :attr:`broken_by`
        as having done it.
        """

    def statistics(self) -> ParkingLotStatistics:
        """How many tasks are parked: ``tasks_waiting``."""


def add_parking_lot_breaker(task: Task, lot: ParkingLot) -> None:
    """Have `lot` broken when `task` exits.

    Each call counts: it takes as many calls of
    :func:`remove_parking_lot_breaker` to take it back.

    Raises:
      trio_c.BrokenResourceError: `task` has exited already.
    """


def remove_parking_lot_breaker(task: Task, lot: ParkingLot) -> None:
    """Take back one :func:`add_parking_lot_breaker`.

    Raises:
      RuntimeError: `task` would not break `lot`.
    """


def parking_lot_breakers() -> dict[Task, list[ParkingLot]]:
    """The lots that the tasks of this thread's run break when they exit."""


class UnboundedQueue:
    def __init__(self) -> None: ...

    def put_nowait(self, obj: T) -> None:
        """Put an item into the queue. Not a checkpoint."""

    def get_batch_nowait(self) -> list[T]:
        """Take all items out of the queue; at least one.

        Raises:
          trio_c.WouldBlock: there is none, or another task is to get them.
        """

    async def get_batch(self) -> list[T]:
        """Wait until there are items, and take all of them. A checkpoint."""

    def qsize(self) -> int:
        """How many items there are."""

    def empty(self) -> bool:
        """Is there no item?"""

    def statistics(self) -> UnboundedQueueStatistics:
        """``qsize`` and ``tasks_waiting``."""

    def __aiter__(self) -> Self:
        """Iterate over batches, for ever."""

    async def __anext__(self) -> list[T]:
        """The next batch, as :meth:`get_batch`."""
