"""Echo servers on curio.

python _servers_curio.py MODE [CERTIFICATE]

Prints its port. MODE is tcp, udp, connect (one request for each connection) or
tls.
"""

from __future__ import annotations

import argparse
import ssl

import _common

curio = _common.import_curio()
network, socket = curio.network, curio.socket

SIZE = 65536
BACKLOG = 1024


async def echo(client, address) -> None:
    try:
        while data := await client.recv(SIZE):
            await client.sendall(data)
    except ConnectionError:
        pass  # the client left in the middle of a message


async def answer(client, address) -> None:
    await client.sendall(await client.recv(SIZE))


async def echo_datagrams(server) -> None:
    while True:
        data, sender = await server.recvfrom(SIZE)
        await server.sendto(data, sender)


async def main(mode: str, certificate: str | None) -> None:
    if mode == "udp":
        server = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        server.bind(("127.0.0.1", 0))
        print(server.getsockname()[1], flush=True)
        await echo_datagrams(server)
    context = None
    if certificate is not None:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(certificate)
    server = network.tcp_server_socket("127.0.0.1", 0, backlog=BACKLOG)
    print(server.getsockname()[1], flush=True)
    handler = answer if mode == "connect" else echo
    await network.run_server(server, handler, ssl=context)


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("mode", choices=["tcp", "udp", "connect", "tls"])
    parser.add_argument("certificate", nargs="?")
    options = parser.parse_args()
    curio.run(main, options.mode, options.certificate)
