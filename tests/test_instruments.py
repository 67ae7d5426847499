"""Instruments: what upstream's tests do not reach."""

from __future__ import annotations

import contextlib
import gc
import logging
import sys

import pytest

import trio_c
from trio_c import lowlevel
from trio_c.testing import trio_test

HOOKS = [
    "before_run",
    "after_run",
    "task_spawned",
    "task_scheduled",
    "before_task_step",
    "after_task_step",
    "task_exited",
    "before_io_wait",
    "after_io_wait",
]


class Recorder:
    """Any object will do: no base class, and only some of the hooks."""

    def __init__(self):
        self.record = []

    def before_task_step(self, task):
        self.record.append(task.name)


def instruments():
    return lowlevel.current_task()._runner.instruments


def test_not_iterable():
    with pytest.raises(TypeError, match="not iterable"):
        trio_c.run(trio_c.sleep, 0, instruments=5)
    trio_c.run(trio_c.sleep, 0)


def test_any_iterable():
    recorder = Recorder()
    trio_c.run(trio_c.sleep, 0, instruments=(r for r in [recorder]))
    assert "<init>" in recorder.record


def test_outside_a_run():
    for function in (lowlevel.add_instrument, lowlevel.remove_instrument):
        with pytest.raises(RuntimeError, match="^must be called from async context$"):
            function(Recorder())


@trio_test
async def test_only_implemented_hooks_are_listened_to():
    assert not any(hook in instruments() for hook in HOOKS)
    recorder = Recorder()
    lowlevel.add_instrument(recorder)
    assert [hook for hook in HOOKS if hook in instruments()] == ["before_task_step"]
    lowlevel.remove_instrument(recorder)
    assert not any(hook in instruments() for hook in HOOKS)
    assert "no such hook" not in instruments()
    assert 5 not in instruments()
    with pytest.raises(KeyError):
        lowlevel.remove_instrument(recorder)


@trio_test
async def test_base_class_alone_listens_to_nothing():
    class Some(trio_c.abc.Instrument):
        def task_exited(self, task):
            raise AssertionError("not meant to be called")

    some, nothing = Some(), trio_c.abc.Instrument()
    lowlevel.add_instrument(some)
    assert [hook for hook in HOOKS if hook in instruments()] == ["task_exited"]
    lowlevel.add_instrument(nothing)
    assert [hook for hook in HOOKS if hook in instruments()] == ["task_exited"]
    lowlevel.remove_instrument(nothing)
    lowlevel.remove_instrument(some)
    assert not any(hook in instruments() for hook in HOOKS)


@trio_test
async def test_registration_order_and_changes_during_a_call():
    record = []

    class Hook:
        def __init__(self, name):
            self.name = name

        def task_scheduled(self, task):
            record.append(self.name)
            if self.name == "a":
                lowlevel.remove_instrument(b)
                lowlevel.add_instrument(c)

    a, b, c = map(Hook, "abc")
    lowlevel.add_instrument(a)
    lowlevel.add_instrument(b)
    await lowlevel.cancel_shielded_checkpoint()
    # b was there when the call began, c was not.
    assert record == ["a", "b"]
    lowlevel.remove_instrument(a)
    lowlevel.add_instrument(a)
    lowlevel.add_instrument(b)
    del record[:]
    await lowlevel.cancel_shielded_checkpoint()
    assert record == ["c", "a", "b"]
    for hook in (c, a, b):
        # a's hook may have been faster.
        with contextlib.suppress(KeyError):
            lowlevel.remove_instrument(hook)


@trio_test
async def test_unhashable_and_failing_instruments_change_nothing():
    class Unhashable(Recorder):
        __hash__ = None

    with pytest.raises(TypeError, match="unhashable"):
        lowlevel.add_instrument(Unhashable())

    class NoDir(Recorder):
        def __dir__(self):
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        lowlevel.add_instrument(NoDir())

    class Early(Recorder):
        @property
        def task_exited(self):
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError) as info:
        lowlevel.add_instrument(Early())
    assert info.value.__context__ is None
    assert not any(hook in instruments() for hook in HOOKS)


@trio_test
async def test_attribute_error_reads_as_not_in_a_run():
    class Bad(Recorder):
        def __getattribute__(self, name):
            if name == "before_task_step":
                raise AttributeError(name)
            return super().__getattribute__(name)

    with pytest.raises(RuntimeError, match="^must be called from async context$"):
        lowlevel.add_instrument(Bad())
    assert "before_task_step" not in instruments()


@pytest.mark.parametrize("error", [ValueError, KeyboardInterrupt, SystemExit])
def test_failing_hook_is_logged_and_gone(caplog, error):
    calls = []

    class Bad(trio_c.abc.Instrument):
        def before_task_step(self, task):
            calls.append(task)
            raise error("oops")

        def after_task_step(self, task):
            raise AssertionError("the instrument is gone")

    bad = Bad()
    trio_c.run(trio_c.sleep, 0, instruments=[bad])
    assert len(calls) == 1
    (record,) = caplog.records
    assert record.name == "trio.abc.Instrument"
    assert record.levelno == logging.ERROR
    assert record.getMessage() == (
        f"Exception raised when calling 'before_task_step' on instrument {bad!r}. "
        "Instrument has been disabled."
    )
    assert record.exc_info[0] is error


def test_hook_that_removes_itself_and_fails_is_an_internal_error(monkeypatch):
    # What is left of the run complains when it is collected, and may.
    monkeypatch.setattr(sys, "unraisablehook", lambda args: None)

    class Bad:
        def before_task_step(self, task):
            lowlevel.remove_instrument(self)
            raise ValueError("first")

    with pytest.raises(trio_c.TrioInternalError) as info:
        trio_c.run(trio_c.sleep, 0, instruments=[Bad()])
    error = info.value.__cause__
    assert type(error) is KeyError
    assert type(error.__context__) is ValueError
    del error, info
    gc.collect()


@trio_test
async def test_hooks_are_protected_whoever_makes_them_run():
    seen = []

    class Look:
        def task_scheduled(self, task):
            seen.append(lowlevel.currently_ki_protected())
            seen.append(self.unprotected())

        @lowlevel.disable_ki_protection
        def unprotected(self):
            return lowlevel.currently_ki_protected()

    look = Look()
    lowlevel.add_instrument(look)
    async with trio_c.open_nursery() as nursery:
        # Called from here, which is not protected.
        nursery.start_soon(trio_c.sleep, 0)
        assert not lowlevel.currently_ki_protected()
    lowlevel.remove_instrument(look)
    assert seen[:2] == [True, False]
