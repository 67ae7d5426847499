"""``python -m trio_c X`` does what ``python X`` does.

Each test runs both, and compares exit status, output and error output. What
is run says all that it sees of how it was started.
"""

from __future__ import annotations

import py_compile
import sys
import zipfile
from pathlib import Path

import pytest
from _processes import run_python

PROBE = '''
"""A docstring."""
import json, sys

main = sys.modules["__main__"]
print(json.dumps({
    "argv": sys.argv,
    "path": sys.path,
    "names": sorted(vars(main)),
    "globals": vars(main) is globals(),
    "values": {
        name: repr(getattr(main, name)).split(" object at")[0]
        for name in sorted(vars(main)) if name.startswith("__")
    },
    "hook": sys.excepthook is sys.__excepthook__,
    "flags": repr(sys.flags),
}, indent=1))

def fail():
    raise ValueError("failed on purpose")

what = sys.argv[1] if len(sys.argv) > 1 else ""
if what == "error":
    fail()
elif what == "interrupt":
    raise KeyboardInterrupt
elif what == "status":
    sys.exit(7)
elif what == "message":
    sys.exit("good-bye")
elif what == "chain":
    try:
        fail()
    except ValueError as exc:
        raise KeyError("again") from exc
elif what == "group":
    raise ExceptionGroup("several", [ValueError(1), KeyError(2)])
elif what == "hook":
    sys.excepthook = lambda kind, value, tb: print(
        kind, value.__traceback__ is tb, tb.tb_frame.f_code.co_name)
    fail()
elif what == "pickle":
    import pickle
    class Local:
        pass
    print(type(pickle.loads(pickle.dumps(Local()))) is Local)
'''


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A directory with programs of all kinds."""
    place = tmp_path_factory.mktemp("launch")
    (place / "probe.py").write_text(PROBE)
    (place / "package").mkdir()
    (place / "package" / "__init__.py").write_text("")
    (place / "package" / "__main__.py").write_text(PROBE)
    (place / "package" / "module.py").write_text(PROBE)
    (place / "package" / "broken.py").write_text("x = (\n")
    (place / "broken.py").write_text("def f(:\n")
    (place / "a folder").mkdir()
    (place / "a folder" / "__main__.py").write_text(PROBE)
    (place / "a folder" / "link.py").symlink_to("../probe.py")
    (place / "empty").mkdir()
    with zipfile.ZipFile(place / "archive.pyz", "w") as archive:
        archive.writestr("__main__.py", PROBE)
    py_compile.compile(str(place / "probe.py"), str(place / "compiled.pyc"))
    return place


def compare(
    place: Path, *arguments: str, flags: tuple[str, ...] = (), stdin: str = ""
) -> None:
    results = []
    for launcher in ([], ["-m", "trio_c"]):
        results.append(
            run_python(
                *flags,
                *launcher,
                *arguments,
                cwd=place,
                stdin=stdin,
                status=None,
            )
        )
    plain, ours = results
    assert ours.stdout == plain.stdout
    assert ours.stderr == plain.stderr
    assert ours.returncode == plain.returncode


WAYS = {
    "script": ["probe.py"],
    "script in the dot": ["./probe.py"],
    "script behind a link": ["a folder/link.py"],
    "compiled script": ["compiled.pyc"],
    "package": ["-m", "package"],
    "module": ["-m", "package.module"],
    "module without a blank": ["-mpackage.module"],
    "folder": ["a folder"],
    "archive": ["archive.pyz"],
    "code": ["-c", PROBE],
    "code without a blank": ["-c" + PROBE],
    "input": ["-"],
}


@pytest.mark.parametrize("way", WAYS)
def test_start(place: Path, way: str) -> None:
    compare(place, *WAYS[way], "one", "-m", "two", stdin=PROBE)


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("end", ["error", "interrupt", "status"])
def test_end(place: Path, way: str, end: str) -> None:
    compare(place, *WAYS[way], end, stdin=PROBE)


@pytest.mark.parametrize("what", ["message", "chain", "group", "hook", "pickle"])
def test_more_of_a_script(place: Path, what: str) -> None:
    compare(place, "probe.py", what)


@pytest.mark.parametrize("flags", [("-P",), ("-X", "dev"), ("-O", "-u")], ids=" ".join)
@pytest.mark.parametrize("way", ["script", "module", "folder", "code"])
def test_options_of_the_interpreter(
    place: Path, way: str, flags: tuple[str, ...]
) -> None:
    if flags == ("-P",) and way == "module":
        # Without the current directory on the path, it is not to be found.
        compare(place, *WAYS[way], flags=flags)
        return
    compare(place, *WAYS[way], "error", flags=flags)


@pytest.mark.parametrize(
    "arguments",
    [
        ["nowhere.py"],
        ["broken.py"],
        ["empty"],
        ["-m", "nowhere"],
        ["-m", "package.nowhere"],
        ["-m", "package.module.nowhere"],
        ["-m", "package.broken"],
        ["-m", "json"],
        ["-c", "x = ("],
        ["-c", "import os, signal; os.kill(os.getpid(), signal.SIGTERM)"],
        ["-c", "import os; os._exit(9)"],
        [
            "-c",
            "import threading as t; t.Thread(target=lambda: print(__name__)).start()",
        ],
    ],
    ids=lambda arguments: " ".join(arguments)[:30],
)
def test_trouble(place: Path, arguments: list[str]) -> None:
    compare(place, *arguments)


def test_trio_is_trio_c(place: Path) -> None:
    code = "import trio, trio_c; print(trio is trio_c, trio.__name__)"
    result = run_python("-m", "trio_c", "-c", code, cwd=place)
    assert result.stdout == "True trio\n"


def test_nothing_to_run() -> None:
    # Then it is the console: test_repl.py.
    line = "await trio.sleep(0); print(trio.Event)\n"
    result = run_python("-m", "trio_c", stdin=line)
    assert result.stdout.startswith(">>> <class 'trio.Event'>\n")
    assert result.stderr.startswith("trio REPL, ")


def test_console_by_the_other_name(place: Path) -> None:
    # What `python -m trio` is, once the drop-in is in place.
    code = (
        "import runpy, sys, trio_c; trio_c.install(); sys.argv[1:] = [];"
        "runpy.run_module('trio', run_name='__main__', alter_sys=True)"
    )
    line = "import trio_c; print(trio is trio_c, __name__)\n"
    result = run_python("-c", code, stdin=line, cwd=place)
    assert result.stdout.startswith(">>> True __main__\n")


def test_another_trio_is_there(place: Path) -> None:
    code = (
        "import runpy, sys, types; sys.modules['trio'] = types.ModuleType('trio');"
        "sys.argv[1:] = [];"
        "runpy.run_module('trio_c', run_name='__main__', alter_sys=True)"
    )
    result = run_python("-c", code, stdin="", cwd=place, status=1)
    assert result.stdout == ""
    assert "RuntimeError: 'trio' has already been imported" in result.stderr


@pytest.mark.parametrize(
    ("arguments", "complaint"),
    [
        (["-x"], "unknown option -x"),
        (["--version"], "unknown option --version"),
        (["-m"], "argument expected for the -m option"),
        (["-c"], "argument expected for the -c option"),
    ],
)
def test_usage(arguments: list[str], complaint: str) -> None:
    result = run_python("-m", "trio_c", *arguments, status=2)
    assert result.stdout == ""
    assert complaint in result.stderr


def test_help() -> None:
    result = run_python("-m", "trio_c", "--help")
    assert result.stdout.startswith("usage: python -m trio_c ")
    assert result.stderr == ""


def test_traceback_begins_in_the_program(place: Path) -> None:
    # Said once in plain words, should both of them change.
    result = run_python("-m", "trio_c", "probe.py", "error", cwd=place, status=1)
    lines = result.stderr.splitlines()
    assert lines[0] == "Traceback (most recent call last):"
    assert lines[1].strip().startswith(f'File "{place / "probe.py"}", line ')
    assert lines[-1] == "ValueError: failed on purpose"
    assert sys.executable not in result.stderr
