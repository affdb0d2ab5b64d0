"""Where a rule or a maintenance window applies: everything that all of its narrowings leave over. Pure."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Box:
    """What lies between two meridians and two parallels, in CRS84 degrees; the edges belong to it."""

    west: float
    south: float
    east: float
    north: float

    def contains(self, longitude: float | None, latitude: float | None) -> bool:
        """Whether a place lies inside; what has no place does not."""
        if longitude is None or latitude is None:
            return False
        return self.west <= longitude <= self.east and self.south <= latitude <= self.north


@dataclass(frozen=True, slots=True)
class Facts:
    """What is known of the subject of an alert: what a scope is compared with, and what the inbox shows.

    Of a group only its tenant is set, and `group`; of a device neither datastream nor capability.
    """

    subject: str
    tenant: str
    datastream_id: int | None = None
    device: str | None = None
    asset_id: int | None = None
    profile: str | None = None
    capability: str | None = None
    longitude: float | None = None
    latitude: float | None = None
    feeder: str | None = None
    neighbourhood: str | None = None
    name: str = ""
    """For people: the asset's name, or the device's where it hangs on none."""

    @property
    def is_group(self) -> bool:
        """Whether it is a group of members and no thing itself."""
        return self.subject.startswith("group/")


@dataclass(frozen=True, slots=True)
class Scope:
    """Any combination of narrowings; an empty one leaves everything in. A rule's tenant narrows besides."""

    datastream_ids: tuple[int, ...] = ()
    devices: tuple[str, ...] = ()
    """As in gm0402/lm-1."""
    asset_ids: tuple[int, ...] = ()
    profile: str | None = None
    capability: str | None = None
    """The key of a capability in its profile."""
    area: Box | None = None

    def covers(self, facts: Facts) -> bool:
        """Whether the subject is in it. A group is not judged: its members are.

        What a device as a whole does (its silence) is covered where one of its datastreams could be: datastream and
        capability are not asked of it.
        """
        if facts.is_group:
            return True
        of_datastream = facts.datastream_id is not None
        return not (
            (of_datastream and self.datastream_ids and facts.datastream_id not in self.datastream_ids)
            or (self.devices and facts.device not in self.devices)
            or (self.asset_ids and facts.asset_id not in self.asset_ids)
            or (self.profile is not None and facts.profile != self.profile)
            or (of_datastream and self.capability is not None and facts.capability != self.capability)
            or (self.area is not None and not self.area.contains(facts.longitude, facts.latitude))
        )
