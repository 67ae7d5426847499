"""The names that Trio's core has under this private path.

Some libraries reach for them here. Everything is defined elsewhere, most of
it in the native module; the modules in this folder are views on that, or what
of the core is not worth being native.
"""

TYPE_CHECKING = bool(0)  # jedi would believe a plain False
if TYPE_CHECKING:
    import sys

    from .._native import (
        TASK_STATUS_IGNORED as TASK_STATUS_IGNORED,
        BrokenResourceError as BrokenResourceError,
        BusyResourceError as BusyResourceError,
        Cancelled as Cancelled,
        CancelScope as CancelScope,
        ClosedResourceError as ClosedResourceError,
        EndOfChannel as EndOfChannel,
        Nursery as Nursery,
        ParkingLot as ParkingLot,
        ParkingLotStatistics as ParkingLotStatistics,
        RunFinishedError as RunFinishedError,
        RunStatistics as RunStatistics,
        RunVar as RunVar,
        RunVarToken as RunVarToken,
        Task as Task,
        TrioInternalError as TrioInternalError,
        TrioToken as TrioToken,
        UnboundedQueue as UnboundedQueue,
        UnboundedQueueStatistics as UnboundedQueueStatistics,
        WouldBlock as WouldBlock,
        add_instrument as add_instrument,
        add_parking_lot_breaker as add_parking_lot_breaker,
        cancel_shielded_checkpoint as cancel_shielded_checkpoint,
        checkpoint as checkpoint,
        checkpoint_if_cancelled as checkpoint_if_cancelled,
        current_clock as current_clock,
        current_effective_deadline as current_effective_deadline,
        current_root_task as current_root_task,
        current_statistics as current_statistics,
        current_task as current_task,
        current_time as current_time,
        current_trio_token as current_trio_token,
        currently_ki_protected as currently_ki_protected,
        disable_ki_protection as disable_ki_protection,
        enable_ki_protection as enable_ki_protection,
        in_trio_run as in_trio_run,
        in_trio_task as in_trio_task,
        notify_closing as notify_closing,
        open_nursery as open_nursery,
        permanently_detach_coroutine_object as permanently_detach_coroutine_object,
        reattach_detached_coroutine_object as reattach_detached_coroutine_object,
        remove_instrument as remove_instrument,
        remove_parking_lot_breaker as remove_parking_lot_breaker,
        reschedule as reschedule,
        run as run,
        spawn_system_task as spawn_system_task,
        start_thread_soon as start_thread_soon,
        temporarily_detach_coroutine_object as temporarily_detach_coroutine_object,
        wait_all_tasks_blocked as wait_all_tasks_blocked,
        wait_readable as wait_readable,
        wait_task_rescheduled as wait_task_rescheduled,
        wait_writable as wait_writable,
    )
    from ._abort import Abort as Abort
    from ._guest import start_guest_run as start_guest_run
    from ._mock_clock import MockClock as MockClock
    from ._run import TaskStatus as TaskStatus
    from ._traps import RaiseCancelT as RaiseCancelT

    if sys.platform == "win32":
        from .._native import (
            current_iocp as current_iocp,
            readinto_overlapped as readinto_overlapped,
            register_with_iocp as register_with_iocp,
            wait_overlapped as wait_overlapped,
            write_overlapped as write_overlapped,
        )
        from ._io_windows import monitor_completion_key as monitor_completion_key
    elif sys.platform != "linux":
        from ._io_kqueue import (
            current_kqueue as current_kqueue,
            monitor_kevent as monitor_kevent,
            wait_kevent as wait_kevent,
        )
else:
    from .._lazy import attach
    from .._native import BACKEND

    # What one backend has and the others have not.
    _extra = {
        "iocp": " current_iocp monitor_completion_key readinto_overlapped"
        " register_with_iocp wait_overlapped write_overlapped",
        "kqueue": " current_kqueue monitor_kevent wait_kevent",
    }

    # Which module each name comes from: the same again.
    __getattr__, __dir__, __all__ = attach(
        __name__,
        {
            "trio_c._native": """
                BrokenResourceError BusyResourceError CancelScope Cancelled
                ClosedResourceError EndOfChannel Nursery ParkingLot
                ParkingLotStatistics RunFinishedError RunStatistics RunVar
                RunVarToken TASK_STATUS_IGNORED Task TrioInternalError TrioToken
                UnboundedQueue UnboundedQueueStatistics WouldBlock add_instrument
                add_parking_lot_breaker cancel_shielded_checkpoint checkpoint
                checkpoint_if_cancelled current_clock current_effective_deadline
                current_root_task current_statistics current_task current_time
                current_trio_token currently_ki_protected disable_ki_protection
                enable_ki_protection in_trio_run in_trio_task notify_closing
                open_nursery permanently_detach_coroutine_object
                reattach_detached_coroutine_object remove_instrument
                remove_parking_lot_breaker reschedule run spawn_system_task
                start_thread_soon temporarily_detach_coroutine_object
                wait_all_tasks_blocked wait_readable wait_task_rescheduled
                wait_writable
                """,
            "trio_c._core._abort": "Abort",
            "trio_c._core._guest": "start_guest_run",
            "trio_c._core._mock_clock": "MockClock",
            "trio_c._core._run": "TaskStatus" + _extra.get(BACKEND, ""),
            "trio_c._core._traps": "RaiseCancelT",
        },
    )
    del BACKEND, _extra, attach
del TYPE_CHECKING
