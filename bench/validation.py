"""How well validation finds what is wrong, and leaves alone what is not: `scripts/bench validation`.

Two towns on virtual time (`load.labelled`), through the real transform and the real validator, without sockets: one
with every fault of the simulator, labelled reading by reading, for three days; one whose curves are clean, for seven
days, or `--days 28`. docs/reference/quality.md tells what counts: which errors are material, and what is one unit of
recall. `recall` is the mean over the kinds of fault, so that the many readings of one do not hide another. The alert
engine listens to the clean town by ALERT_RULES; whatever it raises there is false.

The table has, for each kind of fault and each profile, how many material units there were and how many were flagged,
and the share of all marked readings that was, material or not. Last line: JSON {recall, false_flag_rate,
false_alerts_per_1000, cpu_ratio, ...}. `cpu_ratio` is the validator's CPU over that of the pipeline (decode, identify,
resolve, encode for the log, commit to DuckDB) on the same packs in the same run.
"""

import argparse
import json
import sys
import tempfile
import time
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
from bench.load.labelled import HOUR_US, START_US, TENANT, LabelledTown, Message, Planned, Resident

from lichtmast.firmware_sim.instrument import Label
from lichtmast.ingest import observations
from lichtmast.ingest.alerting.baseline import Usual
from lichtmast.ingest.alerting.engine import Engine, Place
from lichtmast.ingest.alerting.groups import grouping
from lichtmast.ingest.alerting.intake import Rows
from lichtmast.ingest.alerting.layout import Layout
from lichtmast.ingest.alerting.plan import make_plan
from lichtmast.ingest.pipeline.arrivals import collect
from lichtmast.ingest.pipeline.sequence import Sequences
from lichtmast.ingest.pipeline.transform import Transform
from lichtmast.ingest.validation import Validator
from lichtmast.registry.alerts.rules import parse_rule
from lichtmast.registry.alerts.steps import TransitionKind
from lichtmast.store import DuckStore
from lichtmast.wire.profile import Capability, load_profiles
from lichtmast.wire.quality import DOUBTFUL, Quality

FAULTY_HOURS = 72.0
BATCH_PACKS = 1_000
CPU_BATCHES = 100
"""Batches of the clean town that are committed to a real store for the comparison of CPU."""
BAD = int(DOUBTFUL)
ALERT_RULES: tuple[Mapping[str, Any], ...] = (
    {"name": "silent", "condition": {"kind": "absence"}},
    {
        "name": "doubtful",
        "condition": {
            "kind": "quality",
            "flags": [str(flag.name) for flag in Quality if flag & DOUBTFUL],
            "count": 3,
            "within_s": 3600,
        },
    },
    {
        "name": "gear too hot",
        "scope": {"profile": "lamp-controller", "capability": "temperature"},
        "condition": {"kind": "threshold", "above": 80, "clear": 70, "for_s": 300},
    },
    {
        "name": "too loud",
        "scope": {"profile": "noise", "capability": "level"},
        "condition": {"kind": "threshold", "above": 85, "clear": 75, "for_s": 300},
    },
)
"""What a town would start with; none of it may be raised where all is well."""
MARGIN = 1.25
"""An error is material from so many times the bound of the rule that sees it: the truth may lie on its other side."""
STEP_READINGS = 15
"""Readings for which a lasting step counts as sudden: afterwards half of the window is from after it."""
READINGS_MIN = 3
"""Material readings that make an episode of drift."""


def say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


@dataclass
class Heard:
    """Every stored reading of a town, one element a reading, and which packs went to quarantine."""

    device: npt.NDArray[np.int64]
    seq: npt.NDArray[np.int64]
    datastream: npt.NDArray[np.int64]
    quality: npt.NDArray[np.int64]
    quarantined: set[tuple[str, int]]


@dataclass
class Costs:
    """Seconds of CPU."""

    pipeline_s: float = 0.0
    validation_s: float = 0.0


class Alarms:
    """What the alert engine makes of a town by ALERT_RULES; `raised` counts its episodes."""

    def __init__(self, town: LabelledTown) -> None:
        rules = [
            parse_rule({"tenant": TENANT, "severity": "warning"} | dict(document), rule_id=number)
            for number, document in enumerate(ALERT_RULES, 1)
        ]
        plan = make_plan(rules, Layout(town.directory.entries, load_profiles()), grouping({}))
        self._engine = Engine(plan, NoBaselines())
        self.raised = 0

    def hear(self, judged: pa.Table) -> None:
        """Take a batch."""
        order = np.lexsort((judged.column("phenomenon_time").to_numpy(), judged.column("result_time").to_numpy()))
        step = self._engine.step(Rows.of(judged, order), Place())
        for one in step.transitions:
            if one.kind is TransitionKind.RAISED:
                self.raised += 1
                say(f"raised: {one.subject}: {one.because}")


class NoBaselines:
    """No rule here asks what is usual."""

    def usual(self, day: int, streams: Sequence[int], *, weekly: bool) -> Usual:
        """Never asked."""
        raise AssertionError((day, streams, weekly))


def play(
    town: LabelledTown, hours: float, costs: Costs | None = None, hear: Callable[[pa.Table], None] = lambda _: None
) -> Heard:
    """All that a town says, judged, for `hear` too. With `costs` the first batches go to a store as well, timed."""
    transform, validator = Transform(town.roster, Sequences()), Validator(town.roster)
    parts: list[tuple[Any, ...]] = []
    quarantined: set[tuple[str, int]] = set()
    with tempfile.TemporaryDirectory(prefix="lichtmast-bench-") as folder:
        store = DuckStore.open(Path(folder) / "store", clock_us=lambda: time.time_ns() // 1000)
        for number, messages in enumerate(_batches(town.messages(hours))):
            started_s = time.thread_time()
            settled = transform.settle(transform.prepare(collect(messages, town.roster)), {}, None, "READINGS")
            settled_s = time.thread_time()
            judged = validator.judge(settled.batch.observations, settled.origin)
            judged_s = time.thread_time()
            if costs is not None and number < CPU_BATCHES:
                for _ in observations.encode(judged, settled.origin.log_seq):
                    pass
                store.commit(settled.batch)
                costs.pipeline_s += settled_s - started_s + time.thread_time() - judged_s
                costs.validation_s += judged_s - settled_s
            hear(judged)
            origin = settled.origin
            ids, quality = (judged.column(name).to_numpy() for name in ("datastream_id", "quality"))
            parts.append((origin.device, origin.seq, ids, quality))
            refused = settled.batch.ledger.filter(np.array(settled.batch.ledger.column("outcome").to_numpy() == 1))
            pairs = zip(refused.column("device").to_pylist(), refused.column("seq").to_pylist(), strict=True)
            quarantined.update((device, seq) for device, seq in pairs if seq is not None)
        store.close()
    device, seq, datastream, quality = (np.concatenate(column).astype(np.int64) for column in zip(*parts, strict=True))
    return Heard(device, seq, datastream, quality, quarantined)


def _batches(messages: Iterator[Message]) -> Iterator[list[Message]]:
    while batch := list(islice(messages, BATCH_PACKS)):
        yield batch


@dataclass
class Score:
    """One line of the table."""

    units: int = 0
    seen: int = 0
    marked: int = 0
    flagged: int = 0
    missed: Counter[str] = field(default_factory=Counter)

    def count(self, name: str, *, seen: bool) -> None:
        """A material unit."""
        self.units += 1
        self.seen += seen
        if not seen:
            self.missed[name] += 1


@dataclass(frozen=True)
class Marked:
    """One spoilt reading and what became of it."""

    capability: Capability
    sent: float
    true: float
    number: int
    quality: int

    @property
    def error(self) -> float:
        """How far it is off."""
        return abs(self.sent - self.true)

    @property
    def outside(self) -> bool:
        """Whether it is beyond the range."""
        low, high = self.capability.minimum, self.capability.maximum
        return low is not None and high is not None and not low <= self.sent <= high

    def lasting(self) -> bool:
        """Whether the error is material for as long as it lasts."""
        tolerance = self.capability.neighbour_tolerance
        return self.outside or (tolerance is not None and self.error > MARGIN * tolerance)

    def sudden(self, interval_s: float) -> bool:
        """Whether the error is material when it comes from one reading to the next."""
        floor, rate = self.capability.spike_floor, self.capability.rate_per_s
        if self.lasting() or (floor is not None and self.error > MARGIN * floor):
            return True
        return rate is not None and self.error > MARGIN * (rate * interval_s + (self.capability.step or 0.0))


def score(town: LabelledTown, heard: Heard) -> tuple[dict[tuple[str, str], Score], int, int]:
    """The table by (fault, profile), and of the unmarked readings of this town how many there are and are flagged."""
    table: dict[tuple[str, str], Score] = defaultdict(Score)
    rows: dict[tuple[int, int], dict[int, int]] = defaultdict(dict)
    stricken = [town.roster.device_of_name[str(one.device.spec.device)] for one in town.residents if one.planned]
    chosen = np.flatnonzero(np.isin(heard.device, stricken))
    for device, seq, datastream, quality in zip(
        *(column[chosen].tolist() for column in (heard.device, heard.seq, heard.datastream, heard.quality)), strict=True
    ):
        rows[device, seq][datastream] = quality
    marked: set[tuple[int, int, int]] = set()
    labels: dict[str, list[Label]] = defaultdict(list)
    for label in town.labels:
        labels[str(label.device)].append(label)
    for resident in town.residents:
        name = str(resident.device.spec.device)
        row = town.roster.device_of_name[name]
        for planned in resident.planned:
            key = (planned.name, resident.profile.key)
            begin_us = START_US + round(planned.from_h * HOUR_US)
            end_us = begin_us + round(planned.hours * HOUR_US)
            own = [one for one in labels[name] if begin_us <= one.true_us < end_us]
            if planned.kind is None:
                _silence(resident, planned, heard, row, table[key])
            elif "wrong_clock" in planned.name:
                for one in own:
                    found = rows.get((row, one.seq or 0), {})
                    marked.update((row, one.seq or 0, datastream) for datastream in found)
                    _clock(resident, one, found, table[key], quarantined=(name, one.seq) in heard.quarantined)
            else:
                _values(town, resident, own, begin_us, rows, row, table[key], planned)
                for one in own:
                    datastream = int(town.roster.datastreams[row, town.roster.suffix_codes[str(one.suffix)]])
                    marked.add((row, one.seq or 0, datastream))
    beside = Counter(
        bool(quality & BAD)
        for (device, seq), found in rows.items()
        for datastream, quality in found.items()
        if (device, seq, datastream) not in marked
    )
    return table, beside[False] + beside[True], beside[True]


def _clock(resident: Resident, label: Label, found: dict[int, int], line: Score, *, quarantined: bool) -> None:
    """Each reading with a wrong time is a unit, from a minute ahead or a quarter of an hour behind."""
    off_us = label.sent_us - label.true_us
    count = len(resident.profile.uplinks)
    seen = count if quarantined else sum(1 for quality in found.values() if quality & BAD)
    line.marked += count
    line.flagged += seen
    if off_us > MARGIN * 60e6 or off_us < -MARGIN * 900e6:
        for number in range(count):
            line.count(resident.profile.key, seen=number < seen)


def _silence(resident: Resident, planned: Planned, heard: Heard, row: int, line: Score) -> None:
    """A silence of more than three intervals is a unit; the first pack after it tells."""
    if planned.hours * 3600 <= MARGIN * 3 * resident.profile.interval_s:
        return
    seqs = heard.seq[heard.device == row]
    quality = heard.quality[heard.device == row]
    # Packs are numbered as they are made, so the pack after a silence follows from how many there were before it.
    interval_us = resident.profile.interval_s * 1_000_000
    began = [one for one in resident.planned if one.kind is None and one.from_h <= planned.from_h]
    silent_us = sum(round(one.hours * HOUR_US) for one in began)
    due_us = round(planned.from_h * HOUR_US) + round(planned.hours * HOUR_US) - silent_us
    near = np.abs(seqs - due_us / interval_us) <= 2
    line.count(resident.profile.key, seen=bool((quality[near] & int(Quality.AFTER_GAP)).any()))
    line.marked += 1
    line.flagged += bool((quality[near] & int(Quality.AFTER_GAP)).any())


def _values(
    town: LabelledTown,
    resident: Resident,
    labels: list[Label],
    begin_us: int,
    rows: dict[tuple[int, int], dict[int, int]],
    row: int,
    line: Score,
    planned: Planned,
) -> None:
    """Spikes and wrong units by reading, drift and stuck by episode of one channel."""
    interval_s = resident.profile.interval_s
    channels: dict[str, list[Marked]] = defaultdict(list)
    for label in labels:
        suffix = str(label.suffix)
        capability = resident.profile.uplinks[resident.profile.index_of(suffix)]
        datastream = int(town.roster.datastreams[row, town.roster.suffix_codes[suffix]])
        quality = rows.get((row, label.seq or 0), {}).get(datastream, 0)
        number = int((label.true_us - begin_us) / 1e6 / interval_s) + 1
        one = Marked(capability, float(str(label.sent)), float(str(label.true)), number, quality)
        channels[capability.key].append(one)
        line.marked += 1
        line.flagged += bool(quality & BAD)
    for key, readings in channels.items():
        name = f"{resident.profile.key}/{key}"
        if planned.name == "spike":
            for one in readings:
                if one.sudden(interval_s):
                    line.count(name, seen=bool(one.quality & BAD))
        elif planned.name == "wrong_unit":
            for one in readings:
                # A rate sees the first reading only, a median those after it too.
                floor = one.capability.spike_floor
                step = one.number <= STEP_READINGS and floor is not None and one.error > MARGIN * floor
                if one.lasting() or step or (one.number == 1 and one.sudden(interval_s)):
                    line.count(name, seen=bool(one.quality & BAD))
        else:
            material = [one for one in readings if one.lasting()]
            stuck_after = readings[0].capability.stuck_after
            if planned.name == "stuck" and stuck_after is not None and len(readings) > MARGIN * stuck_after:
                material = readings
            if len(material) >= READINGS_MIN:
                line.count(name, seen=any(one.quality & BAD for one in material))


def print_table(table: dict[tuple[str, str], Score]) -> None:
    """By kind of fault and profile."""
    say(f"{'fault':22} {'profile':16} {'units':>7} {'seen':>7} {'recall':>7} {'of all marked':>14}")
    for (fault, profile), line in sorted(table.items()):
        recall = f"{line.seen / line.units:7.3f}" if line.units else "      -"
        marked = f"{line.flagged / line.marked:14.3f}" if line.marked else "             -"
        missed = ", ".join(f"{name} {count}" for name, count in line.missed.most_common(3))
        say(f"{fault:22} {profile:16} {line.units:7} {line.seen:7} {recall} {marked}  {missed}")


def false_flags(town: LabelledTown, heard: Heard) -> tuple[int, int]:
    """How many readings of a clean town are flagged, of how many; says which."""
    wanted = BAD | int(Quality.OFF_STEP) | int(Quality.AFTER_GAP) | int(Quality.LATE)
    at = np.flatnonzero(heard.quality & wanted)
    named = {}
    for device in town.roster.device_of_name.values():
        profile = town.roster.profiles[int(town.roster.profile_of[device])]
        for one in profile.uplinks:
            named[int(town.roster.datastreams[device, town.roster.suffix_codes[one.suffix]])] = (
                f"{profile.key}/{one.key}"
            )
    which = Counter(
        (named[datastream], flag.name)
        for datastream, quality in zip(heard.datastream[at].tolist(), heard.quality[at].tolist(), strict=True)
        for flag in Quality
        if quality & flag & wanted
    )
    for (name, flag), count in which.most_common(12):
        say(f"false: {name:32} {flag:16} {count}")
    return len(at), len(heard.quality)


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--days", type=float, default=7.0, help="of the clean town; 7 where it is not given")
    parser.add_argument("--seed", type=int, default=402)
    chosen = parser.parse_args()
    faulty = LabelledTown(seed=chosen.seed, is_faulty=True)
    heard = play(faulty, FAULTY_HOURS)
    table, beside, beside_flagged = score(faulty, heard)
    print_table(table)
    lines = list(table.values())
    units, seen = sum(one.units for one in lines), sum(one.seen for one in lines)
    by_fault: dict[str, Score] = defaultdict(Score)
    for (fault, _), line in table.items():
        by_fault[fault].units += line.units
        by_fault[fault].seen += line.seen
    recalls = {fault: line.seen / line.units for fault, line in by_fault.items() if line.units}
    costs = Costs()
    clean = LabelledTown(seed=chosen.seed + 1, is_faulty=False)
    alarms = Alarms(clean)
    flagged, readings = false_flags(clean, play(clean, chosen.days * 24, costs, alarms.hear))
    datastreams = int((clean.roster.datastreams >= 0).sum())
    result = {
        "recall": round(sum(recalls.values()) / len(recalls), 4),
        "recall_of_units": round(seen / units, 4),
        "recall_of_all_marked": round(sum(one.flagged for one in lines) / sum(one.marked for one in lines), 4),
        "recall_by_fault": {fault: round(one, 4) for fault, one in sorted(recalls.items())},
        "false_flag_rate": round(flagged / readings, 7),
        "false_flags_beside_faults": round(beside_flagged / beside, 5),
        "false_alerts_per_1000": round(alarms.raised / datastreams * 1000, 3),
        "clean_readings": readings,
        "cpu_ratio": round(costs.validation_s / costs.pipeline_s, 3),
    }
    print(json.dumps(result))


if __name__ == "__main__":
    main()
