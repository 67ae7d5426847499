"""Echo servers over the loopback: what a message costs the server.

CPU time is the server's alone, per message; one load generator for all keeps
each connection busy with one message at a time. Beside it the rate and the
latency that the client saw. With many connections the server is the one that is
always busy (`server_busy`): then rate is what one core of it can do.
"""

from __future__ import annotations

from typing import NamedTuple

import _cli
from _echo import NOTES, echo_server, load, times


class Case(NamedTuple):
    mode: str
    size: int
    connections: int


CASES = {
    "tcp-64-1": Case("tcp", 64, 1),
    "tcp-64-100": Case("tcp", 64, 100),
    "tcp-64-1000": Case("tcp", 64, 1000),
    "tcp-1k-100": Case("tcp", 1024, 100),
    "tcp-64k-100": Case("tcp", 65536, 100),
    "udp-64-100": Case("udp", 64, 100),
    "connect-50": Case("connect", 64, 50),
    "tls-64-100": Case("tls", 64, 100),
    "tls-64k-10": Case("tls", 65536, 10),
}

# Contestants who cannot take part, and what is different for those who do.
ABSENT = {
    "connect": {"rloop"},  # 0.5 loses what was written before close()
    "udp": {"uvloop"},  # has no sock_recvfrom()
    "tls": {"rloop", "floor"},
}
OTHER_NOTES = {"udp": {"asyncio": "does not yield: sock_recvfrom(), sock_sendto()"}}


def contestants(mode: str) -> dict[str, str | None]:
    absent = ABSENT.get(mode, ())
    notes = {**NOTES, **OTHER_NOTES.get(mode, {})}
    return {name: note for name, note in notes.items() if name not in absent}


def measure(name: str, contestant: str, quick: bool) -> dict[str, float]:
    case = CASES[name]
    with echo_server(contestant, case.mode) as (port, pid):
        return load(
            port,
            case.mode,
            pid=pid,
            connections=case.connections,
            size=case.size,
            **times(quick),
        )


if __name__ == "__main__":
    cases = {name: contestants(case.mode) for name, case in CASES.items()}
    _cli.main(cases, measure)
