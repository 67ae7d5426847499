"""The socket module, and the sockets it makes."""

import errno
import gc
import hashlib
import inspect
import os
import socket as stdlib
import sys
import weakref

import pytest
from _sockets import connected, counts, in_run, n_waiting, tcp_listener

import trio_c as trio
import trio_c.socket as tsocket
import trio_c.testing
from trio_c import SocketListener, SocketStream

# Not everywhere.
UNIX = [tsocket.AF_UNIX] if hasattr(tsocket, "AF_UNIX") else []
needs_unix = pytest.mark.skipif(not UNIX, reason="there are no UNIX sockets")

# --- what comes out, and what it costs in checkpoints ----------------


@pytest.mark.parametrize(
    ("method", "args"),
    [
        ("recv", (10,)),
        ("recv", (10, 0)),
        ("recv", (10, tsocket.MSG_PEEK)),
        ("recvfrom", (10,)),
        pytest.param("recvmsg", (10,), marks=needs_unix),
    ],
)
@in_run
async def test_one_checkpoint_whether_it_blocks_or_not(method, args):
    a, b = tsocket.socketpair()
    with a, b:
        with counts(1, 1):
            await a.send(b"xyz")
        with counts(1, 1):
            got = await getattr(b, method)(*args)
        data = got if isinstance(got, bytes) else got[0]
        assert data == b"xyz"
        if tsocket.MSG_PEEK in args:
            assert await b.recv(10) == b"xyz"
        async with trio.open_nursery() as nursery:

            @nursery.start_soon
            async def receive():
                # Once it has blocked, the wait is a checkpoint by itself.
                with counts(2, 1):
                    await getattr(b, method)(*args)

            await trio.testing.wait_all_tasks_blocked()
            await a.send(b"xyz")


@in_run
async def test_errors_are_checkpoints_too():
    a, b = tsocket.socketpair()
    b.close()
    with counts(1, 1), pytest.raises(BrokenPipeError):
        await a.send(b"x")
    with counts(1, 1), pytest.raises(TypeError):
        await a.send("x")
    with counts(1, 1), pytest.raises(TypeError):
        await a.recv("x")
    a.close()
    with counts(1, 1), pytest.raises(OSError, match="Bad file descriptor"):
        await a.recv(1)
    with counts(1, 1), pytest.raises(OSError, match="Bad file descriptor"):
        await a.accept()


@in_run
async def test_cancelled_before_anything_happens():
    a, b = tsocket.socketpair()
    with a, b:
        await a.send(b"x")
        with trio.CancelScope() as scope:
            scope.cancel()
            await b.recv(10)
        assert scope.cancelled_caught
        with trio.CancelScope() as scope:
            scope.cancel()
            await a.send(b"y")
        assert scope.cancelled_caught
        assert await b.recv(10) == b"x"


def test_outside_a_run():
    async def main():
        return tsocket.socketpair()

    a, b = trio.run(main)
    for coro in (a.recv(1), a.send(b"x"), a.accept(), a.connect("x")):
        with pytest.raises(RuntimeError, match="^must be called from async context$"):
            coro.send(None)
    # Upstream cannot close a socket there either.
    with pytest.raises(RuntimeError, match="^must be called from async context$"):
        a.close()
    for sock in (a, b):
        with sock:
            pass


@pytest.mark.parametrize("family", [tsocket.AF_INET, tsocket.AF_INET6, *UNIX])
@pytest.mark.parametrize("type_", [tsocket.SOCK_STREAM, tsocket.SOCK_DGRAM])
@in_run
async def test_addresses_are_the_standard_librarys(family, type_, tmp_path):
    def address(name):
        if family in UNIX:
            return str(tmp_path / name)
        return ("127.0.0.1" if family == tsocket.AF_INET else "::1", 0)

    try:
        a, b = tsocket.socket(family, type_), tsocket.socket(family, type_)
        await a.bind(address("a"))
    except OSError:
        assert family == tsocket.AF_INET6  # none on this machine
        return
    await b.bind(address("b"))
    with a, b:
        if type_ == tsocket.SOCK_STREAM:
            a.listen()
            await b.connect(a.getsockname())
            c, addr = await a.accept()
            with c:
                assert addr == b.getsockname() == c.getpeername()
                assert (c.family, c.type) == (family, type_)
        else:
            assert await b.sendto(b"x", a.getsockname()) == 1
            assert await a.recvfrom(10) == (b"x", b.getsockname())
            assert await b.sendto(b"yz", 0, a.getsockname()) == 2
            buffer = bytearray(5)
            assert await a.recvfrom_into(buffer) == (2, b.getsockname())
            assert buffer == b"yz\0\0\0"


@in_run
async def test_datagrams_go_to_who_is_named():
    hosts = ["127.0.0.1", "127.9.10.99", "127.100.255.254"]
    if sys.platform != "linux":
        hosts = ["127.0.0.1"] * 3  # others have no address but that
    server = tsocket.socket(type=tsocket.SOCK_DGRAM)
    peers = [tsocket.socket(type=tsocket.SOCK_DGRAM) for _ in hosts]
    await server.bind(("0.0.0.0", 0))
    port = server.getsockname()[1]
    names = []
    for host, peer in zip(hosts, peers, strict=True):
        await peer.bind((host, 0))
        names.append(peer.getsockname())
    # Twice in a row, in turns, out of order; with the tuple it came with, with
    # an equal one, and with one from long ago.
    came = {}
    for i in (0, 0, 1, 2, 0, 1, 1, 2):
        await peers[i].sendto(b"x", (hosts[i], port))
        data, came[i] = await server.recvfrom(10)
        assert (data, came[i]) == (b"x", names[i])
        for j in (i, 0, i):
            if j in came:
                for name in (came[j], tuple(list(names[j])), names[j]):
                    await server.sendto(b"%d" % j, name)
                    assert (await peers[j].recvfrom(10))[0] == b"%d" % j
    # What one socket remembers means nothing to another in its place.
    server._sock.close()
    if UNIX:
        server._sock = stdlib.socket(stdlib.AF_UNIX, stdlib.SOCK_DGRAM)
        with pytest.raises(AssertionError):  # it is no path
            await server.sendto(b"x", came[2])
    for peer in (server, *peers):
        peer.close()


@in_run
async def test_datagrams_come_from_addresses_of_one_form():
    with (
        tsocket.socket(tsocket.AF_INET6, tsocket.SOCK_DGRAM) as a,
        tsocket.socket(tsocket.AF_INET6, tsocket.SOCK_DGRAM) as b,
    ):
        try:
            await a.bind(("::1", 0))
        except OSError:
            return  # none on this machine
        await b.bind(("::1", 0))
        name = a.getsockname()
        port = name[1]
        # However it was written when something was sent there.
        for to in (name, ("::1", port), ("::1", port, 0), ("0::1", port, 0, 0)):
            await b.sendto(b"x", to)
            await a.sendto(b"y", (await a.recvfrom(10))[1])
            assert await b.recvfrom(10) == (b"y", name)


@pytest.mark.skipif(sys.platform != "linux", reason="abstract names are Linux's")
@in_run
async def test_abstract_and_unnamed_addresses():
    name = b"\0trio-c-test-%d" % os.getpid()
    with (
        tsocket.socket(tsocket.AF_UNIX, tsocket.SOCK_DGRAM) as a,
        tsocket.socket(tsocket.AF_UNIX, tsocket.SOCK_DGRAM) as b,
    ):
        await a.bind(name)
        await b.sendto(b"x", name)
        assert await a.recvfrom(10) in [(b"x", None), (b"x", "")]
        await b.bind(name + b"2")
        await b.sendto(b"x", name.decode())
        assert await a.recvfrom(10) == (b"x", name + b"2")
        too_long = "x" * 200
        with pytest.raises(OSError, match="AF_UNIX path too long"):
            await b.sendto(b"x", too_long)


@in_run
async def test_sendto_with_names_and_nonsense():
    with (
        tsocket.socket(type=tsocket.SOCK_DGRAM) as a,
        tsocket.socket(type=tsocket.SOCK_DGRAM) as b,
    ):
        await a.bind(("127.0.0.1", 0))
        port = a.getsockname()[1]
        for host in ("127.0.0.1", "localhost", ""):
            assert await b.sendto(b"x", (host, port)) == 1
            assert (await a.recvfrom(10))[0] == b"x"
        with pytest.raises(OverflowError):
            await b.sendto(b"x", ("127.0.0.1", 123456))
        for bad in ("127.0.0.1", ("127.0.0.1",), ["127.0.0.1", port]):
            with pytest.raises(
                ValueError, match=r"^address should be a \(host, port\) tuple$"
            ):
                await b.sendto(b"x", bad)
        with pytest.raises(TypeError):
            await b.sendto("x", ("127.0.0.1", port))


# --- arguments -------------------------------------------------------


@in_run
async def test_arguments_mean_what_they_mean_in_the_standard_library():
    a, b = tsocket.socketpair()
    with a, b:

        class Index:
            def __index__(self):
                return 3

        await a.send(bytearray(b"abcdef"))
        assert await b.recv(Index()) == b"abc"
        assert await b.recv(True) == b"d"
        assert await b.recv(10, stdlib.MSG_DONTWAIT) == b"ef"
        for bad in (-1, 1 << 80):
            with pytest.raises((ValueError, OverflowError)):
                await b.recv(bad)
        with pytest.raises(TypeError):
            await b.recv()
        with pytest.raises(TypeError):
            await b.recv(1, 2, 3)
        with pytest.raises(TypeError):
            await b.recv(buflen=1)

        buffer = bytearray(4)
        await a.send(memoryview(b"abcdefgh")[::1])
        assert await b.recv_into(buffer, nbytes=2) == 2
        assert await b.recv_into(memoryview(buffer)[2:]) == 2
        assert buffer == b"abcd"
        assert await b.recv_into(buffer=buffer, nbytes=0, flags=0) == 4
        with pytest.raises(ValueError, match="buffer too small for requested bytes"):
            await b.recv_into(buffer, 5)
        with pytest.raises(ValueError, match="negative buffersize in recv_into"):
            await b.recv_into(buffer, -1)
        with pytest.raises(TypeError, match="read-write bytes-like object"):
            await b.recv_into(b"read only")

        with pytest.raises(TypeError, match="a bytes-like object is required"):
            await a.send("text")
        with pytest.raises(BufferError):
            await a.send(memoryview(b"abcdef")[::2])
        with pytest.raises(TypeError):
            await a.accept(1)
        with pytest.raises(TypeError):
            await a.connect()


@needs_unix
@in_run
async def test_truncated_datagram_length():
    a, b = tsocket.socketpair(tsocket.AF_UNIX, tsocket.SOCK_DGRAM)
    with a, b:
        await a.send(b"0123456789")
        buffer = bytearray(4)
        assert await b.recv_into(buffer, 4, tsocket.MSG_TRUNC) == 10
        assert buffer == b"0123"


@in_run
async def test_buffers_are_not_held_while_waiting():
    a, b = tsocket.socketpair()
    with a, b:
        buffer = bytearray(10)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(b.recv_into, buffer)
            await trio.testing.wait_all_tasks_blocked()
            buffer.extend(b"more")
            await a.send(b"x")
        assert buffer[:1] == b"x"


# --- data, all of it -------------------------------------------------


@pytest.mark.parametrize(
    "size", [1, 100, 16384, 16385, 65535, 65536, 200_000, 3_000_000]
)
@in_run
async def test_every_size_arrives(size):
    client, server = await connected()
    data = os.urandom(1000) * (3_000_000 // 1000)
    sent, received = hashlib.sha256(data), hashlib.sha256()
    async with trio.open_nursery() as nursery:

        @nursery.start_soon
        async def send():
            await SocketStream(client).send_all(data)
            client.close()

        while chunk := await server.recv(size if size > 64 else 4096):
            assert len(chunk) <= max(size, 4096)
            received.update(chunk)
    assert sent.digest() == received.digest()
    server.close()


@in_run
async def test_receiving_little_after_much_and_the_other_way_round():
    client, server = await connected()
    with client, server:
        stream = SocketStream(client)
        for size in (10, 100_000, 5, 100_000, 100_000, 1):
            data = os.urandom(size)
            got = b""
            async with trio.open_nursery() as nursery:
                nursery.start_soon(stream.send_all, data)
                while len(got) < size:
                    got += await server.recv(200_000)
            assert got == data


@needs_unix
@in_run
async def test_huge_datagram_and_huge_buffer():
    a, b = tsocket.socketpair(tsocket.AF_UNIX, tsocket.SOCK_DGRAM)
    with a, b:
        data = os.urandom(100_000)
        assert await a.send(data) == 100_000
        assert await b.recv(2_000_000) == data
        assert await a.send(b"small") == 5
        assert await b.recv(2_000_000) == b"small"


@in_run
async def test_two_directions_at_once():
    client, server = await connected()
    total = 2_000_000

    async def pump(stream, seed):
        data = bytes([seed]) * total
        await stream.send_all(data)
        await stream.send_eof()

    async def sink(stream, seed):
        n = 0
        async for chunk in stream:
            assert chunk.count(seed) == len(chunk)
            n += len(chunk)
        assert n == total

    async with trio.open_nursery() as nursery:
        streams = SocketStream(client), SocketStream(server)
        for i in (0, 1):
            nursery.start_soon(pump, streams[i], i)
            nursery.start_soon(sink, streams[i], 1 - i)
    client.close()
    server.close()


# --- accept and connect ----------------------------------------------


@in_run
async def test_accepted_sockets_are_whole():
    with await tcp_listener() as listener:
        client = stdlib.create_connection(listener.getsockname())
        server, addr = await listener.accept()
        with client, server:
            assert type(server) is type(listener)
            assert server._owned
            raw = server._sock
            assert type(raw) is stdlib.socket
            assert raw.gettimeout() == 0
            assert os.name != "posix" or not os.get_blocking(raw.fileno())
            assert not raw.get_inheritable()
            assert (raw.family, raw.type, raw.proto) == (
                stdlib.AF_INET,
                stdlib.SOCK_STREAM,
                listener.proto,
            )
            assert addr == client.getsockname()
            assert repr(server).startswith("<trio.socket.socket fd=")


@in_run
async def test_accept_without_descriptors():
    import resource

    with await tcp_listener() as listener:
        client = stdlib.create_connection(listener.getsockname())
        stream_listener = SocketListener(listener)
        soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
        lowest = os.dup(0)
        os.close(lowest)
        resource.setrlimit(resource.RLIMIT_NOFILE, (lowest, hard))
        try:
            for accept in (listener.accept, stream_listener.accept):
                with counts(1, 1), pytest.raises(OSError, match="Too many") as info:
                    await accept()
                assert info.value.errno == errno.EMFILE
        finally:
            resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
        stream = await stream_listener.accept()
        await stream.aclose()
        client.close()


@in_run
async def test_accept_on_what_does_not_listen():
    with tsocket.socket() as sock:
        with pytest.raises(OSError, match="Invalid argument"):
            await sock.accept()
    with tsocket.socket(type=tsocket.SOCK_DGRAM) as sock:
        with pytest.raises(OSError, match="not supported"):
            await sock.accept()


@in_run
async def test_connect_fails():
    with await tcp_listener() as listener:
        address = listener.getsockname()
    for _ in range(2):
        with tsocket.socket() as sock:
            with pytest.raises(
                ConnectionRefusedError,
                match=r"^\[Errno 111\] Error connecting to "
                rf"\('127\.0\.0\.1', {address[1]}\): Connection refused$",
            ):
                await sock.connect(address)
            # Still open, and usable for another attempt.
            assert sock.fileno() != -1
    if UNIX:
        with tsocket.socket(tsocket.AF_UNIX) as sock:
            with pytest.raises(FileNotFoundError):
                await sock.connect("/no/such/socket")


@in_run
async def test_connect_looks_names_up():
    with await tcp_listener() as listener, tsocket.socket() as sock:
        await sock.connect(("localhost", listener.getsockname()[1]))
        assert sock.getpeername() == listener.getsockname()
    with tsocket.socket() as sock:
        with pytest.raises(ValueError, match=r"\(host, port\) tuple$"):
            await sock.connect("localhost")
        assert sock.fileno() != -1


def full_listener():
    """A listener whose backlog is full: connecting to it takes for ever."""
    listener = stdlib.socket()
    listener.bind(("127.0.0.1", 0))
    listener.listen(0)
    clients = []
    while True:
        client = stdlib.socket()
        client.settimeout(0.05)
        clients.append(client)
        try:
            client.connect(listener.getsockname())
        except TimeoutError:
            return listener, clients


@pytest.mark.skipif(sys.platform != "linux", reason="how a backlog fills differs")
@pytest.mark.parametrize("how", ["cancel", "throw", "close"])
@in_run
async def test_leaving_connect_early(how):
    listener, clients = full_listener()
    sock = tsocket.socket()
    address = listener.getsockname()
    if how == "cancel":
        with trio.move_on_after(0.01) as scope:
            await sock.connect(address)
        assert scope.cancelled_caught
        # In nobody knows what state.
        assert sock.fileno() == -1
    elif how == "throw":
        coro = sock.connect(address)

        class Driver:
            def __await__(self):
                yield coro.send(None)

        async with trio.open_nursery() as nursery:

            @nursery.start_soon
            async def sleeper():
                await Driver()

            await trio.testing.wait_all_tasks_blocked()
            with pytest.raises(KeyError):
                coro.throw(KeyError("x"))
            nursery.cancel_scope.cancel()
        assert sock.fileno() != -1
        sock.close()
    else:
        async with trio.open_nursery() as nursery:

            @nursery.start_soon
            async def connect():
                with pytest.raises(trio.ClosedResourceError):
                    await sock.connect(address)

            await trio.testing.wait_all_tasks_blocked()
            sock.close()
    assert n_waiting() == 1  # the run's own
    listener.close()
    for client in clients:
        client.close()


@in_run
async def test_connect_cancelled_before_it_began():
    with await tcp_listener() as listener:
        for address in (listener.getsockname(), ("localhost", 1)):
            sock = tsocket.socket()
            with trio.CancelScope() as scope:
                scope.cancel()
                await sock.connect(address)
            assert scope.cancelled_caught
            assert sock.fileno() == -1


@in_run
async def test_connecting_again_after_a_failure():
    dead = await tcp_listener()
    address = dead.getsockname()
    dead.close()
    with await tcp_listener() as listener, tsocket.socket() as sock:
        with pytest.raises(ConnectionRefusedError):
            await sock.connect(address)
        try:
            await sock.connect(listener.getsockname())
        except ConnectionAbortedError:  # Linux remembers that it failed, once
            await sock.connect(listener.getsockname())
        server, _ = await listener.accept()
        with server:
            for data in (b"a", b"b"):
                await server.send(data)
                assert await sock.recv(10) == data


# --- closing ---------------------------------------------------------


@in_run
async def test_close_wakes_everybody():
    client, server = await connected()
    with server:
        woken = []

        async def expect(method, *args):
            with pytest.raises(
                trio.ClosedResourceError, match="^another task closed this fd$"
            ):
                while True:
                    await method(*args)
            woken.append(method)

        async with trio.open_nursery() as nursery:
            nursery.start_soon(expect, client.recv, 10)
            nursery.start_soon(expect, client.send, bytes(100_000))
            await trio.testing.wait_all_tasks_blocked()
            client.close()
        assert len(woken) == 2
        client.close()
        assert client.fileno() == -1


@in_run
async def test_standard_socket_closed_behind_our_back():
    client, server = await connected()
    with server:
        client._sock.close()
        assert client.fileno() == -1
        with pytest.raises(OSError, match="Bad file descriptor"):
            await client.recv(1)
        with pytest.raises(OSError, match="Bad file descriptor"):
            await client.send(b"x")
        client.close()


@in_run
async def test_detach():
    a, b = tsocket.socketpair()
    with trio.move_on_after(0.01):
        await a.recv(1)
    fd = a.detach()
    assert a.fileno() == -1
    with tsocket.socket(fileno=fd) as again, b:
        assert not again._owned
        await b.send(b"x")
        assert await again.recv(10) == b"x"


def test_dropped_sockets_are_freed():
    async def main():
        a, b = tsocket.socketpair()
        refs = [weakref.ref(sock) for sock in (a, b)]
        with trio.move_on_after(0.01):
            await a.recv(1)
        fds = a.fileno(), b.fileno()
        with pytest.warns(ResourceWarning):
            del a, b
            gc.collect()
        assert [ref() for ref in refs] == [None, None]
        for fd in fds:
            with pytest.raises(OSError, match="Bad file descriptor"):
                os.fstat(fd)

    trio.run(main)


@in_run
async def test_no_garbage_from_traffic():
    client, server = await connected()
    with client, server:
        stream, other = SocketStream(client), SocketStream(server)

        async def traffic():
            for _ in range(20):
                await stream.send_all(b"x" * 100)
                await other.receive_some()
            with trio.move_on_after(0.001):
                await other.receive_some()

        await traffic()
        gc.collect()
        gc.disable()
        gc.set_debug(gc.DEBUG_SAVEALL)
        try:
            await traffic()
            gc.collect()
            assert gc.garbage == []
        finally:
            gc.set_debug(0)
            gc.garbage.clear()
            gc.enable()


# --- making sockets --------------------------------------------------


@in_run
async def test_who_owns_what():
    with tsocket.socket() as sock:
        assert sock._owned
        with sock.dup() as twin:
            assert twin._owned
    a, b = tsocket.socketpair()
    with a, b:
        assert a._owned
        assert b._owned
        with tsocket.fromfd(a.fileno()) as copy:
            assert copy._owned
            assert copy.family == a.family
        with tsocket.from_stdlib_socket(a._sock.dup()) as wrapped:
            assert not wrapped._owned


def test_from_stdlib_socket_is_choosy():
    with pytest.raises(
        TypeError, match=r"^expected object of type 'socket.socket', not 'int'$"
    ):
        tsocket.from_stdlib_socket(1)

    class MySocket(stdlib.socket):
        pass

    with MySocket() as mine:
        with pytest.raises(
            TypeError,
            match=r"^expected object of type 'socket.socket', not 'MySocket'$",
        ):
            tsocket.from_stdlib_socket(mine)
        assert mine.gettimeout() is None
    with pytest.raises(
        TypeError,
        match=r"^SocketType is an abstract class; use trio.socket.socket if you want "
        "to construct a socket object$",
    ):
        tsocket.SocketType()


@in_run
async def test_default_timeout_does_not_matter():
    stdlib.setdefaulttimeout(5.0)
    try:
        client, server = await connected()
        with client, server:
            assert client._sock.gettimeout() == 0
            assert server._sock.gettimeout() == 0
            assert os.name != "posix" or not os.get_blocking(server.fileno())
    finally:
        stdlib.setdefaulttimeout(None)


@in_run
async def test_a_blocking_descriptor_blocks_nobody():
    # Another process with a duplicate may make it blocking for all.
    a, b = tsocket.socketpair()
    with a, b:
        os.set_blocking(a.fileno(), True)
        with trio.move_on_after(0.01) as scope:
            await a.recv(1)
        assert scope.cancelled_caught
        with trio.move_on_after(0.05) as scope:
            while True:
                await a.send(bytes(65536))
        assert scope.cancelled_caught


def test_socket_module():
    for name in stdlib.__all__:
        if name.isupper() and (sys.platform, name) != ("win32", "SO_REUSEADDR"):
            assert getattr(tsocket, name) == getattr(stdlib, name)
    for name in ("gaierror", "herror", "gethostname", "htons", "inet_pton", "ntohs"):
        assert getattr(tsocket, name) is getattr(stdlib, name)
    for name in ("create_connection", "setdefaulttimeout", "gethostbyname", "timeout"):
        assert not hasattr(tsocket, name)
    assert tsocket.SocketType.__module__ in ("trio_c.socket", "trio.socket")
    public = [name for name in vars(tsocket) if not name.startswith("_")]
    for name in public:
        assert name in {"TYPE_CHECKING", "annotations"} or name in dir(tsocket)


def test_methods_look_like_methods():
    with tsocket.from_stdlib_socket(stdlib.socket()) as sock:
        cls = type(sock)
    for name in ("recv", "send", "accept", "connect", "sendto", "recvfrom"):
        method = getattr(cls, name)
        assert inspect.iscoroutinefunction(method)
        assert method.__name__ == name
        assert method.__doc__
    assert (
        str(inspect.signature(cls.recv))
        == "(self, buflen: 'int', flags: 'int' = 0, /) -> 'bytes'"
    )
    for cls, name in (
        (SocketStream, "send_all"),
        (SocketStream, "receive_some"),
        (SocketListener, "accept"),
    ):
        assert inspect.iscoroutinefunction(getattr(cls, name))
    assert issubclass(SocketStream, trio.abc.HalfCloseableStream)
    assert issubclass(SocketListener, trio.abc.Listener)
    for final in (SocketStream, SocketListener):
        with pytest.raises(TypeError, match="does not support subclassing$"):
            type("Sub", (final,), {})


@pytest.mark.skipif(sys.version_info < (3, 12), reason="no __buffer__ there")
@pytest.mark.parametrize("method", ["recv_into", "send"])
@in_run
async def test_buffer_whose_exporter_closes_the_socket(method):
    a, b = tsocket.socketpair()
    others = []

    class Exporter:
        armed = False
        data = bytearray(b"as it was")

        def __buffer__(self, flags):
            if self.armed:
                # Another socket gets the number, and has something to read.
                a.close()
                others.extend(stdlib.socketpair())
                others[1].send(b"not yours")
            return memoryview(self.data)

    with b:
        exporter = Exporter()
        awaitable = getattr(a, method)(exporter)
        exporter.armed = True
        with pytest.raises(OSError) as info:
            await awaitable
        assert info.value.errno == errno.EBADF
    assert exporter.data == b"as it was"
    others[1].setblocking(False)
    assert others[0].recv(99) == b"not yours"
    with pytest.raises(BlockingIOError):
        others[1].recv(99)
    for sock in others:
        sock.close()


@pytest.mark.skipif(sys.version_info < (3, 12), reason="no __buffer__ there")
@in_run
async def test_buffer_that_becomes_shorter_while_it_is_sent():
    class Exporter:
        exports = 0

        def __buffer__(self, flags):
            self.exports += 1
            return memoryview(b"x" * (10_000_000 if self.exports < 3 else 10))

    a, b = tsocket.socketpair()
    got = 0
    async with SocketStream(a), trio.open_nursery() as nursery:
        nursery.start_soon(SocketStream(a).send_all, Exporter())
        await trio.testing.wait_all_tasks_blocked()
        with b, trio.move_on_after(0.05):
            while data := await b.recv(1_000_000):
                assert set(data) == {ord("x")}
                got += len(data)
    assert 0 < got < 10_000_000
