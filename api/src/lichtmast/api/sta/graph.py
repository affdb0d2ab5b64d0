"""The register as SensorThings entities: values and relations of everything but Observations.

Thing, Location, HistoricalLocation and FeatureOfInterest of a lamppost share its id: a lamppost does not move, so each
has exactly one. Nothing here tells which device hangs on a lamppost: serial numbers and addresses are not public.
"""

from collections.abc import Callable, Collection, Mapping
from typing import Any, Final

from lichtmast.api.catalogue import Catalogue
from lichtmast.api.sta.model import EntityType
from lichtmast.api.times import iso_of_day
from lichtmast.registry.records import AssetRecord, DatastreamRecord, ObservedPropertyRecord, SensorRecord

_GEOJSON: Final = "application/geo+json"
_UNIT_REGISTRY: Final = "https://www.iana.org/assignments/senml/senml.xhtml#senml-units"
_OBSERVATION_TYPE: Final = "http://www.opengis.net/def/observationType/OGC-OM/2.0/"
_OBSERVATION_TYPES: Final = {"number": "OM_Measurement", "boolean": "OM_TruthObservation"}
_UNKNOWN_SINCE: Final = "1970-01-01T00:00:00Z"
"""HistoricalLocation/time is mandatory; this stands where the source does not say since when a lamppost stands."""


class Graph:
    """Reads one catalogue. All answers are for ids that exist, except `contains`."""

    def __init__(self, catalogue: Catalogue) -> None:
        self._catalogue = catalogue
        assets = catalogue.assets
        self._sets: dict[str, tuple[Mapping[int, Any], Callable[[Any], dict[str, Any]]]] = {
            "Things": (assets, _thing),
            "Locations": (assets, _location),
            "HistoricalLocations": (assets, _historical_location),
            "FeaturesOfInterest": (assets, _feature_of_interest),
            "Datastreams": (catalogue.datastreams, _datastream),
            "Sensors": (catalogue.sensors, _sensor),
            "ObservedProperties": (catalogue.observed_properties, _observed_property),
        }

    def contains(self, entity: EntityType, key: object) -> bool:
        """Whether there is such an entity."""
        return isinstance(key, int) and key in self._sets[entity.plural][0]

    def ids(self, entity: EntityType) -> Collection[int]:
        """All of a set, in order of id."""
        return self._sets[entity.plural][0].keys()

    def values(self, entity: EntityType, key: int) -> dict[str, Any]:
        """The properties of one entity."""
        records, describe = self._sets[entity.plural]
        return describe(records[key])

    def related(self, entity: EntityType, key: int, navigation: str) -> Collection[int]:
        """The ids a relation leads to, in order; never Observations."""
        catalogue = self._catalogue
        match entity.plural, navigation:
            case "Things" | "FeaturesOfInterest", "Datastreams":
                return [one.id for one in catalogue.datastreams_of(key)]
            case "Datastreams", _:
                datastream = catalogue.datastreams[key]
                leads_to = {"Sensor": datastream.sensor_id, "ObservedProperty": datastream.observed_property_id}
                found = leads_to.get(navigation, datastream.asset_id)
                return [] if found is None else [found]
            case "Sensors", _:
                return [one.id for one in catalogue.datastreams.values() if one.sensor_id == key]
            case "ObservedProperties", _:
                return [one.id for one in catalogue.datastreams.values() if one.observed_property_id == key]
        return [key]  # Thing, Location and HistoricalLocation of one lamppost.

    def series(self, entity: EntityType, key: int) -> list[int]:
        """The datastreams whose Observations belong to a Datastream or FeatureOfInterest."""
        if entity.plural == "Datastreams":
            return [key]
        return [one.id for one in self._catalogue.datastreams_of(key)]

    def datastream(self, key: int) -> DatastreamRecord | None:
        """The record of a series."""
        return self._catalogue.datastreams.get(key)


def _thing(asset: AssetRecord) -> dict[str, Any]:
    properties: dict[str, Any] = {
        "source": asset.source,
        "sourceId": asset.source_id,
        "tenant": asset.tenant,
        "kind": asset.kind,
        "status": "active" if asset.active else "ended",
    }
    if asset.valid_from is not None:
        properties["validFrom"] = asset.valid_from.isoformat()
    if asset.valid_to is not None:
        properties["validTo"] = asset.valid_to.isoformat()
    properties |= asset.properties
    return {"name": asset.name, "description": asset.description, "properties": properties}


def _point(asset: AssetRecord) -> dict[str, Any]:
    return {"type": "Point", "coordinates": [asset.longitude, asset.latitude]}


def _location(asset: AssetRecord) -> dict[str, Any]:
    return {
        "name": asset.name,
        "description": f"Where {asset.name} stands",
        "encodingType": _GEOJSON,
        "location": _point(asset),
        "properties": {"sourceCrs": asset.source_crs, "sourceX": asset.source_x, "sourceY": asset.source_y},
    }


def _historical_location(asset: AssetRecord) -> dict[str, Any]:
    return {"time": _UNKNOWN_SINCE if asset.valid_from is None else iso_of_day(asset.valid_from)}


def _feature_of_interest(asset: AssetRecord) -> dict[str, Any]:
    return {
        "name": asset.name,
        "description": f"The surroundings of {asset.name}",
        "encodingType": _GEOJSON,
        "feature": _point(asset),
    }


def _datastream(record: DatastreamRecord) -> dict[str, Any]:
    unit = {"name": record.unit_name, "symbol": record.unit, "definition": _UNIT_REGISTRY if record.unit else None}
    properties: dict[str, Any] = {"capability": record.capability}
    if record.minimum is not None:
        properties["minimum"] = record.minimum
    if record.maximum is not None:
        properties["maximum"] = record.maximum
    return {
        "name": record.name,
        "description": record.description,
        "unitOfMeasurement": unit,
        "observationType": _OBSERVATION_TYPE + _OBSERVATION_TYPES.get(record.kind, "OM_Observation"),
        "properties": properties,
    }


def _sensor(record: SensorRecord) -> dict[str, Any]:
    return {
        "name": record.name,
        "description": record.description,
        "encodingType": record.encoding_type,
        "metadata": record.metadata,
    }


def _observed_property(record: ObservedPropertyRecord) -> dict[str, Any]:
    return {"name": record.name, "definition": record.definition, "description": record.description}
