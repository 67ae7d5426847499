"""Functions of Windows, for tests: through ctypes, as programs may have them."""

import _winapi
import ctypes
from contextlib import contextmanager
from ctypes import wintypes

from trio_c._subprocess_platform.windows import _open_pipe

PENDING = 997


class OVERLAPPED(ctypes.Structure):
    _fields_ = [
        ("Internal", ctypes.c_size_t),
        ("InternalHigh", ctypes.c_size_t),
        ("Offset", wintypes.DWORD),
        ("OffsetHigh", wintypes.DWORD),
        ("hEvent", wintypes.HANDLE),
    ]


_kernel32 = ctypes.WinDLL("kernel32", use_last_error=True)
_kernel32.PostQueuedCompletionStatus.argtypes = [
    wintypes.HANDLE,
    wintypes.DWORD,
    ctypes.c_size_t,
    ctypes.c_void_p,
]
_kernel32.ReadFile.argtypes = [
    wintypes.HANDLE,
    ctypes.c_void_p,
    wintypes.DWORD,
    ctypes.c_void_p,
    ctypes.POINTER(OVERLAPPED),
]
_kernel32.CreateEventW.restype = wintypes.HANDLE
_kernel32.SetEvent.argtypes = [wintypes.HANDLE]
_kernel32.ResetEvent.argtypes = [wintypes.HANDLE]


def post(port, n_bytes, key, pointer=0):
    """Put a packet into a completion port."""
    assert _kernel32.PostQueuedCompletionStatus(port, n_bytes, key, pointer)


def begin_read(handle, buffer, overlapped):
    """Begin to read; both must stay until that is over."""
    ok = _kernel32.ReadFile(
        handle,
        ctypes.addressof(buffer),
        len(buffer),
        None,
        ctypes.byref(overlapped),
    )
    assert ok or ctypes.get_last_error() == PENDING


@contextmanager
def event():
    handle = _kernel32.CreateEventW(None, True, False, None)
    try:
        yield handle
    finally:
        _winapi.CloseHandle(handle)


def set_event(handle):
    assert _kernel32.SetEvent(handle)


def write(handle, data):
    """Write to the end of a pipe that is not for overlapped I/O."""
    n, _ = _winapi.WriteFile(handle, data)
    assert n == len(data)


@contextmanager
def pipe(*, read_overlapped=True, write_overlapped=False):
    """The two handles; closed in the end, unless that was done."""
    ends = _open_pipe(
        read_overlapped=read_overlapped, write_overlapped=write_overlapped
    )
    try:
        yield ends
    finally:
        for handle in ends:
            try:
                _winapi.CloseHandle(handle)
            except OSError:
                pass


@contextmanager
def overlapped_file(path):
    """A handle of a file that can be read and written at any place."""
    handle = _winapi.CreateFile(
        str(path),
        _winapi.GENERIC_READ | _winapi.GENERIC_WRITE,
        0,
        _winapi.NULL,
        4,  # open it, or make it
        _winapi.FILE_FLAG_OVERLAPPED,
        _winapi.NULL,
    )
    try:
        yield handle
    finally:
        _winapi.CloseHandle(handle)
