"""The register's schema over time: Alembic scripts, run by `Registry.open` itself."""

__all__: list[str] = []
