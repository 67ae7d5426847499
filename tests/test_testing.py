"""trio_c.testing: the helpers do notice what they are there to notice."""

import inspect

import pytest

import trio_c
from trio_c import testing
from trio_c.testing import trio_test


def test_public_names_live_there():
    for name in dir(testing):
        obj = getattr(testing, name)
        if not name.startswith("_") and hasattr(obj, "__name__"):
            assert obj.__module__ == "trio_c.testing", name
            assert obj.__doc__, name


# --- checkpoints


@trio_test
async def test_assert_checkpoints_wants_both_halves():
    halves = [
        trio_c.lowlevel.checkpoint_if_cancelled,
        trio_c.lowlevel.cancel_shielded_checkpoint,
    ]
    for half in halves:
        complaint = pytest.raises(
            AssertionError, match=r"^assert_checkpoints block did"
        )
        with complaint, testing.assert_checkpoints():
            await half()
        complaint = pytest.raises(AssertionError, match=r"^assert_no_checkpoints block")
        with complaint, testing.assert_no_checkpoints():
            await half()
    with testing.assert_checkpoints():
        for half in halves:
            await half()
    with testing.assert_no_checkpoints():
        pass


@trio_test
async def test_assert_checkpoints_and_errors():
    # An error passes unless there was a checkpoint where none may be.
    with pytest.raises(KeyError), testing.assert_checkpoints():
        raise KeyError
    with pytest.raises(KeyError), testing.assert_no_checkpoints():
        raise KeyError
    with pytest.raises(AssertionError) as info, testing.assert_no_checkpoints():
        await trio_c.lowlevel.checkpoint()
        raise KeyError
    assert isinstance(info.value.__context__, KeyError)


@trio_test
async def test_assert_checkpoints_is_about_the_task():
    async with trio_c.open_nursery() as nursery:
        nursery.start_soon(trio_c.lowlevel.checkpoint)
        with testing.assert_no_checkpoints():
            nursery.start_soon(trio_c.lowlevel.checkpoint)


# --- trio_test


def test_trio_test_uses_its_keywords():
    clock = testing.MockClock()
    steps = []

    class Watching(trio_c.abc.Instrument):
        def after_run(self):
            steps.append("after_run")

    @trio_test
    async def run(*args, **kwargs):
        steps.append((args, kwargs))
        assert trio_c.lowlevel.current_clock() is clock
        return "result"

    watching = Watching()
    assert run(1, clock=clock, i=watching, other=2) == "result"
    assert steps == [((1,), {"clock": clock, "i": watching, "other": 2}), "after_run"]
    assert not inspect.iscoroutinefunction(run)
    assert run.__name__ == "run"
    with pytest.raises(ValueError, match=r"^too many clocks spoil the broth!$"):
        run(a=clock, b=testing.MockClock())


# --- Sequencer


@trio_test
async def test_sequencer_orders_and_survives_errors():
    seq = testing.Sequencer()
    record = []

    async def run(position):
        with pytest.raises(KeyError):
            async with seq(position):
                record.append(position)
                raise KeyError

    async with trio_c.open_nursery() as nursery:
        for position in (3, 1, 2, 0):
            nursery.start_soon(run, position)
    assert record == [0, 1, 2, 3]
    with pytest.raises(RuntimeError, match=r"^Attempted to reuse sequence point 2$"):
        await run(2)


@trio_test
async def test_sequencer_cancelled():
    seq = testing.Sequencer()
    messages = []

    async def wait(position):
        try:
            async with seq(position):
                messages.append("entered")
        except RuntimeError as exc:
            messages.append(str(exc))

    async with trio_c.open_nursery() as nursery:
        nursery.start_soon(wait, 5)
        await testing.wait_all_tasks_blocked()
        with trio_c.CancelScope() as scope:
            scope.cancel()
            await wait(3)
    await wait(0)
    assert messages == [
        "Sequencer wait cancelled -- sequence broken",
        "sequence broken!",
        "sequence broken!",
    ]


# --- memory streams


@trio_test
async def test_sender_with_nothing_to_send_does_not_wake_the_reader():
    stream = testing.MemorySendStream()
    async with trio_c.open_nursery() as nursery:

        @nursery.start_soon
        async def reader():
            assert await stream.get_data() == b"data"

        await testing.wait_all_tasks_blocked()
        await stream.wait_send_all_might_not_block()
        await stream.send_all(b"")
        await testing.wait_all_tasks_blocked()
        assert len(nursery.child_tasks) == 1
        await stream.send_all(b"data")


@trio_test
async def test_memory_streams_refuse_a_second_user():
    hold = trio_c.Event()
    sending = testing.MemorySendStream(send_all_hook=hold.wait)
    receiving = testing.MemoryReceiveStream()
    async with trio_c.open_nursery() as nursery:
        nursery.start_soon(sending.send_all, b"x")
        nursery.start_soon(receiving.receive_some)
        await testing.wait_all_tasks_blocked()
        for call in (
            lambda: sending.send_all(b"y"),
            sending.wait_send_all_might_not_block,
            receiving.receive_some,
        ):
            with pytest.raises(
                trio_c.BusyResourceError, match=r"^another task is using this stream$"
            ):
                await call()
        hold.set()
        receiving.put_eof()


@trio_test
async def test_memory_receive_stream_closed_while_receiving():
    stream = testing.MemoryReceiveStream()
    async with trio_c.open_nursery() as nursery:

        @nursery.start_soon
        async def receiver():
            with pytest.raises(trio_c.ClosedResourceError):
                await stream.receive_some()

        await testing.wait_all_tasks_blocked()
        stream.close()


@trio_test
async def test_sizes_are_checked():
    for stream in (
        testing.MemoryReceiveStream(),
        testing.lockstep_stream_one_way_pair()[1],
    ):
        for bad, error in [(0, ValueError), (-1, ValueError), ("1", TypeError)]:
            with pytest.raises(error):
                await stream.receive_some(bad)


@trio_test
async def test_pump_into_closed_stream():
    sending, receiving = testing.memory_stream_one_way_pair()
    receiving.close()
    with pytest.raises(
        trio_c.BrokenResourceError, match=r"^MemoryReceiveStream was closed$"
    ) as info:
        await sending.send_all(b"x")
    assert info.value.__suppress_context__
    assert testing.memory_stream_pump(sending, receiving) is False


@trio_test
async def test_pair_with_trickle():
    client, server = testing.memory_stream_pair()

    async def trickle():
        while testing.memory_stream_pump(
            client.send_stream, server.receive_stream, max_bytes=1
        ):
            await testing.wait_all_tasks_blocked()

    client.send_stream.send_all_hook = trickle
    pieces = []
    async with trio_c.open_nursery() as nursery:

        @nursery.start_soon
        async def receiver():
            pieces.extend([bytes(piece) async for piece in server])

        await testing.wait_all_tasks_blocked()
        await client.send_all(b"abc")
        await client.send_eof()
    assert pieces == [b"a", b"b", b"c"]


@trio_test
async def test_lockstep_send_ends_with_the_last_byte():
    sending, receiving = testing.lockstep_stream_one_way_pair()
    record = []
    async with trio_c.open_nursery() as nursery:

        @nursery.start_soon
        async def sender():
            await sending.send_all(b"abc")
            record.append("sent")

        for expected in (b"ab", b"c"):
            await testing.wait_all_tasks_blocked()
            assert record == []
            assert await receiving.receive_some(2) == expected
    assert record == ["sent"]


@trio_test
async def test_lockstep_receiver_leaves():
    sending, receiving = testing.lockstep_stream_one_way_pair()
    async with trio_c.open_nursery() as nursery:

        @nursery.start_soon
        async def sender():
            with pytest.raises(trio_c.BrokenResourceError):
                await sending.send_all(b"abc")

        await testing.wait_all_tasks_blocked()
        assert await receiving.receive_some(2) == b"ab"
        receiving.close()
    with pytest.raises(trio_c.ClosedResourceError):
        await receiving.receive_some()
    with pytest.raises(trio_c.BrokenResourceError):
        await sending.send_all(b"")


# --- the stream checks


def pair_maker(send_class=None, receive_class=None):
    """A maker of lockstep pairs whose ends are wrapped."""

    async def maker():
        sending, receiving = testing.lockstep_stream_one_way_pair()
        if send_class is not None:
            sending = send_class(sending)
        if receive_class is not None:
            receiving = receive_class(receiving)
        return sending, receiving

    return maker


class Sender(trio_c.abc.SendStream):
    def __init__(self, inner):
        self.inner = inner

    async def send_all(self, data):
        await self.inner.send_all(data)

    async def wait_send_all_might_not_block(self):
        await self.inner.wait_send_all_might_not_block()

    async def aclose(self):
        await self.inner.aclose()


class Receiver(trio_c.abc.ReceiveStream):
    def __init__(self, inner):
        self.inner = inner

    async def receive_some(self, max_bytes=None):
        return await self.inner.receive_some(max_bytes)

    async def aclose(self):
        await self.inner.aclose()


class ReturnsACount(Sender):
    async def send_all(self, data):
        await self.inner.send_all(data)
        return len(data)


class SkipsEmptySends(Sender):
    async def send_all(self, data):
        if data:
            await self.inner.send_all(data)


class NeverWaits(Sender):
    async def wait_send_all_might_not_block(self):
        await trio_c.lowlevel.checkpoint()


class LosesTheEnd(Receiver):
    async def receive_some(self, max_bytes=None):
        data = await self.inner.receive_some(max_bytes)
        if not data:
            raise trio_c.BrokenResourceError
        return data


class ClampsSizes(Receiver):
    async def receive_some(self, max_bytes=None):
        if isinstance(max_bytes, int):
            max_bytes = max(max_bytes, 1)
        return await self.inner.receive_some(max_bytes)


class ClosesLater(Receiver):
    async def aclose(self):
        await trio_c.lowlevel.checkpoint()
        await self.inner.aclose()


class ClosesWithoutCheckpoint(Receiver):
    async def aclose(self):
        self.inner.close()


def failures(exc):
    """The exceptions that are not cancellations, at any depth."""
    if isinstance(exc, BaseExceptionGroup):
        return [leaf for inner in exc.exceptions for leaf in failures(inner)]
    return [] if isinstance(exc, trio_c.Cancelled) else [exc]


def run_check(check, *makers):
    async def main():
        # A faulty stream may well block for good.
        with trio_c.fail_after(1000):
            await check(*makers)

    trio_c.run(main, clock=testing.MockClock(autojump_threshold=0.5))


def test_check_accepts_good_streams():
    maker = pair_maker(Sender, Receiver)
    run_check(testing.check_one_way_stream, maker, maker)
    run_check(testing.check_one_way_stream, maker, None)


@pytest.mark.parametrize("send_class", [ReturnsACount, SkipsEmptySends, NeverWaits])
def test_check_finds_faulty_sender(send_class):
    maker = pair_maker(send_class, Receiver)
    with pytest.raises((AssertionError, BaseExceptionGroup)) as info:
        run_check(testing.check_one_way_stream, maker, maker)
    assert {type(exc) for exc in failures(info.value)} == {AssertionError}


@pytest.mark.parametrize(
    "receive_class", [LosesTheEnd, ClampsSizes, ClosesLater, ClosesWithoutCheckpoint]
)
def test_check_finds_faulty_receiver(receive_class):
    maker = pair_maker(Sender, receive_class)
    # An AssertionError, or an error that the fault lets through.
    with pytest.raises(Exception) as info:
        run_check(testing.check_one_way_stream, maker, maker)
    assert failures(info.value)


def test_check_looks_at_both_directions():
    async def maker():
        left, right = testing.lockstep_stream_pair()
        right.send_stream = ReturnsACount(right.send_stream)
        return left, right

    run_check(testing.check_one_way_stream, maker, None)
    with pytest.raises(ExceptionGroup) as info:
        run_check(testing.check_two_way_stream, maker, None)
    assert [type(exc) for exc in failures(info.value)] == [AssertionError]


def test_check_half_closeable():
    async def memory():
        return testing.memory_stream_pair()

    async def lockstep():
        return testing.lockstep_stream_pair()

    run_check(testing.check_half_closeable_stream, memory, None)

    # To staple over a stream without send_eof is to close it, whoever uses it.
    with pytest.raises(BaseException) as info:
        run_check(testing.check_half_closeable_stream, lockstep, lockstep)
    assert failures(info.value)


# --- sockets


@trio_test
async def test_open_stream_to_socket_listener():
    listeners = await trio_c.open_tcp_listeners(0)
    assert listeners
    for listener in listeners:
        async with listener:
            client = await testing.open_stream_to_socket_listener(listener)
            async with client, await listener.accept() as server:
                await client.send_all(b"x")
                assert await server.receive_some(1) == b"x"
                assert client.socket.getpeername() == server.socket.getsockname()
