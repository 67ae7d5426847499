"""Files, paths, processes, signals."""

from __future__ import annotations

import io
import os
import pathlib
import signal
import subprocess
import sys
from collections.abc import AsyncIterator
from typing import IO, Any, assert_type

import trio


async def files(anything: IO[Any], mode: str) -> None:
    async with await trio.open_file("name") as text:
        assert_type(await text.read(), str)
        assert_type(await text.readline(), str)
        assert_type(await text.write("x"), int)
        assert_type(text.wrapped, io.TextIOWrapper)
        assert_type(text.encoding, str)
        assert_type(text.closed, bool)
        assert_type(text.fileno(), int)
        async for line in text:
            assert_type(line, str)
    async with await trio.open_file(pathlib.Path("name"), "rb") as reader:
        assert_type(await reader.read(3), bytes)
        assert_type(await reader.seek(0), int)
        assert_type(await reader.readinto(bytearray(3)), int | None)
        assert_type(reader.wrapped, io.BufferedReader)
        async for data in reader:
            assert_type(data, bytes)
    async with await trio.open_file(b"name", mode="wb") as writer:
        assert_type(await writer.write(b"x"), int)
        assert_type(await writer.flush(), None)
        assert_type(await writer.truncate(), int)
        assert_type(writer.wrapped, io.BufferedWriter)
    raw = await trio.open_file(3, "rb", buffering=0)
    assert_type(raw.wrapped, io.FileIO)
    assert_type(await raw.aclose(), None)
    unknown = await trio.open_file("name", mode)
    assert_type(unknown.wrapped, IO[Any])
    wrapped = trio.wrap_file(io.BytesIO(b"x"))
    assert_type(wrapped.wrapped, io.BytesIO)
    assert_type(await wrapped.read(), bytes)
    assert_type(wrapped.getvalue(), bytes)
    assert_type(trio.wrap_file(anything).wrapped, IO[Any])


class Minimal:
    def read(self, n: int | None = -1, /) -> bytes:
        return b""

    def close(self) -> None: ...


async def minimal_files() -> None:
    wrapped = trio.wrap_file(Minimal())
    assert_type(await wrapped.read(1), bytes)
    async with wrapped as same:
        assert_type(await same.read(), bytes)


async def paths(path: trio.Path) -> None:
    path = trio.Path("a", "b")
    path = trio.Path(pathlib.PurePosixPath("x"))
    assert_type(path / "c", trio.Path)
    assert_type(path.parent, trio.Path)
    assert_type(await path.exists(), bool)
    assert_type(await path.stat(), os.stat_result)
    assert_type(await path.read_text(), str)
    assert_type(await path.write_bytes(b""), int)
    assert_type(await path.resolve(strict=True), trio.Path)
    assert_type(await trio.Path.cwd(), trio.Path)
    for child in await path.iterdir():
        assert_type(child, trio.Path)
    for found in await path.glob("*"):
        assert_type(found, trio.Path)
    async with await path.open() as file:
        assert_type(await file.read(), str)
    pathlib.Path(path)
    os.fspath(path)
    pure: pathlib.PurePath = path
    del pure


async def processes(nursery: trio.Nursery) -> None:
    result = await trio.run_process(["a", b"b"])
    assert_type(result, subprocess.CompletedProcess[bytes])
    await trio.run_process(
        ["a", trio.Path("b")],
        stdin=b"input",
        capture_stdout=True,
        capture_stderr=False,
        check=False,
        cwd="/",
        env={"a": "b"},
    )
    await trio.run_process("command", shell=True, stderr=subprocess.STDOUT)
    process = await nursery.start(trio.run_process, "command")
    assert_type(process, Any)
    opened = await trio.lowlevel.open_process(["a"], stdin=subprocess.PIPE)
    assert_type(opened, trio.Process)
    assert_type(opened.pid, int)
    assert_type(opened.returncode, int | None)
    assert_type(opened.stdin, trio.abc.SendStream | None)
    assert_type(opened.stdout, trio.abc.ReceiveStream | None)
    assert_type(opened.stderr, trio.abc.ReceiveStream | None)
    assert_type(await opened.wait(), int)
    assert_type(opened.poll(), int | None)
    assert_type(opened.send_signal(signal.SIGTERM), None)
    assert_type(opened.terminate(), None)
    assert_type(opened.kill(), None)
    if opened.stdio is not None:
        await opened.stdio.send_all(b"")
    if sys.platform != "win32":
        await trio.run_process(["a"], start_new_session=True)
        await trio.lowlevel.open_process(["a"], preexec_fn=None, pass_fds=(3,))
    await trio.run_process(["a"], deliver_cancel=deliver)


async def deliver(process: trio.Process) -> None: ...


async def signals() -> None:
    with trio.open_signal_receiver(signal.SIGINT, 3) as receiver:
        assert_type(receiver, AsyncIterator[int])
        async for number in receiver:
            assert_type(number, int)
