"""The file under the outbox: one SQLite database with a write-ahead log, one owner, and disk claimed before it is used.

`synchronous=FULL`: a commit has been through fsync when it returns. The write-ahead log is written back when it has a
few hundred pages, so that a commit costs one fsync and a checkpoint's three are rare. Disk is claimed with
posix_fallocate before a commit needs it: a full disk is found out while everything can still be refused in order. What
is claimed becomes free pages of the database, because a checkpoint cuts off whatever lies behind its last page.

Will not: know what is in the tables, or try again after an error. Whoever gets an OutboxBrokenError opens anew.
"""

import contextlib
import fcntl
import os
import sqlite3
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import Any, Final, Protocol

from lichtmast.edge.outbox import limits
from lichtmast.edge.outbox.errors import OutboxBrokenError, OutboxDamagedError, OutboxInUseError
from lichtmast.edge.outbox.log_check import log_is_damaged

_DAMAGE: Final = {sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB, sqlite3.SQLITE_ERROR}
"""Our statements are right: where SQLite says that they are not (SQLITE_ERROR), the schema is not ours any more."""
_VERSIONS_AT: Final = 18
_VERSION_MAX: Final = 2
"""Where a database file says who may write and who may read it ("Database File Format", section 1.3.3)."""
_FRAME_BYTES: Final = limits.PAGE_BYTES + 24
"""A page in the write-ahead log, with its header."""
_OVERFLOW_BYTES: Final = limits.PAGE_BYTES - 4
"""What a page of a large value holds beside the number of the next one ("Database File Format", section 1.6)."""


class Cursor(Protocol):
    """What is used of a cursor."""

    def fetchone(self) -> Any:  # noqa: ANN401 - a row is whatever was selected
        """The next row, or None."""

    def fetchall(self) -> list[Any]:
        """All rows that are left."""

    def __iter__(self) -> Iterator[Any]: ...


class Connection(Protocol):
    """What is used of a connection: the standard library's, or one on a file system that loses power on command."""

    def execute(self, sql: str, parameters: Sequence[Any] = ..., /) -> Cursor:
        """Run one statement."""

    def close(self) -> None:
        """Let go of the file."""


Connect = Callable[[Path], Connection]


def connect_sqlite(path: Path) -> Connection:
    """A connection whose transactions are ours; used in the thread that opened it."""
    connection = sqlite3.connect(path, isolation_level=None, timeout=1.0)
    # A damaged text is found by its checksum, not by an exception in the middle of a query.
    connection.text_factory = partial(str, encoding="utf-8", errors="replace")
    return connection


def log_bytes_of(bytes_max: int) -> int:
    """How many of the bytes are the write-ahead log's."""
    return max(2 * limits.LOG_FRAMES_MIN * _FRAME_BYTES, min(limits.LOG_BYTES_MAX, bytes_max // limits.LOG_SHARE))


def log_path(path: Path) -> Path:
    """Where SQLite keeps the write-ahead log of a file."""
    return path.with_name(path.name + "-wal")


def sync_folder(folder: Path) -> None:
    """Make names in the folder durable."""
    handle = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


class Lock:
    """The right to write beside a name, until closed or dead: an advisory lock that the kernel takes back by itself."""

    def __init__(self, path: Path) -> None:
        try:
            self._handle = os.open(path.with_name(path.name + ".lock"), os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        except OSError as error:
            raise OutboxBrokenError(f"{path} cannot be locked ({error.strerror}); mend disk or rights") from error
        try:
            fcntl.flock(self._handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            os.close(self._handle)
            raise OutboxInUseError(f"{path} is in use; give each agent a state folder of its own") from error

    def close(self) -> None:
        """Give the right back; once more does nothing."""
        handle, self._handle = self._handle, -1
        if handle >= 0:
            os.close(handle)


@contextlib.contextmanager
def broken_by(path: Path) -> Iterator[None]:
    """Errors of SQLite and of the system, as ours."""
    try:
        yield
    except sqlite3.Error as error:
        code = getattr(error, "sqlite_errorcode", 0)
        if code & 0xFF in _DAMAGE:
            raise OutboxDamagedError(f"{path} is damaged ({error})") from error
        raise OutboxBrokenError(f"{path} failed ({error}); it is opened anew") from error
    except UnicodeDecodeError as error:  # by the standard library, of a message that quotes damaged names
        raise OutboxDamagedError(f"{path} is damaged: it holds names that are no text") from error
    except OSError as error:
        raise OutboxBrokenError(f"{path} failed ({error.strerror}); it is opened anew") from error


class Storage:
    """An open file, checked as a whole. Raises OutboxBrokenError, of which OutboxDamagedError is a kind."""

    def __init__(self, path: Path, *, bytes_max: int, connect: Connect) -> None:
        self.path = path
        log_bytes = log_bytes_of(bytes_max)
        self._log_bytes = log_bytes
        self._frames = log_bytes // 2 // _FRAME_BYTES
        self._claimed_bytes = 0
        self.pages_max = max(limits.PAGES_MIN, (bytes_max - log_bytes) // limits.PAGE_BYTES)
        with broken_by(path):
            if log_is_damaged(log_path(path)):
                raise OutboxDamagedError(f"{log_path(path)} is damaged: commits behind the damage are lost")
            is_new = not path.exists()
            # Held until the end: closing any descriptor of a file gives up SQLite's own locks on it.
            self._handle = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
            try:
                self.connection = connect(path)
                try:
                    self._prepare()
                    if is_new:
                        sync_folder(path.parent)
                    self._check()
                    # What a power cut tore stays behind the commits that follow, and the next one would look like
                    # damage beside it: begin a new log.
                    self.checkpoint()
                    with contextlib.suppress(OSError):  # Without it a full disk is only met later.
                        _claim_file(log_path(path), log_bytes)
                    self._keep_room()
                except BaseException:
                    self.connection.close()
                    raise
            except BaseException:
                os.close(self._handle)
                raise

    def _prepare(self) -> None:
        execute = self.connection.execute
        for pragma in (
            f"page_size={limits.PAGE_BYTES}",
            # One owner: no shared-memory file, no locks to take at each commit.
            "locking_mode=EXCLUSIVE",
            "journal_mode=WAL",
            "synchronous=FULL",
            f"wal_autocheckpoint={self._frames}",
            f"journal_size_limit={self._log_bytes}",
            # Debian builds SQLite to overwrite what is deleted; that is for secrets, and wears out a card.
            "secure_delete=OFF",
            "temp_store=MEMORY",
            "cache_size=-1000",
        ):
            execute(f"PRAGMA {pragma}").fetchall()
        execute("SELECT 1 FROM sqlite_schema LIMIT 1").fetchall()  # opens the log

    def _check(self) -> None:
        # Not left to SQLite, which would call such a file read-only, as it does one on a disk that is.
        if any(one > _VERSION_MAX for one in os.pread(self._handle, 2, _VERSIONS_AT)):
            raise OutboxDamagedError(f"{self.path} is damaged (its header asks for a newer SQLite)")
        told = self.connection.execute("PRAGMA integrity_check(1)").fetchone()
        if told != ("ok",):
            raise OutboxDamagedError(f"{self.path} is damaged ({str(told[0])[:200]})")

    @contextlib.contextmanager
    def transaction(self) -> Iterator[None]:
        """All of it or nothing; durable on return. After an error nothing is certain until the file is opened anew."""
        with broken_by(self.path):
            self.connection.execute("BEGIN IMMEDIATE")
            try:
                yield
                self.connection.execute("COMMIT")
            except BaseException:
                with contextlib.suppress(sqlite3.Error):
                    self.connection.execute("ROLLBACK")
                raise
            # A checkpoint of its own cuts off the disk that was claimed; a full one would not give it again later.
            if os.fstat(self._handle).st_size < self._claimed_bytes:
                with contextlib.suppress(OSError):
                    os.posix_fallocate(self._handle, 0, self._claimed_bytes)
            # SQLite keeps quiet about an automatic checkpoint that fails; the log would grow without end.
            log = log_path(self.path)
            if log.exists() and log.stat().st_size > 2 * self._log_bytes:
                self.checkpoint()
            self._keep_room()

    def checkpoint(self) -> None:
        """Write the whole log back into the file, durably."""
        with broken_by(self.path):
            busy, *_ = self.connection.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()
        if busy:
            raise OutboxBrokenError(f"{self.path}: its log cannot be written back; it is opened anew")

    def free_pages(self, needed: int) -> int:
        """How many pages can still be used, disk for them claimed; looks no further than what is `needed`."""
        count, free = self._pages()
        if free < needed and count < self.pages_max:
            self._claim(min(self.pages_max, count + needed))
        # Pages that the file had in an earlier, larger life may be used, up to what it may use today.
        claimed = min(self.pages_max, os.fstat(self._handle).st_size // limits.PAGE_BYTES)
        return min(self.pages_max - (count - free), free + max(0, claimed - count))

    def _keep_room(self) -> None:
        """Keep free pages in the database for the next pack: what else is claimed, the next checkpoint may cut off.

        On a disk that has filled up meanwhile it would be gone for good, and with a small file every pack after it.
        SQLite has no call for this; a table that comes and goes within a transaction leaves its pages free. They all go
        through the log, so there are no more of them than the half of it that every commit finds empty.
        """
        count, free = self._pages()
        wanted = min(limits.GROWTH_PAGES, self._frames - limits.ROOM_FRAMES) - free
        log = log_path(self.path)
        if free >= limits.ROOM_PAGES or not log.exists() or log.stat().st_size < self._log_bytes:
            return
        self._claim(min(self.pages_max, count + wanted))
        new = min(wanted, os.fstat(self._handle).st_size // limits.PAGE_BYTES - count)
        if new < limits.ROOM_FRAMES:
            return
        execute = self.connection.execute
        execute("BEGIN IMMEDIATE")
        execute("CREATE TABLE room (bytes BLOB)")
        execute("INSERT INTO room VALUES (zeroblob(?))", ((free + new - 1) * _OVERFLOW_BYTES,))  # one is the table's
        execute("DROP TABLE room")
        execute("COMMIT")

    def _pages(self) -> tuple[int, int]:
        """How many pages the database has, and how many of them are free."""
        execute = self.connection.execute
        return tuple(int(execute(f"PRAGMA {name}").fetchone()[0]) for name in ("page_count", "freelist_count"))  # type: ignore[return-value]

    def _claim(self, pages: int) -> None:
        """Make the file so long, with disk under all of it, and no longer.

        SQLite takes a database for damaged whose file is much shorter than its log says, as it is after a power cut
        that took back a length to which nothing was written.
        """
        if os.fstat(self._handle).st_size < pages * limits.PAGE_BYTES:
            with contextlib.suppress(OSError):  # The disk is full for this much; the policy decides what goes.
                os.posix_fallocate(self._handle, 0, pages * limits.PAGE_BYTES)
        # What fails may have claimed a part.
        self._claimed_bytes = os.fstat(self._handle).st_size // limits.PAGE_BYTES * limits.PAGE_BYTES

    def file_bytes(self) -> int:
        """What the files take of the disk."""
        return sum(one.stat().st_size for one in (self.path, log_path(self.path)) if one.exists())

    def close(self) -> None:
        """Write the log back and let go. Raises OutboxBrokenError; the file is let go all the same."""
        try:
            with broken_by(self.path):
                self.connection.close()
        finally:
            os.close(self._handle)


def _claim_file(path: Path, size: int) -> None:
    handle = os.open(path, os.O_RDWR | os.O_CLOEXEC)
    try:
        os.posix_fallocate(handle, 0, size)
    finally:
        os.close(handle)
