"""`trio_c.install()`: from then on, trio is trio_c."""

from __future__ import annotations

import sys
import sysconfig
from pathlib import Path

import pytest
from _processes import run_code, run_python

PUBLIC = """
trio trio.abc trio.from_thread trio.lowlevel trio.socket trio.testing trio.to_thread
""".split()
PRIVATE = """
trio._core trio._core._run trio._util trio._channel trio._threads
""".split()


@pytest.fixture
def other_trio(tmp_path: Path) -> Path:
    """A place with another package called trio, and its metadata."""
    package = tmp_path / "trio"
    package.mkdir()
    (package / "__init__.py").write_text("__version__ = '99.0'\n")
    (package / "lowlevel.py").write_text("")
    (package / "_theirs.py").write_text("")
    metadata = tmp_path / "trio-99.0.dist-info"
    metadata.mkdir()
    (metadata / "METADATA").write_text(
        "Metadata-Version: 2.1\nName: trio\nVersion: 99.0\n"
    )
    return tmp_path


def test_nothing_is_imported_until_somebody_asks() -> None:
    run_code(
        """
import sys
import trio_c
before = set(sys.modules)
trio_c.install()
assert "trio" not in sys.modules
new = {name for name in set(sys.modules) - before if "trio" in name}
assert new == {"trio_c._dropin"}, new
"""
    )


@pytest.mark.parametrize("name", ["trio", "trio.abc", "trio._util"])
def test_tools_find_the_source(name: str) -> None:
    run_code(
        f"""
import importlib.util, sys
import trio_c
trio_c.install()
spec = importlib.util.find_spec("{name}")
assert spec.loader.get_filename("{name}") == spec.origin
with open(spec.origin) as file:
    assert spec.loader.get_source("{name}") == file.read()
"""
    )


@pytest.mark.parametrize("name", PUBLIC + PRIVATE)
@pytest.mark.parametrize("first", ["trio", "trio_c"])
def test_one_module_under_both_names(name: str, first: str) -> None:
    real = "trio_c" + name.removeprefix("trio")
    order = [name, real] if first == "trio" else [real, name]
    run_code(
        f"""
import importlib, sys
import trio_c
trio_c.install()
one, two = map(importlib.import_module, {order})
assert one is two
assert sys.modules[{name!r}] is sys.modules[{real!r}] is one
assert sys.modules["trio"] is trio_c
import trio
assert {name} is one
assert one.__spec__.name == {real!r}
"""
    )


def test_a_module_that_was_there_before() -> None:
    run_code(
        """
import sys
import trio_c.lowlevel, trio_c.testing
before = trio_c.lowlevel
trio_c.install()
import trio.lowlevel
from trio import testing
assert trio.lowlevel is before and testing is trio_c.testing
"""
    )


def test_the_other_trio_is_not_touched(other_trio: Path) -> None:
    code = """
import sys
import trio_c
trio_c.install()
import trio
from trio import lowlevel
assert trio is trio_c and lowlevel is trio_c.lowlevel
loaded = [module.__file__ for name, module in sys.modules.items()
          if name.startswith("trio")]
assert loaded and not [file for file in loaded if file.startswith(OTHER)]
try:
    import trio._theirs
except ModuleNotFoundError as exc:
    assert exc.name == "trio._theirs"
else:
    raise AssertionError("a module of the other trio was imported")
"""
    run_code(f"OTHER = {str(other_trio)!r}\n{code}", path=other_trio)
    # It is found without the drop-in, or all this has shown nothing.
    run_code("import trio; assert trio.__version__ == '99.0'", path=other_trio)


def test_names_that_do_not_exist() -> None:
    run_code(
        """
import trio_c
trio_c.install()
for statement in ("import trio.nothing", "import trio._nothing", "from trio import x"):
    try:
        exec(statement)
    except ImportError:
        pass
    else:
        raise AssertionError(statement)
import trio
try:
    trio.nothing
except AttributeError as exc:
    assert str(exc) == "module 'trio' has no attribute 'nothing'", exc
else:
    raise AssertionError
"""
    )


TOO_LATE = """
import os, sys
import {first}
import trio_c
def state():
    trio = {{n: m for n, m in sys.modules.items() if (n + ".").startswith("trio.")}}
    return list(sys.meta_path), trio, dict(os.environ)
before = state()
try:
    trio_c.install()
except RuntimeError as exc:
    print(exc)
else:
    raise AssertionError("installed beside the real one")
assert before == state()
assert sys.modules["trio"].__version__ == "99.0"
"""


@pytest.mark.parametrize("first", ["trio", "trio.lowlevel"])
def test_too_late(other_trio: Path, first: str) -> None:
    output = run_code(TOO_LATE.format(first=first), path=other_trio)
    assert "'trio' has already been imported, from" in output
    assert str(other_trio / "trio" / "__init__.py") in output
    assert "trio_c.install() must be called before anything imports it" in output


def test_a_forbidden_import_is_no_import() -> None:
    run_code(
        """
import sys
sys.modules["trio"] = None
import trio_c
trio_c.install()
"""
    )


def test_twice() -> None:
    run_code(
        """
import sys
import trio_c
trio_c.install()
before = list(sys.meta_path)
trio_c.install()
import trio
trio_c.install()
trio.install()
assert sys.meta_path == before
"""
    )


VERSION = """
import importlib.metadata as metadata
import trio_c
trio_c.install()
for name in ("trio", "Trio"):
    assert metadata.version(name) == "0.34.0", metadata.version(name)
found = metadata.distribution("trio")
assert found.metadata["Name"] == "trio"
assert not found.entry_points and found.read_text("RECORD") is None
assert "trio" in {d.metadata["Name"] for d in metadata.distributions()}
try:
    metadata.version("no-such-thing")
except metadata.PackageNotFoundError:
    pass
else:
    raise AssertionError
import sys
assert "trio" not in sys.modules
import trio
assert trio.__version__ == trio_c.__version__ == "0.34.0.1"
"""


def test_version_without_another_trio() -> None:
    run_code(VERSION)


def test_version_beside_another_trio(other_trio: Path) -> None:
    run_code(VERSION, path=other_trio)
    run_code(
        f"""
import importlib.metadata as metadata
import trio_c
trio_c.install()
[found] = metadata.distributions(path=[{str(other_trio)!r}])
assert found.version == "99.0"
""",
        path=other_trio,
    )


LABELS = """
import importlib, inspect
{prepare}
seen = 0
for name in {modules}:
    module = importlib.import_module(name)
    assert module.__name__ == name, (module.__name__, name)
    for attribute in module.__all__ if hasattr(module, "__all__") else dir(module):
        if attribute.startswith("_") or attribute == "install":
            continue
        value = getattr(module, attribute)
        home = value.__dict__.get("__module__") if isinstance(value, type) else (
            value.__module__ if callable(value) else None)
        if home is None or not home.startswith("trio"):
            continue
        assert home == name, (name, attribute, home)
        assert value.__name__ == attribute, (value.__name__, attribute)
        seen += 1
        if isinstance(value, type):
            for member in vars(value).values():
                label = getattr(member, "__module__", None)
                if isinstance(label, str) and label.startswith("trio"):
                    assert label.split(".")[0] == name.split(".")[0], (value, member)
                    seen += 1
print(seen)
"""


@pytest.mark.parametrize(
    ("prefix", "prepare"),
    [
        ("trio_c", ""),
        ("trio", "import trio_c; trio_c.install()"),
        ("trio", "import trio_c.testing, trio_c.socket; trio_c.install()"),
        ("trio", "from trio_c import *; import trio_c; trio_c.install(); import trio"),
    ],
    ids=["no drop-in", "at first", "some before", "most before"],
)
def test_public_objects_say_where_they_live(prefix: str, prepare: str) -> None:
    modules = [prefix + name.removeprefix("trio") for name in PUBLIC]
    output = run_code(LABELS.format(prepare=prepare, modules=modules))
    assert int(output) > 300


def test_pickles_name_trio() -> None:
    run_code(
        """
import copy, pickle
import trio_c
trio_c.install()
import trio
for thing in (trio.Event, trio.sleep, trio.lowlevel.checkpoint, trio.abc.Stream,
              trio.TooSlowError, trio.open_tcp_stream):
    data = pickle.dumps(thing)
    assert b"trio_c" not in data, data
    assert pickle.loads(data) is thing is copy.copy(thing)
"""
    )


def test_patching_reaches_the_program() -> None:
    run_code(
        """
import trio_c
trio_c.install()
from unittest import mock
with mock.patch("trio.sleep") as fake:
    import trio
    assert trio.sleep is trio_c.sleep is fake
assert trio.sleep is not fake and trio.sleep is trio_c._native.sleep
with mock.patch("trio.Event.wait") as fake:
    assert trio.Event.wait is fake
trio.run = original = trio.run
trio.sleep_forever = 1
from trio import sleep_forever
assert sleep_forever == 1 and trio_c.run is original
"""
    )


def test_run_as_a_module() -> None:
    output = run_code(
        """
import runpy, sys
import trio_c
trio_c.install()
sys.argv[1:] = ["-c", "import trio; print(trio.__name__, __name__)"]
runpy.run_module("trio", run_name="__main__", alter_sys=True)
"""
    )
    assert output == "trio __main__\n"


# --- processes that the program starts ---

STARTUP_FILE = Path(sysconfig.get_path("platlib"), "trio_c_dropin.pth")
needs_startup_file = pytest.mark.skipif(
    not STARTUP_FILE.exists(),
    reason="processes of their own learn of the drop-in from a file that only an"
    " installed trio_c has: run the tests with `make test`",
)

CHILD = """
import multiprocessing, sys

def child(queue):
    import trio, trio_c
    queue.put((trio is trio_c, trio.__name__))

if __name__ == "__main__":
    import trio_c
    trio_c.install()
    context = multiprocessing.get_context(sys.argv[1])
    queue = context.Queue()
    process = context.Process(target=child, args=(queue,))
    process.start()
    print(*queue.get(timeout=60))
    process.join()
"""


@needs_startup_file
@pytest.mark.parametrize("method", ["spawn", "forkserver", "fork"])
@pytest.mark.parametrize("launcher", [[], ["-m", "trio_c"]], ids=["install", "-m"])
def test_multiprocessing(method: str, launcher: list[str], other_trio: Path) -> None:
    program = other_trio / "program.py"
    program.write_text(CHILD)
    result = run_python(*launcher, program, method, path=other_trio)
    assert (result.stdout, result.stderr) == ("True trio\n", "")


@needs_startup_file
@pytest.mark.parametrize("flags", [[], ["-I"]], ids=["plain", "isolated"])
def test_a_process_of_the_same_python(flags: list[str], other_trio: Path) -> None:
    grandchild = [sys.executable, *flags, "-c", "import trio; print(trio.__name__)"]
    child = f"""
import subprocess, sys
import trio
print(trio.__spec__.name, flush=True)
subprocess.run({grandchild})
"""
    output = run_code(
        f"""
import subprocess, sys
import trio_c
trio_c.install()
subprocess.run([sys.executable, "-c", {child!r}], check=True)
""",
        path=other_trio,
    )
    assert output == "trio_c\ntrio\n"


@needs_startup_file
def test_a_process_that_needs_no_trio_loads_none() -> None:
    child = "import sys; print(*sorted(n for n in sys.modules if 'trio' in n))"
    output = run_code(
        f"""
import subprocess, sys
import trio_c
trio_c.install()
subprocess.run([sys.executable, "-c", {child!r}], check=True)
"""
    )
    assert output == "trio_c trio_c._dropin trio_c._lazy\n"


@needs_startup_file
def test_no_process_is_changed_that_was_not_asked_to_be(other_trio: Path) -> None:
    output = run_code("import trio; print(trio.__version__)", path=other_trio)
    assert output == "99.0\n"
