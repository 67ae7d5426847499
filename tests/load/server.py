"""The server of the load test, on trio_c or on Trio.

    server.py LIBRARY CERTIFICATE

Prints the ports it listens at, without and with TLS, as a line of JSON. After
that, whenever a line is read from stdin, it says how it is.
"""

from __future__ import annotations

import collections
import ctypes
import gc
import importlib
import json
import os
import ssl
import sys
from functools import partial
from types import ModuleType

from protocol import HOSTILE, ProtocolError, decode, encode

trio: ModuleType

# How long it waits for the next byte, and for somebody to take an answer.
PATIENCE = 120.0

counters = collections.Counter(open=0)


async def serve(stream) -> None:
    counters["open"] += 1
    counters["connections"] += 1
    try:
        async with stream:
            await converse(stream)
    except (trio.BrokenResourceError, trio.ClosedResourceError):
        counters["broken off"] += 1
    except ProtocolError:
        counters["sent garbage"] += 1
    except trio.TooSlowError:
        counters["too slow"] += 1
    finally:
        counters["open"] -= 1


async def converse(stream) -> None:
    buffer = bytearray()
    expected = 0
    while True:
        with trio.fail_after(PATIENCE):
            data = await stream.receive_some(1 << 16)
        if not data:
            return
        buffer += data
        for message in decode(buffer):
            if message.number != expected:
                counters["out of order"] += 1
            expected += 1
            if message.sender < HOSTILE:
                counters["messages"] += 1
            with trio.fail_after(PATIENCE):
                await stream.send_all(encode(message))


class Heap(ctypes.Structure):
    """The struct mallinfo2 of the GNU C library."""

    _fields_ = [
        (name, ctypes.c_size_t)
        for name in "arena ordblks smblks hblks hblkhd usmblks fsmblks uordblks "
        "fordblks keepcost".split()
    ]


def bytes_in_use() -> int:
    """Of the C library's heap, whatever that keeps of what was given back.

    (It gives to the system what it can.) 0 if this C library does not tell.
    """
    library = ctypes.CDLL(None)
    getattr(library, "malloc_trim", int)(0)
    mallinfo = getattr(library, "mallinfo2", None)
    if mallinfo is None:
        return 0
    mallinfo.restype = Heap
    heap = mallinfo()
    return heap.uordblks + heap.hblkhd


async def report() -> None:
    """A line for a line, until there are no more."""
    while True:
        await trio.lowlevel.wait_readable(0)
        if not os.read(0, 1):
            return
        gc.collect()
        heap = bytes_in_use()
        with open("/proc/self/statm") as file:
            pages = int(file.read().split()[1])
        native = getattr(sys.modules.get("trio_c._native"), "live_objects", dict)
        status = {
            "bytes": pages * os.sysconf("SC_PAGE_SIZE"),
            "blocks": sys.getallocatedblocks(),
            "heap": heap,
            "descriptors": len(os.listdir("/proc/self/fd")),
            "live objects": sum(native().values()),
            "tasks": trio.lowlevel.current_statistics().tasks_living,
            "seconds": sum(os.times()[:2]),
            "counters": counters,
        }
        print(json.dumps(status), flush=True)


async def main(certificate: str) -> None:
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(certificate)
    open_listeners = partial(trio.open_tcp_listeners, 0, host="127.0.0.1")
    [plain] = await open_listeners(backlog=4096)
    [tls] = await open_listeners(backlog=4096)
    async with trio.open_nursery() as nursery:
        listeners = [plain, trio.SSLListener(tls, context)]
        await nursery.start(trio.serve_listeners, serve, listeners)
        ports = [each.socket.getsockname()[1] for each in (plain, tls)]
        print(json.dumps(ports), flush=True)
        await report()
        nursery.cancel_scope.cancel()


if __name__ == "__main__":
    trio = importlib.import_module(sys.argv[1])
    trio.run(main, sys.argv[2])
