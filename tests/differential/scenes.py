"""Operations that are short scenes: what meets in them would rarely meet by
chance. Most put together programs of other operations."""

from __future__ import annotations

from typing import Any

from language import BODY, CHOICE, FLAG, TIMES, WHICH, Block, operation
from primitives import LOCK, one_of

CONDITION = CHOICE(4, 5)


def _spawn(actor: Any, *tasks: Block) -> None:
    nursery = one_of(actor.world.nurseries, 0)
    if nursery is not None:
        for body in tasks:
            child = actor.child("t")
            nursery.start_soon(child.body, body, name=child.label)


@operation(LOCK, TIMES, weight=2)
def spawn_dying_owner(actor: Any, lock: int, seconds: float) -> None:
    _spawn(actor, [["acquire", lock], ["sleep", seconds]])


@operation(
    CHOICE("hold", "acquire", "wait", "receive", "send", "park"),
    CHOICE(0, 1),
    CHOICE(3, 4, 6),
    weight=3,
)
def spawn_crowd(actor: Any, what: str, which: int, count: int) -> None:
    """Many who want the same, and one who looks at them."""
    line: list[Any] = [what, which]
    if what == "hold":
        line.append([["sleep", 0.5]])
    look: Block = [*[["checkpoint", "checkpoint"]] * 3, ["look_around"]]
    _spawn(actor, *[[line]] * count, look)


@operation(CONDITION, TIMES, TIMES, TIMES, FLAG, weight=3)
def spawn_condition_trouble(
    actor: Any, which: int, until: float, when: float, held: float, dies: bool
) -> None:
    """A wait that is cancelled while somebody else holds the lock, who may end
    without giving it back; and a task that waits in the same queue."""
    wait: Block = [["wait_condition", which, False]]
    wait = [["scope", "fail_after", until, False, wait]]
    hold: Block = [["sleep", when], ["acquire", which], ["sleep", held]]
    if not dies:
        hold += [["notify", which, 1, True], ["release", which]]
    _spawn(actor, [["try", "Exception", "keep", wait, [], []]], hold)


@operation(CHOICE(1, 2, 3), CHOICE(False, True), BODY, weight=3)
async def flickering_shield(actor: Any, ahead: int, shield: bool, body: Any) -> None:
    """The body of a scope whose shield comes and goes, in a cancelled one: a
    Cancelled may be taken back while it is on its way."""
    trio = actor.trio

    async def flicker() -> None:
        for _ in range(ahead):
            await trio.lowlevel.cancel_shielded_checkpoint()
        for _ in range(6):
            inner.shield = not inner.shield and not actor.world.over
            await trio.lowlevel.cancel_shielded_checkpoint()

    with trio.CancelScope() as outer:
        with trio.CancelScope(shield=shield) as inner:
            actor.world.scopes.insert(0, inner)
            outer.cancel("outer")
            trio.lowlevel.spawn_system_task(flicker, name="flicker")
            await actor.block(body)
        actor.say("inner", inner.cancelled_caught, inner.cancel_called)
    actor.say("outer", outer.cancelled_caught)


@operation(WHICH, TIMES, TIMES, CHOICE(1, 2, 3), FLAG, BODY, weight=4)
async def start_timed(
    actor: Any,
    which: int,
    deadline: float,
    before: float,
    times: int,
    shield: bool,
    body: Any,
) -> Any:
    """`start()` that is cancelled before, at, or after `started()`."""
    nursery = one_of(actor.world.nurseries, which)
    if nursery is None:
        return None
    child = actor.child("s")
    script: Block = [["sleep", before], *[["started"]] * times, ["look_at_task"]]
    script += [["nursery", None, [*body, ["look_at_task"]]]]
    if shield:
        script = [["scope", "CancelScope", None, True, script]]
    with actor.trio.move_on_after(deadline) as scope:
        actor.world.scopes.insert(0, scope)
        value = await nursery.start(child.body_with_status, script, name=child.label)
        return [value, scope.cancel_called]
    return scope.cancelled_caught


@operation(
    CHOICE(None, True, False),
    CHOICE("Oops", "Exception", "Cancelled", "BaseException"),
    BODY,
    BODY,
    weight=3,
)
async def nursery_star(
    actor: Any, strict: Any, catch: str, body: Any, handler: Any
) -> None:
    """`except*` around a nursery."""
    await actor.block(
        [["try_star", catch, False, [["nursery", strict, body]], handler]]
    )


@operation(WHICH, TIMES, CHOICE("acquire", "wait", "receive", "send", "park"), weight=3)
async def wait_at_most(actor: Any, which: int, seconds: float, what: str) -> Any:
    """A wait with a deadline that often comes together with the wake-up."""
    world, trio = actor.world, actor.trio
    with trio.move_on_after(seconds) as scope:
        match what:
            case "acquire":
                await world.locks[which % 2].acquire()
            case "wait":
                await world.events[which % 2].wait()
            case "receive":
                await one_of(world.receivers, which).receive()
            case "send":
                await one_of(world.senders, which).send(actor.label)
            case "park":
                await world.lots[which % 2].park()
    return [scope.cancelled_caught, scope.cancel_called]


@operation(CHOICE("child", "block", "start"), TIMES, weight=2)
async def stray_cancelled(actor: Any, where: str, seconds: float) -> None:
    """A Cancelled that comes up where nothing is cancelled."""
    trio, stray = actor.trio, None
    with trio.CancelScope() as scope:
        scope.cancel("elsewhere")
        try:
            await trio.lowlevel.checkpoint()
        except trio.Cancelled as error:
            stray = error

    async def carrier(task_status: Any = None) -> None:
        await trio.lowlevel.cancel_shielded_checkpoint()
        raise stray

    try:
        async with trio.open_nursery() as nursery:
            if where == "child":
                nursery.start_soon(carrier)
            elif where == "start":
                await nursery.start(carrier)
            await trio.sleep(seconds)
            if where == "block":
                raise stray
    except BaseException as error:
        actor.say("strayed", actor.world.trace.full(error))
        raise
    finally:
        actor.say("cancelled", nursery.cancel_scope.cancelled_caught)


@operation(CHOICE(3, 4, 6, 9), CHOICE(1, 0, 2), FLAG, weight=2)
def many_jobs(actor: Any, count: int, idempotent_at: int, wakes: bool) -> None:
    """Jobs in the entry queue, an idempotent one among them."""
    if actor.is_host:
        return
    token = actor.trio.lowlevel.current_trio_token()
    for number in range(count):
        if number == idempotent_at:
            token.run_sync_soon(actor.world.root.say, "idempotent job", idempotent=True)
        token.run_sync_soon(actor.world.root.say, "job", number)
    if wakes:
        token.run_sync_soon(actor.world.events[0].set)


@operation(CHOICE(1, 0, 2, 4), FLAG, FLAG, weight=2)
def spawn_last_words(actor: Any, steps: int, shield: bool, fails: bool) -> None:
    """A system task that queues jobs while the run shuts down."""
    lowlevel = actor.trio.lowlevel
    token = lowlevel.current_trio_token()
    child = actor.child("last")

    def job(number: int) -> None:
        child.say("job", number)
        if fails:
            raise KeyError(number)

    async def speak() -> None:
        try:
            await actor.trio.sleep_forever()
        finally:
            for number in range(steps):
                token.run_sync_soon(job, number)
                token.run_sync_soon(job, "same", idempotent=True)
                with actor.trio.CancelScope(shield=shield):
                    await lowlevel.cancel_shielded_checkpoint()

    lowlevel.spawn_system_task(speak, name=child.label)


STRICT = CHOICE(False, None, True)


@operation(STRICT, STRICT, CHOICE(0, 1, 3), CHOICE(3, 0, 1), weight=3)
async def cancelled_groups(
    actor: Any, outer: Any, inner: Any, first: int, second: int
) -> None:
    """Groups with a Cancelled in each, which is taken out on the way."""
    trio = actor.trio

    async def fails(steps: int) -> None:
        try:
            await trio.sleep_forever()
        finally:
            for _ in range(steps):
                await trio.lowlevel.cancel_shielded_checkpoint()
            raise KeyError(steps)

    async def group() -> None:
        async with trio.open_nursery(inner) as nursery:
            nursery.start_soon(fails, first)
            nursery.start_soon(trio.sleep_forever)

    try:
        async with trio.open_nursery(outer) as nursery:
            nursery.start_soon(group)
            nursery.start_soon(fails, second)
            nursery.cancel_scope.cancel()
    except BaseException as error:
        actor.say("left", actor.world.trace.full(error))
        raise


@operation(CHOICE(True, False), weight=1)
async def interrupted(actor: Any, later: bool) -> None:
    """Ctrl-C that arrives at a checkpoint, if this is main; then a cancellation."""
    trio = actor.trio
    with trio.CancelScope() as scope:
        await actor.block([["interrupt", True]])
        for _ in range(3):
            try:
                await trio.lowlevel.checkpoint()
            except KeyboardInterrupt as error:
                actor.say("interrupted", actor.world.trace.full(error))
        if later:
            scope.cancel("later")
        try:
            await trio.lowlevel.checkpoint()
        except trio.Cancelled as error:
            actor.say("cancelled", actor.world.trace.full(error))
            raise


@operation(CHOICE(0, 1, 2, 3, 4), BODY, weight=8, only="unruly")
async def lose_nursery(actor: Any, steps: int, body: Any) -> None:
    """Leave a cancelled scope while a task is in a nursery in it."""
    trio, child = actor.trio, actor.child("lost")
    with trio.CancelScope() as scope:
        nursery = await trio.open_nursery().__aenter__()
        scope.cancel("lost")
        nursery.start_soon(child.body, [["checkpoint", "checkpoint"], *body])
        for _ in range(steps):
            await trio.lowlevel.cancel_shielded_checkpoint()


class _Failing:
    """An instrument that fails at its first call."""

    def __init__(self, actor: Any, hook: str) -> None:
        def fail(*arguments: object) -> None:
            actor.world.trace.add("instrument fails", hook)
            raise KeyError(hook)

        setattr(self, hook, fail)


HOOKS = CHOICE(
    "before_task_step",
    "after_task_step",
    "task_scheduled",
    "task_spawned",
    "task_exited",
    "before_io_wait",
    "after_io_wait",
    "after_run",
)


@operation(HOOKS, weight=1, never="outside")
def failing_instrument(actor: Any, hook: str) -> None:
    actor.trio.lowlevel.add_instrument(_Failing(actor, hook))


@operation(CHOICE("add", "remove"), weight=1, never="outside")
def instrument(actor: Any, what: str) -> None:
    """That of the program, which may be there already."""
    lowlevel, recorder = actor.trio.lowlevel, actor.world.recorder
    if what == "add":
        lowlevel.add_instrument(recorder)
    else:
        lowlevel.remove_instrument(recorder)
