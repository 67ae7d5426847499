"""What the connections of the load test speak, for both sides.

A message has a head: how long the rest is, whose it is, its number, and a checksum
of all that. The numbers of a connection are 0, 1, 2 ... The answer to a message
is the message.
"""

from __future__ import annotations

import random
import struct
import zlib
from collections.abc import Iterator
from typing import NamedTuple

HEAD = struct.Struct(">IIII")
LONGEST = 1 << 16

# Whose: those of clients that mean well are below this.
HOSTILE = 1 << 31


class ProtocolError(Exception):
    pass


class Message(NamedTuple):
    sender: int
    number: int
    body: bytes


def encode(message: Message) -> bytes:
    sender, number, body = message
    check = zlib.crc32(body, zlib.crc32(b"%d %d" % (sender, number)))
    return HEAD.pack(len(body), sender, number, check) + body


def decode(buffer: bytearray) -> Iterator[Message]:
    """Takes all that is complete out of the buffer."""
    while len(buffer) >= HEAD.size:
        length, sender, number, check = HEAD.unpack_from(buffer)
        if length > LONGEST:
            raise ProtocolError("no message")
        end = HEAD.size + length
        if len(buffer) < end:
            return
        message = Message(sender, number, bytes(buffer[HEAD.size : end]))
        if encode(message) != buffer[:end]:
            raise ProtocolError("wrong checksum")
        del buffer[:end]
        yield message


def make(sender: int, number: int, chance: random.Random, least: int = 0) -> Message:
    length = least + chance.randrange(1, 1000)
    return Message(sender, number, chance.randbytes(length))


def source(index: int) -> tuple[str, int]:
    """An address for the client's side: one alone would run out of ports."""
    return f"127.0.{1 + index // 250 % 200}.{1 + index % 250}", 0
