"""A busy loop lets threads have the interpreter."""

from __future__ import annotations

import contextlib
import socket
import statistics
import sys
import threading
import time

from trio_c import from_thread, lowlevel, open_nursery, to_thread
from trio_c.testing import trio_test


@contextlib.asynccontextmanager
async def waits_that_come_back_at_once():
    """A busy loop that gives the GIL up in each pass, for next to no time.

    Ends itself after too many passes; the list has one item for each.
    """
    passes = []
    stop = False

    async def spin():
        while not stop and len(passes) < 20000:
            await lowlevel.wait_readable(b)
            passes.append(sum(range(2000)))

    a, b = socket.socketpair()
    with a, b:
        a.send(b"x")
        async with open_nursery() as nursery:
            nursery.start_soon(spin)
            yield passes
            stop = True


@trio_test
async def test_requests_beside_waits_that_come_back_at_once():
    def work():
        return [from_thread.run_sync(int) for _ in range(100)]

    async with waits_that_come_back_at_once() as passes:
        assert await to_thread.run_sync(work) == [0] * 100
        for _ in range(100):
            assert await to_thread.run_sync(int) == 0
    assert len(passes) < 10000


@trio_test
async def test_other_threads_beside_waits_that_come_back_at_once():
    done = []

    def work():
        for _ in range(30):
            time.sleep(1e-4)
        done.append(len(passes))

    async with waits_that_come_back_at_once() as passes:
        thread = threading.Thread(target=work)
        thread.start()
        await to_thread.run_sync(thread.join)
    assert done[0] < 10000


@trio_test
async def test_other_threads_beside_a_spinner():
    """Without an offer they wait for the interpreter's switch."""
    passes = 0
    waits = []

    async def spin():
        nonlocal passes
        while thread.is_alive():
            passes += 1
            await lowlevel.checkpoint()

    def work():
        for _ in range(100):
            before = passes
            start = time.perf_counter()
            time.sleep(1e-4)  # lets go of the lock, and wants it back
            if passes > before:
                waits.append(time.perf_counter() - start)

    # Far longer than a busy machine keeps a thread from a processor.
    interval = sys.getswitchinterval()
    sys.setswitchinterval(0.2)
    try:
        thread = threading.Thread(target=work)
        async with open_nursery() as nursery:
            thread.start()
            nursery.start_soon(spin)
    finally:
        sys.setswitchinterval(interval)
    assert len(waits) > 10
    assert statistics.median(waits) < 0.2 / 4
