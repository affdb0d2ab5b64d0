"""Questions about the quarantine: which packs lie there, grouped or one by one, and what became of those that do not.

Only open entries are in the quarantine: an order closes an entry and its bytes go (docs/adr/0035), trimming lets go of
it at its term. SQL in, Arrow out; nothing is written.
"""

from typing import Any

import pyarrow as pa

from lichtmast.store.errors import StoreError
from lichtmast.store.port import ENTRY_SCHEMA, GROUPS_SCHEMA, QUARANTINE_SCHEMA, RELEASED_SCHEMA, Selection
from lichtmast.store.view import View

_ORDER = ("received_at", "log_seq", "part")
_COLUMNS = ", ".join(QUARANTINE_SCHEMA.names)
_LAST = "row(received_at, log_seq, part)"


def newest(view: View, limit: int, device: str | None, reason: str | None) -> pa.Table:
    """Refused packs, newest first."""
    where, values = _where(Selection(reason=reason, device=device))
    order = ", ".join(f"{name} DESC" for name in _ORDER)
    return _read(view, f"{where} ORDER BY {order} LIMIT {_limited(limit)}", values)


def page(view: View, selection: Selection, after: tuple[int, int, int] | None, limit: int) -> pa.Table:
    """Refused packs, oldest first, behind a (received_at, log_seq, part)."""
    where, values = _where(selection)
    if after is not None:
        where += f" AND {_LAST} > row($after_at, $after_seq, $after_part)"
        values |= dict(zip(("after_at", "after_seq", "after_part"), after, strict=True))
    return _read(view, f"{where} ORDER BY {', '.join(_ORDER)} LIMIT {_limited(limit)}", values)


def groups(view: View, selection: Selection, limit: int) -> pa.Table:
    """GROUPS_SCHEMA: by reason and device, the largest groups first."""
    where, values = _where(selection)
    sql = (
        f"SELECT reason, device, count(*) AS packs, min(received_at) AS first_at, max(received_at) AS last_at,"  # noqa: S608 - names of ours
        f" arg_max(detail, {_LAST}) AS detail FROM {view.quarantined()} WHERE {where}"
        f" GROUP BY reason, device ORDER BY packs DESC, reason, device LIMIT {_limited(limit)}"
    )
    return view.connection.sql(sql, params=values).to_arrow_table().cast(GROUPS_SCHEMA)


def open_entries(view: View, entries: pa.Table) -> pa.Table:
    """ENTRY_SCHEMA: those of `entries` that are there, of the same device, and with the same payload where given."""
    if not entries.num_rows:
        return ENTRY_SCHEMA.empty_table()
    same = " AND ".join(f"held.{name} = entries.{name}" for name in (*ENTRY_SCHEMA.names, "device"))
    columns = ", ".join(f"entries.{name}" for name in ENTRY_SCHEMA.names)
    sql = (
        f"SELECT DISTINCT {columns} FROM entries JOIN {view.quarantined()} AS held ON {same}"  # noqa: S608 - names of ours
        " AND (entries.payload IS NULL OR held.payload = entries.payload)"
    )
    return view.connection.sql(sql).to_arrow_table().cast(ENTRY_SCHEMA)


def released(view: View, log_seq: int, part: int) -> pa.Table:
    """RELEASED_SCHEMA: how an entry was closed; more than one row only where the log was made anew."""
    columns = ", ".join(RELEASED_SCHEMA.names)
    sql = f"SELECT {columns} FROM {view.released()} WHERE log_seq = $log_seq AND part = $part ORDER BY released_at DESC"  # noqa: S608 - names of ours
    return view.connection.sql(sql, params={"log_seq": log_seq, "part": part}).to_arrow_table().cast(RELEASED_SCHEMA)


def _read(view: View, rest: str, values: dict[str, Any]) -> pa.Table:
    sql = f"SELECT {_COLUMNS} FROM {view.quarantined()} WHERE {rest}"  # noqa: S608 - names of the port
    return view.connection.sql(sql, params=values).to_arrow_table().cast(QUARANTINE_SCHEMA)


def _where(selection: Selection) -> tuple[str, dict[str, Any]]:
    """The condition, with at least one term, and its values."""
    terms, values = ["TRUE"], dict[str, Any]()
    if selection.entries is not None:
        wanted = ", ".join(f"({int(log_seq)}, {int(part)})" for log_seq, part in selection.entries) or "(NULL, NULL)"
        terms.append(f"(log_seq, part) IN ({wanted})")
    for name, value, term in (
        ("reason", selection.reason, "reason = $reason"),
        ("device", selection.device, "device = $device"),
        ("tenant", selection.tenant and f"{selection.tenant}/", "starts_with(device, $tenant)"),
        ("since", selection.since_us, "received_at >= $since"),
    ):
        if value is not None:
            terms.append(term)
            values[name] = value
    return " AND ".join(terms), values


def _limited(limit: int) -> int:
    if limit < 0:
        raise StoreError(f"limit {limit} is negative")
    return limit
