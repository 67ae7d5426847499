"""DTLS endpoints on networks that forget, change and remember packets."""

from __future__ import annotations

import contextlib
import random

import pytest

import trio_c
from trio_c import _dtls_wire
from trio_c.socket import AF_INET, AF_INET6, SOCK_DGRAM
from trio_c.testing._fake_net import FakeNet, UDPEndpoint, UDPPacket

SSL = pytest.importorskip("OpenSSL.SSL", reason="DTLS needs pyOpenSSL")
trustme = pytest.importorskip("trustme", reason="certificates are made by trustme")

CA = trustme.CA()
CERTIFICATE = CA.issue_cert("example.com")


def server_context():
    context = SSL.Context(SSL.DTLS_METHOD)
    CERTIFICATE.configure_cert(context)
    return context


def client_context():
    context = SSL.Context(SSL.DTLS_METHOD)
    CA.configure_trust(context)
    return context


def endpoint(family=AF_INET, **kwargs):
    sock = trio_c.socket.socket(family, SOCK_DGRAM)
    return trio_c.DTLSEndpoint(sock, **kwargs)


class Wire:
    """A fake network that remembers what was sent, and when, and that loses
    what `lose(packet)` says."""

    def __init__(self, lose=lambda packet: False):
        self.net = FakeNet()
        self.net.enable()
        self.net.route_packet = self._route
        self.lose = lose
        self.sent = []

    def _route(self, packet):
        self.sent.append((trio_c.current_time(), packet))
        if not self.lose(packet):
            self.net.deliver_packet(packet)

    def packets(self, sender):
        """What a socket or endpoint has sent."""
        address = getattr(sender, "socket", sender).getsockname()
        return [
            packet.payload
            for _, packet in self.sent
            if packet.source.as_python_sockaddr() == address
        ]

    def times(self, sender):
        address = getattr(sender, "socket", sender).getsockname()
        return [
            time
            for time, packet in self.sent
            if packet.source.as_python_sockaddr() == address
        ]

    def forge(self, source, destination, payload):
        """Let something arrive that `source` has never sent."""
        ends = [
            UDPEndpoint.from_python_sockaddr(end.socket.getsockname())
            for end in (source, destination)
        ]
        self.net.deliver_packet(UDPPacket(*ends, payload))


def silence(packet):
    """`lose` that loses everything."""
    return True


async def echo(channel):
    async for packet in channel:
        await channel.send(packet)


@contextlib.asynccontextmanager
async def serving(handler=echo, context=None, family=AF_INET, address=None):
    # On clocks that jump, a handshake that fails would otherwise go on for ever.
    with trio_c.fail_after(3600), endpoint(family) as server:
        localhost = "::1" if family == AF_INET6 else "127.0.0.1"
        await server.socket.bind(address or (localhost, 0))
        async with trio_c.open_nursery() as nursery:
            await nursery.start(server.serve, context or server_context(), handler)
            yield server
            nursery.cancel_scope.cancel()


def connect(client, server, **kwargs):
    return client.connect(server.socket.getsockname(), client_context(), **kwargs)


@contextlib.asynccontextmanager
async def connected(handler=echo):
    async with serving(handler) as server:
        with endpoint() as client:
            channel = connect(client, server)
            await channel.do_handshake()
            yield server, client, channel


def kinds(packet):
    """What records are in a datagram, as far as can be seen."""
    names = []
    for record in _dtls_wire.records_untrusted(packet):
        if record.epoch_seqno >> 48:
            names.append("encrypted")
        elif record.content_type == _dtls_wire.ContentType.handshake:
            names.append(record.payload[0])
        else:
            names.append(_dtls_wire.ContentType(record.content_type).name)
    return names


def a_client_hello(cookie=b"", epoch_seqno=5, body=None, msg_seq=0):
    """The datagram that asks for a connection."""
    if body is None:
        body = b"\xfe\xfd" + b"r" * 32 + b"\x03sid" + bytes([len(cookie)]) + cookie
        body += b"\x00\x02\xc0\x2c\x01\x00"
    fragment = _dtls_wire.HandshakeFragment(1, len(body), msg_seq, 0, len(body), body)
    return _dtls_wire.encode_record(
        _dtls_wire.Record(
            22,
            b"\xfe\xff",
            epoch_seqno,
            _dtls_wire.encode_handshake_fragment(fragment),
        )
    )


class LossySocket:
    """A socket that loses a fifth of what is sent."""

    def __init__(self, sock, seed):
        self._sock = sock
        self._random = random.Random(seed)
        self.sent = self.lost = 0

    def __getattr__(self, name):
        return getattr(self._sock, name)

    async def sendto(self, data, address):
        self.sent += 1
        if self._random.random() < 0.2:
            self.lost += 1
            await trio_c.lowlevel.checkpoint()
            return len(data)
        return await self._sock.sendto(data, address)


def lossy_endpoint(seed):
    sock = trio_c.socket.socket(type=SOCK_DGRAM)
    return trio_c.DTLSEndpoint(LossySocket(sock, seed))


async def quick_echo(channel):
    await channel.do_handshake(initial_retransmit_timeout=0.02)
    await echo(channel)
