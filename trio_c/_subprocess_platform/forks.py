"""Forks of this process, which wait while a child process is started."""

from __future__ import annotations

import os
from threading import RLock

# Popen waits until nobody has its pipe to the child any more. The copy in a
# process that some other thread forks at the moment would have the loop wait for
# that one's end, so the other thread waits until the child has been started.
no_fork = RLock()


def _before_fork() -> None:
    # Whoever forks may have locks of others, and must not wait for ever.
    no_fork.acquire(timeout=1)


def _after_fork() -> None:
    try:
        no_fork.release()
    except RuntimeError:
        pass  # it took too long


def _after_fork_in_child() -> None:
    global no_fork
    no_fork = RLock()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(
        before=_before_fork,
        after_in_parent=_after_fork,
        after_in_child=_after_fork_in_child,
    )
