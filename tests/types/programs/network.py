"""Sockets, streams, listeners, TLS."""

from __future__ import annotations

import socket as stdlib_socket
import ssl
from collections.abc import Callable
from typing import Any, assert_type

import trio


async def sockets(sock: trio.socket.SocketType) -> None:
    assert_type(trio.socket.socket(), trio.socket.SocketType)
    trio.socket.socket(trio.socket.AF_INET6, trio.socket.SOCK_DGRAM, 0)
    trio.socket.socket(family=2, type=1, proto=0, fileno=3)
    assert_type(
        trio.socket.socketpair(),
        tuple[trio.socket.SocketType, trio.socket.SocketType],
    )
    assert_type(
        trio.socket.from_stdlib_socket(stdlib_socket.socket()),
        trio.socket.SocketType,
    )
    assert_type(trio.socket.fromfd(3), trio.socket.SocketType)
    assert_type(sock.fileno(), int)
    assert_type(sock.detach(), int)
    assert_type(sock.getpeername(), Any)
    assert_type(sock.getsockname(), Any)
    assert_type(sock.getsockopt(1, 2), int)
    assert_type(sock.getsockopt(1, 2, 3), bytes)
    assert_type(sock.setsockopt(1, 2, b""), None)
    sock.setsockopt(1, 2, 3)
    sock.setsockopt(1, 2, None, 4)
    assert_type(sock.listen(), None)
    assert_type(sock.family, stdlib_socket.AddressFamily)
    assert_type(sock.type, stdlib_socket.SocketKind)
    assert_type(sock.proto, int)
    assert_type(sock.did_shutdown_SHUT_WR, bool)
    assert_type(sock.dup(), trio.socket.SocketType)
    assert_type(sock.close(), None)
    assert_type(sock.shutdown(trio.socket.SHUT_WR), None)
    assert_type(sock.is_readable(), bool)
    assert_type(await sock.wait_writable(), None)
    assert_type(await sock.bind(("", 0)), None)
    connection, address = await sock.accept()
    assert_type(connection, trio.socket.SocketType)
    assert_type(address, Any)
    assert_type(await sock.connect(("", 0)), None)
    assert_type(await sock.recv(1), bytes)
    assert_type(await sock.recv(1, trio.socket.MSG_PEEK), bytes)
    assert_type(await sock.recv_into(bytearray(1)), int)
    await sock.recv_into(memoryview(bytearray(1)), nbytes=1, flags=0)
    assert_type(await sock.recvfrom(1), tuple[bytes, Any])
    assert_type(await sock.recvfrom_into(bytearray(1)), tuple[int, Any])
    data, ancillary, flags, sender = await sock.recvmsg(1, 2, 3)
    assert_type(data, bytes)
    assert_type(ancillary, list[tuple[int, int, bytes]])
    assert_type(flags, int)
    assert_type(sender, object)
    assert_type(await sock.send(b"x"), int)
    assert_type(await sock.send(memoryview(b"x"), 0), int)
    assert_type(await sock.sendto(b"x", ("", 0)), int)
    assert_type(await sock.sendto(bytearray(1), 0, "path"), int)
    assert_type(await sock.sendmsg([b"x"]), int)
    await sock.sendmsg([b"x"], [(1, 2, b"")], 0, ("", 0))
    with sock as same:
        assert_type(same, trio.socket.SocketType)


async def names() -> None:
    for family, kind, proto, name, address in await trio.socket.getaddrinfo(
        "host", 80, type=trio.socket.SOCK_STREAM
    ):
        assert_type(family, stdlib_socket.AddressFamily)
        assert_type(kind, stdlib_socket.SocketKind)
        assert_type(proto, int)
        assert_type(name, str)
        assert_type(
            address,
            tuple[str, int] | tuple[str, int, int, int] | tuple[int, bytes],
        )
    assert_type(await trio.socket.getnameinfo(("127.0.0.1", 80), 0), tuple[str, str])
    assert_type(await trio.socket.getprotobyname("tcp"), int)
    try:
        await trio.socket.getaddrinfo(b"host", "http")
    except trio.socket.gaierror as exc:
        assert_type(exc, stdlib_socket.gaierror)
    assert_type(trio.socket.inet_aton("127.0.0.1"), bytes)
    assert_type(trio.socket.htons(1), int)
    inet: stdlib_socket.AddressFamily = trio.socket.AF_INET
    del inet
    assert_type(trio.socket.SOMAXCONN, int)
    assert_type(trio.socket.IP_BIND_ADDRESS_NO_PORT, int)
    old = trio.socket.set_custom_hostname_resolver(None)
    assert_type(old, trio.abc.HostnameResolver | None)
    factory = trio.socket.set_custom_socket_factory(None)
    assert_type(factory, trio.abc.SocketFactory | None)


async def streams(stream: trio.SocketStream) -> None:
    stream = await trio.open_tcp_stream("host", 80)
    stream = await trio.open_tcp_stream(
        b"host", 80, happy_eyeballs_delay=None, local_address="::1"
    )
    stream = await trio.open_unix_socket("/path")
    stream = trio.SocketStream(trio.socket.socket())
    assert_type(stream.socket, trio.socket.SocketType)
    assert_type(await stream.send_all(b""), None)
    await stream.send_all(bytearray())
    await stream.send_all(memoryview(b""))
    assert_type(await stream.receive_some(), bytes)
    assert_type(await stream.receive_some(10), bytes)
    assert_type(await stream.receive_some(max_bytes=None), bytes)
    assert_type(await stream.wait_send_all_might_not_block(), None)
    assert_type(await stream.send_eof(), None)
    assert_type(await stream.aclose(), None)
    assert_type(stream.getsockopt(1, 2), int)
    assert_type(stream.getsockopt(1, 2, 3), bytes)
    assert_type(stream.setsockopt(1, 2, 3), None)
    stream.setsockopt(1, 2, None, 4)
    async with stream as same:
        assert_type(same, trio.SocketStream)
        async for chunk in same:
            assert_type(chunk, bytes | bytearray)
    await trio.aclose_forcefully(stream)


async def listeners(nursery: trio.Nursery) -> None:
    tcp = await trio.open_tcp_listeners(0)
    assert_type(tcp, list[trio.SocketListener])
    await trio.open_tcp_listeners(0, host=b"host", backlog=None)
    listener = trio.SocketListener(trio.socket.socket())
    assert_type(listener.socket, trio.socket.SocketType)
    assert_type(await listener.accept(), trio.SocketStream)
    assert_type(await listener.aclose(), None)
    abstract: trio.abc.Listener[trio.SocketStream] = listener
    more_abstract: trio.abc.Listener[trio.abc.Stream] = listener
    del abstract, more_abstract
    await trio.serve_tcp(streams, 80)
    await nursery.start(trio.serve_tcp, streams, 80)
    await trio.serve_tcp(streams, 80, host="", handler_nursery=nursery)


async def serving(listeners: list[trio.SocketListener]) -> None:
    await trio.serve_listeners(streams, listeners)


async def serving_does_not_return(listeners: list[trio.SocketListener]) -> int:
    await trio.serve_listeners(streams, listeners)


async def staples(send: trio.abc.SendStream, stream: trio.SocketStream) -> None:
    stapled = trio.StapledStream(send, stream)
    assert_type(stapled, trio.StapledStream[trio.abc.SendStream, trio.SocketStream])
    assert_type(stapled.send_stream, trio.abc.SendStream)
    assert_type(stapled.receive_stream, trio.SocketStream)
    assert_type(await stapled.receive_some(), bytes | bytearray)
    stapled = trio.StapledStream(send_stream=send, receive_stream=stream)
    half_closeable: trio.abc.HalfCloseableStream = stapled
    del half_closeable


async def tls(
    context: ssl.SSLContext, tcp: trio.SocketStream, nursery: trio.Nursery
) -> None:
    stream = trio.SSLStream(tcp, context)
    assert_type(stream, trio.SSLStream[trio.SocketStream])
    assert_type(stream.transport_stream, trio.SocketStream)
    stream = trio.SSLStream(
        tcp,
        context,
        server_hostname="host",
        server_side=False,
        https_compatible=True,
    )
    assert_type(await stream.do_handshake(), None)
    assert_type(await stream.receive_some(), bytes | bytearray)
    assert_type(await stream.send_all(b""), None)
    assert_type(await stream.unwrap(), tuple[trio.abc.Stream, bytes | bytearray])
    assert_type(await stream.wait_send_all_might_not_block(), None)
    assert_type(stream.context, Any)
    assert_type(stream.getpeercert(binary_form=True), Any)
    stream.context = context
    layered: trio.SSLStream[trio.SSLStream[trio.SocketStream]]
    layered = trio.SSLStream(stream, context)
    assert_type(layered.transport_stream, trio.SSLStream[trio.SocketStream])
    [tcp_listener, *_] = await trio.open_tcp_listeners(0)
    listener = trio.SSLListener(tcp_listener, context, https_compatible=True)
    assert_type(listener, trio.SSLListener[trio.SocketStream])
    assert_type(await listener.accept(), trio.SSLStream[trio.SocketStream])
    assert_type(listener.transport_listener, trio.abc.Listener[trio.SocketStream])
    assert_type(
        await trio.open_ssl_over_tcp_stream("host", 443, ssl_context=context),
        trio.SSLStream[trio.SocketStream],
    )
    assert_type(
        await trio.open_ssl_over_tcp_listeners(443, context, host=None),
        list[trio.SSLListener[trio.SocketStream]],
    )
    handler: Callable[[trio.SSLStream[trio.SocketStream]], Any] = tls_handler
    await nursery.start(trio.serve_ssl_over_tcp, handler, 443, context)
    error: Exception = trio.NeedHandshakeError()
    raise error


async def tls_handler(stream: trio.SSLStream[trio.SocketStream]) -> None: ...


async def dtls(sock: trio.socket.SocketType, context: Any) -> None:
    endpoint = trio.DTLSEndpoint(sock, incoming_packets_buffer=3)
    assert_type(endpoint.socket, trio.socket.SocketType)
    assert_type(endpoint.incoming_packets_buffer, int)
    channel = endpoint.connect(("host", 1), context)
    assert_type(channel, trio.DTLSChannel)
    assert_type(channel.endpoint, trio.DTLSEndpoint)
    assert_type(channel.peer_address, Any)
    assert_type(await channel.do_handshake(), None)
    await channel.do_handshake(initial_retransmit_timeout=1.5)
    assert_type(await channel.send(b""), None)
    assert_type(await channel.receive(), bytes)
    assert_type(channel.close(), None)
    assert_type(channel.set_ciphertext_mtu(1), None)
    assert_type(channel.get_cleartext_mtu(), int)
    assert_type(channel.statistics(), trio.DTLSChannelStatistics)
    assert_type(channel.statistics().incoming_packets_dropped_in_trio, int)
    async with channel as same:
        assert_type(same, trio.DTLSChannel)
        async for packet in same:
            assert_type(packet, bytes)
    with endpoint as same_endpoint:
        assert_type(same_endpoint, trio.DTLSEndpoint)
    assert_type(endpoint.close(), None)
    assert_type(await endpoint.serve(context, dtls_handler, 3), None)
    abstract: trio.abc.Channel[bytes] = channel
    del abstract


async def dtls_handler(channel: trio.DTLSChannel, number: int) -> None: ...
