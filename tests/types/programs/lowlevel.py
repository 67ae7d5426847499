"""``trio.lowlevel``, threads, guest runs."""

from __future__ import annotations

import contextvars
import types
from collections.abc import Callable
from typing import Any, TypeVar, assert_type

import outcome
import trio

T = TypeVar("T")


async def checkpoints() -> None:
    assert_type(await trio.lowlevel.checkpoint(), None)
    assert_type(await trio.lowlevel.checkpoint_if_cancelled(), None)
    assert_type(await trio.lowlevel.cancel_shielded_checkpoint(), None)


def abort(raise_cancel: trio.lowlevel.RaiseCancelT) -> trio.lowlevel.Abort:
    try:
        raise_cancel()
    except trio.Cancelled:
        return trio.lowlevel.Abort.FAILED
    return trio.lowlevel.Abort.SUCCEEDED


async def traps(task: trio.lowlevel.Task) -> None:
    assert_type(await trio.lowlevel.wait_task_rescheduled(abort), Any)
    await trio.lowlevel.wait_task_rescheduled(lambda _: trio.lowlevel.Abort.SUCCEEDED)
    assert_type(await trio.lowlevel.temporarily_detach_coroutine_object(abort), object)
    assert_type(
        await trio.lowlevel.permanently_detach_coroutine_object(outcome.Value(1)),
        object,
    )
    assert_type(await trio.lowlevel.reattach_detached_coroutine_object(task, 1), None)
    assert_type(trio.lowlevel.reschedule(task), None)
    trio.lowlevel.reschedule(task, outcome.Value("x"))
    trio.lowlevel.reschedule(task, next_send=outcome.Error(ValueError()))


def tasks(task: trio.lowlevel.Task) -> None:
    assert_type(task.name, str)
    task.name = "other"
    coro = assert_type(
        task.coro, types.CoroutineType[Any, outcome.Outcome[object], Any]
    )
    del coro
    assert_type(task.context, contextvars.Context)
    assert_type(task.parent_nursery, trio.Nursery | None)
    assert_type(task.eventual_parent_nursery, trio.Nursery | None)
    assert_type(task.child_nurseries, list[trio.Nursery])
    assert_type(task.custom_sleep_data, Any)
    task.custom_sleep_data = [1]
    for frame, line in task.iter_await_frames():
        assert_type(frame, types.FrameType)
        assert_type(line, int)
    assert_type(trio.lowlevel.current_task(), trio.lowlevel.Task)
    assert_type(trio.lowlevel.current_root_task(), trio.lowlevel.Task | None)


async def job(number: int, text: str = "") -> None: ...


def running() -> None:
    assert_type(trio.lowlevel.in_trio_run(), bool)
    assert_type(trio.lowlevel.in_trio_task(), bool)
    assert_type(trio.lowlevel.current_clock(), trio.abc.Clock)
    statistics = trio.lowlevel.current_statistics()
    assert_type(statistics, trio.lowlevel.RunStatistics)
    assert_type(statistics.tasks_living, int)
    assert_type(statistics.tasks_runnable, int)
    assert_type(statistics.seconds_to_next_deadline, float)
    assert_type(statistics.run_sync_soon_queue_size, int)
    if statistics.io_statistics.backend == "epoll":
        assert_type(statistics.io_statistics.tasks_waiting_read, int)
        assert_type(statistics.io_statistics.tasks_waiting_write, int)
    spawn = trio.lowlevel.spawn_system_task
    assert_type(spawn(job, 1), trio.lowlevel.Task)
    spawn(job, 1, "", name="x", context=contextvars.copy_context())
    assert_type(trio.lowlevel.add_instrument(trio.abc.Instrument()), None)
    assert_type(trio.lowlevel.remove_instrument(trio.abc.Instrument()), None)


def tokens(token: trio.lowlevel.TrioToken) -> None:
    assert_type(trio.lowlevel.current_trio_token(), trio.lowlevel.TrioToken)
    assert_type(token.run_sync_soon(print), None)
    token.run_sync_soon(sync_function, 1, "x", idempotent=True)
    token.run_sync_soon([1].append, 1)


def sync_function(number: int, text: str) -> list[str]:
    return [text] * number


async def threads(limiter: trio.CapacityLimiter) -> None:
    run_sync = trio.to_thread.run_sync
    assert_type(await run_sync(sync_function, 1, "x"), list[str])
    assert_type(await run_sync(int), int)
    assert_type(
        await run_sync(
            sync_function,
            1,
            "",
            thread_name="name",
            abandon_on_cancel=True,
            limiter=limiter,
        ),
        list[str],
    )
    await run_sync(print, limiter=None)
    current = trio.to_thread.current_default_thread_limiter()
    assert_type(current, trio.CapacityLimiter)


async def async_function(number: int) -> bytes:
    return bytes(number)


def in_a_thread(token: trio.lowlevel.TrioToken) -> None:
    assert_type(trio.from_thread.run(async_function, 1), bytes)
    assert_type(trio.from_thread.run(async_function, 1, trio_token=token), bytes)
    assert_type(trio.from_thread.run(trio.sleep, 1), None)
    assert_type(trio.from_thread.run_sync(sync_function, 1, ""), list[str])
    assert_type(trio.from_thread.run_sync(len, "", trio_token=None), int)
    assert_type(trio.from_thread.check_cancelled(), None)


def any_thread() -> None:
    def deliver(result: outcome.Outcome[int]) -> None:
        assert_type(result.unwrap(), int)

    trio.lowlevel.start_thread_soon(lambda: 1, deliver)
    trio.lowlevel.start_thread_soon(int, deliver, name="thread")


def run_vars() -> None:
    plain: trio.lowlevel.RunVar[str] = trio.lowlevel.RunVar("name")
    with_default = trio.lowlevel.RunVar("name", 3)
    assert_type(with_default, trio.lowlevel.RunVar[int])
    optional: trio.lowlevel.RunVar[str | None] = trio.lowlevel.RunVar(
        name="x", default=None
    )
    assert_type(plain.get(), str)
    assert_type(plain.get("x"), str)
    assert_type(with_default.get(default=4), int)
    assert_type(optional.get(None), str | None)
    token = plain.set("value")
    assert_type(token, trio.lowlevel.RunVarToken[str])
    assert_type(plain.reset(token), None)
    assert_type(token.redeemed, bool)


async def parking() -> None:
    lot = trio.lowlevel.ParkingLot()
    other = trio.lowlevel.ParkingLot()
    assert_type(len(lot), int)
    assert_type(bool(lot), bool)
    assert_type(await lot.park(), None)
    assert_type(lot.unpark(), list[trio.lowlevel.Task])
    assert_type(lot.unpark(count=1.0), list[trio.lowlevel.Task])
    assert_type(lot.unpark_all(), list[trio.lowlevel.Task])
    assert_type(lot.repark(other, count=2), None)
    assert_type(lot.repark_all(new_lot=other), None)
    assert_type(lot.break_lot(), None)
    lot.break_lot(trio.lowlevel.current_task())
    assert_type(lot.broken_by, list[trio.lowlevel.Task])
    assert_type(lot.statistics(), trio.lowlevel.ParkingLotStatistics)
    assert_type(lot.statistics().tasks_waiting, int)
    task = trio.lowlevel.current_task()
    assert_type(trio.lowlevel.add_parking_lot_breaker(task, lot), None)
    assert_type(trio.lowlevel.remove_parking_lot_breaker(task, lot), None)


async def queues() -> None:
    queue = trio.lowlevel.UnboundedQueue[int]()
    assert_type(queue.put_nowait(1), None)
    assert_type(queue.get_batch_nowait(), list[int])
    assert_type(await queue.get_batch(), list[int])
    assert_type(queue.qsize(), int)
    assert_type(queue.empty(), bool)
    async for batch in queue:
        assert_type(batch, list[int])
    statistics = queue.statistics()
    assert_type(statistics, trio.lowlevel.UnboundedQueueStatistics)
    assert_type(statistics.qsize, int)
    assert_type(statistics.tasks_waiting, int)


class HasFileno:
    def fileno(self) -> int:
        return 3


async def descriptors() -> None:
    assert_type(await trio.lowlevel.wait_readable(3), None)
    assert_type(await trio.lowlevel.wait_writable(HasFileno()), None)
    assert_type(trio.lowlevel.notify_closing(fd=HasFileno()), None)
    stream = trio.lowlevel.FdStream(3)
    assert_type(stream.fileno(), int)
    assert_type(stream.close(), None)
    assert_type(await stream.receive_some(), bytes)
    assert_type(await stream.send_all(b""), None)
    both_ways: trio.abc.Stream = stream
    del both_ways


@trio.lowlevel.enable_ki_protection
def protected(number: int) -> str:
    return str(number)


@trio.lowlevel.disable_ki_protection
async def unprotected(number: int) -> str:
    return str(number)


async def interrupts() -> None:
    assert_type(protected(1), str)
    assert_type(await unprotected(1), str)
    assert_type(trio.lowlevel.currently_ki_protected(), bool)


def guest_runs(schedule: Callable[[Callable[[], object]], None]) -> None:
    def done(result: outcome.Outcome[bytes]) -> None:
        assert_type(result.unwrap(), bytes)

    trio.lowlevel.start_guest_run(
        async_function,
        1,
        run_sync_soon_threadsafe=schedule,
        done_callback=done,
    )
    trio.lowlevel.start_guest_run(
        async_function,
        run_sync_soon_threadsafe=schedule,
        done_callback=done,
        run_sync_soon_not_threadsafe=schedule,
        host_uses_signal_set_wakeup_fd=True,
        clock=None,
        instruments=[],
        restrict_keyboard_interrupt_to_checkpoints=False,
        strict_exception_groups=True,
    )
