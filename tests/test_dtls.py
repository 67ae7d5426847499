"""DTLS: endpoints and channels, as programs use them."""

import contextlib
import errno
import gc
import socket as stdlib_socket
import weakref

import pytest
from _dtls_peers import (
    SSL,
    Wire,
    client_context,
    connect,
    connected,
    echo,
    endpoint,
    kinds,
    server_context,
    serving,
    silence,
)
from _processes import run_code

import trio_c
from trio_c.lowlevel import current_statistics
from trio_c.socket import AF_INET, AF_INET6, SOCK_DGRAM
from trio_c.testing import MockClock, trio_test, wait_all_tasks_blocked


@pytest.fixture
def clock():
    return MockClock(autojump_threshold=0)


# --- data


@pytest.mark.parametrize("family", [AF_INET, AF_INET6])
@trio_test
async def test_data_both_ways(clock, family):
    Wire()
    async with serving(family=family) as server:
        with endpoint(family) as client:
            channel = connect(client, server)
            assert isinstance(channel, trio_c.DTLSChannel)
            assert isinstance(channel, trio_c.abc.Channel)
            assert channel.endpoint is client
            assert channel.peer_address == server.socket.getsockname()
            # Both see to the handshake themselves, and only one does it.
            async with trio_c.open_nursery() as nursery:
                nursery.start_soon(channel.send, b"one")
                assert await channel.receive() == b"one"
            for data in (bytearray(b"two"), memoryview(b"three"), b"x" * 16384):
                await channel.send(data)
                assert await channel.receive() == data
            async with channel:
                pass
            with pytest.raises(trio_c.ClosedResourceError):
                await channel.receive()


def test_no_public_constructor():
    with pytest.raises(TypeError, match=r"DTLSChannel has no public constructor$"):
        trio_c.DTLSChannel(None, None, None)
    for cls in (trio_c.DTLSChannel, trio_c.DTLSEndpoint):
        with pytest.raises(TypeError, match="does not support subclassing"):
            type("Sub", (cls,), {})


@trio_test
async def test_one_datagram_for_each_send(clock):
    wire = Wire()
    async with connected() as (_, client, channel):
        before = len(wire.packets(client))
        data = {b"%d" % i for i in range(8)}
        async with trio_c.open_nursery() as nursery:
            for packet in data:
                nursery.start_soon(channel.send, packet)
        assert [kinds(p) for p in wire.packets(client)[before:]] == [["encrypted"]] * 8
        assert {await channel.receive() for _ in data} == data


@trio_test
async def test_cancelled_send_sends_nothing_later(clock):
    Wire()
    async with connected() as (_, _, channel):
        with trio_c.CancelScope() as scope:
            scope.cancel()
            await channel.send(b"never")
        assert scope.cancelled_caught
        await channel.send(b"x")
        assert await channel.receive() == b"x"


@trio_test
async def test_cancelled_handshake_goes_on(clock):
    wire = Wire(lose=silence)
    async with serving() as server:
        with endpoint() as client:
            channel = connect(client, server)
            with trio_c.move_on_after(0.1) as scope:
                await channel.do_handshake()
            assert scope.cancelled_caught
            wire.lose = lambda packet: False
            # Nobody has to wait for a timeout either.
            started = trio_c.current_time()
            await channel.send(b"x")
            assert await channel.receive() == b"x"
            assert trio_c.current_time() == started


@trio_test
async def test_handshake_goes_on_in_another_task(clock):
    wire = Wire(lose=silence)
    async with serving() as server:
        with endpoint() as client:
            channel = connect(client, server)
            async with trio_c.open_nursery() as nursery:
                scope = trio_c.CancelScope()

                async def first():
                    with scope:
                        await channel.do_handshake()

                nursery.start_soon(first)
                await wait_all_tasks_blocked()
                nursery.start_soon(channel.do_handshake)
                await wait_all_tasks_blocked()
                wire.lose = lambda packet: False
                scope.cancel()
            assert channel.get_cleartext_mtu() > 1000


# --- sizes


@trio_test
async def test_mtu_without_room_for_a_handshake(clock):
    Wire()
    async with serving() as server:
        with endpoint() as client:
            channel = connect(client, server)
            for mtu in (0, -1, 25):
                with contextlib.suppress(OverflowError):
                    channel.set_ciphertext_mtu(mtu)
                    with pytest.raises(ValueError, match="too small for a DTLS"):
                        await channel.do_handshake()
            with pytest.raises(TypeError):
                channel.set_ciphertext_mtu("large")
            channel.set_ciphertext_mtu(1000)
            with pytest.raises(TypeError):
                channel.set_ciphertext_mtu(None)
            await channel.send(b"x")
            assert await channel.receive() == b"x"
            assert 800 < channel.get_cleartext_mtu() < 1000


@trio_test
async def test_mtu_that_shrinks_after_the_handshake(clock):
    wire = Wire()

    async def handler(channel):
        await channel.do_handshake()
        channel.set_ciphertext_mtu(20)
        await echo(channel)

    async with connected(handler) as (server, client, channel):
        await channel.send(b"x")
        assert await channel.receive() == b"x"
        # What the client has sent last in the handshake, as if the answer had
        # been lost. The server has one, which does not fit any more.
        last = [p for p in wire.packets(client) if kinds(p)[-1] == "encrypted"][0]
        answers = len(wire.packets(server))
        wire.forge(client, server, last)
        await wait_all_tasks_blocked()
        assert len(wire.packets(server)) == answers
        await channel.send(b"y")
        assert await channel.receive() == b"y"


@trio_test
async def test_too_much_for_a_packet(clock):
    wire = Wire()
    async with connected() as (_, client, channel):
        sent = len(wire.packets(client))
        for _ in range(2):
            with pytest.raises(SSL.Error, match="dtls message too big"):
                await channel.send(b"x" * 16385)
            with pytest.raises(TypeError):
                await channel.send(5)
            with pytest.raises(ValueError, match="empty DTLS packets"):
                await channel.send(b"")
            assert len(wire.packets(client)) == sent
            # What OpenSSL says depends on whether it has read something.
            await channel.send(b"x")
            assert await channel.receive() == b"x"
            sent += 1


# --- closing, and being replaced


@trio_test
async def test_closed_channels_send_nothing(clock):
    wire = Wire()
    async with serving() as server:
        with endpoint() as client:
            for close in ("close", "aclose", "endpoint"):
                channel = connect(client, server)
                if close == "endpoint":
                    client.close()
                elif close == "close":
                    channel.close()
                else:
                    await channel.aclose()
                for method in (channel.do_handshake, channel.receive):
                    with pytest.raises(trio_c.ClosedResourceError):
                        await method()
                with pytest.raises(trio_c.ClosedResourceError):
                    await channel.send(b"x")
                with channel:
                    pass
            assert not wire.sent
            assert not client._channels


@pytest.mark.parametrize("what", ["channel", "endpoint"])
@pytest.mark.parametrize("when", ["handshake", "receive", "send"])
@trio_test
async def test_closing_wakes_others(clock, what, when):
    wire = Wire()
    async with serving() as server:
        with endpoint() as client:
            channel = connect(client, server)
            if when == "handshake":
                wire.lose = silence
                method = channel.do_handshake
            else:
                await channel.do_handshake()
                method = channel.receive

            async def others():
                with pytest.raises(trio_c.ClosedResourceError):
                    if when == "send":
                        await channel.send(b"x")
                    else:
                        await method()

            async with trio_c.open_nursery() as nursery:
                if when == "send":
                    # Has its turn once the lock is free.
                    await client._send_lock.acquire()
                nursery.start_soon(others)
                nursery.start_soon(others)
                await wait_all_tasks_blocked()
                (channel if what == "channel" else client).close()
                if when == "send":
                    client._send_lock.release()
            assert channel.peer_address not in client._channels


@trio_test
async def test_peer_that_starts_anew(clock):
    Wire()
    events = []

    async def handler(channel):
        number = len(events)
        events.append(None)
        try:
            await echo(channel)
        except trio_c.BrokenResourceError as exc:
            events[number] = str(exc)
            with pytest.raises(trio_c.BrokenResourceError):
                await channel.send(b"x")

    async with serving(handler) as server:
        address = None
        for data in (b"before", b"after"):
            with endpoint() as client:
                await client.socket.bind(address or ("127.0.0.1", 0))
                address = client.socket.getsockname()
                channel = connect(client, server)
                await channel.send(data)
                assert await channel.receive() == data
        assert events == ["peer tore down this connection to start a new one", None]


@trio_test
async def test_what_had_come_before_can_be_received(clock):
    Wire()
    async with connected() as (server, client, channel):
        await channel.send(b"x")
        await wait_all_tasks_blocked()
        other = connect(client, server)
        assert await channel.receive() == b"x"
        for _ in range(2):
            with pytest.raises(trio_c.BrokenResourceError):
                await channel.receive()
        channel.close()
        assert client._channels[channel.peer_address] is other
        with pytest.raises(trio_c.ClosedResourceError):
            await channel.receive()


@trio_test
async def test_goodbye_of_other_libraries(clock):
    Wire()

    async def handler(channel):
        await channel.do_handshake()
        channel._ssl.shutdown()
        await channel.endpoint.socket.sendto(
            channel._ssl.bio_read(1000), channel.peer_address
        )

    async with connected(handler) as (_, _, channel):
        with pytest.raises(SSL.ZeroReturnError):
            await channel.receive()
        channel.close()


@trio_test
async def test_statistics(clock):
    attrs = pytest.importorskip("attrs")  # a dependency of outcome
    Wire()
    async with serving() as server:
        with endpoint(incoming_packets_buffer=3) as client:
            assert client.incoming_packets_buffer == 3
            channel = connect(client, server)
            await channel.do_handshake()
            for i in range(5):
                await channel.send(b"%d" % i)
                await wait_all_tasks_blocked()
            statistics = channel.statistics()
            assert statistics.incoming_packets_dropped_in_trio == 2
            assert repr(statistics) == (
                "DTLSChannelStatistics(incoming_packets_dropped_in_trio=2)"
            )
            assert attrs.asdict(statistics) == {"incoming_packets_dropped_in_trio": 2}
            with pytest.raises(attrs.exceptions.FrozenInstanceError):
                statistics.incoming_packets_dropped_in_trio = 0
            assert [await channel.receive() for _ in range(3)] == [b"0", b"1", b"2"]


# --- endpoints


@trio_test
async def test_bad_arguments_leave_nothing_behind():
    with trio_c.socket.socket(type=SOCK_DGRAM) as sock:
        with pytest.raises(TypeError, match="max_buffer_size"):
            trio_c.DTLSEndpoint(sock, incoming_packets_buffer="many")
        with pytest.raises(ValueError, match="max_buffer_size"):
            trio_c.DTLSEndpoint(sock, incoming_packets_buffer=-1)
        # No ResourceWarning, which would be an error here.
        gc.collect()
        with trio_c.DTLSEndpoint(sock) as good:
            with pytest.raises(AttributeError):
                good.connect(("127.0.0.1", 9), None)
            with pytest.raises(TypeError, match="unhashable"):
                good.connect(["127.0.0.1", 9], client_context())
            with pytest.raises(AttributeError):
                await good.serve(None, echo)
            with pytest.raises(trio_c.NeedHandshakeError):
                good.connect(("127.0.0.1", 9), client_context()).get_cleartext_mtu()


def test_outside_of_a_run():
    async def make():
        return trio_c.socket.from_stdlib_socket(raw)

    with stdlib_socket.socket(type=SOCK_DGRAM) as raw:
        sock = trio_c.run(make)
        with pytest.raises(RuntimeError, match="must be called from async context"):
            trio_c.DTLSEndpoint(sock)
        gc.collect()


def test_openssl_is_imported_on_first_need():
    assert (
        run_code(
            """
import sys
import trio_c
trio_c.DTLSEndpoint, trio_c.DTLSChannel, trio_c.DTLSChannelStatistics(1)
assert not {"OpenSSL", "attr", "dataclasses"} & sys.modules.keys()
sys.modules["OpenSSL"] = None  # as if it were not installed

async def main():
    with trio_c.socket.socket(type=trio_c.socket.SOCK_DGRAM) as sock:
        try:
            trio_c.DTLSEndpoint(sock)
        except ImportError as exc:
            print(exc.name)

trio_c.run(main)
"""
        )
        == "OpenSSL\n"
    )


@trio_test
async def test_serve_one_at_a_time(clock):
    Wire()
    async with serving() as server:
        with pytest.raises(
            trio_c.BusyResourceError, match="^another task is already listening$"
        ):
            await server.serve(server_context(), echo)
        server.close()
        with pytest.raises(trio_c.ClosedResourceError):
            await server.serve(server_context(), echo)
        with pytest.raises(trio_c.ClosedResourceError):
            server.connect(("127.0.0.1", 9), client_context())

    with endpoint() as nameless:
        nameless.socket.getsockname = _raise_oserror
        with pytest.raises(RuntimeError, match="must be bound before it can serve"):
            await nameless.serve(server_context(), echo)


def _raise_oserror():
    raise OSError(errno.EINVAL, "no name")


@trio_test
async def test_serve_hands_over_arguments_and_errors(clock):
    Wire()
    channels = []

    async def handler(channel, *args):
        channels.append(channel)
        await channel.do_handshake()
        raise KeyError(*args)

    with endpoint() as server, endpoint() as client:
        await server.socket.bind(("127.0.0.1", 0))

        async def serve(*, task_status):
            with pytest.RaisesGroup(pytest.RaisesExc(KeyError, match="17")):
                await server.serve(
                    server_context(), handler, 17, task_status=task_status
                )

        async with trio_c.open_nursery() as nursery:
            await nursery.start(serve)
            await connect(client, server).do_handshake()
        with pytest.raises(trio_c.ClosedResourceError):
            await channels[0].receive()
        # Others may serve now; before that, nobody is let in.
        wire = Wire()
        with trio_c.move_on_after(1.5):
            await connect(client, server).do_handshake()
        assert not wire.packets(server)
        async with trio_c.open_nursery() as nursery:
            await nursery.start(server.serve, server_context(), echo)
            channel = connect(client, server)
            await channel.send(b"x")
            assert await channel.receive() == b"x"
            nursery.cancel_scope.cancel()


@trio_test
async def test_serve_ends_when_closed_and_handlers_are_done(clock):
    Wire()
    ended = []

    async def handler(channel):
        with pytest.raises(trio_c.ClosedResourceError):
            await echo(channel)
        await trio_c.sleep(5)
        ended.append(trio_c.current_time())

    with endpoint() as server, endpoint() as client:
        await server.socket.bind(("127.0.0.1", 0))
        async with trio_c.open_nursery() as nursery:
            await nursery.start(server.serve, server_context(), handler)
            await connect(client, server).do_handshake()
            server.close()
            server.close()
        assert ended == [trio_c.current_time()] == [5]


@trio_test
async def test_a_context_can_be_used_again(clock):
    """Though pyOpenSSL does not let anybody change one that has been used."""
    Wire()
    context = server_context()
    async with serving(context=context) as one, serving(context=context) as two:
        # As a client, too.
        with endpoint() as client:
            for server in (one, two):
                channel = client.connect(server.socket.getsockname(), context)
                await channel.send(b"x")
                assert await channel.receive() == b"x"


@trio_test
async def test_client_and_server_on_one_socket(clock):
    Wire()
    async with serving() as left, serving() as right, serving() as third:
        for a, b in ((left, right), (third, left), (right, third)):
            channel = connect(a, b)
            await channel.send(b"x")
            assert await channel.receive() == b"x"


# --- forgotten ones


@pytest.mark.filterwarnings("always:unclosed DTLS endpoint:ResourceWarning")
@trio_test
async def test_forgotten_endpoint_is_closed():
    tasks = current_statistics().tasks_living
    async with serving() as server:
        serving_tasks = current_statistics().tasks_living
        client = endpoint()
        sock = client.socket
        channel = connect(client, server)
        await channel.send(b"x")
        assert await channel.receive() == b"x"
        assert current_statistics().tasks_living > serving_tasks
        gone = weakref.ref(client), weakref.ref(channel)
        with pytest.warns(ResourceWarning, match="unclosed DTLS endpoint"):
            # The channel has kept it, and is not kept by it.
            del client
            gc.collect()
            assert gone[0]() is not None
            del channel
            gc.collect()
        # Not at once: it may be in any thread that this happens.
        await wait_all_tasks_blocked()
        assert sock.fileno() == -1
        gc.collect()
        assert [ref() for ref in gone] == [None, None]
    await wait_all_tasks_blocked()
    assert current_statistics().tasks_living == tasks


@trio_test
async def test_forgotten_channels_do_not_pile_up(clock):
    Wire()
    async with serving() as server:
        with endpoint() as client:
            for i in range(5):
                channel = client.connect(("127.0.0.1", 1000 + i), client_context())
                assert len(client._channels) == 1
                del channel
            gc.collect()
            assert not client._channels
        for _ in range(3):
            with endpoint() as client:
                channel = connect(client, server)
                await channel.do_handshake()
        # The server cannot know that they have gone.
        assert len(server._channels) == 3
