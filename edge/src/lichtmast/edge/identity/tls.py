"""TLS as this device speaks it: one root, the server's name and purpose, and a time that need not be the system's.

The agent never sets the system's clock, and it may be wrong for years. So OpenSSL checks chain, name and purpose, and
the dates are checked here, against the agent's own time. While nobody vouches for that it is a floor: time is not
before it. Then a certificate that ended before the floor is refused, one that begins after it is not.

Will not: use the system's authorities, speak anything below TLS 1.2, or check the dates of issuing authorities: none
of ours outlives its issuer.
"""

import contextlib
import socket
import ssl
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from lichtmast.edge.identity.refusals import IdentityRefusedError, Refusal, of_alert, of_verification

_NO_CHECK_TIME: Final = 0x200000
"""X509_V_FLAG_NO_CHECK_TIME (x509_vfy.h); Python has no name for it."""
_SERVER_AUTH: Final = bytes.fromhex("06082b06010505070301")
"""id-kp-serverAuth (RFC 5280 section 4.2.1.12), as DER. OpenSSL takes a certificate without any purpose for all."""
_SUITES: Final = "ECDHE+AESGCM:ECDHE+CHACHA20"
"""Below TLS 1.3: forward secret and AEAD (RFC 7525 section 4.2)."""


@dataclass(frozen=True, slots=True)
class Credentials:
    """The files of a device that was admitted once: whom it trusts, its certificate with chain, its private key."""

    trust: Path
    certificate: Path
    key: Path


@dataclass(frozen=True, slots=True)
class Moment:
    """Now: a trusted time, or the time that it cannot be before."""

    wall_us: int
    is_trusted: bool


def client_context(trust: Path, credentials: Credentials | None = None, *, only_13: bool = False) -> ssl.SSLContext:
    """A context that trusts only the roots in `trust`, and shows our certificate. Raises OSError, ssl.SSLError."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.minimum_version = ssl.TLSVersion.TLSv1_3 if only_13 else ssl.TLSVersion.TLSv1_2
    context.set_ciphers(_SUITES)
    context.verify_flags |= ssl.VerifyFlags(ssl.VERIFY_X509_STRICT | _NO_CHECK_TIME)
    context.load_verify_locations(trust)
    if credentials is not None:
        context.load_cert_chain(credentials.certificate, credentials.key)
    context.sslsocket_class = _Listening
    return context


class _Listening(ssl.SSLSocket):
    """A socket that remembers why it ended, and says so: paho does neither."""

    refusal: Refusal | None = None
    on_end: Callable[[], None] | None = None

    def recv(self, buflen: int = 1024, flags: int = 0) -> bytes:
        """As a socket does."""
        try:
            heard = super().recv(buflen, flags)
        except (ssl.SSLWantReadError, ssl.SSLWantWriteError):
            raise
        except OSError as error:
            self._ended(error)
            raise
        if not heard:
            self._ended(None)
        return heard

    def send(self, data: Any, flags: int = 0) -> int:  # noqa: ANN401 - as the standard library has it
        """As a socket does. Where the other side has hung up, an alert of it may still wait to be read."""
        try:
            return super().send(data, flags)
        except (ssl.SSLWantReadError, ssl.SSLWantWriteError):
            raise
        except OSError as error:
            self._ended(error)
            with contextlib.suppress(OSError):
                self.recv(1)
            raise

    def _ended(self, error: OSError | None) -> None:
        if isinstance(error, ssl.SSLError) and "ALERT" in str(error.reason):
            self.refusal = of_alert(str(error.reason))
        if self.on_end is not None:
            self.on_end()


def secure(
    context: ssl.SSLContext, opened: socket.socket, host: str, moment: Moment, on_end: Callable[[], None] | None = None
) -> ssl.SSLSocket:
    """Speak TLS over a connected socket, and be sure who answers. Raises IdentityRefusedError, OSError; then closed.

    `on_end` is called when the other side ends the connection.
    """
    try:
        wrapped = context.wrap_socket(opened, server_hostname=host.partition("%")[0], do_handshake_on_connect=False)
    except BaseException:
        opened.close()
        raise
    try:
        wrapped.do_handshake()
        if context.check_hostname:
            _check(wrapped, moment)
    except ssl.SSLCertVerificationError as error:
        wrapped.close()
        raise IdentityRefusedError(of_verification(error.verify_code)) from error
    except ssl.SSLError as error:
        wrapped.close()
        raise IdentityRefusedError(of_alert(str(error.reason))) from error
    except BaseException:
        wrapped.close()
        raise
    if isinstance(wrapped, _Listening):
        wrapped.on_end = on_end
    return wrapped


def refusal_of(wrapped: socket.socket | None) -> Refusal | None:
    """Why the other side ended the connection, where it said so."""
    return wrapped.refusal if isinstance(wrapped, _Listening) else None


def dates_refusal(not_before_s: float, not_after_s: float, moment: Moment) -> Refusal | None:
    """Whether a server's certificate of these dates may be believed now."""
    now_s = moment.wall_us / 1e6
    if now_s > not_after_s:
        return Refusal.SERVER_EXPIRED
    if moment.is_trusted and now_s < not_before_s:
        return Refusal.SERVER_NOT_YET_VALID
    return None


def _check(wrapped: ssl.SSLSocket, moment: Moment) -> None:
    """What OpenSSL was not asked: dates by our time, and a purpose that is said."""
    told = wrapped.getpeercert()
    if told is None or _SERVER_AUTH not in (wrapped.getpeercert(binary_form=True) or b""):
        raise IdentityRefusedError(Refusal.SERVER_PURPOSE)
    begin, end = (ssl.cert_time_to_seconds(str(told[name])) for name in ("notBefore", "notAfter"))
    refusal = dates_refusal(begin, end, moment)
    if refusal is not None:
        raise IdentityRefusedError(refusal)
