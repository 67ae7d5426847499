"""Running synchronous functions in worker threads, from async code."""

from ._threads import current_default_thread_limiter, to_thread_run_sync as run_sync
from ._util import fixup_module_metadata

__all__ = ["current_default_thread_limiter", "run_sync"]

fixup_module_metadata(__name__, globals())
del fixup_module_metadata
