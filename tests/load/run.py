"""Thousands of connections to one server, half of which do not behave.

    run.py                                       10,000 connections
    run.py --connections 500 --seconds 5         a short form
    run.py --library trio                        the real Trio, to compare with

The server, the clients that mean well, those that do not, and some that are killed
in the midst are processes of their own. Each round connects all of them, lets them
talk, and waits until the server has nobody left. None of the messages of those who
mean well may be lost, changed or answered twice; after a round the server has as
many descriptors as before, and after the first one its memory grows no more.
"""

from __future__ import annotations

import argparse
import json
import resource
import signal
import subprocess
import sys
import tempfile
import time
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import trustme

HERE = Path(__file__).parent
SPARE = 100  # descriptors of a process that are no connection

# What a server may have more of after a round than after the one before, since
# its memory is laid out a little differently each time.
BLOCKS = 1000
BYTES = 1 << 20
RESIDENT = 1.1


class Process:
    """One that speaks JSON, in lines."""

    def __init__(self, stack: ExitStack, program: str, *arguments: str) -> None:
        self.program = program
        self.process = subprocess.Popen(
            [sys.executable, str(HERE / program), *arguments],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        stack.callback(self.end)

    def say(self) -> None:
        assert self.process.stdin
        self.process.stdin.write("\n")
        self.process.stdin.flush()

    def hear(self) -> str:
        assert self.process.stdout
        line = self.process.stdout.readline()
        if not line:
            sys.exit(f"{self.program} ended with {self.process.wait()}")
        return line

    def ask(self) -> Any:
        self.say()
        return json.loads(self.hear())

    def end(self) -> None:
        assert self.process.stdin and self.process.stdout
        self.process.kill()
        self.process.wait()
        self.process.stdin.close()
        self.process.stdout.close()


def raise_limit(connections: int) -> None:
    """Of this process, which its children take over."""
    needed = connections + SPARE
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if hard != resource.RLIM_INFINITY and hard < needed:
        try:
            resource.setrlimit(resource.RLIMIT_NOFILE, (needed, needed))
        except (ValueError, OSError):
            sys.exit(
                f"The server needs {needed} descriptors, and may have {hard}. Raise "
                "the hard limit (ulimit -Hn as root, a line in "
                "/etc/security/limits.conf, LimitNOFILE= of a service, --ulimit "
                f"nofile= of a container), or ask for fewer: --connections "
                f"{hard - SPARE}"
            )
    elif soft != resource.RLIM_INFINITY and soft < needed:
        resource.setrlimit(resource.RLIMIT_NOFILE, (needed, hard))


def certificates(folder: str) -> tuple[str, str]:
    """The server's, and the authority's that clients trust."""
    authority = trustme.CA()
    server, trusted = f"{folder}/server.pem", f"{folder}/authority.pem"
    authority.issue_cert("localhost").private_key_and_cert_chain_pem.write_to_path(
        server
    )
    authority.cert_pem.write_to_path(trusted)
    return server, trusted


def one_round(server: Process, ports: list[int], trusted: str, options) -> list[float]:
    """The latencies."""
    n = options.connections
    hostile_count, victims = n // 2, n // 50
    count = n - hostile_count - victims

    def well_meaning(first: int, count: int) -> str:
        return json.dumps(
            {
                "ports": ports,
                "authority": trusted,
                "first": first,
                "count": count,
                "of_tls": count // 10,
                "seconds": options.seconds,
                "rate": options.rate,
            }
        )

    with ExitStack() as stack:
        began = time.monotonic()
        healthy = Process(stack, "healthy.py", well_meaning(0, count))
        victim = Process(stack, "healthy.py", well_meaning(count, victims))
        bad = json.dumps({"ports": ports, "count": hostile_count})
        hostile = Process(stack, "hostile.py", bad)
        clients = healthy, victim, hostile
        for each in clients:
            each.hear()
        status = until(server, n)
        print(
            f"  {status['counters']['open']:,} connections are open, after "
            f"{time.monotonic() - began:.1f} s; {status['bytes'] / 2**20:.1f} MiB"
        )
        for each in clients:
            each.say()
        time.sleep(options.seconds / 2)
        victim.process.send_signal(signal.SIGKILL)
        result = json.loads(healthy.hear())
        shown = hostile.ask()
    print(f"  {result['answered']:,} of {result['asked']:,} messages were answered")
    print("  habits:", ", ".join(f"{n:,} {habit}" for habit, n in shown.items()))
    check(not result["trouble"], f"messages: {result['trouble']}")
    check(result["answered"] == result["asked"], "not all were answered")
    failed = {habit: n for habit, n in shown.items() if "failed" in habit}
    check(not failed, f"{failed}")
    return result["latencies"]


def until(
    server: Process, connections: int, tasks: int | None = None
) -> dict[str, Any]:
    """What the server says when it has as many."""
    for _ in range(600):
        status = server.ask()
        # Some may have come that no task has looked at.
        idle = tasks is None or status["tasks"] == tasks
        if status["counters"]["open"] == connections and idle:
            return status
        time.sleep(0.1)
    check(False, f"there should be {connections} connections: {status}")
    return status


failures = 0


def check(condition: bool, complaint: str) -> None:
    global failures
    if not condition:
        failures += 1
        print(f"  FAILED: {complaint}")


def percentiles(latencies: list[float]) -> str:
    ordered = sorted(latencies)
    parts = [("p50", 0.5), ("p99", 0.99), ("p99.9", 0.999)]
    ranks = [(name, ordered[int(len(ordered) * part)]) for name, part in parts]
    return ", ".join(
        f"{name} {seconds * 1000:.1f} ms"
        for name, seconds in [*ranks, ("max", ordered[-1])]
    )


def show(what: str, status: dict[str, Any]) -> None:
    print(
        f"  {what}: {status['descriptors']} descriptors, {status['tasks']} tasks, "
        f"{status['blocks']:,} blocks of Python's allocator, "
        f"{status['heap'] / 2**20:.2f} MiB of the C library's, "
        f"{status['bytes'] / 2**20:.1f} MiB resident"
    )


def run(options: argparse.Namespace) -> None:
    with ExitStack() as stack:
        folder = stack.enter_context(tempfile.TemporaryDirectory())
        certificate, trusted = certificates(folder)
        server = Process(stack, "server.py", options.library, certificate)
        ports = json.loads(server.hear())
        begin = before = until(server, 0)
        show("before", begin)
        for number in range(options.rounds):
            print(f"round {number + 1}, {options.library}")
            latencies = one_round(server, ports, trusted, options)
            print("  latencies:", percentiles(latencies))
            after = until(server, 0, begin["tasks"])
            show("afterwards", after)
            for what in ("descriptors", "tasks"):
                check(after[what] == begin[what], f"{what}: {begin[what]} before")
            if number > 0:  # what is imported on first need is there by now
                for what, limit in [
                    ("blocks", before["blocks"] + BLOCKS),
                    ("heap", before["heap"] + BYTES),
                    ("bytes", before["bytes"] * RESIDENT),
                    ("live objects", before["live objects"]),
                ]:
                    check(after[what] <= limit, f"{what}: {before[what]} before")
            before = after
        print(f"the server: {after['seconds']:.1f} s of CPU time; {after['counters']}")
        check(not after["counters"].get("out of order"), "messages out of order")
        # Each habit and the killed clients have left their traces.
        for what in ("broken off", "sent garbage"):
            check(after["counters"].get(what, 0) > 0, f"nobody {what}")


def main() -> int:
    parser = argparse.ArgumentParser()
    parser.add_argument("--connections", type=int, default=10_000)
    parser.add_argument("--seconds", type=float, default=20)
    parser.add_argument("--rate", type=float, default=0.1, help="of one, each second")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--library", choices=["trio_c", "trio"], default="trio_c")
    options = parser.parse_args()
    raise_limit(options.connections)
    began = time.monotonic()
    run(options)
    took = time.monotonic() - began
    print(f"{options.rounds} rounds in {took:.0f} s")
    print(f"{failures} failed" if failures else "1 passed")
    return failures


if __name__ == "__main__":
    sys.exit(main())
