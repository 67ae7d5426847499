"""Small programs for Ctrl-C to strike: each an async function of `trio`.

They end by themselves, do the same each time, and write down in `log` what
they see. `trio` is the library to use, the real one or ours. What the library
may run only protected is marked so: it logs if it has been struck all the
same.
"""

from __future__ import annotations

import contextlib
import gc
import os
import signal

log: list[object] = []

PROGRAMS = {}


def program(f):
    PROGRAMS[f.__name__] = f
    return f


@contextlib.contextmanager
def seen(where):
    """Log what leaves the block."""
    try:
        yield
    except BaseException as exc:
        log.append((where, describe(exc)))
        raise


@contextlib.contextmanager
def never(where):
    """What Ctrl-C must not strike."""
    try:
        yield
    except KeyboardInterrupt:
        log.append(("STRUCK", where))
        raise


def describe(exc):
    if isinstance(exc, BaseExceptionGroup):
        return sorted((describe(e) for e in exc.exceptions), key=str)
    return type(exc).__name__


@program
async def tasks(trio):
    async def child(n):
        with seen(f"child {n}"):
            for _ in range(n):
                await trio.lowlevel.checkpoint()

    with seen("nursery"):
        async with trio.open_nursery() as nursery:
            for n in range(3):
                nursery.start_soon(child, n)
            await trio.lowlevel.cancel_shielded_checkpoint()
    await trio.lowlevel.checkpoint_if_cancelled()


@program
async def failing_tasks(trio):
    async def child(exc):
        try:
            await trio.sleep(0)
            raise exc
        finally:
            with trio.CancelScope(shield=True):
                await trio.lowlevel.checkpoint()

    try:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(child, ValueError())
            nursery.start_soon(child, KeyError())
    except* (ValueError, KeyError) as group:
        log.append(describe(group))


@program
async def scopes(trio):
    with seen("outer"), trio.move_on_after(100) as outer:
        with trio.CancelScope() as scope:
            scope.cancel()
            await trio.sleep(1)
        log.append(scope.cancelled_caught)
        with contextlib.suppress(trio.TooSlowError):
            with trio.fail_after(0):
                await trio.sleep(1)
        scope = trio.CancelScope(deadline=trio.current_time() - 1, shield=True)
        with scope:
            await trio.lowlevel.checkpoint()
        outer.deadline += 1
    log.append(outer.cancel_called)


@program
async def aborts(trio):
    async def sleeper():
        task = trio.lowlevel.current_task()

        def abort(raise_cancel):
            with never("abort"):
                x = 1 + 1
                x += len(repr(task))
            return trio.lowlevel.Abort.SUCCEEDED

        with seen("sleeper"):
            await trio.lowlevel.wait_task_rescheduled(abort)

    async def stubborn():
        task = trio.lowlevel.current_task()
        raises = []

        def abort(raise_cancel):
            with never("stubborn abort"):
                raises.append(raise_cancel)
                trio.lowlevel.current_trio_token().run_sync_soon(
                    trio.lowlevel.reschedule, task
                )
            return trio.lowlevel.Abort.FAILED

        await trio.lowlevel.wait_task_rescheduled(abort)
        with seen("stubborn"):
            raises[0]()

    async with trio.open_nursery() as nursery:
        nursery.start_soon(sleeper)
        nursery.start_soon(stubborn)
        await trio.lowlevel.checkpoint()
        await trio.lowlevel.checkpoint()
        nursery.cancel_scope.cancel()


@program
async def starting(trio):
    async def service(*, task_status):
        with seen("service"):
            await trio.lowlevel.checkpoint()
            task_status.started(1)
            await trio.sleep_forever()

    async def broken(*, task_status):
        await trio.lowlevel.checkpoint()
        raise ValueError

    with seen("start"):
        async with trio.open_nursery() as nursery:
            log.append(await nursery.start(service))
            try:
                await nursery.start(broken)
            except ValueError:
                log.append("broken")
            nursery.cancel_scope.cancel()


@program
async def channels(trio):
    async def producer(send):
        async with send:
            with seen("producer"):
                for n in range(4):
                    await send.send(n)

    send, receive = trio.open_memory_channel(1)
    with seen("channel"):
        async with trio.open_nursery() as nursery:
            nursery.start_soon(producer, send.clone())
            nursery.start_soon(producer, send)
            async with receive:
                async for value in receive:
                    log.append(value)


@program
async def safe_channel(trio):
    @trio.as_safe_channel
    async def numbers():
        with seen("generator"):
            for n in range(3):
                yield n
                await trio.lowlevel.checkpoint()

    with seen("safe channel"):
        async with numbers() as channel:
            async for n in channel:
                log.append(n)
                if n == 1:
                    break


@program
async def locks(trio):
    lock = trio.Lock()
    condition = trio.Condition(lock)
    limiter = trio.CapacityLimiter(1)
    semaphore = trio.Semaphore(1)
    event = trio.Event()

    async def waiter():
        with seen("waiter"):
            async with condition:
                await condition.wait()
            async with limiter, semaphore:
                await trio.lowlevel.checkpoint()
            event.set()

    async with trio.open_nursery() as nursery:
        nursery.start_soon(waiter)
        await trio.lowlevel.checkpoint()
        await trio.lowlevel.checkpoint()
        async with limiter, semaphore:
            async with condition:
                condition.notify_all()
            await trio.lowlevel.checkpoint()
        await event.wait()
    log.append((lock.locked(), limiter.borrowed_tokens, semaphore.value))


@program
async def sockets(trio):
    a, b = trio.socket.socketpair()
    with a, b:
        one, two = trio.SocketStream(a), trio.SocketStream(b)

        async def reader():
            with seen("reader"):
                async for data in two:
                    log.append(len(data))

        with seen("sockets"):
            async with trio.open_nursery() as nursery:
                nursery.start_soon(reader)
                await one.send_all(b"x" * 10)
                await trio.lowlevel.checkpoint()
                await trio.lowlevel.wait_writable(a)
                await one.send_eof()


@program
async def jobs(trio):
    token = trio.lowlevel.current_trio_token()
    event = trio.Event()

    def job(n):
        with never("job"):
            x = n + 1
            if x == 3:
                event.set()

    for n in range(3):
        token.run_sync_soon(job, n)
        token.run_sync_soon(job, n, idempotent=True)
    with seen("waiting for jobs"):
        await event.wait()


@program
async def system_tasks(trio):
    event = trio.Event()

    async def task():
        with never("system task"):
            await trio.lowlevel.checkpoint()
            event.set()
            await trio.lowlevel.checkpoint()

    trio.lowlevel.spawn_system_task(task)
    with seen("waiting for a system task"):
        await event.wait()


@program
async def generators(trio):
    async def numbers(where):
        try:
            for n in range(3):
                yield n
        finally:
            with seen(where) if where == "read to the end" else never(where):
                with trio.CancelScope(shield=True) as scope:
                    scope.cancel()
                    await trio.lowlevel.checkpoint_if_cancelled()
                x = len(where)
                log.append(x)

    async for n in numbers("read to the end"):
        log.append(n)
    dropped = numbers("dropped")
    log.append(await dropped.__anext__())
    del dropped
    gc.collect(0)
    await trio.lowlevel.checkpoint()
    left = numbers("left behind")
    log.append(await left.__anext__())
    generators.left = left  # until the run ends


@program
async def threads(trio):
    def work(n):
        trio.from_thread.check_cancelled()
        return trio.from_thread.run_sync(int, n)

    with seen("thread"):
        log.append(await trio.to_thread.run_sync(work, "5"))
        log.append(await trio.to_thread.run_sync(len, "55", abandon_on_cancel=True))


@program
async def sleeping(trio):
    with seen("sleep"):
        await trio.sleep(0.001)
    with trio.move_on_after(0.001):
        await trio.sleep_forever()


@program
async def finalizers(trio):
    class Thing:
        def __del__(self):
            with never("__del__"):
                x = 1 + 1
                log.append(x)

    thing = Thing()
    await trio.lowlevel.checkpoint()
    del thing
    with seen("after"):
        await trio.lowlevel.checkpoint()


@program
async def protected(trio):
    @trio.lowlevel.enable_ki_protection
    async def inside():
        with never("protected"):
            x = 0
            for n in range(3):
                x += n
            try:
                unprotected()
            except KeyboardInterrupt:
                log.append("in unprotected")

    @trio.lowlevel.disable_ki_protection
    def unprotected():
        with seen("unprotected"):
            x = 1
            x += 1

    await inside()
    with seen("checkpoint"):
        await trio.lowlevel.checkpoint()


@program
async def handlers(trio):
    with seen("receiver"), trio.open_signal_receiver(signal.SIGUSR1) as signals:
        os.kill(os.getpid(), signal.SIGUSR1)
        async for signum in signals:
            log.append(int(signum))
            break


@program
async def variables(trio):
    var = trio.lowlevel.RunVar("var", default=1)
    token = var.set(2)
    with seen("variables"):
        await trio.lowlevel.checkpoint()
        var.reset(token)
        log.append(var.get())


@program
async def swallowed(trio):
    """Who catches it goes on, and is not struck again."""
    for n in range(3):
        try:
            await trio.lowlevel.checkpoint()
            log.append(n)
        except KeyboardInterrupt:
            log.append("swallowed")


class Observer:
    """An instrument, all of it protected."""

    def _look(self, *args):
        with never("instrument"):
            x = len(args)
            x += 1

    before_run = after_run = task_spawned = task_scheduled = _look
    before_task_step = after_task_step = task_exited = _look
    before_io_wait = after_io_wait = _look
