"""Names on their way to addresses: resolvers, factories, IDNA."""

import socket as stdlib
import subprocess
import sys

import pytest
from _sockets import counts, in_run

import trio_c as trio
import trio_c.socket as tsocket
import trio_c.testing


class Resolver(trio.abc.HostnameResolver):
    def __init__(self, port=7):
        self.asked = []
        self.port = port

    async def getaddrinfo(self, host, port, family=0, type=0, proto=0, flags=0):
        self.asked.append((host, port, flags))
        return [(family, type, proto, "", ("127.0.0.1", self.port))]

    async def getnameinfo(self, sockaddr, flags):
        self.asked.append((sockaddr, flags))
        return ("name", "service")


@in_run
async def test_resolver_of_the_run():
    resolver = Resolver()
    assert tsocket.set_custom_hostname_resolver(resolver) is None
    # Numbers are nothing to ask about.
    with counts(1, 1):
        (info,) = await tsocket.getaddrinfo("127.0.0.1", 80, type=tsocket.SOCK_STREAM)
    assert info[-1] == ("127.0.0.1", 80)
    assert resolver.asked == []
    await tsocket.getaddrinfo("example.org", "http")
    await tsocket.getaddrinfo("Fa\xdf.DE", 80)  # IDNA 2008; 2003 says "fass.de"
    numbers = tsocket.NI_NUMERICHOST | tsocket.NI_NUMERICSERV
    assert await tsocket.getnameinfo(("127.0.0.1", 80), numbers) == ("name", "service")
    assert resolver.asked == [
        (b"example.org", "http", 0),
        (b"xn--fa-hia.de", 80, 0),
        (("127.0.0.1", 80), numbers),
    ]
    assert tsocket.set_custom_hostname_resolver(None) is resolver
    assert await tsocket.getnameinfo(("127.0.0.1", 80), numbers) == ("127.0.0.1", "80")
    assert await tsocket.getprotobyname("udp") == 17
    with pytest.raises(tsocket.gaierror):
        await tsocket.getaddrinfo("127.0.0.1", 80, type=-1)


@in_run
async def test_resolver_reaches_connect_and_sending():
    with (
        tsocket.socket(type=tsocket.SOCK_DGRAM) as receiver,
        tsocket.socket(type=tsocket.SOCK_DGRAM) as sock,
    ):
        await receiver.bind(("127.0.0.1", 0))
        resolver = Resolver(receiver.getsockname()[1])
        tsocket.set_custom_hostname_resolver(resolver)
        await sock.sendto(b"x", ("some.host", 1))
        if hasattr(sock, "sendmsg"):
            await sock.sendmsg([b"x", b"y"], [], 0, ("some.host", 2))
        else:
            await sock.sendto(b"xy", ("some.host", 2))
        await sock.connect(("some.host", 3))
        assert sock.getpeername() == receiver.getsockname()
        assert await receiver.recv(10) == b"x"
        assert await receiver.recv(10) == b"xy"
    assert [asked[1] for asked in resolver.asked] == [1, 2, 3]


def test_resolver_and_factory_belong_to_the_run():
    class Factory(trio.abc.SocketFactory):
        def socket(self, family=0, type=0, proto=0):
            return (family, type, proto)

    async def first():
        tsocket.set_custom_hostname_resolver(Resolver())
        assert tsocket.set_custom_socket_factory(Factory()) is None
        assert tsocket.socket(1, 2, 3) == (1, 2, 3)
        # A descriptor is no job for a factory.
        with tsocket.socket(fileno=stdlib.socket().detach()) as sock:
            assert isinstance(sock, tsocket.SocketType)

    async def second():
        assert tsocket.set_custom_hostname_resolver(None) is None
        assert tsocket.set_custom_socket_factory(None) is None

    trio.run(first)
    trio.run(second)


def test_idna_is_loaded_on_first_need():
    program = "import sys, trio_c.socket; sys.exit('idna' in sys.modules)"
    subprocess.run([sys.executable, "-c", program], check=True, timeout=60)
