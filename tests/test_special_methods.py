"""What `with` and `async with` look up on native objects.

It is a bound method to anybody who looks, whatever it is inside.
"""

from __future__ import annotations

import copy
import gc
import inspect
import types
import weakref

import pytest

import trio_c


async def get(name: str) -> tuple[object, types.MethodType]:
    """An object with such a method, and the method looked up on it."""
    owner = {
        "CancelScope.__enter__": trio_c.CancelScope,
        "CancelScope.__exit__": trio_c.CancelScope,
        "NurseryManager.__aenter__": trio_c.open_nursery,
        "Lock.__aexit__": trio_c.Lock,
    }[name]()
    return owner, getattr(owner, name.split(".")[1])


NAMES = [
    "CancelScope.__enter__",
    "CancelScope.__exit__",
    "NurseryManager.__aenter__",
    "Lock.__aexit__",
]


@pytest.mark.parametrize("name", NAMES)
def test_it_looks_like_a_bound_method(name: str) -> None:
    owner, method = trio_c.run(get, name)
    function = inspect.getattr_static(type(owner), name.split(".")[1])
    plain = types.MethodType(function, owner)
    assert isinstance(method, types.MethodType)
    assert inspect.ismethod(method)
    assert callable(method)
    assert method.__self__ is owner
    assert method.__func__ is function
    assert repr(method) == repr(plain)
    assert inspect.signature(method) == inspect.signature(plain)
    for attribute in ("__name__", "__qualname__", "__module__", "__doc__", "__class__"):
        assert getattr(method, attribute) == getattr(plain, attribute)
    assert dir(method) == dir(plain)
    with pytest.raises(AttributeError):
        method.anything = 1  # type: ignore[attr-defined]
    with pytest.raises(AttributeError):
        method.anything  # noqa: B018


@pytest.mark.parametrize("name", NAMES)
def test_it_equals_its_like(name: str) -> None:
    owner, method = trio_c.run(get, name)
    other, other_method = trio_c.run(get, name)
    short = name.split(".")[1]
    plain = types.MethodType(inspect.getattr_static(type(owner), short), owner)
    assert method == getattr(owner, short) == plain
    assert plain == method
    assert hash(method) == hash(plain)
    assert {plain: 1}[method] == 1
    assert method != other_method
    assert method != types.MethodType(plain.__func__, other)
    assert method != 1
    assert plain.__func__.__get__(owner) == plain


def test_it_stays_what_it_is_bound_to() -> None:
    class Class:
        enter = trio_c.CancelScope().__enter__

    assert Class().enter is Class.enter
    assert Class.enter == Class.__dict__["enter"].__self__.__enter__


def test_copies_and_weak_references() -> None:
    scope = trio_c.CancelScope()
    method = scope.__enter__
    assert copy.copy(method) == method
    assert weakref.ref(method)() is method
    died: list[object] = []
    other = scope.__exit__
    ref = weakref.ref(other, died.append)
    del other
    assert ref() is None
    assert died == [ref]
    weak = weakref.WeakMethod(method)
    del method
    assert weak() == scope.__enter__
    del scope
    assert weak() is None


def test_bound_to_something_else() -> None:
    function = inspect.getattr_static(trio_c.CancelScope, "__enter__")
    method = function.__get__(42)
    assert type(method) is types.MethodType
    with pytest.raises(TypeError, match="doesn't apply to a 'int' object"):
        method()


def test_calls() -> None:
    async def main() -> None:
        scope = trio_c.CancelScope()
        with pytest.raises(TypeError, match="takes no arguments"):
            scope.__enter__(1)  # type: ignore[call-arg]
        assert scope.__enter__() is scope
        with pytest.raises(TypeError, match="missing 1 required positional"):
            scope.__exit__(None, None)  # type: ignore[call-arg]
        assert scope.__exit__(etype=None, exc=None, tb=None)

    trio_c.run(main)


def test_a_cycle_through_it_is_collected() -> None:
    scope = trio_c.CancelScope()
    scope.cancelled_caught = [scope.__enter__, scope.__exit__]  # type: ignore[assignment]
    weak = weakref.ref(scope)
    del scope
    gc.collect()
    assert weak() is None


def test_many_at_a_time() -> None:
    """More than are kept for reuse, given up in another order."""
    for _ in range(2):
        scopes = [trio_c.CancelScope(deadline=i) for i in range(3000)]
        methods = [scope.__enter__ for scope in scopes]
        del scopes
        for n, method in enumerate(methods):
            assert method.__self__.deadline == n  # type: ignore[attr-defined]
        del methods[::2], method
        assert [m.__self__.deadline for m in methods] == list(range(1, 3000, 2))  # type: ignore[attr-defined]


def test_those_that_are_kept_are_harmless() -> None:
    """Whoever goes through gc.get_objects() comes by methods bound to nothing."""
    for _ in range(3):
        methods = [trio_c.CancelScope().__enter__ for _ in range(10)]
        kind = type(methods[0])
        del methods
        found = [obj for obj in gc.get_objects() if type(obj) is kind]
        assert len(found) >= 10
        for method in found:
            assert isinstance(method, types.MethodType)
            assert repr(method) and hash(method) is not None
            assert method == method and method.__self__ is None
            with pytest.raises(TypeError, match="bound to nothing"):
                method()
        scope = trio_c.CancelScope()
        assert scope.__enter__ not in found
        assert scope.__enter__.__self__ is scope  # type: ignore[attr-defined]
        del found, method
