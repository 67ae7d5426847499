"""What type checkers see of the package; at run time, __init__.py fetches it."""

from . import abc as abc
from . import from_thread as from_thread
from . import lowlevel as lowlevel
from . import socket as socket
from . import testing as testing
from . import to_thread as to_thread
from ._channel import (
    as_safe_channel as as_safe_channel,
)
from ._core._run import (
    TaskStatus as TaskStatus,
)
from ._deprecate import (
    TrioDeprecationWarning as TrioDeprecationWarning,
)
from ._highlevel_generic import (
    StapledStream as StapledStream,
)
from ._highlevel_generic import (
    aclose_forcefully as aclose_forcefully,
)
from ._highlevel_open_tcp_listeners import (
    open_tcp_listeners as open_tcp_listeners,
)
from ._highlevel_open_tcp_listeners import (
    serve_tcp as serve_tcp,
)
from ._highlevel_open_tcp_stream import (
    open_tcp_stream as open_tcp_stream,
)
from ._highlevel_serve_listeners import (
    serve_listeners as serve_listeners,
)
from ._highlevel_socket import (
    SocketListener as SocketListener,
)
from ._highlevel_socket import (
    SocketStream as SocketStream,
)
from ._native import (
    TASK_STATUS_IGNORED as TASK_STATUS_IGNORED,
)
from ._native import (
    BrokenResourceError as BrokenResourceError,
)
from ._native import (
    BusyResourceError as BusyResourceError,
)
from ._native import (
    Cancelled as Cancelled,
)
from ._native import (
    CancelScope as CancelScope,
)
from ._native import (
    CapacityLimiter as CapacityLimiter,
)
from ._native import (
    CapacityLimiterStatistics as CapacityLimiterStatistics,
)
from ._native import (
    ClosedResourceError as ClosedResourceError,
)
from ._native import (
    Condition as Condition,
)
from ._native import (
    ConditionStatistics as ConditionStatistics,
)
from ._native import (
    EndOfChannel as EndOfChannel,
)
from ._native import (
    Event as Event,
)
from ._native import (
    EventStatistics as EventStatistics,
)
from ._native import (
    Lock as Lock,
)
from ._native import (
    LockStatistics as LockStatistics,
)
from ._native import (
    MemoryChannelStatistics as MemoryChannelStatistics,
)
from ._native import (
    MemoryReceiveChannel as MemoryReceiveChannel,
)
from ._native import (
    MemorySendChannel as MemorySendChannel,
)
from ._native import (
    Nursery as Nursery,
)
from ._native import (
    RunFinishedError as RunFinishedError,
)
from ._native import (
    Semaphore as Semaphore,
)
from ._native import (
    StrictFIFOLock as StrictFIFOLock,
)
from ._native import (
    TooSlowError as TooSlowError,
)
from ._native import (
    TrioInternalError as TrioInternalError,
)
from ._native import (
    WouldBlock as WouldBlock,
)
from ._native import (
    current_effective_deadline as current_effective_deadline,
)
from ._native import (
    current_time as current_time,
)
from ._native import (
    move_on_after as move_on_after,
)
from ._native import (
    move_on_at as move_on_at,
)
from ._native import (
    open_memory_channel as open_memory_channel,
)
from ._native import (
    open_nursery as open_nursery,
)
from ._native import (
    run as run,
)
from ._native import (
    sleep as sleep,
)
from ._native import (
    sleep_forever as sleep_forever,
)
from ._native import (
    sleep_until as sleep_until,
)
from ._timeouts import (
    fail_after as fail_after,
)
from ._timeouts import (
    fail_at as fail_at,
)

__version__: str

def install() -> None: ...
