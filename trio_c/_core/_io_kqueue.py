"""A run's I/O over kqueue, and what programs can do with that beside waiting
for descriptors: ``csrc/kernel/io_kqueue.c`` has the other half.
"""

from __future__ import annotations

import sys
from contextlib import contextmanager

from .. import _native
from .._native import (
    GLOBAL_RUN_CONTEXT,
    UnboundedQueue,
    current_task,
    enable_ki_protection,
    wait_task_rescheduled,
)
from ._abort import Abort
from ._io_manager import IOManager

TYPE_CHECKING = False
if TYPE_CHECKING:
    import select
    from collections.abc import Callable, Iterator
    from contextlib import AbstractContextManager

    from ._io_manager import EventResult as EventResult
    from ._traps import RaiseCancelT

# Elsewhere, type checkers know no select.kqueue.
assert not TYPE_CHECKING or (sys.platform != "win32" and sys.platform != "linux")

_KqueueStatistics = _native._KqueueStatistics


class KqueueIOManager(IOManager):
    """The poller of one run."""

    __slots__ = ()

    def statistics(self) -> _KqueueStatistics:
        """How many tasks wait, how many monitors there are, and the name of the
        poller.
        """
        return _native.io_statistics(self._runner)

    def current_kqueue(self) -> select.kqueue:
        """See :func:`trio_c.lowlevel.current_kqueue`."""
        return _native.io_current_kqueue(self._runner)

    @contextmanager
    def monitor_kevent(
        self, ident: int, filter: int
    ) -> Iterator[UnboundedQueue[select.kevent]]:
        """See :func:`trio_c.lowlevel.monitor_kevent`."""
        events: UnboundedQueue[select.kevent] = UnboundedQueue()
        _native.io_add_receiver(self._runner, ident, filter, events)
        try:
            yield events
        finally:
            _native.io_remove_receiver(self._runner, ident, filter, events)

    async def wait_kevent(
        self, ident: int, filter: int, abort_func: Callable[[RaiseCancelT], Abort]
    ) -> select.kevent:
        """See :func:`trio_c.lowlevel.wait_kevent`."""
        task = current_task()
        _native.io_add_receiver(self._runner, ident, filter, task)

        def give_up(raise_cancel: RaiseCancelT) -> Abort:
            answer = abort_func(raise_cancel)
            if answer is Abort.SUCCEEDED:
                _native.io_remove_receiver(self._runner, ident, filter, task)
            return answer

        try:
            event: select.kevent = await wait_task_rescheduled(give_up)
        except BaseException:
            # Somebody else has ended the wait, perhaps even the task.
            _native.io_remove_receiver(self._runner, ident, filter, task)
            raise
        return event


def _current_manager() -> KqueueIOManager:
    try:
        manager = GLOBAL_RUN_CONTEXT.runner.io_manager
    except AttributeError:
        raise RuntimeError("must be called from async context") from None
    assert isinstance(manager, KqueueIOManager)
    return manager


@enable_ki_protection
def current_kqueue() -> select.kqueue:
    """The kqueue that the run waits with, to register events in.

    It is the same object every time; the run closes it in the end.

    Raises:
      RuntimeError: outside a run, or if the run was told to use poll(2).
    """
    return _current_manager().current_kqueue()


@enable_ki_protection
def monitor_kevent(
    ident: int, filter: int
) -> AbstractContextManager[UnboundedQueue[select.kevent]]:
    """Collect the events of `ident` and `filter` that arrive during a `with`
    block, in the queue that it yields.

    Registering them in :func:`current_kqueue`, and taking that back before the
    block ends, is up to the caller. An event that arrives for nobody ends the
    run with :exc:`~trio_c.TrioInternalError`.

    Raises:
      BusyResourceError: at the beginning of the block, if somebody receives the
          events of that pair already.
      RuntimeError: outside a run.
    """
    return _current_manager().monitor_kevent(ident, filter)


@enable_ki_protection
async def wait_kevent(
    ident: int, filter: int, abort_func: Callable[[RaiseCancelT], Abort]
) -> select.kevent:
    """Wait for one event of `ident` and `filter`.

    It has to be registered in :func:`current_kqueue` already, with
    ``select.KQ_EV_ONESHOT``.

    Args:
      ident: what the event is about, such as a descriptor.
      filter: what kind of event, ``select.KQ_FILTER_...``.
      abort_func: as for :func:`wait_task_rescheduled`; before it returns
          :attr:`Abort.SUCCEEDED`, it has to delete the registration.

    Returns:
      select.kevent: the event.

    A checkpoint, as far as `abort_func` makes it one.

    Raises:
      BusyResourceError: somebody receives the events of that pair already.
      ClosedResourceError: somebody has said, by :func:`notify_closing`, that
          the descriptor is going to be closed.
      RuntimeError: outside a run.
    """
    return await _current_manager().wait_kevent(ident, filter, abort_func)
