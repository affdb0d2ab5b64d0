"""One handshake in flight: datagrams in, datagrams out, and at its end a device or the reason why not.

It exists only for an address that sent a good cookie. Its connection is made when its turn comes, because that costs.
"""

from typing import Final

from cryptography.hazmat.primitives.serialization import Encoding
from OpenSSL import SSL, crypto

from lichtmast.ingest.coap.dtls.context import Contexts
from lichtmast.ingest.coap.dtls.hello import ClientHello
from lichtmast.ingest.coap.dtls.limits import FLIGHT_BYTES_MAX
from lichtmast.ingest.coap.dtls.records import in_datagrams
from lichtmast.ingest.coap.peers import Address
from lichtmast.registry.identity import Admission, AdmissionReason, Admitted, Refused

_READ_BYTES: Final = 65_536

# openssl/x509_vfy.h; pyOpenSSL does not name them.
_NOT_YET_VALID, _HAS_EXPIRED, _INVALID_PURPOSE = 9, 10, 26
REASON_OF_ERROR: Final = {
    _NOT_YET_VALID: "not_yet_valid",
    _HAS_EXPIRED: "expired",
    _INVALID_PURPOSE: "wrong_purpose",
}
REASON_OF_TEXT: Final = {
    "peer did not return a certificate": "no_certificate",
    "no shared cipher": "no_shared_suite",
    "unsupported protocol": "hello_version",
    "excessive message size": "too_large",
}

_INTERNAL_ERROR: Final = b"\x02\x50"
_CERTIFICATE_REVOKED: Final = b"\x02\x2c"
_CERTIFICATE_UNKNOWN: Final = b"\x02\x2e"
"""Fatal alerts as they stand at the end of their record (RFC 5246 section 7.2)."""


class Handshake:
    """A handshake with one address. `admitted` is set while OpenSSL verifies, and counts when the handshake is done."""

    __slots__ = (
        "address",
        "admitted",
        "begun_s",
        "claimed",
        "connection",
        "ended",
        "hello",
        "received_bytes",
        "refused",
    )

    def __init__(self, address: Address, hello: ClientHello, now_s: float) -> None:
        self.address: Final = address
        self.hello: Final = hello
        self.begun_s: Final = now_s
        self.connection: SSL.Connection | None = None
        self.received_bytes = 0
        self.ended = False
        self.admitted: Admitted | None = None
        self.refused = ""
        self.claimed = ""
        """Whom a refused certificate names; not proven."""

    def advance(self, datagram: bytes, contexts: Contexts) -> bool:
        """Take a datagram; whether the handshake is done. Raises SSL.Error where it has failed."""
        connection = self.connection
        if connection is None:
            connection = self._connect(contexts)
            connection.bio_write(datagram)
            connection.DTLSv1_listen()
        else:
            connection.bio_write(datagram)
        try:
            connection.do_handshake()
        except SSL.WantReadError:
            return False
        return True

    def _connect(self, contexts: Contexts) -> SSL.Connection:
        connection = SSL.Connection(contexts.choose(self.hello.suites))
        connection.set_accept_state()
        connection.set_ciphertext_mtu(FLIGHT_BYTES_MAX)
        connection.set_app_data(self)
        self.connection = connection
        return connection

    def repeat(self) -> None:
        """Send a flight again that is overdue by OpenSSL's own clock. Raises SSL.Error where that was the last time."""
        if self.connection is not None:
            self.connection.DTLSv1_handle_timeout()

    def judge(self, certificate: crypto.X509, error: int, depth: int, admission: Admission, now_us: int) -> bool:
        """OpenSSL has looked at one certificate of the chain: whether to go on."""
        if error:
            self.refused = REASON_OF_ERROR.get(error, "untrusted")
            return False
        if depth:
            return True
        verdict = admission.judge(certificate.to_cryptography().public_bytes(Encoding.DER), now_us)
        if isinstance(verdict, Refused):
            self.refused = verdict.reason.value
            self.claimed = str(verdict.device or "")
            return False
        self.admitted = verdict
        return True

    def farewell(self) -> list[bytes]:
        """The alert that OpenSSL has written. What the register refused it would call our internal error."""
        datagrams = [] if self.connection is None else written(self.connection)
        if self.refused and datagrams and datagrams[-1].endswith(_INTERNAL_ERROR):
            alert = _CERTIFICATE_REVOKED if self.refused == AdmissionReason.REVOKED else _CERTIFICATE_UNKNOWN
            datagrams[-1] = datagrams[-1][: -len(alert)] + alert
        return datagrams

    def reason(self, error: SSL.Error) -> str:
        """Why it failed, as a name that is counted."""
        if self.refused:
            return self.refused
        texts = [part[-1] for part in error.args[0]] if error.args and isinstance(error.args[0], list) else []
        known = [REASON_OF_TEXT[text] for text in texts if text in REASON_OF_TEXT]
        return known[0] if known else "by_device" if any(" alert " in text for text in texts) else "protocol"


def written(connection: SSL.Connection, bytes_max: int = FLIGHT_BYTES_MAX) -> list[bytes]:
    """The datagrams that a connection wants sent."""
    try:
        return list(in_datagrams(connection.bio_read(_READ_BYTES), bytes_max))
    except SSL.WantReadError:
        return []
