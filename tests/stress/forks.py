"""fork() while everything is going on.

    forks.py [--seconds N]

In one process runs in several threads use channels, sockets, jobs in threads
and the entry queue, all the time; each forks now and then, from a task, from a
job in a thread, or from a thread without a run. The child does one of these:

- exits at once,
- starts a run of its own with threads in it (where it is in none),
- goes on with the run that it is in, and uses its timers, sockets and threads,

and has to come to its end. The parent must not notice any of it.
"""

from __future__ import annotations

import argparse
import faulthandler
import os
import random
import signal
import sys
import threading
import time
import traceback
import warnings

import trio_c

PATIENCE = 20
counts = {"exit": 0, "new run": 0, "goes on": 0}
problems: list[str] = []


async def some_of_everything(sockets=True):
    send, receive = trio_c.open_memory_channel(0)
    async with trio_c.open_nursery() as nursery:
        nursery.start_soon(send.send, 5)
        assert await receive.receive() == 5
    if sockets:
        a, b = trio_c.socket.socketpair()
        with a, b:
            async with trio_c.open_nursery() as nursery:
                nursery.start_soon(a.send, b"x")
                assert await b.recv(1) == b"x"
    with trio_c.move_on_after(0.001):
        await trio_c.sleep_forever()
    token = trio_c.lowlevel.current_trio_token()
    event = trio_c.Event()
    token.run_sync_soon(event.set)
    await event.wait()


async def thread():
    def work():
        return trio_c.from_thread.run_sync(int, "4")

    assert await trio_c.to_thread.run_sync(work) == 4


async def everything(sockets=True):
    for _ in range(3):
        await some_of_everything(sockets)
        await thread()


def in_child(action):
    """Never returns."""
    signal.signal(signal.SIGALRM, signal.SIG_DFL)
    signal.alarm(PATIENCE)
    try:
        action()
    except BaseException:
        traceback.print_exc()
        os._exit(1)
    os._exit(0)


def fork_and(what, action):
    if (pid := os.fork()) == 0:
        in_child(action)
    counts[what] += 1
    return pid


def check(what, pid):
    _, status = os.waitpid(pid, 0)
    if status != 0:
        problems.append(f"child that should {what}: status {status:#x}")


def fork_without_a_run(chance):
    if chance.random() < 0.5:
        check("exit", fork_and("exit", lambda: None))
    else:
        check("new run", fork_and("new run", lambda: trio_c.run(everything)))


async def fork_from_a_task(chance):
    if chance.random() < 0.3:
        pid = fork_and("exit", lambda: None)
    elif (pid := os.fork()) == 0:
        # In the child: this task goes on, in a copy of the whole run.
        signal.signal(signal.SIGALRM, signal.SIG_DFL)
        signal.alarm(PATIENCE)
        try:
            await everything()
        except BaseException:
            traceback.print_exc()
            os._exit(1)
        os._exit(0)
    else:
        counts["goes on"] += 1
    await trio_c.to_thread.run_sync(check, "go on", pid)


async def traffic(chance, end):
    async with trio_c.open_nursery() as nursery:

        async def worker():
            # Goes on in children, too: there it would read what is its parent's.
            while time.monotonic() < end:
                await everything(sockets=False)

        async def forker():
            while time.monotonic() < end:
                await trio_c.sleep(chance.random() * 0.05)
                if chance.random() < 0.5:
                    await fork_from_a_task(chance)
                else:
                    await trio_c.to_thread.run_sync(fork_without_a_run, chance)

        for _ in range(3):
            nursery.start_soon(worker)
        nursery.start_soon(forker)


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--seconds", type=float, default=10)
    parser.add_argument("--seed", type=int, default=time.time_ns())
    args = parser.parse_args()
    warnings.simplefilter("ignore")
    faulthandler.dump_traceback_later(args.seconds + 2 * PATIENCE, exit=True)
    # A module that another thread is importing while this one forks can never be
    # imported in the child: what Python says of forking beside threads.
    trio_c.run(everything)
    end = time.monotonic() + args.seconds

    def in_thread(n):
        chance = random.Random(args.seed + n)
        try:
            if n == 0:
                while time.monotonic() < end:
                    fork_without_a_run(chance)
            else:
                trio_c.run(traffic, chance, end)
        except BaseException:
            problems.append(traceback.format_exc())

    threads = [threading.Thread(target=in_thread, args=(n,)) for n in range(1, 4)]
    for t in threads:
        t.start()
    in_thread(0)
    for t in threads:
        t.join()
    for problem in problems[:10]:
        print(problem)
    n = sum(counts.values())
    print(f"{n} forks, {counts}, seed {args.seed}")
    print(f"{n - len(problems)} passed, {len(problems)} failed")
    sys.exit(len(problems) > 0)


if __name__ == "__main__":
    main()
