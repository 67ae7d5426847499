"""Descriptors for processes: ``pidfd_open(2)``, since Linux 5.3."""

from __future__ import annotations

import sys

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

    pidfd_open: Callable[[int, int], int] | None

try:
    from os import pidfd_open
except ImportError:
    if sys.platform == "linux":
        # The interpreter was built where the system's headers are older than
        # the kernel that it runs on, as portable builds are.
        import ctypes
        import os

        _syscall = ctypes.CDLL(None, use_errno=True).syscall
        _syscall.argtypes = [ctypes.c_long, ctypes.c_long, ctypes.c_long]
        _syscall.restype = ctypes.c_long
        _NUMBER = 434  # on every architecture that CPython supports

        def pidfd_open(pid: int, flags: int) -> int:
            """A descriptor for process `pid`, readable once it has exited.

            Raises:
              OSError: there is no such process, or the kernel is too old.
            """
            fd: int = _syscall(_NUMBER, pid, flags)
            if fd < 0:
                errno = ctypes.get_errno()
                raise OSError(errno, os.strerror(errno))
            return fd
    else:
        pidfd_open = None
