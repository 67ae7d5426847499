"""A run's I/O over a completion port, and what programs can do with that
beside waiting for sockets: ``csrc/kernel/io_windows.c`` has the other half.
"""

from __future__ import annotations

import sys
from contextlib import contextmanager

from .. import _native
from .._native import GLOBAL_RUN_CONTEXT, UnboundedQueue, enable_ki_protection
from ._io_manager import IOManager

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Awaitable, Iterator
    from contextlib import AbstractContextManager

    from typing_extensions import Buffer

    from ._io_manager import EventResult as EventResult
    from ._windows_cffi import CData

# Elsewhere, type checkers know none of this.
assert not TYPE_CHECKING or sys.platform == "win32"

CompletionKeyEventInfo = _native.CompletionKeyEventInfo
_WindowsStatistics = _native._WindowsStatistics


class WindowsIOManager(IOManager):
    """The poller of one run."""

    __slots__ = ()

    def statistics(self) -> _WindowsStatistics:
        """How many tasks wait for what, how many monitors there are, and the
        name of the poller.
        """
        return _native.io_statistics(self._runner)

    def current_iocp(self) -> int:
        """See :func:`trio_c.lowlevel.current_iocp`."""
        return _native.current_iocp()

    def register_with_iocp(self, handle: int | CData) -> None:
        """See :func:`trio_c.lowlevel.register_with_iocp`."""
        _native.register_with_iocp(handle)

    def wait_overlapped(
        self, handle_: int | CData, lpOverlapped: CData | int
    ) -> Awaitable[object]:
        """See :func:`trio_c.lowlevel.wait_overlapped`."""
        return _native.wait_overlapped(handle_, lpOverlapped)

    def write_overlapped(
        self, handle: int | CData, data: Buffer, file_offset: int = 0
    ) -> Awaitable[int]:
        """See :func:`trio_c.lowlevel.write_overlapped`."""
        return _native.write_overlapped(handle, data, file_offset)

    def readinto_overlapped(
        self, handle: int | CData, buffer: Buffer, file_offset: int = 0
    ) -> Awaitable[int]:
        """See :func:`trio_c.lowlevel.readinto_overlapped`."""
        return _native.readinto_overlapped(handle, buffer, file_offset)

    @contextmanager
    def monitor_completion_key(self) -> Iterator[tuple[int, UnboundedQueue[object]]]:
        """See :func:`trio_c.lowlevel.monitor_completion_key`."""
        packets = UnboundedQueue[object]()
        key = _native.io_monitor_key(self._runner, packets)
        try:
            yield key, packets
        finally:
            _native.io_unmonitor_key(self._runner, key)


@enable_ki_protection
def monitor_completion_key() -> AbstractContextManager[
    tuple[int, UnboundedQueue[object]]
]:
    """Collect the packets that arrive at the completion port under a key of
    one's own during a `with` block.

    The block yields the key and a queue. Whoever posts packets with that key
    to :func:`current_iocp` finds an object in the queue for each of them, with
    the attributes ``lpOverlapped`` (an int) and
    ``dwNumberOfBytesTransferred``. What arrives after the block is dropped.

    Raises:
      RuntimeError: outside a run.
    """
    try:
        manager = GLOBAL_RUN_CONTEXT.runner.io_manager
    except AttributeError:
        raise RuntimeError("must be called from async context") from None
    assert isinstance(manager, WindowsIOManager)
    return manager.monitor_completion_key()
