"""DTLS: TLS over datagrams, RFC 6347.

OpenSSL, through the pyOpenSSL package, does the cryptography and decides what
the messages of a handshake are. What depends on time and on the network is
here, because OpenSSL expects a socket and a clock of its own for it: sending
lost messages again, fitting datagrams to the network, telling peers apart that
share a socket, and not falling for forged addresses. ``_dtls_wire`` knows the
format.

Trio's documentation calls its DTLS support experimental, and so is this.
"""

from __future__ import annotations

import errno
import os
import warnings
import weakref
from contextlib import suppress

import trio_c as trio

from ._abc import Channel
from ._core import TASK_STATUS_IGNORED
from ._dtls_cookies import KEY_BYTES, challenge_for, valid_cookie
from ._dtls_wire import (
    BadPacket,
    ContentType as ContentType,
    HandshakeFragment as HandshakeFragment,
    HandshakeType as HandshakeType,
    ProtocolVersion as ProtocolVersion,
    Record as Record,
    RecordEncoder,
    decode_client_hello_untrusted,
    decode_volley_trusted,
    encode_handshake_fragment as encode_handshake_fragment,
    encode_record as encode_record,
    is_alert,
    is_client_hello_untrusted,
    is_repetition,
    part_of_handshake_untrusted,
)
from ._frozen import frozen
from ._util import NoPublicConstructor, final

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable
    from types import TracebackType
    from typing import Self, TypeVarTuple, Unpack

    from OpenSSL import SSL

    from ._dtls_wire import Flight
    from ._socket import AddressFormat
    from .socket import SocketType

    PosArgsT = TypeVarTuple("PosArgsT")

MAX_UDP_PACKET_SIZE = 65527

################################################################
# Sizes of datagrams
################################################################


def packet_header_overhead(sock: SocketType) -> int:
    """How many bytes the headers of IP and UDP add to a datagram."""
    return 28 if sock.family == trio.socket.AF_INET else 48


def worst_case_mtu(sock: SocketType) -> int:
    """How many bytes every network must be able to carry in one datagram."""
    packet = 576 if sock.family == trio.socket.AF_INET else 1280
    return packet - packet_header_overhead(sock)


def best_guess_mtu(sock: SocketType) -> int:
    """How many bytes nearly every network carries in one datagram."""
    return 1500 - packet_header_overhead(sock)


################################################################
# One connection
################################################################

# Seconds to wait for an answer, at most (section 4.2.4.1).
_MAX_RETRANSMIT_TIMEOUT = 60.0

# Bytes of data in a packet, and that OpenSSL returns at once (section 4.1).
_MAX_RECORD_SIZE = 2**14


def _read_all(read: Callable[[int], bytes]) -> bytes:
    """What the method `read` of an OpenSSL connection has to give."""
    chunks = []
    with suppress(SSL.WantReadError):
        while True:
            chunks.append(read(_MAX_RECORD_SIZE))
    return b"".join(chunks)


@frozen
class DTLSChannelStatistics:
    """What :meth:`DTLSChannel.statistics` returns.

    Attributes:
      incoming_packets_dropped_in_trio: how many packets came from the peer
          while ``incoming_packets_buffer`` others were waiting to be received,
          and were thrown away for that. If there are many, call
          :meth:`~DTLSChannel.receive` more often or let the buffer be larger.
    """

    incoming_packets_dropped_in_trio: int


@final
class DTLSChannel(Channel[bytes], metaclass=NoPublicConstructor):
    """A connection to one peer, as a channel of packets of bytes.

    :meth:`DTLSEndpoint.connect` and :meth:`DTLSEndpoint.serve` make them.

    As with all datagrams, packets may be lost or overtake one another, but what
    comes is what the peer has sent, and comes once. Any number of tasks may
    send and receive at the same time.

    If the peer starts anew from the same address, as it does after a restart,
    or :meth:`DTLSEndpoint.connect` is called again for its address, the new
    connection takes the place of this one, which then raises
    :exc:`trio_c.BrokenResourceError`. Nothing else tells that a peer has gone.

    Attributes:
      endpoint (DTLSEndpoint): whose socket the packets go through.
      peer_address: where they go to; as the socket's addresses look.
    """

    def __init__(
        self, endpoint: DTLSEndpoint, peer_address: AddressFormat, ctx: SSL.Context
    ) -> None:
        self.endpoint: DTLSEndpoint = endpoint
        self.peer_address: AddressFormat = peer_address
        # Where the ciphertext is: memory, not a socket.
        self._ssl = SSL.Connection(ctx)
        # What the server has seen of the client, to know it again.
        self._client_hello: tuple[bytes, bytes] | None = None
        self._did_handshake = False
        self._handshake_lock = trio.Lock()
        self._record_encoder = RecordEncoder()
        # What we have said last in the handshake.
        self._flight: Flight = []
        self._handshake_mtu = 0
        self.set_ciphertext_mtu(best_guess_mtu(endpoint.socket))
        self._closed = False
        self._replaced = False
        self._packets_in, self._packets_out = trio.open_memory_channel[bytes](
            endpoint.incoming_packets_buffer
        )
        self._packets_dropped = 0

    def _set_replaced(self) -> None:
        self._replaced = True
        self._packets_in.close()

    def _check_usable(self) -> None:
        if self._closed:
            raise trio.ClosedResourceError
        if self._replaced:
            raise trio.BrokenResourceError(
                "peer tore down this connection to start a new one"
            )

    def close(self) -> None:
        """Close the channel; closing it again does nothing.

        Tasks that are sending or receiving get
        :exc:`trio_c.ClosedResourceError`. The peer is told nothing: a message
        that says so might get lost too.
        """
        if self._closed:
            return
        self._closed = True
        self.endpoint._forget_channel(self)
        self._packets_out.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        exc_type: type[BaseException] | None,
        exc_value: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()

    async def aclose(self) -> None:
        """:meth:`close`, then a checkpoint."""
        self.close()
        await trio.lowlevel.checkpoint()

    def _take_packet(self, packet: bytes) -> None:
        try:
            self._packets_in.send_nowait(packet)
        except trio.WouldBlock:
            self._packets_dropped += 1

    async def _send_packet(self, packet: bytes | bytearray) -> None:
        async with self.endpoint._send_lock:
            # It may have been closed while others were sending.
            if self._closed:
                raise trio.ClosedResourceError
            await self.endpoint.socket.sendto(packet, self.peer_address)

    async def _send_flight(self, flight: Flight) -> None:
        for packet in self._record_encoder.encode_volley(flight, self._handshake_mtu):
            await self._send_packet(packet)

    async def _resend_final_flight(self) -> None:
        """The peer has not seen the end of the handshake."""
        # If this fails, the peer will ask again. The MTU may since have become
        # too small for handshakes (ValueError).
        with suppress(OSError, ValueError, trio.ClosedResourceError):
            await self._send_flight(self._flight)

    def _next_flight(self) -> Flight:
        """What OpenSSL wants to say, if that is something new."""
        flight = decode_volley_trusted(_read_all(self._ssl.bio_read))
        # It has a timer that cannot be turned off, and may repeat itself.
        return [] if is_repetition(flight, self._flight) else flight

    async def do_handshake(self, *, initial_retransmit_timeout: float = 1.0) -> None:
        """Agree with the peer on keys; the first :meth:`send` or
        :meth:`receive` does it too.

        What is lost is sent again, after pauses that double until they are a
        minute long. It goes on until the peer answers or for ever, also if what
        comes is not to OpenSSL's liking, since anybody might have sent that:
        use a timeout. When cancelled, the next call goes on with it. If other
        tasks call this at the same time, one does it and all wait for it; once
        it is done, this is only a checkpoint.

        Args:
          initial_retransmit_timeout (float): seconds until the first pause is
              over. The default is right for the internet.

        Raises:
          OpenSSL.SSL.Error: the client has asked for something that this server
              cannot do.
          ValueError: :meth:`set_ciphertext_mtu` has left no room for the
              messages.
          OSError: the socket could not send.
          trio_c.BrokenResourceError: another connection has taken its place.
          trio_c.ClosedResourceError: it was closed, earlier or during the call.
        """
        async with self._handshake_lock:
            if not self._did_handshake:
                self._check_usable()
                await self._handshake(initial_retransmit_timeout)

    async def _handshake(self, initial_timeout: float) -> None:
        if not self._flight:
            with suppress(SSL.WantReadError):
                self._ssl.do_handshake()
            self._flight = self._next_flight()
            if not self._flight:
                raise SSL.Error("something wrong with peer's ClientHello")
        timeout = initial_timeout
        failures = 0
        while True:
            await self._send_flight(self._flight)
            # Not before, for a socket must have sent to have an address.
            self.endpoint._ensure_receive_loop()
            with trio.move_on_after(timeout) as scope:
                await self._receive_flight()
            if self._did_handshake:
                # If it gets lost the peer repeats itself. See _handle_packet.
                await self._send_flight(self._flight)
                return
            if scope.cancelled_caught:
                timeout = min(2 * timeout, _MAX_RETRANSMIT_TIMEOUT)
                failures += 1
                if failures == 2:
                    # It may be that the datagrams are too large to arrive.
                    self._handshake_mtu = min(
                        self._handshake_mtu, worst_case_mtu(self.endpoint.socket)
                    )
            else:
                # The longer pauses stay until there was no need for them.
                if failures == 0:
                    timeout = initial_timeout
                failures = 0
            self._check_usable()

    async def _receive_flight(self) -> None:
        """Wait until the peer has had its turn, and it is ours or nobody's."""
        async for packet in self._packets_out:
            self._ssl.bio_write(packet)
            # Anybody can send bad packets, which must not end what goes on
            # between others: errors are dropped, and alerts do not count.
            with suppress(SSL.Error):
                self._ssl.do_handshake()
                self._did_handshake = True
            flight = self._next_flight()
            if self._did_handshake:
                self._flight = flight
                return
            if is_alert(flight):
                await self._send_flight(flight)
            elif flight:
                self._flight = flight
                return
        # The packets end when the channel is replaced.
        self._check_usable()

    async def send(self, data: bytes) -> None:
        """Send `data` as one packet, after a handshake if there was none.

        It waits until the system takes the packet; nobody knows if the peer
        does. What does not fit into a datagram, see :meth:`get_cleartext_mtu`,
        may never arrive. When cancelled, the packet was not sent.

        Raises:
          ValueError: `data` is empty, which OpenSSL cannot send.
          OpenSSL.SSL.Error: OpenSSL did not take it; there are more than 16384
              bytes, for one.
          OSError: the socket could not send.
          trio_c.BrokenResourceError: another connection has taken its place.
          trio_c.ClosedResourceError: it was closed, earlier or during the call.

        In a handshake, also what :meth:`do_handshake` raises.
        """
        if self._closed:
            raise trio.ClosedResourceError
        if not data:
            raise ValueError("openssl doesn't support sending empty DTLS packets")
        if not self._did_handshake:
            await self.do_handshake()
        self._check_usable()
        try:
            self._ssl.write(data)
        except SSL.WantReadError:
            # Once there has been a read, OpenSSL calls its failure that.
            if len(data) <= _MAX_RECORD_SIZE:
                raise
            raise SSL.Error([("SSL routines", "", "dtls message too big")]) from None
        # To be read before anybody else writes: a packet each.
        await self._send_packet(_read_all(self._ssl.bio_read))

    async def receive(self) -> bytes:
        """Wait for the next packet, after a handshake if there was none.

        Packets that the peer has not sent do not count.

        Raises:
          OpenSSL.SSL.ZeroReturnError: the peer says that it has closed the
              connection. This library never does.
          OpenSSL.SSL.Error: OpenSSL has run into another problem.
          trio_c.BrokenResourceError: another connection has taken its place, and
              what came before has been received.
          trio_c.ClosedResourceError: it was closed, earlier or during the call.

        In a handshake, also what :meth:`do_handshake` raises.
        """
        if not self._did_handshake:
            await self.do_handshake()
        while True:
            try:
                packet = await self._packets_out.receive()
            except trio.EndOfChannel:
                self._check_usable()
                raise
            self._ssl.bio_write(packet)
            cleartext = _read_all(self._ssl.read)
            if cleartext:
                return cleartext

    def set_ciphertext_mtu(self, new_mtu: int) -> None:
        """Say how large datagrams may be.

        Without, it is assumed that a network packet can have 1500 bytes. For
        the handshake this is an upper limit: it makes do with less when larger
        ones seem to get lost. Of data, it only decides what
        :meth:`get_cleartext_mtu` says.

        Args:
          new_mtu (int): bytes of a datagram, without the headers of IP and UDP.
        """
        self._ssl.set_ciphertext_mtu(new_mtu)
        self._handshake_mtu = new_mtu

    def get_cleartext_mtu(self) -> int:
        """How many bytes :meth:`send` can put into a datagram of the size that
        was set by :meth:`set_ciphertext_mtu`.

        Raises:
          trio_c.NeedHandshakeError: there was no handshake yet, so nobody knows
              what encryption adds.
        """
        if not self._did_handshake:
            raise trio.NeedHandshakeError
        return self._ssl.get_cleartext_mtu()

    def statistics(self) -> DTLSChannelStatistics:
        """What there is to know about the connection so far."""
        return DTLSChannelStatistics(self._packets_dropped)


################################################################
# All connections of a socket
################################################################

# The system's way to say that an earlier packet did not arrive, which is no
# reason not to receive others.
_NOT_DELIVERED_ERRNOS = {
    errno.ECONNREFUSED,
    errno.ECONNRESET,
    errno.EHOSTUNREACH,
    errno.EMSGSIZE,
    errno.ENETUNREACH,
    errno.ENOPROTOOPT,
}

# What a socket says that somebody has closed.
_CLOSED_ERRNOS = {errno.EBADF, errno.ENOTSOCK}


async def dtls_receive_loop(
    endpoint_ref: weakref.ReferenceType[DTLSEndpoint], sock: SocketType
) -> None:
    """The task that receives for all connections of an endpoint.

    It must not keep the endpoint alive while it waits, or nothing would ever
    close one that is forgotten.
    """
    while True:
        try:
            packet, address = await sock.recvfrom(MAX_UDP_PACKET_SIZE)
        except trio.ClosedResourceError:
            return
        except OSError as exc:
            if exc.errno in _CLOSED_ERRNOS:
                return
            if exc.errno not in _NOT_DELIVERED_ERRNOS:
                raise
        else:
            endpoint = endpoint_ref()
            if endpoint is None:
                return
            await endpoint._handle_packet(packet, address)
            del endpoint


@final
class DTLSEndpoint:
    """A UDP socket on which any number of DTLS connections are made: by this
    side with :meth:`connect`, by others with :meth:`serve`, or both.

    It can be used in a ``with`` block, which closes it at the end. One that is
    forgotten is closed some time after the garbage collector finds it, with a
    ResourceWarning.

    Needs the pyOpenSSL package.

    Args:
      socket (trio_c.socket.SocketType): of kind ``SOCK_DGRAM``, and from now on
          the endpoint's own. To serve it must be bound to an address.
      incoming_packets_buffer (int): how many packets that have arrived each
          connection keeps until they are received. More of them are dropped.

    Both are also attributes.

    Raises:
      ValueError: the socket is of another kind.
      ImportError: pyOpenSSL is not installed.
      RuntimeError: not inside a run.
    """

    # Nothing to close as long as making it has not succeeded.
    _closed = True

    def __init__(
        self, socket: SocketType, *, incoming_packets_buffer: int = 10
    ) -> None:
        global SSL
        from OpenSSL import SSL

        if socket.type != trio.socket.SOCK_DGRAM:
            raise ValueError("DTLS requires a SOCK_DGRAM socket")
        # Every connection will have one like this; it checks the number.
        trio.open_memory_channel[bytes](incoming_packets_buffer)
        self.socket: SocketType = socket
        self.incoming_packets_buffer: int = incoming_packets_buffer
        self._token = trio.lowlevel.current_trio_token()
        self._channels: weakref.WeakValueDictionary[AddressFormat, DTLSChannel] = (
            weakref.WeakValueDictionary()
        )
        self._receive_loop_spawned = False
        # UDP is always ready to send, nearly; if not, only one task may wait.
        self._send_lock = trio.Lock()
        self._listening_context: SSL.Context | None = None
        self._listening_key: bytes | None = None
        self._accepted_in, self._accepted_out = trio.open_memory_channel[DTLSChannel](
            float("inf")
        )
        self._closed = False

    def __del__(self) -> None:
        if self._closed:
            return
        # This may be any thread, and there may be no run any more.
        with suppress(RuntimeError):
            self._token.run_sync_soon(self.close)
        warnings.warn(
            f"unclosed DTLS endpoint {self!r}",
            ResourceWarning,
            source=self,
            stacklevel=1,
        )

    def close(self) -> None:
        """Close the socket and all connections, and let :meth:`serve` end once
        its handlers have.

        Closing again does nothing.
        """
        self._closed = True
        self.socket.close()
        for channel in list(self._channels.values()):
            channel.close()
        self._accepted_in.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        exc_type: type[BaseException] | None,
        exc_value: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()

    def _check_closed(self) -> None:
        if self._closed:
            raise trio.ClosedResourceError

    def _ensure_receive_loop(self) -> None:
        # Not from the beginning: on Windows a socket without an address, which
        # it gets by sending or bind(), cannot receive.
        if not self._receive_loop_spawned:
            trio.lowlevel.spawn_system_task(
                dtls_receive_loop, weakref.ref(self), self.socket
            )
            self._receive_loop_spawned = True

    def _forget_channel(self, channel: DTLSChannel) -> None:
        if self._channels.get(channel.peer_address) is channel:
            del self._channels[channel.peer_address]

    def _remember_channel(self, channel: DTLSChannel) -> None:
        earlier = self._channels.get(channel.peer_address)
        if earlier is not None:
            earlier._set_replaced()
        self._channels[channel.peer_address] = channel

    async def _handle_packet(self, packet: bytes, address: AddressFormat) -> None:
        # OpenSSL takes an empty one for a lack of packets.
        if self._closed or not packet:
            return
        if is_client_hello_untrusted(packet):
            await self._handle_client_hello(packet, address)
            return
        channel = self._channels.get(address)
        if channel is None:
            return
        if channel._did_handshake and part_of_handshake_untrusted(packet):
            await channel._resend_final_flight()
        else:
            channel._take_packet(packet)

    async def _handle_client_hello(self, packet: bytes, address: AddressFormat) -> None:
        if self._listening_context is None:
            return
        try:
            epoch_seqno, cookie, bits = decode_client_hello_untrusted(packet)
        except BadPacket:
            return
        if self._listening_key is None:
            self._listening_key = os.urandom(KEY_BYTES)
        if not valid_cookie(self._listening_key, cookie, address, bits):
            challenge = challenge_for(self._listening_key, address, epoch_seqno, bits)
            # It might as well get lost on the way.
            with suppress(OSError, trio.ClosedResourceError):
                async with self._send_lock:
                    await self.socket.sendto(challenge, address)
            return
        earlier = self._channels.get(address)
        if earlier is not None and earlier._client_hello == (cookie, bits):
            # The same one again: it has been sent twice, or copied on the way.
            return
        channel = DTLSChannel._create(self, address, self._listening_context)
        channel._client_hello = cookie, bits
        channel._record_encoder.set_first_record_number(epoch_seqno)
        try:
            channel._ssl.bio_write(packet)
            channel._ssl.DTLSv1_listen()
        except SSL.Error:
            # The cookie was right, but the rest makes no sense to OpenSSL. The
            # reason may still be in a list of the thread's, and before OpenSSL 4
            # the next connection to look there would believe that it is about
            # itself. This fails too, and empties the list.
            with suppress(SSL.Error):
                channel._ssl.shutdown()
            return
        self._remember_channel(channel)
        self._accepted_in.send_nowait(channel)

    async def serve(
        self,
        ssl_context: SSL.Context,
        async_fn: Callable[[DTLSChannel, Unpack[PosArgsT]], Awaitable[object]],
        *args: Unpack[PosArgsT],  # noqa: UP044  jedi does not know the new form
        task_status: trio.TaskStatus[None] = TASK_STATUS_IGNORED,
    ) -> None:
        """Let others connect, and call ``async_fn(channel, *args)`` in a task
        of its own for each.

        The channel is closed when the handler ends. An error in a handler ends
        all others and is raised here, in an exception group. The handshake is
        left to the handler: it happens on first use, and may fail or take for
        ever there.

        Returns only after the endpoint was closed, when the last handler has
        ended. With ``await nursery.start(endpoint.serve, ...)`` nothing that
        comes afterwards can be missed.

        Args:
          ssl_context (OpenSSL.SSL.Context): with a certificate. When an
              endpoint sees it for the first time, renegotiation and queries of
              the MTU are turned off in it, and its cookie callback is replaced.
          async_fn: the handler.
          args: more arguments for it.

        Raises:
          trio_c.BusyResourceError: another task is in this method.
          RuntimeError: the socket has no address.
          trio_c.ClosedResourceError: the endpoint has been closed already.
        """
        self._check_closed()
        if self._listening_context is not None:
            raise trio.BusyResourceError("another task is already listening")
        try:
            self.socket.getsockname()
        except OSError:
            raise RuntimeError(
                "DTLS socket must be bound before it can serve"
            ) from None
        self._ensure_receive_loop()
        _prepare_context(ssl_context)
        self._listening_context = ssl_context
        try:
            task_status.started()
            async with trio.open_nursery() as nursery:
                async for channel in self._accepted_out:
                    nursery.start_soon(_run_handler, channel, async_fn, args)
                    del channel
        finally:
            self._listening_context = None

    def connect(
        self, address: tuple[str, int], ssl_context: SSL.Context
    ) -> DTLSChannel:
        """Make a connection to `address`.

        It exists on this side only, until it is used: nothing is sent by this
        method. A connection that there was to the same address is replaced.

        Args:
          address: where the peer is. In exactly the form that the socket's
              ``recvfrom()`` gives, so with a numeric host, and of IPv6 all four
              items; else answers will not be recognised.
          ssl_context (OpenSSL.SSL.Context): says what to expect of the peer. It
              is changed as by :meth:`serve`.

        Raises:
          trio_c.ClosedResourceError: the endpoint has been closed.
        """
        self._check_closed()
        _prepare_context(ssl_context)
        channel = DTLSChannel._create(self, address, ssl_context)
        channel._ssl.set_connect_state()
        self._remember_channel(channel)
        return channel


async def _run_handler(
    channel: DTLSChannel,
    async_fn: Callable[[DTLSChannel, Unpack[PosArgsT]], Awaitable[object]],
    args: tuple[Unpack[PosArgsT]],  # noqa: UP044
) -> None:
    with channel:
        await async_fn(channel, *args)


# pyOpenSSL does not let anybody change a context that has been used.
_prepared_contexts: weakref.WeakSet[SSL.Context] = weakref.WeakSet()


def _prepare_context(context: SSL.Context) -> None:
    """Have OpenSSL leave to us what is ours."""
    if context in _prepared_contexts:
        return
    # Without a socket it cannot ask for the MTU, but would forget the one set.
    # Nor should it begin another handshake, which takes sending again.
    context.set_options(SSL.OP_NO_QUERY_MTU | SSL.OP_NO_RENEGOTIATION)
    # Cookies have been checked before OpenSSL gets to see anything.
    context.set_cookie_verify_callback(lambda *_: True)
    _prepared_contexts.add(context)
