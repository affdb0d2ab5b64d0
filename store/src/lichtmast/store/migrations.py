"""Bring a store's schema up to date with the numbered .sql files of `migrations/`, each in one transaction.

Never goes back: a database of a newer version is refused.
"""

from importlib.resources import files

import duckdb

from lichtmast.store.errors import StoreDamagedError


def migrate(connection: duckdb.DuckDBPyConnection) -> int:
    """Apply what is missing; returns the version that the database then has."""
    connection.execute("CREATE TABLE IF NOT EXISTS schema_version (version INTEGER NOT NULL)")
    row = connection.execute("SELECT coalesce(max(version), 0) FROM schema_version").fetchone()
    current = int(row[0]) if row else 0
    folder = files(__package__).joinpath("migrations")
    numbered = sorted((one for one in folder.iterdir() if one.name.endswith(".sql")), key=lambda one: one.name)
    if current > len(numbered):
        raise StoreDamagedError(
            f"the store has schema {current}, this Lichtmast knows up to {len(numbered)}: run the newer version"
        )
    for version, entry in enumerate(numbered, start=1):
        if version <= current:
            continue
        connection.begin()
        connection.execute(entry.read_text(encoding="utf-8"))
        connection.execute("INSERT INTO schema_version VALUES (?)", [version])
        connection.commit()
    return len(numbered)
