"""Who lives in a scenario's town: devices on assets, what happens around each, and what is wrong with it.

Pure: assets and the moment of the start come in. The same scenario, assets and start give the same cast.
"""

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from lichtmast.firmware_sim.chance import seed_of, share
from lichtmast.firmware_sim.curves import Curves
from lichtmast.firmware_sim.device import DeviceSpec, Transport
from lichtmast.firmware_sim.happenings import Happening, Kind, Surroundings
from lichtmast.firmware_sim.instrument import Instrument, Sound
from lichtmast.firmware_sim.placing import hang_devices
from lichtmast.firmware_sim.scenario.faults import Faulty, Spoiler
from lichtmast.firmware_sim.scenario.parts import Area, Fault, Mix, Scenario
from lichtmast.firmware_sim.scenario.reading import numbers_of
from lichtmast.firmware_sim.scenario.table import ScenarioError
from lichtmast.wire.envelope import SENML_CBOR, SENML_JSON
from lichtmast.wire.identity import DeviceId
from lichtmast.wire.profile import load_profiles

Assets = Sequence[tuple[str, float, float]]
"""(key, longitude, latitude) of each lamppost."""
_US: Final = 1_000_000


@dataclass(frozen=True, slots=True)
class Role:
    """One device of the cast. An agent is a process of its own; everyone else is a light device."""

    spec: DeviceSpec
    is_agent: bool
    around: Surroundings
    spoilers: tuple[Spoiler, ...]


@dataclass(frozen=True, slots=True)
class Cast:
    """Everyone in a town that starts at `start_us`."""

    scenario: Scenario
    start_us: int
    roles: tuple[Role, ...]

    @property
    def light(self) -> list[Role]:
        """Those that live in the simulator's own process."""
        return [one for one in self.roles if not one.is_agent]

    @property
    def agents(self) -> list[Role]:
        """Those that are real agents."""
        return [one for one in self.roles if one.is_agent]

    def instrument(self, role: Role) -> Instrument:
        """What a device of this cast measures with."""
        spec, profile = role.spec, load_profiles()[role.spec.profile]
        sound = Sound(
            Curves(
                profile,
                seed=self.scenario.seed,
                device=str(spec.device),
                longitude=spec.longitude,
                latitude=spec.latitude,
                around=role.around,
                climate=self.scenario.climate,
            )
        )
        silent = _silences(role)
        return Faulty(sound, profile, role.spoilers, silent) if role.spoilers or silent else sound

    def truth(self) -> Iterator[Mapping[str, Any]]:
        """What is going to be wrong and when, before anything is said; the first lines of a file of labels."""
        for event in self.scenario.events:
            begin_us = self.start_us + round(event.start_s * _US)
            within = [one for one in self.roles if _is_within(event.area, one.spec)]
            yield {
                "type": "event",
                "kind": event.kind.value,
                "from_us": begin_us,
                "to_us": begin_us + round(event.duration_s * _US),
                "strength": event.strength,
                "devices": [str(one.spec.device) for one in within],
                "silent": [str(one.spec.device) for one in within if event.kind is Kind.VANDALISM and _silences(one)],
            }
        for role in self.roles:
            for spoiler in role.spoilers:
                yield {
                    "type": "fault",
                    "kind": spoiler.fault.kind.value,
                    "device": str(role.spec.device),
                    "from_us": spoiler.start_us,
                    "to_us": None if math.isinf(spoiler.end_us) else round(spoiler.end_us),
                    "channel": spoiler.fault.channel or None,
                }


def cast_scenario(scenario: Scenario, assets: Assets, start_us: int) -> Cast:
    """Hang the devices, and give each its events and faults. Raises ScenarioError or SpecError."""
    placed = _place(scenario, assets)
    keys = {key for key, _, _ in assets}
    for number, event in enumerate(scenario.events, 1):
        missing = sorted(event.area.assets - keys)
        if missing:
            raise ScenarioError(f"[[event]] number {number}: no asset {missing[0]!r} in this town")
    faults: dict[DeviceId, list[Spoiler]] = {}
    for number, fault in enumerate(scenario.faults, 1):
        for spec in _stricken(scenario, fault, number, [spec for spec, _ in placed]):
            spoiler = Spoiler.of(fault, number, str(spec.device), scenario.seed, start_us)
            faults.setdefault(spec.device, []).append(spoiler)
    roles = []
    for spec, is_agent in placed:
        happenings = [
            Happening(
                event.kind,
                start_us / _US + event.start_s,
                start_us / _US + event.start_s + event.duration_s,
                event.strength,
            )
            for event in scenario.events
            if _is_within(event.area, spec)
        ]
        if is_agent and spec.device in faults:
            raise ScenarioError(f"{spec.device} is a real agent, and faults are for light devices; change [[fault]]")
        roles.append(Role(spec, is_agent, Surroundings(happenings), tuple(faults.get(spec.device, ()))))
    return Cast(scenario, start_us, tuple(roles))


def _place(scenario: Scenario, assets: Assets) -> list[tuple[DeviceSpec, bool]]:
    if not assets:
        raise ScenarioError("there is no asset to hang a device on; import assets, or name a GeoJSON file in [town]")
    if not scenario.mix:
        specs = hang_devices(assets, tenant=scenario.tenant, count=scenario.devices, seed=scenario.seed)
        return [(spec, False) for spec in specs]
    placed: list[tuple[DeviceSpec, bool]] = []
    numbers: dict[str, int] = {}
    for row, (mix, count) in enumerate(zip(scenario.mix, _counts(scenario), strict=True)):
        order = seed_of(scenario.seed, scenario.tenant, "placing", mix.profile)
        shuffled = [asset for _, asset in sorted((share(order, at), asset) for at, asset in enumerate(assets))]
        for _ in range(count):
            number = numbers[mix.profile] = numbers.get(mix.profile, 0) + 1
            spec = _spec(scenario.tenant, mix, number, shuffled[(number - 1) % len(shuffled)])
            placed.append((spec, scenario.mix[row].is_agent))
    return placed


def _spec(tenant: str, mix: Mix, number: int, asset: tuple[str, float, float]) -> DeviceSpec:
    """Devices of a kind take turns where the mix leaves it open, as `hang_devices` has it."""
    key, longitude, latitude = asset
    content_format = SENML_CBOR if number % 4 == 0 else SENML_JSON
    return DeviceSpec(
        device=DeviceId(tenant, f"{mix.profile}-{number:05d}"),
        profile=mix.profile,
        transport=mix.transport or (Transport.COAP if number % 2 == 0 else Transport.MQTT),
        longitude=longitude,
        latitude=latitude,
        asset=key,
        content_format=mix.content_format or content_format,
    )


def _counts(scenario: Scenario) -> list[int]:
    """Whole devices by largest remainder, so that they add up to the town's number."""
    wanted = [one.share * scenario.devices for one in scenario.mix]
    counts = [int(one) for one in wanted]
    by_rest = sorted(range(len(wanted)), key=lambda at: (counts[at] - wanted[at], at))
    for at in by_rest[: scenario.devices - sum(counts)]:
        counts[at] += 1
    return counts


def _stricken(scenario: Scenario, fault: Fault, number: int, specs: Sequence[DeviceSpec]) -> list[DeviceSpec]:
    """The devices that have this fault: those that are named, else a seeded share, at least one."""
    by_name = {str(one.device): one for one in specs} | {one.device.device: one for one in specs}
    where = f"[[fault]] number {number}"
    if fault.devices:
        missing = [name for name in fault.devices if name not in by_name]
        if missing:
            raise ScenarioError(f"{where}: no device {missing[0]!r} in this town")
        stricken = [by_name[name] for name in fault.devices]
    else:
        able = [one for one in specs if fault.profile in ("", one.profile) and _has(one, fault.channel)]
        if not able:
            raise ScenarioError(f"{where}: no device in this town that it could strike; change profile or channel")
        order = seed_of(scenario.seed, "stricken", number)
        shuffled = [one for _, _, one in sorted((share(order, at), at, one) for at, one in enumerate(able))]
        stricken = shuffled[: max(1, round(fault.share * len(able)))] if fault.share else []
    for one in stricken:
        if not _has(one, fault.channel):
            known = ", ".join(numbers_of(load_profiles()[one.profile]))
            raise ScenarioError(f"{where}: {one.device} has no number {fault.channel!r}; it has {known}")
    return stricken


def _has(spec: DeviceSpec, channel: str) -> bool:
    return not channel or channel in numbers_of(load_profiles()[spec.profile])


def _is_within(area: Area, spec: DeviceSpec) -> bool:
    return area.covers(spec.asset, spec.longitude, spec.latitude)


def _silences(role: Role) -> list[tuple[int, int]]:
    """When vandals have cut this device off; one that can tell that it lies on its side says that instead."""
    if any(one.key == "tilted" for one in load_profiles()[role.spec.profile].uplinks):
        return []
    return [(round(start_s * _US), round(end_s * _US)) for start_s, end_s in role.around.windows(Kind.VANDALISM)]
