"""Child processes: what upstream's tests do not reach.

Most children are small programs of the system, which start fast.
"""

from __future__ import annotations

import contextlib
import errno
import gc
import os
import signal
import subprocess
import threading
import time
from functools import partial
from pathlib import Path

import pytest
from _processes import run_code
from _sockets import POLLER

import trio_c
from trio_c import _subprocess, run_process
from trio_c._native import BACKEND
from trio_c._subprocess_platform import waitid
from trio_c.lowlevel import open_process
from trio_c.testing import trio_test, wait_all_tasks_blocked

SLEEP = ["sleep", "1000"]
CAT = ["cat"]
SHELL = ["sh", "-c"]


@pytest.fixture(autouse=True)
def standard_handler():
    """Also where SIGINT is ignored, as in background jobs."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


@pytest.fixture
def no_pidfd(monkeypatch):
    monkeypatch.setattr(_subprocess, "can_try_pidfd_open", False)


@pytest.fixture
def no_threads(monkeypatch):
    def refuse(*args, **kwargs):
        raise AssertionError("a thread is to be used")

    monkeypatch.setattr(trio_c.to_thread, "run_sync", refuse)


@pytest.fixture
def autojump_clock():
    return trio_c.testing.MockClock(autojump_threshold=0)


def descriptors():
    return sorted(os.listdir("/proc/self/fd"))


def children():
    """Processes started from here that nobody has waited for."""
    found = set()
    for stat in Path("/proc").glob("[0-9]*/stat"):
        with contextlib.suppress(OSError):  # gone meanwhile
            fields = stat.read_text().rpartition(")")[2].split()
            if int(fields[1]) == os.getpid():
                found.add(stat.parent.name)
    return found


@contextlib.contextmanager
def no_leak():
    """Neither descriptors nor children are left behind."""
    before = descriptors(), children()
    yield
    assert (descriptors(), children()) == before


@contextlib.asynccontextmanager
async def killed_in_the_end(process):
    try:
        yield process
    finally:
        process.kill()
        await process.wait()


def let_threads_finish():
    """Abandoned calls end at any time; debug builds count their objects."""
    count = getattr(trio_c._native, "live_objects", dict)
    while count().get("ThreadJobType"):
        time.sleep(0.001)
        gc.collect()


# --- Process


@trio_test
async def test_process_is_an_ordinary_object():
    with pytest.raises(TypeError, match=r"Process has no public constructor$"):
        trio_c.Process(None, None, None, None)
    with pytest.raises(TypeError, match="does not support subclassing"):
        type("Sub", (trio_c.Process,), {})
    assert trio_c.lowlevel.open_process.__name__ == "open_process"
    assert trio_c.run_process.__qualname__ == "run_process"
    async with killed_in_the_end(await open_process(SLEEP)) as process:
        assert type(process) is trio_c.Process
        assert process.args is SLEEP
        assert process.pid == process._proc.pid
        assert process.stdin is process.stdout is process.stderr is None
        assert process.stdio is None
        assert (process.universal_newlines, process.encoding, process.errors) == (
            False,
            None,
            None,
        )
        process.anything = 1
        assert repr(process) == (
            f"<trio.Process {SLEEP!r}: running with PID {process.pid}>"
        )
    assert repr(process) == f"<trio.Process {SLEEP!r}: exited with signal 9>"
    process.kill()  # nothing to be done any more
    process.terminate()
    process.send_signal(signal.SIGHUP)
    assert process.poll() == process.returncode == -9


@trio_test
async def test_stdio_is_there_for_both_pipes_only():
    pipe = subprocess.PIPE
    async with killed_in_the_end(
        await open_process(CAT, stdin=pipe, stdout=pipe, stderr=pipe)
    ) as process:
        assert process.stdio.send_stream is process.stdin
        assert process.stdio.receive_stream is process.stdout
        await process.stdio.send_all(b"x")
        assert await process.stdio.receive_some() == b"x"
        for stream in (process.stdio, process.stderr):
            await stream.aclose()
    for one in ("stdin", "stdout"):
        with open(os.devnull, "r+b") as null:
            other = {"stdin": "stdout", "stdout": "stdin"}[one]
            process = await open_process(CAT, **{one: pipe, other: null})
        async with killed_in_the_end(process):
            assert process.stdio is None
            await getattr(process, one).aclose()


@trio_test
async def test_wait_is_a_checkpoint_always():
    async with killed_in_the_end(await open_process(["true"])) as process:
        with trio_c.CancelScope() as scope:
            scope.cancel()
            await process.wait()
        assert scope.cancelled_caught
        assert await process.wait() == 0
        with trio_c.testing.assert_checkpoints():
            assert await process.wait() == 0


@trio_test
async def test_status_can_be_asked_for_anywhere():
    process = await open_process(SLEEP)
    process.kill()
    process._proc.wait()
    # In a thread; nobody waits in the run.
    thread = threading.Thread(target=lambda: seen.append(process.returncode))
    seen = []
    thread.start()
    thread.join()
    assert seen == [-9]
    assert process._pidfd is None


def test_status_can_be_asked_for_after_the_run():
    with no_leak():
        process = trio_c.run(open_process, SLEEP)
        assert process.returncode is None
        process.kill()
        process._proc.wait()
        assert "exited with signal 9" in repr(process)
        assert process._pidfd is None


@trio_test
async def test_status_asked_for_in_a_thread_while_a_task_waits():
    process = await open_process(SLEEP)
    async with trio_c.open_nursery() as nursery:
        nursery.start_soon(process.wait)
        await wait_all_tasks_blocked()
        process.kill()
        process._proc.wait()
        thread = threading.Thread(target=process.poll)
        thread.start()
        thread.join()
    assert process._pidfd is None


# --- no thread is needed


@trio_test
async def test_no_thread_with_a_pidfd(no_threads):
    before = threading.active_count()
    result = await run_process(CAT, stdin=b"some", capture_stdout=True)
    assert result.stdout == b"some"
    processes = [await open_process(SLEEP) for _ in range(30)]
    async with trio_c.open_nursery() as nursery:
        for process in processes:
            nursery.start_soon(process.wait)
        await wait_all_tasks_blocked()
        # Fewer, if one that was kept has had no job for ten seconds.
        assert threading.active_count() <= before
        for process in processes:
            process.kill()
    assert {process.returncode for process in processes} == {-9}


# In 3.12 and later, subprocess warns that forking does not go with threads.
@pytest.mark.filterwarnings("ignore:.*use of fork:DeprecationWarning")
@trio_test
async def test_the_run_goes_on_while_the_child_runs_code_of_the_caller():
    readable, writable = os.pipe()

    async def let_it_go_on():
        await wait_all_tasks_blocked()
        os.write(writable, b"x")

    try:
        async with trio_c.open_nursery() as nursery:
            nursery.start_soon(let_it_go_on)
            await run_process(["true"], preexec_fn=lambda: os.read(readable, 1))
    finally:
        os.close(readable)
        os.close(writable)


def test_other_threads_do_not_fork_while_a_process_starts():
    # What they fork would have the pipe that the loop waits for, and keep it.
    output = run_code(
        """if True:
            import os, signal, subprocess, threading, warnings
            import trio_c

            # About forking beside threads and inside of a run.
            warnings.simplefilter("ignore")
            real, forked = subprocess._fork_exec, threading.Event()

            def fork():
                child = os.fork()
                if not child:
                    signal.alarm(60)
                    # It can start processes itself.
                    trio_c.run(trio_c.run_process, ["echo", "in the child"])
                    os._exit(0)
                forked.set()
                os.waitpid(child, 0)

            def while_starting(*args):
                subprocess._fork_exec = real
                thread.start()
                # Time enough to do it.
                assert not forked.wait(0.3)
                return real(*args)

            async def main():
                subprocess._fork_exec = while_starting
                process = await trio_c.lowlevel.open_process(["true"])
                assert await process.wait() == 0
                await trio_c.to_thread.run_sync(thread.join)
                assert forked.is_set()
                await trio_c.run_process(["echo", "afterwards"])

            signal.alarm(60)
            thread = threading.Thread(target=fork)
            trio_c.run(main)
        """
    )
    assert output == "in the child\nafterwards\n"


@pytest.mark.parametrize("option", ["preexec_fn", "user", "group", "extra_groups"])
@trio_test
async def test_what_may_take_long_is_not_done_in_the_loop(option, monkeypatch):
    where = []

    class Popen(subprocess.Popen):
        def __init__(self, command, **options):
            where.append(threading.current_thread() is threading.main_thread())
            options.pop(option)
            super().__init__(command, **options)

    monkeypatch.setattr(subprocess, "Popen", Popen)
    await run_process(["true"], **{option: None})
    await run_process(["true"], **{option: "something"})
    assert where == [True, False]


@pytest.mark.skipif(BACKEND == "kqueue", reason="a kqueue needs no pidfd")
def test_pidfd_where_the_interpreter_has_none():
    output = run_code(
        """if True:
        import errno, os, threading
        os.__dict__.pop("pidfd_open", None)
        import trio_c
        from trio_c import _subprocess
        from trio_c._subprocess_platform import pidfd

        async def main():
            async with trio_c.open_nursery() as nursery:
                process = await nursery.start(trio_c.run_process, ["cat"])
                print(process._pidfd is not None)
            print(process.returncode, process._pidfd, threading.active_count())

        assert "_syscall" in vars(pidfd) and _subprocess.can_try_pidfd_open
        trio_c.run(main)
        try:
            pidfd.pidfd_open(1 << 30, 0)
        except OSError as exc:
            print(exc.errno in (errno.ESRCH, errno.EINVAL))
        """
    )
    assert output == "True\n0 None 1\nTrue\n"


@pytest.mark.skipif(POLLER == "kqueue", reason="a kqueue needs no thread")
@trio_test
async def test_one_thread_for_a_process_without_a_pidfd(no_pidfd, monkeypatch):
    calls = []

    def wait(pid):
        calls.append(pid)
        os.waitid(os.P_PID, pid, os.WEXITED | os.WNOWAIT)

    monkeypatch.setattr(waitid, "sync_wait_reapable", wait)
    async with killed_in_the_end(await open_process(SLEEP)) as process:
        for _ in range(3):
            async with trio_c.open_nursery() as nursery:
                nursery.start_soon(process.wait)
                nursery.start_soon(process.wait)
                await wait_all_tasks_blocked()
                nursery.cancel_scope.cancel()
        exited = process._wait_for_exit_data
    # Who asks for the status may be faster than the thread.
    await exited.wait()
    assert calls == [process.pid]
    assert process._wait_for_exit_data is None


def test_another_run_waits_without_a_pidfd(no_pidfd):
    async def begin():
        process = await open_process(SLEEP)
        async with trio_c.open_nursery() as nursery:
            nursery.start_soon(process.wait)
            await wait_all_tasks_blocked()
            nursery.cancel_scope.cancel()
        return process

    async def finish(process):
        async with trio_c.open_nursery() as nursery:
            nursery.start_soon(process.wait)
            await wait_all_tasks_blocked()  # hence, it does not block the run
            process.kill()

    process = trio_c.run(begin)
    trio_c.run(finish, process)
    assert process.returncode == -9
    let_threads_finish()


def test_end_of_run_without_a_pidfd(no_pidfd, autojump_clock):
    # The thread that waits for the child is abandoned when the run ends, and
    # whoever still waits must not block the run.
    async def main():
        process = await open_process(SLEEP)

        async def last():
            with trio_c.CancelScope(shield=True) as scope:
                async with trio_c.open_nursery() as nursery:
                    nursery.start_soon(process.wait)
                    await trio_c.sleep(10)
                    record.append(process.returncode)
                    process.kill()
            record.append(scope.cancelled_caught)

        trio_c.lowlevel.spawn_system_task(last)
        await wait_all_tasks_blocked()
        return process

    record = []
    process = trio_c.run(main, clock=autojump_clock)
    assert record == [None, False]
    assert process.returncode == -9
    let_threads_finish()


# --- starting, and failing to


@pytest.mark.parametrize("run", [open_process, run_process])
@pytest.mark.parametrize(
    ("option", "value"),
    [
        ("universal_newlines", True),
        ("text", True),
        ("encoding", "utf-8"),
        ("errors", "strict"),
        ("bufsize", -1),
    ],
)
@trio_test
async def test_text_and_buffers_are_refused(run, option, value):
    with no_leak():
        with pytest.raises(TypeError) as info:
            await run(["true"], **{option: value})
        assert str(info.value) == (
            "trio.Process only supports communicating over unbuffered byte streams;"
            f" the '{option}' option is not supported"
        )
        # As long as it asks for nothing, it is none.
        result = await run(["true"], **{option: type(value)()})
        if run is open_process:
            await result.wait()


@pytest.mark.parametrize("run", [open_process, run_process])
@trio_test
async def test_command_and_shell(run):
    with no_leak():
        for command in ("true", b"true"):
            with pytest.raises(
                TypeError, match=r"^command must be a sequence \(not a string or bytes"
            ):
                await run(command)
        for command in (["true"], Path("true")):
            with pytest.raises(
                TypeError, match=r"^command must be a string or bytes \(not a sequen"
            ):
                await run(command, shell=True)
    result = await run_process("printf %s $((6 * 7))", shell=True, capture_stdout=True)
    assert result.stdout == b"42"
    result = await run_process(Path("/bin/true"))
    assert result.args == Path("/bin/true")


PIPES = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "stderr": subprocess.PIPE}

FAILURES = {
    "no such program": (["/nonexistent/program"], {}, FileNotFoundError),
    "not executable": (["/dev/null"], {}, PermissionError),
    "no such directory": (["true"], {"cwd": "/nonexistent"}, FileNotFoundError),
    "unknown option": (["true"], {"frobnicate": 1}, TypeError),
    "bad environment": (["true"], {"env": {"A": 1}}, TypeError),
    "nothing to run": ([], {}, (IndexError, ValueError, PermissionError)),
    "null byte": (["a\0b"], {}, ValueError),
    "bad descriptor": (["true"], {"pass_fds": ["x"]}, (TypeError, ValueError)),
    "no command": (5, {}, TypeError),
    "in a thread": (["true"], {"user": "no-such-user-here"}, KeyError),
}


@pytest.mark.parametrize("what", FAILURES)
@trio_test
async def test_nothing_is_left_of_what_cannot_start(what):
    command, options, error = FAILURES[what]
    both = {"capture_stdout": True, "capture_stderr": True}
    with no_leak():
        # The errors are kept, and with them all that their frames refer to.
        with pytest.raises(error) as first:
            await open_process(command, **PIPES, **options)
        with pytest.raises(error) as second:
            await run_process(command, **both, **options)
    assert str(first.value) == str(second.value)


@pytest.mark.parametrize("stdin", [3.5, "text", object(), [1]])
@trio_test
async def test_nothing_is_left_of_a_bad_stdin(stdin):
    with no_leak():
        with pytest.raises((UnicodeError, AttributeError, TypeError)):
            await run_process(["true"], stdin=stdin, capture_stdout=True)


@trio_test
async def test_nothing_is_left_when_descriptors_run_out(monkeypatch):
    # Each call that makes or changes descriptors fails in its turn.
    for name in ("pipe", "set_blocking"):
        real = getattr(os, name)
        for nth in range(3):
            countdown = [nth]

            def failing(*args, real=real, countdown=countdown):
                countdown[0] -= 1
                if countdown[0] == -1:
                    raise OSError(errno.EMFILE, os.strerror(errno.EMFILE))
                return real(*args)

            with no_leak():
                with monkeypatch.context() as patch:
                    patch.setattr(os, name, failing)
                    with pytest.raises(OSError, match="Too many open files"):
                        await open_process(CAT, **PIPES)


@trio_test
async def test_no_descriptor_left_for_a_pidfd(monkeypatch):
    def failing(pid, flags):
        raise OSError(errno.EMFILE, os.strerror(errno.EMFILE))

    monkeypatch.setattr(_subprocess, "pidfd_open", failing)
    with no_leak():
        result = await run_process(CAT, stdin=b"all the same", capture_stdout=True)
        assert result.stdout == b"all the same"


@trio_test
async def test_cancelled_before_it_starts(monkeypatch):
    def start(*args, **kwargs):
        raise AssertionError("started")

    monkeypatch.setattr(subprocess, "Popen", start)
    for call in (
        partial(open_process, CAT, **PIPES),
        partial(open_process, CAT, **PIPES, user="nobody"),
        partial(run_process, CAT, capture_stdout=True),
    ):
        with no_leak(), trio_c.CancelScope() as scope:
            scope.cancel()
            await call()
        assert scope.cancelled_caught


def test_outside_of_a_run():
    with no_leak():
        for call in (open_process, run_process):
            with pytest.raises(RuntimeError, match="must be called from async con"):
                call(CAT).send(None)


# --- Ctrl-C


@pytest.fixture
def interrupted_start(monkeypatch):
    """Ctrl-C comes while a process is being started."""

    class Popen(subprocess.Popen):
        def __init__(self, *args, **kwargs):
            signal.raise_signal(signal.SIGINT)
            super().__init__(*args, **kwargs)
            signal.raise_signal(signal.SIGINT)
            started.append(self)

    started = []
    monkeypatch.setattr(subprocess, "Popen", Popen)
    return started


def test_ctrl_c_while_a_process_starts(interrupted_start):
    async def main():
        process = await open_process(SLEEP, stdout=subprocess.PIPE)
        # Nothing was lost: this is where it comes.
        with pytest.raises(KeyboardInterrupt):
            await trio_c.lowlevel.checkpoint()
        process.kill()
        await process.wait()
        await process.stdout.aclose()
        return process

    with no_leak():
        process = trio_c.run(main)
    assert interrupted_start == [process._proc]


def test_ctrl_c_while_run_process_starts(interrupted_start):
    with no_leak():
        with pytest.raises(BaseExceptionGroup) as info:
            trio_c.run(partial(run_process, SLEEP, capture_stdout=True))
    assert [type(exc) for exc in info.value.exceptions] == [KeyboardInterrupt]
    assert [popen.returncode for popen in interrupted_start] == [-signal.SIGTERM]


# --- run_process


@trio_test
async def test_what_stdin_can_be(tmp_path):
    async def read(stdin):
        result = await run_process(CAT, stdin=stdin, capture_stdout=True)
        return result.stdout

    assert await read(b"bytes") == b"bytes"
    assert await read(bytearray(b"array")) == b"array"
    assert await read(memoryview(b"a view")[2:]) == b"view"
    assert await read(b"") == b""
    assert await read(subprocess.DEVNULL) == b""
    (tmp_path / "file").write_bytes(b"a file")
    with open(tmp_path / "file", "rb") as file:
        assert await read(file) == b"a file"
        file.seek(2)
        assert await read(file.fileno()) == b"file"


@trio_test
async def test_much_in_all_directions():
    data = bytes(range(256)) * 4000
    command = [*SHELL, "tee /dev/stderr"]
    result = await run_process(
        command, stdin=data, capture_stdout=True, capture_stderr=True
    )
    assert result.stdout == data
    assert result.stderr == data
    assert type(result.stdout) is bytes


@trio_test
async def test_result_and_error():
    command = [*SHELL, "echo out; echo error >&2; exit 3"]
    quiet = {"stdout": subprocess.DEVNULL}
    result = await run_process(command, check=False, capture_stderr=True, **quiet)
    assert isinstance(result, subprocess.CompletedProcess)
    assert (result.args, result.returncode) == (command, 3)
    assert (result.stdout, result.stderr) == (None, b"error\n")
    with pytest.raises(subprocess.CalledProcessError) as info:
        await run_process(command, capture_stdout=True, stderr=subprocess.STDOUT)
    error = info.value
    assert (error.cmd, error.returncode) == (command, 3)
    assert (error.stdout, error.output, error.stderr) == (
        b"out\nerror\n",
        b"out\nerror\n",
        None,
    )
    with pytest.raises(subprocess.CalledProcessError, match="died with.*SIGTERM"):
        await run_process([*SHELL, "kill $$"])


@trio_test
async def test_under_nursery_start():
    async with trio_c.open_nursery() as nursery:
        process = await nursery.start(
            partial(run_process, CAT, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
        )
        await process.stdio.send_all(b"ping")
        assert await process.stdio.receive_some() == b"ping"
        await process.stdin.aclose()
        assert await process.wait() == 0
        await process.stdout.aclose()
        # What run_process reads and writes itself, nobody else gets to.
        process = await nursery.start(
            partial(
                run_process,
                CAT,
                stdin=b"",
                stdout=subprocess.PIPE,
                capture_stderr=True,
            )
        )
        assert process.stdin is process.stderr is process.stdio is None
        await process.stdout.aclose()


@contextlib.asynccontextmanager
async def cancelled_once_ready(script, **options):
    """Runs `script` with run_process, until it says that it is ready."""
    command = [*SHELL, script]
    async with trio_c.open_nursery() as nursery:
        process = await nursery.start(
            partial(run_process, command, stdout=subprocess.PIPE, **options)
        )
        async with process.stdout:
            assert await process.stdout.receive_some() == b"ready\n"
        yield process
        nursery.cancel_scope.cancel()


@trio_test
async def test_cancelled_process_may_end_in_good_order():
    with no_leak():
        async with cancelled_once_ready(
            "trap 'exit 5' TERM; echo ready; while :; do sleep 0.01; done"
        ) as process:
            pass
    assert process.returncode == 5


@trio_test
async def test_cancelled_process_that_does_not_care(autojump_clock):
    with no_leak():
        begin = trio_c.current_time()
        with pytest.warns(RuntimeWarning) as warned:
            async with cancelled_once_ready(
                "trap '' TERM; echo ready; exec sleep 1000"
            ) as process:
                pass
        assert trio_c.current_time() - begin == 5
    assert process.returncode == -signal.SIGKILL
    assert [str(warning.message) for warning in warned] == [
        f"process <trio.Process {process.args!r}: running with PID {process.pid}>"
        " ignored SIGTERM for 5 seconds. (Maybe you should pass a custom"
        " deliver_cancel?) Trying SIGKILL."
    ]


@trio_test
async def test_deliver_cancel_ends_with_the_process():
    record = []

    async def deliver(process):
        record.append((process.pid, process.returncode))
        process.kill()
        try:
            await trio_c.sleep_forever()
        except trio_c.Cancelled as exc:
            record.append((process.returncode, exc.reason))
            raise

    with no_leak():
        async with trio_c.open_nursery() as nursery:
            process = await nursery.start(
                partial(run_process, SLEEP, deliver_cancel=deliver)
            )
            nursery.cancel_scope.cancel()
    assert record == [
        (process.pid, None),
        (-9, "trio internal implementation detail"),
    ]


@trio_test
async def test_failing_deliver_cancel():
    async def deliver(process):
        process.kill()
        raise KeyError("deliver")

    with no_leak():
        with pytest.raises(ExceptionGroup) as info:
            async with trio_c.open_nursery() as nursery:
                await nursery.start(partial(run_process, SLEEP, deliver_cancel=deliver))
                nursery.cancel_scope.cancel()
    (inner,) = info.value.exceptions
    (error,) = inner.exceptions
    assert repr(error) == "KeyError('deliver')"


@trio_test
async def test_a_failing_pipe_stops_the_process(monkeypatch):
    # Whatever goes wrong while it runs, it does not run on.
    async def failing(stream, data):
        async with stream:
            raise ValueError("on purpose")

    monkeypatch.setattr(_subprocess, "_feed", failing)
    with no_leak():
        with pytest.raises(ExceptionGroup) as info:
            await run_process(SLEEP, capture_stdout=True)
    assert [repr(exc) for exc in info.value.exceptions] == ["ValueError('on purpose')"]


@trio_test
async def test_a_child_that_does_not_read():
    with no_leak():
        result = await run_process(["true"], stdin=b"x" * 1_000_000)
    assert result.returncode == 0


# Of a process that nobody has a handle of.
@pytest.mark.filterwarnings("ignore:subprocess:ResourceWarning")
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
@trio_test
async def test_a_pipe_that_cannot_be_closed_leaves_the_others_closed(monkeypatch):
    close = os.close
    failed = []

    def close_badly(fd):
        close(fd)
        if not failed:
            failed.append(fd)
            raise OSError(errno.EIO, "injected")

    with no_leak():
        monkeypatch.setattr(os, "close", close_badly)
        with pytest.raises(OSError, match="injected"):
            await open_process(["true"], stdin=subprocess.PIPE, stdout=subprocess.PIPE)
        assert failed
        gc.collect()  # which has waited for the process, if it was over already
        with contextlib.suppress(ChildProcessError):
            os.wait()
        subprocess._cleanup()
