"""Webhooks: a signed CloudEvent by POST, to the address that was checked and to no other.

The name is resolved here, the address judged, and the connection made to that very address, with the name for the
certificate and the Host header: a name that means something else a moment later changes nothing. Will not follow
redirects, use a proxy, or read more of an answer than a few lines.
"""

import asyncio
import socket
import ssl
from collections.abc import Sequence
from http import HTTPStatus
from ipaddress import IPv6Address
from typing import Final
from urllib.parse import urlsplit

import httpx2

from lichtmast.ingest.notifying.addresses import is_permitted
from lichtmast.ingest.notifying.cloud_event import CONTENT_TYPE, cloud_event
from lichtmast.ingest.notifying.limits import (
    ATTEMPT_TIMEOUT_S,
    CONNECT_TIMEOUT_S,
    MISFIT_TRIES,
    RESPONSE_BYTES_MAX,
    SHOWN_BYTES_MAX,
)
from lichtmast.ingest.notifying.settings import NotifyingSettings
from lichtmast.ingest.notifying.signature import headers
from lichtmast.registry.notifying import Answer, Letter
from lichtmast.registry.notifying.plain import plain

_NEVER: Final = frozenset({HTTPStatus.GONE, HTTPStatus.REQUEST_ENTITY_TOO_LARGE})
"""What trying again does not change. Everything else may be a receiver that is being repaired, also 401 and 404."""
_MISFIT: Final = frozenset({HTTPStatus.BAD_REQUEST, HTTPStatus.UNSUPPORTED_MEDIA_TYPE, HTTPStatus.UNPROCESSABLE_ENTITY})
"""What a receiver says of this one message; by the third try it is not being repaired."""


async def send_webhook(
    letter: Letter, secret: bytes, settings: NotifyingSettings, now_us: int, tls: ssl.SSLContext
) -> Answer:
    """Post it; what the receiver said."""
    parts = urlsplit(letter.channel.draft.target)
    host, name = parts.hostname or "", parts.netloc
    try:
        async with asyncio.timeout(ATTEMPT_TIMEOUT_S):
            addresses = await _resolve(host, parts.port or (443 if parts.scheme == "https" else 80))
            permitted = [one for one in addresses if is_permitted(one, settings.allow_networks)]
            if not permitted:
                return _refused(name, addresses)
            url = httpx2.URL(letter.channel.draft.target).copy_with(host=str(permitted[0]))
            body = cloud_event(letter, settings)
            sent = {"Host": name, "Content-Type": CONTENT_TYPE, "User-Agent": "lichtmast"}
            sent |= headers(secret, letter.id, now_us, body)
            never = _NEVER | _MISFIT if letter.attempts + 1 >= MISFIT_TRIES else _NEVER
            return await _post(url, body, sent, host, tls, never)
    except TimeoutError:
        return Answer(accepted=False, words=f"{name} did not answer within {ATTEMPT_TIMEOUT_S:.0f} s")
    except (OSError, httpx2.HTTPError, httpx2.InvalidURL) as error:
        said = plain(str(error), SHOWN_BYTES_MAX) or type(error).__name__
        return Answer(accepted=False, words=f"{name} cannot be reached: {said}")


async def _resolve(host: str, port: int) -> list[IPv6Address]:
    found = await asyncio.get_running_loop().getaddrinfo(
        host, port, family=socket.AF_INET6, type=socket.SOCK_STREAM, proto=socket.IPPROTO_TCP
    )
    # A zone (fe80::1%eth0) belongs to link-local addresses, which are not permitted with or without it.
    return list(dict.fromkeys(IPv6Address(str(one[4][0]).partition("%")[0]) for one in found))


def _refused(name: str, addresses: Sequence[IPv6Address]) -> Answer:
    where = ", ".join(str(one) for one in addresses[:3])
    return Answer(
        accepted=False,
        words=f"{name} is {where}, which is not on the public internet; the operator may allow its network in "
        "notifications.toml (allow_networks)",
    )


async def _post(
    url: httpx2.URL, body: bytes, sent: dict[str, str], host: str, tls: ssl.SSLContext, never: frozenset[int]
) -> Answer:
    name = sent["Host"]
    timeout = httpx2.Timeout(ATTEMPT_TIMEOUT_S, connect=CONNECT_TIMEOUT_S)
    async with (
        httpx2.AsyncClient(verify=tls, trust_env=False, follow_redirects=False, timeout=timeout) as client,
        client.stream("POST", url, content=body, headers=sent, extensions={"sni_hostname": host}) as response,
    ):
        said = await _beginning(response)
    status = f"{response.status_code} {plain(response.reason_phrase, SHOWN_BYTES_MAX)}".strip()
    if response.is_success:
        return Answer(accepted=True, words=f"{name} said {status}")
    if response.is_redirect:
        return Answer(accepted=False, words=f"{name} said {status}; redirects are not followed, give the new address")
    words = f"{name} said {status} {plain(said, SHOWN_BYTES_MAX)}".strip()
    return Answer(accepted=False, words=words, final=response.status_code in never)


async def _beginning(response: httpx2.Response) -> str:
    """What the receiver has to say for itself, as far as anybody will read it; never unpacked."""
    said = b""
    async for part in response.aiter_raw(RESPONSE_BYTES_MAX):
        said += part
        if len(said) >= RESPONSE_BYTES_MAX:
            break
    return said[:RESPONSE_BYTES_MAX].decode(errors="replace")
