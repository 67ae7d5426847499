"""What workloads in one process share: who takes part, and what is timed."""

from __future__ import annotations

import asyncio
import importlib
import importlib.util
import os
import statistics
import sys
import time
from collections.abc import Awaitable, Callable
from pathlib import Path
from types import ModuleType
from typing import Any, NamedTuple

import _cli

sys.path.append(str(Path(__file__).resolve().parents[1]))

from harness.native import build  # noqa: E402

TRIO = ("trio_c", "trio")  # one API
ASYNCIO = ("asyncio", "uvloop", "rloop")  # one API, three event loops

# What the test of this suite asks for: to run everything once, no matter what
# the numbers are worth.
TINY = bool(os.environ.get("BENCH_TINY"))

Notes = dict[str, dict[str, "str | None"]]
Metrics = dict[str, float]
Body = Callable[[int], Awaitable[None]]


class Scale(NamedTuple):
    """How much to do: what a measurement takes, and a divisor of fixed sizes."""

    seconds: float
    divisor: int


FULL = Scale(seconds=0.4, divisor=1)
QUICK = Scale(seconds=0.1, divisor=10)
TINIEST = Scale(seconds=0.0, divisor=1000)

# --- contestants


def import_curio() -> ModuleType:
    """curio 1.6, which looks for names that Python 3.12 removed.

    They are there for the import only; nothing that is measured uses them.
    """
    import multiprocessing.connection as connection
    import ssl

    stand_ins = {
        (connection, "CHALLENGE"): b"#CHALLENGE#",
        (connection, "WELCOME"): b"#WELCOME#",
        (connection, "FAILURE"): b"#FAILURE#",
        (ssl, "wrap_socket"): ssl.SSLContext.wrap_socket,
    }
    missing = {k: v for k, v in stand_ins.items() if not hasattr(*k)}
    for (module, name), value in missing.items():
        setattr(module, name, value)
    try:
        return importlib.import_module("curio")
    finally:
        for module, name in missing:
            delattr(module, name)


def import_floor() -> ModuleType:
    spec = importlib.util.spec_from_file_location("floor_ext", build("floor_ext"))
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def load(contestant: str) -> ModuleType:
    """The module of a contestant, such as "uvloop-protocol"."""
    name = contestant.removesuffix("-protocol")
    if name == "curio":
        return import_curio()
    if name == "floor":
        return import_floor()
    return importlib.import_module(name)


def run(contestant: str, main: Callable[[], Any]) -> Any:
    """What `main()` returns, run by that contestant."""
    module = load(contestant)
    name = contestant.removesuffix("-protocol")
    if name in ASYNCIO:
        factory = None if name == "asyncio" else module.new_event_loop
        with asyncio.Runner(loop_factory=factory) as runner:
            return runner.run(main())
    if name == "floor":
        results = []

        async def keep_result() -> None:
            results.append(await main())

        module.run([keep_result()])
        return results[0]
    return module.run(main)


# --- bodies of cases: `async def body(n)` does the operation n times


class Case(NamedTuple):
    body: Callable[..., Awaitable[None]]
    batch: int  # n is a multiple of this
    note: str | None  # where this contestant does less work


class Cases(dict[str, Case]):
    """By name; a decorator that adds to them."""

    def __call__(
        self, name: str, batch: int = 1, note: str | None = None
    ) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
        def add(body: Callable[..., Any]) -> Callable[..., Any]:
            self[name] = Case(body, batch, note)
            return body

        return add


SAMPLES = 5


class Took(NamedTuple):
    cpu: float  # seconds
    wall: float


async def timed(body: Body, n: int) -> Took:
    cpu, wall = time.process_time_ns(), time.perf_counter_ns()
    await body(n)
    cpu, wall = time.process_time_ns() - cpu, time.perf_counter_ns() - wall
    return Took(cpu / 1e9, wall / 1e9)


async def enough(body: Body, batch: int, seconds: float) -> int:
    """A multiple of `batch` that takes about so many seconds of CPU time.

    Finding it is the warm-up. Each number is tried twice: what is loaded on
    first use, or a moment in which others have the processor, is not the cost
    of an operation.
    """
    n = batch
    while True:
        trials = [await timed(body, n)]
        if trials[0].cpu < 10 * seconds:  # a batch may take very long
            trials.append(await timed(body, n))
        # Where it mostly waits, the waiting has to end some time as well.
        took = min(max(trial.cpu, trial.wall / 4) for trial in trials)
        if took > seconds / 4:
            return max(1, round(n * seconds / took / batch)) * batch
        n *= 4


async def cost(body: Body, batch: int, scale: Scale) -> float:
    """CPU ns per operation: the median of a few samples.

    Nothing is subtracted, the loop of the body included, and the garbage
    collector is on.
    """
    if TINY:
        return (await timed(body, batch)).cpu / batch * 1e9
    n = await enough(body, batch, scale.seconds / SAMPLES)
    samples = []
    while len(samples) < SAMPLES:
        samples.append((await timed(body, n)).cpu)
        if sum(samples) > 3 * scale.seconds:
            break  # as with batches that take seconds each
    return statistics.median(samples) / n * 1e9


# --- the command line


def main(cases: Notes, measure: Callable[[str, str, Scale], Metrics]) -> None:
    """As _cli.py says, with a scale."""

    def at_scale(case: str, contestant: str, quick: bool) -> Metrics:
        scale = TINIEST if TINY else QUICK if quick else FULL
        return measure(case, contestant, scale)

    _cli.main(cases, at_scale)
