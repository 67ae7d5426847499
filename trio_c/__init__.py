"""Structured concurrency with the API of Trio, as a native extension.

``import trio_c as trio`` is all a program needs. For programs and libraries
that say ``import trio`` themselves, see :func:`install`.

Importing the package loads next to nothing: every name below is fetched when
it is first used (see ``_lazy.py``).
"""

from ._lazy import attach

__version__ = "0.34.0.1"

# Which module each public name comes from.
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
        "trio_c._highlevel_generic": "StapledStream aclose_forcefully",
        "trio_c._highlevel_open_tcp_listeners": "open_tcp_listeners serve_tcp",
        "trio_c._highlevel_open_tcp_stream": "open_tcp_stream",
        "trio_c._highlevel_serve_listeners": "serve_listeners",
        "trio_c._highlevel_socket": "SocketListener SocketStream",
        "trio_c._timeouts": "fail_after fail_at",
    },
    ["abc", "from_thread", "lowlevel", "socket", "testing", "to_thread"],
)
del attach


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
