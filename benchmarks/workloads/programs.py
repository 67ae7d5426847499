"""Programs of other people's libraries: requests and messages per second, and
what one costs the server and the client.

The libraries are the same for all; what runs below them is not: trio_c (by its
drop-in), trio, and where the library has a backend for it, asyncio or uvloop.
Server and client are processes of their own, on a CPU each, and both run on the
contestant; but for the anyio echo, whose client is the load generator in C.
"""

from __future__ import annotations

import contextlib
import importlib
import itertools
import os
import subprocess
import sys
import time
from collections.abc import Awaitable, Callable, Iterator
from typing import Any

import _cli
import _echo
import _programs
from _cli import CannotMeasure

TASKS = 10  # requests at a time
LISTENERS = 100  # of a broadcast

BOTH = ("trio_c", "trio")
ALL = (*BOTH, "asyncio", "uvloop")
CONTESTANTS = {
    "anyio-echo": ALL,
    "http1": ALL,
    "http2": ALL,
    "websocket-broadcast": BOTH,
}
NEEDS = {
    "anyio-echo": "anyio",
    "http1": "hypercorn",
    "http2": "hypercorn",
    "websocket-broadcast": "trio_websocket",
}


def listing() -> dict[str, dict[str, str | None]]:
    return {case: dict.fromkeys(names) for case, names in CONTESTANTS.items()}


# --- the other process


def cpu_time(pid: int) -> float:
    """Seconds of CPU that a process has taken so far (Linux: its CPU clock)."""
    return time.clock_gettime((~pid << 3) | 2)


@contextlib.contextmanager
def server(case: str, contestant: str) -> Iterator[tuple[int, int]]:
    """(port, process id) of one that ends with the block."""
    command = [sys.executable, _programs.__file__, case, contestant]
    with _echo.on_cpu(-1):
        process = subprocess.Popen(
            command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, text=True
        )
    try:
        line = process.stdout.readline()
        if not line:
            raise CannotMeasure("the server did not start")
        yield int(line), process.pid
    finally:
        process.kill()
        process.communicate()


class Meter:
    """Decides when a client is done, and what it has cost until then.

    Warm-up comes first. Each of the client's tasks ends when `over()` is true.
    """

    def __init__(self, pid: int, warm_up: float, seconds: float) -> None:
        self._pid = pid
        self._start = time.perf_counter() + warm_up
        self._seconds = seconds
        self._began: tuple[float, float, float] | None = None
        self._count = 0
        self.result: dict[str, float] = {}

    def _now(self) -> tuple[float, float, float]:
        return time.perf_counter(), time.process_time(), cpu_time(self._pid)

    def add(self, count: int = 1) -> None:
        if self.result:
            return
        if self._began is None:
            if time.perf_counter() >= self._start:
                self._began = self._now()
            return
        self._count += count
        if time.perf_counter() - self._began[0] < self._seconds:
            return
        wall, client, server = (
            now - then for now, then in zip(self._now(), self._began, strict=True)
        )
        self.result = {
            "rate": self._count / wall,
            "server_cpu_us": server / self._count * 1e6,
            "client_cpu_us": client / self._count * 1e6,
        }

    def over(self) -> bool:
        return bool(self.result)


# --- clients


def http_client(version: str) -> Callable[[int, Meter], Awaitable[None]]:
    async def main(port: int, meter: Meter) -> None:
        import anyio
        import httpx

        options = {"http1": version == "1", "http2": version == "2"}
        limits = httpx.Limits(max_connections=TASKS)
        url = f"http://127.0.0.1:{port}/"

        async def get() -> None:
            while not meter.over():
                response = await client.get(url)
                assert response.content == _programs.ANSWER
                meter.add()

        async with httpx.AsyncClient(
            **options, limits=limits, trust_env=False, timeout=30
        ) as client:
            response = await client.get(url)
            assert response.http_version.startswith(f"HTTP/{version}")
            async with anyio.create_task_group() as group:
                for _ in range(TASKS):
                    group.start_soon(get)

    return main


async def listen_to_broadcast(port: int, meter: Meter) -> None:
    """One of the listeners asks for the next message once all have got one."""
    import trio
    from trio_websocket import open_websocket_url

    heard = itertools.count(1)

    async def listen(number: int) -> None:
        async with open_websocket_url(f"ws://127.0.0.1:{port}/") as connection:
            connections[number] = connection
            if len(connections) == LISTENERS:
                await connections[0].send_message("next")
            while True:
                assert await connection.get_message() == _programs.NEWS
                if next(heard) % LISTENERS == 0:
                    meter.add(LISTENERS)
                    if meter.over():
                        nursery.cancel_scope.cancel()
                    await connections[0].send_message("next")

    connections: dict[int, Any] = {}
    async with trio.open_nursery() as nursery:
        for number in range(LISTENERS):
            nursery.start_soon(listen, number)


CLIENTS = {
    "http1": http_client("1"),
    "http2": http_client("2"),
    "websocket-broadcast": listen_to_broadcast,
}


# --- measuring


def measure(case: str, contestant: str, quick: bool) -> dict[str, float]:
    try:
        _programs.choose(contestant)
        importlib.import_module(NEEDS[case])
        with server(case, contestant) as (port, pid):
            if case == "anyio-echo":
                return _echo.load(
                    port, "tcp", pid=pid, connections=100, size=64, **_echo.times(quick)
                )
            tiny = bool(os.environ.get("BENCH_TINY"))
            warm_up, seconds = (0, 0) if tiny else (0.2, 0.5) if quick else (0.5, 2)
            meter = Meter(pid, warm_up, seconds)
            with _echo.on_cpu(0):
                _programs.run(contestant, CLIENTS[case], port, meter)
            return meter.result
    except ModuleNotFoundError as missing:
        raise CannotMeasure(f"{missing.name} is not installed") from None


if __name__ == "__main__":
    _cli.main(listing(), measure)
