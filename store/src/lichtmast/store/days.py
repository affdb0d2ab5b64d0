"""Days: how rows are parted by UTC day, for observations and for the ledger alike.

The rows of a day are in up to three places: its own hot table, the table of late rows, and its sealed Parquet file.
This module knows names and SQL text; it runs nothing.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date
from typing import Final

import pyarrow as pa

from lichtmast.store.port import LEDGER_SCHEMA, OBSERVATION_SCHEMA
from lichtmast.store.settings import DAY_US

_EPOCH_ORDINAL: Final = date(1970, 1, 1).toordinal()


@dataclass(frozen=True, slots=True)
class Kind:
    """A table that is parted by day: its columns, the time that decides the day, and the order inside a sealed file."""

    name: str
    schema: pa.Schema
    time_column: str
    times: frozenset[str]
    order: str

    @property
    def late_table(self) -> str:
        """Where rows go whose day has no table of its own."""
        return f"{self.name}_late"

    def day_table(self, day: int) -> str:
        """The hot table of one day."""
        return f"{self.name}_day_{'m' if day < 0 else ''}{abs(day)}"

    def columns(self) -> str:
        """The columns as they cross the port, for tables."""
        return ", ".join(self.schema.names)

    def sealed_columns(self) -> str:
        """The columns as they cross the port, read from a sealed file."""
        return ", ".join(f"epoch_us({one}) AS {one}" if one in self.times else one for one in self.schema.names)

    def readable_columns(self) -> str:
        """The columns as they are written to a sealed file: times as UTC timestamps, for anyone's tools."""
        return ", ".join(f"make_timestamptz({one}) AS {one}" if one in self.times else one for one in self.schema.names)


OBSERVATIONS: Final = Kind(
    "observations",
    OBSERVATION_SCHEMA,
    "phenomenon_time",
    frozenset({"phenomenon_time", "result_time"}),
    "datastream_id, phenomenon_time, commit_no",
)
LEDGER: Final = Kind(
    "ledger", LEDGER_SCHEMA, "received_at", frozenset({"received_at"}), "device, epoch, seq, commit_no, log_seq, part"
)
KINDS: Final = (OBSERVATIONS, LEDGER)


@dataclass(frozen=True, slots=True)
class Day:
    """One line of the catalogue: where the rows of a day are."""

    kind: str
    day: int
    hot: bool
    generation: int
    rows: int
    bytes: int


@dataclass(frozen=True, slots=True)
class Catalogue:
    """All days, as of one moment, and which days of observations have rows in the table of late ones."""

    days: tuple[Day, ...] = ()
    late_days: frozenset[int] = frozenset()

    def only_sealed(self, start_us: int, end_us: int) -> list[Day] | None:
        """The days of observations that touch this period; None where a table of the database may hold rows of it."""
        first, last = day_of(start_us), day_of(end_us - 1)
        found = [one for one in self.days if one.kind == OBSERVATIONS.name and first <= one.day <= last]
        if any(one.hot for one in found) or any(first <= one <= last for one in self.late_days):
            return None
        return found


def day_of(time_us: int) -> int:
    """The UTC day that holds this moment, counted from 1970-01-01."""
    return time_us // DAY_US


def day_name(day: int) -> str:
    """The day as in file names, 2026-11-20; a number where the calendar of the library ends."""
    ordinal = _EPOCH_ORDINAL + day
    if 1 <= ordinal <= date.max.toordinal():
        return date.fromordinal(ordinal).isoformat()
    return f"day{day}"


def file_name(day: int, generation: int) -> str:
    """The sealed file of a day. Each rewrite gets a new number, so a file never changes once it has its name."""
    return f"{day_name(day)}.{generation}.parquet"


def quoted(text: str) -> str:
    """A text as an SQL literal."""
    return "'" + text.replace("'", "''") + "'"


def id_filter(column: str, ids: Sequence[int] | None) -> str:
    """The SQL condition that a column is one of these ids; TRUE where all are wanted."""
    if ids is None:
        return "TRUE"
    wanted = sorted({int(one) for one in ids})
    if not wanted:
        return "FALSE"
    if len(wanted) == 1:
        return f"{column} = {wanted[0]}"
    return f"{column} IN ({', '.join(map(str, wanted))})"
