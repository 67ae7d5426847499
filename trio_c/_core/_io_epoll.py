"""A run's I/O where it is readiness of descriptors and nothing else."""

from __future__ import annotations

import sys

from .. import _native
from ._io_manager import IOManager

TYPE_CHECKING = False
if TYPE_CHECKING:
    from ._io_manager import EventResult as EventResult

# There are other statistics elsewhere, type checkers are told.
assert not TYPE_CHECKING or sys.platform == "linux"

_EpollStatistics = _native._EpollStatistics


class EpollIOManager(IOManager):
    """The poller of one run."""

    __slots__ = ()

    def statistics(self) -> _EpollStatistics:
        """How many tasks wait for what, and the name of the poller."""
        return _native.io_statistics(self._runner)
