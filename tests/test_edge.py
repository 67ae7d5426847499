"""Edge-triggered sockets: no wake-up is lost, whatever ends a read early.

The rules are in csrc/kernel/io_handle.h. Each test arranges the situation in
which a rule matters and then simply receives; a lost wake-up is a receive
that does not come back (hence the deadline in `in_run`, which is no measure
of speed). `sock._memory` is (registered for, readable, writable, short reads
are believed).
"""

import array
import errno
import fcntl
import functools
import os
import select
import socket as stdlib
import struct

import pytest
from _sockets import (
    BELIEVES_SHORT_READS,
    EDGE,
    PAIRS,
    READ,
    WRITE,
    believes,
    drain,
    harvest,
    in_run,
    prime,
    registered,
    settle,
    tcp_pair,
    udp_pair,
    unix_pair,
)

import trio_c as trio
import trio_c.socket as tsocket
import trio_c.testing

pytestmark = pytest.mark.skipif(
    not hasattr(select, "epoll"), reason="the situations are Linux's"
)
forks = pytest.mark.filterwarnings(
    "ignore:This process .* is multi-threaded:DeprecationWarning"
)
edge_only = pytest.mark.skipif(
    not EDGE, reason="looks at edge-triggered registrations; poll(2) has none"
)
streams = pytest.mark.parametrize("make_pair", [tcp_pair, unix_pair])
pairs = pytest.mark.parametrize("make_pair", PAIRS.values(), ids=PAIRS.keys())

LOWAT = 10
SO_PEEK_OFF = 42


# --- lazy registration (C1) ------------------------------------------


@edge_only
@pairs
@in_run
async def test_registered_at_the_first_wait(make_pair):
    peer, sock = await make_pair()
    with peer, sock:
        peer.send(b"1")
        settle(sock)
        assert await sock.recv(1) == b"1"
        await sock.send(b"2")
        assert not registered(sock)
        await prime(peer, sock)
        assert sock._memory[0] == READ


@pairs
@in_run
async def test_what_came_before_registration(make_pair):
    peer, sock = await make_pair()
    with peer, sock:
        for data in (b"1", b"2"):
            peer.send(data)
            settle(sock)
            assert await sock.recv(100) == data


@in_run
async def test_data_and_end_before_registration():
    peer, sock = await tcp_pair()
    with peer, sock:
        peer.send(b"1")
        peer.close()
        settle(sock, select.POLLRDHUP)
        assert await sock.recv(100) == b"1"
        assert await sock.recv(100) == b""


@edge_only
@pytest.mark.parametrize(
    ("make_pair", "afterwards"),
    [
        # Every send makes room for writing on a unix socket, and would be
        # reported; TCP reports it only after a send that blocked. A socket
        # whose short reads are not believed is not known to be TCP.
        (tcp_pair, READ | WRITE if BELIEVES_SHORT_READS else READ),
        (unix_pair, READ),
    ],
    ids=["tcp", "unix"],
)
@in_run
async def test_interest_in_writing(make_pair, afterwards):
    peer, sock = await make_pair()
    with peer, sock:
        await prime(peer, sock)
        assert sock._memory[0] == READ
        await fill_and_drain(peer, sock)
        assert sock._memory[2]
        await sock.send(b"x")
        assert sock._memory[0] == afterwards


async def fill_and_drain(peer, sock):
    """Send more than there is room for; let the peer receive once it blocks."""
    done = False

    async def send():
        nonlocal done
        view = memoryview(bytes(3_000_000))
        while view:
            view = view[await sock.send(view) :]
        done = True

    async with trio.open_nursery() as nursery:
        nursery.start_soon(send)
        await trio.testing.wait_all_tasks_blocked()
        assert not done
        if EDGE:
            assert sock._memory[0] == READ | WRITE
            assert not sock._memory[2]
        await drain(peer, 3_000_000)
    assert done


@edge_only
@streams
@in_run
async def test_a_partial_send_says_full(make_pair):
    peer, sock = await make_pair()
    with peer, sock:
        assert await sock.send(b"x") == 1
        assert sock._memory[2]
        assert await sock.send(bytes(3_000_000)) < 3_000_000
        assert not sock._memory[2]


@streams
@in_run
async def test_blocked_sender_wakes(make_pair):
    peer, sock = await make_pair()
    with peer, sock:
        for _ in range(3):
            await fill_and_drain(peer, sock)


@streams
@in_run
async def test_reader_beside_blocked_writer(make_pair):
    peer, sock = await make_pair()
    with peer, sock:
        async with trio.open_nursery() as nursery:
            got = []

            @nursery.start_soon
            async def receive():
                got.append(await sock.recv(10))

            @nursery.start_soon
            async def send():
                view = memoryview(bytes(5_000_000))
                while view:
                    view = view[await sock.send(view) :]

            await trio.testing.wait_all_tasks_blocked()
            peer.send(b"hi")
            await trio.testing.wait_all_tasks_blocked()
            assert got == [b"hi"]
            await drain(peer, 5_000_000)


# --- what clears and sets "readable" (C2, C3) ------------------------


@edge_only
@in_run
async def test_a_short_read_is_believed_on_tcp():
    for family in (tsocket.AF_INET, tsocket.AF_INET6):
        try:
            peer, sock = await tcp_pair(family)
        except OSError:
            assert family == tsocket.AF_INET6  # no IPv6 on this machine
            continue
        with peer, sock:
            await prime(peer, sock)
            assert believes(sock) == BELIEVES_SHORT_READS
            peer.send(b"xyz")
            await harvest(sock)
            assert await sock.recv(100) == b"xyz"
            assert sock._memory[1] != BELIEVES_SHORT_READS


@edge_only
@in_run
async def test_a_full_read_says_nothing():
    peer, sock = await tcp_pair()
    with peer, sock:
        await prime(peer, sock)
        peer.send(b"abcdef")
        settle(sock)
        assert await sock.recv(3) == b"abc"
        assert sock._memory[1]
        assert await sock.recv(3) == b"def"
        assert sock._memory[1]
        peer.send(b"g")
        assert await sock.recv(3) == b"g"


@edge_only
@pytest.mark.parametrize(
    "make",
    [
        unix_pair,
        udp_pair,
        functools.partial(unix_pair, stdlib.SOCK_DGRAM),
        functools.partial(unix_pair, stdlib.SOCK_SEQPACKET),
    ],
    ids=["unix", "udp", "unix-dgram", "unix-seqpacket"],
)
@in_run
async def test_a_short_read_is_not_believed_elsewhere(make):
    peer, sock = await make()
    with peer, sock:
        await prime(peer, sock)
        assert not believes(sock)
        peer.send(b"1")
        peer.send(b"2")
        settle(sock)
        if sock.type == stdlib.SOCK_STREAM:
            assert await sock.recv(100) == b"12"
        else:
            assert await sock.recv(100) == b"1"
            assert sock._memory[1]
            assert await sock.recv(100) == b"2"


@pytest.mark.parametrize("kind", ["MPTCP", "SCTP"])
@in_run
async def test_other_stream_protocols_are_not_tcp(kind):
    proto = getattr(stdlib, f"IPPROTO_{kind}", {"MPTCP": 262, "SCTP": 132}[kind])
    try:
        listener = tsocket.socket(tsocket.AF_INET, tsocket.SOCK_STREAM, proto)
    except OSError as exc:
        pytest.skip(f"no {kind} on this machine: {exc}")
    with listener:
        await listener.bind(("127.0.0.1", 0))
        listener.listen()
        with tsocket.socket(tsocket.AF_INET, tsocket.SOCK_STREAM, proto) as client:
            await client.connect(listener.getsockname())
            server, _ = await listener.accept()
            with server:
                with trio.move_on_after(0.01):
                    await server.recv(1)
                assert not believes(server)
                await client.send(b"x")
                assert await server.recv(10) == b"x"


@in_run
async def test_empty_datagram_is_no_end():
    peer, sock = await udp_pair()
    with peer, sock:
        await prime(peer, sock)
        peer.send(b"")
        peer.send(b"2")
        settle(sock)
        assert await sock.recv(100) == b""
        assert await sock.recv(100) == b"2"


@in_run
async def test_receiving_nothing_changes_nothing():
    peer, sock = await tcp_pair()
    with peer, sock:
        await prime(peer, sock)
        before = sock._memory
        assert await sock.recv(0) == b""
        assert await sock.recv_into(bytearray()) == 0
        assert sock._memory == before
        peer.send(b"q")
        settle(sock)
        assert await sock.recv(0) == b""
        assert await sock.recv(100) == b"q"


@edge_only
@in_run
async def test_reports_are_remembered_without_a_task():
    peer, sock = await tcp_pair()
    with peer, sock:
        await prime(peer, sock)
        assert sock._memory[1] != BELIEVES_SHORT_READS
        peer.send(b"1")
        await harvest(sock)
        assert sock._memory[1]
        assert await sock.recv(100) == b"1"


@in_run
async def test_recv_into_follows_the_same_rules():
    peer, sock = await tcp_pair()
    with peer, sock:
        await prime(peer, sock)
        buffer = bytearray(100)
        peer.send(b"abc")
        peer.shutdown(stdlib.SHUT_WR)
        settle(sock, select.POLLRDHUP)
        await harvest(sock)
        assert await sock.recv_into(buffer) == 3
        assert await sock.recv_into(buffer) == 0


# --- what makes short reads unbelievable (C4) ------------------------


@in_run
async def test_data_and_end_in_one_report():
    peer, sock = await tcp_pair()
    with peer, sock:
        await prime(peer, sock)
        peer.send(b"xyz")
        peer.shutdown(stdlib.SHUT_WR)
        settle(sock, select.POLLRDHUP)
        await harvest(sock)
        if EDGE:
            assert not believes(sock)
        assert await sock.recv(100) == b"xyz"
        assert await sock.recv(100) == b""
        assert await sock.recv(100) == b""


@in_run
async def test_end_after_a_short_read():
    peer, sock = await tcp_pair()
    with peer, sock:
        await prime(peer, sock)
        peer.send(b"xyz")
        settle(sock)
        assert await sock.recv(100) == b"xyz"
        peer.close()
        assert await sock.recv(100) == b""


@in_run
async def test_end_that_was_not_reported_yet():
    peer, sock = await tcp_pair()
    with peer, sock:
        await prime(peer, sock)
        peer.send(b"xyz")
        settle(sock)
        await harvest(sock)
        peer.close()
        settle(sock, select.POLLRDHUP)
        assert await sock.recv(100) == b"xyz"
        assert await sock.recv(100) == b""


@in_run
async def test_end_of_a_unix_stream():
    peer, sock = await unix_pair()
    with peer, sock:
        await prime(peer, sock)
        peer.send(b"xyz")
        peer.close()
        assert await sock.recv(100) == b"xyz"
        assert await sock.recv(100) == b""


@in_run
async def test_reset_after_data():
    peer, sock = await tcp_pair()
    with peer, sock:
        await prime(peer, sock)
        peer.send(b"xyz")
        settle(sock)
        await harvest(sock)
        assert await sock.recv(100) == b"xyz"
        peer.setsockopt(stdlib.SOL_SOCKET, stdlib.SO_LINGER, struct.pack("ii", 1, 0))
        peer.close()
        with pytest.raises(ConnectionResetError):
            await sock.recv(100)


@in_run
async def test_shutdown_of_our_reading_side():
    peer, sock = await tcp_pair()
    with peer, sock:
        await prime(peer, sock)
        sock.shutdown(tsocket.SHUT_RD)
        assert await sock.recv(100) == b""
        peer.send(b"late")
        settle(sock)
        assert await sock.recv(100) in (b"late", b"")


@pytest.mark.parametrize("harvested", [False, True])
@pytest.mark.parametrize("registered", [False, True])
@in_run
async def test_urgent_data_in_between(harvested, registered):
    peer, sock = await tcp_pair()
    with peer, sock:
        if registered:
            await prime(peer, sock)
        peer.send(b"abc")
        peer.send(b"!", stdlib.MSG_OOB)
        peer.send(b"def")
        settle(sock, select.POLLPRI)
        if harvested:
            await harvest(sock)
        # The kernel ends a read at the urgent byte.
        assert await sock.recv(100) == b"abc"
        assert await sock.recv(100) == b"def"


@in_run
async def test_urgent_data_behind_a_report():
    peer, sock = await tcp_pair()
    with peer, sock:
        await prime(peer, sock)
        peer.send(b"abc")
        settle(sock)
        await harvest(sock)
        peer.send(b"!", stdlib.MSG_OOB)
        peer.send(b"def")
        settle(sock, select.POLLPRI)
        assert await sock.recv(100) == b"abc"
        assert await sock.recv(100) == b"def"


@in_run
async def test_urgent_data_taken_first():
    peer, sock = await tcp_pair()
    with peer, sock:
        await prime(peer, sock)
        peer.send(b"abc")
        peer.send(b"!", stdlib.MSG_OOB)
        peer.send(b"def")
        settle(sock, select.POLLPRI)
        assert await sock.recv(1, tsocket.MSG_OOB) == b"!"
        assert not believes(sock)
        assert await sock.recv(100) == b"abc"
        assert await sock.recv(100) == b"def"


@pytest.mark.parametrize("method", ["wait_readable", "peek", "recv"])
@in_run
async def test_urgent_data_alone_is_nothing_to_read(method):
    peer, sock = await tcp_pair()
    with peer, sock:
        await prime(peer, sock)
        peer.send(b"!", stdlib.MSG_OOB)
        settle(sock, select.POLLPRI)
        woken = False
        async with trio.open_nursery() as nursery:

            @nursery.start_soon
            async def reader():
                nonlocal woken
                if method == "wait_readable":
                    await trio.lowlevel.wait_readable(sock)
                elif method == "peek":
                    await sock.recv(100, tsocket.MSG_PEEK)
                woken = True
                assert await sock.recv(100) == b"abc"

            # Neither woken nor spinning: there comes a time when all is quiet.
            await trio.testing.wait_all_tasks_blocked()
            assert woken == (method == "recv")
            peer.send(b"abc")


@in_run
async def test_urgent_data_inline():
    peer, sock = await tcp_pair()
    with peer, sock:
        sock.setsockopt(tsocket.SOL_SOCKET, tsocket.SO_OOBINLINE, 1)
        await prime(peer, sock)
        peer.send(b"abc")
        peer.send(b"!", stdlib.MSG_OOB)
        peer.send(b"def")
        got = b""
        while len(got) < 7:
            got += await sock.recv(100)
        assert got == b"abc!def"


@in_run
async def test_urgent_data_on_unix():
    peer, sock = await unix_pair()
    with peer, sock:
        await prime(peer, sock)
        peer.send(b"ab")
        try:
            peer.send(b"!", stdlib.MSG_OOB)
        except OSError as exc:
            assert exc.errno == errno.EOPNOTSUPP
            pytest.skip("this kernel has no urgent data on unix sockets")
        peer.send(b"cd")
        assert await sock.recv(100) == b"ab"
        assert await sock.recv(100) == b"cd"


@pytest.mark.parametrize("method", ["recv", "recvmsg"])
@in_run
async def test_passed_descriptors_end_a_read(method):
    peer, sock = await unix_pair()
    with peer, sock:
        await prime(peer, sock)
        stdlib.send_fds(peer, [b"ab"], [0])
        peer.send(b"cd")
        for expected in (b"ab", b"cd"):
            if method == "recv":
                assert await sock.recv(100) == expected
            else:
                data, ancillary, _, _ = await sock.recvmsg(100, 64)
                assert data == expected
                for level, type_, fds in ancillary:
                    assert (level, type_) == (stdlib.SOL_SOCKET, stdlib.SCM_RIGHTS)
                    for fd in array.array("i", fds):
                        os.close(fd)


@forks
@in_run
async def test_credentials_end_a_read():
    peer, sock = await unix_pair()
    with peer, sock:
        sock.setsockopt(tsocket.SOL_SOCKET, tsocket.SO_PASSCRED, 1)
        await prime(peer, sock)
        peer.send(b"ab")
        pid = os.fork()
        if not pid:
            peer.send(b"cd")
            os._exit(0)
        os.waitpid(pid, 0)
        assert await sock.recv(100) == b"ab"
        assert await sock.recv(100) == b"cd"


@in_run
async def test_low_water_mark():
    peer, sock = await tcp_pair()
    with peer, sock:
        await prime(peer, sock)
        sock.setsockopt(tsocket.SOL_SOCKET, tsocket.SO_RCVLOWAT, LOWAT)
        assert not believes(sock)
        peer.send(b"x" * 12)
        assert await sock.recv(100) == b"x" * 12
        # Less than the mark is never reported; but asking first gets it.
        peer.send(b"abc")
        wait_for_bytes(sock, 3)
        assert await sock.recv(100) == b"abc"


def wait_for_bytes(sock, n):
    waiting = array.array("i", [0])
    while waiting[0] < n:
        fcntl.ioctl(sock.fileno(), 0x541B, waiting)  # FIONREAD


@in_run
async def test_low_water_mark_of_the_listener():
    with tsocket.socket() as listener:
        await listener.bind(("127.0.0.1", 0))
        listener.listen()
        # Accepted sockets inherit it.
        listener.setsockopt(tsocket.SOL_SOCKET, tsocket.SO_RCVLOWAT, LOWAT)
        with stdlib.create_connection(listener.getsockname()) as peer:
            sock, _ = await listener.accept()
            with sock:
                with trio.move_on_after(0.01):
                    await sock.recv(1)
                assert not believes(sock)
                peer.send(b"x" * 12)
                assert await sock.recv(100) == b"x" * 12
                peer.send(b"abc")
                wait_for_bytes(sock, 3)
                assert await sock.recv(100) == b"abc"


@in_run
async def test_options_set_through_the_standard_socket():
    peer, sock = await tcp_pair()
    with peer, sock:
        await prime(peer, sock)
        raw = sock._sock
        assert not believes(sock)
        raw.setsockopt(stdlib.SOL_SOCKET, stdlib.SO_RCVLOWAT, LOWAT)
        peer.send(b"x" * 12)
        assert await sock.recv(100) == b"x" * 12
        peer.send(b"abc")
        wait_for_bytes(sock, 3)
        assert await sock.recv(100) == b"abc"


@in_run
async def test_upper_layer_protocol():
    peer, sock = await tcp_pair()
    with peer, sock:
        try:
            sock.setsockopt(tsocket.IPPROTO_TCP, 31, b"tls")
        except OSError:
            pass  # not in this kernel; it is the attempt that counts
        assert not believes(sock)


@edge_only
@in_run
async def test_connect_resets_the_memory():
    with tsocket.socket() as listener, tsocket.socket() as client:
        await listener.bind(("127.0.0.1", 0))
        with pytest.raises(ConnectionRefusedError):
            await client.connect(listener.getsockname())
        # That was reported, as an error and a hang-up.
        assert registered(client)
        listener.listen()
        try:
            await client.connect(listener.getsockname())
        except ConnectionAbortedError:  # Linux remembers that it failed, once
            await client.connect(listener.getsockname())
        assert believes(client) == BELIEVES_SHORT_READS
        server, _ = await listener.accept()
        with server:
            for data in (b"a", b"b"):
                await server.send(data)
                assert await client.recv(100) == data
            assert believes(client) == BELIEVES_SHORT_READS


@edge_only
@in_run
async def test_connected_socket_is_registered_once():
    with tsocket.socket() as listener, tsocket.socket() as client:
        await listener.bind(("127.0.0.1", 0))
        listener.listen()
        await client.connect(listener.getsockname())
        server, _ = await listener.accept()
        with server:
            await server.send(b"a")
            settle(client)
            assert await client.recv(100) == b"a"
            assert believes(client) == BELIEVES_SHORT_READS


# --- peeking, error queue (C5) ---------------------------------------


@in_run
async def test_peeking_never_says_empty():
    peer, sock = await tcp_pair()
    with peer, sock:
        await prime(peer, sock)
        peer.send(b"xyz")
        settle(sock)
        await harvest(sock)
        assert await sock.recv(100, tsocket.MSG_PEEK) == b"xyz"
        if EDGE:
            assert sock._memory[1]
        assert await sock.recv(100) == b"xyz"


@in_run
async def test_peeking_past_the_end_does_not_say_empty():
    peer, sock = await unix_pair()
    with peer, sock:
        await prime(peer, sock)
        sock.setsockopt(tsocket.SOL_SOCKET, SO_PEEK_OFF, 0)
        peer.send(b"xyz")
        assert await sock.recv(3, tsocket.MSG_PEEK) == b"xyz"
        with trio.move_on_after(0.01) as scope:
            await sock.recv(3, tsocket.MSG_PEEK)
        assert scope.cancelled_caught
        assert await sock.recv(100) == b"xyz"


@edge_only
@in_run
async def test_flagged_receives_leave_the_memory_alone():
    peer, sock = await udp_pair()
    with peer, sock:
        await prime(peer, sock)
        peer.send(b"d")
        settle(sock)
        await harvest(sock)
        before = sock._memory[:3]
        with trio.move_on_after(0.01) as scope:
            await sock.recv(100, 0x2000)  # MSG_ERRQUEUE: nothing there
        assert scope.cancelled_caught
        assert sock._memory[:3] == before
        assert await sock.recv(100) == b"d"
