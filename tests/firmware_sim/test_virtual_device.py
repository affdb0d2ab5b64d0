"""A device without sockets: the wire's decoder takes its packs, its numbers run from 1, its flaws are flawed."""

import random

import pytest

from lichtmast.firmware_sim import DeviceSpec, SpecError, Transport, VirtualDevice, flaws
from lichtmast.wire import envelope, limits, senml
from lichtmast.wire.acknowledgement import Acknowledgement
from lichtmast.wire.identity import DeviceId
from lichtmast.wire.profile import load_profiles
from lichtmast.wire.refusal import PackError, Refusal

NOW_US = 1_795_000_000_000_000
DEVICE = DeviceId("gm0402", "lm-0001")


def spec_of(
    profile: str = "lamp-controller",
    transport: Transport = Transport.MQTT,
    content_format: int = envelope.SENML_JSON,
    device: DeviceId = DEVICE,
) -> DeviceSpec:
    return DeviceSpec(device, profile, transport, 5.17, 52.22, content_format=content_format)


@pytest.mark.parametrize("content_format", [envelope.SENML_JSON, envelope.SENML_CBOR])
@pytest.mark.parametrize("profile", list(load_profiles()))
def test_packs_decode_to_what_was_measured(profile: str, content_format: int) -> None:
    device = VirtualDevice(spec_of(profile, content_format=content_format), seed=3, epoch=NOW_US)
    for number in range(1, 4):
        now_us = NOW_US + number * 61_234_567
        raw = device.sample(now_us)
        assert raw is not None
        pack = senml.decode(raw, content_format, now_us + 500_000)
        assert senml.sniff(raw) == content_format
        assert (pack.device, pack.epoch, pack.seq) == (DEVICE, NOW_US, number)
        assert [one.name for one in pack.records] == [
            DEVICE.urn + one.suffix for one in load_profiles()[profile].uplinks
        ]
        assert {one.time_us for one in pack.records} == {now_us}
        assert {one.quality for one in pack.records} == {0}
        assert [one.unit for one in pack.records] == [one.unit for one in load_profiles()[profile].uplinks]


@pytest.mark.parametrize("content_format", [envelope.SENML_JSON, envelope.SENML_CBOR])
@pytest.mark.parametrize("profile", list(load_profiles()))
def test_the_largest_pack_fits_in_one_datagram(profile: str, content_format: int) -> None:
    longest = DeviceId("gm0402", "x" * limits.DEVICE_LENGTH_MAX)
    device = VirtualDevice(spec_of(profile, Transport.COAP, content_format, longest), seed=3, epoch=NOW_US)
    for hour in range(48):
        pack = device.sample(NOW_US + hour * 3_600_000_000 + 123_457)
        assert pack is not None
        assert len(pack) <= limits.PACK_BYTES_MAX_COAP


def test_the_same_seed_makes_the_same_packs() -> None:
    packs = [[VirtualDevice(spec_of(), seed=seed, epoch=1).sample(NOW_US + n) for n in range(3)] for seed in (1, 1, 2)]
    assert packs[0] == packs[1] != packs[2]


@pytest.mark.slow
def test_a_day_on_a_lossy_link_ends_with_everything_settled_once() -> None:
    """Virtual time: a pack a minute for 24 hours; three in ten deliveries and acknowledgements get lost."""
    chance = random.Random(99)  # noqa: S311 - a seeded schedule, not a secret
    device = VirtualDevice(spec_of(), seed=1, epoch=1)
    stored: set[int] = set()
    duplicates = 0
    for second in range(24 * 3600 + 600):
        if second % 60 == 0 and second < 24 * 3600:
            device.sample(NOW_US + second * 1_000_000)
        while (waiting := device.outbox.take(float(second))) is not None:
            if chance.random() < 0.3:
                continue
            duplicates += waiting.seq in stored
            stored.add(waiting.seq)
            if chance.random() >= 0.3:
                upto = next(seq for seq in range(1, 2_000) if seq not in stored) - 1
                above = tuple((seq, seq) for seq in sorted(stored) if seq > upto)[:16]
                device.outbox.acknowledge(Acknowledgement(1, upto, above))
    assert stored == set(range(1, 1_441)) == set(device.outbox.acknowledged)
    assert device.outbox.outstanding == 0
    assert 0 < duplicates < 1_440


@pytest.mark.parametrize("profile", list(load_profiles()))
@pytest.mark.parametrize("turn", range(len(flaws.NUMBERED)))
def test_a_numbered_flaw_is_sound_senml_that_the_profile_does_not_allow(profile: str, turn: int) -> None:
    device = VirtualDevice(spec_of(profile, Transport.COAP), seed=1, epoch=5)
    raw = device.misbehave(2 * turn, NOW_US)
    assert raw is not None
    pack = senml.decode(raw, envelope.SENML_JSON, NOW_US)
    (record,) = pack.records
    known = {DEVICE.urn + one.suffix: one for one in load_profiles()[profile].uplinks}
    match flaws.NUMBERED[turn]:
        case Refusal.UNKNOWN_NAME:
            assert record.name not in known
        case Refusal.WRONG_TYPE:
            assert record.name in known
            assert isinstance(record.value, str)
        case _:
            assert record.name in known
            assert record.unit != known[record.name].unit
    assert (pack.epoch, pack.seq) == (5, 1)
    assert 1 in device.flawed


@pytest.mark.parametrize("turn", range(2 * len(flaws.UNNUMBERED)))
def test_an_unnumbered_flaw_is_no_pack_and_unique(turn: int) -> None:
    raw = flaws.unnumbered(turn, DEVICE, NOW_US)
    with pytest.raises(PackError) as caught:
        senml.decode(raw, senml.sniff(raw), NOW_US)
    assert caught.value.refusal is flaws.UNNUMBERED[turn % len(flaws.UNNUMBERED)][0]
    assert raw not in {flaws.unnumbered(other, DEVICE, NOW_US) for other in range(40) if other != turn}


def test_only_mqtt_devices_send_what_nobody_can_number() -> None:
    over_coap = VirtualDevice(spec_of(transport=Transport.COAP), seed=1, epoch=1)
    over_mqtt = VirtualDevice(spec_of(transport=Transport.MQTT), seed=1, epoch=1)
    for turn in range(6):
        over_coap.misbehave(turn, NOW_US)
        over_mqtt.misbehave(turn, NOW_US)
    assert (len(over_coap.strays), len(over_coap.flawed)) == (0, 6)
    assert (len(over_mqtt.strays), len(over_mqtt.flawed)) == (3, 3)


def test_a_full_outbox_skips_the_sample_and_counts_it() -> None:
    device = VirtualDevice(spec_of("filling-level"), seed=1, epoch=1)
    device.outbox._packs_max = 2
    packs = [device.sample(NOW_US + n) for n in range(3)]
    assert [pack is None for pack in packs] == [False, False, True]
    assert device.misbehave(0, NOW_US) is None
    assert (device.outbox.skipped, device.outbox.next_seq) == (2, 3)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"profile": "toaster"}, "no profile 'toaster'; known are air-quality"),
        ({"content_format": 50}, "content format 50 is not 110"),
        ({"longitude": 181.0}, "not on Earth"),
        ({"latitude": float("nan")}, "not on Earth"),
    ],
)
def test_a_spec_that_cannot_be_is_refused(change: dict[str, object], message: str) -> None:
    fields: dict[str, object] = {
        "device": DEVICE,
        "profile": "noise",
        "transport": Transport.MQTT,
        "longitude": 5.0,
        "latitude": 52.0,
    }
    with pytest.raises(SpecError, match=message):
        DeviceSpec(**{**fields, **change})  # type: ignore[arg-type]  # wrong on purpose
