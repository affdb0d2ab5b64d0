"""One device over CoAP: CON POST /up, one at a time, each until it is answered (RFC 7252 sections 4.2 and 4.7).

Every device has its own socket, as in the street: with one client context for the whole town, NSTART = 1 would let
a single request travel at a time, and one lost datagram would stop everybody for seconds.

Will not fragment: packs fit in one datagram (DESIGN section 6).
"""

import asyncio
import logging
from typing import Any, Final

import aiocoap
import aiocoap.error

from lichtmast.firmware_sim import limits
from lichtmast.firmware_sim.outbox import Waiting
from lichtmast.firmware_sim.uplink import Uplink

_LOG: Final = logging.getLogger(__name__)
_SERVER_ERROR: Final = 5


class Patience(aiocoap.Reliable):  # type: ignore[misc]  # aiocoap is untyped
    """Fewer retransmissions than RFC 7252 section 4.8 allows: the outbox goes on where the message layer gives up."""

    MAX_RETRANSMIT = limits.COAP_MAX_RETRANSMIT


async def run_coap(uplink: Uplink, host: str, port: int) -> None:
    """Deliver for ever; ends by cancellation. `host` is an IPv6 literal."""
    context = await aiocoap.Context.create_client_context(transports=["udp6"])
    # aiocoap resolves the host in a thread for every request that carries a name; the first answer's remote spares it.
    remote: Any = None
    try:
        while True:
            waiting = await uplink.wait_for_work(also_mischief=False)
            if waiting is None:
                continue
            request = aiocoap.Message(
                code=aiocoap.POST,
                payload=waiting.payload,
                content_format=uplink.device.spec.content_format,
                uri_path=("up",),
                transport_tuning=Patience,
            )
            if remote is None:
                request.unresolved_remote = f"[{host}]:{port}"
            else:
                request.remote = remote
            remote = await _exchange(uplink, context, request, waiting)
    finally:
        await context.shutdown()


async def _exchange(uplink: Uplink, context: Any, request: Any, waiting: Waiting) -> Any:  # noqa: ANN401 - aiocoap is untyped
    """Send one request and act on its answer; returns the remote that answered, or None."""
    outbox = uplink.device.outbox
    now_s = asyncio.get_running_loop().time
    try:
        async with asyncio.timeout(limits.COAP_ANSWER_TIMEOUT_S):
            answer = await context.request(request, handle_blockwise=False).response
    except (aiocoap.error.Error, TimeoutError, OSError) as error:
        uplink.interruptions += 1
        _LOG.debug("coap_unanswered", extra={"device": str(uplink.device.spec.device), "reason": type(error).__name__})
        outbox.failed(waiting.seq, now_s())
        return None
    except asyncio.CancelledError:
        outbox.returned(waiting.seq)
        raise
    if answer.code.is_successful():
        uplink.settled("ack", [waiting.seq] if outbox.accept(waiting.seq) else [])
    elif answer.code.class_ == _SERVER_ERROR or answer.code == aiocoap.TOO_MANY_REQUESTS:
        uplink.interruptions += 1
        # RFC 7252 section 5.9.3.4 and RFC 8516: Max-Age says when to come back; without it, we decide.
        pause_s = answer.opt.max_age or 0
        outbox.failed(waiting.seq, now_s(), min(pause_s, limits.RETRY_AFTER_MAX_S))
    else:
        reason = answer.code.dotted
        uplink.settled("refused", [waiting.seq] if outbox.refuse(waiting.seq, reason) else [])
    return answer.remote
