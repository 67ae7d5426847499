"""The primitives, in asyncio's API: for asyncio, uvloop and rloop."""

from __future__ import annotations

import asyncio
import socket
from functools import partial
from itertools import repeat

from _common import Cases
from _with_trio import at_depth, delays, nothing

cases = Cases()

NO_YIELD = "does not yield to other tasks"

# --- the scheduler


async def checkpoints(n):
    sleep = asyncio.sleep
    for _ in repeat(None, n):
        await sleep(0)


@cases("checkpoint-1-1")
async def checkpoint_1_1(n):
    await checkpoints(n)


@cases("checkpoint-1-10")
async def checkpoint_1_10(n):
    await at_depth(10, partial(checkpoints, n))


async def a_thousand_tasks(n, depth):
    work = partial(checkpoints, n // 1000)
    async with asyncio.TaskGroup() as group:
        for _ in repeat(None, 1000):
            group.create_task(at_depth(depth, work))


@cases("checkpoint-1000-1", batch=200_000)
async def checkpoint_1000_1(n):
    await a_thousand_tasks(n, 1)


@cases("checkpoint-1000-10", batch=200_000)
async def checkpoint_1000_10(n):
    await a_thousand_tasks(n, 10)


# --- tasks


@cases("spawn-1000", batch=1000)
async def spawn_1000(n):
    for _ in repeat(None, n // 1000):
        async with asyncio.TaskGroup() as group:
            for _ in repeat(None, 1000):
                group.create_task(nothing())


@cases("nursery-0", note=NO_YIELD)
async def nursery_0(n):
    for _ in repeat(None, n):
        async with asyncio.TaskGroup():
            pass


@cases("nursery-1")
async def nursery_1(n):
    for _ in repeat(None, n):
        async with asyncio.TaskGroup() as group:
            group.create_task(nothing())


@cases("nursery-start", note="by hand: a task and a future that it sets")
async def nursery_start(n):
    async def service(started):
        started.set_result(None)

    loop = asyncio.get_running_loop()
    async with asyncio.TaskGroup() as group:
        for _ in repeat(None, n):
            started = loop.create_future()
            group.create_task(service(started))
            await started


# --- timeouts


@cases("move-on-after")
async def move_on_after(n):
    for _ in repeat(None, n):
        async with asyncio.timeout(10):
            pass


@cases("fail-after-checkpoint")
async def fail_after_checkpoint(n):
    for _ in repeat(None, n):
        async with asyncio.timeout(10):
            await asyncio.sleep(0)


@cases("five-scopes")
async def five_scopes(n):
    timeout = asyncio.timeout
    for _ in repeat(None, n):
        async with timeout(10):
            async with timeout(11):
                async with timeout(12):
                    async with timeout(13):
                        async with timeout(14):
                            pass


@cases("fail-after-event", batch=2)
async def fail_after_event(n):
    mine, other = asyncio.Event(), asyncio.Event()

    async def answer():
        nonlocal mine
        for _ in repeat(None, n // 2):
            async with asyncio.timeout(10):
                await mine.wait()
            mine = asyncio.Event()
            other.set()

    async with asyncio.TaskGroup() as group:
        group.create_task(answer())
        for _ in repeat(None, n // 2):
            mine.set()
            async with asyncio.timeout(10):
                await other.wait()
            other = asyncio.Event()


@cases("cancel-1000", batch=1000)
async def cancel_1000(n):
    loop = asyncio.get_running_loop()

    async def sleep_forever():
        await loop.create_future()

    for _ in repeat(None, n // 1000):
        async with asyncio.TaskGroup() as group:
            tasks = [group.create_task(sleep_forever()) for _ in range(1000)]
            await asyncio.sleep(0)
            for task in tasks:
                task.cancel()


@cases("timers-1000", batch=1000)
async def timers_1000(n, count=1000):
    for _ in repeat(None, n // count):
        async with asyncio.TaskGroup() as group:
            for delay in delays(count):
                group.create_task(asyncio.sleep(delay))


@cases("timers-10000", batch=10_000)
async def timers_10000(n):
    await timers_1000(n, 10_000)


# --- queues and locks


async def channel(n, buffer, pairs):
    queue = asyncio.Queue(buffer)

    async def send():
        for i in range(n // pairs):
            await queue.put(i)

    async def receive():
        for _ in repeat(None, n // pairs):
            await queue.get()

    async with asyncio.TaskGroup() as group:
        for _ in repeat(None, pairs):
            group.create_task(send())
            group.create_task(receive())


@cases("channel-0", note="a buffer of 1: there is no queue without")
async def channel_0(n):
    await channel(n, 1, 1)


@cases("channel-100", note="yields only when the buffer is full or empty")
async def channel_100(n):
    await channel(n, 100, 1)


@cases("channel-10x10", batch=10, note="a buffer of 1: there is no queue without")
async def channel_10x10(n):
    await channel(n, 1, 10)


@cases("event", batch=2)
async def event(n):
    mine, other = asyncio.Event(), asyncio.Event()

    async def answer():
        nonlocal mine
        for _ in repeat(None, n // 2):
            await mine.wait()
            mine = asyncio.Event()
            other.set()

    async with asyncio.TaskGroup() as group:
        group.create_task(answer())
        for _ in repeat(None, n // 2):
            mine.set()
            await other.wait()
            other = asyncio.Event()


async def acquire_and_release(lock, n):
    for _ in repeat(None, n):
        async with lock:
            pass


@cases("lock", note=NO_YIELD)
async def lock(n):
    await acquire_and_release(asyncio.Lock(), n)


@cases("lock-100", batch=1000)
async def lock_100(n):
    lock = asyncio.Lock()

    async def contend():
        for _ in repeat(None, n // 100):
            async with lock:
                await asyncio.sleep(0)

    async with asyncio.TaskGroup() as group:
        for _ in repeat(None, 100):
            group.create_task(contend())


@cases("semaphore", note=NO_YIELD)
async def semaphore(n):
    await acquire_and_release(asyncio.Semaphore(1), n)


@cases("capacity-limiter", note=f"a semaphore; {NO_YIELD}")
async def capacity_limiter(n):
    await acquire_and_release(asyncio.Semaphore(1), n)


@cases("condition", batch=2)
async def condition(n):
    condition = asyncio.Condition()
    turn = 0

    async def player(me):
        nonlocal turn
        async with condition:
            for _ in repeat(None, n // 2):
                while turn != me:
                    await condition.wait()
                turn = 1 - me
                condition.notify()

    async with asyncio.TaskGroup() as group:
        group.create_task(player(0))
        group.create_task(player(1))


# --- a socket


@cases("socketpair", batch=2)
async def socketpair(n):
    loop = asyncio.get_running_loop()
    here, there = socket.socketpair()
    here.setblocking(False)
    there.setblocking(False)

    async def answer():
        for _ in repeat(None, n // 2):
            await loop.sock_recv(there, 64)
            await loop.sock_sendall(there, b"x")

    with here, there:
        async with asyncio.TaskGroup() as group:
            group.create_task(answer())
            for _ in repeat(None, n // 2):
                await loop.sock_sendall(here, b"x")
                await loop.sock_recv(here, 64)
