"""Cold parts of the run loop: what runs once per run, or once per mistake.

The native module imports this when a run starts.
"""

from .._native import open_nursery

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterator
    from types import FrameType
    from typing import Any

    from .._native import Runner, Task


async def init(
    runner: "Runner",
    async_fn: "Callable[..., Awaitable[object]]",
    args: "tuple[object, ...]",
) -> None:
    """The root task: everything else lives in its three nurseries.

    The outermost holds the task that runs queued callbacks, the next one the
    other system tasks, the innermost the main task. They end in the reverse
    order, with the remaining async generators closed before the callbacks
    stop.
    """
    async with open_nursery() as callbacks:
        async with open_nursery() as system:
            runner._set_system_nursery(system)
            async with open_nursery() as main:
                if not runner._start_main(main, async_fn, args):
                    return
                runner._start_entry_queue(callbacks)
            runner._shut_down(system, "main task done, shutting down system tasks")
        await runner.asyncgens.finalize_remaining(runner)
        runner._shut_down(
            callbacks, "main task done, shutting down run_sync_soon callbacks"
        )


def order_batch(batch: "list[Task]") -> None:
    """Put a batch into the order that the shared random generator dictates.

    The loop takes tasks from the end, as Trio's does.
    """
    from ._run import _r

    batch.sort(key=lambda task: task._counter)
    _r.shuffle(batch)


def iter_await_frames(coro: "Any") -> "Iterator[tuple[FrameType, int]]":
    """Walk a chain of suspended coroutines, outermost first."""
    while coro is not None:
        if hasattr(coro, "cr_frame"):
            frame, coro = _native_frame_hidden(coro), coro.cr_await
        elif hasattr(coro, "gi_frame"):
            frame, coro = coro.gi_frame, coro.gi_yieldfrom
        elif type(coro).__name__ in ("async_generator_asend", "async_generator_athrow"):
            # These keep their generator to themselves.
            import gc

            for referent in gc.get_referents(coro):
                if hasattr(referent, "ag_frame"):
                    frame, coro = referent.ag_frame, referent.ag_await
                    break
            else:
                return
        else:
            return
        if frame is not None:
            yield frame, frame.f_lineno


def _native_frame_hidden(coro: "Any") -> "FrameType | None":
    """A native operation runs no frame; what it shows to inspect is no place
    in anybody's program."""
    from .._native import awaitable

    return None if type(coro) is awaitable else coro.cr_frame


def coroutine_origin(depth: int) -> "tuple[tuple[str, int, str], ...]":
    """Where a native coroutine is being created, for cr_origin."""
    import sys

    origin: list[tuple[str, int, str]] = []
    frame: FrameType | None = sys._getframe(1)
    while frame is not None and len(origin) < depth:
        code = frame.f_code
        origin.append((code.co_filename, frame.f_lineno, code.co_name))
        frame = frame.f_back
    return tuple(origin)


def warn_loose_groups(thing: str) -> None:
    """Tell whoever called the native function above us that loose exception
    groups are on their way out."""
    from .._deprecate import warn_deprecated

    warn_deprecated(
        thing,
        version="0.25.0",
        issue=2929,
        instead=(
            "the default value of True and rewrite exception handlers to handle "
            "ExceptionGroups. See https://trio.readthedocs.io/en/stable/"
            "reference-core.html#designing-for-multiple-errors"
        ),
        use_triodeprecationwarning=True,
        stacklevel=2,
    )


def warn_cancellable() -> None:
    """Tell whoever called the native `to_thread.run_sync` above us that an
    argument has another name now."""
    from .._deprecate import warn_deprecated

    warn_deprecated(
        "the argument 'cancellable' of trio.to_thread.run_sync",
        version="0.23.0",
        issue=2841,
        instead="'abandon_on_cancel'",
        use_triodeprecationwarning=True,
        stacklevel=2,
    )
