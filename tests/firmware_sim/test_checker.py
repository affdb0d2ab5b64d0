"""The checker is only worth something if it can turn red: each corruption is planted, and must be found and named."""

import json
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from pathlib import Path

import pytest

from lichtmast.firmware_sim.checker import (
    Account,
    Arrival,
    Books,
    Evidence,
    Fate,
    Mark,
    PackKey,
    Report,
    Rollup,
    Row,
    check,
    check_rollups,
    sealed_value,
)
from lichtmast.firmware_sim.history import digest
from lichtmast.wire import DeviceId, Reading, encode, load_profiles

SEED = 7
NOW_US = 1_795_000_000_000_000
PROFILE = load_profiles()["noise"]
DEVICES = (DeviceId("gm0402", "noise-1"), DeviceId("gm0402", "noise-2"))
PACKS = 5
QUARANTINED, DROPPED = 4, 5


@dataclass
class World:
    """Two devices of five packs each, of which the fourth is refused and the fifth dropped, and a server's answer."""

    books: Books = field(default_factory=Books)
    rows: list[Row] = field(default_factory=list)
    arrivals: list[Arrival] = field(default_factory=list)
    quarantine: list[bytes] = field(default_factory=list)
    dropped: set[PackKey] = field(default_factory=set)
    series: dict[tuple[str, str], int] = field(default_factory=dict)

    def judge(self, **changes: object) -> Report:
        rows = {"export": self.rows, "sensorthings": self.rows}
        evidence = Evidence(rows, (), self.arrivals, self.quarantine, self.dropped, series=self.series)
        return check(self.books, replace(evidence, **changes), fingerprint=hash, seed=SEED)  # type: ignore[arg-type]


@pytest.fixture
def world() -> World:
    one = World()
    for at, device in enumerate(DEVICES):
        for place, capability in enumerate(PROFILE.uplinks):
            one.series[str(device), capability.suffix] = 10 * at + place + 1
        for seq in range(1, PACKS + 1):
            add(one, device, seq)
    return one


def key_of(device: DeviceId, seq: int) -> PackKey:
    return PackKey(str(device), 3, seq)


def add(one: World, device: DeviceId, seq: int) -> None:
    key = key_of(device, seq)
    time_us = NOW_US + seq * 1_000_003
    values = [(each, sealed_value(SEED, key.device, key.epoch, seq, each)) for each in PROFILE.uplinks]
    payload = encode(device, [Reading(each.suffix, v, each.unit, time_us) for each, v in values], epoch=3, seq=seq)
    account = Account(digest(payload), payload, 1, time_us)
    one.books.packs[key] = account
    if seq == DROPPED:
        account.dropped_us = time_us
        one.dropped.add(key)
    elif seq == QUARANTINED:
        account.refused_us = time_us
        one.quarantine.append(payload)
        one.arrivals.append(Arrival(key, Fate.QUARANTINED, hash(payload)))
    else:
        account.acked_us = time_us
        one.arrivals.append(Arrival(key, Fate.STORED, hash(payload)))
        one.rows += [Row(one.series[key.device, each.suffix], time_us, value) for each, value in values]


def pack_of(one: World, row: Row) -> PackKey:
    [device] = [device for (device, _), datastream in one.series.items() if datastream == row.datastream]
    return PackKey(device, 3, (row.time_us - NOW_US) // 1_000_003)


def test_a_sound_run_is_sound_and_its_sums_add_up(world: World) -> None:
    report = world.judge()
    assert report.faults == ()
    assert tuple(report.counts) == (10, 8, 6, 2, 0, 2)
    assert report.readings == 10 * len(PROFILE.uplinks)
    assert report.as_json()["sound"] is True
    assert report.text().startswith("sound\n  seed 7\n")


def replayed(one: World) -> PackKey:
    """What a replay makes of the fourth pack of the first device: its line, its rows, and no bytes in quarantine."""
    key = key_of(DEVICES[0], QUARANTINED)
    time_us = NOW_US + QUARANTINED * 1_000_003
    one.quarantine.remove(one.books.packs[key].payload)
    one.arrivals.append(Arrival(key, Fate.REPLAYED, hash(one.books.packs[key].payload)))
    values = [(each, sealed_value(SEED, key.device, key.epoch, QUARANTINED, each)) for each in PROFILE.uplinks]
    one.rows += [Row(one.series[key.device, each.suffix], time_us, value) for each, value in values]
    return key


def test_a_pack_that_was_refused_and_replayed_is_stored_with_all_its_rows(world: World) -> None:
    key = replayed(world)
    report = world.judge()
    assert report.faults == ()
    assert (report.counts.stored, report.counts.quarantined) == (7, 1)
    world.rows.pop()
    assert {str(key) in str(one) for one in world.judge().faults} == {True}


def test_which_datastream_carries_what_is_learned_from_the_rows(world: World) -> None:
    assert world.judge(series=None).faults == ()


def delete_acked_row(one: World) -> PackKey:
    return pack_of(one, one.rows.pop(9))


def duplicate_row(one: World) -> PackKey:
    one.rows.append(one.rows[4])
    return pack_of(one, one.rows[4])


def change_value(one: World) -> PackKey:
    row = one.rows[0]
    one.rows[0] = row._replace(value=float(row.value) + 1e-9)
    return pack_of(one, row)


def shift_timestamp(one: World) -> PackKey:
    row = one.rows[8]
    one.rows[8] = row._replace(time_us=row.time_us + 1)
    return pack_of(one, row)


def delete_acked_pack(one: World) -> PackKey:
    key = key_of(DEVICES[1], 2)
    one.arrivals = [each for each in one.arrivals if each.key != key]
    one.rows = [row for row in one.rows if pack_of(one, row) != key]
    return key


def store_pack_twice(one: World) -> PackKey:
    one.arrivals.append(one.arrivals[1])
    return one.arrivals[1].key


def phantom_pack(one: World) -> PackKey:
    one.arrivals.append(Arrival(PackKey("gm0402/nobody", 1, 77), Fate.STORED))
    return one.arrivals[-1].key


def other_bytes(one: World) -> PackKey:
    one.arrivals[2] = one.arrivals[2]._replace(digest=0)
    return one.arrivals[2].key


def lose_quarantine_row(one: World) -> PackKey:
    one.quarantine.pop(1)
    return key_of(DEVICES[1], QUARANTINED)


def lose_quarantine_line(one: World) -> PackKey:
    one.arrivals = [each for each in one.arrivals if each.key != key_of(DEVICES[0], QUARANTINED)]
    return key_of(DEVICES[0], QUARANTINED)


def forget_declared_drop(one: World) -> PackKey:
    one.dropped.remove(key_of(DEVICES[0], DROPPED))
    return key_of(DEVICES[0], DROPPED)


def invent_drop(one: World) -> PackKey:
    key = key_of(DEVICES[0], 2)
    one.dropped.add(key)
    return key


def reuse_number(one: World) -> PackKey:
    key = key_of(DEVICES[1], 1)
    one.books.take({"op": "attempt", "device": key.device, "epoch": 3, "seq": 1, "digest": "other", "t_us": 1})
    return key


def lose_unanswered(one: World) -> PackKey:
    key = key_of(DEVICES[0], 9)
    one.books.packs[key] = Account("x", attempts=1, attempted_us=NOW_US)
    return key


def answer_what_was_never_asked(one: World) -> PackKey:
    key = key_of(DEVICES[0], 1)
    one.books.packs[key].attempts = 0
    return key


def quarantine_what_is_stored(one: World) -> PackKey:
    key = key_of(DEVICES[0], 1)
    one.arrivals.append(Arrival(key, Fate.QUARANTINED))
    one.quarantine.append(one.books.packs[key].payload)
    return key


def store_without_a_ledger_line(one: World) -> PackKey:
    key = key_of(DEVICES[0], DROPPED)
    row = one.rows[0]
    time_us = NOW_US + DROPPED * 1_000_003
    [capability] = [each for each in PROFILE.uplinks if one.series[key.device, each.suffix] == row.datastream]
    one.rows.append(Row(row.datastream, time_us, sealed_value(SEED, key.device, 3, DROPPED, capability)))
    return key


CORRUPTIONS: dict[Callable[[World], PackKey], set[str]] = {
    delete_acked_row: {"row_lost"},
    duplicate_row: {"row_twice"},
    change_value: {"altered"},
    shift_timestamp: {"shifted"},
    delete_acked_pack: {"acknowledged_and_lost"},
    store_pack_twice: {"stored_twice"},
    phantom_pack: {"phantom_pack"},
    other_bytes: {"other_bytes"},
    lose_quarantine_row: {"quarantine_lost"},
    lose_quarantine_line: {"refused_and_lost"},
    forget_declared_drop: {"drop_uncounted"},
    invent_drop: {"drop_invented", "dropped_and_there"},
    reuse_number: {"number_reused"},
    lose_unanswered: {"unanswered"},
    answer_what_was_never_asked: {"answered_unasked"},
    quarantine_what_is_stored: {"stored_twice", "two_fates"},
    store_without_a_ledger_line: {"row_unbooked"},
}


@pytest.mark.parametrize("corrupt", CORRUPTIONS, ids=lambda one: one.__name__)
def test_each_corruption_turns_it_red_and_is_named(world: World, corrupt: Callable[[World], PackKey]) -> None:
    key = corrupt(world)
    report = world.judge()
    assert not report.sound
    assert {one.kind for one in report.faults} == CORRUPTIONS[corrupt]
    assert all(str(key) in one.message for one in report.faults)
    assert str(key) in report.text()


@pytest.mark.parametrize("corrupt", [delete_acked_row, change_value, shift_timestamp], ids=lambda one: one.__name__)
def test_a_corruption_is_found_without_a_register_too(world: World, corrupt: Callable[[World], PackKey]) -> None:
    key = corrupt(world)
    faults = world.judge(series=None).faults
    assert {one.kind for one in faults} == CORRUPTIONS[corrupt]
    assert all(str(key) in one.message for one in faults)


def test_a_phantom_row_is_named_by_its_place(world: World) -> None:
    world.rows.append(Row(11, NOW_US, 61.5))
    faults = world.judge().faults
    assert {one.kind for one in faults} == {"phantom_row"}
    assert "datastream 11 at 1795000000000000 us: export shows 61.5" in faults[0].message


def test_rows_of_others_are_phantoms_only_where_there_are_no_others(world: World) -> None:
    world.rows.append(Row(99, NOW_US, 61.5))
    rows = {"export": world.rows}
    assert {one.kind for one in world.judge(paths=rows).faults} == {"phantom_row"}
    assert check(world.books, Evidence(rows, series=world.series), closed=False).faults == ()


def test_two_paths_that_disagree_are_told_apart(world: World) -> None:
    changed = [world.rows[0]._replace(value=-1.0), *world.rows[2:]]
    faults = world.judge(paths={"export": world.rows, "sensorthings": changed}).faults
    assert sum(one.kind == "paths_differ" for one in faults) == 2


def test_a_path_that_shows_only_some_series_is_held_to_those(world: World) -> None:
    some = [row for row in world.rows if row.datastream < 10]
    paths = {"export": world.rows, "sensorthings": some}
    assert world.judge(paths=paths, partial=("sensorthings",)).faults == ()
    assert {one.kind for one in world.judge(paths=paths).faults} == {"row_lost"}


def test_an_attempt_without_an_answer_may_be_stored_once_or_still_wait(world: World) -> None:
    stored, waiting = key_of(DEVICES[0], 1), key_of(DEVICES[0], 9)
    world.books.packs[stored].acked_us = None
    world.books.packs[waiting] = Account("x", attempts=3, attempted_us=NOW_US)
    evidence = Evidence({"export": world.rows}, arrivals=world.arrivals, series=world.series)
    report = check(world.books, evidence, drained=False)
    assert report.faults == ()
    assert (report.counts.outbox, report.repeated) == (1, 2)
    lost = check(world.books, replace(evidence, outbox=()), drained=False)
    assert [(one.kind, str(waiting) in one.message) for one in lost.faults] == [("nowhere", True)]


def test_without_a_ledger_the_rows_tell_what_is_stored(world: World) -> None:
    key = delete_acked_pack(world)
    faults = world.judge(arrivals=None, quarantine=None, dropped=None).faults
    assert [(one.kind, str(key) in one.message) for one in faults] == [("acknowledged_and_lost", True)]


def test_what_somebody_saw_must_still_be_there(world: World) -> None:
    assert world.judge(shown=world.rows).faults == ()
    gone = Row(1, NOW_US - 1, 50.0)
    faults = world.judge(shown=[*world.rows, gone], paths={"export": world.rows}).faults
    assert [one.kind for one in faults] == ["vanished"]
    assert f"{gone.time_us} us: somebody was shown 50.0" in faults[0].message


def test_a_run_whose_fault_did_not_bite_fails_as_vacuous(world: World) -> None:
    evidence = Evidence({"export": world.rows}, arrivals=world.arrivals, series=world.series)
    assert check(world.books, evidence, bites={"lost PUBACKs": 1}).faults == ()
    [fault] = check(world.books, evidence, bites={"lost PUBACKs": 0}).faults
    assert fault.kind == "vacuous"
    assert "lost PUBACKs is 0" in fault.message


def test_the_servers_own_books_are_held_against_ours(world: World) -> None:
    assert world.judge(audit={"stored": 6, "dropped": 2, "faults": []}).faults == ()
    faults = world.judge(audit={"stored": 7, "dropped": 2, "faults": ["1 packs were sent"]}).faults
    assert [one.message for one in faults] == [
        "1 packs were sent",
        "the server's audit counts 7 stored, the devices' books 6",
    ]


def test_the_report_tells_how_long_recovery_took_and_a_failing_run_is_kept(world: World, tmp_path: Path) -> None:
    world.books.marks += [Mark("kill broker", NOW_US + 1_000_003), Mark("kill it again", NOW_US + 10**9)]
    delete_acked_row(world)
    report = world.judge()
    assert [one.first_ack_s for one in report.recoveries] == [1.000003, None]
    history = tmp_path / "run.jsonl"
    history.write_text("{}\n")
    kept = report.keep(tmp_path / "failing", [history])
    assert json.loads((kept / "report.json").read_text())["fault_counts"] == {"row_lost": 2}
    assert (kept / "run.jsonl").read_text() == "{}\n"
    assert "after 'kill broker': acknowledged again in 1.00 s" in (kept / "report.txt").read_text()


def test_sealed_values_fit_their_range_differ_and_survive_the_wire() -> None:
    for profile in load_profiles().values():
        for capability in profile.uplinks:
            values = {sealed_value(SEED, "gm0402/a-1", 1, seq, capability) for seq in range(1, 50)}
            if capability.unit is None:
                continue
            assert len(values) == 49
            assert capability.minimum is not None
            assert capability.maximum is not None
            assert all(capability.minimum <= float(one) <= capability.maximum for one in values)
            assert values == {float(json.dumps(one)) for one in values}
    [capability] = [one for one in PROFILE.uplinks if one.key == "level"]
    drawn = {
        sealed_value(seed, device, epoch, 1, capability)
        for seed in (1, 2)
        for device in ("gm0402/a-1", "gm0402/a-2")
        for epoch in (1, 2)
    }
    assert len(drawn) == 8


def test_rollups_equal_recomputation_or_are_named() -> None:
    rows = [Row(1, 10, 1.0), Row(1, 20, 2.0), Row(1, 110, value=True), Row(2, 10, 9.0)]
    sound = [Rollup(1, 0, 2, 1.5, 1.0, 2.0), Rollup(1, 100, 1, 1.0, 1.0, 1.0)]
    assert list(check_rollups(rows, sound, 100)) == []
    for wrong in (
        sound[0]._replace(readings=3),
        sound[0]._replace(mean=1.6),
        sound[0]._replace(minimum=0.9),
        sound[0]._replace(maximum=2.1),
        sound[0]._replace(start_us=200),
    ):
        faults = list(check_rollups(rows, [wrong, sound[1]], 100))
        assert faults
        assert all(one.message.startswith("datastream 1 from ") for one in faults)
    assert [one.message for one in check_rollups(rows, sound[1:], 100)] == [
        "datastream 1 from 0 us: 2 readings, but no rollup"
    ]
    [fault] = check_rollups(rows[2:3], sound, 100)
    assert fault.message == "datastream 1 from 0 us: a rollup of 2, but no reading"
