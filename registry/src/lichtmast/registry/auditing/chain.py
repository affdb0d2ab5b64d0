"""Writing the log: each event takes the next number and the hash of the one before it.

In the transaction of the change: both are there or neither. The register's writers queue at BEGIN IMMEDIATE, so two
processes never take the same number.
"""

import secrets
from collections.abc import Sequence
from typing import Any

from sqlalchemy import Connection, insert, select

from lichtmast.registry import schema
from lichtmast.registry.auditing.event import GENESIS, SALT_BYTES, Event, LoggedEvent, seal, text_of


def append(connection: Connection, event: Event) -> None:
    """Write one event. `connection` is in the write transaction of the change."""
    append_all(connection, [event])


def append_all(connection: Connection, events: Sequence[Event]) -> None:
    """Write events in order; 5,000 take about as long as 5,000 rows of anything."""
    if not events:
        return
    e = schema.audit_event.c
    last = connection.execute(select(e.seq, e.hash).order_by(e.seq.desc()).limit(1)).one_or_none()
    seq, head = (0, GENESIS.hex()) if last is None else (last.seq, last.hash.hex())
    rows: list[dict[str, Any]] = []
    erasable: list[dict[str, Any]] = []
    for number, event in enumerate(events, seq + 1):
        sensitive, salt = text_of(event.sensitive), secrets.token_bytes(SALT_BYTES)
        if sensitive is not None:
            erasable.append({"seq": number, "salt": salt, "text": sensitive, "at_us": event.at_us})
        before, after = event.texts
        draft = LoggedEvent(
            number,
            event.at_us,
            event.by.kind.value,
            event.by.name,
            event.by.source,
            str(event.action),
            event.subject_kind,
            event.subject,
            event.tenant,
            before,
            after,
            None if sensitive is None else seal(salt, sensitive).hex(),
            head,
            "",
        )
        head = draft.expected_hash
        rows.append(_row(draft, head))
    connection.execute(insert(schema.audit_event), rows)
    if erasable:
        connection.execute(insert(schema.audit_sensitive), erasable)


def _row(event: LoggedEvent, digest: str) -> dict[str, Any]:
    return {
        "seq": event.seq,
        "at_us": event.at_us,
        "actor_kind": event.actor_kind,
        "actor": event.actor,
        "source": event.source,
        "action": event.action,
        "subject_kind": event.subject_kind,
        "subject": event.subject,
        "tenant": event.tenant,
        "before": event.before,
        "after": event.after,
        "sealed": None if event.sealed is None else bytes.fromhex(event.sealed),
        "prev_hash": bytes.fromhex(event.prev_hash),
        "hash": bytes.fromhex(digest),
    }
