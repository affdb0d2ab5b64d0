"""The folder of a store: who has it open, which files belong to it, and writes that survive a power cut.

A file gets its final name only after its bytes are on disk, and it never changes afterwards.
"""

import fcntl
import os
import re
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path
from typing import IO, Final, Self

from lichtmast.store.days import KINDS, Day, Kind, file_name
from lichtmast.store.errors import StoreDamagedError, StoreLockedError

_OURS: Final = re.compile(r"\.?(\d{4}-\d\d-\d\d|day-?\d+)\.\d+\.parquet(\.part)?", re.ASCII)


class StoreFolder:
    """An open folder, locked for this object until `release`."""

    def __init__(self, root: Path, lock: IO[str]) -> None:
        self.root = root
        self._lock = lock

    @classmethod
    def claim(cls, root: Path) -> Self:
        """Create the folder where it is missing and lock it. Raises StoreLockedError where it is in use."""
        for kind in KINDS:
            (root / kind.name).mkdir(parents=True, exist_ok=True)
        for name in ("journal", "spill"):
            (root / name).mkdir(exist_ok=True)
        lock = (root / "lock").open("a+", encoding="ascii")
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            lock.seek(0)
            holder = lock.read(20).strip() or "unknown"
            lock.close()
            raise StoreLockedError(
                f"{root} is open in a running Lichtmast (process {holder}): stop it, or use another data folder"
            ) from error
        lock.seek(0)
        lock.truncate()
        lock.write(f"{os.getpid()}\n")
        lock.flush()
        return cls(root, lock)

    def release(self) -> None:
        """Give the folder back."""
        self._lock.close()

    @property
    def database(self) -> Path:
        """The DuckDB file."""
        return self.root / "hot.duckdb"

    @property
    def journal(self) -> Path:
        """Where commits are until the database has them."""
        return self.root / "journal"

    def journal_bytes(self) -> int:
        """How much lies in the journal."""
        sizes = 0
        for path in self.journal.iterdir():
            with suppress(FileNotFoundError):  # absorbed in the meantime
                sizes += path.stat().st_size
        return sizes

    def wal_bytes(self) -> int:
        """How much lies in the database's own write-ahead log."""
        try:
            return (self.root / "hot.duckdb.wal").stat().st_size
        except FileNotFoundError:
            return 0

    def sealed(self, kind: Kind, day: int, generation: int) -> Path:
        """The path of a day's sealed file."""
        return self.root / kind.name / file_name(day, generation)

    def part(self, kind: Kind, day: int, generation: int) -> Path:
        """Where that file is written before it gets its name."""
        return self.root / kind.name / f".{file_name(day, generation)}.part"

    def check(self, days: Iterable[Day]) -> None:
        """Refuse a folder in which a sealed file is missing or has another size than the catalogue says."""
        kinds = {kind.name: kind for kind in KINDS}
        for one in days:
            if not one.generation:
                continue
            path = self.sealed(kinds[one.kind], one.day, one.generation)
            found = path.stat().st_size if path.exists() else None
            if found != one.bytes:
                state = "is missing" if found is None else f"has {found} bytes"
                raise StoreDamagedError(
                    f"{path} {state}, the catalogue says {one.bytes} bytes: restore it from a backup"
                )

    def sweep(self, days: Iterable[Day]) -> int:
        """Remove files of ours that the catalogue does not name: left by a crash. Others' files are left alone."""
        kinds = {kind.name: kind for kind in KINDS}
        named = {self.sealed(kinds[one.kind], one.day, one.generation) for one in days if one.generation}
        swept = 0
        for kind in KINDS:
            for path in (self.root / kind.name).iterdir():
                if path not in named and _OURS.fullmatch(path.name):
                    path.unlink()
                    swept += 1
        return swept


def make_durable(path: Path) -> None:
    """Force a file's bytes to disk."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def give_name(part: Path, path: Path) -> None:
    """Give a durable file its name, durably: rename, then fsync of the folder."""
    part.rename(path)
    make_durable(path.parent)
