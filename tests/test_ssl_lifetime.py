"""SSLStream: cancellation, conflicts, misuse, and what is left in memory."""

import contextlib
import gc
import ssl
import weakref

import pytest
from _sockets import in_run
from _tls import (
    AUTHENTICATED,
    AUTHENTICATING,
    NAME,
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
