"""Importing this gives `select` what it has where there is a kqueue.

Not at once (that takes select_kqueue.py, and a trio_c built for this), for
nobody is to notice it who does not ask.
"""

import sys
from importlib.machinery import ModuleSpec
from types import ModuleType

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence


def complete(select: ModuleType) -> None:
    """Have `select` look here for what it lacks."""

    def __getattr__(name: str) -> object:
        # Nothing for asyncio's event loop, which would take a kqueue.
        asker = sys._getframe(1).f_globals.get("__name__")
        if name.startswith(("kqueue", "kevent", "KQ_")) and asker != "selectors":
            import select_kqueue

            if name in select_kqueue.__all__:
                value = getattr(select_kqueue, name)
                setattr(select, name, value)
                return value
        raise AttributeError(f"module 'select' has no attribute {name!r}")

    if not hasattr(select, "kqueue"):
        select.__getattr__ = __getattr__


class _Finder:
    """Waits for the import of `select`."""

    @classmethod
    def find_spec(
        cls, name: str, path: "Sequence[str] | None", target: object = None
    ) -> ModuleSpec | None:
        if name != "select":
            return None
        sys.meta_path.remove(cls)
        from importlib.util import find_spec

        spec = find_spec(name)
        if spec is not None and spec.loader is not None:
            execute = spec.loader.exec_module

            def exec_module(module: ModuleType) -> None:
                execute(module)
                complete(module)

            spec.loader.exec_module = exec_module
        return spec


if "select" in sys.modules:
    complete(sys.modules["select"])
else:
    sys.meta_path.insert(0, _Finder)
