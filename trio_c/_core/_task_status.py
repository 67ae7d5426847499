"""The interface of what `Nursery.start` hands to a new task."""

from __future__ import annotations

from typing import Protocol, overload

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing_extensions import TypeVar

    StatusT_contra = TypeVar("StatusT_contra", contravariant=True, default=None)
else:
    from typing import TypeVar

    StatusT_contra = TypeVar("StatusT_contra", contravariant=True)


class TaskStatus(Protocol[StatusT_contra]):
    """Passed as ``task_status`` to a task begun with `Nursery.start`."""

    @overload
    def started(self: TaskStatus[None]) -> None: ...

    @overload
    def started(self, value: StatusT_contra) -> None: ...

    def started(self, value: StatusT_contra | None = None) -> None:
        """Say that the task is up: `Nursery.start` returns `value`, and the task
        goes on as a child of the nursery.

        Raises:
          RuntimeError: if called twice.
        """


TaskStatus.__module__ = TaskStatus.started.__module__ = "trio_c"
