"""What depends on the operating system about child processes.

* :func:`wait_child_exiting`: wait until a child can be reaped, where there is
  no pidfd for it;
* :func:`create_pipe_to_child_stdin`, :func:`create_pipe_from_child_output`:
  a pipe as (our end, a stream; the child's end, a descriptor).

Each system's way of waiting is a module of its own here.
"""

from __future__ import annotations

from .._native import BACKEND

TYPE_CHECKING = False
if TYPE_CHECKING:
    from .._abc import ReceiveStream, SendStream
    from .._subprocess import Process

    class ClosableSendStream(SendStream):
        def close(self) -> None: ...

    class ClosableReceiveStream(ReceiveStream):
        def close(self) -> None: ...

    async def wait_child_exiting(process: Process) -> None: ...
    def create_pipe_to_child_stdin() -> tuple[ClosableSendStream, int]: ...
    def create_pipe_from_child_output() -> tuple[ClosableReceiveStream, int]: ...

elif BACKEND == "iocp":
    from .windows import (
        create_pipe_from_child_output as create_pipe_from_child_output,
        create_pipe_to_child_stdin as create_pipe_to_child_stdin,
        wait_child_exiting as wait_child_exiting,
    )
else:
    from .unix import (
        create_pipe_from_child_output as create_pipe_from_child_output,
        create_pipe_to_child_stdin as create_pipe_to_child_stdin,
    )

    if BACKEND == "kqueue":
        from .kqueue import wait_child_exiting as wait_child_exiting
    else:
        from .waitid import wait_child_exiting as wait_child_exiting
