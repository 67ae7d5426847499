"""Guest mode: a run whose loop lives inside that of a host.

The host runs our ticks as its callbacks. A tick takes the run to its next
wait; if there is nothing to do yet, a worker thread does the waiting and asks
the host for the next tick. The only references to a guest run's loop are those
callbacks, so if the host drops them the loop is finalized, and says so.
"""

from .._native import TrioInternalError, _start_guest_loop, enable_ki_protection

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Sequence
    from typing import TypeVar

    from outcome import Outcome

    from .._abc import Clock, Instrument

    T = TypeVar("T")

# Ticks until the system nursery exists: normally two.
_MAX_FIRST_TICKS = 5


@enable_ki_protection
def start_guest_run(
    async_fn: "Callable[..., Awaitable[T]]",
    *args: object,
    run_sync_soon_threadsafe: "Callable[[Callable[[], object]], object]",
    done_callback: "Callable[[Outcome[T]], object]",
    run_sync_soon_not_threadsafe: (
        "Callable[[Callable[[], object]], object] | None"
    ) = None,
    host_uses_signal_set_wakeup_fd: bool = False,
    clock: "Clock | None" = None,
    instruments: "Sequence[Instrument]" = (),
    restrict_keyboard_interrupt_to_checkpoints: bool = False,
    strict_exception_groups: bool = True,
) -> None:
    """Start a run inside the event loop of another library.

    Returns at once; from then on the run can be entered from this thread
    (tokens, system tasks), and goes on as callbacks of the host.

    Args:
      run_sync_soon_threadsafe: schedules a callback on the host; will be
        called from any thread.
      run_sync_soon_not_threadsafe: the same, called from the host's thread
        only; defaults to the threadsafe one.
      done_callback: called in the host with the `outcome.Outcome` of the run.
      host_uses_signal_set_wakeup_fd: leave `signal.set_wakeup_fd` alone.

    The other arguments are those of `trio.run`.

    Raises:
      RuntimeError: if this thread is in a run already.
      TrioInternalError: if the run cannot be set up.
    """
    from ._guest_state import GuestState

    loop = _start_guest_loop(
        async_fn,
        args,
        clock,
        instruments,
        restrict_keyboard_interrupt_to_checkpoints,
        strict_exception_groups,
        host_uses_signal_set_wakeup_fd,
    )
    runner = loop.runner
    for _ in range(_MAX_FIRST_TICKS):
        if runner.system_nursery is not None:
            break
        timeout = loop.resume(0)
        if timeout is None:
            raise TrioInternalError(
                "Guest runner exited before system nursery was initialized"
            )
        if timeout != 0:
            loop.crash(
                TrioInternalError(
                    "Guest runner blocked before system nursery was initialized"
                )
            )
    else:
        loop.crash(
            TrioInternalError(
                "Guest runner yielded too many times before system nursery was "
                "initialized"
            )
        )
    state = GuestState(
        loop,
        run_sync_soon_not_threadsafe or run_sync_soon_threadsafe,
        run_sync_soon_threadsafe,
        done_callback,
    )
    state.soon(state.tick)


start_guest_run.__module__ = "trio_c.lowlevel"
