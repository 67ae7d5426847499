"""SSLListener, and the helpers that put TLS on TCP."""

import contextlib
import socket as stdlib_socket
import ssl

import pytest
from _sockets import in_run
from _tls import CLIENT, NAME, SERVER, close

import trio_c as trio
from trio_c.testing import wait_all_tasks_blocked


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
