"""Paths like the standard library's, whose methods run in worker threads.

A `Path` is a `pathlib.PurePath`, so what only computes with names is there
already. What asks the system is made below from the methods of
`pathlib.Path`, which a thread calls on a path of the standard library's.
"""

from __future__ import annotations

import os
import pathlib
import sys
from functools import partial, update_wrapper
from textwrap import dedent

from ._file_io import wrap_file
from ._util import final, overload
from .to_thread import run_sync

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterable
    from io import BufferedRandom, BufferedReader, BufferedWriter, FileIO, TextIOWrapper
    from typing import (
        IO,
        Any,
        BinaryIO,
        ClassVar,
        Concatenate,
        Literal,
        ParamSpec,
        Self,
        TypeVar,
    )

    from _typeshed import (
        OpenBinaryMode,
        OpenBinaryModeReading,
        OpenBinaryModeUpdating,
        OpenBinaryModeWriting,
        OpenTextMode,
    )

    from ._file_io import AsyncIOWrapper

    P = ParamSpec("P")
    PathT = TypeVar("PathT", bound="Path")
    ResultT = TypeVar("ResultT")
    T = TypeVar("T")


def _wraps_async(
    wrapped: Callable[..., object],
) -> Callable[[Callable[P, T]], Callable[P, Awaitable[T]]]:
    """Decorator: an async function that calls the decorated one in a thread.

    It looks like `wrapped`, whose async counterpart it is.
    """

    def decorate(work: Callable[P, T]) -> Callable[P, Awaitable[T]]:
        async def call(*args: P.args, **kwargs: P.kwargs) -> T:
            return await run_sync(partial(work, *args, **kwargs))

        update_wrapper(call, wrapped)
        if wrapped.__doc__:
            call.__doc__ = (
                f"The async version of :meth:`~{_documented_name(wrapped)}`.\n\n"
                f"{_outdented(wrapped.__doc__)}\n"
            )
        return call

    return decorate


def _outdented(doc: str) -> str:
    # inspect has a function for this, but takes long to import.
    first, _, rest = doc.strip().partition("\n")
    return f"{first}\n{dedent(rest)}".rstrip()


def _documented_name(function: Callable[..., object]) -> str:
    # In CPython 3.13 parts of pathlib are in private modules and bases.
    module, name = function.__module__, function.__qualname__
    if module.startswith("pathlib."):
        module = "pathlib"
    return f"{module}.{name.replace('PathBase.', 'Path.')}"


def _async_method(
    fn: Callable[Concatenate[pathlib.Path, P], T],
    convert: Callable[[PathT, T], ResultT],
) -> Callable[Concatenate[PathT, P], Awaitable[ResultT]]:
    """The async version of a method of `pathlib.Path`.

    ``convert(path, result)`` is what it gives, also called in the thread.
    """

    @_wraps_async(fn)
    def work(path: PathT, /, *args: P.args, **kwargs: P.kwargs) -> ResultT:
        result = fn(path._wrapped_cls(path), *args, **kwargs)
        return convert(path, result)

    return work


def _wrap_method(
    fn: Callable[Concatenate[pathlib.Path, P], T],
) -> Callable[Concatenate[Path, P], Awaitable[T]]:
    """Of a method whose result is not a path."""

    def as_it_is(path: Path, result: T) -> T:
        return result

    return _async_method(fn, as_it_is)


def _wrap_method_path(
    fn: Callable[Concatenate[pathlib.Path, P], pathlib.Path],
) -> Callable[Concatenate[PathT, P], Awaitable[PathT]]:
    """Of a method that returns another path."""

    def of_our_class(path: PathT, result: pathlib.Path) -> PathT:
        return path.__class__(result)

    return _async_method(fn, of_our_class)


def _wrap_method_path_iterable(
    fn: Callable[Concatenate[pathlib.Path, P], Iterable[pathlib.Path]],
) -> Callable[Concatenate[PathT, P], Awaitable[Iterable[PathT]]]:
    """Of a method that goes through paths."""

    def all_of_our_class(path: PathT, found: Iterable[pathlib.Path]) -> Iterable[PathT]:
        # Each step may ask the system again: all are made in the thread.
        return map(path.__class__, list(found))

    method = _async_method(fn, all_of_our_class)
    if method.__doc__:
        method.__doc__ += (
            "\n"
            "What is awaited is an ordinary iterator::\n"
            "\n"
            f"    for found in await path.{fn.__name__}(...):\n"
            "        ...\n"
            "\n"
            "The search is over by then, and all that was found in memory.\n"
        )
    return method


class Path(pathlib.PurePath):
    """A path in the file system, with async methods.

    It has the methods and attributes of :class:`pathlib.Path`, with the same
    arguments, results and errors. Those that ask the system anything are async
    here, and run in a worker thread: they can be cancelled until the thread
    has begun, and not any more after that. Paths that they return are of this
    class again, and :meth:`open` gives a file as :func:`trio_c.open_file`
    does. The others, such as ``parent``, ``with_suffix`` and ``/``, are those
    of :class:`pathlib.PurePath`.

    A new path is a :class:`PosixPath` or a :class:`WindowsPath`, as the system
    has it. It equals the path of the standard library with the same parts, and
    can be used wherever an :class:`os.PathLike` can::

        async with await (trio_c.Path("data") / "log.txt").open() as log:
            text = await log.read()
    """

    __slots__ = ()

    # In which class of pathlib the methods are.
    _wrapped_cls: ClassVar[type[pathlib.Path]]

    def __new__(cls, *args: str | os.PathLike[str]) -> Self:
        if cls is Path:
            cls = WindowsPath if os.name == "nt" else PosixPath  # type: ignore[assignment]
        return super().__new__(cls, *args)

    @classmethod
    @_wraps_async(pathlib.Path.cwd)
    def cwd(cls) -> Self:
        return cls(pathlib.Path.cwd())

    @classmethod
    @_wraps_async(pathlib.Path.home)
    def home(cls) -> Self:
        return cls(pathlib.Path.home())

    @overload
    async def open(
        self,
        mode: OpenTextMode = "r",
        buffering: int = -1,
        encoding: str | None = None,
        errors: str | None = None,
        newline: str | None = None,
    ) -> AsyncIOWrapper[TextIOWrapper]: ...

    @overload
    async def open(
        self,
        mode: OpenBinaryMode,
        buffering: Literal[0],
        encoding: None = None,
        errors: None = None,
        newline: None = None,
    ) -> AsyncIOWrapper[FileIO]: ...

    @overload
    async def open(
        self,
        mode: OpenBinaryModeUpdating,
        buffering: Literal[-1, 1] = -1,
        encoding: None = None,
        errors: None = None,
        newline: None = None,
    ) -> AsyncIOWrapper[BufferedRandom]: ...

    @overload
    async def open(
        self,
        mode: OpenBinaryModeWriting,
        buffering: Literal[-1, 1] = -1,
        encoding: None = None,
        errors: None = None,
        newline: None = None,
    ) -> AsyncIOWrapper[BufferedWriter]: ...

    @overload
    async def open(
        self,
        mode: OpenBinaryModeReading,
        buffering: Literal[-1, 1] = -1,
        encoding: None = None,
        errors: None = None,
        newline: None = None,
    ) -> AsyncIOWrapper[BufferedReader]: ...

    @overload
    async def open(
        self,
        mode: OpenBinaryMode,
        buffering: int = -1,
        encoding: None = None,
        errors: None = None,
        newline: None = None,
    ) -> AsyncIOWrapper[BinaryIO]: ...

    @overload
    async def open(
        self,
        mode: str,
        buffering: int = -1,
        encoding: str | None = None,
        errors: str | None = None,
        newline: str | None = None,
    ) -> AsyncIOWrapper[IO[Any]]: ...

    @_wraps_async(pathlib.Path.open)
    def open(self, *args: Any, **kwargs: Any) -> AsyncIOWrapper[IO[Any]]:
        return wrap_file(self._wrapped_cls(self).open(*args, **kwargs))

    def __repr__(self) -> str:
        return f"trio.Path({str(self)!r})"

    def as_uri(self) -> str:
        """The path as a ``file:`` URI, as :meth:`pathlib.Path.as_uri` gives it.

        Not async: it asks the system nothing.

        Raises:
          ValueError: the path is not absolute.
        """
        return self._wrapped_cls(self).as_uri()

    # What it is.
    stat = _wrap_method(pathlib.Path.stat)
    lstat = _wrap_method(pathlib.Path.lstat)
    exists = _wrap_method(pathlib.Path.exists)
    is_dir = _wrap_method(pathlib.Path.is_dir)
    is_file = _wrap_method(pathlib.Path.is_file)
    is_symlink = _wrap_method(pathlib.Path.is_symlink)
    is_socket = _wrap_method(pathlib.Path.is_socket)
    is_fifo = _wrap_method(pathlib.Path.is_fifo)
    is_block_device = _wrap_method(pathlib.Path.is_block_device)
    is_char_device = _wrap_method(pathlib.Path.is_char_device)
    if sys.version_info >= (3, 12):
        is_junction = _wrap_method(pathlib.Path.is_junction)
    if sys.platform != "win32" or sys.version_info >= (3, 12):
        is_mount = _wrap_method(pathlib.Path.is_mount)
    if sys.platform != "win32":
        owner = _wrap_method(pathlib.Path.owner)
        group = _wrap_method(pathlib.Path.group)
    samefile = _wrap_method(pathlib.Path.samefile)
    if sys.version_info >= (3, 13):
        # Not async in the base.
        full_match = _wrap_method(  # type: ignore[assignment,unused-ignore]
            pathlib.Path.full_match
        )

    # Where it leads, and what is below it.
    absolute = _wrap_method_path(pathlib.Path.absolute)
    expanduser = _wrap_method_path(pathlib.Path.expanduser)
    readlink = _wrap_method_path(pathlib.Path.readlink)
    resolve = _wrap_method_path(pathlib.Path.resolve)
    glob = _wrap_method_path_iterable(pathlib.Path.glob)
    rglob = _wrap_method_path_iterable(pathlib.Path.rglob)
    iterdir = _wrap_method_path_iterable(pathlib.Path.iterdir)

    # What is in it.
    read_bytes = _wrap_method(pathlib.Path.read_bytes)
    read_text = _wrap_method(pathlib.Path.read_text)
    write_bytes = _wrap_method(pathlib.Path.write_bytes)
    write_text = _wrap_method(pathlib.Path.write_text)

    # Changing the tree.
    chmod = _wrap_method(pathlib.Path.chmod)
    lchmod = _wrap_method(pathlib.Path.lchmod)
    mkdir = _wrap_method(pathlib.Path.mkdir)
    rmdir = _wrap_method(pathlib.Path.rmdir)
    touch = _wrap_method(pathlib.Path.touch)
    unlink = _wrap_method(pathlib.Path.unlink)
    rename = _wrap_method_path(pathlib.Path.rename)
    replace = _wrap_method_path(pathlib.Path.replace)
    symlink_to = _wrap_method(pathlib.Path.symlink_to)
    hardlink_to = _wrap_method(pathlib.Path.hardlink_to)
    if sys.version_info < (3, 12):
        link_to = _wrap_method(pathlib.Path.link_to)


@final
class PosixPath(Path, pathlib.PurePosixPath):
    """A :class:`Path` on a system that is not Windows."""

    __slots__ = ()

    _wrapped_cls: ClassVar[type[pathlib.Path]] = pathlib.PosixPath


@final
class WindowsPath(Path, pathlib.PureWindowsPath):
    """A :class:`Path` on Windows."""

    __slots__ = ()

    _wrapped_cls: ClassVar[type[pathlib.Path]] = pathlib.WindowsPath
