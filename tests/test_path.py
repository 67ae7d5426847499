"""Paths: what upstream's tests do not reach."""

from __future__ import annotations

import copy
import inspect
import io
import os
import pathlib
import pickle
import sys
import threading

import pytest
from _processes import run_code, run_python

import trio_c
from trio_c._file_io import AsyncIOWrapper
from trio_c.testing import assert_checkpoints, trio_test

# What Trio 0.34 leaves out, of the methods of pathlib.Path that ask the system.
ABSENT = {
    "walk",  # 3.12
    "from_uri",  # 3.13
    *("info", "copy", "copy_into", "move", "move_into"),  # 3.14
}

PURE = set(dir(pathlib.PurePath))
ASYNC = sorted(
    name
    for name in dir(pathlib.Path)
    if not name.startswith("_") and name not in PURE | ABSENT
)


def plant(root):
    """Make a directory with something in it."""
    (root / "dir" / "inner").mkdir(parents=True)
    (root / "dir" / "a.txt").write_text("äöü\n", encoding="utf-8")
    (root / "dir" / "inner" / "b.txt").write_bytes(b"b\r\n")
    (root / "empty").mkdir()
    (root / "link").symlink_to("dir/a.txt")
    (root / "dangling").symlink_to("nowhere")
    os.mkfifo(root / "fifo")
    return root


@pytest.fixture
def tree(tmp_path, monkeypatch):
    """The same, as the current directory."""
    monkeypatch.chdir(plant(tmp_path))
    return tmp_path


# --- which methods there are


def test_methods_are_those_of_this_python():
    assert len(ASYNC) > 35
    for name in ASYNC:
        method = getattr(trio_c.Path, name)
        original = getattr(pathlib.Path, name)
        assert inspect.iscoroutinefunction(method), name
        assert method.__name__ == name
        assert method.__doc__.startswith("The async version of :meth:`~pathlib.Path.")
        assert inspect.cleandoc(original.__doc__).strip() in method.__doc__
        if name not in ("cwd", "home"):
            assert method.__wrapped__ is original
            assert inspect.signature(method) == inspect.signature(original)
    for name in ABSENT:
        assert not hasattr(trio_c.Path, name)
    for name in PURE:
        assert hasattr(trio_c.Path, name)
    # Upstream made this one async though it asks the system nothing.
    assert inspect.iscoroutinefunction(getattr(trio_c.Path, "full_match", None)) == (
        sys.version_info >= (3, 13)
    )


def test_names():
    for cls in (trio_c.Path, trio_c.PosixPath, trio_c.WindowsPath):
        assert cls.__module__ == "trio_c"
        assert cls.__qualname__ == cls.__name__
        assert cls.__doc__
    assert trio_c.Path.as_uri.__module__ == "trio_c"
    assert trio_c.Path.stat.__module__ == pathlib.Path.stat.__module__
    assert "await path.glob(...)" in trio_c.Path.glob.__doc__
    run_code(
        """
import trio_c
trio_c.install()
import trio
assert trio.Path.__module__ == trio.PosixPath.__module__ == "trio"
assert trio._path.Path is trio.Path
import pickle
assert pickle.loads(pickle.dumps(trio.Path("a/b"))) == trio.Path("a/b")
"""
    )


def test_without_docstrings():
    result = run_python("-OO", "-c", "import trio_c; print(trio_c.Path.stat.__doc__)")
    assert result.stdout == "None\n"


# --- as objects


def test_objects():
    path = trio_c.Path("a", pathlib.Path("b"), trio_c.Path("c.txt"))
    assert type(path) is type(trio_c.PosixPath("a")) is trio_c.PosixPath
    assert isinstance(path, pathlib.PurePosixPath)
    assert not isinstance(path, pathlib.Path)
    assert not hasattr(path, "__dict__")
    assert repr(path) == "trio.Path('a/b/c.txt')"
    assert os.fspath(path) == str(path) == "a/b/c.txt"
    twin = pathlib.Path("a/b/c.txt")
    assert {path: 1}[twin] == 1
    assert sorted([path, pathlib.Path("a")])[0] == pathlib.Path("a")
    for other in (
        path.parent,
        path.parents[0],
        path / "d",
        path / twin,
        "d" / path,
        path.with_suffix(".py"),
        path.relative_to("a"),
        path.joinpath("x", "y"),
        copy.copy(path),
        copy.deepcopy(path),
        *(pickle.loads(pickle.dumps(path, n)) for n in range(6)),
    ):
        assert type(other) is trio_c.PosixPath
    assert type(twin / path) is type(twin)
    assert pickle.loads(pickle.dumps(path)) == path


def test_subclasses():
    for cls in (trio_c.PosixPath, trio_c.WindowsPath):
        with pytest.raises(TypeError, match="does not support subclassing"):
            type("Sub", (cls,), {})

    class Mine(trio_c.Path, pathlib.PurePosixPath):
        _wrapped_cls = pathlib.PosixPath

    async def main():
        path = Mine(os.path.devnull)
        assert type(await path.resolve()) is Mine
        assert type(await Mine.cwd()) is Mine
        assert await path.exists()

    trio_c.run(main)


@trio_test
async def test_paths_of_another_system():
    path = trio_c.WindowsPath("C:\\dir", "file")
    assert path.parts == ("C:\\", "dir", "file")
    assert path.name == "file"
    # pathlib refuses; since 3.13 with a class of its own.
    with pytest.raises(NotImplementedError, match="cannot instantiate 'WindowsPath'"):
        await path.exists()
    with pytest.raises(NotImplementedError, match="cannot instantiate 'WindowsPath'"):
        await path.glob("*")


def test_as_uri():
    assert trio_c.Path("/a b").as_uri() == "file:///a%20b"
    with pytest.raises(ValueError, match="^relative paths? can't be expressed"):
        trio_c.Path("a").as_uri()


# --- calls

CALLS = """
    stat() lstat() exists() is_dir() is_file() is_symlink() is_socket() is_fifo()
    is_block_device() is_char_device() is_mount() owner() group() absolute()
    expanduser() resolve() resolve(strict=True) readlink() read_bytes()
    read_text(encoding="utf-8") read_text("ascii","replace") samefile("link")
    samefile("nowhere") glob("*") glob("**/*.txt") glob("") rglob("*.txt")
    iterdir() mkdir() mkdir(0o700,True,True) rmdir() touch() touch(exist_ok=False)
    touch(bogus=1) open("r+b") open() open("x") unlink() unlink(missing_ok=True)
    chmod(0o600) lchmod(0o600) rename("new") replace("new/deep") rename("empty")
    symlink_to("x") hardlink_to("new") hardlink_to("link") write_text(3)
    write_bytes("x") write_text("y") stat(follow_symlinks=False) stat(1) rename()
""".split()
NAMES = [".", "dir", "dir/a.txt", "empty", "link", "dangling", "fifo", "a/b", "~/x"]


async def outcome(function, root):
    """What a call gives, in terms that can be compared."""
    try:
        result = function()
        if inspect.iscoroutine(result):
            result = await result
        if isinstance(result, AsyncIOWrapper):
            result = result.wrapped
        if isinstance(result, io.IOBase):
            with result:
                return type(result)
        if hasattr(result, "__next__"):
            return sorted(map(str, result))
    except Exception as exc:
        return type(exc), str(exc).replace(str(root), "")
    if isinstance(result, os.stat_result):
        return result.st_mode, result.st_size
    return str(result).replace(str(root), "")


@pytest.mark.parametrize("name", NAMES)
@trio_test
async def test_calls_do_what_pathlib_does(name, tmp_path, monkeypatch):
    for number, call in enumerate(CALLS):
        if name == "fifo" and call.startswith(("open", "read_", "write_")):
            continue  # would wait for somebody at the other end
        outcomes, remains = [], []
        for module in (pathlib, trio_c):
            root = plant(tmp_path / f"{module.__name__}{number}")
            monkeypatch.chdir(root)
            function = eval(f"lambda: module.Path(name).{call}", locals())
            outcomes.append(await outcome(function, root))
            remains.append(
                {
                    str(path.relative_to(root)): path.lstat().st_mode
                    for path in root.rglob("*")
                }
            )
        assert outcomes[0] == outcomes[1], call
        assert remains[0] == remains[1], call


@trio_test
async def test_changing_the_tree(tree):
    path = trio_c.Path("new") / "deep"
    with pytest.raises(FileNotFoundError):
        await path.mkdir()
    await path.mkdir(parents=True)
    await path.mkdir(exist_ok=True)
    file = path / "file"
    assert await file.write_text("text") == 4
    assert await file.write_bytes(b"bytes") == 5
    await file.touch()
    with pytest.raises(FileExistsError):
        await file.touch(exist_ok=False)
    moved = await file.rename(path / "moved")
    assert type(moved) is trio_c.PosixPath
    assert not await file.exists()
    moved = await moved.replace(file)
    assert moved == file
    hard, soft = path / "hard", path / "soft"
    await hard.hardlink_to(file)
    await soft.symlink_to(file.name)
    assert await soft.samefile(str(hard))
    assert await soft.readlink() == trio_c.Path("file")
    await hard.chmod(0o600)
    assert (await file.stat()).st_mode & 0o777 == 0o600
    for each in (file, hard, soft):
        await each.unlink()
    with pytest.raises(FileNotFoundError):
        await soft.unlink()
    await soft.unlink(missing_ok=True)
    await path.rmdir()
    assert not (tree / "new" / "deep").exists()


@pytest.mark.skipif(sys.version_info >= (3, 12), reason="pathlib has it no more")
@trio_test
async def test_link_to(tree):
    with pytest.warns(DeprecationWarning, match="link_to"):
        await trio_c.Path("dir/a.txt").link_to("linked")
    assert (tree / "linked").samefile("link")


@pytest.mark.skipif(sys.version_info < (3, 12), reason="pathlib does not have it yet")
@trio_test
async def test_is_junction():
    assert await trio_c.Path(".").is_junction() is False


@pytest.mark.skipif(sys.version_info < (3, 13), reason="pathlib does not have it yet")
@trio_test
async def test_full_match():
    assert await trio_c.Path("a/b/c.py").full_match("a/**/*.py")
    assert not await trio_c.Path("a/b/c.py").full_match("*.py")


@trio_test
async def test_open(tree):
    path = trio_c.Path("dir/a.txt")
    with assert_checkpoints():
        file = await path.open(encoding="utf-8", newline="")
    async with file:
        assert isinstance(file, AsyncIOWrapper)
        assert type(file.wrapped) is io.TextIOWrapper
        assert await file.read() == "äöü\n"
    async with await path.open("rb", buffering=0) as file:
        assert type(file.wrapped) is io.FileIO
        assert await file.readall() == "äöü\n".encode()
    with pytest.raises(ValueError, match="binary mode doesn't take an encoding"):
        await path.open("rb", encoding="utf-8")
    with pytest.raises(TypeError, match=r"Path\.open\(\) got an unexpected keyword"):
        await path.open(opener=None)


@trio_test
async def test_results_that_are_iterators(tree):
    found = await trio_c.Path("dir").rglob("*.txt")
    assert iter(found) is found
    # All of it was found before: what happens now does not matter.
    (tree / "dir" / "a.txt").unlink()
    (tree / "dir" / "z.txt").touch()
    found = list(found)
    assert sorted(map(str, found)) == ["dir/a.txt", "dir/inner/b.txt"]
    assert {type(each) for each in found} == {trio_c.PosixPath}
    with pytest.raises(FileNotFoundError):
        await trio_c.Path("nowhere").iterdir()
    with pytest.raises(NotImplementedError, match="[Nn]on-relative"):
        await trio_c.Path("dir").glob("/absolute")


@trio_test
async def test_calls_are_made_in_a_thread(monkeypatch, tmp_path):
    threads = []

    class Spying(pathlib.PosixPath):
        _flavour = getattr(pathlib.PosixPath, "_flavour", os.path)

        def open(self, *args, **kwargs):
            threads.append(threading.get_ident())
            return super().open(*args, **kwargs)

    monkeypatch.setattr(trio_c.PosixPath, "_wrapped_cls", Spying)
    path = trio_c.Path(tmp_path) / "file"
    with assert_checkpoints():
        assert await path.write_bytes(b"12") == 2
    with assert_checkpoints():
        await trio_c.Path.cwd()
    assert len(threads) == 1
    assert threading.get_ident() not in threads
    with trio_c.CancelScope() as scope:
        scope.cancel()
        await path.read_bytes()
    assert scope.cancelled_caught
    assert len(threads) == 1


@trio_test
async def test_names_that_are_not_text(tree):
    name = os.fsdecode(b"\xff\xfe")
    path = trio_c.Path("dir") / name
    await path.write_text("odd")
    assert os.listdir(b"dir").count(b"\xff\xfe") == 1
    assert path in list(await trio_c.Path("dir").iterdir())
    with pytest.raises(ValueError, match="null"):
        await trio_c.Path("a\0b").stat()
