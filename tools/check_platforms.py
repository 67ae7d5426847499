"""Where code may ask which system it is on.

In C, in few files: base/, poll/ and those of FILES; what the others have to
know is a macro of base/ or poll/ (TC_POLL_HAVE_..., TC_SOCK_HAVE_...). In
Python, in the places of PLACES: what depends on the poller asks for its name
(trio_c._native.BACKEND), since a build for tests has kqueue's on Linux.

Reports every other place and exits with status 1.
"""

from __future__ import annotations

import ast
import re
import sys
from pathlib import Path

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator

# --- C ------------------------------------------------------------------

# The tests are programs of their own.
ROOMS = ("base", "poll", "tests")

FILES = {
    "glue/errors.c": "the numbers of errors, and what is raised for them",
    "kernel/context.h": "where glibc has room for thread-local variables",
    "net/socket_receive.c": "what glibc's allocator does with large results",
}

CONDITION = re.compile(r"^[ \t]*#[ \t]*(?:el)?if(?:def|ndef)?\b((?:.*\\\n)*.*)", re.M)
SYSTEM = re.compile(
    r"\b(?:_WIN\d\d|MS_WIN\w*|__CYGWIN__|__MINGW\w+|_MSC_VER|__linux(?:__)?|__gnu_linux__"
    r"|__APPLE__|__MACH__|__\w+BSD__|__DragonFly__|__unix(?:__)?|__GLIBC__|BSD)\b"
)


def check_c(csrc: Path) -> Iterator[str]:
    for path in sorted([*csrc.rglob("*.c"), *csrc.rglob("*.h")]):
        name = path.relative_to(csrc)
        if name.parts[0] in ROOMS or name.as_posix() in FILES:
            continue
        text = path.read_text(encoding="utf-8")
        for condition in CONDITION.finditer(text):
            if system := SYSTEM.search(condition[1]):
                line = text.count("\n", 0, condition.start()) + 1
                yield f"csrc/{name}:{line}: {system[0]} outside of base/ and poll/"


# --- Python -------------------------------------------------------------

# File, function or class, "" being the module itself: why it may.
PLACES = {
    ("_core/_thread_cache.py", "get_os_thread_name_func"): "as in base/thread_name.c",
    ("_highlevel_open_tcp_listeners.py", "_listen_on"): "what SO_REUSEADDR means",
    ("_launch.py", "main"): "how the interpreter writes paths there",
    ("_launch.py", "_run_path"): "how the interpreter writes paths there",
    ("_path.py", "Path.__new__"): "paths are of the system's kind",
    ("_path.py", "Path"): "what pathlib has there",
    ("_repl.py", "TrioInteractiveConsole"): "what ends the read of a terminal",
    ("_repl.py", "run_repl"): "only shown",
    ("_socket.py", ""): "what the standard library has there; Linux' options",
    ("_socket.py", "_SocketType"): "what the standard library has there",
    ("_socket.py", "_SocketType.is_readable"): "where there is no poll(2)",
    ("_socket.py", "_sniff_sockopts_for_fileno"): "SO_DOMAIN is Linux'; as Trio does",
    ("_socket_type.py", "SocketType"): "what the standard library has there",
    ("_subprocess.py", "_check_command"): "what subprocess takes there",
    ("_subprocess.py", "_run_process"): "how a process is stopped there",
    ("_subprocess.py", "_starts_at_once"): "where subprocess uses vfork(2)",
    ("_subprocess_platform/pidfd.py", ""): "a system call of Linux",
    ("socket.py", ""): "what the standard library has there, and what is left out",
}


class Finder(ast.NodeVisitor):
    """Collects (line, function or class, what is asked)."""

    def __init__(self) -> None:
        self.found: list[tuple[int, str, str]] = []
        self.place: list[str] = []

    def visit_scope(self, node: ast.AST) -> None:
        self.place.append(node.name)  # type: ignore[attr-defined]
        self.generic_visit(node)
        self.place.pop()

    visit_ClassDef = visit_FunctionDef = visit_AsyncFunctionDef = visit_scope

    def visit_Assert(self, node: ast.Assert) -> None:
        if not ast.unparse(node.test).startswith("not TYPE_CHECKING or "):
            self.generic_visit(node)

    def visit_If(self, node: ast.If) -> None:
        # What only type checkers see asks in the way that they understand.
        if isinstance(node.test, ast.Name) and node.test.id == "TYPE_CHECKING":
            for child in node.orelse:
                self.visit(child)
        else:
            self.generic_visit(node)

    def visit_Attribute(self, node: ast.Attribute) -> None:
        asked = ast.unparse(node).lstrip("_")
        if asked in ("sys.platform", "os.name") or asked.startswith("platform."):
            self.found.append((node.lineno, ".".join(self.place), asked))
        self.generic_visit(node)

    def visit_Call(self, node: ast.Call) -> None:
        call = ast.unparse(node).replace("_select", "select")
        if re.match(r"(has|get)attr\(select, '(epoll|kqueue|poll)'", call):
            self.found.append((node.lineno, ".".join(self.place), call))
        self.generic_visit(node)


def check_python(package: Path) -> Iterator[str]:
    for path in sorted(package.rglob("*.py")):
        name = path.relative_to(package).as_posix()
        finder = Finder()
        finder.visit(ast.parse(path.read_text(encoding="utf-8")))
        for line, place, asked in finder.found:
            if (name, place) not in PLACES:
                where = f" in {place}" if place else ""
                yield f"trio_c/{name}:{line}: {asked}{where}"


def check(root: Path) -> list[str]:
    """What breaks the rules under `root`, one line each."""
    return [*check_c(root / "csrc"), *check_python(root / "trio_c")]


if __name__ == "__main__":
    found = check(Path(sys.argv[1] if len(sys.argv) > 1 else "."))
    print(*found, sep="\n", end="\n" if found else "")
    sys.exit(bool(found))
