"""What the audit asks: whether every pack is accounted for and the store holds what the ledger says."""

import pyarrow as pa

from lichtmast.store.days import KINDS, LEDGER
from lichtmast.store.port import DROPPED_SCHEMA, LEDGER_SCHEMA, Outcome
from lichtmast.store.progress import doubles_sql, spans_sql, without
from lichtmast.store.reading import newer_rows
from lichtmast.store.settings import HOUR_US
from lichtmast.store.view import TIME_MAX, TIME_MIN, View, number

_SHARES = 16
"""Doubles are looked for in one share of the devices after the other: all keys at once do not fit in memory."""

COUNTS_SCHEMA = pa.schema(
    [
        ("device", pa.string()),
        ("hour_us", pa.int64()),
        ("outcome", pa.int8()),
        ("transport", pa.int8()),
        ("packs", pa.int64()),
        ("readings", pa.int64()),
    ]
)


def ledger_counts(view: View, start_us: int, end_us: int) -> pa.Table:
    """Packs and readings per device, hour of reception, outcome and transport."""
    rows = view.rows(LEDGER, start_us, end_us)
    hour = f"received_at - ((received_at % {HOUR_US}) + {HOUR_US}) % {HOUR_US}"
    return (
        view.connection.sql(
            f"SELECT device, {hour} AS hour_us, outcome, transport, count(*) AS packs, sum(readings) AS readings"  # noqa: S608 - names and numbers of ours
            f" FROM {rows} GROUP BY ALL ORDER BY ALL"
        )
        .to_arrow_table()
        .cast(COUNTS_SCHEMA)
    )


def ledger_range(view: View, device: str, epoch: int) -> pa.Table:
    """Every arrival of one device and epoch."""
    rows = view.rows(LEDGER, TIME_MIN, TIME_MAX)
    return (
        view.connection.sql(
            f"FROM {rows} WHERE device = $device AND epoch = $epoch ORDER BY seq, log_seq, part",
            params={"device": device, "epoch": epoch},
        )
        .to_arrow_table()
        .cast(LEDGER_SCHEMA)
    )


def dropped(view: View) -> pa.Table:
    """Declared numbers of which no pack arrived: asked of those devices only that ever declared any."""
    drops = view.drops()
    if drops is None:
        return DROPPED_SCHEMA.empty_table()
    arrived = spans_sql(newer_rows(view, LEDGER, "device, epoch, seq"))
    ranges: dict[bool, dict[tuple[str, int], list[tuple[int, int]]]] = {True: {}, False: {}}
    for came, sql in (
        (False, f"SELECT DISTINCT device, epoch, first, last FROM {drops}"),  # noqa: S608 - names of ours
        (True, f"SELECT device, epoch, first, last FROM ({arrived}) SEMI JOIN {drops} USING (device, epoch)"),  # noqa: S608 - names of ours
    ):
        for device, epoch, first, last in view.connection.execute(f"{sql} ORDER BY ALL").fetchall():
            ranges[came].setdefault((device, epoch), []).append((first, last))
    rows = [
        (*key, *one) for key, declared in ranges[False].items() for one in without(declared, ranges[True].get(key, ()))
    ]
    return pa.table([list(column) for column in zip(*rows, strict=True)] or [[]] * 4, schema=DROPPED_SCHEMA)


def counts(view: View, *, one_log: bool) -> dict[str, int]:
    """The sums that must agree: observations_total + erased_total = readings_by_ledger, the other two 0.

    positions_unaccounted can only be counted where all of the ledger is from `one_log`.
    """
    found = sizes(view)
    ledger = view.rows(LEDGER, TIME_MIN, TIME_MAX)
    outcomes = f"{int(Outcome.STORED)}, {int(Outcome.REPLAYED)}"
    stored = f"SELECT sum(readings) FROM {ledger} WHERE outcome IN ({outcomes})"  # noqa: S608 - built from ints
    return {
        "observations_total": found["observations_hot"] + found["observations_sealed"],
        "readings_by_ledger": number(view.connection, stored),
        "erased_total": number(view.connection, "SELECT sum(rows) FROM erased"),
        "double_packs": sum(
            number(view.connection, doubles_sql(f"(FROM {ledger} WHERE hash(device) % {_SHARES} = {share})"))
            for share in range(_SHARES)
        ),
        "positions_unaccounted": _unaccounted(view, ledger) if one_log else 0,
    }


def _unaccounted(view: View, ledger: str) -> int:
    """Log positions within the ledger's span that it has no line of; each message has one part 0."""
    span = f"SELECT max(log_seq) - min(log_seq) + 1 - count(*) FILTER (WHERE part = 0) FROM {ledger}"  # noqa: S608 - names of ours
    return number(view.connection, span)


def sizes(view: View) -> dict[str, int]:
    """Rows, bytes and files, by kind."""
    found: dict[str, int] = {}
    for kind in KINDS:
        days = view.days(kind)
        hot = view.hot_rows(kind, TIME_MIN, TIME_MAX, "TRUE", days, "1 AS one")
        found[f"{kind.name}_hot"] = number(view.connection, f"SELECT count(*) FROM ({hot})")  # noqa: S608 - names of ours
        found[f"{kind.name}_sealed"] = sum(one.rows for one in days)
        found[f"{kind.name}_sealed_bytes"] = sum(one.bytes for one in days)
        found[f"{kind.name}_files"] = sum(1 for one in days if one.generation)
    found["quarantined"] = number(view.connection, f"SELECT count(*) FROM {view.quarantined()}")  # noqa: S608 - names of ours
    return found
