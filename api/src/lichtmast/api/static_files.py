"""The built web assets: names with a hash of their content, so that browsers may keep them for good.

They are made by `npm ci && npm run build` in api/web and belong to the wheel. Without them the pages still work: lists,
search and tables need no script, and say in words that the map is missing.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from starlette.responses import Response
from starlette.staticfiles import StaticFiles
from starlette.types import Scope

STATIC_FOLDER: Final = Path(__file__).with_name("static")
_MANIFEST: Final = "manifest.json"


@dataclass(frozen=True, slots=True)
class StaticAssets:
    """Where the pages find style sheet and scripts; empty addresses where nothing was built."""

    addresses: Mapping[str, str]

    @property
    def built(self) -> bool:
        """Whether `npm run build` has run."""
        return bool(self.addresses)

    def address(self, name: str) -> str:
        """The address of `site.css`, `live.js`, `map.js`, `map.css`, `worker.js` or `lamp.svg`; empty where absent."""
        return self.addresses.get(name, "")


def find_assets(folder: Path = STATIC_FOLDER) -> StaticAssets:
    """Read the build's manifest."""
    manifest = folder / _MANIFEST
    if not manifest.is_file():
        return StaticAssets({})
    names: dict[str, str] = json.loads(manifest.read_text("utf-8"))
    return StaticAssets({name: f"/static/{file}" for name, file in names.items()})


class KeptFiles(StaticFiles):
    """Static files that never change under their name."""

    async def get_response(self, path: str, scope: Scope) -> Response:
        """Serve a file of the build, to be kept for a year."""
        response = await super().get_response(path, scope)
        if response.status_code in {200, 206, 304}:
            response.headers["Cache-Control"] = "public, max-age=31536000, immutable"
        return response
