"""Completion ports: overlapped operations, and keys that are monitored."""

import ctypes
import gc
import inspect
import os
import random
import signal
import subprocess
import sys
import time
import typing
import weakref

import pytest

import trio_c as trio
from trio_c import lowlevel
from trio_c._native import BACKEND
from trio_c.testing import wait_all_tasks_blocked

if BACKEND != "iocp":
    pytest.skip("of Windows", allow_module_level=True)

import _winapi

from _windows import OVERLAPPED, begin_read, overlapped_file, pipe, post, write

pytestmark = pytest.mark.filterwarnings(
    "ignore:.*UnboundedQueue:trio_c.TrioDeprecationWarning"
)


class Buffer(bytearray):
    """One that can be watched."""


def is_pinned(buffer):
    try:
        buffer.append(0)
    except BufferError:
        return True
    buffer.pop()
    return False


def statistics():
    return lowlevel.current_statistics().io_statistics


@pytest.fixture
def crash(monkeypatch):
    """Runs what ends in a TrioInternalError; gives the type of its cause."""
    # What it leaves behind complains when it is dropped.
    monkeypatch.setattr(sys, "unraisablehook", lambda info: None)

    def crash(main, match=None):
        with pytest.raises(trio.TrioInternalError, match=match) as caught:
            trio.run(main)
        cause = type(caught.value.__cause__)
        del caught
        gc.collect()
        return cause

    return crash


async def until(condition):
    with trio.fail_after(30):
        while not condition():
            await trio.sleep(0.001)


# --- names ---------------------------------------------------------------


def test_names():
    ours = {
        "WaitForSingleObject", "current_iocp", "monitor_completion_key",
        "readinto_overlapped", "register_with_iocp", "wait_overlapped",
        "write_overlapped",
    }  # fmt: skip
    assert ours <= set(lowlevel.__all__) and ours <= set(dir(lowlevel))
    assert "FdStream" not in lowlevel.__all__
    assert not hasattr(lowlevel, "FdStream")
    for name in ours:
        assert getattr(lowlevel, name).__module__ == "trio_c.lowlevel"
        assert getattr(lowlevel, name).__doc__


def test_signatures():
    # as Trio has them on Windows
    def text(function):
        return str(inspect.signature(function)).partition(" ->")[0]

    assert text(lowlevel.wait_readable) == "(sock: 'int | _HasFileNo')"
    assert text(lowlevel.wait_writable) == "(sock: 'int | _HasFileNo')"
    assert text(lowlevel.notify_closing) == "(handle: 'int | _HasFileNo')"
    assert text(lowlevel.register_with_iocp) == "(handle: 'int | CData')"
    assert text(lowlevel.wait_overlapped) == (
        "(handle_: 'int | CData', lpOverlapped: 'CData | int')"
    )
    assert text(lowlevel.readinto_overlapped) == (
        "(handle: 'int | CData', buffer: 'Buffer', file_offset: 'int' = 0)"
    )
    assert text(lowlevel.write_overlapped) == (
        "(handle: 'int | CData', data: 'Buffer', file_offset: 'int' = 0)"
    )
    assert inspect.iscoroutinefunction(lowlevel.readinto_overlapped)
    for name in (
        "current_iocp", "notify_closing", "readinto_overlapped",
        "register_with_iocp", "wait_overlapped", "wait_readable",
        "write_overlapped",
    ):  # fmt: skip
        typing.get_type_hints(getattr(lowlevel, name))


def test_names_of_arguments():
    async def main():
        with pytest.raises(OSError):
            await lowlevel.wait_readable(sock=4 * 12345)
        lowlevel.notify_closing(handle=4 * 12345)
        with pytest.raises(TypeError):
            lowlevel.wait_writable(fd=4 * 12345)

    trio.run(main)


def test_outside_of_a_run():
    with pytest.raises(RuntimeError, match="must be called from async context"):
        lowlevel.current_iocp()
    with pytest.raises(RuntimeError, match="must be called from async context"):
        lowlevel.register_with_iocp(0)
    with pytest.raises(RuntimeError, match="must be called from async context"):
        lowlevel.monitor_completion_key()
    for call in (
        lowlevel.wait_overlapped(0, 0),
        lowlevel.readinto_overlapped(0, bytearray(1)),
        lowlevel.write_overlapped(0, b""),
    ):
        with pytest.raises(RuntimeError, match="must be called from async context"):
            call.send(None)


def test_statistics():
    async def main():
        port = lowlevel.current_iocp()
        assert isinstance(port, int) and port == lowlevel.current_iocp()
        found = statistics()
        assert found.backend == "windows"
        # the run itself may be waiting to be woken
        assert repr(found) == (
            f"_WindowsStatistics(tasks_waiting_read={found.tasks_waiting_read},"
            " tasks_waiting_write=0, tasks_waiting_overlapped=0,"
            " completion_key_monitors=0, backend='windows')"
        )
        assert found.tasks_waiting_read in (0, 1)
        assert found != statistics()
        with pipe() as (r, w):
            lowlevel.register_with_iocp(r)
            async with trio.open_nursery() as nursery:
                nursery.start_soon(lowlevel.readinto_overlapped, r, bytearray(1))
                with lowlevel.monitor_completion_key():
                    await wait_all_tasks_blocked()
                    assert statistics().tasks_waiting_overlapped == 1
                    assert statistics().completion_key_monitors == 1
                nursery.cancel_scope.cancel()
            assert statistics().tasks_waiting_overlapped == 0
            assert statistics().completion_key_monitors == 0

    trio.run(main)


# --- reading and writing -------------------------------------------------


def test_files(tmp_path):
    async def main():
        with overlapped_file(tmp_path / "file") as handle:
            lowlevel.register_with_iocp(handle)
            assert await lowlevel.write_overlapped(handle, b"abcdef") == 6
            assert await lowlevel.write_overlapped(handle, memoryview(b"XY"), 2) == 2
            assert await lowlevel.write_overlapped(handle, b"!", 2**32 + 5) == 1
            buffer = bytearray(10)
            assert await lowlevel.readinto_overlapped(handle, buffer) == 10
            assert buffer == b"abXYef" + bytes(4)
            assert await lowlevel.readinto_overlapped(handle, buffer, 4) == 10
            with memoryview(buffer) as view:
                n = await lowlevel.readinto_overlapped(
                    handle, view[3:5], file_offset=2**32 + 5
                )
            assert n == 1 and buffer[3:4] == b"!"
            with pytest.raises(OSError) as caught:
                await lowlevel.readinto_overlapped(handle, buffer, 2**33)
            assert caught.value.winerror == 38  # end of file

    trio.run(main)


def test_wrong_arguments():
    async def main():
        with pipe() as (r, w):
            lowlevel.register_with_iocp(r)
            with pytest.raises(BufferError):
                await lowlevel.readinto_overlapped(r, b"immutable")
            with pytest.raises(TypeError):
                await lowlevel.write_overlapped(w, "text")
            buffer = bytearray(1)
            for handle in ("1", 1.0, None, object()):
                with pytest.raises(TypeError):
                    lowlevel.register_with_iocp(handle)
                with pytest.raises(TypeError):
                    await lowlevel.readinto_overlapped(handle, buffer)
                with pytest.raises(TypeError):
                    await lowlevel.wait_overlapped(handle, 1)
                with pytest.raises(TypeError):
                    await lowlevel.wait_overlapped(r, handle)
            with pytest.raises(TypeError):
                await lowlevel.readinto_overlapped(r, buffer, None)
            for offset in (-1, 2**64):
                with pytest.raises(OverflowError):
                    await lowlevel.readinto_overlapped(r, buffer, offset)
            with pytest.raises(ValueError):
                await lowlevel.wait_overlapped(r, 0)
            assert not is_pinned(buffer)
            assert statistics().tasks_waiting_overlapped == 0

    trio.run(main)


def test_wrong_handles():
    async def main():
        with pipe() as (r, w):
            lowlevel.register_with_iocp(r)
            with pytest.raises(OSError) as caught:
                lowlevel.register_with_iocp(r)
            assert caught.value.winerror == 87  # it has a port
            buffer = bytearray(1)
            with pytest.raises(OSError) as caught:
                # it can only be written to
                await lowlevel.readinto_overlapped(w, buffer)
            assert caught.value.winerror == 5
            _winapi.CloseHandle(w)
        for handle in (w, 0, 4 * 12345):
            with pytest.raises(OSError) as caught:
                lowlevel.register_with_iocp(handle)
            assert caught.value.winerror == 6
            with pytest.raises(OSError) as caught:
                await lowlevel.readinto_overlapped(handle, buffer)
            assert caught.value.winerror == 6
        assert not is_pinned(buffer)

    trio.run(main)


def test_pointers_of_cffi():
    cffi = pytest.importorskip("cffi")
    ffi = cffi.FFI()

    async def main():
        with pipe() as (r, w):
            handle = ffi.cast("void *", r)
            lowlevel.register_with_iocp(handle)
            write(w, b"ab")
            buffer = bytearray(1)
            assert await lowlevel.readinto_overlapped(handle, buffer) == 1
            block = ffi.new("char[]", ctypes.sizeof(OVERLAPPED))
            overlapped = OVERLAPPED.from_buffer(ffi.buffer(block))
            room = ctypes.create_string_buffer(1)
            begin_read(r, room, overlapped)
            info = await lowlevel.wait_overlapped(handle, block)
            assert info.lpOverlapped is block
            assert room.raw == b"b"

    trio.run(main)


# --- other people's operations -------------------------------------------


def test_wait_overlapped():
    async def main():
        with pipe() as (r, w):
            lowlevel.register_with_iocp(r)
            overlapped = OVERLAPPED()
            address = ctypes.addressof(overlapped)
            room = ctypes.create_string_buffer(8)
            begin_read(r, room, overlapped)
            infos = []

            async def wait():
                infos.append(await lowlevel.wait_overlapped(r, address))

            async with trio.open_nursery() as nursery:
                nursery.start_soon(wait)
                await wait_all_tasks_blocked()
                with pytest.raises(
                    trio.BusyResourceError,
                    match="another task is already waiting on that lpOverlapped",
                ):
                    await lowlevel.wait_overlapped(r, address)
                write(w, b"data")
            [info] = infos
            assert info.lpOverlapped == address
            assert info.dwNumberOfBytesTransferred == 4
            assert repr(info) == (
                f"CompletionKeyEventInfo(lpOverlapped={address},"
                " dwNumberOfBytesTransferred=4)"
            )
            assert room.raw == b"data\0\0\0\0"

            # the same one once more, cancelled
            begin_read(r, room, overlapped)
            with trio.move_on_after(0.01) as scope:
                await lowlevel.wait_overlapped(r, address)
            assert scope.cancelled_caught
            write(w, b"more")
            begin_read(r, room, overlapped)
            info = await lowlevel.wait_overlapped(r, address)
            assert info.dwNumberOfBytesTransferred == 4

    trio.run(main)


def test_a_completion_that_nobody_waits_for_ends_the_run(crash):
    overlapped = OVERLAPPED()
    room = ctypes.create_string_buffer(1)

    async def main():
        with pipe() as (r, w):
            lowlevel.register_with_iocp(r)
            write(w, b"x")
            begin_read(r, room, overlapped)
            await trio.sleep(10)

    assert crash(main) is KeyError


# --- cancelling ----------------------------------------------------------


def test_the_buffer_is_pinned_until_a_cancelled_operation_is_over():
    async def main():
        buffer = Buffer(8)
        with pipe() as (r, w):
            lowlevel.register_with_iocp(r)
            async with trio.open_nursery() as nursery:
                nursery.start_soon(lowlevel.readinto_overlapped, r, buffer)
                await wait_all_tasks_blocked()
                assert is_pinned(buffer)
                nursery.cancel_scope.cancel()
                assert is_pinned(buffer)
            assert not is_pinned(buffer)
            # and the data is the next one's
            write(w, b"data")
            assert await lowlevel.readinto_overlapped(r, buffer) == 4
            assert buffer == b"data" + bytes(4)

    trio.run(main)


def test_cancelled_before_it_began():
    async def main():
        buffer = Buffer(8)
        with pipe() as (r, w):
            lowlevel.register_with_iocp(r)
            write(w, b"data")
            with trio.CancelScope() as scope:
                scope.cancel()
                await lowlevel.readinto_overlapped(r, buffer)
            assert scope.cancelled_caught
            assert not is_pinned(buffer)
            assert await lowlevel.readinto_overlapped(r, buffer) == 4

    trio.run(main)


def test_a_completion_that_was_quicker_counts():
    async def main():
        buffer = bytearray(2)
        with pipe() as (r, w):
            lowlevel.register_with_iocp(r)
            counts = []

            async def read():
                counts.append(await lowlevel.readinto_overlapped(r, buffer))

            async with trio.open_nursery() as nursery:
                nursery.start_soon(read)
                await wait_all_tasks_blocked()
                write(w, b"abcd")
                while bytes(buffer) != b"ab":
                    time.sleep(0.001)
                nursery.cancel_scope.cancel()
            assert counts == [2]
            assert not nursery.cancel_scope.cancelled_caught
            # nothing is left of the cancellation that came too late
            assert await lowlevel.readinto_overlapped(r, buffer) == 2
            assert buffer == b"cd"
            await trio.sleep(0.01)

    trio.run(main)


def test_cancelled_when_the_handle_is_gone_but_the_operation_is_not():
    async def main():
        buffer = ctypes.create_string_buffer(4)
        overlapped = OVERLAPPED()
        with pipe() as (r, w), pipe() as (other, _):
            lowlevel.register_with_iocp(r)
            begin_read(r, buffer, overlapped)
            # The number is another file's by now: nothing is found there.
            call = lowlevel.wait_overlapped(other, ctypes.addressof(overlapped))
            results = []

            async def wait():
                results.append(await call)

            async with trio.open_nursery() as nursery:
                nursery.start_soon(wait)
                await wait_all_tasks_blocked()
                nursery.cancel_scope.cancel()
                with trio.CancelScope(shield=True):
                    await wait_all_tasks_blocked()
                    await trio.sleep(0.01)
                assert not results
                write(w, b"data")
            assert results[0].dwNumberOfBytesTransferred == 4
            assert buffer.raw == b"data"

    trio.run(main)


def test_a_handle_that_is_not_registered(crash):
    buffer = Buffer(4)

    async def main():
        with pipe() as (r, w):
            write(w, b"data")
            async with trio.open_nursery() as nursery:
                nursery.start_soon(
                    lowlevel.readinto_overlapped, r, buffer, name="somebody"
                )
                await wait_all_tasks_blocked()
                nursery.cancel_scope.cancel()

    crash(
        main,
        r"^Failed to cancel overlapped I/O in somebody and didn't receive the"
        r" completion either\. Did you forget to call register_with_iocp\(\)\?$",
    )
    assert buffer == b"data"
    assert not is_pinned(buffer)


# A read that does not return before a thread has written: on a handle that is
# not for overlapped I/O, for want of a slow disk.
BLOCKED = """
import threading, time
import trio_c as trio
from _windows import pipe, write

buffer = bytearray(4)
begun = threading.Event()

def write_later(handle):
    begun.wait()
    time.sleep(0.3)
    write(handle, b"data")

async def main():
    with pipe(read_overlapped=False) as (r, w):
        thread = threading.Thread(target=write_later, args=(w,))
        thread.start()
        begun.set()
        with trio.move_on_after(0.1):
            await trio.lowlevel.readinto_overlapped(r, buffer)

try:
    trio.run(main)
except trio.TrioInternalError:  # for want of a completion
    print(buffer.decode())
"""


def test_other_threads_run_while_the_system_reads_at_once():
    done = subprocess.run(
        [sys.executable, "-P", "-c", BLOCKED],
        env=os.environ | {"PYTHONPATH": os.pathsep.join(sys.path)},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        timeout=60,
        check=True,
    )
    assert done.stdout.split() == [b"data"]


def test_ctrl_c():
    async def main():
        buffer = Buffer(4)

        async def interrupt():
            await wait_all_tasks_blocked()
            signal.raise_signal(signal.SIGINT)

        with pipe() as (r, w):
            lowlevel.register_with_iocp(r)
            lowlevel.spawn_system_task(interrupt)
            with pytest.raises(KeyboardInterrupt):
                await lowlevel.readinto_overlapped(r, buffer)
            assert not is_pinned(buffer)

    trio.run(main)


# --- the task is gone ----------------------------------------------------


def test_a_completion_after_the_task_has_gone():
    async def main():
        buffer = Buffer(4)
        alive = weakref.ref(buffer)
        with pipe() as (r, w):
            lowlevel.register_with_iocp(r)
            call = lowlevel.readinto_overlapped(r, buffer)
            call.send(None)
            assert statistics().tasks_waiting_overlapped == 1
            call.close()
            assert statistics().tasks_waiting_overlapped == 0
            assert is_pinned(buffer)
            del call
            assert is_pinned(buffer)
            # what has been cancelled comes back
            await until(lambda: not is_pinned(buffer))
            del buffer
            assert alive() is None
            write(w, b"data")
            buffer = bytearray(4)
            assert await lowlevel.readinto_overlapped(r, buffer) == 4

    trio.run(main)


def test_rescheduled_by_somebody_else():
    async def main():
        buffer = Buffer(4)
        tasks = []

        async def read(r):
            tasks.append(lowlevel.current_task())
            with pytest.raises(OSError) as caught:
                await lowlevel.readinto_overlapped(r, buffer)
            assert caught.value.winerror == 997  # it is still going on

        with pipe() as (r, w):
            lowlevel.register_with_iocp(r)
            async with trio.open_nursery() as nursery:
                nursery.start_soon(read, r)
                await wait_all_tasks_blocked()
                lowlevel.reschedule(tasks[0])
            await until(lambda: not is_pinned(buffer))

    trio.run(main)


def test_the_run_ends_before_the_operation():
    buffers = [Buffer(4)]
    alive = weakref.ref(buffers[0])

    with pipe() as (r, w):

        async def main():
            lowlevel.register_with_iocp(r)
            call = lowlevel.readinto_overlapped(r, buffers[0])
            call.send(None)
            call.close()

        trio.run(main)
        assert not is_pinned(buffers[0])
        write(w, b"data")
        assert buffers[0] == bytes(4)
        # the other run has the handle for good; its data is still there
        assert _winapi.PeekNamedPipe(r)[0] == 4
    buffers.clear()
    gc.collect()
    assert alive() is None


def test_the_run_crashes_during_the_operation(crash):
    buffers = [Buffer(4)]
    alive = weakref.ref(buffers[0])

    async def main():
        with pipe() as (r, w), lowlevel.monitor_completion_key() as (key, _):
            lowlevel.register_with_iocp(r)
            async with trio.open_nursery() as nursery:
                nursery.start_soon(lowlevel.readinto_overlapped, r, buffers[0])
                await wait_all_tasks_blocked()
                post(lowlevel.current_iocp(), 0, key + 1)  # nobody's

    assert crash(main) is KeyError
    assert not is_pinned(buffers[0])
    buffers.clear()
    assert alive() is None


# --- closing -------------------------------------------------------------


def test_close_under_a_waiter():
    async def main():
        with pipe() as (r, w):
            lowlevel.register_with_iocp(r)
            buffer = Buffer(4)

            async def read():
                # Windows says "aborted", wine "broken pipe".
                with pytest.raises((trio.ClosedResourceError, BrokenPipeError)):
                    await lowlevel.readinto_overlapped(r, buffer)

            async with trio.open_nursery() as nursery:
                nursery.start_soon(read)
                await wait_all_tasks_blocked()
                _winapi.CloseHandle(r)
            assert not is_pinned(buffer)

    trio.run(main)


def test_closed_and_cancelled_at_once():
    async def main():
        with pipe() as (r, w):
            lowlevel.register_with_iocp(r)
            buffer = Buffer(4)

            async def read():
                with pytest.raises(
                    (trio.ClosedResourceError, BrokenPipeError, trio.Cancelled)
                ):
                    await lowlevel.readinto_overlapped(r, buffer)

            async with trio.open_nursery() as nursery:
                nursery.start_soon(read)
                await wait_all_tasks_blocked()
                _winapi.CloseHandle(r)
                nursery.cancel_scope.cancel()
            assert not is_pinned(buffer)
            await trio.sleep(0.01)

    trio.run(main)


# --- many of them --------------------------------------------------------


def test_many_operations(tmp_path):
    # the table of operations grows, and is emptied in any order
    async def main():
        with overlapped_file(tmp_path / "file") as handle:
            lowlevel.register_with_iocp(handle)

            async def write_one(i):
                data = i.to_bytes(4, "little")
                assert await lowlevel.write_overlapped(handle, data, 4 * i) == 4

            async with trio.open_nursery() as nursery:
                for i in range(500):
                    nursery.start_soon(write_one, i)
            assert statistics().tasks_waiting_overlapped == 0
            buffer = bytearray(2000)
            assert await lowlevel.readinto_overlapped(handle, buffer) == 2000
            assert all(
                int.from_bytes(buffer[4 * i : 4 * i + 4], "little") == i
                for i in range(500)
            )

    trio.run(main)


def test_random_cancellations():
    # every byte that was written arrives, once, whatever is cancelled when
    rng = random.Random(5)

    async def main():
        with pipe() as (r, w):
            lowlevel.register_with_iocp(r)
            received = bytearray()
            sent = bytearray()

            async def read():
                buffer = bytearray(3)
                while True:
                    with trio.CancelScope() as scope:
                        if rng.random() < 0.5:
                            scope.cancel()
                        elif rng.random() < 0.7:
                            scope.deadline = trio.current_time() + rng.random() / 500
                        n = await lowlevel.readinto_overlapped(r, buffer)
                        received.extend(buffer[:n])

            async with trio.open_nursery() as nursery:
                nursery.start_soon(read)
                for _ in range(100):
                    data = rng.randbytes(rng.randrange(1, 8))
                    sent += data
                    write(w, data)
                    await trio.sleep(rng.random() / 500)
                await until(lambda: len(received) == len(sent))
                nursery.cancel_scope.cancel()
            assert received == sent

    trio.run(main)


# --- keys ----------------------------------------------------------------


def test_monitor_completion_key():
    async def main():
        port = lowlevel.current_iocp()
        with (
            lowlevel.monitor_completion_key() as (key, queue),
            lowlevel.monitor_completion_key() as (other_key, other_queue),
        ):
            assert key != other_key
            for i in range(300):
                post(port, i, key, 1000 * i)
            post(port, 2**32 - 1, other_key, 2**47)
            found = []
            with trio.fail_after(30):
                async for batch in queue:
                    found += batch
                    if len(found) == 300:
                        break
                assert [info.lpOverlapped for info in found] == [
                    1000 * i for i in range(300)
                ]
                assert [info.dwNumberOfBytesTransferred for info in found] == list(
                    range(300)
                )
                [info] = await other_queue.get_batch()
                assert info.lpOverlapped == 2**47
                assert info.dwNumberOfBytesTransferred == 2**32 - 1

    trio.run(main)


def test_a_packet_after_the_monitor():
    async def main():
        with lowlevel.monitor_completion_key() as (key, queue):
            pass
        post(lowlevel.current_iocp(), 1, key)
        await trio.sleep(0.05)
        assert queue.qsize() == 0
        with lowlevel.monitor_completion_key() as (new_key, _):
            assert new_key != key

    trio.run(main)


def test_a_monitor_that_outlives_its_run():
    monitors = []

    async def main():
        monitor = lowlevel.monitor_completion_key()
        monitor.__enter__()
        monitors.append(monitor)

    trio.run(main)
    assert monitors.pop().__exit__(None, None, None) is False
