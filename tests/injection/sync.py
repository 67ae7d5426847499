"""Scenarios of what tasks talk to each other with."""

from __future__ import annotations

import trio
from scenario import jumping, scenario
from trio import lowlevel


@scenario
async def parking_lots() -> None:
    lot, other = lowlevel.ParkingLot(), lowlevel.ParkingLot()
    async with trio.open_nursery() as nursery:
        for _ in range(5):
            nursery.start_soon(lot.park)
        await trio.testing.wait_all_tasks_blocked()
        assert len(lot) == 5
        lot.unpark()
        lot.unpark(count=2)
        lot.repark(other)
        assert lot.statistics().tasks_waiting == 1
        other.unpark_all()
        lot.unpark_all()
    broken = lowlevel.ParkingLot()

    async def wait() -> None:
        try:
            await broken.park()
        except trio.BrokenResourceError:
            pass

    async def die() -> None:
        lowlevel.add_parking_lot_breaker(lowlevel.current_task(), broken)
        await lowlevel.checkpoint()

    async with trio.open_nursery() as nursery:
        nursery.start_soon(wait)
        nursery.start_soon(wait)
        nursery.start_soon(die)
    await wait()


@scenario
async def unbounded_queues() -> None:
    many = lowlevel.UnboundedQueue()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(many.get_batch)
        await lowlevel.checkpoint()
        many.put_nowait(1)
    many.put_nowait(2)
    assert many.get_batch_nowait() == [2]
    many.put_nowait(3)
    async for batch in many:
        assert batch == [3]
        break
    many.statistics()


@jumping
async def events_and_locks() -> None:
    event = trio.Event()
    locks = [trio.Lock(), trio.StrictFIFOLock(), trio.Semaphore(1, max_value=2)]
    total = 0

    async def use(lock: trio.Lock) -> None:
        nonlocal total
        await event.wait()
        async with lock:
            await lowlevel.checkpoint()
            total += 1

    async with trio.open_nursery() as nursery:
        for lock in locks:
            for _ in range(3):
                nursery.start_soon(use, lock)
        await trio.testing.wait_all_tasks_blocked()
        event.statistics()
        event.set()
        await lowlevel.checkpoint()
        for lock in locks:
            lock.statistics()
            repr(lock)
    assert total == 9
    with trio.move_on_after(1) as scope:
        async with locks[0], trio.open_nursery() as nursery:
            nursery.start_soon(use, locks[0])
    assert scope.cancelled_caught
    assert not locks[0].locked()


@scenario
async def dead_owners() -> None:
    lock = trio.Lock()

    async def keep() -> None:
        await lock.acquire()

    async def wait() -> None:
        try:
            await lock.acquire()
        except trio.BrokenResourceError:
            pass
        else:
            lock.release()

    async with trio.open_nursery() as nursery:
        nursery.start_soon(keep)
        nursery.start_soon(wait)


@jumping
async def conditions() -> None:
    condition = trio.Condition()
    woken = 0

    async def wait() -> None:
        nonlocal woken
        async with condition:
            await condition.wait()
            woken += 1

    async with trio.open_nursery() as nursery:
        for _ in range(4):
            nursery.start_soon(wait)
        await trio.testing.wait_all_tasks_blocked()
        async with condition:
            condition.notify()
            condition.statistics()
        await trio.testing.wait_all_tasks_blocked()
        assert woken == 1
        async with condition:
            condition.notify_all()
    assert woken == 4
    with trio.move_on_after(1):
        await wait()
    assert not condition.locked()


@scenario
async def limiters() -> None:
    limiter = trio.CapacityLimiter(2)

    async def borrow() -> None:
        async with limiter:
            await lowlevel.checkpoint()

    async with trio.open_nursery() as nursery:
        for _ in range(5):
            nursery.start_soon(borrow)
        await lowlevel.checkpoint()
        limiter.statistics()
        limiter.total_tokens = 4
    await limiter.acquire_on_behalf_of("me")
    limiter.release_on_behalf_of("me")
    limiter.acquire_on_behalf_of_nowait(b"you")
    limiter.release_on_behalf_of(b"you")
    assert limiter.borrowed_tokens == 0


@scenario
async def channels() -> None:
    got = []

    async def produce(send: trio.MemorySendChannel[int]) -> None:
        async with send:
            for n in range(10):
                await send.send(n)

    async def consume(receive: trio.MemoryReceiveChannel[int]) -> None:
        async with receive:
            async for n in receive:
                got.append(n)

    for size in (0, 3):
        send, receive = trio.open_memory_channel[int](size)
        async with trio.open_nursery() as nursery, send, receive:
            for _ in range(2):
                nursery.start_soon(produce, send.clone())
                nursery.start_soon(consume, receive.clone())
            send.statistics()
    assert sorted(got) == sorted(2 * 2 * list(range(10)))
    send, receive = trio.open_memory_channel[int](100)
    for n in range(50):
        send.send_nowait(n)
    assert [receive.receive_nowait() for _ in range(50)] == list(range(50))
    receive.close()
    try:
        await send.send(1)
    except trio.BrokenResourceError:
        pass
    send.close()


@scenario
async def memory_streams() -> None:
    left, right = trio.testing.memory_stream_pair()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(left.send_all, b"x" * 100)
        assert await right.receive_some(100)
    await left.send_eof()
    await right.aclose()
    await left.aclose()
