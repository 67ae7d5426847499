"""The native-path rule, operation by operation (the table is in _counts.py).

On a hot path the library runs no Python code, leaves nothing to the garbage
collector, keeps no memory, and makes no system call that is not the work
itself. What does not hold yet stands in one of the tables below, each entry
with its reason; an entry that is not needed any more is a failure, too.
"""

from __future__ import annotations

import collections
import contextlib
import ctypes
import gc
import os
import re
import shutil
import socket
import subprocess
import sys
from pathlib import Path

import pytest
from _counts import BEGIN, END, OPERATIONS, ROUNDS, SOURCE, Operation, perform

import trio_c

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from types import FrameType

COUNTS = Path(__file__).with_name("_counts.py")

each = pytest.mark.parametrize("name", OPERATIONS)

# --- known violations: these tables only shrink ----------------------------

# Operation: which classes' methods run as Python code, and why.
KNOWN_FRAMES = {
    **dict.fromkeys(
        ["accept", "SocketListener.accept"],
        # Its constructor when the connection is accepted; the rest is closing,
        # which is no hot path.
        ({"socket.socket"}, "what SocketType wraps is the standard library's socket"),
    ),
    "socket, sendmsg": (
        {"trio_c._socket._SocketType", "trio_c._socket._try_sync"},
        "sendmsg and recvmsg are the standard library's, made asynchronous",
    ),
    **dict.fromkeys(
        [
            "to_thread.run_sync",
            "to_thread.run_sync, abandon",
            "from_thread.run_sync",
            "from_thread.run",
        ],
        ({"threading.Thread"}, "threading.Thread.name says what a worker is doing"),
    ),
}

# --- Python frames ---------------------------------------------------------


def frames_of(operation: Operation) -> collections.Counter[str]:
    """How often Python code other than the operation's own was entered."""
    counter: collections.Counter[str] = collections.Counter()
    counting = False

    def hook(frame: FrameType, event: str, arg: object) -> None:
        if counting and event == "call" and frame.f_code.co_filename != SOURCE:
            where = frame.f_code.co_qualname.partition(".")[0]
            counter[f"{frame.f_globals['__name__']}.{where}"] += 1

    def begin() -> None:
        nonlocal counting
        counting = True

    def end() -> None:
        nonlocal counting
        counting = False
        for own in (begin, end):
            counter.pop(f"{__name__}.frames_of", None)

    before = sys.getprofile()
    sys.setprofile(hook)
    try:
        perform(operation, begin, end)
    finally:
        sys.setprofile(before)
    return counter
