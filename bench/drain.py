"""How fast a real agent delivers a day of backlog, and how long live packs take meanwhile: `scripts/bench drain`.

For each link, MQTT and CoAP: an outbox with 1,440 packs of six readings, written by the agent's own code; then a real
`lichtmast-edge run` on it, which goes on measuring every second, and a real `lichtmast up` beside it on ::1. Times are
the server's own moments of arrival: the drain lasts from the first pack of the backlog to the last, and a live reading
takes from its measurement to its arrival.

Last line: JSON {drain_packs_per_s, live_latency_p99_s, ratio, ...}: these are MQTT's, those of CoAP begin with coap_.
`ratio` is packs of the backlog for each live pack during the drain. Medians of the rounds.
"""

import argparse
import contextlib
import json
import signal
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

PACKS = 1_440
PROFILE = "air-quality"
READINGS = 6
TIMEOUT_S = 300.0


def say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


@contextlib.contextmanager
def process(words: list[str], log: Path) -> Iterator[subprocess.Popen[bytes]]:
    """A process for as long as the block lasts."""
    with log.open("wb") as output:
        running = subprocess.Popen([sys.executable, "-m", *words], stdout=output, stderr=output)
    try:
        yield running
    finally:
        running.send_signal(signal.SIGTERM)
        try:
            running.wait(30)
        except subprocess.TimeoutExpired:
            running.kill()
            running.wait()


def wait_until(done: Any, what: str, log: Path) -> None:  # noqa: ANN401 - any question
    until_s = time.monotonic() + TIMEOUT_S
    while not done():
        if time.monotonic() > until_s:
            sys.exit(f"bench: {what} did not happen in {TIMEOUT_S:.0f} s:\n{log.read_text()[-2000:]}")
        time.sleep(0.2)


def fill(state: Path, device: str) -> int:
    """A day of packs in the outbox, one a minute, up to a minute ago; returns its epoch."""
    from lichtmast.edge.agent import OUTBOX_FILE
    from lichtmast.edge.clock import SystemClock
    from lichtmast.edge.outbox import Draft, Outbox, OutboxSettings
    from lichtmast.edge.sampling import Measured
    from lichtmast.edge.timekeeping import Stamp
    from lichtmast.wire import DeviceId, load_profiles

    state.mkdir(parents=True)
    clock = SystemClock()
    now_s = clock.monotonic_s()
    stamp = Stamp(clock.wall_us() - round(now_s * 1e6), 0.01)
    outbox = Outbox.open(state / OUTBOX_FILE, DeviceId.parse(device), settings=OutboxSettings(), clock=clock)
    capabilities = load_profiles()[PROFILE].uplinks[:READINGS]
    for number in range(PACKS):
        at_s = now_s - (PACKS - number) * 60
        readings = tuple(Measured(one.suffix, (one.maximum or 1) / 4, one.unit, at_s) for one in capabilities)
        outbox.put([Draft(readings)], stamp)
    epoch = outbox.epoch
    outbox.close()
    return epoch


def settings_of(state: Path, device: str, link: str, port: int, interval_s: float) -> str:
    from lichtmast.wire import load_profiles

    tenant, name = device.split("/")
    lines = ["[device]", f'tenant = "{tenant}"', f'name = "{name}"', f'profile = "{PROFILE}"', f'state = "{state}"']
    lines += ["[report]", f"interval_s = {interval_s}", "[clock]", 'source = "assumed"']
    lines += ["[uplink]", f'order = ["{link}"]', f"[uplink.{link}]", 'host = "::1"', f"port = {port}"]
    lines += ["[[driver]]", 'name = "air"', 'kind = "simulated"']
    capabilities = load_profiles()[PROFILE].uplinks[:READINGS]
    for one in capabilities:
        value = (one.maximum or 1) / 4
        lines += [f"[driver.channel.{one.key}]", 'shape = "constant"', f'unit = "{one.unit}"', f"value = {value!r}"]
    for one in capabilities:
        lines += ["[[driver.reading]]", f'channel = "{one.key}"', f'suffix = "{one.suffix}"']
        lines += [f"sample_s = {interval_s}"]
    return "\n".join(lines) + "\n"


def measure(folder: Path, link: str, interval_s: float) -> dict[str, float]:
    from lichtmast.registry import DeviceStatus, NewDevice, Registry
    from lichtmast.suite.folder import Folder
    from lichtmast.suite.remote import Remote
    from lichtmast.wire import DeviceId

    device = "gm0402/drain-1"
    data = Folder.choose(folder / "data")
    with Registry.open(data.registry) as registry:
        registry.ensure_tenant("gm0402")
        new = NewDevice(DeviceId.parse(device), PROFILE, None, DeviceStatus.ACTIVE)
        registry.register_devices([new], at_us=time.time_ns() // 1_000)
    epoch = fill(folder / "state", device)
    server_log, agent_log = folder / "server.log", folder / "agent.log"
    ports = ["--http-port=0", "--mqtt-port=0", "--coap-port=0"]
    with process(["lichtmast.suite", "up", "--data", str(data.path), *ports], server_log):
        wait_until(lambda: Remote.find(data) is not None, "the start of lichtmast", server_log)
        remote = Remote.find(data)
        if remote is None:
            sys.exit("bench: lichtmast has ended")
        settings = folder / "agent.toml"
        settings.write_text(
            settings_of(folder / "state", device, link, remote.get("/status")[f"{link}_port"], interval_s)
        )
        with process(["lichtmast.edge", "run", "--settings", str(settings)], agent_log):
            wait_until(
                lambda: remote.get("/status")["packs"] >= PACKS and not remote.get("/audit")["missing"],
                "the end of the drain",
                agent_log,
            )
    return figures(data, device, epoch)


def figures(data: Any, device: str, epoch: int) -> dict[str, float]:  # noqa: ANN401 - the type is imported where used
    from lichtmast.registry import Registry
    from lichtmast.store import DuckStore

    with Registry.open(data.registry) as registry:
        ids = registry.directory().entries[device].datastream_ids
    store = DuckStore.open(data.store, clock_us=lambda: 0)
    try:
        arrivals = {one["seq"]: one["received_at"] for one in store.ledger_range(device, epoch).to_pylist()}
        rows = store.range(sorted(ids), 0, 2**62, limit=10**6).to_pylist()
    finally:
        store.close()
    of_day = [at_us for seq, at_us in arrivals.items() if seq <= PACKS]
    first_us, last_us = min(of_day), max(of_day)
    live = sum(seq > PACKS and first_us <= at_us <= last_us for seq, at_us in arrivals.items())
    # What was measured before the first arrival waited for the connection, not behind the backlog.
    delays_s = [
        (one["result_time"] - one["phenomenon_time"]) / 1e6
        for one in rows
        if first_us <= one["phenomenon_time"] and one["result_time"] <= last_us
    ]
    return {
        "drain_packs_per_s": PACKS / (last_us - first_us) * 1e6,
        "live_latency_p99_s": statistics.quantiles(delays_s, n=100)[98],
        "live_latency_median_s": statistics.median(delays_s),
        "ratio": PACKS / max(1, live),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=3, help="days to drain over each link")
    parser.add_argument("--interval", type=float, default=1.0, help="seconds between live packs")
    wanted = parser.parse_args()
    result: dict[str, float] = {}
    for link, prefix in (("mqtt", ""), ("coap", "coap_")):
        rounds = []
        for _ in range(wanted.rounds):
            with tempfile.TemporaryDirectory(prefix="lichtmast-bench-drain-") as folder:
                rounds.append(measure(Path(folder), link, wanted.interval))
            say(f"{link}: {rounds[-1]}")
        for name in rounds[0]:
            result[prefix + name] = round(statistics.median(one[name] for one in rounds), 3)
    print(json.dumps(result | {"packs": PACKS, "interval_s": wanted.interval, "rounds": wanted.rounds}))


if __name__ == "__main__":
    main()
