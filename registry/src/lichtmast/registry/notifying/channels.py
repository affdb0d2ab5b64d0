"""Channels in the database: read, made, changed and removed, inside the transaction of the book."""

from __future__ import annotations

import secrets
from typing import TYPE_CHECKING, Any

from sqlalchemy import Connection, Row, insert, select, update

from lichtmast.registry.notification_schema import notification_channel, notification_delivery
from lichtmast.registry.notifying import limits
from lichtmast.registry.notifying.channel import Channel, ChannelDraft, ChannelKind
from lichtmast.registry.notifying.errors import ChannelDocumentError, ChannelInUseError, UnknownChannelError
from lichtmast.registry.notifying.quiet import QuietHours

if TYPE_CHECKING:
    from lichtmast.registry.people.sealing import Seal

_C = notification_channel.c


def read(connection: Connection, tenant: str | None = None) -> dict[int, Channel]:
    """The channels that are in use, by id; of one municipality where given."""
    rows = connection.execute(select(notification_channel).where(_C.removed_at_us.is_(None)).order_by(_C.id)).all()
    names = {row.id: row.name for row in rows}
    return {row.id: _channel(row, names) for row in rows if tenant in {None, row.tenant}}


def get(connection: Connection, channel_id: int) -> Channel:
    """One that is in use. Raises UnknownChannelError."""
    found = read(connection).get(channel_id)
    if found is None:
        raise UnknownChannelError(f"there is no channel {channel_id}; `lichtmast channel list` shows those there are")
    return found


def find(connection: Connection, tenant: str, name: str) -> Channel | None:
    """One of a municipality, by name."""
    return next((one for one in read(connection, tenant).values() if one.draft.name == name), None)


def put(connection: Connection, draft: ChannelDraft, at_us: int) -> int:
    """Make or change; the id. Raises ChannelDocumentError or ChannelInUseError."""
    before = find(connection, draft.tenant, draft.name)
    values = _values(draft) | {"escalate_to": _escalate_to(connection, draft)}
    if before is not None:
        if before.draft.kind is not draft.kind:
            raise ChannelDocumentError("kind", f"{draft.name} is of kind {before.draft.kind}; remove it first")
        connection.execute(update(notification_channel).where(_C.id == before.id).values(values))
        return before.id
    if len(read(connection, draft.tenant)) >= limits.CHANNELS_MAX:
        raise ChannelInUseError(f"{draft.tenant} has {limits.CHANNELS_MAX} channels, and that is the most; remove one")
    made = connection.execute(insert(notification_channel).values(values | {"made_at_us": at_us}))
    return int(made.inserted_primary_key[0])  # type: ignore[index] # one row was inserted, so it is there


def remove(connection: Connection, channel: Channel, at_us: int) -> None:
    """Take it out of use, with its secret; what waits for it is dropped. Raises ChannelInUseError."""
    others = [one.draft.name for one in read(connection).values() if one.escalate_to == channel.id]
    if others:
        raise ChannelInUseError(f"{', '.join(others)} escalates to {channel.draft.name}; change that first")
    values = {"removed_at_us": at_us, "secret_sealed": None}
    connection.execute(update(notification_channel).where(_C.id == channel.id).values(values))
    d = notification_delivery.c
    ended = {"state": "dropped", "ended_at_us": at_us, "escalate_at_us": None, "answer": "the channel was removed"}
    connection.execute(
        update(notification_delivery).where(d.channel_id == channel.id, d.state == "waiting").values(ended)
    )


def new_secret(connection: Connection, channel_id: int, seal: Seal) -> bytes:
    """A new secret of a webhook, kept sealed; whoever had the one before can no longer check what comes."""
    secret = secrets.token_bytes(limits.SECRET_BYTES)
    sealed = seal.seal(secret, _about(channel_id))
    connection.execute(update(notification_channel).where(_C.id == channel_id).values(secret_sealed=sealed))
    return secret


def secret(connection: Connection, channel_id: int, seal: Seal) -> bytes:
    """A webhook's secret. Raises PeopleError where it was sealed with another key, UnknownChannelError."""
    sealed = connection.execute(select(_C.secret_sealed).where(_C.id == channel_id)).scalar_one_or_none()
    if sealed is None:
        raise UnknownChannelError(f"channel {channel_id} has no secret: it was removed, or is no webhook")
    return seal.unseal(sealed, _about(channel_id))


def _about(channel_id: int) -> bytes:
    return b"notification channel %d" % channel_id


def _escalate_to(connection: Connection, draft: ChannelDraft) -> int | None:
    if draft.escalate_to is None:
        return None
    found = find(connection, draft.tenant, draft.escalate_to)
    if found is None:
        raise ChannelDocumentError(
            "escalate.to", f"{draft.tenant} has no channel {draft.escalate_to[:60]}; make it first"
        )
    return found.id


def _values(draft: ChannelDraft) -> dict[str, Any]:
    return {
        "tenant": draft.tenant,
        "name": draft.name,
        "kind": draft.kind.value,
        "target": draft.target,
        "language": draft.language,
        "severity": draft.severity,
        "rules": list(draft.rules),
        "quiet_from": None if draft.quiet is None else draft.quiet.from_minute,
        "quiet_until": None if draft.quiet is None else draft.quiet.until_minute,
        "escalate_after_s": draft.escalate_after_s,
    }


def _channel(row: Row[Any], names: dict[int, str]) -> Channel:
    draft = ChannelDraft(
        row.tenant,
        row.name,
        ChannelKind(row.kind),
        row.target,
        row.language,
        row.severity,
        tuple(row.rules),
        None if row.quiet_from is None else QuietHours(row.quiet_from, row.quiet_until),
        row.escalate_after_s,
        names.get(row.escalate_to),
    )
    return Channel(row.id, draft, row.made_at_us, row.escalate_to)
