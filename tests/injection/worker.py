"""Goes through one scenario with failures injected, in a process of its own.

    worker.py LIBRARY SCENARIO      with inject.so preloaded and importable

Each line of the input is `[name, first, count, error]`: of the calls of `name`,
so many from the first on fail. Each line of the output says what came of it.
"""

from __future__ import annotations

import contextlib
import errno
import faulthandler
import gc
import importlib
import json
import logging
import os
import select
import sys
import threading
import time
import types
import warnings
from pathlib import Path

import inject

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

# The runner reads this and nothing else; scenarios may write what they like.
REPORT = os.fdopen(os.dup(1), "w")
os.dup2(2, 1)

# Idle worker threads belong to the process.
OF_THE_PROCESS = {"ThreadCacheType", "ThreadWorkerType"}
SOON = 20.0


def prepare(library: str) -> None:
    faulthandler.enable()
    # Processes that a scenario starts have nothing to do with it.
    os.environ.pop("LD_PRELOAD", None)
    os.environ.pop("PYTHONMALLOC", None)
    warnings.simplefilter("ignore")
    logging.getLogger("trio").addHandler(logging.NullHandler())
    logging.getLogger("trio").propagate = False
    logging.raiseExceptions = False
    if library == "trio_c":
        import trio_c

        if trio_c._native.BACKEND == "kqueue" and not hasattr(select, "kqueue"):
            sys.path.append(str(Path(__file__).parents[1] / "kqueue"))
            importlib.import_module("select_glue")
        trio_c.install()


# --- what is there before and after ----------------------------------------


def live_objects() -> dict[str, int]:
    native = sys.modules.get("trio_c._native")
    counts = getattr(native, "live_objects", dict)()
    return {name: n for name, n in counts.items() if name not in OF_THE_PROCESS}


def descriptors() -> dict[str, str]:
    """The open ones, and what they are."""
    found = {}
    for name in os.listdir("/proc/self/fd"):
        with contextlib.suppress(OSError):  # that of the listing itself
            found[name] = os.readlink(f"/proc/self/fd/{name}")
    return found


def threads() -> int:
    return len(os.listdir("/proc/self/task"))


class State:
    def __init__(self) -> None:
        self.descriptors = descriptors()
        self.objects = live_objects()

    def more_since(self, before: State) -> Iterator[str]:
        if len(self.descriptors) > len(before.descriptors):
            new = self.descriptors.keys() - before.descriptors.keys()
            yield f"descriptors {sorted(self.descriptors[name] for name in new)}"
        for name, n in self.objects.items():
            if n > before.objects.get(name, 0):
                yield f"{name} {before.objects.get(name, 0)} -> {n}"


def what_is_left(before: State) -> tuple[list[str], bool]:
    """What there is more than before, once other threads are done, too; and
    whether objects of the interpreter keep it."""
    for wait in (0, 0, 0.01, 0.1, 0.3):
        time.sleep(wait)
        gc.collect()
        more = list(State().more_since(before))
        if not more:
            return [], False
    if any("descriptors" in each for each in more):
        return more, False
    return more, are_kept_by_others()


def are_kept_by_others() -> bool:
    """Whether each reference to each native object is that of an object which
    the collector knows, so that what is too much is a reference to another one:
    an exception, say, whose group could not be split."""
    things = gc.get_objects()
    known: dict[int, int] = {}
    for thing in things:
        for other in gc.get_referents(thing):
            known[id(other)] = known.get(id(other), 0) + 1
    kept = False
    for i in range(len(things)):
        if type(things[i]).__module__.split(".")[0] in ("trio", "trio_c"):
            # One is that of the list, one that of the call.
            extra = sys.getrefcount(things[i]) - 2 - known.get(id(things[i]), 0)
            if extra > 0 and type(things[i]).__name__ in NATIVE:
                return False
        elif isinstance(things[i], (BaseException, types.TracebackType, list)):
            kept |= sys.getrefcount(things[i]) - 2 > known.get(id(things[i]), 0)
    return kept


NATIVE = {"Runner", "Task", "Nursery", "CancelScope", "NurseryManager", "EntryQueue"}


# --- what came of it --------------------------------------------------------


def chain(exc: BaseException | None) -> Iterator[BaseException]:
    """An exception and all that led to it."""
    todo, seen = [exc], set()
    while todo:
        exc = todo.pop()
        if exc is None or id(exc) in seen:
            continue
        seen.add(id(exc))
        yield exc
        todo += [exc.__cause__, exc.__context__]
        if isinstance(exc, BaseExceptionGroup):
            todo += exc.exceptions


def leaves(exc: BaseException) -> Iterator[BaseException]:
    if isinstance(exc, BaseExceptionGroup):
        for each in exc.exceptions:
            yield from leaves(each)
    else:
        yield exc


def name_of(exc: BaseException) -> str:
    if isinstance(exc, OSError) and exc.errno is not None:
        return f"{type(exc).__name__}[{errno.errorcode.get(exc.errno, exc.errno)}]"
    return type(exc).__name__


def is_injected(exc: BaseException, name: str, error: int) -> bool:
    """Whether the failure is, or has led to, this exception."""
    for each in chain(exc):
        if name.endswith("memory"):
            # The rooms below the interpreter speak of ENOMEM.
            if isinstance(each, MemoryError) or (
                isinstance(each, OSError) and each.errno == errno.ENOMEM
            ):
                return True
        elif isinstance(each, OSError) and each.errno == error:
            return True
        if isinstance(each, RuntimeError) and any(
            text in str(each) for text in NO_THREAD
        ):
            return True
    return False


def describe(exc: BaseException, name: str, error: int) -> tuple[list[str], str]:
    """The kinds of exceptions in it, and what is wrong with it."""
    kinds = set()
    wrong = ""
    # What one task has lost, others may miss.
    caused = any(is_injected(leaf, name, error) for leaf in leaves(exc))
    for leaf in leaves(exc):
        kind = name_of(leaf)
        if type(leaf).__name__ == "TrioInternalError":
            kind += f" from {name_of(leaf.__cause__)}" if leaf.__cause__ else ""
        kinds.add(kind)
        if any(isinstance(each, SystemError) for each in chain(leaf)):
            wrong = f"SystemError: {leaf!r}"
        elif name in TRANSFERS and type(leaf).__name__ in OTHER_ENDS:
            # The other end. What failed may be the context of a Cancelled,
            # and gone with it.
            pass
        elif not caused or type(leaf).__name__ == "Cancelled":
            wrong = f"unexpected {leaf!r}"
        if wrong and os.environ.get("INJECT_TRACEBACKS"):
            import traceback

            traceback.print_exception(exc)
            break
    return sorted(kinds), wrong


TRANSFERS = {
    "memory",
    "native_memory",
    "epoll_ctl",
    "kevent",
    "recvfrom",
    "recv",
    "recvmsg",
    "sendto",
    "send",
    "sendmsg",
}
# How the interpreter says it of threads and locks.
NO_THREAD = ("start new thread", "allocate lock")
OTHER_ENDS = {"BrokenResourceError", "TooSlowError"}

unraisable: list[str] = []

# What the collector finds of a run that ended with TrioInternalError.
OF_A_CRASHED_RUN = (
    "coroutine ignored GeneratorExit",
    "must be called from async context",
    "nursery was dropped with tasks still in it",
    "run() has exited",
)


def note_unraisable(what: object) -> None:
    exc = what.exc_value
    if isinstance(exc, (MemoryError, OSError)) or any(
        text in str(exc) for text in OF_A_CRASHED_RUN
    ):
        return
    unraisable.append(f"{exc!r} in {what.object!r}")


def attempt(run: Callable[[], object], plan: list[object]) -> dict[str, object]:
    failure = None
    unraisable.clear()
    inject.arm(*plan)
    try:
        run()
    except BaseException as exc:
        failure = exc
    # Nothing can be made before this has succeeded; calling it can fail, too.
    while True:
        try:
            inject.disarm()
            break
        except MemoryError:
            pass
    failed, spared, made = inject.result()
    report = {"plan": plan, "failed": failed, "spared": spared, "made": made}
    report["kinds"] = ["fine"]
    wrong = ""
    if failure is not None:
        report["kinds"], wrong = describe(failure, plan[0], plan[3])
    failure = None
    report["wrong"] = [wrong] if wrong else []
    return report


def main() -> None:
    library, name = sys.argv[1:]
    prepare(library)
    sys.path.append(str(Path(__file__).parent))
    for module in ("kernel", "sync", "network", "system"):
        importlib.import_module(module)
    run = importlib.import_module("scenario").SCENARIOS[name]
    # The collector is to look at what comes from here on.
    gc.collect()
    gc.freeze()
    gc.disable()
    # Twice: what is needed first is imported, and blocks that are kept are kept.
    for _ in range(2):
        run()
    sys.unraisablehook = note_unraisable
    threading.excepthook = lambda args: None
    # What the worker itself needs, too.
    attempt(run, ["", 0, 0, 0])
    before = State()
    for line in sys.stdin:
        report = attempt(run, json.loads(line))
        left, kept = what_is_left(before)
        if kept:
            report["kinds"].append("objects kept by the interpreter")
        else:
            report["wrong"] += [f"left: {each}" for each in left]
        report["wrong"] += [f"unraisable: {each}" for each in unraisable]
        report["threads"] = threads()
        if left:
            before = State()
        print(json.dumps(report), file=REPORT, flush=True)


if __name__ == "__main__":
    main()
