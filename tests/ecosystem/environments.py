"""The virtual environments that the libraries live in, and processes in them.

There are two, alike but for one package: ``with-trio`` has the real Trio
beside trio_c, ``without-trio`` has not. An environment is made once and then
brought up to date: the libraries when a list of them has changed, trio_c every
time.
"""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path

HERE = Path(__file__).resolve().parent
PROJECT = HERE.parents[1]
DEFAULT_DIRECTORY = PROJECT / "build" / "ecosystem"
PIP = ["-m", "pip", "--disable-pip-version-check", "--quiet"]

# What the caller may have set for Python programs of its own. TRIO_C_POLL and
# the like go through.
NOT_INHERITED = (
    "ECOSYSTEM_BESIDE",
    "ECOSYSTEM_TRIO",
    "PYTEST_ADDOPTS",
    "PYTEST_PLUGINS",
    "PYTHONHOME",
    "PYTHONPATH",
    "TRIO_C_DROPIN",
    "VIRTUAL_ENV",
)


class SetupError(Exception):
    """The run cannot begin; the message says why."""


@dataclass(frozen=True)
class Environment:
    """A virtual environment that is ready."""

    name: str
    python: Path
    has_trio: bool


@dataclass(frozen=True)
class Ending:
    """How a process ended: its exit status, or None if it took too long."""

    status: int | None
    output: str

    def describe(self) -> str:
        if self.status is None:
            return "took too long"
        if self.status >= 0:
            return f"status {self.status}"
        try:
            return signal.Signals(-self.status).name
        except ValueError:
            return f"signal {-self.status}"


def requirements(*, slow: bool) -> dict[str, str]:
    """What is to be installed: the name of each package, and its version."""
    files = ["requirements.txt", *(["requirements-slow.txt"] if slow else [])]
    pins = {}
    for file in files:
        for line in (HERE / file).read_text().splitlines():
            name, pinned, version = line.partition("==")
            if pinned and not line.startswith("#"):
                pins[name] = version
    return pins


def build_wheel(directory: Path) -> Path:
    """Build trio_c from this checkout, with the caller's TRIO_C_* settings."""
    print("building trio_c", flush=True)
    directory.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=directory) as scratch:
        _call(sys.executable, *PIP, "wheel", "--no-deps", "-w", scratch, str(PROJECT))
        (built,) = Path(scratch).glob("trio_c-*.whl")
        return built.rename(directory / built.name)


def prepare(directory: Path, wheel: Path, *, slow: bool) -> list[Environment]:
    """Make both environments, or bring them up to date: with Trio, and without."""
    return [
        _prepare(directory / "with-trio", wheel, has_trio=True, slow=slow),
        _prepare(directory / "without-trio", wheel, has_trio=False, slow=slow),
    ]


def _prepare(venv: Path, wheel: Path, *, has_trio: bool, slow: bool) -> Environment:
    pins = requirements(slow=slow)
    if not has_trio:
        del pins["trio"]
    wanted = [f"{name}=={version}" for name, version in pins.items()]
    python = venv / "bin" / "python"
    stamp = venv / "installed.txt"
    installed = stamp.read_text().splitlines() if stamp.exists() else []
    # An environment with more than is wanted serves as well.
    if installed[:1] != [_interpreter()] or not {*wanted} <= {*installed}:
        print(f"{venv.name}: installing {len(wanted)} packages", flush=True)
        _call(sys.executable, "-m", "venv", "--clear", str(venv))
        _call(str(python), *PIP, "install", "--no-deps", "--no-compile", *wanted)
        stamp.write_text("\n".join([_interpreter(), *wanted]) + "\n")
    options = ["--no-deps", "--no-compile", "--force-reinstall"]
    _call(str(python), *PIP, "install", *options, str(wheel))
    environment = Environment(venv.name, python, has_trio)
    _check(environment)
    return environment


def _interpreter() -> str:
    return f"{sys.executable} {sys.version}".replace("\n", " ")


def _check(environment: Environment) -> None:
    """Is the real Trio there, or not, as it has to be?"""
    code = "from importlib.util import find_spec; print(find_spec('trio'))"
    ending = run(environment, ["-c", code], cwd=HERE, timeout=60)
    if ending.status != 0 or (ending.output.strip() != "None") != environment.has_trio:
        raise SetupError(f"{environment.name} is not what it has to be: {ending}")


def _call(*command: str) -> None:
    done = subprocess.run(
        command,
        check=False,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    if done.returncode != 0:
        raise SetupError(f"{done.stdout}\nthis failed: {' '.join(command)}")


def run(
    environment: Environment,
    arguments: list[str],
    *,
    cwd: Path,
    timeout: float,
    variables: dict[str, str] | None = None,
) -> Ending:
    """Run its Python with `arguments`, and with it end all that it started."""
    inherited = {k: v for k, v in os.environ.items() if k not in NOT_INHERITED}
    with tempfile.TemporaryFile() as output:
        child = subprocess.Popen(
            [environment.python, "-X", "faulthandler", *arguments],
            cwd=cwd,
            env={**inherited, **(variables or {})},
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
        try:
            status = child.wait(timeout)
        except subprocess.TimeoutExpired:
            status = None
        finally:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(child.pid, signal.SIGKILL)
            child.wait()
        output.seek(0)
        return Ending(status, output.read().decode(errors="replace"))
