"""Twins of what other threads, signals and instruments use to meet a run."""

from __future__ import annotations

from .._core import _local

TYPE_CHECKING = False
if TYPE_CHECKING:
    from ._names import (
        Any,
        Awaitable,
        Callable,
        CallT,
        CapacityLimiter,
        FrameType,
        Instrument,
        RunVarToken,
        T,
        _Limiter,
        _TrioToken,
        outcome,
    )


_NoValue: Any = _local._NoValue

__all__ = [
    "EntryQueue",
    "Instruments",
    "RunVar",
    "ThreadCache",
    "TrioToken",
    "active_thread_count",
    "add_instrument",
    "current_default_thread_limiter",
    "current_trio_token",
    "currently_ki_protected",
    "disable_ki_protection",
    "enable_ki_protection",
    "from_thread_check_cancelled",
    "from_thread_run",
    "from_thread_run_sync",
    "ki_protection_enabled",
    "remove_instrument",
    "set_os_thread_name",
    "start_thread_soon",
    "to_thread_run_sync",
]


async def to_thread_run_sync(
    sync_fn: Callable[..., T],
    *args: object,
    thread_name: str | None = None,
    abandon_on_cancel: bool = False,
    limiter: CapacityLimiter | _Limiter | None = None,
) -> T:
    """Run ``sync_fn(*args)`` in a worker thread, and wait for it.

    A checkpoint. The function gets a copy of the caller's context variables;
    through :mod:`trio_c.from_thread` it can call back into this task.

    Args:
      thread_name: what the thread is called meanwhile; by default after the
        function and the task.
      abandon_on_cancel: what happens if the call is cancelled. False: it waits
        for the function, whose result or error then counts. True: it raises
        :exc:`trio_c.Cancelled` at once; the function runs on, and whatever
        comes of it is thrown away.
      limiter: limits how many threads run at a time: a
        :class:`trio_c.CapacityLimiter`, or any object with its methods
        ``acquire_on_behalf_of`` and ``release_on_behalf_of``. By default the
        run's :func:`trio_c.to_thread.current_default_thread_limiter`.

    Returns:
      what the function returned.

    Raises:
      TypeError: the function turned out to be an async one.
      Exception: whatever the function raised, or starting the thread.
    """


def current_default_thread_limiter() -> CapacityLimiter:
    """The limiter that this run's threads use unless they are given another.

    It has 40 tokens to begin with; its ``total_tokens`` can be changed.

    Raises:
      RuntimeError: not in a run.
    """


def active_thread_count() -> int:
    """How many calls of :func:`trio_c.to_thread.run_sync` wait for a thread.

    Calls in this run; those that were abandoned do not count.
    """


def from_thread_run(
    afn: Callable[..., Awaitable[T]],
    *args: object,
    trio_token: _TrioToken | None = None,
) -> T:
    """Run ``await afn(*args)`` in a run's thread, and wait for it.

    In a thread that :func:`trio_c.to_thread.run_sync` started, it runs in the
    very task that waits for this thread, and is cancelled with it. If that
    call may be abandoned, or with `trio_token`, it runs in a system task.

    Args:
      trio_token: in which run, if this is not a thread of the library.

    Returns:
      what the function returned.

    Raises:
      RunFinishedError: the run is over, or not far from it.
      Cancelled: the function was cancelled.
      RuntimeError: this thread has a running task itself, or belongs to no
        run and has given no token.
      TypeError: the function is no async function.
      Exception: whatever the function raised.
    """


def from_thread_run_sync(
    fn: Callable[..., T],
    *args: object,
    trio_token: _TrioToken | None = None,
) -> T:
    """Run ``fn(*args)`` in a run's thread, and wait for it.

    Where it runs, and what goes wrong, is as for
    :func:`trio_c.from_thread.run`, except that with a token it runs as
    :meth:`TrioToken.run_sync_soon` has it, and that nothing cancels it.
    """


def from_thread_check_cancelled() -> None:
    """Raise if the task that waits for this thread has been cancelled.

    For long functions that :func:`trio_c.to_thread.run_sync` runs, to be
    called now and then.

    Raises:
      Cancelled: the call was cancelled. To be let through: the cancel scope
        around the call catches it.
      RuntimeError: this is not a thread of the library.
    """


def start_thread_soon(
    fn: Callable[[], T],
    deliver: Callable[[outcome.Outcome[T]], object],
    name: str | None = None,
) -> None:
    """Call ``deliver(outcome.capture(fn))`` in some worker thread.

    Needs no run, and returns at once. Threads are kept for ten seconds for
    further jobs. Whatever `deliver` raises is printed, no more.

    Args:
      name: what the thread is called while `fn` runs.
    """


def set_os_thread_name(ident: int | None, name: str) -> None:
    """Set the name that the system shows for a thread.

    It keeps 15 characters of ASCII.
    """


class ThreadCache:
    def start_thread_soon(
        self,
        fn: Callable[[], T],
        deliver: Callable[[outcome.Outcome[T]], object],
        name: str | None = None,
    ) -> None:
        """As the function of that name."""


class EntryQueue:
    def run_sync_soon(
        self, sync_fn: Callable[..., object], *args: object, idempotent: bool = False
    ) -> None:
        """As :meth:`TrioToken.run_sync_soon`."""

    def size(self) -> int:
        """How many callbacks are queued."""

    async def task(self) -> None:
        """Runs the callbacks, until it is cancelled."""


class TrioToken:
    def run_sync_soon(
        self, sync_fn: Callable[..., object], *args: object, idempotent: bool = False
    ) -> None:
        """Have ``sync_fn(*args)`` called in the run's thread, soon.

        May be called from any thread, from signal handlers, and from
        finalizers. It does not wait. The callback runs in a system task, with
        Ctrl-C held off, and must not raise: that ends the run.

        Callbacks run in the order in which they came; idempotent ones among
        themselves.

        Args:
          idempotent: skip it if an equal call, also idempotent, is queued
            already and has not begun. Needs hashable arguments.

        Raises:
          RunFinishedError: the run is over; it will not be called.
        """


def current_trio_token() -> _TrioToken:
    """A handle on the current run, with which other threads can enter it.

    The same object each time.
    """


class RunVar:
    def __init__(self, name: str, default: T = _NoValue) -> None: ...

    def get(self, default: T = _NoValue) -> T:
        """The value in this run.

        Without one: `default` if it is given here, else the variable's own.

        Raises:
          LookupError: none of the three.
          RuntimeError: not in a run.
        """

    def set(self, value: T) -> RunVarToken[T]:
        """Set the value in this run. The token is for :meth:`reset`."""

    def reset(self, token: RunVarToken[T]) -> None:
        """Undo the :meth:`set` that returned `token`.

        Raises:
          ValueError: the token has been used already, or is of another
            variable.
        """


def enable_ki_protection(f: CallT, /) -> CallT:
    """Decorator: hold off Ctrl-C while the function runs.

    Also while other functions run that it calls, unless they are marked with
    :func:`disable_ki_protection`. A Ctrl-C then reaches the main task instead.
    """


def disable_ki_protection(f: CallT, /) -> CallT:
    """Decorator: let Ctrl-C interrupt the function wherever it is."""


def currently_ki_protected() -> bool:
    """Would a Ctrl-C be held off at this point, where this is called?"""


def ki_protection_enabled(frame: FrameType | None) -> bool:
    """Would a Ctrl-C be held off that interrupts this frame?"""


def add_instrument(instrument: Instrument) -> None:
    """Have the run call the hooks of `instrument` from now on.

    Adding it twice changes nothing. Which hooks it has is found out here,
    once.
    """


def remove_instrument(instrument: Instrument) -> None:
    """Stop calling the hooks of `instrument`.

    Raises:
      KeyError: it is not there; perhaps a hook has raised.
    """


class Instruments:
    def add_instrument(self, instrument: Instrument) -> None:
        """As the function of that name."""

    def remove_instrument(self, instrument: Instrument) -> None:
        """As the function of that name."""
