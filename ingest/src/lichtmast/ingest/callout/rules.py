"""Who may connect, and with what right: a question of the server and the register's admission in, an answer out.

Sans-IO. Everything that is not plainly allowed is refused; the reasons stand in docs/reference/mqtt.md.
"""

from collections.abc import Callable
from dataclasses import dataclass
from enum import StrEnum
from ipaddress import IPv6Address
from typing import Any, Final

from lichtmast.ingest.broker_keys import Issuer
from lichtmast.ingest.broker_settings import ACCOUNT
from lichtmast.ingest.callout import limits
from lichtmast.ingest.callout.request import Request
from lichtmast.ingest.callout.sessions import Session
from lichtmast.registry.identity.admission import Admission, Refused
from lichtmast.wire import DeviceId, topics

_NATS_VERSION: Final = 2


class CalloutReason(StrEnum):
    """Why a connection is refused before the register is asked; what the register says is an AdmissionReason."""

    NOT_MQTT = "not_mqtt"
    NOT_IPV6 = "not_ipv6"
    NO_CERTIFICATE = "no_certificate"
    CREDENTIALS_GIVEN = "credentials_given"
    CLIENT_ID_MISMATCH = "client_id_mismatch"
    RATE_LIMITED = "rate_limited"
    TOO_LATE = "too_late"


@dataclass(frozen=True, slots=True)
class RefusedConnection:
    """Who was not let in, or not let do something: the device as far as it is proven, why, and what it says it is."""

    device: DeviceId | None
    reason: StrEnum
    source: str
    client_id: str


def judge(
    request: Request, admission: Admission, now_us: int, *, is_held: Callable[[DeviceId], bool]
) -> Session | RefusedConnection:
    """Whether this connection may stand, and as whose session; `is_held` tells who sent too much and has to pause."""

    def refused(reason: StrEnum, device: DeviceId | None = None) -> RefusedConnection:
        return RefusedConnection(device, reason, request.source, request.client_id[: limits.SHOWN_CHARACTERS_MAX])

    if now_us >= request.until_us:
        return refused(CalloutReason.TOO_LATE)
    if not request.is_mqtt:
        return refused(CalloutReason.NOT_MQTT)
    if not _is_ipv6(request.source):
        return refused(CalloutReason.NOT_IPV6)
    if request.certificate_der is None:
        return refused(CalloutReason.NO_CERTIFICATE)
    verdict = admission.judge(request.certificate_der, now_us)
    if isinstance(verdict, Refused):
        return refused(verdict.reason, verdict.device)
    if request.has_credentials:
        return refused(CalloutReason.CREDENTIALS_GIVEN, verdict.device)
    if request.client_id != verdict.device.urn:
        return refused(CalloutReason.CLIENT_ID_MISMATCH, verdict.device)
    if is_held(verdict.device):
        return refused(CalloutReason.RATE_LIMITED, verdict.device)
    return Session(request.connection, verdict.device, verdict.serial, verdict.not_after_us)


def answer(
    request: Request, verdict: Session | RefusedConnection, issuer: Issuer, server_id: str, now_us: int
) -> str | None:
    """The token that tells the server; None where it has given up waiting, as then it refused by itself.

    What a refused client is told is always the same.
    """
    if isinstance(verdict, RefusedConnection) and verdict.reason is CalloutReason.TOO_LATE:
        return None
    now_s = now_us // 1_000_000
    told: dict[str, Any] = {"type": "authorization_response", "version": _NATS_VERSION}
    if isinstance(verdict, Session):
        told["jwt"] = issuer.sign(
            {
                "sub": request.user_nkey,
                "aud": ACCOUNT,
                "iat": now_s,
                "exp": verdict.not_after_us // 1_000_000,
                "nats": _rights(verdict.device),
            }
        )
    else:
        told["error"] = "refused"
    return issuer.sign({"sub": request.user_nkey, "aud": server_id, "iat": now_s, "nats": told})


def _rights(device: DeviceId) -> dict[str, Any]:
    """Its own topics (DESIGN section 7), and the two places where the server hands MQTT clients what they subscribe to.

    Nobody can subscribe to those two over MQTT: the server keeps them for itself.
    """
    own = (topics.ack_topic(device), topics.cfg_topic(device), topics.cmd_topic(device))
    return {
        "pub": {"allow": [topics.up_subject(device), topics.ev_subject(device), topics.state_subject(device)]},
        "sub": {"allow": [*(topic.replace("/", ".") for topic in own), "$MQTT.sub.>", "$MQTT.deliver.pubrel.>"]},
        "subs": -1,  # three topics are all that it can subscribe to
        "data": -1,
        "payload": -1,  # the server measures MQTT by its own max_payload alone
        "allowed_connection_types": ["MQTT"],
        "type": "user",
        "version": _NATS_VERSION,
    }


def _is_ipv6(source: str) -> bool:
    try:
        return IPv6Address(source).ipv4_mapped is None
    except ValueError:
        return False
