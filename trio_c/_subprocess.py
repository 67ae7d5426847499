"""Child processes: starting, talking to, waiting for and stopping them.

Starting is the standard library's work: a :class:`Process` is a handle around
a :class:`subprocess.Popen` that has been given descriptors only. `subprocess`
itself, which takes long to load, is imported by who starts a process.
"""

from __future__ import annotations

import os
import sys
from functools import partial
from io import FileIO

import trio_c as trio

from ._highlevel_generic import StapledStream
from ._native import BACKEND, enable_ki_protection
from ._subprocess_platform import (
    create_pipe_from_child_output,
    create_pipe_to_child_stdin,
    wait_child_exiting,
)
from ._subprocess_platform.pidfd import pidfd_open
from ._util import NoPublicConstructor, final

TYPE_CHECKING = False
if TYPE_CHECKING:
    import signal
    import subprocess
    from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
    from typing import (
        Final,
        Literal,
        Protocol,
        TypeAlias,
        TypedDict,
        Unpack,
        overload,
    )

    from ._abc import ReceiveStream, SendStream
    from ._core._run import TaskStatus
    from ._subprocess_platform import ClosableReceiveStream, ClosableSendStream

    StrOrBytesPath: TypeAlias = str | bytes | os.PathLike[str] | os.PathLike[bytes]

    class HasFileno(Protocol):
        """Anything that a descriptor stands behind."""

        def fileno(self) -> int: ...


# Without a pidfd, wait_child_exiting() does it. A kqueue needs none.
can_try_pidfd_open: bool = pidfd_open is not None and BACKEND != "kqueue"

# What makes subprocess.Popen translate text or buffer. All of them are
# accepted as long as they ask for nothing.
_TEXT_OPTIONS = ("universal_newlines", "text", "encoding", "errors", "bufsize")

# With these, starting a child runs code that can take any time: the caller's
# own, or a look into the user database.
_SLOW_OPTIONS = ("preexec_fn", "user", "group", "extra_groups")


@final
class Process(metaclass=NoPublicConstructor):
    """A child process.

    Made by :func:`trio_c.lowlevel.open_process`, and by :func:`run_process`
    under ``nursery.start``. It need not be closed, but somebody should
    :meth:`wait` for it.

    Attributes:
      args: the command, in the form in which it was given.
      pid (int): the process's number.
      stdin (trio_c.abc.SendStream or None): sends to its standard input, if
          that is a pipe that was asked for.
      stdout (trio_c.abc.ReceiveStream or None): receives its standard output,
          likewise.
      stderr (trio_c.abc.ReceiveStream or None): receives its error output,
          likewise.
      stdio (trio_c.StapledStream or None): ``stdin`` and ``stdout`` in one,
          if both are there. Ending it with ``send_eof`` closes ``stdin``
          only.
    """

    # As a Popen has them. Nothing here is ever text.
    universal_newlines: Final = False
    encoding: Final = None
    errors: Final = None

    # Of wait_child_exiting().
    _wait_for_exit_data: trio.Event | None = None

    def __init__(
        self,
        popen: subprocess.Popen[bytes],
        stdin: SendStream | None,
        stdout: ReceiveStream | None,
        stderr: ReceiveStream | None,
    ) -> None:
        self._proc = popen
        self.args: StrOrBytesPath | Sequence[StrOrBytesPath] = popen.args
        self.pid: int = popen.pid
        self.stdin = stdin
        self.stdout = stdout
        self.stderr = stderr
        self.stdio: StapledStream[SendStream, ReceiveStream] | None = None
        if stdin is not None and stdout is not None:
            self.stdio = StapledStream(stdin, stdout)
        # Only one task at a time can wait for the same descriptor.
        self._wait_lock = trio.Lock()
        # Closes it in the end, where nobody did.
        self._pidfd: FileIO | None = None
        if can_try_pidfd_open:
            try:
                fd = pidfd_open(popen.pid, 0)  # type: ignore[misc]
            except OSError:
                pass  # an older kernel, or no descriptor left
            else:
                self._pidfd = FileIO(fd)

    def __repr__(self) -> str:
        returncode = self.returncode
        if returncode is None:
            status = f"running with PID {self.pid}"
        elif returncode < 0:
            status = f"exited with signal {-returncode}"
        else:
            status = f"exited with status {returncode}"
        return f"<trio.Process {self.args!r}: {status}>"

    @property
    def returncode(self) -> int | None:
        """The exit status; None while the process runs.

        If a signal ended it, this is the number of the signal, negative.
        Asking for it looks, and wakes those who :meth:`wait` if it is over.
        """
        status = self._proc.poll()
        if status is not None:
            self._close_pidfd()
        return status

    def _close_pidfd(self) -> None:
        """The process has been reaped. Wakes who waits for the descriptor."""
        pidfd = self._pidfd
        if pidfd is None:
            return
        if trio.lowlevel.in_trio_run():
            trio.lowlevel.notify_closing(pidfd.fileno())
        elif self._wait_lock.locked():
            return  # a run in another thread, which will notice by itself
        self._pidfd = None
        pidfd.close()

    async def wait(self) -> int:
        """Wait until the process has exited; give its :attr:`returncode`.

        Any number of tasks may wait, at any time, and cancelling them changes
        nothing for the process. A checkpoint.
        """
        async with self._wait_lock:
            status = self.poll()
            if status is None:
                await self._until_it_has_exited()
                # Does not block any more.
                status = self._proc.wait()
                self._close_pidfd()
        return status

    async def _until_it_has_exited(self) -> None:
        if self._pidfd is None:
            await wait_child_exiting(self)
            return
        try:
            await trio.lowlevel.wait_readable(self._pidfd)
        except trio.ClosedResourceError:
            pass  # somebody looked at returncode before us

    def poll(self) -> int | None:
        """The same as :attr:`returncode`."""
        return self.returncode

    def send_signal(self, sig: signal.Signals | int) -> None:
        """Send a signal to the process. Nothing happens if it has exited.

        Raises:
          OSError: the system does not allow it, or there is no such signal.
        """
        self._proc.send_signal(sig)

    def terminate(self) -> None:
        """Ask the process to end: ``SIGTERM``, which it may ignore.

        Raises:
          OSError: the system does not allow it.
        """
        self._proc.terminate()

    def kill(self) -> None:
        """End the process: ``SIGKILL``, which it cannot ignore.

        Raises:
          OSError: the system does not allow it.
        """
        self._proc.kill()


class _Pipes:
    """The pipes to a child that is being started."""

    def __init__(self) -> None:
        self._ours: list[ClosableSendStream | ClosableReceiveStream] = []
        self._theirs: list[int] = []

    def to_child(self) -> tuple[ClosableSendStream, int]:
        ours, theirs = create_pipe_to_child_stdin()
        self._ours.append(ours)
        self._theirs.append(theirs)
        return ours, theirs

    def from_child(self) -> tuple[ClosableReceiveStream, int]:
        ours, theirs = create_pipe_from_child_output()
        self._ours.append(ours)
        self._theirs.append(theirs)
        return ours, theirs

    # If one cannot be closed, the others still are.

    def close_ours(self) -> None:
        try:
            while self._ours:
                self._ours.pop().close()
        finally:
            if self._ours:
                self.close_ours()

    def close_theirs(self) -> None:
        try:
            while self._theirs:
                os.close(self._theirs.pop())
        finally:
            if self._theirs:
                self.close_theirs()


def _check_command(command: object, options: Mapping[str, object]) -> None:
    """Refuse what is not for us, or what Popen would take for something else."""
    for name in _TEXT_OPTIONS:
        if options.get(name):
            raise TypeError(
                "trio.Process only supports communicating over unbuffered byte"
                f" streams; the '{name}' option is not supported"
            )
    if os.name == "nt":
        return  # a command may be one string there, with or without a shell
    is_text = isinstance(command, (str, bytes))
    if is_text and not options.get("shell"):
        raise TypeError(
            "command must be a sequence (not a string or bytes) if shell=False"
            " on UNIX systems"
        )
    if not is_text and options.get("shell"):
        raise TypeError(
            "command must be a string or bytes (not a sequence) if shell=True"
            " on UNIX systems"
        )


def _starts_at_once(options: Mapping[str, object]) -> bool:
    """Is a thread of no use for starting the child?

    Where Popen uses vfork(2), the interpreter stands still until the child
    runs its program, in whatever thread that happens; and then Popen is done.
    """
    import subprocess

    # Since 3.14, there is no switch any more.
    if sys.platform != "linux" or not getattr(subprocess, "_USE_VFORK", True):
        return False
    return all(options.get(name) is None for name in _SLOW_OPTIONS)


# Ctrl-C waits for the next checkpoint. A process that was started, and a
# descriptor, always have somebody who knows of them.
@enable_ki_protection
async def _open_process(
    command: StrOrBytesPath | Sequence[StrOrBytesPath],
    *,
    stdin: int | HasFileno | None = None,
    stdout: int | HasFileno | None = None,
    stderr: int | HasFileno | None = None,
    **options: object,
) -> Process:
    """Start a child process, and go on while it runs.

    Nothing stops the process when the task that started it ends or is
    cancelled, or waits for it; that is up to the caller. :func:`run_process`
    is for processes that belong to a task.

    Args:
      command: the program and its arguments, a sequence of strings or paths;
          with ``shell=True``, one string for the shell.
      stdin: where the process reads from: a descriptor, a file object,
          ``subprocess.DEVNULL``; ``subprocess.PIPE`` makes a pipe, to be
          written to as :attr:`Process.stdin`. None: from where we read.
      stdout: where its output goes, likewise; :attr:`Process.stdout`.
      stderr: where its error output goes, likewise; :attr:`Process.stderr`.
          ``subprocess.STDOUT``: where `stdout` goes.
      options: what else :class:`subprocess.Popen` takes. All that has to do
          with text or buffers is refused.

    Returns:
      Process: the handle.

    A checkpoint. Once starting has begun, it cannot be cancelled.

    Raises:
      TypeError: an option is refused, or `command` does not go with `shell`.
      OSError: the program could not be started: it does not exist, is not
          executable, and so on. No descriptor stays open.
    """
    import subprocess

    from ._subprocess_platform import forks

    _check_command(command, options)
    # Also says so if this is no run.
    await trio.lowlevel.checkpoint_if_cancelled()
    at_once = _starts_at_once(options)
    if at_once:
        await trio.lowlevel.checkpoint()
    our_stdin = our_stdout = our_stderr = None
    pipes = _Pipes()
    try:
        if stdin == subprocess.PIPE:
            our_stdin, stdin = pipes.to_child()
        if stdout == subprocess.PIPE:
            our_stdout, stdout = pipes.from_child()
        if stderr == subprocess.PIPE:
            our_stderr, stderr = pipes.from_child()
        elif stderr == subprocess.STDOUT and stdout is not None:
            # Popen would look for a pipe of its own making.
            stderr = stdout
        start = partial(
            subprocess.Popen,
            command,
            stdin=stdin,
            stdout=stdout,
            stderr=stderr,
            **options,
        )
        if at_once:
            with forks.no_fork:
                popen = start()
        else:
            popen = await trio.to_thread.run_sync(start)
        return Process._create(popen, our_stdin, our_stdout, our_stderr)
    except BaseException:
        pipes.close_ours()
        raise
    finally:
        pipes.close_theirs()


async def _posix_deliver_cancel(process: Process) -> None:
    """What :func:`run_process` does to a process whose task is cancelled."""
    try:
        process.terminate()
        await trio.sleep(5)
        import warnings

        warnings.warn(
            RuntimeWarning(
                f"process {process!r} ignored SIGTERM for 5 seconds. (Maybe you"
                " should pass a custom deliver_cancel?) Trying SIGKILL."
            ),
            stacklevel=1,
        )
        process.kill()
    except OSError as exc:
        import warnings

        warnings.warn(
            RuntimeWarning(
                f"tried to kill process {process!r}, but failed with: {exc!r}"
            ),
            stacklevel=1,
        )


async def _windows_deliver_cancel(process: Process) -> None:
    """The same where a process cannot be asked."""
    try:
        process.terminate()
    except OSError as exc:
        import warnings

        warnings.warn(
            RuntimeWarning(f"TerminateProcess on {process!r} failed with: {exc!r}"),
            stacklevel=1,
        )


async def _feed(stream: SendStream, data: bytes | bytearray | memoryview) -> None:
    async with stream:
        try:
            await stream.send_all(data)
        except trio.BrokenResourceError:
            pass  # it need not read all of it


async def _collect(stream: ReceiveStream, chunks: list[bytes | bytearray]) -> None:
    async with stream:
        async for chunk in stream:
            chunks.append(chunk)


def _refuse_pipes(stdin: object, options: Mapping[str, object]) -> None:
    """Pipes to nobody: nothing can get at the Process object."""
    import subprocess

    advice = {
        "stdin": "; use nursery.start or pass the data you want to write directly"
    }
    for name, value in (
        ("stdin", stdin),
        ("stdout", options.get("stdout")),
        ("stderr", options.get("stderr")),
    ):
        if value is subprocess.PIPE:
            raise ValueError(
                f"{name}=subprocess.PIPE is only valid with nursery.start, since"
                f" that's the only way to access the pipe{advice.get(name, '')}"
            )


def _capture(name: str, wanted: bool, options: dict[str, object]) -> None:
    if wanted:
        import subprocess

        if name in options:
            raise ValueError(f"can't specify both {name} and capture_{name}")
        options[name] = subprocess.PIPE


# As for _open_process. Ctrl-C comes while it waits, and stops the process.
@enable_ki_protection
async def _run_process(
    command: StrOrBytesPath | Sequence[StrOrBytesPath],
    *,
    stdin: bytes | bytearray | memoryview | int | HasFileno | None = b"",
    capture_stdout: bool = False,
    capture_stderr: bool = False,
    check: bool = True,
    deliver_cancel: Callable[[Process], Awaitable[object]] | None = None,
    task_status: TaskStatus[Process] = trio.TASK_STATUS_IGNORED,
    **options: object,
) -> subprocess.CompletedProcess[bytes]:
    """Run a child process and wait until it has exited.

    However this ends, the process has exited too. ``await run_process(...)``
    is for commands that do their work and end. To talk to a process while it
    runs, give ``run_process`` to ``nursery.start``, which returns its
    :class:`Process`; cancel the nursery to stop it.

    Args:
      command: the program and its arguments, a sequence of strings or paths;
          with ``shell=True``, one string for the shell.
      stdin: what the process reads: bytes, by default none; or where from, as
          for :func:`trio_c.lowlevel.open_process`. None: from where we read.
      capture_stdout: collect the output, for the result.
      capture_stderr: collect the error output, for the result.
      check: raise an error if the exit status is not zero.
      deliver_cancel: ``await deliver_cancel(process)`` is to stop the process
          when this is cancelled, or fails. It is itself cancelled once the
          process has exited. Without it: ``SIGTERM``, and if that did not do
          within 5 seconds, ``SIGKILL``.
      task_status: of ``nursery.start``. Not to be given by hand.
      options: ``stdout``, ``stderr`` and the rest, as for
          :func:`trio_c.lowlevel.open_process`. ``subprocess.PIPE`` is for
          ``nursery.start`` only.

    Returns:
      subprocess.CompletedProcess: with ``args``, ``returncode``, and
      ``stdout`` and ``stderr``, bytes, if they were captured.

    Raises:
      subprocess.CalledProcessError: the exit status is not zero. It has
          what the result would have.
      UnicodeError: `stdin` is a string.
      TypeError, ValueError: options do not go together.
      OSError: the program could not be started.

    Errors while the process runs, of `deliver_cancel` for one, come in an
    exception group.
    """
    import subprocess

    if isinstance(stdin, str):
        raise UnicodeError("process stdin must be bytes, not str")
    if task_status is trio.TASK_STATUS_IGNORED:
        _refuse_pipes(stdin, options)
    has_input = isinstance(stdin, (bytes, bytearray, memoryview))
    options["stdin"] = subprocess.PIPE if has_input else stdin
    _capture("stdout", capture_stdout, options)
    _capture("stderr", capture_stderr, options)
    if deliver_cancel is None:
        if os.name == "nt":
            deliver_cancel = _windows_deliver_cancel
        else:
            deliver_cancel = _posix_deliver_cancel
    output: list[bytes | bytearray] = []
    errors: list[bytes | bytearray] = []

    process = await _open_process(command, **options)  # type: ignore[arg-type]
    async with trio.open_nursery() as nursery:
        try:
            # The streams belong to the tasks here, and to nobody else.
            if has_input:
                nursery.start_soon(_feed, process.stdin, stdin)  # type: ignore[arg-type]
                process.stdin = process.stdio = None
            if capture_stdout:
                nursery.start_soon(_collect, process.stdout, output)  # type: ignore[arg-type]
                process.stdout = process.stdio = None
            if capture_stderr:
                nursery.start_soon(_collect, process.stderr, errors)  # type: ignore[arg-type]
                process.stderr = None
            task_status.started(process)
            await process.wait()
        except BaseException:
            with trio.CancelScope(shield=True):
                await _stop(process, deliver_cancel, nursery)
            raise

    result = (
        b"".join(output) if capture_stdout else None,
        b"".join(errors) if capture_stderr else None,
    )
    status = process.returncode
    assert status is not None
    if check and status:
        raise subprocess.CalledProcessError(status, process.args, *result)
    return subprocess.CompletedProcess(process.args, status, *result)


async def _stop(
    process: Process,
    deliver_cancel: Callable[[Process], Awaitable[object]],
    nursery: trio.Nursery,
) -> None:
    """Have `deliver_cancel` stop the process, and wait until it has exited."""
    delivery = trio.CancelScope(shield=True)

    async def deliver() -> None:
        with delivery:
            await deliver_cancel(process)

    nursery.start_soon(deliver)
    await process.wait()
    delivery.cancel(reason="trio internal implementation detail")


if TYPE_CHECKING:

    class GeneralProcessArgs(TypedDict, total=False):
        """Options of a process on any system."""

        stdout: int | HasFileno | None
        stderr: int | HasFileno | None
        close_fds: bool
        cwd: StrOrBytesPath | None
        env: Mapping[str, str] | None
        executable: StrOrBytesPath | None

    class UnixProcessArgs(GeneralProcessArgs, total=False):
        """Options of a process on UNIX."""

        preexec_fn: Callable[[], object] | None
        restore_signals: bool
        start_new_session: bool
        pass_fds: Sequence[int]
        group: str | int | None
        extra_groups: Iterable[str | int] | None
        user: str | int | None
        umask: int
        pipesize: int
        process_group: int | None

    class UnixRunProcessArgs(UnixProcessArgs, total=False):
        """Those, and the ones of ``run_process``."""

        task_status: TaskStatus[Process]
        capture_stdout: bool
        capture_stderr: bool
        check: bool
        deliver_cancel: Callable[[Process], Awaitable[None]] | None

    @overload  # type: ignore[no-overload-impl]
    async def open_process(
        command: StrOrBytesPath,
        *,
        stdin: int | HasFileno | None = None,
        shell: Literal[True],
        **kwargs: Unpack[UnixProcessArgs],
    ) -> Process: ...
    @overload
    async def open_process(
        command: Sequence[StrOrBytesPath],
        *,
        stdin: int | HasFileno | None = None,
        shell: bool = False,
        **kwargs: Unpack[UnixProcessArgs],
    ) -> Process: ...
    @overload  # type: ignore[no-overload-impl]
    async def run_process(
        command: StrOrBytesPath,
        *,
        stdin: bytes | bytearray | memoryview | int | HasFileno | None = b"",
        shell: Literal[True],
        **kwargs: Unpack[UnixRunProcessArgs],
    ) -> subprocess.CompletedProcess[bytes]: ...
    @overload
    async def run_process(
        command: Sequence[StrOrBytesPath],
        *,
        stdin: bytes | bytearray | memoryview | int | HasFileno | None = b"",
        shell: bool = False,
        **kwargs: Unpack[UnixRunProcessArgs],
    ) -> subprocess.CompletedProcess[bytes]: ...
else:
    # Each calls the other by its private name, which tests replace.
    open_process = _open_process
    run_process = _run_process
    for _function in (open_process, run_process):
        _function.__name__ = _function.__qualname__ = _function.__name__[1:]
    del _function
