"""The names that Trio's core has under this private path.

Some libraries reach for them here. Everything is defined elsewhere, most of
it in the native module; the modules in this folder are views on that, or what
of the core is not worth being native.
"""

from .._lazy import attach

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
        "trio_c._core._run": "TaskStatus",
        "trio_c._core._traps": "RaiseCancelT",
    },
)
del attach
