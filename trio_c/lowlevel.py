"""What a library needs to extend the run loop, and a program rarely does.

A plain module, whose attributes the interpreter speeds up: unlike in the
package's own namespace, nothing here waits for its first use.
"""

from ._core._abort import Abort
from ._core._guest import start_guest_run
from ._core._traps import RaiseCancelT
from ._native import (
    BACKEND,
    ParkingLot,
    ParkingLotStatistics,
    RunStatistics,
    RunVar,
    RunVarToken,
    Task,
    TrioToken,
    UnboundedQueue,
    UnboundedQueueStatistics,
    add_instrument,
    add_parking_lot_breaker,
    cancel_shielded_checkpoint,
    checkpoint,
    checkpoint_if_cancelled,
    current_clock,
    current_root_task,
    current_statistics,
    current_task,
    current_trio_token,
    currently_ki_protected,
    disable_ki_protection,
    enable_ki_protection,
    in_trio_run,
    in_trio_task,
    notify_closing,
    permanently_detach_coroutine_object,
    reattach_detached_coroutine_object,
    remove_instrument,
    remove_parking_lot_breaker,
    reschedule,
    spawn_system_task,
    start_thread_soon,
    temporarily_detach_coroutine_object,
    wait_readable,
    wait_task_rescheduled,
    wait_writable,
)
from ._subprocess import open_process
from ._util import fixup_module_metadata

__all__ = [
    "Abort",
    "FdStream",
    "ParkingLot",
    "ParkingLotStatistics",
    "RaiseCancelT",
    "RunStatistics",
    "RunVar",
    "RunVarToken",
    "Task",
    "TrioToken",
    "UnboundedQueue",
    "UnboundedQueueStatistics",
    "add_instrument",
    "add_parking_lot_breaker",
    "cancel_shielded_checkpoint",
    "checkpoint",
    "checkpoint_if_cancelled",
    "current_clock",
    "current_root_task",
    "current_statistics",
    "current_task",
    "current_trio_token",
    "currently_ki_protected",
    "disable_ki_protection",
    "enable_ki_protection",
    "in_trio_run",
    "in_trio_task",
    "notify_closing",
    "open_process",
    "permanently_detach_coroutine_object",
    "reattach_detached_coroutine_object",
    "remove_instrument",
    "remove_parking_lot_breaker",
    "reschedule",
    "spawn_system_task",
    "start_guest_run",
    "start_thread_soon",
    "temporarily_detach_coroutine_object",
    "wait_readable",
    "wait_task_rescheduled",
    "wait_writable",
]

TYPE_CHECKING = bool(0)  # jedi would believe a plain False
if TYPE_CHECKING:
    # What type checkers know of the backend.
    import sys

    if sys.platform == "win32":
        from ._core._io_windows import (
            monitor_completion_key as monitor_completion_key,
        )
        from ._native import (
            current_iocp as current_iocp,
            readinto_overlapped as readinto_overlapped,
            register_with_iocp as register_with_iocp,
            wait_overlapped as wait_overlapped,
            write_overlapped as write_overlapped,
        )
        from ._wait_for_object import WaitForSingleObject as WaitForSingleObject
    else:
        from ._unix_pipes import FdStream as FdStream

    if sys.platform != "win32" and sys.platform != "linux":
        from ._core._io_kqueue import (
            current_kqueue as current_kqueue,
            monitor_kevent as monitor_kevent,
            wait_kevent as wait_kevent,
        )
elif BACKEND == "iocp":
    from ._core._io_windows import monitor_completion_key
    from ._native import (
        current_iocp,
        readinto_overlapped,
        register_with_iocp,
        wait_overlapped,
        write_overlapped,
    )
    from ._wait_for_object import WaitForSingleObject

    __all__.remove("FdStream")
    __all__ += [
        "WaitForSingleObject",
        "current_iocp",
        "monitor_completion_key",
        "readinto_overlapped",
        "register_with_iocp",
        "wait_overlapped",
        "write_overlapped",
    ]
else:
    from ._unix_pipes import FdStream

    if BACKEND == "kqueue":
        from ._core._io_kqueue import current_kqueue, monitor_kevent, wait_kevent

        __all__ += ["current_kqueue", "monitor_kevent", "wait_kevent"]

fixup_module_metadata(__name__, globals())
del BACKEND, TYPE_CHECKING, fixup_module_metadata
