"""The interactive console, with ``await`` at its prompt.

Two threads share the work. The console itself (prompt, line editing, deciding
when a statement is complete) is the standard library's, and blocks, so it
lives in a worker thread. Statements run in the main task: there they can
await, Ctrl-C reaches them, and background tasks go on while somebody types.
"""

from __future__ import annotations

import ast
import inspect
import linecache
import signal
import sys
import warnings
from code import InteractiveConsole
from contextvars import copy_context
from types import FunctionType

import trio_c as trio

from ._util import final

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from contextvars import Context
    from types import CodeType, FrameType
    from typing import Any

# What a console's namespace has of the module that was started.
_INHERITED = (
    "__name__",
    "__package__",
    "__loader__",
    "__spec__",
    "__builtins__",
    "__file__",
)


def terminal_newline() -> None:
    """Press Enter in the user's place, so that ``input()`` returns.

    Nothing else ends a read of the terminal in another thread. Where the
    system forbids to type for others (Linux: ``dev.tty.legacy_tiocsti``) or
    has no such thing (OpenBSD), or the input is no terminal, the user is asked
    to do it.
    """
    import fcntl
    import termios

    try:
        fcntl.ioctl(sys.stdin, termios.TIOCSTI, b"\n")
    except (AttributeError, OSError, ValueError) as exc:
        print(f"\nPress enter! Newline injection failed: {exc}", end="", flush=True)


@final
class TrioInteractiveConsole(InteractiveConsole):
    """A console whose statements run in the task that called :func:`run_repl`.

    Args:
      repl_locals: the namespace of the statements.
    """

    def __init__(self, repl_locals: dict[str, object] | None = None) -> None:
        super().__init__(locals=repl_locals)
        self.compile.compiler.flags |= ast.PyCF_ALLOW_TOP_LEVEL_AWAIT
        # Ctrl-C was pressed at the prompt, and its newline is on the screen.
        self.interrupted = False
        # Of the statements. Copied from the first one's.
        self._context: Context | None = None
        self._statements = 0

    def runsource(
        self, source: str, filename: str = "<console>", symbol: str = "single"
    ) -> bool:
        """Run `source` if it is complete; tell if more of it is needed.

        Each statement counts as a file of its own, so that tracebacks can
        show its lines, at any later time.
        """
        filename = f"{filename.removesuffix('>')}-{self._statements}>"
        lines = [line + "\n" for line in source.split("\n")]
        linecache.cache[filename] = (len(source), None, lines, filename)
        more = False
        try:
            more = super().runsource(source, filename, symbol)
        finally:
            if not more:
                self._statements += 1
        return more

    def runcode(self, code: CodeType) -> None:
        """Run one statement, and show what it raises.

        Raises:
          SystemExit: the statement raised it.
          KeyboardInterrupt: Ctrl-C came too late for the statement.
          trio_c.Cancelled: the task of the console was cancelled.
        """
        statement = FunctionType(code, self.locals)
        if inspect.iscoroutinefunction(statement):
            exc = trio.from_thread.run(self._run_async, statement)
        else:
            exc = trio.from_thread.run_sync(self._run_sync, statement)
        if isinstance(exc, SystemExit):
            raise exc
        if exc is not None:
            self._show(exc)
        # The statement may have swallowed it.
        trio.from_thread.run(trio.lowlevel.checkpoint_if_cancelled)

    def _show(self, exc: BaseException) -> None:
        """Report `exc` as the interpreter's own console does."""
        sys.last_type, sys.last_value = type(exc), exc
        sys.last_traceback = exc.__traceback__
        if sys.version_info >= (3, 12):
            sys.last_exc = exc
        if sys.version_info < (3, 13) and sys.excepthook is sys.__excepthook__:
            # That one looks for lines in files only.
            from traceback import format_exception

            self.write("".join(format_exception(exc)))
        else:
            sys.excepthook(sys.last_type, sys.last_value, sys.last_traceback)

    # These two run in the main task and return what the statement raised.

    def _run_sync(self, statement: Callable[[], object]) -> BaseException | None:
        try:
            self._own_context().run(statement)
        except BaseException as exc:
            return _without_our_frame(exc)
        return None

    async def _run_async(self, statement: Callable[[], Any]) -> BaseException | None:
        task = trio.lowlevel.current_task()
        outer, task.context = task.context, self._own_context()
        # A task gets into another context when it is resumed.
        await trio.lowlevel.cancel_shielded_checkpoint()
        try:
            await statement()
        except BaseException as exc:
            return _without_our_frame(exc)
        finally:
            task.context = outer
            await trio.lowlevel.cancel_shielded_checkpoint()
        return None

    def _own_context(self) -> Context:
        if self._context is None:
            self._context = copy_context()
        return self._context

    if sys.platform == "win32":

        def raw_input(self, prompt: str = "") -> str:
            """Ask for a line, in the console's thread.

            Ctrl-C ends the read as if there were no more input, and reaches
            the main task, whose run it cancels.

            Raises:
              EOFError: there is no more input.
              trio_c.Cancelled: Ctrl-C was pressed, or the task of the console
                was cancelled.
            """
            try:
                return input(prompt)
            except EOFError:
                trio.from_thread.run(trio.lowlevel.checkpoint_if_cancelled)
                raise

    else:

        def raw_input(self, prompt: str = "") -> str:
            """Ask for a line, in the console's thread.

            Ctrl-C arrives in the main thread, which cannot interrupt the read.
            Its handler remembers it and has the read end.

            Raises:
              EOFError: there is no more input.
              KeyboardInterrupt: Ctrl-C was pressed.
              trio_c.Cancelled: the task of the console was cancelled.
            """
            previous = trio.from_thread.run_sync(self._catch_interrupts)
            try:
                # A Ctrl-C from before the handler was there, or a cancellation.
                trio.from_thread.run(trio.lowlevel.checkpoint_if_cancelled)
                return input(prompt)
            finally:
                trio.from_thread.run_sync(signal.signal, signal.SIGINT, previous)
                if self.interrupted:
                    raise KeyboardInterrupt

        def _catch_interrupts(
            self,
        ) -> Callable[[int, FrameType | None], object] | int | signal.Handlers | None:
            token = trio.lowlevel.current_trio_token()

            def interrupt(signum: int, frame: FrameType | None) -> None:
                self.interrupted = True
                token.run_sync_soon(terminal_newline, idempotent=True)

            return signal.signal(signal.SIGINT, interrupt)

    def write(self, data: str) -> None:
        """Write to the error output."""
        if self.interrupted:
            # This is what reports the interruption. It begins with the
            # newline that is there already.
            self.interrupted = False
            data = data.removeprefix("\n")
        sys.stderr.write(data)


def _without_our_frame(exc: BaseException) -> BaseException:
    return exc.with_traceback(exc.__traceback__ and exc.__traceback__.tb_next)


async def run_repl(console: TrioInteractiveConsole) -> None:
    """Run `console` until its input ends or a statement exits.

    To be called in the main task of a run in the main thread, if Ctrl-C is to
    work. It blocks in a thread, so cancelling it waits for the next line.

    Raises:
      SystemExit: a statement raised it, ``exit()`` for one.
    """
    prompt = getattr(sys, "ps1", ">>> ")
    banner = (
        f"trio REPL, trio_c {trio.__version__}\n"
        f"Python {sys.version} on {sys.platform}\n"
        '"await" works right at the prompt, without "trio.run()".\n'
        'Type "help", "copyright", "credits" or "license" for more information.\n'
        f"{prompt}import trio"
    )
    try:
        await trio.to_thread.run_sync(console.interact, banner)
    finally:
        # Coroutines that lie about in the namespace are nobody's mistake.
        warnings.filterwarnings(
            "ignore",
            message="^coroutine .* was never awaited$",
            category=RuntimeWarning,
        )


def main(original_locals: dict[str, object]) -> None:
    """Run a console on the terminal, until it ends.

    Its namespace is new. It has ``trio``, and from `original_locals` what
    says which module this is.

    Raises:
      SystemExit: as :func:`run_repl`.
    """
    try:
        # Loaded, it gives input() line editing and a history.
        import readline  # noqa: F401
    except ImportError:
        pass
    repl_locals: dict[str, object] = {"trio": trio}
    for name in _INHERITED:
        repl_locals[name] = original_locals[name]
    trio.run(run_repl, TrioInteractiveConsole(repl_locals))
