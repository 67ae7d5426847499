"""What we are after, row by row, as data.

Each row names a number: workload file, case, metric. Its rules compare what
trio_c took with what somebody else took in the same run (never with digits
from another machine), or with an absolute amount where that is the same
everywhere: bytes, system calls, milliseconds of an import.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

Lookup = Callable[[str], "float | None"]


class Rule(NamedTuple):
    """What trio_c may take: at most `factor` times what another takes."""

    factor: float
    other: str | None = None  # a contestant; None: absolute
    strictly: bool = False

    def __str__(self) -> str:
        sign = "<" if self.strictly else "≤"
        if self.other is None:
            return f"{sign} {self.factor:g}"
        if self.factor < 1 and self.other == "trio":
            return f"{1 / self.factor:.3g}×"
        factor = "" if self.factor == 1 else f"{self.factor:g} × "
        return f"{sign} {factor}{self.other}"

    def holds(self, ours: float, of: Lookup) -> bool | None:
        """None: who it is compared with was not measured."""
        base = 1.0 if self.other is None else of(self.other)
        if base is None:
            return None
        limit = self.factor * base
        return ours < limit if self.strictly else ours <= limit


def faster(times: float) -> Rule:
    """So many times what trio does in the same time."""
    return Rule(1 / times, "trio")


def at_most(limit: float) -> Rule:
    return Rule(limit)


def within(other: str, factor: float = 1.0) -> Rule:
    return Rule(factor, other)


def below(other: str) -> Rule:
    return Rule(1.0, other, strictly=True)


class Row(NamedTuple):
    label: str
    file: str
    case: str
    metric: str
    first: tuple[Rule, ...]
    goal: tuple[Rule, ...]


class Section(NamedTuple):
    name: str  # of the chart's file, too
    title: str
    rows: tuple[Row, ...]


def primitive(label: str, case: str, first: float, goal: float) -> Row:
    rules = (faster(first),), (faster(goal),)
    return Row(label, "primitives", case, "cpu_ns", *rules)


def growing(label: str, case: str, first: float, goal: float) -> Row:
    return Row(label, "growth", case, "cpu_ns", (faster(first),), (faster(goal),))


def serving(label: str, case: str, first: list[Rule], goal: list[Rule]) -> Row:
    return Row(label, "network", case, "server_cpu_us", (*first,), (*goal,))


PRIMITIVES = Section(
    "primitives",
    "Primitives",
    (
        primitive("checkpoint, 1 task, depth 1", "checkpoint-1-1", 20, 30),
        primitive("checkpoint, 1 task, depth 10", "checkpoint-1-10", 15, 22),
        primitive("checkpoint, 1000 tasks, depth 1", "checkpoint-1000-1", 14, 22),
        primitive("checkpoint, 1000 tasks, depth 10", "checkpoint-1000-10", 8, 10),
        primitive("checkpoint_if_cancelled", "checkpoint-if-cancelled", 3, 3.8),
        primitive("spawn, batches of 1000", "spawn-1000", 12, 20),
        primitive("nursery, no child", "nursery-0", 16, 25),
        primitive("nursery, one child", "nursery-1", 16, 25),
        primitive("nursery.start", "nursery-start", 8, 13),
        primitive("CancelScope enter/exit", "scope", 20, 32),
        primitive("move_on_after(10) enter/exit", "move-on-after", 20, 35),
        primitive("fail_after around a checkpoint", "fail-after-checkpoint", 18, 35),
        primitive("five nested scopes", "five-scopes", 20, 35),
        primitive("fail_after around Event.wait", "fail-after-event", 15, 30),
        primitive("cancel 1000 sleepers (spawn, cancel, join)", "cancel-1000", 7, 11),
        primitive("1,000 timers", "timers-1000", 10, 16),
        primitive("10,000 timers", "timers-10000", 10, 16),
        primitive("channel, no buffer, 1×1", "channel-0", 14, 25),
        primitive("channel, buffer 100", "channel-100", 14, 24),
        primitive("channel, 10×10", "channel-10x10", 12, 18),
        primitive("Event ping-pong", "event", 16, 30),
        primitive("Lock, uncontended", "lock", 14, 22),
        primitive("Lock, 100 contending", "lock-100", 14, 28),
        primitive("Semaphore", "semaphore", 12, 20),
        primitive("CapacityLimiter", "capacity-limiter", 12, 20),
        primitive("Condition ping-pong", "condition", 10, 20),
        primitive("socketpair ping-pong", "socketpair", 3, 3.8),
        Row(
            "to_thread.run_sync",
            *("threads", "to-thread", "wall_us"),
            (faster(1.8),),
            (faster(2.8),),
        ),
        Row(
            "from_thread.run_sync",
            *("threads", "from-thread", "wall_us"),
            (faster(1.4),),
            (faster(2.0),),
        ),
        Row(
            "run_process(true)",
            *("processes", "run-process-true", "wall_us"),
            (faster(1.25),),
            (faster(1.45),),
        ),
    ),
)

GROWTH = Section(
    "growth",
    "Growth, memory, start-up",
    (
        growing("spawn, 100,000 tasks", "tasks-100000", 6, 9),
        growing("cancel, 100,000 tasks", "cancel-100000", 8, 20),
        growing("timers, 100,000", "timers-100000", 12, 25),
        Row(
            "a task in sleep_forever",
            *("growth", "memory-sleep-forever", "bytes"),
            (at_most(850),),
            (at_most(720),),
        ),
        Row(
            "a task in Event.wait",
            *("growth", "memory-event-wait", "bytes"),
            (at_most(900),),
            (at_most(720),),
        ),
        Row(
            "import, beyond bare Python",
            *("startup", "import", "ms"),
            (at_most(35),),
            (at_most(12),),
        ),
        Row(
            "peak memory after import",
            *("startup", "import", "mb"),
            (at_most(19),),
            (at_most(14),),
        ),
    ),
)

NETWORK = Section(
    "network",
    "Network: CPU of the server",
    (
        serving(
            "TCP 64 B, 1 connection",
            "tcp-64-1",
            [within("uvloop")],
            [within("floor", 1.05)],
        ),
        serving(
            "TCP 64 B, 100 connections",
            "tcp-64-100",
            [faster(2.5)],
            [within("floor", 1.1), within("uvloop-protocol")],
        ),
        serving(
            "TCP 64 B, 1000 connections",
            "tcp-64-1000",
            [faster(2.5)],
            [within("floor", 1.1), below("uvloop-protocol")],
        ),
        serving(
            "TCP 1 KiB, 100 connections",
            "tcp-1k-100",
            [faster(2.4)],
            [within("floor", 1.1)],
        ),
        serving(
            "TCP 64 KiB, 100 connections",
            "tcp-64k-100",
            [faster(1.4)],
            [within("uvloop-protocol", 1.1)],
        ),
        serving(
            "UDP 64 B, 100 peers",
            "udp-64-100",
            [faster(2.5)],
            [within("curio"), within("uvloop-protocol")],
        ),
        serving(
            "connect, one request, close; 50 at once",
            "connect-50",
            [faster(2.8)],
            [within("uvloop-protocol")],
        ),
        serving(
            "TLS 64 B, 100 connections",
            "tls-64-100",
            [faster(2)],
            [below("asyncio-protocol")],
        ),
        serving(
            "TLS 64 KiB, 10 connections",
            "tls-64k-10",
            [faster(2)],
            [below("asyncio")],
        ),
    ),
)

COUNTS = Section(
    "counts",
    "Counts, which no noisy machine can blur",
    (
        Row(
            "system calls per 64 B echo, 1 connection",
            *("syscalls", "echo-1", "syscalls"),
            (),
            (at_most(3.05),),
        ),
        Row(
            "system calls per 64 B echo, 100 connections",
            *("syscalls", "echo-100", "syscalls"),
            (),
            (at_most(2.15),),
        ),
        *(
            Row(label, "counts", case, metric, (), (at_most(0),))
            for label, case, metric in (
                ("Python frames per checkpoint", "frames-checkpoint", "frames"),
                ("Python frames per message", "frames-message", "frames"),
                ("cyclic garbage per nursery", "garbage-nursery", "garbage"),
                ("cyclic garbage per cancelled task", "garbage-cancel", "garbage"),
                ("cyclic garbage per message", "garbage-message", "garbage"),
            )
        ),
    ),
)

SECTIONS = (PRIMITIVES, GROWTH, NETWORK, COUNTS)

# The rows of the one chart that has a bit of everything.
SUMMARY = (
    ("primitives", "checkpoint-1000-1", "cpu_ns"),
    ("primitives", "spawn-1000", "cpu_ns"),
    ("primitives", "move-on-after", "cpu_ns"),
    ("primitives", "channel-0", "cpu_ns"),
    ("primitives", "event", "cpu_ns"),
    ("threads", "to-thread", "wall_us"),
    ("network", "tcp-64-100", "server_cpu_us"),
    ("network", "tls-64-100", "server_cpu_us"),
    ("network", "connect-50", "server_cpu_us"),
    ("startup", "import", "ms"),
)
