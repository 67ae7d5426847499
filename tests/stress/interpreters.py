"""Interpreters that import the library, use it, and end.

    interpreters.py [--count N] [--isolated]

One after the other, then several at once in threads. Each runs a program with
channels, sockets and threads. What the interpreter itself leaves behind is
measured beside: the same, without the library, for a few.
"""

from __future__ import annotations

import argparse
import os
import sys
import threading

try:
    import _interpreters
except ImportError:
    import _xxsubinterpreters as _interpreters

    def create(isolated):
        return _interpreters.create(isolated=isolated)

    execute = _interpreters.run_string
else:

    def create(isolated):
        return _interpreters.create("isolated" if isolated else "legacy")

    def execute(interpreter, code):
        problem = _interpreters.exec(interpreter, code)
        if problem is not None:
            raise RuntimeError(problem.formatted)


WORK = """
import trio_c

async def double(x):
    await trio_c.sleep(0.0001)
    return 2 * x

async def main():
    send, receive = trio_c.open_memory_channel(0)
    async with trio_c.open_nursery() as nursery:
        nursery.start_soon(send.send, 5)
        assert await receive.receive() == 5
    a, b = trio_c.socket.socketpair()
    with a, b:
        await a.send(b"x")
        assert await b.recv(1) == b"x"
    def thread():
        return trio_c.from_thread.run(double, trio_c.from_thread.run_sync(int, "3"))
    assert await trio_c.to_thread.run_sync(thread) == 6
    with trio_c.move_on_after(0.0001):
        await trio_c.sleep_forever()

trio_c.run(main)
"""
# What the program above imports of the standard library.
WITHOUT = """
import collections.abc, contextlib, contextvars, enum, errno, functools, inspect
import math, select, signal, socket, threading, types, weakref
a, b = socket.socketpair()
a.close(); b.close()
t = threading.Thread(target=int); t.start(); t.join()
"""


def one(isolated, code):
    interpreter = create(isolated)
    try:
        execute(interpreter, code)
    finally:
        _interpreters.destroy(interpreter)


def kilobytes():
    with open("/proc/self/status") as status:
        for line in status:
            if line.startswith("VmRSS"):
                return int(line.split()[1])


def descriptors():
    return len(os.listdir("/proc/self/fd"))


def growth(isolated, code, n):
    one(isolated, code)
    before = kilobytes()
    for _ in range(n):
        one(isolated, code)
    return (kilobytes() - before) / n


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--count", type=int, default=20)
    parser.add_argument("--isolated", action="store_true")
    parser.add_argument("--threads", type=int, default=4)
    args = parser.parse_args()
    isolated = args.isolated
    few = min(args.count, 20)
    fds = descriptors()
    without = growth(isolated, WITHOUT, few)
    with_ = growth(isolated, WORK, args.count)
    problems = []

    def in_thread():
        try:
            for _ in range(max(args.count // args.threads, 1)):
                one(isolated, WORK)
        except BaseException as exc:
            problems.append(repr(exc))

    threads = [threading.Thread(target=in_thread) for _ in range(args.threads)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    if descriptors() > fds:
        problems.append(f"{descriptors()} descriptors, {fds} before")
    for problem in problems:
        print(problem)
    n = args.count + args.threads * max(args.count // args.threads, 1)
    kind = "isolated" if isolated else "sharing the GIL"
    print(
        f"{n} interpreters, {kind}: each leaves {with_:.0f} kB behind; "
        f"without the library {without:.0f} kB"
    )
    print(f"{n - len(problems)} passed, {len(problems)} failed")
    sys.exit(bool(problems))


if __name__ == "__main__":
    main()
