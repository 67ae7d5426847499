"""Does what a program of `program.py` says, in all the places that it says.

Whatever a step raises is caught and noted: misuse may fail in any way that a Python
program can survive. What may not happen is listed in `complaints`; the worker adds
what it sees from outside.
"""

from __future__ import annotations

import contextlib
import contextvars
import copy
import functools
import gc
import inspect
import os
import pickle
import queue
import sys
import threading
import traceback
import warnings
import weakref
from collections.abc import Callable, Iterator
from types import ModuleType
from typing import Any

import evil
import specimens
from program import CONSTANTS, Program, Ref, Step
from surface import Surface

try:
    import greenlet
except ImportError:  # not on every version of CPython yet
    greenlet = None

PATIENCE = 0.02  # seconds that a step may wait; of the mock clock's if there is one


class Environment:
    """What the steps of one program share."""

    def __init__(self, trio: ModuleType, surface: Surface, program: Program) -> None:
        self.trio = trio
        self.surface = surface
        self.program = program
        self.shared: dict[str, Any] = {}
        self.spare: dict[str, list[Any]] = {}
        self.results: dict[int, Any] = {}
        self.kept: list[Any] = []
        self.greenlets: list[Any] = []
        self.threads: list[threading.Thread] = []
        self.outcomes: list[str] = []
        self.reached: set[str] = set()
        self.complaints: list[str] = []
        self.depth = 0
        self.ended = False
        self.reactions = 60
        self.step: Step | None = None
        self.in_clock: list[Callable[[], object]] = []
        self.nursery: Any = None
        self.stack: Any = None
        self.token: Any = None
        self.scope: Any = None
        self.guest: Any = None

    def find(self, name: str) -> Any:
        found = self.surface.classes.get(name)
        return self.surface.functions[name] if found is None else found

    # --- references

    def specimens_in(self, node: Any) -> Iterator[tuple[str, str]]:
        """Those that a step refers to, however deep inside."""
        if isinstance(node, dict):
            for each in node.values():
                yield from self.specimens_in(each)
        elif isinstance(node, list):
            if len(node) == 2 and node[0] in ("new", "shared"):
                yield node[0], node[1]
            elif len(node) == 2 and node[0] in ("found", "sub", "raw"):
                yield node[0], node[1]
            else:
                for each in node:
                    yield from self.specimens_in(each)

    async def prepare(self, step: Step) -> None:
        for how, name in self.specimens_in(step):
            if how in ("sub", "raw") or (how == "shared" and name in self.shared):
                continue
            if how == "found":
                found = specimens.from_garbage_collector(self, self.find(name))
                self.shared[name] = await found
                continue
            with contextlib.suppress(Exception):
                obj = await specimens.MAKERS[name](self)
                if how == "new":
                    self.spare.setdefault(name, []).append(obj)
                else:
                    self.shared[name] = obj

    def resolve(self, ref: Ref) -> Any:
        match ref:
            case ["const", name]:
                return CONSTANTS[name]
            case ["new", name] if self.spare.get(name):
                return self.spare[name].pop()
            case ["new" | "shared" | "found", name]:
                return self.shared.get(name)
            case ["raw", name]:
                return self._raw(self.find(name))
            case ["sub", name]:
                return self._subclass(self.find(name))
            case ["class", name]:
                return self.find(name)
            case ["result", n]:
                return self.results.get(n)
            case ["evil", kind, on, reaction]:
                return evil.make(kind, on, reaction, self.react)
            case ["evil class", on, reaction]:
                return evil.make_class(on, reaction, self.react, object)
            case ["function", name, reaction]:
                return self._function(name, reaction)
            case ["buffer", reaction]:
                return _Buffer(self, reaction).view
        raise AssertionError(ref)

    def _raw(self, cls: type) -> Any:
        for maker in (object.__new__, cls.__new__, BaseException.__new__):
            with contextlib.suppress(Exception):
                return maker(cls)  # type: ignore[type-var]
        return None

    def _subclass(self, cls: type) -> Any:
        with contextlib.suppress(Exception):
            sub = type(cls)("Sub", (cls,), {"__init__": lambda self, *args: None})
            return sub.__new__(sub)
        return self._raw(cls)

    def _function(self, name: str, reaction: list[Any]) -> Any:
        react, trio, env = self.react, self.trio, self

        def sync(*args: object, **kwargs: object) -> Any:
            odd = react(reaction, None, name)
            return 1 if odd is None else odd[0]

        async def run(*args: object, **kwargs: object) -> Any:
            await trio.lowlevel.checkpoint()
            sync()
            await trio.lowlevel.checkpoint()

        async def starter(*args: object, task_status: Any = None) -> None:
            sync()
            for _ in range(2 if name == "started_twice" else 1):
                task_status.started(args)
            await trio.lowlevel.checkpoint()

        def generator(*args: object) -> Any:
            yield sync()

        async def async_generator(*args: object) -> Any:
            try:
                yield sync()
                await trio.lowlevel.checkpoint()
                yield 2
            finally:
                sync()

        def raiser(*args: object) -> Any:
            sync()
            raise ValueError

        def abort(*args: object) -> Any:
            sync()
            env.kept.append(args)
            return trio.lowlevel.Abort.SUCCEEDED

        match name:
            case "async":
                return run
            case "starter" | "started_twice":
                return starter
            case "generator":
                return generator
            case "async_generator":
                return async_generator
            case "coroutine":
                return run()
            case "partial":
                return functools.partial(run, 1)
            case "abort":
                return abort
            case "raiser":
                return raiser
            case "native":
                return trio.lowlevel.checkpoint
        return sync

    # --- what evil objects do

    def react(self, reaction: list[Any], obj: object, name: str) -> Any:
        if self.depth >= 3 or self.reactions <= 0:
            return None
        self.depth += 1
        self.reactions -= 1
        try:
            match reaction:
                case ["raise", "Cancelled"]:
                    raise self.trio.Cancelled._create(source="explicit")
                case ["raise", error]:
                    raise getattr(__import__("builtins"), error)
                case ["collect"]:
                    gc.collect()
                case ["drop"]:
                    self.drop()
                case ["close"]:
                    for each in [*self.shared.values()]:
                        if not isinstance(each, type) and hasattr(each, "close"):
                            self.attempt(lambda each=each: each.close())
                case ["again"] if self.step is not None:
                    self.attempt(functools.partial(self.do_by_hand, self.step))
                case ["step", step]:
                    self.attempt(functools.partial(self.do_by_hand, step))
                case ["switch"] if greenlet is not None:
                    parent = greenlet.getcurrent().parent
                    if parent is not None:
                        parent.switch()
                case ["odd", constant]:
                    return (CONSTANTS[constant],)
                case ["cancel"] if self.scope is not None:
                    self.scope.cancel()
                case ["run"]:
                    self.attempt(lambda: self.trio.run(self.trio.sleep, 0))
        finally:
            self.depth -= 1
        return None

    def drop(self) -> None:
        """The last references to things, as far as they are ours."""
        for container in self.shared, self.spare, self.results, self.kept:
            container.clear()
        gc.collect()

    # --- one step

    def attempt(self, function: Callable[[], Any]) -> Any:
        try:
            result = function()
        except BaseException as exc:
            self.caught(exc)
            if greenlet is not None and isinstance(exc, greenlet.GreenletExit):
                raise
            return None
        self.outcomes.append("ok")
        return result

    def caught(self, exc: BaseException) -> None:
        self.outcomes.append(type(exc).__name__)
        seen: set[int] = set()
        todo: list[BaseException | None] = [exc]
        while todo:
            each = todo.pop()
            if each is None or id(each) in seen:
                continue
            seen.add(id(each))
            if isinstance(each, SystemError):
                lines = "".join(traceback.format_exception(each))
                self.complaints.append(lines)
            todo += [each.__cause__, each.__context__]
            if isinstance(each, BaseExceptionGroup):
                todo += each.exceptions

    def do(self, step: Step) -> Any:
        """What is to be done; leaves the result to the caller."""
        target = self.surface.targets.get(step["target"])
        if target is None:
            return None
        args = [self.resolve(ref) for ref in step["args"]]
        kwargs = {k: self.resolve(ref) for k, ref in step.get("kwargs", {}).items()}
        op = step["op"]
        if "on" in step:
            on: Any = self.resolve(step["on"])
            cls = self.find(target.owner)
            none = target.owner in specimens.NONE_OF or inspect.isabstract(cls)
            if none or type(on) is cls or isinstance(on, cls):
                self.reached.add(target.name)
            elif step["on"][0] != "class":
                on = evil.make("object", "anything", ["nothing"], self.react)
                return getattr(cls, target.attribute)(on, *args, **kwargs)
            del cls
            match op:
                case "get":
                    return getattr(on, target.attribute)
                case "set":
                    return setattr(on, target.attribute, args[0])
                case "delete":
                    return delattr(on, target.attribute)
                case "call":
                    function = getattr(on, target.attribute)
                    del on
                    result = function(*args, **kwargs)
                    if target.attribute == "detach" and type(result) is int:
                        os.close(result)  # nobody else's from now on
                    return result
            return PROTOCOLS[op](on, *args[:1])
        self.reached.add(target.name)
        function = self.find(target.name)
        if op == "call":
            return function(*args, **kwargs)
        return PROTOCOLS[op](function, *args[:1])

    def do_by_hand(self, step: Step) -> Any:
        """The same, where nothing can be awaited."""
        result = self.do(step)
        if step["use"] != "drop":
            self.drive(step["use"], result)
        return result

    def drive(self, how: str, result: Any) -> None:
        if how in ("enter", "aenter"):
            result.__enter__()
            if how == "enter":
                result.__exit__(None, None, None)
            return
        if how == "keep" or not hasattr(result, "send"):
            self.kept.append(result)
            return
        if how == "next":
            iterator = result.__await__()
            self.attempt(lambda: next(iterator))
            self.attempt(lambda: next(iterator))
            return
        if how == "leave":
            self.kept.append(result)
        if how != "close":
            self.attempt(lambda: result.send(None))
        if how == "throw":
            self.attempt(lambda: result.throw(ValueError("thrown")))
            self.attempt(lambda: result.throw(ValueError, ValueError("x"), None))
        if how in ("twice", "iterate"):
            for _ in range(5):
                self.attempt(lambda: result.send(None))
        if how != "leave":
            self.attempt(result.close)
            self.attempt(result.close)

    async def use(self, step: Step, result: Any) -> None:
        """Does something with a result, in a task."""
        match step["use"]:
            case "await" if hasattr(result, "__await__"):
                await result
            case "hand_over" if hasattr(result, "send"):
                # Begun by hand here, finished by another task.
                result.send(None)

                async def finish() -> None:
                    await result

                self.nursery.start_soon(self.guarded, finish)
            case "enter" if hasattr(result, "__enter__"):
                with result as inner:
                    self.results[len(self.results)] = inner
                    await self.trio.lowlevel.checkpoint()
            case "aenter" if hasattr(result, "__aenter__"):
                async with result as inner:
                    self.results[len(self.results)] = inner
                    await self.trio.lowlevel.checkpoint()
            case "iterate" if hasattr(result, "__aiter__"):
                async for _ in result:
                    break
            case "await" | "enter" | "aenter" | "iterate":
                pass
            case "drop":
                pass
            case how:
                self.drive(how, result)

    async def guarded(self, function: Callable[[], Any]) -> None:
        """Awaits it, for a moment, and catches what comes."""
        with self.trio.move_on_after(PATIENCE):
            try:
                await function()
                self.outcomes.append("ok")
            except GeneratorExit:
                raise
            except BaseException as exc:
                self.caught(exc)

    async def do_in_task(self, step: Step) -> None:
        result = self.do(step)
        self.results[len(self.results)] = result
        await self.use(step, result)

    async def perform(self, step: Step) -> None:
        """One step, in its place, during a run."""
        await self.prepare(step)
        self.step = step
        place = step["where"]
        if place == "task":
            await self.guarded(lambda: self.do_in_task(step))
        elif place == "child":
            self.nursery.start_soon(self.guarded, lambda: self.do_in_task(step))
            await self.trio.lowlevel.checkpoint()
        else:
            by_hand = functools.partial(
                self.attempt, functools.partial(self.do_by_hand, step)
            )
            await self.guarded(lambda: PLACES[place](self, by_hand))

    # --- the whole program

    async def main(self, phase: str) -> None:
        trio = self.trio
        self.token = trio.lowlevel.current_trio_token()
        with trio.CancelScope() as self.scope:
            async with (
                trio.open_nursery() as self.nursery,
                contextlib.AsyncExitStack() as self.stack,
            ):
                for step in self.program["steps"]:
                    if step["phase"] == phase:
                        await self.perform(step)
                self.nursery.cancel_scope.cancel()

    def run_main(self, phase: str) -> None:
        trio = self.trio
        kind = self.program["clock"]
        clock: Any = None
        if kind == "mock":
            clock = trio.testing.MockClock(autojump_threshold=0)
        elif self.program["steps"] and any(
            s["where"] == "clock" for s in self.program["steps"]
        ):
            clock = _clock(self)
        if not self.program["guest"]:
            trio.run(self.main, phase, clock=clock)
            return
        # The host is a queue.
        jobs: queue.SimpleQueue[Any] = queue.SimpleQueue()
        ended: list[Any] = []

        def soon(job: Callable[[], None]) -> None:
            self.guest = getattr(job, "__self__", None)
            jobs.put(job)

        trio.lowlevel.start_guest_run(
            self.main,
            phase,
            run_sync_soon_threadsafe=soon,
            done_callback=ended.append,
            clock=clock,
            host_uses_signal_set_wakeup_fd=True,
        )
        while not ended:
            jobs.get()()
        self.guest = None
        ended[0].unwrap()

    def run(self) -> None:
        steps = self.program["steps"]
        for phase in ("before", "during", "after", "later"):
            here = [s for s in steps if s["phase"] == phase]
            if phase in ("during", "later"):
                if here:
                    self.attempt(lambda phase=phase: self.run_main(phase))
                self.nursery = self.stack = self.token = self.scope = None
                continue
            for step in here:
                self.attempt(lambda step=step: self._outside(step))
        for each in self.greenlets:
            if not each.dead:
                self.attempt(each.switch)

    def _outside(self, step: Step) -> None:
        with contextlib.suppress(StopIteration), warnings.catch_warnings():
            self.prepare(step).send(None)
        self.step = step
        if step["where"] in ("del", "weakref", "collector", "greenlet", "stranger"):
            place = PLACES[step["where"]](self, lambda: self.do_by_hand(step))
            with contextlib.suppress(StopIteration):
                place.send(None)
        else:
            self.do_by_hand(step)

    def close(self) -> None:
        """Gives up everything, so that the worker can look what is left."""
        for thread in self.threads:
            thread.join(5)
        for _ in range(3):
            for each in self.greenlets:
                if not each.dead:
                    with contextlib.suppress(BaseException):
                        each.throw(greenlet.GreenletExit)
        self.greenlets.clear()
        self.reactions = 0
        for each in [*self.kept]:
            if hasattr(each, "close") and hasattr(each, "send"):
                with contextlib.suppress(BaseException):
                    each.close()
        self.step = None
        self.drop()


class _Buffer:
    """A bytearray, seen through a memoryview, that goes away while it is read."""

    def __init__(self, env: Environment, reaction: list[Any]) -> None:
        self.data = bytearray(b"0123456789")
        self.view: Any = memoryview(self.data)
        env.kept.append(self)
        if reaction[0] in ("close", "drop"):
            self.view.release()
        elif reaction[0] in ("odd", "run"):
            self.view = self.view[::2]
        elif reaction[0] == "collect":
            self.view = self.data


def _clock(env: Environment) -> Any:
    trio = env.trio

    class Clock(trio.abc.Clock):  # type: ignore[misc]
        def _react(self) -> None:
            while env.in_clock:
                env.in_clock.pop()()

        def start_clock(self) -> None:
            self._real = env.find("_core._run.SystemClock")()
            self._real.start_clock()

        def current_time(self) -> float:
            self._react()
            return self._real.current_time()

        def deadline_to_sleep_time(self, deadline: float) -> float:
            self._react()
            return self._real.deadline_to_sleep_time(deadline)

    return Clock()


# --- operations that any object has


def _weakly(obj: Any, value: Any) -> Any:
    return weakref.ref(obj, value if callable(value) else None)


def _getitem(obj: Any, value: Any) -> Any:
    return obj[value]


def _is_of_library(obj: Any) -> bool:
    """Changing it would be changing the library."""
    return isinstance(obj, type) or inspect.isroutine(obj)


def _setattr(obj: Any, value: Any) -> None:
    if not _is_of_library(obj):
        obj.some_attribute = value


def _set_class(obj: Any, value: Any) -> None:
    if not _is_of_library(obj):
        obj.__class__ = type(value)


def _strip(obj: Any, value: Any) -> None:
    if _is_of_library(obj):
        return
    for name in dir(obj)[-5:]:
        with contextlib.suppress(AttributeError, TypeError):
            delattr(obj, name)


def _attributes(obj: Any, value: Any) -> None:
    for name in dir(obj):
        if not name.startswith("__"):
            with contextlib.suppress(Exception):
                getattr(obj, name)


PROTOCOLS: dict[str, Callable[[Any, Any], Any]] = {
    "repr": lambda obj, value: repr(obj),
    "str": lambda obj, value: str(obj),
    "hash": lambda obj, value: hash(obj),
    "eq": lambda obj, value: obj == value,
    "lt": lambda obj, value: obj < value,
    "bool": lambda obj, value: bool(obj),
    "iter": lambda obj, value: [*zip(range(3), obj, strict=False)],
    "len": lambda obj, value: len(obj),
    "copy": lambda obj, value: copy.copy(obj),
    "deepcopy": lambda obj, value: copy.deepcopy(obj),
    "pickle": lambda obj, value: pickle.loads(pickle.dumps(obj)),
    "reduce": lambda obj, value: [obj.__reduce_ex__(n) for n in range(5)],
    "sizeof": lambda obj, value: sys.getsizeof(obj),
    "dir": lambda obj, value: dir(obj),
    "vars": lambda obj, value: vars(obj),
    "setattr": _setattr,
    "delattr": lambda obj, value: delattr(obj, "some_attribute"),
    "weakref": _weakly,
    "format": lambda obj, value: format(obj, "s"),
    "isinstance": lambda obj, value: isinstance(value, obj),
    "call": lambda obj, value: obj(value),
    "await": lambda obj, value: obj.__await__(),
    "aiter": lambda obj, value: aiter(obj),
    "enter": lambda obj, value: obj.__enter__(),
    "aenter": lambda obj, value: obj.__aenter__(),
    "getitem": _getitem,
    "strip": _strip,
    "tracked": lambda obj, value: [gc.is_tracked(obj), gc.is_finalized(obj)],
    "referents": lambda obj, value: gc.get_referents(obj),
    "class": _set_class,
    "getattr": _attributes,
}


# --- places


class _WhenDropped:
    def __init__(self, function: Callable[[], Any]) -> None:
        self.function = function

    def __del__(self) -> None:
        self.function()


async def _in_thread(env: Environment, function: Any) -> None:
    await env.trio.to_thread.run_sync(function, abandon_on_cancel=True)


async def _in_strange_thread(env: Environment, function: Any) -> None:
    thread = threading.Thread(target=function, daemon=True)
    env.threads.append(thread)
    thread.start()
    thread.join(0.01)


async def _in_instrument(env: Environment, function: Any) -> None:
    hooks = ["before_task_step", "task_scheduled", "before_io_wait", "after_task_step"]
    todo = [function]

    def hook(*args: object) -> None:
        while todo:
            todo.pop()()

    name = hooks[len(env.outcomes) % len(hooks)]
    instrument = type("Hook", (env.trio.abc.Instrument,), {name: staticmethod(hook)})()
    env.trio.lowlevel.add_instrument(instrument)
    await env.trio.sleep(0.0001)
    env.trio.lowlevel.remove_instrument(instrument)


async def _in_abort(env: Environment, function: Any) -> None:
    def abort(raise_cancel: Any) -> Any:
        function()
        return env.trio.lowlevel.Abort.SUCCEEDED

    with env.trio.CancelScope() as scope:
        scope.cancel()
        await env.trio.lowlevel.wait_task_rescheduled(abort)


async def _in_del(env: Environment, function: Any) -> None:
    _WhenDropped(function)


async def _in_weakref(env: Environment, function: Any) -> None:
    obj = _WhenDropped(int)
    ref = weakref.ref(obj, lambda ref: function())
    env.kept.append(ref)
    del obj


async def _in_entry_queue(env: Environment, function: Any) -> None:
    env.token.run_sync_soon(function)
    await env.trio.sleep(0.0001)


async def _in_collector(env: Environment, function: Any) -> None:
    todo = [function]

    def callback(phase: str, info: object) -> None:
        while todo:
            todo.pop()()

    gc.callbacks.append(callback)
    gc.collect()
    gc.callbacks.remove(callback)


async def _in_greenlet(env: Environment, function: Any) -> None:
    if greenlet is None:
        return
    other = greenlet.greenlet(function)
    env.greenlets.append(other)
    other.switch()


async def _in_clock(env: Environment, function: Any) -> None:
    env.in_clock.append(function)
    await env.trio.sleep(0.0001)
    env.in_clock.clear()


async def _in_finalizer(env: Environment, function: Any) -> None:
    async def generator() -> Any:
        try:
            yield
        finally:
            function()

    async for _ in generator():
        break
    await env.trio.sleep(0.0001)


async def _in_system_task(env: Environment, function: Any) -> None:
    async def run() -> None:
        function()

    env.trio.lowlevel.spawn_system_task(run)
    await env.trio.sleep(0.0001)


async def _in_context(env: Environment, function: Any) -> None:
    contextvars.Context().run(function)


PLACES = {
    "thread": _in_thread,
    "stranger": _in_strange_thread,
    "instrument": _in_instrument,
    "abort": _in_abort,
    "del": _in_del,
    "weakref": _in_weakref,
    "entry": _in_entry_queue,
    "collector": _in_collector,
    "greenlet": _in_greenlet,
    "clock": _in_clock,
    "finalizer": _in_finalizer,
    "system": _in_system_task,
    "context": _in_context,
    "task": _in_context,
    "child": _in_context,
}


def descriptors() -> int:
    return len(os.listdir("/proc/self/fd"))
