"""What can be set of an agent: one TOML file, read once, passed as a value.

Will not: read drivers' and rules' own tables (`drivers` and `twin` know them), nor look at the environment.
"""

import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from ipaddress import IPv6Address
from pathlib import Path
from typing import Any, Final

from lichtmast.edge import limits
from lichtmast.edge.errors import SettingsError
from lichtmast.edge.tables import Table
from lichtmast.wire.envelope import SENML_CBOR, SENML_JSON
from lichtmast.wire.identity import DeviceId, IdentityError
from lichtmast.wire.label import Label, LabelError, parse_label
from lichtmast.wire.profile import load_profiles

FORMATS: Final = {"json": SENML_JSON, "cbor": SENML_CBOR}
LINKS: Final = ("mqtt", "coap")
CLOCK_SOURCES: Final = ("kernel", "sntp", "assumed")
DROPS: Final = ("oldest", "newest")


@dataclass(frozen=True, slots=True)
class DeviceSettings:
    """Who this agent is, what it is registered as, and the folder that holds its outbox and configuration."""

    id: DeviceId
    profile: str
    state: Path


@dataclass(frozen=True, slots=True)
class ReportSettings:
    """How often a pack is made, and in which SenML format (110 or 112)."""

    interval_s: float
    content_format: int


@dataclass(frozen=True, slots=True)
class KeepSettings:
    """How much the outbox keeps while nobody answers, and what goes when it is full: `oldest` or `newest`."""

    hours: float
    bytes_max: int
    drop: str


@dataclass(frozen=True, slots=True)
class TimeSettings:
    """Who vouches for the wall clock: `kernel`, `sntp` (then `servers`, as "[address]:port") or `assumed`."""

    source: str
    servers: tuple[tuple[str, int], ...]


@dataclass(frozen=True, slots=True)
class UplinkSettings:
    """The links in the order of preference, each with its host and port, and how long a silent one is given.

    `spread_s` is the longest pause after a connection that worked was lost: each device of a town takes its own.
    `tls` names those that are secured: every one to another machine is.
    """

    order: tuple[str, ...]
    endpoints: Mapping[str, tuple[str, int]]
    tls: frozenset[str]
    failover_after_s: float
    return_after_s: float
    spread_s: float


@dataclass(frozen=True, slots=True)
class IdentitySettings:
    """What this device's label says, where its key is if not in the state folder, and where certificates come from."""

    label: Label | None
    key: Path | None
    host: str
    port: int


@dataclass(frozen=True, slots=True)
class PoleSettings:
    """Where the engineer at the pole is answered: link-local addresses of these interfaces, and ::1. None: nowhere."""

    interfaces: tuple[str, ...]
    port: int


@dataclass(frozen=True, slots=True)
class Place:
    """Where the pole stands, in degrees (WGS84)."""

    latitude: float
    longitude: float


@dataclass(frozen=True, slots=True)
class Settings:
    """All of it. `drivers` and `rules` are tables as they stand in the file."""

    device: DeviceSettings
    report: ReportSettings
    outbox: KeepSettings
    clock: TimeSettings
    uplink: UplinkSettings
    identity: IdentitySettings
    pole: PoleSettings | None
    place: Place | None
    reboot_command: tuple[str, ...]
    drivers: tuple[Mapping[str, Any], ...]
    rules: tuple[Mapping[str, Any], ...]


def read_settings(path: Path) -> Settings:
    """Read the file. Raises SettingsError."""
    try:
        raw = path.read_bytes()
    except OSError as error:
        raise SettingsError(f"{path} cannot be read: {error.strerror}; give another file with --settings") from error
    try:
        return parse_settings(raw.decode("utf-8"), path.parent)
    except UnicodeDecodeError as error:
        raise SettingsError(f"{path} is not UTF-8") from error
    except SettingsError as error:
        raise SettingsError(f"{path}: {error}") from error


def parse_settings(text: str, folder: Path = Path()) -> Settings:
    """Read settings from TOML; relative paths count from `folder`. Raises SettingsError."""
    try:
        top = Table(tomllib.loads(text))
    except tomllib.TOMLDecodeError as error:
        raise SettingsError(f"not TOML: {error}") from error
    report = top.table("report")
    outbox = top.table("outbox")
    device = _device(top.table("device"), folder)
    uplink = _uplink(top.table("uplink"))
    settings = Settings(
        device,
        ReportSettings(
            report.number("interval_s", limits.INTERVAL_S_MIN, limits.INTERVAL_S_MAX, 60),
            FORMATS[report.choice("format", tuple(FORMATS), "json")],
        ),
        KeepSettings(
            outbox.number("hours", limits.OUTBOX_HOURS_MIN, limits.OUTBOX_HOURS_MAX, 168),
            outbox.whole("bytes", limits.OUTBOX_BYTES_MIN, limits.OUTBOX_BYTES_MAX, 64 * 1024 * 1024),
            outbox.choice("drop", DROPS, "oldest"),
        ),
        _time(top.table("clock")),
        uplink,
        _identity(top.table("identity"), top.table("enrol"), device.id, uplink, folder),
        _pole(top.table("pole")) if top.has("pole") else None,
        _place(top.table("place")) if top.has("place") else None,
        top.texts("reboot_command"),
        tuple(top.rows("driver")),
        tuple(top.rows("rule")),
    )
    for table in (report, outbox, top):
        table.done()
    if not settings.drivers:
        raise SettingsError("there is no [[driver]], so nothing is measured; see docs/reference/edge-drivers.md")
    return settings


def _device(table: Table, folder: Path) -> DeviceSettings:
    tenant, name = table.text("tenant"), table.text("name")
    try:
        device = DeviceId(tenant, name)
    except IdentityError as error:
        raise SettingsError(f"[device] {error}") from error
    profile = table.choice("profile", tuple(load_profiles()))
    state = folder / table.text("state", f"/var/lib/lichtmast-edge/{name}")
    table.done()
    return DeviceSettings(device, profile, state)


def _time(table: Table) -> TimeSettings:
    source = table.choice("source", CLOCK_SOURCES, "kernel")
    servers = tuple(_endpoint(one, limits.SNTP_PORT, "[clock] servers") for one in table.texts("servers"))
    table.done()
    if (source == "sntp") is not bool(servers):
        raise SettingsError('[clock] servers belong to source = "sntp": give both or neither')
    if len(servers) > limits.SNTP_SERVERS_MAX:
        raise SettingsError(f"[clock] servers: {len(servers)}, at most {limits.SNTP_SERVERS_MAX}")
    return TimeSettings(source, servers)


def _uplink(table: Table) -> UplinkSettings:
    if table.has("plaintext_beyond_loopback"):
        raise SettingsError(
            "[uplink] plaintext_beyond_loopback is gone: what leaves this machine is encrypted, and devices have "
            "certificates now. Take the line out; docs/how-to/provision-a-device.md says how a device gets its own"
        )
    order = table.choices("order", LINKS, ("mqtt",))
    if not order:
        raise SettingsError(f"[uplink] order is empty; choose of {', '.join(LINKS)}")
    endpoints: dict[str, tuple[str, int]] = {}
    secured: set[str] = set()
    for name, (plain, secure) in limits.PORTS.items():
        link = table.table(name)
        host = _host(link.text("host", "::1"), f"[uplink.{name}] host")
        tls = link.flag("tls", default=not _is_loopback(host))
        endpoints[name] = host, link.whole("port", 1, 65_535, secure if tls else plain)
        link.done()
        if name not in order:
            continue
        if tls:
            secured.add(name)
        elif not _is_loopback(host):
            raise SettingsError(
                f"[uplink.{name}] tls = false, and host {host} is another machine: nothing leaves this one in "
                "plaintext. Take tls out; docs/how-to/provision-a-device.md says how a device gets its certificate"
            )
    settings = UplinkSettings(
        order,
        {name: endpoints[name] for name in order},
        frozenset(secured),
        table.number("failover_after_s", 1, 86_400, 120),
        table.number("return_after_s", 1, 86_400, 600),
        table.number("spread_s", 1, 3_600, 30),
    )
    table.done()
    return settings


def _identity(table: Table, enrol: Table, device: DeviceId, uplink: UplinkSettings, folder: Path) -> IdentitySettings:
    label = None
    if table.has("label"):
        try:
            label = parse_label(table.text("label"))
        except LabelError as error:
            raise SettingsError(f"[identity] label: {error}") from error
        if label.device != device:
            raise SettingsError(f"[identity] label is that of {label.device}, and [device] says {device}")
    key = folder / table.text("key") if table.has("key") else None
    # The server that gives certificates is mostly the one that takes packs.
    nearest = next((one for one in uplink.order if one in uplink.tls), uplink.order[0])
    host = enrol.text("host", uplink.endpoints[nearest][0])
    settings = IdentitySettings(
        label, key, _host(host, "[enrol] host"), enrol.whole("port", 1, 65_535, limits.EST_PORT)
    )
    for one in (table, enrol):
        one.done()
    return settings


def _pole(table: Table) -> PoleSettings:
    settings = PoleSettings(table.texts("interfaces"), table.whole("port", 0, 65_535, limits.COAP_PORT))
    table.done()
    return settings


def _place(table: Table) -> Place:
    place = Place(table.number("latitude", -90, 90), table.number("longitude", -180, 180))
    table.done()
    return place


def _endpoint(text: str, port: int, where: str) -> tuple[str, int]:
    """`[2001:db8::1]:123`, `time.example.nl:123` or either without its port."""
    host, colon, tail = text.rpartition(":")
    if text.endswith("]") or not colon or (":" in host and not host.endswith("]")):
        return _host(text.strip("[]"), where), port
    if not (tail.isascii() and tail.isdigit() and 0 < int(tail) <= 65_535):  # noqa: PLR2004 - the ports there are
        raise SettingsError(f"{where}: {text!r} has no port after its colon; write [2001:db8::1]:{port}")
    return _host(host.strip("[]"), where), int(tail)


def _host(text: str, where: str) -> str:
    """An IPv6 literal (with its zone, without brackets) or a name. An IPv4 literal is refused here, and not later."""
    if ":" in text:
        try:
            IPv6Address(text)
        except ValueError as error:
            raise SettingsError(f"{where}: {text!r} is no IPv6 address; write it as 2001:db8::1") from error
        return text
    if not text or text.replace(".", "").isdigit():
        raise SettingsError(f"{where}: {text!r} is neither an IPv6 address nor a name; there is no IPv4 here")
    return text


def _is_loopback(host: str) -> bool:
    return ":" in host and IPv6Address(host).is_loopback
