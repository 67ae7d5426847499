"""Pairs of sockets, and looking at what is remembered of them."""

from __future__ import annotations

import contextlib
import functools
import os
import select
import socket as stdlib
import struct

import trio_c as trio
import trio_c.socket as tsocket
import trio_c.testing

# What the runs of these tests wait with.
POLLER = os.environ.get("TRIO_C_POLL") or trio._native.BACKEND

# Without an edge-triggered mode there is nothing to remember; everything else
# must work all the same.
EDGE = POLLER in ("epoll", "kqueue")

# Only epoll tells of urgent data, which ends a read early.
BELIEVES_SHORT_READS = POLLER == "epoll"

# What a socket is registered for.
READ, WRITE = 1, 2


def n_waiting():
    """How many tasks wait for descriptors, the run's own among them."""
    statistics = trio.lowlevel.current_statistics().io_statistics
    if trio._native.BACKEND == "kqueue":
        return statistics.tasks_waiting
    return statistics.tasks_waiting_read + statistics.tasks_waiting_write


def in_run(fn):
    @functools.wraps(fn)
    def test(*args, **kwargs):
        async def main():
            with trio.fail_after(30):
                await fn(*args, **kwargs)

        trio.run(main)

    return test


async def tcp_pair(family=tsocket.AF_INET):
    """A standard blocking socket, and an owned one that it is connected to."""
    with tsocket.socket(family) as listener:
        host = "127.0.0.1" if family == tsocket.AF_INET else "::1"
        await listener.bind((host, 0))
        listener.listen()
        peer = stdlib.create_connection(listener.getsockname()[:2])
        peer.setsockopt(stdlib.IPPROTO_TCP, stdlib.TCP_NODELAY, 1)
        # Fixed, or they would grow, and sends that are to block would not.
        peer.setsockopt(stdlib.SOL_SOCKET, stdlib.SO_RCVBUF, 65536)
        sock, _ = await listener.accept()
    sock.setsockopt(tsocket.SOL_SOCKET, tsocket.SO_SNDBUF, 65536)
    return peer, sock


async def unix_pair(type_=stdlib.SOCK_STREAM):
    left, right = tsocket.socketpair(tsocket.AF_UNIX, type_)
    peer = stdlib.socket(fileno=left.detach())
    peer.setblocking(True)
    return peer, right


async def udp_pair():
    sock = tsocket.socket(type=tsocket.SOCK_DGRAM)
    await sock.bind(("127.0.0.1", 0))
    peer = stdlib.socket(type=stdlib.SOCK_DGRAM)
    peer.bind(("127.0.0.1", 0))
    peer.connect(sock.getsockname())
    await sock.connect(peer.getsockname())
    return peer, sock


PAIRS = {"tcp": tcp_pair, "unix": unix_pair, "udp": udp_pair}


def settle(sock, events=None):
    """Until the kernel shows what was done at the other end: that there is
    something to read, or other `events` of poll()."""
    if events is None:
        assert select.select([sock.fileno()], [], [], 10)[0], "nothing arrived"
        return
    poll = select.poll()
    poll.register(sock.fileno(), events)
    deadline = 10_000
    while not any(got & events for _, got in poll.poll(deadline)):
        raise AssertionError("nothing arrived")


async def harvest(sock):
    """Until the run loop has seen an event that says "readable"."""
    while EDGE and not sock._memory[1]:
        await trio.sleep(0.001)


async def prime(peer, sock):
    """One round with a wait, so that the socket is registered."""
    async with trio.open_nursery() as nursery:

        @nursery.start_soon
        async def receive():
            assert await sock.recv(100) == b"0"

        await trio.testing.wait_all_tasks_blocked()
        assert not sock._memory[1]
        peer.send(b"0")
    assert registered(sock) == EDGE


def registered(sock):
    return bool(sock._memory[0])


def believes(sock):
    return sock._memory[3]


async def drain(peer, n):
    """Let the peer receive n bytes while the run goes on."""
    peer.setblocking(False)
    while n:
        try:
            n -= len(peer.recv(min(n, 65536)))
        except BlockingIOError:
            await trio.sleep(0.001)
    peer.setblocking(True)


async def tcp_listener(family=tsocket.AF_INET):
    listener = tsocket.socket(family)
    await listener.bind(("127.0.0.1" if family == tsocket.AF_INET else "::1", 0))
    listener.listen()
    return listener


async def connected():
    """Two owned sockets that are connected to each other."""
    with await tcp_listener() as listener:
        client = tsocket.socket()
        await client.connect(listener.getsockname())
        server, _ = await listener.accept()
    return client, server


def reset(sock):
    """Let the peer see a reset instead of an end."""
    at_once = struct.pack("ii" if os.name == "posix" else "HH", 1, 0)
    sock.setsockopt(tsocket.SOL_SOCKET, tsocket.SO_LINGER, at_once)
    sock.close()


@contextlib.contextmanager
def counts(cancel, schedule):
    """The body passes so many cancel points and schedule points."""
    task = trio.lowlevel.current_task()
    before = task._cancel_points, task._schedule_points
    yield
    after = task._cancel_points, task._schedule_points
    assert (after[0] - before[0], after[1] - before[1]) == (cancel, schedule)
