"""What an operation costs when there are 10 of them, and a million.

All tasks, timers, scopes, waiters or channels of a case are there at the same
time; an operation is one of them from beginning to end, the task that it takes
included. And what an idle task takes in memory.
"""

from __future__ import annotations

import functools
import gc
import os

import _common
import _growth_asyncio
import _growth_floor
import _growth_trio
from _common import ASYNCIO, TINY, TRIO, Metrics, Notes, Scale

SIZES = (10, 1000, 100_000, 1_000_000)
KINDS = ("tasks", "cancel", "timers", "scopes", "waiters", "channels")
MEMORY = ("sleep-forever", "event-wait")

APIS = {
    **dict.fromkeys(TRIO, _growth_trio.cases),
    **dict.fromkeys(ASYNCIO, _growth_asyncio.cases),
    "floor": _growth_floor.cases,
}
# Whom a million of anything would take minutes.
AT_MOST = dict.fromkeys(("trio", *ASYNCIO), 100_000)


def listing() -> Notes:
    names = [(f"{kind}-{size}", kind, size) for kind in KINDS for size in SIZES]
    names += [(f"memory-{kind}", kind, 0) for kind in MEMORY]
    return {
        name: {
            c: cases[kind].note
            for c, cases in APIS.items()
            if kind in cases and size <= AT_MOST.get(c, size)
        }
        for name, kind, size in names
    }


def resident() -> int:
    """Bytes of this process that are in memory."""
    with open("/proc/self/statm") as file:
        return int(file.read().split()[1]) * os.sysconf("SC_PAGE_SIZE")


def measure(name: str, contestant: str, scale: Scale) -> Metrics:
    kind, _, rest = name.partition("-")
    cases = APIS[contestant]
    module = _common.load(contestant)

    def prepared(body):
        return body if contestant in ASYNCIO else functools.partial(body, module)

    if kind == "memory":
        body = prepared(cases[rest].body)
        before = 0

        def begin() -> None:
            nonlocal before
            gc.collect()
            before = resident()

        taken = 0

        def end() -> None:
            nonlocal taken
            gc.collect()
            taken = resident() - before

        count = max(100_000 // scale.divisor, 100)
        _common.run(contestant, lambda: body(count, begin, end))
        return {"bytes": taken / count}

    size = int(rest)
    if TINY:
        size = min(size, 100)
    body = prepared(cases[kind].body)

    async def batches(n: int) -> None:
        for _ in range(n // size):
            await body(size)

    def main():
        return _common.cost(batches, size, scale)

    return {"cpu_ns": _common.run(contestant, main)}


if __name__ == "__main__":
    _common.main(listing(), measure)
