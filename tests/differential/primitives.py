"""Operations on what tasks share: events, locks, channels, lots, variables."""

from __future__ import annotations

import contextvars
from collections.abc import Sequence
from typing import Any

from language import BODY, CHOICE, FLAG, WHICH, operation
from tracing import text


def one_of(things: Sequence[Any], which: int) -> Any:
    return things[which % len(things)] if things else None


TWO = CHOICE(0, 1)
CONTEXT: contextvars.ContextVar[object] = contextvars.ContextVar("CONTEXT")

# ---- events ----


@operation(TWO, weight=7)
async def wait(actor: Any, which: int) -> None:
    await actor.world.events[which].wait()


@operation(TWO, weight=5)
def set_event(actor: Any, which: int) -> None:
    actor.world.events[which].set()


@operation(TWO, weight=2)
def new_event(actor: Any, which: int) -> Any:
    was_set = actor.world.events[which].is_set()
    actor.world.events[which] = actor.trio.Event()
    return was_set


# ---- locks, semaphores, limiters ----

# 0, 1: locks; 2, 3: semaphores; 4, 5: conditions; 6: the limiter.
LOCK = CHOICE(0, 1, 2, 3, 4, 5, 6, 0, 6)


def _lock(actor: Any, which: int) -> Any:
    world = actor.world
    return [*world.locks, *world.semaphores, *world.conditions, *world.limiters][which]


@operation(LOCK, weight=9)
async def acquire(actor: Any, which: int) -> None:
    await _lock(actor, which).acquire()


@operation(LOCK, weight=2)
def acquire_nowait(actor: Any, which: int) -> None:
    _lock(actor, which).acquire_nowait()


@operation(LOCK, weight=7)
def release(actor: Any, which: int) -> None:
    _lock(actor, which).release()


@operation(LOCK, BODY, weight=8)
async def hold(actor: Any, which: int, body: Any) -> None:
    async with _lock(actor, which):
        await actor.block(body)


@operation(LOCK, weight=3)
def look_at_lock(actor: Any, which: int) -> Any:
    lock = _lock(actor, which)
    if which == 6:
        return [actor.world.limiter_statistics(lock), repr(lock)]
    told = [lock.statistics()]
    if which in (2, 3):
        return [*told, lock.value, lock.max_value, repr(lock)]
    return [*told, lock.locked()]


@operation(CHOICE(4, 5), CHOICE(False, True), weight=5)
async def wait_condition(actor: Any, which: int, inside: bool) -> None:
    condition = _lock(actor, which)
    if inside:
        await condition.wait()
    else:
        async with condition:
            await condition.wait()


@operation(CHOICE(4, 5), CHOICE(1, 2, "all"), FLAG, weight=5)
async def notify(actor: Any, which: int, count: Any, inside: bool) -> None:
    condition = _lock(actor, which)
    if not inside:
        await condition.acquire()
    try:
        if count == "all":
            condition.notify_all()
        else:
            condition.notify(count)
    finally:
        if not inside:
            condition.release()


@operation(CHOICE("a", "b"), FLAG, weight=3)
async def borrow(actor: Any, borrower: str, nowait: bool) -> None:
    limiter = actor.world.limiters[0]
    if nowait:
        limiter.acquire_on_behalf_of_nowait(borrower)
    else:
        await limiter.acquire_on_behalf_of(borrower)


@operation(CHOICE("a", "b"), weight=3)
def give_back(actor: Any, borrower: str) -> None:
    actor.world.limiters[0].release_on_behalf_of(borrower)


@operation(CHOICE(1, 0, 2, 3, float("inf"), -1), weight=2)
def total_tokens(actor: Any, tokens: Any) -> None:
    actor.world.limiters[0].total_tokens = tokens


# ---- parking lots ----


@operation(TWO, weight=5)
async def park(actor: Any, which: int) -> None:
    await actor.world.lots[which].park()


@operation(TWO, CHOICE(1, 2, float("inf"), 0, -1, 1.5), weight=4)
def unpark(actor: Any, which: int, count: Any) -> Any:
    return [task.name for task in actor.world.lots[which].unpark(count=count)]


@operation(TWO, TWO, CHOICE(1, 2, float("inf")), weight=2)
def repark(actor: Any, which: int, to: int, count: Any) -> None:
    actor.world.lots[which].repark(actor.world.lots[to], count=count)


@operation(TWO, weight=1)
def break_lot(actor: Any, which: int) -> Any:
    lot = actor.world.lots[which]
    lot.break_lot()
    return [task.name for task in lot.broken_by]


@operation(TWO, FLAG, weight=3)
def breaker(actor: Any, which: int, remove: bool) -> None:
    lowlevel = actor.trio.lowlevel
    task, lot = lowlevel.current_task(), actor.world.lots[which]
    if remove:
        lowlevel.remove_parking_lot_breaker(task, lot)
    else:
        lowlevel.add_parking_lot_breaker(task, lot)


@operation(TWO, weight=1)
def new_lot(actor: Any, which: int) -> Any:
    was = actor.world.lots[which]
    actor.world.lots[which] = actor.trio.lowlevel.ParkingLot()
    return [len(was), bool(was), len(was.broken_by)]


# ---- memory channels ----


@operation(WHICH, weight=8)
async def send(actor: Any, which: int) -> None:
    await one_of(actor.world.senders, which).send(actor.label)


@operation(WHICH, weight=4)
def send_nowait(actor: Any, which: int) -> None:
    one_of(actor.world.senders, which).send_nowait(actor.label)


@operation(WHICH, weight=8)
async def receive(actor: Any, which: int) -> Any:
    return await one_of(actor.world.receivers, which).receive()


@operation(WHICH, weight=3)
def receive_nowait(actor: Any, which: int) -> Any:
    return one_of(actor.world.receivers, which).receive_nowait()


@operation(WHICH, CHOICE(2, 3), FLAG, weight=3)
def burst(actor: Any, which: int, count: int, drain: bool) -> None:
    """Fill a buffer, and empty it again."""
    sender = one_of(actor.world.senders, which)
    receiver = one_of(actor.world.receivers, which)
    for _ in range(count):
        sender.send_nowait(actor.label)
    while drain and receiver.statistics().current_buffer_used:
        receiver.receive_nowait()


@operation(WHICH, weight=3)
async def receive_all(actor: Any, which: int) -> None:
    async for value in one_of(actor.world.receivers, which):
        actor.say("received", value)
        if actor.stopped():
            break


@operation(WHICH, CHOICE("senders", "receivers"), weight=4)
def clone(actor: Any, which: int, side: str) -> None:
    ends = getattr(actor.world, side)
    ends.insert(0, one_of(ends, which).clone())


@operation(WHICH, CHOICE("senders", "receivers"), weight=4)
def close(actor: Any, which: int, side: str) -> None:
    one_of(getattr(actor.world, side), which).close()


@operation(WHICH, CHOICE("senders", "receivers"), FLAG, weight=3)
async def aclose(actor: Any, which: int, side: str, managed: bool) -> None:
    end = one_of(getattr(actor.world, side), which)
    if managed:
        async with end:
            pass
    else:
        await end.aclose()


@operation(WHICH, CHOICE("senders", "receivers"), weight=2)
def look_at_channel(actor: Any, which: int, side: str) -> Any:
    end = one_of(getattr(actor.world, side), which)
    return [repr(end), end.statistics()]


@operation(CHOICE(0, 1, None), weight=2)
def new_channel(actor: Any, size: Any) -> None:
    sender, receiver = actor.trio.open_memory_channel(
        float("inf") if size is None else size
    )
    actor.world.senders.insert(0, sender)
    actor.world.receivers.insert(0, receiver)


# ---- variables ----


@operation(TWO, weight=2)
def set_var(actor: Any, which: int) -> None:
    var = actor.world.vars[which]
    actor.world.var_tokens.insert(0, (var, var.set(actor.label)))


@operation(TWO, CHOICE("none", "default"), weight=2)
def get_var(actor: Any, which: int, default: str) -> Any:
    var = actor.world.vars[which]
    return [repr(var), var.get() if default == "none" else var.get(default)]


@operation(WHICH, FLAG, weight=2)
def reset_var(actor: Any, which: int, other: bool) -> None:
    if pair := one_of(actor.world.var_tokens, which):
        var, token = pair
        (actor.world.vars[0] if other else var).reset(token)


@operation(FLAG, weight=2)
def context_var(actor: Any, change: bool) -> Any:
    if change:
        CONTEXT.set(actor.label)
    return CONTEXT.get("unset")


# ---- streams, queues, sequencers ----


@operation(TWO, CHOICE("data", ""), weight=3)
async def stream_send(actor: Any, side: int, data: str) -> None:
    await actor.world.streams[side].send_all(data.encode())


@operation(TWO, CHOICE(1, None, 0), weight=3)
async def stream_receive(actor: Any, side: int, most: Any) -> Any:
    return await actor.world.streams[side].receive_some(most)


@operation(TWO, CHOICE("send_eof", "aclose", "wait", "forcefully"), weight=2)
async def stream_end(actor: Any, side: int, how: str) -> None:
    stream = actor.world.streams[side]
    match how:
        case "wait":
            await stream.wait_send_all_might_not_block()
        case "forcefully":
            await actor.trio.aclose_forcefully(stream)
        case _:
            await getattr(stream, how)()


@operation(weight=1)
def new_streams(actor: Any) -> None:
    actor.world.streams = actor.trio.testing.memory_stream_pair()


@operation(CHOICE("put", "put", "get", "get_nowait", "each"), weight=3)
async def queue(actor: Any, what: str) -> Any:
    world = actor.world
    if world.queue is None:
        world.queue = actor.trio.lowlevel.UnboundedQueue()
    queue = world.queue
    match what:
        case "put":
            return queue.put_nowait(actor.label)
        case "get":
            return await queue.get_batch()
        case "get_nowait":
            return queue.get_batch_nowait()
        case "each":
            async for batch in queue:
                actor.say("batch", text(batch), text(queue.statistics()))
                break


@operation(CHOICE(0, 1, 2, 3), BODY, weight=2)
async def in_sequence(actor: Any, place: int, body: Any) -> None:
    async with actor.world.sequencer(place):
        await actor.block(body)


@operation(
    CHOICE("assert_checkpoints", "assert_no_checkpoints"),
    BODY,
    weight=1,
)
async def counted(actor: Any, which: str, body: Any) -> None:
    with getattr(actor.trio.testing, which)():
        await actor.block(body)
