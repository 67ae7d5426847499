"""anyio on the trio backend: TCP, TLS, UDP, UNIX sockets, name resolution."""

from __future__ import annotations

import hashlib
import socket
import ssl
import tempfile
from pathlib import Path

import which_trio

which_trio.check()

import anyio  # noqa: E402
import anyio.abc  # noqa: E402
import pytest  # noqa: E402
import trustme  # noqa: E402
from anyio.streams.buffered import BufferedByteReceiveStream  # noqa: E402
from anyio.streams.stapled import MultiListener  # noqa: E402
from anyio.streams.tls import TLSAttribute, TLSListener, TLSStream  # noqa: E402

PAYLOAD = bytes(range(256)) * 4096  # 1 MiB
CLIENTS = 20


async def echo(stream: anyio.abc.ByteStream) -> None:
    async with stream:
        try:
            async for chunk in stream:
                await stream.send(chunk)
        except anyio.BrokenResourceError:
            pass


async def exchange(stream: anyio.abc.ByteStream, number: int) -> None:
    """Send and receive at the same time, then end it in an orderly way."""
    message = PAYLOAD + number.to_bytes(8)
    async with stream, anyio.create_task_group() as group:
        group.start_soon(stream.send, message)
        got = b""
        while len(got) < len(message):
            got += await stream.receive()
        assert hashlib.sha256(got).digest() == hashlib.sha256(message).digest()


async def tcp() -> None:
    listener = await anyio.create_tcp_listener(local_host="localhost")
    assert isinstance(listener, MultiListener)
    port = listener.listeners[0].extra(anyio.abc.SocketAttribute.local_port)
    async with listener, anyio.create_task_group() as servers:
        for one in listener.listeners:
            servers.start_soon(one.serve, echo)
        async with anyio.create_task_group() as clients:
            for number in range(CLIENTS):
                stream = await anyio.connect_tcp("localhost", port)
                raw = stream.extra(anyio.abc.SocketAttribute.raw_socket)
                assert isinstance(raw, socket.socket)
                assert raw.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY)
                clients.start_soon(exchange, stream, number)

        stream = await anyio.connect_tcp("localhost", port)
        await stream.send(b"last words")
        await stream.send_eof()
        assert await stream.receive() == b"last words"
        with pytest.raises(anyio.EndOfStream):
            await stream.receive()
        await stream.aclose()
        with pytest.raises(anyio.ClosedResourceError):
            await stream.send(b"more")
        servers.cancel_scope.cancel()

    with pytest.raises(OSError):
        await anyio.connect_tcp("127.0.0.1", port)


async def framed_tcp() -> None:
    async def serve(stream: anyio.abc.SocketStream) -> None:
        async with stream:
            for line in (b"one\r\n", b"two\r", b"\nthree\r\n", b"12345678"):
                await stream.send(line)

    listener = await anyio.create_tcp_listener(local_host="127.0.0.1")
    port = listener.extra(anyio.abc.SocketAttribute.local_port)
    async with listener, anyio.create_task_group() as servers:
        servers.start_soon(listener.serve, serve)
        async with await anyio.connect_tcp("127.0.0.1", port) as stream:
            reader = BufferedByteReceiveStream(stream)
            lines = [await reader.receive_until(b"\r\n", 100) for _ in range(3)]
            assert lines == [b"one", b"two", b"three"]
            assert await reader.receive_exactly(8) == b"12345678"
            with pytest.raises(anyio.IncompleteRead):
                await reader.receive_exactly(1)
        servers.cancel_scope.cancel()


async def tls() -> None:
    authority = trustme.CA()
    server_side = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    authority.issue_cert("localhost").configure_cert(server_side)
    server_side.set_alpn_protocols(["nonsense", "echo/1"])
    client_side = ssl.create_default_context()
    authority.configure_trust(client_side)
    client_side.set_alpn_protocols(["echo/1"])

    plain = await anyio.create_tcp_listener(local_host="127.0.0.1")
    port = plain.extra(anyio.abc.SocketAttribute.local_port)
    listener = TLSListener(plain, server_side)
    async with listener, anyio.create_task_group() as servers:
        servers.start_soon(listener.serve, echo)
        async with anyio.create_task_group() as clients:
            for number in range(4):
                stream = await anyio.connect_tcp(
                    "127.0.0.1",
                    port,
                    tls_hostname="localhost",
                    ssl_context=client_side,
                )
                assert isinstance(stream, TLSStream)
                assert stream.extra(TLSAttribute.alpn_protocol) == "echo/1"
                assert stream.extra(TLSAttribute.tls_version) == "TLSv1.3"
                clients.start_soon(exchange, stream, number)

        # A certificate that nobody vouches for.
        with pytest.raises(ssl.SSLCertVerificationError):
            await anyio.connect_tcp("127.0.0.1", port, tls=True)
        servers.cancel_scope.cancel()


async def udp() -> None:
    async def answer(receiver: anyio.abc.UDPSocket) -> None:
        async for data, (host, port) in receiver:
            await receiver.sendto(data[::-1], host, port)

    async with (
        await anyio.create_udp_socket(local_host="127.0.0.1") as server,
        anyio.create_task_group() as group,
    ):
        port = server.extra(anyio.abc.SocketAttribute.local_port)
        group.start_soon(answer, server)
        async with await anyio.create_udp_socket(local_host="127.0.0.1") as one:
            await one.sendto(b"stressed", "127.0.0.1", port)
            data, address = await one.receive()
            assert (data, address) == (b"desserts", ("127.0.0.1", port))
        async with await anyio.create_connected_udp_socket("127.0.0.1", port) as two:
            for number in range(50):
                await two.send(b"%03d" % number)
                assert await two.receive() == (b"%03d" % number)[::-1]
        group.cancel_scope.cancel()


async def unix_sockets() -> None:
    with tempfile.TemporaryDirectory() as directory:
        path = Path(directory, "socket")
        listener = await anyio.create_unix_listener(path, mode=0o600)
        assert path.stat().st_mode & 0o777 == 0o600
        async with listener, anyio.create_task_group() as servers:
            servers.start_soon(listener.serve, echo)
            async with anyio.create_task_group() as clients:
                for number in range(4):
                    stream = await anyio.connect_unix(path)
                    clients.start_soon(exchange, stream, number)
            servers.cancel_scope.cancel()

        # A file descriptor travels through one.
        listener = await anyio.create_unix_listener(Path(directory, "second"))
        async with listener, anyio.create_task_group() as group:

            async def give_away(stream: anyio.abc.UNIXSocketStream) -> None:
                async with stream:
                    with open(Path(directory, "gift"), "w+") as gift:
                        gift.write("from afar")
                        gift.flush()
                        await stream.send_fds(b"here", [gift])

            group.start_soon(listener.serve, give_away)
            async with await anyio.connect_unix(Path(directory, "second")) as stream:
                message, descriptors = await stream.receive_fds(10, 1)
                assert message == b"here"
                with open(descriptors[0]) as gift:
                    gift.seek(0)
                    assert gift.read() == "from afar"
            group.cancel_scope.cancel()


async def names() -> None:
    found = await anyio.getaddrinfo("localhost", 80, type=socket.SOCK_STREAM)
    assert {address[-1][0] for address in found} & {"127.0.0.1", "::1"}
    assert await anyio.getnameinfo(("127.0.0.1", 80), socket.NI_NUMERICHOST)
    with pytest.raises(socket.gaierror):
        await anyio.getaddrinfo("localhost", "no such service")


async def raw_readiness() -> None:
    left, right = socket.socketpair()
    with left, right:
        left.setblocking(False)
        with anyio.move_on_after(0.01) as scope:
            await anyio.wait_readable(left)
        assert scope.cancelled_caught
        async with anyio.create_task_group() as group:
            group.start_soon(anyio.wait_readable, left)
            await anyio.wait_writable(right)
            right.send(b"x")
        assert left.recv(10) == b"x"


async def main() -> None:
    with anyio.fail_after(60):
        for part in (tcp, framed_tcp, tls, udp, unix_sockets, names, raw_readiness):
            await part()


anyio.run(main, backend="trio")
