"""Questions about observations and progress, each answered from one view. SQL in, Arrow out; nothing is written."""

from collections.abc import Sequence

import pyarrow as pa
import pyarrow.compute as pc

from lichtmast.store.days import LEDGER, OBSERVATIONS, Kind, id_filter
from lichtmast.store.errors import StoreError
from lichtmast.store.latest import LatestReadings
from lichtmast.store.port import (
    EXISTING_SCHEMA,
    OBSERVATION_SCHEMA,
    PROGRESS_SCHEMA,
    RECENT_SCHEMA,
    Outcome,
    PackKey,
)
from lichtmast.store.progress import progress_sql
from lichtmast.store.settings import DAY_US, HOUR_US
from lichtmast.store.view import TIME_MAX, TIME_MIN, View, number

LOG_TERM_DAYS_MAX = 31
"""How far back `digests_at` looks: longer than any log is kept."""

FEW_IDS_MAX = 64
"""Up to this many datastreams, looking each of them up is faster than a query over whole files."""

RECENT_HOURS = (1, 6, 72)
"""How far back `recent` looks, from the newest time of reception: further only for datastreams that need it."""

AGGREGATE_SCHEMA = pa.schema(
    [
        ("bucket", pa.int64()),
        ("count", pa.int64()),
        ("mean", pa.float64()),
        ("minimum", pa.float64()),
        ("maximum", pa.float64()),
    ]
)


def observations(
    view: View, datastream_ids: Sequence[int], start_us: int, end_us: int, *, limit: int, descending: bool
) -> pa.Table:
    """Observations in start <= phenomenon time < end, ordered by time then datastream."""
    if limit < 0:
        raise StoreError(f"limit {limit} is negative")
    if len(datastream_ids) > FEW_IDS_MAX:
        rows = view.rows(OBSERVATIONS, start_us, end_us, id_filter("datastream_id", datastream_ids))
        return (
            view.connection.sql(f"FROM {rows} {_order(limit, descending=descending)}")
            .to_arrow_table()
            .cast(OBSERVATION_SCHEMA)
        )
    if not datastream_ids or not limit:
        return OBSERVATION_SCHEMA.empty_table()
    found = _few(view, datastream_ids, start_us, end_us, limit=limit, descending=descending)
    times = found["phenomenon_time"].to_numpy()
    if not descending and bool((times[1:] > times[:-1]).all()):
        return found.slice(0, limit)  # one datastream from one file: sorted as it is
    direction = "descending" if descending else "ascending"
    order = [(name, direction) for name in ("phenomenon_time", "datastream_id", "result_time")]
    return found.sort_by(order).slice(0, limit)


def _few(
    view: View,
    datastream_ids: Sequence[int],
    start_us: int,
    end_us: int,
    *,
    limit: int | None = None,
    descending: bool = False,
) -> pa.Table:
    """Rows of a few datastreams: all, or more than the first `limit`; in no order."""
    days = view.only_sealed(start_us, end_us)
    if days is not None:
        parts = [view.few_pending(datastream_ids, start_us, end_us)]
    else:
        days = view.days(OBSERVATIONS, start_us, end_us)
        hot = view.hot_rows(OBSERVATIONS, start_us, end_us, id_filter("datastream_id", datastream_ids), days)
        if limit is not None:
            hot = f"FROM ({hot}) {_order(limit, descending=descending)}"
        parts = [view.connection.sql(hot).to_arrow_table().cast(OBSERVATION_SCHEMA)]
    sealed = 0
    for day in reversed(days) if descending else days:
        if limit is not None and sealed >= limit:
            break  # a later day cannot hold an earlier reading
        if day.generation:
            parts.append(view.few(datastream_ids, day, start_us, end_us))
            sealed += parts[-1].num_rows
    return pa.concat_tables(parts)


def _order(limit: int, *, descending: bool) -> str:
    direction = "DESC" if descending else "ASC"
    columns = ("phenomenon_time", "datastream_id", "result_time")
    return f"ORDER BY {', '.join(f'{one} {direction}' for one in columns)} LIMIT {limit}"


def count(view: View, datastream_id: int, start_us: int, end_us: int) -> int:
    """How many observations one datastream has in a period."""
    return int(_few(view, [datastream_id], start_us, end_us).num_rows)


def recent(view: View, window: int, without: int, latest: pa.Table) -> pa.Table:
    """The last `window` observations without these flags of each datastream in `latest`, by datastream then time."""
    if window < 1:
        raise StoreError(f"a window of {window} observations: it must be 1 or more")
    newest_us = pc.max(latest["result_time"]).as_py() or 0
    missing = latest.select(["datastream_id"])
    parts: list[pa.Table] = []
    for hours in RECENT_HOURS:
        if not missing.num_rows:
            break
        found = _last_of(view, missing, window, without, newest_us - hours * HOUR_US)
        counts = found.group_by("datastream_id").aggregate([([], "count_all")])
        full = counts.filter(pc.equal(counts["count_all"], window))["datastream_id"]
        if hours != RECENT_HOURS[-1]:
            found = found.filter(pc.is_in(found["datastream_id"], full))
        parts.append(found)
        missing = missing.filter(pc.invert(pc.is_in(missing["datastream_id"], full)))
    there = pa.concat_tables(parts) if parts else RECENT_SCHEMA.empty_table()
    silent = latest.filter(pc.equal(pc.bit_wise_and(latest["quality"], without), 0)).select(RECENT_SCHEMA.names)
    silent = silent.filter(pc.invert(pc.is_in(silent["datastream_id"], there["datastream_id"])))
    order = [("datastream_id", "ascending"), ("phenomenon_time", "ascending"), ("result_time", "ascending")]
    return pa.concat_tables([there, silent]).sort_by(order)


def _last_of(view: View, wanted: pa.Table, window: int, without: int, start_us: int) -> pa.Table:  # noqa: ARG001 - named in SQL
    """The last observations without these flags of these datastreams since a moment."""
    rows = view.rows(OBSERVATIONS, start_us, TIME_MAX, f"quality & {without} = 0", ", ".join(RECENT_SCHEMA.names))
    return (
        view.connection.sql(
            f"FROM {rows} SEMI JOIN wanted USING (datastream_id) QUALIFY row_number() OVER"
            f" (PARTITION BY datastream_id ORDER BY phenomenon_time DESC, result_time DESC) <= {window}"
        )
        .to_arrow_table()
        .cast(RECENT_SCHEMA)
    )


def aggregate(view: View, datastream_id: int, start_us: int, end_us: int, bucket_us: int) -> pa.Table:
    """Count, mean, minimum and maximum of the numeric results per bucket; empty buckets are not listed."""
    if bucket_us <= 0:
        raise StoreError(f"a bucket of {bucket_us} µs: it must be positive")
    rows = _few(view, [datastream_id], start_us, end_us)  # noqa: F841 - named in SQL
    # The remainder of a negative time is negative in SQL; buckets before 1970 start at multiples too.
    bucket = f"phenomenon_time - ((phenomenon_time % {bucket_us}) + {bucket_us}) % {bucket_us}"
    return (
        view.connection.sql(
            f"SELECT {bucket} AS bucket, count(*) AS count, avg(result) AS mean, min(result) AS minimum,"  # noqa: S608 - names and numbers of ours
            " max(result) AS maximum FROM rows WHERE result IS NOT NULL GROUP BY ALL ORDER BY bucket"
        )
        .to_arrow_table()
        .cast(AGGREGATE_SCHEMA)
    )


def existing(view: View, keys: pa.Table) -> pa.Table:
    """EXISTING_SCHEMA: those of the (datastream_id, phenomenon_time) keys that are stored, and a result of each."""
    if not keys.num_rows:
        return EXISTING_SCHEMA.empty_table()
    keys = keys.select(["datastream_id", "phenomenon_time"])
    span = pc.min_max(keys["phenomenon_time"])
    ids = pc.min_max(keys["datastream_id"])
    rows = view.rows(
        OBSERVATIONS,
        span["min"].as_py(),
        span["max"].as_py() + 1,
        f"datastream_id BETWEEN {ids['min'].as_py()} AND {ids['max'].as_py()}",
        ", ".join(EXISTING_SCHEMA.names),
    )
    found = view.connection.sql(
        "SELECT datastream_id, phenomenon_time, any_value(result) AS result, any_value(result_text) AS result_text"  # noqa: S608 - names and numbers of ours
        f" FROM {rows} SEMI JOIN keys USING (datastream_id, phenomenon_time) GROUP BY ALL"
    )
    return found.to_arrow_table().cast(EXISTING_SCHEMA)


def digests(view: View, keys: Sequence[PackKey], outcomes: Sequence[Outcome]) -> dict[PackKey, int]:
    """The digests of packs of these outcomes: hot rows, then sealed days from new to old until all are found."""
    found: dict[PackKey, int] = {}
    missing = set(keys)
    if not missing:
        return found
    days = view.days(LEDGER)
    kept = f"outcome IN ({', '.join(str(int(one)) for one in outcomes)})"
    sources = [view.hot_rows(LEDGER, TIME_MIN, TIME_MAX, kept, days)]
    sources += [view.sealed_rows(LEDGER, [one], kept) for one in reversed(days) if one.generation]
    for source in sources:
        wanted = pa.table(  # noqa: F841 - named in the SQL below
            {
                "device": pa.array([key.device for key in missing], pa.string()),
                "epoch": pa.array([key.epoch for key in missing], pa.int64()),
                "seq": pa.array([key.seq for key in missing], pa.int64()),
            }
        )
        bounds = {
            "d0": min(key.device for key in missing),
            "d1": max(key.device for key in missing),
            "e0": min(key.epoch for key in missing),
            "e1": max(key.epoch for key in missing),
            "s0": min(key.seq for key in missing),
            "s1": max(key.seq for key in missing),
        }
        rows = view.connection.sql(
            f"SELECT device, epoch, seq, arg_min(digest, (outcome, log_seq, part)) FROM ({source})"  # noqa: S608 - names and numbers of ours
            " WHERE device BETWEEN $d0 AND $d1 AND epoch BETWEEN $e0 AND $e1 AND seq BETWEEN $s0 AND $s1"
            " AND (device, epoch, seq) IN (SELECT (device, epoch, seq) FROM wanted) GROUP BY ALL",
            params=bounds,
        ).fetchall()
        found.update((PackKey(device, epoch, seq), digest) for device, epoch, seq, digest in rows)
        missing.difference_update(found)
        if not missing:
            break
    return found


def digests_at(view: View, log_seq: int, now_us: int) -> list[int]:
    """Digests of the first pack of one log position, among the packs of the last days."""
    rows = view.rows(LEDGER, now_us - LOG_TERM_DAYS_MAX * DAY_US, TIME_MAX)
    found = view.connection.execute(f"SELECT digest FROM {rows} WHERE log_seq = ? AND part = 0", [log_seq])  # noqa: S608 - names and numbers of ours
    return [digest for (digest,) in found.fetchall()]


def progress(view: View) -> pa.Table:
    """Which numbers came or were declared: the folded ranges, what was committed after them, and all declarations."""
    newer = newer_rows(view, LEDGER, "device, epoch, seq")
    return view.connection.sql(progress_sql(newer, view.drops())).to_arrow_table().cast(PROGRESS_SCHEMA)


def newer_rows(view: View, kind: Kind, columns: str, upto: int | None = None) -> str:
    """SQL for hot rows that were committed after the fold mark."""
    mark = number(view.connection, "SELECT commit_no FROM marks WHERE name = 'folded'")
    where = f"commit_no > {mark}" + (f" AND commit_no <= {upto}" if upto is not None else "")
    return view.hot_rows(kind, TIME_MIN, TIME_MAX, where, view.days(kind), columns)


def restore_latest(view: View) -> LatestReadings:
    """The latest readings as of the last commit: the folded ones, and what was committed after them."""
    held = view.connection.sql("FROM latest").to_arrow_table().cast(OBSERVATION_SCHEMA)
    restored = LatestReadings(held)
    columns = f"commit_no, {OBSERVATIONS.columns()}"
    newer = newer_rows(view, OBSERVATIONS, columns)
    batches = view.connection.sql(f"SELECT * EXCLUDE (commit_no) FROM ({newer}) ORDER BY commit_no").to_arrow_reader()  # noqa: S608 - names and numbers of ours
    for batch in batches:
        restored.add(pa.Table.from_batches([batch]).cast(OBSERVATION_SCHEMA))
    return restored


def newest_of(view: View, datastream_ids: Sequence[int]) -> pa.Table:
    """The newest stored observation of each of these datastreams, searched from the newest day backwards."""
    missing = set(datastream_ids)
    days = view.days(OBSERVATIONS)
    found: pa.Table = OBSERVATION_SCHEMA.empty_table()
    # A hot row may be a late one and a newer day be sealed, so both are asked and the later wins.
    hot = _newest(view, view.hot_rows(OBSERVATIONS, TIME_MIN, TIME_MAX, "TRUE", days), sorted(missing))
    for one in reversed([day for day in days if day.generation]):
        if not missing:
            break
        rows = _newest(view, view.sealed_rows(OBSERVATIONS, [one]), sorted(missing))
        found = pa.concat_tables([found, rows])
        missing -= set(rows["datastream_id"].to_pylist())
    merged = LatestReadings(found)
    merged.add(hot)
    return merged.table()


def _newest(view: View, source: str, datastream_ids: Sequence[int]) -> pa.Table:
    return (
        view.connection.sql(
            f"SELECT * FROM ({source}) WHERE {id_filter('datastream_id', datastream_ids)}"  # noqa: S608 - built from ints
            " QUALIFY row_number() OVER (PARTITION BY datastream_id ORDER BY phenomenon_time DESC, result_time) = 1"
        )
        .to_arrow_table()
        .cast(OBSERVATION_SCHEMA)
    )
