"""The interface of what `Nursery.start` hands to a new task."""

from typing import Protocol, TypeVar

StatusT_contra = TypeVar("StatusT_contra", contravariant=True)


class TaskStatus(Protocol[StatusT_contra]):
    """Passed as ``task_status`` to a task begun with `Nursery.start`."""

    def started(self, value: StatusT_contra | None = None) -> None:
        """Say that the task is up: `Nursery.start` returns `value`, and the task
        goes on as a child of the nursery.

        Raises:
          RuntimeError: if called twice.
        """


TaskStatus.__module__ = "trio_c"
