"""DTLS: what is in packets, and the cookies."""

import contextlib
import pickle
import random

import pytest
from _dtls_peers import a_client_hello

import trio_c
from trio_c import _dtls_cookies, _dtls_wire
from trio_c.testing import trio_test

# --- the format


def a_flight():
    return [
        _dtls_wire.HandshakeMessage(b"\xfe\xfd", 2, 0, bytearray(range(200))),
        _dtls_wire.HandshakeMessage(b"\xfe\xfd", 14, 1, bytearray()),
        _dtls_wire.PseudoHandshakeMessage(b"\xfe\xfd", 20, b"\x01"),
        _dtls_wire.OpaqueHandshakeMessage(
            _dtls_wire.Record(22, b"\xfe\xfd", 1 << 48, b"s" * 48)
        ),
    ]


# The encrypted record is the largest thing that cannot be cut.
SMALLEST_MTU = 13 + 48


@pytest.mark.parametrize("mtu", [*range(SMALLEST_MTU, 120), 250, 251, 1472, 65507])
def test_flights_fit_into_datagrams(mtu):
    encoder = _dtls_wire.RecordEncoder()
    encoder.set_first_record_number(7)
    first = encoder.encode_volley(a_flight(), mtu)
    again = encoder.encode_volley(a_flight(), mtu)
    assert all(0 < len(packet) <= mtu for packet in first)
    assert len(first) == len(again)
    numbers = []
    for packets in first, again:
        flight = _dtls_wire.decode_volley_trusted(b"".join(packets))
        assert flight == a_flight()
        numbers += [
            record.epoch_seqno
            for packet in packets
            for record in _dtls_wire.records_untrusted(packet)
            if not record.epoch_seqno >> 48
        ]
    # A number that comes twice would be taken for a replay.
    assert numbers == list(range(7, 7 + len(numbers)))


def test_datagrams_are_filled():
    packets = _dtls_wire.RecordEncoder().encode_volley(a_flight(), 100)
    total = sum(map(len, packets))
    assert len(packets[0]) == len(packets[1]) == 100
    assert len(packets) == -(-total // 100)
    assert len(_dtls_wire.RecordEncoder().encode_volley(a_flight(), total)) == 1


@pytest.mark.parametrize("mtu", [-1, 0, 13, 25, SMALLEST_MTU - 1])
def test_what_cannot_be_cut_needs_room(mtu):
    with pytest.raises(ValueError, match=f"MTU of {mtu} bytes is too small"):
        _dtls_wire.RecordEncoder().encode_volley(a_flight(), mtu)


def test_fragments_in_any_order():
    packets = _dtls_wire.RecordEncoder().encode_volley(a_flight()[:1], 60)
    assert len(packets) > 3
    random.Random(1).shuffle(packets)
    assert _dtls_wire.decode_volley_trusted(b"".join(packets)) == a_flight()[:1]


def test_what_a_flight_is():
    hello, _, change, sealed = a_flight()
    alert = _dtls_wire.PseudoHandshakeMessage(b"\xfe\xfd", 21, b"\x02\x28")
    assert [
        _dtls_wire.is_alert(flight)
        for flight in ([alert], [hello, alert], [change], [sealed], [])
    ] == [True, False, False, False, False]
    # OpenSSL sometimes says things twice; it is known by the number.
    repeated = _dtls_wire.is_repetition
    assert repeated([hello, change], [hello])
    assert not repeated([a_flight()[1]], [hello])
    for other in ([], [change], [sealed], [alert]):
        assert not repeated(other, [hello])
        assert not repeated([hello], other)
        assert not repeated(other, other)


def test_client_hello():
    number, cookie, bits = _dtls_wire.decode_client_hello_untrusted(a_client_hello())
    assert (number, cookie) == (5, b"")
    with_cookie = a_client_hello(b"chocolate", 6)
    assert _dtls_wire.is_client_hello_untrusted(with_cookie)
    assert _dtls_wire.decode_client_hello_untrusted(with_cookie) == (
        6,
        b"chocolate",
        bits,
    )
    # The rest of the datagram does not matter.
    assert _dtls_wire.decode_client_hello_untrusted(with_cookie + b"x")[0] == 6


def test_bad_client_hellos_are_nothing_else():
    good = a_client_hello(b"chocolate")
    decode = _dtls_wire.decode_client_hello_untrusted
    for length in range(len(good)):
        with pytest.raises(_dtls_wire.BadPacket):
            decode(good[:length])
    body = good[13 + 12 :]
    # Cut short in session id, cookie; the lengths outside are right.
    for length in range(2 + 32 + 1 + 3 + 1 + 9):
        with pytest.raises(_dtls_wire.BadPacket):
            decode(a_client_hello(body=body[:length]))
    with pytest.raises(_dtls_wire.BadPacket, match="inside a connection"):
        decode(a_client_hello(epoch_seqno=1 << 48))
    rng = random.Random(0)
    survived = 0
    for _ in range(3000):
        packet = bytearray(good)
        for _ in range(rng.randrange(1, 4)):
            packet[rng.randrange(len(packet))] = rng.choice((0, 1, 20, 127, 255))
        _dtls_wire.is_client_hello_untrusted(packet)
        _dtls_wire.part_of_handshake_untrusted(packet)
        with contextlib.suppress(_dtls_wire.BadPacket):
            decode(packet)
            survived += 1
    assert 0 < survived < 3000


@pytest.mark.parametrize(
    ("packet", "problem"),
    [
        (b"\x16", "invalid record header"),
        (a_client_hello()[:-1], "short record"),
        (a_client_hello() + b"\x16", "invalid record header"),
    ],
)
def test_bad_records(packet, problem):
    with pytest.raises(_dtls_wire.BadPacket, match=problem):
        list(_dtls_wire.records_untrusted(packet))


def test_values():
    record = _dtls_wire.Record(22, b"\xfe\xfd", 1, payload=b"\x01\x02")
    assert repr(record) == (
        "Record(content_type=22, version=fefd, epoch_seqno=1, payload=0102)"
    )
    assert record == pickle.loads(pickle.dumps(record))
    assert hash(record) == hash(_dtls_wire.Record(22, b"\xfe\xfd", 1, b"\x01\x02"))
    assert record != (22, b"\xfe\xfd", 1, b"\x01\x02")
    with pytest.raises(AttributeError, match="can't set attribute"):
        record.payload = b""
    with pytest.raises(AttributeError, match="can't set attribute"):
        del record.payload
    with pytest.raises(TypeError, match=r"Record.__init__\(\) missing 3 required"):
        _dtls_wire.Record(22)
    match record:
        case _dtls_wire.Record(22, version):
            assert version == b"\xfe\xfd"


# --- cookies


class SomeClock(trio_c.abc.Clock):
    def __init__(self, now):
        self.now = now

    def start_clock(self):
        pass

    def current_time(self):
        return self.now

    def deadline_to_sleep_time(self, deadline):
        return deadline - self.now


@pytest.mark.parametrize("start", [0.0, 1e9 + 29.9, -100.0])
def test_cookies(start):
    clock = SomeClock(start)
    key, address = bytes(32), ("127.0.0.1", 99)

    @trio_test
    async def main(clock):
        packet = _dtls_cookies.challenge_for(key, address, 3, b"hello")
        (record,) = _dtls_wire.records_untrusted(packet)
        assert record.epoch_seqno == 3
        fragment = _dtls_wire.decode_handshake_fragment_untrusted(record.payload)
        assert fragment.msg_type == _dtls_wire.HandshakeType.hello_verify_request
        assert fragment.frag[:3] == b"\xfe\xff\x20"
        cookie = fragment.frag[3:]

        valid = _dtls_cookies.valid_cookie
        assert valid(key, cookie, address, b"hello")
        assert not valid(b"\x01" * 32, cookie, address, b"hello")
        assert not valid(key, cookie, ("127.0.0.1", 98), b"hello")
        assert not valid(key, cookie, ("127.0.0.19", 9), b"hello")
        assert not valid(key, cookie, address, b"hello!")
        for i in range(len(cookie)):
            forged = cookie[:i] + bytes([cookie[i] ^ 1]) + cookie[i + 1 :]
            assert not valid(key, forged, address, b"hello")
            assert not valid(key, cookie[:i], address, b"hello")
        assert not valid(key, cookie + b"\0", address, b"hello")
        # Each is new.
        assert cookie not in _dtls_cookies.challenge_for(key, address, 3, b"hello")

        clock.now += 30
        assert valid(key, cookie, address, b"hello")
        clock.now += 30
        assert not valid(key, cookie, address, b"hello")

    main(clock=clock)
