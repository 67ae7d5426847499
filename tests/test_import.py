"""What importing the package, and using a part of it, loads.

How long an import takes depends on the machine; what it loads does not.
`benchmarks/workloads/startup.py` has the times.
"""

from __future__ import annotations

import pytest
from _processes import run_code

# Loading one of these takes milliseconds.  Each is wanted by some part of the
# package, and must not come with the others.
EXPENSIVE = {
    "asyncio",
    "attr",
    "code",
    "cryptography",
    "dataclasses",
    "idna",
    "inspect",
    "logging",
    "OpenSSL",
    "outcome",
    "pathlib",
    "random",
    "signal",
    "socket",
    "ssl",
    "subprocess",
    "tempfile",
}


def loaded_by(code: str) -> set[str]:
    lines = [
        "import sys",
        "before = set(sys.modules)",
        code,
        "print(*sorted(set(sys.modules) - before))",
    ]
    return set(run_code("\n".join(lines)).split())


def test_the_package_alone() -> None:
    assert loaded_by("import trio_c") == {"trio_c", "trio_c._lazy"}


def test_names_that_are_native() -> None:
    names = "import trio_c; trio_c.run; trio_c.open_nursery; trio_c.Event; trio_c.sleep"
    loaded = loaded_by(names)
    assert "trio_c._native" in loaded
    assert not loaded & (EXPENSIVE | {"enum", "re", "sniffio", "threading", "typing"})


def test_the_drop_in() -> None:
    loaded = loaded_by("import trio_c; trio_c.install()")
    assert "trio_c._dropin" in loaded
    assert not loaded & (EXPENSIVE | {"enum", "re", "threading", "typing"})


@pytest.mark.parametrize(
    "module, allowed",
    [
        ("trio_c.lowlevel", set()),
        ("trio_c.abc", set()),
        ("trio_c.to_thread", set()),
        ("trio_c.from_thread", set()),
        ("trio_c.socket", {"idna", "socket"}),
    ],
)
def test_a_module(module: str, allowed: set[str]) -> None:
    assert loaded_by(f"import {module}") & EXPENSIVE <= allowed


def test_a_run() -> None:
    program = """
import trio_c
async def main():
    with trio_c.move_on_after(1):
        async with trio_c.open_nursery() as nursery:
            nursery.start_soon(trio_c.sleep, 0)
            event = trio_c.Event()
            nursery.start_soon(event.wait)
            event.set()
            send, receive = trio_c.open_memory_channel(1)
            await send.send(1)
            await receive.receive()
trio_c.run(main)
"""
    assert loaded_by(program) & EXPENSIVE == set()
