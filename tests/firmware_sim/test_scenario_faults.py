"""Faults are in what a device says, exactly where the labels say they are, and nowhere else."""

import dataclasses
import math
from collections import Counter
from itertools import pairwise

import pytest

from lichtmast.firmware_sim.device import DeviceSpec, Transport
from lichtmast.firmware_sim.happenings import Kind
from lichtmast.firmware_sim.instrument import Label
from lichtmast.firmware_sim.scenario import FaultKind, Said, Scenario, ScenarioError, cast_scenario, simulate
from lichtmast.firmware_sim.scenario.parts import Area, Event, Fault, Mix
from lichtmast.wire import senml
from lichtmast.wire.profile import ResultKind, load_profiles
from lichtmast.wire.refusal import PackError

START_S = 1_795_000_000
START_US = START_S * 1_000_000
POLES = [(f"mast-{number}", 5.17 + number / 1_000, 52.22) for number in range(10)]


def town(*faults: Fault, devices: int = 4, profile: str = "noise", events: tuple[Event, ...] = ()) -> Scenario:
    mix = (Mix(profile, 1.0, transport=Transport.MQTT, content_format=110),)
    return Scenario(seed=5, devices=devices, interval_s=60, mix=mix, faults=faults, events=events)


def said_by(scenario: Scenario, hours: float = 2.0) -> list[Said]:
    return list(simulate(cast_scenario(scenario, POLES, START_US), hours * 3_600))


Key = tuple[str, int, str]


def readings(said: list[Said]) -> dict[Key, tuple[float, int]]:
    """Every reading that can be decoded: value and time by device, number and suffix."""
    found: dict[Key, tuple[float, int]] = {}
    for one in said:
        try:
            pack = senml.decode(one.payload, senml.sniff(one.payload), one.at_us)
        except PackError:
            continue
        for record in pack.records:
            assert pack.seq is not None
            suffix = "/" + record.name.split("/", 1)[1]
            found[str(one.spec.device), pack.seq, suffix] = (record.value, record.time_us)  # type: ignore[assignment]
    return found


def labels(said: list[Said]) -> list[Label]:
    return [label for one in said for label in one.labels]


@pytest.mark.slow
@pytest.mark.parametrize("kind", [FaultKind.DRIFT, FaultKind.STUCK, FaultKind.SPIKE, FaultKind.WRONG_UNIT])
@pytest.mark.parametrize("profile", ["noise", "weather", "lamp-controller"])
def test_exactly_the_labelled_readings_differ_from_the_sound_town(kind: FaultKind, profile: str) -> None:
    fault = Fault(kind, profile=profile, share=0.5, start_s=1_800, duration_s=3_600)
    sound, faulty = said_by(town(profile=profile)), said_by(town(fault, profile=profile))
    before, after = readings(sound), readings(faulty)
    assert before.keys() == after.keys()
    changed = {key for key in before if before[key] != after[key]}
    told = {(str(one.device), one.seq, one.suffix): one for one in labels(faulty)}
    assert set(told) == changed
    assert changed, "the fault did not bite"
    assert len({device for device, _, _ in changed}) == 2, "half of four"
    for key, label in told.items():
        assert (label.true, label.true_us) == before[key]  # type: ignore[index]
        assert (label.sent, label.sent_us) == after[key]  # type: ignore[index]
        assert label.fault == kind.value
        assert START_US + 1_800 * 10**6 <= label.true_us < START_US + 5_400 * 10**6
    numbers = {one.suffix for one in load_profiles()[profile].uplinks if one.kind is ResultKind.NUMBER}
    assert {suffix for _, _, suffix in changed} <= numbers


def only(
    kind: FaultKind, *, channel: str = "", clock: str = "offset", duration_s: float = math.inf, **knobs: float
) -> Fault:
    """A fault of one device from half an hour on."""
    return Fault(
        kind,
        devices=("noise-00002",),
        channel=channel,
        start_s=1_800,
        duration_s=duration_s,
        clock=clock,
        knobs=knobs,
    )


def test_a_drift_grows_with_time_and_only_on_its_channel() -> None:
    said = said_by(town(only(FaultKind.DRIFT, channel="level", range_share_per_h=0.1)))
    assert {one.suffix for one in labels(said)} == {"/noise/0/level"}
    errors = [(one.true_us, float(one.sent) - float(one.true)) for one in labels(said)]  # type: ignore[arg-type]
    for at_us, error in errors:
        assert error == pytest.approx(0.1 * 130 * (at_us - START_US - 1_800 * 10**6) / 3.6e9, abs=0.11)
    assert errors[-1][1] > 15


def test_a_stuck_value_is_that_of_the_moment_it_stuck() -> None:
    cast = cast_scenario(town(only(FaultKind.STUCK, channel="level")), POLES, START_US)
    said = list(simulate(cast, 7_200))
    sound = cast.instrument(dataclasses.replace(cast.roles[1], spoilers=()))
    stuck_us = START_US + 1_800 * 10**6
    assert {one.sent for one in labels(said)} == {sound.measure(stuck_us, 0, 0).readings[0].value}
    assert len({one.true for one in labels(said)}) > 10


@pytest.mark.slow
def test_spikes_come_as_often_as_their_chance_and_go_both_ways() -> None:
    said = said_by(town(only(FaultKind.SPIKE, channel="level", chance=0.3)), hours=12)
    jumps = [float(one.sent) - float(one.true) for one in labels(said)]  # type: ignore[arg-type]
    assert {round(abs(jump)) for jump in jumps} == {65}
    assert 150 < len(jumps) < 260, "0.3 of 690"
    assert 0.3 < sum(jump > 0 for jump in jumps) / len(jumps) < 0.7


@pytest.mark.parametrize(
    ("clock", "expected"),
    [("offset", {7_200}), ("jump", {7_200}), ("1970", None)],
)
def test_a_wrong_clock_moves_the_time_in_the_pack(clock: str, expected: set[int] | None) -> None:
    fault = only(FaultKind.WRONG_CLOCK, clock=clock, offset_s=7_200.0, jump_every_s=900.0)
    said = said_by(town(fault))
    told = labels(said)
    after = readings(said)
    for one in told:
        assert one.suffix is None, "the whole pack"
        assert one.seq is not None
        key = (str(one.device), one.seq, "/noise/0/level")
        assert after.get(key, (0, one.sent_us))[1] == one.sent_us
        assert (key in after) is (clock != "1970"), "a decoder refuses a time from before there were such devices"
    away = {(one.sent_us - one.true_us) // 10**6 for one in told}
    if expected is None:
        assert all(0 <= one.sent_us - 2**28 * 10**6 < 7_200 * 10**6 for one in told), "it begins again"
    else:
        assert away == expected
    assert len(told) == (45 if clock == "jump" else 90)


def test_a_reboot_loop_silences_the_device_while_it_starts_and_goes_on_counting() -> None:
    said = said_by(town(only(FaultKind.REBOOT_LOOP, every_s=600.0, boot_s=180.0)))
    own = [one for one in said if one.spec.device.device == "noise-00002"]
    assert [one.seq for one in own] == list(range(1, len(own) + 1)), "the same epoch goes on"
    gaps = [after.at_us - before.at_us for before, after in pairwise(own)]
    assert Counter(gap // 10**6 for gap in gaps)[240] >= 8
    assert len(own) == 120 - 9 * 3


def test_a_duplicate_is_sent_again_with_the_same_number() -> None:
    said = said_by(town(only(FaultKind.DUPLICATE, copies=3)))
    own = [one for one in said if one.spec.device.device == "noise-00002"]
    assert Counter(Counter(one.payload for one in own).values()) == {1: 30, 3: 90}
    assert len(labels(said)) == 90, "a pack is labelled once"


@pytest.mark.slow
def test_a_flood_speaks_at_its_rate() -> None:
    said = said_by(town(only(FaultKind.FLOOD, packs_per_s=2.0, duration_s=600.0)))
    own = [one for one in said if one.spec.device.device == "noise-00002"]
    assert 9 * 120 < len(labels(said)) <= 10 * 120, "ten minutes, two a second"
    assert len(own) == 120 - 10 + len(labels(said))
    times = [value[1] for key, value in readings(own).items() if key[2] == "/noise/0/level"]
    assert len(set(times)) == len(times)


def test_hostile_packs_are_labelled_with_and_without_a_number() -> None:
    said = said_by(town(only(FaultKind.HOSTILE, chance=0.5)))
    told = labels(said)
    assert {one.fault for one in told} == {"hostile"}
    assert 25 < len(told) < 65, "half of 90"
    assert any(one.seq is None for one in told)
    numbers = [one.seq for one in said if one.spec.device.device == "noise-00002" and one.seq is not None]
    assert numbers == list(range(1, len(numbers) + 1))


@pytest.mark.slow
def test_vandals_silence_a_device_and_tip_a_container() -> None:
    event = Event(Kind.VANDALISM, Area(assets=frozenset({"mast-3"})), 600, 3_600)
    mix = (Mix("noise", 0.5), Mix("filling-level", 0.5))
    scenario = Scenario(seed=5, devices=20, interval_s=60, mix=mix, events=(event,))
    cast = cast_scenario(scenario, POLES, START_US)
    said = list(simulate(cast, 7_200))
    spoken = Counter(str(one.spec.device) for one in said)
    struck = [one.spec for one in cast.roles if one.spec.asset == "mast-3"]
    assert {one.profile for one in struck} == {"noise", "filling-level"}
    for spec in struck:
        assert spoken[str(spec.device)] == (60 if spec.profile == "noise" else 120)
    assert set(spoken.values()) == {60, 120}
    (told,) = cast.truth()
    assert told["silent"] == [str(one.device) for one in struck if one.profile == "noise"]
    (container,) = [one for one in struck if one.profile == "filling-level"]
    tilted = [
        bool(record.value)
        for one in said
        if one.spec == container
        for record in senml.decode(one.payload, senml.sniff(one.payload), one.at_us).records
        if record.name.endswith("/tilted")
    ]
    assert sum(tilted) >= 60


def test_faults_of_one_device_add_up() -> None:
    both = (only(FaultKind.WRONG_UNIT, channel="level"), only(FaultKind.DUPLICATE))
    told = Counter(one.fault for one in labels(said_by(town(*both))))
    assert told == {"wrong_unit": 90, "duplicate": 90}


@pytest.mark.parametrize(
    ("fault", "message"),
    [
        (Fault(FaultKind.STUCK, devices=("noise-00099",)), "number 1: no device 'noise-00099' in this town"),
        (Fault(FaultKind.STUCK, profile="weather"), "number 1: no device in this town that it could strike"),
        (Fault(FaultKind.STUCK, devices=("noise-00001",), channel="rain"), "has no number 'rain'; it has level"),
    ],
)
def test_a_fault_that_strikes_nobody_is_refused(fault: Fault, message: str) -> None:
    with pytest.raises(ScenarioError, match=message):
        cast_scenario(town(fault), POLES, START_US)


def test_an_event_at_an_asset_that_is_not_there_is_refused() -> None:
    event = Event(Kind.FLOOD, Area(assets=frozenset({"mast-99"})), 0, 60)
    with pytest.raises(ScenarioError, match="number 1: no asset 'mast-99'"):
        cast_scenario(town(events=(event,)), POLES, START_US)
    with pytest.raises(ScenarioError, match="no asset to hang a device on"):
        cast_scenario(town(), [], START_US)


def test_a_fault_of_a_real_agent_is_refused() -> None:
    mix = (Mix("noise", 1.0, is_agent=True),)
    scenario = Scenario(devices=1, mix=mix, faults=(Fault(FaultKind.STUCK),))
    with pytest.raises(ScenarioError, match="is a real agent"):
        cast_scenario(scenario, POLES, START_US)


@pytest.mark.slow
def test_the_same_town_says_the_same_bytes_and_another_seed_others() -> None:
    faults = [only(kind, duration_s=600.0) for kind in FaultKind]
    first, again = (said_by(town(*faults)) for _ in range(2))
    assert {one.fault for one in labels(first)} >= {"hostile", "flood", "duplicate", "wrong_clock", "drift"}
    same = first == again  # apart, so that a failure does not print both
    assert same
    other = dataclasses.replace(town(*faults), seed=6)
    differs = [one.payload for one in said_by(other)] != [one.payload for one in first]
    assert differs


def test_the_mix_is_in_whole_devices_that_take_turns() -> None:
    mix = (Mix("noise", 1 / 3), Mix("weather", 1 / 3), Mix("parking", 1 / 3, transport=Transport.COAP))
    roles = cast_scenario(Scenario(devices=100, mix=mix), POLES, START_US).roles
    assert Counter(one.spec.profile for one in roles) == {"noise": 34, "weather": 33, "parking": 33}
    over = Counter((one.spec.profile, one.spec.transport) for one in roles)
    assert over["noise", Transport.MQTT] == over["noise", Transport.COAP] == 17
    assert over["parking", Transport.COAP] == 33
    hung = Counter((one.spec.profile, one.spec.asset) for one in roles)
    assert max(hung.values()) - min(hung.values()) <= 1
    specs: list[DeviceSpec] = [one.spec for one in roles]
    assert len({one.device for one in specs}) == 100
