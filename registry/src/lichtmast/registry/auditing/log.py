"""The log of changes as its readers have it: pages, an export, and the verdict.

The register's own changes are written by `append`, in their transaction; `note` is for what is done elsewhere by its
leave. What is erased here is only what was written to be erasable.
"""

import json
import os
from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path
from typing import Any

from sqlalchemy import Connection, Engine, Select, delete, select

from lichtmast.registry import schema
from lichtmast.registry.auditing.chain import append
from lichtmast.registry.auditing.event import GENESIS, Event, LoggedEvent
from lichtmast.registry.auditing.verdict import AuditHead, AuditVerdict, verify
from lichtmast.registry.database import writing
from lichtmast.registry.limits import AUDIT_BATCH_ROWS, PAGE_RECORDS_MAX

_E, _S = schema.audit_event.c, schema.audit_sensitive.c


class AuditLog:
    """The log of one register, as `Registry.audit_log`. Each method reads one snapshot."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine

    def head(self) -> AuditHead:
        """The newest event's number and hash; keep it elsewhere and give it to `verify` later."""
        with self._engine.connect() as connection:
            row = connection.execute(select(_E.seq, _E.hash).order_by(_E.seq.desc()).limit(1)).one_or_none()
        return AuditHead(0, GENESIS.hex()) if row is None else AuditHead(row.seq, row.hash.hex())

    def read(
        self,
        since: int = 0,
        limit: int = 100,
        tenant: str | None = None,
        *,
        since_us: int | None = None,
        subject: str | None = None,
        newest_first: bool = False,
    ) -> list[LoggedEvent]:
        """A page of events with numbers above `since`, oldest first; `tenant` shows one municipality's alone.

        Newest first, `since` is the number to stay below, 0 for the newest page. Raises ValueError.
        """
        if not 1 <= limit <= PAGE_RECORDS_MAX:
            raise ValueError(f"a page has 1 to {PAGE_RECORDS_MAX} events, not {limit}")
        query = _events()
        if newest_first:
            query = query.order_by(_E.seq.desc())
            query = query.where(_E.seq < since) if since else query
        else:
            query = query.where(_E.seq > since).order_by(_E.seq)
        if tenant is not None:
            query = query.where(_E.tenant == tenant)
        if since_us is not None:
            query = query.where(_E.at_us >= since_us)
        if subject is not None:
            query = query.where(_E.subject == subject)
        with self._engine.connect() as connection:
            return [_event(row) for row in connection.execute(query.limit(limit))]

    def note(self, event: Event) -> None:
        """Write an event of something that changes nothing in the register; before it is done."""
        with writing(self._engine) as connection:
            append(connection, event)

    def verify(self, expect: str | None = None) -> AuditVerdict:
        """Follow the whole chain; `expect` is the hash of a head that was kept elsewhere."""
        with self._engine.connect() as connection:
            return verify(_all(connection), expect)

    def export(self, path: Path, form: str = "jsonl") -> AuditVerdict:
        """Write every event as a line of JSON, hashes included, and verify on the way. Raises ValueError, OSError.

        The file appears whole or not at all. It holds account names: treat it as personal data.
        """
        if form != "jsonl":
            raise ValueError(f"the log is exported as jsonl, not as {form[:20]!r}")
        draft = path.with_name(path.name + ".part")
        with (
            self._engine.connect() as connection,
            open(os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "w", encoding="ascii") as file,  # noqa: PTH123 - the mode must hold from the first byte
        ):

            def told() -> Iterator[LoggedEvent]:
                for event in _all(connection):
                    file.write(json.dumps(asdict(event)) + "\n")
                    yield event

            verdict = verify(told())
            file.flush()
            os.fsync(file.fileno())
        draft.replace(path)
        return verdict


def erase_sensitive(connection: Connection, before_us: int) -> int:
    """Erase the erasable part of events before a moment; how many had one. The chain still holds."""
    return connection.execute(delete(schema.audit_sensitive).where(_S.at_us < before_us)).rowcount


def _all(connection: Connection) -> Iterator[LoggedEvent]:
    result = connection.execution_options(yield_per=AUDIT_BATCH_ROWS).execute(_events().order_by(_E.seq))
    return (_event(row) for row in result)


def _events() -> Select[Any]:
    return select(schema.audit_event, _S.salt, _S.text).outerjoin(schema.audit_sensitive, _S.seq == _E.seq)


def _event(row: Any) -> LoggedEvent:  # noqa: ANN401 - a row of _events()
    seq, at_us, kind, actor, source, action, subject_kind, subject, tenant, before, after, *rest = row
    sealed, prev_hash, digest, salt, text = rest
    return LoggedEvent(
        seq,
        at_us,
        kind,
        actor,
        source,
        action,
        subject_kind,
        subject,
        tenant,
        before,
        after,
        None if sealed is None else _hex(sealed),
        _hex(prev_hash),
        _hex(digest),
        None if salt is None else _hex(salt),
        text,
    )


def _hex(value: object) -> str:
    """Of bytes their hex; of what somebody put in their place, a text that fits nothing."""
    return value.hex() if isinstance(value, bytes) else repr(value)
