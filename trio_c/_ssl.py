"""TLS on top of any stream, with the standard library's `ssl` module.

The protocol is the business of an :class:`ssl.SSLObject`, which does no I/O: it
reads what the peer sent from one memory buffer and leaves what is to be sent
in another. What is left to do here is to carry bytes between those buffers
and the transport, in an order that never waits for the wrong thing:

- Any call on the SSLObject, a read or a write, may want to send (an answer to
  a request for new keys) and to receive (a handshake in the middle of the
  connection). So after each call what it left is sent, and only when there
  was nothing does a call that wants input get to wait for it.
- A read and a write may both wait for input at the same time. Only one of them
  can receive; what it got may be all the other one needs.
- What the SSLObject wrote is taken out of the buffer by whoever has the right
  to send, and not before, so that it is sent in the order in which it was
  written, and nothing is lost when somebody gives up waiting for that right.
- In TLS 1.3 a server's last words of the handshake, the session tickets, come
  after the client considers it done. A client that connects, sends and closes
  without ever reading would make a server that sends them fail, or, if the
  transport has no buffer, hang. So they wait until the server has something
  else to send. https://github.com/python-trio/trio/issues/819 has the story.
"""

from __future__ import annotations

import contextlib
import ssl as _stdlib_ssl

import trio_c as trio

from . import _native
from ._abc import Listener, Stream
from ._highlevel_generic import aclose_forcefully
from ._util import final

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, ClassVar, Final, Generic, TypeVar

    T_Stream = TypeVar("T_Stream", bound=Stream)
else:
    from ._abc import _Subscriptable

    # Read by type checkers only; see _abc.
    T_Stream = None
    Generic = {None: _Subscriptable}

# What receive_some() asks for when it may choose, in bytes: the most that one
# TLS record can hold. It grows with what the transport delivers at once.
STARTING_RECEIVE_SIZE: Final = 16384


def _is_eof(exc: BaseException | None) -> bool:
    """Did the peer go away without a good-bye?

    OpenSSL 3 and later can report that as an ordinary error, which is told
    from others by its text only.
    """
    return isinstance(
        exc, _stdlib_ssl.SSLEOFError
    ) or "UNEXPECTED_EOF_WHILE_READING" in (getattr(exc, "strerror", None) or ())


def _is_end(exc: trio.BrokenResourceError, in_handshake: bool) -> bool:
    """Does a stream that is HTTPS-compatible take that error for a good-bye?"""
    cause = exc.__cause__
    # Before OpenSSL 3 an end before the handshake was a "system error", with no
    # error number.
    return _is_eof(cause) or (
        bool(in_handshake) and isinstance(cause, _stdlib_ssl.SSLSyscallError)
    )


class NeedHandshakeError(Exception):
    """A question about the connection that only the handshake can answer.

    Await :meth:`SSLStream.do_handshake` first.
    """


class _State:
    """The values of ``SSLStream._state``."""

    OK, BROKEN, CLOSED = range(3)


@final
class SSLStream(_native.SSLStreamBase, Stream, Generic[T_Stream]):
    """Encrypted communication over another stream, by TLS.

    Creating one does no I/O. The handshake happens when :meth:`do_handshake` is
    called, or by itself when data is sent or received for the first time.

    Args:
      transport_stream (trio_c.abc.Stream): what carries the encrypted bytes.
          It belongs to the SSLStream from now on. It is also an attribute of
          that name.
      ssl_context (ssl.SSLContext): certificates, and what to accept; usually
          from :func:`ssl.create_default_context`.
      server_hostname (str, bytes or None): for a client, the name that the
          server's certificate has to be for. It is also told to the server.
      server_side (bool): be the server.
      https_compatible (bool): how to treat the end of the connection. By the
          standard both sides say good-bye, which tells the end of the data
          from a connection that somebody has cut. With True, as HTTP clients
          and servers do it, :meth:`aclose` closes the transport without a
          good-bye and a missing one is read as the end; the protocol on top
          must then know by itself where a message ends.

    Like :class:`ssl.SSLObject`, and with the same meaning, it has the attributes
    ``context``, ``server_side``, ``server_hostname``, ``session`` and the methods
    ``pending``; and once the handshake is done ``session_reused``,
    ``getpeercert``, ``selected_npn_protocol``, ``selected_alpn_protocol``,
    ``cipher``, ``shared_ciphers``, ``compression``, ``get_channel_binding``,
    ``version``, which raise :exc:`NeedHandshakeError` before.

    One task may send while another receives. Any error in the protocol breaks
    the stream: that call, and all that follow, raise
    :exc:`trio_c.BrokenResourceError`, with the :exc:`ssl.SSLError` as the cause
    where it happened. Cancelling a call that is sending breaks it too, for
    nobody can tell how much went out; cancelling one that is receiving does
    no harm.
    """

    transport_stream: T_Stream

    def __init__(
        self,
        transport_stream: T_Stream,
        ssl_context: _stdlib_ssl.SSLContext,
        *,
        server_hostname: str | bytes | None = None,
        server_side: bool = False,
        https_compatible: bool = False,
    ) -> None:
        self.transport_stream: T_Stream = transport_stream
        self._https_compatible = bool(https_compatible)
        self._estimated_receive_size = STARTING_RECEIVE_SIZE
        incoming = _stdlib_ssl.MemoryBIO()
        outgoing = _stdlib_ssl.MemoryBIO()
        ssl_object = ssl_context.wrap_bio(
            incoming,
            outgoing,
            server_side=server_side,
            # The standard library takes bytes too; its annotation does not say.
            server_hostname=server_hostname,
        )
        self._use(ssl_object, incoming, outgoing)
        # Set when the handshake is over; None until somebody begins it.
        self._handshake_over: trio.Event | None = None

    def _use(
        self,
        ssl_object: _stdlib_ssl.SSLObject,
        incoming: _stdlib_ssl.MemoryBIO,
        outgoing: _stdlib_ssl.MemoryBIO,
    ) -> None:
        engine = None
        if type(ssl_object) is _stdlib_ssl.SSLObject:
            # Its methods only pass on to those of the native object inside.
            engine = getattr(ssl_object, "_sslobj", None)
        self._engine = ssl_object
        self._set_engine(engine or ssl_object, incoming, outgoing, engine is not None)

    @property
    def _ssl_object(self) -> _stdlib_ssl.SSLObject:
        # Whoever gets hold of it may ask it for something that the next read
        # has to begin, like verify_client_post_handshake(): that read must not
        # be left out for there being nothing to read.
        self._drained = False
        return self._engine

    @_ssl_object.setter
    def _ssl_object(self, ssl_object: _stdlib_ssl.SSLObject) -> None:
        self._use(ssl_object, self._incoming, self._outgoing)

    _after_handshake: ClassVar = {
        "session_reused",
        "getpeercert",
        "selected_npn_protocol",
        "cipher",
        "shared_ciphers",
        "compression",
        "get_channel_binding",
        "selected_alpn_protocol",
        "version",
    }
    _forwarded: ClassVar = {
        "context",
        "server_side",
        "server_hostname",
        "session",
        "pending",
        *_after_handshake,
    }

    def __getattr__(self, name: str) -> Any:
        if name not in self._forwarded:
            raise AttributeError(name)
        if name in self._after_handshake and not self._handshaken:
            raise NeedHandshakeError(f"call do_handshake() before calling {name!r}")
        return getattr(self._ssl_object, name)

    def __setattr__(self, name: str, value: object) -> None:
        if name in self._forwarded:
            setattr(self._ssl_object, name, value)
        else:
            super().__setattr__(name, value)

    def __dir__(self) -> list[str]:
        return [*super().__dir__(), *self._forwarded]

    def _check_status(self) -> None:
        if self._state == _State.BROKEN:
            raise trio.BrokenResourceError
        if self._state == _State.CLOSED:
            raise trio.ClosedResourceError

    # What follows is given to the native _retry() until it succeeds.

    def _handshake_step(self) -> None:
        ssl_object = self._ssl_object
        ssl_object.do_handshake()
        if ssl_object.server_side and ssl_object.version() == "TLSv1.3":
            self._delayed_outgoing = self._outgoing.read()

    def _goodbye_step(self) -> None:
        with contextlib.suppress(_stdlib_ssl.SSLWantReadError):
            self._ssl_object.unwrap()

    async def _ensure_handshake(self) -> None:
        """Do the handshake, or wait for whoever does it; if it has been done, do
        not even yield.
        """
        if self._handshake_over is None:
            self._handshake_over = trio.Event()
            try:
                await self._retry(self._handshake_step)
                self._handshaken = True
            except:
                self._state = _State.BROKEN
                raise
            finally:
                self._handshake_over.set()
        elif not self._handshaken:
            await self._handshake_over.wait()
            self._check_status()

    async def do_handshake(self) -> None:
        """Make sure that the handshake is done. A checkpoint.

        Never necessary, but it lets you find out early whether the peer is
        acceptable, and what has been negotiated. Any number of tasks may call
        it, any number of times; the first to need the handshake does it and
        the others wait.

        If the handshake does not succeed, or is cancelled, the stream is
        broken. In TLS 1.3 a server may reject a client's certificate after the
        client's handshake is done; the client learns of it when it receives.

        Raises:
          trio_c.BrokenResourceError: the handshake failed, now or before; or
              the stream is broken for other reasons.
          trio_c.ClosedResourceError: the stream is closed.
        """
        self._check_status()
        if self._handshaken:
            await trio.lowlevel.checkpoint()
        else:
            await self._ensure_handshake()

    async def unwrap(self) -> tuple[Stream, bytes | bytearray]:
        """End TLS in the agreed way, and go on with the bare transport.

        For protocols that switch to TLS and back. Sends a good-bye and waits
        for the peer's; the peer must want the same. The SSLStream is closed
        afterwards, without closing the transport, and its `transport_stream` is
        None. A checkpoint; if it is cancelled the stream may be broken.

        Returns:
          The transport, and what has been received from it already and comes
          after the end of TLS, as bytes.

        Raises:
          trio_c.BusyResourceError: another task is sending or receiving.
          trio_c.BrokenResourceError: the stream is broken; that the peer has
              sent data where a good-bye was expected is one reason.
          trio_c.ClosedResourceError: the stream is closed.
        """
        self._claim()
        try:
            self._check_status()
            await self._ensure_handshake()
            await self._retry(self._ssl_object.unwrap)
            transport_stream = self.transport_stream
            self._state = _State.CLOSED
            self.transport_stream = None  # type: ignore[assignment]
            return transport_stream, self._incoming.read()
        finally:
            self._unclaim()

    async def aclose(self) -> None:
        """Say good-bye, if the stream is whole, and close the transport.

        A checkpoint. Does not wait for the peer's good-bye; with
        ``https_compatible=True`` says none itself. If it is cancelled the
        transport is closed forcefully. Closing a closed stream does nothing.
        """
        if self._state == _State.CLOSED:
            await trio.lowlevel.checkpoint()
            return
        if self._state == _State.BROKEN or self._https_compatible:
            self._state = _State.CLOSED
            await self.transport_stream.aclose()
            return
        try:
            # OpenSSL cannot say good-bye before it has said hello.
            await self._ensure_handshake()
            # What may go wrong is that the peer is gone already, or, if the
            # transport cannot take two senders, that somebody is sending. The
            # good-bye is a courtesy, and closing is no time to complain.
            with contextlib.suppress(trio.BrokenResourceError, trio.BusyResourceError):
                await self._retry(self._goodbye_step)
        except:
            # It is not cleaner than this if we were cancelled, or if the
            # handshake failed; the reason for that is to be seen.
            await aclose_forcefully(self.transport_stream)
            raise
        else:
            await self.transport_stream.aclose()
        finally:
            self._state = _State.CLOSED


@final
class SSLListener(Listener[SSLStream[T_Stream]]):
    """Accepts connections on another listener and puts TLS on them.

    Args:
      transport_listener (trio_c.abc.Listener): whose connections. It belongs
          to the SSLListener from now on. It is also an attribute of that name.
      ssl_context (ssl.SSLContext): has the server's certificate.
      https_compatible (bool): as in :class:`SSLStream`.
    """

    def __init__(
        self,
        transport_listener: Listener[T_Stream],
        ssl_context: _stdlib_ssl.SSLContext,
        *,
        https_compatible: bool = False,
    ) -> None:
        self.transport_listener = transport_listener
        self._ssl_context = ssl_context
        self._https_compatible = https_compatible

    async def accept(self) -> SSLStream[T_Stream]:
        """Wait for the next connection.

        The stream that is returned has not done its handshake, so that a slow
        client does not keep others waiting.

        Raises:
          Whatever the transport's `accept` raises.
        """
        transport_stream = await self.transport_listener.accept()
        try:
            return SSLStream(
                transport_stream,
                self._ssl_context,
                server_side=True,
                https_compatible=self._https_compatible,
            )
        except BaseException:
            # The context is one for clients, for example.
            await aclose_forcefully(transport_stream)
            raise

    async def aclose(self) -> None:
        """Close the transport's listener."""
        await self.transport_listener.aclose()


_native.set_ssl(_stdlib_ssl.SSLError, _stdlib_ssl.SSLWantReadError, _is_end)
