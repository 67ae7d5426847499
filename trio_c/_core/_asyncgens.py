"""Async generators that are still suspended when nobody wants them any more.

The interpreter calls one hook when an async generator is iterated for the
first time and another one when it is garbage collected unfinished. While a
run lasts both are ours: generators that were first iterated in a task are
closed in a task, those of the host (or of nobody) are left to whoever had
the hooks before.
"""

from __future__ import annotations

import sys
from functools import partial
from weakref import WeakSet

from .._native import (
    GLOBAL_RUN_CONTEXT,
    CancelScope,
    current_task,
    disable_ki_protection,
    enable_ki_protection,
    wait_task_rescheduled,
)
from .._util import name_asyncgen

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Callable
    from typing import Any

    from .._native import Runner
    from ._abort import Abort

    Agen = AsyncGenerator[Any, Any]


def _logger() -> Any:
    from logging import getLogger

    return getLogger("trio.async_generator_errors")


def __getattr__(name: str) -> object:
    # Made when first asked for: logging is slow to import.
    if name == "ASYNCGEN_LOGGER":
        return _logger()
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


@disable_ki_protection
def _call_unprotected(fn: Callable[[Any], object], arg: object) -> object:
    return fn(arg)


def _refuse(raise_cancel: object) -> Abort:
    from ._abort import Abort

    return Abort.FAILED


class AsyncGenerators:
    """The async generators of one run.

    `alive` holds those that may need closing: weakly while the run goes on,
    so that dropping one has it finalized, and strongly from
    `finalize_remaining` on, so that this order is ours. `foreign` has the ids
    of those that are not ours; an id is removed by the finalizer at the
    latest, so none is ever that of another object. `trailing` are generators
    that were collected after the last moment for a task of their own.
    """

    __slots__ = ("alive", "foreign", "prev_hooks", "trailing_needs_finalize")

    def __init__(self) -> None:
        self.alive: WeakSet[Agen] | set[Agen] = WeakSet()
        self.foreign: set[int] = set()
        self.trailing_needs_finalize: set[Agen] = set()

    def install_hooks(self, runner: Runner, prev: sys._asyncgen_hooks) -> None:
        """Take over this thread's hooks, which are `prev`, until the run puts
        them back."""
        self.prev_hooks = prev

        # No functions are defined here: one that CPython, to 3.13, has no memory
        # to make drops a reference too many to its code.
        sys.set_asyncgen_hooks(
            firstiter=self._first_iterated, finalizer=partial(self._dropped, runner)
        )

    def _first_iterated(self, agen: Agen) -> None:
        if hasattr(GLOBAL_RUN_CONTEXT, "task"):
            self.alive.add(agen)
            return
        self.foreign.add(id(agen))
        if self.prev_hooks.firstiter is not None:
            self.prev_hooks.firstiter(agen)

    @enable_ki_protection
    def _dropped(self, runner: Runner, agen: Agen) -> None:
        name = name_asyncgen(agen)
        if id(agen) in self.foreign:
            self.foreign.discard(id(agen))
            self._finalize_foreign(agen, name)
            return
        # May be in the middle of anything, whatever allocated memory:
        # only queue it. That also brings it back to life.
        runner.entry_queue.run_sync_soon(self._close_in_task, runner, agen, name)
        # Last, for the warning may be an error.
        import warnings

        warnings.warn(
            f"Async generator {name!r} was garbage collected before it had "
            "been exhausted. Surround its use in 'async with "
            "aclosing(...):' to ensure that it gets cleaned up as soon as "
            "you're done using it.",
            ResourceWarning,
            stacklevel=2,
            source=agen,
        )

    def _close_in_task(self, runner: Runner, agen: Agen, name: str) -> None:
        try:
            runner.spawn_system_task(
                self._finalize_one,
                agen,
                name,
                name=f"close asyncgen {name} (abandoned)",
            )
        except RuntimeError:
            # No system tasks any more: finalize_remaining() is next.
            self.trailing_needs_finalize.add(agen)

    def _finalize_foreign(self, agen: Agen, name: str) -> None:
        finalizer = self.prev_hooks.finalizer
        if finalizer is not None:
            _call_unprotected(finalizer, agen)
            return
        # What the interpreter itself does where there are no hooks, except
        # that it says nothing about a generator that will not have it.
        try:
            _call_unprotected(agen.aclose().send, None)
        except StopIteration:
            return
        raise RuntimeError(
            f"Non-Trio async generator {name!r} awaited something during "
            "finalization; install a finalization hook to support this, or "
            "wrap it in 'async with aclosing(...):'"
        )

    async def finalize_remaining(self, runner: Runner) -> None:
        """Close all that are left. For the root task, after all other tasks
        except that of the entry queue have ended."""
        assert current_task() is runner.init_task
        # From now on none is collected behind our back.
        self.alive = set(self.alive)
        # But some may have been just before: let the entry queue catch up.
        runner.entry_queue.run_sync_soon(runner.reschedule, runner.init_task)
        await wait_task_rescheduled(_refuse)
        self.alive.update(self.trailing_needs_finalize)
        self.trailing_needs_finalize.clear()
        # Closing one may start others.
        while self.alive:
            batch, self.alive = self.alive, set()
            for agen in batch:
                await self._finalize_one(agen, name_asyncgen(agen))

    async def _finalize_one(self, agen: Agen, name: str) -> None:
        try:
            # It may clean up, but not wait for anything: neither for long nor
            # where its scopes and nurseries are long gone.
            with CancelScope(shield=True) as scope:
                scope.cancel(
                    reason="disallow async work when closing async generators "
                    "during trio shutdown"
                )
                await agen.aclose()
        except BaseException:
            _logger().exception(
                "Exception ignored during finalization of async generator %r -- "
                "surround your use of the generator in 'async with "
                "aclosing(...):' to raise exceptions like this in the context "
                "where they're generated",
                name,
            )
