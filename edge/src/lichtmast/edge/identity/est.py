"""One request to the EST server over a TLS connection of its own, with every answer in bounds.

HTTP by the standard library. Will not follow a redirect, send a name or a password, or speak plaintext.
"""

import http.client
import socket
import ssl
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from lichtmast.edge.identity import limits
from lichtmast.edge.identity.errors import EstError
from lichtmast.edge.identity.refusals import IdentityRefusedError
from lichtmast.edge.identity.tls import Credentials, Moment, client_context, refusal_of, secure

PATH: Final = "/.well-known/est/"
BUNDLE_TYPE: Final = "application/pkcs7-mime"
_OK: Final = 200
_ACCEPTED: Final = 202
_REDIRECTS: Final = range(300, 400)


@dataclass(frozen=True, slots=True)
class Server:
    """Where the EST server is."""

    host: str
    port: int

    def __str__(self) -> str:
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"


@dataclass(frozen=True, slots=True)
class Answer:
    """What came: the status and the body; `retry_s` where the server asks to come again later."""

    status: int
    body: bytes
    retry_s: float | None

    @property
    def reason(self) -> str:
        """What the server says why not, as far as it is plain text."""
        text = self.body[: 4 * limits.REASON_LENGTH_MAX].decode("utf-8", "replace")
        plain = "".join(one if one.isprintable() else " " for one in text).strip()
        return plain[: limits.REASON_LENGTH_MAX] or f"it answers {self.status} and gives no reason"


def ask(
    server: Server,
    operation: str,
    *,
    trust: Path | None,
    moment: Moment,
    credentials: Credentials | None = None,
    request: bytes | None = None,
) -> Answer:
    """GET, or POST a request in base64. Raises EstError and IdentityRefusedError.

    Without `trust` anybody may answer: what comes is then worth only what it proves by itself.
    """
    try:
        wrapped = _connect(server, trust, moment, credentials)
    except ssl.SSLError as error:  # the files, for whatever the handshake finds is a refusal
        raise EstError(
            f"the kept certificate or key cannot be used ({error.reason}); run lichtmast-edge check"
        ) from error
    except (OSError, UnicodeError) as error:
        raise EstError(
            f"the EST server {server} cannot be reached: {getattr(error, 'strerror', None) or type(error).__name__}"
        ) from error
    connection = http.client.HTTPConnection("est")  # the name is not dialled: the socket is there
    connection.sock = wrapped
    try:
        headers = {"Host": str(server), "Connection": "close", "Accept": BUNDLE_TYPE}
        if request is not None:
            headers |= {"Content-Type": "application/pkcs10", "Content-Transfer-Encoding": "base64"}
        connection.request("GET" if request is None else "POST", PATH + operation, body=request, headers=headers)
        answer = connection.getresponse()
        body = answer.read(limits.ANSWER_BYTES_MAX + 1)
    except (OSError, http.client.HTTPException, ValueError) as error:
        refusal = refusal_of(wrapped)
        if refusal is not None:
            raise IdentityRefusedError(refusal) from error
        raise EstError(f"the EST server {server} ended the exchange: {type(error).__name__}") from error
    finally:
        wrapped.close()
        connection.close()
    return _judged(server, answer, body)


def _judged(server: Server, answer: http.client.HTTPResponse, body: bytes) -> Answer:
    if len(body) > limits.ANSWER_BYTES_MAX:
        raise EstError(f"the EST server {server} sent more than {limits.ANSWER_BYTES_MAX:,} bytes")
    if answer.status in _REDIRECTS:
        raise EstError(f"the EST server {server} sends elsewhere (status {answer.status}), which is not followed")
    kind = (answer.getheader("Content-Type") or "").partition(";")[0].strip().lower()
    if answer.status == _OK and kind != BUNDLE_TYPE:
        raise EstError(f"the EST server {server} answers with something else than certificates; is it the EST port?")
    return Answer(answer.status, body, _retry_s(answer) if answer.status != _OK else None)


def _retry_s(answer: http.client.HTTPResponse) -> float | None:
    """Seconds of Retry-After; a date counts as none, for our clock may be wrong."""
    told = (answer.getheader("Retry-After") or "").strip()
    if answer.status == _ACCEPTED and not told:
        told = "0"
    if not (told.isascii() and told.isdigit() and len(told) <= 9):  # noqa: PLR2004 - thirty years
        return None
    return min(max(float(told), limits.LATER_MIN_S), limits.LATER_MAX_S)


def _connect(server: Server, trust: Path | None, moment: Moment, credentials: Credentials | None) -> ssl.SSLSocket:
    """Dial every address in turn. Raises the last error."""
    if trust is None:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        context.minimum_version = ssl.TLSVersion.TLSv1_2
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
    else:
        context = client_context(trust, credentials)
    found = socket.getaddrinfo(server.host, server.port, socket.AF_INET6, socket.SOCK_STREAM)
    last: OSError = OSError("no address")
    for family, kind, protocol, _, where in found:
        opened = socket.socket(family, kind, protocol)
        opened.settimeout(limits.CONNECT_S)
        try:
            opened.connect(where)
            opened.settimeout(limits.ANSWER_S)
            return secure(context, opened, server.host, moment)
        except OSError as error:
            opened.close()
            last = error
    raise last
