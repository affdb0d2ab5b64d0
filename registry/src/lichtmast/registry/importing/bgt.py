"""Lampposts from the base map: BGT `Paal` objects in a CityGML (IMGeo) delivery.

The register keeps several records of one lokaalID: its versions. Only poles of plus-type lichtmast become assets. Reads
the stream with expat itself and refuses any DTD, so that no entity exists: neither bombs nor files from elsewhere.
"""

import re
from collections.abc import Iterator
from datetime import date
from pathlib import Path
from typing import Final
from xml.parsers import expat  # the document type is refused below, which leaves no entity to attack with

from lichtmast.registry.importing.coordinates import locate
from lichtmast.registry.importing.report import Problem, Reason, error, example, warning
from lichtmast.registry.importing.source import KIND_LICHTMAST, RD_NEW, IncomingAsset, Progress, SourceVersion
from lichtmast.registry.importing.text_encoding import inspect_file, open_source
from lichtmast.registry.limits import (
    IMPORT_CHUNK_BYTES,
    IMPORT_FIELD_CHARACTERS_MAX,
    IMPORT_XML_DEPTH_MAX,
    IMPORT_XML_RECORD_ELEMENTS_MAX,
)

_IMGEO: Final = "http://www.geostandaarden.nl/imgeo/"
_RECORD: Final = "Paal"
_ID: Final = re.compile(r"[A-Z][0-9]{4}\.[0-9A-Za-z]{1,64}", re.ASCII)
_MOMENT: Final = re.compile(r"\d{4}-\d{2}-\d{2}T\d{2}:\d{2}:\d{2}(\.\d{1,9})?(Z|[+-]\d{2}:\d{2})?", re.ASCII)
_RD_NAMES: Final = ("EPSG::28992", "EPSG:28992", "EPSG/0/28992")
_PROPERTIES: Final = {
    "bronhouder": "bronhouder",
    "bgt-status": "bgtStatus",
    "plus-status": "plusStatus",
    "relatieveHoogteligging": "relatieveHoogteligging",
    "inOnderzoek": "inOnderzoek",
}
_CUT_OFF: Final = frozenset(
    (
        expat.errors.codes[expat.errors.XML_ERROR_NO_ELEMENTS],
        expat.errors.codes[expat.errors.XML_ERROR_UNCLOSED_TOKEN],
        expat.errors.codes[expat.errors.XML_ERROR_PARTIAL_CHAR],
        expat.errors.codes[expat.errors.XML_ERROR_UNCLOSED_CDATA_SECTION],
    )
)


class _StopReadingError(Exception):
    """Raised inside expat's handlers to end the parse with one problem."""

    def __init__(self, problem: Problem) -> None:
        super().__init__(problem.message)
        self.problem = problem


class BgtSource:
    """A GML file of the BGT; `municipality` is the tenant's code, to notice a delivery of another one."""

    kind = "bgt"

    def __init__(self, path: Path, municipality: str | None = None) -> None:
        self.path = path
        self.detected: dict[str, str] = {}
        self.sha256 = ""
        self._holder = None if municipality is None else f"G{municipality.removeprefix('gm')}"

    def read(self, progress: Progress) -> Iterator[IncomingAsset | Problem]:
        """Record after record. Raises SourceUnreadableError."""
        inspection = inspect_file(self.path)
        self.sha256 = inspection.sha256
        if inspection.problem is not None and inspection.problem.reason is not Reason.ENCODING_ASSUMED:
            # Which encoding it is, the XML declaration says; expat refuses bytes that contradict it.
            yield inspection.problem
            return
        self.detected = {"format": "CityGML", "crs": RD_NEW}
        reader = _Reader()
        with open_source(self.path) as file:
            while True:
                chunk = file.read(IMPORT_CHUNK_BYTES)
                problem = reader.feed(chunk, final=not chunk)
                for row, record in reader.take():
                    yield from self._asset(row, record)
                progress(file.tell(), inspection.size_bytes)
                if problem is not None:
                    yield problem
                    return
                if not chunk:
                    break
        if reader.root is None or not reader.root.endswith("CityModel"):
            root = example((reader.root or "").rpartition(" ")[2])
            yield error(None, Reason.WRONG_KIND, f"the file's root is {root}, not CityModel; choose the BGT's CityGML")
        elif reader.row == 0:
            yield warning(None, Reason.NO_LAMPPOSTS, "the file holds no Paal; choose bgt_paal.gml of the delivery")

    def _asset(self, row: int, record: dict[str, str]) -> Iterator[IncomingAsset | Problem]:
        if record.get("plus-type") != KIND_LICHTMAST:
            kind = example(record.get("plus-type", record.get("function", "")))
            yield warning(row, Reason.NOT_A_LAMPPOST, f"a pole of type {kind} is left out")
            return
        local_id = record.get("lokaalID", "")
        if not _ID.fullmatch(local_id):
            message = f"lokaalID {example(local_id)} is not of the form G0402.0123456789abcdef; ask the source holder"
            yield error(row, Reason.MISSING_VALUE, message)
            return
        holder = record.get("bronhouder", "")
        if self._holder is not None and holder.startswith("G") and holder != self._holder:
            message = f"{local_id} is held by {example(holder)}, not by {self._holder}; is this the right municipality?"
            yield warning(row, Reason.OTHER_MUNICIPALITY, message)
        version = SourceVersion(
            record.get("tijdstipRegistratie", ""),
            record.get("eindRegistratie") or None,
            record.get("LV-publicatiedatum", ""),
        )
        for moment in (version.registered_from, version.registered_to or version.registered_from):
            if not _MOMENT.fullmatch(moment):
                message = (
                    f"{local_id}: time of registration {example(moment)} is not of the form 2019-02-27T14:38:35.000"
                )
                yield error(row, Reason.BAD_DATE, message)
                return
        try:
            began = _day(record, "creationDate", "objectBeginTijd")
            ended = _day(record, "terminationDate", "objectEindTijd")
        except ValueError:
            yield error(
                row, Reason.BAD_DATE, f"{local_id}: a date is not of the form 2017-11-16; ask the source holder"
            )
            return
        place = _place(row, local_id, record)
        if isinstance(place, Problem):
            yield place
            return
        longitude, latitude, x, y = place
        properties: dict[str, object] = {"bgtId": local_id}
        properties |= {name: record[tag] for tag, name in _PROPERTIES.items() if tag in record}
        yield IncomingAsset(
            row,
            f"{record.get('namespace', 'NL.IMGeo').lower().replace('.', '-')}:{local_id}",
            f"Lichtmast {local_id.partition('.')[2][:8]}",
            longitude,
            latitude,
            RD_NEW,
            x,
            y,
            began,
            ended,
            properties,
            version,
        )


def _place(row: int, local_id: str, record: dict[str, str]) -> tuple[float, float, str, str] | Problem:
    crs = record.get("srsName", "")
    if not crs.endswith(_RD_NAMES):
        message = f"{local_id}: crs {example(crs)} is not RD New; deliver the file in EPSG:28992"
        return error(row, Reason.UNKNOWN_CRS, message)
    parts = record.get("pos", "").split()
    if len(parts) not in (2, 3):
        message = f"{local_id}: the point is {example(record.get('pos', ''))}, not x and y; ask the source holder"
        return error(row, Reason.NOT_A_POINT, message)
    place = locate(row, RD_NEW, parts[0], parts[1])
    return place if isinstance(place, Problem) else (*place, parts[0], parts[1])


def _day(record: dict[str, str], *tags: str) -> date | None:
    text = next((record[tag] for tag in tags if record.get(tag)), None)
    return None if text is None else date.fromisoformat(text[:10])


class _Reader:
    """Turns chunks of XML into the leaf texts of each Paal, with limits on depth, size and number of elements."""

    def __init__(self) -> None:
        self.root: str | None = None
        self.row = 0
        self._records: list[tuple[int, dict[str, str]]] = []
        self._record: dict[str, str] | None = None
        self._record_depth = 0
        self._elements = 0
        self._depth = 0
        self._text: list[str] = []
        self._text_characters = 0
        self._parser = expat.ParserCreate(namespace_separator=" ")
        self._parser.buffer_text = True
        self._parser.StartDoctypeDeclHandler = self._refuse_doctype
        self._parser.StartElementHandler = self._start
        self._parser.EndElementHandler = self._end
        self._parser.CharacterDataHandler = self._characters

    def feed(self, chunk: bytes, *, final: bool) -> Problem | None:
        """Read on; the answer is the problem that ended the reading."""
        try:
            self._parser.Parse(chunk, final)
        except _StopReadingError as stop:
            return stop.problem
        except (expat.ExpatError, LookupError, ValueError) as cause:
            line = self._parser.ErrorLineNumber
            if isinstance(cause, expat.ExpatError) and cause.code in _CUT_OFF:
                message = f"the file stops in the middle, at line {line} in record {self.row + 1}; copy it again"
                return error(self.row + 1, Reason.TRUNCATED, message)
            message = f"line {line} is no well-formed XML, in or after record {self.row}; export the file again"
            return error(self.row + 1, Reason.MALFORMED, message)
        return None

    def take(self) -> list[tuple[int, dict[str, str]]]:
        """The records that are complete since the last call, with their numbers from 1."""
        records, self._records = self._records, []
        return records

    def _refuse_doctype(self, _name: str, _system: str | None, _public: str | None, _internal: bool) -> None:  # noqa: FBT001 - expat's signature
        message = "the file declares a document type (DTD), which the BGT never does; it is not read any further"
        raise _StopReadingError(error(None, Reason.FORBIDDEN_XML, message))

    def _start(self, name: str, attributes: dict[str, str]) -> None:
        self._depth += 1
        if self.root is None:
            self.root = name
        if self._depth > IMPORT_XML_DEPTH_MAX:
            self._too_large(f"elements are nested deeper than {IMPORT_XML_DEPTH_MAX}")
        self._text.clear()
        self._text_characters = 0
        space, _, local = name.rpartition(" ")
        if self._record is None:
            if local == _RECORD and space.startswith(_IMGEO):
                self._record, self._record_depth, self._elements = {}, self._depth, 0
            return
        self._elements += 1
        if self._elements > IMPORT_XML_RECORD_ELEMENTS_MAX:
            self._too_large(f"one Paal has more than {IMPORT_XML_RECORD_ELEMENTS_MAX} elements")
        if "srsName" in attributes:
            self._record.setdefault("srsName", attributes["srsName"])

    def _end(self, name: str) -> None:
        if self._record is not None:
            if self._depth == self._record_depth:
                self.row += 1
                self._records.append((self.row, self._record))
                self._record = None
            else:
                text = "".join(self._text).strip()
                if text:
                    self._record.setdefault(name.rpartition(" ")[2], text)
        self._text.clear()
        self._depth -= 1

    def _characters(self, text: str) -> None:
        if self._record is None:
            return
        self._text_characters += len(text)
        if self._text_characters > IMPORT_FIELD_CHARACTERS_MAX:
            self._too_large(f"one element holds more than {IMPORT_FIELD_CHARACTERS_MAX} characters")
        self._text.append(text)

    def _too_large(self, what: str) -> None:
        message = f"line {self._parser.CurrentLineNumber}: {what}, which the BGT never has; is this the right file?"
        raise _StopReadingError(error(self.row + 1, Reason.TOO_LARGE, message))
