"""What there is to call: every public name, and every native type behind one.

A target is a function, a class, or an attribute of a class (a method, or what can be
read, assigned and deleted). Its name is the dotted path under the package, as
`lowlevel.ParkingLot.park`; that of a native type without public name begins with
`_native`.
"""

from __future__ import annotations

import gc
import importlib
import inspect
from types import ModuleType
from typing import Any, NamedTuple

MODULES = ["abc", "from_thread", "lowlevel", "socket", "testing", "to_thread"]

# What these do cannot be undone, or concerns the whole machine.
LEFT_OUT = {
    "install": "changes sys.modules for good",
    "socket.sethostname": "changes the machine",
    "_core._thread_cache.WorkerThread.__call__": "what a thread does while it lives",
    "_core._thread_cache.ThreadCache._forget_workers": "for forked processes",
}

# Some classes have attributes of these names, for their instances.
_QUALNAME = type.__dict__["__qualname__"].__get__


def _home(cls: type) -> str:
    return repr(cls).partition("'")[2].rpartition(".")[0]


class Target(NamedTuple):
    name: str
    kind: str  # function, class, method, attribute
    owner: str  # of a method or attribute: the name of the class
    attribute: str
    parameters: list[str]


class Surface:
    """Targets by name, and the classes among them."""

    def __init__(self, trio: ModuleType) -> None:
        self.targets: dict[str, Target] = {}
        self.objects: dict[str, Any] = {}
        self.classes: dict[str, type] = {}
        self.functions: dict[str, Any] = {}
        seen: set[int] = set()
        for name, obj in _public(trio):
            if id(obj) in seen or name in LEFT_OUT or not callable(obj):
                continue
            seen.add(id(obj))
            self._add(trio, name, obj)
        native = getattr(trio, "_native", None)
        if native is not None:
            for obj in gc.get_referents(native):
                if isinstance(obj, type) and id(obj) not in seen:
                    home, package = _home(obj), trio.__name__ + "."
                    if home.startswith(package):
                        home = home.removeprefix(package)
                        self._add(trio, f"{home}.{_QUALNAME(obj)}", obj)

    def _add(self, trio: ModuleType, name: str, obj: Any) -> None:
        if not isinstance(obj, type):
            self.functions[name] = obj
            self._target(name, "function", "", name, obj)
            return
        self.classes[name] = obj
        self._target(name, "class", "", name, obj)
        for attribute, value in _attributes(trio, obj).items():
            kind = "method" if callable(getattr(obj, attribute, value)) else "attribute"
            self._target(f"{name}.{attribute}", kind, name, attribute, value)

    def _target(self, name: str, kind: str, owner: str, attr: str, obj: Any) -> None:
        if name in LEFT_OUT:
            return
        self.targets[name] = Target(name, kind, owner, attr, _parameters(obj, kind))


def _public(trio: ModuleType) -> list[tuple[str, Any]]:
    found = []
    for module in (
        trio,
        *(importlib.import_module(f"{trio.__name__}.{m}") for m in MODULES),
    ):
        prefix = module.__name__.partition(".")[2]
        for name in sorted(dir(module)):
            if name.startswith("_") or isinstance(
                value := getattr(module, name), ModuleType
            ):
                continue
            found.append((f"{prefix}.{name}" if prefix else name, value))
    return found


def _attributes(trio: ModuleType, cls: type) -> dict[str, Any]:
    """Those that the package itself defines: not object's, nor Exception's."""
    found: dict[str, Any] = {}
    for base in cls.__mro__:
        if not _home(base).startswith("trio"):
            continue
        for name, value in vars(base).items():
            if name.startswith("__") and not (
                callable(value) or isinstance(value, classmethod)
            ):
                continue  # __doc__ and the like
            found.setdefault(name, value)
    for name in ("__class__", "__new__", "__getstate__"):
        found.pop(name, None)
    return found


def _parameters(obj: Any, kind: str) -> list[str]:
    try:
        found = [*inspect.signature(obj).parameters.values()]
    except (TypeError, ValueError):
        return []
    names = [
        ("*" if p.kind is p.KEYWORD_ONLY else "") + p.name
        for p in found
        if p.kind is not p.VAR_KEYWORD
    ]
    if kind == "method" and names and names[0] in ("self", "cls"):
        del names[0]
    return names
