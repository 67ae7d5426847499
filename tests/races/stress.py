"""Many threads at everything that threads may touch, for ThreadSanitizer to watch.

    python tests/races/stress.py [--rounds 3] [--seed 1]

`make races` runs it on a build with that sanitizer. Each round is several runs at a
time, each in a thread of its own and with threads of both kinds that queue jobs,
ask questions, are cancelled, abandoned and outlived. What comes back is counted.
"""

from __future__ import annotations

import argparse
import random
import sys
import threading
import time

import trio_c
import trio_c.testing
from trio_c import from_thread, lowlevel, to_thread
from trio_c._core import _thread_cache


def queue_jobs(token: lowlevel.TrioToken, seen: list[int], rounds: int) -> None:
    """From a foreign thread: ordinary jobs, and idempotent ones."""

    def once() -> None:
        """The same for all."""

    for number in range(rounds):
        try:
            token.run_sync_soon(seen.append, number)
            token.run_sync_soon(once, idempotent=True)
        except trio_c.RunFinishedError:
            return


def ask(token: lowlevel.TrioToken, answers: list[int], rounds: int) -> None:
    """From a foreign thread: both kinds of questions."""

    async def double(number: int) -> int:
        await trio_c.sleep(0)
        return 2 * number

    for number in range(rounds):
        if number % 2:
            answer = from_thread.run_sync(int, 2 * number, trio_token=token)
        else:
            answer = from_thread.run(double, number, trio_token=token)
        assert answer == 2 * number
        answers.append(answer)


async def call_threads(dice: random.Random, done: list[int], rounds: int) -> None:
    """Calls that return at once, take a while, ask back, or are cancelled."""

    def work(seconds: float, asks: int) -> int:
        for _ in range(asks):
            from_thread.run_sync(lowlevel.current_statistics)
            try:
                from_thread.check_cancelled()
            except trio_c.Cancelled:
                return 0
        if seconds:
            time.sleep(seconds)
        return 1

    for _ in range(rounds):
        with trio_c.move_on_after(dice.choice([0, 0.0002, 10])):
            done.append(
                await to_thread.run_sync(
                    work,
                    dice.choice([0, 0, 0.0001, 0.001]),
                    dice.choice([0, 0, 1, 5]),
                    abandon_on_cancel=dice.random() < 0.3,
                )
            )


async def main(dice: random.Random, size: int) -> None:
    token = lowlevel.current_trio_token()
    seen: list[int] = []
    answers: list[int] = []
    done: list[int] = []
    askers = [
        threading.Thread(target=ask, args=(token, answers, size)) for _ in range(2)
    ]
    queuers = [
        threading.Thread(target=queue_jobs, args=(token, seen, 4 * size))
        for _ in range(2)
    ]
    async with trio_c.open_nursery() as nursery:
        for thread in [*askers, *queuers]:
            thread.start()
        for _ in range(4):
            nursery.start_soon(call_threads, random.Random(dice.random()), done, size)
        for thread in [*askers, *queuers]:
            nursery.start_soon(to_thread.run_sync, thread.join)
    await trio_c.testing.wait_all_tasks_blocked()
    assert len(answers) == 2 * size, len(answers)
    assert len(seen) == 2 * 4 * size, len(seen)
    # Those go on when the run is over, and find that it is.
    for _ in range(2):
        threading.Thread(target=queue_jobs, args=(token, [], 50)).start()
        lowlevel.start_thread_soon(
            lambda: time.sleep(0.001),
            lambda outcome: queue_jobs(token, [], 50),
        )


def one_round(seed: int, runs: int, size: int) -> None:
    failed: list[BaseException] = []

    def run(number: int) -> None:
        try:
            trio_c.run(main, random.Random(f"{seed} {number}"), size)
        except BaseException as exc:
            failed.append(exc)

    # Some workers give up waiting just when they get a job.
    _thread_cache.IDLE_TIMEOUT = random.Random(seed).choice([0, 0.0005, 0.002, 10])
    threads = [threading.Thread(target=run, args=[number]) for number in range(runs)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    if failed:
        raise failed[0]


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--rounds", type=int, default=6)
    parser.add_argument("--runs", type=int, default=4, help="at a time")
    parser.add_argument("--size", type=int, default=40)
    parser.add_argument("--seed", type=int, default=1)
    options = parser.parse_args()
    # The threads take turns more often than a program's would.
    sys.setswitchinterval(1e-4)
    for seed in range(options.seed, options.seed + options.rounds):
        one_round(seed, options.runs, options.size)
    # Those that are left end, or the interpreter would without them.
    _thread_cache.IDLE_TIMEOUT = 0
    print(f"{options.rounds} passed, 0 failed")
