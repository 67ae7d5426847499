"""The answer of an abort function."""

import enum


class Abort(enum.Enum):
    """What an abort function returns to `wait_task_rescheduled`.

    SUCCEEDED: the wait is off; the task is rescheduled with the cancellation.
    FAILED: it could not be called off; whoever is responsible will reschedule
    the task in due course.
    """

    SUCCEEDED = 1
    FAILED = 2


Abort.__module__ = "trio_c.lowlevel"
