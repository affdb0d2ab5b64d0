"""Devices come and go, the asset's history stays; and every refused change changes nothing."""

import pytest

from lichtmast.registry import (
    AssetRecord,
    ConflictError,
    DeviceStatus,
    NewDevice,
    Registry,
    UnknownRecordError,
)
from lichtmast.registry.limits import DEVICES_PER_ASSET_MAX
from lichtmast.wire.identity import DeviceId
from lichtmast.wire.profile import load_profiles

OLD = DeviceId("gm0402", "lm-old")
NEW = DeviceId("gm0402", "lm-new")
WEATHER_SERIES = len(load_profiles()["weather"].uplinks)


def test_device_on_an_asset_gets_one_series_for_each_uplink(registry: Registry, lampposts: list[AssetRecord]) -> None:
    answer = registry.register_device(OLD, "weather", asset_id=lampposts[0].id, at_us=1)
    series = registry.datastreams_of(lampposts[0].id)
    assert answer.created
    assert answer.status is DeviceStatus.REGISTERED
    assert list(answer.datastream_ids) == [one.id for one in series]
    assert [one.suffix for one in load_profiles()["weather"].uplinks] == [one.suffix for one in series]
    assert {one.device_name for one in series} == {"lm-old"}


def test_registering_again_changes_nothing(registry: Registry, lampposts: list[AssetRecord]) -> None:
    first = registry.register_device(OLD, "weather", asset_id=lampposts[0].id, at_us=1)
    before = registry.revision()
    again = registry.register_device(OLD, "weather", asset_id=lampposts[0].id, at_us=2)
    assert not again.created
    assert again.datastream_ids == first.datastream_ids
    assert registry.revision() == before


def test_device_without_an_asset_has_series_of_its_own(registry: Registry) -> None:
    answer = registry.register_device(OLD, "noise", at_us=1)
    assert len(answer.datastream_ids) == len(load_profiles()["noise"].uplinks)
    assert registry.datastreams() == []
    own = registry.datastreams(on_assets_only=False)
    assert [(one.asset_id, one.device_name) for one in own] == [(None, "lm-old")] * len(own)
    assert own[0].name.startswith("lm-old: ")


def test_replacement_continues_the_assets_series(registry: Registry, lampposts: list[AssetRecord]) -> None:
    before = registry.register_device(OLD, "weather", asset_id=lampposts[0].id, at_us=10)
    after = registry.replace_device(OLD, NEW, at_us=20)
    assert after.datastream_ids == before.datastream_ids
    assert after.status is DeviceStatus.ACTIVE
    old = registry.device(OLD)
    assert old is not None
    assert (old.status, old.asset_id) == (DeviceStatus.RETIRED, None)
    history = [(one.device.device, one.from_us, one.to_us) for one in registry.deployments_of(lampposts[0].id)]
    assert history == [("lm-old", 10, 20), ("lm-new", 20, None)]
    assert {one.device_name for one in registry.datastreams_of(lampposts[0].id)} == {"lm-new"}
    assert registry.counts().datastreams == WEATHER_SERIES


def test_replacement_from_stock_takes_over_the_series_and_keeps_none_of_its_own_in_use(
    registry: Registry, lampposts: list[AssetRecord]
) -> None:
    before = registry.register_device(OLD, "weather", asset_id=lampposts[0].id, at_us=10)
    registry.register_device(NEW, "weather", at_us=11)
    assert registry.replace_device(OLD, NEW, at_us=20).datastream_ids == before.datastream_ids
    assert registry.directory().entries["gm0402/lm-new"].datastream_ids == before.datastream_ids


def test_replacement_takes_the_same_position_though_a_lower_one_is_free(
    registry: Registry, lampposts: list[AssetRecord]
) -> None:
    first = registry.register_device(OLD, "parking", asset_id=lampposts[0].id, at_us=10)
    beside = DeviceId("gm0402", "lm-beside")
    second = registry.register_device(beside, "parking", asset_id=lampposts[0].id, at_us=10)
    assert not set(first.datastream_ids) & set(second.datastream_ids)
    registry.set_device_status(OLD, DeviceStatus.RETIRED, at_us=15)
    assert registry.replace_device(beside, NEW, at_us=20).datastream_ids == second.datastream_ids
    assert any(one.name.endswith("(2)") for one in registry.datastreams_of(lampposts[0].id))


def test_replacement_of_another_model_gets_other_series(registry: Registry, lampposts: list[AssetRecord]) -> None:
    before = registry.register_device(OLD, "weather", asset_id=lampposts[0].id, at_us=10)
    after = registry.replace_device(OLD, NEW, at_us=20, profile_key="noise")
    assert not set(before.datastream_ids) & set(after.datastream_ids)


def test_device_that_returns_to_an_asset_finds_its_series_again(
    registry: Registry, lampposts: list[AssetRecord]
) -> None:
    here, there = lampposts[0].id, lampposts[1].id
    first = registry.register_device(OLD, "weather", asset_id=here, at_us=1)
    moved = registry.deploy_device(OLD, there, at_us=2)
    stored_away = registry.deploy_device(OLD, None, at_us=3)
    back = registry.deploy_device(OLD, here, at_us=4)
    assert back.datastream_ids == first.datastream_ids
    assert len({first.datastream_ids, moved.datastream_ids, stored_away.datastream_ids}) == 3
    assert all(len(one.datastream_ids) == WEATHER_SERIES for one in (moved, stored_away))


def test_deploying_where_it_hangs_already_changes_nothing(registry: Registry, lampposts: list[AssetRecord]) -> None:
    registry.register_device(OLD, "weather", asset_id=lampposts[0].id, at_us=1)
    before = registry.revision()
    registry.deploy_device(OLD, lampposts[0].id, at_us=2)
    assert registry.revision() == before


def test_bulk_registration_is_all_or_nothing(registry: Registry, lampposts: list[AssetRecord]) -> None:
    before = registry.counts()
    wanted = [
        NewDevice(OLD, "weather", lampposts[0].id),
        NewDevice(NEW, "weather", lampposts[-1].id),  # has ended
    ]
    with pytest.raises(ConflictError, match="has ended"):
        registry.register_devices(wanted, at_us=1)
    assert registry.counts() == before


def test_bulk_answers_come_in_the_order_asked(registry: Registry) -> None:
    wanted = [NewDevice(DeviceId("gm0402", f"lm-{9 - number}00"), "noise") for number in range(9)]
    assert [one.device for one in registry.register_devices(wanted, at_us=1)] == [one.device for one in wanted]
    assert registry.register_devices([], at_us=1) == []


def test_unknown_tenant_profile_asset_and_device_are_named(registry: Registry, lampposts: list[AssetRecord]) -> None:
    registry.ensure_tenant("gm0344")
    utrecht = DeviceId("gm0344", "lm-0001")
    for wanted, name in (
        (NewDevice(DeviceId("gm9999", "lm-0001"), "weather"), "gm9999"),
        (NewDevice(OLD, "toaster"), "toaster"),
        (NewDevice(OLD, "weather", 999_999), "999999"),
        (NewDevice(utrecht, "weather", lampposts[0].id), "gm0344"),  # another tenant's lamppost
    ):
        with pytest.raises(UnknownRecordError, match=name):
            registry.register_devices([wanted], at_us=1)
    with pytest.raises(UnknownRecordError, match="lm-old"):
        registry.set_device_status(OLD, DeviceStatus.ACTIVE, at_us=1)
    with pytest.raises(UnknownRecordError, match="lm-old"):
        registry.replace_device(OLD, NEW, at_us=1)
    assert registry.counts().devices == 0


def test_contradictions_are_refused(registry: Registry, lampposts: list[AssetRecord]) -> None:
    registry.register_device(OLD, "weather", asset_id=lampposts[0].id, at_us=10)
    registry.register_device(NEW, "weather", asset_id=lampposts[1].id, at_us=10)
    before = registry.revision()
    with pytest.raises(ConflictError, match="already and it is registered as weather; choose another name"):
        registry.register_device(OLD, "noise", asset_id=lampposts[0].id, at_us=11)
    with pytest.raises(ConflictError, match="already and it hangs on another asset; choose another name"):
        registry.register_device(OLD, "weather", asset_id=lampposts[1].id, at_us=11)
    with pytest.raises(ConflictError, match="twice"):
        registry.register_devices([NewDevice(OLD, "weather"), NewDevice(OLD, "weather")], at_us=11)
    with pytest.raises(ConflictError, match="hangs elsewhere"):
        registry.replace_device(OLD, NEW, at_us=11)
    with pytest.raises(ConflictError, match="itself"):
        registry.replace_device(OLD, OLD, at_us=11)
    with pytest.raises(ConflictError, match="before"):
        registry.deploy_device(OLD, None, at_us=9)
    assert registry.revision() == before


def test_retired_is_final_and_takes_the_device_off_its_asset(registry: Registry, lampposts: list[AssetRecord]) -> None:
    registry.register_device(OLD, "weather", asset_id=lampposts[0].id, at_us=1)
    registry.set_device_status(OLD, DeviceStatus.RETIRED, at_us=2)
    assert [one.to_us for one in registry.deployments_of(lampposts[0].id)] == [2]
    with pytest.raises(ConflictError, match="final"):
        registry.set_device_status(OLD, DeviceStatus.ACTIVE, at_us=3)
    with pytest.raises(ConflictError, match="retired"):
        registry.deploy_device(OLD, lampposts[0].id, at_us=3)
    with pytest.raises(ConflictError, match="no asset"):
        registry.replace_device(OLD, NEW, at_us=3)


def test_setting_the_same_status_changes_nothing(registry: Registry) -> None:
    registry.register_device(OLD, "weather", at_us=1, status=DeviceStatus.ACTIVE)
    before = registry.revision()
    registry.set_device_status(OLD, DeviceStatus.ACTIVE, at_us=2)
    assert registry.revision() == before
    registry.set_device_status(OLD, DeviceStatus.SUSPENDED, at_us=2)
    assert registry.revision() == before + 1


def test_one_asset_carries_a_bounded_number_of_devices_of_one_profile(
    registry: Registry, lampposts: list[AssetRecord]
) -> None:
    asset_id = lampposts[0].id
    wanted = [NewDevice(DeviceId("gm0402", f"p-{n:04d}"), "parking", asset_id) for n in range(DEVICES_PER_ASSET_MAX)]
    answers = registry.register_devices(wanted, at_us=1)
    every = [series for one in answers for series in one.datastream_ids]
    assert len(every) == len(set(every))
    with pytest.raises(ConflictError, match="carries"):
        registry.register_device(NEW, "parking", asset_id=asset_id, at_us=1)


def test_devices_are_paged_by_id(registry: Registry) -> None:
    registry.ensure_tenant("gm0344")
    registry.register_devices(
        [NewDevice(DeviceId(code, f"lm-{n:04d}"), "noise") for code in ("gm0402", "gm0344") for n in range(3)], at_us=5
    )
    first = registry.devices("gm0402", limit=2)
    rest = registry.devices("gm0402", after_id=first[-1].id)
    assert [one.device.device for one in first + rest] == ["lm-0000", "lm-0001", "lm-0002"]
    assert {(one.profile, one.registered_at_us) for one in first} == {("noise", 5)}
    assert registry.device(DeviceId("gm0402", "lm-9999")) is None
