"""Streams on file descriptors of UNIX: pipes, terminals, character devices."""

from __future__ import annotations

import os
from errno import EBADF

import trio_c as trio

from ._abc import Stream
from ._util import ConflictDetector, final

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Final, NoReturn

DEFAULT_RECEIVE_SIZE: Final = 65536


class _FdHolder:
    """Owns a descriptor: makes it non-blocking, and gives it back as it was.

    `fd` is -1 as long as it owns none.
    """

    fd = -1

    def __init__(self, fd: int) -> None:
        if not isinstance(fd, int):
            raise TypeError("file descriptor must be an int")
        # The mode belongs to the open file, which other processes may share.
        self._was_blocking = os.get_blocking(fd)
        os.set_blocking(fd, False)
        # Ours only now, when nothing can fail any more.
        self.fd = fd

    @property
    def closed(self) -> bool:
        return self.fd == -1

    def release(self) -> None:
        """Close the descriptor, if there is one, and tell nobody.

        That is enough when the holder is dropped: as long as somebody waits in
        the stream, it stays alive.
        """
        fd, self.fd = self.fd, -1
        if fd != -1:
            try:
                os.set_blocking(fd, self._was_blocking)
            finally:
                os.close(fd)

    __del__ = release

    def close(self) -> None:
        """Close it, and wake who waits for it."""
        if not self.closed:
            trio.lowlevel.notify_closing(self.fd)
        self.release()


def _as_bytes(view: memoryview) -> memoryview:
    """What is in `view`, byte by byte, whatever its items are."""
    if view.ndim == view.itemsize == 1 or not view.c_contiguous:
        return view  # in the last case os.write() refuses it
    try:
        return view.cast("B")
    except TypeError:  # not in native byte order, as far as it knows
        return memoryview(view.tobytes())


def _raise_stream_error(exc: OSError) -> NoReturn:
    # A stream that is closed meanwhile has the descriptor -1 from then on.
    if exc.errno == EBADF:
        raise trio.ClosedResourceError("file was already closed") from None
    raise trio.BrokenResourceError from exc


@final
class FdStream(Stream):
    """A stream on a file descriptor: a pipe, a terminal, a character device.

    `fd` is what :func:`os.open` or :func:`os.pipe` gave. It belongs to the
    stream from now on and is closed with it, also when the stream is merely
    dropped. Not available on Windows.

    A stream has both directions, whether or not the descriptor does; on that
    of a pipe only one of them works. Sending and receiving at the same time is
    fine. Not for files on a disk, of which the system cannot tell when they
    will be slow: see :func:`trio_c.open_file`.

    .. warning:: The descriptor is made non-blocking, and so is every other
       one that shares its open file, in other processes too: the standard
       streams of a program are often one file, which belongs to its parent as
       well. A stream that is closed puts the old mode back; a program that is
       killed cannot.

    Raises:
      TypeError: `fd` is not an int.
      OSError: it is not an open descriptor.
    """

    def __init__(self, fd: int) -> None:
        self._fd_holder = _FdHolder(fd)
        busy = "another task is using this stream for "
        self._send_conflict_detector = ConflictDetector(busy + "send")
        self._receive_conflict_detector = ConflictDetector(busy + "receive")

    async def send_all(self, data: bytes | bytearray | memoryview) -> None:
        """See :meth:`trio_c.abc.SendStream.send_all`."""
        holder = self._fd_holder
        with self._send_conflict_detector:
            if holder.closed:
                raise trio.ClosedResourceError("file was already closed")
            await trio.lowlevel.checkpoint()
            len(data)  # what has none is not data
            with memoryview(data) as view, _as_bytes(view) as octets:
                sent = 0
                while sent < len(octets):
                    with octets[sent:] as rest:
                        try:
                            sent += os.write(holder.fd, rest)
                        except BlockingIOError:
                            await trio.lowlevel.wait_writable(holder.fd)
                        except OSError as exc:
                            _raise_stream_error(exc)

    async def wait_send_all_might_not_block(self) -> None:
        """See :meth:`trio_c.abc.SendStream.wait_send_all_might_not_block`."""
        holder = self._fd_holder
        with self._send_conflict_detector:
            if holder.closed:
                raise trio.ClosedResourceError("file was already closed")
            await trio.lowlevel.wait_writable(holder.fd)

    async def receive_some(self, max_bytes: int | None = None) -> bytes:
        """See :meth:`trio_c.abc.ReceiveStream.receive_some`.

        Without `max_bytes`, at most 64 KiB come at once.
        """
        holder = self._fd_holder
        with self._receive_conflict_detector:
            if max_bytes is None:
                max_bytes = DEFAULT_RECEIVE_SIZE
            elif not isinstance(max_bytes, int):
                raise TypeError("max_bytes must be integer >= 1")
            elif max_bytes < 1:
                raise ValueError("max_bytes must be integer >= 1")
            await trio.lowlevel.checkpoint()
            while True:
                try:
                    return os.read(holder.fd, max_bytes)
                except BlockingIOError:
                    await trio.lowlevel.wait_readable(holder.fd)
                except OSError as exc:
                    _raise_stream_error(exc)

    def close(self) -> None:
        """Close the descriptor, at once: no checkpoint, and usable in `__del__`.

        Closing twice is fine. Tasks that wait in the stream get
        :exc:`trio_c.ClosedResourceError`.

        Raises:
          RuntimeError: not called from within a run. The descriptor stays open.
        """
        self._fd_holder.close()

    async def aclose(self) -> None:
        """Close the descriptor; then a checkpoint."""
        self.close()
        await trio.lowlevel.checkpoint()

    def fileno(self) -> int:
        """The descriptor; -1 when the stream is closed."""
        return self._fd_holder.fd
