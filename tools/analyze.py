"""Static analysers over the C sources.

    python tools/analyze.py [gcc|clang|tidy|cppcheck]... [--only PART]

All four, if none is named: gcc's -fanalyzer, clang's analyser, clang-tidy (with
the checks of .clang-tidy) and cppcheck, from the system's packages. --only
takes the files whose path contains PART.

Each looks at every file as it is compiled for Linux with epoll; those that have
something for kqueue once more as on a system with kqueue, and those for Windows
as there, but for cppcheck, which looks at no configuration in particular.

A finding is either corrected or answered in tools/analyze.toml. One that is not
makes this exit with status 1; so does, when all files were looked at, an answer
to what is not found any more.
"""

from __future__ import annotations

import argparse
import os
import re
import shutil
import subprocess
import sys
import sysconfig
import tomllib
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import NamedTuple

import cross_compile

ROOT = Path(__file__).resolve().parent.parent
ANSWERS = ROOT / "tools" / "analyze.toml"
BUILD = ROOT / "build" / "analyze"

FINDING = re.compile(
    r"^(?P<file>[^\s:][^:\n]*):(?P<line>\d+):(?:\d+:)? "
    r"(?:warning|error|performance|portability): (?P<text>.*?)"
    r"(?: \[(?P<check>[^\]\s]+)\])?$"
)

COMMON = ["-std=c11", "-fno-strict-aliasing", "-Icsrc", "-DTRIO_C_DEBUG=1", "-UNDEBUG"]
LINUX = ["-D_GNU_SOURCE"]
KQUEUE = ["-DTC_POLL_HAVE_KQUEUE=1", "-Icsrc/tests/kqueue"]
WINDOWS = [
    "-D_WIN32_WINNT=0x0602",
    "-DWIN32_LEAN_AND_MEAN",
    "-D__USE_MINGW_ANSI_STDIO=1",
]

# CPython's macros, as far as cppcheck has to know them.
PYTHON_MACROS = [
    "-DPy_RETURN_NONE=return Py_None",
    "-DPy_RETURN_TRUE=return Py_True",
    "-DPy_RETURN_FALSE=return Py_False",
    "-DPy_RETURN_NOTIMPLEMENTED=return Py_NotImplemented",
    "-DPy_RETURN_RICHCOMPARE(a,b,op)=return Py_None",
    "-DPy_TRASHCAN_BEGIN(op,dealloc)=",
    "-DPy_TRASHCAN_END=",
]

FOR_WINDOWS = re.compile(r"windows|overlapped|iocp|afd")


class Unit(NamedTuple):
    """A file, as it is compiled for a system."""

    file: str
    system: str
    options: list[str]


class Finding(NamedTuple):
    tool: str
    file: str
    line: int
    check: str
    text: str
    path: str  # how the analyser came there

    def __str__(self) -> str:
        return f"{self.file}:{self.line}: {self.text} [{self.check}] ({self.tool})"


def units(only: str) -> list[Unit]:
    """Everything there is to be looked at."""
    python = ["-isystem", sysconfig.get_path("include")]
    header = BUILD / "windows"
    windows_python = cross_compile.python_headers(header, "win32")
    # System headers: nobody wants to hear of those.
    windows_python = [word.replace("-I", "-isystem") for word in windows_python]
    found = []
    for path in sorted((ROOT / "csrc").rglob("*.c")):
        file = path.relative_to(ROOT).as_posix()
        if only not in file:
            continue
        if FOR_WINDOWS.search(path.name):
            found.append(Unit(file, "windows", [*COMMON, *WINDOWS, *windows_python]))
            continue
        options = [*COMMON, *LINUX, *python]
        if "tests" in path.parts:
            options = [*COMMON, *KQUEUE]  # each says what it wants of libc
        elif "KQUEUE" in path.read_text(encoding="utf-8"):
            kqueue = [*options, "-DTC_POLL_HAVE_EPOLL=0", *KQUEUE]
            found.append(Unit(file, "kqueue", kqueue))
        found.append(Unit(file, "linux", options))
    return found


# --- the tools ----------------------------------------------------------


def gcc(unit: Unit) -> list[str]:
    compiler = "x86_64-w64-mingw32-gcc" if unit.system == "windows" else "gcc"
    return [
        *(compiler, "-O1", "-fanalyzer", "-fdiagnostics-plain-output"),
        *(*unit.options, "-c", unit.file, "-o", os.devnull),
    ]


def clang(unit: Unit) -> list[str]:
    return [
        *("clang", *clang_target(unit), "--analyze", "--analyzer-output", "text"),
        *(*unit.options, unit.file, "-o", os.devnull),
    ]


def tidy(unit: Unit) -> list[str]:
    return [
        *("clang-tidy", "--quiet", unit.file, "--"),
        *(*clang_target(unit), *unit.options),
    ]


def clang_target(unit: Unit) -> list[str]:
    return ["--target=x86_64-w64-mingw32"] if unit.system == "windows" else []


def cppcheck(files: list[str]) -> list[str]:
    return [
        *("cppcheck", "-q", "--std=c11", "--enable=warning,performance,portability"),
        *("--template={file}:{line}: {severity}: {message} [{id}]", "-Icsrc"),
        *("--template-location={file}:{line}: note: {info}", "--inline-suppr"),
        *(f"-DPY_VERSION_HEX={sys.hexversion:#x}", "-DTC_POLL_HAVE_KQUEUE=1"),
        *PYTHON_MACROS,
        *("--suppress=missingInclude", "-j2", *files),
    ]


TOOLS = {"gcc": gcc, "clang": clang, "tidy": tidy}
PROGRAMS = {
    "gcc": "gcc",
    "clang": "clang",
    "tidy": "clang-tidy",
    "cppcheck": "cppcheck",
}


def run(tool: str, command: list[str]) -> set[Finding]:
    done = subprocess.run(
        command,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        cwd=ROOT,
        check=False,
    )
    lines = done.stdout.splitlines()
    starts = [i for i, line in enumerate(lines) if FINDING.match(line)]
    found = set()
    for start, end in zip(starts, [*starts[1:], len(lines)], strict=False):
        match = FINDING.match(lines[start])
        assert match is not None
        file = os.path.relpath(ROOT / match["file"], ROOT)
        check = match["check"] or "compiler"
        path = "\n".join(lines[start:end])
        found.add(Finding(tool, file, int(match["line"]), check, match["text"], path))
    if done.returncode != 0 and not found:
        sys.exit(f"{' '.join(command)}\n{done.stdout}")
    return found


# --- answers ------------------------------------------------------------


class Answer:
    """An entry of analyze.toml."""

    def __init__(self, entry: dict[str, str]) -> None:
        self.entry = entry
        self.used = False
        if not entry.get("reason") or "check" not in entry:
            sys.exit(f"{ANSWERS.name}: {entry} lacks its check or its reason")

    def fits(self, finding: Finding) -> bool:
        entry = self.entry
        if not re.fullmatch(entry["check"], finding.check):
            return False
        if not re.fullmatch(entry.get("file", ".*"), finding.file):
            return False
        # What a line says stays when lines are put in before it.
        source = (ROOT / finding.file).read_text(encoding="utf-8").splitlines()
        if entry.get("line", "") not in source[finding.line - 1]:
            return False
        return entry.get("through", "") in finding.path


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("tools", nargs="*", choices=[*PROGRAMS, []])
    parser.add_argument("--only", default="", metavar="PART")
    given = parser.parse_args()
    tools = given.tools or list(PROGRAMS)
    missing = [PROGRAMS[tool] for tool in tools if not shutil.which(PROGRAMS[tool])]
    if missing:
        sys.exit(f"not installed: {' '.join(missing)}")

    todo = units(given.only)
    if not shutil.which("x86_64-w64-mingw32-gcc"):
        print("without mingw-w64, what is for Windows is left out")
        todo = [unit for unit in todo if unit.system != "windows"]
    commands = [
        (tool, TOOLS[tool](unit)) for tool in tools if tool in TOOLS for unit in todo
    ]
    if "cppcheck" in tools and todo:
        commands.append(("cppcheck", cppcheck(sorted({u.file for u in todo}))))
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        results = list(pool.map(lambda job: run(*job), commands))
    found = set().union(*results) if results else set()

    answers = [Answer(entry) for entry in tomllib.loads(ANSWERS.read_text())["answer"]]
    seen, open_findings, answered = set(), 0, 0
    for finding in sorted(found):
        if finding[:5] in seen:
            continue
        seen.add(finding[:5])
        fitting = [answer for answer in answers if answer.fits(finding)]
        for answer in fitting:
            answer.used = True
        if fitting:
            answered += 1
        else:
            open_findings += 1
            print(finding)
    if not given.only:
        for answer in answers:
            if not answer.used and answer.entry.get("tool", tools[0]) in tools:
                open_findings += 1
                print(
                    f"{ANSWERS.name}: nothing found that this answers: {answer.entry}"
                )
    print(
        f"{', '.join(tools)}: {len(todo)} units, {answered} findings answered,"
        f" {open_findings} not"
    )
    return 1 if open_findings else 0


if __name__ == "__main__":
    sys.exit(main())
