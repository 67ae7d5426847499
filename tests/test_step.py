"""What is kept from one step to the next: awaitables, results, the pass itself."""

from __future__ import annotations

import contextvars
import copy
import gc
import os
import pickle
import statistics
import time
import tracemalloc
import weakref

import pytest

import trio_c as trio
from trio_c import lowlevel


def received(value):
    """A receive() that has its value and is one step from returning it."""
    send, receive = trio.open_memory_channel(1)
    send.send_nowait(value)
    return receive.receive()


async def finish(awaitable):
    """Drive it by hand to its StopIteration."""
    message = next(awaitable)
    assert message is awaitable
    await lowlevel.checkpoint()
    with pytest.raises(StopIteration) as info:
        next(awaitable)
    return info.value


class Thing:
    pass


@pytest.mark.parametrize("value", [5, (1, 2), (), "text"])
def test_a_result_looks_like_any_StopIteration(value):
    async def main():
        return await finish(received(value))

    stop = trio.run(main)
    plain = StopIteration(value)
    assert isinstance(stop, StopIteration)
    assert type(stop).__name__ == "StopIteration"
    assert stop.value == value
    assert stop.args == (value,)
    assert repr(stop) == repr(plain)
    assert str(stop) == str(plain)
    for other in (copy.copy(stop), pickle.loads(pickle.dumps(stop))):
        assert type(other) is StopIteration
        assert other.value == value
        assert other.args == (value,)


def test_a_result_that_is_kept_is_not_used_again():
    async def main():
        first = await finish(received(1))
        assert await received(2) == 2
        second = await finish(received(3))
        assert first is not second
        assert (first.value, second.value) == (1, 3)
        first.add_note("mine")
        first.args = (7,)
        assert first.args == (7,)
        del first
        third = await finish(received(4))
        assert third.args == (4,)
        assert not hasattr(third, "__notes__")
        assert third.__context__ is None

    trio.run(main)


def test_no_result_is_held_on_to():
    async def main():
        thing = Thing()
        ref = weakref.ref(thing)
        assert await received(thing) is thing
        del thing
        assert ref() is None

    trio.run(main)


def test_an_awaitable_somebody_found_is_not_used_again():
    async def main():
        waiting = lowlevel.checkpoint()
        kind = type(waiting)
        await waiting
        del waiting
        every = [o for o in gc.get_objects() if type(o) is kind]
        found = [o for o in every if o.cr_frame is None]
        assert found
        for o in found:
            with pytest.raises(RuntimeError, match="^cannot reuse"):
                o.send(None)
        fresh = [lowlevel.checkpoint() for _ in range(len(found) + 1)]
        assert not {id(o) for o in found} & {id(o) for o in fresh}
        for o in fresh:
            await o

    trio.run(main)


def test_a_kept_awaitable_was_allocated_where_it_is_used_again():
    """`Never awaited` shows it, while tracemalloc is on."""

    def earlier():
        return trio.sleep(0)

    def later():
        return trio.sleep(0)

    tracemalloc.start()
    try:
        for each in [earlier() for _ in range(1000)]:
            each.close()
        del each
        waiting = later()
        traceback = tracemalloc.get_object_traceback(waiting)
    finally:
        tracemalloc.stop()
    waiting.close()
    assert traceback[-1].lineno == later.__code__.co_firstlineno + 1


def test_a_lone_task_sees_its_new_context_after_the_next_checkpoint():
    var = contextvars.ContextVar("var", default="old")

    async def main():
        for _ in range(20):
            await lowlevel.checkpoint()
        context = contextvars.copy_context()
        context.run(var.set, "new")
        lowlevel.current_task().context = context
        assert var.get() == "old"
        await lowlevel.checkpoint()
        assert var.get() == "new"
        await lowlevel.checkpoint()
        assert var.get() == "new"

    trio.run(main)


def test_a_lone_task_loses_its_sleep_data_at_each_checkpoint():
    async def main():
        task = lowlevel.current_task()
        for i in range(20):
            task.custom_sleep_data = i
            await lowlevel.checkpoint()
            assert task.custom_sleep_data is None

    trio.run(main)


def test_a_lone_task_is_seen_by_an_instrument_added_on_the_way():
    steps = []

    class Watch(trio.abc.Instrument):
        def before_task_step(self, task):
            steps.append("before")

        def after_task_step(self, task):
            steps.append("after")

    async def main():
        for _ in range(20):
            await lowlevel.checkpoint()
        watch = Watch()
        lowlevel.add_instrument(watch)
        for _ in range(3):
            await lowlevel.checkpoint()
        lowlevel.remove_instrument(watch)
        await lowlevel.checkpoint()

    trio.run(main)
    assert steps == ["after"] + ["before", "after"] * 2 + ["before"]


def test_deadlines_and_jobs_reach_a_lone_task_at_its_next_checkpoint():
    async def main():
        for _ in range(200):
            with trio.CancelScope() as scope:
                await lowlevel.checkpoint()
                scope.deadline = -float("inf")
                await lowlevel.checkpoint()
                pytest.fail("not cancelled")
            assert scope.cancelled_caught
            seen = []
            lowlevel.current_trio_token().run_sync_soon(seen.append, 1)
            await lowlevel.checkpoint()
            await lowlevel.checkpoint()
            assert seen == [1]

    trio.run(main)


@pytest.mark.skipif(os.name == "nt", reason="there only sockets are waited for")
def test_a_lone_task_does_not_keep_the_loop_from_polling():
    """Data is there for others as soon as beside two tasks.

    In time, since it is time that decides when a busy loop polls; by turns, as
    the machine is not equally fast all the while.
    """

    async def delays(reader, writer, n_others):
        seen = 0
        delays = []

        async def read():
            nonlocal seen
            while True:
                await reader.recv(1)
                seen += 1

        async def spin():
            while True:
                await lowlevel.checkpoint()

        async with trio.open_nursery() as nursery:
            nursery.start_soon(read)
            for _ in range(n_others):
                nursery.start_soon(spin)
            for i in range(30):
                for _ in range(100):
                    await lowlevel.checkpoint()
                assert seen == i
                start = time.perf_counter()
                os.write(writer.fileno(), b"x")
                while seen == i:
                    await lowlevel.checkpoint()
                delays.append(time.perf_counter() - start)
            nursery.cancel_scope.cancel()
        return delays

    async def main():
        beside, alone = [], []
        reader, writer = trio.socket.socketpair()
        with reader, writer:
            for _ in range(10):
                beside += await delays(reader, writer, 1)
                alone += await delays(reader, writer, 0)
        alone, beside = statistics.median(alone), statistics.median(beside)
        assert alone < 10 * beside, (alone, beside)

    trio.run(main)


def test_outside_its_steps_no_task_is_current():
    seen = []

    class Clock(trio.abc.Clock):
        def start_clock(self):
            pass

        def current_time(self):
            seen.append(lowlevel.in_trio_task())
            return 0.0

        def deadline_to_sleep_time(self, deadline):
            return 0.0

    async def child():
        await lowlevel.checkpoint()

    async def main():
        async with trio.open_nursery() as nursery:
            for _ in range(3):
                nursery.start_soon(child)
        for _ in range(5):
            await lowlevel.checkpoint()

    trio.run(main, clock=Clock())
    assert seen
    assert not any(seen)
