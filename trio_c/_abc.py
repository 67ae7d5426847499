"""The abstract base classes behind ``trio_c.abc``.

They are plain Python ABCs with empty ``__slots__``: programs subclass them,
slotted or not, and register their own classes into them. Subscripts such as
``Listener[SocketStream]`` are for annotations and base lists; they make
``types.GenericAlias`` objects, so that importing the package does not import
``typing``.
"""

from __future__ import annotations

from _socket import AF_INET, SOCK_STREAM
from abc import ABC, abstractmethod

import trio_c as trio

from ._native import MemoryReceiveChannel, MemorySendChannel

TYPE_CHECKING = False
if TYPE_CHECKING:
    from socket import AddressFamily, SocketKind
    from types import TracebackType
    from typing import Generic, Self, TypeVar

    from .lowlevel import Task
    from .socket import SocketType

    T = TypeVar("T")
    ResourceT_co = TypeVar("ResourceT_co", bound="AsyncResource", covariant=True)
    ReceivedT_co = TypeVar("ReceivedT_co", covariant=True)
    SentT_contra = TypeVar("SentT_contra", contravariant=True)
else:

    class _Subscriptable:
        """A base whose subclasses can be subscripted, to no effect."""

        __slots__ = ()
        __class_getitem__ = classmethod(type(list[int]))

    # At run time ``Generic[anything below]`` is that base; type checkers read
    # the branch above.
    ResourceT_co = ReceivedT_co = SentT_contra = None
    Generic = {None: _Subscriptable}


class Clock(ABC):
    """How a run measures time; pass an instance as ``run(..., clock=)``.

    All times are in seconds, as floats. Where the clock's zero lies is its
    own business; only differences count.
    """

    __slots__ = ()

    @abstractmethod
    def start_clock(self) -> None:
        """Called once, at the beginning of the run that uses this clock."""

    @abstractmethod
    def current_time(self) -> float:
        """The time now, as :func:`trio_c.current_time` reports it."""

    @abstractmethod
    def deadline_to_sleep_time(self, deadline: float) -> float:
        """How many real seconds to wait before `deadline` may be reached.

        `deadline` is a time of this clock. The run sleeps at most this long
        and then looks again, so an answer that is too small costs a wake-up
        and one that is too large makes timeouts late. Zero or less means
        that the deadline has passed.
        """


class Instrument(ABC):  # noqa: B024  every hook is optional
    """Base class for objects that watch a run from inside.

    Give instances to ``run(..., instruments=[...])`` or to
    :func:`trio_c.lowlevel.add_instrument`. Override the hooks you need; those
    left alone are never called and cost nothing. Hooks are synchronous and
    run in the scheduler: one that raises is logged and its instrument
    removed, the run goes on.
    """

    __slots__ = ()

    def before_run(self) -> None:  # noqa: B027
        """The run is about to begin."""

    def after_run(self) -> None:  # noqa: B027
        """The run is over, right before its result is handed back."""

    def task_spawned(self, task: Task) -> None:  # noqa: B027
        """`task` was created and will soon be scheduled for the first time."""

    def task_scheduled(self, task: Task) -> None:  # noqa: B027
        """`task` became ready to run, in this or the next batch."""

    def before_task_step(self, task: Task) -> None:  # noqa: B027
        """`task` is about to run until it next blocks or ends."""

    def after_task_step(self, task: Task) -> None:  # noqa: B027
        """`task` has stopped running for now; pairs `before_task_step`."""

    def task_exited(self, task: Task) -> None:  # noqa: B027
        """`task` has ended, with or without an error."""

    def before_io_wait(self, timeout: float) -> None:  # noqa: B027
        """The run is about to ask the system for I/O events.

        It will wait for `timeout` seconds at most; zero means that it only
        looks.
        """

    def after_io_wait(self, timeout: float) -> None:  # noqa: B027
        """The system was asked for I/O events; pairs `before_io_wait`."""


class HostnameResolver(ABC):
    """Replaces name resolution for one run.

    See :func:`trio_c.socket.set_custom_hostname_resolver`.
    """

    __slots__ = ()

    @abstractmethod
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
            AddressFamily,
            SocketKind,
            int,
            str,
            tuple[str, int] | tuple[str, int, int, int] | tuple[int, bytes],
        ]
    ]:
        """Answer a :func:`trio_c.socket.getaddrinfo` call.

        A `host` that was given as text arrives here IDNA-encoded, as bytes.
        Numeric addresses are resolved without asking.
        """

    @abstractmethod
    async def getnameinfo(
        self,
        sockaddr: tuple[str, int] | tuple[str, int, int, int],
        flags: int,
    ) -> tuple[str, str]:
        """Answer a :func:`trio_c.socket.getnameinfo` call."""


class SocketFactory(ABC):
    """Replaces ``trio_c.socket.socket`` for one run.

    See :func:`trio_c.socket.set_custom_socket_factory`.
    """

    __slots__ = ()

    @abstractmethod
    def socket(
        self,
        family: AddressFamily | int = AF_INET,
        type: SocketKind | int = SOCK_STREAM,
        proto: int = 0,
    ) -> SocketType:
        """Create a socket object, or raise the error that creating it gives.

        What comes back must be an instance of
        :class:`trio_c.socket.SocketType`, so a fake has to subclass that.
        """


class AsyncResource(ABC):
    """Something that has to be closed, where closing may need to wait.

    Usable in ``async with``, which closes it at the end of the block.
    """

    __slots__ = ()

    @abstractmethod
    async def aclose(self) -> None:
        """Close the resource, in good order if there is time for that.

        Closing twice is fine: the second call does nothing but checkpoint.
        When cancelled, this must still release everything, abruptly, before
        it lets :exc:`trio_c.Cancelled` out: :func:`trio_c.aclose_forcefully`
        relies on it. Every later operation on the resource raises
        :exc:`trio_c.ClosedResourceError`, and so should an operation that
        another task was blocked in.
        """

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self,
        exc_type: type[BaseException] | None,
        exc_value: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        await self.aclose()


class SendStream(AsyncResource):
    """The sending end of a stream of bytes.

    Not for values with boundaries of their own; see :class:`SendChannel`.
    """

    __slots__ = ()

    @abstractmethod
    async def send_all(self, data: bytes | bytearray | memoryview) -> None:
        """Send all of `data`, waiting as long as the other side needs.

        If this raises or is cancelled, any part of `data` may have been sent
        and it cannot be known which, so the stream can only be closed.

        Raises:
          trio_c.BusyResourceError: another task is in a sending method.
          trio_c.BrokenResourceError: the connection failed, or the other end
              is closed.
          trio_c.ClosedResourceError: this end was closed, earlier or during
              the call.
        """

    @abstractmethod
    async def wait_send_all_might_not_block(self) -> None:
        """Wait until :meth:`send_all` has a chance to return at once.

        For senders that choose what to send as late as they can. It may come
        back too early but never sleeps on when there is room.

        Raises:
          trio_c.BusyResourceError: another task is in a sending method.
          trio_c.BrokenResourceError: the connection failed. Returning instead
              is allowed too; the next :meth:`send_all` will tell.
          trio_c.ClosedResourceError: this end was closed, earlier or during
              the call.
        """


class ReceiveStream(AsyncResource):
    """The receiving end of a stream of bytes.

    ``async for`` gives the chunks as they come, until the stream ends. How
    the bytes are cut into chunks means nothing.
    """

    __slots__ = ()

    @abstractmethod
    async def receive_some(self, max_bytes: int | None = None) -> bytes | bytearray:
        """Wait for data and return between one and `max_bytes` bytes of it.

        Without `max_bytes` the stream picks a size that suits it. An empty
        result means the end of the stream: the other side has sent
        everything it wanted to.

        Raises:
          trio_c.BusyResourceError: another task is receiving.
          trio_c.BrokenResourceError: the connection failed.
          trio_c.ClosedResourceError: this end was closed, earlier or during
              the call.
          ValueError: `max_bytes` is less than one.
        """

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> bytes | bytearray:
        chunk = await self.receive_some()
        if chunk:
            return chunk
        raise StopAsyncIteration


class Stream(SendStream, ReceiveStream):
    """A stream of bytes in each direction.

    One task may send while another receives.
    """

    __slots__ = ()


class HalfCloseableStream(Stream):
    """A two-way stream whose sending half can be ended on its own."""

    __slots__ = ()

    @abstractmethod
    async def send_eof(self) -> None:
        """Tell the other side that nothing more will be sent.

        Receiving goes on as before. Doing it twice is fine; sending
        afterwards raises :exc:`trio_c.ClosedResourceError`.

        Raises:
          trio_c.BusyResourceError: another task is in a sending method.
          trio_c.BrokenResourceError: the connection failed.
          trio_c.ClosedResourceError: this end was closed, earlier or during
              the call.
        """


class Listener(AsyncResource, Generic[ResourceT_co]):
    """Waits for peers and hands out one resource for each.

    The subscript names what is handed out, as in ``Listener[Stream]``.
    """

    __slots__ = ()

    @abstractmethod
    async def accept(self) -> ResourceT_co:
        """Wait for the next peer and return the connection to it.

        Raises:
          trio_c.ClosedResourceError: the listener was closed, earlier or
              during the call.

        Other errors mean that this one attempt failed, and possibly that
        later ones will; which of the two depends on the listener.
        """


class SendChannel(AsyncResource, Generic[SentT_contra]):
    """The sending end of a channel that carries Python objects.

    The subscript names their type. Closing it should let the receiving end
    finish what is under way and then see :exc:`trio_c.EndOfChannel`.
    """

    __slots__ = ()

    @abstractmethod
    async def send(self, value: SentT_contra) -> None:
        """Send `value`, waiting until the channel can take it.

        Raises:
          trio_c.BrokenResourceError: nobody can receive any more.
          trio_c.ClosedResourceError: this end was closed, earlier or during
              the call.
          trio_c.BusyResourceError: another task is sending, where a channel
              does not allow for that.
        """


class ReceiveChannel(AsyncResource, Generic[ReceivedT_co]):
    """The receiving end of a channel that carries Python objects.

    The subscript names their type. ``async for`` receives until the channel
    ends.
    """

    __slots__ = ()

    @abstractmethod
    async def receive(self) -> ReceivedT_co:
        """Wait for a value and return it.

        Raises:
          trio_c.EndOfChannel: the sending end is closed and everything it
              sent has been received.
          trio_c.BrokenResourceError: the connection failed.
          trio_c.ClosedResourceError: this end was closed, earlier or during
              the call.
          trio_c.BusyResourceError: another task is receiving, where a channel
              does not allow for that.
        """

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> ReceivedT_co:
        try:
            return await self.receive()
        except trio.EndOfChannel:
            raise StopAsyncIteration from None


if TYPE_CHECKING:

    class Channel(SendChannel[T], ReceiveChannel[T]):
        __slots__ = ()
else:

    class Channel(SendChannel, ReceiveChannel):
        """A channel in each direction, for values of one type."""

        __slots__ = ()


# Native classes do not inherit from Python ones.
SendChannel.register(MemorySendChannel)
ReceiveChannel.register(MemoryReceiveChannel)
