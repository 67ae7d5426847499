"""DTLS: packets that get lost, and packets that nobody should have sent."""

import contextlib
import errno
import random
import socket as stdlib_socket
import subprocess
import sys

import pytest
from _dtls_peers import (
    SSL,
    Wire,
    a_client_hello,
    client_context,
    connect,
    connected,
    echo,
    endpoint,
    kinds,
    lossy_endpoint,
    serving,
    silence,
)
from _processes import ELSEWHERE

import trio_c
from trio_c.socket import SOCK_DGRAM
from trio_c.testing import MockClock, trio_test, wait_all_tasks_blocked
from trio_c.testing._fake_net import UDPPacket


@pytest.fixture
def clock():
    return MockClock(autojump_threshold=0)


# --- packets of others


@trio_test
async def test_client_must_prove_its_address(clock):
    wire = Wire()
    async with serving() as server:
        with endpoint() as stranger, endpoint() as victim:
            await stranger.socket.bind(("127.0.0.1", 0))
            await victim.socket.bind(("127.0.0.1", 0))
            hello = a_client_hello()
            for _ in range(3):
                wire.forge(victim, server, hello)
            await wait_all_tasks_blocked()
            answers = wire.packets(server)
            assert [kinds(answer) for answer in answers] == [[3]] * 3
            # Nobody can have us send more than they do themselves, and nothing
            # is remembered of them.
            assert all(len(answer) <= len(hello) for answer in answers)
            assert not server._channels
            # A cookie is good for the one who got it.
            cookie = answers[0][-32:]
            wire.forge(stranger, server, a_client_hello(cookie, 6))
            await wait_all_tasks_blocked()
            assert kinds(wire.packets(server)[3]) == [3]
            assert not server._channels


@trio_test
async def test_client_hello_that_openssl_refuses(clock):
    wire = Wire()
    async with connected() as (server, _, channel):
        with endpoint() as stranger:
            await stranger.socket.bind(("127.0.0.1", 0))
            # The cookie is good, but the number of the message is not; the
            # cookie does not depend on that.
            cookie = b""
            for _ in range(2):
                hello = a_client_hello(cookie, msg_seq=7)
                wire.forge(stranger, server, hello)
                await wait_all_tasks_blocked()
                cookie = wire.packets(server)[-1][-32:]
            assert len(server._channels) == 1
        # OpenSSL would tell the next one to ask what had been wrong.
        await channel.send(b"x")
        assert await channel.receive() == b"x"


@trio_test
async def test_no_packet_disturbs_others(clock):
    """Changed copies of everything that two have said to each other, sent to
    both, from both of them and from a stranger."""
    wire = Wire()
    rng = random.Random(0)

    async def handler(channel):
        with contextlib.suppress(trio_c.BrokenResourceError, SSL.Error):
            await echo(channel)

    async with connected(handler) as (server, client, channel):
        await channel.send(b"x")
        assert await channel.receive() == b"x"
        with endpoint() as witness, endpoint() as stranger:
            await stranger.socket.bind(("127.0.0.1", 0))
            observing = connect(witness, server)
            await observing.do_handshake()
            originals = wire.packets(client) + wire.packets(server)
            for _ in range(2000):
                packet = bytearray(rng.choice(originals))
                for _ in range(rng.randrange(3)):
                    packet[rng.randrange(len(packet))] = rng.choice((0, 1, 254, 255))
                if rng.random() < 0.1:
                    del packet[rng.randrange(len(packet)) :]
                source = rng.choice((client, server, stranger))
                wire.forge(source, rng.choice((client, server)), bytes(packet))
                if rng.random() < 0.2:
                    await wait_all_tasks_blocked()
            await observing.send(b"unharmed")
            assert await observing.receive() == b"unharmed"
            # Nor those whose packets have been changed.
            await channel.send(b"well")
            assert await channel.receive() == b"well"


@trio_test
async def test_copied_client_hello_is_one_connection(clock):
    wire = Wire()
    handled = []

    async def handler(channel):
        handled.append(channel.peer_address)
        await echo(channel)

    async with serving(handler) as server:
        with endpoint() as client:
            channel = connect(client, server)
            await channel.send(b"x")
            assert await channel.receive() == b"x"
            hellos = [p for p in wire.packets(client) if kinds(p) == [1]]
            assert len(hellos) == 2
            for _ in range(3):
                wire.forge(client, server, hellos[1])
            await channel.send(b"y")
            assert await channel.receive() == b"y"
            assert len(handled) == 1


@trio_test
async def test_copied_data_comes_once(clock):
    wire = Wire()
    async with connected() as (server, client, channel):
        await channel.send(b"once")
        for _ in range(3):
            wire.forge(client, server, wire.packets(client)[-1])
        await channel.send(b"last")
        assert await channel.receive() == b"once"
        assert await channel.receive() == b"last"


@trio_test
async def test_changed_and_foreign_data_does_not_come(clock):
    wire = Wire()
    async with connected() as (server, client, channel):
        with endpoint() as stranger:
            await stranger.socket.bind(("127.0.0.1", 0))
            await channel.send(b"first")
            packet = wire.packets(client)[-1]
            for i in range(len(packet)):
                changed = packet[:i] + bytes([packet[i] ^ 1]) + packet[i + 1 :]
                # One at a time, or there would be no room for them.
                wire.forge(client, server, changed)
                wire.forge(stranger, server, packet)
                await wait_all_tasks_blocked()
            await channel.send(b"second")
            assert await channel.receive() == b"first"
            assert await channel.receive() == b"second"


@trio_test
async def test_empty_datagrams_are_ignored(clock):
    wire = Wire()

    def route(packet):
        wire.net.deliver_packet(UDPPacket(packet.source, packet.destination, b""))
        wire.net.deliver_packet(packet)

    wire.net.route_packet = route
    async with connected() as (_, client, channel):
        await channel.send(b"x")
        assert await channel.receive() == b"x"
        assert client._channels[channel.peer_address].statistics() == (
            trio_c.DTLSChannelStatistics(0)
        )


# --- sending again


@trio_test
async def test_pauses_double_until_a_minute(clock):
    wire = Wire(lose=silence)
    with endpoint() as client:
        channel = client.connect(("127.0.0.1", 9), client_context())
        with trio_c.move_on_after(400):
            await channel.do_handshake()
        times = [0, 1, 3, 7, 15, 31, 63, 123, 183, 243, 303, 363]
        assert wire.times(client) == times
        # The same message, but each time in a record of its own.
        packets = wire.packets(client)
        assert len({p[13:] for p in packets}) == 1
        assert [int.from_bytes(p[3:11], "big") for p in packets] == list(
            range(len(times))
        )

    wire = Wire(lose=silence)
    with endpoint() as client:
        channel = client.connect(("127.0.0.1", 9), client_context())
        start = trio_c.current_time()
        with trio_c.move_on_after(100):
            await channel.do_handshake(initial_retransmit_timeout=25)
        assert [t - start for t in wire.times(client)] == [0, 25, 75]


@trio_test
async def test_pauses_stay_long_until_nothing_is_lost(clock):
    lost = {0, 1, 3}  # of the client's packets
    wire = Wire()
    wire.lose = lambda packet: (
        packet.destination.port == port and len(wire.packets(client)) - 1 in lost
    )
    async with serving() as server:
        port = server.socket.getsockname()[1]
        with endpoint() as client:
            channel = connect(client, server)
            start = trio_c.current_time()
            await channel.do_handshake()
            # Two pauses, of 1 and 2 seconds; then the next message is lost, and
            # the pause is 4 seconds already.
            times = [t - start for t in wire.times(client)]
            assert times == [0, 1, 3, 3, 7, 7]


@trio_test
async def test_smaller_datagrams_after_two_losses(clock):
    wire = Wire()

    async def patient(channel):
        await channel.do_handshake(initial_retransmit_timeout=1)

    async with serving(patient) as server:
        with endpoint() as client:
            await client.socket.bind(("127.0.0.1", 0))
            port = client.socket.getsockname()[1]
            wire.lose = lambda packet: (
                packet.destination.port == port and kinds(packet.payload) != [3]
            )
            channel = connect(client, server)
            with trio_c.move_on_after(5):
                await channel.do_handshake(initial_retransmit_timeout=99)
            sizes = {}
            for time, packet in wire.sent:
                if packet.destination.port == port and kinds(packet.payload) != [3]:
                    sizes.setdefault(time, []).append(len(packet.payload))
            assert sorted(sizes) == [0, 1, 3]
            assert sizes[0] == sizes[1]
            assert max(sizes[0]) > 548
            assert max(sizes[3]) == 548
            # By then the client needs no new beginning.
            wire.lose = lambda packet: False
            await channel.do_handshake()


@trio_test
async def test_lost_end_of_the_handshake_is_sent_again(clock):
    lost = []
    wire = Wire()

    def lose(packet):
        # The server's last messages; the client's are preceded by others.
        if kinds(packet.payload)[-2:] == ["change_cipher_spec", "encrypted"]:
            if packet.source.port == server.socket.getsockname()[1]:
                lost.append(packet)
                return len(lost) <= 2
        return False

    wire.lose = lose
    handled = []

    async def handler(channel):
        await channel.do_handshake()
        handled.append(trio_c.current_time())
        await echo(channel)

    async with serving(handler) as server:
        with endpoint() as client:
            channel = connect(client, server)
            await channel.send(b"x")
            assert await channel.receive() == b"x"
            assert len(lost) == 3
            # The server was ready from the beginning; the client asked twice.
            assert handled == [0]
            assert trio_c.current_time() == 3


@trio_test
async def test_answering_from_the_receive_loop_may_fail(clock):
    wire = Wire()
    refused = []

    def lose(packet):
        if packet.source.port != server.socket.getsockname()[1] or len(refused) == 2:
            return False
        end = kinds(packet.payload)[-2:] == ["change_cipher_spec", "encrypted"]
        if end and not refused:
            refused.append("lost")
            return True
        if end:
            refused.append("error")
            raise OSError(errno.EPERM, "firewall")
        return False

    wire.lose = lose
    async with serving() as server:
        with endpoint() as client:
            channel = connect(client, server)
            await channel.send(b"x")
            assert await channel.receive() == b"x"
            assert refused == ["lost", "error"]

        def refuse(packet):
            if kinds(packet.payload) == [3]:
                refused.append("challenge")
                raise OSError(errno.EPERM, "firewall")

        wire.lose = refuse
        with endpoint() as client, trio_c.move_on_after(2):
            await connect(client, server).do_handshake()
        assert refused[2:] == ["challenge", "challenge"]


@trio_test
async def test_peer_that_is_not_trusted(clock):
    """The alert is sent, but cannot be told from one that a forger provoked."""
    wire = Wire()

    async def handler(channel):
        with contextlib.suppress(trio_c.BrokenResourceError):
            await echo(channel)

    async with serving(handler) as server:
        with endpoint() as client:
            context = SSL.Context(SSL.DTLS_METHOD)
            context.set_verify(SSL.VERIFY_PEER)
            address = server.socket.getsockname()
            channel = client.connect(address, context)
            with trio_c.move_on_after(2.5) as scope:
                await channel.do_handshake()
            assert scope.cancelled_caught
            said = [kinds(p) for p in wire.packets(client)]
            assert said == [[1], [1], ["alert"], [1]]
            with pytest.raises(trio_c.NeedHandshakeError):
                channel.get_cleartext_mtu()
            # The next try has better chances.
            channel = client.connect(address, client_context())
            await channel.send(b"x")
            assert await channel.receive() == b"x"


@trio_test
async def test_nothing_in_common(clock):
    Wire()
    errors = []

    async def handler(channel):
        with pytest.raises(SSL.Error, match="no shared cipher") as caught:
            await channel.do_handshake()
        errors.append(caught.value)

    # Without a certificate, a server can do next to nothing.
    async with serving(handler, SSL.Context(SSL.DTLS_METHOD)) as server:
        with endpoint() as client, trio_c.move_on_after(0.5):
            await connect(client, server).do_handshake()
        assert len(errors) == 1


@trio_test
async def test_a_version_that_never_was(clock):
    wire = Wire()
    errors = []

    async def handler(channel):
        with pytest.raises(SSL.Error, match="something wrong with peer's ClientHello"):
            await channel.do_handshake()
        errors.append(channel)

    async with serving(handler) as server:
        with endpoint() as client:
            await client.socket.bind(("127.0.0.1", 0))
            hello = a_client_hello()[25:]
            body = b"\x01\x02" + hello[2:]
            wire.forge(client, server, a_client_hello(body=body))
            await wait_all_tasks_blocked()
            cookie = wire.packets(server)[0][-32:]
            at = 2 + 32 + 4
            body = body[:at] + bytes([32]) + cookie + body[at + 1 :]
            wire.forge(client, server, a_client_hello(body=body))
            await wait_all_tasks_blocked()
            assert len(errors) == 1


# --- the real network


@trio_test
async def test_nobody_there():
    """The system tells about that, on sockets that are connected."""
    with trio_c.fail_after(60), endpoint() as client:
        with stdlib_socket.socket(type=SOCK_DGRAM) as other:
            other.bind(("127.0.0.1", 0))
            address = other.getsockname()
        await client.socket.connect(address)
        client._ensure_receive_loop()
        for _ in range(3):
            await client.socket.send(b"x")
            # Let the receive loop be told, and not the next send.
            await wait_all_tasks_blocked(0.01)
        async with serving(address=address) as server:
            channel = connect(client, server)
            await channel.send(b"x")
            assert await channel.receive() == b"x"


SERVER = """
import sys
import _dtls_peers
import trio_c

async def main():
    with _dtls_peers.lossy_endpoint(seed=1) as server:
        await server.socket.bind(("127.0.0.1", 0))
        async with trio_c.open_nursery() as nursery:
            await nursery.start(
                server.serve, _dtls_peers.server_context(), _dtls_peers.quick_echo
            )
            print(server.socket.getsockname()[1], _dtls_peers.CA.cert_pem.bytes().hex())
            sys.stdout.flush()
            await trio_c.to_thread.run_sync(sys.stdin.read)
            nursery.cancel_scope.cancel()
            print(server.socket.lost, server.socket.sent)

trio_c.run(main)
"""


def test_two_processes_and_losses():
    server = subprocess.Popen(
        [sys.executable, "-c", SERVER],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        cwd=ELSEWHERE,
    )

    async def main():
        port, authority = server.stdout.readline().split()
        context = SSL.Context(SSL.DTLS_METHOD)
        context.set_verify(SSL.VERIFY_PEER)
        context.get_cert_store().add_cert(_certificate(bytes.fromhex(authority)))
        total = 0
        for seed in range(5):
            with lossy_endpoint(seed) as client:
                channel = client.connect(("127.0.0.1", int(port)), context)
                await channel.do_handshake(initial_retransmit_timeout=0.02)
                for i in range(40):
                    # Each packet until an answer to it comes.
                    data = b"%d/%d " % (seed, i) * random.Random(i).randrange(1, 150)
                    answer = None
                    while answer != data:
                        with trio_c.move_on_after(0.02):
                            await channel.send(data)
                            while answer != data:
                                answer = await channel.receive()
                total += client.socket.lost
        return total

    async def with_timeout():
        with trio_c.fail_after(100):
            return await main()

    with server:
        try:
            assert trio_c.run(with_timeout) > 20
            output, _ = server.communicate("", timeout=60)
        finally:
            server.kill()
    assert server.returncode == 0
    lost, sent = map(int, output.split())
    assert 20 < lost < sent


def _certificate(pem):
    from OpenSSL import crypto

    return crypto.load_certificate(crypto.FILETYPE_PEM, pem)
