"""Calls into threads and out of them, at rest and beside a busy loop.

Wall time, because most of it is spent waiting for somebody to wake up. The
spinner is one task that does nothing but checkpoint: a loop that never sleeps,
and so never has to let go of the interpreter's lock. What is measured beside it
is how long others wait for that lock, or what they get done.
"""

from __future__ import annotations

import asyncio
import functools
import itertools
import statistics
import threading
import time
from collections.abc import Awaitable, Callable
from typing import Any, NamedTuple

import _common
from _common import ASYNCIO, TRIO, Metrics, Notes, Scale


class Api(NamedTuple):
    """What the cases are written in: four verbs of a library."""

    call_in_thread: Callable[..., Awaitable[Any]]
    # Given inside a run; the function it returns makes a small call in the run, from
    # a thread of the library.
    caller: Callable[[], Callable[[], Any]] | None
    checkpoint: Callable[[], Awaitable[None]]
    sleep: Callable[[float], Awaitable[None]]
    # Runs the second while the first spins.
    beside: Callable[..., Awaitable[Any]]


def trio_api(trio: Any) -> Api:
    async def beside(spin: Any, other: Any) -> Any:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(spin)
            result = await other()
            nursery.cancel_scope.cancel()
        return result

    return Api(
        trio.to_thread.run_sync,
        lambda: functools.partial(trio.from_thread.run_sync, int),
        trio.lowlevel.checkpoint,
        trio.sleep,
        beside,
    )


def asyncio_api(_: Any) -> Api:
    async def work() -> int:
        return 0

    def caller() -> Callable[[], Any]:
        loop = asyncio.get_running_loop()
        return lambda: asyncio.run_coroutine_threadsafe(work(), loop).result()

    async def beside(spin: Any, other: Any) -> Any:
        spinner = asyncio.create_task(spin())
        result = await other()
        spinner.cancel()
        return result

    yields = functools.partial(asyncio.sleep, 0)
    return Api(asyncio.to_thread, caller, yields, asyncio.sleep, beside)


def curio_api(curio: Any) -> Api:
    async def beside(spin: Any, other: Any) -> Any:
        spinner = await curio.spawn(spin)
        result = await other()
        await spinner.cancel()
        return result

    yields = functools.partial(curio.sleep, 0)
    return Api(curio.run_in_thread, None, yields, curio.sleep, beside)


# --- cases: what they do in a run, and for how many seconds


def repeated(function: Callable[[], object], seconds: float) -> tuple[int, float]:
    """How often the function was called, and how long that took."""
    began = time.perf_counter()
    for count in itertools.count(1):
        function()
        took = time.perf_counter() - began
        if took >= seconds:
            return count, took
    raise AssertionError


def latencies(samples: list[float]) -> Metrics:
    cuts = statistics.quantiles(samples, n=100, method="inclusive")
    return {"p50_us": cuts[49] * 1e6, "p99_us": cuts[98] * 1e6}


async def calls(api: Api, seconds: float) -> list[float]:
    """How long each of many calls into a thread takes."""
    samples = []
    now = time.perf_counter()
    end = now + seconds
    while now < end or len(samples) < 2:
        began = now
        await api.call_in_thread(int)
        now = time.perf_counter()
        samples.append(now - began)
    return samples


async def trips(api: Api, seconds: float) -> tuple[int, float]:
    return await api.call_in_thread(repeated, api.caller(), seconds)


async def in_plain_thread(api: Api, function: Callable[[], Any]) -> Any:
    """What the function returns in a thread that no library knows of."""
    results = []
    thread = threading.Thread(target=lambda: results.append(function()))
    thread.start()
    while thread.is_alive():
        await api.sleep(0.01)
    return results[0]


async def beside_spinner(api: Api, other: Callable[..., Any], *args: Any) -> Any:
    async def spin() -> None:
        while True:
            await api.checkpoint()

    return await api.beside(spin, functools.partial(other, *args))


async def to_thread(api: Api, seconds: float) -> Metrics:
    samples = await calls(api, seconds)
    return {"wall_us": statistics.fmean(samples) * 1e6, **latencies(samples)}


async def from_thread(api: Api, seconds: float) -> Metrics:
    count, took = await trips(api, seconds)
    return {"wall_us": took / count * 1e6}


async def to_thread_beside_spinner(api: Api, seconds: float) -> Metrics:
    samples = await beside_spinner(api, calls, api, seconds)
    return {**latencies(samples), "rate": len(samples) / sum(samples)}


async def from_thread_beside_spinner(api: Api, seconds: float) -> Metrics:
    count, took = await beside_spinner(api, trips, api, seconds)
    return {"rate": count / took}


PAUSE = 0.001


async def python_thread_beside_spinner(api: Api, seconds: float) -> Metrics:
    """How much longer than it wanted to a thread has slept: until it got hold of
    the interpreter's lock, and what the system's timers are late by."""

    def sleep_often() -> list[float]:
        samples = []
        now = time.perf_counter()
        end = now + seconds
        while now < end or len(samples) < 2:
            began = now
            time.sleep(PAUSE)
            now = time.perf_counter()
            samples.append(now - began - PAUSE)
        return samples

    return latencies(await beside_spinner(api, in_plain_thread, api, sleep_often))


async def busy_thread_beside_spinner(api: Api, seconds: float) -> Metrics:
    """How many small pieces of work a thread gets done."""
    work = functools.partial(sum, range(1000))
    job = functools.partial(repeated, work, seconds)
    count, took = await beside_spinner(api, in_plain_thread, api, job)
    return {"rate": count / took}


CASES = {
    "to-thread": to_thread,
    "from-thread": from_thread,
    "to-thread-beside-spinner": to_thread_beside_spinner,
    "from-thread-beside-spinner": from_thread_beside_spinner,
    "python-thread-beside-spinner": python_thread_beside_spinner,
    "busy-thread-beside-spinner": busy_thread_beside_spinner,
}
APIS = {
    **dict.fromkeys(TRIO, trio_api),
    **dict.fromkeys(ASYNCIO, asyncio_api),
    "curio": curio_api,
}

# curio's threads call into the loop in another way, through its `async` threads.
ABSENT = {
    "from-thread": {"curio"},
    "from-thread-beside-spinner": {"curio"},
}
NO_CANCELLATION = "a call cannot be cancelled, nor its threads be limited"


def listing() -> Notes:
    notes = {name: NO_CANCELLATION if name in ASYNCIO else None for name in APIS}
    return {
        case: {
            name: note
            for name, note in notes.items()
            if name not in ABSENT.get(case, set())
        }
        for case in CASES
    }


def measure(name: str, contestant: str, scale: Scale) -> Metrics:
    api = APIS[contestant](_common.load(contestant))
    case = CASES[name]
    # Rare and long waits are what the others are about.
    seconds = scale.seconds * (5 if "spinner" in name else 2)

    async def main() -> Metrics:
        await calls(api, seconds / 20)  # so that there is a thread to call into
        return await case(api, seconds)

    return _common.run(contestant, main)


if __name__ == "__main__":
    _common.main(listing(), measure)
