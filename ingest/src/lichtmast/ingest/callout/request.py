"""What the server asks: who wants in, and what it presented. Read strictly; nothing of it is trusted but the chain.

ADR-26 of NATS: a JWT that the server signs. Of the many fields only those are read that a rule needs.
"""

import ssl
from dataclasses import dataclass
from typing import Final

import msgspec

from lichtmast.ingest.broker_keys import verified_claims
from lichtmast.ingest.callout import limits

AUDIENCE: Final = "nats-authorization-request"


@dataclass(frozen=True, slots=True)
class Request:
    """One question. `certificate_der` is the leaf of a chain that the server verified, None where there is none."""

    user_nkey: str
    connection: int
    source: str
    client_id: str
    is_mqtt: bool
    has_credentials: bool
    certificate_der: bytes | None
    until_us: int


class _Client(msgspec.Struct):
    id: int
    host: str = ""
    type: str = ""
    mqtt_id: str = ""
    user: str = ""


class _Presented(msgspec.Struct):
    jwt: str = ""
    nkey: str = ""
    auth_token: str = ""
    user: str = ""
    password: str = msgspec.field(name="pass", default="")


class _Tls(msgspec.Struct):
    verified_chains: list[list[str]] = []


class _Server(msgspec.Struct):
    id: str


class _Asked(msgspec.Struct):
    server_id: _Server
    user_nkey: str
    client_info: _Client
    connect_opts: _Presented
    client_tls: _Tls | None = None


class _Claims(msgspec.Struct):
    iss: str
    aud: str
    exp: int
    nats: _Asked


_decoder: Final = msgspec.json.Decoder(_Claims)


def read_request(token: bytes, server_id: str) -> Request | None:
    """The question that this token holds; None where it is none that this server asked."""
    claims_json = verified_claims(token, server_id) if len(token) <= limits.REQUEST_BYTES_MAX else None
    if claims_json is None:
        return None
    try:
        claims = _decoder.decode(claims_json)
        asked = claims.nats
        chains = asked.client_tls.verified_chains if asked.client_tls else []
        certificate = ssl.PEM_cert_to_DER_cert(chains[0][0]) if chains and chains[0] else None
    except ValueError:  # msgspec's errors and those of the PEM reader
        return None
    if claims.aud != AUDIENCE or claims.iss != server_id or asked.server_id.id != server_id:
        return None
    client, given = asked.client_info, asked.connect_opts
    return Request(
        asked.user_nkey,
        client.id,
        client.host,
        client.mqtt_id,
        client.type == "mqtt",
        any((given.jwt, given.nkey, given.auth_token, given.user, given.password, client.user)),
        certificate,
        claims.exp * 1_000_000,
    )
