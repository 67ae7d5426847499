"""trio-websocket: server and client, plain and over TLS."""

from __future__ import annotations

import ssl
from functools import partial

import which_trio

which_trio.check()

import pytest  # noqa: E402
import trio  # noqa: E402
import trustme  # noqa: E402
from trio_websocket import (  # noqa: E402
    ConnectionClosed,
    ConnectionRejected,
    WebSocketConnection,
    WebSocketRequest,
    connect_websocket,
    open_websocket,
    open_websocket_url,
    serve_websocket,
)


async def handler(request: WebSocketRequest) -> None:
    """The server's side; what it does depends on the path."""
    if request.path == "/reject":
        await request.reject(403, body=b"not you")
        return
    chosen = "two" if "two" in request.proposed_subprotocols else None
    connection = await request.accept(
        subprotocol=chosen, extra_headers=[(b"x-kind", b"test")]
    )
    if request.path == "/close":
        await connection.aclose(4321, "enough of this")
        return
    try:
        while True:
            message = await connection.get_message()
            await connection.send_message(message[::-1])
    except ConnectionClosed as error:
        closings.append((error.reason.code, error.reason.reason))


closings: list[tuple[int, str | None]] = []


async def messages(url: str, trust: ssl.SSLContext | None) -> None:
    open_it = partial(open_websocket_url, url + "/echo", ssl_context=trust)
    async with open_it(subprotocols=["one", "two"]) as connection:
        assert connection.subprotocol == "two"
        assert (b"x-kind", b"test") in connection.handshake_headers
        for message in ("", "text", "snow: \N{SNOWMAN}", b"\x00\xff", b"x" * 300_000):
            await connection.send_message(message)
            assert await connection.get_message() == message[::-1]
        await connection.ping(b"mine")
        async with trio.open_nursery() as nursery:
            for number in range(20):
                nursery.start_soon(connection.ping, b"%d" % number)
        with pytest.raises(ValueError):
            await connection.send_message(1234)
        # Several tasks wait for messages of one connection.
        got = []

        async def receive() -> None:
            got.append(await connection.get_message())

        async with trio.open_nursery() as nursery:
            for number in range(10):
                nursery.start_soon(receive)
                nursery.start_soon(connection.send_message, f"<{number}>")
        assert sorted(got) == sorted(f">{number}<" for number in range(10))
    assert connection.closed.code == 1000
    with pytest.raises(ConnectionClosed):
        await connection.send_message("too late")
    with pytest.raises(ConnectionClosed):
        await connection.get_message()


async def close_codes(url: str, trust: ssl.SSLContext | None) -> None:
    async with open_websocket_url(url + "/close", ssl_context=trust) as connection:
        with pytest.raises(ConnectionClosed) as caught:
            await connection.get_message()
        reason = caught.value.reason
        assert (reason.code, reason.reason) == (4321, "enough of this")

    closings.clear()
    async with open_websocket_url(url + "/echo", ssl_context=trust) as connection:
        await connection.aclose(4000, "for a reason")
    while not closings:
        await trio.sleep(0.001)
    assert closings == [(4000, "for a reason")]


async def refusals(url: str, trust: ssl.SSLContext | None) -> None:
    with pytest.raises(ConnectionRejected) as caught:
        async with open_websocket_url(url + "/reject", ssl_context=trust):
            pass
    assert (caught.value.status_code, caught.value.body) == (403, b"not you")

    with trio.CancelScope() as scope:
        async with open_websocket_url(url + "/echo", ssl_context=trust) as connection:
            scope.deadline = trio.current_time() + 0.01
            await connection.get_message()
    assert scope.cancelled_caught and connection.closed is not None


async def many(url: str, trust: ssl.SSLContext | None) -> None:
    done = 0

    async def client(number: int) -> None:
        nonlocal done
        async with open_websocket_url(url + "/echo", ssl_context=trust) as connection:
            for turn in range(20):
                message = f"{number} {turn} " * 50
                await connection.send_message(message)
                assert await connection.get_message() == message[::-1]
        done += 1

    async with trio.open_nursery() as nursery:
        for number in range(25):
            nursery.start_soon(client, number)
    assert done == 25


async def lower_level(port: int) -> None:
    """The connection's tasks live in a nursery of the caller."""
    async with trio.open_nursery() as nursery:
        connection = await connect_websocket(
            nursery, "127.0.0.1", port, "/echo", use_ssl=False
        )
        assert isinstance(connection, WebSocketConnection)
        await connection.send_message("abc")
        assert await connection.get_message() == "cba"
        await connection.aclose()
    async with open_websocket(
        "127.0.0.1", port, "/echo", use_ssl=False, max_message_size=100
    ) as connection:
        await connection.send_message("x" * 200)
        with pytest.raises(ConnectionClosed) as caught:
            await connection.get_message()
        assert caught.value.reason.code == 1009


async def main() -> None:
    authority = trustme.CA()
    server_side = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    authority.issue_cert("localhost").configure_cert(server_side)
    trust = ssl.create_default_context()
    authority.configure_trust(trust)

    with trio.fail_after(60):
        for server_context, client_context in ((None, None), (server_side, trust)):
            async with trio.open_nursery() as nursery:
                start = partial(serve_websocket, ssl_context=server_context)
                server = await nursery.start(start, handler, "127.0.0.1", 0)
                scheme = "ws" if server_context is None else "wss"
                url = f"{scheme}://localhost:{server.port}"
                for part in (messages, close_codes, refusals, many):
                    await part(url, client_context)
                if server_context is None:
                    await lower_level(server.port)
                nursery.cancel_scope.cancel()


trio.run(main)
