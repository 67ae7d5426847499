"""UNIX domain sockets, at all levels."""

from __future__ import annotations

import array
import gc
import os
import pathlib
import socket as stdlib
import struct

import pytest
from _processes import run_code

import trio_c
import trio_c.socket as tsocket
from trio_c import _highlevel_open_unix_stream
from trio_c._highlevel_open_unix_stream import close_on_error, has_unix
from trio_c.socket import AF_UNIX, SOCK_DGRAM, SOCK_SEQPACKET, SOCK_STREAM
from trio_c.testing import assert_checkpoints, trio_test, wait_all_tasks_blocked

# An abstract address that no other process has.
ABSTRACT = f"\0trio_c/{os.getpid()}"


@pytest.fixture(autouse=True)
def directory(tmp_path, monkeypatch):
    """Sockets are files, in a directory for each test."""
    monkeypatch.chdir(tmp_path)


def open_fds():
    gc.collect()
    # Without the one that the directory was read through.
    listed = os.listdir("/proc/self/fd")
    return {fd for fd in listed if os.path.lexists(f"/proc/self/fd/{fd}")}


@pytest.fixture(autouse=True)
def descriptors():
    """None is left open."""
    before = open_fds()
    yield
    assert open_fds() == before


async def bound(address, type_=SOCK_STREAM):
    sock = tsocket.socket(AF_UNIX, type_)
    await sock.bind(address)
    if type_ != SOCK_DGRAM:
        sock.listen()
    return sock


async def echo(stream):
    async with stream:
        async for chunk in stream:
            await stream.send_all(chunk)


# --- streams and listeners

ADDRESSES = {
    "str": ("path", "path"),
    "bytes": (b"path", "path"),
    "pathlib": (pathlib.Path("path"), "path"),
    "Path": (trio_c.Path("path"), "path"),
    "not ascii": ("pfäd", "pfäd"),
    "longest": ("p" * 107, "p" * 107),
    "abstract": (ABSTRACT, ABSTRACT.encode()),
    "abstract bytes": (ABSTRACT.encode() + b"\0\xff", ABSTRACT.encode() + b"\0\xff"),
}


@pytest.mark.parametrize(("address", "seen"), ADDRESSES.values(), ids=ADDRESSES)
@trio_test
async def test_serve(address, seen):
    data = os.urandom(300_000)
    async with trio_c.open_nursery() as nursery:
        listener = trio_c.SocketListener(await bound(address))
        await nursery.start(trio_c.serve_listeners, echo, [listener])
        streams = []
        for _ in range(3):
            with assert_checkpoints():
                stream = await trio_c.open_unix_socket(address)
            streams.append(stream)
        for stream in streams:
            assert type(stream) is trio_c.SocketStream
            assert stream.socket.getpeername() == seen
            assert stream.socket.getsockname() == ""

            async def send(stream=stream):
                await stream.send_all(data)
                await stream.send_eof()

            nursery.start_soon(send)
            received = bytearray()
            async for chunk in stream:
                received += chunk
            assert received == data
            with pytest.raises(trio_c.ClosedResourceError, match="after sending EOF"):
                await stream.send_all(b"x")
            await stream.aclose()
        nursery.cancel_scope.cancel()


@trio_test
async def test_accepted_sockets():
    async with trio_c.SocketListener(await bound("path")) as listener:
        for own, seen in [
            (None, ""),
            ("client", "client"),
            (ABSTRACT, ABSTRACT.encode()),
        ]:
            with tsocket.socket(AF_UNIX) as client:
                if own is not None:
                    await client.bind(own)
                await client.connect("path")
                accepted, address = await listener.socket.accept()
                with accepted:
                    assert address == accepted.getpeername() == seen
                    assert (accepted.family, accepted.type) == (AF_UNIX, SOCK_STREAM)
                    assert accepted.getsockname() == "path"
                    assert not accepted.get_inheritable()
                    credentials = accepted.getsockopt(
                        stdlib.SOL_SOCKET, stdlib.SO_PEERCRED, struct.calcsize("3i")
                    )
                    assert struct.unpack("3i", credentials)[0] == os.getpid()


@trio_test
async def test_stream_ends():
    left, right = map(trio_c.SocketStream, tsocket.socketpair())
    await left.send_all(b"kept")
    await left.aclose()
    async with right:
        assert await right.receive_some(2) == b"ke"
        assert await right.receive_some() == b"pt"
        assert await right.receive_some() == b""
        with pytest.raises(trio_c.BrokenResourceError) as info:
            await right.send_all(b"x")
        assert isinstance(info.value.__cause__, BrokenPipeError)
    with pytest.raises(trio_c.ClosedResourceError):
        await right.receive_some()

    left, right = map(trio_c.SocketStream, tsocket.socketpair())
    await left.send_all(b"never read")
    await right.aclose()
    async with left:
        with pytest.raises(trio_c.BrokenResourceError) as info:
            await left.receive_some()
        assert isinstance(info.value.__cause__, ConnectionResetError)


@trio_test
async def test_closing_a_listener_wakes_who_waits():
    listener = trio_c.SocketListener(await bound("path"))

    async def accept():
        with pytest.raises(trio_c.ClosedResourceError, match="^another task closed"):
            await listener.accept()

    async with trio_c.open_nursery() as nursery:
        nursery.start_soon(accept)
        await wait_all_tasks_blocked()
        await listener.aclose()
    with pytest.raises(trio_c.ClosedResourceError):
        await listener.accept()
    # The name stays, for whoever made it to remove.
    assert os.path.exists("path")
    with pytest.raises(ConnectionRefusedError):
        await trio_c.open_unix_socket("path")


@trio_test
async def test_open_stream_to_socket_listener():
    async with trio_c.SocketListener(await bound("path")) as listener:
        client = await trio_c.testing.open_stream_to_socket_listener(listener)
        async with client, await listener.accept() as server:
            await client.send_all(b"x")
            assert await server.receive_some() == b"x"


@trio_test
async def test_only_listening_streams():
    for type_ in (SOCK_DGRAM, SOCK_SEQPACKET):
        with tsocket.socket(AF_UNIX, type_) as sock:
            for cls in (trio_c.SocketStream, trio_c.SocketListener):
                message = f"^{cls.__name__} requires a SOCK_STREAM socket$"
                with pytest.raises(ValueError, match=message):
                    cls(sock)
    with tsocket.socket(AF_UNIX) as sock:
        with pytest.raises(ValueError, match="requires a listening socket$"):
            trio_c.SocketListener(sock)


# --- open_unix_socket


@trio_test
async def test_open_fails():
    pathlib.Path("file").touch()
    for address, error, message in [
        ("nowhere", FileNotFoundError, "No such file"),
        ("file", ConnectionRefusedError, "refused"),
        (ABSTRACT, ConnectionRefusedError, "refused"),
        ("", OSError, "Invalid argument"),
        ("p" * 108, OSError, "^AF_UNIX path too long$"),
        (5, TypeError, "^expected str, bytes or os.PathLike object, not int$"),
        (None, TypeError, "^expected str, bytes or os.PathLike object"),
        (bytearray(b"x"), TypeError, "^expected str, bytes or os.PathLike object"),
    ]:
        with pytest.raises(error, match=message):
            await trio_c.open_unix_socket(address)
    with pytest.raises(FileNotFoundError):
        with assert_checkpoints():
            await trio_c.open_unix_socket("nowhere")


@trio_test
async def test_open_is_cancelled():
    async with trio_c.SocketListener(await bound("path")):
        with trio_c.CancelScope() as scope:
            scope.cancel()
            await trio_c.open_unix_socket("path")
        assert scope.cancelled_caught


@trio_test
async def test_open_with_another_factory():
    closed = []

    class Socket(tsocket.SocketType):
        type = SOCK_DGRAM

        async def connect(self, address):
            assert address == "path"

        def close(self):
            closed.append(self)

    class Factory(trio_c.abc.SocketFactory):
        def socket(self, family=None, type=None, proto=None):
            assert (family, type) == (AF_UNIX, SOCK_STREAM)
            return Socket()

    tsocket.set_custom_socket_factory(Factory())
    with pytest.raises(ValueError, match="requires a SOCK_STREAM socket"):
        await trio_c.open_unix_socket(pathlib.Path("path"))
    assert len(closed) == 1


@trio_test
async def test_without_unix_sockets(monkeypatch):
    assert has_unix is True
    monkeypatch.setattr(_highlevel_open_unix_stream, "has_unix", False)
    message = "^Unix sockets are not supported on this platform$"
    with pytest.raises(RuntimeError, match=message):
        await trio_c.open_unix_socket("path")


def test_close_on_error():
    class Thing:
        closed = 0

        def close(self):
            self.closed += 1

    thing = Thing()
    with close_on_error(thing) as same:
        assert same is thing
    assert thing.closed == 0
    for error in (KeyError, KeyboardInterrupt):
        with pytest.raises(error):
            with close_on_error(thing):
                raise error
    assert thing.closed == 2


def test_names():
    assert trio_c.open_unix_socket.__module__ == "trio_c"
    run_code(
        """
import trio_c
trio_c.install()
from trio._highlevel_open_unix_stream import close_on_error, has_unix
import trio
assert has_unix
assert trio.open_unix_socket.__module__ == "trio"
"""
    )


# --- datagrams


@trio_test
async def test_datagrams():
    with (
        await bound("a", SOCK_DGRAM) as a,
        await bound(ABSTRACT, SOCK_DGRAM) as b,
        tsocket.socket(AF_UNIX, SOCK_DGRAM) as unnamed,
    ):
        assert await a.sendto(b"hello", b.getsockname()) == 5
        assert await b.recvfrom(100) == (b"hello", "a")
        assert await b.sendto(b"cut off", 0, "a") == 7
        assert await a.recvfrom(3) == (b"cut", ABSTRACT.encode())
        for address in (b"a", pathlib.Path("a"), trio_c.Path("a")):
            assert await unnamed.sendto(b"", address) == 0
            assert await a.recvfrom(100) == (b"", None)
        buffer = bytearray(6)
        await b.sendto(b"12345", "a")
        assert await a.recvfrom_into(buffer, 4) == (4, ABSTRACT.encode())
        assert buffer == b"1234\0\0"
        await b.sendmsg([b"1", b"2"], (), 0, pathlib.Path("a"))
        assert await a.recvmsg(100) == (b"12", [], 0, ABSTRACT.encode())
        await unnamed.connect("a")
        assert await unnamed.send(b"x") == 1
        assert await a.recvmsg_into([buffer]) == (1, [], 0, None)

        for address, error in [
            ("nowhere", FileNotFoundError),
            (("host", 1), AssertionError),
            (5, AssertionError),
        ]:
            with pytest.raises(error):
                await b.sendto(b"x", address)
        with pytest.raises(OSError, match="Message too long"):
            await b.sendto(bytes(10_000_000), "a")
        with pytest.raises(OSError, match="not connected"):
            await b.send(b"x")
        a.close()
        with pytest.raises(ConnectionRefusedError):
            await unnamed.send(b"x")


@trio_test
async def test_datagrams_wait_for_room():
    with await bound("a", SOCK_DGRAM) as a, tsocket.socket(AF_UNIX, SOCK_DGRAM) as b:
        # The system tells whether there is room at the other end only if it knows
        # the other end.
        await b.connect("a")
        count = 0
        async with trio_c.open_nursery() as nursery:

            @nursery.start_soon
            async def fill():
                nonlocal count
                while True:
                    await b.send(b"%d" % count)
                    count += 1

            await wait_all_tasks_blocked()
            nursery.cancel_scope.cancel()
        assert count > 0
        async with trio_c.open_nursery() as nursery:
            nursery.start_soon(b.send, b"last")
            await wait_all_tasks_blocked()
            assert len(nursery.child_tasks) == 1
            for index in range(count):
                assert await a.recv(100) == b"%d" % index
        assert await a.recv(100) == b"last"


@trio_test
async def test_packets():
    with await bound("path", SOCK_SEQPACKET) as listener:
        with tsocket.socket(AF_UNIX, SOCK_SEQPACKET) as client:
            await client.connect("path")
            server, address = await listener.accept()
            with server:
                assert address == ""
                assert server.type == SOCK_SEQPACKET
                await server.send(b"one")
                await server.send(b"two")
                assert await client.recv(2) == b"on"  # the rest of it is lost
                assert await client.recv(100) == b"two"
            assert await client.recv(100) == b""


@pytest.mark.parametrize("type_", [SOCK_STREAM, SOCK_DGRAM])
@trio_test
async def test_descriptors_can_be_passed(type_):
    left, right = tsocket.socketpair(AF_UNIX, type_)
    r, w = os.pipe()
    with left, right:
        sent = array.array("i", [w])
        rights = [(stdlib.SOL_SOCKET, stdlib.SCM_RIGHTS, sent)]
        async with trio_c.open_nursery() as nursery:

            @nursery.start_soon
            async def receive():
                data, ancillary, flags, address = await right.recvmsg(
                    100, stdlib.CMSG_SPACE(sent.itemsize)
                )
                assert (data, flags, address) == (b"x", 0, None)
                [(_, _, received)] = ancillary
                [fd] = array.array("i", received)
                os.write(fd, b"through it")
                os.close(fd)

            await wait_all_tasks_blocked()
            await left.sendmsg([b"x"], rights)
        assert os.read(r, 100) == b"through it"
    os.close(r)
    os.close(w)


@trio_test
async def test_bind_fails():
    with await bound("path") as taken, tsocket.socket(AF_UNIX) as sock:
        for address, error in [
            ("path", OSError),
            ("no/such/directory", FileNotFoundError),
            ("p" * 108, OSError),
            ("", IndexError),
            (None, AssertionError),
            (("host", 1), AssertionError),
        ]:
            with pytest.raises(error):
                await sock.bind(address)
        await sock.bind("other")
        assert taken.getsockname() == "path"
