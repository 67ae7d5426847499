"""Echo servers on asyncio and on event loops for it.

python _servers_asyncio.py LOOP STYLE MODE [CERTIFICATE]

LOOP is asyncio, uvloop or rloop. STYLE is streams (coroutines; for datagrams,
the loop's socket methods) or protocol (callbacks). Prints its port. MODE is
tcp, udp, connect (one request for each connection) or tls.
"""

from __future__ import annotations

import argparse
import asyncio
import importlib
import socket
import ssl

SIZE = 65536
# Trio's own is as many as the system allows, and these are what is compared.
BACKLOG = 1024


# --- streams


async def close(writer: asyncio.StreamWriter) -> None:
    writer.close()
    try:
        await writer.wait_closed()
    except ConnectionError:
        pass


async def echo(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    try:
        while data := await reader.read(SIZE):
            writer.write(data)
            await writer.drain()
    except ConnectionError:
        pass  # the client left in the middle of a message
    await close(writer)


async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    writer.write(await reader.read(SIZE))
    await writer.drain()
    await close(writer)


async def echo_datagrams(server: socket.socket) -> None:
    loop = asyncio.get_running_loop()
    while True:
        data, sender = await loop.sock_recvfrom(server, SIZE)
        await loop.sock_sendto(server, data, sender)


# --- protocols


class Echo(asyncio.Protocol):
    def connection_made(self, transport) -> None:
        self.transport = transport

    def data_received(self, data: bytes) -> None:
        self.transport.write(data)


class Answer(Echo):
    def data_received(self, data: bytes) -> None:
        self.transport.write(data)
        self.transport.close()


class DatagramEcho(asyncio.DatagramProtocol):
    def connection_made(self, transport) -> None:
        self.transport = transport

    def datagram_received(self, data: bytes, sender) -> None:
        self.transport.sendto(data, sender)


async def main(style: str, mode: str, certificate: str | None) -> None:
    loop = asyncio.get_running_loop()
    if mode == "udp":
        server = socket.socket(type=socket.SOCK_DGRAM)
        server.setblocking(False)
        server.bind(("127.0.0.1", 0))
        print(server.getsockname()[1], flush=True)
        if style == "streams":
            await echo_datagrams(server)
        transport, _ = await loop.create_datagram_endpoint(DatagramEcho, sock=server)
        await loop.create_future()
    context = None
    if certificate is not None:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(certificate)
    place = {"host": "127.0.0.1", "port": 0, "ssl": context, "backlog": BACKLOG}
    if style == "streams":
        handler = answer if mode == "connect" else echo
        server = await asyncio.start_server(handler, **place)
    else:
        factory = Answer if mode == "connect" else Echo
        server = await loop.create_server(factory, **place)
    print(server.sockets[0].getsockname()[1], flush=True)
    # Serves already; to ask rloop for it once more ends it.
    await loop.create_future()


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("loop", choices=["asyncio", "uvloop", "rloop"])
    parser.add_argument("style", choices=["streams", "protocol"])
    parser.add_argument("mode", choices=["tcp", "udp", "connect", "tls"])
    parser.add_argument("certificate", nargs="?")
    options = parser.parse_args()
    factory = importlib.import_module(options.loop).new_event_loop
    with asyncio.Runner(loop_factory=factory) as runner:
        runner.run(main(options.style, options.mode, options.certificate))
