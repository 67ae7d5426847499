"""Growth, on the floor."""

from __future__ import annotations

from _common import Cases
from _with_floor import NO_CANCEL
from _with_trio import delays, nothing

cases = Cases()


@cases("tasks")
async def tasks(floor, size):
    async with floor.Nursery() as nursery:
        for _ in range(size):
            nursery.start_soon(nothing)


@cases("timers")
async def timers(floor, size):
    async def sleep(delay):
        await floor.sleep(delay)

    async with floor.Nursery() as nursery:
        for delay in delays(size):
            nursery.start_soon(sleep, delay)


async def wait(event):
    await event.wait()


@cases("scopes", note=NO_CANCEL)
async def scopes(floor, size):
    event = floor.Event()

    async def task(delay):
        with floor.Scope(delay):
            await event.wait()

    async with floor.Nursery() as nursery:
        for delay in delays(size):
            nursery.start_soon(task, 1000 + delay)
        await floor.checkpoint()
        event.set()


@cases("waiters")
async def waiters(floor, size):
    event = floor.Event()
    async with floor.Nursery() as nursery:
        for _ in range(size):
            nursery.start_soon(wait, event)
        await floor.checkpoint()
        event.set()


@cases("channels")
async def channels(floor, size):
    async def receive(channel):
        await channel.receive()

    channels = [floor.Channel(0) for _ in range(size)]
    async with floor.Nursery() as nursery:
        for channel in channels:
            nursery.start_soon(receive, channel)
        await floor.checkpoint()
        for channel in channels:
            await channel.send(None)


@cases("event-wait")
async def event_wait(floor, count, begin, end):
    event = floor.Event()
    async with floor.Nursery() as nursery:
        for n in 100, count:
            for _ in range(n):
                nursery.start_soon(wait, event)
            await floor.checkpoint()
            if n == 100:
                begin()
        end()
        event.set()
