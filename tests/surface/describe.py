"""Describes the public surface of trio, or of what stands in its place.

Run in a process of its own: ``describe.py MODE``, where MODE is

* ``upstream``: the trio that the path leads to;
* ``dropin``: trio_c under the name trio;
* ``plain``: trio_c under its own name.

Writes one JSON object: ``{where: {fact: value}}``, where `where` is the dotted
name that users write (``trio.Lock.acquire``), always with ``trio`` in front, or
the label of an object in some state (see `specimens.py`), in brackets.
"""

from __future__ import annotations
import __future__

import enum
import importlib
import inspect
import json
import re
import sys
import types
import typing
import warnings
from abc import ABC

MODULES = ["abc", "from_thread", "lowlevel", "socket", "testing", "to_thread"]

# Methods with special names that are part of what a class offers.
PROTOCOLS = """
    __aenter__ __aexit__ __aiter__ __anext__ __await__ __bool__ __call__
    __class_getitem__ __contains__ __delitem__ __enter__ __exit__ __float__
    __fspath__ __getitem__ __index__ __int__ __iter__ __len__ __next__
    __rtruediv__ __setitem__ __truediv__
    """.split()


def own(text: str) -> str:
    """`text`, with what differs by mode and by chance taken out."""
    text = re.sub(r"\btrio_c\b", "trio", text)
    text = re.sub(r"\b0x[0-9a-fA-F]+", "0x...", text)
    text = re.sub(r"\bfd=\d+", "fd=...", text)
    return re.sub(r"\btime=\d+\.\d+", "time=...", text)


def error(exc: BaseException) -> str:
    return own(f"{type(exc).__name__}: {exc}")


def show_default(value: object) -> str:
    if isinstance(value, int):
        return str(int(value))  # a constant of an enumeration is equal to it
    if isinstance(value, types.FunctionType) or hasattr(value, "__qualname__"):
        return own(f"{value.__module__}.{value.__qualname__}")
    return own(repr(value))


def signature(obj: object) -> object:
    """One text for each parameter; ``: …`` and ``-> …`` where it is annotated."""
    try:
        found = inspect.signature(obj)
    except (TypeError, ValueError) as exc:
        return type(exc).__name__
    parts = []
    for parameter in found.parameters.values():
        text = f"{parameter.kind.name.lower()} {parameter.name}"
        if parameter.annotation is not parameter.empty:
            text += ": ..."
        if parameter.default is not parameter.empty:
            text += f" = {show_default(parameter.default)}"
        parts.append(text)
    if found.return_annotation is not found.empty:
        parts.append("-> ...")
    return parts


def is_function(obj: object) -> bool:
    """Would users call it a function? Native ones look like Python's."""
    return isinstance(obj, types.FunctionType) or (
        callable(obj) and hasattr(obj, "__code__") and hasattr(obj, "__defaults__")
    )


def kind(obj: object) -> str:
    if inspect.ismodule(obj):
        return "module"
    if isinstance(obj, type):
        if issubclass(obj, BaseException):
            return "exception"
        if issubclass(obj, enum.Enum):
            return "enum"
        return "class"
    if inspect.iscoroutinefunction(obj):
        return "async function"
    if inspect.isasyncgenfunction(obj):
        return "async generator function"
    if is_function(obj):
        return "function"
    if callable(obj) and not typing.get_origin(obj):
        return f"callable {type(obj).__name__}"
    return "value"


def names_of(obj: object) -> dict[str, object]:
    facts = {}
    for name in ("__module__", "__name__", "__qualname__"):
        value = getattr(obj, name, None)
        facts[name] = own(value) if isinstance(value, str) else value
    facts["documented"] = bool(getattr(obj, "__doc__", None))
    return facts


def describe_function(obj: object) -> dict[str, object]:
    facts = names_of(obj)
    facts["signature"] = signature(obj)
    return facts


def full_name(cls: type) -> str:
    return own(f"{cls.__module__}.{cls.__qualname__}")


def is_private(cls: type) -> bool:
    name = full_name(cls)
    return name.startswith("trio.") and any(
        part.startswith("_") for part in name.split(".")
    )


def overrides(cls: type, name: str) -> bool:
    """Does a class below `object` define `name`?"""
    return any(name in vars(base) for base in cls.__mro__[:-1])


def describe_class(cls: type) -> dict[str, object]:
    facts = names_of(cls)
    # Callers see the constructor only.
    facts["signature"] = signature(cls)
    facts["bases"] = [full_name(c) for c in cls.__mro__ if not is_private(c)]
    facts["final"] = getattr(cls, "__final__", False) is True
    facts["subclassing"] = subclassing(cls)
    facts["construction"] = construction(cls)
    facts["subscription"] = subscription(cls)
    if ABC in cls.__mro__:
        facts["abstract"] = sorted(cls.__abstractmethods__)
        facts["registers"] = hasattr(cls, "register")
    facts["match args"] = match_args(cls)
    facts["protocol"] = bool(getattr(cls, "_is_protocol", False))
    facts["patchable"] = patchable(cls)
    facts["attrs"] = cls.__name__.endswith("Statistics") and attrs_fields(cls)
    if issubclass(cls, enum.Enum):
        facts["members"] = {member.name: member.value for member in cls}
    return facts


def in_a_module(namespace: dict[str, object]) -> None:
    namespace["__module__"] = "some.module"


def subclassing(cls: type) -> object:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            types.new_class("Sub", (cls,), exec_body=in_a_module)
        except TypeError as exc:
            return error(exc)
    return "possible"


def construction(cls: type) -> object:
    """What comes of calling the class without arguments."""
    try:
        inspect.signature(cls).bind()
    except TypeError:
        return "needs arguments"
    except ValueError:
        pass  # no signature
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            obj = cls()
    except Exception as exc:
        return error(exc)
    return full_name(type(obj))


def subscription(cls: type) -> object:
    for argument in (int, (int, str)):
        try:
            value = cls[argument]
        except (KeyError, TypeError):
            continue
        return own(repr(value))
    return "impossible"


def patchable(cls: type) -> object:
    """Can its attributes be replaced?"""
    try:
        cls.__surface_probe__ = None
        del cls.__surface_probe__
    except (AttributeError, TypeError) as exc:
        return error(exc)
    return True


def match_args(cls: type) -> object:
    """For patterns, of which only public names can be part."""
    names = list(getattr(cls, "__match_args__", ()))
    return [name for name in names if not any(n.startswith("_") for n in names)]


def attrs_fields(cls: type) -> object:
    import attrs

    if not attrs.has(cls):
        return "no attrs class"
    return [(field.name, field.kw_only) for field in attrs.fields(cls)]


def describe_member(cls: type, name: str) -> dict[str, object]:
    static = inspect.getattr_static(cls, name)
    value = getattr(cls, name)
    facts: dict[str, object] = {}
    if isinstance(static, (staticmethod, types.BuiltinFunctionType)):
        facts["binding"] = "static"
    elif isinstance(static, (classmethod, types.ClassMethodDescriptorType)):
        facts["binding"] = "class"
    facts["kind"] = kind(value)
    if name.startswith("__"):
        # Slots have no module, no qualified name, and Python's own signature.
        if facts["kind"].startswith("callable"):
            facts["kind"] = "function"
        return facts
    if is_function(value) or inspect.ismethod(value):
        facts["kind"] = facts["kind"].replace("callable method", "function")
        facts.update(describe_function(value))
        del facts["__module__"]
        facts["home"] = home(value)
    elif facts["kind"] == "value":
        facts["value"] = own(repr(value))
    return facts


def home(value: object) -> str:
    """Where a method says that it was defined, unless that is private."""
    module = own(str(value.__module__))
    return "private" if "._" in module else module


def members_of(cls: type) -> list[str]:
    """Methods and constants; attributes are looked at in `specimens.py`."""
    public = {
        name
        for name in dir(cls)
        if not name.startswith("_")
        and not inspect.isdatadescriptor(inspect.getattr_static(cls, name))
    }
    return sorted(public | {n for n in PROTOCOLS if overrides(cls, n)})


def public_names(namespace: typing.Iterable[str], module: object) -> list[str]:
    names = [name for name in namespace if not name.startswith("_")]
    # ``from __future__ import annotations`` leaves a name behind.
    feature = __future__._Feature
    return sorted(n for n in names if not isinstance(getattr(module, n), feature))


def starred(module: types.ModuleType) -> list[str]:
    """The names that ``import *`` brings."""
    namespace: dict[str, object] = {}
    exec(f"from {module.__name__} import *", namespace)
    return public_names(namespace, module)


def describe_module(name: str, module: types.ModuleType) -> dict[str, dict]:
    names = public_names(dir(module), module)
    found = {
        name: {"kind": "module", "documented": bool(module.__doc__)},
    }
    for attribute in names:
        obj = getattr(module, attribute)
        where = f"{name}.{attribute}"
        facts = {"kind": kind(obj)}
        if facts["kind"] == "module":
            facts["__name__"] = own(obj.__name__)
        elif isinstance(obj, type):
            facts.update(describe_class(obj))
            for member in members_of(obj):
                found[f"{where}.{member}"] = describe_member(obj, member)
        elif facts["kind"] == "value":
            facts["type"] = full_name(type(obj))
            facts["value"] = own(repr(obj))
        else:
            facts.update(describe_function(obj))
        found[where] = facts
    return found


def load(mode: str) -> tuple[str, types.ModuleType]:
    """The name under which the package is used, and the package."""
    if mode == "dropin":
        import trio_c

        trio_c.install()
    package = "trio_c" if mode == "plain" else "trio"
    module = importlib.import_module(package)
    ours = hasattr(module, "install")
    assert ours == (mode != "upstream"), module.__file__
    return package, module


def main(mode: str) -> dict[str, dict]:
    package, root = load(mode)
    stars = {"trio": starred(root)}  # before all of it has been imported
    modules = {"trio": root}
    for name in MODULES:
        modules[f"trio.{name}"] = importlib.import_module(f"{package}.{name}")
    found: dict[str, dict] = {}
    for name, module in modules.items():
        found.update(describe_module(name, module))
        for attribute in stars.get(name) or starred(module):
            found[f"{name}.{attribute}"]["starred"] = True
    # A copy of a nursery, made while a task is copied, complains when it goes.
    sys.unraisablehook = lambda unraisable: None
    import specimens

    found.update(specimens.describe(root, own))
    return found


if __name__ == "__main__":
    json.dump(main(sys.argv[1]), sys.stdout, indent=1, sort_keys=True)
