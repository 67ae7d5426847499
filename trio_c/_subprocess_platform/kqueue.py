"""Waiting for a child through the run's kqueue."""

from __future__ import annotations

import select
import sys

import trio_c as trio

from . import waitid

TYPE_CHECKING = False
if TYPE_CHECKING:
    from .._core import RaiseCancelT
    from .._subprocess import Process

# Elsewhere, type checkers know no select.kqueue.
assert not TYPE_CHECKING or (sys.platform != "win32" and sys.platform != "linux")

# Not everywhere in `select`; the number is the same on all systems.
_NOTE_EXIT = getattr(select, "KQ_NOTE_EXIT", 0x80000000)


def _exit_of(process: Process, flags: int) -> select.kevent:
    return select.kevent(process.pid, select.KQ_FILTER_PROC, flags, _NOTE_EXIT)


async def wait_child_exiting(process: Process) -> None:
    """Wait until `process` has exited and can be reaped.

    One task at a time.
    """
    try:
        kqueue = trio.lowlevel.current_kqueue()
    except RuntimeError:
        # The run was told to use poll(2).
        await waitid.wait_child_exiting(process)
        return
    try:
        kqueue.control([_exit_of(process, select.KQ_EV_ADD | select.KQ_EV_ONESHOT)], 0)
    except ProcessLookupError:
        return  # it is on its way out: waiting for it will not take long

    def give_up(_: RaiseCancelT) -> trio.lowlevel.Abort:
        try:
            kqueue.control([_exit_of(process, select.KQ_EV_DELETE)], 0)
        except (FileNotFoundError, ProcessLookupError):
            pass  # the event is used up: it happens at this moment
        return trio.lowlevel.Abort.SUCCEEDED

    await trio.lowlevel.wait_kevent(process.pid, select.KQ_FILTER_PROC, give_up)
