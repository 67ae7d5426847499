"""Modules whose names are loaded on demand are still modules like any other."""

from __future__ import annotations

import copy
import dis
import importlib
import inspect
import pickle
import sys
import threading
from types import ModuleType
from unittest import mock

import pytest
from _processes import run_code

import trio_c

LAZY = ["trio_c", "trio_c._core"]


@pytest.mark.parametrize("name", LAZY)
def test_it_is_a_module(name: str) -> None:
    module = importlib.import_module(name)
    assert callable(module.run)
    assert type(module) is not ModuleType
    assert type(module).__name__ == "module"
    assert isinstance(module, ModuleType)
    assert inspect.ismodule(module)
    assert repr(module).startswith(f"<module {module.__name__!r} from ")
    assert pickle.loads(pickle.dumps(module)) is module
    assert copy.deepcopy(module) is module
    with pytest.raises(AttributeError) as info:
        module.nothing_of_this_name  # noqa: B018
    assert info.value.name == "nothing_of_this_name"
    assert info.value.obj is module
    with pytest.raises(TypeError, match="not an acceptable base type"):
        type("Derived", (type(module),), {})


def test_globals_do_not_hide_what_the_class_defines() -> None:
    assert isinstance(trio_c.Event, type)
    assert trio_c.__dict__ is vars(trio_c)
    with mock.patch.dict(vars(trio_c), {"__dict__": 1, "__class__": 2}):
        assert trio_c.__dict__ is vars(trio_c)
        assert issubclass(trio_c.__class__, ModuleType)


@pytest.mark.parametrize("before", ["", "trio_c.Event; trio_c.Path"])
@pytest.mark.parametrize("name", ["Event", "Path"])
def test_patching(before: str, name: str) -> None:
    """As `mock` and `monkeypatch` do it, before and after the first use."""
    run_code(f"""
import trio_c
from unittest import mock
{before}
with mock.patch("trio_c.{name}", 1):
    assert trio_c.{name} == 1
assert isinstance(trio_c.{name}, type)
original = trio_c.{name}
trio_c.{name} = 2
assert trio_c.{name} == vars(trio_c)["{name}"] == 2
del trio_c.{name}
assert trio_c.{name} is original
""")


def test_a_class_that_somebody_gave_it_stays() -> None:
    run_code("""
import types, trio_c
class Watched(types.ModuleType):
    pass
trio_c.Event
trio_c.__class__ = Watched
for name in trio_c.__all__:
    getattr(trio_c, name)
assert type(trio_c) is Watched
""")


def test_names_that_are_no_strings() -> None:
    run_code("""
import trio_c
trio_c.Event
for name in 5, 2**200, b"bytes" * 10, [1] * 10, 1.5:
    try:
        type(trio_c).__getattribute__(trio_c, name)
    except TypeError:
        pass
    else:
        raise AssertionError(name)
""")


def test_reloading() -> None:
    run_code("""
import importlib, trio_c
event = trio_c.Event
assert importlib.reload(trio_c) is trio_c
assert trio_c.Event is event
assert isinstance(trio_c.Path, type)
from trio_c import *
assert Path is trio_c.Path
""")


def test_first_use_in_many_threads() -> None:
    output = run_code("""
import sys, threading
sys.setswitchinterval(1e-6)
import trio_c
barrier = threading.Barrier(8)
seen = []
def use(name):
    barrier.wait()
    seen.append(getattr(trio_c, name))
names = ["Event", "Path", "SocketStream", "sleep"] * 2
threads = [threading.Thread(target=use, args=[name]) for name in names]
for thread in threads: thread.start()
for thread in threads: thread.join()
print(len(seen), len(set(map(id, seen))))
""")
    assert output == "8 4\n"


@pytest.mark.skipif(
    sys.implementation.name != "cpython" or sys.gettrace() is not None,
    reason="the interpreter does not specialise here",
)
def test_lowlevel_is_a_plain_module() -> None:
    """The interpreter reads its attributes without looking them up."""
    lowlevel = trio_c.lowlevel
    assert type(lowlevel) is ModuleType

    def read() -> None:
        for _ in range(1000):
            lowlevel.checkpoint  # noqa: B018

    thread = threading.Thread(target=read)  # where no tool looks on
    thread.start()
    thread.join()
    assert "LOAD_ATTR_MODULE" in {
        instruction.opname for instruction in dis.get_instructions(read, adaptive=True)
    }
