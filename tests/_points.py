"""Counting what a test's awaits do to its task."""

from trio_c import lowlevel


class Points:
    """The cancel and schedule points of what is awaited inside."""

    def __enter__(self):
        self._task = lowlevel.current_task()
        self._before = self._now()
        return self

    def __exit__(self, *exc_info):
        self.counted = tuple(
            after - before
            for after, before in zip(self._now(), self._before, strict=True)
        )

    def _now(self):
        return self._task._cancel_points, self._task._schedule_points
