"""Builds the extension; everything else is said in pyproject.toml.

Environment variables that change the build (docs/building.md):

* ``TRIO_C_DEBUG=1``: assertions and live-object counters;
* ``TRIO_C_SANITIZE=address,undefined``: with those sanitizers;
* ``TRIO_C_WERROR=1``: compiler warnings are errors;
* ``TRIO_C_BACKEND=kqueue``: on Linux, with the kqueue backend, for testing it.

The backend is otherwise the system's best, which csrc/poll/poll.h knows.
"""

import os
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from setuptools import Extension, setup
from setuptools.command.build_ext import build_ext
from setuptools.command.build_py import build_py

DROPIN = "trio_c_dropin.pth"

# A kqueue for Linux: C files, and <sys/event.h>.
TEST_KQUEUE = Path("csrc/tests/kqueue")


def with_test_kqueue():
    """Is the kqueue backend wanted where there is none by nature?"""
    chosen = os.environ.get("TRIO_C_BACKEND", "")
    if chosen not in ("", "kqueue"):
        sys.exit(f"TRIO_C_BACKEND: '{chosen}' cannot be chosen")
    return chosen == "kqueue" and sys.platform == "linux"


def sources():
    """Every C file but the tests'. (A poller that the platform lacks is empty.)"""
    files = [path for path in Path("csrc").rglob("*.c") if "tests" not in path.parts]
    if with_test_kqueue():
        files += TEST_KQUEUE.glob("*.c")
    return sorted(path.as_posix() for path in files)


def switched_on(name):
    return os.environ.get(name, "0") not in ("", "0")


def flags():
    """Options for the compiler, and those for the linker."""
    compile_args = [
        "-std=c11",
        "-fno-strict-aliasing",
        "-Wall",
        "-Wextra",
        "-Wshadow",
        # Callbacks ignore what they are passed; specs end with zeros; method
        # tables hold functions of several types.
        "-Wno-unused-parameter",
        "-Wno-missing-field-initializers",
        "-Wno-cast-function-type",
    ]
    link_args = []
    if sys.platform != "win32":
        compile_args += ["-D_GNU_SOURCE", "-pthread", "-fvisibility=hidden"]
        link_args.append("-pthread")
    if with_test_kqueue():
        compile_args += ["-DTC_POLL_HAVE_EPOLL=0", "-DTC_POLL_HAVE_KQUEUE=1"]
        compile_args.append(f"-I{TEST_KQUEUE}")
    if switched_on("TRIO_C_WERROR"):
        compile_args.append("-Werror")
    if switched_on("TRIO_C_DEBUG"):
        compile_args += ["-g", "-O1", "-UNDEBUG", "-DTRIO_C_DEBUG=1"]
    else:
        compile_args.append("-DNDEBUG")
    sanitizers = os.environ.get("TRIO_C_SANITIZE")
    if sanitizers:
        chosen = [f"-fsanitize={sanitizers}", "-fno-sanitize-recover=all"]
        compile_args += ["-g", "-O1", "-fno-omit-frame-pointer", *chosen]
        link_args += chosen
    return compile_args, link_args


def msvc_flags():
    """The same for Microsoft's compiler (nobody has tried them yet)."""
    compile_args = ["/std:c11", "/experimental:c11atomics", "/W3"]
    if switched_on("TRIO_C_WERROR"):
        compile_args.append("/WX")
    if switched_on("TRIO_C_DEBUG"):
        return [*compile_args, "/Od", "/Zi", "/UNDEBUG", "/DTRIO_C_DEBUG=1"], ["/DEBUG"]
    return [*compile_args, "/DNDEBUG"], []


# Windows 8, which is older than any that CPython 3.11 runs on. The libraries of
# sockets, and of the calls that ask their driver.
WINDOWS_MACROS = [("_WIN32_WINNT", "0x0602"), ("WIN32_LEAN_AND_MEAN", None)]
WINDOWS_LIBRARIES = ["ws2_32", "ntdll"]


class BuildExtension(build_ext):
    """Compiles on all processors, and anew when the flags have changed."""

    def build_extensions(self):
        if self.compiler.compiler_type == "msvc":
            for extension in self.extensions:
                arguments = msvc_flags()
                extension.extra_compile_args, extension.extra_link_args = arguments
            # Else each thread below would do it, once only being allowed.
            if not self.compiler.initialized:
                self.compiler.initialize()
        compile_serially = self.compiler.compile

        def compile_all(files, **options):
            with ThreadPoolExecutor(os.cpu_count()) as pool:
                jobs = [
                    pool.submit(compile_serially, [file], **options) for file in files
                ]
            return [name for job in jobs for name in job.result()]

        self.compiler.compile = compile_all
        super().build_extensions()

    def build_extension(self, extension):
        stamp = Path(self.build_temp, "flags.txt")
        wanted = repr((extension.extra_compile_args, extension.extra_link_args))
        if not stamp.exists() or stamp.read_text() != wanted:
            stamp.parent.mkdir(parents=True, exist_ok=True)
            stamp.write_text(wanted)
        extension.depends.append(str(stamp))
        super().build_extension(extension)


class BuildPython(build_py):
    """Puts the drop-in's start-up file beside the package."""

    def run(self):
        super().run()
        if not self.editable_mode:
            self.copy_file(DROPIN, os.path.join(self.build_lib, DROPIN))

    def get_outputs(self, *args, **kwargs):
        outputs = super().get_outputs(*args, **kwargs)
        if not self.editable_mode:
            outputs.append(os.path.join(self.build_lib, DROPIN))
        return outputs


windows = sys.platform == "win32"
compile_args, link_args = flags()
setup(
    ext_modules=[
        Extension(
            "trio_c._native",
            sources(),
            include_dirs=["csrc"],
            depends=sorted(path.as_posix() for path in Path("csrc").rglob("*.h")),
            define_macros=WINDOWS_MACROS if windows else [],
            libraries=WINDOWS_LIBRARIES if windows else [],
            extra_compile_args=compile_args,
            extra_link_args=link_args,
        )
    ],
    cmdclass={"build_ext": BuildExtension, "build_py": BuildPython},
)
