"""Runs the workload files: what there is, who takes part, one measurement."""

from __future__ import annotations

import fnmatch
import json
import os
import platform
import shlex
import subprocess
import sys
import time
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

WORKLOADS = Path(__file__).resolve().parents[1] / "workloads"

# In the order of the tables' columns.
CONTESTANTS = (
    "trio_c trio asyncio asyncio-protocol uvloop uvloop-protocol rloop curio floor c"
).split()


class Measurement(NamedTuple):
    file: str  # the name of a workload file, without .py
    case: str
    contestant: str


def python(*arguments: object, timeout: float = 600) -> str:
    """What this Python prints, run in a process of its own."""
    output = subprocess.run(
        [sys.executable, *map(str, arguments)],
        capture_output=True,
        text=True,
        timeout=timeout,
        check=False,
    )
    if output.returncode != 0:
        raise Failed(output.stderr)
    return output.stdout


class Failed(Exception):
    """A workload that failed; with what it said."""

    def __init__(self, stderr: str) -> None:
        lines = [x.strip(" |+-") for x in stderr.splitlines()]
        words = [x for x in lines if x] or ["failed without a word"]
        super().__init__(words[-1])
        self.stderr = stderr


def workload_files() -> list[str]:
    return sorted(p.stem for p in WORKLOADS.glob("*.py") if p.name[0] != "_")


def listing(file: str) -> dict[str, dict[str, str | None]]:
    """{case: {contestant: note or None}} as the workload file says."""
    return json.loads(python(WORKLOADS / f"{file}.py", "--list"))


def probe(contestant: str) -> str:
    """The version of a contestant. Raises Failed if it does not work here."""
    return python(WORKLOADS / "_probe.py", contestant, timeout=120).strip()


def measure(
    which: Measurement, *, quick: bool, wrap: Sequence[str] = ()
) -> dict[str, float]:
    """The metrics, from a fresh process. Raises Failed."""
    command = [*wrap, sys.executable, str(WORKLOADS / f"{which.file}.py")]
    command += [which.case, which.contestant, *(["--quick"] if quick else [])]
    try:
        output = subprocess.run(
            command, capture_output=True, text=True, timeout=600, check=False
        )
    except subprocess.TimeoutExpired:
        raise Failed("took more than ten minutes") from None
    if output.returncode != 0:
        raise Failed(output.stderr)
    return json.loads(output.stdout.strip().splitlines()[-1])


def matches(file: str, case: str, patterns: Iterable[str]) -> bool:
    """Is this meant by any pattern: "growth", "primitives/lock*", "*tls*"?"""
    names = file, case, f"{file}/{case}"
    return any(fnmatch.fnmatch(n, p) for p in patterns for n in names)


def interleaved(
    listings: dict[str, dict[str, dict[str, str | None]]],
    contestants: Iterable[str],
    patterns: Iterable[str],
    turn: int,
) -> Iterator[Measurement]:
    """One round: the contestants of a case one after the other.

    Each round another one begins, so that nobody always comes after the same.
    """
    chosen = [*contestants]
    for file, cases in listings.items():
        for case, notes in cases.items():
            if not matches(file, case, patterns):
                continue
            present = [c for c in chosen if c in notes]
            for i in range(len(present)):
                contestant = present[(i + turn) % len(present)]
                yield Measurement(file, case, contestant)


# --- about the machine


def processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return platform.processor() or platform.machine()
    models = [x.partition(":")[2].strip() for x in lines if x.startswith("model name")]
    return models[0] if models else platform.machine()


def machine() -> dict[str, Any]:
    """What the numbers depend on."""
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    return {
        "processor": processor(),
        "cores": len(os.sched_getaffinity(0)),
        "memory_gb": round(memory / 2**30, 1),
        "system": f"{platform.system()} {platform.release()}",
        "python": f"{platform.python_implementation()} {platform.python_version()}",
        "python_compiler": platform.python_compiler(),
        "date": time.strftime("%Y-%m-%d"),
    }


def split_command(text: str) -> list[str]:
    return shlex.split(text)
