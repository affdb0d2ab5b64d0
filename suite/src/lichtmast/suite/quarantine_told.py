"""The quarantine as it is told in JSON: groups, and one entry with its bytes."""

import base64
from datetime import UTC, datetime, timedelta
from typing import Any, Final

from lichtmast.store import Outcome, Transport
from lichtmast.store.port import ObservationStore, Selection

_1970: Final = datetime(1970, 1, 1, tzinfo=UTC)
GROUPS_MAX: Final = 10_000
"""Groups that are told, the largest; a town of devices that are all refused has one each."""
ENTRIES_MAX: Final = 500
"""Entries that are told at once, as many as a round of the replay looks at."""


def groups_told(store: ObservationStore, selection: Selection) -> dict[str, Any]:
    """How many packs lie there, by reason and device. Blocks."""
    found = store.quarantine_groups(selection, GROUPS_MAX + 1).to_pylist()
    groups = [
        {
            "reason": one["reason"],
            "device": one["device"],
            "packs": one["packs"],
            "first": moment(one["first_at"]),
            "last": moment(one["last_at"]),
            "detail": one["detail"],
        }
        for one in found[:GROUPS_MAX]
    ]
    return {"packs": sum(one["packs"] for one in found), "groups": groups, "is_whole": len(found) <= GROUPS_MAX}


def entries_told(store: ObservationStore, selection: Selection, limit: int) -> dict[str, Any]:
    """The packs themselves by name, oldest first, without their bytes. Blocks."""
    found = store.quarantine_page(selection, None, limit + 1).to_pylist()
    entries = [
        {
            "entry": f"{one['log_seq']}/{one['part']}",
            "device": one["device"],
            "received": moment(one["received_at"]),
            "reason": one["reason"],
            "detail": one["detail"],
        }
        for one in found[:limit]
    ]
    return {"entries": entries, "is_whole": len(found) <= limit}


def entry_told(store: ObservationStore, log_seq: int, part: int) -> dict[str, Any] | None:
    """An entry, open or closed; None where there is no trace of it. Blocks."""
    name = f"{log_seq}/{part}"
    found = store.quarantine_page(Selection(entries=((log_seq, part),)), None, 2).to_pylist()
    if found:
        newest = found[-1]  # more than one only where the log was made anew
        payload: bytes = newest["payload"]
        text = payload.decode(errors="replace")
        return {
            "entry": name,
            "state": "open",
            "device": newest["device"],
            "received": moment(newest["received_at"]),
            "transport": Transport(newest["transport"]).name.lower(),
            "reason": newest["reason"],
            "detail": newest["detail"],
            "content_format": newest["content_format"],
            "bytes": len(payload),
            "payload": base64.b64encode(payload).decode(),
            "text": text if text.isprintable() else None,
        }
    closed = store.released(log_seq, part).to_pylist()
    if not closed:
        return None
    return {
        "entry": name,
        "state": Outcome(closed[0]["outcome"]).name.lower(),
        "received": moment(closed[0]["received_at"]),
        "closed": moment(closed[0]["released_at"]),
    }


def moment(time_us: int) -> str:
    """ISO 8601, UTC, to the millisecond."""
    return (_1970 + timedelta(microseconds=time_us)).isoformat(timespec="milliseconds").replace("+00:00", "Z")
