"""Ctrl-C at random moments, from another process and from threads.

    interrupt_storm.py [--seconds N] [--seed N]

Each round runs one of `programs.py`, over and over, until Ctrl-C ends it. It
comes as up to three signals, some microseconds apart: from another process, or
from a thread to a certain thread, so that also those get it in which Python
does not handle signals. A round that does not end has lost it. After each, what
`interrupt_points.health` looks at, and the number of descriptors, are as before.
"""

from __future__ import annotations

import argparse
import collections
import logging
import mmap
import os
import random
import re
import signal
import subprocess
import sys
import tempfile
import threading
import time

import programs
from interrupt_points import MODES, HangsError, give_up, health

import trio_c

PATIENCE = 10.0

# Reads: how many signals, microseconds before each.
SENDER = """
import mmap, os, signal, sys, time
done = mmap.mmap(int(sys.argv[1]), 8)
for line in sys.stdin:
    for pause in map(int, line.split()):
        end = time.perf_counter() + pause * 1e-6
        while time.perf_counter() < end:
            pass
        os.kill(os.getppid(), signal.SIGINT)
    done[:] = (int.from_bytes(done, "little") + 1).to_bytes(8, "little")
"""


class Process:
    """Sends SIGINT to this process from another one."""

    def __init__(self):
        file = tempfile.TemporaryFile()
        file.truncate(8)
        # Looking there can be interrupted and done again.
        self.done, self.rounds = mmap.mmap(file.fileno(), 8), 0
        self.child = subprocess.Popen(
            [sys.executable, "-c", SENDER, str(file.fileno())],
            stdin=subprocess.PIPE,
            pass_fds=[file.fileno()],
            start_new_session=True,
        )
        file.close()

    def send(self, pauses):
        self.rounds += 1
        self.child.stdin.write(b" ".join(b"%d" % p for p in pauses) + b"\n")
        self.child.stdin.flush()

    def wait(self):
        while int.from_bytes(self.done, "little") < self.rounds:
            time.sleep(0.0005)

    def close(self):
        self.child.stdin.close()
        self.child.wait()


class Thread:
    """Sends SIGINT to a thread: to the main one, or to the sender itself."""

    def __init__(self, to_itself):
        self.to_itself = to_itself
        self.thread = None

    def send(self, pauses):
        self.thread = threading.Thread(target=self._run, args=(pauses,))
        self.thread.start()

    def _run(self, pauses):
        to = threading.get_ident() if self.to_itself else threading.main_thread().ident
        for pause in pauses:
            time.sleep(pause * 1e-6)
            signal.pthread_kill(to, signal.SIGINT)

    def wait(self):
        # The signal of another thread may have come before it was started.
        if self.thread is not None and self.thread.ident is not None:
            self.thread.join()

    def close(self):
        pass


def until(done, step):
    """step() until it has come to an end, whatever signals come between."""
    while not done:
        try:
            step()
            done.append(True)
        except KeyboardInterrupt:
            pass


# Ctrl-C that was raised where nothing can be raised: in the callback of a weak
# reference or in __del__(), of which the interpreter tells sys.unraisablehook and
# nobody else; and in an async generator that is closed after it was dropped, of
# which the library tells a logger, as Trio does.
ignored: list[object] = []


def note_ignored(unraisable):
    if issubclass(unraisable.exc_type, KeyboardInterrupt):
        ignored.append(unraisable.object)


class Listener(logging.Handler):
    def emit(self, record):
        if "KeyboardInterrupt" in repr(record.exc_info):
            ignored.append(record)


def one_round(sender, how, name, chance):
    program = programs.PROGRAMS[name]
    ended = []

    async def forever():
        while True:
            await program(trio_c)
            await trio_c.lowlevel.checkpoint()
            programs.log.clear()

    pauses = [chance.randrange(chance.choice([200, 3000, 20000]))]
    for _ in range(chance.randrange(3)):
        pauses.append(chance.randrange(chance.choice([10, 500])))
    programs.log.clear()
    ignored.clear()
    result = "no Ctrl-C"
    # Again and again, for it may strike where nothing can be raised.
    signal.setitimer(signal.ITIMER_REAL, PATIENCE, 0.1)
    try:
        sender.send(pauses)
        result = how(trio_c, forever, clock=None)
    except BaseException as exc:
        result = exc
    until(ended, sender.wait)
    until([], lambda: signal.setitimer(signal.ITIMER_REAL, 0))
    return result


def verdict(result, name):
    """What is wrong with the end of a round, or None."""
    if isinstance(result, HangsError):
        return None if ignored else "does not end: Ctrl-C was lost"
    if "STRUCK" in repr(programs.log):
        return f"protected code was struck: {programs.log}"
    # start() says so, as Trio's, when one signal strikes the task to be started
    # and the next one the waiting task.
    if isinstance(result, trio_c.TrioInternalError) and not re.match(
        "Internal nursery", str(result)
    ):
        return f"crashed: {result!r} from {result.__cause__!r}"
    # Some other exception may have taken its place while it went outwards.
    if not isinstance(result, BaseException):
        return f"ended without it: {result!r}"
    return None


def storm(sender, how, name, chance):
    """A round: the type of its end, and what is wrong with it."""
    results: list = []
    found: list = []
    # A signal that another thread of the process got can be late.
    until([], lambda: results.append(one_round(sender, how, name, chance)))
    result = results.pop()
    kind, wrong = type(result).__name__, verdict(result, name)
    result = None
    programs.generators.left = None
    until([], lambda: found.extend(health(trio_c)))
    problems = [problem for problem in found if "KeyboardI" not in problem]
    return kind, ([wrong] if wrong else []) + problems


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--seconds", type=float, default=20)
    parser.add_argument("--seed", type=int, default=time.time_ns())
    args = parser.parse_args()
    chance = random.Random(args.seed)
    signal.signal(signal.SIGINT, signal.default_int_handler)
    signal.signal(signal.SIGALRM, give_up)
    signal.signal(signal.SIGUSR1, lambda signum, frame: None)
    sys.unraisablehook = note_ignored
    logger = logging.getLogger("trio.async_generator_errors")
    logger.addHandler(Listener())
    logger.propagate = False
    # Caught by somebody who goes on; the rest is about single strikes. And a lock
    # is never released if the strike comes between the call of its __aexit__()
    # and the await: who waits for it behind a shield waits for ever, as on Trio.
    left_out = ("swallowed", "protected", "locks")
    names = [name for name in programs.PROGRAMS if name not in left_out]
    senders = [Process(), Thread(False), Thread(True)]
    counts: collections.Counter = collections.Counter()
    failures = 0
    end = time.monotonic() + args.seconds
    descriptors = None
    while time.monotonic() < end:
        name, how = chance.choice(names), chance.choice(MODES)
        # A guest's host is struck as well, and has no way to pass it on.
        if how.__name__ == "run_as_guest":
            continue
        sender = chance.choice(senders)
        kind, problems = storm(sender, how, name, chance)
        counts[kind] += 1
        if counts.total() % 50 == 0:
            now = len(os.listdir("/proc/self/fd")) if os.path.exists("/proc") else 0
            descriptors = descriptors or now
            # Now and then a strike in the middle of socket.socketpair() loses one.
            if now > descriptors + counts.total() // 100:
                problems.append(f"{now} descriptors, {descriptors} before")
        if problems:
            failures += 1
            print(how.__name__, name, type(sender).__name__, problems, flush=True)
    for sender in senders:
        sender.close()
    print(f"{counts.total()} storms, {dict(counts)}, seed {args.seed}")
    print(f"{counts.total() - failures} passed, {failures} failed")
    sys.exit(failures > 0)


if __name__ == "__main__":
    main()
