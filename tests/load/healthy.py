"""Clients that mean well, in a process of their own; nothing of trio_c's is in it.

    healthy.py '{"ports": [1, 2], ...}'         (Options)

Says "connected", waits for a line, exchanges messages and says what came of it.
Messages leave at times that were drawn before, whatever becomes of the others;
an answer's latency is counted from the time at which its question was due.
"""

from __future__ import annotations

import asyncio
import collections
import json
import random
import ssl
import sys
from typing import NamedTuple

from protocol import ProtocolError, decode, encode, make, source

AT_ONCE = 200  # that try to connect


class Options(NamedTuple):
    ports: list[int]  # without and with TLS
    authority: str  # file name
    first: int  # numbers of the clients
    count: int
    of_tls: int  # as many of them use it
    seconds: float
    rate: float  # messages each second, of each client


class Client(asyncio.Protocol):
    def __init__(self, sender: int, options: Options) -> None:
        self.chance = random.Random(sender)
        self.sender = sender
        self.due: list[float] = []
        n = max(round(options.seconds * options.rate), 1)
        self.plan = sorted(self.chance.random() * options.seconds for _ in range(n))
        self.sent: dict[int, bytes] = {}
        self.buffer = bytearray()
        self.answers = 0
        self.latencies: list[float] = []
        self.trouble: collections.Counter[str] = collections.Counter()
        self.loop = asyncio.get_running_loop()
        self.complete = self.loop.create_future()
        self.over = self.loop.create_future()

    def connection_made(self, transport: asyncio.Transport) -> None:
        self.transport = transport

    def start(self, now: float) -> None:
        self.due = [now + after for after in self.plan]
        self.schedule()

    def schedule(self) -> None:
        if len(self.sent) + self.answers < len(self.due):
            number = len(self.sent) + self.answers
            self.loop.call_at(self.due[number], self.ask, number)

    def ask(self, number: int) -> None:
        question = encode(make(self.sender, number, self.chance))
        self.sent[number] = question
        self.transport.write(question)
        self.schedule()

    def data_received(self, data: bytes) -> None:
        now = self.loop.time()
        self.buffer += data
        try:
            for message in decode(self.buffer):
                self.answered(message, now)
        except ProtocolError:
            self.trouble["corrupt"] += 1
            self.transport.abort()

    def answered(self, message, now: float) -> None:
        if message.sender != self.sender:
            self.trouble["of another"] += 1
        elif message.number < self.answers:
            self.trouble["twice"] += 1
        elif message.number > self.answers:
            self.trouble["out of order"] += 1
        elif self.sent.pop(message.number, b"") != encode(message):
            self.trouble["changed"] += 1
        else:
            self.latencies.append(now - self.due[message.number])
        self.answers += 1
        if self.answers == len(self.due):
            self.complete.set_result(None)

    def connection_lost(self, exc: Exception | None) -> None:
        self.trouble["lost"] += len(self.plan) - self.answers
        for each in self.complete, self.over:
            if not each.done():
                each.set_result(None)


async def main(options: Options) -> None:
    loop = asyncio.get_running_loop()
    context = ssl.create_default_context(cafile=options.authority)
    turn = asyncio.Semaphore(AT_ONCE)

    async def connect(index: int) -> Client:
        of_tls = index < options.of_tls
        async with turn:
            _, client = await loop.create_connection(
                lambda: Client(options.first + index, options),
                "127.0.0.1",
                options.ports[of_tls],
                local_addr=source(options.first + index),
                ssl=context if of_tls else None,
                ssl_handshake_timeout=300 if of_tls else None,
                server_hostname="localhost" if of_tls else None,
            )
        return client

    clients = await asyncio.gather(*map(connect, range(options.count)))
    print("connected", flush=True)
    await loop.run_in_executor(None, sys.stdin.readline)
    now = loop.time()
    for client in clients:
        client.start(now)
    # What is late by so much is called lost.
    everything = [client.complete for client in clients]
    await asyncio.wait(everything, timeout=options.seconds + 120)
    for client in clients:
        client.transport.close()
    await asyncio.gather(*(client.over for client in clients))
    trouble: collections.Counter[str] = collections.Counter()
    for client in clients:
        trouble.update(client.trouble)
    latencies = [each for client in clients for each in client.latencies]
    result = {
        "asked": sum(len(client.plan) for client in clients),
        "answered": sum(client.answers for client in clients),
        "trouble": +trouble,
        "latencies": latencies,
    }
    print(json.dumps(result), flush=True)


if __name__ == "__main__":
    asyncio.run(main(Options(**json.loads(sys.argv[1]))))
