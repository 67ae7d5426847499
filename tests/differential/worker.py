"""A process that runs programs on one library: `worker.py trio|trio_c`.

It reads its standard input by lines of JSON. To a program it answers by a line
with its trace; to a pair of numbers by short digests of the traces of the
programs from the one up to the other, which spares most of the talking.

Real Trio and trio_c live in processes of their own, so that neither finds the
other's hooks or modules, and so that a crash or a hang of either is a
difference like others.
"""

from __future__ import annotations

import faulthandler
import gc
import hashlib
import importlib
import json
import sys
from typing import Any

import interpreter
from language import program_of_seed
from tracing import VOID, is_void


def forget_contexts_of_cancellers(trio: Any) -> None:
    """CS-10: a Cancelled does not show what the canceller was handling.

    Trio makes it inside the call of cancel(), so that it picks that up as its
    `__context__` (python-trio/trio#2649). trio_c decided against that, and
    docs/differences.md says so. Here Trio is made to do the same; that way
    every `__context__` is still compared.
    """
    run = trio._core._run
    capture = run.capture

    def capture_without_context(function: Any, *args: Any) -> Any:
        outcome = capture(function, *args)
        if isinstance(getattr(outcome, "error", None), trio.Cancelled):
            outcome.error.__context__ = None
        return outcome

    run.capture = capture_without_context


def digest(trio: Any, number: int) -> str:
    program = program_of_seed(number)
    trace = json.dumps(interpreter.run(trio, program))
    if trio.__name__ == "trio" and is_void(program, trace):
        return VOID
    return hashlib.blake2b(trace.encode(), digest_size=8).hexdigest()


def main() -> None:
    faulthandler.enable()
    name = sys.argv[1]
    trio = importlib.import_module(name)
    importlib.import_module(f"{name}.testing")
    if name == "trio":
        forget_contexts_of_cancellers(trio)
    gc.collect()
    gc.freeze()
    gc.disable()
    for line in sys.stdin:
        asked = json.loads(line)
        if isinstance(asked, dict):
            answer: object = interpreter.run(trio, asked)
        else:
            answer = [digest(trio, number) for number in range(*asked)]
        print(json.dumps(answer), flush=True)


if __name__ == "__main__":
    main()
