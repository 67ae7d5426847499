"""Does things millions of times and watches memory and descriptors.

    run.py                           everything, in full: some hours
    run.py --seconds 100             each for as long as that at most
    run.py --share 0.02              a fiftieth of it
    run.py spawns timers             some of them (workloads.py)

Each workload lives in a process of its own, with the garbage collector switched
off all the time: what only it could free would be seen as growth. One that
leaks on purpose comes first, and has to be noticed.
"""

from __future__ import annotations

import argparse
import array
import gc
import json
import os
import statistics
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from typing import NamedTuple

from workloads import LEAKS, WORKLOADS

import trio_c

# Samples of a run, those of its first half only to warm up.
SAMPLES = 400
ENOUGH = 20

# What growth is allowed in the second half: so much in each operation, or, in a
# short run, so much in all.
BLOCKS = 1e-4, 500
BYTES = 0.05, 512 * 1024
# Resident pages come and go; a run has to be long to say something of them.
LONG = 500_000


class Sample(NamedTuple):
    operations: int
    blocks: int  # of the interpreter's allocator
    bytes: int  # of the process, resident
    descriptors: int
    threads: int
    live_objects: int  # debug builds only


_live_objects: Callable[[], dict[str, int]] = getattr(
    trio_c._native, "live_objects", dict
)


def sample(operations: int) -> Sample:
    with open("/proc/self/statm", "rb") as file:
        pages = int(file.read().split()[1])
    return Sample(
        operations,
        sys.getallocatedblocks(),
        pages * os.sysconf("SC_PAGE_SIZE"),
        len(os.listdir("/proc/self/fd")),
        threading.active_count(),
        sum(_live_objects().values()),
    )


class Rounds:
    """Gives out the numbers of operations, and takes samples in between."""

    def __init__(self, count: int, unit: int, seconds: float) -> None:
        self.count = count
        self.unit = unit
        self.seconds = seconds
        # One object, whatever the number of samples.
        self._numbers = array.array("q")

    def __iter__(self) -> Iterator[int]:
        began = time.monotonic()
        done, each, took, n = 0, self.unit, 0.0, 0
        while n < ENOUGH or (done < self.count and took < self.seconds):
            yield each
            done += each
            n += 1
            self._numbers.extend(sample(done))
            took = time.monotonic() - began
            in_time = done * self.seconds / took
            each = int(min(self.count, in_time) / SAMPLES)
            each = max(each // self.unit, 1) * self.unit

    def samples(self) -> list[Sample]:
        size = len(Sample._fields)
        return [
            Sample(*self._numbers[i : i + size])
            for i in range(0, len(self._numbers), size)
        ]


class Result(NamedTuple):
    name: str
    operations: int
    seconds: float
    first: Sample  # of the second half
    last: Sample
    blocks: float  # each operation's
    bytes: float
    garbage: int  # what the collector found when it was all over
    complaints: list[str]


def run(name: str, share: float, seconds: float) -> Result:
    """In this process."""
    fn, count, unit = {**WORKLOADS, **LEAKS}[name]
    rounds = Rounds(int(count * share), unit, seconds)
    gc.collect()
    gc.disable()
    began = time.monotonic()
    trio_c.run(fn, rounds)
    took = time.monotonic() - began
    return judge(name, rounds.samples(), took, gc.collect())


def judge(name: str, samples: list[Sample], took: float, garbage: int) -> Result:
    half = samples[len(samples) // 2 :]
    first, last = half[0], half[-1]
    operations = last.operations - first.operations
    complaints = []
    blocks, resident = (slope(half, what) for what in ("blocks", "bytes"))
    if blocks > max(BLOCKS[0], BLOCKS[1] / operations):
        complaints.append(f"{blocks:.2g} blocks are kept of each operation")
    if operations >= LONG and resident > max(BYTES[0], BYTES[1] / operations):
        complaints.append(f"{resident:.2g} bytes are kept of each operation")
    for what in ("descriptors", "threads", "live_objects"):
        # They fluctuate where tasks and threads of the workload are at work.
        quarter = len(half) // 4
        before, after = (
            min(getattr(each, what) for each in part)
            for part in (half[:quarter], half[-quarter:])
        )
        if after > before:
            complaints.append(f"{what}: {before}, then {after}")
    if garbage > operations * BLOCKS[0] + BLOCKS[1]:
        complaints.append(f"{garbage} objects were left to the collector")
    return Result(
        name, last.operations, took, first, last, blocks, resident, garbage, complaints
    )


def slope(samples: list[Sample], what: str) -> float:
    """The median of the slopes between any two samples (Theil and Sen)."""
    points = [(each.operations, getattr(each, what)) for each in samples]
    return statistics.median(
        (y1 - y0) / (x1 - x0)
        for i, (x0, y0) in enumerate(points)
        for x1, y1 in points[i + 1 :]
    )


def run_elsewhere(name: str, share: float, seconds: float) -> Result:
    command = [sys.executable, __file__, "--here", name]
    command += ["--share", str(share), "--seconds", str(seconds)]
    result = subprocess.run(command, stdout=subprocess.PIPE)
    if result.returncode != 0:
        nothing = Sample(0, 0, 0, 0, 0, 0)
        trouble = [f"exit status {result.returncode}"]
        return Result(name, 0, 0, nothing, nothing, 0, 0, 0, trouble)
    fields = Result(*json.loads(result.stdout))
    return fields._replace(first=Sample(*fields.first), last=Sample(*fields.last))


ROW = "{:17} {:>12} {:>8} {:>8} {:>8} {:>9} {:>9} {:>6} {:>8}  {}"


def row(result: Result) -> str:
    return ROW.format(
        result.name,
        f"{result.operations:,}",
        f"{result.seconds:,.0f}",
        *(f"{each.bytes / 2**20:.2f}" for each in (result.first, result.last)),
        f"{result.bytes:.4f}",
        f"{result.blocks:.6f}",
        result.last.descriptors,
        result.garbage,
        "; ".join(result.complaints) or "flat",
    )


def main() -> int:
    parser = argparse.ArgumentParser()
    parser.add_argument("names", nargs="*")
    parser.add_argument("--share", type=float, default=1)
    parser.add_argument("--seconds", type=float, default=3600)
    parser.add_argument("--here", action="store_true")
    options = parser.parse_args()
    if options.here:
        [name] = options.names
        print(json.dumps(run(name, options.share, options.seconds)))
        return 0
    names = options.names or [*LEAKS, *WORKLOADS]
    print(
        ROW.format(
            "", "operations", "seconds", "MiB then", "MiB now", "bytes/op",
            "blocks/op", "files", "garbage", "",
        ),
        flush=True,
    )  # fmt: skip
    good = 0
    for name in names:
        result = run_elsewhere(name, options.share, options.seconds)
        print(row(result), flush=True)
        good += bool(result.complaints) == (name in LEAKS)
    bad = len(names) - good
    print(f"{good} passed, {bad} failed" if bad else f"{good} passed")
    return bad


if __name__ == "__main__":
    sys.exit(main())
