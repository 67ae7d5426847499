"""Waiting for what Windows can wait for: events, processes, threads, timers."""

from __future__ import annotations

import _overlapped  # type: ignore[import-not-found]
import _winapi
import math
import sys

import trio_c as trio

from ._core._cffi_address import as_handle

TYPE_CHECKING = False
if TYPE_CHECKING:
    from ._core._windows_cffi import CData

# Elsewhere, type checkers know none of this.
assert not TYPE_CHECKING or sys.platform == "win32"


class _Event:
    """An event of Windows, which lives as long as somebody has this object."""

    def __init__(self) -> None:
        self.handle: int = _overlapped.CreateEvent(None, True, False, None)

    def set(self) -> None:
        _overlapped.SetEvent(self.handle)

    def __del__(self) -> None:
        if hasattr(self, "handle"):
            _winapi.CloseHandle(self.handle)


async def WaitForSingleObject(obj: int | CData) -> None:
    """Wait until an object of Windows is signalled: an event is set, a process
    has exited, and so on.

    Like the function of that name, without a timeout. `obj` is its handle, an
    int or a pointer of cffi. Cancelling it changes nothing for the object,
    unless it had been signalled at the same time. A thread waits meanwhile, so
    closing the handle is not noticed. A checkpoint, where it waits.

    Raises:
      TypeError: `obj` is no handle.
      OSError: there is no such handle, or it cannot be waited for.
    """
    handle = as_handle(obj)
    if _winapi.WaitForSingleObject(handle, 0) != _winapi.WAIT_TIMEOUT:
        return
    stop = _Event()
    try:
        await trio.to_thread.run_sync(
            _wait,
            handle,
            stop,
            abandon_on_cancel=True,
            # A thread for each object, however many there are. No limiter is
            # shared: a thread that is abandoned ends at once.
            limiter=trio.CapacityLimiter(math.inf),
        )
    finally:
        stop.set()


def _wait(handle: int, stop: _Event) -> None:
    # What is set and comes first ends the wait, and nothing is done to the
    # other, whose number may by now be something else's.
    WaitForMultipleObjects_sync(stop.handle, handle)


def WaitForMultipleObjects_sync(*handles: int | CData) -> None:
    """Block until one of the objects is signalled.

    Raises:
      TypeError, OSError: as for :func:`WaitForSingleObject`.
    """
    _winapi.WaitForMultipleObjects(
        [as_handle(handle) for handle in handles], False, _winapi.INFINITE
    )
