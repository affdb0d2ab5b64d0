"""One alert an episode (I10), for real: a Lichtmast under load that dies again and again, and the oracle's episodes.

Every reading is numbered, so whoever sends can send all again until the store has all: what the oracle reads is what is
in the store, in the order of the numbers, and nobody can have seen more or less of it.
"""

import contextlib
import random
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from alert_oracle import Came, Oracle
from fault_run import Burst
from running_lichtmast import Running

from lichtmast.registry import Registry
from lichtmast.registry.alerts.episode import EpisodeState
from lichtmast.registry.alerts.inbox import InboxQuery
from lichtmast.registry.alerts.rules import AlertRule
from lichtmast.registry.auditing.actor import LOCAL_COMMAND
from lichtmast.store import DuckStore
from lichtmast.suite.folder import Folder
from lichtmast.wire import DeviceId, Reading, encode, topics
from lichtmast.wire.faultpoint import EXIT_CODE

pytestmark = [pytest.mark.slow, pytest.mark.timeout(300)]
DEVICE = DeviceId("gm0402", "alarm-1")
EPOCH = 3
S = 1_000_000


@pytest.fixture
def running(tmp_path: Path) -> Iterator[Running]:
    one = Running(Folder.choose(tmp_path / "data"), tmp_path / "output.log")
    one.register(DEVICE.device, profile="noise")
    yield one
    if one.process is not None and one.process.poll() is None:
        one.process.kill()
        one.process.wait()


def make_rule(running: Running) -> tuple[AlertRule, str]:
    """A rule whose alerts are never folded into one; the rule, and its subject."""
    document = {
        "name": "loud",
        "tenant": "gm0402",
        "severity": "warning",
        "fold_s": 0,
        "scope": {"capability": "level"},
        "condition": {"kind": "threshold", "above": 60, "clear": 55, "for_s": 2},
    }
    with Registry.open(running.folder.registry) as registry:
        made = registry.alerts.put_rule(document, by=LOCAL_COMMAND, at_us=time.time_ns() // 1000)
        entry = registry.directory().entries[str(DEVICE)]
    return made, f"datastream/{entry.datastream_ids[0]}"


def packs(count: int, seed: int) -> list[bytes]:
    """A wandering noise, a reading a second up to now."""
    dice, level = random.Random(seed), 55.0  # noqa: S311 - dice
    begin_us = time.time_ns() // 1000 - count * S
    found = []
    for seq in range(1, count + 1):
        level = min(max(level + dice.uniform(-4, 4), 45), 65)
        reading = Reading("/noise/0/level", round(level, 1), "dB", begin_us + seq * S)
        found.append(encode(DEVICE, [reading], epoch=EPOCH, seq=seq))
    return found


def send(running: Running, payloads: list[bytes], first: int, size: int = 1_000) -> None:
    """Send `size` packs from this number on and wait for the answers; whoever answers may die meanwhile."""
    part = payloads[first - 1 : first - 1 + size]
    with contextlib.suppress(OSError, AssertionError):
        burst = Burst(running.mqtt_port, topics.up_topic(DEVICE))
        try:
            burst.send(first, part)
            burst.hear(len(part), 5.0)
        finally:
            burst.close()


def send_until_it_dies(running: Running, payloads: list[bytes], first: int) -> int:
    """Send on, thirty at a time, so that there are many steps; where it got when nobody was there any more."""
    assert running.process is not None
    while running.process.poll() is None and first < len(payloads) - 100:
        send(running, payloads, first, 30)
        first += 30
    return first


def finish(running: Running, rule: AlertRule, subject: str, payloads: list[bytes]) -> None:
    """Send all again until all is stored, the last pack at the very end; when that is evaluated, judge."""
    until_s = time.monotonic() + 120
    while running.audit()["stored"] < len(payloads) - 1:
        assert time.monotonic() < until_s, "not everything is stored"
        for first in range(1, len(payloads), 1_000):
            send(running, payloads[:-1], first)
    sent_us = time.time_ns() // 1000
    send(running, payloads, len(payloads))
    while running.status()["alerts"]["watermark_us"] < sent_us:
        assert time.monotonic() < until_s, "the alerts do not follow"
        time.sleep(0.05)
    assert running.stop() == 0
    expected = expected_of(running, rule, subject)
    with Registry.open(running.folder.registry) as registry:
        query = InboxQuery(states=frozenset(EpisodeState), limit=1_000)
        rows = registry.alerts.inbox(query, now_us=time.time_ns() // 1000)
    found = [(row.episode.raised_at_us, row.episode.cleared_at_us, row.episode.count) for row in reversed(rows)]
    assert expected == found
    episodes, least = len(expected), len(payloads) // 200
    assert episodes > least, "a quiet run proves nothing"
    sys.stdout.write(f"{len(expected)} episodes of {len(payloads)} readings, none twice\n")


def expected_of(running: Running, rule: AlertRule, subject: str) -> list[tuple[int, int | None, int]]:
    """The oracle's episodes of what is in the store, in the order in which it was received."""
    oracle = Oracle([rule], lambda _: [subject])
    stream = int(subject.removeprefix("datastream/"))
    store = DuckStore.open(running.folder.store, clock_us=lambda: 0)
    try:
        rows = store.range([stream], 0, 2**62, limit=100_000).to_pylist()
    finally:
        store.close()
    for row in sorted(rows, key=lambda one: (one["result_time"], one["phenomenon_time"])):
        result = row["result"]
        oracle.take(Came(row["result_time"], stream, str(DEVICE), row["phenomenon_time"], result, row["quality"]))
    found: list[tuple[int, int | None, int]] = []
    for _, _, kind, at_us in oracle.transitions:
        if kind == "raised":
            found.append((at_us, None, 1))
        else:
            found[-1] = (found[-1][0], at_us, 1)
    return found


def test_killed_beside_the_save_there_is_one_alert_an_episode(
    running: Running, monkeypatch: pytest.MonkeyPatch
) -> None:
    rule, subject = make_rule(running)
    payloads, first = packs(12_000, 1), 1
    for point in ("alerts.before_save=exit@4", "alerts.after_save=exit@2"):
        monkeypatch.setenv("LICHTMAST_FAULTS", point)
        running.start()
        first = send_until_it_dies(running, payloads, first)
        assert running.process is not None
        assert running.process.wait(20) == EXIT_CODE, f"it did not die at {point}"
    monkeypatch.delenv("LICHTMAST_FAULTS")
    running.start()
    finish(running, rule, subject, payloads[: first + 300])


@pytest.mark.faults
@pytest.mark.parametrize("seed", range(3))
def test_killed_anywhere_and_often_there_is_one_alert_an_episode(running: Running, seed: int) -> None:
    rule, subject = make_rule(running)
    payloads, first = packs(9_000, seed), 1
    dice = random.Random(seed)  # noqa: S311 - dice
    kills = 0
    while first < len(payloads) - 1_000:
        running.start()
        assert running.process is not None
        first = send_until_it_dies(running, payloads[: first + dice.randrange(200, 1_200)], first)
        killer = threading.Timer(dice.uniform(0.0, 0.5), running.process.kill)
        killer.start()
        first = send_until_it_dies(running, payloads, first)
        killer.join()
        kills += running.process.poll() is not None
        running.kill()
    assert kills > 2, "a run without deaths proves nothing"
    running.start()
    finish(running, rule, subject, payloads)
