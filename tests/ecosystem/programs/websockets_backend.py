"""The trio backend of websockets: server and client, plain and over TLS."""

from __future__ import annotations

import logging
import ssl
from functools import partial
from http import HTTPStatus

import which_trio

which_trio.check()

import pytest  # noqa: E402
import trio  # noqa: E402
import trustme  # noqa: E402
from websockets.exceptions import (  # noqa: E402
    ConnectionClosedError,
    ConnectionClosedOK,
    InvalidStatus,
)
from websockets.http11 import Request, Response  # noqa: E402
from websockets.trio.client import connect  # noqa: E402
from websockets.trio.server import (  # noqa: E402
    Server,
    ServerConnection,
    broadcast,
    serve,
)

# A handler that fails, as one here has to, is otherwise logged.
logging.getLogger("websockets").setLevel(logging.CRITICAL)


async def handler(connection: ServerConnection) -> None:
    match connection.request.path:
        case "/close":
            await connection.aclose(4321, "enough")
        case "/crash":
            raise LookupError("in the handler")
        case "/listen":
            await connection.wait_closed()
        case _:
            async for message in connection:
                await connection.send(message[::-1])


def process_request(connection: ServerConnection, request: Request) -> Response | None:
    if request.path == "/reject":
        return connection.respond(HTTPStatus.FORBIDDEN, "not you")
    return None


async def echoes(url: str, trust: ssl.SSLContext | None) -> None:
    async with connect(url + "/echo", ssl=trust) as connection:
        for message in ("text", "snow \N{SNOWMAN}", b"\x00\xff", b"x" * 300_000, ""):
            await connection.send(message)
            assert await connection.recv() == message[::-1]
        # In fragments, both ways.
        await connection.send(["ab", "cd", "ef"])
        parts = [part async for part in connection.recv_streaming()]
        assert "".join(parts) == "fedcba"
        pong = await connection.ping()
        await pong.wait()
        with pytest.raises(trio.TooSlowError), trio.fail_after(0.02):
            await connection.recv()
        await connection.send("still there")
        assert await connection.recv() == "ereht llits"
    with pytest.raises(ConnectionClosedOK):
        await connection.recv()


async def closing(url: str, trust: ssl.SSLContext | None) -> None:
    async with connect(url + "/close", ssl=trust) as connection:
        with pytest.raises(ConnectionClosedError) as caught:
            await connection.recv()
        assert (caught.value.rcvd.code, caught.value.rcvd.reason) == (4321, "enough")
    async with connect(url + "/crash", ssl=trust) as connection:
        with pytest.raises(ConnectionClosedError) as caught:
            await connection.recv()
        assert caught.value.rcvd.code == 1011
    with pytest.raises(InvalidStatus) as refused:
        async with connect(url + "/reject", ssl=trust):
            pass
    assert refused.value.response.status_code == 403


async def crowd(url: str, trust: ssl.SSLContext | None, server: Server) -> None:
    heard: list[str] = []
    ready = 0

    async def listen() -> None:
        nonlocal ready
        async with connect(url + "/listen", ssl=trust) as connection:
            ready += 1
            heard.append(await connection.recv())

    async def chat(number: int) -> None:
        async with connect(url + "/echo", ssl=trust) as connection:
            for turn in range(20):
                await connection.send(f"{number}.{turn}")
                assert await connection.recv() == f"{number}.{turn}"[::-1]

    async with trio.open_nursery() as nursery:
        for number in range(10):
            nursery.start_soon(listen)
            nursery.start_soon(chat, number)
        while ready < 10:
            await trio.sleep(0.001)
        listening = {c for c in server.connections if c.request.path == "/listen"}
        assert len(listening) == 10
        await broadcast(listening, "to all")
    assert heard == ["to all"] * 10


async def main() -> None:
    authority = trustme.CA()
    server_side = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    authority.issue_cert("localhost").configure_cert(server_side)
    trust = ssl.create_default_context()
    authority.configure_trust(trust)

    with trio.fail_after(60):
        for server_context, client_context in ((None, None), (server_side, trust)):
            async with trio.open_nursery() as nursery:
                start = partial(
                    serve,
                    handler,
                    0,
                    host="localhost",
                    ssl=server_context,
                    process_request=process_request,
                    compression=None if server_context else "deflate",
                )
                server = await nursery.start(start)
                assert isinstance(server, Server)
                port = server.listeners[0].socket.getsockname()[1]
                scheme = "ws" if server_context is None else "wss"
                url = f"{scheme}://localhost:{port}"
                await echoes(url, client_context)
                await closing(url, client_context)
                await crowd(url, client_context, server)
                # An open connection is told when the server goes.
                async with connect(url + "/echo", ssl=client_context) as connection:
                    await server.aclose()
                    with pytest.raises(ConnectionClosedOK) as caught:
                        await connection.recv()
                    assert caught.value.rcvd.code == 1001


trio.run(main)
