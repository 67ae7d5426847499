"""What a library needs to extend the run loop, and a program rarely does.

Like the package's own namespace, this one fetches its names when they are
first used.
"""

TYPE_CHECKING = bool(0)  # jedi would believe a plain False
if TYPE_CHECKING:
    from ._core._abort import Abort as Abort
    from ._core._guest import start_guest_run as start_guest_run
    from ._core._traps import RaiseCancelT as RaiseCancelT
    from ._native import (
        ParkingLot as ParkingLot,
        ParkingLotStatistics as ParkingLotStatistics,
        RunStatistics as RunStatistics,
        RunVar as RunVar,
        RunVarToken as RunVarToken,
        Task as Task,
        TrioToken as TrioToken,
        UnboundedQueue as UnboundedQueue,
        UnboundedQueueStatistics as UnboundedQueueStatistics,
        add_instrument as add_instrument,
        add_parking_lot_breaker as add_parking_lot_breaker,
        cancel_shielded_checkpoint as cancel_shielded_checkpoint,
        checkpoint as checkpoint,
        checkpoint_if_cancelled as checkpoint_if_cancelled,
        current_clock as current_clock,
        current_root_task as current_root_task,
        current_statistics as current_statistics,
        current_task as current_task,
        current_trio_token as current_trio_token,
        currently_ki_protected as currently_ki_protected,
        disable_ki_protection as disable_ki_protection,
        enable_ki_protection as enable_ki_protection,
        in_trio_run as in_trio_run,
        in_trio_task as in_trio_task,
        notify_closing as notify_closing,
        permanently_detach_coroutine_object as permanently_detach_coroutine_object,
        reattach_detached_coroutine_object as reattach_detached_coroutine_object,
        remove_instrument as remove_instrument,
        remove_parking_lot_breaker as remove_parking_lot_breaker,
        reschedule as reschedule,
        spawn_system_task as spawn_system_task,
        start_thread_soon as start_thread_soon,
        temporarily_detach_coroutine_object as temporarily_detach_coroutine_object,
        wait_readable as wait_readable,
        wait_task_rescheduled as wait_task_rescheduled,
        wait_writable as wait_writable,
    )
    from ._subprocess import open_process as open_process
    from ._unix_pipes import FdStream as FdStream
else:
    from ._lazy import attach

    # Which module each name comes from: the same again.
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
            "trio_c._subprocess": "open_process",
            "trio_c._unix_pipes": "FdStream",
        },
    )
    del attach
del TYPE_CHECKING
