"""What an operation leaves behind, and how much Python the library runs in it.

`frames`: Python functions of the library that are called for one operation.
`garbage`: objects that only the cyclic garbage collector can free, for each.
Both are the difference of two runs of different lengths, so that what happens
once is not in them.
"""

from __future__ import annotations

import functools
import gc
import os
import sys
from types import FrameType, ModuleType
from typing import Any

import _common
import primitives
from _common import ASYNCIO, Body, Metrics, Notes, Scale

# Case: the primitive whose operation it is, and what is counted.
CASES = {
    "frames-checkpoint": ("checkpoint-1-1", "frames"),
    "frames-message": ("socketpair", "frames"),
    "garbage-nursery": ("nursery-1", "garbage"),
    "garbage-cancel": ("cancel-1000", "garbage"),
    "garbage-message": ("socketpair", "garbage"),
}
CONTESTANTS = ("trio_c", "trio", "asyncio", "curio")


def listing() -> Notes:
    notes = primitives.listing()
    return {
        case: {c: notes[primitive][c] for c in CONTESTANTS if c in notes[primitive]}
        for case, (primitive, _) in CASES.items()
    }


async def frames(module: ModuleType, body: Body, n: int) -> int:
    directory = os.path.dirname(module.__file__)
    count = 0

    def look(frame: FrameType, event: str, _: Any) -> None:
        nonlocal count
        if event == "call" and frame.f_code.co_filename.startswith(directory):
            count += 1

    sys.setprofile(look)
    try:
        await body(n)
    finally:
        sys.setprofile(None)
    return count


async def garbage(_: ModuleType, body: Body, n: int) -> int:
    gc.collect()
    gc.disable()
    await body(n)
    return gc.collect()


def measure(name: str, contestant: str, scale: Scale) -> Metrics:
    primitive, metric = CASES[name]
    module = _common.load(contestant)
    body = primitives.APIS[contestant][primitive].body
    if contestant not in ASYNCIO:
        body = functools.partial(body, module)
    count = {"frames": frames, "garbage": garbage}[metric]

    async def difference() -> float:
        await body(1000)
        few = await count(module, body, 1000)
        many = await count(module, body, 2000)
        return (many - few) / 1000

    return {metric: _common.run(contestant, difference)}


if __name__ == "__main__":
    _common.main(listing(), measure)
