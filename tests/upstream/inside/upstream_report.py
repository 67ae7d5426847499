"""The pytest plugin that tells the runner what happens, as it happens.

Appends one JSON object a line to the file ``UPSTREAM_REPORT``:

* ``collected``: the ids of the tests that are going to run;
* ``collect_error``: the test file could not be imported, and why;
* ``start`` and ``finish``: a test began, and how it ended.

A test that has a ``start`` and no ``finish`` is what the process died of.
Tests named in the file ``UPSTREAM_DONE`` (a JSON list) are left out.

An id is the path of the test file in the wheel and the name of the test; where
a parameter holds the package's own name, it reads ``trio`` on either side.
"""

from __future__ import annotations

import json
import os
import re
from typing import TYPE_CHECKING, Any

import pytest
import upstream_shadow

if TYPE_CHECKING:
    from collections.abc import Generator, Iterator

TARGET = os.environ.get("UPSTREAM_TARGET")

_outcomes: dict[str, tuple[str, str]] = {}


def _tell(event: str, **details: object) -> None:
    line = json.dumps({"event": event, **details}) + "\n"
    with open(os.environ["UPSTREAM_REPORT"], "a", encoding="ascii") as report:
        report.write(line)


def _plain(text: str) -> str:
    """Name the package under test as upstream does."""
    if TARGET is None:
        return text
    return re.sub(rf"\b{re.escape(TARGET)}\b", upstream_shadow.SHADOWED, text)


def _id(nodeid: str) -> str:
    path, _, name = nodeid.partition("::")
    return f"{path}::{_plain(name)}"


def _related(error: BaseException) -> Iterator[BaseException]:
    """Yield *error* and all it contains or was caused by, outermost first."""
    queue: list[BaseException | None] = [error]
    seen: set[int] = set()
    while queue:
        current = queue.pop(0)
        if current is None or id(current) in seen:
            continue
        seen.add(id(current))
        yield current
        if isinstance(current, BaseExceptionGroup):
            queue.extend(current.exceptions)
        queue.extend((current.__cause__, current.__context__))


def _missing(error: BaseException) -> str | None:
    """Return the private name that *error* says does not exist, if it does."""
    if isinstance(error, upstream_shadow.MissingName):
        return str(error).rpartition(" ")[2]
    name = None
    if isinstance(error, ModuleNotFoundError):
        name = error.name
    elif isinstance(error, ImportError):
        source = getattr(error, "name_from", None)  # since CPython 3.12
        name = source and f"{error.name}.{source}"
    elif isinstance(error, AttributeError):
        owner = getattr(error.obj, "__name__", None)
        if isinstance(owner, str) and type(error.obj).__name__ == "module":
            name = f"{owner}.{error.name}"
    if name is None:
        return None
    name = _plain(name)
    parts = name.split(".")
    private = any(part.startswith("_") for part in parts[1:])
    return name if private and parts[0] == upstream_shadow.SHADOWED else None


def _reason(error: BaseException) -> str:
    """Return why the test failed, in one line."""
    chain = list(_related(error))
    for current in chain:
        name = _missing(current)
        if name is not None:
            return f"missing private name {name}"
    leaf = error
    while isinstance(leaf, BaseExceptionGroup):
        leaf = leaf.exceptions[0]
    text = " ".join(str(leaf).split())
    reason = f"{type(leaf).__name__}: {text}" if text else type(leaf).__name__
    if leaf is not error:
        reason = f"{type(error).__name__} of {reason}"
    where = ""
    traceback = error.__traceback__
    while traceback is not None:
        path = traceback.tb_frame.f_code.co_filename
        if f"{os.sep}_tests{os.sep}" in path:
            where = f" ({os.path.basename(path)}:{traceback.tb_lineno})"
        traceback = traceback.tb_next
    return reason[:200] + where


def pytest_load_initial_conftests() -> None:
    # pytest has put its own finder in front by now, which would load the test
    # files in the plain way.
    if TARGET is not None:
        upstream_shadow.install()


def pytest_collection_modifyitems(
    config: pytest.Config,
    items: list[pytest.Item],
) -> None:
    path = os.environ.get("UPSTREAM_DONE")
    if path is None:
        return
    with open(path, encoding="ascii") as file:
        done = set(json.load(file))
    gone = [item for item in items if _id(item.nodeid) in done]
    items[:] = [item for item in items if _id(item.nodeid) not in done]
    config.hook.pytest_deselected(items=gone)


def pytest_collectreport(report: pytest.CollectReport) -> None:
    if report.failed:
        reason = getattr(report, "upstream_reason", str(report.longrepr))
        _tell("collect_error", reason=reason)


@pytest.hookimpl(wrapper=True, tryfirst=True)
def pytest_make_collect_report(
    collector: pytest.Collector,
) -> Generator[None, Any, pytest.CollectReport]:
    report = yield
    call = getattr(report, "call", None)
    if report.failed and call is not None:
        error = call.excinfo.value
        # pytest raises its own error from the one it met.
        report.upstream_reason = _reason(error.__cause__ or error)
    return report


def pytest_collection_finish(session: pytest.Session) -> None:
    _tell("collected", ids=[_id(item.nodeid) for item in session.items])


def pytest_runtest_logstart(nodeid: str) -> None:
    upstream_shadow.touched.clear()
    _outcomes[nodeid] = ("passed", "")
    _tell("start", id=_id(nodeid))


@pytest.hookimpl(wrapper=True, tryfirst=True)
def pytest_runtest_makereport(
    item: pytest.Item,
    call: pytest.CallInfo[None],
) -> Generator[None, Any, pytest.TestReport]:
    report = yield
    outcome, reason = _outcomes[item.nodeid]
    if report.failed:
        if call.excinfo is not None:
            why = _reason(call.excinfo.value)
        else:
            why = str(report.longrepr)
        if report.when != "call":
            why = f"in {report.when}: {why}"
        if outcome != "failed":
            outcome, reason = "failed", why
    elif report.when != "teardown" and outcome == "passed":
        expected = getattr(report, "wasxfail", None)
        if report.skipped:
            outcome = "skipped" if expected is None else "xfailed"
            reason = expected or str(report.longrepr[-1])
        elif expected is not None:
            outcome, reason = "xpassed", expected
    if upstream_shadow.touched:
        # Also where the test swallowed the error: it has not passed.
        name = upstream_shadow.touched[0]
        outcome, reason = "failed", f"missing private name {name}"
    _outcomes[item.nodeid] = (outcome, reason)
    return report


def pytest_runtest_logfinish(nodeid: str) -> None:
    outcome, reason = _outcomes.pop(nodeid)
    _tell("finish", id=_id(nodeid), outcome=outcome, reason=reason)
