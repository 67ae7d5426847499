"""What depends on the operating system about child processes.

* :func:`wait_child_exiting`: wait until a child can be reaped, where there is
  no pidfd for it;
* :func:`create_pipe_to_child_stdin`, :func:`create_pipe_from_child_output`:
  a pipe as (our end, a stream; the child's end, a descriptor).

Each system's way of waiting is a module of its own here.
"""

from __future__ import annotations

import os

from .._native import BACKEND
from .._unix_pipes import FdStream

if BACKEND == "kqueue":
    from .kqueue import wait_child_exiting as wait_child_exiting
else:
    from .waitid import wait_child_exiting as wait_child_exiting


def create_pipe_to_child_stdin() -> tuple[FdStream, int]:
    """A pipe to be written to by us. Both ends belong to the caller."""
    theirs, ours = os.pipe()
    return _as_stream(ours, theirs), theirs


def create_pipe_from_child_output() -> tuple[FdStream, int]:
    """A pipe to be read from by us. Both ends belong to the caller."""
    ours, theirs = os.pipe()
    return _as_stream(ours, theirs), theirs


def _as_stream(ours: int, theirs: int) -> FdStream:
    try:
        return FdStream(ours)
    except BaseException:
        os.close(ours)
        os.close(theirs)
        raise
