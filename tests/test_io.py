"""Waiting for descriptors: wait_readable, wait_writable, notify_closing."""

import functools
import gc
import os
import signal
import socket as stdlib
import subprocess
import sys
import threading

import pytest
from _sockets import POLLER, n_waiting

import trio_c as trio
import trio_c.testing
from trio_c._native import BACKEND

WAITS = ["wait_readable", "wait_writable"]
forks = pytest.mark.filterwarnings(
    "ignore:This process .* is multi-threaded:DeprecationWarning"
)
# The words are Trio's.
BUSY = (
    "attempt to register multiple listeners for same ident/filter pair"
    if BACKEND == "kqueue"
    else "another task is already reading / writing this fd"
)
both_ways = pytest.mark.parametrize("wait", WAITS)


def in_run(fn):
    @functools.wraps(fn)
    def test(*args, **kwargs):
        async def main():
            # The run's own reader is asleep from here on.
            await trio.testing.wait_all_tasks_blocked()
            with trio.fail_after(30):
                await fn(*args, **kwargs)

        trio.run(main)

    return test


@pytest.fixture
def pair():
    left, right = stdlib.socketpair()
    left.setblocking(False)
    right.setblocking(False)
    with left, right:
        yield left, right


def fill(sock):
    try:
        while True:
            sock.send(bytes(65536))
    except BlockingIOError:
        pass


def are_waiting(readers, writers):
    statistics = trio.lowlevel.current_statistics().io_statistics
    if BACKEND == "kqueue":
        # Which does not tell them apart.
        return statistics.tasks_waiting == readers + writers
    return (statistics.tasks_waiting_read, statistics.tasks_waiting_write) == (
        readers,
        writers,
    )


def polls(count):
    """Let the loop poll a number of times."""

    async def body():
        for _ in range(count):
            await trio.sleep(0.001)

    return body()


# --- what can be waited for ------------------------------------------


@both_ways
def test_outside_a_run(wait, pair):
    coro = getattr(trio.lowlevel, wait)(pair[0])
    with pytest.raises(RuntimeError, match="^must be called from async context$"):
        coro.send(None)
    with pytest.raises(RuntimeError, match="^must be called from async context$"):
        trio.lowlevel.notify_closing(pair[0])


@both_ways
@in_run
async def test_wrong_objects(wait):
    wait = getattr(trio.lowlevel, wait)
    with pytest.raises(TypeError):
        await wait()
    with pytest.raises(TypeError):
        await wait(1, 2)
    # Upstream turns every AttributeError from inside into this.
    with pytest.raises(RuntimeError, match="^must be called from async context$"):
        await wait("no descriptor")

    class Odd:
        def fileno(self):
            return "seven"

    with pytest.raises(TypeError):
        await wait(Odd())
    for negative in (-1, -7):
        with pytest.raises(
            ValueError,
            match=rf"^file descriptor cannot be a negative integer \({negative}\)$",
        ):
            await wait(negative)
    with pytest.raises(OverflowError):
        await wait(1 << 40)
    with pytest.raises(OSError, match="Bad file descriptor"):
        await wait(0x7FFFFFFF)
    if POLLER == "epoll":
        # The others take files, which are always ready.
        with open(__file__, "rb") as file, pytest.raises(PermissionError):
            await wait(file)
    assert are_waiting(1, 0)


@pytest.mark.skipif(os.name == "nt", reason="there only sockets are waited for")
@both_ways
@in_run
async def test_numbers_of_all_kinds(wait, pair):
    read, write = os.pipe()

    class MyInt(int):
        pass

    class Wrapper:
        calls = 0

        def fileno(self):
            self.calls += 1
            return read if wait == "wait_readable" else write

    os.write(write, b"x")
    wrapper = Wrapper()
    wait_for = getattr(trio.lowlevel, wait)
    for fd in (wrapper.fileno(), MyInt(wrapper.fileno()), wrapper, wrapper):
        await wait_for(fd)
    assert wrapper.calls == 4
    os.close(read)
    os.close(write)


@both_ways
@in_run
async def test_cancelled_before_and_during(wait, pair):
    # One end is neither readable nor writable, the other is both.
    idle, ready = pair
    fill(idle)
    wait = getattr(trio.lowlevel, wait)
    with trio.CancelScope() as scope:
        scope.cancel()
        await wait(ready)
    assert scope.cancelled_caught
    with trio.move_on_after(0.01) as scope:
        await wait(idle)
    assert scope.cancelled_caught
    assert are_waiting(1, 0)


@both_ways
@in_run
async def test_thrown_into_and_closed(wait, pair):
    fill(pair[0])
    wait = getattr(trio.lowlevel, wait)

    async def leave_by(how):
        coro = wait(pair[0])

        class Driver:
            def __await__(self):
                yield coro.send(None)

        async with trio.open_nursery() as nursery:

            @nursery.start_soon
            async def sleeper():
                await Driver()

            await trio.testing.wait_all_tasks_blocked()
            assert n_waiting() == 2
            if how == "close":
                coro.close()
            else:
                with pytest.raises(KeyError):
                    coro.throw(KeyError("x"))
            assert n_waiting() == 1
            nursery.cancel_scope.cancel()

    await leave_by("close")
    await leave_by("throw")


# --- one reader, one writer ------------------------------------------


@both_ways
@in_run
async def test_two_at_once(wait, pair):
    fill(pair[0])
    wait = getattr(trio.lowlevel, wait)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(wait, pair[0])
        await trio.testing.wait_all_tasks_blocked()
        with pytest.raises(trio.BusyResourceError, match=f"^{BUSY}$"):
            await wait(pair[0])
        # Who was there first is not disturbed.
        assert n_waiting() == 2
        nursery.cancel_scope.cancel()


@in_run
async def test_both_directions_and_statistics(pair):
    left, right = pair
    fill(left)
    woken = []

    async def wait(name):
        await getattr(trio.lowlevel, name)(left)
        woken.append(name)

    async with trio.open_nursery() as nursery:
        for name in WAITS:
            nursery.start_soon(wait, name)
        await trio.testing.wait_all_tasks_blocked()
        assert are_waiting(2, 1)
        right.send(b"x")
        await trio.testing.wait_all_tasks_blocked()
        assert woken == ["wait_readable"]
        assert are_waiting(1, 1)
        left.recv(1)
        # The writer was armed again after the reader's event.
        while True:
            try:
                right.recv(65536)
            except BlockingIOError:
                break
        await trio.testing.wait_all_tasks_blocked()
        assert woken == WAITS
    assert are_waiting(1, 0)


@in_run
async def test_cancelling_one_direction_leaves_the_other(pair):
    left, right = pair
    fill(left)
    async with trio.open_nursery() as outer:
        outer.start_soon(trio.lowlevel.wait_readable, left)
        async with trio.open_nursery() as inner:
            inner.start_soon(trio.lowlevel.wait_writable, left)
            await trio.testing.wait_all_tasks_blocked()
            inner.cancel_scope.cancel()
        await polls(3)
        assert are_waiting(2, 0)
        right.send(b"x")


@in_run
async def test_hangup_wakes_both(pair):
    left, right = pair
    fill(left)
    async with trio.open_nursery() as nursery:
        for name in WAITS:
            nursery.start_soon(getattr(trio.lowlevel, name), left)
        await trio.testing.wait_all_tasks_blocked()
        right.close()


@in_run
async def test_statistics_object():
    a = trio.lowlevel.current_statistics().io_statistics
    b = trio.lowlevel.current_statistics().io_statistics
    assert are_waiting(1, 0)
    assert a.backend == POLLER
    assert a == a
    assert a != b
    assert len({a, b}) == 2
    fields = "tasks_waiting_read=1, tasks_waiting_write=0"
    if BACKEND == "kqueue":
        fields = "tasks_waiting=1, monitors=0"
    assert repr(a) == f"{type(a).__name__}({fields}, backend={POLLER!r})"
    with pytest.raises(AttributeError):
        a.backend = "none"


@in_run
async def test_many_events_in_one_poll():
    pairs = [stdlib.socketpair() for _ in range(200)]
    woken = 0

    async def wait(sock):
        nonlocal woken
        await trio.lowlevel.wait_readable(sock)
        woken += 1

    async with trio.open_nursery() as nursery:
        for left, _ in pairs:
            nursery.start_soon(wait, left)
        await trio.testing.wait_all_tasks_blocked()
        for _, right in pairs:
            right.send(b"x")
    assert woken == 200
    for left, right in pairs:
        left.close()
        right.close()


# --- closing ---------------------------------------------------------


@in_run
async def test_notify_closing(pair):
    left, _ = pair
    fill(left)
    errors = []

    async def wait(name):
        with pytest.raises(
            trio.ClosedResourceError, match="^another task closed this fd$"
        ) as info:
            await getattr(trio.lowlevel, name)(left)
        errors.append(info.value)

    for fd in (left, left.fileno()):
        async with trio.open_nursery() as nursery:
            for name in WAITS:
                nursery.start_soon(wait, name)
            await trio.testing.wait_all_tasks_blocked()
            trio.lowlevel.notify_closing(fd)
            assert are_waiting(1, 0)
    assert len({id(error) for error in errors}) == 4
    # It was not closed after all.
    drained = left.dup()
    drained.close()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(trio.lowlevel.wait_readable, left)
        await trio.testing.wait_all_tasks_blocked()
        pair[1].send(b"x")


@in_run
async def test_notify_closing_of_nothing():
    trio.lowlevel.notify_closing(-1)
    trio.lowlevel.notify_closing(12345)
    with stdlib.socket() as sock:
        pass
    trio.lowlevel.notify_closing(sock)
    with pytest.raises(RuntimeError):
        trio.lowlevel.notify_closing(object())


@in_run
async def test_closed_under_a_waiter(pair):
    """Nobody says so; then the other direction is asked for."""
    left, _ = pair
    twin = left.dup()
    errors = []
    async with trio.open_nursery() as nursery:

        @nursery.start_soon
        async def reader():
            with pytest.raises(OSError, match="Bad file descriptor") as info:
                await trio.lowlevel.wait_readable(fd)
            errors.append(info.value)

        fd = left.fileno()
        await trio.testing.wait_all_tasks_blocked()
        left.close()
        with pytest.raises(OSError, match="Bad file descriptor") as info:
            await trio.lowlevel.wait_writable(fd)
        await trio.testing.wait_all_tasks_blocked()
        assert len(errors) == 1
        assert errors[0] is not info.value
        assert are_waiting(1, 0)
    twin.close()


@in_run
async def test_closed_under_two_waiters_one_cancelled(pair):
    left, _ = pair
    fill(left)
    twin = left.dup()
    fd = left.fileno()
    failed = []
    async with trio.open_nursery() as outer:

        @outer.start_soon
        async def reader():
            with pytest.raises(OSError, match="Bad file descriptor"):
                await trio.lowlevel.wait_readable(fd)
            failed.append(True)

        async with trio.open_nursery() as inner:
            inner.start_soon(trio.lowlevel.wait_writable, fd)
            await trio.testing.wait_all_tasks_blocked()
            left.close()
            inner.cancel_scope.cancel()
        await trio.testing.wait_all_tasks_blocked()
        # poll(2) knows numbers only and can tell no later than at its turn.
        if POLLER != "poll":
            assert failed
    twin.close()


@in_run
async def test_stale_registration_does_not_spin(pair):
    left, right = pair
    twin = left.dup()
    fd = left.fileno()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(trio.lowlevel.wait_readable, fd)
        await trio.testing.wait_all_tasks_blocked()
        left.close()
        right.send(b"x")
        waits = []

        class Count(trio.abc.Instrument):
            def after_io_wait(self, timeout):
                waits.append(timeout)

        counter = Count()
        trio.lowlevel.add_instrument(counter)
        await polls(5)
        trio.lowlevel.remove_instrument(counter)
        assert len(waits) < 20
        nursery.cancel_scope.cancel()
    twin.close()


@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
def test_waiters_of_an_abandoned_run_are_let_go():
    # A run that dies leaves tasks behind in its table.
    left, right = stdlib.socketpair()

    async def main():
        @trio.lowlevel.spawn_system_task
        async def waiter():
            await trio.lowlevel.wait_readable(left)

        await trio.testing.wait_all_tasks_blocked()
        trio.lowlevel.current_task()._schedule_points = "no number"
        await trio.lowlevel.checkpoint()

    with left, right:
        with pytest.raises(trio.TrioInternalError):
            trio.run(main)
        gc.collect()


# --- signals, threads, forks -----------------------------------------


@pytest.mark.skipif(os.name == "nt", reason="no signals to send there")
def test_signal_handlers_run_during_a_wait():
    calls = []
    old = signal.signal(signal.SIGUSR1, lambda *_: calls.append(1))
    try:

        async def main():
            timer = threading.Timer(0.02, os.kill, (os.getpid(), signal.SIGUSR1))
            timer.start()
            while not calls:
                await trio.sleep(0.01)
            timer.join()

        trio.run(main)
    finally:
        signal.signal(signal.SIGUSR1, old)
    assert calls == [1]


@pytest.mark.skipif(os.name == "nt", reason="no signals to send there")
def test_signal_during_a_long_wait_does_not_end_it():
    calls = []
    old = signal.signal(signal.SIGUSR1, lambda *_: calls.append(trio.current_time()))
    try:

        async def main():
            timer = threading.Timer(0.02, os.kill, (os.getpid(), signal.SIGUSR1))
            timer.start()
            start = trio.current_time()
            await trio.sleep(0.1)
            assert trio.current_time() - start >= 0.1
            timer.join()
            return start

        start = trio.run(main)
    finally:
        signal.signal(signal.SIGUSR1, old)
    # The handler ran during the sleep, not at its end.
    assert len(calls) == 1
    assert calls[0] - start < 0.1


@pytest.mark.skipif(os.name == "nt", reason="no signals to send there")
@pytest.mark.filterwarnings("ignore:Trio guest run got abandoned:RuntimeWarning")
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
def test_exception_of_a_signal_handler_leaves_run():
    class Ring(Exception):
        pass

    def handler(*_):
        raise Ring

    old = signal.signal(signal.SIGUSR1, handler)
    try:

        async def main():
            timer = threading.Timer(0.02, os.kill, (os.getpid(), signal.SIGUSR1))
            timer.start()
            await trio.sleep(30)

        with pytest.raises(Ring):
            trio.run(main)
    finally:
        signal.signal(signal.SIGUSR1, old)
    gc.collect()  # what was abandoned complains here and not in another test
    trio.run(trio.lowlevel.checkpoint)


@forks
@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork()")
@in_run
async def test_forked_child_polls_for_itself(pair):
    left, right = pair
    async with trio.open_nursery() as nursery:

        @nursery.start_soon
        async def reader():
            await trio.lowlevel.wait_readable(left)

        await trio.testing.wait_all_tasks_blocked()
        pid = os.fork()
        if not pid:
            status = 1
            try:
                # What was waited for is waited for here too, with a poller of
                # the child's own.
                assert are_waiting(2, 0)
                right.send(b"x")
                await trio.testing.wait_all_tasks_blocked()
                assert are_waiting(1, 0)
                left.recv(1)
                status = 0
            finally:
                os._exit(status)
        _, status = os.waitpid(pid, 0)
        assert status == 0
        assert are_waiting(2, 0)
        right.send(b"y")
    assert left.recv(10) == b"y"


# --- choosing and replacing the poller -------------------------------


def run_program(program, **environment):
    return subprocess.run(
        [sys.executable, "-c", program],
        env={**os.environ, **environment},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


PRINT_BACKEND = """
import trio_c as trio
async def main():
    await trio.sleep(0)
    print(trio.lowlevel.current_statistics().io_statistics.backend)
trio.run(main)
"""


@pytest.mark.skipif(os.name == "nt", reason="there is but one")
def test_environment_chooses_the_poller():
    assert run_program(PRINT_BACKEND, TRIO_C_POLL="poll").stdout == "poll\n"
    assert run_program(PRINT_BACKEND, TRIO_C_POLL="").stdout == f"{BACKEND}\n"
    wrong = run_program(PRINT_BACKEND, TRIO_C_POLL="carrier pigeon")
    assert wrong.returncode == 1
    assert (
        "ValueError: TRIO_C_POLL: no such way of polling: 'carrier pigeon'"
        in wrong.stderr
    )


@pytest.mark.filterwarnings("ignore:Trio guest run got abandoned:RuntimeWarning")
@pytest.mark.filterwarnings("ignore:coroutine 'init' was never awaited:RuntimeWarning")
def test_replaced_get_events(monkeypatch, pair):
    left, right = pair
    from trio_c._core._run import TheIOManager

    calls = []
    original = TheIOManager.get_events

    def get_events(self, timeout):
        events = original(self, timeout)
        calls.append((timeout, len(events)))
        return events

    async def main():
        assert isinstance(trio.lowlevel.current_task()._runner.io_manager, TheIOManager)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(trio.lowlevel.wait_readable, left)
            await trio.testing.wait_all_tasks_blocked()
            right.send(b"x")

    with monkeypatch.context() as patch:
        patch.setattr(TheIOManager, "get_events", get_events)
        trio.run(main)
        assert any(n for _, n in calls)
        patch.setattr(TheIOManager, "get_events", None)
        with pytest.raises(TypeError, match="not callable"):
            trio.run(trio.lowlevel.checkpoint)
    seen = len(calls)
    left.recv(1)
    trio.run(main)
    assert len(calls) == seen


@both_ways
def test_replaced_wait(monkeypatch, pair, wait):
    from trio_c._core._run import TheIOManager

    calls = []
    original = getattr(TheIOManager, wait)

    async def patched(self, fd):
        await original(self, fd)
        calls.append(fd)

    async def main():
        pair[1].send(b"x")
        await getattr(trio.lowlevel, wait)(pair[0])

    monkeypatch.setattr(TheIOManager, wait, patched)
    trio.run(main)
    assert calls == [pair[0]]
    monkeypatch.undo()
    trio.run(main)
    assert calls == [pair[0]]


def test_wait_functions_look_like_functions():
    import inspect

    for name in WAITS:
        fn = getattr(trio.lowlevel, name)
        assert inspect.iscoroutinefunction(fn)
        assert str(inspect.signature(fn)) == "(fd: 'int | _HasFileNo') -> 'None'"
        assert fn.__doc__
    assert (
        str(inspect.signature(trio.lowlevel.notify_closing))
        == "(fd: 'int | _HasFileNo') -> 'None'"
    )
