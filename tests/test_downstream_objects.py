"""Private names that programs in the wild rely on: inside locks, channels and
sockets, of the wake-up pair, and among the helpers.

What there is, and what not, is in docs/private-names.md.
"""

from __future__ import annotations

import ssl
from collections.abc import Generator
from unittest import mock

import pytest
import sniffio
from _processes import run_code

import trio_c as trio
import trio_c.testing
from trio_c import lowlevel, socket
from trio_c.testing import trio_test, wait_all_tasks_blocked

# --- locks, channels, sockets


@trio_test
async def test_parking_in_the_lot_of_a_lock_takes_the_lock() -> None:
    lock = trio.Lock()
    owners = []

    async def fast() -> None:
        task = lowlevel.current_task()
        try:
            lock.acquire_nowait()
        except trio.WouldBlock:
            await lock._lot.park()
        assert lock.statistics().owner is task
        with pytest.raises(
            RuntimeError, match="^attempt to re-acquire an already held Lock$"
        ):
            lock.acquire_nowait()
        owners.append(task)
        lock.release()

    assert isinstance(lock._lot, lowlevel.ParkingLot)
    async with trio.open_nursery() as nursery:
        async with lock:
            for _ in range(3):
                nursery.start_soon(fast)
            await wait_all_tasks_blocked()
            assert lock.statistics().tasks_waiting == len(lock._lot) == 3
    assert len(owners) == 3 and not lock.locked()

    # The owner who came by the lot breaks it, too.
    async def take_and_die() -> None:
        await lock._lot.park()

    with pytest.raises(trio.BrokenResourceError):
        async with trio.open_nursery(strict_exception_groups=True) as nursery:
            await lock.acquire()
            nursery.start_soon(take_and_die)
            await wait_all_tasks_blocked()
            lock.release()
            await wait_all_tasks_blocked()
            try:
                await lock.acquire()
            except trio.BrokenResourceError as exc:
                error = exc
        raise error


@trio_test
async def test_parking_in_the_lot_of_a_semaphore_takes_one() -> None:
    semaphore = trio.Semaphore(0)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(semaphore._lot.park)
        await wait_all_tasks_blocked()
        semaphore.release()
    assert semaphore.value == 0


@trio_test
async def test_what_a_channel_shows() -> None:
    send, receive = trio.open_memory_channel[int](2)
    state = receive._state
    assert state is send._state or state.statistics() == send._state.statistics()
    assert isinstance(state, trio._channel.MemoryChannelState)
    assert (state.max_buffer_size, len(state.data), list(state.data)) == (2, 0, [])
    assert not state.data and not state.receive_tasks and not state.send_tasks
    await send.send(7)
    assert state.data and list(state.data) == [7]
    assert (state.open_send_channels, state.open_receive_channels) == (1, 1)
    assert send._closed is receive._closed is False
    await receive.receive()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(receive.receive)
        await wait_all_tasks_blocked()
        (task,) = nursery.child_tasks
        assert list(state.receive_tasks) == [task]
        send.send_nowait(8)
    send.close()
    assert send._closed and not receive._closed
    assert state.open_send_channels == 0
    receive.close()
    assert receive._closed


@trio_test
async def test_what_is_behind_a_socket() -> None:
    with socket.socket() as sock:
        assert type(sock._sock).__module__ == "socket"
        assert sock._sock.fileno() == sock.fileno()


@trio_test
async def test_what_is_behind_tls() -> None:
    here, there = trio.testing.memory_stream_pair()
    context = ssl.create_default_context()
    stream = trio.SSLStream(here, context, server_hostname="localhost")
    assert isinstance(stream._ssl_object, ssl.SSLObject)
    assert stream._ssl_object.selected_alpn_protocol() is None


# --- waking a loop


@pytest.fixture
def pair() -> Generator[object]:
    pair = trio._core._wakeup_socketpair.WakeupSocketpair()
    yield pair
    pair.close()


def test_a_wakeup_pair(pair) -> None:
    async def main() -> None:
        for _ in range(3):
            for _ in range(1000):
                pair.wakeup_thread_and_signal_safe()
            await pair.wait_woken()
            with pytest.raises(BlockingIOError):
                pair.wakeup_sock.recv(1)

    trio.run(main)


def test_draining_a_wakeup_pair_ends(pair) -> None:
    # The other end is gone: it reads as the end of the stream, for ever.
    pair.write_sock.send(b"\0")
    pair.write_sock.close()
    pair.drain()
    assert pair.wakeup_sock.recv(1) == b""
    pair.drain()


def test_draining_can_be_replaced(pair, monkeypatch) -> None:
    drained = []
    monkeypatch.setattr(type(pair), "drain", lambda self: drained.append(self))
    pair.wakeup_thread_and_signal_safe()
    trio.run(pair.wait_woken)
    assert drained == [pair]


# --- which library is it?


@trio_test
async def test_which_library() -> None:
    def ask() -> str:
        return sniffio.current_async_library()

    assert ask() == sniffio.thread_local.name == "trio"
    # Writing it is believed, until the next step.
    sniffio.thread_local.name = "other"
    assert ask() == "other"
    sniffio.thread_local.name = "trio"

    def in_thread() -> tuple[str, object]:
        with pytest.raises(sniffio.AsyncLibraryNotFoundError):
            ask()
        return trio.from_thread.run_sync(ask)

    assert await trio.to_thread.run_sync(in_thread) == "trio"


def test_which_library_outside() -> None:
    trio.run(lowlevel.checkpoint)
    with pytest.raises(sniffio.AsyncLibraryNotFoundError):
        sniffio.current_async_library()


def test_programs_look_into_sys_modules() -> None:
    run_code(
        """
import sys
import trio_c; trio_c.install()
assert "trio" not in sys.modules
import trio
assert sys.modules["trio"] is trio is trio_c
assert sys.modules["trio"].lowlevel.checkpoint is trio_c.lowlevel.checkpoint
"""
    )


# --- random numbers, and reducing exceptions


def test_scheduling_can_be_made_repeatable(monkeypatch) -> None:
    run = trio._core._run
    monkeypatch.setattr(run, "_ALLOW_DETERMINISTIC_SCHEDULING", True)
    state = run._r.getstate()

    def order() -> list[int]:
        result = []

        async def append(n: int) -> None:
            result.append(n)

        async def main() -> None:
            async with trio.open_nursery() as nursery:
                for n in range(20):
                    nursery.start_soon(append, n)

        trio.run(main)
        return result

    run._r.seed(5)
    first = order()
    run._r.seed(5)
    assert order() == first
    run._r.seed(6)
    assert order() != first
    run._r.setstate(state)


def test_reducing_a_group_to_what_matters() -> None:
    util = trio._util
    error = ValueError()
    error.__cause__ = cause = KeyError()
    group = BaseExceptionGroup("", [trio.Cancelled._create(), error])
    with pytest.raises(ValueError) as caught:
        util.raise_single_exception_from_group(group)
    assert caught.value is error and error.__cause__ is cause
    two = ExceptionGroup("", [ValueError(), ValueError()])
    with pytest.raises(util.MultipleExceptionError) as failed:
        util.raise_single_exception_from_group(two)
    assert failed.value.__cause__ is two
    with pytest.raises(trio.Cancelled):
        util.raise_single_exception_from_group(
            BaseExceptionGroup("", [trio.Cancelled._create()])
        )


def test_detecting_conflicts() -> None:
    detector = trio._util.ConflictDetector("busy")
    with detector:
        with pytest.raises(trio.BusyResourceError, match="^busy$"):
            detector.__enter__()
    with detector:
        pass
    assert trio._util.is_main_thread()


def test_closing_on_error() -> None:
    close_on_error = trio._highlevel_open_unix_stream.close_on_error
    thing = mock.Mock()
    with close_on_error(thing) as same:
        assert same is thing
    thing.close.assert_not_called()
    with pytest.raises(ValueError):
        with close_on_error(thing):
            raise ValueError
    thing.close.assert_called_once_with()
    assert trio._highlevel_open_unix_stream.has_unix is hasattr(socket, "AF_UNIX")
