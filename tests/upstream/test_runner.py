"""Tests of the runner itself, on a package and a test suite made up here."""

from __future__ import annotations

import itertools
import os
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest

sys.path.insert(0, os.path.dirname(__file__))

import judge
import processes

FILE = "trio/_tests/test_it.py"

# A wheel of "trio": its modules must never be imported, its tests must.
WHEEL = {
    "__init__.py": "raise AssertionError('the wheel was imported')",
    "_inner.py": """
        raise AssertionError('the wheel was imported')
        import math
        def starred(): ...
        class StarredToo: ...
    """,
    "_tests/__init__.py": "",
    "_tests/pytest_plugin.py": """
        from .. import _inner
        def pytest_addoption(parser):
            parser.addoption("--run-slow", action="store_true")
            parser.addoption("--skip-optional-imports", action="store_true")
    """,
}
PACKAGE = {
    "__init__.py": "from . import _inner",
    "__main__.py": "import trio; print(trio.__name__)",
    "_inner.py": "present = 'ours'",
    "part.py": "",
}


def lay(directory: Path, files: dict[str, str]) -> None:
    for name, text in files.items():
        path = directory / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(textwrap.dedent(text))


@pytest.fixture
def setup(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> processes.Setup:
    lay(tmp_path / "wheel" / "trio", WHEEL)
    lay(tmp_path / "site" / "made_up", PACKAGE)
    monkeypatch.setenv("PYTHONPATH", str(tmp_path / "site"))
    return processes.Setup(
        wheel=tmp_path / "wheel",
        logs=tmp_path / "logs",
        target="made_up",
        package=processes.find_package("made_up"),
    )


def run(setup: processes.Setup, test_file: str) -> processes.FileRun:
    lay(setup.wheel, {FILE: test_file})
    return processes.run_file(FILE, setup)


def outcomes(run: processes.FileRun) -> dict[str, str]:
    return {
        name.partition("::")[2]: f"{result.outcome} {result.reason}".strip()
        for name, result in run.results.items()
    }


def python(setup: processes.Setup, *arguments: str) -> str:
    environment = dict(
        os.environ,
        PYTHONPATH=f"{processes.INSIDE}{os.pathsep}{os.environ['PYTHONPATH']}",
        UPSTREAM_TARGET=str(setup.target),
        UPSTREAM_WHEEL=str(setup.wheel),
    )
    child = subprocess.run(
        [sys.executable, *arguments],
        env=environment,
        stdout=subprocess.PIPE,
        text=True,
        check=True,
    )
    return child.stdout


def test_the_shadow_hands_out_the_modules_under_test(setup: processes.Setup) -> None:
    code = """
        import trio.part, made_up.part, trio, made_up, sys
        assert trio is made_up and trio.part is made_up.part
        from trio._inner import present
        assert present == "ours"
        assert sys.modules["trio._inner"] is sys.modules["made_up._inner"]
        assert made_up.part.__name__ == made_up.part.__spec__.name == "made_up.part"
        assert made_up.__spec__.name == "made_up"
        try:
            import trio.nothing
        except ModuleNotFoundError as error:
            assert error.name == "trio.nothing"
        else:
            raise AssertionError("trio.nothing exists")
        print("reached")
    """
    assert python(setup, "-c", textwrap.dedent(code)) == "reached\n"


def test_the_shadow_holds_in_child_processes(setup: processes.Setup) -> None:
    assert python(setup, "-m", "trio") == "made_up\n"


def test_a_missing_name_costs_the_tests_that_use_it(setup: processes.Setup) -> None:
    result = run(
        setup,
        """
        from contextlib import suppress
        import pytest
        import trio._gone
        from trio._gone import Base, decorate
        from trio import _inner
        from .._inner import absent, present
        from .._inner import *

        def test_present(): assert present == "ours"
        def test_absent(): absent.attribute
        def test_called(): absent()
        def test_compared(): assert absent * 2 == 3
        def test_swallowed():
            with suppress(Exception): absent()
        @decorate
        def test_decorated(): pass
        class Derived(Base): pass
        def test_derived(): Derived()
        @pytest.mark.parametrize("value", [_inner.absent, _inner.present])
        def test_parameter(value): assert len(value) == 4
        def test_star(): starred()
        def test_module_of_star(): assert math.floor(1.5) == 1
        def test_inside():
            from .._inner import hidden
        """,
    )
    inner = "failed missing private name trio._inner"
    expected = {
        "test_present": "passed",
        "test_absent": f"{inner}.absent",
        "test_called": f"{inner}.absent",
        "test_compared": f"{inner}.absent",
        "test_swallowed": f"{inner}.absent",
        "test_decorated": "failed missing private name trio._gone.decorate",
        "test_derived": "failed missing private name trio._gone.Base",
        "test_parameter[absent]": "failed missing private name made_up._inner.absent",
        "test_parameter[ours]": "passed",
        "test_star": f"{inner}.starred",
        "test_module_of_star": "passed",
    }
    got = outcomes(result)
    # How much of the name the ImportError tells depends on the Python version.
    assert "hidden" in got.pop("test_inside")
    assert got == expected
    assert result.problems == []


def test_an_error_of_the_package_is_not_a_missing_name(setup: processes.Setup) -> None:
    lay(setup.wheel.parent / "site" / "made_up", {"broken.py": "import made_up_gone"})
    result = run(
        setup,
        """
        from ..broken import anything
        def test(): pass
        """,
    )
    assert result.results == {}
    assert "made_up_gone" in result.problems[0]


@pytest.mark.parametrize(
    ("death", "reason"),
    [
        ("os.kill(os.getpid(), signal.SIGSEGV)", "crashed: SIGSEGV"),
        ("os._exit(0)", "the process ended with status 0"),
        ("raise KeyboardInterrupt", "the process ended with status 2"),
    ],
)
def test_a_death_costs_the_test_that_was_running(
    setup: processes.Setup,
    tmp_path: Path,
    death: str,
    reason: str,
) -> None:
    result = run(
        setup,
        f"""
        import os, signal, pytest
        @pytest.fixture(autouse=True)
        def count(request):
            with open({str(tmp_path / "ran")!r}, "a") as file:
                file.write(request.node.name + " ")
        def test_1(): pass
        def test_2(): {death}
        def test_3(): assert False
        def test_4(): {death}
        def test_5(): pass
        """,
    )
    got = outcomes(result)
    assert {name: text.split()[0] for name, text in got.items()} == {
        "test_1": "passed",
        "test_2": "failed",
        "test_3": "failed",
        "test_4": "failed",
        "test_5": "passed",
    }
    assert reason in got["test_2"]
    assert reason in got["test_4"]
    assert (tmp_path / "ran").read_text() == "test_1 test_2 test_3 test_4 test_5 "
    assert result.complete


def test_a_death_after_the_last_test_is_a_failure(setup: processes.Setup) -> None:
    result = run(
        setup,
        """
        import atexit, os
        atexit.register(os._exit, 23)
        def test(): pass
        """,
    )
    assert outcomes(result) == {"test": "passed"}
    assert result.problems == ["the process ended with status 23 after the last test"]
    verdict = judge.judge([result], {f"{FILE}::test": "passed"}, [])
    assert [name for name, _ in verdict.failures] == [f"{FILE}::(the process)"]


@pytest.mark.parametrize(("reporting", "ending"), [(True, 0), (False, None)])
def test_a_process_is_given_up_when_it_goes_quiet(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    reporting: bool,
    ending: int | None,
) -> None:
    report = tmp_path / "report"
    clock = itertools.count()
    monkeypatch.setattr(processes.time, "monotonic", lambda: next(clock))

    class Child:
        """Ends the hundredth time it is asked."""

        asked = 0

        def wait(self, timeout: float) -> int:
            self.asked += 1
            if reporting:
                with report.open("a") as file:
                    print(file=file)
            if self.asked == 100:
                return 0
            raise subprocess.TimeoutExpired("child", timeout)

    assert processes.wait(Child(), report, 10) is ending


def verdict_of(results: dict[str, str], listed: dict[str, str]) -> list[str]:
    """Judge made-up outcomes where real Trio passes a and b, and skips c."""
    run = processes.FileRun(
        FILE,
        {f"{FILE}::{name}": processes.Result(text) for name, text in results.items()},
        complete=True,
    )
    baseline = {
        f"{FILE}::a": "passed",
        f"{FILE}::b": "passed",
        f"{FILE}::c": "skipped",
    }
    entries = [
        judge.Entry(section, f"{FILE}::{name}", "why")
        for name, section in listed.items()
    ]
    verdict = judge.judge([run], baseline, entries)
    return [name.partition("::")[2] for name, _ in verdict.failures]


@pytest.mark.parametrize(
    ("results", "listed", "failures"),
    [
        ("a=passed b=passed c=skipped", "", ""),
        ("a=passed b=failed c=skipped", "", "b"),
        ("a=passed b=skipped c=skipped", "", "b"),
        ("a=passed b=xfailed c=skipped", "", "b"),
        ("a=passed c=skipped", "", "b"),
        ("a=passed b=passed c=failed", "", "c"),
        ("a=passed b=passed c=passed d=failed", "", "d"),
        ("a=passed b=failed c=skipped", "b=internals", ""),
        ("a=passed b=failed c=skipped", "b=pending", ""),
        ("a=passed b=failed c=failed", "*=pending", ""),
        ("a=passed b=passed c=skipped", "*=pending", ""),
        ("a=passed b=passed c=skipped", "b=internals", "b"),
        ("a=passed b=passed c=skipped", "b=pending", "b"),
        ("a=failed b=passed c=skipped", "*=pending b=pending", "b"),
    ],
)
def test_judging(results: str, listed: str, failures: str) -> None:
    def pairs(text: str) -> dict[str, str]:
        return dict(pair.split("=") for pair in text.split())

    assert verdict_of(pairs(results), pairs(listed)) == failures.split()


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("[[internals]]\ntest = 'f::*'\nreason = 'r'", "only pending"),
        ("[[pending]]\ntest = 'f::a'", "needs a test id and a reason"),
        ("[[pending]]\ntest = 'f'\nreason = 'r'", "needs a test id and a reason"),
        ("[[later]]\ntest = 'f::a'\nreason = 'r'", "no such section"),
        ("[[pending]]\ntest = 'f::a'\nreason = 'r'\n" * 2, "listed twice"),
    ],
)
def test_a_bad_list_is_refused(tmp_path: Path, text: str, complaint: str) -> None:
    path = tmp_path / "exceptions.toml"
    path.write_text(text)
    with pytest.raises(judge.ListError, match=complaint):
        judge.read_entries(path)


def test_an_entry_can_be_for_some_versions(tmp_path: Path) -> None:
    path = tmp_path / "exceptions.toml"
    path.write_text("[[pending]]\ntest = 'f::a'\nreason = 'r'\npython = ['3.12']")
    assert judge.read_entries(path, "3.11") == []
    assert [entry.test for entry in judge.read_entries(path, "3.12")] == ["f::a"]


def test_an_entry_can_be_for_a_poller(tmp_path: Path) -> None:
    path = tmp_path / "exceptions.toml"
    path.write_text("[[internals]]\ntest = 'f::a'\nreason = 'r'\npoller = 'poll'")
    assert judge.read_entries(path, poller="epoll") == []
    found = judge.read_entries(path, poller="poll")
    assert [entry.test for entry in found] == ["f::a"]


def test_entries_for_no_test_are_found() -> None:
    entries = [judge.Entry("pending", f"f::{name}", "why") for name in "abcd*"]
    entries.append(judge.Entry("pending", "g::*", "why"))
    baselines = [{"f::a": "passed", "f::c": "failed"}, {"f::b": "skipped"}]
    unknown = [name for name, _ in judge.unknown_entries(entries, baselines)]
    assert unknown == ["f::c", "f::d", "g::*"]
