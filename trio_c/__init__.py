"""Structured concurrency with the API of Trio, as a native extension.

``import trio_c as trio`` is all a program needs. For programs and libraries
that say ``import trio`` themselves, see :func:`install`.

Importing the package loads next to nothing: every name below is fetched when
it is first used (see ``_lazy.py``).
"""

__version__ = "0.34.0.1"

TYPE_CHECKING = bool(0)  # jedi would believe a plain False
if TYPE_CHECKING:
    from . import (
        abc as abc,
        from_thread as from_thread,
        lowlevel as lowlevel,
        socket as socket,
        testing as testing,
        to_thread as to_thread,
    )
    from ._channel import as_safe_channel as as_safe_channel
    from ._core._run import TaskStatus as TaskStatus
    from ._deprecate import TrioDeprecationWarning as TrioDeprecationWarning
    from ._dtls import (
        DTLSChannel as DTLSChannel,
        DTLSChannelStatistics as DTLSChannelStatistics,
        DTLSEndpoint as DTLSEndpoint,
    )
    from ._file_io import open_file as open_file, wrap_file as wrap_file
    from ._highlevel_generic import (
        StapledStream as StapledStream,
        aclose_forcefully as aclose_forcefully,
    )
    from ._highlevel_open_tcp_listeners import (
        open_tcp_listeners as open_tcp_listeners,
        serve_tcp as serve_tcp,
    )
    from ._highlevel_open_tcp_stream import open_tcp_stream as open_tcp_stream
    from ._highlevel_open_unix_stream import open_unix_socket as open_unix_socket
    from ._highlevel_serve_listeners import serve_listeners as serve_listeners
    from ._highlevel_socket import (
        SocketListener as SocketListener,
        SocketStream as SocketStream,
    )
    from ._highlevel_ssl_helpers import (
        open_ssl_over_tcp_listeners as open_ssl_over_tcp_listeners,
        open_ssl_over_tcp_stream as open_ssl_over_tcp_stream,
        serve_ssl_over_tcp as serve_ssl_over_tcp,
    )
    from ._native import (
        TASK_STATUS_IGNORED as TASK_STATUS_IGNORED,
        BrokenResourceError as BrokenResourceError,
        BusyResourceError as BusyResourceError,
        Cancelled as Cancelled,
        CancelScope as CancelScope,
        CapacityLimiter as CapacityLimiter,
        CapacityLimiterStatistics as CapacityLimiterStatistics,
        ClosedResourceError as ClosedResourceError,
        Condition as Condition,
        ConditionStatistics as ConditionStatistics,
        EndOfChannel as EndOfChannel,
        Event as Event,
        EventStatistics as EventStatistics,
        Lock as Lock,
        LockStatistics as LockStatistics,
        MemoryChannelStatistics as MemoryChannelStatistics,
        MemoryReceiveChannel as MemoryReceiveChannel,
        MemorySendChannel as MemorySendChannel,
        Nursery as Nursery,
        RunFinishedError as RunFinishedError,
        Semaphore as Semaphore,
        StrictFIFOLock as StrictFIFOLock,
        TooSlowError as TooSlowError,
        TrioInternalError as TrioInternalError,
        WouldBlock as WouldBlock,
        current_effective_deadline as current_effective_deadline,
        current_time as current_time,
        move_on_after as move_on_after,
        move_on_at as move_on_at,
        open_memory_channel as open_memory_channel,
        open_nursery as open_nursery,
        run as run,
        sleep as sleep,
        sleep_forever as sleep_forever,
        sleep_until as sleep_until,
    )
    from ._path import Path as Path, PosixPath as PosixPath, WindowsPath as WindowsPath
    from ._signals import open_signal_receiver as open_signal_receiver
    from ._ssl import (
        NeedHandshakeError as NeedHandshakeError,
        SSLListener as SSLListener,
        SSLStream as SSLStream,
    )
    from ._subprocess import Process as Process, run_process as run_process
    from ._timeouts import fail_after as fail_after, fail_at as fail_at
else:
    from ._lazy import attach

    # Which module each name comes from: the same again.
    __getattr__, __dir__, __all__ = attach(
        __name__,
        {
            "trio_c._native": """
                BrokenResourceError BusyResourceError CancelScope Cancelled
                CapacityLimiter CapacityLimiterStatistics ClosedResourceError
                Condition ConditionStatistics EndOfChannel Event EventStatistics
                Lock LockStatistics MemoryChannelStatistics MemoryReceiveChannel
                MemorySendChannel Nursery RunFinishedError Semaphore StrictFIFOLock
                TASK_STATUS_IGNORED TooSlowError TrioInternalError WouldBlock
                current_effective_deadline current_time move_on_after move_on_at
                open_memory_channel open_nursery run sleep sleep_forever
                sleep_until
                """,
            "trio_c._core._run": "TaskStatus",
            "trio_c._channel": "as_safe_channel",
            "trio_c._deprecate": "TrioDeprecationWarning",
            "trio_c._dtls": "DTLSChannel DTLSChannelStatistics DTLSEndpoint",
            "trio_c._file_io": "open_file wrap_file",
            "trio_c._highlevel_generic": "StapledStream aclose_forcefully",
            "trio_c._highlevel_open_tcp_listeners": "open_tcp_listeners serve_tcp",
            "trio_c._highlevel_open_tcp_stream": "open_tcp_stream",
            "trio_c._highlevel_open_unix_stream": "open_unix_socket",
            "trio_c._highlevel_serve_listeners": "serve_listeners",
            "trio_c._highlevel_socket": "SocketListener SocketStream",
            "trio_c._highlevel_ssl_helpers": """
                open_ssl_over_tcp_listeners open_ssl_over_tcp_stream
                serve_ssl_over_tcp
                """,
            "trio_c._path": "Path PosixPath WindowsPath",
            "trio_c._signals": "open_signal_receiver",
            "trio_c._ssl": "NeedHandshakeError SSLListener SSLStream",
            "trio_c._subprocess": "Process run_process",
            "trio_c._timeouts": "fail_after fail_at",
        },
        ["abc", "from_thread", "lowlevel", "socket", "testing", "to_thread"],
    )
    del attach
    __all__.remove("testing")  # which is not for programs
del TYPE_CHECKING


def install() -> None:
    """From now on, let ``import trio`` mean this package, in this process and
    in the Python processes that it starts.

    To be called before anything imports ``trio``; calling it again does
    nothing. It imports nothing itself: the modules are loaded once somebody
    asks for them under either name.

    Raises:
      RuntimeError: the real Trio has been imported already. Nothing has been
        changed then.
    """
    from ._dropin import install

    install()


def _stackscope_install_glue_() -> None:
    """Called, after it has been taken out of this module, by the library whose
    name it has; it looks for it once under each name of the module."""
    from ._stackscope_glue import install

    install()
