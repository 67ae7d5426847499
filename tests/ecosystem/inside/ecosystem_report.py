"""The pytest plugin that tells the runner how each test ended, as it ends.

Appends a JSON object a line to the file ``ECOSYSTEM_REPORT``: ``{"start": id}``
when a test begins, ``{"id": id, "outcome": ..., "reason": ...}`` when it has
ended, and the latter also for a file that cannot be collected. A test that has
begun and not ended is what the process died of.
"""

from __future__ import annotations

import json
import os
import re

import pytest

_worst: dict[str, tuple[str, str]] = {}
# The tests of an installed package have the environment's path in their ids.
_INSTALLED = re.compile(r"^.*/site-packages/")
_ADDRESS = re.compile(r"\b0x[0-9a-f]+\b")


def _tell(**event: str) -> None:
    with open(os.environ["ECOSYSTEM_REPORT"], "a", encoding="ascii") as report:
        report.write(json.dumps(event) + "\n")


def _id(nodeid: str) -> str:
    return _ADDRESS.sub("0x", _INSTALLED.sub("", nodeid))


def _reason(report: pytest.TestReport | pytest.CollectReport) -> str:
    """The line that says what went wrong."""
    crash = getattr(report.longrepr, "reprcrash", None)
    text = crash.message if crash is not None else str(report.longrepr)
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    errors = [line.removeprefix("E ") for line in lines if line.startswith("E ")]
    return " ".join((errors or lines or [""])[0].split())[:300]


def pytest_collectreport(report: pytest.CollectReport) -> None:
    if report.failed:
        _tell(id=_id(report.nodeid), outcome="failed", reason=_reason(report))


def pytest_runtest_logstart(nodeid: str) -> None:
    _worst[nodeid] = ("passed", "")
    _tell(start=_id(nodeid))


def pytest_runtest_logreport(report: pytest.TestReport) -> None:
    # What a test says by the way, about parts of itself, is not its outcome.
    if type(report) is not pytest.TestReport or report.nodeid not in _worst:
        return
    outcome, _ = _worst[report.nodeid]
    expected = getattr(report, "wasxfail", None)
    if report.failed and outcome != "failed":
        _worst[report.nodeid] = ("failed", f"{report.when}: {_reason(report)}")
    elif outcome == "passed" and report.when != "teardown":
        if report.skipped:
            kind = "skipped" if expected is None else "xfailed"
            reason = report.longrepr[-1] if expected is None else expected
            _worst[report.nodeid] = (kind, str(reason))
        elif expected is not None:
            _worst[report.nodeid] = ("xpassed", expected)


def pytest_runtest_logfinish(nodeid: str) -> None:
    outcome, reason = _worst.pop(nodeid)
    _tell(id=_id(nodeid), outcome=outcome, reason=reason)
