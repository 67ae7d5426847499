"""The native-path rule, operation by operation (the table is in _counts.py).

On a hot path the library runs no Python code, and makes no system call that is
not the work itself. (That nothing stays behind is in test_memory.py.) What does
not hold yet stands in one of the tables below, each entry with its reason; an
entry that is not needed any more is a failure, too.
"""

from __future__ import annotations

import collections
import contextlib
import os
import re
import shutil
import socket
import subprocess
import sys
from pathlib import Path

import pytest
from _counts import BEGIN, END, OPERATIONS, ROUNDS, SOURCE, Operation, perform
from _sockets import POLLER

import trio_c

TYPE_CHECKING = False
if TYPE_CHECKING:
    from types import FrameType

COUNTS = Path(__file__).with_name("_counts.py")

# Files with code that is not the library's.
OURS = {SOURCE, __file__, str(COUNTS)}

each = pytest.mark.parametrize("name", OPERATIONS)

# --- known violations: these tables only shrink ----------------------------

_STDLIB_SOCKET = "the standard library's socket, which is wrapped, is made in Python"
_THREAD_NAME = "threading.Thread.name, which says what a worker is doing, is Python"

# Of which modules' classes (or functions) methods run, and why.
KNOWN_FRAMES = {
    # This includes closing it, which is no hot path.
    "accept": ({"socket.socket"}, _STDLIB_SOCKET),
    "SocketListener.accept": ({"socket.socket"}, _STDLIB_SOCKET),
    "to_thread.run_sync": ({"threading.Thread"}, _THREAD_NAME),
    "to_thread.run_sync, abandon": ({"threading.Thread"}, _THREAD_NAME),
    "from_thread.run_sync": ({"threading.Thread"}, _THREAD_NAME),
    "from_thread.run": ({"threading.Thread"}, _THREAD_NAME),
}

_LOOKS_AT_FD = "the standard library looks at a descriptor that it makes a socket of"

# Calls in a round beyond the work.
KNOWN_CALLS = {
    "accept": ({"getsockname": 1}, _LOOKS_AT_FD),
    "SocketListener.accept": ({"getsockname": 1}, _LOOKS_AT_FD),
}


def test_known_violations_are_of_operations() -> None:
    assert {*KNOWN_FRAMES, *KNOWN_CALLS} <= set(OPERATIONS)


# --- Python frames ---------------------------------------------------------


def frames_of(operation: Operation) -> collections.Counter[str]:
    """How often Python code was entered, other than the operation's own."""
    counter: collections.Counter[str] = collections.Counter()
    counting = False

    def hook(frame: FrameType, event: str, _: object) -> None:
        code = frame.f_code
        if counting and event == "call" and code.co_filename not in OURS:
            what = code.co_qualname.partition(".")[0]
            counter[f"{frame.f_globals['__name__']}.{what}"] += 1

    def begin() -> None:
        nonlocal counting
        counting = True

    def end() -> None:
        nonlocal counting
        counting = False

    before = sys.getprofile()
    sys.setprofile(hook)
    try:
        perform(operation, begin, end)
    finally:
        sys.setprofile(before)
        if operation.threads:
            trio_c.run(trio_c.to_thread.run_sync, sys.setprofile, None)
    return counter


@each
def test_no_python_frame(name: str) -> None:
    frames = frames_of(OPERATIONS[name])
    known, reason = KNOWN_FRAMES.get(name, (set(), ""))
    assert set(frames) == known, f"{frames}, known: {reason}"


def test_frames_are_counted() -> None:
    in_package = Operation("", "trio._util.fixup_module_metadata('', {})")
    assert frames_of(in_package) == {"trio_c._util.fixup_module_metadata": ROUNDS}


def test_frames_of_workers_are_counted() -> None:
    frames = frames_of(
        Operation(
            "",
            "await trio.to_thread.run_sync(trio._util.fixup_module_metadata, '', {})",
            OPERATIONS["to_thread.run_sync"].setup,
            threads=True,
        )
    )
    assert frames["trio_c._util.fixup_module_metadata"] == ROUNDS


# --- system calls ----------------------------------------------------------

WAITS = {"epoll_wait", "epoll_pwait", "epoll_pwait2"}
# Now and then an allocator needs more from the kernel, or less.
MEMORY = {"brk", "madvise", "mmap", "mremap", "munmap"}
# How threads hand the interpreter's lock to each other; and prctl() names them.
BETWEEN_THREADS = {"clock_nanosleep", "futex", "look", "prctl", "sched_yield"}
# Before and after the rounds, other tasks may be at different points.
SLACK = ROUNDS // 50

# A busy loop does not ask for I/O again before. (Less some rounding.)
POLL_INTERVAL = 50e-6 - 3e-6


class Section:
    """The system calls between two marks.

    A busy loop looks for I/O when the interval is over, which under strace,
    where every call is slow, it often is. Looking then, and in vain, is not
    counted; looking sooner is ("look"), and finding something, and waiting.
    """

    def __init__(self) -> None:
        self.calls: collections.Counter[str] = collections.Counter()
        self._waited_until = 0.0

    def add(self, call: str, start: float, rest: str) -> None:
        if call not in WAITS:
            self.calls[call] += 1
            return
        # The last argument that all of them have, the result, the duration.
        done = re.search(r"\], \d+, (-?\d+)[,)].* = (-?\d+)\b.* <([\d.]+)>$", rest)
        if done:
            timeout, result, took = done.groups()
            since, self._waited_until = self._waited_until, start + float(took)
            if timeout == result == "0":
                self.calls["look"] += start - since < POLL_INTERVAL
                return
        self.calls["wait"] += 1


def read_trace(path: Path) -> dict[int, Section]:
    sections = {}
    section = None
    for line in path.read_text(errors="replace").splitlines():
        parts = re.match(r"\d+ +([\d.]+) (\w+)\((.*)", line)
        if parts is None:  # a call goes on, a thread is gone, a signal came
            continue
        start, call, rest = parts.groups()
        if mark := re.search(r'"/begin/(\d+)"', rest):
            section = sections[int(mark[1])] = Section()
        elif '"/end"' in rest:
            section = None
        elif section is not None:
            section.add(call, float(start), rest)
    return sections


@pytest.fixture(scope="module")
def strace(tmp_path_factory: pytest.TempPathFactory) -> tuple[list[str], Path]:
    """The command line to put before a program's, and where the trace goes."""
    if POLLER != "epoll":
        pytest.skip("these are the counts of epoll")
    if "asan" in os.environ.get("LD_PRELOAD", ""):
        pytest.skip("the sanitizers make system calls of their own")
    trace = tmp_path_factory.mktemp("strace") / "trace"
    command = ["strace", "-f", "-qq", "-ttt", "-T", "-o", str(trace)]
    if shutil.which("strace") is None:
        pytest.skip("strace is not installed (apt-get install strace)")
    trial = subprocess.run([*command, "true"], capture_output=True, text=True)
    if trial.returncode != 0:
        pytest.skip(f"strace may not trace here: {trial.stderr}")
    return command, trace


@pytest.fixture(scope="module")
def sections(strace: tuple[list[str], Path]) -> dict[int, Section]:
    command, trace = strace
    subprocess.run(
        [*command, sys.executable, COUNTS, "operations"], check=True, timeout=120
    )
    return read_trace(trace)


@each
def test_system_calls(sections: dict[int, Section], name: str) -> None:
    operation = OPERATIONS[name]
    known, _reason = KNOWN_CALLS.get(name, ({}, ""))
    expected = {**operation.calls, **known}
    calls = sections[list(OPERATIONS).index(name)].calls.copy()
    assert sum(calls.pop(call, 0) for call in MEMORY) <= SLACK
    if operation.threads:
        for call in BETWEEN_THREADS:
            calls.pop(call, None)
    for call in {*calls, *expected}:
        more = calls.get(call, 0) - expected.get(call, 0) * ROUNDS
        # Work that was not done has not been measured.
        least = -sys.maxsize if operation.threads else -SLACK
        most = SLACK if call in expected or call == "look" else 0
        assert least <= more <= most, f"{call}: {calls}"


@pytest.mark.parametrize("kind", ["sockets", "streams"])
@pytest.mark.parametrize("connections", [1, 100])
def test_system_calls_of_an_echo(
    strace: tuple[list[str], Path], kind: str, connections: int
) -> None:
    command, trace = strace
    rounds = 1000 // connections
    messages = rounds * connections

    def send_and_receive(which: list[socket.socket], data: bytes) -> None:
        for client in which:
            client.sendall(data)
        for client in which:
            assert client.recv(100) == data

    with contextlib.ExitStack() as stack:
        server = stack.enter_context(
            subprocess.Popen(
                [*command, sys.executable, COUNTS, kind],
                stdout=subprocess.PIPE,
                text=True,
            )
        )
        stack.callback(server.kill)
        port = int(server.stdout.readline())
        clients = []
        for _ in range(connections):
            client = socket.create_connection(("127.0.0.1", port), 30)
            clients.append(stack.enter_context(client))
            # A socket that has never been waited for is just tried.
            server.stdout.readline()
        send_and_receive(clients, b"." * 64)
        send_and_receive(clients[:1], BEGIN)
        for _ in range(rounds):
            send_and_receive(clients, b"." * 64)
        clients[0].sendall(END)
        assert server.wait(timeout=30) == 0
    calls = read_trace(trace)[0].calls
    for call in (*MEMORY, "look"):
        calls.pop(call, None)
    # The answer to the first mark is counted, and that the second has come.
    waits = calls.pop("wait")
    assert calls == {"recvfrom": messages + 1, "sendto": messages + 1}
    if connections == 1:
        assert waits == messages + 1
    else:
        assert waits <= 0.1 * messages


def test_looking_out_for_long_calls_is_given_up(
    strace: tuple[list[str], Path],
) -> None:
    command, trace = strace
    program = """
import time, trio_c
async def main():
    for _ in range(200):
        await trio_c.to_thread.run_sync(time.sleep, 0.003)
        await trio_c.sleep(0.003)
trio_c.run(main)
"""
    subprocess.run([*command, sys.executable, "-c", program], check=True, timeout=120)
    yields = trace.read_text(errors="replace").count(" sched_yield(")
    # Both sides look out 7 times at least, and once more whenever an answer was
    # there at the first look because somebody was kept from running.
    assert 14 <= yields <= 200
