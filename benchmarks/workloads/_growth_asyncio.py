"""Growth, in asyncio's API: for asyncio, uvloop and rloop."""

from __future__ import annotations

import asyncio

from _common import Cases
from _with_trio import delays, nothing

cases = Cases()


@cases("tasks")
async def tasks(size):
    async with asyncio.TaskGroup() as group:
        for _ in range(size):
            group.create_task(nothing())


async def future_forever():
    await asyncio.get_running_loop().create_future()


@cases("cancel")
async def cancel(size):
    async with asyncio.TaskGroup() as group:
        tasks = [group.create_task(future_forever()) for _ in range(size)]
        await asyncio.sleep(0)
        for task in tasks:
            task.cancel()


@cases("timers")
async def timers(size):
    async with asyncio.TaskGroup() as group:
        for delay in delays(size):
            group.create_task(asyncio.sleep(delay))


@cases("scopes")
async def scopes(size):
    event = asyncio.Event()

    async def task(delay):
        async with asyncio.timeout(delay):
            await event.wait()

    async with asyncio.TaskGroup() as group:
        for delay in delays(size):
            group.create_task(task(1000 + delay))
        await asyncio.sleep(0)
        event.set()


@cases("waiters")
async def waiters(size):
    event = asyncio.Event()
    async with asyncio.TaskGroup() as group:
        for _ in range(size):
            group.create_task(event.wait())
        await asyncio.sleep(0)
        event.set()


@cases("channels")
async def channels(size):
    queues = [asyncio.Queue() for _ in range(size)]
    async with asyncio.TaskGroup() as group:
        for queue in queues:
            group.create_task(queue.get())
        await asyncio.sleep(0)
        for queue in queues:
            queue.put_nowait(None)


async def idle(count, begin, end, wait):
    async with asyncio.TaskGroup() as group:
        tasks = []
        for n in 100, count:
            tasks += [group.create_task(wait()) for _ in range(n)]
            await asyncio.sleep(0)
            if n == 100:
                begin()
        end()
        for task in tasks:
            task.cancel()


@cases("sleep-forever")
async def sleep_forever(count, begin, end):
    await idle(count, begin, end, future_forever)


@cases("event-wait")
async def event_wait(count, begin, end):
    await idle(count, begin, end, asyncio.Event().wait)
