"""Cookies: who wants a DTLS connection has to send one back first.

That proves that packets for its address reach it, so that nobody can have us
remember, compute or send much in another's name (RFC 6347, section 4.2.1).
Until then we remember nothing: the cookie is a keyed hash of what there would
be to remember, and tells us so when it comes back.
"""

from __future__ import annotations

import hmac
import os
import struct

import trio_c as trio

from ._dtls_wire import (
    ContentType,
    HandshakeFragment,
    HandshakeType,
    ProtocolVersion,
    Record,
    encode_handshake_fragment,
    encode_record,
)

TYPE_CHECKING = False
if TYPE_CHECKING:
    from ._socket import AddressFormat

KEY_BYTES = 32
SALT_BYTES = 8
# DTLS 1.0 has no place for more.
COOKIE_LENGTH = 32
COOKIE_HASH = "sha256"

# Seconds. What was given in one such interval is also taken in the next.
COOKIE_REFRESH_INTERVAL = 30


def _current_cookie_tick() -> int:
    return int(trio.current_time() // COOKIE_REFRESH_INTERVAL)


def _signable(*fields: bytes) -> bytes:
    """One string for several, so that no other ones have the same."""
    return b"".join(
        [piece for field in fields for piece in (struct.pack("!Q", len(field)), field)]
    )


def _make_cookie(
    key: bytes, salt: bytes, tick: int, address: AddressFormat, client_hello_bits: bytes
) -> bytes:
    signed = _signable(
        salt,
        struct.pack("!q", tick),
        _signable(*[str(part).encode() for part in address]),
        client_hello_bits,
    )
    return (salt + hmac.digest(key, signed, COOKIE_HASH))[:COOKIE_LENGTH]


def valid_cookie(
    key: bytes, cookie: bytes, address: AddressFormat, client_hello_bits: bytes
) -> bool:
    """Did we give this cookie to this address, for this ClientHello, and not
    long ago?
    """
    salt = cookie[:SALT_BYTES]
    if len(salt) < SALT_BYTES:
        return False
    tick = _current_cookie_tick()
    # Both, even if the first one matches.
    matches = [
        hmac.compare_digest(
            cookie, _make_cookie(key, salt, made_at, address, client_hello_bits)
        )
        for made_at in (tick, tick - 1)
    ]
    return any(matches)


def challenge_for(
    key: bytes, address: AddressFormat, epoch_seqno: int, client_hello_bits: bytes
) -> bytes:
    """The datagram that asks for the ClientHello again, with a cookie.

    `epoch_seqno` is that of the ClientHello. The answer has the same, for there
    is nobody to count.
    """
    cookie = _make_cookie(
        key,
        os.urandom(SALT_BYTES),
        _current_cookie_tick(),
        address,
        client_hello_bits,
    )
    # Whatever will be agreed upon later, this version is what clients expect.
    body = ProtocolVersion.DTLS10 + bytes([len(cookie)]) + cookie
    fragment = HandshakeFragment(
        msg_type=HandshakeType.hello_verify_request,
        msg_len=len(body),
        msg_seq=0,
        frag_offset=0,
        frag_len=len(body),
        frag=body,
    )
    return encode_record(
        Record(
            ContentType.handshake,
            ProtocolVersion.DTLS10,
            epoch_seqno,
            encode_handshake_fragment(fragment),
        )
    )
