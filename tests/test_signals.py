"""``open_signal_receiver``: what upstream's tests do not reach."""

from __future__ import annotations

import os
import signal
import threading

import pytest

import trio_c
from trio_c._signals import get_pending_signal_count
from trio_c.testing import trio_test, wait_all_tasks_blocked

ONE, TWO, THREE = signal.SIGUSR1, signal.SIGUSR2, signal.SIGHUP
ALL = (ONE, TWO, THREE)


@pytest.fixture(autouse=True)
def handlers_stay():
    """Each test leaves the handlers as it found them."""
    sigint = signal.signal(signal.SIGINT, signal.default_int_handler)
    before = {signum: signal.getsignal(signum) for signum in ALL}
    yield
    after = {signum: signal.getsignal(signum) for signum in ALL}
    signal.signal(signal.SIGINT, sigint)
    assert after == before


def arrive(*signums):
    for signum in signums:
        signal.raise_signal(signum)


@trio_test
async def test_order_and_coalescing():
    with trio_c.open_signal_receiver(*ALL) as received:
        assert aiter(received) is received
        arrive(TWO, ONE, TWO, THREE, ONE)
        await wait_all_tasks_blocked()
        assert get_pending_signal_count(received) == 3
        assert await anext(received) == TWO
        # It has been received: from now on it is a new one.
        arrive(TWO)
        await wait_all_tasks_blocked()
        assert [await anext(received) for _ in range(3)] == [ONE, THREE, TWO]
        assert get_pending_signal_count(received) == 0


@trio_test
async def test_wakes_a_sleeping_run():
    with trio_c.open_signal_receiver(ONE) as received:
        threading.Timer(0.01, os.kill, (os.getpid(), ONE)).start()
        assert await anext(received) == ONE


@trio_test
async def test_each_step_is_a_checkpoint():
    with trio_c.open_signal_receiver(ONE) as received:
        arrive(ONE)
        await wait_all_tasks_blocked()
        with trio_c.CancelScope() as scope:
            scope.cancel()
            await anext(received)
        assert scope.cancelled_caught
        # Nothing was lost, and the receiver is free again.
        with trio_c.testing.assert_checkpoints():
            assert await anext(received) == ONE
        with trio_c.move_on_after(0) as scope:
            await anext(received)
        assert scope.cancelled_caught
        arrive(ONE)
        assert await anext(received) == ONE


@trio_test
async def test_one_at_a_time():
    with trio_c.open_signal_receiver(ONE) as received:
        async with trio_c.open_nursery() as nursery:
            nursery.start_soon(anext, received)
            await wait_all_tasks_blocked()
            with pytest.raises(trio_c.BusyResourceError, match="^only one task can"):
                await anext(received)
            arrive(ONE)


@trio_test
async def test_end_overtakes_a_woken_iteration():
    outcome = []
    seen = []

    async def iterate(received):
        with pytest.raises(RuntimeError, match="block already exited") as info:
            await anext(received)
        outcome.append(info.value)

    before = signal.signal(ONE, lambda signum, frame: seen.append(signum))
    try:
        async with trio_c.open_nursery() as nursery:
            with trio_c.open_signal_receiver(ONE) as received:
                nursery.start_soon(iterate, received)
                await wait_all_tasks_blocked()
                # Wakes the iteration, whose turn has not come yet.
                received._add(ONE)
        assert len(outcome) == 1
        assert seen == [ONE]
    finally:
        signal.signal(ONE, before)


@trio_test
async def test_nested():
    with trio_c.open_signal_receiver(ONE, TWO) as outer:
        with trio_c.open_signal_receiver(ONE) as inner:
            arrive(ONE, TWO)
            assert await anext(inner) == ONE
            assert await anext(outer) == TWO
            arrive(ONE)
            await wait_all_tasks_blocked()
            assert get_pending_signal_count(outer) == 0
        # What the inner one did not receive went to the handler outside.
        assert await anext(outer) == ONE


@trio_test
async def test_ctrl_c_is_received():
    with trio_c.open_signal_receiver(signal.SIGINT) as received:
        arrive(signal.SIGINT)
        assert await anext(received) == signal.SIGINT
        await trio_c.lowlevel.checkpoint()


@trio_test
async def test_ctrl_c_that_was_not_received():
    with pytest.raises(KeyboardInterrupt):
        with trio_c.open_signal_receiver(signal.SIGINT) as received:
            arrive(signal.SIGINT)
            await wait_all_tasks_blocked()
            assert get_pending_signal_count(received) == 1
    await trio_c.lowlevel.checkpoint()  # once only


@trio_test
async def test_unreceived_signals_chain_with_what_the_block_raised():
    def handler(signum, frame):
        raise KeyError(signum)

    before = {signum: signal.signal(signum, handler) for signum in (ONE, TWO)}
    try:
        with pytest.raises(KeyError) as info:
            with trio_c.open_signal_receiver(ONE, TWO):
                arrive(TWO, ONE)
                await wait_all_tasks_blocked()
                raise ValueError("of the block")
    finally:
        for signum, old in before.items():
            signal.signal(signum, old)
    last = info.value
    assert last.args == (ONE,)
    assert last.__context__.args == (TWO,)
    assert last.__context__.__context__.args == ("of the block",)


@pytest.mark.parametrize("when", ["setting", "restoring"])
@trio_test
async def test_ctrl_c_while_handlers_change(when, monkeypatch):
    real = signal.signal
    calls = []

    def interrupted(signum, handler):
        calls.append(signum)
        if len(calls) == (1 if when == "setting" else 4):
            arrive(signal.SIGINT)
        return real(signum, handler)

    with pytest.raises(KeyboardInterrupt):
        monkeypatch.setattr(signal, "signal", interrupted)
        with trio_c.open_signal_receiver(*ALL):
            assert sorted(calls) == sorted(ALL)
        monkeypatch.undo()
        assert len(calls) == 6
        # Only now:
        await trio_c.lowlevel.checkpoint()


@trio_test
async def test_the_others_are_put_back_if_one_cannot_be(monkeypatch):
    real = signal.signal
    before = {signum: signal.getsignal(signum) for signum in ALL}
    calls = []

    def failing(signum, handler):
        calls.append(signum)
        if len(calls) == 4:
            raise TypeError("cannot be put back")
        return real(signum, handler)

    monkeypatch.setattr(signal, "signal", failing)
    with pytest.raises(TypeError, match="cannot be put back"):
        with trio_c.open_signal_receiver(*ALL):
            assert len(calls) == 3
    monkeypatch.undo()
    assert len(calls) == 6
    left = [n for n in ALL if signal.getsignal(n) is not before[n]]
    assert left == [calls[3]]
    signal.signal(calls[3], before[calls[3]])


@pytest.mark.parametrize(
    ("signums", "error"),
    [
        ((ONE, signal.SIGKILL), OSError),
        ((ONE, 0), ValueError),
        ((ONE, "SIGHUP"), TypeError),
        ((ONE, []), TypeError),
    ],
)
@trio_test
async def test_bad_signals(signums, error):
    with pytest.raises(error):
        with trio_c.open_signal_receiver(*signums):
            raise AssertionError


def test_outside_of_a_run():
    with pytest.raises(RuntimeError, match="must be called from async context"):
        with trio_c.open_signal_receiver(ONE):
            raise AssertionError


@trio_test
async def test_other_thread():
    def elsewhere():
        with trio_c.open_signal_receiver(ONE):
            raise AssertionError

    with pytest.raises(RuntimeError, match="only possible when running in Python"):
        await trio_c.to_thread.run_sync(elsewhere)
