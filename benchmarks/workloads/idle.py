"""What connections that say nothing cost a server that is busy with others.

100 connections that are never without a message, by themselves and beside
10,000 that have exchanged one and then only stay: CPU of the server per message
should be the same.
"""

from __future__ import annotations

import resource

import _cli
from _echo import TINY, echo_server, load, times

BUSY = 100
CASES = {"busy-100": 0, "busy-100-idle-10k": 10_000}
# Files that a process has open besides.
OTHERS = 50


def measure(case: str, contestant: str, quick: bool) -> dict[str, float]:
    idle = CASES[case] // (100 if TINY else 1)
    _, limit = resource.getrlimit(resource.RLIMIT_NOFILE)
    if 0 <= limit < BUSY + idle + OTHERS:
        raise _cli.CannotMeasure(
            f"needs {BUSY + idle + OTHERS} open files in one process, and no more "
            f"than {limit} are allowed (ulimit -Hn)"
        )
    with echo_server(contestant, "tcp") as (port, pid):
        return load(port, "tcp", pid=pid, connections=BUSY, idle=idle, **times(quick))


if __name__ == "__main__":
    _cli.main({case: {"trio_c": None, "trio": None} for case in CASES}, measure)
