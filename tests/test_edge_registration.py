"""Owned sockets: level waits, accepting, and the end of a registration."""

import os
import select
import socket as stdlib
import sysconfig

import pytest
from _sockets import (
    EDGE,
    drain,
    harvest,
    in_run,
    prime,
    registered,
    settle,
    tcp_pair,
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


# --- level waits on owned sockets (C6) -------------------------------


@in_run
async def test_level_wait_sees_what_was_left():
    peer, sock = await tcp_pair()
    with peer, sock:
        await prime(peer, sock)
        peer.send(b"abcdef")
        settle(sock)
        assert await sock.recv(2) == b"ab"
        for _ in range(3):
            await trio.lowlevel.wait_readable(sock)
        await trio.lowlevel.wait_readable(sock.fileno())
        assert await sock.recv(100) == b"cdef"


@in_run
async def test_level_wait_after_a_peek():
    peer, sock = await tcp_pair()
    with peer, sock:
        await prime(peer, sock)
        peer.send(b"ab")
        settle(sock)
        await harvest(sock)
        assert sock._sock.recv(9, stdlib.MSG_PEEK) == b"ab"
        await trio.lowlevel.wait_readable(sock)


@in_run
async def test_level_and_edge_share_the_slots():
    peer, sock = await tcp_pair()
    with peer, sock:
        await prime(peer, sock)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(trio.lowlevel.wait_readable, sock)
            await trio.testing.wait_all_tasks_blocked()
            with pytest.raises(trio.BusyResourceError):
                await sock.recv(1)
            # The other direction is free, whatever the first one was.
            await trio.lowlevel.wait_writable(sock)
            peer.send(b"x")
        assert await sock.recv(1) == b"x"


@in_run
async def test_level_wait_before_the_first_edge_wait():
    peer, sock = await unix_pair()
    with peer, sock:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(trio.lowlevel.wait_readable, sock)
            await trio.testing.wait_all_tasks_blocked()

            @nursery.start_soon
            async def send():
                view = memoryview(bytes(3_000_000))
                while view:
                    view = view[await sock.send(view) :]

            await trio.testing.wait_all_tasks_blocked()
            # It was one-shot; the blocked send made it an edge registration.
            assert registered(sock) == EDGE
            peer.send(b"x")
            await drain(peer, 3_000_000)
        assert await sock.recv(1) == b"x"


# --- accepting (C7) --------------------------------------------------


@in_run
async def test_burst_of_connections():
    with tsocket.socket() as listener:
        await listener.bind(("127.0.0.1", 0))
        listener.listen(50)
        with trio.move_on_after(0.01):
            await listener.accept()
        assert registered(listener) == EDGE
        for _ in range(3):
            clients = [
                stdlib.create_connection(listener.getsockname()) for _ in range(5)
            ]
            for client in clients:
                server, _ = await listener.accept()
                server.close()
                client.close()


@in_run
async def test_running_out_of_descriptors_clears_nothing():
    import resource

    with tsocket.socket() as listener:
        await listener.bind(("127.0.0.1", 0))
        listener.listen(50)
        with trio.move_on_after(0.01):
            await listener.accept()
        client = stdlib.create_connection(listener.getsockname())
        settle(listener)
        soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
        resource.setrlimit(resource.RLIMIT_NOFILE, (lowest_free_fd(), hard))
        try:
            for _ in range(3):
                with pytest.raises(OSError, match="Too many open files"):
                    await listener.accept()
        finally:
            resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
        server, _ = await listener.accept()
        server.close()
        client.close()


def lowest_free_fd():
    fd = os.dup(0)
    os.close(fd)
    return fd


@in_run
async def test_listening_socket_shared_by_two_runs():
    with tsocket.socket() as listener:
        await listener.bind(("127.0.0.1", 0))
        listener.listen(50)
        other = listener._sock.dup()

        def in_other_run():
            async def main():
                with trio.fail_after(30), other:
                    sock, _ = await tsocket.from_stdlib_socket(other).accept()
                    sock.close()

            trio.run(main)

        async with trio.open_nursery() as nursery:
            nursery.start_soon(trio.to_thread.run_sync, in_other_run)

            @nursery.start_soon
            async def accept_here():
                sock, _ = await listener.accept()
                sock.close()

            clients = []
            for _ in range(2):
                clients.append(stdlib.create_connection(listener.getsockname()))
                await trio.sleep(0.01)
        for client in clients:
            client.close()


# --- the end of a registration (C8) ----------------------------------


@edge_only
@pytest.mark.parametrize("how", ["close", "exit", "detach", "drop", "replace"])
@in_run
async def test_registration_goes_before_the_descriptor(how):
    peer, sock = await tcp_pair()
    with peer:
        await prime(peer, sock)
        # A duplicate would keep a registration alive that nobody can reach.
        twin = sock._sock.dup()
        fd = sock.fileno()
        if how == "close":
            sock.close()
        elif how == "exit":
            with sock:
                pass
        elif how == "detach":
            assert sock.detach() == fd
            os.close(fd)
        elif how == "replace":
            raw = sock._sock
            sock._sock = stdlib.socket()
            sock.close()
            raw.close()
        else:
            with pytest.warns(ResourceWarning):
                del sock
        waits = []
        counting = CountWaits(waits)
        trio.lowlevel.add_instrument(counting)
        for _ in range(10):
            peer.send(b"x")
            settle(twin)
            await trio.sleep(0.01)
        trio.lowlevel.remove_instrument(counting)
        # A report for the closed descriptor would cut each sleep in two.
        assert len(waits) < 15
        twin.close()


class CountWaits(trio.abc.Instrument):
    def __init__(self, waits):
        self.waits = waits

    def after_io_wait(self, timeout):
        self.waits.append(timeout)


@in_run
async def test_waiters_of_the_number_outlive_a_detach():
    peer, sock = await tcp_pair()
    with peer:
        await prime(peer, sock)
        fd = sock.fileno()
        async with trio.open_nursery() as nursery:
            nursery.start_soon(trio.lowlevel.wait_readable, fd)
            await trio.testing.wait_all_tasks_blocked()
            assert sock.detach() == fd
            peer.send(b"ab")
        assert os.read(fd, 1) == b"a"
        await trio.lowlevel.wait_readable(fd)
        os.close(fd)


@in_run
async def test_reused_number():
    peer, sock = await tcp_pair()
    await prime(peer, sock)
    fd = sock.fileno()
    # Closed behind our back, then the number comes back as another socket.
    sock._sock.close()
    peer.close()
    peer2, sock2 = await tcp_pair()
    if sock2.fileno() != fd:
        os.dup2(sock2.fileno(), fd)
        replacement = stdlib.socket(fileno=fd)
        sock2.close()
        sock2 = tsocket.from_stdlib_socket(replacement)
        sock2._owned = True
    with peer2, sock2:
        assert sock2.fileno() == fd
        await prime(peer2, sock2)
        for data in (b"n", b"m"):
            async with trio.open_nursery() as nursery:

                @nursery.start_soon
                async def receive(data=data):
                    assert await sock2.recv(100) == data

                await trio.testing.wait_all_tasks_blocked()
                peer2.send(data)
        with pytest.raises(OSError, match="Bad file descriptor"):
            await sock.recv(1)
        # The old object lets go of nothing that is not its own.
        del sock
        if EDGE:
            assert registered(sock2)
        peer2.send(b"z")
        assert await sock2.recv(1) == b"z"


def test_another_run_registers_anew():
    kept = []

    async def first():
        peer, sock = await tcp_pair()
        await prime(peer, sock)
        kept.extend([peer, sock])

    async def second():
        peer, sock = kept
        assert not registered(sock)
        with trio.fail_after(30), peer, sock:
            await prime(peer, sock)
            peer.send(b"1")
            assert await sock.recv(100) == b"1"

    trio.run(first)
    trio.run(second)


@pytest.mark.skipif(
    bool(sysconfig.get_config_var("Py_GIL_DISABLED")),
    reason="without a GIL a socket is for one living run at a time",
)
def test_two_runs_at_once():
    # The socket moves between runs that are both alive.
    async def outer():
        peer, sock = await tcp_pair()
        with peer, sock:
            await prime(peer, sock)

            def inner():
                async def main():
                    with trio.fail_after(30):
                        await prime(peer, sock)

                trio.run(main)

            for _ in range(3):
                await trio.to_thread.run_sync(inner)
                with trio.fail_after(30):
                    await prime(peer, sock)

    trio.run(outer)


@forks
@pytest.mark.parametrize("how", ["close", "exit", "detach", "replace"])
@in_run
async def test_forked_child_leaves_the_registration_alone(how):
    peer, sock = await tcp_pair()
    with peer, sock:
        await prime(peer, sock)
        pid = os.fork()
        if not pid:
            status = 1
            try:
                # Nothing here may touch what the parent waits with.
                if how == "close":
                    sock.close()
                elif how == "exit":
                    with sock:
                        pass
                elif how == "detach":
                    os.close(sock.detach())
                else:
                    sock._sock = stdlib.socket()
                status = 0
            finally:
                os._exit(status)
        _, status = os.waitpid(pid, 0)
        assert status == 0
        async with trio.open_nursery() as nursery:

            @nursery.start_soon
            async def receive():
                assert await sock.recv(100) == b"1"

            await trio.testing.wait_all_tasks_blocked()
            peer.send(b"1")


@forks
@in_run
async def test_forked_child_can_go_on():
    peer, sock = await tcp_pair()
    with peer, sock:
        await prime(peer, sock)
        pid = os.fork()
        if not pid:
            status = 1
            try:
                with trio.fail_after(20):
                    async with trio.open_nursery() as nursery:

                        @nursery.start_soon
                        async def receive():
                            assert await sock.recv(100) == b"child"

                        await trio.testing.wait_all_tasks_blocked()
                        peer.send(b"child")
                status = 0
            finally:
                os._exit(status)
        _, status = await trio.to_thread.run_sync(os.waitpid, pid, 0)
        assert status == 0
        peer.send(b"parent")
        assert await sock.recv(100) == b"parent"


# --- strangers (C9) --------------------------------------------------


@in_run
async def test_wrapped_sockets_are_not_remembered():
    left, right = stdlib.socketpair()
    with left, right:
        sock = tsocket.from_stdlib_socket(right)
        async with trio.open_nursery() as nursery:

            @nursery.start_soon
            async def receive():
                assert await sock.recv(100) == b"1"

            await trio.testing.wait_all_tasks_blocked()
            assert not registered(sock)
            left.send(b"1")
        # Its user may close it and open another under the same number.
        left2, right2 = stdlib.socketpair()
        with left2, right2:
            fd = right.fileno()
            right.close()
            os.dup2(right2.fileno(), fd)
            replacement = stdlib.socket(fileno=fd)
            with replacement:
                sock2 = tsocket.from_stdlib_socket(replacement)
                left2.send(b"2")
                assert await sock2.recv(100) == b"2"
                with trio.move_on_after(0.01):
                    await sock2.recv(100)
                left2.send(b"3")
                assert await sock2.recv(100) == b"3"


@forks
@pytest.mark.parametrize("thief", ["dup", "standard socket", "fork"])
@in_run
async def test_somebody_else_reads_too(thief):
    peer, sock = await tcp_pair()
    with peer, sock:
        await prime(peer, sock)

        def steal(n):
            if thief == "dup":
                with sock.dup() as twin:
                    os.read(twin.fileno(), n)
            elif thief == "standard socket":
                sock._sock.recv(n)
            else:
                pid = os.fork()
                if not pid:
                    os.read(sock.fileno(), n)
                    os._exit(0)
                os.waitpid(pid, 0)

        peer.send(b"xyz")
        settle(sock)
        steal(2)
        assert await sock.recv(100) == b"z"
        peer.send(b"1")
        settle(sock)
        await harvest(sock)
        steal(9)
        async with trio.open_nursery() as nursery:

            @nursery.start_soon
            async def receive():
                assert await sock.recv(100) == b"2"

            await trio.testing.wait_all_tasks_blocked()
            peer.send(b"2")
