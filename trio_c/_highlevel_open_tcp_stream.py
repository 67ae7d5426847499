"""TCP connections by host name: a race between all the host's addresses.

A name can stand for many addresses, of which some may not answer. Trying
them one after another takes minutes, trying all at once is rude to servers,
so attempts start one by one with a short delay between them, and the first
that connects wins ("happy eyeballs", RFC 6555 and its successor RFC 8305).
The next attempt starts early when the one before has already failed.
"""

from __future__ import annotations

import trio_c as trio

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import MutableSequence
    from socket import AddressFamily, SocketKind
    from types import TracebackType
    from typing import Any, TypeAlias

    from .socket import SocketType

    Target: TypeAlias = tuple[AddressFamily, SocketKind, int, str, Any]

# Seconds that an attempt may have to itself. RFC 8305 recommends this value
# and browsers use about the same.
DEFAULT_DELAY = 0.250


class _OpenSockets(set["SocketType"]):
    """A set of sockets; leaving the block closes those that are still in it."""

    def __enter__(self) -> set[SocketType]:
        return self

    def __exit__(
        self,
        exc_type: type[BaseException] | None,
        exc_value: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        errors = []
        try:
            for sock in self:
                try:
                    sock.close()
                except BaseException as exc:
                    errors.append(exc)
            if len(errors) == 1:
                raise errors[0]
            if errors:
                raise BaseExceptionGroup("", errors)
        finally:
            del errors


def close_all() -> _OpenSockets:
    """Context manager: a set, whose sockets are all closed at the end.

    An error while closing one does not keep the others open.
    """
    return _OpenSockets()


def reorder_for_rfc_6555_section_5_4(targets: MutableSequence[Target]) -> None:
    """Let the second attempt use another address family than the first.

    The resolver's order is a good one, but when one family does not work at
    all (IPv6 behind a bad tunnel), starting with ten addresses of it is a long
    wait. So the first target of a different family moves to the second place.
    """
    for position, target in enumerate(targets):
        if target[0] != targets[0][0]:
            targets.insert(1, targets.pop(position))
            return


def format_host_port(host: str | bytes, port: int | str) -> str:
    """``host:port`` for people to read, with IPv6 addresses in brackets."""
    if isinstance(host, bytes):
        host = host.decode("ascii")
    if ":" in host:
        host = f"[{host}]"
    return f"{host}:{port}"


class _Race:
    """The attempts that one :func:`open_tcp_stream` call makes."""

    __slots__ = ("errors", "local_address", "open_sockets", "scope", "winner")

    def __init__(
        self,
        local_address: str | None,
        open_sockets: set[SocketType],
        scope: trio.CancelScope,
    ) -> None:
        self.local_address = local_address
        self.open_sockets = open_sockets
        self.scope = scope
        self.errors: list[OSError] = []
        self.winner: SocketType | None = None

    async def attempt(self, target: Target, failed: trio.Event) -> None:
        """Try one address: win and end the race, or set `failed`."""
        from . import socket as tsocket

        family, type_, proto, _, sockaddr = target
        try:
            sock = tsocket.socket(family, type_, proto)
            self.open_sockets.add(sock)
            if self.local_address is not None:
                await _bind(sock, self.local_address, sockaddr)
            await sock.connect(sockaddr)
        except OSError as exc:
            self.errors.append(exc)
            failed.set()
        else:
            self.winner = sock
            self.scope.cancel(reason="successfully found a socket")
        finally:
            # The errors' tracebacks lead here, and must not lead back.
            del self


async def _bind(sock: SocketType, local_address: str, sockaddr: Any) -> None:
    """Give `sock`, to be connected to `sockaddr`, its local address."""
    from contextlib import suppress

    from . import socket as tsocket

    # Without this option the kernel chooses a port that nobody else on the
    # address uses, and can run out of them; with it, one that makes the
    # connection unique. Linux has it, for IPv4 and IPv6 alike.
    with suppress(OSError, AttributeError):
        sock.setsockopt(tsocket.IPPROTO_IP, tsocket.IP_BIND_ADDRESS_NO_PORT, 1)
    try:
        await sock.bind((local_address, 0))
    except OSError:
        raise OSError(
            f"local_address={local_address!r} is incompatible"
            f" with remote address {sockaddr!r}"
        ) from None


async def open_tcp_stream(
    host: str | bytes,
    port: int,
    *,
    happy_eyeballs_delay: float | None = DEFAULT_DELAY,
    local_address: str | None = None,
) -> trio.SocketStream:
    """Connect to a TCP server and return the connection as a stream.

    Waits for the name to be resolved and then for one of its addresses to
    answer; cancelling it leaves no socket open.

    Args:
      host (str or bytes): name or numeric address, IPv4 or IPv6.
      port (int): the port number.
      happy_eyeballs_delay (float or None): how many seconds an attempt may
          take before the next address is tried beside it. None is the
          default.
      local_address (str or None): the local address to connect from, for
          machines with several. None lets the system choose. Addresses of
          the host that cannot be reached from there count as failed;
          "0.0.0.0" or "::" in fact selects the family.

    Returns:
      SocketStream: the connection.

    Raises:
      OSError: the name did not resolve, or no address could be connected to.
          In the latter case the cause is an exception group with the reason
          for each address.
    """
    # None is a valid host for getaddrinfo, and means "this machine"; a program
    # that passes it here has most likely lost its configuration.
    if not isinstance(host, (str, bytes)):
        raise ValueError(f"host must be str or bytes, not {host!r}")
    if not isinstance(port, int):
        raise TypeError(f"port must be int, not {port!r}")
    if happy_eyeballs_delay is None:
        happy_eyeballs_delay = DEFAULT_DELAY

    from . import socket as tsocket

    targets = await tsocket.getaddrinfo(host, port, type=tsocket.SOCK_STREAM)
    where = format_host_port(host, port)
    if not targets:
        raise OSError(f"no results found for hostname lookup: {where}")
    reorder_for_rfc_6555_section_5_4(targets)

    with close_all() as open_sockets:
        async with trio.open_nursery() as nursery:
            race = _Race(local_address, open_sockets, nursery.cancel_scope)
            for target in targets:
                failed = trio.Event()
                nursery.start_soon(race.attempt, target, failed)
                with trio.move_on_after(happy_eyeballs_delay):
                    await failed.wait()
        if race.winner is None:
            msg = f"all attempts to connect to {where} failed"
            raise OSError(msg) from ExceptionGroup(msg, race.errors)
        # Only once the stream exists it is responsible for the socket.
        stream = trio.SocketStream(race.winner)
        open_sockets.remove(race.winner)
        return stream
