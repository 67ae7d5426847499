"""The drop-in: ``import trio`` hands out this package's own modules.

``trio`` and every ``trio.X.Y`` are further names in ``sys.modules`` for the
module objects ``trio_c`` and ``trio_c.X.Y``. The finder at the head of
``sys.meta_path`` sees to that, and to three things more: once ``trio`` has
been imported, objects say that they live there; ``importlib.metadata`` knows
a distribution of that name; Python processes started from here do the same
(an environment variable, read by the ``.pth`` file that is installed beside
the package).

Until somebody imports ``trio``, none of this has loaded or changed anything.
The real Trio is not needed, and is never imported.
"""

from __future__ import annotations

import os
import sys
from importlib.machinery import (
    ExtensionFileLoader,
    ModuleSpec,
    PathFinder,
    SourceFileLoader,
)

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from importlib.metadata import Distribution, DistributionFinder
    from types import CodeType, ModuleType
    from typing import Any

OURS = "trio_c"
THEIRS = "trio"
ENVIRONMENT = "TRIO_C_DROPIN"


def install() -> None:
    """See `trio_c.install()`."""
    if any(isinstance(finder, _Finder) for finder in sys.meta_path):
        return
    for name, module in list(sys.modules.items()):
        # None is how an import is forbidden; it does no harm here.
        if _is_theirs(name) and module is not None:
            origin = getattr(module, "__file__", None) or "an unknown place"
            raise RuntimeError(
                f"{name!r} has already been imported, from {origin}:"
                " trio_c.install() must be called before anything imports it."
                " Call it at the very top of the program, start the program"
                " with 'python -m trio_c', or run the tests with"
                " 'pytest -p trio_c.pytest_plugin'."
            )
    sys.meta_path.insert(0, _Finder())
    os.environ[ENVIRONMENT] = "1"


def _is_ours(name: str) -> bool:
    return name == OURS or name.startswith(OURS + ".")


def _is_theirs(name: str) -> bool:
    return name == THEIRS or name.startswith(THEIRS + ".")


def _label(name: str) -> str:
    """``trio.X`` for ``trio_c.X``."""
    return THEIRS + name[len(OURS) :]


class _Finder:
    """Answers for ``trio`` and all below it, and watches over ``trio_c``."""

    # Has somebody imported trio?
    _active = False

    def find_spec(
        self,
        fullname: str,
        path: Sequence[str] | None = None,
        target: ModuleType | None = None,
    ) -> ModuleSpec | None:
        if _is_theirs(fullname):
            return self._alias(OURS + fullname[len(THEIRS) :], fullname)
        if self._active and fullname.startswith(OURS + "."):
            return self._relabelling(PathFinder.find_spec(fullname, path))
        return None

    def _alias(self, real: str, alias: str) -> ModuleSpec | None:
        from importlib.util import find_spec

        spec = find_spec(real)
        if spec is None:
            return None
        loader: Any = _AliasLoader(self, spec)
        found = ModuleSpec(alias, loader, origin=spec.origin)
        found.has_location = spec.has_location
        found.submodule_search_locations = spec.submodule_search_locations
        return found

    def activate(self) -> None:
        """trio is being imported: change the labels of what is loaded."""
        self._active = True
        for name, module in list(sys.modules.items()):
            if _is_ours(name) and module is not None:
                _relabel(module)
                sys.modules.setdefault(_label(name), module)

    @staticmethod
    def _relabelling(spec: ModuleSpec | None) -> ModuleSpec | None:
        """`spec`, with the module's labels changed once it is loaded."""
        if spec is not None:
            if type(spec.loader) is SourceFileLoader:
                spec.loader = _SourceLoader(spec.loader.name, spec.loader.path)
            elif type(spec.loader) is ExtensionFileLoader:
                spec.loader = _ExtensionLoader(spec.loader.name, spec.loader.path)
        return spec

    def find_distributions(
        self, context: DistributionFinder.Context | None = None
    ) -> Iterator[Distribution]:
        """What `importlib.metadata` finds: a distribution called trio."""
        asked = {} if context is None else vars(context)
        if (asked.get("name") or THEIRS).lower() != THEIRS:
            return
        if asked.get("path", sys.path) is not sys.path:
            return  # somebody looks into directories, not at this process
        yield _distribution()


def _distribution() -> Distribution:
    from importlib.metadata import Distribution

    from trio_c import __version__

    # Our releases are numbered after the Trio release that they equal.
    version = ".".join(__version__.split(".")[:3])
    text = f"Metadata-Version: 2.1\nName: {THEIRS}\nVersion: {version}\n"

    class Trio(Distribution):
        def read_text(self, filename: str) -> str | None:
            return text if filename == "METADATA" else None

        def locate_file(self, path: str | os.PathLike[str]) -> Any:
            return os.path.join(os.path.dirname(__file__), path)

    return Trio()


class _AliasLoader:
    """Enters a module of ours into ``sys.modules`` under its other name."""

    def __init__(self, finder: _Finder, real: ModuleSpec) -> None:
        self._finder = finder
        self._real = real

    def create_module(self, spec: ModuleSpec) -> None:
        # The import system writes on the module it creates then, which is
        # thrown away, and not on ours.
        return None

    def exec_module(self, module: ModuleType) -> None:
        __import__(self._real.name)
        if module.__name__ == THEIRS:
            self._finder.activate()
        sys.modules[module.__name__] = sys.modules[self._real.name]

    # For `python -m trio.something`, and for tools that look for the source.

    def get_code(self, fullname: str) -> CodeType:
        loader: Any = self._real.loader
        code: CodeType = loader.get_code(self._real.name)
        return code

    def get_source(self, fullname: str) -> str | None:
        loader: Any = self._real.loader
        source: str | None = loader.get_source(self._real.name)
        return source

    def get_filename(self, fullname: str) -> str | None:
        return self._real.origin

    def is_package(self, fullname: str) -> bool:
        return self._real.submodule_search_locations is not None


class _SourceLoader(SourceFileLoader):
    def exec_module(self, module: ModuleType) -> None:
        super().exec_module(module)
        _adopt(module)


class _ExtensionLoader(ExtensionFileLoader):
    def exec_module(self, module: ModuleType) -> None:
        super().exec_module(module)
        _adopt(module)


def _adopt(module: ModuleType) -> None:
    sys.modules.setdefault(_label(module.__name__), module)
    _relabel(module)


def _relabel(module: ModuleType) -> None:
    """Let a module of ours, and what it defines, say "trio"."""
    if not _is_ours(module.__name__):
        return
    module.__name__ = _label(module.__name__)
    if module.__name__.endswith("._native"):
        module._set_relabelled(True)  # its functions, and texts it makes
    for value in list(vars(module).values()):
        _relabel_object(value)


def _relabel_object(value: object) -> None:
    if isinstance(value, property):
        for function in (value.fget, value.fset, value.fdel):
            _relabel_object(function)
    if not isinstance(value, _LABELLED) and type(value).__name__ != "function":
        return
    # In some classes it is an attribute of the instances.
    home = getattr(value, "__module__", None)
    if not isinstance(home, str) or not _is_ours(home):
        return
    try:
        value.__module__ = _label(home)
    except TypeError:
        return  # an immutable type: never seen under a public name
    if isinstance(value, type):
        for member in list(vars(value).values()):
            _relabel_object(member)


# What has a __module__ of its own, besides Python's functions and the native
# ones. (Any other instance would show its class's.)
_LABELLED = (type, type(len), staticmethod, classmethod)
