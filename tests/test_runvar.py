"""RunVar: what upstream's tests do not reach."""

from __future__ import annotations

import weakref

import pytest

import trio_c
from trio_c import lowlevel
from trio_c._core._local import _NoValue
from trio_c.testing import trio_test


def test_types():
    with pytest.raises(TypeError, match="RunVarToken has no public constructor$"):
        lowlevel.RunVarToken()
    for cls in (lowlevel.RunVar, lowlevel.RunVarToken):
        assert cls[int]
        with pytest.raises(TypeError, match="does not support subclassing$"):
            type("Sub", (cls,), {})
    var = lowlevel.RunVar(name="x", default=None)
    assert repr(var) == "<RunVar name='x'>"
    assert weakref.ref(var)() is var
    assert var != lowlevel.RunVar("x")
    with pytest.raises(AttributeError):
        var.anything = 1
    with pytest.raises(TypeError, match="missing 1 required positional argument"):
        lowlevel.RunVar()


def test_outside_a_run_no_default_helps():
    var = lowlevel.RunVar("x", 1)
    match = "^Cannot be used outside of a run context$"
    for call in (var.get, lambda: var.get(2), lambda: var.set(3)):
        with pytest.raises(RuntimeError, match=match):
            call()


@trio_test
async def test_precedence_and_none_as_a_default():
    plain = lowlevel.RunVar("plain")
    with_default = lowlevel.RunVar("with default", None)
    with pytest.raises(LookupError) as info:
        plain.get()
    assert info.value.args == (plain,)
    assert type(info.value) is LookupError
    assert plain.get(None) is None
    assert with_default.get() is None
    assert with_default.get(default=5) == 5
    with_default.set(6)
    assert with_default.get(5) == 6


@trio_test
async def test_tokens():
    var = lowlevel.RunVar("x")
    first = var.set(1)
    second = var.set(2)
    assert first.previous_value is _NoValue
    assert second.previous_value == 1
    assert not first.redeemed
    var.reset(first)
    assert first.redeemed
    with pytest.raises(LookupError):
        var.get()
    var.reset(second)
    assert var.get() == 1

    third = lowlevel.RunVar("y").set(1)
    with pytest.raises(ValueError, match="^token is not for us$"):
        var.reset(third)
    assert not third.redeemed

    absent = lowlevel.RunVar("z")
    token = absent.set(1)
    absent.reset(absent.set(2))
    absent.reset(token)
    with pytest.raises(TypeError, match="^token must not be none$"):
        absent.reset(None)


@trio_test
async def test_resetting_what_is_gone():
    var = lowlevel.RunVar("x")
    one = var.set(1)
    del lowlevel.current_task()._runner._locals[var]
    with pytest.raises(KeyError):
        var.reset(one)
    assert not one.redeemed


@trio_test
async def test_dropped_value_may_use_the_variable():
    var = lowlevel.RunVar("x")
    seen = []

    class Value:
        def __del__(self):
            seen.append(var.get(None))
            try:
                var.reset(token)
            except ValueError as exc:
                seen.append(str(exc))

    token = var.set("before")
    token = var.set(Value())
    var.reset(token)
    assert seen == ["before", "token has already been used"]
    assert var.get() == "before"


def test_runs_share_nothing():
    var = lowlevel.RunVar("x")

    async def main(value):
        assert var.get(None) is None
        var.set(value)
        if value:
            await trio_c.to_thread.run_sync(trio_c.run, main, value - 1)
        assert var.get() == value

    trio_c.run(main, 2)
