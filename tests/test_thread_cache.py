"""Threads that are kept, and what is called in them."""

from __future__ import annotations

import gc
import os
import threading
import time
import warnings
import weakref

import pytest

import trio_c
from trio_c import from_thread, lowlevel, to_thread
from trio_c._core import _thread_cache
from trio_c._core._run_context import GLOBAL_RUN_CONTEXT
from trio_c.testing import trio_test, wait_all_threads_completed


def test_patched_thread_cache_is_used(monkeypatch):
    calls = []

    def start_thread_soon(self, fn, deliver, name=None):
        import outcome

        calls.append(name)
        threading.Thread(target=lambda: deliver(outcome.capture(fn))).start()

    monkeypatch.setattr(
        _thread_cache.ThreadCache, "start_thread_soon", start_thread_soon
    )

    async def main():
        def fail():
            from_thread.run_sync(int)
            raise ValueError

        assert await to_thread.run_sync(int, "5", thread_name="a") == 5
        with pytest.raises(ValueError):
            await to_thread.run_sync(fail, thread_name="b")

    trio_c.run(main)
    assert calls == ["a", "b"]


@trio_test
async def test_job_is_run_and_delivered_once(monkeypatch):
    """A limiter's borrower can be called, for the sake of replaced caches."""
    import outcome

    limiter = trio_c.CapacityLimiter(1)
    kept = []

    def work():
        [job] = limiter.statistics().borrowers
        kept.append(job)
        with pytest.raises(RuntimeError, match="once$"):
            job()
        return "by the thread"

    assert await to_thread.run_sync(work, limiter=limiter) == "by the thread"
    for args in ((), (outcome.Value("late"),)):
        with pytest.raises(RuntimeError, match="once$"):
            kept[0](*args)

    # Somebody is faster than the thread with the answer, and with its run.
    def deliver_early():
        [job] = limiter.statistics().borrowers
        job(outcome.Value("by hand"))
        time.sleep(0.01)

    async def call(fn):
        return await to_thread.run_sync(fn, limiter=limiter)

    failed = []
    monkeypatch.setattr(_thread_cache, "report_failed_delivery", failed.append)
    assert await call(deliver_early) == "by hand"
    await wait_all_threads_completed()
    while not failed:
        await trio_c.sleep(0)
    assert isinstance(failed[0], RuntimeError)
    assert limiter.borrowed_tokens == 0


def test_interrupted_start_leaves_no_thread(monkeypatch):
    threads = []

    def start(self):
        original(self)
        threads.append(self)
        raise KeyboardInterrupt

    original = threading.Thread.start
    monkeypatch.setattr(threading.Thread, "start", start)
    cache = _thread_cache.ThreadCache()
    with pytest.raises(KeyboardInterrupt):
        cache.start_thread_soon(int, print)
    threads[0].join(30)
    assert not threads[0].is_alive()


def test_start_thread_soon_gives_outcomes():
    import outcome

    results = []
    done = threading.Semaphore(0)

    def deliver(result):
        results.append(result)
        done.release()

    lowlevel.start_thread_soon(lambda: 5, deliver)
    done.acquire()
    lowlevel.start_thread_soon(deliver=deliver, fn=lambda: 1 / 0, name="name")
    done.acquire()
    assert results[0] == outcome.Value(5)
    assert type(results[1].error) is ZeroDivisionError
    with pytest.raises(TypeError):
        lowlevel.start_thread_soon(int)


def test_own_caches_do_not_share_threads(monkeypatch):
    monkeypatch.setattr(_thread_cache, "IDLE_TIMEOUT", 0.001)
    seen = []
    done = threading.Semaphore(0)

    def deliver(result):
        seen.append(threading.current_thread())
        done.release()

    caches = [_thread_cache.ThreadCache() for _ in range(2)]
    refs = [weakref.ref(cache) for cache in caches]
    for cache in caches:
        cache.start_thread_soon(int, deliver)
        done.acquire()
    assert seen[0] is not seen[1]
    for thread in seen:
        thread.join(30)
        assert not thread.is_alive()
        assert thread.daemon
    seen.clear()
    del cache, caches, thread
    gc.collect()
    assert [ref() for ref in refs] == [None, None]


@pytest.mark.skipif(not hasattr(os, "fork"), reason="there is no fork()")
def test_forked_child_has_threads_of_its_own():
    """Forked beside threads that work, wait, and are about to take the GIL."""

    async def child():
        assert await to_thread.run_sync(from_thread.run_sync, int) == 0
        seen = await to_thread.run_sync(threading.active_count)
        assert seen == 2
        return 17

    def fork():
        with warnings.catch_warnings():
            # Python advises against forking beside threads; the child's run
            # finds the signal wake-up of the parent's.
            warnings.simplefilter("ignore")
            pid = os.fork()
            if pid == 0:
                status = 1
                try:
                    # As libraries do that go on in a forked child.
                    del GLOBAL_RUN_CONTEXT.task
                    del GLOBAL_RUN_CONTEXT.runner
                    status = trio_c.run(child)
                finally:
                    os._exit(status)
        return pid

    async def main():
        stop = False

        def work():
            while not stop:
                from_thread.run_sync(int)

        async with trio_c.open_nursery() as nursery:
            for _ in range(3):
                nursery.start_soon(to_thread.run_sync, work)
            await trio_c.sleep(0.05)
            try:
                for _ in range(5):
                    _, status = await to_thread.run_sync(os.waitpid, fork(), 0)
                    assert os.waitstatus_to_exitcode(status) == 17
            finally:
                stop = True

    trio_c.run(main)
