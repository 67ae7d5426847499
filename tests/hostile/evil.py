"""Objects that do something nasty whenever somebody asks them anything.

What they do is a reaction, written down in the program (`program.py`), and is done
by the interpreter. Each object reacts a few times only, or there would be no end.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

React = Callable[["list[Any]", object, str], Any]

ENOUGH = 100

# What an unused special method answers when it must answer something.
ANSWERS: dict[str, Any] = {
    "__index__": 1,
    "__int__": 1,
    "__float__": 1.0,
    "__bool__": True,
    "__hash__": 1,
    "__len__": 1,
    "__eq__": True,
    "__ne__": False,
    "__lt__": True,
    "__gt__": False,
    "__le__": True,
    "__ge__": False,
    "__repr__": "<evil>",
    "__str__": "evil",
    "__format__": "evil",
    "__fspath__": "evil",
    "__bytes__": b"evil",
    "__contains__": False,
    "__getitem__": 1,
    "__setitem__": None,
    "__delitem__": None,
    "__sizeof__": 1,
    "__add__": 1,
    "__radd__": 1,
    "__sub__": 1.0,
    "__rsub__": 1.0,
    "__mul__": 1.0,
    "__truediv__": 1.0,
    "__rtruediv__": 1.0,
    "__neg__": 1.0,
    "__exit__": False,
    "__instancecheck__": True,
    "__reduce__": "evil",
    "fileno": -1,
    "close": None,
    "aclose": None,
    "throw": None,
    "send": None,
    "getsockname": ("127.0.0.1", 1),
    "deadline_to_sleep_time": 0.0,
    "current_time": 0.0,
    "start_clock": None,
    "detach": None,
    "keys": (),
    "read": b"x",
    "write": 1,
}
# The same, but what comes back is another evil object or the object itself.
THEMSELVES = ["__iter__", "__await__", "__aiter__", "__enter__", "__call__", "__get__"]


def _special(name: str, answer: Any) -> Callable[..., Any]:
    def method(self: Any, *args: object, **kwargs: object) -> Any:
        odd = _happens(self, name)
        return answer if odd is None else odd[0]

    return method


def _itself(name: str) -> Callable[..., Any]:
    def method(self: Any, *args: object, **kwargs: object) -> Any:
        odd = _happens(self, name)
        return self if odd is None else odd[0]

    return method


def _happens(self: Any, name: str) -> Any:
    """None: answer as usual. Else a tuple with the odd answer."""
    state = object.__getattribute__(self, "_state")
    on, left, reaction, react, asked = state
    state[4] = asked + 1
    if asked > ENOUGH:
        raise RuntimeError("asked for ever")  # by a loop that waits for an end
    if left <= 0 or (on != "anything" and on != name):
        return None
    state[1] = left - 1
    return react(reaction, self, name)


def _init(self: Any, on: str, reaction: list[Any], react: React) -> None:
    object.__setattr__(self, "_state", [on, 3, reaction, react, 0])


def _next(self: Any) -> Any:
    odd = _happens(self, "__next__")
    if odd is not None:
        return odd[0]
    state = object.__getattribute__(self, "_state")
    state[1] -= 1
    if state[1] < 0:
        raise StopIteration(1)
    return 1


def _getattr(self: Any, name: str) -> Any:
    if name.startswith("__") and name.endswith("__"):
        raise AttributeError(name)
    odd = _happens(self, "__getattr__")
    return self if odd is None else odd[0]


def _del(self: Any) -> None:
    _happens(self, "__del__")


def _awaits(name: str) -> Callable[..., Any]:
    async def method(self: Any, *args: object, **kwargs: object) -> Any:
        odd = _happens(self, name)
        if name == "__anext__":
            raise StopAsyncIteration
        return self if odd is None else odd[0]

    return method


NAMESPACE: dict[str, Any] = {
    **{name: _special(name, answer) for name, answer in ANSWERS.items()},
    **{name: _itself(name) for name in THEMSELVES},
    **{name: _awaits(name) for name in ("__aenter__", "__aexit__", "__anext__")},
    "__next__": _next,
    "__del__": _del,
    "__getattr__": _getattr,
}
REACTS_TO = ["anything", "__getattr__", "__next__", "__del__", "__await__", *ANSWERS]


def _class(name: str, *bases: type, leave_out: tuple[str, ...] = ()) -> type:
    namespace = {k: v for k, v in NAMESPACE.items() if k not in leave_out}
    return type(name, bases, namespace)


# What a subclass of str is for: the value itself stays usable.
_TEXT = ("__repr__", "__str__", "__format__", "__iter__", "__len__", "__getitem__")
KINDS: dict[str, type] = {
    "object": _class("Evil"),
    "int": _class("EvilInt", int),
    "float": _class("EvilFloat", float),
    "str": _class("EvilStr", str, leave_out=_TEXT),
    "bytearray": _class("EvilBytes", bytearray, leave_out=(*_TEXT, "__setitem__")),
    "exception": _class("EvilException", Exception),
    "base": _class("EvilBase", BaseException),
    "tuple": _class("EvilTuple", tuple),
    "dict": _class("EvilDict", dict),
}
VALUES: dict[str, tuple[Any, ...]] = {
    "int": (1,),
    "float": (1.0,),
    "str": ("evil",),
    "bytearray": (b"12345678",),
    "tuple": (("127.0.0.1", 1),),
}


def make(kind: str, on: str, reaction: list[Any], react: React) -> Any:
    cls = KINDS[kind]
    evil = cls.__new__(cls, *VALUES.get(kind, ()))
    if kind == "bytearray":
        bytearray.__init__(evil, b"12345678")
    _init(evil, on, reaction, react)
    return evil


def make_class(on: str, reaction: list[Any], react: React, base: type) -> type:
    """A class whose own metaclass is evil, derived from `base`."""
    meta = type(
        "EvilMeta",
        (type(base),),
        {
            n: _special_of_class(n, on, reaction, react)
            for n in ("__instancecheck__", "__subclasscheck__", "__call__", "__eq__")
        }
        | {"__hash__": type.__hash__},
    )
    return meta("EvilClass", (base,), dict(NAMESPACE))


def _special_of_class(name: str, on: str, reaction: list[Any], react: React) -> Any:
    count = [3]

    def method(cls: Any, *args: Any, **kwargs: Any) -> Any:
        if count[0] > 0 and on in ("anything", name):
            count[0] -= 1
            odd = react(reaction, cls, name)
            if odd is not None:
                return odd[0]
        return True

    return method
