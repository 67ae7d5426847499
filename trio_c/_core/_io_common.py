"""Waking everybody who waits for one thing, with an error each."""

from __future__ import annotations

import copy

import outcome

from .. import _core

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Protocol

    from .._native import Task

    class EpollWaiters(Protocol):
        read_task: Task | None
        write_task: Task | None


def wake_all(waiters: EpollWaiters, exc: BaseException) -> None:
    """Reschedule the tasks in `waiters`, each with a copy of `exc`.

    If the current task is one of them it is told last, by raising `exc`.
    """
    try:
        current_task = _core.current_task()
    except RuntimeError:
        current_task = None
    raise_here = False
    for name in ("read_task", "write_task"):
        task = getattr(waiters, name)
        if task is None:
            continue
        setattr(waiters, name, None)
        if task is current_task:
            raise_here = True
        else:
            _core.reschedule(task, outcome.Error(copy.copy(exc)))
    if raise_here:
        raise exc
