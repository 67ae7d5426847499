"""Runs upstream's test files, each in a process of its own.

A process that dies or goes quiet costs the test that was running: the test is
blamed, and a new process runs what has not been run yet.  No test is ever run
twice.
"""

from __future__ import annotations

import contextlib
import json
import os
import re
import select
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time
from dataclasses import dataclass, field
from io import FileIO
from pathlib import Path

HERE = Path(__file__).resolve().parent
INSIDE = HERE / "inside"
# For a package built with a kqueue where the system has none.
KQUEUE_GLUE = HERE.parent / "kqueue"
TRIO = "trio==0.34.0"
PATTERNS = ("_core/_tests/test_*.py", "_tests/test_*.py", "_tests/tools/test_*.py")


@dataclass(frozen=True)
class Result:
    """How one test ended: passed, failed, skipped, xfailed or xpassed."""

    outcome: str
    reason: str = ""


@dataclass
class FileRun:
    """What became of one test file.

    `problems` are failures that belong to no test: the file could not be
    imported, or its process died after the last test.
    """

    file: str
    results: dict[str, Result] = field(default_factory=dict)
    problems: list[str] = field(default_factory=list)
    complete: bool = False


@dataclass(frozen=True)
class Setup:
    """How to run test files; the same for all files of a run.

    `target` is the name of the package under test, None for real Trio,
    `package` the directory it was imported from, and `backend` what its runs
    wait with by default.  `timeout` is for how many seconds a file may go
    without finishing a test.  `python` runs the tests.
    """

    wheel: Path
    logs: Path
    target: str | None = None
    package: Path | None = None
    backend: str = ""
    timeout: float = 120
    keyword: str | None = None
    python: str = sys.executable


# Set when the user has had enough: the processes are ended, and the run has no result.
stopping = threading.Event()


class SetupError(Exception):
    """The run cannot begin; the message says why."""


def fetch_wheel(directory: Path) -> None:
    """Unpack the Trio release into *directory*, unless it is there already."""
    name, _, version = TRIO.partition("==")
    marker = directory / f"{name}-{version}.dist-info" / "METADATA"
    if marker.is_file():
        return
    directory.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=directory.parent) as scratch:
        unpacked = Path(scratch, "wheel")
        command = [sys.executable, "-m", "pip", "install", "--quiet"]
        command += ["--no-deps", "--target", str(unpacked), TRIO]
        if subprocess.run(command, check=False).returncode != 0:
            raise SetupError(f"pip could not install {TRIO} (see above)")
        shutil.rmtree(directory, ignore_errors=True)
        try:
            unpacked.rename(directory)
        except OSError:
            # Another run was faster.
            if not marker.is_file():
                raise


def test_files(wheel: Path) -> list[str]:
    """Return the test files in the wheel, as the ids name them."""
    package = wheel / "trio"
    found = [path for pattern in PATTERNS for path in package.glob(pattern)]
    return sorted(path.relative_to(wheel).as_posix() for path in found)


def find_package(target: str) -> Path:
    """Import *target* in a fresh interpreter and return its directory."""
    return Path(_ask(f"import {target}; print({target}.__file__)", target)).parent


def find_backend(target: str) -> str:
    """Return what the runs of *target* wait with by default."""
    return _ask(f"import {target}; print({target}._native.BACKEND)", target)


def _ask(code: str, target: str) -> str:
    """Run *code* in a fresh interpreter and return the line that it prints."""
    with tempfile.TemporaryDirectory() as scratch:
        child = subprocess.run(
            [sys.executable, "-c", code],
            cwd=scratch,
            env=_base_environment([]),
            stdout=subprocess.PIPE,
            text=True,
            check=False,
        )
    if child.returncode != 0:
        raise SetupError(
            f"{sys.executable} cannot import {target} (see above); install it,"
            " or put the directory it was built in on PYTHONPATH",
        )
    return child.stdout.strip().splitlines()[-1]


def run_file(file: str, setup: Setup) -> FileRun:
    """Run one test file to its end, in as many processes as it takes."""
    run = FileRun(file)
    setup.logs.mkdir(parents=True, exist_ok=True)
    log_name = file.removeprefix("trio/").replace("/", ".") + ".log"
    with (
        tempfile.TemporaryDirectory(prefix="upstream-") as scratch,
        open(setup.logs / log_name, "wb", buffering=0) as log,
    ):
        while not stopping.is_set() and _run_once(run, setup, Path(scratch), log):
            pass
    return run


def _run_once(run: FileRun, setup: Setup, scratch: Path, log: FileIO) -> bool:
    """Run what is left of a file in one process; true if some is still left."""
    report = scratch / "report"
    report.unlink(missing_ok=True)
    log_start = log.tell()
    ending = _spawn(run, setup, scratch, log)
    log.seek(0, os.SEEK_END)

    collected: list[str] | None = None
    running = None
    finished = 0
    failed = unimportable = False
    for event in events(report):
        kind = event["event"]
        if kind == "collected":
            collected = event["ids"]
        elif kind == "collect_error":
            unimportable = True
            run.problems.append(f"cannot be imported: {event['reason']}")
        elif kind == "start":
            running = event["id"]
        elif kind == "finish":
            running = None
            finished += 1
            failed |= event["outcome"] == "failed"
            result = Result(event["outcome"], event["reason"])
            run.results[event["id"]] = result

    if unimportable:
        return False
    # 0: all passed, 1: some failed, 5: nothing (left) to run.
    if running is None and (ending in (0, 5) or (ending == 1 and failed)):
        run.complete = True
        return False
    why = _describe(ending, setup, Path(log.name), log_start)
    if running is not None:
        run.results[running] = Result("failed", why)
        finished += 1
    left = [name for name in collected or () if name not in run.results]
    if running is None:
        when = "between two tests" if left else "after the last test"
        if collected is None:
            when = "before the first test"
        run.problems.append(f"{why} {when}")
    if collected is not None and not left:
        run.complete = True
    return bool(left and finished)


def _spawn(
    run: FileRun,
    setup: Setup,
    scratch: Path,
    log: FileIO,
) -> int | None:
    """Run pytest on what is left; its exit status, None if it went quiet."""
    report = scratch / "report"
    done = scratch / "done"
    done.write_text(json.dumps(sorted(run.results)), encoding="ascii")
    empty = scratch / "cwd"
    empty.mkdir(exist_ok=True)

    path = [INSIDE]
    if setup.target is None:
        path.append(setup.wheel)
    else:
        # Type checkers look for packages named trio on the path as well.
        named = scratch / "path"
        named.mkdir(exist_ok=True)
        link = named / "trio"
        if not link.exists() and setup.package is not None:
            link.symlink_to(setup.package)
        path.append(named)
    if setup.backend == "kqueue" and not hasattr(select, "kqueue"):
        path.append(KQUEUE_GLUE)
    environment = _base_environment(path)
    environment["PYTEST_DISABLE_PLUGIN_AUTOLOAD"] = "1"
    environment["UPSTREAM_REPORT"] = str(report)
    environment["UPSTREAM_DONE"] = str(done)
    if setup.target is not None:
        environment["UPSTREAM_TARGET"] = setup.target
        environment["UPSTREAM_WHEEL"] = str(setup.wheel)

    command = [setup.python, "-m", "pytest"]
    command += ["-c", str(HERE / "pytest.ini"), f"--rootdir={setup.wheel}"]
    # Packages above the tests are not upstream's: pytest is not to enter them.
    command += [f"--confcutdir={(setup.wheel / run.file).parent}"]
    # Not prepended, so that the wheel cannot get ahead of anything.
    command += ["--import-mode=append", "-p", "no:cacheprovider"]
    command += ["-p", "upstream_report", "-p", "trio._tests.pytest_plugin"]
    command += ["--run-slow", "--skip-optional-imports"]
    command += [f"--basetemp={scratch / 'tmp'}", "-v", "--tb=short"]
    command += ["-o", f"faulthandler_timeout={setup.timeout * 0.8}"]
    if setup.keyword is not None:
        command += ["-k", setup.keyword]
    command += [str(setup.wheel / run.file)]

    child = subprocess.Popen(
        command,
        cwd=empty,
        env=environment,
        stdin=subprocess.DEVNULL,
        stdout=log,
        stderr=log,
        start_new_session=True,
    )
    try:
        return wait(child, report, setup.timeout)
    finally:
        # Whatever the tests left running goes with them.
        with contextlib.suppress(ProcessLookupError):
            os.killpg(child.pid, signal.SIGKILL)
        child.wait()


def wait(
    child: subprocess.Popen[bytes],
    report: Path,
    timeout: float,
) -> int | None:
    """Wait for *child* as long as its report keeps growing.

    Returns its exit status, or None if it has not ended.
    """
    size = 0
    deadline = time.monotonic() + timeout
    while time.monotonic() < deadline and not stopping.is_set():
        try:
            return child.wait(0.5)
        except subprocess.TimeoutExpired:
            pass
        now = report.stat().st_size if report.exists() else 0
        if now != size:
            size = now
            deadline = time.monotonic() + timeout
    return None


def _base_environment(path: list[Path]) -> dict[str, str]:
    """Return our own environment, with *path* in front of PYTHONPATH."""
    environment = dict(os.environ)
    environment.pop("PYTEST_ADDOPTS", None)
    # The processes run elsewhere, where a relative entry would mean nothing.
    given = os.environ.get("PYTHONPATH", "").split(os.pathsep)
    entries = [str(entry) for entry in path]
    entries += [os.path.abspath(entry) for entry in given if entry]
    environment["PYTHONPATH"] = os.pathsep.join(entries)
    return environment


def events(report: Path) -> list[dict]:
    if not report.exists():
        return []
    lines = report.read_text(encoding="ascii").split("\n")
    # A process that was killed may have left half a line.
    return [json.loads(line) for line in lines[:-1]]


_LAST_WORDS = re.compile(
    r"ERROR: (?:Address|Leak)Sanitizer: .*"
    r"|.*: runtime error: .*"
    r"|.*Assertion .* failed.*"
    r"|Fatal Python error: .*"
    r"|INTERNALERROR> \w+Error.*",
)


def _describe(ending: int | None, setup: Setup, log: Path, start: int) -> str:
    """Say in a few words what ended the process."""
    if ending is None:
        return f"hung: no test finished for {setup.timeout:g} s"
    if ending < 0:
        try:
            text = f"crashed: {signal.Signals(-ending).name}"
        except ValueError:
            text = f"crashed: signal {-ending}"
    else:
        text = f"the process ended with status {ending}"
    with open(log, "rb") as file:
        file.seek(start)
        words = _LAST_WORDS.search(file.read().decode(errors="replace"))
    return f"{text} ({words[0].strip()[:120]})" if words else text
