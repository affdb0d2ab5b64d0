"""Which packs of each device and epoch have arrived: ledger rows folded into closed ranges of numbers.

SQL and arithmetic only; the caller owns the transaction. `arrived` holds the ranges that were folded before, up to a
mark. Numbers that a device declared as dropped count as progress, but they are never folded into `arrived`.
"""

from bisect import bisect_left
from collections.abc import Iterable, Iterator, Sequence
from itertools import islice

from lichtmast.store.port import Outcome

_DOUBLES_SQL = """
SELECT count(*) FROM (
    SELECT 1 FROM {ledger}
    WHERE epoch IS NOT NULL AND seq IS NOT NULL
    GROUP BY device, epoch, seq
    HAVING count(*) FILTER (WHERE outcome IN ({stored}, {quarantined})) > 1
        OR count(*) FILTER (WHERE outcome IN ({stored}, {replayed})) > 1
)
"""

# Most devices send without gaps: those become one piece each, and only the others are sorted number by number. A number
# that came twice is a piece twice: the one that begins an island must be the first in both windows, and has the lower
# reach. Else the island before takes it in, and all that is missing in between.
_SPANS_SQL = """
WITH fresh AS (
    SELECT device, epoch, seq FROM ({newer}) WHERE epoch IS NOT NULL AND seq IS NOT NULL
), whole AS (
    SELECT device, epoch, min(seq) AS first, max(seq) AS last, count(DISTINCT seq) AS numbers FROM fresh GROUP BY ALL
), pieces AS (
    SELECT device, epoch, first, last FROM arrived{declared}
    UNION ALL
    SELECT device, epoch, first, last FROM whole WHERE last - first = numbers - 1
    UNION ALL
    SELECT device, epoch, seq, seq FROM fresh SEMI JOIN
        (FROM whole WHERE last - first <> numbers - 1) USING (device, epoch)
), reached AS (
    SELECT device, epoch, first, last, max(last) OVER before AS reach FROM pieces
    WINDOW before AS (
        PARTITION BY device, epoch ORDER BY first, last ROWS BETWEEN UNBOUNDED PRECEDING AND 1 PRECEDING
    )
), numbered AS (
    SELECT device, epoch, first, last, sum(CASE WHEN reach IS NULL OR first > reach + 1 THEN 1 ELSE 0 END) OVER (
        PARTITION BY device, epoch ORDER BY first, last, reach NULLS FIRST ROWS UNBOUNDED PRECEDING
    ) AS island FROM reached
)
SELECT device, epoch, min(first) AS first, max(last) AS last FROM numbered GROUP BY device, epoch, island
"""

_PROGRESS_SQL = """
SELECT device, epoch, coalesce(max(last) FILTER (first <= 1), 0) AS upto,
    coalesce(flatten(list([first, last] ORDER BY first) FILTER (first > 1)), []) AS ranges
FROM ({spans}) GROUP BY device, epoch ORDER BY device, epoch
"""


def spans_sql(newer: str, drops: str | None = None) -> str:
    """SQL for ranges of arrived numbers: what was folded before, the ledger rows of the SQL `newer`, and `drops`."""
    declared = "" if drops is None else f" UNION ALL SELECT device, epoch, first, last FROM {drops}"  # noqa: S608 - names of ours
    return _SPANS_SQL.format(newer=newer, declared=declared)


def progress_sql(newer: str, drops: str | None) -> str:
    """SQL for the port's progress columns."""
    return _PROGRESS_SQL.format(spans=spans_sql(newer, drops))


def without(declared: Iterable[tuple[int, int]], arrived: Sequence[tuple[int, int]]) -> Iterator[tuple[int, int]]:
    """The numbers of the ranges `declared` that are in no range of `arrived`, as ranges; `arrived` ascends, apart."""
    lasts = [last for _, last in arrived]
    for first, last in _merged(declared):
        start = first
        for came_first, came_last in islice(arrived, bisect_left(lasts, first), None):
            if came_first > last:
                break
            if came_first > start:
                yield start, came_first - 1
            start = came_last + 1
        if start <= last:
            yield start, last


def _merged(ranges: Iterable[tuple[int, int]]) -> list[tuple[int, int]]:
    merged: list[tuple[int, int]] = []
    for first, last in sorted(ranges):
        if merged and first <= merged[-1][1] + 1:
            merged[-1] = (merged[-1][0], max(merged[-1][1], last))
        else:
            merged.append((first, last))
    return merged


def doubles_sql(ledger: str) -> str:
    """SQL for how many pack keys arrived more than once as stored or quarantined, or were stored more than once."""
    named = {"stored": Outcome.STORED, "quarantined": Outcome.QUARANTINED, "replayed": Outcome.REPLAYED}
    return _DOUBLES_SQL.format(ledger=ledger, **{name: int(outcome) for name, outcome in named.items()})
