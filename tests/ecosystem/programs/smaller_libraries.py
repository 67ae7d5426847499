"""Smaller libraries, together: what they do with trio's objects, and each other."""

from __future__ import annotations

import os

import which_trio

which_trio.check()

import aioresult  # noqa: E402
import greenback  # noqa: E402
import pytest  # noqa: E402
import sniffio  # noqa: E402
import tenacity  # noqa: E402
import tricycle  # noqa: E402
import trio  # noqa: E402
import trio.testing  # noqa: E402
import trio_parallel  # noqa: E402
import trio_util  # noqa: E402
from starlette.applications import Starlette  # noqa: E402
from starlette.concurrency import run_in_threadpool  # noqa: E402
from starlette.requests import Request  # noqa: E402
from starlette.responses import JSONResponse  # noqa: E402
from starlette.routing import Route  # noqa: E402


async def with_aioresult() -> None:
    async def square(number: int) -> int:
        await trio.sleep(0)
        return number * number

    async def fail() -> None:
        await trio.sleep(0)
        raise KeyError("result")

    async def start_up(*, task_status: trio.TaskStatus[str]) -> int:
        task_status.started("up")
        await trio.sleep(0)
        return 1

    async with trio.open_nursery() as nursery:
        results = [
            aioresult.ResultCapture.start_soon(nursery, square, number)
            for number in range(10)
        ]
        both = aioresult.ResultCapture.capture_start_and_done_results
        started, ended = both(nursery, start_up)
        await aioresult.wait_all(results)
        await aioresult.wait_any([ended])
    assert [one.result() for one in results] == [n * n for n in range(10)]
    assert (started.result(), ended.result()) == ("up", 1)

    future: aioresult.Future[str] = aioresult.Future()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(future.wait_done)
        await trio.testing.wait_all_tasks_blocked()
        future.set_result("done")
    assert future.result() == "done"

    with pytest.RaisesGroup(KeyError):
        async with trio.open_nursery() as nursery:
            failed = aioresult.ResultCapture.start_soon(nursery, fail)
    with pytest.raises(aioresult.TaskFailedException):
        failed.result()


async def with_greenback() -> None:
    def deep_inside(depth: int) -> str:
        if depth:
            return deep_inside(depth - 1)
        with greenback.async_context(trio.open_nursery()) as nursery:
            nursery.start_soon(trio.sleep, 0)
        greenback.await_(trio.sleep(0))
        return sniffio.current_async_library()

    async def in_a_child() -> None:
        assert deep_inside(3) == "trio"

    await greenback.ensure_portal()
    assert deep_inside(20) == "trio"
    with trio.move_on_after(0.01) as scope:
        greenback.await_(trio.sleep_forever())
    assert scope.cancelled_caught
    await greenback.with_portal_run_tree(in_a_child)
    with pytest.raises(OSError):
        greenback.await_(trio.open_file("/nowhere/at/all"))


async def with_tricycle() -> None:
    lock = tricycle.RWLock()
    order = []

    async def read() -> None:
        async with lock.read_locked():
            order.append("read")
            await trio.sleep(0)

    async def write() -> None:
        async with lock.write_locked():
            order.append("write")

    async with trio.open_nursery() as nursery:
        async with lock.read_locked():
            nursery.start_soon(read)
            await trio.testing.wait_all_tasks_blocked()
            nursery.start_soon(write)
            await trio.testing.wait_all_tasks_blocked()
    assert order == ["read", "write"]

    # Its tasks outlive the body: they are cancelled after it has ended.
    async def serve() -> None:
        try:
            await trio.sleep_forever()
        finally:
            order.append("served")

    with trio.CancelScope() as scope:
        async with tricycle.open_service_nursery() as service:
            service.start_soon(serve)
            await trio.testing.wait_all_tasks_blocked()
            scope.cancel()
            with trio.CancelScope(shield=True):
                await trio.sleep(0)
            assert "served" not in order
    assert order[-1] == "served"

    one, other = trio.testing.memory_stream_pair()
    text = tricycle.TextReceiveStream(other, newline=None)
    await one.send_all("snow \N{SNOWMAN}\r\nrain".encode())
    await one.send_eof()
    assert "".join([part async for part in text]) == "snow \N{SNOWMAN}\nrain"


async def with_trio_util() -> None:
    value = trio_util.AsyncValue(0)
    seen = []

    async def watch() -> None:
        seen.append(await value.wait_value(lambda v: v > 2))
        seen.append(await value.wait_transition())

    async with trio.open_nursery() as nursery:
        nursery.start_soon(watch)
        for number in (1, 3, 4):
            await trio.testing.wait_all_tasks_blocked()
            value.value = number
    assert seen == [3, (4, 3)]

    flag = trio_util.AsyncBool()
    async with trio_util.move_on_when(flag.wait_value, True) as scope:
        flag.value = True
        await trio.sleep_forever()
    assert scope.cancelled_caught
    assert [n async for n, _ in numbered(trio_util.periodic(0.001))] == [0, 1, 2]


async def numbered(source):
    number = 0
    async for item in source:
        yield number, item
        number += 1
        if number == 3:
            return


async def with_trio_parallel() -> None:
    results = {}

    async def call(text: str) -> None:
        results[text] = await trio_parallel.run_sync(text.upper)

    async with trio.open_nursery() as nursery:
        for text in ("a", "b", "c"):
            nursery.start_soon(call, text)
    assert results == {"a": "A", "b": "B", "c": "C"}
    with pytest.raises(ZeroDivisionError):
        await trio_parallel.run_sync(divmod, 1, 0)
    assert await trio_parallel.run_sync(os.getpid) != os.getpid()
    # The other process has the right trio when it asks for it.
    facts = await trio_parallel.run_sync(which_trio.facts)
    assert facts == which_trio.expected(), facts


async def with_tenacity() -> None:
    tries = []

    @tenacity.retry(
        stop=tenacity.stop_after_attempt(3), wait=tenacity.wait_fixed(0.001)
    )
    async def twice_in_vain() -> str:
        tries.append(trio.current_time())
        if len(tries) < 3:
            raise OSError
        return "in the end"

    assert await twice_in_vain() == "in the end"
    assert len(tries) == 3 and tries == sorted(tries)


def with_starlette() -> None:
    """Its test client runs the application in a thread, through anyio."""
    from starlette.testclient import TestClient

    async def answer(request: Request) -> JSONResponse:
        body = await request.body()
        return JSONResponse(
            {
                "library": sniffio.current_async_library(),
                "sum": await run_in_threadpool(sum, body),
                "task": type(trio.lowlevel.current_task()).__module__,
            }
        )

    routes = [Route("/", answer, methods=["POST"])]
    with TestClient(Starlette(routes=routes), backend="trio") as client:
        for body in (b"", b"\x01\x02", bytes(range(256)) * 100):
            response = client.post("/", content=body)
            assert response.json() == {
                "library": "trio",
                "sum": sum(body),
                "task": "trio.lowlevel",
            }


async def main() -> None:
    with trio.fail_after(60):
        for part in (
            with_aioresult,
            with_greenback,
            with_tricycle,
            with_trio_util,
            with_trio_parallel,
            with_tenacity,
        ):
            await part()


if __name__ == "__main__":  # the processes of trio-parallel import this file
    trio.run(main)
    with_starlette()
