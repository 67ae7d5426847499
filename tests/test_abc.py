"""trio_c.abc: what subclassing, registering and subscripting must allow."""

import typing
import weakref

import pytest

import trio_c
from trio_c import abc
from trio_c.testing import trio_test

NAMES = [name for name in dir(abc) if not name.startswith("_")]
T = typing.TypeVar("T")


def concrete(base, **members):
    """An instance of a subclass of `base`, with what it lacks filled in."""

    async def filler(self, *args):
        return None

    members = dict.fromkeys(base.__abstractmethods__, filler) | members
    return type("Concrete", (base,), {"__slots__": ()} | members)()


@pytest.mark.parametrize("name", NAMES)
def test_classes_are_slotted_abcs(name):
    cls = getattr(abc, name)
    assert cls.__module__ == "trio_c.abc"
    assert cls.__doc__
    if name != "Instrument":
        with pytest.raises(TypeError, match="abstract"):
            cls()
    assert not hasattr(concrete(cls), "__dict__")

    class Stranger:
        pass

    cls.register(Stranger)
    assert isinstance(Stranger(), cls)


@pytest.mark.parametrize("name", NAMES)
def test_methods_are_documented(name):
    for method in vars(getattr(abc, name)).values():
        if getattr(method, "__isabstractmethod__", False):
            assert method.__doc__
            assert method.__module__ == "trio_c.abc"


@pytest.mark.parametrize(
    "name", ["Listener", "SendChannel", "ReceiveChannel", "Channel"]
)
def test_generics(name):
    cls = getattr(abc, name)
    assert typing.get_origin(cls[int]) is cls
    assert typing.get_args(cls[T][str]) == (str,)
    assert typing.get_args(cls[int] | None) == (cls[int], type(None))

    class Bound(cls[int]):
        pass

    class Free(cls[T], typing.Generic[T]):
        pass

    assert issubclass(Bound, cls)
    assert issubclass(Free, cls)
    assert typing.get_args(Free[bytes]) == (bytes,)


def test_channel_is_both_directions():
    assert issubclass(abc.Channel, abc.SendChannel)
    assert issubclass(abc.Channel, abc.ReceiveChannel)
    assert issubclass(abc.HalfCloseableStream, abc.Stream)
    assert issubclass(abc.Stream, abc.SendStream)
    assert issubclass(abc.Stream, abc.ReceiveStream)


def test_instrument_hooks_exist_and_do_nothing():
    class Watching(abc.Instrument):
        def after_run(self):
            return super().after_run()

    watching = Watching()
    weakref.ref(watching)
    assert watching.after_run() is None
    assert watching.before_io_wait(1.5) is None
    assert watching.task_spawned(None) is None


@trio_test
async def test_async_with_closes():
    closed = []

    async def aclose(self):
        closed.append(self)

    resource = concrete(abc.AsyncResource, aclose=aclose)
    async with resource as entered:
        assert entered is resource
        assert closed == []
    assert closed == [resource]


@trio_test
async def test_async_for_ends_at_end_of_stream():
    chunks = [b"a", b"bc", b"", b"d"]

    async def receive_some(self, max_bytes=None):
        assert max_bytes is None
        return chunks.pop(0)

    stream = concrete(abc.ReceiveStream, receive_some=receive_some)
    assert [chunk async for chunk in stream] == [b"a", b"bc"]
    assert chunks == [b"d"]


@trio_test
async def test_async_for_ends_at_end_of_channel_only():
    values = [1, None, trio_c.EndOfChannel(), trio_c.BrokenResourceError()]

    async def receive(self):
        value = values.pop(0)
        if isinstance(value, Exception):
            raise value
        return value

    channel = concrete(abc.ReceiveChannel, receive=receive)
    assert [value async for value in channel] == [1, None]
    with pytest.raises(trio_c.BrokenResourceError):
        [value async for value in channel]
