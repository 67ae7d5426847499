"""A program that does what it should, if nobody has broken anything before."""

from __future__ import annotations

from types import ModuleType
from typing import Any

EXPECTED = [
    "0 1 2",
    "lock 3",
    "timed out",
    "too slow",
    "echo",
    "thread 42",
    "group ValueError KeyError",
    "started 7",
    "cancelled",
    "event",
    "limiter",
    "deadline inf",
]


async def _everything(trio: ModuleType) -> list[str]:
    said: list[str] = []
    send, receive = trio.open_memory_channel(0)

    async def producer() -> None:
        async with send:
            for n in range(3):
                await send.send(n)

    async with trio.open_nursery() as nursery:
        nursery.start_soon(producer)
        said.append(" ".join([str(n) async for n in receive]))

    lock, count = trio.Lock(), [0]

    async def with_lock() -> None:
        async with lock:
            value = count[0]
            await trio.lowlevel.checkpoint()
            count[0] = value + 1

    async with trio.open_nursery() as nursery:
        for _ in range(3):
            nursery.start_soon(with_lock)
    said.append(f"lock {count[0]}")

    with trio.move_on_after(0.001) as scope:
        await trio.sleep_forever()
    said.append("timed out" if scope.cancelled_caught else "went on")
    try:
        with trio.fail_after(0.001):
            await trio.sleep(60)
    except trio.TooSlowError:
        said.append("too slow")

    left, right = trio.socket.socketpair()
    with left, right:
        async with trio.open_nursery() as nursery:

            async def answer() -> None:
                await right.send(await right.recv(99))

            nursery.start_soon(answer)
            await trio.SocketStream(left).send_all(b"echo")
            said.append((await left.recv(99)).decode())

    def in_thread() -> int:
        return trio.from_thread.run_sync(lambda: 42)

    said.append(f"thread {await trio.to_thread.run_sync(in_thread)}")

    async def fails(error: Any) -> None:
        raise error

    try:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(fails, ValueError())
            nursery.start_soon(fails, KeyError())
    except ExceptionGroup as group:
        names = sorted((type(e).__name__ for e in group.exceptions), reverse=True)
        said.append(f"group {' '.join(names)}")

    async def starter(task_status: Any) -> None:
        task_status.started(7)
        try:
            await trio.sleep_forever()
        except trio.Cancelled:
            said.append("cancelled")
            raise

    async with trio.open_nursery() as nursery:
        said.append(f"started {await nursery.start(starter)}")
        nursery.cancel_scope.cancel()

    event = trio.Event()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(event.wait)
        await trio.lowlevel.checkpoint()
        event.set()
    said.append("event")
    limiter = trio.CapacityLimiter(1)
    async with limiter:
        pass
    said.append("limiter" if limiter.borrowed_tokens == 0 else "borrowed")
    said.append(f"deadline {trio.current_effective_deadline()}")
    return said


def wrong(trio: ModuleType) -> str | None:
    """What differs from what it should do."""
    try:
        said = trio.run(_everything, trio)
    except BaseException as exc:
        return f"a healthy program failed: {exc!r}"
    if said != EXPECTED:
        return f"a healthy program said {said}"
    return None
