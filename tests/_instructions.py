"""How many instructions the hot paths take, as callgrind counts them.

    python tests/_instructions.py [--write]

Prints the counts of all operations of _counts.py that need no other thread;
with --write, makes them the limits that test_instructions.py holds the package
to. They are of one version of Python each, and of the build that is installed
where this runs: `make instructions` builds what users build. Needs valgrind and
a C compiler.
"""

from __future__ import annotations

import json
import os
import platform
import re
import shutil
import subprocess
import sys
import sysconfig
import tempfile
from pathlib import Path
from typing import NamedTuple

import _counts

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable

LIMITS = Path(__file__).with_name("instructions.json")
CLOCK = Path(__file__).with_name("_standing_clock.c")
VERSION = f"{sys.version_info.major}.{sys.version_info.minor}"

WARM_UP = 50
ROUNDS = 200

OPERATIONS = {op.name: op for op in _counts.OPERATIONS.values() if not op.threads}


class Cost(NamedTuple):
    """What one round of an operation takes."""

    own: float  # instructions inside the extension module
    calls: float  # calls from there into the interpreter and the C library
    total: float  # all instructions, the interpreter's too


class Limits(NamedTuple):
    """`compiler` and `python` say what they hold for as they are."""

    compiler: str
    python: str
    costs: dict[str, Cost]


class Impossible(Exception):
    """There is nothing here to count instructions with."""


# --- limits ------------------------------------------------------------------


def compiler() -> str:
    """What the extension was compiled with, as far as that can be found out."""
    import trio_c._native

    binary = Path(trio_c._native.__file__).read_bytes()
    names = sorted({*re.findall(rb"(?:GCC|clang)[: ][^\0]*\d\.\d[^\0]*", binary)})
    level = re.findall(r"-O\w+", sysconfig.get_config_var("CFLAGS") or "")[-1:]
    return " ".join(
        [platform.machine(), *(name.decode("latin-1") for name in names), *level]
    )


def python() -> str:
    """Which build of the interpreter this is."""
    options = sysconfig.get_config_var("CONFIG_ARGS") or ""
    chosen = re.findall(r"--(?:enable|with|disable|without)-[\w-]+", options)
    version = f"{platform.python_version()} {platform.python_compiler()}"
    return " ".join([version, *sorted(chosen)])


def _all_limits() -> dict[str, dict]:
    return json.loads(LIMITS.read_text()) if LIMITS.exists() else {}


def limits() -> Limits | None:
    """Those of this version of Python, if there are any."""
    table = _all_limits().get(VERSION)
    if table is None:
        return None
    costs = {name: Cost(*cost) for name, cost in table["costs"].items()}
    return Limits(table["compiler"], table["python"], costs)


def write_limits(costs: dict[str, Cost]) -> None:
    table = _all_limits()
    table[VERSION] = {"compiler": compiler(), "python": python(), "costs": costs}
    versions = sorted(table.items(), key=lambda item: int(item[0].partition(".")[2]))
    text = json.dumps(dict(versions), indent=2)
    # One operation per line.
    text = re.sub(r"\[\s+([\d.]+),\s+([\d.]+),\s+([\d.]+)\s+\]", r"[\1, \2, \3]", text)
    LIMITS.write_text(text + "\n")


# --- measuring -----------------------------------------------------------------


def measure(timeout: float = 280) -> dict[str, Cost]:
    for command in ("valgrind", "cc"):
        if shutil.which(command) is None:
            raise Impossible(f"{command} is not installed (apt-get install valgrind)")
    with tempfile.TemporaryDirectory() as name:
        clock = f"{name}/clock.so"
        subprocess.run(
            ["cc", "-O1", "-shared", "-fPIC", "-o", clock, CLOCK, "-ldl"], check=True
        )
        command = ["valgrind", "-q", "--tool=callgrind"]
        command += ["--compress-strings=no", "--compress-pos=no"]
        # access() is what marks the begin and the end of an operation.
        command += ["--dump-before=access", f"--callgrind-out-file={name}/counts"]
        environment = {**os.environ, "LD_PRELOAD": clock, "PYTHONHASHSEED": "0"}
        subprocess.run(
            [*command, sys.executable, __file__, "--count"],
            check=True,
            env=environment,
            timeout=timeout,
        )
        found = sorted(
            Path(name).glob("counts.*"), key=lambda path: int(path.suffix[1:])
        )
        # The last ones, of two for each operation: what was before it, and it.
        ours = found[len(found) - 2 * len(OPERATIONS) + 1 :: 2]
        return dict(zip(OPERATIONS, map(read_cost, ours), strict=True))


def read_cost(path: Path) -> Cost:
    with path.open() as lines:
        own, calls, total = add_up(lines)
    return Cost(*(round(count / ROUNDS, 1) for count in (own, calls, total)))


def add_up(lines: Iterable[str]) -> Cost:
    """A profile in callgrind's format. Costs of a function are "LINE COST"; after
    "calls=" such a line has the cost of what was called, which is elsewhere.
    """
    own = calls = total = 0
    caller = callee = False  # is it our module?
    of_call = False
    for line in lines:
        if line[0] in "0123456789+-*":
            if not of_call:
                cost = int(line.split()[1])
                total += cost
                own += cost if caller else 0
            of_call = False
        elif line.startswith("ob="):
            caller = callee = _is_ours(line)
        elif line.startswith("cob="):
            callee = _is_ours(line)
        elif line.startswith("calls="):
            if caller and not callee:
                calls += int(line[len("calls=") :].split()[0])
            callee = caller
            of_call = True
    return Cost(own, calls, total)


def _is_ours(line: str) -> bool:
    return "/trio_c/_native." in line


def mark() -> None:
    os.access("/", os.F_OK)


def main(*arguments: str) -> None:
    if "--count" in arguments:
        for operation in OPERATIONS.values():
            _counts.perform(operation, mark, mark, WARM_UP, ROUNDS)
        return
    costs = measure(timeout=3600)
    print(f"{'instructions':34} {'own':>9} {'calls':>7} {'total':>9}")
    for name, (own, calls, total) in costs.items():
        print(f"{name:34} {own:9,.0f} {calls:7.1f} {total:9,.0f}")
    if "--write" in arguments:
        write_limits(costs)


if __name__ == "__main__":
    main(*sys.argv[1:])
