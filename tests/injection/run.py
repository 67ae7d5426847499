"""Lets allocations and system calls fail, one by one, in every scenario.

    run.py                        everything
    run.py --every 9 --seed 4     every ninth point, from one that the seed gives
    run.py tls channels           these scenarios
    run.py --what calls           some kinds of failures; WHAT lists them
    run.py --window 3             three allocations in a row
    run.py --library trio         the real Trio, for its outcomes
    run.py tls --plan '["memory", 14, 1, 0]'      one failure, with tracebacks

Each scenario has a process of its own, which goes on after each failure. A
process that dies or hangs is a finding, and the next one goes on from there.
Needs Linux, a C compiler, and a debug build of trio_c to count its objects.
"""

from __future__ import annotations

import argparse
import collections
import concurrent.futures
import errno
import importlib.util
import json
import os
import random
import select
import signal
import subprocess
import sys
import sysconfig
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

from failures import ERRORS

if TYPE_CHECKING:
    from collections.abc import Iterator

HERE = Path(__file__).resolve().parent
# On a busy machine; a scenario takes some milliseconds.
HANGS_AFTER = 8.0
WHAT = ("memory", "native_memory", "calls")

Plan = list[Any]
Report = dict[str, Any]


def build(where: Path) -> None:
    """inject.so, for the interpreter that runs this."""
    flags = ["-shared", "-fPIC", "-O1", "-g", "-Wall", "-Wextra", "-Werror"]
    if "libasan" in os.environ.get("LD_PRELOAD", ""):
        flags.append("-DWITHOUT_MALLOC")
    include = sysconfig.get_paths()["include"]
    command = ["cc", *flags, f"-I{include}", str(HERE / "inject.c")]
    environment = {k: v for k, v in os.environ.items() if k != "LD_PRELOAD"}
    subprocess.run(
        [*command, "-o", str(where / "inject.so"), "-ldl"], check=True, env=environment
    )


class Worker:
    """A process that goes through one scenario; another when it has died."""

    def __init__(self, library: str, scenario: str, where: Path, loud: bool) -> None:
        spec = importlib.util.find_spec("trio_c._native") if library != "trio" else None
        preloaded = [os.environ.get("LD_PRELOAD"), str(where / "inject.so")]
        self.environment = {
            **os.environ,
            "LD_PRELOAD": " ".join(filter(None, preloaded)),
            "INJECT_NATIVE": str(spec.origin) if spec else "",
            "INJECT_TRACEBACKS": "yes" if loud else "",
            "PYTHONPATH": os.pathsep.join(
                filter(None, [str(where), os.environ.get("PYTHONPATH")])
            ),
        }
        self.command = [
            sys.executable,
            "-P",
            str(HERE / "worker.py"),
            library,
            scenario,
        ]
        self.process: subprocess.Popen[bytes] | None = None

    def ask(self, plan: Plan) -> Report:
        new = self.process is None
        if self.process is None:
            self.errors = tempfile.TemporaryFile()
            self.process = subprocess.Popen(
                self.command,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=self.errors,
                env=self.environment,
            )
        assert self.process.stdin and self.process.stdout
        said = b""
        ended = "dies"
        try:
            self.process.stdin.write(json.dumps(plan).encode() + b"\n")
            self.process.stdin.flush()
            deadline = time.monotonic() + HANGS_AFTER * (1 + 3 * new)
            while not said.endswith(b"\n"):
                left = max(0.0, deadline - time.monotonic())
                if not select.select([self.process.stdout], [], [], left)[0]:
                    # Its fault handler then says where it is.
                    self.process.send_signal(signal.SIGABRT)
                    ended = "hangs"
                    break
                data = os.read(self.process.stdout.fileno(), 1 << 16)
                if not data:
                    break
                said += data
        except BrokenPipeError:
            pass
        if said.endswith(b"\n"):
            report: Report = json.loads(said)
            return report
        status = self.stop()
        self.errors.seek(0)
        text = self.errors.read().decode(errors="replace")
        if len(text) > 6000:
            text = text[:3000] + "\n...\n" + text[-3000:]
        return {
            "plan": plan,
            "failed": 1,
            "spared": 0,
            "made": {},
            "kinds": [ended],
            "wrong": [f"{ended} ({status}): {text}"],
        }

    def stop(self) -> int | None:
        if self.process is None:
            return None
        assert self.process.stdin and self.process.stdout
        for pipe in (self.process.stdin, self.process.stdout):
            try:
                pipe.close()
            except BrokenPipeError:
                pass
        try:
            status = self.process.wait(HANGS_AFTER)
        except subprocess.TimeoutExpired:
            self.process.kill()
            status = self.process.wait()
        self.process = None
        return status


class Course:
    """One scenario, with every failure."""

    def __init__(self, args: argparse.Namespace, scenario: str, where: Path) -> None:
        self.scenario = scenario
        self.args = args
        self.worker = Worker(args.library, scenario, where, bool(args.plan))
        self.random = random.Random(f"{args.seed}/{scenario}")
        self.points: collections.Counter[str] = collections.Counter()
        self.kinds: dict[str, collections.Counter[str]] = {}
        self.wrong: list[tuple[Plan, list[str]]] = []

    def go(self) -> Course:
        first = self.ask(["", 0, 0, 0])
        if first["wrong"] or first["kinds"] != ["fine"]:
            self.wrong.append((first["plan"], first["wrong"] or first["kinds"]))
            return self
        self.usual = first["made"]
        if self.args.plan:
            self.ask(json.loads(self.args.plan))
        for what in () if self.args.plan else self.args.what:
            if what == "calls":
                self.calls()
            elif self.usual[what]:
                self.memory(what)
        # As before the first failure?
        last = self.ask(["", 0, 0, 0])
        if last["kinds"] != ["fine"]:
            self.wrong.append((last["plan"], ["at the end:", *last["kinds"]]))
        self.worker.stop()
        return self

    def steps(self) -> Iterator[int]:
        n = 1 + self.random.randrange(self.args.every)
        while True:
            yield n
            n += self.args.every

    def memory(self, what: str) -> None:
        """From the first allocation to the last."""
        missed = 0
        for n in self.steps():
            report = self.ask([what, n, self.args.window, 0])
            came = report["failed"] or report["spared"]
            missed = 0 if came else missed + 1
            if missed > 2:
                break

    def calls(self) -> None:
        plans = [
            [name, n, 1, getattr(errno, error)]
            for name, errors in ERRORS.items()
            for error in errors.split()
            for n in range(1, self.usual.get(name, 0) + 1)
        ]
        for plan in plans[self.random.randrange(self.args.every) :: self.args.every]:
            self.ask(plan)

    def ask(self, plan: Plan) -> Report:
        report = self.worker.ask(plan)
        if report["failed"] or not plan[0]:
            kind = what_of(plan)
            outcome = " + ".join(report["kinds"])
            if plan[0]:
                self.points[kind] += 1
                self.kinds.setdefault(kind, collections.Counter())[outcome] += 1
            if report["made"] and hasattr(self, "usual"):
                made = sum(n for name, n in report["made"].items() if name in ERRORS)
                usual = sum(n for name, n in self.usual.items() if name in ERRORS)
                if made > 10 * usual + 1000:
                    report["wrong"].append(f"spins: {made} calls, not {usual}")
        if report["wrong"]:
            self.wrong.append((plan, report["wrong"]))
            if self.args.verbose:
                print(self.scenario, *self.wrong[-1], flush=True)
        if self.args.outcomes and plan[0] and report["failed"]:
            line = [self.scenario, plan[0], errno.errorcode.get(plan[3], "")]
            with self.args.outcomes.open("a") as file:
                print(*line, " + ".join(report["kinds"]), sep="\t", file=file)
        return report


def what_of(plan: Plan) -> str:
    return plan[0] if plan[0].endswith("memory") else "calls"


def scenarios(library: str) -> list[str]:
    """Their names; found out elsewhere, so that nothing is loaded here."""
    code = (
        "import sys; sys.path.append(sys.argv[1]); import worker\n"
        "worker.prepare(sys.argv[2])\n"
        "import kernel, sync, network, system, scenario\n"
        "print(*scenario.SCENARIOS, file=worker.REPORT)"
    )
    # Without what injects.
    code = "import sys, types; sys.modules['inject'] = types.ModuleType('i')\n" + code
    command = [sys.executable, "-P", "-c", code, str(HERE), library]
    done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True)
    return done.stdout.split()


def table(courses: list[Course]) -> Iterator[str]:
    yield "| scenario | allocations | of C | system calls | outcomes |"
    yield "| --- | --- | --- | --- | --- |"
    total: collections.Counter[str] = collections.Counter()
    for course in courses:
        total += course.points
        outcomes: collections.Counter[str] = collections.Counter()
        for counter in course.kinds.values():
            outcomes += counter
        yield (
            f"| {course.scenario} | "
            + " | ".join(str(course.points[what]) for what in WHAT)
            + " | "
            + ", ".join(f"{n} {kind}" for kind, n in outcomes.most_common())
            + " |"
        )
    yield "| all | " + " | ".join(str(total[what]) for what in WHAT) + " | |"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("scenarios", nargs="*", metavar="SCENARIO")
    parser.add_argument("--library", choices=["trio_c", "trio"], default="trio_c")
    parser.add_argument("--what", action="append", choices=WHAT)
    parser.add_argument("--every", type=int, default=1, metavar="K")
    parser.add_argument("--seed", type=int, default=int(time.time()))
    parser.add_argument("--window", type=int, default=1, metavar="K")
    parser.add_argument("--plan", metavar="JSON")
    parser.add_argument("--jobs", type=int, default=os.cpu_count() or 1)
    parser.add_argument("--outcomes", type=Path, help="write all of them there")
    parser.add_argument("--verbose", action="store_true", help="findings at once")
    args = parser.parse_args()
    args.what = args.what or WHAT
    names = args.scenarios or scenarios(args.library)
    print(f"seed {args.seed}", flush=True)
    with tempfile.TemporaryDirectory() as directory:
        build(Path(directory))
        courses = [Course(args, name, Path(directory)) for name in names]
        with concurrent.futures.ThreadPoolExecutor(args.jobs) as pool:
            courses = list(pool.map(Course.go, courses))
    print(*table(courses), sep="\n")
    findings = 0
    for course in courses:
        for plan, wrong in course.wrong:
            findings += 1
            print(f"{course.scenario} {json.dumps(plan)}:", *wrong)
    points = sum(sum(course.points.values()) for course in courses)
    print(f"{points - findings} passed, {findings} failed")
    sys.exit(findings > 0)


if __name__ == "__main__":
    main()
