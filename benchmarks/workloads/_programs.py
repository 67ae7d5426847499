"""The servers of programs.py: `python _programs.py CASE CONTESTANT` prints its port."""

from __future__ import annotations

import socket
import sys
from collections.abc import Awaitable, Callable
from typing import Any

ANSWER = b"x" * 100
NEWS = "x" * 64


def choose(contestant: str) -> None:
    """Before any library is imported: which Trio that is going to get."""
    if contestant == "trio_c":
        import trio_c

        trio_c.install()


def run(contestant: str, main: Callable[..., Awaitable[Any]], *args: Any) -> None:
    import anyio

    if contestant in ("trio_c", "trio"):
        anyio.run(main, *args, backend="trio")
    else:
        options = {"use_uvloop": contestant == "uvloop"}
        anyio.run(main, *args, backend="asyncio", backend_options=options)


# --- what is served


async def anyio_echo(contestant: str, listener: socket.socket) -> None:
    import anyio

    async def echo(stream: anyio.abc.SocketStream) -> None:
        async with stream:
            while True:
                try:
                    await stream.send(await stream.receive(65536))
                except (anyio.EndOfStream, anyio.BrokenResourceError):
                    return

    listener.close()
    server = await anyio.create_tcp_listener(local_host="127.0.0.1", local_port=0)
    announce(server.extra(anyio.abc.SocketAttribute.local_port))
    await server.serve(echo)


async def application(scope: Any, receive: Any, send: Any) -> None:
    """ASGI: the same short answer to every request."""
    if scope["type"] == "lifespan":
        while (message := await receive())["type"] != "lifespan.shutdown":
            await send({"type": message["type"] + ".complete"})
        await send({"type": "lifespan.shutdown.complete"})
        return
    while (await receive()).get("more_body"):
        pass
    headers = [(b"content-length", b"%d" % len(ANSWER))]
    await send({"type": "http.response.start", "status": 200, "headers": headers})
    await send({"type": "http.response.body", "body": ANSWER})


async def hypercorn(contestant: str, listener: socket.socket) -> None:
    from hypercorn.config import Config

    if contestant in ("trio_c", "trio"):
        from hypercorn.trio import serve
    else:
        from hypercorn.asyncio import serve
    config = Config()
    config.bind = [f"fd://{listener.fileno()}"]
    config.errorlog = None
    # Connections are not to be closed after so many requests.
    config.keep_alive_max_requests = 10**9
    announce(listener.getsockname()[1])
    await serve(application, config)


async def websocket_broadcast(contestant: str, listener: socket.socket) -> None:
    """Every message from anybody makes one to everybody."""
    import trio
    from trio_websocket import ConnectionClosed, serve_websocket

    connections: set[Any] = set()

    async def handle(request: Any) -> None:
        connection = await request.accept()
        connections.add(connection)
        try:
            while True:
                await connection.get_message()
                async with trio.open_nursery() as sends:
                    for each in connections:
                        sends.start_soon(each.send_message, NEWS)
        except* ConnectionClosed:
            connections.discard(connection)

    listener.close()
    async with trio.open_nursery() as nursery:
        server = await nursery.start(serve_websocket, handle, "127.0.0.1", 0, None)
        announce(server.port)


def announce(port: int) -> None:
    print(port, flush=True)


SERVERS = {
    "anyio-echo": anyio_echo,
    "http1": hypercorn,
    "http2": hypercorn,
    "websocket-broadcast": websocket_broadcast,
}


def main(case: str, contestant: str) -> None:
    choose(contestant)
    listener = socket.create_server(("127.0.0.1", 0), backlog=200)
    run(contestant, SERVERS[case], contestant, listener)


if __name__ == "__main__":
    main(*sys.argv[1:])
