"""A decorator that turns an async test into a synchronous one."""

from __future__ import annotations

from functools import partial, wraps

from .. import _core
from .._abc import Clock, Instrument

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable
    from typing import ParamSpec, TypeVar

    ArgsT = ParamSpec("ArgsT")
    RetT = TypeVar("RetT")


def trio_test(fn: Callable[ArgsT, Awaitable[RetT]]) -> Callable[ArgsT, RetT]:
    """Decorator: calling the async function `fn` runs it with :func:`trio_c.run`.

    Meant for test functions, where frameworks pass fixtures by keyword: a
    keyword argument that is a :class:`~trio_c.abc.Clock` becomes the run's
    clock, those that are :class:`~trio_c.abc.Instrument` objects its
    instruments. `fn` gets all of them too.

    Raises:
      ValueError: on the call, if there is more than one clock.
    """

    @wraps(fn)
    def wrapper(*args: ArgsT.args, **kwargs: ArgsT.kwargs) -> RetT:
        __tracebackhide__ = True
        values = kwargs.values()
        clocks = [value for value in values if isinstance(value, Clock)]
        if len(clocks) > 1:
            raise ValueError("too many clocks spoil the broth!")
        return _core.run(
            partial(fn, *args, **kwargs),
            clock=clocks[0] if clocks else None,
            instruments=[value for value in values if isinstance(value, Instrument)],
        )

    return wrapper
