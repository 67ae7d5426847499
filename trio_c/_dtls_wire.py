"""What DTLS looks like on the wire, as far as one must know to run a handshake.

A datagram holds *records*: a header and a payload, encrypted or not. Handshake
messages travel in records, cut into *fragments* if need be. All this is from
RFC 6347 (DTLS 1.2), whose sections are named below; OpenSSL does the rest.

Functions whose names end in ``_untrusted`` are for what came from the network:
on bad input they raise :exc:`BadPacket`, and nothing else.
"""

from __future__ import annotations

import enum
import struct

from ._frozen import frozen

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from typing import TypeAlias


class BadPacket(Exception):
    """This is not what a peer that follows the protocol would send."""


class ContentType(enum.IntEnum):
    """Kinds of records, in the IANA registry "TLS ContentType"."""

    change_cipher_spec = 20
    alert = 21
    handshake = 22
    application_data = 23
    heartbeat = 24


class HandshakeType(enum.IntEnum):
    """Kinds of handshake messages, in the IANA registry "TLS HandshakeType";
    only those that are treated in some way here.
    """

    client_hello = 1
    hello_verify_request = 3


class ProtocolVersion:
    """Versions as they stand in records: ones' complement, major and minor."""

    DTLS10 = b"\xfe\xff"
    DTLS12 = b"\xfe\xfd"


################################################################
# Records
################################################################

# Content type, version, epoch and sequence number, length (section 4.1).
# Epoch and sequence number, of 16 and 48 bits, are one number here.
_RECORD_HEADER = struct.Struct("!B2sQH")

# In epoch 0 nothing is encrypted. The handshake ends in epoch 1.
_EPOCH_SHIFT = 48


@frozen
class Record:
    """A record, whose payload may be encrypted."""

    content_type: int
    version: bytes
    epoch_seqno: int
    payload: bytes


def encode_record(record: Record) -> bytes:
    """The bytes of `record`."""
    header = _RECORD_HEADER.pack(
        record.content_type,
        record.version,
        record.epoch_seqno,
        len(record.payload),
    )
    return header + record.payload


def records_untrusted(packet: bytes) -> Iterator[Record]:
    """The records in a datagram."""
    start = 0
    while start < len(packet):
        body = start + _RECORD_HEADER.size
        if body > len(packet):
            raise BadPacket("invalid record header")
        content_type, version, epoch_seqno, length = _RECORD_HEADER.unpack_from(
            packet, start
        )
        start = body + length
        if start > len(packet):
            raise BadPacket("short record")
        yield Record(content_type, version, epoch_seqno, packet[body:start])


def part_of_handshake_untrusted(packet: bytes) -> bool:
    """Does the datagram begin with a record of epoch 0?

    Only a handshake has these, so it cannot be data.
    """
    return packet[3:5] == b"\0\0"


def is_client_hello_untrusted(packet: bytes) -> bool:
    """Does the datagram seem to open a connection? A quick look."""
    return (
        len(packet) > _RECORD_HEADER.size
        and packet[0] == ContentType.handshake
        and packet[_RECORD_HEADER.size] == HandshakeType.client_hello
    )


################################################################
# Handshake messages
################################################################

# Type, length of the message, its number, and of this fragment the offset and
# the length (section 4.2.2). The 24 bit numbers are bytes to struct.
_FRAGMENT_HEADER = struct.Struct("!B3sH3s3s")


@frozen
class HandshakeFragment:
    """A piece of a handshake message, or all of it."""

    msg_type: int
    msg_len: int
    msg_seq: int
    frag_offset: int
    frag_len: int
    frag: bytes


def _encode_uint24(number: int) -> bytes:
    return number.to_bytes(3, "big")


def _decode_uint24(data: bytes) -> int:
    return int.from_bytes(data, "big")


def encode_handshake_fragment(fragment: HandshakeFragment) -> bytes:
    """The bytes of `fragment`, for the payload of a record."""
    header = _FRAGMENT_HEADER.pack(
        fragment.msg_type,
        _encode_uint24(fragment.msg_len),
        fragment.msg_seq,
        _encode_uint24(fragment.frag_offset),
        _encode_uint24(fragment.frag_len),
    )
    return header + fragment.frag


def decode_handshake_fragment_untrusted(payload: bytes) -> HandshakeFragment:
    """The fragment that is the payload of a record.

    The standard allows for several of them in one record, but no
    implementation sends that.
    """
    if len(payload) < _FRAGMENT_HEADER.size:
        raise BadPacket("bad handshake message header")
    msg_type, msg_len, msg_seq, offset, length = _FRAGMENT_HEADER.unpack_from(payload)
    fragment = HandshakeFragment(
        msg_type,
        _decode_uint24(msg_len),
        msg_seq,
        _decode_uint24(offset),
        _decode_uint24(length),
        payload[_FRAGMENT_HEADER.size :],
    )
    if len(fragment.frag) != fragment.frag_len:
        raise BadPacket("handshake fragment length doesn't match record length")
    return fragment


def _cut(data: bytes, start: int, length: int) -> tuple[bytes, int]:
    """`length` bytes of `data` from `start` on, and where they end."""
    end = start + length
    if end > len(data):
        raise BadPacket("bad ClientHello")
    return data[start:end], end


def decode_client_hello_untrusted(packet: bytes) -> tuple[int, bytes, bytes]:
    """Take the datagram that opens a connection apart.

    Returns the epoch and sequence number of its record, the cookie, empty if
    there is none, and all of the message that is not the cookie: a client must
    send the same again with the cookie that it was given (section 4.2.1).
    """
    record = next(records_untrusted(packet), None)
    if record is None or record.content_type != ContentType.handshake:
        raise BadPacket("not a handshake record")
    if record.epoch_seqno >> _EPOCH_SHIFT:
        raise BadPacket("ClientHello inside a connection")
    fragment = decode_handshake_fragment_untrusted(record.payload)
    if fragment.msg_type != HandshakeType.client_hello:
        raise BadPacket("not a ClientHello")
    # It may be fragmented, but then one would have to remember the pieces of
    # somebody who has proved nothing. All clients send small ones.
    if fragment.frag_offset != 0 or fragment.frag_len != fragment.msg_len:
        raise BadPacket("fragmented ClientHello")
    body = fragment.frag
    # Version (2 bytes) and random (32), then session id and cookie, each after
    # its length (1 byte), then what does not matter here.
    _, end = _cut(body, 0, 2 + 32)
    (length,), end = _cut(body, end, 1)
    _, before = _cut(body, end, length)
    (length,), end = _cut(body, before, 1)
    cookie, after = _cut(body, end, length)
    return record.epoch_seqno, cookie, body[:before] + body[after:]


################################################################
# Flights
################################################################

# The messages that one side sends before the other's turn (section 4.2.4); a
# lost one is sent again as a whole. OpenSSL's idea of datagrams and of what is
# lost is not ours, so a flight is taken apart when it comes out of OpenSSL, and
# put into datagrams each time it is sent. It has three kinds of content:


@frozen
class HandshakeMessage:
    """A handshake message that is not encrypted; goes out in fragments."""

    record_version: bytes
    msg_type: int
    msg_seq: int
    body: bytearray


@frozen
class PseudoHandshakeMessage:
    """Another record that is not encrypted: a change of cipher, or an alert."""

    record_version: bytes
    content_type: int
    payload: bytes


@frozen
class OpaqueHandshakeMessage:
    """A record that is encrypted, and goes out as it is."""

    record: Record


if TYPE_CHECKING:
    AnyHandshakeMessage: TypeAlias = (
        HandshakeMessage | PseudoHandshakeMessage | OpaqueHandshakeMessage
    )
    Flight: TypeAlias = list[AnyHandshakeMessage]


def decode_volley_trusted(volley: bytes) -> Flight:
    """Take what OpenSSL wants to send apart."""
    flight: Flight = []
    by_number: dict[int, HandshakeMessage] = {}
    for record in records_untrusted(volley):
        if record.epoch_seqno >> _EPOCH_SHIFT:
            flight.append(OpaqueHandshakeMessage(record))
            continue
        if record.content_type != ContentType.handshake:
            flight.append(
                PseudoHandshakeMessage(
                    record.version, record.content_type, record.payload
                )
            )
            continue
        fragment = decode_handshake_fragment_untrusted(record.payload)
        message = by_number.get(fragment.msg_seq)
        if message is None:
            message = by_number[fragment.msg_seq] = HandshakeMessage(
                record.version,
                fragment.msg_type,
                fragment.msg_seq,
                bytearray(fragment.msg_len),
            )
            flight.append(message)
        end = fragment.frag_offset + fragment.frag_len
        message.body[fragment.frag_offset : end] = fragment.frag
    return flight


def is_repetition(flight: Flight, earlier: Flight) -> bool:
    """Do the flights begin with the same handshake message?"""
    return bool(
        flight
        and earlier
        and isinstance(flight[0], HandshakeMessage)
        and isinstance(earlier[0], HandshakeMessage)
        and flight[0].msg_seq == earlier[0].msg_seq
    )


def is_alert(flight: Flight) -> bool:
    """Does the flight begin with an alert that is not encrypted?"""
    return bool(
        flight
        and isinstance(flight[0], PseudoHandshakeMessage)
        and flight[0].content_type == ContentType.alert
    )


class _Datagrams:
    """Gathers records in datagrams of at most `mtu` bytes."""

    def __init__(self, mtu: int) -> None:
        self._mtu = mtu
        self.packets: list[bytearray] = []

    def room_for(self, least: int) -> int:
        """How many bytes, at least so many, can be added to the last datagram."""
        if self.packets:
            room = self._mtu - len(self.packets[-1])
            if room >= least:
                return room
        if least > self._mtu:
            raise ValueError(
                f"an MTU of {self._mtu} bytes is too small for a DTLS handshake"
            )
        self.packets.append(bytearray())
        return self._mtu

    def add(self, data: bytes) -> None:
        self.packets[-1] += data


class RecordEncoder:
    """Puts flights into datagrams, and numbers the records of epoch 0.

    Each number is used once, also if a flight is sent again, or the peer would
    take it for a copy (section 4.1.2.6). Records that OpenSSL has encrypted
    have OpenSSL's numbers.
    """

    def __init__(self) -> None:
        self._next_record_number = 0

    def set_first_record_number(self, number: int) -> None:
        """Go on with `number`."""
        self._next_record_number = number

    def encode_volley(
        self, flight: Iterable[AnyHandshakeMessage], mtu: int
    ) -> list[bytearray]:
        """Datagrams of at most `mtu` bytes with all of `flight` in order.

        Raises:
          ValueError: something in it takes more than `mtu` bytes, and cannot be
              cut.
        """
        datagrams = _Datagrams(mtu)
        for message in flight:
            if isinstance(message, OpaqueHandshakeMessage):
                record = encode_record(message.record)
                datagrams.room_for(len(record))
                datagrams.add(record)
            elif isinstance(message, PseudoHandshakeMessage):
                datagrams.room_for(_RECORD_HEADER.size + len(message.payload))
                datagrams.add(
                    self._encode(
                        message.content_type, message.record_version, message.payload
                    )
                )
            else:
                self._add_fragments(message, datagrams)
        return datagrams.packets

    def _add_fragments(self, message: HandshakeMessage, datagrams: _Datagrams) -> None:
        headers = _RECORD_HEADER.size + _FRAGMENT_HEADER.size
        total = len(message.body)
        done = 0
        while True:  # an empty message has one fragment too
            room = datagrams.room_for(headers + bool(total)) - headers
            piece = bytes(message.body[done : done + room])
            fragment = HandshakeFragment(
                message.msg_type, total, message.msg_seq, done, len(piece), piece
            )
            datagrams.add(
                self._encode(
                    ContentType.handshake,
                    message.record_version,
                    encode_handshake_fragment(fragment),
                )
            )
            done += len(piece)
            if done == total:
                return

    def _encode(self, content_type: int, version: bytes, payload: bytes) -> bytes:
        number = self._next_record_number
        self._next_record_number += 1
        return encode_record(Record(content_type, version, number, payload))
