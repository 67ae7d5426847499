"""Operations with what is outside of the loop: threads, sockets, signals, hosts.

When a thread has finished, or the kernel says so, is up to the machine. To have
one order all the same, such things are done one at a time, while everybody else
is blocked and the clock stands still: then only one thing can happen next.
"""

from __future__ import annotations

import math
import signal
from typing import Any

from language import BODY, CHOICE, FLAG, SYNC_BODY, operation
from primitives import TWO

# ---- being alone ----


class Alone:
    """`async with`: everybody is blocked, and the clock stands still."""

    def __init__(self, actor: Any) -> None:
        self.world = actor.world
        self.trio = actor.trio

    async def __aenter__(self) -> Alone:
        self.world.outside = True
        await self.stop_clock()
        return self

    async def __aexit__(self, *error: object) -> None:
        await self.settle()
        self.let_clock_go()
        self.world.outside = False

    async def settle(self) -> None:
        with self.trio.CancelScope(shield=True):
            await self.trio.testing.wait_all_tasks_blocked()

    async def stop_clock(self) -> None:
        self.world.clock_may_go = self.trio.Event()
        self.trio.lowlevel.current_clock().autojump_threshold = math.inf
        await self.settle()

    def let_clock_go(self) -> None:
        self.world.clock_may_go.set()
        if self.world.program["clock"] == "autojump":
            self.trio.lowlevel.current_clock().autojump_threshold = 0

    async def busy(self, actor: Any, body: Any) -> None:
        """Execute a block in between, as if one were not alone."""
        self.let_clock_go()
        try:
            await actor.block(body)
        finally:
            await self.stop_clock()


# ---- threads ----


@operation(
    CHOICE("run", "run_sync", "both", "neither"),
    CHOICE("return", "raise", "check"),
    FLAG,
    FLAG,
    BODY,
    CHOICE("look_around", "look_at_task", "context_var", "raise"),
    weight=14,
    only="outside",
)
async def in_thread(
    actor: Any,
    calls: str,
    end: str,
    limited: bool,
    by_token: bool,
    body: Any,
    look: str,
) -> Any:
    world, trio = actor.world, actor.trio
    if world.outside:
        return "somebody else is there"
    token = trio.lowlevel.current_trio_token() if by_token else None
    from_thread = trio.from_thread
    # Nothing that would wake anybody, who then ran beside the thread.
    sync_body = [[look, *{"context_var": [True], "raise": ["Oops"]}.get(look, [])]]

    def work() -> str:
        actor.say("in the thread")
        if calls in ("run_sync", "both"):
            from_thread.run_sync(actor.sync_block, sync_body, trio_token=token)
            actor.say("ran sync")
        if calls in ("run", "both"):
            from_thread.run(alone.busy, actor, body, trio_token=token)
            actor.say("ran")
        if end == "raise":
            raise KeyError("of the thread")
        if end == "check":
            from_thread.check_cancelled()
        return "worked"

    async with Alone(actor) as alone:
        return await trio.to_thread.run_sync(
            work, limiter=world.thread_limiter if limited else None
        )


# ---- sockets ----


@operation(TWO, CHOICE("data", "", "much"), weight=8, only="outside")
async def socket_send(actor: Any, side: int, data: str) -> None:
    if not actor.world.outside:
        async with Alone(actor):
            count = 1000 if data == "much" else 1
            await actor.world.sockets()[side].send_all(data.encode() * count)


@operation(TWO, CHOICE(10, 1, None, 0), weight=8, only="outside")
async def socket_receive(actor: Any, side: int, most: Any) -> Any:
    return len(await actor.world.sockets()[side].receive_some(most))


@operation(TWO, CHOICE("send_eof", "aclose", "new"), weight=3, only="outside")
async def socket_end(actor: Any, side: int, how: str) -> None:
    if not actor.world.outside:
        async with Alone(actor):
            if how == "new":
                actor.world.made_sockets = None
            else:
                await getattr(actor.world.sockets()[side], how)()


# ---- signals ----


@operation(FLAG, weight=1)
def interrupt(actor: Any, protected: bool) -> Any:
    """Ctrl-C."""
    if signal.getsignal(signal.SIGINT) is signal.default_int_handler or actor.is_host:
        return "nobody waits for it"
    lowlevel = actor.trio.lowlevel
    wrap = (
        lowlevel.enable_ki_protection if protected else lowlevel.disable_ki_protection
    )

    @wrap
    def press() -> None:
        signal.raise_signal(signal.SIGINT)

    # Else it is also news from the kernel, which Trio gets to know in time for
    # the next batch.
    waker = signal.set_wakeup_fd(-1)
    try:
        press()
    finally:
        signal.set_wakeup_fd(waker, warn_on_full_buffer=False)


# ---- another loop, whose guest this one is ----


class Host:
    """The least that can have a guest: a queue of calls."""

    def __init__(self, trio: Any) -> None:
        import queue

        self.trio = trio
        self.calls: queue.SimpleQueue[Any] = queue.SimpleQueue()
        self.outcome: Any = None

    def run(self, *arguments: Any, **options: Any) -> Any:
        def done(outcome: Any) -> None:
            self.outcome = outcome

        self.trio.lowlevel.start_guest_run(
            *arguments,
            **options,
            run_sync_soon_threadsafe=self.calls.put,
            done_callback=done,
        )
        while self.outcome is None:
            self.calls.get()()
        return self.outcome.unwrap()


@operation(SYNC_BODY, weight=8, only="guest")
def host_soon(actor: Any, body: Any) -> None:
    """A call of the host's, which comes before the guest's next turn."""
    host = actor.child("host")
    host.is_host = True

    def call() -> None:
        host.say("begins")
        try:
            host.sync_block(body)
        except BaseException as error:
            host.say("ends", host.world.trace.full(error))

    actor.world.host.calls.put(call)
