"""The library taken out of `sys.modules` and imported anew, again and again.

    reimports.py [--count N]

With objects of former copies alive and without; also as the drop-in, under the
name `trio`; and with `importlib.reload`. What belongs to another copy is
refused or works as before; each copy stays in memory, as `csrc/glue/state.h`
says, and how much that is is reported.
"""

from __future__ import annotations

import argparse
import asyncio  # noqa: F401  (once, not with each copy)
import gc
import importlib
import inspect  # noqa: F401
import os
import sys
import threading  # noqa: F401


def forget():
    for name in list(sys.modules):
        if name.partition(".")[0] in ("trio_c", "trio"):
            del sys.modules[name]


async def work(trio):
    send, receive = trio.open_memory_channel(0)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(send.send, 5)
        assert await receive.receive() == 5
    a, b = trio.socket.socketpair()
    with a, b:
        await a.send(b"x")
        assert await b.recv(1) == b"x"
    with trio.move_on_after(0):
        await trio.sleep_forever()


async def threads(trio):
    assert await trio.to_thread.run_sync(trio.from_thread.run_sync, int, "4") == 4


async def strangers(old):
    """Use objects of another copy than the one that runs this."""
    for use in (
        old["event"].wait,
        old["lock"].acquire,
        lambda: old["channel"][0].send(1),
        lambda: old["trio"].sleep(0),
        lambda: old["trio"].lowlevel.checkpoint(),
        old["scope"].__enter__,
        old["trio"].lowlevel.current_task,
        lambda: old["token"].run_sync_soon(print),
    ):
        try:
            result = use()
            if hasattr(result, "__await__"):
                await result
        except (RuntimeError, TypeError):
            pass
        else:
            raise AssertionError(f"{use} works")


async def some_objects(trio):
    return {
        "trio": trio,
        "event": trio.Event(),
        "lock": trio.Lock(),
        "channel": trio.open_memory_channel(0),
        "scope": trio.CancelScope(),
        "token": trio.lowlevel.current_trio_token(),
        "task": trio.lowlevel.current_task(),
    }


def kilobytes():
    with open("/proc/self/status") as status:
        for line in status:
            if line.startswith("VmRSS"):
                return int(line.split()[1])


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--count", type=int, default=50)
    args = parser.parse_args()
    import trio_c

    trio_c.run(work, trio_c)
    before = kilobytes()
    fds = len(os.listdir("/proc/self/fd"))
    kept: list = []
    installed = False
    for n in range(args.count):
        forget()
        trio = importlib.import_module("trio_c")
        if n % 3 == 2:
            # It stays: what is imported anew is found by its first copy.
            if not installed:
                trio.install()
                installed = True
            trio = importlib.import_module("trio")
        if n % 10 == 9:
            # Each copy's idle threads stay for ten seconds.
            trio.run(threads, trio)
        trio.run(work, trio)
        if kept:
            trio.run(strangers, kept[-1])
            old = kept[-1]["trio"]
            old.run(work, old)
        if n % 2:
            kept = [trio.run(some_objects, trio)]
        if n % 5 == 4:
            kept.clear()
            gc.collect()
        if n % 7 == 6:
            trio = importlib.reload(trio)
            trio.run(work, trio)
    grown = (kilobytes() - before) / args.count
    now = len(os.listdir("/proc/self/fd"))
    failed = now > fds
    print(f"{args.count} copies, each keeps {grown:.0f} kB; descriptors {fds} -> {now}")
    print(f"{args.count - failed} passed, {int(failed)} failed")
    sys.exit(failed)


if __name__ == "__main__":
    main()
