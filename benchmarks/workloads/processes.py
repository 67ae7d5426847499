"""Starting a process that does nothing, and waiting for its end: wall time."""

from __future__ import annotations

import asyncio
import functools
import shutil
import statistics
import time
from collections.abc import Awaitable, Callable
from typing import Any

import _common
from _common import ASYNCIO, TRIO, Metrics, Notes, Scale

TRUE = shutil.which("true") or "/bin/true"


async def with_trio(trio: Any) -> None:
    await trio.run_process([TRUE])


async def with_asyncio(_: Any) -> None:
    process = await asyncio.create_subprocess_exec(TRUE)
    await process.communicate()
    assert process.returncode == 0


async def with_curio(_: Any) -> None:
    import curio.subprocess  # not a part of the module by itself

    await curio.subprocess.run([TRUE], check=True)


APIS: dict[str, Callable[[Any], Awaitable[None]]] = {
    **dict.fromkeys(TRIO, with_trio),
    **dict.fromkeys(ASYNCIO, with_asyncio),
    "curio": with_curio,
}


def listing() -> Notes:
    return {"run-process-true": dict.fromkeys(APIS)}


async def time_each(once: Callable[[], Awaitable[None]], seconds: float) -> Metrics:
    samples = []
    await once()
    end = time.perf_counter() + seconds
    while time.perf_counter() < end or not samples:
        began = time.perf_counter()
        await once()
        samples.append(time.perf_counter() - began)
    return {"wall_us": statistics.median(samples) * 1e6}


def measure(name: str, contestant: str, scale: Scale) -> Metrics:
    once = functools.partial(APIS[contestant], _common.load(contestant))
    return _common.run(contestant, lambda: time_each(once, scale.seconds * 3))


if __name__ == "__main__":
    _common.main(listing(), measure)
