"""The database file: engine, durability settings, migrations and the revision counter.

Knows nothing of what the tables mean. SQLite runs in WAL with synchronous=FULL: with NORMAL a power cut loses committed
changes. Every write begins with BEGIN IMMEDIATE, so that two processes queue instead of failing halfway.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from sqlite3 import SQLITE_BUSY, SQLITE_LOCKED, OperationalError
from sqlite3 import Connection as SqliteConnection
from typing import Final

from sqlalchemy import URL, Connection, Engine, ExceptionContext, create_engine, event, inspect, select, text, update
from sqlalchemy.exc import DatabaseError

from lichtmast.registry import schema
from lichtmast.registry.errors import RegistryBusyError, RegistryUnavailableError
from lichtmast.registry.limits import BUSY_TIMEOUT_MS

HEAD: Final = "0007"
"""The newest migration. A register that has it is opened without loading the migrations."""

_WRITES: Final = "lichtmast_writes"
_MODE: Final = 0o600
"""There are names of people and hashes of passwords in it."""


def open_engine(path: Path) -> Engine:
    """An engine on the file, migrated to HEAD. Raises RegistryUnavailableError."""
    engine = create_engine(URL.create("sqlite", database=str(path)), hide_parameters=True)
    event.listen(engine, "connect", _configure)
    event.listen(engine, "begin", _begin)
    event.listen(engine, "handle_error", _told_busy)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        _keep_private(path)
        _migrate(engine)
    except (DatabaseError, OSError) as error:
        engine.dispose()
        raise RegistryUnavailableError(
            f"cannot open the register {path}: it is no register, damaged, locked, or the folder is not writable"
        ) from error
    except RegistryUnavailableError:
        engine.dispose()
        raise
    return engine


def _keep_private(path: Path) -> None:
    """For its owner alone, also where it was made before; SQLite gives the files beside it the same mode."""
    if not path.exists():
        path.touch(mode=_MODE)
    elif path.stat().st_mode & ~_MODE & 0o777:
        path.chmod(_MODE)


@contextmanager
def writing(engine: Engine) -> Iterator[Connection]:
    """One write transaction: committed at the end, rolled back by any exception."""
    with engine.connect() as connection, writing_on(connection):
        yield connection


@contextmanager
def writing_on(connection: Connection) -> Iterator[None]:
    """The same on a connection that has temporary tables to write from."""
    connection.execution_options(**{_WRITES: True})
    with connection.begin():
        yield


def bump(connection: Connection) -> None:
    """Tell readers that something changed. Belongs in the transaction of the change."""
    connection.execute(update(schema.revision).values(value=schema.revision.c.value + 1))


def revision_of(connection: Connection) -> int:
    """The number of changes so far."""
    return int(connection.execute(select(schema.revision.c.value)).scalar_one())


def _configure(connection: SqliteConnection, _record: object) -> None:
    # SQLAlchemy's own BEGIN (see _begin) replaces the driver's implicit one, which would not cover reads and DDL.
    connection.isolation_level = None
    for pragma in (
        f"busy_timeout = {BUSY_TIMEOUT_MS}",
        "journal_mode = WAL",
        "synchronous = FULL",
        "foreign_keys = ON",
        "secure_delete = ON",  # what is erased, such as where an engineer stood, is overwritten
        "temp_store = FILE",  # staged import rows go to disk, not to memory
    ):
        connection.execute(f"PRAGMA {pragma}")


def _begin(connection: Connection) -> None:
    writes = connection.get_execution_options().get(_WRITES, False)
    connection.exec_driver_sql("BEGIN IMMEDIATE" if writes else "BEGIN")


def _told_busy(context: ExceptionContext) -> None:
    """Whatever finds the database locked raises the register's own error, not the driver's."""
    error = context.original_exception
    if isinstance(error, OperationalError) and error.sqlite_errorcode & 0xFF in {SQLITE_BUSY, SQLITE_LOCKED}:
        raise RegistryBusyError("another process is writing to the register; try again in a minute") from error


def _migrate(engine: Engine) -> None:
    with engine.connect() as connection:
        if inspect(connection).has_table("alembic_version"):
            current = connection.execute(text("SELECT version_num FROM alembic_version")).scalar_one_or_none()
            if current == HEAD:
                return
    # Loaded only where there is something to migrate: Alembic takes longer than all the rest of opening.
    from lichtmast.registry.migrating import upgrade  # noqa: PLC0415 - see above

    with writing(engine) as connection:
        upgrade(connection, HEAD)
