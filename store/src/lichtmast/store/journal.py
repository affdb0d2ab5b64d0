"""The journal: each commit is one checksummed record, on disk before the commit returns.

DuckDB takes journalled commits over in bulk, off the commit path (engine.py). A segment is removed once all of its
records are in the database; until then it is the only durable copy of them. Nothing here knows days or tables.
"""

import os
import struct
import zlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Self

import pyarrow as pa

from lichtmast.store.errors import StoreDamagedError, StoreError, StoreFullError
from lichtmast.store.folder import make_durable
from lichtmast.store.pending import SCHEMAS, Commit
from lichtmast.store.port import Batch

_MAGIC: Final = b"LMJ3"
"""Names the layout below and the port's columns; a change of either needs another one."""
_HEADS: Final = {
    # Magic, crc of all that follows it, number, offset, length of the log's name, length of each table.
    b"LMJ1": struct.Struct("<4sIQqIQQQ"),  # written before devices declared what they dropped; still read
    b"LMJ2": struct.Struct("<4sIQqIQQQQ"),  # written before entries of the quarantine were closed; still read
    _MAGIC: struct.Struct("<4sIQqIQQQQQ"),
}
_MAGIC_STEM: Final = b"LMJ"
_CHECKED_FROM: Final = 8
_SUFFIX: Final = ".journal"
_PADDING: Final = 8  # Arrow wants its buffers aligned


@dataclass(frozen=True, slots=True)
class Prepared:
    """An empty segment that is on disk and open for writing."""

    path: Path
    descriptor: int

    def discard(self) -> None:
        """Remove it unused."""
        os.close(self.descriptor)
        self.path.unlink(missing_ok=True)


class Journal:
    """The segments of one store; one thread at a time. `read` first: `begin` removes what it finds."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._closed: list[Path] = []
        self._number = 0
        self._present = self.prepare()
        self._bytes = 0
        self._broken = False

    @classmethod
    def begin(cls, folder: Path) -> Self:
        """Start an empty journal. What older segments hold must be in the database."""
        for path in _segments(folder):
            path.unlink()
        return cls(folder)

    def append(self, commit: Commit) -> int:
        """Make a commit durable; returns its bytes. Raises StoreError; then it will not be found again."""
        if self._broken:
            raise StoreError(f"{self._present.path} cannot be trusted after a failed write: restart Lichtmast")
        parts = _encode(commit)
        size = sum(len(part) for part in parts)
        try:
            written = os.writev(self._present.descriptor, parts)
            if written < size:  # a disk that is almost full, or a signal: the second try tells which
                rest = b"".join(parts)[written:]
                while rest:
                    rest = rest[os.write(self._present.descriptor, rest) :]
            self._sync()
        except OSError as error:
            self._forget()
            raise StoreFullError(
                f"{self._present.path} took nothing of a commit: free disk space, then retry"
            ) from error
        self._bytes += size
        return size

    def prepare(self) -> Prepared:
        """Make the next segment's file, durably. Slow enough to happen outside the commit lock; then `turn` to it."""
        self._number += 1
        path = self._folder / f"{self._number:012d}{_SUFFIX}"
        try:
            descriptor = os.open(path, os.O_CREAT | os.O_EXCL | os.O_WRONLY | os.O_CLOEXEC, 0o600)
            make_durable(self._folder)
        except OSError as error:
            raise StoreFullError(f"{path} cannot be made: free disk space, then retry") from error
        return Prepared(path, descriptor)

    def turn(self, prepared: Prepared) -> None:
        """Write on in a prepared segment. Those before it may be removed once they are in the database."""
        os.close(self._present.descriptor)
        self._closed.append(self._present.path)
        self._present = prepared
        self._bytes = 0

    def turned(self) -> list[Path]:
        """The segments before the present one."""
        return list(self._closed)

    def remove(self, paths: Sequence[Path]) -> None:
        """Remove segments whose records are in the database."""
        for path in paths:
            path.unlink(missing_ok=True)
        self._closed = [path for path in self._closed if path not in paths]

    def close(self) -> None:
        """Release the file."""
        os.close(self._present.descriptor)

    def _sync(self) -> None:
        try:
            os.fdatasync(self._present.descriptor)
        except OSError:
            # The kernel may drop the pages and report no second error: nothing after this can be believed.
            self._broken = True
            raise

    def _forget(self) -> None:
        """Take back a record that is partly there, so that no later opening finds it."""
        try:
            os.ftruncate(self._present.descriptor, self._bytes)
            os.lseek(self._present.descriptor, self._bytes, os.SEEK_SET)
            os.fdatasync(self._present.descriptor)
        except OSError:
            self._broken = True


def read(folder: Path) -> Iterator[Commit]:
    """The commits of all segments, in order. A torn last record never was a commit; damage before it is an error."""
    torn: Path | None = None
    for path in _segments(folder):
        data = path.read_bytes()
        at = 0
        while at < len(data):
            end = _end(data, at)
            if end is None:
                if _holds_record(data, at + 1):
                    raise _damaged(path, at)
                torn = path
                break
            if torn is not None:
                raise _damaged(torn, torn.stat().st_size)
            yield _decode(data, at)
            at = end


def _segments(folder: Path) -> list[Path]:
    return sorted(path for path in folder.iterdir() if path.suffix == _SUFFIX)


def _encode(commit: Commit) -> list[bytes | memoryview]:
    batch = commit.batch
    log = batch.log.encode()
    log += b"\0" * (-len(log) % _PADDING)
    tables = [_serialized(commit.table(name)) for name in SCHEMAS]
    lengths = (len(log), *(len(one) for one in tables))
    head = bytearray(_HEADS[_MAGIC].pack(_MAGIC, 0, commit.number, batch.offset, *lengths))
    head += b"\0" * (-len(head) % _PADDING)
    parts: list[bytes | memoryview] = [log, *tables]
    checksum = zlib.crc32(memoryview(head)[_CHECKED_FROM:])
    for part in parts:
        checksum = zlib.crc32(part, checksum)
    struct.pack_into("<I", head, len(_MAGIC), checksum)
    return [bytes(head), *parts]


def _serialized(table: pa.Table) -> memoryview:
    if not table.num_rows:
        return memoryview(b"")
    (batch,) = table.combine_chunks().to_batches()
    return memoryview(batch.serialize())


def _end(data: bytes, at: int) -> int | None:
    """Where the record that starts here ends; None where there is no whole and true one."""
    head = _HEADS.get(data[at : at + 4])
    if head is None or len(data) - at < head.size:
        return None
    _, checksum, _, _, *lengths = head.unpack_from(data, at)
    end: int = at + _padded(head.size) + sum(lengths)
    if end > len(data) or zlib.crc32(memoryview(data)[at + _CHECKED_FROM : end]) != checksum:
        return None
    return end


def _decode(data: bytes, at: int) -> Commit:
    head = _HEADS[data[at : at + 4]]
    _, _, number, offset, log_bytes, *lengths = head.unpack_from(data, at)
    at += _padded(head.size)
    log = data[at : at + log_bytes].rstrip(b"\0").decode()
    at += log_bytes
    tables = []
    lengths += [0] * (len(SCHEMAS) - len(lengths))
    for length, schema in zip(lengths, SCHEMAS.values(), strict=True):
        part = pa.py_buffer(memoryview(data)[at : at + length])
        rows = [pa.ipc.read_record_batch(part, schema)] if length else []
        tables.append(pa.Table.from_batches(rows, schema))
        at += length
    observations, ledger, quarantine, drops, released = tables
    return Commit(number, Batch(observations, ledger, quarantine, log, offset, drops, released))


def _padded(size: int) -> int:
    return size + -size % _PADDING


def _holds_record(data: bytes, at: int) -> bool:
    while (at := data.find(_MAGIC_STEM, at)) >= 0:
        if _end(data, at) is not None:
            return True
        at += 1
    return False


def _damaged(path: Path, at: int) -> StoreDamagedError:
    return StoreDamagedError(f"{path} is damaged at byte {at} and holds commits after it: restore it from a backup")
