"""Observations as files for other tools: Parquet with UTC timestamps, or CSV with ISO 8601 times.

CSV cells with text are made safe for spreadsheets: a cell that a spreadsheet would take for a formula gets an
apostrophe in front (reference: OWASP, CSV injection). Parquet keeps every byte.
"""

import os
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Final

from lichtmast.store.days import OBSERVATIONS, id_filter, quoted
from lichtmast.store.errors import StoreError
from lichtmast.store.folder import give_name, make_durable
from lichtmast.store.view import View

_FORMULA: Final = r"^[ \t\n\r\f\v\x00]*[=+\-@\t\r]"
"""How a cell starts that a spreadsheet would run: = + - @, tab or carriage return, also behind blanks."""

_CSV_COLUMNS: Final = f"""
datastream_id,
strftime(make_timestamp(phenomenon_time), '%Y-%m-%dT%H:%M:%S.%fZ') AS phenomenon_time,
result,
CASE WHEN regexp_matches(result_text, '{_FORMULA}') THEN '''' || result_text ELSE result_text
END AS result_text,
quality,
strftime(make_timestamp(result_time), '%Y-%m-%dT%H:%M:%S.%fZ') AS result_time
"""


def spreadsheet_safe(text: str) -> str:
    """The text as a cell that no spreadsheet runs as a formula."""
    return f"'{text}" if re.match(_FORMULA, text) else text


def export(view: View, path: Path, form: str, start_us: int, end_us: int, datastream_ids: Sequence[int] | None) -> int:
    """Write a file that appears whole or not at all; ordered by datastream and time. Returns the rows."""
    rows = view.rows(OBSERVATIONS, start_us, end_us, id_filter("datastream_id", datastream_ids))
    if form == "parquet":
        columns, options = OBSERVATIONS.readable_columns(), "FORMAT parquet, COMPRESSION zstd"
    elif form == "csv":
        columns, options = _CSV_COLUMNS, "FORMAT csv, HEADER true, NULL ''"
    else:
        raise StoreError(f"cannot export as {form!r}: choose parquet or csv")
    part = path.with_name(f".{path.name}.{os.getpid()}.part")
    try:
        row = view.connection.execute(
            f"COPY (SELECT {columns} FROM (FROM {rows} ORDER BY datastream_id, phenomenon_time, result_time))"  # noqa: S608 - names and numbers of ours
            f" TO {quoted(str(part))} ({options})"
        ).fetchone()
        make_durable(part)
        give_name(part, path)
    finally:
        part.unlink(missing_ok=True)
    return int(row[0]) if row else 0
