"""Child processes of Windows: pipes to them, and waiting for them."""

from __future__ import annotations

import _winapi
import msvcrt
import os
import sys
from itertools import count

from .. import _wait_for_object, _windows_pipes

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import TypeAlias, TypeVar

    from .._subprocess import Process

# Elsewhere, type checkers know none of this.
assert not TYPE_CHECKING or sys.platform == "win32"

if TYPE_CHECKING:
    PipeReceiveStream: TypeAlias = _windows_pipes.PipeReceiveStream
    PipeSendStream: TypeAlias = _windows_pipes.PipeSendStream
    StreamT = TypeVar("StreamT", PipeSendStream, PipeReceiveStream)

# What a pipe holds before a write has to wait, in bytes.
_PIPE_SIZE = 65536
# Of CreateNamedPipe, and not in `_winapi`.
_PIPE_REJECT_REMOTE_CLIENTS = 8

_pipe_numbers = count()


async def wait_child_exiting(process: Process) -> None:
    """Wait until `process` has exited."""
    await _wait_for_object.WaitForSingleObject(int(process._proc._handle))  # type: ignore[attr-defined]


def _open_pipe(*, read_overlapped: bool, write_overlapped: bool) -> tuple[int, int]:
    """The handles of a new pipe's two ends, the one to be read from first.

    Anonymous pipes have no overlapped I/O, so it gets a name that nobody knows.
    """
    name = rf"\\.\pipe\trio-c-{os.getpid()}-{next(_pipe_numbers)}-{os.urandom(8).hex()}"
    read_flags = _winapi.PIPE_ACCESS_INBOUND | _winapi.FILE_FLAG_FIRST_PIPE_INSTANCE
    if read_overlapped:
        read_flags |= _winapi.FILE_FLAG_OVERLAPPED
    read_end = _winapi.CreateNamedPipe(
        name,
        read_flags,
        _winapi.PIPE_WAIT | _PIPE_REJECT_REMOTE_CLIENTS,
        1,
        _PIPE_SIZE,
        _PIPE_SIZE,
        _winapi.NMPWAIT_WAIT_FOREVER,
        _winapi.NULL,
    )
    try:
        write_end = _winapi.CreateFile(
            name,
            _winapi.GENERIC_WRITE,
            0,
            _winapi.NULL,
            _winapi.OPEN_EXISTING,
            _winapi.FILE_FLAG_OVERLAPPED if write_overlapped else 0,
            _winapi.NULL,
        )
    except BaseException:
        _winapi.CloseHandle(read_end)
        raise
    return read_end, write_end


def create_pipe_to_child_stdin() -> tuple[PipeSendStream, int]:
    """A pipe to be written to by us. Both ends belong to the caller."""
    theirs, ours = _open_pipe(read_overlapped=False, write_overlapped=True)
    return _as_stream(_windows_pipes.PipeSendStream, ours, theirs, os.O_RDONLY)


def create_pipe_from_child_output() -> tuple[PipeReceiveStream, int]:
    """A pipe to be read from by us. Both ends belong to the caller."""
    ours, theirs = _open_pipe(read_overlapped=True, write_overlapped=False)
    return _as_stream(_windows_pipes.PipeReceiveStream, ours, theirs, 0)


def _as_stream(
    stream_class: Callable[[int], StreamT], ours: int, theirs: int, flags: int
) -> tuple[StreamT, int]:
    try:
        stream = stream_class(ours)
    except BaseException:
        _winapi.CloseHandle(ours)
        _winapi.CloseHandle(theirs)
        raise
    try:
        return stream, msvcrt.open_osfhandle(theirs, flags)
    except BaseException:
        stream.close()
        _winapi.CloseHandle(theirs)
        raise
