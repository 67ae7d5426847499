"""Runs the programs, each in both environments and as anybody would run it."""

from __future__ import annotations

import textwrap
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from environments import HERE, Ending, Environment, SetupError, run as run_python

PROGRAMS = HERE / "programs"
# What the others import, or serve.
HELPERS = {"hypercorn_app", "which_trio"}
TIMEOUT = 180


def choose(names: list[str]) -> list[Path]:
    """The programs of those names; all of them for no name."""
    found = {path.stem: path for path in sorted(PROGRAMS.glob("*.py"))}
    found = {name: path for name, path in found.items() if name not in HELPERS}
    unknown = {name for name in names if name not in found}
    if unknown:
        raise SetupError(f"no such program: {', '.join(sorted(unknown))}")
    return [path for name, path in found.items() if not names or name in names]


def run(
    programs: list[Path], environments: list[Environment], against: str
) -> tuple[int, int]:
    """Run `programs` in every environment; how many passed and failed."""
    if against == "trio":
        environments = [one for one in environments if one.has_trio]
    runs = [(program, one) for program in programs for one in environments]
    failed = 0

    def timed(pair: tuple[Path, Environment]) -> tuple[Ending, float]:
        began = time.monotonic()
        ending = _run(*pair, against)
        return ending, time.monotonic() - began

    with ThreadPoolExecutor(2) as pool:
        endings = pool.map(timed, runs)
        for (program, environment), (ending, seconds) in zip(
            runs, endings, strict=True
        ):
            is_test = program.name.startswith("test_")
            good = ending.status == 0 and (is_test or not ending.output)
            how = f"{seconds:.1f} s" if good else f"FAILED: {ending.describe()}"
            print(f"  {program.stem:<28} {environment.name:<14} {how}")
            if not good:
                failed += 1
                print(textwrap.indent(ending.output, "  | "))
    return len(runs) - failed, failed


def _run(program: Path, environment: Environment, against: str) -> Ending:
    ours = against == "trio_c"
    if program.name.startswith("test_"):
        # (Not as `pytest`, which is a script with a path in its first line.)
        arguments = ["-m", "pytest", "-q", "-c", str(PROGRAMS / "pytest.ini")]
        arguments += ["-p", "trio_c.pytest_plugin"] if ours else []
    else:
        arguments = ["-m", "trio_c"] if ours else []
    return run_python(
        environment,
        [*arguments, str(program)],
        cwd=PROGRAMS,
        timeout=TIMEOUT,
        variables={
            "ECOSYSTEM_TRIO": against,
            "ECOSYSTEM_BESIDE": str(int(environment.has_trio)),
        },
    )
