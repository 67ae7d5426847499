"""Assertions on whether a block of code was a checkpoint."""

from __future__ import annotations

from contextlib import AbstractContextManager, contextmanager

from .. import _core

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator


def _counts() -> tuple[int, int]:
    """How often the current task passed a cancel point, and a schedule point."""
    task = _core.current_task()
    return task._cancel_points, task._schedule_points


@contextmanager
def _expect_checkpoints() -> Iterator[None]:
    __tracebackhide__ = True
    cancel_points, schedule_points = _counts()
    yield
    now = _counts()
    if now[0] == cancel_points or now[1] == schedule_points:
        raise AssertionError("assert_checkpoints block did not yield!")


@contextmanager
def _expect_no_checkpoints() -> Iterator[None]:
    __tracebackhide__ = True
    before = _counts()
    try:
        yield
    finally:
        if _counts() != before:
            raise AssertionError("assert_no_checkpoints block yielded!")


def assert_checkpoints() -> AbstractContextManager[None]:
    """Context manager: the block has to execute a checkpoint.

    A full one, that is: the task must have looked for cancellation and have
    let others run, be it in one operation or in two. If the block raises, that
    error passes and nothing is checked.

    Raises:
      AssertionError: the block ended without one.

    Example: an operation that finds its result waiting must still checkpoint::

        with trio.testing.assert_checkpoints():
            await channel.receive()
    """
    return _expect_checkpoints()


def assert_no_checkpoints() -> AbstractContextManager[None]:
    """Context manager: the block must not execute a checkpoint, nor half of one.

    That is checked even if the block raises.

    Raises:
      AssertionError: the task looked for cancellation or let others run.
    """
    return _expect_no_checkpoints()
