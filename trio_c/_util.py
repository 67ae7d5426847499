"""Small helpers that the package's Python modules share.

Nearly every module imports this one, so it imports next to nothing itself:
what is needed only on an error path is looked up there.
"""

from __future__ import annotations

import _signal  # type: ignore[import-not-found]
from abc import ABCMeta

import trio_c as trio

from ._native import coroutine_or_error  # noqa: F401  for other modules

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Callable, Mapping
    from types import TracebackType
    from typing import Any, NoReturn, TypeVar, final as final, overload as overload

    CallT = TypeVar("CallT", bound=Callable[..., Any])
    T = TypeVar("T")
else:

    def final(cls):
        """Class decorator: whoever tries to subclass `cls` gets a TypeError."""
        cls.__init_subclass__ = classmethod(_refuse_subclass)
        cls.__final__ = True
        return cls

    def overload(function):
        """Stands in for ``typing.overload``: only type checkers look."""
        return function


def _refuse_subclass(subclass: type) -> NoReturn:
    name = f"{subclass.__module__}.{subclass.__qualname__}"
    raise TypeError(f"{name} does not support subclassing")


@final
class NoPublicConstructor(ABCMeta):
    """Metaclass: calling the class fails, ``cls._create(...)`` makes instances."""

    def __call__(cls, *args: object, **kwargs: object) -> NoReturn:
        name = f"{cls.__module__}.{cls.__qualname__}"
        raise TypeError(f"{name} has no public constructor")

    def _create(cls: type[T], *args: object, **kwargs: object) -> T:
        return super().__call__(*args, **kwargs)  # type: ignore[misc, no-any-return]


class ConflictDetector:
    """Context manager that lets one task in and raises for any other.

    It never waits. The second to enter gets :exc:`trio_c.BusyResourceError`
    with the text given here.
    """

    __slots__ = ("_busy", "_msg")

    def __init__(self, msg: str) -> None:
        self._msg = msg
        self._busy = False

    def __enter__(self) -> None:
        if self._busy:
            raise trio.BusyResourceError(self._msg)
        self._busy = True

    def __exit__(
        self,
        exc_type: type[BaseException] | None,
        exc_value: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._busy = False


def is_main_thread() -> bool:
    """True in the thread, and interpreter, that may set signal handlers."""
    # Only the interpreter knows for sure (threading can be mistaken after a
    # fork), and it answers when a handler is replaced by itself. A handler
    # that was not installed from Python reads as None and cannot be.
    try:
        _signal.signal(_signal.SIGINT, _signal.getsignal(_signal.SIGINT))
    except (TypeError, ValueError):
        return False
    return True


def async_wraps(
    cls: type, wrapped_cls: type, attr_name: str
) -> Callable[[CallT], CallT]:
    """Decorator for `cls`'s async counterpart of ``wrapped_cls.attr_name``.

    Gives the function its public name, and a docstring that refers to the
    original.
    """
    original = f"{wrapped_cls.__module__}.{wrapped_cls.__qualname__}.{attr_name}"

    def rename(func: CallT) -> CallT:
        func.__name__ = attr_name
        func.__qualname__ = f"{cls.__qualname__}.{attr_name}"
        func.__doc__ = f"The async version of :meth:`~{original}`."
        return func

    return rename


def fixup_module_metadata(module_name: str, namespace: Mapping[str, object]) -> None:
    """Make the public objects in `namespace` say that they live in `module_name`.

    `__module__`, `__name__` and `__qualname__` become those under which users
    find the object, for classes with everything inside. Names that start with
    an underscore stay as they are, and so do objects that are not from one of
    this package's private modules: they have been published already, or are
    not ours.
    """
    done: set[int] = set()

    def publish(obj: Any, qualname: str) -> None:
        if id(obj) in done:
            return
        done.add(id(obj))
        home = getattr(obj, "__module__", None)
        old_name = getattr(obj, "__name__", None)
        # "trio." is this package too, once the drop-in has relabelled it.
        # What has no name is an instance, whose module is its class's.
        if (
            not isinstance(home, str)
            or not home.startswith(("trio_c.", "trio."))
            or "._" not in home
            or old_name is None
        ):
            return
        if home != module_name:
            obj.__module__ = module_name
        name = qualname.rpartition(".")[2]
        if "." not in old_name:
            if old_name != name:
                obj.__name__ = name
            if getattr(obj, "__qualname__", qualname) != qualname:
                obj.__qualname__ = qualname
        if isinstance(obj, type):
            for name, member in list(vars(obj).items()):
                publish(member, f"{qualname}.{name}")

    for name, obj in namespace.items():
        if not name.startswith("_"):
            publish(obj, name)


def name_asyncgen(agen: AsyncGenerator[Any, Any]) -> str:
    """``module.qualname`` of an async generator, as well as can be told."""
    code = getattr(agen, "ag_code", None)
    if code is None:
        return repr(agen)
    try:
        module = agen.ag_frame.f_globals["__name__"]  # type: ignore[attr-defined]
    except (AttributeError, KeyError):
        # A finished generator has no frame any more.
        module = f"<{code.co_filename}>"
    return f"{module}.{getattr(agen, '__qualname__', code.co_name)}"


def raise_saving_context(exc: BaseException) -> NoReturn:
    """Raise `exc` without touching its `__context__`."""
    __tracebackhide__ = True
    context = exc.__context__
    try:
        raise exc
    finally:
        exc.__context__ = context
        del exc, context


class MultipleExceptionError(Exception):
    """A group could not be reduced to one exception: it holds several."""


def raise_single_exception_from_group(
    eg: BaseExceptionGroup[BaseException],
) -> NoReturn:
    """Raise the one exception that `eg` directly holds and that matters.

    A KeyboardInterrupt or SystemExit wins over all others and is raised anew,
    caused by the group. Then comes the only exception that is not
    :exc:`trio_c.Cancelled`; when all are, the first of them. These keep their
    cause and context. Groups inside the group count as one exception each.

    Raises:
      MultipleExceptionError: there is more than one candidate.
    """
    cancelled = other = None
    for exc in eg.exceptions:
        if isinstance(exc, (KeyboardInterrupt, SystemExit)):
            raise type(exc)(*exc.args) from eg
    for exc in eg.exceptions:
        if isinstance(exc, trio.Cancelled):
            if cancelled is None:
                cancelled = exc
        elif other is None:
            other = exc
        else:
            raise MultipleExceptionError(
                "Attempted to unwrap exceptiongroup with multiple non-cancelled"
                " exceptions. This is often caused by a bug in the caller."
            ) from eg
    # No group is empty.
    raise_saving_context(cancelled if other is None else other)  # type: ignore[arg-type]
