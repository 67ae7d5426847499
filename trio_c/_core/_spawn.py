"""Everything about spawning that is not the common case: objects that are not
coroutines, and the explanations that their authors deserve."""

import collections.abc

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine
    from typing import Any


def _looks_foreign(value: object) -> bool:
    """Does this come from a library for another event loop?"""
    return (
        isinstance(value, collections.abc.Generator)
        or getattr(value, "_asyncio_future_blocking", None) is not None
        or type(value).__name__ in ("Future", "Deferred")
    )


def explain_type_error(async_fn: object) -> TypeError | None:
    """A better error for calling `async_fn`, or None if the one it raised will
    do. A coroutine object is closed, since nobody will ever await it."""
    if isinstance(async_fn, collections.abc.Coroutine):
        async_fn.close()
        name = async_fn.__name__  # type: ignore[attr-defined]
        error = TypeError(
            "Trio was expecting an async function, but instead it got a coroutine "
            f"object {async_fn!r}\n"
            "\n"
            "Probably you did something like:\n"
            "\n"
            f"  trio.run({name}(...))            # incorrect!\n"
            f"  nursery.start_soon({name}(...))  # incorrect!\n"
            "\n"
            "Instead, you want (notice the parentheses!):\n"
            "\n"
            f"  trio.run({name}, ...)            # correct!\n"
            f"  nursery.start_soon({name}, ...)  # correct!"
        )
    elif _looks_foreign(async_fn):
        error = TypeError(
            f"Trio was expecting an async function, but instead it got {async_fn!r} "
            "– are you trying to use a library written for asyncio/twisted/tornado "
            "or similar? That won't work without some sort of compatibility shim."
        )
    else:
        return None
    error.__suppress_context__ = True
    return error


def check(
    coro: object, async_fn: "Callable[..., object]"
) -> "Coroutine[object, object, object]":
    """Return what calling `async_fn` gave if it is a coroutine.

    Raises:
      TypeError: it is not, with a guess at what went wrong.
    """
    # A native awaitable is an iterator too, but first of all a coroutine.
    if isinstance(coro, collections.abc.Coroutine):
        return coro
    if _looks_foreign(coro):
        raise TypeError(
            f"Trio got unexpected {coro!r} – are you trying to use a library written "
            "for asyncio/twisted/tornado or similar? That won't work without some "
            "sort of compatibility shim."
        )
    if isinstance(coro, collections.abc.AsyncGenerator):
        raise TypeError(
            f"start_soon expected an async function but got an async generator {coro!r}"
        )
    name = getattr(async_fn, "__qualname__", async_fn)
    raise TypeError(
        f"Trio expected an async function, but {name!r} appears to be synchronous"
    )


async def _await_it(coro: "Coroutine[object, object, object]") -> object:
    return await coro


def as_root(
    coro: object, async_fn: "Callable[..., object]"
) -> "Coroutine[object, object, object]":
    """Like `check`, and fit to be the root of a task: foreign coroutines
    without a frame get a Python coroutine around them."""
    coro = check(coro, async_fn)
    if getattr(coro, "cr_frame", None) is None:
        return _await_it(coro)
    return coro


def task_name(name: "Any") -> str:
    """What `name` is called: functions by module and qualified name."""
    from functools import partial

    if isinstance(name, partial):
        name = name.func
    if isinstance(name, str):
        return name
    try:
        return f"{name.__module__}.{name.__qualname__}"
    except AttributeError:
        return repr(name)
