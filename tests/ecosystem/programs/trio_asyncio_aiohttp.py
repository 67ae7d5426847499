"""trio-asyncio: aiohttp, which knows asyncio only, and asyncio's own streams."""

from __future__ import annotations

import asyncio
import contextvars
import ssl
import sys

import which_trio

which_trio.check()

import pytest  # noqa: E402
import sniffio  # noqa: E402
import trio  # noqa: E402
import trio_asyncio  # noqa: E402
import trustme  # noqa: E402
from aiohttp import (  # noqa: E402
    ClientSession,
    ClientTimeout,
    TCPConnector,
    WSMsgType,
    web,
)
from trio_asyncio import aio_as_trio, trio_as_aio  # noqa: E402

variable: contextvars.ContextVar[str] = contextvars.ContextVar("variable")


async def hello(request: web.Request) -> web.Response:
    assert sniffio.current_async_library() == "asyncio"
    # Out of asyncio and into trio, in the middle of a request.
    name = await trio_as_aio(shout)(request.match_info["name"])
    return web.json_response({"hello": name})


async def shout(name: str) -> str:
    assert sniffio.current_async_library() == "trio"
    await trio.sleep(0)
    return name.upper()


async def slow(request: web.Request) -> web.Response:
    await asyncio.sleep(60)
    return web.Response()


async def upload(request: web.Request) -> web.StreamResponse:
    response = web.StreamResponse()
    await response.prepare(request)
    async for chunk in request.content.iter_chunked(10_000):
        await response.write(chunk)
    await response.write_eof()
    return response


async def talk(request: web.Request) -> web.WebSocketResponse:
    connection = web.WebSocketResponse()
    await connection.prepare(request)
    async for message in connection:
        await connection.send_str(message.data[::-1])
    return connection


def application() -> web.Application:
    app = web.Application()
    app.router.add_get("/hello/{name}", hello)
    app.router.add_get("/slow", slow)
    app.router.add_post("/upload", upload)
    app.router.add_get("/talk", talk)
    return app


@aio_as_trio
async def serve(context: ssl.SSLContext | None) -> tuple[web.AppRunner, int]:
    runner = web.AppRunner(application(), shutdown_timeout=1)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0, ssl_context=context)
    await site.start()
    return runner, runner.addresses[0][1]


@aio_as_trio
async def use(url: str, trust: ssl.SSLContext | bool) -> None:
    async with ClientSession(url, connector=TCPConnector(ssl=trust)) as session:

        async def ask(name: str) -> str:
            async with session.get(f"/hello/{name}") as response:
                assert response.status == 200
                return (await response.json())["hello"]

        names = [f"name{number}" for number in range(50)]
        answers = await asyncio.gather(*map(ask, names))
        assert answers == [name.upper() for name in names]

        body = bytes(range(256)) * 2000
        async with session.post("/upload", data=body) as response:
            assert await response.read() == body

        with pytest.raises(asyncio.TimeoutError):
            await session.get("/slow", timeout=ClientTimeout(total=0.05))

        async with session.ws_connect("/talk") as connection:
            for word in ("abc", "snow \N{SNOWMAN}"):
                await connection.send_str(word)
                message = await connection.receive()
                assert (message.type, message.data) == (WSMsgType.TEXT, word[::-1])


async def through_aiohttp() -> None:
    authority = trustme.CA()
    server_side = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    authority.issue_cert("127.0.0.1").configure_cert(server_side)
    trust = ssl.create_default_context()
    authority.configure_trust(trust)
    for scheme, server_context, client_context in (
        ("http", None, True),
        ("https", server_side, trust),
    ):
        runner, port = await serve(server_context)
        await use(f"{scheme}://127.0.0.1:{port}", client_context)
        await aio_as_trio(runner.cleanup)()


async def through_streams() -> None:
    async def answer(
        reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> None:
        while line := await reader.readline():
            writer.write(line.swapcase())
            await writer.drain()
        writer.close()

    @aio_as_trio
    async def exchange(port: int, number: int) -> None:
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        for turn in range(20):
            writer.write(b"Client %d Turn %d\n" % (number, turn))
            expected = b"cLIENT %d tURN %d\n" % (number, turn)
            assert await reader.readline() == expected
        writer.write_eof()
        assert await reader.read() == b""
        writer.close()
        await writer.wait_closed()

    server = await aio_as_trio(asyncio.start_server)(answer, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    # Trio's tasks, each of which goes through asyncio.
    async with trio.open_nursery() as nursery:
        for number in range(20):
            nursery.start_soon(exchange, port, number)
    server.close()
    await aio_as_trio(server.wait_closed)()


async def across() -> None:
    """Errors, cancellation and context variables on their way over and back."""
    variable.set("outside")

    async def fail() -> None:
        raise KeyError("asyncio")

    with pytest.raises(KeyError, match="asyncio"):
        await aio_as_trio(fail)()

    # A timeout of trio's cancels what asyncio waits for.
    cancelled = []

    async def wait() -> None:
        try:
            await asyncio.sleep(60)
        except asyncio.CancelledError:
            cancelled.append(variable.get())
            raise

    with trio.move_on_after(0.02) as scope:
        await aio_as_trio(wait)()
    assert scope.cancelled_caught and cancelled == ["outside"]

    # A task of asyncio's that is cancelled cancels what trio waits for.
    async def hold() -> None:
        try:
            await trio.sleep_forever()
        except trio.Cancelled:
            cancelled.append("trio")
            raise

    async def start_and_cancel() -> None:
        task = asyncio.ensure_future(trio_as_aio(hold)())
        await asyncio.sleep(0.01)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task

    await aio_as_trio(start_and_cancel)()
    assert cancelled == ["outside", "trio"]

    # Asynchronous generators and context managers.
    async def count():
        for number in range(3):
            await asyncio.sleep(0)
            yield number

    assert [number async for number in aio_as_trio(count())] == [0, 1, 2]

    @aio_as_trio
    async def in_executor() -> int:
        loop = asyncio.get_running_loop()
        first = loop.time()
        assert await loop.run_in_executor(None, sum, range(100)) == 4950
        process = await asyncio.create_subprocess_exec(
            sys.executable, "-c", "print(6 * 7)", stdout=asyncio.subprocess.PIPE
        )
        output, _ = await process.communicate()
        assert process.returncode == 0
        assert loop.time() >= first
        return int(output)

    assert await in_executor() == 42


async def main() -> None:
    with trio.fail_after(60):
        async with trio_asyncio.open_loop() as loop:
            assert loop is not None
            await through_aiohttp()
            await through_streams()
            await across()


trio.run(main)

# The other way in: asyncio's own style, from trio_asyncio's entry point.
assert trio_asyncio.run(aio_as_trio(asyncio.sleep), 0, "slept") == "slept"
