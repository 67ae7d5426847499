"""System calls of an echo server per message of 64 bytes, counted by strace.

Two runs of different lengths, and the difference of what they take: what comes
before and after the messages is in both. Which thread makes them does not
matter. strace slows the server down, so with many connections it finds as many
of them ready as there can be.
"""

from __future__ import annotations

import shutil
import tempfile
from pathlib import Path

import _cli
from _echo import NOTES, echo_server, load

CASES = {"echo-1": 1, "echo-100": 100}


def calls_in(summary: str) -> int:
    """The sum of what `strace -c` prints: a table with a row per system call."""
    rows = [line.split() for line in summary.splitlines()]
    return sum(int(r[3]) for r in rows if len(r) > 3 and r[3].isdigit()) - sum(
        int(r[3]) for r in rows if r and r[-1] == "total"
    )


def count(contestant: str, connections: int, messages: int) -> int:
    with tempfile.TemporaryDirectory() as directory:
        output = Path(directory, "summary")
        # -I2: signals end strace, which passes them on and prints its summary.
        strace = ["strace", "-I2", "-f", "-c", "-o", str(output)]
        with echo_server(contestant, "tcp", prefix=strace) as (port, _):
            load(port, "tcp", connections=connections, messages=messages)
        return calls_in(output.read_text())


def measure(case: str, contestant: str, quick: bool) -> dict[str, float]:
    if shutil.which("strace") is None:
        raise _cli.CannotMeasure("needs strace")
    connections = CASES[case]
    short, long = (1000, 3000) if quick else (5000, 20_000)
    more = count(contestant, connections, long) - count(contestant, connections, short)
    return {"syscalls": more / (long - short)}


if __name__ == "__main__":
    _cli.main({case: NOTES for case in CASES}, measure)
