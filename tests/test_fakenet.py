"""The network in memory that tests of protocols can use."""

import errno
import socket as stdlib_socket

import pytest

import trio_c
from trio_c.socket import AF_INET, AF_INET6, SOCK_DGRAM
from trio_c.testing import trio_test, wait_all_tasks_blocked
from trio_c.testing._fake_net import FakeNet, FakeSocket, UDPEndpoint, UDPPacket


def enabled():
    net = FakeNet()
    net.enable()
    return net


needs_messages = pytest.mark.skipif(
    not hasattr(stdlib_socket.socket, "recvmsg"),
    reason="there are no sendmsg() and recvmsg()",
)


def udp(family=AF_INET):
    return trio_c.socket.socket(family, SOCK_DGRAM)


async def bound(family=AF_INET, port=0):
    sock = udp(family)
    await sock.bind(("::" if family == AF_INET6 else "0.0.0.0", port))
    return sock


@pytest.mark.parametrize("family", [AF_INET, AF_INET6])
@trio_test
async def test_packets_arrive(family):
    enabled()
    with await bound(family) as a, udp(family) as b:
        assert isinstance(a, trio_c.socket.SocketType)
        assert (b.family, b.type, b.proto) == (family, SOCK_DGRAM, 0)
        # In both forms that an address may have.
        assert await b.sendto(b"one", a.getsockname()) == 3
        assert await b.sendto(bytearray(b"two"), 0, a.getsockname()[:2]) == 3
        if hasattr(b, "sendmsg"):
            await b.sendmsg([b"th", memoryview(b"ree")], (), 0, a.getsockname())
        else:
            await b.sendto(b"three", a.getsockname())
        for data in (b"one", b"two", b"three"):
            assert await a.recvfrom(100) == (data, b.getsockname())
        # To nobody.
        assert await b.sendto(b"x", (*a.getsockname()[:1], 7)) == 1


@needs_messages
@trio_test
async def test_receiving_into_buffers():
    enabled()
    with await bound() as a, udp() as b:

        async def send(data):
            await b.sendto(data, a.getsockname())

        words = memoryview(bytearray(8)).cast("I")
        small = bytearray(3)
        await send(b"0123456789")
        received = await a.recvmsg_into([words, small])
        assert received == (10, [], 0, b.getsockname())
        assert bytes(words) + small == b"0123456789\0"
        await send(b"abcdef")
        assert await a.recv_into(small) == 3
        assert small == b"abc"
        await send(b"abcdef")
        data, _, flags, _ = await a.recvmsg(5)
        assert (data, flags) == (b"abcde", stdlib_socket.MSG_TRUNC)
        await send(b"")
        assert await a.recv(5) == b""
        await send(b"ab")
        assert await a.recvfrom_into(small, 3) == (2, b.getsockname())


@trio_test
async def test_routing():
    net = enabled()
    seen = []
    with await bound() as a, await bound() as b:

        def route(packet):
            seen.append(packet)
            if packet.payload == b"lose":
                return
            if packet.payload == b"fail":
                raise OSError(errno.EPERM, "firewall")
            net.deliver_packet(packet)
            if packet.payload == b"twice":
                net.deliver_packet(packet)
            if packet.payload == b"ping":
                net.deliver_packet(packet.reply(b"pong"))

        net.route_packet = route
        assert await a.sendto(b"lose", b.getsockname()) == 4
        with pytest.raises(OSError, match="firewall"):
            await a.sendto(b"fail", b.getsockname())
        for data in (b"twice", b"ping"):
            await a.sendto(data, b.getsockname())
        assert [await b.recv(10) for _ in range(3)] == [b"twice", b"twice", b"ping"]
        assert await a.recvfrom(10) == (b"pong", b.getsockname())
        assert [packet.payload for packet in seen] == [
            b"lose",
            b"fail",
            b"twice",
            b"ping",
        ]
        net.send_packet(seen[2])
        assert len(seen) == 5
        net.route_packet = None
        net.send_packet(seen[3])
        assert len(seen) == 5


@trio_test
async def test_packets_are_values():
    attrs = pytest.importorskip("attrs")  # a dependency of outcome
    source = UDPEndpoint.from_python_sockaddr(("127.0.0.1", 1))
    packet = UDPPacket(
        source, UDPEndpoint.from_python_sockaddr(("::1", 2, 0, 0)), b"\x01\xff"
    )
    assert repr(packet) == (
        "UDPPacket(source=UDPEndpoint(ip=IPv4Address('127.0.0.1'), port=1),"
        " destination=UDPEndpoint(ip=IPv6Address('::1'), port=2), payload=01ff)"
    )
    changed = attrs.evolve(packet, payload=b"")
    assert changed != packet
    assert attrs.evolve(changed, payload=b"\x01\xff") == packet
    assert len({packet, changed, packet.reply(b"").reply(b"\x01\xff")}) == 2
    assert packet.source.as_python_sockaddr() == ("127.0.0.1", 1)
    assert packet.destination.as_python_sockaddr() == ("::1", 2, 0, 0)


@trio_test
async def test_ports():
    enabled()
    taken = [await bound(port=port) for port in (50000, 50002)]
    free = [await bound() for _ in range(2)]
    assert [sock.getsockname()[1] for sock in free] == [50001, 50003]
    with pytest.raises(OSError) as caught:
        await bound(port=50001)
    assert caught.value.errno == errno.EADDRINUSE
    # Each address has ports of its own, and closing gives them back.
    with udp() as other:
        await other.bind(("192.0.2.1", 50001))
    free[0].close()
    free[0].close()
    taken.append(await bound(port=50001))
    for sock in taken + free:
        sock.close()


@trio_test
async def test_all_ports_taken():
    net = enabled()
    net._auto_ports = iter([5])
    with await bound() as only, udp() as other:
        for attempt in (bound(), other.sendto(b"x", only.getsockname())):
            with pytest.raises(OSError) as caught:
                await attempt
            assert caught.value.errno == errno.EADDRINUSE


@trio_test
async def test_bind_addresses():
    enabled()
    with udp(AF_INET6) as sock:
        with pytest.raises(NotImplementedError, match="flow info and scope ids"):
            await sock.bind(("::1", 0, 0, 3))
        with pytest.raises(ValueError, match="address should be a"):
            await sock.bind("::1")
        with pytest.raises(NotImplementedError, match="fake DNS"):
            await sock.bind(("localhost", 0))
        with pytest.raises(NotImplementedError, match="fake DNS"):
            await trio_c.socket.getnameinfo(("127.0.0.1", 1), 0)
        assert sock.getsockname() == ("::", 0)
        # As getsockname() gives it.
        await sock.bind(("::1", 17, 0, 0))
        assert sock.getsockname() == ("::1", 17, 0, 0)
    with udp() as sock:

        async def bind():
            try:
                await sock.bind(("127.0.0.1", 0))
            except OSError as exc:
                outcomes.append(exc.errno)
            else:
                outcomes.append(None)

        outcomes = []
        async with trio_c.open_nursery() as nursery:
            nursery.start_soon(bind)
            nursery.start_soon(bind)
        assert outcomes == [None, errno.EINVAL]


@trio_test
async def test_closing():
    net = enabled()
    sock = await bound()
    address = sock.getsockname()
    async with trio_c.open_nursery() as nursery:

        @nursery.start_soon
        async def receive():
            with pytest.raises(trio_c.ClosedResourceError):
                await sock.recv(1)

        await wait_all_tasks_blocked()
        sock.close()
    assert not net._bound
    for use in (
        lambda: sock.recv(1),
        lambda: sock.sendto(b"x", address),
        lambda: sock.send(b"x"),
        lambda: sock.bind(address),
    ):
        with pytest.raises(OSError) as caught:
            await use()
        assert caught.value.errno == errno.EBADF
    for use in (
        sock.getsockname,
        sock.getpeername,
        lambda: sock.getsockopt(1, 2),
        lambda: sock.setsockopt(1, 2, 3),
    ):
        with pytest.raises(OSError) as caught:
            use()
        assert caught.value.errno == errno.EBADF
    assert "closed" in repr(sock)

    # While somebody is about to send or bind.
    for method in ("sendto", "bind"):
        sock = udp()
        async with trio_c.open_nursery() as nursery:

            @nursery.start_soon
            async def use(sock=sock, method=method):
                arguments = (b"x", address) if method == "sendto" else (address,)
                with pytest.raises(OSError) as caught:
                    await getattr(sock, method)(*arguments)
                assert caught.value.errno == errno.EBADF

            @nursery.start_soon
            async def close(sock=sock):
                sock.close()

    assert not net._bound


@needs_messages
@trio_test
async def test_what_it_cannot_do():
    enabled()
    with pytest.raises(TypeError, match="FakeSocket has no public constructor"):
        FakeSocket(None, AF_INET, SOCK_DGRAM, 0)
    with pytest.raises(NotImplementedError, match=r"\(yet\) support family=1"):
        trio_c.socket.socket(stdlib_socket.AF_UNIX, SOCK_DGRAM)
    with await bound() as sock:
        address = sock.getsockname()
        assert repr(sock) == (
            f"<FakeSocket family={sock.family} type={sock.type} laddr={address}>"
        )
        assert not sock.get_inheritable()
        for use in (sock.fileno, sock.detach, lambda: sock.set_inheritable(True)):
            with pytest.raises(NotImplementedError, match="can't"):
                use()
        for awaitable, message in (
            (sock.connect(address), "connected sockets"),
            (sock.recv(1, 1), "any recv flags"),
            (sock.recvmsg(1, 1), "ancillary data"),
            (sock.sendmsg([b""], [(1, 2, b"")], 0, address), "ancillary data"),
            (sock.sendto(b"", 1, address), "flags must be 0, not 1"),
            (sock.recvfrom_into(bytearray(5), 3), "partial recvfrom_into"),
        ):
            with pytest.raises(NotImplementedError, match=message):
                await awaitable
        with pytest.raises(TypeError, match="wrong number of arguments"):
            await sock.sendto(b"x")


def test_only_for_one_run():
    async def fake():
        enabled()
        with udp() as sock:
            assert isinstance(sock, FakeSocket)

    async def real():
        with udp() as sock:
            assert not isinstance(sock, FakeSocket)

    trio_c.run(fake)
    trio_c.run(real)
