"""A client that holds many connections to an echo server, and checks them.

    python -m trio_c examples/echo_client.py --port PORT

It opens all its connections first; once the last one stands, every connection
sends its messages, one after the other, and compares what comes back with
what it sent. Each message says which one it is and carries a checksum.
"""

import argparse
import random
import struct
import sys
import time
import zlib

import trio
from many_files import allow_open_files

# Connection, message, number of bytes that follow, their checksum.
HEADER = struct.Struct("!IIII")
LONGEST = 2000


class Count:
    """What has happened so far."""

    def __init__(self) -> None:
        self.connected = 0
        self.echoed = 0
        self.payload = 0
        self.complaints: list[str] = []


def make_message(connection: int, number: int) -> bytes:
    """A message whose content and length differ from all others'."""
    source = random.Random(f"{connection}/{number}")
    body = source.randbytes(source.randrange(1, LONGEST))
    return HEADER.pack(connection, number, len(body), zlib.crc32(body)) + body


async def receive_exactly(stream: trio.SocketStream, size: int) -> bytes:
    received = bytearray()
    while len(received) < size:
        data = await stream.receive_some(size - len(received))
        if not data:
            raise EOFError(f"{len(received)} bytes of {size} came back")
        received += data
    return bytes(received)


async def receive_message(stream: trio.SocketStream) -> tuple[int, int, bytes]:
    header = await receive_exactly(stream, HEADER.size)
    connection, number, size, checksum = HEADER.unpack(header)
    if size >= LONGEST:
        raise ValueError(f"an impossible size, {size}, came back")
    body = await receive_exactly(stream, size)
    if zlib.crc32(body) != checksum:
        raise ValueError("wrong checksum")
    return connection, number, header + body


async def talk(
    address: tuple[str, int],
    connection: int,
    messages: int,
    count: Count,
    connected: trio.MemorySendChannel,
    start: trio.Event,
) -> None:
    """One connection, from opening to the end of what the server sends."""
    try:
        async with await trio.open_tcp_stream(*address) as stream:
            count.connected += 1
            await connected.send(None)
            await start.wait()
            for number in range(messages):
                message = make_message(connection, number)
                await stream.send_all(message)
                sender, place, echoed = await receive_message(stream)
                if (sender, place, echoed) != (connection, number, message):
                    raise ValueError(f"message {place} of {sender} came back")
                count.echoed += 1
                count.payload += len(message)
            await stream.send_eof()
            if rest := await stream.receive_some():
                raise ValueError(f"{len(rest)} bytes too many came back")
    except (OSError, EOFError, ValueError, trio.BrokenResourceError) as exc:
        count.complaints.append(f"connection {connection}: {exc!r}")
        await connected.send(None)


async def main(host: str, port: int, connections: int, messages: int) -> bool:
    count = Count()
    start = trio.Event()
    began = time.perf_counter()
    send, receive = trio.open_memory_channel(connections)
    async with trio.open_nursery() as nursery:
        for connection in range(connections):
            nursery.start_soon(
                talk, (host, port), connection, messages, count, send, start
            )
        for _ in range(connections):
            await receive.receive()
        simultaneous = count.connected
        opened = time.perf_counter()
        start.set()
    ended = time.perf_counter()

    wanted = connections * messages
    seconds = ended - opened
    print(f"connections   {simultaneous} at the same time, opened in", end=" ")
    print(f"{opened - began:.2f} s")
    print(f"messages      {count.echoed} of {wanted}, checked byte by byte")
    print(f"volume        {count.payload / 1e6:.1f} MB each way")
    print(f"seconds       {seconds:.2f}, {count.echoed / seconds:,.0f} messages/s")
    print(f"lost          {wanted - count.echoed}")
    for complaint in count.complaints[:10]:
        print(complaint, file=sys.stderr)
    return not count.complaints and (simultaneous, count.echoed) == (
        connections,
        wanted,
    )


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description="Checks an echo server.")
    parser.add_argument("--host", default="127.0.0.1")
    parser.add_argument("--port", type=int, default=7000)
    parser.add_argument("--connections", type=int, default=1000)
    parser.add_argument("--messages", type=int, default=100, help="per connection")
    options = parser.parse_args()
    allow_open_files(options.connections)
    sys.exit(
        not trio.run(
            main, options.host, options.port, options.connections, options.messages
        )
    )
