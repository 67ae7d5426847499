"""Deprecation warnings, for functions, aliases and module attributes."""

from __future__ import annotations

import sys

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any, ParamSpec, TypeVar

    ArgsT = ParamSpec("ArgsT")
    RetT = TypeVar("RetT")


class TrioDeprecationWarning(FutureWarning):
    """Something a Trio program does will stop working in a later version.

    Not a :exc:`DeprecationWarning`, which Python hides by default: the people
    who run the program are meant to see it.
    """


def _issue_url(issue: int) -> str:
    return f"https://github.com/python-trio/trio/issues/{issue}"


def _describe(thing: Any) -> str:
    try:
        return f"{thing.__module__}.{thing.__qualname__}"
    except AttributeError:
        return str(thing)


def warn_deprecated(
    thing: object,
    version: str,
    *,
    issue: int | None,
    instead: object,
    stacklevel: int = 2,
    use_triodeprecationwarning: bool = False,
) -> None:
    """Warn that `thing` is deprecated since `version`, naming what to use instead.

    `thing` and `instead` are objects to be called by their qualified names,
    or text; `instead=None` says that there is no replacement. `stacklevel`
    counts Python frames: 1 blames the caller of this function, 2 its caller.
    """
    import warnings

    text = f"{_describe(thing)} is deprecated since Trio {version}"
    if instead is None:
        text += " with no replacement"
    else:
        text += f"; use {_describe(instead)} instead"
    if issue is not None:
        text += f" ({_issue_url(issue)})"
    category = (
        TrioDeprecationWarning if use_triodeprecationwarning else DeprecationWarning
    )
    warnings.warn(text, category, stacklevel=stacklevel + 1)


def _deprecation_note(version: str, issue: int | None, instead: object) -> str:
    """What a deprecated function's docstring ends with."""
    note = f"\n\n.. deprecated:: {version}\n"
    if instead is not None:
        note += f"   Use {_describe(instead)} instead.\n"
    if issue is not None:
        note += f"   For details, see `issue #{issue} <{_issue_url(issue)}>`__.\n"
    return note + "\n"


def deprecated(
    version: str,
    *,
    thing: object = None,
    issue: int | None,
    instead: object,
    use_triodeprecationwarning: bool = False,
) -> Callable[[Callable[ArgsT, RetT]], Callable[ArgsT, RetT]]:
    """Decorator: every call of the function warns, blaming the caller.

    The arguments are those of :func:`warn_deprecated`; `thing` is the function
    itself unless given. A docstring, if there is one, gets a note.
    """

    def decorate(fn: Callable[ArgsT, RetT]) -> Callable[ArgsT, RetT]:
        from functools import wraps

        @wraps(fn)
        def wrapper(*args: ArgsT.args, **kwargs: ArgsT.kwargs) -> RetT:
            warn_deprecated(
                wrapper if thing is None else thing,
                version,
                issue=issue,
                instead=instead,
                use_triodeprecationwarning=use_triodeprecationwarning,
            )
            return fn(*args, **kwargs)

        if fn.__doc__ is not None:
            note = _deprecation_note(version, issue, instead)
            wrapper.__doc__ = fn.__doc__.rstrip() + note
        return wrapper

    return decorate


def deprecated_alias(
    old_qualname: str,
    new_fn: Callable[ArgsT, RetT],
    version: str,
    *,
    issue: int | None,
) -> Callable[ArgsT, RetT]:
    """A function that does what `new_fn` does, under an old and deprecated name."""
    from functools import wraps

    @wraps(new_fn)
    def alias(*args: ArgsT.args, **kwargs: ArgsT.kwargs) -> RetT:
        return new_fn(*args, **kwargs)

    alias.__doc__ = f"Alias for {_describe(new_fn)}."
    alias.__name__ = old_qualname.rpartition(".")[2]
    alias.__qualname__ = old_qualname
    return deprecated(version, issue=issue, instead=new_fn)(alias)


class DeprecatedAttribute:
    """A module attribute that warns when it is used.

    `instead` is what to recommend, as in :func:`warn_deprecated`; by default
    the value itself, which then is known under a better name.
    """

    __slots__ = ("instead", "issue", "value", "version")

    _not_set = object()

    def __init__(
        self,
        value: object,
        version: str,
        issue: int | None,
        instead: object = _not_set,
    ) -> None:
        self.value = value
        self.version = version
        self.issue = issue
        self.instead = value if instead is self._not_set else instead


def deprecate_attributes(
    module_name: str, deprecated_attributes: dict[str, DeprecatedAttribute]
) -> None:
    """Give a module attributes that warn, by way of a module ``__getattr__``."""
    module = sys.modules[module_name]

    def deprecated_getattr(name: str) -> object:
        # The module may have been renamed since: see the drop-in.
        qualname = f"{module.__name__}.{name}"
        info = deprecated_attributes.get(name)
        if info is None:
            raise AttributeError(
                f"module '{module.__name__}' has no attribute '{name}'"
            )
        warn_deprecated(qualname, info.version, issue=info.issue, instead=info.instead)
        return info.value

    vars(module)["__getattr__"] = deprecated_getattr
