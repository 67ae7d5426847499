"""to_thread and from_thread: what upstream's tests do not reach."""

from __future__ import annotations

import contextvars
import gc
import os
import signal
import sys
import sysconfig
import threading
import time
import weakref
from functools import partial

import pytest
from _processes import press_ctrl_c

import trio_c
from trio_c import from_thread, lowlevel, to_thread
from trio_c.testing import (
    active_thread_count,
    trio_test,
    wait_all_tasks_blocked,
    wait_all_threads_completed,
)

PACKAGE = os.path.dirname(trio_c.__file__)


def package_frames():
    """Names of the package's functions on this thread's stack."""
    frame = sys._getframe(1)
    names = []
    while frame is not None:
        if frame.f_code.co_filename.startswith(PACKAGE):
            names.append(frame.f_code.co_name)
        frame = frame.f_back
    return names


# --- arguments


def test_calling_checks_the_shape_of_the_call_only():
    for call in (
        lambda: to_thread.run_sync(),
        lambda: to_thread.run_sync(int, cancelled=True),
        lambda: from_thread.run(),
        lambda: from_thread.run_sync(token=None),
        lambda: from_thread.check_cancelled(1),
    ):
        with pytest.raises(TypeError):
            call()
    coro = to_thread.run_sync(5, limiter=6)
    coro.close()
    with pytest.raises(RuntimeError, match="outside of a run context$"):
        to_thread.current_default_thread_limiter()
    with pytest.raises(RuntimeError, match="outside of a run context$"):
        active_thread_count()


def test_foreign_threads_need_a_token():
    message = "^this thread wasn't created by Trio, pass kwarg trio_token=...$"
    for function in (from_thread.run, from_thread.run_sync):
        with pytest.raises(RuntimeError, match=message):
            function(int)
        with pytest.raises(RuntimeError, match="is not of type TrioToken$"):
            function(int, trio_token=1)


@trio_test
async def test_wrong_functions():
    async def afn():
        raise AssertionError("never runs")

    with pytest.raises(TypeError, match="^Trio expected a sync function, but '.*afn'"):
        await to_thread.run_sync(afn)
    with pytest.raises(TypeError, match="^Trio expected a sync function, but 'sleep'"):
        await to_thread.run_sync(trio_c.sleep, 1)
    with pytest.raises(TypeError, match="^Trio expected a synchronous function, but"):
        await to_thread.run_sync(from_thread.run_sync, trio_c.sleep, 1)
    with pytest.raises(TypeError, match="appears to be synchronous"):
        await to_thread.run_sync(from_thread.run, int)
    with pytest.raises(TypeError, match="not callable"):
        await to_thread.run_sync(5)
    assert to_thread.current_default_thread_limiter().borrowed_tokens == 0
    assert active_thread_count() == 0


# --- the native path


@trio_test
async def test_no_frame_of_the_package_in_between():
    assert await to_thread.run_sync(package_frames) == []
    here = package_frames()  # of @trio_test
    assert await to_thread.run_sync(from_thread.run_sync, package_frames) == here

    async def asked():
        await lowlevel.checkpoint()
        return package_frames()

    assert await to_thread.run_sync(from_thread.run, asked) == here


@trio_test
async def test_no_python_function_of_the_package_is_called():
    called = []

    def profile(frame, event, arg):
        if event == "call" and frame.f_code.co_filename.startswith(PACKAGE):
            called.append(frame.f_code.co_qualname)

    def work():
        from_thread.run_sync(int)
        from_thread.run(lowlevel.checkpoint)
        from_thread.check_cancelled()

    await to_thread.run_sync(work)  # now all is imported, and a thread waits
    threading.setprofile(profile)
    sys.setprofile(profile)
    try:
        await to_thread.run_sync(work)
    finally:
        sys.setprofile(None)
        threading.setprofile(None)
    assert called == []


@trio_test
async def test_points():
    task = lowlevel.current_task()
    limiter = trio_c.CapacityLimiter(1)
    await to_thread.run_sync(int, limiter=limiter)
    before = task._cancel_points, task._schedule_points
    await to_thread.run_sync(int, limiter=limiter)
    after = task._cancel_points, task._schedule_points
    # On entry, in the limiter, and waiting for the thread.
    assert (after[0] - before[0], after[1] - before[1]) == (3, 2)


@trio_test
async def test_nothing_left_for_the_collector():
    def fail():
        from_thread.run_sync(int)
        from_thread.run(lowlevel.checkpoint)
        raise ValueError

    async def all_ways():
        await to_thread.run_sync(int)
        with pytest.raises(ValueError):
            await to_thread.run_sync(fail)
        with trio_c.move_on_after(0):
            await to_thread.run_sync(int)

    await all_ways()
    gc.collect()
    gc.disable()
    gc.set_debug(gc.DEBUG_SAVEALL)
    try:
        await all_ways()
        gc.collect()
        assert [
            thing for thing in gc.garbage if "trio_c" in type(thing).__module__
        ] == []
    finally:
        gc.set_debug(0)
        gc.garbage.clear()
        gc.enable()


# --- the job


@trio_test
async def test_error_keeps_its_context_and_is_kept_by_nobody():
    def fail():
        try:
            raise KeyError("inner")
        except KeyError:
            raise ValueError("outer")  # noqa: B904  we look at its context

    with pytest.raises(ValueError) as info:
        await to_thread.run_sync(fail)
    assert type(info.value.__context__) is KeyError
    exc = info.value
    del info
    exc.__traceback__ = exc.__context__ = None
    referrers = gc.get_referrers(exc)
    # From 3.14 on a running coroutine shows its local variables.
    ourselves = trio_c.lowlevel.current_task().coro
    assert [r for r in referrers if r is not ourselves] == []


@trio_test
async def test_stop_iteration_is_not_taken_for_a_result():
    with pytest.raises(RuntimeError, match="^coroutine raised StopIteration$") as info:
        await to_thread.run_sync(next, iter(()))
    assert isinstance(info.value.__cause__, StopIteration)
    assert info.value.__context__ is info.value.__cause__
    for call in (lowlevel.checkpoint(), to_thread.run_sync(int)):
        with pytest.raises(RuntimeError, match="^coroutine raised StopIteration$"):
            call.throw(StopIteration(1))

    with pytest.raises(StopAsyncIteration):

        def stop():
            raise StopAsyncIteration

        await to_thread.run_sync(stop)


@trio_test
async def test_borrower_has_a_name():
    borrowers = []

    class Limiter:
        async def acquire_on_behalf_of(self, borrower):
            borrowers.append(borrower)

        def release_on_behalf_of(self, borrower):
            assert borrower is borrowers[-1]

    for _ in range(2):
        await to_thread.run_sync(int, limiter=Limiter())
    first, second = borrowers
    assert first.name.startswith("trio.to_thread.run_sync-")
    assert repr(second) == f"ThreadPlaceholder(name={second.name!r})"
    assert first.name != second.name
    assert hash(first) != hash(second)


@trio_test
async def test_limiter_that_gives_nothing_to_await():
    class Limiter:
        def __init__(self, result):
            self.result = result

        def acquire_on_behalf_of(self, borrower):
            return self.result

    for result, text in [
        (None, "object NoneType can't be used in 'await' expression"),
        (iter(()), "object tuple_iterator can't be used in 'await' expression"),
    ]:
        with pytest.raises(TypeError, match=text):
            await to_thread.run_sync(int, limiter=Limiter(result))
    with pytest.raises(AttributeError, match="acquire_on_behalf_of"):
        await to_thread.run_sync(int, limiter=5)

    class Awaitable:
        def __await__(self):
            yield from lowlevel.checkpoint().__await__()
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        await to_thread.run_sync(int, limiter=Limiter(Awaitable()))
    assert active_thread_count() == 0


@trio_test
async def test_default_limiter_is_the_runs_own():
    limiter = to_thread.current_default_thread_limiter()
    assert limiter is to_thread.current_default_thread_limiter()
    assert limiter.total_tokens == 40

    async def other():
        return to_thread.current_default_thread_limiter()

    assert await to_thread.run_sync(trio_c.run, other) is not limiter
    if not sysconfig.get_config_var("Py_GIL_DISABLED"):  # there it is the run's
        during = await to_thread.run_sync(lambda: limiter.borrowed_tokens)
        assert during == 1
    assert limiter.borrowed_tokens == 0


@trio_test
async def test_thread_names_of_all_kinds():
    def names():
        return threading.current_thread().name

    assert await to_thread.run_sync(names, thread_name="mine") == "mine"
    assert await to_thread.run_sync(names, thread_name=5) == "5"
    lowlevel.current_task().name = "renamed"
    assert await to_thread.run_sync(names) == "names from renamed"
    assert await to_thread.run_sync(partial(names)) == "None from renamed"

    class Strange:
        @property
        def __name__(self):
            raise ZeroDivisionError

        def __call__(self):
            raise AssertionError("never runs")

    with pytest.raises(ZeroDivisionError):
        await to_thread.run_sync(Strange())


@trio_test
async def test_abandoned_function_finishes_and_gives_its_token_back():
    limiter = trio_c.CapacityLimiter(1)
    go_on = threading.Event()

    class Argument:
        pass

    argument = Argument()
    ref = weakref.ref(argument)

    def work(_):
        assert go_on.wait(30)
        raise ValueError("nobody sees this")

    with trio_c.move_on_after(0.05) as scope:
        await to_thread.run_sync(
            work, argument, abandon_on_cancel=True, limiter=limiter
        )
    assert scope.cancelled_caught
    assert active_thread_count() == 0
    assert limiter.borrowed_tokens == 1
    del argument
    go_on.set()
    async with limiter:
        pass
    await wait_all_tasks_blocked()
    gc.collect()
    assert ref() is None


def test_abandoned_function_asks_a_run_that_has_ended():
    asked = threading.Event()
    answers = []
    finished = threading.Event()

    def work():
        assert asked.wait(30)
        for call in (
            partial(from_thread.run_sync, int),
            partial(from_thread.run, trio_c.sleep, 0),
        ):
            try:
                call()
            except trio_c.RunFinishedError as exc:
                answers.append(str(exc))
        finished.set()

    async def main():
        with trio_c.move_on_after(0.05):
            await to_thread.run_sync(work, abandon_on_cancel=True)

    trio_c.run(main)
    asked.set()
    assert finished.wait(30)
    assert answers == ["run() has exited"] * 2


def test_limiter_does_not_keep_the_run_of_an_abandoned_function():
    limiter = trio_c.CapacityLimiter(2)
    release = threading.Event()

    async def main():
        with trio_c.CancelScope() as scope:
            lowlevel.current_trio_token().run_sync_soon(scope.cancel)
            await to_thread.run_sync(
                release.wait, abandon_on_cancel=True, limiter=limiter
            )
        return weakref.ref(lowlevel.current_trio_token())

    runs_token = trio_c.run(main)
    release.set()
    for _ in range(1000):
        gc.collect()
        if runs_token() is None:
            break
        time.sleep(0.01)
    assert runs_token() is None
    # As with upstream, nobody has given the token back: the run is over.
    assert limiter.borrowed_tokens == 1


@trio_test
async def test_call_that_is_closed_by_hand():
    """Whoever drives a coroutine may drop it, thread or not."""
    go_on = threading.Event()
    answers = []

    def work():
        assert go_on.wait(30)
        try:
            from_thread.run_sync(answers.append, "not called")
        except trio_c.RunFinishedError as exc:
            answers.append(str(exc))
        answers.append("finished")

    limiter = trio_c.CapacityLimiter(1)
    coro = to_thread.run_sync(work, limiter=limiter)
    while active_thread_count() == 0:
        coro.send(None)
    assert limiter.borrowed_tokens == 1
    coro.close()
    assert active_thread_count() == 0
    go_on.set()
    async with limiter:
        assert answers == [
            "the task that waited for this thread has stopped waiting",
            "finished",
        ]


@trio_test
async def test_message_of_a_stranger():
    started = trio_c.Event()
    go_on = threading.Event()
    errors = []

    def work():
        from_thread.run_sync(started.set)
        go_on.wait(30)

    async def call():
        with pytest.raises(TypeError) as info:
            await to_thread.run_sync(work, limiter=limiter)
        errors.append(str(info.value))

    limiter = trio_c.CapacityLimiter(1)
    async with trio_c.open_nursery() as nursery:
        nursery.start_soon(call)
        await started.wait()
        await wait_all_tasks_blocked()
        (task,) = nursery.child_tasks
        lowlevel.reschedule(task)
    assert errors == [
        "trio.to_thread.run_sync received unrecognized thread message None."
    ]
    go_on.set()
    async with limiter:
        pass


# --- requests


@trio_test
async def test_requests_run_in_the_threads_context():
    var = contextvars.ContextVar("var", default="default")
    task = lowlevel.current_task()
    own = task.context

    async def asked(raises):
        seen = [var.get()]
        var.set("set by the request")
        await lowlevel.checkpoint()
        seen.append(var.get())
        if raises:
            raise ValueError(seen)
        return seen

    def work():
        var.set("set by the thread")
        assert from_thread.run(asked, False)[0] == "set by the thread"
        with pytest.raises(ValueError) as info:
            from_thread.run(asked, True)
        assert info.value.args == (["set by the thread", "set by the request"],)
        assert from_thread.run_sync(var.get) == "set by the thread"
        return var.get()

    var.set("set by the task")
    assert await to_thread.run_sync(work) == "set by the thread"
    assert var.get() == "set by the task"
    assert task.context is own


@trio_test
async def test_request_is_cancelled_with_its_task():
    record = []
    context = lowlevel.current_task().context

    async def asked():
        try:
            await trio_c.sleep_forever()
        except trio_c.Cancelled:
            record.append("cancelled")
            raise

    def work():
        for _ in range(2):
            try:
                from_thread.run(asked)
            except trio_c.Cancelled:
                record.append("told")
        try:
            from_thread.check_cancelled()
        except trio_c.Cancelled:
            record.append("checked")
        return "done"

    with trio_c.move_on_after(0.05) as scope:
        record.append(await to_thread.run_sync(work))
    assert record == ["cancelled", "told"] * 2 + ["checked", "done"]
    assert not scope.cancelled_caught
    assert lowlevel.current_task().context is context


@trio_test
async def test_thread_that_asks_very_often_under_a_cancelled_call():
    def work():
        while True:
            try:
                from_thread.check_cancelled()
            except trio_c.Cancelled as exc:
                first = str(exc)
                break
            from_thread.run_sync(int)
        for _ in range(300):
            from_thread.run_sync(int)
        with pytest.raises(trio_c.Cancelled) as info:
            from_thread.check_cancelled()
        return first, str(info.value)

    with trio_c.CancelScope() as scope:
        async with trio_c.open_nursery() as nursery:

            @nursery.start_soon
            async def cancel():
                await wait_all_tasks_blocked()
                scope.cancel("enough")

            with trio_c.CancelScope(shield=False):
                first, last = await to_thread.run_sync(work)
                assert first == last
                assert "with reason 'enough'" in first


def test_requests_of_a_run_that_breaks_down_are_answered(monkeypatch):
    # What is left of the run complains when it is collected, and may.
    monkeypatch.setattr(sys, "unraisablehook", lambda args: None)
    answers = []
    serving = set()
    finished = threading.Event()

    class Breaker:
        def before_io_wait(self, timeout):
            if len(serving) == 2:
                lowlevel.remove_instrument(self)
                raise ValueError("no forgiveness for this")

    async def never():
        serving.add(lowlevel.current_task().name)
        await trio_c.sleep_forever()

    def work():
        try:
            from_thread.run(never)
        except BaseException as exc:
            answers.append(type(exc))
        finished.set()

    def work_with_token(token):
        try:
            from_thread.run(never, trio_token=token)
        except BaseException as exc:
            answers.append(type(exc))

    threads = []

    async def main():
        token = lowlevel.current_trio_token()
        threads.append(threading.Thread(target=work_with_token, args=(token,)))
        threads[0].start()
        await to_thread.run_sync(work)

    with pytest.raises(trio_c.TrioInternalError):
        trio_c.run(main, instruments=[Breaker()])
    threads[0].join(30)
    assert not threads[0].is_alive()
    assert finished.wait(30)
    assert answers == [trio_c.RunFinishedError] * 2
    gc.collect()


def break_down(main, ready):
    """A run of main that breaks down when it next waits after `ready()`."""

    class Breaker:
        def before_io_wait(self, timeout):
            if ready():
                lowlevel.remove_instrument(self)
                raise ValueError("no forgiveness for this")

    with pytest.raises(trio_c.TrioInternalError):
        trio_c.run(main, instruments=[Breaker()])


def test_coroutine_of_a_request_is_closed_after_its_run(monkeypatch):
    monkeypatch.setattr(sys, "unraisablehook", lambda args: None)
    kept = []
    answers = []

    async def never():
        kept.append(lowlevel.current_task().coro)
        await trio_c.sleep_forever()

    def ask(token):
        try:
            from_thread.run(never, trio_token=token)
        except trio_c.RunFinishedError as exc:
            answers.append(str(exc))

    async def main():
        thread = threading.Thread(target=ask, args=[lowlevel.current_trio_token()])
        kept.append(thread)
        thread.start()
        await trio_c.sleep_forever()

    break_down(main, lambda: len(kept) == 2)
    thread, coro = kept
    # Answered already: what becomes of the coroutine is no second answer.
    coro.close()
    thread.join(30)
    assert answers == ["run() has exited"]
    kept.clear()
    del coro
    gc.collect()


def test_call_that_outlives_its_run_counts_in_no_other(monkeypatch):
    monkeypatch.setattr(sys, "unraisablehook", lambda args: None)
    go_on = threading.Event()
    kept = []

    async def main():
        kept.append(to_thread.run_sync(go_on.wait, 30))
        await kept[0]

    break_down(main, lambda: bool(kept))

    async def later():
        async with trio_c.open_nursery() as nursery:
            nursery.start_soon(to_thread.run_sync, go_on.wait, 30)
            await wait_all_tasks_blocked()
            assert active_thread_count() == 1
            kept.pop().close()
            assert active_thread_count() == 1
            go_on.set()

    trio_c.run(later)
    gc.collect()


@pytest.mark.skipif(os.name == "nt", reason="nothing interrupts a lock there")
def test_waiting_for_an_answer_can_be_interrupted():
    """In the main thread, while the run is in another one."""
    ready = threading.Event()
    stop = trio_c.Event()
    tokens = []

    async def main():
        tokens.append(lowlevel.current_trio_token())
        ready.set()
        await stop.wait()

    def interrupt():
        # Once the main thread waits for us.
        threading.Timer(0.05, press_ctrl_c).start()

    # Also where SIGINT is ignored, as in background jobs.
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    thread = threading.Thread(target=trio_c.run, args=(main,))
    thread.start()
    assert ready.wait(30)

    async def asked():
        interrupt()
        await trio_c.sleep_forever()

    with pytest.raises(KeyboardInterrupt):
        from_thread.run(asked, trio_token=tokens[0])
    assert from_thread.run_sync(stop.set, trio_token=tokens[0]) is None
    thread.join()
    signal.signal(signal.SIGINT, before)


@trio_test
async def test_requests_beside_a_busy_task():
    """Each trip takes the GIL from a loop that never sleeps."""
    stop = False

    async def spin():
        while not stop:
            await lowlevel.checkpoint()

    def work():
        return [from_thread.run_sync(int) for _ in range(300)]

    async with trio_c.open_nursery() as nursery:
        nursery.start_soon(spin)
        nursery.start_soon(spin)
        assert await to_thread.run_sync(work) == [0] * 300
        for _ in range(300):
            assert await to_thread.run_sync(int) == 0
        stop = True


@trio_test
async def test_many_threads_at_a_time():
    results = []
    limiter = trio_c.CapacityLimiter(16)

    async def task(n):
        def work():
            assert from_thread.run_sync(lambda: n) == n
            assert from_thread.run(asked, n) == -n
            return n

        results.append(await to_thread.run_sync(work, limiter=limiter))

    async def asked(n):
        await lowlevel.checkpoint()
        return -n

    async with trio_c.open_nursery() as nursery:
        for n in range(100):
            nursery.start_soon(task, n)
    assert sorted(results) == list(range(100))
    assert limiter.borrowed_tokens == 0
    await wait_all_threads_completed()


def test_runs_in_threads_of_runs():
    async def main(depth):
        task = lowlevel.current_task()
        if depth:
            await to_thread.run_sync(trio_c.run, main, depth - 1)
            assert (
                await to_thread.run_sync(from_thread.run_sync, lowlevel.current_task)
                is task
            )

    trio_c.run(main, 3)
