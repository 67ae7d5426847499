"""Ways in which the run loop was once made to crash, hang or lose its footing."""

from __future__ import annotations

import copy
import gc
import pickle
import weakref

import pytest
from _processes import in_child

import trio_c as trio
from trio_c import testing

# --- waits ------------------------------------------------------------------


def test_wait_without_abort_function_is_never_cancelled() -> None:
    async def main() -> None:
        tasks = []

        async def sleeper() -> None:
            tasks.append(trio.lowlevel.current_task())
            await trio.lowlevel.wait_task_rescheduled(None)

        async with trio.open_nursery() as nursery:
            nursery.start_soon(sleeper)
            await testing.wait_all_tasks_blocked()
            try:
                nursery.cancel_scope.cancel()
            finally:
                trio.lowlevel.reschedule(tasks[0])

    trio.run(main)


def test_sleep_resumed_by_hand_leaves_the_timers() -> None:
    out = in_child(
        """
        import gc, trio_c as trio
        from trio_c.testing import MockClock

        async def main():
            for _ in range(50):
                aw = trio.sleep(5)
                aw.send(None)
                try:
                    aw.send(None)
                except RuntimeError:
                    pass
            del aw
            trash = [trio.lowlevel.checkpoint() for _ in range(300)]
            for aw in trash:
                await aw
            await trio.sleep(10)
            print(round(trio.current_time(), 3))

        trio.run(main, clock=MockClock(autojump_threshold=0))
        """
    )
    assert out == "10.0\n"


def test_task_in_abort_function_is_closed_and_woken() -> None:
    out = in_child(
        """
        import trio_c as trio

        async def main():
            async with trio.open_nursery() as nursery:
                async def sleeper():
                    task = trio.lowlevel.current_task()
                    def abort(_):
                        trio.lowlevel.reschedule(task)
                        task.coro.close()
                        return trio.lowlevel.Abort.FAILED
                    await trio.lowlevel.wait_task_rescheduled(abort)
                nursery.start_soon(sleeper)
                await trio.testing.wait_all_tasks_blocked()
                nursery.cancel_scope.cancel()

        import trio_c.testing
        try:
            trio.run(main)
        except BaseExceptionGroup as exc:
            print(exc.exceptions[0])
        """
    )
    assert "cannot reuse already awaited coroutine" in out


# --- what a finished or finishing task may do ---------------------------------


@pytest.mark.parametrize(
    "call",
    [
        "trio.lowlevel.checkpoint_if_cancelled().send(None)",
        "trio.Event().wait().send(None)",
        "trio.Lock().acquire().send(None)",
        "trio.open_memory_channel(0)[1].receive().send(None)",
        "trio.sleep(1).send(None)",
        "(lambda c: (c.send(None), c.send(None)))(trio.lowlevel.checkpoint())",
        "(lambda c: (c.send(None), c.send(None)))(trio.sleep(1))",
        "trio.CancelScope().__enter__()",
        "trio.current_effective_deadline()",
    ],
)
def test_awaiting_by_hand_in_a_task_that_has_ended(call: str) -> None:
    out = in_child(
        f"""
        import trio_c as trio

        class Instrument(trio.abc.Instrument):
            def task_exited(self, task):
                if task.name.endswith("main"):
                    try:
                        {call}
                    except BaseException as exc:
                        pass

        async def main():
            await trio.lowlevel.checkpoint()

        trio.run(main, instruments=[Instrument()])
        print("done")
        """
    )
    assert out == "done\n"


def test_rescheduled_while_its_nurseries_are_abandoned() -> None:
    """The ready queue has room for living tasks only."""
    out = in_child(
        """
        import trio_c as trio

        async def main():
            async with trio.open_nursery() as nursery:
                for _ in range(11):
                    nursery.start_soon(busy)
                nursery.start_soon(bad)

        async def busy():
            for _ in range(30):
                await trio.lowlevel.checkpoint()

        async def bad():
            me = trio.lowlevel.current_task()
            manager = trio.open_nursery()
            inner = await manager.__aenter__()

            async def child():
                def abort(_):
                    trio.lowlevel.reschedule(me)
                    return trio.lowlevel.Abort.SUCCEEDED
                await trio.lowlevel.wait_task_rescheduled(abort)

            inner.start_soon(child)
            for _ in range(5):
                await trio.lowlevel.checkpoint()

        try:
            trio.run(main)
        except trio.TrioInternalError as exc:
            print(exc)
        """
    )
    assert "also scheduled" in out


def test_deleted_attributes() -> None:
    out = in_child(
        """
        import trio_c as trio

        async def main():
            with trio.move_on_after(0) as scope:
                try:
                    del scope.cancelled_caught
                except AttributeError:
                    pass
                await trio.lowlevel.checkpoint()
            with trio.fail_after(5) as scope:
                try:
                    del scope.cancelled_caught
                except AttributeError:
                    pass
            task = trio.lowlevel.current_task()
            for name in ("coro", "context"):
                try:
                    delattr(task, name)
                except AttributeError:
                    pass
            try:
                scope._cancel_reason = 5
            except TypeError:
                pass
            scope = trio.CancelScope()
            try:
                scope._cancel_reason = "because"
            except TypeError:
                pass
            with scope:
                scope.cancel()
                await trio.lowlevel.checkpoint()
            print("done")

        trio.run(main)
        """
    )
    assert out == "done\n"


# --- after a crash -------------------------------------------------------------


def test_scopes_of_a_crashed_run_are_changed_later() -> None:
    """A scope whose run is over leaves the run's heap before it dies."""
    out = in_child(
        """
        import gc, trio_c as trio

        scopes, keep = [], []

        async def sleeper(i):
            scope = trio.CancelScope(deadline=trio.current_time() + 1000 + i)
            scopes.append(scope)
            with scope:
                keep.append(trio.lowlevel.current_task())
                await trio.sleep_forever()

        async def main():
            async with trio.open_nursery() as nursery:
                for i in range(50):
                    nursery.start_soon(sleeper, i)
                for _ in range(5):
                    await trio.lowlevel.checkpoint()
                trio.lowlevel.current_task()._schedule_points = "no number"
                await trio.lowlevel.checkpoint()

        import sys
        sys.unraisablehook = lambda _: None
        try:
            trio.run(main)
        except trio.TrioInternalError:
            print("crashed")
        runner = keep[0]._runner
        half = scopes[::2]
        for scope in half:
            scope.cancel()
        for scope in half:
            scope.deadline = 5
        keep.clear()
        del scopes[::2], half, scope
        gc.collect()
        junk = [bytearray(200) for _ in range(10000)]
        scopes.clear()
        gc.collect()
        del runner
        gc.collect()
        """
    )
    assert out == "crashed\n"


def test_crash_without_a_runner_slot_unpublishes_the_task() -> None:
    out = in_child(
        """
        import trio_c as trio

        async def main():
            trio.lowlevel.current_task()._schedule_points = "no number"
            del trio._core._run.GLOBAL_RUN_CONTEXT.__dict__["runner"]
            await trio.lowlevel.cancel_shielded_checkpoint()

        try:
            trio.run(main)
        except trio.TrioInternalError:
            print(trio.lowlevel.in_trio_task())
        """
    )
    assert out == "False\n"


# --- re-entrancy -----------------------------------------------------------------


def test_guest_tick_inside_a_tick() -> None:
    out = in_child(
        """
        import queue, trio_c as trio

        todo = queue.Queue()
        ticks = []

        def soon(fn):
            ticks.append(fn)
            todo.put(fn)

        results = []

        async def main():
            try:
                ticks[0]()
            except ValueError as exc:
                print(exc)
            await trio.lowlevel.checkpoint()
            return "result"

        trio.lowlevel.start_guest_run(
            main, run_sync_soon_threadsafe=soon, done_callback=results.append)
        while not results:
            todo.get()()
        print(results[0].unwrap())
        """
    )
    assert out.splitlines() == ["the run loop is running already", "result"]


def test_children_view_of_a_status_during_garbage_collection() -> None:
    out = in_child(
        """
        import gc, trio_c as trio

        async def main():
            scopes = []
            with trio.CancelScope() as outer:
                status = outer._cancel_status
                inner = trio.CancelScope()
                inner.__enter__()

                class Trash:
                    def __del__(self):
                        inner.__exit__(None, None, None)

                gc.disable()
                trash = Trash()
                trash.me = trash
                del trash
                gc.set_threshold(1)
                gc.enable()
                print(len(status.children) <= 1)
                gc.set_threshold(700)
                gc.collect()

        trio.run(main)
        """
    )
    assert out == "True\n"


def test_table_of_lot_breakers_during_garbage_collection() -> None:
    out = in_child(
        """
        import gc, trio_c as trio
        from trio_c import lowlevel
        from trio_c._core._parking_lot import GLOBAL_PARKING_LOT_BREAKER as table

        async def main():
            task = lowlevel.current_task()
            for threshold in range(1, 12):
                lots = [lowlevel.ParkingLot() for _ in range(4)]
                for lot in lots:
                    lowlevel.add_parking_lot_breaker(task, lot)
                locks = [trio.Lock() for _ in range(4)]
                for lock in locks:
                    lock.acquire_nowait()

                class Trash:
                    def __del__(self):
                        for lot in lots:
                            lowlevel.remove_parking_lot_breaker(task, lot)
                        for lock in locks:
                            lock.release()

                gc.disable()
                gc.collect()
                trash = Trash()
                trash.me = trash
                del trash
                gc.set_threshold(gc.get_count()[0] + threshold)
                gc.enable()
                shown = table.get(task, [])
                gc.set_threshold(700)
                assert len(shown) in (0, 8), shown
                gc.collect()
                assert task not in table

        trio.run(main)
        print("done")
        """
    )
    assert out == "done\n"


def test_failing_task_spawned_hook_does_not_lose_the_task() -> None:
    """A hook whose failure gets out leaves no task that never runs."""

    class Instrument(trio.abc.Instrument):
        armed = False

        def task_spawned(self, task: trio.lowlevel.Task) -> None:
            if self.armed:
                trio.lowlevel.remove_instrument(self)
                raise ValueError

    instrument = Instrument()
    ran = []

    async def child() -> None:
        ran.append(True)

    async def main() -> None:
        async with trio.open_nursery() as nursery:
            instrument.armed = True
            with pytest.raises(KeyError):
                nursery.start_soon(child)

    trio.run(main, instruments=[instrument])
    assert ran


def test_name_that_changes_itself_while_shown() -> None:
    async def main() -> str:
        task = trio.lowlevel.current_task()

        class Name:
            def __repr__(self) -> str:
                task.name = "other"
                return "Name"

        task.name = Name()
        return repr(task)

    assert trio.run(main).startswith("<Task Name at")


# --- equality with upstream --------------------------------------------------------


def test_cancelled_can_be_weakly_referenced() -> None:
    exc = trio.Cancelled._create(source="deadline")
    ref = weakref.ref(exc)
    assert ref() is exc
    exc.extra = 1
    assert exc.__dict__ == {"extra": 1}
    del exc
    gc.collect()
    assert ref() is None


def test_scope_is_copied_with_its_state() -> None:
    scope = trio.CancelScope(deadline=5, shield=True)
    scope.cancel("because")
    for twin in (
        copy.copy(scope),
        copy.deepcopy(scope),
        pickle.loads(pickle.dumps(scope)),
    ):
        assert twin is not scope
        assert twin.deadline == 5
        assert twin.shield is True
        assert twin.cancel_called
        assert twin._cancel_reason.reason == "because"
        assert not twin.cancelled_caught
    relative = copy.copy(trio.CancelScope(relative_deadline=7))
    assert relative.is_relative
    assert relative.relative_deadline == 7


def test_no_run_error_tells_what_was_missing() -> None:
    with pytest.raises(RuntimeError) as info:
        trio.current_time()
    assert info.value.__suppress_context__
    assert isinstance(info.value.__context__, AttributeError)


def test_repr_of_a_scope_with_a_far_deadline() -> None:
    async def main() -> str:
        with trio.CancelScope(deadline=1e300) as scope:
            return repr(scope)

    assert trio.run(main).endswith("seconds from now>")


def test_sleep_that_somebody_reschedules() -> None:
    async def main() -> None:
        trio.lowlevel.reschedule(trio.lowlevel.current_task())
        with pytest.raises(RuntimeError, match="never have been rescheduled"):
            await trio.sleep(1000)

    trio.run(main)


@pytest.mark.parametrize("call", ["lowlevel.checkpoint", "sleep"])
def test_checkpoint_driven_by_hand_outside_a_run(call: str) -> None:
    aw = trio.sleep(0) if call == "sleep" else trio.lowlevel.checkpoint()
    aw.send(None)
    with pytest.raises(RuntimeError, match="must be called from async"):
        aw.send(None)


def test_start_out_of_memory() -> None:
    # One allocation fails, at every point of start() and of started() in turn.
    testcapi = pytest.importorskip("_testcapi", reason="needs CPython's own tests")

    async def child(task_status: trio.TaskStatus[None]) -> None:
        task_status.started()

    async def main() -> None:
        failures = 0
        async with trio.open_nursery() as nursery:
            for n in range(40):
                call = nursery.start(child)
                testcapi.set_nomemory(n, n + 1)
                try:
                    await call
                except MemoryError:
                    failures += 1
                finally:
                    testcapi.remove_mem_hooks()
                assert nursery.parent_task.child_nurseries == [nursery]
                assert not nursery.cancel_scope.cancel_called
        assert failures

    trio.run(main)


def test_weak_references_to_an_awaitable_die_with_it() -> None:
    died: list[object] = []
    for _ in range(3):  # also for one whose block is used again
        awaitable = trio.lowlevel.checkpoint()
        awaitable.close()
        ref = weakref.ref(awaitable, died.append)
        del awaitable
        assert ref() is None
        assert died.pop() is ref
