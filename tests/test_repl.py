"""The interactive console: at a real terminal, and fed from a pipe."""

from __future__ import annotations

import builtins
import os
import pty
import re
import select
import signal
import subprocess
import sys

import pytest
from _processes import ELSEWHERE, run_python

import trio_c
from trio_c import _repl

PROMPT = ">>> "
# For reading from the console, and for its end. Only ever used up by a failure.
PATIENCE = 120

# What runs first at the terminal. Ctrl-C needs it to be the controlling one.
IN_FRONT = """
import fcntl, os, sys, termios
fcntl.ioctl(0, termios.TIOCSCTTY, 0)
os.execv(sys.executable, [sys.executable, *sys.argv[1:]])
"""


class Terminal:
    """A pseudo-terminal with ``python -m trio_c`` at it."""

    def __enter__(self):
        self.master, slave = pty.openpty()
        environment = {
            **{k: v for k, v in os.environ.items() if k != "TRIO_C_DROPIN"},
            "TERM": "dumb",
            "INPUTRC": os.devnull,
            "PYTHON_COLORS": "0",
        }
        try:
            self.process = subprocess.Popen(
                [sys.executable, "-c", IN_FRONT, "-m", "trio_c"],
                stdin=slave,
                stdout=slave,
                stderr=slave,
                start_new_session=True,
                env=environment,
                cwd=ELSEWHERE,
            )
        except BaseException:
            os.close(self.master)
            raise
        finally:
            os.close(slave)
        return self

    def __exit__(self, *exc_info):
        os.close(self.master)
        self.process.kill()
        self.process.wait()

    def read_until(self, *ends):
        """What it shows, up to where one of `ends` is the end of it."""
        shown = ""
        while not shown.endswith(ends):
            ready, _, _ = select.select([self.master], [], [], PATIENCE)
            assert ready, f"nothing more comes after {shown!r}"
            try:
                shown += os.read(self.master, 4096).decode()
            except OSError:  # it is gone
                raise AssertionError(f"the end comes after {shown!r}") from None
            # As a terminal with readline: it is not always sent the same way.
            shown = shown.replace("\r\n", "\n").replace("\r", "")
        return shown

    def type(self, keys):
        os.write(self.master, keys.encode())

    def run(self, line):
        """Enter a statement; what it prints."""
        self.type(line + "\n")
        shown = self.read_until("\n" + PROMPT)
        assert shown.startswith(line + "\n")
        return shown[len(line) + 1 : -len(PROMPT)]

    def interrupt_prompt(self):
        """Press Ctrl-C at the prompt; what comes before the next one."""
        self.type("\x03")
        request = "Press enter! Newline injection failed: [Errno 5] Input/output error"
        shown = self.read_until("\n" + PROMPT, request)
        if shown.endswith(request):
            # The system does not let programs type.
            self.type("\n")
            shown += self.read_until("\n" + PROMPT)
        return shown

    def end(self):
        """The exit status."""
        try:
            while os.read(self.master, 4096):
                pass
        except OSError:
            pass
        return self.process.wait(PATIENCE)


@pytest.fixture
def terminal():
    with Terminal() as terminal:
        banner = terminal.read_until(PROMPT)
        assert banner.startswith("trio REPL, trio_c 0.34.0")
        assert banner.endswith(f"\n{PROMPT}import trio\n{PROMPT}")
        yield terminal


def test_statements(terminal):
    assert terminal.run("1 + 1") == "2\n"
    assert terminal.run("await trio.sleep(0)") == ""
    assert terminal.run("x = await trio.to_thread.run_sync(lambda: 5)") == ""
    assert terminal.run("x") == "5\n"
    terminal.type("async def f():\n")
    terminal.read_until("... ")
    terminal.type("    return await trio.to_thread.run_sync(lambda: x)\n")
    terminal.read_until("... ")
    assert terminal.run("").endswith("")
    assert terminal.run("await f()") == "5\n"


def test_ctrl_c_at_an_empty_prompt(terminal):
    for _ in range(3):
        shown = terminal.interrupt_prompt()
        assert shown.endswith("\nKeyboardInterrupt\n" + PROMPT)
        assert "\n\nKeyboardInterrupt" not in shown
        assert "Traceback" not in shown
    # Neither the run nor the line editing has suffered.
    assert terminal.run("await trio.sleep(0); 7 * 6") == "42\n"


def test_ctrl_c_in_the_middle_of_a_line(terminal):
    terminal.type("raise SystemExit")
    terminal.read_until("raise SystemExit")
    assert "KeyboardInterrupt\n" in terminal.interrupt_prompt()
    assert terminal.run("'still here'") == "'still here'\n"


def test_ctrl_c_in_the_middle_of_a_block(terminal):
    terminal.type("if True:\n")
    terminal.read_until("... ")
    assert "KeyboardInterrupt\n" in terminal.interrupt_prompt()
    assert terminal.run("'still here'") == "'still here'\n"


@pytest.mark.parametrize(
    "wait", ["await trio.sleep_forever()", "import time; time.sleep(1000)"]
)
def test_ctrl_c_in_a_statement(terminal, wait):
    line = f"print('RE' + 'ADY'); {wait}"
    terminal.type(line + "\n")
    terminal.read_until("READY\n")
    terminal.type("\x03")
    shown = terminal.read_until("\n" + PROMPT)
    assert "Traceback (most recent call last):" in shown
    assert line in shown  # its source
    assert "\nKeyboardInterrupt\n" in shown
    assert "_repl.py" not in shown
    assert terminal.run("import sys; type(sys.last_value)") == (
        "<class 'KeyboardInterrupt'>\n"
    )
    # A second one later works as well.
    assert "KeyboardInterrupt\n" in terminal.interrupt_prompt()


def test_background_tasks_run_at_the_prompt(terminal):
    terminal.type("async def background():\n")
    terminal.read_until("... ")
    for line in (
        "with trio.open_signal_receiver(signal.SIGUSR1) as received:",
        "    async for _ in received: print('background')",
    ):
        terminal.type(f"    {line}\n")
        terminal.read_until("... ")
    terminal.run("")
    terminal.run("import signal; _ = trio.lowlevel.spawn_system_task(background)")
    # Long enough for it to begin; and now it is the console that waits.
    assert terminal.run("await trio.testing.wait_all_tasks_blocked()") == ""
    for _ in range(2):
        terminal.process.send_signal(signal.SIGUSR1)
        assert terminal.read_until("\n") == "background\n"


def test_end_of_input(terminal):
    terminal.type("\x04")
    shown = terminal.read_until("now exiting TrioInteractiveConsole...\n")
    assert "Traceback" not in shown
    assert terminal.end() == 0


@pytest.mark.parametrize(
    ("statement", "status"),
    [("exit()", 0), ("raise SystemExit(3)", 3), ("await f(4)", 4)],
)
def test_exit(terminal, statement, status):
    terminal.type("async def f(status):\n")
    terminal.read_until("... ")
    terminal.type("    raise SystemExit(status)\n")
    terminal.read_until("... ")
    terminal.run("")
    terminal.type(statement + "\n")
    assert terminal.end() == status


def test_line_editing(terminal):
    pytest.importorskip("readline", reason="this Python has no line editing")
    terminal.run("'previous'")
    terminal.type("\x10\x01[\x05]\n")  # previous line, to its begin, to its end
    shown = terminal.read_until("\n" + PROMPT)
    assert shown.endswith("['previous']\n" + PROMPT)


# --- from a pipe


def feed(*lines, status=0, **options):
    """The output, and the error output without the banner."""
    result = run_python(
        "-m", "trio_c", stdin="\n".join(lines) + "\n", status=status, **options
    )
    banner, _, errors = result.stderr.partition(f"\n{PROMPT}import trio\n")
    assert banner.startswith("trio REPL, ")
    errors = errors.removesuffix("\nnow exiting TrioInteractiveConsole...\n")
    output = re.sub(r"(>>> |\.\.\. )+", "", result.stdout)
    return output.splitlines(), errors


def test_names():
    output, errors = feed(
        "import trio_c",
        "trio is trio_c, trio.Event",
        "__name__, __package__, __spec__.name",
        "__file__ == trio.__path__[0] + '/__main__.py'",
        "sorted(name for name in globals() if not name.startswith('__'))",
    )
    assert output == [
        "(True, <class 'trio.Event'>)",
        "('__main__', 'trio_c', 'trio_c.__main__')",
        "True",
        "['trio', 'trio_c']",
    ]
    assert errors == ""


def test_it_is_a_real_run():
    output, errors = feed(
        "import threading, sniffio",
        "threading.current_thread() is threading.main_thread()",
        "trio.lowlevel.current_task().name",
        "sniffio.current_async_library()",
        "await trio.sleep(0); sniffio.current_async_library()",
        "import signal",
        "with trio.open_signal_receiver(signal.SIGUSR1) as received:",
        "    signal.raise_signal(signal.SIGUSR1)",
        "    print(await anext(received) == signal.SIGUSR1)",
        "",
        "trio.run(trio.sleep, 0)",
    )
    assert output == ["True", "'trio._repl.run_repl'", "'trio'", "'trio'", "True"]
    assert errors.endswith("Attempted to call run() from inside a run()\n")


def test_context_variables_last():
    output, errors = feed(
        "import contextvars",
        "var = contextvars.ContextVar('var', default=0)",
        "token = var.set(1)",
        "var.get()",
        "await trio.sleep(0); var.get()",
        "await trio.sleep(0); inner = var.set(2); var.get()",
        "var.get()",
        "var.reset(inner); await trio.sleep(0); var.get()",
        "await trio.sleep(0); var.reset(token); var.get()",
        "await trio.to_thread.run_sync(lambda: var.set(9)); var.get()",
        "try: await trio.to_thread.run_sync(lambda: 1/0)",
        "finally: token = var.set(3)",
        "",
        "var.get()",
    )
    values = [line for line in output if line.isdigit()]
    assert values == ["1", "1", "2", "2", "1", "0", "0", "3"]
    assert errors.endswith("ZeroDivisionError: division by zero\n")


def test_errors_show_their_lines():
    output, errors = feed(
        "def broken():",
        "    return 1 / 0",
        "",
        "x = 1",
        "async def outer():",
        "    await trio.sleep(0)",
        "    broken()",
        "",
        "await outer()",
        "import sys; sys.last_value, sys.last_type, sys.last_traceback.tb_lineno",
        "broken()",
    )
    shown = re.sub(r" *[~^]+\n", "", errors)
    assert shown.splitlines() == [
        "Traceback (most recent call last):",
        '  File "<console-3>", line 1, in <module>',
        "    await outer()",
        '  File "<console-2>", line 3, in outer',
        "    broken()",
        '  File "<console-0>", line 2, in broken',
        "    return 1 / 0",
        "ZeroDivisionError: division by zero",
        "Traceback (most recent call last):",
        '  File "<console-5>", line 1, in <module>',
        "    broken()",
        '  File "<console-0>", line 2, in broken',
        "    return 1 / 0",
        "ZeroDivisionError: division by zero",
    ]
    assert output == [
        "(ZeroDivisionError('division by zero'), <class 'ZeroDivisionError'>, 1)"
    ]


def test_excepthook():
    output, errors = feed(
        "import sys",
        "sys.excepthook = lambda kind, value, tb: print(repr(value), tb.tb_lineno)",
        "1/0",
    )
    assert output == ["ZeroDivisionError('division by zero') 1"]
    assert errors == ""


def test_cancelling_ends_nothing_else():
    output, errors = feed(
        "with trio.move_on_after(0) as scope: await trio.sleep_forever()",
        "",
        "scope.cancelled_caught",
        "raise trio.Cancelled._create(source='explicit')",
        "1",
    )
    assert output == ["True", "1"]
    assert "Cancelled" in errors


def test_coroutines_left_behind_are_no_warning():
    _, errors = feed("c = trio.sleep(0)", "async def f(): pass", "", "d = f()")
    assert errors == ""


def test_status_without_a_terminal():
    feed("raise SystemExit(5)", "print('not reached')", status=5)
    feed("import sys; sys.exit('farewell')", status=1)


def test_python_processes_started_there_have_the_drop_in():
    output, _ = feed("import os; os.environ['TRIO_C_DROPIN']")
    assert output == ["'1'"]


def test_interrupted_without_a_terminal():
    # The user is asked to press Enter: nobody can do it for a pipe.
    process = subprocess.Popen(
        [sys.executable, "-u", "-m", "trio_c"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        cwd=ELSEWHERE,
    )
    with process:
        try:
            process.stdin.write("print('READY')\n")
            process.stdin.flush()
            while process.stdout.readline() != ">>> READY\n":
                pass
            assert process.stdout.read(len(PROMPT)) == PROMPT
            process.send_signal(signal.SIGINT)
            assert process.stdout.readline() == "\n"
            process.stdin.write("\nprint('after')\n")
            process.stdin.close()
            rest = process.stdout.read()
            assert rest.startswith("Press enter! Newline injection failed: ")
            assert "KeyboardInterrupt\n>>> after\n" in rest
        finally:
            process.kill()
    assert process.returncode == 0


# --- in this process


@pytest.mark.parametrize("after", [0, 1])
def test_ctrl_c_between_two_statements(after, monkeypatch):
    # It comes when the statement is over and its prompt is not there yet.
    record = []
    lines = ["1", "2"]

    def ask(prompt):
        record.append(prompt)
        if not lines:
            raise EOFError
        return lines.pop(0)

    @trio_c.lowlevel.enable_ki_protection
    def interrupt():
        signal.raise_signal(signal.SIGINT)

    def push(line):
        more = type(console).push(console, line)
        if len(lines) == 1 - after:
            trio_c.from_thread.run_sync(interrupt)
        return more

    monkeypatch.setattr(builtins, "input", ask)
    monkeypatch.setattr(sys, "displayhook", record.append)
    monkeypatch.setattr(sys, "ps1", "prompt", raising=False)
    monkeypatch.setattr(sys, "ps2", "more", raising=False)
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        console = _repl.TrioInteractiveConsole()
        monkeypatch.setattr(console, "write", record.append)
        monkeypatch.setattr(console, "push", push)
        trio_c.run(_repl.run_repl, console)
        assert signal.getsignal(signal.SIGINT) is signal.default_int_handler
    finally:
        signal.signal(signal.SIGINT, before)
    steps = [["prompt", 1], ["prompt", 2]]
    steps[after].append("\nKeyboardInterrupt\n")
    assert record[1:-2] == [*steps[0], *steps[1], "prompt"]


def test_where_nobody_can_type_for_the_user(monkeypatch, capsys) -> None:
    termios = pytest.importorskip("termios")
    # OpenBSD has none.
    monkeypatch.delattr(termios, "TIOCSTI")
    _repl.terminal_newline()
    assert capsys.readouterr().out.startswith("\nPress enter! Newline injection failed")
