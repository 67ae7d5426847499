"""Scenarios of processes, signals, files, pipes and a kqueue's events."""

from __future__ import annotations

import os
import select
import signal
import subprocess

import trio
import trio.testing
from scenario import scenario
from trio import lowlevel

# Forked, and not in ways that the C library has to itself.
subprocess._USE_VFORK = False
subprocess._USE_POSIX_SPAWN = False


@scenario
async def processes() -> None:
    done = await trio.run_process(["cat"], stdin=b"hello", capture_stdout=True)
    # Input that cannot be written is taken to be unwanted.
    assert done.stdout in (b"hello", b"")
    async with trio.open_nursery() as nursery:
        process = await nursery.start(trio.run_process, ["sleep", "1000"])
        assert process.poll() is None
        nursery.cancel_scope.cancel()


# One that has not been received is raised again at the end.
signal.signal(signal.SIGUSR1, signal.SIG_IGN)


@scenario
async def signals() -> None:
    with trio.open_signal_receiver(signal.SIGUSR1) as receiver:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(one_signal, receiver)
            await lowlevel.checkpoint()
            signal.raise_signal(signal.SIGUSR1)


async def one_signal(receiver: object) -> None:
    async for number in receiver:
        assert number == signal.SIGUSR1
        break


@scenario
async def files() -> None:
    path = trio.Path(f"/tmp/injection-{os.getpid()}.txt")
    try:
        async with await trio.open_file(path, "w") as file:
            await file.write("line\n" * 3)
        async with await path.open() as file:
            assert [line async for line in file] == ["line\n"] * 3
        assert await path.exists()
        assert await path.read_text() == "line\n" * 3
    finally:
        try:
            os.unlink(path)
        except FileNotFoundError:
            pass


@scenario
async def pipes() -> None:
    ends = os.pipe()
    opened: list[lowlevel.FdStream] = []
    try:
        for end in ends:
            opened.append(lowlevel.FdStream(end))
        async with trio.open_nursery() as nursery:
            nursery.start_soon(opened[1].send_all, b"x" * 100_000)
            size = 0
            while size < 100_000:
                size += len(await opened[0].receive_some())
    finally:
        for stream in opened:
            stream.close()
        for end in ends[len(opened) :]:
            os.close(end)


if hasattr(lowlevel, "monitor_kevent"):
    TRIGGER = select.KQ_NOTE_TRIGGER
    USER = select.KQ_FILTER_USER

    def control(ident: int, flags: int, fflags: int = 0) -> None:
        event = select.kevent(ident, USER, flags, fflags)
        lowlevel.current_kqueue().control([event], 0)

    def leave(_: object) -> lowlevel.Abort:
        try:
            control(7, select.KQ_EV_DELETE)
        except OSError:
            pass
        return lowlevel.Abort.SUCCEEDED

    @scenario
    async def kevents() -> None:
        control(7, select.KQ_EV_ADD | select.KQ_EV_ONESHOT)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(lowlevel.wait_kevent, 7, USER, leave)
            await trio.testing.wait_all_tasks_blocked()
            with lowlevel.monitor_kevent(8, USER) as events:
                control(8, select.KQ_EV_ADD | select.KQ_EV_ONESHOT)
                control(8, 0, TRIGGER)
                control(7, 0, TRIGGER)
                lowlevel.current_statistics()
                await events.get_batch()
        control(7, select.KQ_EV_ADD | select.KQ_EV_ONESHOT)
        with trio.move_on_after(0.0001):
            await lowlevel.wait_kevent(7, USER, leave)
