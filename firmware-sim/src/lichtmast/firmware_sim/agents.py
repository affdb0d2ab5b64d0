"""Real agents in a virtual town: each a process `lichtmast-edge run` whose only driver measures the town's street.

Settings are written into a folder of each agent; its outbox is there too, so a town that comes back goes on.

Will not supervise: an agent that ends is told of, and stays ended.
"""

import asyncio
import json
import signal
import sys
from asyncio.subprocess import DEVNULL, Process
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Self

from lichtmast.firmware_sim import limits
from lichtmast.firmware_sim.device import Transport
from lichtmast.firmware_sim.scenario.casting import Cast, Role
from lichtmast.wire.envelope import SENML_CBOR
from lichtmast.wire.profile import load_profiles

Endpoint = tuple[str, int]


class Agents:
    """The agents of a cast, running while entered; what they log is in `FOLDER/NAME/log`."""

    def __init__(self, cast: Cast, folder: Path, *, mqtt: Endpoint | None, coap: Endpoint | None) -> None:
        self._cast = cast
        self._folder = folder
        self._endpoints = {Transport.MQTT: mqtt, Transport.COAP: coap}
        self._processes: list[Process] = []

    async def __aenter__(self) -> Self:
        try:
            for role in self._cast.agents:
                self._processes.append(await self._start(role))
        except BaseException:
            await self._stop()
            raise
        return self

    async def __aexit__(
        self, _kind: type[BaseException] | None, _error: BaseException | None, _trace: TracebackType | None
    ) -> None:
        await self._stop()

    @property
    def ended(self) -> int:
        """How many are not running any more."""
        return sum(one.returncode is not None for one in self._processes)

    async def _start(self, role: Role) -> Process:
        home = self._folder / role.spec.device.device
        home.mkdir(parents=True, exist_ok=True)
        settings = home / "agent.toml"
        endpoint = self._endpoints[role.spec.transport]
        if endpoint is None:
            raise ValueError(f"{role.spec.device} speaks {role.spec.transport.value}, but there is no endpoint for it")
        settings.write_text(agent_settings(self._cast, role, endpoint), encoding="utf-8")
        with (home / "log").open("ab") as log:
            return await asyncio.create_subprocess_exec(
                *(sys.executable, "-m", "lichtmast.edge", "run", "--settings", str(settings)),
                stdin=DEVNULL,
                stdout=log,
                stderr=log,
            )

    async def _stop(self) -> None:
        running = [one for one in self._processes if one.returncode is None]
        for one in running:
            one.send_signal(signal.SIGTERM)
        _, late = (
            await asyncio.wait(
                [asyncio.create_task(one.wait(), name=f"agent {one.pid}") for one in running],
                timeout=limits.AGENT_LEAVING_S,
            )
            if running
            else (set(), set())
        )
        for one in self._processes:
            if late and one.returncode is None:
                one.kill()
                await one.wait()


def agent_settings(cast: Cast, role: Role, endpoint: Endpoint) -> str:
    """The settings file of an agent of this town."""
    spec, scenario = role.spec, cast.scenario
    profile = load_profiles()[spec.profile]
    lines = [
        *_table(
            "device",
            {"tenant": spec.device.tenant, "name": spec.device.device, "profile": spec.profile, "state": "state"},
        ),
        *_table(
            "report",
            {
                "interval_s": scenario.interval_s,
                "format": "cbor" if spec.content_format == SENML_CBOR else "json",
            },
        ),
        *_table("clock", {"source": "assumed"}),
        *_table("uplink", {"order": [spec.transport.value]}),
        *_table(f"uplink.{spec.transport.value}", {"host": endpoint[0], "port": endpoint[1]}),
        *_table("place", {"latitude": spec.latitude, "longitude": spec.longitude}),
        *_table(
            "[driver]",
            {
                "name": "street",
                "kind": "street",
                "device": str(spec.device),
                "profile": spec.profile,
                "seed": scenario.seed,
                "longitude": spec.longitude,
                "latitude": spec.latitude,
                "warmer_cel": scenario.climate.warmer_cel,
                "wetter": scenario.climate.wetter,
                "windier": scenario.climate.windier,
            }
            | ({"season": scenario.climate.season} if scenario.climate.season else {}),
        ),
    ]
    for one in role.around.happenings:
        fields = {"kind": one.kind.value, "start_s": one.start_s, "end_s": one.end_s, "strength": one.strength}
        lines += _table("[driver.happening]", fields)
    for capability in profile.uplinks:
        fields = {"channel": capability.key, "suffix": capability.suffix, "sample_s": min(10.0, scenario.interval_s)}
        lines += _table("[driver.reading]", fields | {"silence_max_s": max(1.0, scenario.interval_s)})
    return "\n".join(lines) + "\n"


def _table(name: str, fields: Mapping[str, object]) -> Sequence[str]:
    """A table of TOML. JSON's texts, numbers, booleans and lists of them are TOML's too."""
    return [f"[{name}]", *(f"{key} = {json.dumps(value)}" for key, value in fields.items()), ""]
