"""The primitives, on the floor (benchmarks/native/floor/), where it has them."""

from __future__ import annotations

import socket
from functools import partial
from itertools import repeat

from _common import Cases
from _with_trio import at_depth, delays, nothing

cases = Cases()

# --- the scheduler


async def checkpoints(floor, n):
    checkpoint = floor.checkpoint
    for _ in repeat(None, n):
        await checkpoint()


@cases("checkpoint-1-1")
async def checkpoint_1_1(floor, n):
    await checkpoints(floor, n)


@cases("checkpoint-1-10")
async def checkpoint_1_10(floor, n):
    await at_depth(10, partial(checkpoints, floor, n))


async def a_thousand_tasks(floor, n, depth):
    work = partial(checkpoints, floor, n // 1000)
    async with floor.Nursery() as nursery:
        for _ in repeat(None, 1000):
            nursery.start_soon(at_depth, depth, work)


@cases("checkpoint-1000-1", batch=200_000)
async def checkpoint_1000_1(floor, n):
    await a_thousand_tasks(floor, n, 1)


@cases("checkpoint-1000-10", batch=200_000)
async def checkpoint_1000_10(floor, n):
    await a_thousand_tasks(floor, n, 10)


@cases("checkpoint-if-cancelled", note="nothing can be cancelled")
async def checkpoint_if_cancelled(floor, n):
    no_checkpoint = floor.no_checkpoint
    for _ in repeat(None, n):
        await no_checkpoint()


# --- tasks


@cases("spawn-1000", batch=1000)
async def spawn_1000(floor, n):
    for _ in repeat(None, n // 1000):
        async with floor.Nursery() as nursery:
            for _ in repeat(None, 1000):
                nursery.start_soon(nothing)


@cases("nursery-0")
async def nursery_0(floor, n):
    for _ in repeat(None, n):
        async with floor.Nursery():
            pass


@cases("nursery-1")
async def nursery_1(floor, n):
    for _ in repeat(None, n):
        async with floor.Nursery() as nursery:
            nursery.start_soon(nothing)


@cases("nursery-start", note="by hand: a task and an event that it sets")
async def nursery_start(floor, n):
    async def service(started):
        started.set()

    async with floor.Nursery() as nursery:
        for _ in repeat(None, n):
            started = floor.Event()
            nursery.start_soon(service, started)
            await started.wait()


# --- scopes and timeouts: entered and left, without the power to cancel

NO_CANCEL = "cannot cancel anything"


@cases("scope", note=NO_CANCEL)
async def scope(floor, n):
    for _ in repeat(None, n):
        with floor.Scope():
            pass


@cases("move-on-after", note=NO_CANCEL)
async def move_on_after(floor, n):
    for _ in repeat(None, n):
        with floor.Scope(10):
            pass


@cases("fail-after-checkpoint", note=NO_CANCEL)
async def fail_after_checkpoint(floor, n):
    checkpoint = floor.checkpoint
    for _ in repeat(None, n):
        with floor.Scope(10):
            await checkpoint()


@cases("five-scopes", note=NO_CANCEL)
async def five_scopes(floor, n):
    scope = floor.Scope
    for _ in repeat(None, n):
        with scope(10):
            with scope(11):
                with scope(12):
                    with scope(13):
                        with scope(14):
                            pass


@cases("fail-after-event", batch=2, note=NO_CANCEL)
async def fail_after_event(floor, n):
    mine, other = floor.Event(), floor.Event()

    async def answer():
        nonlocal mine
        for _ in repeat(None, n // 2):
            with floor.Scope(10):
                await mine.wait()
            mine = floor.Event()
            other.set()

    async with floor.Nursery() as nursery:
        nursery.start_soon(answer)
        for _ in repeat(None, n // 2):
            mine.set()
            with floor.Scope(10):
                await other.wait()
            other = floor.Event()


@cases("cancel-1000", batch=1000, note="wakes them: it cannot cancel")
async def cancel_1000(floor, n):
    async def sleep_forever(event):
        await event.wait()

    for _ in repeat(None, n // 1000):
        async with floor.Nursery() as nursery:
            event = floor.Event()
            for _ in repeat(None, 1000):
                nursery.start_soon(sleep_forever, event)
            await floor.checkpoint()
            event.set()


@cases("timers-1000", batch=1000)
async def timers_1000(floor, n, count=1000):
    async def sleep(delay):
        await floor.sleep(delay)

    for _ in repeat(None, n // count):
        async with floor.Nursery() as nursery:
            for delay in delays(count):
                nursery.start_soon(sleep, delay)


@cases("timers-10000", batch=10_000)
async def timers_10000(floor, n):
    await timers_1000(floor, n, 10_000)


# --- channels and locks


async def channel(floor, n, buffer, pairs):
    channel = floor.Channel(buffer)

    async def send():
        for i in range(n // pairs):
            await channel.send(i)

    async def receive():
        for _ in repeat(None, n // pairs):
            await channel.receive()

    async with floor.Nursery() as nursery:
        for _ in repeat(None, pairs):
            nursery.start_soon(send)
            nursery.start_soon(receive)


@cases("channel-0")
async def channel_0(floor, n):
    await channel(floor, n, 0, 1)


@cases("channel-100")
async def channel_100(floor, n):
    await channel(floor, n, 100, 1)


@cases("channel-10x10", batch=10)
async def channel_10x10(floor, n):
    await channel(floor, n, 0, 10)


@cases("event", batch=2)
async def event(floor, n):
    mine, other = floor.Event(), floor.Event()

    async def answer():
        nonlocal mine
        for _ in repeat(None, n // 2):
            await mine.wait()
            mine = floor.Event()
            other.set()

    async with floor.Nursery() as nursery:
        nursery.start_soon(answer)
        for _ in repeat(None, n // 2):
            mine.set()
            await other.wait()
            other = floor.Event()


@cases("lock")
async def lock(floor, n):
    lock = floor.Lock()
    for _ in repeat(None, n):
        async with lock:
            pass


@cases("lock-100", batch=1000)
async def lock_100(floor, n):
    lock = floor.Lock()
    checkpoint = floor.checkpoint

    async def contend():
        for _ in repeat(None, n // 100):
            async with lock:
                await checkpoint()

    async with floor.Nursery() as nursery:
        for _ in repeat(None, 100):
            nursery.start_soon(contend)


# --- a socket


@cases("socketpair", batch=2)
async def socketpair(floor, n):
    ends = socket.socketpair()
    here, there = (floor.wrap(end.fileno()) for end in ends)

    async def answer():
        for _ in repeat(None, n // 2):
            await there.recv(64)
            await there.send(b"x")

    async with floor.Nursery() as nursery:
        nursery.start_soon(answer)
        for _ in repeat(None, n // 2):
            await here.send(b"x")
            await here.recv(64)
    for connection in (here, there, *ends):
        connection.close()
