"""What /v1 tells, as JSON: camelCase names, instants as RFC 3339 in UTC, nothing where there is nothing."""

import json
from collections.abc import Sequence
from hashlib import sha256
from math import asin, cos, radians, sin, sqrt
from typing import Any, Final

from starlette.responses import Response

from lichtmast.api.times import iso
from lichtmast.api.v1.refusals import SeenRefusal
from lichtmast.registry import AssetRecord, DeviceRecord
from lichtmast.registry.auditing import LoggedEvent
from lichtmast.registry.identity import CertificateRecord, Claim
from lichtmast.registry.people import Place
from lichtmast.registry.pki import Told
from lichtmast.wire.label import pin_text

_EARTH_RADIUS_M: Final = 6_371_008.8

View = dict[str, Any]


def claim_view(
    claim: Claim, asset: AssetRecord | None, device: DeviceRecord | None, first_reading_us: int | None, now_us: int
) -> View:
    """A claim, and how far its device came."""
    stood = claim.position
    return {
        "id": claim.id,
        "device": str(claim.device),
        "assetId": claim.asset_id,
        "assetName": None if asset is None else asset.name,
        "state": claim.state(now_us).value,
        "openedBy": claim.opened_by,
        "openedAt": iso(claim.opened_at_us),
        "expiresAt": iso(claim.expires_at_us),
        "closedAt": _instant(claim.closed_at_us),
        "position": stood and {"longitude": stood.longitude, "latitude": stood.latitude, "accuracyM": stood.accuracy_m},
        "distanceM": None if stood is None or asset is None else round(distance_m(stood, asset), 1),
        "wrongKeys": claim.wrong_keys,
        "certificateSerial": None if claim.serial is None else f"{claim.serial:x}",
        "deviceStatus": None if device is None else device.status.value,
        "firstReadingAt": _instant(first_reading_us),
    }


def device_view(record: DeviceRecord) -> View:
    """A device, as it stands in a list."""
    return {
        "device": str(record.device),
        "tenant": record.device.tenant,
        "name": record.device.device,
        "urn": record.device.urn,
        "profile": record.profile,
        "status": record.status.value,
        "assetId": record.asset_id,
        "registeredAt": iso(record.registered_at_us),
    }


def device_detail(
    record: DeviceRecord,
    issued: Sequence[CertificateRecord],
    refusals: Sequence[SeenRefusal],
    last_reading_us: int | None,
) -> View:
    """All of a device."""
    return device_view(record) | {
        "lastReadingAt": _instant(last_reading_us),
        "certificates": [certificate_view(one) for one in issued],
        "refusals": [
            {"door": one.door, "reason": one.reason, "count": one.count, "lastAt": iso(one.last_us)} for one in refusals
        ],
    }


def certificate_view(one: CertificateRecord) -> View:
    """A line of the issuance log."""
    return {
        "serial": f"{one.serial:x}",
        "notBefore": iso(one.not_before_us),
        "notAfter": iso(one.not_after_us),
        "issuedAt": iso(one.issued_at_us),
        "supersededAt": _instant(one.superseded_at_us),
        "revokedAt": _instant(one.revoked_at_us),
        "revokedFor": one.revoked_for,
    }


def asset_view(asset: AssetRecord, near: Place | None) -> View:
    """A lamppost, and how far it is."""
    told: View = {
        "id": asset.id,
        "tenant": asset.tenant,
        "sourceId": asset.source_id,
        "name": asset.name,
        "longitude": asset.longitude,
        "latitude": asset.latitude,
    }
    return told if near is None else told | {"distanceM": round(distance_m(near, asset), 1)}


def event_view(event: LoggedEvent) -> View:
    """An event of the log of changes, without what may be erased of it."""
    return {
        "seq": event.seq,
        "at": iso(event.at_us),
        "actorKind": event.actor_kind,
        "actor": event.actor,
        "source": event.source,
        "action": event.action,
        "subjectKind": event.subject_kind,
        "subject": event.subject,
        "tenant": event.tenant,
        "before": None if event.before is None else json.loads(event.before),
        "after": None if event.after is None else json.loads(event.after),
        "hash": event.hash,
    }


def authority_view(one: Told) -> View:
    """A certificate of the authority."""
    return {
        "role": one.role,
        "subject": one.subject,
        "pin": pin_text(one.pin),
        "notBefore": iso(one.not_before_us),
        "notAfter": iso(one.not_after_us),
        "signs": one.signs,
        "keyHere": one.key_here,
    }


def distance_m(one: Place, other: Place) -> float:
    """Over the sphere, in metres: good to half a percent, which is enough to tell lampposts apart."""
    north, east = radians(other.latitude - one.latitude), radians(other.longitude - one.longitude)
    middle = cos(radians(one.latitude)) * cos(radians(other.latitude))
    return 2 * _EARTH_RADIUS_M * asin(min(1.0, sqrt(sin(north / 2) ** 2 + middle * sin(east / 2) ** 2)))


def etag_of(view: View) -> str:
    """Another one for each content (RFC 9110 section 8.8.3)."""
    return f'"{sha256(_text(view)).hexdigest()[:24]}"'


def answer(view: View, status: int = 200, **headers: str) -> Response:
    """As a response."""
    return Response(_text(view), status, headers, "application/json")


def _text(view: View) -> bytes:
    return json.dumps(view, ensure_ascii=False, separators=(",", ":"), allow_nan=False).encode("utf-8", "replace")


def _instant(at_us: int | None) -> str | None:
    return None if at_us is None else iso(at_us)
