"""What a library needs to extend the run loop, and a program rarely does.

Like the package's own namespace, this one fetches its names when they are
first used.
"""

from ._lazy import attach

__getattr__, __dir__, __all__ = attach(
    __name__,
    {
        "trio_c._native": """
            ParkingLot ParkingLotStatistics RunStatistics RunVar
            RunVarToken Task TrioToken UnboundedQueue UnboundedQueueStatistics
            add_instrument add_parking_lot_breaker cancel_shielded_checkpoint
            checkpoint checkpoint_if_cancelled current_clock current_root_task
            current_statistics current_task current_trio_token
            currently_ki_protected disable_ki_protection enable_ki_protection
            in_trio_run in_trio_task notify_closing
            permanently_detach_coroutine_object
            reattach_detached_coroutine_object remove_instrument
            remove_parking_lot_breaker reschedule spawn_system_task
            start_thread_soon
            temporarily_detach_coroutine_object wait_readable
            wait_task_rescheduled wait_writable
            """,
        "trio_c._core._abort": "Abort",
        "trio_c._core._guest": "start_guest_run",
        "trio_c._core._traps": "RaiseCancelT",
    },
)
del attach
