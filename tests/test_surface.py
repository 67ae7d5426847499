"""The public surface, compared with that of the Trio release we equal.

``surface/describe.py`` describes what users can see of the public modules, in a
process of its own for each: real Trio, from its wheel; trio_c as the drop-in;
and trio_c under its own name. All differences are in
``surface/differences.toml``, each with its reason, and there are no others.
"""

from __future__ import annotations

import importlib.util
import json
import os
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

from trio_c._native import BACKEND

TYPE_CHECKING = False
if TYPE_CHECKING:
    from types import ModuleType

    Surface = dict[str, dict[str, object]]
    # (where, what): what it is there, what it is here
    Differences = dict[tuple[str, str], tuple[object, object]]

HERE = Path(__file__).parent
SURFACE = HERE / "surface"
PYTHON = f"{sys.version_info[0]}.{sys.version_info[1]}"


def load(path: Path) -> ModuleType:
    spec = importlib.util.spec_from_file_location(f"_loaded_{path.stem}", path)
    module = sys.modules[spec.name] = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def describe(mode: str, wheel: Path | None = None) -> Surface:
    # The poller that upstream would take, too.
    ours = {"TRIO_C_DROPIN", "TRIO_C_POLL"}
    environment = {k: v for k, v in os.environ.items() if k not in ours}
    if wheel is not None:
        environment["PYTHONPATH"] = str(wheel)
    result = subprocess.run(
        [sys.executable, SURFACE / "describe.py", mode],
        capture_output=True,
        text=True,
        timeout=120,
        env=environment,
        cwd=HERE,
    )
    assert result.returncode == 0, result.stderr
    assert result.stderr == ""
    return json.loads(result.stdout)


@pytest.fixture(scope="module")
def upstream() -> Surface:
    processes = load(HERE / "upstream" / "processes.py")
    wheel = HERE / "upstream" / ".cache" / PYTHON
    processes.fetch_wheel(wheel)
    return describe("upstream", wheel)


def compare(theirs: Surface, ours: Surface) -> Differences:
    found: Differences = {}
    for where in theirs.keys() | ours.keys():
        if where not in ours:
            found[where, "missing"] = ("there", None)
        elif where not in theirs:
            found[where, "extra"] = (None, "there")
        else:
            there, here = theirs[where], ours[where]
            for what in there.keys() | here.keys():
                pair = there.get(what), here.get(what)
                if pair[0] != pair[1] and not is_better(what, *pair):
                    found[where, what] = pair
    return found


def is_better(what: str, theirs: object, ours: object) -> bool:
    """Is there something here that upstream only lacks?"""
    match what:
        case "documented":
            return ours is True
        case "signature":
            return isinstance(theirs, str)  # an error
        case "home":
            return theirs == "private"
    return False


def read_list(text: str) -> set[tuple[str, str]]:
    listed: set[tuple[str, str]] = set()
    for entry in tomllib.loads(text)["difference"]:
        needed = entry.keys() - {"python", "backend"}
        assert needed == {"where", "what", "reason"}, entry
        assert entry["reason"].strip(), entry
        if PYTHON not in entry.get("python", [PYTHON]):
            continue
        if BACKEND != entry.get("backend", BACKEND):
            continue
        for where in entry["where"]:
            for what in entry["what"]:
                assert (where, what) not in listed, f"listed twice: {where}, {what}"
                listed.add((where, what))
    return listed


@pytest.mark.parametrize("mode", ["dropin", "plain"])
def test_the_public_surface(mode: str, upstream: Surface) -> None:
    found = compare(upstream, describe(mode))
    listed = read_list((SURFACE / "differences.toml").read_text())
    lines = [
        f"{where}: {what}\n    there: {found[where, what][0]}"
        f"\n    here:  {found[where, what][1]}"
        for where, what in sorted(found.keys() - listed)
    ]
    lines += [
        f"{where}: {what}\n    is listed, and no difference"
        for where, what in sorted(listed - found.keys())
    ]
    assert not lines, "\n".join(["", *lines])


def test_the_description_covers_everything(upstream: Surface) -> None:
    """Each public class has a specimen, or a reason why it cannot have one."""
    types = {facts.get("type") for facts in upstream.values()}
    without = {
        where
        for where, facts in upstream.items()
        if facts.get("kind") in ("class", "enum", "exception")
        and not where.startswith("trio.abc.")
        and where not in types
    }
    assert without == {
        # Calling them makes something else.
        "trio.Path",
        "trio.open_memory_channel",
        # Only subclasses have instances, and those are private.
        "trio.TaskStatus",
        "trio.socket.SocketType",
        # The standard library's, and for another system.
        "trio.socket.gaierror",
        "trio.socket.herror",
        "trio.WindowsPath",
    }


def test_differences_are_noticed() -> None:
    facts = {"kind": "function", "documented": True, "signature": ["a"]}
    there = {"trio.f": facts, "trio.g": facts, "trio.h": facts}
    assert compare(there, there) == {}
    here = {
        "trio.f": {**facts, "signature": ["a", "b"]},
        "trio.g": {**facts, "documented": False},
        "trio.i": facts,
    }
    assert compare(there, here).keys() == {
        ("trio.f", "signature"),
        ("trio.g", "documented"),
        ("trio.h", "missing"),
        ("trio.i", "extra"),
    }
    # More is no difference.
    assert compare(here, {**here, "trio.g": facts}) == {}


def test_the_list_is_read_strictly() -> None:
    entry = "[[difference]]\nwhere = ['trio.f']\nwhat = ['kind']\n"
    assert read_list(entry + "reason = 'x'") == {("trio.f", "kind")}
    assert read_list(entry + "reason = 'x'\npython = ['2.7']") == set()
    assert read_list(entry + "reason = 'x'\nbackend = 'none'") == set()
    for text in (
        entry,
        entry + "reason = ' '",
        entry + "reason = 'x'\nmore = 1",
        2 * (entry + "reason = 'x'\n"),
    ):
        with pytest.raises(AssertionError):
            read_list(text)
