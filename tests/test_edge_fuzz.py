"""Random traffic to owned sockets, with poll(2) as the judge."""

import random
import select
import socket as stdlib

import pytest
from _sockets import (
    PAIRS,
)

import trio_c as trio
import trio_c.socket as tsocket
import trio_c.testing

pytestmark = pytest.mark.skipif(
    not hasattr(select, "epoll"), reason="the situations are Linux's"
)


class Fuzzer:
    """Random traffic to an owned socket, and random receives.

    A receive that does not come back is let sleep until the run loop has
    nothing more to hand out. Then poll(2) must say that there is nothing.
    """

    def __init__(self, kind, seed):
        self.kind = kind
        self.random = random.Random(f"{kind}-{seed}")
        self.receives = self.sleeps = 0
        self.log = []

    async def connection(self):
        rnd = self.random
        peer, sock = await PAIRS[self.kind]()
        peer.setblocking(False)
        poll = select.poll()
        poll.register(sock.fileno(), select.POLLIN)
        self.log = []
        ended = False
        with peer, sock:
            for _ in range(40):
                r = rnd.random()
                try:
                    if r < 0.35 and not ended:
                        size = rnd.choice([1, 3, 64, 500, 5000])
                        self.log.append(f"send {size}")
                        peer.send(bytes(size))
                    elif r < 0.38 and not ended and self.kind == "tcp":
                        self.log.append("send urgent")
                        peer.send(b"!", stdlib.MSG_OOB)
                    elif r < 0.38 and not ended and self.kind == "unix":
                        self.log.append("send descriptor")
                        stdlib.send_fds(peer, [b"f"], [1])
                    elif r < 0.40 and not ended and self.kind != "udp":
                        self.log.append("end")
                        peer.shutdown(stdlib.SHUT_WR)
                        ended = True
                    elif r < 0.50:
                        await trio.sleep(0)
                    elif r < 0.55:
                        self.log.append("level wait")
                        await self.attempt(poll, trio.lowlevel.wait_readable, sock)
                    elif r < 0.60:
                        self.log.append("peek")
                        await self.attempt(poll, sock.recv, 100, tsocket.MSG_PEEK)
                    else:
                        size = rnd.choice([1, 64, 500, 65536])
                        self.log.append(f"recv {size}")
                        await self.attempt(poll, sock.recv, size)
                except (BlockingIOError, BrokenPipeError, ConnectionError):
                    pass

    async def attempt(self, poll, method, *args):
        finished = False
        self.receives += 1

        async def receive():
            nonlocal finished
            try:
                await method(*args)
            except ConnectionError:
                pass
            finished = True

        async with trio.open_nursery() as nursery:
            nursery.start_soon(receive)
            for _ in range(3):
                await trio.lowlevel.checkpoint()
                if finished:
                    return
            await trio.testing.wait_all_tasks_blocked()
            if not finished:
                self.sleeps += 1
                ready = poll.poll(0)
                if ready:
                    # It may have arrived this moment.
                    await trio.testing.wait_all_tasks_blocked()
                    await trio.sleep(0.01)
                    assert finished or not poll.poll(0), (
                        f"asleep while readable: {self.log}"
                    )
            nursery.cancel_scope.cancel()


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize("kind", PAIRS)
def test_fuzz(kind, seed):
    async def main():
        fuzzer = Fuzzer(kind, seed)
        for _ in range(40):
            await fuzzer.connection()
        # Both outcomes have to have been tried, or this shows nothing.
        assert fuzzer.receives > 300
        assert fuzzer.sleeps > 50

    trio.run(main)
