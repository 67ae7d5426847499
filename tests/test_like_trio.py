"""What the differential tests found (tests/differential/), as plain tests.

Each was different from Trio once. docs/reliability.md tells more.
"""

from __future__ import annotations

import random
from typing import Any

import pytest
from _points import Points

import trio_c as trio
from trio_c import lowlevel, testing
from trio_c.abc import Instrument


def test_a_seed_gives_the_order_that_it_gives_on_trio(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    from trio_c._core import _run

    ran: list[int] = []

    async def child(number: int) -> None:
        ran.append(number)

    async def main() -> None:
        async with trio.open_nursery() as nursery:
            for number in range(6):
                nursery.start_soon(child, number)
            # The coming batch is the children alone: main waits for them.
            _run._r.seed(12)

    monkeypatch.setattr(_run, "_ALLOW_DETERMINISTIC_SCHEDULING", True)
    trio.run(main)
    expected = list(range(6))
    random.Random(12).shuffle(expected)
    assert ran == expected[::-1]  # taken from the end


# --- errors that hide what they come from


@testing.trio_test
async def test_errors_of_lookups_hide_what_is_being_handled() -> None:
    var = lowlevel.RunVar("var")
    sender, receiver = trio.open_memory_channel(1)
    sender.close()
    for kind, provoke in (
        (LookupError, var.get),
        (
            RuntimeError,
            lambda: lowlevel.remove_parking_lot_breaker(
                lowlevel.current_task(), lowlevel.ParkingLot()
            ),
        ),
    ):
        with pytest.raises(kind) as caught:
            try:
                raise KeyError("being handled")
            except KeyError:
                provoke()
        assert caught.value.__suppress_context__
        assert caught.value.__cause__ is None
    with pytest.raises(StopAsyncIteration) as ended:
        await receiver.__anext__()
    assert ended.value.__suppress_context__


def test_errors_of_variables_outside_of_a_run_hide_what_is_being_handled() -> None:
    for provoke in (
        lowlevel.RunVar("var").get,
        trio.to_thread.current_default_thread_limiter,
    ):
        with pytest.raises(RuntimeError, match="outside of a run") as caught:
            provoke()
        assert caught.value.__suppress_context__


# --- sleeping is sleeping in a scope of one's own


class WhenScheduled(Instrument):
    """Calls a function when a task with that name becomes ready."""

    def __init__(self, name: str, function: Any) -> None:
        self.name = name
        self.function = function

    def task_scheduled(self, task: lowlevel.Task) -> None:
        if task.name == self.name:
            self.function()


@testing.trio_test
async def test_points_of_a_sleep_that_is_over_before_it_begins() -> None:
    with trio.CancelScope() as scope:
        with Points() as points:
            await trio.sleep_until(trio.current_time() - 1)
        assert points.counted == (1, 1)
        scope.cancel("the outer reason")
        with pytest.raises(trio.Cancelled) as caught:
            with Points() as points:
                await trio.sleep_until(trio.current_time() - 1)
        assert points.counted == (1, 1)
        assert (caught.value.source, caught.value.reason) == ("deadline", None)


@pytest.mark.parametrize("when", ["before the wake-up", "after the wake-up"])
def test_a_sleep_that_is_over_when_it_is_cancelled_says_so(when: str) -> None:
    seen: list[trio.Cancelled] = []
    scope = trio.CancelScope()

    async def sleeper() -> None:
        with scope:
            try:
                await trio.sleep(1)
            except trio.Cancelled as error:
                seen.append(error)
                raise

    async def main() -> None:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(sleeper, name="sleeper")
            await testing.wait_all_tasks_blocked()
            clock.jump(1)
            if when == "before the wake-up":
                scope.cancel("too late")
            else:
                lowlevel.add_instrument(
                    WhenScheduled("sleeper", lambda: scope.cancel("too late"))
                )
                await testing.wait_all_tasks_blocked()

    clock = testing.MockClock()
    trio.run(main, clock=clock)
    assert scope.cancelled_caught
    assert [(error.source, error.reason) for error in seen] == [("deadline", None)]


def test_the_deadline_of_a_cancelled_sleep_counts_until_the_task_has_seen_it() -> None:
    async def main() -> None:
        def next_deadline() -> float:
            return lowlevel.current_statistics().seconds_to_next_deadline

        async with trio.open_nursery() as nursery:
            nursery.start_soon(trio.sleep, 8)
            await testing.wait_all_tasks_blocked()
            assert next_deadline() == 8
            nursery.cancel_scope.cancel()
            assert next_deadline() == 8
            for _ in range(2):
                await lowlevel.cancel_shielded_checkpoint()
            assert next_deadline() == float("inf")
            # A second ring would find nobody.
            clock.jump(9)
            await lowlevel.cancel_shielded_checkpoint()

    clock = testing.MockClock()
    trio.run(main, clock=clock)


def test_a_sleep_swallows_its_cancelled_if_its_surroundings_are_lost() -> None:
    async def sleeper() -> str:
        await trio.sleep(1000)
        ended.append("normally")
        return "slept"

    async def leaves_its_nursery() -> None:
        with trio.CancelScope():
            nursery = await trio.open_nursery().__aenter__()
            nursery.start_soon(sleeper)
            await testing.wait_all_tasks_blocked()

    ended: list[str] = []

    async def main() -> None:
        with pytest.raises(ExceptionGroup) as caught:
            async with trio.open_nursery() as outer:
                outer.start_soon(leaves_its_nursery)
        assert "stack corrupted" in str(caught.value.exceptions[0])

    trio.run(main, clock=testing.MockClock(autojump_threshold=0))
    assert ended == ["normally"]


# --- the entry queue's task


class QueueTask(Instrument):
    """Counts the steps of the entry queue's task."""

    steps = 0

    def before_task_step(self, task: lowlevel.Task) -> None:
        self.steps += task.name == "<TrioToken.run_sync_soon task>"


@testing.trio_test
async def test_jobs_that_queue_jobs() -> None:
    points: list[tuple[int, int]] = []

    def job(more: int) -> None:
        task = lowlevel.current_task()
        points.append((task._cancel_points, task._schedule_points))
        if more:
            token.run_sync_soon(job, more - 1)

    await testing.wait_all_tasks_blocked()
    token = lowlevel.current_trio_token()
    counter = QueueTask()
    lowlevel.add_instrument(counter)
    token.run_sync_soon(job, 1)
    await testing.wait_all_tasks_blocked()
    # In between there is a checkpoint, which is a cancel point, too.
    (cancels, schedules), second = points
    assert second == (cancels + 1, schedules + 1)
    # And after them a wake-up for the second one, which finds nothing.
    assert counter.steps == 3


@testing.trio_test
async def test_an_idempotent_job_that_is_queued_again_wakes_the_task_again() -> None:
    def again() -> None:
        token.run_sync_soon(ran.append, "once", idempotent=True)

    ran: list[str] = []
    await testing.wait_all_tasks_blocked()
    token = lowlevel.current_trio_token()
    counter = QueueTask()
    lowlevel.add_instrument(counter)
    token.run_sync_soon(again)
    again()
    await testing.wait_all_tasks_blocked()
    assert ran == ["once"]
    assert counter.steps == 2


# --- deadlines that nobody has looked at yet


def run_with_clock(main: Any) -> None:
    clock = testing.MockClock()
    trio.run(main, clock, clock=clock)


def test_changing_a_shield_notices_a_deadline() -> None:
    async def main(clock: testing.MockClock) -> None:
        with trio.CancelScope(deadline=1) as scope:
            clock.jump(2)
            assert trio.current_effective_deadline() == 1
            scope.shield = False
            assert trio.current_effective_deadline() == -float("inf")

    run_with_clock(main)


def test_cancelling_notices_the_deadlines_inside() -> None:
    async def main(clock: testing.MockClock) -> None:
        with trio.CancelScope() as outer:
            with trio.CancelScope(deadline=1, shield=True) as shielded:
                with trio.CancelScope(deadline=1) as inner:
                    clock.jump(2)
                    outer.cancel("from outside")
                    with pytest.raises(
                        trio.Cancelled, match="^cancelled due to deadline"
                    ):
                        await lowlevel.checkpoint()
            assert shielded.cancel_called
            assert inner.cancel_called

        with trio.CancelScope() as outer:
            with trio.CancelScope(deadline=3):
                clock.jump(2)
                outer.cancel("from outside")
                with pytest.raises(trio.Cancelled, match="^cancelled due to deadline"):
                    await lowlevel.checkpoint()

    run_with_clock(main)


# --- shields that go up while a cancellation is on its way


@pytest.mark.parametrize("waits", ["checkpoint", "checkpoint_if_cancelled"])
def test_a_cancellation_that_is_withdrawn_while_it_is_delivered(waits: str) -> None:
    """Between the step in which a checkpoint sees it and the one that raises."""
    ended: list[str] = []
    scope = trio.CancelScope()
    rounds = iter(range(100))

    async def waiter() -> None:
        with scope:
            try:
                await getattr(lowlevel, waits)()
                ended.append("returned")
            except BaseException as error:
                ended.append(type(error).__name__)

    def shield_the_second_time() -> None:
        # Scheduled: when spawned, after its schedule point, with the Cancelled.
        if next(rounds) == 2:
            scope.shield = True

    async def main() -> None:
        with trio.CancelScope() as outer:
            outer.cancel()
            with trio.CancelScope(shield=True):
                async with trio.open_nursery() as nursery:
                    nursery.cancel_scope.cancel()
                    lowlevel.add_instrument(
                        WhenScheduled("waiter", shield_the_second_time)
                    )
                    nursery.start_soon(waiter, name="waiter")

    trio.run(main)
    expected = "returned" if waits == "checkpoint" else "AssertionError"
    assert ended == [expected]


def test_a_scope_left_open_is_cancelled_with_the_nursery_in_it() -> None:
    seen: list[float] = []

    async def child() -> None:
        seen.append(trio.current_effective_deadline())

    async def careless() -> None:
        with trio.CancelScope():
            trio.CancelScope(shield=True).__enter__()
            nursery = await trio.open_nursery().__aenter__()
            nursery.start_soon(child)

    async def main() -> None:
        with pytest.raises(ExceptionGroup):
            async with trio.open_nursery() as outer:
                outer.start_soon(careless)

    trio.run(main)
    assert seen == [-float("inf")]


@pytest.mark.parametrize("lost", ["before", "meanwhile"])
def test_a_checkpoint_swallows_its_cancelled_if_its_surroundings_are_lost(
    lost: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Between the step in which it sees the cancellation and the one that
    raises."""
    from trio_c._core import _run

    async def some_steps(count: int) -> None:
        for _ in range(count):
            await lowlevel.cancel_shielded_checkpoint()

    async def child() -> None:
        if lost == "before":
            await some_steps(4)
        try:
            await lowlevel.checkpoint()
            ended.append("normally")
        except trio.Cancelled as error:
            ended.append(error.source)

    async def careless(steps: int) -> None:
        with trio.CancelScope() as scope:
            nursery = await trio.open_nursery().__aenter__()
            scope.cancel()
            nursery.start_soon(child)
            await some_steps(steps)

    async def main(steps: int) -> None:
        with pytest.raises(ExceptionGroup):
            async with trio.open_nursery() as outer:
                outer.start_soon(careless, steps)
                await some_steps(9)

    ended: list[str] = []
    monkeypatch.setattr(_run, "_ALLOW_DETERMINISTIC_SCHEDULING", True)
    for steps in range(5):
        _run._r.seed(3)
        trio.run(main, steps)
    assert ended.count("normally") == (lost == "meanwhile")
    assert ended.count("explicit") == 5 - (lost == "meanwhile")


# --- small things


def test_a_relative_deadline_that_is_changed_stays_what_was_given() -> None:
    scope = trio.CancelScope(relative_deadline=3)
    scope.relative_deadline += 1
    assert repr(scope.relative_deadline) == "4"
    scope = trio.CancelScope(deadline=3)
    scope.deadline += 1
    assert repr(scope.deadline) == "4.0"


@testing.trio_test
async def test_points_of_sending_nothing_when_cancelled() -> None:
    left, right = (trio.SocketStream(end) for end in trio.socket.socketpair())
    async with left, right:
        with trio.CancelScope() as scope:
            scope.cancel()
            with Points() as points:
                with pytest.raises(trio.Cancelled):
                    await left.send_all(b"")
        assert points.counted == (2, 2)
        with Points() as points:
            await left.send_all(b"")
        assert points.counted == (1, 1)
        await left.send_all(b"something")


class Fails(Instrument):
    """In one hook."""

    def __init__(self, hook: str) -> None:
        def fail(*arguments: object) -> None:
            raise KeyError(hook)

        setattr(self, hook, fail)


@pytest.mark.parametrize("hook", ["after_run", "task_spawned"])
def test_an_instrument_that_fails_beside_an_error(
    hook: str, caplog: pytest.LogCaptureFixture
) -> None:
    """What is being handled then is the context of its own error."""

    def fail() -> None:
        lowlevel.add_instrument(Fails(hook))
        raise ValueError("a job fails")

    async def main() -> None:
        lowlevel.current_trio_token().run_sync_soon(fail)
        await trio.sleep_forever()

    with pytest.raises(trio.TrioInternalError) as caught:
        trio.run(main)
    (record,) = caplog.records
    assert record.exc_info
    error = record.exc_info[1]
    assert isinstance(error, KeyError)
    if hook == "after_run":
        assert error.__context__ is caught.value
    else:
        assert isinstance(error.__context__, ValueError)
