"""What a town of ten thousand light devices in one process costs: `scripts/bench town`.

5,000 devices over MQTT and 5,000 over CoAP, each from an IPv6 address of its own, deliver to a real `lichtmast up` for
a minute, a pack every 20 seconds each. All of it lives in a network namespace that this script makes for itself; where
that is refused the devices share ::1, which is said, and `distinct_addresses` is 1. The server's log fsyncs each
second, as a replicated one would: it is the town that is measured here. On a machine that is busy otherwise the broker
closes connections which it cannot serve in 5 s, and fewer than 5,000 are open at the end.

Last line: JSON {mqtt_connections, coap_endpoints, distinct_addresses, rss_mb, cpu_percent, packs_per_s, lost, ...}.
Connections and endpoints are what the kernel lists at the end, not what the town believes. `cpu_percent` is of one
core, of the town alone; `sampling_cpu_percent` is the part of it that measuring takes.
"""

import asyncio
import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
from ipaddress import IPv6Address, IPv6Network
from pathlib import Path

import psutil

EACH = 5_000
INTERVAL_S = 20.0
SECONDS = 60.0
CONNECT_TIMEOUT_S = 120.0
PREFIX = IPv6Network("fd7c:6c6d:1::/64")
MQTT_PORT, COAP_PORT = 1883, 5683
INSIDE = "LICHTMAST_BENCH_INSIDE"


def say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


def main() -> None:
    if INSIDE in os.environ:
        inside()
        return
    prepare = f"ip link set lo up && ip -6 route add local {PREFIX} dev lo"
    unshare = shutil.which("unshare") or "unshare"
    shell = [unshare, "--net", "sh", "-c"]
    possible = subprocess.run([*shell, prepare], capture_output=True, check=False)
    command = [*shell, f'{prepare} && exec "$0" "$@"', sys.executable, __file__]
    if possible.returncode:
        say(f"No namespace of our own here ({possible.stderr.decode().strip()[:100]}): all devices share ::1.")
        command = [sys.executable, __file__]
    os.execvpe(  # noqa: S606 - this very script again, inside
        command[0], command, os.environ | {INSIDE: "" if possible.returncode else "namespace"}
    )


def inside() -> None:
    with tempfile.TemporaryDirectory(prefix="lichtmast-bench-") as folder:
        subprocess.run([sys.executable, "-c", REGISTER, folder, str(EACH)], check=True)
        words = ["up", "--data", folder, f"--mqtt-port={MQTT_PORT}", f"--coap-port={COAP_PORT}", "--http-port=0"]
        words.append("--sync-interval=1s")
        with (Path(folder) / "output").open("wb") as output:
            server = subprocess.Popen([sys.executable, "-m", "lichtmast.suite", *words], stdout=output, stderr=output)
        try:
            while not (Path(folder) / "operator.json").exists():
                if server.poll() is not None:
                    raise SystemExit((Path(folder) / "output").read_text()[-2_000:])
                time.sleep(0.1)
            asyncio.run(measure(server))
        finally:
            server.terminate()
            server.wait()


REGISTER = """
import sys, time
from pathlib import Path
from lichtmast.registry import DeviceStatus, NewDevice, Registry
sys.path.insert(0, "bench")
from town import specs_of
with Registry.open(Path(sys.argv[1]) / "registry.sqlite") as registry:
    registry.ensure_tenant("gm0402", "Hilversum")
    wanted = [NewDevice(one.device, one.profile, None, DeviceStatus.ACTIVE) for one in specs_of(int(sys.argv[2]))]
    registry.register_devices(wanted, at_us=time.time_ns() // 1_000)
"""


def specs_of(each: int) -> list:  # type: ignore[type-arg]  # of DeviceSpec, imported only where it is measured
    from lichtmast.firmware_sim import hang_devices

    assets = [(f"mast-{number}", 5.1 + number % 100 / 1_000, 52.2 + number // 100 / 1_000) for number in range(each)]
    return hang_devices(assets, tenant="gm0402", count=2 * each, seed=402)


async def measure(server: subprocess.Popen[bytes]) -> None:
    from lichtmast.firmware_sim import Town

    addresses = PREFIX if os.environ[INSIDE] else None
    process = psutil.Process()
    specs = specs_of(EACH)
    settings = {"mqtt": ("::1", MQTT_PORT), "coap": ("::1", COAP_PORT)}
    began_s = time.perf_counter()
    async with Town(specs, seed=402, interval_s=INTERVAL_S, addresses=addresses, **settings) as town:  # type: ignore[arg-type]
        async with asyncio.timeout(CONNECT_TIMEOUT_S):
            while town.statistics().connects < len(specs):
                await asyncio.sleep(0.1)
        connected_s = time.perf_counter() - began_s
        say(f"{len(specs)} devices are connected after {connected_s:.1f} s; sending")
        before_s, started_s = _cpu_s(process), time.perf_counter()
        await town.run(SECONDS)
        took_s, busy_s = time.perf_counter() - started_s, _cpu_s(process) - before_s
        rss_mb = process.memory_info().rss / 2**20
        sockets = [one for one in process.net_connections(kind="inet6") if one.raddr]
        drained = await town.wait_drained(60)
        statistics = town.statistics()
        began = time.process_time()
        for device in town.devices[:: max(1, len(town.devices) // 500)]:
            device.sample(time.time_ns() // 1_000)
        sample_us = (time.process_time() - began) / 500 * 1e6
    over_mqtt = [one for one in sockets if one.status == psutil.CONN_ESTABLISHED and one.raddr.port == MQTT_PORT]
    over_coap = [one for one in sockets if one.status == psutil.CONN_NONE and one.raddr.port == COAP_PORT]
    packs_per_s = statistics.total.sent / took_s
    result = {
        "mqtt_connections": len(over_mqtt),
        "coap_endpoints": len(over_coap),
        "distinct_addresses": len({IPv6Address(one.laddr.ip) for one in (*over_mqtt, *over_coap)}),
        "rss_mb": round(rss_mb, 1),
        "cpu_percent": round(100 * busy_s / took_s, 1),
        "sampling_cpu_percent": round(packs_per_s * sample_us / 1e4, 1),
        "packs_per_s": round(packs_per_s, 1),
        "connect_s": round(connected_s, 1),
        "acknowledged": statistics.total.acknowledged,
        "lost": statistics.total.outstanding,
        "drained": drained,
        "interruptions": statistics.interruptions,
        "server_rss_mb": round(_tree_rss_mb(server.pid), 1),
    }
    print(json.dumps(result))


def _cpu_s(process: psutil.Process) -> float:
    times = process.cpu_times()
    return times.user + times.system


def _tree_rss_mb(pid: int) -> float:
    root = psutil.Process(pid)
    return float(sum(one.memory_info().rss for one in (root, *root.children(recursive=True))) / 2**20)


if __name__ == "__main__":
    main()
