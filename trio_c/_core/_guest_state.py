"""What the host of a guest run calls: see ``_guest.py``."""

from outcome import Error, Outcome, Value, capture
from sniffio import thread_local as sniffio_local

from .._native import TrioInternalError, enable_ki_protection, start_thread_soon

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

    from .._native import Runner, _GuestLoop


class GuestState:
    __slots__ = ("done_callback", "events", "loop", "soon", "soon_threadsafe")

    def __init__(
        self,
        loop: "_GuestLoop",
        soon: "Callable[[Callable[[], object]], object]",
        soon_threadsafe: "Callable[[Callable[[], object]], object]",
        done_callback: "Callable[[Outcome[Any]], object]",
    ) -> None:
        self.loop = loop
        self.soon = soon
        self.soon_threadsafe = soon_threadsafe
        self.done_callback = done_callback
        self.events: Value[list[tuple[int, int]]] | Error = Value([])

    @enable_ki_protection
    def tick(self) -> None:
        runner: Runner = self.loop.runner
        previous, sniffio_local.name = sniffio_local.name, "trio"
        try:
            try:
                if isinstance(self.events, Error):
                    self.loop.crash(self.events.error)
                timeout = self.loop.resume(len(self.events.value))
            except TrioInternalError as exc:
                self.done_callback(Error(exc))
                return
            if timeout is None:
                outcome = runner.main_task_outcome
                assert outcome is not None
                self.done_callback(outcome)
                return
        finally:
            sniffio_local.name = previous
        get_events = runner.io_manager.get_events
        # Perhaps no thread is needed.
        events = capture(get_events, 0)
        if timeout <= 0 or isinstance(events, Error) or events.value:
            self.events = events
            runner.guest_tick_scheduled = True
            self.soon(self.tick)
            return
        runner.guest_tick_scheduled = False

        def deliver(events: "Outcome[list[tuple[int, int]]]") -> None:
            def in_host() -> None:
                self.events = events  # type: ignore[assignment]
                runner.guest_tick_scheduled = True
                self.tick()

            self.soon_threadsafe(in_host)

        start_thread_soon(lambda: get_events(timeout), deliver)
