"""Echo servers written against Trio's API; the module is a parameter.

python _servers_trio.py MODULE MODE [CERTIFICATE] [--spinners N]

Prints its port. MODE is tcp, udp, connect (one request for each connection) or
tls. Spinners are tasks that do nothing but checkpoint.
"""

from __future__ import annotations

import argparse
import importlib
import ssl
from functools import partial

SIZE = 65536


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("module")
    parser.add_argument("mode", choices=["tcp", "udp", "connect", "tls"])
    parser.add_argument("certificate", nargs="?")
    parser.add_argument("--spinners", type=int, default=0)
    options = parser.parse_args()
    trio = importlib.import_module(options.module)

    async def echo(stream) -> None:
        try:
            while data := await stream.receive_some(SIZE):
                await stream.send_all(data)
        except trio.BrokenResourceError:
            pass  # the client left in the middle of a message

    async def answer(stream) -> None:
        data = await stream.receive_some(SIZE)
        await stream.send_all(data)

    async def echo_datagrams(socket) -> None:
        while True:
            data, sender = await socket.recvfrom(SIZE)
            await socket.sendto(data, sender)

    async def spin() -> None:
        while True:
            await trio.lowlevel.checkpoint()

    async def start(nursery) -> int:
        if options.mode == "udp":
            socket = trio.socket.socket(type=trio.socket.SOCK_DGRAM)
            await socket.bind(("127.0.0.1", 0))
            nursery.start_soon(echo_datagrams, socket)
            return socket.getsockname()[1]
        if options.mode == "tls":
            context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            context.load_cert_chain(options.certificate)
            serve = partial(trio.serve_ssl_over_tcp, echo, 0, context, host="127.0.0.1")
            [listener] = await nursery.start(serve)
            return listener.transport_listener.socket.getsockname()[1]
        handler = answer if options.mode == "connect" else echo
        serve = partial(trio.serve_tcp, handler, 0, host="127.0.0.1")
        [listener] = await nursery.start(serve)
        return listener.socket.getsockname()[1]

    async def run() -> None:
        async with trio.open_nursery() as nursery:
            print(await start(nursery), flush=True)
            for _ in range(options.spinners):
                nursery.start_soon(spin)

    trio.run(run)


if __name__ == "__main__":
    main()
