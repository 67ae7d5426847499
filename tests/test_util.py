"""trio_c._util, which libraries reach into too."""

import threading
import types

import pytest

import trio_c
from trio_c import _util


def test_conflict_detector():
    detector = _util.ConflictDetector("hands off")
    with detector:
        with pytest.raises(trio_c.BusyResourceError, match=r"^hands off$"):
            detector.__enter__()
        # The refused one has not changed anything.
        with pytest.raises(trio_c.BusyResourceError):
            detector.__enter__()
    with pytest.raises(ValueError, match="passes"), detector:
        raise ValueError("passes")
    with detector:
        pass


def test_is_main_thread():
    answers = [_util.is_main_thread()]
    thread = threading.Thread(target=lambda: answers.append(_util.is_main_thread()))
    thread.start()
    thread.join()
    assert answers == [True, False]


def test_final():
    @_util.final
    class Last:
        pass

    assert Last.__final__
    message = rf"^{__name__}\.test_final\.<locals>\.More does not support subclassing$"
    with pytest.raises(TypeError, match=message):

        class More(Last):
            pass


def test_no_public_constructor():
    class Hidden(metaclass=_util.NoPublicConstructor):
        def __init__(self, value, *, option):
            self.value = value, option

    message = r"test_no_public_constructor\.<locals>\.Hidden has no public constructor$"
    with pytest.raises(TypeError, match=message):
        Hidden(1, option=2)
    assert Hidden._create(1, option=2).value == (1, 2)
    with pytest.raises(TypeError, match="option"):
        Hidden._create(1)
    with pytest.raises(TypeError, match="does not support subclassing"):

        class Meta(_util.NoPublicConstructor):
            pass


def test_async_wraps():
    class Outer:
        def read(self):
            pass

    class Async:
        @_util.async_wraps(Outer, dict, "get")
        async def implementation(self):
            pass

    function = Async.implementation
    assert function.__name__ == "get"
    assert function.__qualname__ == "test_async_wraps.<locals>.Outer.get"
    assert "builtins.dict.get" in function.__doc__


@pytest.mark.parametrize("package", ["trio_c", "trio"])
def test_fixup_module_metadata(package):
    namespace = {"__name__": f"{package}._implementation"}
    exec(
        """if True:
        def function(): pass
        renamed = _private = lambda: None
        renamed_too = lambda: None
        class Class:
            class Nested:
                def deep(self): pass
            def method(self): pass
            alias = method
        Class.cycle = Class
        instance = Class()
        """,
        namespace,
    )
    fixed = types.SimpleNamespace(**namespace)
    stranger = types.FunctionType(compile("0", "x", "eval"), {"__name__": "elsewhere"})
    _util.fixup_module_metadata(f"{package}.public", namespace | {"s": stranger})

    home = f"{package}.public"
    for name in ["function", "renamed", "renamed_too", "Class"]:
        obj = getattr(fixed, name)
        assert (obj.__module__, obj.__name__, obj.__qualname__) == (home, name, name)
    # What is there twice keeps the first name.
    assert fixed.Class.alias.__name__ == "method"
    assert fixed.Class.method.__module__ == home
    assert fixed.Class.method.__qualname__ == "Class.method"
    assert fixed.Class.Nested.deep.__qualname__ == "Class.Nested.deep"
    assert fixed.Class.Nested.deep.__module__ == home
    assert "__module__" not in vars(fixed.instance)
    assert stranger.__module__ == "elsewhere"

    # The first public home is kept, also against a private second one.
    for other in ["other", "_private"]:
        _util.fixup_module_metadata(f"{package}.{other}", namespace)
        assert fixed.Class.__module__ == fixed.Class.method.__module__ == home


def test_name_asyncgen():
    async def agen():
        yield

    generator = agen()
    name = "test_name_asyncgen.<locals>.agen"
    assert _util.name_asyncgen(generator) == f"{__name__}.{name}"

    with pytest.raises(StopIteration):
        generator.aclose().send(None)
    assert _util.name_asyncgen(generator) == f"<{__file__}>.{name}"

    assert _util.name_asyncgen("not one") == "'not one'"


class Falsy(Exception):
    def __bool__(self):
        return False


def cancelled():
    return trio_c.Cancelled._create(source="explicit")


def test_raise_single_exception_from_group():
    for exc in [ValueError("x"), Falsy(), ExceptionGroup("inner", [ValueError()])]:
        exc.__cause__, exc.__context__ = KeyError(), IndexError()
        before = exc.__cause__, exc.__context__
        with pytest.raises(type(exc)) as info:
            _util.raise_single_exception_from_group(
                BaseExceptionGroup("", [cancelled(), exc, cancelled()])
            )
        assert info.value is exc
        assert (exc.__cause__, exc.__context__) == before

    first = cancelled()
    with pytest.raises(trio_c.Cancelled) as info:
        _util.raise_single_exception_from_group(
            BaseExceptionGroup("", [first, cancelled()])
        )
    assert info.value is first


def test_raise_single_exception_from_group_refuses_several():
    group = ExceptionGroup("", [ValueError(), Falsy()])
    with pytest.raises(_util.MultipleExceptionError) as info:
        _util.raise_single_exception_from_group(group)
    assert info.value.__cause__ is group


@pytest.mark.parametrize("exc", [KeyboardInterrupt("why"), SystemExit(3)])
def test_raise_single_exception_from_group_prefers_exits(exc):
    group = BaseExceptionGroup("", [ValueError(), ValueError(), exc, cancelled()])
    with pytest.raises(type(exc)) as info:
        _util.raise_single_exception_from_group(group)
    assert info.value is not exc
    assert info.value.args == exc.args
    assert info.value.__cause__ is group
