"""Assets from a GeoJSON file (RFC 7946): points with a key, for a town without a register.

Will not read lines or areas: something hangs on a pole.
"""

import json
from pathlib import Path

from lichtmast.firmware_sim import limits
from lichtmast.firmware_sim.scenario.table import ScenarioError

_PAIR = 2


def read_points(path: Path) -> list[tuple[str, float, float]]:
    """(key, longitude, latitude) of each point; the key is the feature's `id`, else its property `id`, else its place.

    Raises ScenarioError.
    """
    try:
        if path.stat().st_size > limits.GEOJSON_BYTES_MAX:
            raise ScenarioError(f"{path}: more than {limits.GEOJSON_BYTES_MAX} bytes; cut out the part you need")
        told = json.loads(path.read_bytes())
    except OSError as error:
        raise ScenarioError(f'{path}: {error.strerror}; give a GeoJSON file, or assets = "register"') from error
    except (ValueError, RecursionError) as error:
        raise ScenarioError(f"{path}: not JSON") from error
    features = told.get("features") if isinstance(told, dict) else None
    if not isinstance(features, list):
        raise ScenarioError(f"{path}: not a GeoJSON FeatureCollection")
    points = [_point(path, number, one) for number, one in enumerate(features)]
    if not points:
        raise ScenarioError(f"{path}: no feature in it, so nothing to hang a device on")
    if len({key for key, _, _ in points}) < len(points):
        raise ScenarioError(f"{path}: two features have the same id")
    return points


def _point(path: Path, number: int, feature: object) -> tuple[str, float, float]:
    where = f"{path}: feature {number}"
    if not isinstance(feature, dict) or not isinstance(feature.get("geometry"), dict):
        raise ScenarioError(f"{where} has no geometry")
    geometry = feature["geometry"]
    at = geometry.get("coordinates")
    if geometry.get("type") != "Point" or not isinstance(at, list) or len(at) < _PAIR:
        raise ScenarioError(f"{where} is not a Point")
    longitude, latitude = at[:_PAIR]
    if not all(type(one) in (int, float) for one in at[:_PAIR]) or not (
        -180 <= longitude <= 180 and -90 <= latitude <= 90  # noqa: PLR2004 - the whole Earth
    ):
        raise ScenarioError(f"{where} is not at [longitude, latitude] in degrees")
    properties = feature.get("properties")
    inner = properties.get("id") if isinstance(properties, dict) else None
    key = feature.get("id", inner)
    return str(number if key is None else key), longitude, latitude
