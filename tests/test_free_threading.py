"""Runs in several threads at a time, and what threads do to each other's.

All of this holds with a GIL, too, but for what only free-threaded builds notice:
there, an object that is in use by a run is that run's (csrc/glue/home.h).
"""

from __future__ import annotations

import contextlib
import gc
import os
import sys
import sysconfig
import threading

import pytest
from _processes import run_code

import trio_c
from trio_c import from_thread, lowlevel, to_thread
from trio_c.testing import open_stream_to_socket_listener, wait_all_tasks_blocked

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterator

# Also with the GIL on: the build is what the checks depend on.
FREE_THREADED = bool(sysconfig.get_config_var("Py_GIL_DISABLED"))
THREADS = 4
ROUNDS = 200

no_gil = pytest.mark.skipif(not FREE_THREADED, reason="the GIL keeps threads apart")


@pytest.fixture(autouse=True)
def turns() -> Iterator[None]:
    """With a GIL: threads take turns often."""
    before = sys.getswitchinterval()
    sys.setswitchinterval(1e-5)
    yield
    sys.setswitchinterval(before)


def in_threads(work: Callable[[int], object], count: int = THREADS) -> None:
    """work(0), work(1), ... beside each other; raises what the first raised."""
    barrier = threading.Barrier(count)
    errors: list[BaseException] = []

    def call(number: int) -> None:
        barrier.wait()
        try:
            work(number)
        except BaseException as exc:
            errors.append(exc)

    threads = [threading.Thread(target=call, args=(n,)) for n in range(count)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    if errors:
        raise errors[0]


class Guest:
    """A run in a thread of its own, whose objects others can try to use."""

    def __init__(self, prepare: Callable[[Guest], Awaitable[None]]) -> None:
        self.objects: dict[str, object] = {}
        self.error: BaseException | None = None
        self._prepare = prepare
        self._ready = threading.Event()
        self._thread = threading.Thread(target=self._run)

    def _run(self) -> None:
        try:
            trio_c.run(self._main)
        except BaseException as exc:
            self.error = exc
        finally:
            self._ready.set()

    async def _main(self) -> None:
        self.token = lowlevel.current_trio_token()
        self.task = lowlevel.current_task()
        self._over = trio_c.Event()
        async with trio_c.open_nursery() as self.nursery:
            with trio_c.CancelScope() as self.scope:
                await self._prepare(self)
                await wait_all_tasks_blocked()
                self._ready.set()
                await self._over.wait()
            self.nursery.cancel_scope.cancel()

    def __enter__(self) -> Guest:
        self._thread.start()
        self._ready.wait()
        return self

    def __exit__(self, *_exc: object) -> None:
        if self._thread.is_alive():
            self.token.run_sync_soon(self._over.set)
        self._thread.join()
        assert self.error is None


async def nothing(_guest: Guest) -> None:
    pass


def test_first_use_of_everything_by_all_threads_at_once() -> None:
    # What is imported or made on first need, is so by several threads.
    code = f"""
import threading, warnings
import trio_c
from trio_c import lowlevel
warnings.simplefilter("ignore")
barrier = threading.Barrier({THREADS})
async def main():
    async with trio_c.open_nursery() as nursery:
        nursery.start_soon(trio_c.sleep, 0)
    await trio_c.to_thread.run_sync(int)
    with trio_c.move_on_after(0):
        await lowlevel.wait_task_rescheduled(lambda _: lowlevel.Abort.SUCCEEDED)
    trio_c.sleep.__code__
    trio_c.Event().wait().close()
def work():
    barrier.wait()
    trio_c.run(main)
    done.append(1)
done = []
threads = [threading.Thread(target=work) for _ in range({THREADS})]
for t in threads: t.start()
for t in threads: t.join()
print(len(done))
"""
    for _ in range(5):
        assert run_code(code).split() == [str(THREADS)]


def test_runs_beside_each_other() -> None:
    async def main(number: int) -> None:
        received = []
        lock = trio_c.Lock()
        limiter = trio_c.CapacityLimiter(2)

        async def produce(channel: trio_c.MemorySendChannel[int]) -> None:
            async with channel:
                for i in range(ROUNDS):
                    await channel.send(number * ROUNDS + i)

        async def consume(channel: trio_c.MemoryReceiveChannel[int]) -> None:
            async for item in channel:
                async with lock, limiter:
                    received.append(item)
                    await lowlevel.checkpoint()

        async def expire() -> None:
            for _ in range(ROUNDS):
                with trio_c.move_on_after(1e-5):
                    await trio_c.sleep_forever()

        async with trio_c.open_nursery() as nursery:
            send, receive = trio_c.open_memory_channel[int](3)
            nursery.start_soon(produce, send)
            nursery.start_soon(consume, receive)
            nursery.start_soon(expire)
            for _ in range(ROUNDS):
                event = trio_c.Event()
                nursery.start_soon(event.wait)
                await lowlevel.checkpoint()
                event.set()
        assert received == list(range(number * ROUNDS, (number + 1) * ROUNDS))

    in_threads(lambda number: trio_c.run(main, number))


def test_streams_beside_each_other() -> None:
    async def main() -> None:
        async def serve(stream: trio_c.SocketStream) -> None:
            async with stream:
                async for data in stream:
                    await stream.send_all(data)

        async with trio_c.open_nursery() as nursery:
            listeners = await nursery.start(trio_c.serve_tcp, serve, 0)
            client = await open_stream_to_socket_listener(listeners[0])
            async with client:
                for i in range(ROUNDS):
                    await client.send_all(b"%8d" % i)
                    assert await client.receive_some(8) == b"%8d" % i
            nursery.cancel_scope.cancel()

    in_threads(lambda _: trio_c.run(main))


def test_traffic_between_runs() -> None:
    """Tokens and from_thread, from each run into all the others."""
    tokens: list[lowlevel.TrioToken] = []
    counts = [0] * THREADS
    met = threading.Barrier(THREADS)

    async def main(number: int) -> None:
        everything = trio_c.Event()
        tokens.append(lowlevel.current_trio_token())

        def arrive(at: list[tuple[int, trio_c.Event]]) -> None:
            [(where, event)] = at
            counts[where] += 1
            if counts[where] == ROUNDS * THREADS:
                event.set()

        mine[number] = (number, everything)
        await to_thread.run_sync(met.wait)
        order = list(zip(tokens, token_numbers(tokens), strict=True))
        for i in range(ROUNDS):
            for token, where in order:
                if i % 20:
                    token.run_sync_soon(arrive, [mine[where]])
                else:
                    await to_thread.run_sync(
                        lambda token=token, where=where: from_thread.run_sync(
                            arrive, [mine[where]], trio_token=token
                        )
                    )
        await everything.wait()
        # Nobody leaves before all have got theirs.
        await to_thread.run_sync(met.wait)

    mine: dict[int, tuple[int, trio_c.Event]] = {}
    numbers: dict[int, int] = {}

    def token_numbers(of: list[lowlevel.TrioToken]) -> list[int]:
        return [numbers[id(token)] for token in of]

    async def note(number: int) -> None:
        numbers[id(lowlevel.current_trio_token())] = number
        await main(number)

    in_threads(lambda number: trio_c.run(note, number))
    assert counts == [ROUNDS * THREADS] * THREADS


def test_idempotent_jobs_from_many_threads() -> None:
    async def main() -> None:
        token = lowlevel.current_trio_token()
        ran = []
        await to_thread.run_sync(
            in_threads,
            lambda _: [
                token.run_sync_soon(ran.append, i % 10, idempotent=True)
                for i in range(ROUNDS)
            ],
        )
        await wait_all_tasks_blocked()
        assert set(ran) == set(range(10))

    trio_c.run(main)


def test_threads_that_outlive_their_run() -> None:
    def late(go: threading.Event) -> None:
        go.wait()
        with pytest.raises(trio_c.RunFinishedError):
            from_thread.run_sync(int)
        done.release()

    done = threading.Semaphore(0)

    async def main(go: threading.Event) -> None:
        with trio_c.move_on_after(0):
            await to_thread.run_sync(late, go, abandon_on_cancel=True)

    def work(_number: int) -> None:
        for _ in range(10):
            go = threading.Event()
            trio_c.run(main, go)
            go.set()

    in_threads(work)
    # A call that was cancelled before its thread began is none.
    gc.collect()


def test_cancellation_seen_from_threads() -> None:
    def wait_for_it(began: threading.Event) -> str:
        began.set()
        while True:
            try:
                from_thread.check_cancelled()
            except trio_c.Cancelled:
                return "seen"

    async def main() -> None:
        for _ in range(10):
            began = threading.Event()
            seen = []

            async def call(began: threading.Event, seen: list[str]) -> None:
                seen.append(await to_thread.run_sync(wait_for_it, began))

            async with trio_c.open_nursery() as nursery:
                nursery.start_soon(call, began, seen)
                await to_thread.run_sync(began.wait)
                nursery.cancel_scope.cancel()
            assert seen == ["seen"]

    in_threads(lambda _: trio_c.run(main))


# --- what Trio does not allow ----------------------------------------------------


async def make_objects(guest: Guest) -> None:
    event, lock, limiter = trio_c.Event(), trio_c.Lock(), trio_c.CapacityLimiter(1)
    semaphore, lot = trio_c.Semaphore(0), lowlevel.ParkingLot()
    condition = trio_c.Condition()
    send, receive = trio_c.open_memory_channel[int](0)
    full, _ = trio_c.open_memory_channel[int](0)
    await lock.acquire()
    await limiter.acquire()
    for wait in (
        event.wait,
        lock.acquire,
        limiter.acquire,
        semaphore.acquire,
        lot.park,
        receive.receive,
    ):
        guest.nursery.start_soon(wait)
    guest.nursery.start_soon(full.send, 1)
    guest.nursery.start_soon(wait_for_condition, condition)
    guest.objects.update(
        event=event,
        lock=lock,
        limiter=limiter,
        semaphore=semaphore,
        condition=condition,
        lot=lot,
        send=send,
        receive=receive,
        full=full,
    )


async def wait_for_condition(condition: trio_c.Condition) -> None:
    async with condition:
        await condition.wait()


MISUSES: dict[str, Callable[[Guest], object]] = {
    "event": lambda g: g.objects["event"].set(),
    "event statistics": lambda g: g.objects["event"].statistics(),
    "lock": lambda g: g.objects["lock"].release(),
    "lock's lot": lambda g: g.objects["lock"]._lot.unpark_all(),
    "limiter": lambda g: g.objects["limiter"].release_on_behalf_of(g.task),
    "limiter tokens": lambda g: setattr(g.objects["limiter"], "total_tokens", 9),
    "semaphore": lambda g: g.objects["semaphore"].release(),
    "condition": lambda g: g.objects["condition"].notify_all(),
    "lot": lambda g: g.objects["lot"].unpark_all(),
    "lot's tasks": lambda g: g.objects["lot"]._parked,
    "lot's length": lambda g: len(g.objects["lot"]),
    "breaking a lot": lambda g: g.objects["lot"].break_lot(g.task),
    "reparking": lambda g: lowlevel.ParkingLot().repark(g.objects["lot"]),
    "send": lambda g: g.objects["send"].send_nowait(1),
    "receive": lambda g: g.objects["full"].clone(),
    "closing": lambda g: g.objects["receive"].close(),
    "start_soon": lambda g: g.nursery.start_soon(trio_c.sleep, 0),
    "child tasks": lambda g: g.nursery.child_tasks,
    "cancel": lambda g: g.scope.cancel(),
    "deadline": lambda g: setattr(g.scope, "deadline", 0),
    "shield": lambda g: setattr(g.scope, "shield", True),
    "cancel_called": lambda g: g.scope.cancel_called,
    "task": lambda g: g.task.child_nurseries,
    "task's frames": lambda g: list(g.task.iter_await_frames()),
    "breakers": lambda g: lowlevel.add_parking_lot_breaker(
        g.task, lowlevel.ParkingLot()
    ),
}


@no_gil
@pytest.mark.parametrize("misuse", MISUSES)
def test_others_may_not_touch_what_a_run_uses(misuse: str) -> None:
    async def in_a_run() -> None:
        MISUSES[misuse](guest)

    with Guest(make_objects) as guest:
        with pytest.raises(RuntimeError, match="must be called from async context"):
            MISUSES[misuse](guest)
        with pytest.raises(RuntimeError, match="a run in another thread"):
            trio_c.run(in_a_run)
    # When that run is over, the objects are nobody's.
    try:
        MISUSES[misuse](guest)
    except Exception as exc:
        assert "in use by" not in str(exc)


@no_gil
def test_rescheduling_a_task_of_another_thread() -> None:
    async def main() -> None:
        lowlevel.reschedule(guest.task)

    with (
        Guest(nothing) as guest,
        pytest.raises(RuntimeError, match="a run in another thread"),
    ):
        trio_c.run(main)


def test_what_others_may_look_at() -> None:
    with Guest(make_objects) as guest:
        assert not guest.objects["event"].is_set()
        for thing in (*guest.objects.values(), guest.task, guest.scope, guest.nursery):
            assert repr(thing)
        # It was made there, but nothing has used it yet.
        assert guest.token.run_sync_soon(int) is None


def test_handing_things_over() -> None:
    """One run after another, in different threads, on the same objects."""
    event = trio_c.Event()
    send, receive = trio_c.open_memory_channel[int](10)
    send.send_nowait(-1)

    async def main(number: int) -> None:
        with trio_c.move_on_after(0):
            await event.wait()
        assert await receive.receive() == number - 1
        await send.send(number)

    for number in range(5):
        in_threads(lambda _, number=number: trio_c.run(main, number), 1)
    assert receive.receive_nowait() == 4


def hammer(thing: Callable[[], object], stop: threading.Event) -> None:
    while not stop.is_set():
        with contextlib.suppress(
            RuntimeError,
            trio_c.WouldBlock,
            trio_c.BrokenResourceError,
            trio_c.ClosedResourceError,
        ):
            thing()


async def use_channel(
    send: trio_c.MemorySendChannel[int], receive: trio_c.MemoryReceiveChannel[int]
) -> None:
    with contextlib.suppress(
        trio_c.BrokenResourceError, trio_c.ClosedResourceError, trio_c.WouldBlock
    ):
        await send.send(1)
        await receive.receive()


@no_gil
@pytest.mark.parametrize("misuse", MISUSES)
def test_misuse_does_not_break_a_run_at_work(misuse: str) -> None:
    # The run goes on as if nothing was; whatever the other thread gets.
    stop = threading.Event()

    async def work(guest: Guest) -> None:
        await make_objects(guest)
        for _ in range(20):
            # Before they are used here, they are everybody's.
            event = guest.objects["event"] = trio_c.Event()
            send, receive = trio_c.open_memory_channel[int](1)
            guest.objects.update(send=send, receive=receive)
            async with trio_c.open_nursery() as nursery:
                nursery.start_soon(event.wait)
                nursery.start_soon(use_channel, send, receive)
                await lowlevel.checkpoint()
                event.set()

    with Guest(work) as guest:
        thread = threading.Thread(
            target=hammer, args=(lambda: MISUSES[misuse](guest), stop)
        )
        thread.start()
        try:
            for _ in range(20):
                from_thread.run_sync(int, trio_token=guest.token)
        finally:
            stop.set()
            thread.join()


@no_gil
def test_threads_without_a_run_on_one_object() -> None:
    # A call has the object to itself as long as it takes.
    send, receive = trio_c.open_memory_channel[int](10**6)
    in_threads(lambda n: [send.send_nowait(n) for _ in range(ROUNDS)])
    assert receive.statistics().current_buffer_used == THREADS * ROUNDS
    in_threads(lambda _: [receive.receive_nowait() for _ in range(ROUNDS)])
    assert receive.statistics().current_buffer_used == 0


@no_gil
def test_garbage_scopes_collected_by_another_thread() -> None:
    def generator() -> Iterator[None]:
        with trio_c.move_on_after(3600):
            yield

    async def main() -> None:
        for _ in range(50):
            abandoned = generator()
            next(abandoned)
            holder = [abandoned]
            holder.append(holder)
            # Out of our own scopes again: this one was entered last.
            del abandoned, holder
            await to_thread.run_sync(gc.collect)
        await wait_all_tasks_blocked()

    unraisable = []
    hook, sys.unraisablehook = sys.unraisablehook, unraisable.append
    was_enabled = gc.isenabled()
    gc.disable()
    try:
        trio_c.run(main)
    except RuntimeError:
        pass  # the scopes were not properly nested
    finally:
        sys.unraisablehook = hook
        if was_enabled:
            gc.enable()
    del unraisable
    gc.collect()


def test_fork_while_others_run() -> None:
    if not hasattr(os, "fork"):
        pytest.skip("no fork")
    code = """
import os, threading, warnings
import trio_c
warnings.simplefilter("ignore")
event = trio_c.Event()
ready = threading.Event()
token = []
async def other(over):
    token.append((trio_c.lowlevel.current_trio_token(), over))
    over.append(trio_c.Event())
    async with trio_c.open_nursery() as nursery:
        nursery.start_soon(event.wait)
        await trio_c.lowlevel.checkpoint()
        ready.set()
        await over[0].wait()
        nursery.cancel_scope.cancel()
thread = threading.Thread(target=trio_c.run, args=(other, []))
thread.start()
ready.wait()
pid = os.fork()
if pid == 0:
    # That run is not here.
    async def main():
        await trio_c.to_thread.run_sync(int)
    trio_c.run(main)
    event.is_set()
    os._exit(7)
_, status = os.waitpid(pid, 0)
t, over = token[0]
t.run_sync_soon(lambda: over[0].set())
thread.join()
print(os.waitstatus_to_exitcode(status))
"""
    assert run_code(code).split() == ["7"]
