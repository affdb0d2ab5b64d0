"""What alert rules cost: 100,000 rules over 30,000 datastreams, as fast as the engine goes: `scripts/bench alerts`.

5,000 lamp controllers and other devices of six datastreams or more report each minute, in batches as the pipeline makes
them at the live rate (a tenth of a second of readings) and when it catches up (10,000 readings). The rules: 99,990 on
single datastreams, of which three quarters thresholds with hysteresis and delays and the rest on rates, flags and
absence, and ten over the whole town, fleets and absence by rhythm among them. One reading in a thousand does something.

live     batches of a tenth of a second: CPU a reading, and so how many readings a second one core keeps up with.
behind   batches of 10,000 readings.
plan     laying out all rules over the directory; what a change of the rules costs, beside the running engine.

Last line: JSON {readings_per_s, cpu_us_per_reading, live_rate_per_s, share_of_a_core, behind_readings_per_s, plan_s,
pairs, transitions, rss_mb, load}: `readings_per_s` is of the live batches; the live rate is all datastreams a minute.
"""

import json
import os
import resource
import sys
import time

import numpy as np
import numpy.typing as npt

from lichtmast.ingest.alerting.baseline import DAY_HOURS, Usual
from lichtmast.ingest.alerting.engine import Engine, Place
from lichtmast.ingest.alerting.groups import grouping
from lichtmast.ingest.alerting.intake import Rows
from lichtmast.ingest.alerting.layout import Layout
from lichtmast.ingest.alerting.plan import make_plan
from lichtmast.registry import DeviceEntry, DeviceStatus
from lichtmast.registry.alerts.rules import AlertRule, parse_rule
from lichtmast.wire import DeviceId, load_profiles

STREAMS = 30_000
RULES = 100_000
PROFILE = "lamp-controller"
START_US = 1_795_000_000_000_000
LIVE_S = 60
BEHIND_BATCHES = 40
BEHIND_ROWS = 10_000


class NothingUsual:
    """Baselines where there are none."""

    def usual(self, day: int, streams: object, *, weekly: bool) -> Usual:
        del day, streams, weekly
        none = np.full((0, DAY_HOURS), np.nan)
        return Usual(none, none, none, none)


def say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


def town() -> dict[str, DeviceEntry]:
    size = len(load_profiles()[PROFILE].uplinks)
    devices = [DeviceId("gm0402", f"lm-{row:05d}") for row in range(STREAMS // size)]
    return {
        str(device): DeviceEntry(
            row + 1, device, DeviceStatus.ACTIVE, PROFILE, None, tuple(range(row * size + 1, row * size + size + 1))
        )
        for row, device in enumerate(devices)
    }


def rules() -> list[AlertRule]:
    def rule(number: int, condition: dict[str, object], **scope: object) -> AlertRule:
        document = {"name": f"rule {number}", "tenant": "gm0402", "severity": "info", "scope": scope}
        return parse_rule(document | {"condition": condition}, rule_id=number, version=1)

    kinds: list[dict[str, object]] = [
        {"kind": "threshold", "above": 90, "clear": 80, "for_s": 120},
        {"kind": "threshold", "below": 0.5, "clear": 2, "clear_for_s": 120},
        {"kind": "threshold", "above": 99},
        {"kind": "threshold", "below": 0.1},
        {"kind": "threshold", "above": 95, "clear_for_s": 60},
        {"kind": "threshold", "above": 97, "for_s": 300, "clear_for_s": 300},
        {"kind": "rate", "above_per_s": 1.5, "over_s": 300},
        {"kind": "absence", "after_s": 600},
    ]
    wide: list[dict[str, object]] = [
        {"kind": "absence"},
        {"kind": "quality", "flags": ["STUCK"], "count": 3, "within_s": 3600},
        {"kind": "quality", "flags": ["OUT_OF_RANGE"], "count": 2, "within_s": 3600},
        *({"kind": "threshold", "above": 96 + number} for number in range(4)),
        {"kind": "fleet", "rule": "rule 1", "share": 0.1, "of": "area"},
        {"kind": "fleet", "rule": "rule 2", "share": 0.1, "of": "area"},
        {"kind": "fleet", "rule": "rule 3", "share": 0.1, "of": "area"},
    ]
    narrow = [
        rule(number, kinds[number % len(kinds)], datastreams=[number % STREAMS + 1])
        for number in range(len(wide) + 1, RULES + 1)
    ]
    return [rule(number, condition) for number, condition in enumerate(wide, 1)] + narrow


class Feed:
    """Every datastream once a minute, in the same order, a pack of a device at once."""

    def __init__(self, size: int) -> None:
        self._dice = np.random.default_rng(1)
        self._level: npt.NDArray[np.float64] = self._dice.uniform(30, 60, STREAMS)
        self._at = 0
        self._size = size

    def rows(self, count: int) -> Rows:
        number = np.arange(self._at, self._at + count)
        self._at += count
        index = number % STREAMS
        received_us = START_US + number // self._size * self._size * 60_000_000 // STREAMS
        value = self._level[index] + self._dice.normal(0, 1, count)
        wild = self._dice.random(count) < 0.001
        value[wild] = self._dice.choice([0.0, 100.0], int(wild.sum()))
        quality = np.where(self._dice.random(count) < 0.0005, 1024, 0)
        return Rows(index.astype(np.int64) + 1, received_us - 500_000, value, quality.astype(np.int64), received_us)


def measure(engine: Engine, feed: Feed, batch: int, batches: int) -> tuple[float, float, int]:
    """Readings a second, microseconds of CPU a reading, transitions."""
    found = 0
    prepared = [feed.rows(batch) for _ in range(batches)]
    begin, cpu = time.perf_counter(), time.process_time()
    for rows in prepared:
        found += len(engine.step(rows, Place()).transitions)
    spent, cpu = time.perf_counter() - begin, time.process_time() - cpu
    return batch * batches / spent, cpu * 1e6 / (batch * batches), found


def main() -> None:
    entries, listed = town(), rules()
    begin = time.perf_counter()
    plan = make_plan(listed, Layout(entries, load_profiles()), grouping({}))
    plan_s = time.perf_counter() - begin
    pairs = sum(len(one) for one in plan.families)
    say(f"{len(plan.rules):,} rules over {STREAMS:,} datastreams: {pairs:,} pairs, laid out in {plan_s:.1f} s")
    engine, feed = Engine(plan, NothingUsual()), Feed(len(load_profiles()[PROFILE].uplinks))
    measure(engine, feed, STREAMS, 5)
    live_rate = STREAMS / 60
    rate, cpu_us, raised = measure(engine, feed, int(live_rate / 10), LIVE_S * 10)
    say(f"live: {rate:,.0f} readings/s, {cpu_us:.1f} us a reading, {raised} transitions")
    behind, behind_us, more = measure(engine, feed, BEHIND_ROWS, BEHIND_BATCHES)
    say(f"behind: {behind:,.0f} readings/s, {behind_us:.1f} us a reading, {more} transitions")
    result = {
        "readings_per_s": round(rate),
        "cpu_us_per_reading": round(cpu_us, 2),
        "live_rate_per_s": round(live_rate),
        "share_of_a_core": round(cpu_us * live_rate / 1e6, 4),
        "behind_readings_per_s": round(behind),
        "behind_cpu_us_per_reading": round(behind_us, 2),
        "plan_s": round(plan_s, 1),
        "pairs": pairs,
        "transitions": raised + more,
        "rss_mb": round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024),
        "load": round(os.getloadavg()[0], 1),
    }
    print(json.dumps(result))


if __name__ == "__main__":
    main()
