"""Growth, in Trio's API."""

from __future__ import annotations

from _common import Cases
from _with_trio import all_have_begun, delays, nothing

cases = Cases()


@cases("tasks")
async def tasks(trio, size):
    async with trio.open_nursery() as nursery:
        for _ in range(size):
            nursery.start_soon(nothing)


@cases("cancel")
async def cancel(trio, size):
    async with trio.open_nursery() as nursery:
        for _ in range(size):
            nursery.start_soon(trio.sleep_forever)
        await all_have_begun(trio)
        nursery.cancel_scope.cancel()


@cases("timers")
async def timers(trio, size):
    async with trio.open_nursery() as nursery:
        for delay in delays(size):
            nursery.start_soon(trio.sleep, delay)


@cases("scopes")
async def scopes(trio, size):
    event = trio.Event()

    async def task(delay):
        with trio.move_on_after(delay):
            await event.wait()

    async with trio.open_nursery() as nursery:
        for delay in delays(size):
            nursery.start_soon(task, 1000 + delay)
        await all_have_begun(trio)
        event.set()


@cases("waiters")
async def waiters(trio, size):
    event = trio.Event()
    async with trio.open_nursery() as nursery:
        for _ in range(size):
            nursery.start_soon(event.wait)
        await all_have_begun(trio)
        event.set()


@cases("channels")
async def channels(trio, size):
    pairs = [trio.open_memory_channel(0) for _ in range(size)]
    async with trio.open_nursery() as nursery:
        for _, receiver in pairs:
            nursery.start_soon(receiver.receive)
        await all_have_begun(trio)
        for sender, _ in pairs:
            sender.send_nowait(None)


async def idle(trio, count, begin, end, wait):
    async with trio.open_nursery() as nursery:
        for n in 100, count:
            for _ in range(n):
                nursery.start_soon(wait)
            await all_have_begun(trio)
            if n == 100:
                begin()
        end()
        nursery.cancel_scope.cancel()


@cases("sleep-forever")
async def sleep_forever(trio, count, begin, end):
    await idle(trio, count, begin, end, trio.sleep_forever)


@cases("event-wait")
async def event_wait(trio, count, begin, end):
    await idle(trio, count, begin, end, trio.Event().wait)
