"""The file: durable settings, one schema from two roads, and no half-open registers."""

import re
import sqlite3
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from pathlib import Path

import pytest
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from sqlalchemy import create_engine

from lichtmast.registry import Registry, RegistryBusyError, RegistryUnavailableError, database
from lichtmast.registry.database import HEAD, open_engine
from lichtmast.registry.migrating import script_head
from lichtmast.registry.schema import metadata


def _ddl(path: Path) -> dict[str, str]:
    with sqlite3.connect(path) as connection:
        rows = connection.execute("SELECT name, sql FROM sqlite_master WHERE sql IS NOT NULL").fetchall()
    connection.close()
    tables = {}
    for name, sql in rows:
        body = re.sub(r"\s+", " ", sql).replace("( ", "(").replace(" )", ")").replace('"', "")
        head, _, inner = body.partition("(")
        tables[name] = head + "(" + ", ".join(sorted(inner.split(", ")))
    tables.pop("alembic_version", None)
    return tables


@pytest.mark.slow
def test_migrations_lead_to_exactly_the_schema_of_the_code(tmp_path: Path) -> None:
    engine = open_engine(tmp_path / "migrated.sqlite")
    with engine.connect() as connection:
        assert compare_metadata(MigrationContext.configure(connection), metadata) == []
    engine.dispose()
    direct = create_engine(f"sqlite:///{tmp_path}/direct.sqlite")
    metadata.create_all(direct)
    direct.dispose()
    migrated = {name: sorted(re.split(r"[ ,()]+", sql)) for name, sql in _ddl(tmp_path / "migrated.sqlite").items()}
    created = {name: sorted(re.split(r"[ ,()]+", sql)) for name, sql in _ddl(tmp_path / "direct.sqlite").items()}
    assert created == migrated


def test_head_is_the_newest_migration_in_the_package() -> None:
    assert script_head() == HEAD


def test_a_register_that_another_process_writes_to_is_told_as_busy(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(database, "BUSY_TIMEOUT_MS", 20)
    path = tmp_path / "register.sqlite"
    with Registry.open(path) as registry, closing(sqlite3.connect(path, isolation_level=None)) as other:
        other.execute("BEGIN IMMEDIATE")
        with pytest.raises(RegistryBusyError, match="another process is writing"):
            registry.ensure_tenant("gm0402", "Hilversum")
        other.execute("ROLLBACK")
        registry.ensure_tenant("gm0402", "Hilversum")


def test_commits_survive_power_loss_by_full_synchronisation(tmp_path: Path) -> None:
    engine = open_engine(tmp_path / "register.sqlite")
    with engine.connect() as connection:
        pragmas = {
            name: connection.exec_driver_sql(f"PRAGMA {name}").scalar_one()
            for name in ("journal_mode", "synchronous", "foreign_keys", "busy_timeout", "secure_delete")
        }
    engine.dispose()
    assert pragmas == {
        "journal_mode": "wal",
        "synchronous": 2,
        "foreign_keys": 1,
        "busy_timeout": 10_000,
        "secure_delete": 1,
    }


@pytest.mark.slow
def test_register_of_a_newer_version_is_refused_with_the_next_step(tmp_path: Path) -> None:
    path = tmp_path / "register.sqlite"
    Registry.open(path).close()
    connection = sqlite3.connect(path)
    connection.execute("UPDATE alembic_version SET version_num = '9999'")
    connection.commit()
    connection.close()
    with pytest.raises(RegistryUnavailableError, match="newer version"):
        Registry.open(path)


@pytest.mark.parametrize("content", [b"PK\x03\x04 not a database", b"x" * 5000])
def test_file_that_is_no_register_is_refused_and_left_alone(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "register.sqlite"
    path.write_bytes(content)
    with pytest.raises(RegistryUnavailableError, match="no register"):
        Registry.open(path)
    assert path.read_bytes() == content


def test_database_of_another_program_is_refused_and_left_alone(tmp_path: Path) -> None:
    path = tmp_path / "other.sqlite"
    connection = sqlite3.connect(path)
    connection.execute("CREATE TABLE asset (theirs TEXT)")
    connection.commit()
    connection.close()
    with pytest.raises(RegistryUnavailableError):
        Registry.open(path)
    connection = sqlite3.connect(path)
    assert connection.execute("SELECT name FROM sqlite_master").fetchall() == [("asset",)]
    connection.close()


def test_folder_that_cannot_be_made_is_an_answer_not_a_traceback(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(RegistryUnavailableError, match="folder is not writable"):
        Registry.open(tmp_path / "file" / "register.sqlite")


@pytest.mark.slow
def test_opening_twice_at_the_same_moment_makes_one_register(tmp_path: Path) -> None:
    path = tmp_path / "register.sqlite"
    with ThreadPoolExecutor(4) as pool:
        registers = list(pool.map(lambda _: Registry.open(path), range(4)))
    for register in registers:
        assert register.counts().sensors == len({sensor.profile for sensor in register.sensors()})
        register.close()


@pytest.mark.slow
def test_opening_again_changes_nothing(tmp_path: Path) -> None:
    with Registry.open(tmp_path / "register.sqlite") as first:
        before = first.revision()
    with Registry.open(tmp_path / "register.sqlite") as second:
        assert second.revision() == before


@pytest.mark.slow
def test_other_process_notices_a_change_by_the_revision(tmp_path: Path) -> None:
    path = tmp_path / "register.sqlite"
    with Registry.open(path) as ours:
        before = ours.revision()
        code = (
            "import sys; from pathlib import Path; from lichtmast.registry import Registry\n"
            "with Registry.open(Path(sys.argv[1])) as theirs: theirs.ensure_tenant('gm0344')"
        )
        subprocess.run([sys.executable, "-c", code, str(path)], check=True, timeout=60)
        assert ours.revision() == before + 1
        assert [tenant.code for tenant in ours.tenants()] == ["gm0344"]


@pytest.mark.slow
def test_two_writers_at_once_queue_and_both_succeed(tmp_path: Path) -> None:
    path = tmp_path / "register.sqlite"
    with Registry.open(path) as one, Registry.open(path) as two, ThreadPoolExecutor(4) as pool:
        before = one.revision()
        jobs = [
            pool.submit(register.ensure_tenant, f"gm{number:04d}") for number in range(20) for register in (one, two)
        ]
        for job in jobs:
            job.result()
        assert one.counts().tenants == 20
        assert two.revision() == before + 20


@pytest.mark.parametrize("code", ["gm402", "GM0402", "gm0402 ", "gm0402\n", "", "gm\u0660\u0664\u0660\u0662"])
def test_tenant_that_is_no_municipality_code_is_refused(registry: Registry, code: str) -> None:
    with pytest.raises(ValueError, match="four digits"):
        registry.ensure_tenant(code)


def test_tenant_is_added_once_and_may_be_renamed(registry: Registry) -> None:
    before = registry.revision()
    assert registry.ensure_tenant("gm0402").name == "Hilversum"
    assert registry.revision() == before
    assert registry.ensure_tenant("gm0402", "Gemeente Hilversum").name == "Gemeente Hilversum"
    assert registry.revision() == before + 1


def test_the_register_is_for_its_owner_alone_also_where_it_was_made_before(tmp_path: Path) -> None:
    path = tmp_path / "register.sqlite"

    def modes() -> set[int]:
        return {one.stat().st_mode & 0o777 for one in tmp_path.iterdir()}

    with Registry.open(path):
        assert modes() == {0o600}
    path.chmod(0o644)
    with Registry.open(path):
        assert modes() == {0o600}
