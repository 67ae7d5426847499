"""Files whose methods run in worker threads, so that no task waits for a disk.

What a wrapper forwards is decided by name, from the two sets below, when the
attribute is first used. The protocols are there for type checkers: they say
which methods a wrapper around a certain kind of file has.
"""

from __future__ import annotations

import io
from functools import partial

import trio_c as trio

from ._abc import AsyncResource
from ._util import async_wraps, overload

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable
    from os import PathLike
    from typing import (
        IO,
        Any,
        AnyStr,
        BinaryIO,
        Generic,
        Literal,
        Protocol,
        TypeAlias,
        TypeVar,
    )

    from _typeshed import (
        OpenBinaryMode,
        OpenBinaryModeReading,
        OpenBinaryModeUpdating,
        OpenBinaryModeWriting,
        OpenTextMode,
    )
    from typing_extensions import Buffer

    _OpenFile: TypeAlias = str | bytes | PathLike[str] | PathLike[bytes] | int
    _Opener: TypeAlias = Callable[[str, int], int]

    FileT = TypeVar("FileT")
    FileT_co = TypeVar("FileT_co", covariant=True)
    T = TypeVar("T")
    T_co = TypeVar("T_co", covariant=True)
    T_contra = TypeVar("T_contra", contravariant=True)
    AnyStr_co = TypeVar("AnyStr_co", str, bytes, covariant=True)

    # Attributes.

    class _HasClosed(Protocol):
        @property
        def closed(self) -> bool: ...

    class _HasEncoding(Protocol):
        @property
        def encoding(self) -> str: ...

    class _HasErrors(Protocol):
        @property
        def errors(self) -> str | None: ...

    class _HasNewlines(Protocol[T_co]):
        @property
        def newlines(self) -> T_co: ...

    class _HasBuffer(Protocol):
        @property
        def buffer(self) -> BinaryIO: ...

    class _HasRaw(Protocol):
        @property
        def raw(self) -> io.RawIOBase: ...

    class _HasLineBuffering(Protocol):
        @property
        def line_buffering(self) -> bool: ...

    class _HasCloseFD(Protocol):
        @property
        def closefd(self) -> bool: ...

    class _HasName(Protocol):
        @property
        def name(self) -> str: ...

    class _HasMode(Protocol):
        @property
        def mode(self) -> str: ...

    # Methods that never block.

    class _HasFileNo(Protocol):
        def fileno(self) -> int: ...

    class _HasIsATTY(Protocol):
        def isatty(self) -> bool: ...

    class _HasReadable(Protocol):
        def readable(self) -> bool: ...

    class _HasSeekable(Protocol):
        def seekable(self) -> bool: ...

    class _HasWritable(Protocol):
        def writable(self) -> bool: ...

    class _CanGetValue(Protocol[AnyStr_co]):
        def getvalue(self) -> AnyStr_co: ...

    class _CanGetBuffer(Protocol):
        def getbuffer(self) -> memoryview: ...

    # Methods that may.

    class _CanRead(Protocol[AnyStr_co]):
        def read(self, size: int | None = ..., /) -> AnyStr_co: ...

    class _CanRead1(Protocol):
        def read1(self, size: int = ..., /) -> bytes: ...

    class _CanReadAll(Protocol[AnyStr_co]):
        def readall(self) -> AnyStr_co: ...

    class _CanReadInto(Protocol):
        def readinto(self, buf: Buffer, /) -> int | None: ...

    class _CanReadInto1(Protocol):
        def readinto1(self, buffer: Buffer, /) -> int: ...

    class _CanReadLine(Protocol[AnyStr_co]):
        def readline(self, size: int = ..., /) -> AnyStr_co: ...

    class _CanReadLines(Protocol[AnyStr]):
        def readlines(self, hint: int = ..., /) -> list[AnyStr]: ...

    class _CanPeek(Protocol[AnyStr_co]):
        def peek(self, size: int = 0, /) -> AnyStr_co: ...

    class _CanSeek(Protocol):
        def seek(self, target: int, whence: int = 0, /) -> int: ...

    class _CanTell(Protocol):
        def tell(self) -> int: ...

    class _CanTruncate(Protocol):
        def truncate(self, size: int | None = ..., /) -> int: ...

    class _CanWrite(Protocol[T_contra]):
        def write(self, data: T_contra, /) -> int: ...

    class _CanWriteLines(Protocol[T_contra]):
        def writelines(self, lines: Iterable[T_contra], /) -> None: ...

    class _CanFlush(Protocol):
        def flush(self) -> None: ...

    class _CanDetach(Protocol[T_co]):
        def detach(self) -> T_co: ...

    class _CanClose(Protocol):
        def close(self) -> None: ...

else:
    from ._abc import _Subscriptable

    # Read by type checkers only; see _abc.
    FileT_co = None
    Generic = {None: _Subscriptable}

# What a wrapper hands on as it is, and what becomes an async method. All else
# that a file may have stays out of sight.
_FILE_SYNC_ATTRS: set[str] = {
    *("closed", "encoding", "errors", "newlines", "buffer", "raw"),
    *("line_buffering", "closefd", "name", "mode"),
    *("fileno", "isatty", "readable", "seekable", "writable"),
    *("getvalue", "getbuffer"),
}
_FILE_ASYNC_METHODS: set[str] = {
    *("read", "read1", "readall", "readinto", "readinto1"),
    *("readline", "readlines", "peek", "seek", "tell", "truncate"),
    *("write", "writelines", "flush"),
}


def _in_thread(cls: type, file: object, name: str) -> Callable[..., Any]:
    """The async version of ``file.name``, for an object of class `cls`."""
    method = getattr(file, name)

    @async_wraps(cls, file.__class__, name)
    async def call(*args: Any, **kwargs: Any) -> Any:
        return await trio.to_thread.run_sync(partial(method, *args, **kwargs))

    return call


class AsyncIOWrapper(AsyncResource, Generic[FileT_co]):
    """An open file, with async methods in place of those that may block.

    :func:`trio_c.open_file`, :func:`trio_c.wrap_file` and
    :meth:`trio_c.Path.open` make these. Of the methods and attributes below,
    it has those that the wrapped file has:

    * to be awaited: ``read``, ``read1``, ``readall``, ``readinto``,
      ``readinto1``, ``readline``, ``readlines``, ``peek``, ``seek``,
      ``tell``, ``truncate``, ``write``, ``writelines`` and ``flush``, beside
      :meth:`detach` and :meth:`aclose`;
    * as they are: ``closed``, ``encoding``, ``errors``, ``newlines``,
      ``buffer``, ``raw``, ``line_buffering``, ``closefd``, ``name``,
      ``mode``, ``fileno``, ``isatty``, ``readable``, ``seekable``,
      ``writable``, ``getvalue`` and ``getbuffer``.

    Each call of an async method runs the file's own method in a worker
    thread, with the same arguments, result and errors. It can be cancelled
    until the thread has begun, and not any more after that. Nothing keeps two
    tasks from using one file at the same time, which most files do not expect.

    ``async for`` goes through the lines, and ``async with`` closes the file.
    """

    def __init__(self, file: FileT_co) -> None:
        self._wrapped = file

    @property
    def wrapped(self) -> FileT_co:
        """The file itself, with its synchronous methods."""
        return self._wrapped

    if not TYPE_CHECKING:

        def __getattr__(self, name: str) -> object:
            if name in _FILE_SYNC_ATTRS:
                return getattr(self._wrapped, name)
            if name not in _FILE_ASYNC_METHODS:
                raise AttributeError(name)
            method = _in_thread(self.__class__, self._wrapped, name)
            # Next time it is found there, and is the same object.
            setattr(self, name, method)
            return method

    def __dir__(self) -> Iterable[str]:
        names = _FILE_SYNC_ATTRS | _FILE_ASYNC_METHODS
        return {
            *super().__dir__(),
            *(name for name in names if hasattr(self._wrapped, name)),
        }

    def __aiter__(self) -> AsyncIOWrapper[FileT_co]:
        return self

    async def __anext__(self: AsyncIOWrapper[_CanReadLine[AnyStr]]) -> AnyStr:
        if line := await self.readline():
            return line
        raise StopAsyncIteration

    async def detach(self: AsyncIOWrapper[_CanDetach[T]]) -> AsyncIOWrapper[T]:
        """Separate the file from what it is built on, and wrap that.

        Calls the file's ``detach`` in a worker thread, as
        :meth:`io.BufferedIOBase.detach` or :meth:`io.TextIOBase.detach`.
        The wrapper that it was called on is of no use any more.
        """
        return wrap_file(await trio.to_thread.run_sync(self._wrapped.detach))

    async def aclose(self: AsyncIOWrapper[_CanClose]) -> None:
        """Close the file, in a worker thread.

        Closing may have to write what is still buffered; it cannot be
        cancelled. After it comes a cancellation point, by when the file is
        closed in any case.
        """
        with trio.CancelScope(shield=True):
            await trio.to_thread.run_sync(self._wrapped.close)
        await trio.lowlevel.checkpoint_if_cancelled()

    # The names of the two sets, each as it is if the file has it.
    if TYPE_CHECKING:

        @property
        def closed(self: AsyncIOWrapper[_HasClosed]) -> bool: ...
        @property
        def encoding(self: AsyncIOWrapper[_HasEncoding]) -> str: ...
        @property
        def errors(self: AsyncIOWrapper[_HasErrors]) -> str | None: ...
        @property
        def newlines(self: AsyncIOWrapper[_HasNewlines[T]]) -> T: ...
        @property
        def buffer(self: AsyncIOWrapper[_HasBuffer]) -> BinaryIO: ...
        @property
        def raw(self: AsyncIOWrapper[_HasRaw]) -> io.RawIOBase: ...
        @property
        def line_buffering(self: AsyncIOWrapper[_HasLineBuffering]) -> int: ...
        @property
        def closefd(self: AsyncIOWrapper[_HasCloseFD]) -> bool: ...
        @property
        def name(self: AsyncIOWrapper[_HasName]) -> str: ...
        @property
        def mode(self: AsyncIOWrapper[_HasMode]) -> str: ...
        def fileno(self: AsyncIOWrapper[_HasFileNo]) -> int: ...
        def isatty(self: AsyncIOWrapper[_HasIsATTY]) -> bool: ...
        def readable(self: AsyncIOWrapper[_HasReadable]) -> bool: ...
        def seekable(self: AsyncIOWrapper[_HasSeekable]) -> bool: ...
        def writable(self: AsyncIOWrapper[_HasWritable]) -> bool: ...
        def getvalue(self: AsyncIOWrapper[_CanGetValue[AnyStr]]) -> AnyStr: ...
        def getbuffer(self: AsyncIOWrapper[_CanGetBuffer]) -> memoryview: ...
        async def read(
            self: AsyncIOWrapper[_CanRead[AnyStr]], size: int | None = -1, /
        ) -> AnyStr: ...
        async def read1(
            self: AsyncIOWrapper[_CanRead1], size: int | None = -1, /
        ) -> bytes: ...
        async def readall(self: AsyncIOWrapper[_CanReadAll[AnyStr]]) -> AnyStr: ...
        async def readinto(
            self: AsyncIOWrapper[_CanReadInto], buf: Buffer, /
        ) -> int | None: ...
        async def readinto1(
            self: AsyncIOWrapper[_CanReadInto1], buffer: Buffer, /
        ) -> int: ...
        async def readline(
            self: AsyncIOWrapper[_CanReadLine[AnyStr]], size: int = -1, /
        ) -> AnyStr: ...
        async def readlines(
            self: AsyncIOWrapper[_CanReadLines[AnyStr]],
        ) -> list[AnyStr]: ...
        async def peek(
            self: AsyncIOWrapper[_CanPeek[AnyStr]], size: int = 0, /
        ) -> AnyStr: ...
        async def seek(
            self: AsyncIOWrapper[_CanSeek], target: int, whence: int = 0, /
        ) -> int: ...
        async def tell(self: AsyncIOWrapper[_CanTell]) -> int: ...
        async def truncate(
            self: AsyncIOWrapper[_CanTruncate], size: int | None = None, /
        ) -> int: ...
        async def write(self: AsyncIOWrapper[_CanWrite[T]], data: T, /) -> int: ...
        async def writelines(
            self: AsyncIOWrapper[_CanWriteLines[T]], lines: Iterable[T], /
        ) -> None: ...
        async def flush(self: AsyncIOWrapper[_CanFlush]) -> None: ...


# What comes out depends on mode and buffering, as with open().


@overload
async def open_file(
    file: _OpenFile,
    mode: OpenTextMode = "r",
    buffering: int = -1,
    encoding: str | None = None,
    errors: str | None = None,
    newline: str | None = None,
    closefd: bool = True,
    opener: _Opener | None = None,
) -> AsyncIOWrapper[io.TextIOWrapper]: ...


@overload
async def open_file(
    file: _OpenFile,
    mode: OpenBinaryMode,
    buffering: Literal[0],
    encoding: None = None,
    errors: None = None,
    newline: None = None,
    closefd: bool = True,
    opener: _Opener | None = None,
) -> AsyncIOWrapper[io.FileIO]: ...


@overload
async def open_file(
    file: _OpenFile,
    mode: OpenBinaryModeUpdating,
    buffering: Literal[-1, 1] = -1,
    encoding: None = None,
    errors: None = None,
    newline: None = None,
    closefd: bool = True,
    opener: _Opener | None = None,
) -> AsyncIOWrapper[io.BufferedRandom]: ...


@overload
async def open_file(
    file: _OpenFile,
    mode: OpenBinaryModeWriting,
    buffering: Literal[-1, 1] = -1,
    encoding: None = None,
    errors: None = None,
    newline: None = None,
    closefd: bool = True,
    opener: _Opener | None = None,
) -> AsyncIOWrapper[io.BufferedWriter]: ...


@overload
async def open_file(
    file: _OpenFile,
    mode: OpenBinaryModeReading,
    buffering: Literal[-1, 1] = -1,
    encoding: None = None,
    errors: None = None,
    newline: None = None,
    closefd: bool = True,
    opener: _Opener | None = None,
) -> AsyncIOWrapper[io.BufferedReader]: ...


@overload
async def open_file(
    file: _OpenFile,
    mode: OpenBinaryMode,
    buffering: int,
    encoding: None = None,
    errors: None = None,
    newline: None = None,
    closefd: bool = True,
    opener: _Opener | None = None,
) -> AsyncIOWrapper[BinaryIO]: ...


@overload
async def open_file(
    file: _OpenFile,
    mode: str,
    buffering: int = -1,
    encoding: str | None = None,
    errors: str | None = None,
    newline: str | None = None,
    closefd: bool = True,
    opener: _Opener | None = None,
) -> AsyncIOWrapper[IO[Any]]: ...


async def open_file(
    file: _OpenFile,
    mode: str = "r",
    buffering: int = -1,
    encoding: str | None = None,
    errors: str | None = None,
    newline: str | None = None,
    closefd: bool = True,
    opener: _Opener | None = None,
) -> AsyncIOWrapper[object]:
    """Open a file, in a worker thread.

    Takes what the built-in :func:`open` does, and raises what it does. A
    checkpoint; once the thread has begun it cannot be cancelled, so that no
    file is opened and lost.

    Returns:
      A wrapper around the file, to be closed by ``async with`` or
      :meth:`~trio_c.abc.AsyncResource.aclose`::

          async with await trio_c.open_file("log.txt", "a") as log:
              await log.write("done\\n")
    """
    return wrap_file(
        await trio.to_thread.run_sync(
            io.open, file, mode, buffering, encoding, errors, newline, closefd, opener
        )
    )


def wrap_file(file: FileT) -> AsyncIOWrapper[FileT]:
    """Wrap a file that is open already, or any object that behaves like one.

    Returns:
      An object with the file's methods as async ones, which run in worker
      threads. The file itself is its attribute ``wrapped``.

    Raises:
      TypeError: there is no ``close`` method, or neither ``read`` nor
        ``write``.
    """

    def can(name: str) -> bool:
        return callable(getattr(file, name, None))

    if can("close") and (can("read") or can("write")):
        return AsyncIOWrapper(file)
    raise TypeError(
        f"{file} does not implement required duck-file methods: "
        "close and (read or write)"
    )
