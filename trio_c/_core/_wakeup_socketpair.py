"""A pair of sockets with which other threads, and signals, wake a task.

The run loop has its own native pair. This one is for libraries that take
Trio's from here.
"""

from __future__ import annotations

import socket

from .._native import wait_readable
from .._util import is_main_thread


class WakeupSocketpair:
    """`wakeup_sock` becomes readable when somebody wakes."""

    def __init__(self) -> None:
        self.wakeup_sock, self.write_sock = socket.socketpair()
        self.wakeup_sock.setblocking(False)
        self.write_sock.setblocking(False)
        # One byte is enough: let the kernel keep as few as it can.
        self.wakeup_sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1)
        self.write_sock.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 1)
        self.old_wakeup_fd: int | None = None

    def wakeup_thread_and_signal_safe(self) -> None:
        """Wake the task that waits, or the next one that does."""
        try:
            self.write_sock.send(b"\0")
        except BlockingIOError:
            pass  # full: it is readable

    async def wait_woken(self) -> None:
        """Wait to be woken. A checkpoint."""
        await wait_readable(self.wakeup_sock)
        self.drain()

    def drain(self) -> None:
        """Forget all wake-ups so far."""
        try:
            while self.wakeup_sock.recv(2**16):
                pass
        except BlockingIOError:
            pass

    def wakeup_on_signals(self) -> None:
        """In the main thread: have signals wake it too, until `close`."""
        assert self.old_wakeup_fd is None
        if not is_main_thread():
            return
        import signal

        self.old_wakeup_fd = signal.set_wakeup_fd(
            self.write_sock.fileno(), warn_on_full_buffer=False
        )
        if self.old_wakeup_fd != -1:
            import warnings

            warnings.warn(
                "It looks like Trio's signal handling code might have collided "
                "with another library you're using. If you're running Trio in "
                "guest mode, then this might mean you should set "
                "host_uses_signal_set_wakeup_fd=True. Otherwise, file a bug on "
                "Trio and we'll help you figure out what's going on.",
                RuntimeWarning,
                stacklevel=1,
            )

    def close(self) -> None:
        """Close both sockets and give signals back."""
        self.wakeup_sock.close()
        self.write_sock.close()
        if self.old_wakeup_fd is not None:
            import signal

            signal.set_wakeup_fd(self.old_wakeup_fd)
