"""Staging and claiming: the engineer's scan opens one window for one key, and every wrong scan is told and logged."""

import json
from pathlib import Path

import pytest
from workshop import DAY_US, ENGINEER, HOUR_US, NOW_US, OTHER_ENGINEER, Node, city

from lichtmast.registry import AssetRecord, ConflictError, DeviceStatus, Registry, UnknownRecordError
from lichtmast.registry.identity import (
    CLAIM_SENTENCES,
    Claim,
    ClaimReason,
    ClaimRefused,
    ClaimState,
    Position,
    RevocationReason,
)
from lichtmast.registry.limits import CLAIM_HOURS_MAX, POSITION_RETENTION_US
from lichtmast.registry.pki import Authority
from lichtmast.wire import DeviceId, pin_text

PLACE = Position(5.17612, 52.2213, 4.5)


@pytest.fixture
def authority(tmp_path: Path) -> Authority:
    return city(tmp_path / "authority")


@pytest.fixture
def node(registry: Registry, authority: Authority) -> Node:
    """A node that the workshop staged."""
    made = Node("lamp-0001")
    assert registry.identity.stage(made.label(authority), "weather", at_us=NOW_US - HOUR_US)
    return made


def claim(registry: Registry, node: Node, authority: Authority, asset: AssetRecord, at_us: int = NOW_US) -> Claim:
    label = node.label(authority)
    return registry.identity.open_claim(label, asset_id=asset.id, position=PLACE, by=ENGINEER, at_us=at_us)


def refused(registry: Registry) -> tuple[str, object]:
    """The newest event's action and reason."""
    event = registry.audit_log.read(limit=1, newest_first=True)[0]
    return event.action, json.loads(event.after or "{}").get("reason")


def status(registry: Registry, device: DeviceId) -> tuple[DeviceStatus, int | None]:
    record = registry.device(device)
    assert record is not None
    return record.status, record.asset_id


def test_staging_registers_the_device_with_the_key_on_its_label(
    registry: Registry, authority: Authority, node: Node
) -> None:
    assert status(registry, node.device) == (DeviceStatus.REGISTERED, None)
    event = registry.audit_log.read(limit=1, newest_first=True)[0]
    assert (event.action, event.subject) == ("device.staged", "gm0402/lamp-0001")
    assert json.loads(event.after or "") == {"key": pin_text(node.label(authority).key_pin), "profile": "weather"}
    before = registry.revision()
    assert not registry.identity.stage(node.label(authority), "weather", at_us=NOW_US)
    assert registry.revision() == before


def test_a_node_that_was_made_anew_in_the_workshop_is_staged_again(
    registry: Registry, authority: Authority, node: Node, lampposts: list[AssetRecord]
) -> None:
    anew = Node("lamp-0001")
    assert registry.identity.stage(anew.label(authority), "weather", at_us=NOW_US)
    with pytest.raises(ClaimRefused, match="not the one that was staged"):
        claim(registry, node, authority, lampposts[0])
    assert claim(registry, anew, authority, lampposts[0]).state(NOW_US) is ClaimState.OPEN
    with pytest.raises(ConflictError, match="has another key and is claimed"):
        registry.identity.stage(node.label(authority), "weather", at_us=NOW_US)


def test_staging_is_all_or_nothing_and_one_key_is_one_device(
    registry: Registry, authority: Authority, node: Node
) -> None:
    twin = Node("lamp-0002")
    twin.spki_der = node.spki_der
    before = registry.counts()
    with pytest.raises(ConflictError, match="lamp-0001 has the same key"):
        registry.identity.stage_all(
            [(Node("lamp-0003").label(authority), "weather"), (twin.label(authority), "weather")], at_us=NOW_US
        )
    with pytest.raises(UnknownRecordError, match="no profile"):
        registry.identity.stage(Node("lamp-0004").label(authority), "toaster", at_us=NOW_US)
    with pytest.raises(ConflictError, match="another profile"):
        registry.identity.stage(node.label(authority), "noise", at_us=NOW_US)
    assert registry.counts() == before


def test_a_scan_opens_one_window_and_hangs_the_device(
    registry: Registry, authority: Authority, node: Node, lampposts: list[AssetRecord]
) -> None:
    opened = claim(registry, node, authority, lampposts[0])
    assert (opened.device, opened.asset_id, opened.key_pin) == (
        node.device,
        lampposts[0].id,
        node.label(authority).key_pin,
    )
    assert (opened.opened_by, opened.position, opened.expires_at_us) == ("jansen", PLACE, NOW_US + 24 * HOUR_US)
    assert status(registry, node.device) == (DeviceStatus.CLAIMED, lampposts[0].id)
    assert registry.identity.claims("gm0402", open_at_us=NOW_US) == [opened]
    assert registry.identity.claim(opened.id) == opened
    event = registry.audit_log.read(limit=1, newest_first=True)[0]
    assert (event.action, event.actor, event.source) == ("claim.opened", "jansen", "2001:db8::7")
    assert "5.17612" not in (event.before or "") + (event.after or "")
    assert json.loads(event.sensitive or "") == {"longitude": 5.17612, "latitude": 52.2213, "accuracy_m": 4.5}


def test_scanning_twice_is_the_same_claim(
    registry: Registry, authority: Authority, node: Node, lampposts: list[AssetRecord]
) -> None:
    first = claim(registry, node, authority, lampposts[0])
    before = registry.revision()
    assert claim(registry, node, authority, lampposts[0], NOW_US + 1) == first
    assert registry.revision() == before


def test_a_window_shuts_by_itself_and_may_be_opened_again_elsewhere(
    registry: Registry, authority: Authority, node: Node, lampposts: list[AssetRecord]
) -> None:
    first = claim(registry, node, authority, lampposts[0])
    assert first.state(first.expires_at_us - 1) is ClaimState.OPEN
    assert first.state(first.expires_at_us) is ClaimState.EXPIRED
    assert registry.identity.claims(open_at_us=first.expires_at_us) == []
    second = claim(registry, node, authority, lampposts[1], first.expires_at_us)
    assert second.id != first.id
    shut = registry.identity.claim(first.id)
    assert shut is not None
    assert shut.closed_as is ClaimState.EXPIRED
    assert status(registry, node.device) == (DeviceStatus.CLAIMED, lampposts[1].id)


def test_a_cancelled_claim_gives_the_device_back_to_the_stock(
    registry: Registry, authority: Authority, node: Node, lampposts: list[AssetRecord]
) -> None:
    opened = claim(registry, node, authority, lampposts[0])
    closed = registry.identity.cancel_claim(opened.id, by=OTHER_ENGINEER, at_us=NOW_US + 5)
    assert closed.state(NOW_US) is ClaimState.CANCELLED
    assert status(registry, node.device) == (DeviceStatus.REGISTERED, None)
    with pytest.raises(ClaimRefused, match="not open any more"):
        registry.identity.cancel_claim(opened.id, by=ENGINEER, at_us=NOW_US + 6)
    with pytest.raises(UnknownRecordError, match="no claim 999"):
        registry.identity.cancel_claim(999, by=ENGINEER, at_us=NOW_US)
    assert claim(registry, node, authority, lampposts[1], NOW_US + 7).asset_id == lampposts[1].id


def test_a_device_that_the_workshop_forgot_is_staged_by_the_claim_where_a_profile_is_named(
    registry: Registry, authority: Authority, lampposts: list[AssetRecord]
) -> None:
    stray = Node("lamp-0099")
    opened = registry.identity.open_claim(
        stray.label(authority), asset_id=lampposts[0].id, by=ENGINEER, at_us=NOW_US, profile="weather"
    )
    assert opened.position is None
    assert status(registry, stray.device) == (DeviceStatus.CLAIMED, lampposts[0].id)


def test_a_device_in_service_from_before_keys_gets_its_key_from_the_workshop_alone(
    registry: Registry, authority: Authority, lampposts: list[AssetRecord]
) -> None:
    old = Node("lamp-0042")
    registry.register_device(
        old.device, "weather", asset_id=lampposts[0].id, at_us=NOW_US - DAY_US, status=DeviceStatus.ACTIVE
    )
    with pytest.raises(ClaimRefused, match="no key is registered"):
        claim(registry, Node("lamp-0042"), authority, lampposts[0])  # anybody's label names it
    registry.identity.stage(old.label(authority), "weather", at_us=NOW_US)
    claim(registry, old, authority, lampposts[0])
    assert status(registry, old.device) == (DeviceStatus.ACTIVE, lampposts[0].id)
    assert registry.identity.enrol(old.csr(), authority, at_us=NOW_US).device == old.device


def test_the_log_tells_which_key_a_device_without_one_got_by_its_claim(
    registry: Registry, authority: Authority, lampposts: list[AssetRecord]
) -> None:
    node = Node("lamp-0043")
    registry.register_device(node.device, "weather", at_us=NOW_US - DAY_US)
    start = registry.audit_log.head().seq
    claim(registry, node, authority, lampposts[0])
    staged, opened = registry.audit_log.read(start)
    assert (staged.action, opened.action) == ("device.staged", "claim.opened")
    assert json.loads(staged.after or "") == {"key": pin_text(node.label(authority).key_pin)}
    assert staged.actor == ENGINEER.name


def test_each_wrong_scan_is_told_logged_and_changes_nothing_else(
    registry: Registry, authority: Authority, tmp_path: Path, lampposts: list[AssetRecord]
) -> None:
    elsewhere = city(tmp_path / "other city")
    made = {
        name: Node(f"lamp-{name}")
        for name in ("fresh", "stock", "retired", "asleep", "hung", "busy", "swapped", "stranger", "thief", "keyless")
    }
    book = registry.identity
    for name in ("fresh", "stock", "retired", "asleep", "hung", "busy", "swapped"):
        book.stage(made[name].label(authority), "weather", at_us=NOW_US)
    book.retire(made["retired"].device, at_us=NOW_US)
    for name, asset in (("asleep", lampposts[1]), ("hung", lampposts[2])):
        claim(registry, made[name], authority, asset)
        book.enrol(made[name].csr(), authority, at_us=NOW_US)
    book.suspend(made["asleep"].device, at_us=NOW_US)
    claim(registry, made["busy"], authority, lampposts[3])
    thief = made["thief"].label(authority)
    made["swapped"].spki_der = made["thief"].spki_der  # somebody else's sticker over the label
    book.stage(thief, "weather", at_us=NOW_US)
    registry.register_device(made["keyless"].device, "weather", at_us=NOW_US, status=DeviceStatus.ACTIVE)
    here, gone = lampposts[0].id, lampposts[-1].id
    wrong = [
        (ClaimReason.OTHER_CITY, made["fresh"].label(elsewhere), here, ENGINEER),
        (ClaimReason.UNKNOWN_DEVICE, made["stranger"].label(authority), here, ENGINEER),
        (ClaimReason.OTHER_KEY, made["swapped"].label(authority), here, ENGINEER),
        (ClaimReason.RETIRED, made["retired"].label(authority), here, ENGINEER),
        (ClaimReason.SUSPENDED, made["asleep"].label(authority), lampposts[1].id, ENGINEER),
        (ClaimReason.UNKNOWN_ASSET, made["fresh"].label(authority), 999_999, ENGINEER),
        (ClaimReason.ENDED_ASSET, made["fresh"].label(authority), gone, ENGINEER),
        (ClaimReason.HANGS_ELSEWHERE, made["hung"].label(authority), here, ENGINEER),
        (ClaimReason.IN_SERVICE, made["hung"].label(authority), lampposts[2].id, ENGINEER),
        (ClaimReason.NO_KEY, made["keyless"].label(authority), here, ENGINEER),
        (ClaimReason.WINDOW_OPEN, made["busy"].label(authority), lampposts[3].id, OTHER_ENGINEER),
        (ClaimReason.WINDOW_OPEN, made["busy"].label(authority), here, ENGINEER),
    ]
    assert {reason for reason, *_ in wrong} == set(ClaimReason) - {ClaimReason.NOT_OPEN}
    counts, devices, claims = registry.counts(), registry.devices("gm0402"), book.claims()
    for reason, label, asset_id, who in wrong:
        with pytest.raises(ClaimRefused) as told:
            book.open_claim(label, asset_id=asset_id, by=who, at_us=NOW_US + 1, authority=authority)
        assert (told.value.reason, told.value.device) == (reason, label.device)
        assert refused(registry) == ("claim.refused", reason.value)
    assert (registry.counts(), registry.devices("gm0402"), book.claims()) == (counts, devices, claims)


def test_another_municipalitys_lamppost_is_not_there(
    registry: Registry, authority: Authority, lampposts: list[AssetRecord]
) -> None:
    registry.ensure_tenant("gm0344")
    foreign = Node("lamp-0001", tenant="gm0344")
    registry.identity.stage(foreign.label(authority), "weather", at_us=NOW_US)
    with pytest.raises(ClaimRefused, match="no such lamppost"):
        claim(registry, foreign, authority, lampposts[0])


def test_a_label_of_before_a_roll_over_is_still_of_this_city(
    registry: Registry, authority: Authority, node: Node, lampposts: list[AssetRecord]
) -> None:
    old = node.label(authority)
    authority.roll_root(now_us=NOW_US)
    assert old.root_pin != authority.root_pin
    registry.identity.open_claim(old, asset_id=lampposts[0].id, by=ENGINEER, at_us=NOW_US, authority=authority)


@pytest.mark.parametrize("hours", [0, -1, CLAIM_HOURS_MAX + 0.01, float("nan")])
def test_a_claim_is_never_open_for_longer_than_a_day(
    registry: Registry, authority: Authority, node: Node, lampposts: list[AssetRecord], hours: float
) -> None:
    with pytest.raises(ValueError, match="at most 24 hours"):
        registry.identity.open_claim(
            node.label(authority), asset_id=lampposts[0].id, by=ENGINEER, at_us=NOW_US, hours=hours
        )


@pytest.mark.parametrize(
    "place", [(181, 0, 1), (0, 91, 1), (float("nan"), 0, 1), (0, float("inf"), 1), (0, 0, -1), (0, 0, float("nan"))]
)
def test_a_place_that_is_none_is_refused(place: tuple[float, float, float]) -> None:
    with pytest.raises(ValueError, match="position"):
        Position(*place)


def test_where_the_engineer_stood_is_forgotten_after_a_year_by_the_next_claim(
    registry: Registry, authority: Authority, node: Node, lampposts: list[AssetRecord]
) -> None:
    first = claim(registry, node, authority, lampposts[0])
    opened = registry.audit_log.read(limit=1, newest_first=True)[0]
    later = NOW_US + POSITION_RETENTION_US
    second = Node("lamp-0002")
    registry.identity.stage(second.label(authority), "weather", at_us=later)
    assert registry.identity.erase_positions(at_us=later) == 0
    claim(registry, second, authority, lampposts[1], later + 1)
    forgotten = registry.identity.claim(first.id)
    assert forgotten is not None
    assert forgotten.position is None
    assert registry.audit_log.read(opened.seq - 1, 1)[0].sensitive is None
    assert registry.audit_log.read(limit=1, newest_first=True)[0].action == "positions.erased"
    assert registry.audit_log.verify().is_whole


def test_a_replacement_hangs_in_the_same_place_and_the_history_goes_on(
    registry: Registry, authority: Authority, node: Node, lampposts: list[AssetRecord]
) -> None:
    asset = lampposts[0]
    beside = registry.register_device(DeviceId("gm0402", "lamp-beside"), "weather", asset_id=asset.id, at_us=NOW_US)
    claim(registry, node, authority, asset)
    registry.identity.enrol(node.csr(), authority, at_us=NOW_US)
    series = [one.id for one in registry.datastreams_of(asset.id)]
    fresh = Node("lamp-0002")
    registry.identity.stage(fresh.label(authority), "weather", at_us=NOW_US)
    opened = registry.identity.replace(
        node.device, fresh.label(authority), by=ENGINEER, at_us=NOW_US + 1, authority=authority
    )
    assert (opened.device, opened.asset_id) == (fresh.device, asset.id)
    assert status(registry, node.device) == (DeviceStatus.RETIRED, None)
    assert status(registry, fresh.device) == (DeviceStatus.CLAIMED, asset.id)
    assert [one.id for one in registry.datastreams_of(asset.id)] == series
    fed = {one.device_name for one in registry.datastreams_of(asset.id) if one.id not in beside.datastream_ids}
    assert fed == {"lamp-0002"}
    assert [one.revoked_for for one in registry.identity.certificates(node.device)] == [
        RevocationReason.CESSATION_OF_OPERATION
    ]
    assert registry.identity.enrol(fresh.csr(), authority, at_us=NOW_US + 2).device == fresh.device


def test_a_replacement_that_is_refused_leaves_the_old_one_in_service(
    registry: Registry, authority: Authority, node: Node, tmp_path: Path, lampposts: list[AssetRecord]
) -> None:
    claim(registry, node, authority, lampposts[0])
    registry.identity.enrol(node.csr(), authority, at_us=NOW_US)
    fresh, hung = Node("lamp-0002"), Node("lamp-0003")
    for one in (fresh, hung):
        registry.identity.stage(one.label(authority), "weather", at_us=NOW_US)
    claim(registry, hung, authority, lampposts[1])
    book = registry.identity
    foreign = fresh.label(city(tmp_path / "other city"))
    with pytest.raises(ClaimRefused, match="of another city"):
        book.replace(node.device, foreign, by=ENGINEER, at_us=NOW_US + 1, authority=authority)
    with pytest.raises(ClaimRefused, match="not staged"):
        book.replace(node.device, Node("lamp-0009").label(authority), by=ENGINEER, at_us=NOW_US + 1)
    with pytest.raises(ConflictError, match="is claimed; replace by one that is in stock"):
        book.replace(node.device, hung.label(authority), by=ENGINEER, at_us=NOW_US + 1)
    with pytest.raises(ConflictError, match="hangs on no asset"):
        book.replace(fresh.device, hung.label(authority), by=ENGINEER, at_us=NOW_US + 1)
    with pytest.raises(UnknownRecordError, match="not in the register"):
        book.replace(DeviceId("gm0402", "nobody"), fresh.label(authority), by=ENGINEER, at_us=NOW_US + 1)
    assert status(registry, node.device) == (DeviceStatus.ACTIVE, lampposts[0].id)
    assert book.certificates(node.device)[0].revoked_at_us is None


def test_every_reason_has_a_sentence_and_stands_in_the_reference() -> None:
    assert set(CLAIM_SENTENCES) == set(ClaimReason)
    page = (Path(__file__).parents[2] / "docs/reference/claim.md").read_text()
    assert [one.value for one in ClaimReason if f"`{one.value}`" not in page] == []
