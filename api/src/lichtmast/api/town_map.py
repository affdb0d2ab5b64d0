"""The lampposts as GeoJSON (RFC 7946), encoded once for each overview."""

import json

from lichtmast.api import limits
from lichtmast.api.catalogue import Catalogue
from lichtmast.api.overview import Overview, Standing, State
from lichtmast.api.times import iso

_NEVER = Standing(State.NEVER, None)


class TownMap:
    """Keeps the last encoding; many visitors then cost as much as one."""

    def __init__(self) -> None:
        self._encoded: tuple[tuple[int, int], bytes] | None = None

    def geojson(self, catalogue: Catalogue, overview: Overview) -> bytes:
        """A FeatureCollection of what stands; `numberMatched` tells where it is more than fits."""
        key = (overview.revision, overview.at_us)
        held = self._encoded
        if held is not None and held[0] == key:
            return held[1]
        features = []
        for asset in catalogue.standing[: limits.MAP_POINTS_MAX]:
            standing = overview.standings.get(asset.id, _NEVER)
            last = None if standing.last_us is None else iso(standing.last_us)
            features.append(
                {
                    "type": "Feature",
                    "id": asset.id,
                    "geometry": {"type": "Point", "coordinates": [asset.longitude, asset.latitude]},
                    "properties": {"name": asset.name, "state": standing.state, "last": last},
                }
            )
        collection = {
            "type": "FeatureCollection",
            "features": features,
            "numberMatched": len(catalogue.standing),
            "numberReturned": len(features),
        }
        encoded = json.dumps(collection, ensure_ascii=False, separators=(",", ":")).encode("utf-8", "replace")
        self._encoded = (key, encoded)
        return encoded
