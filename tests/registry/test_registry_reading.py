"""Pages are stable, searches are literal, and every series explains itself."""

from datetime import date

import pytest

from lichtmast.registry import AssetRecord, Registry, __all__
from lichtmast.registry.limits import PAGE_RECORDS_MAX
from lichtmast.wire.identity import DeviceId
from lichtmast.wire.profile import load_profiles


def test_exported_names_are_a_promise() -> None:
    assert sorted(__all__) == [
        "AssetRecord",
        "AssetSource",
        "AssetVersionRecord",
        "ConflictError",
        "Counts",
        "DatastreamRecord",
        "DeploymentRecord",
        "DeviceEntry",
        "DeviceRecord",
        "DeviceStatus",
        "Directory",
        "ImportReport",
        "ImportRunRecord",
        "NewDevice",
        "ObservedPropertyRecord",
        "Problem",
        "Reason",
        "RegisteredDevice",
        "Registry",
        "RegistryBusyError",
        "RegistryError",
        "RegistryUnavailableError",
        "SOURCE_KINDS",
        "SensorRecord",
        "Severity",
        "SourceUnreadableError",
        "TenantRecord",
        "UnknownRecordError",
        "import_source",
    ]


def test_pages_go_through_all_lampposts_once_in_both_directions(
    registry: Registry, lampposts: list[AssetRecord]
) -> None:
    up: list[AssetRecord] = []
    while page := registry.things(after_id=up[-1].id if up else 0, limit=2, active_only=False):
        up += page
    down: list[AssetRecord] = []
    while page := registry.things(after_id=down[-1].id if down else 0, limit=2, active_only=False, descending=True):
        down += page
    assert up == down[::-1] == lampposts
    assert registry.things(limit=2, offset=1, active_only=False) == lampposts[1:3]


def test_ended_lampposts_are_shown_only_when_asked_for(registry: Registry, lampposts: list[AssetRecord]) -> None:
    assert len(registry.things()) == registry.count_things() == 4
    assert registry.count_things(active_only=False) == 5
    ended = registry.thing(lampposts[-1].id)
    assert ended is not None
    assert (ended.active, ended.valid_to) == (False, date(2020, 1, 31))


@pytest.mark.parametrize(
    ("search", "found"),
    [("kerkstraat", 4), ("Lichtmast 3", 1), ("mast:Kerkstraat/2", 1), ("%", 0), ("_", 0), ("'", 0), ("", 4)],
)
def test_search_takes_every_character_literally(
    registry: Registry, lampposts: list[AssetRecord], search: str, found: int
) -> None:
    assert lampposts
    assert len(registry.things(search=search)) == registry.count_things(search=search) == found


def test_tenants_do_not_see_each_others_lampposts(registry: Registry, lampposts: list[AssetRecord]) -> None:
    registry.ensure_tenant("gm0344")
    assert registry.things("gm0344") == []
    assert registry.thing_by_source_id("gm0344", lampposts[0].source_id) is None
    assert registry.thing_by_source_id("gm0402", lampposts[0].source_id) == lampposts[0]


@pytest.mark.parametrize(("limit", "offset"), [(0, 0), (-1, 0), (PAGE_RECORDS_MAX + 1, 0), (1, -1)])
def test_impossible_pages_are_refused(registry: Registry, limit: int, offset: int) -> None:
    with pytest.raises(ValueError, match="limit"):
        registry.things(limit=limit, offset=offset)


def test_largest_page_is_accepted(registry: Registry) -> None:
    assert registry.things(limit=PAGE_RECORDS_MAX) == []
    assert registry.datastreams(limit=PAGE_RECORDS_MAX) == []


def test_series_explains_itself(registry: Registry, lampposts: list[AssetRecord]) -> None:
    answer = registry.register_device(DeviceId("gm0402", "lm-0001"), "weather", asset_id=lampposts[0].id, at_us=1)
    uplinks = load_profiles()["weather"].uplinks
    for id_, uplink in zip(answer.datastream_ids, uplinks, strict=True):
        series = registry.datastream(id_)
        assert series is not None
        seen = registry.observed_property(series.observed_property_id)
        sensor = registry.sensor(series.sensor_id)
        assert seen is not None
        assert sensor is not None
        assert series.name == f"Lichtmast 1 Kerkstraat: {uplink.quantity}"
        assert (series.unit, series.minimum, series.maximum) == (uplink.unit, uplink.minimum, uplink.maximum)
        assert (series.unit_name is None) == (uplink.unit is None)
        assert (series.capability, series.suffix, series.tenant) == (uplink.key, uplink.suffix, "gm0402")
        assert (seen.name, seen.definition) == (uplink.quantity, uplink.definition)
        assert (sensor.profile, sensor.name) == ("weather", load_profiles()["weather"].title)


def test_series_are_found_by_thing_sensor_and_property(registry: Registry, lampposts: list[AssetRecord]) -> None:
    registry.register_device(DeviceId("gm0402", "lm-0001"), "weather", asset_id=lampposts[0].id, at_us=1)
    registry.register_device(DeviceId("gm0402", "lm-0002"), "noise", asset_id=lampposts[1].id, at_us=1)
    both = registry.datastreams_of_many([lampposts[0].id, lampposts[1].id, lampposts[2].id])
    assert [len(both[lamppost.id]) for lamppost in lampposts[:3]] == [
        len(load_profiles()["weather"].uplinks),
        len(load_profiles()["noise"].uplinks),
        0,
    ]
    weather = both[lampposts[0].id]
    assert registry.datastreams_where(sensor_id=weather[0].sensor_id) == weather
    only = registry.datastreams_where(observed_property_id=weather[0].observed_property_id)
    assert weather[0] in only
    assert registry.datastreams(after_id=weather[-1].id) == both[lampposts[1].id]
    assert registry.datastreams(limit=1, descending=True) == both[lampposts[1].id][-1:]


def test_absent_ids_are_none_not_errors(registry: Registry) -> None:
    for id_ in (0, -1, 2**31 - 1, 2**63 - 1):
        assert registry.thing(id_) is None
        assert registry.datastream(id_) is None
        assert registry.sensor(id_) is None
        assert registry.observed_property(id_) is None
        assert registry.datastreams_of(id_) == []


def test_counts_add_up(registry: Registry, lampposts: list[AssetRecord]) -> None:
    registry.register_device(DeviceId("gm0402", "lm-0001"), "weather", asset_id=lampposts[0].id, at_us=1)
    registry.register_device(DeviceId("gm0402", "lm-0002"), "noise", at_us=1)
    counts = registry.counts()
    weather, noise = (len(load_profiles()[key].uplinks) for key in ("weather", "noise"))
    assert (counts.tenants, counts.assets, counts.assets_active) == (1, 5, 4)
    assert (counts.devices, counts.devices_active) == (2, 0)
    assert (counts.datastreams, counts.datastreams_on_assets) == (weather + noise, weather)
    assert counts.sensors == len(load_profiles())
    assert counts.revision == registry.revision()
