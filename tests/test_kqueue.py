"""current_kqueue, wait_kevent, monitor_kevent: on a kqueue only."""

from __future__ import annotations

import gc
import inspect
import itertools
import os
import select
import socket as stdlib
import subprocess
import sys
import threading

import pytest
from _kqueue import (
    BUSY,
    change,
    counts,
    deletes,
    gone,
    leave,
    once,
    queue_is_deprecated,
    settled_counts,
    trigger,
    with_kqueue,
)
from _sockets import POLLER, in_run, prime, tcp_pair

import trio_c as trio
import trio_c.testing
from trio_c._native import BACKEND
from trio_c.lowlevel import Abort
from trio_c.testing import wait_all_tasks_blocked

NAMES = ["current_kqueue", "monitor_kevent", "wait_kevent"]
OUTSIDE = "^must be called from async context$"

if POLLER == "kqueue":
    from select import (
        KQ_EV_ADD,
        KQ_EV_CLEAR,
        KQ_EV_DELETE,
        KQ_EV_ONESHOT,
        KQ_FILTER_READ,
        KQ_FILTER_TIMER,
        KQ_FILTER_USER,
        KQ_FILTER_WRITE,
        kevent,
    )

    from trio_c.lowlevel import current_kqueue, monitor_kevent, wait_kevent


# --- the names


def test_names_are_there_with_a_kqueue_only():
    private = [trio._core, trio._core._run]
    for namespace in [trio.lowlevel, *private]:
        for name in NAMES:
            assert hasattr(namespace, name) == (BACKEND == "kqueue")
    for namespace in [trio.lowlevel, trio._core]:
        found = [name for name in namespace.__all__ if name in NAMES]
        assert sorted(found) == (NAMES if BACKEND == "kqueue" else [])
    manager = "KqueueIOManager" if BACKEND == "kqueue" else "EpollIOManager"
    assert trio._core._run.TheIOManager.__name__ == manager


@pytest.mark.skipif(BACKEND != "kqueue", reason="they are there with a kqueue only")
def test_functions():
    for name in NAMES:
        function = getattr(trio.lowlevel, name)
        assert function.__module__ == "trio_c.lowlevel"
        assert function.__name__ == function.__qualname__ == name
        assert function.__doc__
        assert function is getattr(trio._core, name)
        parameters = [*inspect.signature(function).parameters]
        assert parameters == ["ident", "filter", "abort_func"][: len(parameters)]
        assert inspect.iscoroutinefunction(function) == (name == "wait_kevent")
        with pytest.raises(RuntimeError, match=OUTSIDE):
            result = function(*range(len(parameters)))
            result.send(None)


@queue_is_deprecated
@pytest.mark.skipif(BACKEND != "kqueue", reason="they are there with a kqueue only")
def test_told_to_use_poll(monkeypatch):
    monkeypatch.setenv("TRIO_C_POLL", "poll")

    async def main():
        with pytest.raises(RuntimeError, match="^this run has no kqueue: .*'poll'$"):
            trio.lowlevel.current_kqueue()
        with pytest.raises(RuntimeError, match="^this run has no kqueue: .*'poll'$"):
            with trio.move_on_after(5):
                await trio.lowlevel.wait_kevent(3, -1, leave)
        with pytest.raises(RuntimeError, match="^this run has no kqueue: .*'poll'$"):
            with trio.lowlevel.monitor_kevent(3, -1):
                pass
        statistics = trio.lowlevel.current_statistics().io_statistics
        assert (statistics.backend, statistics.monitors) == ("poll", 0)
        with trio.fail_after(30):
            process = await trio.lowlevel.open_process(["cat"], stdin=subprocess.PIPE)
            async with trio.open_nursery() as nursery:
                nursery.start_soon(process.wait)
                await wait_all_tasks_blocked()
                await process.stdin.aclose()
        assert process.returncode == 0

    trio.run(main)


# --- the kqueue


@with_kqueue
def test_current_kqueue():
    async def main():
        kqueue = current_kqueue()
        assert type(kqueue) is select.kqueue
        assert kqueue is current_kqueue()
        assert not kqueue.closed
        assert not os.get_inheritable(kqueue.fileno())
        # It is the one that the run waits with.
        await trio.sleep(0)
        once(7, KQ_FILTER_USER)
        trigger(7)
        assert (await wait_kevent(7, KQ_FILTER_USER, leave)).ident == 7
        return kqueue

    first = trio.run(main)
    assert first.closed
    second = trio.run(main)
    assert second.closed and second is not first


@with_kqueue
def test_a_descriptor_for_each_run():
    def descriptors():
        return os.listdir("/proc/self/fd" if sys.platform == "linux" else "/dev/fd")

    async def main():
        current_kqueue()

    trio.run(main)  # what is only once
    before = len(descriptors())
    for function in (main, trio.lowlevel.checkpoint):
        for _ in range(3):
            trio.run(function)
    assert len(descriptors()) == before


@with_kqueue
@pytest.mark.filterwarnings("ignore:This process .* is multi-threaded")
@in_run
async def test_forked_child_has_another():
    kqueue = current_kqueue()
    number = kqueue.fileno()
    pid = os.fork()
    if not pid:
        status = 1
        try:
            assert current_kqueue() is not kqueue
            once(7, KQ_FILTER_USER)
            trigger(7)
            await wait_kevent(7, KQ_FILTER_USER, leave)
            status = 0
        finally:
            os._exit(status)
    assert os.waitpid(pid, 0)[1] == 0
    assert current_kqueue() is kqueue
    assert kqueue.fileno() == number
    assert gone(7, KQ_FILTER_USER)


@with_kqueue
@pytest.mark.filterwarnings("ignore:This process .* is multi-threaded")
def test_forked_child_does_not_close_it(monkeypatch):
    """Its number may be that of something else there."""
    closed = []

    class Kqueue:
        fromfd = classmethod(lambda cls, number: cls())

        def close(self):
            closed.append(os.getpid())

    async def main():
        nonlocal pid
        current_kqueue()
        pid = os.fork()
        if not pid:  # the run ends at once
            trio.lowlevel.current_task()._schedule_points = "no number"
            await trio.lowlevel.checkpoint()

    monkeypatch.setattr(select, "kqueue", Kqueue)
    pid = None
    try:
        trio.run(main)
    except trio.TrioInternalError:
        assert pid == 0
    if not pid:
        os._exit(1 if closed else 0)
    assert os.waitpid(pid, 0)[1] == 0
    assert closed == [os.getpid()]


# --- wait_kevent


@with_kqueue
@in_run
async def test_the_event():
    read, write = os.pipe()
    once(read, KQ_FILTER_READ, udata=(1 << 63) + 5)
    os.write(write, b"abc")
    event = await wait_kevent(read, KQ_FILTER_READ, leave)
    assert type(event) is kevent
    assert (event.ident, event.filter, event.data) == (read, KQ_FILTER_READ, 3)
    assert event.udata == (1 << 63) + 5
    assert event.flags & KQ_EV_ONESHOT
    assert gone(read, KQ_FILTER_READ)
    os.close(read)
    os.close(write)


@with_kqueue
@in_run
async def test_waiting_is_waiting():
    assert await settled_counts() == (1, 0)
    async with trio.open_nursery() as nursery:

        @nursery.start_soon
        async def waiter():
            once(1 << 40, KQ_FILTER_USER)
            event = await wait_kevent(1 << 40, KQ_FILTER_USER, leave)
            assert event.ident == 1 << 40
            seen.append("event")

        seen = []
        assert await settled_counts() == (2, 0)
        assert not seen
        # From another thread, while the run sleeps.
        kqueue = current_kqueue()
        thread = threading.Timer(0.05, trigger, (1 << 40, kqueue))
        thread.start()
    thread.join()
    assert seen


@with_kqueue
@in_run
async def test_timer():
    start = trio.current_time()
    once(1, KQ_FILTER_TIMER, data=20)
    event = await wait_kevent(1, KQ_FILTER_TIMER, leave)
    assert event.filter == KQ_FILTER_TIMER
    assert trio.current_time() - start >= 0.019


@with_kqueue
@in_run
async def test_many_events():
    got = []

    async def waiter(number):
        once(number, KQ_FILTER_USER)
        event = await wait_kevent(number, KQ_FILTER_USER, leave)
        got.append(event.ident)

    async with trio.open_nursery() as nursery:
        for number in range(300):
            nursery.start_soon(waiter, number)
        await wait_all_tasks_blocked()
        for number in range(300):
            trigger(number)
    assert sorted(got) == [*range(300)]


@with_kqueue
@in_run
async def test_cancelled():
    calls = []

    def abort(raise_cancel):
        calls.append(raise_cancel)
        change(3, KQ_FILTER_USER, KQ_EV_DELETE)
        return Abort.SUCCEEDED

    for _ in range(2):  # the second finds the pair free
        once(3, KQ_FILTER_USER)
        with trio.move_on_after(0.01) as scope:
            await wait_kevent(3, KQ_FILTER_USER, abort)
        assert scope.cancelled_caught
    assert len(calls) == 2
    with pytest.raises(trio.Cancelled):
        calls[0]()
    assert gone(3, KQ_FILTER_USER)
    # In a scope that is cancelled already, it is the abort function's turn, too.
    with trio.CancelScope() as scope:
        scope.cancel()
        once(3, KQ_FILTER_USER)
        await wait_kevent(3, KQ_FILTER_USER, abort)
    assert scope.cancelled_caught
    assert len(calls) == 3


@with_kqueue
@in_run
async def test_not_cancelled_after_all():
    def never(raise_cancel):
        return Abort.FAILED

    once(3, KQ_FILTER_USER)
    with trio.CancelScope() as scope:
        scope.cancel()
        async with trio.open_nursery() as nursery:

            @nursery.start_soon
            async def later():
                with trio.CancelScope(shield=True):
                    await wait_all_tasks_blocked()
                    with pytest.raises(trio.BusyResourceError, match=BUSY):
                        await wait_kevent(3, KQ_FILTER_USER, leave)
                    trigger(3)

            event = await wait_kevent(3, KQ_FILTER_USER, never)
            assert event.ident == 3
            event = None
    assert not scope.cancelled_caught


@with_kqueue
@pytest.mark.parametrize("how", ["close", "throw"])
@in_run
async def test_left_by_force(how):
    class Driver:
        def __await__(self):
            yield coroutine.__await__().send(None)

    async with trio.open_nursery() as nursery:

        @nursery.start_soon
        async def sleeper():
            await Driver()

        once(3, KQ_FILTER_USER)
        coroutine = wait_kevent(3, KQ_FILTER_USER, lambda _: Abort.SUCCEEDED)
        await wait_all_tasks_blocked()
        tasks, _ = counts()
        if how == "close":
            coroutine.close()
        else:
            with pytest.raises(KeyError):
                coroutine.throw(KeyError("x"))
        assert counts() == (tasks - 1, 0)
        change(3, KQ_FILTER_USER, KQ_EV_DELETE)
        nursery.cancel_scope.cancel()


@with_kqueue
@in_run
async def test_wrong_arguments():
    for ident, filter in [("x", -1), (None, -1), (1, "x"), (1.5, -1)]:
        with pytest.raises(TypeError):
            await wait_kevent(ident, filter, leave)
    for ident in (-1, 1 << 64):
        with pytest.raises(OverflowError):
            await wait_kevent(ident, KQ_FILTER_USER, leave)
    await wait_all_tasks_blocked()
    assert counts() == (1, 0)


# --- one receiver for each pair


@with_kqueue
@queue_is_deprecated
@in_run
async def test_busy():
    once(3, KQ_FILTER_USER)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(wait_kevent, 3, KQ_FILTER_USER, deletes(3, KQ_FILTER_USER))
        await wait_all_tasks_blocked()
        with pytest.raises(trio.BusyResourceError, match=BUSY):
            await wait_kevent(3, KQ_FILTER_USER, leave)
        with pytest.raises(trio.BusyResourceError, match=BUSY):
            with monitor_kevent(3, KQ_FILTER_USER):
                pass
        with monitor_kevent(4, KQ_FILTER_USER), monitor_kevent(3, KQ_FILTER_TIMER):
            with pytest.raises(trio.BusyResourceError, match=BUSY):
                with monitor_kevent(4, KQ_FILTER_USER):
                    pass
            with pytest.raises(trio.BusyResourceError, match=BUSY):
                await wait_kevent(3, KQ_FILTER_TIMER, leave)
            assert await settled_counts() == (2, 2)
        assert await settled_counts() == (2, 0)
        nursery.cancel_scope.cancel()
    assert await settled_counts() == (1, 0)


@with_kqueue
@queue_is_deprecated
@in_run
async def test_busy_with_readiness():
    left, right = stdlib.socketpair()
    with left, right:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(trio.lowlevel.wait_readable, left)
            await wait_all_tasks_blocked()
            with pytest.raises(trio.BusyResourceError, match=BUSY):
                await wait_kevent(left.fileno(), KQ_FILTER_READ, leave)
            with pytest.raises(trio.BusyResourceError, match=BUSY):
                with monitor_kevent(left.fileno(), KQ_FILTER_READ):
                    pass
            # The other direction is free.
            once(left.fileno(), KQ_FILTER_WRITE)
            await wait_kevent(left.fileno(), KQ_FILTER_WRITE, leave)
            nursery.cancel_scope.cancel()
        # So is this one, afterwards.
        with monitor_kevent(left.fileno(), KQ_FILTER_READ):
            with pytest.raises(trio.BusyResourceError, match=BUSY):
                await trio.lowlevel.wait_readable(left)
            await trio.lowlevel.wait_writable(left)
        right.send(b"x")
        await trio.lowlevel.wait_readable(left)


@with_kqueue
@in_run
async def test_busy_with_a_socket_that_stays_registered():
    peer, sock = await tcp_pair()
    with peer, sock:
        await prime(peer, sock)
        with pytest.raises(trio.BusyResourceError, match=BUSY):
            await wait_kevent(sock.fileno(), KQ_FILTER_READ, leave)
        number = sock.fileno()
        sock.close()
        # The number is free again.
        os.dup2(peer.fileno(), number, inheritable=False)
        once(number, KQ_FILTER_WRITE)
        await wait_kevent(number, KQ_FILTER_WRITE, leave)
        os.close(number)


@with_kqueue
@pytest.mark.parametrize("flags", ["KQ_EV_ONESHOT", "KQ_EV_CLEAR", None])
@pytest.mark.parametrize("kind", ["stranger", "ours"])
@in_run
async def test_who_waits_already_is_not_disturbed(kind, flags):
    """wait_kevent wants its event registered before, which replaces what was."""
    peer, sock = await tcp_pair()
    number = sock.fileno()
    with peer, sock:
        for _ in range(3):
            async with trio.open_nursery() as nursery:
                if kind == "ours":
                    nursery.start_soon(sock.recv, 1)
                else:
                    nursery.start_soon(trio.lowlevel.wait_readable, number)
                await wait_all_tasks_blocked()
                extra = getattr(select, flags) if flags else 0
                change(number, KQ_FILTER_READ, KQ_EV_ADD | extra)
                with pytest.raises(trio.BusyResourceError, match=BUSY):
                    await wait_kevent(number, KQ_FILTER_READ, leave)
                nursery.cancel_scope.deadline = trio.current_time() + 5
                peer.send(b"x")
            assert not nursery.cancel_scope.cancelled_caught
            if kind == "stranger":
                assert await sock.recv(1) == b"x"


# --- monitor_kevent


@with_kqueue
@queue_is_deprecated
@in_run
async def test_monitor():
    with monitor_kevent(3, KQ_FILTER_USER) as queue:
        assert type(queue) is trio.lowlevel.UnboundedQueue
        change(3, KQ_FILTER_USER, KQ_EV_ADD | KQ_EV_CLEAR)
        for _ in range(3):
            trigger(3)
            batch = await queue.get_batch()
            assert [(event.ident, event.filter) for event in batch] == [
                (3, KQ_FILTER_USER)
            ]
        change(3, KQ_FILTER_USER, KQ_EV_DELETE)
        # A one-shot event does not end the monitoring.
        for _ in range(2):
            once(3, KQ_FILTER_USER)
            trigger(3)
            assert len(await queue.get_batch()) == 1
    with pytest.raises(KeyError):
        with monitor_kevent(3, KQ_FILTER_USER):
            raise KeyError
    assert counts() == (1, 0)


@with_kqueue
def test_monitor_says_that_its_queue_is_deprecated():
    async def main():
        manager = monitor_kevent(3, KQ_FILTER_USER)
        with pytest.warns(trio.TrioDeprecationWarning, match="UnboundedQueue"):
            manager.__enter__()
        manager.__exit__(None, None, None)

    trio.run(main)


@with_kqueue
@in_run
async def test_whoever_gets_an_event_may_have_others_fetched():
    runner = trio.lowlevel.current_task()._runner
    got = []

    class Receiver:
        def put_nowait(self, event):
            got.append(event.ident)
            if len(got) == 1:
                for number in range(100, 200):
                    once(number, KQ_FILTER_USER)
                    trigger(number)
                runner.io_manager.get_events(0)

    receiver, numbers = Receiver(), [*range(10), *range(100, 200)]
    pairs = [stdlib.socketpair() for _ in range(20)]  # room to fetch many at once
    async with trio.open_nursery() as nursery:
        for left, _ in pairs:
            nursery.start_soon(trio.lowlevel.wait_readable, left)
        await wait_all_tasks_blocked()
        for number in numbers:
            trio_c._native.io_add_receiver(runner, number, KQ_FILTER_USER, receiver)
        for number in range(10):
            once(number, KQ_FILTER_USER)
            trigger(number)
        deadline = trio.current_time() + 5
        while len(got) < len(numbers) and trio.current_time() < deadline:
            await trio.sleep(0)
        for number in numbers:
            trio_c._native.io_remove_receiver(runner, number, KQ_FILTER_USER, receiver)
        nursery.cancel_scope.cancel()
    assert sorted(got) == numbers
    for sock in itertools.chain(*pairs):
        sock.close()


# --- closing


@with_kqueue
@queue_is_deprecated
@in_run
async def test_notify_closing():
    left, right = stdlib.socketpair()
    number = left.fileno()
    errors = []

    async def waiter(filter):
        if filter == KQ_FILTER_READ:
            once(number, filter)
        with pytest.raises(
            trio.ClosedResourceError, match="^another task closed this fd$"
        ) as info:
            await wait_kevent(number, filter, deletes(number, filter))
        errors.append(info.value)

    with left, right:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(waiter, KQ_FILTER_READ)
            nursery.start_soon(waiter, KQ_FILTER_WRITE)  # not even registered
            once(number, KQ_FILTER_USER)
            with monitor_kevent(number, KQ_FILTER_USER):  # no descriptor
                await wait_all_tasks_blocked()
                trio.lowlevel.notify_closing(left)
                assert counts() == (1, 1)
            change(number, KQ_FILTER_USER, KQ_EV_DELETE)
        assert len({id(error) for error in errors}) == 2
        assert gone(number, KQ_FILTER_READ)


@with_kqueue
@queue_is_deprecated
@in_run
async def test_notify_closing_what_is_monitored():
    left, right = stdlib.socketpair()
    with left, right:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(trio.lowlevel.wait_readable, left)
            with monitor_kevent(left.fileno(), KQ_FILTER_WRITE):
                before = await settled_counts()
                with pytest.raises(
                    NotImplementedError,
                    match="^can't close an fd that monitor_kevent is using$",
                ):
                    trio.lowlevel.notify_closing(left)
                assert counts() == before  # nobody was told
            nursery.cancel_scope.cancel()


# --- events that nobody waits for


@with_kqueue
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
def test_event_for_nobody():
    async def main():
        once(77, KQ_FILTER_USER)
        trigger(77)
        await trio.sleep(1)

    with pytest.raises(trio.TrioInternalError) as info:
        trio.run(main)
    assert repr(info.value.__cause__) == f"KeyError((77, {KQ_FILTER_USER}))"
    gc.collect()


@with_kqueue
@in_run
async def test_event_on_its_way_to_somebody_who_left():
    # As in guest mode, where the host's callbacks run between the two.
    manager = trio.lowlevel.current_task()._runner.io_manager
    async with trio.open_nursery() as nursery:

        @nursery.start_soon
        async def waiter():
            once(3, KQ_FILTER_USER)
            await wait_kevent(3, KQ_FILTER_USER, lambda _: Abort.SUCCEEDED)

        await wait_all_tasks_blocked()
        trigger(3)
        assert manager.get_events(10)
        nursery.cancel_scope.cancel()
        manager.process_events([])
    assert gone(3, KQ_FILTER_USER)


@with_kqueue
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
def test_waiters_of_an_abandoned_run_are_let_go():
    async def main():
        @trio.lowlevel.spawn_system_task
        async def waiter():
            once(3, KQ_FILTER_USER)
            await wait_kevent(3, KQ_FILTER_USER, leave)

        await wait_all_tasks_blocked()
        trio.lowlevel.current_task()._schedule_points = "no number"
        await trio.lowlevel.checkpoint()

    with pytest.raises(trio.TrioInternalError):
        trio.run(main)
    gc.collect()
