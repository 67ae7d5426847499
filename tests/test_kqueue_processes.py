"""Child processes that are waited for through the run's kqueue."""

from __future__ import annotations

import os

import pytest
from _kqueue import (
    BUSY,
    counts,
    gone,
    leave,
    once,
    settled_counts,
    with_kqueue,
)
from _processes import run_code
from _sockets import POLLER, in_run

import trio_c as trio
import trio_c.testing
from trio_c.testing import wait_all_tasks_blocked

if POLLER == "kqueue":
    from select import (
        KQ_FILTER_PROC,
        KQ_NOTE_EXIT,
    )

    from trio_c.lowlevel import wait_kevent


@with_kqueue
@in_run
async def test_processes_are_waited_for_through_it(monkeypatch):
    def refuse(*args, **kwargs):
        raise AssertionError("a thread is to be used")

    monkeypatch.setattr(trio.to_thread, "run_sync", refuse)
    process = await trio.lowlevel.open_process(["sleep", "1000"])
    assert process._pidfd is None
    async with trio.open_nursery() as nursery:
        nursery.start_soon(process.wait)
        assert await settled_counts() == (2, 0)
        with pytest.raises(trio.BusyResourceError, match=BUSY):
            await wait_kevent(process.pid, KQ_FILTER_PROC, leave)
        process.kill()
    assert process.returncode == -9
    assert counts() == (1, 0)
    assert gone(process.pid, KQ_FILTER_PROC)


@with_kqueue
@in_run
async def test_waiting_for_a_process_again():
    process = await trio.lowlevel.open_process(["sleep", "1000"])
    for _ in range(3):
        with trio.move_on_after(0.01) as scope:
            await process.wait()
        assert scope.cancelled_caught
        assert gone(process.pid, KQ_FILTER_PROC)
    process.kill()
    assert await process.wait() == -9


@with_kqueue
@in_run
async def test_process_that_has_exited():
    process = await trio.lowlevel.open_process(["true"])
    os.waitid(os.P_PID, process.pid, os.WEXITED | os.WNOWAIT)
    assert await process.wait() == 0
    # Reaped by somebody else.
    process = await trio.lowlevel.open_process(["true"])
    os.waitpid(process.pid, 0)
    assert await process.wait() == 0


@with_kqueue
@in_run
async def test_process_that_is_reaped_meanwhile():
    process = await trio.lowlevel.open_process(["sleep", "1000"])
    async with trio.open_nursery() as nursery:
        nursery.start_soon(process.wait)
        await wait_all_tasks_blocked()
        process.kill()
        while process.returncode is None:
            pass
    assert process.returncode == -9


@with_kqueue
@in_run
async def test_the_event_of_a_process():
    process = await trio.lowlevel.open_process(["true"])
    with trio.CancelScope(shield=True):
        try:
            once(process.pid, KQ_FILTER_PROC, fflags=KQ_NOTE_EXIT)
        except ProcessLookupError:
            pass
        else:
            event = await wait_kevent(process.pid, KQ_FILTER_PROC, leave)
            assert event.fflags & KQ_NOTE_EXIT
    assert await process.wait() == 0


@with_kqueue
def test_processes_in_a_program_of_its_own():
    output = run_code(
        """if True:
        import threading
        import trio_c

        async def main():
            process = await trio_c.run_process(["sh", "-c", "echo hello; exit 3"],
                capture_stdout=True, check=False)
            print(process, threading.active_count())

        trio_c.run(main)
        """
    )
    assert output == (
        "CompletedProcess(args=['sh', '-c', 'echo hello; exit 3'], returncode=3,"
        " stdout=b'hello\\n') 1\n"
    )
