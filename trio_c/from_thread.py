"""Calling back into the run, from code in another thread."""

from ._threads import (
    from_thread_check_cancelled as check_cancelled,
    from_thread_run as run,
    from_thread_run_sync as run_sync,
)
from ._util import fixup_module_metadata

__all__ = ["check_cancelled", "run", "run_sync"]

fixup_module_metadata(__name__, globals())
del fixup_module_metadata
