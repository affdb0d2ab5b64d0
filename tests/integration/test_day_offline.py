"""A day without a network, and then the real agent against the real server: nothing lost, nothing doubled, and what is
measured now does not wait behind what was measured then.

The day is made by the real sampler and the real outbox on a clock that is turned by hand. What the agent measures after
it always has the same values, so every row of the store is known beforehand.
"""

import statistics
import time
import tomllib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from running_agent import RunningAgent
from running_lichtmast import Running

from lichtmast.edge.agent import OUTBOX_FILE
from lichtmast.edge.drivers.port import Channel
from lichtmast.edge.outbox import Draft, Outbox, OutboxSettings
from lichtmast.edge.sampling import Sampler, read_drivers
from lichtmast.edge.timekeeping import Stamp
from lichtmast.firmware_sim.checker import sealed_value
from lichtmast.registry import Registry
from lichtmast.store import DuckStore, Outcome
from lichtmast.wire import DeviceId, load_profiles

pytestmark = [pytest.mark.slow, pytest.mark.timeout(300)]
SEED = 20261121
PROFILE = "air-quality"
CAPABILITIES = load_profiles()[PROFILE].uplinks[:6]
DAY_S = 86_400.0
DRAIN_S = 150.0
RATIO = 20.0
LIVE_SHARE = 4
"""What is measured live is a quarter of each range."""


def live_value(suffix: str) -> float:
    most = next(one.maximum for one in CAPABILITIES if one.suffix == suffix)
    assert most is not None
    return most / LIVE_SHARE


def sensors(sample_s: float) -> str:
    """The agent's drivers, as its settings have them."""
    lines = ["[[driver]]", 'name = "air"', 'kind = "simulated"']
    for one in CAPABILITIES:
        lines += [f"[driver.channel.{one.key}]", 'shape = "constant"', f'unit = "{one.unit}"']
        lines += [f"value = {live_value(one.suffix)!r}"]
    for one in CAPABILITIES:
        lines += ["[[driver.reading]]", f'channel = "{one.key}"', f'suffix = "{one.suffix}"', f"sample_s = {sample_s}"]
    return "\n".join(lines) + "\n"


class TurnedClock:
    """The clock of an earlier boot, turned by the test."""

    boot = "the day before"

    def __init__(self) -> None:
        self.now_s = 17.0

    def monotonic_s(self) -> float:
        return self.now_s

    def wall_us(self) -> int:
        raise AssertionError("the day has its stamp; nobody asks the system's clock")


Reading = tuple[str, int]
"""A suffix and a time in microseconds: what makes a row the one it is."""


@dataclass(frozen=True)
class Day:
    """What was measured, and where it is kept."""

    epoch: int
    readings: dict[Reading, float]


def offline_day(state: Path, device: DeviceId, packs: int) -> Day:
    """Live a day without a network: so many packs of six sensors, each a commit of its own."""
    state.mkdir(parents=True)
    clock = TurnedClock()
    interval_s = DAY_S / packs
    stamp = Stamp(time.time_ns() // 1_000 - round((DAY_S + interval_s) * 1e6), 0.01)
    drivers = read_drivers(tomllib.loads(sensors(interval_s))["driver"])
    channels = {"air": [Channel(one.key, "number", one.unit) for one in CAPABILITIES]}
    sampler = Sampler(drivers, channels, now_s=clock.now_s, fresh_salt=lambda: bytes(16))
    outbox = Outbox.open(state / OUTBOX_FILE, device, settings=OutboxSettings(), clock=clock)
    expected: dict[Reading, float] = {}
    for number in range(packs):
        # No second of the day like another: a time that is rounded anywhere on its way does not come out as it was.
        clock.now_s = 17.0 + number * interval_s + number * 0.000_137 + 0.123_457
        values = {one.key: sealed_value(SEED, str(device), outbox.epoch, number + 1, one) for one in CAPABILITIES}
        sampler.take("air", values, clock.now_s)
        expected |= {(one.suffix, stamp.wall_us(clock.now_s)): float(values[one.key]) for one in CAPABILITIES}
        clock.now_s += 0.5
        assert outbox.put([Draft(sampler.report(clock.now_s).readings)], stamp) == [number + 1]
    day = Day(outbox.epoch, expected)
    outbox.close()
    assert len(expected) == packs * len(CAPABILITIES)
    return day


@dataclass(frozen=True)
class Stored:
    """What is on the server's disk, for each number and for each reading as often as it is there."""

    arrivals_us: dict[int, list[int]]
    rows: dict[Reading, list[tuple[float, int]]]
    """Value, and moment of arrival."""


def read_store(running: Running, device: DeviceId, epoch: int) -> Stored:
    """By the store's own reader, with nothing else running on it."""
    with Registry.open(running.folder.registry) as registry:
        ids = registry.directory().entries[str(device)].datastream_ids
    suffixes = {at: one.suffix for at, one in zip(ids, load_profiles()[PROFILE].uplinks, strict=False)}
    store = DuckStore.open(running.folder.store, clock_us=lambda: 0)
    try:
        ledger = store.ledger_range(str(device), epoch).to_pylist()
        rows = store.range(sorted(suffixes), 0, 2**62, limit=10**6).to_pylist()
    finally:
        store.close()
    told = Stored({}, {})
    for one in ledger:
        if one["outcome"] == Outcome.STORED:
            told.arrivals_us.setdefault(one["seq"], []).append(one["received_at"])
    for one in rows:
        key = (suffixes[one["datastream_id"]], one["phenomenon_time"])
        told.rows.setdefault(key, []).append((one["result"], one["result_time"]))
    return told


@pytest.fixture
def agent(running: Running, tmp_path: Path) -> Iterator[RunningAgent]:
    device = DeviceId("gm0402", "agent-1")
    running.register(device.device, profile=PROFILE)
    one = RunningAgent(tmp_path / "agent", ("::1", running.mqtt_port), device=device, profile=PROFILE)
    yield one
    one.end()


def live_until_drained(running: Running, agent: RunningAgent, packs: int) -> None:
    """Let the agent run until the last number of the day is on the server."""
    agent.start()
    until_s = time.monotonic() + DRAIN_S
    # The status costs nothing to ask; the audit, which reads the store, is asked once the day can be there.
    while running.status()["packs"] < packs or running.audit()["missing"]:
        assert time.monotonic() < until_s, f"not drained in {DRAIN_S:.0f} s\n{agent.log.read_text()[-2000:]}"
        time.sleep(0.25)
    assert agent.stop() == 0


@pytest.mark.parametrize(
    ("link", "packs", "interval_s"),
    [
        ("mqtt", 360, 1.0),
        ("coap", 1_440, 1.0),
        pytest.param("mqtt", 1_440, 1.0, marks=pytest.mark.faults),
        pytest.param("mqtt", 1_440, 0.5, marks=pytest.mark.faults),
        pytest.param("coap", 1_440, 0.5, marks=pytest.mark.faults),
    ],
)
def test_a_day_offline_arrives_whole_and_live_packs_do_not_wait_for_it(
    running: Running, agent: RunningAgent, link: str, packs: int, interval_s: float
) -> None:
    agent.sensors, agent.interval_s = sensors(interval_s), interval_s
    if link == "coap":
        agent.mqtt, agent.coap = None, ("::1", running.coap_port)
    day = offline_day(agent.state, agent.device, packs)
    live_until_drained(running, agent, packs)

    audit = running.audit()
    left = agent.outbox()
    assert running.stop() == 0
    assert (audit["faults"], audit["missing"], audit["dropped"], audit["quarantined"]) == ([], 0, 0, 0)
    assert left["epoch"] == day.epoch
    stored = read_store(running, agent.device, day.epoch)
    assert {seq: found for seq, found in stored.arrivals_us.items() if len(found) != 1} == {}, "packs stored twice"
    numbers, made = set(stored.arrivals_us), set(range(1, left["next_seq"]))
    assert set(range(1, packs + 1)) <= numbers <= made
    assert len(made - numbers) <= left["packs"], "a live pack is neither stored nor waiting"
    assert_readings(day, stored)
    assert audit["readings"] == len(stored.rows) == len(numbers) * len(CAPABILITIES)

    figures = measure(day, stored, packs)
    print(f"\n{link}, {packs} packs, live every {interval_s} s: {figures}, duplicates {audit['duplicates']}")  # noqa: T201 - with -s
    assert figures.live_packs > 0, "vacuous: the drain was over before anything live came"
    # Twenty times what comes live at two packs a second, which is a hundred and twenty times what a pole sends.
    assert figures.packs_per_s >= RATIO
    assert figures.ratio >= RATIO
    assert figures.delay_median_s < 2
    assert figures.delay_max_s < 3 * interval_s + 2


def assert_readings(day: Day, stored: Stored) -> None:
    """Each reading of the day once, with its value and its own time; all others are what is measured live."""
    doubled = {key: found for key, found in stored.rows.items() if len(found) != 1}
    assert not doubled, f"{len(doubled)} readings are stored more than once"
    values = {key: found[0][0] for key, found in stored.rows.items()}
    live = values.keys() - day.readings.keys()
    assert live
    expected = day.readings | {key: live_value(key[0]) for key in live}
    wrong = [(key, expected[key], values.get(key)) for key in expected if values.get(key) != expected[key]]
    assert not wrong, f"{len(wrong)} readings are not as they were measured, such as {wrong[:3]}"
    assert min(time_us for _, time_us in live) > max(time_us for _, time_us in day.readings)


@dataclass(frozen=True)
class Figures:
    """The drain, from the first arrival of the day's packs to the last.

    A delay is from measurement to arrival, of what was measured since the first arrival: what was measured while the
    agent was still dialling belongs to the backlog.
    """

    drain_s: float
    packs_per_s: float
    live_packs: int
    ratio: float
    delay_median_s: float
    delay_max_s: float


def measure(day: Day, stored: Stored, packs: int) -> Figures:
    """By the server's own moments of arrival."""
    of_day = [found[0] for seq, found in stored.arrivals_us.items() if seq <= packs]
    first_us, last_us = min(of_day), max(of_day)
    live = [at for seq, (at,) in stored.arrivals_us.items() if seq > packs and first_us <= at <= last_us]
    delays_s = [
        (at_us - key[1]) / 1e6
        for key, [(_, at_us)] in stored.rows.items()
        if key not in day.readings and first_us <= key[1] and at_us <= last_us
    ]
    drain_s = (last_us - first_us) / 1e6
    return Figures(
        round(drain_s, 2),
        round(packs / drain_s, 1),
        len(live),
        round(packs / max(1, len(live)), 1),
        round(statistics.median(delays_s), 3),
        round(max(delays_s), 3),
    )
