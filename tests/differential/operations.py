"""Operations: tasks, scopes, exceptions. The others: `primitives.py` has what
tasks share, `outside.py` threads, sockets and signals, `scenes.py` short scenes
in which rare things meet.

The first argument is the actor that executes the operation; what an operation
returns stands in the trace, as text.
"""

from __future__ import annotations

import contextvars
from typing import Any

import outcome
import outside  # noqa: F401  (declares them)
import primitives  # noqa: F401
import scenes  # noqa: F401
from language import BLOCK, BODY, CHOICE, FLAG, SYNC_BODY, TIMES, WHICH, operation
from primitives import one_of
from tracing import HERE, text


class Oops(Exception):
    pass


class Grave(BaseException):
    pass


class Collection(ExceptionGroup):
    """A group of the program's own."""

    def derive(self, members: Any) -> Collection:
        return Collection(self.message, members)


# ---- exceptions ----

RAISED = CHOICE(
    "Oops",
    "Oops",
    "KeyError",
    "Grave",
    "group",
    "deep group",
    "own group",
    "group of one",
    "kept",
    "StopIteration",
    "StopAsyncIteration",
    "KeyboardInterrupt",
    "SystemExit",
    "GeneratorExit",
    "WouldBlock",
)


def make_exception(actor: Any, what: str) -> BaseException:
    match what:
        case "Oops":
            return Oops(actor.label)
        case "KeyError":
            return KeyError(actor.label)
        case "Grave":
            return Grave(actor.label)
        case "group":
            return ExceptionGroup("two", [Oops("first"), KeyError("second")])
        case "deep group":
            inner = BaseExceptionGroup("inner", [Grave("deep"), Oops("deep")])
            return BaseExceptionGroup("outer", [inner, KeyError("shallow")])
        case "own group":
            return Collection("own", [Oops("owned"), ValueError("owned")])
        case "group of one":
            return ExceptionGroup("one", [Oops("only")])
        case "kept":
            return one_of(actor.world.kept, 0) or Oops("nothing kept")
        case "WouldBlock":
            return actor.trio.WouldBlock()
        case builtin:
            return getattr(__import__("builtins"), builtin)(actor.label)


@operation(RAISED, weight=5, plain=True)
def _raise(actor: Any, what: str) -> None:
    raise make_exception(actor, what)


@operation(weight=1)
async def raise_group_with_cancelled(actor: Any) -> None:
    """What a hand-made nursery might do with the Cancelled that it got."""
    try:
        await actor.trio.lowlevel.checkpoint()
    except BaseException as error:
        actor.say("mixes in", actor.world.trace.brief(error))
        raise BaseExceptionGroup("mixed", [Oops("beside"), error]) from None


def _caught_by(actor: Any, catch: str) -> Any:
    return {
        "Exception": Exception,
        "BaseException": BaseException,
        "Cancelled": actor.trio.Cancelled,
        "group": BaseExceptionGroup,
        "Oops": Oops,
    }[catch]


@operation(
    CHOICE("Exception", "BaseException", "Cancelled", "group", "Oops"),
    CHOICE("swallow", "reraise", "replace", "from", "from None", "note", "keep"),
    BODY,
    BODY,
    BODY,
    weight=9,
    plain=True,
)
async def _try(
    actor: Any, catch: str, then: str, body: Any, handler: Any, last: Any
) -> None:
    try:
        try:
            await actor.block(body)
        except _caught_by(actor, catch) as error:
            actor.say("caught", actor.world.trace.full(error))
            await actor.block(handler)
            match then:
                case "reraise":
                    raise
                case "replace":
                    raise Oops("instead") from error.__cause__
                case "from":
                    raise Oops("because") from error
                case "from None":
                    raise Oops("alone") from None
                case "note":
                    error.add_note(f"seen by {actor.label}")
                    raise
                case "keep":
                    actor.world.kept.insert(0, error)
    finally:
        await actor.block(last)


@operation(CHOICE("Oops", "Exception", "BaseException"), FLAG, BODY, BODY, weight=2)
async def try_star(actor: Any, catch: str, replace: bool, body: Any, h: Any) -> None:
    try:
        await actor.block(body)
    except* _caught_by(actor, catch) as group:
        actor.say("caught*", actor.world.trace.full(group))
        await actor.block(h)
        if replace:
            raise Oops("for some") from None


@operation(CHOICE(2, 3), BODY, weight=2)
async def repeat(actor: Any, times: int, body: Any) -> None:
    for _ in range(times):
        await actor.block(body)


# ---- waiting ----


@operation(TIMES, weight=10, plain=True)
async def sleep(actor: Any, seconds: float) -> None:
    await actor.trio.sleep(seconds)


@operation(TIMES, weight=1, plain=True)
async def sleep_until(actor: Any, seconds: float) -> None:
    await actor.trio.sleep_until(actor.trio.current_time() + seconds - 1)


@operation(weight=2, plain=True)
async def sleep_forever(actor: Any) -> None:
    await actor.trio.sleep_forever()


@operation(
    CHOICE("checkpoint", "checkpoint_if_cancelled", "cancel_shielded_checkpoint"),
    weight=8,
    plain=True,
)
async def checkpoint(actor: Any, which: str) -> None:
    await getattr(actor.trio.lowlevel, which)()


@operation(CHOICE(0, 0, 0, 0.0005), weight=2, never="outside")
async def wait_all_tasks_blocked(actor: Any, cushion: float) -> None:
    await actor.trio.testing.wait_all_tasks_blocked(cushion)


@operation(TIMES, weight=1)
def jump(actor: Any, seconds: float) -> None:
    if actor.trio.current_time() < 100:
        actor.trio.lowlevel.current_clock().jump(seconds)


class Sleeper:
    """A task in `wait_task_rescheduled`, and how it can be woken."""

    def __init__(self, trio: Any, abort: str) -> None:
        self.trio = trio
        self.task = trio.lowlevel.current_task()
        self.abort = abort
        self.raise_cancel: Any = None

    def aborted(self, raise_cancel: Any) -> Any:
        Abort = self.trio.lowlevel.Abort
        match self.abort:
            case "agree":
                self.task = None
                return Abort.SUCCEEDED
            case "refuse":
                return Abort.FAILED
            case "wake":
                self.wake(outcome.Value("aborted"))
                return Abort.FAILED
            case "later":
                self.raise_cancel = raise_cancel
                return Abort.FAILED

    def wake(self, result: Any = None) -> str:
        if self.task is None:
            return "awake"
        task, self.task = self.task, None
        if self.raise_cancel is not None:
            result = outcome.capture(self.raise_cancel)
            result.error.__context__ = None  # CS-10, by hand
        if result is None:
            self.trio.lowlevel.reschedule(task)
        else:
            self.trio.lowlevel.reschedule(task, result)
        return "woken"


@operation(CHOICE("agree", "refuse", "wake", "later"), weight=3)
async def wait_task_rescheduled(actor: Any, abort: str) -> Any:
    sleeper = Sleeper(actor.trio, abort)
    actor.world.sleepers.insert(0, sleeper)
    return await actor.trio.lowlevel.wait_task_rescheduled(sleeper.aborted)


@operation(WHICH, CHOICE("nothing", "value", "kept", "error"), weight=3)
def reschedule(actor: Any, which: int, what: str) -> str:
    sleeper = one_of(actor.world.sleepers, which)
    if sleeper is None:
        return "none"
    match what:
        case "value":
            return sleeper.wake(outcome.Value(actor.label))
        case "kept" | "error":
            error = make_exception(actor, "kept" if what == "kept" else "Oops")
            return sleeper.wake(outcome.Error(error))
    return sleeper.wake()


# ---- scopes ----

SCOPES = CHOICE("move_on_after", "fail_after", "CancelScope", "move_on_at", "fail_at")
DEADLINES = CHOICE(None, 1, 2, 0, 0.5, 3)


def make_scope(actor: Any, which: str, deadline: Any, shield: bool) -> Any:
    trio = actor.trio
    shield = shield and not actor.world.over
    if which == "CancelScope":
        if deadline is None:
            return trio.CancelScope(shield=shield)
        return trio.CancelScope(relative_deadline=deadline, shield=shield)
    if deadline is None:
        deadline = 1000
    if which.endswith("_at"):
        deadline = deadline + trio.current_time() - 0.5
    return getattr(trio, which)(deadline, shield=shield)


def seen_of_scope(actor: Any, scope: Any) -> list[Any]:
    told = [text(repr(scope)), scope.cancelled_caught, scope.shield, scope.is_relative]
    for name in ("deadline", "relative_deadline"):
        try:
            told.append(getattr(scope, name))
        except RuntimeError as error:
            told.append(text(error))
    return [*told, scope.cancel_called]


@operation(
    CHOICE("sleep", "sleep_until", "CancelScope", "move_on_after", "fail_at"),
    CHOICE(-1, "nan"),
    weight=1,
)
async def bad_time(actor: Any, what: str, time: Any) -> Any:
    trio = actor.trio
    value = float(time)
    if what in ("sleep", "sleep_until"):
        return await getattr(trio, what)(value)
    if what == "CancelScope":
        trio.CancelScope(deadline=1, relative_deadline=value)
    with getattr(trio, what)(value):
        pass


@operation(
    CHOICE("move_on_after", "CancelScope"),
    DEADLINES,
    CHOICE("later", "sooner", "absolute", "nothing", "cancel", "shield", "twice"),
    BODY,
    weight=3,
)
async def entered_later(
    actor: Any, which: str, deadline: Any, meanwhile: str, body: Any
) -> None:
    """A scope that is made now, changed, and entered after a while."""
    scope = make_scope(actor, which, deadline, False)
    actor.say(*seen_of_scope(actor, scope))
    try:
        match meanwhile:
            case "later":
                scope.relative_deadline += 1
            case "sooner":
                scope.relative_deadline -= 1
            case "absolute":
                scope.deadline = actor.trio.current_time() + 1
            case "cancel":
                scope.cancel("beforehand")
            case "shield":
                scope.shield = True
    except (RuntimeError, ValueError) as error:
        actor.say("refused", text(error))
    await actor.trio.sleep(0.5)
    actor.say(*seen_of_scope(actor, scope))
    with scope:
        actor.world.scopes.insert(0, scope)
        await actor.block(body)
    actor.say(*seen_of_scope(actor, scope))
    if meanwhile == "twice":
        with scope:
            pass


@operation(SCOPES, DEADLINES, FLAG, BODY, weight=14, plain=True)
async def scope(actor: Any, which: str, deadline: Any, shield: bool, body: Any) -> None:
    scope = None
    try:
        with make_scope(actor, which, deadline, shield) as scope:
            actor.world.scopes.insert(0, scope)
            await actor.block(body)
    except BaseException as error:
        actor.say("out of", actor.world.trace.full(error))
        raise
    finally:
        if scope is not None:
            actor.say(*seen_of_scope(actor, scope))


@operation(WHICH, CHOICE(None, "enough"), weight=8)
def cancel(actor: Any, which: int, reason: str | None) -> None:
    if scope := one_of(actor.world.scopes, which):
        scope.cancel(reason)


@operation(CHOICE("bare", "enough"), CHOICE(False, True), BODY, weight=2)
async def cancelled_before(actor: Any, reason: str, shield: bool, body: Any) -> None:
    """A scope that is cancelled before it is entered, and looked at before."""
    scope = make_scope(actor, "CancelScope", None, shield)
    actor.say(*seen_of_scope(actor, scope))
    scope.cancel(None if reason == "bare" else reason)
    with scope:
        actor.world.scopes.insert(0, scope)
        await actor.block(body)
    actor.say(*seen_of_scope(actor, scope))


@operation(WHICH, FLAG, weight=4)
def set_shield(actor: Any, which: int, shield: bool) -> None:
    if scope := one_of(actor.world.scopes, which):
        scope.shield = shield and not actor.world.over


@operation(WHICH, CHOICE(1, 0, -1, 0.5, 3, None), FLAG, weight=4)
def set_deadline(actor: Any, which: int, seconds: Any, relative: bool) -> None:
    if (scope := one_of(actor.world.scopes, which)) is None:
        return
    if seconds is None:
        scope.deadline = float("inf")
    elif relative:
        scope.relative_deadline = seconds
    else:
        scope.deadline = actor.trio.current_time() + seconds


@operation(WHICH, weight=3)
def look_at_scope(actor: Any, which: int) -> Any:
    if scope := one_of(actor.world.scopes, which):
        return seen_of_scope(actor, scope)


@operation(DEADLINES, FLAG, weight=6, only="unruly")
def enter(actor: Any, deadline: Any, shield: bool) -> None:
    scope = make_scope(actor, "CancelScope", deadline, shield)
    actor.world.scopes.insert(0, scope.__enter__())


@operation(WHICH, weight=6, only="unruly")
def exit_scope(actor: Any, which: int) -> Any:
    if scope := one_of(actor.world.scopes, which):
        return scope.__exit__(None, None, None)


# ---- nurseries and tasks ----

NAMES = CHOICE("numbered", "numbered", "own", "function")


def _name(actor: Any, child: Any, kind: str) -> Any:
    return {"numbered": child.label, "own": "its own", "function": None}[kind]


def seen_of_nursery(nursery: Any) -> list[Any]:
    return [
        nursery.parent_task.name,
        sorted(task.name for task in nursery.child_tasks),
    ]


@operation(CHOICE(None, None, True, False), BODY, weight=12)
async def nursery(actor: Any, strict: Any, body: Any) -> None:
    world = actor.world
    try:
        async with actor.trio.open_nursery(strict) as nursery:
            world.nurseries.insert(0, nursery)
            world.scopes.insert(0, nursery.cancel_scope)
            await actor.block(body)
    except BaseException as error:
        actor.say("out of nursery", world.trace.full(error))
        raise
    actor.say("nursery done", *seen_of_scope(actor, nursery.cancel_scope))


@operation(WHICH, NAMES, BODY, weight=18)
def spawn(actor: Any, which: int, name: str, body: Any) -> None:
    if nursery := one_of(actor.world.nurseries, which):
        child = actor.child("t")
        nursery.start_soon(child.body, body, name=_name(actor, child, name))


@operation(WHICH, NAMES, BODY, weight=8)
async def start(actor: Any, which: int, name: str, body: Any) -> Any:
    if nursery := one_of(actor.world.nurseries, which):
        child = actor.child("s")
        return await nursery.start(
            child.body_with_status, body, name=_name(actor, child, name)
        )


@operation(weight=8)
def started(actor: Any) -> None:
    """By the task itself, or else by a task that somebody waits for."""
    status = actor.status or one_of(actor.world.statuses, 0)
    if status is not None:
        status.started(actor.label)


@operation(WHICH, weight=2)
def look_at_nursery(actor: Any, which: int) -> Any:
    if nursery := one_of(actor.world.nurseries, which):
        return seen_of_nursery(nursery)


@operation(weight=2)
def look_at_task(actor: Any) -> Any:
    task = actor.trio.lowlevel.current_task()
    return [
        task.name,
        actor.trio.lowlevel.currently_ki_protected(),
        task.parent_nursery and seen_of_nursery(task.parent_nursery),
        task.eventual_parent_nursery and seen_of_nursery(task.eventual_parent_nursery),
        [seen_of_nursery(nursery) for nursery in task.child_nurseries],
        [
            frame.f_code.co_name
            for frame, _ in task.iter_await_frames()
            if frame.f_code.co_filename.startswith(HERE)
        ],
    ]


@operation(weight=3)
def look_around(actor: Any) -> Any:
    told = actor.trio.lowlevel.current_statistics()
    return [
        told.tasks_living,
        told.tasks_runnable,
        told.seconds_to_next_deadline,
        told.run_sync_soon_queue_size,
        actor.trio.lowlevel.current_root_task().name,
        *actor.world.statistics(),
    ]


@operation(NAMES, FLAG, BODY, weight=2)
def spawn_system_task(actor: Any, name: str, inherit: bool, body: Any) -> Any:
    child = actor.child("system")
    context = contextvars.copy_context() if inherit else None
    task = actor.trio.lowlevel.spawn_system_task(
        child.body, body, name=_name(actor, child, name), context=context
    )
    return task.name


async def _no_coroutine(actor: Any) -> Any:  # type: ignore[misc]
    yield actor


@operation(CHOICE("function", "generator", "coroutine", "arguments", "none"), weight=1)
def spawn_badly(actor: Any, what: str) -> None:
    nursery = one_of(actor.world.nurseries, 0)
    if nursery is None:
        return
    match what:
        case "function":
            nursery.start_soon(str, actor.label)
        case "generator":
            nursery.start_soon(_no_coroutine, actor)
        case "coroutine":
            coroutine = actor.block([])
            try:
                nursery.start_soon(coroutine)
            finally:
                coroutine.close()
        case "arguments":
            nursery.start_soon(actor.block)
        case "none":
            nursery.start_soon(None)


@operation(
    WHICH,
    CHOICE("sleep", "wait", "acquire", "send", "receive", "forever", "checkpoint"),
    weight=5,
)
def spawn_native(actor: Any, which: int, what: str) -> None:
    """A task whose coroutine is the library's own."""
    world, trio = actor.world, actor.trio
    if (nursery := one_of(world.nurseries, which)) is None:
        return
    function, *arguments = {
        "sleep": (trio.sleep, 1),
        "wait": (world.events[0].wait,),
        "acquire": (world.locks[0].acquire,),
        "send": (world.senders[0].send, actor.label),
        "receive": (world.receivers[0].receive,),
        "forever": (trio.sleep_forever,),
        "checkpoint": (trio.lowlevel.checkpoint,),
    }[what]
    nursery.start_soon(function, *arguments)


@operation(only="unruly", weight=5)
async def open_nursery_only(actor: Any) -> None:
    manager = actor.trio.open_nursery()
    nursery = await manager.__aenter__()
    actor.world.managers.insert(0, manager)
    actor.world.nurseries.insert(0, nursery)
    actor.world.scopes.insert(0, nursery.cancel_scope)


@operation(only="unruly", weight=5)
async def close_nursery_only(actor: Any) -> Any:
    if actor.world.managers:
        manager = actor.world.managers.pop(0)
        return await manager.__aexit__(None, None, None)


# ---- the entry queue ----


@operation(FLAG, SYNC_BODY, weight=4)
def run_sync_soon(actor: Any, idempotent: bool, body: Any) -> None:
    if actor.is_host:
        return  # it wakes Trio one turn later than trio_c, as other I/O may
    token = actor.trio.lowlevel.current_trio_token()
    if idempotent:
        # The same job each time, so that several become one.
        token.run_sync_soon(_same_job, actor.world, idempotent=True)
    else:
        token.run_sync_soon(_job, actor.child("job"), body)


def _same_job(world: Any) -> None:
    world.root.say("the same job")


def _job(actor: Any, body: Any) -> None:
    actor.say("begins")
    actor.sync_block(body)


# ---- async generators ----


async def _generator(actor: Any, first: Any, second: Any, last: Any, awkward: bool):  # type: ignore[no-untyped-def]
    try:
        await actor.block(first)
        yield "first"
        await actor.block(second)
        yield "second"
    finally:
        actor.say("generator ends")
        await actor.block(last)
        if awkward:
            yield "too much"


@operation(
    BLOCK("plain"), BLOCK("plain"), BLOCK("plain"), CHOICE(*[False] * 5, True), weight=4
)
def generator(actor: Any, first: Any, second: Any, last: Any, awkward: bool) -> None:
    child = actor.child("generator")
    made = _generator(child, first, second, last, awkward)
    actor.world.generators.insert(0, made)


@operation(WHICH, CHOICE("next", "next", "aclose", "athrow", "drop"), weight=7)
async def generator_step(actor: Any, which: int, what: str) -> Any:
    generators = actor.world.generators
    if not generators:
        return None
    which %= len(generators)
    match what:
        case "next":
            return await generators[which].__anext__()
        case "aclose":
            await generators[which].aclose()
        case "athrow":
            return await generators[which].athrow(Oops("thrown"))
        case "drop":
            del generators[which]


@operation(FLAG, BLOCK("plain"), weight=2)
async def safe_channel(actor: Any, early: bool, body: Any) -> None:
    child = actor.child("safe")

    @actor.trio.as_safe_channel
    async def values():  # type: ignore[no-untyped-def]
        yield 1
        await child.block(body)
        yield 2

    async with values() as channel:
        async for value in channel:
            actor.say("got", value)
            if early:
                break
