"""A network that exists in memory only, for testing.

:meth:`FakeNet.enable` puts it in place of the real one until the run ends. So
far there are UDP sockets. A test can look at every packet on its way, and drop,
delay, change or repeat it.
"""

from __future__ import annotations

import errno
import ipaddress
import os
import socket as stdlib_socket

import trio_c as trio

from .. import _socket
from .._abc import HostnameResolver, SocketFactory
from .._frozen import frozen
from .._socket_type import HAS_MSG, SocketType
from .._util import NoPublicConstructor, final, overload

TYPE_CHECKING = False
if TYPE_CHECKING:
    import builtins
    from collections.abc import Callable, Iterable
    from socket import AddressFamily, SocketKind
    from types import TracebackType
    from typing import Any, NoReturn, Self, TypeAlias

    from typing_extensions import Buffer

    from .._socket import AddressFormat

    IPAddress: TypeAlias = ipaddress.IPv4Address | ipaddress.IPv6Address
    SockAddr: TypeAlias = tuple[str, int] | tuple[str, int, int, int]

# {family: (no address at all, this machine)}
_SPECIAL_ADDRESSES: dict[int, tuple[IPAddress, IPAddress]] = {
    stdlib_socket.AF_INET: (
        ipaddress.IPv4Address("0.0.0.0"),
        ipaddress.IPv4Address("127.0.0.1"),
    ),
    stdlib_socket.AF_INET6: (
        ipaddress.IPv6Address("::"),
        ipaddress.IPv6Address("::1"),
    ),
}


def _fail(code: int) -> NoReturn:
    raise OSError(code, os.strerror(code))


def _scatter(data: bytes, buffers: Iterable[Buffer]) -> int:
    """Copy as much of `data` into the buffers as fits, and say how much."""
    done = 0
    for buffer in buffers:
        with memoryview(buffer) as view, view.cast("B") as target:
            piece = data[done : done + len(target)]
            target[: len(piece)] = piece
        done += len(piece)
    return done


################################################################
# Packets and addresses
################################################################


@frozen
class UDPEndpoint:
    """One end of a packet's way."""

    ip: IPAddress
    port: int

    def as_python_sockaddr(self) -> SockAddr:
        """The address as sockets say it."""
        if self.ip.version == 6:
            return self.ip.compressed, self.port, 0, 0
        return self.ip.compressed, self.port

    @classmethod
    def from_python_sockaddr(cls, sockaddr: SockAddr) -> UDPEndpoint:
        """What a socket's (numeric) address means here."""
        ip, port = sockaddr[:2]
        return cls(ipaddress.ip_address(ip), port)


@frozen
class UDPBinding:
    """What a socket is bound to."""

    local: UDPEndpoint


@frozen
class UDPPacket:
    """A packet on its way. ``attrs.evolve()`` makes changed ones."""

    source: UDPEndpoint
    destination: UDPEndpoint
    payload: bytes

    def reply(self, payload: bytes) -> UDPPacket:
        """A packet back to where this one comes from."""
        return UDPPacket(self.destination, self.source, payload)


################################################################
# The network
################################################################


@frozen
class FakeSocketFactory(SocketFactory):
    """Makes the sockets of a network."""

    fake_net: FakeNet

    def socket(
        self,
        family: AddressFamily | int = stdlib_socket.AF_INET,
        type: SocketKind | int = stdlib_socket.SOCK_STREAM,
        proto: int = 0,
    ) -> FakeSocket:
        """See :class:`FakeSocket`."""
        return FakeSocket._create(self.fake_net, family, type, proto)


@frozen
class FakeHostnameResolver(HostnameResolver):
    """Knows no names: a test with a fake network must not ask a real one."""

    fake_net: FakeNet

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
        """Raises NotImplementedError."""
        raise NotImplementedError("FakeNet doesn't do fake DNS yet")

    async def getnameinfo(
        self, sockaddr: tuple[str, int] | tuple[str, int, int, int], flags: int
    ) -> tuple[str, str]:
        """Raises NotImplementedError."""
        raise NotImplementedError("FakeNet doesn't do fake DNS yet")


@final
class FakeNet:
    """A network in memory.

    Attributes:
      route_packet: None, or a function that is called with every
          :class:`UDPPacket` that is sent and says what becomes of it: it may
          call :meth:`deliver_packet` with this or another packet, now or later,
          any number of times. What it raises comes out of the sender's call.
    """

    route_packet: Callable[[UDPPacket], object] | None

    def __init__(self) -> None:
        self.route_packet = None
        self._bound: dict[UDPBinding, FakeSocket] = {}
        # What systems give to sockets that do not care.
        self._auto_ports = iter(range(50000, 65535))

    def enable(self) -> None:
        """Make this the network that ``trio_c.socket`` uses, until the current
        run ends.
        """
        _socket.set_custom_socket_factory(FakeSocketFactory(self))
        _socket.set_custom_hostname_resolver(FakeHostnameResolver(self))

    def _bind(self, binding: UDPBinding, socket: FakeSocket) -> None:
        if binding in self._bound:
            _fail(errno.EADDRINUSE)
        self._bound[binding] = socket

    def send_packet(self, packet: UDPPacket) -> None:
        """Send `packet`, as sockets do: by :attr:`route_packet`, if it is set."""
        if self.route_packet is None:
            self.deliver_packet(packet)
        else:
            self.route_packet(packet)

    def deliver_packet(self, packet: UDPPacket) -> None:
        """Let `packet` arrive. It is lost if nobody is there."""
        socket = self._bound.get(UDPBinding(packet.destination))
        if socket is not None:
            socket._deliver_packet(packet)


################################################################
# Sockets
################################################################


@final
class FakeSocket(SocketType, metaclass=NoPublicConstructor):
    """A UDP socket of a :class:`FakeNet`.

    What it cannot do raises NotImplementedError. Otherwise it behaves like a
    real one with an unlimited receive buffer.
    """

    def __init__(
        self,
        fake_net: FakeNet,
        family: AddressFamily | int,
        type: SocketKind | int,
        proto: int,
    ) -> None:
        super().__init__()
        # Zero stands for the usual.
        family = family or stdlib_socket.AF_INET
        type = type or stdlib_socket.SOCK_STREAM
        if family not in _SPECIAL_ADDRESSES:
            raise NotImplementedError(f"FakeNet doesn't (yet) support family={family}")
        if type != stdlib_socket.SOCK_DGRAM:
            raise NotImplementedError(f"FakeNet doesn't (yet) support type={type}")
        self._fake_net = fake_net
        self._family = stdlib_socket.AddressFamily(family)
        self._type = stdlib_socket.SocketKind(type)
        self._proto = proto
        self._closed = False
        self._binding: UDPBinding | None = None
        self._arrivals, self._arrived = trio.open_memory_channel[UDPPacket](
            float("inf")
        )

    def __repr__(self) -> str:
        state = "closed" if self._closed else f"laddr={self.getsockname()}"
        return f"<FakeSocket family={self._family} type={self._type} {state}>"

    @property
    def type(self) -> SocketKind:
        return self._type

    @property
    def family(self) -> AddressFamily:
        return self._family

    @property
    def proto(self) -> int:
        return self._proto

    def _check_closed(self) -> None:
        if self._closed:
            _fail(errno.EBADF)

    def close(self) -> None:
        if self._closed:
            return
        self._closed = True
        if self._binding is not None:
            del self._fake_net._bound[self._binding]
        self._arrived.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        exc_type: builtins.type[BaseException] | None,
        exc_value: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()

    def _deliver_packet(self, packet: UDPPacket) -> None:
        # Who is closed is not bound, so there is somebody to receive it.
        self._arrivals.send_nowait(packet)

    async def _resolve_address_nocp(
        self, address: AddressFormat, *, local: bool
    ) -> AddressFormat:
        return await _socket._resolve_address_nocp(
            self.type,
            self.family,
            self.proto,
            ipv6_v6only=False,
            address=address,
            local=local,
        )

    async def bind(self, address: AddressFormat) -> None:
        self._check_closed()
        if self._binding is not None:
            _fail(errno.EINVAL)
        await trio.lowlevel.checkpoint()
        host, port, *rest = await self._resolve_address_nocp(address, local=True)
        if any(rest):
            raise NotImplementedError(
                "FakeNet doesn't (yet) support flow info and scope ids"
            )
        ip = ipaddress.ip_address(host)
        wildcard, localhost = _SPECIAL_ADDRESSES[self.family]
        if ip == wildcard:
            # One address for each socket is simpler than all.
            ip = localhost
        # Others may have bound or closed it while we were waiting.
        self._check_closed()
        if self._binding is not None:
            _fail(errno.EINVAL)
        if port:
            self._bind_to(UDPEndpoint(ip, port))
        else:
            self._bind_to_some_port(ip)

    def _bind_to(self, local: UDPEndpoint) -> None:
        binding = UDPBinding(local)
        self._fake_net._bind(binding, self)
        self._binding = binding

    def _bind_to_some_port(self, ip: IPAddress) -> None:
        for port in self._fake_net._auto_ports:
            local = UDPEndpoint(ip, port)
            if UDPBinding(local) not in self._fake_net._bound:
                return self._bind_to(local)
        _fail(errno.EADDRINUSE)

    async def connect(self, address: AddressFormat) -> NoReturn:
        raise NotImplementedError("FakeNet does not (yet) support connected sockets")

    def getsockname(self) -> SockAddr:
        self._check_closed()
        if self._binding is not None:
            return self._binding.local.as_python_sockaddr()
        wildcard, _ = _SPECIAL_ADDRESSES[self.family]
        return UDPEndpoint(wildcard, 0).as_python_sockaddr()[:2]

    def getpeername(self) -> SockAddr:
        self._check_closed()
        if self._binding is not None:
            raise AssertionError(
                "This method seems to assume that self._binding has a remote"
                " UDPEndpoint"
            )
        _fail(errno.ENOTCONN)

    @overload
    def getsockopt(self, level: int, optname: int) -> int: ...

    @overload
    def getsockopt(self, level: int, optname: int, buflen: int) -> bytes: ...

    def getsockopt(
        self, level: int, optname: int, buflen: int | None = None
    ) -> int | bytes:
        self._check_closed()
        raise OSError(f"FakeNet doesn't implement getsockopt({level}, {optname})")

    def setsockopt(
        self,
        level: int,
        optname: int,
        value: int | Buffer | None,
        optlen: int | None = None,
    ) -> None:
        self._check_closed()
        v6only = (stdlib_socket.IPPROTO_IPV6, stdlib_socket.IPV6_V6ONLY)
        if (level, optname) == v6only and not value:
            raise NotImplementedError("FakeNet always has IPV6_V6ONLY=True")
        raise OSError(f"FakeNet doesn't implement setsockopt({level}, {optname}, ...)")

    def fileno(self) -> int:
        raise NotImplementedError("can't get fileno() for FakeNet sockets")

    def detach(self) -> int:
        raise NotImplementedError("can't detach() a FakeNet socket")

    def get_inheritable(self) -> bool:
        return False

    def set_inheritable(self, inheritable: bool) -> None:
        if inheritable:
            raise NotImplementedError("FakeNet can't make inheritable sockets")

    if hasattr(stdlib_socket.socket, "share"):

        def share(self, process_id: int) -> bytes:
            raise NotImplementedError("FakeNet can't share sockets")

    # All sending and receiving is by these two.

    async def _sendmsg(
        self,
        buffers: Iterable[Buffer],
        ancdata: Iterable[tuple[int, int, Buffer]] = (),
        flags: int = 0,
        address: AddressFormat | None = None,
    ) -> int:
        self._check_closed()
        await trio.lowlevel.checkpoint()
        if address is not None:
            address = await self._resolve_address_nocp(address, local=False)
        if ancdata:
            raise NotImplementedError("FakeNet doesn't support ancillary data")
        if flags:
            raise NotImplementedError(f"FakeNet send flags must be 0, not {flags}")
        if address is None:
            _fail(errno.ENOTCONN)
        self._check_closed()
        if self._binding is None:
            _, localhost = _SPECIAL_ADDRESSES[self.family]
            self._bind_to_some_port(localhost)
        assert self._binding is not None
        payload = b"".join(buffers)
        self._fake_net.send_packet(
            UDPPacket(
                self._binding.local,
                UDPEndpoint.from_python_sockaddr(address),
                payload,
            )
        )
        return len(payload)

    async def _recvmsg_into(
        self, buffers: Iterable[Buffer], ancbufsize: int = 0, flags: int = 0
    ) -> tuple[int, list[tuple[int, int, bytes]], int, SockAddr]:
        if ancbufsize:
            raise NotImplementedError("FakeNet doesn't support ancillary data")
        if flags:
            raise NotImplementedError("FakeNet doesn't support any recv flags")
        if self._binding is None:
            # A real one would wait for ever.
            raise NotImplementedError(
                "The code will most likely hang if you try to receive on a fakesocket "
                "without a binding. If that is not the case, or you explicitly want to "
                "test that, remove this warning."
            )
        self._check_closed()
        packet = await self._arrived.receive()
        received = _scatter(packet.payload, buffers)
        truncated = received < len(packet.payload)
        return (
            received,
            [],
            int(stdlib_socket.MSG_TRUNC) if truncated else 0,
            packet.source.as_python_sockaddr(),
        )

    async def _recvmsg(
        self, bufsize: int, ancbufsize: int = 0, flags: int = 0
    ) -> tuple[bytes, list[tuple[int, int, bytes]], int, SockAddr]:
        buffer = bytearray(bufsize)
        received, ancdata, msg_flags, address = await self._recvmsg_into(
            [buffer], ancbufsize, flags
        )
        return bytes(buffer[:received]), ancdata, msg_flags, address

    if HAS_MSG:
        sendmsg = _sendmsg
        recvmsg_into = _recvmsg_into
        recvmsg = _recvmsg

    async def send(self, data: Buffer, flags: int = 0) -> int:
        return await self._sendmsg([data], (), flags)

    async def sendto(self, *args: Any) -> int:
        if len(args) == 2:
            data, address = args
            flags = 0
        elif len(args) == 3:
            data, flags, address = args
        else:
            raise TypeError("wrong number of arguments")
        return await self._sendmsg([data], (), flags, address)

    async def recv(self, bufsize: int, flags: int = 0) -> bytes:
        data, _ = await self.recvfrom(bufsize, flags)
        return data

    async def recvfrom(self, bufsize: int, flags: int = 0) -> tuple[bytes, SockAddr]:
        data, _, _, address = await self._recvmsg(bufsize, 0, flags)
        return data, address

    async def recv_into(self, buf: Buffer, nbytes: int = 0, flags: int = 0) -> int:
        received, _ = await self.recvfrom_into(buf, nbytes, flags)
        return received

    async def recvfrom_into(
        self, buf: Buffer, nbytes: int = 0, flags: int = 0
    ) -> tuple[int, SockAddr]:
        if nbytes and nbytes != memoryview(buf).nbytes:
            raise NotImplementedError("partial recvfrom_into")
        received, _, _, address = await self._recvmsg_into([buf], 0, flags)
        return received, address
