"""What programs implement: ``trio.abc``; and ``trio.testing``."""

from __future__ import annotations

import socket as stdlib_socket
from collections.abc import Sequence
from contextlib import AbstractAsyncContextManager, AbstractContextManager
from typing import assert_type

import trio

SocketAddress = tuple[str, int] | tuple[str, int, int, int]


class MyClock(trio.abc.Clock):
    def start_clock(self) -> None: ...

    def current_time(self) -> float:
        return 0

    def deadline_to_sleep_time(self, deadline: float) -> float:
        return deadline - self.current_time()


class MyInstrument(trio.abc.Instrument):
    def before_run(self) -> None: ...

    def task_spawned(self, task: trio.lowlevel.Task) -> None:
        assert_type(super().task_spawned(task), None)

    def before_io_wait(self, timeout: float) -> None: ...


class MyResolver(trio.abc.HostnameResolver):
    async def getaddrinfo(
        self,
        host: bytes | None,
        port: bytes | str | int | None,
        family: int = 0,
        type: int = 0,
        proto: int = 0,
        flags: int = 0,
    ) -> list[
        tuple[
            stdlib_socket.AddressFamily,
            stdlib_socket.SocketKind,
            int,
            str,
            tuple[str, int] | tuple[str, int, int, int] | tuple[int, bytes],
        ]
    ]:
        return []

    async def getnameinfo(self, sockaddr: SocketAddress, flags: int) -> tuple[str, str]:
        return "", ""


class MySocketFactory(trio.abc.SocketFactory):
    def socket(
        self,
        family: stdlib_socket.AddressFamily | int = trio.socket.AF_INET,
        type: stdlib_socket.SocketKind | int = trio.socket.SOCK_STREAM,
        proto: int = 0,
    ) -> trio.socket.SocketType:
        return MySocket()


class MySocket(trio.socket.SocketType):
    def fileno(self) -> int:
        return 3

    async def connect(self, address: object) -> None: ...


class MyStream(trio.abc.HalfCloseableStream):
    def __init__(self, inner: trio.abc.Stream) -> None:
        self.inner = inner

    async def send_all(self, data: bytes | bytearray | memoryview) -> None:
        await self.inner.send_all(data)

    async def wait_send_all_might_not_block(self) -> None: ...

    async def receive_some(self, max_bytes: int | None = None) -> bytes:
        return bytes(await self.inner.receive_some(max_bytes))

    async def send_eof(self) -> None: ...

    async def aclose(self) -> None:
        await self.inner.aclose()


class MyListener(trio.abc.Listener[MyStream]):
    async def accept(self) -> MyStream:
        raise NotImplementedError

    async def aclose(self) -> None: ...


class Doubler(trio.abc.SendChannel[int], trio.abc.ReceiveChannel[str]):
    async def send(self, value: int) -> None: ...

    async def receive(self) -> str:
        return ""

    async def aclose(self) -> None: ...


class MyChannel(trio.abc.Channel[float]):
    async def send(self, value: float) -> None: ...

    async def receive(self) -> float:
        return 0

    async def aclose(self) -> None: ...


async def using(stream: MyStream, listener: MyListener) -> None:
    clock: trio.abc.Clock = MyClock()
    instruments: Sequence[trio.abc.Instrument] = [MyInstrument()]
    trio.run(trio.sleep, 1, clock=clock, instruments=instruments)
    trio.socket.set_custom_hostname_resolver(MyResolver())
    trio.socket.set_custom_socket_factory(MySocketFactory())
    async with stream as same, listener as same_listener:
        assert_type(same, MyStream)
        assert_type(same_listener, MyListener)
        assert_type(await same_listener.accept(), MyStream)
    async with Doubler() as doubler:
        assert_type(await doubler.receive(), str)
        async for text in doubler:
            assert_type(text, str)
    both: trio.abc.Channel[float] = MyChannel()
    sends_ints: trio.abc.SendChannel[int] = both
    receives_objects: trio.abc.ReceiveChannel[object] = both
    del sends_ints, receives_objects
    await trio.serve_listeners(handler, [listener])


async def handler(stream: MyStream) -> None: ...


async def testing() -> None:
    clock = trio.testing.MockClock(rate=1, autojump_threshold=0.5)
    assert_type(clock.rate, float)
    clock.rate = 2
    assert_type(clock.autojump_threshold, float)
    clock.autojump_threshold = 0
    assert_type(clock.jump(3), None)
    assert_type(await trio.testing.wait_all_tasks_blocked(), None)
    await trio.testing.wait_all_tasks_blocked(cushion=0.5)
    assert_type(await trio.testing.wait_all_threads_completed(), None)
    assert_type(trio.testing.active_thread_count(), int)
    checks: AbstractContextManager[None] = trio.testing.assert_checkpoints()
    with checks, trio.testing.assert_no_checkpoints() as nothing:
        assert_type(nothing, None)
    sequencer = trio.testing.Sequencer()
    turn: AbstractAsyncContextManager[None] = sequencer(1)
    async with turn:
        pass
    left, right = trio.testing.memory_stream_pair()
    assert_type(
        left,
        trio.StapledStream[
            trio.testing.MemorySendStream, trio.testing.MemoryReceiveStream
        ],
    )
    assert_type(left.send_stream.get_data_nowait(), bytearray)
    send, receive = trio.testing.memory_stream_one_way_pair()
    assert_type(send, trio.testing.MemorySendStream)
    assert_type(await receive.receive_some(), bytearray)
    assert_type(trio.testing.memory_stream_pump(send, receive, max_bytes=3), bool)
    lockstep = trio.testing.lockstep_stream_one_way_pair()
    assert_type(lockstep, tuple[trio.abc.SendStream, trio.abc.ReceiveStream])
    assert_type(
        trio.testing.lockstep_stream_pair()[0],
        trio.StapledStream[trio.abc.SendStream, trio.abc.ReceiveStream],
    )
    hooked = trio.testing.MemorySendStream(close_hook=clock_hook)
    hooked.send_all_hook = async_hook
    receive.receive_some_hook = None
    receive.put_data(b"")
    receive.put_eof()
    [listener] = await trio.open_tcp_listeners(0)
    assert_type(
        await trio.testing.open_stream_to_socket_listener(listener),
        trio.SocketStream,
    )
    await trio.testing.check_one_way_stream(make_one_way, None)
    await trio.testing.check_two_way_stream(make_pair, make_pair)
    await trio.testing.check_half_closeable_stream(make_pair, None)
    del right


def clock_hook() -> None: ...


async def async_hook() -> None: ...


async def make_one_way() -> tuple[trio.abc.SendStream, trio.abc.ReceiveStream]:
    return trio.testing.memory_stream_one_way_pair()


async def make_pair() -> tuple[MyStream, MyStream]:
    left, right = trio.testing.memory_stream_pair()
    return MyStream(left), MyStream(right)


@trio.testing.trio_test
async def a_test(number: int, *, text: str = "") -> bytes:
    return b""


def call_it() -> None:
    assert_type(a_test(1, text=""), bytes)
