"""Comparing a file with the register, and committing all of it or nothing.

Rows are staged in a temporary table first, without holding the register's write lock; comparison and commit are then a
handful of SQL statements in one write transaction. Memory does not grow with the file, nor does the time others wait.
"""

import hashlib
import json
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Final

from sqlalchemy import Connection, text

from lichtmast.registry.database import bump
from lichtmast.registry.importing.report import ImportReport, Problem, ProblemLog, Reason, Severity, error, warning
from lichtmast.registry.importing.source import KIND_LICHTMAST, AssetSource, IncomingAsset, Progress
from lichtmast.registry.limits import IMPORT_BATCH_ROWS

_STAGE: Final = """
CREATE TEMPORARY TABLE staged (
    row INTEGER PRIMARY KEY, source_id TEXT NOT NULL, name TEXT NOT NULL,
    longitude REAL NOT NULL, latitude REAL NOT NULL, source_crs TEXT NOT NULL, source_x TEXT NOT NULL,
    source_y TEXT NOT NULL, valid_from TEXT, valid_to TEXT, properties TEXT NOT NULL, digest BLOB NOT NULL,
    registered_from TEXT, registered_to TEXT, published TEXT, version_digest BLOB)
"""
_INSERT: Final = """
INSERT INTO staged VALUES (
    :row, :source_id, :name, :longitude, :latitude, :source_crs, :source_x, :source_y, :valid_from, :valid_to,
    :properties, :digest, :registered_from, :registered_to, :published, :version_digest)
"""
_JSON: Final = json.JSONEncoder(ensure_ascii=False, sort_keys=True)

_DUPLICATES: Final = text("""
SELECT s.row, s.source_id, f.row FROM staged s JOIN (
    SELECT source_id, registered_from, published, min(row) AS row FROM staged
    GROUP BY source_id, registered_from, published HAVING count(*) > 1) f
ON f.source_id = s.source_id AND f.registered_from IS s.registered_from AND f.published IS s.published AND f.row < s.row
ORDER BY s.row
""")
_REPEATED: Final = text("""
SELECT s.row, s.source_id, o.row FROM staged s JOIN staged o
ON o.source_id = s.source_id AND o.registered_from = s.registered_from AND o.published = s.published AND o.row < s.row
WHERE s.digest = o.digest AND s.version_digest = o.version_digest
""")

# One row an asset: its latest record. `asset_id` is null where it is new; `older` where the register knows a later one.
_LATEST: Final = """
CREATE TEMPORARY TABLE latest AS
SELECT s.*, a.id AS asset_id, a.content_digest AS known_digest,
    coalesce(s.registered_from < (SELECT max(v.registered_from) FROM asset_version v WHERE v.asset_id = a.id)
        OR (s.registered_to IS NULL AND EXISTS (SELECT 1 FROM asset_version v WHERE v.asset_id = a.id
            AND v.registered_from = s.registered_from AND v.registered_to IS NOT NULL)), 0) AS older
FROM (SELECT *, row_number() OVER (
        PARTITION BY source_id
        ORDER BY registered_from DESC, registered_to IS NULL DESC, published DESC, row DESC) AS rank FROM staged) s
LEFT JOIN asset a ON a.tenant_id = :tenant_id AND a.source_id = s.source_id
WHERE s.rank = 1
"""
_NEW_VERSIONS: Final = """
SELECT l.asset_id FROM staged s JOIN latest l ON l.source_id = s.source_id
LEFT JOIN asset_version v ON v.asset_id = l.asset_id AND v.registered_from = s.registered_from
    AND v.published = s.published
WHERE l.asset_id IS NOT NULL AND s.registered_from IS NOT NULL
    AND (v.id IS NULL OR (v.content_digest <> s.version_digest
        AND NOT (v.registered_to IS NOT NULL AND s.registered_to IS NULL)))
"""
_COMPARISON: Final = text(f"""
SELECT count(*), sum(valid_to IS NULL), sum(valid_to IS NOT NULL), sum(asset_id IS NULL),
    sum(asset_id IS NOT NULL AND ((NOT older AND known_digest <> digest) OR asset_id IN ({_NEW_VERSIONS})))
FROM latest
""")  # noqa: S608 - built from the constant above
_OLDER: Final = text("SELECT row, source_id FROM latest WHERE older ORDER BY row")
_ENDED_WITH_DEVICE: Final = text("""
SELECT l.row, l.source_id FROM latest l JOIN deployment d ON d.asset_id = l.asset_id AND d.to_us IS NULL
WHERE l.valid_to IS NOT NULL AND NOT l.older ORDER BY l.row
""")

_ADD_ASSETS: Final = text("""
INSERT INTO asset (tenant_id, source, source_id, kind, name, longitude, latitude, source_crs, source_x, source_y,
    valid_from, valid_to, properties, content_digest)
SELECT :tenant_id, :source, source_id, :kind, name, longitude, latitude, source_crs, source_x, source_y,
    valid_from, valid_to, properties, digest FROM latest WHERE asset_id IS NULL ORDER BY row
""")
_UPDATE_ASSETS: Final = text("""
UPDATE asset SET source = :source, name = l.name, longitude = l.longitude, latitude = l.latitude,
    source_crs = l.source_crs, source_x = l.source_x, source_y = l.source_y, valid_from = l.valid_from,
    valid_to = l.valid_to, properties = l.properties, content_digest = l.digest
FROM latest l WHERE l.asset_id = asset.id AND NOT l.older AND l.digest <> asset.content_digest
""")
_MERGE_VERSIONS: Final = text("""
INSERT INTO asset_version (asset_id, registered_from, registered_to, published, source_crs, source_x, source_y,
    properties, content_digest)
SELECT a.id, s.registered_from, s.registered_to, s.published, s.source_crs, s.source_x, s.source_y, s.properties,
    s.version_digest
FROM staged s JOIN asset a ON a.tenant_id = :tenant_id AND a.source_id = s.source_id
WHERE s.registered_from IS NOT NULL ORDER BY a.id, s.registered_from, s.published, s.row
ON CONFLICT (asset_id, registered_from, published) DO UPDATE SET
    registered_to = excluded.registered_to, source_crs = excluded.source_crs, source_x = excluded.source_x,
    source_y = excluded.source_y, properties = excluded.properties, content_digest = excluded.content_digest
WHERE asset_version.content_digest <> excluded.content_digest
    AND NOT (asset_version.registered_to IS NOT NULL AND excluded.registered_to IS NULL)
""")
_LOG_RUN: Final = text("""
INSERT INTO import_run (tenant_id, source, file_name, sha256, started_at_us, added, updated, unchanged)
VALUES (:tenant_id, :source, :file_name, :sha256, :started_at_us, :added, :updated, :unchanged)
""")


@dataclass(frozen=True, slots=True)
class ImportOrder:
    """What to import, for whom, and whether to commit it."""

    tenant_code: str
    tenant_id: int
    source: AssetSource
    dry_run: bool
    started_at_us: int


@dataclass(frozen=True, slots=True)
class _Comparison:
    assets: int
    active: int
    ended: int
    added: int
    updated: int

    @property
    def unchanged(self) -> int:
        return self.assets - self.added - self.updated


def stage(connection: Connection, source: AssetSource, problems: ProblemLog, progress: Progress) -> int:
    """Read the file into the temporary table; returns the number of sound records."""
    connection.exec_driver_sql(_STAGE)
    staged = 0
    batch: list[dict[str, object]] = []
    for found in source.read(progress):
        if isinstance(found, Problem):
            problems.add(found)
            continue
        batch.append(_staged_row(found))
        staged += 1
        if len(batch) == IMPORT_BATCH_ROWS:
            connection.exec_driver_sql(_INSERT, batch)
            batch = []
    if batch:
        connection.exec_driver_sql(_INSERT, batch)
    connection.exec_driver_sql("CREATE INDEX temp.staged_source_id ON staged (source_id, registered_from, published)")
    return staged


def merge(connection: Connection, order: ImportOrder, problems: ProblemLog, records: int) -> ImportReport:
    """Compare the staged rows with the register and write what differs, unless there is an error or it is a dry run."""
    for problem in _duplicates(connection):
        problems.add(problem)
    connection.execute(text(_LATEST), {"tenant_id": order.tenant_id})
    connection.exec_driver_sql("CREATE INDEX temp.latest_asset_id ON latest (asset_id)")
    connection.exec_driver_sql("CREATE INDEX temp.latest_source_id ON latest (source_id)")
    for problem in _doubts(connection):
        problems.add(problem)
    comparison = _Comparison(*(int(number or 0) for number in connection.execute(_COMPARISON).one()))
    committed = not order.dry_run and not problems.counts(Severity.ERROR)
    if committed and comparison.added + comparison.updated:
        _write(connection, order, comparison)
    return ImportReport(
        tenant=order.tenant_code,
        source=order.source.kind,
        file_name=order.source.path.name,
        dry_run=order.dry_run,
        committed=committed,
        records=records,
        assets=comparison.assets,
        added=comparison.added,
        active=comparison.active,
        ended=comparison.ended,
        updated=comparison.updated,
        unchanged=comparison.unchanged,
        warnings=problems.kept(Severity.WARNING),
        errors=problems.kept(Severity.ERROR),
        warning_counts=problems.counts(Severity.WARNING),
        error_counts=problems.counts(Severity.ERROR),
        detected=order.source.detected,
    )


def discard(connection: Connection) -> None:
    """Drop the temporary tables, so that the pooled connection keeps nothing of the file."""
    with connection.begin():
        for table in ("staged", "latest"):
            connection.exec_driver_sql(f"DROP TABLE IF EXISTS temp.{table}")


def _write(connection: Connection, order: ImportOrder, comparison: _Comparison) -> None:
    tenant = {"tenant_id": order.tenant_id}
    connection.execute(_ADD_ASSETS, tenant | {"source": order.source.kind, "kind": KIND_LICHTMAST})
    connection.execute(_UPDATE_ASSETS, {"source": order.source.kind})
    connection.execute(_MERGE_VERSIONS, tenant)
    run = {
        "source": order.source.kind,
        "file_name": order.source.path.name,
        "sha256": order.source.sha256,
        "started_at_us": order.started_at_us,
        "added": comparison.added,
        "updated": comparison.updated,
        "unchanged": comparison.unchanged,
    }
    connection.execute(_LOG_RUN, tenant | run)
    bump(connection)


def _duplicates(connection: Connection) -> Iterator[Problem]:
    repeated = {row for row, _, _ in connection.execute(_REPEATED)}
    for row, source_id, first in connection.execute(_DUPLICATES):
        if row in repeated:
            yield warning(row, Reason.DUPLICATE_RECORD, f"{source_id}: the same record as row {first}; read once")
        else:
            message = f"{source_id} is in row {first} already; each lamppost may be there once: correct or remove one"
            yield error(row, Reason.DUPLICATE_ID, message)


def _doubts(connection: Connection) -> Iterator[Problem]:
    for row, source_id in connection.execute(_OLDER):
        message = f"{source_id}: the register holds a later record; this one is kept as history only"
        yield warning(row, Reason.OLDER_DELIVERY, message)
    for row, source_id in connection.execute(_ENDED_WITH_DEVICE):
        message = f"{source_id} has ended, but a device still hangs on it in the register; move or retire the device"
        yield warning(row, Reason.ENDED_WITH_DEVICE, message)


def _staged_row(asset: IncomingAsset) -> dict[str, object]:
    valid_to = asset.valid_to.isoformat() if asset.valid_to is not None else None
    version = asset.version
    if valid_to is None and version is not None and version.registered_to is not None:
        # No record of the source is current any more: it left the register without a day of ending of its own.
        valid_to = version.registered_to[:10]
    row: dict[str, object] = {
        "source_id": asset.source_id,
        "name": asset.name,
        "longitude": asset.longitude,
        "latitude": asset.latitude,
        "source_crs": asset.source_crs,
        "source_x": asset.source_x,
        "source_y": asset.source_y,
        "valid_from": None if asset.valid_from is None else asset.valid_from.isoformat(),
        "valid_to": valid_to,
        "properties": _JSON.encode(asset.properties),
    }
    row["digest"] = _digest(row.values())
    row["row"] = asset.row
    if version is None:
        return row | {"registered_from": None, "registered_to": None, "published": None, "version_digest": None}
    moments = (version.registered_from, version.registered_to, version.published)
    record = (*moments, row["source_crs"], row["source_x"], row["source_y"], row["properties"])
    return row | {
        "registered_from": version.registered_from,
        "registered_to": version.registered_to,
        "published": version.published,
        "version_digest": _digest(record),
    }


def _digest(values: Iterable[object]) -> bytes:
    return hashlib.blake2b(_JSON.encode(list(values)).encode(), digest_size=16).digest()
