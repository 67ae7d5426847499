"""Runs programs that misuse trio_c, in child processes, and says what went wrong.

    fuzz.py                      as many as give every target three turns
    fuzz.py --first 7000 --count 100000
    fuzz.py --seconds 3600
    fuzz.py --program 1234       that one; prints it
    fuzz.py found.json           programs written down, one a line

What counts as wrong: the process dies or hangs; a SystemError; native objects or
descriptors that stay behind; a healthy program, in the same process, that fails
afterwards. Such a program is made smaller and printed, with the last words of the
process. A public name that no program has reached is a failure as well.
"""

from __future__ import annotations

import argparse
import collections
import json
import os
import select
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from program import Program, smaller

HERE = Path(__file__).resolve().parent
HANGS_AFTER = 30.0
PER_PROCESS = 300  # programs; what one leaves in the process, others may meet


class Worker:
    """A process that runs programs; a new one after it has died."""

    def __init__(self, library: str) -> None:
        self.library = library
        self.process: subprocess.Popen[bytes] | None = None
        self.said = b""
        self.words = tempfile.TemporaryFile()
        self.count = 0

    def start(self) -> None:
        self.said, self.count = b"", 0
        self.words.seek(0)
        self.words.truncate()
        self.process = subprocess.Popen(
            [sys.executable, str(HERE / "worker.py"), self.library],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self.words,
            env={**os.environ, "PYTHONHASHSEED": "0"},
        )

    def ask(self, question: object) -> None:
        if self.process is None or self.count >= PER_PROCESS:
            self.stop()
            self.start()
        self.count += 1
        assert self.process and self.process.stdin
        try:
            self.process.stdin.write(json.dumps(question).encode() + b"\n")
            self.process.stdin.flush()
        except BrokenPipeError:
            pass

    def answer(self) -> Any:
        """An answer, or None if there is none, and then no process."""
        assert self.process and self.process.stdout
        pipe, until = self.process.stdout, time.monotonic() + HANGS_AFTER
        while b"\n" not in self.said:
            left = max(0, until - time.monotonic())
            data = b""
            if select.select([pipe], [], [], left)[0]:
                data = os.read(pipe.fileno(), 1 << 20)
            if not data:
                return None
            self.said += data
        line, _, self.said = self.said.partition(b"\n")
        return json.loads(line)

    def run(self, program: Program) -> dict[str, Any]:
        self.ask(program)
        return self._result()

    def made_up(self, number: int | list[Any]) -> tuple[Program | None, dict[str, Any]]:
        self.ask(number)
        program = self.answer()
        return program, self._result()

    def _result(self) -> dict[str, Any]:
        result = self.answer() if self.process else None
        if result is None:
            status = self.stop()
            self.words.seek(0)
            words = self.words.read().decode(errors="replace")
            result = {
                "complaints": [f"the process ended: {status}\n{words[-6000:]}"],
                "reached": [],
                "outcomes": [],
                "rescued": 0,
            }
        elif result["complaints"] or result["rescued"]:
            self.stop()  # who knows what state it is in
        return result

    def targets(self) -> list[str]:
        self.ask("targets")
        return self.answer() or []

    def stop(self) -> int | None:
        if self.process is None:
            return None
        process, self.process = self.process, None
        if process.stdin:
            process.stdin.close()
        try:
            process.wait(1)
        except subprocess.TimeoutExpired:
            process.kill()
        process.wait()
        if process.stdout:
            process.stdout.close()
        return process.returncode


def summary(result: dict[str, Any]) -> str:
    """What a complaint is about, so that one is not taken for another."""
    text = str(result["complaints"][0])
    for mark in ("ERROR: AddressSanitizer", "runtime error", "Assertion", "left"):
        if mark in text:
            return mark
    return text.partition("\n")[0][:40]


def minimized(worker: Worker, program: Program, seconds: float) -> Program:
    until = time.monotonic() + seconds
    result = worker.run(program)
    about = summary(result) if result["complaints"] else None
    progress = about is not None and "Timeout (" not in result["complaints"][0]
    while progress:
        progress = False
        for candidate in smaller(program):
            if time.monotonic() > until:
                return program
            result = worker.run(candidate)
            if result["complaints"] and summary(result) == about:
                program, progress = candidate, True
                break
    return program


def report(worker: Worker, title: str, program: Program | None, result: Any) -> bool:
    """Is it a failure?

    A process that is left by hundreds of such programs may keep an object of one for
    a while longer; if the program does not do it alone, that is no more than a note.
    """
    print(f"\n{title}:", *result["complaints"], sep="\n", flush=True)
    if program is not None:
        worker.stop()
        small = minimized(worker, program, arguments.smaller)
        again = worker.run(small)["complaints"]
        if not again and summary(result) == "left":
            print("alone, it leaves nothing behind", flush=True)
            return False
        what = "made smaller" if again else "alone, it does nothing wrong"
        print(f"{what}:\n{json.dumps(small)}", *again, sep="\n", flush=True)
    return True


def asked_for(worker: Worker) -> Iterator[tuple[str, Program | None, Any]]:
    if arguments.program is not None:
        program, result = worker.made_up(arguments.program)
        print(json.dumps(program, indent=1))
        yield f"program {arguments.program}", program, result
        return
    for path in arguments.files:
        for at, line in enumerate(path.read_text().splitlines(), 1):
            if line.startswith("{"):
                program = json.loads(line)
                yield f"{path.name}:{at}", program, worker.run(program)
    if arguments.files:
        return
    until = time.monotonic() + (arguments.seconds or 1e9)
    # Six targets have their turn in each.
    count = arguments.count or (
        10**9 if arguments.seconds else len(worker.targets()) // 2
    )
    for number in range(arguments.first, arguments.first + count):
        if time.monotonic() > until:
            break
        yield f"program {number}", *worker.made_up(number)


def main() -> int:
    worker = Worker(arguments.library)
    targets = worker.targets()
    assert targets, worker.stop()
    reached: collections.Counter[str] = collections.Counter()
    outcomes: collections.Counter[str] = collections.Counter()
    count = failed = rescued = 0
    began = time.monotonic()
    for title, program, result in asked_for(worker):
        count += 1
        reached.update(result["reached"])
        outcomes.update(result["outcomes"])
        rescued += bool(result["rescued"])
        if result["complaints"]:
            failed += report(worker, title, program, result)
            if failed >= arguments.most:
                break
    whole = not arguments.files and arguments.program is None
    if whole and not failed and count * 6 >= len(targets):
        for attempt in range(9):
            for name in targets:
                if name not in reached:
                    program, result = worker.made_up([name, attempt])
                    reached.update(result["reached"])
                    if result["complaints"]:
                        title = f"{name}, {attempt}"
                        failed += report(worker, title, program, result)
    missing = [name for name in targets if name not in reached]
    if whole and not failed and count * 6 >= len(targets):
        for name in missing:
            print(f"never reached: {name}")
        failed += len(missing)
    worker.stop()
    if arguments.verbose:
        print(*outcomes.most_common(60), sep="\n")
    print(
        f"{count} programs in {time.monotonic() - began:.0f} s; "
        f"{len(targets) - len(missing)} of {len(targets)} targets reached; "
        f"{sum(outcomes.values())} operations, {outcomes['ok']} without an error; "
        f"{rescued} waited for ever"
    )
    print(f"{max(0, count - failed)} passed, {failed} failed")
    return failed > 0


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("files", nargs="*", type=Path)
    parser.add_argument("--first", type=int, default=0)
    parser.add_argument("--count", type=int)
    parser.add_argument("--seconds", type=float)
    parser.add_argument("--program", type=int)
    parser.add_argument("--library", default="trio_c")
    parser.add_argument("--most", type=int, default=3, help="failures to report")
    parser.add_argument("--smaller", type=float, default=60, help="seconds")
    parser.add_argument("--verbose", action="store_true")
    arguments = parser.parse_args()
    sys.exit(main())
