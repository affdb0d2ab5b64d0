"""A ClientHello, as far as it is read before anything is kept for its sender, and the two answers that keep nothing.

Reads what the cookie is bound to (RFC 6347 section 4.2.1). The extensions are left to OpenSSL, after the cookie.
"""

from dataclasses import dataclass
from enum import Enum
from typing import Final

_HANDSHAKE_RECORD: Final = 22
_CLIENT_HELLO: Final = 1
_EPOCH_0: Final = b"\x00\x00"
_RECORD_BYTES: Final = 13
_BODY: Final = 25
"""Where the body of the one handshake message starts: behind 13 bytes of record and 12 of message header."""
_RANDOM: Final = slice(27, 59)
_SESSION_ID: Final = 59
_DTLS_MAJOR: Final = 0xFE
_DTLS_1_2_MINOR: Final = 0xFD
"""Versions count down: 1.0 is feff."""


@dataclass(frozen=True, slots=True)
class ClientHello:
    """`parameters` is what the cookie covers: version, random, session id, suites and compression methods."""

    sequence: bytes
    random: bytes
    cookie: bytes
    parameters: bytes
    suites: bytes


class HelloRefused(Enum):
    """Why a ClientHello gets no further; the names stand in docs/reference/coap.md."""

    FRAGMENTED = "hello_fragmented"
    MALFORMED = "hello_malformed"
    VERSION = "hello_version"


def is_client_hello(datagram: bytes) -> bool:
    """Whether this wants to be the start of a handshake, unencrypted; says nothing of what follows the headers."""
    return (
        len(datagram) > _RECORD_BYTES
        and datagram[0] == _HANDSHAKE_RECORD
        and datagram[3:5] == _EPOCH_0
        and datagram[_RECORD_BYTES] == _CLIENT_HELLO
    )


def read_client_hello(datagram: bytes) -> ClientHello | HelloRefused:
    """Read a datagram that `is_client_hello`. Never raises."""
    end = len(datagram)
    if end < _SESSION_ID or datagram[1] != _DTLS_MAJOR or _number(datagram[11:13]) != end - _RECORD_BYTES:
        return HelloRefused.MALFORMED
    message_bytes, offset, fragment_bytes = (_number(datagram[at : at + 3]) for at in (14, 19, 22))
    if offset or fragment_bytes != message_bytes:
        # Reassembly would be state for whoever sends half a message (section 4.2.1); a hello fits one datagram.
        return HelloRefused.FRAGMENTED
    if message_bytes != end - _BODY or datagram[_BODY] != _DTLS_MAJOR:
        return HelloRefused.MALFORMED
    if datagram[_BODY + 1] > _DTLS_1_2_MINOR:
        return HelloRefused.VERSION
    _, cookie_at = _vector(datagram, _SESSION_ID, 1)
    cookie, suites_at = _vector(datagram, cookie_at, 1)
    suites, compression_at = _vector(datagram, suites_at, 2)
    _, extensions_at = _vector(datagram, compression_at, 1)
    if extensions_at > end or _number(datagram[17:19]) != (1 if cookie else 0):
        # The hello with the cookie is a client's second message; any other number would wait for one before it.
        return HelloRefused.MALFORMED
    parameters = datagram[_BODY:cookie_at] + datagram[suites_at:extensions_at]
    return ClientHello(datagram[5:11], datagram[_RANDOM], cookie, parameters, suites)


def hello_verify(hello: ClientHello, cookie: bytes) -> bytes:
    """HelloVerifyRequest: come back with this cookie. Shorter than any ClientHello, so it amplifies nothing.

    It speaks DTLS 1.0 whatever follows, and takes the record's number from the hello (section 4.2.1).
    """
    body = b"\xfe\xff" + len(cookie).to_bytes(1, "big") + cookie
    size = len(body).to_bytes(3, "big")
    message = b"\x03" + size + b"\x00\x00" + b"\x00\x00\x00" + size + body
    return b"\x16\xfe\xff" + _EPOCH_0 + hello.sequence + len(message).to_bytes(2, "big") + message


def version_alert(datagram: bytes) -> bytes:
    """The fatal alert protocol_version, in 15 bytes, so that a client for DTLS 1.0 need not wait for its timeout."""
    return b"\x15\xfe\xff" + _EPOCH_0 + datagram[5:11] + b"\x00\x02\x02\x46"


def _vector(datagram: bytes, at: int, width: int) -> tuple[bytes, int]:
    """A vector behind its length, and where it ends. Past the end of the datagram ends only grow."""
    start = at + width
    end = start + _number(datagram[at:start])
    return datagram[start:end], end


def _number(octets: bytes) -> int:
    return int.from_bytes(octets, "big")
