"""Conditions."""

from __future__ import annotations

import math
import signal

import pytest
from _points import Points

import trio_c
from trio_c import lowlevel
from trio_c.testing import trio_test, wait_all_tasks_blocked

# --- Condition


def test_condition_arguments():
    lock = trio_c.Lock()
    assert trio_c.Condition(lock=lock)._lock is lock
    assert type(trio_c.Condition(None)._lock) is trio_c.Lock
    for bad in (trio_c.StrictFIFOLock(), trio_c.Semaphore(1), 1, trio_c.Lock):
        with pytest.raises(TypeError, match=r"^lock must be a trio\.Lock$"):
            trio_c.Condition(bad)


@trio_test
async def test_condition_needs_the_lock():
    condition = trio_c.Condition()
    with pytest.raises(RuntimeError, match=r"^must hold the lock to wait$"):
        await condition.wait()
    for notify in (condition.notify, condition.notify_all):
        with pytest.raises(RuntimeError, match=r"^must hold the lock to notify$"):
            notify()


async def wait_for_news(condition, log, name):
    async with condition:
        with Points() as points:
            assert await condition.wait() is None
        log.append((name, points.counted))


@trio_test
async def test_condition_notify():
    condition = trio_c.Condition()
    log = []
    async with trio_c.open_nursery() as nursery:
        for i in range(6):
            nursery.start_soon(wait_for_news, condition, log, i)
            await wait_all_tasks_blocked()
        async with condition:
            condition.notify(0)
            condition.notify(-1)
            condition.notify(n=2)
            assert condition.statistics() == trio_c.ConditionStatistics(
                tasks_waiting=4,
                lock_statistics=trio_c.LockStatistics(True, lowlevel.current_task(), 2),
            )
            moved = [
                t.custom_sleep_data is condition._lock._lot for t in nursery.child_tasks
            ]
            assert sum(moved) == 2
            with pytest.raises(ValueError, match="non-integer"):
                condition.notify(1.5)
            with pytest.raises(TypeError):
                condition.notify("all")
        await wait_all_tasks_blocked()
        assert [name for name, _ in log] == [0, 1]
        async with condition:
            condition.notify()
            condition.notify(math.inf)
    assert log == [(i, (1, 1)) for i in range(6)]
    assert not condition.locked()


@pytest.mark.parametrize("contended", [False, True])
@trio_test
async def test_condition_cancelled_wait_gets_the_lock_back(contended):
    condition = trio_c.Condition()
    log = []

    async def waiter():
        with trio_c.CancelScope() as scope:
            async with condition:
                try:
                    nursery.start_soon(canceller, scope)
                    with Points() as points:
                        await condition.wait()
                except trio_c.Cancelled as exc:
                    assert condition._lock.statistics().owner is (
                        lowlevel.current_task()
                    )
                    log.append((points.counted, exc.__context__))
                    raise
        assert scope.cancelled_caught

    async def canceller(scope):
        if contended:
            await condition.acquire()
            scope.cancel()
            await wait_all_tasks_blocked()
            log.append("released")
            condition.release()
        else:
            scope.cancel()

    async with trio_c.open_nursery() as nursery:
        nursery.start_soon(waiter)
    if contended:
        assert log == ["released", ((3, 2), None)]
    else:
        assert log == [((2, 2), None)]
    assert not condition.locked()


@trio_test
async def test_condition_notified_and_cancelled_before_the_lock_is_free():
    condition = trio_c.Condition()
    log = []

    async def waiter():
        async with condition:
            try:
                await condition.wait()
            except trio_c.Cancelled:
                log.append(
                    condition._lock.statistics().owner is lowlevel.current_task()
                )
                raise

    async with trio_c.open_nursery() as nursery:
        nursery.start_soon(waiter)
        await wait_all_tasks_blocked()
        async with condition:
            condition.notify()
            nursery.cancel_scope.cancel()
            assert condition.statistics().lock_statistics.tasks_waiting == 0
    assert log == [True]
    assert not condition.locked()


@trio_test
async def test_condition_lock_breaks_while_waiting():
    condition = trio_c.Condition()
    errors = []

    async def waiter():
        try:
            async with condition:
                await condition.wait()
        except RuntimeError as exc:  # __aexit__ does not own the lock
            errors.append(exc)

    async def bad_owner():
        await condition.acquire()
        condition.notify()

    async with trio_c.open_nursery() as nursery:
        nursery.start_soon(waiter)
        await wait_all_tasks_blocked()
        nursery.start_soon(bad_owner)
    (error,) = errors
    assert str(error) == "can't release a Lock you don't own"
    assert str(error.__context__).startswith("Owner of this lock exited without")
    assert type(error.__context__) is trio_c.BrokenResourceError
    assert str(error.__context__.__context__).startswith("Parking lot broken by")


def test_condition_ctrl_c_while_it_waits_for_the_lock():
    condition = trio_c.Condition()
    log = []

    async def main():
        async def other():
            async with condition:
                scope.cancel()
                await wait_all_tasks_blocked()
                log.append(condition.statistics().lock_statistics.tasks_waiting)
                signal.raise_signal(signal.SIGINT)
                await trio_c.sleep_forever()

        async with trio_c.open_nursery() as nursery:
            with trio_c.CancelScope() as scope:
                await condition.acquire()
                nursery.start_soon(other)
                try:
                    await condition.wait()
                finally:
                    owner = condition._lock.statistics().owner
                    log.append(owner is lowlevel.current_task())

    with pytest.raises(BaseExceptionGroup) as info:
        trio_c.run(main, restrict_keyboard_interrupt_to_checkpoints=True)
    (error,) = info.value.exceptions
    assert type(error) is KeyboardInterrupt
    assert type(error.__context__) is trio_c.Cancelled
    assert log == [1, False]


@trio_test
async def test_condition_broken_lot():
    condition = trio_c.Condition()
    condition._lot.break_lot()
    async with condition:
        with (
            Points() as points,
            pytest.raises(trio_c.BrokenResourceError, match="^Attempted to park in"),
        ):
            await condition.wait()
        assert points.counted == (1, 1)
        assert condition.locked()


@trio_test
async def test_condition_wait_thrown_into():
    condition = trio_c.Condition()
    await condition.acquire()
    me = lowlevel.current_task()
    wait = condition.wait()
    wait.send(None)
    assert not condition.locked()
    # As a coroutine's finally block would: it must not be closed yet.
    with pytest.raises(RuntimeError, match="ignored GeneratorExit"):
        wait.close()
    assert condition._lock.statistics().owner is me
    with pytest.raises(GeneratorExit):
        wait.send(None)
    condition.release()

    await condition.acquire()
    wait = condition.wait()
    wait.send(None)
    wait.throw(ZeroDivisionError("first"))
    with pytest.raises(KeyError) as info:
        wait.throw(KeyError("second"))
    assert type(info.value.__context__) is ZeroDivisionError
    assert condition._lock.statistics().owner is me
    condition.release()


@trio_test
async def test_condition_wait_thrown_into_while_it_waits_for_the_lock():
    condition = trio_c.Condition()
    await condition.acquire()
    wait = condition.wait()
    wait.send(None)
    async with trio_c.open_nursery() as nursery:

        async def other():
            async with condition:
                await trio_c.sleep_forever()

        nursery.start_soon(other)
        await lowlevel.checkpoint()
        await lowlevel.checkpoint()
        wait.throw(ZeroDivisionError())
        assert len(condition._lock._lot) == 1
        with pytest.raises(KeyError):
            wait.throw(KeyError())
        assert len(condition._lock._lot) == 0
        nursery.cancel_scope.cancel()
    assert lowlevel.current_task() is not condition._lock.statistics().owner


def test_condition_wait_closed_outside_a_run():
    condition = trio_c.Condition()
    waits = []

    async def main():
        await condition.acquire()
        waits.append(condition.wait())
        waits[0].send(None)

    trio_c.run(main)
    with pytest.raises(RuntimeError, match=r"^must be called from async context$"):
        waits[0].close()
    assert condition.statistics().tasks_waiting == 0


@trio_test
async def test_condition_wait_dropped():
    condition = trio_c.Condition()
    await condition.acquire()
    wait = condition.wait()
    wait.send(None)
    assert condition.statistics().tasks_waiting == 1
    del wait
    assert condition.statistics().tasks_waiting == 0

    await condition.acquire()
    wait = condition.wait()
    wait.send(None)
    with trio_c.CancelScope() as scope:
        wait.throw(ZeroDivisionError())  # now it gets the lock back, shielded
        scope.cancel()
        assert trio_c.current_effective_deadline() == math.inf
        del wait
        assert trio_c.current_effective_deadline() == -math.inf
    condition.release()


@trio_test
async def test_condition_shared_lock():
    lock = trio_c.Lock()
    one, two = trio_c.Condition(lock), trio_c.Condition(lock)
    log = []
    async with trio_c.open_nursery() as nursery:
        nursery.start_soon(wait_for_news, one, log, "one")
        nursery.start_soon(wait_for_news, two, log, "two")
        await wait_all_tasks_blocked()
        async with lock:
            two.notify_all()
        await wait_all_tasks_blocked()
        assert [name for name, _ in log] == ["two"]
        async with lock:
            one.notify_all()
