"""Whether SQLite's write-ahead log has lost commits: the one damage that SQLite itself takes for a normal end.

After a power cut the last transaction may stand half in the log. SQLite reads up to the first frame whose checksum is
wrong and forgets the rest, which is right for that. But the same rule forgets every commit behind a flipped bit, and
with them numbers that were given out. A transaction is only begun when the one before it is on the disk: so whole
commits behind a broken frame, more than the one that may be torn, are damage.

Will not: tell a flipped bit in the very last commit from a torn one, or miss what a log that was cut off clean had.
The format is section 4 of SQLite's "Database File Format".
"""

import struct
from pathlib import Path
from typing import Final

_HEADER: Final = struct.Struct(">8I")  # magic, version, page size, checkpoint, salt, salt, checksum, checksum
_FRAME: Final = struct.Struct(">6I")  # page, pages after commit or 0, salt, salt, checksum, checksum
_MAGIC: Final = {0x377F0682: "<2I", 0x377F0683: ">2I"}
_MASK: Final = 0xFFFFFFFF
_TORN_COMMITS_MAX: Final = 1


def log_is_damaged(log: Path) -> bool:
    """Whether commits that were on the disk cannot be read any more. A log that is absent or empty is sound."""
    try:
        raw = log.read_bytes()
    except FileNotFoundError:
        return False
    if not any(raw[: _HEADER.size]):
        return False  # claimed, and never written
    if len(raw) < _HEADER.size:
        return True
    magic, _, page_bytes, _, *salts, first, second = _HEADER.unpack_from(raw)
    words = _MAGIC.get(magic)
    # The header is within one sector, and a sector is written whole or not at all.
    if words is None or _summed(raw[:24], words, (0, 0)) != (first, second):
        return True
    return _commits_behind_damage(raw, words, page_bytes, tuple(salts), (first, second)) > _TORN_COMMITS_MAX


def _commits_behind_damage(
    raw: bytes, words: str, page_bytes: int, salts: tuple[int, ...], running: tuple[int, int]
) -> int:
    """Commit frames of this generation (its salts) that follow the first frame which is not as it was written."""
    intact = True
    behind = 0
    frame_bytes = _FRAME.size + page_bytes
    for at in range(_HEADER.size, len(raw) - frame_bytes + 1, frame_bytes):
        _, commit_pages, *frame_salts, first, second = _FRAME.unpack_from(raw, at)
        same_generation = tuple(frame_salts) == salts
        if intact:
            running = _summed(raw[at : at + 8], words, running)
            running = _summed(raw[at + _FRAME.size : at + frame_bytes], words, running)
            intact = same_generation and running == (first, second)
        if not intact and same_generation and commit_pages:
            behind += 1
    return behind


def _summed(raw: bytes, words: str, running: tuple[int, int]) -> tuple[int, int]:
    """SQLite's checksum, carried on."""
    first, second = running
    for one, other in struct.iter_unpack(words, raw):
        first = (first + one + second) & _MASK
        second = (second + other + first) & _MASK
    return first, second
