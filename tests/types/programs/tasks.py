"""Runs, tasks, nurseries, cancel scopes, time."""

from __future__ import annotations

import contextvars
import math
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import AbstractAsyncContextManager, aclosing
from typing import Any, NoReturn, assert_type

import trio


async def no_arguments() -> str:
    return ""


async def two_arguments(number: int, text: str) -> list[str]:
    return [text] * number


async def one_default(number: int, text: str = "") -> None: ...


async def many(*numbers: int, keyword: bool = True) -> bytes:
    return bytes(numbers)


async def never_ends() -> NoReturn:
    await trio.sleep_forever()


class Callable1:
    async def __call__(self, x: int) -> float:
        return x / 2

    async def method(self, x: bytes) -> bytes:
        return x

    @classmethod
    async def make(cls, x: str) -> Callable1:
        return cls()


def runs() -> None:
    assert_type(trio.run(no_arguments), str)
    assert_type(trio.run(two_arguments, 1, "a"), list[str])
    assert_type(trio.run(many, 1, 2, 3), bytes)
    assert_type(trio.run(many), bytes)
    assert_type(trio.run(Callable1(), 3), float)
    assert_type(trio.run(Callable1().method, b""), bytes)
    assert_type(trio.run(Callable1.make, ""), Callable1)
    trio.run(one_default, 1)
    trio.run(one_default, 1, "x")
    trio.run(
        no_arguments,
        clock=trio.testing.MockClock(autojump_threshold=0),
        instruments=[trio.abc.Instrument()],
        restrict_keyboard_interrupt_to_checkpoints=True,
        strict_exception_groups=True,
    )
    trio.run(no_arguments, instruments=())
    trio.run(trio.sleep, 1)
    trio.run(trio.sleep, 1.5)
    trio.run(trio.sleep_until, -math.inf)


def run_anything(
    function: Callable[..., Awaitable[Any]], *args: object, **kwargs: Any
) -> Any:
    return trio.run(function, *args, **kwargs)


async def nurseries() -> None:
    manager = trio.open_nursery()
    assert_type(manager, AbstractAsyncContextManager[trio.Nursery])
    async with manager as nursery:
        assert_type(nursery, trio.Nursery)
        assert_type(nursery.start_soon(no_arguments), None)
        nursery.start_soon(two_arguments, 1, "x")
        nursery.start_soon(two_arguments, 1, "x", name="named")
        nursery.start_soon(one_default, 1)
        nursery.start_soon(many, 1, 2, name=two_arguments)
        nursery.start_soon(Callable1().method, b"")
        nursery.start_soon(trio.sleep, 1)
        nursery.start_soon(never_ends)
        assert_type(nursery.cancel_scope, trio.CancelScope)
        nursery.cancel_scope.cancel("reason")
        assert_type(nursery.child_tasks, frozenset[trio.lowlevel.Task])
        assert_type(nursery.parent_task, trio.lowlevel.Task)
        value = await nursery.start(server, 80, name="server")
        assert_type(value, Any)
    async with trio.open_nursery(strict_exception_groups=True):
        pass
    async with trio.open_nursery(None) as unused:
        assert_type(unused.cancel_scope.shield, bool)


async def server(
    port: int, *, task_status: trio.TaskStatus[int] = trio.TASK_STATUS_IGNORED
) -> None:
    assert_type(task_status.started(port), None)


async def silent_server(
    task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED,
) -> None:
    task_status.started()
    task_status.started(None)


async def default_status(task_status: trio.TaskStatus) -> None:
    assert_type(task_status, trio.TaskStatus[None])
    task_status.started()


def statuses_are_contravariant(
    of_objects: trio.TaskStatus[object], of_floats: trio.TaskStatus[float]
) -> None:
    of_ints: trio.TaskStatus[int] = of_objects
    of_ints = of_floats
    of_ints.started(True)
    ignored: trio.TaskStatus[dict[str, int]] = trio.TASK_STATUS_IGNORED
    ignored.started({})


class MyStatus:
    def started(self, value: object = None) -> None: ...


def structural_status() -> trio.TaskStatus[int]:
    return MyStatus()


async def scopes() -> None:
    scope = trio.CancelScope()
    scope = trio.CancelScope(deadline=3)
    scope = trio.CancelScope(relative_deadline=3.5, shield=True)
    with scope as same:
        assert_type(same, trio.CancelScope)
    assert_type(scope.deadline, float)
    scope.deadline += 1
    scope.deadline = math.inf
    assert_type(scope.relative_deadline, float)
    scope.relative_deadline = 1
    assert_type(scope.is_relative, bool | None)
    assert_type(scope.shield, bool)
    scope.shield = True
    assert_type(scope.cancel_called, bool)
    assert_type(scope.cancelled_caught, bool)
    assert_type(scope.cancel(), None)
    scope.cancel(reason="because")
    assert_type(scope.__exit__(None, None, None), bool)


async def a_scope_may_swallow() -> int:
    with trio.CancelScope():
        return 1
    return 2


async def a_failing_scope_does_not() -> int:
    with trio.fail_after(1):
        return 1


async def timeouts() -> None:
    with trio.move_on_after(1) as scope:
        assert_type(scope, trio.CancelScope)
    with trio.move_on_at(1.5, shield=True) as scope:
        assert_type(scope, trio.CancelScope)
    with trio.fail_after(seconds=1, shield=False) as scope:
        assert_type(scope, trio.CancelScope)
    with trio.fail_at(deadline=1) as scope:
        assert_type(scope, trio.CancelScope)
    assert_type(trio.move_on_after(1), trio.CancelScope)
    assert_type(await trio.sleep(1), None)
    assert_type(await trio.sleep_until(deadline=1), None)
    assert_type(trio.current_time(), float)
    assert_type(trio.current_effective_deadline(), float)
    if trio.current_time() > 3:
        await trio.sleep_forever()


async def sleeping_forever_never_returns() -> int:
    await trio.sleep_forever()


def exceptions(exc: trio.Cancelled) -> None:
    assert_type(exc.source_task, str | None)
    assert_type(exc.reason, str | None)
    if exc.source == "deadline":
        pass
    for plain in (
        trio.TooSlowError,
        trio.WouldBlock,
        trio.EndOfChannel,
        trio.BusyResourceError,
        trio.ClosedResourceError,
        trio.BrokenResourceError,
        trio.TrioInternalError,
    ):
        error: Exception = plain("text")
        raise error from exc
    finished: RuntimeError = trio.RunFinishedError()
    raise finished


async def exception_groups() -> None:
    try:
        await trio.sleep(1)
    except* trio.Cancelled as group:
        assert_type(group.exceptions[0].__context__, BaseException | None)
    except* (trio.TooSlowError, OSError) as errors:
        assert_type(errors, ExceptionGroup[trio.TooSlowError | OSError])


class MyError(trio.BrokenResourceError):
    pass


@trio.as_safe_channel
async def countdown(start: int, *, step: int = 1) -> AsyncGenerator[int, None]:
    while start:
        yield start
        start -= step


async def safe_channels() -> None:
    manager = countdown(3, step=1)
    assert_type(manager, AbstractAsyncContextManager[trio.abc.ReceiveChannel[int]])
    async with manager as channel:
        assert_type(channel, trio.abc.ReceiveChannel[int])
        async for number in channel:
            assert_type(number, int)


async def odds_and_ends(context: contextvars.Context) -> None:
    assert_type(trio.__version__, str)
    warning: type[FutureWarning] = trio.TrioDeprecationWarning
    async with aclosing(anext_source()) as source:
        async for item in source:
            assert_type(item, trio.CancelScope)
    del warning, context


async def anext_source() -> AsyncGenerator[trio.CancelScope, None]:
    yield trio.CancelScope()
