"""A real Lichtmast in a process of its own, as `lichtmast up` composes it, and an operator who suspends its devices.

Two limits are lifted: the DTLS door's rate of handshakes, because every device of the load is in one /64; and what one
device may send over MQTT, because a few connections carry the packs of all.
"""

import asyncio
import contextlib
import os
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import psutil
from bench.load.town import device

from lichtmast.suite.folder import Folder
from lichtmast.suite.remote import Remote

SETTLE_S = 5.0


@dataclass(frozen=True, slots=True)
class Cpu:
    """CPU seconds used until now by each process that takes part."""

    broker_s: float
    lichtmast_s: float
    load_s: float

    def since(self, before: "Cpu", count: int) -> dict[str, float]:
        """Milliseconds for each of so many."""
        return {
            "broker": round((self.broker_s - before.broker_s) / count * 1e3, 3),
            "lichtmast": round((self.lichtmast_s - before.lichtmast_s) / count * 1e3, 3),
            "load": round((self.load_s - before.load_s) / count * 1e3, 3),
        }


class Server:
    """The process above and its broker."""

    def __init__(self, folder: Folder, *, secure: bool) -> None:
        self.folder = folder
        words = ["-m", "bench.load.server", "secure" if secure else "open", str(folder.path)]
        self._process = subprocess.Popen([sys.executable, *words], stdin=subprocess.PIPE, stdout=subprocess.PIPE)
        assert self._process.stdout is not None
        if self._process.stdout.readline() != b"ready\n":
            raise SystemExit("Lichtmast did not start; see its words above")
        remote = Remote.find(folder)
        assert remote is not None
        self._remote = remote

    def status(self) -> dict[str, Any]:
        return self._remote.get("/status")

    def cpu(self) -> Cpu:
        broker, ours = (psutil.Process(pid).cpu_times() for pid in (self.broker_pid, self._process.pid))
        return Cpu(broker.user + broker.system, ours.user + ours.system, time.process_time())

    @property
    def broker_pid(self) -> int:
        pid: int = self.status()["broker_pid"]
        return pid

    def memory_kb(self) -> dict[str, float]:
        """What is resident, after a moment of rest."""
        time.sleep(SETTLE_S)
        pids = {"broker": self.broker_pid, "lichtmast": self._process.pid}
        return {name: psutil.Process(pid).memory_info().rss / 1e3 for name, pid in pids.items()}

    def wait_packs(self, count: int, timeout_s: float = 120) -> None:
        until_s = time.monotonic() + timeout_s
        while self.status()["packs"] < count:
            if time.monotonic() > until_s:
                raise SystemExit(f"not {count} packs were stored in {timeout_s} s: {self.status()}")
            time.sleep(0.02)

    def end(self) -> None:
        assert self._process.stdin is not None
        self._process.stdin.close()
        self._process.wait(60)


@contextlib.contextmanager
def server(folder: Folder, *, secure: bool) -> Iterator[Server]:
    started = Server(folder, secure=secure)
    try:
        yield started
    finally:
        started.end()


# What those processes do.


async def serve(folder: Folder, *, secure: bool) -> None:
    from lichtmast.ingest.callout import limits
    from lichtmast.suite.secured import Secured
    from lichtmast.suite.service import running
    from lichtmast.suite.settings import SecureSettings, Settings

    delivered = Secured.dtls.fget  # type: ignore[attr-defined]  # a property
    Secured.dtls = property(  # type: ignore[assignment, method-assign]
        lambda self: replace(delivered(self), handshakes_per_s=1e6, subnet_handshakes_per_s=1e6)
    )
    limits.DEVICE_BURST_MESSAGES = limits.DEVICE_BURST_BYTES = 1 << 60  # type: ignore[misc]
    settings = Settings(
        http_port=0, mqtt_port=0, coap_port=0, sync_interval="1s", secure=SecureSettings(est_port=0) if secure else None
    )
    async with running(folder, settings):
        print("ready", flush=True)
        await asyncio.get_running_loop().run_in_executor(None, sys.stdin.read)


def suspend(folder: Folder, numbers: Sequence[int]) -> None:
    """Suspend each in a transaction of its own, and tell when it was committed."""
    from lichtmast.registry import Registry

    with Registry.open(folder.registry) as registry:
        for number in numbers:
            registry.identity.suspend(device(number), at_us=time.time_ns() // 1000)
            print(number, time.monotonic(), flush=True)


def main(role: str, path: str, *numbers: str) -> None:
    folder = Folder.choose(Path(path))
    if role == "suspend":
        suspend(folder, range(int(numbers[0]), int(numbers[1])))
        return
    import logging

    import uvloop

    logging.basicConfig(level=logging.ERROR)
    uvloop.run(serve(folder, secure=role == "secure"))
    os._exit(0)  # all is closed; at a regular end DuckDB's binding fills the screen with what it leaks


if __name__ == "__main__":
    main(*sys.argv[1:])
