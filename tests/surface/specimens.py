"""Objects of all public classes, in the states that users meet them in.

`describe()` makes them, in a run where they need one, and says of each what
can be seen from outside. Only public names are used, of whichever package it
is given. A specimen whose class is missing, or that cannot be made, is missing
from the description.
"""

from __future__ import annotations

import copy
import math
import os
import pickle
import socket as stdlib_socket
import ssl
import sys
import tempfile
import warnings
import weakref
from collections import abc as cabc
from contextlib import AsyncExitStack, contextmanager, suppress
from pathlib import Path

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterator
    from types import ModuleType
    from typing import Any

    Note = Callable[..., None]
    Maker = Callable[[Any, Note], Awaitable[None]]

# What else an instance may be, besides what its class says.
PROTOCOLS = [
    getattr(cabc, name)
    for name in (
        "AsyncIterable AsyncIterator Awaitable Callable Collection Container"
        " Coroutine Hashable Iterable Iterator Mapping Sequence Set Sized"
    ).split()
]
ABCS = """
    AsyncResource Channel Clock HalfCloseableStream HostnameResolver Instrument
    Listener ReceiveChannel ReceiveStream SendChannel SendStream SocketFactory
    Stream
    """.split()


def pickled(obj: object) -> object:
    return pickle.loads(pickle.dumps(obj))


class Describer:
    def __init__(self, trio: ModuleType, own: Callable[[str], str]) -> None:
        self.trio = trio
        self.own = own
        self.found: dict[str, dict[str, object]] = {}

    def note(self, label: str, obj: object, *, copied: bool = True) -> None:
        """Describe `obj` as it is now.

        `copied` is false for what does something when it goes, as a copy of it
        would too.
        """
        facts: dict[str, object] = {
            "type": self.class_name(obj.__class__),
            "repr": self.own(repr(obj)),
            "str": self.own(str(obj)),
            "attributes": self.attributes(obj),
            "any attribute": self.takes_attributes(obj),
            "weak references": isinstance(self.outcome(weakref.ref, obj), weakref.ref),
            "hash": self.hashing(obj),
            "truth": self.outcome(bool, obj),
            "copy": copied and self.copying(obj, copy.deepcopy),
            "pickle": copied and self.copying(obj, pickled),
            "order": not isinstance(self.outcome(lambda: obj < obj), str),
            "is": [p.__name__ for p in PROTOCOLS if isinstance(obj, p)]
            + [n for n in ABCS if isinstance(obj, getattr(self.trio.abc, n))],
        }
        label = f"[{label}]"
        assert label not in self.found, label
        self.found[label] = facts

    def outcome(self, function: Callable[..., object], *args: object) -> object:
        try:
            return function(*args)
        except Exception as exc:
            return self.own(f"{type(exc).__name__}: {exc}")

    def class_name(self, cls: type) -> str:
        name = self.own(f"{cls.__module__}.{cls.__qualname__}")
        return "private" if "._" in name else name

    def type_name(self, obj: object) -> str:
        # Functions and methods of both kinds are called; so are classes.
        return "callable" if callable(obj) else self.class_name(type(obj))

    def attributes(self, obj: object) -> dict[str, str]:
        """Name: type, and whether it can be assigned to."""
        result = {}
        for name in dir(obj):
            if name.startswith("_"):
                continue
            try:
                value = getattr(obj, name)
            except Exception as exc:
                result[name] = self.own(f"{type(exc).__name__}: {exc}")
                continue
            text = self.type_name(value)
            if text != "callable" and self.is_writable(obj, name, value):
                text += ", writable"
            result[name] = text
        return result

    @staticmethod
    def is_writable(obj: object, name: str, value: object) -> bool:
        with suppress(AttributeError, TypeError):
            setattr(obj, name, value)
            return True
        return False

    def takes_attributes(self, obj: object) -> bool:
        try:
            obj.surface_probe = None
            del obj.surface_probe
        except (AttributeError, TypeError):
            return False
        return True

    def hashing(self, obj: object) -> str:
        try:
            hash(obj)
        except TypeError:
            return "impossible"
        return "identity" if type(obj).__hash__ is object.__hash__ else "possible"

    def copying(self, obj: object, how: Callable[[object], object]) -> str:
        try:
            other = how(obj)
        except Exception:
            return "impossible"
        if other is obj:
            return "same"
        equal = "equal" if other == obj else "different"
        kind = "" if type(other) is type(obj) else f", {self.type_name(other)}"
        return equal + kind


MAKERS: list[Maker] = []


def maker(function: Maker) -> Maker:
    """Decorator: what makes some specimens, in a task of a run."""
    MAKERS.append(function)
    return function


@contextmanager
def nothing_missing() -> Iterator[None]:
    """Skip what needs a name that is not there: that is noticed elsewhere."""
    try:
        yield
    except AttributeError as exc:
        if type(exc.obj).__name__ != "module":
            raise


@maker
async def scopes(trio: Any, note: Note) -> None:
    note("CancelScope, new", trio.CancelScope())
    note("CancelScope, new, with deadline", trio.CancelScope(deadline=5))
    note("CancelScope, new, relative", trio.CancelScope(relative_deadline=5))
    note("CancelScope, new, shielded", trio.CancelScope(shield=True))
    scope = trio.CancelScope()
    scope.cancel()
    note("CancelScope, new, cancelled", scope)
    with trio.CancelScope() as scope:
        note("CancelScope, active", scope)
    note("CancelScope, exited", scope)
    with trio.move_on_after(7) as scope:
        note("CancelScope, active, with deadline", scope)
        scope.cancel("why")
        note("CancelScope, active, cancelled", scope)
        await trio.lowlevel.checkpoint()
    note("CancelScope, exited, caught", scope)
    note("fail_after, unentered", trio.fail_after(3))
    for reason in (None, "reason"):
        with trio.CancelScope() as scope:
            scope.cancel(reason)
            try:
                await trio.lowlevel.checkpoint()
            except trio.Cancelled as exc:
                note(f"Cancelled, {reason}", exc)
                raise
    try:
        with trio.fail_after(0):
            await trio.sleep_forever()
    except trio.TooSlowError as exc:
        note("TooSlowError, raised", exc)


@maker
async def nurseries(trio: Any, note: Note) -> None:
    async def child(task_status: Any) -> None:
        note("TaskStatus", task_status)
        task_status.started(1)
        note("TaskStatus, started", task_status)
        await trio.sleep_forever()

    manager = trio.open_nursery()
    note("NurseryManager", manager, copied=False)
    note("Task", trio.lowlevel.current_task())
    note("Task, root", trio.lowlevel.current_root_task())
    async with manager as nursery:
        note("Nursery", nursery, copied=False)
        note("NurseryManager, entered", manager, copied=False)
        await nursery.start(child, name="some name")
        note("Nursery, with a child", nursery, copied=False)
        (task,) = nursery.child_tasks
        note("Task, named", task)
        note("child_tasks", nursery.child_tasks)
        note("child_nurseries", trio.lowlevel.current_task().child_nurseries)
        nursery.cancel_scope.cancel()
    note("Nursery, closed", nursery, copied=False)
    note("Task, finished", task)
    note("TASK_STATUS_IGNORED", trio.TASK_STATUS_IGNORED)


@maker
async def locks(trio: Any, note: Note) -> None:
    for make in (trio.Lock, trio.StrictFIFOLock):
        lock = make()
        note(f"{make.__name__}, new", lock)
        note(f"{make.__name__}.statistics()", lock.statistics())
        async with trio.open_nursery() as nursery:
            async with lock:
                nursery.start_soon(lock.acquire)
                await trio.testing.wait_all_tasks_blocked()
                note(f"{make.__name__}, held", lock)
    condition = trio.Condition()
    note("Condition, new", condition)
    note("Condition.statistics()", condition.statistics())
    async with condition:
        note("Condition, held", condition)
    semaphore = trio.Semaphore(2, max_value=3)
    note("Semaphore, with maximum", semaphore)
    await semaphore.acquire()
    note("Semaphore, acquired", semaphore)
    note("Semaphore, without maximum", trio.Semaphore(0))
    limiter = trio.CapacityLimiter(2)
    note("CapacityLimiter, new", limiter)
    note("CapacityLimiter, without limit", trio.CapacityLimiter(math.inf))
    note("CapacityLimiter.statistics()", limiter.statistics())
    await limiter.acquire_on_behalf_of("somebody")
    note("CapacityLimiter, with a borrower", limiter)
    event = trio.Event()
    note("Event, new", event)
    note("Event.statistics()", event.statistics())
    event.set()
    note("Event, set", event)
    limiter = trio.to_thread.current_default_thread_limiter()
    note("current_default_thread_limiter()", limiter)


@maker
async def channels(trio: Any, note: Note) -> None:
    pair = trio.open_memory_channel(1)
    note("open_memory_channel()", type(pair))
    note("open_memory_channel[]", type(trio.open_memory_channel[int](1)))
    send, receive = pair
    note("MemorySendChannel", send)
    note("MemoryReceiveChannel", receive)
    await send.send(None)
    note("MemorySendChannel, full", send)
    note("MemorySendChannel.statistics()", send.statistics())
    note("MemorySendChannel.clone()", send.clone())
    send.close()
    receive.close()
    note("MemorySendChannel, closed", send)
    note("MemoryReceiveChannel, closed", receive)

    @trio.as_safe_channel
    async def numbers() -> Any:
        yield 1

    manager = numbers()
    note("as_safe_channel", manager)
    async with manager as channel:
        note("as_safe_channel, entered", channel)


@maker
async def lowlevel(trio: Any, note: Note) -> None:
    await trio.testing.wait_all_tasks_blocked()
    low = trio.lowlevel
    lot = low.ParkingLot()
    note("ParkingLot, new", lot)
    note("ParkingLot.statistics()", lot.statistics())
    lot.break_lot()
    note("ParkingLot, broken", lot)
    var = low.RunVar("name", 1)
    note("RunVar", var)
    note("RunVar, without default", low.RunVar("name"))
    token = var.set(2)
    note("RunVarToken", token)
    note("RunVar, set", var)
    note("RunVarToken, second", var.set(3))
    note("TrioToken", low.current_trio_token())
    note("current_clock()", low.current_clock())
    note("current_statistics()", low.current_statistics())
    note("io_statistics", low.current_statistics().io_statistics)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        queue = low.UnboundedQueue()
    note("UnboundedQueue", queue)
    queue.put_nowait(1)
    note("UnboundedQueue, with an item", queue)
    note("UnboundedQueue.statistics()", queue.statistics())
    note("Abort", low.Abort.SUCCEEDED)
    with nothing_missing():
        read, write = os.pipe()
        os.close(write)
        stream = low.FdStream(read)
        note("FdStream", stream, copied=False)
        await stream.aclose()
        note("FdStream, closed", stream, copied=False)


@maker
async def testing(trio: Any, note: Note) -> None:
    testing = trio.testing
    note("MockClock", testing.MockClock())
    note("MockClock, with options", testing.MockClock(1.5, autojump_threshold=2))
    note("Sequencer", testing.Sequencer())
    send, receive = testing.memory_stream_one_way_pair()
    note("MemorySendStream", send)
    note("MemoryReceiveStream", receive)
    both, _ = testing.memory_stream_pair()
    note("StapledStream", both)
    both, _ = testing.lockstep_stream_pair()
    note("StapledStream, lockstep", both)
    note("StapledStream.send_stream, lockstep", both.send_stream)
    note("assert_checkpoints()", testing.assert_checkpoints())


@maker
async def sockets(trio: Any, note: Note) -> None:
    with trio.socket.socket() as sock:
        note("SocketType", sock)
        await sock.bind(("127.0.0.1", 0))
        sock.listen()
        other = trio.SocketListener(sock)
        note("SocketListener", Named(other))
    left, right = trio.socket.socketpair()
    with left, right:
        stream = trio.SocketStream(left)
        note("SocketStream", Named(stream))
    note("SocketType, closed", left)


class Named:
    """Hides what a socket's own text has of the machine: its addresses."""

    def __init__(self, obj: object) -> None:
        self._obj = obj

    @property
    def __class__(self) -> type:
        return type(self._obj)

    def __getattr__(self, name: str) -> object:
        return getattr(self._obj, name)

    def __dir__(self) -> list[str]:
        return dir(self._obj)

    def __repr__(self) -> str:
        return type(self._obj).__name__


@maker
async def tls(trio: Any, note: Note) -> None:
    with nothing_missing():
        context = ssl.create_default_context()
        one, _ = trio.testing.memory_stream_pair()
        stream = trio.SSLStream(one, context, server_hostname="example.org")
        note("SSLStream", stream)
        (listener,) = await trio.open_tcp_listeners(0, host="127.0.0.1")
        async with listener:
            note("SSLListener", trio.SSLListener(listener, context))
        note("NeedHandshakeError", trio.NeedHandshakeError("text"))


@maker
async def dtls(trio: Any, note: Note) -> None:
    with nothing_missing():
        from OpenSSL import SSL

        with trio.socket.socket(type=stdlib_socket.SOCK_DGRAM) as sock:
            await sock.bind(("127.0.0.1", 0))
            with trio.DTLSEndpoint(sock) as endpoint:
                note("DTLSEndpoint", endpoint, copied=False)
                context = SSL.Context(SSL.DTLS_METHOD)
                channel = endpoint.connect(("127.0.0.1", 1), context)
                note("DTLSChannel", channel, copied=False)
                note("DTLSChannel.statistics()", channel.statistics())


@maker
async def files(trio: Any, note: Note) -> None:
    with nothing_missing():
        path = trio.Path("a") / "b.c"
        note("Path", path)
        note("PosixPath", trio.PosixPath("/x"))
        note("Path.parents", path.parents)
        with tempfile.TemporaryDirectory() as directory:
            file = Path(directory, "file")
            for mode in ("w", "wb", "r", "rb"):
                async with await trio.open_file(file, mode) as opened:
                    note(f"open_file, {mode}", Named(opened))
            async with await trio.Path(file).open() as opened:
                note("Path.open()", Named(opened))
            note("open_file, closed", Named(opened))


@maker
async def processes(trio: Any, note: Note) -> None:
    with nothing_missing():
        command = [sys.executable, "-c", "input()"]
        process = await trio.lowlevel.open_process(
            command, stdin=-1, stdout=-1, stderr=-1
        )
        note("Process", Shown(process, sys.executable, process.pid), copied=False)
        async with AsyncExitStack() as stack:
            for stream in (process.stdin, process.stdout, process.stderr):
                stack.push_async_callback(stream.aclose)
            process.kill()
            await process.wait()
        shown = Shown(process, sys.executable, process.pid)
        note("Process, finished", shown, copied=False)


class Shown(Named):
    """Shows the object as it is, but for some texts."""

    def __init__(self, obj: object, *hidden: object) -> None:
        super().__init__(obj)
        self._hidden = hidden

    def __repr__(self) -> str:
        text = repr(self._obj)
        for each in self._hidden:
            text = text.replace(str(each), "...")
        return text


@maker
async def signals(trio: Any, note: Note) -> None:
    import signal

    with nothing_missing():
        with trio.open_signal_receiver(signal.SIGUSR1) as receiver:
            note("open_signal_receiver()", receiver)


def describe(
    trio: ModuleType, own: Callable[[str], str]
) -> dict[str, dict[str, object]]:
    describer = Describer(trio, own)
    for make in MAKERS:
        clock = trio.testing.MockClock()
        trio.run(make, trio, describer.note, clock=clock)
    note = describer.note
    for name in (
        "BrokenResourceError BusyResourceError ClosedResourceError EndOfChannel"
        " RunFinishedError TooSlowError TrioInternalError WouldBlock"
    ).split():
        cls = getattr(trio, name)
        note(f"{name}()", cls())
        note(f"{name}(text)", cls("text"))
    # Not in a run.
    note("CancelScope, outside", trio.CancelScope(deadline=5))
    note("Lock, outside", trio.Lock())
    note("TrioDeprecationWarning", trio.TrioDeprecationWarning("text"))
    return describer.found
