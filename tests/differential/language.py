"""The language of the programs: how an operation is declared, how programs are made.

A program is plain data that JSON can hold: a dict of options, and a block. A
block is a list of operations, each a list of its name and its arguments; among
the arguments may be further blocks. Which arguments an operation takes is said
where it is declared:

    @operation(CHOICE(0, 1, 2))
    async def sleep(actor, seconds):
        await actor.trio.sleep(seconds)

and that is all there is to add: the generator finds it there, and the
interpreter calls it. A plain function is one that does not await; such
operations are also used where nothing can be awaited, in entry-queue jobs.

References to what exists only at run time (scopes, nurseries, handles) are
numbers, taken modulo how many there are. So every part of a program can be
left out and the rest still means something, which is what makes it shrink.
"""

from __future__ import annotations

import inspect
import random
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

Block = list[list[Any]]
Program = dict[str, Any]


class CHOICE:
    """An argument that is one of some values; the first is the plainest."""

    def __init__(self, *values: object) -> None:
        self.values = values


class BLOCK:
    """An argument that is a block. `of` says which operations it is made of."""

    def __init__(self, of: str = "any") -> None:
        self.of = of


# Which of several scopes, nurseries, locks: mostly one of the latest.
WHICH = CHOICE(0, 0, 1, 0, 1, 2, 3)
TIMES = CHOICE(0, 1, 1, 0.5, 2, 3, 0.25, 8)
FLAG = CHOICE(False, True)
BODY = BLOCK()
SYNC_BODY = BLOCK("sync")  # nothing that awaits
PLAIN_BODY = BLOCK("plain")  # nothing that other tasks could notice


@dataclass(frozen=True)
class Operation:
    name: str
    run: Callable[..., Any]
    arguments: tuple[CHOICE | BLOCK, ...]
    weight: int
    is_async: bool
    is_plain: bool
    only: str | None
    never: str | None

    @property
    def has_blocks(self) -> bool:
        return any(isinstance(argument, BLOCK) for argument in self.arguments)


OPERATIONS: dict[str, Operation] = {}


def operation(
    *arguments: CHOICE | BLOCK,
    weight: int = 4,
    plain: bool = False,
    only: str | None = None,
    never: str | None = None,
) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    """Declare an operation.

    `plain` ones may stand in async generators, which Trio closes in no
    particular order. `only` and `never` name the option of a program with
    which, or without which, it appears.
    """

    def declare(function: Callable[..., Any]) -> Callable[..., Any]:
        name = function.__name__.strip("_")
        is_async = inspect.iscoroutinefunction(function)
        OPERATIONS[name] = Operation(
            name, function, arguments, weight, is_async, plain, only, never
        )
        return function

    return declare


# ---- making programs ----

OPTIONS = {
    "strict": CHOICE(True, True, True, False),
    "clock": CHOICE("autojump", "autojump", "by hand"),
    "instrument": CHOICE(False, False, False, True),
    "seed": CHOICE(*range(16)),
    # Some break the rules of nesting; some use threads and sockets, one thing at
    # a time; some are the guests of another loop.
    "unruly": CHOICE(*[False] * 15, True),
    "outside": CHOICE(*[False] * 9, True),
    "guest": CHOICE(*[False] * 9, True),
    "restrict_ki": CHOICE(False, False, False, True),
    "buffer": CHOICE(0, 1, 2, None),
    "tokens": CHOICE(1, 2, 0, None),
    "forgiving": CHOICE(False, True),
}

Choose = Callable[[Sequence[Any]], Any]


# In every program, whatever else it is about.
ALWAYS = {"nursery", "spawn", "scope", "sleep", "checkpoint", "try"}


class _Generator:
    """Makes one program of about `size` operations.

    Most programs are about something: they use few of the operations, and few
    values of some arguments, but those often. Tasks would hardly ever meet at
    the same lock otherwise.
    """

    def __init__(self, choose: Choose, size: int) -> None:
        self.choose = choose
        self.left = size
        self.is_about = choose((False, True, True))
        self.menus: dict[tuple[str, bool], list[Operation]] = {}
        self.values: dict[CHOICE, Sequence[Any]] = {}

    def program(self) -> Program:
        options = {name: self.choose(of.values) for name, of in OPTIONS.items()}
        if options["outside"]:
            # When the kernel is asked for I/O is not the same on both.
            options["instrument"] = options["guest"] = False
        self.used = [
            operation
            for operation in OPERATIONS.values()
            if (operation.only is None or options[operation.only])
            and (operation.never is None or not options[operation.never])
            and (
                not self.is_about
                or operation.name in ALWAYS
                or self.choose((False, False, True))
            )
        ]
        body: Block = []
        if self.choose((False, True)):
            tasks = self.choose((2, 3, 4, 6))
            inside = [
                ["spawn", 0, "numbered", self.block("any", 3)] for _ in range(tasks)
            ]
            body.append(["nursery", None, inside + self.block("any", 3)])
        while self.left > 0:
            body += self.block("any", 4)
        return {**options, "body": body}

    def block(self, of: str, depth: int) -> Block:
        made: Block = []
        if menu := self.menu(of, depth > 0):
            for _ in range(self.choose((1, 2, 3, 3, 4, 6)[: 6 if depth > 2 else 4])):
                if self.left <= 0:
                    break
                self.left -= 1
                made.append(self.line(self.choose(menu), of, depth))
        return made

    def line(self, operation: Operation, of: str, depth: int) -> list[Any]:
        made: list[Any] = [operation.name]
        for argument in operation.arguments:
            if isinstance(argument, CHOICE):
                made.append(self.choose(self.some_of(argument)))
            else:
                inner = of if argument.of == "any" else argument.of
                made.append(self.block(inner, depth - 1))
        return made

    def some_of(self, argument: CHOICE) -> Sequence[Any]:
        if argument not in self.values:
            values: Sequence[Any] = argument.values
            if self.is_about and self.choose((False, True)):
                values = [self.choose(values), self.choose(values)]
            self.values[argument] = values
        return self.values[argument]

    def menu(self, of: str, with_blocks: bool) -> list[Operation]:
        key = of, with_blocks
        if key not in self.menus:
            self.menus[key] = [
                operation
                for operation in self.used
                if (with_blocks or not operation.has_blocks)
                and (of != "sync" or not operation.is_async)
                and (of != "plain" or operation.is_plain)
                for _ in range(operation.weight)
            ]
        return self.menus[key]


SIZES = (12, 30, 30, 60, 90)


def program_of_seed(seed: int) -> Program:
    """The program of that number, the same everywhere."""
    source = random.Random(seed)

    def choose(values: Sequence[Any]) -> Any:
        return values[int(source.random() * len(values))]

    return _Generator(choose, choose(SIZES)).program()


def programs() -> Any:
    """A Hypothesis strategy for programs."""
    from hypothesis import strategies

    @strategies.composite
    def drawn(draw: Callable[[Any], Any]) -> Program:
        def choose(values: Sequence[Any]) -> Any:
            return values[draw(strategies.integers(0, len(values) - 1))]

        size = draw(strategies.integers(1, max(SIZES)))
        return _Generator(choose, size).program()

    return drawn()


# ---- making them smaller ----


def smaller(value: Any) -> Iterator[Any]:
    """Programs like this one, but with something left out or made plainer."""
    if isinstance(value, dict):
        body = value["body"]
        for fewer in _smaller_block(body):
            yield {**value, "body": fewer}
        for name, of in OPTIONS.items():
            if value[name] != of.values[0] and name not in ("unruly", "outside"):
                yield {**value, name: of.values[0]}


def _smaller_block(block: Block) -> Iterator[Block]:
    size = len(block)
    while size:
        for start in range(0, len(block), size):
            yield block[:start] + block[start + size :]
        size //= 2
    for place, line in enumerate(block):
        before, after = block[:place], block[place + 1 :]
        arguments = OPERATIONS[line[0]].arguments
        for at, argument in enumerate(arguments, 1):
            if isinstance(argument, BLOCK) and line[at] and argument.of == "any":
                yield before + line[at] + after
        for at, argument in enumerate(arguments, 1):
            if isinstance(argument, BLOCK):
                others: Iterator[Any] = _smaller_block(line[at])
            elif line[at] != argument.values[0]:
                others = iter([argument.values[0]])
            else:
                continue
            for other in others:
                yield [*before, [*line[:at], other, *line[at + 1 :]], *after]
