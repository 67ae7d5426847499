"""Async-generator finalization: what upstream's tests do not reach."""

from __future__ import annotations

import gc
import logging
import sys

import pytest

import trio_c
from trio_c import lowlevel
from trio_c.testing import trio_test, wait_all_tasks_blocked


def test_hooks_are_given_back_whatever_happens():
    before = sys.get_asyncgen_hooks()

    async def main():
        assert sys.get_asyncgen_hooks() != before

    trio_c.run(main)
    assert sys.get_asyncgen_hooks() == before

    class BadClock:
        pass

    with pytest.raises(trio_c.TrioInternalError):
        trio_c.run(main, clock=BadClock())
    assert sys.get_asyncgen_hooks() == before
    with pytest.raises(TypeError):
        trio_c.run(main, instruments=3)
    assert sys.get_asyncgen_hooks() == before


@trio_test
async def test_dropped_in_a_thread_closed_in_a_task():
    closed_in = []

    async def agen():
        try:
            yield
        finally:
            closed_in.append(lowlevel.current_task().name)

    box = [agen()]
    await box[0].asend(None)
    with pytest.warns(ResourceWarning, match="was garbage collected before"):
        await trio_c.to_thread.run_sync(box.clear)
        gc.collect()
    await wait_all_tasks_blocked()
    (name,) = closed_in
    assert name.startswith("close asyncgen ")
    assert name.endswith("agen (abandoned)")


@trio_test
async def test_warning_as_error_still_closes_the_generator(monkeypatch):
    unraisable = []
    closed = []

    async def agen():
        try:
            yield
        finally:
            closed.append(True)

    monkeypatch.setattr(sys, "unraisablehook", unraisable.append)
    # The warnings of this suite are errors.
    await agen().asend(None)
    gc.collect()
    await wait_all_tasks_blocked()
    assert closed == [True]
    assert unraisable[0].exc_type is ResourceWarning
    unraisable.clear()


@trio_test
async def test_closing_may_not_wait_but_may_fail(caplog, monkeypatch):
    async def waits():
        try:
            yield
        finally:
            await trio_c.sleep(5)

    monkeypatch.setattr(sys, "unraisablehook", lambda args: None)
    await waits().asend(None)
    gc.collect()
    await wait_all_tasks_blocked()
    assert caplog.records == []  # Cancelled, and caught

    async def fails():
        try:
            yield
        finally:
            raise KeyError("x")

    await fails().asend(None)
    gc.collect()
    await wait_all_tasks_blocked()
    (record,) = caplog.records
    assert record.name == "trio.async_generator_errors"
    assert record.levelno == logging.ERROR
    assert "Exception ignored during finalization of async generator" in record.message
    assert record.exc_info[0] is KeyError


def test_left_over_generators_are_closed_in_the_root_task():
    names = []
    kept = []

    async def agen():
        try:
            yield
        finally:
            names.append(lowlevel.current_task().name)
            with pytest.raises(RuntimeError, match="Nursery is closed"):
                lowlevel.spawn_system_task(trio_c.sleep, 0)
            # Callbacks still work.
            lowlevel.current_trio_token().run_sync_soon(names.append, "callback")

    async def main():
        for _ in range(3):
            kept.append(agen())
            await kept[-1].asend(None)

    trio_c.run(main)
    assert sorted(names) == ["<init>"] * 3 + ["callback"] * 3
    assert all(agen.ag_frame is None for agen in kept)


def test_generators_of_the_host_stay_the_hosts():
    seen = []
    outside = sys.get_asyncgen_hooks()

    async def agen():
        yield 1

    def drive(aiter):
        with pytest.raises(StopIteration):
            aiter.asend(None).send(None)

    async def main():
        # Started where no task runs: in an abort function called by the loop.
        def abort(_):
            drive(box[0])
            return lowlevel.Abort.SUCCEEDED

        box = [agen()]
        with trio_c.move_on_after(0.01):
            await lowlevel.wait_task_rescheduled(abort)
        foreign = lowlevel.current_task()._runner.asyncgens.foreign
        assert foreign == {id(box[0])}
        box.clear()
        gc.collect()
        assert foreign == set()

    sys.set_asyncgen_hooks(
        firstiter=lambda agen: seen.append("firstiter"),
        finalizer=lambda agen: seen.append("finalizer"),
    )
    try:
        trio_c.run(main)
    finally:
        sys.set_asyncgen_hooks(*outside)
    assert seen == ["firstiter", "finalizer"]
