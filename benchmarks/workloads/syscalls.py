"""System calls of an echo server per message of 64 bytes.

Two runs of different lengths, and the difference of what they take: what comes
before and after the messages is in both. Which thread makes them does not
matter. Counted by the kernel's tracepoint where perf may use it, or else by
strace, which slows the server down, so that a run loop that looks at the clock
to decide when to ask for I/O asks for each message once more.
"""

from __future__ import annotations

import shutil
import subprocess
import tempfile
from collections.abc import Callable
from pathlib import Path

import _cli
from _echo import NOTES, TINY, echo_server, load

CASES = {"echo-1": 1, "echo-100": 100}
PERF = ["perf", "stat", "-x,", "-e", "raw_syscalls:sys_enter"]


def perf_works() -> bool:
    if shutil.which("perf") is None:
        return False
    done = subprocess.run([*PERF, "true"], stdout=subprocess.DEVNULL, stderr=-1)
    return done.returncode == 0 and done.stderr.split(b",")[0].isdigit()


def count_with_perf(contestant: str, connections: int, messages: int) -> int:
    with (
        tempfile.NamedTemporaryFile("r") as output,
        echo_server(contestant, "tcp") as (port, pid),
    ):
        perf = [*PERF, "-o", output.name, "-p", str(pid)]
        load(port, "tcp", prefix=perf, connections=connections, messages=messages)
        # comments, and one line of which the first field is the number
        [line] = [x for x in output if x.strip() and x[0] != "#"]
        return int(line.split(",")[0])


def count_with_strace(contestant: str, connections: int, messages: int) -> int:
    with tempfile.TemporaryDirectory() as directory:
        output = Path(directory, "summary")
        # -I2: a signal ends strace, which passes it on and prints its summary.
        strace = ["strace", "-I2", "-f", "-c", "-o", str(output)]
        with echo_server(contestant, "tcp", prefix=strace) as (port, _):
            load(port, "tcp", connections=connections, messages=messages)
        # a table with a row for each system call, and one for all of them
        rows = [line.split() for line in output.read_text().splitlines()]
        calls = [r for r in rows if len(r) > 4 and r[3].isdigit() and r[-1] != "total"]
        return sum(int(r[3]) for r in calls)


def measure(case: str, contestant: str, quick: bool) -> dict[str, float]:
    count: Callable[[str, int, int], int]
    if perf_works():
        count = count_with_perf
    elif shutil.which("strace") is not None:
        count = count_with_strace
    else:
        raise _cli.CannotMeasure("needs perf with tracepoints, or strace")
    short, long = (500, 1500) if TINY else (1000, 3000) if quick else (5000, 20_000)
    more = count(contestant, CASES[case], long) - count(contestant, CASES[case], short)
    return {"syscalls": more / (long - short)}


if __name__ == "__main__":
    _cli.main({case: NOTES for case in CASES}, measure)
