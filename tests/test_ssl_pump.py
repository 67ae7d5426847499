"""Who sends and receives when, with an SSL object that does as it is told.

With the real one, nothing but a change of keys makes a read send or a write
receive, and it cannot be asked for one.
"""

import contextlib
import ssl

import pytest
from _sockets import in_run
from _tls import ScriptedContext, handshake, memory_pair

import trio_c as trio
from trio_c.testing import (
    assert_checkpoints,
    memory_stream_pair,
    wait_all_tasks_blocked,
)


class Gate(trio.abc.Stream):
    """A transport. Sending and receiving wait for `closed` to be false."""

    def __init__(self):
        self.sent = []
        self.incoming = []
        self.closed = self.close_again = False
        self.sending = self.receiving = self.waiting = 0
        self._lot = trio.lowlevel.ParkingLot()

    def open(self):
        self.closed = False
        self._lot.unpark_all()

    def put(self, data):
        self.incoming.append(data)
        self._lot.unpark_all()

    @contextlib.contextmanager
    def _count(self, name):
        assert getattr(self, name) == 0, f"two tasks are {name}"
        setattr(self, name, 1)
        try:
            yield
        finally:
            setattr(self, name, 0)

    async def send_all(self, data):
        with self._count("sending"):
            while self.closed:
                await self._lot.park()
            self.sent.append(bytes(data))
            self.closed = self.close_again

    async def receive_some(self, max_bytes=None):
        with self._count("receiving"):
            while not self.incoming:
                await self._lot.park()
            return self.incoming.pop(0)

    async def wait_send_all_might_not_block(self):
        with self._count("sending"):
            while self.closed:
                await self._lot.park()

    async def aclose(self):
        self.sent.append("closed")
        await trio.lowlevel.checkpoint()


async def scripted():
    transport = Gate()
    stream = trio.SSLStream(transport, ScriptedContext())
    await stream.do_handshake()
    return stream, transport, stream._ssl_object


async def expect(data, operation, *args):
    assert await operation(*args) == data


@in_run
async def test_a_read_that_sends():
    stream, transport, _ = await scripted()
    transport.put(b"?abc")
    assert await stream.receive_some() == b"abc"
    assert transport.sent == [b"!"]
    # ...and then finds nothing for its own caller.
    async with trio.open_nursery() as nursery:
        nursery.start_soon(expect, b"def", stream.receive_some)
        transport.put(b"?")
        await wait_all_tasks_blocked()
        assert transport.sent == [b"!", b"!"]
        transport.put(b"def")


@in_run
async def test_a_write_that_receives():
    stream, transport, tls = await scripted()
    tls.rekey = True
    async with trio.open_nursery() as nursery:
        nursery.start_soon(stream.send_all, b"secret")
        await wait_all_tasks_blocked()
        assert transport.receiving
        transport.put(b"?")
        await wait_all_tasks_blocked()
        assert transport.sent == [b"!"]
        transport.put(b"x+y")
    assert transport.sent == [b"!", b"secret"]
    assert await stream.receive_some() == b"xy"


@pytest.mark.parametrize("reader_first", [False, True])
@in_run
async def test_both_want_to_receive(reader_first):
    stream, transport, tls = await scripted()
    tls.rekey = True
    tasks = [(expect, b"abc", stream.receive_some), (stream.send_all, b"secret")]
    async with trio.open_nursery() as nursery:
        for task in tasks if reader_first else tasks[::-1]:
            nursery.start_soon(*task)
            await wait_all_tasks_blocked()
        transport.put(b"+")
        await wait_all_tasks_blocked()
        assert transport.sent == [b"secret"]
        assert transport.receiving
        transport.put(b"abc")
    tls.rekey = True
    async with trio.open_nursery() as nursery:
        for task in tasks if reader_first else tasks[::-1]:
            nursery.start_soon(*task)
            await wait_all_tasks_blocked()
        transport.put(b"abc+")


@in_run
async def test_whoever_waits_to_receive_takes_over():
    stream, transport, tls = await scripted()
    tls.rekey = True
    scope = trio.CancelScope()
    async with trio.open_nursery() as nursery:

        @nursery.start_soon
        async def receive():
            with scope:
                await stream.receive_some()

        await wait_all_tasks_blocked()
        nursery.start_soon(stream.send_all, b"secret")
        await wait_all_tasks_blocked()
        scope.cancel()
        await wait_all_tasks_blocked()
        assert scope.cancelled_caught
        assert transport.receiving
        transport.put(b"+")
    assert transport.sent == [b"secret"]


@in_run
async def test_a_reader_with_nothing_to_send_waits_for_no_writer():
    stream, transport, _ = await scripted()
    transport.closed = True
    async with trio.open_nursery() as nursery:
        nursery.start_soon(stream.send_all, b"blocked")
        await wait_all_tasks_blocked()
        for i in range(3):
            transport.put(b"%d" % i)
            assert await stream.receive_some() == b"%d" % i
        assert transport.sent == []
        transport.open()
    assert transport.sent == [b"blocked"]


@in_run
async def test_an_answer_waits_for_the_writer():
    stream, transport, _ = await scripted()
    transport.closed = True
    async with trio.open_nursery() as nursery:
        nursery.start_soon(stream.send_all, b"first")
        await wait_all_tasks_blocked()
        transport.put(b"?abc")
        nursery.start_soon(expect, b"abc", stream.receive_some)
        await wait_all_tasks_blocked()
        transport.open()
    assert transport.sent == [b"first", b"!"]


@in_run
async def test_an_answer_whose_reader_gave_up_is_sent_with_the_next_data():
    stream, transport, _ = await scripted()
    transport.closed = True
    async with trio.open_nursery() as nursery:
        nursery.start_soon(stream.send_all, b"first")
        await wait_all_tasks_blocked()
        transport.put(b"?")
        with trio.move_on_after(0.01) as scope:
            await stream.receive_some()
        assert scope.cancelled_caught
        # It does not keep the next reader.
        transport.put(b"abc")
        assert await stream.receive_some() == b"abc"
        transport.open()
    await stream.send_all(b"second")
    assert transport.sent == [b"first", b"!second"]


@in_run
async def test_a_reader_does_not_wait_for_the_next_writer_too():
    stream, transport, _ = await scripted()
    transport.closed = True
    done = False
    async with trio.open_nursery() as nursery:

        @nursery.start_soon
        async def send():
            await stream.send_all(b"first")
            transport.closed = True
            await stream.send_all(b"second")

        @nursery.start_soon
        async def receive():
            nonlocal done
            await wait_all_tasks_blocked()
            transport.put(b"?abc")
            assert await stream.receive_some() == b"abc"
            done = True

        await wait_all_tasks_blocked(0.01)
        transport.open()
        await wait_all_tasks_blocked(0.01)
        # The second write, which is not through, has the answer with it.
        assert transport.sent == [b"first"]
        assert done
        transport.open()
    assert transport.sent == [b"first", b"!second"]


@in_run
async def test_waiting_to_send_is_sending():
    stream, transport, _ = await scripted()
    transport.closed = True
    async with trio.open_nursery() as nursery:
        nursery.start_soon(stream.wait_send_all_might_not_block)
        await wait_all_tasks_blocked()
        with pytest.raises(trio.BusyResourceError):
            await stream.send_all(b"x")
        transport.put(b"?abc")
        nursery.start_soon(expect, b"abc", stream.receive_some)
        await wait_all_tasks_blocked()
        transport.open()
    assert transport.sent == [b"!"]
    # The other way around it is waited for, and no harm done by not waiting.
    transport.closed = True
    async with trio.open_nursery() as nursery:
        transport.put(b"?abc")
        nursery.start_soon(expect, b"abc", stream.receive_some)
        await wait_all_tasks_blocked()
        nursery.start_soon(stream.wait_send_all_might_not_block)
        await wait_all_tasks_blocked()
        transport.open()
    with trio.move_on_after(0.01):
        transport.closed = True
        await stream.wait_send_all_might_not_block()
    transport.closed = False
    await stream.send_all(b"fine")


@in_run
async def test_closing_waits_for_the_writer_and_then_says_goodbye():
    stream, transport, _ = await scripted()
    transport.closed = True
    async with trio.open_nursery() as nursery:
        nursery.start_soon(stream.send_all, b"data")
        await wait_all_tasks_blocked()
        nursery.start_soon(stream.aclose)
        await wait_all_tasks_blocked()
        transport.open()
    assert transport.sent == [b"data", b".", "closed"]
    with pytest.raises(trio.ClosedResourceError):
        await stream.receive_some()


@in_run
async def test_cancelled_close():
    stream, transport, _ = await scripted()
    transport.closed = True
    with trio.move_on_after(0.01) as scope:
        await stream.aclose()
    assert scope.cancelled_caught
    assert transport.sent == ["closed"]
    with pytest.raises(trio.ClosedResourceError):
        await stream.send_all(b"x")


@in_run
async def test_unwrap_gives_the_rest_back():
    stream, transport, tls = await scripted()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(expect, (transport, b""), stream.unwrap)
        await wait_all_tasks_blocked()
        for operation in stream.receive_some, lambda: stream.send_all(b"x"):
            with pytest.raises(trio.BusyResourceError):
                await operation()
        transport.put(b".")
    assert transport.sent == [b"."]
    assert stream.transport_stream is None


@in_run
async def test_protocol_errors():
    for operation in (
        lambda stream: stream.receive_some(),
        lambda stream: stream.send_all(b"x"),
        lambda stream: stream.unwrap(),
    ):
        stream, transport, tls = await scripted()
        tls.rekey = True
        transport.put(b"#")
        with pytest.raises(trio.BrokenResourceError) as info:
            await operation(stream)
        assert str(info.value.__cause__) == "('what?',)"
        assert info.value.__context__ is info.value.__cause__
        with pytest.raises(trio.BrokenResourceError):
            await stream.receive_some()


@in_run
async def test_other_errors_leave_the_stream_as_it_is():
    stream, transport, tls = await scripted()
    transport.put(b"abc")
    read = tls.read

    def fail(size):
        tls.read = read
        raise ZeroDivisionError

    tls.read = fail
    with pytest.raises(ZeroDivisionError):
        await stream.receive_some()
    assert await stream.receive_some() == b"abc"


@in_run
async def test_checkpoints_on_a_transport_that_never_yields():
    stream, transport, _ = await scripted()
    with assert_checkpoints():
        await stream.send_all(b"abc")
    with assert_checkpoints():
        await stream.wait_send_all_might_not_block()
    transport.put(b"abcd")
    with assert_checkpoints():
        assert await stream.receive_some(3) == b"abc"
    with assert_checkpoints():
        assert await stream.receive_some() == b"d"


@in_run
async def test_cancelled_before_anything_was_done():
    stream, transport, _ = await scripted()
    transport.put(b"abc")
    for operation in (
        stream.receive_some,
        lambda: stream.send_all(b"x"),
        lambda: stream.send_all(b""),
        stream.wait_send_all_might_not_block,
        stream.unwrap,
    ):
        with trio.CancelScope() as scope:
            scope.cancel()
            await operation()
        assert scope.cancelled_caught
    assert transport.sent == []
    assert await stream.receive_some() == b"abc"
    await stream.send_all(b"works")
    assert transport.sent == [b"works"]


@in_run
async def test_https_compatible_end_from_the_transport():
    """An SSLStream as the transport may report such an end itself."""
    left, right = memory_stream_pair()
    transport = trio.SSLStream(left, ScriptedContext())
    stream = trio.SSLStream(transport, ScriptedContext(), https_compatible=True)
    await stream.do_handshake()
    await right.aclose()
    with assert_checkpoints():
        assert await stream.receive_some() == b""


@in_run
async def test_session_tickets_travel_with_the_first_data():
    client, server = memory_pair()
    await handshake(client, server)
    assert server._delayed_outgoing
    assert client._delayed_outgoing is None
    with pytest.raises(TypeError):
        server._delayed_outgoing = "text"
    await server.send_all(b"x")
    assert server._delayed_outgoing is None
    assert await client.receive_some() == b"x"


# --- what somebody else was to send, or to read


@in_run
async def test_an_answer_whose_reader_gave_up_is_sent_by_the_next_reader():
    stream, transport, _ = await scripted()
    transport.closed = True
    async with trio.open_nursery() as nursery:
        nursery.start_soon(stream.send_all, b"first")
        await wait_all_tasks_blocked()
        transport.put(b"?")
        with trio.move_on_after(0.01):
            await stream.receive_some()
        transport.open()
    assert transport.sent == [b"first"]
    async with trio.open_nursery() as nursery:
        nursery.start_soon(expect, b"abc", stream.receive_some)
        await wait_all_tasks_blocked()
        # The peer may not send anything before it has that.
        assert transport.sent == [b"first", b"!"]
        transport.put(b"abc")


@in_run
async def test_data_of_a_reader_that_gave_up_is_for_the_next_one():
    stream, transport, _ = await scripted()
    transport.closed = True
    async with trio.open_nursery() as nursery:
        nursery.start_soon(stream.send_all, b"first")
        await wait_all_tasks_blocked()
        transport.put(b"?abc")
        with trio.move_on_after(0.01) as scope:
            await stream.receive_some()
        assert scope.cancelled_caught
        transport.put(b"de")
        assert await stream.receive_some(2) == b"ab"
        assert await stream.receive_some() == b"c"
        assert await stream.receive_some() == b"de"
        # The same, for one that is driven by hand.
        for give_up in lambda receiving: receiving.close(), lambda receiving: None:
            transport.put(b"?fg")
            receiving = stream.receive_some()
            receiving.send(None)
            give_up(receiving)
            del receiving
            assert await stream.receive_some() == b"fg"
        transport.open()
    await stream.send_all(b"second")
    assert transport.sent == [b"first", b"!!!second"]


async def have_the_reader_lose_it():
    """Whether it did: which of two that wait is the next to send is chance."""
    stream, transport, tls = await scripted()
    transport.closed = True
    reader = trio.CancelScope()
    sent = False

    async def receive():
        with reader:
            await stream.receive_some()

    async def send():
        nonlocal sent
        with contextlib.suppress(trio.BrokenResourceError):
            await stream.send_all(b"second")
            sent = True

    async def write_first():
        tls.write(b"first")
        await stream._retry(lambda: None)

    async with trio.open_nursery() as nursery:
        nursery.start_soon(write_first)
        await wait_all_tasks_blocked()
        transport.put(b"?")
        nursery.start_soon(receive)
        await wait_all_tasks_blocked()
        nursery.start_soon(send)
        await wait_all_tasks_blocked()
        # The first goes through, and the next does not.
        transport.close_again = True
        transport.open()
        await wait_all_tasks_blocked()
        assert transport.sending
        assert stream._outgoing.pending == 0
        reader.cancel()
        await wait_all_tasks_blocked()
        by_writer = bool(transport.sending)
        transport.open()
    assert sent == by_writer == (b"!second" in transport.sent)
    return not by_writer


@in_run
async def test_whose_data_another_task_has_lost():
    """A writer whose data a reader takes with its own and then does not send."""
    for _ in range(100):
        if await have_the_reader_lose_it():
            return
    pytest.fail("in a hundred times it has always been the writer")


@in_run
async def test_a_writer_behind_one_that_was_cancelled():
    stream, transport, _ = await scripted()
    transport.closed = True
    async with trio.open_nursery() as nursery:
        nursery.start_soon(stream.send_all, b"first")
        await wait_all_tasks_blocked()
        transport.put(b"?abc")
        async with trio.open_nursery() as shielded:
            shielded.cancel_scope.shield = True
            # It has its data, and does not care.
            shielded.start_soon(expect, b"abc", stream.receive_some)
            shielded.start_soon(stream.aclose)
            await wait_all_tasks_blocked()
            nursery.cancel_scope.cancel()
            await wait_all_tasks_blocked()
            transport.open()
    # Neither the answer nor a good-bye follows half of a record.
    assert transport.sent == ["closed"]


@in_run
async def test_an_end_in_the_handshake_is_not_one_after_it():
    class Engine(ScriptedContext):
        def wrap_bio(self, incoming, outgoing, **kwargs):
            engine = super().wrap_bio(incoming, outgoing, **kwargs)
            setattr(engine, method, fail)
            return engine

    def fail(*args):
        raise ssl.SSLSyscallError  # without a text, even

    for method in "do_handshake", "read":
        stream = trio.SSLStream(Gate(), Engine(), https_compatible=True)
        if method == "do_handshake":
            assert await stream.receive_some() == b""
        else:
            with pytest.raises(trio.BrokenResourceError):
                await stream.receive_some()


@in_run
async def test_an_error_that_is_none_of_tls_costs_no_data():
    """For example one that a signal handler raises."""

    class Engine:
        records = [b"one", b"two", KeyError(), b"three"]  # noqa: RUF012

        def read(self, size, where=None):
            record = self.records.pop(0)
            stream._incoming.read(10)
            if isinstance(record, Exception):
                raise record
            if where is None:
                return record
            where[: len(record)] = record
            return len(record)

    stream, _, _ = await scripted()
    stream._set_engine(Engine(), stream._incoming, stream._outgoing, True)
    stream._incoming.write(bytes(40))
    with pytest.raises(KeyError):
        await stream.receive_some()
    assert await stream.receive_some() == b"onetwo"
    assert await stream.receive_some() == b"three"
