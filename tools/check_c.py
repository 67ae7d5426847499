"""House rules for the C sources that a program can check.

Each rule is a function that yields (line number, complaint); `check()` runs
them all. Reports what breaks a rule and exits with status 1.
"""

from __future__ import annotations

import re
import sys
from collections import defaultdict
from pathlib import Path

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator

    Complaints = Iterator[tuple[int, str]]

# Static data that CPython's API wants writable although nobody writes it.
TABLES = (
    "PyMethodDef PyGetSetDef PyMemberDef PyType_Slot PyType_Spec PyModuleDef_Slot"
).split()

# Writable static data that is meant to be, and why.
KNOWN_STATICS: dict[str, str] = {
    "fork_count": "a fork happens to the whole process",
    "fork_once": "a fork happens to the whole process",
    "fork_result": "a fork happens to the whole process",
    "home_lock": "a thread is in one run at a time, whatever the interpreter",
    "home_runs": "a thread is in one run at a time, whatever the interpreter",
    "home_last_id": "a thread is in one run at a time, whatever the interpreter",
    "closure_scope": "only its address is used",
    "closure_task": "only its address is used",
}

# Opens a function definition: return type on its own line, as in PEP 7.
DEFINITION = re.compile(r"^([A-Za-z][^\n;{}#=()]*)\n(\w+)\([^;{}]*\)\n\{", re.MULTILINE)
ONE_LINE = re.compile(r"^[A-Za-z][\w \t*]*[ \t*](\w+)\([^;{}=]*\)\s*\{", re.MULTILINE)
VARIABLE = re.compile(
    r"^static ([^\n;{}#=()]*?)\b(\w+)(\[[^\n]*\])? *(=|;)", re.MULTILINE
)
MACRO = re.compile(r"^[ \t]*#[ \t]*define[ \t]+(\w+)((?:.*\\\n)*.*)", re.MULTILINE)

PAIRS = [
    ("Py_BEGIN_ALLOW_THREADS", "Py_END_ALLOW_THREADS"),
    ("Py_BEGIN_CRITICAL_SECTION", "Py_END_CRITICAL_SECTION"),
    ("TC_BEGIN_CRITICAL_SECTION", "TC_END_CRITICAL_SECTION"),
    ("PyEval_SaveThread", "PyEval_RestoreThread|tc_gil_acquire"),
    ("PyGILState_Ensure", "PyGILState_Release"),
]


class Source:
    """A C file: its text, and its code without comments and literals."""

    def __init__(self, name: str, text: str) -> None:
        self.name = name
        self.text = text
        self.code = re.sub(
            r"/\*.*?\*/|//[^\n]*|\"(?:\\.|[^\"\\\n])*\"|'(?:\\.|[^'\\\n])*'",
            lambda m: re.sub(r"[^\n]", " ", m[0]),
            text,
            flags=re.DOTALL,
        )

    def line(self, position: int) -> int:
        return self.text.count("\n", 0, position) + 1


def opens_with_comment(source: Source) -> Complaints:
    if not source.text.startswith("/*"):
        yield 1, "the file does not open with what it is"


def narrow(source: Source) -> Complaints:
    for number, line in enumerate(source.text.splitlines(), 1):
        if len(line) > 79:
            yield number, f"{len(line)} columns"
        if "\t" in line or line != line.rstrip():
            yield number, "tab or trailing blanks"


def version_checks(source: Source) -> Complaints:
    if source.name.endswith("glue/compat.h"):
        return
    for match in re.finditer(r"\bPY_(?:VERSION_HEX|M[AI]\w+_VERSION)\b", source.code):
        yield source.line(match.start()), "only glue/compat.h looks at the version"


def private_headers(source: Source) -> Complaints:
    for match in re.finditer(r"include.*(internal/|pycore_|cpython/)", source.text):
        yield source.line(match.start()), "private CPython header"


def return_types(source: Source) -> Complaints:
    for match in ONE_LINE.finditer(source.code):
        if "\n" not in match[0].partition("(")[0] and match[1] != "defined":
            yield source.line(match.start()), f"return type of {match[1]} beside it"


def global_names(source: Source) -> Complaints:
    for match in DEFINITION.finditer(source.code):
        if "static" not in match[1] and not re.match("tc_|PyInit_|main$", match[2]):
            yield source.line(match.start()), f"{match[2]} is neither static nor tc_"


def mutable_statics(source: Source) -> Complaints:
    for match in VARIABLE.finditer(source.code):
        words = match[1].replace("*", " * ").split()
        if words[-1:] == ["const"] or ("const" in words and "*" not in words):
            continue
        if "const" in words and match[3]:
            continue  # a table of pointers to constants
        if "_Thread_local" in words:
            continue
        if any(word in TABLES for word in words) or match[2] in KNOWN_STATICS:
            continue
        yield source.line(match.start()), f"mutable static {match[2]}"


def macros(source: Source) -> Complaints:
    for match in MACRO.finditer(source.code):
        if re.search(r"\b(return|goto)\b", match[2]):
            yield source.line(match.start()), f"macro {match[1]} hides a jump"


def pairs(source: Source) -> Complaints:
    if source.name.endswith(".h"):
        return  # declares one of two
    for first, second in PAIRS:
        counts = [
            len(re.findall(rf"\b(?:{word})\b", source.code)) for word in (first, second)
        ]
        if min(counts) == 0 and max(counts) > 0:
            yield 1, f"{first} and {second} do not come in pairs"
    if (
        "PyObject_GC_Track(" in source.code
        and "PyObject_GC_UnTrack(" not in source.code
    ):
        yield 1, "objects are tracked here, and untracked nowhere"


def module_slots(source: Source) -> Complaints:
    if not source.name.endswith("csrc/module.c"):
        return
    for slot in ("Py_mod_exec", "TC_SLOT_INTERPRETERS", "TC_SLOT_GIL"):
        if slot not in source.code:
            yield 1, f"{slot} is not said"


def unfinished(source: Source) -> Complaints:
    for match in re.finditer(r"\b(TODO|FIXME|XXX|HACK)\b", source.text):
        yield source.line(match.start()), f"{match[0]} left behind"


RULES = [
    opens_with_comment,
    narrow,
    version_checks,
    private_headers,
    return_types,
    global_names,
    mutable_statics,
    macros,
    pairs,
    module_slots,
    unfinished,
]
# The C tests are programs of their own: they have globals, and main().
NOT_FOR_TESTS = {global_names, mutable_statics, macros}


def check(root: Path) -> list[str]:
    """What breaks a rule under `root`/csrc, one line each."""
    problems = []
    statics = defaultdict(list)
    for path in sorted([*root.glob("csrc/**/*.c"), *root.glob("csrc/**/*.h")]):
        source = Source(path.relative_to(root).as_posix(), path.read_text())
        in_tests = "tests" in path.relative_to(root).parts
        for rule in RULES:
            if in_tests and rule in NOT_FOR_TESTS:
                continue
            problems += [f"{source.name}:{n}: {what}" for n, what in rule(source)]
        if not in_tests:
            for match in DEFINITION.finditer(source.code):
                if "static" in match[1]:
                    statics[match[2]].append(source.name)
    for function, files in statics.items():
        if len({*files}) > 1:  # one file may have it once for each platform
            problems.append(f"{function} is static in {' and '.join(files)}")
    return problems


if __name__ == "__main__":
    found = check(Path(sys.argv[1] if len(sys.argv) > 1 else "."))
    print(*found, sep="\n", end="\n" if found else "")
    sys.exit(bool(found))
