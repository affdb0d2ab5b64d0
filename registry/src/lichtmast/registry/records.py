"""What the register tells its readers: plain frozen values, detached from any database.

No record loads anything lazily and none can be written back: changes go through `lichtmast.registry.Registry`.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date
from enum import StrEnum
from typing import Final

from lichtmast.wire.identity import DeviceId


class DeviceStatus(StrEnum):
    """Where a device is in its life. Only an active device's readings are stored."""

    REGISTERED = "registered"
    CLAIMED = "claimed"
    ACTIVE = "active"
    SUSPENDED = "suspended"
    RETIRED = "retired"


TRANSITIONS: Final[Mapping[DeviceStatus, frozenset[DeviceStatus]]] = {
    # To active without a claim: where nothing is secured, `lichtmast device add` puts a device in service by itself.
    DeviceStatus.REGISTERED: frozenset({DeviceStatus.CLAIMED, DeviceStatus.ACTIVE, DeviceStatus.RETIRED}),
    DeviceStatus.CLAIMED: frozenset({DeviceStatus.REGISTERED, DeviceStatus.ACTIVE, DeviceStatus.RETIRED}),
    DeviceStatus.ACTIVE: frozenset({DeviceStatus.SUSPENDED, DeviceStatus.RETIRED}),
    DeviceStatus.SUSPENDED: frozenset({DeviceStatus.ACTIVE, DeviceStatus.RETIRED}),
    DeviceStatus.RETIRED: frozenset(),
}
"""Which status may follow which."""


@dataclass(frozen=True, slots=True)
class TenantRecord:
    """A municipality; `code` is the CBS code in lower case, such as gm0402."""

    id: int
    code: str
    name: str | None


@dataclass(frozen=True, slots=True)
class AssetRecord:
    """A lamppost (SensorThings: a Thing and its Location, which share this id). Permanent: it ends, it never goes.

    `longitude` and `latitude` are CRS84. `source_x` and `source_y` are the source's text in `source_crs`, unchanged.
    """

    id: int
    tenant: str
    source: str
    """Where it came from: bgt, geojson or csv."""
    source_id: str
    """Unique in the tenant, such as nl-imgeo:G0402.f1702291255c4d998e859ab8298b1786."""
    kind: str
    name: str
    description: str
    longitude: float
    latitude: float
    source_crs: str
    source_x: str
    source_y: str
    valid_from: date | None
    valid_to: date | None
    """The day it ended; None while it stands."""
    properties: Mapping[str, object]

    @property
    def active(self) -> bool:
        """Whether it still stands."""
        return self.valid_to is None


@dataclass(frozen=True, slots=True)
class AssetVersionRecord:
    """One record of the source register about an asset; times are the source's own text (BGT: Dutch local time)."""

    id: int
    asset_id: int
    registered_from: str
    registered_to: str | None
    published: str | None
    source_crs: str
    source_x: str
    source_y: str
    properties: Mapping[str, object]


@dataclass(frozen=True, slots=True)
class DeviceRecord:
    """A device, replaceable; `asset_id` is where it hangs now."""

    id: int
    device: DeviceId
    profile: str
    profile_version: int
    status: DeviceStatus
    registered_at_us: int
    asset_id: int | None


@dataclass(frozen=True, slots=True)
class DeploymentRecord:
    """That a device hung on an asset from one moment to another (microseconds since 1970 UTC; None: still there)."""

    id: int
    asset_id: int
    device_id: int
    device: DeviceId
    from_us: int
    to_us: int | None
    position: int
    """1 for the only or first device of its profile on the asset, 2 for a second one that hangs beside it."""


@dataclass(frozen=True, slots=True)
class SensorRecord:
    """A device model, as SensorThings Sensor: one for each profile."""

    id: int
    profile: str
    name: str
    description: str
    encoding_type: str
    """Media type or URI that says what `metadata` is, as in SensorThings."""
    metadata: str


@dataclass(frozen=True, slots=True)
class ObservedPropertyRecord:
    """A quantity; `definition` is its URI."""

    id: int
    name: str
    definition: str
    description: str


@dataclass(frozen=True, slots=True)
class DatastreamRecord:
    """Asset or device x observed property x sensor.

    Where `asset_id` is set, the series belongs to the asset and outlives its devices; `device_id` and `device_name`
    are then the device that feeds it now, None where nothing does. Where `asset_id` is None, it is the series of a
    device that hangs on no asset.
    """

    id: int
    tenant: str
    asset_id: int | None
    device_id: int | None
    device_name: str | None
    name: str
    description: str
    unit: str | None
    """SenML unit symbol (RFC 8428, RFC 8798), None for text and truth values."""
    unit_name: str | None
    kind: str
    """How values are written, as in the profile: number, boolean, text ..."""
    observed_property_id: int
    sensor_id: int
    suffix: str
    """The SenML name after the device's base name."""
    capability: str
    """The capability's key in the profile."""
    minimum: float | None
    maximum: float | None


@dataclass(frozen=True, slots=True)
class RegisteredDevice:
    """The answer to registering: `datastream_ids` line up with the profile's uplinks."""

    device_id: int
    device: DeviceId
    asset_id: int | None
    status: DeviceStatus
    datastream_ids: tuple[int, ...]
    created: bool
    """False where exactly this device was there already."""


@dataclass(frozen=True, slots=True)
class ImportRunRecord:
    """One committed import that changed something."""

    id: int
    tenant: str
    source: str
    file_name: str
    sha256: str
    started_at_us: int
    added: int
    updated: int
    unchanged: int


@dataclass(frozen=True, slots=True)
class Counts:
    """How much the register holds."""

    tenants: int
    assets: int
    assets_active: int
    devices: int
    devices_active: int
    datastreams: int
    """All, those of devices without an asset included."""
    datastreams_on_assets: int
    sensors: int
    observed_properties: int
    revision: int
