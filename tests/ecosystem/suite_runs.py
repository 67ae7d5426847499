"""Runs the libraries' own tests, on real Trio and on trio_c, and compares.

A suite comes from the library's source distribution and runs twice: in the
environment with Trio as it is, and in the one without under trio_c's plugin.
What passes there has to pass here. differences.toml lists what does not, and
why; an entry whose test passes after all is a failure, too.
"""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
import tarfile
import tempfile
import time
import tomllib
from argparse import Namespace
from dataclasses import dataclass, field
from pathlib import Path

from environments import (
    HERE,
    PIP,
    Environment,
    SetupError,
    requirements,
    run as run_python,
)

INSIDE = HERE / "inside"
GOOD = ("passed", "xfailed", "xpassed", "skipped")


@dataclass(frozen=True)
class Suite:
    """A library's tests; suites.toml says what the fields are."""

    name: str
    version: str
    tests: list[str]
    plugins: list[str] = field(default_factory=list)
    options: list[str] = field(default_factory=list)
    keyword: str = ""
    variables: dict[str, str] = field(default_factory=dict)
    timeout: float = 120
    newest: str = ""
    quick: bool = False

    def supports(self, python: tuple[int, int]) -> bool:
        newest = tuple(int(part) for part in self.newest.split(".") if part)
        return not newest or python <= newest


@dataclass(frozen=True)
class Outcome:
    """How a test ended: passed, failed, skipped, xfailed or xpassed."""

    kind: str
    reason: str = ""


@dataclass
class Run:
    """One run of a suite: the tests by their ids, and what ended it early."""

    tests: dict[str, Outcome]
    problem: str = ""


@dataclass
class Verdict:
    """What is wrong with a suite on trio_c, and what is excused."""

    passed: int = 0
    failures: list[tuple[str, str]] = field(default_factory=list)
    excused: list[tuple[str, str]] = field(default_factory=list)
    shared: list[tuple[str, str]] = field(default_factory=list)


def choose(names: list[str], *, quick: bool) -> list[Suite]:
    """The suites of those names; all of them, or all quick ones, for no name."""
    pins = requirements(slow=True)
    with (HERE / "suites.toml").open("rb") as file:
        tables = tomllib.load(file)["suite"]
    suites = [Suite(version=pins[table["name"]], **table) for table in tables]
    unknown = {*names} - {suite.name for suite in suites}
    if unknown:
        raise SetupError(f"no such suite: {', '.join(sorted(unknown))}")
    if names:
        return [suite for suite in suites if suite.name in names]
    return [suite for suite in suites if suite.quick or not quick]


def run(
    suites: list[Suite],
    environments: list[Environment],
    directory: Path,
    options: Namespace,
) -> tuple[int, int]:
    """Run `suites`; how many tests passed on trio_c, and what failed."""
    real, ours = environments
    listed = read_differences(HERE / "differences.toml")
    logs = directory / "logs"
    logs.mkdir(exist_ok=True)
    passed = failed = 0
    head = f"{'real':>6}{'ours':>6}{'missing':>9}{'excused':>9}{'failed on both':>16}"
    print(f"  {'':<28}{head}")
    for suite in suites:
        label = f"{suite.name} {suite.version}"
        if not suite.supports(sys.version_info[:2]):
            print(f"  {label:<28}is not for this Python")
            continue
        source = fetch(suite, directory / "sources", real)
        began = time.monotonic()
        runs = [
            run_suite(suite, source, environment, logs, options.keyword)
            for environment in (real, ours)
        ]
        verdict = compare(
            *runs, listed.get(suite.name, {}), complete=not options.keyword
        )
        passed += verdict.passed
        failed += len(verdict.failures)
        missing = len(verdict.failures) + len(verdict.excused)
        count = sum(outcome.kind == "passed" for outcome in runs[0].tests.values())
        numbers = f"{count:>6}{verdict.passed:>6}{missing:>9}{len(verdict.excused):>9}"
        seconds = f"{time.monotonic() - began:6.1f} s"
        print(f"  {label:<28}{numbers}{len(verdict.shared):>16}{seconds}")
        show(verdict, options.list_failures)
    return passed, failed


def show(verdict: Verdict, everything: bool) -> None:
    for name, reason in verdict.failures:
        print(f"    FAILED {name}\n        {reason}")
    if everything:
        for name, reason in verdict.excused:
            print(f"    excused {name}\n        {reason}")
        for name, reason in verdict.shared:
            print(f"    fails on both {name}\n        {reason}")


def fetch(suite: Suite, sources: Path, environment: Environment) -> Path:
    """Download and unpack a source distribution, unless that is done already."""
    unpacked = sources / f"{suite.name}-{suite.version}"
    if unpacked.is_dir():
        return unpacked
    sources.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=sources) as scratch:
        command = [str(environment.python), *PIP, "download", "--no-deps"]
        command += ["--no-binary", suite.name, "-d", scratch]
        command += [f"{suite.name}=={suite.version}"]
        done = subprocess.run(
            command,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            check=False,
        )
        archives = [*Path(scratch).glob("*.tar.gz")]
        if done.returncode != 0 or not archives:
            raise SetupError(f"{done.stdout}\nno source of {suite.name} could be had")
        with tarfile.open(archives[0]) as archive:
            archive.extractall(Path(scratch, "unpacked"), filter="data")
        (top,) = Path(scratch, "unpacked").iterdir()
        top.rename(unpacked)
    return unpacked


def run_suite(
    suite: Suite,
    source: Path,
    environment: Environment,
    logs: Path,
    keyword: str | None,
) -> Run:
    """Run a suite once: on real Trio where there is one, and else on trio_c."""
    plugins = ["ecosystem_report", *suite.plugins]
    arguments = ["-m", "pytest", "-p", "no:cacheprovider"]
    if not environment.has_trio:
        # Both, as a suite's own configuration may load plugins before ours.
        arguments = ["-m", "trio_c", *arguments]
        plugins = ["trio_c.pytest_plugin", *plugins]
    arguments += [word for plugin in plugins for word in ("-p", plugin)]
    arguments += ["--continue-on-collection-errors", "-ra", *suite.options]
    keywords = [f"({part})" for part in (suite.keyword, keyword) if part]
    arguments += ["-k", " and ".join(keywords)] if keywords else []
    with tempfile.TemporaryDirectory() as scratch:
        # A copy: some tests write beside themselves.
        copy = Path(scratch, "source")
        shutil.copytree(source, copy, symlinks=True)
        report = Path(scratch, "report")
        report.touch()
        ending = run_python(
            environment,
            [*arguments, f"--basetemp={scratch}/tmp", *suite.tests],
            cwd=copy,
            timeout=suite.timeout,
            variables={
                "ECOSYSTEM_REPORT": str(report),
                "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1",
                "PYTHONPATH": str(INSIDE),
                **suite.variables,
            },
        )
        result = read_report(report.read_text(encoding="ascii"))
    log = logs / f"{suite.name}-{environment.name}.log"
    log.write_text(ending.output, encoding="utf-8", errors="replace")
    # 0: all passed; 1: some failed; 5: nothing to run, for -k alone.
    if ending.status not in (0, 1) and not (keyword and ending.status == 5):
        result.problem = f"the run did not end well: {ending.describe()} (see {log})"
    elif not result.tests and not keyword:
        result.problem = f"no test was run (see {log})"
    return result


def read_report(text: str) -> Run:
    run = Run({})
    begun = []
    # A process that was killed may have left half a line.
    for line in text.split("\n")[:-1]:
        event = json.loads(line)
        if "start" in event:
            begun.append(event["start"])
        else:
            run.tests[event["id"]] = Outcome(event["outcome"], event["reason"])
    for name in begun:
        run.tests.setdefault(name, Outcome("failed", "it did not end"))
    return run


def read_differences(path: Path) -> dict[str, dict[str, str]]:
    """The differences that count on this Python: suite, test, and reason."""
    current = f"{sys.version_info.major}.{sys.version_info.minor}"
    with path.open("rb") as file:
        entries = tomllib.load(file).get("difference", [])
    listed: dict[str, dict[str, str]] = {}
    for entry in entries:
        pythons = entry.pop("python", [current])
        if {*entry} != {"suite", "test", "reason"} or not entry["reason"].strip():
            raise SetupError(f"{path}: not a suite, test and reason: {entry}")
        tests = listed.setdefault(entry["suite"], {})
        if entry["test"] in tests:
            raise SetupError(f"{path}: listed twice: {entry['test']}")
        if current in pythons:
            tests[entry["test"]] = entry["reason"]
    return listed


def compare(
    real: Run, ours: Run, listed: dict[str, str], *, complete: bool = True
) -> Verdict:
    """Judge our run by the real one, and by the listed differences.

    In a complete run, every listed test has to be there.
    """
    verdict = Verdict()
    for run, name in ((real, "real Trio"), (ours, "trio_c")):
        if run.problem:
            verdict.failures.append((name, run.problem))
    for name in sorted({*real.tests, *ours.tests}):
        theirs = real.tests.get(name, Outcome("missing"))
        mine = ours.tests.get(name, Outcome("missing"))
        if theirs.kind == "failed":
            # Says nothing about us; but it may pass.
            verdict.passed += mine.kind == "passed"
            if mine.kind == "failed":
                verdict.shared.append((name, mine.reason))
            continue
        good = mine.kind == theirs.kind or (
            theirs.kind != "passed" and mine.kind in GOOD
        )
        verdict.passed += mine.kind == "passed"
        if good:
            if name in listed:
                text = "passes, but is listed in differences.toml: remove it there"
                verdict.failures.append((name, text))
        elif name in listed:
            verdict.excused.append((name, listed[name]))
        else:
            text = f"{theirs.kind} on real Trio, {mine.kind} on trio_c: {mine.reason}"
            verdict.failures.append((name, text))
    if complete:
        for name in sorted({*listed} - {*real.tests}):
            text = "listed in differences.toml, but there is no such test"
            verdict.failures.append((name, text))
    return verdict
