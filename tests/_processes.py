"""Running Python in a process of its own, as most tests of the drop-in must.

And Ctrl-C for the own one.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import textwrap
from pathlib import Path

# Not the checkout, whose trio_c has no native module.
ELSEWHERE = Path(__file__).parent


def press_ctrl_c() -> None:
    """To this process, from any thread."""
    if os.name == "posix":
        os.kill(os.getpid(), signal.SIGINT)
    else:
        # There os.kill() ends the process, and a signal is no thread's.
        signal.raise_signal(signal.SIGINT)


def run_python(
    *arguments: object,
    status: int | None = 0,
    path: Path | None = None,
    stdin: str | None = None,
    cwd: Path = ELSEWHERE,
) -> subprocess.CompletedProcess[str]:
    """Run this interpreter and check its exit status (None: any will do).

    `path` comes first on the module search path.
    """
    environment = {k: v for k, v in os.environ.items() if k != "TRIO_C_DROPIN"}
    if path is not None:
        others = environment.get("PYTHONPATH")
        environment["PYTHONPATH"] = (
            f"{path}{os.pathsep}{others}" if others else str(path)
        )
    result = subprocess.run(
        [sys.executable, *map(str, arguments)],
        capture_output=True,
        text=True,
        timeout=120,
        env=environment,
        input=stdin,
        cwd=cwd,
    )
    assert status in (None, result.returncode), result.stdout + result.stderr
    return result


def in_child(code: str) -> str:
    """Run code that must not crash; give its output. What it says on stderr is
    its own affair."""
    return run_python("-X", "faulthandler", "-c", textwrap.dedent(code)).stdout


def run_code(code: str, **options: object) -> str:
    """Run `code` with -c, where nothing may go to stderr; give its output."""
    result = run_python("-c", code, **options)
    assert result.stderr == ""
    return result.stdout
