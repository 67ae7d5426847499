"""The ASGI application that httpx_hypercorn.py serves, in hypercorn's workers."""

from __future__ import annotations

import json
import os

import trio
import which_trio

started = {"lifespan": 0}


async def app(scope: dict, receive, send) -> None:
    match scope["type"], scope.get("path"):
        case "lifespan", _:
            await lifespan(receive, send)
        case "http", "/who":
            scope_version = scope["http_version"]
            answer = {
                "facts": which_trio.facts(),
                "process": os.getpid(),
                "http": scope_version,
                "lifespan": started["lifespan"],
                "task": trio.lowlevel.current_task().name,
            }
            await respond(send, json.dumps(answer).encode())
        case "http", "/echo":
            body = b""
            while (event := await receive())["type"] == "http.request":
                body += event["body"]
                if not event["more_body"]:
                    break
            await respond(send, body)
        case "http", "/stream":
            await stream(send)
        case "http", "/never":
            await trio.sleep_forever()
        case "http", _:
            await respond(send, b"", status=404)
        case _:
            raise NotImplementedError(scope["type"])


async def lifespan(receive, send) -> None:
    assert (await receive())["type"] == "lifespan.startup"
    started["lifespan"] += 1
    await send({"type": "lifespan.startup.complete"})
    assert (await receive())["type"] == "lifespan.shutdown"
    await send({"type": "lifespan.shutdown.complete"})


async def respond(send, body: bytes, status: int = 200) -> None:
    headers = [(b"content-length", str(len(body)).encode())]
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": body})


async def stream(send) -> None:
    """Ten parts, made by one task and sent by another."""
    parts, queue = trio.open_memory_channel[bytes](0)

    async def produce() -> None:
        async with parts:
            for number in range(10):
                await trio.sleep(0.001)
                await parts.send(b"%d;" % number)

    await send({"type": "http.response.start", "status": 200, "headers": []})
    async with trio.open_nursery() as nursery:
        nursery.start_soon(produce)
        async for part in queue:
            await send({"type": "http.response.body", "body": part, "more_body": True})
    await send({"type": "http.response.body", "body": b""})
