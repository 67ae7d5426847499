"""Tasks, scopes, channels, locks: CPU nanoseconds per operation.

Each operation is written four times, once for each API: _with_trio.py (trio_c
and trio), _with_asyncio.py (asyncio, uvloop, rloop), _with_curio.py and
_with_floor.py. The floor is measured twice: asking the kernel for I/O on every
pass, as its peers do, and not.
"""

from __future__ import annotations

import functools

import _common
import _with_asyncio
import _with_curio
import _with_floor
import _with_trio
from _common import ASYNCIO, TRIO, Cases, Metrics, Notes, Scale

APIS: dict[str, Cases] = {
    **dict.fromkeys(TRIO, _with_trio.cases),
    **dict.fromkeys(ASYNCIO, _with_asyncio.cases),
    "curio": _with_curio.cases,
    "floor": _with_floor.cases,
}


def listing() -> Notes:
    return {
        name: {c: cases[name].note for c, cases in APIS.items() if name in cases}
        for name in _with_trio.cases
    }


def measure(name: str, contestant: str, scale: Scale) -> Metrics:
    case = APIS[contestant][name]
    module = _common.load(contestant)
    body = case.body
    if contestant not in ASYNCIO:
        body = functools.partial(body, module)

    def once() -> float:
        return _common.run(contestant, lambda: _common.cost(body, case.batch, scale))

    if contestant != "floor":
        return {"cpu_ns": once()}
    metrics = {}
    for metric, polls in ("cpu_ns", 1), ("cpu_ns_without_poll", 0):
        module.opts(poll=polls)
        metrics[metric] = once()
    return metrics


if __name__ == "__main__":
    _common.main(listing(), measure)
