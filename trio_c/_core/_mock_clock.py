"""A clock that moves when a test says so."""

import time
from math import inf

from .._abc import Clock
from .._native import GLOBAL_RUN_CONTEXT, current_statistics
from .._util import final


@final
class MockClock(Clock):
    """A clock for tests, which stands still unless told otherwise.

    Pass it to `trio.run` as ``clock=``. It starts at 0.

    Args:
      rate: virtual seconds per real second; 0 to stand still.
      autojump_threshold: real seconds for which all tasks must have been
        blocked before the clock jumps to the next deadline; inf for never.
    Raises:
      ValueError: if the rate is negative.
    """

    def __init__(self, rate: float = 0.0, autojump_threshold: float = inf) -> None:
        # virtual time = _virtual_base + _rate * (real time - _real_base)
        self._real_base = 0.0
        self._virtual_base = 0.0
        self._rate = 0.0
        self._real_clock = time.perf_counter
        self.rate = rate
        self.autojump_threshold = autojump_threshold

    def __repr__(self) -> str:
        now = self.current_time()
        return f"<MockClock, time={now:.7f}, rate={self._rate} @ {id(self):#x}>"

    @property
    def rate(self) -> float:
        """Virtual seconds per real second; assignable at any time."""
        return self._rate

    @rate.setter
    def rate(self, new_rate: float) -> None:
        if new_rate < 0:
            raise ValueError("rate must be >= 0")
        real = self._real_clock()
        self._virtual_base = self._real_to_virtual(real)
        self._real_base = real
        self._rate = float(new_rate)

    @property
    def autojump_threshold(self) -> float:
        """Real seconds of idleness before a jump; assignable at any time."""
        return self._autojump_threshold

    @autojump_threshold.setter
    def autojump_threshold(self, new_autojump_threshold: float) -> None:
        self._autojump_threshold = float(new_autojump_threshold)
        self._tell_runner()

    def _tell_runner(self) -> None:
        runner = getattr(GLOBAL_RUN_CONTEXT, "runner", None)
        if runner is None:
            return
        if runner.is_guest:
            runner.force_guest_tick_asap()
        if runner.clock is self:
            runner.clock_autojump_threshold = self._autojump_threshold

    def _autojump(self) -> None:
        """Called by the run loop once everything has been idle for long enough."""
        gap = current_statistics().seconds_to_next_deadline
        if 0 < gap < inf:
            self.jump(gap)

    def _real_to_virtual(self, real: float) -> float:
        return self._virtual_base + self._rate * (real - self._real_base)

    def start_clock(self) -> None:
        """Called when the run starts."""
        self._tell_runner()

    def current_time(self) -> float:
        """The virtual time, in seconds."""
        return self._real_to_virtual(self._real_clock())

    def deadline_to_sleep_time(self, deadline: float) -> float:
        """Real seconds until the virtual `deadline`."""
        virtual = deadline - self.current_time()
        if virtual <= 0:
            return 0
        if self._rate > 0:
            return virtual / self._rate
        return 999999999

    def jump(self, seconds: float) -> None:
        """Move on by that many virtual seconds at once.

        Raises:
          ValueError: if `seconds` is negative.
        """
        if seconds < 0:
            raise ValueError("time can't go backwards")
        self._virtual_base += seconds
