"""Healthy objects of every class, in the states that they are found in.

`MAKERS[name]` is an async function of the environment. It may open things; what it
leaves behind is closed with `env.stack`, or goes with the last reference to it.
`KIND_OF[name]` is the class, by the name that `surface.py` gives it.
"""

from __future__ import annotations

import gc
import os
import socket as stdlib_socket
import ssl
import sys
import time
import warnings
from collections.abc import Awaitable, Callable
from functools import cache
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from interpreter import Environment

MAKERS: dict[str, Callable[[Environment], Awaitable[Any]]] = {}
KIND_OF: dict[str, str] = {}

# Classes of which there are no instances, or none that can be come by.
NONE_OF = {
    "open_memory_channel": "calling it gives a tuple of another class",
    "WindowsPath": "for another system",
    "TaskStatus": "a protocol",
    "_native.raise_cancel": "lives for the moment in which it is called",
}


def specimen(name: str, kind: str | None = None) -> Callable[[Any], Any]:
    def decorator(function: Any) -> Any:
        MAKERS[name] = function
        KIND_OF[name] = kind or name
        return function

    return decorator


def simple(kind: str, *args: Any, name: str | None = None, **kwargs: Any) -> None:
    async def make(env: Environment) -> Any:
        return env.find(kind)(*args, **kwargs)

    specimen(name or kind, kind)(make)


for _name in """
    CancelScope Condition Event Lock StrictFIFOLock TooSlowError EndOfChannel WouldBlock
    BrokenResourceError BusyResourceError ClosedResourceError RunFinishedError
    TrioInternalError NeedHandshakeError TrioDeprecationWarning
    abc.Instrument lowlevel.ParkingLot testing.MockClock testing.Sequencer
    testing.MemorySendStream testing.MemoryReceiveStream socket.gaierror
    socket.herror _core._run.SystemClock
    """.split():
    simple(_name)
simple("Semaphore", 1, max_value=2)
simple("CapacityLimiter", 1)
simple("lowlevel.RunVar", "name")
simple("lowlevel.RunVar", "name", 1, name="RunVar, default")
simple("Path", "nowhere")
simple("PosixPath", "nowhere")
simple("CancelScope", name="CancelScope, shielded", shield=True, deadline=1)
simple("CancelScope", name="CancelScope, relative", relative_deadline=0.1)


@specimen("CancelScope, entered", "CancelScope")
async def _entered(env: Environment) -> Any:
    return env.stack.enter_context(env.trio.CancelScope())


@specimen("CancelScope, exited", "CancelScope")
async def _exited(env: Environment) -> Any:
    with env.trio.CancelScope() as scope:
        scope.cancel()
        await env.trio.lowlevel.checkpoint()
    return scope


@specimen("CancelReason", "_core._run.CancelReason")
async def _cancel_reason(env: Environment) -> Any:
    scope = env.trio.CancelScope()
    scope.cancel("reason")
    return scope._cancel_reason


@specimen("CancelStatus", "_core._run.CancelStatus")
async def _cancel_status(env: Environment) -> Any:
    return env.nursery.cancel_scope._cancel_status


@specimen("FailScope", "_timeouts.FailScope")
async def _fail_scope(env: Environment) -> Any:
    return env.trio.fail_after(1)


@specimen("Cancelled")
async def _cancelled(env: Environment) -> Any:
    with env.trio.CancelScope() as scope:
        scope.cancel("reason")
        try:
            await env.trio.lowlevel.checkpoint()
        except env.trio.Cancelled as exc:
            env.trio.lowlevel.current_task()  # it is no more than an object now
            kept = exc
            raise
    return kept.with_traceback(None)


@specimen("Nursery")
async def _nursery(env: Environment) -> Any:
    return env.nursery


@specimen("Nursery, closed", "Nursery")
async def _closed_nursery(env: Environment) -> Any:
    async with env.trio.open_nursery() as nursery:
        pass
    return nursery


@specimen("NurseryManager", "_core._run.NurseryManager")
async def _manager(env: Environment) -> Any:
    return env.trio.open_nursery()


@specimen("NurseryManager, entered", "_core._run.NurseryManager")
async def _entered_manager(env: Environment) -> Any:
    manager = env.trio.open_nursery()
    await env.stack.enter_async_context(manager)
    return manager


async def _task_status_of(env: Environment, *, started: bool) -> Any:
    kept: list[Any] = []

    async def child(*, task_status: Any) -> None:
        kept.append(task_status)
        if started:
            task_status.started()
        await env.trio.sleep_forever()

    env.nursery.start_soon(env.nursery.start, child)
    await env.trio.testing.wait_all_tasks_blocked()
    return kept[0]


@specimen("_TaskStatus", "_core._run._TaskStatus")
async def _task_status(env: Environment) -> Any:
    return await _task_status_of(env, started=False)


@specimen("_TaskStatus, started", "_core._run._TaskStatus")
async def _started(env: Environment) -> Any:
    return await _task_status_of(env, started=True)


@specimen("Task", "lowlevel.Task")
async def _task(env: Environment) -> Any:
    return env.trio.lowlevel.current_task()


@specimen("Task, root", "lowlevel.Task")
async def _root(env: Environment) -> Any:
    return env.trio.lowlevel.current_root_task()


@specimen("Task, sleeping", "lowlevel.Task")
async def _sleeping(env: Environment) -> Any:
    before = set(env.nursery.child_tasks)
    env.nursery.start_soon(env.trio.sleep_forever)
    await env.trio.testing.wait_all_tasks_blocked()
    return (set(env.nursery.child_tasks) - before).pop()


@specimen("Task, finished", "lowlevel.Task")
async def _finished(env: Environment) -> Any:
    kept = []

    async def child() -> None:
        kept.append(env.trio.lowlevel.current_task())

    async with env.trio.open_nursery() as nursery:
        nursery.start_soon(child)
    return kept[0]


@specimen("TrioToken", "lowlevel.TrioToken")
async def _token(env: Environment) -> Any:
    return env.trio.lowlevel.current_trio_token()


@specimen("RunVarToken", "lowlevel.RunVarToken")
async def _var_token(env: Environment) -> Any:
    return env.trio.lowlevel.RunVar("name").set(1)


@specimen("UnboundedQueue", "lowlevel.UnboundedQueue")
async def _queue(env: Environment) -> Any:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return env.trio.lowlevel.UnboundedQueue()


@specimen("Abort", "lowlevel.Abort")
async def _abort(env: Environment) -> Any:
    return env.trio.lowlevel.Abort.SUCCEEDED


@specimen("Lock, held", "Lock")
async def _held(env: Environment) -> Any:
    lock = env.trio.Lock()
    await lock.acquire()
    env.nursery.start_soon(lock.acquire)
    return lock


@specimen("Condition, held", "Condition")
async def _held_condition(env: Environment) -> Any:
    condition = env.trio.Condition()
    await condition.acquire()
    return condition


@specimen("Event, awaited", "Event")
async def _awaited(env: Environment) -> Any:
    event = env.trio.Event()
    env.nursery.start_soon(event.wait)
    await env.trio.testing.wait_all_tasks_blocked()
    return event


@specimen("ParkingLot, occupied", "lowlevel.ParkingLot")
async def _occupied(env: Environment) -> Any:
    lot = env.trio.lowlevel.ParkingLot()
    env.nursery.start_soon(lot.park)
    env.nursery.start_soon(lot.park)
    await env.trio.testing.wait_all_tasks_blocked()
    return lot


@specimen("MemorySendChannel")
async def _send_channel(env: Environment) -> Any:
    send, receive = env.trio.open_memory_channel(1)
    env.stack.callback(receive.close)
    return send


@specimen("MemoryReceiveChannel")
async def _receive_channel(env: Environment) -> Any:
    send, receive = env.trio.open_memory_channel(2)
    send.send_nowait(1)
    env.stack.callback(send.close)
    return receive


@specimen("MemorySendChannel, awaited", "MemorySendChannel")
async def _awaited_channel(env: Environment) -> Any:
    send, receive = env.trio.open_memory_channel(0)
    env.nursery.start_soon(receive.receive)
    await env.trio.testing.wait_all_tasks_blocked()
    return send


@specimen("MemoryChannelState", "_channel.MemoryChannelState")
async def _channel_state(env: Environment) -> Any:
    return env.trio.open_memory_channel(1)[0]._state


# --- sockets and what stands on them


def _pair(env: Environment) -> Any:
    left, right = env.trio.socket.socketpair()
    env.stack.enter_context(left)
    env.stack.enter_context(right)
    return left, right


@specimen("SocketType", "_socket._SocketType")
async def _socket(env: Environment) -> Any:
    left, right = _pair(env)
    await right.send(b"0123456789")
    return left


@specimen("SocketType, UDP", "_socket._SocketType")
async def _udp(env: Environment) -> Any:
    sock = env.stack.enter_context(
        env.trio.socket.socket(type=stdlib_socket.SOCK_DGRAM)
    )
    await sock.bind(("127.0.0.1", 0))
    return sock


@specimen("SocketType, listening", "_socket._SocketType")
async def _listening(env: Environment) -> Any:
    sock = env.stack.enter_context(env.trio.socket.socket())
    await sock.bind(("127.0.0.1", 0))
    sock.listen()
    return sock


@specimen("SocketType, closed", "_socket._SocketType")
async def _closed_socket(env: Environment) -> Any:
    left, _ = _pair(env)
    left.close()
    return left


@specimen("SocketType, awaited", "_socket._SocketType")
async def _awaited_socket(env: Environment) -> Any:
    left, _ = _pair(env)
    env.nursery.start_soon(left.recv, 1)
    await env.trio.testing.wait_all_tasks_blocked()
    return left


@specimen("SocketStream")
async def _stream(env: Environment) -> Any:
    left, right = _pair(env)
    await right.send(b"0123456789")
    return env.trio.SocketStream(left)


@specimen("SocketListener")
async def _listener(env: Environment) -> Any:
    return env.trio.SocketListener(await _listening(env))


@specimen("StapledStream")
async def _stapled(env: Environment) -> Any:
    return env.trio.testing.memory_stream_pair()[0]


@cache
def _contexts() -> Any:
    import trustme

    authority = trustme.CA()
    server = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    authority.issue_cert("example.org").configure_cert(server)
    client = ssl.create_default_context()
    authority.configure_trust(client)
    return server, client


async def _tls_pair(env: Environment) -> Any:
    server, client = _contexts()
    left, right = env.trio.testing.memory_stream_pair()
    return (
        env.trio.SSLStream(left, server, server_side=True),
        env.trio.SSLStream(right, client, server_hostname="example.org"),
    )


@specimen("SSLStream")
async def _tls(env: Environment) -> Any:
    return (await _tls_pair(env))[1]


@specimen("SSLStream, connected", "SSLStream")
async def _connected_tls(env: Environment) -> Any:
    left, right = await _tls_pair(env)
    async with env.trio.open_nursery() as nursery:
        nursery.start_soon(left.do_handshake)
        nursery.start_soon(right.do_handshake)
    await right.send_all(b"0123456789")
    env.kept.append(right)
    return left


@specimen("SSLListener")
async def _tls_listener(env: Environment) -> Any:
    return env.trio.SSLListener(await _listener(env), _contexts()[0])


@specimen("DTLSEndpoint")
async def _endpoint(env: Environment) -> Any:
    return env.stack.enter_context(env.trio.DTLSEndpoint(await _udp(env)))


@specimen("DTLSChannel")
async def _dtls_channel(env: Environment) -> Any:
    from OpenSSL import SSL

    endpoint = await _endpoint(env)
    return endpoint.connect(("127.0.0.1", 1), SSL.Context(SSL.DTLS_METHOD))


@specimen("FdStream", "lowlevel.FdStream")
async def _fd_stream(env: Environment) -> Any:
    read, write = os.pipe()
    os.write(write, b"0123456789")
    os.close(write)
    return env.trio.lowlevel.FdStream(read)


@specimen("Process")
async def _process(env: Environment) -> Any:
    process = await env.trio.lowlevel.open_process(["true"], stdin=-1, stdout=-1)
    env.stack.callback(process.kill)
    env.stack.push_async_callback(process.stdin.aclose)
    env.stack.push_async_callback(process.stdout.aclose)
    return process


# --- what functions return


def _statistics(name: str, of: str) -> None:
    async def make(env: Environment) -> Any:
        return (await MAKERS[of](env)).statistics()

    specimen(name)(make)


_statistics("EventStatistics", "Event, awaited")
_statistics("LockStatistics", "Lock, held")
_statistics("CapacityLimiterStatistics", "CapacityLimiter")
_statistics("ConditionStatistics", "Condition")
_statistics("MemoryChannelStatistics", "MemorySendChannel")
_statistics("DTLSChannelStatistics", "DTLSChannel")
_statistics("lowlevel.ParkingLotStatistics", "ParkingLot, occupied")
_statistics("lowlevel.UnboundedQueueStatistics", "UnboundedQueue")


@specimen("lowlevel.RunStatistics")
async def _run_statistics(env: Environment) -> Any:
    return env.trio.lowlevel.current_statistics()


@specimen("_core._io_epoll._EpollStatistics")
async def _io_statistics(env: Environment) -> Any:
    return env.trio.lowlevel.current_statistics().io_statistics


@specimen("Runner", "_core._run.Runner")
async def _runner(env: Environment) -> Any:
    return env.trio.lowlevel.current_task()._runner


@specimen("RunContext", "_native.RunContext")
async def _run_context(env: Environment) -> Any:
    return sys.modules[f"{env.trio.__name__}._core._run"].GLOBAL_RUN_CONTEXT


@specimen("function", "_native.function")
async def _function(env: Environment) -> Any:
    return env.trio.sleep


@specimen("method", "_native.method")
async def _method(env: Environment) -> Any:
    return env.trio.Lock().__aenter__


@specimen("awaitable", "_native.awaitable")
async def _awaitable(env: Environment) -> Any:
    return env.trio.sleep(0.001)


@specimen("awaitable, closed", "_native.awaitable")
async def _closed_awaitable(env: Environment) -> Any:
    coro = env.trio.sleep(0)
    coro.close()
    return coro


@specimen("awaitable, suspended", "_native.awaitable")
async def _suspended(env: Environment) -> Any:
    return (await _sleeping(env)).coro


@specimen("module", "_native.module")
async def _module(env: Environment) -> Any:
    return type(env.trio)("some_module")


@specimen("ThreadPlaceholder", "_threads.ThreadPlaceholder")
async def _thread_job(env: Environment) -> Any:
    limiter = env.trio.CapacityLimiter(1)
    env.nursery.start_soon(_in_thread, env, limiter, time.sleep, 0.01)
    await env.trio.lowlevel.checkpoint()
    return limiter.statistics().borrowers[0]


async def _in_thread(env: Environment, limiter: Any, *job: Any) -> None:
    run_sync = env.trio.to_thread.run_sync
    await run_sync(*job, limiter=limiter, abandon_on_cancel=True)


@specimen("Run", "_threads.Run")
async def _thread_request(env: Environment) -> Any:
    limiter, sleep = env.trio.CapacityLimiter(1), env.trio.sleep
    run = env.trio.from_thread.run
    env.nursery.start_soon(_in_thread, env, limiter, run, sleep, 0.01)
    with env.trio.CancelScope(shield=True):
        await env.trio.to_thread.run_sync(time.sleep, 0.003)
    kind = env.find("_threads.Run")
    return next((obj for obj in gc.get_objects() if type(obj) is kind), None)


@specimen("loop", "_native.loop")
async def _loop(env: Environment) -> Any:
    # A plain run does not show its loop to anybody.
    return env.guest and env.guest.loop


async def from_garbage_collector(env: Environment, cls: type) -> Any:
    """Some instance, of a class that nobody is meant to come by."""
    await env.trio.to_thread.run_sync(int)
    await MAKERS["SocketStream"](env)
    for obj in gc.get_objects():
        if type(obj) is cls:
            return obj
    return None
