"""The hot paths as a table, and running one of them with something measured.

An operation is a few lines of source, so that nothing of a test's own machinery
runs between two rounds of it. Run as a program, this file goes through the
table between marks that a trace of its system calls shows.
"""

from __future__ import annotations

import os
import signal
import socket
import sys
from contextlib import ExitStack
from functools import partial
from textwrap import indent
from typing import NamedTuple

import trio_c as trio
import trio_c.from_thread
import trio_c.lowlevel
import trio_c.socket
import trio_c.testing
import trio_c.to_thread

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

WARM_UP = 100
ROUNDS = 500

# What frames of the operations below say their file is.
SOURCE = "<operation>"


class Operation(NamedTuple):
    """`body` is what one round does.

    `setup` comes before all of them, `beside` runs in another task again and
    again. `calls`: the system calls of a round, where "wait" is any of those
    that wait for I/O. `threads`: made for other threads; who finds whom asleep
    is chance, and these are the calls at most.
    """

    name: str
    body: str
    setup: str = ""
    beside: str = ""
    calls: Mapping[str, float] = {}
    threads: bool = False


TEMPLATE = """
async def operation(warm_up, rounds, begin, end):
    async with trio.open_nursery() as nursery:
        {setup}
        if {is_beside}:
            async def others():
                while True:
                    {beside}
            nursery.start_soon(others)
            for _ in range(5):
                await checkpoint()
        for _ in range(warm_up):
            {body}
        begin()
        for _ in range(rounds):
            {body}
        end()
        nursery.cancel_scope.cancel()
"""


def perform(
    operation: Operation,
    begin: Callable[[], object],
    end: Callable[[], object],
    warm_up: int = WARM_UP,
    rounds: int = ROUNDS,
) -> None:
    """Run it: a warm-up, then the rounds between `begin()` and `end()`."""
    namespace = {
        "_socket": __import__("_socket"),
        "checkpoint": trio.lowlevel.checkpoint,
        "lowlevel": trio.lowlevel,
        "stdlib": __import__("socket"),
        "sys": sys,
        "trio": trio,
        "tsocket": trio.socket,
    }
    source = TEMPLATE.format(
        is_beside=bool(operation.beside),
        setup=_indented(operation.setup, 8),
        body=_indented(operation.body, 12),
        beside=_indented(operation.beside, 20),
    )
    exec(compile(source, SOURCE, "exec"), namespace)
    with ExitStack() as stack:
        namespace["opened"] = stack.enter_context
        trio.run(namespace["operation"], warm_up, rounds, begin, end)


def _indented(source: str, spaces: int) -> str:
    return indent(source or "pass", " " * spaces).lstrip()


# --- what operations are made of -------------------------------------------

CHILD = "async def child(): pass"
STARTER = "async def starter(task_status): task_status.started()"
LATE_STARTER = STARTER + "; await checkpoint()"
CANCELLER = "async def canceller(): scope.cancel()"
SETTER = "async def setter(): event.set()"
DEEP = """
async def deep(frames):
    await (deep(frames - 1) if frames else checkpoint())"""
EVENTS = "ping, pong = [trio.Event()], [trio.Event()]"
LOTS = "ping, pong = lowlevel.ParkingLot(), lowlevel.ParkingLot()"
CHANNEL = "send, receive = trio.open_memory_channel({})"

# Two sockets of ours that are connected to each other. On TCP a receive that did
# not fill its buffer has emptied the socket, and the next one waits at once.
PAIR = "left, right = map(opened, tsocket.socketpair()); data = bytes(64)"
STREAMS = PAIR + "; left, right = map(trio.SocketStream, (left, right))"
UDP = """\
left, right = (opened(tsocket.socket(type=tsocket.SOCK_DGRAM)) for _ in range(2))
for each in left, right: await each.bind(("127.0.0.1", 0))
data, address = bytes(64), right.getsockname()"""
TCP = """\
listener = opened(tsocket.socket())
await listener.bind(("127.0.0.1", 0))
listener.listen()
address = listener.getsockname()"""
CONNECTED = (
    TCP
    + """
left = opened(tsocket.socket())
await left.connect(address)
right = opened((await listener.accept())[0])
data = bytes(64)"""
)
CONNECTED_STREAMS = CONNECTED + "; left, right = map(trio.SocketStream, (left, right))"

TLS = """
import _tls
left, right = _tls.tls_pair(left, right)
await _tls.handshake(left, right)"""

# Connecting a socket of the standard library's lowest level, none of which is
# written in Python.
CONNECT = "peer = _socket.socket(); peer.connect(address)"
ACCEPT = {"socket": 1, "connect": 1, "accept4": 1, "close": 2}

# Descriptors that the library knows nothing about, one with something to read.
STRANGERS = "left, right = map(opened, stdlib.socketpair()); left.send(b'x')"

# All jobs go to one worker; it is looked at like the thread of the run.
WORKER = "await trio.to_thread.run_sync(sys.setprofile, sys.getprofile())"


def _kernel() -> Iterator[Operation]:
    low = "await lowlevel."
    yield Operation("checkpoint", "await checkpoint()")
    deep = "await deep(9)"
    yield Operation("checkpoint, deep", deep, DEEP)
    yield Operation("checkpoint, beside", "await checkpoint()", DEEP, beside=deep)
    yield Operation("cancel_shielded_checkpoint", low + "cancel_shielded_checkpoint()")
    yield Operation("checkpoint_if_cancelled", low + "checkpoint_if_cancelled()")
    yield Operation(
        "start_soon", "nursery.start_soon(child); await checkpoint()", CHILD
    )
    yield Operation(
        "start_soon, native", "nursery.start_soon(checkpoint); await checkpoint()"
    )
    opened = "async with trio.open_nursery() as inner: "
    yield Operation("nursery, no child", opened + "pass")
    yield Operation("nursery, child", opened + "inner.start_soon(child)", CHILD)
    many = opened + "\n    for _ in range(20): inner.start_soon({})"
    yield Operation("nursery, children", many.format("child"), CHILD)
    yield Operation(
        "nursery, children cancelled",
        many.format("trio.sleep_forever")
        + "\n    await checkpoint(); inner.cancel_scope.cancel()",
    )
    yield Operation(
        "nursery, cancelled",
        opened + "inner.start_soon(trio.sleep_forever); inner.cancel_scope.cancel()",
    )
    yield Operation("start", "await nursery.start(starter)", STARTER)
    yield Operation("start, goes on", "await nursery.start(starter)", LATE_STARTER)


def _scopes() -> Iterator[Operation]:
    yield Operation("CancelScope", "with trio.CancelScope(): pass")
    yield Operation("CancelScope, shield", "with trio.CancelScope(shield=True): pass")
    yield Operation(
        "CancelScope, deadline",
        "with trio.CancelScope(deadline=trio.current_time() + 9): await checkpoint()",
    )
    five = ", ".join(f"trio.move_on_after({9 + i})" for i in range(5))
    yield Operation("five scopes", f"with {five}: pass")
    yield Operation("CancelScope, cancel", "with trio.CancelScope() as s: s.cancel()")
    yield Operation(
        "CancelScope, cancelled",
        "with trio.CancelScope() as s: s.cancel(); await checkpoint()",
    )
    for name, when in [
        ("move_on_after", "9"),
        ("move_on_at", "trio.current_time() + 9"),
        ("fail_after", "9"),
        ("fail_at", "trio.current_time() + 9"),
    ]:
        head = f"with trio.{name}({when}): "
        yield Operation(name, head + "pass")
        yield Operation(f"{name}, checkpoint", head + "await checkpoint()")
    yield Operation(
        "move_on_after, expired", "with trio.move_on_after(0): await checkpoint()"
    )
    yield Operation(
        "fail_after, expired",
        "try:\n"
        "    with trio.fail_after(0): await checkpoint()\n"
        "except trio.TooSlowError: pass",
    )
    yield Operation(
        "fail_after, Event.wait",
        "event = trio.Event(); nursery.start_soon(setter)\n"
        "with trio.fail_after(9): await event.wait()",
        SETTER,
    )


def _time() -> Iterator[Operation]:
    yield Operation("sleep(0)", "await trio.sleep(0)")
    yield Operation("sleep", "await trio.sleep(1e-4)", calls={"wait": 1})
    yield Operation(
        "sleep, many",
        "when = trio.current_time() + 1e-3\n"
        "async with trio.open_nursery() as inner:\n"
        "    for _ in range(20): inner.start_soon(trio.sleep_until, when)",
        calls={"wait": 1},
    )
    yield Operation("sleep_until, past", "await trio.sleep_until(0)")
    yield Operation(
        "sleep_until",
        "await trio.sleep_until(trio.current_time() + 1e-4)",
        calls={"wait": 1},
    )
    yield Operation(
        "sleep_forever, cancelled",
        "with trio.CancelScope() as s: s.cancel(); await trio.sleep_forever()",
    )
    yield Operation(
        "sleep_forever, then cancelled",
        "with trio.CancelScope() as scope:\n"
        "    nursery.start_soon(canceller); await trio.sleep_forever()",
        CANCELLER,
    )


def _sync() -> Iterator[Operation]:
    yield Operation(
        "Event, set", "event = trio.Event(); event.set(); await event.wait()"
    )
    yield Operation(
        "Event, to and fro",
        "ping[0].set(); await pong[0].wait(); pong[0] = trio.Event()",
        EVENTS,
        beside="await ping[0].wait(); ping[0] = trio.Event(); pong[0].set()",
    )
    for name in ("Lock()", "StrictFIFOLock()", "Semaphore(1)", "CapacityLimiter(1)"):
        setup = f"lock = trio.{name}"
        name = name.partition("(")[0]
        both = "await lock.acquire(); lock.release()"
        held = "await lock.acquire(); await checkpoint(); lock.release()"
        with_ = "async with lock: "
        yield Operation(f"{name}", both, setup)
        yield Operation(
            f"{name}, nowait", "lock.acquire_nowait(); lock.release()", setup
        )
        yield Operation(f"{name}, contended", held, setup, beside=held)
        yield Operation(f"{name}, with", with_ + "pass", setup)
        held = with_ + "await checkpoint()"
        yield Operation(f"{name}, with, contended", held, setup, beside=held)
    for notify in ("notify", "notify_all"):
        turn = f"async with condition: condition.{notify}(); await condition.wait()"
        setup = "condition = trio.Condition()"
        yield Operation(f"Condition, {notify}", turn, setup, beside=turn)
    for unpark in ("unpark", "unpark_all"):
        yield Operation(
            f"ParkingLot, {unpark}",
            f"ping.{unpark}(); await pong.park()",
            LOTS,
            beside=f"await ping.park(); pong.{unpark}()",
        )


def _channels() -> Iterator[Operation]:
    send, receive = "await send.send(None)", "await receive.receive()"
    iterate = "async for _ in receive: "
    buffered, none, many = map(CHANNEL.format, (1, 0, 100))
    yield Operation("channel, buffered", f"{send}; {receive}", buffered)
    yield Operation(
        "channel, nowait", "send.send_nowait(None); receive.receive_nowait()", buffered
    )
    yield Operation("channel, buffered, for", f"{send}\n{iterate}break", buffered)
    yield Operation("channel, buffer of 100", send, many, beside=receive)
    yield Operation("channel, buffer of 100, for", send, many, iterate + "pass")
    yield Operation("channel, send", send, none, receive)
    yield Operation("channel, receive", receive, none, send)
    yield Operation("channel, for", iterate + "break", none, send)
    yield Operation("channel, beside for", send, none, iterate + "pass")


def _io() -> Iterator[Operation]:
    wait = {"epoll_ctl": 1, "wait": 1}
    for name, ready in (("readable", "right"), ("writable", "left")):
        for what, which in (("socket", ready), ("fd", ready + ".fileno()")):
            yield Operation(
                f"wait_{name}, {what}",
                f"await lowlevel.wait_{name}({which})",
                STRANGERS,
                calls=wait,
            )
    one = {"sendto": 1, "recvfrom": 1}
    for receive in ("recv(64)", "recv_into(buffer)"):
        body = f"await left.send(data); await right.{receive}"
        setup = PAIR + "; buffer = bytearray(64)"
        yield Operation(f"socket, {receive}", body, setup, calls=one)
    for receive in ("recvfrom(64)", "recvfrom_into(buffer)"):
        body = f"await left.sendto(data, address); await right.{receive}"
        setup = UDP + "; buffer = bytearray(64)"
        yield Operation(f"socket, {receive}", body, setup, calls=one)
    if hasattr(socket.socket, "sendmsg"):
        yield Operation(
            "socket, sendmsg",
            "await left.sendmsg([data]); await right.recvmsg(64)",
            PAIR,
            calls={"sendmsg": 1, "recvmsg": 1},
        )
    echo = {"sendto": 2, "recvfrom": 2, "wait": 2}
    yield Operation(
        "socket, waits",
        "await left.send(data); await left.recv(99)",
        CONNECTED,
        beside="await right.send(await right.recv(99))",
        calls=echo,
    )
    yield Operation(
        "accept",
        f"{CONNECT}; conn, _ = await listener.accept(); conn.close(); peer.close()",
        TCP,
        calls=ACCEPT,
    )
    yield Operation(
        "SocketListener.accept",
        f"{CONNECT}; conn = await listener.accept()\nconn.socket.close(); peer.close()",
        TCP + "; listener = trio.SocketListener(listener)",
        calls={**ACCEPT, "setsockopt": 2},
    )
    for receive in ("receive_some()", "receive_some(64)"):
        yield Operation(
            f"SocketStream, {receive}",
            f"await left.send_all(data); await right.{receive}",
            STREAMS,
            calls=one,
        )
    yield Operation(
        "SocketStream, waits",
        "await left.send_all(data); await left.receive_some(99)",
        CONNECTED_STREAMS,
        beside="await right.send_all(await right.receive_some(99))",
        calls=echo,
    )
    yield Operation(
        "SSLStream, waits",
        "await left.send_all(data); await left.receive_some()",
        CONNECTED_STREAMS + TLS,
        beside="await right.send_all(await right.receive_some())",
        calls=echo,
    )


def _threads() -> Iterator[Operation]:
    token = "token = lowlevel.current_trio_token()"
    # A pass that has jobs never skips its poll.
    for name, job in (("", "int"), (", once", "int, idempotent=True")):
        yield Operation(
            f"run_sync_soon{name}",
            f"token.run_sync_soon({job}); await checkpoint()",
            token,
            calls={"wait": 1},
            threads=True,
        )
    once = {"wait": 3, "epoll_ctl": 1, "sendto": 1, "recvfrom": 1}
    twice = {"wait": 6, "epoll_ctl": 2, "sendto": 2, "recvfrom": 2}
    for name, job, calls in [
        ("to_thread.run_sync", "int", once),
        ("to_thread.run_sync, abandon", "int, abandon_on_cancel=True", once),
        ("from_thread.run_sync", "trio.from_thread.run_sync, int", twice),
        ("from_thread.run", "trio.from_thread.run, checkpoint", twice),
    ]:
        body = f"await trio.to_thread.run_sync({job})"
        yield Operation(name, body, WORKER, calls=calls, threads=True)


ROOMS = [_kernel, _scopes, _time, _sync, _channels, _io, _threads]
OPERATIONS = {op.name: op for room in ROOMS for op in room()}


# --- as a program ----------------------------------------------------------


def begin(index: int = 0) -> None:
    """A mark: what comes until the other one is to be counted."""
    os.access(f"/begin/{index}", os.F_OK)


def end() -> None:
    os.access("/end", os.F_OK)


async def serve(high_level: bool) -> None:
    """Echo 64 bytes at a time. Some messages are marks, too; the second ends it.

    Prints its port, and a line when it waits for a new connection's message.
    """

    async def sockets(sock: trio.socket.SocketType) -> None:
        while data := await sock.recv(4096):
            mark(data)
            await sock.send(data)

    async def streams(sock: trio.socket.SocketType) -> None:
        stream = trio.SocketStream(sock)
        while data := await stream.receive_some(4096):
            mark(data)
            await stream.send_all(data)

    def mark(data: bytes) -> None:
        if data[0] == BEGIN[0]:
            begin()
        elif data[0] == END[0]:
            end()
            nursery.cancel_scope.cancel()

    listener = trio.socket.socket()
    await listener.bind(("127.0.0.1", 0))
    listener.listen(200)
    print(listener.getsockname()[1], flush=True)
    async with trio.open_nursery() as nursery:
        while True:
            sock, _ = await listener.accept()
            nursery.start_soon(streams if high_level else sockets, sock)
            await trio.testing.wait_all_tasks_blocked()
            print(flush=True)


BEGIN, END = b"B" * 64, b"E" * 64


def main(what: str) -> None:
    # Whoever is killed here cannot end what he traces.
    signal.alarm(120)
    if what == "operations":
        for index, operation in enumerate(OPERATIONS.values()):
            perform(operation, partial(begin, index), end)
    else:
        trio.run(serve, what == "streams")


if __name__ == "__main__":
    main(sys.argv[1])
