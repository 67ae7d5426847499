"""What type checkers see of the module; at run time, lowlevel.py fetches it."""

from ._core._abort import (
    Abort as Abort,
)
from ._core._guest import (
    start_guest_run as start_guest_run,
)
from ._core._traps import (
    RaiseCancelT as RaiseCancelT,
)
from ._native import (
    ParkingLot as ParkingLot,
)
from ._native import (
    ParkingLotStatistics as ParkingLotStatistics,
)
from ._native import (
    RunStatistics as RunStatistics,
)
from ._native import (
    RunVar as RunVar,
)
from ._native import (
    RunVarToken as RunVarToken,
)
from ._native import (
    Task as Task,
)
from ._native import (
    TrioToken as TrioToken,
)
from ._native import (
    UnboundedQueue as UnboundedQueue,
)
from ._native import (
    UnboundedQueueStatistics as UnboundedQueueStatistics,
)
from ._native import (
    add_instrument as add_instrument,
)
from ._native import (
    add_parking_lot_breaker as add_parking_lot_breaker,
)
from ._native import (
    cancel_shielded_checkpoint as cancel_shielded_checkpoint,
)
from ._native import (
    checkpoint as checkpoint,
)
from ._native import (
    checkpoint_if_cancelled as checkpoint_if_cancelled,
)
from ._native import (
    current_clock as current_clock,
)
from ._native import (
    current_root_task as current_root_task,
)
from ._native import (
    current_statistics as current_statistics,
)
from ._native import (
    current_task as current_task,
)
from ._native import (
    current_trio_token as current_trio_token,
)
from ._native import (
    currently_ki_protected as currently_ki_protected,
)
from ._native import (
    disable_ki_protection as disable_ki_protection,
)
from ._native import (
    enable_ki_protection as enable_ki_protection,
)
from ._native import (
    in_trio_run as in_trio_run,
)
from ._native import (
    in_trio_task as in_trio_task,
)
from ._native import (
    notify_closing as notify_closing,
)
from ._native import (
    permanently_detach_coroutine_object as permanently_detach_coroutine_object,
)
from ._native import (
    reattach_detached_coroutine_object as reattach_detached_coroutine_object,
)
from ._native import (
    remove_instrument as remove_instrument,
)
from ._native import (
    remove_parking_lot_breaker as remove_parking_lot_breaker,
)
from ._native import (
    reschedule as reschedule,
)
from ._native import (
    spawn_system_task as spawn_system_task,
)
from ._native import (
    start_thread_soon as start_thread_soon,
)
from ._native import (
    temporarily_detach_coroutine_object as temporarily_detach_coroutine_object,
)
from ._native import (
    wait_readable as wait_readable,
)
from ._native import (
    wait_task_rescheduled as wait_task_rescheduled,
)
from ._native import (
    wait_writable as wait_writable,
)
