"""What failure injection has found (tests/injection/), as plain tests: one
allocation fails, at every point in turn."""

from __future__ import annotations

import gc
import itertools
import signal
import sys

import pytest

import trio_c as trio
from trio_c.testing import wait_all_tasks_blocked

testcapi = pytest.importorskip("_testcapi", reason="needs CPython's own tests")
# Long after the last allocation.
EVERY = range(150)

pytestmark = pytest.mark.filterwarnings("ignore")


def runs_that_are_known() -> int:
    gc.collect()
    return sum(type(thing).__name__ == "Runner" for thing in gc.get_objects())


def test_a_run_that_ends_without_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    """It ends, and everything of it: handlers, hooks, and what shows it."""
    monkeypatch.setattr(sys, "unraisablehook", lambda _: None)
    standard = signal.getsignal(signal.SIGINT)
    hooks = sys.get_asyncgen_hooks()
    before = runs_that_are_known()
    outcomes = set()

    async def main(n: int) -> None:
        # Runs before or after the entry queue's task, as chance will have it.
        testcapi.set_nomemory(n, n + 1)

    for n in EVERY:
        for _ in range(4):
            try:
                trio.run(main, n)
                outcomes.add("fine")
            except MemoryError:
                outcomes.add("MemoryError")
            except trio.TrioInternalError:
                outcomes.add("TrioInternalError")
            finally:
                testcapi.remove_mem_hooks()
            assert signal.getsignal(signal.SIGINT) is standard
            assert sys.get_asyncgen_hooks() == hooks
            descriptor = signal.set_wakeup_fd(-1)
            assert descriptor == -1
    assert runs_that_are_known() == before
    assert "TrioInternalError" in outcomes or "MemoryError" in outcomes


def test_a_cancellation_without_memory_reaches_everybody() -> None:
    """Else some would wait for ever."""
    failures = 0

    async def child() -> None:
        with trio.CancelScope():
            await trio.sleep_forever()

    async def main(n: int) -> None:
        nonlocal failures
        ended = 0

        async def sleeper() -> None:
            nonlocal ended
            try:
                await trio.sleep_forever()
            except (trio.Cancelled, MemoryError):
                ended += 1

        with trio.CancelScope() as scope:
            async with trio.open_nursery() as nursery:
                for _ in range(40):
                    nursery.start_soon(sleeper)
                for _ in range(40):
                    nursery.start_soon(child)
                await wait_all_tasks_blocked()
                testcapi.set_nomemory(n, n + 1)
                try:
                    scope.cancel()
                except MemoryError:
                    failures += 1
                finally:
                    testcapi.remove_mem_hooks()
                if not scope.cancel_called:
                    # It has failed before it began.
                    scope.cancel()
        assert ended == 40

    for n in EVERY:
        try:
            trio.run(main, n)
        except* MemoryError:
            failures += 1
    assert failures


def test_a_guest_run_that_cannot_be_started(monkeypatch: pytest.MonkeyPatch) -> None:
    """Its thread is not in a run for ever."""
    monkeypatch.setattr(sys, "unraisablehook", lambda _: None)

    async def main() -> None:
        pass

    def ignore(_: object) -> None:
        pass

    def start(n: int) -> None:
        # No function is made here: CPython, to 3.13, would not survive it.
        testcapi.set_nomemory(n, n + 1)
        try:
            trio.lowlevel.start_guest_run(
                main,
                run_sync_soon_threadsafe=ignore,
                done_callback=ignore,
            )
        except (MemoryError, trio.TrioInternalError):
            pass
        finally:
            testcapi.remove_mem_hooks()

    # Until it has been set up.
    for n in range(75):
        start(n)
        gc.collect()
        assert not trio.lowlevel.in_trio_run()


def test_what_a_thread_brings_home_needs_no_memory() -> None:
    """Its room in the entry queue is kept for it: the queue may be full to the
    brim when the thread has finished."""
    waited_in_vain = []

    def ignore() -> None:
        pass

    def work(n: int, which: int, token: trio.lowlevel.TrioToken) -> None:
        # One of these fills the queue; nobody takes anything out meanwhile.
        for _ in range(n):
            token.run_sync_soon(ignore)
        testcapi.set_nomemory(which, which + 1)

    async def main(*args: int) -> None:
        token = trio.lowlevel.current_trio_token()
        with trio.move_on_after(10) as scope:
            await trio.to_thread.run_sync(work, *args, token, abandon_on_cancel=True)
        waited_in_vain.append(scope.cancelled_caught)

    interval = sys.getswitchinterval()
    sys.setswitchinterval(10)
    try:
        for args in itertools.product(range(12, 18), range(4)):
            try:
                trio.run(main, *args)
            except (MemoryError, trio.TrioInternalError):
                pass  # a job was called with the memory wanting
            testcapi.remove_mem_hooks()
    finally:
        sys.setswitchinterval(interval)
    assert not any(waited_in_vain)
