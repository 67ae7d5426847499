"""Helpers for testing programs that use the library."""

from .. import _deprecate as _deprecate
from .._core import wait_all_tasks_blocked as wait_all_tasks_blocked
from .._core._mock_clock import MockClock as MockClock
from .._threads import (
    active_thread_count as active_thread_count,
    wait_all_threads_completed as wait_all_threads_completed,
)
from .._util import fixup_module_metadata
from ._check_streams import (
    check_half_closeable_stream as check_half_closeable_stream,
    check_one_way_stream as check_one_way_stream,
    check_two_way_stream as check_two_way_stream,
)
from ._checkpoints import (
    assert_checkpoints as assert_checkpoints,
    assert_no_checkpoints as assert_no_checkpoints,
)
from ._memory_streams import (
    MemoryReceiveStream as MemoryReceiveStream,
    MemorySendStream as MemorySendStream,
    lockstep_stream_one_way_pair as lockstep_stream_one_way_pair,
    lockstep_stream_pair as lockstep_stream_pair,
    memory_stream_one_way_pair as memory_stream_one_way_pair,
    memory_stream_pair as memory_stream_pair,
    memory_stream_pump as memory_stream_pump,
)
from ._network import open_stream_to_socket_listener as open_stream_to_socket_listener
from ._sequencer import Sequencer as Sequencer
from ._trio_test import trio_test as trio_test

TYPE_CHECKING = bool(0)  # jedi would believe a plain False
if TYPE_CHECKING:
    from ._raises_group import Matcher as _Matcher, RaisesGroup as _RaisesGroup  # noqa: F401
else:

    def __getattr__(name: str) -> object:
        # RaisesGroup and Matcher, deprecated in favour of pytest's, and without
        # a warning under an underscore. On demand, since their module loads
        # pytest.
        replacement = {"RaisesGroup": "RaisesGroup", "Matcher": "RaisesExc"}.get(
            name.removeprefix("_")
        )
        if replacement is None:
            raise AttributeError(f"module '{__name__}' has no attribute '{name}'")
        from . import _raises_group

        if not name.startswith("_"):
            _deprecate.warn_deprecated(
                f"{__name__}.{name}",
                "0.33.0",
                issue=3326,
                instead="See https://docs.pytest.org/en/stable/reference/"
                f"reference.html#pytest.{replacement}",
            )
        return getattr(_raises_group, name.removeprefix("_"))


fixup_module_metadata(__name__, globals())
del TYPE_CHECKING, fixup_module_metadata
