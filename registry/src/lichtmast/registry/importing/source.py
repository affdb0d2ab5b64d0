"""What a source of assets is: a file that is read row by row, each row an asset or a problem.

Three sources implement it: `bgt`, `geojson` and `csv`. None of them knows the database.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import date
from pathlib import Path
from typing import Protocol

from lichtmast.registry.importing.report import Problem

Progress = Callable[[int, int | None], None]
"""Called now and then with the bytes read and the bytes in the file."""

KIND_LICHTMAST = "lichtmast"
CRS84 = "OGC:CRS84"
RD_NEW = "EPSG:28992"


@dataclass(frozen=True, slots=True)
class SourceVersion:
    """Which record of the source's register this is; texts exactly as the source wrote them."""

    registered_from: str
    registered_to: str | None
    published: str


@dataclass(frozen=True, slots=True)
class IncomingAsset:
    """One sound row. `version` is set by sources that give several records of one asset."""

    row: int
    source_id: str
    name: str
    longitude: float
    latitude: float
    source_crs: str
    source_x: str
    source_y: str
    valid_from: date | None
    valid_to: date | None
    properties: dict[str, object]
    version: SourceVersion | None = None


class AssetSource(Protocol):
    """A file of assets. `read` may be called again; it starts anew."""

    @property
    def kind(self) -> str:
        """The name of the source: bgt, geojson, csv."""

    @property
    def path(self) -> Path:
        """The file."""

    @property
    def detected(self) -> dict[str, str]:
        """What `read` found out about the file so far: encoding, delimiter, crs ..."""

    @property
    def sha256(self) -> str:
        """Digest of the file's bytes, known after `read`."""

    def read(self, progress: Progress) -> Iterator[IncomingAsset | Problem]:
        """Row after row, in the order of the file, in bounded memory. Raises SourceUnreadableError."""
