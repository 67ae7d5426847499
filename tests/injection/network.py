"""Scenarios of sockets, streams and descriptors."""

from __future__ import annotations

import errno
import functools
import os
import select
import socket as stdlib_socket
import ssl
import warnings

import trio
import trustme
from scenario import scenario
from trio import lowlevel, socket

SIZE = 300_000
NAME = "test.example.org"
authority = trustme.CA()
server_context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
certificate = authority.issue_cert(NAME)
certificate.configure_cert(server_context)
client_context = ssl.create_default_context()
authority.configure_trust(client_context)


@scenario
async def sockets() -> None:
    with socket.socket() as listener:
        await listener.bind(("127.0.0.1", 0))
        listener.listen()
        with socket.socket() as client:
            async with trio.open_nursery() as nursery:
                nursery.start_soon(client.connect, listener.getsockname())
                server, _ = await listener.accept()
            with server:
                async with trio.open_nursery() as nursery:
                    nursery.start_soon(server.recv, 10)
                    await lowlevel.checkpoint()
                    await client.send(b"abc")
                buffer = bytearray(10)
                await client.sendmsg([b"de", b"f"])
                assert await server.recv_into(buffer) == 3
                await client.send(b"ghi")
                assert (await server.recvmsg(10))[0] == b"ghi"
                client.shutdown(socket.SHUT_WR)
                assert await server.recv(10) == b""
                with trio.move_on_after(0.0001):
                    await client.recv(1)


@scenario
async def datagrams() -> None:
    with (
        socket.socket(type=socket.SOCK_DGRAM) as left,
        socket.socket(type=socket.SOCK_DGRAM) as right,
    ):
        for sock in left, right:
            await sock.bind(("127.0.0.1", 0))
        async with trio.open_nursery() as nursery:
            nursery.start_soon(right.recvfrom, 10)
            await lowlevel.checkpoint()
            await left.sendto(b"x", right.getsockname())
        await left.sendto(b"y", right.getsockname())
        assert (await right.recvfrom_into(bytearray(9)))[0] == 1


@scenario
async def streams() -> None:
    async def serve(stream: trio.SocketStream) -> None:
        total = 0
        async for data in stream:
            total += len(data)
        await stream.send_all(str(total).encode())
        await stream.aclose()

    async with trio.open_nursery() as nursery:
        serving = functools.partial(trio.serve_tcp, serve, 0, host="127.0.0.1")
        listeners = await nursery.start(serving)
        port = listeners[0].socket.getsockname()[1]
        async with await trio.open_tcp_stream("127.0.0.1", port) as client:
            await client.send_all(b"x" * SIZE)
            await client.send_eof()
            answer = b""
            async for data in client:
                answer += data
            assert answer == str(SIZE).encode()
            client.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, True)
        nursery.cancel_scope.cancel()


@scenario
async def pairs() -> None:
    left, right = map(trio.SocketStream, socket.socketpair())
    async with left, right:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(left.send_all, b"y" * SIZE)
            size = 0
            while size < SIZE:
                size += len(await right.receive_some())
        with trio.move_on_after(0.001):
            await right.receive_some()
        async with trio.open_nursery() as nursery:
            nursery.start_soon(closed, right)
            await trio.testing.wait_all_tasks_blocked()
            await right.aclose()


async def closed(stream: trio.SocketStream) -> None:
    try:
        await stream.receive_some()
    except trio.ClosedResourceError:
        pass


class Pipe:
    """A pipe that is closed when it is forgotten."""

    ends: tuple[int, ...] = ()

    def __init__(self) -> None:
        self.ends = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)

    def __del__(self) -> None:
        for end in self.ends:
            try:
                os.close(end)
            except OSError as exc:
                assert exc.errno != errno.EBADF


@scenario
async def descriptors() -> None:
    pipes = [Pipe() for _ in range(20)]

    async def wait(pipe: Pipe) -> None:
        try:
            await lowlevel.wait_readable(pipe.ends[0])
        except trio.ClosedResourceError:
            pass

    async with trio.open_nursery() as nursery:
        for pipe in pipes:
            nursery.start_soon(wait, pipe)
        await trio.testing.wait_all_tasks_blocked()
        lowlevel.current_statistics()
        for pipe in pipes[2:]:
            os.write(pipe.ends[1], b"x")
        lowlevel.notify_closing(pipes[0].ends[0])
        await lowlevel.wait_writable(pipes[1].ends[1])
        with trio.move_on_after(0.0001):
            await lowlevel.wait_readable(pipes[0].ends[0])
        os.write(pipes[1].ends[1], b"x")
    ours, theirs = stdlib_socket.socketpair()
    with ours, theirs:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(lowlevel.wait_readable, ours)
            nursery.start_soon(lowlevel.wait_writable, ours)
            await lowlevel.checkpoint()
            theirs.send(b"x")


@scenario
async def names() -> None:
    await socket.getaddrinfo("127.0.0.1", 80)
    await socket.getnameinfo(("127.0.0.1", 80), socket.NI_NUMERICHOST)
    listeners = await trio.open_tcp_listeners(0, host="localhost")
    port = listeners[0].socket.getsockname()[1]
    async with trio.open_nursery() as nursery:
        nursery.start_soon(accept_one, listeners[0])
        client = await trio.open_tcp_stream("localhost", port)
        await client.aclose()
    for listener in listeners:
        await listener.aclose()


async def accept_one(listener: trio.SocketListener) -> None:
    await (await listener.accept()).aclose()


@scenario
async def unix_sockets() -> None:
    path = f"/tmp/injection-{os.getpid()}.sock"
    if os.path.exists(path):
        os.unlink(path)
    try:
        with socket.socket(socket.AF_UNIX) as listener:
            await listener.bind(path)
            listener.listen()
            async with await trio.open_unix_socket(path) as client:
                sock, _ = await listener.accept()
                async with trio.SocketStream(sock) as server:
                    await client.send_all(b"x")
                    assert await server.receive_some(10) == b"x"
    finally:
        if os.path.exists(path):
            os.unlink(path)


@scenario
async def tls() -> None:
    left, right = map(trio.SocketStream, socket.socketpair())
    client = trio.SSLStream(left, client_context, server_hostname=NAME)
    server = trio.SSLStream(right, server_context, server_side=True)
    async with left, right:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(client.do_handshake)
            nursery.start_soon(server.do_handshake)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(client.send_all, b"z" * SIZE)
            size = 0
            while size < SIZE:
                size += len(await server.receive_some())
        await server.send_all(b"answer")
        assert await client.receive_some(100) == b"answer"
        async with trio.open_nursery() as nursery:
            nursery.start_soon(client.aclose)
            assert await server.receive_some() == b""
            await server.aclose()


if not hasattr(select, "kqueue") or hasattr(select, "epoll"):

    @scenario
    async def dtls() -> None:
        from OpenSSL import SSL

        contexts = [SSL.Context(SSL.DTLS_METHOD) for _ in range(2)]
        certificate.configure_cert(contexts[0])
        authority.configure_trust(contexts[1])
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            server, client = (
                trio.DTLSEndpoint(socket.socket(type=socket.SOCK_DGRAM))
                for _ in range(2)
            )
            with server, client:
                await server.socket.bind(("127.0.0.1", 0))
                async with trio.open_nursery() as nursery:
                    nursery.start_soon(server.serve, contexts[0], echo)
                    address = server.socket.getsockname()
                    channel = client.connect(address, contexts[1])
                    with trio.fail_after(2):
                        await channel.do_handshake()
                        await channel.send(b"x")
                        assert await channel.receive() == b"x"
                    await channel.aclose()
                    nursery.cancel_scope.cancel()

    async def echo(channel: trio.DTLSChannel) -> None:
        async for packet in channel:
            await channel.send(packet)
