"""Echo servers on the floor extension: the least that a native run loop costs.

python _servers_floor.py EXTENSION MODE

EXTENSION is the path of the built floor_ext. Prints its port. MODE is tcp, udp
or connect (one request for each connection).
"""

from __future__ import annotations

import argparse
import socket
import sys
from pathlib import Path

SIZE = 65536

if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("extension", type=Path)
    parser.add_argument("mode", choices=["tcp", "udp", "connect"])
    options = parser.parse_args()
    sys.path.append(str(options.extension.parent))
    import floor_ext

    async def echo(connection) -> None:
        while data := await connection.recv(SIZE):
            await connection.send(data)

    async def answer(connection) -> None:
        await connection.send(await connection.recv(SIZE))

    async def echo_datagrams(server) -> None:
        while True:
            data, sender = await server.recvfrom(SIZE)
            await server.sendto(data, sender)

    if options.mode == "udp":
        server = socket.socket(type=socket.SOCK_DGRAM)
        server.setblocking(False)
        server.bind(("127.0.0.1", 0))
        print(server.getsockname()[1], flush=True)
        floor_ext.run([echo_datagrams(floor_ext.wrap(server.fileno()))])
    else:
        print(floor_ext.listen(answer if options.mode == "connect" else echo))
        sys.stdout.flush()
        floor_ext.run([])
