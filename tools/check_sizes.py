"""How long a source file may be.

150 to 600 lines are normal, 800 ask for a split, 1,200 fail. What is reported
as an error ends the program with status 1.
"""

from __future__ import annotations

import sys
from pathlib import Path

ASKS = 800
FAILS = 1200

# File: why it may be longer than that.
REASONS: dict[str, str] = {}

ROOMS = ("csrc", "trio_c", "tests", "tools", "examples", "benchmarks")
NOT_OURS = {"build", ".cache", "__pycache__"}


def check(root: Path) -> tuple[list[str], list[str]]:
    """(errors, remarks) for the sources under `root`."""
    errors, remarks = [], []
    for room in ROOMS:
        for path in sorted((root / room).rglob("*")):
            name = path.relative_to(root)
            if path.suffix not in (".c", ".h", ".py") or NOT_OURS & {*name.parts}:
                continue
            lines = len(path.read_text().splitlines())
            if lines > FAILS and name.as_posix() not in REASONS:
                errors.append(f"{name}: {lines} lines, more than {FAILS}")
            elif lines > ASKS:
                remarks.append(f"{name}: {lines} lines ask for a split")
    return errors, remarks


if __name__ == "__main__":
    errors, remarks = check(Path(sys.argv[1] if len(sys.argv) > 1 else "."))
    for line in [*errors, *remarks]:
        print(line)
    sys.exit(bool(errors))
