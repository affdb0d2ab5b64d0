"""The book of notifications: channels, and an outbox of deliveries that survives any crash.

Each method is one transaction. Synchronous: call it in a thread. Will not send anything: a worker asks what is due,
sends it, and says how that went. Between the other side's yes and `settle` a crash makes the worker send the same
letter again, with the same id; nowhere else can one be doubled, and nowhere can one be lost.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from sqlalchemy import Connection, Engine, Row, Select, delete, select, update

from lichtmast.registry.auditing import SYSTEM, Action, Actor, Event, append
from lichtmast.registry.database import writing
from lichtmast.registry.notification_schema import notification_channel, notification_delivery
from lichtmast.registry.notifying import channels, limits
from lichtmast.registry.notifying.channel import Channel, ChannelDraft, ChannelKind
from lichtmast.registry.notifying.errors import ChannelInUseError, UnknownChannelError
from lichtmast.registry.notifying.expanding import compose, escalate, expand, is_idle
from lichtmast.registry.notifying.plain import plain
from lichtmast.registry.notifying.records import DeliveryRecord, DeliveryState, Letter, Notice

if TYPE_CHECKING:
    from lichtmast.registry.people.sealing import Seal

_D: Final = notification_delivery.c


class NotificationBook:
    """Channels for people, and deliveries for the worker; `Registry.notifying` is one."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine

    # Channels.

    def channels(self, tenant: str | None = None) -> list[Channel]:
        """Those in use, of one municipality or of all, oldest first."""
        with self._engine.connect() as connection:
            return list(channels.read(connection, tenant).values())

    def channel(self, channel_id: int) -> Channel:
        """One that is in use. Raises UnknownChannelError."""
        with self._engine.connect() as connection:
            return channels.get(connection, channel_id)

    def put(self, draft: ChannelDraft, seal: Seal, *, by: Actor, at_us: int) -> tuple[Channel, bytes | None]:
        """Make a channel, or change the one of this name; the secret of a webhook is given once, when it is made.

        Raises ChannelDocumentError or ChannelInUseError.
        """
        with writing(self._engine) as connection:
            before = channels.find(connection, draft.tenant, draft.name)
            channel_id = channels.put(connection, draft, at_us)
            secret = None
            if before is None and draft.kind is ChannelKind.WEBHOOK:
                secret = channels.new_secret(connection, channel_id, seal)
            made = channels.get(connection, channel_id)
            if before is None or before.draft != draft:
                action = Action.CHANNEL_MADE if before is None else Action.CHANNEL_CHANGED
                _log(connection, action, made, by, at_us, None if before is None else _told(before), _told(made))
            return made, secret

    def remove(self, channel_id: int, *, by: Actor, at_us: int) -> None:
        """Take a channel out of use; what waits for it is dropped. Raises UnknownChannelError or ChannelInUseError."""
        with writing(self._engine) as connection:
            channel = channels.get(connection, channel_id)
            channels.remove(connection, channel, at_us)
            _log(connection, Action.CHANNEL_REMOVED, channel, by, at_us, _told(channel), None)

    def secret(self, channel_id: int, seal: Seal) -> bytes:
        """A webhook's secret, to sign with. Raises UnknownChannelError, and PeopleError where the seal is another."""
        with self._engine.connect() as connection:
            return channels.secret(connection, channel_id, seal)

    # Deliveries, for people.

    def deliveries(
        self,
        tenant: str | None = None,
        *,
        state: DeliveryState | None = None,
        episode_id: int | None = None,
        before_id: int | None = None,
        limit: int = 100,
    ) -> list[DeliveryRecord]:
        """A page, newest first; `before_id` is the last of the page before. Raises ValueError."""
        if not 1 <= limit <= limits.PAGE_DELIVERIES_MAX:
            raise ValueError(f"a page has 1 to {limits.PAGE_DELIVERIES_MAX} deliveries, not {limit}")
        query = _deliveries().order_by(_D.id.desc()).limit(limit)
        for column, value in ((_D.state, state), (_D.episode_id, episode_id), (notification_channel.c.tenant, tenant)):
            query = query if value is None else query.where(column == value)
        if before_id is not None:
            query = query.where(_D.id < before_id)
        with self._engine.connect() as connection:
            return [_record(row) for row in connection.execute(query)]

    def delivery(self, delivery_id: int) -> DeliveryRecord:
        """One. Raises UnknownChannelError."""
        with self._engine.connect() as connection:
            return _delivery(connection, delivery_id)

    def retry(self, delivery_id: int, *, by: Actor, at_us: int) -> DeliveryRecord:
        """Send a failed one again, with all that was in its message and under the same id.

        Raises UnknownChannelError, and ChannelInUseError where it has not failed.
        """
        with writing(self._engine) as connection:
            found = _delivery(connection, delivery_id)
            if found.state is not DeliveryState.FAILED:
                raise ChannelInUseError(f"delivery {delivery_id} is {found.state}; only a failed one is sent again")
            channel = channels.get(connection, found.channel_id)
            again = {"state": "waiting", "ended_at_us": None, "first_tried_at_us": None, "next_try_at_us": at_us}
            connection.execute(
                update(notification_delivery).where(_D.message == found.message).values(again | {"attempts": 0})
            )
            _log(connection, Action.DELIVERY_RETRIED, channel, by, at_us, None, {"message": found.message})
            return _delivery(connection, delivery_id)

    # The worker's.

    def advance(self, now_us: int) -> bool:
        """Make deliveries of new notices, escalate, and put what is due into letters; whether to ask again at once."""
        with self._engine.connect() as connection:
            if is_idle(connection, now_us):
                return False
        with writing(self._engine) as connection:
            known = channels.read(connection)
            more = expand(connection, known, now_us)
            escalate(connection, known, now_us)
            compose(connection, list(known), now_us)
            return more

    def letters(self, now_us: int) -> list[Letter]:
        """What should be sent now, oldest first: one of each channel at most, so that order is kept."""
        query = (
            select(notification_delivery)
            .where(_D.state == "waiting", _D.message.is_not(None), _D.next_try_at_us <= now_us)
            .order_by(_D.id)
        )
        with self._engine.connect() as connection:
            known = channels.read(connection)
            rows = connection.execute(query).all()
        letters: dict[str, Letter] = {}
        oldest: dict[int, str] = {}
        for row in rows:
            if row.channel_id not in known or oldest.setdefault(row.channel_id, row.message) != row.message:
                continue
            before = letters.get(row.message)
            notices = (*(before.notices if before else ()), Notice.from_facts(row.facts))
            channel = known[row.channel_id]
            letters[row.message] = Letter(row.message, channel, notices, row.attempts, row.first_tried_at_us)
        return list(letters.values())

    def settle(self, letter: Letter, state: DeliveryState, words: str, *, at_us: int, next_us: int | None) -> None:
        """Note how an attempt went. Waiting goes on at `next_us`; failing is written into the log of changes."""
        words = plain(words, limits.ANSWER_BYTES_MAX)
        values = {
            "state": state.value,
            "answer": words,
            "attempts": letter.attempts + 1,
            "first_tried_at_us": letter.first_tried_at_us or at_us,
            "next_try_at_us": next_us,
            "ended_at_us": None if state is DeliveryState.WAITING else at_us,
        }
        with writing(self._engine) as connection:
            # Only where it still waits: the channel may have been removed meanwhile.
            ours = (_D.message == letter.id) & (_D.state == "waiting")
            changed = connection.execute(update(notification_delivery).where(ours).values(values)).rowcount
            if state is DeliveryState.FAILED and changed:
                told = {"message": letter.id, "notices": len(letter.notices), "reason": words}
                _log(connection, Action.DELIVERY_FAILED, letter.channel, SYSTEM, at_us, None, told)

    def forget(self, now_us: int) -> int:
        """Delete what ended long ago; how many."""
        with writing(self._engine) as connection:
            old = delete(notification_delivery).where(_D.ended_at_us < now_us - limits.KEPT_US)
            return connection.execute(old).rowcount


def _log(
    connection: Connection,
    action: Action,
    channel: Channel,
    by: Actor,
    at_us: int,
    before: dict[str, Any] | None,
    after: dict[str, Any] | None,
) -> None:
    name, tenant = channel.draft.name, channel.draft.tenant
    append(connection, Event(action, "notification_channel", f"{tenant}/{name}", by, at_us, tenant, before, after))


def _told(channel: Channel) -> dict[str, Any]:
    """What the log of changes says of a channel. Where a webhook leads may be a secret by itself: only its host."""
    draft = channel.draft
    target = draft.target.partition("?")[0].split("/")[2] if draft.kind is ChannelKind.WEBHOOK else draft.target
    return {
        "kind": draft.kind.value,
        "target": target,
        "language": draft.language,
        "severity": draft.severity,
        "rules": list(draft.rules),
        "quiet": None if draft.quiet is None else [draft.quiet.from_minute, draft.quiet.until_minute],
        "escalate": None if draft.escalate_to is None else [draft.escalate_after_s, draft.escalate_to],
    }


def _deliveries() -> Select[Any]:
    return select(notification_delivery, notification_channel.c.name.label("channel_name")).join_from(
        notification_delivery, notification_channel, _D.channel_id == notification_channel.c.id
    )


def _delivery(connection: Connection, delivery_id: int) -> DeliveryRecord:
    row = connection.execute(_deliveries().where(_D.id == delivery_id)).one_or_none()
    if row is None:
        raise UnknownChannelError(f"there is no delivery {delivery_id}; those that ended go after 90 days")
    return _record(row)


def _record(row: Row[Any]) -> DeliveryRecord:
    return DeliveryRecord(
        row.id,
        Notice.from_facts(row.facts),
        row.channel_id,
        row.channel_name,
        DeliveryState(row.state),
        row.due_at_us,
        row.message,
        row.attempts,
        row.next_try_at_us,
        row.answer,
        row.ended_at_us,
    )
