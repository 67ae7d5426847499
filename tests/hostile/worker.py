"""A process that runs programs: `worker.py [trio_c|trio]`.

It reads programs as lines of JSON, or numbers of programs, and answers each with a
line: what was wrong, which targets were reached, how each step ended. Its standard
input and output lead nowhere, since programs do what they like with them.
"""

from __future__ import annotations

import faulthandler
import gc
import importlib
import json
import logging
import os
import socket as stdlib_socket
import sys
import tempfile
import threading
import time
import traceback
import warnings
from types import ModuleType
from typing import Any

import healthy
from interpreter import Environment, descriptors
from program import Generator, Program
from surface import Surface

HANGS_AFTER = 8.0  # seconds; then it says where, and ends
RESCUE_AFTER = 2.0  # then everything in the run is cancelled
OF_THE_PROCESS = {"ThreadCacheType", "ThreadWorkerType"}


class Worker:
    def __init__(self, trio: ModuleType) -> None:
        self.trio = trio
        self.surface = Surface(trio)
        self.generator = Generator(self.surface)
        self.complaints: list[str] = []
        self.env: Environment | None = None
        self.rescued = 0
        native = getattr(trio, "_native", None)
        self.live = getattr(native, "live_objects", dict)
        sys.unraisablehook = self.unraisable
        threading.excepthook = self.unraisable
        sys.excepthook = lambda *args: None
        threading.Thread(target=self.watch, daemon=True).start()

    def unraisable(self, what: Any) -> None:
        if isinstance(what.exc_value, SystemError):
            self.complaints.append(f"unraisable: {what.exc_value!r}")

    def watch(self) -> None:
        """Gets runs to end that would wait for ever, which is their good right."""
        began, last = time.monotonic(), None
        while True:
            time.sleep(0.5)
            env = self.env
            if env is not last:
                began, last = time.monotonic(), env
            if env is not None and time.monotonic() - began > RESCUE_AFTER:
                self.rescued += 1
                token = env.token
                if token is not None:
                    try:
                        token.run_sync_soon(self.rescue)
                    except self.trio.RunFinishedError:
                        if self.rescued > 8 and not env.ended:
                            self.give_up(env)
                    except BaseException:
                        pass
                del token
            del env

    def give_up(self, env: Environment) -> None:
        """The run's own system task was cancelled: nothing reaches it any more."""
        ANSWERS.write(json.dumps(self.result(env)) + "\n")
        os._exit(0)

    def result(self, env: Environment) -> dict[str, Any]:
        return {
            "complaints": env.complaints,
            "reached": sorted(env.reached),
            "outcomes": env.outcomes,
            "rescued": self.rescued,
        }

    def rescue(self) -> None:
        trio = self.trio
        for obj in gc.get_objects():
            kind = type(obj)
            try:
                if kind is trio.CancelScope:
                    obj.shield = False
                    obj.cancel()
                elif kind is trio.lowlevel.Task and self.rescued > 2:
                    trio.lowlevel.reschedule(obj)
            except BaseException:
                pass

    def program(self, program: Program) -> dict[str, Any]:
        env = Environment(self.trio, self.surface, program)
        self.complaints = env.complaints
        self.rescued = 0
        before = self.state()
        faulthandler.dump_traceback_later(HANGS_AFTER, exit=True, file=STDERR)
        callback = self.collector(program, env)
        self.env = env
        try:
            env.run()
        finally:
            gc.set_threshold(700, 10, 10)
            gc.enable()
            if callback in gc.callbacks:
                gc.callbacks.remove(callback)
        env.close()
        env.ended = True
        self.env = None
        complaint = healthy.wrong(self.trio)
        if complaint:
            env.complaints.append(complaint)
        faulthandler.cancel_dump_traceback_later()
        env.complaints += self.left_behind(before)
        return self.result(env)

    def collector(self, program: Program, env: Environment) -> Any:
        count = [20]

        def callback(phase: str, info: object) -> None:
            if count[0] > 0:
                count[0] -= 1
                env.attempt(lambda: env.react(program["reaction"], None, "collector"))

        match program["collector"]:
            case "eager":
                gc.set_threshold(1)
            case "callback":
                gc.set_threshold(50)
                gc.callbacks.append(callback)
            case "off":
                gc.disable()
        return callback

    def state(self) -> tuple[int, dict[str, int]]:
        for fd in range(3):
            try:
                os.fstat(fd)
            except OSError:
                os.open(os.devnull, os.O_RDWR)
        gc.collect()
        return descriptors(), dict(self.live())

    def left_behind(self, before: tuple[int, dict[str, int]]) -> list[str]:
        for _ in range(50):
            fds, live = self.state()
            more = [
                f"{name}: {before[1].get(name, 0)} -> {n}"
                for name, n in live.items()
                if n > before[1].get(name, 0) and name not in OF_THE_PROCESS
            ]
            if not more and fds <= before[0]:
                return []
            time.sleep(0.01)  # for threads that are about to end
        if fds > before[0]:
            more.append(f"descriptors: {before[0]} -> {fds}")
        return [f"left behind: {more}"]


def no_lookups() -> None:
    """The network's answers are no business of these programs."""
    real = stdlib_socket.getaddrinfo

    def getaddrinfo(host: Any, port: Any, *args: Any, **kwargs: Any) -> Any:
        kwargs.setdefault("flags", 0)
        if len(args) < 4:
            kwargs["flags"] |= stdlib_socket.AI_NUMERICHOST
        return real(host, port, *args, **kwargs)

    stdlib_socket.getaddrinfo = getaddrinfo
    stdlib_socket.getnameinfo = lambda *args: ("nowhere", "0")  # type: ignore[assignment]


def main() -> None:
    global STDERR, ANSWERS
    # Out of reach of the small integers that programs take for descriptors.
    STDERR = os.fdopen(_moved(2), "w", buffering=1)
    answers = ANSWERS = os.fdopen(_moved(1), "w", buffering=1)
    questions = os.fdopen(_moved(0), "r")
    for fd in range(2):  # the last words of an assertion go to the other one
        os.dup2(os.open(os.devnull, os.O_RDWR), fd)
    faulthandler.enable(STDERR)
    logging.disable()
    warnings.simplefilter("ignore")
    os.chdir(tempfile.mkdtemp(prefix="hostile-"))
    no_lookups()
    trio = importlib.import_module(sys.argv[1] if sys.argv[1:] else "trio_c")
    worker = Worker(trio)
    for name in ("OpenSSL.SSL", "trustme", "unittest.mock", "pydoc"):
        importlib.import_module(name)
    # Spares the collector the modules. Not later, or what the library keeps for reuse
    # would never be looked at again.
    gc.collect()
    gc.freeze()
    for _ in range(2):
        assert healthy.wrong(trio) is None, healthy.wrong(trio)
    for line in questions:
        asked = json.loads(line)
        if asked == "targets":
            answers.write(json.dumps(worker.generator.names) + "\n")
            continue
        if isinstance(asked, int):
            asked = worker.generator.program(asked)
            answers.write(json.dumps(asked) + "\n")
        elif isinstance(asked, list):
            asked = worker.generator.directed(*asked)
            answers.write(json.dumps(asked) + "\n")
        try:
            result = worker.program(asked)
        except BaseException:
            traceback.print_exc(file=STDERR)
            os._exit(1)
        answers.write(json.dumps(result) + "\n")
    os._exit(0)


def _moved(fd: int) -> int:
    import fcntl

    return fcntl.fcntl(fd, fcntl.F_DUPFD_CLOEXEC, 100)


if __name__ == "__main__":
    main()
