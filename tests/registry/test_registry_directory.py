"""The pipeline's view lines up with the profiles, whatever the history of a register."""

from dataclasses import replace
from pathlib import Path

import pytest

from lichtmast.registry import AssetRecord, DeviceStatus, NewDevice, Registry
from lichtmast.wire.identity import DeviceId
from lichtmast.wire.profile import Profile, load_profiles

DEVICE = DeviceId("gm0402", "lm-0001")


def _series_match_profile(registry: Registry, key: str, profile: Profile) -> bool:
    entry = registry.directory().entries[key]
    series = [registry.datastream(one) for one in entry.datastream_ids]
    return [(one.suffix, one.unit, one.kind) for one in series if one is not None] == [
        (uplink.suffix, uplink.unit, uplink.kind.value) for uplink in profile.uplinks
    ]


@pytest.mark.parametrize("profile", load_profiles())
def test_series_line_up_with_the_uplinks_of_every_profile(
    registry: Registry, lampposts: list[AssetRecord], profile: str
) -> None:
    registry.register_device(DEVICE, profile, asset_id=lampposts[0].id, at_us=1)
    assert _series_match_profile(registry, "gm0402/lm-0001", load_profiles()[profile])


def test_entry_says_who_where_and_in_what_state(registry: Registry, lampposts: list[AssetRecord]) -> None:
    answer = registry.register_device(DEVICE, "noise", asset_id=lampposts[2].id, at_us=1, status=DeviceStatus.ACTIVE)
    directory = registry.directory()
    entry = directory.entries[str(DEVICE)]
    assert directory.revision == registry.revision()
    assert (entry.device, entry.status, entry.profile, entry.asset_id) == (
        DEVICE,
        DeviceStatus.ACTIVE,
        "noise",
        lampposts[2].id,
    )
    assert entry.datastream_ids == answer.datastream_ids
    assert directory.missing_profiles == ()


def test_two_devices_never_share_a_series(registry: Registry, lampposts: list[AssetRecord]) -> None:
    profiles = list(load_profiles())
    registry.register_devices(
        [
            NewDevice(DeviceId("gm0402", f"lm-{number:04d}"), profiles[number % len(profiles)], place)
            for number, place in enumerate(lamppost.id for lamppost in lampposts[:4] for _ in range(20))
        ]
        + [NewDevice(DeviceId("gm0402", f"own-{number}"), "noise") for number in range(9)],
        at_us=1,
    )
    entries = registry.directory().entries
    every = [series for entry in entries.values() for series in entry.datastream_ids]
    assert len(entries) == 89
    assert len(every) == len(set(every)) == registry.counts().datastreams


def test_retired_device_stays_in_the_directory_without_series(registry: Registry, lampposts: list[AssetRecord]) -> None:
    registry.register_device(DEVICE, "noise", asset_id=lampposts[0].id, at_us=1)
    registry.set_device_status(DEVICE, DeviceStatus.RETIRED, at_us=2)
    entry = registry.directory().entries[str(DEVICE)]
    assert (entry.status, entry.asset_id, entry.datastream_ids) == (DeviceStatus.RETIRED, None, ())


def test_revision_of_the_directory_moves_with_every_kind_of_change(
    registry: Registry, lampposts: list[AssetRecord]
) -> None:
    revisions = [registry.directory().revision]

    def moved() -> bool:
        revisions.append(registry.directory().revision)
        return revisions[-1] == revisions[-2] + 1

    registry.register_device(DEVICE, "noise", asset_id=lampposts[0].id, at_us=1)
    assert moved()
    registry.set_device_status(DEVICE, DeviceStatus.ACTIVE, at_us=2)
    assert moved()
    registry.deploy_device(DEVICE, lampposts[1].id, at_us=3)
    assert moved()
    registry.replace_device(DEVICE, DeviceId("gm0402", "lm-0002"), at_us=4)
    assert moved()


def test_new_capability_of_a_release_gives_standing_devices_its_series(tmp_path: Path) -> None:
    path = tmp_path / "register.sqlite"
    full = load_profiles()["noise"]
    older = replace(full, capabilities=full.capabilities[:-1])
    newer = replace(full, version=full.version + 1)
    on_asset, alone = DeviceId("gm0402", "lm-0001"), DeviceId("gm0402", "lm-0002")
    with Registry.open(path, profiles={"noise": older}) as register:
        register.ensure_tenant("gm0402")
        register.register_device(alone, "noise", at_us=1)
        before = register.register_device(on_asset, "noise", at_us=1)
        revision = register.revision()
    with Registry.open(path, profiles={"noise": newer}) as register:
        after = register.directory().entries[str(on_asset)].datastream_ids
        assert after[: len(before.datastream_ids)] == before.datastream_ids
        assert len(after) == len(newer.uplinks) > len(before.datastream_ids)
        assert _series_match_profile(register, str(alone), newer)
        assert register.revision() == revision + 1
    with Registry.open(path, profiles={"noise": older}) as register:
        assert register.revision() == revision + 1, "an older version does not undo what a newer one wrote"
        assert register.directory().entries[str(on_asset)].datastream_ids == before.datastream_ids


def test_capability_that_changes_its_unit_gets_new_series_and_leaves_the_old_ones_as_they_were(
    tmp_path: Path,
) -> None:
    path = tmp_path / "register.sqlite"
    profile = load_profiles()["weather"]
    changed = replace(
        profile,
        version=profile.version + 1,
        capabilities=(replace(profile.capabilities[0], unit="K"), *profile.capabilities[1:]),
    )
    assert profile.capabilities[0].unit != "K"
    with Registry.open(path, profiles={"weather": profile}) as register:
        register.ensure_tenant("gm0402")
        before = register.register_device(DEVICE, "weather", at_us=1)
    with Registry.open(path, profiles={"weather": changed}) as register:
        after = register.directory().entries[str(DEVICE)].datastream_ids
        assert after[1:] == before.datastream_ids[1:]
        assert after[0] not in before.datastream_ids
        old, new = register.datastream(before.datastream_ids[0]), register.datastream(after[0])
        assert old is not None
        assert new is not None
        assert (old.unit, new.unit) == (profile.capabilities[0].unit, "K")


def test_device_of_a_profile_that_this_version_lacks_is_left_out_and_named(tmp_path: Path) -> None:
    path = tmp_path / "register.sqlite"
    with Registry.open(path) as register:
        register.ensure_tenant("gm0402")
        register.register_device(DEVICE, "noise", at_us=1)
    fewer = {key: profile for key, profile in load_profiles().items() if key != "noise"}
    with Registry.open(path, profiles=fewer) as register:
        directory = register.directory()
    assert directory.entries == {}
    assert directory.missing_profiles == ("noise",)


@pytest.mark.slow
def test_five_thousand_devices_are_registered_and_read_back(registry: Registry) -> None:
    profiles = list(load_profiles())
    wanted = [NewDevice(DeviceId("gm0402", f"lm-{n:05d}"), profiles[n % len(profiles)]) for n in range(5_000)]
    answers = registry.register_devices(wanted, at_us=1)
    entries = registry.directory().entries
    assert [entries[str(one.device)].datastream_ids for one in answers] == [one.datastream_ids for one in answers]
    assert all(len(entry.datastream_ids) == len(load_profiles()[entry.profile].uplinks) for entry in entries.values())
