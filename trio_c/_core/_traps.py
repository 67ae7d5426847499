"""The traps, at the place where upstream has them."""

from .._native import (
    cancel_shielded_checkpoint,
    permanently_detach_coroutine_object,
    reattach_detached_coroutine_object,
    temporarily_detach_coroutine_object,
    wait_task_rescheduled,
)
from ._abort import Abort

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import NoReturn

    RaiseCancelT = Callable[[], NoReturn]
else:

    def __getattr__(name: str) -> object:
        if name != "RaiseCancelT":
            raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
        import typing

        global RaiseCancelT
        RaiseCancelT = typing.Callable[[], typing.NoReturn]
        return RaiseCancelT


__all__ = [
    "Abort",
    "RaiseCancelT",
    "cancel_shielded_checkpoint",
    "permanently_detach_coroutine_object",
    "reattach_detached_coroutine_object",
    "temporarily_detach_coroutine_object",
    "wait_task_rescheduled",
]
