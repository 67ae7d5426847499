"""trio_c._deprecate: whom the warnings blame, and what they say."""

import importlib
import sys
import threading
import types
import warnings

import pytest

import trio_c.testing
from trio_c import _deprecate


@pytest.fixture
def caught():
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        yield caught


def check(caught, text, lines_above, category=DeprecationWarning):
    (warning,) = caught
    caught.clear()
    assert str(warning.message) == text
    assert warning.category is category
    assert warning.filename == __file__
    # Relative to where this function was called.
    assert warning.lineno == sys._getframe(1).f_lineno - lines_above


def test_warn_deprecated(caught):
    def old():
        _deprecate.warn_deprecated("x", "1.0", issue=None, instead=None)

    old()
    check(caught, "x is deprecated since Trio 1.0 with no replacement", 1)

    def outer():
        inner()

    def inner():
        _deprecate.warn_deprecated(
            old,
            "1.0",
            issue=7,
            instead=types.ModuleType,
            stacklevel=3,
            use_triodeprecationwarning=True,
        )

    outer()
    check(
        caught,
        f"{__name__}.test_warn_deprecated.<locals>.old is deprecated since Trio 1.0;"
        " use builtins.module instead"
        " (https://github.com/python-trio/trio/issues/7)",
        1,
        _deprecate.TrioDeprecationWarning,
    )


def test_deprecated(caught):
    def new():
        pass

    @_deprecate.deprecated("1.0", issue=None, instead=new)
    def undocumented(value, *, option):
        return value, option

    @_deprecate.deprecated("1.0", issue=5, instead=None, thing="that")
    def documented():
        """What it does."""

    here = f"{__name__}.test_deprecated.<locals>"
    assert undocumented.__doc__ is None
    assert undocumented(1, option=2) == (1, 2)
    check(
        caught,
        f"{here}.undocumented is deprecated since Trio 1.0; use {here}.new instead",
        1,
    )
    documented()
    check(
        caught,
        "that is deprecated since Trio 1.0 with no replacement"
        " (https://github.com/python-trio/trio/issues/5)",
        1,
    )
    assert documented.__doc__.startswith("What it does.\n\n.. deprecated:: 1.0\n")


def test_deprecated_alias(caught):
    def new(value: int) -> int:
        return value + 1

    old = _deprecate.deprecated_alias("Things.old", new, "1.0", issue=None)
    assert old(1) == 2
    check(
        caught,
        f"{__name__}.Things.old is deprecated since Trio 1.0;"
        f" use {__name__}.test_deprecated_alias.<locals>.new instead",
        1,
    )
    assert old.__name__ == "old"
    assert new.__name__ == "new"


def test_module_attributes(caught, monkeypatch):
    module = types.ModuleType("some_module")
    monkeypatch.setitem(sys.modules, "some_module", module)
    _deprecate.deprecate_attributes(
        "some_module",
        {
            "old": _deprecate.DeprecatedAttribute(len, "1.0", issue=None),
            "gone": _deprecate.DeprecatedAttribute(1, "1.1", None, instead=None),
        },
    )
    assert module.old is len
    check(
        caught,
        "some_module.old is deprecated since Trio 1.0; use builtins.len instead",
        1,
    )
    assert module.gone == 1
    check(
        caught,
        "some_module.gone is deprecated since Trio 1.1 with no replacement",
        1,
    )
    # The drop-in renames modules.
    module.__name__ = "other"
    assert module.old is len
    assert str(caught[0].message).startswith("other.old is")
    with pytest.raises(AttributeError, match=r"^module 'other' has no attribute 'x'$"):
        module.x  # noqa: B018


@pytest.mark.parametrize(
    ("name", "replacement"), [("RaisesGroup", "RaisesGroup"), ("Matcher", "RaisesExc")]
)
def test_raises_group_is_deprecated(caught, name, replacement):
    cls = getattr(trio_c.testing, name)
    check(
        caught,
        f"trio_c.testing.{name} is deprecated since Trio 0.33.0; use See"
        " https://docs.pytest.org/en/stable/reference/reference.html"
        f"#pytest.{replacement} instead"
        " (https://github.com/python-trio/trio/issues/3326)",
        1,
    )
    assert getattr(trio_c.testing, "_" + name) is cls
    module = importlib.import_module("trio_c.testing._raises_group")
    assert getattr(module, name) is cls
    assert not caught


def test_testing_has_no_other_attributes():
    with pytest.raises(AttributeError, match=r"'trio_c.testing' has no attribute '_x'"):
        trio_c.testing._x  # noqa: B018


def test_the_old_name_of_abandon_on_cancel(caught):
    run_sync = trio_c.to_thread.run_sync

    async def main():
        assert await run_sync(int, "7", cancellable=False) == 7

    trio_c.run(main)
    check(
        caught,
        "the argument 'cancellable' of trio.to_thread.run_sync is deprecated since"
        " Trio 0.23.0; use 'abandon_on_cancel' instead"
        " (https://github.com/python-trio/trio/issues/2841)",
        3,
        trio_c.TrioDeprecationWarning,
    )

    # It does the same.
    async def abandoning():
        release = threading.Event()
        with trio_c.move_on_after(1) as scope:
            scope.cancel()
            await run_sync(release.wait, cancellable=True)
        with trio_c.CancelScope() as scope:
            call = run_sync(release.wait, cancellable=True)
            trio_c.lowlevel.current_trio_token().run_sync_soon(scope.cancel)
            await call
        release.set()
        await trio_c.testing.wait_all_threads_completed()

    trio_c.run(abandoning)
    caught.clear()

    for both in (True, False):
        with pytest.raises(TypeError, match="^to_thread_run_sync.. got both 'aband"):
            run_sync(int, cancellable=both, abandon_on_cancel=both)
    assert caught == []
    warnings.simplefilter("error")
    with pytest.raises(trio_c.TrioDeprecationWarning):
        run_sync(int, cancellable=True)
