"""Private names of the run loop that libraries and tests reach for, as views
on the native state."""

import random
import sys
import types

from .. import _native
from .._native import (
    BACKEND,
    GLOBAL_RUN_CONTEXT,
    MISNESTING_ADVICE,
    NONSTRICT_EXCEPTIONGROUP_NOTE,
    TASK_STATUS_IGNORED,
    CancelReason,
    CancelScope,
    CancelStatus,
    Nursery,
    NurseryManager,
    Runner,
    RunStatistics,
    SystemClock,
    Task,
    _TaskStatus,
    add_instrument,
    checkpoint,
    checkpoint_if_cancelled,
    current_clock,
    current_effective_deadline,
    current_root_task,
    current_statistics,
    current_task,
    current_time,
    current_trio_token,
    in_trio_run,
    in_trio_task,
    notify_closing,
    open_nursery,
    remove_instrument,
    reschedule,
    run,
    spawn_system_task,
    wait_all_tasks_blocked,
    wait_readable,
    wait_writable,
)

# Upstream prunes stale heap entries beyond this many. There are none here:
# deadlines are removed exactly. The number is for tests that provoke pruning.
DEADLINE_HEAP_MIN_PRUNE_THRESHOLD = 1000

# Shared with Hypothesis, which seeds it; orders batches while scheduling is
# deterministic.
_r = random.Random()


def _hypothesis_plugin_setup() -> None:
    """Entry point of Hypothesis: from now on it decides the scheduling order."""
    from hypothesis import register_random

    _native._set_deterministic(True)
    register_random(_r)


TYPE_CHECKING = bool(0)  # jedi would believe a plain False
if TYPE_CHECKING:
    from ._io_manager import IOManager as TheIOManager
elif BACKEND == "kqueue":
    from ._io_kqueue import (
        KqueueIOManager as TheIOManager,
        current_kqueue,
        monitor_kevent,
        wait_kevent,
    )
elif BACKEND == "iocp":
    from .._native import (
        current_iocp,
        readinto_overlapped,
        register_with_iocp,
        wait_overlapped,
        write_overlapped,
    )
    from ._io_windows import (
        WindowsIOManager as TheIOManager,
        monitor_completion_key,
    )
else:
    from ._io_epoll import EpollIOManager as TheIOManager

if TYPE_CHECKING:
    from ._guest import start_guest_run as start_guest_run
    from ._task_status import TaskStatus as TaskStatus
else:

    def __getattr__(name: str) -> object:
        # Rarely asked for, and slow to import what they need.
        if name == "TaskStatus":
            from ._task_status import TaskStatus as value
        elif name == "start_guest_run":
            from ._guest import start_guest_run as value
        else:
            raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
        globals()[name] = value
        return value


class _RunModule(types.ModuleType):
    """So that assigning the flag reaches the native loop."""

    @property
    def _ALLOW_DETERMINISTIC_SCHEDULING(self) -> bool:
        return _native._get_deterministic()

    @_ALLOW_DETERMINISTIC_SCHEDULING.setter
    def _ALLOW_DETERMINISTIC_SCHEDULING(self, value: bool) -> None:
        _native._set_deterministic(value)


sys.modules[__name__].__class__ = _RunModule
