"""Compiles the whole extension for systems that are not at hand.

    python tools/cross_compile.py [TARGET...]     # all of TARGETS, if none is named

The sources, options and libraries are those that setup.py would use there; a
warning is an error. The compiler is that of the package `ziglang`
(tools/requirements-cross.txt), which brings the systems' real headers and the
names that their C libraries export; for Windows also Debian's gcc-mingw-w64,
and clang with that one's headers. The result is linked, and may use nothing
but what those libraries and CPython's export: so a function that a system
lacks is found too. None of it is ever run.

CPython's headers are the interpreter's own, with a pyconfig.h that says what
it says on the target: see `pyconfig()`. CPython's library is a stand-in that
exports the names that this interpreter exports.

Prints a line for each target, and exits with status 1 if one failed.
"""

from __future__ import annotations

import argparse
import ctypes
import os
import re
import runpy
import subprocess
import sys
import sysconfig
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import NamedTuple
from unittest import mock

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

ROOT = Path(__file__).resolve().parent.parent

ZIG = (sys.executable, "-m", "ziglang", "cc", "-target")
MINGW = ("x86_64-w64-mingw32-gcc",)


class Target(NamedTuple):
    """A system and a compiler for it."""

    platform: str  # sys.platform there
    compiler: tuple[str, ...]
    linker: tuple[str, ...] = ()  # unless it is the compiler

    @property
    def is_windows(self) -> bool:
        return self.platform == "win32"


TARGETS = {
    "aarch64-linux": Target("linux", (*ZIG, "aarch64-linux-gnu")),
    "x86_64-linux-musl": Target("linux", (*ZIG, "x86_64-linux-musl")),
    "aarch64-macos": Target("darwin", (*ZIG, "aarch64-macos")),
    "x86_64-macos": Target("darwin", (*ZIG, "x86_64-macos")),
    "x86_64-freebsd": Target("freebsd15", (*ZIG, "x86_64-freebsd")),
    # The headers are those of NetBSD 11, and mean its kevent().
    "x86_64-netbsd": Target("netbsd11", (*ZIG, "x86_64-netbsd.11.0")),
    "x86_64-openbsd": Target("openbsd7", (*ZIG, "x86_64-openbsd")),
    "x86_64-windows": Target("win32", (*ZIG, "x86_64-windows.win8-gnu")),
    "x86_64-windows-gcc": Target("win32", MINGW),
    # Debian's does not find the libraries of that gcc.
    "x86_64-windows-clang": Target(
        "win32", ("clang", "--target=x86_64-w64-mingw32"), MINGW
    ),
}

# For Windows, instead of `configure`'s: what CPython's headers read of
# PC/pyconfig.h, where the compiler is gcc or clang.
WINDOWS_PYCONFIG = """\
#include <io.h>
#include <stdio.h>
#include <crtdefs.h>
#define MS_WIN32
#define MS_WIN64
#define MS_WINDOWS
#define NT_THREADS
#define WITH_THREAD
#define Py_ENABLE_SHARED 1
#define HAVE_DECLSPEC_DLL
#define HAVE_PY_SSIZE_T 1
typedef __int64 Py_ssize_t;
#define PY_SSIZE_T_MAX LLONG_MAX
#define PY_LONG_LONG long long
#define PY_LLONG_MIN LLONG_MIN
#define PY_LLONG_MAX LLONG_MAX
#define PY_ULLONG_MAX ULLONG_MAX
#define HAVE_STDDEF_H 1
#define HAVE_SYS_STAT_H 1
#define HAVE_SYS_TYPES_H 1
#define HAVE_WCHAR_H 1
#define SIZEOF_SHORT 2
#define SIZEOF_INT 4
#define SIZEOF_LONG 4
#define SIZEOF_LONG_LONG 8
#define SIZEOF_PID_T SIZEOF_INT
#define SIZEOF_SIZE_T 8
#define SIZEOF_TIME_T 8
#define SIZEOF_VOID_P 8
#define SIZEOF_WCHAR_T 2
#define SIZEOF__BOOL 1
#define ALIGNOF_MAX_ALIGN_T 8
#define DOUBLE_IS_LITTLE_ENDIAN_IEEE754 1
#define WITH_DOC_STRINGS 1
#define WITH_PYMALLOC 1
"""


class Failed(Exception):
    """What a compiler said."""


def run(*command: object) -> None:
    done = subprocess.run(
        [str(word) for word in command],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        cwd=ROOT,
        check=False,
    )
    # The compiler's driver has warnings of its own that -Werror does not reach.
    if done.returncode != 0 or "warning:" in done.stdout:
        raise Failed(done.stdout or f"{command[0]}: status {done.returncode}")


def extension(platform: str) -> Any:
    """The one that setup.py builds on this platform."""
    import setuptools.command.build_ext  # noqa: F401  (as the system that this is)

    with (
        mock.patch("setuptools.setup") as setup,
        mock.patch("sys.platform", platform),
        mock.patch.dict(os.environ, {"TRIO_C_WERROR": "1"}),
    ):
        runpy.run_path(str(ROOT / "setup.py"))
    [module] = setup.call_args.kwargs["ext_modules"]
    return module


# --- CPython ------------------------------------------------------------


def pyconfig(platform: str) -> str:
    """What `configure` would write, as far as anybody reads it.

    All targets are 64-bit, little-endian and LP64 with a 4-byte wchar_t, like
    the machine that this runs on; where macOS differs (long double on arm64)
    CPython's pymacconfig.h corrects pyconfig.h for itself. Of everything else in
    there, CPython's headers read no more than what these systems have in
    common. What is left are the macros by which a program asks the C library's
    headers for more or less than usual, and CPython's headers for kqueue.
    """
    if platform == "win32":
        return WINDOWS_PYCONFIG
    text = Path(sysconfig.get_config_h_filename()).read_text(encoding="utf-8")
    if sysconfig.get_config_var("SIZEOF_LONG") != 8 or sys.byteorder != "little":
        raise SystemExit("needs a 64-bit, little-endian POSIX system to start from")
    edits: dict[str, str | None] = {}
    if platform != "linux":
        edits["HAVE_KQUEUE"] = "1"
    if platform == "darwin":
        # There they hide what is not POSIX, so configure leaves them out.
        edits |= dict.fromkeys(
            ("_POSIX_C_SOURCE", "_XOPEN_SOURCE", "_XOPEN_SOURCE_EXTENDED")
        )
    elif platform.startswith("openbsd"):
        # There _XOPEN_SOURCE undoes __BSD_VISIBLE, and this undoes that.
        edits["_BSD_SOURCE"] = "1"
    for name, value in edits.items():
        text = re.sub(rf"^#define {name}\b.*$", "", text, flags=re.MULTILINE)
        if value is not None:
            text += f"#define {name} {value}\n"
    return text


def python_headers(directory: Path, platform: str) -> list[str]:
    """Options for the compiler."""
    directory.mkdir(parents=True, exist_ok=True)
    (directory / "pyconfig.h").write_text(pyconfig(platform), encoding="utf-8")
    # Python.h says "pyconfig.h", which is looked for beside it first: so it is
    # the other headers that have to come to this one.
    for header in Path(sysconfig.get_path("include")).iterdir():
        link = directory / header.name
        if header.name != "pyconfig.h" and not link.exists():
            link.symlink_to(header)
    return ["-I", str(directory)]


def python_names(target: Target) -> list[str]:
    """All that CPython's headers speak of and its library exports."""
    names: set[str] = set()
    for header in Path(sysconfig.get_path("include")).rglob("*.h"):
        names.update(re.findall(r"\b_?Py\w+", header.read_text(encoding="utf-8")))
    return sorted(
        name
        for name in names
        if hasattr(ctypes.pythonapi, name)
        or (target.is_windows and re.fullmatch(r"PyErr_Set\w*FromWindowsErr\w*", name))
    )


def python_library(directory: Path, target: Target) -> list[str]:
    """Options for the linker."""
    source = directory / "python.c"
    export = "__declspec(dllexport) " if target.is_windows else ""
    lines = [f"{export}char {name};\n" for name in python_names(target)]
    source.write_text("".join(lines))
    if target.is_windows:
        library = directory / "python.dll.a"
        output = ["-o", directory / "python.dll", f"-Wl,--out-implib,{library}"]
    else:
        suffix = "dylib" if target.platform == "darwin" else "so"
        library = directory / f"libpython.{suffix}"
        output = ["-o", library]
    linker = target.linker or target.compiler
    run(*linker, "-shared", "-fno-builtin", source, *output)
    return [str(library)]


# --- the work -----------------------------------------------------------


def compiler_options(module: Any, target: Target) -> list[str]:
    options = [f"-I{path}" for path in module.include_dirs]
    for name, value in module.define_macros:
        options.append(f"-D{name}" if value is None else f"-D{name}={value}")
    if not target.is_windows:
        options.append("-fPIC")
    return [*options, *module.extra_compile_args, "-O1"]


def linker_options(module: Any, target: Target) -> list[str]:
    """Also those with which each name has to be somewhere."""
    options = [*module.extra_link_args, *(f"-l{name}" for name in module.libraries)]
    if not target.is_windows:
        strict = "-undefined,error" if target.platform == "darwin" else "-z,defs"
        options.append(f"-Wl,{strict}")
    return options


def cross_compile(target: Target, directory: Path) -> int:
    """How many files were compiled; raises Failed with all complaints."""
    module = extension(target.platform)
    headers = python_headers(directory / "include", target.platform)
    options = [*headers, *compiler_options(module, target)]
    objects = [directory / Path(name).with_suffix(".o") for name in module.sources]

    def compile_one(source: str, output: Path) -> str:
        output.parent.mkdir(parents=True, exist_ok=True)
        try:
            run(*target.compiler, *options, "-c", source, "-o", output)
        except Failed as failed:
            return str(failed)
        return ""

    with ThreadPoolExecutor(os.cpu_count()) as pool:
        complaints = "".join(pool.map(compile_one, module.sources, objects))
    if complaints:
        raise Failed(complaints)
    run(
        *(target.linker or target.compiler),
        "-shared",
        *objects,
        *python_library(directory, target),
        *linker_options(module, target),
        "-o",
        directory / ("_native.pyd" if target.is_windows else "_native.so"),
    )
    return len(objects)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("targets", nargs="*", metavar="TARGET", help=", ".join(TARGETS))
    options = parser.parse_args()
    chosen = options.targets or [*TARGETS]
    for name in chosen:
        if name not in TARGETS:
            parser.error(f"unknown target {name!r}")
    build = ROOT / "build" / "cross"
    # So that nothing is left behind elsewhere.
    for place in ("GLOBAL", "LOCAL"):
        os.environ.setdefault(f"ZIG_{place}_CACHE_DIR", str(build / "cache"))
    passed = 0
    for name in chosen:
        try:
            count = cross_compile(TARGETS[name], build / name)
        except Failed as failed:
            print(failed)
            print(f"{name}: FAILED", flush=True)
        else:
            print(f"{name}: {count} files", flush=True)
            passed += 1
    print(f"{passed} passed, {len(chosen) - passed} failed")
    return int(passed < len(chosen))


if __name__ == "__main__":
    sys.exit(main())
