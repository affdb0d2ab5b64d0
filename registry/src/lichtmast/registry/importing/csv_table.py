"""Lampposts from a CSV file of a lighting management system.

Delimiter, encoding and columns are found from the file and told in the report; decimal commas and points are both read.
The header is required: without names a column's meaning would be a guess.
"""

import csv
import io
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from lichtmast.registry.importing.fields import SYNONYMS, build_asset, clean, meanings
from lichtmast.registry.importing.report import Problem, Reason, error, example, warning
from lichtmast.registry.importing.source import CRS84, RD_NEW, IncomingAsset, Progress
from lichtmast.registry.importing.text_encoding import inspect_file, open_source
from lichtmast.registry.limits import IMPORT_COLUMNS_MAX, IMPORT_FIELD_CHARACTERS_MAX

_DELIMITERS: Final = {";": "semicolon", ",": "comma", "\t": "tab"}
_PROGRESS_EVERY_ROWS: Final = 1_000
_LINE_CHARACTERS_MAX: Final = IMPORT_COLUMNS_MAX * 200


class CsvSource:
    """A CSV file with a header line and one lamppost a line."""

    kind = "csv"

    def __init__(self, path: Path) -> None:
        self.path = path
        self.detected: dict[str, str] = {}
        self.sha256 = ""

    def read(self, progress: Progress) -> Iterator[IncomingAsset | Problem]:
        """Line after line. Raises SourceUnreadableError."""
        inspection = inspect_file(self.path)
        self.sha256 = inspection.sha256
        if inspection.problem is not None:
            yield inspection.problem
        if inspection.encoding is None:
            return
        with open_source(self.path) as file:
            text = io.TextIOWrapper(file, encoding=inspection.encoding, errors="strict", newline="")
            header = text.readline(_LINE_CHARACTERS_MAX)
            delimiter, names = _header(header)
            known = meanings(names)
            self.detected = {
                "format": "CSV",
                "encoding": inspection.encoding.removesuffix("-sig"),
                "delimiter": _DELIMITERS[delimiter],
                "columns": ", ".join(f"{name} = {meaning}" for name, meaning in known.items()),
            }
            layout = _layout(names, known)
            if isinstance(layout, Problem):
                yield layout
                return
            self.detected["crs"] = layout[0]
            rows = _Rows(text, delimiter, len(names))
            for count, row in enumerate(rows):
                if count % _PROGRESS_EVERY_ROWS == 0:
                    progress(file.tell(), inspection.size_bytes)
                if isinstance(row, Problem):
                    yield row
                else:
                    yield from _asset(row[0], row[1], names, known, layout)
            progress(inspection.size_bytes, inspection.size_bytes)
            if not rows.any_row:
                yield warning(None, Reason.NO_LAMPPOSTS, "there is no line below the header; is this the right file?")


def _header(line: str) -> tuple[str, list[str]]:
    """The delimiter under which most columns are known (then: most columns), and the names."""
    splits = {}
    for delimiter in _DELIMITERS:
        try:
            splits[delimiter] = [clean(name) for name in next(csv.reader([line], delimiter=delimiter, strict=True), [])]
        except csv.Error:
            splits[delimiter] = []
    best = max(splits, key=lambda delimiter: (len(meanings(splits[delimiter])), len(splits[delimiter])))
    return best, splits[best]


Layout = tuple[str, str, str]
"""The crs, and the names of the columns of x and y."""


def _layout(names: list[str], known: dict[str, str]) -> Layout | Problem:
    if not names or len(names) > IMPORT_COLUMNS_MAX:
        message = f"the header cannot be read as 1 to {IMPORT_COLUMNS_MAX} names separated by ; , or tab"
        return error(1, Reason.MISSING_COLUMN, message)
    doubles = sorted({name for name in names if name and names.count(name) > 1})
    if doubles:
        return error(1, Reason.DOUBLE_COLUMN, f"the header names {example(doubles[0])} twice; rename one")
    by_meaning = {meaning: name for name, meaning in known.items()}
    for crs, x, y in ((RD_NEW, "x", "y"), (CRS84, "longitude", "latitude")):
        if x in by_meaning and y in by_meaning:
            layout = crs, by_meaning[x], by_meaning[y]
            break
    else:
        return error(
            1,
            Reason.MISSING_COLUMN,
            f"the header {example(', '.join(names))} has no place; name two columns x and y (RD New) "
            "or longitude and latitude",
        )
    if "id" not in by_meaning and not {"street", "number"} <= by_meaning.keys():
        wanted = "; ".join(f"{meaning}: {', '.join(SYNONYMS[meaning])}" for meaning in ("id", "street", "number"))
        message = f"the header has neither an id nor both street and number; name a column one of: {wanted}"
        return error(1, Reason.MISSING_COLUMN, message)
    return layout


class _Rows:
    """The lines below the header, each with its line number; a mistake in quoting ends them."""

    def __init__(self, text: io.TextIOWrapper, delimiter: str, columns: int) -> None:
        self.any_row = False
        self._reader = csv.reader(text, delimiter=delimiter, strict=True)
        self._columns = columns

    def __iter__(self) -> Iterator[tuple[int, list[str]] | Problem]:
        while True:
            line = self._reader.line_num + 2  # The header is line 1.
            try:
                cells = next(self._reader)
            except StopIteration:
                return
            except csv.Error as cause:
                yield self._misquoted(line, cause)
                return
            except UnicodeError:
                message = f"line {line} or below is written in another encoding than the rest; save the file as UTF-8"
                yield error(line, Reason.UNDECODABLE, message)
                return
            if not any(cell.strip() for cell in cells):
                continue
            self.any_row = True
            if len(cells) != self._columns:
                message = (
                    f"line {line} has {len(cells)} columns, the header {self._columns}; "
                    "put quotes round a value that holds the delimiter, or complete the line"
                )
                yield error(line, Reason.WRONG_COLUMN_COUNT, message)
            elif any(len(cell) > IMPORT_FIELD_CHARACTERS_MAX for cell in cells):
                message = f"line {line}: a value is longer than {IMPORT_FIELD_CHARACTERS_MAX} characters"
                yield error(line, Reason.TOO_LARGE, message)
            else:
                yield line, cells

    def _misquoted(self, line: int, cause: csv.Error) -> Problem:
        if "field larger" in str(cause) or "unexpected end" in str(cause):
            message = (
                f"line {line}: a quote is opened and never closed, or the file is cut off; double or remove the quote"
            )
        else:
            message = f"line {line}: text follows a closing quote; double the quotes inside a value"
        return error(line, Reason.UNBALANCED_QUOTE, message)


def _asset(
    row: int, cells: list[str], names: list[str], known: dict[str, str], layout: Layout
) -> Iterator[IncomingAsset | Problem]:
    crs, x_name, y_name = layout
    texts = {name: clean(cell) for name, cell in zip(names, cells, strict=True)}
    fields = {meaning: texts[name] for name, meaning in known.items() if name not in (x_name, y_name)}
    rest = {name: text for name, text in texts.items() if name not in known and text and name}
    asset, problems = build_asset(row, crs, (texts[x_name], texts[y_name]), fields, rest)
    yield from problems
    if asset is not None:
        yield asset
