"""Scenarios of the kernel: runs, tasks, nurseries, scopes, and waiting."""

from __future__ import annotations

import contextvars
import math
import queue
import signal
import threading

import outcome
import trio
import trio.testing
from scenario import jumping, scenario
from trio import lowlevel

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Coroutine

variable = contextvars.ContextVar("variable", default=0)
run_variable = lowlevel.RunVar("run_variable", 0)


@scenario
def start_and_end() -> None:
    async def main(argument: int) -> int:
        variable.set(argument)
        await lowlevel.checkpoint()
        return argument + 1

    assert trio.run(main, 1, restrict_keyboard_interrupt_to_checkpoints=True) == 2
    try:
        trio.run(fail, ValueError("expected"))
    except ValueError as exc:
        assert str(exc) == "expected"
    assert trio.run(main, 5, clock=real_time()) == 6


def real_time() -> trio.abc.Clock:
    return trio.testing.MockClock(rate=1.0)


async def fail(exc: Exception) -> None:
    await lowlevel.checkpoint()
    raise exc


@scenario
async def spawn() -> None:
    seen = []

    async def child(n: int) -> None:
        await lowlevel.checkpoint()
        seen.append((n, variable.get()))
        await trio.sleep(0)

    context = contextvars.copy_context()
    context.run(variable.set, 7)
    async with trio.open_nursery() as nursery:
        for n in range(3):
            nursery.start_soon(child, n)
        nursery.start_soon(lowlevel.checkpoint, name="native")
        nursery.start_soon(child, 3, name="named")
        lowlevel.spawn_system_task(child, 4, context=context)
        assert len(nursery.child_tasks) == 5
    await lowlevel.checkpoint()
    await lowlevel.checkpoint()
    assert sorted(seen) == [(0, 0), (1, 0), (2, 0), (3, 0), (4, 7)]


@scenario
async def many_tasks() -> None:
    left = 120

    async def child(n: int) -> None:
        nonlocal left
        with trio.move_on_after(1000 + n):
            await trio.sleep(0.0001 * (n % 7))
            left -= 1

    async with trio.open_nursery() as nursery:
        for n in range(left):
            nursery.start_soon(child, n)
    assert left == 0


@scenario
async def start() -> None:
    async def starter(task_status: trio.TaskStatus[int]) -> None:
        await lowlevel.checkpoint()
        task_status.started(5)
        await lowlevel.checkpoint()

    async def never(task_status: trio.TaskStatus[int]) -> None:
        await lowlevel.checkpoint()

    async def failing(task_status: trio.TaskStatus[int]) -> None:
        await lowlevel.checkpoint()
        raise ValueError

    async def slow(task_status: trio.TaskStatus[int]) -> None:
        await trio.sleep_forever()

    async with trio.open_nursery() as nursery:
        assert await nursery.start(starter) == 5
        try:
            await nursery.start(never)
        except RuntimeError as exc:
            if "started" not in str(exc):
                raise
        try:
            await nursery.start(failing)
        except* ValueError:
            pass
        with trio.move_on_after(0.0001):
            await nursery.start(slow)


@jumping
async def scopes() -> None:
    with trio.move_on_after(10) as outer:
        with trio.CancelScope(shield=True) as shield:
            with trio.move_on_after(5) as inner:
                await trio.sleep(7)
            assert inner.cancelled_caught
            shield.deadline = trio.current_time() + 1
            assert trio.current_effective_deadline() == shield.deadline
            await trio.sleep_forever()
        assert shield.cancelled_caught
        outer.deadline = math.inf
        outer.shield = True
        outer.cancel(reason="enough")
        await trio.sleep_forever()
    assert outer.cancelled_caught
    try:
        with trio.fail_after(1):
            await trio.sleep(2)
    except trio.TooSlowError:
        pass
    else:
        raise AssertionError
    with trio.move_on_at(trio.current_time()) as past:
        await lowlevel.checkpoint_if_cancelled()
    assert past.cancelled_caught
    many = [trio.CancelScope(deadline=trio.current_time() + n) for n in range(40)]

    async def wait(scope: trio.CancelScope) -> None:
        with scope:
            await trio.sleep_forever()

    async with trio.open_nursery() as nursery:
        for scope in many:
            nursery.start_soon(wait, scope)
    assert all(scope.cancelled_caught for scope in many)
    repr(many[0])


@jumping
async def cancelled_groups() -> None:
    async def unhappy(seconds: float) -> None:
        try:
            await trio.sleep(1000)
        finally:
            with trio.CancelScope(shield=True):
                await trio.sleep(seconds)
            raise ValueError(seconds)

    async def parent(depth: int) -> None:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(trio.sleep_forever)
            nursery.start_soon(unhappy, depth)
            if depth:
                nursery.start_soon(parent, depth - 1)
            else:
                await trio.sleep(1)
                raise KeyError

    caught = 0
    try:
        with trio.move_on_after(50):
            await parent(3)
    except* ValueError as group:
        stack = [group]
        while stack:
            for exc in stack.pop().exceptions:
                if isinstance(exc, BaseExceptionGroup):
                    stack.append(exc)
                else:
                    caught += 1
    except* KeyError:
        pass
    assert caught == 4
    with trio.CancelScope() as scope:
        async with trio.open_nursery() as nursery:
            for _ in range(5):
                nursery.start_soon(trio.sleep_forever)
            await lowlevel.checkpoint()
            scope.cancel()
    assert scope.cancelled_caught


class OtherThread:
    """Is there before memory is wanting: threading.Thread.start() waits for
    ever for a thread that could not begin."""

    def __init__(self) -> None:
        self.lock = threading.Lock()
        self.lock.acquire()
        self.job: Callable[[], object] = self.nothing
        threading.Thread(target=self.run, daemon=True).start()

    def nothing(self) -> None:
        pass

    def do(self, job: Callable[[], object]) -> None:
        self.job = job
        self.lock.release()

    def run(self) -> None:
        while True:
            self.lock.acquire()
            try:
                self.job()
            except BaseException:
                pass  # memory is wanting, or the run is over
            self.job = self.nothing


other_thread = OtherThread()


@scenario
async def entry_queue() -> None:
    token = lowlevel.current_trio_token()
    done = trio.Event()
    seen = []

    def job(n: int) -> None:
        seen.append(n)
        if n == 39:
            done.set()

    for n in range(20):
        token.run_sync_soon(job, n)
        token.run_sync_soon(seen.sort, idempotent=True)

    def elsewhere() -> None:
        try:
            for n in range(20, 40):
                token.run_sync_soon(job, n)
        except BaseException as exc:
            failure.append(exc)
            finish()

    def finish() -> None:
        # Who waits must not wait for ever because of the scenario.
        while True:
            try:
                return token.run_sync_soon(done.set)
            except MemoryError:
                pass

    failure: list[BaseException] = []
    other_thread.do(elsewhere)
    with trio.CancelScope(shield=True):
        await done.wait()
    if failure:
        raise failure[0]
    assert sorted(seen) == list(range(40))


@scenario
async def threads() -> None:
    limiter = trio.CapacityLimiter(2)

    def work(n: int) -> int:
        trio.from_thread.check_cancelled()
        assert trio.from_thread.run_sync(int, n) == n
        return trio.from_thread.run(double, n)

    async def double(n: int) -> int:
        await lowlevel.checkpoint()
        return 2 * n

    results = []

    async def call(n: int) -> None:
        result = await trio.to_thread.run_sync(
            work, n, limiter=limiter, abandon_on_cancel=n == 2
        )
        results.append(result)

    async with trio.open_nursery() as nursery:
        for n in range(3):
            nursery.start_soon(call, n)
    assert sorted(results) == [0, 2, 4]
    with trio.move_on_after(0.0001):
        await trio.to_thread.run_sync(int, abandon_on_cancel=True, thread_name="x")
    token = lowlevel.current_trio_token()

    def elsewhere() -> None:
        try:
            seen.append(trio.from_thread.run(double, 4, trio_token=token))
        except BaseException as exc:
            seen.append(exc)

    seen: list[object] = []
    await trio.to_thread.run_sync(elsewhere)
    if isinstance(seen[0], BaseException):
        raise seen[0]


class Recorder(trio.abc.Instrument):
    def __init__(self) -> None:
        self.seen: list[str] = []

    def before_run(self) -> None:
        self.seen.append("before_run")

    def task_spawned(self, task: lowlevel.Task) -> None:
        self.seen.append(repr(task))

    def before_task_step(self, task: lowlevel.Task) -> None:
        self.seen.append(task.name)

    def after_io_wait(self, timeout: float) -> None:
        self.seen.append(f"{timeout}")

    def task_exited(self, task: lowlevel.Task) -> None:
        self.seen.append("exited")


class Bad(trio.abc.Instrument):
    def task_scheduled(self, task: lowlevel.Task) -> None:
        raise ValueError("this instrument is bad")


@scenario
def instruments() -> None:
    async def main() -> None:
        lowlevel.add_instrument(other)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(trio.sleep, 0.0001)
        try:
            lowlevel.remove_instrument(other)
        except KeyError:
            pass  # it has failed, and was removed for that

    recorder, other = Recorder(), Recorder()
    trio.run(main, instruments=[recorder, Bad()])
    assert recorder.seen[0] == "before_run"


@scenario
def guest_mode() -> None:
    todo: queue.SimpleQueue[object] = queue.SimpleQueue()
    ends = []

    async def main() -> str:
        await trio.sleep(0.0001)
        await trio.to_thread.run_sync(int)
        await lowlevel.checkpoint()
        return "done"

    def done(result: outcome.Outcome[str]) -> None:
        ends.append(result)

    def soon(job: object) -> None:
        # A host that loses a job hangs, on Trio too.
        while True:
            try:
                return todo.put(job)
            except MemoryError:
                pass

    lowlevel.start_guest_run(main, run_sync_soon_threadsafe=soon, done_callback=done)
    while not ends:
        todo.get()()
    assert ends[0].unwrap() == "done"


@scenario
async def async_generators() -> None:
    async def numbers() -> AsyncIterator[int]:
        try:
            for n in range(10):
                yield n
        finally:
            with trio.CancelScope(shield=True):
                await lowlevel.checkpoint()

    @trio.as_safe_channel
    async def safely() -> AsyncIterator[int]:
        async with trio.open_nursery():
            yield 1
            yield 2

    left = numbers()
    async for _ in left:
        break
    dropped = numbers()
    await dropped.asend(None)
    del dropped
    async with safely() as receive:
        async for _ in receive:
            pass
    await lowlevel.checkpoint()


@scenario
async def ctrl_c() -> None:
    @lowlevel.enable_ki_protection
    async def protected() -> None:
        assert lowlevel.currently_ki_protected()
        unprotected()
        await lowlevel.checkpoint()

    @lowlevel.disable_ki_protection
    def unprotected() -> None:
        assert not lowlevel.currently_ki_protected()

    await protected()
    try:
        signal.raise_signal(signal.SIGINT)
    except KeyboardInterrupt:
        pass
    try:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(trio.sleep_forever)
            lowlevel.spawn_system_task(interrupt)
            await trio.sleep_forever()
    except* KeyboardInterrupt:
        pass


async def interrupt() -> None:
    signal.raise_signal(signal.SIGINT)
    await lowlevel.checkpoint()


@scenario
async def rescheduling() -> None:
    task = lowlevel.current_task()

    def abort(_: object) -> lowlevel.Abort:
        return lowlevel.Abort.SUCCEEDED

    async def wake(result: outcome.Outcome[int] | None) -> None:
        if result is None:
            lowlevel.reschedule(task)
        else:
            lowlevel.reschedule(task, result)

    async with trio.open_nursery() as nursery:
        nursery.start_soon(wake, outcome.Value(3))
        assert await lowlevel.wait_task_rescheduled(abort) == 3
        nursery.start_soon(wake, None)
        await lowlevel.wait_task_rescheduled(abort)
        nursery.start_soon(wake, outcome.Error(ValueError()))
        try:
            await lowlevel.wait_task_rescheduled(abort)
        except ValueError:
            pass
        with trio.move_on_after(0.0001):
            await lowlevel.wait_task_rescheduled(abort)
    await lowlevel.cancel_shielded_checkpoint()
    run_variable.set(4)
    assert run_variable.get() == 4
    assert lowlevel.current_statistics().tasks_living >= 2
    repr(task)
    list(task.iter_await_frames())


@scenario
async def detached() -> None:
    async def body() -> None:
        task = lowlevel.current_task()
        # Called by the run, but as somebody who drives a coroutine by hand.
        lowlevel.current_trio_token().run_sync_soon(resumed, task.coro)
        await lowlevel.temporarily_detach_coroutine_object(refuse)
        await lowlevel.reattach_detached_coroutine_object(task, "again")
        await lowlevel.checkpoint()
        seen.append(True)

    def resumed(coro: Coroutine[object, None, object]) -> None:
        assert coro.send(None) == "again"

    seen: list[bool] = []
    async with trio.open_nursery() as nursery:
        nursery.start_soon(body)
    assert seen == [True]


def refuse(_: object) -> lowlevel.Abort:
    return lowlevel.Abort.FAILED
