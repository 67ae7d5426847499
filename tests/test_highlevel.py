"""Streams and TCP above the sockets: stapling, connecting, listening, serving."""

import errno
import gc
import logging
import socket as stdlib_socket

import pytest

import trio_c
from trio_c import testing
from trio_c.socket import AF_INET, AF_INET6, SOCK_STREAM
from trio_c.testing import trio_test

# --- StapledStream, aclose_forcefully


def test_stapled_stream_is_an_ordinary_object():
    left, right = testing.memory_stream_one_way_pair()
    stapled = trio_c.StapledStream(send_stream=left, receive_stream=right)
    assert isinstance(stapled, trio_c.abc.HalfCloseableStream)
    assert repr(stapled) == (
        f"StapledStream(send_stream={left!r}, receive_stream={right!r})"
    )
    stapled.anything = 1
    stapled.send_stream = right
    assert stapled.send_stream is right
    assert trio_c.StapledStream[int, str].__args__ == (int, str)
    match stapled:
        case trio_c.StapledStream(first, second):
            assert (first, second) == (right, right)
    with pytest.raises(TypeError, match="does not support subclassing"):
        type("Sub", (trio_c.StapledStream,), {})


@trio_test
async def test_stapled_stream_closes_both():
    class Failing(trio_c.abc.SendStream):
        async def send_all(self, data):
            pass

        async def wait_send_all_might_not_block(self):
            pass

        async def aclose(self):
            raise KeyError("send")

    receiving = testing.MemoryReceiveStream()
    with pytest.raises(KeyError, match="send"):
        await trio_c.StapledStream(Failing(), receiving).aclose()
    with pytest.raises(trio_c.ClosedResourceError):
        receiving.put_data(b"x")


@trio_test
async def test_aclose_forcefully():
    record = []

    class Resource(trio_c.abc.AsyncResource):
        async def aclose(self):
            try:
                await trio_c.sleep_forever()
            except trio_c.Cancelled as exc:
                record.append(exc.reason)
                raise

    await trio_c.aclose_forcefully(Resource())
    assert record == ["cancelled during aclose_forcefully"]
    await trio_c.lowlevel.checkpoint()


# --- open_tcp_stream


class World(trio_c.abc.HostnameResolver, trio_c.abc.SocketFactory):
    """A made-up network: per address, how long connecting takes and how it ends."""

    def __init__(self, hosts):
        self.hosts = hosts
        self.sockets = []

    async def getaddrinfo(self, host, port, family=0, type=0, proto=0, flags=0):
        return [
            (AF_INET6 if ":" in ip else AF_INET, SOCK_STREAM, 0, "", (ip, port))
            for ip in self.hosts
        ]

    async def getnameinfo(self, sockaddr, flags):
        raise AssertionError

    def socket(self, family=None, type=None, proto=None):
        sock = FakeSocket(self, family)
        self.sockets.append(sock)
        return sock


class FakeSocket(trio_c.socket.SocketType):
    type = SOCK_STREAM

    def __init__(self, world, family):
        self.world = world
        self._family = family
        self.closed = False
        self.started = None

    @property
    def family(self):
        return self._family

    def setsockopt(self, *args):
        pass

    async def connect(self, address):
        self.ip = address[0]
        self.started = trio_c.current_time()
        delay, error = self.world.hosts[self.ip]
        await trio_c.sleep(delay)
        if error is not None:
            raise error

    def close(self):
        self.closed = True


def connect_in(hosts, **kwargs):
    """What open_tcp_stream returned or raised there, when, and the sockets."""
    world = World(hosts)

    async def main():
        trio_c.socket.set_custom_hostname_resolver(world)
        trio_c.socket.set_custom_socket_factory(world)
        try:
            result = await trio_c.open_tcp_stream("example.org", 80, **kwargs)
        except OSError as exc:
            result = exc
        return result, trio_c.current_time()

    clock = testing.MockClock(autojump_threshold=0)
    return *trio_c.run(main, clock=clock), world.sockets


def test_first_to_connect_wins_and_the_rest_is_closed():
    stream, time, sockets = connect_in(
        {"1.1.1.1": (10, None), "2.2.2.2": (0.6, None), "3.3.3.3": (0.5, None)}
    )
    assert time == 0.25 + 0.6
    assert stream.socket.ip == "2.2.2.2"
    assert [sock.started for sock in sockets] == [0, 0.25, 0.5]
    assert [sock.closed for sock in sockets] == [True, False, True]


def test_failure_starts_the_next_attempt():
    stream, time, sockets = connect_in(
        {"1.1.1.1": (0.1, OSError("no")), "2.2.2.2": (1, None)}, happy_eyeballs_delay=5
    )
    assert (stream.socket.ip, time) == ("2.2.2.2", 1.1)
    assert [sock.started for sock in sockets] == [0, 0.1]


def test_second_attempt_uses_the_other_family():
    _, _, sockets = connect_in(
        {"::1": (9, None), "::2": (9, None), "::3": (9, None), "1.1.1.1": (9, None)},
        happy_eyeballs_delay=None,
    )
    assert [sock.ip for sock in sockets] == ["::1", "1.1.1.1", "::2", "::3"]


def test_all_attempts_fail():
    errors = [OSError("a"), OSError("b")]
    exc, time, sockets = connect_in(
        {"1.1.1.1": (1, errors[0]), "::1": (3, errors[1])}, happy_eyeballs_delay=1.5
    )
    assert time == 4
    assert str(exc) == "all attempts to connect to example.org:80 failed"
    assert exc.__cause__.exceptions == tuple(errors)
    assert exc.__cause__.message == str(exc)
    assert all(sock.closed for sock in sockets)


def test_no_address():
    exc, _, _ = connect_in({})
    assert str(exc) == "no results found for hostname lookup: example.org:80"


def test_local_address_that_does_not_fit():
    class Bound(FakeSocket):
        async def bind(self, address):
            raise OSError("cannot")

    world = World({"1.1.1.1": (0, None)})
    world.socket = lambda family, type_, proto: Bound(world, family)

    async def main():
        trio_c.socket.set_custom_hostname_resolver(world)
        trio_c.socket.set_custom_socket_factory(world)
        await trio_c.open_tcp_stream("example.org", 80, local_address="::1")

    with pytest.raises(OSError, match="all attempts") as info:
        trio_c.run(main)
    (inner,) = info.value.__cause__.exceptions
    assert str(inner) == (
        "local_address='::1' is incompatible with remote address ('1.1.1.1', 80)"
    )


@trio_test
async def test_open_tcp_stream_arguments():
    with pytest.raises(ValueError, match=r"^host must be str or bytes, not None$"):
        await trio_c.open_tcp_stream(None, 80)
    with pytest.raises(TypeError, match=r"^port must be int, not '80'$"):
        await trio_c.open_tcp_stream("localhost", "80")


def unused_port():
    with stdlib_socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        return sock.getsockname()[1]


@trio_test
async def test_failing_connection_leaves_no_cycles():
    async def connect():
        try:
            await trio_c.open_tcp_stream("127.0.0.1", port)
        except OSError as exc:
            assert exc.__cause__.exceptions
        else:
            raise AssertionError("somebody listens there")

    port = unused_port()
    await connect()  # imports, thread cache
    await trio_c.lowlevel.checkpoint()
    gc.collect()
    gc.set_debug(gc.DEBUG_SAVEALL)
    try:
        await connect()
        await trio_c.lowlevel.checkpoint()
        gc.collect()
        garbage = [obj for obj in gc.garbage if isinstance(obj, BaseException)]
    finally:
        gc.set_debug(0)
        gc.garbage.clear()
    assert garbage == []


# --- open_tcp_listeners


@trio_test
async def test_listeners_share_nothing_and_close_together():
    listeners = await trio_c.open_tcp_listeners(0, host="127.0.0.1", backlog=1)
    (listener,) = listeners
    address = listener.socket.getsockname()
    assert address[0] == "127.0.0.1"
    with pytest.raises(OSError, match="in use") as info:
        await trio_c.open_tcp_listeners(address[1], host="127.0.0.1")
    assert info.value.errno == errno.EADDRINUSE
    await listener.aclose()
    # At once, although it was connected to.
    (again,) = await trio_c.open_tcp_listeners(address[1], host="127.0.0.1")
    await again.aclose()


def test_listener_failure_closes_the_others():
    class Failing(FakeSocket):
        async def bind(self, address):
            if address[0] == "2.2.2.2":
                raise OSError(errno.EADDRNOTAVAIL, "not mine")

        def listen(self, backlog):
            assert backlog == 7

        def getsockopt(self, level, option):
            return 1

    world = World({"1.1.1.1": None, "2.2.2.2": None, "3.3.3.3": None})

    def socket(family, type_, proto):
        world.sockets.append(Failing(world, family))
        return world.sockets[-1]

    world.socket = socket

    async def main():
        trio_c.socket.set_custom_hostname_resolver(world)
        trio_c.socket.set_custom_socket_factory(world)
        await trio_c.open_tcp_listeners(80, host="example.org", backlog=7)

    with pytest.raises(OSError, match="not mine"):
        trio_c.run(main)
    assert [sock.closed for sock in world.sockets] == [True, True]


@trio_test
async def test_open_tcp_listeners_arguments():
    with pytest.raises(TypeError, match=r"^port must be an int not 'http'$"):
        await trio_c.open_tcp_listeners("http")
    with pytest.raises(TypeError, match=r"^backlog must be an int or None, not 1.5$"):
        await trio_c.open_tcp_listeners(0, backlog=1.5)


# --- serve_listeners, serve_tcp


class Listener(trio_c.abc.Listener):
    """Accepts what it was given, raising exceptions; then waits for ever."""

    def __init__(self, *results):
        self.results = list(results)
        self.closed = False

    async def accept(self):
        await trio_c.lowlevel.checkpoint()
        if not self.results:
            await trio_c.sleep_forever()
        result = self.results.pop(0)
        if isinstance(result, BaseException):
            raise result
        return result

    async def aclose(self):
        self.closed = True


@trio_test
async def test_serve_tcp_echo():
    async def echo(stream):
        async for data in stream:
            await stream.send_all(data)

    async with trio_c.open_nursery() as nursery:
        listeners = await nursery.start(
            lambda task_status: trio_c.serve_tcp(
                echo, 0, host="127.0.0.1", task_status=task_status
            )
        )
        port = listeners[0].socket.getsockname()[1]
        async with await trio_c.open_tcp_stream("127.0.0.1", port) as client:
            await client.send_all(b"hello")
            assert await client.receive_some() == b"hello"
            await client.send_eof()
            assert await client.receive_some() == b""
        nursery.cancel_scope.cancel()
    with pytest.raises(trio_c.ClosedResourceError):
        await listeners[0].accept()


@trio_test
async def test_handler_errors_end_the_server():
    client, server = testing.memory_stream_pair()
    listeners = [Listener(server), Listener()]

    async def handler(stream):
        assert stream is server
        raise KeyError("handler")

    with pytest.raises(ExceptionGroup) as info:
        await trio_c.serve_listeners(handler, listeners)
    (exc,) = info.value.exceptions
    assert exc.args == ("handler",)
    assert [listener.closed for listener in listeners] == [True, True]
    assert await client.receive_some() == b""


@trio_test
async def test_handlers_in_another_nursery():
    _, server = testing.memory_stream_pair()
    started, finish = trio_c.Event(), trio_c.Event()

    async def handler(stream):
        started.set()
        await finish.wait()

    async with trio_c.open_nursery() as handlers:
        async with trio_c.open_nursery() as nursery:

            async def serve(task_status):
                await trio_c.serve_listeners(
                    handler,
                    [Listener(server)],
                    handler_nursery=handlers,
                    task_status=task_status,
                )

            await nursery.start(serve)
            await started.wait()
            nursery.cancel_scope.cancel()
        assert len(handlers.child_tasks) == 1
        finish.set()


def test_out_of_descriptors(caplog):
    error = OSError(errno.EMFILE, "too many")
    _, server = testing.memory_stream_pair()
    listener = Listener(error, error, server)
    times = []

    async def handler(stream):
        times.append(trio_c.current_time())

    async def main():
        with trio_c.move_on_after(1):
            await trio_c.serve_listeners(handler, [listener])

    with caplog.at_level(logging.ERROR, "trio.serve_listeners"):
        trio_c.run(main, clock=testing.MockClock(autojump_threshold=0))
    assert times == [pytest.approx(0.2)]
    first, _ = caplog.records
    assert first.name == "trio.serve_listeners"
    assert first.levelname == "ERROR"
    assert first.getMessage() == (
        "accept returned EMFILE (Too many open files); retrying in 0.1 seconds"
    )
    assert first.exc_info[1] is error


@trio_test
async def test_serve_nothing():
    with pytest.raises(AssertionError, match=r"^_serve_one_listener should never"):
        await trio_c.serve_listeners(None, [])
