"""One request for each route of /v1 that succeeds for who may, whatever came before: for tests that try all of them."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

import pyarrow as pa
from alert_shelf import RULE, begin_alert, failed_delivery
from est_client import Node

from lichtmast.api.v1 import alerts, channels, quarantine, rules, silence, validation, windows
from lichtmast.api.v1.needs import DEVICE
from lichtmast.api.v1.quarantine import ENTRY
from lichtmast.registry import AssetRecord, DeviceStatus, NewDevice, Registry
from lichtmast.registry.alerts import WindowDraft
from lichtmast.registry.auditing import Actor, ActorKind
from lichtmast.registry.notifying import Answer, parse_channel
from lichtmast.registry.people import Seal
from lichtmast.store.port import LEDGER_SCHEMA, OBSERVATION_SCHEMA, QUARANTINE_SCHEMA, Batch, ObservationStore
from lichtmast.wire import DeviceId
from lichtmast.wire.topics import READINGS_STREAM

ENGINEER = Actor(ActorKind.USER, "engineer@example.nl", "2001:db8::7")
PROFILE = "weather"
SEAL: Final = Seal.from_secret(b"k" * 32)
OF_NOBODY: Final = frozenset({("GET", "/v1/certificates"), *validation.NEEDS})
"""Of the installation: no municipality's own, so another one's people are not told that it is not there."""
IN_STORE: Final = frozenset({("GET", ENTRY)})
"""Examples that need something in the store."""


@dataclass(frozen=True, slots=True)
class Example:
    """A request."""

    url: str
    body: Mapping[str, Any] | None = None
    place: AssetRecord | None = None
    """The lamppost that it changes something at: an engineer elsewhere may not."""


class Desk:
    """Carries out orders about the quarantine by saying that it did."""

    async def replay(self, *_: object, **__: object) -> Mapping[str, Any]:
        counts = dict.fromkeys(("examined", "replayed", "duplicates", "kept"), 0)
        return {**counts, "still_refused": [], "next": None}

    async def discard(self, *_: object, **__: object) -> Mapping[str, Any]:
        return {"examined": 0, "discarded": 0, "next": None}


async def test_channel(channel_id: int) -> Answer:
    return Answer(accepted=True, words=f"channel {channel_id} said yes")


test_channel.__test__ = False  # type: ignore[attr-defined]  # pytest, this is what /v1 calls


async def why_silent(device: DeviceId) -> Mapping[str, Any]:
    return {"device": str(device), "quiet": False, "rung": None}


BESIDE: Final[Mapping[str, Any]] = {
    "seal": SEAL,
    "quarantine": Desk(),
    "try_rules": lambda rules, days: {"days": days, "version": rules.version},
    "try_alert_rule": lambda rule, days: {"days": days, "fired": 3, "sentence": rule.name, "episodes": []},
    "test_channel": test_channel,
    "why_silent": why_silent,
}
"""What Ground and Management are given by a server that runs everything."""


def v1_examples(
    registry: Registry,
    tenant: str,
    assets: Sequence[AssetRecord],
    *,
    root_pin: bytes,
    now_us: int,
    store: ObservationStore | None = None,
) -> dict[tuple[str, str], Example]:
    """Things in the right state for each route, and the requests. `assets` are four lampposts of the tenant.

    Without a store, the examples of IN_STORE are of what is not there.
    """
    if store is not None:
        _refuse_a_pack(store, tenant, now_us)
    return {
        **_device_examples(registry, tenant, assets, root_pin, now_us),
        **_alert_examples(registry, tenant, assets[0], now_us),
        **_rule_examples(registry, tenant, now_us),
        **_channel_examples(registry, tenant, assets[0], now_us),
        **_quarantine_examples(tenant),
    }


def _device_examples(
    registry: Registry, tenant: str, assets: Sequence[AssetRecord], root_pin: bytes, now_us: int
) -> dict[tuple[str, str], Example]:
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
        ("GET", silence.SILENCE): Example(active("x-quiet", third) + "/silence"),
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


def _alert_examples(registry: Registry, tenant: str, place: AssetRecord, now_us: int) -> dict[tuple[str, str], Example]:
    def alert(number: int) -> str:
        return f"/v1/alerts/{begin_alert(registry, tenant, place, number, now_us)}"

    shelved = alert(1)
    reason = {"until": "2026-12-24T00:00:00Z", "reason": "the street is open"}
    until_us = now_us + 3_600_000_000
    registry.alerts.shelve(int(shelved.rsplit("/", 1)[1]), until_us, "the street is open", by=ENGINEER, at_us=now_us)
    window = {"tenant": tenant, "scope": {}, "from": "2026-12-01T00:00:00Z", "until": "2026-12-02T00:00:00Z"}
    draft = WindowDraft(tenant, {}, now_us, now_us + 3_600_000_000, "WO-1")
    planned = registry.alerts.plan_window(draft, by=ENGINEER, at_us=now_us).id
    return {
        ("GET", "/v1/alerts"): Example(f"/v1/alerts?tenant={tenant}"),
        ("GET", alerts.ALERT): Example(alert(2)),
        ("POST", f"{alerts.ALERT}/acknowledgement"): Example(alert(3) + "/acknowledgement", {}, place=place),
        ("POST", f"{alerts.ALERT}/comments"): Example(alert(4) + "/comments", {"words": "I am there"}, place=place),
        ("PUT", f"{alerts.ALERT}/owner"): Example(alert(5) + "/owner", {"owner": "manager@example.nl"}, place=place),
        ("POST", f"{alerts.ALERT}/shelf"): Example(alert(6) + "/shelf", reason),
        ("DELETE", f"{alerts.ALERT}/shelf"): Example(shelved + "/shelf"),
        ("POST", f"{alerts.ALERT}/clearing"): Example(alert(7) + "/clearing", {"evidence": "it burns"}),
        ("GET", windows.WINDOWS): Example(f"{windows.WINDOWS}?tenant={tenant}"),
        ("POST", windows.WINDOWS): Example(windows.WINDOWS, window | {"workOrder": "WO-2"}),
        ("GET", windows.WINDOW): Example(f"{windows.WINDOWS}/{planned}"),
        ("DELETE", windows.WINDOW): Example(f"{windows.WINDOWS}/{planned}"),
    }


def _rule_examples(registry: Registry, tenant: str, now_us: int) -> dict[tuple[str, str], Example]:
    def rule(name: str) -> str:
        document = RULE | {"tenant": tenant, "name": name}
        return f"{rules.RULES}/{registry.alerts.put_rule(document, by=ENGINEER, at_us=now_us).id}"

    new, changed = (RULE | {"tenant": tenant, "name": name} for name in ("x-new", "x-change"))
    believable = {"profile": {"weather": {"temperature": {"maximum": 45.0}}}}
    put_before = registry.validation.put(believable, "a warm town", by=ENGINEER, at_us=now_us).version
    put = {"basedOn": put_before, "note": "it cooled down", "document": {}}
    return {
        ("GET", rules.RULES): Example(f"{rules.RULES}?tenant={tenant}"),
        ("POST", rules.RULES): Example(rules.RULES, {"document": new}),
        ("POST", f"{rules.RULES}/trials"): Example(f"{rules.RULES}/trials", {"document": new}),
        ("GET", rules.RULE): Example(rule("x-show")),
        ("PUT", rules.RULE): Example(rule("x-change"), {"document": changed | {"severity": "critical"}, "basedOn": 1}),
        ("DELETE", rules.RULE): Example(rule("x-delete")),
        ("POST", f"{rules.RULE}/activation"): Example(rule("x-on") + "/activation"),
        ("DELETE", f"{rules.RULE}/activation"): Example(rule("x-off") + "/activation"),
        ("GET", validation.RULES): Example(validation.RULES),
        ("PUT", validation.RULES): Example(validation.RULES, put),
        ("GET", f"{validation.RULES}/versions"): Example(f"{validation.RULES}/versions"),
        ("GET", f"{validation.RULES}/versions/{{version}}"): Example(f"{validation.RULES}/versions/1"),
        ("POST", f"{validation.RULES}/trials"): Example(f"{validation.RULES}/trials", {"document": believable}),
    }


def _channel_examples(
    registry: Registry, tenant: str, place: AssetRecord, now_us: int
) -> dict[tuple[str, str], Example]:
    def channel(name: str) -> int:
        draft = parse_channel(tenant, {"name": name, "kind": "mqtt"})
        return registry.notifying.put(draft, SEAL, by=ENGINEER, at_us=now_us)[0].id

    kept = channel("x-kept")
    failed = failed_delivery(registry, tenant, place, kept, now_us)
    made = {"tenant": tenant, "document": {"name": "x-made", "kind": "email", "target": "lamps@example.nl"}}
    return {
        ("GET", channels.CHANNELS): Example(f"{channels.CHANNELS}?tenant={tenant}"),
        ("POST", channels.CHANNELS): Example(channels.CHANNELS, made),
        ("GET", channels.CHANNEL): Example(f"{channels.CHANNELS}/{kept}"),
        ("DELETE", channels.CHANNEL): Example(f"{channels.CHANNELS}/{channel('x-gone')}"),
        ("POST", f"{channels.CHANNEL}/tests"): Example(f"{channels.CHANNELS}/{kept}/tests"),
        ("GET", channels.DELIVERIES): Example(f"{channels.DELIVERIES}?tenant={tenant}&state=failed"),
        ("POST", f"{channels.DELIVERY}/attempts"): Example(f"{channels.DELIVERIES}/{failed}/attempts"),
    }


def _quarantine_examples(tenant: str) -> dict[tuple[str, str], Example]:
    there = quarantine.QUARANTINE
    return {
        ("GET", there): Example(f"{there}?tenant={tenant}"),
        ("GET", f"{there}/entries"): Example(f"{there}/entries?tenant={tenant}"),
        ("GET", ENTRY): Example(f"{there}/entries/1/0"),
        ("POST", f"{there}/replays"): Example(f"{there}/replays", {"tenant": tenant}),
        ("POST", f"{there}/discards"): Example(f"{there}/discards", {"tenant": tenant, "because": "a test"}),
    }


def _refuse_a_pack(store: ObservationStore, tenant: str, now_us: int) -> None:
    """What the pipeline does with a pack that nobody can read: quarantine 1/0."""
    row = [1, 0, f"{tenant}/x-show", now_us, 0, "malformed", "no SenML", 110, b"{"]
    refused = pa.table([[one] for one in row], schema=QUARANTINE_SCHEMA)
    none = OBSERVATION_SCHEMA.empty_table()
    store.commit(Batch(none, LEDGER_SCHEMA.empty_table(), refused, READINGS_STREAM, store.offset(READINGS_STREAM) + 1))
