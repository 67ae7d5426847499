"""FdStream: what upstream's tests do not reach."""

from __future__ import annotations

import array
import ctypes
import errno
import gc
import os
import re
import weakref
from functools import partial

import pytest
from _processes import run_code

import trio_c
from trio_c.lowlevel import FdStream
from trio_c.testing import assert_checkpoints, trio_test, wait_all_tasks_blocked

FULL = 300_000  # bytes: more than a pipe takes


def pipe():
    r, w = os.pipe()
    return FdStream(r), FdStream(w)


def is_open(fd):
    try:
        os.fstat(fd)
    except OSError as exc:
        assert exc.errno == errno.EBADF
        return False
    return True


def clog(stream):
    """Fill the pipe; give how many bytes that took."""
    count = 0
    try:
        while True:
            count += os.write(stream.fileno(), bytes(65536))
    except BlockingIOError:
        return count


async def receive_all(stream, count):
    data = bytearray()
    while len(data) < count:
        chunk = await stream.receive_some()
        assert chunk
        data += chunk
    return bytes(data)


# --- making and closing


@pytest.mark.parametrize("blocking", [True, False])
@pytest.mark.parametrize("how", ["close", "aclose", "async with", "drop"])
@trio_test
async def test_the_mode_is_put_back(blocking, how):
    r, w = os.pipe()
    twin = os.dup(r)  # of the same open file, which has the mode
    os.set_blocking(r, blocking)
    stream = FdStream(r)
    assert stream.fileno() == r
    assert not os.get_blocking(twin)
    if how == "close":
        stream.close()
    elif how == "aclose":
        with assert_checkpoints():
            await stream.aclose()
    elif how == "async with":
        async with stream:
            pass
    else:
        ref = weakref.ref(stream)
        gc.disable()
        try:
            del stream
            assert ref() is None
        finally:
            gc.enable()
    assert os.get_blocking(twin) == blocking
    assert not is_open(r)
    os.close(twin)
    os.close(w)


@trio_test
async def test_bad_descriptors():
    r, w = os.pipe()
    os.close(w)
    # What goes wrong is raised and nothing else, in particular no __del__.
    with pytest.raises(OSError, match="Bad file descriptor"):
        FdStream(w)
    for bad in (None, 1.0, "1"):
        with pytest.raises(TypeError, match="^file descriptor must be an int$"):
            FdStream(bad)
    gc.collect()
    assert os.get_blocking(r)
    os.close(r)
    with pytest.raises(TypeError, match="does not support subclassing"):
        type("Sub", (FdStream,), {})


@trio_test
async def test_closing_twice_spares_the_next_one():
    stream, other = pipe()
    fd = stream.fileno()
    stream.close()
    assert stream.fileno() == -1
    reused = os.open(os.devnull, os.O_RDONLY)
    assert reused == fd
    stream.close()
    await stream.aclose()
    del stream
    assert is_open(reused)
    os.close(reused)
    other.close()


def test_closing_outside_of_a_run():
    r, w = os.pipe()
    stream = FdStream(r)
    with pytest.raises(RuntimeError, match="must be called from async context"):
        stream.close()
    assert stream.fileno() == r
    assert is_open(r)
    del stream
    assert not is_open(r)
    os.close(w)


@trio_test
async def test_closing_a_descriptor_that_is_gone():
    stream, other = pipe()
    os.close(stream.fileno())
    with pytest.raises(OSError, match="Bad file descriptor"):
        stream.close()
    assert stream.fileno() == -1
    stream.close()
    other.close()


@trio_test
async def test_closing_wakes_who_waits():
    record = []

    async def expect(wait, message):
        with pytest.raises(trio_c.ClosedResourceError, match=message):
            await wait()
        record.append(message)

    another = "^another task closed this fd$"
    for which, name, *arguments in [
        (1, "send_all", b"x"),
        (1, "wait_send_all_might_not_block"),
        (0, "receive_some"),
    ]:
        reader, writer = pipe()
        if which == 1:
            clog(writer)
        operation = partial(getattr((reader, writer)[which], name), *arguments)
        async with trio_c.open_nursery() as nursery:
            nursery.start_soon(expect, operation, another)
            await wait_all_tasks_blocked()
            writer.close()
            reader.close()
    assert record == [another] * 3

    closed = "^file was already closed$"
    for operation in (
        lambda: writer.send_all(b""),
        lambda: writer.send_all(b"x"),
        writer.wait_send_all_might_not_block,
        reader.receive_some,
    ):
        with pytest.raises(trio_c.ClosedResourceError, match=closed) as info:
            await operation()
        assert info.value.__cause__ is None


# --- one task at a time


@trio_test
async def test_conflicts():
    reader, writer = pipe()
    async with reader, writer:
        async with trio_c.open_nursery() as nursery:
            nursery.start_soon(reader.receive_some)
            await wait_all_tasks_blocked()
            message = "another task is using this stream for receive"
            with pytest.raises(trio_c.BusyResourceError, match=f"^{message}$"):
                await reader.receive_some()
            with pytest.raises(trio_c.BusyResourceError):
                await reader.receive_some(0)
            nursery.cancel_scope.cancel()

    reader, writer = pipe()
    async with reader, writer:
        async with trio_c.open_nursery() as nursery:
            count = clog(writer)
            nursery.start_soon(writer.send_all, b"x")
            await wait_all_tasks_blocked()
            message = "another task is using this stream for send"
            for operation in (
                lambda: writer.send_all(b""),
                writer.wait_send_all_might_not_block,
            ):
                with pytest.raises(trio_c.BusyResourceError, match=f"^{message}$"):
                    await operation()
            assert (await receive_all(reader, count + 1))[-1:] == b"x"
        # Whoever comes after them may go on.
        await writer.send_all(b"y")
        assert await reader.receive_some() == b"y"


# --- data


@pytest.mark.parametrize(
    "make",
    [
        bytes,
        bytearray,
        memoryview,
        lambda data: array.array("d", data),
        lambda data: memoryview(array.array("I", data)),
        lambda data: memoryview(data).cast("B", (len(data) // 8, 8)),
        lambda data: memoryview(data).cast("B", (len(data), 1)),
        lambda data: (ctypes.c_int64 * (len(data) // 8)).from_buffer_copy(data),
    ],
)
@trio_test
async def test_all_of_it_is_sent(make):
    sent = os.urandom(8) * (FULL // 8)
    reader, writer = pipe()
    async with reader, writer, trio_c.open_nursery() as nursery:
        nursery.start_soon(writer.send_all, make(sent))
        assert await receive_all(reader, len(sent)) == sent


@trio_test
async def test_what_is_sent_is_let_go_of():
    reader, writer = pipe()
    async with reader, writer:
        data = bytearray(b"abc")
        with assert_checkpoints():
            await writer.send_all(data)
        data.clear()
        clog(writer)
        data.append(1)
        async with trio_c.open_nursery() as nursery:
            nursery.start_soon(writer.send_all, data)
            await wait_all_tasks_blocked()
            with pytest.raises(BufferError):
                data.clear()
            nursery.cancel_scope.cancel()
        data.clear()
        reader.close()
        data.extend(bytes(3))
        with pytest.raises(trio_c.BrokenResourceError) as info:
            await writer.send_all(data)
        assert isinstance(info.value.__cause__, BrokenPipeError)
        del info
        data.clear()


@trio_test
async def test_wrong_data():
    reader, writer = pipe()
    async with reader, writer:
        for data, error, message in [
            (5, TypeError, "object of type 'int' has no len()"),
            (None, TypeError, "object of type 'NoneType' has no len()"),
            ("x", TypeError, "memoryview: a bytes-like object is required, not 'str'"),
            (
                memoryview(b"abcd")[::2],
                BufferError,
                "memoryview: underlying buffer is not C-contiguous",
            ),
        ]:
            with assert_checkpoints():
                with pytest.raises(error, match=f"^{re.escape(message)}$"):
                    await writer.send_all(data)
        for max_bytes, error in [
            (0, ValueError),
            (-1, ValueError),
            (1.5, TypeError),
            ("1", TypeError),
        ]:
            with pytest.raises(error, match="^max_bytes must be integer >= 1$"):
                await reader.receive_some(max_bytes)
        with pytest.raises(OverflowError):
            await reader.receive_some(2**70)
        await writer.send_all(b"12345")
        assert await reader.receive_some(2) == b"12"
        assert await reader.receive_some(max_bytes=True) == b"3"
        with assert_checkpoints():
            assert await reader.receive_some() == b"45"


@trio_test
async def test_chunks_until_the_end():
    reader, writer = pipe()
    await writer.send_all(bytes(65536))
    await writer.aclose()
    async with reader:
        # A page or more at a time is the system's choice, the limit is ours.
        assert sum([len(chunk) async for chunk in reader]) == 65536
        with assert_checkpoints():
            assert await reader.receive_some() == b""


@trio_test
async def test_waiting_for_room():
    reader, writer = pipe()
    async with reader, writer:
        with assert_checkpoints():
            await writer.wait_send_all_might_not_block()
        count = clog(writer)
        async with trio_c.open_nursery() as nursery:
            nursery.start_soon(writer.wait_send_all_might_not_block)
            await wait_all_tasks_blocked()
            assert len(nursery.child_tasks) == 1
            await receive_all(reader, count)


@trio_test
async def test_cancelled():
    reader, writer = pipe()
    async with reader, writer:
        await writer.send_all(b"kept")
        for operation in (
            lambda: reader.receive_some(),
            lambda: writer.send_all(b"never"),
            lambda: writer.send_all(b""),
            lambda: writer.wait_send_all_might_not_block(),
        ):
            with trio_c.CancelScope() as scope:
                scope.cancel()
                await operation()
            assert scope.cancelled_caught
        assert await reader.receive_some() == b"kept"
        with trio_c.CancelScope() as scope:
            scope.cancel()
            await writer.aclose()
        assert scope.cancelled_caught
        assert writer.fileno() == -1


# --- other descriptors


@trio_test
async def test_not_for_this():
    stream = FdStream(os.open("/", os.O_RDONLY | os.O_DIRECTORY))
    async with stream:
        with pytest.raises(trio_c.BrokenResourceError) as info:
            await stream.receive_some()
        assert isinstance(info.value.__cause__, IsADirectoryError)
        # The system's word for a descriptor that was opened for reading only
        # is the same as for one that is not open.
        with pytest.raises(trio_c.ClosedResourceError):
            await stream.send_all(b"x")


@trio_test
async def test_terminal():
    ours, theirs = os.openpty()
    async with FdStream(ours) as stream:
        await stream.send_all(b"typed\n")
        assert os.read(theirs, 100) == b"typed\n"
        assert await stream.receive_some() == b"typed\r\n"  # the echo
        os.close(theirs)
        with pytest.raises(trio_c.BrokenResourceError) as info:
            await stream.receive_some()
        assert info.value.__cause__.errno == errno.EIO


@trio_test
async def test_file_on_a_disk(tmp_path):
    path = tmp_path / "file"
    flags = os.O_RDWR | os.O_CREAT
    async with FdStream(os.open(path, flags)) as stream:
        await stream.send_all(b"written")
        assert await stream.receive_some() == b""
    assert path.read_bytes() == b"written"


@trio_test
async def test_two_make_a_two_way_stream():
    (reader, theirs), (mine, writer) = pipe(), pipe()
    async with trio_c.StapledStream(writer, reader) as stream, mine, theirs:
        await stream.send_all(b"to")
        assert await mine.receive_some() == b"to"
        await theirs.send_all(b"fro")
        assert await stream.receive_some() == b"fro"
        await stream.send_eof()
        assert await mine.receive_some() == b""


def test_names():
    assert FdStream.__module__ == "trio_c.lowlevel"
    assert FdStream.receive_some.__module__ == "trio_c.lowlevel"
    assert trio_c._unix_pipes.FdStream is FdStream
    run_code(
        """
import os
import trio_c
trio_c.install()
import trio
from trio._unix_pipes import FdStream
assert trio.lowlevel.FdStream is FdStream
assert FdStream.__module__ == "trio.lowlevel"
# Dropped by an interpreter that is going away.
keep = [FdStream(fd) for fd in os.pipe()]
keep.append(keep)
"""
    )
