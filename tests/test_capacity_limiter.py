"""CapacityLimiter: tokens, borrowers, and who is woken."""

from __future__ import annotations

import gc
import math
from decimal import Decimal

import pytest
from _points import Points

import trio_c
from trio_c import lowlevel
from trio_c.testing import trio_test, wait_all_tasks_blocked


@trio_test
async def test_limiter_total_tokens():
    limiter = trio_c.CapacityLimiter(2)
    limiter.total_tokens = math.inf
    assert limiter.total_tokens == limiter.available_tokens == math.inf
    limiter.total_tokens = 10**30
    assert limiter.available_tokens == 10**30
    limiter.total_tokens = Decimal("inf")
    limiter.acquire_nowait()
    assert limiter.available_tokens == Decimal("inf")
    assert repr(limiter) == (
        f"<trio.CapacityLimiter at {id(limiter):#x}, 1/Infinity with 0 waiting>"
    )
    limiter.total_tokens = True
    assert limiter.available_tokens == 0
    limiter.total_tokens = 0
    assert limiter.available_tokens == -1
    for bad in (1.0, math.nan, -math.inf, "1", None, Decimal(1)):
        with pytest.raises(
            TypeError, match=r"^total_tokens must be an int or math\.inf$"
        ):
            limiter.total_tokens = bad
        with pytest.raises(TypeError):
            trio_c.CapacityLimiter(bad)
    for bad in (-1, -(10**30)):
        with pytest.raises(ValueError, match=r"^total_tokens must be >= 0$"):
            limiter.total_tokens = bad
    with pytest.raises(AttributeError):
        del limiter.total_tokens
    assert limiter.total_tokens == 0


@trio_test
async def test_limiter_borrowers():
    limiter = trio_c.CapacityLimiter(2)
    held = r"^this borrower is already holding one of this CapacityLimiter's tokens$"
    not_held = r"^this borrower isn't holding any of this CapacityLimiter's tokens$"
    await limiter.acquire_on_behalf_of("a")
    with pytest.raises(RuntimeError, match=held):
        limiter.acquire_on_behalf_of_nowait("a")
    with Points() as points, pytest.raises(RuntimeError, match=held):
        await limiter.acquire_on_behalf_of(borrower="a")
    assert points.counted == (1, 0)
    with pytest.raises(RuntimeError, match=not_held):
        limiter.release()
    for call in (
        limiter.acquire_on_behalf_of_nowait,
        limiter.release_on_behalf_of,
    ):
        with pytest.raises(TypeError, match="unhashable"):
            call([])
        with pytest.raises(TypeError):
            call()
    with pytest.raises(TypeError, match="unhashable"):
        await limiter.acquire_on_behalf_of([])
    async with limiter:
        stats = limiter.statistics()
        assert stats.borrowed_tokens == 2
        assert set(stats.borrowers) == {"a", lowlevel.current_task()}
        with pytest.raises(trio_c.WouldBlock):
            limiter.acquire_on_behalf_of_nowait("b")
    limiter.release_on_behalf_of("a")
    assert limiter.statistics() == trio_c.CapacityLimiterStatistics(0, 2, [], 0)


@trio_test
async def test_limiter_pending_borrowers():
    limiter = trio_c.CapacityLimiter(0)
    async with trio_c.open_nursery() as nursery:
        nursery.start_soon(limiter.acquire_on_behalf_of, "x")
        await wait_all_tasks_blocked()
        (task,) = nursery.child_tasks
        assert limiter._pending_borrowers == {task: "x"}
        nursery.cancel_scope.cancel()
    assert limiter._pending_borrowers == {}
    assert limiter.borrowed_tokens == 0


@trio_test
async def test_limiter_raising_wakes_that_many():
    limiter = trio_c.CapacityLimiter(0)
    async with trio_c.open_nursery() as nursery:
        for i in range(5):
            nursery.start_soon(limiter.acquire_on_behalf_of, i)
            await wait_all_tasks_blocked()
        limiter.total_tokens = 3
        assert set(limiter.statistics().borrowers) == {0, 1, 2}
        limiter.total_tokens = 1
        for i in range(3):
            limiter.release_on_behalf_of(i)
        assert limiter.statistics().borrowers == [3]
        limiter.total_tokens = math.inf
        assert limiter.statistics().tasks_waiting == 0


class Borrower:
    """Runs `hook` whenever it is hashed or compared."""

    hook = None

    def __hash__(self):
        if self.hook is not None:
            self.hook()
        return 1

    def __eq__(self, other):
        if self.hook is not None:
            self.hook()
        return self is other


@trio_test
async def test_limiter_with_failing_borrower():
    limiter = trio_c.CapacityLimiter(1)
    bad, first = Borrower(), Borrower()
    limiter.acquire_on_behalf_of_nowait(first)

    def fail():
        raise ZeroDivisionError

    async with trio_c.open_nursery() as nursery:
        nursery.start_soon(limiter.acquire_on_behalf_of, bad)
        await wait_all_tasks_blocked()
        bad.hook = fail
        with pytest.raises(ZeroDivisionError):
            limiter.acquire_on_behalf_of_nowait(bad)
        with pytest.raises(ZeroDivisionError):
            limiter.release_on_behalf_of(bad)
        # The one whose token could not be noted goes on all the same.
        with pytest.raises(ZeroDivisionError):
            limiter.release_on_behalf_of(first)
    assert limiter.borrowed_tokens == 0
    limiter.acquire_on_behalf_of_nowait("still usable")


@trio_test
async def test_limiter_with_borrower_that_comes_back():
    limiter = trio_c.CapacityLimiter(3)
    borrower, other = Borrower(), Borrower()
    limiter.acquire_on_behalf_of_nowait(borrower)

    def meddle():
        borrower.hook = other.hook = None
        limiter.total_tokens = 0
        gc.collect()

    other.hook = meddle
    with pytest.raises(trio_c.WouldBlock):
        limiter.acquire_on_behalf_of_nowait(other)

    def meddle_more():
        borrower.hook = None
        limiter.release_on_behalf_of(borrower)

    borrower.hook = meddle_more
    with pytest.raises(RuntimeError, match="isn't holding"):
        limiter.release_on_behalf_of(borrower)
    assert limiter.borrowed_tokens == 0


@trio_test
async def test_limiter_parked_by_hand():
    limiter = trio_c.CapacityLimiter(1)
    limiter.acquire_nowait()
    async with trio_c.open_nursery() as nursery:
        nursery.start_soon(limiter._lot.park)
        await wait_all_tasks_blocked()
        with pytest.raises(KeyError):
            limiter.release()
    assert limiter.borrowed_tokens == 0
