"""What the agent costs the computer in the pole: memory, CPU and fsyncs, as it runs for years.

A real `lichtmast-edge run` with six sensors, each a driver of its own, sampled every ten seconds, and one pack a
minute over MQTT to a real `lichtmast up` beside it, which acknowledges each. Measured are windows of one minute after
the first pack was acknowledged; the last line is their median, as JSON. Beside it, in the same run: a bare Python that
sleeps, and Telegraf with six inputs where it is installed.

fsyncs are counted by strace (a Debian package), which attaches after the measured windows, so that it costs them
nothing, for as many minutes again.
"""

import argparse
import contextlib
import json
import os
import shutil
import signal
import socket
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psutil

CHANNELS = {
    "temperature": ("Cel", 15),
    "humidity": ("%RH", 60),
    "pressure": ("Pa", 101_325),
    "wind-speed": ("m/s", 5),
    "gust": ("m/s", 8),
    "rain": ("m", 0.001),
}
DEVICE = "gm0402/edge-0001"
MINUTE_S = 60.0
START_TIMEOUT_S = 90.0
SYNC_CALLS = ("fsync", "fdatasync", "sync_file_range", "msync", "sync", "syncfs")


def free_port(kind: socket.SocketKind = socket.SOCK_STREAM) -> int:
    with socket.socket(socket.AF_INET6, kind) as one:
        one.bind(("::1", 0))
        port: int = one.getsockname()[1]
        return port


def settings_of(state: Path, mqtt_port: int, interval_s: float) -> str:
    drivers = "".join(
        f"""
[[driver]]
name = "{channel}"
kind = "simulated"

[driver.channel.{channel}]
shape = "walk"
unit = "{unit}"
begin = {begin}
step = {begin / 1000}
least = {begin / 2}
most = {begin * 1.5}

[[driver.reading]]
channel = "{channel}"
statistics = {{ mean = "/weather/0/{channel}" }}
sample_s = 10
"""
        for channel, (unit, begin) in CHANNELS.items()
    )
    tenant, name = DEVICE.split("/")
    return f"""
[device]
tenant = "{tenant}"
name = "{name}"
profile = "weather"
state = "{state}"
[report]
interval_s = {interval_s}
[clock]
source = "assumed"
[uplink.mqtt]
port = {mqtt_port}
{drivers}"""


@contextlib.contextmanager
def process(words: list[str], log: Path, env: dict[str, str] | None = None) -> Iterator[subprocess.Popen[bytes]]:
    """A process for as long as the block lasts."""
    with log.open("wb") as output:
        running = subprocess.Popen(words, stdout=output, stderr=output, env=os.environ | (env or {}))
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
    until_s = time.monotonic() + START_TIMEOUT_S
    while not done():
        if time.monotonic() > until_s:
            sys.exit(f"bench: {what} did not happen in {START_TIMEOUT_S:.0f} s:\n{log.read_text()[-2000:]}")
        time.sleep(0.1)


def answer_of(*words: str, data: Path) -> dict[str, Any]:
    """What a `lichtmast` command says as JSON; empty where it fails."""
    done = subprocess.run(
        [sys.executable, "-m", "lichtmast.suite", *words, "--json"],
        env=os.environ | {"LICHTMAST_DATA": str(data)},
        capture_output=True,
        check=False,
    )
    try:
        told: dict[str, Any] = json.loads(done.stdout)
    except ValueError:
        return {}
    return told


def windows(pid: int, minutes: int) -> tuple[list[float], list[float]]:
    """RSS in MB and CPU in per cent of one core, for each minute."""
    watched = psutil.Process(pid)
    rss_mb: list[float] = []
    cpu_percent: list[float] = []
    for minute in range(minutes):
        before = watched.cpu_times()
        time.sleep(MINUTE_S)
        after = watched.cpu_times()
        cpu_percent.append((after.user + after.system - before.user - before.system) / MINUTE_S * 100)
        rss_mb.append(watched.memory_info().rss / 2**20)
        print(f"  minute {minute + 1}: {rss_mb[-1]:.1f} MB, {cpu_percent[-1]:.2f} % CPU", file=sys.stderr)
    return rss_mb, cpu_percent


def fsyncs_per_minute(pid: int, minutes: int, folder: Path) -> float | None:
    """How often the process made the disk write, as strace saw it."""
    strace = shutil.which("strace")
    if strace is None:
        print("  no strace, so no count of fsyncs (Debian: apt-get install strace)", file=sys.stderr)
        return None
    seen = folder / "strace"
    words = [strace, "-f", "-qq", "-e", f"trace={','.join(SYNC_CALLS)}", "-o", str(seen), "-p", str(pid)]
    with process(words, folder / "strace.log"):
        time.sleep(minutes * MINUTE_S)
    calls = [line for line in seen.read_text().splitlines() if any(f" {one}(" in line for one in SYNC_CALLS)]
    return len(calls) / minutes


def bare_rss_mb(folder: Path) -> float:
    with process([sys.executable, "-c", "import time; time.sleep(600)"], folder / "bare.log") as bare:
        time.sleep(1)
        return float(psutil.Process(bare.pid).memory_info().rss / 2**20)


def telegraf_rss_mb(folder: Path) -> float | None:
    telegraf = shutil.which("telegraf")
    if telegraf is None:
        return None
    configuration = folder / "telegraf.conf"
    inputs = "\n".join(f"[[inputs.{name}]]" for name in ("cpu", "mem", "disk", "system", "net", "kernel"))
    configuration.write_text(f'[agent]\ninterval = "10s"\n{inputs}\n[[outputs.discard]]\n')
    with process([telegraf, "--config", str(configuration)], folder / "telegraf.log") as running:
        time.sleep(30)
        return float(psutil.Process(running.pid).memory_info().rss / 2**20)


def measure(folder: Path, minutes: int, interval_s: float) -> dict[str, Any]:
    data = folder / "data"
    mqtt_port, server_log, agent_log = free_port(), folder / "server.log", folder / "agent.log"
    ports = [f"--mqtt-port={mqtt_port}", "--http-port=0", f"--coap-port={free_port(socket.SOCK_DGRAM)}"]
    with process([sys.executable, "-m", "lichtmast.suite", "up", "--data", str(data), *ports], server_log):
        wait_until((data / "operator.json").exists, "the start of lichtmast", server_log)
        words = ["device", "add", DEVICE, "--profile", "weather"]
        subprocess.run(
            [sys.executable, "-m", "lichtmast.suite", *words],
            env=os.environ | {"LICHTMAST_DATA": str(data)},
            check=True,
            stdout=sys.stderr,
        )
        settings = folder / "agent.toml"
        settings.write_text(settings_of(folder / "state", mqtt_port, interval_s))
        command = [str(Path(sys.executable).parent / "lichtmast-edge"), "run", "--settings", str(settings)]
        with process(command, agent_log) as agent:
            wait_until(lambda: answer_of("audit", data=data).get("stored", 0) > 0, "the first pack", agent_log)
            print("  the first pack is stored", file=sys.stderr)
            rss_mb, cpu_percent = windows(agent.pid, minutes)
            fsyncs = fsyncs_per_minute(agent.pid, minutes, folder)
            books = answer_of("audit", data=data)
    return {
        "rss_mb": round(statistics.median(rss_mb), 1),
        "bare_rss_mb": round(bare_rss_mb(folder), 1),
        "telegraf_rss_mb": telegraf_rss_mb(folder),
        "cpu_percent": round(statistics.median(cpu_percent), 3),
        "fsyncs_per_min": fsyncs,
        "packs_stored": books.get("stored"),
        "missing": books.get("missing"),
        "minutes": minutes,
        "interval_s": interval_s,
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--minutes", type=int, default=5, help="windows of a minute, and minutes of counting fsyncs")
    parser.add_argument("--interval", type=float, default=60.0, help="seconds between packs")
    wanted = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="lichtmast-bench-edge-") as folder:
        print(json.dumps(measure(Path(folder), wanted.minutes, wanted.interval)))


if __name__ == "__main__":
    main()
