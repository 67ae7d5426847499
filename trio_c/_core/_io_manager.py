"""A run's I/O, as Python sees it: a view on ``csrc/kernel/io.c``."""

from __future__ import annotations

from .. import _native

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Awaitable

    from .._file_io import _HasFileNo
    from .._native import Runner

    EventResult = list[tuple[int, int]]


class _Replaceable(type):
    """Metaclass: tells the native side when a method of the class is replaced.

    Programs and tests do that to get in between; the run loop honours it.
    """

    def __setattr__(cls, name: str, value: object) -> None:
        super().__setattr__(name, value)
        cls._tell_of(name)

    def __delattr__(cls, name: str) -> None:
        super().__delattr__(name)
        cls._tell_of(name)

    def _tell_of(cls, name: str) -> None:
        original = _METHODS.get(name)
        if original is None:
            return
        if (method := getattr(cls, name)) is original:
            _native.io_override(name)
        else:
            _native.io_override(name, method)


class IOManager(metaclass=_Replaceable):
    """The poller of one run; the class of each backend is derived from this."""

    __slots__ = ("_runner",)

    def __init__(self, runner: Runner) -> None:
        self._runner = runner

    def force_wakeup(self) -> None:
        """Make the poll that is running, or the next one, return at once."""
        _native.io_force_wakeup(self._runner)

    def get_events(self, timeout: float) -> EventResult:
        """Poll for up to `timeout` seconds; without the GIL unless that is 0.

        What is returned is empty if and only if the time was over. The events
        themselves stay inside the poller, for :meth:`process_events`.
        """
        return _native.io_get_events(self._runner, timeout)

    def process_events(self, events: EventResult) -> None:
        """Wake the tasks that the events of the last poll are for."""
        _native.io_process_events(self._runner)

    def wait_readable(self, fd: int | _HasFileNo) -> Awaitable[None]:
        """See :func:`trio_c.lowlevel.wait_readable`."""
        return _native.io_wait_readable(fd)

    def wait_writable(self, fd: int | _HasFileNo) -> Awaitable[None]:
        """See :func:`trio_c.lowlevel.wait_writable`."""
        return _native.io_wait_writable(fd)

    def notify_closing(self, fd: int | _HasFileNo) -> None:
        """See :func:`trio_c.lowlevel.notify_closing`."""
        _native.io_notify_closing(fd)


_METHODS = {
    name: vars(IOManager)[name]
    for name in ("get_events", "wait_readable", "wait_writable", "notify_closing")
}
