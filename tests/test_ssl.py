"""SSLStream, SSLListener and the helpers that put them on TCP."""

import ssl
import weakref

import pytest
from _sockets import in_run
from _tls import (
    CLIENT,
    NAME,
    SERVER,
    client_context,
    close,
    handshake,
    memory_pair,
    socket_pair,
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
