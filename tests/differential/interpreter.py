"""Runs a program on a library, and writes down what happens."""

from __future__ import annotations

import contextvars
import functools
import gc
import logging
import math
import sys
import warnings
from typing import Any

import operations  # noqa: F401  (declares them)
from language import OPERATIONS, Block, Operation, Program
from outside import Host
from tracing import Trace, kind, text

# No program takes longer than this, in virtual seconds: whatever still waits
# then is cancelled, through shields too.
LONGEST = 200
MOST_STEPS = 1500


class World:
    """One run of one program: the library, the trace, all that exists in it."""

    def __init__(self, trio: Any, program: Program) -> None:
        self.trio = trio
        self.program = program
        self.trace = Trace()
        self.steps = 0
        self.over = False
        self.actors = 0
        self.root = Actor(self, "main")
        self.scopes: list[Any] = []
        self.nurseries: list[Any] = []
        self.managers: list[Any] = []
        self.statuses: list[Any] = []
        self.sleepers: list[Any] = []
        self.generators: list[Any] = []
        self.kept: list[BaseException] = []
        self.var_tokens: list[Any] = []
        self.recorder = Recorder(self.trace)
        self.host = Host(trio) if program["guest"] else None
        self.outside = False  # outside.Alone
        self.clock_may_go: Any = None
        self.made_sockets: Any = None

        buffer = program["buffer"]
        tokens = program["tokens"]
        self.events = [trio.Event(), trio.Event()]
        self.locks = [trio.Lock(), trio.StrictFIFOLock()]
        self.semaphores = [trio.Semaphore(1), trio.Semaphore(0, max_value=2)]
        self.conditions = [trio.Condition(), trio.Condition(self.locks[0])]
        self.limiters = [trio.CapacityLimiter(math.inf if tokens is None else tokens)]
        self.thread_limiter = trio.CapacityLimiter(2)
        self.streams = trio.testing.memory_stream_pair()
        self.sequencer = trio.testing.Sequencer()
        self.queue: Any = None
        self.lots = [trio.lowlevel.ParkingLot(), trio.lowlevel.ParkingLot()]
        self.vars = [
            trio.lowlevel.RunVar("plain"),
            trio.lowlevel.RunVar("with default", "default"),
        ]
        size = math.inf if buffer is None else buffer
        pairs = [trio.open_memory_channel(size), trio.open_memory_channel(0)]
        self.senders = [pair[0] for pair in pairs]
        self.receivers = [pair[1] for pair in pairs]

    def sockets(self) -> Any:
        if self.made_sockets is None:
            pair = self.trio.socket.socketpair()
            self.made_sockets = [self.trio.SocketStream(end) for end in pair]
        return self.made_sockets

    def statistics(self) -> list[str | None]:
        """Of everything."""
        everything = [
            *self.events,
            *self.locks,
            *self.semaphores,
            *self.conditions,
            *self.lots,
            *self.senders[:3],
            *self.receivers[:3],
        ]
        return [text(each.statistics()) for each in everything] + [
            self.limiter_statistics(limiter) for limiter in self.limiters
        ]

    def limiter_statistics(self, limiter: Any) -> str:
        told = limiter.statistics()
        # A set's order.
        borrowers = sorted(str(text(borrower)) for borrower in told.borrowers)
        return (
            f"{told.borrowed_tokens}/{told.total_tokens} {borrowers} "
            f"{told.tasks_waiting} {limiter.available_tokens}"
        )


class Actor:
    """Whoever executes a block: a task, an entry-queue job, a generator."""

    is_host = False  # outside.Host

    def __init__(self, world: World, label: str, status: Any = None) -> None:
        self.world = world
        self.trio = world.trio
        self.label = label
        self.status = status

    def child(self, what: str, status: Any = None) -> Actor:
        self.world.actors += 1
        return Actor(self.world, f"{what}{self.world.actors}", status)

    def say(self, *line: Any) -> None:
        """Write a line, with where and when."""
        world, lowlevel = self.world, self.trio.lowlevel
        if world.trace.closed:
            return
        try:
            task = lowlevel.current_task()
            if task.name == "<init>":
                # Generators that were left behind are closed in a set's order.
                world.trace.leave(self.label, *line)
                return
            where = [
                self.trio.current_time(),
                task._cancel_points,
                task._schedule_points,
                self.trio.current_effective_deadline(),
            ]
        except RuntimeError as error:  # no task
            where = [str(error)]
        world.trace.add(self.label, *where, *line)

    def stopped(self) -> bool:
        self.world.steps += 1
        return self.world.over or self.world.steps > MOST_STEPS

    def forgives(self, operation: Operation, error: BaseException) -> bool:
        """Half of the programs go on after mistakes, such as to release what
        they do not hold: they get further."""
        return (
            self.world.program["forgiving"]
            and isinstance(error, Exception)
            and not operation.has_blocks
            and operation.name != "raise"
        )

    async def block(self, block: Block) -> None:
        for name, *arguments in block:
            if self.stopped():
                return
            operation = OPERATIONS[name]
            try:
                value = operation.run(self, *arguments)
                if operation.is_async:
                    value = await value
            except BaseException as error:
                self.say(name, "raised", self.world.trace.brief(error))
                if not self.forgives(operation, error):
                    raise
                continue
            self.say(name, text(value))

    def sync_block(self, block: Block) -> None:
        for name, *arguments in block:
            if self.stopped():
                return
            operation = OPERATIONS[name]
            try:
                value = operation.run(self, *arguments)
            except BaseException as error:
                self.say(name, "raised", self.world.trace.brief(error))
                if not self.forgives(operation, error):
                    raise
                continue
            self.say(name, text(value))

    async def body(self, block: Block) -> str:
        """A task's own."""
        self.say("begins", text(self.trio.lowlevel.current_task().name))
        try:
            await self.block(block)
        except BaseException as error:
            self.say("ends", self.world.trace.full(error))
            raise
        self.say("ends")
        return self.label

    async def body_with_status(self, block: Block, task_status: Any) -> str:
        self.status = task_status
        self.world.statuses.append(task_status)
        return await self.body(block)


class Recorder:
    """An instrument that writes down everything it is told."""

    def __init__(self, trace: Trace) -> None:
        self.trace = trace
        self.scheduled: list[Any] | None = None

    def add(self, what: str, about: object = None) -> None:
        self.scheduled = None
        if isinstance(about, str):
            about = text(about)
        self.trace.add("instrument", what, about)

    def before_run(self) -> None:
        self.add("before_run")

    def after_run(self) -> None:
        self.add("after_run")

    def task_spawned(self, task: Any) -> None:
        self.add("spawned", task.name)

    def task_scheduled(self, task: Any) -> None:
        # When one thing wakes several tasks, it is a set's order.
        if self.scheduled is None:
            self.scheduled = []
            self.trace.add("instrument", "scheduled", self.scheduled)
        self.scheduled.append(text(task.name))
        self.scheduled.sort()

    def before_task_step(self, task: Any) -> None:
        self.add("step", task.name)

    def after_task_step(self, task: Any) -> None:
        self.add("stepped", task.name)

    def task_exited(self, task: Any) -> None:
        self.add("exited", task.name)

    def before_io_wait(self, timeout: float) -> None:
        self.add("waits", float(timeout))

    def after_io_wait(self, timeout: float) -> None:
        self.add("waited", float(timeout))


async def watch(world: World) -> None:
    """Ends a program that would wait forever. A system task, so that it still
    watches while the run shuts down."""
    trio = world.trio
    try:
        if world.program["clock"] == "by hand":
            clock = trio.lowlevel.current_clock()
            while trio.current_time() < LONGEST:
                await trio.testing.wait_all_tasks_blocked()
                if world.clock_may_go is None or world.clock_may_go.is_set():
                    clock.jump(0.5)
                else:
                    await world.clock_may_go.wait()
        else:
            await trio.sleep(LONGEST)
        world.trace.add("time is up")
    finally:
        world.over = True
        for scope in world.scopes:
            scope.shield = False
            scope.cancel("time is up")
        for sleeper in world.sleepers:
            sleeper.wake()
        # Main may have left the scope that it was given, and system tasks never
        # were in it.
        nursery = trio.lowlevel.current_task().parent_nursery
        nursery.cancel_scope.cancel("time is up")


async def main(world: World) -> str:
    trio = world.trio
    trio.lowlevel.spawn_system_task(watch, world)
    with trio.CancelScope() as scope:
        world.scopes.append(scope)
        return await world.root.body(world.program["body"])
    return "cancelled"


class _Logged(logging.Handler):
    def __init__(self, trace: Trace) -> None:
        super().__init__()
        self.trace = trace

    def emit(self, record: logging.LogRecord) -> None:
        error = record.exc_info[1] if record.exc_info else None
        self.trace.add("logged", record.name, self.trace.full(error))


def run(trio: Any, program: Program) -> list[Any]:
    """The trace of a program."""
    run_module = trio._core._run
    run_module._ALLOW_DETERMINISTIC_SCHEDULING = True
    run_module._r.seed(program["seed"])
    by_hand = program["clock"] == "by hand"
    clock = trio.testing.MockClock(
        autojump_threshold=math.inf if by_hand else 0,
    )
    world = World(trio, program)
    trace = world.trace
    instruments = [world.recorder] if program["instrument"] else []
    run_it = world.host.run if world.host else trio.run

    def unraisable(args: Any) -> None:
        trace.add("unraisable", kind(args.exc_value), text(args.exc_value))

    def warned(message: Warning, category: type, *where: object) -> None:
        trace.add("warned", category.__name__, text(message))

    logger = logging.getLogger("trio")
    logger.propagate = False
    handler = _Logged(trace)
    logger.addHandler(handler)
    was = sys.unraisablehook
    sys.unraisablehook = unraisable
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("always")
            warnings.simplefilter("ignore", trio.TrioDeprecationWarning)
            warnings.filterwarnings("ignore", "unclosed.*socket", ResourceWarning)
            warnings.showwarning = warned  # type: ignore[assignment]
            try:
                value = contextvars.copy_context().run(
                    functools.partial(
                        run_it,
                        main,
                        world,
                        clock=clock,
                        instruments=instruments,
                        strict_exception_groups=program["strict"],
                        restrict_keyboard_interrupt_to_checkpoints=program[
                            "restrict_ki"
                        ],
                    )
                )
                trace.add("run returned", value)
            except BaseException as error:
                trace.add("run raised", trace.full(error))
            trace.add("at the end", clock.current_time(), *world.statistics())
            trace.close()
            world.__dict__.clear()
            del world
            gc.collect()
    finally:
        sys.unraisablehook = was
        logger.removeHandler(handler)
    return trace.lines
