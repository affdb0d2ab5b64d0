"""Reading a scenario file: TOML in, a Scenario out, or an error that names the table and the key.

Will not look for assets or devices: `casting` does, when it knows the town.
"""

import math
import re
import tomllib
from pathlib import Path
from typing import Final

from lichtmast.firmware_sim import limits
from lichtmast.firmware_sim.device import Transport
from lichtmast.firmware_sim.happenings import Kind
from lichtmast.firmware_sim.scenario.parts import (
    CLOCK_MODES,
    KNOBS,
    ON_CHANNELS,
    Area,
    Event,
    Fault,
    FaultKind,
    Mix,
    Scenario,
)
from lichtmast.firmware_sim.scenario.table import ScenarioError, Table
from lichtmast.firmware_sim.weather import SEASONS, Climate
from lichtmast.wire.envelope import SENML_CBOR, SENML_JSON
from lichtmast.wire.profile import Profile, ResultKind, load_profiles

REGISTER: Final = "register"
_TENANT: Final = re.compile(r"gm[0-9]{4}", re.ASCII)
_FORMATS: Final = {"json": SENML_JSON, "cbor": SENML_CBOR}
_LONGEST_S: Final = 10 * 366 * 86_400.0
_EARTH_M: Final = 20_000_000.0


def read_scenario(path: Path) -> Scenario:
    """Read the file. Raises ScenarioError."""
    try:
        with path.open("rb") as file:
            fields = tomllib.load(file)
    except OSError as error:
        raise ScenarioError(f"{path}: {error.strerror}; give the file of a scenario") from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise ScenarioError(f"{path}: not TOML ({error})") from error
    try:
        return parse_scenario(fields, path.parent)
    except ScenarioError as error:
        raise ScenarioError(f"{path}: {error}") from error


def parse_scenario(fields: object, folder: Path) -> Scenario:
    """The same from the parsed file; paths in it are relative to `folder`. Raises ScenarioError."""
    whole = Table(fields, "the file")
    town, time, weather = whole.table("town"), whole.table("time"), whole.table("weather")
    tenant = town.text("tenant", "gm0402")
    if not _TENANT.fullmatch(tenant):
        raise town.wrong("tenant", f"is {tenant!r}; give gm and four digits, as in gm0402")
    assets = town.text("assets", REGISTER)
    from_s = time.moment("from") if time.has("from") else None
    speed = time.number("speed", 0.001, limits.SPEED_MAX, 1.0)
    if from_s is None and speed != 1:
        raise time.wrong("speed", "needs a start: a town that lives now goes at the speed of now; add from")
    scenario = Scenario(
        tenant=tenant,
        seed=town.whole("seed", 0, 2**63 - 1, 402),
        devices=town.whole("devices", 1, limits.DEVICES_MAX, 200),
        interval_s=town.number("interval_s", limits.INTERVAL_S_MIN, 86_400, 10.0),
        assets=None if assets == REGISTER else folder / assets,
        from_s=from_s,
        speed=speed,
        climate=read_climate(weather),
        mix=tuple(_mix(one) for one in whole.rows("device")),
        events=tuple(_event(one) for one in whole.rows("event")),
        faults=tuple(_fault(one) for one in whole.rows("fault")),
    )
    for table in (town, time, weather, whole):
        table.done()
    total = sum(one.share for one in scenario.mix)
    if scenario.mix and not math.isclose(total, 1.0, abs_tol=1e-6):
        raise ScenarioError(f"[[device]]: the shares add up to {total:g}; they must make 1")
    return scenario


def read_climate(table: Table) -> Climate:
    """The keys of [weather]. Raises ScenarioError."""
    return Climate(
        season=table.choice("season", tuple(SEASONS)) if table.has("season") else None,
        warmer_cel=table.number("warmer_cel", -30, 30, 0),
        wetter=table.number("wetter", 0, 10, 1),
        windier=table.number("windier", 0, 5, 1),
    )


def _mix(row: Table) -> Mix:
    transport = row.choice("transport", ("alternate", *(one.value for one in Transport)), "alternate")
    content = row.choice("format", ("alternate", *_FORMATS), "alternate")
    mix = Mix(
        profile=row.choice("profile", tuple(load_profiles())),
        share=row.number("share", 0, 1),
        transport=None if transport == "alternate" else Transport(transport),
        content_format=_FORMATS.get(content),
        is_agent=row.choice("fidelity", ("light", "agent"), "light") == "agent",
    )
    row.done()
    return mix


def _event(row: Table) -> Event:
    area = Area()
    if row.has("centre") and row.has("assets"):
        raise row.wrong("assets", "and centre are both there; give one, or neither for the whole town")
    if row.has("centre"):
        area = Area(row.position("centre"), row.number("radius_m", 0, _EARTH_M))
    elif row.has("assets"):
        area = Area(assets=frozenset(row.texts("assets")))
    event = Event(
        kind=Kind(row.choice("kind", [one.value for one in Kind])),
        area=area,
        start_s=row.number("start_s", 0, _LONGEST_S, 0),
        duration_s=row.number("duration_s", 1, _LONGEST_S),
        strength=row.number("strength", 0.01, 10, 1),
    )
    row.done()
    return event


def _fault(row: Table) -> Fault:
    kind = FaultKind(row.choice("kind", [one.value for one in FaultKind]))
    profile = row.choice("profile", tuple(load_profiles())) if row.has("profile") else ""
    devices = row.texts("devices")
    if devices and (profile or row.has("share")):
        raise row.wrong("devices", "are named already; give profile and share, or devices")
    channel = row.text("channel") if row.has("channel") else ""
    if channel and kind not in ON_CHANNELS:
        raise row.wrong("channel", f"has no meaning for {kind.value}, which is of the whole device")
    if channel and profile and channel not in numbers_of(load_profiles()[profile]):
        known = ", ".join(numbers_of(load_profiles()[profile]))
        raise row.wrong("channel", f"is {channel!r}; the numbers of {profile} are {known}")
    fault = Fault(
        kind=kind,
        devices=devices,
        profile=profile,
        share=row.number("share", 0, 1, 1),
        channel=channel,
        clock=row.choice("clock", CLOCK_MODES, "offset") if kind is FaultKind.WRONG_CLOCK else "offset",
        start_s=row.number("start_s", 0, _LONGEST_S, 0),
        duration_s=row.number("duration_s", 1, _LONGEST_S) if row.has("duration_s") else math.inf,
        knobs={name: row.number(name, knob.low, knob.high) for name, knob in KNOBS[kind].items() if row.has(name)},
    )
    row.done()
    return fault


def numbers_of(profile: Profile) -> tuple[str, ...]:
    """The keys of a profile's uplinks that are numbers."""
    return tuple(one.key for one in profile.uplinks if one.kind is ResultKind.NUMBER)
