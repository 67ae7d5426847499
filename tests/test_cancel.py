"""Cancel scopes: what upstream's tests leave out, and sizes beyond theirs."""

from __future__ import annotations

import contextvars
import copy
import gc
import math
import pickle
import sys
import weakref

import pytest

import trio_c as trio


def test_a_tree_5000_deep_is_cancelled_without_recursion() -> None:
    async def main() -> None:
        scopes = []
        with trio.CancelScope() as outer:
            for _ in range(5000):
                scope = trio.CancelScope()
                scope.__enter__()
                scopes.append(scope)
            outer.cancel("from the top")
            assert all(s._cancel_status.effectively_cancelled for s in scopes)
            with pytest.raises(trio.Cancelled, match="from the top"):
                await trio.lowlevel.checkpoint()
            while scopes:
                scopes.pop().__exit__(None, None, None)

    trio.run(main)


def test_an_abandoned_stack_of_scopes_dies_without_recursion() -> None:
    async def child() -> None:
        for _ in range(50_000):
            trio.CancelScope().__enter__()

    # A task may end inside scopes that it entered: nobody complains, as they
    # are all dropped together.
    async def quiet() -> None:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(child)

    trio.run(quiet)


def test_100_000_siblings_are_cancelled() -> None:
    ended = 0

    async def sleeper() -> None:
        nonlocal ended
        try:
            await trio.sleep_forever()
        finally:
            ended += 1

    async def main() -> None:
        async with trio.open_nursery() as nursery:
            for _ in range(100_000):
                nursery.start_soon(sleeper)
            await trio.lowlevel.checkpoint()
            assert len(nursery.child_tasks) == 100_000
            nursery.cancel_scope.cancel()

    trio.run(main)
    assert ended == 100_000


def test_100_000_sibling_scopes_are_cancelled_by_the_one_around_them() -> None:
    caught = 0

    async def sleeper() -> None:
        nonlocal caught
        with trio.CancelScope() as scope:
            await trio.sleep_forever()
        caught += scope.cancelled_caught

    async def main() -> None:
        async with trio.open_nursery() as nursery:
            for _ in range(100_000):
                nursery.start_soon(sleeper)
            await trio.lowlevel.checkpoint()
            nursery.cancel_scope.cancel()

    trio.run(main)
    assert caught == 0  # the nursery's scope catches them all


def test_deadlines_are_removed_exactly() -> None:
    async def main() -> None:
        stats = trio.lowlevel.current_statistics
        assert stats().seconds_to_next_deadline == math.inf
        with trio.move_on_after(1000) as far:
            with trio.move_on_after(10):
                await trio.lowlevel.checkpoint()
                assert 9 < stats().seconds_to_next_deadline <= 10
            assert 999 < stats().seconds_to_next_deadline <= 1000
            for _ in range(10_000):
                far.deadline += 1
            assert 10_999 < stats().seconds_to_next_deadline <= 11_000
            far.deadline = math.inf
            assert stats().seconds_to_next_deadline == math.inf
            far.relative_deadline = 5
            far.cancel()
            assert stats().seconds_to_next_deadline == math.inf

    trio.run(main)


def test_a_scope_left_before_its_deadline_is_not_kept_alive() -> None:
    async def main() -> weakref.ref[trio.CancelScope]:
        with trio.move_on_after(1000) as scope:
            await trio.lowlevel.checkpoint()
        return weakref.ref(scope)

    ref = trio.run(main)
    assert ref() is None


def test_the_first_reason_sticks_and_reaches_inner_scopes() -> None:
    async def main() -> None:
        with trio.CancelScope() as outer, trio.CancelScope() as inner:
            outer.cancel("first")
            inner.cancel("second")
            with pytest.raises(trio.Cancelled) as info:
                await trio.lowlevel.checkpoint()
            assert info.value.reason == "first"
            assert info.value.source == "explicit"
            assert "main" in info.value.source_task

    trio.run(main)


def test_the_context_is_that_of_the_cancelled_task() -> None:
    # CS-10: not what the canceller happens to be handling.
    async def victim(seen: list[BaseException]) -> None:
        try:
            await trio.sleep_forever()
        except trio.Cancelled as exc:
            seen.append(exc)
            raise

    async def main() -> None:
        seen: list[BaseException] = []
        async with trio.open_nursery() as nursery:
            nursery.start_soon(victim, seen)
            await trio.testing.wait_all_tasks_blocked()
            try:
                raise KeyError("unrelated")
            except KeyError:
                nursery.cancel_scope.cancel()
        assert seen[0].__context__ is None

    trio.run(main)


def test_an_abort_function_may_change_the_tree_it_is_called_from() -> None:
    order: list[str] = []

    async def first(scope: trio.CancelScope, nursery: trio.Nursery) -> None:
        def abort(_: object) -> trio.lowlevel.Abort:
            order.append("abort")
            nursery.start_soon(spawned)
            scope.shield = True
            return trio.lowlevel.Abort.SUCCEEDED

        await trio.lowlevel.wait_task_rescheduled(abort)

    async def spawned() -> None:
        try:
            await trio.lowlevel.checkpoint()
        except trio.Cancelled:
            order.append("spawned cancelled")
            raise

    async def shielded(scopes: list[trio.CancelScope]) -> None:
        with trio.CancelScope() as scope:
            scopes.append(scope)
            await trio.sleep(0.01)
            order.append("shielded ended")

    async def main() -> None:
        scopes: list[trio.CancelScope] = []
        async with trio.open_nursery() as nursery:
            nursery.start_soon(shielded, scopes)
            while not scopes:
                await trio.lowlevel.checkpoint()
            nursery.start_soon(first, scopes[0], nursery)
            await trio.lowlevel.checkpoint()
            await trio.lowlevel.checkpoint()
            await trio.lowlevel.checkpoint()
            nursery.cancel_scope.cancel()

    trio.run(main)
    assert order[0] == "abort"
    assert "spawned cancelled" in order


def test_an_error_in_an_abort_function_goes_to_whoever_cancelled() -> None:
    async def sleeper() -> None:
        def abort(_: object) -> trio.lowlevel.Abort:
            raise ValueError("no")

        await trio.lowlevel.wait_task_rescheduled(abort)

    async def main() -> None:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(sleeper)
            await trio.testing.wait_all_tasks_blocked()
            (task,) = nursery.child_tasks
            with pytest.raises(ValueError, match="no"):
                nursery.cancel_scope.cancel()
            # still asleep, and still to be woken by somebody
            trio.lowlevel.reschedule(task)

    trio.run(main)


def test_a_wrong_answer_of_an_abort_function(monkeypatch: pytest.MonkeyPatch) -> None:
    # A crashed run drops its tasks, which is not without noise.
    monkeypatch.setattr(sys, "unraisablehook", lambda _: None)

    async def main() -> None:
        with trio.CancelScope() as scope:
            scope.cancel()
            await trio.lowlevel.wait_task_rescheduled(lambda _: True)

    with pytest.raises(trio.TrioInternalError) as info:
        trio.run(main)
    assert "abort function must return Abort enum" in str(info.value)
    del info
    gc.collect()


def test_leaving_a_scope_twice_or_from_elsewhere() -> None:
    async def main() -> None:
        scope = trio.CancelScope()
        with pytest.raises(RuntimeError, match="already been exited"):
            scope.__exit__(None, None, None)
        with scope:
            pass
        error = KeyError()
        with pytest.raises(RuntimeError, match="already been exited") as info:
            scope.__exit__(KeyError, error, None)
        assert info.value.__context__ is error
        with pytest.raises(RuntimeError, match="single 'with' block"):
            scope.__enter__()

    trio.run(main)


@pytest.mark.parametrize("attribute", ["deadline", "relative_deadline", "shield"])
def test_attributes_cannot_be_deleted(attribute: str) -> None:
    with pytest.raises(AttributeError):
        delattr(trio.CancelScope(), attribute)


def test_arguments_are_shown_as_given_until_assigned() -> None:
    scope = trio.CancelScope(deadline=7, shield="yes")
    assert type(scope.deadline) is int
    assert scope.shield == "yes"
    scope.deadline = 8
    assert type(scope.deadline) is float
    assert scope.shield == "yes"
    with pytest.raises(TypeError, match="shield must be a bool"):
        scope.shield = 1


def test_outside_a_run() -> None:
    scope = trio.CancelScope()
    with pytest.raises(RuntimeError, match="must be called from async context"):
        scope.cancel_called  # noqa: B018
    with pytest.raises(RuntimeError, match="must be called from async context"):
        scope.__enter__()
    scope.cancel()
    assert scope.cancel_called

    async def main() -> bool:
        with scope:
            await trio.sleep_forever()
        return scope.cancelled_caught

    # Entering failed before it counted as use.
    assert trio.run(main)


def test_cancelled_survives_pickling_and_copying() -> None:
    exc = trio.Cancelled._create(source="explicit", source_task="t", reason="r")
    for other in (pickle.loads(pickle.dumps(exc)), copy.copy(exc)):
        assert (other.source, other.source_task, other.reason) == ("explicit", "t", "r")
        assert other is not exc


def test_cancellation_leaves_no_cycles() -> None:
    async def main() -> int:
        gc.collect()
        for _ in range(10):
            with trio.move_on_after(0):
                await trio.sleep_forever()
            async with trio.open_nursery() as nursery:
                nursery.start_soon(trio.sleep_forever)
                nursery.cancel_scope.cancel()
        return gc.collect()

    assert trio.run(main) == 0


def test_attributes_show_what_was_given() -> None:
    """Also where it is no float, or no bool, and whatever else is assigned."""

    class Number(float):
        pass

    when = Number(5)
    scope = trio.CancelScope(deadline=when, shield=1)  # type: ignore[arg-type]
    assert scope.deadline is when
    assert scope.shield == 1 and type(scope.shield) is int
    twin = copy.copy(scope)
    assert twin.deadline is when and type(twin.shield) is int
    scope.shield = False
    assert scope.shield is False and scope.deadline is when
    scope.deadline = 7
    assert type(scope.deadline) is float and scope.shield is False

    after = trio.move_on_after(10, shield=1)  # type: ignore[arg-type]
    assert type(after.relative_deadline) is int and type(after.shield) is int
    after.relative_deadline = 3
    assert type(after.relative_deadline) is int and type(after.shield) is int

    async def main() -> None:
        with after:
            assert after.deadline == pytest.approx(trio.current_time() + 3, abs=1)
            assert after.relative_deadline <= 3
            assert type(after.shield) is int

    trio.run(main)
    assert trio.CancelScope(deadline=True).deadline is True  # type: ignore[arg-type]
    assert trio.CancelScope(shield=0.0).shield == 0.0  # type: ignore[arg-type]


def test_reason_of_the_first_failure() -> None:
    """It stays, however many exceptions come after it."""

    async def fail() -> None:
        raise ValueError("first")

    async def main() -> None:
        with pytest.raises(ExceptionGroup):
            async with trio.open_nursery() as nursery:
                for _ in range(3):
                    nursery.start_soon(trio.sleep_forever)
                nursery.start_soon(fail)
        reason = nursery.cancel_scope._cancel_reason  # type: ignore[attr-defined]
        assert reason.source == "nursery"
        assert reason.reason == "child task raised exception ValueError('first')"

    trio.run(main)


def test_a_context_that_is_entered_already() -> None:
    """The error comes at once, not when the task is to run."""
    context = contextvars.copy_context()

    async def nothing() -> None:
        pass

    async def main() -> None:
        def spawn() -> None:
            trio.lowlevel.spawn_system_task(nothing, context=context)

        with pytest.raises(RuntimeError, match="already entered"):
            context.run(spawn)

    trio.run(main)


class Labelled:
    def __init__(self, text):
        self.text = text

    def __repr__(self):
        return f"<{self.text}>"


@pytest.mark.parametrize("name", [None, "by hand", Labelled("an object")])
def test_source_task_is_what_the_task_was_called_then(name):
    """The text is made when it is asked for, and says what it said before."""
    seen = []

    async def canceller(scope):
        task = trio.lowlevel.current_task()
        if name is not None:
            task.name = name
        seen.append(repr(task) if name is not None else hex(id(task)))
        scope.cancel("enough")
        task.name = "something else"
        if isinstance(name, Labelled):
            name.text = "another"

    async def main():
        async with trio.open_nursery() as nursery:
            nursery.start_soon(canceller, nursery.cancel_scope)
            try:
                await trio.sleep_forever()
            except trio.Cancelled as exc:
                seen.append(exc)
                raise

    trio.run(main)
    said, exc = seen
    if name is None:
        said = (
            "<Task 'test_cancel.test_source_task_is_what_the_task_was_called_then"
            f".<locals>.canceller' at {said}>"
        )
    assert exc.source_task == said
    assert (
        str(exc) == f"cancelled due to explicit with reason 'enough' from task {said}"
    )
    assert pickle.loads(pickle.dumps(exc)).source_task == said
    exc.source_task = "assigned"
    assert repr(exc) == (
        "Cancelled(source='explicit', source_task='assigned', reason='enough')"
    )
    del exc.source_task
    assert exc.source_task is None


def test_reprs_of_what_changes_meanwhile():
    async def main():
        with trio.CancelScope() as scope:
            scope.cancel(Labelled("a reason"))
            await trio.sleep_forever()
        return scope._cancel_reason

    class Changing:
        def __repr__(self):
            reason.source_task = None
            reason.reason = None
            return "changing"

    reason = trio.run(main)
    task = reason.source_task
    reason.source_task = task + "."  # nobody else has this one
    reason.source = Changing()
    assert repr(reason) == (
        f"CancelReason(source=changing, source_task={task + '.'!r}, reason=<a reason>)"
    )
    assert reason.source_task is reason.reason is None
