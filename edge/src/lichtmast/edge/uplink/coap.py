"""The link over CoAP: CON POST /up, one pack at a time, each until it is answered (RFC 7252 sections 4.2 and 4.7).

aiocoap costs two megabytes, so it is imported when the link is first used. Off loopback it goes over DTLS 1.2 with
this device's certificate (`coaps`); a session that nobody answers any more is made anew, as the link is.

Will not carry acknowledgements, configuration, commands, state or events: those need
MQTT. The answer to a pack settles it.
"""

import asyncio
import contextlib
import logging
from collections.abc import AsyncIterator
from functools import cache
from typing import TYPE_CHECKING, Any, Final

from lichtmast.edge.identity.refusals import IdentityRefusedError
from lichtmast.edge.outbox.values import Packed
from lichtmast.edge.uplink import limits
from lichtmast.edge.uplink.errors import LinkRefusedError, UplinkError
from lichtmast.edge.uplink.link import Later, Outcome, Refused, Stored
from lichtmast.edge.uplink.resolve import Resolver
from lichtmast.edge.uplink.securing import Identity, usable_credentials

if TYPE_CHECKING:
    from lichtmast.edge.uplink.dtls import DtlsSocket

_AIOCOAP_LOG: Final = f"{__name__}.aiocoap"
logging.getLogger(_AIOCOAP_LOG).setLevel(logging.CRITICAL)  # an unanswered request is an event that we count

ON_DISK: Final = frozenset({"2.01", "2.04"})
"""The answers to a POST that say it was done (RFC 7252 section 5.8.2). Any other 2.xx answers something else, such as
2.31 (RFC 7959 section 2.9.1), which asks for the next block: the pack is kept."""
ABOUT_THE_PACK: Final = frozenset({"4.00", "4.09", "4.13", "4.15"})
"""The answers that judge the pack: it is in quarantine, and will not become better. Any other 4.xx judges the
sender, the path or the server, which somebody can mend: the door keeps nothing of a device that it does not know."""


class CoapLink:
    """The door at a host and port."""

    name = "coap"
    window = limits.COAP_WINDOW_PACKS
    at_once = limits.COAP_WINDOW_PACKS

    def __init__(self, host: str, port: int, identity: Identity | None = None) -> None:
        self._host = host
        self._port = port
        self._identity = identity
        self._resolver = Resolver(host)

    @contextlib.asynccontextmanager
    async def open(self) -> AsyncIterator["CoapSession"]:
        """Find the address and open a socket; raises UplinkError. The first pack will show whether anybody is there."""
        if self._identity is not None:
            async with self._open_secured(self._identity) as session:
                yield session
            return
        address = await self._resolver.next_address()
        import aiocoap  # noqa: PLC0415 - two megabytes, only where the link is used

        try:
            context = await aiocoap.Context.create_client_context(loggername=_AIOCOAP_LOG, transports=["udp6"])
        except OSError as error:
            raise UplinkError(f"no UDP socket for CoAP: {error.strerror}") from error
        try:
            yield CoapSession(context, f"[{address}]:{self._port}")
        finally:
            await context.shutdown()

    @contextlib.asynccontextmanager
    async def _open_secured(self, identity: Identity) -> AsyncIterator["CoapSession"]:
        """The same over DTLS: here the handshake shows who is there."""
        credentials = await usable_credentials(identity)
        address = await self._resolver.next_address()
        from lichtmast.edge.uplink.coaps import make_context  # noqa: PLC0415 - aiocoap and pyOpenSSL, as above
        from lichtmast.edge.uplink.dtls import open_dtls  # noqa: PLC0415

        async with open_dtls(address, self._port, credentials, self._host, identity.moment()) as opened:
            context = await make_context(opened, _AIOCOAP_LOG)
            try:
                yield CoapSession(context, f"[{address}]:{self._port}", opened)
            finally:
                await context.shutdown()


class CoapSession:
    """A socket of this agent's own, and the server that it speaks to."""

    def __init__(self, context: Any, server: str, secured: "DtlsSocket | None" = None) -> None:  # noqa: ANN401 - aiocoap is untyped
        self._context = context
        self._server = server
        self._secured = secured

    @property
    def conversation(self) -> None:
        """None: CoAP carries packs alone."""
        return

    async def deliver(self, packed: Packed) -> Outcome:
        """Post the pack, in blocks where it is larger than a datagram (RFC 7959), and wait for the answer."""
        import aiocoap  # noqa: PLC0415 - as above
        import aiocoap.error  # noqa: PLC0415

        self._require_session()
        request = aiocoap.Message(
            code=aiocoap.POST,
            payload=packed.payload,
            content_format=packed.content_format,
            uri_path=("up",),
            transport_tuning=_patience(),
        )
        request.unresolved_remote = self._server
        large = len(packed.payload) > limits.COAP_DATAGRAM_BYTES
        try:
            async with asyncio.timeout(limits.COAP_LARGE_ANSWER_S if large else limits.COAP_ANSWER_S):
                answer = await self._context.request(request).response
        except (aiocoap.error.Error, TimeoutError, OSError) as error:
            self._require_session()
            raise UplinkError(f"the CoAP server at {self._server} does not answer: {type(error).__name__}") from error
        except Exception as error:  # aiocoap 0.4 falls over hostile answers, in more ways than one
            raise UplinkError(
                f"the answer of {self._server} cannot be understood ({type(error).__name__}); the socket is opened anew"
            ) from error
        return judge(answer.code.dotted, answer.opt.max_age, answer.payload)

    def _require_session(self) -> None:
        """Raises UplinkError where the DTLS session has ended, and why."""
        ended = None if self._secured is None else self._secured.ended
        if isinstance(ended, IdentityRefusedError):
            raise LinkRefusedError(f"the CoAP server at {self._server}", ended.refusal)
        if ended is not None:
            raise UplinkError(str(ended))


def judge(code: str, max_age_s: int | None, diagnostic: bytes) -> Outcome:
    """What an answer means for the pack (RFC 7252 section 5.9); Max-Age says when to come back (section 5.9.3.4)."""
    if code in ON_DISK:
        return Stored()
    reason = f"{code} {diagnostic[: limits.REASON_LENGTH_MAX].decode('utf-8', 'replace')}".strip()
    if code in ABOUT_THE_PACK:
        return Refused(reason)
    return Later(float(min(max_age_s or 0, limits.RETRY_AFTER_MAX_S)), reason)


@cache
def _patience() -> Any:  # noqa: ANN401 - aiocoap is untyped
    """Fewer retransmissions than RFC 7252 section 4.8 allows: the outbox goes on where the message layer gives up."""
    import aiocoap  # noqa: PLC0415 - two megabytes, only where the link is used

    class Patience(aiocoap.Reliable):  # type: ignore[misc]  # aiocoap is untyped
        MAX_RETRANSMIT = limits.COAP_MAX_RETRANSMIT

    return Patience
