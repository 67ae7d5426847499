"""What an echo over TLS costs a server.

    python benchmarks/tls.py [--size 64] [--connections 100] [--seconds 1]
                             [--rounds 5] trio_c trio asyncio

Each server runs in a process of its own, and they take turns. The client, in
this process, sends a message on each connection and then reads all the echoes,
again and again; it uses blocking sockets and does not wait between messages.
Prints per server the median over the rounds of its CPU time per message, and
messages per second. A server is named by its module: one with Trio's API, or
asyncio, which is measured twice, with a Protocol and with streams. Needs
trustme, for a certificate.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import importlib
import socket
import ssl
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple


class Cost(NamedTuple):
    cpu: float  # seconds per message
    rate: float  # messages per second


# --- servers


def report_cpu_time() -> None:
    """A thread that answers each line of the standard input with a number."""

    def answer() -> None:
        for _ in sys.stdin:
            print(time.process_time(), flush=True)

    threading.Thread(target=answer, daemon=True).start()


def serve_trio(library: str, context: ssl.SSLContext) -> None:
    trio = importlib.import_module(library)

    async def echo(stream) -> None:
        with contextlib.suppress(trio.BrokenResourceError):
            async for data in stream:
                await stream.send_all(data)

    async def main() -> None:
        async with trio.open_nursery() as nursery:
            listeners = await nursery.start(
                lambda task_status: trio.serve_ssl_over_tcp(
                    echo, 0, context, host="127.0.0.1", task_status=task_status
                )
            )
            name = listeners[0].transport_listener.socket.getsockname()
            print(name[1], flush=True)

    trio.run(main)


class EchoProtocol(asyncio.Protocol):
    def connection_made(self, transport) -> None:
        self.transport = transport

    def data_received(self, data: bytes) -> None:
        self.transport.write(data)


async def serve_asyncio(kind: str, context: ssl.SSLContext) -> None:
    async def echo(reader, writer) -> None:
        with contextlib.suppress(OSError):
            while data := await reader.read(65536):
                writer.write(data)
                await writer.drain()
        writer.close()

    if kind == "asyncio-streams":
        server = await asyncio.start_server(echo, "127.0.0.1", 0, ssl=context)
    else:
        loop = asyncio.get_running_loop()
        server = await loop.create_server(EchoProtocol, "127.0.0.1", 0, ssl=context)
    print(server.sockets[0].getsockname()[1], flush=True)
    await server.serve_forever()


def serve(library: str, certificate: str) -> None:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate)
    report_cpu_time()
    if library.startswith("asyncio"):
        asyncio.run(serve_asyncio(library, context))
    else:
        serve_trio(library, context)


# --- client


class Server:
    """A server process and the connections to it."""

    def __init__(self, library: str, directory: Path, connections: int) -> None:
        self._process = subprocess.Popen(
            [sys.executable, __file__, "--serve", directory / "server.pem", library],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        port = int(self._process.stdout.readline())
        context = ssl.create_default_context(cafile=directory / "ca.pem")
        self._connections = [
            context.wrap_socket(
                socket.create_connection(("127.0.0.1", port)),
                server_hostname="localhost",
            )
            for _ in range(connections)
        ]
        for connection in self._connections:
            connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)

    def _cpu_time(self) -> float:
        self._process.stdin.write("\n")
        self._process.stdin.flush()
        return float(self._process.stdout.readline())

    def _exchange(self, message: bytes, buffer: memoryview) -> None:
        for connection in self._connections:
            connection.sendall(message)
        for connection in self._connections:
            received = 0
            while received < len(message):
                received += connection.recv_into(buffer[received:])
            assert buffer == message

    def measure(self, size: int, seconds: float) -> Cost:
        message = bytes(i % 251 for i in range(size))
        buffer = memoryview(bytearray(size))
        self._exchange(message, buffer)
        count = 0
        cpu = self._cpu_time()
        start = now = time.perf_counter()
        while now < start + seconds:
            self._exchange(message, buffer)
            count += len(self._connections)
            now = time.perf_counter()
        return Cost((self._cpu_time() - cpu) / count, count / (now - start))

    def close(self) -> None:
        for connection in self._connections:
            connection.close()
        self._process.kill()
        self._process.communicate()


@contextlib.contextmanager
def certificates() -> Iterator[Path]:
    import trustme

    with tempfile.TemporaryDirectory() as name:
        directory = Path(name)
        authority = trustme.CA()
        certificate = authority.issue_cert("localhost")
        authority.cert_pem.write_to_path(directory / "ca.pem")
        certificate.private_key_and_cert_chain_pem.write_to_path(
            directory / "server.pem"
        )
        yield directory


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("libraries", nargs="+")
    parser.add_argument("--size", type=int, default=64, help="bytes per message")
    parser.add_argument("--connections", type=int, default=100)
    parser.add_argument("--seconds", type=float, default=1.0, help="per round")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--serve", help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.serve:
        serve(args.libraries[0], args.serve)
        return

    libraries = []
    for library in args.libraries:
        libraries.append(library)
        if library == "asyncio":
            libraries.append("asyncio-streams")
    costs: dict[str, list[Cost]] = {library: [] for library in libraries}
    with certificates() as directory, contextlib.ExitStack() as stack:
        servers = {}
        for library in libraries:
            servers[library] = Server(library, directory, args.connections)
            stack.callback(servers[library].close)
        for _ in range(args.rounds):
            for library, server in servers.items():
                costs[library].append(server.measure(args.size, args.seconds))

    print(f"{args.size} bytes, {args.connections} connections")
    for library, results in costs.items():
        cpu = statistics.median(cost.cpu for cost in results) * 1e6
        rate = statistics.median(cost.rate for cost in results)
        print(f"{library:16} {cpu:8.1f} µs CPU per message {rate:9.0f} per second")


if __name__ == "__main__":
    main()
