"""A real `lichtmast up` in a process of its own, on free ports of ::1, that a test may kill."""

import asyncio
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from free_ports import free_port

from lichtmast.registry import DeviceStatus, NewDevice, Registry
from lichtmast.suite.folder import Folder
from lichtmast.suite.remote import Remote
from lichtmast.wire import DeviceId

START_TIMEOUT_S = 60


def lichtmast(*words: str, data: Path, timeout_s: float = 120) -> subprocess.CompletedProcess[str]:
    """Run the command to its end."""
    return subprocess.run(
        [sys.executable, "-m", "lichtmast.suite", *words],
        env=os.environ | {"LICHTMAST_DATA": str(data)},
        capture_output=True,
        text=True,
        timeout=timeout_s,
        check=False,
    )


@dataclass
class Running:
    """One data folder, and the Lichtmast that runs on it now, if any."""

    folder: Folder
    output: Path
    http_port: int = field(default_factory=free_port)
    mqtt_port: int = field(default_factory=free_port)
    coap_port: int = field(default_factory=lambda: free_port(socket.SOCK_DGRAM))
    process: subprocess.Popen[bytes] | None = None
    name: str = "::1"
    """By which address others reach it; its certificates carry it."""
    est_port: int | None = None
    """Set to have everything encrypted."""
    prefix: Sequence[str] = ()
    """Words before the command, as of a namespace."""
    options: Sequence[str] = ()
    """Words after it."""

    @classmethod
    def secure(cls, folder: Folder, output: Path, *, name: str = "::1", prefix: Sequence[str] = ()) -> "Running":
        """One with certificates and people; others reach it by `name`, as through a namespace's router."""
        return cls(folder, output, est_port=free_port(), name=name, prefix=prefix)

    @property
    def url(self) -> str:
        return f"{'http' if self.est_port is None else 'https'}://[{self.name}]:{self.http_port}"

    @property
    def est_url(self) -> str:
        return f"https://[{self.name}]:{self.est_port}"

    def start(self) -> None:
        """Start it and wait until it answers."""
        ports = [
            f"--{name}-port={port}"
            for name, port in (("http", self.http_port), ("mqtt", self.mqtt_port), ("coap", self.coap_port))
        ]
        if self.est_port is not None:
            ports += ["--secure", f"--est-port={self.est_port}", f"--name={self.name}"]
        command = [
            sys.executable,
            "-m",
            "lichtmast.suite",
            "up",
            "--data",
            str(self.folder.path),
            *ports,
            *self.options,
        ]
        with self.output.open("ab") as output:
            self.process = subprocess.Popen(
                [*self.prefix, *command],
                stdout=output,
                stderr=output,
            )
        until_s = time.monotonic() + START_TIMEOUT_S
        while Remote.find(self.folder) is None:
            if self.process.poll() is not None or time.monotonic() > until_s:
                pytest.fail(f"lichtmast did not start:\n{self.output.read_text()[-3000:]}")
            time.sleep(0.05)

    async def start_again(self) -> None:
        """The same beside a running event loop."""
        await asyncio.to_thread(self.start)

    def status(self) -> dict[str, Any]:
        remote = Remote.find(self.folder)
        assert remote is not None, "lichtmast does not answer"
        return remote.get("/status")

    def kill(self) -> None:
        """SIGKILL: no chance to tidy up."""
        assert self.process is not None
        self.process.kill()
        self.process.wait()

    def kill_broker(self) -> None:
        os.kill(self.status()["broker_pid"], signal.SIGKILL)

    def stop(self) -> int:
        assert self.process is not None
        self.process.send_signal(signal.SIGTERM)
        return self.process.wait(30)

    def audit(self) -> dict[str, Any]:
        """What `lichtmast audit --json` asks the running Lichtmast, without a process for the question."""
        remote = Remote.find(self.folder)
        assert remote is not None, "lichtmast does not answer"
        return remote.get("/audit")

    def register(self, *names: str, profile: str = "air-quality") -> None:
        """Put active devices in the register, from another process than the running one."""
        with Registry.open(self.folder.registry) as registry:
            registry.ensure_tenant("gm0402")
            wanted = [NewDevice(DeviceId("gm0402", name), profile, None, DeviceStatus.ACTIVE) for name in names]
            registry.register_devices(wanted, at_us=time.time_ns() // 1000)
