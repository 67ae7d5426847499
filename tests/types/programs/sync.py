"""Locks and their relatives, memory channels."""

from __future__ import annotations

import math
from typing import Any, Literal, Protocol, assert_type

import trio


async def events(event: trio.Event) -> None:
    event = trio.Event()
    assert_type(event.is_set(), bool)
    assert_type(event.set(), None)
    assert_type(await event.wait(), None)
    assert_type(event.statistics(), trio.EventStatistics)
    assert_type(event.statistics().tasks_waiting, int)
    assert_type(event.__bool__(), Literal[True])


class Lockable(Protocol):
    def locked(self) -> bool: ...

    def acquire_nowait(self) -> None: ...

    async def acquire(self) -> None: ...

    def release(self) -> None: ...


async def locks(lock: trio.Lock, fifo: trio.StrictFIFOLock) -> None:
    lock = trio.Lock()
    fifo = trio.StrictFIFOLock()
    async with lock as entered, fifo as entered_too:
        assert_type(entered, None)
        assert_type(entered_too, None)
    statistics = lock.statistics()
    assert_type(statistics, trio.LockStatistics)
    assert_type(statistics.locked, bool)
    assert_type(statistics.owner, trio.lowlevel.Task | None)
    assert_type(statistics.tasks_waiting, int)
    lockables: list[Lockable] = [lock, fifo, trio.Condition()]
    for lockable in lockables:
        await lockable.acquire()


async def semaphores() -> None:
    semaphore = trio.Semaphore(1)
    semaphore = trio.Semaphore(initial_value=1, max_value=3)
    semaphore = trio.Semaphore(1, max_value=None)
    assert_type(semaphore.value, int)
    assert_type(semaphore.max_value, int | None)
    assert_type(semaphore.acquire_nowait(), None)
    assert_type(await semaphore.acquire(), None)
    assert_type(semaphore.release(), None)
    assert_type(semaphore.statistics(), trio.lowlevel.ParkingLotStatistics)
    async with semaphore:
        pass


async def limiters() -> None:
    limiter = trio.CapacityLimiter(3)
    limiter = trio.CapacityLimiter(total_tokens=math.inf)
    assert_type(limiter.total_tokens, int | float)
    limiter.total_tokens = 3
    limiter.total_tokens = math.inf
    assert_type(limiter.borrowed_tokens, int)
    assert_type(limiter.available_tokens, int | float)
    assert_type(limiter.acquire_nowait(), None)
    assert_type(limiter.acquire_on_behalf_of_nowait("me"), None)
    assert_type(await limiter.acquire(), None)
    assert_type(await limiter.acquire_on_behalf_of(borrower=object()), None)
    assert_type(limiter.release(), None)
    assert_type(limiter.release_on_behalf_of("me"), None)
    async with limiter as entered:
        assert_type(entered, None)
    statistics = limiter.statistics()
    assert_type(statistics, trio.CapacityLimiterStatistics)
    assert_type(statistics.borrowed_tokens, int)
    assert_type(statistics.total_tokens, int | float)
    assert_type(statistics.borrowers, list[trio.lowlevel.Task | object])
    assert_type(statistics.tasks_waiting, int)


async def conditions() -> None:
    condition = trio.Condition()
    condition = trio.Condition(trio.Lock())
    condition = trio.Condition(lock=None)
    async with condition:
        assert_type(await condition.wait(), None)
        assert_type(condition.notify(), None)
        condition.notify(n=2)
        assert_type(condition.notify_all(), None)
    assert_type(condition.locked(), bool)
    statistics = condition.statistics()
    assert_type(statistics, trio.ConditionStatistics)
    assert_type(statistics.tasks_waiting, int)
    assert_type(statistics.lock_statistics, trio.LockStatistics)


async def channels() -> None:
    send, receive = trio.open_memory_channel[int](0)
    assert_type(send, trio.MemorySendChannel[int])
    assert_type(receive, trio.MemoryReceiveChannel[int])
    assert_type(await send.send(1), None)
    assert_type(send.send_nowait(True), None)
    assert_type(await receive.receive(), int)
    assert_type(receive.receive_nowait(), int)
    assert_type(send.clone(), trio.MemorySendChannel[int])
    assert_type(receive.clone(), trio.MemoryReceiveChannel[int])
    assert_type(send.close(), None)
    assert_type(await receive.aclose(), None)
    with send as same_send, receive.clone() as same_receive:
        assert_type(same_send, trio.MemorySendChannel[int])
        assert_type(same_receive, trio.MemoryReceiveChannel[int])
    async with send as same_send, receive as same_receive:
        assert_type(same_send, trio.MemorySendChannel[int])
        async for number in same_receive:
            assert_type(number, int)
    assert_type(await anext(receive), int)
    statistics = send.statistics()
    assert_type(statistics, trio.MemoryChannelStatistics)
    assert_type(receive.statistics(), trio.MemoryChannelStatistics)
    assert_type(statistics.current_buffer_used, int)
    assert_type(statistics.max_buffer_size, int | float)
    assert_type(statistics.open_send_channels, int)
    assert_type(statistics.open_receive_channels, int)
    assert_type(statistics.tasks_waiting_send, int)
    assert_type(statistics.tasks_waiting_receive, int)
    assert_type(statistics.peak_buffer_used, int)


def inferred_channels() -> None:
    send: trio.MemorySendChannel[str]
    receive: trio.MemoryReceiveChannel[str]
    send, receive = trio.open_memory_channel(math.inf)
    send, receive = trio.open_memory_channel(max_buffer_size=1)
    anything = trio.open_memory_channel[Any](1)
    assert_type(anything[0], trio.MemorySendChannel[Any])


def variance(
    send_objects: trio.MemorySendChannel[object],
    receive_bools: trio.MemoryReceiveChannel[bool],
) -> None:
    send_ints: trio.MemorySendChannel[int] = send_objects
    receive_ints: trio.MemoryReceiveChannel[int] = receive_bools
    abstract_send: trio.abc.SendChannel[int] = send_ints
    abstract_send = send_objects
    abstract_receive: trio.abc.ReceiveChannel[int] = receive_ints
    abstract_receive = receive_bools
    resources: list[trio.abc.AsyncResource] = [abstract_send, abstract_receive]
    del resources
