"""Who may include whom in csrc/.

    module -> net, chan, sync -> kernel -> glue -> poll -> base

A file includes its own header first, then only from its own room and from
rooms further down; what includes Python.h comes before the system's headers
and what includes those; net, chan and sync never include one another; net goes
through kernel/io.h, never to poll/; base/ and poll/ never see Python. Reports
what breaks that and exits with status 1.
"""

from __future__ import annotations

import re
import sys
from pathlib import Path

LEVELS = {"base": 0, "poll": 1, "glue": 2, "kernel": 3}
LEVELS |= dict.fromkeys(("sync", "chan", "net"), 4)
TOP = 5  # csrc/module.c itself
TESTS = 1.5  # the C tests, which know what needs no interpreter

INCLUDE = re.compile(r'^[ \t]*#[ \t]*include[ \t]+([<"])([^">]+)[">]', re.MULTILINE)
NEEDS_PYTHON = {"Python.h", "structmember.h", "frameobject.h"}


def level(room: str) -> float:
    return TESTS if room == "tests" else LEVELS.get(room, TOP)


def check(root: Path) -> list[str]:
    """What is wrong under `root`/csrc, one line each."""
    csrc = root / "csrc"
    problems = []
    for path in sorted([*csrc.rglob("*.c"), *csrc.rglob("*.h")]):
        name = path.relative_to(csrc)
        room = name.parts[0] if len(name.parts) > 1 else ""
        if room not in (*LEVELS, "", "tests"):
            problems.append(f"{name}: there is no room {room!r}")
            continue
        included = INCLUDE.findall(path.read_text())
        problems += check_file(csrc, name, room, included)
    return problems


def check_file(
    csrc: Path, name: Path, room: str, included: list[tuple[str, str]]
) -> list[str]:
    problems = []
    resolved = []
    for bracket, target in included:
        if bracket == "<":
            if target in NEEDS_PYTHON and level(room) <= TESTS:
                problems.append(f"{name}: <{target}> in {room}/")
            continue
        found = resolve(csrc, name, target)
        if found is None:
            problems.append(f"{name}: {target} does not exist")
            continue
        resolved.append(found)
        other = found.parts[0] if len(found.parts) > 1 else ""
        if other != room and level(other) >= level(room):
            problems.append(f"{name}: {room or 'csrc'}/ must not include {target}")
        elif (room, other) == ("net", "poll"):
            problems.append(f"{name}: net/ must go through kernel/io.h, not {target}")
    own = name.with_suffix(".h")
    if name.suffix == ".c" and (csrc / own).exists() and resolved[:1] != [own]:
        problems.append(f"{name}: its own header must come first")
    above = level(room) >= LEVELS["glue"]
    if above and included and not problems and not brings_python(*included[0]):
        problems.append(f"{name}: what includes Python.h must come first")
    return problems


def brings_python(bracket: str, target: str) -> bool:
    """May it be the first? Python.h has a say in what the system's headers show."""
    if bracket == "<":
        return target in NEEDS_PYTHON
    return not {"base", "poll"} & {*Path(target).parts}


def resolve(csrc: Path, name: Path, target: str) -> Path | None:
    """The file that #include "target" in `name` means, relative to csrc."""
    for base in ((csrc / name).parent, csrc):
        found = (base / target).resolve()
        if found.is_file() and found.is_relative_to(csrc.resolve()):
            return found.relative_to(csrc.resolve())
    return None


if __name__ == "__main__":
    found = check(Path(sys.argv[1] if len(sys.argv) > 1 else "."))
    print(*found, sep="\n", end="\n" if found else "")
    sys.exit(bool(found))
