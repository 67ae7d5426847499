"""Runs in many threads at once, which end and begin all the time.

    runs_in_threads.py [--seconds N] [--threads N]

Each thread runs one run after the other. In each, tasks call into the runs of
the other threads: through their tokens with `from_thread` (from a thread of
theirs), and with `run_sync_soon`. A run may end while others are calling it:
then they get RunFinishedError or Cancelled, at once. Every call that was
answered has been counted once by whoever answered. Some threads end while their
jobs in other threads go on.
"""

from __future__ import annotations

import argparse
import faulthandler
import gc
import os
import random
import sys
import threading
import time

import trio_c

tokens: dict[int, trio_c.lowlevel.TrioToken] = {}
totals = {"runs": 0, "answered": 0, "refused": 0, "soon": 0}
lock = threading.Lock()
problems: list[object] = []


def count(what, n=1):
    with lock:
        totals[what] += n


class Run:
    """One run of one thread."""

    def __init__(self, n, seed):
        self.n = n
        self.chance = random.Random(seed)
        self.asked = 0

    def answer(self, value):
        # In the run that is asked: one thread, so no lock.
        return value + 1

    async def answer_later(self, value):
        await trio_c.lowlevel.checkpoint()
        return value + 1

    def ask(self, other, value):
        token = tokens.get(other)
        if token is None:
            return
        try:
            if value % 2:
                got = trio_c.from_thread.run_sync(self.answer, value, trio_token=token)
            else:
                got = trio_c.from_thread.run(self.answer_later, value, trio_token=token)
        except (trio_c.RunFinishedError, trio_c.Cancelled):
            count("refused")
        else:
            count("answered")
            if got != value + 1:
                problems.append((self.n, other, value, got))

    async def asking(self, n_threads):
        for _ in range(self.chance.randrange(1, 6)):
            other = self.chance.randrange(n_threads)
            if other != self.n:
                await trio_c.to_thread.run_sync(
                    self.ask, other, self.chance.randrange(1000)
                )

    async def hurrying(self, n_threads):
        for _ in range(20):
            token = tokens.get(self.chance.randrange(n_threads))
            if token is not None:
                try:
                    token.run_sync_soon(count, "soon", idempotent=True)
                except trio_c.RunFinishedError:
                    count("refused")
            await trio_c.lowlevel.checkpoint()

    async def main(self, n_threads):
        tokens[self.n] = trio_c.lowlevel.current_trio_token()
        with trio_c.move_on_after(60) as scope:
            async with trio_c.open_nursery() as nursery:
                for _ in range(3):
                    nursery.start_soon(self.asking, n_threads)
                nursery.start_soon(self.hurrying, n_threads)
            # Left behind: it reports to a run that is over.
            with trio_c.move_on_after(0.001):
                await trio_c.to_thread.run_sync(
                    time.sleep, self.chance.random() * 0.01, abandon_on_cancel=True
                )
        if scope.cancelled_caught:
            problems.append((self.n, "took longer than a minute"))


def descriptors():
    return len(os.listdir("/proc/self/fd")) if os.path.isdir("/proc/self/fd") else 0


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--seconds", type=float, default=10)
    parser.add_argument("--threads", type=int, default=64)
    parser.add_argument("--seed", type=int, default=time.time_ns())
    args = parser.parse_args()
    faulthandler.dump_traceback_later(args.seconds + 120, exit=True)
    trio_c.run(trio_c.to_thread.run_sync, int)
    before = descriptors()
    end = time.monotonic() + args.seconds

    def in_thread(n, generation=0):
        try:
            for k in range(5):
                if time.monotonic() > end:
                    return
                trio_c.run(
                    Run(n, args.seed + 1000 * generation + 10 * n + k).main,
                    args.threads,
                )
                count("runs")
        except BaseException as exc:
            problems.append((n, repr(exc)))
            return
        # This thread ends; the next one goes on in its place.
        successor = threading.Thread(target=in_thread, args=(n, generation + 1))
        threads.append(successor)
        successor.start()

    threads = [
        threading.Thread(target=in_thread, args=(n,)) for n in range(args.threads)
    ]
    for thread in list(threads):
        thread.start()
    while threads:
        threads.pop(0).join()
    tokens.clear()
    time.sleep(0.05)
    gc.collect()
    if descriptors() > before:
        problems.append(f"{descriptors()} descriptors, {before} before")
    for problem in problems[:10]:
        print(problem)
    print(f"{totals}, seed {args.seed}")
    print(f"{totals['runs']} passed, {len(problems)} failed")
    sys.exit(bool(problems))


if __name__ == "__main__":
    main()
