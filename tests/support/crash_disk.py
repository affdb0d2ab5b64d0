"""A disk that loses power: SQLite on a file system that writes down what it is asked, and images of what may be left.

`CrashDisk` registers a VFS (by apsw) under which the product's own statements run. It logs every write, truncate, sync
and delete, counts syncs, and can fail the k-th operation. `images` replays a prefix of the log: what was synced is
there, and of everything after the last sync of a file each write is kept, lost, or torn at 512 bytes.
"""

import contextlib
import random
import sqlite3
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import apsw

SECTOR_BYTES = 512


@dataclass(frozen=True, slots=True)
class Event:
    """One operation on one file (by name)."""

    kind: str  # create, write, truncate, sync, delete
    name: str
    offset: int = 0
    data: bytes = b""


class CrashDisk:
    """Use as a context; `connect` fits the outbox. `fail_at` counts writes, truncates and syncs from 1."""

    def __init__(self, name: str = "crash-disk") -> None:
        self.name = name
        self.events: list[Event] = []
        self.operations = 0
        self.fail_at: frozenset[int] = frozenset()
        self.failed = 0

    def __enter__(self) -> Self:
        self._vfs = _Vfs(self)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._vfs.unregister()

    def connect(self, path: Path) -> "ApswConnection":
        return ApswConnection(path, self.name)

    def syncs(self) -> int:
        return sum(1 for event in self.events if event.kind == "sync")

    def log(self, event: Event) -> None:
        if event.kind in {"write", "truncate", "sync"}:
            self.operations += 1
            if self.operations in self.fail_at:
                self.failed += 1
                # A failed fsync tells nothing about what is on the disk; a failed write may have left a part.
                raise apsw.IOError(f"the disk fails operation {self.operations}, a {event.kind}")
        self.events.append(event)


class _Vfs(apsw.VFS):
    def __init__(self, disk: CrashDisk) -> None:
        self._disk = disk
        super().__init__(disk.name, "")

    def xOpen(self, name: apsw.URIFilename | str | None, flags: list[int]) -> "_File":  # noqa: N802 - SQLite's names
        return _File(self._disk, name, flags)

    def xDelete(self, filename: str, syncdir: bool) -> None:  # noqa: FBT001, N802 - SQLite's names
        super().xDelete(filename, syncdir)
        self._disk.log(Event("delete", Path(filename).name))


class _File(apsw.VFSFile):
    def __init__(self, disk: CrashDisk, name: apsw.URIFilename | str | None, flags: list[int]) -> None:
        self._disk = disk
        self._path = Path(name.filename() if isinstance(name, apsw.URIFilename) else name or "")
        is_new = not self._path.exists() or not self._path.stat().st_size
        super().__init__("", name, flags)
        if is_new:
            disk.log(Event("create", self._path.name))

    def xWrite(self, data: bytes, offset: int) -> None:  # noqa: N802 - SQLite's names
        self._disk.log(Event("write", self._path.name, offset, bytes(data)))
        super().xWrite(data, offset)

    def xTruncate(self, newsize: int) -> None:  # noqa: N802 - SQLite's names
        self._disk.log(Event("truncate", self._path.name, newsize))
        super().xTruncate(newsize)

    def xSync(self, flags: int) -> None:  # noqa: ARG002, N802 - SQLite's names; the machine keeps its power
        self._disk.log(Event("sync", self._path.name))


class ApswConnection:
    """apsw with the part of the standard library's behaviour that the outbox uses, its exceptions included."""

    def __init__(self, path: Path, vfs: str) -> None:
        with _translated():
            self._connection = apsw.Connection(str(path), vfs=vfs)

    def execute(self, sql: str, parameters: Sequence[Any] = (), /) -> "ApswCursor":
        with _translated():
            return ApswCursor(self._connection.cursor().execute(sql, tuple(parameters)))

    def close(self) -> None:
        with _translated():
            self._connection.close()


class ApswCursor:
    def __init__(self, cursor: apsw.Cursor) -> None:
        self._cursor = cursor

    def fetchone(self) -> Any:  # noqa: ANN401 - a row is whatever was selected
        with _translated():
            return self._cursor.fetchone()

    def fetchall(self) -> list[Any]:
        with _translated():
            return list(self._cursor.fetchall())

    def __iter__(self) -> Iterator[Any]:
        with _translated():
            yield from self._cursor


@contextlib.contextmanager
def _translated() -> Iterator[None]:
    try:
        yield
    except apsw.ConnectionClosedError as error:
        raise sqlite3.ProgrammingError(str(error)) from error
    except apsw.Error as error:
        kind = sqlite3.DatabaseError if isinstance(error, (apsw.CorruptError, apsw.NotADBError)) else None
        translated = (kind or sqlite3.OperationalError)(str(error))
        translated.sqlite_errorcode = getattr(error, "extendedresult", 0)
        raise translated from error


@dataclass(slots=True)
class _Left:
    """A file as it may be found after the cut."""

    synced: bytes | None = None  # None: not there
    pending: list[Event] = field(default_factory=list)


def image(events: Sequence[Event], fate: str, seed: int = 0) -> dict[str, bytes]:
    """What the disk holds when the power goes after these events: fate is `kept`, `lost` or `torn`."""
    chance = random.Random(seed)  # noqa: S311 - repeatable
    files: dict[str, _Left] = {}
    for event in events:
        one = files.setdefault(event.name, _Left())
        match event.kind:
            case "sync":
                content = bytearray(one.synced or b"")
                for earlier in one.pending:
                    _apply(content, earlier, None)
                one.synced, one.pending = bytes(content), []
            case "delete":
                files[event.name] = _Left()
            case _:
                one.pending.append(event)
    left: dict[str, bytes] = {}
    for name, one in files.items():
        content = bytearray(one.synced or b"")
        exists = one.synced is not None
        for event in one.pending:
            if fate == "kept" or (fate == "torn" and chance.random() < 0.7):
                exists = True
                _apply(content, event, chance if fate == "torn" else None)
        if exists:
            left[name] = bytes(content)
    return left


def _apply(content: bytearray, event: Event, chance: random.Random | None) -> None:
    if event.kind == "truncate":
        del content[event.offset :]
    elif event.kind == "write":
        end = event.offset + len(event.data)
        if len(content) < end:
            content.extend(bytes(end - len(content)))
        first = event.offset // SECTOR_BYTES
        for sector in range(first, (end - 1) // SECTOR_BYTES + 1):
            if chance is not None and chance.random() < 0.3:
                continue
            start, stop = max(event.offset, sector * SECTOR_BYTES), min(end, (sector + 1) * SECTOR_BYTES)
            content[start:stop] = event.data[start - event.offset : stop - event.offset]
