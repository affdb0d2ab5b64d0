"""Where a simulated town may send: a Lichtmast on this machine, or one that its operator says is theirs."""

from collections.abc import Sequence
from dataclasses import dataclass
from ipaddress import IPv6Address
from pathlib import Path
from time import monotonic, sleep
from typing import Final

from lichtmast.registry import DeviceStatus, NewDevice, Registry
from lichtmast.suite.clock import now_us
from lichtmast.suite.errors import SuiteError
from lichtmast.suite.folder import Folder
from lichtmast.suite.remote import Remote
from lichtmast.wire import DeviceId

Endpoint = tuple[str, int]
PORT_MAX: Final = 65_535
KNOWN_TIMEOUT_S: Final = 60.0


@dataclass(frozen=True, slots=True)
class Target:
    """A server, and the folder whose register it reads; `remote` is None where the server was named by hand."""

    folder: Folder
    mqtt: Endpoint | None
    coap: Endpoint | None
    remote: Remote | None

    @classmethod
    def choose(cls, data: Path | None, mqtt: str | None, coap: str | None, *, is_mine: bool) -> "Target":
        """What the options say; without endpoints, the Lichtmast that runs on the folder. Raises SuiteError."""
        folder = Folder.choose(data)
        named = [_endpoint(text, option) for option, text in (("--mqtt", mqtt), ("--coap", coap))]
        if any(named):
            for one in named:
                if one is not None and not is_mine and not _is_loopback(one[0]):
                    raise SuiteError(
                        f"{one[0]} is another machine: a simulated town is load, so it goes to ::1 only. "
                        "Where that machine is yours, add --target-is-mine"
                    )
            return cls(folder, named[0], named[1], None)
        remote = Remote.find(folder)
        if remote is None:
            raise SuiteError(f"no Lichtmast runs on {folder.path}; start one with: lichtmast up --data {folder.path}")
        status = remote.get("/status")
        return cls(folder, ("::1", status["mqtt_port"]), ("::1", status["coap_port"]), remote)

    def register(self, tenant: str, devices: Sequence[tuple[DeviceId, str, str]]) -> None:
        """Put (device, profile, asset's key) in the register, and wait until the running Lichtmast knows them."""
        if self.remote is None:
            return
        with Registry.open(self.folder.registry) as registry:
            registry.ensure_tenant(tenant)
            assets = {key: registry.thing_by_source_id(tenant, key) for key in {key for _, _, key in devices if key}}
            wanted = []
            for device, profile, key in devices:
                asset = assets.get(key)
                wanted.append(NewDevice(device, profile, asset.id if asset else None, DeviceStatus.ACTIVE))
            registry.register_devices(wanted, at_us=now_us())
            revision = registry.revision()
        until_s = monotonic() + KNOWN_TIMEOUT_S
        while self.remote.get("/status")["roster_revision"] < revision:
            if monotonic() > until_s:
                raise SuiteError("the running Lichtmast does not take up the new devices; is it well?")
            sleep(0.1)


def assets_of(folder: Folder, tenant: str) -> list[tuple[str, float, float]]:
    """(key, longitude, latitude) of the tenant's lampposts in the register. Raises SuiteError where there is none."""
    assets: list[tuple[str, float, float]] = []
    with Registry.open(folder.registry) as registry:
        last = 0
        while page := registry.things(tenant, after_id=last, limit=1_000, active_only=True):
            assets += [(one.source_id, one.longitude, one.latitude) for one in page]
            last = page[-1].id
    if not assets:
        raise SuiteError(
            f"the register of {folder.path} has no lamppost of {tenant}; "
            f"import some with: lichtmast import geojson FILE --tenant {tenant} --data {folder.path}, "
            'or name a GeoJSON file in the scenario: assets = "FILE"'
        )
    return assets


def _endpoint(text: str | None, option: str) -> Endpoint | None:
    """`[::1]:1883` or `name:1883`."""
    if text is None:
        return None
    host, _, port = text.rpartition(":")
    if host.strip("[]").replace(".", "").isdecimal():
        raise SuiteError(f"{option} {text} is no IPv6 address, and Lichtmast speaks IPv6 only; write [::1]:{port}")
    if not host or not port.isdecimal() or not 0 < int(port) <= PORT_MAX or (":" in host) != host.startswith("["):
        raise SuiteError(f"{option} {text} is not [HOST]:PORT, such as [::1]:1883")
    return host.strip("[]"), int(port)


def _is_loopback(host: str) -> bool:
    try:
        return IPv6Address(host).is_loopback
    except ValueError:
        return False
