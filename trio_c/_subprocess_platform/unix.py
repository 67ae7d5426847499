"""Pipes to child processes of UNIX."""

from __future__ import annotations

import os

from .._unix_pipes import FdStream


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
