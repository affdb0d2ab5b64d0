"""A real `lichtmast-edge run` in a process of its own, that a test may kill, and its settings and simulated sensors."""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from running_lichtmast import Running

from lichtmast.wire import DeviceId

START_TIMEOUT_S = 30
SENSORS = """
[[driver]]
name = "lamp"
kind = "simulated"
control = "{control}"
[driver.channel.level]
shape = "constant"
value = 0.5
unit = "/"
writable = true
[driver.channel.power]
shape = "walk"
begin = 40
step = 1
least = 0
most = 90
unit = "W"
[[driver.reading]]
channel = "level"
suffix = "/lamp/0/level"
sample_s = 0.2
[[driver.reading]]
channel = "power"
suffix = "/lamp/0/power"
sample_s = 0.2
[[driver.actuator]]
channel = "level"
suffix = "/lamp/0/command"
"""
"""A lamp that is measured and moved; the profile is lamp-controller."""


def edge_command() -> list[str]:
    """The command as it is installed beside this Python."""
    return [str(Path(sys.executable).parent / "lichtmast-edge")]


@dataclass
class RunningAgent:
    """An agent's folder, and the process that runs on it now, if any.

    `more` is TOML that goes before the tables of this one; `prefix` are words before the command, as of a namespace.
    With a `label` its links are secured, and `enrol` is where the EST server is.
    """

    folder: Path
    mqtt: tuple[str, int] | None
    coap: tuple[str, int] | None = None
    device: DeviceId = field(default_factory=lambda: DeviceId("gm0402", "agent-1"))
    interval_s: float = 0.2
    spread_s: float = 2
    more: str = ""
    sensors: str = SENSORS
    profile: str = "lamp-controller"
    prefix: Sequence[str] = ()
    label: str = ""
    enrol: tuple[str, int] | None = None
    process: subprocess.Popen[bytes] | None = None

    @classmethod
    def beside(cls, running: Running, folder: Path, name: str = "agent-1") -> "RunningAgent":
        """An agent of a Lichtmast on this machine, registered there."""
        agent = cls(folder, ("::1", running.mqtt_port), device=DeviceId("gm0402", name))
        running.register(agent.device.device, profile=agent.profile)
        return agent

    @property
    def settings(self) -> Path:
        return self.folder / "agent.toml"

    @property
    def state(self) -> Path:
        return self.folder / "state"

    @property
    def control(self) -> Path:
        """What this JSON file says, the simulated driver does (see lichtmast.edge.drivers.simulated)."""
        return self.folder / "control.json"

    @property
    def log(self) -> Path:
        return self.folder / "agent.log"

    def write_settings(self) -> None:
        """The settings as they are now."""
        self.folder.mkdir(parents=True, exist_ok=True)
        links = {"mqtt": self.mqtt, "coap": self.coap}
        order = [name for name, endpoint in links.items() if endpoint is not None]
        text = f"""{self.more}
[device]
tenant = "{self.device.tenant}"
name = "{self.device.device}"
profile = "{self.profile}"
state = "{self.state}"
[report]
interval_s = {self.interval_s}
[uplink]
order = {json.dumps(order)}
failover_after_s = 5
return_after_s = 20
spread_s = {self.spread_s}
"""
        if "[clock]" not in self.more:
            text += '[clock]\nsource = "assumed"\n'
        for name, endpoint in links.items():
            if endpoint is not None:
                text += f'[uplink.{name}]\nhost = "{endpoint[0]}"\nport = {endpoint[1]}\n'
                text += "tls = true\n" if self.label else ""
        if self.label:
            text += f'[identity]\nlabel = "{self.label}"\n'
        if self.enrol is not None:
            text += f'[enrol]\nhost = "{self.enrol[0]}"\nport = {self.enrol[1]}\n'
        self.settings.write_text(text + self.sensors.format(control=self.control))

    def start(self, environment: Mapping[str, str] | None = None) -> None:
        """Start it and wait until it says that it runs."""
        self.write_settings()
        before = self.log.stat().st_size if self.log.exists() else 0
        with self.log.open("ab") as output:
            self.process = subprocess.Popen(
                [*self.prefix, *edge_command(), "run", "--verbose", "--settings", str(self.settings)],
                stdout=output,
                stderr=output,
                env=os.environ | dict(environment or {}),
            )
        until_s = time.monotonic() + START_TIMEOUT_S
        while b"agent_started" not in self.log.read_bytes()[before:]:
            if self.process.poll() is not None or time.monotonic() > until_s:
                pytest.fail(f"the agent did not start:\n{self.log.read_text()[-3000:]}")
            time.sleep(0.02)

    def kill(self) -> None:
        """SIGKILL: no chance to tidy up."""
        assert self.process is not None
        self.process.kill()
        self.process.wait()

    def stop(self) -> int:
        """SIGTERM; its exit code."""
        assert self.process is not None
        self.process.send_signal(signal.SIGTERM)
        return self.process.wait(30)

    def end(self) -> None:
        """Leave nothing behind."""
        if self.process is not None and self.process.poll() is None:
            self.kill()

    def command(self, *words: str) -> subprocess.CompletedProcess[str]:
        """Run another command of the agent on these settings."""
        return subprocess.run(
            [*self.prefix, *edge_command(), *words, "--settings", str(self.settings)],
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )

    def outbox(self) -> dict[str, Any]:
        """What `lichtmast-edge outbox --json` says."""
        done = self.command("outbox", "--json")
        assert done.returncode == 0, done.stderr
        told: dict[str, Any] = json.loads(done.stdout)
        return told

    def wait_outbox(self, packs_max: int, timeout_s: float = 60) -> dict[str, Any]:
        """Wait until at most so many packs wait for delivery."""
        until_s = time.monotonic() + timeout_s
        while (told := self.outbox())["packs"] > packs_max:
            if time.monotonic() > until_s:
                pytest.fail(f"{told['packs']} packs still wait:\n{self.log.read_text()[-3000:]}")
            time.sleep(0.1)
        return told
