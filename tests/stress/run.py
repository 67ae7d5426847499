"""Runs the parts of this directory, each in a process of its own.

    run.py                what continuous integration does: under a minute
    run.py --long         some twenty minutes
    run.py storm forks    these parts only

`points` compares with the real Trio if that is installed.
"""

from __future__ import annotations

import argparse
import importlib.util
import json
import os
import re
import subprocess
import sys
import time
from pathlib import Path

HERE = Path(__file__).resolve().parent
TIME_LIMIT = 3600

# part: the arguments of the short form, and of the long one
PARTS = {
    "storm": ("interrupt_storm.py", ["--seconds", "6"], ["--seconds", "300"]),
    "forks": ("forks.py", ["--seconds", "4"], ["--seconds", "200"]),
    "threads": ("runs_in_threads.py", ["--seconds", "4"], ["--seconds", "200"]),
    "endings": ("endings.py", ["--count", "1"], ["--count", "30"]),
    "interpreters": ("interpreters.py", ["--count", "4"], ["--count", "500"]),
    "isolated": (
        "interpreters.py",
        ["--isolated", "--count", "4"],
        ["--isolated", "--count", "200"],
    ),
    "reimports": ("reimports.py", ["--count", "20"], ["--count", "1000"]),
}
# programs in which it is not the same each time what comes first
TIMED = {"threads", "sleeping"}
POINTS = {False: ["--step", "60"], True: ["--step", "1"]}


def run(*arguments: str) -> tuple[int, str]:
    done = subprocess.run(
        [sys.executable, "-s", str(HERE / arguments[0]), *arguments[1:]],
        stdout=subprocess.PIPE,
        text=True,
        timeout=TIME_LIMIT,
        # Programs of the real Trio log what their instruments raise.
        stderr=subprocess.DEVNULL if arguments[0].endswith("points.py") else None,
        env={**os.environ, "PYTHONHASHSEED": "0"},
    )
    return done.returncode, done.stdout


def cases(library: str, arguments: list[str]) -> dict[str, list] | None:
    status, output = run("interrupt_points.py", library, *arguments)
    if status != 0:
        print(f"interrupt_points.py {library}: status {status}")
        return None
    found = {}
    for line in output.splitlines():
        case = json.loads(line)
        found[json.dumps(case[:3])] = case[3:]
    return found


def is_bad(case: list) -> bool:
    """Has it lost Ctrl-C, struck what is protected, broken down, or not ended?"""
    return bool(case[-1]) or bool(
        re.search("STRUCK|TrioInternalError|HangsError", repr(case))
    )


def points(arguments: list[str]) -> tuple[int, int]:
    ours = cases("trio_c", arguments)
    if ours is None:
        return 0, 1
    have_trio = importlib.util.find_spec("trio") is not None
    theirs = (cases("trio", arguments) if have_trio else None) or {}
    failed = better = 0
    for name, case in ours.items():
        like = theirs.get(name)
        if like == case:
            continue
        if name.split('"')[3] in TIMED and not is_bad(case):
            continue
        if is_bad(case):
            if like is not None and is_bad(like):
                continue  # what no library could help
        elif like is None:
            continue
        elif is_bad(like):
            better += 1
            continue
        failed += 1
        print(name, "\n  trio:  ", like, "\n  trio_c:", case)
    print(f"{len(ours)} cases, {len(theirs)} on Trio; worse there: {better}")
    profiled = cases("trio_c", ["--profile", *arguments])
    if profiled is None:
        return len(ours) - failed, failed + 1
    for name, case in profiled.items():
        if case[-1]:
            failed += 1
            print(name, case)
    print(f"{len(profiled)} cases at returns of native functions")
    return len(ours) + len(profiled) - failed, failed


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--long", action="store_true")
    parser.add_argument("parts", nargs="*", metavar="PART")
    args = parser.parse_args()
    chosen = args.parts or ["points", *PARTS]
    passed = failed = 0
    for part in chosen:
        began = time.monotonic()
        print(f"--- {part}", flush=True)
        if part == "isolated" and sys.version_info < (3, 12):
            print("isolated interpreters have no threads before CPython 3.12")
            continue
        if part == "points":
            ok, bad = points(POINTS[args.long])
        else:
            program, short, long = PARTS[part]
            status, output = run(program, *(long if args.long else short))
            print(output.rpartition("\n")[0].rpartition("\n")[0])
            summary = re.search(r"(\d+) passed, (\d+) failed$", output.strip())
            ok, bad = map(int, summary.groups()) if summary else (0, 1)
            if status != 0 and bad == 0:
                print(f"status {status}")
                bad = 1
        passed, failed = passed + ok, failed + bad
        print(f"    {ok} good, {bad} bad, {time.monotonic() - began:.0f} s", flush=True)
    print(f"{passed} passed, {failed} failed")
    sys.exit(failed > 0)


if __name__ == "__main__":
    main()
