"""Package namespaces whose names are loaded when first asked for.

`attach()` makes the module-level hooks of a package from a table of where its
names come from. A name that has been asked for once is an ordinary global
from then on, and can be patched like one before as well as after.
"""

import sys

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping
    from types import ModuleType


def attach(
    package: str, names: "Mapping[str, str]", submodules: "Iterable[str]" = ()
) -> "tuple[Callable[[str], object], Callable[[], list[str]], list[str]]":
    """Make ``__getattr__``, ``__dir__`` and ``__all__`` for `package`.

    `names` maps a module to the names that come from it, separated by blanks.
    `submodules` are public names themselves. Any other submodule can be had as
    an attribute too, without having been imported, if its name starts with an
    underscore. Unless `package` is a private one, what comes from it is made
    to say so.
    """
    sources = {
        name: source for source, block in names.items() for name in block.split()
    }
    submodules = frozenset(submodules)
    module = sys.modules[package]
    namespace = vars(module)

    def __getattr__(name: str) -> object:
        source = sources.get(name)
        if source is not None:
            value = getattr(_import(source), name)
            _publish(module, sources)
            native = sys.modules.get("trio_c._native")
            if native and type(module) is type(sys):
                # The interpreter does not speed up modules that have a
                # __getattr__; this class does. Another one is somebody's own.
                module.__class__ = native._LazyModule
            return namespace.setdefault(name, value)
        if name in submodules or (name[:1] == "_" and name[:2] != "__"):
            qualified = f"{package}.{name}"
            try:
                return _import(qualified)
            except ModuleNotFoundError as exc:
                if exc.name != qualified:
                    raise
        raise AttributeError(
            f"module {module.__name__!r} has no attribute {name!r}",
            name=name,
            obj=module,
        )

    def __dir__() -> list[str]:
        return sorted({*namespace, *sources, *submodules})

    return __getattr__, __dir__, sorted({*sources, *submodules})


def _import(name: str) -> "ModuleType":
    __import__(name)
    return sys.modules[name]


def _publish(module: "ModuleType", sources: "Mapping[str, str]") -> None:
    """Make globals of `module` all names whose source has been loaded."""
    relabel = {}
    for name, source in sources.items():
        if source in sys.modules and name not in vars(module):
            values = vars(sys.modules[source])
            if name in values:  # else it is just being imported
                setattr(module, name, values[name])
                if not source.endswith("._native"):
                    # Native objects know where they belong.
                    relabel[name] = values[name]
    if relabel and not module.__name__.rpartition(".")[2].startswith("_"):
        from ._util import fixup_module_metadata

        fixup_module_metadata(module.__name__, relabel)
