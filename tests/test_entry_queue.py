"""TrioToken and the entry queue: other threads, signals, finalizers."""

from __future__ import annotations

import gc
import os
import shutil
import signal
import subprocess
import sys
import threading
import time
import weakref
from pathlib import Path

import pytest
from _sockets import n_waiting

import trio_c
from trio_c import lowlevel
from trio_c.testing import trio_test, wait_all_tasks_blocked


async def passes(n):
    for _ in range(n):
        await lowlevel.checkpoint()


# --- the token


def test_token_has_no_constructor_and_no_subclasses():
    with pytest.raises(TypeError, match="TrioToken has no public constructor$"):
        lowlevel.TrioToken()
    with pytest.raises(TypeError, match="does not support subclassing$"):
        type("Sub", (lowlevel.TrioToken,), {})


def test_token_needs_a_run():
    with pytest.raises(RuntimeError, match="^must be called from async context$"):
        lowlevel.current_trio_token()


@trio_test
async def test_wrong_calls_leave_the_queue_usable():
    token = lowlevel.current_trio_token()
    ran = []
    with pytest.raises(TypeError, match="missing 1 required positional argument"):
        token.run_sync_soon()
    with pytest.raises(TypeError, match="unexpected keyword argument 'nope'"):
        token.run_sync_soon(ran.append, 1, nope=2)
    with pytest.raises(TypeError, match="unhashable"):
        token.run_sync_soon(ran.append, [], idempotent=True)
    assert lowlevel.current_statistics().run_sync_soon_queue_size == 0
    token.run_sync_soon(ran.append, 3)
    await wait_all_tasks_blocked()
    assert ran == [3]


# --- order and equality


@trio_test
async def test_statistics_count_both_kinds_and_one_reader():
    token = lowlevel.current_trio_token()
    token.run_sync_soon(int)
    token.run_sync_soon(int)
    token.run_sync_soon(int, idempotent=True)
    token.run_sync_soon(int, idempotent=True)
    assert lowlevel.current_statistics().run_sync_soon_queue_size == 3
    await wait_all_tasks_blocked()
    statistics = lowlevel.current_statistics()
    assert statistics.run_sync_soon_queue_size == 0
    assert n_waiting() == 1


@trio_test
async def test_queued_job_runs_within_two_checkpoints_of_a_busy_loop():
    token = lowlevel.current_trio_token()
    for _ in range(200):
        ran = []
        token.run_sync_soon(ran.append, None)
        await passes(2)
        assert ran


class Key:
    """Equal by value, with something to do during comparisons."""

    def __init__(self, value, during_eq=lambda: None, during_hash=lambda: None):
        self.value = value
        self.during_eq = during_eq
        self.during_hash = during_hash

    def __eq__(self, other):
        self.during_eq()
        return self.value == other.value

    def __hash__(self):
        self.during_hash()
        return 7  # all collide


@trio_test
async def test_idempotent_jobs_are_told_apart_by_equality():
    token = lowlevel.current_trio_token()
    ran = []

    def job(key):
        ran.append(key.value)

    for value in [*range(50), *range(50), 3, 60]:
        token.run_sync_soon(job, Key(value), idempotent=True)
    await wait_all_tasks_blocked()
    assert ran == [*range(50), 60]


@trio_test
async def test_many_idempotent_jobs_of_few_hashes_and_of_many():
    token = lowlevel.current_trio_token()
    ran = []
    for n in range(3000):
        token.run_sync_soon(ran.append, n, idempotent=True)
        token.run_sync_soon(ran.append, n, idempotent=True)
    await wait_all_tasks_blocked()
    assert ran == list(range(3000))


@trio_test
async def test_comparing_jobs_may_queue_jobs():
    token = lowlevel.current_trio_token()
    ran = []

    def job(key):
        ran.append(key.value)

    def reenter():
        token.run_sync_soon(ran.append, "fifo")
        token.run_sync_soon(ran.append, "once", idempotent=True)

    for value in (1, 1, 2):
        key = Key(value, during_eq=reenter, during_hash=reenter)
        token.run_sync_soon(job, key, idempotent=True)
    await wait_all_tasks_blocked()
    assert set(ran[:-3]) == {"fifo"}
    assert ran[-3:] == ["once", 1, 2]


@trio_test
async def test_failing_comparison_is_the_callers_error():
    token = lowlevel.current_trio_token()
    ran = []

    def fail():
        raise ZeroDivisionError

    def job(key):
        ran.append(key.value)

    token.run_sync_soon(job, Key(1), idempotent=True)
    with pytest.raises(ZeroDivisionError):
        token.run_sync_soon(job, Key(2, during_hash=fail), idempotent=True)
    # The queued key compares: it is on the left.
    token.run_sync_soon(job, Key(3, during_eq=fail), idempotent=True)
    with pytest.raises(ZeroDivisionError):
        token.run_sync_soon(job, Key(4), idempotent=True)
    await wait_all_tasks_blocked()
    assert ran == [1, 3]


@trio_test
async def test_equal_job_that_starts_during_the_comparison_counts_no_more():
    token = lowlevel.current_trio_token()
    comparing = threading.Event()
    started = threading.Event()
    ran = []

    def wait_for_start():
        comparing.set()
        assert started.wait(30)

    def job(key):
        ran.append(key)
        started.set()

    first = Key(1, during_eq=wait_for_start)
    second = Key(1)
    token.run_sync_soon(job, first, idempotent=True)
    thread = threading.Thread(
        target=token.run_sync_soon, args=(job, second), kwargs={"idempotent": True}
    )
    thread.start()
    assert comparing.wait(30)
    while len(ran) < 2:
        await lowlevel.checkpoint()
    thread.join()
    assert [id(key) for key in ran] == [id(first), id(second)]


# --- from where it may be called


@pytest.mark.parametrize("idempotent", [False, True])
def test_accepted_jobs_run_and_others_are_refused(idempotent):
    """However late, with threads queueing until they are told that it is over."""
    for _ in range(20):
        accepted = [0] * 3
        ran = [0] * 3

        def count(i, _, ran=ran):
            ran[i] += 1

        def feed(i, token, accepted=accepted, count=count):
            try:
                while True:
                    token.run_sync_soon(count, i, object(), idempotent=idempotent)
                    accepted[i] += 1
                    time.sleep(0)  # let the others have the GIL
            except trio_c.RunFinishedError as exc:
                assert str(exc) == "run() has exited"

        async def main(feed=feed, ran=ran):
            token = lowlevel.current_trio_token()
            threads = [threading.Thread(target=feed, args=(i, token)) for i in range(3)]
            for thread in threads:
                thread.start()
            while not all(ran):
                await trio_c.sleep(0)
            return threads

        for thread in trio_c.run(main):
            thread.join()
        assert ran == accepted


@trio_test
async def test_sleeping_loop_misses_no_wake_up():
    token = lowlevel.current_trio_token()
    rounds = 2000
    asked = threading.Semaphore(0)
    answered = None

    def answer():
        for _ in range(rounds):
            asked.acquire()
            token.run_sync_soon(lambda: answered.set())

    thread = threading.Thread(target=answer)
    thread.start()
    with trio_c.fail_after(60):
        for _ in range(rounds):
            answered = trio_c.Event()
            asked.release()
            await answered.wait()
    thread.join()


@pytest.mark.skipif(not hasattr(signal, "SIGUSR1"), reason="there is no SIGUSR1")
@trio_test
async def test_signal_handler_wakes_the_sleeping_loop():
    token = lowlevel.current_trio_token()
    came = trio_c.Event()
    previous = signal.signal(
        signal.SIGUSR1, lambda *_: token.run_sync_soon(came.set, idempotent=True)
    )
    try:
        threading.Timer(
            0.05, signal.pthread_kill, (threading.get_ident(), signal.SIGUSR1)
        ).start()
        with trio_c.fail_after(30):
            await came.wait()
    finally:
        signal.signal(signal.SIGUSR1, previous)


@trio_test
async def test_finalizers_may_queue_jobs_in_the_middle_of_anything():
    token = lowlevel.current_trio_token()
    ran = []

    class Garbage:
        def __init__(self):
            self.cycle = self

        def __del__(self):
            token.run_sync_soon(ran.append, "collected")

    class Argument:
        def __del__(self):
            token.run_sync_soon(ran.append, "dropped")

    threshold = gc.get_threshold()
    gc.set_threshold(5)
    try:
        for n in range(300):
            Garbage()
            token.run_sync_soon(lambda *_: None, Argument())
            token.run_sync_soon(lambda *_: None, [Argument()][0], n, idempotent=True)
            if n % 10 == 0:
                await lowlevel.checkpoint()
    finally:
        gc.set_threshold(*threshold)
    gc.collect()
    await wait_all_tasks_blocked()
    assert ran.count("collected") == 300
    assert ran.count("dropped") == 600


# --- what jobs see, and how they fail


@trio_test
async def test_jobs_run_in_the_protected_system_task():
    token = lowlevel.current_trio_token()
    seen = []

    def look():
        seen.append(lowlevel.current_task().name)
        seen.append(lowlevel.currently_ki_protected())
        seen.append(
            lowlevel.disable_ki_protection(lambda: lowlevel.currently_ki_protected())()
        )

    token.run_sync_soon(look)
    await wait_all_tasks_blocked()
    assert seen == ["<TrioToken.run_sync_soon task>", True, False]


@trio_test
async def test_finished_job_leaves_nothing_behind():
    class Anything:
        pass

    token = lowlevel.current_trio_token()
    thing = Anything()
    ref = weakref.ref(thing)
    token.run_sync_soon(lambda _: None, thing)
    token.run_sync_soon(lambda _: None, thing, idempotent=True)
    del thing
    assert ref() is not None
    await wait_all_tasks_blocked()
    assert ref() is None


@pytest.mark.parametrize("error", [KeyError, SystemExit, GeneratorExit])
def test_failing_job_ends_the_run(error):
    def fail():
        raise error("text")

    async def main():
        lowlevel.current_trio_token().run_sync_soon(fail)
        await trio_c.sleep_forever()

    with pytest.raises(trio_c.TrioInternalError) as info:
        trio_c.run(main)
    # Two nurseries around it: the system tasks', and the outermost.
    outer = info.value.__cause__
    (inner,) = outer.exceptions
    (exc,) = inner.exceptions
    assert type(exc) is error
    assert exc.__context__ is None


def test_run_that_breaks_down_refuses_jobs_and_drops_the_queued_ones(monkeypatch):
    # What is left of the run complains when it is collected, and may.
    monkeypatch.setattr(sys, "unraisablehook", lambda args: None)

    class Thing:
        pass

    box = [Thing()]
    ref = weakref.ref(box[0])
    token = None

    class Instrument:
        def before_io_wait(self, timeout):
            if token is not None:
                # Hooks that remove themselves first are not forgiven.
                lowlevel.remove_instrument(self)
                token.run_sync_soon(lambda _: None, box.pop())
                raise ValueError

    async def main():
        nonlocal token
        token = lowlevel.current_trio_token()
        await trio_c.sleep_forever()

    with pytest.raises(trio_c.TrioInternalError):
        trio_c.run(main, instruments=[Instrument()])
    with pytest.raises(trio_c.RunFinishedError):
        token.run_sync_soon(int)
    gc.collect()
    assert box == []
    assert ref() is None


@trio_test
async def test_queue_object_is_reachable_from_token_and_run():
    token = lowlevel.current_trio_token()
    queue = token._reentry_queue
    assert queue is lowlevel.current_task()._runner.entry_queue
    ran = []
    queue.run_sync_soon(ran.append, 1)
    assert queue.size() == 1
    await wait_all_tasks_blocked()
    assert ran == [1]
    assert queue.size() == 0


# --- forks

SLOW_WAKEUP = Path(__file__).with_name("_slow_wakeup.c")
FORK_WHILE_WAKING = """
import os, signal, threading, time, warnings
import trio_c
warnings.simplefilter("ignore")  # forking does not go with threads

async def main():
    token = trio_c.lowlevel.current_trio_token()
    finished = threading.Event()

    def fork():
        finished.wait()
        time.sleep(0.1)
        if (pid := os.fork()) == 0:
            signal.alarm(20)
            token.run_sync_soon(print)
            os._exit(0)
        print(os.waitpid(pid, 0)[1])

    thread = threading.Thread(target=fork)
    thread.start()
    await trio_c.to_thread.run_sync(finished.set)
    await trio_c.to_thread.run_sync(thread.join)

trio_c.run(main)
"""


@pytest.mark.skipif(not hasattr(os, "fork"), reason="the system has no fork()")
@pytest.mark.skipif("LD_PRELOAD" in os.environ, reason="something else is preloaded")
@pytest.mark.skipif(shutil.which("cc") is None, reason="no C compiler")
def test_a_child_forked_while_a_thread_wakes_the_loop_can_use_its_token(tmp_path):
    """Threads do that without the GIL, so that others can fork meanwhile."""
    slow = tmp_path / "slow.so"
    command = ["cc", "-shared", "-fPIC", "-o", slow, SLOW_WAKEUP, "-ldl"]
    subprocess.run(command, check=True)
    result = subprocess.run(
        [sys.executable, "-c", FORK_WHILE_WAKING],
        env={**os.environ, "LD_PRELOAD": str(slow)},
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert (result.stdout, result.stderr) == ("0\n", "")


CHILD_THAT_GOES_ON = """
import os, signal, warnings
import trio_c
warnings.simplefilter("ignore")  # forking does not go with threads

def descriptor():
    fd = signal.set_wakeup_fd(-1)
    signal.set_wakeup_fd(fd)
    return os.fstat(fd).st_ino

async def use_queue():
    assert await trio_c.to_thread.run_sync(trio_c.from_thread.run_sync, int) == 0

async def main():
    await use_queue()
    before = descriptor()
    if (pid := os.fork()) == 0:
        signal.alarm(60)
        await use_queue()
        await trio_c.sleep(0)
        os._exit(descriptor() == before)
    assert await trio_c.to_thread.run_sync(os.waitpid, pid, 0) == (pid, 0)
    assert descriptor() == before

trio_c.run(main)
"""


@pytest.mark.skipif(not hasattr(os, "fork"), reason="the system has no fork()")
def test_a_child_that_goes_on_with_the_run_is_woken_by_itself():
    """What it reads of its parent's wake-ups, its parent would sleep through."""
    subprocess.run([sys.executable, "-c", CHILD_THAT_GOES_ON], check=True, timeout=120)
