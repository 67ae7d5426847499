"""What stackscope, which prints the stacks of tasks, has to know about us.

It asks every module that it finds loaded for a ``_stackscope_install_glue_``,
takes that out of the module and calls it. Native operations run no Python
frame; here each gets one to be shown by, with the name that it has.
"""

from __future__ import annotations

import gc
import sys
import threading
from types import CoroutineType, FunctionType

import trio_c

from ._native import NurseryManager, Task, ThreadPlaceholder, awaitable

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Generator
    from types import FrameType
    from typing import Any


# Every stack ends in one of them; what is interesting is who calls it.
_TRAPS = {
    "cancel_shielded_checkpoint",
    "permanently_detach_coroutine_object",
    "temporarily_detach_coroutine_object",
    "wait_task_rescheduled",
}


def install() -> None:
    """Register with stackscope. Calling it again does nothing."""
    # Under the drop-in it finds the package under two names, and must find
    # this twice, or it goes by what it knows of the real Trio.
    trio_c._stackscope_install_glue_ = install

    from stackscope import (
        Frame,
        StackSlice,
        elaborate_context,
        extract_child,
        unwrap_stackitem,
    )

    before = unwrap_stackitem.dispatch(CoroutineType)
    if before.__module__ == __name__:
        return

    @unwrap_stackitem.register(CoroutineType)
    def unwrap_coroutine(coro: Any) -> object:
        if type(coro) is not awaitable:
            return before(coro)
        if coro.__qualname__ in _TRAPS:
            return Frame(pyframe=_frame_of(coro), hide=True)
        for owner in gc.get_referents(coro):
            if isinstance(owner, ThreadPlaceholder):
                frames = _thread_frames(owner._thread)
                if frames is not None:
                    # What the thread has asked for in turn comes after it.
                    outer, inner = frames
                    return StackSlice(outer=outer, inner=inner), coro.cr_await
        return _frame_of(coro), coro.cr_await

    @unwrap_stackitem.register(Task)
    def unwrap_task(task: Task) -> object:
        return task.coro

    @elaborate_context.register(NurseryManager)
    def elaborate_nursery(manager: Any, context: Any) -> None:
        context.obj = manager._nursery
        context.children = [
            extract_child(task, for_task=True) for task in context.obj.child_tasks
        ]


def _frame_of(coro: Any) -> FrameType:
    """A frame that says where a native operation is, and of which object."""
    if "." in coro.__qualname__:
        for owner in gc.get_referents(coro):
            if hasattr(type(owner), coro.__name__):
                return _made_up(_method, coro, owner)
    return _made_up(_function, coro)


def _made_up(model: Any, coro: Any, *args: object) -> FrameType:
    shown = coro.cr_code
    code = model.__code__.replace(
        co_filename=shown.co_filename,
        co_firstlineno=shown.co_firstlineno,
        co_name=coro.__name__,
        co_qualname=coro.__qualname__,
    )
    frame: FrameType = FunctionType(code, coro.cr_frame.f_globals)(*args).gi_frame
    return frame


def _function() -> Generator[None]:
    yield


def _method(self: object) -> Generator[None]:
    yield


def _thread_frames(thread: Any) -> tuple[FrameType, Any] | None:
    """The outermost and the innermost frame of the job that a thread does."""
    innermost = frame = sys._current_frames().get(thread)
    while frame is not None and frame.f_back is not None:
        if frame.f_back.f_code is threading.Thread.run.__code__:
            return frame, innermost
        frame = frame.f_back
    return None
