"""Assertions on exception groups, deprecated in favour of pytest's.

`RaisesGroup` and `Matcher` describe what is expected: a group with certain
members, and a single exception. Both know how to put into words why an
exception is not what they expect; that text is built as lines and indented
where one description contains another.
"""

from __future__ import annotations

import re
import sys
from abc import ABC, abstractmethod
from textwrap import indent

from .._util import final

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence
    from re import Pattern
    from types import TracebackType
    from typing import Any, NoReturn, TypeAlias

    from pytest import ExceptionInfo

    Expected: TypeAlias = "type[BaseException] | Matcher | RaisesGroup"

_NO_FLAGS = re.compile("").flags


@final
class _ExceptionInfo:
    """What ``with RaisesGroup(...) as excinfo`` gives where pytest is missing."""

    __class_getitem__ = classmethod(type(list[int]))  # type: ignore[var-annotated]

    def __init__(
        self,
        excinfo: tuple[type[BaseException], BaseException, TracebackType] | None,
    ) -> None:
        self._excinfo = excinfo

    @classmethod
    def for_later(cls) -> _ExceptionInfo:
        return cls(None)

    def fill_unfilled(
        self, exc_info: tuple[type[BaseException], BaseException, TracebackType]
    ) -> None:
        assert self._excinfo is None, "ExceptionInfo was already filled"
        self._excinfo = exc_info

    def _part(self, index: int, name: str) -> Any:
        assert self._excinfo is not None, (
            f".{name} can only be used after the context manager exits"
        )
        return self._excinfo[index]

    @property
    def type(self) -> type[BaseException]:
        """The class of the exception."""
        return self._part(0, "type")  # type: ignore[no-any-return]

    @property
    def value(self) -> BaseException:
        """The exception."""
        return self._part(1, "value")  # type: ignore[no-any-return]

    @property
    def tb(self) -> TracebackType:
        """The traceback of the exception."""
        return self._part(2, "tb")  # type: ignore[no-any-return]

    def _needs_pytest(self, *args: object, **kwargs: object) -> NoReturn:
        raise NotImplementedError(
            "This is a helper method only available if you use RaisesGroup with"
            " the pytest package installed"
        )

    exconly = errisinstance = getrepr = _needs_pytest


if not TYPE_CHECKING:
    try:
        from pytest import ExceptionInfo
    except ImportError:
        ExceptionInfo = _ExceptionInfo


def repr_callable(fun: Callable[..., bool]) -> str:
    """How a check function appears in messages; tests may replace it.

    Where Hypothesis is in use, as that shows functions: lambdas by their source.
    """
    reflection = sys.modules.get("hypothesis.internal.reflection")
    if reflection is not None:
        return repr(reflection.get_pretty_function_description(fun))
    return repr(fun)


def _message(exc: BaseException) -> str:
    """What `match` is compared with: the exception's text and its notes."""
    notes = getattr(exc, "__notes__", [])
    return "\n".join([getattr(exc, "message", str(exc)), *notes])


def _quoted(cls: type[BaseException]) -> str:
    return repr(cls.__name__)


def _wrong_type(expected: type[BaseException], exc: BaseException) -> str | None:
    """Why `exc` is not an `expected`, or None if it is one."""
    if isinstance(exc, expected):
        return None
    actual = _quoted(type(exc))
    if isinstance(exc, BaseExceptionGroup) and not issubclass(
        expected, BaseExceptionGroup
    ):
        return f"Unexpected nested {actual}, expected {_quoted(expected)}"
    return f"{actual} is not of type {_quoted(expected)}"


def _describe(expected: Expected) -> str:
    return _quoted(expected) if isinstance(expected, type) else repr(expected)


def _mismatch(expected: Expected, exc: BaseException) -> str | None:
    """Why `exc` is not what `expected` describes, or None if it is.

    Starts with a newline if it takes several lines that belong together.
    """
    if isinstance(expected, type):
        return _wrong_type(expected, exc)
    if expected.matches(exc):
        return None
    reason = expected.fail_reason
    assert reason is not None
    if reason.startswith("\n"):
        return f"\n{expected!r}: {indent(reason, '  ')}"
    return f"{expected!r}: {reason}"


def _leaves(exceptions: Iterable[BaseException]) -> list[BaseException]:
    """The exceptions, with groups replaced by what is in them, at any depth."""
    leaves: list[BaseException] = []
    for exc in exceptions:
        if isinstance(exc, BaseExceptionGroup):
            leaves += _leaves(exc.exceptions)
        else:
            leaves.append(exc)
    return leaves


class AbstractMatcher(ABC):
    """What the two kinds of description share: `match` and `check`."""

    __class_getitem__ = classmethod(type(list[int]))  # type: ignore[var-annotated]

    def __init__(
        self,
        match: str | Pattern[str] | None,
        check: Callable[[Any], bool] | None,
    ) -> None:
        self.match = re.compile(match) if isinstance(match, str) else match
        self.check = check
        self._fail_reason: str | None = None
        # Whether this is part of a RaisesGroup, whose messages show its repr.
        self._nested = False

    @property
    def fail_reason(self) -> str | None:
        """Why the last call of :meth:`matches` returned False."""
        return self._fail_reason

    @abstractmethod
    def matches(self, exception: BaseException) -> bool:
        """Whether `exception` is what this describes."""

    def _match_source(self) -> str | Pattern[str]:
        """The pattern as it was written, unless it has flags."""
        assert self.match is not None
        return self.match.pattern if self.match.flags == _NO_FLAGS else self.match

    def _match_failure(self, exc: BaseException) -> str | None:
        """Why `exc` does not satisfy `match`, or None if it does."""
        if self.match is None:
            return None
        message = _message(exc)
        if self.match.search(message):
            return None
        source = self._match_source()
        reason = f"Regex pattern {source!r} did not match {message!r}"
        if isinstance(exc, BaseExceptionGroup):
            reason += f" of {_quoted(type(exc))}"
        if source == message:
            reason += "\n  Did you mean to `re.escape()` the regex?"
        return reason

    def _check_failure(self, exc: BaseException) -> str | None:
        """Why `exc` does not satisfy `check`, or None if it does."""
        if self.check is None or self.check(exc):
            return None
        which = "" if self._nested else f" {repr_callable(self.check)}"
        return f"check{which} did not return True"

    def _call_repr(self, *arguments: str) -> str:
        """The repr: a call with these arguments, and `match` and `check`."""
        shown = list(arguments)
        if self.match is not None:
            shown.append(f"match={self._match_source()!r}")
        if self.check is not None:
            shown.append(f"check={repr_callable(self.check)}")
        return f"{type(self).__name__}({', '.join(shown)})"


@final
class Matcher(AbstractMatcher):
    """Describes one exception inside a group, for :class:`RaisesGroup`.

    Args:
      exception_type: the class that it has to be an instance of.
      match: text or compiled regular expression, searched for in the
          exception's text with its notes.
      check: function of the exception that returns whether it is right.

    At least one is needed.

    Raises:
      ValueError: none is given, or the type is not that of an exception.
    """

    def __init__(
        self,
        exception_type: type[BaseException] | None = None,
        match: str | Pattern[str] | None = None,
        check: Callable[[Any], bool] | None = None,
    ) -> None:
        super().__init__(match, check)
        if exception_type is None and match is None and check is None:
            raise ValueError("You must specify at least one parameter to match on.")
        if exception_type is not None and not issubclass(exception_type, BaseException):
            raise ValueError(
                f"exception_type {exception_type} must be a subclass of BaseException"
            )
        self.exception_type = exception_type

    def matches(self, exception: BaseException) -> bool:
        """Whether `exception` is what this describes; see `fail_reason` if not."""
        reason = None
        if self.exception_type is not None:
            reason = _wrong_type(self.exception_type, exception)
        if reason is None:
            reason = self._match_failure(exception)
        if reason is None:
            reason = self._check_failure(exception)
        self._fail_reason = reason
        return reason is None

    def __repr__(self) -> str:
        if self.exception_type is None:
            return self._call_repr()
        return self._call_repr(self.exception_type.__name__)


class _Pairing:
    """An attempt to give each raised exception an expected one of its own.

    Greedy: each expectation, in order, takes the first raised exception that
    fits and is still free.
    """

    def __init__(
        self, expected: Sequence[Expected], raised: Sequence[BaseException]
    ) -> None:
        self.expected = expected
        self.raised = raised
        self._mismatches: dict[tuple[int, int], str | None] = {}
        # Index of the expectation -> index of the exception it took, and back.
        self.taken: dict[int, int] = {}
        self.taker: dict[int, int] = {}
        for e in range(len(expected)):
            for r in range(len(raised)):
                if r not in self.taker and self.mismatch(e, r) is None:
                    self.taken[e] = r
                    self.taker[r] = e
                    break
        self.unmet = [e for e in range(len(expected)) if e not in self.taken]
        self.left = [r for r in range(len(raised)) if r not in self.taker]

    def mismatch(self, e: int, r: int) -> str | None:
        """Why the pair does not fit, or None if it does. Tried only once."""
        if (e, r) not in self._mismatches:
            self._mismatches[e, r] = _mismatch(self.expected[e], self.raised[r])
        return self._mismatches[e, r]

    def failure(self) -> str | None:
        """Why there is no perfect pairing, or None if there is."""
        if not self.unmet and not self.left:
            return None
        if len(self.expected) == len(self.raised) == 1:
            return self.mismatch(0, 0)

        matched = ""
        if self.taken:
            plural = "s" if len(self.taken) > 1 else ""
            matched = f"{len(self.taken)} matched exception{plural}. "

        # If what is left over fits nothing at all, there is little to explain.
        all_e, all_r = range(len(self.expected)), range(len(self.raised))
        hopeless_left = not self._any_fit(all_e, self.left)
        hopeless_unmet = not self._any_fit(self.unmet, all_r)
        if not self.unmet and hopeless_left:
            strays = [self.raised[r] for r in self.left]
            return f"{matched}Unexpected exception(s): {strays!r}"
        if not self.left and hopeless_unmet:
            missing = ", ".join(_describe(self.expected[e]) for e in self.unmet)
            return (
                f"{matched}Too few exceptions raised, found no match for: [{missing}]"
            )
        if len(self.unmet) == len(self.left) == 1 and hopeless_left and hopeless_unmet:
            return f"{matched}{self.mismatch(self.unmet[0], self.left[0])}"

        lines = [matched] if matched else []
        if not self.left:
            lines.append("Too few exceptions raised!")
        elif not self.unmet:
            lines.append("Unexpected exception(s)!")
        lines += self._unmet_lines()
        lines += self._left_lines()
        if len(self.expected) == len(self.raised) and self._solvable():
            lines.append(
                "There exist a possible match when attempting an exhaustive check,"
                " but RaisesGroup uses a greedy algorithm. Please make your expected"
                " exceptions more stringent with `Matcher` etc so the greedy"
                " algorithm can function."
            )
        return "\n" + "\n".join(lines)

    def _any_fit(self, some_e: Iterable[int], some_r: Iterable[int]) -> bool:
        return any(self.mismatch(e, r) is None for e in some_e for r in some_r)

    def _unmet_lines(self) -> list[str]:
        if not self.unmet:
            return []
        lines = ["The following expected exceptions did not find a match:"]
        for e in self.unmet:
            lines.append(f"  {_describe(self.expected[e])}")
            for r, exc in enumerate(self.raised):
                if self.mismatch(e, r) is None:
                    rival = _describe(self.expected[self.taker[r]])
                    lines.append(
                        f"    It matches {exc!r} which was paired with {rival}"
                    )
        return lines

    def _left_lines(self) -> list[str]:
        if not self.left:
            return []
        lines = ["The following raised exceptions did not find a match"]
        for r in self.left:
            lines.append(f"  {self.raised[r]!r}:")
            for e, expected in enumerate(self.expected):
                reason = self.mismatch(e, r)
                if reason is None:
                    rival = self.raised[self.taken[e]]
                    lines.append(
                        f"    It matches {_describe(expected)}"
                        f" which was paired with {rival!r}"
                    )
                elif e in self.unmet:
                    lines.append(indent(reason.removeprefix("\n"), "    "))
        return lines

    def _solvable(self) -> bool:
        """Whether another choice of partners would have satisfied everybody."""

        def place(e: int, used: frozenset[int]) -> bool:
            if e == len(self.expected):
                return True
            return any(
                r not in used
                and self.mismatch(e, r) is None
                and place(e + 1, used | {r})
                for r in range(len(self.raised))
            )

        return place(0, frozenset())


@final
class RaisesGroup(AbstractMatcher):
    """Context manager: the block raises an exception group of a certain shape.

    Args:
      exception, *other_exceptions: one description for each exception in the
          group, in any order: a class, a :class:`Matcher`, or for a nested
          group another RaisesGroup.
      allow_unwrapped: a single exception, not in a group, is fine too. Only
          with one description.
      flatten_subgroups: how the group is nested does not matter; the
          exceptions are looked for at any depth.
      match: text or compiled regular expression, searched for in the group's
          own text with its notes.
      check: function of the group that returns whether it is right.

    It gives a :class:`pytest.ExceptionInfo`, or something like it without
    pytest. :meth:`matches` is for use without ``with``.

    Raises:
      ValueError: the arguments contradict each other.
      AssertionError: at the end of the block, with an explanation, if it did
          not raise what was expected.
    """

    def __init__(
        self,
        exception: Expected,
        *other_exceptions: Expected,
        allow_unwrapped: bool = False,
        flatten_subgroups: bool = False,
        match: str | Pattern[str] | None = None,
        check: Callable[[Any], bool] | None = None,
    ) -> None:
        super().__init__(match, check)
        self.expected_exceptions = (exception, *other_exceptions)
        self.allow_unwrapped = allow_unwrapped
        self.flatten_subgroups = flatten_subgroups
        if allow_unwrapped:
            self._validate_allow_unwrapped()
        self.is_baseexceptiongroup = False
        for expected in self.expected_exceptions:
            self.is_baseexceptiongroup |= self._adopt(expected)

    def _validate_allow_unwrapped(self) -> None:
        if len(self.expected_exceptions) > 1:
            raise ValueError(
                "You cannot specify multiple exceptions with `allow_unwrapped=True.`"
                " If you want to match one of multiple possible exceptions you should"
                " use a `Matcher`."
                " E.g. `Matcher(check=lambda e: isinstance(e, (...)))`"
            )
        if isinstance(self.expected_exceptions[0], RaisesGroup):
            raise ValueError(
                "`allow_unwrapped=True` has no effect when expecting a `RaisesGroup`."
                " You might want it in the expected `RaisesGroup`, or"
                " `flatten_subgroups=True` if you don't care about the structure."
            )
        if self.match is not None or self.check is not None:
            raise ValueError(
                "`allow_unwrapped=True` bypasses the `match` and `check` parameters if"
                " the exception is unwrapped. If you intended to match/check the"
                " exception you should use a `Matcher` object. If you want to"
                " match/check the exceptiongroup when the exception *is* wrapped you"
                " need to do e.g. `if isinstance(exc.value, ExceptionGroup): assert"
                " RaisesGroup(...).matches(exc.value)` afterwards."
            )

    def _adopt(self, expected: Expected) -> bool:
        """Validate a member; whether it takes a BaseExceptionGroup to hold it."""
        if isinstance(expected, RaisesGroup):
            if self.flatten_subgroups:
                raise ValueError(
                    "You cannot specify a nested structure inside a RaisesGroup with"
                    " `flatten_subgroups=True`. The parameter will flatten subgroups"
                    " in the raised exceptiongroup before matching, which would never"
                    " match a nested structure."
                )
            expected._nested = True
            return expected.is_baseexceptiongroup
        if isinstance(expected, Matcher):
            expected._nested = True
            cls = expected.exception_type
            return cls is not None and not issubclass(cls, Exception)
        if isinstance(expected, type) and issubclass(expected, BaseException):
            return not issubclass(expected, Exception)
        raise ValueError(
            f'Invalid argument "{expected!r}" must be exception type, Matcher, or'
            " RaisesGroup."
        )

    def __enter__(self) -> ExceptionInfo[Any]:
        self.excinfo: ExceptionInfo[Any] = ExceptionInfo.for_later()
        return self.excinfo

    def __exit__(
        self,
        exc_type: type[BaseException] | None,
        exc_val: BaseException | None,
        exc_tb: TracebackType | None,
    ) -> bool:
        __tracebackhide__ = True
        assert exc_type is not None, (
            f"DID NOT RAISE any exception, expected {self.expected_type()}"
        )
        group = "group"
        if self.allow_unwrapped and not issubclass(exc_type, BaseExceptionGroup):
            group = "(group)"
        assert self.matches(exc_val), (
            f"Raised exception {group} did not match: {self._fail_reason}"
        )
        self.excinfo.fill_unfilled((exc_type, exc_val, exc_tb))  # type: ignore[arg-type]
        return True

    def matches(self, exc_val: BaseException | None) -> bool:
        """Whether `exc_val` is what this describes; see `fail_reason` if not."""
        if exc_val is None:
            self._fail_reason = "exception is None"
        elif isinstance(exc_val, BaseExceptionGroup):
            self._fail_reason = self._group_failure(exc_val)
        else:
            self._fail_reason = self._bare_failure(exc_val)
        return self._fail_reason is None

    def _bare_failure(self, exc: BaseException) -> str | None:
        not_a_group = f"{_quoted(type(exc))} is not an exception group"
        if len(self.expected_exceptions) > 1:
            return not_a_group
        reason = _mismatch(self.expected_exceptions[0], exc)
        if self.allow_unwrapped:
            return reason
        if reason is None:
            return f"{not_a_group}, but would match with `allow_unwrapped=True`"
        return not_a_group

    def _group_failure(self, group: BaseExceptionGroup) -> str | None:
        members: Sequence[BaseException] = group.exceptions
        if self.flatten_subgroups:
            members = _leaves(members)
        reason = self._match_failure(group)
        if reason is not None:
            return reason + self._match_hint(members)
        reason = _Pairing(self.expected_exceptions, members).failure()
        if reason is not None:
            return reason + self._flatten_hint(group, reason)
        return self._check_failure(group)

    def _match_hint(self, members: Sequence[BaseException]) -> str:
        """For a `match` that was perhaps meant for the only member."""
        if len(members) != 1 or len(self.expected_exceptions) != 1:
            return ""
        (exc,), (cls,) = members, self.expected_exceptions
        if (
            not isinstance(cls, type)
            or not isinstance(exc, cls)
            or self._match_failure(exc) is not None
        ):
            return ""
        return (
            f", but matched the expected {_describe(cls)}. You might want"
            f" RaisesGroup(Matcher({cls.__name__}, match={self._match_source()!r}))"
        )

    def _flatten_hint(self, group: BaseExceptionGroup, reason: str) -> str:
        """For a group that holds the right exceptions, but nested."""
        nested = any(isinstance(exc, BaseExceptionGroup) for exc in group.exceptions)
        if (
            self.flatten_subgroups
            or not nested
            or any(isinstance(e, RaisesGroup) for e in self.expected_exceptions)
        ):
            return ""
        flat = _Pairing(self.expected_exceptions, _leaves(group.exceptions))
        if flat.failure() is not None:
            return ""
        # Part of a one-line reason, but not of the last entry of a list.
        margin = "" if "\n" in reason else "  "
        return f"\n{margin}Did you mean to use `flatten_subgroups=True`?"

    def expected_type(self) -> str:
        """What is expected, in words: a group's class and its members."""
        members = []
        for expected in self.expected_exceptions:
            if isinstance(expected, RaisesGroup):
                members.append(expected.expected_type())
            elif isinstance(expected, Matcher):
                members.append(repr(expected))
            else:
                members.append(expected.__name__)
        base = "Base" if self.is_baseexceptiongroup else ""
        return f"{base}ExceptionGroup({', '.join(members)})"

    def __repr__(self) -> str:
        shown = [
            expected.__name__ if isinstance(expected, type) else repr(expected)
            for expected in self.expected_exceptions
        ]
        for option in ("allow_unwrapped", "flatten_subgroups"):
            value = getattr(self, option)
            if value:
                shown.append(f"{option}={value}")
        return self._call_repr(*shown)
