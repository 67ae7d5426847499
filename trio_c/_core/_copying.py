"""Copying and pickling the native objects that upstream can copy.

It gives an object of its own, in the same state. While tasks use one it
cannot be done: nobody would wake them, or they would hold what is not theirs.
"""

from __future__ import annotations

from math import inf

from .._native import (
    CapacityLimiter,
    Condition,
    Event,
    Lock,
    ParkingLot,
    RunVar,
    Semaphore,
    StrictFIFOLock,
)
from ._local import _NoValue

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any


def reduce(obj: Any) -> tuple[object, ...]:
    """The ``__reduce__`` of the classes below.

    Raises:
      TypeError: tasks wait for `obj` or hold it.
    """
    make, args, busy = _RECIPES[type(obj)](obj)
    if busy:
        raise TypeError(
            f"cannot pickle {type(obj).__name__!r} object while tasks use it"
        )
    return make, args, getattr(obj, "__dict__", None) or None


def _event(is_set: bool) -> Event:
    event = Event()
    if is_set:
        event.set()
    return event


def _semaphore(value: int, max_value: int | None) -> Semaphore:
    return Semaphore(value, max_value=max_value)


def _limiter(total_tokens: int | float, borrowers: list[object]) -> CapacityLimiter:
    limiter = CapacityLimiter(inf)
    for borrower in borrowers:
        limiter.acquire_on_behalf_of_nowait(borrower)
    limiter.total_tokens = total_tokens
    return limiter


def _lock_recipe(lock: Lock) -> tuple[object, ...]:
    return type(lock), (), lock.locked() or lock.statistics().tasks_waiting


def _run_var_recipe(var: RunVar[object]) -> tuple[object, ...]:
    default = var._default
    return RunVar, (var._name,) if default is _NoValue else (var._name, default), 0


# (what makes another one, its arguments, is it in use?)
_RECIPES: dict[type, Callable[[Any], tuple[Any, ...]]] = {
    CapacityLimiter: lambda limiter: (
        _limiter,
        (limiter.total_tokens, limiter.statistics().borrowers),
        limiter.statistics().tasks_waiting,
    ),
    Condition: lambda condition: (
        Condition,
        (condition._lock,),
        condition.statistics().tasks_waiting,
    ),
    Event: lambda event: (
        _event,
        (event.is_set(),),
        event.statistics().tasks_waiting,
    ),
    Lock: _lock_recipe,
    ParkingLot: lambda lot: (ParkingLot, (), lot or lot.broken_by),
    RunVar: _run_var_recipe,
    Semaphore: lambda semaphore: (
        _semaphore,
        (semaphore.value, semaphore.max_value),
        semaphore.statistics().tasks_waiting,
    ),
    StrictFIFOLock: _lock_recipe,
}
