"""The public names: which there are, and that they cost nothing until used."""

from __future__ import annotations

import ast
import importlib
import importlib.util
import sys
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace

import pytest
from _processes import run_code

from trio_c._native import BACKEND

# What Trio 0.34 has on Linux.
UPSTREAM = {
    "trio_c": """
        BrokenResourceError BusyResourceError CancelScope Cancelled CapacityLimiter
        CapacityLimiterStatistics ClosedResourceError Condition ConditionStatistics
        DTLSChannel DTLSChannelStatistics DTLSEndpoint EndOfChannel Event
        EventStatistics Lock LockStatistics MemoryChannelStatistics
        MemoryReceiveChannel MemorySendChannel NeedHandshakeError Nursery Path
        PosixPath Process RunFinishedError SSLListener SSLStream Semaphore
        SocketListener SocketStream StapledStream StrictFIFOLock TASK_STATUS_IGNORED
        TaskStatus TooSlowError TrioDeprecationWarning TrioInternalError WindowsPath
        WouldBlock abc aclose_forcefully as_safe_channel current_effective_deadline
        current_time fail_after fail_at from_thread lowlevel move_on_after
        move_on_at open_file open_memory_channel open_nursery open_signal_receiver
        open_ssl_over_tcp_listeners open_ssl_over_tcp_stream open_tcp_listeners
        open_tcp_stream open_unix_socket run run_process serve_listeners
        serve_ssl_over_tcp serve_tcp sleep sleep_forever sleep_until socket testing
        to_thread wrap_file
        """,
    "trio_c.abc": """
        AsyncResource Channel Clock HalfCloseableStream HostnameResolver Instrument
        Listener ReceiveChannel ReceiveStream SendChannel SendStream SocketFactory
        Stream
        """,
    "trio_c.from_thread": "check_cancelled run run_sync",
    "trio_c.lowlevel": """
        Abort FdStream ParkingLot ParkingLotStatistics RaiseCancelT RunStatistics
        RunVar RunVarToken Task TrioToken UnboundedQueue UnboundedQueueStatistics
        add_instrument add_parking_lot_breaker cancel_shielded_checkpoint checkpoint
        checkpoint_if_cancelled current_clock current_root_task current_statistics
        current_task current_trio_token currently_ki_protected disable_ki_protection
        enable_ki_protection in_trio_run in_trio_task notify_closing open_process
        permanently_detach_coroutine_object reattach_detached_coroutine_object
        remove_instrument remove_parking_lot_breaker reschedule spawn_system_task
        start_guest_run start_thread_soon temporarily_detach_coroutine_object
        wait_readable wait_task_rescheduled wait_writable
        """,
    "trio_c.socket": """
        SocketType from_stdlib_socket fromfd gaierror getaddrinfo gethostname
        getnameinfo getprotobyname herror htonl htons if_indextoname if_nameindex
        if_nametoindex inet_aton inet_ntoa inet_ntop inet_pton ntohs
        set_custom_hostname_resolver set_custom_socket_factory sethostname socket
        socketpair
        """,
    "trio_c.testing": """
        MemoryReceiveStream MemorySendStream MockClock Sequencer active_thread_count
        assert_checkpoints assert_no_checkpoints check_half_closeable_stream
        check_one_way_stream check_two_way_stream lockstep_stream_one_way_pair
        lockstep_stream_pair memory_stream_one_way_pair memory_stream_pair
        memory_stream_pump open_stream_to_socket_listener trio_test
        wait_all_tasks_blocked wait_all_threads_completed
        """,
    "trio_c.to_thread": "current_default_thread_limiter run_sync",
}

# What it has on macOS and the BSDs.
if BACKEND == "kqueue":
    UPSTREAM["trio_c.lowlevel"] += "current_kqueue monitor_kevent wait_kevent"

# What it has on Windows, and what not.
if BACKEND == "iocp":
    UPSTREAM["trio_c.lowlevel"] = UPSTREAM["trio_c.lowlevel"].replace("FdStream", "")
    UPSTREAM["trio_c.lowlevel"] += """
        WaitForSingleObject current_iocp monitor_completion_key readinto_overlapped
        register_with_iocp wait_overlapped write_overlapped
        """
    UPSTREAM["trio_c.socket"] = UPSTREAM["trio_c.socket"].replace("sethostname", "")
    UPSTREAM["trio_c.socket"] += "fromshare"

# What it has beyond that.
OURS = {"trio_c": {"install"}}


@pytest.mark.parametrize("name", UPSTREAM)
def test_public_names(name: str) -> None:
    module = importlib.import_module(name)
    expected = {*UPSTREAM[name].split()}
    for attribute in expected:
        getattr(module, attribute)
    public = {n for n in dir(module) if not n.startswith("_") and n != "annotations"}
    if name == "trio_c.socket":
        public = {n for n in public if not n.isupper()}  # constants
    assert public == expected | OURS.get(name, set())


@pytest.mark.parametrize("name", ["trio_c", "trio_c.lowlevel"])
def test_star_import(name: str) -> None:
    namespace: dict[str, object] = {}
    exec(f"from {name} import *", namespace)
    module = importlib.import_module(name)
    names = {n for n in namespace if not n.startswith("__")}
    # A submodule that upstream does not import by itself.
    assert names == {*UPSTREAM[name].split()} - {"testing"}
    for attribute in names:
        assert namespace[attribute] is getattr(module, attribute)


def test_a_plain_import_binds_the_submodules() -> None:
    run_code(
        """
import sys
import trio_c
for name in ("abc", "from_thread", "lowlevel", "socket", "testing", "to_thread",
             "_util", "_threads", "_channel", "_core"):
    assert getattr(trio_c, name) is sys.modules[f"trio_c.{name}"]
assert trio_c._core._run is sys.modules["trio_c._core._run"]
"""
    )


def test_missing_names() -> None:
    import trio_c

    for name in ("nothing", "_nothing", "__nothing__"):
        with pytest.raises(AttributeError) as caught:
            getattr(trio_c, name)
        assert str(caught.value) == f"module 'trio_c' has no attribute {name!r}"
        assert caught.value.name == name
    with pytest.raises(ImportError, match="cannot import name 'nothing'"):
        from trio_c import nothing  # noqa: F401


def test_a_broken_submodule_is_not_taken_for_a_missing_one(tmp_path: Path) -> None:
    (tmp_path / "_broken.py").write_text("import no_such_module_anywhere")
    output = run_code(
        f"""
import trio_c
trio_c.__path__.append({str(tmp_path)!r})
try:
    trio_c._broken
except ModuleNotFoundError as exc:
    print(exc.name)
"""
    )
    assert output == "no_such_module_anywhere\n"


def test_first_use_binds_once() -> None:
    run_code(
        """
import trio_c
assert "sleep" not in vars(trio_c) and "sleep" in dir(trio_c)
first = trio_c.sleep
assert vars(trio_c)["sleep"] is first is trio_c._native.sleep
# What the program has put there is not replaced by that.
trio_c.Event = "mine"
trio_c.Lock
assert trio_c.Event == "mine"
"""
    )
    # Nor if it comes first of all.
    run_code(
        """
import trio_c
trio_c.Event = "mine"
trio_c.Lock, trio_c.Condition
assert trio_c.Event == "mine"
"""
    )


def test_the_version() -> None:
    import trio_c

    assert trio_c.__version__ == "0.34.0.1"
    assert sys.modules["trio_c"] is trio_c


@pytest.mark.parametrize("name", ["trio_c", "trio_c._core"])
def test_type_checkers_are_told_the_same(name: str) -> None:
    module = importlib.import_module(name)
    told: dict[str, object] = {}
    # What type checkers take a system's backend from.
    platform = {"kqueue": "darwin", "iocp": "win32"}.get(BACKEND, "linux")
    system = {"sys": SimpleNamespace(platform=platform)}

    def chosen(lines: list[ast.stmt]) -> Iterator[ast.stmt]:
        for line in lines:
            if isinstance(line, ast.If):
                holds = eval(ast.unparse(line.test), system)
                yield from chosen(line.body if holds else line.orelse)
            elif ast.unparse(line) != "import sys":
                yield line

    for node in ast.parse(Path(module.__file__).read_text()).body:
        if not isinstance(node, ast.If):
            continue
        assert ast.unparse(node.test) == "TYPE_CHECKING"
        lines = chosen(node.body)
        for line in lines:
            assert isinstance(line, ast.ImportFrom)
            source = "." * line.level + (line.module or "")
            source = importlib.util.resolve_name(source, module.__package__)
            for alias in line.names:
                assert alias.asname == alias.name  # else it is not public
                told[alias.name] = getattr(importlib.import_module(source), alias.name)
    assert set(told) ^ set(module.__all__) <= {"testing"}  # public, not for *
    for attribute, value in told.items():
        assert getattr(module, attribute) is value
    assert not hasattr(module, "TYPE_CHECKING")
