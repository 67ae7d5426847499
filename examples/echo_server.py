"""An echo server: whatever a client sends comes back to it.

    python -m trio_c examples/echo_server.py [--host HOST] [--port PORT]

It prints the port it listens on (--port 0 picks a free one) and serves until
Ctrl-C.
"""

import argparse

import trio
from many_files import allow_open_files


async def echo(stream: trio.SocketStream) -> None:
    """Serve one connection until the client has no more to say."""
    try:
        async for data in stream:
            await stream.send_all(data)
    except trio.BrokenResourceError:
        # The client went away without a word. The others are still there.
        pass


async def main(host: str, port: int) -> None:
    listeners = await trio.open_tcp_listeners(port, host=host)
    address = listeners[0].socket.getsockname()
    print(f"listening on port {address[1]}", flush=True)
    await trio.serve_listeners(echo, listeners)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description="An echo server.")
    parser.add_argument("--host", default="127.0.0.1")
    parser.add_argument("--port", type=int, default=7000)
    parser.add_argument(
        "--connections", type=int, default=1000, help="how many to expect at once"
    )
    options = parser.parse_args()
    allow_open_files(options.connections)
    try:
        trio.run(main, options.host, options.port)
    except KeyboardInterrupt:
        pass
