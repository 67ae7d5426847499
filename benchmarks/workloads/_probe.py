"""Whether a contestant works on this Python: prints its version, or fails."""

from __future__ import annotations

import importlib.metadata
import platform
import sys

import _common


async def nothing() -> None:
    pass


def main() -> None:
    [contestant] = sys.argv[1:]
    if contestant == "c":
        _common.build("cserver")
    else:
        _common.run(contestant, nothing)
    name = contestant.removesuffix("-protocol")
    if name in ("trio_c", "floor", "c"):
        import trio_c

        print(trio_c.__version__)  # they are of one checkout
    elif name == "asyncio":
        print(platform.python_version())
    else:
        print(importlib.metadata.version(name))


if __name__ == "__main__":
    main()
