"""SSLStream, SSLListener and the helpers that put them on TCP."""

import contextlib
import gc
import socket as stdlib_socket
import ssl
import weakref

import pytest
from _sockets import in_run
from _tls import (
    AUTHENTICATED,
    AUTHENTICATING,
    CLIENT,
    NAME,
    SERVER,
    client_context,
    handshake,
    memory_pair,
    tls_pair,
)

import trio_c as trio
from trio_c.testing import (
    assert_checkpoints,
    memory_stream_pair,
    wait_all_tasks_blocked,
)

versions = pytest.mark.parametrize(
    "version", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3], ids=str
)


def socket_pair(**kwargs):
    left, right = map(trio.SocketStream, trio.socket.socketpair())
    return tls_pair(left, right, **kwargs)


async def close(*streams):
    for stream in streams:
        await trio.aclose_forcefully(stream)


# --- what they look like


def test_shape():
    client, server = memory_pair()
    for cls in trio.SSLStream, trio.SSLListener:
        assert cls.__module__ == "trio_c"
        assert cls.__final__
        assert cls[int].__args__ == (int,)
        with pytest.raises(TypeError, match="does not support subclassing"):
            type("Sub", (cls,), {})
    assert isinstance(client, trio.abc.Stream)
    assert issubclass(trio.SSLListener, trio.abc.Listener)
    assert issubclass(trio.NeedHandshakeError, Exception)
    assert type(client._ssl_object) is ssl.SSLObject
    client.anything = 1
    assert weakref.ref(client)() is client
    with pytest.raises(TypeError, match=r"receive_some\(\) takes"):
        client.receive_some(1, 2)
    with pytest.raises(TypeError, match="missing 1 required"):
        client.send_all()


@in_run
async def test_attributes_of_the_ssl_object():
    client, server = memory_pair()
    assert {"cipher", "context", "transport_stream"} <= set(dir(client))
    assert client.server_side is False
    assert client.server_hostname == NAME
    assert client.context is CLIENT
    assert client.pending() == 0
    other = client_context()
    client.context = other
    assert client._ssl_object.context is other
    for name in "cipher", "version", "getpeercert", "session_reused":
        with pytest.raises(
            trio.NeedHandshakeError,
            match=rf"^call do_handshake\(\) before calling '{name}'$",
        ):
            getattr(client, name)
        assert not hasattr(client, "no_such_thing")
    with pytest.raises(AttributeError, match="^no_such_thing$"):
        client.no_such_thing  # noqa: B018
    await handshake(client, server)
    assert client.version() == "TLSv1.3"
    assert server.cipher() == client.cipher()
    assert client.getpeercert()["subjectAltName"] == (("DNS", NAME),)
    assert isinstance(client.session, ssl.SSLSession)


@in_run
async def test_a_stream_that_was_never_set_up():
    stream = trio.SSLStream.__new__(trio.SSLStream)
    stream._handshaken = True
    for operation in stream.receive_some, lambda: stream.send_all(b"x"):
        with pytest.raises(AttributeError):
            await operation()


# --- data


@versions
@pytest.mark.parametrize("pair", [socket_pair, memory_pair])
@pytest.mark.parametrize("size", [1, 16384, 16385, 300_000])
@in_run
async def test_echo(version, pair, size):
    client, server = pair(context=client_context(version))
    data = bytes(i % 251 for i in range(size))
    received = bytearray()

    async def echo():
        async for part in server:
            await server.send_all(part)
        await server.aclose()

    async def receive():
        while len(received) < size:
            received.extend(await client.receive_some())
        await client.aclose()

    async with trio.open_nursery() as nursery:
        nursery.start_soon(echo)
        nursery.start_soon(receive)
        await client.send_all(data)
    assert received == data


@pytest.mark.parametrize("kind", [bytes, bytearray, memoryview])
@in_run
async def test_what_can_be_sent(kind):
    client, server = memory_pair()
    await handshake(client, server)
    await client.send_all(kind(b"hello"))
    assert await server.receive_some() == b"hello"
    for empty in b"", memoryview(b""):
        with assert_checkpoints():
            await client.send_all(empty)
    with pytest.raises(TypeError):
        await client.send_all("text")
    await client.send_all(b"still works")
    assert await server.receive_some() == b"still works"


@in_run
async def test_records_that_are_there_come_together():
    client, server = socket_pair()
    await handshake(client, server)
    await client.send_all(b"begin")
    assert await server.receive_some() == b"begin"
    for i in range(10):
        await client.send_all(b"%d " % i)
    assert await server.receive_some() == b"0 1 2 3 4 5 6 7 8 9 "

    big = bytes(range(256)) * 256
    await client.send_all(big)
    assert await server.receive_some() == big

    # Not more than was asked for, and nothing gets lost in between.
    await client.send_all(big)
    await client.send_all(b"end")
    sizes = [1, 16383, 16384, 16385, 5000]
    parts = [await server.receive_some(size) for size in sizes]
    assert all(len(part) <= size for part, size in zip(parts, sizes, strict=True))
    parts.append(await server.receive_some())
    while len(b"".join(parts)) < len(big) + 3:
        parts.append(await server.receive_some())
    assert b"".join(parts) == big + b"end"
    await close(client, server)


@in_run
async def test_a_read_of_what_is_there_is_a_checkpoint():
    client, server = memory_pair()
    await handshake(client, server)
    await client.send_all(b"abc")
    assert await server.receive_some(1) == b"a"
    with assert_checkpoints():
        assert await server.receive_some(1) == b"b"
    with trio.CancelScope() as scope:
        scope.cancel()
        await server.receive_some(1)
    assert scope.cancelled_caught
    assert await server.receive_some(1) == b"c"


@pytest.mark.parametrize(
    ("wrong", "error"),
    [(0, ValueError), (-1, ValueError), ("1", TypeError), (1 << 31, OverflowError)],
)
@in_run
async def test_wrong_max_bytes(wrong, error):
    client, server = memory_pair()
    await handshake(client, server)
    with pytest.raises(error):
        await client.receive_some(wrong)
    await server.send_all(b"x")

    class Index:
        def __index__(self):
            return 5

    assert await client.receive_some(Index()) == b"x"


# --- errors and ends


def tampering_pair(tamper):
    """A client whose data goes through `tamper` on its way."""
    left, right = memory_stream_pair()
    client, server = tls_pair(left, right)
    deliver = left.send_stream.send_all

    async def send_all(data):
        await deliver(tamper(bytes(data)))

    left.send_stream.send_all = send_all
    return client, server


@in_run
async def test_an_error_after_good_records_comes_after_them():
    broken = False
    client, server = tampering_pair(
        lambda data: data[:-1] + bytes([data[-1] ^ 1]) if broken else data
    )
    await handshake(client, server)
    await client.send_all(b"good")
    await client.send_all(b"too")
    broken = True
    await client.send_all(b"bad")
    broken = False
    await client.send_all(b"never seen")
    hook = server.transport_stream.receive_stream
    held = b"".join([await hook.receive_some() for _ in range(1)])
    hook.put_data(held)
    assert await server.receive_some() == b"goodtoo"
    with pytest.raises(trio.BrokenResourceError) as info:
        await server.receive_some()
    assert isinstance(info.value.__cause__, ssl.SSLError)
    assert info.value.args == ()
    for operation in (
        server.receive_some,
        server.do_handshake,
        server.unwrap,
        server.wait_send_all_might_not_block,
        lambda: server.send_all(b"x"),
    ):
        with pytest.raises(trio.BrokenResourceError) as info:
            await operation()
        assert info.value.__cause__ is None
    await server.aclose()
    with pytest.raises(trio.ClosedResourceError):
        await server.receive_some()


@pytest.mark.parametrize("https_compatible", [False, True])
@in_run
async def test_goodbye_after_data(https_compatible):
    client, server = memory_pair(https_compatible=https_compatible)
    await handshake(client, server)
    await client.send_all(b"last words")
    await client.aclose()
    assert await server.receive_some() == b"last words"
    for _ in range(3):
        with assert_checkpoints():
            if https_compatible:
                # No good-bye was said, and the first to notice is told so.
                assert await server.receive_some() == b""
                break
            assert await server.receive_some() == b""
    await server.aclose()
    with pytest.raises(trio.ClosedResourceError):
        await server.send_all(b"x")
    with assert_checkpoints():
        await server.aclose()


@pytest.mark.parametrize("done", [False, True])
@pytest.mark.parametrize("pair", [socket_pair, memory_pair])
@in_run
async def test_the_end_without_goodbye(pair, done):
    for https_compatible in False, True:
        client, server = pair(https_compatible=https_compatible)
        if done:
            await handshake(client, server)
        await client.transport_stream.aclose()
        if https_compatible:
            with assert_checkpoints():
                assert await server.receive_some() == b""
        else:
            with pytest.raises(trio.BrokenResourceError) as info:
                await server.receive_some()
            assert isinstance(info.value.__cause__, ssl.SSLEOFError)
        with pytest.raises(trio.BrokenResourceError):
            await server.receive_some()
        await server.aclose()


@in_run
async def test_errors_of_the_transport():
    # A socket's, where the native path must translate them.
    client, server = socket_pair()
    await handshake(client, server)
    async with trio.open_nursery() as nursery:

        @nursery.start_soon
        async def receive():
            with pytest.raises(trio.ClosedResourceError):
                await client.receive_some()

        await wait_all_tasks_blocked()
        await client.transport_stream.aclose()
    for operation in client.receive_some, lambda: client.send_all(b"x"):
        with pytest.raises(trio.ClosedResourceError, match="already closed"):
            await operation()
    with pytest.raises(trio.BrokenResourceError):
        await client.send_all(b"x")
    await close(client, server)


@in_run
async def test_failed_handshake():
    left, right = memory_stream_pair()
    client = trio.SSLStream(left, CLIENT, server_hostname="wrong.example.org")
    server = trio.SSLStream(right, SERVER, server_side=True)

    async def fail(operation, *args):
        with pytest.raises(trio.BrokenResourceError):
            await operation(*args)

    async with trio.open_nursery() as nursery:
        nursery.start_soon(server.do_handshake)
        async with trio.open_nursery() as failing:
            # One does the handshake; the others wait for it, and hear of it.
            failing.start_soon(fail, client.send_all, b"x")
            failing.start_soon(fail, client.receive_some)
            failing.start_soon(fail, client.do_handshake)
        nursery.cancel_scope.cancel()
    with pytest.raises(trio.NeedHandshakeError):
        client.version()
    await close(client, server)


@in_run
async def test_cancelled_handshake_breaks_the_stream():
    client, server = memory_pair()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(client.do_handshake)
        await wait_all_tasks_blocked()
        nursery.start_soon(client.receive_some)
        await wait_all_tasks_blocked()
        nursery.cancel_scope.cancel()
    with pytest.raises(trio.BrokenResourceError):
        await client.do_handshake()
    # Closing says no good-bye then.
    await client.aclose()
    with pytest.raises(trio.BrokenResourceError):
        await server.do_handshake()
    await server.aclose()


# --- cancellation, conflicts, lifetime


@pytest.mark.parametrize("pair", [socket_pair, memory_pair])
@in_run
async def test_cancelling_a_receive_does_no_harm(pair):
    client, server = pair()
    await handshake(client, server)
    for i in range(3):
        async with trio.open_nursery() as nursery:
            nursery.start_soon(server.receive_some)
            await wait_all_tasks_blocked()
            nursery.cancel_scope.cancel()
        await client.send_all(b"%d" % i)
        assert await server.receive_some() == b"%d" % i
    await close(client, server)


@pytest.mark.parametrize("pair", [socket_pair, memory_pair])
@in_run
async def test_cancelling_a_send_breaks_the_stream(pair):
    client, server = pair()
    await handshake(client, server)
    with trio.CancelScope() as scope:
        scope.cancel()
        await client.send_all(b"before it has begun")
    await client.send_all(b"works")
    if pair is memory_pair:

        async def forever():
            await trio.sleep_forever()

        client.transport_stream.send_stream.send_all_hook = forever
    async with trio.open_nursery() as nursery:
        nursery.start_soon(client.send_all, bytes(10_000_000))
        await wait_all_tasks_blocked()
        nursery.cancel_scope.cancel()
    with pytest.raises(trio.BrokenResourceError):
        await client.send_all(b"x")
    with pytest.raises(trio.BrokenResourceError):
        await client.receive_some()
    await close(client, server)


@in_run
async def test_conflicts():
    client, server = socket_pair()
    await handshake(client, server)
    big = bytes(10_000_000)
    sending = pytest.RaisesExc(
        trio.BusyResourceError,
        match="^another task is currently sending data on this SSLStream$",
    )
    receiving = pytest.RaisesExc(
        trio.BusyResourceError,
        match="^another task is currently receiving data on this SSLStream$",
    )
    async with trio.open_nursery() as nursery:
        nursery.start_soon(client.send_all, big)
        await wait_all_tasks_blocked()
        for operation in (
            lambda: client.send_all(b"x"),
            client.wait_send_all_might_not_block,
            client.unwrap,
        ):
            with sending:
                await operation()
        nursery.start_soon(client.receive_some)
        await wait_all_tasks_blocked()
        for operation in client.receive_some, client.unwrap:
            with receiving:
                await operation()
        # Those who were refused have disturbed nobody.
        size = 0
        while size < len(big):
            size += len(await server.receive_some())
        await server.send_all(b"x")
    with assert_checkpoints():
        await client.wait_send_all_might_not_block()
    await close(client, server)


@in_run
async def test_operations_driven_by_hand_and_dropped():
    client, server = memory_pair()
    await handshake(client, server)
    receiving = client.receive_some()
    receiving.send(None)
    with pytest.raises(trio.BusyResourceError):
        await client.receive_some()
    assert receiving.cr_await is not None
    assert receiving.__qualname__ == "SSLStream.receive_some"
    receiving.close()
    receiving = client.receive_some()
    receiving.send(None)
    with pytest.raises(ZeroDivisionError):
        receiving.throw(ZeroDivisionError)
    del receiving
    receiving = client.receive_some()
    receiving.send(None)
    del receiving
    await server.send_all(b"x")
    assert await client.receive_some() == b"x"
    sending = client.send_all(b"x")
    sending.send(None)
    del sending
    # Nobody knows how much of it was sent.
    with pytest.raises(trio.BrokenResourceError):
        await client.send_all(b"x")


@in_run
async def test_authentication_after_the_handshake():
    """The request for it goes out with a read that is otherwise in vain."""
    left, right = memory_stream_pair()
    client = trio.SSLStream(left, AUTHENTICATED, server_hostname=NAME)
    server = trio.SSLStream(right, AUTHENTICATING, server_side=True)
    await handshake(client, server)
    await client.send_all(b"hello")
    assert await server.receive_some() == b"hello"
    assert server.getpeercert() is None
    server._ssl_object.verify_client_post_handshake()
    async with trio.open_nursery() as nursery:

        @nursery.start_soon
        async def receive():
            assert await server.receive_some() == b"again"

        with trio.CancelScope() as scope:

            @nursery.start_soon
            async def in_vain():
                await wait_all_tasks_blocked()
                scope.cancel()

            await client.receive_some()
        await client.send_all(b"again")
    assert server.getpeercert()["subjectAltName"] == (("DNS", NAME),)


@in_run
async def test_another_ssl_object():
    client, server = memory_pair()
    await handshake(client, server)
    await client.send_all(b"hello")
    assert await server.receive_some() == b"hello"

    class Recorder:
        def __init__(self, original):
            self.original = original
            self.calls = []

        def __getattr__(self, name):
            self.calls.append(name)
            return getattr(self.original, name)

    original = client._ssl_object
    client._ssl_object = recorder = Recorder(original)
    assert client._ssl_object is recorder
    await client.send_all(b"recorded")
    assert client.version() == "TLSv1.3"
    assert recorder.calls == ["write", "version"]
    assert await server.receive_some() == b"recorded"
    client._ssl_object = original
    await client.send_all(b"not")
    assert len(recorder.calls) == 2


@pytest.mark.parametrize("pair", [socket_pair, memory_pair])
@pytest.mark.parametrize("records", [[b"1" * 100], [b"1" * 100, b"2" * 100]])
@in_run
async def test_receiving_out_of_memory(pair, records):
    """One allocation fails, at every point in turn. If that is while records go
    from the transport to the SSL object the stream must know that it has a gap.
    """
    testcapi = pytest.importorskip("_testcapi", reason="needs CPython's own tests")
    failures = 0
    for n in range(50):
        client, server = pair()
        await handshake(client, server)
        for record in records:
            await server.send_all(record)
        receiving = client.receive_some()
        testcapi.set_nomemory(n, n + 1)
        try:
            await receiving
        except MemoryError:
            testcapi.remove_mem_hooks()
            failures += 1
            if client._drained and client._state == 0:
                # It had succeeded, and the interpreter could not hand it over.
                continue
            with contextlib.suppress(trio.BrokenResourceError), trio.fail_after(5):
                assert (await client.receive_some()).startswith(records[0])
        finally:
            testcapi.remove_mem_hooks()
            # Nobody is taken to use it any more.
            client._claim()
            await close(client, server)
    assert failures


@in_run
async def test_dropped_with_what_refers_to_it():
    client, server = memory_pair()
    await handshake(client, server)

    class Function:
        def __call__(self):
            raise ssl.SSLWantReadError

    function = Function()
    function.operation = operation = client._retry(function)
    operation.send(None)
    del function
    # The collector looks at the operation first from now on...
    gc.collect()
    del operation
    # ...and now it is garbage; but the stream goes on.
    gc.collect()
    await server.send_all(b"x")
    assert await client.receive_some() == b"x"


@in_run
async def test_nothing_is_left_for_the_garbage_collector():
    client, server = socket_pair()
    await handshake(client, server)
    await client.send_all(b"x")
    assert await server.receive_some() == b"x"
    refs = [weakref.ref(client), weakref.ref(server)]
    await close(client, server)
    gc.collect()
    gc.disable()
    try:
        del client, server
        assert [ref() for ref in refs] == [None, None]
    finally:
        gc.enable()


@in_run
async def test_a_transport_that_is_another_ssl_stream():
    outer = socket_pair()
    client, server = tls_pair(*outer)
    await handshake(client, server)
    data = bytes(50_000)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(client.send_all, data)
        size = 0
        while size < len(data):
            size += len(await server.receive_some())
    async with trio.open_nursery() as nursery:
        nursery.start_soon(client.unwrap)
        assert await server.unwrap() == (outer[1], b"")
    await outer[0].send_all(b"one layer less")
    assert await outer[1].receive_some() == b"one layer less"
    await close(*outer)


@in_run
async def test_a_socket_stream_with_a_replaced_method():
    client, server = socket_pair()
    await handshake(client, server)
    transport = server.transport_stream
    original, seen = transport.receive_some, []

    async def receive_some():
        seen.append(await original())
        return seen[-1]

    transport.receive_some = receive_some
    await client.send_all(b"hello")
    assert await server.receive_some() == b"hello"
    assert len(seen) == 1
    await close(client, server)


@pytest.mark.parametrize("wrong", [5, [b"x"], "text"])
@in_run
async def test_a_transport_that_returns_nonsense(wrong):
    client, server = memory_pair()
    await handshake(client, server)

    class Transport(trio.abc.Stream):
        async def receive_some(self, max_bytes=None):
            await trio.lowlevel.checkpoint()
            return wrong

        async def send_all(self, data):
            raise ValueError("no")

        async def wait_send_all_might_not_block(self):
            raise ValueError("neither")

        async def aclose(self):
            pass

    working, client.transport_stream = client.transport_stream, Transport()
    with pytest.raises(ValueError, match="neither"):
        await client.wait_send_all_might_not_block()
    with pytest.raises(TypeError):
        await client.receive_some()
    with pytest.raises(ValueError, match="no"):
        await client.send_all(b"x")
    with pytest.raises(trio.BrokenResourceError):
        await client.send_all(b"x")
    client.transport_stream = working
    await close(client, server)


@pytest.mark.parametrize("wrong", [None, 5])
@in_run
async def test_a_transport_that_is_none(wrong):
    client, server = memory_pair()
    await handshake(client, server)
    client.transport_stream = wrong
    for operation in (
        client.receive_some,
        client.wait_send_all_might_not_block,
        lambda: client.send_all(b"x"),
    ):
        with pytest.raises(AttributeError):
            await operation()
    del client.transport_stream
    with pytest.raises(trio.BrokenResourceError):
        await client.receive_some()
    client.transport_stream = server.transport_stream
    await close(client, server)


# --- listeners and helpers


async def echo(stream):
    with contextlib.suppress(trio.BrokenResourceError):
        async for data in stream:
            await stream.send_all(data)
        await stream.aclose()


@in_run
async def test_serve_and_open():
    async with trio.open_nursery() as nursery:
        listeners = await nursery.start(
            lambda task_status: trio.serve_ssl_over_tcp(
                echo, 0, SERVER, host="127.0.0.1", task_status=task_status
            )
        )
        assert [type(listener) for listener in listeners] == [trio.SSLListener]
        port = listeners[0].transport_listener.socket.getsockname()[1]
        for host in "127.0.0.1", b"127.0.0.1":
            stream = await trio.open_ssl_over_tcp_stream(
                host, port, ssl_context=CLIENT, https_compatible=True
            )
            # The certificate is for another name.
            with pytest.raises(trio.BrokenResourceError) as info:
                await stream.do_handshake()
            assert isinstance(info.value.__cause__, ssl.SSLCertVerificationError)
            await stream.aclose()
        # That has ended handlers too.
        nursery.cancel_scope.cancel()


class LocalResolver(trio.abc.HostnameResolver):
    async def getaddrinfo(self, host, port, family=0, type=0, proto=0, flags=0):
        tcp = (stdlib_socket.AF_INET, stdlib_socket.SOCK_STREAM, 6, "")
        return [(*tcp, ("127.0.0.1", port))]

    async def getnameinfo(self, sockaddr, flags):
        raise AssertionError


@in_run
async def test_open_by_name():
    trio.socket.set_custom_hostname_resolver(LocalResolver())
    async with trio.open_nursery() as nursery:
        listeners = await nursery.start(
            lambda task_status: trio.serve_ssl_over_tcp(
                echo, 0, SERVER, host="127.0.0.1", task_status=task_status
            )
        )
        port = listeners[0].transport_listener.socket.getsockname()[1]
        stream = await trio.open_ssl_over_tcp_stream(NAME, port, ssl_context=CLIENT)
        await stream.send_all(b"hello")
        assert await stream.receive_some() == b"hello"
        await stream.aclose()

        # The default context trusts nobody we know, but may end abruptly.
        stream = await trio.open_ssl_over_tcp_stream(NAME, port)
        assert not stream.context.options & getattr(ssl, "OP_IGNORE_UNEXPECTED_EOF", 0)
        await trio.aclose_forcefully(stream)

        # A context for servers: no stream, and the connection is closed again.
        sockets = []
        original = trio.SocketStream.aclose

        async def aclose(self):
            sockets.append(self.socket)
            await original(self)

        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(trio.SocketStream, "aclose", aclose)
            with pytest.raises(ssl.SSLError):
                await trio.open_ssl_over_tcp_stream(NAME, port, ssl_context=SERVER)
            await wait_all_tasks_blocked()
        # The server's handler has closed its end too.
        assert len(sockets) >= 2
        assert {sock.fileno() for sock in sockets} == {-1}
        nursery.cancel_scope.cancel()


@in_run
async def test_listener():
    listeners = await trio.open_ssl_over_tcp_listeners(
        0, SERVER, host="127.0.0.1", https_compatible=True, backlog=5
    )
    async with listeners[0] as listener:
        address = listener.transport_listener.socket.getsockname()
        client = await trio.open_tcp_stream(*address)
        # The handshake is left to whoever gets the stream.
        server = await listener.accept()
        assert server.server_side
        assert server._https_compatible
        await close(client, server)
    with pytest.raises(trio.ClosedResourceError):
        await listener.accept()


@in_run
async def test_listener_with_a_context_for_clients():
    listeners = await trio.open_tcp_listeners(0, host="127.0.0.1")
    async with trio.SSLListener(listeners[0], CLIENT) as listener:
        client = await trio.open_tcp_stream(*listeners[0].socket.getsockname())
        # The second is about the name that a client would check, since 3.14.
        with pytest.raises((ssl.SSLError, ValueError)):
            await listener.accept()
        # It did not keep the connection.
        assert await client.receive_some() == b""
        await client.aclose()
