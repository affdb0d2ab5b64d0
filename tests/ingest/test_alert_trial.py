"""A month tried on the store gives the alerts of living through it; and what clocks do to baselines and silence."""

import random
from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
from alert_oracle import Came, S
from alert_town import NothingUsual, PaperBook, entries, plan_of, rule, table_of

from lichtmast.ingest.alerting import limits
from lichtmast.ingest.alerting.baseline import ZONE, Baselines, day_start_us, local_day, local_hours, usual_of
from lichtmast.ingest.alerting.engine import Engine, Place
from lichtmast.ingest.alerting.intake import Rows
from lichtmast.ingest.alerting.listening import Listening
from lichtmast.ingest.alerting.trial import try_rule
from lichtmast.registry import Directory
from lichtmast.store import Batch, DuckStore
from lichtmast.store.memory import MemoryStore
from lichtmast.store.port import LEDGER_SCHEMA, QUARANTINE_SCHEMA
from lichtmast.wire.quality import Quality

pytestmark = pytest.mark.slow
DEVICES = [f"gm0402/lm-{number}" for number in range(12)]
MONTH_START_US = int(datetime(2026, 10, 5, tzinfo=UTC).timestamp()) * S  # the summer time ends in it
DAY_US = 86_400 * S
SLOT_US = 150 * S
"""One of the twelve is due."""
RULES = (
    rule(1, "bright", {"kind": "threshold", "above": 95, "clear": 80, "for_s": 3600, "clear_for_s": 1800}),
    rule(2, "silent", {"kind": "absence", "after_s": 4500}),
    rule(3, "out of rhythm", {"kind": "absence"}, capability="level"),
    rule(4, "flagged", {"kind": "quality", "flags": ["STUCK"], "count": 2, "within_s": 86400}),
    rule(5, "many silent", {"kind": "fleet", "rule": "silent", "share": 0.15, "of": "area"}),
    rule(6, "unusual", {"kind": "baseline", "sigma": 8}, capability="level", devices=DEVICES[:3]),
)


def month(days: int) -> list[Came]:
    """Twelve sensors that see the sun, each half an hour: silences, backlogs, late readings and bright nights."""
    dice = random.Random(5)  # noqa: S311 - dice
    came: list[Came] = []
    quiet_until = dict.fromkeys(DEVICES, 0)
    bright_until = dict.fromkeys(DEVICES, 0)
    kept: dict[str, list[int]] = {device: [] for device in DEVICES}
    for slot in range(days * DAY_US // SLOT_US):
        now_us = MONTH_START_US + slot * SLOT_US
        device = DEVICES[slot % 12]
        stream = DEVICES.index(device) * 3 + 1
        if dice.random() < 0.002:
            quiet_until[device] = now_us + dice.choice([1, 4, 11]) * 3600 * S
        if dice.random() < 0.002:
            bright_until[device] = now_us + 3 * 3600 * S
        if now_us < quiet_until[device]:
            kept[device].append(now_us)
            continue
        backlog = kept[device] if dice.random() < 0.5 else []
        kept[device] = []
        for number, time_us in enumerate([*backlog, now_us]):
            hour = int(local_hours(np.array([time_us]), weekly=False)[0])
            value = 100.0 if time_us < bright_until[device] else max(40 - 6 * abs(hour - 13), 0) + dice.random()
            flags = Quality.STUCK if dice.random() < 0.003 else Quality.GOOD
            came.append(Came(now_us + number, stream, device, time_us, float(value), int(flags)))
        if dice.random() < 0.01:
            came.append(Came(now_us + 99, stream, device, now_us - 4000 * S, 100.0, int(Quality.LATE)))
    return came


def lived(came: list[Came], baselines: Baselines, until_us: int) -> PaperBook:
    book, dice, at = PaperBook(), random.Random(1), 0  # noqa: S311 - dice
    engine = Engine(plan_of(RULES, entries(DEVICES)), baselines, Listening(leap_max_us=2 * SLOT_US))
    while at < len(came):
        end = at + dice.randrange(1, 300)
        gaps = [
            n for n in range(at + 1, min(end, len(came))) if came[n].received_us - came[n - 1].received_us > SLOT_US + S
        ]
        end = min([end, *gaps, len(came)])
        table = table_of(came[at:end])
        book.save(engine.step(Rows.of(table, np.arange(end - at)), Place()))
        next_us = came[end].received_us if end < len(came) else until_us
        for now_us in range(came[end - 1].received_us + SLOT_US, next_us, SLOT_US):
            book.save(engine.tick(now_us, Place()))
        at = end
    book.save(engine.tick(until_us, Place()))
    return book


def test_a_month_tried_on_the_store_gives_the_alerts_of_living_through_it(tmp_path: Path) -> None:
    days = 28
    came = month(days)
    until_us = MONTH_START_US + days * DAY_US
    store = DuckStore.open(tmp_path, clock_us=lambda: until_us)
    try:
        store.commit(Batch(table_of(came), LEDGER_SCHEMA.empty_table(), QUARANTINE_SCHEMA.empty_table(), "FILL", 1))
        book = lived(came, Baselines(store), until_us)
        directory = Directory(1, entries(DEVICES), ())
        for one in RULES:
            trial = try_rule(store, directory, one, MONTH_START_US, until_us, others=RULES)
            expected: dict[str, list[tuple[int, int | None]]] = {}
            for rule_id, subject, kind, at_us in book.transitions:
                if rule_id == one.id and kind == "raised":
                    expected.setdefault(subject, []).append((at_us, None))
                elif rule_id == one.id:
                    expected[subject][-1] = (expected[subject][-1][0], at_us)
            found: dict[str, list[tuple[int, int | None]]] = {}
            for episode in trial.episodes:
                found.setdefault(episode.subject, []).append((episode.from_us, episode.until_us))
            assert expected == found, one.name
            assert trial.complete
            assert found, f"{one.name}: a month without an alert proves little"
            assert trial.sentence.endswith(f"It would have fired {len(trial.episodes)} times.")
    finally:
        store.close()


def test_of_many_datastreams_a_trial_reads_shorter_pieces_and_finds_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    class Watched(MemoryStore):
        def range(
            self, datastream_ids: Sequence[int], start_us: int, end_us: int, *, limit: int, descending: bool = False
        ) -> pa.Table:
            pieces.append(len(datastream_ids) * (end_us - start_us) / (10 * S))
            return super().range(datastream_ids, start_us, end_us, limit=limit, descending=descending)

    pieces: list[float] = []
    came, until_us, store = month(2), MONTH_START_US + 2 * DAY_US, Watched()
    store.commit(Batch(table_of(came), LEDGER_SCHEMA.empty_table(), QUARANTINE_SCHEMA.empty_table(), "FILL", 1))
    directory = Directory(1, entries(DEVICES), ())
    # From the middle of it: what is about the time before, and came behind the beginning, counts in both.
    span = (MONTH_START_US + DAY_US // 2, until_us)
    tried = [try_rule(store, directory, one, *span, others=RULES) for one in RULES[:4]]
    whole = max(pieces)
    pieces.clear()
    monkeypatch.setattr(limits, "TRIAL_PIECE_READINGS", 5_000)
    assert tried == [try_rule(store, directory, one, *span, others=RULES) for one in RULES[:4]]
    assert max(pieces) <= 5_000 < whole
    assert any(one.episodes for one in tried)


def hours_of(low_us: int, hours: int, value: float) -> pa.Table:
    starts = [low_us + at * 3600 * S for at in range(hours)]
    values = [value + (at % 2) for at in range(hours)]
    return pa.table({"bucket": starts, "count": [6] * hours, "mean": values, "minimum": values, "maximum": values})


def test_hours_are_those_on_the_wall_when_summer_begins_and_ends() -> None:
    spring = int(datetime(2026, 3, 29, 0, 30, tzinfo=UTC).timestamp()) * S
    autumn = int(datetime(2026, 10, 25, 0, 30, tzinfo=UTC).timestamp()) * S
    each = np.arange(3) * 3600 * S
    assert local_hours(spring + each, weekly=False).tolist() == [1, 3, 4]
    assert local_hours(autumn + each, weekly=False).tolist() == [2, 2, 3]
    assert local_hours(autumn + each, weekly=True).tolist() == [146, 146, 147]
    lengths = [day_start_us(day + 1) - day_start_us(day) for day in (local_day(spring), local_day(autumn))]
    assert lengths == [23 * 3600 * S, 25 * 3600 * S]
    # 28 days that the clock changes in: every hour of the day is still known, the doubled one by more readings.
    history = usual_of(hours_of(day_start_us(local_day(autumn) - 14), 28 * 24 + 1, 20.0), weekly=False)
    assert not np.isnan(history).any()


def test_a_leap_second_is_the_same_second_twice_and_delays_nothing() -> None:
    """POSIX time repeats 23:59:60; the readings of both come in order, and a delay runs on over them."""
    midnight = int(datetime(2016, 12, 31, 23, 59, 59, tzinfo=UTC).timestamp()) * S
    times = [midnight - 30 * S, midnight, midnight, midnight + 10 * S]
    came = [Came(at, 1, "gm0402/lm-0", at, 100.0) for at in times]
    engine = Engine(plan_of((rule(1, "bright", {"kind": "threshold", "above": 50, "for_s": 40}),)), NothingUsual())
    step = engine.step(Rows.of(table_of(came), np.arange(4)), Place())
    assert [times[3]] == [one.at_us for one in step.transitions]


@pytest.mark.parametrize(("jump_s", "silent"), [(8 * 3600, False), (-8 * 3600, False), (0, True)])
def test_hours_that_the_server_was_away_or_its_clock_jumped_make_nobody_silent(
    jump_s: int,
    silent: bool,  # noqa: FBT001 - a table
) -> None:
    engine = Engine(plan_of((rule(1, "silent", {"kind": "absence", "after_s": 300}),)), NothingUsual())
    start_us = MONTH_START_US
    came = [Came(start_us + at * S, 1, "gm0402/lm-0", start_us + at * S, 1.0) for at in (0, 30)]
    engine.step(Rows.of(table_of(came), np.arange(2)), Place())
    found: list[tuple[int, str]] = []
    for at in range(40, 400 if silent else 250, 10):
        step = engine.tick(start_us + (at + jump_s) * S, Place())
        found += [(one.at_us, one.kind.value) for one in step.transitions]
    expected = [(start_us + 330 * S, "raised")] if silent else []
    assert expected == found


def test_a_baseline_is_what_the_hours_of_28_days_but_yesterday_agree_on(tmp_path: Path) -> None:
    """And it is made once: a process that dies finds it again, even where the history has changed meanwhile."""

    class Counted(MemoryStore):
        asked = 0

        def aggregate(self, datastream_id: int, start_us: int, end_us: int, bucket_us: int) -> pa.Table:
            self.asked += 1
            assert (start_us, end_us) == (day_start_us(day - 29), day_start_us(day - 1))
            assert (datastream_id, bucket_us) == (1, 3600 * S)
            return hours_of(start_us, 28 * 24, 20.0)

    day = datetime(2026, 11, 22, tzinfo=ZONE).toordinal()
    store = Counted()
    usual = Baselines(store, tmp_path).usual(day, [1], weekly=False)
    assert store.asked == 1
    assert np.array_equal(Baselines(store, tmp_path).usual(day, [1], weekly=False).high, usual.high)
    assert store.asked == 1
    noon_us = round((datetime(2026, 11, 22, 12, tzinfo=ZONE) + timedelta(minutes=5)).timestamp()) * S
    one = rule(1, "unusual", {"kind": "baseline", "sigma": 5}, datastreams=[1])
    engine = Engine(plan_of((one,)), Baselines(store, tmp_path))
    noon = float(usual.high[0, 12])
    values = [(0, noon), (60, noon + 0.7), (120, noon + 0.3)]
    came = [Came(noon_us + at * S, 1, "gm0402/lm-0", noon_us + at * S, value) for at, value in values]
    step = engine.step(Rows.of(table_of(came), np.arange(3)), Place())
    assert [one.kind.value for one in step.transitions] == ["raised", "cleared"]


def test_a_rule_that_is_switched_off_clears_and_one_that_is_unchanged_stands() -> None:
    keep, drop = (
        rule(1, "bright", {"kind": "threshold", "above": 50}),
        rule(2, "dim", {"kind": "threshold", "below": 200}),
    )
    engine = Engine(plan_of((keep, drop)), NothingUsual())
    came = [Came(MONTH_START_US, 1, "gm0402/lm-0", MONTH_START_US, 100.0)]
    assert len(engine.step(Rows.of(table_of(came), np.arange(1)), Place()).transitions) == 2
    step = engine.renew(plan_of((keep, replace(drop, enabled=False, version=2))), Place())
    assert [(one.rule_id, one.kind.value, one.rule_version) for one in step.transitions] == [(2, "cleared", 2)]
    again = [Came(MONTH_START_US + S, 1, "gm0402/lm-0", MONTH_START_US + S, 10.0)]
    step = engine.step(Rows.of(table_of(again), np.arange(1)), Place())
    assert [(one.rule_id, one.kind.value) for one in step.transitions] == [(1, "cleared")]
