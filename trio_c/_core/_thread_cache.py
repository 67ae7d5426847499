"""The threads that are kept for the next job; Python's part of it.

Threads are started by `threading`, so that jobs see an ordinary
``threading.current_thread()``. What they run is native.
"""

from __future__ import annotations

import os
import sys
from _thread import allocate_lock as Lock
from itertools import count

from .._native import (
    ThreadCache as ThreadCache,
    set_os_thread_name as set_os_thread_name,
    start_thread_soon as start_thread_soon,
)

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

# Seconds that a thread waits for its next job. Read again for every wait.
IDLE_TIMEOUT = 10

name_counter = count()


def get_os_thread_name_func() -> Callable[[int | None, str], None] | None:
    """What sets the name that the system shows for a thread, if it shows any."""
    return set_os_thread_name if sys.platform != "win32" else None


def start_worker(run: Callable[[], object], is_main: bool) -> None:
    """Have a new thread call `run`. It does not keep the process alive.

    Any other interpreter than the main one, `is_main`, must not end before
    all of its threads have: there they are told to when it is about to wait
    for them.
    """
    from threading import Thread

    if not is_main:
        _close_at_exit()
    options: dict[str, Any] = {}
    if sys.version_info >= (3, 14):
        # Else it would keep the contextvars of whoever came first.
        from contextvars import Context

        options["context"] = Context()
    name = f"Trio thread {next(name_counter)}"
    Thread(target=run, name=name, daemon=is_main, **options).start()


_closes_at_exit = False


def _close_at_exit() -> None:
    global _closes_at_exit
    if not _closes_at_exit:
        # The only hook before threads are waited for; concurrent.futures has
        # no other either.
        from threading import _register_atexit  # type: ignore[attr-defined]

        _register_atexit(lambda: THREAD_CACHE._close())
        _closes_at_exit = True


def report_failed_delivery(exc: BaseException) -> None:
    """Say that a `deliver` function has raised: its thread goes on."""
    import traceback

    print("Exception while delivering result of thread", file=sys.stderr)
    traceback.print_exception(exc)


THREAD_CACHE = ThreadCache()


def clear_worker_threads() -> None:
    """Forget all threads. In a forked child, where they do not exist."""
    THREAD_CACHE._forget_workers()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=clear_worker_threads)
