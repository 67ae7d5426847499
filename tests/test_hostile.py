"""What `tests/hostile/` has found: misuse that once crashed, leaked or hung.

Each runs in a process of its own, which must not crash.
"""

from __future__ import annotations

import os

import pytest
from _processes import in_child


@pytest.mark.parametrize("exc", ["'text'", "ValueError", "3.0", "print"])
def test_exit_is_given_something_else_than_an_exception(exc: str) -> None:
    """It would have become the context of an error."""
    said = in_child(f"""
        import trio_c as trio

        async def main():
            exited = trio.CancelScope()
            with exited:
                pass
            outer, inner = trio.CancelScope(), trio.CancelScope()
            outer.__enter__()
            inner.__enter__()
            for scope in (trio.CancelScope(), exited, outer):
                try:
                    scope.__exit__(None, {exc}, None)
                except TypeError as error:
                    print(error)
            inner.__exit__(None, None, None)
            with trio.CancelScope() as scope:
                print(scope.__exit__(None, {exc}, None))
                scope.__enter__

        try:
            trio.run(main)
        except RuntimeError as error:
            print(str(error).partition(":")[0])
        """)
    wrong = "exception context must be None or derive from BaseException\n"
    assert said == wrong * 3 + "False\nCancel scope stack corrupted\n"


def test_what_a_cancellation_says_is_deleted() -> None:
    said = in_child("""
        import copy
        import trio_c as trio

        async def main():
            with trio.CancelScope() as scope:
                scope.cancel("why")
                with trio.CancelScope() as inner:
                    reason = scope._cancel_reason
                    del reason.source, reason.reason, reason.source_task
                    print(reason, copy.copy(reason))
                    try:
                        await trio.lowlevel.checkpoint()
                    except trio.Cancelled as error:
                        del error.source, error.reason, error.source_task
                        print(error, repr(copy.copy(error)))
                        raise

        trio.run(main)
        """)
    deleted = "(source=None, source_task=None, reason=None)"
    reason = "CancelReason" + deleted
    assert said == f"{reason} {reason}\ncancelled due to None Cancelled{deleted}\n"


def test_a_socket_without_a_socket_is_cancelled() -> None:
    said = in_child("""
        import trio_c as trio
        from trio_c._socket import _SocketType

        async def main():
            with trio.move_on_after(1) as scope:
                scope.cancel()
                await _SocketType.__new__(_SocketType)._connect_resolved(("::1", 1))
            print(scope.cancelled_caught)

        trio.run(main)
        """)
    assert said == "True\n"


def test_a_module_of_our_class_that_was_never_initialized() -> None:
    said = in_child("""
        import gc
        import trio_c

        (kind,) = [
            obj
            for obj in gc.get_referents(trio_c._native)
            if isinstance(obj, type) and "_native.module" in repr(obj)
        ]
        try:
            kind.__new__(kind).__reduce__()
        except AttributeError as error:
            print(error)
        """)
    assert "__name__" in said


def test_a_value_that_a_foreign_yield_has_left_behind() -> None:
    """A coroutine answers a wake-up by yielding something else."""
    said = in_child("""
        import types
        import outcome
        import trio_c as trio
        from trio_c import lowlevel

        @types.coroutine
        def forgetful():
            task = lowlevel.current_task()
            lowlevel.current_trio_token().run_sync_soon(
                lowlevel.reschedule, task, outcome.Value(1)
            )
            wait = lowlevel.wait_task_rescheduled(lambda _: lowlevel.Abort.FAILED)
            yield wait.send(None)
            try:
                yield "something"
            except TypeError as error:
                print(str(error)[:40])

        async def main():
            await forgetful()
            await lowlevel.checkpoint()
            async with trio.open_nursery() as nursery:
                nursery.start_soon(trio.sleep, 0)

        trio.run(main)
        """)
    assert said == "trio.run received unrecognized yield mes\n"


def test_the_job_of_a_thread_called_again() -> None:
    said = in_child("""
        import trio_c as trio

        async def main():
            limiter = trio.CapacityLimiter(1)
            def job():
                (job,) = limiter.statistics().borrowers
                return job
            job = await trio.to_thread.run_sync(job, limiter=limiter)
            import outcome
            for args in ((), (outcome.Value(1),)):
                try:
                    job(*args)
                except RuntimeError as error:
                    print(error)
            print(await trio.to_thread.run_sync(lambda: 42))

        trio.run(main)
        """)
    refusal = "a thread's job is called by its thread, once\n"
    assert said == 2 * refusal + "42\n"


def test_the_job_of_a_thread_is_delivered_while_it_runs() -> None:
    said = in_child("""
        import gc
        import outcome
        import trio_c as trio

        async def main():
            limiter = trio.CapacityLimiter(1)
            def work():
                (job,) = limiter.statistics().borrowers
                trio.from_thread.run_sync(job, outcome.Value(1))
                return 2
            with trio.move_on_after(0.1):
                print(await trio.to_thread.run_sync(work, limiter=limiter))
            gc.collect()
            print(await trio.to_thread.run_sync(lambda: 42))

        import trio_c.from_thread
        trio.run(main)
        """)
    assert said.endswith("42\n")


def test_a_result_of_a_thread_is_delivered_twice() -> None:
    """By the thread cache that somebody has put in place of ours."""
    said = in_child("""
        import threading
        import outcome
        import trio_c as trio
        from trio_c._core import _thread_cache

        class Cache:
            def start_thread_soon(self, fn, deliver, name=None):
                def run():
                    value = fn()
                    deliver(outcome.Value(value))
                    deliver(outcome.Value(value))
                threading.Thread(target=run).start()

        _thread_cache.THREAD_CACHE = Cache()

        async def main():
            for n in range(20):
                assert await trio.to_thread.run_sync(int, str(n)) == n
            with trio.move_on_after(0.001):
                await trio.to_thread.run_sync(
                    __import__("time").sleep, 0.01, abandon_on_cancel=True
                )
            await trio.sleep(0.05)
            print("done")

        trio.run(main)
        """)
    assert said == "done\n"


def test_a_call_from_a_thread_is_called_by_somebody_else() -> None:
    said = in_child("""
        import gc
        import trio_c as trio
        import trio_c.from_thread

        async def main():
            event, answer = trio.Event(), trio.Event()
            async def ours():
                event.set()
                await answer.wait()
                return "answer"
            async def thread(**options):
                call = trio.from_thread.run
                print(await trio.to_thread.run_sync(call, ours, **options))
            for options in ({}, {"abandon_on_cancel": True}):
                event, answer = trio.Event(), trio.Event()
                async with trio.open_nursery() as nursery:
                    nursery.start_soon(lambda: thread(**options))
                    await event.wait()
                    (request,) = [
                        obj for obj in gc.get_objects() if type(obj).__name__ == "Run"
                    ]
                    try:
                        request()
                    except RuntimeError as error:
                        print(error)
                    del request
                    answer.set()

        trio.run(main)
        """)
    assert said == "only the run that it asks can serve this request\nanswer\n" * 2


def test_the_loop_of_a_run_is_nobodys() -> None:
    said = in_child("""
        import gc
        import trio_c as trio

        async def main():
            print([o for o in gc.get_objects() if type(o).__name__ == "loop"])

        trio.run(main)
        """)
    assert said == "[]\n"


@pytest.mark.parametrize(
    "call",
    [
        "left.recvfrom(evil)",
        "left.send(b'x', evil)",
        "left.sendto(b'x', evil, 'nowhere')",
        "trio.lowlevel.wait_readable(evil)",
        "trio.CapacityLimiter(1).acquire_on_behalf_of(evil)",
    ],
)
@pytest.mark.skipif(
    "asan" in os.environ.get("LD_PRELOAD", ""),
    reason="greenlets copy the stack, with the sanitizer's red zones in it",
)
def test_a_greenlet_leaves_in_the_middle_of_a_step(call: str) -> None:
    """And comes back when the task is no more."""
    pytest.importorskip("greenlet")
    said = in_child(f"""
        import gc
        import greenlet
        import trio_c as trio
        import trio_c.socket

        class Evil:
            def __index__(self):
                greenlet.getcurrent().parent.switch()
                return 1
            __hash__ = fileno = __index__

        def step():
            evil = Evil()
            left, right = trio.socket.socketpair()
            try:
                {call}.send(None)
            except ValueError:
                pass
            print("back")

        async def main():
            global away
            away = greenlet.greenlet(step)
            away.switch()

        for _ in range(5):
            trio.run(main)
            away.throw(ValueError)
            gc.collect()

        async def healthy():
            async with trio.open_nursery() as nursery:
                for _ in range(10):
                    nursery.start_soon(trio.sleep, 0)

        trio.run(healthy)
        """)
    assert said == "back\n" * 5
