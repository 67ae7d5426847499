"""Echoes beside tasks that never stop: how long a message waits.

The server's run loop also has tasks that do nothing but checkpoint. A loop that
looks for I/O too rarely, or lets who is ready wait for who keeps running, shows
here.
"""

from __future__ import annotations

from typing import NamedTuple

import _cli
from _echo import echo_server, load, times


class Case(NamedTuple):
    connections: int
    spinners: int


CASES = {
    "echo-100-spin-1000": Case(100, 1000),
    "echo-1-spin-1": Case(1, 1),
}


def measure(name: str, contestant: str, quick: bool) -> dict[str, float]:
    case = CASES[name]
    spinners = f"--spinners={case.spinners}"
    with echo_server(contestant, "tcp", spinners) as (port, _):
        seen = load(port, "tcp", connections=case.connections, **times(quick))
    return {metric: seen[metric] for metric in ("rate", "p50_us", "p99_us")}


if __name__ == "__main__":
    _cli.main({case: {"trio_c": None, "trio": None} for case in CASES}, measure)
