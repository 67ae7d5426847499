"""Signatures of what a completion port has beside readiness of sockets.

Never called: native callables take their names, annotations and docstrings
from the functions of the same name here.
"""

from __future__ import annotations

__all__ = [
    "current_iocp",
    "readinto_overlapped",
    "register_with_iocp",
    "wait_overlapped",
    "write_overlapped",
]

from .._native import BACKEND

TYPE_CHECKING = False
if TYPE_CHECKING:
    from ._names import Buffer, CData, _HasFileNo

if BACKEND == "iocp":
    # In place of those in net.py: arguments have other names.
    __all__ += ["notify_closing", "wait_readable", "wait_writable"]


async def wait_readable(sock: int | _HasFileNo) -> None:
    """Wait until there is something to be read from `sock`.

    `sock` is the handle of a socket or an object with a ``fileno()`` method;
    nothing but sockets can be waited for. End of file and errors count. It may
    be said once too often. A checkpoint, where it waits.

    Raises:
      trio_c.BusyResourceError: another task is waiting to read from it.
      trio_c.ClosedResourceError: another task called :func:`notify_closing`
          during the wait.
      OSError: it is no socket.
    """


async def wait_writable(sock: int | _HasFileNo) -> None:
    """Wait until `sock` can be written to.

    Otherwise like :func:`wait_readable`.

    Raises:
      trio_c.BusyResourceError: another task is waiting to write to it.
      trio_c.ClosedResourceError: another task called :func:`notify_closing`
          during the wait.
      OSError: it is no socket.
    """


def notify_closing(handle: int | _HasFileNo) -> None:
    """Say that the socket `handle` is about to be closed.

    Tasks that wait for it in :func:`wait_readable` or :func:`wait_writable`
    get :exc:`trio_c.ClosedResourceError`. Nothing is closed here: do that
    afterwards, without a checkpoint in between, or nobody knows which socket a
    task waits for that comes late.
    """


def current_iocp() -> int:
    """The run's completion port, as a number.

    Use it to post packets (see :func:`monitor_completion_key`), not to take
    any out.

    Raises:
      RuntimeError: outside a run.
    """


def register_with_iocp(handle: int | CData) -> None:
    """Have overlapped operations on `handle` complete at the run's port.

    Once for each handle, and before the first operation; no other run can have
    it afterwards. `handle` is an int or a pointer of cffi.

    Raises:
      OSError: there is no such handle, or it was not opened for overlapped
          I/O, or it has been registered already.
      RuntimeError: outside a run.
    """


async def wait_overlapped(handle_: int | CData, lpOverlapped: CData | int) -> object:
    """Wait until an overlapped operation that has been begun completes.

    `handle_` must have been registered by :func:`register_with_iocp`. The
    OVERLAPPED belongs to the caller and must stay where it is until this
    returns. Cancelling it cancels the operation, and waits for the system to
    say what has become of it: if it has succeeded after all, so does this.
    A checkpoint.

    Returns:
      An object with the attributes ``lpOverlapped``, as it was given, and
      ``dwNumberOfBytesTransferred``.

    Raises:
      trio_c.BusyResourceError: another task is waiting for it.
      trio_c.ClosedResourceError: the handle was closed meanwhile.
      OSError: the operation has failed.
    """


async def readinto_overlapped(
    handle: int | CData, buffer: Buffer, file_offset: int = 0
) -> int:
    """Read from `handle` into `buffer`, at most as much as it holds.

    `handle` must have been registered by :func:`register_with_iocp`.
    `file_offset`, in bytes, is where to begin in a file; for others it does
    not matter. `buffer` cannot be resized until the system is done with it,
    whatever becomes of the task. Cancelling it is as for
    :func:`wait_overlapped`. A checkpoint.

    Returns:
      How many bytes have been read.

    Raises:
      BufferError, TypeError: `buffer` cannot be written to.
      trio_c.ClosedResourceError: the handle was closed meanwhile.
      OSError: reading has failed; at the end of a file, too.
    """


async def write_overlapped(
    handle: int | CData, data: Buffer, file_offset: int = 0
) -> int:
    """Write `data` to `handle`.

    Otherwise like :func:`readinto_overlapped`.

    Returns:
      How many bytes have been written.

    Raises:
      trio_c.ClosedResourceError: the handle was closed meanwhile.
      OSError: writing has failed.
    """
