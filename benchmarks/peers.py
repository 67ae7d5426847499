"""Installs what requirements.txt lists, each by itself, into this environment.

One that cannot be installed here is said and left out.
"""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path


def main() -> None:
    lines = Path(__file__).with_name("requirements.txt").read_text().splitlines()
    for line in lines:
        if not line or line.startswith("#"):
            continue
        command = [sys.executable, "-m", "pip", "--disable-pip-version-check"]
        command += ["install", "-q", line]
        if subprocess.run(command).returncode != 0:
            print(f"{line} is not to be had for this Python", file=sys.stderr)


if __name__ == "__main__":
    main()
