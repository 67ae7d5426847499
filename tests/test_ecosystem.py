"""The runner of other people's libraries (tests/ecosystem): how it judges.

The libraries themselves are run by ``make test-ecosystem``.
"""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path

import pytest

ECOSYSTEM = Path(__file__).with_name("ecosystem")
sys.path.insert(0, str(ECOSYSTEM))

import environments  # noqa: E402
import program_runs  # noqa: E402
import suite_runs  # noqa: E402
from _processes import run_python  # noqa: E402
from suite_runs import Outcome, Run, compare  # noqa: E402


def run_of(**kinds: str) -> Run:
    return Run({name: Outcome(kind, "because") for name, kind in kinds.items()})


@pytest.mark.parametrize(
    ("real", "ours", "fails"),
    [
        ("passed", "passed", False),
        ("passed", "failed", True),
        ("passed", "skipped", True),
        ("passed", "xfailed", True),
        ("passed", "missing", True),
        ("failed", "failed", False),
        ("failed", "passed", False),
        ("failed", "missing", False),
        ("skipped", "skipped", False),
        ("skipped", "passed", False),
        ("skipped", "failed", True),
        ("skipped", "missing", True),
        ("xfailed", "passed", False),
        ("xfailed", "failed", True),
        ("missing", "passed", False),
        ("missing", "failed", True),
    ],
)
def test_what_counts_as_a_failure(real: str, ours: str, fails: bool) -> None:
    runs = [run_of(**{} if kind == "missing" else {"t": kind}) for kind in (real, ours)]
    verdict = compare(*runs, {})
    assert [name for name, _ in verdict.failures] == ["t"] * fails
    assert verdict.passed == (ours == "passed")
    assert [name for name, _ in verdict.shared] == ["t"] * (real == ours == "failed")
    assert not verdict.excused


def test_listed_differences_are_excused_while_they_last() -> None:
    real, ours = run_of(a="passed", b="passed"), run_of(a="failed", b="passed")
    verdict = compare(real, ours, {"a": "a good reason"})
    assert not verdict.failures and verdict.excused == [("a", "a good reason")]

    verdict = compare(real, ours, {"a": "a good reason", "b": "outdated"})
    assert [name for name, _ in verdict.failures] == ["b"]
    verdict = compare(real, ours, {"a": "a good reason", "c": "gone"})
    assert [name for name, _ in verdict.failures] == ["c"]
    verdict = compare(real, ours, {"a": "a good reason", "c": "gone"}, complete=False)
    assert not verdict.failures


def test_a_run_that_ended_badly_is_a_failure() -> None:
    ours = Run({"a": Outcome("passed")}, problem="SIGSEGV")
    verdict = compare(run_of(a="passed"), ours, {})
    assert verdict.failures == [("trio_c", "SIGSEGV")]


def test_a_report_that_breaks_off() -> None:
    events = [
        {"start": "a"},
        {"id": "a", "outcome": "passed", "reason": ""},
        {"start": "b"},
    ]
    text = "".join(json.dumps(event) + "\n" for event in events) + '{"id": "b", "ou'
    tests = suite_runs.read_report(text).tests
    assert tests == {"a": Outcome("passed"), "b": Outcome("failed", "it did not end")}


def test_the_lists_are_what_they_have_to_be() -> None:
    pins = environments.requirements(slow=True)
    assert pins["trio"] == "0.34.0"
    assert {*environments.requirements(slow=False)} < {*pins}
    every = suite_runs.choose([], quick=False)
    quick = suite_runs.choose([], quick=True)
    assert quick and len(quick) < len(every)
    few = environments.requirements(slow=False)
    assert all(suite.name in few for suite in quick)
    listed = suite_runs.read_differences(ECOSYSTEM / "differences.toml")
    assert {*listed} <= {suite.name for suite in every}


def test_every_program_checks_what_it_runs_on() -> None:
    programs = program_runs.choose([])
    assert {path.stem for path in program_runs.PROGRAMS.glob("*.py")} == {
        *(path.stem for path in programs),
        *program_runs.HELPERS,
    }
    assert all("\nwhich_trio.check()\n" in path.read_text() for path in programs)
    assert program_runs.choose([programs[0].stem]) == programs[:1]


@pytest.mark.parametrize("choose", [program_runs.choose, suite_runs.choose])
def test_unknown_names(choose: object) -> None:
    options = {"quick": False} if choose is suite_runs.choose else {}
    with pytest.raises(environments.SetupError, match="nonsense"):
        choose(["nonsense"], **options)


@pytest.mark.parametrize(
    "entry",
    [
        'suite = "s"\ntest = "t"',
        'suite = "s"\ntest = "t"\nreason = " "',
        'suite = "s"\ntest = "t"\nreason = "r"\nother = 1',
    ],
)
def test_entries_without_a_reason_are_refused(entry: str, tmp_path: Path) -> None:
    path = tmp_path / "differences.toml"
    path.write_text(f"[[difference]]\n{entry}\n")
    with pytest.raises(environments.SetupError, match="not a suite, test and reason"):
        suite_runs.read_differences(path)


def test_entries_for_some_versions(tmp_path: Path) -> None:
    path = tmp_path / "differences.toml"
    current = f"{sys.version_info.major}.{sys.version_info.minor}"
    path.write_text(
        "".join(
            f'[[difference]]\nsuite = "s"\ntest = "{name}"\nreason = "r"\n'
            f'python = ["{version}"]\n'
            for name, version in (("here", current), ("elsewhere", "2.7"))
        )
    )
    assert suite_runs.read_differences(path) == {"s": {"here": "r"}}


TESTS = """
import pytest

def test_good(): pass
def test_bad(): assert 1 == 2
def test_crash():
    import os
    os._exit(7)
@pytest.mark.skip(reason="for now")
def test_skipped(): pass
@pytest.mark.xfail(reason="as expected")
def test_expected(): assert False
@pytest.fixture
def broken():
    yield
    raise LookupError("at the end")
def test_cleanup(broken): pass
@pytest.mark.parametrize("value", [object()], ids=repr)
def test_with_an_address(value): pass
"""


def test_the_plugin_reports_every_test(tmp_path: Path) -> None:
    (tmp_path / "test_it.py").write_text(TESTS)
    (tmp_path / "test_broken.py").write_text("import nothing_of_that_name")
    found = {}
    for expression in ("not crash", "crash"):
        report = tmp_path / f"{expression}.report"
        options = ["-p", "ecosystem_report", "-p", "no:cacheprovider", "-k", expression]
        options += ["--continue-on-collection-errors", "-c", os.devnull]
        options += ["--rootdir", str(tmp_path)]
        os.environ["ECOSYSTEM_REPORT"] = str(report)
        try:
            inside = ECOSYSTEM / "inside"
            run_python(
                *("-m", "pytest", *options, tmp_path),
                status=None,
                path=inside,
                cwd=tmp_path,
            )
        finally:
            del os.environ["ECOSYSTEM_REPORT"]
        found |= suite_runs.read_report(report.read_text()).tests
    kinds = {name.partition("::")[2] or name: o.kind for name, o in found.items()}
    assert kinds == {
        "test_broken.py": "failed",
        "test_good": "passed",
        "test_bad": "failed",
        "test_crash": "failed",
        "test_skipped": "skipped",
        "test_expected": "xfailed",
        "test_cleanup": "failed",
        "test_with_an_address[<object object at 0x>]": "passed",
    }
    reasons = {name.partition("::")[2]: o.reason for name, o in found.items()}
    assert "assert 1 == 2" in reasons["test_bad"]
    assert "teardown: LookupError" in reasons["test_cleanup"]
    assert reasons["test_crash"] == "it did not end"
    assert reasons["test_skipped"].endswith("for now")
