"""Sockets, and turning names into addresses.

``_SocketType`` is the class of all sockets made here. Its native base sends,
receives, accepts and connects; the rest, all that is not called once per
message, is below and works through the standard library's socket object.
"""

from __future__ import annotations

import os
import select
import socket as _stdlib_socket
import sys
from operator import index
from socket import AddressFamily, SocketKind

import trio_c as trio

from . import _core, _native
from ._socket_type import SocketType as SocketType
from ._util import overload

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterable
    from types import TracebackType
    from typing import Any, Self, SupportsIndex, TypeAlias

    from typing_extensions import Buffer

    from ._abc import HostnameResolver, SocketFactory

# Which form an address has depends on the socket's family.
AddressFormat: TypeAlias = "Any"


class _try_sync:
    """``async with`` block around an operation that may not have to wait.

    Entering is a cancellation point. If the body succeeds, or fails other
    than by blocking, leaving is a schedule point; if it would have blocked,
    its exception is dropped and execution goes on behind the block.
    """

    def __init__(
        self, blocking_exc_override: Callable[[BaseException], bool] | None = None
    ) -> None:
        self._is_blocking = blocking_exc_override or _is_blocking_io_error

    async def __aenter__(self) -> None:
        await trio.lowlevel.checkpoint_if_cancelled()

    async def __aexit__(
        self,
        exc_type: type[BaseException] | None,
        exc_value: BaseException | None,
        traceback: TracebackType | None,
    ) -> bool:
        if exc_value is not None and self._is_blocking(exc_value):
            return True
        await trio.lowlevel.cancel_shielded_checkpoint()
        return False


def _is_blocking_io_error(exc: BaseException) -> bool:
    return isinstance(exc, BlockingIOError)


################################################################
# What a program can replace, for one run
################################################################

_resolver: _core.RunVar[HostnameResolver | None] = _core.RunVar("hostname_resolver")
_socket_factory: _core.RunVar[SocketFactory | None] = _core.RunVar("socket_factory")


def set_custom_hostname_resolver(
    hostname_resolver: HostnameResolver | None,
) -> HostnameResolver | None:
    """Let `hostname_resolver` answer name lookups, or the system again (None).

    It is asked by :func:`getaddrinfo` and :func:`getnameinfo`, and so by
    everything here that takes a host name, until the current run ends. Numeric
    addresses never reach it. Returns the resolver that was in place before, or
    None.
    """
    old = _resolver.get(None)
    _resolver.set(hostname_resolver)
    return old


def set_custom_socket_factory(
    socket_factory: SocketFactory | None,
) -> SocketFactory | None:
    """Let :func:`socket` make its sockets with `socket_factory`, or itself
    again (None), until the current run ends.

    For putting a fake network under a program. Returns the factory that was
    in place before, or None.
    """
    old = _socket_factory.get(None)
    _socket_factory.set(socket_factory)
    return old


################################################################
# Names
################################################################

# With these, a lookup only understands numbers, and does not block.
_NUMERIC_ONLY = _stdlib_socket.AI_NUMERICHOST
_NUMERIC_ONLY |= getattr(_stdlib_socket, "AI_NUMERICSERV", 0)


def _is_not_numeric(exc: BaseException) -> bool:
    return (
        isinstance(exc, _stdlib_socket.gaierror)
        and exc.errno == _stdlib_socket.EAI_NONAME
    )


def _encode_host(host: str) -> bytes:
    # The standard library would encode by IDNA 2003, which leads some names to
    # other hosts than their owners mean. But the idna package refuses much
    # that is a fine host, so it only gets what needs it.
    try:
        return host.encode("ascii")
    except UnicodeEncodeError:
        import idna

        # UTS 46 makes it lower case first, among other things.
        return idna.encode(host, uts46=True)


async def getaddrinfo(
    host: bytes | str | None,
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
    """Look up the addresses of a host and service.

    Takes and returns what :func:`socket.getaddrinfo` does, but host names with
    other than ASCII characters are encoded by IDNA 2008. Numeric addresses
    are answered at once; for the rest a thread asks the system, or the
    resolver set with :func:`set_custom_hostname_resolver` is asked. When
    cancelled, the thread is left behind. Always a checkpoint.

    Raises:
      socket.gaierror: there is no such host, or the arguments make no sense.
    """
    async with _try_sync(_is_not_numeric):
        return _stdlib_socket.getaddrinfo(  # type: ignore[return-value]
            host, port, family, type, proto, flags | _NUMERIC_ONLY
        )
    if isinstance(host, str):
        host = _encode_host(host)
    resolver = _resolver.get(None)
    if resolver is not None:
        return await resolver.getaddrinfo(host, port, family, type, proto, flags)
    return await trio.to_thread.run_sync(
        _stdlib_socket.getaddrinfo,  # type: ignore[arg-type]
        host,
        port,
        family,
        type,
        proto,
        flags,
        abandon_on_cancel=True,
    )


async def getnameinfo(
    sockaddr: tuple[str, int] | tuple[str, int, int, int], flags: int
) -> tuple[str, str]:
    """Look up the host and service of a numeric address.

    Takes and returns what :func:`socket.getnameinfo` does. A thread asks the
    system, or the resolver set with :func:`set_custom_hostname_resolver` is
    asked. Always a checkpoint.
    """
    resolver = _resolver.get(None)
    if resolver is not None:
        return await resolver.getnameinfo(sockaddr, flags)
    return await trio.to_thread.run_sync(
        _stdlib_socket.getnameinfo, sockaddr, flags, abandon_on_cancel=True
    )


async def getprotobyname(name: str) -> int:
    """Look up the number of a protocol, as :func:`socket.getprotobyname`, in a
    thread. Always a checkpoint.
    """
    return await trio.to_thread.run_sync(
        _stdlib_socket.getprotobyname, name, abandon_on_cancel=True
    )


################################################################
# Making sockets
################################################################


def from_stdlib_socket(sock: _stdlib_socket.socket) -> SocketType:
    """Wrap a standard library socket, which is made non-blocking.

    It must be a :class:`socket.socket` itself, not of a subclass. Whoever else
    has the object in hand may go on using it.
    """
    return _SocketType(sock)


def _own(sock: _stdlib_socket.socket) -> _SocketType:
    # For a socket that nobody else has in hand: see csrc/kernel/io_handle.h.
    wrapped = _SocketType(sock)
    wrapped._owned = True
    return wrapped


def fromfd(
    fd: SupportsIndex,
    family: AddressFamily | int = _stdlib_socket.AF_INET,
    type: SocketKind | int = _stdlib_socket.SOCK_STREAM,
    proto: int = 0,
) -> SocketType:
    """Make a socket from a duplicate of the descriptor `fd`, like
    :func:`socket.fromfd`.

    On Linux what kind of socket it is is asked of the descriptor.
    """
    family, type, proto = _sniff_sockopts_for_fileno(family, type, proto, index(fd))
    sock = _own(_stdlib_socket.fromfd(fd, family, type, proto))
    sock._doubt()
    return sock


if sys.platform == "win32" or (
    not TYPE_CHECKING and hasattr(_stdlib_socket, "fromshare")
):

    def fromshare(info: bytes) -> SocketType:
        """Make a socket from what :meth:`SocketType.share` gave, like
        :func:`socket.fromshare`.
        """
        return from_stdlib_socket(_stdlib_socket.fromshare(info))


if sys.platform == "win32":
    FamilyDefault = _stdlib_socket.AF_INET
else:
    FamilyDefault = None


def socketpair(
    family: AddressFamily | int | None = FamilyDefault,
    type: SocketKind | int = SocketKind.SOCK_STREAM,
    proto: int = 0,
) -> tuple[SocketType, SocketType]:
    """Make two sockets that are connected to each other, like
    :func:`socket.socketpair`.
    """
    left, right = _stdlib_socket.socketpair(family, type, proto)
    return (_own(left), _own(right))


def socket(
    family: AddressFamily | int = _stdlib_socket.AF_INET,
    type: SocketKind | int = _stdlib_socket.SOCK_STREAM,
    proto: int = 0,
    fileno: int | None = None,
) -> SocketType:
    """Make a socket, like :class:`socket.socket`.

    With `fileno` the new object takes that descriptor over; on Linux what kind
    of socket it is is asked of the descriptor. Without, the factory set with
    :func:`set_custom_socket_factory` is asked, if there is one.
    """
    if fileno is not None:
        family, type, proto = _sniff_sockopts_for_fileno(family, type, proto, fileno)
        return from_stdlib_socket(_stdlib_socket.socket(family, type, proto, fileno))
    factory = _socket_factory.get(None)
    if factory is not None:
        return factory.socket(family, type, proto)
    return _own(_stdlib_socket.socket(family, type, proto))


# Upstream shows the signatures of the originals.
fromfd.__wrapped__ = _stdlib_socket.fromfd  # type: ignore[attr-defined]
socketpair.__wrapped__ = _stdlib_socket.socketpair  # type: ignore[attr-defined]
socket.__wrapped__ = _stdlib_socket.socket  # type: ignore[attr-defined]


def _sniff_sockopts_for_fileno(
    family: AddressFamily | int, type_: SocketKind | int, proto: int, fileno: int
) -> tuple[AddressFamily | int, SocketKind | int, int]:
    """What kind of socket a descriptor is; where that cannot be asked, what
    the caller says."""
    if sys.platform != "linux":
        return family, type_, proto
    from socket import SO_DOMAIN, SO_PROTOCOL, SO_TYPE, SOL_SOCKET

    probe = _stdlib_socket.socket(family, type_, proto, fileno=fileno)
    try:
        return (
            probe.getsockopt(SOL_SOCKET, SO_DOMAIN),
            probe.getsockopt(SOL_SOCKET, SO_TYPE),
            probe.getsockopt(SOL_SOCKET, SO_PROTOCOL),
        )
    finally:
        probe.detach()


################################################################
# Addresses
################################################################


def _check_address(family: int, address: AddressFormat) -> None:
    if family == _stdlib_socket.AF_INET:
        if not isinstance(address, tuple) or len(address) != 2:
            raise ValueError("address should be a (host, port) tuple")
    elif not isinstance(address, tuple) or not 2 <= len(address) <= 4:
        raise ValueError(
            "address should be a (host, port, [flowinfo, [scopeid]]) tuple"
        )


def _is_numeric(family: int, host: Any) -> bool:
    try:
        _stdlib_socket.inet_pton(family, host)
    except (OSError, TypeError):
        return False
    return True


async def _resolve_address_nocp(
    type_: int,
    family: AddressFamily,
    proto: int,
    *,
    ipv6_v6only: bool | int,
    address: AddressFormat,
    local: bool,
) -> AddressFormat:
    """`address` with names replaced by numbers, as the socket calls want it.

    `local` says that it is for bind(), where no host means all interfaces.
    A checkpoint only if there is something to look up.
    """
    if family not in (_stdlib_socket.AF_INET, _stdlib_socket.AF_INET6):
        if family == getattr(_stdlib_socket, "AF_UNIX", None):
            assert isinstance(address, (str, bytes, os.PathLike))
            return os.fspath(address)
        return address
    _check_address(family, address)
    host, port, *rest = address
    if isinstance(port, int) and host is not None and _is_numeric(family, host):
        return address
    # Two spellings that the standard library knows.
    if host == "":
        host = None
    elif host == "<broadcast>":
        host = "255.255.255.255"
    flags = _stdlib_socket.AI_PASSIVE if local else 0
    if family == _stdlib_socket.AF_INET6 and not ipv6_v6only:
        flags |= _stdlib_socket.AI_V4MAPPED
    infos = await getaddrinfo(host, port, family, type_, proto, flags)
    sockaddr = infos[0][-1]
    if family == _stdlib_socket.AF_INET6:
        # The lookup knew nothing of flow and scope.
        sockaddr = (*sockaddr[:2], *rest, *sockaddr[2 + len(rest) :])
    return sockaddr


################################################################
# SocketType
################################################################

# The flags that Linux mixes into a socket's type.
_SOCK_TYPE_MASK = ~(
    getattr(_stdlib_socket, "SOCK_NONBLOCK", 0)
    | getattr(_stdlib_socket, "SOCK_CLOEXEC", 0)
)

# Options after which a receive may come back short with more to come.
_ENDS_READS_EARLY = {(_stdlib_socket.SOL_SOCKET, _stdlib_socket.SO_RCVLOWAT)}
if sys.platform == "linux":
    _TCP_ULP = 31  # not in every version of the socket module
    _ENDS_READS_EARLY.add((_stdlib_socket.IPPROTO_TCP, _TCP_ULP))


class _SocketType(_native.SocketBase, SocketType):
    """A socket of the operating system.

    Here `_stdlib` is the standard library's object. It is the same as `_sock`,
    but reading the latter counts as handing it out.
    """

    def detach(self) -> int:
        self._forget()
        return self._stdlib.detach()

    def getpeername(self) -> AddressFormat:
        return self._stdlib.getpeername()

    def getsockname(self) -> AddressFormat:
        return self._stdlib.getsockname()

    @overload
    def getsockopt(self, level: int, optname: int) -> int: ...

    @overload
    def getsockopt(self, level: int, optname: int, buflen: int) -> bytes: ...

    def getsockopt(
        self, level: int, optname: int, buflen: int | None = None
    ) -> int | bytes:
        if buflen is None:
            return self._stdlib.getsockopt(level, optname)
        return self._stdlib.getsockopt(level, optname, buflen)

    @overload
    def setsockopt(self, level: int, optname: int, value: int | Buffer) -> None: ...

    @overload
    def setsockopt(
        self, level: int, optname: int, value: None, optlen: int
    ) -> None: ...

    def setsockopt(
        self,
        level: int,
        optname: int,
        value: int | Buffer | None,
        optlen: int | None = None,
    ) -> None:
        if (level, optname) in _ENDS_READS_EARLY:
            self._doubt()
        if optlen is None:
            if value is None:
                raise TypeError(
                    "invalid value for argument 'value', must not be None when "
                    "specifying optlen"
                )
            return self._stdlib.setsockopt(level, optname, value)
        if value is not None:
            raise TypeError(
                f"invalid value for argument 'value': {value!r}, must be None when "
                "specifying optlen"
            )
        return self._stdlib.setsockopt(level, optname, value, optlen)

    def listen(self, backlog: int = min(_stdlib_socket.SOMAXCONN, 128)) -> None:
        self._reset()
        return self._stdlib.listen(backlog)

    def get_inheritable(self) -> bool:
        return self._stdlib.get_inheritable()

    def set_inheritable(self, inheritable: bool) -> None:
        return self._stdlib.set_inheritable(inheritable)

    if sys.platform == "win32" or (
        not TYPE_CHECKING and hasattr(_stdlib_socket.socket, "share")
    ):

        def share(self, process_id: int) -> bytes:
            self._doubt()
            return self._stdlib.share(process_id)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        exc_type: type[BaseException] | None,
        exc_value: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        # Whoever waits in it is not told; upstream does the same.
        self._forget()
        return self._stdlib.__exit__(exc_type, exc_value, traceback)

    @property
    def family(self) -> AddressFamily:
        return self._stdlib.family

    @property
    def type(self) -> SocketKind:
        return self._stdlib.type

    @property
    def proto(self) -> int:
        return self._stdlib.proto

    @property
    def did_shutdown_SHUT_WR(self) -> bool:
        return self._did_shutdown_SHUT_WR

    def __repr__(self) -> str:
        return repr(self._stdlib).replace("socket.socket", "trio.socket.socket")

    def dup(self) -> SocketType:
        other = _own(self._stdlib.dup())
        # Options set on one now change both.
        self._doubt()
        other._doubt()
        return other

    async def bind(self, address: AddressFormat) -> None:
        address = await self._resolve_address_nocp(address, local=True)
        if (
            self.family == getattr(_stdlib_socket, "AF_UNIX", None)
            # An abstract address is in no directory that might be slow.
            and address[0]
        ):
            return await trio.to_thread.run_sync(self._stdlib.bind, address)
        await trio.lowlevel.checkpoint()
        return self._stdlib.bind(address)

    def shutdown(self, flag: int) -> None:
        self._stdlib.shutdown(flag)
        if flag in (_stdlib_socket.SHUT_WR, _stdlib_socket.SHUT_RDWR):
            self._did_shutdown_SHUT_WR = True

    def is_readable(self) -> bool:
        if sys.platform == "win32":
            return bool(select.select([self._stdlib], [], [], 0)[0])
        poll = select.poll()
        poll.register(self._stdlib, select.POLLIN)
        return bool(poll.poll(0))

    async def wait_writable(self) -> None:
        await trio.lowlevel.wait_writable(self._stdlib)

    async def _resolve_address_nocp(
        self, address: AddressFormat, *, local: bool
    ) -> AddressFormat:
        ipv6_v6only: int = False
        if self.family == _stdlib_socket.AF_INET6:
            ipv6_v6only = self._stdlib.getsockopt(
                _stdlib_socket.IPPROTO_IPV6, _stdlib_socket.IPV6_V6ONLY
            )
        return await _resolve_address_nocp(
            self.type,
            self.family,
            self.proto,
            ipv6_v6only=ipv6_v6only,
            address=address,
            local=local,
        )

    async def _nonblocking_helper(
        self,
        wait_fn: Callable[[_stdlib_socket.socket], Awaitable[None]],
        fn: Callable[..., Any],
        *args: object,
        **kwargs: object,
    ) -> Any:
        """Call ``fn(sock, ...)``, after waits if it would block."""
        async with _try_sync():
            return fn(self._stdlib, *args, **kwargs)
        while True:
            await wait_fn(self._stdlib)
            try:
                return fn(self._stdlib, *args, **kwargs)
            except BlockingIOError:
                pass

    # The native methods below hand on to these what they do not know.

    async def _accept(self) -> tuple[SocketType, AddressFormat]:
        sock, address = await self._nonblocking_helper(
            trio.lowlevel.wait_readable, _stdlib_socket.socket.accept
        )
        return _own(sock), address

    async def _connect(self, address: AddressFormat) -> None:
        try:
            address = await self._resolve_address_nocp(address, local=False)
        except trio.Cancelled:
            self._forget()
            self._stdlib.close()
            raise
        await self._connect_resolved(address)

    async def _sendto(self, *args: object) -> int:
        address = await self._resolve_address_nocp(args[-1], local=False)
        sent: int = await self._nonblocking_helper(
            trio.lowlevel.wait_writable,
            _stdlib_socket.socket.sendto,
            *args[:-1],
            address,
        )
        return sent

    async def _sendmsg(
        self,
        buffers: Iterable[Buffer],
        ancdata: Iterable[tuple[int, int, Buffer]],
        flags: int,
        address: AddressFormat,
    ) -> int:
        address = await self._resolve_address_nocp(address, local=False)
        sent: int = await self._nonblocking_helper(
            trio.lowlevel.wait_writable,
            _stdlib_socket.socket.sendmsg,
            buffers,
            ancdata,
            flags,
            address,
        )
        return sent

    for _function in _accept, _connect, _sendto, _sendmsg:
        _function.__name__ = _function.__name__[1:]
        _function.__qualname__ = f"_SocketType.{_function.__name__}"
    del _function


_native.set_socket_class(_SocketType, _stdlib_socket.socket)
