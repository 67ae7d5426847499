"""Running a program under the drop-in, as ``python`` would run it.

``python -m trio_c X...`` is ``python X...`` for a script, a directory or zip
file, ``-m module``, ``-c code`` and ``-``: the same ``__main__`` module,
``sys.argv``, ``sys.path[0]``, exit status, and tracebacks that begin in the
program. Without anything to run, it is an interactive console (``_repl.py``).
"""

from __future__ import annotations

import builtins
import os
import sys
from importlib.machinery import (
    BuiltinImporter,
    SourceFileLoader,
    SourcelessFileLoader,
)

from ._dropin import install

TYPE_CHECKING = False
if TYPE_CHECKING:
    from importlib.abc import Loader
    from types import CodeType, TracebackType
    from typing import NoReturn

USAGE = """\
usage: python -m trio_c [-m module | -c code | script.py | -] [argument ...]

Runs a program as python does, with trio_c in the place of trio; without one, an
interactive console that has await at its prompt. Options of the interpreter
itself go before the -m: python -X dev -m trio_c script.py
"""


def main() -> None:
    """Do what ``sys.argv`` says, in the ``__main__`` module."""
    if not sys.argv[1:]:
        _run_console()
        return
    kind, target, arguments = _parse(sys.argv[1:])
    install()
    namespace = _fresh_main()
    sys.argv[:] = [target, *arguments]
    try:
        if kind == "-m":
            _run_module(target)
        elif kind == "-c":
            _set_path("")
            sys.argv[0] = "-c"
            exec(_compile_command(target), namespace)
        elif kind == "-":
            # To Windows' interpreter it is a file in the current directory.
            _set_path(os.getcwd() if sys.platform == "win32" else "")
            namespace.update(__file__="<stdin>", __cached__=None)
            source = sys.stdin.buffer.read()
            exec(compile(source, "<stdin>", "exec", dont_inherit=True), namespace)
        else:
            _run_path(target, namespace)
    except SystemExit:
        raise
    except BaseException as exc:
        _hide_launcher(exc, sys._getframe())
        raise


def _parse(words: list[str]) -> tuple[str, str, list[str]]:
    """(kind, what to run, its arguments); kind is -m, -c, - or empty."""
    first, *rest = words
    if first in ("-h", "--help"):
        print(USAGE, end="")
        raise SystemExit(0)
    if first == "-" or not first.startswith("-"):
        return first[:1] if first == "-" else "", first, rest
    kind, target = first[:2], first[2:]
    if kind not in ("-m", "-c"):
        _fail(f"unknown option {first}")
    if not target:
        if not rest:
            _fail(f"argument expected for the {kind} option")
        target, *rest = rest
    return kind, target, rest


def _fail(message: str) -> NoReturn:
    print(f"{USAGE}\npython -m trio_c: {message}", file=sys.stderr)
    raise SystemExit(2)


def _fresh_main() -> dict[str, object]:
    """The namespace of ``__main__``, as the interpreter prepares it."""
    namespace = vars(sys.modules["__main__"])
    namespace.clear()
    namespace.update(
        __name__="__main__",
        __doc__=None,
        __package__=None,
        __loader__=BuiltinImporter,
        __spec__=None,
        __builtins__=builtins,
    )
    if sys.version_info < (3, 14):
        namespace["__annotations__"] = {}
    return namespace


def _set_path(entry: str, *, always: bool = False) -> None:
    """Replace what ``python -m`` has put at the head of ``sys.path``."""
    if not sys.flags.safe_path:
        sys.path[0] = entry
    elif always:
        sys.path.insert(0, entry)


def _run_console() -> None:
    if sys.modules.get("trio") is not sys.modules["trio_c"]:
        install()
    __import__("trio")  # from now on, labels say so

    from ._repl import main

    main(vars(sys.modules["__main__"]))


def _run_module(name: str) -> None:
    # What the interpreter itself calls by this name for its -m option.
    from runpy import _run_module_as_main  # type: ignore[attr-defined]

    sys.argv[0] = "-m"
    _run_module_as_main(name)


def _run_path(path: str, namespace: dict[str, object]) -> None:
    from pkgutil import get_importer

    full = os.path.join(os.getcwd(), path)
    if sys.platform == "win32":
        # There the interpreter asks the system, which writes it its own way.
        full = os.path.abspath(path)
    if get_importer(full) is not None:
        # A directory or zip file with a __main__.py inside. Once more, what
        # the interpreter itself calls.
        from runpy import _run_module_as_main  # type: ignore[attr-defined]

        _set_path(full, always=True)
        _run_module_as_main("__main__", False)
        return
    try:
        code, loader = _read_code(full)
    except OSError as exc:
        print(
            f"{sys.executable}: can't open file {full!r}:"
            f" [Errno {exc.errno}] {exc.strerror}",
            file=sys.stderr,
        )
        raise SystemExit(2) from None
    _set_path(os.path.dirname(os.path.realpath(full)))
    namespace.update(__file__=full, __cached__=None, __loader__=loader)
    exec(code, namespace)


def _read_code(path: str) -> tuple[CodeType, Loader]:
    from io import open_code
    from pkgutil import read_code

    with open_code(path) as file:
        code = read_code(file)
    if code is not None:
        return code, SourcelessFileLoader("__main__", path)
    with open_code(path) as file:
        code = compile(file.read(), path, "exec", dont_inherit=True)
    return code, SourceFileLoader("__main__", path)


def _compile_command(source: str) -> CodeType:
    if sys.version_info >= (3, 14):
        from textwrap import dedent

        source = dedent(source)
    if sys.version_info >= (3, 13):
        # Its lines are shown in tracebacks.
        import linecache

        lines = source.splitlines(keepends=True)
        linecache.cache["<string>"] = (len(source), None, lines, "<string>")
    return compile(source, "<string>", "exec", dont_inherit=True)


def _hide_launcher(exc: BaseException, frame: object) -> None:
    """Have the traceback of `exc` printed from below `frame` on.

    The exception goes on to the interpreter, which settles the exit status;
    only the hook that prints it gets to see less. The program is over, so
    nobody notices that the hook is another one until then.
    """
    hook = sys.excepthook

    def show(
        kind: type[BaseException],
        value: BaseException,
        traceback: TracebackType | None,
    ) -> None:
        sys.excepthook = hook
        shorter = traceback
        while shorter is not None and shorter.tb_frame is not frame:
            shorter = shorter.tb_next
        if shorter is not None:
            shorter = _below(shorter.tb_next)
            value = value.with_traceback(shorter)
            sys.last_traceback = shorter
            traceback = shorter
        hook(kind, value, traceback)

    sys.excepthook = show


def _below(traceback: TracebackType | None) -> TracebackType | None:
    """Without what is left of this file: `_run_path` and the like."""
    while traceback is not None and traceback.tb_frame.f_code.co_filename == __file__:
        traceback = traceback.tb_next
    return traceback
