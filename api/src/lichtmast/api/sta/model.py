"""The entities of SensorThings 1.1 and how they are related (18-088 section 8), as data."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final


@dataclass(frozen=True, slots=True)
class EntityType:
    """One entity: its set's name, its properties in the standard's order, and where its relations lead."""

    name: str
    plural: str
    properties: tuple[str, ...]
    to_one: Mapping[str, str]
    """Navigation name -> plural of the entity it leads to."""
    to_many: tuple[str, ...]
    """Navigation names that are sets; each is the plural of what it leads to."""

    def leads_to(self, navigation: str) -> str | None:
        """The set that a navigation name belongs to, None where there is no such relation."""
        return navigation if navigation in self.to_many else self.to_one.get(navigation)

    @property
    def navigations(self) -> tuple[str, ...]:
        """All relations."""
        return (*self.to_one, *self.to_many)


THINGS: Final = EntityType(
    "Thing", "Things", ("name", "description", "properties"), {}, ("Locations", "HistoricalLocations", "Datastreams")
)
LOCATIONS: Final = EntityType(
    "Location",
    "Locations",
    ("name", "description", "encodingType", "location", "properties"),
    {},
    ("Things", "HistoricalLocations"),
)
HISTORICAL_LOCATIONS: Final = EntityType(
    "HistoricalLocation", "HistoricalLocations", ("time",), {"Thing": "Things"}, ("Locations",)
)
DATASTREAMS: Final = EntityType(
    "Datastream",
    "Datastreams",
    ("name", "description", "unitOfMeasurement", "observationType", "properties"),
    {"Thing": "Things", "Sensor": "Sensors", "ObservedProperty": "ObservedProperties"},
    ("Observations",),
)
SENSORS: Final = EntityType(
    "Sensor", "Sensors", ("name", "description", "encodingType", "metadata"), {}, ("Datastreams",)
)
OBSERVED_PROPERTIES: Final = EntityType(
    "ObservedProperty", "ObservedProperties", ("name", "definition", "description"), {}, ("Datastreams",)
)
OBSERVATIONS: Final = EntityType(
    "Observation",
    "Observations",
    ("phenomenonTime", "resultTime", "result", "resultQuality"),
    {"Datastream": "Datastreams", "FeatureOfInterest": "FeaturesOfInterest"},
    (),
)
FEATURES_OF_INTEREST: Final = EntityType(
    "FeatureOfInterest",
    "FeaturesOfInterest",
    ("name", "description", "encodingType", "feature"),
    {},
    ("Observations",),
)

TYPES: Final[Mapping[str, EntityType]] = {
    one.plural: one
    for one in (
        THINGS,
        LOCATIONS,
        HISTORICAL_LOCATIONS,
        DATASTREAMS,
        SENSORS,
        OBSERVED_PROPERTIES,
        OBSERVATIONS,
        FEATURES_OF_INTEREST,
    )
}

_REQUIREMENT: Final = "http://www.opengis.net/spec/iot_sensing/1.1/req/"
CONFORMANCE: Final = tuple(
    _REQUIREMENT + name
    for name in (
        "datamodel",
        "datamodel/thing",
        "datamodel/location",
        "datamodel/historical-location",
        "datamodel/datastream",
        "datamodel/sensor",
        "datamodel/observed-property",
        "datamodel/observation",
        "datamodel/feature-of-interest",
        "resource-path",
        "resource-path/resource-path-to-entities",
        "request-data/status-code",
        "request-data/query-status-code",
        "request-data/order",
        "request-data/expand",
        "request-data/select",
        "request-data/top",
        "request-data/skip",
        "request-data/count",
        "request-data/pagination",
    )
)
"""What is kept in full. $orderby and $filter are served in part and therefore not named (18-088 section 9.2.1)."""
