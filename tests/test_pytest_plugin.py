"""``pytest -p trio_c.pytest_plugin``, from outside."""

from __future__ import annotations

from pathlib import Path

import pytest
from _processes import run_python


@pytest.fixture
def suite(tmp_path: Path) -> Path:
    """An empty test suite."""
    (tmp_path / "pytest.ini").write_text("[pytest]\n")
    return tmp_path


def run_suite(suite: Path, *arguments: str, status: int = 0) -> str:
    result = run_python(
        "-m",
        "pytest",
        *("-p", "trio_c.pytest_plugin", "-p", "no:cacheprovider"),
        # Whatever this environment has installed is no part of the test.
        *("-p", "no:trio", "-p", "no:anyio", "-p", "no:asyncio"),
        *arguments,
        cwd=suite,
        status=status,
        path=suite,
    )
    return result.stdout + result.stderr


def test_trio_is_replaced_before_any_conftest(suite: Path) -> None:
    (suite / "conftest.py").write_text(
        "import trio, trio_c\nassert trio is trio_c\nimport trio.testing\n"
    )
    (suite / "test_it.py").write_text(
        "import trio, trio_c\ndef test_it(): assert trio is trio_c\n"
    )
    assert "1 passed" in run_suite(suite)


def test_trio_is_replaced_before_other_plugins(suite: Path) -> None:
    (suite / "other_plugin.py").write_text(
        "import sys, trio, trio_c\n"
        "assert trio is trio_c\n"
        "def pytest_report_header(): return 'loaded with ' + trio.__name__\n"
    )
    (suite / "other-1.dist-info").mkdir()
    (suite / "other-1.dist-info" / "METADATA").write_text(
        "Metadata-Version: 2.1\nName: other\nVersion: 1\n"
    )
    (suite / "other-1.dist-info" / "entry_points.txt").write_text(
        "[pytest11]\nother = other_plugin\n"
    )
    (suite / "test_it.py").write_text("def test_it(): pass\n")
    assert "loaded with trio\n" in run_suite(suite)


def test_too_late(suite: Path) -> None:
    (suite / "trio").mkdir()
    (suite / "trio" / "__init__.py").write_text("")
    (suite / "early.py").write_text("import trio\n")
    # The other way round it is in time; 5 means that there are no tests.
    run_suite(suite, "-p", "early", status=5)
    result = run_python(
        *("-m", "pytest", "-p", "early", "-p", "trio_c.pytest_plugin"),
        cwd=suite,
        path=suite,
        status=4,
    )
    assert "'trio' has already been imported" in result.stderr
    assert "Traceback" not in result.stderr


ASYNC = """
import pytest, trio
from trio.abc import Instrument

ran = []

async def test_passes():
    await trio.lowlevel.checkpoint()
    ran.append("passes")

async def test_fails():
    await trio.lowlevel.checkpoint()
    assert ran == ["nothing"]

@pytest.mark.parametrize("number", [1, 2])
async def test_parameters(number, tmp_path):
    await trio.sleep(0)
    assert number in (1, 2) and tmp_path.is_dir()

async def test_autojump(autojump_clock):
    began = trio.current_time()
    await trio.sleep(3600)
    assert trio.current_time() - began == 3600
    assert trio.lowlevel.current_clock() is autojump_clock

async def test_mock(mock_clock):
    began = trio.current_time()
    mock_clock.jump(5)
    assert trio.current_time() - began == 5

@pytest.fixture
def steps():
    class Steps(Instrument):
        count = 0
        def before_task_step(self, task):
            self.count += 1
    return Steps()

async def test_instrument(steps):
    await trio.lowlevel.checkpoint()
    assert steps.count > 0

class TestMethods:
    async def test_method(self):
        assert isinstance(self, TestMethods)
        await trio.lowlevel.checkpoint()

def test_synchronous():
    with pytest.raises(RuntimeError):
        trio.current_time()
    assert ran == ["passes"]
"""


def test_async_tests(suite: Path) -> None:
    (suite / "test_it.py").write_text(ASYNC)
    output = run_suite(suite, "-v", status=1)
    assert "1 failed, 8 passed" in output
    assert "test_it.py::test_fails FAILED" in output
    assert "AssertionError: assert ['passes'] == ['nothing']" in output
    # The traceback is the test's, not that of how it was run.
    assert "pytest_plugin.py" not in output.partition("FAILURES")[2]


def test_two_clocks(suite: Path) -> None:
    (suite / "test_it.py").write_text(
        "async def test_it(mock_clock, autojump_clock): pass\n"
    )
    output = run_suite(suite, status=1)
    assert "ValueError: too many clocks spoil the broth!" in output


def test_pytest_trio_does_it_where_it_is(suite: Path) -> None:
    (suite / "pretends.py").write_text(
        "import pytest\n"
        "@pytest.hookimpl\n"
        "def pytest_pyfunc_call(pyfuncitem):\n"
        "    pyfuncitem.obj(**pyfuncitem.funcargs).close()\n"
        "    print('seen by the other')\n"
        "    return True\n"
    )
    (suite / "conftest.py").write_text(
        "import pytest, pretends\n"
        "@pytest.hookimpl(tryfirst=True)\n"
        "def pytest_configure(config):\n"
        "    config.pluginmanager.register(pretends, 'trio')\n"
    )
    (suite / "test_it.py").write_text("async def test_it(): assert 0\n")
    result = run_python(
        *("-m", "pytest", "-s", "-p", "trio_c.pytest_plugin"),
        *("-p", "no:anyio", "-p", "no:asyncio"),
        cwd=suite,
        path=suite,
    )
    assert "seen by the other" in result.stdout


def test_marked_tests_are_left_to_others(suite: Path) -> None:
    (suite / "conftest.py").write_text(
        "import pytest\n"
        "def pytest_configure(config):\n"
        "    config.addinivalue_line('markers', 'anyio: of another plugin')\n"
        "def pytest_pyfunc_call(pyfuncitem):\n"
        "    pyfuncitem.obj().close()\n"
        "    print('left to others')\n"
        "    return True\n"
    )
    (suite / "test_it.py").write_text(
        "import pytest\n@pytest.mark.anyio\nasync def test_it(): assert 0\n"
    )
    assert "left to others" in run_suite(suite, "-s")
