"""Ctrl-C: what upstream's tests do not reach."""

from __future__ import annotations

import gc
import signal
import sys
import sysconfig
import threading
import weakref

import pytest
from _processes import press_ctrl_c

import trio_c
from trio_c import lowlevel
from trio_c._core._ki import ki_protection_enabled
from trio_c.testing import trio_test, wait_all_tasks_blocked

protected = lowlevel.currently_ki_protected


@pytest.fixture(autouse=True)
def standard_handler():
    """Also where SIGINT is ignored, as in background jobs."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


def interrupt():
    signal.raise_signal(signal.SIGINT)


@lowlevel.enable_ki_protection
def interrupt_later():
    """A Ctrl-C that has to wait until it is delivered."""
    interrupt()


def interrupt_soon():
    """From another thread, while the loop sleeps."""
    threading.Timer(0.05, press_ctrl_c).start()


# --- marks on functions


immortal_code = pytest.mark.skipif(
    bool(sysconfig.get_config_var("Py_GIL_DISABLED")),
    reason="free-threaded 3.13 keeps the code objects of functions for good",
)


@immortal_code
def test_marks_are_for_one_code_object_only():
    # Code objects come and go at the same addresses; and of those that are
    # gone only so many marks are kept.
    def many():
        for _ in range(3000):
            namespace = {"protected": protected}
            exec("def f(): return protected()", namespace)
            assert namespace["f"]() is True
            assert lowlevel.disable_ki_protection(namespace["f"])() is False

    many()
    before = sys.getallocatedblocks()
    many()
    assert sys.getallocatedblocks() - before < 3000


@immortal_code
def test_marked_code_can_die():
    namespace = {}
    exec("def f(): pass", namespace)
    f = lowlevel.enable_ki_protection(namespace.pop("f"))
    ref = weakref.ref(f.__code__)
    del f
    gc.collect()
    assert ref() is None


def test_last_mark_wins():
    def f():
        return protected()

    assert lowlevel.disable_ki_protection(f)() is False
    assert lowlevel.enable_ki_protection(f)() is True
    assert lowlevel.disable_ki_protection(f) is f
    assert f() is False


def test_wrong_arguments():
    for decorator in (lowlevel.enable_ki_protection, lowlevel.disable_ki_protection):
        with pytest.raises(AttributeError, match="__code__"):
            decorator(5)
        with pytest.raises(TypeError):
            decorator()
        with pytest.raises(TypeError):
            decorator(f=test_wrong_arguments)
    with pytest.raises(TypeError):
        protected(1)
    with pytest.raises(TypeError):
        ki_protection_enabled("frame")
    assert ki_protection_enabled(None) is True


def test_frames_of_others():
    @lowlevel.disable_ki_protection
    def generator():
        yield sys._getframe()

    @lowlevel.enable_ki_protection
    def outer():
        (frame,) = generator()
        return ki_protection_enabled(frame), ki_protection_enabled(sys._getframe())

    assert outer() == (False, True)


# --- native code that calls Python


@trio_test
async def test_abort_functions_are_protected():
    seen = []

    @lowlevel.disable_ki_protection
    def unprotected():
        return protected()

    def abort(raise_cancel):
        seen.append((protected(), unprotected()))
        return lowlevel.Abort.SUCCEEDED

    async def sleeper():
        await lowlevel.wait_task_rescheduled(abort)

    # By another task, in the middle of unprotected code
    async with trio_c.open_nursery() as nursery:
        nursery.start_soon(sleeper)
        await wait_all_tasks_blocked()
        nursery.cancel_scope.cancel()
        seen.append(protected())
    # by the loop
    with trio_c.move_on_after(0.01):
        await sleeper()
    # at once.
    with trio_c.CancelScope() as scope:
        scope.cancel()
        await sleeper()
    assert seen == [(True, False), False, (True, False), (True, False)]


@trio_test
async def test_marks_nest_and_leave_the_callers_alone():
    seen = []

    def abort(raise_cancel):
        # Cancels from within an abort function: two marks at a time.
        if inner:
            inner.pop().cancel()
        seen.append(protected())
        return lowlevel.Abort.SUCCEEDED

    async def sleeper(scope):
        with scope:
            await lowlevel.wait_task_rescheduled(abort)

    scopes = [trio_c.CancelScope() for _ in range(30)]
    inner = scopes[:]
    async with trio_c.open_nursery() as nursery:
        for scope in scopes:
            nursery.start_soon(sleeper, scope)
        await wait_all_tasks_blocked()
        inner.pop().cancel()
        assert not protected()
    assert seen == [True] * 30
    assert not protected()


def test_the_loop_is_protected_whoever_runs_it():
    seen = []

    async def main():
        seen.append(protected())
        lowlevel.current_trio_token().run_sync_soon(lambda: seen.append(protected()))
        await wait_all_tasks_blocked()
        interrupt_soon()
        with pytest.raises(KeyboardInterrupt):
            await trio_c.sleep(60)
        seen.append("delivered")

    @lowlevel.disable_ki_protection
    def run():
        trio_c.run(main)
        assert not protected()

    run()
    assert seen == [False, True, "delivered"]


@trio_test
async def test_what_a_thread_asks_for_is_not_protected():
    @lowlevel.enable_ki_protection
    async def task():
        assert protected()
        seen = await trio_c.to_thread.run_sync(trio_c.from_thread.run_sync, protected)
        assert protected()
        return seen

    async def asked():
        before = protected()
        await lowlevel.checkpoint()
        return before, protected()

    assert await task() is False
    run = trio_c.from_thread.run
    assert await trio_c.to_thread.run_sync(run, asked) == (False, False)
    token = lowlevel.current_trio_token()

    def with_token():
        return (
            trio_c.from_thread.run_sync(protected, trio_token=token),
            run(asked, trio_token=token),
        )

    assert await trio_c.to_thread.run_sync(with_token) == (False, (False, False))


@trio_test
async def test_limiters_in_python_are_protected():
    seen = []

    class Limiter:
        async def acquire_on_behalf_of(self, borrower):
            seen.append(protected())
            await lowlevel.checkpoint()
            seen.append(protected())

        def release_on_behalf_of(self, borrower):
            seen.append(protected())

    await trio_c.to_thread.run_sync(int, limiter=Limiter())
    assert seen == [True] * 3


# --- delivery


def test_interrupt_of_a_sleeping_loop_reaches_main_only():
    record = []

    async def other():
        try:
            await trio_c.sleep_forever()
        except BaseException as exc:
            record.append(type(exc))
            raise

    async def main():
        async with trio_c.open_nursery() as nursery:
            nursery.start_soon(other)
            await wait_all_tasks_blocked()
            interrupt_soon()
            await trio_c.sleep_forever()

    with pytest.raises(BaseExceptionGroup) as info:
        trio_c.run(main)
    assert [type(exc) for exc in info.value.exceptions] == [KeyboardInterrupt]
    assert record == [trio_c.Cancelled]


def test_several_interrupts_become_one():
    async def main():
        for _ in range(3):
            interrupt_later()
        with pytest.raises(KeyboardInterrupt):
            await lowlevel.checkpoint()
        await lowlevel.checkpoint()
        return "went on"

    assert trio_c.run(main) == "went on"


def test_interrupt_at_the_very_end_keeps_the_error_as_context():
    @lowlevel.enable_ki_protection
    async def main():
        interrupt()
        raise ValueError("main's own")

    with pytest.raises(KeyboardInterrupt) as info:
        trio_c.run(main)
    assert type(info.value.__context__) is ValueError


def test_delivery_ignores_shields():
    async def main():
        with trio_c.CancelScope(shield=True):
            interrupt_later()
            with pytest.raises(KeyboardInterrupt):
                await trio_c.sleep_forever()

    trio_c.run(main)


# --- the handler


def test_handler_only_where_it_belongs():
    standard = signal.getsignal(signal.SIGINT)
    assert standard is signal.default_int_handler

    async def handler():
        return signal.getsignal(signal.SIGINT)

    ours = trio_c.run(handler)
    assert ours is not standard
    assert signal.getsignal(signal.SIGINT) is standard

    # Not in other threads,
    results = []
    thread = threading.Thread(target=lambda: results.append(trio_c.run(handler)))
    thread.start()
    thread.join()
    assert results == [standard]

    # not over somebody else's.
    def theirs(signum, frame):
        pass

    signal.signal(signal.SIGINT, theirs)
    try:
        assert trio_c.run(handler) is theirs
        assert signal.getsignal(signal.SIGINT) is theirs
    finally:
        signal.signal(signal.SIGINT, standard)

    # One that outlives its run is as good as the standard one.
    with pytest.raises(KeyboardInterrupt):
        ours(signal.SIGINT, None)


def test_handler_that_goes_on_to_be_called_within_ours():
    """As programs do that replace the handler for a while."""
    calls = []

    async def main():
        ours = signal.getsignal(signal.SIGINT)

        def counting(signum, frame):
            calls.append(signum)
            ours(signum, frame)

        signal.signal(signal.SIGINT, counting)
        try:
            with pytest.raises(KeyboardInterrupt):
                interrupt()
        finally:
            signal.signal(signal.SIGINT, ours)

    trio_c.run(main)
    assert calls == [signal.SIGINT]
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler


def test_failing_set_up_gives_the_handler_back():
    with pytest.raises(trio_c.TrioInternalError):
        trio_c.run(trio_c.sleep, 0, clock=object())
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler


def test_nothing_keeps_the_exception():
    @lowlevel.enable_ki_protection
    async def main():
        interrupt()
        try:
            await lowlevel.checkpoint()
        except KeyboardInterrupt as exc:
            return exc

    exc = trio_c.run(main)
    exc.__traceback__ = None
    assert gc.get_referrers(exc) == []
