"""What is done millions of times, one function each.

A workload sets up what it needs, and then does as many operations as `rounds`
says, again and again; between two rounds memory and descriptors are counted:

    for n in rounds:
        ...  # n operations

The number is how many operations a full run is.
"""

from __future__ import annotations

import contextlib
import random
import socket as stdlib
import ssl
import struct
import tempfile
from collections.abc import Awaitable, Callable, Iterable
from pathlib import Path
from typing import NamedTuple

import trio_c as trio
from trio_c import socket as tsocket
from trio_c.lowlevel import checkpoint

Rounds = Iterable[int]
Workload = Callable[[Rounds], Awaitable[None]]


class Declared(NamedTuple):
    fn: Workload
    count: int  # of a full run
    unit: int  # the number of operations in a round is a multiple of this


WORKLOADS: dict[str, Declared] = {}

MILLION = 1_000_000


def workload(count: int, unit: int = 300) -> Callable[[Workload], Workload]:
    def declare(fn: Workload) -> Workload:
        WORKLOADS[fn.__name__] = Declared(fn, count, unit)
        return fn

    return declare


# --- tasks and scopes --------------------------------------------------------


async def nothing() -> None:
    pass


async def short() -> None:
    await checkpoint()


@workload(10 * MILLION)
async def spawns(rounds: Rounds) -> None:
    """Tasks, a hundred in a nursery."""
    for n in rounds:
        for _ in range(n // 100):
            async with trio.open_nursery() as nursery:
                for _ in range(50):
                    nursery.start_soon(nothing)
                    nursery.start_soon(short)


@workload(10 * MILLION)
async def scopes(rounds: Rounds) -> None:
    """Four kinds, one inside the other; one of them is cancelled."""
    for n in rounds:
        for _ in range(n // 4):
            with trio.move_on_after(9), trio.CancelScope(shield=True):
                with trio.fail_after(8), trio.CancelScope() as scope:
                    scope.cancel()
                    await checkpoint()


@workload(10 * MILLION)
async def cancellations(rounds: Rounds) -> None:
    """Tasks that wait for something, and are cancelled."""
    event, lock = trio.Event(), trio.Lock()
    send, receive = trio.open_memory_channel[None](0)
    left, right = stdlib.socketpair()
    waits = [
        trio.sleep_forever,
        event.wait,
        lock.acquire,
        receive.receive,
        lambda: trio.sleep(99),
    ]

    async def own_scope() -> None:
        with trio.CancelScope() as scope:
            scope.cancel()
            await trio.lowlevel.wait_readable(left)

    await lock.acquire()
    with left, right:
        for n in rounds:
            for _ in range(n // 20):
                async with trio.open_nursery() as nursery:
                    for wait in waits * 3:
                        nursery.start_soon(wait)
                    for _ in range(5):
                        await own_scope()
                    await checkpoint()
                    nursery.cancel_scope.cancel()


@workload(2 * MILLION)
async def errors(rounds: Rounds) -> None:
    """Exceptions that leave tasks and come out of nurseries in groups."""

    async def fails() -> None:
        raise KeyError

    for n in rounds:
        for _ in range(n // 4):
            try:
                async with trio.open_nursery() as outer, trio.open_nursery() as inner:
                    outer.start_soon(fails)
                    inner.start_soon(fails)
                    inner.start_soon(trio.sleep_forever)
                    outer.start_soon(trio.sleep_forever)
            except* KeyError:
                pass


@workload(10 * MILLION)
async def timers(rounds: Rounds) -> None:
    """Deadlines that are set and taken back, and as many that expire."""
    chance = random.Random(1)

    async def sleeper(until: float) -> None:
        with trio.move_on_at(until + 10):
            await trio.sleep_until(until)

    for n in rounds:
        now = trio.current_time()
        async with trio.open_nursery() as nursery:
            for _ in range(n // 2):
                nursery.start_soon(sleeper, now + chance.random() * 1e-3)


@workload(500_000, unit=20)
async def runs(rounds: Rounds) -> None:
    """Whole runs, one after the other."""

    async def main() -> None:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(short)

    # Here is one already: in a thread of ours.
    def in_thread() -> None:
        for n in rounds:
            for _ in range(n):
                trio.run(main)

    await trio.to_thread.run_sync(in_thread)


# --- between tasks -------------------------------------------------------------


@workload(10 * MILLION)
async def messages(rounds: Rounds) -> None:
    """Through channels with and without a buffer, and clones of their ends."""
    for n in rounds:
        for size in (0, 10):
            send, receive = trio.open_memory_channel[int](size)
            async with trio.open_nursery() as nursery, send, receive:
                for _ in range(2):
                    nursery.start_soon(consume, receive.clone())
                    nursery.start_soon(produce, send.clone(), n // 4)


async def produce(send: trio.MemorySendChannel[int], n: int) -> None:
    async with send:
        for number in range(n):
            await send.send(number)


async def consume(receive: trio.MemoryReceiveChannel[int]) -> None:
    async with receive:
        async for _ in receive:
            pass


@workload(10 * MILLION)
async def locks(rounds: Rounds) -> None:
    """Handed over between three tasks."""
    kinds = [
        trio.Lock(),
        trio.StrictFIFOLock(),
        trio.Semaphore(1),
        trio.CapacityLimiter(1),
        trio.Condition(),
    ]

    async def contend(lock: trio.Lock, n: int) -> None:
        for _ in range(n):
            async with lock:
                await checkpoint()

    for n in rounds:
        async with trio.open_nursery() as nursery:
            for lock in kinds:
                for _ in range(3):
                    nursery.start_soon(contend, lock, n // 15)


@workload(10 * MILLION)
async def jobs(rounds: Rounds) -> None:
    """From a thread into the run, and from the run into itself."""
    token = trio.lowlevel.current_trio_token()

    def submit(n: int) -> None:
        for _ in range(n // 100):
            for _ in range(99):
                token.run_sync_soon(int)
            trio.from_thread.run_sync(int)

    for n in rounds:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(trio.to_thread.run_sync, submit, n // 2)
            for _ in range(n // 200):
                for _ in range(50):
                    token.run_sync_soon(int)
                    token.run_sync_soon(int, idempotent=True)
                await checkpoint()


@workload(MILLION)
async def threads(rounds: Rounds) -> None:
    """Calls in threads, some of which call back, some of which are given up."""

    def ask() -> None:
        trio.from_thread.run_sync(int)
        trio.from_thread.run(checkpoint)

    async def trips(n: int) -> None:
        for _ in range(n // 4):
            await trio.to_thread.run_sync(int)
            await trio.to_thread.run_sync(ask)
            await trio.to_thread.run_sync(int, abandon_on_cancel=True)
            with trio.CancelScope() as scope:
                scope.cancel()
                await trio.to_thread.run_sync(int)

    for n in rounds:
        async with trio.open_nursery() as nursery:
            for _ in range(2):
                nursery.start_soon(trips, n // 2)


# --- sockets ---------------------------------------------------------------------


@workload(10 * MILLION)
async def packets(rounds: Rounds) -> None:
    """Through socket pairs: half of the receives have to wait."""
    left, right = map(trio.SocketStream, tsocket.socketpair())

    async def echo() -> None:
        async for data in right:
            await right.send_all(data)

    async with trio.open_nursery() as nursery, left:
        nursery.start_soon(echo)
        for n in rounds:
            for _ in range(n // 4):
                await left.send_all(b"." * 64)
                await left.receive_some()
        await left.aclose()
    await right.aclose()


async def visit(stream: trio.abc.Stream) -> None:
    """Say something, hear it, and that it is over."""
    async with stream:
        await stream.send_all(b"." * 64)
        heard = 0
        while data := await stream.receive_some(4096):
            heard += len(data)
        assert heard == 64


async def serve(stream: trio.abc.Stream) -> None:
    async with stream:
        try:
            data = await stream.receive_some(4096)
            await stream.send_all(data)
        except trio.BrokenResourceError:
            pass  # that kind of visitor


async def visits(
    rounds: Rounds,
    listener: trio.abc.Listener[trio.abc.Stream],
    call: Callable[[], Awaitable[object]],
) -> None:
    """Twenty visitors at a time."""

    async def some(n: int) -> None:
        for _ in range(n):
            await call()

    async with trio.open_nursery() as nursery:
        nursery.start_soon(trio.serve_listeners, serve, [listener])
        for n in rounds:
            async with trio.open_nursery() as visitors:
                for _ in range(20):
                    visitors.start_soon(some, n // 20)
        nursery.cancel_scope.cancel()


@workload(10 * MILLION)
async def unix_connections(rounds: Rounds) -> None:
    """Over a socket in the file system."""
    with tempfile.TemporaryDirectory() as folder:
        path = str(Path(folder) / "socket")
        sock = tsocket.socket(tsocket.AF_UNIX)
        await sock.bind(path)
        sock.listen(100)

        async def call() -> None:
            client = tsocket.socket(tsocket.AF_UNIX)
            await client.connect(path)
            await visit(trio.SocketStream(client))

        await visits(rounds, trio.SocketListener(sock), call)


# Closing gives the port back at once, with a reset; who has said everything by
# then does not notice.
AT_ONCE = struct.pack("ii", 1, 0)
addresses = (
    f"127.0.{i}.{j}" for _ in iter(int, 1) for i in range(9) for j in range(1, 255)
)


async def connect(port: int) -> trio.SocketStream:
    client = tsocket.socket()
    client.setsockopt(stdlib.SOL_SOCKET, stdlib.SO_LINGER, AT_ONCE)
    # One address would run out of ports.
    await client.bind((next(addresses), 0))
    await client.connect(("127.0.0.1", port))
    return trio.SocketStream(client)


@workload(10 * MILLION)
async def tcp_connections(rounds: Rounds) -> None:
    """Every fourth visitor leaves with a reset in the middle of it."""
    [listener] = await trio.open_tcp_listeners(0, host="127.0.0.1")
    port = listener.socket.getsockname()[1]
    visitors = 0

    async def call() -> None:
        nonlocal visitors
        visitors += 1
        stream = await connect(port)
        if visitors % 4:
            await visit(stream)
        else:
            async with stream:
                await stream.send_all(b"." * 64)

    await visits(rounds, listener, call)


@workload(500_000, unit=20)
async def tls_connections(rounds: Rounds) -> None:
    """Each with a handshake and a good-bye."""
    trustme = __import__("trustme")
    authority = trustme.CA()
    server = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    authority.issue_cert("localhost").configure_cert(server)
    client = ssl.create_default_context()
    authority.configure_trust(client)
    [listener] = await trio.open_tcp_listeners(0, host="127.0.0.1")
    port = listener.socket.getsockname()[1]

    async def call() -> None:
        stream = await connect(port)
        await visit(trio.SSLStream(stream, client, server_hostname="localhost"))

    await visits(rounds, trio.SSLListener(listener, server), call)


# --- is the judge awake? ---------------------------------------------------------


async def keeps_a_little(rounds: Rounds) -> None:
    """One object in a hundred operations."""
    kept = []
    for n in rounds:
        for number in range(n):
            await checkpoint()
            if number % 100 == 0:
                kept.append(object())


async def keeps_descriptors(rounds: Rounds) -> None:
    with contextlib.ExitStack() as stack:
        for n in rounds:
            for _ in range(n):
                await checkpoint()
            stack.enter_context(tempfile.TemporaryFile())


LEAKS = {
    fn.__name__: Declared(fn, 10 * MILLION, 1000)
    for fn in (keeps_a_little, keeps_descriptors)
}
