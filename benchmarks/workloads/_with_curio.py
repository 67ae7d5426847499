"""The primitives, in curio's API, where it has the concept."""

from __future__ import annotations

from functools import partial
from itertools import repeat

from _common import Cases
from _with_trio import at_depth, delays, nothing

cases = Cases()

NO_YIELD = "does not yield to other tasks"

# --- the scheduler


async def checkpoints(curio, n):
    sleep = curio.sleep
    for _ in repeat(None, n):
        await sleep(0)


@cases("checkpoint-1-1")
async def checkpoint_1_1(curio, n):
    await checkpoints(curio, n)


@cases("checkpoint-1-10")
async def checkpoint_1_10(curio, n):
    await at_depth(10, partial(checkpoints, curio, n))


async def a_thousand_tasks(curio, n, depth):
    work = partial(checkpoints, curio, n // 1000)
    async with curio.TaskGroup() as group:
        for _ in repeat(None, 1000):
            await group.spawn(at_depth, depth, work)


@cases("checkpoint-1000-1", batch=200_000)
async def checkpoint_1000_1(curio, n):
    await a_thousand_tasks(curio, n, 1)


@cases("checkpoint-1000-10", batch=200_000)
async def checkpoint_1000_10(curio, n):
    await a_thousand_tasks(curio, n, 10)


# --- tasks


@cases("spawn-1000", batch=1000)
async def spawn_1000(curio, n):
    for _ in repeat(None, n // 1000):
        async with curio.TaskGroup() as group:
            for _ in repeat(None, 1000):
                await group.spawn(nothing)


@cases("nursery-0", note=NO_YIELD)
async def nursery_0(curio, n):
    for _ in repeat(None, n):
        async with curio.TaskGroup():
            pass


@cases("nursery-1")
async def nursery_1(curio, n):
    for _ in repeat(None, n):
        async with curio.TaskGroup() as group:
            await group.spawn(nothing)


# --- timeouts


@cases("move-on-after")
async def move_on_after(curio, n):
    for _ in repeat(None, n):
        async with curio.ignore_after(10):
            pass


@cases("fail-after-checkpoint")
async def fail_after_checkpoint(curio, n):
    for _ in repeat(None, n):
        async with curio.timeout_after(10):
            await curio.sleep(0)


@cases("five-scopes")
async def five_scopes(curio, n):
    ignore_after = curio.ignore_after
    for _ in repeat(None, n):
        async with ignore_after(10):
            async with ignore_after(11):
                async with ignore_after(12):
                    async with ignore_after(13):
                        async with ignore_after(14):
                            pass


@cases("fail-after-event", batch=2)
async def fail_after_event(curio, n):
    mine, other = curio.Event(), curio.Event()

    async def answer():
        nonlocal mine
        for _ in repeat(None, n // 2):
            async with curio.timeout_after(10):
                await mine.wait()
            mine = curio.Event()
            await other.set()

    async with curio.TaskGroup() as group:
        await group.spawn(answer)
        for _ in repeat(None, n // 2):
            await mine.set()
            async with curio.timeout_after(10):
                await other.wait()
            other = curio.Event()


@cases("cancel-1000", batch=1000)
async def cancel_1000(curio, n):
    async def sleep_forever():
        await curio.Event().wait()

    for _ in repeat(None, n // 1000):
        async with curio.TaskGroup() as group:
            for _ in repeat(None, 1000):
                await group.spawn(sleep_forever)
            await curio.sleep(0)
            await group.cancel_remaining()


@cases("timers-1000", batch=1000)
async def timers_1000(curio, n, count=1000):
    for _ in repeat(None, n // count):
        async with curio.TaskGroup() as group:
            for delay in delays(count):
                await group.spawn(curio.sleep, delay)


@cases("timers-10000", batch=10_000)
async def timers_10000(curio, n):
    await timers_1000(curio, n, 10_000)


# --- queues and locks


async def channel(curio, n, buffer, pairs):
    queue = curio.Queue(buffer)

    async def send():
        for i in range(n // pairs):
            await queue.put(i)

    async def receive():
        for _ in repeat(None, n // pairs):
            await queue.get()

    async with curio.TaskGroup() as group:
        for _ in repeat(None, pairs):
            await group.spawn(send)
            await group.spawn(receive)


@cases("channel-0", note="a buffer of 1: there is no queue without")
async def channel_0(curio, n):
    await channel(curio, n, 1, 1)


@cases("channel-100", note="yields only when the buffer is full or empty")
async def channel_100(curio, n):
    await channel(curio, n, 100, 1)


@cases("channel-10x10", batch=10, note="a buffer of 1: there is no queue without")
async def channel_10x10(curio, n):
    await channel(curio, n, 1, 10)


@cases("event", batch=2)
async def event(curio, n):
    mine, other = curio.Event(), curio.Event()

    async def answer():
        nonlocal mine
        for _ in repeat(None, n // 2):
            await mine.wait()
            mine = curio.Event()
            await other.set()

    async with curio.TaskGroup() as group:
        await group.spawn(answer)
        for _ in repeat(None, n // 2):
            await mine.set()
            await other.wait()
            other = curio.Event()


async def acquire_and_release(lock, n):
    for _ in repeat(None, n):
        async with lock:
            pass


@cases("lock", note=NO_YIELD)
async def lock(curio, n):
    await acquire_and_release(curio.Lock(), n)


@cases("lock-100", batch=1000)
async def lock_100(curio, n):
    lock = curio.Lock()

    async def contend():
        for _ in repeat(None, n // 100):
            async with lock:
                await curio.sleep(0)

    async with curio.TaskGroup() as group:
        for _ in repeat(None, 100):
            await group.spawn(contend)


@cases("semaphore", note=NO_YIELD)
async def semaphore(curio, n):
    await acquire_and_release(curio.Semaphore(1), n)


@cases("capacity-limiter", note=f"a semaphore; {NO_YIELD}")
async def capacity_limiter(curio, n):
    await acquire_and_release(curio.Semaphore(1), n)


# --- a socket


@cases("socketpair", batch=2)
async def socketpair(curio, n):
    here, there = curio.socket.socketpair()

    async def answer():
        for _ in repeat(None, n // 2):
            await there.recv(64)
            await there.send(b"x")

    async with here, there:
        async with curio.TaskGroup() as group:
            await group.spawn(answer)
            for _ in repeat(None, n // 2):
                await here.send(b"x")
                await here.recv(64)
