"""The primitives, in Trio's API. The module is the first parameter.

One operation is what the name of the case says; every file does the same ones
in the same order, as far as its API has them.
"""

from __future__ import annotations

from functools import partial
from itertools import repeat

from _common import Cases

cases = Cases()


async def at_depth(depth, function):
    """As deep in the stack of awaits as programs are."""
    if depth == 1:
        await function()
    else:
        await at_depth(depth - 1, function)


async def nothing():
    pass


# --- the scheduler


async def checkpoints(trio, n):
    checkpoint = trio.lowlevel.checkpoint
    for _ in repeat(None, n):
        await checkpoint()


@cases("checkpoint-1-1")
async def checkpoint_1_1(trio, n):
    await checkpoints(trio, n)


@cases("checkpoint-1-10")
async def checkpoint_1_10(trio, n):
    await at_depth(10, partial(checkpoints, trio, n))


async def a_thousand_tasks(trio, n, depth):
    work = partial(checkpoints, trio, n // 1000)
    async with trio.open_nursery() as nursery:
        for _ in repeat(None, 1000):
            nursery.start_soon(at_depth, depth, work)


# Spawning a thousand tasks must not show.
@cases("checkpoint-1000-1", batch=200_000)
async def checkpoint_1000_1(trio, n):
    await a_thousand_tasks(trio, n, 1)


@cases("checkpoint-1000-10", batch=200_000)
async def checkpoint_1000_10(trio, n):
    await a_thousand_tasks(trio, n, 10)


@cases("checkpoint-if-cancelled")
async def checkpoint_if_cancelled(trio, n):
    checkpoint_if_cancelled = trio.lowlevel.checkpoint_if_cancelled
    for _ in repeat(None, n):
        await checkpoint_if_cancelled()


# --- tasks


@cases("spawn-1000", batch=1000)
async def spawn_1000(trio, n):
    for _ in repeat(None, n // 1000):
        async with trio.open_nursery() as nursery:
            for _ in repeat(None, 1000):
                nursery.start_soon(nothing)


@cases("nursery-0")
async def nursery_0(trio, n):
    for _ in repeat(None, n):
        async with trio.open_nursery():
            pass


@cases("nursery-1")
async def nursery_1(trio, n):
    for _ in repeat(None, n):
        async with trio.open_nursery() as nursery:
            nursery.start_soon(nothing)


@cases("nursery-start")
async def nursery_start(trio, n):
    async def service(task_status=trio.TASK_STATUS_IGNORED):
        task_status.started()

    async with trio.open_nursery() as nursery:
        for _ in repeat(None, n):
            await nursery.start(service)


# --- scopes and timeouts


@cases("scope")
async def scope(trio, n):
    for _ in repeat(None, n):
        with trio.CancelScope():
            pass


@cases("move-on-after")
async def move_on_after(trio, n):
    for _ in repeat(None, n):
        with trio.move_on_after(10):
            pass


@cases("fail-after-checkpoint")
async def fail_after_checkpoint(trio, n):
    checkpoint = trio.lowlevel.checkpoint
    for _ in repeat(None, n):
        with trio.fail_after(10):
            await checkpoint()


@cases("five-scopes")
async def five_scopes(trio, n):
    move_on_after = trio.move_on_after
    for _ in repeat(None, n):
        with move_on_after(10):
            with move_on_after(11):
                with move_on_after(12):
                    with move_on_after(13):
                        with move_on_after(14):
                            pass


@cases("fail-after-event", batch=2)
async def fail_after_event(trio, n):
    """Two tasks, each waiting for the other."""
    mine, other = trio.Event(), trio.Event()

    async def answer():
        nonlocal mine
        for _ in repeat(None, n // 2):
            with trio.fail_after(10):
                await mine.wait()
            mine = trio.Event()
            other.set()

    async with trio.open_nursery() as nursery:
        nursery.start_soon(answer)
        for _ in repeat(None, n // 2):
            mine.set()
            with trio.fail_after(10):
                await other.wait()
            other = trio.Event()


async def all_have_begun(trio):
    """The order within a pass is random: only after a second one, they have."""
    await trio.lowlevel.checkpoint()
    await trio.lowlevel.checkpoint()


@cases("cancel-1000", batch=1000)
async def cancel_1000(trio, n):
    """Spawn, let them all get to sleep, cancel, join."""
    for _ in repeat(None, n // 1000):
        async with trio.open_nursery() as nursery:
            for _ in repeat(None, 1000):
                nursery.start_soon(trio.sleep_forever)
            await all_have_begun(trio)
            nursery.cancel_scope.cancel()


def delays(count):
    """Seconds to sleep, all different, in no order.

    Long enough that the first does not end before the last begins, for any of
    the contestants: so many timers are there at once.
    """
    least = min(count * 20e-6, 2)
    return [least + i * 7919 % count * 1e-6 for i in range(count)]


@cases("timers-1000", batch=1000)
async def timers_1000(trio, n, count=1000):
    for _ in repeat(None, n // count):
        async with trio.open_nursery() as nursery:
            for delay in delays(count):
                nursery.start_soon(trio.sleep, delay)


@cases("timers-10000", batch=10_000)
async def timers_10000(trio, n):
    await timers_1000(trio, n, 10_000)


# --- channels and locks


async def channel(trio, n, buffer, pairs):
    sender, receiver = trio.open_memory_channel(buffer)

    async def send():
        for i in range(n // pairs):
            await sender.send(i)

    async def receive():
        for _ in repeat(None, n // pairs):
            await receiver.receive()

    async with trio.open_nursery() as nursery:
        for _ in repeat(None, pairs):
            nursery.start_soon(send)
            nursery.start_soon(receive)


@cases("channel-0")
async def channel_0(trio, n):
    await channel(trio, n, 0, 1)


@cases("channel-100")
async def channel_100(trio, n):
    await channel(trio, n, 100, 1)


@cases("channel-10x10", batch=10)
async def channel_10x10(trio, n):
    await channel(trio, n, 0, 10)


@cases("event", batch=2)
async def event(trio, n):
    mine, other = trio.Event(), trio.Event()

    async def answer():
        nonlocal mine
        for _ in repeat(None, n // 2):
            await mine.wait()
            mine = trio.Event()
            other.set()

    async with trio.open_nursery() as nursery:
        nursery.start_soon(answer)
        for _ in repeat(None, n // 2):
            mine.set()
            await other.wait()
            other = trio.Event()


async def acquire_and_release(lock, n):
    for _ in repeat(None, n):
        async with lock:
            pass


@cases("lock")
async def lock(trio, n):
    await acquire_and_release(trio.Lock(), n)


@cases("lock-100", batch=1000)
async def lock_100(trio, n):
    """A hundred tasks that yield while they hold it."""
    lock = trio.Lock()
    checkpoint = trio.lowlevel.checkpoint

    async def contend():
        for _ in repeat(None, n // 100):
            async with lock:
                await checkpoint()

    async with trio.open_nursery() as nursery:
        for _ in repeat(None, 100):
            nursery.start_soon(contend)


@cases("semaphore")
async def semaphore(trio, n):
    await acquire_and_release(trio.Semaphore(1), n)


@cases("capacity-limiter")
async def capacity_limiter(trio, n):
    await acquire_and_release(trio.CapacityLimiter(1), n)


@cases("condition", batch=2)
async def condition(trio, n):
    """Two tasks that take turns, and tell one another."""
    condition = trio.Condition()
    turn = 0

    async def player(me):
        nonlocal turn
        async with condition:
            for _ in repeat(None, n // 2):
                while turn != me:
                    await condition.wait()
                turn = 1 - me
                condition.notify()

    async with trio.open_nursery() as nursery:
        nursery.start_soon(player, 0)
        nursery.start_soon(player, 1)


# --- a socket


@cases("socketpair", batch=2)
async def socketpair(trio, n):
    """One byte there, one byte back: an operation is one way."""
    here, there = trio.socket.socketpair()

    async def answer():
        for _ in repeat(None, n // 2):
            await there.recv(64)
            await there.send(b"x")

    with here, there:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(answer)
            for _ in repeat(None, n // 2):
                await here.send(b"x")
                await here.recv(64)
