"""Mistakes. Each comment has to be needed: a checker that no longer finds the
mistake in its line complains about the comment.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator
from typing import Any

import outcome
import trio


async def wants_int(number: int) -> str:
    return str(number)


def sync_wants_int(number: int) -> str:
    return str(number)


class NotAClock:
    def current_time(self) -> float:
        return 0


def runs() -> None:
    trio.run(wants_int)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    trio.run(wants_int, "1")  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    trio.run(wants_int, 1, 2)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    trio.run(wants_int(1))  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    trio.run(sync_wants_int, 1)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    trio.run(wants_int, 1, clock=NotAClock())  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    trio.run(wants_int, 1, instruments=[NotAClock()])  # type: ignore[list-item]  # pyright: ignore[reportArgumentType]
    trio.run(wants_int, 1, number=1)  # type: ignore[call-arg]  # pyright: ignore[reportCallIssue]
    trio.run()  # type: ignore[call-arg]  # pyright: ignore[reportCallIssue]
    wrong_result: int = trio.run(wants_int, 1)  # type: ignore[assignment]  # pyright: ignore[reportAssignmentType]
    del wrong_result


async def nurseries(nursery: trio.Nursery) -> None:
    nursery.start_soon(wants_int)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    nursery.start_soon(wants_int, "1")  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    nursery.start_soon(wants_int, number=1)  # type: ignore[arg-type, call-arg]  # pyright: ignore[reportCallIssue]
    nursery.start_soon(sync_wants_int, 1)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    nursery.start_soon(trio.sleep)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    nursery.start_soon(trio.sleep, "1")  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    await nursery.start(sync_wants_int, 1)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    nursery.child_tasks = frozenset()  # type: ignore[misc]  # pyright: ignore[reportAttributeAccessIssue]
    nursery.parent_task = trio.lowlevel.current_task()  # type: ignore[misc]  # pyright: ignore[reportAttributeAccessIssue]
    nursery.cancel_scope = None  # type: ignore[assignment]  # pyright: ignore[reportAttributeAccessIssue]
    async with nursery:  # type: ignore[attr-defined]  # pyright: ignore[reportGeneralTypeIssues]
        pass
    with trio.open_nursery():  # type: ignore[attr-defined]  # pyright: ignore[reportGeneralTypeIssues]
        pass
    async with trio.open_nursery(1):  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
        pass
    trio.open_nursery().start_soon(wants_int, 1)  # type: ignore[attr-defined]  # pyright: ignore[reportAttributeAccessIssue]


async def statuses(
    of_ints: trio.TaskStatus[int], of_nothing: trio.TaskStatus[None]
) -> None:
    of_ints.started()  # type: ignore[call-arg]  # pyright: ignore[reportCallIssue]
    of_ints.started("1")  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    of_ints.started(None)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    of_nothing.started(1)  # type: ignore[call-overload]  # pyright: ignore[reportArgumentType]
    of_objects: trio.TaskStatus[object] = of_ints  # type: ignore[assignment]  # pyright: ignore[reportAssignmentType]
    of_ints.value  # type: ignore[attr-defined]  # pyright: ignore[reportAttributeAccessIssue]
    del of_objects


async def scopes(scope: trio.CancelScope) -> None:
    trio.CancelScope(1)  # type: ignore[call-arg]  # pyright: ignore[reportCallIssue]
    trio.CancelScope(deadline="1")  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    trio.CancelScope(timeout=1)  # type: ignore[call-arg]  # pyright: ignore[reportCallIssue]
    trio.CancelScope(shield=1)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    scope.deadline = "1"  # type: ignore[assignment]  # pyright: ignore[reportAttributeAccessIssue]
    scope.shield = 1  # type: ignore[assignment]  # pyright: ignore[reportAttributeAccessIssue]
    scope.cancel_called = True  # type: ignore[misc]  # pyright: ignore[reportAttributeAccessIssue]
    scope.is_relative = True  # type: ignore[misc]  # pyright: ignore[reportAttributeAccessIssue]
    scope.cancel(1)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    scope.no_such_thing  # type: ignore[attr-defined]  # pyright: ignore[reportAttributeAccessIssue]
    async with scope:  # type: ignore[attr-defined]  # pyright: ignore[reportGeneralTypeIssues]
        pass
    trio.move_on_after("1")  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    trio.move_on_after(1, True)  # type: ignore[call-arg]  # pyright: ignore[reportCallIssue]
    trio.move_on_at()  # type: ignore[call-arg]  # pyright: ignore[reportCallIssue]
    async with trio.fail_after(1):  # type: ignore[attr-defined]  # pyright: ignore[reportGeneralTypeIssues]
        pass
    trio.fail_at(deadline=1, shield=None)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    await trio.sleep()  # type: ignore[call-arg]  # pyright: ignore[reportCallIssue]
    await trio.sleep("1")  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    await trio.sleep(seconds=None)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    await trio.sleep_forever(1)  # type: ignore[call-arg]  # pyright: ignore[reportCallIssue]


class MyNursery(trio.Nursery):  # type: ignore[misc]  # pyright: ignore[reportGeneralTypeIssues]
    pass


class MyScope(trio.CancelScope):  # type: ignore[misc]  # pyright: ignore[reportGeneralTypeIssues]
    pass


class MyLock(trio.Lock):  # type: ignore[misc]  # pyright: ignore[reportGeneralTypeIssues]
    pass


class MyEvent(trio.Event):  # type: ignore[misc]  # pyright: ignore[reportGeneralTypeIssues]
    pass


class MyChannel(trio.MemorySendChannel[int]):  # type: ignore[misc]  # pyright: ignore[reportGeneralTypeIssues]
    pass


class MyStream(trio.SocketStream):  # type: ignore[misc]  # pyright: ignore[reportGeneralTypeIssues]
    pass


async def locks(
    lock: trio.Lock, limiter: trio.CapacityLimiter, semaphore: trio.Semaphore
) -> None:
    trio.Lock(1)  # type: ignore[call-arg]  # pyright: ignore[reportCallIssue]
    trio.Event(True)  # type: ignore[call-arg]  # pyright: ignore[reportCallIssue]
    trio.Semaphore()  # type: ignore[call-arg]  # pyright: ignore[reportCallIssue]
    trio.Semaphore(1.5)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    trio.Semaphore(1, 2)  # type: ignore[call-arg]  # pyright: ignore[reportCallIssue]
    trio.CapacityLimiter()  # type: ignore[call-arg]  # pyright: ignore[reportCallIssue]
    trio.CapacityLimiter("1")  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    trio.Condition(trio.StrictFIFOLock())  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    with lock:  # type: ignore[attr-defined]  # pyright: ignore[reportGeneralTypeIssues]
        pass
    lock.acquire(1)  # type: ignore[call-arg, unused-coroutine]  # pyright: ignore[reportCallIssue]
    lock.statistics().tasks_waiting = 3  # type: ignore[misc]  # pyright: ignore[reportAttributeAccessIssue]
    lock.statistics().no_such_thing  # type: ignore[attr-defined]  # pyright: ignore[reportAttributeAccessIssue]
    limiter.borrowed_tokens = 3  # type: ignore[misc]  # pyright: ignore[reportAttributeAccessIssue]
    limiter.total_tokens = "3"  # type: ignore[assignment]  # pyright: ignore[reportAttributeAccessIssue]
    semaphore.value = 3  # type: ignore[misc]  # pyright: ignore[reportAttributeAccessIssue]
    await trio.Condition().notify()  # type: ignore[func-returns-value, misc]  # pyright: ignore[reportGeneralTypeIssues]
    trio.Condition().notify("1")  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]


async def channels(
    send: trio.MemorySendChannel[int], receive: trio.MemoryReceiveChannel[int]
) -> None:
    trio.open_memory_channel[int]()  # type: ignore[call-arg]  # pyright: ignore[reportCallIssue]
    trio.open_memory_channel[int]("1")  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    await send.send("1")  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    send.send_nowait(None)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    send.receive_nowait()  # type: ignore[attr-defined]  # pyright: ignore[reportAttributeAccessIssue]
    receive.send_nowait(1)  # type: ignore[attr-defined]  # pyright: ignore[reportAttributeAccessIssue]
    text: str = await receive.receive()  # type: ignore[assignment]  # pyright: ignore[reportAssignmentType]
    wider_send: trio.MemorySendChannel[object] = send  # type: ignore[assignment]  # pyright: ignore[reportAssignmentType]
    narrower: trio.MemoryReceiveChannel[bool] = receive  # type: ignore[assignment]  # pyright: ignore[reportAssignmentType]
    abstract: trio.abc.SendChannel[object] = send  # type: ignore[assignment]  # pyright: ignore[reportAssignmentType]
    async for _ in send:  # type: ignore[attr-defined]  # pyright: ignore[reportGeneralTypeIssues]
        pass
    del text, wider_send, narrower, abstract


async def safe_channels() -> None:
    @trio.as_safe_channel  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    async def not_a_generator() -> int:
        return 1

    @trio.as_safe_channel
    async def numbers(start: int) -> AsyncGenerator[int, None]:
        yield start

    numbers("1")  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    async for _ in numbers(1):  # type: ignore[attr-defined]  # pyright: ignore[reportGeneralTypeIssues]
        pass


async def lowlevel(
    task: trio.lowlevel.Task,
    token: trio.lowlevel.TrioToken,
    variable: trio.lowlevel.RunVar[int],
) -> None:
    await trio.lowlevel.checkpoint(1)  # type: ignore[call-arg]  # pyright: ignore[reportCallIssue]
    await trio.lowlevel.wait_task_rescheduled(lambda: trio.lowlevel.Abort.FAILED)  # type: ignore[arg-type, misc]  # pyright: ignore[reportArgumentType]
    await trio.lowlevel.wait_task_rescheduled(lambda _: True)  # type: ignore[arg-type, return-value]  # pyright: ignore[reportArgumentType]
    trio.lowlevel.reschedule(task, 1)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    trio.lowlevel.reschedule(1, outcome.Value(1))  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    trio.lowlevel.spawn_system_task(wants_int, "1")  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    trio.lowlevel.spawn_system_task(wants_int, 1, context={})  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    trio.lowlevel.current_task().no_such_thing  # type: ignore[attr-defined]  # pyright: ignore[reportAttributeAccessIssue]
    token.run_sync_soon(sync_wants_int, "1")  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    token.run_sync_soon(sync_wants_int, 1, idempotent="yes")  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    variable.set("1")  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    text: str = variable.get()  # type: ignore[assignment]  # pyright: ignore[reportAssignmentType]
    variable.reset(1)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    variable.reset(trio.lowlevel.RunVar[str]("x").set(""))  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    trio.lowlevel.RunVar(3, 3)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    objects: trio.lowlevel.RunVar[object] = variable  # type: ignore[assignment]  # pyright: ignore[reportAssignmentType]
    trio.lowlevel.ParkingLot().unpark(3)  # type: ignore[call-arg]  # pyright: ignore[reportCallIssue]
    trio.lowlevel.ParkingLot().repark(3)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    trio.lowlevel.add_instrument(NotAClock())  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    await trio.lowlevel.wait_readable("3")  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    await trio.lowlevel.wait_writable(NotAClock())  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    trio.lowlevel.enable_ki_protection(3)  # type: ignore[type-var]  # pyright: ignore[reportArgumentType]
    trio.lowlevel.start_thread_soon(sync_wants_int, print)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    trio.lowlevel.no_such_thing  # type: ignore[attr-defined]  # pyright: ignore[reportAttributeAccessIssue]
    del text, objects


async def threads() -> None:
    await trio.to_thread.run_sync(sync_wants_int)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    await trio.to_thread.run_sync(sync_wants_int, "1")  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    await trio.to_thread.run_sync(sync_wants_int, 1, cancellable=True)  # type: ignore[call-arg]  # pyright: ignore[reportCallIssue]
    await trio.to_thread.run_sync(print, limiter=3)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    trio.from_thread.run(wants_int, "1")  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    trio.from_thread.run(sync_wants_int, 1)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    trio.from_thread.run_sync(sync_wants_int, "1")  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    trio.from_thread.run_sync(sync_wants_int, 1, trio_token=1)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    number: int = trio.from_thread.run(wants_int, 1)  # type: ignore[assignment]  # pyright: ignore[reportAssignmentType]
    trio.from_thread.check_cancelled(1)  # type: ignore[call-arg]  # pyright: ignore[reportCallIssue]
    del number


class HalfAClock(trio.abc.Clock):
    def start_clock(self) -> None: ...


class WrongInstrument(trio.abc.Instrument):
    def before_run(self, more: int) -> None: ...  # type: ignore[override]  # pyright: ignore[reportIncompatibleMethodOverride]


class WrongChannel(trio.abc.SendChannel[int]):
    async def send(self, value: str) -> None: ...  # type: ignore[override]  # pyright: ignore[reportIncompatibleMethodOverride]

    async def aclose(self) -> None: ...


def interfaces() -> None:
    HalfAClock()  # type: ignore[abstract]  # pyright: ignore[reportAbstractUsage]
    trio.abc.AsyncResource()  # type: ignore[abstract]  # pyright: ignore[reportAbstractUsage]


async def network(
    sock: trio.socket.SocketType, stream: trio.SocketStream, context: Any
) -> None:
    await sock.recv("1")  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    await sock.recv(buflen=1)  # type: ignore[call-arg]  # pyright: ignore[reportCallIssue]
    await sock.send("text")  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    await sock.sendto(b"x")  # type: ignore[call-overload]  # pyright: ignore[reportCallIssue]
    sock.setsockopt(1, 2, None)  # type: ignore[call-overload]  # pyright: ignore[reportArgumentType]
    sock.setsockopt(1, 2, 3, 4)  # type: ignore[call-overload]  # pyright: ignore[reportArgumentType]
    sock.makefile()  # type: ignore[attr-defined]  # pyright: ignore[reportAttributeAccessIssue]
    trio.socket.socket("1")  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    trio.socket.create_connection(("", 1))  # type: ignore[attr-defined]  # pyright: ignore[reportAttributeAccessIssue]
    trio.socket.gethostbyname("")  # type: ignore[attr-defined]  # pyright: ignore[reportAttributeAccessIssue]
    trio.socket.no_such_thing  # type: ignore[attr-defined]  # pyright: ignore[reportAttributeAccessIssue]
    await stream.send_all("text")  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    await stream.receive_some("1")  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    stream.send_all(b"", 1)  # type: ignore[call-arg, unused-coroutine]  # pyright: ignore[reportCallIssue]
    text: str = await stream.receive_some()  # type: ignore[assignment]  # pyright: ignore[reportAssignmentType]
    trio.SocketStream()  # type: ignore[call-arg]  # pyright: ignore[reportCallIssue]
    trio.SocketListener(stream)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    await trio.open_tcp_stream("host")  # type: ignore[call-arg]  # pyright: ignore[reportCallIssue]
    await trio.open_tcp_stream("host", "http")  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    await trio.serve_tcp(wants_int, 80)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    trio.StapledStream(stream)  # type: ignore[call-arg]  # pyright: ignore[reportCallIssue]
    trio.StapledStream(sock, sock)  # type: ignore[type-var]  # pyright: ignore[reportArgumentType]
    trio.SSLStream(stream)  # type: ignore[call-arg]  # pyright: ignore[reportCallIssue]
    trio.SSLStream(sock, context)  # type: ignore[type-var]  # pyright: ignore[reportArgumentType]
    trio.SSLStream(stream, context, True)  # type: ignore[arg-type, call-arg]  # pyright: ignore[reportCallIssue]
    trio.DTLSEndpoint(stream)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    await trio.aclose_forcefully(sock)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    del text
    await trio.serve_listeners(wants_int, await trio.open_tcp_listeners(0))  # type: ignore[type-var]  # pyright: ignore[reportArgumentType]


async def system(path: trio.Path) -> None:
    await trio.open_file("name", 3)  # type: ignore[call-overload]  # pyright: ignore[reportArgumentType, reportCallIssue]
    text = await (await trio.open_file("name")).read()
    text.append("")  # type: ignore[attr-defined]  # pyright: ignore[reportAttributeAccessIssue]
    (await trio.open_file("name", "rb")).encoding  # type: ignore[misc]  # pyright: ignore[reportAttributeAccessIssue]
    trio.wrap_file(3).read()  # type: ignore[misc, unused-coroutine]  # pyright: ignore[reportAttributeAccessIssue]
    path.exists().real  # type: ignore[attr-defined]  # pyright: ignore[reportAttributeAccessIssue]
    path.no_such_thing  # type: ignore[attr-defined]  # pyright: ignore[reportAttributeAccessIssue]
    path / 3  # type: ignore[operator]  # pyright: ignore[reportOperatorIssue]
    await path.write_text(b"")  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    await trio.run_process(3)  # type: ignore[call-overload]  # pyright: ignore[reportArgumentType]
    await trio.run_process(["a"], capture_stdout=3)  # type: ignore[call-overload]  # pyright: ignore[reportArgumentType]
    await trio.run_process(["a"], no_such_thing=3)  # type: ignore[call-overload]  # pyright: ignore[reportCallIssue]
    await trio.lowlevel.open_process(["a"], capture_stdout=True)  # type: ignore[call-overload]  # pyright: ignore[reportCallIssue]
    with trio.open_signal_receiver("SIGINT"):  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
        pass


async def testing() -> None:
    trio.testing.MockClock("1")  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    trio.testing.MockClock().rate = "1"  # type: ignore[assignment]  # pyright: ignore[reportAttributeAccessIssue]
    await trio.testing.wait_all_tasks_blocked("1")  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    with trio.testing.Sequencer()(1):  # type: ignore[attr-defined]  # pyright: ignore[reportGeneralTypeIssues]
        pass
    trio.testing.memory_stream_pump(1, 2)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    trio.testing.trio_test(sync_wants_int)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    await trio.testing.check_one_way_stream(None, None)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    trio.testing.no_such_thing  # type: ignore[attr-defined]  # pyright: ignore[reportAttributeAccessIssue]
    trio.no_such_thing  # type: ignore[attr-defined]  # pyright: ignore[reportAttributeAccessIssue]
