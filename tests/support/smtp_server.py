"""A real mail server on loopback that remembers what it took, and refuses or dies where a test wants it to."""

import ssl
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from email import message_from_bytes, policy
from ipaddress import IPv6Address
from pathlib import Path
from typing import TYPE_CHECKING, Any

from aiosmtpd.controller import Controller
from aiosmtpd.smtp import AuthResult, Envelope
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from free_ports import free_port

if TYPE_CHECKING:
    from email.message import EmailMessage

USER = "lichtmast"
PASSWORD = "vier bomen bij de brug"  # noqa: S105 - of tests


class SmtpServer:
    """What it took, and how it answers. `after_data` is called when a message is in and before its 250 is sent."""

    def __init__(self) -> None:
        self.port = 0
        self.taken: list[EmailMessage] = []
        self.recipients: list[str] = []
        self.starttls_used: list[bool] = []
        self.signed_in = 0
        self.recipient_answer = ""
        self.data_answer = "250 OK"
        self.after_data: Callable[[], None] = lambda: None

    async def handle_RCPT(self, _server: Any, _session: Any, envelope: Envelope, address: str, _options: Any) -> str:  # noqa: ANN401, N802 - aiosmtpd's names
        """Take any recipient, or none."""
        if not self.recipient_answer:
            envelope.rcpt_tos.append(address)
        return self.recipient_answer or "250 OK"

    async def handle_DATA(self, _server: Any, session: Any, envelope: Envelope) -> str:  # noqa: ANN401, N802 - as above
        """Take the message."""
        if self.data_answer.startswith("250"):
            assert isinstance(envelope.content, bytes)
            self.taken.append(message_from_bytes(envelope.content, policy=policy.default))
            self.recipients += envelope.rcpt_tos
            self.starttls_used.append(session.ssl is not None)
            self.after_data()
        return self.data_answer

    def authenticate(self, _server: Any, _session: Any, _envelope: Any, _mechanism: str, data: Any) -> AuthResult:  # noqa: ANN401 - as above
        """Whether this is our user."""
        good = (data.login, data.password) == (USER.encode(), PASSWORD.encode())
        self.signed_in += good
        return AuthResult(success=good, handled=False)


@contextmanager
def smtp_server(certificate: Path | None = None, *, starttls: bool = True) -> Iterator[SmtpServer]:
    """One that listens on ::1; with a certificate it wants STARTTLS and a login, or TLS from the first byte."""
    server = SmtpServer()
    server.port = free_port()
    given: dict[str, Any] = {}
    tls = None
    if certificate is not None:
        tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        tls.load_cert_chain(certificate)
        given = {"authenticator": server.authenticate}
        if starttls:
            given |= {"tls_context": tls, "require_starttls": True, "auth_required": True}
        else:
            given |= {"auth_require_tls": False}  # it does not see that all of the connection is encrypted
    controller = Controller(
        server, hostname="::1", port=server.port, ssl_context=None if starttls else tls, server_hostname="test", **given
    )
    controller.start()
    try:
        yield server
    finally:
        controller.stop()


def certificate_for_loopback(folder: Path) -> Path:
    """A certificate for ::1 that signs itself, with its key, in one file."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "mail")])
    now = datetime.now(UTC)
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - timedelta(hours=1))
        .not_valid_after(now + timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.IPAddress(IPv6Address("::1"))]), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(key, hashes.SHA256())
    )
    path = folder / "mail.pem"
    secret = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    path.write_bytes(certificate.public_bytes(Encoding.PEM) + secret)
    return path
