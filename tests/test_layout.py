"""The sources keep the house rules, and the scripts that say so notice breaks."""

from __future__ import annotations

import importlib.util
import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
TOOLS = ROOT / "tools"
SCRIPTS = ["check_c", "check_includes", "check_sizes"]


def load(script: str):
    spec = importlib.util.spec_from_file_location(script, TOOLS / f"{script}.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def write(root: Path, name: str, text: str) -> None:
    path = root / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)


@pytest.mark.parametrize("script", [*SCRIPTS, "check_platforms"])
def test_the_tree_is_in_order(script: str) -> None:
    result = subprocess.run(
        [sys.executable, TOOLS / f"{script}.py", ROOT], capture_output=True, text=True
    )
    assert result.returncode == 0, result.stdout
    assert result.stderr == ""


@pytest.mark.parametrize("script", SCRIPTS)
def test_trouble_is_reported(script: str, tmp_path: Path) -> None:
    long = "/* */\n" + "int tc_x;\n" * 1300
    write(tmp_path, "csrc/base/heap.c", f'{long}#include "../kernel/task.h"\n// TODO\n')
    write(tmp_path, "csrc/kernel/task.h", "/* */\n")
    result = subprocess.run(
        [sys.executable, TOOLS / f"{script}.py", tmp_path],
        capture_output=True,
        text=True,
    )
    assert result.returncode == 1
    assert "csrc/base/heap.c" in result.stdout or "base/heap.c" in result.stdout


HEADERS = ["base/list.h", "poll/poll.h", "glue/state.h", "kernel/io.h", "sync/lock.h"]


@pytest.mark.parametrize(
    ("file", "include", "complaint"),
    [
        ("module.c", '"sync/lock.h"', None),
        ("net/socket.c", '"../kernel/io.h"', None),
        ("net/socket.c", '"../base/list.h"', "Python.h must come first"),
        ("net/socket.c", "<string.h>", "Python.h must come first"),
        ("net/socket.c", "<Python.h>", None),
        ("base/heap.c", "<string.h>", None),
        ("kernel/task.c", '"glue/state.h"', None),
        ("tests/test_poll.c", '"../poll/poll.h"', None),
        ("net/socket.c", '"../sync/lock.h"', "must not include"),
        ("net/socket.c", '"../poll/poll.h"', "must go through kernel/io.h"),
        ("kernel/task.c", '"../sync/lock.h"', "must not include"),
        ("glue/args.c", '"../kernel/io.h"', "must not include"),
        ("poll/epoll.c", '"../glue/state.h"', "must not include"),
        ("poll/epoll.c", "<Python.h>", "<Python.h>"),
        ("base/heap.c", "<Python.h>", "<Python.h>"),
        ("tests/test_poll.c", '"../glue/state.h"', "must not include"),
        ("kernel/io.c", '"../base/list.h"', "own header"),
        ("kernel/task.c", '"nowhere.h"', "does not exist"),
        ("shed/task.c", '"../base/list.h"', "no room"),
    ],
)
def test_includes(
    file: str, include: str, complaint: str | None, tmp_path: Path
) -> None:
    for header in HEADERS:
        write(tmp_path, f"csrc/{header}", "/* */\n")
    write(tmp_path, f"csrc/{file}", f"/* */\n#include {include}\n")
    problems = load("check_includes").check(tmp_path)
    if complaint is None:
        assert problems == []
    else:
        [problem] = problems
        assert complaint in problem


GOOD = """\
/* A file. */
#include "glue/compat.h"

static const char *const names[] = {"a", "b"};
static PyMethodDef methods[] = {{NULL}};

#define TC_TWICE(x) ((x) + (x))

static int
noun_verb(int x)
{
    return TC_TWICE(x); /* return PY_VERSION_HEX */
}

int
tc_noun_verb(int x)
{
    return noun_verb(x);
}
"""


@pytest.mark.parametrize(
    ("before", "after", "complaint"),
    [
        ("", "", None),
        ("/* A file. */", "", "does not open with"),
        ("/* A file. */", "/* A file. */" + "/" * 80, "columns"),
        ("    return noun", "\treturn noun", "tab"),
        ("(x) + (x)", "PY_VERSION_HEX", "only glue/compat.h"),
        ('"glue/compat.h"', "<internal/pycore_gc.h>", "private"),
        ("static int\nnoun_verb", "static int noun_verb", "return type"),
        ("int\ntc_noun_verb", "int\nverb", "neither static nor tc_"),
        ("static const char *const names", "static const char *names", None),
        ("static const char *const names[]", "static const char *name", "mutable"),
        ("static const char *const names[]", "static int numbers[]", "mutable"),
        ("((x) + (x))", "return x", "hides a jump"),
        ("return noun", "Py_BEGIN_ALLOW_THREADS return noun", "in pairs"),
        ("return noun", "PyObject_GC_Track(x); return noun", "untracked nowhere"),
        ("A file", "A file: FIXME", "left behind"),
    ],
)
def test_c_rules(
    before: str, after: str, complaint: str | None, tmp_path: Path
) -> None:
    assert before in GOOD
    write(tmp_path, "csrc/kernel/noun.c", GOOD.replace(before, after, 1))
    problems = load("check_c").check(tmp_path)
    if complaint is None:
        assert problems == []
    else:
        assert problems
        assert complaint in problems[0]


def test_static_names_are_unique_over_the_tree(tmp_path: Path) -> None:
    for name in ("one", "two"):
        text = GOOD.replace("tc_noun", f"tc_{name}")
        write(tmp_path, f"csrc/kernel/{name}.c", text)
    [problem] = load("check_c").check(tmp_path)
    assert problem.startswith("noun_verb is static in csrc/kernel/one.c and")


def test_the_module_says_what_it_supports(tmp_path: Path) -> None:
    write(tmp_path, "csrc/module.c", "/* */\nint x = Py_mod_exec;\n")
    problems = load("check_c").check(tmp_path)
    assert [problem.split()[1] for problem in problems] == [
        "TC_SLOT_INTERPRETERS",
        "TC_SLOT_GIL",
    ]


def test_size_limits(tmp_path: Path) -> None:
    write(tmp_path, "trio_c/normal.py", "\n" * 800)
    write(tmp_path, "trio_c/long.py", "\n" * 801)
    write(tmp_path, "tests/longer.py", "\n" * 1201)
    write(tmp_path, "csrc/tests/build/generated.c", "\n" * 5000)
    errors, remarks = load("check_sizes").check(tmp_path)
    assert [line.split(":")[0] for line in errors] == ["tests/longer.py"]
    assert [line.split(":")[0] for line in remarks] == ["trio_c/long.py"]


@pytest.mark.parametrize(
    ("file", "text", "complaint"),
    [
        ("csrc/base/sock.c", "#ifdef _WIN32\n#endif\n", None),
        ("csrc/net/socket.c", "/* __linux__ */\n#if TC_SOCK_HAVE_UNIX\n#endif\n", None),
        ("csrc/net/socket.c", "\n#ifdef __linux__\n#endif\n", ":2: __linux__"),
        (
            "csrc/net/socket.h",
            "#if A && \\\n defined(__NetBSD__)\n#endif\n",
            ":1: __NetB",
        ),
        ("csrc/kernel/run.c", "#if 0\n# elif defined _WIN64\n#endif\n", ":2: _WIN64"),
        ("trio_c/_path.py", "class Path:\n    a = os.name\n", None),
        ("trio_c/_path.py", "a = os.name\n", ":1: os.name"),
        (
            "trio_c/_a.py",
            "def f():\n    return _sys.platform\n",
            ":2: sys.platform",
        ),
        (
            "trio_c/_a.py",
            "async def f():\n  platform.system()\n",
            ":2: platform.sy",
        ),
        ("trio_c/_a.py", "hasattr(_select, 'kqueue')\n", ":1: hasattr(select"),
        ("trio_c/_a.py", "if TYPE_CHECKING:\n    sys.platform\n", None),
        (
            "trio_c/_a.py",
            "if TYPE_CHECKING:\n    1\nelse:\n    os.name\n",
            ":4: os.name",
        ),
        ("trio_c/_a.py", "assert not TYPE_CHECKING or sys.platform == 'a'\n", None),
        ("trio_c/_a.py", "assert sys.platform == 'a'\n", ":1: sys.platform"),
        ("trio_c/_a.py", "sys.version, self.platform, BACKEND\n", None),
    ],
)
def test_platforms(file: str, text: str, complaint: str | None, tmp_path: Path) -> None:
    write(tmp_path, file, text)
    problems = load("check_platforms").check(tmp_path)
    if complaint is None:
        assert problems == []
    else:
        [problem] = problems
        assert problem.startswith(f"{file}{complaint}")


@pytest.mark.parametrize("exceptions", ["FILES", "PLACES"])
def test_each_exception_of_platforms_is_needed(exceptions: str) -> None:
    script = load("check_platforms")
    known = getattr(script, exceptions)
    for key in [*known]:
        reason = known.pop(key)
        assert script.check(ROOT), key
        known[key] = reason


def test_the_map_names_every_file() -> None:
    text = (ROOT / "csrc" / "README.md").read_text()
    files = (ROOT / "csrc").rglob("*.c")
    missing = [path.name for path in files if "tests" not in path.parts]
    missing = [name for name in missing if name not in text]
    assert missing == []
    # And none that is gone.
    named = {*re.findall(r"\b(\w+\.[ch])\b", text)}
    there = {path.name for path in (ROOT / "csrc").rglob("*.[ch]")}
    assert named - {"Python.h"} <= there
