"""Ctrl-C at every single place of some programs.

A trace function raises SIGINT at the n-th place of the code in `programs.py`
where the interpreter looks for signals: at the beginning of a function, after a
call, when a loop goes round. For every n; then two at once. What each program
then does is written out, one JSON line per case, for `run.py` to compare with
what it does on the real Trio, where the same places are struck:

    interrupt_points.py LIBRARY [--step N] [--seed N] [PROGRAM...]

Another pass strikes wherever a native function returns, those that the library's
own Python calls among them. There both libraries have points of their own;
what is checked is that no protected code is struck, that Ctrl-C is not lost,
and that all is well afterwards.
"""

from __future__ import annotations

import argparse
import dis
import gc
import importlib
import json
import queue
import random
import signal
import sys
import warnings

import programs
from programs import describe

# Callbacks of the library into Python that is neither ours nor its own.
TRACED = programs.__file__

# In between, a signal has to wait: between the end of a `with` block and its
# __exit__(), say. To strike there would break any library.
LOOKS_AFTERWARDS = {
    dis.opmap[name]
    for name in ("CALL", "CALL_KW", "CALL_FUNCTION_EX", "JUMP_BACKWARD")
    if name in dis.opmap
}
# RESUME is here when a function begins, not when it goes on.
FIRST_INSTRUCTIONS = 8

# Some cases hang, on Trio as well.
PATIENCE = 3.0


class HangsError(BaseException):
    """The run does not end."""


def give_up(signum, frame):
    raise HangsError


class Striker:
    """Raises SIGINT when it has been called so often."""

    def __init__(self, *points: int) -> None:
        self.points = set(points)
        self.count = 0

    def strike(self) -> None:
        self.count += 1
        if self.count - 1 in self.points:
            signal.raise_signal(signal.SIGINT)

    # for sys.settrace()
    def trace(self, frame, event, arg):
        if frame.f_code.co_filename != TRACED:
            return None
        if frame.f_lasti <= FIRST_INSTRUCTIONS:
            self.strike()
        frame.f_trace_opcodes = True
        code = frame.f_code.co_code
        looks = False

        def trace_here(frame, event, arg):
            nonlocal looks
            if event == "opcode":
                looked, looks = looks, code[frame.f_lasti] in LOOKS_AFTERWARDS
                if looked:
                    self.strike()
            return trace_here

        return trace_here

    # for sys.setprofile()
    def profile(self, frame, event, arg):
        # Not before a call: see LOOKS_AFTERWARDS.
        if self.on and event == "c_return":
            self.strike()

    on = False


def run_plainly(trio, main, clock):
    return trio.run(main, clock=clock)


def run_observed(trio, main, clock):
    return trio.run(main, clock=clock, instruments=[programs.Observer()])


def run_restricted(trio, main, clock):
    return trio.run(main, clock=clock, restrict_keyboard_interrupt_to_checkpoints=True)


def run_as_guest(trio, main, clock):
    todo: queue.SimpleQueue = queue.SimpleQueue()
    done = []
    trio.lowlevel.start_guest_run(
        main,
        clock=clock,
        run_sync_soon_threadsafe=todo.put,
        done_callback=done.append,
    )
    while not done:
        todo.get(timeout=20)()
    return done[0].unwrap()


MODES = [run_plainly, run_observed, run_restricted, run_as_guest]


def outcome(trio, how, name, set_up, tear_down):
    """How one run ends, and what was seen until then."""
    programs.log.clear()
    unraisable = []
    sys.unraisablehook = lambda u: unraisable.append(describe(u.exc_value))

    async def main():
        return await programs.PROGRAMS[name](trio)

    # In this order: Trio's clock takes its beginning from the random numbers.
    clock = trio._core._run.SystemClock()
    trio._core._run._r.seed(0)
    signal.setitimer(signal.ITIMER_REAL, PATIENCE)
    try:
        try:
            set_up()
            result = how(trio, main, clock=clock)
        finally:
            tear_down()
            signal.setitimer(signal.ITIMER_REAL, 0)
    except BaseException as exc:
        result = describe(exc)
        if "KeyboardInterrupt" not in repr(result) and is_from_ctrl_c(exc):
            result = [result, "from KeyboardInterrupt"]
    programs.generators.left = None
    gc.collect()  # what the result would have kept
    sys.unraisablehook = sys.__unraisablehook__
    return result, list(programs.log), unraisable


def health(trio):
    """What is wrong after a run."""
    wrong = []
    if signal.getsignal(signal.SIGINT) is not signal.default_int_handler:
        wrong.append("SIGINT is not handled as before")
    if (fd := signal.set_wakeup_fd(-1)) != -1:
        wrong.append(f"the descriptor for signals is {fd}")
    if trio.lowlevel.in_trio_run() or trio.lowlevel.in_trio_task():
        wrong.append("still in a run")
    try:
        trio.run(trio.lowlevel.checkpoint)
    except BaseException as exc:
        wrong.append(f"the next run fails: {exc!r}")
    return wrong


def is_from_ctrl_c(exc):
    """Is it a KeyboardInterrupt, or has one led to it?"""
    if exc is None:
        return False
    return (
        isinstance(exc, KeyboardInterrupt)
        or is_from_ctrl_c(exc.__cause__)
        or is_from_ctrl_c(exc.__context__)
        or any(map(is_from_ctrl_c, getattr(exc, "exceptions", ())))
    )


def is_seen(result, log, unraisable):
    """Has somebody got the KeyboardInterrupt?"""
    return "KeyboardInterrupt" in repr((result, log, unraisable)) or (
        "swallowed" in log or "in unprotected" in log
    )


def say(*what):
    print(json.dumps(what, default=repr), flush=True)


def traced(trio, step, seed, names):
    random_points = random.Random(seed)
    for how in MODES:
        for name in names:

            def case(*points, how=how, name=name):
                striker = Striker(*points)
                seen = outcome(
                    trio, how, name, lambda: sys.settrace(striker.trace), untrace
                )
                wrong = health(trio)
                if points and striker.count > min(points) and not is_seen(*seen):
                    wrong.append("Ctrl-C was lost")
                say(how.__name__, name, points, *seen, wrong)
                return striker.count

            n = case()
            for point in range(random_points.randrange(step), n, step):
                case(point)
            for _ in range(n // step // 4):
                first = random_points.randrange(n)
                case(first, first + random_points.randrange(1, 40))


def untrace():
    sys.settrace(None)


def profiled(trio, step, seed, names):
    random_points = random.Random(seed)
    for how in MODES[:1]:
        for name in names:

            def case(*points, how=how, name=name):
                striker = Striker(*points)
                real = programs.PROGRAMS[name]

                async def watched(trio):
                    striker.on = True
                    try:
                        return await real(trio)
                    finally:
                        striker.on = False

                programs.PROGRAMS[name] = watched
                sys.setprofile(striker.profile)
                try:
                    seen = outcome(trio, how, name, lambda: None, unprofile)
                finally:
                    unprofile()
                    programs.PROGRAMS[name] = real
                wrong = health(trio)
                if points and striker.count > min(points) and not is_seen(*seen):
                    wrong.append("Ctrl-C was lost")
                if "STRUCK" in repr(seen) or "TrioInternalError" in repr(seen):
                    wrong.append(seen)
                say(how.__name__, name, points, wrong)
                return striker.count

            n = case()
            for point in range(random_points.randrange(step), n, step):
                case(point)


def unprofile():
    sys.setprofile(None)


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("library")
    parser.add_argument("--profile", action="store_true")
    parser.add_argument("--step", type=int, default=1)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("programs", nargs="*")
    args = parser.parse_args()
    trio = importlib.import_module(args.library)
    importlib.import_module(args.library + "._core._run")
    trio._core._run._ALLOW_DETERMINISTIC_SCHEDULING = True
    signal.signal(signal.SIGINT, signal.default_int_handler)
    signal.signal(signal.SIGALRM, give_up)
    signal.signal(signal.SIGUSR1, lambda signum, frame: None)
    warnings.simplefilter("ignore")
    gc.disable()
    # Once before, for what is imported or made on first use.
    names = args.programs or list(programs.PROGRAMS)
    for how in MODES:
        for name in names:
            outcome(trio, how, name, lambda: None, lambda: None)
    gc.freeze()  # so that collecting takes no time
    (profiled if args.profile else traced)(trio, args.step, args.seed, names)


if __name__ == "__main__":
    main()
