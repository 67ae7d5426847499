"""pytest-trio's own fixtures and marks, under trio_c's plugin."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable
from functools import partial

import pytest
import trio
import trio.testing
import which_trio
from pytest_trio import trio_fixture

which_trio.check()

Connect = Callable[[], Awaitable[trio.SocketStream]]


@pytest.fixture
async def answer() -> int:
    await trio.sleep(0)
    return 42


@pytest.fixture
async def log() -> AsyncIterator[list[str]]:
    entries: list[str] = []
    await trio.lowlevel.checkpoint()
    yield entries
    await trio.lowlevel.checkpoint()
    assert entries[-1] == "the server has ended"


@pytest.fixture
async def server(log: list[str], nursery: trio.Nursery) -> AsyncIterator[Connect]:
    """A server in the background of a test, and what connects to it."""

    async def echo(stream: trio.SocketStream) -> None:
        log.append("a client came")
        async for chunk in stream:
            await stream.send_all(chunk)

    async with trio.open_nursery() as inside:
        start = partial(trio.serve_tcp, echo, 0, host="127.0.0.1")
        (listener,) = await inside.start(start)
        yield partial(trio.testing.open_stream_to_socket_listener, listener)
        inside.cancel_scope.cancel()
    log.append("the server has ended")


async def test_value(answer: int) -> None:
    assert answer == 42


async def test_server_in_a_fixture(server: Connect, log: list[str]) -> None:
    async with await server() as one, await server() as two:
        await one.send_all(b"one")
        await two.send_all(b"two")
        assert await two.receive_some() == b"two"
        assert await one.receive_some() == b"one"
    assert log == ["a client came"] * 2


async def test_nursery(nursery: trio.Nursery) -> None:
    assert isinstance(nursery, trio.Nursery)
    send, receive = trio.open_memory_channel[int](0)
    nursery.start_soon(send.send, 7)
    assert await receive.receive() == 7
    nursery.start_soon(trio.sleep_forever)  # cancelled when the test ends


async def test_fixtures_run_side_by_side(
    first_of_two: trio.Event, second_of_two: trio.Event
) -> None:
    assert first_of_two.is_set() and second_of_two.is_set()


events = {name: trio.Event() for name in ("first", "second")}


@trio_fixture
async def first_of_two() -> trio.Event:
    events["first"].set()
    await events["second"].wait()
    return events["first"]


@trio_fixture
async def second_of_two() -> trio.Event:
    events["second"].set()
    await events["first"].wait()
    return events["second"]


async def test_autojump_clock(autojump_clock: trio.testing.MockClock) -> None:
    assert isinstance(autojump_clock, trio.abc.Clock)
    began = trio.current_time()
    async with trio.open_nursery() as nursery:
        for hours in range(1, 25):
            nursery.start_soon(trio.sleep, hours * 3600)
    assert trio.current_time() - began == 24 * 3600
    with pytest.raises(trio.TooSlowError), trio.fail_after(1_000_000):
        await trio.sleep_forever()


async def test_mock_clock(mock_clock: trio.testing.MockClock) -> None:
    done = []

    async def sleep() -> None:
        await trio.sleep(10)
        done.append(trio.current_time())

    async with trio.open_nursery() as nursery:
        began = trio.current_time()
        nursery.start_soon(sleep)
        await trio.testing.wait_all_tasks_blocked()
        mock_clock.jump(9)
        await trio.testing.wait_all_tasks_blocked()
        assert not done
        mock_clock.jump(1)
    assert done == [began + 10]


@pytest.mark.parametrize("size", [0, 1, 5])
async def test_parameters(size: int, answer: int) -> None:
    send, receive = trio.open_memory_channel[int](size)
    assert send.statistics().max_buffer_size == size
    async with send, receive:
        for _ in range(size):
            send.send_nowait(answer)
        with pytest.raises(trio.WouldBlock):
            send.send_nowait(answer)


class TestInAClass:
    @pytest.fixture
    async def word(self) -> AsyncIterator[str]:
        yield "word"

    async def test_it(self, word: str) -> None:
        await trio.sleep(0)
        assert word == "word"


@pytest.mark.xfail(raises=pytest.RaisesGroup(ZeroDivisionError), strict=True)
async def test_that_has_to_fail() -> None:
    await trio.sleep(0)
    raise ZeroDivisionError


def test_plain() -> None:
    assert trio.run(trio.sleep, 0) is None


async def test_failure_in_the_background(pytester: pytest.Pytester) -> None:
    """An error in the nursery fixture fails the test that it belongs to."""
    pytester.makepyfile(
        """
        import trio

        async def crash():
            raise LookupError("in the background")

        async def test_it(nursery):
            nursery.start_soon(crash)
            await trio.sleep_forever()

        async def test_next(nursery):
            await trio.sleep(0)
        """
    )
    pytester.makeini("[pytest]\ntrio_mode = true")
    result = await trio.to_thread.run_sync(
        partial(pytester.runpytest_subprocess, "-p", "no:cacheprovider")
    )
    result.assert_outcomes(passed=1, failed=1)
    result.stdout.fnmatch_lines("*LookupError: in the background*")
