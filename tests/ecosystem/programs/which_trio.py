"""What every program here begins with: is this the trio it is meant to run on?

``ECOSYSTEM_TRIO`` says which: ``trio_c`` (the default), or ``trio`` when the
programs themselves are tested. ``ECOSYSTEM_BESIDE`` says whether the real Trio
has to be installed as well (``1``) or must not be (``0``).
"""

from __future__ import annotations

import importlib.metadata
import os
import sys
from importlib.machinery import PathFinder
from pathlib import Path
from types import FunctionType


def facts() -> dict[str, object]:
    """What tells this process's trio from another one; JSON can hold it."""
    import trio
    import trio._core._run

    ours = sys.modules.get("trio_c")
    return {
        "directory": Path(trio.__file__).parent.name,
        "says": trio.run.__module__,
        "native": type(trio.run) is not FunctionType,
        "same_module": trio is ours,
        "same_core": trio._core._run
        is sys.modules.get("trio_c._core._run", "not loaded"),
        "version": importlib.metadata.version("trio"),
    }


def expected() -> dict[str, object]:
    """What `facts()` has to be in every process of a program."""
    native = os.environ.get("ECOSYSTEM_TRIO", "trio_c") == "trio_c"
    return {
        "directory": "trio_c" if native else "trio",
        "says": "trio",
        "native": native,
        "same_module": native,
        "same_core": native,
        "version": "0.34.0",
    }


def check() -> None:
    """Fail unless this is the right trio, with or without the other beside it."""
    assert facts() == expected(), facts()
    beside = os.environ.get("ECOSYSTEM_BESIDE")
    if beside is not None:
        installed = PathFinder.find_spec("trio") is not None
        assert installed == (beside == "1"), f"the real Trio is there: {installed}"
