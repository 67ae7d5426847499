"""as_safe_channel: an asynchronous generator behind a channel."""

from __future__ import annotations

import pytest

import trio_c
from trio_c.testing import trio_test, wait_all_tasks_blocked


@trio_test
async def test_as_safe_channel():
    log = []

    @trio_c.as_safe_channel
    async def numbers(n, *, step=1):
        """Counts."""
        try:
            async with trio_c.open_nursery() as nursery:
                nursery.start_soon(trio_c.sleep_forever)
                for i in range(0, n, step):
                    log.append(f"make {i}")
                    yield i
                nursery.cancel_scope.cancel()
        finally:
            log.append("closed")

    assert numbers.__name__ == "numbers"
    assert numbers.__doc__ == "Counts."
    async with numbers(5, step=2) as channel:
        assert isinstance(channel, trio_c.abc.ReceiveChannel)
        async for i in channel:
            log.append(f"got {i}")
    expected = []
    for i in (0, 2, 4):
        expected += [f"make {i}", f"got {i}"]
    assert log == [*expected, "closed"]

    log.clear()
    async with numbers(5) as channel:
        assert await channel.receive() == 0
        await wait_all_tasks_blocked()
    assert log == ["make 0", "closed"]

    log.clear()
    with pytest.raises(ZeroDivisionError) as info:
        async with numbers(5) as channel:
            await channel.receive()
            raise ZeroDivisionError
    assert log == ["make 0", "closed"]
    assert info.value.__context__ is None

    log.clear()
    async with numbers(5) as channel:
        await channel.aclose()
        with pytest.raises(trio_c.ClosedResourceError):
            await channel.receive()
    assert log == []


@trio_test
async def test_as_safe_channel_groups_only_what_it_must():
    @trio_c.as_safe_channel
    async def failing(in_body):
        try:
            yield 1
        finally:
            if in_body:
                raise KeyError
        raise IndexError

    with pytest.raises(IndexError):
        async with failing(False) as channel:
            async for _ in channel:
                pass
    with pytest.raises(ExceptionGroup) as info:
        async with failing(True) as channel:
            async for _ in channel:
                raise ZeroDivisionError
    assert {type(exc) for exc in info.value.exceptions} == {
        ZeroDivisionError,
        KeyError,
    }
    assert info.value.__notes__ == [
        "Encountered exception during cleanup of generator object, as well as "
        "exception in the contextmanager body - unable to unwrap."
    ]
    with pytest.raises(ZeroDivisionError):
        async with failing(False):
            raise ZeroDivisionError


@trio_test
async def test_as_safe_channel_is_closed_when_cancelled():
    log = []

    @trio_c.as_safe_channel
    async def slow():
        try:
            yield 1
            await trio_c.sleep_forever()
        finally:
            log.append("closed")

    with trio_c.CancelScope() as scope:
        async with slow() as channel:
            assert await channel.receive() == 1
            scope.cancel()
            await channel.receive()
    assert scope.cancelled_caught
    assert log == ["closed"]


@trio_test
async def test_as_safe_channel_wrong_arguments():
    @trio_c.as_safe_channel
    async def numbers(n):
        yield n

    with pytest.raises(TypeError):
        async with numbers():
            raise AssertionError("not reached")
