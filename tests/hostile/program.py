"""Programs of misuse, as data: made up from a number, written down, made smaller.

A program is a list of steps. Each does one thing to one target of `surface.py`, in
some place, with some arguments, and does something with the result. Arguments are
references, which `interpreter.py` turns into objects:

    ["const", name]              one of CONSTANTS
    ["new" | "shared", specimen] of specimens.py, made for this, or for the program
    ["raw", class]               instance whose __init__ was skipped
    ["sub", class]               instance of a subclass
    ["class", name]              the class itself
    ["result", n]                of an earlier step
    ["evil", kind, on, reaction] of evil.py
    ["evil class", on, reaction] the same as a class
    ["function", name, reaction] something to call or to await
    ["buffer", reaction]         a buffer that changes while it is in use
"""

from __future__ import annotations

import copy
from collections.abc import Iterator
from random import Random
from typing import Any

import evil
from specimens import KIND_OF, NONE_OF
from surface import Surface, Target

Ref = list[Any]
Step = dict[str, Any]
Program = dict[str, Any]

CONSTANTS: dict[str, Any] = {
    "None": None,
    "True": True,
    "0": 0,
    "1": 1,
    "-1": -1,
    "5": 5,
    "2**31": 2**31,
    "2**63": 2**63,
    "-2**63": -(2**63),
    "2**64": 2**64,
    "10**400": 10**400,
    "maxsize": 2**63 - 1,
    "0.0": 0.0,
    "0.001": 0.001,
    "-1.5": -1.5,
    "1e308": 1e308,
    "inf": float("inf"),
    "-inf": float("-inf"),
    "nan": float("nan"),
    "''": "",
    "'x'": "x",
    "'nul'": "a\0b",
    "'lone'": "\udc80\ud800",
    "'long'": "x" * 5000,
    "b''": b"",
    "b'x'": b"x",
    "bytes": bytes(100_000),
    "()": (),
    "[]": [],
    "{}": {},
    "address": ("127.0.0.1", 1),
    "address4": ("::1", 1, 2**40, -1),
    "odd address": ("127.0.0.1", "http"),
    "command": ["true"],
    "object": object(),
    "int": int,
    "Ellipsis": ...,
    "ValueError": ValueError,
    "ValueError()": ValueError("text"),
    "group": BaseExceptionGroup("group", [ValueError(), KeyboardInterrupt()]),
    "float": 3.5,
}
NUMBERS = "0 1 -1 5 2**31 2**63 -2**63 2**64 10**400 maxsize True".split()
TIMES = "0.0 0.001 -1.5 1e308 inf -inf nan 0 2**64 10**400".split()
TEXTS = ["''", "'x'", "'nul'", "'lone'", "'long'"]
DATA = ["b''", "b'x'", "bytes"]

FUNCTION_NAMES = """
    sync async starter generator async_generator coroutine partial abort raiser
    started_twice native
    """.split()

EXCEPTIONS = """
    ValueError KeyboardInterrupt StopIteration StopAsyncIteration GeneratorExit
    SystemExit RecursionError MemoryError Cancelled
    """.split()

# What a parameter of that name usually is: kinds of references.
USUAL = {
    "times": "seconds deadline timeout relative_deadline autojump_threshold rate "
    "per_connection_max_idle_time happy_eyeballs_delay cushion",
    "numbers": "buflen bufsize nbytes flags max_bytes initial_value total_tokens n "
    "max_buffer_size backlog position count value max_value ancbufsize fd signum port "
    "max_refill_bytes buffering mode level optname family type proto ident filter "
    "initial_window max_size incoming_packets_buffer limit",
    "functions": "async_fn sync_fn fn abort_func deliver func async_callable handler "
    "coro next_send_fn stream_maker clogged_stream_maker hook run_sync_soon_threadsafe "
    "done_callback exit_func",
    "data": "data bytes buffer buffers",
    "texts": "name host path file filename reason key server_hostname hostname",
}
USUAL_OF = {name: kind for kind, names in USUAL.items() for name in names.split()}

PROTOCOLS = """
    repr str hash eq lt bool iter len copy deepcopy pickle reduce sizeof dir vars
    setattr delattr weakref format isinstance call await aiter enter aenter getitem
    strip tracked referents class getattr
    """.split()
USES = (
    ["await"] * 6
    + """
    drop keep send throw close twice leave next hand_over enter aenter iterate
    """.split()
)
PLACES = (
    ["task"] * 8
    + """
    child thread stranger instrument abort del weakref entry collector greenlet clock
    finalizer system context
    """.split()
)
PHASES = ["during"] * 12 + ["before", "after", "after", "later", "later"]
# What a guest run leaves in its thread cannot be cleared by another one, in which
# its host drops it. That is so in Trio, too.
IN_MAIN_THREAD = {"lowlevel.start_guest_run"}


class Generator:
    """Makes up programs. The same number gives the same program."""

    def __init__(self, surface: Surface) -> None:
        self.surface = surface
        self.names = sorted(surface.targets)
        self.specimens_of: dict[str, list[str]] = {}
        for name in surface.classes:
            self.specimens_of[name] = [
                s
                for s, kind in KIND_OF.items()
                if kind == name or self._is_base(name, kind)
            ]
        self.instances = [s for s in KIND_OF if KIND_OF[s] in surface.classes]

    def _is_base(self, base: str, kind: str) -> bool:
        classes = self.surface.classes
        return kind in classes and base in map(self._name, classes[kind].__mro__)

    def _name(self, cls: type) -> str | None:
        return next((n for n, c in self.surface.classes.items() if c is cls), None)

    def program(self, number: int, per_program: int = 6) -> Program:
        """Every target gets its turn; the others are chosen by chance."""
        random = Random(number)
        turns = [
            self.names[(number * per_program + i) % len(self.names)]
            for i in range(per_program)
        ]
        phases = random.choices(PHASES, k=2 * per_program)
        order = {"before": 0, "during": 1, "after": 2, "later": 3}
        steps = []
        for at, phase in enumerate(sorted(phases, key=order.__getitem__)):
            name = turns.pop() if at % 2 == 0 and turns else self._favourite(random)
            steps.append(self._step(random, name, phase, at))
        return {
            "clock": random.choice(["mock", "mock", "system"]),
            "collector": random.choice([None, None, "eager", "callback", "off"]),
            "guest": random.random() < 0.1,
            "reaction": self._reaction(random, 1),
            "steps": steps,
        }

    def directed(self, name: str, attempt: int) -> Program:
        """One that is about a single target, for those that chance has spared."""
        random = Random(f"{name}/{attempt}")
        steps = [self._step(random, name, "during", at) for at in range(4)]
        for step in steps:
            step["where"] = "task"
        guest = name.startswith("_native.loop")
        plain = {"clock": "mock", "collector": None, "reaction": ["nothing"]}
        return {**plain, "guest": guest, "steps": steps}

    def _favourite(self, random: Random) -> str:
        """What is written in C is called more often than what is not."""
        while True:
            name = random.choice(self.names)
            if not name.startswith(("Path.", "PosixPath.", "WindowsPath.", "socket.A")):
                return name

    def _step(
        self, random: Random, name: str, phase: str, at: int, depth: int = 0
    ) -> Step:
        target = self.surface.targets[name]
        step: Step = {
            "target": name,
            "phase": phase,
            "where": "task" if depth else random.choice(PLACES),
            "use": random.choice(USES),
        }
        if name in IN_MAIN_THREAD:
            step["where"] = "task"
        if target.kind in ("method", "attribute"):
            step["on"] = self._receiver(random, target)
        if target.kind == "attribute":
            step["op"] = random.choice(["get", "set", "set", "delete"])
            if step["on"][0] == "class":
                step["op"] = "get"  # changing a class is changing the library
            step["args"] = [self._value(random, target.attribute, at, depth)]
        elif random.random() < 0.08:
            step["op"] = random.choice(PROTOCOLS)
            step["args"] = [self._value(random, "", at, depth)]
        else:
            step["op"] = "call"
            self._arguments(random, step, target, at, depth)
        return step

    def _receiver(self, random: Random, target: Target) -> Ref:
        specimens = self.specimens_of[target.owner]
        chance = random.random()
        if chance < 0.04:
            return ["class", target.owner]
        if chance < 0.08:
            return ["raw", target.owner]
        if chance < 0.12:
            return ["sub", target.owner]
        if not specimens or target.owner in NONE_OF:
            return ["found", target.owner]
        how = "new" if chance < 0.4 else "shared"
        return [how, random.choice(specimens)]

    def _arguments(
        self, random: Random, step: Step, target: Target, at: int, depth: int
    ) -> None:
        step["args"], step["kwargs"] = [], {}
        for parameter in target.parameters:
            name = parameter.lstrip("*")
            if parameter.startswith("*"):
                if random.random() < 0.4:
                    step["kwargs"][name] = self._value(random, name, at, depth)
            elif random.random() < 0.85:
                step["args"].append(self._value(random, name, at, depth))
        chance = random.random()
        if chance < 0.05:
            step["args"].append(self._value(random, "", at, depth))
        elif chance < 0.1:
            step["kwargs"]["unknown"] = ["const", "None"]

    def _value(self, random: Random, name: str, at: int, depth: int) -> Ref:
        if random.random() < 0.5:
            match USUAL_OF.get(name):
                case "times":
                    return ["const", random.choice(TIMES)]
                case "numbers":
                    return ["const", random.choice(NUMBERS)]
                case "texts":
                    return ["const", random.choice(TEXTS)]
                case "functions":
                    return self._function(random, depth)
                case "data" if random.random() < 0.5:
                    return ["const", random.choice(DATA)]
                case "data":
                    return ["buffer", self._reaction(random, depth)]
        chance = random.random()
        if chance < 0.2:
            return ["const", random.choice(list(CONSTANTS))]
        if chance < 0.45:
            return [random.choice(["new", "shared"]), random.choice(self.instances)]
        if chance < 0.55:
            return self._function(random, depth)
        if chance < 0.6:
            return ["class", random.choice(list(self.surface.classes))]
        if chance < 0.65 and at:
            return ["result", random.randrange(at)]
        if chance < 0.68:
            return ["evil class", *self._temper(random, depth)]
        if chance < 0.7:
            return ["raw", random.choice(list(self.surface.classes))]
        return ["evil", random.choice(list(evil.KINDS)), *self._temper(random, depth)]

    def _function(self, random: Random, depth: int) -> Ref:
        reaction = self._reaction(random, depth)
        return ["function", random.choice(FUNCTION_NAMES), reaction]

    def _temper(self, random: Random, depth: int) -> list[Any]:
        on = random.choice(evil.REACTS_TO) if random.random() < 0.5 else "anything"
        return [on, self._reaction(random, depth)]

    def _reaction(self, random: Random, depth: int) -> list[Any]:
        kinds = "raise collect drop close again switch odd cancel run nothing".split()
        if depth < 2:
            kinds += ["step"] * 6
        match kind := random.choice(kinds):
            case "raise":
                return [kind, random.choice(EXCEPTIONS)]
            case "odd":
                return [kind, random.choice(list(CONSTANTS))]
            case "step":
                name = self._favourite(random)
                return [kind, self._step(random, name, "during", 0, depth + 1)]
        return [kind]


def smaller(program: Program) -> Iterator[Program]:
    """Programs with less in them, the shortest first."""
    steps = program["steps"]
    size = len(steps) // 2
    while size:
        for start in range(0, len(steps), size):
            yield {**program, "steps": steps[:start] + steps[start + size :]}
        size //= 2
    for key, plain in [("collector", None), ("guest", False), ("clock", "mock")]:
        if program[key] != plain:
            yield {**program, key: plain}
    for at, step in enumerate(steps):
        for key, plain in [("where", "task"), ("use", "drop"), ("kwargs", {})]:
            if step.get(key, plain) != plain:
                yield _with(program, at, {**step, key: plain})
        for n, ref in enumerate(step.get("args", ())):
            if ref != ["const", "None"]:
                changed = copy.deepcopy(step)
                changed["args"][n] = ["const", "None"]
                yield _with(program, at, changed)


def _with(program: Program, at: int, step: Step) -> Program:
    steps = [*program["steps"]]
    steps[at] = step
    return {**program, "steps": steps}
