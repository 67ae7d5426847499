"""Making room for many connections."""

import sys

try:
    import resource
except ImportError:
    resource = None  # Windows, which has no such limit


def allow_open_files(connections: int) -> None:
    """Raise this process's limit of open files so that `connections` fit."""
    if resource is None:
        return
    needed = connections + 64  # what the interpreter and the library have open
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft == resource.RLIM_INFINITY or soft >= needed:
        return
    if hard != resource.RLIM_INFINITY and hard < needed:
        sys.exit(f"{needed} open files are needed, and only {hard} are allowed")
    resource.setrlimit(resource.RLIMIT_NOFILE, (needed, hard))
