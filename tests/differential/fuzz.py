"""Runs programs on Trio and on trio_c, and compares what happens.

    fuzz.py --count 5000             programs 0 to 4999
    fuzz.py --first 70000 --seconds 100
    fuzz.py --program 1234           that one; says what both do if they differ
    fuzz.py --hypothesis 1000        programs that Hypothesis draws and shrinks
    fuzz.py --hypothesis 300 --count 4000      both
    fuzz.py file.json                programs written down

Programs have numbers; the same number is the same program everywhere. The
first difference of each kind is made small and printed, as JSON.
"""

from __future__ import annotations

import argparse
import itertools
import json
import os
import select
import subprocess
import sys
import time
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import operations  # noqa: F401  (declares them)
from language import Program, program_of_seed, programs, smaller
from tracing import VOID, is_void

HERE = Path(__file__).resolve().parent
# A program takes some milliseconds. On a busy machine, many more.
HANGS_AFTER = 60.0
AT_ONCE = 50
ENDS_OF_PROCESSES = b'[["hangs"', b'[["dies"'


class Worker:
    """A process with one of the libraries; a new one whenever it has died."""

    def __init__(self, library: str, environment: dict[str, str]) -> None:
        self.library = library
        self.environment = environment
        self.process: subprocess.Popen[bytes] | None = None
        self.said = b""

    def ask(self, line: bytes) -> None:
        if self.process is None:
            self.said = b""
            self.process = subprocess.Popen(
                [sys.executable, str(HERE / "worker.py"), self.library],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                env={**os.environ, "PYTHONHASHSEED": "0", **self.environment},
            )
        assert self.process.stdin
        try:
            self.process.stdin.write(line)
            self.process.stdin.flush()
        except BrokenPipeError:
            pass  # it says so when it is asked for the answer

    def answer(self, within: float) -> bytes:
        """The trace as JSON, or what became of the process."""
        assert self.process and self.process.stdout
        pipe = self.process.stdout
        deadline = time.monotonic() + within
        while b"\n" not in self.said:
            if not select.select([pipe], [], [], deadline - time.monotonic())[0]:
                self.stop()
                return b'[["hangs"]]'
            data = os.read(pipe.fileno(), 1 << 20)
            if not data:
                return b'[["dies", %d]]' % (self.stop() or 0)
            self.said += data
        line, _, self.said = self.said.partition(b"\n")
        return line

    def stop(self) -> int | None:
        if self.process is None:
            return None
        process, self.process = self.process, None
        if process.poll() is None:
            process.kill()
        process.communicate()
        return process.returncode


class Pair:
    """Both libraries. `preload`: what the sanitizers of a build of trio_c need."""

    def __init__(self, preload: str | None = None) -> None:
        ours = {}
        if preload:
            ours = {
                "LD_PRELOAD": preload,
                "PYTHONMALLOC": "malloc",
                "ASAN_OPTIONS": "detect_leaks=0:allocator_may_return_null=1",
            }
        self.workers = Worker("trio", {}), Worker("trio_c", ours)
        self.count = 0
        self.void = 0

    def answers(self, asked: object, within: float = HANGS_AFTER) -> list[bytes]:
        line = json.dumps(asked).encode() + b"\n"
        for worker in self.workers:
            worker.ask(line)
        return [worker.answer(within) for worker in self.workers]

    def traces(self, program: Program) -> list[bytes]:
        self.count += 1
        return self.answers(program)

    def suspects(self, first: int, last: int) -> list[int]:
        """The numbers, from `first` up to `last`, of programs that may differ."""
        theirs, ours = self.answers([first, last], HANGS_AFTER * 2)
        if theirs == ours and not theirs.startswith(b"[["):
            self.count += last - first
            return []
        pairs = itertools.zip_longest(json.loads(theirs), json.loads(ours))
        if max(len(theirs), len(ours)) < 10 * (last - first):
            return list(range(first, last))  # one of them did not get through
        self.count += last - first
        self.void += theirs.count(VOID.encode())
        return [first + at for at, (a, b) in enumerate(pairs) if a != b and a != VOID]

    def difference(self, program: Program) -> str | None:
        """The first line that differs, in both versions; None if there is none."""
        theirs, ours = self.traces(program)
        if theirs == ours:
            # Some of the unruly ones never end, on either.
            if theirs.startswith(ENDS_OF_PROCESSES) and not program["unruly"]:
                return f"both: {theirs.decode()}"
            return None
        if is_void(program, theirs.decode()) and not ours.startswith(ENDS_OF_PROCESSES):
            return None
        lines = json.loads(theirs), json.loads(ours)
        for before, pair in enumerate(itertools.zip_longest(*lines)):
            # As text, where 1 is neither 1.0 nor True.
            if str(pair[0]) != str(pair[1]):
                context = [f"  both {line}" for line in lines[0][:before][-12:]]
                return "\n".join([*context, f"  trio {pair[0]}", f"trio_c {pair[1]}"])
        raise AssertionError("traces differ nowhere")

    def stop(self) -> None:
        for worker in self.workers:
            worker.stop()


def minimized(pair: Pair, program: Program, seconds: float = 60) -> Program:
    """The smallest program like it that still shows a difference."""
    until = time.monotonic() + seconds
    progress = True
    while progress:
        progress = False
        for candidate in smaller(program):
            if time.monotonic() > until:
                return program
            if pair.difference(candidate) is not None:
                program, progress = candidate, True
                break
    return program


def report(pair: Pair, title: str, program: Program, as_is: bool = False) -> None:
    print(f"\n{title}: different", flush=True)
    small = program if as_is else minimized(pair, program)
    print(f"{json.dumps(small)}\n{pair.difference(small)}", flush=True)


def from_hypothesis(pair: Pair, arguments: argparse.Namespace) -> Program | None:
    """Let Hypothesis draw programs, by the same grammar; the smallest one that it
    finds to differ."""
    import hypothesis

    found: list[Program] = []

    @hypothesis.seed(arguments.first)
    @hypothesis.settings(
        max_examples=arguments.hypothesis,
        deadline=None,
        database=None,
        report_multiple_bugs=False,
        suppress_health_check=list(hypothesis.HealthCheck),
        phases=[hypothesis.Phase.generate, hypothesis.Phase.shrink],
    )
    @hypothesis.given(programs())
    def same(program: Program) -> None:
        if pair.difference(program) is not None:
            found.append(program)
            raise AssertionError("different")

    try:
        same()
    except AssertionError:
        return found[-1]  # what Hypothesis shows last is the smallest
    return None


def numbered(pair: Pair, arguments: argparse.Namespace) -> Iterator[tuple[str, Any]]:
    """Those of them that seem to differ."""
    if arguments.program is not None:
        yield str(arguments.program), program_of_seed(arguments.program)
        return
    until = time.monotonic() + (arguments.seconds or 1e9)
    last = arguments.first + (arguments.count or 1_000_000_000)
    for first in range(arguments.first, last, AT_ONCE):
        if time.monotonic() > until:
            break
        for number in pair.suspects(first, min(first + AT_ONCE, last)):
            yield str(number), program_of_seed(number)


def written(paths: Iterable[Path]) -> Iterator[tuple[str, Program]]:
    for path in paths:
        for number, line in enumerate(path.read_text().splitlines(), 1):
            if line.startswith("{"):
                yield f"{path.name}:{number}", json.loads(line)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("files", nargs="*", type=Path)
    parser.add_argument("--first", type=int, default=0)
    parser.add_argument("--count", type=int)
    parser.add_argument("--seconds", type=float)
    parser.add_argument("--program", type=int)
    parser.add_argument("--hypothesis", type=int)
    parser.add_argument("--most", type=int, default=3, help="differences to report")
    parser.add_argument("--as-is", action="store_true", help="do not make smaller")
    parser.add_argument("--preload", help="for trio_c, built with sanitizers")
    parser.add_argument("--trace", action="store_true", help="print whole traces")
    arguments = parser.parse_args()
    pair = Pair(arguments.preload)
    began = time.monotonic()
    failed = 0
    try:
        if arguments.hypothesis:
            small = from_hypothesis(pair, arguments)
            if small is not None:
                report(pair, "from Hypothesis", small, arguments.as_is)
                failed += 1
            print(f"{pair.count} programs by Hypothesis, {pair.void} void")
        if arguments.files:
            source = written(arguments.files)
        elif arguments.hypothesis and arguments.count is None:
            source = iter(())
        else:
            source = numbered(pair, arguments)
        for title, program in source:
            if arguments.trace:
                for trace in pair.traces(program):
                    print(*json.loads(trace), sep="\n", end="\n\n")
            if pair.difference(program) is not None:
                report(pair, title, program, arguments.as_is)
                failed += 1
                if failed >= arguments.most:
                    break
    finally:
        pair.stop()
    seconds = time.monotonic() - began
    print(
        f"{pair.count} programs in {seconds:.0f} s "
        f"({pair.count / seconds:.0f} a second), "
        f"of which {pair.void} break Trio itself"
    )
    print(f"{pair.count - failed} passed, {failed} failed")
    return failed > 0


if __name__ == "__main__":
    sys.exit(main())
