"""One request for each route of /v1 that succeeds for who may, whatever came before: for tests that try all of them."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from est_client import Node

from lichtmast.api.v1.needs import DEVICE
from lichtmast.registry import AssetRecord, DeviceStatus, NewDevice, Registry
from lichtmast.registry.auditing import Actor, ActorKind
from lichtmast.wire import DeviceId

ENGINEER = Actor(ActorKind.USER, "engineer@example.nl", "2001:db8::7")
PROFILE = "weather"


@dataclass(frozen=True, slots=True)
class Example:
    """A request."""

    url: str
    body: Mapping[str, Any] | None = None
    place: AssetRecord | None = None
    """The lamppost that it changes something at: an engineer elsewhere may not."""


def v1_examples(
    registry: Registry, tenant: str, assets: Sequence[AssetRecord], *, root_pin: bytes, now_us: int
) -> dict[tuple[str, str], Example]:
    """Devices in the right state for each route, and the requests. `assets` are four lampposts of the tenant."""

    def active(name: str, place: AssetRecord, status: DeviceStatus = DeviceStatus.ACTIVE) -> str:
        device = DeviceId(tenant, name)
        registry.register_devices([NewDevice(device, PROFILE, place.id, status)], at_us=now_us)
        return f"/v1/devices/{tenant}/{name}"

    def staged(name: str) -> Node:
        node = Node(DeviceId(tenant, name))
        registry.identity.stage(node.label(root_pin), PROFILE, at_us=now_us)
        return node

    def claimed(name: str, place: AssetRecord) -> str:
        label = staged(name).label(root_pin)
        claim = registry.identity.open_claim(label, asset_id=place.id, by=ENGINEER, at_us=now_us)
        return f"/v1/claims/{claim.id}"

    first, second, third, fourth = assets[:4]
    near = f"near={first.longitude},{first.latitude}"
    label = staged("x-scan").label(root_pin).text
    spare = staged("x-spare").label(root_pin).text
    scan = {"label": label, "assetId": first.id, "position": {"longitude": first.longitude, "latitude": first.latitude}}
    claim = claimed("x-look", second)
    return {
        ("POST", "/v1/claims"): Example("/v1/claims", scan, place=first),
        ("GET", "/v1/claims"): Example(f"/v1/claims?tenant={tenant}"),
        ("GET", "/v1/claims/{claim_id}"): Example(claim),
        ("DELETE", "/v1/claims/{claim_id}"): Example(claimed("x-cancel", second), place=second),
        ("GET", "/v1/devices"): Example(f"/v1/devices?tenant={tenant}"),
        ("GET", DEVICE): Example(active("x-show", third)),
        ("POST", f"{DEVICE}/suspension"): Example(
            active("x-suspend", third) + "/suspension", {"why": "stolen"}, place=third
        ),
        ("DELETE", f"{DEVICE}/suspension"): Example(
            active("x-resume", third, DeviceStatus.SUSPENDED) + "/suspension", place=third
        ),
        ("POST", f"{DEVICE}/retirement"): Example(active("x-retire", third) + "/retirement", {}, place=third),
        ("POST", f"{DEVICE}/replacement"): Example(
            active("x-replace", fourth) + "/replacement", {"label": spare}, place=fourth
        ),
        ("POST", f"{DEVICE}/move"): Example(active("x-move", third) + "/move", {"assetId": first.id}, place=third),
        ("POST", f"{DEVICE}/certificate-revocations"): Example(
            active("x-revoke", third) + "/certificate-revocations", {"reason": "keyCompromise"}, place=third
        ),
        ("GET", "/v1/assets"): Example(f"/v1/assets?tenant={tenant}&{near}"),
        ("GET", "/v1/audit-events"): Example(f"/v1/audit-events?tenant={tenant}"),
        ("GET", "/v1/certificates"): Example("/v1/certificates"),
    }
