"""Files in worker threads: what upstream's tests do not reach."""

from __future__ import annotations

import ast
import gc
import inspect
import io
import os
import re
import threading
import weakref
from typing import Generic, TypeVar

import pytest
from _processes import run_code

import trio_c
from trio_c import _file_io
from trio_c._file_io import _FILE_ASYNC_METHODS, _FILE_SYNC_ATTRS, AsyncIOWrapper
from trio_c.testing import assert_checkpoints, trio_test

T = TypeVar("T")


class Recorder:
    """A file that says how and where its methods were called."""

    closed = False

    def read(self, /, *args, **kwargs):
        """What read() does."""
        return threading.get_ident(), args, kwargs

    def readline(self):
        raise KeyError("no line")

    def close(self):
        self.closed = True


def open_fds():
    return set(os.listdir("/proc/self/fd"))


# --- which attributes a wrapper has


def test_type_checkers_are_told_the_same_names():
    [cls] = (
        node
        for node in ast.parse(inspect.getsource(_file_io)).body
        if isinstance(node, ast.ClassDef) and node.name == "AsyncIOWrapper"
    )
    [block] = (
        node
        for node in cls.body
        if isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING"
    )
    kinds = {ast.FunctionDef: set(), ast.AsyncFunctionDef: set()}
    for node in block.body:
        kinds[type(node)].add(node.name)
    assert kinds[ast.FunctionDef] == _FILE_SYNC_ATTRS
    assert kinds[ast.AsyncFunctionDef] == _FILE_ASYNC_METHODS
    assert not _FILE_SYNC_ATTRS & _FILE_ASYNC_METHODS


@pytest.mark.parametrize(
    "make",
    [
        lambda path: open(path, "rb", 0),
        lambda path: open(path, "rb"),
        lambda path: open(path, "ab"),
        lambda path: open(path, "r+b"),
        lambda path: open(path),
        lambda path: io.StringIO(),
        lambda path: io.BytesIO(),
    ],
)
def test_attributes_are_those_of_the_file(make, tmp_path):
    (tmp_path / "file").touch()
    with make(tmp_path / "file") as file:
        wrapper = trio_c.wrap_file(file)
        for name in _FILE_SYNC_ATTRS | _FILE_ASYNC_METHODS:
            present = hasattr(file, name)
            assert (name in dir(wrapper)) == hasattr(wrapper, name) == present
            if not present:
                continue
            attribute = getattr(wrapper, name)
            if name in _FILE_SYNC_ATTRS:
                assert attribute == getattr(file, name)
            else:
                assert inspect.iscoroutinefunction(attribute)
                assert attribute.__name__ == name
                assert attribute.__qualname__ == f"AsyncIOWrapper.{name}"
                assert f"{type(file).__qualname__}.{name}" in attribute.__doc__
        for name in ("__enter__", "reconfigure", "_checkClosed", "name_of_nothing"):
            with pytest.raises(AttributeError, match=f"^{name}$"):
                getattr(wrapper, name)


def test_methods_can_be_replaced():
    wrapper = trio_c.wrap_file(Recorder())
    assert wrapper.read is wrapper.read
    wrapper.read = 5
    assert wrapper.read == 5
    del wrapper.read
    assert inspect.iscoroutinefunction(wrapper.read)
    wrapper.anything = 6
    assert "anything" in dir(wrapper)


def test_wrapper_without_a_file():
    # As a copy or an unpickled one is for a moment.
    wrapper = AsyncIOWrapper.__new__(AsyncIOWrapper)
    for name in ("read", "closed", "wrapped"):
        with pytest.raises(AttributeError, match="^_?wrapped$"):
            getattr(wrapper, name)


def test_wrapper_goes_away_with_its_last_reference():
    gc.disable()
    try:
        file = Recorder()
        wrapper = trio_c.wrap_file(file)
        wrapper.read  # noqa: B018
        gone = weakref.ref(wrapper), weakref.ref(file)
        del wrapper, file
        assert [ref() for ref in gone] == [None, None]
    finally:
        gc.enable()


def test_subclasses():
    class Shouting(AsyncIOWrapper[T], Generic[T]):
        async def readline(self):
            return self.wrapped.readline().upper()

    assert AsyncIOWrapper[io.StringIO].__origin__ is AsyncIOWrapper
    assert Shouting[int].__args__ == (int,)
    assert issubclass(Shouting, trio_c.abc.AsyncResource)

    async def main():
        wrapper = Shouting(io.StringIO("a\nb"))
        assert wrapper.read.__qualname__.endswith("Shouting.read")
        return [line async for line in wrapper]

    assert trio_c.run(main) == ["A\n", "B"]


# --- calls


@trio_test
async def test_calls_are_made_in_a_thread():
    wrapper = trio_c.wrap_file(Recorder())
    # These are names of run_sync()'s own parameters, too.
    kwargs = {"limiter": 1, "abandon_on_cancel": 2, "thread_name": 3, "sync_fn": 4}
    with assert_checkpoints():
        thread, *got = await wrapper.read(5, 6, self=7, **kwargs)
    assert thread != threading.get_ident()
    assert got == [(5, 6), {"self": 7, **kwargs}]
    with pytest.raises(KeyError, match="no line"):
        await wrapper.readline()


@trio_test
async def test_calls_go_through_to_thread(monkeypatch):
    calls = []

    async def run_sync(function, *args):
        calls.append(function)
        return function(*args)

    monkeypatch.setattr(trio_c.to_thread, "run_sync", run_sync)
    file = trio_c.wrap_file(io.TextIOWrapper(io.BytesIO(b"a\nb")))
    assert await file.read(1) == "a"
    assert await file.__anext__() == "\n"
    async with await file.detach():
        pass
    async with await trio_c.open_file(os.devnull):
        pass
    assert len(calls) == 6


@trio_test
async def test_a_call_is_cancelled_before_it_begins_or_not_at_all():
    started, go_on = threading.Event(), threading.Event()
    record = []

    class File:
        def write(self, data):
            started.set()
            assert go_on.wait(30)
            record.append(data)
            return len(data)

        def close(self):
            pass

    file = trio_c.wrap_file(File())
    with trio_c.CancelScope() as scope:
        scope.cancel()
        await file.write("never")
    assert scope.cancelled_caught
    assert not started.is_set()

    async def cancel():
        while not started.is_set():
            await trio_c.sleep(0.001)
        scope.cancel()
        go_on.set()

    async with trio_c.open_nursery() as nursery:
        nursery.start_soon(cancel)
        with trio_c.CancelScope() as scope:
            assert await file.write("once") == 4
            record.append("returned")
    assert record == ["once", "returned"]


@trio_test
async def test_stop_iteration_of_a_file():
    class File(Recorder):
        def readline(self):
            raise StopIteration(5)

    with pytest.raises(RuntimeError, match="^coroutine raised StopIteration$"):
        await trio_c.wrap_file(File()).readline()


@trio_test
async def test_lines():
    for text in ("", "a", "a\n", "a\n\nb"):
        lines = [line async for line in trio_c.wrap_file(io.StringIO(text))]
        assert lines == text.splitlines(keepends=True)
    file = trio_c.wrap_file(io.BytesIO(b"1\n2\n3"))
    async for line in file:
        assert line == b"1\n"
        break
    assert await file.readlines() == [b"2\n", b"3"]
    with pytest.raises(KeyError, match="no line"):
        async for _ in trio_c.wrap_file(Recorder()):
            raise AssertionError


# --- closing


@trio_test
async def test_close():
    file = trio_c.wrap_file(Recorder())
    with assert_checkpoints():
        await file.aclose()
    assert file.closed
    with pytest.raises(ZeroDivisionError):
        async with trio_c.wrap_file(Recorder()) as file:
            raise ZeroDivisionError
    assert file.closed
    await file.aclose()


@trio_test
async def test_close_though_cancelled(tmp_path):
    path = tmp_path / "file"
    with trio_c.CancelScope() as scope:
        file = await trio_c.open_file(path, "w")
        await file.write("buffered")
        scope.cancel()
        await file.aclose()
        raise AssertionError
    assert scope.cancelled_caught
    assert file.closed
    assert path.read_text() == "buffered"


@trio_test
async def test_close_fails():
    class File(Recorder):
        def close(self):
            raise OSError("disk full")

    with trio_c.CancelScope() as scope:
        scope.cancel()
        with pytest.raises(OSError, match="^disk full$"):
            await trio_c.wrap_file(File()).aclose()


@trio_test
async def test_detach(tmp_path):
    async with await trio_c.open_file(tmp_path / "file", "w+") as text:
        await text.write("äö")
        binary = await text.detach()
        assert binary.wrapped.name == str(tmp_path / "file")
        with pytest.raises(ValueError, match="detached"):
            await text.write("more")
        await binary.seek(0)
        assert await binary.read() == "äö".encode()
        raw = await binary.detach()
        assert type(raw.wrapped) is io.FileIO
        with pytest.raises(AttributeError, match="detach"):
            await raw.detach()
        await raw.aclose()
        # Now it cannot be closed properly, as in the standard library.
        with pytest.raises(ValueError, match="detached"):
            await text.aclose()
        text.wrapped.__init__(io.BytesIO())


# --- wrap_file, open_file


def function(*args):
    raise AssertionError


@pytest.mark.parametrize(
    ("attributes", "fits"),
    [
        ({}, False),
        ({"close": function}, False),
        ({"read": function, "write": function}, False),
        ({"close": function, "read": None}, False),
        ({"close": 1, "read": function}, False),
        ({"close": function, "read": function}, True),
        ({"close": function, "write": function, "read": 0}, True),
    ],
)
def test_what_can_be_wrapped(attributes, fits):
    class File:
        def __str__(self):
            return "this file"

    file = File()
    vars(file).update(attributes)
    if fits:
        assert trio_c.wrap_file(file).wrapped is file
    else:
        message = (
            "this file does not implement required duck-file methods: "
            "close and (read or write)"
        )
        with pytest.raises(TypeError, match=f"^{re.escape(message)}$"):
            trio_c.wrap_file(file)


@trio_test
async def test_open_file(tmp_path):
    path = tmp_path / "file"
    opened = []

    def opener(name, flags):
        opened.append((name, threading.get_ident() != threading.main_thread().ident))
        return os.open(name, flags, 0o600)

    with assert_checkpoints():
        file = await trio_c.open_file(
            path, "w", 1, "latin-1", "replace", "\r\n", True, opener
        )
    async with file:
        await file.write("ä€\n")
        assert path.read_bytes() == b"\xe4?\r\n"
        assert (file.encoding, file.errors) == ("latin-1", "replace")
    assert opened == [(str(path), True)]

    for name in (path, str(path), os.fsencode(path), trio_c.Path(path)):
        async with await trio_c.open_file(name, mode="rb", buffering=0) as file:
            assert type(file.wrapped) is io.FileIO
            assert await file.read() == b"\xe4?\r\n"

    fd = os.open(path, os.O_RDONLY)
    async with await trio_c.open_file(fd, closefd=False) as file:
        assert file.fileno() == fd
    os.close(fd)


@trio_test
async def test_open_file_fails(tmp_path):
    before = open_fds()
    path = tmp_path / "file"
    for error, arguments in [
        (FileNotFoundError, (path,)),
        (IsADirectoryError, (tmp_path,)),
        (OSError, (99999,)),
        (ValueError, (os.devnull, "zz")),
        (ValueError, (os.devnull, "r", 0)),
        (ValueError, ("a\0b",)),
        (LookupError, (os.devnull, "r", -1, "no-such-encoding")),
        (TypeError, (None,)),
        (TypeError, ()),
    ]:
        with pytest.raises(error):
            await trio_c.open_file(*arguments)
    with trio_c.CancelScope() as scope:
        scope.cancel()
        await trio_c.open_file(path, "w")
    assert scope.cancelled_caught
    assert not path.exists()
    assert open_fds() == before


# --- where it is


def test_modules():
    assert trio_c.open_file.__module__ == trio_c.wrap_file.__module__ == "trio_c"
    # Not a public name, and so it says where it is.
    assert AsyncIOWrapper.__module__ == "trio_c._file_io"
    run_code(
        """
import sys
import trio_c
assert trio_c._file_io is sys.modules["trio_c._file_io"]
async def annotated(file: trio_c._file_io.AsyncIOWrapper[str]): ...
"""
    )
    run_code(
        """
import trio_c
trio_c.install()
import trio
class Response:
    file: trio._file_io.AsyncIOWrapper
assert trio._file_io.AsyncIOWrapper.__module__ == "trio._file_io"
assert trio.open_file.__module__ == trio.wrap_file.__module__ == "trio"
from trio._file_io import AsyncIOWrapper
assert AsyncIOWrapper is trio_c._file_io.AsyncIOWrapper
assert AsyncIOWrapper.aclose.__module__ == "trio._file_io"
"""
    )


@pytest.mark.parametrize("name", ["open_file", "Path"])
def test_little_is_imported(name):
    output = run_code(
        f"""
import pathlib, sys
before = {{*sys.modules}}
import trio_c
trio_c.{name}
print(*({{*sys.modules}} - before))
"""
    )
    imported = set(output.split())
    assert "trio_c._file_io" in imported
    assert not imported & {"asyncio", "attr", "inspect", "socket", "typing"}
