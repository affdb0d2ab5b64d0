"""A unit that the rules accept is converted exactly, flagged, and only then judged; any other is still refused."""

import json
from typing import Any

import ingest_town as town
import pytest
from transform_bench import Bench, outcomes, reasons

from lichtmast.ingest.pipeline.roster import Roster
from lichtmast.ingest.pipeline.transform import Settled
from lichtmast.registry import DeviceEntry, DeviceStatus, Directory
from lichtmast.store.port import Outcome
from lichtmast.wire import DeviceId, Quality, load_profiles
from lichtmast.wire.validation import parse_rules

LAMP = load_profiles()["lamp-controller"]
CONVERTED = Quality.UNIT_CONVERTED | Quality.UNIT_NOT_RECOMMENDED  # the registry advises against %
PERCENT = {"profile": {"lamp-controller": {"level": {"accepts": [{"unit": "%", "scale": 0.01}]}}}}


def _roster(document: dict[str, Any]) -> Roster:
    """Two lamps; the datastreams of the first begin at 1, of the second at 101."""
    devices = [DeviceId("gm0402", "lamp-1"), DeviceId("gm0402", "lamp-2")]
    entries = {
        str(one): DeviceEntry(row, one, DeviceStatus.ACTIVE, LAMP.key, None, _series(100 * row))
        for row, one in enumerate(devices)
    }
    return Roster.build(Directory(1, entries, (), parse_rules(document, 1)), load_profiles())


def _series(before: int) -> tuple[int, ...]:
    return tuple(range(before + 1, before + 1 + len(LAMP.uplinks)))


def _pack(value: object, unit: str = "%", seq: int = 1, name: str = "lamp-1", field: str = "v") -> tuple[str, bytes]:
    first = {"bn": f"urn:dev:lm:gm0402:{name}", "bt": town.NOW_US / 1e6, "lm-epoch": 1, "lm-seq": seq}
    records = [first | {"n": "/lamp/0/level", "u": unit, field: value}, {"n": "/lamp/0/power", "u": "W", "v": 20}]
    return name, json.dumps(records, separators=(",", ":")).encode()


def _levels(settled: Settled) -> list[tuple[float, int]]:
    rows = settled.batch.observations.to_pylist()
    return [(one["result"], one["quality"]) for one in rows if one["datastream_id"] % 100 == 1]


def test_percent_becomes_a_ratio_and_the_rest_of_the_pack_is_as_it_was() -> None:
    settled = Bench(_roster(PERCENT)).feed(_pack(58), _pack(0.58, "/", 2))
    assert outcomes(settled) == [Outcome.STORED, Outcome.STORED]
    assert sorted(_levels(settled)) == [(0.58, 0), (0.58, CONVERTED)]
    assert [(one["result"], one["quality"]) for one in settled.batch.observations.to_pylist()].count((20.0, 0)) == 2


@pytest.mark.parametrize(("percent", "flags"), [(100, 0), (101, Quality.OUT_OF_RANGE), (-1, Quality.OUT_OF_RANGE)])
def test_the_range_is_judged_after_the_conversion(percent: int, flags: int) -> None:
    assert _levels(Bench(_roster(PERCENT)).feed(_pack(percent))) == [(percent / 100, CONVERTED | flags)]


def test_a_unit_that_no_rule_accepts_goes_to_quarantine() -> None:
    assert reasons(Bench(_roster({})).feed(_pack(58))) == ["wrong_unit"]
    assert reasons(Bench(_roster(PERCENT)).feed(_pack(58, "%RH"))) == ["wrong_unit"]


def test_what_is_no_number_or_becomes_none_goes_to_quarantine() -> None:
    kilo = {"profile": {"lamp-controller": {"level": {"accepts": [{"unit": "%", "scale": 1000}]}}}}
    assert reasons(Bench(_roster(PERCENT)).feed(_pack("full", field="vs"))) == ["wrong_type"]
    assert reasons(Bench(_roster(kilo)).feed(_pack(1e308))) == ["bad_value"]


def test_a_datastream_may_accept_a_unit_that_its_fellows_do_not() -> None:
    settled = Bench(_roster({"datastream": {"101": PERCENT["profile"]["lamp-controller"]["level"]}})).feed(
        _pack(58), _pack(58, name="lamp-2")
    )
    assert outcomes(settled) == [Outcome.QUARANTINED, Outcome.STORED]


def test_new_rules_hold_for_the_next_pack_without_a_restart() -> None:
    bench = Bench(_roster({}))
    assert outcomes(bench.feed(_pack(58))) == [Outcome.QUARANTINED]
    bench.transform.renew(_roster(PERCENT))
    assert _levels(bench.feed(_pack(58, seq=2))) == [(0.58, CONVERTED)]
