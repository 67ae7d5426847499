"""SocketStream and SocketListener."""

import contextlib
import errno
import gc
import socket as stdlib

import pytest
from _sockets import connected, counts, in_run, reset, tcp_listener

import trio_c as trio
import trio_c.socket as tsocket
import trio_c.testing
from trio_c import SocketListener, SocketStream

# --- streams ---------------------------------------------------------


@in_run
async def test_stream_checkpoints():
    client, server = await connected()
    stream, other = SocketStream(client), SocketStream(server)
    with counts(1, 1):
        await stream.send_all(b"xyz")
    with counts(1, 1):
        assert await other.receive_some() == b"xyz"
    with counts(1, 1):
        await stream.send_all(b"")
    async with trio.open_nursery() as nursery:

        @nursery.start_soon
        async def receive():
            assert await other.receive_some(2) == b"ab"

        await trio.testing.wait_all_tasks_blocked()
        await stream.send_all(b"abc")
    assert await other.receive_some(max_bytes=10) == b"c"
    with counts(1, 1):
        await stream.aclose()
    assert await other.receive_some() == b""
    await other.aclose()


@in_run
async def test_stream_arguments():
    client, server = await connected()
    stream = SocketStream(client)
    for bad in (0, -1):
        with counts(0, 0):
            with pytest.raises(ValueError, match="^max_bytes must be >= 1$"):
                await stream.receive_some(bad)
    for bad in (1.5, "x"):
        with pytest.raises(TypeError):
            await stream.receive_some(bad)
    with pytest.raises(
        TypeError, match="^memoryview: a bytes-like object is required, not 'str'$"
    ):
        await stream.send_all("x")
    with pytest.raises(BufferError):
        await stream.send_all(memoryview(b"abcd")[::2])
    with pytest.raises(TypeError):
        await stream.send_all()
    # None of that has left it busy.
    await stream.send_all(b"x")
    assert await server.recv(10) == b"x"
    client.close()
    server.close()


@in_run
async def test_stream_closed():
    client, server = await connected()
    stream = SocketStream(client)
    await stream.aclose()
    await stream.aclose()
    for data in (b"x", b""):
        with pytest.raises(
            trio.ClosedResourceError,
            match="^this socket was already closed$"
            if data
            else "^socket was already closed$",
        ) as info:
            await stream.send_all(data)
        assert info.value.__cause__ is None
        assert info.value.__suppress_context__ or info.value.__context__ is None
    with pytest.raises(trio.ClosedResourceError, match="already closed$"):
        await stream.receive_some()
    with pytest.raises(trio.ClosedResourceError):
        await stream.wait_send_all_might_not_block()
    with pytest.raises(trio.ClosedResourceError):
        await stream.send_eof()
    server.close()


@in_run
async def test_stream_broken():
    client, server = await connected()
    stream = SocketStream(client)
    reset(server)
    with pytest.raises(
        trio.BrokenResourceError,
        match=r"^socket connection broken: \[Errno 104\] Connection reset by peer$",
    ) as info:
        await stream.receive_some()
    assert isinstance(info.value.__cause__, ConnectionResetError)
    with pytest.raises(trio.BrokenResourceError) as info:
        for _ in range(10):
            await stream.send_all(b"x")
    assert isinstance(info.value.__cause__, BrokenPipeError)
    await stream.aclose()


@in_run
async def test_stream_broken_while_waiting():
    client, server = await connected()
    stream = SocketStream(client)
    async with trio.open_nursery() as nursery:

        @nursery.start_soon
        async def receive():
            # The kernel tells only one of them that it was a reset.
            with contextlib.suppress(trio.BrokenResourceError):
                assert await stream.receive_some() == b""

        @nursery.start_soon
        async def send():
            with pytest.raises(trio.BrokenResourceError):
                while True:
                    await stream.send_all(bytes(1_000_000))

        await trio.testing.wait_all_tasks_blocked()
        reset(server)
    await stream.aclose()


@in_run
async def test_eof():
    client, server = await connected()
    stream, other = SocketStream(client), SocketStream(server)
    await stream.send_eof()
    with counts(1, 1):
        await stream.send_eof()
    for data in (b"x", b""):
        with (
            counts(0, 0),
            pytest.raises(
                trio.ClosedResourceError, match="^can't send data after sending EOF$"
            ),
        ):
            await stream.send_all(data)
    assert await other.receive_some() == b""
    await other.send_all(b"still")
    assert await stream.receive_some() == b"still"
    await stream.aclose()
    await other.aclose()


async def clog(stream):
    """Until a send would block."""
    with trio.CancelScope() as scope:
        async with trio.open_nursery() as nursery:

            @nursery.start_soon
            async def send():
                while True:
                    await stream.send_all(bytes(1_000_000))

            await trio.testing.wait_all_tasks_blocked()
            scope.cancel()


@in_run
async def test_two_senders():
    client, server = await connected()
    stream = SocketStream(client)
    await clog(stream)
    busy = pytest.raises(
        trio.BusyResourceError,
        match="^another task is currently sending data on this SocketStream$",
    )

    async def others_are_refused():
        for method, args in (
            (stream.send_all, (b"x",)),
            (stream.send_all, (b"",)),
            (stream.wait_send_all_might_not_block, ()),
            (stream.send_eof, ()),
        ):
            with busy:
                await method(*args)

    for method, args in (
        (stream.send_all, (bytes(1_000_000),)),
        (stream.wait_send_all_might_not_block, ()),
    ):
        async with trio.open_nursery() as nursery:
            nursery.start_soon(method, *args)
            await trio.testing.wait_all_tasks_blocked()
            await others_are_refused()
            nursery.cancel_scope.cancel()
    # After a cancellation it is free again.
    async with trio.open_nursery() as nursery:
        nursery.start_soon(stream.send_eof)
    client.close()
    server.close()


@in_run
async def test_a_send_that_is_garbage_together_with_its_stream():
    client, server = await connected()
    stream = SocketStream(client)
    await clog(stream)
    stream.operation = operation = stream.send_all(b"x")
    operation.send(None)
    del stream
    # The collector looks at the operation first from now on...
    gc.collect()
    del operation
    # ...and now finds that it is garbage, and takes its stream away.
    gc.collect()
    client.close()
    server.close()


@in_run
async def test_dropped_send_leaves_the_stream_free():
    client, server = await connected()
    stream = SocketStream(client)
    await clog(stream)
    data = bytearray(100_000)
    coro = None

    class Driver:
        def __await__(self):
            yield coro.send(None)

    for how in ("throw", "close", "drop"):
        coro = stream.send_all(data)
        async with trio.open_nursery() as nursery:

            @nursery.start_soon
            async def sleeper():
                await Driver()

            await trio.testing.wait_all_tasks_blocked()
            with pytest.raises(trio.BusyResourceError):
                await stream.send_all(b"x")
            with pytest.raises(BufferError):
                data.append(0)  # it is being sent
            if how == "throw":
                with pytest.raises(KeyError):
                    coro.throw(KeyError("x"))
            elif how == "close":
                coro.close()
            nursery.cancel_scope.cancel()
        coro = None
        gc.collect()
        data.append(0)
    client.close()
    server.close()


@in_run
async def test_data_is_free_after_send_all():
    client, server = await connected()
    with client, server:
        stream = SocketStream(client)
        data = bytearray(5_000_000)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(stream.send_all, data)
            left = len(data)
            while left:
                left -= len(await server.recv(1_000_000))
        data.append(0)


@in_run
async def test_items_larger_than_bytes():
    import array

    client, server = await connected()
    with client, server:
        data = array.array("i", range(1000))
        await SocketStream(client).send_all(memoryview(data))
        got = b""
        while len(got) < 4000:
            got += await server.recv(5000)
        assert got == data.tobytes()


@in_run
async def test_options_of_streams():
    with await tcp_listener() as listener:
        client = tsocket.socket()
        await client.connect(listener.getsockname())
        accepted = await SocketListener(listener).accept()
        for stream in (SocketStream(client), accepted):
            assert stream.getsockopt(tsocket.IPPROTO_TCP, tsocket.TCP_NODELAY)
            if hasattr(tsocket, "TCP_NOTSENT_LOWAT"):
                assert (
                    stream.getsockopt(tsocket.IPPROTO_TCP, tsocket.TCP_NOTSENT_LOWAT)
                    == 16384
                )
            await stream.aclose()


# --- listeners -------------------------------------------------------


@in_run
async def test_listener():
    listener = SocketListener(await tcp_listener())
    address = listener.socket.getsockname()
    client = stdlib.create_connection(address)
    with counts(1, 1):
        stream = await listener.accept()
    assert type(stream) is SocketStream
    assert type(stream.socket) is type(listener.socket)
    assert stream.socket.getpeername() == client.getsockname()
    await stream.aclose()
    client.close()
    async with trio.open_nursery() as nursery:

        @nursery.start_soon
        async def accept():
            with pytest.raises(
                trio.ClosedResourceError, match="^another task closed this fd$"
            ):
                await listener.accept()

        await trio.testing.wait_all_tasks_blocked()
        await listener.aclose()
    with pytest.raises(trio.ClosedResourceError) as info:
        await listener.accept()
    assert str(info.value) == ""
    assert info.value.__cause__ is None
    assert info.value.__suppress_context__


@pytest.mark.skipif(not hasattr(tsocket, "AF_UNIX"), reason="there are no UNIX sockets")
@in_run
async def test_listener_on_unix(tmp_path):
    path = str(tmp_path / "socket")
    with tsocket.socket(tsocket.AF_UNIX) as sock:
        await sock.bind(path)
        sock.listen()
        listener = SocketListener(sock)
        with tsocket.socket(tsocket.AF_UNIX) as client:
            await client.connect(path)
            stream = await listener.accept()
            await client.send(b"x")
            assert await stream.receive_some() == b"x"
            await stream.aclose()


class FakeSocket(tsocket.SocketType):
    """Not one of ours: everything goes through its own methods."""

    type = tsocket.SOCK_STREAM
    did_shutdown_SHUT_WR = False

    def __init__(self, accepts=()):
        super().__init__()
        self.accepts = iter(accepts)
        self.sent = []
        self.open = True
        self.gate = trio.Event()
        self.gate.set()

    def getsockopt(self, level, optname, buflen=None):
        return True

    def setsockopt(self, level, optname, value, optlen=None):
        pass

    def fileno(self):
        return 7 if self.open else -1

    def close(self):
        self.open = False

    async def accept(self):
        await trio.lowlevel.checkpoint()
        event = next(self.accepts)
        if isinstance(event, BaseException):
            raise event
        return event, None

    async def send(self, data):
        await self.gate.wait()
        if not self.open:
            raise OSError(errno.EBADF, "closed")
        self.sent.append(bytes(data[:3]))
        return min(3, len(data))

    async def recv(self, n):
        await trio.lowlevel.checkpoint()
        if n == 13:
            raise OSError(errno.ECONNRESET, "reset")
        return b"r" * n


@in_run
async def test_streams_on_other_sockets():
    sock = FakeSocket()
    stream = SocketStream(sock)
    await stream.send_all(b"abcdefgh")
    assert sock.sent == [b"abc", b"def", b"gh"]
    assert await stream.receive_some(3) == b"rrr"
    assert len(await stream.receive_some()) == 65536
    with pytest.raises(trio.BrokenResourceError, match="broken: .*reset$"):
        await stream.receive_some(13)
    with pytest.raises(ValueError, match="^max_bytes must be >= 1$"):
        await stream.receive_some(0)
    async with trio.open_nursery() as nursery:
        sock.gate = trio.Event()
        nursery.start_soon(stream.send_all, b"abcdef")
        await trio.testing.wait_all_tasks_blocked()
        with pytest.raises(trio.BusyResourceError):
            await stream.send_all(b"x")
        sock.gate.set()
    await stream.send_all(b"")
    await stream.aclose()
    for data in (b"x", b""):
        with pytest.raises(trio.ClosedResourceError):
            await stream.send_all(data)


@in_run
async def test_listeners_on_other_sockets():
    peer = FakeSocket()
    listener = SocketListener(
        FakeSocket(
            [
                OSError(errno.ECONNABORTED, "x"),
                peer,
                OSError(errno.EMFILE, "x"),
                OSError(errno.EBADF, "x"),
            ]
        )
    )
    stream = await listener.accept()
    assert stream.socket is peer
    with pytest.raises(OSError, match="x"):
        await listener.accept()
    with pytest.raises(trio.ClosedResourceError):
        await listener.accept()


def test_streams_want_the_right_sockets():
    async def main():
        a, b = stdlib.socketpair()
        with a, b:
            for cls in (SocketStream, SocketListener):
                with pytest.raises(
                    TypeError, match=f"^{cls.__name__} requires a Trio socket object$"
                ):
                    cls(a)
        with tsocket.socket(type=tsocket.SOCK_DGRAM) as dgram:
            for cls in (SocketStream, SocketListener):
                with pytest.raises(
                    ValueError,
                    match=f"^{cls.__name__} requires a SOCK_STREAM socket$",
                ):
                    cls(dgram)
        with tsocket.socket() as idle:
            with pytest.raises(
                ValueError, match="^SocketListener requires a listening socket$"
            ):
                SocketListener(idle)

    trio.run(main)
