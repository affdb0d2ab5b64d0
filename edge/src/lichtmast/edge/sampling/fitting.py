"""Whether settings, drivers and profile fit each other, said before anything is measured.

The server would put a reading with a wrong name, unit or kind into quarantine; the engineer should hear it at the pole.
"""

from collections.abc import Iterable, Mapping, Sequence
from typing import Final

from lichtmast.edge.drivers.port import Channel
from lichtmast.edge.sampling.aggregate import STATISTICS
from lichtmast.edge.sampling.counting import FLOWS
from lichtmast.edge.sampling.settings import ActuatorSettings, DriverSettings, Output, ReadingSettings
from lichtmast.wire.profile import Direction, Profile

_RESULT_KINDS: Final[Mapping[str, str]] = {
    "number": "number",
    "counter": "number",
    "boolean": "boolean",
    "text": "text",
}


def faults_of(
    drivers: Iterable[DriverSettings], channels: Mapping[str, Sequence[Channel]], profile: Profile
) -> list[str]:
    """Everything that does not fit, as sentences; `channels` are those of each driver by its name."""
    faults = []
    for driver in drivers:
        known = {one.name: one for one in channels[driver.name]}
        for number, reading in enumerate(driver.readings, 1):
            where = f"[driver.{driver.name}.reading {number}]"
            channel = known.get(reading.channel)
            if channel is None:
                faults.append(f"{where} the driver has no channel {reading.channel!r}; it has {', '.join(known)}")
                continue
            faults += [f"{where} {fault}" for fault in _reading_faults(reading, channel, profile)]
        for number, actuator in enumerate(driver.actuators, 1):
            where = f"[driver.{driver.name}.actuator {number}]"
            faults += [f"{where} {fault}" for fault in _actuator_faults(actuator, known, profile)]
    return faults


def unit_of(output: Output, reading: ReadingSettings, channel: Channel) -> str | None:
    """The unit in which an output is sent."""
    if output.statistic == "count" or channel.kind == "identifiers":
        return "count"
    return reading.unit or channel.unit


def _actuator_faults(actuator: ActuatorSettings, known: Mapping[str, Channel], profile: Profile) -> list[str]:
    channel = known.get(actuator.channel)
    if channel is None or not channel.writable or channel.kind not in {"number", "boolean"}:
        movable = ", ".join(one.name for one in known.values() if one.writable) or "none"
        return [f"{actuator.channel!r} is not a channel that can be moved; the driver has {movable}"]
    down = [one.suffix for one in profile.capabilities if one.direction is not Direction.UP]
    if actuator.suffix not in down:
        return [f"profile {profile.key} has no {actuator.suffix} to move; it has {', '.join(down) or 'none'}"]
    return []


def _reading_faults(reading: ReadingSettings, channel: Channel, profile: Profile) -> list[str]:
    faults = []
    if channel.kind == "identifiers" and reading.counted is None:
        faults.append(f"channel {channel.name} sees addresses: it needs a table counted")
    if channel.kind not in {"number", "counter"} and (reading.scale != 1 or reading.offset != 0 or reading.unit):
        faults.append(f"channel {channel.name} is no number: leave scale, offset and unit out")
    for output in reading.outputs:
        kinds = STATISTICS.get(output.statistic) or FLOWS[output.statistic]
        if channel.kind not in kinds:
            faults.append(f"{output.statistic} cannot be made of {channel.name}, which is a {channel.kind}")
        else:
            faults += _output_faults(output, unit_of(output, reading, channel), channel, profile)
    return faults


def _output_faults(output: Output, unit: str | None, channel: Channel, profile: Profile) -> list[str]:
    try:
        capability = profile.uplinks[profile.index_of(output.suffix)]
    except KeyError:
        there = ", ".join(one.suffix for one in profile.uplinks)
        return [f"profile {profile.key} has no {output.suffix}; it has {there}"]
    kind = "number" if output.statistic == "count" else _RESULT_KINDS.get(channel.kind, "number")
    if kind != capability.kind.value:
        return [f"{output.suffix} is a {capability.kind.value} in profile {profile.key}, {channel.name} gives a {kind}"]
    if unit != capability.unit and kind == "number":
        hint = "set unit, and scale and offset that make it so"
        return [f"{output.suffix} is in {capability.unit}, {channel.name} gives {unit}: {hint}"]
    return []
