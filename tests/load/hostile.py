"""Clients that do not behave, in a process of their own.

    hostile.py '{"ports": [1, 2], ...}'         (Options)

Says "connected" when all are. After a line, each shows its habit, again and again
on a new connection, until another line comes; then it says how often each habit was
shown. Only those who close their own half
expect something: an answer to each of their messages, and then the end.
"""

from __future__ import annotations

import asyncio
import collections
import contextlib
import json
import random
import socket
import struct
import sys
from collections.abc import Awaitable, Callable
from typing import NamedTuple

from protocol import HOSTILE, decode, encode, make, source

AT_ONCE = 200
RESET = struct.pack("ii", 1, 0)


class Options(NamedTuple):
    ports: list[int]
    count: int


class Peer:
    def __init__(self, sock: socket.socket, sender: int) -> None:
        self.sock = sock
        self.sender = HOSTILE + sender
        self.chance = random.Random(sender)
        self.loop = asyncio.get_running_loop()

    def message(self, number: int = 0, least: int = 0) -> bytes:
        return encode(make(self.sender, number, self.chance, least))

    async def send(self, data: bytes) -> None:
        await self.loop.sock_sendall(self.sock, data)

    async def receive(self) -> bytes:
        return await self.loop.sock_recv(self.sock, 1 << 16)

    async def pause(self, most: float = 5.0) -> None:
        await asyncio.sleep(self.chance.random() * most)


Habit = Callable[[Peer], Awaitable[None]]


async def slow(peer: Peer) -> None:
    """A byte at a time, both ways."""
    for byte in peer.message()[:60]:
        await peer.send(bytes([byte]))
        await peer.pause(1.0)


async def deaf(peer: Peer) -> None:
    """Asks and asks, and listens to no answer."""
    peer.sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    number = 0
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(20):
            while True:
                await peer.send(peer.message(number, 60_000))
                number += 1
                await peer.pause(0.4)


async def reset(peer: Peer) -> None:
    """Goes away in the middle of a message, or of its answer."""
    data = peer.message()
    await peer.pause()
    await peer.send(data[: peer.chance.randrange(2 * len(data))])
    peer.sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET)


async def half_closing(peer: Peer) -> None:
    """Says that it has no more to say, and wants its answers all the same."""
    await peer.pause()
    questions = b"".join(map(peer.message, range(5)))
    await peer.send(questions)
    peer.sock.shutdown(socket.SHUT_WR)
    await peer.pause()
    answers = bytearray()
    while data := await peer.receive():
        answers += data
    assert answers == questions, "not all were answered"
    assert len([*decode(answers)]) == 5


async def garbage(peer: Peer) -> None:
    """Nothing that means anything, until the server hangs up."""
    await peer.pause()
    await peer.send(b"\xff" + peer.chance.randbytes(100))
    while await peer.receive():
        pass


# The kernel keeps some MB for each who is deaf.
HABITS: list[Habit] = [slow, reset, half_closing, garbage] * 6 + [deaf]


async def main(options: Options) -> None:
    loop = asyncio.get_running_loop()
    shown: collections.Counter[str] = collections.Counter()
    turn = asyncio.Semaphore(AT_ONCE)
    connected = 0
    everybody = loop.create_future()
    started = asyncio.Event()

    async def once(index: int, habit: Habit) -> None:
        nonlocal connected
        # Every tenth one speaks TLS as badly as the others speak plainly.
        port = options.ports[habit is not half_closing and index // 4 % 10 == 0]
        with socket.socket() as sock:
            sock.setblocking(False)
            sock.bind(source(index))
            async with turn:
                await loop.sock_connect(sock, ("127.0.0.1", port))
            connected += 1
            if connected == options.count:
                everybody.set_result(None)
            await started.wait()
            try:
                await habit(Peer(sock, index))
            except ConnectionError:
                # Who reads to the end was not to be hung up on.
                if habit is half_closing:
                    shown["half_closing failed"] += 1
            except AssertionError:
                shown["half_closing failed"] += 1
            shown[habit.__name__] += 1

    async def again_and_again(index: int) -> None:
        while True:
            await once(index, HABITS[index % len(HABITS)])

    tasks = [loop.create_task(again_and_again(i)) for i in range(options.count)]
    await everybody
    print("connected", flush=True)
    await loop.run_in_executor(None, sys.stdin.readline)
    started.set()
    await loop.run_in_executor(None, sys.stdin.readline)
    for task in tasks:
        task.cancel()
    results = await asyncio.gather(*tasks, return_exceptions=True)
    for result in results:
        if not isinstance(result, asyncio.CancelledError):
            shown[f"failed: {result!r}"] += 1
    print(json.dumps(shown), flush=True)


if __name__ == "__main__":
    asyncio.run(main(Options(**json.loads(sys.argv[1]))))
