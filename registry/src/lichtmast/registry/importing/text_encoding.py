"""In which encoding a text file is written: certain where it can be, otherwise said aloud.

UTF-8 is proven by decoding the whole file strictly; UTF-16 only by its byte order mark. Anything else is matched
against a short list of what Dutch systems export, and always reported as an assumption. Will not guess further.
"""

import codecs
import hashlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO, Final

from charset_normalizer import from_bytes

from lichtmast.registry.errors import SourceUnreadableError
from lichtmast.registry.importing.report import Problem, Reason, error, example, warning
from lichtmast.registry.limits import ENCODING_SAMPLE_BYTES, IMPORT_CHUNK_BYTES, IMPORT_FILE_BYTES_MAX

CANDIDATES: Final = ("cp1252", "iso8859_15")
"""Legacy encodings that are considered, the likeliest first."""

_UTF16_MARKS: Final = (codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)
_MAGIC: Final = {
    b"PK\x03\x04": "a ZIP or Excel (xlsx) file",
    b"PK\x05\x06": "an empty ZIP file",
    b"\xd0\xcf\x11\xe0": "an old Excel (xls) file",
    b"\x1f\x8b": "a gzip file",
    b"%PDF": "a PDF",
    b"SQLite format 3": "a GeoPackage or SQLite file",
    b"\x28\xb5\x2f\xfd": "a zstd file",
}


@dataclass(frozen=True, slots=True)
class Inspection:
    """What a file is. `encoding` is None where `problem` is an error; a warning comes beside an encoding."""

    size_bytes: int
    sha256: str
    encoding: str | None
    problem: Problem | None


def open_source(path: Path) -> BinaryIO:
    """Open a file for reading. Raises SourceUnreadableError."""
    try:
        return path.open("rb")
    except OSError as cause:
        raise SourceUnreadableError(
            f"cannot open {path}: it is missing, a folder, or not readable for this user"
        ) from cause


def inspect_file(path: Path) -> Inspection:
    """Read the whole file once, in chunks. Raises SourceUnreadableError."""
    digest = hashlib.sha256()
    scan: _Scan | None = None
    size = 0
    with open_source(path) as file:
        for chunk in _chunks(file):
            scan = scan or _Scan(chunk)
            digest.update(chunk)
            size += len(chunk)
            if size > IMPORT_FILE_BYTES_MAX:
                message = f"the file is larger than {IMPORT_FILE_BYTES_MAX} bytes; split it by neighbourhood"
                return Inspection(size, digest.hexdigest(), None, error(None, Reason.TOO_LARGE, message))
            scan.feed(chunk)
    if scan is None:
        problem = error(None, Reason.EMPTY_FILE, "the file is empty; export it again")
        return Inspection(0, digest.hexdigest(), None, problem)
    encoding, problem_found = scan.verdict()
    return Inspection(size, digest.hexdigest(), encoding, problem_found)


def _chunks(file: BinaryIO) -> Iterator[bytes]:
    while chunk := file.read(IMPORT_CHUNK_BYTES):
        yield chunk


class _Scan:
    """Looks at every byte, keeps only the lines outside ASCII (up to a sample)."""

    def __init__(self, start: bytes) -> None:
        self._kind = next((kind for magic, kind in _MAGIC.items() if start.startswith(magic)), None)
        self._utf16 = start.startswith(_UTF16_MARKS)
        self._decoder = codecs.getincrementaldecoder("utf-8-sig")("strict")
        self._utf8 = not self._utf16
        self._sample = bytearray()
        self._line = 1
        self._nul_line: int | None = None
        self._first_foreign: bytes | None = None

    def feed(self, chunk: bytes) -> None:
        if self._utf16 or self._kind is not None:
            return
        if self._nul_line is None and (at := chunk.find(0)) >= 0:
            self._nul_line = self._line + chunk.count(b"\n", 0, at)
        self._line += chunk.count(b"\n")
        if self._utf8:
            try:
                self._decoder.decode(chunk)
            except UnicodeDecodeError:
                self._utf8 = False
        if len(self._sample) < ENCODING_SAMPLE_BYTES and not chunk.isascii():
            for line in chunk.splitlines():
                if not line.isascii():
                    self._first_foreign = self._first_foreign or line
                    self._sample += line[:ENCODING_SAMPLE_BYTES] + b"\n"

    def verdict(self) -> tuple[str | None, Problem | None]:
        if self._kind is not None:
            message = f"the file is {self._kind}, not text; unpack it, or save the sheet as CSV (UTF-8)"
            return None, error(None, Reason.NOT_TEXT, message)
        if self._utf16:
            return "utf-16", None
        if self._nul_line is not None:
            message = f"line {self._nul_line} holds a NUL byte: the file is damaged or no text; export it again"
            return None, error(self._nul_line, Reason.NUL_BYTE, message)
        if self._utf8:
            try:
                self._decoder.decode(b"", final=True)
            except UnicodeDecodeError:
                message = "the file stops in the middle of a character: it is cut off; copy it again"
                return None, error(self._line, Reason.TRUNCATED, message)
            return "utf-8-sig", None
        return self._legacy()

    def _legacy(self) -> tuple[str | None, Problem | None]:
        sample = bytes(self._sample[:ENCODING_SAMPLE_BYTES])
        best = from_bytes(sample, cp_isolation=list(CANDIDATES)).best()
        if best is None or self._first_foreign is None:
            message = "the text is neither UTF-8 nor Windows-1252 nor ISO 8859-15; save it as UTF-8"
            return None, error(None, Reason.UNDECODABLE, message)
        # Where both read the same letters, the choice is without consequence and the first is named.
        chosen = CANDIDATES[0] if str(best) == sample.decode(CANDIDATES[0], "replace") else best.encoding
        shown = _excerpt(self._first_foreign, chosen)
        others = [one for one in CANDIDATES if one != chosen and sample.decode(one, "replace") != str(best)]
        doubt = f" ({', '.join(others)} would read other letters)" if others else ""
        message = (
            f"the file is not UTF-8; read as {chosen}{doubt}: check that {shown} is right, or save the file as UTF-8"
        )
        return chosen, warning(None, Reason.ENCODING_ASSUMED, message)


def _excerpt(line: bytes, encoding: str) -> str:
    """The first word outside ASCII with its neighbours, as it was read."""
    text = line.decode(encoding, "replace")
    at = next((index for index, character in enumerate(text) if not character.isascii()), 0)
    return example(text[max(0, at - 20) : at + 30].strip())
