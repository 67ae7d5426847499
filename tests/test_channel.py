"""Memory channels and as_safe_channel."""

from __future__ import annotations

import gc
import math
import sys
import threading
import types
import weakref
from decimal import Decimal

import pytest
from _points import Points

import trio_c
from trio_c import open_memory_channel
from trio_c.testing import trio_test, wait_all_tasks_blocked


def drain(receive):
    items = []
    try:
        while True:
            items.append(receive.receive_nowait())
    except (trio_c.WouldBlock, trio_c.EndOfChannel):
        return items


# --- opening, classes


def test_open_memory_channel():
    pair = open_memory_channel(max_buffer_size=1)
    assert type(pair) is tuple
    assert [type(end) for end in pair] == [
        trio_c.MemorySendChannel,
        trio_c.MemoryReceiveChannel,
    ]
    assert issubclass(open_memory_channel, tuple)
    assert type(open_memory_channel[int](1)) is tuple
    assert type(open_memory_channel.__new__(open_memory_channel, 1)) is tuple
    for size in (0, 10**30, True, math.inf, Decimal("inf")):
        send, _ = open_memory_channel(size)
        assert send.statistics().max_buffer_size is size
    for bad in (1.0, math.nan, -math.inf, None, "1", Decimal(1)):
        with pytest.raises(
            TypeError, match=r"^max_buffer_size must be an integer or math\.inf$"
        ):
            open_memory_channel(bad)
    for bad in (-1, -(10**30)):
        with pytest.raises(ValueError, match=r"^max_buffer_size must be >= 0$"):
            open_memory_channel(bad)
    for args, kwargs in [((), {}), ((1, 2), {}), ((), {"size": 1})]:
        with pytest.raises(TypeError):
            open_memory_channel(*args, **kwargs)
        with pytest.raises(TypeError):
            open_memory_channel.__new__(open_memory_channel, *args, **kwargs)


@pytest.mark.parametrize(
    "cls",
    [trio_c.MemorySendChannel, trio_c.MemoryReceiveChannel, open_memory_channel],
)
def test_class(cls):
    assert cls.__final__ is True
    assert cls.__module__ == "trio_c"
    with pytest.raises(TypeError, match=r"^\S*Sub does not support subclassing$"):
        types.new_class("Sub", (cls,))
    assert cls[int].__origin__ is cls


def test_handles():
    send, receive = open_memory_channel(1)
    buffer = f"using buffer at {id(send._state):#x}>"
    assert repr(send) == f"<send channel at {id(send):#x}, {buffer}"
    assert repr(receive) == f"<receive channel at {id(receive):#x}, {buffer}"
    for end, abstract in [
        (send, trio_c.abc.SendChannel),
        (receive, trio_c.abc.ReceiveChannel),
    ]:
        cls = type(end)
        assert isinstance(end, abstract)
        assert issubclass(cls, trio_c.abc.AsyncResource)
        assert not isinstance(end, trio_c.abc.Channel)
        with pytest.raises(
            TypeError, match=rf"^trio\.{cls.__name__} has no public constructor$"
        ):
            cls(end._state)
        with pytest.raises(TypeError):
            cls._create(None)
        more = cls[int]._create(end._state)
        assert type(more) is cls
        assert more._state is end._state
        end.attribute = end
        assert vars(end) == {"attribute": end}
        assert weakref.ref(end)() is end
        assert len({end, more}) == 2
    stats = send.statistics()
    assert (stats.open_send_channels, stats.open_receive_channels) == (2, 2)
    with pytest.raises(TypeError):
        aiter(send)


# --- the state, for those who look


@trio_test
async def test_state_view():
    from trio_c._channel import MemoryChannelState

    send, receive = open_memory_channel(2)
    state = send._state
    assert state is receive._state
    assert isinstance(state, MemoryChannelState)
    assert MemoryChannelState[int].__origin__ is MemoryChannelState
    assert weakref.ref(state)() is state
    with pytest.raises(TypeError, match="no public constructor"):
        MemoryChannelState(1)
    assert not state.data
    send.send_nowait("a")
    send.send_nowait("b")
    assert list(state.data) == ["a", "b"]
    assert len(state.data) == 2
    assert not send._closed
    async with trio_c.open_nursery() as nursery:
        nursery.start_soon(send.send, "c")
        await wait_all_tasks_blocked()
        (task,) = nursery.child_tasks
        assert state.send_tasks == {task: "c"}
        assert not state.receive_tasks
        assert task.custom_sleep_data is send
        drain(receive)
    async with trio_c.open_nursery() as nursery:
        nursery.start_soon(receive.receive)
        await wait_all_tasks_blocked()
        (task,) = nursery.child_tasks
        assert state.receive_tasks == {task: None}
        assert task.custom_sleep_data is receive
        send.send_nowait("d")
    assert (state.open_send_channels, state.open_receive_channels) == (1, 1)
    assert (state.max_buffer_size, state.peak_buffer_used) == (2, 2)
    send.close()
    assert send._closed
    assert state.open_send_channels == 0
    assert state.statistics() == receive.statistics()
    assert state.statistics() == trio_c.MemoryChannelStatistics(0, 2, 0, 1, 0, 0, 2)


# --- sending and receiving without waiting


@pytest.mark.parametrize("size", [1, 3, 4, 5, 64, 65, 300])
def test_buffer_wraps_around(size):
    send, receive = open_memory_channel(size)
    sent = received = 0
    for fill in [size, 1, size, size // 2, 0, size, size // 4, size]:
        while send.statistics().current_buffer_used < fill:
            send.send_nowait(sent)
            sent += 1
        assert list(send._state.data) == list(range(received, sent))
        if fill == size:
            with pytest.raises(trio_c.WouldBlock):
                send.send_nowait("too much")
        while send.statistics().current_buffer_used > fill // 3:
            assert receive.receive_nowait() == received
            received += 1
    assert send.statistics().peak_buffer_used == size


def test_unlimited_buffer():
    send, receive = open_memory_channel(math.inf)
    for i in range(100_000):
        send.send_nowait(i)
    assert drain(receive) == list(range(100_000))
    send.send_nowait("again")
    assert drain(receive) == ["again"]
    assert send.statistics().peak_buffer_used == 100_000


def test_precedence_of_errors():
    send, receive = open_memory_channel(1)
    send.send_nowait(1)
    spare = send.clone()
    send.close()
    with pytest.raises(trio_c.ClosedResourceError):
        send.send_nowait(2)
    with pytest.raises(trio_c.ClosedResourceError):
        send.clone()
    assert receive.receive_nowait() == 1
    with pytest.raises(trio_c.WouldBlock):
        receive.receive_nowait()
    spare.send_nowait(3)
    spare.close()
    spare.close()
    assert receive.receive_nowait() == 3
    with pytest.raises(trio_c.EndOfChannel):
        receive.receive_nowait()
    receive.close()
    with pytest.raises(trio_c.ClosedResourceError):
        receive.receive_nowait()
    with pytest.raises(trio_c.ClosedResourceError):
        receive.clone()

    send, receive = open_memory_channel(0)
    receive.close()
    with pytest.raises(trio_c.BrokenResourceError):
        send.send_nowait(1)
    send.close()
    with pytest.raises(trio_c.ClosedResourceError):
        send.send_nowait(1)


def test_wrong_arguments():
    send, receive = open_memory_channel(1)
    for call in (send.send_nowait, send.send):
        with pytest.raises(TypeError):
            call()
        with pytest.raises(TypeError):
            call(1, 2)
    send.send_nowait(value=1)
    for call in (receive.receive, receive.receive_nowait, send.close, send.clone):
        with pytest.raises(TypeError):
            call(1)
    with pytest.raises(TypeError):
        send.__exit__(None)
    assert receive.receive_nowait() == 1


def test_context_managers_close():
    send, receive = open_memory_channel(1)
    with send as result:
        assert result is send
    assert send._closed
    with pytest.raises(ZeroDivisionError), receive:
        raise ZeroDivisionError
    assert receive._closed


# --- sending and receiving


@trio_test
async def test_points():
    send, receive = open_memory_channel(1)
    with Points() as points:
        assert await send.send(1) is None
    assert points.counted == (1, 1)
    with Points() as points:
        assert await receive.receive() == 1
    assert points.counted == (1, 1)
    counted = []

    async def receiver():
        with Points() as points:
            await receive.receive()
        counted.append(points.counted)

    async def sender():
        with Points() as points:
            await send.send(2)
        counted.append(points.counted)

    async with trio_c.open_nursery() as nursery:
        nursery.start_soon(receiver)
        await wait_all_tasks_blocked()
        with Points() as points:
            await send.send(1)
        assert points.counted == (1, 1)
    send.send_nowait(1)
    async with trio_c.open_nursery() as nursery:
        nursery.start_soon(sender)
        await wait_all_tasks_blocked()
        with Points() as points:
            assert await receive.receive() == 1
        assert points.counted == (1, 1)
    assert counted == [(2, 1), (2, 1)]
    drain(receive)
    for operation in (send.send, receive.receive):
        with Points() as points, trio_c.CancelScope() as scope:
            scope.cancel()
            await operation(*([3] if operation == send.send else []))
        assert points.counted == (2, 2)
    assert send.statistics().current_buffer_used == 0
    for end in (send, receive):
        with Points() as points:
            async with end as result:
                assert result is end
        assert points.counted == (1, 1)
        assert end._closed
        with Points() as points:
            await end.aclose()
        assert points.counted == (1, 1)
        operation = end.send(1) if end is send else end.receive()
        with Points() as points, pytest.raises(trio_c.ClosedResourceError):
            await operation
        assert points.counted == (1, 0)


@trio_test
async def test_aclose_cancelled_has_closed():
    send, _ = open_memory_channel(1)
    with Points() as points, trio_c.CancelScope() as scope:
        scope.cancel()
        await send.aclose()
    assert scope.cancelled_caught
    assert send._closed
    assert points.counted == (2, 2)


VALUES = [None, (), (1, 2), StopIteration(3), StopAsyncIteration(), ZeroDivisionError()]


@pytest.mark.parametrize("value", VALUES, ids=repr)
@trio_test
async def test_any_value_comes_through(value):
    send, receive = open_memory_channel(1)
    await send.send(value)
    assert await receive.receive() is value
    async with trio_c.open_nursery() as nursery:

        async def receiver():
            assert await receive.receive() is value
            async for got in receive:
                assert got is value
                return

        nursery.start_soon(receiver)
        await wait_all_tasks_blocked()
        await send.send(value)
        await wait_all_tasks_blocked()
        await send.send(value)


@trio_test
async def test_first_come_first_served():
    send, receive = open_memory_channel(0)
    got = []

    async def receiver(name):
        got.append((name, await receive.receive()))

    async with trio_c.open_nursery() as nursery:
        for name in "abc":
            nursery.start_soon(receiver, name)
            await wait_all_tasks_blocked()
        send.send_nowait(1)
        with pytest.raises(trio_c.WouldBlock):  # promised to the first
            receive.receive_nowait()
        send.send_nowait(2)
        send.send_nowait(3)
        with pytest.raises(trio_c.WouldBlock):
            send.send_nowait(4)
    assert sorted(got) == [("a", 1), ("b", 2), ("c", 3)]


@trio_test
async def test_waiting_senders_move_up():
    send, receive = open_memory_channel(2)
    async with trio_c.open_nursery() as nursery:
        for i in range(5):
            nursery.start_soon(send.send, i)
            await wait_all_tasks_blocked()
        assert receive.statistics().tasks_waiting_send == 3
        assert receive.receive_nowait() == 0
        assert list(receive._state.data) == [1, 2]
        with pytest.raises(trio_c.WouldBlock):
            send.send_nowait("no overtaking")
        assert drain(receive) == [1, 2, 3, 4]
    assert receive.statistics().peak_buffer_used == 2


@trio_test
async def test_unbuffered_never_buffers():
    send, receive = open_memory_channel(0)
    async with trio_c.open_nursery() as nursery:
        nursery.start_soon(send.send, 1)
        await wait_all_tasks_blocked()
        assert receive.receive_nowait() == 1
    assert receive.statistics().peak_buffer_used == 0


@trio_test
async def test_cancel_after_handover_loses_nothing():
    send, receive = open_memory_channel(0)
    got = []

    async def receiver():
        got.append(await receive.receive())

    async def sender():
        await send.send("sent")
        got.append("gone on")

    for first in (receiver, sender):
        got.clear()
        with trio_c.CancelScope() as scope:
            async with trio_c.open_nursery() as nursery:
                nursery.start_soon(first)
                await wait_all_tasks_blocked()
                if first is receiver:
                    send.send_nowait("sent")
                else:
                    assert receive.receive_nowait() == "sent"
                scope.cancel()
        assert got == (["sent"] if first is receiver else ["gone on"])


@trio_test
async def test_cancelled_waiters_leave():
    send, receive = open_memory_channel(0)
    for operation in ((send.send, 1), (receive.receive,)):
        with trio_c.CancelScope() as scope:
            async with trio_c.open_nursery() as nursery:
                for _ in range(3):
                    nursery.start_soon(*operation)
                await wait_all_tasks_blocked()
                scope.cancel()
        stats = send.statistics()
        assert (stats.tasks_waiting_send, stats.tasks_waiting_receive) == (0, 0)


@trio_test
async def test_dropped_waits_leave():
    send, receive = open_memory_channel(0)
    for make in (lambda: send.send("lost"), receive.receive, receive.__anext__):
        for end in (lambda wait: wait.close(), lambda wait: None):
            wait = make()
            wait.send(None)
            stats = send.statistics()
            assert stats.tasks_waiting_send + stats.tasks_waiting_receive == 1
            end(wait)
            del wait
            stats = send.statistics()
            assert stats.tasks_waiting_send + stats.tasks_waiting_receive == 0
    with pytest.raises(trio_c.WouldBlock):
        receive.receive_nowait()
    send.close()
    receive.close()


@trio_test
async def test_iteration():
    send, receive = open_memory_channel(3)
    with send:
        for i in range(3):
            send.send_nowait(i)
    assert aiter(receive) is receive
    assert [i async for i in receive] == [0, 1, 2]
    assert [i async for i in receive] == []
    assert await anext(receive, "default") == "default"
    with pytest.raises(StopAsyncIteration):
        await receive.__anext__()
    receive.close()
    with pytest.raises(trio_c.ClosedResourceError):
        async for _ in receive:
            pass


@trio_test
async def test_iteration_can_be_patched(monkeypatch):
    send, receive = open_memory_channel(3)
    send.send_nowait(1)
    original = trio_c.MemoryReceiveChannel.__anext__
    calls = []

    async def patched(self):
        calls.append(self)
        return await original(self)

    monkeypatch.setattr(trio_c.MemoryReceiveChannel, "__anext__", patched)
    send.close()
    assert [i async for i in receive] == [1]
    assert calls == [receive, receive]


# --- closing


async def expect(error, operation, *args):
    with pytest.raises(error):
        await operation(*args)


@trio_test
async def test_close_fails_the_handles_own_waiters_only():
    send, receive = open_memory_channel(0)
    handles = [send.clone() for _ in range(3)]
    async with trio_c.open_nursery() as nursery:
        for _ in range(3):
            for i, handle in enumerate(handles):
                if i == 1:
                    nursery.start_soon(
                        expect, trio_c.ClosedResourceError, handle.send, "never"
                    )
                else:
                    nursery.start_soon(handle.send, i)
                await wait_all_tasks_blocked()
        handles[1].close()
        assert send.statistics().tasks_waiting_send == 6
        assert drain(receive) == [0, 2, 0, 2, 0, 2]

    handles = [receive.clone() for _ in range(3)]
    got = []
    async with trio_c.open_nursery() as nursery:

        async def receiver(i):
            got.append((i, await handles[i].receive()))

        for _ in range(2):
            for i, handle in enumerate(handles):
                if i == 2:
                    nursery.start_soon(
                        expect, trio_c.ClosedResourceError, handle.receive
                    )
                else:
                    nursery.start_soon(receiver, i)
                await wait_all_tasks_blocked()
        handles[2].close()
        for i in range(4):
            send.send_nowait(i)
    assert sorted(got) == [(0, 0), (0, 2), (1, 1), (1, 3)]


@trio_test
async def test_close_of_the_last_handle_fails_the_other_end():
    send, receive = open_memory_channel(0)
    other = send.clone()
    async with trio_c.open_nursery() as nursery:
        for _ in range(3):
            nursery.start_soon(expect, trio_c.EndOfChannel, receive.receive)
        await wait_all_tasks_blocked()
        send.close()
        assert receive.statistics().tasks_waiting_receive == 3
        other.close()
        assert receive.statistics().tasks_waiting_receive == 0

    send, receive = open_memory_channel(1)
    send.send_nowait("in the way")
    async with trio_c.open_nursery() as nursery:
        for _ in range(3):
            nursery.start_soon(expect, trio_c.BrokenResourceError, send.send, 1)
        await wait_all_tasks_blocked()
        receive.close()
        assert send.statistics().current_buffer_used == 0
    # Not closed by being dropped.
    send, receive = open_memory_channel(0)
    del send
    gc.collect()
    with pytest.raises(trio_c.WouldBlock):
        receive.receive_nowait()


class Item:
    """Calls `hook` when it dies."""

    def __init__(self, hook):
        self.hook = hook

    def __del__(self):
        self.hook()


def test_dying_items_may_use_the_channel(monkeypatch):
    send, receive = open_memory_channel(math.inf)
    seen = []
    unraisable = []
    monkeypatch.setattr(
        sys, "unraisablehook", lambda info: unraisable.append(info.exc_type)
    )

    def hook():
        stats = send.statistics()
        seen.append((stats.current_buffer_used, stats.open_receive_channels))
        receive.close()
        with pytest.raises(trio_c.BrokenResourceError):
            send.send_nowait("x")
        with pytest.raises(trio_c.ClosedResourceError):
            receive.receive_nowait()
        raise ZeroDivisionError

    for _ in range(5):
        send.send_nowait(Item(hook))
    receive.close()
    assert seen == [(0, 0)] * 5
    assert unraisable == [ZeroDivisionError] * 5


def test_woken_code_may_use_the_channel():
    """Instruments run in the middle of waking."""
    send, receive = open_memory_channel(0)
    spare = receive.clone()

    class Meddler(trio_c.abc.Instrument):
        active = False
        errors = 0

        def task_scheduled(self, task):
            if not self.active:
                return
            spare.close()
            receive.close()
            try:
                send.send_nowait("x")
            except trio_c.BrokenResourceError:
                self.errors += 1

    meddler = Meddler()

    async def main():
        async with trio_c.open_nursery() as nursery:
            for _ in range(3):
                for handle in (receive, spare):
                    nursery.start_soon(
                        expect, trio_c.ClosedResourceError, handle.receive
                    )
                    await wait_all_tasks_blocked()
            meddler.active = True
            receive.close()
            meddler.active = False

    trio_c.run(main, instruments=[meddler])
    assert meddler.errors == 6
    stats = send.statistics()
    assert (stats.tasks_waiting_receive, stats.open_receive_channels) == (0, 0)


def test_from_another_thread():
    """What wakes nobody works; what would is refused and changes nothing."""
    send, receive = open_memory_channel(1)
    errors = []

    def without_waiters():
        send.send_nowait(1)
        receive.receive_nowait()

    def with_receiver():
        for call in (lambda: send.send_nowait(1), send.close, receive.close):
            try:
                call()
            except RuntimeError as exc:
                errors.append(str(exc))

    def with_sender():
        for call in (receive.receive_nowait, send.close, receive.close):
            try:
                call()
            except RuntimeError as exc:
                errors.append(str(exc))

    def in_thread(fn):
        thread = threading.Thread(target=fn)
        thread.start()
        thread.join()

    async def main():
        in_thread(without_waiters)
        async with trio_c.open_nursery() as nursery:
            nursery.start_soon(receive.receive)
            await wait_all_tasks_blocked()
            in_thread(with_receiver)
            assert not send._closed
            assert not receive._closed
            await send.send("x")
        async with trio_c.open_nursery() as nursery:
            nursery.start_soon(send.send, 1)
            nursery.start_soon(send.send, 2)
            await wait_all_tasks_blocked()
            in_thread(with_sender)
            assert sorted(drain(receive)) == [1, 2]

    trio_c.run(main)
    assert len(errors) == 6
    assert all(e.startswith("must be called from async context") for e in errors)


def test_outside_a_run():
    send, receive = open_memory_channel(1)
    for wait in (send.send(1), receive.receive(), receive.__anext__()):
        with pytest.raises(RuntimeError, match=r"^must be called from async context$"):
            wait.send(None)
    send.send_nowait(1)
    receive.close()
    send.close()


@trio_test
async def test_hundred_thousand_waiters():
    send, receive = open_memory_channel(0)
    count = 100_000
    async with trio_c.open_nursery() as nursery:
        for i in range(count):
            nursery.start_soon(send.send, i)
        await wait_all_tasks_blocked()
        assert send.statistics().tasks_waiting_send == count
        assert sorted(drain(receive)) == list(range(count))
        for _ in range(count):
            nursery.start_soon(expect, trio_c.ClosedResourceError, receive.receive)
        await wait_all_tasks_blocked()
        receive.close()


@trio_test
async def test_close_with_many_waiting_clones():
    """Closing looks for its own waiters only if it has some."""
    send, receive = open_memory_channel(0)
    clones = [send.clone() for _ in range(3000)]
    async with trio_c.open_nursery() as nursery:
        for clone in clones:
            nursery.start_soon(expect, trio_c.ClosedResourceError, clone.send, 1)
        await wait_all_tasks_blocked()
        for _ in range(100_000):
            send.clone().close()
        for clone in clones:
            clone.close()
    assert receive.statistics().open_send_channels == 1


# --- lifetime


@trio_test
async def test_channel_in_a_cycle_is_collected():
    class Node:
        pass

    node = Node()
    node.send, node.receive = open_memory_channel(3)
    node.send.send_nowait(node)
    node.receive.node = node
    gone = weakref.ref(node)
    del node
    gc.collect()
    assert gone() is None


@trio_test
async def test_suspended_send_in_a_cycle_is_collected():
    send, receive = open_memory_channel(0)

    class Value:
        pass

    value = Value()
    value.wait = send.send(value)
    value.wait.send(None)
    gone = weakref.ref(value)
    del value
    gc.collect()
    assert gone() is None
    assert send.statistics().tasks_waiting_send == 0


@trio_test
async def test_values_are_not_kept():
    class Value:
        pass

    send, receive = open_memory_channel(1)
    value = Value()
    gone = weakref.ref(value)
    await send.send(value)
    del value
    await receive.receive()
    assert gone() is None

    async with trio_c.open_nursery() as nursery:

        async def receiver():
            await receive.receive()

        nursery.start_soon(receiver)
        await wait_all_tasks_blocked()
        value = Value()
        gone = weakref.ref(value)
        send.send_nowait(value)
        del value
        await wait_all_tasks_blocked()
        assert gone() is None
