"""Certificates, pairs of TLS streams, and an SSL object that does as it is told."""

from __future__ import annotations

import ssl

import trustme

import trio_c as trio
from trio_c.testing import memory_stream_pair

NAME = "test.example.org"

_authority = trustme.CA()
SERVER = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
_authority.issue_cert(NAME).configure_cert(SERVER)
# An end without a good-bye is an error.
SERVER.options &= ~getattr(ssl, "OP_IGNORE_UNEXPECTED_EOF", 0)


def client_context(version=ssl.TLSVersion.TLSv1_3):
    context = ssl.create_default_context()
    context.options &= ~getattr(ssl, "OP_IGNORE_UNEXPECTED_EOF", 0)
    context.maximum_version = version
    _authority.configure_trust(context)
    return context


CLIENT = client_context()

# Those of a server that may ask for a certificate later, and its client.
AUTHENTICATING = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
AUTHENTICATED = client_context()
for context in AUTHENTICATING, AUTHENTICATED:
    _authority.configure_trust(context)
    _authority.issue_cert(NAME).configure_cert(context)
    context.post_handshake_auth = True
AUTHENTICATING.verify_mode = ssl.CERT_OPTIONAL


def tls_pair(left, right, context=CLIENT, **kwargs):
    """Client and server on the two ends of a connection."""
    return (
        trio.SSLStream(left, context, server_hostname=NAME, **kwargs),
        trio.SSLStream(right, SERVER, server_side=True, **kwargs),
    )


def memory_pair(**kwargs):
    return tls_pair(*memory_stream_pair(), **kwargs)


async def handshake(*streams):
    async with trio.open_nursery() as nursery:
        for stream in streams:
            nursery.start_soon(stream.do_handshake)


class ScriptedContext:
    """In place of an SSLContext. What it makes does not encrypt at all, but

    - "?" among the incoming data is not for the user: it is answered with "!"
    - after `rekey` has been set, nothing can be written until a "+" comes in
    - "." ends the data, "#" is a protocol error
    """

    def wrap_bio(self, incoming, outgoing, *, server_side, server_hostname):
        return ScriptedObject(incoming, outgoing)


class ScriptedObject:
    server_side = False

    def __init__(self, incoming, outgoing):
        self.incoming = incoming
        self.outgoing = outgoing
        self.data = bytearray()
        self.ended = False
        self.rekey = False

    def _look(self):
        for number in self.incoming.read():
            match bytes([number]):
                case b"?":
                    self.outgoing.write(b"!")
                case b"+":
                    self.rekey = False
                case b".":
                    self.ended = True
                case b"#":
                    raise ssl.SSLError("what?")
                case char:
                    self.data += char

    def _want(self):
        if self.incoming.eof:
            raise ssl.SSLEOFError("cut")
        raise ssl.SSLWantReadError

    def do_handshake(self):
        pass

    def read(self, size):
        self._look()
        if not self.data and not self.ended:
            self._want()
        data = bytes(self.data[:size])
        del self.data[:size]
        return data

    def write(self, data):
        self._look()
        if self.rekey:
            self._want()
        return self.outgoing.write(data)

    def unwrap(self):
        self._look()
        if not self.goodbye:
            self.goodbye = True
            self.outgoing.write(b".")
        if not self.ended:
            self._want()

    goodbye = False


def socket_pair(**kwargs):
    left, right = map(trio.SocketStream, trio.socket.socketpair())
    return tls_pair(left, right, **kwargs)


async def close(*streams):
    for stream in streams:
        await trio.aclose_forcefully(stream)
