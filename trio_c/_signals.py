"""Receiving signals as an asynchronous iterator."""

from __future__ import annotations

import signal
from contextlib import ExitStack, contextmanager

import trio_c as trio

from ._util import ConflictDetector, is_main_thread

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Generator, Iterable
    from types import FrameType
    from typing import Self


@contextmanager
@trio.lowlevel.enable_ki_protection
def _signal_handler(
    signals: Iterable[int],
    handler: Callable[[int, FrameType | None], object] | int | signal.Handlers | None,
) -> Generator[None, None, None]:
    """Have `signals` handled by `handler` inside the ``with`` block.

    Ctrl-C waits while the handlers change, so that it cannot leave some of
    them behind. If one cannot be put back, the others are all the same.
    """
    with ExitStack() as restore:
        for signum in set(signals):
            previous = signal.signal(signum, handler)
            restore.callback(signal.signal, signum, previous)
        yield


class SignalReceiver:
    """What :func:`open_signal_receiver` gives: iterates over signal numbers.

    Signals that have arrived and were not asked for yet are in the order of
    their first arrival, each of them once.
    """

    def __init__(self) -> None:
        # Keys only. A dict, because a set knows no order.
        self._pending: dict[int, None] = {}
        self._lot = trio.lowlevel.ParkingLot()
        self._conflict_detector = ConflictDetector(
            "only one task can iterate on a signal receiver at a time"
        )
        self._closed = False

    def _add(self, signum: int) -> None:
        """A signal has arrived. Called by the run, not by the handler."""
        if self._closed:
            # It arrived inside the block and got here behind its end.
            signal.raise_signal(signum)
            return
        self._pending[signum] = None
        self._lot.unpark()

    def _take(self) -> int:
        signum = next(iter(self._pending))
        del self._pending[signum]
        return signum

    def _redeliver_remaining(self) -> None:
        """Close; what was not asked for goes to the handlers there are now.

        All of it does, whatever they raise: the last of these exceptions is
        raised, and the earlier ones are its context.
        """
        self._closed = True
        while self._pending:
            try:
                signal.raise_signal(self._take())
            except BaseException:
                self._redeliver_remaining()
                raise

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> int:
        self._check_open()
        with self._conflict_detector:
            if self._pending:
                await trio.lowlevel.checkpoint()
            else:
                await self._lot.park()
            # The block may have ended before this task got its turn.
            self._check_open()
            return self._take()

    def _check_open(self) -> None:
        if self._closed:
            raise RuntimeError("open_signal_receiver block already exited")


def get_pending_signal_count(rec: AsyncIterator[int]) -> int:
    """How many signals wait in `rec` to be received. For tests."""
    assert isinstance(rec, SignalReceiver)
    return len(rec._pending)


@contextmanager
def open_signal_receiver(
    *signals: signal.Signals | int,
) -> Generator[AsyncIterator[int], None, None]:
    """Receive `signals` by asynchronous iteration, instead of in handlers::

        with trio.open_signal_receiver(signal.SIGUSR1, signal.SIGTERM) as received:
            async for signum in received:
                if signum == signal.SIGTERM:
                    break
                print_statistics()

    Inside the block, the usual effect of the signals is suspended; for
    ``SIGINT``, also that of Ctrl-C. Each step of the iteration waits for a
    signal and gives its number. It is a checkpoint.

    Signals that arrive before anybody asks are kept. A signal that arrives
    several times meanwhile is received once, as the operating system does it;
    different ones are received in the order in which they arrived.

    When the block ends, the handlers from before are put back, and get the
    signals that arrived and were not received. What they raise then comes out
    of the block.

    Args:
      signals: numbers of signals, at least one. Naming one twice is the same
          as naming it once.

    Raises:
      TypeError: no signal was given.
      RuntimeError: this is not the main thread, the only one that may set
          signal handlers. Also what an iteration raises behind the block.
      ValueError: there is no such signal. No handler has changed.
      OSError: the signal cannot be handled, as ``SIGKILL``. No handler has
          changed.
      trio_c.BusyResourceError: raised by an iteration if another task is
          waiting in one.
    """
    if not signals:
        raise TypeError("No signals were provided")
    if not is_main_thread():
        raise RuntimeError(
            "Sorry, open_signal_receiver is only possible when running in Python"
            " interpreter's main thread"
        )
    token = trio.lowlevel.current_trio_token()
    receiver = SignalReceiver()

    def handle(signum: int, frame: FrameType | None) -> None:
        # Coalesces in the run's own queue too, however fast they come.
        token.run_sync_soon(receiver._add, signum, idempotent=True)

    try:
        with _signal_handler(signals, handle):
            yield receiver
    finally:
        receiver._redeliver_remaining()
