"""Compares a run with the recorded run of real Trio, less the listed tests.

What a run has to do, test by test: pass what real Trio passes, and not fail
what real Trio skips.  A test listed in exceptions.toml is excused, and the
other way round: an entry whose test passes is itself a failure.
"""

from __future__ import annotations

import json
import platform
import tomllib
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

    from processes import FileRun, Result

SECTIONS = ("internals", "pending")


class ListError(Exception):
    """exceptions.toml is not what it must be; the message says where."""


@dataclass(frozen=True)
class Entry:
    """One entry of exceptions.toml.

    `test` is a test id, or ``FILE::*`` for all tests of a file.  An entry
    with `pythons` counts on those Python versions only, one with a `poller`
    only where runs wait with that one.
    """

    section: str
    test: str
    reason: str
    pythons: tuple[str, ...] = ()
    poller: str = ""

    @property
    def whole_file(self) -> bool:
        return self.test.endswith("::*")


@dataclass
class Row:
    """A line of the table: how one file did, in numbers of tests."""

    file: str
    real: int = 0
    ours: int = 0
    missing: int = 0
    new: int = 0
    internals: int = 0
    pending: int = 0
    unlisted: int = 0


@dataclass
class Verdict:
    """The judgement on a run: `failures` are what makes it fail."""

    rows: list[Row] = field(default_factory=list)
    failures: list[tuple[str, str]] = field(default_factory=list)
    listed: list[tuple[str, str, Entry]] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    passed: int = 0


def read_entries(
    path: Path, python: str | None = None, poller: str = ""
) -> list[Entry]:
    """Read the exceptions that count on Python version *python*, with *poller*."""
    with path.open("rb") as file:
        try:
            document = tomllib.load(file)
        except tomllib.TOMLDecodeError as error:
            raise ListError(f"{path}: {error}") from None
    entries: list[Entry] = []
    for section, tables in document.items():
        if section not in SECTIONS:
            raise ListError(f"{path}: no such section: {section}")
        for table in tables:
            entries.append(_entry(path, section, dict(table)))
    seen: set[str] = set()
    for entry in entries:
        if entry.test in seen:
            raise ListError(f"{path}: listed twice: {entry.test}")
        seen.add(entry.test)
    python = python or current_python()
    return [
        entry
        for entry in entries
        if python in (entry.pythons or (python,)) and entry.poller in ("", poller)
    ]


def _entry(path: Path, section: str, table: dict) -> Entry:
    test = table.pop("test", "")
    reason = table.pop("reason", "")
    pythons = tuple(table.pop("python", ()))
    poller = table.pop("poller", "")
    if table or "::" not in test or not reason.strip():
        raise ListError(
            f"{path}: an entry needs a test id and a reason, and may have a"
            f" python list and a poller: {section} {test!r}",
        )
    entry = Entry(section, test, reason, pythons, poller)
    if entry.whole_file and section != "pending":
        raise ListError(f"{path}: only pending takes a whole file: {test}")
    return entry


def current_python() -> str:
    """Return the version that baselines are named after, such as 3.12."""
    return ".".join(platform.python_version_tuple()[:2])


def read_baseline(path: Path) -> dict[str, str]:
    """Read a recorded run: test id to outcome."""
    return json.loads(path.read_text(encoding="utf-8"))


def write_baseline(path: Path, runs: Iterable[FileRun]) -> None:
    """Record a run, one test a line, sorted."""
    outcomes = {
        name: result.outcome for run in runs for name, result in run.results.items()
    }
    text = json.dumps(outcomes, indent=0, sort_keys=True, ensure_ascii=True)
    path.write_text(text + "\n", encoding="utf-8")


def judge(
    runs: Iterable[FileRun],
    baseline: dict[str, str],
    entries: Iterable[Entry],
    *,
    selected: bool = False,
) -> Verdict:
    """Judge *runs*; *selected* says that they were not to run every test."""
    by_test = {entry.test: entry for entry in entries}
    verdict = Verdict()
    for run in runs:
        names = set(run.results)
        if not selected or not run.complete:
            names |= {name for name in baseline if _file(name) == run.file}
        verdict.rows.append(_judge_file(run, names, baseline, by_test, verdict))
    return verdict


def _judge_file(
    run: FileRun,
    names: set[str],
    baseline: dict[str, str],
    by_test: dict[str, Entry],
    verdict: Verdict,
) -> Row:
    row = Row(run.file)
    whole_file = by_test.get(f"{run.file}::*")
    excused: list[tuple[str, str, Entry]] = []

    def fail(name: str, reason: str, entry: Entry | None) -> None:
        if entry is None:
            row.unlisted += 1
            verdict.failures.append((name, reason))
        else:
            excused.append((name, reason, entry))
            count = getattr(row, entry.section) + 1
            setattr(row, entry.section, count)

    for problem in run.problems:
        fail(f"{run.file}::(the process)", problem, whole_file)
    for name in sorted(names):
        entry = by_test.get(name)
        ours = run.results.get(name)
        passed = ours is not None and ours.outcome == "passed"
        verdict.passed += passed
        if baseline.get(name) == "passed":
            row.real += 1
            row.ours += passed
            row.missing += not passed
            if not passed:
                fail(name, _why(ours, run), entry or whole_file)
        elif ours is not None and ours.outcome == "failed":
            real = baseline.get(name, "no such test")
            # What real Trio fails as well says nothing about us.
            if real != "failed":
                row.new += 1
                reason = f"{ours.reason} (real Trio: {real})"
                fail(name, reason, entry or whole_file)
        if passed and entry is not None:
            text = f"passes, but is listed under {entry.section}"
            fail(name, f"{text}: remove it from the list", None)
    verdict.listed += excused
    if whole_file is not None and run.complete and not excused:
        verdict.notes.append(f"nothing left to excuse: {whole_file.test}")
    return row


def _why(ours: Result | None, run: FileRun) -> str:
    if ours is None:
        return run.problems[0] if run.problems else "no such test was collected"
    if ours.outcome == "failed":
        return ours.reason
    return f"{ours.outcome}: {ours.reason}"


def unknown_entries(
    entries: Iterable[Entry],
    baselines: Iterable[dict[str, str]],
) -> list[tuple[str, str]]:
    """Return the entries for tests that no recorded run of real Trio passed."""
    known: set[str] = set()
    for baseline in baselines:
        for name, outcome in baseline.items():
            known.add(f"{_file(name)}::*")
            if outcome != "failed":
                known.add(name)
    reason = "listed, but real Trio has no such test: remove it from the list"
    return [(entry.test, reason) for entry in entries if entry.test not in known]


def _file(name: str) -> str:
    return name.partition("::")[0]


def table(rows: Iterable[Row]) -> str:
    """Lay out the table, one row per file and one for all of them."""
    rows = list(rows)
    columns = ("real", "ours", "missing", "new", "internals", "pending", "unlisted")
    total = Row("total")
    for row in rows:
        for column in columns:
            setattr(total, column, getattr(total, column) + getattr(row, column))
    width = max(len(row.file) for row in [*rows, total])
    heads = [f"{column:>{max(len(column), 5)}}" for column in columns]
    lines = ["  ".join(["file".ljust(width), *heads])]
    for row in [*rows, total]:
        cells = [
            f"{getattr(row, column) or '.':>{len(head)}}"
            for column, head in zip(columns, heads, strict=True)
        ]
        lines.append("  ".join([row.file.ljust(width), *cells]))
    return "\n".join(lines)
