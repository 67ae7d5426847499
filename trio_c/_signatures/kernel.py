"""Twins of the run loop's functions and methods."""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from ._names import (
        Abort,
        AbstractAsyncContextManager,
        AbstractContextManager,
        Any,
        Awaitable,
        Callable,
        Clock,
        Coroutine,
        FrameType,
        Instrument,
        Iterable,
        Iterator,
        NoReturn,
        RaiseCancelT,
        RunStatistics,
        Self,
        T,
        TracebackType,
        _CancelScope,
        _Nursery,
        _Task,
        contextvars,
        outcome,
    )

__all__ = [
    "CancelScope",
    "FailScope",
    "Nursery",
    "NurseryManager",
    "Task",
    "_TaskStatus",
    "_start_guest_loop",
    "cancel_shielded_checkpoint",
    "checkpoint",
    "checkpoint_if_cancelled",
    "concat_tb",
    "coroutine_or_error",
    "current_clock",
    "current_effective_deadline",
    "current_root_task",
    "current_statistics",
    "current_task",
    "current_time",
    "fail_after",
    "fail_at",
    "in_trio_run",
    "in_trio_task",
    "move_on_after",
    "move_on_at",
    "open_nursery",
    "permanently_detach_coroutine_object",
    "reattach_detached_coroutine_object",
    "reschedule",
    "run",
    "sleep",
    "sleep_forever",
    "sleep_until",
    "spawn_system_task",
    "temporarily_detach_coroutine_object",
    "wait_all_tasks_blocked",
    "wait_task_rescheduled",
]

inf = float("inf")


class CancelScope:
    def __init__(
        self,
        *,
        relative_deadline: float = inf,
        deadline: float = inf,
        shield: bool = False,
    ) -> None: ...

    def __enter__(self) -> Self:
        """Begin the block.

        Raises:
          RuntimeError: outside a task, or if the scope has been used before.
        """

    def __exit__(
        self,
        etype: type[BaseException] | None,
        exc: BaseException | None,
        tb: TracebackType | None,
    ) -> bool:
        """End the block, swallowing the `Cancelled` exceptions that this scope
        is behind.

        Raises:
          RuntimeError: if scopes are not properly nested.
        """

    def cancel(self, reason: str | None = None) -> None:
        """Cancel everything inside, now or once it is entered. `reason` goes
        into the `Cancelled` exceptions, for people. Calling it again does
        nothing. Works outside a run too.
        """


class FailScope:
    def __enter__(self) -> _CancelScope:
        """Begin the block and return its scope."""

    def __exit__(
        self,
        typ: type[BaseException] | None,
        value: BaseException | None,
        traceback: TracebackType | None,
    ) -> bool:
        """End the block.

        Raises:
          TooSlowError: if the scope swallowed a cancellation.
        """


class Nursery:
    def start_soon(
        self,
        async_fn: Callable[..., Awaitable[object]],
        *args: object,
        name: object = None,
    ) -> None:
        """Start ``async_fn(*args)`` as a child task; it takes its first step
        later, never before this returns.

        Args:
          name: for people; a string, or an object to take the name from.
            Default: `async_fn`.

        Raises:
          RuntimeError: if the nursery is closed.
          TypeError: if `async_fn` does not give a coroutine.
        """

    async def start(
        self,
        async_fn: Callable[..., Awaitable[object]],
        *args: object,
        name: object = None,
    ) -> Any:
        """Start ``async_fn(*args, task_status=...)`` and wait until it has called
        ``task_status.started(value)``; return that value.

        Until then the child runs inside this call: its failure is raised here,
        and cancelling the call cancels it. Afterwards it is a child of the
        nursery. A checkpoint.

        Raises:
          RuntimeError: if the nursery is closed, or the child ends without
            having called ``started()``.
        """

    def _add_exc(self, exc: BaseException, reason: object = None) -> None: ...


class NurseryManager:
    async def __aenter__(self) -> _Nursery: ...

    async def __aexit__(
        self,
        etype: type[BaseException] | None,
        exc: BaseException | None,
        tb: TracebackType | None,
    ) -> bool: ...

    def __enter__(self) -> NoReturn: ...

    def __exit__(
        self,
        exc_type: type[BaseException] | None,
        exc_value: BaseException | None,
        traceback: TracebackType | None,
    ) -> NoReturn: ...


class Task:
    def iter_await_frames(self) -> Iterator[tuple[FrameType, int]]:
        """The (frame, line number) pairs of the suspended coroutines, outermost
        first. Nothing for a task that has ended.
        """


class _TaskStatus:
    def started(self, value: object = None) -> None:
        """Say that the task is up; `Nursery.start` returns `value`.

        Raises:
          RuntimeError: if called twice.
        """


async def checkpoint() -> None:
    """A checkpoint and nothing else: lets other tasks run, then raises
    `Cancelled` if this task is cancelled.
    """


async def checkpoint_if_cancelled() -> None:
    """A checkpoint if this task is cancelled; else nothing, at once."""


async def cancel_shielded_checkpoint() -> None:
    """Lets other tasks run. Not a cancellation point."""


async def wait_task_rescheduled(abort_func: Callable[[RaiseCancelT], Abort]) -> Any:
    """Put the current task to sleep until somebody passes it to `reschedule`.
    A checkpoint.

    Args:
      abort_func: called, at most once, to call the sleep off because of a
        cancellation or Ctrl-C. It gets a function that raises the exception
        in question, and returns `Abort.SUCCEEDED` to have the task rescheduled
        with that, or `Abort.FAILED` if it will be rescheduled otherwise.

    Returns:
      (or raises) what `reschedule` was given.
    """


async def temporarily_detach_coroutine_object(
    abort_func: Callable[[RaiseCancelT], Abort],
) -> Any:
    """Hand the current coroutine over to a foreign driver: return whatever it
    sends. The task sleeps meanwhile; `abort_func` is that of
    `wait_task_rescheduled`.
    """


async def permanently_detach_coroutine_object(
    final_outcome: outcome.Outcome[object],
) -> Any:
    """End the current task with `final_outcome`, and go on with its coroutine
    under a foreign driver: return whatever it sends.

    Raises:
      RuntimeError: if the task has open nurseries.
    """


async def reattach_detached_coroutine_object(task: _Task, yield_value: object) -> None:
    """Come back from `temporarily_detach_coroutine_object`: `yield_value` goes
    to the foreign driver, and the run loop drives on.

    Raises:
      RuntimeError: if this is not the coroutine of `task`.
    """


_NO_SEND: Any = object()


def reschedule(task: _Task, next_send: outcome.Outcome[Any] = _NO_SEND) -> None:
    """Wake a task that sleeps in `wait_task_rescheduled`. Exactly once per
    sleep; from the run's own thread.

    Args:
      next_send: what the sleep returns or raises; default: returns None.

    Raises:
      AssertionError: if the task is not asleep or of another run.
      RuntimeError: outside a run.
    """


def current_task() -> _Task:
    """The task that is running.

    Raises:
      RuntimeError: outside a task.
    """


def in_trio_run() -> bool:
    """Is this thread in a run? True in its callbacks and instruments too."""


def in_trio_task() -> bool:
    """Is this thread in a task of a run?"""


def current_time() -> float:
    """The time on the run's clock, in seconds.

    Raises:
      RuntimeError: outside a run.
    """


def current_clock() -> Clock:
    """The run's clock.

    Raises:
      RuntimeError: outside a run.
    """


def current_root_task() -> _Task | None:
    """The task at the root of the tree; its nurseries hold all others.

    Raises:
      RuntimeError: outside a run.
    """


def current_statistics() -> RunStatistics:
    """Figures about the run:

    ``tasks_living``, ``tasks_runnable``: numbers of tasks;
    ``seconds_to_next_deadline``: may be negative, or inf for none;
    ``run_sync_soon_queue_size``: callbacks queued from outside;
    ``io_statistics``: its ``backend`` and what the backend counts.

    Raises:
      RuntimeError: outside a run.
    """


def current_effective_deadline() -> float:
    """When the current task will be cancelled, as far as its scopes say: an
    absolute time in seconds, inf for never, -inf if it is cancelled already.

    Raises:
      RuntimeError: outside a task.
    """


def spawn_system_task(
    async_fn: Callable[..., Awaitable[object]],
    *args: object,
    name: object = None,
    context: contextvars.Context | None = None,
) -> _Task:
    """Start ``async_fn(*args)`` as a task of the run rather than of a nursery.

    It is cancelled when the main task has ended, is protected from Ctrl-C, and
    must not fail: that ends the whole run with `TrioInternalError`. It does
    not inherit the caller's context variables.

    Raises:
      RuntimeError: outside a run, or at its very end.
    """


def run(
    async_fn: Callable[..., Awaitable[T]],
    *args: object,
    clock: Clock | None = None,
    instruments: Iterable[Instrument] = (),
    restrict_keyboard_interrupt_to_checkpoints: bool = False,
    strict_exception_groups: bool = True,
) -> T:
    """Run ``async_fn(*args)`` and everything it starts; return (or raise) its
    outcome.

    Args:
      clock: where time comes from; default: the system's monotonic clock.
      instruments: objects to be told what the run loop does.
      restrict_keyboard_interrupt_to_checkpoints: let Ctrl-C wait for the next
        checkpoint of the main task instead of striking anywhere.
      strict_exception_groups: False, deprecated, lets single exceptions leave
        nurseries without a group around them.

    Raises:
      RuntimeError: if this thread is in a run already.
      TrioInternalError: if the run loop or a system task fails.
    """


def _start_guest_loop(
    async_fn: Callable[..., Awaitable[object]],
    args: tuple[object, ...],
    clock: Clock | None,
    instruments: Iterable[Instrument],
    restrict_ki: bool,
    strict: bool,
    host_owns_wakeup_fd: bool,
) -> object: ...


def open_nursery(
    strict_exception_groups: bool | None = None,
) -> AbstractAsyncContextManager[_Nursery]:
    """Open a nursery: ``async with open_nursery() as nursery:``.

    The end of the block waits for all children, and is a schedule point in any
    case. What they and the block raise comes out as one exception group; the
    first failure cancels the others.

    Args:
      strict_exception_groups: False, deprecated, lets a single exception out
        bare. Default: what `run` was given.
    """


def coroutine_or_error(
    async_fn: Callable[..., Awaitable[T]], *args: object
) -> Coroutine[object, NoReturn, T]:
    """``async_fn(*args)``, or a TypeError that says what is wrong with it."""


def concat_tb(
    head: TracebackType | None, tail: TracebackType | None
) -> TracebackType | None:
    """A traceback with the entries of `head` followed by those of `tail`."""


async def wait_all_tasks_blocked(cushion: float = 0.0) -> None:
    """Sleep until every other task has been asleep for `cushion` seconds of
    real time. A checkpoint.

    Of several tasks that wait here, those with the shortest cushion wake
    first, and the others start over.
    """


async def sleep(seconds: float) -> None:
    """Sleep for that many seconds; 0 is a plain checkpoint. A checkpoint.

    Raises:
      ValueError: if `seconds` is negative or NaN.
    """


async def sleep_until(deadline: float) -> None:
    """Sleep until that time on the run's clock; at least a checkpoint."""


async def sleep_forever() -> NoReturn:
    """Sleep until cancelled. A checkpoint."""


def move_on_at(deadline: float, *, shield: bool = False) -> _CancelScope:
    """A scope that is cancelled at that time on the run's clock.

    Raises:
      ValueError: if `deadline` is NaN.
    """


def move_on_after(seconds: float, *, shield: bool = False) -> _CancelScope:
    """A scope that is cancelled that many seconds after it was entered.

    Raises:
      ValueError: if `seconds` is negative or NaN.
    """


def fail_at(
    deadline: float, *, shield: bool = False
) -> AbstractContextManager[_CancelScope]:
    """Like `move_on_at`, but the block raises `TooSlowError` if the scope's
    cancellation ended it. Arguments are checked on entry.
    """


def fail_after(
    seconds: float, *, shield: bool = False
) -> AbstractContextManager[_CancelScope]:
    """Like `move_on_after`, but the block raises `TooSlowError` if the scope's
    cancellation ended it. Arguments are checked on entry.
    """
