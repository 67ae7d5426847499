"""Waiting for a child in a thread: for systems that have nothing better."""

from __future__ import annotations

import os

import trio_c as trio

TYPE_CHECKING = False
if TYPE_CHECKING:
    from .._subprocess import Process


def sync_wait_reapable(pid: int) -> None:
    """Block until child `pid` has exited, and leave it to be reaped.

    Raises:
      OSError: there is no such child, or somebody else has reaped it.
    """
    os.waitid(os.P_PID, pid, os.WEXITED | os.WNOWAIT)


async def _waitid_system_task(process: Process, exited: trio.Event) -> None:
    try:
        await trio.to_thread.run_sync(
            sync_wait_reapable,
            process.pid,
            abandon_on_cancel=True,
            # A thread for each child, however many there are. No limiter is
            # shared: what is abandoned by a run that ends stays in it.
            limiter=trio.CapacityLimiter(float("inf")),
        )
    except OSError:
        pass  # it is gone already
    finally:
        # If the run ends first, another may wait for the same process.
        process._wait_for_exit_data = None
        exited.set()


async def wait_child_exiting(process: Process) -> None:
    """Wait until `process` has exited and can be reaped.

    However often somebody waits and gives up, one thread waits meanwhile: a
    system task is in charge of it.
    """
    exited = process._wait_for_exit_data
    if exited is None:
        exited = process._wait_for_exit_data = trio.Event()
        trio.lowlevel.spawn_system_task(_waitid_system_task, process, exited)
    await exited.wait()
    # The end of a run takes the thread away. Who shields himself from that,
    # and still waits, has to look by himself.
    while process.poll() is None:
        await trio.sleep(0.02)
