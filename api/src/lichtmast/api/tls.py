"""What TLS here is: versions, suites, certificates from files, and clients that may show a certificate of ours.

Holds no sockets. A certificate is changed by writing the files and calling `TlsFiles.reload`: connections that stand
keep theirs, and files that are broken change nothing.
"""

import ssl
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

from lichtmast.api.errors import ServerError

_SUITES: Final = "ECDHE+AESGCM:ECDHE+CHACHA20"
"""Of TLS 1.2: forward secrecy and AEAD only. All suites of TLS 1.3 are."""
TLS_EXTENSION: Final = "tls"
"""Where the ASGI TLS extension stands in `scope["extensions"]`."""


class TlsFiles:
    """A certificate chain and its key, as PEM files. Raises ServerError where they cannot be used."""

    def __init__(self, certificate: Path, key: Path) -> None:
        self.certificate = certificate
        self.key = key
        self._contexts: dict[Path | None, ssl.SSLContext] = {None: self._build(None)}

    def context(self, client_trust: Path | None = None) -> ssl.SSLContext:
        """What a new connection is made with; `client_trust` are the issuers of clients that may show a certificate.

        A client that shows none is let in; one whose certificate is expired or of another issuer fails its handshake.
        Raises ServerError.
        """
        if client_trust not in self._contexts:
            self._contexts[client_trust] = self._build(client_trust)
        return self._contexts[client_trust]

    def reload(self) -> None:
        """Read all files again. Raises ServerError and goes on with the old ones where any cannot be used."""
        self._contexts = {client_trust: self._build(client_trust) for client_trust in self._contexts}

    def _build(self, client_trust: Path | None) -> ssl.SSLContext:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.minimum_version = ssl.TLSVersion.TLSv1_2
        context.set_ciphers(_SUITES)
        context.options |= ssl.OP_NO_COMPRESSION | ssl.OP_NO_RENEGOTIATION | ssl.OP_CIPHER_SERVER_PREFERENCE
        context.set_alpn_protocols(["http/1.1"])
        try:
            context.load_cert_chain(self.certificate, self.key, password=_no_password)
        except (OSError, ValueError) as error:
            raise ServerError(
                f"the certificate {self.certificate} and its key {self.key} cannot be used: {_cause(error)}"
            ) from error
        if client_trust is not None:
            _trust(context, client_trust)
        return context


def _trust(context: ssl.SSLContext, issuers: Path) -> None:
    # Each connection is judged anew: a resumed one would bring its certificate from before a roll-over.
    context.options |= ssl.OP_NO_TICKET
    context.num_tickets = 0
    context.verify_mode = ssl.CERT_OPTIONAL
    # The file holds issuing authorities; their root is not needed here, and would trust every other one below it.
    context.verify_flags |= ssl.VerifyFlags.VERIFY_X509_STRICT | ssl.VerifyFlags.VERIFY_X509_PARTIAL_CHAIN
    try:
        context.load_verify_locations(issuers)
    except (OSError, ValueError) as error:
        raise ServerError(f"the issuers of client certificates {issuers} cannot be used: {_cause(error)}") from error


def _no_password() -> str:
    """Instead of OpenSSL's prompt, which would stop the program."""
    raise ValueError("the key is encrypted; give one that is not, readable by this service alone")


def _cause(error: Exception) -> str:
    if isinstance(error, ssl.SSLError):
        return "they are not PEM, damaged, or do not belong together"
    if isinstance(error, OSError):
        return error.strerror or type(error).__name__
    return str(error)


def extension_of(connection: ssl.SSLObject) -> dict[str, Any]:
    """What the ASGI TLS extension says of a connection: the client's certificate as PEM, version and suite."""
    shown = connection.getpeercert(binary_form=True)
    version, suite = connection.version(), connection.cipher()
    return {
        "server_cert": None,
        "client_cert_chain": [] if shown is None else [ssl.DER_cert_to_PEM_cert(shown)],
        "client_cert_name": None,
        "client_cert_error": None,
        "tls_version": {"TLSv1.2": 0x0303, "TLSv1.3": 0x0304}.get(version or ""),
        "cipher_suite": None if suite is None else suite[0],
    }


def client_certificate(scope: Mapping[str, Any]) -> bytes | None:
    """The DER of the certificate that the client of this request showed and proved, where it showed one."""
    chain = scope.get("extensions", {}).get(TLS_EXTENSION, {}).get("client_cert_chain", ())
    leaf = next(iter(chain), None)
    return None if leaf is None else ssl.PEM_cert_to_DER_cert(leaf)
