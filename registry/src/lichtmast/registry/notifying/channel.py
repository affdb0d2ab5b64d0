"""A channel: to whom notices of a municipality go, and which of them; read strictly from a document.

Pure. Will not resolve a name or look whether anybody is there: that is what the test button is for.
"""

import re
from base64 import b64encode
from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from ipaddress import IPv6Address
from typing import Any, Final
from urllib.parse import urlsplit

from lichtmast.registry.alerts.rules import SEVERITIES
from lichtmast.registry.notifying import limits
from lichtmast.registry.notifying.errors import ChannelDocumentError
from lichtmast.registry.notifying.quiet import QuietHours

LANGUAGES: Final = ("nl", "en")
_NAME: Final = re.compile(r"[a-z0-9][a-z0-9-]*")
_ADDRESS: Final = re.compile(r"[A-Za-z0-9.!#$%&'*+/=?^_`{|}~-]{1,64}@[A-Za-z0-9-]+(\.[A-Za-z0-9-]+)*")
_TIME: Final = re.compile(r"([01][0-9]|2[0-3]):([0-5][0-9])")
_FIELDS: Final = {"name", "kind", "target", "language", "severity", "rules", "quiet", "escalate"}


class ChannelKind(StrEnum):
    """How a channel reaches its receiver."""

    EMAIL = "email"
    WEBHOOK = "webhook"
    MQTT = "mqtt"


@dataclass(frozen=True, slots=True)
class ChannelDraft:
    """A channel as it was asked for. `escalate_to` is the name of another channel of the same municipality."""

    tenant: str
    name: str
    kind: ChannelKind
    target: str
    language: str = "nl"
    severity: str = "warning"
    rules: tuple[str, ...] = ()
    quiet: QuietHours | None = None
    escalate_after_s: int | None = None
    escalate_to: str | None = None


@dataclass(frozen=True, slots=True)
class Channel:
    """A channel that is in use. `escalate_to` is the id of another."""

    id: int
    draft: ChannelDraft
    made_at_us: int
    escalate_to: int | None = None

    def takes(self, tenant: str, rule: str, severity: str) -> bool:
        """Whether a notice of this rule goes here."""
        mine = self.draft
        loud = SEVERITIES.index(severity) >= SEVERITIES.index(mine.severity)
        return mine.tenant == tenant and loud and (not mine.rules or rule in mine.rules)


def parse_channel(tenant: str, document: Mapping[str, Any]) -> ChannelDraft:
    """A channel from JSON or TOML, as in docs/reference/notifications.md. Raises ChannelDocumentError."""
    unknown = sorted(document.keys() - _FIELDS)
    if unknown:
        raise ChannelDocumentError(unknown[0][:60], f"no such field; there are {', '.join(sorted(_FIELDS))}")
    name = _text(document, "name")
    if not _NAME.fullmatch(name) or len(name) > limits.NAME_CHARACTERS_MAX:
        raise ChannelDocumentError(
            "name", f"small letters, digits and hyphens, at most {limits.NAME_CHARACTERS_MAX}, such as on-call"
        )
    kind = ChannelKind(_one_of(document, "kind", tuple(ChannelKind), None))
    escalate_after_s, escalate_to = _escalation(document.get("escalate"), name)
    return ChannelDraft(
        tenant,
        name,
        kind,
        _target(kind, document),
        _one_of(document, "language", LANGUAGES, "nl"),
        _one_of(document, "severity", SEVERITIES, "warning"),
        _rules(document.get("rules", [])),
        _quiet(document.get("quiet")),
        escalate_after_s,
        escalate_to,
    )


def secret_text(secret: bytes) -> str:
    """A webhook's secret as the receiver's library wants it (Standard Webhooks)."""
    return f"whsec_{b64encode(secret).decode('ascii')}"


def _target(kind: ChannelKind, document: Mapping[str, Any]) -> str:
    if kind is ChannelKind.MQTT:
        if document.get("target"):
            raise ChannelDocumentError("target", "an MQTT channel has none: notices go to lm-alerts/MUNICIPALITY")
        return ""
    target = _text(document, "target")
    if not target.isascii() or not target.isprintable() or len(target) > limits.TARGET_CHARACTERS_MAX:
        raise ChannelDocumentError(
            "target", f"at most {limits.TARGET_CHARACTERS_MAX} characters of ASCII; write other letters in Punycode"
        )
    if kind is ChannelKind.EMAIL:
        if not _ADDRESS.fullmatch(target) or len(target) > limits.ADDRESS_CHARACTERS_MAX:
            raise ChannelDocumentError("target", "one e-mail address, such as lamps@example.nl")
        return target
    _require_web_address(target)
    return target


def _require_web_address(target: str) -> None:
    try:
        parts = urlsplit(target)
        host, port = parts.hostname or "", parts.port
    except ValueError:
        host, port = "", None
    if not host or parts.scheme not in {"http", "https"} or port == 0 or " " in target:
        raise ChannelDocumentError("target", "an address of the web, such as https://example.nl/hooks/lamps")
    if parts.scheme == "http" and not _is_loopback(host):
        raise ChannelDocumentError("target", "http is for this machine alone ([::1]); elsewhere it is https")
    if parts.username is not None or parts.password is not None:
        raise ChannelDocumentError("target", "no user or password in an address; receivers check the signature")
    if parts.fragment:
        raise ChannelDocumentError("target", "what follows # never leaves; take it off")


def _is_loopback(host: str) -> bool:
    try:
        return IPv6Address(host).is_loopback
    except ValueError:
        return False


def _quiet(value: object) -> QuietHours | None:
    if value is None:
        return None
    if not isinstance(value, Mapping) or set(value) != {"from", "until"}:
        raise ChannelDocumentError("quiet", 'two times of day, such as {"from": "22:00", "until": "07:00"}')
    first, last = (_minute(value[key], f"quiet.{key}") for key in ("from", "until"))
    if first == last:
        raise ChannelDocumentError("quiet", "from and until are the same; leave quiet out, or remove the channel")
    return QuietHours(first, last)


def _minute(value: object, field: str) -> int:
    found = _TIME.fullmatch(value) if isinstance(value, str) else None
    if found is None:
        raise ChannelDocumentError(field, "a time of day in the Netherlands, such as 22:00")
    return int(found[1]) * 60 + int(found[2])


def _escalation(value: object, name: str) -> tuple[int | None, str | None]:
    if value is None:
        return None, None
    if not isinstance(value, Mapping) or set(value) != {"after_s", "to"}:
        raise ChannelDocumentError("escalate", 'seconds and a channel, such as {"after_s": 900, "to": "on-call"}')
    after_s, to = value["after_s"], value["to"]
    if not isinstance(after_s, int) or isinstance(after_s, bool) or not 0 < after_s <= limits.ESCALATE_AFTER_MAX_S:
        raise ChannelDocumentError("escalate.after_s", f"whole seconds, 1 to {limits.ESCALATE_AFTER_MAX_S}")
    if not isinstance(to, str) or not _NAME.fullmatch(to) or to == name:
        raise ChannelDocumentError("escalate.to", "the name of another channel")
    return after_s, to


def _rules(value: object) -> tuple[str, ...]:
    if not isinstance(value, list | tuple) or not all(isinstance(one, str) and one for one in value):
        raise ChannelDocumentError("rules", "a list of names of rules; leave it out for all")
    if len(value) > limits.RULES_MAX:
        raise ChannelDocumentError("rules", f"at most {limits.RULES_MAX} names; leave it out for all")
    return tuple(value)


def _text(document: Mapping[str, Any], field: str) -> str:
    value = document.get(field)
    if not isinstance(value, str) or not value:
        raise ChannelDocumentError(field, "it is missing or no text")
    return value


def _one_of(document: Mapping[str, Any], field: str, values: tuple[str, ...], usual: str | None) -> str:
    value = document.get(field, usual)
    if value not in values:
        raise ChannelDocumentError(field, f"one of {', '.join(values)}")
    return str(value)
