"""EST over HTTP: reads requests within their limits, has the register decide in a thread, says the answer.

Answers that refuse are text/plain: what is wrong, and the next step. A body is looked at only after its network may
make a request at all, its length is right and it says that it is a certificate request.
"""

import logging
import math
import time
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from http import HTTPStatus
from typing import Final

from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response
from starlette.routing import Route

from lichtmast.api import limits
from lichtmast.api.clock import wall_clock_us
from lichtmast.api.est.needs import ROOT
from lichtmast.api.est.payload import CSR_ATTRIBUTES, PayloadError, body_of, certs_only, read_body
from lichtmast.api.est.reasons import EstReason
from lichtmast.api.problem import Problem
from lichtmast.api.refusal_log import RefusalLog
from lichtmast.api.sources import UNKNOWN, network_of, site_of
from lichtmast.api.throttle import Rate, Throttle
from lichtmast.api.tls import client_certificate
from lichtmast.api.workers import Workers
from lichtmast.registry import Registry, RegistryError
from lichtmast.registry.identity import ENROLMENT_SENTENCES, EnrolmentPending, EnrolmentReason, EnrolmentRefused
from lichtmast.registry.pki import Authority, Csr, CsrRefused, read_csr
from lichtmast.wire.identity import DeviceId

_log = logging.getLogger(__name__)

_CSR_TYPE: Final = "application/pkcs10"
_CERTS_TYPE: Final = "application/pkcs7-mime; smime-type=certs-only"
_ATTRIBUTES_TYPE: Final = "application/csrattrs"
_ALWAYS: Final = {"Cache-Control": "no-store", "X-Content-Type-Options": "nosniff"}
_UNUSABLE_RETRY_S: Final = 60
_TOLD: Final = {
    EnrolmentReason.RETIRED,
    EnrolmentReason.SUSPENDED,
    EnrolmentReason.NOT_ACTIVE,
    EnrolmentReason.CERTIFICATE_REFUSED,
    EnrolmentReason.CERTIFICATE_EXPIRED,
    EnrolmentReason.CERTIFICATE_REVOKED,
}
"""What a client is told who proved to hold a device's key. To anybody else all refusals read the same, so that nobody
can find out here which devices there are."""


@dataclass(frozen=True, slots=True)
class EstStatistics:
    """What was asked of EST so far."""

    answered: Mapping[str, int]
    """Requests by operation that got what they asked for."""
    pending: int
    """Known devices that were told to come again."""
    refused: Mapping[str, int]
    """Requests that were refused, by reason; docs/reference/est.md lists the reasons."""


class _Refusal(Exception):  # noqa: N818 - an answer on its way to the client
    def __init__(
        self, status: HTTPStatus, reason: str, text: str, *, device: DeviceId | None = None, **headers: str
    ) -> None:
        super().__init__(text)
        self.status = status
        self.reason = reason
        self.device = device
        self.headers = {name.replace("_", "-"): value for name, value in headers.items()}


def create_est_app(
    registry: Registry,
    authority: Callable[[], Authority],
    clock_us: Callable[[], int] = wall_clock_us,
    *,
    on_refused: Callable[[DeviceId | None, str], None] = lambda _device, _reason: None,
    clock_s: Callable[[], float] = time.monotonic,
) -> Starlette:
    """The application of an EST listener. `authority` gives the one that is in force now.

    `on_refused` hears which device of the register was refused and why, None for one that is not in it; a stranger
    may have named the device.
    `app.state.statistics()` are the EstStatistics. Serve it over TLS with `client_trust`, or nothing can be renewed.
    """
    est = _Est(registry, authority, clock_us, clock_s, on_refused)
    app = Starlette(
        routes=[
            Route(f"{ROOT}/cacerts", est.ca_certificates, methods=["GET"]),
            Route(f"{ROOT}/csrattrs", est.csr_attributes, methods=["GET"]),
            Route(f"{ROOT}/simpleenroll", est.simple_enrol, methods=["POST"]),
            Route(f"{ROOT}/simplereenroll", est.simple_reenrol, methods=["POST"]),
        ],
        exception_handlers={_Refusal: est.on_refusal, Problem: est.on_problem, HTTPException: est.on_http_error},
    )
    app.router.redirect_slashes = False
    app.state.statistics = est.statistics
    return app


class _Est:
    """One method an operation."""

    def __init__(
        self,
        registry: Registry,
        authority: Callable[[], Authority],
        clock_us: Callable[[], int],
        clock_s: Callable[[], float],
        on_refused: Callable[[DeviceId | None, str], None],
    ) -> None:
        self._on_refused = on_refused
        self._registry = registry
        self._authority = authority
        self._clock_us = clock_us
        self._clock_s = clock_s
        self._workers = Workers(threads=limits.EST_THREADS, waiting_max=limits.EST_WAITING_MAX)
        # Each for itself: strangers who ask for certificates keep nobody from renewing one, or from reading.
        self._readers, self._strangers, self._certified = new_throttle(), new_throttle(), new_throttle()
        self._refusals = RefusalLog("est_refused", _log, clock_s=clock_s)
        self._answered: Counter[str] = Counter()
        self._pending = 0

    def statistics(self) -> EstStatistics:
        """The counts so far."""
        return EstStatistics(dict(self._answered), self._pending, self._refusals.counts)

    async def ca_certificates(self, request: Request) -> Response:
        """RFC 7030 section 4.1: whom to trust. The client checks it against the pin on its label."""
        self._admit(request, self._readers)
        return self._answer("cacerts", certs_only(self._authority().est_bundle_der), "application/pkcs7-mime")

    async def csr_attributes(self, request: Request) -> Response:
        """RFC 7030 section 4.5: which key a request is made with."""
        self._admit(request, self._readers)
        return self._answer("csrattrs", body_of(CSR_ATTRIBUTES), _ATTRIBUTES_TYPE)

    async def simple_enrol(self, request: Request) -> Response:
        """RFC 7030 section 4.2.1. Whoever signs with the key on the label, in its claim window, is the device."""
        self._admit(request, self._strangers)
        der = await self._request_of(request)
        return await self._issue("simpleenroll", partial(self._enrol_now, der, _source(request)))

    def _enrol_now(self, der: bytes, source: str) -> bytes:
        csr, authority = _read(der), self._authority()
        try:
            enrolled = self._registry.identity.enrol(csr, authority, at_us=self._clock_us(), source=source)
        except EnrolmentRefused as error:
            raise _not_granted(error) from error
        return enrolled.certificate_der

    async def simple_reenrol(self, request: Request) -> Response:
        """RFC 7030 section 4.2.2, over a connection with the certificate that is to be renewed."""
        shown = client_certificate(request.scope)
        self._admit(request, self._strangers if shown is None else self._certified)
        if shown is None:
            raise _Refusal(
                HTTPStatus.UNAUTHORIZED,
                EstReason.NO_CERTIFICATE,
                "A certificate is renewed over TLS with that certificate. One that has ended cannot be shown: use "
                "simpleenroll, after an engineer has claimed the device again.",
                WWW_Authenticate="TLS-Client-Certificate",
            )
        der = await self._request_of(request)
        return await self._issue("simplereenroll", partial(self._reenrol_now, shown, der, _source(request)))

    def _reenrol_now(self, shown: bytes, der: bytes, source: str) -> bytes:
        csr, authority = _read(der), self._authority()
        try:
            renewed = self._registry.identity.reenrol(shown, csr, authority, at_us=self._clock_us(), source=source)
        except EnrolmentRefused as error:
            raise _not_granted(error) from error
        return renewed.certificate_der

    async def _issue(self, operation: str, decide: Callable[[], bytes]) -> Response:
        try:
            certificate = await self._workers.run(decide)
        except EnrolmentPending as pending:
            self._pending += 1
            return _text(
                HTTPStatus.ACCEPTED,
                "The device is known, and no engineer has claimed it yet. Come again with the same request.",
                {"Retry-After": str(math.ceil(pending.retry_s))},
            )
        except RegistryError as error:
            _log.error("est_cannot_issue operation=%s reason=%s", operation, error)
            raise _Refusal(
                HTTPStatus.SERVICE_UNAVAILABLE,
                EstReason.CANNOT_ISSUE,
                "No certificate can be issued now; the log of the server says why. Come again later.",
                Retry_After=str(_UNUSABLE_RETRY_S),
            ) from error
        # RFC 7030 section 4.2.3: the certificate that was issued, and no other.
        return self._answer(operation, certs_only([certificate]), _CERTS_TYPE)

    def _answer(self, operation: str, body: bytes, media_type: str) -> Response:
        self._answered[operation] += 1
        return Response(body, headers={"Content-Type": media_type, "Content-Transfer-Encoding": "base64", **_ALWAYS})

    def _admit(self, request: Request, throttle: Throttle) -> None:
        """Before anything of a request is read: whether its network may make one now."""
        source = _source(request)
        wait_s = throttle.wait_s((network_of(source), site_of(source), "all"), self._clock_s())
        if wait_s:
            raise _Refusal(
                HTTPStatus.TOO_MANY_REQUESTS,
                EstReason.TOO_MANY_REQUESTS,
                "There are too many requests from your network, or in all. Come again later.",
                Retry_After=str(math.ceil(wait_s)),
            )

    async def _request_of(self, request: Request) -> bytes:
        """The DER that the request carries; read only where type and length are right."""
        if request.headers.get("content-type", "").partition(";")[0].strip().lower() != _CSR_TYPE:
            raise _Refusal(
                HTTPStatus.UNSUPPORTED_MEDIA_TYPE, EstReason.MEDIA_TYPE, f"Send a certificate request as {_CSR_TYPE}."
            )
        body = bytearray()
        # A length that is declared too long is refused before a byte is read; one that is not declared is counted.
        declared = request.headers.get("content-length", "0")
        if not declared.isdecimal() or int(declared[:9]) > limits.EST_BODY_BYTES_MAX:
            raise _too_large()
        try:
            async for chunk in request.stream():
                body += chunk
                if len(body) > limits.EST_BODY_BYTES_MAX:
                    raise _too_large()
        except ClientDisconnect as error:
            raise _Refusal(HTTPStatus.BAD_REQUEST, EstReason.DISCONNECTED, "The request was not sent whole.") from error
        try:
            return read_body(bytes(body))
        except PayloadError as error:
            raise _Refusal(HTTPStatus.BAD_REQUEST, EstReason.NOT_BASE64, f"{error}.") from error

    async def on_refusal(self, request: Request, error: Exception) -> Response:
        """Any refusal of ours: counted, logged, told in a sentence."""
        assert isinstance(error, _Refusal)  # noqa: S101 - what it is registered for
        operation = request.url.path.rpartition("/")[2]
        self._refusals.note(error.reason, operation=operation, device=error.device, source=_source(request))
        if error.status is HTTPStatus.FORBIDDEN:  # the register's own
            # A name that is in no register may be anybody's invention, and there is no end to them.
            is_known = error.reason != EnrolmentReason.UNKNOWN_DEVICE
            self._on_refused(error.device if is_known else None, error.reason)
        return _text(error.status, str(error), error.headers)

    async def on_problem(self, request: Request, error: Exception) -> Response:
        """Too many wait for a thread."""
        assert isinstance(error, Problem)  # noqa: S101 - what it is registered for
        busy = _Refusal(HTTPStatus(error.status), EstReason.BUSY, error.detail)
        busy.headers = error.headers
        return await self.on_refusal(request, busy)

    async def on_http_error(self, request: Request, error: Exception) -> Response:
        """What is at no address, or not asked with the right method."""
        assert isinstance(error, HTTPException)  # noqa: S101 - what it is registered for
        self._refusals.note(EstReason.NO_SUCH_OPERATION, source=_source(request))
        there = f"Here are {ROOT}/cacerts, csrattrs, simpleenroll and simplereenroll."
        return _text(HTTPStatus(error.status_code), there, dict(error.headers or {}))


def new_throttle() -> Throttle:
    """By network, site and all; one of these for each kind of request."""
    return Throttle(
        Rate(limits.EST_NETWORK_BURST, limits.EST_NETWORK_PER_S),
        Rate(limits.EST_SITE_BURST, limits.EST_SITE_PER_S),
        Rate(limits.EST_BURST, limits.EST_PER_S),
        kept_max=limits.EST_NETWORKS_MAX,
    )


def _read(der: bytes) -> Csr:
    try:
        return read_csr(der)
    except CsrRefused as error:
        raise _Refusal(HTTPStatus.BAD_REQUEST, f"csr_{error.flaw}", _sentence(str(error))) from error


def _not_granted(error: EnrolmentRefused) -> _Refusal:
    told = (
        ENROLMENT_SENTENCES[error.reason]
        if error.reason in _TOLD
        else "no certificate for this key; compare the key and the name of the node with its label, the log of the "
        "server says more"
    )
    return _Refusal(HTTPStatus.FORBIDDEN, error.reason.value, _sentence(told), device=error.device)


def _too_large() -> _Refusal:
    return _Refusal(
        HTTPStatus.REQUEST_ENTITY_TOO_LARGE,
        EstReason.BODY_TOO_LARGE,
        f"A certificate request has at most {limits.EST_BODY_BYTES_MAX} bytes here.",
        Connection="close",
    )


def _sentence(text: str) -> str:
    return f"{text[:1].upper()}{text[1:]}."


def _text(status: HTTPStatus, text: str, headers: Mapping[str, str]) -> Response:
    return Response(f"{text}\n", status, {**headers, **_ALWAYS}, "text/plain")


def _source(request: Request) -> str:
    return request.client.host if request.client is not None else UNKNOWN
