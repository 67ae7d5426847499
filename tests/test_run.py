"""The run loop, tasks and nurseries: what upstream's tests leave out."""

from __future__ import annotations

import contextvars
import gc
import sys
import threading
import time
import types
import warnings
import weakref

import pytest

import trio_c as trio
from trio_c.testing import MockClock

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator


@pytest.fixture
def unraisable(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[object]]:
    """Collects what a crashed run's tasks raise while they are dropped."""
    seen: list[object] = []
    monkeypatch.setattr(sys, "unraisablehook", lambda u: seen.append(u.exc_type))
    yield seen
    gc.collect()


def test_a_run_in_every_thread() -> None:
    results = []

    async def main(n: int) -> int:
        for _ in range(100):
            await trio.lowlevel.checkpoint()
        return n

    threads = [
        threading.Thread(target=lambda n=n: results.append(trio.run(main, n)))
        for n in range(8)
    ]
    for t in threads:
        t.start()
    for t in threads:
        t.join()
    assert sorted(results) == list(range(8))


def test_two_runs_on_one_stack_through_the_run_context() -> None:
    context = trio._core._run.GLOBAL_RUN_CONTEXT

    async def inner() -> str:
        await trio.lowlevel.checkpoint()
        return "inner"

    async def main() -> str:
        task = trio.lowlevel.current_task()
        saved = context.__dict__.copy()
        assert set(saved) == {"runner", "task"}
        context.__dict__.clear()
        assert not trio.lowlevel.in_trio_run()
        # Both runs want to be told about signals.
        with pytest.warns(RuntimeWarning, match="signal handling code"):
            result = trio.run(inner)
        context.__dict__.update(saved)
        assert trio.lowlevel.current_task() is task
        await trio.lowlevel.checkpoint()
        return result

    assert trio.run(main) == "inner"
    assert not trio.lowlevel.in_trio_run()


def test_a_crashed_run_drops_its_tasks_and_lets_go_of_everything(
    unraisable: list[object],
) -> None:
    class Thing:
        pass

    refs = []

    async def sleeper() -> None:
        thing = Thing()
        refs.append(weakref.ref(thing))
        try:
            await trio.sleep_forever()
        finally:
            await trio.lowlevel.checkpoint()

    async def main() -> None:
        async with trio.open_nursery() as nursery:
            for _ in range(3):
                nursery.start_soon(sleeper)
            await trio.lowlevel.checkpoint()
            await trio.lowlevel.checkpoint()
            with trio.CancelScope() as scope:
                scope.cancel()
                await trio.lowlevel.wait_task_rescheduled(lambda _: None)

    with pytest.raises(trio.TrioInternalError):
        trio.run(main)
    gc.collect()
    assert [ref() for ref in refs] == [None] * 3
    assert RuntimeError in unraisable  # what their last checkpoints raised
    assert not trio.lowlevel.in_trio_run()
    # and the thread is good for another run

    async def fine() -> int:
        return 1

    assert trio.run(fine) == 1


def test_waking_a_task_after_its_run_is_harmless(unraisable: list[object]) -> None:
    event = trio.Event()
    lock = trio.Lock()
    tasks = []

    async def sleeper() -> None:
        tasks.append(trio.lowlevel.current_task())
        await event.wait()

    async def main() -> None:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(sleeper)
            await trio.lowlevel.checkpoint()
            await trio.lowlevel.checkpoint()
            with trio.CancelScope() as scope:
                scope.cancel()
                await trio.lowlevel.wait_task_rescheduled(lambda _: None)

    with pytest.raises(trio.TrioInternalError):
        trio.run(main)
    event.set()
    assert repr(tasks[0]).startswith("<Task ")
    assert not lock.locked()
    with pytest.raises(RuntimeError):
        trio.lowlevel.reschedule(tasks[0])


def test_rescheduling_the_wrong_task() -> None:
    async def main() -> None:
        task = trio.lowlevel.current_task()
        async with trio.open_nursery() as nursery:
            nursery.start_soon(trio.sleep_forever)
            (child,) = nursery.child_tasks
            with pytest.raises(AssertionError):
                trio.lowlevel.reschedule(child)  # it is ready already
            with pytest.raises(TypeError):
                trio.lowlevel.reschedule("task")
            nursery.cancel_scope.cancel()
        with pytest.raises(AssertionError):
            trio.lowlevel.reschedule(child)  # it has ended
        assert trio.lowlevel.current_task() is task

    trio.run(main)


def test_a_native_awaitable_as_the_root_of_a_task() -> None:
    async def main() -> None:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(trio.sleep, 0)
            (task,) = nursery.child_tasks
            assert task.name == "trio_c.sleep"
            assert list(task.iter_await_frames()) == []

    assert trio.run(trio.sleep, 0) is None
    trio.run(main)


def test_never_awaited_and_awaited_twice() -> None:
    with pytest.warns(RuntimeWarning, match="coroutine 'sleep' was never awaited"):
        trio.sleep(1)
        gc.collect()

    async def main() -> None:
        sleeping = trio.sleep(0)
        await sleeping
        with pytest.raises(RuntimeError, match="cannot reuse already awaited"):
            await sleeping
        unused = trio.sleep(0)
        unused.close()
        with pytest.raises(RuntimeError, match="cannot reuse already awaited"):
            await unused

    with warnings.catch_warnings():
        warnings.simplefilter("error")
        trio.run(main)


def test_a_wait_closed_by_hand_forgets_the_task() -> None:
    async def main() -> None:
        event = trio.Event()
        waiting = event.wait()
        assert waiting.send(None) is waiting
        assert event.statistics().tasks_waiting == 1
        waiting.close()
        assert event.statistics().tasks_waiting == 0
        sleeping = trio.sleep(1000)
        sleeping.send(None)
        assert trio.lowlevel.current_statistics().seconds_to_next_deadline < 1001
        sleeping.close()
        stats = trio.lowlevel.current_statistics()
        assert stats.seconds_to_next_deadline == float("inf")
        await trio.lowlevel.checkpoint()

    trio.run(main)


def test_a_foreign_yield_fails_at_the_await() -> None:
    @types.coroutine
    def foreign():  # type: ignore[no-untyped-def]
        return (yield 42)

    async def main() -> None:
        with pytest.raises(TypeError, match="unrecognized yield message 42"):
            await foreign()
        await trio.lowlevel.checkpoint()

    trio.run(main)


def test_an_awaitable_yielded_by_a_stranger_is_foreign() -> None:
    @types.coroutine
    def yields(what):  # type: ignore[no-untyped-def]
        return (yield what)

    async def main() -> None:
        fresh = trio.sleep(0)
        with pytest.raises(TypeError, match="unrecognized yield message"):
            await yields(fresh)
        await fresh

    trio.run(main)


def test_the_context_of_a_task_is_read_anew_for_each_step() -> None:
    var = contextvars.ContextVar("var", default="old")

    async def main() -> None:
        other = contextvars.copy_context()
        other.run(var.set, "new")
        trio.lowlevel.current_task().context = other
        assert var.get() == "old"
        await trio.lowlevel.checkpoint()
        assert var.get() == "new"

    trio.run(main)


def test_a_callback_queued_from_outside_runs_within_two_checkpoints() -> None:
    async def main() -> None:
        token = trio.lowlevel.current_trio_token()
        for _ in range(200):
            ran: list[int] = []
            token.run_sync_soon(ran.append, 1)
            await trio.lowlevel.checkpoint()
            await trio.lowlevel.checkpoint()
            assert ran

    trio.run(main)


def test_a_deadline_in_the_past_is_seen_at_the_next_checkpoint() -> None:
    async def main() -> None:
        for _ in range(200):
            with trio.CancelScope() as scope:
                scope.deadline = -1e9
                await trio.lowlevel.checkpoint()
                raise AssertionError("not reached")
            assert scope.cancelled_caught

    trio.run(main)


@pytest.mark.parametrize("quick_ones", range(4))
def test_a_step_longer_than_the_time_left_is_noticed_after_it(quick_ones: int) -> None:
    """However far away the deadline was before, and the clock not looked at."""

    async def main() -> None:
        for _ in range(100 + 2 * quick_ones):
            await trio.lowlevel.checkpoint()
        with trio.move_on_after(1.1) as scope:
            for _ in range(quick_ones):
                await trio.lowlevel.checkpoint()
            time.sleep(1.11)
            await trio.lowlevel.checkpoint()
            raise AssertionError("not reached")
        assert scope.cancelled_caught

    trio.run(main)


def test_autojump_runs_a_long_program_in_no_time() -> None:
    async def main() -> float:
        start = trio.current_time()
        async with trio.open_nursery() as nursery:
            for n in range(100):
                nursery.start_soon(trio.sleep, n * 3600)
        return trio.current_time() - start

    assert trio.run(main, clock=MockClock(autojump_threshold=0)) == 99 * 3600


def test_a_clock_that_is_none() -> None:
    async def main() -> None:
        pass

    with pytest.raises(trio.TrioInternalError) as info:
        trio.run(main, clock=object())
    assert isinstance(info.value.__cause__, AttributeError)
    trio.run(main)


def test_overridden_nursery_methods_are_honoured() -> None:
    seen = []

    async def failing() -> None:
        raise KeyError("kept to itself")

    async def main() -> None:
        async with trio.open_nursery() as nursery:
            nursery._add_exc = lambda exc, reason=None: seen.append(exc)
            nursery.start_soon(failing)
            await trio.lowlevel.checkpoint()
            await trio.lowlevel.checkpoint()
            assert not nursery.cancel_scope.cancel_called

    trio.run(main)
    assert [type(exc) for exc in seen] == [KeyError]


def test_a_repr_that_raises_ends_the_run(unraisable: list[object]) -> None:
    class Odd(Exception):
        def __repr__(self) -> str:
            raise ZeroDivisionError

    async def failing() -> None:
        raise Odd

    async def main() -> None:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(failing)

    # As upstream: the reason of the cancellation cannot be worded, which is
    # an error inside the run loop.
    with pytest.raises(trio.TrioInternalError):
        trio.run(main)


def test_start_moves_the_child_and_its_scopes() -> None:
    async def child(*, task_status: trio.TaskStatus[int]) -> None:
        with trio.CancelScope() as scope:
            task = trio.lowlevel.current_task()
            assert task.eventual_parent_nursery is target[0]
            assert task.parent_nursery is not target[0]
            task_status.started(7)
            assert task.parent_nursery is target[0]
            assert task.eventual_parent_nursery is None
            with pytest.raises(RuntimeError, match="called 'started' twice"):
                task_status.started()
            await trio.sleep_forever()
        assert not scope.cancelled_caught

    target: list[trio.Nursery] = []

    async def main() -> None:
        async with trio.open_nursery() as nursery:
            target.append(nursery)
            assert await nursery.start(child) == 7
            nursery.cancel_scope.cancel()

    trio.run(main)
    target.clear()


def test_loose_groups_collapse_and_warn() -> None:
    async def failing() -> None:
        raise KeyError

    async def main() -> None:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(failing)

    with pytest.warns(trio.TrioDeprecationWarning) as record, pytest.raises(KeyError):
        trio.run(main, strict_exception_groups=False)
    assert record[0].filename == __file__


def test_the_shared_random_orders_batches_when_asked_to() -> None:
    run_module = trio._core._run
    order: list[int] = []

    async def note(n: int) -> None:
        order.append(n)

    async def main() -> list[int]:
        order.clear()
        async with trio.open_nursery() as nursery:
            for n in range(20):
                nursery.start_soon(note, n)
        return list(order)

    run_module._ALLOW_DETERMINISTIC_SCHEDULING = True
    try:
        state = run_module._r.getstate()
        first = trio.run(main)
        run_module._r.setstate(state)
        assert trio.run(main) == first
        run_module._r.seed(1)
        second = trio.run(main)
        assert first != second  # one chance in 20!
    finally:
        run_module._ALLOW_DETERMINISTIC_SCHEDULING = False
    assert not trio._native._get_deterministic()


def test_a_task_spawned_into_a_closed_nursery() -> None:
    async def main() -> None:
        async with trio.open_nursery() as nursery:
            pass
        with pytest.raises(RuntimeError, match="Nursery is closed to new arrivals"):
            nursery.start_soon(trio.sleep, 0)
        with pytest.raises(RuntimeError, match="Nursery is closed to new arrivals"):
            await nursery.start(trio.sleep)

    trio.run(main)


def test_memory_of_a_sleeping_task() -> None:
    import tracemalloc

    # Bytes that a task costs must not depend on how many there are.
    async def main() -> tuple[float, float]:
        costs = []
        async with trio.open_nursery() as nursery:
            for _ in range(2000):  # takes all that was kept for reuse
                nursery.start_soon(trio.sleep_forever)
            for count in (1000, 10_000):
                tracemalloc.start()
                for _ in range(count):
                    nursery.start_soon(trio.sleep_forever)
                await trio.lowlevel.checkpoint()
                costs.append(tracemalloc.get_traced_memory()[0] / count)
                tracemalloc.stop()
            nursery.cancel_scope.cancel()
        return costs[0], costs[1]

    small, large = trio.run(main)
    assert large < 1.5 * small
