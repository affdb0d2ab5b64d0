"""Bringing lampposts in from files: BGT GML, GeoJSON, CSV.

A source reads a file into assets and problems; `staging` compares them with the register and commits all or nothing.
Does not end lampposts that a file leaves out: deliveries are often partial.
"""

from pathlib import Path

from lichtmast.registry.importing.bgt import BgtSource
from lichtmast.registry.importing.csv_table import CsvSource
from lichtmast.registry.importing.geojson import GeojsonSource
from lichtmast.registry.importing.report import ImportReport, Problem, Reason, Severity
from lichtmast.registry.importing.source import AssetSource, IncomingAsset, Progress, SourceVersion

SOURCE_KINDS = ("bgt", "geojson", "csv")


def import_source(kind: str, path: Path, *, tenant: str | None = None) -> AssetSource:
    """The source of this kind on a file; `tenant` lets BGT notice a delivery of another municipality.

    Raises ValueError for an unknown kind. The file is opened when it is read.
    """
    if kind == BgtSource.kind:
        return BgtSource(path, tenant)
    if kind == GeojsonSource.kind:
        return GeojsonSource(path)
    if kind == CsvSource.kind:
        return CsvSource(path)
    raise ValueError(f"no source {kind[:40]!r}; known are {', '.join(SOURCE_KINDS)}")


__all__ = [
    "SOURCE_KINDS",
    "AssetSource",
    "BgtSource",
    "CsvSource",
    "GeojsonSource",
    "ImportReport",
    "IncomingAsset",
    "Problem",
    "Progress",
    "Reason",
    "Severity",
    "SourceVersion",
    "import_source",
]
