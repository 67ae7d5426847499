"""anyio on the trio backend: threads, portals, processes, files, streams, scopes."""

from __future__ import annotations

import contextvars
import math
import os
import signal
import sys
import tempfile
import threading

import which_trio

which_trio.check()

import anyio  # noqa: E402
import anyio.from_thread  # noqa: E402
import anyio.lowlevel  # noqa: E402
import anyio.streams.text  # noqa: E402
import anyio.to_thread  # noqa: E402
import pytest  # noqa: E402
import sniffio  # noqa: E402
import trio  # noqa: E402

variable: contextvars.ContextVar[str] = contextvars.ContextVar("variable")


async def threads() -> None:
    main_thread = threading.get_ident()
    variable.set("from the task")

    def in_thread(number: int) -> tuple[int, str]:
        assert threading.get_ident() != main_thread
        anyio.from_thread.run(anyio.sleep, 0)
        assert anyio.from_thread.run_sync(threading.get_ident) == main_thread
        anyio.from_thread.check_cancelled()
        return number * 2, variable.get()

    limiter = anyio.CapacityLimiter(3)
    results = {}

    async def call(number: int) -> None:
        done = await anyio.to_thread.run_sync(in_thread, number, limiter=limiter)
        results[number] = done

    async with anyio.create_task_group() as group:
        for number in range(30):
            group.start_soon(call, number)
    assert results == {n: (2 * n, "from the task") for n in range(30)}
    assert limiter.borrowed_tokens == 0

    with pytest.raises(ZeroDivisionError):
        await anyio.to_thread.run_sync(lambda: 1 / 0)

    # Abandoned when it is cancelled; the thread itself goes on to its end.
    release, ended = threading.Event(), threading.Event()

    def slow() -> None:
        release.wait(30)
        ended.set()

    with anyio.move_on_after(0.02) as scope:
        await anyio.to_thread.run_sync(slow, abandon_on_cancel=True)
    assert scope.cancelled_caught and not ended.is_set()
    release.set()
    assert await anyio.to_thread.run_sync(ended.wait, 30)

    # It learns of being cancelled when it asks.
    async with anyio.create_task_group() as group:
        asking = threading.Event()

        def ask() -> None:
            asking.set()
            while True:
                anyio.from_thread.check_cancelled()

        group.start_soon(anyio.to_thread.run_sync, ask)
        await anyio.to_thread.run_sync(asking.wait)
        group.cancel_scope.cancel()


def portals() -> None:
    """The other way round: a thread without a loop has one to call into."""

    async def service(*, task_status: anyio.abc.TaskStatus[str]) -> str:
        task_status.started("ready")
        await anyio.sleep(0.01)
        return sniffio.current_async_library()

    async def refuse() -> None:
        raise LookupError("refused")

    def cancel_after_start() -> None:
        with anyio.from_thread.start_blocking_portal("trio") as inner:
            future = inner.start_task_soon(anyio.sleep_forever)
            future.cancel()

    with anyio.from_thread.start_blocking_portal("trio") as portal:
        assert portal.call(math.isqrt, 49) == 7
        future, value = portal.start_task(service)
        assert value == "ready"
        assert future.result(30) == "trio"
        with pytest.raises(LookupError, match="refused"):
            portal.call(refuse)
        futures = [portal.start_task_soon(anyio.sleep, 0) for _ in range(50)]
        assert [future.result(30) for future in futures] == [None] * 50
        with portal.wrap_async_context_manager(Opened()) as word:
            assert word == "opened"
    assert closed == ["closed"]
    cancel_after_start()


closed: list[str] = []


class Opened:
    async def __aenter__(self) -> str:
        await anyio.lowlevel.checkpoint()
        return "opened"

    async def __aexit__(self, *details: object) -> None:
        await anyio.lowlevel.checkpoint()
        closed.append("closed")


async def processes() -> None:
    shout = "import sys; sys.stdout.write(sys.stdin.read().upper()); sys.exit(3)"
    done = await anyio.run_process(
        [sys.executable, "-c", shout], input=b"quiet" * 50_000, check=False
    )
    assert (done.returncode, done.stdout) == (3, b"QUIET" * 50_000)

    async with await anyio.open_process(
        [sys.executable, "-u", "-c", "while True: print(input()[::-1])"]
    ) as process:
        lines = anyio.streams.text.TextReceiveStream(process.stdout)
        for word in ("abc", "trio"):
            await process.stdin.send(word.encode() + b"\n")
            got = ""
            while not got.endswith("\n"):
                got += await lines.receive()
            assert got == word[::-1] + "\n"
        process.terminate()
        assert await process.wait() == -signal.SIGTERM
        assert process.returncode == -signal.SIGTERM

    # Cancelled while it waits: the process does not outlive it.
    with anyio.move_on_after(0.2) as scope:
        async with await anyio.open_process([sys.executable, "-c", "input()"]) as left:
            await left.wait()
    assert scope.cancelled_caught
    assert left.returncode == -signal.SIGKILL

    with pytest.raises(FileNotFoundError):
        await anyio.run_process(["/nowhere/at/all"])


async def signals() -> None:
    seen = []
    with anyio.open_signal_receiver(signal.SIGUSR1, signal.SIGUSR2) as received:
        os.kill(os.getpid(), signal.SIGUSR1)
        async for number in received:
            seen.append(number)
            if number == signal.SIGUSR2:
                break
            os.kill(os.getpid(), signal.SIGUSR2)
    assert seen == [signal.SIGUSR1, signal.SIGUSR2]


async def files() -> None:
    with tempfile.TemporaryDirectory() as directory:
        path = anyio.Path(directory, "some", "where")
        await path.parent.mkdir()
        async with await anyio.open_file(path, "w") as file:
            await file.write("one\ntwo\n")
            await file.writelines(["three\n", "four"])
        assert await path.read_text() == "one\ntwo\nthree\nfour"
        async with await path.open() as file:
            assert [line.strip() async for line in file] == [
                "one",
                "two",
                "three",
                "four",
            ]
        assert (await path.stat()).st_size == 18
        assert [found.name async for found in path.parent.iterdir()] == ["where"]
        async with anyio.NamedTemporaryFile("w+b", dir=directory) as file:
            await file.write(b"for now")
            await file.seek(0)
            assert await file.read() == b"for now"
        await path.unlink()
        assert not await path.exists()


async def memory_streams() -> None:
    send, receive = anyio.create_memory_object_stream[int](2)
    got: list[int] = []

    async def produce(stream: anyio.abc.ObjectSendStream[int], first: int) -> None:
        async with stream:
            for number in range(first, first + 100):
                await stream.send(number)

    async def consume(stream: anyio.abc.ObjectReceiveStream[int]) -> None:
        async with stream:
            async for number in stream:
                got.append(number)

    async with anyio.create_task_group() as group:
        with send, receive:
            for first in (0, 100, 200):
                group.start_soon(produce, send.clone(), first)
            for _ in range(2):
                group.start_soon(consume, receive.clone())
    assert sorted(got) == list(range(300))

    send, receive = anyio.create_memory_object_stream[int](1)
    with send, receive, pytest.raises(anyio.WouldBlock):
        receive.receive_nowait()


async def scopes() -> None:
    with pytest.raises(TimeoutError):
        with anyio.fail_after(0.01):
            await anyio.sleep_forever()

    with anyio.CancelScope() as outer:
        outer.cancel()
        with anyio.CancelScope(shield=True) as inner:
            await anyio.sleep(0)
            assert outer.cancel_called and not inner.cancel_called
        with pytest.raises(trio.Cancelled):
            await anyio.lowlevel.checkpoint()
        await anyio.sleep_forever()
    assert outer.cancelled_caught

    # One fails: the others are cancelled, and all that failed is in the group.
    events = []

    async def wait_for_it() -> None:
        try:
            await anyio.sleep_forever()
        finally:
            events.append("cancelled")

    async def fail() -> None:
        await anyio.lowlevel.checkpoint()
        raise KeyError("child")

    with pytest.raises(ExceptionGroup) as caught:
        async with anyio.create_task_group() as group:
            group.start_soon(wait_for_it)
            group.start_soon(wait_for_it)
            group.start_soon(fail)
    assert [repr(error) for error in caught.value.exceptions] == ["KeyError('child')"]
    assert events == ["cancelled"] * 2

    # Cancelled as a whole, without anything to report.
    async with anyio.create_task_group() as group:
        assert await group.start(start_up) == "port"
        group.cancel_scope.cancel()
    assert anyio.current_effective_deadline() < math.inf


async def start_up(*, task_status: anyio.abc.TaskStatus[str]) -> None:
    task_status.started("port")
    await anyio.sleep_forever()


async def synchronization() -> None:
    lock, semaphore = anyio.Lock(fast_acquire=True), anyio.Semaphore(2)
    condition, event = anyio.Condition(), anyio.Event()
    inside = most = turns = 0

    async def one() -> None:
        nonlocal inside, most, turns
        await event.wait()
        async with semaphore:
            inside += 1
            most = max(most, inside)
            await anyio.sleep(0)
            inside -= 1
        for _ in range(3):
            async with lock:
                await anyio.sleep(0)
                turns += 1
        async with condition:
            condition.notify_all()

    with pytest.raises(RuntimeError):
        async with lock:
            await lock.acquire()

    async with anyio.create_task_group() as group:
        for _ in range(10):
            group.start_soon(one)
        await anyio.wait_all_tasks_blocked()
        assert event.statistics().tasks_waiting == 10
        event.set()
        async with condition:
            while turns < 30:
                await condition.wait()
    assert (most, turns) == (2, 30)


async def main() -> None:
    parts = (threads, processes, signals, files, memory_streams, scopes)
    with anyio.fail_after(60):
        for part in (*parts, synchronization):
            await part()
        tasks = anyio.get_running_tasks()
        assert anyio.get_current_task() in tasks


anyio.run(main, backend="trio")
portals()
