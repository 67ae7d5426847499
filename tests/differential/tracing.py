"""What is written down of a program's run, and in which words."""

from __future__ import annotations

import re
from typing import Any

from language import Program

HERE = __file__.rpartition("/")[0] + "/"
ADDRESS = re.compile(r"0x[0-9a-f]+")
# The libraries' own names.
LIBRARY = re.compile(r"\btrio_c\b")
# Functions inside the libraries that tasks are named after, and what they say.
INTERNAL = re.compile(
    r"trio\._core\._entry_queue\.[\w.<>]*kill_everything"
    r"|trio\._channel\.(?:as_safe_channel\.<locals>\._move_elems_to_channel"
    r"|RecvChanWrapper\._produce)"
    # What assertions say, if anything.
    r"|(?<=AssertionError\()[^)]*"
)
# Some messages are followed by advice, each library's own. The line breaks may
# be those of a repr.
ADVICE = re.compile(
    r"(stack corrupted: .*?)(?:\\+n|\n).*?"
    r"(?:issues/new|report it as a bug\.)(?:\\+n|\n)?",
    re.DOTALL,
)
MOST_EXCEPTIONS = 40
VOID = "void"


class Trace:
    """The lines of a run, in order, and the names of what appears in them."""

    def __init__(self) -> None:
        self.lines: list[Any] = []
        self._exceptions = 0
        # Whatever happens in here is about the trace, not about the program.
        self.closed = False
        self._left: list[Any] = []

    def leave(self, who: str, *line: Any) -> None:
        """Add a line at the end, where the order is that of who says it."""
        self._left.append((who, *line))

    def close(self) -> None:
        self.lines += sorted(self._left, key=lambda line: line[0])
        self.closed = True

    def add(self, *line: Any) -> None:
        if not self.closed:
            self.lines.append(line)

    def number(self, exception: BaseException) -> int:
        """Exceptions are numbered as they are seen, which shows identity.

        The number is kept in the exception: nothing here keeps it alive.
        """
        try:
            return exception._seen_as  # type: ignore[attr-defined]
        except AttributeError:
            self._exceptions += 1
            exception._seen_as = self._exceptions  # type: ignore[attr-defined]
            return self._exceptions

    def brief(self, exception: BaseException) -> list[Any]:
        return [self.number(exception), kind(exception)]

    def full(self, exception: BaseException | None) -> Any:
        """All that can be seen of an exception, and of those it refers to."""
        seen: set[int] = set()

        def describe(exception: BaseException | None) -> Any:
            if exception is None:
                return None
            number = self.number(exception)
            if number in seen or len(seen) >= MOST_EXCEPTIONS:
                return number
            seen.add(number)
            told: dict[str, Any] = {"is": self.brief(exception)}
            if isinstance(exception, BaseExceptionGroup):
                told["message"] = exception.message
                told["members"] = [describe(each) for each in exception.exceptions]
            else:
                is_assertion = isinstance(exception, AssertionError)
                told["text"] = "internal" if is_assertion else text(exception)
            if kind(exception) == "trio.Cancelled":
                told["cancelled"] = [
                    text(exception.source),  # type: ignore[attr-defined]
                    text(exception.reason),  # type: ignore[attr-defined]
                    text(exception.source_task),  # type: ignore[attr-defined]
                ]
            if notes := getattr(exception, "__notes__", None):
                told["notes"] = list(notes)
            told["frames"] = frames(exception)
            if exception.__cause__ is not None:
                told["cause"] = describe(exception.__cause__)
            if exception.__suppress_context__:
                # What is behind "from None" or "from cause" is nobody's
                # business: where Trio looks something up and fails, that is
                # a KeyError of its own.
                told["suppress"] = True
            elif (context := context_of(exception)) is not None:
                told["context"] = describe(context)
            return told

        return describe(exception)


def is_void(program: Program, trace: str) -> bool:
    """Has Trio lost its own way in that run?

    Who leaves nurseries open, or scopes in the wrong order, can make it fail
    an assertion about itself, or end in a TrioInternalError; so can jobs that
    fail when the system tasks are gone. A GeneratorExit of an entry-queue job
    may get as far as its run loop, which is a generator and takes it for the
    end of a guest run. Nobody else has to fail in the same way: there trio_c
    just has to come to an end.
    """
    anywhere = (
        "guest run got abandoned",
        '"builtins.AssertionError"], "text": "internal", "frames": []',
    )
    unruly = ('"builtins.AssertionError"]', '"trio.TrioInternalError"]')
    return any(sign in trace for sign in anywhere) or (
        program["unruly"] and any(sign in trace for sign in unruly)
    )


def context_of(exception: BaseException) -> BaseException | None:
    """Its `__context__`, but for a WouldBlock that nobody but Trio has seen.

    Trio's acquire(), send() and receive() wait inside of an `except
    WouldBlock:`, so that it is the context of whatever ends the wait. That is
    how they are written, and no news to anybody; trio_c's do not do that
    (docs/differences.md).
    """
    context = exception.__context__
    while (
        context is not None
        and kind(context) == "trio.WouldBlock"
        and not frames(context)
    ):
        context = context.__context__
    return context


def kind(thing: object) -> str:
    """The name of its type."""
    cls = type(thing)
    return LIBRARY.sub("trio", f"{cls.__module__}.{cls.__qualname__}")


def frames(exception: BaseException) -> list[str]:
    """Its traceback, as far as it is the program's: a library's is its own."""
    found = []
    traceback = exception.__traceback__
    while traceback is not None:
        code = traceback.tb_frame.f_code
        if code.co_filename.startswith(HERE):
            found.append(f"{code.co_name}:{traceback.tb_lineno}")
        traceback = traceback.tb_next
    return found


def text(value: object) -> str | None:
    """Its str, without what differs from run to run."""
    if value is None:
        return None
    plain = LIBRARY.sub("trio", ADDRESS.sub("0x", str(value)))
    return ADVICE.sub(r"\1", INTERNAL.sub("internal", plain))
