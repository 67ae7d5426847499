"""Small immutable classes of values.

``@frozen`` does what ``@attrs.frozen`` would, without importing attrs for it:
that is done by whoever asks attrs about the class. To type checkers it is that
decorator.
"""

from __future__ import annotations

import sys

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, NoReturn, TypeVar

    from attrs import frozen as frozen

    T = TypeVar("T")


def _freeze(cls: type[T]) -> type[T]:
    """Class decorator: annotations become fields, which are set once.

    Instances are made from all fields, by position or by name. They are equal,
    and hash, by class and value; can be copied, pickled and matched; have slots
    and can be weakly referenced. Their ``repr()`` shows bytes in hexadecimal.

    What the body of the class defines itself is kept. It cannot use
    ``super()``, since the class that comes out is not the one that went in.
    """
    names = tuple(cls.__annotations__)
    body = {
        name: value
        for name, value in vars(cls).items()
        if name not in ("__dict__", "__weakref__")
    }
    made = {
        "__slots__": (*names, "__weakref__"),
        "__match_args__": names,
        "__init__": _make_init(cls.__annotations__, cls.__qualname__),
        "__setattr__": _refuse,
        "__delattr__": _refuse,
        "__eq__": _eq,
        "__hash__": _hash,
        "__repr__": _repr,
        "__reduce__": _reduce,
        "__attrs_attrs__": _FromAttrs(),
        "__attrs_props__": _FromAttrs(),
    }
    if sys.version_info >= (3, 13):
        made["__replace__"] = _replace
    metaclass: Any = type(cls)
    new: type[T] = metaclass(cls.__name__, cls.__bases__, {**made, **body})
    return new


if not TYPE_CHECKING:
    frozen = _freeze


def _make_init(names: dict[str, object], qualname: str) -> object:
    lines = [f"    put(self, {name!r}, {name})\n" for name in names]
    namespace = {"put": object.__setattr__, "__name__": __name__}
    exec(f"def __init__(self, {', '.join(names)}):\n{''.join(lines)}", namespace)
    init: Any = namespace["__init__"]
    init.__qualname__ = f"{qualname}.__init__"
    init.__annotations__ = {**names, "return": None}
    return init


def _values(self: Any) -> tuple[Any, ...]:
    return tuple([getattr(self, name) for name in self.__match_args__])


def _refuse(self: Any, name: str, value: object = None) -> NoReturn:
    from attr.exceptions import FrozenInstanceError

    raise FrozenInstanceError


def _eq(self: Any, other: object) -> Any:
    if other.__class__ is not self.__class__:
        return NotImplemented
    return _values(self) == _values(other)


def _hash(self: Any) -> int:
    return hash((type(self), _values(self)))


def _repr(self: Any) -> str:
    fields = []
    for name, value in zip(self.__match_args__, _values(self), strict=True):
        is_data = isinstance(value, (bytes, bytearray))
        fields.append(f"{name}={value.hex() if is_data else repr(value)}")
    return f"{type(self).__qualname__}({', '.join(fields)})"


def _reduce(self: Any) -> tuple[object, ...]:
    return type(self), _values(self)


def _replace(self: Any, /, **changes: object) -> Any:
    return type(self)(
        **{**dict(zip(self.__match_args__, _values(self), strict=True)), **changes}
    )


class _FromAttrs:
    """What attrs stores in its classes, made by it when it is first looked at."""

    def __set_name__(self, owner: type, name: str) -> None:
        self._name = name

    def __get__(self, instance: object, owner: Any) -> object:
        from attr import make_class

        model = make_class(
            owner.__name__,
            list(owner.__match_args__),
            slots=True,
            frozen=True,
            order=False,
            collect_by_mro=True,
        )
        value = getattr(model, self._name)
        setattr(owner, self._name, value)
        return value
