"""How operations end otherwise than well, as a table like that of _counts.py.

Every wait is cancelled in each of the ways there are, and everything that fails
fails again and again; the caller goes on.
"""

from __future__ import annotations

from textwrap import indent
from typing import NamedTuple

from _counts import (
    CANCELLER,
    CHANNEL,
    CHILD,
    CONNECTED,
    CONNECTED_STREAMS,
    PAIR,
    STARTER,
    STRANGERS,
    TCP,
    TLS,
    UDP,
    Operation,
)

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator


class Wait(NamedTuple):
    """`wait` does not come to an end by itself."""

    name: str
    wait: str
    setup: str = ""


NUMBERS = """
from contextlib import aclosing
async def numbers():
    while True: yield 1"""

# A task that has the lock and keeps it.
HOLDER = """
async def holder():
    async with lock: await trio.sleep_forever()
nursery.start_soon(holder); await trio.testing.wait_all_tasks_blocked()"""

WAITS = [
    Wait("sleep", "await trio.sleep(99)"),
    Wait("sleep_forever", "await trio.sleep_forever()"),
    Wait("sleep_until", "await trio.sleep_until(trio.current_time() + 99)"),
    Wait("Event", "await event.wait()", "event = trio.Event()"),
    Wait("Event, new", "await trio.Event().wait()"),
    *(
        Wait(f"{name}, {how}", wait, f"lock = trio.{name}({limit}){HOLDER}")
        for name, limit in [
            ("Lock", ""),
            ("StrictFIFOLock", ""),
            ("Semaphore", "1"),
            ("CapacityLimiter", "1"),
        ]
        for how, wait in [
            ("acquire", "await lock.acquire()"),
            ("with", "async with lock: pass"),
        ]
    ),
    Wait(
        "Condition",
        "async with condition: await condition.wait()",
        "condition = trio.Condition()",
    ),
    Wait("ParkingLot", "await lot.park()", "lot = lowlevel.ParkingLot()"),
    Wait("channel, send", "await send.send(None)", CHANNEL.format(0)),
    Wait("channel, receive", "await receive.receive()", CHANNEL.format(0)),
    Wait("channel, for", "async for _ in receive: pass", CHANNEL.format(0)),
    Wait("wait_readable", "await lowlevel.wait_readable(left)", STRANGERS),
    Wait("socket, recv", "await left.recv(9)", PAIR),
    Wait(
        "socket, recv_into",
        "await left.recv_into(data)",
        PAIR + "; data = bytearray(9)",
    ),
    Wait("socket, recvfrom", "await left.recvfrom(9)", UDP),
    Wait("socket, accept", "await listener.accept()", TCP),
    Wait("SocketStream", "await left.receive_some()", CONNECTED_STREAMS),
    Wait("SocketStream, for", "async for _ in left: pass", CONNECTED_STREAMS),
    Wait("SSLStream", "await left.receive_some()", CONNECTED_STREAMS + TLS),
    Wait(
        "wait_task_rescheduled",
        "await lowlevel.wait_task_rescheduled(lambda _: lowlevel.Abort.SUCCEEDED)",
    ),
    Wait(
        "nursery", "async with trio.open_nursery() as n: n.start_soon(trio.sleep, 99)"
    ),
    Wait(
        "start",
        "await nursery.start(starter)",
        "async def starter(task_status): await trio.sleep_forever()",
    ),
    Wait(
        "shielded",
        "with trio.CancelScope(shield=True): await checkpoint()\nawait trio.sleep(99)",
    ),
    Wait(
        "scopes",
        "with trio.move_on_after(99), trio.fail_after(98): await trio.sleep(99)",
    ),
    Wait(
        "finally",
        "try: await trio.sleep(99)\n"
        "finally:\n"
        "    with trio.CancelScope(shield=True): await checkpoint()",
    ),
    Wait(
        "async generator",
        "async with aclosing(numbers()) as it:\n"
        "    async for _ in it: await trio.sleep(99)",
        NUMBERS,
    ),
]


def _cancelled() -> Iterator[Operation]:
    for name, wait, setup in WAITS:
        inside = indent(wait, "    ")
        yield Operation(
            f"{name}: cancelled before",
            f"with trio.CancelScope() as scope:\n    scope.cancel()\n{inside}",
            setup,
        )
        yield Operation(
            f"{name}: cancelled",
            f"with trio.CancelScope() as scope:\n"
            f"    nursery.start_soon(canceller)\n{inside}",
            f"{setup}\n{CANCELLER}",
        )
        yield Operation(
            f"{name}: too slow",
            "try:\n"
            "    with trio.fail_after(0):\n"
            f"{indent(inside, '    ')}\n"
            "except trio.TooSlowError: pass",
            setup,
        )
        yield Operation(
            f"{name}: in a child",
            "async with trio.open_nursery() as inner:\n"
            "    inner.start_soon(child); await checkpoint()\n"
            "    inner.cancel_scope.cancel()",
            f"{setup}\nasync def child():\n{inside}",
        )
        yield Operation(
            f"{name}: a sibling fails",
            "try:\n"
            "    async with trio.open_nursery() as inner:\n"
            "        inner.start_soon(child); await checkpoint()\n"
            "        raise KeyError\n"
            "except* KeyError: pass",
            f"{setup}\nasync def child():\n{inside}",
        )


class Failure(NamedTuple):
    """`what` raises `error`; with a star, a group of such."""

    name: str
    error: str
    what: str
    setup: str = ""


FAILS = "async def fails(): raise KeyError"
CLOSED = "\nfor each in left, right: each.close()"
HUNG_UP = "\nright.close()"

FAILURES = [
    # Functions.
    Failure("start_soon, no function", "TypeError", "nursery.start_soon(None)"),
    Failure("start_soon, no coroutine", "TypeError", "nursery.start_soon(int)"),
    Failure(
        "start_soon, a coroutine", "TypeError", "nursery.start_soon(child())", CHILD
    ),
    Failure(
        "start_soon, arguments", "TypeError", "nursery.start_soon(child, 1)", CHILD
    ),
    Failure(
        "start_soon, raises",
        "KeyError",
        "nursery.start_soon(bad)",
        "def bad(): raise KeyError",
    ),
    Failure(
        "start_soon, closed",
        "RuntimeError",
        "inner.start_soon(child)",
        CHILD + "\nasync with trio.open_nursery() as inner: pass",
    ),
    Failure("run", "RuntimeError", "trio.run(child)", CHILD),
    Failure(
        "CancelScope, again",
        "RuntimeError",
        "with scope: pass",
        "with trio.CancelScope() as scope: pass",
    ),
    Failure(
        "CancelScope, twice",
        "ValueError",
        "trio.CancelScope(deadline=1, relative_deadline=1)",
    ),
    Failure("CancelScope, body", "KeyError", "with trio.CancelScope(): raise KeyError"),
    Failure("move_on_after, negative", "ValueError", "trio.move_on_after(-1)"),
    Failure("move_on_after, nan", "ValueError", "trio.move_on_after(float('nan'))"),
    Failure("fail_after, body", "KeyError", "with trio.fail_after(9): raise KeyError"),
    *(
        Failure(
            f"{name}, nowait",
            "trio.WouldBlock",
            "lock.acquire_nowait()",
            f"lock = trio.{name}({limit}){HOLDER}",
        )
        for name, limit in [("Lock", ""), ("Semaphore", "1"), ("CapacityLimiter", "1")]
    ),
    Failure("Lock, release", "RuntimeError", "lock.release()", "lock = trio.Lock()"),
    Failure(
        "Semaphore, release",
        "ValueError",
        "lock.release()",
        "lock = trio.Semaphore(1, max_value=1)",
    ),
    Failure(
        "CapacityLimiter, release",
        "RuntimeError",
        "lock.release()",
        "lock = trio.CapacityLimiter(1)",
    ),
    Failure(
        "Condition, notify",
        "RuntimeError",
        "condition.notify()",
        "condition = trio.Condition()",
    ),
    Failure(
        "send_nowait, full", "trio.WouldBlock", "send.send_nowait(0)", CHANNEL.format(0)
    ),
    Failure(
        "receive_nowait, empty",
        "trio.WouldBlock",
        "receive.receive_nowait()",
        CHANNEL.format(0),
    ),
    Failure(
        "send_nowait, broken",
        "trio.BrokenResourceError",
        "send.send_nowait(0)",
        CHANNEL.format(0) + "; receive.close()",
    ),
    Failure(
        "send_nowait, closed",
        "trio.ClosedResourceError",
        "send.send_nowait(0)",
        CHANNEL.format(0) + "; send.close()",
    ),
    Failure(
        "receive_nowait, end",
        "trio.EndOfChannel",
        "receive.receive_nowait()",
        CHANNEL.format(0) + "; send.close()",
    ),
    Failure(
        "clone, closed",
        "trio.ClosedResourceError",
        "send.clone()",
        CHANNEL.format(0) + "; send.close()",
    ),
    Failure("from_thread", "RuntimeError", "trio.from_thread.run_sync(int)"),
    # Awaited.
    Failure(
        "Lock, acquire",
        "RuntimeError",
        "await lock.acquire()",
        "lock = trio.Lock(); await lock.acquire()",
    ),
    Failure(
        "Lock, with",
        "KeyError",
        "async with lock: raise KeyError",
        "lock = trio.Lock()",
    ),
    Failure(
        "Condition, wait",
        "RuntimeError",
        "await condition.wait()",
        "condition = trio.Condition()",
    ),
    Failure(
        "Lock, broken",
        "trio.BrokenResourceError",
        "lock = trio.Lock()\n"
        "async def owner(): await lock.acquire()\n"
        "async with trio.open_nursery() as n: n.start_soon(owner)\n"
        "await lock.acquire()",
    ),
    Failure(
        "ParkingLot, broken",
        "trio.BrokenResourceError",
        "await lot.park()",
        "lot = lowlevel.ParkingLot(); lot.break_lot()",
    ),
    Failure("sleep, negative", "ValueError", "await trio.sleep(-1)"),
    Failure(
        "receive, end",
        "trio.EndOfChannel",
        "await receive.receive()",
        CHANNEL.format(0) + "; send.close()",
    ),
    Failure(
        "send, broken",
        "trio.BrokenResourceError",
        "await send.send(0)",
        CHANNEL.format(0) + "; receive.close()",
    ),
    Failure(
        "receive, closed while it waits",
        "trio.ClosedResourceError",
        "send, receive = trio.open_memory_channel(0)\n"
        "async def close(): receive.close()\n"
        "nursery.start_soon(close); await receive.receive()",
    ),
    Failure(
        "send, broken while it waits",
        "trio.BrokenResourceError",
        "send, receive = trio.open_memory_channel(0)\n"
        "async def close(): receive.close()\n"
        "nursery.start_soon(close); await send.send(0)",
    ),
    Failure(
        "awaited again",
        "RuntimeError",
        "it = event.wait(); await it; await it",
        "event = trio.Event(); event.set()",
    ),
    Failure("wait_readable, bad", "OSError", "await lowlevel.wait_readable(99999)"),
    Failure("socket, closed", "OSError", "await left.recv(9)", PAIR + CLOSED),
    Failure(
        "socket, hung up", "BrokenPipeError", "await left.send(data)", PAIR + HUNG_UP
    ),
    Failure(
        "connect, refused",
        "OSError",
        "with tsocket.socket() as s: await s.connect(address)",
        TCP + "; listener.close()",
    ),
    Failure(
        "SocketStream, closed",
        "trio.ClosedResourceError",
        "await left.send_all(b'.')",
        CONNECTED_STREAMS + "; await left.aclose()",
    ),
    Failure(
        "SocketStream, hung up",
        "trio.BrokenResourceError",
        "await left.send_all(data)",
        CONNECTED_STREAMS
        + "; right.socket.close()\nawait left.send_all(data); await checkpoint()",
    ),
    Failure(
        "SocketStream, busy",
        "trio.BusyResourceError",
        "await left.receive_some()",
        CONNECTED_STREAMS + "; nursery.start_soon(left.receive_some)\n"
        "await trio.testing.wait_all_tasks_blocked()",
    ),
    Failure(
        "SSLStream, closed",
        "trio.ClosedResourceError",
        "await left.send_all(b'.')",
        CONNECTED_STREAMS + TLS + "\nawait trio.aclose_forcefully(left)",
    ),
    Failure(
        "socket, busy",
        "trio.BusyResourceError",
        "await lowlevel.wait_readable(left)",
        CONNECTED + "; nursery.start_soon(left.recv, 9)\n"
        "await trio.testing.wait_all_tasks_blocked()",
    ),
    # Tasks.
    Failure(
        "nursery, body", "*KeyError", "async with trio.open_nursery(): raise KeyError"
    ),
    Failure(
        "nursery, child",
        "*KeyError",
        "async with trio.open_nursery() as n: n.start_soon(fails)",
        FAILS,
    ),
    Failure(
        "nursery, many",
        "*KeyError",
        "async with trio.open_nursery() as n:\n"
        "    for _ in range(5): n.start_soon(fails)",
        FAILS,
    ),
    Failure(
        "nurseries",
        "*KeyError",
        "async with trio.open_nursery() as a, trio.open_nursery() as b:\n"
        "    a.start_soon(fails); b.start_soon(fails); await trio.sleep(99)",
        FAILS,
    ),
    Failure(
        "nursery, child and cancel",
        "*KeyError",
        "with trio.CancelScope() as scope:\n"
        "    async with trio.open_nursery() as n:\n"
        "        n.start_soon(fails); n.start_soon(trio.sleep, 99)\n"
        "        scope.cancel()",
        FAILS,
    ),
    Failure(
        "nursery, in a child's child",
        "*KeyError",
        "async with trio.open_nursery() as n: n.start_soon(parent)",
        FAILS + "\nasync def parent():\n"
        "    async with trio.open_nursery() as n: n.start_soon(fails)",
    ),
    Failure(
        "start, fails",
        "KeyError",
        "await nursery.start(fails)",
        "async def fails(task_status): raise KeyError",
    ),
    Failure(
        "start, ends",
        "RuntimeError",
        "await nursery.start(ends)",
        "async def ends(task_status): pass",
    ),
    Failure(
        "start, then fails",
        "*KeyError",
        "async with trio.open_nursery() as n: await n.start(fails)",
        "async def fails(task_status):\n"
        "    task_status.started(); await checkpoint(); raise KeyError",
    ),
    Failure(
        "async for, body",
        "KeyError",
        "async with aclosing(numbers()) as it:\n    async for _ in it: raise KeyError",
        NUMBERS,
    ),
]

THREAD_FAILURES = [
    Failure(
        "to_thread.run_sync",
        "KeyError",
        "await trio.to_thread.run_sync(bad)",
        "def bad(): raise KeyError",
    ),
    Failure(
        "to_thread.run_sync, abandon",
        "KeyError",
        "await trio.to_thread.run_sync(bad, abandon_on_cancel=True)",
        "def bad(): raise KeyError",
    ),
    Failure(
        "from_thread.run_sync",
        "KeyError",
        "await trio.to_thread.run_sync(trio.from_thread.run_sync, bad)",
        "def bad(): raise KeyError",
    ),
    Failure(
        "from_thread.run",
        "KeyError",
        "await trio.to_thread.run_sync(trio.from_thread.run, fails)",
        FAILS,
    ),
    Failure(
        "from_thread.run, cancelled",
        "*KeyError",
        "async with trio.open_nursery() as n:\n"
        "    n.start_soon(in_thread, trio.from_thread.run, trio.sleep, 99)\n"
        "    await trio.sleep(1e-5); raise KeyError",
        "in_thread = trio.to_thread.run_sync",
    ),
]


def _failed() -> Iterator[Operation]:
    for failures in FAILURES, THREAD_FAILURES:
        for name, error, what, setup in failures:
            clause = f"except* {error[1:]}" if error[0] == "*" else f"except {error}"
            yield Operation(
                f"{name}: fails",
                f"try:\n{indent(what, '    ')}\n{clause}: pass\n"
                f"else: raise AssertionError",
                setup,
                threads=failures is THREAD_FAILURES,
            )


# Awaitables that nobody awaits, or that are driven by hand.
AWAITABLES = [
    Wait("checkpoint", "checkpoint()"),
    Wait("sleep", "trio.sleep(9)"),
    Wait("Event.wait", "event.wait()", "event = trio.Event()"),
    Wait("Lock.acquire", "lock.acquire()", "lock = trio.Lock()"),
    Wait("send", "send.send(None)", CHANNEL.format(0)),
    Wait("receive", "receive.receive()", CHANNEL.format(0)),
    Wait("recv", "left.recv(9)", PAIR),
    Wait("receive_some", "left.receive_some()", CONNECTED_STREAMS),
    Wait("start", "nursery.start(starter)", STARTER),
    Wait("to_thread.run_sync", "trio.to_thread.run_sync(int)"),
]


def _driven() -> Iterator[Operation]:
    for name, awaitable, setup in AWAITABLES:
        yield Operation(f"{name}: closed", f"it = {awaitable}; it.close()", setup)
        yield Operation(
            f"{name}: thrown into",
            f"it = {awaitable}\ntry: it.throw(KeyError())\nexcept KeyError: pass",
            setup,
        )
        yield Operation(
            f"{name}: in a coroutine that is closed",
            "it = caller(); it.close()",
            f"{setup}\nasync def caller(): await {awaitable}",
        )


ENDINGS = {op.name: op for room in (_cancelled, _failed, _driven) for op in room()}
